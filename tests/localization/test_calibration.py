"""Calibration beside the truth: what was wrong is found, within the sigma that is stated, and nothing else is."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from acoustic.air import Air
from acoustic.instant import after
from localization.frame import Frame
from localization.study import calibration_layout
from localization.study.calibration import Calibration, calibrate
from localization.study.calibration_shots import Shot, common_network, surveyed_shots
from localization.study.calibration_solve import _Problem, solve
from localization.study.scene import Pulse, Scene, Truth
from localization.study.table import SceneError
from sensors.site import Geodetic, Local, Network, Site
from tests import streets, winds

AIR = Air(temperature_c=12.0, temperature_sigma_c=1.0, wind_sigma_m_per_s=1.0)
SIDE_M = 1200.0


@dataclasses.dataclass
class City:
    network: Network
    shots: list
    moves: np.ndarray  # truth minus survey, m
    clocks: np.ndarray  # how late each clock shows, s
    true: np.ndarray


def city(seed, *, sensors=10, places=9, rounds=2, move_m=8.0, clock_s=0.012, survey_m=1.0, late=0.0, turn=0.0,
         shift=(0.0, 0.0), surveyed=True, noise=True, wind=None):  # fmt: skip
    """Sensors that stand and tick otherwise than the table says, and shots round them over paths with an excess."""
    rng = np.random.default_rng(seed)
    scale = 1.0 if noise else 0.0
    true = np.column_stack([rng.uniform(-SIDE_M / 2, SIDE_M / 2, (sensors, 2)), rng.uniform(5.0, 15.0, sensors)])
    moves, clocks = rng.normal(0.0, move_m, (sensors, 2)), rng.normal(0.0, clock_s, sensors)
    sites, shots = [], []
    for k in range(sensors):
        east, north = turned(true[k, :2] - moves[k], turn, shift)
        place = Local(east, north, float(true[k, 2]))
        sites.append(Site(f"S{k:02d}", place, max(move_m, 0.5), 0.1, max(clock_s, 1e-4)))
    for spot in range(places):
        source = np.array([*rng.uniform(-0.55 * SIDE_M, 0.55 * SIDE_M, 2), winds.UP_M])
        told = source[:2] + scale * rng.normal(0.0, survey_m, 2)
        excess = scale * rng.normal(0.0, 0.002, sensors)
        excess += np.where(rng.uniform(size=sensors) < late, rng.exponential(0.02, sensors), 0.0)
        speed = AIR.sound_speed_m_per_s + scale * AIR.sound_speed_sigma_m_per_s * rng.normal()
        blown = scale * rng.normal(0.0, AIR.wind_sigma_m_per_s, 2)
        if wind is not None:
            blown = np.asarray(wind)
        reported = AIR
        if wind is not None:
            east, north = turned(blown, turn, (0.0, 0.0))
            reported = dataclasses.replace(AIR, wind_east_m_per_s=east, wind_north_m_per_s=north)
        for number in range(rounds):
            begins = after(winds.START_NS, 100 * spot + number)
            times = winds.travel(source, true, speed, blown)[0] + excess + clocks
            times += scale * rng.normal(0.0, 0.0011, sensors)
            heard = tuple((sites[k].sensor_id, after(begins, float(times[k])), 0.0005) for k in range(sensors))
            place = Local(*turned(told, turn, shift), winds.UP_M)
            shots.append(
                Shot(f"{spot}/{number}", place, survey_m if surveyed else None, 1.0, heard, reported, str(spot))
            )
    return City(Network(tuple(sites)), shots, moves, clocks, true)


def turned(vector, turn, shift):
    c, s = math.cos(turn), math.sin(turn)
    return float(c * vector[0] - s * vector[1] + shift[0]), float(s * vector[0] + c * vector[1] + shift[1])


def squared_errors(result: Calibration, town: City):
    """Of each sensor, over what its covariance says: place (of two degrees, halved) and clock beside the mean."""
    place, clock = [], []
    for c, move, late in zip(result.corrections, town.moves, town.clocks - town.clocks.mean(), strict=True):
        error = np.array([c.east_m, c.north_m]) - move
        covariance = np.array([[c.east_sigma_m**2, c.en_m2], [c.en_m2, c.north_sigma_m**2]])
        place.append(error @ np.linalg.solve(covariance, error) / 2.0)
        clock.append(((c.clock_s - late) / c.clock_sigma_s) ** 2)
    return np.mean(place), np.mean(clock)


def errors(result: Calibration, town: City):
    place = np.array([(c.east_m, c.north_m) for c in result.corrections]) - town.moves
    clock = np.array([c.clock_s for c in result.corrections]) - (town.clocks - town.clocks.mean())
    return math.sqrt(np.mean(place**2)), math.sqrt(np.mean(clock**2))


@pytest.mark.slow
@pytest.mark.parametrize("late", [0.0, 0.15])
def test_what_is_wrong_is_found_within_its_sigma(late):
    """8 m an axis and 12 ms; fourteen surveyed places; some paths late by 20 ms. NEES near one, errors a fraction."""
    towns = [city(seed, late=late, places=14) for seed in range(100, 110)]
    results = [calibrate(town.network, Frame(), town.shots) for town in towns]
    place, clock = np.mean([squared_errors(r, t) for r, t in zip(results, towns, strict=True)], axis=0)
    off_m, off_s = np.mean([errors(r, t) for r, t in zip(results, towns, strict=True)], axis=0)
    residuals = [[np.sqrt(np.mean(v**2)) for v in r.residuals_s] for r in results]
    print(f"late {late}: NEES place {place:.2f}, clock {clock:.2f}; errors {off_m:.2f} m, {1e3 * off_s:.2f} ms; "
          f"residuals ms {1e3 * np.mean(residuals, axis=0)}")  # fmt: skip
    assert 0.6 < place < 1.4
    assert 0.6 < clock < 1.5
    assert off_m < 0.4 * 8.0
    assert off_s < 0.5 * 0.012
    assert all(c.moved for r, t in zip(results, towns, strict=True)
               for c, m in zip(r.corrections, t.moves, strict=True) if np.hypot(*m) > 15.0)  # fmt: skip


def test_what_is_right_stays():
    """Nothing wrong: hardly a correction is significant, and the table's sensors come back with what is now known."""
    towns = [city(seed, move_m=0.0, clock_s=0.0, survey_m=0.5) for seed in range(4)]
    results = [calibrate(town.network, Frame(), town.shots) for town in towns]
    significant = [c.moved or c.astray for result in results for c in result.corrections]
    print(f"{sum(significant)} of {len(significant)} called significant where nothing was wrong")
    assert np.mean(significant) < 0.15
    for town, result in zip(towns, results, strict=True):
        for site, new, c in zip(town.network.sites, result.sites, result.corrections, strict=True):
            assert c.moved or new.position == site.position
            assert new.position_sigma_m <= 1.5 * site.position_sigma_m


def test_agreement_alone_tells_all_but_shift_and_turn():
    """Nobody surveyed the shots: what sensors are off beside each other is found, what they share is not, and is said."""
    place, shape_before, shape_after, common = [], [], [], []
    for seed in range(4):
        town = city(seed, surveyed=False, places=24, rounds=1)
        result = calibrate(town.network, Frame(), town.shots)
        place.append(squared_errors(result, town)[0])
        got = np.array([(c.east_m, c.north_m) for c in result.corrections])
        at = np.array([(s.position.east_m, s.position.north_m) for s in town.network.sites])
        shape_before.append(rigid_rest(town.moves, at))
        shape_after.append(rigid_rest(got - town.moves, at))
        common.append(np.min([max(c.east_sigma_m, c.north_sigma_m) for c in result.corrections]))
        assert "shift and turn" in result.warnings[0]
        assert not result.surveyed
    print(f"NEES {np.mean(place):.2f}; shape off by {np.mean(shape_before):.2f} m, then {np.mean(shape_after):.2f} m")
    assert 0.5 < np.mean(place) < 1.5
    assert np.mean(shape_after) < 0.5 * np.mean(shape_before)
    assert min(common) > 0.9 * 8.0 / math.sqrt(10)  # the mean of ten surveys is as sure as ten surveys make it


def rigid_rest(moves, at):
    """What is left of moves once a shift and a small turn are taken out, root mean square, m."""
    at = at - at.mean(axis=0)
    design = np.zeros((2 * len(at), 3))
    design[::2, 0] = design[1::2, 1] = 1.0
    design[::2, 2], design[1::2, 2] = -at[:, 1], at[:, 0]
    flat = moves.ravel()
    return float(np.sqrt(np.mean((flat - design @ np.linalg.lstsq(design, flat, rcond=None)[0]) ** 2)))


def test_one_place_decides_nothing_and_says_so():
    town = city(1, places=1, rounds=20)
    result = calibrate(town.network, Frame(), town.shots)
    assert result.sites == town.network.sites
    assert "1 place:" in result.warnings[0]
    assert all({"position-at-prior", "clock-at-prior", "few-places"} <= set(c.flags) for c in result.corrections)


def test_a_sensor_nobody_heard_keeps_what_it_has():
    town = city(2)
    deaf = Site("deaf", Local(5000.0, 0.0, 9.0), 2.0, 1.0, 0.001)
    result = calibrate(Network((*town.network.sites, deaf)), Frame(), town.shots)
    last = result.corrections[-1]
    assert (last.shots, last.flags) == (0, ("unheard", "position-at-prior", "clock-at-prior"))
    assert result.sites[-1] == deaf
    assert last.position_observed == pytest.approx(0.0, abs=1e-6)


def test_corrected_sensors_place_new_shots_better():
    """Plain least squares on fresh shots, with the old table and with the new one."""
    old, new = [], []
    for seed in range(4):
        town = city(seed)
        result = calibrate(town.network, Frame(), town.shots)
        rng = np.random.default_rng(100 + seed)
        clocks = np.array([result.clock_offsets_s.get(s.sensor_id, 0.0) for s in result.sites])
        for _ in range(10):
            source = winds.inside(rng, town.true)
            times = winds.heard(rng, source, town.true, AIR.sound_speed_m_per_s, (0.0, 0.0)) + town.clocks
            old.append(placed(town.network.sites, times, source))
            new.append(placed(result.sites, times - clocks, source))
    print(f"fresh shots: {np.median(old):.2f} m with the table as it was, {np.median(new):.2f} m with the new one")
    assert np.median(new) < 0.4 * np.median(old)


def placed(sites, times, source):
    at = np.array([(s.position.east_m, s.position.north_m, s.position.up_m) for s in sites])

    def misfit(p):
        return np.linalg.norm(at - [p[0], p[1], winds.UP_M], axis=1) + p[2] - AIR.sound_speed_m_per_s * times

    return float(np.hypot(*(least_squares(misfit, [*source[:2], 0.0]).x[:2] - source[:2])))


def shown_otherwise(town, how):
    """The town's shots, with each arrival shown ``how(sensor, shot)`` seconds later."""
    names = [site.sensor_id for site in town.network.sites]
    return [
        dataclasses.replace(
            shot,
            arrivals=tuple((name, after(onset, how(names.index(name), k)), s) for name, onset, s in shot.arrivals),
        )
        for k, shot in enumerate(town.shots)
    ]


@pytest.mark.parametrize("off_s", [0.05, 1.0, 50.0, 3000.0])
def test_a_sensor_that_no_correction_puts_right_is_told_and_not_believed(off_s):
    """Its clock is far beyond what the table says of it; the others are calibrated as if it were not there."""
    town = city(5, clock_s=0.0, move_m=1.0, places=12)
    result = calibrate(town.network, Frame(), shown_otherwise(town, lambda sensor, _: off_s * (sensor == 2)))
    bad = result.corrections[2]
    print(f"off by {off_s} s: shown {bad.shown_s:.4f} s, flags {bad.flags}; all {result.off_sigmas:.2f} sigmas")
    assert [c.disagrees for c in result.corrections] == [k == 2 for k in range(len(town.network.sites))]
    assert not {"position", "clock"} & set(bad.flags)
    assert result.sites[2].clock_sigma_s == pytest.approx(off_s, rel=0.2)
    assert "S02" in result.warnings[-1]
    assert result.off_sigmas < 2.0
    honest = calibrate(town.network, Frame(), town.shots)
    for k, (c, usual) in enumerate(zip(result.corrections, honest.corrections, strict=True)):
        if k != 2:
            sigma = max(usual.east_sigma_m, usual.north_sigma_m)
            assert math.dist((c.east_m, c.north_m), (usual.east_m, usual.north_m)) < 3.0 * sigma


def test_shots_that_do_not_fit_correct_nothing():
    """Times that are off by a second at random: of another night, or of other shots."""
    town, rng = city(6), np.random.default_rng(1)
    result = calibrate(town.network, Frame(), shown_otherwise(town, lambda *_: float(rng.normal())))
    print(f"{result.off_sigmas:.0f} sigmas off")
    assert result.off_sigmas > 5.0
    assert "do not fit this network at all" in result.warnings[-1]
    assert not any(c.moved or c.astray for c in result.corrections)
    assert min(site.clock_sigma_s for site in result.sites) > 0.3


def test_what_is_as_told_is_not_doubted():
    """Errors of the size that the table states, late paths among them: nobody is called broken."""
    results = [calibrate(t.network, Frame(), t.shots) for t in (city(s, late=0.15, places=12) for s in range(5))]
    assert not any(c.disagrees for result in results for c in result.corrections)
    assert all(0.2 < result.off_sigmas < 2.0 for result in results)


def test_clocks_of_which_nothing_is_known_keep_honest_sigmas():
    """However wide the prior: what clocks differ by is known as well as the shots tell, and no better."""
    town = city(7)
    told, wide = (calibrate(town.network, Frame(), town.shots, least_clock_sigma_s=s) for s in (1.0, 3600.0))
    for one, other in zip(told.corrections, wide.corrections, strict=True):
        assert other.clock_sigma_s == pytest.approx(one.clock_sigma_s, rel=0.05)
        assert other.clock_s == pytest.approx(one.clock_s, abs=0.2 * one.clock_sigma_s)


# laws


@settings(max_examples=5)
@given(
    turn=st.floats(-math.pi, math.pi),
    east=st.floats(-5000.0, 5000.0),
    north=st.floats(-5000.0, 5000.0),
    seed=st.integers(0, 5),
)
def test_a_city_moved_and_turned_has_its_corrections_turned(turn, east, north, seed):
    plain, moved = city(seed, wind=(2.0, 1.0)), city(seed, wind=(2.0, 1.0), turn=turn, shift=(east, north))
    one, other = (calibrate(town.network, Frame(), town.shots).corrections for town in (plain, moved))
    for a, b in zip(one, other, strict=True):
        assert (b.east_m, b.north_m) == pytest.approx(turned((a.east_m, a.north_m), turn, (0.0, 0.0)), abs=0.02)
        assert b.clock_s == pytest.approx(a.clock_s, abs=5e-5)
        assert b.clock_sigma_s == pytest.approx(a.clock_sigma_s, rel=0.01)


@settings(max_examples=5)
@given(seed=st.integers(0, 50))
def test_without_error_there_is_no_correction(seed):
    town = city(seed, move_m=0.0, clock_s=0.0, noise=False)
    result = calibrate(town.network, Frame(), town.shots)
    assert max(math.hypot(c.east_m, c.north_m) for c in result.corrections) < 1e-3
    assert max(abs(c.clock_s) for c in result.corrections) < 1e-6
    assert not any(c.moved or c.astray for c in result.corrections)


def test_slopes_against_differences():
    """The travel times' slopes with sensor, air and place, against central differences."""
    town = city(3, wind=(4.0, -3.0))
    calibration_arrivals = laid_out(town)
    problem = _Problem(calibration_arrivals, 0.005)
    rng = np.random.default_rng(0)
    problem.x[: problem.first[3]] = rng.normal(0.0, 1.0, problem.first[3])
    _, jacobian = problem._rows()
    for column in rng.choice(problem.first[3], 25, replace=False):
        x = problem.x.copy()
        sides = []
        for step in (1e-3, -1e-3):
            problem.x = x.copy()
            problem.x[column] += step
            sides.append(problem._rows()[0])
        problem.x = x
        slope = -(sides[0] - sides[1]) / 2e-3
        np.testing.assert_allclose(jacobian[:, [column]].toarray()[:, 0], slope, atol=2e-5)


def laid_out(town):
    return calibration_layout.laid_out(town.network, Frame(), town.shots, 0.0, 0.0)[0]


def test_against_a_dense_solution():
    """The sparse solution is the minimum of the same robust cost, as another minimiser finds it."""
    town = city(4, sensors=5, places=3, rounds=1)
    arrivals = laid_out(town)
    solved = solve(arrivals, 0.003)
    problem = _Problem(arrivals, 0.003)
    problem.x = solved.unknowns.copy()

    def gradient(x):
        problem.x = x
        off, jacobian = problem._rows()
        weights, priors = problem._weights(off)
        start = np.zeros_like(x)
        start[problem.first[3] : problem.first[4]] = x[problem.first[3] : problem.first[4]]
        return (jacobian.T @ (weights * off) - priors * (x - start)) * problem.sigma.clip(max=10.0)

    assert np.max(np.abs(gradient(solved.unknowns))) < 0.05  # of a sigma, for every unknown at once


def test_covariances_against_the_inverse_of_the_whole():
    """Paths are eliminated before the rest is inverted: the same as inverting everything at once."""
    town = city(6, sensors=6, places=4, rounds=2, late=0.2)
    arrivals = laid_out(town)
    solved = solve(arrivals, 0.003)
    problem = _Problem(arrivals, 0.003)
    problem.x = solved.unknowns.copy()
    off, jacobian = problem._rows()
    whole = np.linalg.inv(problem._normal(jacobian, *problem._weights(off)).toarray())
    clocks = whole[2, 2] - 1.0 / np.sum(problem.sigma[2 : problem.first[1] : 3] ** -2.0)
    np.testing.assert_allclose(solved.covariances[0, :2, :2], whole[:2, :2], rtol=1e-6)
    assert solved.covariances[0, 2, 2] * 340.0**2 == pytest.approx(clocks, rel=1e-5)
    paths = np.sqrt(np.diag(whole)[problem.first[4] :]) / 340.0
    np.testing.assert_allclose(solved.excess_sigma, paths, rtol=1e-6)


# scenes


def scene(name, sites, pulses=(), truth=(), origin=None):
    network = Network(tuple(sites))
    return Scene(name, streets.START_NS, AIR, Frame.of(network, origin), network, 1.5, 1.0, pulses=pulses, truth=truth)


def test_shots_of_scenes():
    town = streets.square()
    truth = (Truth("a", "gunshot", None, Local(10.0, 20.0, 1.5), 2.0),)
    heard = streets.bang(town, (10.0, 20.0), 1.0)
    few = streets.bang(town, (10.0, 20.0), 3.0)[:3]
    pulses = tuple(Pulse(d, "a") for d in heard)
    again = Pulse(dataclasses.replace(heard[0], pulse_id="echo"), "a")
    pulses += (again, *(Pulse(d, "b") for d in few), *(Pulse(d) for d in streets.noise(town, 0.1, 5.0, 1)))
    left_out = Counter()
    shots = surveyed_shots([scene("one", town.sites, pulses, truth)], left_out)
    assert [(shot.name, len(shot.arrivals), shot.sigma_m) for shot in shots] == [("one/a", 8, 2.0)]
    assert left_out == {"unplaced": 1}
    by_ids = (Truth("c", "gunshot", None, Local(0.0, 0.0, 1.5), 2.0, tuple(d.pulse_id for d in few)),)
    assert surveyed_shots([scene("two", town.sites, tuple(Pulse(d) for d in few), by_ids)], left_out) == []
    assert left_out == {"unplaced": 1, "too-few-arrivals": 1}


def test_scenes_of_other_frames_are_refused():
    town = streets.square()
    moved = [dataclasses.replace(town.sites[0], position=Local(1.0, 2.0, 3.0)), *town.sites[1:]]
    with pytest.raises(SceneError, match="sensor A stands elsewhere"):
        common_network([scene("one", town.sites), scene("two", moved)])
    strangers = [dataclasses.replace(s, sensor_id=s.sensor_id + "x") for s in town.sites]
    with pytest.raises(SceneError, match="floating frame"):
        common_network([scene("one", town.sites), scene("two", strangers)])
    round_earth = [Site("A", Geodetic(41.0, -72.0, 10.0)), Site("B", Geodetic(41.001, -72.0, 10.0))]
    with pytest.raises(SceneError, match="its frame is another"):
        common_network([scene("one", town.sites), scene("two", round_earth)])
    with pytest.raises(SceneError, match="origin"):
        common_network([scene("one", town.sites), scene("two", town.sites, origin=Geodetic(41.0, -72.0, 0.0))])
    with pytest.raises(SceneError, match="no shot"):
        calibrate(town, Frame(), [])


def test_geodetic_sensors_are_corrected_in_degrees():
    """The same city on the Earth: the corrected sites are where the plane's corrections put them."""
    town = city(0)
    plane = Frame(Geodetic(41.7658, -72.6734, 20.0))
    sites = tuple(
        dataclasses.replace(s, position=plane.geodetic(s.position.east_m, s.position.north_m, s.position.up_m))
        for s in town.network.sites
    )
    shots = [
        dataclasses.replace(s, place=plane.geodetic(s.place.east_m, s.place.north_m, s.place.up_m)) for s in town.shots
    ]
    result = calibrate(Network(sites), plane, shots)
    flat = calibrate(town.network, Frame(), town.shots)
    new = plane.local([site.position for site in result.sites])
    for row, site in zip(new, flat.sites, strict=True):
        assert row[:2] == pytest.approx((site.position.east_m, site.position.north_m), abs=0.02)
