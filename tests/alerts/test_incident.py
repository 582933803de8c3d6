"""Incidents: their life as a table, their rounds, and which shots belong together."""

from __future__ import annotations

import itertools
import math
import re
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.act import JUDGEMENTS, ActKind
from alerts.alert import Reason, Status
from alerts.grouping import FARTHEST_M, REACH_M, link, near
from alerts.incident import LIFE, MEANING, STATUS, Event, Incident, State, shared_delays_s
from tests.strategies import fix_at, unfixed_at


def of(*shots):
    return Incident(shots[0].shot_id, shots)


def test_the_table_of_its_life_is_total():
    assert set(LIFE) == set(itertools.product(State, Event))


def test_nothing_said_can_be_unsaid():
    told = [state for state in State if state is not State.GATHERING]
    assert all(LIFE[state, event] is not State.GATHERING for state in told for event in Event)


def test_every_state_can_be_reached_and_a_merged_incident_is_cancelled():
    assert {LIFE[pair] for pair in LIFE} == set(State)
    assert all(LIFE[state, Event.MERGED] is State.CANCELLED for state in State)
    assert all(LIFE[state, Event.JOINED] is State.CANCELLED for state in State)


def test_every_told_state_has_a_status_of_the_alert():
    assert set(STATUS) == set(State) - {State.GATHERING}
    assert set(STATUS.values()) == set(typing.get_args(Status))


def test_an_incident_keeps_its_name_whatever_joins_it():
    alone = of(fix_at("a"))
    grown = alone.taking(fix_at("b", -1.0), fix_at("a", 0.1, revision=2))
    assert (grown.incident_id, grown.alert_id) == (alone.incident_id, alone.alert_id)
    assert grown.incident_id != grown.alert_id
    assert [shot.shot_id for shot in grown.shots] == ["b", "a"]
    assert grown.shot("a").revision == 2


def test_an_incident_refuses_nothing_and_twins():
    with pytest.raises(ValueError, match="one shot or more"):
        Incident("a", ())
    with pytest.raises(ValueError, match="each once"):
        Incident("a", (fix_at("a"), fix_at("a")))
    with pytest.raises(ValueError, match="founded"):
        of(fix_at("a"), fix_at("b")).without("a")


def test_the_place_is_that_of_the_round_most_sensors_placed():
    poor = fix_at("a", 0.0, sensors=("s1", "s2", "s3"), sigma_m=1.0)
    good = fix_at("b", 0.5, 5.0, sensors=("s1", "s2", "s3", "s4"))
    torn = fix_at("c", 1.0, other=(0.4, 200.0, 0.0), sensors=("s1", "s2", "s3", "s4", "s5"))
    assert of(poor, good, torn).best is good
    assert of(unfixed_at("u")).best is None


@pytest.mark.parametrize(
    ("interval_s", "rounds", "expected"),
    [(0.1, 4, True), (0.1333, 4, True), (0.14, 4, False), (0.1, 3, False), (0.07, 12, True)],
)
def test_full_automatic_is_four_rounds_at_450_a_minute(interval_s, rounds, expected):
    burst = of(*(fix_at(f"r{k}", k * interval_s) for k in range(rounds)))
    assert burst.full_automatic is expected
    assert burst.cadence_s == pytest.approx(interval_s)
    assert burst.rounds.best == rounds


def test_sensors_may_say_full_automatic_where_rounds_run_together():
    assert of(fix_at("a", flags=("full-automatic",))).full_automatic
    assert not of(fix_at("a")).full_automatic


def test_rounds_are_counted_with_what_is_not_sure():
    placed = [fix_at("a", 0.0), fix_at("b", 0.5), fix_at("echo", 0.52), fix_at("weak", 1.0, llr=-1.0)]
    sure = unfixed_at("u3", 1.5, sensors=("s1", "s2", "s3"))
    pair = unfixed_at("u2", 2.0, sensors=("s1", "s2"))
    alone = unfixed_at("u1", 2.5, sensors=("s1",))
    rounds = of(*placed, sure, pair, alone).rounds
    assert (rounds.min, rounds.best, rounds.max) == (2, 5, 6)


def test_one_round_without_a_place_is_one_round():
    rounds = of(unfixed_at("u")).rounds
    assert (rounds.min, rounds.best, rounds.max) == (1, 1, 1)


@given(st.floats(-200, 200), st.floats(-200, 200), st.floats(-3, 3), st.permutations(["s1", "s2", "s3", "s4", "s5"]))
def test_two_bangs_from_one_place_have_one_delay_at_every_sensor(east_m, north_m, later_s, order):
    first = unfixed_at("a", 0.0, east_m, north_m, sensors=order[:4])
    second = unfixed_at("b", later_s, east_m, north_m, sensors=order[1:])
    delays = shared_delays_s(second, first)
    assert len(delays) == 3
    assert delays == pytest.approx([later_s] * 3, abs=2e-9)


@given(st.floats(0, 1500), st.floats(0, 6.3), st.floats(1, 300))
def test_nearness_is_mutual_and_has_a_floor_and_a_bound(distance_m, turn, sigma_m):
    one = fix_at("a", sigma_m=sigma_m)
    other = fix_at("b", 1.0, distance_m * math.sin(turn), distance_m * math.cos(turn))
    assert near(one, other) == near(other, one)
    if distance_m < 0.999 * REACH_M:
        assert near(one, other)
    if distance_m > 1.001 * FARTHEST_M:
        assert not near(one, other)


def test_places_that_cannot_be_told_apart_belong_together():
    incident = of(fix_at("a", sigma_m=80.0))
    assert link(fix_at("b", 1.0, 200.0, sigma_m=80.0), incident) is not None
    assert link(fix_at("b", 1.0, 200.0, sigma_m=4.0), of(fix_at("a"))) is None


def test_two_shooters_400_m_apart_are_two():
    assert link(fix_at("b", 0.3, 400.0), of(fix_at("a"))) is None


def test_five_seconds_end_an_incident():
    incident = of(fix_at("a"), fix_at("b", 4.0))
    assert link(fix_at("c", 8.9), incident) is not None
    assert link(fix_at("c", 9.1), incident) is None


def test_either_place_of_an_ambiguous_fix_may_be_the_one():
    assert link(fix_at("b", 1.0, 300.0), of(fix_at("a", other=(0.4, 300.0, 0.0)))) is not None
    assert link(fix_at("b", 1.0, 300.0), of(fix_at("a", other=(0.05, 300.0, 0.0)))) is None


def test_a_shot_without_a_place_belongs_where_its_delays_agree():
    incident = of(fix_at("a"))
    assert link(unfixed_at("u", 1.0, sensors=("s1", "s2")), incident).sensors == 2
    assert link(unfixed_at("u", 1.0, -280.0, -280.0, sensors=("s1", "s2")), incident) is None
    assert link(unfixed_at("u", 1.0, sensors=("s5", "s6")), incident) is None
    assert link(unfixed_at("u", 9.0, sensors=("s1", "s2")), incident) is None


def test_what_one_sensor_heard_joins_a_placed_incident_but_no_pair():
    single = unfixed_at("u", 1.0, sensors=("s1",))
    assert link(single, of(fix_at("a"))).placed
    assert link(single, of(unfixed_at("v", sensors=("s1",)))) is not None
    assert link(single, of(unfixed_at("v", sensors=("s1", "s2")))) is None


def table_of(text, first):
    """The rows of the Markdown table whose first heading is given."""
    lines = text.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start:])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_table_in_the_documents_is_the_programs(root):
    head, _, *rows = table_of((root / "docs" / "incidents.md").read_text("utf-8"), "event")
    assert head[2:] == [state.value for state in State]
    assert [(row[0], row[1]) for row in rows] == [(event.value, MEANING[event]) for event in Event]
    for row in rows:
        assert row[2:] == [LIFE[state, Event(row[0])].value for state in State], row[0]


def test_what_people_can_say_stands_in_the_documents(root):
    text = (root / "docs" / "incidents.md").read_text("utf-8")
    _, _, *rows = table_of(text, "act")
    assert {row[0].split(":")[0] for row in rows} == set(typing.get_args(ActKind))
    told = {
        name for row in rows if row[0].startswith("judge") for name in row[0].split(":")[1].replace(" ", "").split(",")
    }
    assert told == set(JUDGEMENTS)
    reasons = {name for row in rows for name in re.findall(r"[a-z-]+", row[2])} & set(typing.get_args(Reason))
    assert reasons >= {"reclassified", "reinstated", "relocated", "merged", "more-rounds", "split", "undone", "refined"}
    assert set(re.findall(r"--> (\w+): ", text)) == {"open", "closed", "cancelled"}
