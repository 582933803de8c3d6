"""Opening a record: whose it is, of which age, and what is to be done before it can be used."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from alerts.record import tables
from alerts.record.database import Database, StoreError, is_url
from alerts.record.guards import missing_guards, put_guards

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

MOST_READ_BYTES: Final = 16 << 20
"""A file up to here is checked before it is used, its indexes too, which takes a quarter of a second."""
MOST_CHECKED_BYTES: Final = 128 << 20
"""Up to here its pages are, without the indexes; a greater one is for `shotfix record check`."""

_log = logging.getLogger(__name__)

_TABLES: Final = {1: {"meta", "alert", "outbox", "attempt"}}
"""What records of older programs hold."""

# Tables that extensions of PostgreSQL brought along are nobody's.
_POSTGRES_TABLES: Final = """
    select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname = current_schema()
    and not exists (select 1 from pg_depend d where d.objid = c.oid and d.deptype = 'e')
"""


def open_database(where: Path | str) -> Database:
    """The database that a setting names: ``postgresql://...``, or else a path.

    Raises
    ------
    StoreError
        When it cannot be one.
    """
    if is_url(where):
        from alerts.record.postgres import open_postgres  # its driver is paid for by who uses it

        return open_postgres(str(where))
    from alerts.record.sqlite_file import open_sqlite

    return open_sqlite(where)


def prepare(database: Database) -> None:
    """Make the tables where there are none; put back guards; refuse what is not ours, or newer than this program.

    Raises
    ------
    StoreError
        When the record cannot be used; nothing is changed in it then.
    """
    try:
        with database.explained():
            if database.path is not None:
                schema = _schema_of_file(database)
            else:
                with database.reading() as connection:
                    schema = _schema(database.name, *facts_of(connection))
    except OSError as error:
        raise StoreError(f"{database.name}: {error.strerror}; check the path and its permissions") from error
    if schema is None:
        _create(database)
    elif schema < tables.SCHEMA_NUMBER:
        from alerts.record.migrate import migrate  # its tools are paid for when they are wanted

        migrate(database, schema)
    _put_back_guards(database)


def _put_back_guards(database: Database) -> None:
    """Put guards back that somebody took away, or that a restored copy came without."""
    with database.reading() as connection:
        missing = missing_guards(connection)
    if missing:
        with database.writing() as connection:
            missing = put_guards(connection)
        _log.warning("%s: put guards back that were missing: %s", database.name, ", ".join(missing))


def check(database: Database) -> None:
    """Refuse what is not a record of this program's schema; changes nothing.

    Raises
    ------
    StoreError
        When there is none, or it is not ours, newer or older.
    """
    with database.reading() as connection:
        schema = _schema(database.name, *facts_of(connection))
    if schema is None:
        raise StoreError(f"{database.name}: there is no record; name the one to look at")
    if schema < tables.SCHEMA_NUMBER:
        raise StoreError(
            f"{database.name}: an older program's, of schema {schema}; let shotfix serve bring it up to date"
        )


def _create(database: Database) -> None:
    with database.writing() as connection:
        if _schema(database.name, *facts_of(connection)) is not None:  # another process was quicker
            return
        tables.metadata.create_all(connection)
        put_guards(connection)
        facts = [
            {"key": "application", "value": tables.APPLICATION},
            {"key": "schema", "value": str(tables.SCHEMA_NUMBER)},
        ]
        connection.execute(sa.insert(tables.meta), facts)


def _schema_of_file(database: Database) -> int | None:
    """As `_schema`; looks before anything is changed, as merely connecting as a writer would."""
    path = database.path
    if path is None or not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        names = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        facts = dict(connection.execute("select key, value from meta")) if "meta" in names else {}
        schema = _schema(database.name, names, facts)
        if schema is not None and path.stat().st_size <= MOST_CHECKED_BYTES:
            look = "integrity" if path.stat().st_size <= MOST_READ_BYTES else "quick"
            (said,) = connection.execute(f"PRAGMA {look}_check(1)").fetchone()
            if said != "ok":
                raise StoreError(f"{path}: {said}; it is damaged: keep it aside, and restore it from a backup")
    return schema


def facts_of(connection: sa.Connection) -> tuple[set[str], dict[str, str]]:
    """Names of the tables of a database, and what it says of itself."""
    query = "select name from sqlite_master where type = 'table'"
    if connection.dialect.name == "postgresql":
        query = _POSTGRES_TABLES
    names = set(connection.exec_driver_sql(query).scalars())
    facts: dict[str, str] = {}
    if "meta" in names:
        facts = {row.key: row.value for row in connection.exec_driver_sql("select key, value from meta")}
    return names, facts


def _schema(name: str, names: AbstractSet[str], facts: dict[str, str]) -> int | None:
    """Number of the schema of a record; None when it is still to be made.

    Raises
    ------
    StoreError
        When it is not ours, or from a newer program.
    """
    if not names:
        return None
    if facts.get("application") != tables.APPLICATION:
        raise StoreError(f"{name}: this is another program's database; name another record, it was left untouched")
    number = _number(facts.get("schema", "0"))
    if number > tables.SCHEMA_NUMBER:
        raise StoreError(
            f"{name}: written by a newer program (schema {number}, this one knows {tables.SCHEMA_NUMBER}); "
            "update shotfix, or use the backup made before the update"
        )
    if number < 1 or not _TABLES.get(number, set(tables.metadata.tables)) <= names:
        raise StoreError(f"{name}: the record is incomplete (schema {number}); restore it from a backup")
    return number


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
