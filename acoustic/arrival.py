"""The arrival of one impulse: when it first came, how surely, how loud."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic import kernels
from acoustic.gate import LOWEST_FLOOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRE_S: Final = 0.15
"""What an arrival needs of the time before its trigger."""
POST_S: Final = 0.3
"""What an arrival and its features need of the time after it."""
SEARCH_BACK_S: Final = 0.0015
SEARCH_FORWARD_S: Final = 0.012
RISE_FRACTION: Final = 0.3  # of the peak; .25 to .35 repeat best on live fire
NOISE_BLOCK_S: Final = 0.005

BIAS_RATES_HZ: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 32_000, 44_100)
BIAS_US: Final = (-34.0, -21.0, -10.0, 7.0, 19.0, 24.0, 26.0)
INTERPOLATION_SAMPLES: Final = 0.06
UNKNOWN_SHAPE_S: Final = 6e-6

STREET_OUTLIERS: Final = 0.05  # first arrivals on live fire that are over 3 to 5 ms late
MOST_ECHO: Final = 0.95
QUICK_S: Final = 0.1
QUICK_ECHO: Final = 0.6
ECHO_MEMORY_S: Final = 1.0

FULL_SCALE: Final = kernels.FULL_SCALE


@dataclass(frozen=True, slots=True)
class Arrival:
    """When one impulse arrived in a window of samples, and how surely.

    Parameters
    ----------
    index : float
        In samples from the start of the window, below the sample.
    sigma_s, snr_db : float
        As in `acoustic.pick.Pick`.
    peak : float
        Greatest departure of the unfiltered samples from their mean before the impulse, of full scale.
    clipped : bool
        Samples stood still at an extreme.
    """

    index: float
    sigma_s: float
    snr_db: float
    peak: float
    clipped: bool


def find_arrival(samples: NDArray[np.float32], filtered: NDArray[np.float32], trigger: int, rate_hz: int) -> Arrival:
    """The first arrival of the impulse that fired at ``trigger``.

    The band-passed signal first rises through 0.3 of the greatest peak within 12 ms. Against the true onset of
    simulated blasts that is late by `bias_s`, which is taken off.

    Parameters
    ----------
    samples, filtered : (n,) float32
        A window of the signal, as it came and in the detection band; 0.15 s before the trigger and 0.3 s after it
        where the stream has them.
    trigger : int
        Where in the window the frame that fired begins; above 0.
    rate_hz : int
        Of the window.
    """
    crossing, peak, noise, slope = kernels.first_arrival(
        filtered,
        trigger,
        round(SEARCH_BACK_S * rate_hz),
        round(SEARCH_FORWARD_S * rate_hz),
        RISE_FRACTION,
        round(NOISE_BLOCK_S * rate_hz),
    )
    noise = max(noise, LOWEST_FLOOR)
    snr_db = 20.0 * math.log10(max(peak, LOWEST_FLOOR) / noise)
    onset = max(crossing - bias_s(rate_hz) * rate_hz, 0.0)
    first = math.floor(onset)
    body = samples[first : first + round(SEARCH_FORWARD_S * rate_hz)].astype(np.float64)
    before = samples[:trigger].astype(np.float64)
    return Arrival(
        index=onset,
        sigma_s=sigma_s(noise / max(slope, LOWEST_FLOOR), rate_hz),
        snr_db=snr_db,
        peak=float(np.max(np.abs(body - before.mean()))),
        clipped=is_clipped(body),
    )


def bias_s(rate_hz: int) -> float:
    """How late the crossing comes after the onset, s; negative where it comes early.

    Measured on simulated Friedlander blasts of 0.5 to 2 ms without air, at an SNR above 25 dB. It is the delay of the
    detection band and of the rise to 0.3, less what a converter's anti-alias filter spreads ahead of the onset, which
    rules below 16 kHz. Air takes the front off a blast: at minimum phase the crossing then comes another 0.15 ms late
    at 300 m, 0.28 ms at 800 m, against sound of the highest frequencies. Sound of a few kilohertz outruns the
    zero-frequency speed that travel times are reckoned with by about as much, so nothing is taken off for it.
    """
    return float(np.interp(rate_hz, BIAS_RATES_HZ, BIAS_US)) * 1e-6


def sigma_s(noise_over_slope: float, rate_hz: int) -> float:
    """One standard deviation of an arrival that is no outlier, s.

    Parameters
    ----------
    noise_over_slope : float
        Root mean square of the noise over the rise for each sample at the crossing: how far, in samples, the noise
        moves it. SNR and band width are both in it.
    rate_hz : int

    Notes
    -----
    Settled on 3,900 simulated blasts at 8 to 48 kHz and 50 to 800 m: 90 % intervals hold 85 to 96 % above 18 dB.
    What remains without noise is the interpolation between samples and the unknown length of the blast.
    """
    return math.hypot(noise_over_slope / rate_hz, INTERPOLATION_SAMPLES / rate_hz, UNKNOWN_SHAPE_S)


def outlier_probability(snr_db: float, drop_db: float = -math.inf, delay_s: float = math.inf) -> float:
    """Probability that a time is not the onset of a direct sound.

    Parameters
    ----------
    snr_db : float
        Below 19 dB the first crossing is often the noise's own: that share was settled on simulated blasts.
    drop_db : float
        How far its peak is below the loudest within the second before; minus infinity where there was none.
    delay_s : float
        How long after that loudest one it came.

    Notes
    -----
    Live fire: of 3,700 impulses 3 dB or more below another one of the last second 0.3 % were tagged as direct; of
    the equally loud ones a third, but of those within 0.1 s none. Automatic fire follows itself that fast and two
    shooters may differ by that much, so neither is ever quite ruled out; the street's own share of late first
    arrivals is `STREET_OUTLIERS`.
    """
    noise = 0.55 / (1.0 + math.exp((snr_db - 17.9) / 0.7))
    echo = MOST_ECHO / (1.0 + math.exp(-max(min(drop_db - 2.5, 40.0), -40.0) / 1.0))
    if delay_s < QUICK_S and drop_db > -6.0:
        echo = max(echo, QUICK_ECHO)
    return 1.0 - (1.0 - noise) * (1.0 - echo) * (1.0 - STREET_OUTLIERS)


def is_clipped(samples: NDArray[np.float64]) -> bool:
    """Whether samples stand still at an extreme: two in a row at full scale, or four at a lower ceiling."""
    magnitude = np.abs(samples)
    peak = magnitude.max()
    at_peak = magnitude >= peak * (1.0 - 1e-6)
    wanted = 2 if peak >= FULL_SCALE else 4
    if peak < FULL_SCALE / 4 or np.count_nonzero(at_peak) < wanted:
        return False
    edges = np.flatnonzero(np.diff(np.concatenate(([0], at_peak.view(np.int8), [0]))))
    return bool((edges[1::2] - edges[::2]).max() >= wanted)
