"""The kernels that time an impulse, each against its slow twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from acoustic import timing_kernels
from tests import naive
from tests.sounds import noise


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(200, 900),
    trigger=st.integers(1, 190),
    back=st.integers(1, 30),
    forward=st.integers(1, 200),
    block=st.integers(1, 80),
    fraction=st.floats(0.05, 1.0),
    over=st.floats(0.0, 8.0),
)
@settings(max_examples=60)
def test_first_rise_is_its_slow_twin(seed, n, trigger, back, forward, block, fraction, over):
    filtered = noise(n, 1.0, seed)
    fast = timing_kernels.first_rise(filtered, trigger, back, forward, fraction, over, block)
    slow = naive.first_rise(filtered, trigger, back, forward, fraction, over, block)
    np.testing.assert_allclose(fast, slow, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 10**6), n=st.integers(60, 400), order=st.integers(1, 9), floor=st.floats(1e-3, 0.1))
@settings(max_examples=30)
def test_prediction_solves_the_normal_equations(seed, n, order, floor):
    coloured = lfilter([1.0], [1.0, -0.8], noise(n, 1.0, seed)).astype(np.float32)
    fast = timing_kernels.prediction(coloured, order, floor)
    np.testing.assert_allclose(fast, naive.prediction(coloured, order, floor), rtol=1e-8, atol=1e-8)


def test_prediction_of_an_autoregression_is_its_recipe():
    coloured = lfilter([1.0], [1.0, -1.2, 0.5], np.random.default_rng(4).standard_normal(200_000))
    found = timing_kernels.prediction(coloured.astype(np.float32), 3, 0.0)
    np.testing.assert_allclose(found, [1.0, -1.2, 0.5, 0.0], atol=0.02)


def test_whitened_fronts_are_filtered_ones():
    random = np.random.default_rng(5)
    fronts, a = random.standard_normal((3, 2, 40)), np.array([1.0, -0.4, 0.2])
    np.testing.assert_allclose(timing_kernels.whitened(fronts, a), lfilter(a, [1.0], fronts, axis=2), atol=1e-12)


def scene(seed, count=4, steps=2, n=12, lags=5):
    random = np.random.default_rng(seed)
    fronts = random.standard_normal((count, steps, n)).cumsum(axis=2)
    z = random.standard_normal(lags + n + 8)
    return random, z, fronts, lags


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_match_is_its_slow_twin(seed):
    _, z, fronts, lags = scene(seed)
    delays = np.array([1, 3, 7, 10])
    fast = timing_kernels.match(z, fronts, lags, delays, 5)
    np.testing.assert_allclose(fast, naive.match(z, fronts, lags, delays, 5), rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 10**6), echo=st.booleans())
@settings(max_examples=40)
def test_polish_is_least_squares(seed, echo):
    random, z, fronts, _ = scene(seed, count=6)
    found = np.array([1.0, random.integers(1, 6), 4.0 if echo else 0.0, random.uniform(0.5, 2.0), 0.4 if echo else 0.0])
    given_ = (fronts, 3, int(random.integers(6)), found, (1, 16), 0.3, random.uniform(0.2, 2.0, 6))
    np.testing.assert_allclose(timing_kernels.polish(z, *given_), naive.polished(z, *given_), rtol=1e-6, atol=1e-9)


def test_polish_finds_a_place_between_two_places():
    """A front 0.3 steps off its place, in little noise: the step leads there."""
    t = np.arange(40.0)
    fronts = np.array(
        [[np.exp(-0.5 * ((t - 15.0 - p / 4.0) / w) ** 2) for p in range(4)] for w in (2.5, 3.0, 3.5, 4.0)]
    )
    z = np.exp(-0.5 * ((np.arange(60.0) - 15.0 - 5.0 - 0.3 / 4.0) / 3.0) ** 2)
    found = np.array([1.0, 20.0, 0.0, 1.0, 0.0])
    moved, sigma, left, power = timing_kernels.polish(z, fronts, 2, 1, found, (0, 60), 1e-6, np.full(6, 0.5))
    assert moved == pytest.approx(0.3, abs=0.01)
    assert 0.0 < sigma < 0.01
    assert left < 1e-4 * power


@given(seed=st.integers(0, 10**6), n=st.integers(3, 30), more=st.integers(0, 20))
@settings(max_examples=30)
def test_correlations_are_those_of_the_slow_twin(seed, n, more):
    random = np.random.default_rng(seed)
    heard, template = random.standard_normal(n + more), random.standard_normal(n)
    slow = [naive.correlation_coefficient(heard[lag : lag + n], template) for lag in range(more + 1)]
    np.testing.assert_allclose(timing_kernels.correlations(heard, template), slow, atol=1e-12)
    waves, lengths = np.array([template, template[::-1]]), np.array([n, 2])
    best = max(
        naive.correlation_coefficient(heard[lag : lag + m], wave[:m])
        for wave, m in zip(waves, lengths, strict=True)
        for lag in range(more + 1)
    )
    assert timing_kernels.likeliest_wave(heard, waves, lengths, more + 1) == pytest.approx(max(best, 0.0), abs=1e-12)


def test_silence_is_like_nothing():
    assert timing_kernels.correlations(np.zeros(9), np.ones(4)).tolist() == [0.0] * 6
    assert timing_kernels.likeliest_wave(np.zeros(9), np.ones((1, 4)), np.array([4]), 3) == 0.0
