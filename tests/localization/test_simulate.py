import dataclasses
import math
import re

import numpy as np
import pytest

from acoustic.air import Air
from acoustic.detection import LLR_LIMIT
from acoustic.instant import parse_instant, seconds_between
from acoustic.propagation import travel_time_s
from acoustic.sources import pascals
from localization.study.paths import Streets, aimed_db
from localization.study.scene_reading import read_scene
from localization.study.simulate import Spec, read_spec, simulate, write_simulation
from localization.study.sounding import converted
from localization.study.specification import (
    Building,
    Converter,
    Event,
    Noise,
    Picking,
    Place,
    Profile,
    Sensor,
    Surroundings,
)
from localization.study.table import SceneError

START_NS = parse_instant("2026-11-21T03:12:00Z")
MILLISECOND = 1e-3
BARE = Surroundings(
    excess_db=0.0,
    excess_db_per_decade=0.0,
    excess_sigma_db=0.0,
    blocked_share=0.0,
    echoes=0.0,
    wander_s_per_km=0.0,
    ground_reflection=0.0,
    early_db=-200.0,
    tail_db=-200.0,
)
SILENT = Noise(level_db_spl=0.0, sensor_sigma_db=0.0, variation_db=0.0)
CORNERS = {"nw": (-200.0, 200.0), "ne": (220.0, 180.0), "se": (210.0, -190.0), "sw": (-180.0, -220.0)}
SPEC = """
name = "a square"
seed = 5
frame = "local"
start_utc = "2026-11-21T03:12:00Z"
duration_s = 4.0

[converter]
rate_hz = 8000

[[sensors]]
sensor_id = "a"
east_m = 0.0
north_m = 0.0
up_m = 6.0

[[events]]
event_id = "shot"
kind = "muzzle"
time_s = 1.0
east_m = 100.0
north_m = 50.0
up_m = 1.5
"""


def sensor(name, east_m, north_m, **more):
    return Sensor(name, Place(east_m, north_m, 8.0), **more)


def exact(name):
    return sensor(name, *CORNERS[name], position_sigma_m=0.0, up_sigma_m=0.0, clock_sigma_s=0.0)


def shot(event_id="shot", time_s=1.0, east_m=30.0, north_m=-40.0, **more):
    return Event(event_id, more.pop("kind", "muzzle"), time_s, Place(east_m, north_m, 1.5), **more)


def square(**more):
    return dataclasses.replace(
        Spec(
            name="a square",
            seed=5,
            mode="audio",
            frame="local",
            start_ns=START_NS,
            duration_s=4.0,
            air=Air(),
            true_air=Air(12.0, wind_east_m_per_s=3.0, wind_north_m_per_s=-1.0),
            sensors=tuple(exact(name) for name in CORNERS),
            events=(shot(),),
            converter=Converter(rate_hz=12_000, full_scale_db_spl=130.0, bits=24, high_pass_hz=1.0),
            noise=SILENT,
            street=BARE,
        ),
        **more,
    )


def sound_of(spec, name):
    """Samples of a sensor's one recording, as Pa."""
    (recording,) = simulate(spec).recordings(frozenset({name}))
    return recording.samples / 2.0**31 * pascals(spec.converter.full_scale_db_spl)


def front_s(samples, rate_hz):
    """When the first sound comes, by where half the highest pressure is passed."""
    peak = int(np.argmax(samples))
    below = int(np.flatnonzero(samples[:peak] < samples[peak] / 2.0)[-1])
    step = samples[below + 1] - samples[below]
    return (below + (samples[peak] / 2.0 - samples[below]) / step) / rate_hz


# what arrives, and when


@pytest.mark.parametrize("name", CORNERS)
def test_a_shot_arrives_when_sound_has_crossed_the_true_air(name):
    spec = square()
    expected = 1.0 + travel_time_s(spec.true_air, (30.0, -40.0, 1.5), (*CORNERS[name], 8.0))
    assert front_s(sound_of(spec, name), 12_000) == pytest.approx(expected, abs=0.05 * MILLISECOND)


def test_a_level_falls_with_distance_alone_where_streets_do_nothing():
    """Spherical spreading and absorption: at 250 m over 20 log10 of the way, by up to 3 dB."""
    for name, corner in CORNERS.items():
        distance_m = math.dist((30.0, -40.0, 1.5), (*corner, 8.0))
        level_db = 20.0 * math.log10(np.max(sound_of(square(), name)) / 20e-6)
        assert -4.0 < level_db - (160.0 - 20.0 * math.log10(distance_m)) < -1.0


def test_streets_follow_the_live_fire():
    """Levels tagged in live fire in Pittsburgh: 147.5 - 24.2 log10 d with a sigma of 9.5 dB, over 100 to 800 m."""
    streets = Streets(Surroundings(), Air(0.0, 2.0, 60.0), -3.0, seed=1)
    apart = []
    for k, distance_m in enumerate(np.geomspace(100.0, 800.0, 400)):
        rays = streets.rays((str(k), "s"), (0.0, 0.0, 1.5), (float(distance_m), 0.0, 9.0))
        direct, ground = rays[:2]
        absorbed_db = float(Air(0.0, 2.0, 60.0).absorption_db_per_m(np.array([1_000.0]))[0]) * distance_m
        pressure = abs(direct.gain / direct.length_m + 0.5 * ground.gain / ground.length_m)
        apart.append(160.0 + 20.0 * math.log10(pressure) - absorbed_db - (147.5 - 24.2 * math.log10(distance_m)))
    assert np.mean(apart) == pytest.approx(0.0, abs=3.0)
    assert np.std(apart) == pytest.approx(9.5, abs=3.0)


def test_blocked_paths_are_late_weak_and_as_frequent_as_told():
    free, walls = (Streets(dataclasses.replace(BARE, blocked_share=share), Air(), 0.0, seed=1) for share in (0.0, 0.3))
    late = []
    for k in range(400):
        point = (300.0, 2.0 * k, 9.0)
        clear = free.rays((str(k), "s"), (0.0, 0.0, 1.5), point)[0]
        found = walls.rays((str(k), "s"), (0.0, 0.0, 1.5), point)[0]
        if found.gain < clear.gain:
            assert 20.0 * math.log10(clear.gain / found.gain) == pytest.approx(10.0)
            late.append(found.delay_s - clear.delay_s)
        else:
            assert found == clear
    assert len(late) / 400 == pytest.approx(0.3, abs=0.08)
    assert min(late) >= 0.0
    assert np.mean(late) == pytest.approx(0.006, rel=0.3)


def test_echoes_come_later_and_more_of_them_leaves_the_direct_sound_alone():
    few, many = (Streets(Surroundings(echoes=n), Air(), 0.0, seed=3) for n in (2.0, 20.0))
    counts = []
    for k in range(60):
        a, b = (streets.rays((str(k), "s"), (0.0, 0.0, 1.5), (250.0, 40.0, 9.0)) for streets in (few, many))
        assert a[:2] == b[:2]
        assert all(ray.delay_s > b[0].delay_s and ray.length_m > b[0].length_m for ray in b[2:])
        counts.append((len(a), len(b)))
    assert np.mean([b for _, b in counts]) > 4.0 * np.mean([a for a, _ in counts])


def test_one_place_keeps_its_street():
    """Two shots from one corner differ only in time: shifted, they cancel."""
    spec = square(
        duration_s=6.0,
        street=Surroundings(ground_m=0.0),
        events=(shot("first", 0.5), shot("second", 3.0, level_sigma_db=0.0)),
    )
    spec = dataclasses.replace(spec, events=tuple(dataclasses.replace(e, level_sigma_db=0.0) for e in spec.events))
    samples = sound_of(spec, "ne")
    shift = round(2.5 * 12_000)
    first, second = samples[12_000:24_000], samples[12_000 + shift : 24_000 + shift]
    assert np.max(np.abs(first - second)) < 0.01 * np.max(np.abs(first))


def test_a_barrel_points_somewhere():
    assert aimed_db((0.0, 0.0, 1.5), (0.0, 100.0, 8.0), None) == 0.0
    ahead, behind = (aimed_db((0.0, 0.0, 1.5), (0.0, north_m, 8.0), 0.0) for north_m in (100.0, -100.0))
    assert behind - ahead == pytest.approx(9.54, abs=0.01)
    loud, soft = (np.max(sound_of(square(events=(shot(aim_deg=aim_deg),)), "ne")) for aim_deg in (40.0, 220.0))
    assert 20.0 * math.log10(loud / soft) == pytest.approx(9.5, abs=0.2)


def test_a_clock_that_is_late_shows_the_shot_early_and_the_survey_may_err():
    truth = front_s(sound_of(square(), "ne"), 12_000)
    wrong = dataclasses.replace(exact("ne"), clock_offset_s=0.0123)
    assert front_s(sound_of(square(sensors=(wrong,)), "ne"), 12_000) - truth == pytest.approx(0.0123, abs=1e-5)
    moved = tuple(sensor(f"s{k}", 300.0, 300.0, position_sigma_m=2.0, up_sigma_m=1.0) for k in range(60))
    simulation = simulate(square(sensors=moved, events=()))
    errors = np.array(list(simulation.world.sensors.values())) - (300.0, 300.0, 8.0)
    assert np.std(errors, axis=0) == pytest.approx([2.0, 2.0, 1.0], rel=0.35)
    assert all(site.position.east_m == 300.0 for site in simulation.scene.network.sites)
    offsets = np.array(list(simulation.world.clock_offsets_s.values()))
    assert np.std(offsets) == pytest.approx(0.0002, rel=0.35)


# one thing changes no other


def test_a_specification_makes_the_same_sound_twice_and_another_seed_another():
    spec = square(street=Surroundings(), noise=Noise())
    assert np.array_equal(sound_of(spec, "ne"), sound_of(spec, "ne"))
    assert not np.array_equal(sound_of(spec, "ne"), sound_of(dataclasses.replace(spec, seed=6), "ne"))


def test_a_new_sensor_changes_no_other():
    spec = square(street=Surroundings(ground_m=0.0), noise=Noise(cars_per_hour=1000.0))
    more = dataclasses.replace(spec, sensors=(sensor("new", 10.0, 20.0), *spec.sensors))
    for name in CORNERS:
        assert np.array_equal(sound_of(spec, name), sound_of(more, name))


def test_a_new_event_adds_its_own_sound_and_nothing_else():
    spec = square(street=Surroundings(ground_m=0.0), noise=Noise())
    new = shot("new", 2.0, -60.0, 10.0, kind="salute")
    alone = dataclasses.replace(spec, noise=SILENT, events=(new,))
    together = dataclasses.replace(spec, events=(*spec.events, new))
    difference = sound_of(together, "ne") - sound_of(spec, "ne") - sound_of(alone, "ne")
    assert np.max(np.abs(difference)) < 3.0 * pascals(130.0) / 2**23 + pascals(25.0)  # steps, and 0 dB of noise


# events


def test_rounds_have_their_cadence_and_their_rows():
    spec = square(events=(shot(rounds=30, rounds_per_min=600.0, cadence_sigma=0.05),), duration_s=6.0)
    simulation = simulate(spec)
    times_s = [time_s for time_s, _ in simulation.world.rounds["shot"]]
    assert np.mean(np.diff(times_s)) == pytest.approx(0.1, rel=0.05)
    assert np.std(np.diff(times_s)) == pytest.approx(0.005, rel=0.5)
    assert [row.shot_id for row in simulation.scene.truth] == [f"shot-{k:02d}" for k in range(1, 31)]
    told_s = [seconds_between(START_NS, row.time_ns) for row in simulation.scene.truth]
    assert told_s == pytest.approx(times_s, abs=1e-9)


def test_a_knock_is_heard_where_it_falls_and_nowhere_else():
    spec = square(events=(Event("knock", "handling", 1.0, sensor_id="ne"),))
    knocked = sound_of(spec, "ne")
    assert 20.0 * math.log10(np.max(np.abs(knocked)) / 20e-6) == pytest.approx(95.0, abs=1.0)
    assert np.flatnonzero(np.abs(knocked) > 0.001)[0] / 12_000 == pytest.approx(1.0, abs=0.005)
    assert np.max(np.abs(sound_of(spec, "sw"))) < pascals(30.0)
    assert simulate(spec).scene.truth[0].sound == "handling"


@pytest.mark.parametrize("kind", ["muzzle", "salute", "crackle", "backfire", "hammer", "door", "thunder"])
def test_every_kind_sounds_and_stands_in_the_truth(kind):
    spec = square(events=(shot(kind=kind, level_db_spl=150.0, duration_s=2.0),))
    samples = sound_of(spec, "se")
    level_db = 20.0 * math.log10(np.max(np.abs(samples)) / 20e-6)
    assert 90.0 < level_db < 112.0
    assert np.max(np.abs(samples[: round(1.3 * 12_000)])) < 0.05 * np.max(np.abs(samples))
    (truth,) = simulate(spec).scene.truth
    assert truth.sound in {"gunshot", "firework", "impulse", "noise"}


# converters and pieces


@pytest.mark.parametrize("bits", [8, 13, 16, 20, 24])
def test_a_converter_rounds_to_its_steps_and_clips(bits):
    pressure = np.linspace(-3.0, 3.0, 10_001)
    samples = converted(pressure, 94.0, bits)
    full = 2 ** (15 if bits <= 16 else 31)
    assert samples.dtype == (np.int16 if bits <= 16 else np.int32)
    assert np.all(samples % (full // 2 ** (bits - 1)) == 0)
    inside = np.abs(pressure) < 0.99 * pascals(94.0)
    apart = samples[inside] / full * pascals(94.0) - pressure[inside]
    assert np.max(np.abs(apart)) <= 0.5001 * pascals(94.0) / 2 ** (bits - 1)
    assert samples.min() == -full
    assert samples.max() == full - full // 2 ** (bits - 1)


def test_a_sensor_that_was_offline_leaves_a_gap_and_loses_no_sample_elsewhere():
    whole = square(noise=Noise())
    broken = square(
        noise=Noise(),
        sensors=(dataclasses.replace(exact("ne"), offline_s=((0.5, 1.25), (3.0, 9.0))),),
    )
    first, second = simulate(broken).recordings()
    assert (first.start_ns, second.start_ns) == (START_NS, START_NS + 1_250_000_000)
    assert (len(first.samples), len(second.samples)) == (6_000, 21_000)
    (complete,) = simulate(whole).recordings(frozenset({"ne"}))
    assert np.array_equal(complete.samples[:6_000], first.samples)
    assert np.array_equal(complete.samples[15_000:36_000], second.samples)


def test_a_night_is_as_loud_as_told():
    spec = square(events=(), duration_s=20.0, noise=Noise(level_db_spl=52.0, sensor_sigma_db=0.0, variation_db=0.0))
    samples = sound_of(dataclasses.replace(spec, converter=dataclasses.replace(spec.converter, bits=24)), "ne")
    assert 20.0 * math.log10(float(np.std(samples)) / 20e-6) == pytest.approx(52.0, abs=0.5)


# folders


def test_a_simulation_becomes_a_folder_that_tells_its_progress(tmp_path):
    shares = []
    write_simulation(square(noise=Noise()), tmp_path / "scene", shares.append)
    scene = read_scene(tmp_path / "scene")
    assert math.fsum(shares) == pytest.approx(1.0)
    assert len(shares) == 4
    assert scene.warnings == ()
    assert [piece.sensor_id for piece in scene.pieces] == sorted(CORNERS)
    assert {site.full_scale_db_spl for site in scene.network.sites} == {130.0}
    assert scene.truth[0].place.east_m == 30.0
    assert scene.air == Air()


def test_a_scene_on_the_globe_has_its_ground_in_the_right_place(tmp_path):
    place = Place(41.778, -72.685, -9.5)
    sensors = tuple(
        Sensor(f"s{k}", Place(41.776 + 0.002 * k, -72.688 + 0.003 * k, 2.0), position_sigma_m=0.0, up_sigma_m=0.0)
        for k in range(3)
    )
    spec = square(
        frame="wgs84",
        sensors=sensors,
        events=(Event("shot", "muzzle", 1.0, place),),
        street=dataclasses.replace(BARE, ground_m=-11.0),
        source_up=-9.5,
    )
    simulation = simulate(spec)
    assert simulation.world.events["shot"][2] - simulation.world.streets.ground_m == pytest.approx(1.5, abs=0.05)
    assert simulation.scene.source_up_m == pytest.approx(-11.5, abs=0.01)
    write_simulation(dataclasses.replace(spec, mode="pulses"), tmp_path / "scene", None)
    assert read_scene(tmp_path / "scene").truth[0].place.height_m == -9.5


# pulses


def pulses_spec(**more):
    return square(mode="pulses", duration_s=600.0, events=(shot(time_s=5.0, level_sigma_db=0.0),), **more)


def test_pulses_arrive_when_the_sound_would():
    spec = pulses_spec(picking=Picking(time_sigma_s=1e-7, missed_share=0.0, false_per_hour=0.0))
    scene = simulate(spec).scene
    assert len(scene.pulses) == 4
    for pulse in scene.pulses:
        place = (*CORNERS[pulse.detection.sensor_id], 8.0)
        expected = 5.0 + travel_time_s(spec.true_air, (30.0, -40.0, 1.5), place)
        assert seconds_between(START_NS, pulse.detection.pick.onset_ns) == pytest.approx(expected, abs=1e-6)
        assert 100.0 < pulse.detection.pick.level_db_spl < 115.0


def test_false_pulses_and_misses_are_as_frequent_as_told():
    spec = pulses_spec(picking=Picking(missed_share=1.0, false_per_hour=600.0))
    scene = simulate(dataclasses.replace(spec, duration_s=3_600.0)).scene
    assert len(scene.pulses) / 4 == pytest.approx(600.0, abs=4.0 * math.sqrt(600.0))
    quiet = simulate(pulses_spec(picking=Picking(missed_share=1.0, false_per_hour=0.0))).scene
    assert quiet.pulses == ()
    deaf = simulate(pulses_spec(picking=Picking(floor_db_spl=120.0, false_per_hour=0.0))).scene
    assert deaf.pulses == ()


def test_the_evidence_of_pulses_is_calibrated():
    """Where the llr is near x, gunshots are exp(x) times as frequent as false alarms, each beside its own number."""
    many = tuple(
        shot(f"shot{k}", 1.0 + 2.0 * k, level_sigma_db=0.0, rounds=2, rounds_per_min=60.0) for k in range(1_500)
    )
    spec = dataclasses.replace(
        pulses_spec(picking=Picking(separation=1.5, missed_share=0.0, false_per_hour=0.0)),
        events=many,
        duration_s=3_010.0,
    )
    guns = np.array([pulse.detection.llr for pulse in simulate(spec).scene.pulses])
    noise = dataclasses.replace(spec, events=(), picking=Picking(separation=1.5, false_per_hour=3_500.0))
    false = np.array([pulse.detection.llr for pulse in simulate(noise).scene.pulses])
    assert np.max(np.abs(guns)) <= LLR_LIMIT
    for low in (-1.0, 0.0, 1.0):
        gun, other = (np.mean((values >= low) & (values < low + 0.5)) for values in (guns, false))
        assert math.log(gun / other) == pytest.approx(low + 0.25, abs=0.25)


def test_a_sensor_listens_in_one_window_in_a_scene_of_pulses():
    late = dataclasses.replace(exact("ne"), offline_s=((0.0, 2.0),))
    scene = simulate(pulses_spec(sensors=(late,))).scene
    assert scene.listening["ne"].from_ns == START_NS + 2_000_000_000
    assert scene.listening["ne"].to_ns is None
    torn = dataclasses.replace(exact("ne"), offline_s=((1.0, 2.0),))
    with pytest.raises(SceneError, match="leaves 2 stretches"):
        simulate(pulses_spec(sensors=(torn,)))


# clocks, surveys and devices that are worse than they say


@pytest.mark.parametrize("mode", ["pulses", "audio"])
def test_a_clock_drifts_and_steps(mode):
    """Offset, drift times the time, and every step that came before the sound, in pulses and in sound alike."""
    worse = {"clock_offset_s": 0.002, "clock_drift_ppm": 40.0, "clock_steps_s": ((2.0, 0.03), (3.0, -0.01))}
    events = tuple(shot(f"shot{k}", 1.0 + k, level_sigma_db=0.0) for k in range(3))
    picking = Picking(time_sigma_s=1e-7, missed_share=0.0, false_per_hour=0.0)
    good = square(mode=mode, events=events, picking=picking, duration_s=5.0)
    bad = dataclasses.replace(
        good, sensors=tuple(dataclasses.replace(each, **worse) for each in good.sensors if each.sensor_id == "ne")
    )
    for k, stepped_s in enumerate((0.0, 0.03, 0.02)):
        told, shown = (_onset_s(spec, "ne", k) for spec in (good, bad))
        expected = 0.002 + 40e-6 * told + stepped_s
        assert shown - told == pytest.approx(expected, abs=2e-6 if mode == "pulses" else 20e-6)


def _onset_s(spec, name, number):
    if spec.mode == "pulses":
        pulses = [pulse for pulse in simulate(spec).scene.pulses if pulse.detection.sensor_id == name]
        return seconds_between(START_NS, pulses[number].detection.pick.onset_ns)
    samples = sound_of(spec, name)
    first = round((1.0 + number + 0.3) * 12_000)
    return (first + front_s(samples[first : first + 9_600], 12_000) * 12_000) / 12_000


def test_a_survey_may_be_wrong_by_more_than_it_says():
    moved = dataclasses.replace(exact("ne"), position_sigma_m=1.0, east_error_m=12.0, north_error_m=-7.0)
    east_m, north_m = CORNERS["ne"]
    assert simulate(square(sensors=(moved,))).world.sensors["ne"] == (east_m + 12.0, north_m - 7.0, 8.0)


def test_a_device_that_chatters_does_so_alone_and_when_told():
    loud = tuple(
        dataclasses.replace(exact(name), chatter=((100.0, 130.0, 10.0),) if name == "ne" else ()) for name in CORNERS
    )
    picking = Picking(false_per_hour=0.0)
    quiet, faulty = (simulate(pulses_spec(sensors=s, picking=picking)).scene for s in (pulses_spec().sensors, loud))
    more = set(faulty.pulses) - set(quiet.pulses)
    assert set(quiet.pulses) <= set(faulty.pulses)
    assert {pulse.detection.sensor_id for pulse in more} == {"ne"}
    assert len(more) == pytest.approx(300 * 0.83, abs=60)  # the detector's dead time takes some
    times_s = [seconds_between(START_NS, pulse.detection.pick.onset_ns) for pulse in more]
    assert min(times_s) >= 100.0
    assert max(times_s) <= 130.0


def test_sensors_agree_about_one_bang_as_much_as_told():
    """The evidence of one event at different sensors correlates; each alone stays what it was: calibrated."""
    events = tuple(shot(f"shot{k}", 1.0 + k) for k in range(500))
    for correlation in (0.0, 0.6):
        picking = Picking(
            separation=1.5, correlation=correlation, missed_share=0.0, false_per_hour=0.0, echo_pulses=0.0
        )
        scene = simulate(dataclasses.replace(pulses_spec(picking=picking), events=events)).scene
        by_sensor = {
            name: np.array([p.detection.llr for p in scene.pulses if p.detection.sensor_id == name]) for name in CORNERS
        }
        told = np.array([values for values in by_sensor.values() if len(values) == 500])
        assert len(told) == 4
        assert np.mean(told) == pytest.approx(1.125, abs=0.15)
        assert np.std(told) == pytest.approx(1.5, rel=0.1)
        assert np.corrcoef(told)[0, 1:] == pytest.approx([correlation] * 3, abs=0.12)


# houses and weather

CANYON = (
    Building(((-150.0, 0.0), (170.0, 0.0), (170.0, 30.0), (-150.0, 30.0)), 14.0),
    Building(((-150.0, -90.0), (170.0, -90.0), (170.0, -60.0), (-150.0, -60.0)), 12.0),
)


@pytest.mark.parametrize("mode", ["pulses", "audio"])
def test_houses_hold_sound_up_in_pulses_and_in_sound_alike(mode):
    """Two sensors behind the northern house hear the shot when it has come over the roof or round the corner."""
    bare = dataclasses.replace(BARE, ground_m=0.0)
    picking = Picking(time_sigma_s=1e-7, missed_share=0.0, false_per_hour=0.0, echo_pulses=0.0, floor_db_spl=30.0)
    spec = square(mode=mode, street=bare, picking=picking, duration_s=5.0, events=(shot(level_sigma_db=0.0),))
    deaf = tuple(dataclasses.replace(each, reflection=0.0) for each in CANYON)  # or an echo is loudest, as in life
    built = dataclasses.replace(spec, buildings=deaf)
    for name in ("nw", "ne"):
        world = simulate(built).world
        direct = world.streets.rays(("x", name), world.events["shot"], world.sensors[name])[0]
        late_s = direct.delay_s - travel_time_s(spec.true_air, world.events["shot"], world.sensors[name])
        assert late_s > 0.5 * MILLISECOND
        free, held = (_onset_s(each, name, 0) for each in (spec, built))
        # In sound the low pass of the edges rounds the front off: half its height comes a little later.
        assert held - free == pytest.approx(late_s, abs=2e-6 if mode == "pulses" else 0.2 * MILLISECOND)
        assert _level_db(built, name) < _level_db(spec, name) - 5.0
    for name in ("sw", "se"):
        assert _level_db(built, name) <= _level_db(spec, name)


def _level_db(spec, name):
    if spec.mode == "pulses":
        pulses = simulate(spec).scene.pulses
        return next(pulse.detection.pick.level_db_spl for pulse in pulses if pulse.detection.sensor_id == name)
    return 20.0 * math.log10(np.max(np.abs(sound_of(spec, name)[: round(2.3 * 12_000)])) / 20e-6)


def test_walls_are_heard_as_echoes_in_pulses():
    """In the canyon the echoes come when the image sources say."""
    bare = dataclasses.replace(BARE, ground_m=0.0, blocked_share=None, echoes=None)
    street = (sensor("inside", -100.0, -5.0, position_sigma_m=0.0, up_sigma_m=0.0, clock_sigma_s=0.0),)
    picking = Picking(time_sigma_s=1e-7, missed_share=0.0, false_per_hour=0.0, echo_pulses=20.0)
    air = Air(12.0)
    spec = square(
        mode="pulses", street=bare, picking=picking, sensors=street, buildings=CANYON, true_air=air,
        events=(shot(north_m=-55.0, level_sigma_db=0.0),),
    )  # fmt: skip
    times_s = [seconds_between(START_NS, pulse.detection.pick.onset_ns) for pulse in simulate(spec).scene.pulses]
    images = [(30.0, -55.0, 1.5), (30.0, 55.0, 1.5), (30.0, -65.0, 1.5)]
    expected = sorted(1.0 + math.dist(image, (-100.0, -5.0, 8.0)) / air.sound_speed_m_per_s for image in images)
    near = [time_s for time_s in expected[1:] if time_s - expected[0] >= 0.02]  # a detector's dead time
    assert times_s == pytest.approx([expected[0], *near], abs=2e-6)


def test_houses_on_the_globe_stand_where_their_corners_are():
    lat, lon = 41.778, -72.685
    corners = ((lat, lon), (lat, lon + 0.0003), (lat + 0.0002, lon + 0.0003), (lat + 0.0002, lon))
    around = (("s", lat - 0.001), ("n", lat + 0.001))
    spec = square(
        frame="wgs84",
        sensors=tuple(Sensor(name, Place(at, lon + 0.0002, 5.0), position_sigma_m=0.0) for name, at in around),
        events=(),
        buildings=(Building(corners, 25.0),),
        street=dataclasses.replace(BARE, ground_m=0.0),
    )
    world = simulate(spec).world
    assert world.streets.buildings.roofs_m[0] == pytest.approx(25.0 - 5.0, abs=0.01)  # the plane's zero is 5 m up
    sides_m = world.streets.buildings.walls.length_m
    assert sorted(sides_m) == pytest.approx([22.2, 22.2, 24.9, 24.9], abs=0.1)
    assert not world.streets.buildings.see(*(np.array([world.sensors[name]]) for name, _ in around))[0]


def test_gusts_move_rounds_against_each_other():
    """The same place and sensor: rounds minutes apart differ by what the gust does, and by nothing else."""
    events = tuple(shot(f"shot{k}", 20.0 + 50.0 * k, level_sigma_db=0.0) for k in range(10))
    picking = Picking(time_sigma_s=1e-7, missed_share=0.0, false_per_hour=0.0)
    calm = dataclasses.replace(pulses_spec(picking=picking), events=events)
    gusty = dataclasses.replace(calm, profile=Profile(gust_sigma_m_per_s=2.0))
    world = simulate(gusty).world
    for name in CORNERS:
        for k in range(10):
            ends = world.events["shot0"], world.sensors[name]
            expected = world.weather.gust_delay_s(*ends, 20.0 + 50.0 * k)
            assert _onset_s(gusty, name, k) - _onset_s(calm, name, k) == pytest.approx(expected, abs=2e-6)
            assert abs(expected) < 0.02


@pytest.mark.parametrize("mode", ["pulses", "audio"])
def test_a_new_sensor_changes_no_other_among_houses_in_the_wind_either(mode):
    spec = square(
        mode=mode,
        street=Surroundings(ground_m=0.0),
        buildings=CANYON,
        profile=Profile(roughness_m=0.5, lapse_c_per_m=0.01, gust_sigma_m_per_s=1.0),
    )
    more = dataclasses.replace(spec, sensors=(sensor("new", 10.0, -20.0), *spec.sensors))
    if mode == "audio":
        assert np.array_equal(sound_of(spec, "ne"), sound_of(more, "ne"))
    else:
        others = tuple(pulse for pulse in simulate(more).scene.pulses if pulse.detection.sensor_id != "new")
        assert others == simulate(spec).scene.pulses


# specifications


def test_a_small_specification_is_read(tmp_path):
    (tmp_path / "square.toml").write_text(SPEC)
    spec = read_spec(tmp_path / "square.toml")
    assert spec.sensors == (Sensor("a", Place(0.0, 0.0, 6.0)),)
    assert spec.events == (Event("shot", "muzzle", 1.0, Place(100.0, 50.0, 1.5)),)
    assert spec.converter == Converter(rate_hz=8_000)
    assert spec.true_air == spec.air


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 5", "sead = 5", "square.toml sead: unknown key; known are air,"),
        ("seed = 5", "seed = -5", "square.toml: seed is -5: expected 0 or more"),
        ("seed = 5", "seed = 1.5", "square.toml seed: 1.5 is not a whole number"),
        ('frame = "local"', 'frame = "utm"', "square.toml frame: 'utm'; expected wgs84 or local"),
        ("T03:12:00Z", "T03:12:00", "square.toml start_utc: '2026-11-21T03:12:00' has no zone"),
        ("duration_s = 4.0", "", "square.toml duration_s: absent"),
        ("duration_s = 4.0", "duration_s = nan", "square.toml duration_s: nan; expected a finite number"),
        ("duration_s = 4.0", "duration_s = 80000.0", "is over 100,000,000 samples a sensor"),
        ("rate_hz = 8000", "rate_hz = 800", "square.toml converter: rate_hz is 800: expected 8000 to 384000"),
        ("rate_hz = 8000", 'rate_hz = "fast"', "square.toml converter.rate_hz: 'fast' is not a whole number"),
        ("rate_hz = 8000", 'format = "mp3"', "square.toml converter: format is 'mp3': expected flac or wav"),
        ("[converter]", "[noise]\nlevel_db = 3.0\n[converter]", "square.toml noise.level_db: unknown key"),
        ("[converter]", "[true_air]\nwind_sigma_m_per_s = 1.0\n[converter]", "true_air.wind_sigma_m_per_s: unknown"),
        ("[converter]", "[air]\ntemperature_c = 99.0\n[converter]", "square.toml air: temperature_c is 99.0"),
        ("[converter]", "[air]\nwind_from_deg = 500.0\n[converter]", "square.toml air.wind_from_deg: 500.0"),
        ("[converter]", "street = 3\n[converter]", "square.toml street: must be a table, as [street]"),
        ("up_m = 6.0", "", "square.toml sensors[1].up_m: absent; a place needs east_m, north_m, up_m"),
        ("up_m = 6.0", "height_m = 6.0", "square.toml sensors[1].height_m: unknown key"),
        ("up_m = 6.0", "up_m = inf", "square.toml sensors[1].up_m: inf; expected"),
        ("up_m = 6.0", "up_m = 6.0\noffline_s = [3.0]", "square.toml sensors[1].offline_s: [3.0]; expected pairs"),
        ("up_m = 6.0", "up_m = 6.0\noffline_s = [[3.0, 2.0]]", "square.toml sensors[1]: offline_s: expected"),
        ('sensor_id = "a"', "sensor_id = 4", "square.toml sensors[1].sensor_id: 4 is not text"),
        ('sensor_id = "a"', "", "square.toml sensors[1].sensor_id: absent"),
        ("[[sensors]]", "[sensors]", "square.toml sensors: must be a list of tables, each as [[sensors]]"),
        ('kind = "muzzle"', 'kind = "cannon"', "square.toml events[1]: kind is 'cannon': expected one of muzzle,"),
        ('kind = "muzzle"', 'kind = "muzzle"\nheard_by = ["a"]', "square.toml events[1].heard_by: unknown key"),
        ('kind = "muzzle"', 'kind = "handling"', "square.toml events[1]: give a place; or, for kind handling alone"),
        ("time_s = 1.0", "time_s = 5.0", "event shot: its last round, at 5 s, is after the scene's end"),
        ("time_s = 1.0", "time_s = 3.0\nrounds = 9", "event shot: its last round, at 4.6 s, is after the scene's end"),
        ("time_s = 1.0", "time_s = true", "square.toml events[1].time_s: True is not a number"),
        ("time_s = 1.0", "time_s = 1.0\nrounds = 0", "square.toml events[1]: rounds is 0: expected 1 to 1000"),
        ("seed = 5", "seed = ", "square.toml: not TOML"),
        (
            "up_m = 6.0",
            "up_m = 6.0\nclock_steps_s = [3.0]",
            "square.toml sensors[1].clock_steps_s: [3.0]; expected pairs",
        ),
        ("up_m = 6.0", "up_m = 6.0\nclock_steps_s = [[3.0, 0.1], [2.0, 0.1]]", "sensors[1]: clock_steps_s: expected"),
        (
            "up_m = 6.0",
            "up_m = 6.0\nchatter = [[1.0, 2.0]]",
            "square.toml sensors[1].chatter: [[1.0, 2.0]]; expected from",
        ),
        ("up_m = 6.0", "up_m = 6.0\nchatter = [[3.0, 2.0, 5.0]]", "square.toml sensors[1]: chatter: expected"),
        ("up_m = 6.0", "up_m = 6.0\nchatter = [[1.0, inf, 5.0]]", "sensors[1].chatter: inf; expected a finite number"),
        ("up_m = 6.0", "up_m = 6.0\nchatter = [[1.0, 1e9, 5.0]]", "sensors[1].chatter: 1e+09 s; expected seconds"),
        ("up_m = 6.0", "up_m = 6.0\nclock_steps_s = [[1.0, nan]]", "sensors[1].clock_steps_s: nan; expected"),
        ("up_m = 6.0", "up_m = 6.0\nclock_steps_s = [[nan, 0.1]]", "sensors[1].clock_steps_s: nan; expected"),
        ("up_m = 6.0", "up_m = 6.0\nclock_steps_s = [[-5.0, 0.1]]", "sensors[1].clock_steps_s: -5 s; expected"),
        ("up_m = 6.0", f"up_m = 1{400 * '0'}", "square.toml sensors[1].up_m: out of any range; expected"),
        ("up_m = 6.0", "up_m = 6.0\nchatter = [[1.0, 2.0, 5.0]]", "sensor a: chatter is for mode pulses"),
        ("[converter]", "[profile]\nheight = 3.0\n[converter]", "square.toml profile.height: unknown key"),
        ("[converter]", "[profile]\nroughness_m = 8.0\n[converter]", "profile: height_m 10 is among the houses"),
        ("[converter]", "[[buildings]]\nheight_m = 3.0\n[converter]", "square.toml buildings[1].footprint: absent"),
        (
            "[converter]",
            "[[buildings]]\nheight_m = 3.0\nfootprint = [[1.0, 2.0], [3.0, 4.0]]\n[converter]",
            "square.toml buildings[1]: footprint has 2 corners",
        ),
        (
            "[converter]",
            "[[buildings]]\nheight_m = 3.0\nfootprint = [[0.0, 0.0], [9.0, 0.0], [1.0, 1.0], [0.0, 9.0]]\n[converter]",
            "buildings[1]: a footprint is not convex",
        ),
        (
            "[converter]",
            "[[buildings]]\nheight_m = 30.0\nfootprint = [[-5.0, -5.0], [9.0, -5.0], [9.0, 9.0]]\n[converter]",
            "sensor a stands inside buildings[1]",
        ),
        (
            "[converter]",
            "[[buildings]]\nheight_m = 30.0\nfootprint = [[90.0, 40.0], [120.0, 40.0], [100.0, 90.0]]\n[converter]",
            "event shot stands inside buildings[1]",
        ),
        (
            "[converter]",
            "[origin]\nlatitude_deg = 91.0\nlongitude_deg = 0.0\n[converter]",
            "origin: latitude_deg is 91",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, old, new, message):
    assert old in SPEC
    (tmp_path / "square.toml").write_text(SPEC.replace(old, new, 1))
    with pytest.raises(SceneError, match=re.escape(message)) as caught:
        write_simulation(read_spec(tmp_path / "square.toml"), tmp_path / "scene")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["square.toml"]


def test_a_name_may_stand_once(tmp_path):
    twice = SPEC + '[[events]]\nevent_id = "shot"\nkind = "handling"\nsensor_id = "a"\ntime_s = 2.0\n'
    (tmp_path / "square.toml").write_text(twice)
    with pytest.raises(SceneError, match="event_id shot stands twice"):
        read_spec(tmp_path / "square.toml")
    (tmp_path / "square.toml").write_text(
        twice.replace('"shot"\nkind = "handling"', '"x"\nkind = "handling"').replace(
            'sensor_id = "a"\ntime_s', 'sensor_id = "b"\ntime_s'
        )
    )
    with pytest.raises(SceneError, match="sensor b is not among"):
        read_spec(tmp_path / "square.toml")
    with pytest.raises(SceneError, match="no such file"):
        read_spec(tmp_path / "none.toml")


def test_rounds_may_not_bear_the_names_of_others(tmp_path):
    """truth.csv numbers the rounds of a burst: the specification's event is named, not a row of a file to come."""
    twice = SPEC.replace("time_s = 1.0", "time_s = 1.0\nrounds = 3")
    twice += '[[events]]\nevent_id = "shot-02"\nkind = "handling"\nsensor_id = "a"\ntime_s = 2.0\n'
    (tmp_path / "square.toml").write_text(twice)
    with pytest.raises(
        SceneError, match=r"square.toml events\[2\].event_id: 'shot-02' has a round shot-02, and so has"
    ):
        read_spec(tmp_path / "square.toml")


def test_the_page_on_scenes_tells_the_truth(root, tmp_path):
    """The example is a specification that works, and every key that may be written is explained."""
    page = (root / "docs" / "scenes.md").read_text()
    (example,) = re.findall(r"```toml\n(name = .*?)```", page, re.DOTALL)
    (tmp_path / "corner.toml").write_text(example)
    write_simulation(read_spec(tmp_path / "corner.toml"), tmp_path / "scene")
    assert len(read_scene(tmp_path / "scene").pieces) == 4
    known = {
        field.name
        for kind in (Converter, Noise, Surroundings, Picking, Profile, Building, Sensor, Event)
        for field in dataclasses.fields(kind)
    } - {"place"}
    assert sorted(name for name in known if f"`{name}`" not in page) == []
