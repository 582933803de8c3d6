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
    assert waiting.silent_until(NOW_NS + 30 * SECOND) == NOW_NS + 30 * SECOND
    assert waiting.due(NOW_NS + 3600 * SECOND) is None
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


def test_one_that_claims_to_be_a_day_ahead_stops_nobody():
    waiting = begun("a", "b", "c", "mad")
    for name in ("a", "b", "c"):
        waiting.hear(name, NOW_NS, NOW_NS)
    waiting.hear("mad", NOW_NS, NOW_NS + 86_400 * SECOND)
    for later in range(1, 30):
        for name in ("a", "b", "c"):
            waiting.hear(name, NOW_NS + later * SECOND, NOW_NS + later * SECOND)
        due_ns = waiting.due(NOW_NS + later * SECOND)
        assert due_ns == NOW_NS + later * SECOND
        waiting.tell(due_ns)


def test_where_all_left_one_of_them_a_day_ahead_time_goes_on_as_for_the_others():
    waiting = begun("a", "b", "mad")
    for name in ("a", "b"):
        waiting.leave(name, NOW_NS, NOW_NS)
    waiting.leave("mad", NOW_NS, NOW_NS + 86_400 * SECOND)
    assert waiting.due(NOW_NS + 5 * SECOND) == NOW_NS + 5 * SECOND


def test_a_network_that_comes_back_one_by_one_is_waited_for():
    """After everybody was silent for an hour; the backlog of each takes 5 s, and begins when the one before ends."""
    waiting = begun("a", "b", "c")
    for name in ("a", "b", "c"):
        waiting.hear(name, NOW_NS, NOW_NS)
    waiting.tell(NOW_NS)
    hour = 3600 * SECOND
    for turn, name in enumerate(("a", "b", "c")):
        for step in range(1, 6):
            now_ns = NOW_NS + hour + (5 * turn + step) * SECOND
            for earlier in ("a", "b", "c")[:turn]:
                waiting.hear(earlier, now_ns, now_ns)
            waiting.hear(name, now_ns, NOW_NS + step * hour // 5)
            due_ns = waiting.due(now_ns)
            if name != "c":
                assert due_ns is None  # c has not told of that hour yet
    assert waiting.due(now_ns) == NOW_NS + hour


@pytest.mark.parametrize("back_s", [0.01, 5.0, 3600.0])
def test_a_clock_set_back_neither_waits_for_who_never_spoke_nor_forgets_who_fell_silent(back_s: float):
    waiting = begun("a", "b", "never")
    for second in range(1, 40):
        for name in "ab" if second < 35 else "a":
            waiting.hear(name, NOW_NS + second * SECOND, NOW_NS + second * SECOND)
        due_ns = waiting.due(NOW_NS + second * SECOND)
        if due_ns is not None:
            waiting.tell(due_ns)
    back_ns, told_ns = round(back_s * SECOND), waiting.watermark_ns
    for second in range(40, 60):
        waiting.hear("a", NOW_NS + second * SECOND - back_ns, NOW_NS + second * SECOND)
        due_ns = waiting.due(NOW_NS + second * SECOND - back_ns)
        if due_ns is not None:
            waiting.tell(due_ns)
        if second > 34 + 10 + min(back_s, 1.0):  # b is stale, as if nothing had happened to the clock
            assert waiting.watermark_ns == NOW_NS + second * SECOND
    assert waiting.watermark_ns > told_ns
    assert waiting.silent_until(NOW_NS + 59 * SECOND - back_ns) is None
    assert waiting.silent_until(NOW_NS + 80 * SECOND - back_ns) == NOW_NS + (59 + 21) * SECOND
