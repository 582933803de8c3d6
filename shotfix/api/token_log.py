"""The log of tokens: the ledger tells who got one, whose was renewed, whose was taken, though a file holds them."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from acoustic.instant import instant_text
from alerts.record.ledger import Ledger
from alerts.record.store import StoreError
from sensors.known_type import known
from shotfix.api.people_file import token_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from alerts.record.store import Store
    from shotfix.api.people import People, Person

MACHINE: Final = "machine"
"""Who notes it: the file does not say who wrote it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """What the ledger holds of a token: never itself, and of its digest the first digits."""

    token_id: str
    name: str
    roles: tuple[str, ...]
    expires: str
    state: Literal["given", "revoked", "removed"]
    renewed: str | None = None


class TokenLog:
    """Compares the register of people with what the ledger last said of it, and adds what is new.

    Parameters
    ----------
    store : Store
        The record.
    people : People
        The register.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    """

    def __init__(self, store: Store, people: People, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._people = people
        self._now_ns = now_ns
        self._noted = -1  # the revision of the register that the ledger tells of
        self._lock = threading.Lock()

    @property
    def is_behind(self) -> bool:
        """Whether the register has changed since it was noted."""
        return self._people.revision != self._noted

    def note(self) -> int:
        """Add what changed; how many entries that were. What the record refuses is tried again at the next call."""
        with self._lock:
            revision, now = (
                self._people.revision,
                {each.token_id: each for each in map(_token, self._people.everybody())},
            )
            if revision == self._noted:
                return 0
            try:
                changed = self._changed(now)
                if changed:
                    self._store.write(lambda connection: self._add(connection, changed))
            except StoreError as error:
                _log.error("what changed of tokens is not in the ledger yet: %s", error)
                return 0
            self._noted = revision
            return len(changed)

    def _changed(self, now: dict[str, Token]) -> list[Token]:
        told: dict[str, Token] = {}
        for entry in Ledger(self._store).entries(kinds=("token",)):
            said = msgspec.json.decode(entry.body, type=known(Token))
            told[said.token_id] = said
        gone = [token for name, token in told.items() if name not in now and token.state != "removed"]
        changed = [token for name, token in now.items() if told.get(name) != token]
        return [*changed, *(replace(token, state="removed") for token in gone)]

    def _add(self, connection: sa.Connection, changed: list[Token]) -> None:
        for token in changed:
            Ledger.append(connection, "token", MACHINE, "", msgspec.json.encode(token), self._now_ns())


def _token(person: Person) -> Token:
    state: Literal["given", "revoked"] = "given" if person.revoked_ns is None else "revoked"
    renewed = None if person.renewed_ns is None else instant_text(person.renewed_ns, 0)
    return Token(token_id_of(person), person.name, person.roles, instant_text(person.expires_ns, 0), state, renewed)
