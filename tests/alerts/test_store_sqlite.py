"""A record in a file: in write-ahead mode, and what is no record is left alone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
import sqlalchemy as sa

from alerts.delivery import Route
from alerts.record import tables
from alerts.record.backup import copy_file
from alerts.record.guards import missing_guards
from alerts.record.store import Store, StoreError
from tests.record_stores import burst
from tests.strategies import NIGHT_NS

ROOM = [Route("room")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.db"


def test_the_file_is_in_write_ahead_mode_with_full_synchronisation(path):
    with Store(path) as store:
        assert list(store.alerts()) == []
        with store.writing() as connection:
            values = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum")
            ]
    assert values == ["wal", 2, 1, 2]


def test_nobody_else_may_read_it_nor_what_lies_beside_it(path):
    before = os.umask(0o022)
    try:
        with Store(path) as store:
            store.keep(burst("a"), [], NIGHT_NS)
            modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {path.name + suffix: 0o600 for suffix in ("", "-wal", "-shm")}


@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_record_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"name another record|restore it"):
        Store(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table theirs (x)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["record.db"]


def test_another_programs_database_in_use_is_left_alone_with_its_log(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as theirs:
        theirs.execute("PRAGMA journal_mode=WAL")
        theirs.execute("create table theirs (x)")
        before = {name: path.with_name(name).read_bytes() for name in ("record.db", "record.db-wal")}
        with pytest.raises(StoreError, match="another program"):
            Store(path)
        assert {name: path.with_name(name).read_bytes() for name in before} == before


def test_no_folder_no_permission_and_a_damaged_page_have_their_words(path):
    with pytest.raises(StoreError, match="no such folder"):
        Store(path.parent / "nowhere" / "x.db")
    with pytest.raises(StoreError, match="check the path"):
        Store(path.parent)
    with Store(path) as store:
        for k in range(20):
            store.keep(burst(f"n{k}"), ROOM, NIGHT_NS)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\x55" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="restore it from a backup"), Store(path) as store:
        list(store.alerts())


def test_text_where_bytes_belong_is_an_altered_document(path):
    (first, *_) = burst()
    with Store(path) as store:
        store.keep([first], ROOM, NIGHT_NS)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("update alert set document = cast(document as text)")
            connection.commit()
        with pytest.raises(StoreError, match="altered"):
            store.document(first.alert_id, 1)


def test_who_finds_it_held_by_another_program_waits_and_is_told(path, monkeypatch):
    monkeypatch.setattr("alerts.record.sqlite_file.BUSY_TIMEOUT_MS", 50)
    with Store(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program holds it"):
            store.keep(burst(), ROOM, NIGHT_NS)
        with store.reading(), store.reading():  # one at least begins only now
            assert list(store.alerts()) == []  # readers are held up by nobody
        other.execute("ROLLBACK")
        assert store.keep(burst(), ROOM, NIGHT_NS) == 3


def test_a_full_disk_keeps_nothing_by_half_and_all_that_was_there(path):
    """The database is forbidden to grow: SQLite says so as it does on a full disk."""
    with Store(path) as store:
        store.keep(burst("a"), ROOM, NIGHT_NS)

        @sa.event.listens_for(store._database.engine, "begin")
        def small(connection):
            connection.exec_driver_sql("PRAGMA max_page_count=1")  # the size it has: SQLite goes no lower

        kept = ["a"]
        for k in range(200):
            try:
                store.keep(burst(f"n{k}"), ROOM, NIGHT_NS)
            except StoreError as error:
                assert "make room" in str(error)  # noqa: PT017
                break
            kept.append(f"n{k}")
        else:
            pytest.fail("the disk was never full")
        sa.event.remove(store._database.engine, "begin", small)
        assert len(list(store.alerts())) == 3 * len(kept)
    with Store(path) as store:
        assert len(list(store.alerts())) == 3 * len(kept)
        store.keep(burst("later"), ROOM, NIGHT_NS)


def test_all_threads_get_a_connection_in_a_rush(path):
    with Store(path) as store:
        store.keep(burst(), ROOM, NIGHT_NS)
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(len(list(store.alerts())))) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [3] * 40


def test_who_holds_every_connection_is_told_of_it(path, monkeypatch):
    monkeypatch.setattr("alerts.record.sqlite_file.POOL", {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.05})
    with Store(path) as store, store.reading() as connection:
        connection.execute(sa.select(tables.meta)).all()
        with pytest.raises(StoreError, match="all connections are in use"):
            store.counts()


def test_no_other_driver_is_loaded_for_a_file(path, root):
    script = (
        "import sys; from alerts.record.store import Store; Store(sys.argv[1]).close(); print('psycopg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_guards_that_are_missing_are_put_back_at_the_start(path, caplog):
    with Store(path) as store, store.writing() as connection:
        connection.exec_driver_sql("drop trigger ledger_stays_delete")
    with Store(path) as store, store.reading() as connection:
        assert missing_guards(connection) == ()
    assert "put guards back that were missing: ledger_stays_delete" in caplog.text


def remove(path):
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def replace(path):
    with Store(path.with_name("other.db")):
        pass
    path.with_name("other.db").replace(path)


@pytest.mark.parametrize("harm", [remove, replace])
def test_a_file_that_is_moved_or_replaced_under_the_program_is_refused_and_not_made_anew(path, harm):
    with Store(path) as store:
        store.keep(burst(), ROOM, NIGHT_NS)
        held = store.reading()  # so that the next needs a connection of its own
        with held:
            harm(path)
            there = path.exists()
            with pytest.raises(StoreError, match="moved or replaced under the program: stop the program"):
                store.keep(burst("b", 60.0), ROOM, NIGHT_NS)
            with pytest.raises(StoreError, match="moved or replaced"), store.reading() as connection:
                connection.execute(sa.select(tables.meta))
        assert path.exists() is there


def test_no_copy_is_made_into_a_folder_that_is_not_there(path):
    with Store(path):
        pass
    with pytest.raises(StoreError, match="nowhere: no such folder; make it first"):
        copy_file(path, path.parent / "nowhere" / "x")
