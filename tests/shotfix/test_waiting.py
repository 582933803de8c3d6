"""Whose word the watermark waits for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import SECOND
from shotfix.waiting import CLOSING_NS, Patience, Waiting

NOW_NS = 1_800_000_000 * SECOND


def begun(*names: str, pace: float = 1.0) -> Waiting:
    waiting = Waiting(Patience(stale_s=10.0, join_s=10.0, pace=pace))
    waiting.begin(NOW_NS)
    waiting.expect(names)
    return waiting


def test_nothing_is_told_before_everybody_has_spoken_or_the_time_to_join_is_over():
    waiting = begun("a", "b")
    waiting.hear("a", NOW_NS + SECOND, NOW_NS)
    assert waiting.due(NOW_NS + SECOND) is None
    assert waiting.due(NOW_NS + 10 * SECOND) is None
    waiting.hear("a", NOW_NS + 11 * SECOND, NOW_NS + 10 * SECOND)
    assert waiting.due(NOW_NS + 11 * SECOND) == NOW_NS + 10 * SECOND


def test_the_slowest_sets_the_pace_until_it_is_stale():
    waiting = begun("a", "b")
    waiting.hear("a", NOW_NS + 5 * SECOND, NOW_NS + 5 * SECOND)
    waiting.hear("b", NOW_NS + 5 * SECOND, NOW_NS + 2 * SECOND)
    assert waiting.due(NOW_NS + 5 * SECOND) == NOW_NS + 2 * SECOND
    waiting.hear("a", NOW_NS + 16 * SECOND, NOW_NS + 16 * SECOND)
    assert waiting.due(NOW_NS + 16 * SECOND) == NOW_NS + 16 * SECOND  # b said nothing for 11 s


def test_who_comes_back_with_a_backlog_holds_up_nobody_and_counts_again_when_it_has_caught_up():
    waiting = begun("a", "b")
    for name in ("a", "b"):
        waiting.hear(name, NOW_NS, NOW_NS)
    waiting.hear("a", NOW_NS + 60 * SECOND, NOW_NS + 60 * SECOND)
    waiting.tell(NOW_NS + 60 * SECOND)
    waiting.hear("b", NOW_NS + 61 * SECOND, NOW_NS + 1 * SECOND)
    waiting.hear("a", NOW_NS + 61 * SECOND, NOW_NS + 61 * SECOND)
    assert waiting.due(NOW_NS + 61 * SECOND) == NOW_NS + 61 * SECOND
    waiting.hear("b", NOW_NS + 62 * SECOND, NOW_NS + 61 * SECOND)
    waiting.hear("a", NOW_NS + 62 * SECOND, NOW_NS + 62 * SECOND)
    assert waiting.due(NOW_NS + 62 * SECOND) == NOW_NS + 61 * SECOND  # b is waited for again


def test_where_all_fall_silent_the_watermark_stands_but_what_is_open_closes():
    waiting = begun("a", "b")
    for name in ("a", "b"):
        waiting.hear(name, NOW_NS, NOW_NS)
    waiting.tell(NOW_NS)
    assert waiting.silent_until(NOW_NS + 5 * SECOND) is None
    assert waiting.due(NOW_NS + 3600 * SECOND) is None
    assert waiting.silent_until(NOW_NS + 30 * SECOND) == NOW_NS + 30 * SECOND
    assert waiting.silent_until(NOW_NS + 3600 * SECOND) == NOW_NS + CLOSING_NS
    # Their backlog is not late: the watermark waits for both of them again.
    waiting.hear("a", NOW_NS + 3600 * SECOND, NOW_NS + 100 * SECOND)
    waiting.hear("b", NOW_NS + 3600 * SECOND, NOW_NS + 90 * SECOND)
    assert waiting.due(NOW_NS + 3600 * SECOND) == NOW_NS + 90 * SECOND


@pytest.mark.parametrize("pace", [1.0, 20.0])
def test_where_all_took_leave_event_time_goes_on_for_a_while(pace: float):
    waiting = begun("a", "b", pace=pace)
    for name, until in (("a", 3), ("b", 4)):
        waiting.leave(name, NOW_NS + 5 * SECOND, NOW_NS + until * SECOND)
    assert waiting.due(NOW_NS + 5 * SECOND) == NOW_NS + 4 * SECOND
    waiting.tell(NOW_NS + 4 * SECOND)
    assert waiting.due(NOW_NS + 6 * SECOND) == NOW_NS + round((4 + pace) * SECOND)
    assert waiting.due(NOW_NS + 500 * SECOND) == NOW_NS + 4 * SECOND + CLOSING_NS


def test_a_sensor_that_is_not_trusted_holds_up_nobody_however_far_ahead_it_claims_to_be():
    waiting = begun("a", "b", "mad")
    for name in ("a", "b"):
        waiting.hear(name, NOW_NS, NOW_NS)
    waiting.trust("mad", trusted=False)
    waiting.hear("mad", NOW_NS, NOW_NS + 3600 * SECOND)
    assert waiting.due(NOW_NS) == NOW_NS


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=40))
def test_the_watermark_never_goes_back_nor_beyond_what_somebody_trusted_has_told(words):
    waiting = begun("a", "b", "c")
    now_ns, told_ns, furthest_ns = NOW_NS, 0, 0
    for name, later_s, until_s, leaves in words:
        now_ns += later_s * SECOND
        (waiting.leave if leaves else waiting.hear)(name, now_ns, NOW_NS + until_s * SECOND)
        furthest_ns = max(furthest_ns, NOW_NS + until_s * SECOND)
        due_ns = waiting.due(now_ns)
        if due_ns is not None:
            assert told_ns < due_ns <= furthest_ns + CLOSING_NS
            told_ns = due_ns
            waiting.tell(due_ns)


@pytest.mark.parametrize("name", ["stale_s", "join_s", "pace"])
def test_patience_is_above_nothing(name: str):
    with pytest.raises(ValueError, match=name):
        Patience(**{name: 0.0})
