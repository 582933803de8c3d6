"""Loudness: levels that fall with distance speak for a place, levels that do not speak against it."""

from __future__ import annotations

import numpy as np
import pytest

from localization.loudness import (
    AUDIBLE_DB,
    CHANCE_DB,
    DECAY_DB,
    LEVEL_AT_1_M_DB,
    SCATTER_DB,
    SOURCE_DB,
    loudness_odds,
)
from tests.naive_association import audible_share

DISTANCES = np.array([80.0, 200.0, 350.0, 600.0])
NEVER = np.zeros(4, bool)


def expected(distances):
    return LEVEL_AT_1_M_DB - DECAY_DB * np.log10(distances)


def twin(levels, distances):
    """The same by matrices: a common source level makes the levels of one bang correlated."""
    excess = levels - expected(distances)
    n = len(levels)
    covariance = SCATTER_DB**2 * np.eye(n) + SOURCE_DB**2 * np.ones((n, n))
    bang = -0.5 * excess @ np.linalg.solve(covariance, excess) - 0.5 * np.linalg.slogdet(covariance)[1]
    chance = (levels - CHANCE_DB[0]) / CHANCE_DB[1]
    return float(np.clip(bang + 0.5 * chance @ chance + n * np.log(CHANCE_DB[1]), -3.0 * n, 1.0))


@pytest.mark.parametrize("seed", range(30))
def test_is_its_twin(seed):
    levels = np.random.default_rng(seed).normal(80.0, 12.0, 4)
    assert loudness_odds(levels, NEVER, DISTANCES) == pytest.approx(twin(levels, DISTANCES), abs=1e-9)


def test_a_bang_falls_with_distance():
    levels = expected(DISTANCES)
    assert loudness_odds(levels, NEVER, DISTANCES) > 0.0
    assert loudness_odds(levels[::-1].copy(), NEVER, DISTANCES) < -3.0


def test_a_quieter_source_is_a_source_too():
    levels = expected(DISTANCES) - 8.0
    assert loudness_odds(levels, NEVER, DISTANCES) > -1.0


def test_a_clipped_level_says_only_at_least():
    """Four sensors at their ceiling of 93 dB: no word against a place near the first of them."""
    levels = np.full(4, 93.0)
    near = np.array([10.0, 30.0, 60.0, 300.0])
    assert loudness_odds(levels, np.ones(4, bool), near) > loudness_odds(levels, NEVER, near)


def test_unknown_levels_say_nothing():
    assert loudness_odds(np.full(4, np.nan), NEVER, DISTANCES) == 0.0


def test_a_quiet_bang_need_not_be_heard_by_all():
    """One in two where the expected level lies just `AUDIBLE_DB` above the noise; by the normal law about it."""
    levels, far = expected(DISTANCES), np.array([700.0])
    level_there = float(expected(far)[0])
    floors = np.array([level_there - AUDIBLE_DB + step for step in (-SCATTER_DB, 0.0, SCATTER_DB)])
    shares = audible_share(levels, NEVER, DISTANCES, np.repeat(far, 3), floors)
    assert shares == pytest.approx([0.8413, 0.5, 0.1587], abs=1e-4)
    quieter = audible_share(levels - 15.0, NEVER, DISTANCES, np.repeat(far, 3), floors)
    assert np.all(quieter < shares - 0.1)


def test_silence_counts_in_full_where_nothing_is_known():
    unknown = np.full(4, np.nan)
    assert audible_share(unknown, NEVER, DISTANCES, np.array([700.0]), np.array([50.0])).tolist() == [1.0]
    assert audible_share(expected(DISTANCES), NEVER, DISTANCES, np.array([9_000.0]), np.array([np.nan])).tolist() == [
        1.0
    ]
