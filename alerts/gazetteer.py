"""The gazetteer: what stands at a place, from one file made of a city's own data, without asking anybody."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import shapely

from alerts.place import Address, Intersection, Surroundings, SurveyError
from alerts.places.blocks import BLOCK, blocks_near
from alerts.places.ground import away, bounds_within, boxes_round
from alerts.places.layout import APPLICATION, FORMAT, SealError, check_seal, content_digest
from alerts.places.nearest import Found, Near, beside, reaches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alerts.place import Ring
    from alerts.places.ground import Box

FARTHEST_ADDRESS_M: Final = 300.0
"""An address farther away than this says nothing of the place, and would be gone to all the same."""
FARTHEST_INTERSECTION_M: Final = 1_000.0
LISTED: Final = 20
"""Of the addresses that a region touches; all are counted."""
FARTHEST_TOUCHED_M: Final = 1_000.0
"""Of a vaguer region what lies farther off is neither listed nor counted: it would be a town."""
HALF_STREET_M: Final = 50.0
"""A door stands this much farther off than the middle of its street, at most: so near it is the better name."""
CACHE_KIB: Final = 32_768  # of the file, read once; not mapped: whoever cuts a mapped file short kills who looks at it
SHAPES_KEPT: Final = 256  # read once and kept, ready to be asked

_POINTS: Final = "SELECT p.latitude, p.longitude, p.text FROM {0}_box b JOIN {0} p ON p.id = b.id WHERE"
_WITHIN: Final = "b.west <= ? AND b.east >= ? AND b.south <= ? AND b.north >= ?"
_ADDRESSES: Final = f"{_POINTS.format('address')} {_WITHIN}"
_CROSSINGS: Final = f"{_POINTS.format('crossing')} {_WITHIN}"
_BLOCKS: Final = f"SELECT {BLOCK} FROM block_box b JOIN block p ON p.id = b.id WHERE {_WITHIN}"
_AREAS: Final = f"""
SELECT p.id, p.kind, p.name FROM area_box b JOIN area p ON p.id = b.id WHERE {_WITHIN} ORDER BY p.area_m2, p.id
"""


class GazetteerError(SurveyError):
    """The file of places is absent, is none, or is not the one that was named; the message says what to do."""


class Gazetteer:
    """What stands where, from a file that `alerts.places.importing.import_places` made.

    The file is opened for reading alone, and every byte of it is compared with the seal that it bears (some 50 ms for a
    large city); again when it was written over in place, which is refused unless it says the same. Safe for several
    threads. Pickled it is its path and digest: the file is opened when something is asked, and another one of that name
    is refused then. Distances are geodesics on the WGS84 ellipsoid. Areas that reach over the line of 180 degrees are
    not known as one; addresses and crossings there are.

    Parameters
    ----------
    path : Path or str
        The file.
    sha256 : str or None
        Which it must be, by `Gazetteer.sha256`; None takes what is there.

    Raises
    ------
    GazetteerError
        When it cannot be used, with the remedy.
    """

    def __init__(self, path: Path | str, sha256: str | None = None) -> None:
        self._begin(path, sha256)
        self._connected()

    @classmethod
    def open(cls, path: Path | str) -> Gazetteer:
        """The gazetteer in a file.

        Raises
        ------
        GazetteerError
            When it cannot be used, with the remedy.
        """
        return cls(path)

    def _begin(self, path: Path | str, sha256: str | None) -> None:
        self.path = Path(path)
        self._sha256 = sha256
        self._connection: sqlite3.Connection | None = None
        self._stamp: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self._shapes: dict[int, Any] = {}
        self._known: frozenset[str] = frozenset()

    def __getstate__(self) -> tuple[str, str]:
        return str(self.path), self.sha256

    def __setstate__(self, state: tuple[str, str]) -> None:
        self._begin(*state)  # without opening the file

    def __repr__(self) -> str:
        return f"Gazetteer({str(self.path)!r}, sha256={self._sha256!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sha256(self) -> str:
        """SHA-256 of what the file says of the city, hex: for the provenance of what was told from it."""
        if self._sha256 is None:
            raise GazetteerError(f"{self.path}: not open; open it first")
        return self._sha256

    def close(self) -> None:
        """Let go of the file; it is opened again when something is asked."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            self._shapes.clear()

    def verify(self) -> None:
        """Reckon the digest of what the file says anew; seconds for a large city.

        Raises
        ------
        GazetteerError
            When it says something else, or cannot be read.
        """
        with self._lock, _explained(self.path):
            if content_digest(self._connected()) != self._sha256:
                raise GazetteerError(f"{self.path}: not what it states; make it again with shotfix places import")

    def about(self) -> dict[str, Any]:
        """What the file holds: its digest, how many of each, whose the data are, and the sources.

        Raises
        ------
        GazetteerError
            When it cannot be read.
        """
        with self._lock, _explained(self.path):
            connection = self._connected()
            rows = connection.execute("SELECT name, sha256, counts, attribution FROM source ORDER BY number").fetchall()
            (stated,) = connection.execute("SELECT value FROM about WHERE key = 'attribution'").fetchone()
            counts = {
                name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                for name in ("address", "crossing", "block", "area")
            }
        sources = [dict(zip(("name", "sha256", "read", "attribution"), row, strict=True)) for row in rows]
        return {"sha256": self._sha256, "counts": counts, "attribution": stated, "sources": sources}

    def describe(self, latitude: float, longitude: float, polygon: Ring | None = None) -> Surroundings:
        """What stands at a place and around it.

        The nearest address within `FARTHEST_ADDRESS_M` and the nearest crossing of streets within
        `FARTHEST_INTERSECTION_M`; where house numbers are known as ranges of a street only, its block. An address that
        belongs to a park, campus or other large parcel as a whole is never among them.

        Parameters
        ----------
        latitude, longitude : float
            Degrees, WGS84.
        polygon : tuple or None
            The region round it, longitude and latitude, closed: what lies within or on its edge is touched, as far as
            `FARTHEST_TOUCHED_M` from the place.

        Raises
        ------
        GazetteerError
            When the file cannot be read.
        ValueError
            For what is no place.
        """
        if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
            raise ValueError(f"{latitude}, {longitude} is no place: expected degrees, latitude first")
        if polygon is not None and len(polygon) < 4:
            raise ValueError(f"a region of {len(polygon)} corners: expected a closed ring")
        with self._lock, _explained(self.path):
            self._connected()
            region = None if polygon is None else _region(polygon, longitude)
            address, touched, count = self._addresses(latitude, longitude, region)
            beat, parcel = self._areas(latitude, longitude)
            crossing = self._nearest(_CROSSINGS, latitude, longitude, reaches(FARTHEST_INTERSECTION_M))
            self._connected()  # nobody wrote over it meanwhile
            return Surroundings(
                address=address,
                addresses=tuple(Address(*near) for near in touched),
                addresses_touched=count,
                intersection=None if crossing is None else Intersection(*crossing),
                beat=None if beat is None else beat[1],
                large_parcel=parcel is not None if "parcel" in self._known else None,
                parcel=None if parcel is None else parcel[1],
            )

    # What is asked of the file; the lock is held.

    def _addresses(self, latitude: float, longitude: float, region: Any) -> tuple[Address | None, list[Near], int]:
        """The nearest address, what the region touches, and how many that are."""
        first_m, *further_m = reaches(FARTHEST_ADDRESS_M)
        bounds = None if region is None else bounds_within(region.bounds, latitude, longitude, FARTHEST_TOUCHED_M)
        boxes = boxes_round(latitude, longitude, first_m, bounds)  # one search for both
        found = Found(self._rows(_ADDRESSES, boxes), latitude, longitude)
        point = found.nearest()
        if point is None or point.distance_m > first_m:
            point = self._nearest(_ADDRESSES, latitude, longitude, further_m)
        touched: list[Near] = []
        count = 0
        if region is not None:
            inside = shapely.intersects_xy(region, found.longitudes, found.latitudes)
            inside &= found.distances_m <= FARTHEST_TOUCHED_M
            touched, count = found.nearest_texts(inside, LISTED)
        address = None if point is None else Address(*point)
        if "block" not in self._known:
            return address, touched, count
        if region is not None and not touched:
            touched, count = self._blocks_touched(latitude, longitude, region)
        return self._block(latitude, longitude, point) or address, touched, count

    def _nearest(self, rows: str, latitude: float, longitude: float, reaches_m: Iterable[float]) -> Near | None:
        for reach_m in reaches_m:
            near = Found(self._rows(rows, boxes_round(latitude, longitude, reach_m)), latitude, longitude).nearest()
            if near is not None and near.distance_m <= reach_m:
                return near
        return None

    def _block(self, latitude: float, longitude: float, door: Near | None) -> Address | None:
        """The nearest block, where no door is as near."""
        farthest_m = FARTHEST_ADDRESS_M if door is None else max(door.distance_m - HALF_STREET_M, 0.0)
        for reach_m in reaches(farthest_m):
            near = blocks_near(self._rows(_BLOCKS, boxes_round(latitude, longitude, reach_m)), latitude, longitude)
            if near and near[0].distance_m <= reach_m:
                return Address(near[0].text, *away(near[0].latitude, near[0].longitude, latitude, longitude))
        return None

    def _blocks_touched(self, latitude: float, longitude: float, region: Any) -> tuple[list[Near], int]:
        bounds = bounds_within(region.bounds, latitude, longitude, FARTHEST_TOUCHED_M)
        blocks = self._rows(_BLOCKS, boxes_round(latitude, longitude, 0.0, bounds))
        crossed = shapely.intersects(region, shapely.from_wkb([row[6] for row in blocks]))
        near = blocks_near([blocks[k] for k in np.flatnonzero(crossed)], latitude, longitude)
        near = [each for each in near if each.distance_m <= FARTHEST_TOUCHED_M]
        told = [Near(each.text, *away(each.latitude, each.longitude, latitude, longitude)) for each in near[:LISTED]]
        return told, len(near)

    def _areas(self, latitude: float, longitude: float) -> tuple[Any, Any]:
        """Number and name of the smallest beat and of the smallest large parcel that hold the place."""
        if not self._known & {"beat", "parcel"}:
            return None, None
        found: dict[str, tuple[int, str | None]] = {}
        for number, kind, name in self._rows(_AREAS, ((longitude, longitude, latitude, latitude),)):
            if kind not in found and shapely.intersects_xy(self._shape(number), longitude, latitude):
                found[kind] = (number, name)
        return found.get("beat"), found.get("parcel")

    def _shape(self, number: int) -> Any:
        if number not in self._shapes:
            if len(self._shapes) >= SHAPES_KEPT:
                self._shapes.pop(next(iter(self._shapes)))
            (row,) = self._connected().execute("SELECT shape FROM area WHERE id = ?", (number,))
            shape = shapely.from_wkb(row[0])
            shapely.prepare(shape)
            self._shapes[number] = shape
        return self._shapes[number]

    def _rows(self, question: str, boxes: tuple[Box, ...]) -> list[tuple[Any, ...]]:
        connection = self._connected()
        found: list[tuple[Any, ...]] = []
        for west, east, south, north in boxes:
            found += connection.execute(question, (east, west, north, south)).fetchall()
        return found

    def _connected(self) -> sqlite3.Connection:
        stamp = _stamp(self.path)
        # Another file in its place leaves the open one as it was; only what was written over in place is seen anew.
        if self._connection is not None and stamp[:2] == self._stamp[:2] and stamp != self._stamp:
            self._connection.close()
            self._connection = None
            self._shapes.clear()
        if self._connection is None:
            with _explained(self.path):
                self._stamp = stamp
                self._connection, digest, self._known = _opened(self.path)
            if self._sha256 not in {None, digest}:
                self._connection.close()
                self._connection = None
                raise GazetteerError(
                    f"{self.path}: not the places it held before ({digest[:12]} in place of {str(self._sha256)[:12]}); "
                    "put that file back, or start anew with this one"
                )
            self._sha256 = digest
        return self._connection


def _region(polygon: Ring, longitude: float) -> Any:
    ring = np.array(polygon)
    ring[:, 0] = beside(longitude, ring[:, 0])
    region = shapely.polygons(ring)
    if not shapely.is_valid(region):
        region = shapely.make_valid(region)
    shapely.prepare(region)
    return region


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except GazetteerError:
        raise
    except Exception as error:  # a torn file may say anything, and shapely has errors of its own
        raise GazetteerError(f"{path}: not readable as places ({error}); make it with shotfix places import") from error


def _stamp(path: Path) -> tuple[int, ...]:
    """Which file it is, and what tells that it was written over in place; nothing where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _opened(path: Path) -> tuple[sqlite3.Connection, str, frozenset[str]]:
    if not path.is_file():
        raise GazetteerError(f"{path}: no such file; make it with shotfix places import FILE... --into {path}")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        about = dict(connection.execute("SELECT key, value FROM about"))
        _check_about(path, about)
        _check_whole(path, about["seal"])
        kinds = {kind for (kind,) in connection.execute("SELECT DISTINCT kind FROM area")}
        if connection.execute("SELECT 1 FROM block LIMIT 1").fetchone():
            kinds.add("block")
    except BaseException:
        connection.close()
        raise
    return connection, about["sha256"], frozenset(kinds)


def _check_whole(path: Path, seal: str) -> None:
    try:
        check_seal(path, seal)
    except SealError:
        raise GazetteerError(
            f"{path}: damaged or changed since it was made; make it again with shotfix places import"
        ) from None


def _check_about(path: Path, about: dict[str, str]) -> None:
    if about.get("application") != APPLICATION or not {"sha256", "seal", "format"} <= about.keys():
        raise GazetteerError(f"{path}: no file of places; make one with shotfix places import")
    if about["format"] != str(FORMAT):
        raise GazetteerError(
            f"{path}: format {about['format']}, and this program reads {FORMAT}; import the city's files again"
        )
