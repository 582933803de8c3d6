"""Bringing a record of an older program up to date: a backup first, then every step in one transaction, verified."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from alerts.record import tables
from alerts.record.audit import audit
from alerts.record.backup import copy_record
from alerts.record.database import Database, StoreError
from alerts.record.guards import put_guards

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS: Final = Path(__file__).parent / "migrations"
_MINE: Final = ("meta", "alert", "outbox", "attempt")

_log = logging.getLogger(__name__)


def migrate(database: Database, schema: int) -> None:
    """Bring a record from an older schema to this program's.

    A copy is made before: of a file, beside it, as ``record.db.schema1-<UTC>.bak``; on a server, as a schema of the
    same database, ``shotfix_schema1_<UTC>``, which needs no program of PostgreSQL and no second password. Either is
    left there: whoever wants the room removes it.

    Parameters
    ----------
    database : Database
        Which nobody else writes to meanwhile.
    schema : int
        The one it has.

    Raises
    ------
    StoreError
        When a step, or the verification after the last, fails: all is rolled back, and the record is as it was.
    """
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ" if database.path is not None else "%Y%m%d_%H%M%S_%f")
    with _transaction(database) as connection:
        if int(_fact(connection, "schema")) != schema:  # another process was quicker
            return
        kept = copy_record(database, connection, schema, at)
        try:
            before = _contents(connection)
            upgrade(connection, schema)
            put_guards(connection)
            _verify(database, connection, before)
        except Exception as error:
            if database.path is not None:  # a start that is tried again and again must not fill the disk with copies
                Path(kept).unlink(missing_ok=True)
            if isinstance(error, sa.exc.OperationalError):  # a full disk, a server gone: the database's own words
                raise
            raise StoreError(
                f"{database.name}: it could not be brought to schema {tables.SCHEMA_NUMBER} ({error}); "
                f"it was left as it was, schema {schema}: use the program that wrote it, and report this"
            ) from error
    _log.warning(
        "%s: brought from schema %d to %d; the copy of before is %s", database.name, schema, tables.SCHEMA_NUMBER, kept
    )
    if database.path is not None:
        _let_it_shrink(database.path)


def upgrade(connection: sa.Connection, schema: int, to: int = tables.SCHEMA_NUMBER) -> None:
    """Take every step from one schema to another; 0 is an empty database."""
    scripts = ScriptDirectory(str(SCRIPTS), version_locations=[str(SCRIPTS)])
    steps = list(scripts.iterate_revisions(_name(to), _name(schema) if schema else "base"))
    with Operations.context(MigrationContext.configure(connection)):
        for step in reversed(steps):
            step.module.upgrade()
    meta = tables.meta
    connection.execute(sa.update(meta).where(meta.c.key == "schema").values(value=str(to)))


def _name(schema: int) -> str:
    return f"{schema:04d}"


@contextmanager
def _transaction(database: Database) -> Iterator[sa.Connection]:
    """One to change tables in: SQLite replaces a table by another, while rows of others refer to it."""
    with database.explained(), database.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        if database.path is not None:
            driver.execute("PRAGMA foreign_keys=OFF")  # which it heeds outside a transaction only
        try:
            with connection.begin():
                if database.path is None:
                    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # as long as a large record takes
                    driver.patience_s = math.inf
                yield connection
        finally:
            if database.path is not None:
                driver.execute("PRAGMA foreign_keys=ON")


def _fact(connection: sa.Connection, key: str) -> str:
    value: str = connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == key)).scalar_one()
    return value


def _contents(connection: sa.Connection) -> dict[str, Any]:
    """What a migration must not change: how many rows there are, and every document."""
    counts = {name: connection.exec_driver_sql(f"select count(*) from {name}").scalar_one() for name in _MINE}
    digest = hashlib.sha256()
    alert = sa.table("alert", *map(sa.column, ("alert_id", "revision", "document", "sha256", "stored_ns")))
    for row in connection.execute(sa.select(alert).order_by(alert.c.alert_id, alert.c.revision)):
        document = row.document
        if not isinstance(document, bytes) or hashlib.sha256(document).hexdigest() != row.sha256:
            raise ValueError(f"{row.alert_id} revision {row.revision} was altered: restore it from a backup first")
        digest.update(f"{row.alert_id}\n{row.revision}\n{row.sha256}\n{row.stored_ns}\n".encode())
    return counts | {"documents": digest.hexdigest()}


def _verify(database: Database, connection: sa.Connection, before: dict[str, Any]) -> None:
    after = _contents(connection)
    for name, value in before.items():
        if after[name] != value:
            raise ValueError(f"{name}: {value} before, {after[name]} after")
    if database.path is not None and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
        raise ValueError("rows refer to others that are gone")
    verdict = audit(lambda: contextlib.nullcontext(connection))
    if verdict.fault is not None:
        raise ValueError(verdict.fault.text)


def _let_it_shrink(path: Path) -> None:
    """Have a file of the first schema give room back when rows go, as new ones do; no harm when it cannot."""
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("VACUUM")
