"""Bearings as evidence: they speak for places that lie where the sound came from, and never decide alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localization.bearings import HEADING_SIGMA_DEG, REFLECTED, bearing_odds
from tests import naive

angles = st.floats(0.0, 360.0, exclude_max=True)


def odds(azimuths, offsets, sigma=2.0, place_sigma=1.0):
    azimuths = np.array(azimuths, float)
    return bearing_odds(azimuths, np.full(len(azimuths), sigma), np.array(offsets, float), place_sigma)


@given(
    st.lists(st.tuples(angles | st.just(math.nan), st.floats(0.5, 180.0), st.floats(-900.0, 900.0)), max_size=5),
    st.floats(0.0, 300.0) | st.just(math.inf),
)
def test_is_its_twin(bearings, place_sigma):
    azimuths, sigmas, easts = np.array(bearings, float).reshape(-1, 3).T
    offsets = np.column_stack([easts, np.linspace(-500.0, 500.0, len(easts))])
    twin = naive.bearing_odds(azimuths, sigmas, offsets, place_sigma, HEADING_SIGMA_DEG, REFLECTED)
    assert bearing_odds(azimuths, sigmas, offsets, place_sigma) == pytest.approx(twin, abs=0.02 * len(azimuths) + 1e-9)


@pytest.mark.parametrize("sigma", [0.5, 5.0, 40.0, 170.0])
def test_are_odds(sigma):
    """Against the uniform, densities average 1 around the circle: no bearing speaks for a place on the whole."""
    around = [math.exp(odds([azimuth], [(30.0, -80.0)], sigma)) for azimuth in np.arange(0.0, 360.0, 0.25)]
    assert np.mean(around) == pytest.approx(1.0, abs=0.01)


def test_three_sensors_leave_two_places_and_a_bearing_picks_one():
    here, there = (300.0, 400.0), (-120.0, 90.0)
    azimuth = math.degrees(math.atan2(*here))
    assert odds([azimuth + 2.0], [here]) > 2.0
    assert odds([azimuth + 2.0], [here]) - odds([azimuth + 2.0], [there]) > 4.0


@given(st.lists(angles, min_size=1, max_size=6), angles)
def test_a_reflection_is_worth_little(azimuths, place):
    offset = (500.0 * math.sin(math.radians(place)), 500.0 * math.cos(math.radians(place)))
    value = odds(azimuths, [offset] * len(azimuths))
    assert math.log(REFLECTED) * len(azimuths) <= value <= 3.6 * len(azimuths)


def test_north_is_both_ends_of_the_scale():
    assert odds([359.0], [(0.0, 100.0)]) == pytest.approx(odds([1.0], [(0.0, 100.0)]))


def test_beside_the_array_any_bearing_will_do():
    """A place within its own uncertainty of the sensor may lie on either side of it."""
    assert abs(odds([0.0], [(0.0, -5.0)], place_sigma=30.0)) < 0.05
    assert odds([0.0], [(0.0, -500.0)], place_sigma=30.0) < -1.5


def test_no_bearings_say_nothing():
    assert odds([], np.empty((0, 2))) == 0.0
    assert odds([math.nan], [(1.0, 2.0)]) == 0.0
