"""Places: degrees or metres, regions that hold what they say, and the national grid against published values."""

from __future__ import annotations

import importlib.util
import json
import math
import pickle
import re

import msgspec
import pyproj
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from acoustic.instant import after
from alerts.desk import Desk
from alerts.gazetteer import Gazetteer
from alerts.grid import national_grid
from alerts.place import Address, Intersection, Place, Surroundings, SurveyError, place_of
from alerts.places.importing import Given, import_places
from alerts.words import lines
from tests.strategies import HARTFORD, NIGHT_NS, fix_at

# Truncated to 1 m by NGA's GeoTrans (package mgrs 1.6.0): city by city, then the edges of the grid's rules: Norway's
# and Svalbard's wide zones, the equator, the last bands of north and south.
GEOTRANS = [
    (41.7658, -72.6734, "18TXM9339426390"),
    (40.7128, -74.006, "18TWL8395907350"),
    (38.8895, -77.0352, "18SUJ2348606483"),
    (55.75, 37.62, "37UDB1338079118"),
    (-33.8688, 151.2093, "56HLH3436850948"),
    (-45.0, -70.0, "19GDL2118416563"),
    (60.0, 5.0, "32VKM7697958157"),
    (78.2, 15.6, "33XWG1369680760"),
    (0.0, 39.0, "37NEA0000000000"),
    (83.9, 20.0, "33XWP5924519502"),
    (-79.9, 0.5, "31CDM5107028524"),
]


@pytest.mark.parametrize(("latitude", "longitude", "expected"), GEOTRANS)
def test_the_national_grid_agrees_with_geotrans(latitude, longitude, expected):
    assert national_grid(latitude, longitude, 5).replace(" ", "") == expected
    ten_metres = national_grid(latitude, longitude)
    assert ten_metres.replace(" ", "") == expected[:5] + expected[5:9] + expected[10:14]


def test_the_national_grid_is_written_as_it_is_read_and_ends_at_the_poles():
    assert national_grid(41.7658, -72.6734) == "18T XM 9339 2639"
    assert national_grid(84.1, 0.0) is None
    assert national_grid(-80.1, 0.0) is None
    assert national_grid(-1e-12, 39.0) == "37M EV 0000 9999"
    assert national_grid(0.0, 180.0) == national_grid(0.0, -180.0)
    with pytest.raises(ValueError, match="1 to 5"):
        national_grid(0.0, 0.0, 6)


@given(st.floats(-79.9, 83.9), st.floats(-180, 179.999))
def test_a_grid_square_holds_its_place(latitude, longitude):
    """Read back with another formulation: the zone's own projection, square letters by position in the alphabet."""
    zone, square, east, north = national_grid(latitude, longitude, 5).split(" ")
    number = int(zone[:2])
    utm = pyproj.Proj(proj="utm", zone=number, ellps="WGS84", south=latitude < 0)
    east_m, north_m = utm(longitude, latitude)
    assume(all(0.001 < value % 1e5 < 1e5 - 0.001 for value in (east_m, north_m)))
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    assert int(east) - 1 < east_m % 1e5 < int(east) + 2
    assert int(north) - 1 < north_m % 1e5 < int(north) + 2
    assert letters.index(square[0]) == (number - 1) % 3 * 8 + int(east_m // 1e5) - 1
    assert letters.index(square[1]) == (int(north_m // 1e5) + (5 if number % 2 == 0 else 0)) % 20


def test_a_place_on_the_earth_has_degrees_and_a_region_round_it():
    fix = fix_at("a", east_m=30.0, north_m=40.0, frame=HARTFORD)
    place = place_of(fix, "site")
    assert (place.frame, place.east, place.north) == (None, None, None)
    azimuth, _, distance_m = pyproj.Geod(ellps="WGS84").inv(-72.6734, 41.7658, place.longitude, place.latitude)
    assert distance_m == pytest.approx(50.0, abs=0.02)
    assert azimuth == pytest.approx(math.degrees(math.atan2(30.0, 40.0)), abs=0.05)
    (ring,) = place.polygon.coordinates
    assert ring[0] == ring[-1]
    away = [
        pyproj.Geod(ellps="WGS84").inv(place.longitude, place.latitude, longitude, latitude)[2]
        for longitude, latitude in ring
    ]
    assert min(away) == pytest.approx(place.ellipse.semi_minor_m, abs=0.05)
    assert max(away) == pytest.approx(place.ellipse.semi_major_m, abs=0.05)
    assert place.usng.startswith("18T XM ")
    assert (place.address, place.intersection, place.beat, place.large_parcel) == (None, None, None, None)


def test_a_place_in_a_floating_plane_has_metres_and_the_plane_has_a_name():
    place = place_of(fix_at("a", east_m=30.1234, north_m=-40.0), "range")
    assert (place.frame, place.east, place.north) == ("range", 30.123, -40.0)
    assert (place.latitude, place.longitude, place.polygon, place.usng) == (None, None, None, None)


def test_further_modes_keep_their_weight_and_region():
    place = place_of(fix_at("a", other=(0.3, 200.0, 0.0), frame=HARTFORD), "site")
    (other,) = place.modes
    assert (place.weight, other.weight) == (0.7, 0.3)
    assert other.polygon is not None
    assert other.latitude != place.latitude or other.longitude != place.longitude


def test_a_place_has_either_degrees_or_metres():
    place = msgspec.to_builtins(place_of(fix_at("a"), "range"))
    for change in (
        {"latitude": 41.0, "longitude": -72.0},
        {"frame": None},
        {"east": None, "north": None, "frame": None},
    ):
        with pytest.raises(msgspec.ValidationError, match="either latitude"):
            msgspec.convert(place | change, Place)


# What stands there, and the park whose official address is about a mile from the shot.

OFFICIAL = "1 ALDER MEADOW DR"
EDGE = {"east_m": 0.0, "north_m": 0.0}  # in the park, 200 m from the street along its eastern edge
MIDDLE = {"east_m": -1000.0, "north_m": -100.0}


@pytest.fixture(scope="module")
def town(root, tmp_path_factory):
    into = tmp_path_factory.mktemp("town") / "places.db"
    import_places(sorted((root / "fixtures" / "places").iterdir()), into)
    with Gazetteer.open(into) as gazetteer:
        yield gazetteer


def test_the_invented_town_is_what_its_builder_writes(root, tmp_path):
    path = root / "fixtures" / "builders" / "places.py"
    spec = importlib.util.spec_from_file_location("fixture_builder_places", path)
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    builder.write(tmp_path)
    kept = {file.name: file.read_bytes() for file in (root / "fixtures" / "places").iterdir()}
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == kept


def test_in_a_park_the_street_at_its_edge_is_named_and_never_the_official_address(root, town):
    place = place_of(fix_at("a", **EDGE, frame=HARTFORD), "site", town)
    assert (place.large_parcel, place.parcel) == (True, "Alder Meadow Park")
    # The official one is there, in the city's own file, and about a mile away.
    (row,) = [
        row for row in (root / "fixtures" / "places" / "addresses.csv").read_text().splitlines() if ",ALDER" in row
    ]
    longitude, latitude = map(float, row.split(",")[:2])
    geod = pyproj.Geod(ellps="WGS84")
    assert geod.inv(longitude, latitude, place.longitude, place.latitude)[2] == pytest.approx(1_600.0, rel=0.01)
    assert re.fullmatch(r"1\d\d LINDEN ST", place.address.text)
    assert place.address.distance_m == pytest.approx(235.0, abs=1.0)
    assert place.address.bearing_deg == pytest.approx(270.0, abs=4.0)
    assert place.intersection.text == "Hazel Court & Linden Street"
    assert place.intersection.distance_m == pytest.approx(math.hypot(215, 100), abs=0.5)
    assert place.intersection.bearing_deg == pytest.approx(math.degrees(math.atan2(-215, -100)) % 360, abs=0.3)
    assert place.beat == "12 West"


def test_in_the_middle_of_a_park_there_is_no_address_at_all(town):
    place = place_of(fix_at("a", **MIDDLE, frame=HARTFORD), "site", town)
    assert (place.large_parcel, place.parcel, place.address) == (True, "Alder Meadow Park", None)
    assert (place.addresses, place.addresses_touched) == ((), 0)
    assert place.usng.startswith("18T XM ")


def test_the_official_address_is_not_told_beside_its_own_point_nor_by_a_region_over_it(town):
    place = place_of(fix_at("a", east_m=-1590.0, north_m=40.0, sigma_m=30.0, frame=HARTFORD), "site", town)
    assert OFFICIAL not in json.dumps(msgspec.to_builtins(place))
    assert place.addresses_touched == 0


def test_a_street_address_beside_the_park_is_told_with_its_distance(town):
    place = place_of(fix_at("a", east_m=235.0, north_m=5.0, frame=HARTFORD), "site", town)
    assert place.large_parcel is False
    assert place.parcel is None
    assert place.address.distance_m < 20.0
    assert place.beat == "14 East"


@pytest.mark.parametrize(
    ("where", "parcel", "own"),
    [
        # Few addresses in large grounds are those of the grounds, more are houses; a garden is no park.
        ({"east_m": 450.0, "north_m": -580.0}, "Elmwick Works", "9 BROOK AVE"),
        ({"east_m": 330.0, "north_m": 350.0}, "Foxglove College", None),
        ({"east_m": 310.0, "north_m": 31.0}, None, None),
    ],
)
def test_a_campus_keeps_the_addresses_of_its_houses(town, where, parcel, own):
    place = place_of(fix_at("a", **where, frame=HARTFORD), "site", town)
    assert (place.large_parcel, place.parcel) == (parcel is not None, parcel)
    if own is None:
        assert place.address.distance_m < 30.0
    else:
        assert place.address is None or place.address.text != own


@pytest.mark.parametrize(
    ("park", "point"),
    [
        ({"addr:housenumber": "500", "addr:street": "Lake Avenue"}, {"NUMBER": "500", "STREET": "LAKE AVE"}),
        ({}, {"NUMBER": "77", "STREET": "Far Rd", "name": "Lake Park"}),
        ({"name": ""}, {"NUMBER": "77", "STREET": "Far Rd", "leisure": "park"}),
    ],
)
def test_an_address_outside_the_park_that_is_the_parks_own_is_known_for_it(tmp_path, park, point):
    """By the address that the park states, by its name, or by what the point itself says that it is."""
    ring = [[-72.01, 41.0], [-72.0, 41.0], [-72.0, 41.01], [-72.01, 41.01], [-72.01, 41.0]]
    features = [
        {"type": "Feature", "properties": {"leisure": "park", "name": "Lake Park"} | park,
         "geometry": {"type": "Polygon", "coordinates": [ring]}},
        {"type": "Feature", "properties": point, "geometry": {"type": "Point", "coordinates": [-71.9995, 41.005]}},
        {"type": "Feature", "properties": {"number": 8, "street": "Shore Rd"},
         "geometry": {"type": "Point", "coordinates": [-71.9985, 41.005]}},
    ]  # fmt: skip
    (tmp_path / "all.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    report = import_places([tmp_path / "all.geojson"], tmp_path / "places.db")
    assert report.counts["own addresses"] == 1
    with Gazetteer.open(tmp_path / "places.db") as gazetteer:
        assert gazetteer.describe(41.005, -72.0001).address.text == "8 Shore Rd"
        assert gazetteer.describe(41.005, -71.9995).address.text == "8 Shore Rd"


def test_a_parcel_is_large_by_its_size_where_its_kind_does_not_say(tmp_path):
    def lot(west, side, name):
        ring = [[west, 41.0], [west + side, 41.0], [west + side, 41.0 + side], [west, 41.0 + side], [west, 41.0]]
        return {"type": "Feature", "properties": {"NAME": name, "SITUS": "5 Mill Rd, Elmwick"},
                "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip

    collection = {"type": "FeatureCollection", "features": [lot(-72.0, 0.003, "Mill"), lot(-72.1, 0.0003, "House")]}
    (tmp_path / "lots.json").write_text(json.dumps(collection))
    report = import_places([Given(tmp_path / "lots.json", "parcels")], tmp_path / "places.db")
    assert report.counts["large parcels"] == 1
    assert report.files[0].found == {"large parcels": 1, "addresses": 1}  # a small one is the house that it states
    with Gazetteer.open(tmp_path / "places.db") as gazetteer:
        assert gazetteer.describe(41.001, -71.999).parcel == "Mill"
        found = gazetteer.describe(41.0001, -72.0999)
    assert (found.large_parcel, found.address.text) == (False, "5 Mill Rd")


def test_a_region_over_several_houses_lists_them_the_nearest_first(town):
    place = place_of(fix_at("a", east_m=235.0, north_m=-400.0, sigma_m=60.0, frame=HARTFORD), "site", town)
    assert place.addresses_touched == len(place.addresses) > 8
    distances = [one.distance_m for one in place.addresses]
    assert distances == sorted(distances)
    assert place.address == place.addresses[0]
    assert max(distances) <= place.ellipse.semi_major_m + 0.1
    assert all("LINDEN ST" in one.text for one in place.addresses)


def alert_at(gazetteer, **where):
    desk = Desk(gazetteer=gazetteer)
    shot = fix_at("a", **where, frame=HARTFORD)
    return [*desk.receive(shot), *desk.tick(after(NIGHT_NS, 3600.0))][-1]


@pytest.mark.parametrize("where", [EDGE, MIDDLE, {"east_m": -1595.0, "north_m": 42.0}])
def test_the_words_of_an_alert_in_the_park_begin_with_coordinates_and_never_name_its_address(town, where):
    alert = alert_at(town, **where)
    assert alert.place.parcel == "Alder Meadow Park"
    said = lines(alert)
    (line,) = [line for line in said if line.startswith("Where:")]
    assert re.match(r"Where:    \d+\.\d{5} N, \d+\.\d{5} W \(USNG 18T XM \d{4} \d{4}\)", line)
    assert "ALDER" not in "\n".join(said)


def test_a_place_in_metres_is_asked_about_nobody():
    class Never:
        def describe(self, latitude, longitude, polygon=None):
            raise AssertionError("asked about a place that is nowhere on the Earth")

    assert place_of(fix_at("a"), "range", Never()).address is None


def test_the_surveyor_is_asked_about_the_place_with_its_region():
    asked = []

    class Clerk:
        def describe(self, latitude, longitude, polygon=None):
            asked.append((latitude, longitude, polygon))
            there = Address("1 High St", 3.0, 90.0)
            return Surroundings(there, (there,), 7, Intersection("A & B", 9.0, 0.0), "5", True, "Park")

    place = place_of(fix_at("a", other=(0.3, 200.0, 0.0), frame=HARTFORD), "site", Clerk())
    assert asked == [(place.latitude, place.longitude, place.polygon.coordinates[0])]
    assert (place.address.text, place.addresses_touched, place.intersection.text) == ("1 High St", 7, "A & B")
    assert (place.beat, place.large_parcel, place.parcel) == ("5", True, "Park")


def test_a_surveyor_that_cannot_say_is_heard_and_the_place_is_not_in_doubt(town, tmp_path):
    class Gone:
        def describe(self, latitude, longitude, polygon=None):
            raise SurveyError("no file")

    with pytest.raises(SurveyError, match="no file"):
        place_of(fix_at("a", frame=HARTFORD), "site", Gone())
    again = pickle.loads(pickle.dumps(town))  # noqa: S301
    shot = fix_at("a", frame=HARTFORD)
    assert place_of(shot, "site", again) == place_of(shot, "site", town)
    again.close()
