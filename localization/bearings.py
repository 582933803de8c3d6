"""Bearings: whether a place lies where the small arrays heard its sound come from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADING_SIGMA_DEG: Final = 3.0  # how well a device is aligned to north: a compass near a steel mast
REFLECTED: Final = 0.2  # share of bearings that are of a wall the sound came by, anywhere around
WIDEST_DEG: Final = 180.0
NEAREST_M: Final = 0.1


def bearing_odds(
    azimuths_deg: NDArray[np.float64],
    sigmas_deg: NDArray[np.float64],
    offsets_m: NDArray[np.float64],
    place_sigma_m: float,
) -> float:
    """Log odds that the bearings are of a sound from this place rather than from anywhere around.

    Parameters
    ----------
    azimuths_deg, sigmas_deg : (n,) float64
        Of the bearings, clockwise from north; NaN where a sensor tells none.
    offsets_m : (n, 2) float64
        From each sensor to the place, east and north.
    place_sigma_m : float
        How well the place and the sensors are known, across the path; infinite lets bearings say next to nothing.

    Returns
    -------
    float
        Sum over bearings of the log of a Gaussian wrapped around the circle, mixed with a `REFLECTED` share of the
        uniform, over the uniform: at least log `REFLECTED` for each, and at most 3.6 where they agree to the degree.
        0 without bearings.
    """
    known = ~np.isnan(azimuths_deg)
    if not np.any(known):
        return 0.0
    east, north = offsets_m[known].T
    distance = np.maximum(np.hypot(east, north), NEAREST_M)
    place_deg = np.degrees(np.minimum(place_sigma_m / distance, math.pi))
    sigma = np.sqrt(sigmas_deg[known] ** 2 + HEADING_SIGMA_DEG**2 + place_deg**2)
    sigma = np.minimum(sigma, WIDEST_DEG)
    miss = (azimuths_deg[known] - np.degrees(np.arctan2(east, north)) + 180.0) % 360.0 - 180.0
    turns = 360.0 * np.arange(-2.0, 3.0)[:, None]  # of a Gaussian as wide as the circle, five turns hold all but 1 %
    around = np.sum(np.exp(-0.5 * ((miss + turns) / sigma) ** 2), axis=0) * 360.0 / (sigma * math.sqrt(2.0 * math.pi))
    return float(np.sum(np.log((1.0 - REFLECTED) * around + REFLECTED)))
