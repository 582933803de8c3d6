"""A record of the first program becomes one of this program, whole, or stays as it was."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
import sqlalchemy as sa

from acoustic.instant import SECOND
from alerts.delivery import Route
from alerts.record import migrate, tables
from alerts.record.guards import missing_guards, put_guards
from alerts.record.ledger import Ledger
from alerts.record.opening import open_database
from alerts.record.store import Store, StoreError
from tests.record_stores import burst
from tests.schema_one import build, old_document
from tests.strategies import NIGHT_NS

ROOM = [Route("room")]
OF_NOTHING = hashlib.sha256(b"{}").hexdigest()


@pytest.fixture
def said():
    return [*burst("a"), *burst("b", 60.0), *burst("q", 120.0, llr=0.0), *burst("n", 180.0, llr=-9.0)]


@pytest.fixture
def old(tmp_path, said):
    return build(tmp_path / "record.db", said, NIGHT_NS, sent={said[0].message_id})


def content(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return sorted(db.iterdump())


def test_every_document_row_and_receipt_is_there_afterwards(old, said):
    with Store(old) as store:
        kept = [store.document(alert.alert_id, alert.revision) for alert in said]
        assert kept == [old_document(alert) for alert in said]
        assert [alert.message_id for alert in store.alerts()] == [alert.message_id for alert in said]
        with store.reading() as connection:
            incidents = connection.execute(sa.select(tables.incident).order_by(tables.incident.c.first_ns)).all()
            outbox = connection.execute(sa.select(tables.outbox).order_by(tables.outbox.c.outbox_id)).all()
            attempts = connection.execute(sa.select(tables.attempt)).all()
            assert missing_guards(connection) == ()
        assert [(row.outcome, row.published) for row in incidents] == [
            ("published", True),
            ("published", True),
            ("review", False),
            ("suppressed", False),
        ]
        assert [row.state for row in outbox] == ["sent"] + ["pending"] * 5
        assert [row.settled_ns for row in outbox] == [NIGHT_NS + 2] + [None] * 5
        assert len(attempts) == 2


def test_the_ledger_begins_with_what_was_there_and_goes_on(old, said):
    with Store(old) as store:
        entries = list(Ledger(store).entries())
        assert [entry.kind for entry in entries] == ["migrated"] + ["alert"] * len(said)
        assert {entry.actor for entry in entries} == {"migration"}
        verdict = Ledger(store).verify()
        assert (verdict.fault, verdict.documents) == (None, len(said))
        assert store.keep(burst("new", 240.0), ROOM, NIGHT_NS + SECOND) == 3
        assert Ledger(store).verify().intact
    with Store(old) as store:
        assert len(list(store.alerts())) == len(said) + 3


def test_a_row_of_an_incident_is_what_it_would_be_had_it_been_kept_today(old, said, tmp_path):
    """But for the alert's schema version, and for who was there to see it."""
    with Store(old) as store, store.reading() as connection:
        migrated = connection.execute(sa.select(tables.incident).order_by(tables.incident.c.incident_id)).all()
    with Store(tmp_path / "today.db") as store:
        store.keep(said, ROOM, NIGHT_NS)
        with store.reading() as connection:
            today = connection.execute(sa.select(tables.incident).order_by(tables.incident.c.incident_id)).all()
    assert migrated == today


def test_a_backup_lies_beside_it_and_is_what_was_there(old):
    before = content(old)
    Store(old).close()
    (backup,) = old.parent.glob("record.db.schema1-*.bak")
    assert content(backup) == before
    assert backup.stat().st_mode & 0o777 == 0o600
    Store(old).close()
    assert len(list(old.parent.glob("*.bak*"))) == 1  # no second one: nothing was due


def test_the_file_gives_room_back_as_new_ones_do(old):
    Store(old).close()
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("PRAGMA auto_vacuum").fetchone() == (2,)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("update alert set document = replace(document, 'gunshot', 'gunshop') where revision = 2", "was altered"),
        (f"update alert set document = cast('{{}}' as blob), sha256 = '{OF_NOTHING}' where revision = 2", "place"),  # noqa: S608
        ("insert into outbox values (99, 'ghost', 1, 'room', 'pending', 0, 0, 0, 0)", "refer to others that are gone"),
        ("create table ledger (x)", "already exists"),
    ],
)
def test_what_cannot_be_brought_over_stays_as_it_was_and_says_so(old, harm, words):
    with closing(sqlite3.connect(old)) as db:
        db.execute(harm)
        db.commit()
    before = content(old)
    for _ in range(2):
        with pytest.raises(StoreError, match=words):
            Store(old)
        assert content(old) == before
    assert list(old.parent.glob("*.bak*")) == []  # a copy of what was not changed is of no use


def test_a_step_that_fails_at_its_end_is_taken_back_whole(old, monkeypatch):
    before = content(old)

    def fail(connection):
        raise ValueError("no further")

    monkeypatch.setattr(migrate, "put_guards", fail)
    with pytest.raises(StoreError, match=r"no further.*left as it was, schema 1"):
        Store(old)
    assert content(old) == before
    monkeypatch.undo()
    with Store(old) as store:
        assert Ledger(store).verify().intact


def test_without_a_backup_nothing_is_changed(old, monkeypatch):
    before = content(old)

    def full(*_):
        raise StoreError("record.db: no copy could be made; make room")

    monkeypatch.setattr(migrate, "copy_record", full)
    with pytest.raises(StoreError, match="make room"):
        Store(old)
    assert content(old) == before


def test_an_empty_record_of_the_first_program_is_brought_over_too(tmp_path):
    with Store(build(tmp_path / "record.db", [], NIGHT_NS)) as store:
        assert [entry.kind for entry in Ledger(store).entries()] == ["migrated"]


def test_no_tool_of_migrations_is_loaded_when_none_is_due(tmp_path, root):
    Store(tmp_path / "record.db").close()
    script = (
        "import sys; from alerts.record.store import Store; Store(sys.argv[1]).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "record.db"], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# Both databases


def shape(connection):
    """What a database holds, without the order in which columns were added."""
    inspector = sa.inspect(connection)
    shapes = {}
    for name in inspector.get_table_names():
        columns = inspector.get_columns(name)
        shapes[name] = {
            "columns": sorted(
                (c["name"], str(c["type"]), c["nullable"], str(c["default"]), bool(c.get("primary_key")))
                for c in columns
            ),
            "primary": inspector.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted((u["name"] or "", u["column_names"]) for u in inspector.get_unique_constraints(name)),
            "indexes": sorted((i["name"], i["column_names"], i["unique"]) for i in inspector.get_indexes(name)),
            "foreign": sorted(
                (f["constrained_columns"], f["referred_table"], f["referred_columns"])
                for f in inspector.get_foreign_keys(name)
            ),
            "checks": sorted(c["sqltext"] for c in inspector.get_check_constraints(name)),
        }
    return shapes


def test_the_steps_make_the_same_tables_as_the_model(record_where, tmp_path, postgres_server):
    with Store(record_where) as store, store.reading() as connection:
        model = shape(connection)
    if isinstance(record_where, str):
        postgres_server.run(
            "drop schema public cascade", "create schema public", database=sa.make_url(record_where).database
        )
    else:
        record_where = tmp_path / "steps.db"
    database = open_database(record_where)
    with database.writing() as connection:
        migrate.upgrade(connection, 0)
        put_guards(connection)
    with database.reading() as connection:
        assert shape(connection) == model
    database.close()


def first_schema(url, said):
    """A record of schema 1 on a server: none was ever released, but the next step will start from one like it."""
    database = open_database(url)
    with database.writing() as connection:
        migrate.upgrade(connection, 0, to=1)
        meta = sa.insert(tables.meta)
        connection.execute(meta, [{"key": "application", "value": "shotfix"}, {"key": "schema", "value": "1"}])
        model = sa.Table("alert", sa.MetaData(), autoload_with=connection)
        for alert in said:
            names = [column.name for column in model.columns if hasattr(alert, column.name)]
            document = old_document(alert)
            row = {name: getattr(alert, name) for name in names}
            row |= {"stored_ns": NIGHT_NS, "document": document, "sha256": hashlib.sha256(document).hexdigest()}
            connection.execute(sa.insert(model), row)
    database.close()


def test_a_server_s_record_is_brought_over_with_a_copy_in_a_schema_of_its_own(postgres_url, said):
    first_schema(postgres_url, said)
    with Store(postgres_url) as store:
        assert Ledger(store).verify().documents == len(said)
        assert store.keep(burst("new", 240.0), ROOM, NIGHT_NS + SECOND) == 3
        with store.reading() as connection:
            names = sa.inspect(connection).get_schema_names()
            (copy,) = [name for name in names if name.startswith("shotfix_schema1_")]
            copied = [sa.select(sa.func.count()).select_from(sa.table(each, schema=copy)) for each in ("alert", "meta")]
            assert [connection.execute(each).scalar_one() for each in copied] == [len(said), 2]


def test_a_server_s_record_that_cannot_be_brought_over_stays_as_it_was(postgres_url, said, postgres_server):
    first_schema(postgres_url, said)
    name = sa.make_url(postgres_url).database
    postgres_server.run("update alert set sha256 = 'no' where revision = 2", database=name)
    with pytest.raises(StoreError, match=r"was altered.*left as it was, schema 1"):
        Store(postgres_url)
    database = open_database(postgres_url)
    with database.reading() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"meta", "alert", "outbox", "attempt"}
        assert not [n for n in sa.inspect(connection).get_schema_names() if n.startswith("shotfix_")]
    database.close()


def test_killed_amid_the_migration_it_is_the_old_one_still(tmp_path, said, root):
    """The process is ended inside the transaction; the next start brings it over."""
    path = build(tmp_path / "record.db", said, NIGHT_NS)
    before = content(path)
    script = (
        "import os, signal, sys; from alerts.record import migrate, store\n"
        "migrate.put_guards = lambda connection: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.Store(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", script, path], cwd=root, check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    assert content(tmp_path.with_name("copy") / "record.db") == before
    with Store(path) as store:
        assert Ledger(store).verify().documents == len(said)
