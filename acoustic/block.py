"""A run of samples from one device, and when they were taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acoustic.instant import SECOND, check_instant, sample_instant

LOWEST_RATE_HZ: Final = 8_000
HIGHEST_RATE_HZ: Final = 192_000
STATES: Final = ("locked", "holdover", "free", "stated")
"""How a clock is held: disciplined now; coasting on its last discipline; never disciplined; as whoever says it says."""
FURTHEST_RATE: Final = 0.01
"""A true rate further than this from the nominal one, as a share, is no crystal's: a mistake."""
LARGEST_SIGMA_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Timing:
    """When the samples of a stream were taken, from one of them until another timing takes over.

    Parameters
    ----------
    index : int
        Of the sample, counted since the epoch began.
    instant_ns : int
        When it was taken.
    rate_hz : float
        How many samples a second truly take: the crystal's rate, not the one it is sold as.
    sigma_s : float
        One standard deviation of these instants: of the time source, of the device and of the fit.
    state : str
        One of `STATES`.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range.
    """

    index: int
    instant_ns: int
    rate_hz: float
    sigma_s: float
    state: str = "stated"

    def __post_init__(self) -> None:
        if not isinstance(self.index, int) or isinstance(self.index, bool) or not 0 <= self.index < 2**63:
            raise ValueError(f"index is {self.index!r}: expected an int, 0 to 2^63 - 1")
        check_instant(self.instant_ns, "instant_ns")
        if not (1.0 - FURTHEST_RATE) * LOWEST_RATE_HZ <= self.rate_hz <= (1.0 + FURTHEST_RATE) * HIGHEST_RATE_HZ:
            raise ValueError(f"rate_hz is {self.rate_hz}: expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")
        if not 0.0 <= self.sigma_s <= LARGEST_SIGMA_S:
            raise ValueError(f"sigma_s is {self.sigma_s}: expected 0 to {LARGEST_SIGMA_S:g} s")
        if self.state not in STATES:
            raise ValueError(f"state is {self.state!r}: expected one of {', '.join(STATES)}")

    def instant(self, index: float) -> int:
        """When a sample was taken, ns; between two samples where it is no whole number.

        One rounding: right to a nanosecond up to a week from ``index``; and the same on every machine.
        """
        return self.instant_ns + round((index - self.index) * (SECOND / self.rate_hz))

    def first_at(self, instant_ns: int) -> int:
        """The first sample taken at or after an instant; below ``index``, before this timing, too."""
        guess = self.index + int((instant_ns - self.instant_ns) * self.rate_hz / SECOND) - 2
        while self.instant(guess) < instant_ns:
            guess += 1
        return guess


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
    index : int or None
        Of the first sample, counted by the device since its epoch began; None when nobody counts.
    timing : Timing or None
        Holds for every sample of the block, and ``start_ns`` is what it says of the first. None: the samples follow
        ``start_ns`` at ``rate_hz``.

    Raises
    ------
    TypeError, ValueError
        For another shape, a rate out of range, or what is not an instant.
    """

    samples: NDArray[np.float32]
    rate_hz: int
    start_ns: int
    after_gap: bool = False
    index: int | None = None
    timing: Timing | None = None

    def __post_init__(self) -> None:
        if self.samples.dtype != np.float32 or self.samples.ndim not in (1, 2):
            raise ValueError(f"samples are {self.samples.dtype} {self.samples.shape}: expected float32 (n,) or (n, m)")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(f"rate_hz is {self.rate_hz}: expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")
        if self.samples.ndim == 2 and not self.samples.shape[1]:
            raise ValueError("samples have no channel: expected one at least")
        check_instant(self.start_ns, "start_ns")
        self._check_timing()
        check_instant(self.end_ns, "the block's end")
        frozen = self.samples.view()
        frozen.flags.writeable = False
        object.__setattr__(self, "samples", frozen)

    def _check_timing(self) -> None:
        if self.index is not None and not 0 <= self.index < 2**63:
            raise ValueError(f"index is {self.index}: expected 0 to 2^63 - 1")
        if self.timing is None:
            return
        if self.index is None or self.index < self.timing.index:
            raise ValueError(f"index is {self.index}: expected {self.timing.index} or more, where its timing begins")
        if abs(self.timing.rate_hz - self.rate_hz) > FURTHEST_RATE * self.rate_hz:
            raise ValueError(f"the timing's rate is {self.timing.rate_hz} Hz: expected {self.rate_hz} or close to it")
        if self.start_ns != self.timing.instant(self.index):
            raise ValueError(f"start_ns is {self.start_ns}: its timing says {self.timing.instant(self.index)}")

    @classmethod
    def timed(
        cls, samples: NDArray[np.float32], rate_hz: int, index: int, timing: Timing, *, after_gap: bool = False
    ) -> AudioBlock:
        """A block whose first sample is the device's number ``index``, at the instant that its timing says."""
        return cls(samples, rate_hz, timing.instant(index), after_gap, index, timing)

    @property
    def end_ns(self) -> int:
        """When the sample after the last one would be taken."""
        return self._instant(len(self.samples))

    @property
    def first_channel(self) -> NDArray[np.float32]:
        """The channel that is listened to, (n,): the first one of an array."""
        return self.samples if self.samples.ndim == 1 else self.samples[:, 0]

    def split(self, length: int) -> tuple[AudioBlock, AudioBlock]:
        """The first ``length`` samples, and the rest as a block that follows without a gap."""
        length = min(length, len(self.samples))
        head = replace(self, samples=self.samples[:length])
        index = None if self.index is None else self.index + length
        return head, replace(
            self, samples=self.samples[length:], start_ns=self._instant(length), after_gap=False, index=index
        )

    def _instant(self, length: int) -> int:
        """When the sample ``length`` after the first was taken."""
        if self.timing is not None and self.index is not None:
            return self.timing.instant(self.index + length)
        return sample_instant(self.start_ns, length, self.rate_hz)
