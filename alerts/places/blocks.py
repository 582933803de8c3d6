"""Blocks: stretches of a street of which only the range of house numbers is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import shapely

from alerts.places.ground import from_plane, plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BLOCK: Final = "p.street, p.left_from, p.left_to, p.right_from, p.right_to, p.directed, p.line"
"""The columns of a row that `blocks_near` takes."""
HUNDRED: Final = 100  # house numbers of a block

Range = tuple[int, int]
"""House numbers at the beginning and at the end of a line; the lowest and the highest where it has no direction."""


class NearBlock(NamedTuple):
    """A block beside a place: how it is called there, how far away it nearly is, and its nearest point."""

    distance_m: float
    text: str
    latitude: float
    longitude: float


def blocks_near(rows: Sequence[Sequence[Any]], latitude: float, longitude: float) -> list[NearBlock]:
    """The blocks of rows as they are called beside a place, the nearest first, each name once.

    A range has house numbers by the side of the street, left and right as one walks along the line; the place lies on
    one of them. Where the range runs along the line the number beside the place tells which hundred it is; it is
    reckoned, not known, so that no house number is told.
    """
    if not rows:
        return []
    lines = shapely.from_wkb([row[6] for row in rows])
    east_m, north_m, along, side = _feet(lines, latitude, longitude)
    distances = np.round(np.hypot(east_m, north_m), 3)
    named = sorted((float(distances[k]), _named(rows[k], float(along[k]), float(side[k])), k) for k in range(len(rows)))
    nearest: dict[str, NearBlock] = {}
    for distance_m, text, k in named:
        if text not in nearest:
            there = from_plane(latitude, longitude, float(east_m[k]), float(north_m[k]))
            nearest[text] = NearBlock(distance_m, text, *there)
    return list(nearest.values())


def _feet(
    lines: NDArray[Any], latitude: float, longitude: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The nearest point of each line: metres east and north of the place, how far along, 0 to 1, and the side.

    The side is above zero where the place lies to the left of one who walks along the line.
    """
    vertices, line = shapely.get_coordinates(lines, return_index=True)
    east_m, north_m = plane(latitude, longitude, vertices[:, 1], vertices[:, 0])
    inner = line[1:] == line[:-1]  # from one vertex to the next of the same line
    x, y = east_m[:-1][inner], north_m[:-1][inner]
    dx, dy = np.diff(east_m)[inner], np.diff(north_m)[inner]
    owner = line[:-1][inner]
    lengths = np.hypot(dx, dy)
    share = np.clip(-(x * dx + y * dy) / np.maximum(lengths, 1e-9) ** 2, 0.0, 1.0)
    px, py = x + share * dx, y + share * dy
    starts = np.searchsorted(owner, np.arange(len(lines)))
    order = np.lexsort((np.hypot(px, py), owner))  # the nearest stretch of each line comes first
    best = order[starts]
    before = np.cumsum(lengths) - lengths
    total = np.add.reduceat(lengths, starts)
    along = (before[best] - before[starts] + share[best] * lengths[best]) / np.maximum(total, 1e-9)
    return px[best], py[best], along, dx[best] * -py[best] - dy[best] * -px[best]


def _named(row: Sequence[Any], along: float, side: float) -> str:
    street, left_from, left_to, right_from, right_to, directed, _ = row
    left, right = (left_from, left_to), (right_from, right_to)
    first, last = (left if right_from is None else right) if side <= 0.0 or left_from is None else left
    if directed:
        first = last = _between(first, last, along)
    low, high = sorted((first // HUNDRED * HUNDRED, last // HUNDRED * HUNDRED))
    if low == high:
        return f"{low or 'unit'} block {street}"
    return f"{low or 'unit'} to {high} blocks {street}"


def _between(first: int, last: int, along: float) -> int:
    """The house number so far along, of the same parity as the first; one that exists or not."""
    return first + 2 * round((last - first) * along / 2.0)
