"""The breaker and the bucket: their published numbers, and the laws they keep whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from acoustic.instant import SECOND, after
from alerts.breaker import FAILURES, OPEN_S, Breaker, is_a_failure
from alerts.bucket import BURST, PER_MINUTE, Bucket
from alerts.delivery import Delivery, Receipt
from tests.strategies import NIGHT_NS

WON = Receipt(delivered=True, detail="answered 204", status_code=204)
LOST = Receipt(delivered=False, detail="answered 500", status_code=500)


def word(kind="new", attempts=0):
    return Delivery("a", 1, "room", kind, "2026-11-21T02:14:09.000000Z", b"{}", NIGHT_NS, attempts)


def opened(now_ns=NIGHT_NS):
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.began()
        breaker.ended(LOST, now_ns)
    return breaker


def test_the_numbers_are_the_ones_published():
    assert (FAILURES, OPEN_S, PER_MINUTE, BURST) == (5, 30.0, 60.0, 10)


def test_it_opens_after_five_failures_in_a_row_and_a_success_begins_the_count_anew():
    breaker = Breaker()
    for receipt in [LOST] * 4 + [WON] + [LOST] * 4:
        assert breaker.admits(word("revised"), NIGHT_NS)
        breaker.ended(receipt, NIGHT_NS)
    assert not breaker.is_open
    breaker.ended(LOST, NIGHT_NS)
    assert (breaker.is_open, breaker.opened) == (True, 1)
    assert not breaker.admits(word("revised"), after(NIGHT_NS, 29.9))
    assert breaker.opens_ns(NIGHT_NS) == after(NIGHT_NS, 30.0)


def test_after_its_time_one_is_tried_and_what_comes_of_it_decides():
    breaker = opened()
    later = after(NIGHT_NS, 30.0)
    assert breaker.admits(word("revised"), later)
    breaker.began()
    assert not breaker.admits(word(), later), "one at a time, whatever it is"
    breaker.ended(LOST, later)
    assert breaker.opens_ns(later) == after(later, 30.0)
    breaker.began()
    breaker.ended(WON, after(later, 30.0))
    assert not breaker.is_open
    assert breaker.opened == 1


def test_the_first_word_of_an_alert_may_be_the_try_before_its_time_and_does_not_put_the_time_off():
    breaker = opened()
    soon = after(NIGHT_NS, 3.0)
    assert not breaker.admits(word(attempts=1), soon)
    assert not breaker.admits(word("cancelled"), soon)
    assert breaker.admits(word(), soon)
    breaker.began()
    assert not breaker.admits(word(), soon)
    breaker.ended(LOST, soon)
    assert breaker.opens_ns(soon) == after(NIGHT_NS, 30.0)


@pytest.mark.parametrize("code", [400, 401, 404, 410, 413, 422])
def test_what_is_refused_for_itself_says_nothing_against_the_receiver(code):
    assert not is_a_failure(Receipt(delivered=False, detail="no", status_code=code))


@pytest.mark.parametrize("code", [None, 301, 408, 425, 429, 500, 502, 503])
def test_silence_overload_and_faults_do(code):
    assert is_a_failure(Receipt(delivered=False, detail="no", status_code=code))


def test_a_clock_that_is_set_back_does_not_keep_it_open():
    breaker = opened(after(NIGHT_NS, 86_400.0))
    assert breaker.opens_ns(NIGHT_NS) == after(NIGHT_NS, 30.0)
    assert breaker.admits(word("revised"), after(NIGHT_NS, 30.0))


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"open_s": 0.0}, {"open_s": float("inf")}])
def test_a_breaker_checks_itself(wrong):
    with pytest.raises(ValueError, match="breaker"):
        Breaker(**wrong)


class BreakerLife(RuleBasedStateMachine):
    """Whatever happens: never two tries at once while open, and never a receiver that is left alone for ever."""

    def __init__(self):
        super().__init__()
        self.breaker, self.now, self.under_way = Breaker(), NIGHT_NS, 0

    @rule(
        seconds=st.floats(0.0, 100.0), kind=st.sampled_from(["new", "revised", "cancelled"]), attempts=st.integers(0, 3)
    )
    def time_goes_and_something_waits(self, seconds, kind, attempts):
        self.now = after(self.now, seconds)
        if self.breaker.admits(word(kind, attempts), self.now):
            if self.breaker.is_open:
                assert not self.breaker.trying
            self.breaker.began()
            self.under_way += 1

    @rule(receipt=st.sampled_from([WON, LOST]))
    def one_ends(self, receipt):
        if self.under_way:
            self.under_way -= 1
            self.breaker.ended(receipt, self.now)

    @invariant()
    def there_is_an_end(self):
        assert self.now <= self.breaker.opens_ns(self.now) <= after(self.now, OPEN_S)
        if not self.under_way:
            assert self.breaker.admits(word("revised", 9), after(self.now, OPEN_S))


TestBreakerLife = BreakerLife.TestCase


@given(
    st.lists(st.floats(0.0, 20.0), max_size=200), st.floats(1.0, 600.0), st.integers(1, 30),
)  # fmt: skip
def test_no_stretch_of_time_has_more_than_the_burst_and_the_rate(gaps_s, per_minute, burst):
    """The definition of a token bucket: in any stretch of length t at most burst + rate * t; and none is withheld."""
    bucket, now, taken = Bucket(per_minute, burst), NIGHT_NS, []
    for gap_s in gaps_s:
        now = after(now, gap_s)
        told, next_ns = bucket.tokens(now), bucket.next_ns(now)
        assert 0 <= told <= burst
        assert (next_ns == now) == (told > 0)
        if bucket.take(now):
            taken.append(now)
        else:
            assert bucket.tokens(next_ns) == 1
            assert bucket.tokens(next_ns - 1) == 0
    for i, first in enumerate(taken):
        for j, last in enumerate(taken[i:], start=1):
            assert j <= burst + per_minute / 60.0 * (last - first) / SECOND + 1e-6


def test_a_clock_that_is_set_forward_fills_it_and_one_that_is_set_back_empties_it():
    bucket = Bucket(60.0, 2)
    assert [bucket.take(NIGHT_NS) for _ in range(3)] == [True, True, False]
    assert bucket.tokens(after(NIGHT_NS, -3600.0)) == 0
    assert bucket.tokens(after(NIGHT_NS, -3599.0)) == 1
    assert bucket.tokens(after(NIGHT_NS, 3600.0)) == 2


@pytest.mark.parametrize("wrong", [{"per_minute": 0.0}, {"per_minute": float("nan")}, {"burst": 0}])
def test_a_bucket_checks_itself(wrong):
    with pytest.raises(ValueError, match="expected a rate"):
        Bucket(**wrong)
