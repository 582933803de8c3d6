"""The N-wave of a bullet against the blast of a muzzle."""

import math

import numpy as np
import pytest
from scipy.signal import sosfilt

from acoustic.air import Air
from acoustic.arrival import find_arrival
from acoustic.filters import detection_band
from acoustic.propagation import Heard, Path, Ray, echo_ray
from acoustic.shock import is_shock_wave, shock_likeness
from acoustic.sources import hammer, muzzle_blast, shock_wave
from tests.sounds import street

AIR = Air(15.0)
BULLETS = ((0.0057, 0.019), (0.0078, 0.028), (0.009, 0.016))  # 5.56 mm, 7.62 mm, 9 mm


def detection_band_of(samples, rate_hz):
    return sosfilt(np.insert(detection_band(rate_hz), 3, 1.0, axis=1), samples).astype(np.float32)


def recorded(sound, range_m, ground_m, snr_db, seed):
    """(samples, filtered, index of the first front) of a sound behind its way, with the echo of the ground."""
    rate_hz, speed = sound.rate_hz, AIR.sound_speed_m_per_s
    ray = Ray(range_m, range_m / speed)
    way = Path((ray, echo_ray(ray, ground_m / speed, 0.6, speed)))
    at_s = 0.2 + 0.0003 * (seed % 7)
    first, wave = Heard(sound, way, AIR).at(at_s - ray.delay_s)
    samples = np.zeros(round(0.6 * rate_hz))
    samples[max(first, 0) : first + len(wave)] = wave[max(-first, 0) :][: len(samples) - max(first, 0)]
    hiss = street(rate_hz, 0.6, seed)
    peak = np.abs(detection_band_of(samples, rate_hz)).max()
    samples += hiss / detection_band_of(hiss, rate_hz).std() * peak * 10.0 ** (-snr_db / 20.0)
    samples = (0.3 * samples / np.abs(samples).max()).astype(np.float32)
    return samples, detection_band_of(samples, rate_hz), at_s * rate_hz


def cracks(rate_hz, count, snr_db):
    random = np.random.default_rng(rate_hz)
    for k in range(count):
        diameter_m, length_m = BULLETS[k % 3]
        miss_m = random.uniform(5.0, 60.0)
        wave = shock_wave(
            rate_hz,
            mach=random.uniform(1.2, 2.8),
            miss_distance_m=miss_m,
            bullet_diameter_m=diameter_m,
            bullet_length_m=length_m,
            air=AIR,
        )
        yield recorded(wave, miss_m, random.uniform(0.3, 2.0), snr_db, k)


def bangs(rate_hz, count, snr_db):
    random = np.random.default_rng(rate_hz + 1)
    for k in range(count):
        range_m = math.exp(random.uniform(math.log(15.0), math.log(600.0)))
        sound = muzzle_blast(rate_hz, positive_phase_s=math.exp(random.uniform(math.log(3e-4), math.log(3e-3))))
        yield recorded(sound, range_m, random.uniform(0.02, 0.6), snr_db, k)


def called(sounds, rate_hz):
    """Which of the sounds are called shock waves, by the arrivals that are found."""
    answers = []
    for samples, filtered, onset in sounds:
        trigger = int(onset) // (rate_hz // 1000) * (rate_hz // 1000)
        answers.append(find_arrival(samples, filtered, trigger, rate_hz).shock_wave)
    return np.array(answers)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_shock_waves_are_recognised(rate_hz):
    assert called(cracks(rate_hz, 40, 30.0), rate_hz).mean() >= 0.95


@pytest.mark.parametrize("snr_db", [15.0, 30.0])
def test_blasts_are_not_shock_waves(snr_db):
    assert called(bangs(48_000, 60, snr_db), 48_000).mean() <= 0.02


def test_knocks_are_not_shock_waves():
    random = np.random.default_rng(8)
    knocks = [recorded(hammer(48_000, generator=random), 20.0, 1.0, 30.0, k) for k in range(15)]
    assert not called(knocks, 48_000).any()


@pytest.mark.parametrize("rate_hz", [12_000, 32_000])
def test_low_rates_abstain(rate_hz):
    for samples, _, onset in cracks(rate_hz, 3, 40.0):
        assert shock_likeness(samples, onset, rate_hz) == 0.0
        assert not is_shock_wave(samples, onset, rate_hz)


def test_the_edge_of_a_window_is_no_shock_wave():
    samples = np.random.default_rng(1).standard_normal(4_800).astype(np.float32)
    for onset in (0.0, 30.5, 4_799.0):
        assert shock_likeness(samples, onset, 48_000) == 0.0


def test_likeness_does_not_hang_on_level_or_offset():
    samples, _, onset = next(cracks(48_000, 1, 40.0))
    plain = shock_likeness(samples, onset, 48_000)
    assert plain > 0.95
    assert shock_likeness((0.01 * samples + 0.3).astype(np.float32), onset, 48_000) == pytest.approx(plain, abs=0.01)
    assert shock_likeness(-samples, onset, 48_000) < plain - 0.1
