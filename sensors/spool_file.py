"""The spool's file: messages in SQLite, each change on the disk before anybody is told."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

APPLICATION_ID: Final = 0x53484658  # "SHFX": by which a file of ours is known from any other SQLite file
FORMAT: Final = 1
LARGEST_CHECKED_BYTES: Final = 256 * 2**20
"""A larger file is not read through at the start: an SD card would take minutes. Its damage shows when it is read."""

MOST_ASIDE: Final = 2
"""Damaged files that are kept."""

IN_SEQUENCE: Final = 0
GIVING_WAY: Final = 1
HELD: Final = 2
"""A message's turn: in sequence, after those, or not until the centre asks for it again."""

Key: TypeAlias = tuple[str, int]
"""Boot and sequence number: what names a message of one node."""

_SCHEMA: Final = """
CREATE TABLE spool (node_id TEXT NOT NULL);
CREATE TABLE boot (boot_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, boot_id TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL,
    sensor_id TEXT NOT NULL, turn INTEGER NOT NULL, kept_s REAL NOT NULL, bytes INTEGER NOT NULL,
    content BLOB NOT NULL, UNIQUE (boot_id, sequence)
);
CREATE INDEX message_turn ON message (turn, id);
CREATE INDEX message_kind ON message (kind, id);
CREATE INDEX message_beat ON message (sensor_id, id) WHERE kind = 'heartbeat';
CREATE TABLE total (kind TEXT PRIMARY KEY, messages INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER message_in AFTER INSERT ON message BEGIN
    INSERT INTO total VALUES (new.kind, 1, new.bytes)
    ON CONFLICT (kind) DO UPDATE SET messages = messages + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER message_out AFTER DELETE ON message BEGIN
    UPDATE total SET messages = messages - 1, bytes = bytes - old.bytes WHERE kind = old.kind;
END;
"""
# The log first: should a renaming be cut off half way, a log without its file does no harm, but a new file beside the
# old log would take it for its own.
_ENDINGS: Final = ("-wal", "-shm", "-journal", "")
_TABLES: Final = 5  # with the one that SQLite keeps for AUTOINCREMENT
_OLDEST: Final = "SELECT id, bytes FROM message WHERE kind = ? ORDER BY id"
_OLDEST_BEATS: Final = (
    "SELECT id, bytes FROM message AS old WHERE kind = 'heartbeat' AND EXISTS (SELECT 1 FROM message AS new "
    "WHERE new.kind = 'heartbeat' AND new.sensor_id = old.sensor_id AND new.id > old.id) ORDER BY id"
)


class SpoolError(Exception):
    """The spool cannot be used; the message says what to do, in one line."""


@dataclass(slots=True)
class Kept:
    """One message as the spool keeps it: encoded, and what decides about it. ``kept_s``: by the spool's own clock."""

    boot_id: str
    sequence: int
    kind: str
    sensor_id: str
    turn: int
    kept_s: float
    content: bytes

    @property
    def key(self) -> Key:
        """What names it."""
        return self.boot_id, self.sequence

    @property
    def bytes(self) -> int:
        """What it is counted as: its content, and what SQLite needs beside it."""
        return len(self.content) + 160


class SpoolFile:
    """The messages of one node in one SQLite file, held by one process alone; without a path, in memory.

    Write-ahead log, synchronous=FULL: what a method has returned from is on the disk. Every method raises
    sqlite3.Error when the disk does not do as asked; nothing is changed then. Unless it is ``checked``, it is opened
    without being read through for damage.

    Raises
    ------
    SpoolError
        When the file is somebody else's, a newer program's, or held by another process.
    sqlite3.Error
        When it is damaged, or the disk is full.
    """

    def __init__(self, path: Path | None, node_id: str, *, checked: bool = True) -> None:
        self._connection = sqlite3.connect(
            path or ":memory:", timeout=0.5, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(path, node_id, checked)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path | None, node_id: str, checked: bool) -> None:
        ask = self._connection.execute
        try:
            ask("PRAGMA locking_mode = EXCLUSIVE")
            ours = ask("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
            if not ours and ask("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise SpoolError(f"{path}: a database of something else; name another file for the spool")
            if (found := ask("PRAGMA user_version").fetchone()[0]) > FORMAT:
                raise SpoolError(f"{path}: format {found}, of a newer program; update this one, or move the file away")
            ask("PRAGMA journal_mode = WAL")
            ask("PRAGMA synchronous = FULL")
            ask("BEGIN EXCLUSIVE")
            ask("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise SpoolError(f"{path}: another process holds this spool; stop it first") from None
            raise
        if not ours:
            self._create(node_id)
        self._check(path, node_id, checked)

    def _check(self, path: Path | None, node_id: str, checked: bool) -> None:
        ask = self._connection.execute
        if (found := ask("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]) < _TABLES:
            raise sqlite3.DatabaseError(f"{found} tables where {_TABLES} belong")
        (owner,) = ask("SELECT node_id FROM spool").fetchone() or (node_id,)
        if owner != node_id:
            raise SpoolError(f"{path}: holds what {owner} has not sent yet; name another file for {node_id}")
        to_read = checked and path is not None and path.stat().st_size <= LARGEST_CHECKED_BYTES
        if to_read and ask("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the quick check found damage")

    def _create(self, node_id: str) -> None:
        with self._writing():
            for statement in _statements(_SCHEMA):
                self._connection.execute(statement)
            self._connection.execute("INSERT INTO spool VALUES (?)", (node_id,))
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite has rolled back by itself after some errors
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def knows_boot(self, boot_id: str) -> bool:
        """Whether this start of the node was noted before."""
        return bool(self._connection.execute("SELECT 1 FROM boot WHERE boot_id = ?", (boot_id,)).fetchone())

    def note_boot(self, boot_id: str) -> None:
        """Note a start of the node."""
        with self._writing():
            self._connection.execute("INSERT OR IGNORE INTO boot VALUES (?)", (boot_id,))

    def last_kept_s(self) -> float:
        """When the last message that is still here was kept, by the spool's clock; 0 when there is none."""
        row = self._connection.execute("SELECT kept_s FROM message ORDER BY id DESC LIMIT 1").fetchone()
        return float(row[0]) if row else 0.0

    def add(self, messages: Iterable[Kept]) -> None:
        """Keep these, all or none."""
        rows = [(m.boot_id, m.sequence, m.kind, m.sensor_id, m.turn, m.kept_s, m.bytes, m.content) for m in messages]
        with self._writing():
            self._connection.executemany(
                "INSERT OR IGNORE INTO message (boot_id, sequence, kind, sensor_id, turn, kept_s, bytes, content) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def waiting(self, turn: int) -> Iterator[Kept]:
        """Those of one turn, the oldest first. Read no further after a change."""
        asked = "SELECT * FROM message WHERE turn = ? ORDER BY id"
        yield from map(_kept, self._connection.execute(asked, (turn,)))

    def totals(self) -> dict[str, tuple[int, int]]:
        """Messages and bytes of each kind."""
        found = self._connection.execute("SELECT kind, messages, bytes FROM total")
        return {kind: (messages, taken) for kind, messages, taken in found}

    def held(self) -> list[Key]:
        """Everything that is held."""
        return self._connection.execute("SELECT boot_id, sequence FROM message WHERE turn = ?", (HELD,)).fetchall()

    def everything(self) -> Iterator[Kept]:
        """All of it, the oldest first. Read no further after a change."""
        yield from map(_kept, self._connection.execute("SELECT * FROM message ORDER BY id"))

    def change(self, turns: Mapping[Key, int | None]) -> list[Key]:
        """Give messages another turn, or forget them where it is None, all or none; which of them are not here."""
        absent = []
        with self._writing():
            for (boot_id, sequence), turn in turns.items():
                asked = "DELETE FROM message WHERE boot_id = ?1 AND sequence = ?2"
                if turn is not None:
                    asked = "UPDATE message SET turn = ?3 WHERE boot_id = ?1 AND sequence = ?2"
                given = (boot_id, sequence) if turn is None else (boot_id, sequence, turn)
                if not self._connection.execute(asked, given).rowcount:
                    absent.append((boot_id, sequence))
        return absent

    def drop(self, kind: str, least_bytes: int) -> tuple[int, int]:
        """Drop the oldest of a kind until so many bytes are free; of heartbeats never the newest of a sensor.

        Returns
        -------
        tuple of int
            How many were dropped, and how many bytes that is.
        """
        ids, freed = [], 0
        asked, given = (_OLDEST_BEATS, ()) if kind == "heartbeat" else (_OLDEST, (kind,))
        for row, taken in self._connection.execute(asked, given):
            if freed >= least_bytes:
                break
            ids.append((row,))
            freed += taken
        self._delete(ids)
        return len(ids), freed

    def drop_older(self, kept_s: float) -> Counter[str]:
        """Drop what was kept before this moment; how many of each kind."""
        dropped: Counter[str] = Counter()
        ids = []
        for row, kind, at_s in self._connection.execute("SELECT id, kind, kept_s FROM message ORDER BY id"):
            if at_s >= kept_s:
                break
            ids.append((row,))
            dropped[kind] += 1
        self._delete(ids)
        return dropped

    def _delete(self, ids: Sequence[tuple[int]]) -> None:
        if ids:
            with self._writing():
                self._connection.executemany("DELETE FROM message WHERE id = ?", ids)


def move_aside(path: Path) -> Path:
    """Rename a damaged spool and its log, so that a new one can begin; where it lies then.

    The `MOST_ASIDE` last ones stay for whoever wants to look; a disk that keeps failing does not fill up with them.
    """
    before = sorted(number for number in map(_number_aside, path.parent.glob(f"{path.name}.damaged-*")) if number)
    for number in before[: 1 - MOST_ASIDE or None]:
        for ending in _ENDINGS:
            path.with_name(f"{path.name}.damaged-{number}{ending}").unlink(missing_ok=True)
    aside = path.with_name(f"{path.name}.damaged-{max(before, default=0) + 1}")
    for ending in _ENDINGS:
        part = path.with_name(path.name + ending)
        if part.exists():
            part.replace(aside.with_name(aside.name + ending))
    return aside


def _number_aside(path: Path) -> int:
    number = path.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def salvage(path: Path) -> Iterator[Kept]:
    """What can still be read in a damaged spool, in its order: as much as the tree of its rows still leads to."""
    with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as connection:
        for row in _rows_of(connection):
            try:
                found = connection.execute("SELECT * FROM message NOT INDEXED WHERE id = ?", (row,)).fetchone()
            except sqlite3.Error:
                continue
            if found is not None and _is_whole(kept := _kept(found)):
                yield kept


def promised(path: Path) -> int | None:
    """How many messages a damaged spool says that it holds; None where even that cannot be read."""
    try:
        with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as connection:
            return int(connection.execute("SELECT sum(messages) FROM total").fetchone()[0] or 0)
    except (sqlite3.Error, TypeError, ValueError):
        return None


def _rows_of(connection: sqlite3.Connection) -> list[int]:
    """The rows that are found from the beginning and from the end, each up to the damage."""
    rows: set[int] = set()
    for asked in (
        "SELECT id FROM message NOT INDEXED ORDER BY id",
        "SELECT id FROM message NOT INDEXED ORDER BY id DESC",
    ):
        try:
            for (row,) in connection.execute(asked):
                if row in rows:
                    break
                rows.add(row)
        except sqlite3.Error:
            continue
    return sorted(rows)


def _kept(row: tuple[Any, ...]) -> Kept:
    _, boot_id, sequence, kind, sensor_id, turn, kept_s, _, content = row
    return Kept(boot_id, sequence, kind, sensor_id, turn, kept_s, content)


def _is_whole(kept: Kept) -> bool:
    fields = (kept.boot_id, kept.sequence, kept.kind, kept.sensor_id, kept.turn, kept.kept_s, kept.content)
    return all(
        isinstance(value, kind) for value, kind in zip(fields, (str, int, str, str, int, float, bytes), strict=True)
    )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: what sqlite3 runs as a script it commits by itself."""
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
