"""The listener: audio blocks of one sensor in, detections and its word "heard until" out. No clock, file or thread."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.arrival import ECHO_MEMORY_S, POST_S, PRE_S, find_arrival, outlier_probability
from acoustic.classifier import built_in
from acoustic.detection import Detection, pulse_identity
from acoustic.gate import Gate
from acoustic.pick import Pick
from sensors.clock import SampleClock
from sensors.health import ClockState, Heartbeat
from sensors.ring import Ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.arrival import Arrival
    from acoustic.block import AudioBlock
    from acoustic.classifier import Classifier

BEAT_S: Final = 1
"""Seconds of audio between two heartbeats."""
LAG_S: Final = POST_S + 0.005
"""How far behind its ears a listener's word is: what follows an onset, and how far before its trigger one may lie."""
KEPT_S: Final = 2
SAME_IMPULSE_S: Final = 0.001


class Listener:
    """Hears one sensor.

    Its output depends on the samples and their instants alone, not on how they are cut into blocks.

    Parameters
    ----------
    sensor_id : str
        The device that speaks.
    full_scale_db_spl : float or None
        Peak sound pressure level, dB re 20 uPa, that drives the converter to full scale; None when unknown.
    clock : ClockState
        How far the device's clock can be trusted; passed on in every heartbeat.
    classifier : Classifier or None
        Who judges the impulses; None for the built-in model.
    """

    def __init__(
        self,
        sensor_id: str,
        *,
        full_scale_db_spl: float | None = None,
        clock: ClockState | None = None,
        classifier: Classifier | None = None,
    ) -> None:
        self.sensor_id = sensor_id
        self._full_scale_db_spl = full_scale_db_spl
        self._clock_state = clock or ClockState()
        self._classifier = classifier or built_in()
        self._ears: _Ears | None = None
        self._gaps = 0
        self._faulty = 0
        self._clipped = 0
        self._suppressed = 0
        self._heard_to_ns: int | None = None  # the end of everything that was heard
        self._promised_ns: int | None = None  # the last word; a stream that goes back in time does not take it back

    def hear(self, block: AudioBlock) -> tuple[Detection | Heartbeat, ...]:
        """Take the next block; its first channel is listened to.

        A block that claims to begin more than half a sample from where the one before it ended, or that says it
        comes after a gap, begins a new stream: what was pending is judged on what there is of it, the detector
        warms up again. Samples that reach back before the end of what was already heard are not heard twice; they
        count as faulty.

        Returns
        -------
        tuple of Detection and Heartbeat
            In order; a detection comes 0.3 s after its onset, a heartbeat every second of audio and whenever
            listening begins or ends.
        """
        said: list[Detection | Heartbeat] = []
        if self._ears is None or block.after_gap or not self._ears.continued_by(block):
            self._begin(block, said)
        assert self._ears is not None  # noqa: S101
        self._listen(self._ears, np.ascontiguousarray(block.first_channel), said)
        return tuple(said)

    def finish(self) -> tuple[Detection | Heartbeat, ...]:
        """The end of the stream: what is pending, and the last word."""
        said: list[Detection | Heartbeat] = []
        self._end(said)
        return tuple(said)

    def _begin(self, block: AudioBlock, said: list[Detection | Heartbeat]) -> None:
        if self._heard_to_ns is not None:
            self._gaps += 1
        self._end(said)
        self._ears = _Ears(block.rate_hz, block.start_ns, self._heard_to_ns)

    def _end(self, said: list[Detection | Heartbeat]) -> None:
        ears = self._ears
        if ears is None:
            return
        self._flush(ears, ears.count, said)
        said.append(self._heartbeat(ears, ears.clock.instant(ears.count), listening=False))
        self._faulty += ears.gate.faulty_samples
        self._clipped += ears.gate.clipped_samples
        self._suppressed += ears.gate.suppressed
        self._ears = None

    def _listen(self, ears: _Ears, samples: NDArray[np.float32], said: list[Detection | Heartbeat]) -> None:
        repeated = min(samples.size, max(ears.repeated - ears.count, 0))
        self._faulty += repeated
        ears.skip(repeated)
        samples = samples[repeated:]
        while samples.size:
            used, change = ears.take(samples[: ears.next_beat - ears.count])
            samples = samples[used:]
            self._report_due(ears, said)
            if change < 0:
                self._flush(ears, ears.count + change, said)
                said.append(self._heartbeat(ears, ears.clock.instant(ears.count + change), listening=False))
            elif change > 0:
                said.append(self._heartbeat(ears, ears.clock.instant(ears.count), listening=True))
            if ears.count == ears.next_beat:
                ears.next_beat += BEAT_S * ears.gate.rate_hz
                said.append(self._heartbeat(ears, self._heard_until(ears), listening=ears.gate.armed))
        end_ns = ears.clock.instant(ears.count)
        self._heard_to_ns = end_ns if self._heard_to_ns is None else max(end_ns, self._heard_to_ns)

    def _report_due(self, ears: _Ears, said: list[Detection | Heartbeat]) -> None:
        while ears.pending and ears.pending[0] + ears.post <= ears.count:
            self._report(ears, ears.pending.popleft(), ears.count, said)

    def _flush(self, ears: _Ears, end: int, said: list[Detection | Heartbeat]) -> None:
        """Report what is pending on what there is up to sample ``end``, but not the edge at which sound ends."""
        while ears.pending:
            trigger = ears.pending.popleft()
            if trigger + ears.gate.frame <= end:
                self._report(ears, trigger, end, said)

    def _report(self, ears: _Ears, trigger: int, end: int, said: list[Detection | Heartbeat]) -> None:
        start, stop = max(trigger - ears.pre, ears.samples.begin), min(trigger + ears.post, end)
        samples = ears.samples.read(start, stop)
        arrival = find_arrival(samples, ears.filtered.read(start, stop), trigger - start, ears.gate.rate_hz)
        onset = start + arrival.index
        if onset < ears.armed_from or ears.just_heard(onset):
            self._suppressed += 1  # it began before the sensor listened, or two triggers found one onset
            return
        onset_ns = ears.clock.instant(onset)
        judgement = self._classifier.judge(samples, arrival.index, ears.gate.rate_hz)
        flags = {*judgement.flags, "clipped"} if arrival.clipped else set(judgement.flags)
        said.append(
            Detection(
                pulse_id=pulse_identity(self.sensor_id, onset_ns),
                sensor_id=self.sensor_id,
                pick=self._pick(onset_ns, arrival, ears.p_outlier(onset, arrival)),
                llr=judgement.llr,
                probabilities=judgement.probabilities,
                model=self._classifier.name,
                flags=tuple(sorted(flags)),
            )
        )

    def _pick(self, onset_ns: int, arrival: Arrival, p_outlier: float) -> Pick:
        return Pick(
            onset_ns=onset_ns,
            sigma_s=arrival.sigma_s,
            p_outlier=p_outlier,
            snr_db=arrival.snr_db,
            level_db_spl=self._level_db_spl(arrival.peak),
            censored=arrival.clipped,
        )

    def _level_db_spl(self, amplitude: float | None) -> float | None:
        if self._full_scale_db_spl is None or amplitude is None or amplitude <= 0.0:
            return None
        return self._full_scale_db_spl + 20.0 * math.log10(amplitude)

    def _heard_until(self, ears: _Ears) -> int:
        if not ears.gate.armed:
            return ears.clock.instant(ears.count)
        return ears.clock.instant(max(ears.count - ears.lag, ears.armed_from))

    def _heartbeat(self, ears: _Ears, heard_until_ns: int, *, listening: bool) -> Heartbeat:
        if self._promised_ns is not None:
            heard_until_ns = max(heard_until_ns, self._promised_ns)
        self._promised_ns = heard_until_ns
        return Heartbeat(
            sensor_id=self.sensor_id,
            heard_until_ns=heard_until_ns,
            listening=listening,
            noise_floor_db_spl=self._level_db_spl(ears.gate.noise_rms),
            gaps=self._gaps,
            faulty_samples=self._faulty + ears.gate.faulty_samples,
            clipped_samples=self._clipped + ears.gate.clipped_samples,
            suppressed=self._suppressed + ears.gate.suppressed,
            clock=self._clock_state,
        )


class _Ears:
    """Everything that a gap in the stream, or another rate, does away with."""

    def __init__(self, rate_hz: int, start_ns: int, heard_to_ns: int | None) -> None:
        self.gate = Gate(rate_hz)
        self.clock = SampleClock(start_ns, rate_hz)
        self.repeated = 0 if heard_to_ns is None else max(self.clock.index(heard_to_ns), 0)
        self.count = 0  # samples since the gap
        self.next_beat = BEAT_S * rate_hz
        self.armed_from = 0
        self.recent: deque[tuple[float, float]] = deque()  # onset and peak of the impulses of the last second
        self.pending: deque[int] = deque()  # triggers, as samples since the gap
        self.pre, self.post, self.lag = (round(seconds * rate_hz) for seconds in (PRE_S, POST_S, LAG_S))
        self.samples, self.filtered = Ring(KEPT_S * rate_hz), Ring(KEPT_S * rate_hz)

    def continued_by(self, block: AudioBlock) -> bool:
        return block.rate_hz == self.gate.rate_hz and self.clock.agrees(self.count, block.start_ns)

    def skip(self, samples: int) -> None:
        if samples:
            self.count += samples
            self.next_beat = (self.count // (BEAT_S * self.gate.rate_hz) + 1) * BEAT_S * self.gate.rate_hz
            self.samples.clear(self.count)
            self.filtered.clear(self.count)

    def take(self, samples: NDArray[np.float32]) -> tuple[int, int]:
        heard = self.gate.hear(samples)
        self.samples.append(samples[: heard.used])
        self.filtered.append(heard.filtered)
        self.pending.extend(self.count + trigger for trigger in heard.triggers)
        self.count += heard.used
        if heard.change > 0:
            self.armed_from = self.count
        return heard.used, heard.change

    def just_heard(self, onset: float) -> bool:
        return bool(self.recent) and onset < self.recent[-1][0] + SAME_IMPULSE_S * self.gate.rate_hz

    def p_outlier(self, onset: float, arrival: Arrival) -> float:
        """The probability that an arrival is an echo or noise, in the light of those before it; remembers it."""
        while self.recent and onset - self.recent[0][0] > ECHO_MEMORY_S * self.gate.rate_hz:
            self.recent.popleft()
        drop_db, delay_s = -math.inf, math.inf
        if self.recent and arrival.peak > 0.0:
            loudest_at, loudest = max(self.recent, key=lambda impulse: impulse[1])
            drop_db = 20.0 * math.log10(loudest / arrival.peak) if loudest > 0.0 else -math.inf
            delay_s = (onset - loudest_at) / self.gate.rate_hz
        self.recent.append((onset, arrival.peak))
        return outlier_probability(arrival.snr_db, drop_db, delay_s)
