"""The builder of live-fire scenes: the published repository and the folder of tables give the same scenes."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
import soundfile as sf

from acoustic.instant import SECOND, instant_text
from localization.study.scene_reading import read_scene


def build(root, source, out, kind, *positions):
    """As a user would."""
    arguments = [str(source), str(out), "--kind", kind, *(f"--position={name}" for name in positions)]
    script = root / "fixtures" / "builders" / "live_fire.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def clone(shared, tmp_path):
    """Two tests of position 1, put back into the form in which the repository publishes them."""
    tables, out = shared / "pittsburgh_livefire", tmp_path / "clone" / "data" / "PittsburghPA_DQV_2018-12-18"
    tagged = defaultdict(lambda: defaultdict(list))
    for row in rows(tables / "arrivals.csv"):
        test, shot = row["event_id"].rsplit("/", 1)
        tagged[test][shot].append(row["pulse_id"])
    truth = {row["event_id"].rsplit("/", 1)[0]: row for row in rows(tables / "truth.csv")}
    for test in [row for row in rows(tables / "tests.csv") if row["test_id"] in ("FP1/test_001", "FP1/test_004")]:
        folder, stem, epoch_s = out / test["test_id"], test["test_id"].split("/")[1], int(test["epoch_utc_s"])
        folder.mkdir(parents=True)

        def write(kind, value, folder=folder, stem=stem):
            (folder / f"{stem}.{kind}.json").write_text(json.dumps(value))

        where = truth[test["test_id"]]
        write("survey", {
            "firing_position": "FP1", "num_rounds": int(test["num_rounds"]), "firearm": test["firearm"],
            "survey_location": {axis: float(where[f"{axis}_m"]) for axis in "xyz"},
        })  # fmt: skip
        write(
            "weather",
            {
                "temperature": float(test["temperature_c"]),
                "speed": float(test["wind_mps"]),
                "direction": float(test["wind_from_deg"]),
            },
        )
        pulses = [row for row in rows(tables / "pulses_all.csv") if row["test_id"] == test["test_id"]]
        write("allpulses", [
            {
                "pulse_uuid": row["pulse_id"], "serial_number": row["sensor_id"].split("/")[1],
                "arrival_time_utc": instant_text(epoch_s * SECOND + round(float(row["time_s"]) * SECOND), 3),
                "location": {axis: float(row[f"{axis}_m"]) for axis in "xyz"},
                "signal_to_noise_dB": float(row["snr_db"]), "power_dB_SPL": float(row["spl_db"]),
            }
            for row in pulses
        ])  # fmt: skip
        shots = tagged[test["test_id"]]
        write("nlos-tuples", [{"shot_index": k, "pulse_uuids": shots[f"shot{k}"]} for k in range(len(shots))])
        for row in [row for row in rows(tables / "audio.csv") if row["test_id"] == test["test_id"]]:
            serial = row["sensor_id"].split("/")[1]
            samples, rate_hz = sf.read(tables / row["path"], dtype="int16")
            sf.write(folder / f"{stem}.audio.{serial}.wav", samples, rate_hz)
            start = instant_text(epoch_s * SECOND + round(float(row["start_s"]) * SECOND), 3)
            write(f"audio.{serial}", {"serial_number": serial, "timestamp": start})
    return tmp_path / "clone"


@pytest.mark.parametrize("kind", ["audio", "pulses", "tagged"])
def test_clone_and_tables_give_the_same_scenes(root, shared, clone, tmp_path, kind):
    assert build(root, clone, tmp_path / "from-clone", kind).returncode == 0
    assert build(root, shared / "pittsburgh_livefire", tmp_path / "from-tables", kind, "FP1").returncode == 0
    for name in ("FP1-test_001", "FP1-test_004"):
        one, other = (read_scene(tmp_path / source / name) for source in ("from-clone", "from-tables"))
        assert one.air == other.air
        assert one.truth == other.truth
        assert one.start_ns == other.start_ns
        # Sensors' medians are taken over two tests here and over eighteen there: a centimetre.
        places = [{s.sensor_id: s.position for s in scene.network.sites} for scene in (one, other)]
        assert places[0].keys() == places[1].keys()
        assert all(abs(places[0][s].east_m - places[1][s].east_m) < 2.0 for s in places[0])
        if kind == "audio":
            assert [(p.sensor_id, p.start_ns) for p in one.pieces] == [(p.sensor_id, p.start_ns) for p in other.pieces]
            assert [p.path.read_bytes() for p in one.pieces] == [p.path.read_bytes() for p in other.pieces]
        else:
            # 18 tagged pulses are missing from the published list; the tables have them all the same.
            ids = [{p.detection.pulse_id: p.detection.pick.onset_ns for p in scene.pulses} for scene in (one, other)]
            assert ids[0].items() <= ids[1].items()
            assert len(ids[1]) - len(ids[0]) <= 2


def test_neither_clone_nor_tables(root, tmp_path):
    done = build(root, tmp_path, tmp_path / "out", "audio")
    assert done.returncode != 0
    assert "neither a folder of tables" in done.stderr
    assert not (tmp_path / "out").exists()


def test_padding_is_cut_and_silence_inside_is_kept(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "fixtures" / "builders"))
    spec = importlib.util.spec_from_file_location("live_fire", root / "fixtures" / "builders" / "live_fire.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    sounding = builder.sounding
    samples = np.concatenate([np.zeros(5_000), np.ones(1_000), np.zeros(3_000), np.ones(500), np.zeros(9_000)]).astype(
        "int16"
    )
    assert sounding(samples) == (5_000, 9_500)
    assert sounding(np.zeros(100, dtype="int16")) == (0, 0)
    assert sounding(np.array([0] * 100 + [1] * 900, dtype="int16")) == (0, 1_000)  # too short to be padding
