"""Places: degrees or metres, regions that hold what they say, and the national grid against published values."""

from __future__ import annotations

import math

import msgspec
import pyproj
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alerts.grid import national_grid
from alerts.place import Place, place_of
from tests.strategies import HARTFORD, fix_at

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
