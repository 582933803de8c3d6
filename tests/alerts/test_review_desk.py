"""The record and the desk: what a person said is what the alert then says, whether the desk remembers or not."""

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


def alert_of(reviews, incident_id):
    with reviews.store.reading() as connection:
        return last_said(connection, reviews.head(incident_id).alert_id)


def check_alike(reviews, incident_id):
    """Row and alert say the same."""
    head, alert = reviews.head(incident_id), alert_of(reviews, incident_id)
    assert (alert.review and alert.review.judgement) == head.verdict
    assert (alert.outcome, alert.revision) == (head.outcome, head.revision)
    return head


@pytest.mark.parametrize("forgets", [False, True])
def test_what_a_person_said_is_what_is_told(record_store, forgets):
    reviews = Reviews(record_store, ReviewRules(second_share=0.0))
    desk = Desk(mode="live")
    (first,) = desk.receive(fix_at("shot", frame=HARTFORD))
    record_store.keep([first], [], minutes(0))
    incident_id = first.incident_id

    def tell_desk(decision):
        submit(reviews, decision, Desk(mode="live") if forgets else desk)
        assert reviews.pending() == ()
        return check_alike(reviews, incident_id)

    judged = reviews.judge(incident_id, "ann", minutes(1), "fireworks", expected_version=1)
    head = tell_desk(judged)
    assert (head.status, head.machine_outcome, head.changed_by) == ("cancelled", "published", "ann")
    # Who withdrew it has seen it; and since the machine was overruled, another is asked.
    assert [one.want for one in reviews.queue(minutes(2), "bob")] == ["second"]
    over = reviews.adjudicate(incident_id, "sue", minutes(2), "gunfire", expected_version=head.version)
    head = tell_desk(over)
    assert (head.status != "cancelled", head.outcome) == (True, "published")
    placed = reviews.place(incident_id, "ann", minutes(3), 41.77, -72.67, 20.0, expected_version=head.version)
    head = tell_desk(placed)
    assert (head.latitude, head.longitude) == (41.77, -72.67)
    for number, act in enumerate((over.act, judged.act, placed.act)):
        at_ns, version = minutes(4 + number), head.version
        undone = reviews.undo(incident_id, "sue", at_ns, act.act_id, expected_version=version, supervisor=True)
        head = tell_desk(undone)
    assert (head.outcome, head.verdict) == ("published", None)
    assert head.latitude == pytest.approx(41.7658)


def test_merging_splitting_and_undoing_both_by_a_desk_that_has_forgotten(record_store):
    reviews = Reviews(record_store)
    burst, other = tell(record_store, "burst", rounds=3), tell(record_store, "other", 300.0)
    merged = reviews.merge(other, "ann", minutes(10), burst, expected_version=reviews.head(other).version)
    submit(reviews, merged)
    assert reviews.head(other).merged_into in (burst, reviews.head(burst).alert_id)
    assert reviews.head(burst).rounds == 4
    with pytest.raises(ObjectionError):
        reviews.judge(other, "ann", minutes(11), "gunfire", expected_version=reviews.head(other).version)
    undone = reviews.undo(burst, "sue", minutes(12), merged.act.act_id, expected_version=reviews.head(burst).version)
    submit(reviews, undone)
    assert (reviews.head(other).merged_into, reviews.head(burst).rounds) == (None, 3)
    shots = tuple(one.shot_id for one in alert_of(reviews, burst).rounds)
    split = reviews.split(burst, "ann", minutes(13), shots[:1], expected_version=reviews.head(burst).version)
    said = submit(reviews, split)
    assert {alert.incident_id for alert in said} > {burst}
    (made,) = {alert.incident_id for alert in said} - {burst}
    assert [one.shot_id for one in alert_of(reviews, made).rounds] == list(shots[:1])
    assert reviews.pending() == ()
    # What was made by a person is judged as any other.
    judged = reviews.judge(made, "ann", minutes(14), "vehicle", expected_version=reviews.head(made).version)
    submit(reviews, judged)
    check_alike(reviews, made)
    back = reviews.undo(burst, "sue", minutes(15), split.act.act_id, expected_version=reviews.head(burst).version)
    submit(reviews, back)
    assert [one.shot_id for one in alert_of(reviews, burst).rounds] == list(shots)
    assert reviews.pending() == ()


def test_what_was_written_before_a_kill_is_told_in_its_order(record_store):
    reviews = Reviews(record_store, ReviewRules(second_share=0.0))
    incident_id = tell(record_store, "shot")
    first = reviews.judge(incident_id, "ann", minutes(1), "fireworks", expected_version=1)
    reviews.undo(incident_id, "ann", minutes(2), first.act.act_id, expected_version=2)
    reviews.judge(incident_id, "ann", minutes(3), "vehicle", expected_version=3)
    desk = Desk(mode="live")  # another process, another day
    for decision in reviews.pending():
        submit(reviews, decision, desk)
    assert reviews.pending() == ()
    assert check_alike(reviews, incident_id).verdict == "vehicle"
    # Told once more it changes nothing, not even to a desk that has forgotten it.
    assert Desk(mode="live").act(first.act, reviews.documents_for(first.act)) == ()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A record that examples share, each with an incident of its own."""
    with Store(tmp_path_factory.mktemp("desk") / "record.db") as store:
        yield Reviews(store, ReviewRules(second_share=1.0)), iter(range(100_000))


steps = st.lists(
    st.tuples(
        st.sampled_from(["judge", "adjudicate", "second", "undo", "place", "machine"]),
        st.sampled_from(["ann", "bob", "sue"]),
        st.sampled_from(["gunfire", "fireworks", "unsure"]),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=20, deadline=None)
@given(steps)
def test_in_whatever_order_people_speak_row_and_alert_say_the_same(many, steps):
    reviews, numbers = many
    number = next(numbers)
    start_s, desk = 900.0 * number, Desk(mode="live")
    (first,) = desk.receive(fix_at(f"m{number}", start_s, frame=HARTFORD))
    reviews.store.keep([first], [], first.published_ns)
    incident_id, at_ns, acts = first.incident_id, after(NIGHT_NS, start_s + 5.0), []
    for moment, (what, who, verdict, which) in enumerate(steps):
        at_ns += 10**9
        if what == "machine":  # a late round, in between
            shot = fix_at(f"m{number}-{moment}", start_s + 0.3 * (moment + 1), frame=HARTFORD)
            reviews.store.keep(desk.receive(shot), [], at_ns)
            continue
        version = reviews.head(incident_id).version
        try:
            decision = step(reviews, incident_id, what, who, verdict, at_ns, version, acts[which:] or [None])
        except (ConflictError, ObjectionError):
            continue
        if decision is not None:
            acts.append(decision.act)
            submit(reviews, decision, desk)
            assert reviews.pending() == ()
            check_alike(reviews, incident_id)
        opinions = {one.turn: one.verdict for one in reviews.opinions(incident_id)}
        head = reviews.head(incident_id)
        if head.verdict is not None:
            assert head.verdict == opinions.get(3, opinions.get(1))
        differ = 2 in opinions and 3 not in opinions and (head.verdict is None or opinions[1] != opinions[2])
        assert head.disagreed == differ
        assert not (head.wants_second and 2 in opinions)


def step(reviews, incident_id, what, who, verdict, at_ns, version, acts):
    """One step of one person; what is to be told to the desk."""
    if what == "second":
        reviews.second(incident_id, who, at_ns, verdict)
        return None
    if what == "undo":
        act_id, supervisor = acts[0].act_id if acts[0] else "none", who == "sue"
        return reviews.undo(incident_id, who, at_ns, act_id, expected_version=version, supervisor=supervisor)
    if what == "place":
        return reviews.place(incident_id, who, at_ns, 41.77, -72.67, 20.0, expected_version=version)
    return getattr(reviews, what)(incident_id, who, at_ns, verdict, expected_version=version)
