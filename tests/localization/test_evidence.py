"""Fusion: several sensors say more than one, and less than their sum."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.detection import CLASSES, probability
from localization.evidence import fuse
from tests import streets


def heard(*llrs):
    return [streets.pulse(f"S{k}", 1.0 + 0.1 * k, llr=llr) for k, llr in enumerate(llrs)]


def test_one_sensor_says_what_it_says():
    llr, probabilities = fuse(heard(2.0), [1.0])
    assert llr == pytest.approx(2.0)
    assert probabilities[0] == pytest.approx(probability(2.0))


def test_eight_sensors_weigh_as_much_as_two_and_a_half():
    """n / (1 + (n - 1) rho), with rho .3: 2.58 for eight."""
    assert fuse(heard(*[1.0] * 8), [1.0] * 8)[0] == pytest.approx(2.58, abs=0.01)


def test_what_is_no_direct_arrival_has_no_say():
    assert fuse(heard(1.0, -9.0), [1.0, 0.0])[0] == pytest.approx(1.0)


@given(st.lists(st.floats(-50.0, 50.0), min_size=1, max_size=12), st.floats(0.0, 1.0))
def test_probabilities_are_probabilities(llrs, weight):
    llr, probabilities = fuse(heard(*llrs), [weight] * len(llrs))
    assert math.isfinite(llr)
    assert len(probabilities) == len(CLASSES)
    assert math.fsum(probabilities) == pytest.approx(1.0)
    assert probabilities[0] == pytest.approx(probability(llr))
