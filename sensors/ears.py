"""Ears: one unbroken stream of samples, watched all the time and listened to where that is worth while."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.arrival import POST_S, PRE_S
from acoustic.burst import BurstTracker
from acoustic.gate import NOISE_S, REFILL_PER_S, SETTLE_S, SILENCE_S, TOKENS, Gate, band_passed, noise_rms
from acoustic.watch import Happening, Kind, Watch
from sensors.clock import DisciplinedClock, SampleClock
from sensors.following import continues
from sensors.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from acoustic.block import AudioBlock, Timing

BEAT_S: Final = 1
"""Seconds of audio between two heartbeats."""
KEPT_S: Final = 2
LOOK_BACK_S: Final = 0.55  # a gate that wakes learns its floor from this: its ring of half a second, and some
AWAKE_S: Final = 0.6  # how long a gate listens on behind a loud block: a later one is behind all it looks back at
HISS: Final = 4.8
"""The watch's floor over the noise in the band, as amplitudes: up to 4.2 in pink noise and redder. Above this,
something outside (a microphone's hiss, insects, a switching supply) hides from the watch what the gate
hears, and the gate stays awake."""
CALM_S: Final = 0.5  # without a loud block before it: else the heartbeat repeats the one before


@dataclass(frozen=True, slots=True)
class Trigger:
    """An impulse fired in the frame that begins at sample ``at``; up to ``end`` there is sound to judge it by."""

    at: int
    end: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A second is over (``regular``), or listening begins or ends at sample ``at``; with what was counted by then."""

    at: int
    faulty_samples: int
    clipped_samples: int
    listening: bool = False
    regular: bool = False


class Ears:
    """Everything that a gap in the stream, or another rate, does away with.

    Parameters
    ----------
    rate_hz : int
    start_ns : int
        When sample 0 was taken.
    heard_to_ns : int or None
        Samples before this were heard already.
    channels : int
        Rows of what is taken; the first is listened to.
    first, timing : int or None, Timing or None
        The device's number of sample 0, and when it was taken, where the device counts and its clock is disciplined;
        then ``start_ns`` is not asked.
    """

    def __init__(
        self,
        rate_hz: int,
        start_ns: int,
        heard_to_ns: int | None,
        channels: int,
        first: int | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.rate_hz = rate_hz
        self.clock: SampleClock | DisciplinedClock = (
            SampleClock(start_ns, rate_hz) if timing is None or first is None else DisciplinedClock(first, timing)
        )
        self.watch = Watch(rate_hz)
        self.bursts = BurstTracker(rate_hz)
        self.heard_to_ns = heard_to_ns
        self.rings = [Ring(KEPT_S * rate_hz) for _ in range(channels)]
        self.count = 0  # samples taken
        self.begun = 0  # where watching began
        self.usable_from = 0
        self.armed_from = 0
        self.suppressed = 0  # impulses over the limit of rate
        self.noise_rms: float | None = None
        self._hissing = True  # until it was measured
        self._next_beat = BEAT_S * rate_hz
        self._gate: Gate | None = None
        self._gate_at = 0  # what the gate has heard
        self._awake_until = 0
        self._loud_at = 0
        self._tokens = TOKENS
        self._pending: deque[int] = deque()
        self._frame = Gate(rate_hz).frame
        self._pre, self._post, self._look_back, self._awake, self._behind = (
            round(seconds * rate_hz) for seconds in (PRE_S, POST_S, LOOK_BACK_S, AWAKE_S, SILENCE_S)
        )

    def continued_by(self, block: AudioBlock, channels: int) -> bool:
        """Whether a block follows on."""
        return channels == len(self.rings) and continues(block, self.rate_hz, self.clock, self.count)

    def follow(self, timing: Timing | None) -> None:
        """What is taken next has this timing."""
        if timing is not None and isinstance(self.clock, DisciplinedClock):
            self.clock.follow(self.count, timing)

    def timing(self, index: float) -> Timing | None:
        """The timing that holds for a sample; None where nobody disciplines the clock."""
        return self.clock.timing(index) if isinstance(self.clock, DisciplinedClock) else None

    def repeated(self, size: int) -> int:
        """How many of the next samples were heard already: of those that go before all that were not."""
        if self.heard_to_ns is None or self.count > self.begun:
            return 0
        return min(size, max(self.clock.index(self.heard_to_ns) - self.count, 0))

    def skip(self, samples: int) -> tuple[Beat, ...]:
        """Pass over samples that were heard already, only before any that were not; the seconds that end in them."""
        start = self.count
        self.count += samples
        self.begun = self.usable_from = self.count
        beats = []
        while self._next_beat <= self.count:
            beats.append(Beat(self._next_beat, self._next_beat - start, 0, regular=True))
            self._next_beat += BEAT_S * self.rate_hz
        for ring in self.rings:
            ring.clear(self.count)
        return tuple(beats)

    def take(self, channels: NDArray[np.float32]) -> Iterable[Trigger | Beat]:
        """Take what follows, (channels, n) float32; what there is to report, in the order of the stream.

        Every step ends where a block or a second does, so that no order depends on how the stream is cut.
        """
        size = channels.shape[1]
        if self._gate is None and not self._pending and self.count + size < self._next_beat:
            # As it is nearly all the time, with the small blocks of live streams.
            happenings = self._watch_over(channels)
            return self._happened_one_by_one(happenings) if happenings else ()
        return self._step_by_step(channels)

    def _watch_over(self, channels: NDArray[np.float32]) -> tuple[Happening, ...]:
        for ring, row in zip(self.rings, channels, strict=True):
            ring.append(row)
        self.count += channels.shape[1]
        return self.watch.look(channels[0])

    def _happened_one_by_one(self, happenings: tuple[Happening, ...]) -> Iterator[Trigger | Beat]:
        for happening in happenings:
            yield from self._happened(happening)
        if self._gate is not None or self._pending:
            yield from self._up_to(self.begun + self.watch.watched)

    def _step_by_step(self, channels: NDArray[np.float32]) -> Iterator[Trigger | Beat]:
        done = 0
        while done < channels.shape[1]:
            stop = min(channels.shape[1], done + self._next_beat - self.count)
            happenings = self._watch_over(channels[:, done:stop])
            done = stop
            yield from self._happened_one_by_one(happenings)
            if self.count == self._next_beat:
                self._next_beat += BEAT_S * self.rate_hz
                self._measure_noise()
                if self._hissing and self.watch.armed:
                    self._stay_awake(self.begun + self.watch.watched, self._next_beat)
                watch = self.watch
                counts = watch.faulty_samples, watch.clipped_samples
                yield Beat(self.count, *counts, listening=watch.armed, regular=True)

    def finish(self) -> Iterator[Trigger | Beat]:
        """The stream ends."""
        for happening in self.watch.finish():
            yield from self._happened(happening)
        yield from self._flush(self.count)

    def _flush(self, end: int) -> Iterator[Trigger]:
        """What is pending, on what there is of it up to sample ``end``; but not the edge at which sound ends."""
        self._listen(end)
        while self._pending:
            at = self._pending.popleft()
            if at + self._frame <= end:
                yield Trigger(at, end)
        self._sleep(end)

    def _happened(self, happening: Happening) -> Iterator[Trigger | Beat]:
        kind, at, back = happening.kind, self.begun + happening.at, happening.back
        counts = happening.faulty, happening.clipped
        if kind is Kind.LOUD:
            yield from self._up_to(at - back)
            self._wake(at - back)
            self._awake_until = max(self._awake_until, at + self._awake)
            self._loud_at = at
        elif kind is Kind.ARMED:
            self.armed_from, self.usable_from = at, at - back
            self._stay_awake(at, self._next_beat)  # until the noise has been measured
            yield Beat(at, *counts, listening=True)
        else:
            yield from self._up_to(at - back)
            yield from self._flush(at - back)
            self.usable_from = at
            self.noise_rms = None
            self._hissing = True
            yield Beat(at - back, *counts)

    def _up_to(self, end: int) -> Iterator[Trigger]:
        """Everything that is due before sample ``end``; the gate stays behind by what may yet turn out unusable."""
        self._listen(min(end - self._behind, self._awake_until))
        while self._pending and self._pending[0] + self._post <= end:
            at = self._pending.popleft()
            yield Trigger(at, at + self._post)
        if end - self._behind >= self._awake_until:
            self._sleep(end)

    def _wake(self, at: int) -> None:
        if self._gate is not None:
            return
        begin = max(at - self._look_back, self.usable_from, self.rings[0].begin)
        refilled = self._tokens + REFILL_PER_S * max(begin - self._gate_at, 0) / self.rate_hz
        self._gate = Gate(self.rate_hz, min(refilled, TOKENS), trusted=True)
        self._gate_at = begin

    def _stay_awake(self, at: int, until: int) -> None:
        self._wake(at)
        self._awake_until = max(self._awake_until, until + self._awake)

    def _sleep(self, at: int) -> None:
        if self._gate is not None and at >= self._gate_at:
            self.suppressed += self._gate.suppressed
            self._tokens = self._gate.tokens
            self._gate = None

    def _listen(self, end: int) -> None:
        if self._gate is None or end <= self._gate_at:
            return
        samples = self.rings[0].read(self._gate_at, end)
        while samples.size:
            heard = self._gate.hear(samples)
            self._pending.extend(self._gate_at + trigger for trigger in heard.triggers)
            self._gate_at += heard.used
            samples = samples[heard.used :]

    def _measure_noise(self) -> None:
        """Root mean square of the noise in the band just before the beat, of full scale; as it was while it is loud."""
        end = self.begun + self.watch.watched
        begin = end - round((NOISE_S + SETTLE_S) * self.rate_hz)
        if not self.watch.armed or begin < self.usable_from:
            return
        if self.noise_rms is not None and self._loud_at > end - CALM_S * self.rate_hz:
            return
        self.noise_rms = noise_rms(self.rings[0].read(begin, end), self.rate_hz)
        self._hissing = self.watch.floor_rms > HISS * self.noise_rms

    def window(self, trigger: Trigger) -> tuple[int, int]:
        """From where to where there is sound to judge a trigger by."""
        return max(trigger.at - self._pre, self.usable_from, self.rings[0].begin), trigger.end

    def band_passed(self, start: int, stop: int) -> NDArray[np.float32]:
        """The first channel from one sample to another, in the detection band."""
        settle = min(start - max(self.usable_from, self.rings[0].begin), round(SETTLE_S * self.rate_hz))
        return band_passed(self.rings[0].read(start - settle, stop), self.rate_hz)[settle:]

    def all_suppressed(self) -> int:
        """Impulses over the limit of rate so far."""
        return self.suppressed + (0 if self._gate is None else self._gate.suppressed)
