"""The queue: what waits for whom, and what comes first."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.review.queue import DOUBLED_S, FRESH_S, place_in_queue, priority, severity
from alerts.review.reviews import ReviewRules, Reviews
from tests.review_nights import REVIEW_LLR, SUPPRESSED_LLR, apply, minutes, tell

probabilities = st.floats(0.0, 1.0)
ages = st.floats(0.0, 7 * 86_400.0)
counts = st.integers(1, 200)
flags = st.booleans()


@given(probabilities, probabilities, counts, ages, flags)
def test_the_likelier_comes_first(p, q, rounds, age_s, automatic):
    low, high = sorted((p, q))
    assert priority(low, rounds, age_s, automatic=automatic) <= priority(high, rounds, age_s, automatic=automatic)


@given(probabilities, counts, counts, ages, flags)
def test_the_graver_comes_first(p, few, many, age_s, automatic):
    few, many = sorted((few, many))
    assert priority(p, few, age_s, automatic=automatic) <= priority(p, many, age_s, automatic=automatic)
    assert priority(p, few, age_s, automatic=False) < priority(p, few, age_s, automatic=True)


@given(probabilities, counts, flags, counts, flags, probabilities)
def test_age_alone_brings_up_the_least_likely_in_the_end(p, rounds, automatic, others, other_automatic, other_p):
    worst = severity(10_000, automatic=True) / 0.01
    waited = priority(p, rounds, DOUBLED_S * worst, automatic=automatic)
    assert waited >= priority(other_p, others, 0.0, automatic=other_automatic)


def test_how_grave_it_is():
    assert [severity(n, automatic=False) for n in (1, 2, 4, 16, 64, 1000)] == [1.0, 1.5, 2.0, 3.0, 4.0, 4.0]
    assert severity(4, automatic=True) == 4.0


@given(st.lists(st.tuples(st.sampled_from(["judge", "acknowledge", "adjudicate", "second"]), probabilities, ages)))
def test_the_bands(waiting):
    keys = [
        place_in_queue(want, priority(p, 1, age_s, automatic=False), age_s, f"i{k}")
        for k, (want, p, age_s) in enumerate(waiting)
    ]
    in_order = [waiting[keys.index(key)] for key in sorted(keys)]
    bands = []
    for want, _, age_s in in_order:
        first_look = want in ("judge", "acknowledge")
        bands.append({True: 0 if age_s <= FRESH_S else 2}.get(first_look, 1 if want == "adjudicate" else 3))
    assert bands == sorted(bands)


def test_who_is_offered_what(record_store):
    reviews = Reviews(record_store, ReviewRules(second_share=0.0))
    alarmed = tell(record_store, "alarmed", 30.0)
    doubted = tell(record_store, "doubted", 60.0, llr=REVIEW_LLR)
    tell(record_store, "dismissed", llr=SUPPRESSED_LLR)
    unsure = tell(record_store, "unsure", 90.0, llr=REVIEW_LLR)
    differs = tell(record_store, "differs", 120.0, llr=REVIEW_LLR)
    for incident_id in (unsure, differs):
        reviews.judge(incident_id, "ann", minutes(3), "unsure", expected_version=1)
    reviews.second(differs, "bob", minutes(4), "gunfire")

    def offered(who, **how):
        return [(one.incident_id, one.want) for one in reviews.queue(minutes(5), who, **how)]

    looks = [(alarmed, "acknowledge"), (doubted, "judge")]
    assert offered("ann") == looks
    assert offered("bob") == [*looks, (unsure, "second")]
    assert offered("sue", supervisor=True) == [*looks, (differs, "adjudicate"), (unsure, "second")]
    assert offered("bob", supervisor=True) == [*looks, (unsure, "second")]
    assert offered("cid", limit=1) == [(alarmed, "acknowledge")]
    assert reviews.waiting() == {"judge": 1, "acknowledge": 1, "adjudicate": 1, "second": 1}
    # Half an hour later what reviewers differ about goes before what is stale.
    stale = [one.want for one in reviews.queue(minutes(60), "sue", supervisor=True)]
    assert stale == ["adjudicate", "acknowledge", "judge", "second"]


def test_what_was_done_waits_no_longer(record_store):
    reviews = Reviews(record_store, ReviewRules(second_share=0.0))
    alarmed, doubted = tell(record_store, "alarmed"), tell(record_store, "doubted", 60.0, llr=REVIEW_LLR)
    reviews.acknowledge(alarmed, "ann", minutes(2))
    judged = reviews.judge(doubted, "ann", minutes(2), "gunfire", expected_version=1)
    assert reviews.queue(minutes(3), "bob") == ()
    apply(record_store, judged.act, "published")
    assert [one.want for one in reviews.queue(minutes(3), "bob")] == ["acknowledge"]  # now somebody must go there


def test_the_queue_says_who_has_it(record_store):
    reviews = Reviews(record_store)
    incident_id = tell(record_store, "shooting")
    reviews.claim(incident_id, "ann", minutes(1))
    (held,) = reviews.queue(minutes(2), "bob")
    assert (held.claimed_by, held.claimed_until_ns) == ("ann", minutes(3))
    (free,) = reviews.queue(minutes(3), "bob")
    assert (free.claimed_by, free.claimed_until_ns) == (None, None)


def test_an_automatic_burst_goes_before_a_likelier_single_shot(record_store):
    reviews = Reviews(record_store)
    single, burst = tell(record_store, "single", llr=9.0), tell(record_store, "burst", rounds=6)
    first, second = reviews.queue(minutes(1), "ann")
    assert (first.incident_id, second.incident_id) == (burst, single)
    assert first.p_gunshot < second.p_gunshot or first.rounds > second.rounds
    age_s = (minutes(1) - first.first_ns) / 1e9
    expected = priority(first.p_gunshot, 6, age_s, automatic=first.automatic)
    assert first.priority == pytest.approx(expected, rel=1e-6)
    assert math.isclose(expected, first.p_gunshot * (1 + 0.5 * math.log2(6)) * (1 + age_s / 1_800.0), rel_tol=1e-9)
