"""The command line: exit codes, one clear line over bad input, nothing half-written, the same bytes twice."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile as sf

import shotfix
from localization.study.scene_reading import read_scene
from localization.study.scene_writing import write_scene
from shotfix.commands import main
from shotfix.results import FILES
from tests import sounds, streets
from tests.command_line import run

OUTPUTS = [
    "alerts.jsonl",
    "detections.csv",
    "modes.csv",
    "pulses_used.csv",
    "shots.csv",
    "shots.geojson",
    "summary.json",
]


@pytest.fixture
def pulses(tmp_path):
    """A scene of pulses: two rounds and noise, in a plane that floats."""
    city = streets.square()
    heard = streets.noise(city, 0.2, 8.0, seed=1)
    heard += streets.bang(city, (60.0, -80.0), 3.0, noise_s=0.0005) + streets.bang(
        city, (60.0, -80.0), 3.5, noise_s=0.0005
    )
    folder = tmp_path / "yard"
    folder.mkdir()
    (folder / "scene.toml").write_text('name = "Yard"\nframe = "local"\nstart_utc = "2026-11-21T03:00:00Z"\n')
    places = [(s.sensor_id, s.position.east_m, s.position.north_m, s.position.up_m) for s in city.sites]
    table(folder / "sensors.csv", ["sensor_id", "east_m", "north_m", "up_m"], places)
    times = [
        (d.sensor_id, f"{(d.pick.onset_ns - streets.START_NS) / 1e9:.9f}", d.pick.level_db_spl, d.llr, d.pick.p_outlier)
        for d in heard
    ]
    table(folder / "pulses.csv", ["sensor_id", "time_s", "level_db_spl", "llr", "p_outlier"], times)
    truth = [(f"t{k}", "gunshot", 3.0 + 0.5 * k, 60.0, -80.0, 1.5, 0.5) for k in range(2)]
    table(folder / "truth.csv", ["shot_id", "class", "time_s", "east_m", "north_m", "up_m", "sigma_m"], truth)
    return folder


def table(path, columns, rows):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def shots(folder):
    with (folder / "shots.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def audible(tmp_path):
    """A scene of three seconds of audio: three sensors, street noise, one blast that each hears in its time."""
    folder = tmp_path / "corner"
    (folder / "audio").mkdir(parents=True)
    (folder / "scene.toml").write_text('name = "Corner"\nframe = "local"\nstart_utc = "2026-11-21T03:00:00Z"\n')
    table(
        folder / "sensors.csv",
        ["sensor_id", "east_m", "north_m", "up_m"],
        [("A", 0, 0, 8), ("B", 200, 0, 8), ("C", 60, 180, 8)],
    )
    for k, name in enumerate("ABC"):
        samples = sounds.street_with_blast(16_000, 3.0, 1.2 + 0.1 * k, seed=k)
        sf.write(folder / "audio" / f"{name}.flac", samples, 16_000, subtype="PCM_16")
    table(folder / "audio.csv", ["sensor_id", "path", "start_s"], [(name, f"audio/{name}.flac", 0) for name in "ABC"])
    return folder


# what comes out


def test_locate(pulses, tmp_path):
    code, said, _ = run("locate", pulses, "--out", tmp_path / "out", "--plot")
    assert code == 0
    assert "2 of 2 shots placed" in said
    rows = shots(tmp_path / "out")
    assert [row["status"] for row in rows] == ["fix", "fix"]
    assert all(math.hypot(float(row["east_m"]) - 60.0, float(row["north_m"]) + 80.0) < 3.0 for row in rows)
    assert all(row["latitude_deg"] == "" for row in rows)
    assert rows[0]["incident_id"] == rows[1]["incident_id"] != ""
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*OUTPUTS, "map.png"])
    assert json.loads((tmp_path / "out" / "shots.geojson").read_text()) == {"type": "FeatureCollection", "features": []}


def test_places_that_were_imported_are_told(pulses, tmp_path):
    with (pulses / "scene.toml").open("a") as scene:
        scene.write("[origin]\nlatitude_deg = 41.7658\nlongitude_deg = -72.6734\nheight_m = 20.0\n")
    north, east = 41.7658 - 80.0 / 111_194.9, -72.6734 + 90.0 / (111_194.9 * math.cos(math.radians(41.7658)))
    table(tmp_path / "doors.csv", ["LON", "LAT", "NUMBER", "STREET"], [(f"{east:.7f}", f"{north:.7f}", 9, "ELM ST")])
    assert run("places", "import", tmp_path / "doors.csv", "--into", tmp_path / "places.db")[0] == 0
    code, _, _ = run("locate", pulses, "--out", tmp_path / "out", "--places", tmp_path / "places.db")
    assert code == 0
    last = json.loads((tmp_path / "out" / "alerts.jsonl").read_text().splitlines()[-1])
    address = last["place"]["address"]
    assert address["text"] == "9 ELM ST"
    assert address["distance_m"] == pytest.approx(30.0, abs=4.0)  # the place itself is known to three metres
    assert address["bearing_deg"] == pytest.approx(270.0, abs=8.0)
    code, _, complaint = run("locate", pulses, "--out", tmp_path / "other", "--places", tmp_path / "doors.csv")
    assert code == 65
    assert complaint.count("\n") == 1
    assert "doors.csv" in complaint
    assert not (tmp_path / "other").exists()


def test_json_is_one_object(pulses, tmp_path):
    code, said, _ = run("locate", pulses, "--out", tmp_path / "out", "--json")
    summary = json.loads(said)["runs"][str(tmp_path / "out")]
    assert code == 0
    assert summary["counts"]["fixes"] == 2
    assert len(summary["inputs_sha256"]["pulses.csv"]) == 64


def test_replay_hears_what_locate_is_told(audible, tmp_path):
    """A run's detections.csv is a valid pulses.csv, and gives the same shots."""
    assert run("replay", audible, "--out", tmp_path / "heard")[0] == 0
    (audible / "pulses.csv").write_bytes((tmp_path / "heard" / "detections.csv").read_bytes())
    assert run("locate", audible, "--out", tmp_path / "told")[0] == 0
    assert [row["shot_id"] for row in shots(tmp_path / "told")] == [row["shot_id"] for row in shots(tmp_path / "heard")]


def test_two_runs_write_the_same_bytes(audible, tmp_path):
    for name in ("one", "two"):
        assert run("replay", audible, "--out", tmp_path / name)[0] == 0
    for name in OUTPUTS:
        if name != "summary.json":
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_score(pulses, tmp_path):
    run("locate", pulses, "--out", tmp_path / "out")
    code, said, _ = run("score", tmp_path / "out", pulses, "--json")
    figures = json.loads(said)["all"]
    assert code == 0
    assert (figures["found"], figures["gunshots"], figures["false_fixes"], figures["exact_scenes"]) == (2, 2, 0, 1)
    assert "found       2 of 2" in run("score", tmp_path / "out", pulses)[1]
    code, _, complaint = run("score", tmp_path / "out", pulses, "--most-median", "0.0001")
    assert code == 1
    assert "at most 0.0001" in complaint


def test_classify(tmp_path):
    sf.write(tmp_path / "shot.wav", sounds.street_with_blast(16_000, 1.0, 0.4, seed=3), 16_000)
    sf.write(tmp_path / "short.wav", sounds.street_with_blast(8_000, 0.2, 0.05, seed=4), 8_000)
    sf.write(tmp_path / "quiet.flac", sounds.street(44_100, 1.0, seed=5), 44_100)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    files = [tmp_path / name for name in ("shot.wav", "broken.wav", "short.wav", "quiet.flac", "absent.wav")]
    code, said, _ = run("classify", *files)
    lines = [json.loads(line) for line in said.splitlines()]
    assert code == 65
    assert [line["file"] for line in lines] == [str(f) for f in files]
    assert ["error" in line for line in lines] == [False, True, False, False, True]
    for line in (lines[0], lines[2], lines[3]):
        assert math.isfinite(line["llr"])
        assert line["class"] in ("gunshot", "firework", "impulse", "handling", "noise")
        assert line["p_gunshot"] == pytest.approx(1.0 / (1.0 + math.exp(-line["llr"])), abs=1e-4)
    assert lines[0]["llr"] == max(event["llr"] for event in lines[0]["events"])
    assert min(abs(event["onset_s"] - 0.4) for event in lines[0]["events"]) < 0.005


# how it ends


def test_folders_are_not_overwritten_unasked(pulses, tmp_path):
    run("locate", pulses, "--out", tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "map.png").write_text("of an earlier run")
    code, _, complaint = run("locate", pulses, "--out", tmp_path / "out")
    assert code == 2
    assert "--force" in complaint
    assert run("locate", pulses, "--out", tmp_path / "out", "--force")[0] == 0
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "out" / "map.png").exists()


def test_several_scenes(pulses, tmp_path):
    other = tmp_path / "garden"
    shutil.copytree(pulses, other)
    bad = tmp_path / "bad"
    bad.mkdir()
    code, _, complaint = run("locate", pulses, bad, other, "--out", tmp_path / "out")
    assert code == 65
    assert "bad" in complaint
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["garden", "yard"]
    assert run("locate", pulses, pulses, "--out", tmp_path / "again")[0] == 2


@pytest.mark.parametrize(
    "arguments", [[], ["replay"], ["replay", "x"], ["nonsense"], ["locate", "x", "--out"], ["score", "x"]]
)
def test_usage(arguments):
    assert run(*arguments)[0] == 2


@pytest.mark.parametrize("command", ["replay", "locate", "classify", "score", "simulate", "demo"])
def test_help_has_an_example(command):
    code, said, _ = run(command, "--help")
    assert code == 0
    assert re.search(rf"Example:\n\s+shotfix {command} ", said)


def leaves(command, path=()):
    """Every command that does something, by its name."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    for name, part in command.commands.items():
        yield from leaves(part, (*path, name))


@pytest.mark.parametrize(("name", "command"), [*leaves(main)], ids=lambda part: part if isinstance(part, str) else "")
def test_every_command_has_an_example_and_speaks_json(name, command):
    assert "--json" in {word for parameter in command.params for word in parameter.opts}
    assert re.search(rf"Example:\s+(\S+=\S+ )?shotfix {name}\b", command.help), command.help


def test_bad_data_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    code, said, complaint = run("replay", tmp_path / "empty", "--out", tmp_path / "out")
    assert (code, said) == (65, "")
    assert len(complaint.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def header_of(claimed_bytes):
    """A WAV header that claims so many bytes of data, and a thousand that are there."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + claimed_bytes)
        + b"WAVE"
        + fmt
        + b"data"
        + struct.pack("<I", claimed_bytes)
        + bytes(1_000)
    )


def floats(value):
    samples = np.zeros(16_000, dtype=np.float32)
    samples[8_000:] = value
    return samples


BAD_AUDIO = {
    "absent": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(header_of(32_000)),
    "3 GB header": lambda path: path.write_bytes(header_of(3_000_000_000)),
    "NaN": lambda path: sf.write(path, floats(np.nan), 16_000, format="WAV", subtype="FLOAT"),
    "infinite": lambda path: sf.write(path, floats(np.inf), 16_000, format="WAV", subtype="FLOAT"),
    "zero length": lambda path: sf.write(path, np.zeros(0, dtype=np.int16), 16_000, format="WAV"),
    "text": lambda path: path.write_text("a song"),
    "nothing": lambda path: path.write_bytes(b""),
    "slow": lambda path: sf.write(path, np.zeros(4_000, dtype=np.int16), 4_000, format="WAV"),
    "cut FLAC": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
}


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_bad_audio(audible, tmp_path, kind):
    """One line that names the row, exit 65, and nothing in the folder for results."""
    BAD_AUDIO[kind](audible / "audio" / "B.flac")
    code, said, complaint = run("replay", audible, "--out", tmp_path / "out")
    assert (code, said) == (65, "")
    assert "audio.csv row 3" in complaint
    assert "B.flac" in complaint
    assert len(complaint.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["corner"]


def test_overlapping_pieces(audible, tmp_path):
    rows = [("A", "audio/A.flac", 0), ("B", "audio/B.flac", 0), ("A", "audio/C.flac", 2.5)]
    table(audible / "audio.csv", ["sensor_id", "path", "start_s"], rows)
    code, _, complaint = run("replay", audible, "--out", tmp_path / "out")
    assert code == 65
    assert "audio.csv row 4: overlaps row 2 of sensor A by 0.500 s" in complaint


def test_a_channel_that_is_not_there(audible, tmp_path):
    table(audible / "audio.csv", ["sensor_id", "path", "start_s", "channel"], [("A", "audio/A.flac", 0, 1)])
    code, _, complaint = run("replay", audible, "--out", tmp_path / "out")
    assert code == 65
    assert "has 1 channel(s), channel 1 is asked for" in complaint


def test_digital_silence_makes_no_detection(audible, tmp_path):
    for name in "ABC":
        sf.write(audible / "audio" / f"{name}.flac", np.zeros(48_000, dtype=np.int16), 16_000)
    assert run("replay", audible, "--out", tmp_path / "out")[0] == 0
    assert len((tmp_path / "out" / "detections.csv").read_text().splitlines()) == 1


def test_zero_padding_makes_no_detection(audible, tmp_path):
    """Street noise that begins and ends in exact zeros: its edges are no sound."""
    for k, name in enumerate("ABC"):
        padded = np.concatenate([np.zeros(16_000), sounds.street(16_000, 1.0, seed=k), np.zeros(16_000)])
        sf.write(audible / "audio" / f"{name}.flac", padded, 16_000, subtype="PCM_16")
    assert run("replay", audible, "--out", tmp_path / "out")[0] == 0
    with (tmp_path / "out" / "detections.csv").open(newline="") as stream:
        times = [row["time_utc"] for row in csv.DictReader(stream)]
    assert [t for t in times if t[17:22] < "01.30" or t[17:22] > "01.98"] == []


def test_a_killed_run_leaves_no_results(audible, tmp_path):
    """Interrupted: exit 130, no folder, no litter beside it."""
    script = (
        "import sys, _thread, threading\n"
        "from shotfix import playback\n"
        "def stop(*_a, **_k): raise KeyboardInterrupt\n"
        "playback.replay = stop\n"
        "from shotfix.commands import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "replay", str(audible), "--out", str(tmp_path / "out")],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 130
    assert [p.name for p in tmp_path.iterdir()] == ["corner"]


def test_a_folder_that_cannot_be_made(pulses, tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, complaint = run("locate", pulses, "--out", tmp_path / "file" / "out")
    assert code == 74
    assert len(complaint.splitlines()) == 1


def test_written_scenes_are_read_again(pulses, tmp_path):
    scene = read_scene(pulses)
    write_scene(scene, tmp_path / "copy")
    assert read_scene(tmp_path / "copy").pulses == scene.pulses


def test_import_is_quick_and_lazy():
    """`import shotfix` and `shotfix --help` load neither numba, scipy, pyproj, matplotlib, SQLAlchemy nor PortAudio."""
    heavy = [
        "numba",
        "scipy",
        "pyproj",
        "matplotlib",
        "sqlalchemy",
        "httpx",
        "uvicorn",
        "starlette",
        "sounddevice",
        "soundfile",
        "numpy",
    ]
    for code in (
        "import shotfix",
        "from click.testing import CliRunner; from shotfix.commands import main; CliRunner().invoke(main, ['--help'])",
    ):
        script = f"import sys; {code}; print([m for m in {heavy!r} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


def test_nothing_needs_portaudio():
    """Every module of the product imports while sounddevice cannot."""
    script = (
        "import sys, pkgutil, importlib\n"
        "sys.modules['sounddevice'] = None\n"
        "for room in ('acoustic', 'sensors', 'localization', 'alerts', 'shotfix'):\n"
        "    package = importlib.import_module(room)\n"
        "    for module in pkgutil.walk_packages(package.__path__, room + '.'):\n"
        "        importlib.import_module(module.name)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_researchers_import(pulses):
    result = shotfix.locate(shotfix.read_scene(pulses))
    assert len(result.fixes) == 2
    assert result.to_geojson()["type"] == "FeatureCollection"
    assert set(FILES) >= set(OUTPUTS)
    assert Path(shotfix.__file__).name == "__init__.py"


# what is told of shots that came already put together


def test_shots_that_were_given_keep_their_time(tmp_path, pulses):
    """Twenty minutes apart: each is told in its own time, not when the scene is over."""
    city = streets.square()
    rows = []
    for k, time_s in enumerate((5.0, 610.0, 1205.0)):
        for d in streets.bang(city, (60.0, -80.0), time_s, noise_s=0.0005, llr=4.0):
            rows.append((d.sensor_id, f"{(d.pick.onset_ns - streets.START_NS) / 1e9:.9f}", d.llr, f"g{k}"))
    table(pulses / "pulses.csv", ["sensor_id", "time_s", "llr", "shot_id"], rows)
    assert run("locate", pulses, "--out", tmp_path / "out")[0] == 0
    told = shots(tmp_path / "out")
    assert [row["shot_id"] for row in told] == ["g0", "g1", "g2"]
    assert len({row["incident_id"] for row in told} - {""}) == 3
    assert "too-late" not in json.loads((tmp_path / "out" / "summary.json").read_text())["counts"]["passed_over"]


def test_inputs_are_all_hashed_and_the_truth_is_no_configuration(audible, tmp_path):
    def played(name):
        assert run("replay", audible, "--out", tmp_path / name)[0] == 0
        alerts = [json.loads(line) for line in (tmp_path / name / "alerts.jsonl").read_text().splitlines()]
        hashes = json.loads((tmp_path / name / "summary.json").read_text())["inputs_sha256"]
        return alerts, hashes

    alerts, hashes = played("before")
    assert {"audio/A.flac", "audio/B.flac", "audio/C.flac", "sensors.csv", "scene.toml"} <= set(hashes)
    (audible / "truth.csv").write_text("shot_id,east_m,north_m\nx,1,2\n")
    again, more = played("after")
    assert "truth.csv" in more
    assert again == alerts
    assert all(len(alert["provenance"]["model_hash"]) == 64 for alert in alerts)


def test_more_sensors_than_files_may_be_open(audible, tmp_path):
    """The usual limit of 1,024 is soft: a city of several thousand sensors must not stop at it."""
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "from shotfix.commands import main\n"
        "main(sys.argv[1:])\n"
    )
    rows = [(f"{name}{k}", 200.0 * k + 30 * n, 150.0 * n, 8) for n, name in enumerate("ABC") for k in range(20)]
    table(audible / "sensors.csv", ["sensor_id", "east_m", "north_m", "up_m"], rows)
    table(
        audible / "audio.csv",
        ["sensor_id", "path", "start_s"],
        [(row[0], f"audio/{row[0][0]}.flac", 0) for row in rows],
    )
    command = [sys.executable, "-c", program, "replay", str(audible), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("made", ["link", "dangling", "here"])
def test_a_folder_that_is_there_stays_the_same(pulses, tmp_path, made, monkeypatch):
    """A disk may be mounted there, a link lead there, a shell stand in it."""
    real, out = tmp_path / "real", tmp_path / "out"
    if made != "dangling":
        real.mkdir()
    out.symlink_to(real)
    before = real.stat().st_ino if real.exists() else None
    if made == "here":
        monkeypatch.chdir(real)
        out = Path()
    assert run("locate", pulses, "--out", out)[0] == 0
    assert (real / "shots.csv").is_file()
    assert before in (None, real.stat().st_ino)


@pytest.mark.parametrize("foreign", ["map.png/mine.txt", "holiday.jpg"])
def test_force_touches_nothing_that_is_no_run(pulses, tmp_path, foreign):
    mine = tmp_path / "out" / foreign
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    code, _, complaint = run("locate", pulses, "--out", tmp_path / "out", "--force")
    assert code == 2
    assert foreign.split("/")[0] in complaint
    assert mine.read_text() == "mine"


def test_a_pipe_is_no_recording(tmp_path):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    code, said, _ = run("classify", "--json", pipe)
    assert code == 65
    assert "not a regular file" in json.loads(said)["error"]


@pytest.mark.parametrize("content", ["{}", "[", None])
def test_scoring_what_is_no_run(pulses, tmp_path, content):
    run("locate", pulses, "--out", tmp_path / "out")
    (tmp_path / "out" / "summary.json").unlink()
    if content is not None:
        (tmp_path / "out" / "summary.json").write_text(content)
    code, _, complaint = run("score", tmp_path / "out", pulses)
    assert code == 65
    assert complaint.count("\n") == 1
    assert "summary.json" in complaint
