"""Blasts whose onset is known, as sensors in the open and in streets would record them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import sosfilt

from acoustic.air import Air
from acoustic.arrival import POST_S, PRE_S, Arrival, find_arrival
from acoustic.filters import detection_band
from acoustic.propagation import Heard, Path, Ray, diffuse_tail, echo_ray
from acoustic.sources import muzzle_blast

RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
ONSET_S = 0.17
WINDOW_S = 0.5
FLOOR_OVER_NOISE = 4.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Blast:
    """What is drawn for each: length, range, air, ground (delay, gain) and whether a street stands around."""

    length_s: float
    range_m: float
    air: Air
    ground: tuple[float, float] | None
    street: bool


@dataclass(frozen=True)
class Shot:
    """One recording of one blast.

    ``samples`` and ``filtered`` are (n,) float32, ``trigger`` the frame in which a gate would have fired, ``onset`` the
    truth in samples; ``noise`` is the noise's amplitude at each frequency.
    """

    rate_hz: int
    snr_db: float
    samples: NDArray[np.float32]
    filtered: NDArray[np.float32]
    trigger: int
    onset: float
    blast: Blast
    noise: Callable[[Floats], Floats]

    def arrival(self) -> tuple[float, Arrival]:
        """Error of the onset, s, and what was found."""
        start = self.trigger - round(PRE_S * self.rate_hz)
        window = slice(start, self.trigger + round(POST_S * self.rate_hz))
        found = find_arrival(self.samples[window], self.filtered[window], self.trigger - start, self.rate_hz)
        return (start + found.index - self.onset) / self.rate_hz, found

    def bounds_s(self) -> tuple[float, float]:
        """Cramer-Rao bounds of the onset's standard deviation (Kay 1993, chapter 3), s.

        For who knows everything else, and for who knows neither the strength, length and range of the blast nor the
        ground. The inverse of Fisher's information, whose elements are sums over frequency of 2 Re(conj(dX) dX') / N:
        X is the spectrum of what arrives without the street's echoes, N that of the noise, in samples as they came.
        """
        return _bounds(self)


def drawn(random: Generator, *, street: bool) -> Blast:
    """0.5 to 3 ms, 50 to 800 m, any weather, a sensor 3 to 12 m up, ground from lawn to asphalt or none."""
    length_s, range_m = _log_uniform(random, 0.0005, 0.003), _log_uniform(random, 50.0, 800.0)
    air = Air(random.uniform(-5.0, 30.0), 2.0, random.uniform(30.0, 90.0))
    longer_m = math.sqrt(range_m**2 + 4.0 * 1.5 * random.uniform(3.0, 12.0)) - range_m
    ground = (longer_m / air.sound_speed_m_per_s, random.uniform(0.3, 0.9)) if random.random() < 0.85 else None
    return Blast(length_s, range_m, air, ground, street)


def shots(random: Generator, rate_hz: int, snr_db: float, count: int, *, street: float = 0.0) -> Iterator[Shot]:
    """Simulated recordings with their noise, peak over root mean square in the detection band ``snr_db``."""
    for _ in range(count):
        yield shot(random, rate_hz, snr_db, drawn(random, street=bool(random.random() < street)))


def shot(random: Generator, rate_hz: int, snr_db: float, blast: Blast) -> Shot:
    """One recording of a blast. SNR is that of the direct sound's own peak, or of the loudest echo if that is more."""
    onset_s = ONSET_S + random.uniform(0.0, 0.001)
    sound = _heard(rate_hz, blast, onset_s, random)
    noise, colour = _noise(round((WINDOW_S + 0.1) * rate_hz), rate_hz, random)
    skip = len(noise) - len(sound)
    filtered_noise, filtered_sound = _band(noise, rate_hz)[skip:], _band(sound, rate_hz)
    peak = float(np.abs(filtered_sound).max())
    scale = 10.0 ** (-snr_db / 20.0) * peak / filtered_noise.std()
    samples = (0.2 / peak * (sound + scale * noise[skip:])).astype(np.float32)
    filtered = (0.2 / peak * (filtered_sound + scale * filtered_noise)).astype(np.float32)
    onset = onset_s * rate_hz
    trigger = _trigger(filtered, rate_hz, onset, 0.2 * 10.0 ** (-snr_db / 20.0), random)
    return Shot(rate_hz, snr_db, samples, filtered, trigger, onset, blast, lambda hz: scale * colour(hz))


def _heard(rate_hz: int, blast: Blast, onset_s: float, random: Generator | None) -> Floats:
    speed = blast.air.sound_speed_m_per_s
    direct = Ray(blast.range_m, blast.range_m / speed)
    rays = [direct]
    if blast.ground is not None:
        rays.append(echo_ray(direct, blast.ground[0], blast.ground[1], speed))
    tail = None
    if blast.street and random is not None:
        rays += [
            echo_ray(direct, _log_uniform(random, 0.0004, 0.03), random.uniform(0.1, 0.9), speed, 4000.0)
            for _ in range(int(random.integers(2, 6)))
        ]
        tail = diffuse_tail(rate_hz, direct, [(random.uniform(-24.0, -14.0), 0.3)], cutoff_hz=2000.0, generator=random)
    heard = Heard(muzzle_blast(rate_hz, positive_phase_s=blast.length_s), Path(tuple(rays), tail), blast.air)
    first, sound = heard.at(onset_s - direct.delay_s)
    samples = np.zeros(round(WINDOW_S * rate_hz))
    begin, end = max(first, 0), min(first + len(sound), len(samples))
    samples[begin:end] = sound[begin - first : end - first]
    return samples


def _noise(count: int, rate_hz: int, random: Generator) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Noise that falls with frequency down to a microphone's own hiss, and its spectrum."""
    frequency_hz = np.asarray(np.fft.rfftfreq(count, 1.0 / rate_hz))
    corner_hz, slope = _log_uniform(random, 60.0, 1000.0), random.uniform(0.35, 0.8)
    hiss = 10.0 ** (-random.uniform(20.0, 45.0) / 20.0)
    fall = np.power(1.0 + np.square(frequency_hz / corner_hz), -slope)
    shape = np.hypot(fall, hiss * fall[np.searchsorted(frequency_hz, 300.0)])
    noise = np.fft.irfft(np.fft.rfft(random.standard_normal(count)) * shape, count)
    return noise, lambda wanted_hz: np.interp(wanted_hz, frequency_hz, shape)


def _band(samples: Floats, rate_hz: int) -> Floats:
    return np.asarray(sosfilt(np.insert(detection_band(rate_hz), 3, 1.0, axis=1), samples))


def _trigger(filtered: NDArray[np.float32], rate_hz: int, onset: float, noise: float, random: Generator) -> int:
    """The first frame of a millisecond that a gate would take for an impulse."""
    frame = rate_hz // 1000
    body = np.abs(filtered[int(onset) - frame : int(onset) + round(0.008 * rate_hz)]).max()
    level = max(0.3 * body, min(FLOOR_OVER_NOISE * noise, 0.9 * body))
    begin = int(onset) - 2 * frame - int(random.integers(frame))
    while np.abs(filtered[begin : begin + frame]).max() < level:
        begin += frame
    return begin


def _bounds(shot: Shot) -> tuple[float, float]:
    plain, rate_hz = shot.blast, shot.rate_hz
    count = round(WINDOW_S * rate_hz)
    frequency_hz = np.asarray(np.fft.rfftfreq(count, 1.0 / rate_hz))[1:-1]
    weight = math.sqrt(2.0 / count) / shot.noise(frequency_hz)

    def spectrum(length: float = 1.0, distance: float = 1.0, delay_s: float = 0.0, gain: float = 0.0) -> Floats:
        ground = None if plain.ground is None else (plain.ground[0] + delay_s, plain.ground[1] + gain)
        changed = Blast(plain.length_s * length, plain.range_m * distance, plain.air, ground, street=False)
        return np.asarray(np.fft.rfft(_heard(rate_hz, changed, shot.onset / rate_hz, None))[1:-1] * weight * distance)

    here, step = spectrum(), 0.01
    slopes = [2j * np.pi * frequency_hz * here, here]
    slopes += [(spectrum(length=1.0 + step) - here) / step, (spectrum(distance=1.0 + step) - here) / step]
    prior = [0.0, 0.0, 1.0 / 0.52**2, 1.0 / 0.8**2]  # logarithms of length and range, as drawn
    if plain.ground is not None:
        slopes += [(spectrum(delay_s=1e-6) - here) * 100.0, (spectrum(gain=step) - here) / step]  # of 0.1 ms; of 1
        prior += [1.0 / 5.0**2, 1.0 / 0.2**2]
    columns = np.array(slopes)
    information = (columns.conj() @ columns.T).real
    joint = np.linalg.inv(information + np.diag(prior))[0, 0]
    return float(information[0, 0] ** -0.5), float(math.sqrt(joint))


def _log_uniform(random: Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))
