"""Retention: what may go by age or by size, what never does, and the entry that each removal leaves in the ledger."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from acoustic.instant import after
from alerts.act import decode_act
from alerts.record import tables
from alerts.record.audit import Document, Gone
from alerts.record.database import StoreError
from alerts.record.entry import append
from alerts.record.guards import let_access_go
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alerts.record.store import Store

DAY_S: Final = 86_400.0
ACTOR: Final = "retention"
TOUCHED: Final = ("act", "opinion", "acknowledge", "disposition", "pin", "note", "link", "export")
"""Kinds of entries by which people made an incident theirs: it stays. That somebody claimed it and let go is none."""
_BATCH: Final = 25
"""Incidents that go in one transaction: alerts that come meanwhile wait for no more."""
_FOUND: Final = 200
"""Incidents that are looked for at once, while nobody has to wait."""
_COUNTED: Final = ("incidents", "documents", "document_bytes", "deliveries", "attempts")
_PAGES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Keep:
    """How long, and how much.

    Parameters
    ----------
    most_age_s : float or None
        Incidents that were never published and that nobody reviewed go when their last revision was stored so long ago;
        None keeps them.
    most_bytes : int or None
        Of documents altogether. The oldest of those that may go do so until there are no more than this; what must stay
        stays, also beyond it.
    access_age_s, attempt_age_s : float or None
        How long it is known who looked at what, and what came of each attempt to deliver.
    floor_s : float
        Nothing younger goes, however much there is.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    most_age_s: float | None = None
    most_bytes: int | None = None
    access_age_s: float | None = None
    attempt_age_s: float | None = None
    floor_s: float = DAY_S

    def __post_init__(self) -> None:
        values = (self.most_age_s, self.most_bytes, self.access_age_s, self.attempt_age_s, self.floor_s)
        if not all(value is None or 0 <= value < 1e15 for value in values):
            raise ValueError("ages and sizes are numbers from 0, or None to keep for ever")


@dataclass(frozen=True, slots=True)
class Retired:
    """What went: incidents, their documents and the bytes of these, deliveries, attempts, rows of the access log.

    ``left_bytes`` is the size of the documents that are still there; None where no size was asked for.
    """

    incidents: int
    documents: int
    document_bytes: int
    deliveries: int
    attempts: int
    access: int
    left_bytes: int | None


def retire(store: Store, now_ns: int, keep: Keep) -> Retired:
    """Let go of what may go, a few incidents at a time; each leaves an entry that names its documents' digests.

    Never goes: what was published once, what people judged, noted, pinned, linked, merged or split, or have in hand
    now, what is still to be delivered, what is part of an incident that stays, what is younger than the floor. Nor the
    last revision that was kept: the next one is numbered after it.

    Parameters
    ----------
    store : Store
        The record.
    now_ns : int
        Wall clock, UTC.
    keep : Keep
        How long, and how much.

    Raises
    ------
    StoreError
        When the record refuses; what went by then is gone, entry and all.
    """
    floor_ns = after(now_ns, -keep.floor_s)
    gone = dict.fromkeys((*_COUNTED, "access"), 0)
    if keep.most_age_s is not None:
        before_ns = min(floor_ns, after(now_ns, -keep.most_age_s))
        for some in _found(store, before_ns, now_ns):
            _add(gone, store.write(functools.partial(_let_go, some, before_ns, None, "age", now_ns)))
    left_bytes = None
    if keep.most_bytes is not None:
        left_bytes = _document_bytes(store)
        found = _found(store, floor_ns, now_ns)
        while left_bytes > keep.most_bytes and (some := next(found, ())):
            over = left_bytes - keep.most_bytes
            went = store.write(functools.partial(_let_go, some, floor_ns, over, "bytes", now_ns))
            _add(gone, went)
            left_bytes -= went["document_bytes"]
    if keep.attempt_age_s is not None:
        before_ns = after(now_ns, -keep.attempt_age_s)
        gone["attempts"] += store.write(lambda c: _old_attempts(c, before_ns))
    if keep.access_age_s is not None:
        before_ns = after(now_ns, -keep.access_age_s)
        gone["access"] += store.write(lambda c: let_access_go(c, before_ns))
    if any(gone.values()):
        give_room_back(store)
    return Retired(**gone, left_bytes=left_bytes)


def give_room_back(store: Store) -> None:
    """Have a file shrink by what is free in it, a piece at a time; a server does so by itself, when it vacuums."""
    if store.path is None:
        return
    with contextlib.suppress(StoreError):  # it only stays larger than it must: the next time will do
        free, left = 0, 1
        while left and left != free:
            with store.writing() as connection:
                driver: Any = connection.connection.driver_connection
                free = left
                driver.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
                (left,) = driver.execute("PRAGMA freelist_count").fetchone()


def _add(gone: dict[str, int], went: dict[str, int]) -> None:
    for name, count in went.items():
        gone[name] += count


def _document_bytes(store: Store) -> int:
    total = sa.select(sa.func.coalesce(sa.func.sum(sa.func.length(tables.alert.c.document)), 0))
    with store.reading() as connection:
        return int(connection.execute(total).scalar_one())


class _Said(msgspec.Struct):
    """Of a document, whether people said something of it."""

    review: msgspec.Raw = msgspec.Raw(b"null")


def _found(store: Store, before_ns: int, now_ns: int) -> Iterator[Sequence[str]]:
    """Names of incidents that may go, the oldest first, a few at a time.

    It only reads: to look at all that stay takes long, and must hold up nobody who writes.
    """
    row = tables.incident.c
    wanted = _may_go(before_ns, now_ns).limit(_FOUND)
    rows: Sequence[sa.Row[Any]] = ()
    while True:
        behind: sa.ColumnElement[bool] = sa.true()
        if rows:
            at_ns = rows[-1].published_ns
            same = sa.and_(row.published_ns == at_ns, row.incident_id > rows[-1].incident_id)
            behind = sa.and_(row.published_ns >= at_ns, sa.or_(row.published_ns > at_ns, same))
        with store.reading() as connection:
            rows = connection.execute(wanted.where(behind)).all()
            names = _nobody_s(connection, rows)
        for first in range(0, len(names), _BATCH):
            yield names[first : first + _BATCH]
        if len(rows) < _FOUND:
            return


def _nobody_s(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[str]:
    """Names of those of which people said nothing: their act may be about another, as what was split off has none."""
    act = tables.act.c
    untold = [decode_act(body) for body in connection.execute(sa.select(act.body).where(~act.applied)).scalars()]
    on_its_way = {one.into for one in untold}
    return [row.incident_id for row in rows if row.alert_id not in on_its_way and _is_machine_s(row.document)]


def _is_machine_s(document: bytes) -> bool:
    try:
        return bytes(msgspec.json.decode(document, type=known(_Said)).review) == b"null"
    except msgspec.DecodeError:  # somebody altered it: that it was is evidence too
        return False


def _let_go(
    names: Sequence[str], before_ns: int, most_bytes: int | None, why: str, now_ns: int, connection: sa.Connection
) -> dict[str, int]:
    """Remove those of them that still may go; up to about so many bytes of documents."""
    went = dict.fromkeys(_COUNTED, 0)
    still = _may_go(before_ns, now_ns).where(tables.incident.c.incident_id.in_(names))
    for incident_id in _nobody_s(connection, connection.execute(still).all()):
        for name, count in _remove(connection, incident_id, why, now_ns).items():
            went[name] += count
        if most_bytes is not None and went["document_bytes"] >= most_bytes:
            break
    return went


def _may_go(before_ns: int, now_ns: int) -> sa.Select[Any]:
    incident, alert, box, ledger = tables.incident, tables.alert, tables.outbox, tables.ledger
    into, last = incident.alias("into"), alert.alias("last")
    newest_said = sa.and_(last.c.alert_id == incident.c.alert_id, last.c.revision == incident.c.revision)
    stored = sa.select(sa.func.max(alert.c.stored_ns)).where(alert.c.alert_id == incident.c.alert_id).scalar_subquery()
    newest = sa.select(sa.func.max(alert.c.number)).scalar_subquery()
    stays = (
        sa.exists().where(box.c.alert_id == incident.c.alert_id, box.c.state == "pending"),
        # Something added to a column hides its index: by that SQLite would look at all that was ever published.
        sa.exists().where(alert.c.alert_id == incident.c.alert_id, alert.c.outcome + "" == "published"),
        sa.exists().where(alert.c.alert_id == incident.c.alert_id, alert.c.number == newest),
        sa.exists().where(ledger.c.about == incident.c.incident_id, ledger.c.kind.in_(TOUCHED)),
        sa.exists().where(tables.act.c.alert_id == incident.c.alert_id),
        sa.exists().where(tables.opinion.c.incident_id == incident.c.incident_id),
        sa.exists().where(
            sa.or_(into.c.incident_id == incident.c.merged_into, into.c.alert_id == incident.c.merged_into)
        ),
    )
    untouched = (
        incident.c.published.is_(False),
        incident.c.published_ns < before_ns,  # by itself it says little; it finds them among the young
        incident.c.pinned.is_(False),
        incident.c.wants_second.is_(False),
        sa.or_(incident.c.claimed_until_ns.is_(None), incident.c.claimed_until_ns <= now_ns),
        *(column.is_(None) for column in (
            incident.c.verdict, incident.c.acknowledged_by, incident.c.disposition, incident.c.case_number,
        )),
    )  # fmt: skip
    return (
        sa.select(incident.c.incident_id, incident.c.alert_id, incident.c.published_ns, last.c.document)
        .select_from(incident.join(last, newest_said))
        .where(*untouched, *(~each for each in stays), stored < before_ns)
        .order_by(incident.c.published_ns, incident.c.incident_id)
    )


def _remove(connection: sa.Connection, incident_id: str, why: str, now_ns: int) -> dict[str, int]:
    incident, alert, box = tables.incident, tables.alert, tables.outbox
    mine = sa.select(incident.c.alert_id).where(incident.c.incident_id == incident_id)
    alert_id = connection.execute(mine).scalar_one()
    size = sa.func.length(alert.c.document).label("size")
    wanted = sa.select(alert.c.alert_id, alert.c.revision, alert.c.number, alert.c.outcome, alert.c.sha256, size)
    rows = connection.execute(wanted.where(alert.c.alert_id == alert_id).order_by(alert.c.number)).all()
    documents = tuple(Document(row.alert_id, row.revision, row.number, row.outcome, row.sha256) for row in rows)
    # An entry has an end; an incident with more revisions than fit leaves several.
    for first in range(0, len(documents), 1_000):
        body = msgspec.json.encode(Gone(documents[first : first + 1_000], why))
        append(connection, "retired", ACTOR, incident_id, body, now_ns)
    boxes = sa.select(box.c.outbox_id).where(box.c.alert_id == alert_id)
    attempts = connection.execute(sa.delete(tables.attempt).where(tables.attempt.c.outbox_id.in_(boxes))).rowcount
    deliveries = connection.execute(sa.delete(box).where(box.c.alert_id == alert_id)).rowcount
    connection.execute(sa.delete(alert).where(alert.c.alert_id == alert_id))
    connection.execute(sa.delete(incident).where(incident.c.incident_id == incident_id))
    return {
        "incidents": 1,
        "documents": len(rows),
        "document_bytes": sum(row.size for row in rows),
        "deliveries": deliveries,
        "attempts": attempts,
    }


def _old_attempts(connection: sa.Connection, before_ns: int) -> int:
    attempt, box = tables.attempt, tables.outbox
    pending = sa.exists().where(box.c.outbox_id == attempt.c.outbox_id, box.c.state == "pending")
    return connection.execute(sa.delete(attempt).where(attempt.c.at_ns < before_ns, ~pending)).rowcount
