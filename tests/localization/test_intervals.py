"""Intervals beside scipy's, and by the law that they must keep: to hold what is meant as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from localization.study.intervals import clustered_interval, poisson_interval, wilson


def outcomes(parts, sizes):
    return [(k, n < part) for k, (part, size) in enumerate(zip(parts, sizes, strict=True)) for n in range(size)]


@pytest.mark.parametrize(("part", "whole"), [(9, 10), (45, 50), (0, 7), (30, 30)])
def test_alone_it_is_wilsons(part, whole):
    """As scipy computes it, where every observation is a cluster of its own."""
    expected = stats.binomtest(part, whole).proportion_ci(method="wilson")
    each = [(k, k < part) for k in range(whole)]
    assert clustered_interval(each) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert wilson(part / whole, whole) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_few_clusters_are_wholly_dependent():
    """Five places of 33 shots: as five observations."""
    interval = clustered_interval(outcomes([33, 33, 33, 33, 28], [33] * 5))
    assert interval == pytest.approx(wilson(160 / 165, 5.0))
    assert interval[0] < 0.6
    assert interval[1] > 0.97


def test_one_large_cluster_among_small_ones():
    """150 shots from one place and five of elsewhere are hardly more than one observation, not six."""
    low, high = clustered_interval(outcomes([150, 1, 1, 1, 1, 0], [150, 1, 1, 1, 1, 1]))
    assert (low, high) == pytest.approx(wilson(154 / 155, 155.0**2 / (150.0**2 + 5.0)))


@pytest.mark.parametrize(("likeness", "share"), [(0.02, 0.9), (0.3, 0.8), (0.9, 0.7)])
def test_holds_as_often_as_it_says(likeness, share):
    """Shares of 40 clusters, 4 to 15 in each, that differ by a beta distribution of this correlation within clusters.

    It leaves a percent to the skew of such shares.
    """
    rng = np.random.default_rng(17)
    spread = 1.0 / likeness - 1.0
    held = []
    for _ in range(1000):
        sizes = rng.integers(4, 16, 40)
        parts = rng.binomial(sizes, rng.beta(share * spread, (1.0 - share) * spread, 40))
        low, high = clustered_interval(outcomes(parts, sizes))
        held.append(low <= share <= high)
    assert 0.94 - 3.0 * math.sqrt(0.95 * 0.05 / 1000.0) <= np.mean(held) <= 0.99


def test_naive_interval_would_not():
    """The same clusters without a word of clusters, so that the test above means something."""
    rng = np.random.default_rng(17)
    held = []
    for _ in range(300):
        part = rng.binomial(10, rng.beta(0.8, 0.2, 40)).sum()
        low, high = wilson(part / 400.0, 400.0)
        held.append(low <= 0.8 <= high)
    assert np.mean(held) < 0.7


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=200))
def test_lies_round_the_share(seen):
    share = sum(outcome for _, outcome in seen) / len(seen)
    low, high = clustered_interval(seen)
    assert 0.0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1.0
    assert high - low >= wilson(share, float(len(seen)))[1] - wilson(share, float(len(seen)))[0] - 1e-12


def test_of_nothing():
    assert clustered_interval([]) is None
    assert poisson_interval(0, 0.0) is None


@pytest.mark.parametrize("count", [0, 1, 7, 250])
def test_poisson_is_garwoods(count):
    low = stats.chi2.ppf(0.025, 2 * count) / 2.0 if count else 0.0
    high = stats.chi2.ppf(0.975, 2 * count + 2) / 2.0
    assert poisson_interval(count, 4.0) == pytest.approx((low / 4.0, high / 4.0), rel=1e-9)
