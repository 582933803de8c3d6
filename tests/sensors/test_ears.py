"""Ears: the gate sleeps where that costs nothing, and never where something hides a shot from the watch."""

from __future__ import annotations

import numpy as np
import pytest

from acoustic.background import background
from acoustic.gate import Gate, band_passed
from sensors.ears import Ears, Trigger
from tests.sounds import blast

RATE_HZ = 48_000


def street(duration_s, slope_db_per_octave, seed=0):
    return background(
        RATE_HZ,
        round(duration_s * RATE_HZ),
        level_db_spl=55.0,
        slope_db_per_octave=slope_db_per_octave,
        generator=np.random.default_rng(seed),
    )


def hiss():
    return street(12.0, 0.0)


def supply():
    """A tone of 21 kHz, 30 dB over a street."""
    quiet = street(12.0, -4.5)
    return quiet + 30.0 * np.std(quiet) * np.sin(2.0 * np.pi * 21_000.0 * np.arange(quiet.size) / RATE_HZ)


def insects():
    """Between 7 and 10 kHz, as loud as the street itself."""
    spectrum = np.fft.rfft(street(12.0, 0.0, seed=1))
    frequency_hz = np.fft.rfftfreq(12 * RATE_HZ, 1.0 / RATE_HZ)
    chorus = np.fft.irfft(spectrum * ((frequency_hz > 7_000.0) & (frequency_hz < 10_000.0)))
    quiet = street(12.0, -4.5)
    return quiet + chorus * np.std(quiet) / np.std(chorus)


def with_shots(noise, snr_db):
    samples = noise.copy()
    at_s = np.arange(2.3, 11.5, 1.3)
    floor = np.std(band_passed(noise.astype(np.float32), RATE_HZ))
    for one in at_s:
        shot = blast(RATE_HZ, noise.size / RATE_HZ, one)
        peak = np.abs(band_passed(shot.astype(np.float32), RATE_HZ)).max()
        samples += floor * 10.0 ** (snr_db / 20.0) * shot / peak
    return samples.astype(np.float32), at_s


def fired(samples):
    gate, triggers, done = Gate(RATE_HZ), [], 0
    while done < samples.size:
        heard = gate.hear(samples[done:])
        triggers += [(done + at) / RATE_HZ for at in heard.triggers]
        done += heard.used
    return np.array(triggers)


def told(samples):
    ears = Ears(RATE_HZ, 0, None, 1)
    moments = [*ears.take(samples[np.newaxis]), *ears.finish()]
    return np.array([moment.at / RATE_HZ for moment in moments if isinstance(moment, Trigger)])


@pytest.mark.parametrize("snr_db", [19.0, 25.0])
@pytest.mark.parametrize(
    "noise", [hiss, supply, insects, lambda: street(12.0, -3.0)], ids=["hiss", "supply", "insects", "pink"]
)
def test_every_shot_that_the_gate_hears_is_told(noise, snr_db):
    samples, at_s = with_shots(noise(), snr_db)
    awake, slept = fired(samples), told(samples)
    for one in at_s:
        if np.any(np.abs(awake - one) < 0.01):
            assert np.min(np.abs(slept - one)) < 0.01
    assert sum(np.any(np.abs(awake - one) < 0.01) for one in at_s) >= 6


def test_the_gate_sleeps_in_a_quiet_street(monkeypatch):
    """Less than a fifth of the time awake, once the noise has been measured."""
    heard = []
    listen = Gate.hear
    monkeypatch.setattr(Gate, "hear", lambda self, samples: heard.append(samples.size) or listen(self, samples))
    told(street(30.0, -4.5).astype(np.float32))
    assert sum(heard) < 0.2 * 30 * RATE_HZ
