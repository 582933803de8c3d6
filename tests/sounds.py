"""Sounds to hear in tests: noise, and blasts whose onset is known to far below a sample."""

from __future__ import annotations

import numpy as np


def noise(n, level=0.01, seed=0):
    """White noise, (n,) float32."""
    return (np.random.default_rng(seed).standard_normal(n) * level).astype(np.float32)


def bang(rate_hz, level=0.5):
    """50 ms of a Friedlander wave that begins with its first sample, (n,) float32."""
    t = np.arange(round(0.05 * rate_hz)) / rate_hz
    return (level * (1.0 - t / 0.001) * np.exp(-t / 0.001)).astype(np.float32)


def with_bangs(samples, rate_hz, onsets, level=0.5):
    """The samples with a bang at each of these indices."""
    samples = samples.copy()
    for at in onsets:
        sound = bang(rate_hz, level)[: max(samples.size - at, 0)]
        samples[at : at + sound.size] += sound
    return samples


def blast(rate_hz, seconds, onset_s, phase_s=0.001, ground=(0.0, 0.0)):
    """A Friedlander wave sampled as a good converter samples it: from its own spectrum, rolled off from 0.84 of half
    the rate on, so that there is no alias and the onset lies where it is said to, between samples. Peak 1 before that.
    """
    n = round(seconds * rate_hz)
    frequency = np.fft.rfftfreq(n, 1.0 / rate_hz)
    s = 2j * np.pi * frequency
    spectrum = 1.0 / (s + 1.0 / phase_s) - (1.0 / phase_s) / (s + 1.0 / phase_s) ** 2
    delay_s, gain = ground
    spectrum = spectrum * (1.0 + gain * np.exp(-s * delay_s)) * np.exp(-s * onset_s)
    edge = np.clip((0.5 * rate_hz - frequency) / (0.08 * rate_hz), 0.0, 1.0)
    return np.fft.irfft(spectrum * (0.5 - 0.5 * np.cos(np.pi * edge)), n) * rate_hz


def street(rate_hz, seconds, seed=0, level=0.003):
    """Night in a street: noise whose power falls with frequency, (n,) float32."""
    n = round(seconds * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    spectrum /= np.sqrt(1.0 + (np.fft.rfftfreq(n, 1.0 / rate_hz) / 300.0) ** 2)
    samples = np.fft.irfft(spectrum, n)
    return (level * samples / np.std(samples)).astype(np.float32)


def street_with_blast(rate_hz, seconds, onset_s, seed=0, level=0.3):
    """The same with one blast and the echo of its ground, (n,) float32."""
    sound = level * blast(rate_hz, seconds, onset_s, ground=(0.0009, 0.6))
    return (street(rate_hz, seconds, seed) + sound).astype(np.float32)
