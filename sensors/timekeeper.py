"""The timekeeper: a device's pieces of sound in, blocks with timings out; and what it caught the clocks at.

Pure: the system clock comes with the samples, the time source's word as a record.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from acoustic.block import LARGEST_SIGMA_S, AudioBlock
from acoustic.instant import after, seconds_between
from sensors.clock_reading import implausible
from sensors.clock_trust import FREE_SIGMA_S, Trust
from sensors.epoch import BACKWARD, DRIFT, FROZEN, IMPLAUSIBLE, ClockFault, Epoch

if TYPE_CHECKING:
    from acoustic.block import Timing
    from sensors.clock_reading import Reading
    from sensors.source import Raw

SETTLE_S: Final = 0.5  # sound that is held back until its least late stamp is known
REMEMBERED: Final = 16


class Timekeeper:
    """Times the samples of one device.

    Blocks come out in the order of the samples, cut where a timing begins: at every multiple of the nominal rate,
    counted since the epoch began. Within an epoch time runs on without a jump. A loss, or a clock caught out, begins a
    new one, and its first block says that it comes after a gap; slews of the system clock are followed.

    Parameters
    ----------
    rate_hz : int
        The nominal rate.
    latency_s, latency_sigma_s : float
        How much later than true the stamps are at their best, and how surely that is known: of the converter and its
        driver, and of a network on the way. It is the one thing that no clock tells; a clap beside a timed one does.
    free_sigma_s : float
        What is believed of a clock that nobody disciplines.
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        latency_s: float = 0.0,
        latency_sigma_s: float = 0.0005,
        free_sigma_s: float = FREE_SIGMA_S,
    ) -> None:
        self.rate_hz = rate_hz
        self.number = -1
        """Of the epoch whose blocks come out; -1 before the first."""
        self.counts: Counter[str] = Counter()
        """By reason how often a clock was caught; `epochs`, and `lost`: pieces that came after a loss."""
        self.faults: deque[ClockFault] = deque(maxlen=REMEMBERED)
        self.trust = Trust(free_sigma_s)
        self._latency_s, self._latency_sigma_s = latency_s, latency_sigma_s
        self._epoch: Epoch | None = None
        self._gap = True
        self._held: list[Raw] = []
        self._expected: int | None = None
        self._wall_ns: int | None = None
        self._usual: float | None = None
        self._implausible = False

    # the clock

    def read(self, reading: Reading | None) -> None:
        """Take what the time source says now; None where it did not answer."""
        self.trust.take(reading)

    @property
    def state(self) -> str:
        """How the clock is held, one of `acoustic.block.STATES`."""
        return "free" if self._implausible else self.trust.state

    @property
    def sigma_s(self) -> float:
        """One standard deviation of an instant stamped now, s."""
        return self._sigma_s(0.0)

    @property
    def doubt(self) -> str:
        """Why the clock is not trusted, in words; empty where it is."""
        return implausible(self._wall_ns) if self._implausible and self._wall_ns is not None else self.trust.doubt

    # samples

    def keep(self, raw: Raw) -> tuple[AudioBlock, ...]:
        """Time the next piece of sound. Half a second is held at the start of an epoch, and comes out at once.

        Raises
        ------
        ValueError
            For a piece without a stamp, or of another rate.
        """
        wall_ns = _stamp(raw)
        if raw.rate_hz != self.rate_hz:
            raise ValueError(f"rate_hz is {raw.rate_hz}: expected {self.rate_hz}")
        blocks: list[AudioBlock] = []
        if raw.lost or raw.count != self._expected:
            self.counts["lost"] += self._expected is not None
            blocks += self._close()
        elif self._wall_ns is not None and wall_ns < self._wall_ns:
            blocks += self._close()
            self._caught(ClockFault(BACKWARD, wall_ns, seconds_between(self._wall_ns, wall_ns)))
        self._expected, self._wall_ns = raw.end_count, wall_ns
        return (*blocks, *self._take(raw))

    def finish(self) -> tuple[AudioBlock, ...]:
        """The stream ends: what was held."""
        self._expected = self._wall_ns = None
        return tuple(self._close())

    def _take(self, raw: Raw) -> list[AudioBlock]:
        if self._epoch is not None:
            return self._timed(self._epoch, raw)
        self._held.append(raw)
        return self._settle() if raw.end_count - self._held[0].count >= SETTLE_S * self.rate_hz else []

    def _settle(self) -> list[AudioBlock]:
        """Begin an epoch with what was held."""
        held, self._held = self._held, []
        self._begin(Epoch.settled(self.rate_hz, held, (self._latency_s, self._latency_sigma_s), self._usual))
        return [block for raw in held for block in self._take(raw)]

    def _begin(self, epoch: Epoch) -> None:
        self._epoch, self._gap = epoch, True
        self.number += 1
        self.counts["epochs"] += 1
        self._check_date(epoch.instant(0))

    def _close(self) -> list[AudioBlock]:
        """End the epoch; what is held of one that has not begun is timed as well as it can be."""
        blocks = self._settle() if self._held else []
        if self._epoch is not None:
            self._usual = self._epoch.usual
        self._epoch = None
        return blocks

    def _timed(self, epoch: Epoch, raw: Raw) -> list[AudioBlock]:
        """Blocks of one piece, cut where timings begin."""
        blocks, done = list[AudioBlock](), 0
        epoch.stamp(raw.count - epoch.first, _stamp(raw))
        while done < len(raw.samples):
            index, timing = raw.count + done - epoch.first, epoch.timing
            if timing is None or index == epoch.next_index:
                fault = None if timing is None else epoch.second_over(self.trust)
                if fault is not None:
                    return [*blocks, *self._after_fault(fault, epoch, self._rest(raw, done))]
                timing = self._next_timing(epoch)
            stop = min(len(raw.samples), done + epoch.next_index - index)
            samples = raw.samples[done:stop]
            blocks.append(AudioBlock.timed(samples, self.rate_hz, index, timing, after_gap=self._gap))
            self._gap, done = False, stop
        return blocks

    def _rest(self, raw: Raw, done: int) -> Raw:
        """What is left of a piece when an epoch ends within it."""
        wall_ns = after(_stamp(raw), done / self.rate_hz)
        return replace(raw, samples=raw.samples[done:], count=raw.count + done, wall_ns=wall_ns, lost=False)

    def _next_timing(self, epoch: Epoch) -> Timing:
        self.trust.freeze(epoch.frozen)
        if epoch.timing is not None:
            self.trust.pass_time()
        return epoch.begin_timing(self._sigma_s, self.state)

    def _after_fault(self, fault: ClockFault, epoch: Epoch, rest: Raw) -> list[AudioBlock]:
        """Go on in a new epoch: with the clock as it shows now; with one that stands still, by counting."""
        self._caught(fault)
        self._close()
        if fault.reason == FROZEN:
            self._begin(epoch.coasting(rest.count - epoch.first))
        return self._take(rest)

    # what is known of the clock

    def _check_date(self, wall_ns: int) -> None:
        wrong = bool(implausible(wall_ns))
        if wrong and not self._implausible:
            self._caught(ClockFault(IMPLAUSIBLE, wall_ns))
        self._implausible = wrong

    def _sigma_s(self, off_s: float) -> float:
        """Everything together; ``off_s`` is what the timing is known to be off the line by."""
        if self._implausible:
            return LARGEST_SIGMA_S
        fit_s = 0.0 if self._epoch is None else self._epoch.fit.sigma_s
        return min(math.hypot(self.trust.sigma_s, self._latency_sigma_s, fit_s, off_s), LARGEST_SIGMA_S)

    def _caught(self, fault: ClockFault) -> None:
        self.counts[fault.reason] += 1
        self.faults.append(fault)
        if fault.reason == DRIFT:
            self.trust.runs_away(fault.size)
        else:
            self.trust.jumped(fault.size)


def _stamp(raw: Raw) -> int:
    if raw.wall_ns is None:
        raise ValueError("wall_ns is None: expected what the system clock said when the first sample was taken")
    return raw.wall_ns
