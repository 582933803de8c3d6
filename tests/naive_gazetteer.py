"""The slow twin of `alerts.gazetteer`: every row looked at, by pyproj and by nothing that the index uses."""

from __future__ import annotations

import itertools

import numpy as np
import pyproj

GEOD = pyproj.Geod(ellps="WGS84")


def nearest(points, latitude, longitude, farthest_m):
    """Distance and texts of the nearest of (latitudes, longitudes, texts), to 0.1 m; None when none is near enough."""
    latitudes, longitudes, texts = points
    here = np.full((2, len(texts)), ((longitude,), (latitude,)))
    _, _, distances = GEOD.inv(longitudes, latitudes, *here)
    if round(distances.min(), 1) > farthest_m:
        return None
    return distances.min(), {texts[k] for k in np.flatnonzero(distances <= distances.min() + 0.1)}


def arrays(rows):
    """Rows of latitude, longitude and text as `nearest` takes them."""
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), [row[2] for row in rows]


def inside(ring, latitude, longitude):
    """Whether a place lies within a ring of longitude and latitude: rays that go east, counted one by one."""
    odd = False
    for (x1, y1), (x2, y2) in itertools.pairwise(ring):
        if (y1 > latitude) != (y2 > latitude) and longitude < x1 + (latitude - y1) / (y2 - y1) * (x2 - x1):
            odd = not odd
    return odd
