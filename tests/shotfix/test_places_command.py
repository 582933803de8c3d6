"""The commands of places: what they print, how they end, and what they leave."""

from __future__ import annotations

import json
import shutil

import click
import pytest
from click.testing import CliRunner

from alerts.gazetteer import Gazetteer
from alerts.places import meaning
from shotfix.command_line import BAD_DATA, USAGE, Commands
from shotfix.commands_places import KINDS, places


def run(*arguments):
    group = click.Group("shotfix", commands={"places": places})
    group.__class__ = Commands  # ends as the whole program does
    return CliRunner().invoke(group, ["places", *map(str, arguments)])


@pytest.fixture
def town(root, tmp_path):
    shutil.copytree(root / "fixtures" / "places", tmp_path / "city")
    return tmp_path / "city"


def test_a_city_is_imported_and_asked(town, tmp_path):
    into = tmp_path / "places.db"
    files = ["addresses.csv", "streets.geojson", "grounds.geojson"]
    beats = ["--as", "beats", town / "beats.geojson", "--attribution", "Invented, CC0"]
    ended = run("import", *(town / name for name in files), *beats, "--into", into)
    assert ended.exit_code == 0, ended.output
    with Gazetteer.open(into) as gazetteer:
        digest = gazetteer.sha256
    made = f"{into}: 88 addresses, 3 intersections, 2 beats, 3 large parcels"
    assert ended.output.splitlines() == [
        "read 90 addresses from addresses.csv",
        "read 6 streets from streets.geojson; passed over 1 footpaths and the like, 1 lines without a name",
        "read 3 large parcels from grounds.geojson; passed over 1 parcels that are not large",
        "read 2 beats from beats.geojson",
        f"{made}; 2 addresses stand for large parcels as a whole, and are never told; sha256 {digest}",
        "attribution: Invented, CC0",
    ]
    ended = run("look", "41.7658", "-72.6734", "--in", into)
    assert ended.output.splitlines() == [
        "Address:       235 m west of 158 LINDEN ST",
        "Intersection:  237 m south-west of Hazel Court & Linden Street",
        "Beat:          12 West",
        "Large parcel:  inside Alder Meadow Park",
        "Attribution:   Invented, CC0",
    ]
    ended = run("look", "41.7658", "-72.6705", "--in", into, "--radius", "40", "--json")
    told = json.loads(ended.output)
    assert (told["address"]["text"], told["addresses_touched"], told["beat"]) == ("158 LINDEN ST", 2, "14 East")
    assert (told["large_parcel"], told["parcel"], told["sha256"]) == (False, None, digest)
    assert "Around it:     2 addresses" in run("look", "41.7658", "-72.6705", "--in", into, "--radius", "40").output
    assert "none near enough" in run("look", "10", "10", "--in", into).output


def test_whose_the_data_are_is_told_to_machines_too(town, tmp_path):
    streets, into = town / "streets.geojson", tmp_path / "places.db"
    streets.write_text(json.dumps(json.loads(streets.read_text()) | {"copyright": "OpenStreetMap contributors, ODbL"}))
    run("import", streets, "--attribution", "City of Elmwick", "--into", into)
    told = json.loads(run("look", "41.7658", "-72.6734", "--in", into, "--json").output)
    assert told["attribution"] == "City of Elmwick; OpenStreetMap contributors, ODbL"


def test_what_was_made_can_be_read_by_a_machine(town, tmp_path):
    into = tmp_path / "places.db"
    ended = run("import", *sorted(town.iterdir()), "--into", into, "--json")
    told = json.loads(ended.output)
    assert told["counts"] == {
        "addresses": 88, "intersections": 3, "blocks": 0, "beats": 2, "large_parcels": 3, "own_addresses": 2,
        "whole_towns": 0,
    }  # fmt: skip
    assert [one["file"] for one in told["files"]] == [
        "addresses.csv",
        "beats.geojson",
        "grounds.geojson",
        "streets.geojson",
    ]
    assert told["files"][0] == {
        "file": "addresses.csv", "read": {"addresses": 90}, "passed_over": {}, "skipped": 0, "examples": [],
        "attribution": "",
    }  # fmt: skip
    assert told["into"] == str(into)


def test_mistakes_of_usage_end_with_two_and_bad_data_with_sixty_five(town, tmp_path):
    into = tmp_path / "places.db"
    addresses = town / "addresses.csv"
    for arguments, words in (
        ((), "no file to read"),
        (("--as", "bats", addresses), "'bats' is not one of"),
        ((addresses, "--columns", "street"), "expected MEANING=COLUMN, as street=ROADNAME"),
        ((addresses, "--columns", "road=STREET"), "road: no meaning of a column"),
    ):
        ended = run("import", *arguments, "--into", into)
        assert ended.exit_code == USAGE, ended.output
        assert words in ended.output
    ended = run("import", town / "none.csv", "--into", into)
    assert (ended.exit_code, ended.output) == (BAD_DATA, f"shotfix: {town / 'none.csv'}: no such file\n")
    addresses.write_text("lon,lat,number,street\n41.7,-72.6,1,Elm St\n")
    ended = run("import", addresses, "--into", into)
    assert ended.exit_code == BAD_DATA
    assert "latitude and longitude seem exchanged" in ended.output
    assert ended.output.count("\n") == 1
    assert not into.exists()
    ended = run("look", "41", "-72", "--in", into)
    assert ended.exit_code == BAD_DATA
    assert "make it with shotfix places import" in ended.output
    assert run("look", "91", "-72", "--in", into).exit_code == USAGE


def test_a_file_of_no_use_among_others_is_bad_data_and_says_what_it_lacks(town, tmp_path):
    into, useless = tmp_path / "places.db", tmp_path / "numbers.geojson"
    point = {"type": "Point", "coordinates": [-76.61, 39.29]}
    feature = {"type": "Feature", "geometry": point, "properties": {"addr:housenumber": "12"}}
    useless.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    ended = run("import", town / "addresses.csv", useless, "--into", into)
    assert ended.exit_code == BAD_DATA
    assert "no street in this file, 1 house numbers alone" in ended.output
    assert not into.exists()
    feature["properties"] = {"natural": "tree"}
    useless.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert run("import", town / "addresses.csv", useless, "--into", into).exit_code == BAD_DATA


def test_it_replaces_only_what_it_may(town, tmp_path):
    into = tmp_path / "places.db"
    assert run("import", town / "addresses.csv", "--into", into).exit_code == 0
    ended = run("import", town / "addresses.csv", "--into", into)
    assert ended.exit_code == USAGE
    assert "replace it with --force" in ended.output
    assert run("import", town / "addresses.csv", "--into", into, "--force").exit_code == 0


def test_a_parcel_that_is_the_town_is_said_to_be_left_out(tmp_path):
    doors = [f"{41.77 + k * 1e-5:.6f},-72.68,{k + 1},Elm St" for k in range(1_000)]
    (tmp_path / "a.csv").write_text("lat,lon,number,street\n" + "\n".join(doors))
    ring = [[-72.7, 41.7], [-72.6, 41.7], [-72.6, 41.8], [-72.7, 41.8], [-72.7, 41.7]]
    limits = {
        "type": "Feature",
        "properties": {"name": "Elmwick"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    (tmp_path / "limits.geojson").write_text(json.dumps(limits))
    ended = run("import", tmp_path / "a.csv", "--as", "parks", tmp_path / "limits.geojson", "--into", tmp_path / "p.db")
    assert ": 1,000 addresses; left out 1 large parcels that hold most of the town; sha256 " in ended.output


def test_columns_can_be_named(tmp_path):
    (tmp_path / "a.csv").write_text("N,E,NR,ROAD\n41.77,-72.68,5,Elm St\n")
    names = ["--columns", "latitude=N, longitude=E", "--columns", "number=NR,street=ROAD"]
    ended = run("import", tmp_path / "a.csv", *names, "--into", tmp_path / "places.db")
    assert ended.exit_code == 0, ended.output
    assert "5 Elm St" in run("look", "41.77", "-72.68", "--in", tmp_path / "places.db").output


def test_the_kinds_are_those_of_the_importer():
    assert meaning.KINDS == KINDS
