"""The arrival of one impulse: when it first came, how surely, how loud."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic import kernels, timing_kernels
from acoustic.gate import LOWEST_FLOOR
from acoustic.shock import is_shock_wave
from acoustic.template import fit_front
from acoustic.uncertainty import fitted_sigma_s, risen_sigma_s

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRE_S: Final = 0.15
"""What an arrival needs of the time before its trigger."""
POST_S: Final = 0.3
"""What an arrival and its features need of the time after it."""
SEARCH_BACK_S: Final = 0.0015
SEARCH_FORWARD_S: Final = 0.012
RISE_FRACTION: Final = 0.3  # of the peak; .25 to .35 repeat best on live fire
RISE_OVER_NOISE: Final = 5.0
NOISE_BLOCK_S: Final = 0.005

FIT_BACK_S: Final = 0.0005
FIT_FORWARD_S: Final = 0.0003
FIT_AFTER_PEAK_S: Final = 0.0001
DIM_DB: Final = 17.0  # below it noise crosses the level of the first rise too, see `timing_kernels.first_rise`
DIM_BACK_S: Final = 0.001
EXPLAINED: Final = 0.9
MISFIT: Final = 4.0  # settled on live fire: fits worse than both repeat no better than the first rise

BIAS_RATES_HZ: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 32_000, 44_100)
BIAS_US: Final = (-48.0, -35.0, -24.0, -7.0, 5.0, 10.0, 12.0)

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
    fitted : bool
        The onset is that of a template; otherwise that of the first rise.
    shock_wave : bool
        It is the N-wave of a bullet: no blast, and its onset not that of the shot.
    """

    index: float
    sigma_s: float
    snr_db: float
    peak: float
    clipped: bool
    fitted: bool = False
    shock_wave: bool = False


def find_arrival(samples: NDArray[np.float32], filtered: NDArray[np.float32], trigger: int, rate_hz: int) -> Arrival:
    """The first arrival of the impulse that fired at ``trigger``.

    The band-passed signal first rises through 0.3 of the greatest peak within 12 ms, and through five times the noise.
    Around that place the template of a blast is fitted. Where it fits, the onset is the template's; where it does not,
    as among the echoes of a street, the onset is the place of the first rise less `bias_s`.

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
    back, forward = round(SEARCH_BACK_S * rate_hz), round(SEARCH_FORWARD_S * rate_hz)
    crossing, peak, noise, slope = timing_kernels.first_rise(
        filtered, trigger, back, forward, RISE_FRACTION, RISE_OVER_NOISE, round(NOISE_BLOCK_S * rate_hz)
    )
    noise = max(noise, LOWEST_FLOOR)
    snr_db = 20.0 * math.log10(max(peak, LOWEST_FLOOR) / noise)
    begin, end = crossing - FIT_BACK_S * rate_hz, crossing + FIT_FORWARD_S * rate_hz
    if snr_db < DIM_DB:  # the crossing may be the noise's own: look as far as the peak, and let the whole blast tell
        searched = np.abs(filtered[max(trigger - back, 1) : trigger + forward])
        peak_at = max(trigger - back, 1) + int(np.argmax(searched))
        begin, end = crossing - DIM_BACK_S * rate_hz, max(end, peak_at + FIT_AFTER_PEAK_S * rate_hz)
    front = fit_front(filtered, trigger, begin, end, rate_hz)
    if front is not None and (front.explained >= EXPLAINED or front.misfit <= MISFIT):
        onset, sigma_s = front.index, fitted_sigma_s(front.sigma / rate_hz, front.misfit)
    else:
        front = None
        onset, sigma_s = crossing - bias_s(rate_hz) * rate_hz, risen_sigma_s(noise / max(slope, LOWEST_FLOOR), rate_hz)
    onset = max(onset, 0.0)
    first = math.floor(onset)
    body = samples[first : first + forward].astype(np.float64)
    before = samples[:trigger].astype(np.float64)
    return Arrival(
        index=onset,
        sigma_s=sigma_s,
        snr_db=snr_db,
        peak=float(np.max(np.abs(body - before.mean()))),
        clipped=is_clipped(body),
        fitted=front is not None,
        shock_wave=is_shock_wave(samples, onset, rate_hz),
    )


def bias_s(rate_hz: int) -> float:
    """How late the crossing comes after the onset, s; negative where it comes early.

    Measured on simulated Friedlander blasts of 0.5 to 3 ms, 50 to 800 m away in streets, at an SNR above 20 dB. It is
    the delay of the detection band and of the rise to 0.3, less what a converter's anti-alias filter spreads ahead of
    the onset, which rules below 16 kHz. Onsets are those of sound at the speed of `Air`.
    """
    return float(np.interp(rate_hz, BIAS_RATES_HZ, BIAS_US)) * 1e-6


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
