"""Named clips: which alert names a clip; sound that none names is nobody's to fetch, and nothing to keep for long."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from alerts.record import tables

if TYPE_CHECKING:
    from alerts.record.store import Store

_PAGE: Final = 500


class _Clip(msgspec.Struct):
    sha256: str


class _Named(msgspec.Struct):
    audio: tuple[_Clip, ...] = ()


class NamedClips:
    """By digest the first alert that names a clip; every alert is read once, and of it these only. For several threads.

    Parameters
    ----------
    store : Store
        The record. Alerts are added to it in the order of their numbers, and seldom let go: see `forget`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alert_of: dict[bytes, str] = {}
        self._last = 0
        self._lock = threading.Lock()
        self._decoder = msgspec.json.Decoder(_Named)

    def alert_of(self, sha256: str) -> str | None:
        """The alert_id that names this digest (64 hexadecimal digits); None when none does.

        Raises
        ------
        StoreError
            When the record refuses; what was read counts.
        """
        key = bytes.fromhex(sha256)
        known = self._alert_of.get(key)
        if known is not None:
            return known
        with self._lock:
            self._read()
            return self._alert_of.get(key)

    def digests(self) -> set[str]:
        """All that are named, as of now.

        Raises
        ------
        StoreError
            When the record refuses; what was read counts.
        """
        with self._lock:
            self._read()
            return {key.hex() for key in self._alert_of}

    def forget(self) -> None:
        """Alerts were let go: read the others anew when asked next."""
        with self._lock:
            self._alert_of = {}
            self._last = 0

    def _read(self) -> None:
        while self._read_page():
            pass

    def _read_page(self) -> bool:
        """Read some more alerts; whether there may be more still."""
        alert = tables.alert
        wanted = (
            sa.select(alert.c.number, alert.c.alert_id, alert.c.document)
            .where(alert.c.number > self._last)
            .order_by(alert.c.number)
            .limit(_PAGE)
        )
        with self._store.reading() as connection:
            rows = connection.execute(wanted).all()
        for row in rows:
            for clip in self._clips(row.document):
                self._alert_of.setdefault(bytes.fromhex(clip.sha256), row.alert_id)
            self._last = row.number
        return len(rows) == _PAGE

    def _clips(self, document: bytes) -> tuple[_Clip, ...]:
        try:
            return self._decoder.decode(document).audio
        except msgspec.DecodeError:  # retired, or altered: it names nothing any more
            return ()
