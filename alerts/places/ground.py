"""Metres on the ground: how far and which way, exactly for a few places and nearly for many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyproj

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEMI_MAJOR_M: Final = 6_378_137.0
ECCENTRICITY_2: Final = 0.006_694_379_990_141_316
"""Of the WGS84 ellipsoid, NIMA TR8350.2."""
LEAST_DEGREE_M: Final = 110_500.0  # of latitude and, times its cosine, of longitude: shorter than any on the ellipsoid

GEOD: Final[Any] = pyproj.Geod(ellps="WGS84")

Box = tuple[float, float, float, float]
"""West, east, south, north, degrees."""
Bounds = tuple[float, float, float, float]
"""West, south, east, north, degrees, as shapely gives them."""


def away(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> tuple[float, float]:
    """Geodesic distance, metres to 0.1, and the azimuth with which it sets out, degrees to 0.1 clockwise from north.

    On the WGS84 ellipsoid. From a place to itself the azimuth is 0.
    """
    azimuth, _, distance_m = GEOD.inv(longitude, latitude, to_longitude, to_latitude)
    distance_m = round(float(distance_m), 1)
    return distance_m, round(float(azimuth), 1) % 360.0 if distance_m > 0.0 else 0.0


def boxes_round(latitude: float, longitude: float, reach_m: float, bounds: Bounds | None = None) -> tuple[Box, ...]:
    """Boxes that hold everything within ``reach_m``, and a shape with these bounds.

    One, or two where the line of 180 degrees runs between.
    """
    west, south, east, north = _round(latitude, longitude, reach_m)
    if bounds is not None:
        west, east = min(west, bounds[0]), max(east, bounds[2])
        south, north = min(south, bounds[1]), max(north, bounds[3])
    if west < -180.0:
        return (-180.0, east, south, north), (west + 360.0, 180.0, south, north)
    if east > 180.0:
        return (west, 180.0, south, north), (-180.0, east - 360.0, south, north)
    return ((west, east, south, north),)


def bounds_within(bounds: Bounds, latitude: float, longitude: float, reach_m: float) -> Bounds:
    """What of a shape's bounds may lie within ``reach_m`` of a place that is in them."""
    west, south, east, north = _round(latitude, longitude, reach_m)
    return max(west, bounds[0]), max(south, bounds[1]), min(east, bounds[2]), min(north, bounds[3])


def _round(latitude: float, longitude: float, reach_m: float) -> Bounds:
    high = reach_m / LEAST_DEGREE_M
    cosine = math.cos(math.radians(min(abs(latitude) + high, 90.0)))
    wide = min(high / max(cosine, 1e-9), 180.0)
    return longitude - wide, latitude - high, longitude + wide, latitude + high


def plane(
    latitude: float, longitude: float, latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres east and north of a place, arrays like those given; to a millionth within some kilometres.

    The ellipsoid's radii are taken at the middle latitude of each pair.
    """
    middle = np.radians((latitudes + latitude) / 2.0)
    shrink = 1.0 - ECCENTRICITY_2 * np.sin(middle) ** 2
    across = SEMI_MAJOR_M / np.sqrt(shrink)
    along = across * (1.0 - ECCENTRICITY_2) / shrink
    turn = (longitudes - longitude + 180.0) % 360.0 - 180.0
    return np.radians(turn) * across * np.cos(middle), np.radians(latitudes - latitude) * along


def from_plane(latitude: float, longitude: float, east_m: float, north_m: float) -> tuple[float, float]:
    """Latitude and longitude of a point so many metres away: `plane` read backwards."""
    there = latitude
    for _ in range(2):  # the middle latitude needs the answer: a second look leaves less than a micrometre
        middle = math.radians((latitude + there) / 2.0)
        shrink = 1.0 - ECCENTRICITY_2 * math.sin(middle) ** 2
        across = SEMI_MAJOR_M / math.sqrt(shrink)
        there = latitude + math.degrees(north_m / (across * (1.0 - ECCENTRICITY_2) / shrink))
    return there, longitude + math.degrees(east_m / (across * math.cos(middle)))


def area_m2(shape: Any) -> float:
    """Area of a polygon or several in degrees, on the ellipsoid."""
    return abs(float(GEOD.geometry_area_perimeter(shape)[0]))
