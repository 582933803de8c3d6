"""Learning: what fixes teach of the air and of the sensors, and what the next bang is solved with."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import SECOND, seconds_between
from localization.air_state import AirState, air_seen
from localization.sensor_state import SensorStates, remarks_of
from localization.solver_kernels import DISCHARGE, N, predict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acoustic.detection import Detection
    from localization.fix import Felt, Fix
    from localization.solver import Solver
    from sensors.site import Site

EVERY_NS: Final = 10 * SECOND
MOST_STRETCHES: Final = 8  # that a late arrival may still belong to
MOST_LESSONS: Final = 6  # of a stretch
TILE_M: Final = 500.0  # places so near each other are solved with the same air
LEAST_FOR_AIR: Final = 6  # direct arrivals of a bang that may speak of the air
LEAST_FOR_SENSORS: Final = 6  # and of its sensors, when each is judged by the others


@dataclass(frozen=True, slots=True)
class _Believed:
    """What holds from an instant on: the solver of each tile, and what is added to the sigma of each clock, s."""

    since_ns: int
    solvers: dict[tuple[int, int], Solver] = field(default_factory=dict)
    extra_s: dict[str, float] = field(default_factory=dict)


class Learning:
    """The states of air and sensors of one network, and the solver as they make it.

    What is believed is taken anew every `EVERY_NS` of event time: bangs of one burst do not teach each other.

    Parameters
    ----------
    solver : Solver
        With the weather report that bangs correct.
    """

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self.air = AirState(solver.air)
        self.sensors = SensorStates()
        self.counts: Counter[str] = Counter()
        """`untaught`: fixes beyond the first `MOST_LESSONS` of a stretch, which would teach the same again."""
        self._stretches: dict[int, _Believed] = {}
        self._lessons: deque[tuple[Fix, Felt, Sequence[Detection], Sequence[Site]]] = deque()
        self._noted: Counter[int] = Counter()

    def _believed(self, time_ns: int) -> _Believed:
        """What is believed in the stretch of time that this instant lies in: once believed, it stays.

        A late arrival is solved with what its bang was solved with.
        """
        since_ns = time_ns // EVERY_NS * EVERY_NS
        if since_ns not in self._stretches:
            self.catch_up()
            self._stretches[since_ns] = _Believed(since_ns)
            while len(self._stretches) > MOST_STRETCHES:
                del self._stretches[min(self._stretches)]
        return self._stretches[since_ns]

    def solver_at(self, time_ns: int, place: tuple[float, float]) -> Solver:
        """The solver with the air that earlier bangs felt round a place."""
        believed = self._believed(time_ns)
        tile = round(place[0] / TILE_M), round(place[1] / TILE_M)
        if tile not in believed.solvers:
            middle = tile[0] * TILE_M, tile[1] * TILE_M
            believed.solvers[tile] = replace(self._solver, air=self.air.air_at(believed.since_ns, middle))
        return believed.solvers[tile]

    def doubted(self, sites: Sequence[Site], time_ns: int) -> tuple[Site, ...]:
        """The sites with clocks as uncertain as earlier bangs found them."""
        believed = self._believed(time_ns)
        for site in sites:
            if site.sensor_id not in believed.extra_s:
                believed.extra_s[site.sensor_id] = self.sensors.extra_sigma_s(site.sensor_id, believed.since_ns)
        extra = [believed.extra_s[site.sensor_id] for site in sites]
        return tuple(
            replace(site, clock_sigma_s=math.hypot(site.clock_sigma_s, sigma_s)) if sigma_s > 0.0 else site
            for site, sigma_s in zip(sites, extra, strict=True)
        )

    def learn(self, fix: Fix, detections: Sequence[Detection], sites: Sequence[Site]) -> None:
        """Note what a fix teaches, for `catch_up`; told again under the same name, it replaces what it taught before.

        Ambiguous fixes teach nothing, and those outside the ring of sensors nothing of the air: there it cannot be told
        from the range.
        """
        if fix.felt is None or len(fix.modes) > 1 or fix.n_sensors < min(LEAST_FOR_AIR, LEAST_FOR_SENSORS):
            return
        stretch = fix.time_ns // EVERY_NS
        self._noted[stretch] += 1
        while len(self._noted) > MOST_STRETCHES:
            del self._noted[min(self._noted)]
        if self._noted[stretch] > MOST_LESSONS:
            self.counts["untaught"] += 1
        else:
            self._lessons.append((fix, fix.felt, detections, sites))

    def catch_up(self, most: int | None = None) -> None:
        """Learn what was noted, or so much of it: milliseconds each, for when nobody waits for a fix.

        Whatever is believed next is believed after all of it.
        """
        for _ in range(len(self._lessons) if most is None else min(most, len(self._lessons))):
            self._study(*self._lessons.popleft())

    def _study(self, fix: Fix, felt: Felt, detections: Sequence[Detection], sites: Sequence[Site]) -> None:
        lesson = _Lesson(fix, felt, detections, sites, self._solver)
        place = fix.best.place.east_m, fix.best.place.north_m
        _, prior_sigma = lesson.prior
        if fix.n_sensors >= LEAST_FOR_SENSORS:
            remarks = remarks_of(
                fix.shot_id, fix.time_ns, place, lesson.names, lesson.residuals, lesson.sigmas, lesson.weights,
                lesson.gradients, -lesson.gradients[:, :2], prior_sigma,
            )  # fmt: skip
            self.sensors.observe(remarks)
        if fix.inside_hull and fix.n_sensors >= LEAST_FOR_AIR:
            mean, information = air_seen(lesson.p, lesson.information, *lesson.prior)
            self.air.observe(fix.time_ns, place, mean, information, fix.shot_id, lesson.shared)


class _Lesson:
    """A fix as arrays: first arrivals only, sensors without what was learnt of them."""

    def __init__(
        self, fix: Fix, felt: Felt, detections: Sequence[Detection], sites: Sequence[Site], solver: Solver
    ) -> None:
        standing = {d.sensor_id: site for d, site in zip(detections, sites, strict=True)}
        first: dict[str, int] = {}
        for k, arrival in enumerate(fix.arrivals):
            if arrival.detection.sensor_id in standing:
                first.setdefault(arrival.detection.sensor_id, k)
        arrivals = [fix.arrivals[k] for k in first.values()]
        self.names = list(first)
        mode = fix.best
        zero_ns = min(arrival.detection.pick.onset_ns for arrival in arrivals)
        self.p = np.zeros(N)
        self.p[:3] = mode.place.east_m, mode.place.north_m, mode.place.up_m
        self.p[3:6] = felt.sound_speed_m_per_s, felt.wind_east_m_per_s, felt.wind_north_m_per_s
        self.p[DISCHARGE] = seconds_between(zero_ns, mode.time_ns)
        here = [standing[name] for name in self.names]
        places = np.ascontiguousarray(solver.frame.local([site.position for site in here]))
        self.gradients = np.empty((len(here), N))
        for i in range(len(here)):
            predict(places, i, self.p, self.gradients)
        self.residuals = np.array([arrival.residual_s for arrival in arrivals])
        self.weights = np.array([arrival.weight for arrival in arrivals])
        picks = np.array([arrival.detection.pick.sigma_s for arrival in arrivals])
        constant = np.array([
            math.hypot(site.clock_sigma_s, site.position_sigma_m / felt.sound_speed_m_per_s) for site in here
        ])  # fmt: skip
        self.sigmas = np.sqrt(picks**2 + constant**2 + felt.path_sigma_s**2)
        used = np.where(self.weights >= 0.5, self.weights, 0.0) / self.sigmas**2
        self.information = (self.gradients.T * used) @ self.gradients
        self.shared = float(np.mean(constant**2 / self.sigmas**2))
        self.prior = replace(solver, air=fix.air).prior()
