"""Doubt: sensors, or whole networks, that no correction makes agree with their shots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from localization.study.calibration_solve import REPEAT_S, SPEED_M_PER_S, UNKNOWN_M, root_mean_square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.study.calibration_solve import Arrivals, Solved

    Floats = NDArray[np.float64]

DISAGREES: Final = 5.0  # sigmas: beyond that, in the median, a sensor or a network is not what was told of it
NORMAL_MEDIAN: Final = 1.4826  # a normal variate's sigma over the median of its size
FAR_OFF: Final = 3.0  # sigmas
LATE_SHARE: Final = 0.5  # of a sensor's arrivals over late paths, where its neighbours have fewer
LEAST_SHOTS: Final = 3
LEAST_PLACES: Final = 3  # from fewer a late path and a sensor astray look alike


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """What does not fit after calibration.

    Parameters
    ----------
    off_sigmas : float
        Sigma of all residuals, by their median, over what is assumed of them: 1 or less where all is as told.
    lost : (S,) bool
        Sensors that are not what was told of them, and not put right by a correction either.
    shown_s : (S,) float64
        Root mean square of each sensor's residuals, but for a few that are far off.
    """

    off_sigmas: float
    lost: NDArray[np.bool_]
    shown_s: Floats

    @property
    def hopeless(self) -> bool:
        """Whether the shots do not fit the network at all."""
        return self.off_sigmas > DISAGREES


def doubt(arrivals: Arrivals, solved: Solved, residuals_s: Floats, late: NDArray[np.bool_], corrected: bool) -> Doubt:
    """Find the sensors that disagree with all that is assumed.

    Parameters
    ----------
    arrivals, solved
        What was heard, and what was made of it.
    residuals_s : (n,) float64
        Of the arrivals, the paths' excess not taken away.
    late : (K,) bool
        Which paths are late.
    corrected : bool
        Whether the sensors' corrections are taken away from the residuals.

    Notes
    -----
    A sensor is lost when the median of its residuals lies beyond 5 sigmas of what picks, paths, surveys and what is
    left of its own errors explain; or when more than half of its arrivals came over late paths and in the median of
    the other sensors no more than half did: then it is the sensor that is late, or a wall all around it, and both make
    it worth less than its table says. Of fewer than three shots, or for the second sign three places, nothing is said.
    """
    off = residuals_s / _assumed_s(arrivals, solved, corrected=corrected)
    mine = [arrivals.sensor == k for k in range(len(arrivals.sensors))]
    shares = np.array([np.mean(late[arrivals.path[rows]]) if np.any(rows) else np.nan for rows in mine])
    off_sigmas = _typical(off)
    overall_s = _shown(residuals_s) if off_sigmas > DISAGREES else 0.0
    lost = np.zeros(len(mine), dtype=np.bool_)
    for k, rows in enumerate(mine):
        others = np.delete(shares, k)
        others = others[~np.isnan(others)]
        places = len(set(arrivals.path[rows].tolist()))
        usual = float(np.median(others)) if len(others) else 1.0
        alone = places >= LEAST_PLACES and shares[k] > LATE_SHARE >= usual
        lost[k] = np.sum(rows) >= LEAST_SHOTS and (_typical(off[rows]) > DISAGREES or alone)
    return Doubt(off_sigmas, lost, np.array([max(_shown(residuals_s[rows]), overall_s) for rows in mine]))


def _assumed_s(arrivals: Arrivals, solved: Solved, *, corrected: bool) -> Floats:
    """Sigma of each arrival's residual if everything is as it is held to be; ``corrected`` by what was learnt."""
    place_m, clock_s = np.max(arrivals.sensor_sigma[:, :2], axis=1), arrivals.sensor_sigma[:, 2]
    if corrected:
        place_m = np.sqrt(np.maximum(np.linalg.eigvalsh(solved.covariances[:, :2, :2])[:, -1], 0.0))
        clock_s = np.sqrt(np.maximum(solved.covariances[:, 2, 2], 0.0))
    survey_m = np.max(arrivals.place_sigma[:, :2], axis=1)[arrivals.shot_place[arrivals.shot]]
    survey_m = np.where(survey_m < UNKNOWN_M, survey_m, 0.0)  # a place nobody surveyed was fitted to its arrivals
    sensor = np.hypot(place_m / SPEED_M_PER_S, clock_s)[arrivals.sensor]
    path = np.hypot(np.hypot(arrivals.sigmas, REPEAT_S), solved.path_sigma_s)
    heights = 0.1 * arrivals.height_sigma[arrivals.sensor]  # as the paths have it
    variance = sensor**2 + path**2 + (survey_m / SPEED_M_PER_S) ** 2 + (heights / SPEED_M_PER_S) ** 2
    return np.asarray(np.sqrt(variance))


def _typical(values: Floats) -> float:
    """Sigma by the median: a few that are far off do not make it large."""
    return NORMAL_MEDIAN * float(np.median(np.abs(values))) if len(values) else 0.0


def _shown(residuals_s: Floats) -> float:
    """Root mean square of all that does not lie far beyond most."""
    return root_mean_square(residuals_s[np.abs(residuals_s) <= FAR_OFF * _typical(residuals_s)])
