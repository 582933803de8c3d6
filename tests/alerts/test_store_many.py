"""Many at once: what is kept and settled together is what it would be one by one, in as few statements as a few need."""

from __future__ import annotations

import contextlib
import dataclasses
import random

import pytest
import sqlalchemy as sa

from alerts.delivery import SCHEDULE_S, Receipt, Route
from alerts.record import tables
from alerts.record.ledger import Ledger
from alerts.record.outbox import Outbox
from alerts.record.store import ContradictionError, Store
from tests.record_stores import burst
from tests.strategies import NIGHT_NS

ROUTES = [Route("room"), Route("other")]
WON = Receipt(delivered=True, detail="answered 204", status_code=204)
LOST = Receipt(delivered=False, detail="answered 500", status_code=500)
BURSTS = [burst(f"n{k}", 30.0 * k) for k in range(40)]


@contextlib.contextmanager
def asked_of(store):
    """The statements that go to the database meanwhile."""
    asked = []

    def note(_, __, statement, *___):
        asked.append(statement)

    sa.event.listen(store._database.engine, "before_cursor_execute", note)
    yield asked
    sa.event.remove(store._database.engine, "before_cursor_execute", note)


def rows(store):
    with store.reading() as connection:
        tables_written = (tables.alert, tables.incident, tables.outbox, tables.attempt, tables.ledger)
        return [sorted(tuple(row) for row in connection.execute(sa.select(table))) for table in tables_written]


def in_parts(things, rng):
    while things:
        size = rng.randint(1, 12)
        yield things[:size]
        things = things[size:]


def test_together_is_row_for_row_what_it_would_be_one_by_one(record_store, tmp_path):
    """Revisions out of order, the same again, what is not there, deaths; one by one it is done on SQLite."""
    rng = random.Random(5)  # noqa: S311
    said = [alert for number in range(12) for alert in BURSTS[number]]
    said = rng.sample([*said, *said], 2 * len(said))
    with Store(tmp_path / "one-by-one.db") as single:
        kept = sum(single.keep([alert], ROUTES, NIGHT_NS) for alert in said)
        assert sum(record_store.keep(part, ROUTES, NIGHT_NS) for part in in_parts(said, rng)) == kept == 36
        assert rows(record_store) == rows(single)

        outboxes = Outbox(record_store), Outbox(single)
        due = outboxes[0].due("room", NIGHT_NS) + outboxes[0].due("other", NIGHT_NS)
        lost = dataclasses.replace(due[0], alert_id="another")
        settled = [(rng.choice(due[3:]), rng.choice([WON, LOST, LOST]), NIGHT_NS + k) for k in range(60)]
        settled += [(one, LOST, NIGHT_NS) for one in due[:3] for _ in SCHEDULE_S] + 3 * [(lost, WON, NIGHT_NS)]
        rng.shuffle(settled)
        together = [state for part in in_parts(settled, rng) for state in outboxes[0].settle_many(part)]
        assert together == [outboxes[1].settle(*one) for one in settled]
        assert set(together) == {"pending", "sent", "dead", "unknown"}
        assert rows(record_store) == rows(single)
    assert Ledger(record_store).verify().intact


def test_however_many_they_are_the_statements_are_a_few(record_store):
    """To a server each is a journey: in a storm they, and not the disk, were what the outbox fell behind by."""
    outbox, asked_for = Outbox(record_store), []
    for some in (BURSTS[:10], BURSTS[10:40]):
        with asked_of(record_store) as asked:
            record_store.keep([alert for said in some for alert in said], ROUTES[:1], NIGHT_NS)
        due = outbox.due("room", NIGHT_NS)
        with asked_of(record_store) as settling:
            outbox.settle_many([(one, WON, NIGHT_NS) for one in due])
        assert len(due) >= len(some)
        asked_for.append((len(asked), len(settling)))
    assert asked_for[0] == asked_for[1]
    assert max(asked_for[0]) <= 12


def test_what_contradicts_keeps_back_all_that_came_with_it(record_store):
    first, second, _ = BURSTS[0]
    other = dataclasses.replace(first, reason="fireworks")
    with pytest.raises(ContradictionError, match="says something else"):
        record_store.keep([first, second, other], ROUTES, NIGHT_NS)
    assert not any(rows(record_store))
    assert record_store.keep([first, second, first], ROUTES, NIGHT_NS) == 2
    with pytest.raises(ContradictionError):
        record_store.keep([BURSTS[1][0], other], ROUTES, NIGHT_NS)
    assert record_store.counts() == {first.outcome: 2}


def test_what_is_due_is_found_along_the_index(record_store):
    """Not by sorting all that waits, of which there is much just when there is no time for it."""
    record_store.keep([alert for said in BURSTS for alert in said], ROUTES, NIGHT_NS)
    outbox, plans, looks = Outbox(record_store), [], []
    outbox.due("room", NIGHT_NS)  # which looks at the clock first
    lite = record_store.path is not None

    def explain(_, __, statement, parameters, *___):
        if "outbox" in statement:
            looks.append((("EXPLAIN QUERY PLAN " if lite else "EXPLAIN ") + statement, parameters))
        return statement, parameters

    engine = record_store._database.engine
    sa.event.listen(engine, "before_cursor_execute", explain, retval=True)
    for words in ("all", "first", "urgent"):
        outbox.due("room", NIGHT_NS, 3, words=words, besides={"another"})
        outbox.next_attempt_ns("room", words=words)
    sa.event.remove(engine, "before_cursor_execute", explain)
    with record_store.reading() as connection:
        for statement, parameters in looks:
            plans.append("\n".join(str(row) for row in connection.exec_driver_sql(statement, parameters)))
    assert len(plans) == 6
    for plan in plans:
        assert "outbox_due" in plan
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_a_server_keeps_the_statements_that_it_has_prepared(postgres_url):
    """A look that ends by a rollback has the driver throw them away, at the price of a journey, and plan them anew."""
    with Store(postgres_url) as store:
        outbox = Outbox(store)
        for _ in range(10):
            outbox.due("room", NIGHT_NS)
        with store.reading() as connection:
            prepared = connection.exec_driver_sql("select count(*) from pg_prepared_statements").scalar_one()
    assert prepared > 0
