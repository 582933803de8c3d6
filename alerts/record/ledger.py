"""The ledger: what the machine said and what people did, each entry holding the digest of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from alerts.record import tables
from alerts.record.audit import audit
from alerts.record.chain import Chain, Fault, Verdict
from alerts.record.entry import KINDS, START, Entry, LedgerKind, append, entry_of, head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alerts.record.database import Database
    from alerts.record.heads import Head
    from alerts.record.store import Store

__all__ = ["KINDS", "START", "Entry", "Ledger", "LedgerKind"]

TAIL: Final = 200
"""Entries that are walked along at every start."""
_PAGE: Final = 500


class Ledger:
    """The ledger of a record. Entries are only ever added; the database refuses to change or remove one.

    Parameters
    ----------
    store : Store or Database
        The record that holds it.
    """

    def __init__(self, store: Store | Database) -> None:
        self._store = store

    append = staticmethod(append)

    def entries(
        self,
        after: int = 0,
        limit: int | None = None,
        about: str | None = None,
        kinds: Iterable[str] | None = None,
    ) -> Iterator[Entry]:
        """Entries in order, those behind ``after``; of one incident, of some kinds.

        Read page by page: an entry that is added meanwhile comes too, and a reader who is slow holds up nobody.

        Raises
        ------
        StoreError
            When the record cannot be read.
        """
        wanted = tuple(kinds) if kinds is not None else None
        while limit is None or limit > 0:
            size = _PAGE if limit is None else min(limit, _PAGE)
            with self._store.reading() as connection:
                page = [entry_of(row) for row in connection.execute(_page(after, size, about, wanted))]
            yield from page
            if len(page) < size:
                return
            after = page[-1].sequence
            limit = None if limit is None else limit - len(page)

    def verify(self, heads: Iterable[Head] = ()) -> Verdict:
        """Walk along all of it, and compare the record with it; see `alerts.record.audit.audit`.

        Raises
        ------
        StoreError
            When the record cannot be read at all.
        """
        return audit(self._store.reading, heads)

    def check_tail(self, heads: Iterable[Head] = ()) -> Fault | None:
        """What is wrong with the last entries, or None: quick, for every start.

        Parameters
        ----------
        heads : iterable of Head
            What was noted elsewhere: the last of them must be an entry still.

        Raises
        ------
        StoreError
            When the record cannot be read.
        """
        noted = max(heads, key=lambda head: head.sequence, default=None)
        last, _ = self.head()
        entries = list(self.entries(after=max(0, last - TAIL)))
        if noted is not None and noted.sequence <= last - TAIL:
            (entry,) = list(self.entries(noted.sequence - 1, limit=1)) or (None,)
            if entry is None or (entry.sequence, entry.digest) != (noted.sequence, noted.digest):
                return Fault(
                    noted.sequence, "rewritten", f"entry {noted.sequence} is not the one whose digest was noted"
                )
            noted = None
        chain = Chain([] if noted is None else [noted])
        if entries and entries[0].sequence > 1:
            chain.sequence, chain.digest = entries[0].sequence - 1, entries[0].previous
        return next((fault for entry in entries if (fault := chain.follow(entry)) is not None), None) or chain.end()

    def head(self) -> tuple[int, str]:
        """Number and digest of the last entry; 0 and `START` while there is none."""
        with self._store.reading() as connection:
            return head(connection)


def _page(after: int, size: int, about: str | None, kinds: tuple[str, ...] | None) -> sa.Select[Any]:
    ledger = tables.ledger
    wanted = sa.select(ledger).where(ledger.c.sequence > after).order_by(ledger.c.sequence).limit(size)
    if about is not None:
        wanted = wanted.where(ledger.c.about == about)
    return wanted if kinds is None else wanted.where(ledger.c.kind.in_(kinds))
