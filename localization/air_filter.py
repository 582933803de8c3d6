"""The filter behind the learnt air: from a weather report and a row of bangs to what is believed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import SECOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.air import Air

    Floats = NDArray[np.float64]

WILD: Final = 16.27  # chi-square with three degrees of freedom, 99.9 %
AGREE_AGAINST_REPORT: Final = 3
"""This many bangs in a row that contradict what is believed, yet agree with each other, are believed instead."""
DISTRUST: Final = 4.0  # by which the report's sigmas grow once bangs have shown it to be wrong
LEAST_KNOWN: Final = 1e-7  # information, (m/s)^-2, that even a silent bang is given: a sigma of 3 km/s
LEAST_SPEED_SIGMA: Final = 0.05  # m/s; a report that claims to know better is not taken at its word
COMMON: Final = 0.25
"""Of what a sensor's survey and clock do to the air that one bang shows, the part that is the same for the next: bangs
elsewhere see the sensor from other sides. From simulation, 8 sensors and bangs among them: between a tenth and 0.4."""
SAME_PLACE_M: Final = 50.0  # within it, paths err alike, so that many bangs tell no more of the air than one


@dataclass(frozen=True, slots=True)
class Weathering:
    """How air changes: assumptions, not measurements of this city.

    Parameters
    ----------
    wind_drift_m_per_s, speed_drift_m_per_s : float
        How far the wind (each axis) and the speed of sound wander in an hour, one standard deviation: the mean wind
        of ten minutes by 1 m/s in a quarter of an hour, the temperature by a degree in an hour.
    longest_s : float
        Correlation time of the difference between truth and report, at most. It is an Ornstein-Uhlenbeck process whose
        spread is the report's sigma and whose pace is the drift; where they would make it last longer, it fades
        faster, so that an old bang's word ends gently.
    gust_m_per_s : float
        What one bang's wind differs from the mean of these minutes, for each axis, one standard deviation. A fifth to
        a third of the wind over a street is gusts, and a path of some hundred metres averages most of them away.
    unevenness_m_per_s : float
        The same for the speed of sound: warm walls, cool parks.
    tile_m : float
        Half the side of the square whose bangs speak for its middle. The square lies round the place that is asked
        for, so that no border runs through a city.
    memory_s : float
        Older bangs count for nothing.
    lateness_s : float
        How much earlier than the newest bang another may still be told of.
    """

    wind_drift_m_per_s: float = 2.0
    speed_drift_m_per_s: float = 0.6
    longest_s: float = 4.0 * 3600.0
    gust_m_per_s: float = 0.3
    unevenness_m_per_s: float = 0.15
    tile_m: float = 2500.0
    memory_s: float = 6.0 * 3600.0
    lateness_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("wind_drift_m_per_s", "speed_drift_m_per_s", "longest_s", "tile_m", "memory_s"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: expected above 0")
        for name in ("gust_m_per_s", "unevenness_m_per_s", "lateness_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one bang said of the air.

    ``told`` is its information times its mean, ``shared`` the share of its arrivals' variance that is survey
    and clocks, and so the same for other bangs.
    """

    time_ns: int
    name: str
    place: tuple[float, float]
    information: Floats
    told: Floats
    shared: float = 0.0

    @property
    def key(self) -> tuple[int, str]:
        """By which bangs are ordered."""
        return self.time_ns, self.name


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """What is believed of the air at one place and instant.

    ``mean`` (3,) is sound speed, wind east and north in m/s, ``covariance`` (3, 3) theirs, with gusts; ``used`` bangs
    speak for it, ``unused`` ones contradicted it, and ``report_wrong`` says that bangs have overruled the report.
    """

    mean: Floats
    covariance: Floats
    used: int
    unused: int
    report_wrong: bool


class Filter:
    """A Kalman filter over the bangs of one tile, in event time, between the report and the truth."""

    def __init__(self, report: Air, weathering: Weathering, seen: list[Seen]) -> None:
        self.seen, self.weathering = seen, weathering
        self.report = np.array([report.sound_speed_m_per_s, report.wind_east_m_per_s, report.wind_north_m_per_s])
        speed_sigma = max(report.sound_speed_sigma_m_per_s, LEAST_SPEED_SIGMA)
        wind_sigma = max(report.wind_sigma_m_per_s, LEAST_SPEED_SIGMA)
        self.stationary = np.diag([speed_sigma**2, wind_sigma**2, wind_sigma**2])
        gust, uneven = weathering.gust_m_per_s, weathering.unevenness_m_per_s
        self.gust = np.diag([uneven**2, gust**2, gust**2])
        self.shares = _shares(seen)
        # With L the information of a bang and G the gusts, (I + L G)^-1 L is what it knows of the mean air.
        information = np.array([s.information for s in seen]).reshape(-1, 3, 3)
        blurred = np.eye(3) + information @ self.gust
        self.knows = np.linalg.solve(blurred, information) + LEAST_KNOWN * np.eye(3)
        self.told = np.linalg.solve(blurred, np.array([s.told for s in seen]).reshape(-1, 3, 1))[:, :, 0]
        self._restart(0)

    def _restart(self, first: int) -> None:
        """Begin with the report alone; bangs before the ``first`` count for nothing."""
        self.mean, self.covariance = self.report.copy(), self.stationary.copy()
        self.now_ns = self.seen[first].time_ns if self.seen else 0
        self.used, self.unused, self.first = 0, first, first
        self.heard: list[int] = []

    def at(self, time_ns: int) -> Belief:
        """Run through the bangs, and on to this instant."""
        wrong, row, k = False, 0, 0
        while k < len(self.seen):
            row = 0 if self._take(k) else row + 1
            begin = k - AGREE_AGAINST_REPORT + 1
            if row >= AGREE_AGAINST_REPORT and begin > self.first - (not wrong) and self._agree(begin, k):
                # What was believed before is wrong or out of date: these bangs begin anew, and the report, whose
                # sigma did not foresee them, is trusted less.
                self.stationary = self.stationary if wrong else self.stationary * DISTRUST**2
                wrong, row, k = True, 0, begin - 1
                self._restart(begin)
            k += 1
        self._wait(time_ns)
        return Belief(self.mean, self.covariance + self.gust + self._common(), self.used, self.unused, wrong)

    def _common(self) -> Floats:
        """What errors of survey and clocks leave however many bangs are heard: the mean of what they do to one.

        It fades with what the bangs said.
        """
        rows = [k for k in self.heard if self.seen[k].shared > 0.0]
        if not rows:
            return np.zeros((3, 3))
        weights = self.shares[rows] * [self.seen[k].shared for k in rows] / np.sum(self.shares[self.heard])
        single = np.linalg.inv(np.array([self.seen[k].information for k in rows]) + np.linalg.inv(self.stationary))
        fades = np.sqrt(np.clip(1.0 - np.diag(self.covariance) / np.diag(self.stationary), 0.0, 1.0))
        common: Floats = COMMON * np.einsum("k,kij->ij", weights, single) * np.outer(fades, fades)
        return common

    def _wait(self, time_ns: int) -> None:
        """Let the air drift back towards the report."""
        if self.used:
            drift = self.weathering.speed_drift_m_per_s, self.weathering.wind_drift_m_per_s
            pace = np.array([drift[0], drift[1], drift[1]]) ** 2 / 3600.0
            times_s = np.minimum(2.0 * np.diag(self.stationary) / pace, self.weathering.longest_s)
            keep = np.exp(-(time_ns - self.now_ns) / SECOND / times_s)
            self.mean = self.report + keep * (self.mean - self.report)
            kept = np.outer(keep, keep)
            self.covariance = kept * self.covariance + (1.0 - kept) * self.stationary
        self.now_ns = time_ns

    def _take(self, k: int) -> bool:
        """Let the k-th bang speak, unless it contradicts wildly."""
        self._wait(self.seen[k].time_ns)
        mean, covariance, distance = self._updated(k, self.mean, self.covariance)
        if distance > WILD:
            self.unused += 1
            return False
        self.mean, self.covariance = mean, covariance
        self.used += 1
        self.heard.append(k)
        return True

    def _updated(self, k: int, mean: Floats, covariance: Floats) -> tuple[Floats, Floats, float]:
        """Mean and covariance with the k-th bang, and how far it lay off (squared Mahalanobis distance).

        In information form, because a bang may know nothing in some direction.
        """
        knows = self.knows[k]
        off = self.told[k] - knows @ mean
        # off has the covariance L + L P L, which is singular with L but for what `LEAST_KNOWN` adds.
        distance = float(off @ np.linalg.solve(knows + knows @ covariance @ knows, off))
        share = self.shares[k]
        gain = np.linalg.solve(np.eye(3) + share * covariance @ knows, covariance)
        gain = 0.5 * (gain + gain.T)
        return mean + gain @ (share * off), gain, distance

    def _agree(self, begin: int, last: int) -> bool:
        """Whether these bangs, which contradicted what was believed, agree with each other from a wide start."""
        mean, covariance = self.report.copy(), self.stationary * DISTRUST**2
        for k in range(begin, last + 1):
            mean, covariance, distance = self._updated(k, mean, covariance)
            if distance > WILD:
                return False
        return True


def _shares(seen: list[Seen]) -> Floats:
    """What each bang counts: those from one place together as much as one of them."""
    if not seen:
        return np.empty(0)
    places = np.array([s.place for s in seen])
    near = np.hypot(*(places[:, None, :] - places[None, :, :]).transpose(2, 0, 1)) < SAME_PLACE_M
    shares: Floats = 1.0 / np.sum(near, axis=1)
    return shares
