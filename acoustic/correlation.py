"""Correlation: how much later one sound is in a recording than its like in another, and how surely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from acoustic import timing_kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS: Final = 2  # of Gauss and Newton, from the top of a parabola
LEAST_SIGMA_SAMPLES: Final = 0.002
LEAST_OWN: Final = 0.3


@dataclass(frozen=True, slots=True)
class Delay:
    """How two snippets lie to each other.

    Parameters
    ----------
    samples : float
        How far the sound is behind its like, below the sample.
    sigma : float
        One standard deviation, samples.
    likeness : float
        Correlation coefficient there, -1 to 1.
    gain : float
        Amplitude over that of its like.
    """

    samples: float
    sigma: float
    likeness: float
    gain: float


def delay(heard: NDArray[np.float64], like: NDArray[np.float64], least: int) -> Delay:
    """The delay at which ``heard`` is most like ``like``: the generalised cross-correlation, normalised.

    Parameters
    ----------
    heard : (m,) float64
        The later snippet; both in the same band.
    like : (n,) float64
        The earlier one, n at most m. Sample 0 of it is looked for at 0 to m - n of ``heard``.
    least : int
        Added to the delay: where sample 0 of ``heard`` lies to sample 0 of ``like``.

    Notes
    -----
    The band is the detector's, where a blast's power is even enough that white weights (PHAT) would only raise
    noise. To the sample by the correlation coefficient, then by least squares on the band-limited like. Its
    variance is that of the noise along the slope of the signal (Knapp and Carter 1976, for the weights used),
    sum |S'|^2 |R|^2 / (sum |S'|^2)^2, with R the spectrum of what the two do not share: noise of both, and whatever
    changed between them. It knows nothing of a maximum that is the wrong one.
    """
    coefficients = timing_kernels.correlations(heard, like)
    coarse = int(np.argmax(coefficients))
    body = heard[coarse : coarse + like.size]
    behind = _top(coefficients, coarse)
    for _ in range(STEPS):
        wave, slope = _moved(like, behind)
        power, steepness = float(wave @ wave), float(slope @ slope)
        if power <= 0.0 or steepness <= 0.0:
            return Delay(float(least + coarse), float(like.size), 0.0, 0.0)
        gain = float(body @ wave) / power
        rest = body - gain * wave
        step = -float(rest @ slope) / (gain * steepness) if gain != 0.0 else 0.0
        behind = min(max(behind + step, -1.0), 1.0)
    spread = float(np.square(np.abs(np.fft.fft(slope))) @ np.square(np.abs(np.fft.fft(rest)))) / like.size**2
    own = 0.5 * float(np.square(_moved(rest, 0.0)[1]).sum())  # what of the steepness is the like's own noise
    steepness = math.sqrt(steepness * max(steepness - own, LEAST_OWN * steepness))
    sigma = math.sqrt(spread) / (abs(gain) * steepness) if gain != 0.0 else float(like.size)
    return Delay(least + coarse + behind, max(sigma, LEAST_SIGMA_SAMPLES), float(coefficients[coarse]), gain)


def _top(values: NDArray[np.float64], k: int) -> float:
    """How far the maximum of a parabola through three values lies from the middle one, -0.5 to 0.5."""
    if not 0 < k < values.size - 1:
        return 0.0
    bend = values[k - 1] - 2.0 * values[k] + values[k + 1]
    return float(0.5 * (values[k - 1] - values[k + 1]) / bend) if bend < 0.0 else 0.0


def _moved(samples: NDArray[np.float64], by: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The samples ``by`` of a sample later, and their slope for each sample."""
    count = 2 * samples.size  # what leaves at one end must not come in at the other
    turn = 2j * math.pi * np.fft.rfftfreq(count)
    spectrum: NDArray[Any] = np.fft.rfft(samples, count) * np.exp(-turn * by)
    return np.fft.irfft(spectrum, count)[: samples.size], np.fft.irfft(spectrum * turn, count)[: samples.size]
