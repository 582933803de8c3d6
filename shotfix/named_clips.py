"""Named clips: which alert names a clip; sound that none names is nobody's to fetch, and nothing to keep for long."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from alerts.record import tables
from sensors.known_type import known

if TYPE_CHECKING:
    from alerts.record.store import Store

_PAGE: Final = 500


class _Clip(msgspec.Struct):
    sha256: str


class _Named(msgspec.Struct):
    audio: tuple[_Clip, ...] = ()


class NamedClips:
    """By digest the alerts that name a clip; every alert is read once, and of it these only. For several threads.

    Parameters
    ----------
    store : Store
        The record. Alerts are added to it in the order of their numbers, and seldom let go: see `forget`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alerts_of: dict[bytes, tuple[str, ...]] = {}
        self._numbers: dict[str, int] = {}
        """Of each alert that names one, the number of the last revision that was read."""
        self._last = 0
        self._lock = threading.Lock()
        self._decoder = msgspec.json.Decoder(known(_Named))

    def alert_of(self, sha256: str) -> str | None:
        """The first alert_id that names this digest (64 hexadecimal digits); None when none does.

        Raises
        ------
        StoreError
            When the record refuses; what was read counts.
        """
        key = bytes.fromhex(sha256)
        known = self._alerts_of.get(key)
        if known is None:
            with self._lock:
                self._read()
                known = self._alerts_of.get(key)
        return None if known is None else known[0]

    def digests(self) -> set[str]:
        """All that are named, as of now.

        Raises
        ------
        StoreError
            When the record refuses; what was read counts.
        """
        with self._lock:
            self._read()
            return {key.hex() for key in self._alerts_of}

    def forget(self) -> None:
        """Alerts were let go: forget what those named. Nobody who asks meanwhile waits for the record.

        Raises
        ------
        StoreError
            When the record refuses; nothing is forgotten then.
        """
        with self._lock:
            known = dict(self._numbers)
        gone = {name: known[name] for name in known.keys() - self._there(list(known))}
        with self._lock:
            # One that was revised meanwhile is there again.
            names = {name for name, number in gone.items() if self._numbers.get(name) == number}
            for name in names:
                del self._numbers[name]
            left = {key: tuple(one for one in alerts if one not in names) for key, alerts in self._alerts_of.items()}
            self._alerts_of = {key: alerts for key, alerts in left.items() if alerts}

    def _there(self, names: list[str]) -> set[str]:
        there: set[str] = set()
        alert = tables.alert.c
        for first in range(0, len(names), _PAGE):
            wanted = sa.select(alert.alert_id).where(alert.alert_id.in_(names[first : first + _PAGE])).distinct()
            with self._store.reading() as connection:
                there.update(connection.execute(wanted).scalars())
        return there

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
                key = bytes.fromhex(clip.sha256)
                alerts = self._alerts_of.get(key, ())
                if row.alert_id not in alerts:
                    self._alerts_of[key] = (*alerts, row.alert_id)
                self._numbers[row.alert_id] = row.number
            self._last = row.number
        return len(rows) == _PAGE

    def _clips(self, document: bytes) -> tuple[_Clip, ...]:
        try:
            return self._decoder.decode(document).audio
        except msgspec.DecodeError:  # retired, or altered: it names nothing any more
            return ()
