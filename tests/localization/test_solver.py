"""The solver: exact without noise, at the bound with it, honest where the geometry says nothing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.air import Air
from acoustic.pick import Pick
from localization.fix import Fix, Unfixed
from localization.ground import Ground, Raster
from localization.solver import inside_hull
from localization.street import Street
from sensors.site import Local, Network
from tests import streets

CERTAIN = Air(temperature_c=12.0, temperature_sigma_c=0.0, wind_sigma_m_per_s=0.0)
PLACE = st.tuples(st.floats(-250.0, 250.0), st.floats(-250.0, 250.0))


@given(PLACE, st.integers(0, 1000), st.integers(4, 12))
@settings(max_examples=40)
def test_exact_without_noise(place, seed, count):
    """As exact as whole nanoseconds are, a third of a micrometre, where nothing is taken for an echo."""
    sensors = streets.ring(count, 400.0, seed)
    heard = [
        dataclasses.replace(d, pick=dataclasses.replace(d.pick, p_outlier=0.0))
        for d in streets.bang(sensors, place, 1.0, air=CERTAIN)
    ]
    fix = streets.solve(sensors, heard, CERTAIN, Street(p_indirect=0.0))
    assert isinstance(fix, Fix)
    assert streets.off_m(fix, place) < 1e-5
    assert abs(fix.time_ns - streets.START_NS - 1_000_000_000) < 100


@given(PLACE, st.integers(0, 1000), st.integers(4, 12))
@settings(max_examples=40)
def test_the_doubt_about_echoes_draws_by_millimetres(place, seed, count):
    """Arrivals are expected late rather than early: this draws a place without noise by a fiftieth of its region."""
    sensors = streets.ring(count, 400.0, seed)
    fix = streets.solve(sensors, streets.bang(sensors, place, 1.0, air=CERTAIN), CERTAIN)
    assert isinstance(fix, Fix)
    assert streets.off_m(fix, place) < 0.02 * fix.best.ellipse.semi_minor_m
    assert abs(fix.time_ns - streets.START_NS - 1_000_000_000) < 100_000


@given(PLACE, st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.0, 2.0 * math.pi))
@settings(max_examples=25)
def test_moved_and_turned_with_its_sensors(place, east, north, turn):
    """A city that is moved or turned moves and turns its fixes, and nothing else."""
    sensors = streets.square()
    cosine, sine = math.cos(turn), math.sin(turn)

    def moved(x, y):
        return cosine * x - sine * y + east, sine * x + cosine * y + north

    turned = Network(
        tuple(
            dataclasses.replace(s, position=Local(*moved(s.position.east_m, s.position.north_m), s.position.up_m))
            for s in sensors.sites
        )
    )
    heard = streets.bang(sensors, place, 1.0, noise_s=0.001, seed=3)
    here, there = streets.solve(sensors, heard), streets.solve(turned, heard)
    expected = moved(here.best.place.east_m, here.best.place.north_m)
    assert (there.best.place.east_m, there.best.place.north_m) == pytest.approx(expected, abs=1e-4)
    assert there.best.ellipse.area_m2 == pytest.approx(here.best.ellipse.area_m2, rel=1e-4)


def test_order_of_sensors_does_not_matter():
    sensors = streets.square()
    heard = streets.bang(sensors, (40.0, -90.0), 1.0, noise_s=0.002, seed=5)
    swapped = Network(tuple(reversed(sensors.sites)))
    assert streets.solve(sensors, heard).best.place == streets.solve(swapped, heard).best.place


def test_wind_moves_the_place_and_is_taken_back():
    """Five metres a second of known wind: without it the place would be metres off, with it centimetres."""
    windy = Air(temperature_c=12.0, temperature_sigma_c=0.0, wind_east_m_per_s=5.0, wind_sigma_m_per_s=0.0)
    sensors = streets.ring(6, 500.0, 1)
    heard = streets.bang(sensors, (100.0, 50.0), 1.0, air=windy)
    assert streets.off_m(streets.solve(sensors, heard, windy), (100.0, 50.0)) < 0.01
    assert streets.off_m(streets.solve(sensors, heard, CERTAIN), (100.0, 50.0)) > 3.0


def test_unknown_wind_widens_the_ellipse():
    sensors = streets.ring(5, 500.0, 2)
    heard = streets.bang(sensors, (100.0, 50.0), 1.0)
    unsure = Air(temperature_c=12.0, temperature_sigma_c=0.5, wind_sigma_m_per_s=4.0)
    known, unknown = streets.solve(sensors, heard), streets.solve(sensors, heard, unsure)
    assert unknown.best.ellipse.area_m2 > 2.0 * known.best.ellipse.area_m2


def test_an_echo_is_set_aside():
    sensors = streets.square()
    heard = streets.bang(sensors, (40.0, -90.0), 1.0, noise_s=0.0005, late_s={"C": 0.12}, seed=1)
    fix = streets.solve(sensors, heard)
    weights = {arrival.detection.sensor_id: arrival.weight for arrival in fix.arrivals}
    assert streets.off_m(fix, (40.0, -90.0)) < 2.0
    assert weights["C"] < 0.05
    assert min(weight for name, weight in weights.items() if name != "C") > 0.9
    assert fix.n_sensors == 7


def test_a_second_pulse_of_a_sensor_is_an_echo():
    sensors = streets.square()
    heard = streets.bang(sensors, (40.0, -90.0), 1.0)
    echo = streets.pulse("B", 3.2)
    fix = streets.solve(sensors, [*heard, echo])
    assert [a.weight for a in fix.arrivals if a.detection is echo] == [0.0]
    assert streets.off_m(fix, (40.0, -90.0)) < 0.5


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_sensors(count):
    sensors = streets.square()
    shot = streets.solve(sensors, streets.bang(sensors, (0.0, 0.0), 1.0)[:count])
    assert isinstance(shot, Unfixed)
    assert shot.reason == "too-few-sensors"


def test_two_pulses_of_one_sensor_are_no_third_sensor():
    sensors = streets.square()
    heard = streets.bang(sensors, (0.0, 0.0), 1.0)[:2]
    again = streets.pulse(heard[0].sensor_id, 4.0)
    assert streets.solve(sensors, [*heard, again]).reason == "too-few-sensors"


def test_sensors_on_a_line_cannot_tell_its_sides_apart():
    sensors = streets.network([(x, 2.0 * x, 10.0) for x in (-300.0, -80.0, 10.0, 220.0, 400.0)])
    shot = streets.solve(sensors, streets.bang(sensors, (100.0, -150.0), 1.0))
    assert isinstance(shot, Unfixed)
    assert shot.reason == "degenerate-geometry"


def test_noise_alone_is_inconsistent():
    """Seven arrivals spread over half a minute: no place explains half of them."""
    sensors = streets.square()
    rng = np.random.default_rng(7)
    heard = sorted(
        (streets.pulse(s.sensor_id, float(rng.uniform(0.0, 30.0))) for s in sensors.sites),
        key=lambda d: d.pick.onset_ns,
    )
    shot = streets.solve(sensors, heard)
    assert isinstance(shot, Unfixed)
    assert shot.reason == "inconsistent"


def test_three_sensors_that_leave_two_places_keep_both():
    """Two hyperbolas can cross twice; the truth is one of the modes, and the weights say that nobody knows which."""
    sensors = streets.network([(0.0, 0.0, 10.0), (400.0, 0.0, 10.0), (120.0, 300.0, 10.0)])
    place = (-400.0, -300.0)  # behind a corner of the triangle; the other place is near that corner
    heard = [dataclasses.replace(d, pick=Pick(d.pick.onset_ns, 1e-4)) for d in streets.bang(sensors, place, 1.0)]
    fix = streets.solve(sensors, heard)
    assert isinstance(fix, Fix)
    assert len(fix.modes) == 2
    offs = [(place[0] - m.place.east_m, place[1] - m.place.north_m) for m in fix.modes]
    assert sum(m.ellipse.holds(*off) for m, off in zip(fix.modes, offs, strict=True)) == 1
    assert min(math.hypot(*off) for off in offs) < 30.0
    assert max(math.hypot(*off) for off in offs) > 100.0
    assert math.fsum(m.weight for m in fix.modes) == pytest.approx(1.0)


def test_far_outside_the_range_is_unsure_and_the_direction_is_not():
    sensors = streets.square(300.0)
    fix = streets.solve(sensors, streets.bang(sensors, (900.0, 700.0), 1.0, noise_s=0.0005, seed=2))
    assert isinstance(fix, Fix)
    assert not fix.inside_hull
    assert fix.best.ellipse.semi_major_m > 5.0 * fix.best.ellipse.semi_minor_m
    assert fix.best.ellipse.azimuth_deg == pytest.approx(math.degrees(math.atan2(900.0, 700.0)), abs=5.0)
    assert fix.best.ellipse.holds(900.0 - fix.best.place.east_m, 700.0 - fix.best.place.north_m)


PATHS_ADD_NOTHING = Street(path_scales=((0.0, 0.9), (0.0005, 0.1)))


@pytest.mark.parametrize("count", [5, 8, 12])
def test_region_holds_the_truth_as_often_as_it_says(count):
    """Everything off by what its sigma says, 400 arrays each: 95 % and three standard deviations of the count."""
    held = 0
    for seed in range(400):
        sensors = streets.ring(count, 400.0, seed)
        rng = np.random.default_rng(10_000 + seed)
        place = tuple(float(v) for v in rng.uniform(-250.0, 250.0, 2))
        heard = streets.bang(sensors, place, 1.0, noise_s=0.0015, seed=seed, astray=True)
        fix = streets.solve(sensors, heard, street=PATHS_ADD_NOTHING)
        assert isinstance(fix, Fix)
        held += any(m.ellipse.holds(place[0] - m.place.east_m, place[1] - m.place.north_m) for m in fix.modes)
    assert 0.917 * 400 <= held <= 0.983 * 400


@pytest.mark.parametrize(
    ("site", "air"),
    [
        ({"clock_sigma_s": 0.02}, streets.STILL),
        ({"position_sigma_m": 8.0}, streets.STILL),
        ({}, Air(temperature_c=12.0, temperature_sigma_c=10.0, wind_sigma_m_per_s=0.1)),
        ({}, Air(temperature_c=12.0, temperature_sigma_c=0.1, wind_sigma_m_per_s=6.0)),
    ],
    ids=["clocks", "survey", "temperature", "wind"],
)
def test_region_holds_where_one_thing_alone_is_badly_known(site, air):
    """A term left out of the covariance would hold half of these; 250 arrays, sources out to their edge."""
    held = 0
    for seed in range(250):
        sensors = streets.ring(6, 800.0, seed)
        sensors = Network(tuple(dataclasses.replace(s, **site) for s in sensors.sites))
        rng = np.random.default_rng(20_000 + seed)
        place = tuple(float(v) for v in rng.uniform(-650.0, 650.0, 2))
        heard = streets.bang(sensors, place, 1.0, noise_s=0.0005, seed=seed, air=air, astray=True)
        fix = streets.solve(sensors, heard, air, PATHS_ADD_NOTHING)
        assert isinstance(fix, Fix)
        held += any(m.ellipse.holds(place[0] - m.place.east_m, place[1] - m.place.north_m) for m in fix.modes)
    assert held >= 0.91 * 250


def test_hull():
    triangle = np.array([(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)])
    assert inside_hull(triangle, np.array([2.0, 2.0]))
    assert not inside_hull(triangle, np.array([8.0, 8.0]))
    assert not inside_hull(triangle, np.array([-1.0, 5.0]))


VALLEY = [(x, y, 60.0) for x, y in ((-300.0, -260.0), (310.0, -220.0), (40.0, 330.0), (-280.0, 200.0), (260.0, 240.0))]


def test_a_known_ground_beats_a_guessed_height():
    """A shot in a valley 60 m below the sensors, looked for at their height give or take ten: the ground knows."""
    sensors, place = streets.network(VALLEY, position_sigma_m=0.1, up_sigma_m=0.1), (120.0, -40.0)
    heard = streets.bang(sensors, place, 1.0, noise_s=0.0003, seed=3)
    sites = [sensors.site(d.sensor_id, streets.START_NS) for d in heard]
    guessed = dataclasses.replace(streets.solver(), source_up_m=50.0, source_sigma_m=10.0)
    known = dataclasses.replace(guessed, ground=Ground(0.0, 1.0))
    off = [streets.off_m(s.solve("s", 1, heard, sites, given=True), place) for s in (guessed, known)]
    assert off[1] < 1.0
    assert off[1] < 0.5 * off[0]


def test_the_ground_is_asked_where_the_shot_was():
    """A slope from 0 m in the west to 50 m in the east: each place is looked for at its own height."""
    slope = Ground(Raster(np.array([[0.0, 50.0], [0.0, 50.0]]), -500.0, -500.0, 1000.0, 1000.0), 0.5)
    sensors = streets.network([(x, y, z + 60.0) for x, y, z in VALLEY])
    heard = streets.bang(sensors, (-200.0, 20.0), 1.0)
    sites = [sensors.site(d.sensor_id, streets.START_NS) for d in heard]
    fix = dataclasses.replace(streets.solver(), ground=slope).solve("s", 1, heard, sites, given=True)
    assert fix.best.place.up_m == pytest.approx(slope.source(fix.best.place.east_m, fix.best.place.north_m)[0], abs=2.0)


def test_a_fix_says_when_height_decides():
    """Below the sensors a height known to 30 m is metres of place; on the plain it is nothing."""
    steep = dataclasses.replace(streets.solver(), source_up_m=20.0, source_sigma_m=30.0)
    roofs = streets.network(VALLEY, position_sigma_m=0.1, up_sigma_m=0.1)
    for sensors, expected in ((roofs, True), (streets.ring(8, 900.0, 4), False)):
        heard = streets.bang(sensors, (220.0, 160.0), 1.0, noise_s=0.0003, seed=3)
        sites = [sensors.site(d.sensor_id, streets.START_NS) for d in heard]
        solver = steep if expected else streets.solver()
        assert solver.solve("s", 1, heard, sites, given=True).height_decides is expected
