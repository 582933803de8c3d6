"""Deliveries: the schedule of attempts, and who gets what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import SECOND
from alerts.delivery import JITTER, LATE_AFTER_NS, LONGEST_WAIT_S, SCHEDULE_S, Delivery, Route, couriers_for, wait_s
from alerts.desk import Desk
from tests.strategies import NIGHT_NS, fix_at


def test_the_schedule_is_the_one_agreed():
    assert SCHEDULE_S == (
        0, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400,
    )  # fmt: skip


@given(st.integers(0, 20), st.text(max_size=40))
def test_every_wait_keeps_to_the_schedule_with_its_jitter(attempts, name):
    wait = wait_s(attempts, name)
    if attempts >= len(SCHEDULE_S):
        assert wait is None
    else:
        assert SCHEDULE_S[attempts] <= wait <= SCHEDULE_S[attempts] * (1.0 + JITTER)
        assert wait == wait_s(attempts, name)


def test_two_deliveries_do_not_wait_alike():
    assert len({wait_s(5, f"a{k}") for k in range(50)}) == 50


@pytest.mark.parametrize(("asked", "granted"), [(120.0, 120.0), (1e9, LONGEST_WAIT_S), (-5.0, 1.0), (0.0, 1.0)])
def test_a_receiver_that_asks_for_a_pause_gets_it(asked, granted):
    assert granted <= wait_s(1, "a", asked) <= granted * (1.0 + JITTER)


def delivery(**change):
    fields = {
        "alert_id": "a1", "revision": 2, "courier": "room", "kind": "new",
        "published_at": "2026-11-21T02:14:09.000000Z", "document": b"{}", "queued_ns": NIGHT_NS,
    }  # fmt: skip
    return Delivery(**(fields | change))


def test_a_delivery_has_one_name_for_all_attempts():
    assert delivery().message_id == delivery(attempts=3).message_id == "a1-r2"


def test_a_delivery_is_late_after_five_minutes():
    assert not delivery().late(NIGHT_NS + LATE_AFTER_NS)
    assert delivery().late(NIGHT_NS + LATE_AFTER_NS + 1)
    assert LATE_AFTER_NS == 300 * SECOND


@pytest.mark.parametrize("wrong", [{"document": b""}, {"revision": 0}, {"courier": ""}, {"attempts": -1}])
def test_a_delivery_checks_itself(wrong):
    with pytest.raises(ValueError):
        delivery(**wrong)


def test_routes_choose_by_outcome():
    routes = [Route("room"), Route("desk", ("review", "published")), Route("room", ("review",))]
    (published,) = Desk().receive(fix_at("a"))
    (review,) = Desk().receive(fix_at("a", llr=0.0))
    assert couriers_for(published, routes) == ("room", "desk")
    assert couriers_for(review, routes) == ("desk", "room")
    assert couriers_for(review, [Route("room")]) == ()
