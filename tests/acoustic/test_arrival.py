"""Arrivals against blasts whose onset is known, and against the slow twin."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic import kernels
from acoustic.arrival import POST_S, PRE_S, find_arrival, is_clipped, outlier_probability
from acoustic.gate import Gate
from tests import naive
from tests.sounds import blast, noise

MICROSECOND = 1e-6


def hear(samples, rate_hz):
    gate, filtered, triggers, done = Gate(rate_hz), [], [], 0
    while done < len(samples):
        heard = gate.hear(samples[done:])
        filtered.append(heard.filtered)
        triggers += [done + trigger for trigger in heard.triggers]
        done += heard.used
    return np.concatenate(filtered), triggers


def arrivals(rate_hz, snr_db, count, seed):
    """(error in seconds, the arrival) for blasts of several lengths and grounds, at a band SNR."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        onset_s = 0.6 + random.uniform(0.0, 0.001)
        ground = (random.uniform(0.0003, 0.002), random.choice([0.0, 0.6]))
        sound = blast(rate_hz, 1.0, onset_s, random.choice([0.0005, 0.001, 0.002]), ground)
        hiss = noise(rate_hz, 1.0, int(random.integers(2**31))).astype(float)
        quiet = hear((hiss * 1e-3).astype(np.float32), rate_hz)[0][rate_hz // 4 :].std() * 1e3
        peak = np.abs(hear((1e-6 * hiss + sound).astype(np.float32), rate_hz)[0]).max()
        samples = (0.1 * sound / peak + 0.1 * hiss / quiet * 10.0 ** (-snr_db / 20.0)).astype(np.float32)
        filtered, triggers = hear(samples, rate_hz)
        at = min(triggers, key=lambda trigger: abs(trigger - onset_s * rate_hz))
        start = at - round(PRE_S * rate_hz)
        window = slice(start, at + round(POST_S * rate_hz))
        arrival = find_arrival(samples[window], filtered[window], at - start, rate_hz)
        found.append(((start + arrival.index) / rate_hz - onset_s, arrival))
    return found


@pytest.mark.parametrize("rate_hz", [8_000, 12_000, 16_000, 24_000, 48_000])
def test_bias_is_below_20_microseconds(rate_hz):
    errors = [error for error, _ in arrivals(rate_hz, 30.0, 40, rate_hz)]
    assert abs(np.median(errors)) < 20.0 * MICROSECOND


# Where there is little noise, sigma is that of blasts of unknown length, and wider than this sample of them.
@pytest.mark.parametrize(("snr_db", "most"), [(20.0, 0.98), (25.0, 0.99), (35.0, 1.0)])
def test_nine_of_ten_errors_lie_in_the_interval_that_sigma_gives(snr_db, most):
    found = [pair for rate_hz in (8_000, 12_000, 48_000) for pair in arrivals(rate_hz, snr_db, 50, int(snr_db))]
    normed = np.array([error / arrival.sigma_s for error, arrival in found if abs(error) < 0.0005])
    assert normed.size > 0.93 * len(found)
    inside = np.mean(np.abs(normed - np.median(normed)) < 1.645)
    assert 0.82 < inside <= most


def test_sigma_shrinks_with_snr_and_snr_is_measured():
    found = {snr_db: arrivals(12_000, snr_db, 20, 5) for snr_db in (20.0, 30.0, 40.0)}
    sigma = [np.median([arrival.sigma_s for _, arrival in pairs]) for pairs in found.values()]
    assert sigma[0] > 1.3 * sigma[1] > 1.3 * sigma[2] > 1e-6
    for snr_db, pairs in found.items():
        assert np.median([arrival.snr_db for _, arrival in pairs]) == pytest.approx(snr_db, abs=1.5)


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(200, 900),
    trigger=st.integers(1, 190),
    back=st.integers(1, 30),
    forward=st.integers(1, 200),
    block=st.integers(1, 80),
    fraction=st.floats(0.05, 1.0),
)
@settings(max_examples=60)
def test_first_arrival_is_its_slow_twin(seed, n, trigger, back, forward, block, fraction):
    filtered = noise(n, 1.0, seed)
    fast = kernels.first_arrival(filtered, trigger, back, forward, fraction, block)
    np.testing.assert_allclose(
        fast, naive.first_arrival(filtered, trigger, back, forward, fraction, block), rtol=1e-12, atol=1e-12
    )


def test_probability_of_an_outlier_follows_what_was_seen():
    assert outlier_probability(40.0) == pytest.approx(0.05, abs=0.01)
    assert outlier_probability(15.5) > 0.5
    assert outlier_probability(30.0, drop_db=15.0, delay_s=0.3) > 0.9
    assert outlier_probability(30.0, drop_db=0.0, delay_s=0.4) < 0.2
    assert outlier_probability(30.0, drop_db=0.0, delay_s=0.06) > 0.5


@given(st.floats(-100.0, 200.0), st.floats(-300.0, 300.0) | st.just(-math.inf), st.floats(0.0, 10.0))
def test_probability_of_an_outlier_is_a_probability_and_grows_with_the_drop(snr_db, drop_db, delay_s):
    p = outlier_probability(snr_db, drop_db, delay_s)
    assert 0.0 < p < 1.0
    if math.isfinite(drop_db) and delay_s > 0.1:
        assert outlier_probability(snr_db, drop_db + 1.0, delay_s) >= p


def test_clipping_is_two_samples_at_full_scale_or_four_at_a_ceiling():
    wave = np.sin(np.arange(200) / 5.0) * 0.8
    assert not is_clipped(wave)
    assert is_clipped(np.clip(wave, -0.6, 0.6))
    assert is_clipped(np.array([0.1, 0.98, 0.98, 0.2]))
    assert not is_clipped(np.array([0.1, 0.98, 0.9, 0.98]))
    assert not is_clipped(np.zeros(100))
    assert not is_clipped(np.clip(wave * 0.01, -0.005, 0.005))


def test_peak_is_that_of_the_unfiltered_signal_less_its_offset():
    rate_hz = 12_000
    sound = blast(rate_hz, 1.0, 0.6)
    samples = (0.25 + 0.3 * sound + noise(rate_hz, 0.0005)).astype(np.float32)
    filtered, triggers = hear(samples, rate_hz)
    start = triggers[0] - round(PRE_S * rate_hz)
    arrival = find_arrival(samples[start:], filtered[start:], triggers[0] - start, rate_hz)
    assert arrival.peak == pytest.approx(np.abs(0.3 * sound).max(), rel=0.02)
    assert not arrival.clipped
