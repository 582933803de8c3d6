"""Tables: CSV files read row by row, where every complaint names the file, the row and the column."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from acoustic.instant import SECOND, after, parse_instant

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
P = ParamSpec("P")

LONGEST_OFFSET_S: Final = 400 * 86_400  # a scene is not longer than a year
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


LONGEST_MESSAGE: Final = 300


class SceneError(ValueError):
    """A scene's data are wrong. The message is one line: the file, the row or key, what was expected, what to do."""

    def __init__(self, message: str) -> None:
        # A cell may hold anything, and as much of it as it likes; a line is for people to read.
        shown = " ".join(message.split())
        half = LONGEST_MESSAGE // 2
        super().__init__(shown if len(shown) <= LONGEST_MESSAGE else f"{shown[:half]} ... {shown[-half:]}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, by column name; cells are stripped, and an empty cell counts as absent."""

    file: str
    number: int
    cells: dict[str, str]

    def error(self, message: str) -> SceneError:
        """The complaint about this row, to be raised."""
        return SceneError(f"{self.file} row {self.number}: {message}")

    def text(self, column: str, default: str | None = None) -> str:
        """The cell's text; without a default it must be there."""
        value = self.cells.get(column, "")
        if value:
            return value
        if default is None:
            raise self.error(f"{column} is empty: fill it in")
        return default

    def number_or(self, column: str, default: float | None) -> float | None:
        """The cell as a number, or the default where it is empty."""
        value = self.cells.get(column, "")
        if not value:
            return default
        if _DECIMAL.fullmatch(value) is None:
            raise self.error(f"{column} is {value!r}: expected a number with a decimal point")
        return float(value)

    def real(self, column: str) -> float:
        """The cell as a number; it must be there."""
        value = self.number_or(column, None)
        if value is None:
            raise self.error(f"{column} is empty: expected a number")
        return value

    def real_or(self, column: str, default: float) -> float:
        """The cell as a number, or the default where it is empty."""
        value = self.number_or(column, default)
        return default if value is None else value

    def instant(self, prefix: str, origin_ns: int) -> int | None:
        """An instant from ``<prefix>_utc`` or from ``<prefix>_s`` after ``origin_ns``; None where both are empty."""
        utc, seconds = self.cells.get(f"{prefix}_utc", ""), self.cells.get(f"{prefix}_s", "")
        if utc and seconds:
            raise self.error(f"{prefix}_utc and {prefix}_s are both given: keep one")
        if utc:
            try:
                return parse_instant(utc)
            except ValueError as error:
                raise self.error(f"{prefix}_utc: {error}") from None
        return self.offset(f"{prefix}_s", origin_ns) if seconds else None

    def offset(self, column: str, origin_ns: int) -> int | None:
        """An instant from seconds after ``origin_ns``, exact to the nanosecond; None where the cell is empty."""
        value = self.cells.get(column, "")
        if not value:
            return None
        if _DECIMAL.fullmatch(value) is None:
            raise self.error(f"{column} is {value}: expected seconds after the scene's start_utc, as a number")
        seconds = Decimal(value)
        if abs(seconds) > LONGEST_OFFSET_S:
            raise self.error(f"{column} is {value}: expected seconds after the scene's start_utc; is it a clock time?")
        return after(origin_ns, 0.0) + int((seconds * SECOND).to_integral_value())

    def checked(self, make: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What ``make`` returns; a record's own complaint becomes a complaint about this row."""
        try:
            return make(*given, **named)
        except SceneError:
            raise
        except (ValueError, TypeError) as error:
            raise self.error(str(error)) from None


def rows(
    path: Path, file: str, required: Sequence[str], known: Sequence[str], warn: Callable[[str], None]
) -> Iterator[Row]:
    """Each row of a CSV file with a header line.

    Parameters
    ----------
    path : Path
        The file; UTF-8, with or without byte order mark.
    file : str
        Its name in messages.
    required, known : sequences of str
        Columns that must be there, and further ones that mean something. Others are ignored with one warning.
    warn : callable
        Takes one line.

    Raises
    ------
    SceneError
        When the file is absent, not UTF-8, not a table, or lacks a column; or when a row is longer than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(file, header, required, known, warn)
            for number, cells in enumerate(reader, start=2):
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) > len(header):
                    raise SceneError(f"{file} row {number}: {len(cells)} cells under {len(header)} columns")
                yield Row(file, number, {name: cell.strip() for name, cell in zip(header, cells, strict=False)})
    except FileNotFoundError:
        raise SceneError(f"{file}: absent; a scene of this kind needs it") from None
    except IsADirectoryError:
        raise SceneError(f"{file}: a folder, not a file") from None
    except OSError as error:
        raise SceneError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SceneError(f"{file}: not UTF-8 text; save it as UTF-8 CSV") from None
    except csv.Error as error:
        raise SceneError(f"{file}: not a CSV table ({error})") from None


def _check_header(
    file: str, header: list[str], required: Sequence[str], known: Sequence[str], warn: Callable[[str], None]
) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        raise SceneError(f"{file}: no column {missing[0]}; the first row must name the columns {', '.join(required)}")
    repeated = sorted(name for name, count in Counter(header).items() if count > 1)
    if repeated:
        raise SceneError(f"{file}: column {repeated[0]} stands twice")
    meant = {*required, *known}
    unknown = [name for name in header if name and name not in meant]
    if unknown:
        warn(f"{file}: ignored unknown column{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}")
