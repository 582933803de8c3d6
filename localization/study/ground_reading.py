"""From `ground.asc` to a `Raster`: an ESRI ASCII grid, every mistake of which becomes one line with file and row."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from localization.ground import Raster
from localization.study.table import SceneError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from numpy.typing import NDArray

    from localization.ground import Ground

MOST_POINTS: Final = 25_000_000  # 200 MB of heights: 50 km square at 10 m
LONGEST_LINE: Final = 4_000_000  # characters: 5,000 columns need a tenth of it
STEPS_M: Final = (0.01, 100_000.0)
STEPS_DEG: Final = (1e-7, 10.0)
FARTHEST_DEG: Final = 400.0  # what it is exactly is told once the grid's extent is known
FARTHEST_M: Final = 1e8  # of coordinates: as far as sensors may stand from the origin of their plane
USUAL_NODATA: Final = -9999.0
_KEYS: Final = (
    "ncols",
    "nrows",
    "xllcorner",
    "xllcenter",
    "yllcorner",
    "yllcenter",
    "cellsize",
    "dx",
    "dy",
    "nodata_value",
)
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def read_grid(path: Path, *, degrees: bool) -> Raster:
    """Read an ESRI ASCII grid.

    Parameters
    ----------
    path : Path
        Lines of keys (`ncols`, `nrows`, `xllcorner` or `xllcenter`, `yllcorner` or `yllcenter`, `cellsize` or `dx` and
        `dy`, optionally `NODATA_value`), then `nrows` lines of `ncols` heights, northernmost first. A height stands for
        the middle of its cell.
    degrees : bool
        The grid is in degrees of longitude and latitude rather than in metres.

    Raises
    ------
    SceneError
        When anything in the file is wrong; the message names the file and its line.
    """
    file = path.name
    if path.exists() and not path.is_file() and not path.is_dir():
        raise SceneError(f"{file}: not a regular file; a ground model is an ESRI ASCII grid")
    try:
        with path.open(encoding="utf-8-sig") as stream:
            lines = _lines(file, stream)
            header, number, first = _header(file, lines)
            _check_steps(file, header, degrees=degrees)
            return _raster(file, header, _heights(file, header, number, first, lines), degrees=degrees)
    except FileNotFoundError:
        raise SceneError(f"{file}: absent") from None
    except IsADirectoryError:
        raise SceneError(f"{file}: a folder, not a file") from None
    except UnicodeDecodeError:
        raise SceneError(f"{file}: not text; a ground model is an ESRI ASCII grid") from None
    except OSError as error:
        raise SceneError(f"{file}: cannot be read ({error.strerror})") from None


def covers(ground: Ground, places: NDArray[np.float64]) -> bool:
    """Whether the model reaches any of these places of the plane, (n, 3) m; one off the Earth it does not."""
    for east_m, north_m, _ in places.tolist():
        try:
            if ground.height_m(east_m, north_m) is not None:
                return True
        except ValueError:
            continue
    return False


def _lines(file: str, stream: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line that has any."""
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) >= LONGEST_LINE:
            raise SceneError(
                f"{file} row {number}: longer than {LONGEST_LINE} characters; each row of the grid is a line"
            )
        words = line.split()
        if words:
            yield number, words


def _header(file: str, lines: Iterator[tuple[int, list[str]]]) -> tuple[dict[str, float], int, list[str]]:
    """The keys, and the first line of heights with its number."""
    header: dict[str, float] = {}
    for number, words in lines:
        key = words[0].lower()
        if key not in _KEYS:
            if _NUMBER.fullmatch(words[0]) is None and not _complete(header):
                raise SceneError(f"{file} row {number}: unknown key {words[0]!r}; expected {_wanted(header)}")
            _check(file, header)
            return header, number, words
        if key in header:
            raise SceneError(f"{file} row {number}: {words[0]} stands twice")
        if len(words) != 2:
            raise SceneError(f"{file} row {number}: {words[0]} needs one number behind it")
        header[key] = _number(file, number, words[0], words[1])
    _check(file, header)
    raise SceneError(f"{file}: no heights below the keys; expected {header['nrows']:g} rows of them")


def _complete(header: dict[str, float]) -> bool:
    return not _missing(header)


def _missing(header: dict[str, float]) -> list[str]:
    choices = (("ncols",), ("nrows",), ("xllcorner", "xllcenter"), ("yllcorner", "yllcenter"), ("cellsize", "dx"))
    missing = [" or ".join(names) for names in choices if not any(name in header for name in names)]
    if "dx" in header and "dy" not in header:
        missing.append("dy")
    return missing


def _wanted(header: dict[str, float]) -> str:
    return ", ".join(_missing(header))


def _check(file: str, header: dict[str, float]) -> None:
    if not _complete(header):
        raise SceneError(f"{file}: no {_missing(header)[0]}; an ESRI ASCII grid begins with it")
    for pair in (("xllcorner", "xllcenter"), ("yllcorner", "yllcenter"), ("cellsize", "dx")):
        if all(name in header for name in pair):
            raise SceneError(f"{file}: {pair[0]} and {pair[1]} are both given; keep one")
    for key in ("ncols", "nrows"):
        if not (header[key] >= 1.0 and header[key] == int(header[key])):
            raise SceneError(f"{file}: {key} is {header[key]:g}; expected a whole number above 0")
    if header["ncols"] * header["nrows"] > MOST_POINTS:
        raise SceneError(
            f"{file}: {header['ncols']:g} columns and {header['nrows']:g} rows; more than {MOST_POINTS} points are not "
            "read: cut the grid to the city, or make it coarser"
        )
    for key in ("cellsize", "dx", "dy"):
        if not header.get(key, 1.0) > 0.0:
            raise SceneError(f"{file}: {key} is {header[key]:g}; expected above 0")


def _check_steps(file: str, header: dict[str, float], *, degrees: bool) -> None:
    (least, most), farthest = (STEPS_DEG, FARTHEST_DEG) if degrees else (STEPS_M, FARTHEST_M)
    what = "in frame wgs84 a grid is in degrees" if degrees else "in frame local a grid is in metres"
    for key in ("cellsize", "dx", "dy"):
        if key in header and not least <= header[key] <= most:
            raise SceneError(f"{file}: {key} is {header[key]:g}; expected {least:g} to {most:g}: {what}")
    for key in ("xllcorner", "xllcenter", "yllcorner", "yllcenter"):
        if key in header and not abs(header[key]) <= farthest:
            raise SceneError(f"{file}: {key} is {header[key]:g}; expected {farthest:g} at most: {what}")


def _heights(
    file: str, header: dict[str, float], number: int, first: list[str], lines: Iterator[tuple[int, list[str]]]
) -> NDArray[np.float64]:
    """The heights, northernmost row first; NaN where the file says that there are none."""
    columns, rows = int(header["ncols"]), int(header["nrows"])
    # Row by row into a list: a header may promise more than the file holds, and memory goes by what is there.
    found: list[NDArray[np.float64]] = []
    row, words = number, first
    while True:
        if len(found) == rows:
            raise SceneError(f"{file} row {row}: one row more than the {rows} that nrows says")
        if len(words) != columns:
            raise SceneError(f"{file} row {row}: {len(words)} heights; expected the {columns} that ncols says")
        found.append(_numbers(file, row, words))
        following = next(lines, None)
        if following is None:
            break
        row, words = following
    if len(found) < rows:
        raise SceneError(f"{file}: {len(found)} rows of heights; expected the {rows} that nrows says")
    heights = np.array(found)
    heights[heights == header.get("nodata_value", USUAL_NODATA)] = np.nan
    known = heights[~np.isnan(heights)]
    if not known.size:
        raise SceneError(f"{file}: no height is known; NODATA_value stands everywhere")
    if np.max(np.abs(known)) > 9_000.0:
        raise SceneError(
            f"{file}: a height of {known[np.argmax(np.abs(known))]:g} m; expected metres, and NODATA_value where "
            "nothing is known"
        )
    return heights


def _numbers(file: str, row: int, words: list[str]) -> NDArray[np.float64]:
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.array([_number(file, row, f"height {k}", word) for k, word in enumerate(words, 1)])
    if not np.all(np.isfinite(values)):
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise SceneError(f"{file} row {row}: height {bad + 1} is {words[bad]!r}: expected a number")
    return values


def _number(file: str, row: int, name: str, word: str) -> float:
    if _NUMBER.fullmatch(word) is None or not math.isfinite(float(word)):
        raise SceneError(f"{file} row {row}: {name} is {word!r}: expected a number with a decimal point")
    return float(word)


def _raster(file: str, header: dict[str, float], heights: NDArray[np.float64], *, degrees: bool) -> Raster:
    step_x = header.get("dx", header.get("cellsize", 1.0))
    step_y = header.get("dy", header.get("cellsize", 1.0))
    west = header["xllcenter"] if "xllcenter" in header else header["xllcorner"] + 0.5 * step_x
    south = header["yllcenter"] if "yllcenter" in header else header["yllcorner"] + 0.5 * step_y
    if degrees:
        east, north = west + step_x * (heights.shape[1] - 1), south + step_y * (heights.shape[0] - 1)
        if not (west >= -360.0 and east <= 360.0 and south >= -90.0 and north <= 90.0):
            raise SceneError(
                f"{file}: reaches from {west:g}, {south:g} to {east:g}, {north:g}; in frame wgs84 a grid is in degrees"
            )
    return Raster(heights[::-1], west, south, step_x, step_y)
