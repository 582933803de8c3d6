"""Houses in the way: the laws of light and of rubber bands, a book's formula, and another's numbers."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from acoustic.air import Air
from acoustic.propagation import travel_time_s
from localization.study.buildings import Block, Buildings
from localization.study.diffraction import DETOUR_M, Bend, bends, loss_db, low_pass
from localization.study.paths import Streets
from localization.study.reflection import WAVELENGTH_M, reflections
from localization.study.specification import Profile, Surroundings
from localization.study.weather import Weather, mean_wind

STILL = Air(15.0)
WINDY = Air(15.0, wind_east_m_per_s=4.0, wind_north_m_per_s=-3.0)
SPEED = STILL.sound_speed_m_per_s
BARE = Surroundings(
    excess_db=0.0, excess_db_per_decade=0.0, excess_sigma_db=0.0, wander_s_per_km=0.0, ground_reflection=0.0
)


def box(west, south, east, north, roof_m=10.0, **more):
    return Block(((west, south), (east, south), (east, north), (west, north)), roof_m, **more)


def grid(blocks=5, pitch_m=60.0, street_m=18.0, roof_m=11.0):
    """A town of square houses round the zero."""
    half = 0.5 * blocks * pitch_m
    corners = [(-half + pitch_m * i, -half + pitch_m * j) for i in range(blocks) for j in range(blocks)]
    side_m = pitch_m - street_m
    return Buildings([box(x, y, x + side_m, y + side_m, roof_m + (k % 4)) for k, (x, y) in enumerate(corners)])


TOWN = grid()
STEP_M = 0.5
coordinates = st.floats(-190.0, 190.0)


@st.composite
def outdoors(draw, highest_m=25.0):
    """A point in a street of the town, or anywhere above its roofs."""
    up_m = draw(st.floats(0.5, highest_m))
    if up_m > 16.0:
        return draw(coordinates), draw(coordinates), up_m
    across, along = 60.0 * draw(st.integers(-3, 3)) - 39.0 + draw(st.floats(-8.9, 8.9)), draw(coordinates)
    return (across, along, up_m) if draw(st.booleans()) else (along, across, up_m)


def sees(buildings, a, b):
    return bool(buildings.see(np.array([a]), np.array([b]))[0])


def direct(buildings, a, b, *, surroundings=BARE, air=STILL, weather=None):
    return Streets(surroundings, air, 0.0, 1, buildings, weather).rays(("place", "sensor"), a, b)


def marched(buildings, a, b):
    """Whether a straight line is free, by walking it: the slow twin of `Buildings.see`."""
    steps = math.ceil(math.dist(a, b) / STEP_M) + 1
    for k in range(steps + 1):
        at = [p + (q - p) * k / steps for p, q in zip(a, b, strict=True)]
        for block in buildings.blocks:
            sides = zip(block.corners, (*block.corners[1:], block.corners[0]), strict=True)
            if at[2] < block.roof_m and all(
                (q[0] - p[0]) * (at[1] - p[1]) - (q[1] - p[1]) * (at[0] - p[0]) > 0.0 for p, q in sides
            ):
                return False
    return True


# sight


@given(outdoors(), outdoors())
def test_sight_is_what_a_walk_along_the_line_finds(a, b):
    """Beside the slow twin; where a house is cut for less than its steps, it may miss it."""
    assert sees(TOWN, a, b) == marched(TOWN, a, b) or (not sees(TOWN, a, b) and _inside_m(a, b) < 2.0 * STEP_M)


def _inside_m(a, b):
    """The longest stretch inside a house."""
    enters, leaves = (shares[0] for shares in TOWN.crossed(np.array([a]), np.array([b])))
    longest = 0.0
    for first, last, roof in zip(enters, leaves, TOWN.roofs_m, strict=True):
        if a[2] != b[2]:
            over = (roof - a[2]) / (b[2] - a[2])
            first, last = (first, min(last, over)) if b[2] > a[2] else (max(first, over), last)  # noqa: PLW2901
        longest = max(longest, last - first)
    return longest * math.dist(a, b)


@given(outdoors(), outdoors())
def test_who_sees_is_seen(a, b):
    assert sees(TOWN, a, b) == sees(TOWN, b, a)


def test_two_houses_with_one_wall_leave_no_gap():
    row = Buildings([box(-20.0, -5.0, 0.0, 5.0), box(0.0, -5.0, 20.0, 5.0)])
    for east_m in (-1e-9, 0.0, 1e-9, 1.0):
        bent = bends(row, (east_m, -30.0, 1.5), (east_m, 30.0, 1.5))
        assert all(math.hypot(point[0]) > 19.0 or point[2] == 10.0 for bend in bent for point in bend.points[1:-1])
    # A house with a wing, as two: the way round it does not run along their common wall.
    wing = Buildings([box(0.0, 0.0, 10.0, 10.0, 50.0), box(10.0, 0.0, 20.0, 5.0, 50.0)])
    way = min(bends(wing, (5.0, -5.0, 1.5), (15.0, 12.0, 1.5)), key=lambda bend: bend.length_m)
    assert way.points[1] == pytest.approx((20.0, 0.0, 1.5), abs=0.01)


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (((0.0, 0.0), (10.0, 0.0)), "expected three or more"),
        (((0.0, 0.0), (10.0, 0.0), (10.0, 0.0), (0.0, 9.0)), "two corners in one place"),
        (((0.0, 0.0), (10.0, 0.0), (2.0, 2.0), (0.0, 9.0)), "not convex"),
        (((0.0, 0.0), (10.0, 8.0), (10.0, 0.0), (0.0, 8.0)), "not convex"),
        (tuple((math.cos(4.0 * math.pi * k / 5), math.sin(4.0 * math.pi * k / 5)) for k in range(5)), "not convex"),
    ],
)
def test_a_footprint_that_is_none_is_refused(corners, message):
    with pytest.raises(ValueError, match=message):
        Block(corners, 10.0)


def test_a_footprint_may_be_given_in_either_direction():
    there = ((0.0, 0.0), (10.0, 0.0), (10.0, 5.0), (0.0, 5.0))
    back = Buildings([Block(tuple(reversed(there)), 9.0)])
    assert not sees(back, (5.0, -5.0, 1.0), (5.0, 15.0, 1.0))
    assert sees(back, (5.0, -5.0, 10.0), (5.0, 15.0, 10.0))


@given(st.floats(0.0, 42.0), st.floats(0.0, 42.0), st.floats(0.0, 11.0))
def test_who_stands_in_a_wall_is_moved_out_of_it(east_m, north_m, up_m):
    first = TOWN.blocks[0].corners[0]
    out = TOWN.outside((first[0] + east_m, first[1] + north_m, up_m))
    assert not np.any(TOWN.holding(np.array([out])))
    assert TOWN.outside(out) == out


# bent ways


@given(outdoors(), outdoors())
def test_a_blocked_way_is_longer_than_the_straight_one_and_free(a, b):
    assume(not sees(TOWN, a, b))
    found = bends(TOWN, a, b)
    for bend in found:
        assert bend.length_m >= math.dist(a, b)
        assert len(bend.points) >= 3
    assert [bend.length_m for bend in found] == sorted(bend.length_m for bend in found)
    ray = direct(TOWN, a, b)[0]
    assert ray.delay_s > math.dist(a, b) / SPEED
    assert ray.delay_s == pytest.approx(found[0].length_m / SPEED, abs=1e-9)
    for bend in found[:1]:  # the least lift off the edges it lies on, and every piece is free
        lifted = [(x, y, z + 1e-3) for x, y, z in bend.points[1:-1]]
        points = [bend.points[0], *lifted, bend.points[-1]]
        assert all(sees(TOWN, p, q) for p, q in itertools.pairwise(points))


@given(outdoors(), outdoors())
def test_there_and_back_take_the_same_time_where_no_wind_blows(a, b):
    weather = Weather(STILL, Profile(lapse_c_per_m=0.02), 0.0)
    there, back = direct(TOWN, a, b, weather=weather), direct(TOWN, b, a, weather=weather)
    assert [ray.delay_s for ray in there] == pytest.approx([ray.delay_s for ray in back], abs=1e-8)
    assert [ray.gain for ray in there] == pytest.approx([ray.gain for ray in back], rel=1e-6)


@given(outdoors(), outdoors())
def test_a_house_that_is_moved_away_gives_the_straight_way_back(a, b):
    away = Buildings([box(x + 5_000.0, 0.0, x + 5_042.0, 42.0) for x in range(0, 200, 50)])
    assert direct(away, a, b)[0] == direct(None, a, b, surroundings=dataclasses.replace(BARE, blocked_share=0.0))[0]


def test_the_way_over_a_screen_is_pythagoras():
    screen = Buildings([box(-500.0, -0.05, 500.0, 0.05, 8.0)])
    (bend,) = bends(screen, (0.0, -30.0, 2.0), (0.0, 40.0, 2.0))
    over_m = math.hypot(30.0 - 0.05, 6.0) + 0.1 + math.hypot(40.0 - 0.05, 6.0)
    assert bend.length_m == pytest.approx(over_m, abs=1e-9)
    assert bend.thickness_m == pytest.approx(0.1)


@given(outdoors(), outdoors())
def test_the_way_over_is_the_shortest_of_all(a, b):
    """Beside a trial of every choice of up to three edges under which nothing sticks out."""
    assume(not sees(TOWN, a, b))
    over = next(bend for bend in bends(TOWN, a, b) if all(_on_line(a, b, point) for point in bend.points))
    enters, leaves = (shares[0] for shares in TOWN.crossed(np.array([a]), np.array([b])))
    crossed = [(f, l, r) for f, l, r in zip(enters, leaves, TOWN.roofs_m, strict=True) if l > f]
    edges = sorted({(float(s), float(r)) for f, l, r in crossed for s in (f, l)})
    across_m = math.dist(a[:2], b[:2])
    lengths = []
    for count in (1, 2, 3):
        for chosen in itertools.combinations(edges, count):
            line = [(0.0, a[2]), *chosen, (1.0, b[2])]
            heights = np.interp([s for s, _ in edges], *zip(*line, strict=True))
            if np.all(heights >= np.array([r for _, r in edges]) - 1e-9):
                lengths.append(
                    sum(math.hypot((t - s) * across_m, v - u) for (s, u), (t, v) in itertools.pairwise(line))
                )
    shortest_m = min(lengths, default=math.inf)
    if len(over.points) <= 5:
        assert over.length_m == pytest.approx(shortest_m, abs=1e-6)
    else:
        assert over.length_m <= shortest_m + 1e-6


def _on_line(a, b, point):
    """Whether a point lies above the straight line on the map."""
    way = b[0] - a[0], b[1] - a[1]
    return abs(way[0] * (point[1] - a[1]) - way[1] * (point[0] - a[0])) < 1e-6 * math.hypot(*way)


TOWERS = grid(blocks=3, roof_m=300.0)


@given(outdoors(highest_m=6.0), outdoors(highest_m=6.0))
def test_the_way_round_is_the_shortest_of_all(a, b):
    """Beside a trial of every corner and every pair of corners, towers that nobody passes over."""
    assume(not sees(TOWERS, a, b))
    assume(math.dist(a[:2], b[:2]) > 1.0)
    around = [bend for bend in bends(TOWERS, a, b) if max(point[2] for point in bend.points) < 100.0]
    way = b[0] - a[0], b[1] - a[1]
    share = ((TOWERS.corners - a[:2]) @ way / (way[0] ** 2 + way[1] ** 2)).clip(0.0, 1.0)
    nodes = [
        (float(x), float(y), float(a[2] + s * (b[2] - a[2]))) for (x, y), s in zip(TOWERS.corners, share, strict=True)
    ]
    seen = [k for k, node in enumerate(nodes) if sees(TOWERS, a, node)]
    seeing = [k for k, node in enumerate(nodes) if sees(TOWERS, node, b)]
    ways = [Bend((a, nodes[k], b)) for k in seen if k in seeing]
    ways += [
        Bend((a, nodes[i], nodes[j], b)) for i in seen for j in seeing if i != j and sees(TOWERS, nodes[i], nodes[j])
    ]
    shortest_m = min((bend.length_m for bend in ways), default=math.inf)
    if shortest_m < math.dist(a[:2], b[:2]) + DETOUR_M:
        assert [bend.length_m for bend in around] == pytest.approx([shortest_m], abs=1e-6)
    for bend in around:
        assert bend.length_m >= shortest_m - 1e-6


def test_the_way_round_a_tower_turns_at_its_corners():
    tower = Buildings([box(-10.0, -10.0, 10.0, 10.0, 200.0)])
    over, around = sorted(bends(tower, (0.0, -40.0, 1.5), (2.0, 40.0, 1.5)), key=lambda bend: -bend.points[1][2])
    assert over.points[1][2] == 200.0
    assert [point[:2] for point in around.points[1:-1]] == [
        pytest.approx((10.0, -10.0), abs=0.01),
        pytest.approx((10.0, 10.0), abs=0.01),
    ]
    expected_m = math.hypot(10.0, 30.0) + 20.0 + math.hypot(8.0, 30.0)
    assert around.length_m == pytest.approx(expected_m, abs=0.01)


# what edges take off


@pytest.mark.parametrize("fresnel", [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 4.0])
def test_a_thin_screen_takes_off_what_maekawa_measured(fresnel):
    """His chart by the formula of Kurze and Anderson (1971), which follows it closely; ours within 1 dB."""
    root = math.sqrt(2.0 * math.pi * fresnel)
    measured_db = 5.0 + 20.0 * math.log10(root / math.tanh(root))
    detour_m = 0.5 * fresnel * SPEED / 1000.0
    half_m = 100.0
    height_m = math.sqrt((half_m + 0.5 * detour_m) ** 2 - half_m**2)
    bend = Bend(((0.0, 0.0, 0.0), (half_m, 0.0, height_m), (2.0 * half_m, 0.0, 0.0)))
    assert bend.longer_m == pytest.approx(detour_m)
    assert loss_db(bend, 1000.0, SPEED) == pytest.approx(measured_db, abs=1.0)


@given(st.floats(0.01, 60.0), st.floats(0.0, 80.0), st.floats(250.0, 4000.0))
def test_the_low_pass_loses_what_the_edges_do(height_m, thick_m, hz):
    bend = Bend(((0.0, 0.0, 0.0), (60.0, 0.0, height_m), (60.0 + thick_m, 0.0, height_m), (150.0 + thick_m, 0.0, 0.0)))
    gain, cutoff_hz = low_pass(bend, SPEED)
    filtered_db = -20.0 * math.log10(gain) + 10.0 * math.log10(1.0 + (hz / cutoff_hz) ** 2)
    near = 350.0 <= hz <= 2800.0
    assert filtered_db == pytest.approx(loss_db(bend, hz, SPEED), abs=3.2 if near else 6.0)
    for exact_hz in (500.0, 2000.0):
        filtered_db = -20.0 * math.log10(gain) + 10.0 * math.log10(1.0 + (exact_hz / cutoff_hz) ** 2)
        assert filtered_db == pytest.approx(loss_db(bend, exact_hz, SPEED), abs=1e-6)


@given(st.floats(0.1, 60.0), st.floats(0.1, 60.0))
def test_a_longer_detour_is_never_louder_behind_edges_of_one_thickness(one_m, other_m):
    low, high = (
        Bend(((0.0, 0.0, 0.0), (60.0, 0.0, h), (70.0, 0.0, h), (150.0, 0.0, 0.0))) for h in sorted((one_m, other_m))
    )
    assert loss_db(low, 1000.0, SPEED) <= loss_db(high, 1000.0, SPEED)


# reflections


@given(outdoors(), outdoors())
def test_reflections_obey_the_law(a, b):
    """Angle in is angle out, both in one plane: the way is as long as the straight one from the image."""
    for found in reflections(TOWN, a, b):
        p = np.array(found.point)
        inward, outward = p - np.array(a), np.array(b) - p
        inward, outward = inward / np.linalg.norm(inward), outward / np.linalg.norm(outward)
        turned = outward - inward
        normal = turned / np.linalg.norm(turned)
        assert abs(normal[2]) < 1e-6  # upright walls
        assert max(abs(normal[0]), abs(normal[1])) == pytest.approx(1.0, abs=1e-6)  # of a town built square
        assert -inward @ normal == pytest.approx(outward @ normal, abs=1e-9)
        length_m = math.dist(a, found.point) + math.dist(found.point, b)
        assert found.length_m == pytest.approx(length_m, abs=1e-6)
        assert length_m >= math.dist(a, b)
        assert 0.0 < found.gain <= 0.8


def test_a_wall_reflects_only_where_it_stands_and_is_seen():
    wall = box(-50.0, 30.0, 50.0, 40.0, 10.0)
    a, b = (-20.0, 0.0, 2.0), (20.0, 0.0, 6.0)
    (alone,) = reflections(Buildings([wall]), a, b)
    assert alone.point == pytest.approx((0.0, 30.0, 4.0))
    assert alone.length_m == pytest.approx(math.sqrt(40.0**2 + 60.0**2 + 4.0**2))
    assert reflections(Buildings([dataclasses.replace(wall, roof_m=3.9)]), a, b) == []
    assert reflections(Buildings([box(1.0, 30.0, 50.0, 40.0, 10.0)]), a, b) == []
    assert reflections(Buildings([wall, box(-15.0, 10.0, -5.0, 14.0, 10.0)]), a, b) == []
    hidden = reflections(Buildings([wall]), a, (20.0, 80.0, 6.0))
    assert hidden == []


def test_a_wall_too_small_for_the_sound_throws_back_less():
    a, b = (-40.0, 0.0, 2.0), (40.0, 0.0, 2.0)
    gains = [
        reflections(Buildings([box(-w, 30.0, w, 40.0, 30.0)]), a, b)[0].gain for w in (0.5, 1.0, 20.0)
    ]  # fmt: skip
    assert gains[1] == pytest.approx(2.0 * gains[0])
    assert gains[2] == 0.8
    assert gains[0] == pytest.approx(0.8 * 1.0 * 0.6 / math.sqrt(2.0 * WAVELENGTH_M * 25.0))


def test_walls_stand_in_for_drawn_echoes_unless_both_are_wanted():
    canyon = Buildings([box(-300.0, 10.0, 300.0, 25.0, 15.0), box(-300.0, -25.0, 300.0, -10.0, 15.0)])
    a, b = (-100.0, 2.0, 1.5), (120.0, -3.0, 6.0)
    plain = direct(canyon, a, b, surroundings=Surroundings())
    assert len(plain) == 2 + 2
    both = direct(canyon, a, b, surroundings=Surroundings(echoes=30.0))
    assert both[:4] == plain
    assert len(both) > 20


# weather


@given(st.floats(0.5, 80.0), st.floats(0.5, 80.0), st.floats(0.001, 2.0), st.floats(0.0, 5.0), st.floats(-0.05, 0.05))
def test_time_through_layers_is_the_integral_along_the_line(low_m, high_m, roughness_m, displacement_m, lapse):
    """Beside 20,000 slices, of the same mean to 2 us, and of the integral of slowness to the square that is stated."""
    profile = Profile(roughness_m=roughness_m, displacement_m=displacement_m, lapse_c_per_m=lapse)
    weather = Weather(WINDY, profile, 0.0)
    a, b = (0.0, 0.0, low_m), (400.0, -300.0, high_m)
    heights = low_m + (high_m - low_m) * (np.arange(20_000) + 0.5) / 20_000
    above = np.maximum((heights - displacement_m) / roughness_m, 1.0)
    winds = 5.0 * np.log(above) / math.log((10.0 - displacement_m) / roughness_m) * 500.0 / math.dist(a, b)
    cold = WINDY.temperature_c - lapse * (heights - 10.0)
    speeds = np.interp(cold, *_speeds(cold)) + winds
    assert weather.travel_time_s(a, b) == pytest.approx(math.dist(a, b) / np.mean(speeds), abs=2e-6)
    square = np.var(speeds) / np.mean(speeds) ** 2
    assert weather.travel_time_s(a, b) == pytest.approx(
        math.dist(a, b) * np.mean(1.0 / speeds), rel=1.2 * square + 2e-6
    )


def _speeds(cold):
    knots = np.linspace(np.min(cold) - 0.1, np.max(cold) + 0.1, 200)
    return knots, np.array([Air(float(t)).sound_speed_m_per_s for t in knots])


@given(outdoors(), outdoors())
def test_a_profile_that_says_nothing_changes_nothing(a, b):
    assert Weather(WINDY, Profile(), 0.0).travel_time_s(a, b) == travel_time_s(WINDY, a, b)
    assume(math.dist(a, b) > 1.0)
    level = Weather(WINDY, Profile(lapse_c_per_m=1e-12), 0.0).travel_time_s(a, b)
    assert level == pytest.approx(travel_time_s(WINDY, a, b), rel=1e-9)


def test_the_wind_is_as_told_at_its_height_and_none_among_the_houses():
    profile = Profile(height_m=10.0, roughness_m=0.5, displacement_m=4.0)
    assert mean_wind(profile, 10.0, 10.0) == pytest.approx(1.0)
    assert mean_wind(profile, 0.0, 4.5) == 0.0
    assert mean_wind(profile, 0.0, 4.4) == mean_wind(profile, 2.0, 2.0) == 0.0
    assert mean_wind(profile, 20.0, 40.0) == mean_wind(profile, 40.0, 20.0) > 1.2
    assert mean_wind(profile, 20.0, 20.0 + 2e-3) == pytest.approx(mean_wind(profile, 20.0, 20.0), rel=1e-4)


def test_gusts_have_the_strength_and_the_memory_they_are_given():
    weather = Weather(STILL, Profile(gust_sigma_m_per_s=1.5, gust_time_s=20.0), 0.0, seed=3, duration_s=100_000.0)
    blown = np.array([weather.gust(float(at_s)) for at_s in range(0, 100_000, 10)])
    assert np.std(blown, axis=0) == pytest.approx([1.5, 1.5], rel=0.05)
    for axis in (0, 1):
        later = np.corrcoef(blown[:-2, axis], blown[2:, axis])[0, 1]
        assert later == pytest.approx(math.exp(-1.0), abs=0.05)
    assert abs(np.corrcoef(blown[:, 0], blown[:, 1])[0, 1]) < 0.05
    short = Weather(STILL, Profile(gust_sigma_m_per_s=1.5, gust_time_s=20.0), 0.0, seed=3, duration_s=60.0)
    assert short.gust(47.0) == weather.gust(47.0)


def test_a_gust_carries_sound_and_holds_it_up():
    weather = Weather(STILL, Profile(gust_sigma_m_per_s=3.0), 0.0, seed=3, duration_s=100.0)
    a, b = (0.0, 0.0, 5.0), (300.0, 400.0, 5.0)
    east, north = weather.gust(50.0)
    along = 0.6 * east + 0.8 * north
    assert weather.gust_delay_s(a, b, 50.0) == pytest.approx(500.0 / (SPEED + along) - 500.0 / SPEED)
    assert weather.gust_delay_s(a, b, 50.0) * weather.gust_delay_s(b, a, 50.0) < 0.0
    assert weather.gust_delay_s(a, a, 50.0) == 0.0
