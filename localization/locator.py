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
from localization.fix import Fix, Unfixed
from localization.kernels import DISCHARGE
from localization.modes import LIGHTEST, apart, weighed, with_modes_of
from localization.search import BURST_S, CLOSEST_ROUNDS_S, LEAST_ODDS, Candidate, Pattern, Search
from localization.solver import Solver
from localization.street import Street
from localization.window import RATE_WINDOW_S, Window, expect_echoes, lay_out
from sensors.health import Heartbeat
from sensors.site import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.air import Air
    from localization.frame import Frame

STEP_NS: Final = SECOND // 4  # the grid of event time on which picks are decided
AUDIBLE_M: Final = 1_500.0  # sensors farther apart than this do not wait for each other
PATIENCE_S: Final = 0.15  # beyond the travel time: late paths
ECHOES_S: Final = 1.5  # how long after a bang its echoes are taken for nothing else
TELLING_LLR: Final = 3.0  # a pick this telling is not passed over in silence, even when it stays alone
LATENESS_S: Final = 30.0  # how long a fix can still be revised by what comes late
AUDIBLE_S: Final = 2.0  # of travel: a listening sensor nearer than this and silent is worth telling
LATE_GATE_S: Final = 0.02  # how well a late detection must fit the fix that it joins
FIRST_RATE_PER_S: Final = 0.2  # picks of a sensor, until it has shown its own rate


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A bang that was fixed: what a later pick needs in order to join it."""

    shot: Fix | Unfixed
    detections: tuple[Detection, ...]
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
        self._spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._last_beat: dict[str, Heartbeat] = {}
        self._placed: list[_Placed] = []
        self._lonely: list[Detection] = []
        self._decided_ns: int | None = None
        self._adopt(network)

    # messages

    def receive(self, message: Detection | Heartbeat | Network) -> tuple[Fix | Unfixed, ...]:
        """Take a message; a late detection may revise a fix at once."""
        if isinstance(message, Network):
            self._adopt(message)
            return ()
        if isinstance(message, Heartbeat):
            self._note(message)
            return ()
        if message.sensor_id not in self._index:
            self.counts["unknown-sensor"] += 1
            return ()
        if self._decided_ns is not None and message.pick.onset_ns < self._decided_ns - self._horizon_ns:
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
        shots: list[Fix | Unfixed] = []
        while self._decided_ns < last_step * STEP_NS:
            self._decided_ns += STEP_NS
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
        return () if last_ns is None else self.tick(last_ns + 3 * self._horizon_ns + 2 * STEP_NS)

    # the network

    def _adopt(self, network: Network) -> None:
        """Take over a revision of the network; picks of sensors that are gone are counted and forgotten."""
        self.network = network
        self._sites = list({site.sensor_id: site for site in network.sites}.values())
        self._index = {site.sensor_id: k for k, site in enumerate(self._sites)}
        places = self.solver.frame.local([site.position for site in self._sites])
        speed = self.solver.air.sound_speed_m_per_s
        known = np.array([math.hypot(site.clock_sigma_s, site.position_sigma_m / speed) for site in self._sites])
        self._search = Search(self.solver, places, known)
        reach = min(_diameter(self._search.sensors), AUDIBLE_M)
        self._horizon_ns = round((reach / speed * 1.05 + PATIENCE_S) * SECOND)
        for sensor_id in [name for name in self._picks if name not in self._index]:
            self.counts["unknown-sensor"] += len(self._picks.pop(sensor_id))

    def _note(self, heartbeat: Heartbeat) -> None:
        """Remember from when to when a sensor listened: between two heartbeats of which the first says that it does."""
        before = self._last_beat.get(heartbeat.sensor_id)
        if (
            before is not None
            and heartbeat.heard_until_ns <= before.heard_until_ns
            and heartbeat.listening == before.listening
        ):
            return
        spans = self._spans[heartbeat.sensor_id]
        if before is not None and before.listening:
            if spans and spans[-1][1] >= before.heard_until_ns:
                spans[-1] = (spans[-1][0], max(spans[-1][1], heartbeat.heard_until_ns))
            else:
                spans.append((before.heard_until_ns, heartbeat.heard_until_ns))
            del spans[:-4]
        self._last_beat[heartbeat.sensor_id] = heartbeat

    def listened(self, sensor_id: str, from_ns: int, to_ns: int) -> None:
        """State that a sensor listened all this time; for scenes of pulses, which bring no heartbeats."""
        self._spans[sensor_id].append((from_ns, to_ns))

    def _listening(self, at_ns: int) -> NDArray[np.bool_]:
        """Which sensors are known to have listened at this instant and the horizon after it."""
        return np.array(
            [any(start <= at_ns < end for start, end in self._spans.get(site.sensor_id, ())) for site in self._sites]
        )

    def _floors(self) -> NDArray[np.float64]:
        """The noise of each sensor as it last told, dB SPL; NaN where it did not."""
        beats = (self._last_beat.get(site.sensor_id) for site in self._sites)
        levels = (None if beat is None else beat.noise_floor_db_spl for beat in beats)
        return np.array([math.nan if level is None else level for level in levels])

    # deciding

    def _first_ns(self) -> int:
        return min((picks[0].pick.onset_ns for picks in self._picks.values() if picks), default=1 << 62)

    def _due_ns(self) -> int:
        """When the first pick ripens, or the first lonely one is to be reported."""
        lonely_ns = min((d.pick.onset_ns for d in self._lonely), default=1 << 62)
        return min(self._first_ns() + self._horizon_ns, lonely_ns + 2 * self._horizon_ns)

    def _decide(self, now_ns: int) -> list[Fix | Unfixed]:
        """Explain the picks before ``now_ns``; keep explanations whose arrivals are all in, drop picks that ripened."""
        ripe_ns = now_ns - self._horizon_ns
        if self._first_ns() >= ripe_ns:
            return list(self._report_lonely(ripe_ns - self._horizon_ns))
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
        by_sensor, rates = [], []
        for site in self._sites:
            picks = self._picks.get(site.sensor_id, [])
            by_sensor.append([d for d in picks if d.pick.onset_ns < now_ns])
            onsets = self._recent_picks[site.sensor_id]
            del onsets[: bisect.bisect_left(onsets, now_ns - round(RATE_WINDOW_S * SECOND))]
            heard = bisect.bisect_left(onsets, now_ns)
            rates.append((heard + 10.0 * FIRST_RATE_PER_S) / (RATE_WINDOW_S + 10.0))
        return lay_out(by_sensor, rates, zero_ns, self.solver.street, self._listening(zero_ns), self._floors())

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
            for k, site in enumerate(self._sites)
            if window.listening[k] and site.sensor_id not in heard and arrivals[k] - candidate.p[DISCHARGE] < AUDIBLE_S
        )
        association = Association(detections, silent, candidate.score)
        before = next((p.shot for p in self._placed if p.pattern is explanation.pattern), None)
        shot = self.solve(association.shot_id, 1, association, further=before is not None)
        if isinstance(shot, Fix):
            shot = self._with_rivals(window, shot, explanation)
            if isinstance(before, Fix):
                shot = with_modes_of(shot, before)
        self._placed.append(
            _Placed(shot, association.detections, silent, window.zero_ns, explanation.pattern, arrivals)
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
            other = self.solve(fix.shot_id, 1, Association(tuple(window.detections[k] for k in rival.picks)))
            if isinstance(other, Fix):
                modes += [
                    replace(m, weight=m.weight * odds) for m in other.modes if all(apart(m, mode) for mode in modes)
                ]
        return replace(fix, modes=weighed(modes))

    def solve_given(self, shot_id: str, detections: Sequence[Detection]) -> Fix | Unfixed:
        """Fix a bang whose detections somebody has already put together, ordered by onset."""
        sites = [self._sites[self._index[d.sensor_id]] for d in detections]
        return self.solver.solve(shot_id, 1, detections, sites)

    def solve(self, shot_id: str, revision: int, association: Association, *, further: bool = False) -> Fix | Unfixed:
        """Fix the bang of an association; ``further`` rounds of a place need not have been heard as first sounds."""
        sites = [self._sites[self._index[d.sensor_id]] for d in association.detections]
        return self.solver.solve(shot_id, revision, association.detections, sites, association.silent, chosen=further)

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
        return self._report_lonely(ripe_ns - self._horizon_ns)

    def _report_lonely(self, before_ns: int) -> list[Unfixed]:
        """Bangs that sounded like gunshots to two sensors or more, yet have no place; those of one are counted."""
        self._lonely.sort(key=lambda d: (d.pick.onset_ns, d.sensor_id))
        shots = []
        while self._lonely and self._lonely[0].pick.onset_ns < before_ns:
            last_ns = self._lonely[0].pick.onset_ns + self._horizon_ns
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
        index = self._index[detection.sensor_id]
        for placed in self._placed:
            delay = seconds_between(placed.zero_ns, detection.pick.onset_ns) - placed.arrivals[index]
            if -0.01 < delay < ECHOES_S:
                return True
        return False

    def _revise(self, late: Detection) -> tuple[Fix | Unfixed, ...]:
        """A fix that a late detection belongs to, solved again with it."""
        index = self._index[late.sensor_id]
        for k, placed in enumerate(self._placed):
            delay = seconds_between(placed.zero_ns, late.pick.onset_ns) - placed.arrivals[index]
            if abs(delay) > LATE_GATE_S or late.sensor_id in {d.sensor_id for d in placed.detections}:
                continue
            silent = tuple(name for name in placed.silent if name != late.sensor_id)
            association = Association((*placed.detections, late), silent)
            shot = self.solve(placed.shot.shot_id, placed.shot.revision + 1, association)
            self._placed[k] = replace(placed, shot=shot, detections=association.detections, silent=silent)
            self.counts["revised"] += 1
            return (shot,)
        return ()


def _diameter(sensors: NDArray[np.float64]) -> float:
    """Greatest distance between two sensors, at most: the diagonal of the box around them, m."""
    return float(np.hypot(*np.ptp(sensors[:, :2], axis=0))) if len(sensors) else 0.0
