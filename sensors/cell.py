"""Cells: a city cut into squares with lasting names, so that several workers can share it.

A shot belongs to the worker that owns the cell of the sensor that heard it first. Every worker also listens to the
cells within a margin of its own, so that it knows all that was heard of its shots; what is not its own it leaves to the
neighbour, and a shot on a border is alerted once.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Final

from sensors.site import Geodetic, Local

SMALLEST_CELL_M: Final = 100
LARGEST_CELL_M: Final = 100_000
MOST_CELLS: Final = 10_000
"""No margin reaches over more cells than this: choose larger cells instead."""

_HALF_MERIDIAN_M: Final = 20_003_931.5  # WGS84, pole to pole
_EQUATOR_M: Final = 40_075_016.7  # WGS84
_SHORTEST_DEGREE_M: Final = 110_574.0  # of latitude on WGS84, at the equator
_SMALLEST_RADIUS_M: Final = 6_335_439.0  # of curvature on WGS84: north to south, at the equator
_AT_THE_POLE: Final = 1e-9  # all its longitudes are one place
_SAFETY: Final = 1.001  # for what a sphere and rounding leave out: too many neighbours do no harm, too few do

_ON_EARTH: Final = re.compile(r"w(\d{1,6})_(\d{1,7})_(\d{1,7})")
_IN_PLANE: Final = re.compile(r"p(\d{1,6})_([ew])(\d{1,8})_([ns])(\d{1,8})")


def cell_of(position: Geodetic | Local, size_m: int) -> str:
    """The name of the cell in which a place lies.

    On the Earth: bands of latitude of equal angle, each cut into equal steps of longitude, as many as its middle is
    long; about ``size_m`` from side to side, on a whole number of them once round the Earth, so that the date line is a
    border like any other and the poles lie in a cell. In a plane: squares. The name holds the size: cells of two sizes
    are never taken for each other. It is one token of a NATS subject: letters, digits and underscores.

    Parameters
    ----------
    position : Geodetic or Local
        Where; the height does not matter.
    size_m : int
        100 to 100,000.

    Raises
    ------
    ValueError
        When the size is out of range.
    """
    _check_size(size_m)
    if isinstance(position, Local):
        return _plane_name(size_m, math.floor(position.east_m / size_m), math.floor(position.north_m / size_m))
    rows = _rows(size_m)
    row = min(math.floor((position.latitude_deg + 90.0) / 180.0 * rows), rows - 1)
    columns = _columns(row, size_m)
    column = math.floor((position.longitude_deg + 180.0) / 360.0 * columns) % columns
    return f"w{size_m}_{row}_{column}"


def cells_within(cell: str, margin_m: float) -> frozenset[str]:
    """A cell and every other of its size with a point that may lie within a margin of one of its points.

    Generous: on the Earth a few more than those, never fewer.

    Parameters
    ----------
    cell : str
        A name of `cell_of`.
    margin_m : float
        0 or more: as far as a shot is heard.

    Raises
    ------
    ValueError
        When the name is none, the margin is negative, or it reaches over more than `MOST_CELLS`.
    """
    if not 0.0 <= margin_m <= _HALF_MERIDIAN_M:
        raise ValueError(f"margin_m is {margin_m}: expected 0 or more, and not round the Earth")
    if found := _IN_PLANE.fullmatch(cell):
        return _plane_cells(found, margin_m)
    if found := _ON_EARTH.fullmatch(cell):
        size_m, row, column = (int(number) for number in found.groups())
        return _earth_cells(size_m, row, column, margin_m)
    raise ValueError(f"{cell!r} is no cell: expected a name as cell_of gives it")


@dataclass(frozen=True, slots=True)
class Territory:
    """What one worker is answerable for: its own cells; and what it listens to: those within the margin too.

    Parameters
    ----------
    own : frozenset of str
        Cells of one size. No two workers of a city have one in common.
    margin_m : float
        As far as a shot is heard, and the association window reaches.
    listens : frozenset of str
        The cells to subscribe to; follows from the two.

    Raises
    ------
    ValueError
        Without a cell, with a name that is none, or with cells of two sizes.
    """

    own: frozenset[str]
    margin_m: float
    listens: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        if not self.own:
            raise ValueError("a territory without cells: give at least one")
        listens = frozenset().union(*(cells_within(cell, self.margin_m) for cell in self.own))
        if len({cell.split("_")[0] for cell in self.own}) > 1:
            raise ValueError("the cells of a territory are of two sizes or two frames: use one for a whole city")
        object.__setattr__(self, "listens", listens)

    @property
    def size_m(self) -> int:
        """The size of its cells."""
        return int(next(iter(self.own)).split("_")[0][1:])

    def owns(self, position: Geodetic | Local) -> bool:
        """Whether a shot first heard by a sensor that stands here is this worker's to tell."""
        return cell_of(position, self.size_m) in self.own


def _check_size(size_m: int) -> None:
    if not SMALLEST_CELL_M <= size_m <= LARGEST_CELL_M:
        raise ValueError(f"a cell of {size_m} m: expected {SMALLEST_CELL_M} to {LARGEST_CELL_M}")


def _plane_name(size_m: int, east: int, north: int) -> str:
    return f"p{size_m}_{'e' if east >= 0 else 'w'}{abs(east)}_{'n' if north >= 0 else 's'}{abs(north)}"


def _plane_numbers(found: re.Match[str]) -> tuple[int, int, int]:
    size, side, east, end, north = found.groups()
    return int(size), int(east) * (1 if side == "e" else -1), int(north) * (1 if end == "n" else -1)


def _plane_cells(found: re.Match[str], margin_m: float) -> frozenset[str]:
    size_m, east, north = _plane_numbers(found)
    _check_size(size_m)
    reach = math.ceil(margin_m / size_m)
    _check_number((2 * reach + 1) ** 2)
    steps = range(-reach, reach + 1)
    return frozenset(
        _plane_name(size_m, east + x, north + y)
        for x in steps
        for y in steps
        if math.hypot(max(abs(x) - 1, 0), max(abs(y) - 1, 0)) * size_m <= margin_m
    )


def _rows(size_m: int) -> int:
    return math.ceil(_HALF_MERIDIAN_M / size_m)


def _columns(row: int, size_m: int) -> int:
    middle_deg = (row + 0.5) / _rows(size_m) * 180.0 - 90.0
    return max(1, math.ceil(_EQUATOR_M * math.cos(math.radians(middle_deg)) / size_m))


def _earth_cells(size_m: int, row: int, column: int, margin_m: float) -> frozenset[str]:
    _check_size(size_m)
    rows = _rows(size_m)
    if not (row < rows and column < _columns(row, size_m)):
        raise ValueError(f"w{size_m}_{row}_{column} is no cell: there are none so far north or east")
    row_deg = 180.0 / rows
    reach_deg = margin_m * _SAFETY / _SHORTEST_DEGREE_M
    south_deg, north_deg = row * row_deg - 90.0 - reach_deg, (row + 1) * row_deg - 90.0 + reach_deg
    wide_deg = 360.0 / _columns(row, size_m)
    west_deg, east_deg = column * wide_deg, (column + 1) * wide_deg
    aside_deg = _aside_deg(max(abs(row * row_deg - 90.0), abs((row + 1) * row_deg - 90.0)), margin_m)
    lowest = max(math.floor((south_deg + 90.0) / row_deg - 1e-6), 0)
    highest = min(math.floor((north_deg + 90.0) / row_deg + 1e-6), rows - 1)
    _check_number(highest - lowest + 1)
    found = {f"w{size_m}_{row}_{column}"}
    for other in range(lowest, highest + 1):
        columns = _columns(other, size_m)
        first = math.floor((west_deg - aside_deg) / 360.0 * columns - 1e-6)
        last = math.floor((east_deg + aside_deg) / 360.0 * columns + 1e-6)
        last = min(last, first + columns - 1)
        _check_number(len(found) + last - first + 1)
        found.update(f"w{size_m}_{other}_{number % columns}" for number in range(first, last + 1))
    return frozenset(found)


def _aside_deg(latitude_deg: float, margin_m: float) -> float:
    """How far east or west of a place at this latitude a circle round it reaches: all round once it holds the pole."""
    angle = margin_m * _SAFETY / _SMALLEST_RADIUS_M
    across = math.cos(math.radians(latitude_deg))
    if across < _AT_THE_POLE or math.sin(min(angle, math.pi / 2)) >= across:
        return 360.0
    return math.degrees(math.asin(math.sin(angle) / across))


def _check_number(cells: int) -> None:
    if cells > MOST_CELLS:
        raise ValueError(f"the margin reaches over more than {MOST_CELLS} cells: choose larger cells")
