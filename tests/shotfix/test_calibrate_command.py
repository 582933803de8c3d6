"""`shotfix calibrate`: what it writes, what it refuses, and that a scene can live with its new sensors.csv."""

import csv
import json
from dataclasses import replace

import pytest

from acoustic.detection import Detection, probabilities_from_llr
from acoustic.pick import Pick
from localization.frame import Frame
from localization.study.scene import Pulse, Scene, Truth
from localization.study.scene_reading import read_scene
from localization.study.scene_writing import write_scene
from sensors.site import Geodetic, Network
from tests import streets, winds
from tests.command_line import run
from tests.localization.test_calibration import AIR, city


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def written(folder, town, shots, *, truth=True, given=True):
    """A scene folder of some shots of a city."""
    pulses, fired = [], []
    for shot in shots:
        name = shot.name.replace("/", "-")
        fired.append(Truth(name, "gunshot", None, shot.place, shot.sigma_m or 0.0))
        for sensor_id, onset_ns, sigma_s in shot.arrivals:
            pick = Pick(onset_ns, sigma_s)
            d = Detection(f"{name}-{sensor_id}", sensor_id, pick, 3.0, probabilities_from_llr(3.0))
            pulses.append(Pulse(d, name if given else None))
    pulses.sort(key=lambda p: (p.detection.pick.onset_ns, p.detection.sensor_id))
    scene = Scene(
        folder.name, winds.START_NS, AIR, Frame.of(town.network), town.network, winds.UP_M, 1.0, licence="CC0-1.0",
        pulses=tuple(pulses), truth=tuple(fired) if truth else (),
    )  # fmt: skip
    return write_scene(scene, folder)


@pytest.fixture(scope="module")
def town():
    return city(103, places=10)


@pytest.fixture(scope="module")
def scenes(town, tmp_path_factory):
    """Two scenes of one network, each with half of the shots."""
    root = tmp_path_factory.mktemp("city")
    half = len(town.shots) // 2
    return [written(root / "first", town, town.shots[:half]), written(root / "second", town, town.shots[half:])]


def test_writes_a_table_that_a_scene_can_live_with(scenes, town, tmp_path):
    out = tmp_path / "calibration"
    code, said, _ = run("calibrate", *scenes, "--out", out)
    assert code == 0
    assert "20 from 10 places, surveyed" in said
    names = {"sensors.csv", "calibration.csv", "paths.csv", "calibration.png", "summary.json"}
    assert {path.name for path in out.iterdir()} == names
    table, learnt = rows(out / "sensors.csv"), rows(out / "calibration.csv")
    assert list(table[0])[:7] == list(rows(scenes[0] / "sensors.csv")[0])[:7]
    for row, new, site, move in zip(learnt, table, town.network.sites, town.moves, strict=True):
        assert row["sensor_id"] == new["sensor_id"] == site.sensor_id
        if row["position_significant"] == "true":
            off = float(new["east_m"]) - site.position.east_m, float(new["north_m"]) - site.position.north_m
            assert off == pytest.approx((float(row["east_m"]), float(row["north_m"])), abs=1e-3)
            assert off == pytest.approx(tuple(move), abs=5.0 * float(new["position_sigma_m"]))
        assert float(new["position_sigma_m"]) < 8.0
        assert float(new.get("clock_offset_s", 0.0)) == pytest.approx(
            float(row["clock_s"]) if row["clock_significant"] == "true" else 0.0, abs=1e-6
        )
    assert {row["sensor_id"] for row in rows(out / "paths.csv")} == {row["sensor_id"] for row in table}
    assert (out / "calibration.png").stat().st_size > 10_000
    (scenes[0] / "sensors.csv").write_bytes((out / "sensors.csv").read_bytes())
    assert len(read_scene(scenes[0]).network.sites) == len(table)


def test_sensors_on_the_earth_keep_their_columns(town, tmp_path):
    """Degrees in, degrees out, to a tenth of a millimetre where nothing was corrected."""
    plane = Frame(Geodetic(41.7658, -72.6734, 20.0))

    def on_earth(place):
        return plane.geodetic(place.east_m, place.north_m, place.up_m)

    network = Network(tuple(replace(site, position=on_earth(site.position)) for site in town.network.sites))
    shots = [replace(shot, place=on_earth(shot.place)) for shot in town.shots[:2]]
    folder = written(tmp_path / "earth", replace(town, network=network), shots)
    assert run("calibrate", folder, "--out", tmp_path / "out")[0] == 0
    for row, site in zip(rows(tmp_path / "out" / "sensors.csv"), network.sites, strict=True):
        assert float(row["latitude_deg"]) == pytest.approx(site.position.latitude_deg, abs=1e-9)
        assert float(row["longitude_deg"]) == pytest.approx(site.position.longitude_deg, abs=1e-9)
        assert float(row["height_m"]) == pytest.approx(site.position.height_m, abs=1e-4)


def test_json_and_what_cannot_be_told(town, tmp_path):
    one = written(tmp_path / "one-spot", town, town.shots[:2])
    code, said, complaint = run("calibrate", one, "--out", tmp_path / "out", "--json")
    summary = json.loads(said)
    assert code == 0
    assert summary["counts"]["places"] == 1
    assert summary["counts"]["moved"] == summary["counts"]["clocks_corrected"] == 0
    assert "no sensor is corrected" in complaint
    assert summary["rms_with_sensors_s"] == summary["rms_before_s"]
    same = [dict(row, clock_sigma_s=float(row["clock_sigma_s"])) for row in rows(tmp_path / "out" / "sensors.csv")]
    for row, site in zip(same, town.network.sites, strict=True):
        assert float(row["east_m"]) == pytest.approx(site.position.east_m, abs=1e-4)
        assert row["clock_sigma_s"] == pytest.approx(site.clock_sigma_s)


def test_without_truth_the_shots_are_located(tmp_path):
    """Eight sensors that stand where they should: located shots agree, and no sensor is called wrong."""
    sensors = streets.square(900.0)
    pulses = []
    for k, place in enumerate([(60.0, -80.0), (-150.0, 120.0), (200.0, 150.0), (-90.0, -160.0), (10.0, 220.0)]):
        pulses += [Pulse(d) for d in streets.bang(sensors, place, 5.0 * k, noise_s=0.0005, seed=k)]
    scene = Scene("yard", streets.START_NS, streets.STILL, Frame(), sensors, 1.5, 1.0, pulses=tuple(pulses))
    folder = write_scene(scene, tmp_path / "yard")
    code, said, complaint = run("calibrate", folder, "--out", tmp_path / "out", "--json")
    summary = json.loads(said)
    assert code == 0
    assert not summary["surveyed"]
    assert summary["counts"]["shots"] >= 4
    assert summary["counts"]["moved"] == 0
    assert "shift and turn" in complaint


def test_bad_input_is_one_line_and_nothing_half_written(scenes, town, tmp_path):
    code, _, complaint = run("calibrate", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert code == 65
    assert complaint.count("\n") == 1
    strangers = tmp_path / "strangers"
    other = city(104, places=3)
    written(strangers, other, other.shots)
    code, _, complaint = run("calibrate", scenes[1], strangers, "--out", tmp_path / "out")
    assert code == 65
    assert "stands elsewhere" in complaint
    nothing = written(tmp_path / "nothing", town, town.shots, given=False)
    code, _, complaint = run("calibrate", nothing, "--out", tmp_path / "out")
    assert code == 65
    assert "shot_id" in complaint
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    code, _, _ = run("calibrate", scenes[1], "--out", tmp_path / "full")
    assert code == 2
    assert run("calibrate", "--out", tmp_path / "out")[0] == 2


@pytest.mark.parametrize("value", ["nan", "inf", "1e9"])
@pytest.mark.parametrize("option", ["--position-sigma-m", "--clock-sigma-s"])
def test_sigmas_are_numbers(scenes, tmp_path, option, value):
    assert run("calibrate", *scenes, "--out", tmp_path / "out", option, value)[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_broken_clock_is_said_and_its_new_row_admits_it(town, tmp_path):
    """A device that is off by a minute: no correction within what the table says of it would do."""
    broken = town.network.sites[3].sensor_id

    def late(arrival):
        sensor_id, onset_ns, sigma_s = arrival
        return sensor_id, onset_ns + 60_000_000_000 * (sensor_id == broken), sigma_s

    shots = [replace(shot, arrivals=tuple(map(late, shot.arrivals))) for shot in town.shots]
    folder = written(tmp_path / "late", town, shots)
    code, said, complaint = run("calibrate", folder, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert json.loads(said)["counts"]["disagree"] == 1
    assert f"{broken} (60 s)" in complaint
    assert "check clock and survey" in complaint
    learnt = {row["sensor_id"]: row for row in rows(tmp_path / "out" / "calibration.csv")}
    table = {row["sensor_id"]: row for row in rows(tmp_path / "out" / "sensors.csv")}
    assert "disagrees" in learnt[broken]["flags"].split()
    assert float(table[broken]["clock_sigma_s"]) == pytest.approx(60.0, rel=0.01)
    assert all(float(row["clock_sigma_s"]) < 0.02 for name, row in table.items() if name != broken)


def test_more_shots_than_are_used_are_thinned_evenly_and_counted(town, tmp_path, monkeypatch):
    monkeypatch.setattr("shotfix.calibrating.MOST_SURVEYED", 10)
    folder = written(tmp_path / "many", town, town.shots)
    code, said, _ = run("calibrate", folder, "--out", tmp_path / "out", "--json")
    counts = json.loads(said)["counts"]
    assert code == 0
    assert counts["left_out"] == {"thinned-evenly": 10}
    assert (counts["shots"], counts["places"]) == (10, 10)  # of two rounds from each place, one
