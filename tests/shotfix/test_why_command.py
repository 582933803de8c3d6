"""The command `why`: a run is asked about places and times, and answers in sentences and in JSON."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from acoustic.instant import after, instant_text
from tests import streets
from tests.command_line import run

pytestmark = pytest.mark.xdist_group("why")
NIGHT = "fixtures/scenes/demo-night"


def table(path, columns, rows):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    """A scene of pulses and its run: a shot, a bang unlike one, one that two sensors heard, a sensor that came late."""
    folder = tmp_path_factory.mktemp("why") / "yard"
    folder.mkdir()
    city = streets.square()
    heard = [
        *streets.bang(city, (60.0, -80.0), 3.0, noise_s=0.0005, llr=3.0),
        *streets.bang(city, (-40.0, 90.0), 20.0, noise_s=0.0005, llr=-4.0),
        *streets.bang(city, (100.0, 100.0), 40.0, noise_s=0.0005, llr=4.0, deaf="ABEFGH"),
    ]
    (folder / "scene.toml").write_text('name = "Yard"\nframe = "local"\nstart_utc = "2026-11-21T03:00:00Z"\n')
    places = [
        (s.sensor_id, s.position.east_m, s.position.north_m, s.position.up_m, 0, 10 if s.sensor_id in "ABCDEF" else 100)
        for s in city.sites
    ]
    places = [(*place[:4], 0, 60.0 if place[0] in "ABCDEF" else 100.0) for place in places]
    table(folder / "sensors.csv", ["sensor_id", "east_m", "north_m", "up_m", "listen_from_s", "listen_to_s"], places)
    times = [
        (d.sensor_id, f"{(d.pick.onset_ns - streets.START_NS) / 1e9:.9f}", d.pick.level_db_spl, d.llr, d.pick.p_outlier)
        for d in heard
    ]
    table(folder / "pulses.csv", ["sensor_id", "time_s", "level_db_spl", "llr", "p_outlier"], times)
    out = folder.parent / "run"
    assert run("locate", folder, "--out", out)[0] == 0
    return folder, out


def answer(yard, place, time_s, *options):
    folder, out = yard
    at = instant_text(after(streets.START_NS, time_s))
    where = ["--east-m", place[0], "--north-m", place[1]]
    code, said, _ = run("why", out, folder, "--at-time", at, *where, "--json", *options)
    assert code == 0
    told = json.loads(said)
    code, said, _ = run("why", out, folder, "--at-time", at, *where, *options)
    assert code == 0
    assert said.splitlines() == told["sentences"]
    return told


@pytest.mark.parametrize(
    ("place", "time_s", "verdict", "begins"),
    [
        ((60.0, -80.0), 3.0, "alerted", "There was an alert."),
        ((-40.0, 90.0), 20.2, "suppressed", "It was heard and held back by policy."),
        ((100.0, 100.0), 40.0, "unplaced", "It was heard, but no place explains it"),
        ((-60.0, -30.0), 3.1, "fixed-elsewhere", "What was heard then was taken for another bang."),
        ((0.0, 0.0), 50.0, "too-few-heard", "Too few sensors heard it"),
        ((0.0, 0.0), 80.0, "not-listening", "The sensors were not listening"),
        ((9e3, 0.0), 50.0, "outside-coverage", "The place lies outside coverage"),
    ],
)
def test_every_verdict(yard, place, time_s, verdict, begins):
    told = answer(yard, place, time_s, "--within-m", "60")
    assert told["verdict"] == verdict
    assert told["sentences"][0].startswith(begins)
    assert len(told["sensors"]) == 8
    assert told["asked"]["east_m"] == place[0]
    assert told["asked"]["latitude_deg"] is None


def test_what_an_alert_said_is_said_again(yard):
    told = answer(yard, (60.0, -80.0), 3.0)
    alert = told["near"][0]["alert"]
    last = [json.loads(line) for line in (yard[1] / "alerts.jsonl").read_text().splitlines()]
    last = next(a for a in reversed(last) if a["alert_id"] == alert["alert_id"])
    assert (alert["revision"], alert["gate"]) == (last["revision"], last["what"]["gate"])
    assert alert == told["taken_for"]["alert"]
    assert told["counts"] == {"sensors": 8, "expected": 8, "expected_and_listening": 8, "fitting": 8}
    assert {sensor["became"] for sensor in told["sensors"]} == {"used"}
    assert told["taken_for"]["shot_id"] in told["sentences"][0]


@pytest.fixture(scope="module")
def night(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("night") / "run"
    assert run("replay", root / NIGHT, "--out", out)[0] == 0
    return root / NIGHT, out


@pytest.mark.parametrize(
    ("at", "place", "verdicts"),
    [
        ("2026-11-21T03:12:08.4Z", (41.777259, -72.685223), {"alerted"}),  # a shot near the middle
        ("2026-11-21T03:13:31.7Z", (41.779824, -72.690463), {"alerted"}),  # the first of ten rounds
        ("2026-11-21T03:14:27.2Z", (41.780499, -72.690402), {"in-review", "alerted", "suppressed"}),  # a suppressor
        ("2026-11-21T03:12:40Z", (41.778, -72.687), {"too-few-heard"}),  # nothing
        ("2026-11-21T04:12:40Z", (41.778, -72.687), {"not-listening"}),
        ("2026-11-21T03:12:40Z", (41.81, -72.70), {"outside-coverage"}),
    ],
)
def test_the_demo_night(night, at, place, verdicts):
    folder, out = night
    where = ["--latitude", place[0], "--longitude", place[1]]
    code, said, _ = run("why", out, folder, "--at-time", at, *where, "--json")
    assert code == 0
    told = json.loads(said)
    assert told["verdict"] in verdicts
    assert told["asked"]["latitude_deg"] == pytest.approx(place[0], abs=1e-6)
    assert told["asked"]["longitude_deg"] == pytest.approx(place[1], abs=1e-6)


@pytest.mark.parametrize(
    "place", [(-41.78, 107.31), (51.5, -0.1), (90.0, 0.0), (41.78, -80.0)]
)  # the first is straight below
def test_another_part_of_the_world(night, place):
    folder, out = night
    where = ["--latitude", place[0], "--longitude", place[1]]
    code, said, complaint = run("why", out, folder, "--at-time", "2026-11-21T03:12:08Z", *where)
    assert (code, said) == (2, "")
    assert "km from the origin of the scene" in complaint


def test_a_gap_in_a_recording_is_no_silence(night):
    """One sensor of the demo night is offline for half a minute."""
    folder, out = night
    where = ["--latitude", 41.775684, "--longitude", -72.690282]
    _, said, _ = run("why", out, folder, "--at-time", "2026-11-21T03:14:01.2Z", *where, "--json")
    sensors = {sensor["sensor_id"]: sensor for sensor in json.loads(said)["sensors"]}
    assert [name for name, sensor in sensors.items() if not sensor["listening"]] == ["ashley"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--at-time", "2026-11-21T03:00:03Z"], 2, "give the place once"),
        (["--at-time", "2026-11-21T03:00:03Z", "--east-m", "1"], 2, "both of its coordinates"),
        (["--at-time", "2026-11-21T03:00:03", "--east-m", "1", "--north-m", "1"], 2, "--at-time"),
        (["--at-time", "2026-11-21T03:00:03Z", "--latitude", "41", "--longitude", "-72"], 2, "this scene floats"),
        (["--at-time", "2026-11-21T03:00:03Z", "--east-m", "nan", "--north-m", "1"], 2, "finite"),
        (["--at-time", "2026-11-21T03:00:03Z", "--east-m", "1", "--north-m", "-inf"], 2, "not a finite number"),
        (["--at-time", "2026-11-21T03:00:03Z", "--east-m", "1e30", "--north-m", "1"], 2, "not in the range"),
        (["--at-time", "2026-11-21T03:00:03Z", "--east-m", "9e7", "--north-m", "1"], 2, "km from the nearest sensor"),
        (["--at-time", "2026-11-21T03:00:03Z", "--latitude", "nan", "--longitude", "1"], 2, "not a finite number"),
        (["--at-time", "2026-11-21T03:00:03Z", "--east-m", "1", "--north-m", "1", "--within-m", "inf"], 2, "finite"),
        (["--at-time", "2026-11-21T03:00:03Z", "--east-m", "1", "--north-m", "1", "--within-s", "nan"], 2, "finite"),
        (["--east-m", "1", "--north-m", "1"], 2, "--at-time"),
    ],
)
def test_usage(yard, options, code, says):
    folder, out = yard
    got, _, complaint = run("why", out, folder, *options)
    assert got == code
    assert says in complaint


def test_no_run_and_another_scenes_run(yard, night, tmp_path):
    folder, out = yard
    where = ["--at-time", "2026-11-21T03:00:03Z", "--east-m", "1", "--north-m", "1"]
    code, _, complaint = run("why", tmp_path, folder, *where)
    assert code == 65
    assert "summary.json: absent" in complaint
    code, _, complaint = run("why", night[1], folder, *where)
    assert code == 65
    torn = tmp_path / "torn"
    shutil.copytree(out, torn)
    (torn / "detections.csv").write_text("pulse_id\np1\n")
    code, _, complaint = run("why", torn, folder, *where)
    assert code == 65
    assert complaint.count("\n") == 1
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    (moved / "sensors.csv").write_text((moved / "sensors.csv").read_text().replace("A,-300.0", "A,-310.0"))
    code, _, complaint = run("why", out, moved, *where)
    assert code == 65
    assert "sensors.csv has changed" in complaint


def cut(text):
    """A file whose copying was broken off in its last row."""
    return text[: text.rindex(",") - 1]


@pytest.mark.parametrize("name", ["detections.csv", "pulses_used.csv", "shots.csv"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut, "cells under"),
        (lambda text: text[:-1], "ends in the middle"),
        (lambda _: "", "row 1: not as a run writes it (no column"),
        (lambda _: "\0\0\n", "row 1: not as a run writes it"),
        (lambda text: text.splitlines()[0] + "\n" + len(text.splitlines()[0].split(",")) * "x," + "\n", "row 2"),
        (lambda text: text.replace("2026-11-21T", "2026-11-21 at "), "row 2: not as a run writes it ("),
    ],
)
def test_a_torn_run_is_refused_by_file_and_row(yard, tmp_path, name, spoil, says):
    folder, out = yard
    torn = tmp_path / "torn"
    shutil.copytree(out, torn)
    (torn / name).write_text(spoil((torn / name).read_text()))
    where = ["--east-m", "1", "--north-m", "1"]
    code, _, complaint = run("why", torn, folder, "--at-time", "2026-11-21T03:00:03Z", *where)
    assert code == 65
    assert complaint.count("\n") == 1
    assert str(torn / name) in complaint
    assert says in complaint


def test_rows_that_are_missing_are_missed(yard, tmp_path):
    """Whole rows lost: the summary knows how many there were."""
    folder, out = yard
    for name in ("detections.csv", "shots.csv", "modes.csv", "alerts.jsonl"):
        torn = tmp_path / name
        shutil.copytree(out, torn)
        lines = (torn / name).read_text().splitlines(keepends=True)
        (torn / name).write_text("".join(lines[:-1]))
        where = ["--east-m", "1", "--north-m", "1"]
        code, _, complaint = run("why", torn, folder, "--at-time", "2026-11-21T03:00:03Z", *where)
        assert code == 65, name
        assert f"{name}: " in complaint
        assert "where summary.json counts" in complaint
