"""A record in one SQLite file: in write-ahead mode with synchronous=FULL, what is committed is on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from alerts.record.database import POOL, READS, Database, StoreError

BUSY_TIMEOUT_MS: Final = 5_000
HEADER: Final = b"SQLite format 3\x00"

_REMEDIES: Final = (
    ("locked", "another program holds it: stop that one, or wait"),
    ("full", "the disk is full: make room, nothing was lost"),
    ("readonly", "it can only be read just now: check its permissions, and how its disk is mounted"),
    ("unable to open", "check the path and its permissions"),
    ("malformed", "it is damaged: keep it aside, and restore it from a backup"),
    ("not a database", "it is damaged: keep it aside, and restore it from a backup"),
    ("disk I/O", "the disk fails: keep a copy, and look at the system's log"),
    ("decode to UTF-8", "it is damaged: keep it aside, and restore it from a backup"),
    ("only ever added to", "what is written there stays; retention is the way to let go of what is old"),
)


def open_sqlite(where: Path | str) -> Database:
    """The file, which is made for its owner alone where it is not there yet; one that is not SQLite's stays as it was.

    Raises
    ------
    StoreError
        When there is no such folder, or the file is of another kind.
    """
    path = Path(where)
    if not path.parent.is_dir():
        raise StoreError(f"{path.parent}: no such folder; make it first, or name another record")
    try:
        empty = not path.exists() or not path.stat().st_size
        log = path.with_name(f"{path.name}-wal")
        if empty and log.exists() and log.stat().st_size:  # SQLite would throw the log away as another file's
            raise StoreError(f"{path}: is empty or gone, and its log {log.name} is not; restore it from a backup")
        if not empty:
            with path.open("rb") as file:
                if file.read(len(HEADER)) != HEADER:
                    raise StoreError(f"{path}: this is no SQLite file; name another record, or move this file away")
        elif not path.exists():
            # SQLite would have everybody read it, as the umask allows; it gives log and index the rights of the file.
            path.touch(0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check the path and its permissions") from error
    return Database(str(path), path, _engine(path), remedy, _is_whole)


def inspect_sqlite(path: Path, lies_at: Path, *, at_rest: bool) -> Database:
    """A file to read from only, named ``path`` in what is told of it.

    Parameters
    ----------
    path, lies_at : Path
        What it is called, and where it is read.
    at_rest : bool
        Nobody writes it: it is then read without locks, and nothing is written beside it.
    """
    address = f"{lies_at.resolve().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"

    def connect() -> sqlite3.Connection:
        timeout_s = BUSY_TIMEOUT_MS / 1000.0
        return sqlite3.connect(address, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool, hide_parameters=True)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return Database(str(path), path, engine, remedy, _is_whole)


def remedy(cause: BaseException) -> tuple[str, str, type[StoreError]]:
    """What SQLite complains of, and what to do."""
    complaint = str(cause)
    for sign, words in _REMEDIES:
        if sign in complaint:
            return complaint, words, StoreError
    return complaint, "keep a copy of it and report this", StoreError


def _is_whole(connection: sa.Connection) -> bool:
    if connection.invalidated or connection.closed:
        return False
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction)


class _File:
    """The file that was opened first, and no other that lies under its name later.

    A second one would take what is written from then on, and the first would be gone with the program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._which: tuple[int, int] | None = None  # device and inode, from the first connection on

    def connect(self) -> sqlite3.Connection:
        """A connection to it, which makes no file where there is none (any more)."""
        self.check()
        timeout_s = BUSY_TIMEOUT_MS / 1000.0
        return sqlite3.connect(f"{self._path.as_uri()}?mode=rw", uri=True, timeout=timeout_s, check_same_thread=False)

    def check(self) -> None:
        """Refuse another file in its place, or none.

        Raises
        ------
        StoreError
            When it was moved or replaced.
        """
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            which = None
        else:
            which = facts.st_dev, facts.st_ino
        if self._which is not None and which != self._which:
            raise StoreError(
                f"{self._path}: it was moved or replaced under the program: stop the program, and put it back"
            )
        self._which = which


def _engine(path: Path) -> sa.Engine:
    url, file = sa.URL.create("sqlite", database=str(path)), _File(path)
    engine = sa.create_engine(url, creator=file.connect, hide_parameters=True, **POOL)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        # The driver must not begin transactions by itself: it would begin them late, and as readers.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        # Decided when the first page is written, and never after: later it would be a write, for which readers wait.
        if cursor.execute("PRAGMA page_count").fetchone() == (0,):
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "handle_error")
    def _let_go(context: sa.ExceptionContext) -> None:
        # What was opened while the disk could only be read stays so, and so does what is opened beside it.
        if "readonly" in str(context.original_exception):
            context.is_disconnect = True
            cursor = getattr(context.execution_context, "cursor", None)
            if cursor is not None:  # or its connection would stay half open
                cursor.close()
            engine.dispose()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        file.check()
        reads = connection.get_execution_options().get(READS)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
