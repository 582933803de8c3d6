"""The least squares behind a calibration: sensors, paths, air, places and discharges of many shots at once.

Everything is in metres and seconds of a local plane. A parameter that the shots do not tell of stays where its prior
puts it, with the prior's sigma; that is how translation and rotation of a whole network, or a clock against a path, are
left undecided when nothing decides them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SPEED_M_PER_S: Final = 340.0  # turns seconds into metres, so that all unknowns are of one size
REPEAT_S: Final = 0.001
"""What one arrival differs from the next on one path, beyond its pick: turbulence over some hundred metres."""
ARRIVAL_FREEDOM: Final = 5.0  # degrees of freedom of Student's t for arrivals: a wrong pick must not move a sensor
LATE_FREEDOM: Final = 2.0  # and for paths that come late; early ones are normal, since nothing outruns sound
ROUNDS: Final = 25
SETTLED_M: Final = 1e-3
PATHS_AT_ONCE: Final = 2_000  # bounded memory
HELD_M: Final = 0.1  # what the mean of all clocks is held by while the rest is inverted
UNKNOWN_M: Final = 3e4  # the sigma of what has no prior: places without a survey, and discharges


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Arrivals of many shots; each row of the first five belongs to one arrival.

    Parameters
    ----------
    sensor, shot, path : (n,) int64
        Which sensor heard which shot over which path; paths are pairs of a place and a sensor.
    times, sigmas : (n,) float64, s
        After the shot's own zero; and the pick's sigma.
    shot_place, shot_air : (shots,) int64
        From which place, through which air.
    sensors : (S, 3), places : (P, 3), m
        As surveyed; or, for places nobody surveyed, as located.
    air : (A, 3), m/s
        Sound speed, wind east, wind north, as reported.
    sensor_sigma : (S, 3)
        Of east and north, m, and of the clock, s.
    place_sigma : (P, 3), m; air_sigma : (A, 3), m/s
    path_sensor : (K,) int64
        The sensor of each path.
    height_sigma : (S,) float64, m
        Of the sensors' heights: they are not solved for, and count with the paths.
    """

    sensor: Ints
    shot: Ints
    path: Ints
    times: Floats
    sigmas: Floats
    shot_place: Ints
    shot_air: Ints
    sensors: Floats
    places: Floats
    air: Floats
    sensor_sigma: Floats
    place_sigma: Floats
    air_sigma: Floats
    path_sensor: Ints
    height_sigma: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """What the arrivals say.

    ``corrections`` (S, 3): east and north m, clock s; ``covariances`` (S, 3, 3) theirs. Clocks are told beside the mean
    of all clocks, weighted by how good each is held to be: what they have in common moves no place. ``excess`` and
    ``excess_sigma`` (K,), s, of the paths. ``residuals`` (n,), s, with everything taken into account;
    ``path_sigma_s`` the scatter of paths; ``log_evidence`` how well that scatter explains the arrivals.
    """

    corrections: Floats
    covariances: Floats
    excess: Floats
    excess_sigma: Floats
    residuals: Floats
    place_moves: Floats
    path_sigma_s: float
    log_evidence: float
    unknowns: Floats


def solve(arrivals: Arrivals, path_sigma_s: float, *, covariances: bool = True, start: Floats | None = None) -> Solved:
    """Robust Gauss-Newton over all unknowns at once.

    Parameters
    ----------
    arrivals : Arrivals
        What was heard.
    path_sigma_s : float
        Scatter of direct paths, s.
    covariances : bool
        Whether they are wanted: they take most of the time.
    start : (u,) float64 or None
        Where to begin: the ``unknowns`` of another solution for the same arrivals.
    """
    problem = _Problem(arrivals, path_sigma_s)
    if start is not None:
        problem.x = start.copy()
    return problem.solved(covariances=covariances)


class _Problem:
    """The unknowns in one vector, in metres: sensors (3 each), air (3), places (3), discharges, path excesses."""

    def __init__(self, a: Arrivals, path_sigma_s: float) -> None:
        self.a, self.path_sigma_s = a, path_sigma_s
        counts = [3 * len(a.sensors), 3 * len(a.air), 3 * len(a.places), len(a.shot_place), len(a.path_sensor)]
        self.first = np.cumsum([0, *counts])
        self.n = int(self.first[-1])
        clock = np.array([1.0, 1.0, SPEED_M_PER_S])
        heights = 0.1 * a.height_sigma[a.path_sensor]  # heights matter by the sine of a flat angle
        self.path_sigma = np.hypot(path_sigma_s * SPEED_M_PER_S, heights)
        self.sigma = np.concatenate(
            [
                np.maximum(a.sensor_sigma * clock, 1e-6).ravel(),
                np.maximum(a.air_sigma, 1e-4).ravel(),
                np.minimum(np.maximum(a.place_sigma, 1e-4), UNKNOWN_M).ravel(),
                np.full(len(a.shot_place), UNKNOWN_M),
                self.path_sigma,
            ]
        )
        self.noise = np.hypot(a.sigmas, REPEAT_S) * SPEED_M_PER_S
        self.place, self.weather = a.shot_place[a.shot], a.shot_air[a.shot]
        self.x = np.zeros(self.n)
        self.x[self.first[3] : self.first[4]] = self._first_discharges()

    def _first_discharges(self) -> Floats:
        travel, _ = self._travel()
        late = (self.a.times * SPEED_M_PER_S) - travel
        order = np.lexsort((late, self.a.shot))
        begins = np.searchsorted(self.a.shot[order], np.arange(len(self.a.shot_place) + 1))
        return np.array([np.median(late[order[i:j]]) for i, j in itertools.pairwise(begins)])

    def _travel(self) -> tuple[Floats, Floats]:
        """Travel of each arrival in metres of `SPEED_M_PER_S`, and its slope with sensor, air and place, (n, 9)."""
        a, x, first = self.a, self.x, self.first
        moved = a.sensors.copy()
        moved[:, :2] += x[: first[1]].reshape(-1, 3)[:, :2]
        air = a.air + x[first[1] : first[2]].reshape(-1, 3)
        places = a.places + x[first[2] : first[3]].reshape(-1, 3)
        d = moved[a.sensor] - places[self.place]
        r = np.maximum(np.linalg.norm(d, axis=1), 1e-3)
        u = d / r[:, None]
        wind = air[self.weather, 1:]
        blown = np.sum(u[:, :2] * wind, axis=1)
        along = air[self.weather, 0] + blown
        slopes = np.empty((len(r), 9))
        # r / (c + w.u) through r, and through u, which turns as its ends move.
        turned = -u * blown[:, None]
        turned[:, :2] += wind
        through = u / along[:, None] - turned / along[:, None] ** 2
        slopes[:, :2], slopes[:, 6:9] = through[:, :2], -through
        slopes[:, 2] = 1.0 / SPEED_M_PER_S  # a clock that is fast shows everything later
        slopes[:, 3] = -r / along**2
        slopes[:, 4:6] = -(r / along**2)[:, None] * u[:, :2]
        return r / along * SPEED_M_PER_S, slopes * SPEED_M_PER_S

    def _rows(self) -> tuple[Floats, Any]:
        """What each arrival differs from the prediction, m, and the sparse slopes of the prediction."""
        a, first, n = self.a, self.first, len(self.a.times)
        travel, slopes = self._travel()
        columns = np.empty((n, 11), dtype=np.int64)
        three = np.arange(3)
        columns[:, :3] = 3 * a.sensor[:, None] + three
        columns[:, 3:6] = first[1] + 3 * self.weather[:, None] + three
        columns[:, 6:9] = first[2] + 3 * self.place[:, None] + three
        columns[:, 9], columns[:, 10] = first[3] + a.shot, first[4] + a.path
        values = np.column_stack([slopes, np.ones((n, 2))])
        rows = np.repeat(np.arange(n), 11)
        jacobian = sparse.csr_matrix((values.ravel(), (rows, columns.ravel())), shape=(n, self.n))
        clock = self.x[3 * a.sensor + 2]
        predicted = travel + clock + self.x[first[3] + a.shot] + self.x[first[4] + a.path]
        return a.times * SPEED_M_PER_S - predicted, jacobian

    def _weights(self, off: Floats) -> tuple[Floats, Floats]:
        """Precision of each arrival, and of each unknown's prior: less for what lies far out."""
        arrivals = (ARRIVAL_FREEDOM + 1.0) / (ARRIVAL_FREEDOM * self.noise**2 + off**2)
        priors = 1.0 / self.sigma**2
        excess = self.x[self.first[4] :]
        late = (LATE_FREEDOM + 1.0) / (LATE_FREEDOM * self.path_sigma**2 + excess**2)
        priors[self.first[4] :] = np.where(
            excess > 0.0, np.minimum(late, 1.0 / self.path_sigma**2), priors[self.first[4] :]
        )
        return arrivals, priors

    def solved(self, *, covariances: bool) -> Solved:
        for _ in range(ROUNDS):
            off, jacobian = self._rows()
            weights, priors = self._weights(off)
            factor = _factor(self._normal(jacobian, weights, priors))
            start = np.zeros(self.n)
            start[self.first[3] : self.first[4]] = self.x[self.first[3] : self.first[4]]  # discharges have no prior
            step = factor.solve(jacobian.T @ (weights * off) - priors * (self.x - start))
            self.x = self._level(self.x + step)
            if float(np.max(np.abs(step))) < SETTLED_M:
                break
        off, jacobian = self._rows()
        weights, priors = self._weights(off)
        factor = _factor(self._normal(jacobian, weights, priors))
        sensors, first = len(self.a.sensors), self.first
        units = np.array([1.0, 1.0, 1.0 / SPEED_M_PER_S])
        blocks, paths = np.zeros((sensors, 3, 3)), np.zeros(len(self.a.path_sensor))
        if covariances:
            core, paths = self._inverse(jacobian, weights, priors)
            blocks = self._blocks(core, sensors) * units[:, None] * units
            paths = np.sqrt(paths) / SPEED_M_PER_S
        return Solved(
            corrections=self.x[: first[1]].reshape(-1, 3) * units,
            covariances=blocks,
            excess=self.x[first[4] :] / SPEED_M_PER_S,
            excess_sigma=paths,
            residuals=off / SPEED_M_PER_S,
            place_moves=self.x[first[2] : first[3]].reshape(-1, 3),
            path_sigma_s=self.path_sigma_s,
            log_evidence=self._log_evidence(off, factor),
            unknowns=self.x,
        )

    def _normal(self, jacobian: Any, weights: Floats, priors: Floats) -> Any:
        return (jacobian.T @ sparse.diags(weights) @ jacobian + sparse.diags(priors)).tocsc()

    def _inverse(self, jacobian: Any, weights: Floats, priors: Floats) -> tuple[Floats, Floats]:
        """Covariance of everything but the paths, and the variance of each path's excess.

        Every arrival has one path, so the paths' own block of the normal matrix is diagonal: they are eliminated first
        (Schur), and what is left is small enough to be dense.
        """
        first = self.first[4]
        core, path = jacobian[:, :first], jacobian[:, first:]
        across = (core.T @ sparse.diags(weights) @ path).tocsc()
        own = 1.0 / (path.T @ weights + priors[first:])  # their slopes are ones
        normal = core.T @ sparse.diags(weights) @ core + sparse.diags(priors[:first])
        mean = self._mean_clock()
        # Clocks of which nothing is known leave their mean as open: held, it does not swamp what they differ by.
        held = (normal - across @ sparse.diags(own) @ across.T).toarray() + np.outer(mean, mean) / HELD_M**2
        covariance = np.linalg.inv(held)
        pulled = (across @ sparse.diags(own)).tocsc()
        from_core = np.empty(pulled.shape[1])
        for start in range(0, len(from_core), PATHS_AT_ONCE):
            some = pulled[:, start : start + PATHS_AT_ONCE]
            from_core[start : start + PATHS_AT_ONCE] = np.asarray(some.multiply(covariance @ some).sum(axis=0)).ravel()
        return covariance, own + from_core

    def _level(self, x: Floats) -> Floats:
        """The unknowns with what all clocks share put into the discharges: exact, where the steps would creep there."""
        shared = float(self._mean_clock() @ x[: self.first[4]])
        heard = np.bincount(self.a.sensor, minlength=len(self.a.sensors)) > 0
        x[2 : self.first[1] : 3][heard] -= shared
        x[self.first[3] : self.first[4]] += shared
        return x

    def _mean_clock(self) -> Floats:
        """What makes the mean of the clocks that were heard, each weighted by its prior, of all unknowns but paths."""
        heard = np.bincount(self.a.sensor, minlength=len(self.a.sensors)) > 0
        mean = np.zeros(self.first[4])
        mean[2 : self.first[1] : 3] = np.where(heard, self.sigma[2 : self.first[1] : 3] ** -2.0, 0.0)
        return np.asarray(mean / np.sum(mean))

    def _blocks(self, core: Floats, sensors: int) -> Floats:
        blocks = np.empty((sensors, 3, 3))
        for k in range(sensors):
            block = core[3 * k : 3 * k + 3, 3 * k : 3 * k + 3]
            blocks[k] = 0.5 * (block + block.T)
        # The mean of all clocks, so weighted, is independent of everything that was heard: its variance is the prior's
        # beside what it is held by.
        heard = np.bincount(self.a.sensor, minlength=sensors) > 0
        prior = float(np.sum(self.sigma[2 : self.first[1] : 3][heard] ** -2.0))
        blocks[heard, 2, 2] -= 1.0 / (prior + HELD_M**-2.0)
        return blocks

    def _log_evidence(self, off: Floats, factor: Any) -> float:
        """Log of the arrivals' density with all unknowns integrated out (Laplace), up to a constant."""
        x, first = self.x, self.first
        arrivals = -0.5 * (ARRIVAL_FREEDOM + 1.0) * np.log1p(off**2 / (ARRIVAL_FREEDOM * self.noise**2))
        known = -0.5 * (x[: first[3]] / self.sigma[: first[3]]) ** 2
        excess = x[first[4] :] / self.path_sigma
        late = -0.5 * (LATE_FREEDOM + 1.0) * np.log1p(excess**2 / LATE_FREEDOM)
        paths = np.where(excess > 0.0, late, -0.5 * excess**2) - np.log(self.path_sigma)
        determinant = float(np.sum(np.log(np.abs(factor.U.diagonal()))))
        return float(np.sum(arrivals) + np.sum(known) + np.sum(paths)) - 0.5 * determinant


def _factor(normal: Any) -> Any:
    """The factors of a symmetric positive definite matrix, whose diagonal can serve as pivots as it stands."""
    return splu(normal, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def fitted(arrivals: Arrivals, scatters_s: tuple[float, ...]) -> Solved:
    """The solution with the scatter of paths, among those offered, that explains the arrivals best."""
    at = len(scatters_s) // 2
    tried = {at: solve(arrivals, scatters_s[at], covariances=False)}
    while True:  # the evidence has one maximum in practice: climb to it
        for near in (at - 1, at + 1):
            if 0 <= near < len(scatters_s) and near not in tried:
                tried[near] = solve(arrivals, scatters_s[near], covariances=False, start=tried[at].unknowns)
        best = max(tried, key=lambda k: tried[k].log_evidence)
        if best == at:
            return solve(arrivals, scatters_s[at], start=tried[at].unknowns)
        at = best


def root_mean_square(values: Floats) -> float:
    """0 for none."""
    return math.sqrt(float(np.mean(values**2))) if len(values) else 0.0
