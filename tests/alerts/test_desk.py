"""The desk: what is said of shots, when, and how often."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, after, parse_instant
from alerts.alert import encode, substance
from alerts.desk import MEMORY_NS, Desk
from alerts.grouping import TRAVEL_NS
from alerts.incident import last_arrival_ns
from alerts.roster import GREATEST_INCIDENT, LINGER_NS, QUIET_NS
from localization.fix import Fix
from tests.strategies import NIGHT_NS, fix_at, unfixed_at

END_NS = after(NIGHT_NS, 3000.0)


def said_of(shots, *, ticks_s=(), **setting):
    """Everything a desk says when each shot comes as its last sound is heard, and ticks come in between."""
    desk = Desk(**setting)
    events = [(last_arrival_ns(shot), 0, k, shot) for k, shot in enumerate(shots)]
    events += [(after(NIGHT_NS, t), 1, 0, None) for t in ticks_s] + [(END_NS, 1, 0, None)]
    said = []
    for at_ns, _, _, shot in sorted(events, key=lambda event: event[:3]):
        said += desk.tick(at_ns) if shot is None else desk.receive(shot)
    return said


def last_revisions(said):
    return {alert.incident_id: alert for alert in said}


def steps(step_s, until_s=60.0):
    return [k * step_s for k in range(1, int(until_s / step_s) + 1)]


def test_a_single_shot_is_told_at_once_and_confirmed_when_it_closes():
    desk = Desk()
    shot = fix_at("a")
    (first,) = desk.receive(shot)
    assert (first.revision, first.kind, first.reason, first.status) == (1, "new", "new", "preliminary")
    assert (first.outcome, first.supersedes) == ("published", None)
    assert parse_instant(first.published_at) == pytest.approx(last_arrival_ns(shot), abs=1000)
    assert desk.tick(last_arrival_ns(shot) + LINGER_NS - 1) == ()
    (last,) = desk.tick(last_arrival_ns(shot) + LINGER_NS)
    assert (last.revision, last.kind, last.reason, last.status) == (2, "revised", "closed", "confirmed")
    assert last.supersedes == f"{first.alert_id}-r1"
    assert desk.tick(END_NS) == ()


@pytest.mark.parametrize("rounds", [3, 12, 40])
def test_a_burst_is_one_incident_and_no_spam(rounds):
    said = said_of([fix_at(f"r{k}", 0.1 * k) for k in range(rounds)], ticks_s=steps(0.05))
    assert len({alert.alert_id for alert in said}) == 1
    assert [alert.reason for alert in said] == ["new", "more-rounds", "closed"]
    assert [alert.what.rounds.best for alert in said] == [1, rounds, rounds]
    assert ("full-automatic" in said[-1].what.flags) == (rounds >= 4)


def test_two_shooters_at_once_are_two_incidents():
    said = said_of([fix_at("a"), fix_at("b", 0.2, 400.0), fix_at("c", 0.4), fix_at("d", 0.6, 400.0)])
    last = last_revisions(said)
    assert sorted([r.shot_id for r in alert.rounds] for alert in last.values()) == [["a", "c"], ["b", "d"]]
    assert len({alert.alert_id for alert in said}) == 2


def test_a_round_after_the_close_still_revises_the_same_alert():
    desk = Desk()
    first = desk.receive(fix_at("a"))
    desk.tick(after(NIGHT_NS, 60.0))
    assert desk.receive(fix_at("b", 1.0)) == ()
    (late,) = desk.tick(after(NIGHT_NS, 70.0))
    assert late.alert_id == first[0].alert_id
    assert (late.revision, late.reason, late.status, late.what.rounds.best) == (3, "more-rounds", "confirmed", 2)
    assert parse_instant(late.published_at) == after(NIGHT_NS, 60.0) + QUIET_NS


def test_a_late_sensor_revises_and_a_repetition_does_not():
    desk = Desk()
    desk.receive(fix_at("a"))
    desk.tick(after(NIGHT_NS, 60.0))
    desk.receive(fix_at("a", revision=2))
    assert desk.tick(after(NIGHT_NS, 63.0))[0].reason == "refined", "the round's own revision number is news"
    desk.receive(fix_at("a", revision=3, sensors=("s1", "s2", "s3", "s4", "s5")))
    assert desk.tick(after(NIGHT_NS, 66.0))[0].reason == "late-sensor"
    assert desk.receive(fix_at("a", revision=3)) == ()
    assert desk.receive(fix_at("a", revision=1)) == ()
    assert desk.tick(after(NIGHT_NS, 90.0)) == ()
    assert desk.counts["stale"] == 2


def test_a_place_that_leaves_its_region_is_told_as_such():
    said = said_of([fix_at("a"), fix_at("a", 0.01, 60.0, revision=2)])
    assert [alert.reason for alert in said] == ["new", "relocated", "closed"]
    assert said[-1].place.east == 60.0


def test_evidence_that_falls_cancels_and_evidence_that_returns_reinstates():
    desk = Desk()
    desk.receive(fix_at("a"))
    desk.receive(fix_at("a", llr=-9.0, revision=2))
    (gone,) = desk.tick(after(NIGHT_NS, 4.0))
    assert (gone.status, gone.kind, gone.reason) == ("cancelled", "cancelled", "no-longer-gunfire")
    assert gone.outcome == "published", "whoever received it must hear that it is withdrawn"
    (back,) = desk.receive(fix_at("b", 3.0, llr=12.0))
    assert (back.status, back.kind, back.reason, back.revision) == ("preliminary", "revised", "reinstated", 3)
    (last,) = desk.tick(END_NS)
    assert (last.status, last.revision) == ("confirmed", 4)


def test_a_second_round_can_lift_a_case_for_review_to_publication_at_once():
    desk = Desk()
    (first,) = desk.receive(fix_at("a", llr=1.0))
    assert (first.outcome, first.kind) == ("review", "new")
    (second,) = desk.receive(fix_at("b", 0.5, llr=9.0))
    assert (second.outcome, second.kind, second.reason, second.revision) == ("published", "new", "reclassified", 2)


@pytest.mark.parametrize(
    ("shot", "outcome"),
    [
        (fix_at("a", llr=-9.0), "suppressed"),
        (unfixed_at("a", llr=9.0), "review"),
        (unfixed_at("a", llr=-9.0), "suppressed"),
    ],
)
def test_what_nobody_waits_for_is_told_once_and_stored_with_its_gate(shot, outcome):
    (only,) = said_of([shot], ticks_s=steps(1.0))
    assert (only.outcome, only.status, only.revision) == (outcome, "confirmed", 1)
    assert only.what.gate


def test_an_incident_without_a_place_is_told_without_one_and_gets_it_from_a_late_sensor():
    desk = Desk()
    desk.receive(unfixed_at("a", llr=9.0))
    (first,) = desk.tick(after(NIGHT_NS, 60.0))
    assert (first.place, first.discharge_time.sigma_s, first.outcome) == (None, None, "review")
    assert first.what.flags == ("unplaced",)
    (second,) = desk.receive(fix_at("a", revision=2))
    assert (second.alert_id, second.revision, second.outcome) == (first.alert_id, 2, "published")
    assert second.place is not None


def test_a_place_that_is_lost_is_withdrawn_but_the_alert_stays():
    desk = Desk()
    desk.receive(fix_at("a"))
    desk.tick(after(NIGHT_NS, 60.0))
    desk.receive(unfixed_at("a", revision=2, llr=9.0, reason="inconsistent"))
    (said,) = desk.tick(after(NIGHT_NS, 70.0))
    assert (said.reason, said.place, said.outcome, said.status) == ("place-withdrawn", None, "published", "confirmed")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_shot_without_a_place_joins_the_burst_in_whatever_order(order):
    shots = [fix_at("a"), unfixed_at("u", 1.0, sensors=("s1", "s2", "s3")), fix_at("b", 2.0)]
    desk = Desk()
    for k in order:
        desk.receive(shots[k])
    said = last_revisions(desk.tick(END_NS))
    (alert,) = said.values()
    assert sorted(r.shot_id for r in alert.rounds) == ["a", "b", "u"]
    assert (alert.what.rounds.min, alert.what.rounds.best, alert.what.rounds.max) == (2, 3, 3)


def test_a_shot_between_two_incidents_makes_them_one_and_says_so():
    desk = Desk()
    (a,) = desk.receive(fix_at("a"))
    (b,) = desk.receive(fix_at("b", 0.5, 100.0))
    assert a.incident_id != b.incident_id
    (gone,) = desk.receive(fix_at("c", 1.0, 50.0))
    assert (gone.alert_id, gone.status, gone.reason) == (b.alert_id, "cancelled", "merged")
    assert (gone.revision, gone.merged_into) == (2, a.incident_id)
    last = desk.tick(END_NS)[-1]
    assert (last.alert_id, last.what.rounds.best) == (a.alert_id, 3)
    assert {desk.incident_id(name) for name in "abc"} == {a.incident_id} or desk.counts["forgotten"] == 1


def test_a_shot_that_moves_away_takes_up_its_own_alert_again():
    desk = Desk()
    desk.receive(fix_at("a"))
    (b,) = desk.receive(fix_at("b", 0.5, 100.0))
    desk.receive(fix_at("c", 1.0, 50.0))
    (again,) = desk.receive(fix_at("b", 0.5, 500.0, revision=2))
    assert (again.alert_id, again.revision, again.reason) == (b.alert_id, 3, "reinstated")
    assert (again.status, again.outcome) == ("preliminary", "published")
    last = last_revisions(desk.tick(END_NS))
    assert sorted([r.shot_id for r in alert.rounds] for alert in last.values()) == [["a", "c"], ["b"]]
    assert desk.counts["split"] == 1


def test_an_endless_hammer_becomes_many_small_incidents():
    last = last_revisions(said_of([fix_at(f"h{k:04d}", 0.5 * k, llr=-6.0) for k in range(250)], ticks_s=steps(1.0)))
    assert [len(alert.rounds) for alert in last.values()] == [GREATEST_INCIDENT, GREATEST_INCIDENT, 50]
    assert {alert.outcome for alert in last.values()} == {"suppressed"}


def test_memory_is_bounded_and_what_is_forgotten_is_counted():
    desk = Desk()
    for k in range(50):
        desk.receive(fix_at(f"a{k}", 30.0 * k))
        desk.tick(after(NIGHT_NS, 30.0 * k + 20.0))
    held = len(desk._roster.cases)
    assert held <= (MEMORY_NS + TRAVEL_NS) / SECOND / 30.0 + 2
    assert desk.counts["forgotten"] == 50 - held
    assert desk.incident_id("a0") is None
    assert desk.receive(fix_at("a0", revision=2)) == ()
    assert desk.counts["too_late"] == 1
    assert desk.counts["incidents"] == 50


def test_a_watermark_that_steps_back_changes_nothing():
    desk = Desk()
    desk.receive(fix_at("a"))
    closed = desk.tick(after(NIGHT_NS, 60.0))
    assert len(closed) == 1
    assert desk.tick(NIGHT_NS) == ()
    with pytest.raises(TypeError, match="watermark_ns"):
        desk.tick(1.5)


CORNERS = [(0.0, 0.0), (45.0, 0.0), (150.0, -120.0)]
HEARD_BY = [("s1",), ("s1", "s2"), ("s2", "s3", "s4")]


@st.composite
def shots_at_a_corner(draw, shot_id, time_s, revision=1):
    corner = draw(st.sampled_from(CORNERS))
    llr = draw(st.sampled_from([-9.0, 0.5, 3.0, 9.0]))
    if draw(st.integers(0, 3)):
        more = ("s1", "s2", "s3", "s4", "s5")[: draw(st.integers(3, 5))]
        return fix_at(shot_id, time_s, *corner, llr=llr, revision=revision, sensors=more)
    return unfixed_at(shot_id, time_s, *corner, llr=llr, revision=revision, sensors=draw(st.sampled_from(HEARD_BY)))


@st.composite
def nights(draw):
    """Up to eight shots in half a minute at three corners, some without a place, some revised into anything."""
    shots = []
    for k in range(draw(st.integers(1, 8))):
        time_s = draw(st.integers(0, 300)) / 10.0
        shots.append(draw(shots_at_a_corner(f"n{k}", time_s)))
        if draw(st.integers(0, 3)) == 0:
            shots.append(draw(shots_at_a_corner(f"n{k}", time_s, revision=2)))
    return shots


def check_ticks(shots, step_s):
    often = last_revisions(said_of(shots, ticks_s=steps(0.1)))
    seldom = last_revisions(said_of(shots, ticks_s=steps(step_s)))
    assert often.keys() == seldom.keys()
    for incident_id, alert in often.items():
        other = seldom[incident_id]
        assert substance(alert) == substance(other)
        if alert.status == "confirmed":
            assert (alert.published_at, alert.reason) == (other.published_at, other.reason)


def check_laws(shots, step_s):
    said = said_of(shots, ticks_s=steps(step_s))
    assert [encode(alert) for alert in said] == [encode(alert) for alert in said_of(shots, ticks_s=steps(step_s))]
    by_alert = {}
    for alert in said:
        by_alert.setdefault(alert.alert_id, []).append(alert)
    for revisions in by_alert.values():
        assert [alert.revision for alert in revisions] == list(range(1, len(revisions) + 1))
        assert len({alert.incident_id for alert in revisions}) == 1
        assert sorted(alert.published_at for alert in revisions) == [alert.published_at for alert in revisions]
        assert revisions[0].kind == "new"
        assert revisions[-1].status in ("confirmed", "cancelled")
        for before, now in itertools.pairwise(revisions):
            assert substance(before) != substance(now) or before.status != now.status
            assert (now.kind == "new") == (
                now.outcome == "published" and before.outcome != "published" and now.status != "cancelled"
            )
        published = [alert.outcome == "published" for alert in revisions]
        if not any(alert.merged_into for alert in revisions):
            assert published == sorted(published), "what was published is followed to its end"
    homes = [r.shot_id for alert in last_revisions(said).values() if alert.merged_into is None for r in alert.rounds]
    assert sorted(homes) == sorted({shot.shot_id for shot in shots}), "every shot is told of, in one incident"


STEPS = st.sampled_from([0.05, 0.3, 1.0, 7.0, 1000.0])


@given(nights(), STEPS)
@settings(max_examples=150, deadline=None)
def test_how_often_the_desk_is_ticked_does_not_change_what_it_finally_says(shots, step_s):
    check_ticks(shots, step_s)


@given(nights(), STEPS)
@settings(max_examples=150, deadline=None)
def test_laws_of_every_stream_of_alerts(shots, step_s):
    check_laws(shots, step_s)


@pytest.mark.endurance
@given(nights(), STEPS)
@settings(max_examples=3000, deadline=None)
def test_the_laws_hold_for_long(shots, step_s):
    check_ticks(shots, step_s)
    check_laws(shots, step_s)


@given(nights(), st.randoms())
@settings(max_examples=150, deadline=None)
def test_the_order_of_arrival_does_not_change_who_belongs_together(shots, random):
    fixes = [shot for shot in shots if isinstance(shot, Fix) and shot.revision == 1]
    shuffled = random.sample(fixes, len(fixes))

    def groups(order):
        desk = Desk()
        for shot in order:
            desk.receive(shot)
        together = {}
        for shot in order:
            together.setdefault(desk.incident_id(shot.shot_id), set()).add(shot.shot_id)
        return sorted(map(sorted, together.values()))

    assert groups(fixes) == groups(shuffled)


def test_a_published_alert_never_has_a_place_from_a_shot_without_one():
    for alert in said_of([unfixed_at("u", llr=40.0), unfixed_at("v", 0.5, llr=40.0)]):
        assert alert.outcome == "review"
        assert alert.place is None


def test_the_frame_has_the_name_it_was_given_and_replays_are_marked():
    (first, _) = said_of([fix_at("a")], mode="replay", frame_name="pittsburgh")
    assert (first.mode, first.place.frame) == ("replay", "pittsburgh")
    assert dataclasses.replace(first, mode="live").mode == "live"
