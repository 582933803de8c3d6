"""What people say of alerts: how it is laid over the machine's word, how it comes back, what makes no sense."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle

import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from acoustic.instant import SECOND, after, instant_text
from alerts.act import JUDGEMENTS, Act
from alerts.alert import decode, encode, substance
from alerts.desk import MEMORY_NS, Desk
from alerts.grouping import TRAVEL_NS
from alerts.hand import Standing, alerts_concerned, counting, made_of, objection
from alerts.overlay import CHI_SQUARE_95, covariance_of, machines_word, place_by_hand
from localization.ellipse import Covariance, confidence_ellipse
from tests.strategies import HARTFORD, NIGHT_NS, fix_at, unfixed_at

FORGOTTEN_NS = NIGHT_NS + 2 * (MEMORY_NS + TRAVEL_NS)


def act_on(alert, kind, number=1, *, by="ann", **what):
    return Act(f"act{number}", kind, alert.alert_id, alert.incident_id, by, NIGHT_NS + number * SECOND, **what)


def desk_with(*shots, until_s=60.0):
    """A desk that has told of these shots to the end, and the last revision of each alert, the oldest first."""
    desk = Desk()
    said = [alert for shot in shots for alert in desk.receive(shot)]
    said += desk.tick(after(NIGHT_NS, until_s))
    last = {alert.alert_id: alert for alert in said}
    return desk, *sorted(last.values(), key=lambda alert: alert.discharge_time.first)


def forget(desk):
    desk.tick(FORGOTTEN_NS)
    desk.tick(FORGOTTEN_NS + MEMORY_NS + TRAVEL_NS)
    assert desk.incident_id("a") is None


# judging


def test_gunfire_said_by_a_person_is_published_and_stays_so_when_the_evidence_falls():
    desk, alert = desk_with(fix_at("a", llr=1.0))
    assert alert.outcome == "review"
    (said,) = desk.act(act_on(alert, "judge", judgement="gunfire", note="two clear reports"))
    assert (said.kind, said.reason, said.outcome, said.status) == ("new", "reclassified", "published", "confirmed")
    assert (said.review.judgement, said.review.machine_outcome, said.review.by) == ("gunfire", "review", "ann")
    assert (said.review.note, said.review.at) == ("two clear reports", instant_text(NIGHT_NS + SECOND, 6))
    assert said.what == alert.what, "what the machine measured stays its own"
    desk.receive(fix_at("a", llr=-9.0, revision=2))
    (fallen,) = desk.tick(after(NIGHT_NS, 70.0))
    assert (fallen.kind, fallen.outcome, fallen.status) == ("revised", "published", "confirmed")
    assert (fallen.review.machine_outcome, fallen.review.judgement) == ("suppressed", "gunfire")
    assert fallen.what.p_gunshot < 0.01


@pytest.mark.parametrize("judgement", ["fireworks", "vehicle", "construction", "other"])
def test_what_was_published_is_cancelled_and_stays_so_whatever_is_heard(judgement):
    desk, alert = desk_with(fix_at("a"))
    (said,) = desk.act(act_on(alert, "judge", judgement=judgement))
    assert (said.kind, said.reason, said.outcome, said.status) == (
        "cancelled", "reclassified", "published", "cancelled",
    )  # fmt: skip
    desk.receive(fix_at("a", llr=30.0, revision=2, sensors=("s1", "s2", "s3", "s4", "s5")))
    (late,) = desk.tick(after(NIGHT_NS, 80.0))
    assert (late.status, late.reason, late.incident_id) == ("cancelled", "late-sensor", alert.incident_id)
    assert late.review.machine_outcome == "published"
    assert desk.receive(fix_at("b", 1.0, llr=30.0)) == (), "no second incident beside it"


def test_what_was_for_review_is_suppressed_and_says_why():
    desk, alert = desk_with(fix_at("a", llr=1.0))
    (said,) = desk.act(act_on(alert, "judge", judgement="fireworks", note="I see them"))
    assert (said.kind, said.outcome, said.status, said.reason) == ("revised", "suppressed", "confirmed", "reclassified")
    assert (said.review.judgement, said.review.note) == ("fireworks", "I see them")


@pytest.mark.parametrize(("llr", "outcome"), [(6.0, "published"), (1.0, "review"), (-9.0, "suppressed")])
def test_who_is_unsure_changes_nothing_but_that_it_is_written_down(llr, outcome):
    desk, alert = desk_with(fix_at("a", llr=llr))
    (said,) = desk.act(act_on(alert, "judge", judgement="unsure"))
    assert (said.outcome, said.status, said.kind, said.reason) == (outcome, alert.status, "revised", "refined")
    assert said.review.judgement == "unsure"
    assert substance(dataclasses.replace(said, review=None)) == substance(alert)


def test_a_person_brings_back_what_the_machine_withdrew():
    desk, alert = desk_with(fix_at("a"), fix_at("a", llr=-9.0, revision=2))
    assert (alert.status, alert.reason) == ("cancelled", "no-longer-gunfire")
    (said,) = desk.act(act_on(alert, "judge", judgement="gunfire"))
    assert (said.status, said.kind, said.reason, said.outcome) == ("confirmed", "revised", "reinstated", "published")
    assert desk.tick(after(NIGHT_NS, 600.0)) == (), "one act, one revision"


def test_the_last_word_of_several_counts():
    desk, alert = desk_with(fix_at("a"))
    for number, judgement in enumerate(["fireworks", "unsure", "gunfire", "vehicle"], start=1):
        (said,) = desk.act(act_on(alert, "judge", number, judgement=judgement))
        assert said.review.judgement == judgement
    assert said.review.acts == ("act1", "act2", "act3", "act4")


# the place


def test_a_place_by_hand_is_round_at_its_radius_and_keeps_the_machines():
    desk, alert = desk_with(fix_at("a", frame=HARTFORD, other=(0.3, 200.0, 0.0)))
    (said,) = desk.act(act_on(alert, "place", latitude=41.7663, longitude=-72.6729, radius_m=25.0))
    place = said.place
    assert (said.reason, place.latitude, place.longitude) == ("relocated", 41.7663, -72.6729)
    assert (place.ellipse.semi_major_m, place.ellipse.semi_minor_m, place.ellipse.confidence) == (25.0, 25.0, 0.95)
    assert place.modes == ()
    assert place.usng.startswith("18T XM ")
    region = confidence_ellipse(place.covariance_m2, chi2.ppf(0.95, 2))
    assert region.semi_major_m == pytest.approx(25.0, rel=1e-9)
    geod = pyproj.Geod(ellps="WGS84")
    for longitude, latitude in place.polygon.coordinates[0]:
        assert geod.inv(-72.6729, 41.7663, longitude, latitude)[2] == pytest.approx(25.0, abs=0.03)
    machine = said.review.machine_place
    assert (machine.latitude, machine.longitude, machine.ellipse) == (
        alert.place.latitude, alert.place.longitude, alert.place.ellipse,
    )  # fmt: skip
    assert (machine.modes, machine.covariance_m2) == (alert.place.modes, alert.place.covariance_m2)
    assert said.what.flags == alert.what.flags


def test_a_place_by_hand_stands_when_the_machine_finds_another():
    desk, alert = desk_with(fix_at("a", frame=HARTFORD))
    desk.act(act_on(alert, "place", latitude=41.7663, longitude=-72.6729, radius_m=25.0))
    desk.receive(fix_at("a", 0.0, 50.0, frame=HARTFORD, revision=2))
    (late,) = desk.tick(after(NIGHT_NS, 80.0))
    assert (late.place.latitude, late.place.longitude) == (41.7663, -72.6729)
    assert late.review.machine_place.longitude != alert.place.longitude


def test_what_had_no_place_gets_one():
    desk, alert = desk_with(unfixed_at("a", llr=9.0))
    (said,) = desk.act(act_on(alert, "place", latitude=41.7663, longitude=-72.6729, radius_m=25.0))
    assert (said.place.latitude, said.review.machine_place, said.what.flags) == (41.7663, None, ("unplaced",))
    assert machines_word(said, "local").place is None


def test_chi_square_is_scipys():
    assert chi2.ppf(0.95, 2) == pytest.approx(CHI_SQUARE_95, rel=1e-12)


@given(st.floats(1.0, 400.0), st.floats(0.05, 1.0), st.floats(0.0, 179.99))
def test_the_covariance_of_an_ellipse_is_the_one_it_was_made_of(major_m, ratio, azimuth_deg):
    a, b, turn = major_m**2, (major_m * ratio) ** 2, math.radians(azimuth_deg)
    sin, cos = math.sin(turn), math.cos(turn)
    covariance = Covariance(a * sin**2 + b * cos**2, (a - b) * sin * cos, a * cos**2 + b * sin**2)
    back = covariance_of(confidence_ellipse(covariance, chi2.ppf(0.95, 2)))
    for name in ("ee_m2", "en_m2", "nn_m2"):
        assert getattr(back, name) == pytest.approx(getattr(covariance, name), rel=1e-6, abs=1e-6 * a)


def test_an_act_that_gives_no_place_is_refused():
    _, alert = desk_with(fix_at("a"))
    with pytest.raises(ValueError, match="gives no place"):
        place_by_hand(act_on(alert, "judge", judgement="unsure"), alert.place)


# joining and parting

PAIR = (fix_at("a"), fix_at("c", 0.4), fix_at("b", 0.5, 400.0))


@pytest.mark.parametrize("forgotten", [False, True])
def test_joined_by_hand_the_one_is_cancelled_and_the_other_has_its_rounds(forgotten):
    desk, a, b = desk_with(*PAIR)
    if forgotten:
        forget(desk)
    keeps, goes = desk.act(act_on(b, "merge", into=a.alert_id), (a, b))
    assert (goes.alert_id, goes.status, goes.reason, goes.merged_into) == (
        b.alert_id, "cancelled", "merged", a.incident_id,
    )  # fmt: skip
    assert (keeps.alert_id, keeps.kind, keeps.reason, keeps.status) == (
        a.alert_id, "revised", "more-rounds", "confirmed",
    )  # fmt: skip
    assert [one.shot_id for one in keeps.rounds] == ["a", "c", "b"]
    assert [one.incident_id for one in keeps.rounds] == [None, None, b.incident_id]
    assert (keeps.what.rounds.best, keeps.what.rounds.max) == (3, 3)
    assert keeps.discharge_time.last == b.discharge_time.last
    assert keeps.what.cadence_s == pytest.approx(0.25)


@pytest.mark.parametrize("forgotten", [False, True])
def test_parted_by_hand_the_rounds_are_an_alert_of_their_own(forgotten):
    desk, alert = desk_with(fix_at("a"), fix_at("b", 0.5, 30.0), fix_at("c", 1.0, 30.0))
    if forgotten:
        forget(desk)
    act = act_on(alert, "split", shot_ids=("b", "c"))
    made, rest = desk.act(act, (alert,))
    assert (made.alert_id, made.incident_id) == made_of(act)
    assert (made.revision, made.kind, made.reason, made.status) == (1, "new", "split", "confirmed")
    assert ([one.shot_id for one in made.rounds], made.place.east) == (["b", "c"], 30.0)
    assert (rest.alert_id, rest.revision, rest.reason) == (alert.alert_id, alert.revision + 1, "split")
    assert ([one.shot_id for one in rest.rounds], rest.place.east, rest.what.rounds.best) == (["a"], 0.0, 1)
    assert made.review.acts == rest.review.acts == ("act1",)


SPREAD = (
    fix_at("a", sensors=("s1", "s2", "s3")),
    fix_at("b", 0.5, 30.0, sensors=("s1", "s2", "s4", "s5"), other=(0.3, 200.0, 0.0)),
    fix_at("c", 1.0, 30.0, sensors=("s3", "s4", "s6"), other=(0.2, -200.0, 0.0)),
    fix_at("d", 1.5, 400.0, sensors=("s2", "s5", "s6")),
)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("parted", [(), ("a",), ("b",), ("c",), ("b", "c")])
def test_what_a_document_cannot_tell_it_does_not_claim(joined, parted):
    """Against a desk that remembers: what is counted or placed otherwise says that it may be."""
    told = []
    for forgotten in (False, True):
        desk, *alerts = desk_with(*SPREAD)
        if forgotten:
            forget(desk)
        first, other = alerts
        last = dict.fromkeys([first.alert_id, other.alert_id])
        if joined:
            last |= {said.alert_id: said for said in desk.act(act_on(other, "merge", into=first.alert_id), (*alerts,))}
        if parted:
            act = act_on(first, "split", 2, shot_ids=parted)
            last |= {said.alert_id: said for said in desk.act(act, (*alerts,))}
        told.append({name: said for name, said in last.items() if said is not None and said.status != "cancelled"})
    remembered, documents = told
    assert remembered.keys() == documents.keys()
    for name, said in documents.items():
        true, gate = remembered[name], said.what.gate
        bounded = "sensors or more" in gate
        assert said.sensors.heard <= true.sensors.heard if bounded else said.sensors.heard == true.sensors.heard
        assert f"{said.sensors.heard} sensors or more" in gate or not bounded
        assert "elsewhere, too" in gate or said.place.modes == true.place.modes
        assert "not known any more" not in true.what.gate


def test_the_founder_can_leave_and_a_late_sensor_finds_each_round_where_it_is():
    desk, alert = desk_with(fix_at("a"), fix_at("b", 0.5))
    made, rest = desk.act(act_on(alert, "split", shot_ids=("a",)))
    desk.receive(fix_at("a", revision=2, sensors=("s1", "s2", "s3", "s4", "s5")))
    desk.receive(fix_at("b", 0.5, revision=2, sensors=("s1", "s2", "s3", "s4", "s6")))
    late = {said.alert_id: said for said in desk.tick(after(NIGHT_NS, 80.0))}
    assert late.keys() == {made.alert_id, rest.alert_id}
    assert {said.reason for said in late.values()} == {"late-sensor"}
    assert [[one.shot_id for one in late[name].rounds] for name in (made.alert_id, rest.alert_id)] == [["a"], ["b"]]
    assert desk.counts["incidents"] == 2 - desk.counts["merged"] - 1, "a late sensor never opens a second incident"


def test_a_late_sensor_of_what_was_joined_revises_the_other():
    desk, a, b = desk_with(*PAIR)
    desk.act(act_on(b, "merge", into=a.alert_id))
    desk.receive(fix_at("b", 0.5, 400.0, revision=2, sensors=("s1", "s2", "s3", "s6")))
    (late,) = desk.tick(after(NIGHT_NS, 80.0))
    assert (late.alert_id, late.reason) == (a.alert_id, "late-sensor")


def test_a_shot_between_two_that_people_spoke_of_does_not_join_them():
    desk, a, b = desk_with(fix_at("a"), fix_at("b", 0.5, 100.0))
    desk.act(act_on(a, "judge", judgement="fireworks"))
    desk.receive(fix_at("c", 1.0, 50.0))
    desk.tick(after(NIGHT_NS, 80.0))
    (said,) = desk.act(act_on(b, "judge", 2, judgement="gunfire"))
    assert (said.status, said.outcome) == ("confirmed", "published")


# undoing


def machine_part(alert):
    """What must come back when everything is undone."""
    return substance(dataclasses.replace(alert, review=None))


def acts_of_all_kinds(a, b):
    return [
        act_on(a, "judge", 1, judgement="fireworks"),
        act_on(a, "place", 2, latitude=41.7663, longitude=-72.6729, radius_m=25.0),
        act_on(a, "split", 3, shot_ids=("c",)),
        act_on(b, "merge", 4, into=a.alert_id),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_undoing_everything_in_any_order_gives_the_machines_word(order):
    desk, a, b = desk_with(*PAIR)
    acts = acts_of_all_kinds(a, b)
    last = {}
    for act in acts:
        last |= {said.alert_id: said for said in desk.act(act)}
    for number, k in enumerate(order, start=5):
        undo = dataclasses.replace(act_on(a, "undo", number, undoes=acts[k].act_id), alert_id=acts[k].alert_id)
        undo = dataclasses.replace(undo, incident_id=b.incident_id if undo.alert_id == b.alert_id else a.incident_id)
        said = desk.act(undo)
        assert {alert.reason for alert in said} == {"undone"}
        last |= {alert.alert_id: alert for alert in said}
    assert machine_part(last[a.alert_id]) == substance(a)
    assert machine_part(last[b.alert_id]) == substance(b)
    assert last[made_of(acts[2])[0]].status == "cancelled"
    assert last[made_of(acts[2])[0]].merged_into == a.incident_id


def test_undoing_after_the_desk_forgot_gives_the_machines_word_back_from_the_documents():
    desk, a, b = desk_with(*(dataclasses.replace(shot) for shot in PAIR))
    acts, last, told = acts_of_all_kinds(a, b), {a.alert_id: a, b.alert_id: b}, []
    number = 5
    for act in (*acts, *(act_on(last[x.alert_id], "undo", 5 + k, undoes=x.act_id) for k, x in enumerate(acts))):
        desk.tick(FORGOTTEN_NS + number * 3 * (MEMORY_NS + TRAVEL_NS))
        number += 1
        desk.tick(FORGOTTEN_NS + number * 3 * (MEMORY_NS + TRAVEL_NS))
        assert desk.incident_id("a") is None
        known = tuple(decode(encode(last[name])) for name in alerts_concerned(act, told) if name in last)
        said = desk.act(act, known, tuple(told))
        assert said, act
        told.append(act)
        last |= {alert.alert_id: alert for alert in said}
    for before in (a, b):
        now = machine_part(last[before.alert_id])
        what = dataclasses.replace(now.what, gate=before.what.gate)  # which says that it was judged of documents
        assert dataclasses.replace(now, what=what) == substance(before)


def test_what_only_a_person_had_published_is_withdrawn_with_their_word():
    desk, alert = desk_with(fix_at("a", llr=1.0))
    desk.act(act_on(alert, "judge", judgement="gunfire"))
    (said,) = desk.act(act_on(alert, "undo", 2, undoes="act1"))
    assert (said.kind, said.reason, said.outcome, said.review.machine_outcome) == (
        "cancelled", "undone", "published", "review",
    )  # fmt: skip
    assert said.review.judgement is None
    (again,) = desk.act(act_on(alert, "undo", 3, undoes="act2"))
    assert (again.status, again.review.judgement) == ("confirmed", "gunfire"), "an undoing can be undone"


# twice, late, and in whatever order


@pytest.mark.parametrize("forgotten", [False, True])
def test_what_was_denied_stays_withdrawn_when_it_is_its_own_again(forgotten):
    desk, alert, other = desk_with(fix_at("a"), fix_at("b", 5.0, 600.0))
    if forgotten:
        forget(desk)
    denied, merged = act_on(alert, "judge", judgement="fireworks"), act_on(alert, "merge", 2, into=other.alert_id)
    desk.act(denied, (alert,))
    assert desk.act(merged, (other,))[-1].merged_into == other.incident_id
    said = {one.alert_id: one for one in desk.act(act_on(alert, "undo", 3, undoes=merged.act_id))}
    own = said[alert.alert_id]
    assert (own.status, own.kind, own.outcome, own.reason) == ("cancelled", "cancelled", "published", "undone")
    assert own.merged_into is None
    (back,) = desk.act(act_on(alert, "undo", 4, undoes=denied.act_id))
    assert (back.status, back.kind, back.outcome) == ("confirmed", "revised", "published"), "it is not new again"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.booleans()), max_size=12))
@settings(max_examples=60, deadline=None)
def test_who_hears_what_is_published_hears_of_each_as_new_once_and_then_all_of_it(chosen):
    """Whatever people say and take back, and whatever the machine thinks better of."""
    desk, said, acts = Desk(), {}, []

    def hear(alerts):
        for alert in alerts:
            said.setdefault(alert.alert_id, []).append(alert)

    for shot in (fix_at("a"), fix_at("b", 5.0, 600.0, llr=2.0)):
        hear(desk.receive(shot))
    hear(desk.tick(after(NIGHT_NS, 60.0)))
    for number, (kind, which, first) in enumerate(chosen, start=1):
        alert, other = [revisions[-1] for revisions in list(said.values())[:: 1 if first else -1]]
        if kind == 0:
            hear(desk.receive(fix_at("a" if first else "b", 0.0 if first else 5.0, 0.0 if first else 600.0,
                                     llr=(-9.0, 2.0, 9.0)[which % 3], revision=1 + number)))  # fmt: skip
            hear(desk.tick(after(NIGHT_NS, 60.0 + number)))
            continue
        if kind == 1:
            act = act_on(alert, "merge", number, into=other.alert_id)
        elif kind == 2 and acts:
            act = act_on(alert, "undo", number, undoes=acts[which % len(acts)].act_id)
        else:
            act = act_on(alert, "judge", number, judgement=JUDGEMENTS[which % len(JUDGEMENTS)])
        acts.append(act)
        hear(desk.act(act))
    for revisions in said.values():
        heard = [alert.outcome == "published" for alert in revisions]
        assert heard == sorted(heard), "from the first that is published on, all are"
        kinds = [alert.kind for alert in revisions if alert.outcome == "published"]
        assert "new" not in kinds[1:]
        assert kinds[:1] in ([], ["new"])


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_same_act_twice_is_one(forgotten):
    desk, alert = desk_with(fix_at("a"))
    act = act_on(alert, "judge", judgement="fireworks")
    (said,) = desk.act(act, (alert,))
    if forgotten:
        forget(desk)
    assert desk.act(act, (said,), (act,)) == ()
    assert (desk.counts["acts_repeated"], desk.counts["acts_passed_over"]) == (1, 0)


def test_a_desk_that_starts_anew_goes_on_from_the_record():
    _, alert = desk_with(fix_at("a"))
    desk = Desk()
    (said,) = desk.act(act_on(alert, "judge", judgement="fireworks"), (alert,))
    assert (said.revision, said.supersedes, said.status) == (alert.revision + 1, alert.message_id, "cancelled")
    again = Desk()
    (said,) = again.act(act_on(alert, "judge", 2, judgement="unsure"), (said,))
    assert said.review.acts == ("act1", "act2")
    assert again.act(act_on(alert, "undo", 3, undoes="act1"), (said,)) == (), "what it was is not known here"
    assert again.counts["acts_passed_over"] == 1


def test_a_desk_that_listens_back_goes_on_behind_what_is_stored():
    desk, alert = desk_with(fix_at("a"))
    (placed,) = desk.act(act_on(alert, "place", latitude=41.7663, longitude=-72.6729, radius_m=25.0))
    anew, _ = desk_with(fix_at("a"))  # without the act: its entry was before those that are listened back into
    (said,) = anew.act(act_on(alert, "judge", 2, judgement="gunfire"), (placed,))
    assert (said.revision, said.review.acts, said.place) == (placed.revision + 1, ("act1", "act2"), placed.place)


def commuting(a, b, c, d):
    """Acts that make sense in any order: no undoing, and nothing said of what was joined."""
    yield from (act_on(a, "judge", k, judgement=judgement) for k, judgement in enumerate(JUDGEMENTS, start=1))
    yield from (act_on(a, "place", k, latitude=41.766, longitude=-72.67, radius_m=5.0 * k) for k in (21, 22))
    yield act_on(c, "merge", 23, into=d.alert_id)
    yield act_on(d, "judge", 24, judgement="gunfire")
    yield act_on(b, "split", 25, shot_ids=("b2",))


@given(
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, len(JUDGEMENTS) + 4), min_size=2, max_size=8, unique=True),
)
@settings(max_examples=40, deadline=None)
def test_what_counts_does_not_depend_on_the_order_in_which_acts_arrive(random, chosen):
    shots = [fix_at(n, 0.1 * k, 350.0 * k, llr=6.0) for k, n in enumerate("abcd")] + [fix_at("b2", 0.3, 350.0)]

    def finally_said(order):
        desk, *alerts = desk_with(*shots)
        last = {alert.alert_id: alert for alert in alerts}
        acts = list(commuting(*alerts))
        for k in order:
            last |= {said.alert_id: said for said in desk.act(acts[k])}
        assert desk.counts["acts_passed_over"] == 0
        return {name: substance(alert) for name, alert in last.items()}

    assert finally_said(sorted(chosen)) == finally_said(random.sample(chosen, len(chosen)))


ACTS = st.builds(
    lambda k, at, undoes: Act(
        f"x{k}", "undo" if undoes is not None else "judge", "a1", "i1", "ann", NIGHT_NS + at,
        judgement=None if undoes is not None else "gunfire", undoes=None if undoes is None else f"x{undoes}",
    ),
    st.integers(0, 9), st.integers(0, 5), st.none() | st.integers(0, 9),
)  # fmt: skip


@given(st.lists(ACTS, max_size=10, unique_by=lambda act: act.act_id), st.randoms(use_true_random=False))
def test_what_is_undone_is_the_same_in_any_order_and_by_a_slow_definition(acts, random):
    def counts(act):
        """As one would say it: an act counts unless a later one that counts undoes it."""
        later = [other for other in acts if (other.at_ns, other.act_id) > (act.at_ns, act.act_id)]
        return not any(other.undoes == act.act_id and counts(other) for other in later)

    expected = {act.act_id for act in acts if counts(act)}
    assert {act.act_id for act in counting(acts)} == expected
    assert counting(random.sample(acts, len(acts))) == counting(acts)


def test_joining_never_leads_in_a_circle():
    def merge(number, one, other):
        return Act(f"m{number}", "merge", one, f"i{one}", "ann", NIGHT_NS + number, into=other)

    standing = Standing.of([merge(1, "a", "b"), merge(2, "b", "c"), merge(3, "c", "a")])
    assert standing.into == {"a": "b", "b": "c"}
    assert standing.owner("s", "a") == standing.owner("s", "c") == "c"
    assert standing.owner("s", "a", stop="b") == "b"


# what makes no sense


def objections():
    _, a, b = desk_with(*PAIR)
    merged = dataclasses.replace(b, status="cancelled", kind="cancelled", merged_into=a.incident_id)
    yield act_on(a, "judge", judgement="unsure"), (b,), "is not known"
    yield dataclasses.replace(act_on(a, "judge", judgement="unsure"), incident_id="i0"), (a,), "tells of incident"
    yield act_on(b, "judge", judgement="gunfire"), (merged,), "undo the merging first"
    yield act_on(a, "merge", into="a0"), (a,), "a0 is not known"
    yield act_on(a, "merge", into=b.alert_id), (a, merged), "is itself part of"
    yield act_on(a, "split", shot_ids=("a", "c")), (a,), "nothing would remain"
    yield act_on(a, "split", shot_ids=("z",)), (a,), "round z is not in it"
    yield act_on(a, "undo", undoes="act7"), (a,), "was not said of this alert"


@pytest.mark.parametrize(("act", "known", "words"), list(objections()))
def test_what_makes_no_sense_is_said_in_words_and_passed_over_at_the_desk(act, known, words):
    assert words in objection(act, known)
    desk = Desk()
    assert desk.act(act, known) == ()
    assert desk.counts["acts_passed_over"] == 1
    desk.tick(after(NIGHT_NS, 60.0))
    assert not desk._people
    assert pickle.loads(pickle.dumps(desk)).counts == desk.counts  # noqa: S301  (our own)


def test_what_was_told_already_is_no_reason_to_object():
    desk, a, b = desk_with(*PAIR)
    act = act_on(b, "merge", into=a.alert_id)
    assert objection(act, desk.act(act)) is None


def test_people_and_what_they_spoke_of_are_forgotten_in_their_time():
    desk, alert = desk_with(fix_at("a"))
    desk.act(act_on(alert, "split", shot_ids=("a",)))
    for number in range(1, 30):
        desk.act(act_on(alert, "judge", number, judgement=JUDGEMENTS[number % 6]), (alert,))
    assert desk._people.acts == 29
    forget(desk)
    assert (desk._people.acts, len(desk._people.asides), bool(desk._people)) == (0, 0, False)
