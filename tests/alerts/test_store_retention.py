"""Retention: what may go goes, with an entry; evidence stays, whatever is asked for."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND
from alerts.alert import encode
from alerts.delivery import Route
from alerts.record import retention, tables
from alerts.record.ledger import Ledger
from alerts.record.retention import DAY_S, Keep, Retired, retire
from alerts.record.store import Store
from alerts.review.acts import last_said
from alerts.review.reviews import Reviews
from shotfix.api.lists import ListQuery, page_of
from tests.record_stores import burst
from tests.review_nights import minutes, submit, tell
from tests.strategies import NIGHT_NS

DAY_NS = 86_400 * SECOND
ROOM = [Route("room")]
ALL = [Route("room", ("published", "review", "suppressed"))]
MONTH = Keep(most_age_s=30 * DAY_S)


def suppressed(name, time_s=0.0):
    return burst(name, time_s, llr=-9.0)


def kept(store):
    return {alert.alert_id for alert in store.alerts()}


def test_what_was_suppressed_goes_by_age_and_leaves_its_digests(record_store):
    old, young = suppressed("old"), suppressed("young", 60.0)
    record_store.keep(old, ROOM, NIGHT_NS)
    record_store.keep(young, ROOM, NIGHT_NS + 20 * DAY_NS)
    assert retire(record_store, NIGHT_NS + 29 * DAY_NS, MONTH).incidents == 0
    size = sum(len(encode(alert)) for alert in old)
    assert retire(record_store, NIGHT_NS + 31 * DAY_NS, MONTH) == Retired(1, len(old), size, 0, 0, 0, None)
    assert kept(record_store) == {young[0].alert_id}
    (entry,) = Ledger(record_store).entries(kinds=["retired"])
    assert (entry.actor, entry.about) == ("retention", old[0].incident_id)
    assert [d["revision"] for d in json.loads(entry.body)["documents"]] == [alert.revision for alert in old]
    verdict = Ledger(record_store).verify()
    assert (verdict.fault, verdict.retired) == (None, len(old))
    with record_store.reading() as connection:
        assert [row.incident_id for row in connection.execute(sa.select(tables.incident))] == [young[0].incident_id]


def test_what_was_published_or_waits_or_is_new_stays(record_store):
    record_store.keep(burst("published"), ROOM, NIGHT_NS)
    record_store.keep(suppressed("waits", 60.0), ALL, NIGHT_NS)
    record_store.keep(suppressed("new", 120.0), ROOM, NIGHT_NS + 300 * DAY_NS)
    before = kept(record_store)
    at_ns = NIGHT_NS + 300 * DAY_NS + DAY_NS // 2
    assert retire(record_store, at_ns, Keep(most_age_s=0.0, most_bytes=0)).incidents == 0
    assert kept(record_store) == before


def test_what_was_withdrawn_after_it_was_published_stays(record_store):
    first, *_ = burst("x")
    withdrawn = dataclasses.replace(
        first, revision=2, supersedes=first.message_id, outcome="suppressed", status="cancelled", kind="cancelled"
    )
    record_store.keep([first, withdrawn], [], NIGHT_NS)
    record_store.keep(suppressed("last", 60.0), [], NIGHT_NS)
    assert retire(record_store, NIGHT_NS + 99 * DAY_NS, MONTH).incidents == 0


def touch_pin(connection, incident_id):
    return sa.update(tables.incident).where(tables.incident.c.incident_id == incident_id).values(pinned=True)


def touch_verdict(connection, incident_id):
    return sa.update(tables.incident).where(tables.incident.c.incident_id == incident_id).values(verdict="fireworks")


def touch_note(connection, incident_id):
    Ledger.append(connection, "note", "kim", incident_id, b'{"note":"a car"}', NIGHT_NS)


def touch_opinion(connection, incident_id):
    said = {
        "turn": 1,
        "by": "kim",
        "verdict": "vehicle",
        "note": "",
        "at_ns": NIGHT_NS,
        "listened": True,
        "revision": 1,
    }
    return sa.insert(tables.opinion).values(incident_id=incident_id, **said)


TOUCHES = (touch_pin, touch_verdict, touch_note, touch_opinion)


@pytest.mark.parametrize("touch", TOUCHES)
def test_what_people_made_theirs_stays(record_store, touch):
    mine = suppressed("mine")
    record_store.keep(mine, ROOM, NIGHT_NS)
    record_store.keep(suppressed("last", 60.0), ROOM, NIGHT_NS)
    with record_store.writing() as connection:
        statement = touch(connection, mine[0].incident_id)
        if statement is not None:
            connection.execute(statement)
    assert retire(record_store, NIGHT_NS + 999 * DAY_NS, Keep(most_age_s=0.0, most_bytes=0)).incidents == 0
    assert mine[0].alert_id in kept(record_store)


def test_what_stays_is_looked_at_without_the_right_to_write(record_store, monkeypatch):
    """Alerts that come meanwhile must not wait until a thousand young incidents were looked at."""
    record_store.keep(suppressed("young"), ROOM, NIGHT_NS + 300 * DAY_NS)
    record_store.keep(suppressed("last", 60.0), ROOM, NIGHT_NS + 300 * DAY_NS)
    monkeypatch.setattr(record_store, "write", lambda _: pytest.fail("there is nothing to write"))
    assert retire(record_store, NIGHT_NS + 301 * DAY_NS, Keep(most_age_s=30 * DAY_S, most_bytes=0)).incidents == 0


def test_what_people_take_in_hand_between_the_looking_and_the_letting_go_stays(record_store, monkeypatch):
    mine = suppressed("mine")
    record_store.keep([*mine, *suppressed("other", 60.0), *suppressed("last", 120.0)], ROOM, NIGHT_NS)
    write = record_store.write

    def pinned_just_before(work):
        with record_store.writing() as connection:
            connection.execute(touch_pin(connection, mine[0].incident_id))
        return write(work)

    monkeypatch.setattr(record_store, "write", pinned_just_before)
    assert retire(record_store, NIGHT_NS + 99 * DAY_NS, MONTH).incidents == 1
    assert mine[0].alert_id in kept(record_store)


@pytest.mark.parametrize("what", ["merge", "split"])
def test_what_people_merged_or_split_stays_on_both_sides(record_store, what):
    """Before the desk has said it, and after; no act is named in the row of the other side."""
    reviews, late_ns = Reviews(record_store), NIGHT_NS + 99 * DAY_NS
    mine, other = (tell(record_store, name, time_s, llr=-9.0, rounds=3) for name, time_s in (("m", 0.0), ("o", 900.0)))
    tell(record_store, "last", 1800.0, llr=-9.0)
    version = reviews.head(mine).version
    if what == "merge":
        decision = reviews.merge(mine, "ann", minutes(90), other, expected_version=version)
    else:
        with record_store.reading() as connection:
            shot = last_said(connection, reviews.head(mine).alert_id).rounds[0].shot_id
        decision = reviews.split(mine, "ann", minutes(90), (shot,), expected_version=version)
    theirs = {alert.alert_id for alert in decision.known}
    assert len(theirs) == (2 if what == "merge" else 1)
    retire(record_store, late_ns, MONTH)
    assert theirs <= kept(record_store)
    theirs |= {alert.alert_id for alert in submit(reviews, decision)}
    assert len(theirs) == 2
    tell(record_store, "later", 2700.0, llr=-9.0)
    retire(record_store, late_ns, MONTH)
    assert theirs <= kept(record_store)


def test_what_somebody_has_in_hand_stays_until_they_let_go(record_store):
    held = suppressed("held")
    record_store.keep([*held, *suppressed("last", 60.0)], ROOM, NIGHT_NS)
    late_ns = NIGHT_NS + 99 * DAY_NS
    Reviews(record_store).claim(held[0].incident_id, "bob", late_ns)
    assert retire(record_store, late_ns, MONTH).incidents == 0
    assert retire(record_store, late_ns + DAY_NS, MONTH).incidents == 1


def test_a_document_that_somebody_altered_stays(record_store):
    record_store.keep([*suppressed("altered"), *suppressed("last", 60.0)], ROOM, NIGHT_NS)
    with record_store.writing() as connection:
        connection.execute(sa.update(tables.alert).values(document=b"{nothing"))
    assert retire(record_store, NIGHT_NS + 99 * DAY_NS, MONTH).incidents == 0


def test_the_young_and_those_asked_twice_are_found_by_indexes_of_few_rows(tmp_path):
    """Not by looking at all: a page of the API must not either, nor sort all to show some."""
    with Store(tmp_path / "record.db") as store, store.reading() as connection:

        def plan(wanted):
            said = wanted.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            rows = connection.exec_driver_sql(f"explain query plan {said}").all()
            return " ".join(row[3] for row in rows)

        row = tables.incident.c
        assert "incident USING INDEX incident_unpublished (published_ns<?)" in plan(retention._may_go(1, 1))
        assert "ix_alert_outcome" not in plan(retention._may_go(1, 1))
        assert "USING INDEX incident_second" in plan(
            sa.select(row.alert_id).where(row.claimed_until_ns > 1, row.wants_second)
        )
        assert "USING INDEX incident_parts" in plan(sa.select(row.incident_id).where(row.merged_into == "i-1"))
        assert "incident_beat (beat=?)" in plan(page_of(ListQuery(beat="12"), published_only=False, documents=False))
        published = plan(page_of(ListQuery(), published_only=True, documents=False))
        assert "SCAN first" in published
        assert "TEMP B-TREE" not in published


def test_what_became_part_of_an_incident_that_stays_stays(record_store):
    whole, (part, *_) = burst("whole"), suppressed("part", 60.0)
    merged = dataclasses.replace(part, merged_into=whole[0].incident_id)
    record_store.keep([*whole, merged], [], NIGHT_NS)
    record_store.keep(suppressed("last", 120.0), [], NIGHT_NS)
    assert retire(record_store, NIGHT_NS + 99 * DAY_NS, MONTH).incidents == 0


def test_by_size_the_oldest_go_until_the_rest_fits(record_store):
    for k in range(60):
        record_store.keep(suppressed(f"n{k:02d}", 60.0 * k), ROOM, NIGHT_NS)
    names = [alert.alert_id for alert in record_store.alerts()]
    sizes = [len(encode(alert)) for alert in record_store.alerts()]
    went = retire(record_store, NIGHT_NS + 2 * DAY_NS, Keep(most_bytes=sum(sizes[-20:])))
    assert went.left_bytes == sum(sizes[-20:])
    assert [alert.alert_id for alert in record_store.alerts()] == names[-20:]
    assert Ledger(record_store).verify().intact
    assert retire(record_store, NIGHT_NS + 2 * DAY_NS, Keep(most_bytes=sum(sizes))).incidents == 0


def test_the_numbers_go_on_after_what_went(record_store):
    record_store.keep(suppressed("a"), ROOM, NIGHT_NS)
    record_store.keep(suppressed("b", 60.0), ROOM, NIGHT_NS)
    retire(record_store, NIGHT_NS + 99 * DAY_NS, MONTH)
    record_store.keep(suppressed("c", 120.0), ROOM, NIGHT_NS)
    numbers = [json.loads(entry.body)["number"] for entry in Ledger(record_store).entries(kinds=["alert"])]
    assert numbers == sorted(set(numbers))
    assert Ledger(record_store).verify().intact


def test_attempts_and_the_access_log_go_by_their_own_age(record_store):
    record_store.keep(burst("a"), ROOM, NIGHT_NS)
    with record_store.writing() as connection:
        boxes = (
            connection.execute(sa.select(tables.outbox.c.outbox_id).order_by(tables.outbox.c.outbox_id)).scalars().all()
        )
        connection.execute(sa.update(tables.outbox).where(tables.outbox.c.outbox_id != boxes[0]).values(state="sent"))
        for box in boxes:
            for day in (0, 5):
                tried = {"number": 1, "at_ns": NIGHT_NS + day * DAY_NS, "delivered": True, "detail": ""}
                connection.execute(sa.insert(tables.attempt), tried | {"outbox_id": box})
        for day in range(4):
            said = {"who": "kim", "role": "analyst", "what": "GET /", "about": "", "status": 200, "address": "::1"}
            connection.execute(sa.insert(tables.access), said | {"at_ns": NIGHT_NS + day * DAY_NS})
    went = retire(record_store, NIGHT_NS + 6 * DAY_NS, Keep(access_age_s=4.5 * DAY_S, attempt_age_s=3 * DAY_S))
    assert (went.attempts, went.access, went.incidents) == (2, 2, 0)  # those of the pending delivery stay


def test_the_file_gets_smaller(tmp_path):
    path = tmp_path / "record.db"
    with Store(path) as store:
        for k in range(300):
            store.keep(suppressed(f"n{k}", 60.0 * k), [], NIGHT_NS)
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = path.stat().st_size
        assert retire(store, NIGHT_NS + 99 * DAY_NS, MONTH).incidents == 299
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert db.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert path.stat().st_size < 0.7 * before


@pytest.mark.parametrize("bad", [{"most_age_s": -1.0}, {"most_bytes": -1}, {"floor_s": float("nan")}])
def test_what_cannot_be_kept_so_is_refused(bad):
    with pytest.raises(ValueError, match="from 0"):
        Keep(**bad)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.sampled_from(["published", "review", "suppressed"]), st.booleans()),
        st.tuples(st.just("touch"), st.integers(0, 20), st.integers(0, len(TOUCHES) - 1)),
        st.tuples(st.just("retire"), st.floats(0.0, 40.0), st.integers(0, 40_000)),
        st.tuples(st.just("wait"), st.floats(0.0, 30.0), st.none()),
    ),
    max_size=25,
)
LLR = {"published": 6.0, "review": 0.0, "suppressed": -9.0}


def check_law(store, script):
    """Nothing that must stay is ever removed, and the ledger verifies, after any sequence of keeps and retirements."""
    must_stay, touched, said, now_ns = set(), set(), [], NIGHT_NS
    for number, (step, one, two) in enumerate(script):
        if step == "keep":
            alerts = burst(f"n{number}", 30.0 * number, llr=LLR[one])
            store.keep(alerts, ALL if two else ROOM, now_ns)
            said.append(alerts)
            if one == "published" or two:
                must_stay |= {alert.message_id for alert in alerts}
        elif step == "touch" and one < len(said):
            incident_id = said[one][0].incident_id
            with store.writing() as connection:
                there = sa.select(tables.incident.c.incident_id).where(tables.incident.c.incident_id == incident_id)
                if connection.execute(there).first() is None:
                    continue
                if TOUCHES[two] is touch_opinion:  # a second time is no other case
                    connection.execute(sa.delete(tables.opinion).where(tables.opinion.c.incident_id == incident_id))
                statement = TOUCHES[two](connection, incident_id)
                if statement is not None:
                    connection.execute(statement)
            must_stay |= {alert.message_id for alert in said[one]}
            touched.add(incident_id)
        elif step == "retire":
            retire(store, now_ns, Keep(most_age_s=one * DAY_S, most_bytes=two))
        elif step == "wait":
            now_ns += int(one * DAY_NS)
        assert must_stay <= {alert.message_id for alert in store.alerts()}
    fault = Ledger(store).verify().fault
    if fault is not None:  # a touch by hand has no entry of its own
        assert fault.what == "row-altered"
        assert any(incident_id in fault.text for incident_id in touched)


@given(steps)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_evidence_is_never_removed_whatever_is_asked(tmp_path_factory, script):
    with Store(tmp_path_factory.mktemp("r") / "record.db") as store:
        check_law(store, script)


@given(steps)
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nor_on_a_server(postgres_server, script):
    with postgres_server.database() as url, Store(url) as store:
        check_law(store, script)


@pytest.mark.endurance
@given(steps)
@settings(max_examples=1_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_evidence_is_never_removed_at_length(tmp_path_factory, script):
    with Store(tmp_path_factory.mktemp("r") / "record.db") as store:
        check_law(store, script)
