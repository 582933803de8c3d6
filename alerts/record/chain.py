"""The chain of the ledger, walked entry by entry: the first that is broken, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from alerts.record.entry import START, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alerts.record.heads import Head

What = Literal[
    "altered",  # it says something else than its digest is of
    "missing",  # entries before it are gone
    "out-of-order",
    "cut",  # it does not follow the entry before
    "truncated",  # entries that were there are gone from the end
    "rewritten",  # it is not what was noted elsewhere
    "document-altered",
    "document-missing",
    "document-unknown",
    "row-altered",  # what stands beside a document, or an incident's row, is not what the document says
    "damaged",  # pages or indexes of a file are
]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and with which entry; 0 when it belongs to none."""

    sequence: int
    what: What
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk along the ledger found.

    Parameters
    ----------
    entries : int
        Walked.
    head : tuple
        Number and digest of the last that was good.
    documents : int
        Compared with their entries.
    retired : int
        Documents that are gone, and named as retired.
    heads : int
        Notes of earlier heads that were compared.
    fault : Fault or None
        The first thing that is wrong; None when the ledger is intact.
    """

    entries: int
    head: tuple[int, str]
    documents: int
    retired: int
    heads: int
    fault: Fault | None

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault is None


class Chain:
    """A walk: `follow` each entry in turn, then `end`.

    Parameters
    ----------
    heads : iterable of Head
        What was noted elsewhere.
    """

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self.sequence = 0
        self.digest = START
        self.compared = 0
        self._noted: dict[int, set[str]] = {}
        for head in heads:
            self._noted.setdefault(head.sequence, set()).add(head.digest)

    def follow(self, entry: Entry) -> Fault | None:
        """Take the next entry; what is wrong with it, or None."""
        fault = self._fault(entry)
        if fault is None:
            self.sequence, self.digest = entry.sequence, entry.digest
            self.compared += len(self._noted.pop(entry.sequence, ()))
        return fault

    def end(self) -> Fault | None:
        """When there are no more; what is missing, or None."""
        last = max(self._noted, default=0)
        if last <= self.sequence:
            return None
        text = (
            f"entries {self.sequence + 1} to {last} are gone from the end: their heads were noted; "
            "was an older backup restored?"
        )
        return Fault(self.sequence + 1, "truncated", text)

    def _fault(self, entry: Entry) -> Fault | None:
        number = self.sequence + 1
        if entry.sequence > number:
            gone = (
                f"entry {number} is"
                if entry.sequence == number + 1
                else f"entries {number} to {entry.sequence - 1} are"
            )
            return Fault(number, "missing", f"{gone} missing")
        if entry.sequence < number:
            return Fault(entry.sequence, "out-of-order", f"entry {entry.sequence} comes after entry {self.sequence}")
        if not _is_sound(entry) or entry.expected != entry.digest:
            return Fault(number, "altered", f"entry {number} was altered: its digest is of something else")
        if entry.previous != self.digest:
            before = f"entry {number - 1}" if number > 1 else "the start"
            return Fault(number, "cut", f"entry {number} does not follow {before}: one of the two was rewritten")
        if self._noted.get(number, {entry.digest}) != {entry.digest}:
            return Fault(number, "rewritten", f"entry {number} is not the one whose digest was noted")
        return None


def _is_sound(entry: Entry) -> bool:
    """Whether a row has what the columns promise: SQLite lets other programs put anything there."""
    texts = (entry.kind, entry.actor, entry.about, entry.previous, entry.digest)
    return isinstance(entry.at_ns, int) and isinstance(entry.body, bytes) and all(isinstance(t, str) for t in texts)
