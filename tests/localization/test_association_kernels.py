"""The kernels of association: against their slow twins, and by what any associator owes."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from acoustic.air import Air
from localization import association_kernels as kernels
from localization import loudness
from localization.frame import Frame
from localization.habits import BIN_M, RANGES, Habits, hearing_table
from localization.search import LEVELS, Search, associate
from localization.solver import Solver
from localization.street import Street
from tests import naive, naive_association

SEED = st.integers(0, 2**32 - 1)
LATE = Street().lateness()
TABLE = hearing_table(np.full(len(RANGES), 1.0 / len(RANGES)))
NOTHING = np.empty(0)
C_M_PER_S = Air(temperature_c=20.0).sound_speed_m_per_s


def laid_out(picks):
    """Rows of numbers by sensor as `first` and one array for each column."""
    first = np.concatenate([[0], np.cumsum([len(rows) for rows in picks])]).astype(np.int64)
    width = max((len(row) for rows in picks for row in rows), default=4)
    flat = np.array([row for rows in picks for row in rows], dtype=float).reshape(-1, width)
    return first, *np.ascontiguousarray(flat.T)


def town(rng, count=12, side=1200.0):
    return np.column_stack([rng.uniform(0.0, side, (count, 2)), rng.uniform(5.0, 20.0, count)])


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


@given(SEED, st.integers(1, 40), st.integers(1, 12), st.floats(50.0, 5000.0))
def test_neighbours_are_the_nearest(seed, count, most, farthest):
    rng = np.random.default_rng(seed)
    sensors = town(rng, count)
    if count > 3:
        sensors[1] = sensors[0]  # two devices on one roof
        sensors[2, :2] = sensors[0, :2] + (3000.0, 0.0)
    fast = kernels.neighbours(sensors, most, farthest)
    slow = naive_association.neighbours(sensors, most, farthest)
    assert [row[row >= 0].tolist() for row in fast] == slow


@given(SEED)
@settings(max_examples=40)
def test_weigh_is_its_twin(seed):
    rng = np.random.default_rng(seed)
    sensors = town(rng)
    p = np.array([*rng.uniform(0.0, 1200.0, 2), 1.5, 340.0, *rng.normal(0.0, 3.0, 2), rng.uniform(0.0, 1.0)])
    picks = []
    for sensor in sensors:
        arrival = p[6] + naive.travel_time(p[:3], sensor, p[3], p[4:6])
        own = [arrival + rng.normal(0.0, 0.01)] if rng.random() < 0.8 else []
        rows = sorted([*own, *rng.uniform(0.0, 6.0, rng.integers(0, 6))])
        picks.append([(t, rng.uniform(1e-4, 4e-3), rng.uniform(-1.0, 4.0), rng.uniform(0.05, 0.6)) for t in rows])
    listening, known = rng.random(len(sensors)) < 0.7, rng.uniform(1e-4, 3e-3, len(sensors))
    asked = rng.permutation(len(sensors)).astype(np.int64)
    blur, path = rng.uniform(0.0, 4.0), rng.uniform(5e-4, 6e-3)
    first, times, sigma, gains, outlier = laid_out(picks)
    members, reach = np.empty(len(asked), np.int64), np.empty(len(RANGES))
    fast = kernels.weigh(
        p, blur, path, asked, sensors, known, listening, first, times, sigma, gains, outlier,
        np.ones(len(times), bool), LATE, TABLE, reach, members,
    )  # fmt: skip
    slow, slow_members = naive_association.weighed(
        p, blur, path, asked, sensors, known, listening, picks, LATE, TABLE, BIN_M, kernels.HARDLY
    )
    assert fast == pytest.approx(slow, rel=1e-9, abs=1e-9)
    assert [m - first[s] if m >= 0 else -1 for m, s in zip(members, asked, strict=True)] == slow_members


@given(SEED, st.integers(4, 12))
@settings(max_examples=30)
def test_log_volume_is_its_twin(seed, count):
    rng = np.random.default_rng(seed)
    sensors = town(rng, count)
    p = np.array([*rng.uniform(200.0, 1000.0, 2), 1.5, 340.0, 1.0, -2.0, 0.3])
    sigmas, weights = rng.uniform(1e-3, 6e-3, count), rng.uniform(0.5, 1.0, count)
    prior_sigma = np.array([np.inf, np.inf, 5.0, 2.0, 3.0, 3.0, np.inf])
    fast = kernels.log_volume(sensors, sigmas, weights, prior_sigma, p)
    assert fast == pytest.approx(naive_association.log_volume(sensors, sigmas, weights, prior_sigma, p), abs=1e-2)


@given(SEED)
@settings(max_examples=30)
def test_further_rounds_are_their_twins(seed):
    rng = np.random.default_rng(seed)
    heard = np.array([0, 2, 3, 4])
    offsets, levels = rng.uniform(0.2, 2.0, 4), rng.uniform(70.0, 90.0, 4)
    picks: list[list[tuple[float, float, float]]] = [[] for _ in range(5)]
    for row, sensor in enumerate(heard):
        own = [(s + offsets[row] + rng.normal(0.0, 0.002), levels[row] + rng.normal(0.0, 2.0)) for s in (0.5, 0.9, 1.7)]
        chance = [(t, rng.uniform(60.0, 90.0)) for t in rng.uniform(0.0, 4.0, 4)]
        picks[sensor] = sorted((t, 2.0, level) for t, level in own + chance)
    rules = np.zeros(kernels.RULES)
    rules[kernels.REPEAT_S], rules[kernels.LOG_REPEAT] = 0.003, -4.9
    rules[[kernels.SAME_DB, kernels.SAME_SIGMA_DB, kernels.OTHER_DB, kernels.OTHER_SIGMA_DB]] = 0.0, 3.0, -8.0, 8.0
    first, times, gains, db = laid_out(picks)
    out, free = np.empty((64, 2)), np.ones(len(times), bool)
    count = kernels.repeats(heard, offsets, levels, first, times, gains, db, free, rules, 0.5, 0.0, 3.0, out)
    slow = naive_association.further_rounds(
        heard, offsets, levels, picks, 0.003, (0.0, 3.0), (-8.0, 8.0), -4.9, 0.5, 0.0, 3.0
    )
    assert all(out[k, 1] >= out[k + 1, 1] for k in range(count - 1))
    for start, score in out[:count]:
        assert any(score == pytest.approx(s, abs=1e-9) and start == pytest.approx(t, abs=1e-9) for t, s in slow)
    best = max((score for _, score in slow), default=None)
    assert (count == 0) == (best is None)
    assert best is None or out[0, 1] == pytest.approx(best, abs=1e-9)


@given(SEED)
@settings(max_examples=30)
def test_echo_rates_are_their_twin(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 8, 3)
    picks = [sorted((t, rng.uniform(50.0, 90.0)) for t in rng.uniform(0.0, 3.0, size)) for size in sizes]
    picks = [[(t, level if rng.random() < 0.8 else math.nan) for t, level in rows] for rows in picks]
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    times = np.array([t for rows in picks for t, _ in rows])
    levels = np.array([level for rows in picks for _, level in rows])
    fast = np.empty(len(times))
    kernels.echo_rates(times, levels, first, 5.0, 0.3, -8.0, 8.0, fast)
    slow = [
        rate
        for rows in picks
        for rate in naive_association.echo_rates([t for t, _ in rows], [v for _, v in rows], 5.0, 0.3, -8.0, 8.0)
    ]
    assert fast == pytest.approx(slow)


@given(SEED)
@settings(max_examples=30)
def test_loudness_is_what_the_records_say(seed):
    """The kernel, and `localization.loudness` in numpy: the same odds for levels, and for those who heard nothing."""
    rng = np.random.default_rng(seed)
    sensors, p = town(rng), np.array([600.0, 500.0, 1.5, 340.0, 0.0, 0.0, 0.0])
    members = np.where(rng.random(12) < 0.6, np.arange(12), -1)
    pressures = np.where(rng.random(12) < 0.8, rng.uniform(60.0, 110.0, 12), math.nan)
    censored, listening = rng.random(12) < 0.3, rng.random(12) < 0.8
    floors = np.where(rng.random(12) < 0.8, rng.uniform(40.0, 70.0, 12), math.nan)
    fast = kernels.loudness(
        members, np.arange(12), p, sensors, listening, pressures, censored, floors, TABLE, LEVELS
    )  # fmt: skip
    far = np.linalg.norm(sensors - p[:3], axis=1)
    heard, silent = members >= 0, (members < 0) & listening & ~np.isnan(floors)
    slow = loudness.loudness_odds(pressures[heard], censored[heard], far[heard])
    audible = naive_association.audible_share(
        pressures[heard], censored[heard], far[heard], far[silent], floors[silent]
    )
    share = np.exp(TABLE[-1, (far[silent] / BIN_M).astype(int), 0])
    slow += float(np.sum(np.log1p(-share * audible) - np.log1p(-share)))
    assert fast == pytest.approx(slow, abs=1e-9)


def test_air_is_learnt_from_bangs_that_know_it():
    """Twenty bangs through a wind of 5 m/s, each fitted with the air that really was: that air comes out."""
    rng = np.random.default_rng(1)
    sensors = town(rng, 12)
    prior = np.array([0.0, 0.0, 1.5, 340.0, 0.0, 0.0, 0.0])
    matrix, vector = np.zeros((3, 3)), np.zeros(3)
    truth = np.array([343.0, 3.0, -4.0])
    for _ in range(20):
        p = np.array([*rng.uniform(200.0, 1000.0, 2), 1.5, *truth, 0.0])
        times = np.array([naive.travel_time(p[:3], s, p[3], p[4:6]) for s in sensors]) + rng.normal(0.0, 0.001, 12)
        kernels.learn_air(
            p, np.arange(12), np.arange(12), sensors, np.zeros(12), times, np.full(12, 1e-3), 0.0, prior, matrix, vector
        )
    learnt = prior[3:6] + np.linalg.solve(matrix, vector)
    sigma = np.sqrt(np.diag(np.linalg.inv(matrix)))
    assert np.all(np.abs(learnt - truth) < 4.0 * sigma)
    assert np.all(sigma < 0.3)


# What any associator owes: laws, on nights whose truth is known.


def night(seed, count=36, bangs=6, clutter=20, shift=(0.0, 0.0)):
    """Sensors on 1.9 km a side that hear everything within 700 m, and noise: sensors, times, owner, bang."""
    rng = np.random.default_rng(seed)
    sensors = town(rng, count, 1900.0)
    times, owner, bang = [], [], []
    for k in range(bangs):
        place = np.array([*rng.uniform(200.0, 1700.0, 2), 1.5])
        for s, sensor in enumerate(sensors):
            if np.linalg.norm(sensor - place) < 700.0:
                times.append(3.0 + 4.0 * k + np.linalg.norm(sensor - place) / C_M_PER_S + rng.normal(0.0, 0.001))
                owner.append(s)
                bang.append(k)
    times += rng.uniform(0.0, 4.0 * bangs + 3.0, clutter).tolist()
    owner += rng.integers(0, count, clutter).tolist()
    bang += [-1] * clutter
    return sensors + np.array([*shift, 0.0]), np.array(times), np.array(owner), np.array(bang)


def search(sensors):
    air = Air(temperature_c=20.0, temperature_sigma_c=2.0, wind_sigma_m_per_s=2.0)
    return Search(Solver(Frame(), air, Street(), 1.5, 2.0), sensors, np.full(len(sensors), 3e-4))


def groups(assigned):
    return {frozenset(np.flatnonzero(assigned == k).tolist()) for k in set(assigned.tolist()) - {-1}}


@pytest.mark.parametrize("seed", range(5))
def test_every_bang_is_found_with_its_picks(seed):
    sensors, times, owner, bang = night(seed)
    found = groups(associate(search(sensors), times, owner, np.full(len(times), 1e-3)))
    truth = [frozenset(np.flatnonzero(bang == k).tolist()) for k in range(bang.max() + 1)]
    for picks in truth:
        if len(picks) >= 5:
            assert max(len(picks & other) / max(len(picks), len(other)) for other in found) >= 0.8
    assert len(found) <= len(truth)


@given(st.integers(0, 20), st.randoms(use_true_random=False))
@settings(max_examples=8)
def test_the_order_of_pulses_does_not_matter(seed, dice):
    sensors, times, owner, _ = night(seed)
    order = list(range(len(times)))
    dice.shuffle(order)
    sigma = np.full(len(times), 1e-3)
    straight = associate(search(sensors), times, owner, sigma)
    shuffled = np.empty_like(straight)
    shuffled[order] = associate(search(sensors), times[order], owner[order], sigma)
    assert groups(straight) == groups(shuffled)


@given(st.integers(0, 20), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
@settings(max_examples=8)
def test_a_town_elsewhere_hears_the_same(seed, east, north):
    sensors, times, owner, _ = night(seed)
    moved, *_ = night(seed, shift=(east, north))
    sigma = np.full(len(times), 1e-3)
    assert groups(associate(search(sensors), times, owner, sigma)) == groups(
        associate(search(moved), times, owner, sigma)
    )


def test_one_sensor_speaks_once_of_a_bang():
    sensors, times, owner, _ = night(3, clutter=200)
    assigned = associate(search(sensors), times, owner, np.full(len(times), 1e-3))
    for picks in groups(assigned):
        assert len({owner[i] for i in picks}) == len(picks)


def test_noise_alone_is_no_bang():
    rng = np.random.default_rng(5)
    sensors = town(rng, 36, 1900.0)
    times, owner = rng.uniform(0.0, 300.0, 1800), rng.integers(0, 36, 1800)
    assert groups(associate(search(sensors), times, owner, np.full(1800, 1e-3))) == set()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_sensors_and_few_pulses_do_no_harm(count):
    sensors = town(np.random.default_rng(0), max(count, 1))[:count]
    for pulses in (0, 1, count):
        if pulses and not count:
            continue
        times = np.linspace(0.0, 0.1, pulses)
        owner = np.arange(pulses) % max(count, 1)
        assert len(associate(search(sensors), times, owner, np.full(pulses, 1e-3))) == pulses


def test_a_spent_budget_is_counted():
    sensors, times, owner, _ = night(0)
    order = np.argsort(times)
    searcher = search(sensors)
    habits = Habits(searcher.street, searcher.area_m2)
    first = np.searchsorted(np.sort(owner), np.arange(len(sensors) + 1)).astype(np.int64)
    by_sensor = np.lexsort((times, owner))
    t, o = times[by_sensor], owner[by_sensor]
    seed = int(np.flatnonzero(by_sensor == order[5])[0])
    found = np.empty((4, 4))
    arguments = (
        seed, searcher.near, searcher.sensors, searcher.known, np.ones(len(sensors), bool), first, o, t,
        np.full(len(t), 2.0), np.ones(len(t), bool), searcher.prior, 0.5, TABLE, searcher.rules(habits), found,
    )  # fmt: skip
    _, all_of_them = kernels.seek(*arguments, 10_000)
    _, with_less = kernels.seek(*arguments, 1)
    assert all_of_them == with_less > 1


def test_a_change_of_the_solvers_kernels_renews_those_that_call_them(root):
    """numba's cache looks at one file only: the other one's hash stands in it (decision 0002)."""
    text = (root / "localization" / "solver_kernels.py").read_bytes()
    assert hashlib.sha256(text).hexdigest()[:12] == kernels.SOLVER_KERNELS, "write the new hash into the file"
