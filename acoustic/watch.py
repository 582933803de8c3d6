"""The watch: one cheap look at every sample, which says where listening is worth while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic import watch_kernels as kernels
from acoustic.gate import LOWEST_FLOOR, SILENCE_S, WARMUP_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS_AT_ONCE: Final = 64  # of which the samples stay in the nearest cache between the two looks at them
LONGEST_LOUD_S: Final = 1.0
"""Louder than before for longer than this is the new noise."""


class Kind(IntEnum):
    """What can happen to a stream."""

    ARMED = kernels.ARMED
    """From this sample on impulses are noticed; the stream has been usable for ``back`` samples."""
    DEAF = kernels.DEAF
    """Up to this sample the stream turned out unusable: NaN, infinite, absurd, or 20 ms of exactly equal samples."""
    LOUD = kernels.LOUD
    """In the block that ends here something was louder than what went before."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that the watch noticed.

    Parameters
    ----------
    kind : Kind
    at : int
        Sample behind the block, counted since the watch began.
    back : int
        How many samples before ``at`` it begins: the length of a loud block, of what turned out unusable, or of the
        warm-up.
    faulty, clipped : int
        Samples counted as such by then.
    """

    kind: Kind
    at: int
    back: int
    faulty: int
    clipped: int


@dataclass(frozen=True, slots=True)
class Shape:
    """How a rate is watched: samples in a block, the comb's lag, and what is loud.

    ``loud_ratio`` is the energy of a block over the median of a fiftieth of a second's greatest. In pink noise and
    redder, the gate never fires where that was not reached; in the noise of streets
    it is reached by chance a few times a minute at 48 kHz, and some thirty times at 12 kHz, where a block has fewer
    samples. The gate decides; this only wakes it.
    """

    block: int
    lag: int
    loud_ratio: float


SHAPES: Final[Mapping[int, Shape]] = {
    9_000: Shape(16, 1, 1.8),
    13_000: Shape(16, 2, 1.7),
    19_000: Shape(16, 3, 1.7),
    30_000: Shape(32, 4, 1.7),
    36_000: Shape(32, 5, 1.7),
    64_000: Shape(64, 8, 2.0),
    128_000: Shape(128, 16, 2.0),
    192_000: Shape(256, 32, 2.0),
}
"""Up to which rate (Hz) which shape. Blocks are powers of two near 1.3 ms, so that a loop over one is unrolled into
vectors. The sum of two neighbours less the sum of two a sixth of a millisecond earlier is a comb with its first maximum
near 3 kHz and its zeros at nought and 6 kHz, and a low-pass besides: three additions, which take wind and traffic out
and half of the hiss."""


class Watch:
    """Looks at one stream of samples; notices the same things however the stream is cut into calls.

    Parameters
    ----------
    rate_hz : int
        8,000 to 192,000.

    Notes
    -----
    A block is judged when it is complete, so that what a call reports may lie before the call's own samples; `watched`
    says how far the watch has come.
    """

    def __init__(self, rate_hz: int) -> None:
        shape = next(shape for most_hz, shape in SHAPES.items() if rate_hz <= most_hz)
        self.block, self.lag = shape.block, shape.lag
        self._tail = np.zeros(self.lag + 1 + self.block, dtype=np.float32)
        self._tail_read = self._tail.view()
        self._tail_read.flags.writeable = False
        self._sums = np.zeros((2, BLOCKS_AT_ONCE), dtype=np.float32)
        self._integers = np.zeros(kernels.INTEGERS, dtype=np.int64)
        self._reals = np.zeros(kernels.REALS)
        groups_per_s = rate_hz / (self.block * kernels.GROUP)
        self._settings = np.array(
            [
                round(WARMUP_S * rate_hz),
                round(SILENCE_S * rate_hz),
                shape.loud_ratio,
                round(LONGEST_LOUD_S * groups_per_s),
                self.block * LOWEST_FLOOR**2,
            ]
        )
        self._found = np.zeros((0, 5), dtype=np.int64)

    def look(self, samples: NDArray[np.float32]) -> tuple[Happening, ...]:
        """Take samples, (n,) contiguous float32, that follow on those of the call before; what happened, in order."""
        if samples.flags.writeable:
            samples = samples.view()
            samples.flags.writeable = False
        self._make_room(samples.size)
        count = kernels.scan(
            self.block,
            self.lag,
            samples,
            self._tail,
            self._tail_read,
            self._sums,
            self._settings,
            self._integers,
            self._reals,
            self._found,
        )
        return self._told(count) if count else ()

    def finish(self) -> tuple[Happening, ...]:
        """The stream ends: what happened in the block that was not filled."""
        have = int(self._integers[kernels.HAVE])
        self._make_room(have)
        count = kernels.examine(
            self._tail, self.lag + 1, have, self._settings, self._integers, self._reals, self._found, 0
        )
        return self._told(count)

    def _told(self, count: int) -> tuple[Happening, ...]:
        return tuple(Happening(Kind(kind), *rest) for kind, *rest in self._found[:count].tolist())

    def _make_room(self, samples: int) -> None:
        """For what can happen at most: every block loud, and a fault as often as a warm-up allows."""
        most = samples // self.block + 2 * (samples // int(self._settings[kernels.SET_WARMUP])) + 8
        if self._found.shape[0] < most:
            self._found = np.zeros((most, 5), dtype=np.int64)

    @property
    def watched(self) -> int:
        """Samples that were judged: all but those of a block that is not complete."""
        return int(self._integers[kernels.WATCHED])

    @property
    def floor_rms(self) -> float:
        """Root mean square of the comb's output in the loudest of the blocks of a usual group."""
        return float(np.sqrt(self._reals[kernels.FLOOR] / self.block))

    @property
    def armed(self) -> bool:
        """Whether an impulse would be noticed now."""
        return bool(self._integers[kernels.IS_ARMED])

    @property
    def faulty_samples(self) -> int:
        """Samples so far that were NaN, infinite, absurd or digital silence."""
        return int(self._integers[kernels.FAULTY])

    @property
    def clipped_samples(self) -> int:
        """Samples so far at full scale."""
        return int(self._integers[kernels.CLIPPED])
