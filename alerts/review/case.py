"""A case: one incident in one person's hands, inside one transaction; each change of it leaves an entry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from acoustic.instant import check_instant, instant_text
from alerts.act import NO_PERSON
from alerts.review.errors import ConflictError
from alerts.review.head import Head, change_head, read_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from alerts.record.ledger import Ledger, LedgerKind

_PERSON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


@dataclass(slots=True)
class Case:
    """An incident in hand: who has it, when, and how it stands.

    ``head`` follows each change that is made through this case. ``said_of`` is the incident that the person named,
    where the machine had made that part of this one (`alerts.review.taken_in`); each entry then has it.
    """

    connection: sa.Connection
    ledger: Ledger
    who: str
    at_ns: int
    head: Head
    said_of: str | None = None

    def change(
        self,
        kind: LedgerKind,
        body: Mapping[str, Any],
        changes: Mapping[str, Any] | None = None,
        *,
        touch: bool = False,
    ) -> int:
        """Change the row and say so in the ledger, with what stood there before; the entry's number.

        Parameters
        ----------
        kind : str
            Of the entry.
        body : mapping
            What it says beside ``previous``, ``now`` and the row's ``version``.
        changes : mapping or None
            Columns and what they become; those that are so already are no change.
        touch : bool
            The row gets a new version in any case.

        Raises
        ------
        ConflictError
            When somebody changed the row in the meantime.
        """
        differing = {name: value for name, value in (changes or {}).items() if getattr(self.head, name) != value}
        previous = {name: getattr(self.head, name) for name in differing}
        if differing or touch:
            self.head = change_head(self.connection, self.head, self.who, differing)
        told = {**body, "previous": previous, "now": differing, "version": self.head.version}
        if self.said_of is not None:
            told["said_of"] = self.said_of
        encoded = msgspec.json.encode(told, order="sorted")
        return self.ledger.append(self.connection, kind, self.who, self.head.incident_id, encoded, self.at_ns)

    def expect(self, version: int | None) -> None:
        """Refuse to go on when the incident is not what the person looked at.

        Raises
        ------
        ConflictError
            When its version is another.
        """
        if version is not None and version != self.head.version:
            self.refuse(
                f"{self.head.changed_by} changed it since you looked (version {self.head.version}, yours {version}); "
                "look again"
            )

    def expect_unheld(self, other: Head | None = None) -> None:
        """Refuse to go on when somebody else holds a claim on it, or on another incident, that has not run out.

        Raises
        ------
        ConflictError
            Then; it names who, and until when.
        """
        head = other or self.head
        holder = head.holder(self.at_ns)
        if holder is not None and not same_person(holder, self.who):
            until_ns = head.claimed_until_ns or self.at_ns
            words = f"{holder} has it in hand until {instant_text(until_ns, 3)}; wait, or ask them to release it"
            raise ConflictError(head.version, holder, f"{head.incident_id}: {words}", until_ns)

    def refuse(self, words: str, changed_by: str | None = None) -> NoReturn:
        """Raise the conflict, in words."""
        raise ConflictError(self.head.version, changed_by or self.head.changed_by, f"{self.head.incident_id}: {words}")


def open_case(connection: sa.Connection, ledger: Ledger, incident_id: str, who: str, at_ns: int) -> Case:
    """Take an incident in hand.

    Raises
    ------
    UnknownIncidentError
        When there is none of this name.
    """
    check_instant(at_ns, "at_ns")
    check_person(who)
    return Case(connection, ledger, who, at_ns, read_head(connection, incident_id, locked=True))


def check_person(who: str) -> None:
    """Refuse what is no person's name; some are what the ledger calls those who are none, as ``machine``.

    Raises
    ------
    ValueError
        Then.
    """
    if who.casefold() in NO_PERSON:
        raise ValueError(f"who is {who!r}: that is what the machine is called, or a part of it; choose another name")
    if not _PERSON.fullmatch(who):
        raise ValueError(f"who is {who[:80]!r}: expected 1 to 64 letters, digits, dots, at signs, hyphens, underscores")


def same_person(one: str | None, other: str | None) -> bool:
    """Whether two names are one person's: somebody does not become another by writing it in capitals."""
    return one is not None and other is not None and one.casefold() == other.casefold()
