"""The fourth of July: twenty thousand bangs in and around a permitted show, and some shots among them."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import SECOND
from alerts.calendar_event import ExpectedEvent
from alerts.desk import Desk
from alerts.expectation import Expectation
from alerts.incident import Incident
from alerts.policy import Policy
from alerts.review.queue import FRESH_S, priority
from alerts.tally import ELSEWHERE
from localization.fix import Fix
from tests.strategies import HARTFORD, NIGHT_NS, fix_at

EVENING_S = 4 * 3600.0
MIDDLE = HARTFORD.geodetic(0.0, 0.0, 0.0)
SHOW = ExpectedEvent(
    "Independence Day at the river",
    "fireworks",
    NIGHT_NS + 3600 * SECOND,
    NIGHT_NS + 3 * 3600 * SECOND,
    MIDDLE.latitude_deg,
    MIDDLE.longitude_deg,
    600.0,
    expected_per_hour=240.0,
    budget_per_hour=6.0,
)
RANK = {"suppressed": 0, "review": 1, "published": 2}


@given(st.floats(0.02, 1.0), st.floats(0.0, FRESH_S), st.integers(1, 30), st.booleans())
def test_while_it_is_fresh_waiting_makes_up_for_half_the_probability_and_no_more(p, age_s, rounds, automatic):
    """Hundreds of fireworks wait on a bad evening: a shot twice as likely is looked at before any of them."""
    now = priority(p, rounds, 0.0, automatic=automatic)
    assert now >= priority(p / 2.0, rounds, age_s, automatic=automatic)


@dataclass(frozen=True)
class Bang:
    shot: Fix
    truth: str  # firework; quiet: a shot in a quiet district; street: where crackers go off; inside: in the show


def evening(bangs, seed=4):
    """Bangs by time: two of three at the show and while it lasts, the others all evening in the streets to its east.

    The evidence of fireworks is spread widely enough that some of them sound like shots.
    """
    rng = random.Random(seed)  # noqa: S311
    drawn = []
    for _ in range(bangs):
        if rng.random() < 2 / 3:
            away, turn = 500.0 * math.sqrt(rng.random()), rng.uniform(0.0, math.tau)
            at = (3600.0 + 7200.0 * rng.random(), away * math.cos(turn), away * math.sin(turn))
        else:
            at = (EVENING_S * rng.random(), rng.uniform(1_500.0, 5_000.0), rng.uniform(-2_500.0, 2_500.0))
        drawn.append((*at, rng.gauss(-2.5, 2.2), "firework"))
    for k in range(20):
        t = EVENING_S * (k + 0.5) / 20
        drawn.append((t, rng.uniform(-9_000.0, -6_000.0), rng.uniform(-2_000.0, 2_000.0), 3.2 + 0.3 * k, "quiet"))
        drawn.append(
            (t + 200.0, rng.uniform(2_000.0, 4_500.0), rng.uniform(-2_000.0, 2_000.0), 3.2 + 0.3 * k, "street")
        )
    drawn.append((2 * 3600.0, 100.0, -200.0, 6.0, "inside"))
    sensors = ("s1", "s2")
    return [
        Bang(fix_at(f"f{k}", t, east, north, llr=llr, sensors=sensors, frame=HARTFORD), truth)
        for k, (t, east, north, llr, truth) in enumerate(sorted(drawn))
    ]


def judged(bangs, policy, expectation):
    """Each bang an incident of its own, as it comes: its outcome with and without what was to be expected."""
    said = []
    for bang in bangs:
        incident = Incident(bang.shot.shot_id, (bang.shot,))
        expectation.note(bang.shot)
        verdict = policy.judge(incident, expectation.circumstances(incident))
        expectation.told(incident, verdict, verdict.outcome)
        expectation.forget(bang.shot.time_ns - 660 * SECOND)
        said.append((bang.truth, policy.judge(incident).outcome, verdict))
    return said


@pytest.fixture(scope="module")
def fourth_of_july():
    policy = Policy()
    expectation = Expectation(policy, (SHOW,))
    return judged(evening(20_000), policy, expectation), expectation


def test_nothing_is_lost_and_everything_is_counted(fourth_of_july):
    said, expectation = fourth_of_july
    counts = expectation.counts
    assert set(counts) == {ELSEWHERE, SHOW.label}
    assert sum(mine[outcome] for mine in counts.values() for outcome in RANK) == len(said) == 20_041
    for outcome in RANK:
        assert sum(mine[outcome] for mine in counts.values()) == sum(
            verdict.outcome == outcome for _, _, verdict in said
        )
    assert counts[SHOW.label]["over_budget"] == sum("budget" in verdict.reason for _, _, verdict in said)
    for label, mine in counts.items():
        print(label, mine)


def test_what_people_would_have_seen_they_still_see(fourth_of_july):
    """Nothing that an ordinary night publishes or reviews is suppressed for the load."""
    said, _ = fourth_of_july
    assert all(RANK[verdict.outcome] >= min(1, RANK[plain]) for _, plain, verdict in said)


def test_shots_far_from_the_show_are_published_as_on_any_night(fourth_of_july):
    said, _ = fourth_of_july
    quiet = [(plain, verdict.outcome) for truth, plain, verdict in said if truth == "quiet"]
    assert len(quiet) == 20
    assert all(plain == outcome == "published" for plain, outcome in quiet)


def test_shots_among_crackers_are_published_when_sure_and_reviewed_else(fourth_of_july):
    said, _ = fourth_of_july
    street = [verdict for truth, _, verdict in said if truth == "street"]
    assert all(RANK[verdict.outcome] >= 1 for verdict in street)
    assert all(verdict.outcome == "published" for verdict in street if verdict.llr > 8.0)
    inside = next(verdict for truth, _, verdict in said if truth == "inside")
    assert inside.outcome in ("published", "review")
    assert [near.name for near in inside.circumstances.expected] == [SHOW.name]
    assert inside.circumstances.expected[0].distance_m == 0.0


def test_fewer_fireworks_reach_the_dispatcher_and_they_still_reach_people(fourth_of_july):
    said, _ = fourth_of_july
    before = sum(plain == "published" for truth, plain, _ in said if truth == "firework")
    after = sum(verdict.outcome == "published" for truth, _, verdict in said if truth == "firework")
    print(f"fireworks published: {before} without expectation, {after} with it")
    assert before > 50
    assert after < before / 4


def test_a_budget_holds_back_what_the_prior_does_not():
    """A calendar that knows of no load, and a budget of three an hour."""
    quiet_show = ExpectedEvent(
        "Parade", "parade", SHOW.start_ns, SHOW.end_ns, SHOW.latitude, SHOW.longitude, 600.0, 0.0, budget_per_hour=3.0
    )
    policy = Policy()
    expectation = Expectation(policy, (quiet_show,), ordinary_per_hour=10_000.0)  # the rate says nothing then
    said = judged(evening(1_500), policy, expectation)
    mine = expectation.counts[quiet_show.label]
    assert mine["over_budget"] > 0
    sure = sum(v.outcome == "published" and v.posterior >= 0.995 and bool(v.circumstances.expected) for _, _, v in said)
    assert mine["published"] <= 3 * 3 + sure  # two hours and the grace
    assert all(v.outcome == "review" for _, _, v in said if "budget of Parade is spent" in v.reason)
    assert all(plain == v.outcome for _, plain, v in said if not v.circumstances.expected)


def test_the_cost_does_not_grow_with_the_night():
    """A question in the middle of the evening costs as much after twenty thousand bangs as after a few hundred."""
    policy, few, many = Policy(), Expectation(Policy(), (SHOW,)), Expectation(Policy(), (SHOW,))
    bangs = evening(3_000)
    asked = Incident("asked", (fix_at("asked", 9_000.0, 100.0, 0.0, frame=HARTFORD, sensors=("s1", "s2")),))
    for bang in bangs:
        many.note(bang.shot)
        if 8_700.0 < (bang.shot.time_ns - NIGHT_NS) / SECOND < 9_300.0:
            few.note(bang.shot)

    def cost(expectation):
        started = time.perf_counter()
        for _ in range(200):
            expectation.circumstances(asked)
        return time.perf_counter() - started

    assert many.circumstances(asked).others_per_hour > 60.0
    assert min(cost(many) for _ in range(7)) < 8.0 * min(cost(few) for _ in range(7))
    assert policy.judge(asked, many.circumstances(asked)).outcome in RANK


# Through the desk


def told(desk, bangs, ticks, lag_ns=20 * SECOND):
    """The last revision of each alert: shots as they come, and ticks so far apart."""
    last, said = {}, []
    for bang in bangs:
        said += desk.receive(bang.shot)
        watermark_ns = (bang.shot.time_ns - lag_ns) // ticks * ticks
        said += desk.tick(watermark_ns)
    said += desk.tick(bangs[-1].shot.time_ns + 60 * SECOND)
    for alert in said:
        last[alert.alert_id] = alert
    return last


def through_the_desk(count):
    bangs = evening(count)
    ordinary = Expectation(Policy(), (SHOW,))
    desk = Desk(Policy(), "live", expectation=ordinary)
    last = told(desk, bangs, SECOND)
    standing = [alert for alert in last.values() if alert.merged_into is None]
    shots = {one.shot_id for alert in standing for one in alert.rounds}
    assert shots == {bang.shot.shot_id for bang in bangs}  # every bang is in an alert that stands
    counts = ordinary.counts
    for outcome in RANK:
        assert sum(mine[outcome] for mine in counts.values()) == sum(a.outcome == outcome for a in standing)
    truth = {bang.shot.shot_id: bang.truth for bang in bangs}
    for alert in standing:
        kinds = {truth[one.shot_id] for one in alert.rounds}
        if kinds == {"quiet"}:
            assert alert.outcome == "published"
        if "inside" in kinds:
            assert alert.outcome in ("published", "review")
            assert "expected-load" in alert.what.flags
            assert alert.what.expected[0].name == SHOW.name
        if alert.what.priors is not None:
            odds = math.log(alert.what.prior / (1.0 - alert.what.prior))
            parts = alert.what.priors
            base = math.log(parts.base / (1.0 - parts.base))
            total = base + parts.hour_shift + parts.calendar_shift + parts.rate_shift
            assert total == pytest.approx(odds, abs=1e-3)
    print(counts)
    return bangs, last


def test_through_the_desk_nothing_is_lost_and_ticks_do_not_matter():
    bangs, last = through_the_desk(300)
    coarse = told(Desk(Policy(), "live", expectation=Expectation(Policy(), (SHOW,))), bangs, 7 * SECOND)
    assert {name: (a.outcome, a.what) for name, a in last.items()} == {
        name: (a.outcome, a.what) for name, a in coarse.items()
    }


@pytest.mark.endurance
def test_through_the_desk_with_ten_thousand():
    through_the_desk(10_000)


def test_an_incident_that_another_took_in_is_counted_once():
    expectation = Expectation(Policy(), (SHOW,))
    desk = Desk(Policy(), "live", expectation=expectation)
    for name, t, east in (("one", 7_200.0, 0.0), ("two", 7_204.0, 110.0), ("between", 7_202.0, 55.0)):
        desk.receive(fix_at(name, t, east, llr=9.0, sensors=("s1", "s2", "s3"), frame=HARTFORD))
    assert desk.counts["merged"] == 1
    assert expectation.counts[SHOW.label] == {"published": 1, "review": 0, "suppressed": 0, "over_budget": 0}
