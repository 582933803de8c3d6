"""The listener: audio blocks of one sensor in, detections and its word "heard until" out. No clock, file or thread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.air import Air
from acoustic.arrival import POST_S, SEARCH_BACK_S, find_arrival
from acoustic.classifier import built_in
from acoustic.detection import Detection, pulse_identity
from acoustic.direction import bearing_of_impulse
from acoustic.instant import seconds_between
from acoustic.pick import Pick
from sensors.ears import Beat, Ears, Trigger
from sensors.health import ClockState, Heartbeat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from acoustic.bearing import Bearing
    from acoustic.block import AudioBlock
    from acoustic.classifier import Classifier
    from sensors.site import Element

LAG_S: Final = POST_S + 0.005
"""How far behind its ears a listener's word is: what follows an onset, and how far before its trigger one may lie."""
SET_BACK_S: Final = 0.05
SAME_IMPULSE_S: Final = 0.001
SAME_SOUND_S: Final = 0.002


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
        How far the device's clock can be trusted; passed on in every heartbeat of a stream without timings.
    classifier : Classifier or None
        Who judges the impulses; None for the built-in model.
    elements : sequence of Element
        Of a small array, with the columns of its blocks as channels; detections then carry a bearing where one can be
        told. Empty for a single microphone.
    air : Air or None
        For the speed of sound across the array; None for standard air.
    """

    def __init__(
        self,
        sensor_id: str,
        *,
        full_scale_db_spl: float | None = None,
        clock: ClockState | None = None,
        classifier: Classifier | None = None,
        elements: Sequence[Element] = (),
        air: Air | None = None,
    ) -> None:
        self.sensor_id = sensor_id
        self._full_scale_db_spl = full_scale_db_spl
        self._clock_state = clock or ClockState()
        self._classifier = classifier or built_in()
        # The onset is told where the first channel stands: its element comes first.
        elements = sorted(elements, key=lambda element: element.channel)
        self._columns = [element.channel for element in elements]
        self._elements_m = np.array([(e.east_m, e.north_m, e.up_m) for e in elements])
        self._speed_m_per_s = (air or Air()).sound_speed_m_per_s
        self._ears: Ears | None = None
        self._last_onset = -math.inf
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

        A block with a timing follows on when the device's count does and its timing agrees with the one before. A
        stream with timings that begins more than `SET_BACK_S` before the end of what was heard is no repetition: the
        clock was set back. It is heard, and the word "heard until" is given anew from there.

        Returns
        -------
        tuple of Detection and Heartbeat
            In order; a detection comes 0.3 s after its onset, a heartbeat every second of audio and whenever
            listening begins or ends.
        """
        said: list[Detection | Heartbeat] = []
        channels = self._channels(block)
        ears = self._ears
        if ears is None or not ears.continued_by(block, len(channels)):
            ears = self._begin(block, len(channels), said)
        ears.follow(block.timing)
        repeated = ears.repeated(channels.shape[1])
        if repeated:
            for beat in ears.skip(repeated):
                self._say(ears, beat, said)
            self._faulty += repeated
            channels = channels[:, repeated:]
        for moment in ears.take(channels):
            self._say(ears, moment, said)
        return tuple(said)

    def finish(self) -> tuple[Detection | Heartbeat, ...]:
        """The end of the stream: what is pending, and the last word."""
        said: list[Detection | Heartbeat] = []
        self._end(said)
        return tuple(said)

    def _channels(self, block: AudioBlock) -> NDArray[np.float32]:
        """The channel that is listened to, and those of the elements where the block has them, (rows, n)."""
        if block.samples.ndim == 1:
            return np.ascontiguousarray(block.samples)[np.newaxis]
        columns = [0, *self._columns] if max(self._columns, default=0) < block.samples.shape[1] else [0]
        return np.ascontiguousarray(block.samples.T[columns])

    def _begin(self, block: AudioBlock, channels: int, said: list[Detection | Heartbeat]) -> Ears:
        if self._heard_to_ns is not None or (self._ears is not None and self._ears.count):
            self._gaps += 1
        self._end(said)
        if block.timing is not None and self._heard_to_ns is not None:
            set_back_s = seconds_between(block.start_ns, self._heard_to_ns)
            if set_back_s > SET_BACK_S:
                self._heard_to_ns = self._promised_ns = None
        self._ears = Ears(block.rate_hz, block.start_ns, self._heard_to_ns, channels, block.index, block.timing)
        self._last_onset = -math.inf
        return self._ears

    def _end(self, said: list[Detection | Heartbeat]) -> None:
        ears = self._ears
        if ears is None:
            return
        for moment in ears.finish():
            self._say(ears, moment, said)
        if ears.count:
            end_ns = ears.clock.instant(ears.count)
            self._heard_to_ns = end_ns if self._heard_to_ns is None else max(end_ns, self._heard_to_ns)
        watch = ears.watch
        last = Beat(ears.count, watch.faulty_samples, watch.clipped_samples)
        self._say(ears, last, said)
        self._faulty += watch.faulty_samples
        self._clipped += watch.clipped_samples
        self._suppressed += ears.all_suppressed()
        self._ears = None

    def _say(self, ears: Ears, moment: Trigger | Beat, said: list[Detection | Heartbeat]) -> None:
        if isinstance(moment, Trigger):
            self._report(ears, moment, said)
        else:
            said.append(self._heartbeat(ears, moment))

    def _report(self, ears: Ears, trigger: Trigger, said: list[Detection | Heartbeat]) -> None:
        start, stop = ears.window(trigger)
        samples, filtered = ears.rings[0].read(start, stop), ears.band_passed(start, stop)
        arrival = find_arrival(samples, filtered, trigger.at - start, ears.rate_hz)
        earliest = max(ears.armed_from, self._last_onset + SAME_IMPULSE_S * ears.rate_hz)
        if start + arrival.index < earliest:
            self._suppressed += 1  # it began before the sensor listened, or two triggers found one onset
            return
        judged = ears.bursts.receive(arrival, start, filtered)
        # Never before what a heartbeat has vouched for, which is reckoned from the trigger.
        onset = max(judged.onset, trigger.at - SEARCH_BACK_S * ears.rate_hz)
        if onset < earliest:
            self._suppressed += 1
            return
        self._last_onset = onset
        # A round found behind an echo: the direction, at least, would be the echo's.
        moved = abs(judged.onset - start - arrival.index) > SAME_SOUND_S * ears.rate_hz
        onset_ns = self._instant(ears, onset)
        timing = ears.timing(onset)
        judgement = self._classifier.judge(samples, arrival.index, ears.rate_hz)
        flags = {*judgement.flags, *judged.flags, *(("clipped",) if arrival.clipped else ())}
        said.append(
            Detection(
                pulse_id=pulse_identity(self.sensor_id, onset_ns),
                sensor_id=self.sensor_id,
                pick=Pick(
                    onset_ns=onset_ns,
                    sigma_s=judged.sigma_s,
                    p_outlier=judged.p_outlier,
                    snr_db=arrival.snr_db,
                    level_db_spl=self._level_db_spl(arrival.peak),
                    censored=arrival.clipped,
                    clock_sigma_s=None if timing is None else timing.sigma_s,
                ),
                llr=judgement.llr,
                probabilities=judgement.probabilities,
                model=self._classifier.name,
                flags=tuple(sorted(flags)),
                bearing=None if moved else self._bearing(ears, start, stop, arrival.index),
            )
        )

    def _instant(self, ears: Ears, onset: float) -> int:
        """When an onset was; a timing that begins behind the last word may contradict it by less than it can know."""
        onset_ns = ears.clock.instant(onset)
        if self._promised_ns is None or ears.timing(onset) is None:
            return onset_ns
        return max(onset_ns, self._promised_ns)

    def _bearing(self, ears: Ears, start: int, stop: int, onset: float) -> Bearing | None:
        if len(ears.rings) == 1:
            return None
        samples = np.column_stack([ring.read(start, stop) for ring in ears.rings[1:]])
        return bearing_of_impulse(samples, onset, self._elements_m, ears.rate_hz, self._speed_m_per_s)

    def _level_db_spl(self, amplitude: float | None) -> float | None:
        if self._full_scale_db_spl is None or amplitude is None or amplitude <= 0.0:
            return None
        return self._full_scale_db_spl + 20.0 * math.log10(amplitude)

    def _heartbeat(self, ears: Ears, beat: Beat) -> Heartbeat:
        until = beat.at
        if beat.regular and beat.listening:
            until = max(beat.at - round(LAG_S * ears.rate_hz), ears.armed_from)
        heard_until_ns = ears.clock.instant(until)
        timing = ears.timing(max(beat.at - 1, 0))
        if self._promised_ns is not None:
            heard_until_ns = max(heard_until_ns, self._promised_ns)
        self._promised_ns = heard_until_ns
        return Heartbeat(
            sensor_id=self.sensor_id,
            heard_until_ns=heard_until_ns,
            listening=beat.listening,
            noise_floor_db_spl=self._level_db_spl(ears.noise_rms),
            gaps=self._gaps,
            faulty_samples=self._faulty + beat.faulty_samples,
            clipped_samples=self._clipped + beat.clipped_samples,
            suppressed=self._suppressed + ears.all_suppressed(),
            clock=self._clock_state if timing is None else ClockState(timing.state, timing.sigma_s),
        )
