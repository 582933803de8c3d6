"""What the desk is lent: who knows what stands where, what was to be expected, and where sound can be fetched."""

from __future__ import annotations

import pickle

import pytest

from acoustic.detection import Clip
from acoustic.instant import SECOND, after
from alerts.act import Act
from alerts.alert import encode
from alerts.calendar_event import ExpectedEvent
from alerts.desk import MEMORY_NS, Desk
from alerts.expectation import Expectation
from alerts.grouping import TRAVEL_NS
from alerts.place import Address, Surroundings, SurveyError
from alerts.policy import Policy
from tests.strategies import HARTFORD, NIGHT_NS, fix_at

END_NS = after(NIGHT_NS, 3000.0)


class Surveyor:
    """Knows one street; remembers what it was asked."""

    def __init__(self, trouble=None):
        self.asked = []
        self.trouble = trouble

    def describe(self, latitude, longitude, polygon=None):
        self.asked.append((latitude, longitude, polygon))
        if self.trouble is not None:
            raise self.trouble
        return Surroundings(address=Address("104 Main St", 12.0, 45.0), addresses_touched=1, beat="12")


def said_by(desk, *shots):
    said = [alert for shot in shots for alert in desk.receive(shot)]
    return [*said, *desk.tick(END_NS)]


def test_what_stands_there_is_in_every_revision_also_of_a_place_by_hand():
    surveyor = Surveyor()
    desk = Desk(gazetteer=surveyor)
    (alert,) = desk.receive(fix_at("a", frame=HARTFORD))
    assert (alert.place.address.text, alert.place.beat) == ("104 Main St", "12")
    assert surveyor.asked[-1][:2] == (alert.place.latitude, alert.place.longitude)
    assert surveyor.asked[-1][2] == alert.place.polygon.coordinates[0]
    about = {"alert_id": alert.alert_id, "incident_id": alert.incident_id, "by": "ann", "at_ns": NIGHT_NS}
    (moved,) = desk.act(Act("h1", "place", **about, latitude=41.77, longitude=-72.67, radius_m=25.0))
    assert moved.place.address.text == "104 Main St"
    assert surveyor.asked[-1] == (41.77, -72.67, moved.place.polygon.coordinates[0])


@pytest.mark.parametrize("trouble", [SurveyError("places.db is gone"), OSError("gone"), ValueError("not a number")])
def test_an_alert_never_waits_for_who_knows_the_streets(trouble):
    desk = Desk(gazetteer=Surveyor(trouble))
    without = said_by(Desk(), fix_at("a", frame=HARTFORD))
    assert said_by(desk, fix_at("a", frame=HARTFORD)) == without
    assert desk.counts["unsurveyed"] == 2


def test_a_place_in_a_plane_is_not_asked_about():
    surveyor = Surveyor()
    said_by(Desk(gazetteer=surveyor), fix_at("a"))
    assert surveyor.asked == []


@pytest.mark.parametrize(("prefix", "url"), [(None, None), ("/api/v1/audio/", f"/api/v1/audio/{0:064x}")])
def test_sound_has_an_address_where_somebody_hands_it_out(prefix, url):
    desk, shot = Desk(audio_url=prefix), fix_at("a")
    desk.receive(shot)
    detection = shot.arrivals[0].detection
    desk.receive_clip((detection.pulse_id,), Clip(detection.pick.onset_ns - SECOND, 2.0, f"{0:064x}"))
    (last,) = desk.tick(END_NS)
    assert [clip.url for clip in last.audio] == [url]


SHOW = ExpectedEvent(
    "Riverfront", "fireworks", NIGHT_NS - 3600 * SECOND, NIGHT_NS + 3600 * SECOND, 41.7658, -72.6734, 300.0, 240.0, 2.0
)


def test_an_expected_load_lowers_the_odds_is_said_and_suppresses_nothing():
    shots = [fix_at("a", llr=2.5, frame=HARTFORD)]
    (plain, _) = said_by(Desk(), *shots)
    (lowered, _) = said_by(Desk(expectation=Expectation(events=(SHOW,))), *shots)
    assert plain.what.priors is None
    assert plain.what.expected == ()
    priors = lowered.what.priors
    assert lowered.what.prior < plain.what.prior
    assert (priors.base, priors.calendar_shift < 0.0) == (pytest.approx(1.0 / 6.0, abs=1e-6), True)
    assert [(event.name, event.kind, event.distance_m) for event in lowered.what.expected] == [
        ("Riverfront", "fireworks", 0.0)
    ]
    assert "expected-load" in lowered.what.flags
    assert (lowered.what.llr, lowered.outcome) == (plain.what.llr, "review"), "a person looks, whatever the load"


@pytest.mark.parametrize("forgotten", [False, True])
def test_what_a_person_parts_is_judged_by_what_was_expected_also_when_the_desk_forgot(forgotten):
    """A festival's incident whose parts the load alone would suppress: each is for a person still."""
    desk = Desk(expectation=Expectation(events=(SHOW,)))
    shots = [fix_at(name, 0.5 * k, llr=-0.1, frame=HARTFORD) for k, name in enumerate("abc")]
    alert = said_by(desk, *shots)[-1]
    assert alert.outcome == "review"
    if forgotten:
        for _ in range(2):
            desk.tick(END_NS + 2 * (MEMORY_NS + TRAVEL_NS))
        assert desk.incident_id("a") is None
    about = {"alert_id": alert.alert_id, "incident_id": alert.incident_id, "by": "ann", "at_ns": NIGHT_NS}
    said = desk.act(Act("h1", "split", **about, shot_ids=("b", "c")), (alert,))
    assert [one.outcome for one in said] == ["review", "review"]
    for one in said:
        assert one.what.p_gunshot < Policy().review
        assert "without the load of other bangs, so that one does" in one.what.gate
        assert ("expected-load" in one.what.flags, one.what.expected) == (True, alert.what.expected)


def test_what_the_budget_held_is_held_also_when_it_is_parted_after_the_desk_forgot():
    desk = Desk(expectation=Expectation(events=(SHOW,)))
    shots = [fix_at(f"s{k}", 20.0 * k, llr=6.0, frame=HARTFORD) for k in range(3)]
    alert = said_by(desk, *shots, fix_at("more", 40.5, llr=6.0, frame=HARTFORD))[-1]
    assert (alert.outcome, len(alert.rounds), alert.what.expected[0].over_budget) == ("review", 2, True)
    for _ in range(2):
        desk.tick(END_NS + 2 * (MEMORY_NS + TRAVEL_NS))
    about = {"alert_id": alert.alert_id, "incident_id": alert.incident_id, "by": "ann", "at_ns": NIGHT_NS}
    for one in desk.act(Act("h1", "split", **about, shot_ids=("more",)), (alert,)):
        assert (one.outcome, one.what.expected[0].over_budget) == ("review", True)
        assert "the budget of Riverfront is spent: a person looks first" in one.what.gate


def test_a_budget_is_spent_by_what_is_published_and_merged_incidents_count_once():
    expectation = Expectation(events=(SHOW,))
    desk = Desk(expectation=expectation)
    shots = [fix_at(f"s{k}", 20.0 * k, llr=6.0, frame=HARTFORD) for k in range(4)]
    outcomes = {alert.alert_id: alert.outcome for alert in said_by(desk, *shots)}
    assert list(outcomes.values()) == ["published", "published", "review", "review"]
    counts = expectation.counts[SHOW.label]
    assert (counts["published"], counts["review"], counts["over_budget"]) == (2, 2, 2)


def test_what_a_person_joined_is_counted_where_it_went():
    expectation = Expectation(events=(SHOW,))
    desk = Desk(expectation=expectation)
    said = [*desk.receive(fix_at("a", frame=HARTFORD)), *desk.receive(fix_at("b", 0.5, 250.0, frame=HARTFORD))]
    one, other = said
    act = Act("h1", "merge", one.alert_id, one.incident_id, "ann", NIGHT_NS, into=other.alert_id)
    assert len(desk.act(act)) == 2
    assert sum(expectation.counts[SHOW.label][name] for name in ("published", "review", "suppressed")) == 1


def test_a_desk_goes_on_from_a_checkpoint_as_if_nothing_had_been():
    def desk():
        return Desk(expectation=Expectation(events=(SHOW,)), gazetteer=Surveyor(), audio_url="x/")

    shots = [fix_at(f"s{k}", 3.0 * k, 40.0 * (k % 3), llr=5.0, frame=HARTFORD) for k in range(9)]
    through, broken = desk(), desk()
    for shot in shots:
        first = through.receive(shot)
        broken = pickle.loads(pickle.dumps(broken))  # noqa: S301  (our own)
        assert [encode(a) for a in first] == [encode(a) for a in broken.receive(shot)]
        for alert in first:
            about = {"alert_id": alert.alert_id, "incident_id": alert.incident_id, "by": "ann", "at_ns": NIGHT_NS}
            act = Act(f"h{alert.message_id}", "judge", **about, judgement="fireworks")
            assert [encode(a) for a in through.act(act)] == [encode(a) for a in broken.act(act)]
    assert [encode(a) for a in through.tick(END_NS)] == [encode(a) for a in broken.tick(END_NS)]
