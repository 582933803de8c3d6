"""Two people at one moment: exactly one of them wins, and the other is told who."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from alerts.record import tables
from alerts.record.store import Store
from alerts.review.reviews import ConflictError, ReviewRules, Reviews
from tests.review_nights import minutes, tell

RULES = ReviewRules(second_share=0.0)


def at_once(pool, *works):
    """What came of works that began at one moment: a result or the refusal, in their order."""
    ready = threading.Barrier(len(works))

    def begin(work):
        ready.wait(30.0)
        try:
            return work()
        except ConflictError as refused:
            return refused

    return [future.result(60.0) for future in [pool.submit(begin, work) for work in works]]


def race(where, trials):
    """Claims, acknowledgements and judgements by two at once; in each fourth trial they share no process-wide lock."""
    with Store(where) as one, Store(where) as other, ThreadPoolExecutor(2) as pool:
        here, there = Reviews(one, RULES), Reviews(other, RULES)
        for trial in range(trials):
            race_for(pool, here, there if trial % 4 == 0 else here, tell(one, f"trial-{trial}"))
        return counts(one)


def race_for(pool, ann, bob, incident_id):
    claims = at_once(
        pool,
        lambda: ann.claim(incident_id, "ann", minutes(1)).claimed_by,
        lambda: bob.claim(incident_id, "bob", minutes(1)).claimed_by,
    )
    check_one_winner(claims)
    acknowledgements = at_once(
        pool,
        lambda: ann.acknowledge(incident_id, "ann", minutes(1)).acknowledged_by,
        lambda: bob.acknowledge(incident_id, "bob", minutes(1)).acknowledged_by,
    )
    check_one_winner(acknowledgements)
    version = ann.head(incident_id).version
    verdicts = at_once(  # the claim has run out: the version alone decides
        pool,
        lambda: ann.judge(incident_id, "ann", minutes(9), "gunfire", expected_version=version).act.by,
        lambda: bob.judge(incident_id, "bob", minutes(9), "fireworks", expected_version=version).act.by,
    )
    check_one_winner(verdicts)


def check_one_winner(said):
    won = [who for who in said if isinstance(who, str)]
    lost = [refused for refused in said if not isinstance(refused, str)]
    assert len(won) == len(lost) == 1
    assert lost[0].changed_by == won[0]
    assert won[0] in str(lost[0])


def counts(store):
    with store.reading() as connection:
        counted = sa.select(tables.ledger.c.kind, sa.func.count()).group_by(tables.ledger.c.kind)
        acts = connection.execute(sa.select(sa.func.count()).select_from(tables.act)).scalar_one()
        opinions = connection.execute(sa.select(sa.func.count()).select_from(tables.opinion)).scalar_one()
        return dict(connection.execute(counted).all()) | {"acts": acts, "opinions": opinions}


def check_counts(found, trials):
    # The losers left nothing: neither an entry, nor an act, nor an opinion.
    wanted = ("claim", "acknowledge", "act", "opinion", "acts", "opinions")
    assert {name: found[name] for name in wanted} == dict.fromkeys(wanted, trials)


def test_of_two_at_once_one_wins(record_where):
    check_counts(race(record_where, 67), 67)  # 201 races


@pytest.mark.endurance
def test_of_two_at_once_one_wins_a_thousand_times(record_where):
    check_counts(race(record_where, 1_000), 1_000)


def test_of_eight_at_once_one_wins_and_all_are_answered(record_where):
    with Store(where := record_where) as one, Store(where) as other, ThreadPoolExecutor(8) as pool:
        desks = [Reviews(one, RULES), Reviews(other, RULES)]
        for trial in range(5):
            incident_id = tell(one, f"trial-{trial}")
            said = at_once(pool, *(judging(desks[n % 2], incident_id, f"p{n}") for n in range(8)))
            (won,) = [who for who in said if isinstance(who, str)]
            assert {refused.changed_by for refused in said if not isinstance(refused, str)} == {won}
            assert desks[0].head(incident_id).version == 2


def judging(reviews, incident_id, who):
    return lambda: reviews.judge(incident_id, who, minutes(1), "gunfire", expected_version=1).act.by
