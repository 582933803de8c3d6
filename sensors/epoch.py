"""An epoch: samples that follow each other without a loss, one line through their stamps, and whether it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.block import Timing
from acoustic.instant import SECOND, after, sample_instant, seconds_between
from sensors.clock_fit import FIRST_NOISE_S, ClockFit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sensors.clock_trust import Trust
    from sensors.source import Raw

STEP: Final = "clock-step"
BACKWARD: Final = "clock-backward"
FROZEN: Final = "clock-frozen"
DRIFT: Final = "clock-drift"
IMPLAUSIBLE: Final = "clock-implausible"
REASONS: Final = (STEP, BACKWARD, FROZEN, DRIFT, IMPLAUSIBLE)
"""What a clock is caught at: a jump, a stamp before the one before it, a standstill, running away, a date before this
program was built."""

LATEST_S: Final = 0.005  # callbacks are 0.1 to 5 ms late: the best of some by one part in their number
STEP_S: Final = 0.005
STEP_SIGMAS: Final = 8.0
LATENESS_SIGMAS: Final = 5.0  # of how surely the stamps' lateness is known
LATE_SIGMAS: Final = 4.0  # beyond which the best stamp of a second was late
LATE_SECONDS: Final = 2  # in a row that may be
ASTRAY: Final = 5  # seconds that may disagree with the line, and with each other
FROZEN_SHARE: Final = 0.1  # of the samples' own time that a running clock shows at least
FROZEN_SECONDS: Final = 2
SHORTEST_S: Final = 0.25  # of samples to tell so by
FARTHEST_RATE: Final = 85e-6  # no crystal in order is farther off: those are sold to 100 at worst
LARGEST_TURN: Final = 25e-6  # more than that no warmth does within seconds to a rate that is known
SURELY: Final = 6.0  # sigmas of a slope: some are looked at every second for months
WARMTH: Final = 3e-6  # what a rate that is known moves by within seconds
EXPLAINED: Final = 0.5  # of a deviation, when the time source announces as much: then it is a slew
SLEW: Final = 0.002  # the fastest that a timing is bent to where the line has come to lie
FASTEST: Final = 0.005  # no line is followed beyond this rate


@dataclass(frozen=True, slots=True)
class ClockFault:
    """What a clock was caught at: one of `REASONS`, when by the device's own reckoning, and by how much, s or s/s.

    A positive size means a clock that went ahead.
    """

    reason: str
    at_ns: int
    size: float = 0.0

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"reason is {self.reason!r}: expected one of {', '.join(REASONS)}")


class Epoch:
    """Timings of one unbroken run of samples.

    Parameters
    ----------
    rate_hz : int
        The nominal rate.
    first : int
        The source's count of sample 0.
    zero_ns : int
        Where deviations are counted from: about when sample 0 was taken.
    fit : ClockFit
        The line; it begins at sample 0.
    latency : (float, float)
        How much later than true stamps are at their best, and one standard deviation of that, s.
    usual : float or None
        What the crystal's rate is off by, where earlier epochs showed it.
    """

    def __init__(
        self,
        rate_hz: int,
        first: int,
        zero_ns: int,
        fit: ClockFit,
        latency: tuple[float, float],
        usual: float | None,
    ) -> None:
        self.rate_hz, self.first, self.fit, self.usual = rate_hz, first, fit, usual
        self.next_index = 0
        """Where the next timing begins."""
        self.timing: Timing | None = None
        self.frozen = False
        self._zero_ns, self._latency_ns = zero_ns, round(latency[0] * SECOND)
        self._latency = latency
        self._step_s = max(STEP_S, LATENESS_SIGMAS * latency[1])  # stamps that are loosely taken are no steps
        self._stamps: list[tuple[int, int]] = []  # index and system clock, of the second that runs
        self._astray: list[float] = []
        self._late = 0  # seconds in a row that were passed over, since even their best stamp was late
        self._still = 0  # seconds in which the clock did

    @classmethod
    def settled(cls, rate_hz: int, held: Sequence[Raw], latency: tuple[float, float], usual: float | None) -> Epoch:
        """An epoch that begins with these pieces, at the least late of their stamps; one they have."""
        first, stamps = held[0].count, [(raw.count, raw.wall_ns) for raw in held if raw.wall_ns is not None]
        zero_ns = stamps[0][1]
        fit = ClockFit(0.0, 0.0, usual, max(LATEST_S / (len(stamps) + 1), FIRST_NOISE_S))
        epoch = cls(rate_hz, first, zero_ns, fit, latency, usual)
        epoch.fit.offset_s = min(
            epoch.deviation_s(count - first, wall_ns) - epoch.fit.at((count - first) / rate_hz)
            for count, wall_ns in stamps
        )
        return epoch

    def coasting(self, index: int) -> Epoch:
        """The next epoch, from this one's sample ``index`` on, by counting alone: its clock stands still."""
        x = index / self.rate_hz
        rate = self.fit.rate if self.usual is None else self.usual
        fit = ClockFit(0.0, 0.0, rate)
        zero_ns = after(self._zero_ns + sample_instant(0, index, self.rate_hz), self.fit.at(x))
        epoch = Epoch(self.rate_hz, self.first + index, zero_ns, fit, self._latency, rate)
        epoch.frozen = True
        return epoch

    def instant(self, index: int) -> int:
        """When a sample was taken, as the line has it; no timing is bent there yet."""
        return after(self._zero_ns + sample_instant(0, index, self.rate_hz), self.fit.at(index / self.rate_hz))

    def deviation_s(self, index: int, wall_ns: int) -> float:
        """The system clock at a sample less the sample's nominal time, s."""
        return seconds_between(self._zero_ns + sample_instant(0, index, self.rate_hz), wall_ns - self._latency_ns)

    def stamp(self, index: int, wall_ns: int) -> None:
        """The system clock said this when sample ``index`` was taken, or somewhat later."""
        self._stamps.append((index, wall_ns))

    def begin_timing(self, sigma_of: Callable[[float], float], state: str) -> Timing:
        """The timing of the next second, from where the one before ends: time runs on, a little faster or slower.

        ``sigma_of`` tells the sigma, s, of a timing that is off the line by so much.
        """
        index = self.next_index
        due_ns = self.instant(index)
        start_ns = due_ns if self.timing is None else self.timing.instant(index)
        rate = min(max(self.fit.rate, -FASTEST), FASTEST)
        wanted_s = seconds_between(start_ns, self.instant(index + self.rate_hz))
        duration_s = min(max(wanted_s, 1.0 + rate - SLEW), 1.0 + rate + SLEW)
        off_s = max(abs(seconds_between(due_ns, start_ns)), abs(self._astray[-1]) if self._astray else 0.0)
        self.timing = Timing(index, start_ns, self.rate_hz / duration_s, sigma_of(off_s), state)
        self.next_index = index + self.rate_hz
        return self.timing

    # whether it holds

    def second_over(self, trust: Trust) -> ClockFault | None:
        """Judge the stamps of the second that is over; a fault ends the epoch."""
        stamps, self._stamps = self._stamps, []
        if not stamps:
            return None
        if self._stands_still(stamps):
            return None if self.frozen or self._still < FROZEN_SECONDS else self._fault(FROZEN)
        self._still, self.frozen = 0, False
        off_s, x, deviation_s = min(
            (deviation_s - self.fit.at(index / self.rate_hz), index / self.rate_hz, deviation_s)
            for index, deviation_s in ((index, self.deviation_s(index, wall_ns)) for index, wall_ns in stamps)
        )
        limit_s = max(self._step_s, STEP_SIGMAS * self.fit.sigma_s)
        if abs(off_s) > limit_s and trust.announced_s < EXPLAINED * abs(off_s):
            return self._off_the_line(off_s, limit_s)
        self._astray.clear()
        if off_s > LATE_SIGMAS * self.fit.sigma_s and self._late < LATE_SECONDS:
            self._late += 1
            return None
        self._late = 0
        self.fit.update(x, deviation_s)
        return self._runs_away(trust)

    def _stands_still(self, stamps: Sequence[tuple[int, int]]) -> bool:
        """Whether the clock hardly moved while samples were counted."""
        (first, first_ns), (last, last_ns) = stamps[0], stamps[-1]
        counted_s = (last - first) / self.rate_hz
        # A machine that was held up takes what has waited for it all at once, too: but then it is late, not early.
        early_s = self.fit.at(last / self.rate_hz) - self.deviation_s(last, last_ns)
        passed_s = seconds_between(first_ns, last_ns)
        still = counted_s >= SHORTEST_S and passed_s < FROZEN_SHARE * counted_s and early_s > self._step_s
        self._still += still
        return still

    def _off_the_line(self, off_s: float, limit_s: float) -> ClockFault | None:
        """A jump stays where it is; a machine that was held up comes back; what does neither runs away."""
        self._astray.append(off_s)
        if len(self._astray) > 1 and abs(self._astray[-1] - self._astray[-2]) < limit_s:
            return self._fault(STEP, off_s)
        if len(self._astray) >= ASTRAY:
            return self._fault(DRIFT, (self._astray[-1] - self._astray[0]) / (len(self._astray) - 1))
        return None

    def _runs_away(self, trust: Trust) -> ClockFault | None:
        slopes = self.fit.slopes()
        for slope in slopes:
            turn = slope.rate - (self.usual or 0.0)
            most = FARTHEST_RATE if self.usual is None else LARGEST_TURN
            if abs(turn) <= most + SURELY * slope.sigma:
                continue
            if trust.announced_s >= EXPLAINED * abs(turn) * slope.span_s:
                self.fit.forget_slope()
                return None
            self.usual = slope.rate  # of the next epoch
            return self._fault(DRIFT, turn)
        if slopes and slopes[-1].sigma < WARMTH and trust.state in ("locked", "stated"):
            if self.usual is None:
                self.usual = slopes[-1].rate
            elif abs(slopes[-1].rate - self.usual) < WARMTH:
                self.usual += 0.02 * (slopes[-1].rate - self.usual)
        return None

    def _fault(self, reason: str, size: float = 0.0) -> ClockFault:
        return ClockFault(reason, self.instant(self.next_index), size)
