"""Meaning: what a row of a city's file is to us: an address, a crossing, a stretch of street, a beat, a park."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import shapely
from shapely.geometry import shape as shape_of

from alerts.places.naming import compared, shown

if TYPE_CHECKING:
    from alerts.places.blocks import Range
    from alerts.places.columns import Columns, Row
    from alerts.places.files import Feature

Kind = Literal["addresses", "intersections", "streets", "ranges", "beats", "parks", "parcels"]
KINDS: Final[tuple[Kind, ...]] = ("addresses", "intersections", "streets", "ranges", "beats", "parks", "parcels")

PARKS: Final = {
    "leisure": {"park", "golf_course", "nature_reserve", "recreation_ground", "common", "garden"},
    "landuse": {"cemetery", "recreation_ground", "forest", "village_green"},
    "amenity": {"grave_yard"},
    "boundary": {"national_park", "protected_area"},
    "tourism": {"zoo", "theme_park"},
}
LOTS: Final = {
    "leisure": {"stadium", "sports_centre", "marina"},
    "landuse": {"military", "quarry", "landfill", "railway", "industrial", "retail", "institutional", "education"},
    "amenity": {"university", "college", "school", "hospital", "prison", "parking"},
    "aeroway": {"aerodrome"},
}
"""Tags of OpenStreetMap for grounds that one address does not place: those without houses, and those with some."""
NO_STREET: Final = frozenset({
    "footway", "path", "cycleway", "steps", "track", "bridleway", "corridor", "construction", "proposed", "platform",
    "raceway", "elevator", "razed", "abandoned",
})  # fmt: skip
"""Values of ``highway`` that nobody means by a crossing of streets."""
HINTS: Final[tuple[tuple[str, Kind], ...]] = (
    (r"\b(neighbou?rhoods?|beats?|districts?|precincts?|wards?|sectors?)\b", "beats"),
    (r"\b(parks?|cemeter|campus)", "parks"),
    (r"\b(parcels?|lots?)\b", "parcels"),
    (r"\b(streets?|roads?|center ?lines?|centre ?lines?)\b", "streets"),
)
"""What the name of a file or of its layer says of it, where its rows do not."""
MOST_CROSSINGS: Final = 1_000
"""Of a polygon with itself, in more than which it is not mended."""
PAIRS_AT_ONCE: Final = 200_000
SOUTHERNMOST, NORTHERNMOST = -60.0, 75.0  # no city stands beyond: such a latitude is a longitude


@dataclass(frozen=True, slots=True)
class FoundAddress:
    """A house number on a street; ``parcel``: it stands for a park or the like as a whole, perhaps by ``name``."""

    latitude: float
    longitude: float
    number: str
    street: str
    city: str
    name: str
    parcel: bool

    @property
    def text(self) -> str:
        """As it is shown."""
        return f"{self.number} {self.street}"


@dataclass(frozen=True, slots=True)
class FoundCrossing:
    """Where streets meet, as the file itself says."""

    latitude: float
    longitude: float
    text: str


@dataclass(frozen=True, slots=True)
class FoundStreet:
    """A stretch of a street, with its house numbers where the file has them; as `alerts.places.blocks.Block`."""

    name: str
    line: Any
    left: Range | None = None
    right: Range | None = None
    directed: bool = False


@dataclass(frozen=True, slots=True)
class FoundArea:
    """Ground with a name: a beat, or a ``park`` (no houses in it) or ``lot``, with the address that it has as a whole.

    ``by_tag``: somebody says what it is; else it must be the larger to matter.
    """

    kind: Literal["beat", "park", "lot"]
    by_tag: bool
    name: str
    shape: Any
    door: FoundAddress | None


@dataclass(frozen=True, slots=True)
class Passed:
    """Nothing that we keep, and why; no mistake of the file's."""

    why: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Something that we could keep, if somebody said what it is."""

    what: str
    choices: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that should have said something and does not; ``swapped`` and ``projected`` are mistakes of whole files."""

    why: str
    mistake: Literal["", "swapped", "projected"] = ""
    lacks_street: bool = False


Found = FoundAddress | FoundCrossing | FoundStreet | FoundArea | Passed | Unclear | Bad


def hinted(*titles: str) -> Kind | None:
    """What the names of a file and of its layer say of it; None when nothing, or two things."""
    text = re.sub(r"[^a-z]+", " ", " ".join(titles).lower())
    kinds = {kind for pattern, kind in HINTS if re.search(pattern, text)}
    return kinds.pop() if len(kinds) == 1 else None


def meaning(feature: Feature, columns: Columns, kind: Kind | None, hint: Kind | None) -> Found:
    """What a row is: by what the user said, else by its tags and columns, else by the name of its file."""
    if isinstance(feature.geometry, str):
        return Bad(feature.geometry)
    row = columns.row(feature.properties)
    if feature.geometry.get("type") == "Point":
        return _placed_point(row, feature.geometry.get("coordinates"), kind)
    shape = _shape(feature.geometry)
    wrong = shape if isinstance(shape, Bad) else _misplaced(*shape.bounds)
    if wrong is None and _too_wide(shape):
        wrong = Bad("reaches over the line of 180 degrees; cut it there (RFC 7946, 3.1.9)")
    if wrong is not None:
        return wrong
    if shape.geom_type.endswith("LineString"):
        return _line(row, shape, kind, hint)
    if shape.geom_type.endswith("Polygon"):
        return _area(row, shape, kind, hint)
    return Bad(f"a {shape.geom_type}, where a point, a line or a polygon belongs")


def _placed_point(row: Row, coordinates: Any, kind: Kind | None) -> Found:
    # By hand: there are a million of them in a state's file, and shapely needs ten times as long.
    try:
        longitude, latitude = round(float(coordinates[0]), 7), round(float(coordinates[1]), 7)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        return Bad("not a GeoJSON geometry")
    if not (math.isfinite(longitude) and math.isfinite(latitude)):
        return Bad("no latitude and longitude")
    return _misplaced(longitude, latitude, longitude, latitude) or _point(row, latitude, longitude, kind)


def _shape(geometry: dict[str, Any]) -> Any:

    try:
        made = shapely.force_2d(shape_of(geometry))
        if made.is_empty:
            return Bad("an empty geometry")
        if made.geom_type.endswith("Polygon") and not made.is_valid:
            if _tangled(made):
                return Bad(f"crosses itself more than {MOST_CROSSINGS:,} times; mend it first")
            made = _polygonal(shapely.make_valid(made))
    except Exception:  # noqa: BLE001  (whatever others write: shapely raises half a dozen kinds)
        return Bad("not a GeoJSON geometry")
    if made is None or not all(math.isfinite(value) for value in made.bounds):
        return Bad("not a GeoJSON geometry")
    return made


def _tangled(shape: Any) -> bool:
    """Whether it crosses itself so often that mending it takes minutes: a time by the square of the crossings."""
    corners, ring = shapely.get_coordinates(shapely.get_parts(shapely.boundary(shape)), return_index=True)
    ends = np.stack([corners[:-1], corners[1:]], axis=1)
    sides = shapely.linestrings(ends[(ring[:-1] == ring[1:]) & np.any(ends[:, 0] != ends[:, 1], axis=1)])
    tree = shapely.STRtree(sides)
    left = 3 * len(sides) + 2 * MOST_CROSSINGS  # of any ring each side meets itself and two others
    step = max(1, PAIRS_AT_ONCE // max(1, len(sides)))
    for begin in range(0, len(sides), step):
        left -= tree.query(sides[begin : begin + step], predicate="intersects").shape[1]
        if left < 0:
            return True
    return False


def _too_wide(shape: Any) -> bool:
    """Whether some part of it is wider than half the Earth."""
    west, _, east, _ = shape.bounds
    if east - west <= 180.0:
        return False
    bounds = shapely.bounds(shapely.get_parts(shape))
    return bool(np.any(bounds[:, 2] - bounds[:, 0] > 180.0))


def _polygonal(mended: Any) -> Any:
    """What of a mended shape is ground: a polygon that crosses itself may fall into pieces and lines."""
    parts = [part for part in shapely.get_parts(mended) if part.geom_type in {"Polygon", "MultiPolygon"}]
    return shapely.union_all(parts) if parts else None


def _misplaced(west: float, south: float, east: float, north: float) -> Bad | None:
    if west == east == south == north == 0.0:
        return Bad("latitude 0, longitude 0: no place")
    widest, highest = max(abs(west), abs(east)), max(abs(south), abs(north))
    told = f"latitude {south:g}, longitude {west:g}"
    if widest > 180.0 or highest > 180.0:
        return Bad(f"{told}: no degrees", "projected")
    if highest > 90.0 or (not SOUTHERNMOST <= south <= north <= NORTHERNMOST and widest <= NORTHERNMOST):
        return Bad(f"{told}: where no city is", "swapped")
    return None


def _point(row: Row, latitude: float, longitude: float, kind: Kind | None) -> Found:  # noqa: PLR0911  (a ladder)
    number, street = row.address()
    if number and kind in {None, "addresses"}:
        parcel = bool(_tagged(row, PARKS))  # a school's or a hospital's point is its door, where it has one
        return FoundAddress(latitude, longitude, number, street, row.text("city"), row.text("name"), parcel)
    street, other = row.street(), row.text("crossing_with")
    if street and other and kind in {None, "intersections"}:
        if compared(street) == compared(other):
            return Bad(f"{street} crosses itself")
        return FoundCrossing(latitude, longitude, f"{street} & {other}")
    if kind == "intersections" and " & " in row.text("name"):
        return FoundCrossing(latitude, longitude, row.text("name"))
    if kind not in {None, "addresses", "intersections"}:
        return Bad(f"a point, where {kind} were said to be")
    if row.number():
        return Bad(f"house number {row.number()} without a street", lacks_street=True)
    return Bad("a street without a house number") if street else Passed("points without an address")


def _line(row: Row, line: Any, kind: Kind | None, hint: Kind | None) -> Found:  # noqa: PLR0911  (a ladder)
    if kind not in {None, "streets", "ranges"}:
        return Bad(f"a line, where {kind} were said to be")
    name = row.street() or row.text("name")
    if not name:
        return Passed("lines without a name")
    highway = row.tag("highway")
    if highway in NO_STREET:
        return Passed("footpaths and the like")
    left, right, directed = _ranges(row)
    if left or right:
        if line.geom_type != "LineString":
            return Bad(f"{name}: several lines with one range of house numbers")
        return FoundStreet(name, line, left, right, directed)
    if kind == "ranges":
        return Bad(f"{name}: no house numbers")
    tiger = row.tag("mtfcc") or row.tag("edgemtfcc")
    if highway or kind == "streets" or hint == "streets" or tiger.startswith("s1"):
        return FoundStreet(name, line)
    if row.tag("waterway") or row.tag("railway"):
        return Passed("waterways and railways")
    return Unclear("lines with a name", ("streets",))


def _ranges(row: Row) -> tuple[Range | None, Range | None, bool]:
    sides = []
    for first, last in (("left_from", "left_to"), ("right_from", "right_to")):
        begin, end = row.whole(first), row.whole(last)
        sides.append(None if begin is None or end is None else (begin, end))
    if any(sides):
        return sides[0], sides[1], True
    low, high = row.whole("lowest"), row.whole("highest")
    if high is None:
        return None, None, False
    both = min(low or 1, high), max(low or 1, high)
    return both, both, False


def _area(row: Row, shape: Any, kind: Kind | None, hint: Kind | None) -> Found:
    if kind in {"intersections", "streets", "ranges"}:
        return Bad(f"a polygon, where {kind} were said to be")
    if kind in {None, "addresses"}:
        return _told_area(row, shape, kind) or _untold_area(row, shape, hint)
    return _area_of_kind(row, shape, kind)


def _area_of_kind(row: Row, shape: Any, kind: Kind) -> Found:
    name, door = row.text("name"), _door(row, shape)
    if kind == "beats":
        # The column of the layer's own kind before a name that may be anybody's.
        name = row.text("beat") or name
        return FoundArea("beat", by_tag=True, name=name, shape=shape, door=None) if name else Bad("a beat, no name")
    if kind == "parks":
        return FoundArea("park", by_tag=True, name=name, shape=shape, door=door)
    return FoundArea("lot", by_tag=False, name=name, shape=shape, door=door)


def _told_area(row: Row, shape: Any, kind: Kind | None) -> Found | None:
    """An area whose tags or columns say what it is; None when they do not."""
    name, door = row.text("name"), _door(row, shape)
    if kind is None and _tagged(row, PARKS):
        return FoundArea("park", by_tag=True, name=name, shape=shape, door=door)
    if kind is None and _tagged(row, LOTS):
        return FoundArea("lot", by_tag=True, name=name, shape=shape, door=door)
    if door is not None:
        return door
    if row.tag("building") or kind == "addresses":
        return Passed("buildings without an address")
    return None


def _door(row: Row, shape: Any) -> FoundAddress | None:
    """The address that a building or a parcel states, somewhere within it."""
    number, street = row.address()
    if not number:
        return None
    within = shape.representative_point()
    latitude, longitude = round(float(within.y), 7), round(float(within.x), 7)
    return FoundAddress(latitude, longitude, number, street, row.text("city"), row.text("name"), parcel=False)


def _untold_area(row: Row, shape: Any, hint: Kind | None) -> Found:
    name, beat = row.text("name"), row.text("beat")
    if hint in {"beats", "parks", "parcels"} and (name or beat or hint == "parcels"):
        return _area_of_kind(row, shape, hint)
    if beat and not name:
        return _area_of_kind(row, shape, "beats")
    return Unclear("polygons with a name", ("beats", "parks", "parcels")) if name else Passed("polygons without a name")


def _tagged(row: Row, tags: dict[str, set[str]]) -> str:
    return next((shown(value) for key, values in tags.items() if (value := row.tag(key)) in values), "")
