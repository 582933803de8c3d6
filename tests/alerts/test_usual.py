"""What is usual: rates and shares that were drawn are found again, and the words say them beside what is set."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from acoustic.instant import SECOND, after
from alerts.alert import alert_instant
from alerts.desk import Desk
from alerts.policy import Policy
from alerts.record.store import Store
from alerts.review.reviews import ReviewRules, Reviews
from alerts.review.usual import likeliest_prior, others_per_hour, usual
from shotfix.commands_review import labels
from tests.review_nights import apply, minutes, tell
from tests.strategies import HARTFORD, NIGHT_NS, fix_at

DAY_S = 86_400.0
DISC_KM2 = math.pi * 4.0
MIDNIGHT_S = NIGHT_NS % (86_400 * SECOND) / SECOND


def alerts_of(bangs):
    """A word about each bang, every one an incident of its own: when, where, how like a shot."""
    (alert,) = Desk(mode="live").receive(fix_at("b", llr=6.0, frame=HARTFORD))
    said = []
    for time_s, east_m, north_m, llr in bangs:
        at = HARTFORD.geodetic(east_m, north_m, 0.0)
        degrees = {"latitude": at.latitude_deg, "longitude": at.longitude_deg}
        one = replace(alert.rounds[0], time=alert_instant(after(NIGHT_NS, time_s)), llr=llr, **degrees)
        said.append(replace(alert, rounds=(one,), place=replace(alert.place, **degrees)))
    return said


def scattered(per_hour, days, hours=24.0, half_m=6_000.0, seed=3, llr=-12.0):
    """Bangs at a rate within 2 km of every place of a town, in the first hours of each day."""
    dice = random.Random(seed)  # noqa: S311  (dice, no secret)
    count = round(per_hour * hours * days * (2.0 * half_m / 1_000.0) ** 2 / DISC_KM2)
    return [
        (
            DAY_S * dice.randrange(days) + 3_600.0 * hours * dice.random() - MIDNIGHT_S,
            dice.uniform(-half_m, half_m),
            dice.uniform(-half_m, half_m),
            llr,
        )
        for _ in range(count)
    ]


def test_a_rate_that_was_drawn_is_found_again():
    """A town's edge has only half of a disc around it, hence a short reach: so the square of `alerts.bangs` shows."""
    middle, low, high = others_per_hour(alerts_of(scattered(1.0, 20)), Policy(), 1_000.0)
    assert low < middle < high < 1.2 * middle
    assert middle == pytest.approx(1.0 * 1_000.0**2 / 2_000.0**2, rel=0.15)


def test_it_is_the_rate_of_the_hours_in_which_something_is_heard():
    """All in two hours of the day: the rate of those hours, not of the day."""
    middle, *_ = others_per_hour(alerts_of(scattered(3.0, 30, hours=2.0)), Policy(), 1_000.0)
    assert middle == pytest.approx(3.0 * 1_000.0**2 / 2_000.0**2, rel=0.15)


def test_what_was_probably_gunfire_does_not_count_and_a_string_counts_once():
    drawn = scattered(0.5, 6)
    rate, *_ = others_per_hour(alerts_of(drawn), Policy(), 2_000.0)
    shots = [(time_s + 1.0, x, y, 12.0) for time_s, x, y, _ in scattered(0.5, 6, seed=4)]
    with_shots, *_ = others_per_hour(alerts_of(drawn + shots), Policy(), 2_000.0)
    assert with_shots == pytest.approx(rate, rel=0.1)
    strings = [(time_s + 0.3 * k, x, y, llr) for time_s, x, y, llr in drawn for k in range(3)]
    assert others_per_hour(alerts_of(strings), Policy(), 2_000.0)[0] == pytest.approx(rate, rel=0.05)


def test_places_by_hand_alone_make_no_rate():
    said = alerts_of(scattered(0.1, 9))
    by_hand = [replace(one, rounds=(replace(one.rounds[0], latitude=None, longitude=None),)) for one in said]
    assert others_per_hour(said, Policy(), 2_000.0) is not None
    assert others_per_hour(by_hand, Policy(), 2_000.0) is None
    assert others_per_hour(said[:1], Policy(), 2_000.0) is None


def test_one_bad_evening_does_not_make_what_is_usual_but_widens_the_interval():
    ordinary = scattered(0.5, 12)
    bad = [(5 * DAY_S + time_s / 12.0, x, y, llr) for time_s, x, y, llr in scattered(0.5, 12, seed=9)]
    rate, low, high = others_per_hour(alerts_of(ordinary), Policy(), 2_000.0)
    worse = others_per_hour(alerts_of(ordinary + bad), Policy(), 2_000.0)
    assert worse[2] - worse[1] > 2.0 * (high - low)
    assert worse[0] < 4.0 * rate  # the evening alone had many times more


@given(st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=40))
def test_the_likeliest_share_is_that_of_a_general_search(llrs):
    best, low, high = likeliest_prior(llrs)
    gains = np.expm1(llrs)
    found = minimize_scalar(lambda p: -np.log1p(p * gains).sum(), bounds=(0.0, 1.0), method="bounded")
    assert -np.log1p(best * gains).sum() <= found.fun + 1e-4
    assert 0.0 <= low <= best <= high <= 1.0


def test_the_interval_of_the_share_holds_the_share_that_was_drawn():
    """Calibrated evidence, a tenth of it gunfire, two hundred times: 95 %, give or take what chance leaves."""
    dice, held = np.random.default_rng(5), 0
    for _ in range(200):
        gunfire = dice.random(300) < 0.1
        _, low, high = likeliest_prior(list(dice.normal(np.where(gunfire, 4.5, -4.5), 3.0)))
        held += low <= 0.1 <= high
    assert held >= 180
    assert likeliest_prior([]) is None


NIGHTS = [
    # name, minutes, evidence, and what somebody said
    ("shot", 10.0, 6.0, "gunfire"),
    ("missed", 2_000.0, 1.0, "gunfire"),
    ("cracker", 3_000.0, 4.0, "fireworks"),
    ("pipe", 4_500.0, -6.0, "vehicle"),
    ("who-knows", 4_600.0, 0.5, "unsure"),
    ("nobody", 5_000.0, -9.0, None),
]


@pytest.fixture
def city(tmp_path):
    with Store(tmp_path / "record.db") as store:
        reviews = Reviews(store, ReviewRules(second_share=0.0))
        for name, at_minutes, llr, says in NIGHTS:
            incident = tell(store, name, 60.0 * at_minutes, llr=llr)
            if says is not None:
                version = reviews.head(incident).version
                apply(store, reviews.judge(incident, "ann", minutes(9_000), says, expected_version=version).act)
    return tmp_path / "record.db"


def test_a_record_is_read_in_pages_with_what_people_said(city, monkeypatch):
    monkeypatch.setattr("alerts.review.usual._PAGE", 2)
    with Store(city) as store:
        found = usual(store, Policy(), 2_000.0)
        assert usual(store, Policy(), 2_000.0, modes=("exercise",)).incidents == 0
        few = usual(store, Policy(), 2_000.0, from_ns=minutes(4_550))
    assert (found.incidents, found.days, found.unplaced, found.expected) == (6, 4, 0, 0)
    assert (found.judged.count, found.judged.of) == (2, 4)
    row = next(row for row in found.rows if row.threshold == Policy().publish)
    assert (row.misses.count, row.misses.of, row.false_dispatches.count) == (1, 2, 1)
    assert found.ordinary_per_hour[0] == 0.0, "each alone in its hour"
    assert (few.incidents, few.ordinary_per_hour) == (2, None)


def test_the_command_says_it_beside_what_is_set(city):
    ended = CliRunner().invoke(labels, ["usual", "--record", str(city)])
    assert ended.exit_code == 0, ended.output
    lines = ended.output.splitlines()
    assert lines[0] == "6 incidents on 4 days; left out: 0 without a place, 0 beside an event of the calendar"
    assert lines[1].startswith("other bangs an hour within 2000 m: ")
    assert lines[1].endswith("; ordinary_per_hour is 12")
    assert lines[2].endswith("; prior is 16.7%")
    assert lines[3] == "gunfire among those that people judged: 2 of 4 (15.0 to 85.0 %)"
    assert "  published from 0.8 (as it is): 1 of 2 (9.5 to 90.5 %) shots missed, 1 of 2" in "\n".join(lines)
    told = json.loads(CliRunner().invoke(labels, ["usual", "--record", str(city), "--json"]).output)
    assert (told["incidents"], told["judged"]["count"]) == (6, 2)
