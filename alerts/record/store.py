"""The store: every revision of every alert, kept with what is to be delivered of it in one transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import sqlalchemy as sa

from alerts.alert import Alert, decode, encode
from alerts.delivery import Route, couriers_for
from alerts.record import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BUSY_TIMEOUT_MS: Final = 5_000
_HEADER: Final = b"SQLite format 3\x00"
_READS: Final = "shotfix_reads"  # marks a connection that needs no transaction


class StoreError(Exception):
    """The record cannot be opened, read or written; the message says what to do."""


class ContradictionError(StoreError):
    """Another alert of the same name and revision is stored, and says something else."""


class Store:
    """The record in one SQLite file, in write-ahead mode with synchronous=FULL: what is committed is on the disk.

    Safe for several threads of one process. A file from a newer program is refused, and so is a file that is not ours:
    nothing is changed in it.

    Parameters
    ----------
    path : Path
        The file; made when it is absent, in a folder that exists.

    Raises
    ------
    StoreError
        When it cannot be used, with the remedy.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise StoreError(f"{self.path.parent}: no such folder; make it first, or name another record")
        with self._explained():
            fresh = _is_fresh(self.path)
            self._engine = _engine(self.path)
            try:
                if fresh:
                    self._create()
            except BaseException:
                self._engine.dispose()
                raise

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def keep(self, alerts: Iterable[Alert], routes: Iterable[Route], now_ns: int) -> int:
        """Store alerts, and queue what the routes make of each, in one transaction; the number of new ones.

        An alert that is stored already, byte for byte, is passed over, and nothing is queued again.

        Parameters
        ----------
        alerts : iterable of Alert
            In the order they were said.
        routes : iterable of Route
            Which couriers carry which outcomes.
        now_ns : int
            Wall clock, UTC.

        Raises
        ------
        ContradictionError
            When another alert of the same name and revision is stored; nothing is kept then.
        StoreError
            When the disk refuses; neither.
        """
        routes = tuple(routes)
        with self.writing() as connection:
            return sum(self._keep(connection, alert, couriers_for(alert, routes), now_ns) for alert in alerts)

    def document(self, alert_id: str, revision: int) -> bytes | None:
        """The bytes of one revision, exactly as they were stored; None when there is none.

        Raises
        ------
        StoreError
            When they are not what was stored.
        """
        wanted = sa.select(tables.alert.c.document, tables.alert.c.sha256).where(
            tables.alert.c.alert_id == alert_id, tables.alert.c.revision == revision
        )
        with self.reading() as connection:
            row = connection.execute(wanted).one_or_none()
        if row is None:
            return None
        # SQLite lets other programs put text where bytes belong.
        if not isinstance(row.document, bytes) or hashlib.sha256(row.document).hexdigest() != row.sha256:
            raise StoreError(f"{self.path}: {alert_id} revision {revision} was altered; restore it from a backup")
        return row.document

    def alerts(self) -> Iterator[Alert]:
        """Every revision of every alert, in the order they were kept."""
        wanted = sa.select(tables.alert.c.document).order_by(tables.alert.c.stored_ns, sa.literal_column("alert.rowid"))
        with self.reading() as connection:
            for row in connection.execute(wanted).yield_per(100):
                yield decode(row.document)

    def counts(self) -> dict[str, int]:
        """How many revisions are stored, by outcome."""
        counted = sa.select(tables.alert.c.outcome, sa.func.count()).group_by(tables.alert.c.outcome)
        with self.reading() as connection:
            return dict(connection.execute(counted).all())

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that holds the only right to write, from its begin on."""
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees what is committed and holds up nobody."""
        with self._explained(), self._engine.connect() as connection:
            yield connection.execution_options(**{_READS: True})

    def _create(self) -> None:
        with self._engine.begin() as connection:
            tables.metadata.create_all(connection)
            facts = [
                {"key": "application", "value": tables.APPLICATION},
                {"key": "schema", "value": str(tables.SCHEMA_NUMBER)},
            ]
            connection.execute(sa.insert(tables.meta), facts)

    def _keep(self, connection: sa.Connection, alert: Alert, couriers: tuple[str, ...], now_ns: int) -> bool:
        document = encode(alert)
        sha256 = hashlib.sha256(document).hexdigest()
        same = sa.select(tables.alert.c.sha256).where(
            tables.alert.c.alert_id == alert.alert_id, tables.alert.c.revision == alert.revision
        )
        stored = connection.execute(same).scalar_one_or_none()
        if stored is not None:
            if stored != sha256:
                raise ContradictionError(
                    f"{self.path}: {alert.message_id} is stored already and says something else; "
                    "was it made by another version or configuration? use a record of its own for each"
                )
            return False
        connection.execute(sa.insert(tables.alert), _row(alert, document, sha256, now_ns))
        name = {"alert_id": alert.alert_id, "revision": alert.revision}
        start = {"state": "pending", "attempts": 0, "unanswered": False, "queued_ns": now_ns}
        queued = [{**name, **start, "courier": courier, "next_attempt_ns": now_ns} for courier in couriers]
        if queued:
            connection.execute(sa.insert(tables.outbox), queued)
        return True

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What SQLite complains of, with what to do about it."""
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"{self.path}: {cause}; {_remedy(str(cause))}") from error
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}; check the path and its permissions") from error


def _row(alert: Alert, document: bytes, sha256: str, now_ns: int) -> dict[str, Any]:
    names = ("alert_id", "revision", "incident_id", "kind", "status", "mode", "outcome", "published_at", "published_ns")
    return {name: getattr(alert, name) for name in names} | {
        "stored_ns": now_ns,
        "document": document,
        "sha256": sha256,
    }


def _is_fresh(path: Path) -> bool:
    """Whether the file is still to be filled. Looks before anything is changed.

    Raises
    ------
    StoreError
        When it is not ours, or from a newer program.
    """
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            raise StoreError(f"{path}: this is no SQLite file; name another record, or move this file away")
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        if not names:
            return True
        facts = dict(connection.execute("select key, value from meta")) if "meta" in names else {}
    if facts.get("application") != tables.APPLICATION:
        raise StoreError(f"{path}: this is another program's database; name another record, it was left untouched")
    number = int(facts.get("schema", "0"))
    if number > tables.SCHEMA_NUMBER:
        raise StoreError(
            f"{path}: written by a newer program (schema {number}, this one knows {tables.SCHEMA_NUMBER}); "
            "update shotfix, or use the backup made before the update"
        )
    if number < tables.SCHEMA_NUMBER or not set(tables.metadata.tables) <= names:
        raise StoreError(f"{path}: the record is incomplete (schema {number}); restore it from a backup")
    return False


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000.0})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        # The driver must not begin transactions by itself: it would begin them late, and as readers.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if not connection.get_execution_options().get(_READS):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _remedy(complaint: str) -> str:
    for sign, remedy in (
        ("locked", "another program holds it: stop that one, or wait"),
        ("full", "the disk is full: make room, nothing was lost"),
        ("readonly", "it cannot be written: check its permissions"),
        ("unable to open", "check the path and its permissions"),
        ("malformed", "it is damaged: keep it aside, and restore it from a backup"),
        ("not a database", "it is damaged: keep it aside, and restore it from a backup"),
    ):
        if sign in complaint:
            return remedy
    return "keep a copy of it and report this"
