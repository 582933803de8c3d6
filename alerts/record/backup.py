"""Copies of a record: a file beside it, or a schema within the same server's database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from alerts.record.database import Database, StoreError
from alerts.record.postgres import address_of, open_postgres


def copy_record(database: Database, connection: sa.Connection, schema: int, at: str) -> str:
    """Copy a record as it is before a migration; the name of the copy.

    Parameters
    ----------
    database : Database
        Of the record.
    connection : Connection
        In a transaction that holds the right to write: what is committed stays as it is meanwhile.
    schema : int
        Of the record.
    at : str
        When, for the name.

    Raises
    ------
    StoreError
        When it cannot be made, or is not what was copied; nothing was changed.
    """
    if database.path is None:
        return _copy_tables(connection, f"shotfix_schema{schema}_{at}")
    target = database.path.with_name(f"{database.path.name}.schema{schema}-{at}.bak")
    copy_file(database.path, target)
    return str(target)


def copy_file(path: Path, target: Path) -> None:
    """Copy a file that may be in use, verified, as one file without a log beside it.

    Raises
    ------
    StoreError
        When the target is there, the copy is not what was copied, or the disk refuses.
    """
    _check_target(target)
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with (
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)) as ours,
            closing(sqlite3.connect(partial)) as copy,
        ):
            ours.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            _compare(path, ours, copy)
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise StoreError(
            f"{path}: no copy could be made ({error}); make room, or look whether it is damaged"
        ) from error
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}; make room, or check its permissions") from error
    finally:
        partial.unlink(missing_ok=True)


def dump_server(where: str, target: Path) -> None:
    """Copy a server's record into a file of ``pg_dump``: the whole schema that it lies in, with its guards.

    Guards are functions of the schema, which ``pg_dump`` leaves out when it is asked for tables alone. The copy goes
    back into an empty database by ``pg_restore --clean --if-exists --dbname=NEW FILE``; a schema is in it too, and one
    of that name is there already.

    Raises
    ------
    StoreError
        When the target is there, the server does not answer, the program is not installed, or fails.
    """
    _check_target(target)
    program = shutil.which("pg_dump")
    if program is None:
        raise StoreError("pg_dump is not installed: install PostgreSQL's client programs, of the server's version")
    url = address_of(where)
    bare = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    # The password goes by the environment: everybody may read the words of a command.
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}
    schema = _schema_of(where).replace('"', '""')
    wanted = f'--schema="{schema}"'  # without the marks it would be a pattern
    partial = target.with_name(f"{target.name}.partial")
    command = [program, "--format=custom", wanted, f"--file={partial}", f"--dbname={bare.render_as_string()}"]
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))  # never open to others
        done = subprocess.run(command, check=False, capture_output=True, env=os.environ | secret)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it failed"]
            raise StoreError(f"pg_dump: {said[-1]}; look at the server")
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}; make room, or check its permissions") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_target(target: Path) -> None:
    if target.exists():
        raise StoreError(f"{target}: exists; move it away, or name another file for the copy")
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent}: no such folder; make it first, or name another file for the copy")


def _schema_of(where: str) -> str:
    """The schema that a server's record lies in."""
    database = open_postgres(where)
    try:
        with database.reading() as connection:
            name: str | None = connection.exec_driver_sql("select current_schema()").scalar()
    finally:
        database.close()
    if name is None:
        raise StoreError(f"{database.name}: there is no schema to copy; name the record's database")
    return name


def _compare(path: Path, ours: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    (said,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise StoreError(f"{path}: {said}; it is damaged: keep it aside, and restore it from a backup")
    if _counts(ours) != _counts(copy):
        raise StoreError(f"{path}: the copy has not as many rows; is another program writing to it? stop that one")


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
    return {name: connection.execute(f'select count(*) from "{name}"').fetchone()[0] for name in names}  # noqa: S608


def _copy_tables(connection: sa.Connection, target: str) -> str:
    names = sa.inspect(connection).get_table_names()
    connection.exec_driver_sql(f"create schema {target}")
    for name in names:
        connection.exec_driver_sql(f"create table {target}.{name} as table {name}")
        if _count(connection, name) != _count(connection, f"{target}.{name}"):
            raise StoreError(f"the copy of {name} has not as many rows; nothing was changed, try again")
    return target


def _count(connection: sa.Connection, name: str) -> int:
    count: int = connection.exec_driver_sql(f"select count(*) from {name}").scalar_one()  # noqa: S608
    return count


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
