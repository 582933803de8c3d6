"""Sensors: how they are for everybody, where they stand for few; and no number of questions finds one out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.record.store import Store
from sensors.condition import STATES as SENSOR_STATES
from sensors.condition import Condition
from sensors.site import Geodetic, Local, Network, Site
from shotfix.api.sensor_states import CELL_M, cell, opaque, plane_cell, sensor_states
from shotfix.registry import Registry
from tests.api_city import STATES, played
from tests.strategies import NIGHT_NS

latitudes = st.floats(-90.0, 90.0)
longitudes = st.floats(-180.0, 180.0)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


def distance_m(one, other):
    """On a sphere (haversine)."""
    lat, lon, lat2, lon2 = (math.radians(value) for value in (*one, *other))
    chord = math.sin((lat2 - lat) / 2) ** 2 + math.cos(lat) * math.cos(lat2) * math.sin((lon2 - lon) / 2) ** 2
    return 2 * 6_371_000 * math.asin(min(math.sqrt(chord), 1.0))


@given(latitudes, longitudes)
def test_a_cell_is_near_and_says_no_more_than_itself(latitude, longitude):
    middle = cell(latitude, longitude)
    assert distance_m((latitude, longitude), middle) <= CELL_M * math.sqrt(0.5) * 1.05
    assert cell(*middle) == middle  # the middle of a cell is in it
    assert cell(latitude, longitude) == middle  # and to ask again gives nothing


@given(st.floats(-85.0, 85.0), st.floats(-179.9, 179.9), st.floats(-0.45, 0.45), st.floats(-0.45, 0.45))
def test_all_places_of_a_cell_give_one_answer(latitude, longitude, up, across):
    """Whoever moves a sensor within its cell changes nothing that is told: there is nothing to average."""
    middle = cell(latitude, longitude)
    north = up * CELL_M / 111_320.0
    east = across * CELL_M / (111_320.0 * math.cos(math.radians(middle[0])))
    assert cell(middle[0] + north, middle[1] + east) == middle


@given(st.floats(-1e6, 1e6))
def test_a_plane_has_cells_too(metres):
    assert abs(plane_cell(metres) - metres) <= CELL_M / 2
    assert plane_cell(plane_cell(metres)) == plane_cell(metres)


def test_names_say_nothing_and_stay():
    names = [f"roof-{number}" for number in range(1_000)]
    told = [opaque(bytes(32), name) for name in names]
    assert len(set(told)) == len(names)
    assert told == [opaque(bytes(32), name) for name in names]
    assert opaque(b"\x01" * 32, "roof-1") not in told  # another centre's key, another name


def test_who_must_know_is_told_where_and_nobody_else(store, tmp_path):
    async def play(city):
        for who in ("supervisor", "auditor"):
            told = (await city.get("/sensors", who)).json
            first = told["sensors"][0]
            assert (first["sensor"], first["latitude"], first["cell_m"]) == ("roof-0", STATES[0].latitude, None)
        for who in ("analyst", "researcher", "courier"):
            answers = [await city.get("/sensors", who) for _ in range(3)]
            assert len({answer.body for answer in answers}) == 1
            told = answers[0].json
            assert told["counts"]["live"] == 5
            for word in ("roof", "node-", *(repr(state.latitude) for state in STATES)):
                assert word not in answers[0].body.decode()
            assert [each["sensor"] for each in told["sensors"]] == sorted(each["sensor"] for each in told["sensors"])
            cells = {(each["latitude"], each["longitude"]) for each in told["sensors"]}
            assert cells == {cell(state.latitude, state.longitude) for state in STATES}

    played(play, store, tmp_path)


def test_a_running_engine_is_asked():
    sites = (
        Site("roof-1", Geodetic(41.76, -72.67, 12.0)),
        Site("yard-1", Local(10.0, 20.0, 2.0)),
    )
    registries = [Registry(Network((site,)), ("node-1",), ()) for site in sites]
    for registry, site in zip(registries, sites, strict=True):
        core = SimpleNamespace(
            registry=registry,
            conditions={site.sensor_id: Condition(site.sensor_id, NIGHT_NS), "gone-1": Condition("gone-1", NIGHT_NS)},
            watches={"node-1": SimpleNamespace(verdict=SimpleNamespace(size_s=0.25, words="ahead"))},
        )
        gone, state = sensor_states(SimpleNamespace(core=core))
        assert (state.sensor_id, state.node_id, state.clock_offset_s, state.clock) == (
            site.sensor_id,
            "node-1",
            0.25,
            "ahead",
        )
        assert state.state in SENSOR_STATES
        place = (state.latitude, state.longitude, state.east_m, state.north_m)
        assert place == ((41.76, -72.67, None, None) if site is sites[0] else (None, None, 10.0, 20.0))
        assert (gone.latitude, gone.east_m) == (None, None)
