"""The command `coverage`: maps for machines and people, from a scene or from a table of sensors by itself."""

from __future__ import annotations

import csv
import json
import os

import matplotlib.image as mpimg
import numpy as np
import pytest

from tests.command_line import run

LOCAL = "sensor_id,east_m,north_m,up_m,noise_floor_db_spl\nA,0,0,8,40\nB,500,0,8,\nC,480,510,8,\nD,-20,490,8,45\nE,240,260,9,\n"
NIGHT = "fixtures/scenes/demo-night"


@pytest.fixture
def sensors(tmp_path):
    path = tmp_path / "network.csv"
    path.write_text(LOCAL)
    return path


def cells(folder):
    with (folder / "coverage.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_demo_night(root, tmp_path):
    out = tmp_path / "out"
    code, said, _ = run("coverage", root / NIGHT, "--out", out, "--cell", "100", "--plot", "--down", "ashley")
    assert code == 0
    assert "12 sensors, 1 of them down" in said
    summary = json.loads((out / "coverage.json").read_text())
    rows = cells(out)
    features = json.loads((out / "coverage.geojson").read_text())["features"]
    assert len(rows) == len(features) == summary["cells"]["count"] == 17 * 15
    assert summary["down"] == ["ashley"]
    assert len(summary["weakest_links"]) == 11
    inside = [row for row in rows if row["inside_hull"] == "1"]
    assert summary["hull_km2"] == pytest.approx(0.01 * len(inside))
    assert summary["semi_major_median_m"] == pytest.approx(
        np.median([float(r["semi_major_m"]) for r in inside]), abs=1e-3
    )
    assert summary["share_semi_major_within"]["10"] == pytest.approx(
        np.mean([float(row["semi_major_m"]) <= 10.0 for row in inside]), abs=1e-6
    )
    for row, feature in zip(rows, features, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        assert ring[0].tolist() == ring[-1].tolist()
        area = 0.5 * float(np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]))
        assert area > 0.0  # counter-clockwise
        assert ring[:4].mean(axis=0) == pytest.approx(
            (float(row["longitude_deg"]), float(row["latitude_deg"])), abs=1e-6
        )
        assert feature["properties"]["p_detect_4"] == pytest.approx(float(row["p_detect_4"]), abs=1e-4)
    # RFC 7946 knows degrees only; a cell is a hundred metres of them.
    west, south, east, _ = ring[0][0], ring[0][1], ring[1][0], 0
    assert (east - west) * 111_320.0 * np.cos(np.radians(south)) == pytest.approx(100.0, rel=0.01)


def test_the_picture(root, tmp_path):
    assert run("coverage", root / NIGHT, "--out", tmp_path / "out", "--plot", "--down", "ashley")[0] == 0
    picture = mpimg.imread(tmp_path / "out" / "coverage.png")
    assert picture.shape[0] > 500
    assert picture.shape[1] == 1680
    cross = np.array([0xD5, 0x5E, 0x00]) / 255.0
    # Once in each panel, and once in the legend.
    assert np.sum(np.all(np.abs(picture[:, :, :3] - cross) < 0.02, axis=-1)) > 150


def test_the_same_bytes_twice(sensors, tmp_path):
    for name in ("one", "other"):
        assert run("coverage", sensors, "--out", tmp_path / name, "--plot")[0] == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "coverage.csv", "coverage.geojson", "coverage.json", "coverage.png",
    }  # fmt: skip


def test_a_table_by_itself(sensors, tmp_path):
    code, said, complaints = run("coverage", sensors, "--out", tmp_path / "out", "--json")
    assert (code, complaints) == (0, "")
    summary = json.loads(said)
    assert summary == json.loads((tmp_path / "out" / "coverage.json").read_text())
    assert summary["sensors"] == 5
    assert summary["assumed"]["noise_floors_told"] == 2
    assert summary["assumed"]["temperature_sigma_c"] == 10.0
    assert json.loads((tmp_path / "out" / "coverage.geojson").read_text()) == {
        "type": "FeatureCollection",
        "features": [],
    }
    assert {row["latitude_deg"] for row in cells(tmp_path / "out")} == {""}


def test_a_table_in_degrees(tmp_path, root):
    code, said, _ = run("coverage", root / NIGHT / "sensors.csv", "--out", tmp_path / "out", "--cell", "150", "--json")
    assert code == 0
    assert json.loads(said)["sensors"] == 12
    row = cells(tmp_path / "out")[0]
    assert 41.0 < float(row["latitude_deg"]) < 42.0


def test_weather_and_noise_told_anew(sensors, tmp_path):
    def summary(*options):
        code, said, _ = run("coverage", sensors, "--out", tmp_path / "out", "--force", "--json", *options)
        assert code == 0
        return json.loads(said)

    usual = summary()
    windy = summary("--wind-speed", "6", "--wind-from", "270", "--temperature-c", "25")
    assert windy["assumed"]["wind_east_m_per_s"] == pytest.approx(6.0)
    assert windy["assumed"]["wind_sigma_m_per_s"] == 2.0  # reported, hence better known than nothing
    assert (windy["assumed"]["temperature_c"], windy["assumed"]["temperature_sigma_c"]) == (25.0, 2.0)
    assert windy["semi_major_median_m"] < usual["semi_major_median_m"]
    assert windy["mean_p_detect"] == usual["mean_p_detect"]
    noisy = summary("--noise-floor", "75")
    assert noisy["mean_p_detect"]["4"] < usual["mean_p_detect"]["4"]
    assert summary("--louder", "10")["mean_p_detect"]["4"] > usual["mean_p_detect"]["4"]
    assert summary("--path-sigma", "0.02")["semi_major_median_m"] > usual["semi_major_median_m"]
    assert summary("--source-sigma", "0")["assumed"]["source_sigma_db"] == 0.0


def test_two_sensors_are_told_as_two_sensors(tmp_path):
    (tmp_path / "pair.csv").write_text("sensor_id,east_m,north_m,up_m\nA,0,0,8\nB,500,0,8\n")
    code, said, _ = run("coverage", tmp_path / "pair.csv", "--out", tmp_path / "out", "--plot")
    assert code == 0
    assert "enclose no area" in said
    summary = json.loads((tmp_path / "out" / "coverage.json").read_text())
    assert summary["share_well_heard"] is None
    assert summary["weakest_links"] == []


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--down", "Q"], 2, "'Q' is not in the network"),
        (["--down", "A", "--down", "B", "--down", "C", "--down", "D", "--down", "E"], 2, "every sensor is down"),
        (["--cell", "0.5"], 2, "m or more"),
        (["--wind-from", "90"], 2, "without its speed"),
        (["--temperature-c", "300"], 2, "temperature_c"),
        (["--noise-floor", "nan"], 2, "'nan' is not a finite number"),
        (["--noise-floor", "200"], 2, "floor_db_spl"),
        (["--cell", "nan"], 2, "not a finite number"),
        (["--cell", "inf"], 2, "not a finite number"),
        (["--cell", "1e300"], 2, "not in the range"),
        (["--temperature-c", "inf"], 2, "not a finite number"),
        (["--wind-speed", "nan"], 2, "not a finite number"),
        (["--wind-from", "nan", "--wind-speed", "1"], 2, "not a finite number"),
        (["--louder", "nan"], 2, "not a finite number"),
        (["--source-sigma", "-inf"], 2, "not a finite number"),
        (["--path-sigma", "inf"], 2, "not a finite number"),
        (["--path-sigma", "-1"], 2, "sigmas are"),
    ],
)
def test_usage(sensors, tmp_path, options, code, says):
    got, _, complaint = run("coverage", sensors, "--out", tmp_path / "out", *options)
    assert got == code
    assert says in complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sensor_id,east_m,north_m,up_m\n", "network.csv: no sensor in it"),
        ("sensor_id,east_m,north_m,up_m\nA,0,x,1\n", "network.csv row 2: north_m"),
        (LOCAL.replace(",45", ",999"), "network.csv row 5: noise_floor_db_spl is 999"),
        ("sensor_id,latitude_deg\nA,41\n", "network.csv: no column longitude_deg"),
        (
            "sensor_id,latitude_deg,longitude_deg,height_m\nA,41.7,-72.6,1\nB,41.8,-72.6,1\nC,41.7,72.6,1\n",
            "km from their mean; a map is of one city, 200 km at most: is a sign or a decimal point of C wrong?",
        ),
        ("sensor_id,east_m,north_m,up_m\nA,41.7,-72.6,1\nB,41.8,-72.5,1\n", "network.csv: all sensors lie within"),
    ],
)
def test_a_table_with_a_mistake(tmp_path, text, says):
    (tmp_path / "network.csv").write_text(text)
    code, _, complaint = run("coverage", tmp_path / "network.csv", "--out", tmp_path / "out")
    assert code == 65
    assert says in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_help_tells_bounds_where_there_are_some():
    code, said, _ = run("coverage", "--help")
    assert code == 0
    assert "0.1<=x<=100000" in said
    assert "None" not in said


def test_a_pipe_of_sensors(tmp_path):
    os.mkfifo(tmp_path / "network.csv")
    code, _, complaint = run("coverage", tmp_path / "network.csv", "--out", tmp_path / "out")
    assert code == 65
    assert "network.csv: not a regular file" in complaint


def test_nothing_there(tmp_path):
    code, _, complaint = run("coverage", tmp_path / "no", "--out", tmp_path / "out")
    assert code == 65
    assert "no such folder" in complaint


def test_another_result_is_left_alone(sensors, tmp_path):
    out = tmp_path / "out"
    assert run("coverage", sensors, "--out", out)[0] == 0
    assert run("coverage", sensors, "--out", out)[0] == 2
    (out / "notes.txt").write_text("mine")
    assert run("coverage", sensors, "--out", out, "--force")[0] == 0
    assert (out / "notes.txt").read_text() == "mine"
    (out / "coverage.json").unlink()
    assert run("coverage", sensors, "--out", out, "--force")[0] == 2
