"""Delays between two hearings of one sound, whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import sosfilt

from acoustic.correlation import delay
from acoustic.filters import detection_band
from tests.sounds import blast, noise

LONG = 180


def pair(late, gain=1.0, level=0.0, seed=0, rate_hz=24_000):
    """A blast, and the same ``late`` samples later and ``gain`` times as strong, 40 samples longer at either end."""
    first = blast(rate_hz, 0.1, 0.05, 0.001, (0.0009, 0.5)) + noise(2_400, level, seed)
    second = gain * blast(rate_hz, 0.1, 0.05 + late / rate_hz, 0.001, (0.0009, 0.5)) + noise(2_400, level, seed + 1)
    band = np.insert(detection_band(rate_hz), 3, 1.0, axis=1)
    first, second = sosfilt(band, first), sosfilt(band, second)
    return second[1_180 - 40 : 1_180 + LONG + 40], first[1_180 : 1_180 + LONG]


@given(late=st.floats(-30.0, 30.0), gain=st.floats(0.2, 5.0))
def test_without_noise_the_delay_is_exact(late, gain):
    heard, like = pair(late, gain)
    found = delay(heard, like, -40)
    assert found.samples == pytest.approx(late, abs=0.01)
    assert found.gain == pytest.approx(gain, rel=0.01)
    assert found.likeness > 0.98


@pytest.mark.parametrize("level", [0.01, 0.03])
def test_sigma_is_that_of_the_errors(level):
    random = np.random.default_rng(3)
    errors, sigmas = [], []
    for k in range(250):
        late = random.uniform(-20.0, 20.0)
        found = delay(*pair(late, 1.0, level, 2 * k), -40)
        errors.append(found.samples - late)
        sigmas.append(found.sigma)
    assert np.std(errors) == pytest.approx(np.median(sigmas), rel=0.2)
    assert 0.82 < np.mean(np.abs(errors) < 1.645 * np.array(sigmas)) < 0.95


def test_noise_is_not_alike():
    found = delay(noise(LONG + 80, 1.0, 1).astype(float), noise(LONG, 1.0, 2).astype(float), -40)
    assert found.likeness < 0.4
    assert found.sigma > 0.1


def test_silence_has_no_delay():
    found = delay(np.zeros(LONG + 80), np.ones(LONG), -40)
    assert found.likeness == 0.0
    assert found.sigma >= 1.0
    assert delay(np.ones(LONG + 80), np.zeros(LONG), -40).likeness == 0.0
