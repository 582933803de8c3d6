"""Templates: what the front of a muzzle blast looks like in the detection band, and where it fits best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from acoustic import timing_kernels
from acoustic.air import Air
from acoustic.filters import detection_band
from acoustic.propagation import absorption_exponent
from acoustic.spectra import band_limit, friedlander

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTHS_S: Final = (0.0005, 0.001, 0.002, 0.004)
RANGES_M: Final = (40.0, 90.0, 180.0, 360.0, 700.0, 1200.0)
BEFORE_S: Final = 0.0004
AFTER_S: Final = 0.0016
STEP_S: Final = 12e-6  # finer steps change nothing: the last one is `polish`
ECHOES_S: Final = tuple(0.00005 * 1.2**k for k in range(19))
"""Delays of the echo off the ground: 50 us to 1.3 ms. Beyond, it is behind the front that is looked at."""

LATE_ECHO_S: Final = 0.00025  # earlier ones look like air: both stay in the running

NOISE_S: Final = 0.1
NOISE_END_S: Final = 0.0025
ORDER: Final = 8
NOISE_FLOOR: Final = 0.01  # 20 dB below the noise in the band nothing is believed
LEAST_NOISE: Final = 24  # samples

PLACE_PRIOR_S: Final = 50e-6
FURTHEST_S: Final = 30e-6
ECHO_DELAY_PRIOR: Final = 0.12  # of the delay: the steps of `ECHOES_S`
GROUND_ECHO: Final = (0.6, 0.25)  # middle and spread of what ground reflects, as pressures: lawn .3, asphalt .95
GROUND_DELAY_S_M: Final = (0.052, 0.7)  # delay times range, 2 h h' / c for heights of 1.5 and 6 m; spread of its log
NO_GROUND: Final = 2.0
NOT_GROUND: Final = 5.0  # any echo is possible: minus the logarithm of how seldom it is none of the ground
UNLIKELY: Final = 40.0  # times the noise that a template explains less than the best one: e^-20


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Blasts as the detection band shows them, each at several places between two samples.

    Parameters
    ----------
    fronts : (k, steps, n) float64
        Template, place between samples, sample, of unit energy. At place p the onset lies ``before + p / steps``
        samples after the first. Ordered by `LENGTHS_S`, then by `RANGES_M`.
    before : int
        Samples ahead of the onset.
    """

    fronts: NDArray[np.float64]
    before: int

    @property
    def steps(self) -> int:
        """Places between two samples."""
        return int(self.fronts.shape[1])


@dataclass(frozen=True, slots=True)
class Front:
    """Where a blast's front fits best.

    Parameters
    ----------
    index, sigma : float
        In samples; the standard deviation has in it what is unknown of the blast: strength, length, range, ground.
    explained : float
        Share of the power over the front's 2 ms that the fit explains, 0 to 1.
    misfit : float
        Mean square left over, in units of the noise's.
    """

    index: float
    sigma: float
    explained: float
    misfit: float


@lru_cache(maxsize=8)
def bank(rate_hz: int) -> Bank:
    """The templates for a rate: Friedlander's wave, absorption of ISO 9613-1 at 15 degC and 50 %, detection band."""
    steps = math.ceil(1.0 / (rate_hz * STEP_S))
    before, after = math.ceil(BEFORE_S * rate_hz), math.ceil(AFTER_S * rate_hz)
    count = 1 << math.ceil(math.log2(0.1 * rate_hz))
    lead = count // 2  # room for what an ideal band limit rings ahead of the onset
    frequency_hz = np.asarray(np.fft.rfftfreq(count, 1.0 / rate_hz))
    s = 2j * math.pi * frequency_hz
    shaping = band_limit(frequency_hz, rate_hz) * _response(rate_hz, frequency_hz)
    exponent = absorption_exponent(Air(), rate_hz, count)
    fronts = np.empty((len(LENGTHS_S) * len(RANGES_M), steps, before + after))
    for k, front in enumerate(fronts):
        blast = friedlander(1.0, LENGTHS_S[k // len(RANGES_M)])(s) * np.exp(-exponent * RANGES_M[k % len(RANGES_M)])
        for p in range(steps):
            wave = np.fft.irfft(blast * shaping * np.exp(-s * (lead + p / steps) / rate_hz), count)
            front[p] = wave[lead - before : lead + after]
    fronts /= np.sqrt(np.square(fronts[:, :1]).sum(axis=2, keepdims=True))
    fronts.flags.writeable = False
    return Bank(fronts, before)


def fit_front(filtered: NDArray[np.float32], trigger: int, begin: float, end: float, rate_hz: int) -> Front | None:
    """Fit a blast and its echo off the ground to what begins between two places; None where nothing fits.

    Parameters
    ----------
    filtered : (n,) float32
        A window of the band-passed signal.
    trigger : int
        The noise is that of the 0.1 s up to 2.5 ms before it.
    begin, end : float
        Samples between which the onset lies.
    rate_hz : int
        Of the window.

    Notes
    -----
    Noise is made white by its own linear prediction; `timing_kernels.match` then tries every template at every place
    and delay of the echo, and `timing_kernels.polish` takes one step of Gauss and Newton in all unknowns from the
    best place of each template. What is returned is the mean over templates, weighted by their likelihood and by how
    likely such a ground is at such a range: mean and spread of the onset's posterior. The noise counts as strong as
    it is along the template's slope, which is what moves an onset (Kay 1993, chapter 3: N over the sum of the squared
    slopes is the least variance).
    """
    templates = bank(rate_hz)
    quiet_to = trigger - round(NOISE_END_S * rate_hz)
    quiet = filtered[max(quiet_to - round(NOISE_S * rate_hz), 0) : max(quiet_to, 0)]
    first, lags = math.floor(begin), math.ceil(end) - math.floor(begin)
    delays = _delays(rate_hz, templates.steps)
    length = templates.fronts.shape[2]
    start, count = first - templates.before, lags + int(delays[-1]) // templates.steps + length + 2
    if quiet.size < LEAST_NOISE + length or start < ORDER or start + count > filtered.size or lags < 1:
        return None
    whitener = timing_kernels.prediction(quiet, ORDER, NOISE_FLOOR)
    fronts = timing_kernels.whitened(templates.fronts, whitener)
    z = _white(filtered[start - ORDER : start + count], whitener)
    late = round(LATE_ECHO_S * rate_hz * templates.steps)
    found = timing_kernels.match(z, fronts, lags, delays, late).reshape(-1, 5)
    best = int(np.argmax(found[:, 0]))
    slope = np.gradient(fronts[best // 3, 0])
    noise = float(np.mean(np.square(np.correlate(_white(quiet, whitener), slope, "valid"))) / np.sum(np.square(slope)))
    if not (noise > 0.0 and found[best, 0] > 0.0):
        return None
    posterior = _posterior(z, fronts, found, best, noise, templates.steps, rate_hz)
    if posterior is None:
        return None
    place, sigma, left, power = posterior
    return Front(
        index=first + place / templates.steps,
        sigma=sigma / templates.steps,
        explained=max(1.0 - left / power, 0.0),
        misfit=left / noise,
    )


def _posterior(
    z: NDArray[np.float64],
    fronts: NDArray[np.float64],
    found: NDArray[np.float64],
    best: int,
    noise: float,
    steps: int,
    rate_hz: int,
) -> tuple[float, float, float, float] | None:
    """Mean and spread of the place over the templates that may be it; what the likeliest leaves, and the power.

    None where no template leads to a place nearby, as in recordings whose low pass is another than ours.
    """
    begin = int(found[best, 1]) // steps
    span = (begin, begin + fronts.shape[2])
    tried = []
    for k in np.flatnonzero(found[:, 0] >= found[best, 0] - UNLIKELY * noise):
        place, delay = int(found[k, 1]), int(found[k, 2])
        prior = np.array([1.0, PLACE_PRIOR_S * rate_hz * steps, 0.5, max(ECHO_DELAY_PRIOR * delay, 1.0), 0.5, 0.5])
        step = timing_kernels.polish(z, fronts, len(RANGES_M), int(k) // 3, found[k], span, noise, prior)
        if abs(step[0]) > FURTHEST_S * rate_hz * steps:
            continue  # so far a blast is no straight line: unknowns that nearly cancel have run away
        likely = _ground(RANGES_M[int(k) // 3 % len(RANGES_M)], delay / (steps * rate_hz), found[k, 4])
        tried.append((place + step[0], *step[1:], likely))
    if not tried:
        return None
    places, sigmas, lefts, powers, ground = np.array(tried).T
    rest = max(noise, lefts.min())  # misfit is noise of another kind, and moves the onset too
    weights = ground - lefts * fronts.shape[2] / (2.0 * rest)
    weights = np.exp(weights - weights.max())
    weights /= weights.sum()
    mean = float(weights @ places)
    variance = float(weights @ (np.square(sigmas) * rest / noise + np.square(places - mean)))
    return mean, math.sqrt(variance), float(lefts.min()), float(powers[0])


def _ground(range_m: float, delay_s: float, echo: float) -> float:
    """The logarithm of how likely an echo is beforehand, where the ground lies under muzzle and microphone."""
    if delay_s == 0.0:
        return -NO_GROUND
    strength = (echo - GROUND_ECHO[0]) / GROUND_ECHO[1]
    lateness = math.log(delay_s * range_m / GROUND_DELAY_S_M[0]) / GROUND_DELAY_S_M[1]
    return -min(0.5 * (strength**2 + lateness**2), NOT_GROUND)


@lru_cache(maxsize=8)
def _delays(rate_hz: int, steps: int) -> NDArray[np.int64]:
    return np.unique(np.round(np.array(ECHOES_S) * (rate_hz * steps)).astype(np.int64))


def _white(samples: NDArray[np.float32], whitener: NDArray[np.float64]) -> NDArray[np.float64]:
    """The samples made white, but for the first `ORDER` of them."""
    return np.convolve(samples.astype(np.float64), whitener, "valid")


def _response(rate_hz: int, frequency_hz: NDArray[Any]) -> NDArray[Any]:
    """What the detection band makes of each frequency, (n,) complex."""
    z = np.exp(-2j * math.pi * frequency_hz / rate_hz)
    response: NDArray[Any] = np.ones(len(frequency_hz), dtype=np.complex128)
    for b0, b1, b2, a1, a2 in detection_band(rate_hz):
        response *= (b0 + (b1 + b2 * z) * z) / (1.0 + (a1 + a2 * z) * z)
    return response
