"""Following: whether the blocks of one device follow on one another, and when its samples were taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensors.clock import DisciplinedClock, SampleClock

if TYPE_CHECKING:
    from acoustic.block import AudioBlock


class Following:
    """One unbroken stream, by the same rules as a listener's: it begins with a block and counts what follows.

    Parameters
    ----------
    block : AudioBlock
        The first one; `take` it too.
    """

    def __init__(self, block: AudioBlock) -> None:
        self.rate_hz = block.rate_hz
        self.count = 0
        self.clock: SampleClock | DisciplinedClock = (
            SampleClock(block.start_ns, block.rate_hz)
            if block.timing is None or block.index is None
            else DisciplinedClock(block.index, block.timing)
        )

    def continued_by(self, block: AudioBlock) -> bool:
        """Whether a block is of this stream: it comes after no gap, at its rate, and where its clock expects it."""
        return continues(block, self.rate_hz, self.clock, self.count)

    def take(self, block: AudioBlock) -> None:
        """Count a block that continues the stream."""
        if block.timing is not None and isinstance(self.clock, DisciplinedClock):
            self.clock.follow(self.count, block.timing)
        self.count += len(block.samples)

    def first_at(self, instant_ns: int) -> int:
        """The first sample taken at or after an instant, by the timing that holds there."""
        index = self.clock.index(instant_ns)
        while self.clock.instant(index) < instant_ns:
            index += 1
        while self.clock.instant(index - 1) >= instant_ns:
            index -= 1
        return index


def continues(block: AudioBlock, rate_hz: int, clock: SampleClock | DisciplinedClock, count: int) -> bool:
    """Whether a block comes after no gap, at the rate, and where the clock expects it behind ``count`` samples."""
    if block.after_gap or block.rate_hz != rate_hz:
        return False
    if isinstance(clock, SampleClock):
        return block.timing is None and clock.agrees(count, block.start_ns)
    if block.timing is None or block.index is None:
        return False
    return clock.continued_by(count, block.index, block.timing)
