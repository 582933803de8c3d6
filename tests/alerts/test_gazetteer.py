"""The gazetteer on real cities, beside a search through everything, and as a file that may be gone, old or broken."""

from __future__ import annotations

import csv
import json
import pickle
import sqlite3
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.gazetteer import FARTHEST_ADDRESS_M, FARTHEST_INTERSECTION_M, LISTED, Gazetteer, GazetteerError
from alerts.places.ground import away, boxes_round, from_plane, plane
from alerts.places.importing import import_places
from localization.ellipse import Ellipse
from sensors.site import Geodetic
from tests import naive_gazetteer as naive


def table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("number", "street", "latitude", "longitude"))
        writer.writerows(rows)
    return path


def region(latitude, longitude, major_m, minor_m=None, azimuth_deg=0.0):
    return tuple(Ellipse(major_m, minor_m or major_m, azimuth_deg).outline(Geodetic(latitude, longitude, 0.0)))


def points_of(gazetteer, name):
    connection = sqlite3.connect(gazetteer.path)
    rows = connection.execute(f"SELECT latitude, longitude, text FROM {name}").fetchall()  # noqa: S608
    connection.close()
    return rows


@pytest.fixture(scope="module")
def hartford(shared, tmp_path_factory):
    into = tmp_path_factory.mktemp("hartford") / "places.db"
    files = [shared / "geo" / "hartford_gazetteer.csv", shared / "geo" / "hartford_hpd_neighborhoods.geojson"]
    report = import_places(files, into)
    assert report.counts["addresses"] == 3123
    assert report.counts["intersections"] == 1244
    assert report.counts["beats"] == 17
    with Gazetteer.open(into) as gazetteer:
        yield gazetteer


@pytest.fixture(scope="module")
def baltimore(shared, tmp_path_factory):
    into = tmp_path_factory.mktemp("baltimore") / "places.db"
    import_places([shared / "geo" / f"baltimore_{name}.geojson" for name in ("streets", "buildings")], into)
    with Gazetteer.open(into) as gazetteer:
        yield gazetteer


@pytest.fixture(scope="module")
def cincinnati(shared, tmp_path_factory):
    into = tmp_path_factory.mktemp("cincinnati") / "places.db"
    import_places([shared / "geo" / "cincinnati_core_address_ranges.geojson"], into)
    with Gazetteer.open(into) as gazetteer:
        yield gazetteer


def hartford_rows(shared, kind):
    with (shared / "geo" / "hartford_gazetteer.csv").open() as stream:
        return [row for row in csv.DictReader(stream) if row["kind"] == kind]


def test_every_address_of_hartford_finds_itself(shared, hartford):
    for row in hartford_rows(shared, "address"):
        x, y = float(row["lon"]), float(row["lat"])
        square = tuple((x + 1e-6 * dx, y + 1e-6 * dy) for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)))
        found = hartford.describe(y, x, square)
        assert found.address.distance_m == 0.0
        assert found.address.bearing_deg == 0.0
        assert row["name"] in {one.text for one in found.addresses}


def test_every_intersection_of_hartford_finds_itself(shared, hartford):
    by_place = {}
    for row in hartford_rows(shared, "intersection"):
        by_place.setdefault((float(row["lat"]), float(row["lon"])), set()).add(row["name"])
    for place, names in by_place.items():
        found = hartford.describe(*place)
        assert found.intersection.distance_m == 0.0
        assert found.intersection.text in names


def test_every_neighbourhood_of_hartford_is_the_one_that_holds_the_place(shared, hartford):
    layer = json.loads((shared / "geo" / "hartford_hpd_neighborhoods.geojson").read_text())
    dice = np.random.default_rng(3)
    rings = {each["properties"]["NAME"]: each["geometry"]["coordinates"] for each in layer["features"]}
    told = 0
    for _ in range(300):
        latitude, longitude = dice.uniform(41.72, 41.81), dice.uniform(-72.72, -72.64)
        holding = {name for name, ring in rings.items() if naive.inside(ring[0], latitude, longitude)}
        beat = hartford.describe(latitude, longitude).beat
        assert {beat} == holding or (beat is None and not holding)
        told += beat is not None
    assert told > 100


@pytest.mark.parametrize(
    ("city", "count"),
    [
        ("baltimore", 1000),
        ("hartford", 200),
        pytest.param("baltimore", 20_000, marks=pytest.mark.endurance),
        pytest.param("hartford", 20_000, marks=pytest.mark.endurance),
    ],
)
def test_the_nearest_is_that_of_a_search_through_all(city, count, request):
    gazetteer = request.getfixturevalue(city)
    addresses, crossings = (naive.arrays(points_of(gazetteer, name)) for name in ("address", "crossing"))
    dice = np.random.default_rng(11)
    latitudes, longitudes = (np.sort(values) for values in addresses[:2])
    absent = 0
    for _ in range(count):
        # A little beyond the city too, where nothing is near.
        latitude = dice.uniform(latitudes[0] - 0.004, latitudes[-1] + 0.004)
        longitude = dice.uniform(longitudes[0] - 0.004, longitudes[-1] + 0.004)
        found = gazetteer.describe(latitude, longitude)
        for told, points, farthest_m in (
            (found.address, addresses, FARTHEST_ADDRESS_M),
            (found.intersection, crossings, FARTHEST_INTERSECTION_M),
        ):
            expected = naive.nearest(points, latitude, longitude, farthest_m)
            absent += expected is None
            assert (told is None) == (expected is None)
            if told is not None:
                assert told.distance_m == pytest.approx(expected[0], abs=0.051)
                assert told.text in expected[1]
    assert absent > 0


def test_a_bearing_leads_from_the_address_to_the_place(hartford):
    place = (41.7700, -72.6700)
    told = hartford.describe(*place).address
    (there,) = [row for row in points_of(hartford, "address") if row[2] == told.text]
    longitude, latitude, _ = naive.GEOD.fwd(there[1], there[0], told.bearing_deg, told.distance_m)
    assert naive.GEOD.inv(longitude, latitude, place[1], place[0])[2] < 0.5


def test_blocks_of_cincinnati_are_those_of_the_ranges_beside_the_place(shared, cincinnati):
    """From the middle of each stretch that stands alone: its street, and a hundred that its range holds."""
    layer = json.loads((shared / "geo" / "cincinnati_core_address_ranges.geojson").read_text())
    told = 0
    for feature in layer["features"][::25]:
        (x1, y1), (x2, y2) = feature["geometry"]["coordinates"][:2]
        found = cincinnati.describe((y1 + y2) / 2, (x1 + x2) / 2, region((y1 + y2) / 2, (x1 + x2) / 2, 3.0))
        assert found.address.distance_m <= 0.1
        name, low = feature["properties"]["name"], feature["properties"]["lo"] // 100 * 100
        told += any(one.text.endswith(name) and one.text.startswith(str(low or "unit")) for one in found.addresses)
        assert "block" in found.address.text
    assert told == len(layer["features"][::25])


# Laws, on cities made up by dice.


@pytest.fixture(scope="module")
def scattered(tmp_path_factory):
    """Doors everywhere: in a town, on both sides of the line of 180 degrees, far north."""
    dice = np.random.default_rng(5)
    cities = {}
    for name, centre in {"town": (41.77, -72.68), "fiji": (-16.8, 179.9995), "tromso": (69.65, 18.95)}.items():
        rows = []
        for k in range(400):
            latitude, longitude = from_plane(*centre, dice.normal(0.0, 250.0), dice.normal(0.0, 250.0))
            longitude = (longitude + 180.0) % 360.0 - 180.0
            rows.append((k + 1, "High St", round(latitude, 7), round(longitude, 7)))
        folder = tmp_path_factory.mktemp(name)
        import_places([table(folder / "doors.csv", rows)], folder / "places.db")
        cities[name] = (
            centre,
            [(row[2], row[3], f"{row[0]} High St") for row in rows],
            Gazetteer.open(folder / "places.db"),
        )
    yield cities
    for *_, gazetteer in cities.values():
        gazetteer.close()


@given(
    city=st.sampled_from(["town", "fiji", "tromso"]),
    east_m=st.floats(-900, 900),
    north_m=st.floats(-900, 900),
    major_m=st.floats(1, 400),
    round_share=st.floats(0.05, 1),
    azimuth_deg=st.floats(0, 179.9),
)
@settings(max_examples=60)
def test_what_a_region_touches_is_what_lies_in_its_ring(
    scattered, city, east_m, north_m, major_m, round_share, azimuth_deg
):
    centre, points, gazetteer = scattered[city]
    latitude, longitude = from_plane(*centre, east_m, north_m)
    longitude = (longitude + 180.0) % 360.0 - 180.0
    ring = region(latitude, longitude, major_m, major_m * round_share, azimuth_deg)
    found = gazetteer.describe(latitude, longitude, ring)
    beside = [(longitude + (x - longitude + 180.0) % 360.0 - 180.0, y) for x, y in ring]
    holds = {
        text for y, x, text in points if naive.inside(beside, y, longitude + (x - longitude + 180.0) % 360.0 - 180.0)
    }
    assert found.addresses_touched == len(holds)
    assert len(found.addresses) == min(len(holds), LISTED)
    assert {one.text for one in found.addresses} <= holds
    distances = [one.distance_m for one in found.addresses]
    assert distances == sorted(distances)
    listed = sorted(naive.GEOD.inv(x, y, longitude, latitude)[2] for y, x, text in points if text in holds)[:LISTED]
    assert distances == pytest.approx(listed, abs=0.051)
    expected = naive.nearest(naive.arrays(points), latitude, longitude, FARTHEST_ADDRESS_M)
    assert (found.address is None) == (expected is None)
    if expected is not None:
        assert found.address.text in expected[1]


@given(st.floats(-85, 85), st.floats(-180, 180), st.floats(-2000, 2000), st.floats(-2000, 2000))
def test_the_plane_agrees_with_the_ellipsoid(latitude, longitude, east_m, north_m):
    there = from_plane(latitude, longitude, east_m, north_m)
    back = plane(latitude, longitude, np.array([there[0]]), np.array([there[1]]))
    assert np.allclose([float(v[0]) for v in back], (east_m, north_m), atol=1e-3)
    distance_m = naive.GEOD.inv(longitude, latitude, there[1], there[0])[2]
    if abs(latitude) < 75.0:
        assert distance_m == pytest.approx(np.hypot(east_m, north_m), rel=1e-5, abs=0.01)
        assert away(latitude, longitude, *there)[0] == pytest.approx(distance_m, abs=0.051)


@given(st.floats(-89, 89), st.floats(-180, 180), st.floats(0, 359.9), st.floats(0.1, 2000))
def test_boxes_hold_whatever_is_within_reach(latitude, longitude, azimuth_deg, reach_m):
    x, y, _ = naive.GEOD.fwd(longitude, latitude, azimuth_deg, reach_m * 0.999)
    assert any(
        west - 1e-9 <= x <= east + 1e-9 and south - 1e-9 <= y <= north + 1e-9
        for west, east, south, north in boxes_round(latitude, longitude, reach_m)
    )


def test_a_query_is_much_faster_than_going_through_all(tmp_path):
    dice = np.random.default_rng(9)
    points = [(41.7 + dice.random() * 0.1, -72.7 + dice.random() * 0.1) for _ in range(8_000)]
    rows = [(k + 1, "High St", *point) for k, point in enumerate(points)]
    import_places([table(tmp_path / "doors.csv", rows)], tmp_path / "places.db")
    doors = naive.arrays([(*point, str(k)) for k, point in enumerate(points)])
    places = [(41.7 + dice.random() * 0.1, -72.7 + dice.random() * 0.1) for _ in range(20)]

    def took(ask):
        ask(*places[0])  # what is loaded at the first call
        began = time.thread_time()
        for place in places:
            ask(*place)
        return time.thread_time() - began

    with Gazetteer.open(tmp_path / "places.db") as gazetteer:
        ours = min(took(gazetteer.describe) for _ in range(3))
    theirs = min(took(lambda y, x: naive.nearest(doors, y, x, FARTHEST_ADDRESS_M)) for _ in range(2))
    assert theirs > 3.0 * ours  # some 20 times, measured


# The file.


@pytest.fixture
def small(tmp_path):
    import_places([table(tmp_path / "doors.csv", [(1, "High St", 41.0, -72.0)])], tmp_path / "places.db")
    return tmp_path / "places.db"


def test_a_pickled_gazetteer_is_its_path_and_digest(small):
    with Gazetteer.open(small) as gazetteer:
        told = gazetteer.describe(41.001, -72.0)
        again = pickle.loads(pickle.dumps(gazetteer))  # noqa: S301
        twice = pickle.loads(pickle.dumps(again))  # noqa: S301
    assert told.address.text == "1 High St"
    assert again.describe(41.001, -72.0) == twice.describe(41.001, -72.0) == told
    assert again.sha256 == gazetteer.sha256
    again.close()
    twice.close()
    assert again.describe(41.001, -72.0) == told  # opens again
    again.close()


def test_a_file_that_went_or_changed_is_refused_when_something_is_asked_and_not_before(small, tmp_path):
    with Gazetteer.open(small) as gazetteer:
        kept = pickle.dumps(gazetteer)
    import_places([table(tmp_path / "other.csv", [(2, "High St", 41.0, -72.0)])], small, force=True)
    changed = pickle.loads(kept)  # noqa: S301
    with pytest.raises(GazetteerError, match="not the places it held before"):
        changed.describe(41.0, -72.0)
    small.unlink()
    gone = pickle.loads(kept)  # noqa: S301
    with pytest.raises(GazetteerError, match="no such file; make it with shotfix places import"):
        gone.describe(41.0, -72.0)


def test_a_running_gazetteer_keeps_its_file_when_another_takes_its_name(small, tmp_path):
    with Gazetteer.open(small) as gazetteer:
        import_places([table(tmp_path / "other.csv", [(2, "High St", 41.0, -72.0)])], small, force=True)
        assert gazetteer.describe(41.0, -72.0).address.text == "1 High St"


def test_a_file_written_over_in_place_is_told_from_no_more(small, tmp_path):
    """By `cp`: it may be as long as the other, and half of it may be in memory."""
    whole, other = small.read_bytes(), tmp_path / "other.db"
    import_places([table(tmp_path / "other.csv", [(2, "High St", 41.0, -72.0)])], other)
    assert len(other.read_bytes()) == len(whole)
    with Gazetteer.open(small) as gazetteer:
        assert gazetteer.describe(41.0, -72.0).address.text == "1 High St"
        for content, said in (
            (other.read_bytes(), "not the places it held before"),
            (whole[:4096], "damaged|not read"),
        ):
            small.write_bytes(content)
            for _ in range(2):
                with pytest.raises(GazetteerError, match=said):
                    gazetteer.describe(41.0, -72.0)
        small.write_bytes(whole)
        assert gazetteer.describe(41.0, -72.0).address.text == "1 High St"


@pytest.mark.parametrize("content", [b"", b"not a database at all, whatever it is named" * 100, b"SQLite format 3\x00"])
def test_what_is_no_file_of_places_is_refused_with_the_remedy(tmp_path, content):
    path = tmp_path / "places.db"
    path.write_bytes(content)
    with pytest.raises(GazetteerError, match="shotfix places import"):
        Gazetteer.open(path)
    assert path.read_bytes() == content


def test_another_database_and_another_format_are_refused(tmp_path, small):
    other = tmp_path / "record.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE about (key TEXT, value TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(GazetteerError, match="no file of places"):
        Gazetteer.open(other)
    connection = sqlite3.connect(small)
    connection.execute("UPDATE about SET value = '2' WHERE key = 'format'")
    connection.commit()
    connection.close()
    with pytest.raises(GazetteerError, match="format 2, and this program reads 1; import the city's files again"):
        Gazetteer.open(small)


def test_a_changed_content_is_refused(small):
    with Gazetteer.open(small) as gazetteer:
        gazetteer.verify()
    connection = sqlite3.connect(small)
    connection.execute("UPDATE address SET text = '2 High St'")
    connection.commit()
    connection.close()
    with pytest.raises(GazetteerError, match="damaged or changed since it was made"):
        Gazetteer.open(small)


@pytest.mark.parametrize("copies", [60, pytest.param(10_000, marks=pytest.mark.endurance)])
def test_torn_files_say_so_and_never_tell_anything_else(small, copies):
    """Bytes turned over anywhere: one kind of error, and it says what to do."""
    whole = small.read_bytes()
    dice = np.random.default_rng(1)
    for _ in range(copies):
        torn = bytearray(whole)
        for place in dice.choice(len(torn), dice.choice((1, 10, 100)), replace=False):
            torn[place] ^= 1 << int(dice.integers(8))
        small.write_bytes(bytes(torn[: dice.choice((len(torn), dice.integers(len(torn))))]))
        with pytest.raises(GazetteerError, match=r"shotfix places import|import the city's files again"):
            Gazetteer.open(small)


def test_nothing_is_written_beside_it_and_several_threads_may_ask(hartford):
    before = sorted(hartford.path.parent.iterdir())
    expected = [hartford.describe(41.74 + 0.003 * k, -72.68, region(41.74, -72.68, 50.0)) for k in range(20)]
    wrong = []

    def ask():
        for _ in range(5):
            found = [hartford.describe(41.74 + 0.003 * k, -72.68, region(41.74, -72.68, 50.0)) for k in range(20)]
            if found != expected:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(hartford.path.parent.iterdir()) == before


@pytest.mark.parametrize("place", [(91.0, 0.0), (0.0, 181.0), (float("nan"), 0.0)])
def test_what_is_no_place_is_the_callers_mistake(small, place):
    with Gazetteer.open(small) as gazetteer, pytest.raises(ValueError, match="no place"):
        gazetteer.describe(*place)
