"""Copies of a record: a file beside it, or a schema within the same server's database."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from alerts.record.database import Database, StoreError


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
    check_target(target)
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
        sync(partial)
        partial.rename(target)
        sync(target.parent)
    except sqlite3.Error as error:
        raise StoreError(
            f"{path}: no copy could be made ({error}); make room, or look whether it is damaged"
        ) from error
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}; make room, or check its permissions") from error
    finally:
        partial.unlink(missing_ok=True)


def restore_file(copy: Path, target: Path) -> None:
    """Put a copy back as the file of a record, where none is.

    Raises
    ------
    StoreError
        As `copy_file`, or when there is no copy, or the log of another file is still beside the target.
    """
    if not copy.is_file():
        raise StoreError(f"{copy}: no such file; name the copy to put back")
    for left in (target.with_name(f"{target.name}{suffix}") for suffix in ("-wal", "-journal")):
        if left.exists():  # SQLite would take what is in it for this file's
            raise StoreError(f"{left}: is another file's log; move it away first")
    copy_file(copy, target)


def check_target(target: Path) -> None:
    """Refuse a place for a copy that is taken, or in no folder.

    Raises
    ------
    StoreError
        Then.
    """
    if target.exists():
        raise StoreError(f"{target}: exists; move it away, or name another file for the copy")
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent}: no such folder; make it first, or name another file for the copy")


def _compare(path: Path, ours: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    (said,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise StoreError(f"{path}: {said}; it is damaged: keep it aside, and restore it from a backup")
    if _counts(ours) != _counts(copy):
        raise StoreError(f"{path}: the copy has not as many rows; is another program writing to it? stop that one")


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
    return {name: connection.execute(f'select count(*) from "{name}"').fetchone()[0] for name in names}


def _copy_tables(connection: sa.Connection, target: str) -> str:
    names = sa.inspect(connection).get_table_names()
    connection.exec_driver_sql(f"create schema {target}")
    for name in names:
        connection.exec_driver_sql(f"create table {target}.{name} as table {name}")
        if _count(connection, name) != _count(connection, f"{target}.{name}"):
            raise StoreError(f"the copy of {name} has not as many rows; nothing was changed, try again")
    return target


def _count(connection: sa.Connection, name: str) -> int:
    count: int = connection.exec_driver_sql(f"select count(*) from {name}").scalar_one()
    return count


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
