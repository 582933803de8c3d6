"""The one promise of everything that samples come from: microphones, files, pipes, network streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acoustic.block import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from acoustic.instant import check_instant


class SourceError(Exception):
    """A source that gives no samples; the message is one line that names it and says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """Consecutive samples as a source delivered them, before anybody has judged the clock.

    Parameters
    ----------
    samples : (n,) or (n, channels) float32
        In units of full scale, one sample at least. Integer PCM divided by a power of two: exact up to 24 bit, and
        for 32 bit words whose lowest eight bits are zero, as most converters send them. Kept as a read-only array.
    count : int
        Index of the first sample since the source was opened; the first piece has 0. Over a loss it goes on by what
        is missing where the source knows that, by nothing where it does not.
    rate_hz : int
        The nominal rate: what was asked for, not what the crystal does.
    wall_ns : int or None
        The system clock when the first sample was taken, as well as the device can tell; None where nobody can.
    start_ns : int or None
        When the first sample was taken by the word of the source itself: a recording's start, a sender's report.
    lost : bool
        Samples are missing just before these. Whether ``count`` jumped by exactly their number is not promised, so
        whoever fits a line through (count, wall_ns) starts a new one.

    Raises
    ------
    TypeError, ValueError
        For another shape, a rate out of range, a count below 0, or what is not an instant.
    """

    samples: NDArray[np.float32]
    count: int
    rate_hz: int
    wall_ns: int | None = None
    start_ns: int | None = None
    lost: bool = False

    def __post_init__(self) -> None:
        if self.samples.dtype != np.float32 or self.samples.ndim not in (1, 2) or not self.samples.size:
            raise ValueError(f"samples are {self.samples.dtype} {self.samples.shape}: expected float32 (n,) or (n, m)")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(f"rate_hz is {self.rate_hz}: expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")
        if self.count < 0:
            raise ValueError(f"count is {self.count}: expected 0 or more")
        for name in ("wall_ns", "start_ns"):
            if getattr(self, name) is not None:
                check_instant(getattr(self, name), name)
        frozen = self.samples.view()
        frozen.flags.writeable = False
        object.__setattr__(self, "samples", frozen)

    @property
    def end_count(self) -> int:
        """Index of the sample after the last one."""
        return self.count + len(self.samples)


class Source(Protocol):
    """Where samples come from. One opening gives one stream; after ``close`` it may be opened again.

    ``for raw in source.open(): ...`` ends by itself at the end of a recording or of standard input, and after
    ``close``. A source whose end is a failure raises.
    """

    @property
    def name(self) -> str:
        """What to call it in a log: never with a password in it."""

    @property
    def once(self) -> bool:
        """A recording: opened again it would give the same samples again, its silences are its own."""

    @property
    def rate_hz(self) -> int:
        """Samples each second; known once it is open."""

    @property
    def channels(self) -> int:
        """Samples of one instant; known once it is open."""

    def open(self) -> Iterator[Raw]:
        """Open it now, and give its samples as they come.

        Raises
        ------
        SourceError
            At once when it cannot be opened, later from the iterator when it is lost.
        """

    def counted(self) -> dict[str, int]:
        """What had to be dropped, refused or given up since it was made, by name: nothing is lost unseen."""

    def close(self) -> None:
        """Let go of the device. From any thread, any number of times; whoever waits for samples is woken."""
