"""Loudness: whether the levels at the sensors fall with distance as those of one bang would."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Level at distance d of 1,391 near-line-of-sight gunshot arrivals, Pittsburgh 2018, a Tobit fit that respects the 93 dB
# ceiling of those sensors: 147.5 - 24.2 log10(d / m), with 9.5 dB about it.
LEVEL_AT_1_M_DB: Final = 147.5
DECAY_DB: Final = 24.2
SCATTER_DB: Final = 7.5  # of one path; with the source's own it makes up the 9.5
SOURCE_DB: Final = 8.0  # of the source: calibre, suppressor, firework, direction
CHANCE_DB: Final = (80.0, 12.0)  # mean and sigma of the level of any pick
SHORTEST_M: Final = 10.0


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
    levels, ceiling = levels_db[known], censored[known]
    expected = LEVEL_AT_1_M_DB - DECAY_DB * np.log10(np.maximum(distances_m[known], SHORTEST_M))
    levels = np.where(ceiling, np.maximum(levels, expected), levels)
    excess = levels - expected
    source = float(np.sum(excess)) * SOURCE_DB**2 / (SCATTER_DB**2 + count * SOURCE_DB**2)
    misfit = float(np.sum((excess - source) ** 2)) / SCATTER_DB**2 + (source / SOURCE_DB) ** 2
    chance = (levels - CHANCE_DB[0]) / CHANCE_DB[1]
    log_scale = count * math.log(CHANCE_DB[1] / SCATTER_DB) - 0.5 * math.log1p(count * (SOURCE_DB / SCATTER_DB) ** 2)
    odds = 0.5 * (float(chance @ chance) - misfit) + log_scale
    return max(-3.0 * count, min(1.0, odds))
