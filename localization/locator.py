"""The locator: detections of all sensors in, fixes out. It has no clock; time comes from watermarks."""

from __future__ import annotations

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.detection import Detection
from acoustic.instant import SECOND, seconds_between
from localization.association import Association
from localization.attendance import Attendance
from localization.fix import Fix, Unfixed
from localization.kernels import DISCHARGE
from localization.modes import LIGHTEST, apart, weighed, with_modes_of
from localization.revision import late_by, weighed_by
from localization.search import BURST_S, CLOSEST_ROUNDS_S, LEAST_ODDS, Candidate, Pattern, Search
from localization.solver import Solver
from localization.standing import NEVER_NS, Standing
from localization.street import Street
from localization.window import RATE_WINDOW_S, Window, expect_echoes, lay_out
from sensors.health import Heartbeat
from sensors.site import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.air import Air
    from localization.frame import Frame
    from sensors.site import Site

STEP_NS: Final = SECOND // 4  # the grid of event time on which picks are decided
ECHOES_S: Final = 1.5  # how long after a bang its echoes are taken for nothing else
TELLING_LLR: Final = 3.0  # a pick this telling is not passed over in silence, even when it stays alone
LATENESS_S: Final = 30.0  # how long a fix can still be revised by what comes late
AUDIBLE_S: Final = 2.0  # of travel: a listening sensor nearer than this and silent is worth telling
LATE_GATE_S: Final = 0.02  # how well a late detection must fit the fix that it joins
WIDEST_UNCHECKED_M: Final = 300.0  # any three picks fit some place, and none is left to check it
FIRST_RATE_PER_S: Final = 0.2  # picks of a sensor, until it has shown its own rate


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A bang that was fixed: what a later pick needs in order to join it."""

    shot: Fix | Unfixed
    detections: tuple[Detection, ...]
    sites: tuple[Site, ...]
    silent: tuple[str, ...]
    zero_ns: int
    pattern: Pattern
    arrivals: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Explanation:
    """Picks taken as one bang, other places for mostly the same picks, and how the place sounds.

    A further round shares the pattern of the round before it.
    """

    candidate: Candidate
    rivals: tuple[Candidate, ...]
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
    """

    def __init__(
        self,
        network: Network,
        frame: Frame,
        air: Air,
        source_up_m: float,
        source_sigma_m: float,
        street: Street | None = None,
    ) -> None:
        self.solver = Solver(frame, air, street or Street(), source_up_m, source_sigma_m)
        self.counts: Counter[str] = Counter()
        """What was not used, and why: `late` (of which `revised` a fix), `unknown-sensor`, `untried-triples`, `echo`,
        `unexplained`, `lonely` (like a gunshot, to one sensor alone)."""
        self._picks: dict[str, list[Detection]] = defaultdict(list)
        self._recent_picks: dict[str, list[int]] = defaultdict(list)
        self._attendance = Attendance()
        self._placed: list[_Placed] = []
        self._lonely: list[Detection] = []
        self._decided_ns: int | None = None
        self._standing = Standing(network, self.solver, None)

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
        picks = self._picks[message.sensor_id]
        bisect.insort(picks, message, key=lambda d: (d.pick.onset_ns, d.pulse_id))
        bisect.insort(self._recent_picks[message.sensor_id], message.pick.onset_ns)
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
                wait = max(0, (min(due_ns, watermark_ns) - self._decided_ns) // STEP_NS - 1)
                self._decided_ns = min(self._decided_ns + wait * STEP_NS, last_step * STEP_NS)
        return tuple(shots)

    def finish(self) -> tuple[Fix | Unfixed, ...]:
        """Decide everything that was received: there will be no more."""
        last_ns = max((d.pick.onset_ns for picks in self._picks.values() for d in picks), default=None)
        if last_ns is None:
            last_ns = max((d.pick.onset_ns for d in self._lonely), default=None)
        return () if last_ns is None else self.tick(last_ns + 3 * self._standing.horizon_ns + 2 * STEP_NS)

    # the network

    def _adopt(self, network: Network) -> None:
        """Take over a revision of the network, or the sites as they stand from now on.

        Picks of sensors that are not in it are counted and forgotten; what was placed is reckoned anew.
        """
        former, self._standing = self._standing, Standing(network, self.solver, self._decided_ns)
        for sensor_id in [name for name in self._picks if name not in self._standing.index]:
            self.counts["unknown-sensor"] += len(self._picks.pop(sensor_id))
        rows = self._standing.rows_in(former)
        patterns: dict[int, Pattern] = {}  # rounds that shared a pattern go on sharing it
        carried = []
        for placed in self._placed:
            old = placed.pattern
            pattern = patterns.setdefault(id(old), former.search.carried(old, rows, self._search))
            carried.append(replace(placed, pattern=pattern, arrivals=self._arrivals_at(rows, placed, pattern)))
        self._placed = carried

    def _arrivals_at(self, rows: NDArray[np.int64], placed: _Placed, pattern: Pattern) -> NDArray[np.float64]:
        """When a placed bang was heard by the sensors of now, (S,) s: as it was, or for new ones as it must have been.

        Minus infinity where that is not known, so that nothing counts as its echo there.
        """
        arrivals = np.full(len(rows), -np.inf)
        if isinstance(placed.shot, Fix):
            travel = self._search.arrivals(pattern.p) - pattern.p[DISCHARGE]
            arrivals = travel + seconds_between(placed.zero_ns, placed.shot.time_ns)
        arrivals[rows >= 0] = placed.arrivals[rows[rows >= 0]]
        return arrivals

    @property
    def _search(self) -> Search:
        return self._standing.search

    def listened(self, sensor_id: str, from_ns: int, to_ns: int) -> None:
        """State that a sensor listened all this time; for scenes of pulses, which bring no heartbeats."""
        self._attendance.listened(sensor_id, from_ns, to_ns)

    # deciding

    def _first_ns(self) -> int:
        return min((picks[0].pick.onset_ns for picks in self._picks.values() if picks), default=NEVER_NS)

    def _due_ns(self) -> int:
        """When the first pick ripens, or the first lonely one is to be reported."""
        lonely_ns = min((d.pick.onset_ns for d in self._lonely), default=NEVER_NS)
        return min(self._first_ns() + self._standing.horizon_ns, lonely_ns + 2 * self._standing.horizon_ns)

    def _decide(self, now_ns: int) -> list[Fix | Unfixed]:
        """Explain the picks before ``now_ns``; keep explanations whose arrivals are all in, drop picks that ripened."""
        ripe_ns = now_ns - self._standing.horizon_ns
        if self._first_ns() >= ripe_ns:
            return list(self._report_lonely(ripe_ns - self._standing.horizon_ns))
        window = self._window(now_ns)
        ripe_s = seconds_between(window.zero_ns, ripe_ns)
        shots: list[Fix | Unfixed] = []
        claimed: set[str] = set()
        for explanation in self._explanations(window):
            picks = explanation.candidate.picks
            if np.min(window.times[picks]) < ripe_s:
                shots.append(self._place(window, explanation))
                claimed.update(window.detections[k].pulse_id for k in picks)
        shots += self._forget(ripe_ns, claimed)
        self._placed = [p for p in self._placed if p.zero_ns > now_ns - round(LATENESS_S * SECOND)]
        return sorted(shots, key=lambda shot: (shot.time_ns, shot.shot_id))

    def _window(self, now_ns: int) -> Window:
        zero_ns = self._first_ns()
        sites = self._standing.sites
        by_sensor, rates = [], []
        for site in sites:
            picks = self._picks.get(site.sensor_id, [])
            by_sensor.append([d for d in picks if d.pick.onset_ns < now_ns])
            onsets = self._recent_picks[site.sensor_id]
            del onsets[: bisect.bisect_left(onsets, now_ns - round(RATE_WINDOW_S * SECOND))]
            heard = bisect.bisect_left(onsets, now_ns)
            rates.append((heard + 10.0 * FIRST_RATE_PER_S) / (RATE_WINDOW_S + 10.0))
        listening = self._attendance.listening(sites, zero_ns)
        return lay_out(
            by_sensor, rates, zero_ns, self.solver.street, listening, self._attendance.floors(sites, zero_ns)
        )

    def _explanations(self, window: Window) -> Iterator[_Explanation]:
        """Bangs of the window: further rounds of places that have just fired, then new places, best first."""
        for placed in self._placed:
            expect_echoes(window, placed.arrivals + seconds_between(window.zero_ns, placed.zero_ns))
        for placed in list(self._placed):
            yield from self._fellows(window, placed.pattern, placed.zero_ns)
        found: list[Candidate] | None = None
        while True:
            if found is None:
                seeds = np.flatnonzero(window.free)
                found, untried = self._search.candidates(window, seeds)
                self.counts["untried-triples"] += untried
            if not found:
                return
            best, *others = self._search.rated(window, found)
            picks = set(best.picks.tolist())
            rivals = tuple(c for c in others if 2 * len(picks & set(c.picks.tolist())) >= len(picks))
            pattern = self._search.pattern(window, best)
            self._claim(window, best)
            yield _Explanation(best, rivals, pattern)
            yield from self._fellows(window, pattern, window.zero_ns)
            found = self._remaining(window, found)

    def _fellows(self, window: Window, pattern: Pattern, zero_ns: int) -> Iterator[_Explanation]:
        """Further rounds of a place, in this window."""
        shift = seconds_between(window.zero_ns, zero_ns)
        middle = float(pattern.p[DISCHARGE]) + shift
        for discharge, score in self._search.rounds(window, pattern, middle - BURST_S, middle + BURST_S):
            if abs(discharge - middle) < CLOSEST_ROUNDS_S:
                continue
            fellow = self._search.repeat(window, pattern, discharge, score)
            if len(fellow.picks) >= 3 and np.all(window.free[fellow.picks]):
                self._claim(window, fellow)
                yield _Explanation(fellow, (), pattern)

    def _claim(self, window: Window, candidate: Candidate) -> None:
        """Take a bang's picks, what stands too close behind them, and expect its echoes from then on."""
        window.free[candidate.picks] = False
        expect_echoes(window, self._arrivals(window, candidate))

    def _arrivals(self, window: Window, candidate: Candidate) -> NDArray[np.float64]:
        """When each sensor heard the bang, or should have, (S,) s."""
        arrivals = self._search.arrivals(candidate.p)
        arrivals[window.owner[candidate.picks]] = window.times[candidate.picks]
        return arrivals

    def _remaining(self, window: Window, found: list[Candidate]) -> list[Candidate]:
        """The candidates that none of the claimed picks touches; those that lose picks are explained anew."""
        result = []
        for candidate in found:
            if np.all(window.free[candidate.picks]):
                result.append(candidate)
                continue
            free = candidate.picks[window.free[candidate.picks]]
            if len(free) < 3:
                continue
            first = int(window.owner[free[np.argmin(window.times[free])]])
            again = self._search.refined(window, candidate.p, first)
            if again is not None and again.score > LEAST_ODDS:
                result.append(again)
        return sorted(result, key=lambda c: -c.score)

    # results

    def _place(self, window: Window, explanation: _Explanation) -> Fix | Unfixed:
        """Fix an explanation, and remember it for what comes after."""
        candidate = explanation.candidate
        detections = tuple(window.detections[k] for k in candidate.picks)
        arrivals = self._arrivals(window, candidate)
        heard = {d.sensor_id for d in detections}
        silent = tuple(
            site.sensor_id
            for k, site in enumerate(self._standing.sites)
            if window.listening[k] and site.sensor_id not in heard and arrivals[k] - candidate.p[DISCHARGE] < AUDIBLE_S
        )
        association = Association(detections, silent, candidate.score)
        before = next((p.shot for p in self._placed if p.pattern is explanation.pattern), None)
        shot = self._solve(association.shot_id, association, further=before is not None)
        if isinstance(shot, Fix):
            shot = self._with_rivals(window, shot, explanation)
            if isinstance(before, Fix):
                shot = with_modes_of(shot, before)
            if shot.n_sensors <= 3 and shot.best.ellipse.semi_major_m > WIDEST_UNCHECKED_M:
                shot = self.solver.unfixed(shot.shot_id, 1, "degenerate-geometry", association.detections)
        self._placed.append(
            _Placed(
                shot,
                association.detections,
                self._standing.sites_of(association.detections),
                silent,
                window.zero_ns,
                explanation.pattern,
                arrivals,
            )
        )
        return shot

    def _with_rivals(self, window: Window, fix: Fix, explanation: _Explanation) -> Fix:
        """The fix with the modes that another choice of picks would give, weighed by the odds of the choices.

        Further rounds of a burst choose between candidates, but do not count again here: all rounds from one place
        share the errors of its paths.
        """
        modes = list(fix.modes)
        for rival in explanation.rivals:
            odds = math.exp(max(-50.0, min(0.0, rival.score - explanation.candidate.score)))
            if odds < LIGHTEST:
                continue
            other = self._solve(fix.shot_id, Association(tuple(window.detections[k] for k in rival.picks)))
            if isinstance(other, Fix):
                modes += [
                    replace(m, weight=m.weight * odds) for m in other.modes if all(apart(m, mode) for mode in modes)
                ]
        return replace(fix, modes=weighed(modes))

    def solve_given(self, shot_id: str, detections: Sequence[Detection]) -> Fix | Unfixed:
        """Fix a bang whose detections somebody has already put together, ordered by onset."""
        return self.solver.solve(shot_id, 1, detections, self._standing.sites_of(detections), given=True)

    def _solve(self, shot_id: str, association: Association, *, further: bool = False) -> Fix | Unfixed:
        """Fix the bang of an association; ``further`` rounds of a place need not have been heard as first sounds."""
        detections = association.detections
        return self.solver.solve(
            shot_id, 1, detections, self._standing.sites_of(detections), association.silent, chosen=further
        )

    def _forget(self, ripe_ns: int, claimed: set[str]) -> list[Unfixed]:
        """Drop picks that were claimed, and those that ripened without being claimed; the telling ones are reported."""
        for picks in self._picks.values():
            kept = []
            for detection in picks:
                if detection.pulse_id in claimed:
                    continue
                if detection.pick.onset_ns >= ripe_ns:
                    kept.append(detection)
                elif self._is_echo(detection):
                    self.counts["echo"] += 1
                elif detection.llr >= TELLING_LLR:
                    self._lonely.append(detection)
                else:
                    self.counts["unexplained"] += 1
            picks[:] = kept
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
        index = self._standing.index.get(detection.sensor_id)
        if index is None:
            return False
        for placed in self._placed:
            delay = seconds_between(placed.zero_ns, detection.pick.onset_ns) - placed.arrivals[index]
            if -0.01 < delay < ECHOES_S:
                return True
        return False

    def _revise(self, late: Detection) -> tuple[Fix | Unfixed, ...]:
        """A fix that a late detection belongs to, solved again with it."""
        index = self._standing.index.get(late.sensor_id)
        if index is None:
            return ()
        site = self._standing.sites[index]
        for k, placed in enumerate(self._placed):
            if late.sensor_id not in {d.sensor_id for d in placed.detections} and self._joins(late, placed, index):
                self._placed[k] = self._with_late(placed, late, site)
                self.counts["revised"] += 1
                return (self._placed[k].shot,)
        return ()

    def _joins(self, late: Detection, placed: _Placed, index: int) -> bool:
        """Whether a late detection came when a bang must have reached its sensor, from any place that is left."""
        shot, site = placed.shot, self._standing.sites[index]
        delays = [seconds_between(placed.zero_ns, late.pick.onset_ns) - placed.arrivals[index]]
        if isinstance(shot, Fix):
            delays += [late_by(mode, shot, late, site, self.solver.frame) for mode in shot.modes]
        return bool(min(abs(delay) for delay in delays) <= LATE_GATE_S)

    def _with_late(self, placed: _Placed, late: Detection, site: Site) -> _Placed:
        heard = [*zip(placed.detections, placed.sites, strict=True), (late, site)]
        heard.sort(key=lambda pair: (pair[0].pick.onset_ns, pair[0].sensor_id))
        detections, sites = (tuple(part) for part in zip(*heard, strict=True))
        silent = tuple(name for name in placed.silent if name != late.sensor_id)
        before = placed.shot
        shot = self.solver.solve(before.shot_id, before.revision + 1, detections, sites, silent)
        if isinstance(shot, Fix) and isinstance(before, Fix):
            shot = with_modes_of(shot, weighed_by(before, late, site, self.solver.frame))
        return replace(placed, shot=shot, detections=detections, sites=sites, silent=silent)
