"""Features: always finite, blind to level, and much the same at every rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from acoustic.features import LIMIT_DB, NAMES, features
from tests.sounds import blast, noise

PLACE = {name: k for k, name in enumerate(NAMES)}


@given(
    samples=arrays.arrays(np.float32, st.integers(0, 3_000), elements=st.floats(-1e6, 1e6, width=32)),
    onset=st.floats(0.0, 3_000.0),
    rate_hz=st.sampled_from([8_000, 12_000, 44_100, 192_000]),
)
@settings(max_examples=60)
def test_any_samples_give_finite_features(samples, onset, rate_hz):
    vector = features(samples, onset, rate_hz)
    assert vector.shape == (len(NAMES),)
    assert np.isfinite(vector).all()
    assert (np.abs(vector) <= LIMIT_DB).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3])
def test_constant_samples_give_finite_features(value):
    assert np.isfinite(features(np.full(12_000, value, dtype=np.float32), 3_000.0, 12_000)).all()


def shot(rate_hz):
    """A blast with an echo, its onset at 0.4 s of 1, and the same noise below 3.9 kHz at every rate."""
    random = np.random.default_rng(1)
    spectrum = np.zeros(rate_hz // 2 + 1, dtype=complex)
    spectrum[1:3_900] = (random.standard_normal(3_899) + 1j * random.standard_normal(3_899)) * 1e-5 * rate_hz
    sound = blast(rate_hz, 1.0, 0.4) + 0.2 * blast(rate_hz, 1.0, 0.46)
    return (0.3 * sound + np.fft.irfft(spectrum, rate_hz)).astype(np.float32)


@given(st.floats(1e-3, 1e3))
@settings(max_examples=20)
def test_level_changes_nothing(gain):
    samples = shot(12_000)
    louder = (samples * np.float32(gain)).astype(np.float32)
    np.testing.assert_allclose(features(louder, 4_800.0, 12_000), features(samples, 4_800.0, 12_000), atol=0.01)


def test_an_offset_changes_little():
    samples = shot(12_000)
    moved = features(samples + np.float32(0.2), 4_800.0, 12_000) - features(samples, 4_800.0, 12_000)
    assert np.abs(np.delete(moved, PLACE["thump_db"])).max() < 0.5


@pytest.mark.parametrize("rate_hz", [12_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_the_rate_changes_little(rate_hz):
    at_8 = features(shot(8_000), 0.4 * 8_000, 8_000)
    here = features(shot(rate_hz), 0.4 * rate_hz, rate_hz)
    for name in NAMES:
        assert abs(here[PLACE[name]] - at_8[PLACE[name]]) < 2.0, name


def test_names_tell_what_is_measured():
    quick, slow = shot(12_000), np.zeros(12_000, dtype=np.float32)
    t = np.arange(7_200) / 12_000
    slow[4_800:] = 0.3 * np.sin(2.0 * np.pi * 700.0 * t) * (1.0 - np.exp(-t / 0.02)) * np.exp(-t / 0.3)
    slow += noise(12_000, 0.0005, 2)
    a, b = features(quick, 4_800.0, 12_000), features(slow, 4_800.0, 12_000)
    for name in ("crest_50_db", "decay_40_db", "early_db", "flatness_tail_db"):
        assert a[PLACE[name]] > b[PLACE[name]] + 6.0, name
    for name in ("rise_db", "centre_db", "line_tail_db", "second_db"):
        assert a[PLACE[name]] < b[PLACE[name]] - 3.0, name


def voiced(pitch_hz, rate_hz=8_000):
    """A note with ten harmonics that starts at 0.4 s of 1."""
    t = np.maximum(np.arange(rate_hz) / rate_hz - 0.4, 0.0)
    sound = sum(np.sin(2.0 * np.pi * k * pitch_hz * t) / k for k in range(1, 11))
    return (0.1 * sound + noise(rate_hz, 0.0003, 3)).astype(np.float32)


@pytest.mark.parametrize("pitch_hz", [110.0, 217.0, 450.0])
def test_a_voice_has_a_pitch_and_a_shot_has_none(pitch_hz):
    voice, bang = features(voiced(pitch_hz), 3_200.0, 8_000), features(shot(8_000), 3_200.0, 8_000)
    for name in ("pitch_head", "pitch_tail"):
        assert voice[PLACE[name]] > 0.85, name
        assert bang[PLACE[name]] < 0.6, name


def test_blows_one_after_the_other_repeat():
    machine = noise(8_000, 0.001, 5)
    for at_s in np.arange(0.4, 0.95, 0.06):
        machine = machine + 0.3 * blast(8_000, 1.0, at_s)
    vector = features(machine.astype(np.float32), 3_200.0, 8_000)
    assert vector[PLACE["repeats"]] > features(shot(8_000), 3_200.0, 8_000)[PLACE["repeats"]] + 0.2
    assert vector[PLACE["together"]] > 0.5


def test_each_octave_tells_its_own_decay():
    """Sines in the middle of the octaves, each with its time constant: the loss from head to 80-120 ms follows."""
    t = np.maximum(np.arange(8_000) / 8_000 - 0.4, 0.0)
    sound = noise(8_000, 1e-5, 6).astype(np.float64)
    falls_s = dict(zip("abcd", (0.2, 0.1, 0.05, 0.03), strict=True))
    for middle_hz, fall_s in zip((280.0, 650.0, 1_300.0, 2_600.0), falls_s.values(), strict=True):
        sound += 0.1 * np.sin(2.0 * np.pi * middle_hz * t) * np.exp(-t / fall_s)
    vector = features(sound.astype(np.float32), 3_200.0, 8_000)
    for band, fall_s in falls_s.items():
        expected_db = 20.0 / np.log(10.0) * (0.1 - 0.0075) / fall_s
        assert vector[PLACE[f"loss_100_{band}_db"]] == pytest.approx(expected_db, abs=2.0), band


def test_a_microphone_changes_little_of_what_is_meant_to_be_blind_to_it():
    samples = shot(8_000).astype(np.float64)
    hz = np.fft.rfftfreq(samples.size, 1.0 / 8_000)
    tilted = np.fft.irfft(np.fft.rfft(samples) * (np.maximum(hz, 50.0) / 1_000.0) ** 0.5, samples.size)
    plain, other = (features(x.astype(np.float32), 3_200.0, 8_000) for x in (samples, tilted))
    for name in (f"loss_{part}_{band}_db" for part in (40, 100) for band in "abc"):
        assert abs(plain[PLACE[name]] - other[PLACE[name]]) < 4.0, name
    assert abs(plain[PLACE["tilt_mid_db"]] - other[PLACE["tilt_mid_db"]]) > 2.0
