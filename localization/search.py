"""The search: which picks of a window are one bang, best explanation first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from localization.kernels import DISCHARGE, NONE, candidates, refine, repeats, support, travel_time
from localization.loudness import audible_share, loudness_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.solver import Solver
    from localization.window import Window

NEIGHBOURS: Final = 8  # others that a sensor is paired with for triples
AUDIENCE: Final = 64  # sensors asked about a bang: the nearest to the one that heard it first
SURVIVORS: Final = 8  # candidates kept for each first pick
REFINED: Final = 60  # candidates refined in a window
TRIPLES: Final = 200_000  # tried in a window before it counts as overloaded
LEAST_ODDS: Final = 2.0  # log odds from which picks are believed to be one bang
REPEAT_SIGMA_S: Final = 0.003  # the same path twice: noise of two picks, and the shooter's step
SAME_LEVEL_DB: Final = (0.0, 3.0)  # a further round: mean and sigma of its level beside the first one's
OTHER_LEVEL_DB: Final = (-8.0, 8.0)  # an echo, or chance
BURST_S: Final = 6.0  # how long before and after a round its fellows are looked for
CLOSEST_ROUNDS_S: Final = 0.045  # 1,300 rounds a minute


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Picks that may be one bang.

    ``picks`` are indices into the window, one a sensor, ordered by sensor; ``p`` the parameters of the bang; ``score``
    its log odds; ``burst`` the same together with its further rounds in the window.
    """

    p: NDArray[np.float64]
    picks: NDArray[np.int64]
    score: float
    burst: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """How a place sounded: which sensors heard it, when after the discharge (s), and how loud (dB, or NaN)."""

    sensors: NDArray[np.int64]
    offsets: NDArray[np.float64]
    levels: NDArray[np.float64]
    p: NDArray[np.float64]


class Search:
    """Explains windows of one network.

    Parameters
    ----------
    solver : Solver
        Air, street and the height of sources.
    sensors : (S, 3) float64
        Positions in the plane, m.
    known_s : (S,) float64
        Timing error of each sensor that is not the pick's: clock and survey, s.
    """

    def __init__(self, solver: Solver, sensors: NDArray[np.float64], known_s: NDArray[np.float64]) -> None:
        self.street = solver.street
        self.middle = sensors.mean(axis=0) if len(sensors) else np.zeros(3)
        self.sensors = np.ascontiguousarray(sensors - self.middle)
        self.sigmas = np.hypot(known_s, self.street.path_sigma_s)
        self.prior, self.prior_sigma = solver.prior()
        self.prior[2] -= self.middle[2]
        order = _by_distance(self.sensors, AUDIENCE)
        self.around = np.ascontiguousarray(order)
        self.near = np.ascontiguousarray(order[:, 1 : NEIGHBOURS + 1])
        self.late = self.street.late()
        self.hearing = np.array([self.street.near_share, self.street.half_range_m])
        self.log_rate = math.log(self.street.bangs_per_s_m2)
        self.log_repeat = math.log(self.street.repeats_per_s * REPEAT_SIGMA_S * math.sqrt(2.0 * math.pi))

    def candidates(self, window: Window, seeds: NDArray[np.int64]) -> tuple[list[Candidate], int]:
        """Explanations whose first pick is one of ``seeds``, best first; and how many triples were left untried."""
        seeds = seeds[np.argsort(-window.gains[seeds], kind="stable")]  # where the budget runs out, it ran on the best
        found = np.empty((len(seeds), SURVIVORS, 4))
        counts, untried = candidates(
            seeds, self.near, self.around, self.sensors, window.listening, window.first, window.owner, window.times,
            window.free, window.gains, window.outlier, self.sigmas, self.prior, self.prior_sigma[[3, 4]], self.late,
            self.hearing, self.street.farthest_m, found, TRIPLES,
        )  # fmt: skip
        rough = [(found[m, k], window.owner[seeds[m]]) for m in range(len(seeds)) for k in range(counts[m])]
        rough.sort(key=lambda pair: -pair[0][3])
        refined = []
        for row, owner in rough[:REFINED]:
            p = self.prior.copy()
            p[0], p[1], p[DISCHARGE] = row[:3]
            candidate = self.refined(window, p, int(owner))
            if candidate is not None and candidate.score > LEAST_ODDS:
                refined.append(candidate)
        return _distinct(refined), int(untried)

    def refined(self, window: Window, p: NDArray[np.float64], heard_first: int) -> Candidate | None:
        """The explanation near parameters ``p``, or None where fewer than three sensors agree."""
        around, p = self.around[heard_first], p.copy()
        members = np.empty(len(around), dtype=np.int64)
        fixed = (
            self.sensors,
            window.listening,
            window.first,
            window.times,
            window.free,
            window.gains,
            window.outlier,
            self.sigmas,
        )
        support(p, self.prior_sigma[[3, 4]], around, *fixed, self.late, self.hearing, members)
        score = refine(p, around, members, *fixed, self.prior, self.prior_sigma, self.late, self.hearing, self.log_rate)
        if score < -1e299:
            return None
        picks = np.sort(members[members != NONE])
        silent = around[(members == NONE) & window.listening[around]]
        return Candidate(p, picks, score + self._loudness(window, p, picks, silent))

    def _loudness(
        self, window: Window, p: NDArray[np.float64], picks: NDArray[np.int64], silent: NDArray[np.int64]
    ) -> float:
        """What the levels add to a score: they fall with distance, and a quiet bang need not be heard by all."""
        near, far = (np.linalg.norm(self.sensors[s] - p[:3], axis=1) for s in (window.owner[picks], silent))
        levels, censored = window.pressures[picks], window.censored[picks]
        odds = loudness_odds(levels, censored, near)
        audible = audible_share(levels, censored, near, far, window.floors[silent])
        share = self.street.near_share / (1.0 + (far / self.street.half_range_m) ** 3)
        return odds + float(np.sum(np.log1p(-share * audible) - np.log1p(-share)))

    def pattern(self, window: Window, candidate: Candidate) -> Pattern:
        """How the place of this bang sounds, for finding its further rounds."""
        picks = candidate.picks
        offsets = window.times[picks] - candidate.p[DISCHARGE]
        return Pattern(window.owner[picks], offsets, window.levels[picks], candidate.p)

    def carried(self, pattern: Pattern, rows: NDArray[np.int64], new: Search) -> Pattern:
        """The pattern as another search's sensors know it: ``rows`` (S,) are their rows here, -1 where they are new."""
        now = {int(row): k for k, row in enumerate(rows) if row >= 0}
        stays = [k for k, s in enumerate(pattern.sensors) if int(s) in now]
        p = pattern.p.copy()
        p[:3] += self.middle - new.middle
        sensors = np.array([now[int(pattern.sensors[k])] for k in stays], dtype=np.int64)
        return Pattern(sensors, pattern.offsets[stays], pattern.levels[stays], p)

    def rounds(self, window: Window, pattern: Pattern, low_s: float, high_s: float) -> list[tuple[float, float]]:
        """Discharges (s) and scores of further rounds that sound like ``pattern``, best first, well apart in time."""
        out = np.empty((64, 2))
        count = repeats(
            pattern.sensors, pattern.offsets, pattern.levels, window.first, window.times, window.free, window.gains,
            window.levels, REPEAT_SIGMA_S, np.array(SAME_LEVEL_DB), np.array(OTHER_LEVEL_DB), self.log_repeat,
            low_s, high_s, out,
        )  # fmt: skip
        chosen: list[tuple[float, float]] = []
        for discharge, score in out[:count]:
            if score > LEAST_ODDS and all(abs(discharge - other) > CLOSEST_ROUNDS_S for other, _ in chosen):
                chosen.append((float(discharge), float(score)))
        return chosen

    @staticmethod
    def repeat(window: Window, pattern: Pattern, discharge: float, score: float) -> Candidate:
        """The further round of ``pattern`` at this discharge."""
        p = pattern.p.copy()
        p[DISCHARGE] = discharge
        picks = []
        for s, offset in zip(pattern.sensors, pattern.offsets, strict=True):
            low, high = window.first[s], window.first[s + 1]
            errors = np.abs(window.times[low:high] - offset - discharge)
            errors[~window.free[low:high]] = np.inf
            if len(errors) and np.min(errors) < 4.0 * REPEAT_SIGMA_S:
                picks.append(low + int(np.argmin(errors)))
        return Candidate(p, np.array(picks, dtype=np.int64), score)

    def arrivals(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """When each sensor should hear a bang with parameters ``p``, (S,) s."""
        return np.array(
            [p[DISCHARGE] + travel_time(s[0] - p[0], s[1] - p[1], s[2] - p[2], p[3], p[4], p[5]) for s in self.sensors]
        )

    def rated(self, window: Window, found: list[Candidate]) -> list[Candidate]:
        """The better candidates, first the one that explains most together with its further rounds.

        A burst's true place explains all of its rounds; a mixture of two rounds seldom finds its like.
        """
        rated = []
        for candidate in found[:12]:
            window.free[candidate.picks] = False
            discharge = candidate.p[DISCHARGE]
            more = self.rounds(window, self.pattern(window, candidate), discharge - BURST_S, discharge + BURST_S)
            window.free[candidate.picks] = True
            burst = candidate.score + math.fsum(score for _, score in more)
            rated.append(Candidate(candidate.p, candidate.picks, candidate.score, burst))
        return sorted(rated, key=lambda c: (-c.burst, -c.score))


def _by_distance(sensors: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """For each sensor the indices of the nearest ones, itself first; (S, at most ``most``)."""
    count = len(sensors)
    order = np.empty((count, min(count, most)), dtype=np.int64)
    for s in range(count):
        order[s] = np.argsort(np.hypot(*(sensors[:, :2] - sensors[s, :2]).T), kind="stable")[: order.shape[1]]
    return order


def _distinct(found: list[Candidate]) -> list[Candidate]:
    """Best first, those that ended in the same place at the same time only once."""
    result: list[Candidate] = []
    for candidate in sorted(found, key=lambda c: -c.score):
        if all(
            math.hypot(*(candidate.p[:2] - other.p[:2])) > 5.0
            or abs(candidate.p[DISCHARGE] - other.p[DISCHARGE]) > 0.02
            for other in result
        ):
            result.append(candidate)
    return result
