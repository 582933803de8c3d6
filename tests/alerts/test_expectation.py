"""Expectation: hour, calendar and the bangs just heard, against closed forms, the ellipsoid, and laws."""

from __future__ import annotations

import math
import pickle
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from acoustic.detection import probability
from acoustic.instant import SECOND, after
from alerts.bangs import WINDOW_NS, Bang, Bangs
from alerts.calendar_event import ExpectedEvent, distance_m
from alerts.circumstances import Circumstances, ExpectedNear
from alerts.event_calendar import GRACE_NS, EventCalendar, Spot
from alerts.expectation import Expectation
from alerts.incident import Incident
from alerts.policy import Policy
from alerts.tally import EARLIER, ELSEWHERE, Tally
from tests.strategies import HARTFORD, NIGHT_NS, fix_at, unfixed_at

HOUR_NS = 3600 * SECOND
RANK = {"suppressed": 0, "review": 1, "published": 2}
MIDDLE = HARTFORD.geodetic(0.0, 0.0, 0.0)


def of(*shots):
    return Incident(shots[0].shot_id, shots)


def placed(shot_id, time_s=0.0, east_m=0.0, north_m=0.0, **more):
    return fix_at(shot_id, time_s, east_m, north_m, frame=HARTFORD, **more)


def show(**more):
    here = {"latitude": MIDDLE.latitude_deg, "longitude": MIDDLE.longitude_deg, "radius_m": 500.0}
    about = {"name": "Harbour show", "kind": "fireworks", "expected_per_hour": 120.0, "budget_per_hour": 3.0}
    times = {"start_ns": NIGHT_NS - HOUR_NS // 2, "end_ns": NIGHT_NS + HOUR_NS}
    return ExpectedEvent(**(about | times | here | more))


def told(expectation, incident, policy):
    verdict = policy.judge(incident, expectation.circumstances(incident))
    expectation.told(incident, verdict, verdict.outcome)
    return verdict


def test_a_word_names_the_nearest_events_and_one_whose_budget_is_spent():
    """A document must not grow with the calendar; what holds an incident back is in it all the same."""
    policy = Policy(prior=0.5)
    events = [
        show(name=f"show {k:02d}", radius_m=900.0 - k, expected_per_hour=0.0, budget_per_hour=9.0) for k in range(30)
    ]
    farthest = show(name="range", radius_m=599.0, expected_per_hour=0.0, budget_per_hour=0.0)
    incident = of(placed("a", east_m=600.0, llr=4.0))
    near = Expectation(policy, events).circumstances(incident).expected
    assert [one.name for one in near] == [f"show {k:02d}" for k in range(20)]
    verdict = policy.judge(incident, Expectation(policy, [*events, farthest]).circumstances(incident))
    assert len(verdict.circumstances.expected) == 20
    assert verdict.outcome == "review"
    assert "the budget of range is spent" in verdict.reason


# The prior


def test_an_ordinary_night_leaves_the_prior_and_the_outcome_alone():
    policy = Policy()
    for llr in (-3.0, 0.0, 2.9, 3.1, 9.0):
        incident = of(placed("a", llr=llr))
        plain, verdict = policy.judge(incident), policy.judge(incident, Expectation(policy).circumstances(incident))
        assert replace(verdict, circumstances=None, prior=plain.prior) == plain
        assert verdict.prior == pytest.approx(plain.prior, rel=1e-12)


def test_the_evidence_and_the_prior_stay_apart():
    policy, incident = Policy(), of(placed("a", llr=4.0))
    circumstances = Circumstances(0.2, hour_shift=0.5, calendar_shift=-1.0, rate_shift=-0.25, others_per_hour=50.0)
    verdict = policy.judge(incident, circumstances)
    assert verdict.llr == 4.0
    odds = 0.25 * math.exp(0.5 - 1.0 - 0.25)
    assert verdict.prior == pytest.approx(odds / (1.0 + odds))
    assert verdict.posterior == pytest.approx(odds * math.exp(4.0) / (1.0 + odds * math.exp(4.0)))


@given(st.lists(st.floats(0.01, 100.0), min_size=24, max_size=24), st.integers(0, 23))
def test_hours_say_only_when(hours, hour):
    """Their mean over the day is 1, whatever the numbers; and they apply to the odds."""
    policy = Policy()
    expectation = Expectation(policy, hours=tuple(hours))
    midnight_ns = NIGHT_NS - NIGHT_NS % (24 * HOUR_NS) - NIGHT_NS
    factors = []
    for k in range(24):
        incident = of(placed("a", (midnight_ns + k * HOUR_NS) / SECOND + 1800.0))
        circumstances = expectation.circumstances(incident)
        assert circumstances.load_shift == 0.0
        factors.append(math.exp(circumstances.log_prior_odds - policy.log_prior_odds))
    assert math.fsum(factors) / 24.0 == pytest.approx(1.0)
    assert factors[hour] / factors[0] == pytest.approx(hours[hour] / hours[0])


@pytest.mark.parametrize(
    ("local", "factor"),
    [
        ("2026-03-08T01:59:59", 1),
        ("2026-03-08T03:00:00", 3),  # two o'clock does not come
        ("2026-11-01T01:30:00", 1),
        ("2026-11-01T01:30:00+1", 1),  # the second time
        ("2026-07-04T23:00:00", 23),
    ],
)
def test_the_hour_is_that_of_the_site_also_when_summer_time_changes(local, factor):
    zone = ZoneInfo("America/New_York")
    at = datetime.fromisoformat(local.removesuffix("+1")).replace(tzinfo=zone, fold=local.endswith("+1"))
    expectation = Expectation(hours=tuple(1.0 + hour for hour in range(24)), zone=zone)
    incident = of(placed("a", at.timestamp() - NIGHT_NS / SECOND))
    assert expectation.circumstances(incident).hour_shift == pytest.approx(math.log((1.0 + factor) / 12.5))


def test_the_rate_is_the_posterior_mean_of_a_gamma_prior():
    """Against the posterior by numbers: prior times Poisson likelihood on a grid of rates."""
    policy = Policy()
    expectation = Expectation(policy, ordinary_per_hour=6.0, ordinary_hours=1.5)
    heard = 40
    for k in range(heard):
        expectation.note(placed(f"c{k}", -590.0 + 14.0 * k, 300.0 * (k % 5), 0.0, llr=-40.0))
    circumstances = expectation.circumstances(of(placed("a")))
    rates = [0.01 * k for k in range(1, 60_000)]
    logs = [(9.0 - 1.0) * math.log(r) - 1.5 * r + heard * math.log(r) - r / 6.0 for r in rates]
    greatest = max(logs)
    weights = [math.exp(value - greatest) for value in logs]
    mean = math.fsum(r * w for r, w in zip(rates, weights, strict=True)) / math.fsum(weights)
    assert circumstances.others_per_hour == pytest.approx(mean, rel=1e-4)
    assert circumstances.rate_shift == pytest.approx(-math.log(mean / 6.0), rel=1e-4)


def test_the_rate_is_right_on_nights_of_which_as_much_was_heard():
    """Nights whose rates follow the Gamma law: whatever was heard, the rate is right on average of those nights."""
    rng = random.Random(7)  # noqa: S311
    nights = []
    for _ in range(1_000):
        rate = rng.gammavariate(6.0, 2.0)  # mean 12, with the weight of half an hour
        expectation, t, heard = Expectation(near_m=10_000.0), -600.0, 0
        while (t := t + rng.expovariate(rate / 3600.0)) < 0.0:
            expectation.note(placed(f"o{heard}", t, 300.0 * (heard % 30), 0.0, llr=-40.0))
            heard += 1
        nights.append((heard, expectation.circumstances(of(placed("x"))).others_per_hour, rate))
    for low, high in ((0, 1), (2, 3), (4, 99)):
        some = [(said, rate) for heard, said, rate in nights if low <= heard <= high]
        assert len(some) > 150
        assert math.fsum(said for said, _ in some) == pytest.approx(math.fsum(rate for _, rate in some), rel=0.08)


@given(
    st.lists(
        st.tuples(st.floats(-900, 900), st.floats(-9000, 9000), st.floats(-9000, 9000), st.floats(-30, 30)), max_size=30
    )
)
def test_bangs_never_raise_the_odds_and_never_leave_them_without_bound(bangs):
    policy = Policy()
    expectation = Expectation(policy)
    for k, (time_s, east_m, north_m, llr) in enumerate(bangs):
        expectation.note(placed(f"s{k}", time_s, east_m, north_m, llr=llr))
    circumstances = expectation.circumstances(of(placed("a")))
    assert -math.log(1.0 + len(bangs)) <= circumstances.load_shift <= 0.0


def test_a_gun_battle_hardly_lowers_its_own_odds_and_crackers_do():
    policy = Policy()
    battle, crackers = Expectation(policy), Expectation(policy)
    for k in range(100):
        battle.note(placed(f"s{k}", -600.0 + 6.0 * k, 300.0 * (k % 5), 0.0, llr=8.0))
        crackers.note(placed(f"s{k}", -600.0 + 6.0 * k, 300.0 * (k % 5), 0.0, llr=-4.0))
    last = of(placed("a", llr=4.0))
    assert battle.circumstances(last).rate_shift > -0.05
    assert crackers.circumstances(last).rate_shift < -1.0


def test_crackers_across_town_lower_nothing_here():
    expectation = Expectation(near_m=2_000.0)
    for k in range(500):
        expectation.note(placed(f"s{k}", -600.0 + k, 5_000.0 + 260.0 * (k % 6), 260.0 * (k % 5), llr=-4.0))
    assert expectation.circumstances(of(placed("here"))).rate_shift == 0.0
    assert expectation.circumstances(of(placed("there", 0.0, 5_500.0))).rate_shift < -1.0


def test_a_show_explains_its_bangs_so_that_places_outside_it_are_not_lowered():
    free, permitted = Expectation(), Expectation(events=(show(),))
    for k in range(300):
        bang = placed(f"s{k}", -590.0 + 1.9 * k, 130.0 * (k % 3), 130.0 * (k % 3), llr=-4.0)
        free.note(bang)
        permitted.note(bang)
    beside = of(placed("a", 0.0, 1_400.0))
    assert free.circumstances(beside).load_shift < -0.5
    assert permitted.circumstances(beside).load_shift == 0.0
    assert permitted.circumstances(of(placed("b"))).load_shift < -2.0


def test_a_show_that_stays_silent_gives_the_odds_back():
    expectation = Expectation(events=(show(),))
    loud = Expectation(events=(show(),))
    for k in range(20):
        loud.note(placed(f"s{k}", -600.0 + 30.0 * k, 0.0, 300.0 * (k % 2), llr=-9.0))
    incident = of(placed("a"))
    silent, heard = expectation.circumstances(incident), loud.circumstances(incident)
    assert heard.load_shift == pytest.approx(math.log(12.0 / 132.0), abs=0.1)  # as loud as it was said to be
    assert heard.load_shift < silent.load_shift < 0.0
    assert silent.rate_shift > 0.0
    assert silent.calendar_shift == heard.calendar_shift == pytest.approx(math.log(12.0 / 132.0))


def test_a_bang_without_a_place_meets_only_what_is_expected_everywhere():
    everywhere = ExpectedEvent("New Year", "fireworks", NIGHT_NS - 1, NIGHT_NS + HOUR_NS, expected_per_hour=36.0)
    expectation = Expectation(events=(show(), everywhere))
    for k in range(100):
        expectation.note(placed(f"s{k}", -500.0 + k, llr=-9.0))
    circumstances = expectation.circumstances(of(unfixed_at("u")))
    assert [near.name for near in circumstances.expected] == ["New Year"]
    assert circumstances.expected[0].distance_m is None
    assert circumstances.log_prior_odds == pytest.approx(Policy().log_prior_odds + math.log(12.0 / 48.0))
    local = expectation.circumstances(of(fix_at("plane")))  # a place, but none on the Earth
    assert [near.name for near in local.expected] == ["New Year"]


# Time: nothing later, no order


SHOTS = st.lists(
    st.tuples(
        st.integers(-700, 100),
        st.integers(-6, 6),
        st.integers(-6, 6),
        st.sampled_from([-6.0, -1.0, 0.5, 4.0]),
        st.booleans(),
    ),
    max_size=25,
)


def shots_of(drawn):
    return [
        unfixed_at(f"s{k}", float(t)) if bare else placed(f"s{k}", float(t), 120.0 * x, 120.0 * y, llr=llr)
        for k, (t, x, y, llr, bare) in enumerate(drawn)
    ]


@settings(max_examples=60)
@given(SHOTS, st.randoms(use_true_random=False))
def test_neither_the_order_of_arrival_nor_what_comes_later_nor_revisions_matter(drawn, random):
    shots = shots_of(drawn)
    asked = of(placed("asked", llr=1.0))
    one, other = Expectation(events=(show(),)), Expectation(events=(show(),))
    for shot in shots:
        one.note(shot)
    for shot in random.sample(shots, len(shots)):
        if random.random() < 0.5:  # an earlier word of it, elsewhere and otherwise
            other.note(placed(shot.shot_id, random.uniform(-700.0, 100.0), random.uniform(-900.0, 900.0), llr=0.0))
        if shot.time_ns < asked.first_ns or random.random() < 0.5:
            other.note(shot)
        else:
            other.note(unfixed_at(shot.shot_id))
    one.note(asked.shots[0])
    assert one.circumstances(asked) == other.circumstances(asked)


@pytest.mark.parametrize("few", [0, 80])
@settings(max_examples=60)
@given(drawn=SHOTS)
def test_the_count_is_that_of_sites_and_minutes(few, drawn):
    """Against counting by hand: every bang before, near enough, its site's first in its minute."""
    bangs = Bangs()
    firsts = {}
    for k, (t, x, y, llr, _) in enumerate(drawn):
        bang = Bang(NIGHT_NS + t * SECOND, f"s{k}", 120.0 * x, 120.0 * y, round(1e6 * (llr + 7)), frozenset())
        bangs.add(bang)
        firsts[bang.site] = min(bang, firsts.get(bang.site, bang))
    for k in range(few):  # so that there are many tiles, too
        bangs.add(Bang(NIGHT_NS - SECOND, f"far{k}", 50_000.0 + 500.0 * k, 0.0, 1, frozenset()))
    expected = 0
    for bang in firsts.values():
        middle = (500.0 * (math.floor(bang.east_m / 500.0) + 0.5), 500.0 * (math.floor(bang.north_m / 500.0) + 0.5))
        if NIGHT_NS - WINDOW_NS <= bang.time_ns < NIGHT_NS and math.dist(middle, (30.0, 10.0)) <= 800.0:
            expected += bang.weight
    assert bangs.count(NIGHT_NS, 30.0, 10.0, 800.0, frozenset()) == expected / (1 << 20)


def test_it_forgets_and_goes_on_after_a_pickle():
    expectation = Expectation(events=(show(end_ns=NIGHT_NS + 30 * HOUR_NS),), zone=ZoneInfo("America/New_York"))
    policy = Policy()
    sizes = []
    for k in range(1_500):
        shot = placed(f"s{k}", 20.0 * k, 300.0 * (k % 5), llr=-2.0 + 8.0 * (k % 10 == 0))
        expectation.note(shot)
        told(expectation, of(shot), policy)
        expectation.forget(shot.time_ns - 660 * SECOND)
        sizes.append(
            (
                len(expectation._bangs),
                len(expectation._tally._told),
                len(expectation._tally._spenders),
            )
        )
    assert max(map(max, sizes[750:])) <= max(map(max, sizes[:750]))
    assert sum(sum(mine[name] for name in RANK) for mine in expectation.counts.values()) == 1_500
    copy = pickle.loads(pickle.dumps(expectation))  # noqa: S301
    asked = of(placed("asked", 30_000.0))
    assert copy.circumstances(asked) == expectation.circumstances(asked)
    assert copy.counts == expectation.counts
    expectation.forget(NIGHT_NS + 99 * HOUR_NS)
    assert len(expectation._bangs) == 0
    assert expectation._bangs._tiles == expectation._bangs._sites == expectation._bangs._firsts == {}


def test_a_new_calendar_is_laid_over_what_was_heard():
    early, late = Expectation(events=(show(),)), Expectation()
    for k in range(200):
        shot = placed(f"s{k}", -590.0 + 2.9 * k, 100.0 * (k % 9), llr=-5.0)
        early.note(shot)
        late.note(shot)
    assert late.events == ()
    late.adopt((show(),))
    for east_m in (0.0, 1_200.0):
        asked = of(placed("a", 0.0, east_m))
        assert early.circumstances(asked) == late.circumstances(asked)
    assert early.fingerprint() == late.fingerprint() != Expectation().fingerprint()


# The calendar's promise


CIRCUMSTANCES = st.builds(
    Circumstances,
    base=st.floats(0.001, 0.999),
    hour_shift=st.floats(-3, 3),
    calendar_shift=st.floats(-9, 0),
    rate_shift=st.floats(-9, 0),
    others_per_hour=st.floats(0, 1000),
    expected=st.lists(
        st.builds(
            ExpectedNear,
            st.just("Show"),
            st.just("fireworks"),
            st.none(),
            st.just(-1.0),
            st.booleans(),
            st.just("Show, then"),
            st.just(5.0),
        ),
        max_size=2,
    ).map(tuple),
)


@given(CIRCUMSTANCES, st.floats(-15, 15), st.booleans())
def test_a_load_takes_from_publication_to_review_and_never_from_people(circumstances, llr, bare):
    policy = Policy()
    incident = of(unfixed_at("a", llr=llr) if bare else placed("a", llr=llr))
    ordinary = replace(circumstances, calendar_shift=0.0, rate_shift=0.0, expected=())
    without, verdict = policy.judge(incident, ordinary), policy.judge(incident, circumstances)
    assert min(RANK[without.outcome], 1) <= RANK[verdict.outcome] <= RANK[without.outcome]
    assert verdict.posterior <= without.posterior
    held = verdict.circumstances.over_budget
    plainly = policy._gate("no place" if bare else None, verdict.posterior)[0]
    assert held == (RANK[verdict.outcome] < RANK[plainly])
    if held:
        assert "the budget of Show is spent" in verdict.reason


@given(CIRCUMSTANCES, st.floats(-15, 15), st.floats(0, 9))
def test_more_evidence_is_never_less_of_an_outcome(circumstances, llr, more):
    policy = Policy()
    one, other = (policy.judge(of(placed("a", llr=value)), circumstances) for value in (llr, llr + more))
    assert RANK[one.outcome] <= RANK[other.outcome]


@given(
    st.lists(st.tuples(st.floats(-5, 9), st.integers(0, 900), st.integers(-15, 15)), min_size=1, max_size=20),
    st.floats(0, 100_000),
    st.one_of(st.none(), st.integers(0, 5)),
    st.booleans(),
)
@settings(max_examples=60)
def test_the_calendar_never_turns_what_would_be_published_into_something_suppressed(
    drawn, expected, budget, everywhere
):
    policy = Policy()
    place = {"latitude": None, "longitude": None, "radius_m": None} if everywhere else {}
    with_calendar = Expectation(policy, (show(expected_per_hour=expected, budget_per_hour=budget, **place),))
    for k, (llr, t, x) in enumerate(sorted(drawn, key=lambda one: one[1])):
        incident = of(placed(f"s{k}", float(t), 100.0 * x, llr=llr))
        with_calendar.note(incident.shots[0])
        verdict = told(with_calendar, incident, policy)
        assert RANK[verdict.outcome] >= min(1, RANK[policy.judge(incident).outcome])
    counted = sum(sum(mine[name] for name in RANK) for mine in with_calendar.counts.values())
    assert counted == len(drawn)


# Budgets


def test_a_budget_is_of_an_hour_that_rolls_and_of_its_event_alone():
    policy = Policy()
    expectation = Expectation(policy, (show(end_ns=NIGHT_NS + 3 * HOUR_NS, expected_per_hour=12.0),))
    inside = [told(expectation, of(placed(f"i{k}", 10.0 * k, llr=5.5)), policy) for k in range(5)]
    assert [verdict.outcome for verdict in inside] == ["published"] * 3 + ["review"] * 2
    assert "budget of Harbour show is spent (3 published an hour)" in inside[3].reason
    assert [near.over_budget for near in inside[3].circumstances.expected] == [True]
    outside = [told(expectation, of(placed(f"o{k}", 60.0 + k, 3_000.0, llr=5.5)), policy) for k in range(5)]
    assert {verdict.outcome for verdict in outside} == {"published"}
    sure = told(expectation, of(placed("sure", 100.0, llr=9.0)), policy)
    assert sure.outcome == "published"
    assert sure.posterior >= 0.995
    assert not sure.circumstances.over_budget
    later = told(expectation, of(placed("later", 3_615.0, llr=5.5)), policy)
    assert later.outcome == "published"  # two of the first three lie more than an hour back
    show_label = show().label
    assert expectation.counts == {
        ELSEWHERE: {"published": 5, "review": 0, "suppressed": 0, "over_budget": 0},
        show_label: {"published": 5, "review": 2, "suppressed": 0, "over_budget": 2},
    }


def test_an_incident_spends_once_and_does_not_hold_itself_back():
    policy = Policy()
    expectation = Expectation(policy, (show(budget_per_hour=1.0, expected_per_hour=0.0),))
    first = placed("a", llr=4.5)
    incident = of(first)
    for _ in range(4):
        assert told(expectation, incident, policy).outcome == "published"
        incident = incident.taking(placed(f"more{len(incident.shots)}", 2.0 * len(incident.shots), llr=4.5))
    # Its first round loses its place: it now begins after what it spent.
    assert told(expectation, incident.taking(unfixed_at("a", revision=2)), policy).outcome == "published"
    assert told(expectation, of(placed("b", 60.0, llr=4.5)), policy).outcome == "review"
    assert expectation.counts[show().label]["published"] == 1


def test_who_comes_first_in_event_time_is_published_however_the_words_come():
    """A shot that was told late does not hold back one that began before it."""
    policy = Policy()
    expectation = Expectation(policy, (show(budget_per_hour=1.0),))
    told(expectation, of(placed("later", 5.0, llr=6.0)), policy)
    assert told(expectation, of(placed("earlier", 0.0, llr=6.0)), policy).outcome == "published"


def test_what_became_part_of_another_is_counted_there():
    policy, expectation = Policy(), Expectation()
    one, other = of(placed("a", llr=9.0)), of(placed("b", 3.0, llr=-9.0))
    told(expectation, one, policy)
    told(expectation, other, policy)
    expectation.merged(other.incident_id)
    expectation.merged("never told")
    assert expectation.counts[ELSEWHERE] == {"published": 1, "review": 0, "suppressed": 0, "over_budget": 0}


def test_counts_are_read_while_another_thread_counts():
    """As the metrics do: whatever the desk adds or folds meanwhile, reading never fails."""
    expectation, done = Expectation(), threading.Event()

    def count():
        for k in range(20_000):
            expectation._tally.told(f"i{k}", (f"event {k}",), "review", NIGHT_NS + k * HOUR_NS, held=False)
            if k % 50 == 0:
                expectation._tally.forget(NIGHT_NS + (k - 3) * HOUR_NS)
        done.set()

    pace = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as other:
            counting = other.submit(count)
            while not done.is_set() and not counting.done():
                assert all(set(mine) == {*RANK, "over_budget"} for mine in expectation.counts.values())
            counting.result()
    finally:
        sys.setswitchinterval(pace)


def test_counts_of_many_events_are_folded_and_not_lost():
    tally = Tally()
    for k in range(2_500):
        tally.told(f"i{k}", (f"event {k}",), "review", NIGHT_NS + k * HOUR_NS, held=False)
        tally.forget(NIGHT_NS + (k - 3) * HOUR_NS)
    assert len(tally.counts) <= 1_010
    assert sum(mine["review"] for mine in tally.counts.values()) == 2_500
    assert tally.counts[EARLIER]["review"] > 1_000


# The calendar by time and place


@given(st.floats(-80, 80), st.floats(-180, 180), st.floats(0, 359), st.floats(1.0, 200_000.0))
def test_distances_are_those_on_the_ellipsoid(latitude, longitude, azimuth, away_m):
    east, north, _ = Geod(ellps="WGS84").fwd(longitude, latitude, azimuth, away_m)
    assert distance_m(latitude, longitude, north, east) == pytest.approx(away_m, rel=0.001, abs=0.01)


@pytest.mark.parametrize("azimuth", [0.0, 45.0, 90.0, 200.0])
def test_the_edge_is_where_the_region_no_longer_touches_the_event(azimuth):
    calendar = EventCalendar((show(radius_m=500.0),))
    for away_m, expected in ((499.0, 0.0), (501.5, 1.5), (528.0, 28.0), (532.0, None)):
        east, north, _ = Geod(ellps="WGS84").fwd(MIDDLE.longitude_deg, MIDDLE.latitude_deg, azimuth, away_m)
        near = calendar.near(NIGHT_NS, Spot(north, east, 30.0))
        assert [entry.distance_m for entry in near] == ([] if expected is None else [pytest.approx(expected, abs=1.0)])


def test_an_event_is_expected_in_its_time_and_the_grace_around_it():
    calendar = EventCalendar((show(),))
    start_ns, end_ns = show().start_ns, show().end_ns
    spot = Spot(MIDDLE.latitude_deg, MIDDLE.longitude_deg, 10.0)
    inside = (start_ns - GRACE_NS, start_ns, end_ns, end_ns + GRACE_NS - 1)
    assert all(len(calendar.near(at_ns, spot)) == 1 for at_ns in inside)
    assert not any(calendar.near(at_ns, spot) for at_ns in (start_ns - GRACE_NS - 1, end_ns + GRACE_NS))
    assert calendar.near(NIGHT_NS, None) == ()


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 50)), max_size=20), st.integers(0, 250))
def test_the_index_by_hours_finds_what_a_search_finds(times, quarter):
    events = [
        show(name=f"e{k}", start_ns=NIGHT_NS + a * HOUR_NS // 4, end_ns=NIGHT_NS + (a + b) * HOUR_NS // 4)
        for k, (a, b) in enumerate(times)
    ]
    at_ns = NIGHT_NS + quarter * HOUR_NS // 4
    spot = Spot(MIDDLE.latitude_deg, MIDDLE.longitude_deg, 10.0)
    found = {entry.event for entry in EventCalendar(events).near(at_ns, spot)}
    assert found == {e for e in events if e.start_ns - GRACE_NS <= at_ns < e.end_ns + GRACE_NS}


def test_events_of_one_name_and_time_are_told_apart():
    two = (show(), show(radius_m=900.0), show())
    near = EventCalendar(two).near(NIGHT_NS, Spot(MIDDLE.latitude_deg, MIDDLE.longitude_deg, 10.0))
    assert len({entry.label for entry in near}) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a\x1b[31m"}, {"name": "x" * 101}, {"kind": "concert"}, {"end_ns": NIGHT_NS - HOUR_NS},
        {"start_ns": 1.5}, {"latitude": None}, {"latitude": 91.0}, {"longitude": math.nan}, {"radius_m": -1.0},
        {"radius_m": math.nan}, {"expected_per_hour": -1.0}, {"budget_per_hour": math.inf}, {"expected_per_hour": math.nan},
    ],
)  # fmt: skip
def test_an_event_checks_itself(wrong):
    with pytest.raises((ValueError, TypeError)):
        show(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hours": (1.0,) * 23}, {"hours": (0.0,) + (1.0,) * 23}, {"hours": (math.nan,) * 24}, {"ordinary_per_hour": 0.0},
        {"ordinary_hours": math.inf}, {"near_m": 5.0}, {"always_publish": 1.0}, {"near_m": math.nan},
    ],
)  # fmt: skip
def test_an_expectation_checks_itself(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Expectation(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"base": 1.0}, {"hour_shift": math.nan}, {"rate_shift": 0.1}, {"calendar_shift": -math.inf}]
)
def test_circumstances_check_themselves(wrong):
    with pytest.raises(ValueError):
        Circumstances(**({"base": 0.2} | wrong))


def test_a_calendar_has_a_bound():
    events = [show(start_ns=NIGHT_NS - HOUR_NS - k) for k in range(20_001)]
    with pytest.raises(ValueError, match="20,001"):
        EventCalendar(events)


def test_the_weight_of_a_bang_is_that_at_the_ordinary_prior():
    policy = Policy()
    expectation = Expectation(policy, ordinary_per_hour=0.06, ordinary_hours=1.0)
    expectation.note(placed("b", -10.0, llr=1.0))
    heard = 1.0 - probability(1.0, policy.log_prior_odds)
    rate = expectation.circumstances(of(placed("a"))).others_per_hour
    assert rate == pytest.approx((0.06 + heard) / (1.0 + 1.0 / 6.0), rel=1e-5)
    assert after(NIGHT_NS, 0.0) == NIGHT_NS
