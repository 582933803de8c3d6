"""The kernels of one bang beside their slow twins, and the laws they must keep."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from localization import solver_kernels as kernels
from localization.street import Street
from tests import naive, naive_solver

LATE = Street().lateness()
HEARING = np.array([0.95, 900.0])
SEED = st.integers(0, 2**32 - 1)
METRES = st.floats(-1500.0, 1500.0)
PRIOR_SIGMA = np.array([np.inf, np.inf, 2.0, 1.5, 3.0, 3.0, np.inf])
KNOWN = np.array([np.inf, np.inf, 0.0, 0.0, 0.0, 0.0, np.inf])
ONE_SCALE = np.array([[0.0, 1.0]])


@dataclasses.dataclass
class Case:
    """Sensors, the bang's parameters, and arrivals without noise."""

    rng: np.random.Generator
    sensors: np.ndarray
    p: np.ndarray
    times: np.ndarray

    @property
    def prior(self):
        """What is believed beforehand: the truth, but for place and discharge."""
        return np.array([0.0, 0.0, *self.p[2:6], 0.0])


def case(seed, count=8, spread=800.0, inside=0.8, up=25.0):
    rng = np.random.default_rng(seed)
    sensors = np.column_stack([rng.uniform(-spread, spread, (count, 2)), rng.uniform(0.2 * up, 1.2 * up, count)])
    p = np.array([*rng.uniform(-inside * spread, inside * spread, 2), 1.5, 340.0, *rng.normal(0.0, 3.0, 2), 0.7])
    return Case(rng, sensors, p, np.array([p[6] + naive.travel_time(p[:3], s, p[3], p[4:6]) for s in sensors]))


def broad(sensors):
    """Whether the sensors stand well apart in both directions."""
    length, breadth = np.linalg.svd(sensors[:, :2] - sensors[:, :2].mean(axis=0), compute_uv=False)[:2]
    return breadth > 0.3 * length


@dataclasses.dataclass
class Places:
    """What `place_bang` found: its arrays, distinct rows only, heaviest first."""

    p: np.ndarray
    mass: np.ndarray
    covariance: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray
    path_s: np.ndarray
    quantile: np.ndarray
    height_share: np.ndarray

    @property
    def count(self):
        return len(self.p)


def place(sensors, times, prior, prior_sigma=KNOWN, *, sigma=0.001, outlier=0.1, gates=(0.0, 0.005), scales=ONE_SCALE,
          hearing=HEARING, survey=None, most=24):  # fmt: skip
    n = len(times)
    arrays = [np.empty((most, 7)), np.empty(most), np.empty((most, 3, 3)), np.empty((most, n)), np.empty((most, n))]
    chosen, scale = np.empty(most, np.int64), np.empty((most, 3))
    count = kernels.place_bang(
        np.ascontiguousarray(sensors), times, np.full(n, sigma), np.zeros((n, 2)) if survey is None else survey,
        np.full(n, outlier), prior, prior_sigma, LATE, hearing, np.array(gates), scales, 0.95, *arrays, chosen, scale,
    )  # fmt: skip
    rows = chosen[:count]
    return Places(*(array[rows] for array in arrays), *scale[rows].T)


@given(SEED, METRES, METRES, st.floats(0.0, 60.0), st.floats(-8.0, 8.0), st.floats(-8.0, 8.0))
def test_travel_time_is_its_twin(seed, east, north, up, wind_east, wind_north):
    assume(math.hypot(east, north, up) > 1e-3)
    fast = kernels.travel_time(east, north, up, 340.0, wind_east, wind_north)
    assert fast == pytest.approx(
        naive.travel_time((0, 0, 0), (east, north, up), 340.0, (wind_east, wind_north)), rel=1e-12
    )


def test_no_distance_takes_no_time():
    assert kernels.travel_time(0.0, 0.0, 0.0, 340.0, 3.0, 0.0) == 0.0


@given(SEED)
def test_prediction_and_its_derivatives(seed):
    c = case(seed, count=3)
    rows = np.empty((3, 7))
    arrivals = [kernels.predict(c.sensors, i, c.p, rows) for i in range(3)]
    assert arrivals == pytest.approx(list(c.times), rel=1e-12)
    assert rows == pytest.approx(naive_solver.jacobian(c.sensors, c.p), rel=1e-4, abs=1e-9)


@given(SEED, st.integers(4, 14), st.floats(10.0, 10_000.0), st.floats(-1e5, 1e5))
def test_closed_form_holds_the_source(seed, count, side, offset_s):
    """Without noise one of the two roots is the source, to a thousandth of the array's side: a start, no answer yet."""
    c = case(seed, count, side, inside=1.0, up=0.02 * side)
    assume(broad(c.sensors))
    c.p[4:6] = 0.0
    times = np.array([offset_s + naive.travel_time(c.p[:3], s, 340.0, (0.0, 0.0)) for s in c.sensors])
    out = np.empty((2, 3))
    order = np.argsort(times, kind="stable")
    found = kernels.spheres(c.sensors, times, order, count, c.p[2], 340.0, 0.0, 0.0, out)
    nearest = min(math.hypot(*(out[k, :2] - c.p[:2])) for k in range(found))
    assert nearest < 1e-3 * side  # a root near its twin loses half of the digits; the solver polishes it


def test_on_a_line_the_closed_form_says_nothing():
    line = np.column_stack([np.array([0.0, 100.0, 250.0, 400.0]), np.array([0.0, 200.0, 500.0, 800.0]), np.zeros(4)])
    times, out = np.array([1.0, 1.1, 1.3, 1.4]), np.empty((2, 3))
    assert kernels.spheres(line, times, np.arange(4), 4, 0.0, 343.0, 0.0, 0.0, out) == 0


@given(st.floats(-2.0, 2.0))
def test_late_density_is_its_twin(residual):
    density, slope = kernels.late_parts(residual, LATE)
    assert density == pytest.approx(naive_solver.late_density(residual, LATE), rel=1e-9)
    step = 1e-6
    ahead, behind = (kernels.late_parts(residual + s, LATE)[0] for s in (step, -step))
    assume(ahead > 1e-200)
    assert slope == pytest.approx(-(math.log(ahead) - math.log(behind)) / (2.0 * step), rel=1e-3, abs=1e-3)


def test_late_density_is_one_and_late():
    def density(r):
        return kernels.late_parts(r, LATE)[0]

    behind = integrate.quad(density, 0.0, 5.0, limit=400)[0]
    before = integrate.quad(density, -5.0, 0.0, limit=400)[0]
    assert behind + before == pytest.approx(1.0, rel=1e-4)
    assert behind > 0.85


@given(SEED, st.sampled_from([0.0, 0.02, 0.3]))
def test_posterior_is_its_twin(seed, outlier):
    c = case(seed)
    n = len(c.times)
    times = c.times + c.rng.normal(0.0, 0.004, n)
    times[:2] += c.rng.uniform(0.0, 0.2 if outlier else 0.004, 2)
    p = c.p + c.rng.normal(0.0, 1.0, 7) * (1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.001)
    sigmas, shares = c.rng.uniform(0.002, 0.01, n), np.full(n, outlier)
    residuals, weights, pulls, rows = np.empty(n), np.empty(n), np.empty(n), np.empty((n, 7))

    def value(q):
        return kernels.evaluate(
            c.sensors, times, sigmas, shares, c.p, PRIOR_SIGMA, LATE, q, residuals, weights, pulls, rows
        )

    here = value(p)
    expected, direct = naive_solver.log_posterior(c.sensors, times, sigmas, shares, c.p, PRIOR_SIGMA, LATE, p)
    assert here == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert weights == pytest.approx(np.array(direct), rel=1e-7, abs=1e-12)
    gradient = rows.T @ pulls
    for k in (0, 1, 6):
        step = np.zeros(7)
        step[k] = 1e-5 if k < 2 else 1e-8
        assert gradient[k] == pytest.approx((value(p + step) - value(p - step)) / (2.0 * step[k]), rel=1e-3, abs=1e-2)


def test_a_hopeless_certain_arrival_still_pulls():
    """An arrival that can only be direct, a second off: no density is left, yet the climb must know the way."""
    c = case(5)
    times = c.times.copy()
    times[0] += 1.0
    sigmas, n = np.full(8, 0.001), 8
    arrays = np.empty(n), np.empty(n), np.empty(n), np.empty((n, 7))
    far = kernels.evaluate(c.sensors, times, sigmas, np.zeros(n), c.p, PRIOR_SIGMA, LATE, c.p, *arrays)
    assert arrays[2][0] > 0.0
    times[0] -= 0.5
    assert kernels.evaluate(c.sensors, times, sigmas, np.zeros(n), c.p, PRIOR_SIGMA, LATE, c.p, *arrays) > far


@given(SEED)
@settings(max_examples=30)
def test_climb_ends_where_a_general_optimiser_does(seed):
    c = case(seed)
    assume(broad(c.sensors))
    n = len(c.times)
    times, sigmas = c.times + c.rng.normal(0.0, 0.001, n), np.full(n, 0.001)
    start = c.p + np.array([15.0, -10.0, 0.0, 0.0, 0.0, 0.0, 0.02])
    p, arrays = start.copy(), (np.empty(n), np.empty(n), np.empty((n, 7)))
    kernels.ascend(c.sensors, times, sigmas, np.zeros(n), c.p, PRIOR_SIGMA, LATE, p, *arrays, 1e-6, 40)
    expected = naive.best_place(c.sensors, times, sigmas, c.p, PRIOR_SIGMA, c.p).x
    assert p[:2] == pytest.approx(expected[:2], abs=1e-3)
    assert p[6] == pytest.approx(expected[6], abs=3e-6)  # a millimetre of sound


@given(SEED)
def test_climb_never_descends(seed):
    c = case(seed)
    n = len(c.times)
    times = c.times + np.where(c.rng.random(n) < 0.4, c.rng.uniform(0.0, 0.3, n), 0.0)
    p = c.p + np.array([*c.rng.normal(0.0, 300.0, 2), 0.0, 0.0, 0.0, 0.0, 0.0])
    before = naive_solver.log_posterior(c.sensors, times, np.full(n, 0.003), np.full(n, 0.1), c.p, PRIOR_SIGMA, LATE, p)
    after = kernels.ascend(
        c.sensors, times, np.full(n, 0.003), np.full(n, 0.1), c.p, PRIOR_SIGMA, LATE, p, np.empty(n), np.empty(n),
        np.empty((n, 7)), 1e-4, 40,
    )  # fmt: skip
    assert after >= before[0] - 1e-9


@given(SEED, st.booleans())
def test_covariance_is_that_of_the_whole_information(seed, known_air):
    c = case(seed)
    assume(broad(c.sensors))
    n = len(c.times)
    prior_sigma = KNOWN if known_air else PRIOR_SIGMA
    sigmas, weights = c.rng.uniform(0.001, 0.01, n), c.rng.uniform(0.2, 1.0, n)
    rows, got = np.empty((n, 7)), np.empty((3, 3))
    for i in range(n):
        kernels.predict(c.sensors, i, c.p, rows)
    volume = kernels.spread(sigmas, weights, prior_sigma, rows, got)
    expected, log_volume = naive_solver.covariance(c.sensors, sigmas, weights, prior_sigma, c.p)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((got - expected) / scale).max() < 1e-4
    assert volume == pytest.approx(log_volume, abs=1e-3)


def test_two_arrivals_have_no_covariance():
    c = case(1)
    rows = np.empty((8, 7))
    for i in range(8):
        kernels.predict(c.sensors, i, c.p, rows)
    weights = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert kernels.spread(np.full(8, 0.001), weights, KNOWN, rows, np.empty((3, 3))) == -math.inf


@given(SEED)
def test_misfit_is_its_twin(seed):
    c = case(seed)
    n = len(c.times)
    times = c.times + np.where(c.rng.random(n) < 0.5, c.rng.normal(0.0, 0.1, n), c.rng.normal(0.0, 0.003, n))
    start = np.array([*(c.p[:2] + c.rng.normal(0.0, 5.0, 2)), c.p[6]])
    squares, costs = c.rng.uniform(1e-6, 1e-4, (2, n)), np.empty(2)
    kernels.misfit(c.sensors, times, squares, c.prior, 0.01, 900.0, start, costs)
    caps = kernels.BEHIND_CAP, kernels.AHEAD_CAP
    for g in range(2):
        expected = naive_solver.misfit(c.sensors, times, squares[g], c.prior, 0.01, 900.0, start, *caps)
        assert costs[g] == pytest.approx(expected, rel=1e-9)


def test_agreement_by_chance_is_as_rare_as_it_says():
    """Ten thousand random sets of arrivals: those that agree with a place by chance, beside what the kernel reckons."""
    rng = np.random.default_rng(3)
    c = case(12, count=5)
    squares, costs, out = np.full((1, 5), 0.003**2), np.empty(1), np.empty((2, 3))
    agreed, reckoned = 0, []
    for _ in range(10_000):
        times = c.times + np.concatenate([np.zeros(3), rng.uniform(0.0, 0.3, 2)])
        kernels.spheres(c.sensors, times, np.arange(3), 3, c.p[2], c.p[3], c.p[4], c.p[5], out)
        agree, chance, _ = kernels.misfit(c.sensors, times, squares, c.prior, 0.0, np.inf, out[0], costs)
        if agree == 4:
            agreed += 1
            reckoned.append(math.exp(chance))
    assert agreed > 100
    # Two more arrivals could have agreed: the chance of one is half of what was counted. A rough rule, to a factor of two.
    assert 0.5 < np.mean(reckoned) / (agreed / 10_000 / 2.0) < 2.0


@given(SEED)
@settings(max_examples=30)
def test_polish_is_least_squares(seed):
    c = case(seed, inside=0.6)
    assume(broad(c.sensors))
    n = len(c.times)
    times, squares = c.times + c.rng.normal(0.0, 0.001, n), c.rng.uniform(0.5e-6, 2e-6, n)
    place_, covariance = np.array([c.p[0] + 20.0, c.p[1] - 30.0, c.p[6]]), np.empty((3, 3))
    assert kernels.polish(c.sensors, times, squares, c.prior, 0.0, math.inf, 40, place_, covariance)
    expected, spread = naive_solver.least_squares(c.sensors, times, squares, c.prior, [*c.p[:2], c.p[6]])
    assert place_[:2] == pytest.approx(expected[:2], abs=1e-4)
    scale = np.sqrt(np.outer(np.diag(spread), np.diag(spread)))
    assert np.abs((covariance - spread) / scale).max() < 1e-3


def clean(sensors, times, p):
    """Many bangs by plain least squares."""
    places, covariances, good = np.empty((len(times), 3)), np.empty((len(times), 3, 3)), np.empty(len(times), np.bool_)
    squares, prior = np.full(len(sensors), 1e-6), np.array([0.0, 0.0, *p[2:6], 0.0])
    kernels.locate_clean(np.ascontiguousarray(sensors), times, squares, prior, places, covariances, good)
    return places, covariances, good


@given(SEED, st.integers(5, 12), st.floats(10.0, 10_000.0), st.floats(-1e3, 1e3))
def test_without_noise_to_a_millionth_of_a_metre(seed, count, side, offset_s):
    """From arrays of ten metres to ten kilometres, whenever it was."""
    c = case(seed, count, side, inside=1.0, up=0.02 * side)
    assume(broad(c.sensors))
    times = (c.times + offset_s)[None]
    places, _, good = clean(c.sensors, times, c.p)
    assert good[0]
    assert math.hypot(*(places[0, :2] - c.p[:2])) < 1e-6


@given(SEED, st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.0, 6.3), st.permutations(range(8)))
def test_moved_turned_and_shuffled(seed, east, north, turn, order):
    c = case(seed, inside=1.2)
    assume(broad(c.sensors))
    times = c.times + c.rng.normal(0.0, 0.001, 8)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    moved, p = c.sensors.copy(), c.p.copy()
    moved[:, :2] = moved[:, :2] @ rotation.T + (east, north)
    p[4:6] = rotation @ p[4:6]
    here, spread, _ = clean(c.sensors, times[None], c.p)
    there, other, _ = clean(moved[list(order)], times[list(order)][None], p)
    assert there[0, :2] == pytest.approx(rotation @ here[0, :2] + (east, north), abs=1e-4)
    assert other[0, :2, :2] == pytest.approx(rotation @ spread[0, :2, :2] @ rotation.T, rel=1e-4, abs=1e-9)


@given(SEED)
def test_hearing_is_its_twin(seed):
    c = case(seed, spread=3000.0)
    assert kernels.heard(c.sensors, c.p, HEARING) == pytest.approx(
        naive_solver.heard(c.sensors, c.p, HEARING), rel=1e-9
    )


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.05, 50.0)), min_size=1, max_size=6), st.floats(0.5, 0.99))
def test_region_quantile_is_its_twin(parts, confidence):
    shares, areas = np.array(parts).T
    shares = shares / shares.sum()
    got = kernels.region_quantile(shares, areas, confidence)
    assert got == pytest.approx(naive_solver.region_quantile(shares, areas, confidence), rel=1e-6)


def test_region_quantile_of_an_estimated_scale_is_that_of_f():
    """A scale known with v degrees of freedom is a mixture whose quantile is 2 F(2, v): 5.786 and 3.493 in print."""
    for freedom, f in ((5, 5.786), (20, 3.493)):
        shares = np.full(4000, 1.0 / 4000)
        areas = stats.invgamma.ppf((np.arange(4000) + 0.5) / 4000, freedom / 2.0, scale=freedom / 2.0)
        assert kernels.region_quantile(shares, areas, 0.95) == pytest.approx(2.0 * f, rel=5e-3)


@given(SEED)
def test_mirrored_twice_is_where_it_was(seed):
    c = case(seed)
    there = kernels.mirrored(c.sensors, *c.p[:2])
    assert kernels.mirrored(c.sensors, *there) == pytest.approx(tuple(c.p[:2]), abs=1e-6)


def test_sensors_on_a_line_hear_the_mirror_image_alike():
    line = np.column_stack([np.linspace(-400.0, 500.0, 6), 0.7 * np.linspace(-400.0, 500.0, 6) + 30.0, np.full(6, 8.0)])
    east, north = kernels.mirrored(line, 120.0, -340.0)
    one = np.hypot(line[:, 0] - 120.0, line[:, 1] + 340.0)
    assert np.hypot(line[:, 0] - east, line[:, 1] - north) == pytest.approx(one, rel=1e-9)


@given(SEED)
@settings(max_examples=30)
def test_scales_are_weighed_by_the_mass_below_them(seed):
    c = case(seed)
    assume(broad(c.sensors))
    n = len(c.times)
    times, squares, outlier = c.times + c.rng.normal(0.0, 0.004, n), np.full(n, 1e-6), np.full(n, 0.05)
    scales = np.array([[0.0, 0.3], [0.003, 0.5], [0.01, 0.2]])
    shares, areas = np.empty(3), np.empty(3)
    mass = kernels.weigh_scales(c.sensors, times, squares, outlier, c.p, PRIOR_SIGMA, LATE, c.p, scales, shares, areas)
    logs = []
    for scale, share in scales:
        sigmas = np.full(n, math.hypot(0.001, scale))
        value, weights = naive_solver.log_posterior(c.sensors, times, sigmas, outlier, c.p, PRIOR_SIGMA, LATE, c.p)
        _, volume = naive_solver.covariance(c.sensors, sigmas, weights, PRIOR_SIGMA, c.p)
        logs.append(math.log(share) + value + volume)
    assert mass == pytest.approx(np.logaddexp.reduce(logs), abs=1e-3)
    assert shares == pytest.approx(np.exp(np.array(logs) - np.logaddexp.reduce(logs)), abs=1e-3)


def test_weights_of_two_places_are_those_of_the_posterior():
    """Three sensors, two places: the odds between them by adding up the posterior over a fine grid of the plane."""
    sensors = np.array([[0.0, 0.0, 10.0], [400.0, 0.0, 10.0], [120.0, 300.0, 10.0]])
    p = np.array([-150.0, -110.0, 1.5, 340.0, 0.0, 0.0, 0.0])
    times = np.array([naive.travel_time(p[:3], s, 340.0, (0.0, 0.0)) for s in sensors])
    found = place(sensors, times, p, sigma=0.004, outlier=0.0, gates=(0.0,))
    assert found.count == 2
    logs = []
    for row, covariance in zip(found.p, found.covariance, strict=True):
        length = 6.0 * math.sqrt(covariance[0, 0] + covariance[1, 1])
        axis = np.linspace(-length, length, 801)
        east, north = np.meshgrid(row[0] + axis, row[1] + axis)
        ranges = np.sqrt((sensors[:, 0, None, None] - east) ** 2 + (sensors[:, 1, None, None] - north) ** 2 + 8.5**2)
        residuals = times[:, None, None] - ranges / 340.0
        residuals -= residuals.mean(axis=0)
        density = np.exp(-0.5 * np.sum((residuals / 0.004) ** 2, axis=0))
        hearing = np.prod(0.95 / (1.0 + (ranges / 900.0) ** 3), axis=0)
        logs.append(math.log(float(np.sum(density * hearing))) + 2.0 * math.log(axis[1] - axis[0]))
    # Laplace's rule takes each place for a Gaussian: a tenth of a nat or two.
    assert found.mass[0] - found.mass[1] == pytest.approx(logs[0] - logs[1], abs=0.3)


@given(SEED, st.integers(6, 12))
@settings(max_examples=40)
def test_an_echo_or_two_change_nothing(seed, count):
    """Clean arrivals place the bang as well alone as in the company of two echoes."""
    c = case(seed, count, inside=0.7)
    assume(broad(c.sensors[2:]))
    times = c.times + c.rng.normal(0.0, 0.0005, count)
    without = place(c.sensors[2:], times[2:], c.prior, sigma=0.0005)
    times[:2] += c.rng.uniform(0.04, 0.3, 2)
    assume(without.count == 1 and np.sqrt(np.linalg.eigvalsh(without.covariance[0, :2, :2])[-1]) < 2.0)
    together = place(c.sensors, times, c.prior, sigma=0.0005)
    nearest = np.hypot(*(together.p[:, :2] - without.p[0, :2]).T).min()
    assert nearest < 0.1
    if count > 6:
        assert together.weights[0, :2].max() < 0.05


@given(SEED, st.permutations(range(7)))
@settings(max_examples=30)
def test_order_of_arrivals_does_not_matter(seed, order):
    c = case(seed, 7)
    times = c.times + c.rng.normal(0.0, 0.001, 7)
    one, other = place(c.sensors, times, c.prior), place(c.sensors[list(order)], times[list(order)], c.prior)
    assert one.count == other.count
    assert other.p[0, :2] == pytest.approx(one.p[0, :2], abs=1e-2)


def test_survey_counts_along_the_ray():
    """A height badly known says little beside the sensor, and all above the shot."""
    p = np.array([0.0, 0.0, 1.5, 340.0, 0.0, 0.0, 0.0])
    sensors, survey = np.array([[300.0, 0.0, 1.5], [0.0, 0.0, 51.5]]), np.array([[0.01, 0.03], [0.01, 0.03]])
    out = np.empty(2)
    kernels.known_squares(sensors, np.full(2, 0.001), survey, p, out)
    assert out == pytest.approx([0.001**2 + 0.01**2, 0.001**2 + 0.03**2], rel=1e-6)


def test_far_outside_the_crescent_is_that_of_its_samples():
    """Gaussian in bearing and inverse range, drawn a million times: the moments in the plane are the kernel's."""
    rng = np.random.default_rng(2)
    sensors = np.column_stack([rng.uniform(-200.0, 200.0, (6, 2)), np.full(6, 10.0)])
    p, r0, bearing = np.array([0.0, 0.0, 1.5, 340.0, 0.0, 0.0, 0.0]), 1500.0, 0.6
    middle = sensors[:, :2].mean(axis=0)
    p[:2] = middle + r0 * np.array([math.cos(bearing), math.sin(bearing)])
    sigma_r, sigma_t = 0.12 * r0, 0.01 * r0
    axes = np.array([[math.cos(bearing), -math.sin(bearing)], [math.sin(bearing), math.cos(bearing)]])
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = axes @ np.diag([sigma_r**2, sigma_t**2]) @ axes.T
    covariance[2, 2] = 1.0
    kernels.unbend(sensors, np.ones(6), p, covariance)
    q = 1.0 / r0 + sigma_r / r0**2 * rng.standard_normal(1_000_000)
    r = 1.0 / q
    turn = bearing + sigma_t / r0 * rng.standard_normal(len(q))
    weight = r**kernels.RANGE_POWER
    samples = middle[:, None] + r * np.array([np.cos(turn), np.sin(turn)])
    mean = np.average(samples, axis=1, weights=weight)
    assert p[:2] == pytest.approx(mean, abs=3.0)
    assert covariance[:2, :2] == pytest.approx(np.cov(samples, aweights=weight), rel=0.02, abs=20.0)


def test_well_known_places_stay_as_they_are():
    c = case(4, inside=0.5)
    covariance, p = np.diag([1.0, 2.0, 1e-6]), c.p.copy()
    kernels.unbend(c.sensors, np.ones(8), p, covariance)
    assert np.all(p == c.p)
    assert np.all(covariance == np.diag([1.0, 2.0, 1e-6]))
