"""A record on a server: what only a server does, and what it must never tell."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import traceback

import pytest
import sqlalchemy as sa

from alerts.delivery import Route
from alerts.record import postgres, server_copy, tables
from alerts.record.audit import audit
from alerts.record.database import UnreachableError
from alerts.record.guards import missing_guards
from alerts.record.opening import open_database
from alerts.record.patience import PatientConnection
from alerts.record.server_copy import dump_server
from alerts.record.store import Store, StoreError
from tests.record_stores import burst, running_postgres
from tests.strategies import NIGHT_NS

ROOM = [Route("room")]
PASSWORD = "hunter2hunter2"  # noqa: S105


def run(postgres_server, url, *statements):
    postgres_server.run(*statements, database=sa.make_url(url).database)


def test_a_commit_is_on_the_servers_disk_and_nothing_waits_for_ever(postgres_url):
    with Store(postgres_url) as store, store.writing() as connection:
        for name, value in (
            ("synchronous_commit", "on"),
            ("lock_timeout", "10s"),
            ("statement_timeout", "1min"),
            ("idle_in_transaction_session_timeout", "2min"),
            ("plan_cache_mode", "force_custom_plan"),
            ("application_name", "shotfix"),
        ):
            assert connection.exec_driver_sql(f"show {name}").scalar_one() == value


@pytest.mark.parametrize(
    ("where", "remedy"),
    [
        (f"postgresql://kim:{PASSWORD}@127.0.0.1:1/record", "check that the server runs"),
        (f"postgresql://kim:{PASSWORD}@no-such-host.invalid/record", "check that the server runs"),
        (f"postgresql://kim:{PASSWORD}@127.0.0.1:port/record", "write it as postgresql://"),
        (f"postgresql://kim@127.0.0.1:1/record?password={PASSWORD}", "check that the server runs"),
        (f"postgres://kim:{PASSWORD}@[::1]:1/record", "check that the server runs"),
    ],
)
def test_the_password_is_in_no_text_whatever_fails(where, remedy, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError, match=remedy) as caught:
        Store(where)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in caplog.text
    assert "\n" not in str(caught.value)


def test_a_name_is_shown_without_password_and_without_what_follows():
    database = open_database(
        f"postgresql://kim:{PASSWORD}@db.example.org:5433/record?sslmode=require&password={PASSWORD}"
    )
    assert database.name == "postgresql://kim@db.example.org:5433/record"
    assert PASSWORD not in repr(database)
    database.close()


def test_nothing_of_an_alert_is_in_an_errors_text(postgres_url, postgres_server):
    """The server's own detail would hold the row that it refused."""
    with Store(postgres_url) as store:
        run(
            postgres_server, postgres_url, "alter table alert add constraint no check (length(document) < 10) not valid"
        )
        with pytest.raises(StoreError) as caught:
            store.keep(burst(), ROOM, NIGHT_NS)
    text = "".join(traceback.format_exception(caught.value.__cause__.__class__, caught.value, None))
    assert "gunshot" not in str(caught.value)
    assert burst()[0].alert_id not in str(caught.value)
    assert "violates check constraint" in text


def test_another_programs_database_is_refused_and_left_alone(postgres_url, postgres_server):
    run(postgres_server, postgres_url, "create table theirs (x int)")
    with pytest.raises(StoreError, match="another program's database"):
        Store(postgres_url)
    database = open_database(postgres_url)
    with database.reading() as connection:
        assert sa.inspect(connection).get_table_names() == ["theirs"]
    database.close()


def test_a_database_user_or_role_that_is_not_there_has_its_remedy(postgres_url, postgres_server):
    url = sa.make_url(postgres_url)
    for other, remedy in (
        (url.set(database="nowhere"), "make the database first"),
        (url.set(username="nobody"), "make the database first|check the user"),
    ):
        with pytest.raises(StoreError, match=remedy):
            Store(other.render_as_string(hide_password=False))
    run(postgres_server, postgres_url, "create role weak login", "grant usage on schema public to weak")
    weak = url.set(username="weak").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="give the record's user the right"):
        Store(weak)
    with Store(postgres_url):
        pass
    with pytest.raises(StoreError, match="give the record's user the right"):
        Store(weak)
    run(postgres_server, postgres_url, "drop owned by weak", "drop role weak")


def test_a_standby_is_told_apart(postgres_url, postgres_server):
    setting = f"alter database {sa.make_url(postgres_url).database} %s default_transaction_read_only"
    postgres_server.run(f"{setting % 'set'} = on")
    try:
        with pytest.raises(StoreError, match="name the one that writes"):
            Store(postgres_url)
    finally:
        postgres_server.run(setting % "reset")


def test_who_finds_the_right_to_write_held_waits_and_is_told(postgres_url, monkeypatch):
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT_MS", 100)
    other = sa.create_engine(sa.make_url(postgres_url).set(drivername="postgresql+psycopg"))
    with Store(postgres_url) as store, other.connect() as holder:
        holder.exec_driver_sql(f"select pg_advisory_lock({postgres.WRITE_RIGHT})")
        with pytest.raises(StoreError, match="another program holds the right to write"):
            store.keep(burst(), ROOM, NIGHT_NS)
        assert list(store.alerts()) == []  # readers are held up by nobody
        holder.exec_driver_sql(f"select pg_advisory_unlock({postgres.WRITE_RIGHT})")
        assert store.keep(burst(), ROOM, NIGHT_NS) == 3
    other.dispose()


def test_a_statement_that_takes_too_long_is_ended(postgres_url, monkeypatch):
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_MS", 50)
    with (
        Store(postgres_url) as store,
        pytest.raises(StoreError, match="look at its load"),
        store.reading() as connection,
    ):
        connection.exec_driver_sql("select pg_sleep(30)")


def test_connections_that_the_server_ended_are_met_anew(postgres_url, postgres_server):
    ends = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with Store(postgres_url) as store:
        for k in range(3):
            store.keep(burst(f"n{k}"), ROOM, NIGHT_NS)
            run(postgres_server, postgres_url, ends)
        assert len(list(store.alerts())) == 9


def test_a_connection_that_is_cut_amid_a_transaction_keeps_nothing_of_it(postgres_url, postgres_server):
    ends = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with Store(postgres_url) as store:

        def work(connection):
            connection.execute(sa.insert(tables.meta), {"key": "half", "value": ""})
            run(postgres_server, postgres_url, ends)
            connection.execute(sa.insert(tables.meta), {"key": "whole", "value": ""})

        with pytest.raises(UnreachableError, match="tried again"):
            store.write(work)
        with store.reading() as connection:
            assert len(connection.execute(sa.select(tables.meta)).all()) == 2
        assert store.keep(burst(), ROOM, NIGHT_NS) == 3


def test_two_processes_that_make_it_at_once_make_one(postgres_url, root):
    script = "import sys; from alerts.record.store import Store; Store(sys.argv[1]).close()"
    both = [
        subprocess.Popen([sys.executable, "-c", script, postgres_url], cwd=root, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    with Store(postgres_url) as store:
        assert store.keep(burst(), ROOM, NIGHT_NS) == 3


def test_the_server_is_stopped_hard_and_comes_back(tmp_path):
    """With its disk's promises kept: what was answered is there, and the same store goes on."""
    with (
        running_postgres("-c shared_buffers=16MB -c max_connections=20") as server,
        server.database() as url,
        Store(url) as store,
    ):
        kept, refused, stop = [], [], threading.Event()

        def write():
            k = 0
            while not stop.is_set():
                try:
                    store.keep(burst(f"n{k}"), ROOM, NIGHT_NS)
                except StoreError as error:
                    refused.append(str(error))
                    stop.wait(0.05)
                    continue
                kept.append(burst(f"n{k}"))
                k += 1

        thread = threading.Thread(target=write)
        thread.start()
        for _ in range(2):
            before = len(kept)
            wait_for(lambda before=before: len(kept) >= before + 3)
            seen = len(refused)
            server.kill()
            wait_for(lambda seen=seen: len(refused) > seen)
            server.start()
        before = len(kept)
        wait_for(lambda: len(kept) >= before + 3)
        stop.set()
        thread.join(60.0)
        assert list(store.alerts()) == [alert for alerts in kept for alert in alerts]
        assert all("tried again" in text or "check that the server runs" in text for text in refused), refused


def wait_for(done):
    for _ in range(6_000):
        if done():
            return
        threading.Event().wait(0.01)
    pytest.fail("it never came to pass")


def test_pg_dump_is_given_the_password_where_nobody_reads_it(tmp_path, monkeypatch):
    """A program of ours in its place writes down what it was called with."""
    told = tmp_path / "told"
    program = tmp_path / "pg_dump"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {told}\necho "$PGPASSWORD" >> {told}\necho "no such server" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(server_copy, "_schema_of", lambda where: "public")
    with pytest.raises(StoreError, match="pg_dump: no such server; look at the server"):
        dump_server(f"postgresql://kim:{PASSWORD}@db.example.org/record?sslmode=require", tmp_path / "out")
    command, password = told.read_text().splitlines()
    assert PASSWORD not in command
    assert "--dbname=postgresql://kim@db.example.org/record?sslmode=require" in command
    assert '--schema="public"' in command
    assert password == PASSWORD
    assert not (tmp_path / "out").exists()


def test_guards_that_are_missing_or_switched_off_are_put_back_at_the_start(postgres_url, postgres_server, caplog):
    with Store(postgres_url):
        pass
    run(
        postgres_server,
        postgres_url,
        "drop function shotfix_access_stays cascade",
        "alter table ledger disable trigger ledger_stays",
    )
    with Store(postgres_url) as store, store.reading() as connection:
        assert missing_guards(connection) == ()
    assert "put guards back that were missing: ledger_stays, access_stays_delete" in caplog.text


def test_a_server_that_hangs_is_given_up_and_met_anew(tmp_path, monkeypatch):
    """Its processes are stopped, not ended: sockets stay open, and nothing ever comes."""
    monkeypatch.setattr(postgres, "WRITE_PATIENCE_S", 1.0)
    monkeypatch.setattr(postgres, "READ_PATIENCE_S", 1.0)
    monkeypatch.setattr(PatientConnection, "patience_s", 1.0)
    with running_postgres() as server, server.database() as url, Store(url) as store:
        store.keep(burst(), ROOM, NIGHT_NS)
        processes = server.processes()
        with store.reading() as connection:  # amid a transaction
            for each in processes:
                os.kill(each, signal.SIGSTOP)
            try:
                with pytest.raises(sa.exc.OperationalError, match="nothing came from the server for 1 s"):
                    connection.execute(sa.select(tables.meta))
                with pytest.raises(UnreachableError, match="check that the server runs"):
                    store.keep(burst("b", 60.0), ROOM, NIGHT_NS)
            finally:
                for each in reversed(processes):
                    os.kill(each, signal.SIGCONT)
        assert store.keep(burst("b", 60.0), ROOM, NIGHT_NS) == 3
        assert audit(store.reading).intact


def test_a_statement_that_takes_long_while_it_may_is_awaited(postgres_url, monkeypatch):
    monkeypatch.setattr(postgres, "READ_PATIENCE_S", 20.0)
    with Store(postgres_url) as store, store.reading() as connection:
        assert connection.exec_driver_sql("select 1 from pg_sleep(1.5)").scalar_one() == 1
