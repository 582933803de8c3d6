"""Cells: every place has one, its neighbours are found all round the Earth, and two workers never own one shot."""

from __future__ import annotations

import math
import re

import pyproj
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sensors.cell import MOST_CELLS, Territory, cell_of, cells_within
from sensors.site import Geodetic, Local

WGS84 = pyproj.Geod(ellps="WGS84")
TOKEN = re.compile(r"[a-z0-9_]{1,40}")
latitudes = st.floats(-90.0, 90.0) | st.sampled_from([-90.0, -89.9999, 0.0, 89.9999, 90.0])
longitudes = st.floats(-180.0, 180.0) | st.sampled_from([-180.0, 180.0, 179.99999, -179.99999, 0.0])
sizes = st.integers(100, 100_000)
metres = st.floats(-1e6, 1e6)


def place(latitude_deg, longitude_deg):
    return Geodetic(latitude_deg, longitude_deg, 0.0)


@given(latitudes, longitudes, sizes)
def test_a_name_is_one_token_of_a_subject_and_finds_itself(latitude_deg, longitude_deg, size_m):
    name = cell_of(place(latitude_deg, longitude_deg), size_m)
    assert TOKEN.fullmatch(name)
    assert name in cells_within(name, 0.0)


@given(latitudes, longitudes, sizes, st.floats(0.0, 360.0), st.floats(0.0, 8.0))
@example(90.0, 0.0, 100, 0.0, 1e-9)
@example(-90.0, 10.0, 100, 0.0, 0.0)
def test_no_place_within_the_margin_is_missed_on_the_earth(latitude_deg, longitude_deg, size_m, azimuth_deg, steps):
    """pyproj says where one comes out after so many metres on the ellipsoid."""
    margin_m = steps * size_m
    east_deg, north_deg, _ = WGS84.fwd(longitude_deg, latitude_deg, azimuth_deg, margin_m * 0.999)
    here, there = place(latitude_deg, longitude_deg), place(north_deg, east_deg)
    assert cell_of(there, size_m) in cells_within(cell_of(here, size_m), margin_m)


@given(st.floats(-80.0, 80.0), sizes, st.integers(1, 8), st.sampled_from([0.0, 180.0]))
def test_a_row_that_is_only_just_reached_is_not_missed(latitude_deg, size_m, rows, azimuth_deg):
    """From the edge of a cell, straight north or south, a metre into another row: pyproj knows how far that is."""
    row_deg = 180.0 / math.ceil(20_003_931.5 / size_m)
    upward = 1.0 if azimuth_deg == 0.0 else -1.0
    edge_deg = math.floor((latitude_deg + 90.0) / row_deg) * row_deg - 90.0 - upward * 1e-9
    far_deg = edge_deg + upward * (rows - 1) * row_deg
    margin_m = WGS84.inv(0.5, edge_deg, 0.5, far_deg)[2] + 1.0
    there_deg = WGS84.fwd(0.5, edge_deg, azimuth_deg, margin_m)[1]
    there = cell_of(place(there_deg, 0.5), size_m)
    assert there in cells_within(cell_of(place(edge_deg, 0.5), size_m), margin_m)


@given(st.floats(-80.0, 80.0), longitudes, sizes)
def test_a_cell_is_about_as_large_as_it_is_called(latitude_deg, longitude_deg, size_m):
    """Twice its size away, east or north, is another cell; a tenth of its size away is the same or a neighbour."""
    here = cell_of(place(latitude_deg, longitude_deg), size_m)
    for azimuth_deg in (0.0, 90.0, 180.0, 270.0):
        east_deg, north_deg, _ = WGS84.fwd(longitude_deg, latitude_deg, azimuth_deg, 2.0 * size_m)
        assert cell_of(place(north_deg, east_deg), size_m) != here
    assert 4 <= len(cells_within(here, 0.1 * size_m)) <= 30


@given(latitudes, st.floats(0.0, 100.0), sizes)
def test_the_date_line_is_a_border_like_any_other(latitude_deg, over_m, size_m):
    west, east = cell_of(place(latitude_deg, 180.0), size_m), cell_of(place(latitude_deg, -180.0), size_m)
    assert west == east
    east_deg, north_deg, _ = WGS84.fwd(180.0, latitude_deg, 270.0, over_m)
    assert cell_of(place(north_deg, east_deg), size_m) in cells_within(east, 100.0)


@given(metres, metres, sizes, st.floats(0.0, 2.0 * math.pi), st.floats(0.0, 8.0))
def test_no_place_within_the_margin_is_missed_in_a_plane(east_m, north_m, size_m, direction, steps):
    reach_m = steps * size_m * 0.999999
    there = Local(east_m + reach_m * math.cos(direction), north_m + reach_m * math.sin(direction), 0.0)
    here = cell_of(Local(east_m, north_m, 0.0), size_m)
    assert TOKEN.fullmatch(here)
    assert cell_of(there, size_m) in cells_within(here, steps * size_m)


@given(st.lists(st.tuples(metres, metres), min_size=1, max_size=40), st.integers(1, 8), st.integers(1_000, 50_000))
def test_every_shot_has_exactly_one_owner_who_hears_all_of_it(places, workers, size_m):
    """Whoever heard it first decides; the owner listens to everybody within the margin of that sensor."""
    sensors = [Local(east_m, north_m, 0.0) for east_m, north_m in places]
    margin_m = 2.5 * size_m
    cells = sorted({cell_of(sensor, size_m) for sensor in sensors})
    shares = [frozenset(cells[worker::workers]) for worker in range(workers)]
    territories = [Territory(share, margin_m) for share in shares if share]
    for first in sensors:
        (owner,) = [territory for territory in territories if territory.owns(first)]
        for other in sensors:
            if math.dist((first.east_m, first.north_m), (other.east_m, other.north_m)) < margin_m:
                assert cell_of(other, size_m) in owner.listens


def test_names_are_for_ever():
    """Workers of two releases share a city, and streams outlive both."""
    assert cell_of(place(41.7658, -72.6734), 2_000) == "w2000_7321_4456"
    assert cell_of(place(-33.8688, 151.2093), 2_000) == "w2000_3119_15309"
    assert cell_of(Local(-1.0, 1_234.0, 0.0), 500) == "p500_w1_n2"
    assert cell_of(place(90.0, 0.0), 2_000) == cell_of(place(89.999, 0.0), 2_000)


@pytest.mark.parametrize(
    "name",
    ["", "w2000", "w2000_1", "w2000_99999_0", "w2000_0_99", "w99_0_0", "p500_e1", "p500_x1_n1", "a.b", "w-1_0_0"],
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="cell"):
        cells_within(name, 100.0)


def test_bounds_are_kept():
    with pytest.raises(ValueError, match="a cell of 99 m"):
        cell_of(place(0.0, 0.0), 99)
    for margin_m in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="margin_m"):
            cells_within("p500_e0_n0", margin_m)
    for name in ("p100_e0_n0", "w100_100000_0"):
        with pytest.raises(ValueError, match=f"more than {MOST_CELLS} cells"):
            cells_within(name, 50_000.0)
    with pytest.raises(ValueError, match="without cells"):
        Territory(frozenset(), 100.0)
    with pytest.raises(ValueError, match="two sizes"):
        Territory(frozenset({"p500_e0_n0", "p1000_e0_n0"}), 100.0)
