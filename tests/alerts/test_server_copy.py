"""Copies of a server's record: made by pg_dump, put back by pg_restore, and nothing is lost when that goes wrong."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa

from alerts.delivery import Route
from alerts.record import postgres, server_copy, tables
from alerts.record.audit import audit
from alerts.record.guards import missing_guards
from alerts.record.heads import Head
from alerts.record.ledger import Ledger
from alerts.record.outbox import Outbox
from alerts.record.server_copy import dump_server, restore_server
from alerts.record.store import Store, StoreError
from tests.record_stores import burst
from tests.strategies import NIGHT_NS

ROOM = [Route("room")]
PASSWORD = "hunter2hunter2"  # noqa: S105


@pytest.fixture(scope="module")
def made(postgres_server, tmp_path_factory):
    """A copy of a record with one burst."""
    path = tmp_path_factory.mktemp("made") / "copy.pgdump"
    with postgres_server.database() as where:
        with Store(where) as store:
            store.keep(burst("a"), ROOM, NIGHT_NS)
        dump_server(where, path)
    return path


@pytest.fixture
def copy(made, tmp_path):
    """The same, to be spoilt."""
    return shutil.copy(made, tmp_path / "copy.pgdump")


def names_of(where):
    """What stories a database tells."""
    with Store(where) as store:
        return [alert.message_id for alert in store.alerts()]


def named(name):
    return [alert.message_id for alert in burst(name)]


def schemas(postgres_server, where):
    engine = sa.create_engine(sa.make_url(where).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        found = sa.inspect(connection).get_schema_names()
    engine.dispose()
    return set(found) - {"information_schema"}


def test_what_is_put_back_is_whole_guarded_and_goes_on(copy, postgres_url):
    assert restore_server(postgres_url, copy) is None
    with Store(postgres_url) as store:
        number, digest = Ledger(store).head()
        verdict = audit(store.reading, [Head(number, digest, NIGHT_NS)])
        assert (verdict.fault, verdict.documents) == (None, 3)
        with store.reading() as connection:
            assert missing_guards(connection) == ()
        assert store.keep(burst("b", 60.0), ROOM, NIGHT_NS) == 3
        assert Outbox(store).counts("room")["pending"] == 6
        assert audit(store.reading).intact
        with pytest.raises(StoreError, match="only ever added to"), store.writing() as connection:
            connection.execute(sa.delete(tables.ledger))


def test_a_record_that_is_there_is_written_over_by_nobody_and_kept_when_it_is_to_be(
    copy, postgres_url, postgres_server
):
    with Store(postgres_url) as store:
        store.keep(burst("mine"), ROOM, NIGHT_NS)
    with pytest.raises(StoreError, match="there is a record already; name an empty database, or say --replace"):
        restore_server(postgres_url, copy)
    assert names_of(postgres_url) == named("mine")
    former = restore_server(postgres_url, copy, replace=True)
    assert names_of(postgres_url) == named("a")
    assert schemas(postgres_server, postgres_url) == {"public", former}
    assert names_of(f"{postgres_url}&options=-csearch_path%3D{former}") == named("mine")


def told_by(where, query):
    engine = sa.create_engine(sa.make_url(where).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        found = connection.exec_driver_sql(query).scalar_one()
    engine.dispose()
    return found


def test_a_centre_that_starts_meanwhile_waits_and_makes_no_record_of_its_own(
    copy, postgres_url, postgres_server, monkeypatch
):
    """As under a unit that is started again and again: no session is there when it is looked, and one comes then."""
    with Store(postgres_url) as store:
        store.keep(burst("mine"), ROOM, NIGHT_NS)
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT_MS", 60_000)  # it is tried again by the unit, here it waits
    put, waits = server_copy._put, "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    with ThreadPoolExecutor(1) as threads:
        started = []

        def put_late(where, copy):
            started.append(threads.submit(names_of, postgres_url))
            while not started[0].done() and not told_by(postgres_url, waits):
                time.sleep(0.01)
            put(where, copy)

        monkeypatch.setattr(server_copy, "_put", put_late)
        former = restore_server(postgres_url, copy, replace=True)
        assert started[0].result() == named("a")
    assert schemas(postgres_server, postgres_url) == {"public", former}
    assert names_of(f"{postgres_url}&options=-csearch_path%3D{former}") == named("mine")


def test_a_server_that_ends_idle_sessions_does_not_end_the_one_that_keeps_others_out(postgres_url):
    where = f"{postgres_url}&options=-cidle_session_timeout%3D60000"
    with closing(postgres.open_postgres(where)) as database, server_copy._right_to_write(database) as connection:
        assert told_by(where, "show idle_session_timeout") == "1min"
        assert connection.exec_driver_sql("show idle_session_timeout").scalar_one() == "0"


def test_a_record_that_is_made_after_the_look_is_not_put_aside_unasked(copy, postgres_url, monkeypatch):
    look = server_copy.check_restorable

    def look_and_lose(*what, **how):
        schema = look(*what, **how)
        with Store(postgres_url) as store:
            store.keep(burst("mine"), ROOM, NIGHT_NS)
        return schema

    monkeypatch.setattr(server_copy, "check_restorable", look_and_lose)
    with pytest.raises(StoreError, match="there is a record already"):
        restore_server(postgres_url, copy)
    assert names_of(postgres_url) == named("mine")


ENDED = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'shotfix restore'"


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        ("create table theirs (x int)", "cannot drop schema public"),
        (ENDED, "check that the server runs|it is tried again"),
    ],
)
def test_a_former_record_that_cannot_have_its_place_back_is_named_with_the_first_error(
    copy, postgres_url, postgres_server, monkeypatch, happens, says
):
    with Store(postgres_url) as store:
        store.keep(burst("mine"), ROOM, NIGHT_NS)

    def fail(where, copy):
        postgres_server.run(happens, database=sa.make_url(where).database)
        raise StoreError("pg_restore: it was this")

    monkeypatch.setattr(server_copy, "_put", fail)
    with pytest.raises(StoreError, match=rf"^pg_restore: it was this; .*({says})") as caught:
        restore_server(postgres_url, copy, replace=True)
    (former,) = schemas(postgres_server, postgres_url) - {"public"}
    assert f"it is whole, in the schema {former}" in str(caught.value)
    assert names_of(f"{postgres_url}&options=-csearch_path%3D{former}") == named("mine")


def spoil(copy):
    """Its rows, in the middle of the file; the list before them stays."""
    content = bytearray(copy.read_bytes())
    where = content.rfind(b"x\x9c") + 20
    content[where : where + 40] = bytes(40)
    copy.write_bytes(content)


def cut(copy):
    copy.write_bytes(copy.read_bytes()[:-2000])


@pytest.mark.parametrize("harm", [spoil, cut])
@pytest.mark.parametrize("there", [False, True])
def test_a_copy_that_is_damaged_changes_nothing(copy, postgres_url, postgres_server, harm, there):
    if there:
        with Store(postgres_url) as store:
            store.keep(burst("mine"), ROOM, NIGHT_NS)
    harm(copy)
    with pytest.raises(StoreError, match=r"pg_restore: .*nothing was changed"):
        restore_server(postgres_url, copy, replace=True)
    assert schemas(postgres_server, postgres_url) == {"public"}
    assert names_of(postgres_url) == (named("mine") if there else [])


def test_what_is_no_copy_of_a_record_is_refused(tmp_path, postgres_url, postgres_server):
    with pytest.raises(StoreError, match="no such file; name the copy"):
        restore_server(postgres_url, tmp_path / "nothing")
    (tmp_path / "page").write_text("<html>")
    with pytest.raises(StoreError, match=r"pg_restore: .*is .*page a copy made by shotfix"):
        restore_server(postgres_url, tmp_path / "page")
    with postgres_server.database() as other:
        postgres_server.run("create table theirs (x int)", database=sa.make_url(other).database)
        dump_server(other, tmp_path / "theirs")
        with pytest.raises(StoreError, match="holds no record of alerts"):
            restore_server(postgres_url, tmp_path / "theirs")


def test_a_copy_by_a_newer_program_is_refused_with_the_remedy(copy, postgres_url):
    content = bytearray(copy.read_bytes())
    content[6] = 99  # the minor version of the format
    copy.write_bytes(content)
    with pytest.raises(
        StoreError, match=r"unsupported version.*no newer pg_dump.*install PostgreSQL's client programs"
    ):
        restore_server(postgres_url, copy)


def test_another_programs_database_and_one_in_use_are_left_alone(copy, postgres_url, postgres_server, monkeypatch):
    monkeypatch.setattr(server_copy, "_LOOK_S", 0.01)
    with Store(postgres_url), pytest.raises(StoreError, match="a centre uses it; stop that one first"):
        restore_server(postgres_url, copy, replace=True)
    with postgres_server.database() as other:
        postgres_server.run("create table theirs (x int)", database=sa.make_url(other).database)
        with pytest.raises(StoreError, match="another program's database; name an empty one"):
            restore_server(other, copy, replace=True)


def test_a_copy_of_another_schema_goes_where_its_record_is_looked_for(tmp_path, postgres_url, postgres_server):
    with postgres_server.database() as where:
        postgres_server.run('create schema "the city"', database=sa.make_url(where).database)
        city = f"{where}&options=-csearch_path%3D%22the%5C%20city%22"
        with Store(city) as store:
            store.keep(burst("a"), ROOM, NIGHT_NS)
        dump_server(city, tmp_path / "copy")
    with pytest.raises(StoreError, match="of the schema the city, and this address leads to public"):
        restore_server(postgres_url, tmp_path / "copy")
    there = f"{postgres_url}&options=-csearch_path%3D%22the%5C%20city%22"
    assert restore_server(there, tmp_path / "copy") is None
    assert names_of(there) == named("a")
    assert restore_server(there, tmp_path / "copy", replace=True).startswith("the city_before_")
    assert names_of(there) == named("a")


def test_who_owns_only_the_database_may_put_it_back(copy, postgres_server):
    """Made by one user and put back by another, who is no superuser."""
    postgres_server.run("create role keeper login", "create database kept owner keeper")
    try:
        where = sa.make_url(postgres_server.url("kept")).set(username="keeper").render_as_string()
        assert restore_server(where, copy) is None
        assert names_of(where) == named("a")
        assert restore_server(where, copy, replace=True)
        assert names_of(where) == named("a")
    finally:
        postgres_server.run("drop database kept", "drop role keeper")


def program(tmp_path, monkeypatch, text):
    """A program of ours in pg_restore's place."""
    path = tmp_path / "bin" / "pg_restore"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")


LIST = 'case "$*" in *--list*) echo "1; 0 2 TABLE DATA public alert kim"; exit;; *--version*) echo "pg_restore (PostgreSQL) 99.1"; exit;; esac'


def test_a_program_that_is_missing_or_too_old_is_told(copy, postgres_url, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(StoreError, match="pg_restore is not installed: install PostgreSQL's client programs"):
            restore_server(postgres_url, copy)
    program(tmp_path, monkeypatch, LIST.replace("99.1", "9.6.24"))
    with pytest.raises(StoreError, match=r"pg_restore 9 is older than the server, which is [0-9]+: install"):
        restore_server(postgres_url, copy)


def test_it_is_given_the_password_where_nobody_reads_it_and_its_words_hold_no_rows(
    copy, postgres_url, tmp_path, monkeypatch
):
    told = tmp_path / "told"
    error = '"pg_restore: error: COPY failed for table alert\\nCONTEXT: COPY alert, line 1: secret"'
    program(
        tmp_path, monkeypatch, f'{LIST}\necho "$@" > {told}\necho "$PGPASSWORD" >> {told}\nprintf {error} >&2\nexit 1'
    )
    where = sa.make_url(postgres_url).set(password=PASSWORD).render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="pg_restore: COPY failed for table alert; nothing was changed") as caught:
        restore_server(where, copy)
    command, password = told.read_text().splitlines()
    assert PASSWORD not in command
    assert "--single-transaction" in command
    assert password == PASSWORD
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("words", [f"sslpassword={PASSWORD}", f"password={PASSWORD}&password=x"])
def test_other_secrets_in_an_address_are_refused_before_a_command_shows_them(copy, tmp_path, monkeypatch, words):
    monkeypatch.setattr(server_copy, "_schema_of", lambda where: "public")
    monkeypatch.setattr(server_copy.subprocess, "run", lambda *_, **__: pytest.fail("a program was started"))
    where = f"postgresql://kim@127.0.0.1:1/record?{words}"
    for doing in (lambda: dump_server(where, tmp_path / "out"), lambda: restore_server(where, copy)):
        with pytest.raises(StoreError, match=r"everybody could read its (ssl)?password.*service=NAME") as caught:
            doing()
        assert PASSWORD not in str(caught.value)


def test_pg_dump_says_its_first_error(tmp_path, monkeypatch):
    monkeypatch.setattr(server_copy, "_schema_of", lambda where: "public")
    with pytest.raises(StoreError, match=r"pg_dump: connection to server .* failed.*; look at the server"):
        dump_server("postgresql://kim@127.0.0.1:1/record", tmp_path / "out")
