"""A gate over every sample of a stream, which finds impulses."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic import kernels
from acoustic.filters import detection_band

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

TRANSITIONS: Final[Mapping[tuple[str, str], str]] = {
    ("warmup", "warm"): "armed",
    ("armed", "impulse"): "triggered",
    ("triggered", "dead time over"): "coda",
    ("coda", "impulse"): "triggered",
    ("coda", "calm"): "armed",
    ("warmup", "fault"): "warmup",
    ("armed", "fault"): "warmup",
    ("triggered", "fault"): "warmup",
    ("coda", "fault"): "warmup",
}
"""The life of a gate. The noise floor is learnt while warming up and while armed, and frozen otherwise, so that
neither a shot nor its echoes raise it. A fault is a NaN, an infinity, a number a million times full scale, or 20 ms of
exactly equal samples."""

WARMUP_S: Final = 0.3
SILENCE_S: Final = 0.02  # no microphone is that quiet: even a 16-bit converter in a closet moves its last bit
FRAMES_PER_SECOND: Final = 1_000

# Settled on the live-fire recordings: 98.5 % of the tagged impulses of five firing positions (96 to 100 % for each) at
# 91 false ones in a quiet sensor-hour (0 to 219). The floor is a median of maxima, so these ratios are lower than the
# usual ones over a root mean square.
ON_RATIO: Final = 2.2
RISE_RATIO: Final = 1.6
DEAD_FRAMES: Final = 12  # 1,200 rounds a minute leave 50; echoes come sooner
CALM_FRAMES: Final = 50
LONGEST_CODA_FRAMES: Final = 1_000
SETTLE_S: Final = 0.015  # five periods of the band's lower edge
NOISE_S: Final = 0.03
LOWEST_FLOOR: Final = 1e-7  # of full scale: below the noise of any 24-bit converter

# The limit of rate: a burst of 40 impulses, then 15 each second; the last 15 of those only for strong ones.
TOKENS: Final = 40.0
REFILL_PER_S: Final = 15.0
RESERVE_TOKENS: Final = 15.0
STRONG_RATIO: Final = 10.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a gate made of some samples.

    Parameters
    ----------
    used : int
        Samples taken. Fewer than were offered when the stream changed at the last of them: offer the rest again.
    filtered : (used,) float32
        The same samples in the detection band.
    triggers : tuple of int
        Where frames that fired begin, relative to the first sample; a frame may have begun in a call before.
    change : int
        0; 1 when the gate is armed from here on; -k when the last k samples turned out unusable.
    """

    used: int
    filtered: NDArray[np.float32]
    triggers: tuple[int, ...]
    change: int


class Gate:
    """Finds impulses in one stream of samples; the same ones however the stream is cut into calls.

    Parameters
    ----------
    rate_hz : int
        8,000 to 192,000.
    tokens : float
        How many impulses it may report at once; see `tokens`.
    trusted : bool
        Every sample is known to be usable, since a `acoustic.watch.Watch` has seen it: nothing is checked or counted.
    """

    def __init__(self, rate_hz: int, tokens: float = TOKENS, *, trusted: bool = False) -> None:
        self.rate_hz = rate_hz
        self._sections = _sections(rate_hz)
        self._settings = _settings(rate_hz, trusted)
        self._integers = np.zeros(kernels.INTEGERS, dtype=np.int64)
        self._reals = np.zeros(kernels.REALS)
        self._reals[kernels.TOKENS] = tokens

    def hear(self, samples: NDArray[np.float32]) -> Heard:
        """Take samples, (n,) float32, that follow on those of the call before."""
        filtered = np.empty(samples.size, dtype=np.float32)
        frame = self.frame
        triggers = np.empty(samples.size // (frame * DEAD_FRAMES) + 2, dtype=np.int64)
        used, n, change = kernels.gate(
            samples, self._sections, self._settings, self._integers, self._reals, filtered, triggers
        )
        begins = tuple(int(end) + 1 - frame for end in triggers[:n])
        return Heard(used, filtered[:used], begins, change)

    @property
    def frame(self) -> int:
        """Samples in a frame of a millisecond."""
        return int(self._settings[kernels.SET_FRAME])

    @property
    def armed(self) -> bool:
        """Whether an impulse would be noticed now."""
        return bool(self._integers[kernels.STATE] != kernels.WARMUP)

    @property
    def tokens(self) -> float:
        """How many more impulses may be reported at once: 40 at first, 15 more each second, never above 40."""
        return float(self._reals[kernels.TOKENS])

    @property
    def faulty_samples(self) -> int:
        """Samples so far that were NaN, infinite or digital silence."""
        return int(self._integers[kernels.FAULTY])

    @property
    def clipped_samples(self) -> int:
        """Samples so far at full scale."""
        return int(self._integers[kernels.CLIPPED])

    @property
    def suppressed(self) -> int:
        """Impulses so far that came faster than the limit."""
        return int(self._integers[kernels.SUPPRESSED])


@functools.cache
def _sections(rate_hz: int) -> NDArray[np.float64]:
    return detection_band(rate_hz)


@functools.cache
def _settings(rate_hz: int, trusted: bool) -> NDArray[np.float64]:
    settings = np.zeros(kernels.SETTINGS)
    for place, value in {
        kernels.SET_FRAME: rate_hz // FRAMES_PER_SECOND,
        kernels.SET_WARMUP: round(WARMUP_S * rate_hz),
        kernels.SET_SILENCE: round(SILENCE_S * rate_hz),
        kernels.SET_ON: ON_RATIO,
        kernels.SET_RISE: RISE_RATIO,
        kernels.SET_DEAD: DEAD_FRAMES,
        kernels.SET_CALM: CALM_FRAMES,
        kernels.SET_LONGEST_CODA: LONGEST_CODA_FRAMES,
        kernels.SET_LOWEST_FLOOR: LOWEST_FLOOR,
        kernels.SET_TOKENS: TOKENS,
        kernels.SET_REFILL: REFILL_PER_S / FRAMES_PER_SECOND,
        kernels.SET_RESERVE: RESERVE_TOKENS,
        kernels.SET_STRONG: STRONG_RATIO,
        kernels.SET_TRUSTED: float(trusted),
    }.items():
        settings[place] = value
    return settings


def band_passed(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Samples, (n,) float32, in the detection band; settled as if the first of them had lasted for ever."""
    filtered = np.empty(samples.size, dtype=np.float32)
    kernels.band_pass(samples, _sections(rate_hz), filtered)
    return filtered


def noise_rms(samples: NDArray[np.float32], rate_hz: int) -> float:
    """Root mean square of the noise in the detection band, of full scale.

    Parameters
    ----------
    samples : (n,) float32
        `NOISE_S` of noise behind `SETTLE_S` in which the filter forgets how it began; the median over tenths is taken,
        so that a single impulse among them does not count.
    rate_hz : int
    """
    settle = round(SETTLE_S * rate_hz)
    return float(kernels.band_noise(samples, _sections(rate_hz), settle, (samples.size - settle) // 10))
