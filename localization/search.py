"""The search: which picks of a window are one bang, best explanation first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from localization import association_kernels as kernels
from localization import loudness
from localization.habits import SURE_ODDS, Habits
from localization.solver_kernels import DISCHARGE
from localization.window import FIRST_RATE_PER_S, FIRST_RATE_S, ROW, Window, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from localization.solver import Solver

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

NEIGHBOURS: Final = 8  # others that a sensor is paired with for triples
AUDIENCE: Final = 64  # sensors asked about a bang: the nearest to the one that heard it first
LATE_SIGMAS: Final = 2.5  # beyond, an arrival is likelier late than direct
LESSON: Final = 1_500  # pulses from which habits are learnt where nobody brings them
TRIPLES: Final = 2_000_000  # tried in a window before it counts as overloaded
LEAST_TRIPLES: Final = 1_000  # that each pick may try even then
LEAST_ODDS: Final = 0.0  # log odds from which picks are believed to be one bang
SHARP_PATH_S: Final = 0.0005  # what paths add where nothing stands in the way
REPEAT_SIGMA_S: Final = 0.003  # the same path twice: noise of two picks, and the shooter's step
SAME_LEVEL_DB: Final = (0.0, 3.0)  # a further round: mean and sigma of its level beside the first one's
OTHER_LEVEL_DB: Final = (-8.0, 8.0)  # an echo, or chance
BURST_S: Final = 6.0  # how long before and after a round its fellows are looked for
CLOSEST_S: Final = 0.04  # 1,500 rounds a minute
ECHO_FADE_S: Final = 0.3  # over which echoes thin out
LEVELS: Final = np.array(
    [
        loudness.LEVEL_AT_1_M_DB,
        loudness.DECAY_DB,
        loudness.SCATTER_DB,
        loudness.SOURCE_DB,
        *loudness.CHANCE_DB,
        loudness.SHORTEST_M,
        loudness.AUDIBLE_DB,
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """How a place sounded: which sensors heard it, when after the discharge (s), and how loud (dB, or NaN).

    ``p`` are the parameters of the bang; ``home`` is the sensor about whose neighbourhood it was.
    """

    sensors: NDArray[np.int64]
    offsets: NDArray[np.float64]
    levels: NDArray[np.float64]
    p: NDArray[np.float64]
    home: int


@dataclass(frozen=True, slots=True, eq=False)
class Recent:
    """A round that was fired already: its pattern, its discharge (s, in the window), whether the pattern's last."""

    pattern: Pattern
    discharge: float
    last: bool


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Picks taken as one bang: indices into the window, ordered by sensor; parameters; log odds; pattern.

    ``rivals`` are other places for mostly the same picks, with theirs.
    """

    picks: NDArray[np.int64]
    p: NDArray[np.float64]
    score: float
    pattern: Pattern
    rivals: tuple[tuple[NDArray[np.int64], float], ...] = ()


@dataclass(slots=True, eq=False)
class Found:
    """What the kernel found in a window, as its arrays."""

    count: int
    untried: int
    assigned: NDArray[np.int64]
    events: NDArray[np.float64]
    scores: NDArray[np.float64]
    homes: NDArray[np.int64]
    patterns: NDArray[np.int64]
    rivals: NDArray[np.int64]
    rival_crews: NDArray[np.int64]
    rival_scores: NDArray[np.float64]


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
        self.known = np.ascontiguousarray(known_s, dtype=np.float64)
        self.prior, self.prior_sigma = solver.prior()
        self.prior[2] -= self.middle[2]
        self.around = kernels.neighbours(self.sensors, AUDIENCE, self.street.farthest_m)
        self.near = np.ascontiguousarray(self.around[:, 1 : NEIGHBOURS + 1])
        self.late = self.street.lateness()
        box = np.ptp(self.sensors[:, :2], axis=0) if len(sensors) else np.zeros(2)
        self.area_m2 = max(float(np.prod(box)), 2.5e5)
        self.log_rate = math.log(self.street.bangs_per_s_m2)

    def rules(self, habits: Habits) -> NDArray[np.float64]:
        """The numbers that steer the kernels."""
        rules = np.zeros(kernels.RULES)
        rules[kernels.LOG_RATE] = habits.log_rate()
        rules[kernels.LOG_REPEAT] = math.log(self.street.repeats_per_s * REPEAT_SIGMA_S * math.sqrt(2.0 * math.pi))
        rules[kernels.LEAST_ODDS], rules[kernels.FARTHEST_M] = LEAST_ODDS, self.street.farthest_m
        rules[kernels.WIDE_S], rules[kernels.SHARP_S] = self.street.path_sigma_s, SHARP_PATH_S
        rules[kernels.REPEAT_S], rules[kernels.BURST_S] = REPEAT_SIGMA_S, BURST_S
        rules[kernels.CLOSEST_S], rules[kernels.FADE_S] = CLOSEST_S, ECHO_FADE_S
        rules[kernels.ECHOES_PER_S] = habits.echoes_per_s(ECHO_FADE_S)
        rules[[kernels.SAME_DB, kernels.SAME_SIGMA_DB]] = SAME_LEVEL_DB
        rules[[kernels.OTHER_DB, kernels.OTHER_SIGMA_DB]] = OTHER_LEVEL_DB
        rules[kernels.THREE_PRICE] = max(rules[kernels.LOG_RATE] - self.log_rate, 0.0)
        return rules

    def explain(
        self, window: Window, habits: Habits, recent: Sequence[Recent] = (), until_s: float = math.inf
    ) -> Found:
        """Further rounds of the places in ``recent``, then new places; changes the window's ``gains`` and ``free``.

        Bangs that were first heard after ``until_s`` of the window are not looked for.
        """
        count, most = len(window.times), max(256, 2 * len(window.times))
        width = self.around.shape[1]
        prior, prior_sigma = habits.air(self.prior, self.prior_sigma)
        found = Found(
            count=0,
            untried=0,
            assigned=np.empty(count, np.int64),
            events=np.empty((most, 7)),
            scores=np.empty(most),
            homes=np.empty(most, np.int64),
            patterns=np.empty(most, np.int64),
            rivals=np.empty(most, np.int64),
            rival_crews=np.empty((most, width), np.int64),
            rival_scores=np.empty(most),
        )
        places, scores, homes = np.empty((most, 7)), np.empty(most), np.empty(most, np.int64)
        crews = np.empty((most, width), np.int64)
        found.count, rivals, found.untried = kernels.explain(
            self.near, self.around, self.sensors, self.known, window.listening, window.floors, window.first,
            window.owner, window.times, window.sigma, window.gains, window.outlier, window.levels, window.pressures,
            window.censored, window.free, prior, prior_sigma, self.late, habits.hearing(), LEVELS, self.rules(habits),
            max(LEAST_TRIPLES, TRIPLES // max(count, 1)), until_s, *_flat(recent), found.assigned, found.events,
            found.scores, found.homes, found.patterns, places, scores, homes, crews, found.rivals, found.rival_crews,
            found.rival_scores,
        )  # fmt: skip
        found.rivals = found.rivals[:rivals]
        return found

    def learn(
        self, window: Window, habits: Habits, found: Found, settled: NDArray[np.bool_], before: Habits | None = None
    ) -> None:
        """Let the sure ones of the ``settled`` (E,) events teach the habits; they were found with those ``before``."""
        scores = np.where(settled, found.scores[: found.count], -np.inf)
        habits.bangs += kernels.learn(
            found.count, found.events, scores, found.homes, found.patterns, found.assigned, window.owner, self.around,
            self.sensors, self.known, window.listening, window.times, window.sigma, 0.4 * self.street.path_sigma_s,
            self.prior, (before or habits).hearing(), SURE_ODDS, -math.inf, math.inf, habits.ranges, habits.matrix,
            habits.vector,
        )  # fmt: skip

    def pattern(self, window: Window, p: NDArray[np.float64], picks: NDArray[np.int64], home: int) -> Pattern:
        """How the place of this bang sounds, for finding its further rounds."""
        return Pattern(window.owner[picks], window.times[picks] - p[DISCHARGE], window.levels[picks], p, home)

    def carried(self, pattern: Pattern, rows: NDArray[np.int64], new: Search) -> Pattern:
        """The pattern as another search's sensors know it: ``rows`` (S,) are their rows here, -1 where they are new."""
        now = {int(row): k for k, row in enumerate(rows) if row >= 0}
        stays = [k for k, s in enumerate(pattern.sensors) if int(s) in now]
        p = pattern.p.copy()
        p[:3] += self.middle - new.middle
        sensors = np.array([now[int(pattern.sensors[k])] for k in stays], dtype=np.int64)
        home = now.get(pattern.home, NO_HOME)
        if home == NO_HOME and len(sensors):
            home = int(sensors[np.argmin(pattern.offsets[stays])])
        return Pattern(sensors, pattern.offsets[stays], pattern.levels[stays], p, home)

    def travel(self, p: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """How long the sound of a bang with parameters ``p`` takes to these sensors, s."""
        path = self.sensors[rows] - p[:3]
        distance = np.maximum(np.linalg.norm(path, axis=1), 1e-9)
        return np.asarray(distance / (p[3] + (path[:, 0] * p[4] + path[:, 1] * p[5]) / distance))

    def audience(self, home: int) -> NDArray[np.int64]:
        """The sensors that are asked about a bang that ``home`` heard first."""
        row = self.around[home]
        return np.asarray(row[row >= 0])


NO_HOME: Final = -1
NOBODY: Final = -1


def associate(
    search: Search,
    times: NDArray[np.float64],
    owner: NDArray[np.int64],
    sigma_s: NDArray[np.float64],
    habits: Habits | None = None,
) -> NDArray[np.int64]:
    """Which bang each pulse of a stretch of time belongs to, from bare arrays, all at once.

    Parameters
    ----------
    search : Search
        For the network; all of its sensors listened all the time.
    times, owner, sigma_s : (P,)
        When each pulse was heard, s, in any order; the row of its sensor; one standard deviation of the time, s.
    habits : Habits or None
        What the past has taught; None: learnt from the first `LESSON` pulses.

    Returns
    -------
    (P,) int64
        A number for each bang, or -1.
    """
    order = np.lexsort((times, owner))
    if habits is None:
        first = np.sort(times)[: LESSON + 1]
        part = order if len(times) <= LESSON else order[times[order] < first[-1]]
        habits = Habits(search.street, search.area_m2)
        for _ in range(2):
            habits = taught(search, times[part], owner[part], sigma_s[part], habits)
    window = bare_window(search, times[order], owner[order], sigma_s[order], habits)
    found = search.explain(window, habits)
    result = np.empty(len(times), np.int64)
    result[order] = np.where(_direct(search, window, found), found.assigned, NOBODY)
    return result


def taught(
    search: Search,
    times: NDArray[np.float64],
    owner: NDArray[np.int64],
    sigma_s: NDArray[np.float64],
    before: Habits,
) -> Habits:
    """What a stretch of pulses, as `associate` takes it, teaches a search with the habits it had ``before``."""
    habits = Habits(search.street, search.area_m2)
    if not len(times):
        return habits
    order = np.lexsort((times, owner))
    window = bare_window(search, times[order], owner[order], sigma_s[order], before)
    found = search.explain(window, before)
    habits.fade(0.0)
    habits.fade(float(np.ptp(times)))
    habits.heard(window.delays, window.rates)
    search.learn(window, habits, found, np.ones(found.count, dtype=np.bool_), before)
    return habits


def _direct(search: Search, window: Window, found: Found) -> NDArray[np.bool_]:
    """Which picks came as directly as their bang's place has it; the others are its late arrivals."""
    taken = np.flatnonzero(found.assigned >= 0)
    p, sensor = found.events[found.assigned[taken]], window.owner[taken]
    path = search.sensors[sensor] - p[:, :3]
    distance = np.maximum(np.linalg.norm(path, axis=1), 1e-9)
    along = (path[:, 0] * p[:, 4] + path[:, 1] * p[:, 5]) / distance
    late = window.times[taken] - p[:, DISCHARGE] - distance / (p[:, 3] + along)
    sigma = np.sqrt(search.known[sensor] ** 2 + window.sigma[taken] ** 2 + search.street.path_sigma_s**2)
    direct = np.zeros(len(window.times), dtype=np.bool_)
    direct[taken] = np.abs(late) < LATE_SIGMAS * sigma
    return direct


def bare_window(
    search: Search,
    times: NDArray[np.float64],
    owner: NDArray[np.int64],
    sigma_s: NDArray[np.float64],
    habits: Habits,
) -> Window:
    """A window of pulses of which nothing is known but when each sensor heard them, ordered by sensor and time."""
    rows = np.zeros(len(times), ROW)
    rows["sensor"], rows["sigma"], rows["level"], rows["pressure"] = owner, sigma_s, math.nan, math.nan
    span = float(np.ptp(times)) if len(times) else 0.0
    count = len(search.sensors)
    rates = (np.bincount(owner, minlength=count) + FIRST_RATE_S * FIRST_RATE_PER_S) / (span + FIRST_RATE_S)
    echoes = habits.echoes_per_s(ECHO_FADE_S), ECHO_FADE_S
    silent = np.full(count, math.nan)
    return lay_out(
        rows,
        np.asarray(rates, dtype=np.float64),
        0,
        search.street.p_indirect,
        echoes,
        np.ones(count, np.bool_),
        silent,
        times,
    )


def _flat(
    recent: Sequence[Recent],
) -> tuple[Ints, Ints, Floats, Floats, Floats, Ints, Floats, NDArray[np.bool_]]:
    """Recent rounds as the kernel takes them."""
    known = [one for one in recent if one.pattern.home != NO_HOME]
    first = np.cumsum([0, *(len(one.pattern.sensors) for one in known)]).astype(np.int64)
    patterns = [one.pattern for one in known]
    return (
        first,
        np.concatenate([np.empty(0, np.int64), *(p.sensors for p in patterns)]),
        np.concatenate([np.empty(0), *(p.offsets for p in patterns)]),
        np.concatenate([np.empty(0), *(p.levels for p in patterns)]),
        np.array([p.p for p in patterns]).reshape(-1, 7),
        np.array([p.home for p in patterns], dtype=np.int64),
        np.array([one.discharge for one in known], dtype=np.float64),
        np.array([one.last for one in known], dtype=np.bool_),
    )
