"""Loudness: whether the levels at the sensors fall with distance as those of one bang would."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Level at distance d of 1,391 near-line-of-sight gunshot arrivals, Pittsburgh 2018, a Tobit fit that respects the 93 dB
# ceiling of those sensors: 147.5 - 24.2 log10(d / m), with 9.5 dB about it, handguns in the open.
LEVEL_AT_1_M_DB: Final = 147.5
DECAY_DB: Final = 24.2
SCATTER_DB: Final = 7.5  # of one path: most of those 9.5, the rest is the guns'
SOURCE_DB: Final = 12.0  # of any source: calibre, suppressor, firework, direction, a wall in front of it
CHANCE_DB: Final = (80.0, 12.0)  # mean and sigma of the level of any pick
SHORTEST_M: Final = 10.0
AUDIBLE_DB: Final = 18.0  # above a sensor's noise: peak level from where on impulses are surely picked


def loudness_odds(
    levels_db: NDArray[np.float64], censored: NDArray[np.bool_], distances_m: NDArray[np.float64]
) -> float:
    """Log odds that the levels are of one bang at these distances rather than of picks by chance.

    Parameters
    ----------
    levels_db : (n,) float64
        Peak sound pressure level, dB re 20 uPa; NaN where unknown.
    censored : (n,) bool
        The level is at least this.
    distances_m : (n,) float64
        From the place to each sensor.

    Returns
    -------
    float
        Between -3 for each level known and 1 in all: levels are weak evidence in a city, and never decide alone. A
        censored level above what is expected counts as just what is expected.
    """
    known = ~np.isnan(levels_db)
    count = int(np.sum(known))
    if count < 2:
        return 0.0
    expected = expected_level(distances_m[known])
    levels = np.where(censored[known], np.maximum(levels_db[known], expected), levels_db[known])
    excess = levels - expected
    source = _source(excess)
    misfit = float(np.sum((excess - source) ** 2)) / SCATTER_DB**2 + (source / SOURCE_DB) ** 2
    chance = (levels - CHANCE_DB[0]) / CHANCE_DB[1]
    log_scale = count * math.log(CHANCE_DB[1] / SCATTER_DB) - 0.5 * math.log1p(count * (SOURCE_DB / SCATTER_DB) ** 2)
    odds = 0.5 * (float(chance @ chance) - misfit) + log_scale
    return max(-3.0 * count, min(1.0, odds))


def expected_level(distances_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Peak level of a gunshot at these distances (m), dB re 20 uPa."""
    return LEVEL_AT_1_M_DB - DECAY_DB * np.log10(np.maximum(distances_m, SHORTEST_M))


def _source(excess_db: NDArray[np.float64]) -> float:
    """How much louder than a usual gunshot the source was, dB: the mean of the excess, drawn towards nought."""
    return float(np.sum(excess_db)) * SOURCE_DB**2 / (SCATTER_DB**2 + len(excess_db) * SOURCE_DB**2)
