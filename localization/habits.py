"""Habits: what the recent past of a network teaches about the next bang: how often, how far, through what air."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.street import Street

# How the chance of being heard falls with distance: half range (m), power, share nearby. Streets differ, and so do
# guns: gentle where buildings decide who hears, steep where the detector's threshold does.
RANGES: Final = (
    *((half, 4.0, 0.95) for half in (400.0, 700.0, 1100.0)),
    *((half, 12.0, share) for half in (300.0, 450.0, 600.0, 800.0, 1000.0, 1300.0) for share in (0.95, 0.8)),
)
BIN_M: Final = 20.0
REACH_M: Final = 3000.0
RANGE_WEIGHT: Final = 2.0  # bangs that what is assumed of the ranges is worth
FIRST_BANGS: Final = 0.2  # the same of the rate of bangs: little, since nights differ by orders
FIRST_ECHOES: Final = 1.5  # behind a pick where shots are fired
ECHO_WEIGHT: Final = 20.0  # picks that this is worth
FEWEST_ECHOES_PER_S: Final = 0.1
FOLLOWER_S: Final = 0.5  # a pick so soon behind another one of its sensor may be its echo
BANGS_S: Final = 60.0  # over which the rate of bangs is remembered
MEMORY_S: Final = 600.0  # the same of ranges, echoes and air
SURE_ODDS: Final = 6.0  # log odds of the bangs that are learnt from
DRIFT_M_PER_S: Final = 0.2  # the air between one bang and the next


class Habits:
    """Running counts; all of them fade, so that an evening forgets its afternoon.

    Parameters
    ----------
    street : Street
        What is assumed before anything was heard.
    area_m2 : float
        Of the network, for rates.
    """

    def __init__(self, street: Street, area_m2: float) -> None:
        self.street, self.area_m2 = street, area_m2
        self.bangs, self.span_s = 0.0, 0.0
        self.ranges = np.zeros(len(RANGES))
        self.matrix, self.vector = np.zeros((3, 3)), np.zeros(3)
        self.picks, self.followers = 0.0, 0.0
        self._at_s: float | None = None

    def log_rate(self) -> float:
        """Logarithm of the bangs to be expected, 1/(s m^2)."""
        usual = self.street.bangs_per_s_m2 * self.area_m2
        return math.log((FIRST_BANGS + self.bangs) / (FIRST_BANGS / usual + self.span_s) / self.area_m2)

    def echoes_per_s(self, fade_s: float) -> float:
        """How many echoes a second a pick has right behind it, thinning out over ``fade_s``."""
        behind = (FIRST_ECHOES * ECHO_WEIGHT + max(self.followers, 0.0)) / (ECHO_WEIGHT + self.picks)
        return min(max(behind / fade_s, FEWEST_ECHOES_PER_S), FIRST_ECHOES / fade_s)

    def hearing(self) -> NDArray[np.float64]:
        """What `localization.association_kernels.weigh` takes: (R + 1, B + 1, 2)."""
        weights = self.ranges + RANGE_WEIGHT / len(RANGES)
        return hearing_table(weights / weights.sum())

    def air(
        self, prior: NDArray[np.float64], prior_sigma: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The air's prior (7,) and sigma (7,) with what bangs have told of it."""
        prior, prior_sigma = prior.copy(), prior_sigma.copy()
        covariance = np.linalg.inv(np.diag(prior_sigma[3:6] ** -2.0) + self.matrix)
        prior[3:6] += covariance @ self.vector
        prior_sigma[3:6] = np.minimum(np.sqrt(np.diag(covariance) + DRIFT_M_PER_S**2), prior_sigma[3:6])
        return prior, prior_sigma

    def forget_air(self) -> None:
        """Know nothing of the air any more: a front came through."""
        self.matrix[:], self.vector[:] = 0.0, 0.0

    def fade(self, now_s: float) -> None:
        """Let time pass, up to ``now_s`` of any one clock."""
        step = 0.0 if self._at_s is None else max(now_s - self._at_s, 0.0)
        self._at_s = now_s
        keep, short = math.exp(-step / MEMORY_S), math.exp(-step / BANGS_S)
        self.ranges *= keep
        self.matrix *= keep
        self.vector *= keep
        self.picks, self.followers = self.picks * keep, self.followers * keep
        self.bangs, self.span_s = self.bangs * short, self.span_s * short + BANGS_S * (1.0 - short)

    def heard(self, delays_s: NDArray[np.float64], rates_per_s: NDArray[np.float64]) -> None:
        """Count picks: how long each came behind the one before it at its sensor (s), whose usual rate is given."""
        self.picks += len(delays_s)
        by_chance = -np.expm1(-rates_per_s * FOLLOWER_S)
        self.followers += float(np.sum(delays_s < FOLLOWER_S) - np.sum(by_chance))


def hearing_table(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the probability to hear and not to hear, by range and distance; then the mean of all ranges.

    The last bin holds the logarithm of each range's own probability, ``weights`` (R,).
    """
    logs = np.zeros((len(RANGES) + 1, _SHARES.shape[1] + 1, 2))
    logs[:-1, :-1] = _LOGS
    mean = weights @ _SHARES
    logs[-1, :-1, 0], logs[-1, :-1, 1] = np.log(mean), np.log1p(-mean)
    logs[:-1, -1, 0] = np.log(weights)
    return logs


def _shares() -> NDArray[np.float64]:
    middles = (np.arange(round(REACH_M / BIN_M)) + 0.5) * BIN_M
    rows = [share / (1.0 + (middles / half) ** power) for half, power, share in RANGES]
    return np.maximum(np.array(rows), 1e-6)  # nothing is impossible


_SHARES: Final = _shares()
_LOGS: Final = np.stack([np.log(_SHARES), np.log1p(-_SHARES)], axis=-1)
