"""The locator: which picks are one bang, whatever the order and the noise; and what it says when it cannot tell."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.air import Air
from acoustic.instant import SECOND, after
from localization.fix import Fix, Unfixed
from localization.frame import Frame
from localization.ground import Ground
from localization.locator import Locator
from localization.window import Inbox
from sensors.health import Heartbeat
from sensors.site import Local, Network, Site
from tests import streets

CITY = streets.square()
HERE, THERE = (60.0, -80.0), (-210.0, 190.0)


def found(detections, sensors=CITY, ticks_s=()):
    """The last revision of every shot, by time."""
    locator = streets.locator(sensors)
    shots = {}
    for d in detections:
        for shot in locator.receive(d):
            shots[shot.shot_id] = shot
    for tick_s in ticks_s:
        for shot in locator.tick(after(streets.START_NS, tick_s)):
            shots[shot.shot_id] = shot
    for shot in locator.finish():
        shots[shot.shot_id] = shot
    return sorted(shots.values(), key=lambda shot: (shot.time_ns, shot.shot_id)), locator


def test_one_shot_among_noise():
    picks = streets.bang(CITY, HERE, 5.0, noise_s=0.0005) + streets.noise(CITY, 0.3, 10.0, seed=1)
    shots, locator = found(picks)
    assert [type(shot) for shot in shots] == [Fix]
    assert streets.off_m(shots[0], HERE) < 3.0
    assert shots[0].n_sensors == 8
    assert locator.counts["unexplained"] + locator.counts["echo"] == len(picks) - 8


def test_noise_alone_makes_no_shot():
    """Ten minutes of eight sensors at 0.3 picks a second: 1,400 picks, and nothing in them."""
    shots, locator = found(streets.noise(CITY, 0.3, 600.0, seed=2))
    assert shots == []
    assert locator.counts["unexplained"] > 1_000


def test_two_shooters_at_once():
    """Forty milliseconds apart, 390 m from each other: two shots, two places."""
    picks = streets.bang(CITY, HERE, 5.0, noise_s=0.0005) + streets.bang(CITY, THERE, 5.04, noise_s=0.0005, seed=1)
    shots, _ = found(picks)
    assert len(shots) == 2
    assert sorted(min(streets.off_m(shot, place) for shot in shots) < 3.0 for place in (HERE, THERE)) == [True, True]


@pytest.mark.parametrize(("rounds", "cadence_s"), [(3, 0.4), (10, 0.06), (30, 0.063)])
def test_rounds_of_a_burst(rounds, cadence_s):
    """Semi-automatic, and full-automatic at 1,000 and 950 rounds a minute: each round once, all in one place."""
    picks = [d for k in range(rounds) for d in streets.bang(CITY, HERE, 5.0 + k * cadence_s, noise_s=0.0005, seed=k)]
    shots, _ = found(picks)
    assert abs(len(shots) - rounds) <= rounds // 10
    assert max(streets.off_m(shot, HERE) for shot in shots) < 5.0


def test_echoes_at_the_true_spot_are_no_second_round():
    """A wall beside the shooter: every sensor hears everything again 0.2 s later, 9 dB weaker."""
    direct = streets.bang(CITY, HERE, 5.0, noise_s=0.0005)
    echo = streets.bang(CITY, HERE, 5.2, noise_s=0.0005, source_db=138.5)
    shots, locator = found(direct + echo)
    assert len(shots) == 1
    assert locator.counts["echo"] == 8


def test_blocked_paths_do_not_move_the_place():
    picks = streets.bang(CITY, HERE, 5.0, noise_s=0.0005, late_s={"A": 0.03, "F": 0.045})
    shots, _ = found(picks)
    assert [streets.off_m(shot, HERE) < 5.0 for shot in shots] == [True]


def test_silent_sensors_are_named():
    shots, _ = found(streets.bang(CITY, HERE, 5.0, deaf=["C", "H"]))
    assert shots[0].silent == ("C", "H")


def test_sensors_that_did_not_listen_are_not_silent():
    locator = streets.locator(CITY)
    fresh = type(locator)(CITY, locator.solver.frame, streets.STILL, streets.SOURCE_UP_M, 1.0)
    for d in streets.bang(CITY, HERE, 5.0, deaf=["C"]):
        fresh.receive(d)
    assert fresh.finish()[0].silent == ()


def test_listening_ends_where_a_heartbeat_says_so():
    """C listens until 4 s and from 7 s on: silent at 2 s and 9 s, not at 5 s."""
    silent = {}
    for time_s in (2.0, 5.0, 9.0):
        locator = Locator(CITY, Frame(), streets.STILL, streets.SOURCE_UP_M, 1.0)
        for at_s, listening in ((0.0, True), (4.0, False), (7.0, True), (20.0, True)):
            locator.receive(Heartbeat("C", after(streets.START_NS, at_s), listening=listening))
        for d in streets.bang(CITY, HERE, time_s, deaf=["C"]):
            locator.receive(d)
        silent[time_s] = locator.finish()[0].silent
    assert silent == {2.0: ("C",), 5.0: (), 9.0: ("C",)}


def test_what_two_sensors_heard_is_told():
    heard = streets.bang(CITY, HERE, 5.0, llr=5.0)[:2]
    shots, _ = found(heard)
    assert [(shot.reason, shot.n_sensors) for shot in shots] == [("too-few-sensors", 2)]


def test_what_one_sensor_heard_is_counted():
    shots, locator = found(streets.bang(CITY, HERE, 5.0, llr=5.0)[:1])
    assert shots == []
    assert locator.counts["lonely"] == 1


def test_a_late_detection_revises_under_the_same_name():
    on_time = streets.bang(CITY, HERE, 5.0, noise_s=0.0005)
    late = next(d for d in on_time if d.sensor_id == "E")
    locator = streets.locator(CITY)
    for d in on_time:
        if d is not late:
            locator.receive(d)
    (first,) = locator.tick(after(streets.START_NS, 12.0))
    (second,) = locator.receive(late)
    assert (first.revision, second.revision) == (1, 2)
    assert first.shot_id == second.shot_id
    assert second.n_sensors == 8
    assert locator.counts["late"] == 1


def test_a_stranger_is_counted():
    locator = streets.locator(CITY)
    locator.receive(streets.pulse("nobody", 3.0))
    assert locator.counts["unknown-sensor"] == 1
    assert locator.finish() == ()


def test_a_revised_network_is_taken_over():
    """A sensor that was surveyed anew: fixes use its new place from then on."""
    locator = streets.locator(CITY)
    moved = tuple(
        dataclasses.replace(s, position=dataclasses.replace(s.position, east_m=s.position.east_m + 500.0))
        if s.sensor_id == "A"
        else s
        for s in CITY.sites
    )
    locator.receive(CITY.revised(moved))
    for d in streets.bang(CITY.revised(moved), HERE, 5.0):
        locator.receive(d)
    (shot,) = locator.finish()
    assert streets.off_m(shot, HERE) < 1.0
    assert shot.n_sensors == 8


@given(st.lists(st.floats(0.0, 30.0), max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_neither_arrival_order_nor_ticks_matter(ticks_s, dice):
    """Any order of arrival before the watermark, any spacing of watermarks: the same shots to the last digit."""
    picks = streets.noise(CITY, 0.2, 20.0, seed=4)
    for k in range(3):
        picks += streets.bang(CITY, HERE, 5.0 + 0.4 * k, noise_s=0.001, seed=k)
    picks += streets.bang(CITY, THERE, 5.3, noise_s=0.001, seed=9)
    expected, _ = found(sorted(picks, key=lambda d: d.pick.onset_ns))
    dice.shuffle(picks)
    shots, _ = found(picks, ticks_s=sorted(ticks_s))
    assert shots == expected
    assert len(shots) == 4


def test_memory_is_bounded():
    """Half an hour of noise leaves behind no more than the window holds."""
    locator = streets.locator(CITY)
    most = 0
    for k, d in enumerate(streets.noise(CITY, 0.3, 1_800.0, seed=5)):
        locator.receive(d)
        if k % 50 == 0:
            locator.tick(d.pick.onset_ns)
            most = max(most, len(locator._inbox))
    assert most < 8 * 0.3 * 60.0 * 2.5


def test_two_sensors_or_none_do_no_harm():
    for count in (1, 2):
        city = streets.network([(300.0 * k, 40.0 * k, 8.0) for k in range(count)])
        shots, _ = found(streets.bang(city, HERE, 5.0, llr=5.0), sensors=city)
        assert all(isinstance(shot, Unfixed) for shot in shots)


def test_a_shot_is_decided_when_its_last_sensor_could_have_heard_it():
    """Not later: the travel time across the city, and a quarter of a second for late paths and the grid."""
    locator = streets.locator(CITY)
    heard = streets.bang(CITY, HERE, 5.0)
    for d in heard:
        locator.receive(d)
    across_s = np.hypot(720.0, 745.0) / 338.0
    first_ns = heard[0].pick.onset_ns
    decided = None
    for step in range(200):
        tick_ns = first_ns + step * SECOND // 20
        if locator.tick(tick_ns):
            decided = (tick_ns - first_ns) / SECOND
            break
    assert decided is not None
    assert decided < across_s * 1.05 + 0.5


def test_a_sensor_that_joins_is_counted_in_from_then_on():
    """Its row comes first, so that every index of what was placed before is off by one."""
    locator = streets.locator(CITY)
    for detection in streets.bang(CITY, (60.0, -80.0), 5.0):
        locator.receive(detection)
    assert len(locator.tick(after(streets.START_NS, 12.0))) == 1
    wider = CITY.revised((Site("AA", Local(700.0, 650.0, 9.0)), *CITY.sites))
    locator.receive(wider)
    for detection in streets.bang(wider, (-210.0, 190.0), 7.5):
        locator.receive(detection)
    (shot,) = locator.tick(after(streets.START_NS, 30.0))
    assert streets.off_m(shot, (-210.0, 190.0)) < 1.0
    assert shot.n_sensors == 9


def test_what_comes_late_revises_though_a_sensor_has_gone():
    locator = streets.locator(CITY)
    *heard, late = streets.bang(CITY, (60.0, -80.0), 5.0)
    for detection in heard:
        locator.receive(detection)
    locator.tick(after(streets.START_NS, 12.0))
    gone = heard[0].sensor_id
    locator.receive(CITY.revised(tuple(site for site in CITY.sites if site.sensor_id != gone)))
    (revised,) = locator.receive(late)
    assert revised.revision == 2
    assert {arrival.detection.sensor_id for arrival in revised.arrivals} == {site.sensor_id for site in CITY.sites}
    assert streets.off_m(revised, (60.0, -80.0)) < 1.0


def test_a_sensor_that_moves_is_where_it_stood_when_it_heard():
    """Its two stays meet between two bangs, and no message tells of it."""
    moves_ns = after(streets.START_NS, 20.0)
    (before, *others) = CITY.sites
    there = Local(before.position.east_m + 150.0, before.position.north_m - 80.0, before.position.up_m)
    stays = (
        dataclasses.replace(before, valid_to_ns=moves_ns),
        dataclasses.replace(before, position=there, valid_from_ns=moves_ns),
    )
    moving = Network((*stays, *others))
    locator = streets.locator(moving)
    first = streets.bang(CITY, (60.0, -80.0), 5.0)
    second = streets.bang(Network((dataclasses.replace(before, position=there), *others)), (-150.0, 40.0), 30.0)
    for detection in (*first, *second):
        locator.receive(detection)
    shots = [*locator.tick(after(streets.START_NS, 25.0)), *locator.tick(after(streets.START_NS, 50.0))]
    assert [
        streets.off_m(shot, place) < 1.0 for shot, place in zip(shots, ((60.0, -80.0), (-150.0, 40.0)), strict=True)
    ]
    assert [shot.n_sensors for shot in shots] == [8, 8]


@pytest.mark.parametrize(("seed", "place"), [(15, (231.3, 379.0)), (16, (-437.9, 265.8)), (57, (309.5, 15.3))])
def test_a_late_arrival_decides_between_two_places(seed, place):
    """Three sensors left two places, for the second seed the truth is the lighter one; the fourth comes after that."""
    sensors = streets.ring(4, 400.0, seed)
    *heard, late = streets.bang(sensors, place, 5.0)
    locator = streets.locator(sensors)
    for detection in heard:
        locator.receive(detection)
    (shot,) = locator.tick(after(streets.START_NS, 20.0))
    assert len(shot.modes) == 2
    (revised,) = locator.receive(late)
    assert streets.off_m(revised, place) < 5.0
    assert revised.modes[0].weight > 0.9


def test_a_city_of_the_twenty_second_century_ends():
    """Instants reach to 2200; nothing inside may stand for 'never' before that."""
    shift_ns = 130 * 365 * 86_400 * SECOND
    locator = streets.locator(CITY)
    for detection in streets.bang(CITY, (60.0, -80.0), 5.0):
        pick = dataclasses.replace(detection.pick, onset_ns=detection.pick.onset_ns + shift_ns)
        locator.receive(dataclasses.replace(detection, pick=pick))
    assert len(locator.finish()) == 1


WINDY = Air(temperature_c=12.0, temperature_sigma_c=0.5, wind_east_m_per_s=5.0, wind_north_m_per_s=-4.0)
CALM = dataclasses.replace(WINDY, wind_east_m_per_s=0.0, wind_north_m_per_s=0.0, wind_sigma_m_per_s=4.0)
DENSE = streets.ring(10, 350.0, 4)


def night_of(locator, sensors, count, *, air=WINDY, late_s=None):
    """Bangs half a minute apart all over a network; each with the last fix that was told of it."""
    told = []
    for k, (east, north) in enumerate(np.random.default_rng(6).uniform(-200.0, 200.0, (count, 2))):
        place = (float(east), float(north))
        late = late_s if late_s and k >= 4 else None
        for detection in streets.bang(sensors, place, 5.0 + 30.0 * k, air=air, noise_s=0.0005, seed=k, late_s=late):
            locator.receive(detection)
        (shot,) = locator.tick(after(streets.START_NS, 30.0 + 30.0 * k))
        told.append((place, shot))
    return told


def test_the_air_that_bangs_felt_places_the_next():
    """The report says calm; it blows with 6.4 m/s. The first fix knows no better, the last ones do, and say so."""
    told = night_of(streets.locator(DENSE, CALM), DENSE, 10)
    first, last = told[0][1], told[-1][1]
    assert first.air == CALM
    assert last.air.wind_east_m_per_s == pytest.approx(5.0, abs=1.5)
    assert last.air.wind_north_m_per_s == pytest.approx(-4.0, abs=1.5)
    assert last.best.ellipse.area_m2 < first.best.ellipse.area_m2
    assert max(streets.off_m(shot, place) for place, shot in told[3:]) < 3.0


def test_a_clock_that_steps_is_doubted_by_the_locator():
    locator = streets.locator(DENSE, WINDY)
    told = night_of(locator, DENSE, 14, late_s={"D": 0.015})
    locator.learning.catch_up()
    assert [state.sensor_id for state in locator.learning.sensors.flagged()] == ["D"]
    assert max(streets.off_m(shot, place) for place, shot in told) < 3.0


def test_the_ground_goes_before_the_source_s_height():
    locator = Locator(CITY, Frame(), streets.STILL, 500.0, 1.0, ground=Ground(0.0, 1.0))
    assert locator.solver.ground is not None
    shot = locator.solve_given("s", streets.bang(CITY, (60.0, -80.0), 5.0))
    assert streets.off_m(shot, (60.0, -80.0)) < 1.0
    assert shot.best.place.up_m == pytest.approx(1.5, abs=1.0)


def test_sensors_that_boast_of_every_pick_make_few_places(monkeypatch):
    """Picks at random times, each said to be loud and surely direct: at first believed, then known for what they are."""

    def placed():
        rng = np.random.default_rng(4)
        locator = streets.locator(CITY)
        for site in CITY.sites:
            for time_s in rng.uniform(0.0, 300.0, rng.poisson(0.5 * 300.0)):
                locator.receive(streets.pulse(site.sensor_id, float(time_s), llr=0.0, level_db=77.0, p_outlier=0.1))
        return sum(isinstance(shot, Fix) for shot in locator.finish())

    learnt = placed()
    monkeypatch.setattr(Inbox, "boasts", lambda self, now_ns, index: np.ones(len(index)))
    assert learnt < 0.15 * placed()


def test_a_shot_among_boasts_is_found():
    """The same sensors, and one real bang in the middle of it."""
    rng = np.random.default_rng(9)
    locator = streets.locator(CITY)
    for site in CITY.sites:
        for time_s in rng.uniform(0.0, 120.0, rng.poisson(0.2 * 120.0)):
            locator.receive(streets.pulse(site.sensor_id, float(time_s), llr=0.0, level_db=77.0, p_outlier=0.1))
    for detection in streets.bang(CITY, HERE, 60.0):
        locator.receive(detection)
    fixes = [shot for shot in locator.finish() if isinstance(shot, Fix)]
    assert min(streets.off_m(fix, HERE) for fix in fixes) < 1.0
