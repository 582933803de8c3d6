import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.block import STATES, AudioBlock, Timing
from acoustic.instant import MICROSECOND, MILLISECOND, SECOND, parse_instant, sample_instant
from sensors.clock import DisciplinedClock, SampleClock
from sensors.health import CLOCK_STATES

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


timings = st.builds(
    Timing,
    index=st.integers(0, 10**9),
    instant_ns=st.integers(ANCHOR_NS, ANCHOR_NS + 10**15),
    rate_hz=st.floats(47_900.0, 48_100.0),
    sigma_s=st.floats(0.0, 1.0),
)


@given(timing=timings, ahead=st.integers(-(10**9), 10**9))
def test_a_timing_is_right_to_a_nanosecond_for_hours(timing, ahead):
    exact = timing.instant_ns + Fraction(ahead * SECOND) / Fraction(timing.rate_hz)
    assert abs(timing.instant(timing.index + ahead) - exact) <= 1


@given(timing=timings, after_ns=st.integers(-(10**15), 10**15))
def test_a_timing_finds_the_first_sample_at_or_after_an_instant(timing, after_ns):
    index = timing.first_at(timing.instant_ns + after_ns)
    assert timing.instant(index - 1) < timing.instant_ns + after_ns <= timing.instant(index)


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=20), st.integers(0, 10**6))
def test_each_timing_holds_from_its_sample_to_the_next(lengths, first):
    count, clock, told = 0, None, []
    for number, length in enumerate(lengths):
        timing = Timing(first + count, ANCHOR_NS + number * SECOND, 48_000.0 + number, 0.001)
        clock = clock or DisciplinedClock(first, timing)
        clock.follow(count, timing)
        told += [(count, timing), (count + length - 1, timing)]
        count += length
    assert all(
        clock.timing(index) == timing and clock.instant(index) == timing.instant(first + index)
        for index, timing in told
        if index > count - 5 * 48_000
    )


def test_a_timing_that_no_sample_came_with_is_forgotten():
    one, two, three = (Timing(0, ANCHOR_NS + k, 48_000.0, 0.001) for k in range(3))
    clock = DisciplinedClock(0, one)
    clock.follow(100, two)
    clock.follow(100, three)
    assert (clock.timing(99), clock.timing(100)) == (one, three)


def test_a_count_that_jumps_or_a_clock_that_was_set_ends_the_stream():
    timing = Timing(500, ANCHOR_NS, 48_000.0, 0.001)
    clock = DisciplinedClock(600, timing)
    assert clock.continued_by(48, 648, timing)
    assert not clock.continued_by(48, 649, timing)
    better = Timing(648, timing.instant(648) + 400 * MICROSECOND, 48_000.5, 0.001)
    assert clock.continued_by(48, 648, better)
    assert not clock.continued_by(48, 648, Timing(648, timing.instant(648) - 2 * MILLISECOND, 48_000.5, 0.001))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"index": -1}, "index is -1"),
        ({"index": 0.0}, "index is 0.0"),
        ({"instant_ns": 10**19}, "nanoseconds"),
        ({"rate_hz": math.nan}, "rate_hz is nan"),
        ({"rate_hz": 0.0}, "rate_hz is 0.0"),
        ({"sigma_s": -1e-9}, "sigma_s is"),
        ({"sigma_s": math.nan}, "sigma_s is nan"),
        ({"state": "good"}, "locked, holdover, free, stated"),
    ],
)
def test_a_timing_checks_itself(change, words):
    given_ = {"index": 0, "instant_ns": ANCHOR_NS, "rate_hz": 48_000.0, "sigma_s": 0.001} | change
    with pytest.raises(ValueError, match=words):
        Timing(**given_)


def test_states_are_those_of_heartbeats():
    assert STATES == CLOCK_STATES


def test_a_block_and_its_timing_agree():
    timing = Timing(48_000, ANCHOR_NS, 47_995.2, 0.001)
    samples = np.zeros(96, np.float32)
    block = AudioBlock.timed(samples, 48_000, 48_480, timing, after_gap=True)
    assert block.start_ns == timing.instant(48_480)
    assert block.end_ns == timing.instant(48_576)
    head, rest = block.split(40)
    assert (head.index, rest.index, head.after_gap, rest.after_gap) == (48_480, 48_520, True, False)
    assert head.end_ns == rest.start_ns == timing.instant(48_520)
    assert rest.timing is timing
    for wrong in (
        {"index": None},
        {"index": 47_999},
        {"start_ns": block.start_ns + 1},
        {"timing": replace(timing, rate_hz=44_100.0)},
    ):
        with pytest.raises(ValueError, match=r"index|start_ns|rate"):
            replace(block, **wrong)
