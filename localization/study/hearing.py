"""Hearing: how probably each sensor reports a gunshot, and how many of them do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from localization.loudness import AUDIBLE_DB, SCATTER_DB, SOURCE_DB, expected_level
from localization.street import Street

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STREET: Final = Street()
NIGHT_FLOOR_DB_SPL: Final = float(expected_level(np.array([_STREET.half_range_m]))[0]) - AUDIBLE_DB
"""Noise of a sensor that tells nothing of it, 58 dB SPL: half of the sensors at 900 m then hear a usual shot, as the
locator assumes (`localization.street.Street.half_range_m`). The sensors of the Pittsburgh live fire reported its shots
as if they had 58.5 dB, walls on the way included; heartbeats from quiet roofs at night tell 35 to 45."""
NODES: Final = 21
MOST_COUNTED: Final = 6


@dataclass(frozen=True, slots=True)
class Ear:
    """What is assumed of shots and of the sensors that hear them.

    Parameters
    ----------
    louder_db : float
        How much louder than a handgun in the open the shots are, dB.
    source_sigma_db : float
        Scatter of that from shot to shot, common to all sensors: calibre, suppressor, aim, a wall in front of it.
    scatter_db : float
        Scatter of the level from path to path, dB.
    audible_db : float
        By how much the peak must stand above a sensor's noise.
    near_share : float
        Share of audible shots that a listening sensor reports, at most 0.99.
    floor_db_spl : float
        Noise of a sensor that tells nothing of it.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    louder_db: float = 0.0
    source_sigma_db: float = SOURCE_DB
    scatter_db: float = SCATTER_DB
    audible_db: float = AUDIBLE_DB
    near_share: float = _STREET.near_share
    floor_db_spl: float = NIGHT_FLOOR_DB_SPL

    def __post_init__(self) -> None:
        for name, low, high in (
            ("louder_db", -60.0, 60.0),
            ("source_sigma_db", 0.0, 40.0),
            ("scatter_db", 0.1, 40.0),
            ("audible_db", 0.0, 60.0),
            ("near_share", 0.01, 0.99),
            ("floor_db_spl", -20.0, 150.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}: expected {low:g} to {high:g}")

    def margin_db(self, distances_m: NDArray[np.float64], floors_db_spl: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how much a usual shot stands above what is audible, dB; a floor of NaN is `floor_db_spl`."""
        floors = np.where(np.isnan(floors_db_spl), self.floor_db_spl, floors_db_spl)
        result: NDArray[np.float64] = expected_level(distances_m) + self.louder_db - floors - self.audible_db
        return result

    def share(self, margin_db: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that a sensor reports a shot which stands so far above what is audible to it, any shape.

        The level scatters about the one expected; the shot's own loudness is in the margin. Wind is left out: upwind,
        beyond some hundred metres, sound bends up and over a sensor, and less is heard than this says.
        """
        from scipy.special import ndtr  # only who asks for coverage waits for it

        result: NDArray[np.float64] = self.near_share * ndtr(margin_db / self.scatter_db)
        return result

    def loudness(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How much louder than usual shots are, dB, as (n,) nodes with their weights (Gauss and Hermite)."""
        if self.source_sigma_db == 0.0:
            return np.zeros(1), np.ones(1)
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        return self.source_sigma_db * nodes, weights / np.sum(weights)

    def overall(self, margin_db: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share over shots of every loudness: both scatters added, in closed form."""
        from scipy.special import ndtr

        result: NDArray[np.float64] = self.near_share * ndtr(
            margin_db / np.hypot(self.scatter_db, self.source_sigma_db)
        )
        return result


def counts(shares: NDArray[np.float64], most: int = MOST_COUNTED) -> NDArray[np.float64]:
    """How many of independent things happen: the Poisson-binomial distribution, exactly.

    Parameters
    ----------
    shares : (..., n) float64
        Probability of each.
    most : int
        The last entry stands for this many or more.

    Returns
    -------
    (..., most + 1) float64
        Probability of 0, 1, ..., ``most`` or more.
    """
    result = np.zeros((*shares.shape[:-1], most + 1))
    result[..., 0] = 1.0
    for k in range(shares.shape[-1]):
        p = shares[..., k, None]
        result[..., most] += p[..., 0] * result[..., most - 1]  # who is there already stays
        result[..., 1:most] = result[..., 1:most] * (1.0 - p) + result[..., : most - 1] * p
        result[..., 0] *= 1.0 - p[..., 0]
    return result


def just(count: int, shares: NDArray[np.float64], all_counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability that just ``count`` of the others happen, for each thing in turn.

    Each thing is divided out of the product of all again. Rounding grows as (1 - share)^-count: at 0.99 and three it
    stays below 1e-8, at 0.95 below 1e-11; a share of 1 cannot be divided out.

    Parameters
    ----------
    count : int
        Up to three, and below the last entry of ``all_counts``.
    shares : (..., n) float64
        At most 0.99 each.
    all_counts : (..., m) float64
        `counts` of them.

    Returns
    -------
    (..., n) float64
    """
    rest = all_counts[..., 0, None] / (1.0 - shares)
    for k in range(1, count + 1):
        rest = (all_counts[..., k, None] - shares * rest) / (1.0 - shares)
    result: NDArray[np.float64] = np.maximum(rest, 0.0)
    return result
