"""What people said stands in rows that programs show; whoever alters one is found by the ledger, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from alerts.record import tables
from alerts.record.ledger import Ledger
from alerts.review.findings import Finding
from alerts.review.reviews import ReviewRules, Reviews
from tests.review_nights import apply, entries, minutes, tell

INCIDENT, ACT, OPINION = tables.incident, tables.act, tables.opinion


@pytest.fixture
def night(record_store):
    """Two incidents, of which people have said all that can be said, and undone some; the first one's name."""
    reviews = Reviews(record_store, ReviewRules(second_share=1.0))
    shooting, other = (tell(record_store, name) for name in ("shooting", "other"))
    reviews.claim(shooting, "ann", minutes(1))
    act = reviews.judge(shooting, "ann", minutes(2), "fireworks", expected_version=2, note="a whistle").act
    apply(record_store, act, "suppressed")
    reviews.second(shooting, "bob", minutes(3), "gunfire")
    reviews.disposition(shooting, "cid", minutes(4), Finding("confirmed", ("casings",), "26-0417"))
    reviews.pin(shooting, "dan", minutes(5), "evidence")
    reviews.acknowledge(other, "ann", minutes(6))
    judged = reviews.judge(other, "bob", minutes(7), "vehicle", expected_version=2).act
    apply(record_store, judged, "suppressed")
    undone = reviews.undo(other, "bob", minutes(8), judged.act_id, expected_version=reviews.head(other).version).act
    apply(record_store, undone, "published")
    return reviews, shooting, other


def verdict(reviews):
    return Ledger(reviews.store).verify()


def alter(reviews, statement):
    with reviews.store.writing() as connection:
        assert connection.execute(statement).rowcount


def test_what_people_did_is_as_it_was_said(night):
    reviews, shooting, _ = night
    assert len(entries(reviews, shooting)) == 6
    assert verdict(reviews).intact


COLUMNS = [
    ("verdict", "gunfire"), ("verdict", None), ("claimed_by", "eve"), ("claimed_until_ns", 1),
    ("acknowledged_by", "eve"), ("acknowledged_ns", 1), ("disposition", "unfounded"), ("disposition", None),
    ("case_number", "26-0418"), ("wants_second", True), ("disagreed", False), ("pinned", False),
    ("alert_id", "another"),
]  # fmt: skip


def test_a_row_that_says_otherwise_is_named(night):
    reviews, shooting, _ = night
    mine = INCIDENT.c.incident_id == shooting
    with reviews.store.reading() as connection:
        before = connection.execute(sa.select(INCIDENT).where(mine)).mappings().one()
    for column, value in COLUMNS:
        alter(reviews, sa.update(INCIDENT).where(mine).values({column: value}))
        fault = verdict(reviews).fault
        assert fault is not None, column
        assert (fault.what, shooting in fault.text, column in fault.text) == ("row-altered", True, True)
        alter(reviews, sa.update(INCIDENT).where(mine).values({column: before[column]}))
    assert verdict(reviews).intact


ROWS = [
    (ACT, {"by": "eve"}), (ACT, {"at_ns": 1}), (ACT, {"alert_id": "another"}), (ACT, {"sequence": 1}),
    (ACT, {"body": b"{}"}), (ACT, {"act_id": "another"}), (ACT, None),
    (OPINION, {"verdict": "other"}), (OPINION, {"by": "eve"}), (OPINION, {"note": ""}), (OPINION, {"at_ns": 1}),
    (OPINION, {"listened": True}), (OPINION, {"revision": 9}), (OPINION, None),
]  # fmt: skip


def test_an_act_or_an_opinion_that_was_altered_or_taken_away_is_named_with_its_entry(night):
    reviews, shooting, _ = night
    which = {OPINION: (OPINION.c.incident_id == shooting) & (OPINION.c.turn == 1), ACT: ACT.c.by == "ann"}
    for table, values in ROWS:
        with reviews.store.reading() as connection:
            before = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
        changed = sa.delete(table) if values is None else sa.update(table).values(values)
        alter(reviews, changed.where(which[table]))
        fault = verdict(reviews).fault
        assert fault is not None, (table.name, values)
        assert fault.what == "row-altered"
        said = [entry for entry in Ledger(reviews.store).entries() if entry.sequence == fault.sequence]
        assert [(entry.actor, entry.about) for entry in said] == [("ann", shooting)]
        alter(reviews, sa.delete(table))
        alter(reviews, sa.insert(table).values(before))
    assert verdict(reviews).intact


def test_words_that_nobody_said_are_named(night):
    reviews, _, other = night
    forged = {
        "incident_id": other, "turn": 1, "by": "ann", "verdict": "gunfire", "note": "", "at_ns": minutes(9),
        "listened": True, "revision": 1,
    }  # fmt: skip
    with reviews.store.writing() as connection:
        connection.execute(sa.insert(OPINION), forged)
    fault = verdict(reviews).fault
    assert fault is not None
    assert f"opinion 1 of incident {other} is not what was said" in fault.text
    alter(reviews, sa.delete(OPINION).where(OPINION.c.incident_id == other))
    assert verdict(reviews).intact, "it was undone: that it is gone is right"


def test_an_act_that_nobody_made_is_named(night):
    reviews, *_ = night
    with reviews.store.writing() as connection:
        row = dict(connection.execute(sa.select(ACT).limit(1)).mappings().one())
        connection.execute(sa.insert(ACT), row | {"act_id": "hforged", "sequence": 1})
    fault = verdict(reviews).fault
    assert fault is not None
    assert fault.text == "act hforged is in no entry"
