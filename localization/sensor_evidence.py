"""What bangs say of one sensor, and the explanations it may have: in order, clock astray, or place astray.

Everything here is arithmetic on remarks. A remark is one arrival beside what all other sensors of that bang predict
for it. Remarks from one place share one path through the houses, so together they count as one witness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import SECOND, check_instant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ONE_PLACE_M: Final = 100.0  # bangs nearer to each other than this count as one witness: walls may delay both alike
KNOWN_PATH_M: Final = 30.0  # and what the path from here usually adds, only those as near as this can tell
LATE_S: Final = 0.03  # mean delay round corners
EARLY_S: Final = 0.0033
INDIRECT: Final = (3.0, 17.0)
"""Share of paths that are not direct, before a sensor has shown its own: 0.15, worth 20 places (beta)."""
P_CHANGED: Final = 0.03  # a path known from two bangs or more adds something else than usual
WRONG_S: Final = 0.025  # a fix that is wrong errs to both sides
P_WRONG: Final = 0.03
JUMP_S: Final = 0.015  # half of all jumps of a clock are smaller (Cauchy): the prior has room for large ones
MOVE_M: Final = 10.0  # the same of a sensor that was put elsewhere
GRID_S: Final = np.arange(-125, 126) * 0.002
LEAST_FREE: Final = 2  # arrivals beyond place and discharge that must be left when suspects are taken out
SUSPECT: Final = 3.5  # sigmas from which an arrival is taken out before the others are judged
USELESS_S: Final = 0.1  # a prediction less certain than this says nothing
MOST_SUSPECTS: Final = 0.34  # share of a bang's arrivals; with more of them nobody knows who is right


@dataclass(frozen=True, slots=True)
class Remark:
    """What one bang says of one sensor.

    Parameters
    ----------
    time_ns : int
        Discharge of the bang.
    name : str
        The bang's.
    sensor_id : str
        The sensor's.
    place : (east, north), m
        Of the bang, in the plane of the network.
    residual_s : float
        Arrival minus what the other sensors predict, s; late is positive.
    sigma_s : float
        One standard deviation of that for a sensor in order and a direct path: its own and the prediction's.
    slope : (east, north), s/m
        How much later the sound would come if the sensor stood a metre farther east, or north.
    """

    time_ns: int
    name: str
    sensor_id: str
    place: tuple[float, float]
    residual_s: float
    sigma_s: float
    slope: tuple[float, float]

    def __post_init__(self) -> None:
        check_instant(self.time_ns, "time_ns")
        if not (math.isfinite(self.residual_s) and 0.0 < self.sigma_s < math.inf):
            raise ValueError(f"residual_s is {self.residual_s}, sigma_s {self.sigma_s}: expected finite, and above 0")
        if not all(math.isfinite(value) for value in (*self.place, *self.slope)):
            raise ValueError(f"place is {self.place} and slope {self.slope}: expected finite numbers")


def left_out(
    residuals: Floats, sigmas: Floats, weights: Floats, gradients: Floats, prior_sigma: Floats
) -> tuple[Floats, Floats]:
    """Each arrival of a bang beside what all the others predict for it.

    Parameters
    ----------
    residuals : (n,) float64
        Arrival minus prediction at the most probable parameters, s.
    sigmas : (n,) float64
        Of each arrival, s: pick, clock, survey and path.
    weights : (n,) float64
        Probability that it is the direct arrival.
    gradients : (n, 7) float64
        Of each predicted arrival with the parameters of `localization.solver_kernels`.
    prior_sigma : (7,) float64
        Of the parameters; infinite where nothing was assumed.

    Returns
    -------
    residuals, sigmas : (n,) float64, s
        What each arrival differs from the others' prediction, and one standard deviation of that. The sigma is
        infinite where the others predict nothing, and everywhere when so many had to be taken out that nobody knows
        who is right.

    Notes
    -----
    Linear in the parameters, about the place that was found. A bang's worst arrival is taken out before the others are
    judged, and so on while enough are left (data snooping: Baarda 1968, A Testing Procedure for Use in Geodetic
    Networks), so that one bad clock does not speak against the good ones.
    """
    precision = np.where(np.isfinite(prior_sigma), 1.0 / prior_sigma**2, 0.0)
    precision += 1e-10  # nothing is farther than 100 km away: keeps what is undetermined solvable
    pull = gradients.T @ (weights / sigmas**2 * residuals)  # at the maximum the prior pulls back as much
    trusted = np.where(weights >= 0.5, 1.0, 0.0)
    while True:
        off, spread = _predicted_without(residuals, sigmas, trusted, gradients, precision, pull)
        doubt = np.where(trusted > 0.0, np.abs(off) / spread, 0.0)
        worst = int(np.argmax(doubt))
        if doubt[worst] <= SUSPECT:
            clear = np.sum(trusted) >= (1.0 - MOST_SUSPECTS) * len(trusted)
            return off, np.where(clear & (spread < USELESS_S), spread, np.inf)
        if np.sum(trusted) - 1.0 < 3 + LEAST_FREE:
            return off, np.full(len(off), np.inf)
        trusted[worst] = 0.0


def _predicted_without(
    residuals: Floats, sigmas: Floats, trusted: Floats, gradients: Floats, precision: Floats, pull: Floats
) -> tuple[Floats, Floats]:
    each = gradients[:, :, None] * gradients[:, None, :] * (trusted / sigmas**2)[:, None, None]
    slopes = gradients * (trusted / sigmas**2 * residuals)[:, None]
    normal = np.sum(each, axis=0) + np.diag(precision) - each
    scale = 1.0 / np.sqrt(np.diagonal(normal, axis1=1, axis2=2))
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    right = np.stack([np.sum(slopes, axis=0) - slopes - pull, gradients], axis=2) * scale[:, :, None]
    solved = np.linalg.solve(scaled, right) * scale[:, :, None]
    off = residuals - np.sum(gradients * solved[:, :, 0], axis=1)
    return off, np.sqrt(sigmas**2 + np.maximum(np.sum(gradients * solved[:, :, 1], axis=1), 0.0))


# Witnesses: the remarks from one place, as one.


@dataclass(frozen=True, slots=True, eq=False)
class Witnesses:
    """Places that speak of a sensor, (n,) each; slopes (n, 2).

    ``off`` and ``sigmas`` are in s, ``times_s`` after the first remark, ``slopes`` in s/m as those of a remark.
    ``off`` is what is unusual: less what the path from there added before, where that is known. ``indirect`` is the
    probability that it means nothing, because the path is not direct or has changed.
    """

    off: Floats
    sigmas: Floats
    times_s: Floats
    slopes: Floats
    indirect: Floats

    def __len__(self) -> int:
        return len(self.off)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Remarks on one sensor as arrays, by time: for what paths usually add."""

    places: Floats
    residuals: Floats
    sigmas: Floats

    @classmethod
    def of(cls, remarks: Sequence[Remark]) -> History:
        """Remarks as arrays."""
        rows = np.array([(*r.place, r.residual_s, r.sigma_s) for r in remarks]).reshape(-1, 4)
        return cls(rows[:, :2], rows[:, 2], rows[:, 3])

    def indirect(self, before: int) -> float:
        """The share of indirect arrivals among the first ``before``: what this sensor's streets are like."""
        astray = np.sum(np.abs(self.residuals[:before]) > 3.0 * self.sigmas[:before])
        return float((INDIRECT[0] + astray) / (sum(INDIRECT) + before))

    def usual(self, place: tuple[float, float], before: int) -> tuple[float, int]:
        """What the path from a place added among the first ``before``, s, and how many bangs tell so."""
        near = np.hypot(*(self.places[:before] - place).T) < KNOWN_PATH_M
        return (float(np.median(self.residuals[:before][near])), int(np.sum(near))) if np.any(near) else (0.0, 0)


def witnesses(remarks: Sequence[Remark], history: History, before: int) -> Witnesses:
    """Put remarks from one place together; the first ``before`` of the history tell what is usual."""
    groups: list[list[Remark]] = []
    for remark in remarks:
        for group in groups:
            if math.dist(group[0].place, remark.place) < ONE_PLACE_M:
                group.append(remark)
                break
        else:
            groups.append([remark])
    rows = np.empty((len(groups), 6))
    indirect = history.indirect(before)
    for row, group in zip(rows, groups, strict=True):
        weights = np.array([remark.sigma_s**-2 for remark in group])
        values = np.array([(r.residual_s, (r.time_ns - remarks[0].time_ns) / SECOND, *r.slope) for r in group])
        row[:4] = weights @ values / np.sum(weights)
        usual, times = history.usual(group[0].place, before)
        row[0] -= usual
        row[4] = min(remark.sigma_s for remark in group) * math.sqrt(1.0 + 1.0 / times if times else 1.0)
        row[5] = indirect if times < 2 else P_CHANGED
    return Witnesses(rows[:, 0], rows[:, 4], rows[:, 1], rows[:, 2:4], rows[:, 5])


def log_density(off: Floats, sigmas: Floats, indirect: Floats) -> Floats:
    """Log density (1/s) of a residual of a sensor in order, or of what an explanation leaves of one; any shape.

    Direct with a normal error; or late round a corner (exponential, and hardly ever early); or from a wrong fix, to
    both sides.
    """
    direct = np.exp(-0.5 * (off / sigmas) ** 2) / (math.sqrt(2.0 * math.pi) * sigmas)
    late = np.exp(-np.where(off >= 0.0, off / LATE_S, -off / EARLY_S)) / (LATE_S + EARLY_S)
    wrong = np.exp(-np.abs(off) / WRONG_S) / (2.0 * WRONG_S)
    result: Floats = np.log((1.0 - P_WRONG) * ((1.0 - indirect) * direct + indirect * late) + P_WRONG * wrong)
    return result


# The explanations, each with its odds against "in order".


@dataclass(frozen=True, slots=True)
class Evidence:
    """An explanation: log odds against a sensor in order, and what it says is wrong.

    ``offset_s`` is the clock's, ``move_m`` east and north the place's; ``sigma`` is of the one or (each axis) the
    other. ``places`` says how many witnesses it explains better, ``sides`` whether some are early and some late.
    """

    odds: float
    offset_s: float = 0.0
    move_m: tuple[float, float] = (0.0, 0.0)
    sigma: float = 0.0
    places: int = 0
    sides: bool = False


def most_odds(seen: Witnesses) -> float:
    """No explanation can have better log odds than one that leaves nothing unexplained: cheap to know beforehand."""
    ideal = log_density(np.zeros(len(seen)), seen.sigmas, seen.indirect)
    return float(np.sum(ideal - log_density(seen.off, seen.sigmas, seen.indirect)))


def clock_evidence(seen: Witnesses) -> Evidence:
    """The clock is off by one amount for all witnesses: the odds, integrated over amounts (Cauchy prior)."""
    off = seen.off
    base = log_density(off, seen.sigmas, seen.indirect)
    with_offset = log_density(off[:, None] - GRID_S, seen.sigmas[:, None], seen.indirect[:, None])
    prior = 1.0 / (math.pi * JUMP_S * (1.0 + (GRID_S / JUMP_S) ** 2))
    each = np.sum(with_offset, axis=0) - np.sum(base) + np.log(prior * (GRID_S[1] - GRID_S[0]))
    best = int(np.argmax(each))
    masses = np.exp(each - each[best])
    total = float(np.sum(masses))
    mean = float(masses @ GRID_S) / total
    sigma = math.sqrt(max(float(masses @ (GRID_S - mean) ** 2) / total, 1e-8))
    explained = with_offset[:, best] - base > 0.5
    places = int(np.sum(explained & (np.abs(off - GRID_S[best]) < 3.0 * seen.sigmas)))
    return Evidence(float(each[best]) + math.log(total), mean, sigma=sigma, places=places)


def place_evidence(seen: Witnesses) -> Evidence:
    """The sensor stands elsewhere: the odds, by Laplace's approximation about the best move (Cauchy prior)."""
    if len(seen) < 3:
        return Evidence(-math.inf)
    off, slopes = seen.off, seen.slopes
    base = log_density(off, seen.sigmas, seen.indirect)
    move: Floats = np.zeros(2)
    weights: Floats = 1.0 / seen.sigmas**2
    normal: Floats = np.eye(2)
    for _ in range(12):
        prior = 3.0 / (MOVE_M**2 + float(move @ move))
        normal = slopes.T @ (weights[:, None] * slopes) + prior * np.eye(2)
        move = np.asarray(np.linalg.solve(normal, slopes.T @ (weights * off)), dtype=np.float64)
        left = off - slopes @ move
        # A witness that is not direct pulls less; the first round takes all at their word.
        direct = 1.0 / (1.0 + (left / (3.0 * seen.sigmas)) ** 2) ** 2
        weights = direct / seen.sigmas**2
    fitted = log_density(off - slopes @ move, seen.sigmas, seen.indirect)
    prior_log = -math.log(2.0 * math.pi * MOVE_M**2) - 1.5 * math.log1p(float(move @ move) / MOVE_M**2)
    log_volume = math.log(2.0 * math.pi) - 0.5 * math.log(float(np.linalg.det(normal)))
    pushed = slopes @ move
    better = fitted - base > 0.5
    sides = bool(np.any(better & (pushed > seen.sigmas)) and np.any(better & (pushed < -seen.sigmas)))
    sigma = math.sqrt(float(np.linalg.eigvalsh(np.linalg.inv(normal))[-1]))
    odds = float(np.sum(fitted) - np.sum(base)) + prior_log + log_volume
    return Evidence(odds, move_m=(float(move[0]), float(move[1])), sigma=sigma, places=int(np.sum(better)), sides=sides)


def drifts(seen: Witnesses) -> bool:
    """Whether a clock that is astray runs away rather than having jumped: a ramp fits better than a step.

    Both begin where they fit best, with one number each beyond that; residuals count up to three sigma.
    """
    order = np.argsort(seen.times_s, kind="stable")
    off, sigmas, times = seen.off[order], seen.sigmas[order], seen.times_s[order]
    if len(off) < 5 or times[-1] <= times[0]:
        return False

    def misfit(shape: Floats) -> float:
        power = float(np.sum((shape / sigmas) ** 2))
        size = float(np.sum(shape * off / sigmas**2)) / power if power > 0.0 else 0.0
        return float(np.sum(np.minimum((off - size * shape) ** 2 / sigmas**2, 9.0)))

    jump = min(misfit(np.where(np.arange(len(off)) >= k, 1.0, 0.0)) for k in range(len(off) - 1))
    ramp = min(misfit(np.maximum(times - times[k], 0.0)) for k in range(len(off) - 3))
    return ramp < jump - 4.0
