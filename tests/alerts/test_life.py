"""Laws of the whole life of alerts: any interleaving of shots, late revisions, ticks, acts of people, and forgetting."""

from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND
from alerts.act import JUDGEMENTS, Act
from alerts.alert import decode, encode, substance
from alerts.calendar_event import ExpectedEvent
from alerts.desk import MEMORY_NS, Desk
from alerts.expectation import Expectation
from alerts.grouping import TRAVEL_NS
from alerts.hand import alerts_concerned, counting
from tests.strategies import HARTFORD, NIGHT_NS, fix_at, unfixed_at

CORNERS = [(0.0, 0.0), (45.0, 0.0), (150.0, -120.0)]
LONG_NS = MEMORY_NS + TRAVEL_NS + 60 * SECOND
SENSORS = ("s1", "s2", "s3", "s4", "s5", "s6")


SHOW = ExpectedEvent("Show", "fireworks", NIGHT_NS, NIGHT_NS + 300 * SECOND, 41.7658, -72.6734, 90.0, 200.0, 1.0)


class Street:
    """A desk, the record of what it said, and the people who read that; everything told can be told again."""

    def __init__(self, *, expecting=False):
        self.expecting = expecting
        self.desk = self.new_desk()
        self.entries = []
        self.said = []
        self.last = {}
        self.acts = []

    def new_desk(self):
        return Desk(frame_name="plane", expectation=Expectation(events=(SHOW,)) if self.expecting else None)

    @property
    def now_s(self):
        return max(0.0, (self.desk._watermark_ns - NIGHT_NS) / SECOND)

    def take(self, entry):
        self.entries.append(entry)
        said = play(self.desk, entry)
        self.said += said
        for alert in said:
            self.last[alert.alert_id] = decode(encode(alert))
        return said

    def shot(self, shot):
        return self.take(("shot", shot))

    def tick(self, more_ns):
        return self.take(("tick", max(self.desk._watermark_ns, NIGHT_NS) + more_ns))

    def forget(self):
        self.tick(LONG_NS)
        return self.tick(LONG_NS)

    def act(self, act):
        wanted = alerts_concerned(act, self.acts)
        known = tuple(self.last[name] for name in wanted if name in self.last)
        said = self.take(("act", (act, known, tuple(self.acts))))
        if said:
            self.acts.append(act)
        return said

    def says(self, kind, alert, **what):
        number = len(self.entries) + 1
        return Act(f"h{number}", kind, alert.alert_id, alert.incident_id, "ann", NIGHT_NS + number * SECOND, **what)


def play(desk, entry):
    kind, body = entry
    if kind == "shot":
        return desk.receive(body)
    return desk.tick(body) if kind == "tick" else desk.act(*body)


@st.composite
def shots(draw, shot_id, time_s, revision=1):
    corner = draw(st.sampled_from(CORNERS))
    llr = draw(st.sampled_from([-9.0, 0.5, 3.0, 9.0]))
    if draw(st.integers(0, 4)) == 0:
        return unfixed_at(shot_id, time_s, *corner, llr=llr, revision=revision, sensors=("s1", "s2"))
    frame = draw(st.sampled_from([None, HARTFORD]))
    sensors = SENSORS[: draw(st.integers(3, 6))]
    return fix_at(shot_id, time_s, *corner, llr=llr, revision=revision, sensors=sensors, frame=frame)


def some_act(draw, street):
    """Whatever somebody may come to say, sensible or not."""
    alert = draw(st.sampled_from(sorted(street.last.values(), key=lambda alert: alert.alert_id)))
    kind = draw(st.sampled_from(["judge", "judge", "place", "merge", "split", "undo", "undo"]))
    if kind == "judge":
        return street.says(kind, alert, judgement=draw(st.sampled_from(JUDGEMENTS)))
    if kind == "place":
        return street.says(kind, alert, latitude=41.766, longitude=-72.673, radius_m=draw(st.sampled_from([5.0, 80.0])))
    if kind == "merge":
        others = sorted(name for name in street.last if name != alert.alert_id) or ["astray"]
        return street.says(kind, alert, into=draw(st.sampled_from(others)))
    if kind == "split":
        names = [one.shot_id for one in alert.rounds]
        return street.says(kind, alert, shot_ids=tuple(names[: draw(st.integers(1, len(names)))]))
    told = [act.act_id for act in street.acts if act.alert_id == alert.alert_id] or ["nothing"]
    return street.says(kind, alert, undoes=draw(st.sampled_from(told)))


STEPS = ["shot", "burst", "again", "tick", "tick", "act", "act", "act", "twice", "forget", "pickle"]


@st.composite
def streets(draw, steps=STEPS, most=22):
    street = Street(expecting=draw(st.booleans()))
    told = {}
    for k in range(draw(st.integers(2, most))):
        step = draw(st.sampled_from(steps))
        if step == "shot":
            time_s = street.now_s + draw(st.integers(-100, 20)) / 10.0
            told[f"n{k}"] = (time_s, 1)
            street.shot(draw(shots(f"n{k}", time_s)))
        elif step == "burst":
            place = draw(st.sampled_from(CORNERS))
            for r in range(draw(st.integers(2, 4))):
                told[f"n{k}r{r}"] = (street.now_s + 0.4 * r, 1)
                street.shot(fix_at(f"n{k}r{r}", street.now_s + 0.4 * r, *place, frame=HARTFORD))
        elif step == "again" and told:
            name = draw(st.sampled_from(sorted(told)))
            time_s, revision = told[name]
            told[name] = (time_s, revision + 1)
            street.shot(draw(shots(name, time_s, revision + 1)))
        elif step == "tick":
            street.tick(draw(st.sampled_from([0, SECOND, 5 * SECOND, 30 * SECOND])))
        elif step == "act" and street.last:
            street.act(some_act(draw, street))
        elif step == "twice" and street.acts:
            assert street.act(draw(st.sampled_from(street.acts))) == ()
        elif step == "forget":
            street.forget()
        elif step == "pickle":
            street.desk = pickle.loads(pickle.dumps(street.desk))  # noqa: S301  (our own)
    street.tick(30 * SECOND)
    return street


def check_stream(said):
    by_alert = {}
    for alert in said:
        by_alert.setdefault(alert.alert_id, []).append(alert)
    for revisions in by_alert.values():
        assert [alert.revision for alert in revisions] == list(range(1, len(revisions) + 1))
        assert len({alert.incident_id for alert in revisions}) == 1
        assert sorted(alert.published_at for alert in revisions) == [alert.published_at for alert in revisions]
        assert revisions[0].kind == "new"
        for before, now in itertools.pairwise(revisions):
            assert now.supersedes == before.message_id
            assert substance(before) != substance(now) or before.status != now.status, "only what has substance is said"
            assert (now.kind == "cancelled") == (now.status == "cancelled")
            assert (now.kind == "new") == (
                now.outcome == "published" and before.outcome != "published" and now.status != "cancelled"
            )
            if before.outcome == "published" and before.merged_into is None:
                assert now.outcome == "published", "whoever received it hears the rest"
            if now.review is not None and before.review is not None:
                assert set(before.review.acts) <= set(now.review.acts), "what was said is never unsaid"


def check_rounds(street):
    """No shot is told of by two alerts that stand."""
    homes = [one.shot_id for alert in street.last.values() if alert.status != "cancelled" for one in alert.rounds]
    assert len(homes) == len(set(homes))


def check_people_win(street):
    """Judgement, place and joining are as the acts that count have them, whatever the machine says."""
    kept = [act for act in counting(street.acts) if act.kind != "undo"]
    for alert in street.last.values():
        mine = [act for act in kept if act.alert_id == alert.alert_id]
        judged = [act.judgement for act in mine if act.kind == "judge"]
        assert (None if alert.review is None else alert.review.judgement) == (judged[-1] if judged else None)
        places = [act for act in mine if act.kind == "place"]
        if places:
            assert (alert.place.latitude, alert.place.longitude) == (places[-1].latitude, places[-1].longitude)
            assert alert.place.ellipse.semi_major_m == places[-1].radius_m
        if alert.merged_into is None and judged:
            if judged[-1] == "gunfire":
                assert (alert.outcome, alert.status != "cancelled") == ("published", True)
            elif judged[-1] != "unsure":
                assert alert.status == "cancelled" if alert.outcome == "published" else alert.outcome == "suppressed"
    for act in kept:
        if act.kind == "merge":
            assert street.last[act.alert_id].status == "cancelled"


def check_replay(street):
    desk, said = street.new_desk(), []
    for entry in street.entries:
        said += play(desk, entry)
    assert [encode(alert) for alert in said] == [encode(alert) for alert in street.said]


def check(street):
    check_stream(street.said)
    check_rounds(street)
    check_people_win(street)
    check_replay(street)


@given(streets())
@settings(max_examples=120, deadline=None)
def test_laws_of_any_life(street):
    check(street)


@pytest.mark.endurance
@given(streets(most=60))
@settings(max_examples=5_000, deadline=None)
def test_the_laws_of_any_life_hold_for_long(street):
    check(street)
