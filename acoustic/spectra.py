"""Spectra: pressure waves as Laplace transforms, to be sampled without aliases at any rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PASS_BAND: Final = 0.6  # of the Nyquist frequency: up to here nothing is taken away

Spectrum: TypeAlias = "Callable[[NDArray[Any]], NDArray[Any]]"
"""The Laplace transform of a pressure, on the axis s = 2 pi i f: complex (n,) to Pa s (n,).

Sampling a spectrum up to the Nyquist frequency, and nothing beyond, is what keeps a front of zero rise time free of
aliases.
"""


def friedlander(peak_pa: float, positive_phase_s: float) -> Spectrum:
    """P (1 - t/T) exp(-t/T) from t = 0 on: a front of zero rise time, above the air's pressure until T."""
    if not positive_phase_s > 0.0:
        raise ValueError(f"positive_phase_s is {positive_phase_s}: expected above 0")

    def spectrum(s: NDArray[Any]) -> NDArray[Any]:
        wave: NDArray[Any] = peak_pa * s / np.square(s + 1.0 / positive_phase_s)
        return wave

    return spectrum


def n_wave(peak_pa: float, length_s: float) -> Spectrum:
    """From +peak to -peak along a straight line, over the time ``length_s``."""

    def spectrum(s: NDArray[Any]) -> NDArray[Any]:
        half = s.imag * length_s / 2.0
        safe = np.where(half == 0.0, 1.0, half)
        odd = np.where(half == 0.0, 0.0, (np.sin(safe) - safe * np.cos(safe)) / safe**2)
        wave: NDArray[Any] = peak_pa * length_s * 1j * odd * np.exp(-1j * half)
        return wave

    return spectrum


def ringing(gain: float, frequency_hz: float, decay_s: float) -> Spectrum:
    """A sine that starts at zero and decays by e in ``decay_s``."""
    omega = 2.0 * math.pi * frequency_hz
    return lambda s: gain * omega / (np.square(s + 1.0 / decay_s) + omega**2)


def soft_pulse(gain: float, rise_s: float, fall_s: float) -> Spectrum:
    """Up within ``rise_s``, down and below zero within ``fall_s``: a Friedlander wave without its front."""
    return lambda s: gain * s / (np.square(s + 1.0 / fall_s) * (1.0 + s * rise_s) ** 2)


def later(delay_s: float, spectrum: Spectrum) -> Spectrum:
    """The same, ``delay_s`` later."""
    return lambda s: spectrum(s) * np.exp(-s * delay_s)


def smeared(time_s: float, spectrum: Spectrum) -> Spectrum:
    """Without its sharp fronts: each became ``time_s`` long on a way of kilometres."""
    return lambda s: spectrum(s) / (1.0 + s * time_s)


def scaled(gain: float, spectrum: Spectrum) -> Spectrum:
    """The same, ``gain`` times as strong."""
    return lambda s: gain * spectrum(s)


def total(parts: Sequence[Spectrum]) -> Spectrum:
    """All of them at once."""

    def spectrum(s: NDArray[Any]) -> NDArray[Any]:
        result = np.zeros_like(s)
        for part in parts:
            result += part(s)
        return result

    return spectrum


def sampled(rate_hz: int, duration_s: float, lead_s: float, spectrum: Spectrum) -> NDArray[np.float64]:
    """A spectrum as samples, (n,) Pa: ``lead_s`` of silence, then at least ``duration_s``, n a power of two."""
    count = 1 << math.ceil(math.log2((2.0 * lead_s + duration_s) * rate_hz))
    frequency_hz = np.fft.rfftfreq(count, 1.0 / rate_hz)
    s = 2j * math.pi * frequency_hz
    limited = spectrum(s) * np.exp(-s * lead_s) * band_limit(frequency_hz, rate_hz)
    return np.fft.irfft(limited, count) * rate_hz


def band_limit(frequency_hz: NDArray[Any], rate_hz: int) -> NDArray[Any]:
    """Gain of an ideal converter: 1 up to `PASS_BAND` of the Nyquist frequency, from there a cosine down to 0.

    Linear in phase, as converters of today are: a step keeps the place of its half height, and rings over two samples
    before and after by 4 % of its height.
    """
    above: NDArray[Any] = (frequency_hz * 2.0 / rate_hz - PASS_BAND) / (1.0 - PASS_BAND)
    gain: NDArray[Any] = np.square(np.cos(0.5 * math.pi * np.clip(above, 0.0, 1.0)))
    return gain
