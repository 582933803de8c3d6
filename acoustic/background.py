"""Background: the noise of a night, to hear bangs in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.sources import pascals

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

BLOCK: Final = 1 << 15
LOWEST_HZ: Final = 20.0  # below it a measuring microphone hears nothing


def background(
    rate_hz: int, count: int, *, level_db_spl: float, slope_db_per_octave: float, generator: Generator
) -> NDArray[np.float64]:
    """Steady Gaussian noise whose spectrum falls, (count,) Pa.

    Parameters
    ----------
    rate_hz, count : int
        Samples a second, and how many.
    level_db_spl : float
        Of its root mean square, unweighted: 45 to 55 dB in a city at night.
    slope_db_per_octave : float
        Of the power spectrum from 20 Hz to the Nyquist frequency: 0 white, -3 pink, -6 red. Distant traffic falls
        by 4 to 7 dB an octave.
    generator : Generator
        Draws the noise.
    """
    frequency_hz = np.fft.rfftfreq(BLOCK, 1.0 / rate_hz)
    shape = np.power(np.maximum(frequency_hz, LOWEST_HZ) / LOWEST_HZ, slope_db_per_octave / (20.0 * math.log10(2.0)))
    # Below 20 Hz the microphone's own high pass, second order; nothing at 0 and at the Nyquist frequency.
    shape *= np.minimum(frequency_hz / LOWEST_HZ, 1.0) ** 2
    shape[-1] = 0.0
    power = float(2.0 * np.sum(np.square(shape)) / BLOCK)
    shape *= pascals(level_db_spl) / math.sqrt(power)
    return _woven(count, shape, generator)


def _woven(count: int, shape: NDArray[np.float64], generator: Generator) -> NDArray[np.float64]:
    """Blocks of shaped noise that fade into each other at constant power, so that no length needs a longer FFT."""
    half = BLOCK // 2
    window = np.sin(math.pi * (np.arange(BLOCK) + 0.5) / BLOCK)
    blocks = count // half + 2
    result = np.zeros((blocks + 1) * half)
    for k in range(blocks):
        noise = np.fft.irfft(np.fft.rfft(generator.standard_normal(BLOCK)) * shape, BLOCK)
        result[k * half : k * half + BLOCK] += window * noise
    return result[half : half + count]


def wavering(rate_hz: int, count: int, *, sigma_db: float, every_s: float, generator: Generator) -> NDArray[np.float64]:
    """A slowly changing gain, (count,): Gaussian in decibels, with a new value each ``every_s`` and lines between."""
    knots = np.arange(math.ceil(count / (rate_hz * every_s)) + 2)
    levels_db = sigma_db * generator.standard_normal(len(knots))
    return np.power(10.0, np.interp(np.arange(count) / (rate_hz * every_s), knots, levels_db) / 20.0)


def passing(
    rate_hz: int,
    count: int,
    *,
    per_hour: float,
    level_db_spl: float,
    length_s: float,
    highest_hz: float,
    generator: Generator,
) -> NDArray[np.float64]:
    """What comes and goes, (count,) Pa: cars that pass by, or gusts of wind over the microphone.

    Parameters
    ----------
    rate_hz, count : int
        Samples a second, and how many.
    per_hour : float
        How often, at random.
    level_db_spl : float
        Root mean square at the height of each, within 3 dB from one to the next.
    length_s : float
        Standard deviation of its Gaussian course: 2 s for a car in a street, 1 s for a gust.
    highest_hz : float
        Above this its red noise is gone: 1500 Hz for tyres on wet asphalt from afar, 150 Hz for wind.
    generator : Generator
        Draws when and what.
    """
    result = np.zeros(count)
    for _ in range(int(generator.poisson(per_hour * count / (3600.0 * rate_hz)))):
        centre = float(generator.random()) * count
        gain_db = 3.0 * float(generator.standard_normal())
        reach = 4.0 * length_s * rate_hz
        first, last = max(0, math.floor(centre - reach)), min(count, math.ceil(centre + reach))
        time_s = (np.arange(first, last) - centre) / rate_hz
        noise = background(
            rate_hz, last - first, level_db_spl=level_db_spl + gain_db, slope_db_per_octave=-3.0, generator=generator
        )
        result[first:last] += np.exp(-0.5 * np.square(time_s / length_s)) * _low_passed(noise, highest_hz / rate_hz)
    return result


def _low_passed(samples: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Without what lies above ``share`` of the sample rate, second order, without phase."""
    frequency = np.fft.rfftfreq(len(samples))
    return np.fft.irfft(np.fft.rfft(samples) / (1.0 + np.square(frequency / share)), len(samples))
