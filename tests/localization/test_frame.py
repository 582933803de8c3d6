"""Frames: metres and degrees that belong together, by pyproj and by a book."""

from __future__ import annotations

import math

import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localization.frame import Frame
from sensors.site import Geodetic, Local, Network, Site

HARTFORD = Geodetic(41.7658, -72.6734, 12.0)


@given(
    st.floats(-89.0, 89.0),
    st.floats(-180.0, 180.0),
    st.floats(-5e3, 5e3),
    st.floats(-5e3, 5e3),
    st.floats(-50.0, 300.0),
)
def test_there_and_back(latitude, longitude, east, north, up):
    frame = Frame(Geodetic(latitude, longitude, 20.0))
    place = frame.geodetic(east, north, up)
    assert frame.local([place])[0] == pytest.approx([east, north, up], abs=1e-5)


@given(st.floats(0.0, 360.0), st.floats(1.0, 3_000.0))
def test_distance_and_direction_are_those_of_the_ellipsoid(azimuth, distance):
    """Beside Karney's geodesics: a chord is shorter than its arc by d^3 / 24 R^2, and a millimetre of height is left."""
    frame = Frame(Geodetic(HARTFORD.latitude_deg, HARTFORD.longitude_deg, 0.0))
    lon, lat, _ = pyproj.Geod(ellps="WGS84").fwd(HARTFORD.longitude_deg, HARTFORD.latitude_deg, azimuth, distance)
    east, north, _ = frame.local([Geodetic(lat, lon, 0.0)])[0]
    assert math.hypot(east, north) == pytest.approx(distance, rel=1e-6)
    turned = (math.degrees(math.atan2(east, north)) - azimuth + 180.0) % 360.0 - 180.0
    assert turned == pytest.approx(0.0, abs=0.01)


def test_epsg_example_of_the_topocentric_conversion():
    """EPSG Guidance Note 7-2, method 9837: origin 55 N 5 E 200 m; a point at 53 48 33.82 N 2 07 46.38 E 73 m."""
    frame = Frame(Geodetic(55.0, 5.0, 200.0))
    point = Geodetic(53.0 + 48.0 / 60.0 + 33.82 / 3600.0, 2.0 + 7.0 / 60.0 + 46.38 / 3600.0, 73.0)
    assert frame.local([point])[0] == pytest.approx([-189_013.869, -128_642.040, -4_220.171], abs=0.05)


def test_north_is_north():
    frame = Frame(HARTFORD)
    north = frame.geodetic(0.0, 1_000.0, 0.0)
    assert north.longitude_deg == pytest.approx(HARTFORD.longitude_deg, abs=1e-9)
    assert north.latitude_deg > HARTFORD.latitude_deg


def test_without_an_origin_metres_float_and_degrees_are_refused():
    frame = Frame()
    assert frame.geodetic(1.0, 2.0, 3.0) is None
    assert frame.local([Local(1.0, 2.0, 3.0)])[0].tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="no origin"):
        frame.local([HARTFORD])


def test_a_network_astride_the_date_line_has_its_middle_there():
    sites = tuple(Site(name, Geodetic(-17.0, longitude, 0.0)) for name, longitude in (("A", 179.999), ("B", -179.999)))
    origin = Frame.of(Network(sites)).origin
    assert abs(origin.longitude_deg) == pytest.approx(180.0, abs=1e-9)
