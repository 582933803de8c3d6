"""Attendance: which sensors listened when, and over what noise, as their heartbeats say."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sensors.health import Heartbeat
    from sensors.site import Site

REMEMBERED: Final = 16  # spans of listening for each sensor
FLOORS: Final = 4_096  # noise floors for each sensor: an hour of heartbeats, where one is so far ahead of the rest
NEVER_NS: Final = -(1 << 62)


class Attendance:
    """Remembers the last spans in which each sensor listened."""

    def __init__(self) -> None:
        self._spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._last: dict[str, Heartbeat] = {}
        self._floors: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        # The same as arrays, since thousands of sensors are asked about four times a second.
        self._row: dict[str, int] = {}
        self._table = np.full((16, REMEMBERED, 2), NEVER_NS, dtype=np.int64)
        self._asked: tuple[Sequence[Site], NDArray[np.int64]] = ((), np.empty(0, np.int64))

    def note(self, heartbeat: Heartbeat) -> None:
        """Take a heartbeat: a sensor listened between two of which the first says that it does."""
        if heartbeat.noise_floor_db_spl is not None:
            floors = self._floors[heartbeat.sensor_id]
            insort(floors, (heartbeat.heard_until_ns, heartbeat.noise_floor_db_spl))
            del floors[:-FLOORS]
        before = self._last.get(heartbeat.sensor_id)
        if (
            before is not None
            and heartbeat.heard_until_ns <= before.heard_until_ns
            and heartbeat.listening == before.listening
        ):
            return
        spans = self._spans[heartbeat.sensor_id]
        if before is not None and before.listening:
            if spans and spans[-1][1] >= before.heard_until_ns:
                spans[-1] = (spans[-1][0], max(spans[-1][1], heartbeat.heard_until_ns))
            else:
                spans.append((before.heard_until_ns, heartbeat.heard_until_ns))
            del spans[:-REMEMBERED]
            self._write(heartbeat.sensor_id)
        self._last[heartbeat.sensor_id] = heartbeat

    def forget(self, before_ns: int) -> None:
        """Nobody will ask for an earlier time again: of the floors told before it the last stays for each sensor."""
        for floors in self._floors.values():
            if floors[0][0] < before_ns:
                del floors[: max(bisect_right(floors, (before_ns, math.inf)) - 1, 0)]

    def listened(self, sensor_id: str, from_ns: int, to_ns: int) -> None:
        """State that a sensor listened all this time; for pulses that come without heartbeats."""
        spans = self._spans[sensor_id]
        spans.append((from_ns, to_ns))
        del spans[:-REMEMBERED]
        self._write(sensor_id)

    def listening(self, sites: Sequence[Site], at_ns: int) -> NDArray[np.bool_]:
        """Which sites are known to have listened at this instant."""
        if self._asked[0] is not sites or np.any(self._asked[1] < 0):
            self._asked = sites, np.array([self._row.get(site.sensor_id, -1) for site in sites], dtype=np.int64)
        rows = self._asked[1]
        spans = self._table[rows]
        inside = np.any((spans[:, :, 0] <= at_ns) & (at_ns < spans[:, :, 1]), axis=1)
        return np.asarray(inside & (rows >= 0), dtype=np.bool_)

    def floors(self, sites: Sequence[Site], at_ns: int) -> NDArray[np.float64]:
        """The noise at each site as told last before this instant, dB SPL; NaN where nothing was told by then."""
        if not self._floors:
            return np.full(len(sites), math.nan)
        return np.array([self._floor(site.sensor_id, at_ns) for site in sites])

    def _write(self, sensor_id: str) -> None:
        row = self._row.setdefault(sensor_id, len(self._row))
        if row >= len(self._table):
            self._table = np.concatenate([self._table, np.full_like(self._table, NEVER_NS)])
        self._table[row] = NEVER_NS
        spans = self._spans[sensor_id]
        self._table[row, : len(spans)] = spans

    def _floor(self, sensor_id: str, at_ns: int) -> float:
        floors = self._floors.get(sensor_id, [])
        told = bisect_right(floors, (at_ns, math.inf))
        return floors[told - 1][1] if told else math.nan
