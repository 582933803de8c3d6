"""Coverage: counts that are exact, maps that keep the symmetries, and sizes that the real solver's errors bear out."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from acoustic.air import Air
from localization.fix import Fix
from localization.frame import Frame
from localization.ground import Ground
from localization.study.coverage import Coverage, CoverageError, coverage
from localization.study.hearing import Ear, counts, just
from localization.study.scene import Scene
from localization.study.sharpness import CHI_SQUARE, Timing, axes, geometry
from tests import naive, streets

SHARES = st.lists(st.floats(0.0, 0.99), min_size=0, max_size=8).map(np.array)
PLACES = st.lists(
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=4, max_size=9, unique=True
).map(lambda places: [(100.0 * x, 100.0 * y, 8.0) for x, y in places])  # fmt: skip
CORNERS = [(-400.0, -400.0, 8.0), (400.0, -400.0, 8.0), (400.0, 400.0, 8.0), (-400.0, 400.0, 8.0)]


def scene(places, air=streets.STILL, **more):
    return Scene("town", streets.START_NS, air, Frame(), streets.network(places), streets.SOURCE_UP_M, 1.0, **more)


def at(found: Coverage, east: float, north: float) -> int:
    """The cell whose middle is nearest."""
    return int(np.argmin(np.hypot(*(found.grid.centres() - (east, north)).T)))


# counting


@given(SHARES)
def test_counts_as_one_counts_by_hand(shares):
    by_hand = np.zeros(7)
    for outcome in itertools.product((0, 1), repeat=len(shares)):
        by_hand[min(6, sum(outcome))] += math.prod(p if o else 1.0 - p for o, p in zip(outcome, shares, strict=True))
    assert counts(shares) == pytest.approx(by_hand, abs=1e-12)


@given(st.lists(st.floats(0.0, 0.99), min_size=1, max_size=60).map(np.array), st.integers(0, 3))
def test_without_each_in_turn(shares, count):
    rest = just(count, shares, counts(shares))
    for k in range(len(shares)):
        assert rest[k] == pytest.approx(counts(np.delete(shares, k))[count], abs=1e-8)


def test_loudness_is_integrated_over():
    """One sensor: the nodes' mean is the closed form of both scatters together."""
    ear = Ear()
    loudness, weights = ear.loudness()
    for margin in (-40.0, -12.0, 0.0, 7.5, 30.0):
        assert float(weights @ ear.share(margin + loudness)) == pytest.approx(
            float(ear.overall(np.array(margin))), abs=2e-4
        )


def test_many_shots_are_heard_as_often_as_said():
    """Shots drawn one by one, ear by ear."""
    town, ear, rng = scene([*CORNERS, (90.0, -20.0, 8.0)]), Ear(), np.random.default_rng(2)
    found = coverage(town, cell_m=100.0)
    sensors = town.frame.local([site.position for site in town.network.sites])
    for place in ((50.0, 50.0), (-650.0, 350.0)):
        k = at(found, *place)
        away = np.linalg.norm(sensors - (*found.grid.centres()[k], streets.SOURCE_UP_M), axis=1)
        loudness = ear.source_sigma_db * rng.standard_normal((20_000, 1))
        levels = 147.5 - 24.2 * np.log10(away) + loudness + ear.scatter_db * rng.standard_normal((20_000, 5))
        heard = (levels >= ear.floor_db_spl + ear.audible_db) & (rng.random((20_000, 5)) < ear.near_share)
        often = np.mean(np.sum(heard, axis=1)[:, None] >= (3, 4), axis=0)
        assert found.p_detect[k, :2] == pytest.approx(often, abs=0.012)
        assert found.heard_by[k] == pytest.approx(float(np.mean(np.sum(heard, axis=1))), abs=0.04)


# maps


@given(PLACES, st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
@settings(max_examples=30)
def test_one_more_sensor_never_hears_less(places, more):
    x, y = 100.0 * more[0] + 7.0, 100.0 * more[1] - 3.0
    box = [(-1000.0, -1000.0, 8.0), (1000.0, 1000.0, 8.0)]  # so that both maps have the same cells
    fewer = coverage(scene([*box, *places]), cell_m=400.0)
    greater = coverage(scene([*box, *places, (x, y, 8.0)]), cell_m=400.0)
    assert np.all(greater.p_detect >= fewer.p_detect - 1e-12)
    assert np.all(greater.heard_by >= fewer.heard_by - 1e-12)


def test_a_sensor_that_is_down_is_absent():
    down = coverage(scene([*CORNERS, (50.0, 80.0, 9.0), (-70.0, 20.0, 9.0)]), cell_m=100.0, down=["E"])
    absent = coverage(scene([*CORNERS, (-70.0, 20.0, 9.0)]), cell_m=100.0)
    for name in ("inside", "heard_by", "p_detect", "semi_major_m", "radius_m", "error_95_m"):
        assert np.array_equal(getattr(down, name), getattr(absent, name), equal_nan=True), name
    assert [link.sensor_id for link in down.links if link.sensor_id != "E"] == [
        {"E": "F"}.get(link.sensor_id, link.sensor_id) for link in absent.links
    ]


def test_a_symmetric_network_has_a_symmetric_map():
    found = coverage(scene([*CORNERS, (0.0, 0.0, 8.0)]), cell_m=80.0)
    for values, tolerance in ((found.p_at_least(4), 1e-12), (found.semi_major_m, 0.1), (found.radius_m, 0.1)):
        picture = found.grid.picture(values)
        for other in (picture[::-1], picture[:, ::-1], picture.T):
            # Equally near sensors take each other's chances, hence the sizes agree as drawn shots do.
            assert np.nanmax(np.abs(other / picture - 1.0)) <= tolerance
    losses = {link.sensor_id: link.loss_p_detect_4 for link in found.links}
    assert losses["A"] == pytest.approx(losses["B"]) == pytest.approx(losses["C"]) == pytest.approx(losses["D"])


def test_the_weakest_link_is_what_the_map_without_it_says():
    town = scene([*CORNERS, (30.0, -60.0, 9.0), (700.0, 40.0, 9.0)])
    found = coverage(town, cell_m=100.0)
    inside = found.inside
    assert [link.loss_p_detect_4 for link in found.links] == sorted(
        (link.loss_p_detect_4 for link in found.links), reverse=True
    )
    for link in found.links:
        without = coverage(town, cell_m=100.0, down=[link.sensor_id])
        fall = found.p_at_least(4)[inside] - without.p_at_least(4)[inside]
        assert link.loss_p_detect_4 == pytest.approx(float(np.mean(fall)), abs=1e-12)
    quiet = coverage(town, cell_m=100.0, ear=Ear(floor_db_spl=48.0))
    for link in quiet.links:
        without = coverage(town, cell_m=100.0, ear=Ear(floor_db_spl=48.0), down=[link.sensor_id])
        lost = quiet.share_of_hull(quiet.p_at_least(4) >= 0.9) - quiet.share_of_hull(without.p_at_least(4) >= 0.9)
        assert link.loss_share_90 == pytest.approx(lost, abs=1e-12)


def test_noise_deafens():
    places = [*CORNERS, (0.0, 0.0, 8.0)]
    quiet = coverage(scene(places, noise_floors_db_spl=dict.fromkeys("ABCDE", 40.0)), cell_m=200.0)
    loud = coverage(scene(places, noise_floors_db_spl={"A": 80.0}), cell_m=200.0)
    usual = coverage(scene(places), cell_m=200.0)
    assert np.all(quiet.p_detect[:, :2] > usual.p_detect[:, :2])
    beside, opposite = at(loud, -200.0, -400.0), at(loud, 400.0, 400.0)
    lost = usual.heard_by - loud.heard_by
    assert lost[beside] > 0.3
    assert np.all(lost >= 0.0)
    assert lost[opposite] < lost[beside]


def test_what_is_not_known_widens():
    places = [*CORNERS, (0.0, 0.0, 8.0), (200.0, -90.0, 12.0)]
    sharp = coverage(scene(places), cell_m=100.0)
    for air in (replace(streets.STILL, wind_sigma_m_per_s=4.0), replace(streets.STILL, temperature_sigma_c=10.0)):
        blunt = coverage(scene(places), cell_m=100.0, air=air)
        assert np.all(blunt.radius_m[sharp.inside] > sharp.radius_m[sharp.inside])
    rough = coverage(scene(places, ground=Ground(1.5 - 1.5, sigma_m=30.0)), cell_m=100.0)
    assert np.nanmean(rough.radius_m) > np.nanmean(sharp.radius_m)
    late = coverage(scene(places), cell_m=100.0, timing=Timing(path_sigma_s=0.01))
    assert np.nanmedian(late.radius_m / sharp.radius_m) > 1.5


def test_the_same_again():
    town = scene([*CORNERS, (0.0, 30.0, 8.0)])
    one, other = coverage(town, cell_m=100.0), coverage(town, cell_m=100.0)
    assert np.array_equal(one.error_95_m, other.error_95_m, equal_nan=True)


def test_thousands_of_sensors_cost_a_cell_no_more():
    """Only the best placed are counted; the others add nothing that can be seen."""
    rng = np.random.default_rng(3)
    places = [(float(x), float(y), 8.0) for x, y in rng.uniform(0.0, 9_000.0, (600, 2))]
    many = coverage(scene(places), cell_m=3_000.0, margin_m=0.0)
    near = [p for p in places if math.hypot(p[0] - 4_500.0, p[1] - 4_500.0) < 2_500.0]
    box = [(0.0, 0.0, 8.0), (9_000.0, 9_000.0, 8.0)]
    few = coverage(scene([*box, *near]), cell_m=3_000.0, margin_m=0.0)
    k = at(many, 4_500.0, 4_500.0)
    assert many.p_detect[k] == pytest.approx(few.p_detect[at(few, 4_500.0, 4_500.0)], abs=1e-3)


def test_no_area_and_no_hearers():
    pair = coverage(scene([(0.0, 0.0, 8.0), (500.0, 0.0, 8.0)]), cell_m=100.0)
    assert not np.any(pair.inside)
    assert pair.share_of_hull(pair.p_at_least(3) > 0.0) is None
    assert np.all(pair.p_detect == 0.0)
    assert np.all(np.isnan(pair.semi_major_m))


def test_sensors_on_a_line_place_nothing():
    found = coverage(scene([(150.0 * k, 0.0, 1.5) for k in range(6)]), cell_m=50.0)
    # In line with them, nothing tells how far off a shot was.
    beyond = at(found, 1000.0, 0.0)
    assert not found.semi_major_m[beyond] < 500.0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"down": ["Z"]}, "'Z' is not in the network"),
        ({"down": list("ABCD")}, "every sensor is down"),
        ({"cell_m": 1.0}, "take 5 m or more"),
    ],
)
def test_what_cannot_be_done(asked, says):
    with pytest.raises(CoverageError, match=says):
        coverage(scene(CORNERS), **asked)


@pytest.mark.parametrize("wrong", [{"near_share": 1.0}, {"scatter_db": 0.0}, {"louder_db": math.nan}])
def test_what_is_no_ear(wrong):
    with pytest.raises(ValueError):
        Ear(**wrong)


def test_what_is_no_timing():
    with pytest.raises(ValueError):
        Timing(0.0, 0.0)
    with pytest.raises(ValueError):
        Timing(path_sigma_s=-1.0)


# sizes


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_information_by_another_road(seed):
    """From the arrivals' full covariance, with derivatives by differences, the discharge projected out."""
    rng = np.random.default_rng(seed)
    air = Air(temperature_sigma_c=3.0, wind_east_m_per_s=4.0, wind_north_m_per_s=-2.0, wind_sigma_m_per_s=2.0)
    sensors = np.column_stack([rng.uniform(-500.0, 500.0, (7, 2)), rng.uniform(2.0, 30.0, 7)])
    source = np.array([*rng.uniform(-600.0, 600.0, 2), 1.5])
    assume(np.min(np.linalg.norm(sensors - source, axis=1)) > 5.0)
    sigmas = np.column_stack([rng.uniform(0.0, 2.0, 7), rng.uniform(0.0, 5.0, 7), rng.uniform(0.0, 0.002, 7)])
    timing = Timing()

    def arrivals(p):
        return np.array([naive.travel_time(p[:3], sensor, p[3], p[4:6]) for sensor in sensors])

    p = np.array([*source, air.sound_speed_m_per_s, 4.0, -2.0])
    steps = np.diag([1e-3] * 3 + [1e-3] * 3)
    jacobian = np.stack([(arrivals(p + step) - arrivals(p - step)) / 2e-3 for step in steps], axis=1)
    rise = (sensors - source)[:, 2] / np.linalg.norm(sensors - source, axis=1)
    survey = (sigmas[:, 0] ** 2 * (1.0 - rise**2) + (sigmas[:, 1] * rise) ** 2) / p[3] ** 2
    own = np.diag(timing.pick_sigma_s**2 + timing.path_sigma_s**2 + survey + sigmas[:, 2] ** 2)
    common = jacobian[:, 2:] * [5.0, air.sound_speed_sigma_m_per_s, 2.0, 2.0]
    inverse = np.linalg.inv(own + common @ common.T)
    ones = inverse @ np.ones(7)
    projected = inverse - np.outer(ones, ones) / np.sum(ones)
    expected = jacobian[:, :2].T @ projected @ jacobian[:, :2]
    seen = geometry(source[None], np.array([5.0]), sensors[None], sigmas[None], air, timing)
    found = seen.information(np.ones((1, 1, 7)))[0, 0]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-6 * float(np.max(expected)))
    values = np.sort(np.linalg.eigvalsh(expected))
    assert axes(found) == pytest.approx(1.0 / np.sqrt(values), rel=2e-3)


def errors(town, place, shots, *, ear, timing, seed):
    """Where the solver puts shots from one place, minus the place, (n, 2): those that four sensors or more heard."""
    rng = np.random.default_rng(seed)
    away = np.linalg.norm(town.frame.local([s.position for s in town.network.sites]) - (*place, 1.5), axis=1)
    names = np.array([site.sensor_id for site in town.network.sites])
    result = []
    for shot in range(shots):
        louder = ear.source_sigma_db * float(rng.standard_normal())
        share = ear.share(ear.margin_db(away, np.full(len(away), math.nan)) + louder)
        deaf = names[rng.random(len(away)) >= share]
        if len(names) - len(deaf) < 4:
            continue
        heard = streets.bang(
            town.network, place, 1.0, air=town.air, deaf=list(deaf), noise_s=timing.pick_sigma_s, astray=True,
            source_db=147.5 + louder, seed=1000 * seed + shot,
        )  # fmt: skip
        fix = streets.solve(town.network, heard, town.air)
        if isinstance(fix, Fix):
            result.append((fix.best.place.east_m - place[0], fix.best.place.north_m - place[1]))
    return np.array(result)


AIR = Air(temperature_c=12.0, temperature_sigma_c=3.0, wind_sigma_m_per_s=2.0)
TIMING = Timing(pick_sigma_s=0.005, path_sigma_s=0.0)
CITY = [
    (-700.0, -650.0, 9.0), (-30.0, -720.0, 12.0), (680.0, -600.0, 8.0), (-740.0, 40.0, 15.0), (20.0, 30.0, 10.0),
    (730.0, -40.0, 11.0), (-640.0, 690.0, 8.0), (60.0, 740.0, 14.0), (700.0, 620.0, 9.0),
]  # fmt: skip


@pytest.mark.parametrize(("east", "north"), [(150.0, -250.0), (-450.0, 350.0), (950.0, 150.0)])
def test_the_region_is_as_large_as_the_solvers_errors(east, north):
    """Where every sensor hears: the ellipse of real errors, from sensors, clocks, air and paths gone astray."""
    ear = Ear(floor_db_spl=0.0, near_share=0.99, source_sigma_db=0.0)
    town = scene(CITY, air=AIR)
    found = coverage(town, cell_m=100.0, ear=ear, timing=TIMING)
    place = tuple(float(v) for v in found.grid.centres()[at(found, east, north)])
    off = errors(town, place, 500, ear=ear, timing=TIMING, seed=5)
    values = np.linalg.eigvalsh(off.T @ off / len(off))
    k = at(found, *place)
    assert found.semi_major_m[k] == pytest.approx(math.sqrt(CHI_SQUARE * values[1]), rel=0.15)
    assert found.radius_m[k] == pytest.approx(math.sqrt(CHI_SQUARE * math.sqrt(values[0] * values[1])), rel=0.15)
    assert found.error_95_m[k] == pytest.approx(float(np.quantile(np.hypot(*off.T), 0.95)), rel=0.15)


@pytest.mark.parametrize(("east", "north"), [(150.0, -250.0), (-450.0, 350.0), (950.0, 150.0)])
def test_where_only_some_hear(east, north):
    """Who hears a shot is left to chance, shot by shot."""
    ear = Ear(floor_db_spl=55.0, source_sigma_db=6.0)
    town = scene(CITY, air=AIR)
    found = coverage(town, cell_m=100.0, ear=ear, timing=TIMING)
    place = tuple(float(v) for v in found.grid.centres()[at(found, east, north)])
    off = errors(town, place, 600, ear=ear, timing=TIMING, seed=6)
    k = at(found, *place)
    assert 4.0 < found.heard_by[k] < 7.0
    assert found.error_95_m[k] == pytest.approx(float(np.quantile(np.hypot(*off.T), 0.95)), rel=0.15)
