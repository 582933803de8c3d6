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

REMEMBERED: Final = 4  # spans of listening for each sensor
FLOORS: Final = 64  # noise floors for each sensor: a minute of heartbeats


class Attendance:
    """Remembers the last spans in which each sensor listened."""

    def __init__(self) -> None:
        self._spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._last: dict[str, Heartbeat] = {}
        self._floors: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)

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
        self._last[heartbeat.sensor_id] = heartbeat

    def listened(self, sensor_id: str, from_ns: int, to_ns: int) -> None:
        """State that a sensor listened all this time; for pulses that come without heartbeats."""
        self._spans[sensor_id].append((from_ns, to_ns))

    def listening(self, sites: Sequence[Site], at_ns: int) -> NDArray[np.bool_]:
        """Which sites are known to have listened at this instant."""
        return np.array(
            [any(start <= at_ns < end for start, end in self._spans.get(site.sensor_id, ())) for site in sites],
            dtype=np.bool_,
        )

    def floors(self, sites: Sequence[Site], at_ns: int) -> NDArray[np.float64]:
        """The noise at each site as told last before this instant, dB SPL; NaN where nothing was told by then."""
        return np.array([self._floor(site.sensor_id, at_ns) for site in sites])

    def _floor(self, sensor_id: str, at_ns: int) -> float:
        floors = self._floors.get(sensor_id, [])
        told = bisect_right(floors, (at_ns, math.inf))
        return floors[told - 1][1] if told else math.nan
