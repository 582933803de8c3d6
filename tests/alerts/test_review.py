"""What people do with incidents: who may, who is told what, and that every step of it stays on record."""

from __future__ import annotations

import msgspec
import pytest
import sqlalchemy as sa

from acoustic.instant import after
from alerts.desk import Desk
from alerts.record import tables
from alerts.review import acts
from alerts.review.findings import Finding
from alerts.review.reviews import (
    ConflictError,
    Link,
    ObjectionError,
    ReviewRules,
    Reviews,
    UnknownIncidentError,
)
from tests.review_nights import REVIEW_LLR, apply, entries, minutes, submit, tell
from tests.strategies import unfixed_at


@pytest.fixture
def reviews(record_store):
    return Reviews(record_store, ReviewRules(second_share=0.0))


@pytest.fixture
def shooting(reviews):
    return tell(reviews.store, "shooting")


def last_body(reviews, incident_id):
    return msgspec.json.decode(list(reviews.ledger.entries(about=incident_id))[-1].body)


def test_a_claim_holds_for_its_time_and_then_is_anybodys(reviews, shooting):
    head = reviews.claim(shooting, "ann", minutes(1))
    assert (head.claimed_by, head.claimed_until_ns, head.version) == ("ann", minutes(3), 2)
    with pytest.raises(ConflictError, match=r"ann has it in hand until 2026-11-21T02:17") as refused:
        reviews.claim(shooting, "bob", minutes(2))
    assert (refused.value.changed_by, refused.value.until_ns, refused.value.version) == ("ann", minutes(3), 2)
    assert reviews.claim(shooting, "ann", minutes(2)).claimed_until_ns == minutes(4)  # she holds it longer
    assert reviews.claim(shooting, "bob", minutes(4)).claimed_by == "bob"  # at the end it is over
    assert [kind for kind, _ in entries(reviews, shooting)] == ["claim"] * 3
    assert last_body(reviews, shooting)["previous"] == {"claimed_by": "ann", "claimed_until_ns": minutes(4)}


def test_only_who_has_it_lets_go_of_it(reviews, shooting):
    reviews.claim(shooting, "ann", minutes(1))
    with pytest.raises(ConflictError, match="ann has it"):
        reviews.release(shooting, "bob", minutes(2))
    assert reviews.release(shooting, "ann", minutes(2)).claimed_by is None
    before = reviews.head(shooting)
    assert reviews.release(shooting, "bob", minutes(2)) == before  # nobody has it: nothing happens
    assert entries(reviews, shooting) == [("claim", "ann"), ("release", "ann")]


def test_an_alert_is_acknowledged_once(reviews, shooting):
    head = reviews.acknowledge(shooting, "ann", minutes(1))
    assert (head.acknowledged_by, head.acknowledged_ns) == ("ann", minutes(1))
    assert reviews.acknowledge(shooting, "ann", minutes(2)) == head
    with pytest.raises(ConflictError, match="ann acknowledged it already"):
        reviews.acknowledge(shooting, "bob", minutes(2))
    assert entries(reviews, shooting) == [("acknowledge", "ann")]
    doubted = tell(reviews.store, "doubted", llr=REVIEW_LLR)
    with pytest.raises(ObjectionError, match="never published"):
        reviews.acknowledge(doubted, "ann", minutes(1))


def test_a_judgement_is_an_act_that_waits_for_the_desk(reviews, shooting):
    decision = reviews.judge(shooting, "ann", minutes(1), "fireworks", expected_version=1, note="heard a whistle")
    assert (decision.act.judgement, decision.act.by, decision.act.note) == ("fireworks", "ann", "heard a whistle")
    assert [alert.incident_id for alert in decision.known] == [shooting]
    assert (decision.head.verdict, decision.head.version, decision.head.changed_by) == ("fireworks", 2, "ann")
    assert decision.head.outcome == "published"  # until the desk has said otherwise
    assert [one.act for one in reviews.pending()] == [decision.act]
    assert reviews.unapplied() == (1, minutes(1))
    assert reviews.pending()[0].known == decision.known == reviews.documents_for(decision.act)
    apply(reviews.store, decision.act, "suppressed")
    assert reviews.pending() == ()
    assert reviews.unapplied() == (0, None)
    after_it = reviews.head(shooting)
    assert (after_it.outcome, after_it.machine_outcome, after_it.verdict) == ("suppressed", "published", "fireworks")
    assert entries(reviews, shooting) == [("act", "ann"), ("opinion", "ann")]


def test_told_twice_it_is_one_act(reviews, shooting):
    once = reviews.judge(shooting, "ann", minutes(1), "gunfire", expected_version=1)
    again = reviews.judge(shooting, "ann", minutes(1), "gunfire", expected_version=1)
    assert (again.act, again.head) == (once.act, once.head)
    assert len(reviews.pending()) == 1
    assert len(entries(reviews, shooting)) == 2


def test_who_looked_at_an_older_version_is_told_who_was_faster(reviews, shooting):
    reviews.acknowledge(shooting, "bob", minutes(1))
    with pytest.raises(ConflictError, match=r"bob changed it since you looked \(version 2, yours 1\)") as refused:
        reviews.judge(shooting, "ann", minutes(1), "gunfire", expected_version=1)
    assert (refused.value.version, refused.value.changed_by) == (2, "bob")
    assert reviews.pending() == ()
    assert reviews.head(shooting).verdict is None


def test_the_machine_is_faster_too(reviews):
    burst = tell(reviews.store, "burst", rounds=3)
    head = reviews.head(burst)
    assert head.version > 1
    with pytest.raises(ConflictError, match="machine changed it since"):
        reviews.judge(burst, "ann", minutes(1), "gunfire", expected_version=1)
    assert reviews.judge(burst, "ann", minutes(1), "gunfire", expected_version=head.version).head.verdict == "gunfire"


@pytest.mark.parametrize("act", ["judge", "adjudicate", "second", "place", "merge", "split", "undo"])
def test_what_somebody_has_in_hand_nobody_else_decides(reviews, act):
    burst = tell(reviews.store, "burst", rounds=3)
    other = tell(reviews.store, "other", 100.0)
    judged = reviews.judge(burst, "ann", minutes(1), "unsure", expected_version=reviews.head(burst).version)
    version = reviews.claim(burst, "ann", minutes(2)).version
    said = {
        "judge": ("gunfire",), "adjudicate": ("gunfire",), "second": ("gunfire",), "place": (41.7, -72.6, 30.0),
        "merge": (other,), "split": (("burst-1",),), "undo": (judged.act.act_id,),
    }[act]  # fmt: skip
    with pytest.raises(ConflictError, match="ann has it in hand until"):
        getattr(reviews, act)(burst, "bob", minutes(3), *said, expected_version=version)
    assert reviews.head(burst).version == version
    named = {"supervisor": True} if act == "undo" else {}
    if act != "judge":
        assert getattr(reviews, act)(burst, "bob", minutes(4), *said, expected_version=version, **named)


def test_what_is_decided_is_no_longer_in_anybodys_hands(reviews, shooting):
    version = reviews.claim(shooting, "ann", minutes(1)).version
    head = reviews.judge(shooting, "ann", minutes(2), "gunfire", expected_version=version).head
    assert (head.claimed_by, head.claimed_until_ns) == (None, None)


def test_a_verdict_is_corrected_by_who_gave_it_and_overruled_by_a_supervisor(reviews, shooting):
    reviews.judge(shooting, "ann", minutes(1), "fireworks", expected_version=1)
    with pytest.raises(ConflictError, match="ann judged it; only they or a supervisor"):
        reviews.judge(shooting, "bob", minutes(2), "gunfire", expected_version=2)
    corrected = reviews.judge(shooting, "ann", minutes(2), "vehicle", expected_version=2)
    assert [one.verdict for one in reviews.opinions(shooting)] == ["vehicle"]
    assert last_body(reviews, shooting)["replaced"][0]["verdict"] == "fireworks"  # nothing is overwritten unsaid
    over = reviews.adjudicate(shooting, "sue", minutes(3), "gunfire", expected_version=corrected.head.version)
    assert [(one.turn, one.by, one.verdict) for one in reviews.opinions(shooting)] == [
        (1, "ann", "vehicle"),
        (3, "sue", "gunfire"),
    ]
    with pytest.raises(ConflictError, match="sue decided it"):
        reviews.judge(shooting, "ann", minutes(4), "vehicle", expected_version=over.head.version)


def test_undoing_goes_back_step_by_step_and_erases_nothing(reviews, shooting):
    steps = [("ann", "judge", "fireworks"), ("ann", "judge", "vehicle"), ("sue", "adjudicate", "gunfire")]
    acts = []
    for number, (who, how, verdict) in enumerate(steps, start=1):
        version = reviews.head(shooting).version
        acts.append(getattr(reviews, how)(shooting, who, minutes(number), verdict, expected_version=version).act)
    standing = ["gunfire", "vehicle", "fireworks", None]
    for number, act in enumerate(reversed(acts)):
        assert reviews.head(shooting).verdict == standing[number]
        version = reviews.head(shooting).version
        undone = reviews.undo(
            shooting, "sue", minutes(10 + number), act.act_id, expected_version=version, supervisor=True
        )
        assert (undone.act.undoes, undone.act.kind) == (act.act_id, "undo")
    assert reviews.head(shooting).verdict is None
    assert reviews.opinions(shooting) == ()
    version = reviews.head(shooting).version
    with pytest.raises(ObjectionError, match="undone already"):
        reviews.undo(shooting, "sue", minutes(20), acts[0].act_id, expected_version=version, supervisor=True)
    assert len(reviews.pending()) == 6
    verdicts = [msgspec.json.decode(e.body)["opinion"]["verdict"] for e in reviews.ledger.entries(kinds=("opinion",))]
    assert verdicts == ["fireworks", "vehicle", "gunfire"]
    assert reviews.judge(shooting, "bob", minutes(30), "gunfire", expected_version=reviews.head(shooting).version)


def test_undoing_needs_an_act_of_this_incident(reviews, shooting):
    other = tell(reviews.store, "other", 100.0)
    judged = reviews.judge(other, "ann", minutes(1), "gunfire", expected_version=1)
    for act_id in ("h0123456789abcdef", judged.act.act_id):
        with pytest.raises(ObjectionError, match="no act"):
            reviews.undo(shooting, "ann", minutes(2), act_id, expected_version=1)


def test_places_merges_and_splits_are_acts(reviews):
    burst = tell(reviews.store, "burst", rounds=3)
    other = tell(reviews.store, "other", 100.0)
    version = reviews.head(burst).version
    placed = reviews.place(burst, "ann", minutes(1), 41.77, -72.67, 25.0, expected_version=version, note="casings")
    assert (placed.act.latitude, placed.act.longitude, placed.act.radius_m) == (41.77, -72.67, 25.0)
    split = reviews.split(burst, "ann", minutes(2), ("burst-1",), expected_version=placed.head.version)
    assert split.act.shot_ids == ("burst-1",)
    assert [one.act.kind for one in reviews.pending()] == ["place", "split"]
    apply(reviews.store, split.act)
    version = reviews.head(burst).version
    merged = reviews.merge(burst, "ann", minutes(3), other, expected_version=version)
    assert merged.act.into == reviews.head(other).alert_id
    assert {alert.incident_id for alert in merged.known} == {burst, other}
    assert [one.act.kind for one in reviews.pending()] == ["place", "merge"]


def test_a_slip_in_a_place_is_measured_against_the_sensors_and_not_against_somebodys_slip(reviews):
    def place(name, latitude):
        head = reviews.head(name)
        at_ns = minutes(head.version)
        placed = reviews.place(name, "ann", at_ns, latitude, -72.67, 25.0, expected_version=head.version)
        return submit(reviews, placed)[-1].place.latitude

    desk = Desk(mode="live")
    said = [*desk.receive(unfixed_at("odd", llr=9.0)), *desk.tick(minutes(1))]
    reviews.store.keep(said, [], minutes(1))
    unplaced, placed = said[-1].incident_id, tell(reviews.store, "placed", 100.0)
    assert said[-1].place is None
    assert [place(unplaced, degrees) for degrees in (14.77, 41.77)] == [14.77, 41.77]
    assert place(placed, 41.77) == 41.77
    with pytest.raises(ObjectionError, match="km from where it was heard"):
        place(placed, 14.77)


def test_what_makes_no_sense_is_refused_and_leaves_no_trace(reviews):
    burst = tell(reviews.store, "burst", rounds=3)
    version = reviews.head(burst).version
    with pytest.raises(ObjectionError):
        reviews.split(burst, "ann", minutes(1), ("burst-0", "burst-1", "burst-2"), expected_version=version)
    with pytest.raises(ObjectionError):
        reviews.split(burst, "ann", minutes(1), ("nobody",), expected_version=version)
    with pytest.raises(ObjectionError, match="part of itself"):
        reviews.merge(burst, "ann", minutes(1), burst, expected_version=version)
    with pytest.raises(UnknownIncidentError, match="no such incident"):
        reviews.merge(burst, "ann", minutes(1), "inone", expected_version=version)
    with pytest.raises(ObjectionError, match="nobody judged it"):
        reviews.adjudicate(burst, "ann", minutes(1), "gunfire", expected_version=version)
    with pytest.raises(ValueError, match="latitude"):
        reviews.place(burst, "ann", minutes(1), 91.0, 0.0, 25.0, expected_version=version)
    with pytest.raises(ValueError, match="judgement"):
        reviews.judge(burst, "ann", minutes(1), "thunder", expected_version=version)
    with pytest.raises(ValueError, match="who is"):
        reviews.claim(burst, "ann\nbob", minutes(1))
    for nobody in ("Machine", "retention", "Migration"):
        with pytest.raises(ValueError, match="what the machine is called, or a part of it"):
            reviews.claim(burst, nobody, minutes(1))
    with pytest.raises(TypeError, match="at_ns"):
        reviews.claim(burst, "ann", 1.5e18)
    assert entries(reviews, burst) == []
    assert reviews.head(burst).version == version
    assert reviews.pending() == ()


def test_a_finding_stands_in_row_and_ledger(reviews, shooting):
    first = Finding("unconfirmed", officer_minutes=32.0)
    assert reviews.disposition(shooting, "ann", minutes(1), first).disposition == "unconfirmed"
    found = Finding("confirmed", ("casings", "video"), "26-031877", 95.0, "three 9 mm")
    head = reviews.disposition(shooting, "bob", minutes(60), found, expected_version=2)
    assert (head.disposition, head.case_number, head.changed_by) == ("confirmed", "26-031877", "bob")
    body = last_body(reviews, shooting)
    assert body["previous"] == {"disposition": "unconfirmed", "case_number": None}
    assert body["finding"]["evidence"] == ["casings", "video"]
    assert body["finding"]["officer_minutes"] == 95.0
    with pytest.raises(ConflictError):
        reviews.disposition(shooting, "ann", minutes(61), first, expected_version=2)
    kept = reviews.disposition(shooting, "ann", minutes(62), Finding("confirmed", officer_minutes=120.0))
    assert kept.case_number == "26-031877"


@pytest.mark.parametrize(
    "wrong",
    [
        {"disposition": "maybe"},
        {"disposition": "confirmed", "evidence": ("rumour",)},
        {"disposition": "confirmed", "evidence": ("gun", "gun")},
        {"disposition": "confirmed", "case_number": ""},
        {"disposition": "confirmed", "case_number": "1\n2"},
        {"disposition": "confirmed", "officer_minutes": -1.0},
        {"disposition": "confirmed", "officer_minutes": float("nan")},
        {"disposition": "confirmed", "note": "x" * 2_001},
    ],
)
def test_a_finding_checks_itself(wrong):
    with pytest.raises(ValueError, match=r"expected|evidence"):
        Finding(**wrong)


def test_notes_pins_and_links_are_kept(reviews, shooting):
    reviews.note(shooting, "ann", minutes(1), "caller says two cars")
    assert reviews.head(shooting).version == 1  # words change nothing that anybody could collide with
    assert reviews.pin(shooting, "ann", minutes(2), "subpoena").pinned
    assert not reviews.unpin(shooting, "sue", minutes(3), "case closed").pinned
    call, dispatch = Link("911", "2026-118233"), Link("cad", "P26-0417")
    for link in (call, dispatch, call):
        reviews.link(shooting, "ann", minutes(4), link)
    assert reviews.links(shooting) == (call, dispatch)
    reviews.unlink(shooting, "ann", minutes(5), call)
    assert reviews.links(shooting) == (dispatch,)
    kinds = [kind for kind, _ in entries(reviews, shooting)]
    assert kinds == ["note", "pin", "pin", "link", "link", "link", "link"]
    for wrong in ("", " ", "x" * 2_001):
        with pytest.raises(ValueError, match="characters"):
            reviews.note(shooting, "ann", minutes(6), wrong)
        with pytest.raises(ValueError, match="characters"):
            reviews.pin(shooting, "ann", minutes(6), wrong)
    for system, number in (("911", ""), ("CAD 1", "1"), ("cad", "a\nb"), ("", "1")):
        with pytest.raises(ValueError, match="expected"):
            Link(system, number)


def test_every_entry_says_who_when_and_what_stood_there(reviews, shooting):
    reviews.claim(shooting, "ann", minutes(1))
    reviews.acknowledge(shooting, "ann", minutes(1))
    reviews.judge(shooting, "ann", minutes(2), "gunfire", expected_version=3)
    reviews.disposition(shooting, "bob", minutes(3), Finding("confirmed", ("gun",), "26-1"))
    reviews.pin(shooting, "bob", minutes(4), "evidence")
    # The row as it stands follows from the entries alone.
    columns = {"claimed_by": None, "verdict": None, "disposition": None, "pinned": False, "acknowledged_by": None}
    for entry in reviews.ledger.entries(about=shooting):
        body = msgspec.json.decode(entry.body)
        for name, value in body.get("previous", {}).items():
            assert name not in columns or columns[name] == value
        columns |= {name: value for name, value in body.get("now", {}).items() if name in columns}
        assert entry.kind == "alert" or (entry.actor in ("ann", "bob") and entry.at_ns >= minutes(1))
    head = reviews.head(shooting)
    assert columns == {name: getattr(head, name) for name in columns}


def test_an_act_has_its_entrys_number(reviews, shooting):
    decision = reviews.judge(shooting, "ann", minutes(1), "gunfire", expected_version=1)
    with reviews.store.reading() as connection:
        row = connection.execute(sa.select(tables.act)).one()
    (entry,) = reviews.ledger.entries(kinds=("act",))
    assert (row.act_id, row.sequence, row.applied) == (decision.act.act_id, entry.sequence, False)
    assert msgspec.json.decode(entry.body)["act"]["act_id"] == decision.act.act_id


def test_a_claim_is_not_shortened_by_a_clock_that_was_set_back(reviews, shooting):
    reviews.claim(shooting, "ann", minutes(10))
    assert reviews.claim(shooting, "ann", after(minutes(10), -90.0)).claimed_until_ns == minutes(12)


def test_an_undoing_can_be_undone(reviews, shooting):
    judged = reviews.judge(shooting, "ann", minutes(1), "unsure", expected_version=1)
    undone = reviews.undo(shooting, "ann", minutes(2), judged.act.act_id, expected_version=2)
    assert (undone.head.verdict, undone.head.wants_second) == (None, False)
    again = reviews.undo(shooting, "ann", minutes(3), undone.act.act_id, expected_version=3)
    assert (again.head.verdict, again.head.wants_second) == ("unsure", True)
    assert [one.verdict for one in reviews.opinions(shooting)] == ["unsure"]


def test_the_last_word_is_the_last_also_when_the_clock_was_set_back(reviews, shooting):
    reviews.judge(shooting, "ann", minutes(10), "gunfire", expected_version=1)
    later = reviews.judge(shooting, "ann", minutes(5), "fireworks", expected_version=2)
    first, last = (one.act for one in reviews.pending())
    assert (last, last.at_ns) == (later.act, first.at_ns + 1)
    assert [entry.at_ns for entry in reviews.ledger.entries(kinds=("act",))] == [minutes(10), minutes(5)]


def test_a_merge_is_undone_from_either_side(reviews, shooting):
    other = tell(reviews.store, "other", 100.0)
    merged = reviews.merge(other, "ann", minutes(1), shooting, expected_version=1)
    submit(reviews, merged)
    version = reviews.head(shooting).version
    undone = reviews.undo(shooting, "ann", minutes(2), merged.act.act_id, expected_version=version)
    assert {alert.incident_id for alert in undone.known} == {shooting, other}
    submit(reviews, undone)
    version = reviews.head(other).version
    with pytest.raises(ObjectionError, match="undone already"):
        reviews.undo(other, "ann", minutes(3), merged.act.act_id, expected_version=version)


def test_what_is_stored_is_decoded_once_and_not_at_each_decision(reviews):
    """While one decides, the others wait: also where many acts still wait for the desk."""
    incidents = [tell(reviews.store, f"n{k}", 900.0 * k) for k in range(6)]

    def decide(k, at):
        version = reviews.head(incidents[k]).version
        reviews.place(incidents[k], "ann", minutes(at), 41.7, -72.6, 50.0, expected_version=version)

    for k in range(5):
        decide(k, 100 + k)
    before = acts._act.cache_info().misses, acts._alert.cache_info().misses
    decide(5, 110)
    decide(5, 111)
    after_ = acts._act.cache_info().misses, acts._alert.cache_info().misses
    assert after_[0] - before[0] <= 2  # its own, and the one before, which nobody had read yet
    assert after_[1] - before[1] <= 1
