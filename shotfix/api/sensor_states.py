"""The state of sensors, and where they stand: exactly for those who must know, in cells of the map for all others."""

from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sensors.site import Geodetic

if TYPE_CHECKING:
    from shotfix.engine import Engine

CELL_M: Final = 500.0
"""Side of a cell: a few blocks, in which nobody finds a microphone."""
_DEGREE_M: Final = 111_320.0  # of latitude, and of longitude at the equator (WGS84, to 1 %)


@dataclass(frozen=True, slots=True)
class SensorState:
    """A sensor as the centre knows it now.

    Parameters
    ----------
    sensor_id, node_id : str
        Its name, and that of the node that speaks for it, None when nobody does.
    state, troubles : str, tuple of str
        Of `sensors.condition.STATES`, and all that is wrong.
    since_ns : int or None
        Since when it is in this state; None while it is live.
    clock_offset_s, clock : float and str or None
        How far its node's clock was found to be off, and what is wrong with it in words; None while nothing is known.
    latitude, longitude, east_m, north_m : float or None
        Where it stands: degrees, or metres in a plane of one's own.
    """

    sensor_id: str
    node_id: str | None
    state: str
    troubles: tuple[str, ...] = ()
    since_ns: int | None = None
    clock_offset_s: float | None = None
    clock: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    east_m: float | None = None
    north_m: float | None = None


def sensor_states(engine: Engine) -> tuple[SensorState, ...]:
    """The state of every sensor of a running engine; may be asked from any thread."""
    core = engine.core
    sites = {site.sensor_id: site for site in core.registry.network.sites if site.valid_to_ns is None}
    found = []
    for sensor_id, condition in sorted(core.conditions.items()):
        node_id = core.registry.node_of(sensor_id)
        watch = core.watches.get(node_id or "")
        position = sites[sensor_id].position if sensor_id in sites else None
        geodetic = position if isinstance(position, Geodetic) else None
        local = None if position is None or isinstance(position, Geodetic) else position
        found.append(
            SensorState(
                sensor_id=sensor_id,
                node_id=node_id,
                state=condition.state,
                troubles=condition.troubles,
                since_ns=condition.since_ns,
                clock_offset_s=None if watch is None else watch.verdict.size_s,
                clock=None if watch is None else watch.verdict.words,
                latitude=None if geodetic is None else geodetic.latitude_deg,
                longitude=None if geodetic is None else geodetic.longitude_deg,
                east_m=None if local is None else local.east_m,
                north_m=None if local is None else local.north_m,
            )
        )
    return tuple(found)


def cell(latitude: float, longitude: float) -> tuple[float, float]:
    """The middle of the cell of the map in which a place lies, degrees, to 5 decimals.

    The grid stands still and has no chance in it: however often somebody asks, a place gives the same cell, and every
    place in a cell gives the same answer. Cells are `CELL_M` high, and as wide as the middle of their row makes them.
    """
    height_deg = CELL_M / _DEGREE_M
    row = math.floor(latitude / height_deg)
    middle = min(max((row + 0.5) * height_deg, -90.0), 90.0)
    # Towards the poles a cell would go round the Earth: one cell is then the whole row.
    columns = max(math.floor(360.0 * _DEGREE_M * math.cos(math.radians(middle)) / CELL_M), 1)
    width_deg = 360.0 / columns
    column = min(math.floor((longitude + 180.0) / width_deg), columns - 1)
    return round(middle, 5), round((column + 0.5) * width_deg - 180.0, 5)


def plane_cell(metres: float) -> float:
    """The middle of the cell along one axis of a plane, m."""
    return (math.floor(metres / CELL_M) + 0.5) * CELL_M


def opaque(key: bytes, name: str) -> str:
    """A name for a sensor that says nothing of it, the same for ever at one centre."""
    return "s" + hmac.new(key, b"sensor\n" + name.encode(), hashlib.sha256).hexdigest()[:16]
