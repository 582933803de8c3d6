"""The second reviewer: who is asked, what they may know, and what becomes of it when the two differ."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from alerts.act import JUDGEMENTS
from alerts.alert import Audio
from alerts.record import tables
from alerts.record.store import Store
from alerts.review.blind import blind
from alerts.review.reviews import ConflictError, ObjectionError, ReviewRules, Reviews
from alerts.review.rules import draw, overruled
from tests.review_nights import REVIEW_LLR, SUPPRESSED_LLR, apply, minutes, tell

ALL = ReviewRules(second_share=1.0, second_seed="a night in November")
HARD_ONLY = ReviewRules(second_share=0.0)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as opened:
        yield opened


def judged(reviews, name="shooting", verdict="gunfire", *, by="ann", llr=REVIEW_LLR):
    incident_id = tell(reviews.store, name, llr=llr)
    reviews.judge(incident_id, by, minutes(1), verdict, expected_version=reviews.head(incident_id).version)
    return incident_id


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_the_draw_takes_its_share(share):
    # Binomial: 4.4 standard deviations are passed by chance once in 10^5.
    drawn = sum(draw(f"i{k:016x}", "seed") < share for k in range(20_000))
    assert abs(drawn - 20_000 * share) < 4.4 * math.sqrt(20_000 * share * (1.0 - share))


def test_the_draw_is_the_same_for_ever_and_another_with_another_seed():
    names = [f"i{k}" for k in range(1_000)]
    assert [draw(name, "one") for name in names] == [draw(name, "one") for name in names]
    both = sum((draw(name, "one") < 0.5) == (draw(name, "two") < 0.5) for name in names)
    assert abs(both - 500) < 4.4 * math.sqrt(250)


@given(st.text(max_size=40), st.text(max_size=10))
def test_the_draw_is_never_one(name, seed):
    assert 0.0 <= draw(name, seed) < 1.0
    assert "drawn" in ReviewRules(second_share=1.0, second_seed=seed).second_because(name, "gunfire", "published")
    assert ReviewRules(second_share=0.0, second_seed=seed).second_because(name, "gunfire", "published") == ()


@pytest.mark.parametrize(
    ("verdict", "llr", "because"),
    [
        ("gunfire", 6.0, []),
        ("fireworks", 6.0, ["overruled"]),
        ("unsure", 6.0, ["unsure"]),
        ("gunfire", SUPPRESSED_LLR, ["overruled"]),
        ("vehicle", SUPPRESSED_LLR, []),
        ("gunfire", REVIEW_LLR, []),
        ("fireworks", REVIEW_LLR, []),
        ("unsure", REVIEW_LLR, ["unsure"]),
    ],
)
def test_a_second_person_is_asked_where_it_was_hard(store, verdict, llr, because):
    reviews = Reviews(store, HARD_ONLY)
    incident_id = judged(reviews, verdict=verdict, llr=llr)
    assert reviews.head(incident_id).wants_second == bool(because)
    (entry,) = reviews.ledger.entries(kinds=("opinion",))
    assert msgspec.json.decode(entry.body)["second_because"] == because


@given(st.sampled_from(JUDGEMENTS), st.sampled_from(["published", "review", "suppressed"]))
def test_overruling_is_saying_the_opposite(verdict, outcome):
    send = {"published": True, "suppressed": False}.get(outcome)
    fired = None if verdict == "unsure" else verdict == "gunfire"
    assert overruled(verdict, outcome) == (None not in (send, fired) and send != fired)


def test_who_agrees_ends_it(store):
    reviews = Reviews(store, ALL)
    incident_id = judged(reviews)
    head = reviews.second(incident_id, "bob", minutes(2), "gunfire", listened=True)
    assert (head.wants_second, head.disagreed, head.verdict) == (False, False, "gunfire")
    assert [(one.turn, one.by, one.listened) for one in reviews.opinions(incident_id)] == [
        (1, "ann", False),
        (2, "bob", True),
    ]
    assert len(reviews.pending()) == 1  # the second word tells nobody anything
    with pytest.raises(ObjectionError, match="no second opinion is wanted"):
        reviews.second(incident_id, "cid", minutes(3), "gunfire")
    version = reviews.head(incident_id).version
    with pytest.raises(ConflictError, match="two reviewers have spoken"):
        reviews.judge(incident_id, "ann", minutes(4), "vehicle", expected_version=version)


def test_who_differs_calls_a_supervisor_who_is_a_third_person(store):
    reviews = Reviews(store, ALL)
    incident_id = judged(reviews)
    head = reviews.second(incident_id, "bob", minutes(2), "fireworks")
    assert (head.wants_second, head.disagreed, head.verdict) == (False, True, "gunfire")
    for one_of_them in ("ann", "bob", "BOB"):
        with pytest.raises(ConflictError, match="a third person"):
            reviews.adjudicate(incident_id, one_of_them, minutes(3), "gunfire", expected_version=head.version)
    decision = reviews.adjudicate(incident_id, "sue", minutes(4), "fireworks", expected_version=head.version)
    assert (decision.head.disagreed, decision.head.verdict) == (False, "fireworks")
    assert (decision.act.kind, decision.act.judgement, decision.act.by) == ("judge", "fireworks", "sue")
    assert [one.turn for one in reviews.opinions(incident_id)] == [1, 2, 3]
    # Undone, the two differ again.
    version = decision.head.version
    undone = reviews.undo(
        incident_id, "sue", minutes(5), decision.act.act_id, expected_version=version, supervisor=True
    )
    assert (undone.head.disagreed, undone.head.verdict) == (True, "gunfire")


def test_a_first_word_that_was_compared_stays_on_record_when_it_is_undone(store):
    reviews = Reviews(store, ALL)
    incident_id = judged(reviews)
    head = reviews.second(incident_id, "bob", minutes(2), "gunfire")
    first = reviews.pending()[0].act
    undone = reviews.undo(incident_id, "ann", minutes(3), first.act_id, expected_version=head.version)
    assert (undone.head.verdict, undone.head.disagreed, undone.head.wants_second) == (None, True, False)
    assert [(one.turn, one.verdict) for one in reviews.opinions(incident_id)] == [(1, "gunfire"), (2, "gunfire")]
    assert reviews.adjudicate(incident_id, "sue", minutes(4), "other", expected_version=undone.head.version)


@pytest.mark.parametrize("same", ["ann", "Ann", "ANN"])
def test_nobody_is_their_own_second(store, same):
    reviews = Reviews(store, ALL)
    incident_id = judged(reviews)
    with pytest.raises(ConflictError, match="you judged it before"):
        reviews.second(incident_id, same, minutes(2), "gunfire")
    assert [one.want for one in reviews.queue(minutes(2), same)] == []
    assert [one.want for one in reviews.queue(minutes(2), "bob")] == ["second"]
    assert reviews.head(incident_id).wants_second


def test_who_acknowledged_the_alert_knows_what_the_machine_says(store):
    reviews = Reviews(store, ALL)
    incident_id = tell(store, "shooting")
    reviews.acknowledge(incident_id, "bob", minutes(1))
    reviews.judge(incident_id, "ann", minutes(1), "gunfire", expected_version=2)
    with pytest.raises(ConflictError, match="acknowledged"):
        reviews.second(incident_id, "bob", minutes(2), "gunfire")
    assert reviews.queue(minutes(2), "Bob") == ()


def test_the_queue_tells_a_second_reviewer_nothing(store):
    reviews = Reviews(store, ALL)
    incident_id = judged(reviews, llr=SUPPRESSED_LLR)
    (waiting,) = reviews.queue(minutes(2), "bob")
    told = {name: value for name, value in dataclasses.asdict(waiting).items() if value is not None}
    head = reviews.head(incident_id)
    assert told == {
        "incident_id": incident_id, "alert_id": head.alert_id, "version": head.version, "want": "second",
    }  # fmt: skip


def test_who_claimed_it_as_second_sees_only_the_blind_side(store):
    reviews = Reviews(store, ALL)
    incident_id = judged(reviews)
    assert not reviews.must_be_blind(incident_id, "bob", minutes(2))  # the room must be able to see what is going on
    reviews.claim(incident_id, "bob", minutes(2))
    assert reviews.must_be_blind(incident_id, "bob", minutes(3))
    assert not reviews.must_be_blind(incident_id, "ann", minutes(3))
    reviews.second(incident_id, "bob", minutes(3), "gunfire")
    assert not reviews.must_be_blind(incident_id, "bob", minutes(3))


def leaves(value):
    """Every text and number in a document."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in (key, *leaves(inner))]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


def test_the_blind_side_is_the_same_whatever_anybody_thinks(store):
    reviews = Reviews(store, ALL)
    incident_id = tell(store, "burst", rounds=3)
    before = reviews.blind(incident_id)
    (act,) = [reviews.judge(incident_id, "ann", minutes(1), "fireworks", expected_version=3, note="a whistle").act]
    apply(store, act, "suppressed")
    after_it = reviews.blind(incident_id)
    # Its revision moves with every late sensor, too.
    assert dataclasses.replace(after_it, revision=0) == dataclasses.replace(before, revision=0)
    told = leaves(msgspec.json.decode(msgspec.json.encode(after_it)))
    for word in (
        "fireworks",
        "a whistle",
        "ann",
        "suppressed",
        "published",
        "p_gunshot",
        "llr",
        "prior",
        "sound",
        "outcome",
    ):
        assert word not in told
    assert after_it.place is None
    assert reviews.blind(incident_id, with_place=True).place.latitude == reviews.head(incident_id).latitude


def test_the_blind_side_has_the_sound_and_its_times_but_not_the_hour(store):
    reviews = Reviews(store, ALL)
    incident_id = tell(store, "burst", rounds=3)
    with store.reading() as connection:
        from alerts.review.acts import last_said  # noqa: PLC0415

        alert = last_said(connection, reviews.head(incident_id).alert_id)
    clip = Audio(None, "ab" * 32, alert.discharge_time.first, 3.5)
    seen = blind(dataclasses.replace(alert, audio=(clip,)))
    assert [one.after_s for one in seen.rounds] == pytest.approx([0.0, 0.4, 0.8])
    assert [(one.sha256, one.after_s, one.duration_s) for one in seen.audio] == [("ab" * 32, 0.0, 3.5)]
    assert "2026" not in msgspec.json.encode(seen).decode()


def test_whether_they_had_looked_before_is_on_record(store):
    reviews = Reviews(store, ALL)
    incident_id = judged(reviews)
    seen = {"at_ns": minutes(1), "role": "reviewer", "about": incident_id, "status": 200, "address": "::1"}
    with store.writing() as connection:
        rows = [
            seen | {"who": "Bob", "what": f"GET /api/v1/incidents/{incident_id}"},
            seen | {"who": "bob", "what": f"GET /api/v1/incidents/{incident_id}/blind"},
            seen | {"who": "ann", "what": f"GET /api/v1/incidents/{incident_id}"},
        ]
        connection.execute(sa.insert(tables.access), rows)
    reviews.second(incident_id, "bob", minutes(2), "gunfire")
    *_, entry = reviews.ledger.entries(kinds=("opinion",))
    assert msgspec.json.decode(entry.body)["looked_before"] == 1
