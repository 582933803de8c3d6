"""A kill at any moment: what was decided is there with all that belongs to it, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from alerts.act import decode_act
from alerts.record import tables
from alerts.record.store import Store
from alerts.review.reviews import ReviewRules, Reviews
from tests.review_nights import apply, minutes, tell

JUDGING = """
import sys
from pathlib import Path
from alerts.record.store import Store
from alerts.review.reviews import ReviewRules, Reviews
where, at_ns, *names = sys.argv[1:]
reviews = Reviews(Store(where if where.startswith("postgresql") else Path(where)), ReviewRules(second_share=1.0))
for incident_id in names:
    reviews.claim(incident_id, "ann", int(at_ns))
    reviews.judge(incident_id, "ann", int(at_ns), "gunfire", expected_version=2)
    print(incident_id, flush=True)  # from here on somebody may rely on it
"""


def judge_until_killed(where, names, after_lines, delay_s=0.0):
    """Judge incidents in another process, which dies without a word; those that it said were judged."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    process = subprocess.Popen(
        [sys.executable, "-c", JUDGING, str(where), str(minutes(5)), *names],
        stdout=subprocess.PIPE, text=True, cwd=root,
    )  # fmt: skip
    said = [process.stdout.readline().strip() for _ in range(after_lines)]
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read().split()
    process.stdout.close()
    process.wait(30.0)
    return said


def check_whole(store):
    """Row, act, opinion and entries agree of every incident, and the chain is sound; what was judged."""
    reviews = Reviews(store)
    entries = list(reviews.ledger.entries())
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    assert all(entry.digest == entry.expected for entry in entries)
    with store.reading() as connection:
        rows = connection.execute(sa.select(tables.incident)).all()
        acts = {decode_act(body).incident_id for body in connection.execute(sa.select(tables.act.c.body)).scalars()}
        opinions = set(connection.execute(sa.select(tables.opinion.c.incident_id)).scalars())
    judged = {row.incident_id for row in rows if row.verdict is not None}
    assert judged == acts == opinions
    assert judged == {entry.about for entry in entries if entry.kind == "act"}
    assert judged == {entry.about for entry in entries if entry.kind == "opinion"}
    claimed = {row.incident_id for row in rows if row.claimed_by is not None}
    assert claimed | judged == {entry.about for entry in entries if entry.kind == "claim"}
    return judged


def kill_once(where, names, after_lines, delay_s=0.0):
    """Kill it, and do what a centre does at its start; what was judged."""
    said = judge_until_killed(where, names, after_lines, delay_s)
    assert len(said) >= after_lines
    with Store(where) as store:
        judged = check_whole(store)
        assert set(said) <= judged
        waiting = Reviews(store).pending()
        assert {one.act.incident_id for one in waiting} == judged
        assert all(one.known[0].incident_id == one.act.incident_id for one in waiting)
        for decision in waiting:
            apply(store, decision.act)
        assert Reviews(store).pending() == ()
    return judged


def test_what_was_decided_before_a_kill_is_told_after_it(record_where):
    with Store(record_where) as store:
        names = [tell(store, f"incident-{k}") for k in range(40)]
    assert 3 <= len(kill_once(record_where, names, after_lines=3)) <= 40


@pytest.mark.endurance
def test_whenever_it_is_killed(record_where):
    for trial in range(30):
        with Store(record_where) as store:
            names = [tell(store, f"trial-{trial}-{k}") for k in range(40)]
        kill_and_forget(record_where, names, trial)


def kill_and_forget(where, names, trial):
    said = judge_until_killed(where, names, after_lines=1 + trial % 5, delay_s=0.0007 * trial)
    with Store(where) as store:
        judged = check_whole(store)
        assert set(said) <= judged
        for decision in Reviews(store, ReviewRules()).pending():
            apply(store, decision.act)
