"""Causal filters as second-order sections; who runs them carries their state from block to block."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAND_LOW_HZ: Final = 300.0
"""Below it wind and traffic are loud, and a shot at city distances has little that they do not cover."""
BAND_HIGH_HZ: Final = 5_000.0
"""Above it air absorption has taken what a shot had: 3 dB each 100 m at 4 kHz (ISO 9613-1, 20 degC, 50 %)."""
HIGHEST_FRACTION: Final = 0.45  # of the rate: a bilinear low-pass closer to half the rate does nothing
BUTTERWORTH_Q: Final = math.sqrt(0.5)


def detection_band(rate_hz: int) -> NDArray[np.float64]:
    """The band in which impulses are looked for: 300 Hz to 5 kHz, or to 0.45 of the rate where that is less.

    Parameters
    ----------
    rate_hz : int
        8,000 to 192,000.

    Returns
    -------
    (2, 5) float64
        A Butterworth high-pass and a Butterworth low-pass of second order, each as b0, b1, b2, a1, a2.
    """
    high_hz = min(BAND_HIGH_HZ, HIGHEST_FRACTION * rate_hz)
    return np.array([high_pass(BAND_LOW_HZ, rate_hz), low_pass(high_hz, rate_hz)])


def high_pass(edge_hz: float, rate_hz: float) -> NDArray[np.float64]:
    """Butterworth high-pass of second order, (5,) float64: b0, b1, b2, a1, a2, with a0 = 1.

    Bilinear transform with the edge pre-warped, so that the response is -3.01 dB exactly at ``edge_hz``; the edge
    lies above 0 and below half of ``rate_hz``.
    """
    k = math.tan(math.pi * edge_hz / rate_hz)
    scale = 1.0 / (1.0 + k / BUTTERWORTH_Q + k * k)
    return np.array([scale, -2.0 * scale, scale, *_poles(k, scale)])


def low_pass(edge_hz: float, rate_hz: float) -> NDArray[np.float64]:
    """Butterworth low-pass of second order; as `high_pass` otherwise."""
    k = math.tan(math.pi * edge_hz / rate_hz)
    scale = 1.0 / (1.0 + k / BUTTERWORTH_Q + k * k)
    return np.array([k * k * scale, 2.0 * k * k * scale, k * k * scale, *_poles(k, scale)])


def _poles(k: float, scale: float) -> tuple[float, float]:
    return 2.0 * (k * k - 1.0) * scale, (1.0 - k / BUTTERWORTH_Q + k * k) * scale
