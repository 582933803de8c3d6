"""Reflection: what upright walls throw back, by image sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from localization.study.buildings import CLEAR_M

if TYPE_CHECKING:
    from localization.study.buildings import Buildings, Triple

WAVELENGTH_M: Final = 0.34  # of a kilohertz, about the middle of what makes a blast's front


@dataclass(frozen=True, slots=True)
class Reflection:
    """One wall's reflection: where it happens, how long the way is by it, and pressure back over pressure in."""

    point: Triple
    length_m: float
    gain: float


def reflections(buildings: Buildings, source: Triple, sensor: Triple) -> list[Reflection]:
    """Every reflection of the first order off an upright wall, nearest way first.

    The image of the source in a wall lies as far behind it (Allen and Berkley 1979). It counts where the line from
    there to the sensor meets the wall between its ends, above the ground and below the roof, and both ends see that
    point. Walls too small for the sound throw back less: under the size of ISO 9613-2:1996, equation 19, for a
    kilohertz, the gain falls in proportion (the norm itself drops such walls). Walls are flat and hard: nothing is
    scattered, no bay or balcony counts, and of two reflections one after the other nothing is made.
    """
    walls = buildings.walls
    if not len(walls.house):
        return []
    if sensor < source:  # there and back are one way, also where a mirror's point falls on an edge
        return reflections(buildings, sensor, source)
    a, b = np.array(source), np.array(sensor)
    before_a, before_b = (np.sum(walls.outward * (end[:2] - walls.begin), axis=1) for end in (a, b))
    along_a, along_b = (np.sum(walls.along * (end[:2] - walls.begin), axis=1) for end in (a, b))
    facing = (before_a > CLEAR_M) & (before_b > CLEAR_M)
    share = np.where(facing, before_a / np.where(facing, before_a + before_b, 1.0), 0.0)
    along = along_a + share * (along_b - along_a)
    up = a[2] + share * (b[2] - a[2])
    roofs_m = buildings.roofs_m[walls.house]
    grounds_m = np.array([block.ground_m for block in buildings.blocks])[walls.house]
    meets = facing & (along > 0.0) & (along < walls.length_m) & (up > grounds_m) & (up < roofs_m)
    k = np.flatnonzero(meets)
    on_map = walls.begin[k] + along[k, None] * walls.along[k]
    cleared = np.column_stack([on_map + CLEAR_M * walls.outward[k], up[k]])
    seen = buildings.see(np.tile(a, (len(k), 1)), cleared) & buildings.see(cleared, np.tile(b, (len(k), 1)))
    found = []
    for wall, (east, north), height in zip(k[seen], on_map[seen], up[k][seen], strict=True):
        straight_m = math.hypot(along_b[wall] - along_a[wall], before_a[wall] + before_b[wall])
        length_m = math.hypot(straight_m, b[2] - a[2])
        size_m = min(walls.length_m[wall], roofs_m[wall] - grounds_m[wall])
        size_m *= (before_a[wall] + before_b[wall]) / length_m
        least_m = math.sqrt(2.0 * WAVELENGTH_M * share[wall] * (1.0 - share[wall]) * length_m)
        gain = buildings.blocks[walls.house[wall]].reflection * min(1.0, float(size_m) / least_m)
        found.append(Reflection((float(east), float(north), float(height)), length_m, gain))
    return sorted(found, key=lambda each: each.length_m)
