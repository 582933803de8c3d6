"""Shock waves: the N-wave of a bullet faster than sound, which comes before the blast of its muzzle and is none."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic import timing_kernels
from acoustic.spectra import n_wave, sampled, smeared

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_RATE_HZ: Final = 44_100  # below it a wave of 0.2 ms is a handful of samples, and a short blast looks the same
LENGTHS_S: Final = tuple(0.0001 * 1.15**k for k in range(15))  # Whitham: 0.19 ms (5.56 mm, 10 m) to 0.5 ms (9 mm)
BEFORE_S: Final = 0.0001
AFTER_S: Final = 0.00012
REACH_S: Final = 0.00012
BASE_S: Final = 0.002
FRONT_S: Final = 12e-6
LIKENESS: Final = 0.9
"""Simulated, for a microphone that hears down to 100 Hz: a blast of 0.3 ms or longer reaches 0.87 above an SNR of
20 dB, whatever ground is under it (0.91 where a microphone begins at 300 Hz, and is then taken for a wave); 99 of 100
N-waves exceed 0.93 at 30 dB, 80 of 100 exceed 0.9 at 20 dB."""
BEFORE_BLAST_S: Final = 0.75
"""A shock wave comes at most so long before its blast: R / c (1 - sin(phi + asin(1 / M))) with R 400 m, M 2.7."""


def shock_likeness(samples: NDArray[np.float32], onset: float, rate_hz: int) -> float:
    """How much the sound at ``onset`` is an N-wave: the correlation coefficient with the most similar one.

    An N-wave has two steep fronts 0.1 to 0.7 ms apart, both upwards, and falls along a straight line between them to as
    far below the air's pressure as it began above. A blast has one front and hardly goes below; the echo of its front
    off the ground is a second one, but from above.

    Parameters
    ----------
    samples : (n,) float32
        As they came, not band-passed.
    onset : float
        Index.
    rate_hz : int
        Below 44.1 kHz the answer is 0: such a recording cannot show it.
    """
    if rate_hz < LEAST_RATE_HZ:
        return 0.0
    waves, lengths, before = _waves(rate_hz)
    reach = round(REACH_S * rate_hz)
    first = round(onset) - before - reach
    base_from = first - round(BASE_S * rate_hz)
    if base_from < 0 or first + 2 * reach + waves.shape[1] > samples.size:
        return 0.0
    heard = samples[first : first + 2 * reach + waves.shape[1]].astype(np.float64)
    heard -= samples[base_from:first].astype(np.float64).mean()
    return float(timing_kernels.likeliest_wave(heard, waves, lengths, 2 * reach + 1))


def is_shock_wave(samples: NDArray[np.float32], onset: float, rate_hz: int) -> bool:
    """Whether the sound at ``onset`` is an N-wave; see `shock_likeness`."""
    return shock_likeness(samples, onset, rate_hz) >= LIKENESS


@lru_cache(maxsize=4)
def _waves(rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """N-waves of all lengths, (k, n), how many samples of each are to be compared, and the onset's place in them."""
    before = round(BEFORE_S * rate_hz)
    lead = math.ceil(0.004 * rate_hz)
    lengths = np.array([before + math.ceil((length_s + AFTER_S) * rate_hz) for length_s in LENGTHS_S])
    waves = np.zeros((len(LENGTHS_S), lengths[-1]))
    for wave, length, length_s in zip(waves, lengths, LENGTHS_S, strict=True):
        whole = sampled(rate_hz, 2.0 * length_s, lead / rate_hz, smeared(FRONT_S, n_wave(1.0, length_s)))
        wave[:length] = whole[lead - before : lead - before + length]
    return waves, lengths, before
