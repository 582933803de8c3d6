"""Features of one impulse: a named vector of finite numbers, much the same whatever the microphone, rate and level."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.texture import LENGTH, OCTAVES_HZ, texture
from acoustic.texture import NAMES as TEXTURE

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMMON_RATE_HZ: Final = 8_000
"""Every signal is brought to this rate first: what only some recorders hear cannot be asked of all."""
BAND_HZ: Final = (100.0, 3_600.0)
EDGE_HZ: Final = (40.0, 300.0)  # widths of the raised-cosine edges of that band
BEFORE_S: Final = 0.12
AFTER_S: Final = 0.28
TAPER_S: Final = 0.004
SETTLED_S: Final = 0.02  # left out at the start of the window: the taper

STEPS_HZ: Final = tuple(200.0 * 17.5 ** (k / 14.0) for k in range(15))
HEAD_S: Final = (-0.001, 0.024)
TAIL_S: Final = (0.04, 0.24)

NAMES: Final = (
    "snr_db",  # peak over the noise before, 1 ms frames
    "rise_db",  # time from a tenth to nine tenths of the greatest magnitude, 10 log10(ms)
    "width_db",  # time over half of the greatest magnitude around it, 10 log10(ms)
    "peak_delay_db",  # time from the onset to the greatest magnitude, 10 log10(ms + 1)
    "crest_5_db",  # greatest magnitude over root mean square in the first 5 ms
    "crest_50_db",
    "crest_250_db",
    "decay_10_db",  # fall from the first 5 ms to 10-20 ms
    "decay_40_db",  # ... to 30-50 ms
    "decay_100_db",  # ... to 80-120 ms
    "decay_220_db",  # ... to 190-250 ms
    "early_db",  # energy of the first 15 ms over that of 15-250 ms
    "centre_db",  # centre of the energy in time, 10 log10(ms)
    "ramp_db",  # energy of the 20 ms before over that of the 20 ms after
    "second_db",  # greatest magnitude 20-250 ms after, against the first
    "bursts",  # 5 ms frames from 20 ms on that are within 12 dB of the first, and local maxima
    "polarity",  # greatest of one sign over greatest of the other in the first 3 ms, dB, without its sign
    "crossings_head",  # zero crossings each ms, first 10 ms
    "crossings_tail",  # the same, 40-240 ms
    "kurtosis",  # of the samples of 0-250 ms, log
    "roughness",  # standard deviation of the tail's 5 ms levels around a straight decay, dB
    "tilt_low_db",  # head: 150-450 Hz over 450-900 Hz
    "tilt_mid_db",  # head: 450-900 over 900-1800
    "tilt_high_db",  # head: 900-1800 over 1800-3600
    "dulling_low_db",  # how much more of its level each octave loses from head to tail than 450-900 Hz does
    "dulling_mid_db",
    "dulling_high_db",
    "flatness_head_db",  # geometric over arithmetic mean of the power spectrum, 300-3400 Hz
    "flatness_tail_db",
    "line_tail_db",  # strongest line of the tail over its median
    "thump_db",  # head below 100 Hz over 150-3600 Hz
    *TEXTURE,
)
"""What each number of `features` is, in order."""

LIMIT_DB: Final = 60.0


def features(samples: NDArray[np.float32], onset: float, rate_hz: int) -> NDArray[np.float64]:
    """Describe the impulse that begins at sample ``onset``.

    Ratios only: none changes with level. Energies are taken less that of the noise before, and every feature is
    limited to a stated range, so that silence, clipping and cut windows give finite numbers too.

    Parameters
    ----------
    samples : (n,) float32
        Any scale; 0.12 s before the onset and 0.28 s after it where there are, zeros where there are not.
    onset : float
        In samples; within ``samples``.
    rate_hz : int
        8,000 to 192,000.

    Returns
    -------
    (len(NAMES),) float64
    """
    return _Look(samples, onset, rate_hz).vector()


class _Look:
    """One impulse at the common rate, with what several features ask for."""

    def __init__(self, samples: NDArray[np.float32], onset: float, rate_hz: int) -> None:
        window = _window(samples, onset, rate_hz)
        lines = np.fft.rfft(window)[: LENGTH // 2 + 1] * (LENGTH / window.size)
        signal = np.fft.irfft(lines * _BAND, LENGTH)
        hiss = HISS * float(np.abs(signal[_part(-0.002, 0.015)]).max())
        self.lines = lines + hiss * _HISS_LINES
        self.signal = signal + hiss * _HISS_IN_BAND
        self.magnitude = np.abs(self.signal)
        self.power = np.square(self.signal)
        self.energy = np.concatenate(([0.0], np.cumsum(self.power)))
        quiet = np.sort(self._frames(-BEFORE_S + SETTLED_S, -0.01, 0.005))
        self.noise: float = float(quiet[quiet.size // 2]) + 1e-24

    def vector(self) -> NDArray[np.float64]:
        values = np.array(self._shape() + self._decay() + self._tail() + self._spectrum())
        finite: NDArray[np.float64] = np.nan_to_num(values, nan=0.0, posinf=LIMIT_DB, neginf=-LIMIT_DB)
        return np.clip(finite, -LIMIT_DB, LIMIT_DB)

    def _frames(self, start_s: float, stop_s: float, frame_s: float) -> NDArray[np.float64]:
        """Mean powers of consecutive frames."""
        length, part = round(frame_s * COMMON_RATE_HZ), _part(start_s, stop_s)
        ends = self.energy[part.start : part.stop + 1 : length]
        frames: NDArray[np.float64] = (ends[1:] - ends[:-1]) / length
        return frames

    def _mean(self, start_s: float, stop_s: float) -> float:
        """Mean power less the noise, at least a tenth of it."""
        part = _part(start_s, stop_s)
        mean = float(self.energy[part.stop] - self.energy[part.start]) / (part.stop - part.start)
        return float(max(mean - self.noise, 0.1 * self.noise))

    def _peak(self, start_s: float, stop_s: float) -> float:
        return float(self.magnitude[_part(start_s, stop_s)].max()) + 1e-12

    def _shape(self) -> list[float]:
        first = _part(-0.002, 0.015)
        magnitude = self.magnitude[first]
        top = int(np.argmax(magnitude))
        peak = float(magnitude[top]) + 1e-12
        rising = magnitude[: top + 1]
        rise = int(np.argmax(rising >= 0.9 * peak)) - int(np.argmax(rising >= 0.1 * peak))
        after = self.magnitude[first.start + top : first.start + top + 160]
        before = self.magnitude[max(first.start + top - 160, 0) : first.start + top + 1][::-1]
        width = _until_below(after, 0.5 * peak) + _until_below(before, 0.5 * peak)
        step_ms = 1e3 / COMMON_RATE_HZ
        return [
            _db(float(self._frames(-0.001, 0.015, 0.001).max()) / self.noise),
            _db((rise + 1) * step_ms),
            _db((width + 1) * step_ms),
            _db(max(top * step_ms - 2.0, 0.0) + 1.0),
            *(_db(peak**2 / (self._mean(-0.001, end_s) + 1e-24)) for end_s in (0.005, 0.05, 0.25)),
        ]

    def _decay(self) -> list[float]:
        head = self._mean(-0.001, 0.005)
        early, late = self._mean(-0.001, 0.015) * 16.0, self._mean(0.015, 0.25) * 235.0
        frames = np.maximum(self._frames(-0.002, 0.25, 0.002) - self.noise, 0.0)
        centre_ms = float(frames @ (np.arange(frames.size) * 2.0 + 1.0)) / (float(frames.sum()) + 1e-24)
        first, second = self._peak(-0.001, 0.015), self._peak(0.02, 0.25)
        return [
            *(
                _db(head / self._mean(start_s, stop_s))
                for start_s, stop_s in ((0.01, 0.02), (0.03, 0.05), (0.08, 0.12), (0.19, 0.25))
            ),
            _db(early / late),
            _db(centre_ms + 0.1),
            _db(self._mean(-0.022, -0.002) / self._mean(-0.001, 0.019)),
            2.0 * _db(second / first),
        ]

    def _tail(self) -> list[float]:
        levels = self._frames(-0.001, 0.25, 0.005)
        loud = levels[4:]
        top = (loud[1:-1] > loud[:-2]) & (loud[1:-1] > loud[2:]) & (loud[1:-1] > levels[:3].max() * 10.0**-1.2)
        head = self.signal[_part(0.0, 0.003)]
        up, down = float(max(head.max(), 0.0)) + 1e-12, float(max(-head.min(), 0.0)) + 1e-12
        power = self.power[_part(0.0, 0.25)]
        spread = float(power.sum()) / power.size + 1e-24
        return [
            float(np.count_nonzero(top)),
            abs(2.0 * _db(up / down)),
            _crossings(self.signal[_part(0.0, 0.01)]),
            _crossings(self.signal[_part(*TAIL_S)]),
            _db(float(power @ power) / power.size / spread**2),
            _roughness(10.0 * np.log10(self._frames(*TAIL_S, 0.005) + 1e-24)),
        ]

    def _spectrum(self) -> list[float]:
        head, tail = _periodogram(self.signal[_part(*HEAD_S)]), _periodogram(self.signal[_part(*TAIL_S)])
        # The same window over the unfiltered sound, for the lowest frequencies only.
        wide = _periodogram(np.fft.irfft(self.lines, LENGTH)[_part(*HEAD_S)])
        in_head = [_db(_between(head, *octave)) for octave in OCTAVES_HZ]
        in_tail = [_db(_between(tail, *octave)) for octave in OCTAVES_HZ]
        lost = [before - after for before, after in zip(in_head, in_tail, strict=True)]
        useful = _lines(tail, 300.0, 3_400.0)
        return [
            in_head[0] - in_head[1],
            in_head[1] - in_head[2],
            in_head[2] - in_head[3],
            lost[0] - lost[1],
            lost[2] - lost[1],
            lost[3] - lost[1],
            _flatness(_lines(head, 300.0, 3_400.0)),
            _flatness(useful),
            _db(float(useful.max()) / (float(np.median(useful)) + 1e-24)),
            _db(_between(wide, 0.0, 100.0) / (_between(wide, 150.0, 3_600.0) + 1e-24)),
            *texture(self.lines, self.signal, _in_steps(head), _in_steps(tail)),
        ]


def _part(start_s: float, stop_s: float) -> slice:
    return slice(round((BEFORE_S + start_s) * COMMON_RATE_HZ), round((BEFORE_S + stop_s) * COMMON_RATE_HZ))


def _window(samples: NDArray[np.float32], onset: float, rate_hz: int) -> NDArray[np.float64]:
    """The stretch around the onset, tapered at both ends; zeros where there are no samples."""
    length = round((BEFORE_S + AFTER_S) * rate_hz)
    begin = round(onset - BEFORE_S * rate_hz)
    window = np.zeros(length)
    start, stop = max(begin, 0), min(begin + length, samples.size)
    if stop > start:
        part = samples[start:stop].astype(np.float64)
        part -= np.median(part)
        taper = min(round(TAPER_S * rate_hz), part.size // 2)
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(taper) + 0.5) / max(taper, 1))
        part[:taper] *= ramp
        part[part.size - taper :] *= ramp[::-1]
        window[start - begin : stop - begin] = part
    return window


def _band() -> NDArray[np.float64]:
    """Gain of the band at each line of the window's spectrum."""
    frequency_hz = np.arange(LENGTH // 2 + 1) * (COMMON_RATE_HZ / LENGTH)
    low = np.clip((frequency_hz - BAND_HZ[0]) / EDGE_HZ[0] + 0.5, 0.0, 1.0)
    high = np.clip((BAND_HZ[1] - frequency_hz) / EDGE_HZ[1] + 0.5, 0.0, 1.0)
    gain: NDArray[np.float64] = 0.25 * (1.0 - np.cos(np.pi * low)) * (1.0 - np.cos(np.pi * high))
    return gain


_BAND: Final = _band()
HISS: Final = 10.0 ** (-45.0 / 20.0)
"""Noise added to every sound, over its peak: 45 dB of range is what every recorder has, and edited silence has none."""
_HISS_LINES: Final = np.fft.rfft(np.random.default_rng(0).standard_normal(LENGTH))
_HISS_IN_BAND: Final = np.fft.irfft(_HISS_LINES * _BAND, LENGTH)


@functools.cache
def _hann(length: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / (length - 1))


def _periodogram(part: NDArray[np.float64]) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(part * _hann(part.size))
    power: NDArray[np.float64] = spectrum.real**2 + spectrum.imag**2 + 1e-24
    return power


def _lines(power: NDArray[np.float64], low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """The lines of a periodogram from one frequency to below another, at least one."""
    per_hz = (power.size - 1) / (COMMON_RATE_HZ / 2.0)
    low = math.ceil(low_hz * per_hz)
    return power[low : max(math.ceil(high_hz * per_hz), low + 1)]


def _between(power: NDArray[np.float64], low_hz: float, high_hz: float) -> float:
    """Mean power of a periodogram between two frequencies."""
    lines = _lines(power, low_hz, high_hz)
    return float(lines.sum()) / lines.size


@functools.cache
def _steps(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the bands of `STEPS_HZ` begin in a periodogram, and how many lines each has."""
    edges = np.ceil(np.array(STEPS_HZ) * (2.0 * (size - 1) / COMMON_RATE_HZ)).astype(np.int64)
    return edges[:-1], np.diff(edges)


def _in_steps(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels of a periodogram in bands of equal width in pitch, dB."""
    starts, counts = _steps(power.size)
    sums = np.add.reduceat(power[: starts[-1] + counts[-1]], starts)
    levels: NDArray[np.float64] = 10.0 * np.log10(sums / np.maximum(counts, 1))
    return levels


def _flatness(power: NDArray[np.float64]) -> float:
    return float(10.0 * np.mean(np.log10(power))) - _db(float(power.mean()))


def _crossings(part: NDArray[np.float64]) -> float:
    signs = part >= 0.0
    return float(np.count_nonzero(signs[1:] != signs[:-1])) / (part.size / COMMON_RATE_HZ * 1e3)


def _roughness(levels_db: NDArray[np.float64]) -> float:
    """Standard deviation around the straight line of least squares."""
    x = np.arange(levels_db.size) - (levels_db.size - 1) / 2.0
    y = levels_db - levels_db.mean()
    return float(np.std(y - x * (np.sum(x * y) / np.sum(x * x))))


def _until_below(magnitude: NDArray[np.float64], level: float) -> int:
    """Samples until the magnitude has stayed below a level for half a millisecond: ripples do not end a pulse."""
    over = np.flatnonzero(magnitude >= level)
    gaps = np.flatnonzero(np.diff(over) > COMMON_RATE_HZ // 2_000)
    return int(over[gaps[0]] if gaps.size else over[-1]) if over.size else 0


def _db(ratio: float) -> float:
    return 10.0 * math.log10(max(ratio, 1e-24))
