"""The sample clock: which instant a sample was taken at, from an integer count since the last gap."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.instant import MILLISECOND, SECOND, check_instant, sample_instant

if TYPE_CHECKING:
    from acoustic.block import Timing

LARGEST_STEP_NS: Final = MILLISECOND
"""Two timings of one stream that disagree by more are no better knowledge of one clock, but a clock that was set."""
REMEMBERED_S: Final = 10.0
"""For how long timings are remembered; nobody asks beyond the two seconds of sound that are kept."""


@dataclass(frozen=True, slots=True)
class SampleClock:
    """Sample 0 was taken at ``anchor_ns``; the others follow at ``rate_hz``.

    Instants come from counting alone, never from adding up the lengths of blocks: no length of stream drifts.
    For a clock that is disciplined while it runs there is `DisciplinedClock`, with the same three methods.
    """

    anchor_ns: int
    rate_hz: int

    def __post_init__(self) -> None:
        check_instant(self.anchor_ns, "anchor_ns")
        if self.rate_hz <= 0:
            raise ValueError(f"rate_hz is {self.rate_hz}: expected above 0")

    def instant(self, index: float) -> int:
        """When sample ``index`` was taken, ns; between two samples where it is no whole number."""
        whole = math.floor(index)
        fraction_ns = round((index - whole) * SECOND / self.rate_hz)
        return sample_instant(self.anchor_ns, whole, self.rate_hz) + fraction_ns

    def index(self, instant_ns: int) -> int:
        """The first sample taken at or after an instant."""
        guess = (instant_ns - self.anchor_ns) * self.rate_hz // SECOND - 1
        while sample_instant(self.anchor_ns, guess, self.rate_hz) < instant_ns:
            guess += 1
        return guess

    def agrees(self, index: int, instant_ns: int) -> bool:
        """Whether ``instant_ns`` is within half a sample of when sample ``index`` is due."""
        return 2 * abs(instant_ns - sample_instant(self.anchor_ns, index, self.rate_hz)) * self.rate_hz <= SECOND


class DisciplinedClock:
    """Sample 0 is the device's number ``first``; when the samples were taken, the timings that come with them say.

    Each timing holds from the first sample that came with it, so that an instant depends on the samples and their
    timings alone, never on how they are cut into blocks.

    Parameters
    ----------
    first : int
        The device's number of sample 0.
    timing : Timing
        That sample's.
    """

    def __init__(self, first: int, timing: Timing) -> None:
        self.first = first
        self._since = [0]
        self._timings = [timing]

    def continued_by(self, count: int, index: int, timing: Timing) -> bool:
        """Whether the device's number ``index``, so timed, follows as sample ``count``."""
        if index != self.first + count:
            return False
        return timing is self._timings[-1] or self.agrees(count, timing.instant(index))

    def follow(self, count: int, timing: Timing) -> None:
        """From sample ``count`` on this timing holds."""
        if timing == self._timings[-1]:
            return
        if self._since[-1] == count:  # samples with the timing before were announced, and none came
            self._since.pop()
            self._timings.pop()
        self._since.append(count)
        self._timings.append(timing)
        over = max(bisect.bisect_right(self._since, count - REMEMBERED_S * timing.rate_hz) - 1, 0)
        del self._since[:over], self._timings[:over]

    def timing(self, index: float) -> Timing:
        """The timing that holds for a sample."""
        return self._timings[max(bisect.bisect_right(self._since, index) - 1, 0)]

    def instant(self, index: float) -> int:
        """When sample ``index`` was taken, ns; between two samples where it is no whole number."""
        return self.timing(index).instant(self.first + index)

    def index(self, instant_ns: int) -> int:
        """The first sample taken at or after an instant, by the newest timing."""
        return self._timings[-1].first_at(instant_ns) - self.first

    def agrees(self, index: int, instant_ns: int) -> bool:
        """Whether ``instant_ns`` is near enough to when sample ``index`` is due to be said of one clock."""
        return abs(instant_ns - self.instant(index)) <= LARGEST_STEP_NS
