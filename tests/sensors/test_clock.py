from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import SECOND, parse_instant, sample_instant
from sensors.clock import SampleClock

ANCHOR_NS = parse_instant("2026-11-21T00:00:00Z")
rates = st.integers(8_000, 192_000)


@given(rate_hz=rates, index=st.integers(0, 10**11))
def test_no_length_of_stream_drifts(rate_hz, index):
    exact = Fraction(index * SECOND, rate_hz)
    assert abs(SampleClock(ANCHOR_NS, rate_hz).instant(index) - ANCHOR_NS - exact) <= Fraction(1, 2)


@given(rate_hz=rates, index=st.floats(0.0, 1e9))
def test_between_samples_it_is_right_to_a_nanosecond(rate_hz, index):
    exact = Fraction(index) * SECOND / rate_hz
    assert abs(SampleClock(ANCHOR_NS, rate_hz).instant(index) - ANCHOR_NS - exact) <= 1


@given(rate_hz=rates, after_ns=st.integers(-SECOND, 10**15))
def test_index_is_the_first_sample_at_or_after_an_instant(rate_hz, after_ns):
    clock = SampleClock(ANCHOR_NS, rate_hz)
    index = clock.index(ANCHOR_NS + after_ns)
    assert sample_instant(ANCHOR_NS, index - 1, rate_hz) < ANCHOR_NS + after_ns
    assert sample_instant(ANCHOR_NS, index, rate_hz) >= ANCHOR_NS + after_ns


@given(rate_hz=rates, index=st.integers(0, 10**9), error=st.floats(-2.0, 2.0))
def test_agreement_is_within_half_a_sample(rate_hz, index, error):
    clock = SampleClock(ANCHOR_NS, rate_hz)
    claimed_ns = clock.instant(index) + round(error * SECOND / rate_hz)
    if abs(abs(error) - 0.5) > 0.001:
        assert clock.agrees(index, claimed_ns) == (abs(error) < 0.5)


def test_seconds_and_idle_rates_are_refused():
    with pytest.raises(ValueError, match="nanoseconds"):
        SampleClock(10**19, 8_000)
    with pytest.raises(ValueError, match="rate_hz"):
        SampleClock(ANCHOR_NS, 0)
