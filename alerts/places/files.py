"""Files of a city: GeoJSON whole or a feature a line, and CSV, plain or compressed, one row after another."""

from __future__ import annotations

import csv
import gzip
import io
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import msgspec

if TYPE_CHECKING:
    from alerts.places.columns import Columns

LARGEST_WHOLE_BYTES: Final = 256 * 1024 * 1024
"""Of GeoJSON that is one object: it is parsed in memory. Line by line there is no bound."""
LONGEST_LINE_BYTES: Final = 64 * 1024 * 1024
LONGEST_ROW: Final = 1 << 17  # letters of a table's line
MOST_LINES_A_ROW: Final = 20  # of a cell with line breaks in it
_END: Final = "\x1f"
_DEGREES: Final = ("CRS84", "EPSG::4326", "EPSG:4326", "EPSG::4269", "EPSG:4269")


class PlacesError(Exception):
    """A file of a city that cannot be read, or places that cannot be written; the message says what to do."""


class ChoiceError(PlacesError):
    """What a file holds is not for us to guess; the message names the option that says it."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One row: where it stands in its file, what it says, and its geometry as GeoJSON has it, or why it has none."""

    where: str
    properties: Mapping[str, Any]
    geometry: dict[str, Any] | str


@dataclass(slots=True)
class CityFile:
    """A file that is being read.

    Parameters
    ----------
    path : Path
        The file; gzip is recognised by its first bytes.
    columns : Columns
        How its columns are called.
    advance : callable
        Told how many bytes of the file were read since it was last called.
    title, attribution : str
        What the file says of itself, once it was read.
    """

    path: Path
    columns: Columns
    advance: Callable[[int], None] = lambda _: None
    title: str = ""
    attribution: str = ""
    header: tuple[str, ...] = field(default=())

    def features(self) -> Iterator[Feature]:
        """The rows, in order.

        Raises
        ------
        PlacesError
            When the file cannot be read, is of another kind, or is not in degrees.
        ChoiceError
            When a table does not say where its rows are.
        """
        with self._complaining(), self._opened() as stream:
            first = _first_letter(stream)
            if first == b"":
                raise PlacesError(f"{self.path}: empty; give a file of the city")
            if _is_of_another_kind(stream, first):
                raise PlacesError(
                    f"{self.path}: neither GeoJSON nor a table; convert it first, by ogr2ogr -f GeoJSONSeq OUT FILE, "
                    "or by osmium export for an extract of OpenStreetMap"
                )
            yield from self._geojson(stream) if first in b"{[\x1e" else self._table(stream)

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise PlacesError(f"{self.path}: no such file") from None
        except (OSError, EOFError) as error:
            raise PlacesError(f"{self.path}: cannot be read ({error})") from None
        except UnicodeDecodeError:
            raise PlacesError(f"{self.path}: not UTF-8; save it as UTF-8 and import it again") from None
        except csv.Error as error:
            raise PlacesError(f"{self.path}: not a table of comma-separated values ({error})") from None

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with self.path.open("rb") as raw:
            counted = io.BufferedReader(cast("Any", _Counted(raw, self.advance)), 1 << 18)
            if counted.peek(4)[:4] == b"PK\x03\x04":
                raise PlacesError(f"{self.path}: a zip archive; unpack it, and give the files in it")
            if counted.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(counted, "rb") as unpacked:
                    yield io.BufferedReader(cast("Any", unpacked), 1 << 18)
            else:
                yield counted

    def _geojson(self, stream: IO[bytes]) -> Iterator[Feature]:
        first = stream.readline(LONGEST_LINE_BYTES)
        while not first.strip():
            first = stream.readline(LONGEST_LINE_BYTES)
        head = _parsed(first)
        if isinstance(head, dict) and head.get("type") == "Feature":
            yield from self._lines(first, stream)
            return
        text = first + stream.read(max(LARGEST_WHOLE_BYTES + 1 - len(first), 1))
        if len(text) > LARGEST_WHOLE_BYTES:
            raise PlacesError(
                f"{self.path}: over {LARGEST_WHOLE_BYTES // 2**20} MiB in one object; "
                "write one feature a line (ogr2ogr -f GeoJSONSeq), which has no bound"
            )
        whole = head if len(text) == len(first) else _parsed(text)
        if whole is None:
            text.decode()  # one that is not UTF-8 is refused as such
        if isinstance(whole, dict) and whole.get("type") == "Feature":
            whole = {"type": "FeatureCollection", "features": [whole]}
        if not (isinstance(whole, dict) and isinstance(whole.get("features"), list)):
            raise PlacesError(f"{self.path}: not GeoJSON; expected a FeatureCollection, one Feature a line, or CSV")
        self._introduce(whole)
        for number, each in enumerate(whole["features"], 1):
            yield _feature(f"feature {number}", each)

    def _lines(self, first: bytes, stream: IO[bytes]) -> Iterator[Feature]:
        number, line = 1, first
        while line:
            if line.strip(b"\x1e \t\r\n"):
                yield _feature(f"line {number}", _parsed(line), line)
            number, line = number + 1, stream.readline(LONGEST_LINE_BYTES)

    def _introduce(self, whole: Mapping[str, Any]) -> None:
        crs = whole.get("crs")
        said = crs.get("properties") if isinstance(crs, dict) else None
        name = str(said.get("name") or "") if isinstance(said, dict) else ""
        if name and not name.upper().endswith(_DEGREES):
            raise PlacesError(
                f"{self.path}: in {name[:60]}, not in degrees; "
                "convert it to longitude and latitude first (ogr2ogr -t_srs EPSG:4326)"
            )
        self.title = str(whole.get("name", ""))[:200]
        theirs = (whole.get(key) for key in ("attribution", "copyright", "license", "licence"))
        self.attribution = "; ".join(" ".join(each.split())[:500] for each in theirs if isinstance(each, str))

    def _table(self, stream: IO[bytes]) -> Iterator[Feature]:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        head = text.readline(LONGEST_ROW)
        delimiter = max(",;\t|", key=head.count)
        header = next(csv.reader([head], delimiter=delimiter), [])
        self.header = tuple(header)
        for meaning in ("latitude", "longitude"):
            if self.columns.missing(header, meaning):
                raise ChoiceError(
                    f"{self.path}: no column of {meaning} among {', '.join(header)[:200]}; "
                    f"name it: --columns {meaning}=COLUMN"
                )
        for number, cells in _rows(text, delimiter, len(header)):
            where = f"line {number}"
            if isinstance(cells, str):
                yield Feature(where, {}, cells)
            elif len(cells) > len(header):
                yield Feature(where, {}, f"{len(cells)} cells under {len(header)} columns")
            elif cells:
                row = dict(zip(header, cells, strict=False))
                yield Feature(where, row, self._point(row))

    def _point(self, row: Mapping[str, Any]) -> dict[str, Any] | str:
        said = self.columns.row(row)
        try:
            return {"type": "Point", "coordinates": [float(said.text("longitude")), float(said.text("latitude"))]}
        except ValueError:
            return "no latitude and longitude"


def _rows(text: io.TextIOWrapper, delimiter: str, columns: int) -> Iterator[tuple[int, list[str] | str]]:
    """The rows below a table's header, each with the line on which it begins; or why that line is none.

    A quotation mark that nobody closes costs its own line, and none of those that follow.
    """
    ahead: deque[str] = deque()

    def next_piece() -> str:
        return ahead.popleft() if ahead else text.readline(LONGEST_ROW)

    number = 1
    while line := next_piece():
        number += 1
        if len(line) >= LONGEST_ROW and not line.endswith(("\r", "\n")):
            while (rest := next_piece()) and not rest.endswith(("\r", "\n")):
                pass
            yield number, f"longer than {LONGEST_ROW:,} letters"
            continue
        taken, cells = [line], _cells([line], delimiter)
        while cells is None and len(taken) < MOST_LINES_A_ROW:
            taken.append(next_piece())
            if taken[-1] == "" or len(next(csv.reader(taken[-1:], delimiter=delimiter))) == columns:
                break  # a row of its own, or the end
            cells = _cells(taken, delimiter)
        if cells is None:
            ahead.extendleft(reversed(taken[1:]))
            yield number, "a quotation mark that is not closed"
            continue
        yield number, cells
        number += len(taken) - 1


def _cells(lines: list[str], delimiter: str) -> list[str] | None:
    """The cells of a row that ends with the last of these lines; None where a cell is open still."""
    if len(lines) == 1 and '"' not in lines[0]:  # as most are, five times faster
        said = lines[0].rstrip("\r\n")
        return said.split(delimiter) if said else []
    try:
        cells, *more = csv.reader([*lines, _END], delimiter=delimiter)
    except csv.Error:  # a cell beyond all measure
        return None
    return cells if more == [[_END]] else None


def _feature(where: str, read: Any, line: bytes = b"") -> Feature:
    if not isinstance(read, dict) or read.get("type") != "Feature":
        return Feature(where, {}, "not a GeoJSON feature" if _is_text(line) else "not UTF-8")
    properties = read.get("properties")
    geometry = read.get("geometry")
    return Feature(
        where,
        properties if isinstance(properties, dict) else {},
        geometry if isinstance(geometry, dict) else "no geometry",
    )


def _parsed(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text.strip(b"\x1e \t\r\n").removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _first_letter(stream: Any) -> bytes:
    """The first byte that is neither a space nor a mark of byte order, without taking anything away."""
    return bytes(stream.peek(4096)[:4096].removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")[:1])


def _is_of_another_kind(stream: Any, first: bytes) -> bool:
    """Whether it is XML, or bytes that no text has: a shapefile, a GeoPackage, a PBF. UTF-16 is text that says so."""
    head = bytes(stream.peek(4096)[:4096])
    return first == b"<" or (b"\0" in head and head[:2] not in {b"\xff\xfe", b"\xfe\xff"})


class _Counted(io.RawIOBase):
    """A file that says how much of it was read."""

    def __init__(self, raw: IO[bytes], advance: Callable[[int], None]) -> None:
        super().__init__()
        self._raw, self._advance = raw, advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = cast("Any", self._raw).readinto(buffer) or 0
        self._advance(count)
        return int(count)
