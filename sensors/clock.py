"""The sample clock: which instant a sample was taken at, from an integer count since the last gap."""

from __future__ import annotations

import math
from dataclasses import dataclass

from acoustic.instant import SECOND, check_instant, sample_instant


@dataclass(frozen=True, slots=True)
class SampleClock:
    """Sample 0 was taken at ``anchor_ns``; the others follow at ``rate_hz``.

    Instants come from counting alone, never from adding up the lengths of blocks: no length of stream drifts.
    A clock that is disciplined while it runs will be another class with the same three methods.
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
