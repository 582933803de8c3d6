"""The locator: detections of all sensors in, fixes out. It has no clock; time comes from watermarks."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.detection import Detection
from acoustic.instant import SECOND, after, seconds_between
from localization.association import Association
from localization.attendance import Attendance
from localization.fix import Fix, Unfixed
from localization.habits import Habits
from localization.learning import Learning
from localization.modes import LIGHTEST, apart, weighed, with_modes_of
from localization.revision import late_by, weighed_by
from localization.search import BURST_S, ECHO_FADE_S, Event, Found, Pattern, Recent, Search
from localization.solver import Solver
from localization.solver_kernels import DISCHARGE
from localization.standing import NEVER_NS, Standing
from localization.street import Street
from localization.window import Inbox, Window, lay_out
from sensors.health import Heartbeat
from sensors.site import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.air import Air
    from localization.frame import Frame
    from localization.ground import Ground
    from sensors.site import Site

STEP_NS: Final = SECOND // 4  # the grid of event time on which picks are decided
CROWDED: Final = 400  # picks of a window, from which on
AHEAD_S: Final = 0.75  # bangs heard first so much later than those to be decided are left for the steps to come
ECHOED_S: Final = 4.0  # of travel: farther off, echoes are no more to be told from chance
ECHOES_S: Final = 1.5  # how long after a bang its echoes are taken for nothing else
TELLING_LLR: Final = 3.0  # a pick this telling is not passed over in silence, even when it stays alone
LATENESS_S: Final = 30.0  # how long a fix can still be revised by what comes late
AUDIBLE_S: Final = 2.0  # of travel: a listening sensor nearer than this and silent is worth telling
LATE_GATE_S: Final = 0.02  # how well a late detection must fit the fix that it joins
WIDEST_UNCHECKED_M: Final = 300.0  # any three picks fit some place, and none is left to check it


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A bang that was fixed: what a later pick needs in order to join it; ``discharge_ns`` is the search's."""

    shot: Fix | Unfixed
    detections: tuple[Detection, ...]
    sites: tuple[Site, ...]
    silent: tuple[str, ...]
    discharge_ns: int
    pattern: Pattern


class Locator:
    """Places the bangs of one network.

    Detections and heartbeats may come in any order; what is decided up to a watermark depends only on what was heard
    before it. A detection that comes after its time was decided is counted as late, and revises a fix it belongs to.

    Parameters
    ----------
    network : Network
        The sensors.
    frame : Frame
        The plane in which places are computed.
    air : Air
        The weather, with what is not known of it.
    source_up_m, source_sigma_m : float
        At what height of the plane bangs are looked for.
    street : Street
        What is assumed of paths and rates.
    ground : Ground
        How high the ground lies below each place; it goes before ``source_up_m``.
    """

    def __init__(
        self,
        network: Network,
        frame: Frame,
        air: Air,
        source_up_m: float,
        source_sigma_m: float,
        street: Street | None = None,
        ground: Ground | None = None,
    ) -> None:
        self.solver = Solver(frame, air, street or Street(), source_up_m, source_sigma_m, ground)
        self.learning = Learning(self.solver)
        self.counts: Counter[str] = Counter()
        """What was not used, and why: `late` (of which `revised` a fix), `unknown-sensor`, `untried-triples`, `echo`,
        `unexplained`, `lonely` (like a gunshot, to one sensor alone)."""
        self._inbox = Inbox()
        self._attendance = Attendance()
        self._placed: list[_Placed] = []
        self._heard: defaultdict[str, list[int]] = defaultdict(list)
        self._lonely: list[Detection] = []
        self._decided_ns: int | None = None
        self._zero_ns: int | None = None
        self._standing = Standing(network, self.solver, None)
        self._habits = Habits(self.solver.street, self._search.area_m2)

    # messages

    def receive(self, message: Detection | Heartbeat | Network) -> tuple[Fix | Unfixed, ...]:
        """Take a message; a late detection may revise a fix at once."""
        if isinstance(message, Network):
            self._adopt(message)
            return ()
        if isinstance(message, Heartbeat):
            self._attendance.note(message)
            return ()
        if not self._standing.heard_by_one_of_ours(message):
            self.counts["unknown-sensor"] += 1
            return ()
        if self._decided_ns is not None and message.pick.onset_ns < self._decided_ns - self._standing.horizon_ns:
            self.counts["late"] += 1
            return self._revise(message)
        self._inbox.receive(message)
        return ()

    def tick(self, watermark_ns: int) -> tuple[Fix | Unfixed, ...]:
        """Decide what can be decided once everything before the watermark has been received."""
        last_step = watermark_ns // STEP_NS
        if self._decided_ns is None:
            self._decided_ns = min([self._first_ns(), last_step * STEP_NS]) // STEP_NS * STEP_NS
            self._adopt(self._standing.network)
        shots: list[Fix | Unfixed] = []
        while self._decided_ns < last_step * STEP_NS:
            self._decided_ns += STEP_NS
            if self._decided_ns >= self._standing.until_ns:
                self._adopt(self._standing.network)
            due_ns = self._due_ns()
            if due_ns < self._decided_ns:
                shots += self._decide(self._decided_ns)
            else:  # nothing is ripe: go on to where something will be, or to the end
                self.learning.catch_up(1)
                wait = max(0, (min(due_ns, watermark_ns) - self._decided_ns) // STEP_NS - 1)
                self._decided_ns = min(self._decided_ns + wait * STEP_NS, last_step * STEP_NS)
        return tuple(shots)

    def finish(self) -> tuple[Fix | Unfixed, ...]:
        """Decide everything that was received: there will be no more."""
        last_ns = self._inbox.last_ns()
        if last_ns is None:
            last_ns = max((d.pick.onset_ns for d in self._lonely), default=None)
        return () if last_ns is None else self.tick(last_ns + 3 * self._standing.horizon_ns + 2 * STEP_NS)

    # the network

    def _adopt(self, network: Network) -> None:
        """Take over a revision of the network, or the sites as they stand from now on.

        Picks of sensors that are not in it are counted and forgotten; what was placed is reckoned anew.
        """
        former, self._standing = self._standing, Standing(network, self.solver, self._decided_ns)
        gone = self._inbox.renumber(self._standing.index)
        if gone:
            self.counts["unknown-sensor"] += gone
        self._habits.area_m2 = self._search.area_m2
        rows = self._standing.rows_in(former)
        patterns: dict[int, Pattern] = {}  # rounds that shared a pattern go on sharing it
        carried = []
        for placed in self._placed:
            old = placed.pattern
            pattern = patterns.setdefault(id(old), former.search.carried(old, rows, self._search))
            carried.append(replace(placed, pattern=pattern))
        self._placed = carried

    @property
    def _search(self) -> Search:
        return self._standing.search

    def listened(self, sensor_id: str, from_ns: int, to_ns: int) -> None:
        """State that a sensor listened all this time; for scenes of pulses, which bring no heartbeats."""
        self._attendance.listened(sensor_id, from_ns, to_ns)

    # deciding

    def _first_ns(self) -> int:
        first_ns = self._inbox.first_ns()
        return NEVER_NS if first_ns is None else first_ns

    def _due_ns(self) -> int:
        """When the first pick ripens, or the first lonely one is to be reported."""
        lonely_ns = min((d.pick.onset_ns for d in self._lonely), default=NEVER_NS)
        return min(self._first_ns() + self._standing.horizon_ns, lonely_ns + 2 * self._standing.horizon_ns)

    def _decide(self, now_ns: int) -> list[Fix | Unfixed]:
        """Explain the picks before ``now_ns``; keep explanations whose arrivals are all in, drop picks that ripened."""
        ripe_ns = now_ns - self._standing.horizon_ns
        if self._first_ns() >= ripe_ns:
            return list(self._report_lonely(ripe_ns - self._standing.horizon_ns))
        self._inbox.take(now_ns, self._standing.index)
        window = self._window(now_ns)
        recent = self._recent(window)
        ripe_s = seconds_between(window.zero_ns, ripe_ns)
        until_s = ripe_s + AHEAD_S if len(window.times) > CROWDED else math.inf
        found = self._search.explain(window, self._habits, [known for known, _ in recent], until_s)
        if found.untried:
            self.counts["untried-triples"] += found.untried
        claimed = np.zeros(len(window.times), dtype=np.bool_)
        shots: list[Fix | Unfixed] = []
        settled = np.zeros(found.count, dtype=np.bool_)
        before: dict[int, Fix | Unfixed] = {}  # the first round of each pattern
        for placed in self._placed:
            before.setdefault(id(placed.pattern), placed.shot)
        for number, event in self._events(window, found, [placed for _, placed in recent]):
            if np.min(window.times[event.picks]) < ripe_s:
                shots.append(self._place(window, event, before.get(id(event.pattern))))
                before.setdefault(id(event.pattern), shots[-1])
                claimed[event.picks] = settled[number] = True
        self._learn(window, found, settled, ripe_s, now_ns)
        shots += self._forget(ripe_ns, window.times < ripe_s, claimed)
        self._attendance.forget(ripe_ns - self._standing.horizon_ns)
        oldest_ns = now_ns - round(LATENESS_S * SECOND)
        self._placed = [p for p in self._placed if p.discharge_ns > oldest_ns]
        return sorted(shots, key=lambda shot: (shot.time_ns, shot.shot_id))

    def _window(self, now_ns: int) -> Window:
        zero_ns = self._first_ns()
        sites = self._standing.sites
        return lay_out(
            self._inbox.rows,
            self._inbox.rates(now_ns, self._standing.index),
            zero_ns,
            self.solver.street.p_indirect,
            (self._habits.echoes_per_s(ECHO_FADE_S), ECHO_FADE_S),
            self._attendance.listening(sites, zero_ns),
            self._attendance.floors(sites, zero_ns),
            boasts=self._inbox.boasts(zero_ns, self._standing.index),
        )

    def _recent(self, window: Window) -> list[tuple[Recent, _Placed]]:
        """The bangs whose further rounds or echoes may be in the window."""
        since_ns = window.zero_ns - self._standing.horizon_ns - round(BURST_S * SECOND)
        recent: list[tuple[Recent, _Placed]] = []
        seen: set[int] = set()
        for placed in reversed(self._placed):
            if placed.discharge_ns > since_ns:
                discharge = seconds_between(window.zero_ns, placed.discharge_ns)
                last = id(placed.pattern) not in seen
                seen.add(id(placed.pattern))
                if placed.pattern.home >= 0:
                    recent.append((Recent(placed.pattern, discharge, last), placed))
        return recent[::-1]

    def _events(self, window: Window, found: Found, recent: Sequence[_Placed]) -> Iterator[tuple[int, Event]]:
        """What was found, with its number; rounds of one burst share the pattern of the one that was found first."""
        order = np.argsort(found.assigned, kind="stable")
        bounds = np.searchsorted(found.assigned[order], np.arange(found.count + 1))
        lost: defaultdict[int, list[int]] = defaultdict(list)
        for k, number in enumerate(found.rivals):
            lost[int(number)].append(k)
        patterns: dict[int, Pattern] = {}
        for number in range(found.count):
            picks = order[bounds[number] : bounds[number + 1]]
            key, p, home = int(found.patterns[number]), found.events[number], int(found.homes[number])
            if key < 0:
                pattern = recent[-1 - key].pattern
            else:
                if key == number:
                    patterns[key] = self._search.pattern(window, p, picks, home)
                pattern = patterns[key]
            rivals = tuple(
                (np.sort(found.rival_crews[k][found.rival_crews[k] >= 0]), float(found.rival_scores[k]))
                for k in lost[number]
            )
            yield number, Event(picks, p, float(found.scores[number]), pattern, rivals)

    def _learn(self, window: Window, found: Found, settled: NDArray[np.bool_], ripe_s: float, now_ns: int) -> None:
        """What is decided teaches: how often bangs come, how far they carry, through what air, and what echoes."""
        self._zero_ns = now_ns if self._zero_ns is None else self._zero_ns
        self._habits.fade(seconds_between(self._zero_ns, now_ns))
        self._search.learn(window, self._habits, found, settled)
        ripe = window.times < ripe_s
        self._habits.heard(window.delays[ripe], window.rates[ripe])

    # results

    def _place(self, window: Window, event: Event, before: Fix | Unfixed | None) -> Fix | Unfixed:
        """Fix an explanation, and remember it for what comes after; ``before`` was the first round of its place."""
        detections = tuple(self._inbox.detections[k] for k in event.picks)
        heard = {d.sensor_id for d in detections}
        discharge_ns = after(window.zero_ns, float(event.p[DISCHARGE]))
        rows = self._search.audience(event.pattern.home)
        travel_s = self._search.travel(event.p, rows)
        silent = []
        for row, late_s in sorted(zip(rows.tolist(), travel_s.tolist(), strict=True)):
            name = self._standing.names[row]
            if window.listening[row] and late_s < AUDIBLE_S and name not in heard:
                silent.append(name)
            if late_s < ECHOED_S or name in heard:
                onsets = self._heard[name]
                onsets.append(after(discharge_ns, late_s))
                if onsets[0] < discharge_ns - round(LATENESS_S * SECOND):
                    del onsets[: len(onsets) // 2 + 1]
        association = Association(detections, tuple(silent), event.score)
        shot = self._solve(association.shot_id, association, further=before is not None)
        if isinstance(shot, Fix):
            shot = self._with_rivals(shot, event)
            if isinstance(before, Fix):
                shot = with_modes_of(shot, before)
            if shot.n_sensors <= 3 and shot.best.ellipse.semi_major_m > WIDEST_UNCHECKED_M:
                shot = self.solver.unfixed(shot.shot_id, 1, "degenerate-geometry", association.detections)
        sites = self._standing.sites_of(association.detections)
        if isinstance(shot, Fix) and before is None:  # further rounds of a place teach what the first one did
            self.learning.learn(shot, association.detections, sites)
        self._placed.append(
            _Placed(shot, association.detections, sites, association.silent, discharge_ns, event.pattern)
        )
        return shot

    def _with_rivals(self, fix: Fix, event: Event) -> Fix:
        """The fix with the modes that another choice of picks would give, weighed by the odds of the choices.

        Further rounds of a burst choose between candidates, but do not count again here: all rounds from one place
        share the errors of its paths.
        """
        modes = list(fix.modes)
        for picks, score in event.rivals:
            odds = math.exp(max(-50.0, min(0.0, score - event.score)))
            if odds < LIGHTEST:
                continue
            other = self._solve(fix.shot_id, Association(tuple(self._inbox.detections[k] for k in picks)))
            if isinstance(other, Fix):
                modes += [
                    replace(m, weight=m.weight * odds) for m in other.modes if all(apart(m, mode) for mode in modes)
                ]
        return replace(fix, modes=weighed(modes))

    def solve_given(self, shot_id: str, detections: Sequence[Detection]) -> Fix | Unfixed:
        """Fix a bang whose detections somebody has already put together, ordered by onset."""
        sites = self._standing.sites_of(detections)
        solver, doubted = self._learnt(detections, sites)
        shot = solver.solve(shot_id, 1, detections, doubted, given=True)
        if isinstance(shot, Fix):
            self.learning.learn(shot, detections, sites)
        return shot

    def _learnt(self, detections: Sequence[Detection], sites: Sequence[Site]) -> tuple[Solver, tuple[Site, ...]]:
        """The solver, and the sites, as earlier bangs make them."""
        first_ns = detections[0].pick.onset_ns
        east, north = self.solver.frame.local([site.position for site in sites])[:, :2].mean(axis=0)
        return self.learning.solver_at(first_ns, (float(east), float(north))), self.learning.doubted(sites, first_ns)

    def _solve(self, shot_id: str, association: Association, *, further: bool = False) -> Fix | Unfixed:
        """Fix the bang of an association; ``further`` rounds of a place need not have been heard as first sounds."""
        detections = association.detections
        solver, sites = self._learnt(detections, self._standing.sites_of(detections))
        return solver.solve(shot_id, 1, detections, sites, association.silent, chosen=further)

    def _forget(self, ripe_ns: int, ripe: NDArray[np.bool_], claimed: NDArray[np.bool_]) -> list[Unfixed]:
        """Drop picks that were claimed, and those that ripened without being claimed; the telling ones are reported."""
        for k in np.flatnonzero(ripe & ~claimed):
            detection = self._inbox.detections[k]
            if self._is_echo(detection):
                self.counts["echo"] += 1
                continue
            self._inbox.came_to_nothing(int(k))
            if detection.llr >= TELLING_LLR:
                self._lonely.append(detection)
            else:
                self.counts["unexplained"] += 1
        self._inbox.keep(~ripe & ~claimed)
        return self._report_lonely(ripe_ns - self._standing.horizon_ns)

    def _report_lonely(self, before_ns: int) -> list[Unfixed]:
        """Bangs that sounded like gunshots to two sensors or more, yet have no place; those of one are counted."""
        self._lonely.sort(key=lambda d: (d.pick.onset_ns, d.sensor_id))
        shots = []
        while self._lonely and self._lonely[0].pick.onset_ns < before_ns:
            last_ns = self._lonely[0].pick.onset_ns + self._standing.horizon_ns
            group: dict[str, Detection] = {}
            for detection in self._lonely:
                if detection.pick.onset_ns <= last_ns:
                    group.setdefault(detection.sensor_id, detection)
            taken = {detection.pulse_id for detection in group.values()}
            self._lonely = [d for d in self._lonely if d.pulse_id not in taken]
            if len(group) < 2:
                self.counts["lonely"] += 1
                continue
            association = Association(tuple(group.values()))
            reason = "too-few-sensors" if len(group) < 3 else "inconsistent"
            shots.append(self.solver.unfixed(association.shot_id, 1, reason, association.detections))
        return shots

    def _is_echo(self, detection: Detection) -> bool:
        """Whether a bang that was fixed reached this sensor shortly before."""
        onset_ns = detection.pick.onset_ns
        return any(
            -SECOND // 100 < onset_ns - heard_ns < ECHOES_S * SECOND
            for heard_ns in self._heard.get(detection.sensor_id, ())
        )

    def _revise(self, late: Detection) -> tuple[Fix | Unfixed, ...]:
        """A fix that a late detection belongs to, solved again with it."""
        index = self._standing.index.get(late.sensor_id)
        if index is None:
            return ()
        (site,) = self._standing.sites_of([late])
        for k, placed in enumerate(self._placed):
            if late.sensor_id not in {d.sensor_id for d in placed.detections} and self._joins(late, placed, index):
                self._placed[k] = self._with_late(placed, late, site)
                self.counts["revised"] += 1
                return (self._placed[k].shot,)
        return ()

    def _joins(self, late: Detection, placed: _Placed, index: int) -> bool:
        """Whether a late detection came when a bang must have reached its sensor, from any place that is left."""
        shot, site = placed.shot, self._standing.sites[index]
        (travel_s,) = self._search.travel(placed.pattern.p, np.array([index]))
        delays = [seconds_between(placed.discharge_ns, late.pick.onset_ns) - float(travel_s)]
        if isinstance(shot, Fix):
            delays += [late_by(mode, shot, late, site, self.solver.frame) for mode in shot.modes]
        return bool(min(abs(delay) for delay in delays) <= LATE_GATE_S)

    def _with_late(self, placed: _Placed, late: Detection, site: Site) -> _Placed:
        heard = [*zip(placed.detections, placed.sites, strict=True), (late, site)]
        heard.sort(key=lambda pair: (pair[0].pick.onset_ns, pair[0].sensor_id))
        detections, sites = (tuple(part) for part in zip(*heard, strict=True))
        silent = tuple(name for name in placed.silent if name != late.sensor_id)
        before = placed.shot
        solver, doubted = self._learnt(detections, sites)
        shot = solver.solve(before.shot_id, before.revision + 1, detections, doubted, silent)
        if isinstance(shot, Fix) and isinstance(before, Fix):
            shot = with_modes_of(shot, weighed_by(before, late, site, self.solver.frame))
            self.learning.learn(shot, detections, sites)
        return replace(placed, shot=shot, detections=detections, sites=sites, silent=silent)
