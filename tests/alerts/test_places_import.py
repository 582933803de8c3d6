"""Importing a city's files: each format says the same, each mistake is refused with its remedy, each row is accounted for."""

from __future__ import annotations

import gzip
import json
import math
import random
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.gazetteer import Gazetteer
from alerts.places import files as files_room
from alerts.places.files import ChoiceError, PlacesError
from alerts.places.importing import Given, import_places
from alerts.places.naming import compared, shown, stem

LATITUDE, LONGITUDE = 41.77, -72.68


def feature(geometry, coordinates, **properties):
    return {"type": "Feature", "properties": properties, "geometry": {"type": geometry, "coordinates": coordinates}}


def point(**properties):
    return feature("Point", [LONGITUDE, LATITUDE], **properties)


def collection(*features, **members):
    return json.dumps({"type": "FeatureCollection", **members, "features": list(features)})


def street(name, *vertices, highway="residential", **properties):
    """A line through vertices in ten-thousandths of a degree."""
    line = [[round(LONGITUDE + x * 1e-4, 6), round(LATITUDE + y * 1e-4, 6)] for x, y in vertices]
    tags = ({"highway": highway} if highway else {}) | properties
    return feature("LineString", line, **({"name": name} if name else {}), **tags)


def square(side=0.001, **properties):
    x, y = LONGITUDE - side / 2, LATITUDE - side / 2
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return feature("Polygon", [ring], **properties)


def imported(folder, content, name="city.geojson", **options):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    kind = options.pop("kind", None)
    return import_places([Given(path, kind)], folder / "places.db", **options)


def texts(report, table):
    connection = sqlite3.connect(report.into)
    rows = [text for (text,) in connection.execute(f"SELECT text FROM {table} ORDER BY text")]  # noqa: S608
    connection.close()
    return rows


OPEN_ADDRESSES = "LON,LAT,NUMBER,STREET,UNIT,CITY,DISTRICT,REGION,POSTCODE,ID,HASH\n"
SAME = {
    "openaddresses.csv": f"{OPEN_ADDRESSES}{LONGITUDE},{LATITUDE},12,Elm St,3,Elmwick,,CT,06103,,a1\n",
    "openaddresses.geojson": json.dumps(point(number="12", street="Elm St", unit="", city="Elmwick", hash="a1")) + "\n",
    "collection.geojson": collection(point(**{"addr:housenumber": "12", "addr:street": "Elm St"})),
    "pretty.json": json.dumps(json.loads(collection(point(number=12, street="Elm St"))), indent=2),
    "single.json": json.dumps(point(number=12.0, street="Elm St"), indent=1),
    "sequence.geojsons": "\x1e" + json.dumps(point(number="12", street="Elm St")) + "\n",
    "semicolon.csv": f"\ufefflatitude;longitude;house_number;street\n{LATITUDE};{LONGITUDE};12;Elm St\n",
    "tab.txt": f"lat\tlng\tHOUSENUM\tStreet_Name\n{LATITUDE}\t{LONGITUDE}\t12\tElm St\n",
    "nena.csv": f"Add_Number,St_PreDir,St_Name,St_PosTyp,St_PosDir,Latitude,Longitude\n12,,Elm,St,,{LATITUDE},{LONGITUDE}\n",
    "nena.geojson": collection(
        point(AddNum_Pre=None, Add_Number=12, AddNum_Suf=None, St_Name="Elm", St_PosTyp="St", MSAGComm="ELMWICK")
    ),
    "hartford.geojson": collection(point(STREETNUM="12", CV_STPREFIX="", CV_STNAME="Elm", CV_STTYPE="St")),
    "full.csv": f'Address,X,Y\n"12 Elm St, Elmwick, CT 06103",{LONGITUDE},{LATITUDE}\n',
    "building.geojson": collection(
        square(side=0.0002, building="yes", **{"addr:housenumber": "12", "addr:street": "Elm St"})
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", SAME)
def test_every_format_says_the_same_address(tmp_path, name, packed):
    content = SAME[name].encode()
    report = imported(tmp_path, gzip.compress(content) if packed else content, name)
    assert texts(report, "address") == ["12 Elm St"]
    assert report.files[0].words() == f"read 1 addresses from {name}"
    with Gazetteer.open(report.into) as gazetteer:
        assert gazetteer.describe(LATITUDE, LONGITUDE).address.distance_m <= 0.1


def test_columns_that_nobody_knows_can_be_named(tmp_path):
    content = f"NORD,OST,HAUS,WEG\n{LATITUDE},{LONGITUDE},12,Elm St\n"
    with pytest.raises(
        ChoiceError, match="no column of latitude among NORD, OST, HAUS, WEG; name it: --columns latitude="
    ):
        imported(tmp_path, content, "a.csv")
    columns = {"latitude": "NORD", "longitude": "OST", "number": "HAUS", "street": "WEG"}
    assert texts(imported(tmp_path, content, "a.csv", columns=columns), "address") == ["12 Elm St"]
    with pytest.raises(PlacesError, match=r"nothing of use in it, as line 2 .a street without a house number."):
        imported(tmp_path, content, "a.csv", columns=columns | {"number": "NR"}, force=True)
    with pytest.raises(ChoiceError, match="haus: no meaning of a column; expected one of number"):
        imported(tmp_path, content, "a.csv", columns={"haus": "HAUS"}, force=True)


@pytest.mark.parametrize(
    ("before", "number", "behind", "text"),
    [("", 12, "A", "12A"), ("", "12", "1/2", "12 1/2"), ("N", "12", "", "N12"), ("", "12-14", "", "12-14")],
)
def test_house_numbers_keep_what_stands_before_and_behind(tmp_path, before, number, behind, text):
    each = point(AddNum_Pre=before, Add_Number=number, AddNum_Suf=behind, St_Name="Elm", St_PosTyp="St")
    assert texts(imported(tmp_path, collection(each)), "address") == [f"{text} Elm St"]


def test_flats_behind_one_door_are_one_address(tmp_path):
    rows = "".join(f"{LONGITUDE},{LATITUDE},12,Elm St,{k},Elmwick,,,,,\n" for k in range(40))
    report = imported(tmp_path, OPEN_ADDRESSES + rows, "a.csv")
    assert report.files[0].found == {"addresses": 40}
    assert report.counts["addresses"] == 1


def test_an_address_of_two_cities_is_told_with_its_city(tmp_path):
    rows = "".join(
        f"{LONGITUDE + k / 100},{LATITUDE},{number},Main St,,{city},,,,,\n"
        for k, (number, city) in enumerate([(1, "Elmwick"), (1, "WEST ELMWICK"), (2, "Elmwick"), (2, "ELMWICK")])
    )
    report = imported(tmp_path, OPEN_ADDRESSES + rows, "a.csv")
    assert texts(report, "address") == ["1 Main St, Elmwick", "1 Main St, WEST ELMWICK", "2 Main St", "2 Main St"]


def test_bad_rows_are_counted_and_the_first_are_named(tmp_path):
    rows = (
        f"{LONGITUDE},{LATITUDE},12,Elm St\n"
        "0,0,1,Elm St\n"
        ",,2,Elm St\n"
        f"{LONGITUDE},{LATITUDE},,Elm St\n"
        f"{LONGITUDE},nan,3,Elm St\n"
        f"{LONGITUDE},{LATITUDE},4,Elm St,too,many\n"
        "\n"
        "1021345.5,834512.1,5,Elm St\n"
    )
    report = imported(tmp_path, "lon,lat,number,street\n" + rows, "a.csv")
    assert report.counts["addresses"] == 1
    assert report.files[0].skipped == 6
    assert report.files[0].words() == (
        "read 1 addresses from a.csv; skipped 6: line 3 (latitude 0, longitude 0: no place), "
        "line 4 (no latitude and longitude), line 5 (a street without a house number), ..."
    )


# Ranges.


@pytest.mark.parametrize(
    ("properties", "at", "text"),
    [
        ({"lo": 500, "hi": 598}, (50, 1), "500 block Elm St"),
        ({"lo": 0, "hi": 98}, (50, 1), "unit block Elm St"),
        ({"lo": 500, "hi": 798}, (90, 1), "500 to 700 blocks Elm St"),
        # The line runs east: north of it is its left side.
        ({"LFROMADD": "101", "LTOADD": "299", "RFROMADD": "400", "RTOADD": "598"}, (20, 1), "100 block Elm St"),
        ({"LFROMADD": "101", "LTOADD": "299", "RFROMADD": "400", "RTOADD": "598"}, (80, 1), "200 block Elm St"),
        ({"LFROMADD": "101", "LTOADD": "299", "RFROMADD": "400", "RTOADD": "598"}, (20, -1), "400 block Elm St"),
        ({"LFROMHN": "299", "LTOHN": "101", "RFROMHN": "", "RTOHN": None}, (20, -1), "200 block Elm St"),
        ({"FromAddr_L": 0, "ToAddr_L": 0, "FromAddr_R": 2, "ToAddr_R": 98}, (20, 1), "unit block Elm St"),
        ({"left_from": "", "right_from": 300, "right_to": 398}, (20, 1), "300 block Elm St"),
    ],
)
def test_a_range_names_the_block_beside_the_place_by_side_and_hundred(tmp_path, properties, at, text):
    report = imported(tmp_path, collection(street("Elm St", (0, 0), (100, 0), highway="", **properties)))
    assert report.files[0].found == {"blocks": 1}
    with Gazetteer.open(report.into) as gazetteer:
        told = gazetteer.describe(LATITUDE + at[1] * 1e-4, LONGITUDE + at[0] * 1e-4)
    assert told.address.text == text
    assert told.address.distance_m == pytest.approx(11.1, abs=0.1)
    assert told.address.bearing_deg in {0.0, 180.0}


@pytest.mark.parametrize(("first", "last"), [("60-01", "60-99"), ("N6W23001", "N6W23099"), ("12 - 14", "20")])
def test_house_numbers_of_two_parts_make_no_block_but_their_street_remains(tmp_path, first, last):
    """60-01 Queens Boulevard is on no unit block, and on no 60 block either."""
    tiger = {"FULLNAME": "Queens Blvd", "LFROMHN": first, "LTOHN": last, "EDGE_MTFCC": "S1400"}
    other = feature(
        "LineString", [[LONGITUDE, LATITUDE], [LONGITUDE, LATITUDE + 0.001]], FULLNAME="Elm St", MTFCC="S1400"
    )
    queens = feature("LineString", [[LONGITUDE, LATITUDE], [LONGITUDE + 0.001, LATITUDE]], **tiger)
    report = imported(tmp_path, collection(queens, other))
    assert report.files[0].found == {"streets": 2}
    assert report.counts["intersections"] == 1


def test_a_door_comes_before_the_block_it_stands_in_unless_it_is_far(tmp_path):
    block = street("Elm St", (0, 0), (100, 0), highway="", lo=500, hi=598)
    door = feature("Point", [LONGITUDE + 0.001, LATITUDE + 0.0002], number="522", street="Elm St")
    report = imported(tmp_path, collection(block, door))
    with Gazetteer.open(report.into) as gazetteer:
        assert gazetteer.describe(LATITUDE + 0.0001, LONGITUDE + 0.001).address.text == "522 Elm St"
        assert gazetteer.describe(LATITUDE + 0.0001, LONGITUDE + 0.003).address.text == "500 block Elm St"
        assert gazetteer.describe(LATITUDE + 0.01, LONGITUDE).address is None


# Crossings.


@pytest.mark.parametrize(
    ("streets", "expected"),
    [
        ([street("Elm St", (0, 0), (10, 0), (20, 0)), street("Oak Ave", (10, -10), (10, 0), (10, 10))],
         ["Elm St & Oak Ave"]),
        ([street("Elm St", (0, 0), (10, 0)), street("Oak Ave", (10, 0), (10, 10))], ["Elm St & Oak Ave"]),
        # A bridge, a street that goes on, its two halves, one street under two names, paths: no crossings.
        ([street("Elm St", (0, 0), (20, 0)), street("Oak Ave", (10, -10), (10, 10))], []),
        ([street("Elm St", (0, 0), (10, 0)), street("Elm Street", (10, 0), (20, 0))], []),
        ([street("West Elm St", (0, 0), (10, 0)), street("E Elm Street", (10, 0), (20, 0))], []),
        ([street("Elm St", (0, 0), (10, 0)), street("State Route 4", (0, 0), (10, 0))], []),
        ([street("Elm St", (0, 0), (10, 0)), street("River Walk", (10, 0), (10, 9), highway="footway")], []),
        ([street("Elm St", (0, 0), (10, 0)), street("", (10, 0), (10, 9))], []),
        # Where four meet all are named, each once.
        ([street(name, (0, 0), there) for name, there in
          (("W Elm St", (-9, 0)), ("E Elm St", (9, 0)), ("N Oak St", (0, 9)), ("S Oak St", (0, -9)))],
         ["E Elm St & N Oak St"]),
        ([street("Elm St", (0, 0), (9, 0)), street("Oak St", (0, 0), (0, 9)), street("Ash St", (0, 0), (0, -9))],
         ["Ash St & Elm St & Oak St"]),
    ],
)  # fmt: skip
def test_streets_cross_where_two_names_share_a_vertex(tmp_path, streets, expected):
    door = point(number="1", street="Any St")
    assert texts(imported(tmp_path, collection(door, *streets)), "crossing") == expected


def test_crossings_that_a_file_names_are_taken_as_they_are(tmp_path):
    content = f"kind,street,cross_street,house_number,lat,lon\nintersection,Elm St,Oak Ave,,{LATITUDE},{LONGITUDE}\n"
    assert texts(imported(tmp_path, content, "a.csv"), "crossing") == ["Elm St & Oak Ave"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Main Street", "MAIN ST."), ("North Main Ave", "N MAIN AVENUE"), ("St. John's Pl", "ST JOHNS PLACE")],
)
def test_names_are_compared_without_their_spelling(one, other):
    assert compared(one) == compared(other)


def test_a_direction_is_no_part_of_the_stem_unless_it_is_the_name():
    assert stem("North Avenue") == "N AVE"
    assert stem("West North Avenue") == "N AVE"
    assert stem("E Fairmount Avenue") == stem("Fairmount Ave W") == "FAIRMOUNT AVE"


@given(st.text())
def test_what_is_shown_is_one_line_that_can_be_printed(text):
    assert shown(text).isprintable()
    assert shown(shown(text)) == shown(text)
    assert len(shown(text)) <= 120


# What an area is.


@pytest.mark.parametrize(
    ("properties", "name", "kind", "expected"),
    [
        ({"BEAT": "12"}, "a.geojson", None, ("12", None)),
        ({"district": 7.0}, "a.geojson", None, ("7", None)),
        ({"NAME": "North End"}, "police_beats.geojson", None, ("North End", None)),
        ({"NAME": "North End"}, "a.geojson", "beats", ("North End", None)),
        ({"name": "Lake Park", "leisure": "park"}, "a.geojson", None, (None, "Lake Park")),
        ({"name": "Rest", "landuse": "cemetery"}, "a.geojson", None, (None, "Rest")),
        ({"NAME": "Lake Park"}, "City_Parks.geojson", None, (None, "Lake Park")),
        ({"NAME": "Lake Park", "WARD": 3}, "a.geojson", "parks", (None, "Lake Park")),
        ({"name": "Big Lot"}, "a.geojson", "parcels", (None, "Big Lot")),
    ],
)
def test_an_area_is_what_its_tags_its_file_or_the_user_says(tmp_path, properties, name, kind, expected):
    report = imported(tmp_path, collection(square(side=0.004, **properties)), name, kind=kind)
    with Gazetteer.open(report.into) as gazetteer:
        found = gazetteer.describe(LATITUDE, LONGITUDE)
    assert (found.beat, found.parcel) == expected
    assert found.large_parcel == (None if expected[1] is None else True)


def test_a_title_within_the_file_says_what_its_areas_are(tmp_path):
    report = imported(tmp_path, collection(square(NAME="South West"), name="Neighborhood_District"))
    assert report.counts["beats"] == 1


@pytest.mark.parametrize("properties", [{"NAME": "North End"}, {"NAME": "Lake Park", "WARD": 3}])
def test_an_area_of_which_nothing_says_what_it_is_is_not_guessed(tmp_path, properties):
    with pytest.raises(
        ChoiceError, match=r"1 polygons with a name, and nothing says what they are; say --as beats .* or"
    ):
        imported(tmp_path, collection(square(**properties)))
    assert not (tmp_path / "places.db").exists()


def test_lines_with_a_name_alone_are_not_guessed_to_be_streets(tmp_path):
    line = street("Long River", (0, 0), (50, 0), highway="")
    with pytest.raises(ChoiceError, match="say --as streets"):
        imported(tmp_path, collection(line))
    assert imported(tmp_path, collection(line), kind="streets").files[0].found == {"streets": 1}


def test_the_smallest_area_that_holds_a_place_is_told(tmp_path):
    areas = [square(side=0.02, leisure="park", name="Great Park"), square(side=0.004, landuse="cemetery", name="Rest")]
    report = imported(tmp_path, collection(*areas))
    with Gazetteer.open(report.into) as gazetteer:
        assert gazetteer.describe(LATITUDE, LONGITUDE).parcel == "Rest"
        assert gazetteer.describe(LATITUDE + 0.005, LONGITUDE).parcel == "Great Park"


def test_holes_and_several_parts_are_parts_of_an_area(tmp_path):
    outer, hole = square(side=0.01)["geometry"]["coordinates"][0], square(side=0.004)["geometry"]["coordinates"][0]
    far = [[x + 0.02, y] for x, y in square(side=0.004)["geometry"]["coordinates"][0]]
    shape = feature("MultiPolygon", [[outer, hole], [far]], leisure="park", name="P")
    report = imported(tmp_path, collection(shape))
    with Gazetteer.open(report.into) as gazetteer:
        assert gazetteer.describe(LATITUDE, LONGITUDE).large_parcel is False
        assert gazetteer.describe(LATITUDE, LONGITUDE + 0.004).parcel == "P"
        assert gazetteer.describe(LATITUDE, LONGITUDE + 0.02).parcel == "P"


def test_a_shape_that_crosses_itself_is_mended(tmp_path):
    x, y = LONGITUDE, LATITUDE
    bow = feature(
        "Polygon", [[[x, y], [x + 0.01, y + 0.01], [x + 0.01, y], [x, y + 0.01], [x, y]]], leisure="park", name="P"
    )
    report = imported(tmp_path, collection(bow))
    with Gazetteer.open(report.into) as gazetteer:
        assert gazetteer.describe(y + 0.005, x + 0.001).parcel == "P"
        assert gazetteer.describe(y + 0.001, x + 0.005).large_parcel is False


# Refusals.

CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2234"}}


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (f"lat,lon,number,street\n{LONGITUDE},{LATITUDE},1,Elm St\n", "a.csv",
         "latitude and longitude seem exchanged .*--columns latitude=COLUMN,longitude=COLUMN"),
        (collection(feature("Point", [LATITUDE, LONGITUDE], number=1, street="Elm St")), "a.geojson",
         "seem exchanged .*GeoJSON puts longitude first"),
        ("lat,lon,number,street\n151.2,-33.8,1,Elm St\n", "a.csv", "seem exchanged"),
        ("x,y,number,street\n1021345.5,834512.1,1,Elm St\n", "a.csv", "not in degrees .*ogr2ogr -t_srs EPSG:4326"),
        (collection(point(number=1, street="E"), crs=CRS), "a.geojson", "EPSG::2234, not in degrees"),
        ("", "a.csv", "empty"),
        ("  \n ", "a.geojson", "empty"),
        ("{", "a.geojson", "not GeoJSON"),
        ('{"type": "Topology", "objects": {}}', "a.json", "not GeoJSON"),
        ("[" * 100_000, "a.json", "not GeoJSON"),
        (b"PK\x03\x04 and so on", "a.zip", "a zip archive; unpack it"),
        (b"\x00\x00\x27\x0a" + bytes(96), "a.shp", "neither GeoJSON nor a table; convert it first, by ogr2ogr"),
        ('<?xml version="1.0"?><osm><node id="1"/></osm>', "a.osm", "neither GeoJSON nor a table; .*osmium export"),
        ("lat,lon,number,street\n41.7,-72.6,1,Éire St\n".encode("latin-1"), "a.csv", "not UTF-8"),
        (gzip.compress(b"lat,lon\n1,1\n" * 1000, mtime=0)[:-20], "a.csv.gz", "cannot be read"),
        (collection(point(name="A tree")), "a.geojson", "nothing of use in it, as 1 points without an address"),
        (collection(), "a.geojson", "nothing of use in it, as no rows"),
        (collection(point(**{"addr:housenumber": "9"})), "a.geojson", "house number 9 without a street"),
    ],
)  # fmt: skip
def test_a_file_of_no_use_is_refused_with_the_remedy_and_nothing_is_written(tmp_path, content, name, words):
    with pytest.raises(PlacesError, match=words) as refused:
        imported(tmp_path, content, name)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("properties", [None, "urn:ogc:def:crs:EPSG::4326", [], {"name": None}, 7])
def test_a_crs_that_says_nothing_is_none(tmp_path, properties):
    crs = {"type": "name", "properties": properties}
    assert texts(imported(tmp_path, collection(point(number=1, street="E"), crs=crs)), "address") == ["1 E"]


@pytest.mark.parametrize("digits", [400, 4_000, 100_000])
def test_a_coordinate_of_many_digits_is_a_bad_row_alone(tmp_path, digits):
    lines = [point(number=1, street="E"), feature("Point", ["far", LATITUDE], number=2, street="E")]
    content = "\n".join(json.dumps(line) for line in lines).replace('"far"', "9" * digits)
    report = imported(tmp_path, content)
    assert texts(report, "address") == ["1 E"]
    assert report.files[0].skipped == 1


def ring_of(corners):
    return [[round(LONGITUDE + x, 9), round(LATITUDE + y, 9)] for x, y in (*corners, corners[0])]


def test_a_polygon_that_crosses_itself_everywhere_is_skipped_and_a_long_one_that_does_once_is_mended(tmp_path):
    """Mending takes a time by the square of the crossings, of which 1,500 points at random make half a million."""
    anywhere = random.Random(7)  # noqa: S311  (no secret)
    wild = [(anywhere.random() / 100, anywhere.random() / 100) for _ in range(1_500)]
    coast = [(math.cos(k * math.tau / 3_000) / 100, math.sin(k * math.tau / 3_000) / 100) for k in range(3_000)]
    coast[500], coast[502] = coast[502], coast[500]
    shapes = [
        feature("Polygon", [ring_of(wild)], name="Wild Park", leisure="park"),
        feature("Polygon", [ring_of(coast)], name="Bay Park", leisure="park"),
    ]
    report = imported(tmp_path, collection(*shapes))
    assert report.files[0].skipped == 1
    assert "crosses itself more than 1,000 times; mend it first" in report.files[0].examples[0]
    with Gazetteer.open(report.into) as gazetteer:
        assert gazetteer.describe(LATITUDE, LONGITUDE).parcel == "Bay Park"


def fiji(west, east, **properties):
    return [[[west, -17.0], [east, -17.0], [east, -16.0], [west, -16.0], [west, -17.0]]]


def test_ground_over_the_line_of_180_degrees_is_skipped_and_taken_where_it_is_cut(tmp_path):
    """As one ring it would cover the whole parallel; the standard wants two (RFC 7946, section 3.1.9)."""
    door = feature("Point", [179.5, -16.5], number=1, street="Elm St")
    whole = feature("Polygon", fiji(179.0, -179.0), name="Beat 9", leisure="park")
    report = imported(tmp_path, collection(door, whole))
    assert report.files[0].skipped == 1
    assert "cut it there (RFC 7946, 3.1.9)" in report.files[0].examples[0]
    cut = feature("MultiPolygon", [fiji(179.0, 180.0), fiji(-180.0, -179.0)], name="Beat 9", leisure="park")
    with Gazetteer.open(imported(tmp_path, collection(door, cut), force=True).into) as gazetteer:
        told = [gazetteer.describe(-16.5, longitude).parcel for longitude in (179.5, -179.5, 0.0)]
    assert told == ["Beat 9", "Beat 9", None]


def test_files_of_two_cities_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text(f"lat,lon,number,street\n{LATITUDE},{LONGITUDE},1,Elm St\n")
    (tmp_path / "b.csv").write_text("lat,lon,number,street\n2.35,48.85,1,Rue Elm\n")
    with pytest.raises(PlacesError, match=r"b.csv: [\d,]+ km from a.csv; are latitude and longitude exchanged"):
        import_places([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "places.db")


def test_what_is_there_already_is_kept_unless_forced_and_another_kind_of_file_always(tmp_path):
    report = imported(tmp_path, SAME["tab.txt"], "a.csv")
    kept = report.into.read_bytes()
    with pytest.raises(ChoiceError, match="there already; replace it with --force"):
        imported(tmp_path, SAME["tab.txt"], "a.csv")
    with pytest.raises(PlacesError, match="not GeoJSON"):
        imported(tmp_path, "{", "b.geojson", force=True)
    assert report.into.read_bytes() == kept
    (tmp_path / "record.db").write_bytes(b"somebody's record")
    with pytest.raises(ChoiceError, match="no file of places; name another file"):
        import_places([tmp_path / "a.csv"], tmp_path / "record.db", force=True)
    with pytest.raises(ChoiceError, match="read and written at once"):
        import_places([tmp_path / "a.csv"], tmp_path / "a.csv", force=True)
    with pytest.raises(PlacesError, match="cannot be written"):
        import_places([tmp_path / "a.csv"], tmp_path / "a.csv" / "places.db")
    assert imported(tmp_path, SAME["tab.txt"], "a.csv", force=True).sha256 == report.sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.geojson", "places.db", "record.db"]


def test_one_object_is_bounded_and_lines_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(files_room, "LARGEST_WHOLE_BYTES", 10_000)
    points = [point(number=k + 1, street="Elm St") for k in range(200)]
    with pytest.raises(PlacesError, match="ogr2ogr -f GeoJSONSeq"):
        imported(tmp_path, collection(*points))
    lines = "\n".join(json.dumps(each) for each in points)
    assert imported(tmp_path, lines, "lines.geojson").counts["addresses"] == 200


# What is made.


def test_the_same_content_has_the_same_digest_in_any_order_and_the_same_bytes_in_one(root, tmp_path):
    town = sorted((root / "fixtures" / "places").iterdir())
    reports = [import_places(order, tmp_path / f"{k}.db") for k, order in enumerate((town, town, town[::-1]))]
    assert len({report.sha256 for report in reports}) == 1
    assert reports[0].into.read_bytes() == reports[1].into.read_bytes()
    rows = (root / "fixtures" / "places" / "addresses.csv").read_text().splitlines()
    (tmp_path / "addresses.csv").write_text("\n".join([rows[0], *reversed(rows[1:])]))
    shuffled = import_places([tmp_path / "addresses.csv", *town[1:]], tmp_path / "9.db")
    assert shuffled.sha256 == reports[0].sha256
    (tmp_path / "addresses.csv").write_text("\n".join(rows[:-1]))
    assert import_places([tmp_path / "addresses.csv", *town[1:]], tmp_path / "8.db").sha256 != shuffled.sha256


def test_attribution_is_kept_with_the_file_and_with_each_source(tmp_path):
    content = collection(
        point(number="1", street="Elm St"), attribution="(c) OpenStreetMap contributors", license="ODbL"
    )
    report = imported(tmp_path, content, attribution=["City of Elmwick, CC0"])
    assert report.attribution == "City of Elmwick, CC0; (c) OpenStreetMap contributors; ODbL"
    with Gazetteer.open(report.into) as gazetteer:
        about = gazetteer.about()
    assert about["attribution"] == "City of Elmwick, CC0"
    assert about["sources"][0]["attribution"] == "(c) OpenStreetMap contributors; ODbL"
    assert about["sources"][0]["name"] == "city.geojson"


def test_names_from_outside_cannot_move_a_cursor(tmp_path):
    report = imported(tmp_path, collection(point(number="1\x1b[2J", street="Elm\u202e\r\nSt\x00" + "x" * 500)))
    (text,) = texts(report, "address")
    assert text.isprintable()
    assert len(text) < 260


def test_progress_counts_every_byte_of_the_files(tmp_path):
    told = []
    report = imported(tmp_path, gzip.compress(SAME["tab.txt"].encode()), "a.csv.gz", advance=told.append)
    assert sum(told) == (tmp_path / "a.csv.gz").stat().st_size
    assert report.counts["addresses"] == 1


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
FEATURES = st.fixed_dictionaries(
    {"type": st.just("Feature")},
    optional={
        "properties": ANYTHING
        | st.dictionaries(
            st.sampled_from(["number", "street", "name", "beat", "lo", "hi", "leisure", "highway"]), ANYTHING
        ),
        "geometry": ANYTHING
        | st.fixed_dictionaries(
            {
                "type": st.sampled_from(["Point", "LineString", "Polygon", "MultiPolygon", "GeometryCollection", "x"]),
                "coordinates": ANYTHING | st.lists(st.lists(st.floats(), max_size=3), max_size=5),
            }
        ),
    },
)


@given(st.lists(FEATURES | ANYTHING, max_size=4), st.booleans())
@settings(max_examples=60)
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory, features, as_lines):
    folder = tmp_path_factory.mktemp("any")
    content = "\n".join(map(json.dumps, features)) if as_lines else collection(*features)
    try:
        imported(folder, content)
    except PlacesError:
        assert not (folder / "places.db").exists()
    else:
        with Gazetteer.open(folder / "places.db") as gazetteer:
            gazetteer.describe(LATITUDE, LONGITUDE)


@given(st.binary(max_size=200))
@settings(max_examples=30)
def test_whatever_bytes_a_file_holds_it_is_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("a.csv", "a.geojson"):
        with pytest.raises(PlacesError):
            imported(folder, content, name)
