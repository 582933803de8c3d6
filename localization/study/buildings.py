"""Buildings: what stands in the way, and whether one point sees another past it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Triple = tuple[float, float, float]
"""East, north and up in the plane of a scene, m."""

CLEAR_M: Final = 1e-3
"""How far from a wall a point stands that is meant to lie on it: a point on the very line would belong to both sides,
and rays could slip between two houses that share a wall."""
LEVEL_M: Final = 1e-12  # a line that comes no nearer to a wall than this runs along it
ALL: Final = slice(None)
TOUCH_M: Final = 1e-6  # a ray that is inside for less only touches


@dataclass(frozen=True, slots=True)
class Block:
    """A house with upright walls and a flat roof, in the plane of a scene.

    Parameters
    ----------
    corners : tuple of (east_m, north_m)
        Of its footprint: three or more, convex, in either direction. Give an L-shaped house as two.
    roof_m : float
        Height of the roof, in the plane.
    ground_m : float
        Height of the ground.
    reflection : float
        Pressure that its walls throw back over pressure that falls in, 0 to 1.

    Raises
    ------
    ValueError
        When the footprint is not convex, has fewer than three corners, or two of them in one place.
    """

    corners: tuple[tuple[float, float], ...]
    roof_m: float
    ground_m: float = 0.0
    reflection: float = 0.8

    def __post_init__(self) -> None:
        if len(self.corners) < 3:
            raise ValueError(f"a footprint of {len(self.corners)} corners: expected three or more")
        points = np.array(self.corners)
        sides = np.roll(points, -1, axis=0) - points
        if np.min(np.hypot(*sides.T)) < 10.0 * CLEAR_M:
            raise ValueError("a footprint has two corners in one place: leave one out")
        turns = _cross(sides, np.roll(sides, -1, axis=0))
        angles = np.arctan2(turns, np.sum(sides * np.roll(sides, -1, axis=0), axis=1))
        if not (np.all(turns > 0.0) or np.all(turns < 0.0)) or abs(float(np.sum(angles))) > 6.3:
            raise ValueError("a footprint is not convex: give the house as several that touch")
        if float(np.sum(turns)) < 0.0:
            object.__setattr__(self, "corners", tuple(reversed(self.corners)))


@dataclass(frozen=True, slots=True, eq=False)
class Walls:
    """Every wall of a city, (W, ...) float64 each: where it begins, along it, outward, how long, its house's number."""

    begin: NDArray[np.float64]
    along: NDArray[np.float64]
    outward: NDArray[np.float64]
    length_m: NDArray[np.float64]
    house: NDArray[np.int64]


class Buildings:
    """The houses of a scene.

    Parameters
    ----------
    blocks : sequence of Block
        May touch and overlap.

    Notes
    -----
    Sight is a question of straight lines and costs (rays x houses x sides) operations: made for streets of some
    hundred houses, not for whole cities.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)
        self.roofs_m = np.array([block.roof_m for block in self.blocks])
        most = max((len(block.corners) for block in self.blocks), default=3)
        # Padding: planes without direction that hold everything.
        self._normals = np.zeros((len(self.blocks), most, 2))
        self._offsets = np.ones((len(self.blocks), most))
        parts: list[tuple[NDArray[Any], ...]] = [(np.zeros((0, 2)),) * 4 + (np.zeros(0), np.zeros(0, np.int64))]
        for k, block in enumerate(self.blocks):
            points = np.array(block.corners)
            sides = np.roll(points, -1, axis=0) - points
            lengths = np.hypot(*sides.T)
            along = sides / lengths[:, None]
            outward = np.column_stack([along[:, 1], -along[:, 0]])
            both = outward + np.roll(outward, 1, axis=0)
            cleared = points + CLEAR_M * both / (0.5 * np.sum(both * both, axis=1, keepdims=True))
            self._normals[k, : len(points)] = outward
            self._offsets[k, : len(points)] = np.sum(outward * points, axis=1)
            parts.append((points, along, outward, cleared, lengths, np.full(len(points), k)))
        begin, along, outward, corners, lengths, house = (np.concatenate(column) for column in zip(*parts, strict=True))
        houses = [np.array(block.corners) for block in self.blocks]
        self._middles = np.array([np.mean(each, axis=0) for each in houses]).reshape(-1, 2)
        self._radii = np.array(
            [np.max(np.hypot(*(each - middle).T)) for each, middle in zip(houses, self._middles, strict=True)]
        )
        self.walls = Walls(begin, along, outward, lengths, house)
        self.corners = corners
        """Each corner, (W, 2), moved a hair's breadth away from its house, so that sound has room to go round."""

    def __len__(self) -> int:
        return len(self.blocks)

    def holding(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each house (B) holds each of the points (n, 3) inside or on its walls: (n, B)."""
        room = self._offsets - np.einsum("bek,nk->nbe", self._normals, points[:, :2])
        result: NDArray[np.bool_] = np.all(room >= -0.5 * CLEAR_M, axis=2) & (points[:, 2:] < self.roofs_m)
        return result

    def outside(self, point: Triple) -> Triple:
        """The point itself, or the nearest one outside of the house that holds it: through a wall, or up on the roof.

        A survey's error may put a microphone into the wall that it hangs on; the real one never is.
        """
        moved = np.array(point)
        for _ in range(10):
            held = np.flatnonzero(self.holding(moved[None])[0])
            if not len(held):
                return float(moved[0]), float(moved[1]), float(moved[2])
            k = held[0]
            count = len(self.blocks[k].corners)
            room = self._offsets[k, :count] - self._normals[k, :count] @ moved[:2]
            side = int(np.argmin(room))
            if room[side] < self.roofs_m[k] - moved[2]:
                moved[:2] += (room[side] + CLEAR_M) * self._normals[k, side]
            else:
                moved[2] = self.roofs_m[k] + CLEAR_M
        return float(moved[0]), float(moved[1]), float(np.max(self.roofs_m)) + CLEAR_M  # among walls on all sides

    def near(self, one: NDArray[np.float64], other: NDArray[np.float64], detour_m: float) -> NDArray[np.int64]:
        """The numbers of the houses that a way between two points may touch that is so much longer than straight."""
        sums = sum(np.hypot(*(self._middles - end[:2]).T) for end in (one, other))
        return np.flatnonzero(sums - 2.0 * self._radii < np.hypot(*(other - one)[:2]) + detour_m)

    def crossed(
        self, begin: NDArray[np.float64], end: NDArray[np.float64], houses: NDArray[np.int64] | slice = ALL
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where on the map each straight line (n, 3) enters and leaves each house, or each of those numbered.

        Returns
        -------
        (n, B) float64, twice
            As shares of the line, 0 to 1, whatever the heights; where the second is not above the first, it passes by
            (Cyrus and Beck 1978: a convex body is left at the first side that is crossed outwards).
        """
        way = end[:, :2] - begin[:, :2]
        normals = self._normals[houses]
        speed = np.einsum("bek,nk->nbe", normals, way)
        room = self._offsets[houses] - np.einsum("bek,nk->nbe", normals, begin[:, :2])
        level = np.abs(speed) < LEVEL_M
        share = room / np.where(level, 1.0, speed)
        enters = np.max(np.where(level | (speed > 0.0), 0.0, share), axis=2)
        leaves = np.min(np.where(level | (speed < 0.0), 1.0, share), axis=2)
        passes = np.any(level & (room <= 0.0), axis=2)
        return np.maximum(enters, 0.0), np.where(passes, -1.0, np.minimum(leaves, 1.0))

    def see(
        self, begin: NDArray[np.float64], end: NDArray[np.float64], houses: NDArray[np.int64] | slice = ALL
    ) -> NDArray[np.bool_]:
        """Whether no house, or none of those numbered, stands between the ends of each line, (n, 3) each: (n,)."""
        if not len(self.blocks):
            return np.ones(len(begin), dtype=np.bool_)
        enters, leaves = self.crossed(begin, end, houses)
        length_m = np.linalg.norm(end - begin, axis=1)[:, None]
        inside = (leaves - enters) * length_m > TOUCH_M
        rise = (end[:, 2] - begin[:, 2])[:, None]
        lowest = begin[:, 2:] + np.minimum(rise * enters, rise * leaves)
        result: NDArray[np.bool_] = ~np.any(inside & (lowest < self.roofs_m[houses] - TOUCH_M), axis=1)
        return result


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return result
