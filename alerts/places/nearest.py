"""The nearest: of the rows that a search brought, which come first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alerts.places.ground import away, plane

if TYPE_CHECKING:
    from numpy.typing import NDArray


SURE, SURE_M = 1.0001, 0.1
"""Nearly equal ones may change places when measured well, so what is this little farther is measured too."""


class Near(NamedTuple):
    """Something with a text, how far a place is from it, and which way."""

    text: str
    distance_m: float
    bearing_deg: float


def reaches(farthest_m: float) -> tuple[float, ...]:
    """How far to look: near first, since most places lie among houses, and few rows are read then."""
    return farthest_m / 8.0, farthest_m / 3.0, farthest_m


def beside(longitude: float, others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes on the same turn round the Earth, so that a region over the line of 180 degrees stays in one piece."""
    turned: NDArray[np.float64] = longitude + (others - longitude + 180.0) % 360.0 - 180.0
    return turned


class Found:
    """Rows of latitude, longitude and text that a search brought, with their places as arrays.

    ``distances_m`` are those in the plane, good to a millionth: enough to tell which rows are worth measuring.
    """

    def __init__(self, rows: list[tuple[Any, ...]], latitude: float, longitude: float) -> None:
        self.rows, self._here = rows, (latitude, longitude)
        places = np.array([row[:2] for row in rows]).reshape(-1, 2)
        self.latitudes, self.longitudes = places[:, 0], beside(longitude, places[:, 1])
        self.distances_m = np.hypot(*plane(latitude, longitude, self.latitudes, self.longitudes))

    def nearest(self) -> Near | None:
        """The nearest, measured on the ellipsoid; of equal ones the first by its text."""
        if not self.rows:
            return None
        limit = self.distances_m.min() * SURE + SURE_M
        return min((self._near(int(k)) for k in np.flatnonzero(self.distances_m <= limit)), key=_by_distance)

    def nearest_texts(self, among: NDArray[np.bool_], most: int) -> tuple[list[Near], int]:
        """The nearest of some of them, each text once, and how many texts there are."""
        chosen = np.flatnonzero(among)
        near: dict[str, Near] = {}
        limit = math.inf
        for k in chosen[np.argsort(self.distances_m[chosen], kind="stable")]:
            if self.distances_m[k] > limit:
                break
            one = self._near(int(k))
            if one.text not in near or one.distance_m < near[one.text].distance_m:
                near[one.text] = one
            if len(near) == most and limit == math.inf:
                limit = self.distances_m[k] * SURE + SURE_M
        return sorted(near.values(), key=_by_distance)[:most], len({self.rows[k][2] for k in chosen})

    def _near(self, k: int) -> Near:
        latitude, longitude, text = self.rows[k]
        return Near(text, *away(latitude, longitude, *self._here))


def _by_distance(near: Near) -> tuple[float, str]:
    return near.distance_m, near.text
