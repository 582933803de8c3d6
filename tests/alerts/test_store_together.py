"""Writing together: works of many threads share commits, and never each other's failures."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
import sqlalchemy as sa

from alerts.delivery import Route
from alerts.record import tables
from alerts.record.ledger import Ledger
from alerts.record.store import Store, StoreError
from alerts.record.writing import MOST_TOGETHER
from tests.record_stores import burst
from tests.strategies import NIGHT_NS

THREADS, EACH = 16, 25


def at_once(count, do):
    """Run ``do(k)`` in so many threads, which begin together; what each returned or raised."""
    results, gate = [None] * count, threading.Barrier(count)

    def run(k):
        gate.wait()
        try:
            results[k] = do(k)
        except BaseException as error:  # noqa: BLE001
            results[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120.0)
    assert not any(thread.is_alive() for thread in threads)
    return results


def note(store, name):
    return store.write(lambda c: c.execute(sa.insert(tables.meta), {"key": name, "value": ""}) and name)


def noted(store):
    with store.reading() as connection:
        return set(connection.execute(sa.select(tables.meta.c.key)).scalars()) - {"application", "schema"}


def test_many_threads_need_far_fewer_commits_than_works(record_store, record_property):
    """Beside one transaction for each work, by the same threads: how many commits, and how long."""
    before = record_store.changes
    begin = time.perf_counter()
    at_once(THREADS, lambda k: [note(record_store, f"{k}-{n}") for n in range(EACH)])
    together_s = time.perf_counter() - begin
    commits = record_store.changes - before
    works = THREADS * EACH
    assert len(noted(record_store)) == works

    def alone(k):
        for n in range(EACH):
            with record_store.writing() as connection:
                connection.execute(sa.insert(tables.meta), {"key": f"alone-{k}-{n}", "value": ""})

    begin = time.perf_counter()
    at_once(THREADS, alone)
    alone_s = time.perf_counter() - begin
    record_property("works_per_commit", works / commits)
    record_property("times_faster", alone_s / together_s)
    print(f"{works / commits:.1f} works per commit, {alone_s / together_s:.1f} times as fast as one commit each")
    assert commits <= works / 4


def test_a_work_that_raises_is_taken_back_alone(record_store):
    def do(k):
        def work(connection):
            connection.execute(sa.insert(tables.meta), {"key": f"k{k}", "value": ""})
            if k % 3 == 0:
                raise ZeroDivisionError(k)
            if k % 3 == 1:
                both = [{"key": f"more{k}", "value": ""}, {"key": "application", "value": ""}]  # this is there already
                connection.execute(sa.insert(tables.meta), both)
            return k

        return record_store.write(work)

    results = at_once(24, do)
    assert noted(record_store) == {f"k{k}" for k in range(24) if k % 3 == 2}
    for k, result in enumerate(results):
        if k % 3 == 2:
            assert result == k
        elif k % 3 == 0:
            assert isinstance(result, ZeroDivisionError)
            assert result.args == (k,)
        else:
            assert isinstance(result, StoreError)


def test_a_commit_that_fails_fails_all_of_them(record_store, monkeypatch):
    """Held up by one that writes alone, the rest come together; their commit is made to fail."""
    database = record_store._database
    go, fails = threading.Event(), []

    def refuse(connection):
        if fails:
            raise sa.exc.OperationalError("COMMIT", {}, Exception("database or disk is full"))

    sa.event.listen(database.engine, "commit", refuse)
    results = []

    def hold():
        with record_store.writing():
            go.wait(60.0)

    holder = threading.Thread(target=hold)
    holder.start()
    helpers = [threading.Thread(target=lambda k=k: results.append(attempt(record_store, k))) for k in range(8)]
    for helper in helpers:
        helper.start()
    while len(record_store._writer._waiting) < 8:
        time.sleep(0.005)
    sa.event.remove(database.engine, "commit", refuse)
    before = record_store.changes
    go.set()
    holder.join(60.0)
    for helper in helpers:
        helper.join(60.0)
    assert results == [None] * 8
    assert record_store.changes - before == 2  # the holder's, and one for all eight

    sa.event.listen(database.engine, "commit", refuse)
    fails.append(True)
    errors = at_once(8, lambda k: note(record_store, f"fails{k}"))
    assert all(isinstance(error, StoreError) and "full" in str(error) for error in errors)
    assert len({id(error) for error in errors}) == 8
    fails.clear()
    assert noted(record_store) == {f"held{k}" for k in range(8)}
    note(record_store, "well again")


def attempt(store, k):
    return None if note(store, f"held{k}") else "?"


def test_more_than_fit_together_are_all_done(tmp_path):
    with Store(tmp_path / "record.db") as store:
        writer = store._writer
        count = 40
        before, store._writer.most = store.changes, 7
        at_once(count, lambda k: note(store, f"k{k}"))
        assert len(noted(store)) == count
        assert store.changes - before >= count / 7
        assert not writer._waiting


def test_alerts_kept_at_once_are_numbered_without_a_gap(record_store):
    bursts = [burst(f"n{k}", 30.0 * k) for k in range(12)]
    assert at_once(12, lambda k: record_store.keep(bursts[k], [Route("room")], NIGHT_NS)) == [3] * 12
    with record_store.reading() as connection:
        numbers = connection.execute(sa.select(tables.alert.c.number).order_by(tables.alert.c.number)).scalars().all()
    assert numbers == list(range(1, 37))
    assert Ledger(record_store).verify().intact
    for alerts in bursts:  # each burst in its own order
        mine = [a.revision for a in record_store.alerts() if a.alert_id == alerts[0].alert_id]
        assert mine == [1, 2, 3]


def test_an_interrupt_in_the_one_who_writes_is_told_to_all_and_keeps_nothing(tmp_path):
    with Store(tmp_path / "record.db") as store:
        started, go = threading.Event(), threading.Event()

        def interrupted(connection):
            connection.execute(sa.insert(tables.meta), {"key": "half", "value": ""})
            raise KeyboardInterrupt

        def hold():
            with store.writing():
                started.set()
                go.wait(60.0)

        holder = threading.Thread(target=hold)
        holder.start()
        started.wait(60.0)
        results = []

        def run(work):
            try:
                results.append(store.write(work))
            except BaseException as error:  # noqa: BLE001
                results.append(error)

        threads = [threading.Thread(target=run, args=(interrupted,))]
        threads += [threading.Thread(target=run, args=(lambda c: "done",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(store._writer._waiting) < 5:
            time.sleep(0.005)
        go.set()
        for thread in (holder, *threads):
            thread.join(60.0)
        # Whoever led them gets the interrupt; the others are told that nothing was written.
        assert sum(isinstance(result, KeyboardInterrupt) for result in results) >= 1
        assert all(isinstance(result, KeyboardInterrupt | StoreError) for result in results)
        assert noted(store) == set()
        assert note(store, "well again") == "well again"


def test_a_transaction_that_the_database_gave_up_is_not_half_committed(record_store):
    """As a full disk makes SQLite do by itself: whoever swallows that error must not have the rest committed."""

    def swallow(connection):
        connection.execute(sa.insert(tables.meta), {"key": "first", "value": ""})
        if record_store.path is not None:
            connection.connection.driver_connection.rollback()
            connection.execute(sa.select(1))
        else:  # a server gives up at the first error
            with contextlib.suppress(sa.exc.DBAPIError):
                connection.exec_driver_sql("select * from nothing")

    with pytest.raises(StoreError, match="given up half-way"):
        record_store.write(swallow)
    assert noted(record_store) == set()


def test_so_many_go_together_at_most():
    assert 50 <= MOST_TOGETHER <= 1_000
