"""The kernels of localization beside their slow twins, and the laws they must keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from localization import kernels
from localization.street import Street
from tests import naive

LATE = Street().late()
HEARING = np.array([0.95, 900.0])
METRES = st.floats(-1500.0, 1500.0)
SEED = st.integers(0, 2**32 - 1)


def scene(seed, count=8, spread=800.0):
    """Sensors, a source among them, and its parameters with air that moves."""
    rng = np.random.default_rng(seed)
    sensors = np.column_stack([rng.uniform(-spread, spread, (count, 2)), rng.uniform(5.0, 30.0, count)])
    p = np.array([*rng.uniform(-0.8 * spread, 0.8 * spread, 2), 1.5, 340.0, *rng.normal(0.0, 3.0, 2), 0.7])
    times = np.array([p[6] + naive.travel_time(p[:3], s, p[3], p[4:6]) for s in sensors])
    return rng, sensors, p, times


@given(SEED, METRES, METRES, st.floats(0.0, 60.0), st.floats(-8.0, 8.0), st.floats(-8.0, 8.0))
def test_travel_time_is_its_twin(seed, east, north, up, wind_east, wind_north):
    assume(math.hypot(east, north, up) > 1e-3)
    fast = kernels.travel_time(east, north, up, 340.0, wind_east, wind_north)
    assert fast == pytest.approx(
        naive.travel_time((0, 0, 0), (east, north, up), 340.0, (wind_east, wind_north)), rel=1e-12
    )


def test_no_distance_takes_no_time():
    assert kernels.travel_time(0.0, 0.0, 0.0, 340.0, 3.0, 0.0) == 0.0


def travel_in_wind(way, speed, wind):
    """The root of |way - wind t| = speed t."""
    a, b = speed**2 - wind @ wind, way @ wind
    return (math.sqrt(b * b + a * (way @ way)) - b) / a


@given(SEED, st.floats(10.0, 10_000.0), st.floats(-30.0, 30.0), st.floats(-30.0, 30.0))
def test_three_arrivals_hold_the_source(seed, side, wind_east, wind_north):
    """Of the one or two places that three arrivals allow, one is the source, to a millionth of the array's side.

    Sound as it is in moving air: a sphere whose middle goes with the wind.
    """
    rng = np.random.default_rng(seed)
    sensors = np.column_stack([rng.uniform(-side, side, (3, 2)), rng.uniform(0.0, 0.02 * side, 3)])
    source = np.array([*rng.uniform(-side, side, 2), 0.0])
    breadth = np.linalg.svd(sensors[:, :2] - sensors[:, :2].mean(axis=0), compute_uv=False)[1]
    assume(breadth > 0.2 * side)
    wind = np.array([wind_east, wind_north, 0.0])
    times = np.array([5.0 + travel_in_wind(s - source, 343.0, wind) for s in sensors])
    out = np.empty((2, 3))
    found = kernels.three_arrivals(*sensors.T.copy(), times, 0.0, 343.0, wind_east, wind_north, out)
    nearest = min((math.hypot(*(out[k, :2] - source[:2])) for k in range(found)), default=math.inf)
    # Where the two roots meet, half of the digits go: the square root of the rounding error remains.
    assert nearest < 1e-5 * side


def test_three_on_a_line_say_nothing():
    out = np.empty((2, 3))
    line = np.array([0.0, 100.0, 250.0])
    assert (
        kernels.three_arrivals(line, 2.0 * line, np.zeros(3), np.array([1.0, 1.1, 1.3]), 0.0, 343.0, 0.0, 0.0, out) == 0
    )


@given(SEED)
def test_prediction_and_its_derivatives(seed):
    _, sensors, p, _ = scene(seed, count=1)
    gradient, scratch = np.empty(7), np.empty(7)
    arrival = kernels.predict(sensors[0], p, gradient)
    assert arrival == pytest.approx(p[6] + naive.travel_time(p[:3], sensors[0], p[3], p[4:6]), rel=1e-13)
    for k in range(7):
        step = np.zeros(7)
        step[k] = 1e-3
        slope = (kernels.predict(sensors[0], p + step, scratch) - kernels.predict(sensors[0], p - step, scratch)) / 2e-3
        assert gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-9)


def test_late_density_is_one_and_mostly_late():
    r = np.linspace(-8.0, 8.0, 1_600_001)
    density = np.array([kernels.late_density(float(v), LATE) for v in r[::16]])
    assert float(np.trapezoid(density, r[::16])) == pytest.approx(1.0, abs=1e-4)
    late = float(np.trapezoid(density[r[::16] > 0.0], r[::16][r[::16] > 0.0]))
    assert late == pytest.approx(0.8 * Street().late_share + 0.1, abs=0.06)


@given(st.floats(-1.0, 1.0))
def test_late_slope_is_that_of_the_density(residual):
    step = 1e-6
    ahead, behind = (math.log(kernels.late_density(residual + sign * step, LATE)) for sign in (1.0, -1.0))
    assert kernels.late_parts(residual, LATE)[2] == pytest.approx((behind - ahead) / (2.0 * step), rel=1e-4, abs=1e-3)


@given(SEED)
def test_log_posterior_is_its_twin(seed):
    rng, sensors, p, times = scene(seed)
    times = times + rng.normal(0.0, 0.02, len(times))
    sigmas, outlier = rng.uniform(0.002, 0.01, len(times)), rng.uniform(0.05, 0.5, len(times))
    prior, prior_sigma = p + rng.normal(0.0, 1.0, 7), np.array([np.inf, np.inf, 10.0, 2.0, 3.0, 3.0, np.inf])
    residuals, weights = np.empty(len(times)), np.empty(len(times))
    fast = kernels.log_posterior(sensors, times, sigmas, outlier, prior, prior_sigma, LATE, p, residuals, weights)
    slow, slow_weights = naive.log_posterior(sensors, times, sigmas, outlier, prior, prior_sigma, LATE, p)
    assert fast == pytest.approx(slow, rel=1e-10)
    assert weights == pytest.approx(slow_weights, abs=1e-10)


@given(SEED)
def test_cholesky_solves(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(5, 5))
    matrix, vector = root @ root.T + np.eye(5), rng.normal(size=5)
    expected = np.linalg.solve(matrix, vector)
    assert kernels.cholesky_solve(matrix.copy(), vector, 5)
    assert vector == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_cholesky_refuses_what_is_not_positive():
    assert not kernels.cholesky_solve(np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2), 2)


@pytest.mark.parametrize("seed", range(20))
def test_climb_finds_what_a_general_optimiser_finds(seed):
    """Arrivals that are all direct: the same place as Levenberg-Marquardt of scipy, to a millimetre."""
    rng, sensors, p, times = scene(seed)
    sigmas = np.full(len(times), 0.002)
    times = times + rng.normal(0.0, sigmas)
    prior = np.array([0.0, 0.0, 1.5, 341.0, 0.0, 0.0, 0.0])
    prior_sigma = np.array([np.inf, np.inf, 5.0, 2.0, 3.0, 3.0, np.inf])
    slow = naive.best_place(sensors, times, sigmas, prior, prior_sigma, p)
    fast = p + np.array([0.5, -0.4, 0.0, 0.0, 0.0, 0.0, 0.001])
    residuals, weights = np.empty(len(times)), np.empty(len(times))
    none = np.full(len(times), 1e-12)  # outliers excluded
    kernels.climb(sensors, times, sigmas, none, prior, prior_sigma, LATE, fast, residuals, weights, 100)
    assert fast[:2] == pytest.approx(slow.x[:2], abs=1e-3)
    covariance = np.empty((3, 3))
    assert kernels.place_covariance(sensors, sigmas, weights, prior_sigma, fast, covariance)
    full = np.linalg.inv(slow.jac.T @ slow.jac)
    assert covariance[:2, :2] == pytest.approx(full[:2, :2], rel=1e-3)
    assert covariance[2, 2] == pytest.approx(full[6, 6], rel=1e-3)


@given(SEED)
def test_climb_never_descends(seed):
    rng, sensors, p, times = scene(seed)
    times = times + np.where(rng.random(len(times)) < 0.3, rng.uniform(0.0, 0.3, len(times)), 0.0)
    sigmas, outlier = np.full(len(times), 0.005), np.full(len(times), 0.2)
    prior_sigma = np.array([np.inf, np.inf, 10.0, 2.0, 3.0, 3.0, np.inf])
    start = p + np.array([*rng.normal(0.0, 100.0, 2), 0.0, 0.0, 0.0, 0.0, rng.normal(0.0, 0.1)])
    residuals, weights = np.empty(len(times)), np.empty(len(times))
    before = kernels.log_posterior(sensors, times, sigmas, outlier, p, prior_sigma, LATE, start, residuals, weights)
    after = kernels.climb(sensors, times, sigmas, outlier, p, prior_sigma, LATE, start, residuals, weights, 60)
    assert after >= before
    assert np.all(np.isfinite(start))


def laid_out(picks):
    """Picks (time, gain, third) by sensor as the arrays that the kernels take."""
    first = np.concatenate([[0], np.cumsum([len(rows) for rows in picks])]).astype(np.int64)
    flat = np.array([row for rows in picks for row in rows], dtype=float).reshape(-1, 3)
    return first, *np.ascontiguousarray(flat.T)


@given(SEED)
def test_support_is_its_twin(seed):
    rng, sensors, p, times = scene(seed, spread=1500.0)
    picks = []
    for k, t in enumerate(times):
        own = [t + rng.normal(0.0, 0.01)] if rng.random() < 0.8 else []
        rows = sorted([*own, *rng.uniform(0.0, 6.0, rng.integers(0, 6))])
        picks.append([(t, rng.uniform(-1.0, 4.0), rng.uniform(0.05, 0.6)) for t in rows])
        assert k < len(sensors)
    listening = rng.random(len(sensors)) < 0.7
    sigmas, air_sigma = np.full(len(sensors), 0.006), rng.uniform(0.0, 4.0, 2)
    around = rng.permutation(len(sensors)).astype(np.int64)
    first, flat_times, gains, outlier = laid_out(picks)
    members = np.empty(len(around), np.int64)
    free = np.ones(len(flat_times), bool)
    fast = kernels.support(
        p,
        air_sigma,
        around,
        sensors,
        listening,
        first,
        flat_times,
        free,
        gains,
        outlier,
        sigmas,
        LATE,
        HEARING,
        members,
    )
    slow, slow_members = naive.silence_and_sound(p, air_sigma, around, sensors, listening, picks, sigmas, LATE, HEARING)
    assert fast == pytest.approx(slow, rel=1e-9, abs=1e-9)
    assert [m - first[s] if m >= 0 else -1 for m, s in zip(members, around, strict=True)] == slow_members


@given(SEED)
def test_candidates_hold_the_source(seed):
    """Clean arrivals at four sensors or more: a candidate lies at the source, with every sensor in it."""
    rng, sensors, p, _ = scene(seed, count=6, spread=400.0)
    breadth = np.linalg.svd(sensors[:, :2] - sensors[:, :2].mean(axis=0), compute_uv=False)[1]
    assume(breadth > 200.0)
    p[4:6] = 0.0
    times = np.array([p[6] + naive.travel_time(p[:3], s, p[3], p[4:6]) for s in sensors])
    picks = [[(t, 3.0, 0.1)] for t in times]
    first, flat_times, gains, outlier = laid_out(picks)
    order = np.array(
        [np.argsort(np.hypot(*(sensors[:, :2] - s[:2]).T), kind="stable") for s in sensors], dtype=np.int64
    )
    seeds = np.array([int(np.argmin(flat_times))])
    found = np.empty((1, 8, 4))
    prior = p.copy()
    prior[[0, 1, 6]] = 0.0
    counts, untried = kernels.candidates(
        seeds, order[:, 1:].copy(), order, sensors, np.ones(6, bool), first, np.arange(6), flat_times, np.ones(6, bool),
        gains, outlier, np.full(6, 0.006), prior, np.array([0.6, 2.0]), LATE, HEARING, 2500.0, found, 10_000,
    )  # fmt: skip
    assert untried == 0
    best = max(found[0, : counts[0]], key=lambda row: row[3])
    near = min(math.hypot(*(row[:2] - p[:2])) for row in found[0, : counts[0]] if row[3] > best[3] - 1.0)
    assert near < 10.0  # within which candidates count as one
    assert rng is not None


def test_a_spent_budget_is_counted():
    _, sensors, p, times = scene(3, count=6, spread=400.0)
    picks = [[(t, 3.0, 0.1)] for t in times]
    first, flat_times, gains, outlier = laid_out(picks)
    order = np.array(
        [np.argsort(np.hypot(*(sensors[:, :2] - s[:2]).T), kind="stable") for s in sensors], dtype=np.int64
    )
    found = np.empty((1, 8, 4))
    seeds, every = np.array([int(np.argmin(flat_times))]), np.ones(6, bool)
    arguments = (
        seeds, order[:, 1:].copy(), order, sensors, every, first, np.arange(6), flat_times, every, gains, outlier,
        np.full(6, 0.006), p, np.array([0.6, 2.0]), LATE, HEARING, 2500.0, found,
    )  # fmt: skip
    assert kernels.candidates(*arguments, 4)[1] == kernels.candidates(*arguments, 0)[1] - 4 > 0


@given(SEED)
def test_further_rounds_are_their_twins(seed):
    rng = np.random.default_rng(seed)
    heard = np.array([0, 2, 3, 4])
    offsets, levels = rng.uniform(0.2, 2.0, 4), rng.uniform(70.0, 90.0, 4)
    starts = [0.5, 0.9, 1.7]
    picks: list[list[tuple[float, float, float]]] = [[] for _ in range(5)]
    for row, sensor in enumerate(heard):
        own = [(start + offsets[row] + rng.normal(0.0, 0.002), levels[row] + rng.normal(0.0, 2.0)) for start in starts]
        chance = [(t, rng.uniform(60.0, 90.0)) for t in rng.uniform(0.0, 4.0, 4)]
        picks[sensor] = sorted((t, 2.0, level) for t, level in own + chance)
    same, other, log_rate = np.array([0.0, 3.0]), np.array([-8.0, 8.0]), -4.9
    first, times, gains, db = laid_out(picks)
    out = np.empty((64, 2))
    count = kernels.repeats(
        heard,
        offsets,
        levels,
        first,
        times,
        np.ones(len(times), bool),
        gains,
        db,
        0.003,
        same,
        other,
        log_rate,
        0.0,
        3.0,
        out,
    )
    slow = naive.further_rounds(heard, offsets, levels, picks, 0.003, same, other, log_rate, 0.0, 3.0)
    assert all(out[k, 1] >= out[k + 1, 1] for k in range(count - 1))
    for start, score in out[:count]:
        assert any(score == pytest.approx(s, abs=1e-9) and start == pytest.approx(t, abs=1e-9) for t, s in slow)
    best = max((score for _, score in slow), default=None)
    assert (count == 0) == (best is None)
    assert best is None or out[0, 1] == pytest.approx(best, abs=1e-9)
