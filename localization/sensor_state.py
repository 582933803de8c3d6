"""What each sensor's clock and place turn out to be worth: learnt from fixes that did not need it.

A sensor that the others contradict, from several places, loses weight and is named with the reason; when it agrees
again for a while, it is believed again. One late arrival proves nothing: walls delay sound, and never hasten it.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import SECOND
from localization.sensor_evidence import (
    Evidence,
    History,
    Remark,
    clock_evidence,
    drifts,
    left_out,
    log_density,
    most_odds,
    place_evidence,
    witnesses,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEP: Final = "clock-step"
DRIFT: Final = "clock-drift"
PLACE: Final = "position"
REASONS: Final = (STEP, DRIFT, PLACE)
"""Why a sensor is flagged: its clock jumped, its clock runs away, it does not stand where it is said to stand."""

MOST_REMEMBERED: Final = 200  # remarks on one sensor
MOST_PENDING: Final = 200  # remarks on one sensor within the lateness
LEAST_ODDS: Final = 8.0
"""Natural log of the odds from which a sensor is flagged. Page's test with threshold h raises its next false alarm
after e^h remarks or later (Lorden 1971), here 3000."""
LEAST_MOVE_ODDS: Final = 13.0  # a move has two numbers to fit chance with, and is in no hurry
LEAST_PLACES: Final = 3  # that must agree: a wall delays sound from one side, a wrong fix is one
BEGINNINGS: Final = (3, 4, 5, 7, 10, 15, 25, 40)  # how many remarks ago a fault may have begun
SURPRISE: Final = 1.5  # sigmas: a remark that surprises less begins no suspicion
BETTER: Final = 3.0  # log odds by which another reason must lead before it takes the place of the first
RECOVERY_REMARKS: Final = 6
RECOVERY_PLACES: Final = 3
RECOVERY_ODDS: Final = 6.0
CLOCK_SIGMA_S: Final = 0.002  # how far a clock in order may be off
CLOCK_DRIFT_S: Final = 0.0005  # and how far it wanders in an hour
SPEED_M_PER_S: Final = 340.0  # from metres of a move to seconds of doubt: no precision wanted


@dataclass(frozen=True, slots=True)
class SensorState:
    """What is believed of one sensor.

    Parameters
    ----------
    sensor_id : str
        Whose state it is.
    offset_s, offset_sigma_s : float
        How late its clock shows beside the others, s, and one standard deviation of that. Of a sensor in order it is
        the slow bias; of one whose clock is flagged, the fault.
    move_m : (east, north), m
        Where it stands beside where it is said to stand; nought unless its position is flagged.
    reason : str
        One of `REASONS`; empty for a sensor in order.
    since_ns : int or None
        When the fault began, in event time, as near as bangs tell.
    extra_sigma_s : float
        What to add in quadrature to the sigma of its arrivals; 0 for a sensor in order.
    remarks : int
        How many bangs are remembered that speak of it.
    """

    sensor_id: str
    offset_s: float = 0.0
    offset_sigma_s: float = CLOCK_SIGMA_S
    move_m: tuple[float, float] = (0.0, 0.0)
    reason: str = ""
    since_ns: int | None = None
    extra_sigma_s: float = 0.0
    remarks: int = 0

    def __post_init__(self) -> None:
        if self.reason and self.reason not in REASONS:
            raise ValueError(f"reason is {self.reason!r}: expected one of {', '.join(REASONS)}, or none")
        if not 0.0 <= self.extra_sigma_s < math.inf or bool(self.reason) != (self.since_ns is not None):
            raise ValueError(f"extra_sigma_s is {self.extra_sigma_s}, flagged {self.reason!r} since {self.since_ns}")


def remarks_of(
    name: str,
    time_ns: int,
    place: tuple[float, float],
    sensor_ids: Sequence[str],
    residuals: Floats,
    sigmas: Floats,
    weights: Floats,
    gradients: Floats,
    position_gradients: Floats,
    prior_sigma: Floats,
) -> tuple[Remark, ...]:
    """What one fix says of each of its sensors, by what all the others predict.

    Parameters
    ----------
    name, time_ns, place
        The bang's name, discharge, and place in the plane, m.
    sensor_ids : sequence of str
        Of its n arrivals, one a sensor.
    residuals, sigmas, weights, gradients, prior_sigma
        As `localization.sensor_evidence.left_out` takes them.
    position_gradients : (n, 2) float64
        How much later the sound would come if the sensor stood a metre farther east, or north, s/m: minus the first
        two columns of ``gradients``.

    Returns
    -------
    tuple of Remark
        None on sensors that the others do not tell enough of.
    """
    off, spread = left_out(residuals, sigmas, weights, gradients, prior_sigma)
    return tuple(
        Remark(time_ns, name, sensor_id, place, float(o), float(s), (float(g[0]), float(g[1])))
        for sensor_id, o, s, g in zip(sensor_ids, off, spread, position_gradients, strict=True)
        if math.isfinite(s) and math.isfinite(o)
    )


@dataclass(frozen=True, slots=True)
class _Track:
    """What is remembered of one sensor: remarks by time, and its flag, if any.

    ``begins`` is the first remark that may speak for a fault: what was before was settled by a recovery.
    """

    remarks: tuple[Remark, ...] = ()
    reason: str = ""
    since_ns: int | None = None
    flagged_ns: int | None = None
    evidence: Evidence | None = None
    begins_ns: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Ahead:
    """How far a sensor was judged beyond what is settled, so that the next question begins there."""

    settled: _Track | None
    pending: list[Remark]
    track: _Track


class SensorStates:
    """The states of all sensors of a network, from what fixes say of them.

    A pure machine: time is that of bangs. Remarks that come within the lateness, in whatever order, end in the same
    states; later ones are counted and not used.

    Parameters
    ----------
    lateness_s : float
        How much earlier than the newest bang another may still be told of, or told of anew.
    """

    def __init__(self, lateness_s: float = 60.0) -> None:
        self.lateness_ns = round(lateness_s * SECOND)
        self.counts: Counter[str] = Counter()
        """`remarks`; `late` and so not used; `hurried`, settled before their time because there were too many; and by
        reason how often a sensor was flagged, and `recovered`."""
        self._tracks: dict[str, _Track] = {}
        self._pending: dict[str, list[Remark]] = {}
        self._ahead: dict[str, _Ahead] = {}
        self._newest_ns: int | None = None

    # messages

    def observe(self, remarks: Sequence[Remark]) -> None:
        """Take what one bang says of its sensors; told again under the same name, it replaces what was told before."""
        for name in {remark.name for remark in remarks}:
            self.withdraw(name)
        for remark in remarks:
            self.counts["remarks"] += 1
            self._newest_ns = max(self._newest_ns or remark.time_ns, remark.time_ns)
            if remark.time_ns < self._newest_ns - self.lateness_ns:
                self.counts["late"] += 1
            else:
                bisect.insort(self._pending.setdefault(remark.sensor_id, []), remark, key=_order)
        self._settle()

    def withdraw(self, name: str) -> None:
        """Forget what a bang said, as far as it is not settled yet: it turned out to be none."""
        for sensor_id, pending in self._pending.items():
            if any(remark.name == name for remark in pending):
                self._pending[sensor_id] = [remark for remark in pending if remark.name != name]

    def _settle(self) -> None:
        """Judge for good what is older than the lateness."""
        if self._newest_ns is None:
            return
        horizon_ns = self._newest_ns - self.lateness_ns
        for sensor_id, pending in list(self._pending.items()):
            ripe = bisect.bisect_left(pending, horizon_ns, key=lambda remark: remark.time_ns)
            hurried = max(ripe, len(pending) - MOST_PENDING)
            self.counts["hurried"] += hurried - ripe
            for remark in pending[:hurried]:
                before = self._tracks.get(sensor_id, _Track())
                after = _advanced(before, remark)
                if after.reason != before.reason:
                    self.counts[after.reason or "recovered"] += 1
                self._tracks[sensor_id] = after
            if hurried < len(pending):
                self._pending[sensor_id] = pending[hurried:]
            else:
                del self._pending[sensor_id]

    # what is believed

    def state(self, sensor_id: str, time_ns: int | None = None) -> SensorState:
        """What bangs before this instant say of a sensor; without one, all that were told of.

        The past beyond the lateness is settled: for an earlier instant it is what was settled since.
        """
        settled = self._tracks.get(sensor_id)
        pending = [r for r in self._pending.get(sensor_id, ()) if time_ns is None or r.time_ns < time_ns]
        known = self._ahead.get(sensor_id)
        if known is None or known.settled is not settled or pending[: len(known.pending)] != known.pending:
            known = _Ahead(settled, [], settled or _Track())
        track = known.track
        for remark in pending[len(known.pending) :]:
            track = _advanced(track, remark)
        self._ahead[sensor_id] = _Ahead(settled, pending, track)
        return _state(sensor_id, track)

    def extra_sigma_s(self, sensor_id: str, time_ns: int | None = None) -> float:
        """What to add in quadrature to the sigma of a sensor's arrivals, s; 0 for one in order."""
        return self.state(sensor_id, time_ns).extra_sigma_s

    def flags(self, sensor_id: str, time_ns: int | None = None) -> tuple[str, ...]:
        """Why a sensor is not trusted: none, or one of `REASONS`."""
        reason = self.state(sensor_id, time_ns).reason
        return (reason,) if reason else ()

    def flagged(self, time_ns: int | None = None) -> tuple[SensorState, ...]:
        """Every sensor that is not trusted, by name."""
        names = {*self._tracks, *self._pending}
        states = (self.state(name, time_ns) for name in sorted(names))
        return tuple(state for state in states if state.reason)


def _order(remark: Remark) -> tuple[int, str, str]:
    return remark.time_ns, remark.name, remark.sensor_id


# One sensor, one remark further.


def _advanced(track: _Track, remark: Remark) -> _Track:
    track = replace(track, remarks=(*track.remarks, remark)[-MOST_REMEMBERED:])
    if track.reason:
        track = _recovered(track)
        return _again(track) if track.reason else track
    if abs(remark.residual_s) < SURPRISE * remark.sigma_s:
        return track
    found = _fault(track)
    if found is None:
        return track
    reason, evidence, since_ns = found
    return replace(track, reason=reason, evidence=evidence, since_ns=since_ns, flagged_ns=remark.time_ns)


def _fault(track: _Track) -> tuple[str, Evidence, int] | None:
    """The likeliest fault and when it began, if one is likely enough."""
    remarks = [r for r in track.remarks if track.begins_ns is None or r.time_ns >= track.begins_ns]
    best: tuple[str, Evidence, int] | None = None
    history, all_seen = History.of(remarks), False
    for length in BEGINNINGS:
        if all_seen:
            break
        all_seen = length >= len(remarks)
        recent = remarks[-length:]
        seen = witnesses(recent, history, len(remarks) - len(recent))
        if most_odds(seen) < LEAST_ODDS:
            continue
        clock = clock_evidence(seen)
        if clock.places >= LEAST_PLACES and clock.odds > _odds(best):
            best = (STEP, clock, recent[0].time_ns)
        place = place_evidence(seen) if length > LEAST_PLACES else Evidence(-math.inf)
        if place.sides and place.places >= LEAST_PLACES and place.odds > _odds(best, PLACE):
            best = (PLACE, place, recent[0].time_ns)
    if best is not None and best[0] == STEP and drifts(witnesses(remarks[-BEGINNINGS[-1] :], history, 0)):
        best = (DRIFT, *best[1:])
    return best


def _odds(best: tuple[str, Evidence, int] | None, reason: str = STEP) -> float:
    """What another fault must surpass: the threshold, or the best so far, with a lead if that is of another kind."""
    if best is None:
        return LEAST_MOVE_ODDS if reason == PLACE else LEAST_ODDS
    floor = LEAST_MOVE_ODDS if reason == PLACE else LEAST_ODDS
    return max(floor, best[1].odds + (BETTER if best[0] != reason else 0.0))


def _again(track: _Track) -> _Track:
    """How large the fault is by now, and whether another reason explains it better."""
    found = _fault(track)
    if found is None:
        return track
    reason, evidence, since_ns = found
    if track.since_ns is not None and since_ns > track.since_ns and reason == track.reason:
        since_ns = track.since_ns
    return replace(track, reason=reason, evidence=evidence, since_ns=since_ns)


def _recovered(track: _Track) -> _Track:
    """The track without its flag, once enough bangs from enough places speak for a sensor in order again."""
    recent = [r for r in track.remarks if track.flagged_ns is not None and r.time_ns > track.flagged_ns]
    recent = recent[-RECOVERY_REMARKS:]
    if len(recent) < RECOVERY_REMARKS or track.evidence is None:
        return track
    before = [r for r in track.remarks if track.since_ns is not None and r.time_ns < track.since_ns]
    seen = witnesses(recent, History.of(before), len(before))
    pushed = seen.slopes @ np.array(track.evidence.move_m) + track.evidence.offset_s
    healthy, faulty = (log_density(seen.off - by, seen.sigmas, seen.indirect) for by in (0.0, pushed))
    if len(seen) < RECOVERY_PLACES or float(np.sum(healthy - faulty)) < RECOVERY_ODDS:
        return track
    return _Track(remarks=track.remarks, begins_ns=recent[0].time_ns)


def _state(sensor_id: str, track: _Track) -> SensorState:
    count = len(track.remarks)
    if not track.reason or track.evidence is None:
        offset_s, sigma_s = _slow_bias(track)
        return SensorState(sensor_id, offset_s, sigma_s, remarks=count)
    evidence = track.evidence
    if track.reason == PLACE:
        extra_s = (math.hypot(*evidence.move_m) + evidence.sigma) / SPEED_M_PER_S
        offset_s, sigma_s = 0.0, CLOCK_SIGMA_S
    else:
        extra_s = abs(evidence.offset_s) + evidence.sigma
        offset_s, sigma_s = evidence.offset_s, evidence.sigma
    return SensorState(
        sensor_id, offset_s, sigma_s, evidence.move_m, track.reason, track.since_ns, extra_s, remarks=count
    )


def _slow_bias(track: _Track) -> tuple[float, float]:
    """The slow bias of a clock in order: a random walk, filtered over places, robust to late paths."""
    remarks = [r for r in track.remarks if track.begins_ns is None or r.time_ns >= track.begins_ns]
    bias, variance = 0.0, CLOCK_SIGMA_S**2
    if not remarks:
        return bias, math.sqrt(variance)
    seen = witnesses(remarks[-BEGINNINGS[-1] :], History.of(()), 0)
    now_s = 0.0
    for k in np.argsort(seen.times_s, kind="stable"):
        time_s, sigma = float(seen.times_s[k]), float(seen.sigmas[k])
        variance = min(variance + CLOCK_DRIFT_S**2 * max(time_s - now_s, 0.0) / 3600.0, CLOCK_SIGMA_S**2)
        now_s = max(now_s, time_s)
        off = float(seen.off[k]) - bias
        spread = variance + sigma**2
        # The share of the density that is direct decides how much the witness is heard.
        direct = -0.5 * off**2 / spread - 0.5 * math.log(2.0 * math.pi * spread)
        heard = min(
            1.0,
            math.exp(
                direct - float(log_density(np.array(off), np.array(math.sqrt(spread)), np.array(seen.indirect[k])))
            ),
        )
        gain = heard * variance / (variance + sigma**2)
        bias, variance = bias + gain * off, (1.0 - gain) * variance
    return bias, math.sqrt(variance)
