"""Marks: what people add to an incident that changes nothing others are told of it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.review.case import same_person
from alerts.review.errors import ObjectionError
from alerts.review.findings import check_words
from sensors.known_type import known

if TYPE_CHECKING:
    from alerts.record.ledger import Ledger
    from alerts.review.case import Case
    from alerts.review.findings import Finding
    from alerts.review.head import Head

LONGEST_TEXT: Final = 2_000
LONGEST_NUMBER: Final = 64
_SYSTEM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")


@dataclass(frozen=True, slots=True)
class Link:
    """The number by which another system knows an incident: ``Link("cad", "P26-0417")``, ``Link("911", ...)``.

    Raises
    ------
    ValueError
        When the system's name is not 1 to 16 small letters, digits and hyphens, or the number cannot be printed.
    """

    system: str
    number: str

    def __post_init__(self) -> None:
        if not _SYSTEM.fullmatch(self.system):
            raise ValueError(f"system is {self.system[:40]!r}: expected 1 to 16 small letters, digits, hyphens, as 911")
        check_words(self.number or " ", "number", LONGEST_NUMBER)


def acknowledge(case: Case) -> Head:
    """Say that somebody has seen it; who says so twice changes nothing.

    Raises
    ------
    ConflictError
        When somebody else was the first; it names who.
    ObjectionError
        When it was never published: nobody was alarmed.
    """
    by = case.head.acknowledged_by
    if same_person(by, case.who):
        return case.head
    if by is not None:
        case.refuse(f"{by} acknowledged it already; nothing is left to do", by)
    if not case.head.published:
        raise ObjectionError(f"{case.head.incident_id}: it was never published; judge it instead")
    case.change("acknowledge", {}, {"acknowledged_by": case.who, "acknowledged_ns": case.at_ns})
    return case.head


def find(case: Case, finding: Finding, expected_version: int | None) -> Head:
    """Say what came of it: all of the finding goes into the ledger, its state and the case's number into the row.

    Raises
    ------
    ConflictError
        When a version was expected and it is another.
    """
    case.expect(expected_version)
    changes: dict[str, str] = {"disposition": finding.disposition}
    if finding.case_number is not None:
        changes["case_number"] = finding.case_number
    case.change("disposition", {"finding": asdict(finding)}, changes)
    return case.head


def note(case: Case, text: str) -> Head:
    """Words for others to read; they stand in the ledger and nowhere else.

    Raises
    ------
    ValueError
        When there are none, or too many.
    """
    _check_text(text, "a note")
    case.change("note", {"text": text})
    return case.head


def pin(case: Case, reason: str, *, pinned: bool) -> Head:
    """Keep it beyond its time, or no longer.

    Raises
    ------
    ValueError
        Without a reason.
    """
    _check_text(reason, "the reason")
    case.change("pin", {"pinned": pinned, "reason": reason}, {"pinned": pinned})
    return case.head


def link(case: Case, given: Link, *, linked: bool) -> Head:
    """Note a number of another system, or take it back."""
    case.change("link", {"link": asdict(given), "linked": linked})
    return case.head


class _Linking(msgspec.Struct):
    link: Link
    linked: bool


def links(ledger: Ledger, incident_id: str) -> tuple[Link, ...]:
    """The links of an incident that stand, in the order they were made."""
    standing: dict[Link, None] = {}
    for entry in ledger.entries(about=incident_id, kinds=("link",)):
        said = msgspec.json.decode(entry.body, type=known(_Linking))
        if said.linked:
            standing[said.link] = None
        else:
            standing.pop(said.link, None)
    return tuple(standing)


def _check_text(text: str, name: str) -> None:
    if not text.strip() or len(text) > LONGEST_TEXT:
        raise ValueError(f"{name} has {len(text)} characters: expected 1 to {LONGEST_TEXT}")
