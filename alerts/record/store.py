"""The store: every revision of every alert, kept with what is to be delivered of it in one transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec
import sqlalchemy as sa

from alerts.alert import Alert, decode, encode
from alerts.delivery import Route, couriers_for
from alerts.record import opening, tables
from alerts.record.audit import Kept
from alerts.record.database import StoreError
from alerts.record.entry import append_all
from alerts.record.incidents import MACHINE, note_alerts
from alerts.record.intact import intact
from alerts.record.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["ContradictionError", "Store", "StoreError"]

T = TypeVar("T")
_PAGE: Final = 100


class ContradictionError(StoreError):
    """Another alert of the same name and revision is stored, and says something else."""


class Store:
    """The record: one SQLite file, or a database of a PostgreSQL server; what is committed is on the disk.

    Safe for several threads of one process; several processes write one after the other. A record from a newer program
    is refused, and so is a database that is not ours: nothing is changed in it. One from an older program is brought up
    to date, with a backup made before.

    Parameters
    ----------
    where : Path or str
        The file, made when it is absent, in a folder that exists; or ``postgresql://user:password@host:port/database``.

    Raises
    ------
    StoreError
        When it cannot be used, with the remedy.
    """

    def __init__(self, where: Path | str) -> None:
        self._database = opening.open_database(where)
        self.path: Path | None = self._database.path
        """The file; None for a server."""
        self.name: str = self._database.name
        """Where it lies; never holds a password."""
        try:
            opening.prepare(self._database)
        except BaseException:
            self._database.close()
            raise
        self._writer = Writer(self._database)

    def close(self) -> None:
        """Let go of it."""
        self._writer.wake()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def changes(self) -> int:
        """Commits of this process so far."""
        return self._writer.changes

    def wake(self) -> None:
        """Let whoever awaits a change look at once, as when all is to stop."""
        self._writer.wake()

    def await_change(self, seen: int, timeout_s: float) -> int:
        """Wait until `changes` is no longer what was seen, or the time is over; what it is then."""
        return self._writer.await_change(seen, timeout_s)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do a work in a transaction, which it may share with the works of other threads; returns once on the disk.

        It may run in another thread than the caller's. What it raises is raised here, and undoes its own changes only.
        When an answer to the commit is lost, it may have happened all the same: look before it is done again.

        Raises
        ------
        StoreError
            When the database refuses: nothing of it is done then.
        """
        return self._writer.write(work)

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """A transaction of one's own that holds the only right to write, from its begin on."""
        return self._writer.alone()

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection that sees one committed state, the same until it ends, and holds up nobody."""
        return self._database.reading()

    def keep(self, alerts: Iterable[Alert], routes: Iterable[Route], now_ns: int) -> int:
        """Store alerts, and queue what the routes make of each, in one transaction; the number of new ones.

        With each go its entry in the ledger and its incident's row, and the acts that it names are marked as applied.
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
        said = [_said(alert, routes) for alert in alerts]
        pages = [said[start : start + _PAGE] for start in range(0, len(said), _PAGE)]
        if not pages:
            return 0
        return self.write(lambda connection: sum(self._keep(connection, page, now_ns) for page in pages))

    def document(self, alert_id: str, revision: int) -> bytes | None:
        """The bytes of one revision, exactly as they were stored; None when there is none.

        Raises
        ------
        StoreError
            When they are not what was stored.
        """
        wanted = _documents().where(tables.alert.c.alert_id == alert_id, tables.alert.c.revision == revision)
        with self.reading() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else intact(row)

    def alerts(self) -> Iterator[Alert]:
        """Every revision of every alert, in the order they were kept.

        Raises
        ------
        StoreError
            At the first that is not what was stored.
        """
        last = 0
        while True:
            page = _documents().where(tables.alert.c.number > last).order_by(tables.alert.c.number).limit(_PAGE)
            with self.reading() as connection:
                rows = connection.execute(page).all()
            for row in rows:
                yield decode(intact(row))
            if len(rows) < _PAGE:
                return
            last = rows[-1].number

    def touch(self) -> None:
        """Write what stands there already: whether the database takes it is all that is asked.

        Raises
        ------
        StoreError
            When it does not.
        """
        meta = tables.meta
        same = sa.update(meta).where(meta.c.key == "schema").values(value=meta.c.value)
        self.write(lambda connection: connection.execute(same))

    def counts(self) -> dict[str, int]:
        """How many revisions are stored, by outcome."""
        counted = sa.select(tables.alert.c.outcome, sa.func.count()).group_by(tables.alert.c.outcome)
        with self.reading() as connection:
            return dict(connection.execute(counted).all())

    def _keep(self, connection: sa.Connection, said: Sequence[_Said], now_ns: int) -> int:
        """Keep many by a handful of statements: to a server each of them is a journey."""
        new = self._new(connection, said)
        if not new:
            return 0
        number = connection.execute(_NEXT_NUMBER).scalar_one()
        numbered = list(enumerate(new, number))
        connection.execute(_KEEP, [_row(one, number, now_ns) for number, one in numbered])
        if queued := [row for one in new for row in _queued(one, now_ns)]:
            connection.execute(_QUEUE, queued)
        note_alerts(connection, [one.alert for one in new])
        entries = [(one.alert.incident_id, _entry(one, number)) for number, one in numbered]
        append_all(connection, "alert", MACHINE, entries, now_ns)
        return len(new)

    def _new(self, connection: sa.Connection, said: Sequence[_Said]) -> list[_Said]:
        """Those that are not stored yet."""
        names = [(one.alert.alert_id, one.alert.revision) for one in said]
        wanted = {"ids": list({name[0] for name in names}), "revisions": list({name[1] for name in names})}
        stored = {(row.alert_id, row.revision): row.sha256 for row in connection.execute(_STORED, wanted)}
        new = []
        for name, one in zip(names, said, strict=True):
            if name not in stored:
                new.append(one)
            elif stored[name] != one.sha256:
                raise ContradictionError(
                    f"{self.name}: {one.alert.message_id} is stored already and says something else; "
                    "was it made by another version or configuration? use a record of its own for each"
                )
            stored[name] = one.sha256
        return new


@dataclass(frozen=True, slots=True)
class _Said:
    alert: Alert
    document: bytes
    sha256: str
    couriers: tuple[str, ...]


# Built once: to build a statement costs more than to run it.
_STORED: Final = sa.select(tables.alert.c.alert_id, tables.alert.c.revision, tables.alert.c.sha256).where(
    tables.alert.c.alert_id.in_(sa.bindparam("ids", expanding=True)),
    tables.alert.c.revision.in_(sa.bindparam("revisions", expanding=True)),
)
_NEXT_NUMBER: Final = sa.select(sa.func.coalesce(sa.func.max(tables.alert.c.number), 0) + 1)
_KEEP: Final = sa.insert(tables.alert)
_QUEUE: Final = sa.insert(tables.outbox)


def _documents() -> sa.Select[Any]:
    alert = tables.alert
    return sa.select(alert.c.alert_id, alert.c.revision, alert.c.number, alert.c.document, alert.c.sha256)


def _said(alert: Alert, routes: Iterable[Route]) -> _Said:
    document = encode(alert)
    return _Said(alert, document, hashlib.sha256(document).hexdigest(), couriers_for(alert, routes))


def _row(said: _Said, number: int, now_ns: int) -> dict[str, Any]:
    names = ("alert_id", "revision", "incident_id", "kind", "status", "mode", "outcome", "published_at", "published_ns")
    return {name: getattr(said.alert, name) for name in names} | {
        "number": number,
        "stored_ns": now_ns,
        "document": said.document,
        "sha256": said.sha256,
    }


def _queued(said: _Said, now_ns: int) -> list[dict[str, Any]]:
    name = {"alert_id": said.alert.alert_id, "revision": said.alert.revision}
    start = {"state": "pending", "attempts": 0, "unanswered": False, "queued_ns": now_ns, "next_attempt_ns": now_ns}
    return [{**name, **start, "courier": courier} for courier in said.couriers]


def _entry(said: _Said, number: int) -> bytes:
    alert = said.alert
    kept = Kept(alert.alert_id, alert.revision, number, alert.outcome, said.sha256, said.couriers)
    return msgspec.json.encode(kept)
