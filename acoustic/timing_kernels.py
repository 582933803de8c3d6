"""The loops that time an impulse: plain numbers and arrays in, numbers out. Slow twins are in tests/naive.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWNS: Final = 6  # of a front, see `polish`
SEPARATE: Final = 0.99  # two fronts whose correlation, squared, is greater are one


@numba.njit(cache=True, nogil=True)
def first_rise(
    filtered: NDArray[np.float32], trigger: int, back: int, forward: int, fraction: float, over: float, block: int
) -> tuple[float, float, float, float]:
    """Where an impulse first rises, between samples.

    Parameters
    ----------
    filtered : (n,) float32
        A window of the band-passed signal.
    trigger : int
        Where in it the frame that fired begins; above 0.
    back, forward : int
        Samples searched before and after ``trigger``.
    fraction : float
        Of the peak: the crossing is where the magnitude first passes it.
    over : float
        The crossing is this far above the noise too, or at 0.7 of the peak where that is less.
    block : int
        The noise is the median over blocks of so many samples before the search, in power.

    Returns
    -------
    crossing, peak, noise, slope : float
        Index; greatest magnitude searched; root mean square of the noise; rise for each sample at the crossing.
    """
    start = max(trigger - back, 1)
    stop = min(trigger + forward, filtered.size)
    blocks = np.empty(max((start - 1) // block, 1))
    blocks[0] = 0.0
    for k in range((start - 1) // block):
        power = 0.0
        for i in range(start - (k + 1) * block, start - k * block):
            power += np.float64(filtered[i]) * np.float64(filtered[i])
        blocks[k] = power / block
    noise = math.sqrt(np.median(blocks))
    peak = 0.0
    for i in range(start, stop):
        peak = max(peak, abs(np.float64(filtered[i])))
    level = max(fraction * peak, min(over * noise, 0.7 * peak))
    i = start
    while i < stop - 1 and abs(np.float64(filtered[i])) < level:
        i += 1
    sign = 1.0 if filtered[i] >= 0.0 else -1.0
    here, before = sign * np.float64(filtered[i]), sign * np.float64(filtered[i - 1])
    slope = here - before
    back_by = (here - level) / slope if before < level < here else 0.0
    return i - back_by, peak, noise, slope


@numba.njit(cache=True, nogil=True)
def prediction(noise: NDArray[np.float32], order: int, floor: float) -> NDArray[np.float64]:
    """The filter that makes noise white: its error of linear prediction (Levinson and Durbin).

    Parameters
    ----------
    noise : (n,) float32
    order : int
        Samples that it looks back.
    floor : float
        White noise added first, of the power: what lies below it is not lifted.

    Returns
    -------
    (order + 1,) float64
        Coefficients, the first of them 1.
    """
    lags = np.zeros(order + 1)
    for k in range(order + 1):
        for i in range(k, noise.size):
            lags[k] += np.float64(noise[i]) * np.float64(noise[i - k])
    lags[0] = lags[0] * (1.0 + floor) + 1e-20
    a, old = np.zeros(order + 1), np.zeros(order + 1)
    a[0], error = 1.0, lags[0]
    for i in range(1, order + 1):
        total = lags[i]
        for j in range(1, i):
            total += a[j] * lags[i - j]
        reflection = -total / error
        old[:] = a
        for j in range(1, i + 1):
            a[j] = old[j] + reflection * old[i - j]
        error *= 1.0 - reflection * reflection
    return a


@numba.njit(cache=True, nogil=True)
def whitened(fronts: NDArray[np.float64], a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fronts (k, steps, n) through the filter of `prediction`, from rest."""
    out = np.empty(fronts.shape)
    for k in range(fronts.shape[0]):
        for p in range(fronts.shape[1]):
            for i in range(fronts.shape[2]):
                total = 0.0
                for j in range(min(a.size, i + 1)):
                    total += a[j] * fronts[k, p, i - j]
                out[k, p, i] = total
    return out


@numba.njit(cache=True, nogil=True)
def _alone(c: NDArray[np.float64], places: int, energy: float, row: NDArray[np.float64]) -> None:
    """Note where one front explains most."""
    for j in range(places):
        gain = c[j] * c[j] / energy
        if gain > row[0]:
            row[0], row[1], row[2], row[3], row[4] = gain, j, 0.0, c[j] / energy, 0.0


@numba.njit(cache=True, nogil=True)
def _with_echo(
    c: NDArray[np.float64], places: int, energy: float, delay: int, rho: float, row: NDArray[np.float64]
) -> None:
    """Note where a front and its like, ``delay`` later and no stronger, explain more than what is noted."""
    det = energy * energy - rho * rho
    for j in range(places):
        sign = 1.0 if c[j] >= 0.0 else -1.0
        here, there = sign * c[j], sign * c[j + delay]
        b = (energy * there - rho * here) / det
        a = (energy * here - rho * there) / det
        if b > a:
            a = (here + there) / (2.0 * (energy + rho))
            b = a
        gain = 2.0 * (a * here + b * there) - energy * (a * a + b * b) - 2.0 * rho * a * b
        if b > 0.0 and gain > row[0]:
            row[0], row[1], row[2], row[3], row[4] = gain, j, delay, sign * a, b / a


@numba.njit(cache=True, nogil=True)
def match(
    z: NDArray[np.float64], fronts: NDArray[np.float64], lags: int, delays: NDArray[np.int64], late: int
) -> NDArray[np.float64]:
    """Where each front fits best: alone, with an early echo off the ground behind it, and with a late one.

    Parameters
    ----------
    z : (m,) float64
        White signal. A front's place p has its first sample at ``z[p // steps]``.
    fronts : (k, steps, n) float64
        White templates.
    lags : int
        Whole samples within which the front may begin.
    delays : (d,) int64
        Of the echo, in steps; ascending, above 0. ``m > lags + max(delays) // steps + n``.
    late : int
        The first delay that is late, steps.

    Returns
    -------
    (k, 3, 5) float64
        Power explained; steps from the first place; delay in steps; amplitude with its sign; echo over amplitude, 0 to
        1. A row of noughts where no echo helps.
    """
    count, steps, n = fronts.shape
    places = lags * steps
    c = np.empty(places + delays[-1] + 1)
    found = np.zeros((count, 3, 5))
    for k in range(count):
        energy = 0.0
        for i in range(n):
            energy += fronts[k, 0, i] * fronts[k, 0, i]
        for j in range(c.size):
            total = 0.0
            for i in range(n):
                total += z[j // steps + i] * fronts[k, j % steps, i]
            c[j] = total
        _alone(c, places, energy, found[k, 0])
        for d in delays:
            rho = 0.0
            for i in range(n - d // steps):
                rho += fronts[k, 0, i + d // steps] * fronts[k, d % steps, i]
            if rho * rho < SEPARATE * energy * energy:
                _with_echo(c, places, energy, d, rho, found[k, 1 if d < late else 2])
    return found


@numba.njit(cache=True, nogil=True)
def _column(
    out: NDArray[np.float64], fronts: NDArray[np.float64], k: int, place: int, echo: float, delay: int, gain: float
) -> None:
    """Add a front and its echo to ``out``."""
    steps, n = fronts.shape[1], fronts.shape[2]
    for part in range(2 if echo > 0.0 else 1):
        at = place + part * delay
        m, p = at // steps, at % steps
        scale = gain * (echo if part else 1.0)
        for i in range(max(-m, 0), min(n, out.size - m)):
            out[m + i] += scale * fronts[k, p, i]


@numba.njit(cache=True, nogil=True)
def _columns(
    out: NDArray[np.float64], fronts: NDArray[np.float64], ranges: int, template: int, found: NDArray[np.float64]
) -> None:
    """The blast that `match` found, out[0], and how it changes with each unknown."""
    place, delay, amplitude, echo = max(int(found[1]), 1), int(found[2]), found[3], found[4]
    _column(out[0], fronts, template, place, echo, delay, amplitude)
    _column(out[1], fronts, template, place + 1, echo, delay, 0.5 * amplitude)
    _column(out[1], fronts, template, place - 1, echo, delay, -0.5 * amplitude)
    if delay > 0:
        _column(out[2], fronts, template, place + delay, 0.0, 0, amplitude)
        _column(out[3], fronts, template, place + delay + 1, 0.0, 0, 0.5 * echo * amplitude)
        _column(out[3], fronts, template, place + delay - 1, 0.0, 0, -0.5 * echo * amplitude)
    length, distance = template // ranges, template % ranges
    low, high = max(length - 1, 0), min(length + 1, fronts.shape[0] // ranges - 1)
    _column(out[4], fronts, high * ranges + distance, place, echo, delay, amplitude / (high - low))
    _column(out[4], fronts, low * ranges + distance, place, echo, delay, -amplitude / (high - low))
    low, high = max(distance - 1, 0), min(distance + 1, ranges - 1)
    _column(out[5], fronts, length * ranges + high, place, echo, delay, amplitude / (high - low))
    _column(out[5], fronts, length * ranges + low, place, echo, delay, -amplitude / (high - low))


@numba.njit(cache=True, nogil=True)
def polish(
    z: NDArray[np.float64],
    fronts: NDArray[np.float64],
    ranges: int,
    template: int,
    found: NDArray[np.float64],
    span: tuple[int, int],
    noise: float,
    prior: NDArray[np.float64],
) -> tuple[float, float, float, float]:
    """One step of Gauss and Newton from the best place of a template, in all that is unknown of a blast.

    Parameters
    ----------
    z, fronts
        As for `match`; templates are ordered by length of the blast, then by range.
    ranges : int
        How many; at least two lengths and two ranges.
    template : int
    found : (5,) float64
        The template's row from `match`.
    span : (begin, end)
        The samples of ``z`` that are to be explained.
    noise : float
        Power of the noise in ``z``, above 0.
    prior : (6,) float64
        Standard deviations, before seeing anything, of: strength (of the amplitude), place (steps), echo (of the
        amplitude), its delay (steps), length and range of the blast (places in the bank).

    Returns
    -------
    moved, sigma, left, power : float
        Steps from the place; its standard deviation in steps; mean square left over and mean square, in the span.
    """
    columns = np.zeros((UNKNOWNS, z.size))
    _columns(columns, fronts, ranges, template, found)
    begin, end = max(span[0], 0), min(span[1], z.size)
    system = np.zeros((UNKNOWNS, UNKNOWNS + 2))  # normal matrix, misfit, and the unit vector of the place
    system[1, UNKNOWNS + 1] = 1.0
    for u in range(UNKNOWNS):
        for i in range(begin, end):
            system[u, UNKNOWNS] += columns[u, i] * (z[i] - columns[0, i])
            for v in range(UNKNOWNS):
                system[u, v] += columns[u, i] * columns[v, i]
        system[u, u] += noise / prior[u] ** 2
    for u in range(UNKNOWNS):  # Gauss and Jordan; the prior keeps every pivot above nought
        system[u] /= system[u, u]
        for v in range(UNKNOWNS):
            if v != u:
                system[v] -= system[v, u] * system[u]
    left, power = 0.0, 0.0
    for i in range(begin, end):
        rest = z[i] - columns[0, i]
        for u in range(UNKNOWNS):
            rest -= system[u, UNKNOWNS] * columns[u, i]
        left += rest * rest
        power += z[i] * z[i]
    moved = system[1, UNKNOWNS] + max(int(found[1]), 1) - int(found[1])
    return moved, math.sqrt(system[1, UNKNOWNS + 1] * noise), left / (end - begin), power / (end - begin)


@numba.njit(cache=True, nogil=True)
def likeliest_wave(
    heard: NDArray[np.float64], waves: NDArray[np.float64], lengths: NDArray[np.int64], lags: int
) -> float:
    """The greatest correlation coefficient of any wave with what is heard, from any of the first ``lags`` samples on.

    ``waves`` is (k, n), of which the first ``lengths[k]`` samples count; ``heard`` has at least ``lags - 1 + n``.
    """
    best = 0.0
    for k in range(waves.shape[0]):
        own = 0.0
        for i in range(lengths[k]):
            own += waves[k, i] * waves[k, i]
        for lag in range(lags):
            cross, other = 0.0, 0.0
            for i in range(lengths[k]):
                cross += heard[lag + i] * waves[k, i]
                other += heard[lag + i] * heard[lag + i]
            if other > 0.0:
                best = max(best, cross / math.sqrt(own * other))
    return best


@numba.njit(cache=True, nogil=True)
def correlations(heard: NDArray[np.float64], template: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation coefficient of a template with what is heard, from every sample on where it fits, (m - n + 1,)."""
    n = template.size
    own = 0.0
    for i in range(n):
        own += template[i] * template[i]
    out = np.zeros(heard.size - n + 1)
    for lag in range(out.size):
        cross, other = 0.0, 0.0
        for i in range(n):
            cross += heard[lag + i] * template[i]
            other += heard[lag + i] * heard[lag + i]
        if own > 0.0 and other > 0.0:
            out[lag] = cross / math.sqrt(own * other)
    return out
