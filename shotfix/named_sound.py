"""Named sound: which clips the alerts of a record name, so that they stay for as long as the alerts do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from alerts.record import tables

if TYPE_CHECKING:
    from alerts.record.store import Store


class _Clip(msgspec.Struct):
    sha256: str


class _Named(msgspec.Struct):
    audio: tuple[_Clip, ...] = ()


class NamedSound:
    """The digests of all clips that alerts name; every alert is read once, and of it these only.

    Parameters
    ----------
    store : Store
        The record.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._digests: set[str] = set()
        self._last = 0  # alerts are numbered in the order in which they are kept
        self._decoder = msgspec.json.Decoder(_Named)

    def digests(self) -> set[str]:
        """As of now; for one thread at a time.

        Raises
        ------
        StoreError
            When the record refuses; what was read counts.
        """
        number = tables.alert.c.number
        news = sa.select(number, tables.alert.c.document).where(number > self._last).order_by(number)
        with self._store.reading() as connection:
            for last, document in connection.execute(news).yield_per(100):
                self._digests.update(clip.sha256 for clip in self._decoder.decode(document).audio)
                self._last = last
        return self._digests

    def forget(self) -> None:
        """Alerts were let go: read the others anew when asked next."""
        self._digests = set()
        self._last = 0
