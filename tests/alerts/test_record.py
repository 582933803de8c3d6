"""What a record promises, on SQLite and on PostgreSQL: nothing half-kept, nothing lost, nothing out of order."""

from __future__ import annotations

import dataclasses
import json
import threading

import pytest
import sqlalchemy as sa

from acoustic.instant import SECOND, after, parse_instant
from alerts.alert import Review, encode
from alerts.delivery import Route
from alerts.desk import Desk
from alerts.record import guards, tables
from alerts.record.ledger import Ledger
from alerts.record.store import ContradictionError, Store, StoreError
from tests.record_stores import burst
from tests.strategies import NIGHT_NS, fix_at

ROOM = [Route("room")]


def rows(store, table, *order):
    with store.reading() as connection:
        return connection.execute(sa.select(table).order_by(*order)).all()


# Keeping


def test_what_is_kept_comes_back_byte_for_byte(record_store):
    said = burst()
    assert record_store.keep(said, ROOM, NIGHT_NS) == 3
    assert [record_store.document(a.alert_id, a.revision) for a in said] == [encode(a) for a in said]
    assert list(record_store.alerts()) == said
    assert record_store.counts() == {"published": 3}
    assert record_store.document("nobody", 1) is None


def test_many_come_back_in_the_order_they_were_kept(record_store):
    said = [alert for k in range(45) for alert in burst(f"n{k}")]
    record_store.keep(said, ROOM, NIGHT_NS)
    assert list(record_store.alerts()) == said
    assert [row.number for row in rows(record_store, tables.alert, tables.alert.c.number)] == list(range(1, 136))


def test_keeping_again_changes_nothing_and_queues_nothing(record_store):
    said = burst()
    record_store.keep(said, ROOM, NIGHT_NS)
    before = [rows(record_store, table) for table in (tables.outbox, tables.incident, tables.ledger)]
    assert record_store.keep(said, [Route("room"), Route("other")], NIGHT_NS + SECOND) == 0
    assert [rows(record_store, table) for table in (tables.outbox, tables.incident, tables.ledger)] == before
    assert record_store.keep([], ROOM, NIGHT_NS) == 0


def test_another_alert_of_the_same_name_is_refused_and_nothing_of_its_batch_is_kept(record_store):
    first, *rest = burst()
    record_store.keep([first], ROOM, NIGHT_NS)
    forged = dataclasses.replace(first, detected_at="2026-11-21T00:00:00.000000Z")
    with pytest.raises(ContradictionError, match="says something else"):
        record_store.keep([*rest, forged], ROOM, NIGHT_NS)
    assert list(record_store.alerts()) == [first]
    assert len(rows(record_store, tables.outbox)) == len(rows(record_store, tables.ledger)) == 1


@pytest.mark.parametrize("broken", ["outbox", "incident", "ledger"])
def test_an_alert_and_all_that_goes_with_it_are_kept_together_or_not_at_all(record_store, broken):
    """Another table's insert is made to fail: the alert's row must go with it."""
    with record_store.writing() as connection:
        if record_store.path is not None:
            no = f"create trigger no before insert on {broken} begin select raise(abort, 'no, not this'); end"
        else:
            connection.exec_driver_sql(
                "create function no() returns trigger language plpgsql as $$ begin raise 'no, not this'; end $$"
            )
            no = f"create trigger no before insert on {broken} for each row execute function no()"
        connection.exec_driver_sql(no)
    with pytest.raises(StoreError, match="no, not this"):
        record_store.keep(burst(), ROOM, NIGHT_NS)
    for table in (tables.alert, tables.outbox, tables.incident, tables.ledger):
        assert rows(record_store, table) == []


def test_review_and_suppressed_are_stored_and_not_sent(record_store):
    desk = Desk()
    said = [
        *desk.receive(fix_at("a", llr=0.0)),
        *desk.receive(fix_at("b", 60.0, llr=-9.0)),
        *desk.tick(after(NIGHT_NS, 600.0)),
    ]
    record_store.keep(said, ROOM, NIGHT_NS)
    assert record_store.counts() == {"review": 2, "suppressed": 1}
    assert rows(record_store, tables.outbox) == []


def test_the_row_of_an_incident_says_what_its_last_revision_says(record_store):
    said = burst()
    for number, alert in enumerate(said, start=1):
        record_store.keep([alert], ROOM, NIGHT_NS)
        (row,) = rows(record_store, tables.incident)
        assert (row.revision, row.version, row.changed_by) == (alert.revision, number, "machine")
    assert (row.incident_id, row.alert_id, row.status) == (alert.incident_id, alert.alert_id, alert.status)
    assert (row.latitude, row.longitude, row.rounds) == (alert.place.latitude, alert.place.longitude, 2)
    assert row.first_ns == parse_instant(alert.discharge_time.first)
    assert row.published is True
    assert (row.verdict, row.pinned, row.wants_second) == (None, False, False)


def test_an_act_is_applied_once_a_revision_names_it(record_store):
    first, second, third = burst()
    record_store.keep([first], ROOM, NIGHT_NS)
    act = {"alert_id": first.alert_id, "at_ns": NIGHT_NS, "by": "kim", "body": b"{}", "applied": False, "sequence": 1}
    with record_store.writing() as connection:
        connection.execute(sa.insert(tables.act), [act | {"act_id": name} for name in ("h1", "h2")])
    at = first.published_at
    review = Review("fireworks", "kim", at, "", "published", None, ("h1",))
    record_store.keep([dataclasses.replace(second, review=review, outcome="suppressed")], ROOM, NIGHT_NS)
    (row,) = rows(record_store, tables.incident)
    assert (row.changed_by, row.outcome, row.machine_outcome, row.published) == ("kim", "suppressed", "published", True)
    assert [(a.act_id, a.applied) for a in rows(record_store, tables.act, tables.act.c.act_id)] == [
        ("h1", True),
        ("h2", False),
    ]
    record_store.keep([dataclasses.replace(third, review=review)], ROOM, NIGHT_NS)
    assert rows(record_store, tables.incident)[0].changed_by == "machine"


def test_each_revision_has_its_entry_in_the_ledger(record_store):
    said = burst()
    record_store.keep(said, ROOM, NIGHT_NS)
    entries = list(Ledger(record_store).entries())
    assert [entry.sequence for entry in entries] == [1, 2, 3]
    assert {(e.kind, e.actor, e.about, e.at_ns) for e in entries} == {
        ("alert", "machine", said[0].incident_id, NIGHT_NS)
    }
    assert [json.loads(entry.body)["revision"] for entry in entries] == [1, 2, 3]


def test_an_altered_document_is_noticed_and_named(record_store):
    first, *rest = burst()
    record_store.keep([first, *rest], ROOM, NIGHT_NS)
    with record_store.writing() as connection:
        altered = encode(first).replace(b"gunshot", b"gunshop")
        changed = sa.update(tables.alert).where(tables.alert.c.revision == 1).values(document=altered)
        connection.execute(changed)
    with pytest.raises(StoreError, match=f"{first.alert_id} revision 1 was altered; restore it"):
        record_store.document(first.alert_id, 1)
    with pytest.raises(StoreError, match="revision 1 was altered"):
        list(record_store.alerts())


def test_a_record_opens_again(record_where):
    said = burst()
    with Store(record_where) as store:
        store.keep(said, ROOM, NIGHT_NS)
    with Store(record_where) as store:
        assert list(store.alerts()) == said
        assert store.keep(burst("b"), ROOM, NIGHT_NS) == 3
        assert [entry.sequence for entry in Ledger(store).entries()] == [1, 2, 3, 4, 5, 6]


# Whose it is


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("update meta set value = '3' where key = 'schema'", "written by a newer program.*update shotfix"),
        ("update meta set value = '0' where key = 'schema'", "incomplete"),
        ("update meta set value = 'two' where key = 'schema'", "incomplete"),
        ("drop table attempt", "incomplete"),
        ("delete from meta", "another program"),
    ],
)
def test_a_newer_or_incomplete_record_is_refused_with_the_remedy(record_where, change, remedy):
    with Store(record_where) as store, store.writing() as connection:
        connection.exec_driver_sql(change)
    with pytest.raises(StoreError, match=remedy):
        Store(record_where)


# One state, one writer


def test_what_is_read_is_one_state_and_holds_up_nobody(record_store):
    first, *rest = burst()
    record_store.keep([first], ROOM, NIGHT_NS)
    count = sa.select(sa.func.count()).select_from(tables.alert)
    with record_store.reading() as connection:
        assert connection.execute(count).scalar_one() == 1
        record_store.keep(rest, ROOM, NIGHT_NS)
        assert connection.execute(count).scalar_one() == 1
    with record_store.reading() as connection:
        assert connection.execute(count).scalar_one() == 3


def test_a_reader_cannot_write(postgres_url):
    with Store(postgres_url) as store, pytest.raises(StoreError, match="read-only"), store.reading() as connection:
        connection.execute(sa.delete(tables.meta))


def test_what_raises_in_a_transaction_undoes_it(record_store):
    def fail(connection):
        connection.execute(sa.insert(tables.meta), {"key": "a", "value": "b"})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), record_store.writing() as connection:
        fail(connection)
    assert {row.key for row in rows(record_store, tables.meta)} == {"application", "schema"}


def test_who_writes_already_is_told_to_use_the_connection_it_has(record_store):
    with record_store.writing(), pytest.raises(RuntimeError, match="the connection it has"):
        record_store.keep(burst(), ROOM, NIGHT_NS)
    assert record_store.keep(burst(), ROOM, NIGHT_NS) == 3


def test_a_change_wakes_who_awaits_it(record_store):
    seen = record_store.changes
    assert record_store.await_change(seen, 0.01) == seen
    woken = []
    thread = threading.Thread(target=lambda: woken.append(record_store.await_change(seen, 60.0)))
    thread.start()
    record_store.keep(burst(), ROOM, NIGHT_NS)
    thread.join(30.0)
    assert woken == [seen + 1]
    assert record_store.await_change(seen, 60.0) == seen + 1


def test_two_processes_number_without_a_gap(record_where):
    """Two stores of one record, each with its own connections, as two processes have them."""
    with Store(record_where) as one, Store(record_where) as other:
        threads = [
            threading.Thread(
                target=lambda s=store, n=name: [s.keep(burst(f"{n}{k}"), ROOM, NIGHT_NS) for k in range(8)]
            )
            for store, name in ((one, "x"), (other, "y"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [row.number for row in rows(one, tables.alert, tables.alert.c.number)] == list(range(1, 49))
        assert Ledger(one).verify().entries == 48
        assert Ledger(one).verify().intact


# Guards


@pytest.mark.parametrize(
    "statement",
    [
        "update ledger set actor = 'nobody'",
        "delete from ledger",
        "delete from access",
        "update access set who = 'nobody'",
        pytest.param("truncate ledger", id="truncate"),
        pytest.param("truncate access", id="truncate-access"),
    ],
)
def test_the_database_refuses_to_change_the_ledger_and_the_access_log(record_store, statement):
    if statement.startswith("truncate") and record_store.path is not None:
        statement = statement.replace("truncate", "delete from")
    record_store.keep(burst(), ROOM, NIGHT_NS)
    with record_store.writing() as connection:
        look(connection, NIGHT_NS)
        assert guards.missing_guards(connection) == ()
    with (
        pytest.raises(StoreError, match="only ever added to; what is written there stays"),
        record_store.writing() as connection,
    ):
        connection.exec_driver_sql(statement)
    assert Ledger(record_store).verify().intact
    assert len(rows(record_store, tables.access)) == 1


def look(connection, at_ns):
    said = {"who": "kim", "role": "analyst", "what": "GET /", "about": "", "status": 200, "address": "::1"}
    connection.execute(sa.insert(tables.access), said | {"at_ns": at_ns})


def test_old_rows_of_the_access_log_go_by_the_documented_way_only(record_store):
    with record_store.writing() as connection:
        for k in range(5):
            look(connection, NIGHT_NS + k)
        assert guards.let_access_go(connection, NIGHT_NS + 3) == 3
    assert [row.at_ns - NIGHT_NS for row in rows(record_store, tables.access)] == [3, 4]
    with pytest.raises(StoreError, match="only ever added to"), record_store.writing() as connection:
        connection.execute(sa.delete(tables.access))


def test_a_guard_that_was_taken_away_is_named(record_store):
    with record_store.writing() as connection:
        name = guards.missing_guards(connection) or "ledger_stays" + ("_update" if record_store.path else "")
        connection.exec_driver_sql(f"drop trigger {name}" + ("" if record_store.path else " on ledger"))
        assert guards.missing_guards(connection) == (name,)
