"""Looking at a record without touching it: one that a centre is using, or a copy on an expert's desk."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from alerts.record import opening, tables
from alerts.record.database import Database, StoreError, is_url
from alerts.record.entry import Entry, entry_of
from alerts.record.guards import missing_guards
from alerts.record.sqlite_file import inspect_sqlite
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO


@contextmanager
def looking_at(where: Path | str) -> Iterator[Database]:
    """A record to read from; not a byte of it changes.

    A file's copy that came with its write-ahead log is read from a copy of both: SQLite writes beside what it reads.

    Raises
    ------
    StoreError
        When it is no record of this program's schema.
    """
    with ExitStack() as stack:
        database = opening.open_database(where) if is_url(where) else _file(Path(where), stack)
        stack.callback(database.close)
        opening.check(database)
        yield database


def _file(path: Path, stack: ExitStack) -> Database:
    if not path.is_file():
        raise StoreError(f"{path}: no such file; name the record to look at")
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    try:
        if index.exists():  # in use, or left by a program that was killed: read where it is, as one more reader
            return inspect_sqlite(path, path, at_rest=False)
        if not log.exists() or log.stat().st_size == 0:
            return inspect_sqlite(path, path, at_rest=True)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shotfix-")))
        for file in (path, log):
            shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check the path and its permissions") from error
    return inspect_sqlite(path, folder / path.name, at_rest=False)


def entries_of(database: Database) -> Iterator[Entry]:
    """Every entry of its ledger, as one state."""
    with database.reading() as connection:
        rows = connection.execute(sa.select(tables.ledger).order_by(tables.ledger.c.sequence))
        for row in rows.yield_per(500):
            yield entry_of(row)


def findings(database: Database) -> tuple[dict[str, int], list[str]]:
    """How many rows each table has, and what is wrong: damage that the database finds, and guards that are gone."""
    with database.reading() as connection:
        counts = {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in tables.metadata.tables.items()
        }
        wrong = [f"the guard {name} was taken away" for name in missing_guards(connection)]
        if connection.dialect.name == "sqlite":
            said = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
            wrong += [f"damaged: {words}; restore it from a backup" for words in said if words != "ok"]
            strays = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            wrong += [f"rows of {row[0]} refer to others that are gone" for row in strays[:10]]
    return counts, wrong


class _Line(msgspec.Struct, frozen=True):
    """An entry as a line of an export has it."""

    sequence: int
    at_ns: int
    kind: str
    actor: str
    about: str
    body: str
    previous: str
    digest: str


def write_entries(entries: Iterable[Entry], into: BinaryIO) -> int:
    """Write entries as lines of JSON, the body as a text within; how many they were."""
    count = 0
    for count, entry in enumerate(entries, start=1):  # noqa: B007  (the last number is what is wanted)
        line = _Line(
            entry.sequence, entry.at_ns, entry.kind, entry.actor, entry.about, entry.body.decode(), entry.previous,
            entry.digest,
        )  # fmt: skip
        into.write(msgspec.json.encode(line) + b"\n")
    return count


def read_entries(path: Path) -> Iterator[Entry]:
    """Entries from lines of JSON.

    Raises
    ------
    StoreError
        When the file cannot be read, or a line is no entry.
    """
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                try:
                    line = msgspec.json.decode(text, type=known(_Line))
                except msgspec.DecodeError as error:
                    raise StoreError(
                        f"{path}: line {number} is no entry of a ledger ({error}); export it again"
                    ) from None
                yield Entry(
                    line.sequence, line.at_ns, line.kind, line.actor, line.about, line.body.encode(), line.previous,
                    line.digest,
                )  # fmt: skip
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check the path and its permissions") from error
