"""Diffraction: the shortest ways over roofs and round corners, and what the edges take off."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.study.buildings import Buildings, Triple

DETOUR_M: Final = 60.0  # ways round corners that are so much longer than the straight line count for nothing
LOW_HZ, HIGH_HZ = 500.0, 2000.0  # where a first-order low pass is made to lose what the edges take off
THIN_LIMIT_DB: Final = 20.0  # ISO 9613-2:1996, 7.4: of one edge
THICK_LIMIT_DB: Final = 25.0  # of two or more


@dataclass(frozen=True, slots=True)
class Bend:
    """A way that turns at edges: its points, the two ends with them, (east, north, up) in metres."""

    points: tuple[Triple, ...]

    @property
    def legs(self) -> tuple[tuple[Triple, Triple], ...]:
        """The straight pieces, from the source on."""
        return tuple(itertools.pairwise(self.points))

    @property
    def length_m(self) -> float:
        """All pieces together."""
        return math.fsum(math.dist(a, b) for a, b in self.legs)

    @property
    def longer_m(self) -> float:
        """How much longer it is than the straight line between its ends."""
        return max(self.length_m - math.dist(self.points[0], self.points[-1]), 0.0)

    @property
    def thickness_m(self) -> float:
        """From the first edge to the last, along the way."""
        return math.fsum(math.dist(a, b) for a, b in self.legs[1:-1])


def bends(buildings: Buildings, source: Triple, sensor: Triple) -> list[Bend]:
    """The shortest way over the roofs, and the shortest one round corners where there is one; the shorter first.

    For two ends that do not see each other. The way over the roofs is the rubber band in the upright plane through
    both ends: the only one that always exists. The one round corners turns once or twice on the map, between corners
    that see each other, each passed at the height of the straight line beside it; longer by more than `DETOUR_M` it
    is not looked for. Ways that turn oftener, or that go over one house and round another, are left out.
    """
    if sensor < source:  # there and back are one way, also where two are equally short
        return [Bend(bend.points[::-1]) for bend in bends(buildings, sensor, source)]
    found = [_over(buildings, source, sensor)]
    round_corners = _round(buildings, source, sensor)
    if round_corners is not None:
        found.append(round_corners)
    return sorted(found, key=lambda bend: bend.length_m)


def _over(buildings: Buildings, source: Triple, sensor: Triple) -> Bend:
    begin, end = np.array(source), np.array(sensor)
    enters, leaves = (shares[0] for shares in buildings.crossed(begin[None], end[None]))
    hull = [(0.0, source[2])]
    edges = [
        (float(share), float(roof))
        for first, last, roof in zip(enters, leaves, buildings.roofs_m, strict=True)
        if last > first
        for share in (first, last)
    ]
    for point in [*sorted(edges), (1.0, sensor[2])]:
        # The upper hull, in shares of the line: a point below that from the one before it to the next is passed over.
        while len(hull) > 1 and _below(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    points = [
        (float(begin[0] + s * (end[0] - begin[0])), float(begin[1] + s * (end[1] - begin[1])), up) for s, up in hull
    ]
    return Bend(tuple(points))


def _below(before: tuple[float, float], point: tuple[float, float], after: tuple[float, float]) -> bool:
    ahead, up = after[0] - before[0], after[1] - before[1]
    return (point[1] - before[1]) * ahead <= up * (point[0] - before[0])


def _round(buildings: Buildings, source: Triple, sensor: Triple) -> Bend | None:
    ends = np.array([source, sensor])
    nodes = _nodes(buildings, ends)
    if not len(nodes):
        return None
    count, houses = len(nodes), buildings.near(ends[0], ends[1], DETOUR_M)
    from_source = buildings.see(np.repeat(ends[:1], count, axis=0), nodes, houses)
    to_sensor = buildings.see(nodes, np.repeat(ends[1:], count, axis=0), houses)
    out = np.linalg.norm(nodes - ends[0], axis=1)
    home = np.linalg.norm(nodes - ends[1], axis=1)
    best_m = math.inf
    best: tuple[int, ...] = ()
    both = np.flatnonzero(from_source & to_sensor)
    if len(both):
        k = both[int(np.argmin((out + home)[both]))]
        best_m, best = float(out[k] + home[k]), (int(k),)
    firsts, lasts = np.flatnonzero(from_source), np.flatnonzero(to_sensor)
    pairs = np.array([(i, j) for i in firsts for j in lasts if i != j], dtype=np.int64).reshape(-1, 2)
    lengths = out[pairs[:, 0]] + np.linalg.norm(nodes[pairs[:, 0]] - nodes[pairs[:, 1]], axis=1) + home[pairs[:, 1]]
    longest_m = min(best_m, math.dist(source, sensor) + DETOUR_M)
    shorter = np.argsort(lengths, kind="stable")[: int(np.sum(lengths < longest_m))]
    for some in np.array_split(shorter, max(1, len(shorter) // 64)):
        clear = buildings.see(nodes[pairs[some, 0]], nodes[pairs[some, 1]], houses)
        if np.any(clear):
            best = tuple(int(k) for k in pairs[some[int(np.argmax(clear))]])
            break
    if not best:
        return None
    return Bend((source, *((float(nodes[k, 0]), float(nodes[k, 1]), float(nodes[k, 2])) for k in best), sensor))


def _nodes(buildings: Buildings, ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners that a way of at most `DETOUR_M` more could turn at, (n, 3), at the height of the line beside them."""
    corners = buildings.corners
    way = ends[1, :2] - ends[0, :2]
    across_m = float(np.hypot(*way))
    if across_m == 0.0:
        return np.zeros((0, 3))
    sums = sum(np.hypot(*(corners - end[:2]).T) for end in ends)
    near = corners[sums < across_m + DETOUR_M]
    share = np.clip((near - ends[0, :2]) @ way / across_m**2, 0.0, 1.0)
    nodes = np.column_stack([near, ends[0, 2] + share * (ends[1, 2] - ends[0, 2])])
    return nodes[~np.any(buildings.holding(nodes), axis=1)] if len(nodes) else nodes


def loss_db(bend: Bend, frequency_hz: float, speed_m_per_s: float, *, limited: bool = True) -> float:
    """What the edges of a bent way take off a tone, dB.

    10 lg(3 + 20 N C), with the Fresnel number N = 2 z / wavelength of the detour z, as Maekawa (1968) measured it
    behind a thin screen, in the form of ISO 9613-2:1996, equation 14, with the ground left to its own ray. C is 1 for
    one edge, and for more (1 + q) / (1/3 + q) with q = (5 wavelength / e)^2, e from the first edge to the last
    (equation 15); the norm's K_met for weather is 1. ``limited`` is at most 20 dB for one edge and 25 dB for more:
    what the air and everything about scatters into a shadow comes there anyway, once, whatever the number of ways.

    Behind a screen that only just touches the line of sight it is 4.8 dB; in front of it, where sight is free, a real
    edge still takes off some decibels, and here nothing: at the border of the shadow there is a step. Right angles
    and hard walls make some decibels of difference that this leaves out, wind and ground too.
    """
    wavelength_m = speed_m_per_s / frequency_hz
    fresnel = 2.0 * bend.longer_m / wavelength_m
    thin = len(bend.points) == 3
    q = (5.0 * wavelength_m / max(bend.thickness_m, 1e-9)) ** 2
    spread = 1.0 if thin else (1.0 + q) / (1.0 / 3.0 + q)
    most_db = (THIN_LIMIT_DB if thin else THICK_LIMIT_DB) if limited else math.inf
    return min(10.0 * math.log10(3.0 + 20.0 * fresnel * spread), most_db)


def low_pass(bend: Bend, speed_m_per_s: float, *, limited: bool = True) -> tuple[float, float]:
    """Gain and corner frequency, Hz, of the first-order low pass that loses what the edges take off.

    It agrees with `loss_db` at 500 Hz and at 2 kHz, between which most of a blast's front lies. The edges' loss grows
    by 10 dB a decade until it reaches its limit, the low pass's by 20 dB without one: apart they are by up to 3.2 dB
    from 350 Hz to 2.8 kHz, and by up to 6 dB from 250 Hz to 4 kHz. The corner is infinite where the loss is the same
    at both.
    """
    low, high = (10.0 ** (loss_db(bend, hz, speed_m_per_s, limited=limited) / 10.0) for hz in (LOW_HZ, HIGH_HZ))
    slope = (high - low) / (HIGH_HZ**2 - LOW_HZ**2)
    level = low - slope * LOW_HZ**2
    return 1.0 / math.sqrt(level), math.sqrt(level / slope) if slope > 0.0 else math.inf
