"""How an impulse lives on in each octave: attacks, decays, tones, textures; nearly blind to a microphone's response."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ: Final = 8_000
LENGTH: Final = 3_200
ONSET: Final = 960  # where in the window the impulse begins
OCTAVES_HZ: Final = ((150.0, 450.0), (450.0, 900.0), (900.0, 1_800.0), (1_800.0, 3_600.0))
FRAME: Final = 40  # 5 ms
FINE: Final = 8  # 1 ms
PITCH_LAGS: Final = (8, 100)  # 1 kHz down to 80 Hz
REPEAT_LAGS: Final = (10, 60)  # of 2 ms: 20 to 120 ms

NAMES: Final = (
    *(f"loss_{part}_{band}_db" for part in (40, 100, 220) for band in "abcd"),  # octaves: fall to 30-50, ... ms
    *(f"rough_{band}_db" for band in "abcd"),  # deviation of 5 ms levels from a straight decay, 30-240 ms
    *(f"delay_{band}_ms" for band in "abcd"),  # centre of the energy of the first 24 ms
    "together",  # whether the octaves' deviations go together: blows do, diffuse tails do not
    "similar",  # correlation of the log spectra of head and tail, less their tilt: an echo is like its sound
    "wander_db",  # deviation of the upper octaves against the lower ones
    "before_db",  # deviation of the 5 ms levels before the onset
    "before_trend_db",  # how much louder the last 30 ms before the onset are than the first
    "pitch_head",  # greatest autocorrelation at 80 Hz to 1 kHz, 0-60 ms
    "pitch_tail",  # the same, 40-240 ms
    "repeats",  # of the envelope, at 20 to 120 ms
    "positive_ms",  # length of the lobe of the greatest magnitude
    "second_lobe_ms",  # ... of the lobe of the other sign after it
    "trough_db",  # the second lobe's height over the first's
    "dense",  # 2 ms frames within 12 dB of the greatest, log
)


def texture(
    spectrum: NDArray[np.complex128], signal: NDArray[np.float64], head: NDArray[np.float64], tail: NDArray[np.float64]
) -> list[float]:
    """Numbers named by `NAMES`, of an impulse at sample `ONSET` of a window.

    Parameters
    ----------
    spectrum : (LENGTH // 2 + 1,) complex128
        Of the window.
    signal : (LENGTH,) float64
        The window in the features' band.
    head, tail : (b,) float64
        Levels of bands of equal width in pitch, dB, of the first 24 ms and of 40 to 240 ms.
    """
    octaves = np.fft.irfft(spectrum * _masks(), LENGTH, axis=1)
    power = np.square(octaves)
    frames = power.reshape(len(OCTAVES_HZ), -1, FRAME).sum(axis=2) / FRAME
    noise = np.sort(frames[:, 4:22], axis=1)[:, 9:10] + 1e-24
    levels = 10.0 * np.log10(frames + 1e-24)
    rest = _straightened(levels[:, 30:72])
    rough = np.sqrt(np.square(rest).sum(axis=1) / rest.shape[1])
    normal = (rest / (rough[:, np.newaxis] + 1e-9)).sum(axis=0)
    apart = 0.5 * (rest[3] + rest[2] - rest[0] - rest[1])
    before = 10.0 * np.log10(frames[:, 4:23].sum(axis=0) + 1e-24)
    return [
        *_losses(np.maximum(frames - noise, 0.1 * noise)),
        *rough.tolist(),
        *_delays(power, noise),
        float((normal @ normal / normal.size - 4.0) / 12.0),
        _alike(_straightened(head[np.newaxis])[0], _straightened(tail[np.newaxis])[0]),
        math.sqrt(float(apart @ apart) / apart.size),
        float(before.std()),
        float(before[-6:].sum() - before[:6].sum()) / 6.0,
        _pitch(signal[ONSET : ONSET + 480]),
        _pitch(signal[ONSET + 320 : ONSET + 1_920]),
        *_envelope(signal),
        *_lobes(signal[ONSET - 16 : ONSET + 120]),
        _density(signal),
    ]


@functools.cache
def _masks() -> NDArray[np.float64]:
    """Gains of the octaves at the lines of a spectrum, with raised-cosine edges."""
    hz = np.arange(LENGTH // 2 + 1) * (RATE_HZ / LENGTH)
    low, high = (np.array([edges[k] for edges in OCTAVES_HZ])[:, np.newaxis] for k in (0, 1))
    up = np.clip((hz - 0.9 * low) / (0.2 * low), 0.0, 1.0)
    down = np.clip((1.1 * high - hz) / (0.2 * high), 0.0, 1.0)
    gains: NDArray[np.float64] = 0.25 * (1.0 - np.cos(np.pi * up)) * (1.0 - np.cos(np.pi * down))
    return gains


def _straightened(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows less their straight lines of least squares."""
    x = np.arange(levels.shape[1]) - (levels.shape[1] - 1) / 2.0
    y = levels - levels.sum(axis=1, keepdims=True) / levels.shape[1]
    rest: NDArray[np.float64] = y - ((y @ x) / (x @ x))[:, np.newaxis] * x
    return rest


def _losses(clean: NDArray[np.float64]) -> list[float]:
    """How far each octave falls from its first 15 ms to later ones."""
    first = clean[:, 24:27].sum(axis=1) / 3.0
    later = np.concatenate([clean[:, a:b].sum(axis=1) / (b - a) for a, b in ((30, 34), (40, 48), (62, 74))])
    losses: list[float] = (10.0 * np.log10(np.tile(first, 3) / later)).tolist()
    return losses


def _delays(power: NDArray[np.float64], noise: NDArray[np.float64]) -> list[float]:
    fine = power[:, ONSET - FINE : ONSET + 24 * FINE].reshape(len(OCTAVES_HZ), -1, FINE).sum(axis=2) / FINE
    fine = np.maximum(fine - noise, 0.0)
    delays: list[float] = (fine @ np.arange(fine.shape[1]) / (fine.sum(axis=1) + 1e-24)).tolist()
    return delays


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b) + 1e-9)


def _pitch(part: NDArray[np.float64]) -> float:
    """Greatest autocorrelation over a period of a voice, horn or bell."""
    size = 1_024 if part.size < 900 else 1_800
    spectrum = np.fft.rfft(part, size)
    r = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)
    first, last = PITCH_LAGS
    return float((r[first:last] / (1.0 - np.arange(first, last) / part.size)).max() / (r[0] + 1e-24))


def _envelope(signal: NDArray[np.float64]) -> list[float]:
    """Greatest autocorrelation of the envelope's logarithm, less its trend."""
    power = np.square(signal[ONSET - 8 : ONSET + 2_232]).reshape(-1, 16).sum(axis=1)
    envelope = np.log(np.sqrt(power) + 0.03 * math.sqrt(float(power.max())) + 1e-24)
    rest = _straightened(envelope[np.newaxis])[0]
    spectrum = np.fft.rfft(rest, 320)
    r = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, 320)
    return [float(r[slice(*REPEAT_LAGS)].max() / (r[0] + 1e-9))]


def _lobes(part: NDArray[np.float64]) -> list[float]:
    """Around the greatest magnitude: lengths of its lobe and of the next, ms, and the ratio of their heights, dB."""
    top = int(np.argmax(np.abs(part)))
    y = part if part[top] > 0.0 else -part
    below = np.flatnonzero(y <= 0.0)
    left = int(below[below < top][-1]) if (below < top).any() else -1
    right = int(below[below > top][0]) if (below > top).any() else y.size
    above = np.flatnonzero(y[right:] > 0.0)
    end = right + int(above[0]) if above.size else y.size
    trough = float(-y[right:end].min()) if end > right else 0.0
    ratio = max(trough, 0.0) / (float(y[top]) + 1e-24)
    return [(right - left - 1) * 1e3 / RATE_HZ, (end - right) * 1e3 / RATE_HZ, 20.0 * math.log10(ratio + 1e-3)]


def _density(signal: NDArray[np.float64]) -> float:
    tops = np.abs(signal[ONSET - 8 : ONSET + 2_232]).reshape(-1, 16).max(axis=1)
    return math.log1p(float(np.count_nonzero(tops > 0.25 * tops.max())))
