"""An entry of the ledger: what the machine said or a person did, with the digest of the entry before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec
import sqlalchemy as sa

from acoustic.instant import check_instant
from alerts.record import tables

if TYPE_CHECKING:
    from collections.abc import Iterable

LedgerKind = Literal[
    "alert",  # a revision was kept; its body has the document's digest
    "act",
    "claim",
    "release",
    "acknowledge",
    "opinion",
    "disposition",
    "pin",
    "note",
    "link",
    "delivery-dead",
    "delivery-revived",
    "retired",  # documents were let go of by age or size; its body has their digests
    "migrated",
    "export",
    "token",
]
KINDS: Final[tuple[LedgerKind, ...]] = get_args(LedgerKind)

START: Final = "0" * 64
"""What the first entry has for the digest of the one before."""
LARGEST_BODY: Final = 1 << 20


# Built once: to build a statement costs more than to run it.
_ADD: Final = sa.insert(tables.ledger)
_LAST: Final = (
    sa.select(tables.ledger.c.sequence, tables.ledger.c.digest).order_by(tables.ledger.c.sequence.desc()).limit(1)
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Parameters
    ----------
    sequence : int
        1, 2, 3, ... without a gap, in the order of the commits.
    at_ns : int
        When, by the wall clock of the centre, UTC.
    kind : str
        One of `KINDS`.
    actor : str
        Who: ``machine``, or a person's opaque name.
    about : str
        An incident_id, or empty.
    body : bytes
        JSON.
    previous, digest : str
        64 hexadecimal digits each: of the entry before, and of this one.
    """

    sequence: int
    at_ns: int
    kind: str
    actor: str
    about: str
    body: bytes
    previous: str
    digest: str

    @property
    def expected(self) -> str:
        """The digest that it must have by what it says."""
        return digest_of(self.previous, self.sequence, self.at_ns, self.kind, self.actor, self.about, self.body)


def digest_of(previous: str, sequence: int, at_ns: int, kind: str, actor: str, about: str, body: bytes) -> str:
    r"""The SHA-256 of an entry, 64 hexadecimal digits.

    Over the UTF-8 bytes of ``previous``, ``sequence``, ``at_ns``, ``kind``, ``actor`` and ``about``, each with a line
    feed after it, numbers in decimal; then the body as it is. None of the six holds a line feed, so that no two entries
    have the same bytes.
    """
    heading = f"{previous}\n{sequence}\n{at_ns}\n{kind}\n{actor}\n{about}\n"
    return hashlib.sha256(heading.encode() + body).hexdigest()


def append(connection: sa.Connection, kind: LedgerKind, actor: str, about: str, body: bytes, at_ns: int) -> int:
    """Add an entry in a transaction that writes (`Store.write`, `Store.writing`); its number.

    Parameters
    ----------
    connection : Connection
        Of the transaction; the entry is there when that is committed, and not before.
    kind, actor, about, body, at_ns
        As an `Entry` has them.

    Raises
    ------
    ValueError, TypeError
        When a value cannot be one of an entry.
    """
    return append_all(connection, kind, actor, [(about, body)], at_ns)


def append_all(
    connection: sa.Connection, kind: LedgerKind, actor: str, said: Iterable[tuple[str, bytes]], at_ns: int
) -> int:
    """Add entries, each with what it is about and its body, as `append` does; the number of the last."""
    check_instant(at_ns, "at_ns")
    sequence, digest = head(connection)
    rows = []
    for about, body in said:
        _check(kind, actor, about, body)
        sequence, previous = sequence + 1, digest
        digest = digest_of(previous, sequence, at_ns, kind, actor, about, body)
        row = {"sequence": sequence, "at_ns": at_ns, "kind": kind, "actor": actor, "about": about}
        rows.append(row | {"body": body, "previous": previous, "digest": digest})
    if rows:
        connection.execute(_ADD, rows)
    return sequence


def _check(kind: str, actor: str, about: str, body: bytes) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: expected one of {', '.join(KINDS)}")
    for name, value in (("actor", actor), ("about", about)):
        if not value.isprintable():
            raise ValueError(f"{name} is {value!r}: expected letters on one line")
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"the body is no JSON: {error}") from None
    if not actor or len(body) > LARGEST_BODY:
        raise ValueError(f"an entry has an actor, and a body of {LARGEST_BODY} bytes at most")


def head(connection: sa.Connection) -> tuple[int, str]:
    """Number and digest of the last entry, as a connection sees it."""
    row = connection.execute(_LAST).one_or_none()
    return (0, START) if row is None else (row.sequence, row.digest)


def entry_of(row: sa.Row[Any]) -> Entry:
    """An entry from its row."""
    return Entry(row.sequence, row.at_ns, row.kind, row.actor, row.about, row.body, row.previous, row.digest)
