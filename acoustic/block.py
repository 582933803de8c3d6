"""A run of samples from one device, and when they were taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acoustic.instant import check_instant, sample_instant

LOWEST_RATE_HZ: Final = 8_000
HIGHEST_RATE_HZ: Final = 192_000


@dataclass(frozen=True, slots=True, eq=False)
class AudioBlock:
    """Consecutive samples of one device.

    Parameters
    ----------
    samples : (n,) or (n, channels) float32
        In units of the converter's full scale. A block may hold none, and it may hold NaN or infinity: what a
        broken converter delivers is for the listener to judge. Kept as a read-only array.
    rate_hz : int
        8,000 to 192,000.
    start_ns : int
        When the first sample was taken.
    after_gap : bool
        The samples do not follow those of the block before: something was lost, or this is the first.

    Raises
    ------
    TypeError, ValueError
        For another shape, a rate out of range, or what is not an instant.
    """

    samples: NDArray[np.float32]
    rate_hz: int
    start_ns: int
    after_gap: bool = False

    def __post_init__(self) -> None:
        if self.samples.dtype != np.float32 or self.samples.ndim not in (1, 2):
            raise ValueError(f"samples are {self.samples.dtype} {self.samples.shape}: expected float32 (n,) or (n, m)")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(f"rate_hz is {self.rate_hz}: expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")
        if self.samples.ndim == 2 and not self.samples.shape[1]:
            raise ValueError("samples have no channel: expected one at least")
        check_instant(self.start_ns, "start_ns")
        check_instant(self.end_ns, "the block's end")
        frozen = self.samples.view()
        frozen.flags.writeable = False
        object.__setattr__(self, "samples", frozen)

    @property
    def end_ns(self) -> int:
        """When the sample after the last one would be taken."""
        return sample_instant(self.start_ns, len(self.samples), self.rate_hz)

    @property
    def first_channel(self) -> NDArray[np.float32]:
        """The channel that is listened to, (n,): the first one of an array."""
        return self.samples if self.samples.ndim == 1 else self.samples[:, 0]

    def split(self, length: int) -> tuple[AudioBlock, AudioBlock]:
        """The first ``length`` samples, and the rest as a block that follows without a gap."""
        middle_ns = sample_instant(self.start_ns, length, self.rate_hz)
        head = AudioBlock(self.samples[:length], self.rate_hz, self.start_ns, after_gap=self.after_gap)
        return head, AudioBlock(self.samples[length:], self.rate_hz, middle_ns)
