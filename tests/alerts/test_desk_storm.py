"""A storm of acts on incidents that hang together: however they are joined, parted and undone, nothing is said twice."""

from __future__ import annotations

import random

import pytest

from acoustic.instant import SECOND
from alerts.hand import made_of
from tests.alerts.test_life import LONG_NS, Street, check_replay, check_rounds, check_stream
from tests.strategies import HARTFORD, fix_at

BURSTS, ROUNDS = 6, 3


def told_of(*bursts):
    """A street whose bursts of so many rounds are all told to the end."""
    street = Street()
    for k, count in enumerate(bursts):
        for r in range(count):
            street.shot(fix_at(f"{k}-{r}", 30.0 * k + 0.4 * r, 60.0 * k, frame=HARTFORD))
    street.tick((30 * len(bursts) + 60) * SECOND)
    return street, sorted(street.last.values(), key=lambda alert: alert.discharge_time.first)


def test_what_has_no_rounds_left_says_nothing_when_somebody_speaks_of_what_was_once_part_of_it():
    street, (first, other) = told_of(2, 1)
    judged = street.says("judge", other, judgement="unsure")
    street.act(judged)
    parted = street.says("split", first, shot_ids=("0-1",))
    street.act(parted)
    made = street.last[made_of(parted)[0]]
    street.act(street.says("merge", other, into=made.alert_id))
    street.act(street.says("split", made, shot_ids=("1-0",)))
    street.act(street.says("undo", first, undoes=parted.act_id))
    assert (street.last[made.alert_id].merged_into, street.last[made.alert_id].status) == (
        first.incident_id, "cancelled",
    )  # fmt: skip
    said = street.act(street.says("undo", other, undoes=judged.act_id))
    assert [alert.alert_id for alert in said] == [other.alert_id]
    check_stream(street.said)
    check_replay(street)


def test_a_round_that_two_partings_took_is_told_of_by_one_alert_whichever_counts():
    street, (first,) = told_of(3)
    one, two = street.says("split", first, shot_ids=("0-2",)), None
    street.act(one)
    undone = street.says("undo", first, undoes=one.act_id)
    street.act(undone)
    two = street.says("split", first, shot_ids=("0-1", "0-2"))
    street.act(two)
    street.act(street.says("undo", first, undoes=undone.act_id))  # the first counts again, and the later has the round
    street.act(street.says("undo", first, undoes=two.act_id))
    rounds = {name: [each.shot_id for each in alert.rounds] for name, alert in street.last.items()
              if alert.merged_into is None}  # fmt: skip
    assert rounds == {first.alert_id: ["0-0", "0-1"], made_of(one)[0]: ["0-2"]}
    check_stream(street.said)
    check_replay(street)


def test_a_round_goes_home_though_that_is_no_part_any_more():
    street, (first, other) = told_of(1, 2)
    merged = street.says("merge", other, into=first.alert_id)
    street.act(merged)
    parted = street.says("split", street.last[first.alert_id], shot_ids=("1-1",))
    street.act(parted)
    street.act(street.says("undo", first, undoes=merged.act_id))
    assert [one.shot_id for one in street.last[other.alert_id].rounds] == ["1-0"]
    street.act(street.says("undo", first, undoes=parted.act_id))
    assert [one.shot_id for one in street.last[other.alert_id].rounds] == ["1-0", "1-1"]
    check_replay(street)


def storm(seed, count):
    """So many acts, most of which join, part and undo; late sensors, ticks, and now and then a desk that forgot."""
    dice = random.Random(seed)  # noqa: S311  (dice, no secrets)
    street, _ = told_of(*[ROUNDS] * BURSTS)
    for number in range(count):
        if dice.random() < 0.3:
            street.tick(SECOND // 4)
        if dice.random() < 0.1:
            k, r, llr = dice.randrange(BURSTS), dice.randrange(ROUNDS), dice.choice([5.0, 1.0, -9.0])
            time_s, east_m = 30.0 * k + 0.4 * r, 60.0 * k
            street.shot(fix_at(f"{k}-{r}", time_s, east_m, llr=llr, revision=2 + number, frame=HARTFORD))
        if dice.random() < 0.002:
            street.tick(LONG_NS)
        act = somebodys(dice, street, street.last[dice.choice(sorted(street.last))])
        if act is not None:
            street.act(act)
    return street


def somebodys(dice, street, alert):
    """Whatever somebody may come to say of an alert; None where there is nothing."""
    kind = dice.choice(["judge", "place", "merge", "split", "split", "undo", "undo", "undo"])
    if kind == "judge":
        return street.says(kind, alert, judgement=dice.choice(["gunfire", "fireworks", "unsure"]))
    if kind == "place":
        return street.says(kind, alert, latitude=41.76, longitude=-72.67, radius_m=dice.choice([5.0, 80.0]))
    if kind == "merge":
        other = dice.choice(sorted(street.last))
        return None if other == alert.alert_id else street.says(kind, alert, into=other)
    if kind == "split":
        names = [one.shot_id for one in alert.rounds]
        some = tuple(dice.sample(names, dice.randint(1, len(names))))
        return street.says(kind, alert, shot_ids=some) if len(some) < len(names) else None
    return None if alert.review is None else street.says(kind, alert, undoes=dice.choice(alert.review.acts))


def check(street):
    street.tick(30 * SECOND)
    check_stream(street.said)  # of which one law is that no revision says what the one before it said
    check_rounds(street)
    told = {one.shot_id for alert in street.last.values() if alert.merged_into is None for one in alert.rounds}
    assert told == {f"{k}-{r}" for k in range(BURSTS) for r in range(ROUNDS)}, "each round is told of somewhere"
    check_replay(street)


@pytest.mark.parametrize("seed", [5, 17])
def test_a_storm_of_tied_acts_says_nothing_twice(seed):
    check(storm(seed, 250))


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(100, 160))
def test_sixty_storms_of_five_hundred_acts(seed):
    check(storm(seed, 500))
