"""Scoring from the shell: every figure that is promised, a table to read, a picture or a clear line."""

from __future__ import annotations

import csv
import json
import math
import shutil

import pytest

from tests import streets
from tests.command_line import run

PLACES = [(60.0, -80.0), (-120.0, 40.0)]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Two places, three rounds at each; the second scene's network is another one, of the same names."""
    root = tmp_path_factory.mktemp("range")
    scenes = []
    for number, place in enumerate(PLACES):
        city, folder = streets.square(600.0 + 20.0 * number), root / f"FP{number}"
        folder.mkdir()
        (folder / "scene.toml").write_text(
            f'name = "Range, FP{number}"\nframe = "local"\nstart_utc = "2026-11-21T03:00:00Z"\n'
        )
        heard = [d for k in range(3) for d in streets.bang(city, place, 3.0 + k, noise_s=0.0005, seed=k)]
        sites = [(s.sensor_id, s.position.east_m, s.position.north_m, s.position.up_m, 0, 3600) for s in city.sites]
        table(folder / "sensors.csv", "sensor_id east_m north_m up_m listen_from_s listen_to_s", sites)
        times = [
            (
                d.sensor_id,
                f"{(d.pick.onset_ns - streets.START_NS) / 1e9:.9f}",
                d.pick.level_db_spl,
                d.llr,
                d.pick.p_outlier,
            )
            for d in heard
        ]
        table(folder / "pulses.csv", "sensor_id time_s level_db_spl llr p_outlier", times)
        truth = [(f"t{k}", "gunshot", 3.0 + k, *place, 1.5, 0.5) for k in range(3)]
        table(folder / "truth.csv", "shot_id class time_s east_m north_m up_m sigma_m", truth)
        scenes.append(folder)
    assert run("locate", *scenes, "--out", root / "out")[0] == 0
    return root / "out", scenes


def table(path, columns, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns.split(), *rows])


def test_figures(scored):
    folder, scenes = scored
    code, said, _ = run("score", folder, *scenes, "--json")
    figures = json.loads(said)["all"]
    assert code == 0
    assert (figures["found"], figures["gunshots"], figures["clusters"]) == (6, 6, 2)
    assert figures["rounds"]["exact"] == figures["rounds"]["bursts"] == 2
    assert figures["array_days"] == pytest.approx(2.0 / 24.0)
    assert figures["false_fixes_per_array_day_interval"][1] == pytest.approx(-math.log(0.025) * 12.0)
    assert [row["stated"] for row in figures["reliability"]] == [0.5, 0.68, 0.8, 0.9, 0.95, 0.99]
    held = [row["held"] for row in figures["reliability"]]
    assert held == sorted(held)
    assert held[4] == figures["held_share"]
    assert [row["position"] for row in figures["positions"]] == ["FP0", "FP1"]
    assert figures["area_median_m2"] > 0.0
    assert figures["one_mode"]["shots"] + figures["several_modes"]["shots"] == 6


def test_table(scored):
    folder, scenes = scored
    said = run("score", folder, *scenes)[1]
    for line in ("rounds      2 of 2 bursts", "reliability stated, %", "in 0.0833 array-days", "FP0", "FP1", "scatter"):
        assert line in said
    assert max(map(len, said.splitlines())) <= 120


@pytest.mark.parametrize(("name", "begins"), [("s.png", b"\x89PNG"), ("s.SVG", b"<?xml"), ("s.pdf", b"%PDF")])
def test_picture(scored, tmp_path, name, begins):
    folder, scenes = scored
    assert run("score", folder, *scenes, "--plot", tmp_path / name)[0] == 0
    assert (tmp_path / name).read_bytes().startswith(begins)
    first = (tmp_path / name).read_bytes()
    run("score", folder, *scenes, "--plot", tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_no_such_picture(scored, tmp_path):
    folder, scenes = scored
    code, _, complaint = run("score", folder, *scenes, "--plot", tmp_path / "s.xyz")
    assert code == 2
    assert ".png, .svg, .pdf" in complaint
    code, _, complaint = run("score", folder, *scenes, "--plot", tmp_path / "absent" / "s.png")
    assert code == 74
    assert f"there is no folder {tmp_path / 'absent'}; make it first, or name another file" in complaint
    assert not list(tmp_path.iterdir())


def test_nothing_found_is_drawn_too(scored, tmp_path):
    """A run without a fix: figures say none, the picture stays empty."""
    folder, scenes = scored
    lonely = tmp_path / "out"
    lonely.mkdir()
    for path in (folder / "FP0").iterdir():
        (lonely / path.name).write_bytes(path.read_bytes())
    for name in ("shots.csv", "modes.csv"):
        (lonely / name).write_text((lonely / name).read_text().splitlines()[0] + "\n")
    (lonely / "alerts.jsonl").write_text("")
    summary = json.loads((lonely / "summary.json").read_text())
    summary["counts"] |= {"shots": 0, "fixes": 0, "revisions": 0}
    (lonely / "summary.json").write_text(json.dumps(summary))
    code, said, _ = run("score", lonely, scenes[0], "--plot", tmp_path / "s.png", "--json")
    figures = json.loads(said)["all"]
    assert code == 0
    assert (figures["found"], figures["error_median_m"], figures["held_share"]) == (0, None, None)
    assert figures["rounds"] == {
        "bursts": 1,
        "exact": 0,
        "over": 0,
        "under": 1,
        "within_one": 0,
        "fired": 3,
        "counted": 0,
    }
    assert (tmp_path / "s.png").stat().st_size > 10_000
    assert "found       0 of 3" in run("score", lonely, scenes[0])[1]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("option", ["--within", "--least-found", "--most-median", "--least-held"])
def test_bounds_are_numbers(scored, option, value):
    folder, scenes = scored
    code, said, complaint = run("score", folder, *scenes, option, value)
    assert (code, said) == (2, "")
    assert "is not a finite number" in complaint


@pytest.mark.parametrize("name", ["shots.csv", "modes.csv"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda _: "", "row 1: not as a run writes it (no column"),
        (lambda _: "junk\n1\n", "row 1: not as a run writes it (no column"),
        (lambda text: text[: text.rindex(",") - 1], "cells under"),
        (lambda text: text[:-1], "row 4: ends in the middle"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "where summary.json counts 3"),
    ],
)
def test_a_torn_run_is_not_scored(scored, tmp_path, name, spoil, says):
    """Half a table would be a low score, and a wrong one."""
    folder, scenes = scored
    torn = tmp_path / "torn"
    shutil.copytree(folder / "FP0", torn)
    (torn / name).write_text(spoil((torn / name).read_text()))
    code, said, complaint = run("score", torn, scenes[0])
    assert (code, said) == (65, "")
    assert str(torn / name) in complaint
    assert says in complaint
    assert complaint.count("\n") == 1
