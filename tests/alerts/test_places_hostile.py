"""Cities' files as they should not be, and an import that is killed: no row is lost uncounted, no index half made."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerts.gazetteer import Gazetteer
from alerts.places.files import LONGEST_ROW, PlacesError
from alerts.places.importing import Given, import_places
from alerts.places.own_addresses import DISTRICT, HOUSED
from localization.ellipse import Ellipse
from sensors.site import Geodetic

LATITUDE, LONGITUDE = 41.77, -72.68
HEADER = "LON,LAT,NUMBER,STREET\n"
KILLS = 6


def door(k, street="Elm St"):
    """A line of a table: the doors stand 10 m apart, a hundred in a row."""
    return f"{LONGITUDE + k % 100 * 1e-4:.7f},{LATITUDE + k // 100 * 1e-4:.7f},{k + 1},{street}\n"


def ground(west, south, east, north, **properties):
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    feature = {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    return json.dumps({"type": "FeatureCollection", "features": [feature]})


def imported(folder, **files):
    """Files by their name without its ending; what begins with a brace is GeoJSON."""
    given = []
    for name, content in files.items():
        path = folder / f"{name}.{'geojson' if content.lstrip()[:1] in ('{', b'{') else 'csv'}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        given.append(Given(path, name if name in ("parks", "parcels") else None))
    return import_places(given, folder / "places.db", force=True)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 199), min_size=1, max_size=8), st.booleans())
@example({0, 1}, True)
@example({150, 152, 199}, False)
def test_an_open_quotation_mark_costs_its_own_line_and_no_other(tmp_path_factory, broken, quoted):
    """It would swallow all that follows: with and without quotation marks in the other lines."""
    good = '"Elm St"' if quoted else "Elm St"
    lines = [door(k, '"Elm St' if k in broken else good) for k in range(200)]
    report = imported(tmp_path_factory.mktemp("city"), a=HEADER + "".join(lines))
    assert report.files[0].found == {"addresses": 200 - len(broken)}
    assert report.files[0].skipped == len(broken)
    assert report.files[0].examples[0] == f"line {min(broken) + 2} (a quotation mark that is not closed)"


def test_a_cell_may_have_line_breaks_and_quotation_marks_in_it(tmp_path):
    rows = ['1,Elm St,"on two\nlines, with ""marks"""', '2,"Elm" St,', '3,Elm St,5" pipe', '4,Elm St,"a\r\n\r\nb"']
    table = f"LON,LAT,NUMBER,STREET,NOTE\n{''.join(f'{LONGITUDE},{LATITUDE},{row}{chr(10)}' for row in rows)}"
    report = imported(tmp_path, a=table)
    assert (report.files[0].found, report.files[0].skipped) == ({"addresses": 4}, 0)


def test_a_line_beyond_all_measure_is_one_row_that_is_skipped(tmp_path):
    long = door(1, "x" * (2 * LONGEST_ROW) + f",{LONGITUDE},{LATITUDE},99,Elm St")
    report = imported(tmp_path, a=HEADER + door(0) + long + door(2))
    assert (report.files[0].found, report.files[0].skipped) == ({"addresses": 2}, 1)
    assert report.files[0].examples == (f"line 3 (longer than {LONGEST_ROW:,} letters)",)


def test_an_open_quotation_mark_before_a_line_beyond_all_measure_costs_these_two(tmp_path):
    long = "x" * (2 * LONGEST_ROW) + "\n"
    rows = [door(0), door(1, '"Elm St'), long, *(door(k) for k in range(2, 9))]
    report = imported(tmp_path, a=HEADER + "".join(rows))
    assert (report.files[0].found, report.files[0].skipped) == ({"addresses": 8}, 2)


def test_another_encoding_is_named_whatever_the_format(tmp_path):
    table = (HEADER + door(0, "Rue Montréal")).encode("latin-1")
    whole = ground(LONGITUDE, LATITUDE, -72.6, 41.8, leisure="park", name="Été").replace("\\u00c9t\\u00e9", "Été")
    for content in (table, whole.encode("latin-1"), whole.encode("utf-16")):
        with pytest.raises(PlacesError, match="not UTF-8; save it as UTF-8"):
            imported(tmp_path, a=content)
    point = {"type": "Point", "coordinates": [LONGITUDE, LATITUDE]}
    lines = [
        json.dumps(
            {"type": "Feature", "properties": {"number": "7", "street": name}, "geometry": point}, ensure_ascii=False
        )
        for name in ("Elm St", "Rue Montréal")
    ]
    report = imported(tmp_path, a="\n".join(lines).encode("latin-1"))
    assert report.files[0].examples == ("line 2 (not UTF-8)",)


@pytest.mark.parametrize("kind", ["parks", "parcels", "tagged"])
def test_ground_that_is_the_town_itself_silences_nobody_and_flags_nothing(tmp_path, kind):
    doors = HEADER + "".join(door(k) for k in range(DISTRICT))
    town = ground(
        -72.7, 41.7, -72.6, 41.8, name="Elmwick", **({"boundary": "protected_area"} if kind == "tagged" else {})
    )
    report = imported(tmp_path, a=doors, **{kind: town})
    assert (report.counts["addresses"], report.counts["large parcels"], report.counts["whole towns"]) == (
        DISTRICT,
        0,
        1,
    )
    with Gazetteer.open(report.into) as gazetteer:
        found = gazetteer.describe(LATITUDE, LONGITUDE)
    assert (found.address.text, found.large_parcel, found.parcel) == ("1 Elm St", None, None)


@pytest.mark.parametrize(("houses", "told"), [(HOUSED - 1, False), (HOUSED, True)])
def test_a_village_in_a_nature_reserve_has_addresses_of_its_own(tmp_path, houses, told):
    """And a park of few addresses has none."""
    doors = HEADER + "".join(door(k) for k in range(houses)) + door(10_000)
    reserve = ground(-72.69, 41.769, -72.66, 41.771, leisure="nature_reserve", name="Heron Marsh")
    with Gazetteer.open(imported(tmp_path, a=doors, b=reserve).into) as gazetteer:
        found = gazetteer.describe(LATITUDE, LONGITUDE)
    assert (found.address is not None, found.parcel) == (told, "Heron Marsh")


def test_an_address_on_the_edge_of_a_park_is_taken_for_the_parks_and_beats_share_their_edge(tmp_path):
    """Official addresses stand at the gate; a beat's edge is told as the same one of the two each time."""
    table = f"{HEADER}-72.67,41.76,1,Gate Rd\n-72.66,41.76,2,Elm St\n"
    park = ground(-72.68, 41.75, -72.67, 41.77, leisure="park", name="P")
    report = imported(tmp_path, a=table, b=park)
    assert (report.counts["addresses"], report.counts["own addresses"]) == (1, 1)
    with Gazetteer.open(report.into) as gazetteer:
        assert gazetteer.describe(41.76, -72.67).parcel == "P"


def region(latitude, longitude, major_m, minor_m=None):
    return tuple(Ellipse(major_m, minor_m or major_m, 45.0).outline(Geodetic(latitude, longitude, 0.0)))


@pytest.mark.parametrize("ranges", [False, True])
def test_of_a_region_larger_than_the_city_what_is_near_is_counted(tmp_path, ranges):
    """A fix of five kilometres is told as fast as one of one: its addresses within a kilometre, the nearest first."""
    far = [k * 1e-3 for k in range(100)]  # 111 m apart, northwards
    table = HEADER + "".join(f"{LONGITUDE},{LATITUDE + y:.6f},{100 * k + 1},Elm St\n" for k, y in enumerate(far))
    lines = [
        {
            "type": "Feature",
            "properties": {"FULLNAME": f"{k} St", "LFROMADD": "1", "LTOADD": "99", "RFROMADD": "2", "RTOADD": "98"},
            "geometry": {
                "type": "LineString",
                "coordinates": [[LONGITUDE - 1e-4, LATITUDE + y], [LONGITUDE + 1e-4, LATITUDE + y]],
            },
        }
        for k, y in enumerate(far)
    ]
    report = imported(tmp_path, a=json.dumps({"type": "FeatureCollection", "features": lines}) if ranges else table)
    with Gazetteer.open(report.into) as gazetteer:
        narrow = gazetteer.describe(LATITUDE, LONGITUDE, region(LATITUDE, LONGITUDE, 500.0))
        vague = gazetteer.describe(LATITUDE, LONGITUDE, region(LATITUDE, LONGITUDE, 5_000.0))
    assert (narrow.addresses_touched, vague.addresses_touched) == (5, 10)
    assert vague.addresses[:5] == narrow.addresses
    assert max(each.distance_m for each in vague.addresses) < 1_000.0


def test_a_region_over_the_line_of_180_degrees_or_a_pole_is_told_like_any_other(tmp_path):
    table = f"{HEADER}179.9995,-16.5,1,Coral Rd\n-179.9995,-16.5,2,Coral Rd\n179.98,-16.5,3,Coral Rd\n"
    with Gazetteer.open(imported(tmp_path, a=table).into) as gazetteer:
        for longitude in (180.0, -180.0, 179.9999, -179.9999):
            found = gazetteer.describe(-16.5, longitude, region(-16.5, longitude, 200.0))
            assert {each.text for each in found.addresses} == {"1 Coral Rd", "2 Coral Rd"}
        for latitude in (90.0, -90.0, 89.99999):
            for longitude in (0.0, 180.0, -72.0):
                ring = region(latitude, longitude, 5_000.0)
                assert gazetteer.describe(latitude, longitude, ring).addresses_touched == 0


# Killed.

IMPORT = """
import sys
from pathlib import Path
from alerts.places.importing import import_places
print("begun", flush=True)
import_places([Path(sys.argv[1])], Path(sys.argv[2]), force=True)
"""


def killed(root, table, into, after_s):
    """How an import in a process of its own ended that is killed so long after it began, and how long it ran."""
    child = subprocess.Popen([sys.executable, "-c", IMPORT, table, into], cwd=root, stdout=subprocess.PIPE)
    with child:
        assert child.stdout.readline() == b"begun\n"
        began = time.perf_counter()
        try:
            child.wait(after_s)
        except subprocess.TimeoutExpired:
            child.kill()
        return child.wait(), time.perf_counter() - began


def test_an_import_that_is_killed_leaves_the_index_as_it_was(root, tmp_path):
    """At instants drawn from the time that a whole one takes; what is there is the old or the new, byte for byte."""
    into = imported(tmp_path, a=HEADER + door(0)).into
    old = into.read_bytes()
    (tmp_path / "new.csv").write_text(HEADER + "".join(door(k, "Oak St") for k in range(4_000)))
    ended, lasts_s = killed(root, tmp_path / "new.csv", tmp_path / "whole.db", 600.0)
    new = (tmp_path / "whole.db").read_bytes()
    dice, kills = random.Random(6), 0  # noqa: S311  (dice, no secret)
    while kills < KILLS:
        into.write_bytes(old)
        ended, ran_s = killed(root, tmp_path / "new.csv", into, dice.uniform(0.0, lasts_s))
        assert ended in (0, -9)
        assert into.read_bytes() in ((new,) if ended == 0 else (old, new))
        with Gazetteer.open(into) as gazetteer:
            gazetteer.verify()
        kills += ended == -9
        lasts_s = min(lasts_s, 0.9 * ran_s) if ended == 0 else lasts_s  # it was quicker than the first
