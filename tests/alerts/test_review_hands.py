"""Whose word may be undone, and acts that touch two incidents: claims, the clock, what is on its way, who is named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import after
from alerts.desk import Desk
from alerts.record.store import Store
from alerts.review.acts import last_said
from alerts.review.reviews import ConflictError, ObjectionError, ReviewRules, Reviews
from tests.review_nights import minutes, submit, tell
from tests.strategies import HARTFORD, NIGHT_NS, fix_at


@pytest.fixture
def reviews(record_store):
    return Reviews(record_store, ReviewRules(second_share=0.0))


def shots_of(reviews, incident_id):
    with reviews.store.reading() as connection:
        return tuple(one.shot_id for one in last_said(connection, reviews.head(incident_id).alert_id).rounds)


class Night:
    """One record, and a desk that hears of everything at once."""

    def __init__(self, reviews):
        self.reviews = reviews

    def do(self, kind, incident_id, who, at_min, *said, **named):
        version = self.reviews.head(incident_id).version
        act = getattr(self.reviews, kind)
        decision = act(incident_id, who, minutes(at_min), *said, expected_version=version, **named)
        submit(self.reviews, decision)
        return decision.act.act_id


def test_undoing_takes_the_one_who_could_say_otherwise(reviews):
    night, incident_id = Night(reviews), tell(reviews.store, "shooting")
    judged = night.do("judge", incident_id, "ann", 1, "fireworks")
    with pytest.raises(ConflictError, match="ann judged it; only they or a supervisor"):
        night.do("undo", incident_id, "bob", 2, judged)
    undone = night.do("undo", incident_id, "Ann", 3, judged)  # their own, however they write themselves
    with pytest.raises(ConflictError, match="Ann undid that; only they or a supervisor"):
        night.do("undo", incident_id, "bob", 4, undone)
    night.do("undo", incident_id, "sue", 5, undone, supervisor=True)
    over = night.do("adjudicate", incident_id, "sue", 6, "gunfire")
    for who in ("bob", "ann", "sue"):  # sue too, when she is let in as an analyst
        with pytest.raises(ConflictError, match="sue decided it; only a supervisor"):
            night.do("undo", incident_id, who, 7, over)
    back = night.do("undo", incident_id, "tom", 8, over, supervisor=True)
    assert reviews.head(incident_id).verdict == "fireworks"
    with pytest.raises(ConflictError, match="only a supervisor"):
        night.do("undo", incident_id, "ann", 9, back)
    assert [one.by for one in reviews.opinions(incident_id)] == ["ann"]
    placed = night.do("place", incident_id, "ann", 10, 41.77, -72.67, 20.0)
    assert night.do("undo", incident_id, "bob", 11, placed)  # a place is no judgement: the last word counts


def test_what_rounds_are_on_their_way_into_or_out_of_is_not_decided(reviews):
    first, other, burst = (tell(reviews.store, name, at_s, rounds=3) for name, at_s in
                           (("first", 0.0), ("other", 300.0), ("burst", 600.0)))  # fmt: skip

    def version(name):
        return reviews.head(name).version

    def check_waits(name, words):
        for kind, said in (("judge", ("fireworks",)), ("place", (41.77, -72.67, 20.0)), ("merge", (burst,))):
            with pytest.raises(ConflictError, match=words) as refused:
                getattr(reviews, kind)(name, "bob", minutes(12), *said, expected_version=version(name))
            assert refused.value.changed_by == "ann"

    merged = reviews.merge(first, "ann", minutes(10), other, expected_version=version(first))
    check_waits(first, "ann is merging it just now; look again")
    check_waits(other, "ann is merging it just now; look again")
    again = reviews.merge(first, "ann", minutes(10), other, expected_version=1)
    assert (again.act, len(reviews.pending())) == (merged.act, 1)  # told twice, it is one act
    submit(reviews, merged)
    undone = reviews.undo(first, "ann", minutes(13), merged.act.act_id, expected_version=version(first))
    check_waits(other, "ann is undoing what merged or split it just now")
    submit(reviews, undone)
    shots = shots_of(reviews, first)
    split = reviews.split(first, "ann", minutes(14), shots[:1], expected_version=version(first))
    check_waits(first, "ann is splitting it just now")
    submit(reviews, split)
    judged = reviews.judge(first, "bob", minutes(15), "gunfire", expected_version=version(first))
    assert reviews.place(first, "bob", minutes(16), 41.77, -72.67, 20.0, expected_version=judged.head.version)


@pytest.mark.parametrize("behind_s", [0.0, 6.0, 3_600.0])
def test_an_undoing_counts_whatever_the_clock_says_and_from_whichever_side(reviews, behind_s):
    night = Night(reviews)
    first, other = tell(reviews.store, "first"), tell(reviews.store, "other", 300.0)
    merged = night.do("merge", first, "ann", 10, other)
    night.do("undo", other, "bob", 10 - behind_s / 60.0, merged)
    assert (reviews.pending(), reviews.head(first).merged_into, reviews.head(other).rounds) == ((), None, 1)
    with pytest.raises(ObjectionError, match="undone already"):
        night.do("undo", first, "bob", 20, merged)
    burst = tell(reviews.store, "burst", 600.0, rounds=3)
    decision = reviews.split(
        burst, "ann", minutes(30), shots_of(reviews, burst)[:1], expected_version=reviews.head(burst).version
    )
    (made,) = {alert.incident_id for alert in submit(reviews, decision)} - {burst}
    night.do("undo", made, "bob", 30 - behind_s / 60.0, decision.act.act_id)
    assert (reviews.pending(), reviews.head(burst).rounds) == ((), 3)
    judged = night.do("judge", burst, "ann", 40, "gunfire")
    night.do("undo", burst, "ann", 40 - behind_s / 60.0, judged)
    assert (reviews.head(burst).verdict, reviews.opinions(burst)) == (None, ())


def test_what_another_has_in_hand_is_not_changed_from_the_other_side(reviews):
    night = Night(reviews)
    first, other, third = (tell(reviews.store, name, at_s) for name, at_s in
                           (("first", 0.0), ("other", 300.0), ("third", 600.0)))  # fmt: skip
    reviews.claim(other, "bob", minutes(9))
    with pytest.raises(ConflictError, match=f"{other}: bob has it in hand until"):
        night.do("merge", first, "ann", 10, other)
    reviews.release(other, "bob", minutes(10))
    merged = night.do("merge", first, "ann", 10, other)
    reviews.claim(first, "bob", minutes(11))
    with pytest.raises(ConflictError, match=f"{first}: bob has it in hand until") as refused:
        night.do("undo", other, "ann", 11, merged)
    assert (refused.value.changed_by, refused.value.until_ns) == ("bob", minutes(13))
    # What takes part in it by another merging loses its rounds, too.
    night.do("merge", other, "ann", 14, third)
    reviews.claim(third, "bob", minutes(15))
    with pytest.raises(ConflictError, match=f"{third}: bob has it in hand until"):
        night.do("undo", first, "ann", 15, merged)
    assert night.do("undo", first, "bob", 15, merged)
    assert reviews.head(third).rounds == 2


def test_the_row_names_who_changed_it_on_both_sides(reviews):
    night = Night(reviews)
    first, other = tell(reviews.store, "first"), tell(reviews.store, "other", 300.0, rounds=2)

    def named(*incidents):
        return [reviews.head(name).changed_by for name in incidents]

    merged = night.do("merge", first, "ann", 10, other)
    assert named(first, other) == ["ann", "ann"]
    night.do("undo", other, "sue", 11, merged)
    assert named(first, other) == ["sue", "sue"]
    decision = reviews.split(
        other, "bob", minutes(12), shots_of(reviews, other)[:1], expected_version=reviews.head(other).version
    )
    said = submit(reviews, decision)
    assert named(*(alert.incident_id for alert in said)) == ["bob", "bob"]
    # What the machine adds later is the machine's, though the revision still names what people did.
    desk = Desk(mode="live")
    (heard,) = desk.receive(fix_at("late-0", 900.0, frame=HARTFORD))
    reviews.store.keep([heard], [], heard.published_ns)
    late = heard.incident_id
    submit(reviews, reviews.place(late, "ann", minutes(16), 41.77, -72.67, 20.0, expected_version=1), desk)
    assert named(late) == ["ann"]
    reviews.store.keep(desk.receive(fix_at("late-1", 900.4, frame=HARTFORD)), [], minutes(17))
    reviews.store.keep(desk.tick(minutes(18)), [], minutes(18))
    assert (reviews.head(late).rounds, *named(late)) == (2, "machine")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A record that examples share, each with incidents of its own."""
    with Store(tmp_path_factory.mktemp("hands") / "record.db") as store:
        yield Reviews(store, ReviewRules(second_share=0.0)), iter(range(100_000))


steps = st.lists(
    st.tuples(
        st.sampled_from(["judge", "place", "merge", "merge", "split", "undo", "undo", "told"]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(-30, 60),
    ),
    min_size=2,
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(steps)
def test_what_is_accepted_is_told(many, steps):
    """Law: whatever people say before the desk hears of it, and whatever the clock does, no act is passed over."""
    reviews, numbers = many
    number = next(numbers)
    incidents = [tell(reviews.store, f"h{number}-{k}", 5_000.0 * number + 900.0 * k, rounds=2) for k in range(3)]
    desk, acts, at_ns = Desk(mode="live"), [], after(NIGHT_NS, 5_000.0 * number + 3_000.0)

    def hear():
        for decision in reviews.pending():
            for alert in submit(reviews, decision, desk):
                if alert.incident_id not in incidents:
                    incidents.append(alert.incident_id)
        assert (reviews.pending(), desk.counts["acts_passed_over"]) == ((), 0)

    for kind, at, which, moved_s in steps:
        at_ns = after(at_ns, float(moved_s))
        name = incidents[at % len(incidents)]
        said = {
            "judge": ("gunfire",), "place": (41.77, -72.67, 20.0), "merge": (incidents[which % len(incidents)],),
            "split": (shots_of(reviews, name)[:1],), "undo": (acts[which % len(acts)] if acts else "h0",),
        }.get(kind)  # fmt: skip
        if said is None:
            hear()
            continue
        try:
            decision = getattr(reviews, kind)(name, "ann", at_ns, *said, expected_version=reviews.head(name).version)
        except (ConflictError, ObjectionError, ValueError):
            continue
        acts.append(decision.act.act_id)
    hear()
