"""The air as bangs tell it: neither the report nor a bang counted twice, right in what it believes of itself."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.air import Air
from localization.air_filter import Weathering
from localization.air_state import (
    MOST_OF_A_TILE,
    AirState,
    air_seen,
    enclosing_sigmas,
    temperature_for,
)
from tests import winds

REPORT = Air(temperature_c=10.0, temperature_sigma_c=2.0, wind_sigma_m_per_s=4.0)
HERE = (0.0, 0.0)


def bang(seed, report=REPORT, wind=(3.0, -2.0), noise_s=0.001, sensors=8):
    """One bang's parameters, information, prior and its sigma; and the place."""
    rng = np.random.default_rng(seed)
    places = winds.sensors(rng, sensors)
    source = winds.inside(rng, places)
    times = winds.heard(rng, source, places, report.sound_speed_m_per_s + 0.8, wind, noise_s)
    prior, sigma = winds.prior_of(report)
    p, information = winds.most_probable(places, times, prior, sigma, source[:2], noise_s)
    return p, information, prior, sigma, places, times, source


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_what_is_seen_and_the_prior_make_the_posterior(seed):
    """The law of information: taking the prior out and putting it back is nothing done."""
    p, information, prior, sigma, *_ = bang(seed)
    mean, seen = air_seen(p, information, prior, sigma)
    precision = np.diag(1.0 / sigma[3:6] ** 2)
    again = np.linalg.solve(seen + precision, seen @ mean + precision @ prior[3:6])
    np.testing.assert_allclose(again, p[3:6], atol=1e-3)
    whole = np.linalg.inv(information + np.diag(np.where(np.isfinite(sigma), 1.0 / sigma**2, 0.0)))
    np.testing.assert_allclose(np.linalg.inv(seen + precision), whole[3:6, 3:6], rtol=1e-3, atol=1e-6)


def test_what_was_assumed_does_not_colour_what_is_seen():
    """Two reports 6 m/s apart: the same arrivals say the same, but for the bend of the sound paths."""
    rng = np.random.default_rng(5)
    places = winds.sensors(rng, 12)
    source = winds.inside(rng, places)
    times = winds.heard(rng, source, places, 338.0, (3.0, -2.0), 0.0005)
    told = []
    for east in (-3.0, 3.0):
        prior, sigma = winds.prior_of(dataclasses.replace(REPORT, wind_east_m_per_s=east))
        p, information = winds.most_probable(places, times, prior, sigma, source[:2], 0.0005)
        told.append(air_seen(p, information, prior, sigma))
    (first, knows), (second, _) = told
    assert (first - second) @ knows @ (first - second) < 0.1**2  # of a sigma


def sequence(
    seed,
    *,
    survey_m=0.0,
    told_shared=True,
    wind=None,
    turn_deg=0.0,
    gap_s=60.0,
    count=16,
    report=REPORT,
    drifting=False,
):
    """Wind errors before each bang, of the filter and of the bang by itself; NEES over three; the state at the end."""
    rng = np.random.default_rng(seed)
    weathering = Weathering()
    places, state = winds.sensors(rng), AirState(report)
    table, sigma_s = places.copy(), np.hypot(0.001, survey_m / 340.0)
    table[:, :2] += survey_m * np.random.default_rng(seed + 10_000).normal(size=(len(places), 2))
    shared = (survey_m / 340.0 / sigma_s) ** 2 if told_shared else 0.0
    spread = np.array([report.sound_speed_sigma_m_per_s, *[report.wind_sigma_m_per_s] * 2])
    known = np.array([report.sound_speed_m_per_s, report.wind_east_m_per_s, report.wind_north_m_per_s])
    drift = np.array([weathering.speed_drift_m_per_s, *[weathering.wind_drift_m_per_s] * 2])
    keep = np.exp(-gap_s / np.minimum(2.0 * spread**2 / drift**2 * 3600.0, weathering.longest_s))
    off = spread * rng.normal(size=3)
    if wind is not None:
        off[1:] = np.asarray(wind) - known[1:]
    uneven = [weathering.unevenness_m_per_s, *[weathering.gust_m_per_s] * 2]
    figures = []
    for k in range(count):
        turned = np.radians(turn_deg * k)
        air = known + off
        air[1:] = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]]) @ air[1:]
        air += rng.normal(0.0, uneven)
        source = winds.inside(rng, places)
        times = winds.heard(rng, source, places, air[0], air[1:])
        belief = state.belief(winds.after_s(k * gap_s), HERE)
        prior, sigma = winds.prior_of(report)
        p, information = winds.most_probable(table, times, prior, sigma, source[:2], sigma_s)
        error = belief.mean - air
        figures.append(
            (
                np.hypot(*error[1:]),
                np.hypot(*(p[3:6] - air)[1:]),
                error @ np.linalg.solve(belief.covariance, error) / 3.0,
            )
        )
        state.observe(
            winds.after_s(k * gap_s),
            (float(p[0]), float(p[1])),
            *air_seen(p, information, prior, sigma),
            f"s{k}",
            shared,
        )
        if drifting:
            off = keep * off + np.sqrt(1.0 - keep**2) * spread * rng.normal(size=3)
    return np.array(figures), state


def test_believes_of_itself_what_is_true():
    """Where the wind wanders as the model says, the normalised squared error is 1, from the first bang to the last."""
    nees = np.array([sequence(seed, drifting=True, gap_s=120.0)[0][:, 2] for seed in range(60)])
    print("NEES / 3, by bang:", np.round(nees.mean(axis=0), 2), "all:", round(float(nees.mean()), 3))
    assert 0.9 < nees.mean() < 1.1
    assert 0.85 < nees[:, 6:].mean() < 1.15


@pytest.mark.parametrize("turn_deg", [0.0, 1.0])
def test_knows_an_unreported_wind_better_than_any_bang_alone(turn_deg):
    """Steady, or veering by a degree a minute: 5 m/s of error become a half, and a bang by itself knows it to 0.85."""
    figures = np.array([sequence(seed, turn_deg=turn_deg)[0] for seed in range(40)])
    filtered, alone = np.median(figures[:, :, 0], axis=0), np.median(figures[:, :, 1])
    print("filtered", np.round(filtered, 2), "alone", round(float(alone), 2))
    assert filtered[0] > 4.0
    assert filtered[1] < 0.4 * filtered[0]
    assert np.all(filtered[5:] < 0.85 * alone)
    assert figures[:, 3:, 2].mean() < 1.1  # it never believes more than it knows


def test_overcomes_a_wrong_report():
    """A METAR from the far side of the hills: calm to 2 m/s, while it blows with 11. Three bangs that agree, win."""
    report = dataclasses.replace(REPORT, wind_sigma_m_per_s=2.0)
    runs = [sequence(seed, wind=(10.0, -6.0), report=report) for seed in range(20)]
    figures = np.array([run[0] for run in runs])
    print("wrong METAR, median error by bang", np.round(np.median(figures[:, :, 0], axis=0), 2))
    assert np.median(figures[:, 0, 0]) > 10.0
    assert np.median(figures[:, 4:, 0]) < 1.2
    assert np.mean(figures[:, 4:, 2]) < 1.2
    believed = [state.belief(winds.after_s(1000.0), HERE) for _, state in runs]
    assert np.mean([belief.report_wrong for belief in believed]) >= 0.8


def test_errors_of_the_survey_do_not_average_out():
    """A metre on every sensor, the same for every bang: told so, it goes on doubting; not told, it is too sure."""
    aware, unaware = (
        np.mean([sequence(seed, survey_m=1.0, told_shared=told_shared)[0][3:, 2] for seed in range(25)])
        for told_shared in (True, False)
    )
    print(f"NEES / 3 with 1 m of survey: {aware:.2f}, and {unaware:.2f} where it was not told")
    assert aware < 1.2
    assert unaware > 1.25 * aware


def told(state, time_s, wind, name, place=HERE, sigma=0.4, speed=None):
    """Tell a state of a bang whose air is known to ``sigma`` in every direction."""
    mean = np.array([REPORT.sound_speed_m_per_s if speed is None else speed, *wind])
    state.observe(winds.after_s(time_s), place, mean, np.eye(3) / sigma**2, name)


def test_what_is_stale_fades_back_to_the_report():
    state = AirState(REPORT)
    told(state, 0.0, (5.0, 0.0), "s0")
    hours = [state.belief(winds.after_s(3600.0 * h + 1.0), HERE) for h in (0, 1, 3, 5.9, 6.1)]
    wind = [belief.mean[1] for belief in hours]
    sigma = [np.sqrt(belief.covariance[1, 1]) for belief in hours]
    assert wind == sorted(wind, reverse=True)
    assert sigma == sorted(sigma)
    assert wind[0] > 4.8
    assert sigma[0] < 0.6
    assert wind[3] < 0.3 * wind[0]
    assert state.air_at(winds.after_s(6.1 * 3600.0), HERE) == REPORT


def test_one_that_disagrees_wildly_is_not_used_and_counted():
    state = AirState(REPORT)
    for k in range(4):
        told(state, 30.0 * k, (2.0, 1.0), f"s{k}", place=(100.0 * k, 0.0))
    before = state.belief(winds.after_s(125.0), HERE)
    told(state, 120.0, (-9.0, 8.0), "wrong place", place=(0.0, 500.0))
    after = state.belief(winds.after_s(125.0), HERE)
    assert (after.used, after.unused) == (4, 1)
    np.testing.assert_allclose(after.mean, before.mean, rtol=1e-12)


def test_a_front_is_followed():
    """Bangs that contradict what earlier ones said, and agree with each other, are believed."""
    state = AirState(REPORT)
    for k in range(5):
        told(state, 30.0 * k, (6.0, 0.0), f"s{k}", place=(100.0 * k, 0.0))
    for k in range(5):
        told(state, 300.0 + 30.0 * k, (-5.0, 3.0), f"t{k}", place=(100.0 * k, 200.0))
    belief = state.belief(winds.after_s(450.0), HERE)
    np.testing.assert_allclose(belief.mean[1:], [-5.0, 3.0], atol=0.4)
    assert belief.used == 5


def test_a_burst_counts_as_one_bang():
    """Rounds from one spot share their paths' errors."""
    one, many = AirState(REPORT), AirState(REPORT)
    told(one, 0.0, (3.0, 0.0), "s0")
    for k in range(10):
        told(many, 0.1 * k, (3.0, 0.0), f"s{k}", place=(2.0 * k, 0.0))
    now_ns = winds.after_s(2.0)
    first, last = one.belief(now_ns, HERE), many.belief(now_ns, HERE)
    np.testing.assert_allclose(last.covariance, first.covariance, rtol=0.02)


def test_a_long_burst_drowns_out_nobody():
    """Four places spoke before sixty rounds were fired from one: they still do."""
    state = AirState(REPORT)
    for k in range(4):
        told(state, 10.0 * k, (3.0, 0.0), f"s{k}", place=(300.0 * k, 0.0))
    before = state.belief(winds.after_s(41.0), HERE)
    for k in range(60):
        told(state, 40.0 + 0.1 * k, (3.0, 0.0), f"t{k}", place=(0.0, 900.0))
    after = state.belief(winds.after_s(47.0), HERE)
    assert np.trace(after.covariance) < np.trace(before.covariance)
    assert after.used == 8


def test_far_bangs_say_nothing_and_no_border_runs_through_a_city():
    state = AirState(REPORT)
    told(state, 0.0, (3.0, 0.0), "s0", place=(-10.0, 10.0))
    for place in ((10.0, -10.0), (-2000.0, 2000.0), (2400.0, -2400.0)):
        assert state.belief(winds.after_s(1.0), place).used == 1
    assert state.belief(winds.after_s(1.0), (2600.0, 0.0)).used == 0


def test_only_what_was_before_counts():
    state = AirState(REPORT)
    told(state, 10.0, (3.0, 0.0), "s0")
    assert state.belief(winds.after_s(10.0), HERE).used == 0
    assert state.air_at(winds.after_s(10.0), HERE) == REPORT


@settings(max_examples=30)
@given(order=st.permutations(range(12)))
def test_the_order_of_telling_does_not_matter(order):
    rng = np.random.default_rng(3)
    rows = [(20.0 * k, tuple(rng.normal(2.0, 3.0, 2)), tuple(map(float, rng.uniform(-900, 900, 2)))) for k in range(12)]
    states = AirState(REPORT), AirState(REPORT)
    for state, sequence in zip(states, (range(12), order), strict=True):
        for k in sequence:
            told(state, rows[k][0], rows[k][1], f"s{k}", place=rows[k][2])
        state.report(winds.after_s(100.0), dataclasses.replace(REPORT, wind_east_m_per_s=1.0))
    for time_s in (50.0, 130.0, 300.0):
        first, second = (state.belief(winds.after_s(time_s), HERE) for state in states)
        np.testing.assert_array_equal(first.mean, second.mean)
        np.testing.assert_array_equal(first.covariance, second.covariance)
        assert (first.used, first.unused) == (second.used, second.unused)


def test_told_again_replaces_and_told_too_late_counts():
    state = AirState(REPORT)
    told(state, 10.0, (3.0, 0.0), "s0")
    told(state, 10.001, (1.0, 0.0), "s0")
    belief = state.belief(winds.after_s(20.0), HERE)
    assert belief.used == 1
    assert belief.mean[1] < 1.1
    told(state, 40_000.0, (1.0, 0.0), "s1")
    told(state, 10.0, (1.0, 0.0), "s2")
    assert state.counts == {"observed": 4, "forgotten": 1, "late": 1}


def test_memory_is_bounded():
    state = AirState(REPORT)
    for k in range(3 * MOST_OF_A_TILE):
        told(state, 1.0 * k, (1.0, 0.0), f"s{k}", place=(10.0, 10.0))
    held = sum(len(tile) for tile in state._tiles.values())
    assert held == len(state._where) == MOST_OF_A_TILE
    assert state.counts["forgotten"] == 2 * MOST_OF_A_TILE
    for k in range(50):
        state.report(winds.after_s(1000.0 * k), REPORT)
        told(state, 1000.0 * k, (1.0, 0.0), f"t{k}")
    assert len(state._reports) < 30


def test_a_new_report_is_the_one_it_fades_to():
    state = AirState(REPORT)
    state.report(winds.after_s(100.0), dataclasses.replace(REPORT, wind_north_m_per_s=7.0))
    assert state.air_at(winds.after_s(99.0), HERE).wind_north_m_per_s == 0.0
    assert state.air_at(winds.after_s(100.0), HERE).wind_north_m_per_s == 7.0


def test_silence_in_numbers_is_counted_and_nonsense_refused():
    state = AirState(REPORT)
    state.observe(winds.after_s(0.0), HERE, np.zeros(3), np.zeros((3, 3)), "s0")
    assert state.counts["silent"] == 1
    with pytest.raises(ValueError, match="not finite"):
        state.observe(winds.after_s(0.0), HERE, np.array([np.nan, 0, 0]), np.eye(3), "s1")
    with pytest.raises(ValueError, match="not finite"):
        air_seen(np.full(7, np.inf), np.eye(7), np.zeros(7), np.ones(7))
    with pytest.raises(ValueError, match="shared"):
        state.observe(winds.after_s(0.0), HERE, np.zeros(3), np.eye(3), "s1", shared=1.5)
    with pytest.raises(ValueError, match="memory_s"):
        Weathering(memory_s=0.0)


def test_knows_nothing_where_the_arrivals_are_silent():
    """Three arrivals place a bang and say nothing of the air; four say it in one direction."""
    for sensors, rank in ((3, 0), (4, 1)):
        p, information, prior, sigma, *_ = bang(7, sensors=sensors)
        sigma = np.where(np.arange(7) == 2, 1e-3, sigma)  # the height known
        _, seen = air_seen(p, information, prior, sigma)
        values = np.linalg.eigvalsh(seen)
        assert np.sum(values > 1e-4 * 1.0 / 0.1**2) == rank


@settings(max_examples=50)
@given(seed=st.integers(0, 100_000))
def test_the_two_sigmas_of_a_record_hide_nothing(seed):
    """Independent sigmas that enclose the covariance: no direction is claimed to be known better than it is."""
    a = np.random.default_rng(seed).normal(size=(3, 3))
    covariance = a @ a.T + 1e-3 * np.eye(3)
    speed, wind = enclosing_sigmas(covariance)
    assert np.linalg.eigvalsh(np.diag([speed**2, wind**2, wind**2]) - covariance)[0] > -1e-9 * np.trace(covariance)


@given(temperature=st.floats(-30.0, 45.0))
def test_a_speed_gives_its_temperature_back(temperature):
    air = dataclasses.replace(REPORT, temperature_c=temperature)
    assert temperature_for(air.sound_speed_m_per_s, REPORT) == pytest.approx(temperature, abs=1e-4)
