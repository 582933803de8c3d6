"""The outbox: what is still to be delivered, in order for each alert, until it is sent or given up."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa

from acoustic.instant import after
from alerts.delivery import GONE_S, DeadLetter, Delivery, Receipt, wait_s
from alerts.record import tables
from alerts.record.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from alerts.record.ledger import LedgerKind
    from alerts.record.store import Store

State = Literal["pending", "sent", "dead", "unknown"]
"""What a delivery is after it was settled; unknown when the record does not know it (any more)."""

Words = Literal["all", "first", "urgent"]
"""Which deliveries: all; an alert's first word that was never tried; those that no limit may hold up."""

NEAR: Final = 64
"""How many of the longest waiting are looked at first: in a storm it costs too much to sort them all each time."""

DIED: Final[LedgerKind] = "delivery-dead"
ACTOR: Final = "machine"  # no person decided it


class Outbox:
    """Deliveries, each ``pending``, ``sent`` or ``dead``; at least once, and in order.

    Revision n + 1 of an alert waits until n was sent or given up, for each courier by itself. What is dead stays, is
    counted and stands in the ledger; it holds up neither later revisions, which say all that it said and more, nor
    other couriers. `revive` tries it again: then it may come after a later revision, and its receiver knows by its
    number that it is the older word.

    Parameters
    ----------
    store : Store
        The record that holds it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def changes(self) -> int:
        """Commits of this process so far, whatever they wrote."""
        return self._store.changes

    def await_change(self, seen: int, timeout_s: float) -> int:
        """Wait until there are more commits than were seen, or the time is over; how many there are then."""
        return self._store.await_change(seen, timeout_s)

    def wake(self) -> None:
        """Let whoever awaits a change look at once."""
        self._store.wake()

    def due(
        self,
        courier: str,
        now_ns: int,
        limit: int = 100,
        *,
        words: Words = "all",
        besides: Collection[str] = (),
    ) -> list[Delivery]:
        """What this courier is to carry now, the longest due first.

        Parameters
        ----------
        courier : str
            By whom.
        now_ns : int
            Wall clock, UTC.
        limit : int
            How many at most.
        words : str
            Which ones; as `Words` says.
        besides : collection of str
            Alerts that are under way already.
        """
        told = {"courier": courier, "now_ns": now_ns, "most": limit, "besides": tuple(besides)}
        with self._store.reading() as connection:
            rows = connection.execute(_due(words, bool(besides), near=True), told).all()
            if len(rows) < limit:  # what stands in front waits for something; so look at all
                rows = connection.execute(_due(words, bool(besides), near=False), told).all()
            return [_delivery(row) for row in rows]

    def next_attempt_ns(self, courier: str, *, words: Words = "all", besides: Collection[str] = ()) -> int | None:
        """When this courier is wanted next, wall clock UTC; None when nothing waits for it. As `due`."""
        told = {"courier": courier, "besides": tuple(besides)}
        with self._store.reading() as connection:
            near: int | None = connection.execute(_next_due(words, bool(besides), near=True), told).scalar()
            return near or connection.execute(_next_due(words, bool(besides), near=False), told).scalar()

    def settle(self, delivery: Delivery, receipt: Receipt, now_ns: int) -> State:
        """Write down what came of one attempt; as `settle_many`."""
        return self.settle_many([(delivery, receipt, now_ns)])[0]

    def settle_many(self, settled: Iterable[tuple[Delivery, Receipt, int]]) -> list[State]:
        """Write down what came of attempts, and when the next of each is due if one is; all of it, or nothing.

        A success is also a sign that the road is open: what failed on this courier because nobody answered is due at
        once. What the receiver *refused* keeps its own time. A death is entered in the ledger by the same commit.

        Parameters
        ----------
        settled : iterable of (Delivery, Receipt, int)
            Each with the wall clock, UTC, at its end.

        Raises
        ------
        StoreError
            When the record refuses; nothing is written down then.
        """
        settled = list(settled)
        if not settled:
            return []
        return self._store.write(lambda connection: _settle_all(connection, settled))

    def dead(self, courier: str) -> list[DeadLetter]:
        """What was given up on this courier, the longest dead first."""
        box, alert, last = tables.outbox, tables.alert, tables.attempt
        each = tables.attempt.alias("each")
        latest = sa.select(sa.func.max(each.c.attempt_id)).where(each.c.outbox_id == box.c.outbox_id).scalar_subquery()
        wanted = (
            sa.select(box, alert.c.kind, last.c.status_code, last.c.detail)
            .join(alert, _of_its_alert())
            .outerjoin(last, last.c.attempt_id == latest)
            .where(box.c.courier == courier, box.c.state == "dead")
            .order_by(box.c.settled_ns, box.c.outbox_id)
        )
        with self._store.reading() as connection:
            return [_dead_letter(row) for row in connection.execute(wanted)]

    def revive(self, courier: str, now_ns: int) -> int:
        """Try everything that was given up on this courier again, from the start; how many there are."""
        box = tables.outbox
        again = (
            sa.update(box)
            .where(box.c.courier == courier, box.c.state == "dead")
            .values(state="pending", attempts=0, next_attempt_ns=now_ns, settled_ns=None)
        )
        return self._store.write(lambda connection: connection.execute(again).rowcount)

    def counts(self, courier: str) -> dict[str, int]:
        """How many deliveries are pending, sent and dead."""
        box = tables.outbox
        counted = sa.select(box.c.state, sa.func.count()).where(box.c.courier == courier).group_by(box.c.state)
        with self._store.reading() as connection:
            found: Sequence[Any] = connection.execute(counted).all()
        return dict.fromkeys(("pending", "sent", "dead"), 0) | {row[0]: row[1] for row in found}


def _settle_all(connection: sa.Connection, settled: Sequence[tuple[Delivery, Receipt, int]]) -> list[State]:
    states = [_settle(connection, *one) for one in settled]
    opened = {delivery.courier: now_ns for delivery, receipt, now_ns in settled if receipt.delivered}
    for courier, now_ns in opened.items():
        connection.execute(_OPEN_ROAD, {"of": courier, "now_ns": now_ns})
    return states


def _settle(connection: sa.Connection, delivery: Delivery, receipt: Receipt, now_ns: int) -> State:
    which = {"alert_id": delivery.alert_id, "revision": delivery.revision, "courier": delivery.courier}
    row = connection.execute(_ROW, which).one_or_none()
    if row is None:  # the record was replaced, or the alert retired, while it was under way
        return "unknown"
    attempts = row.attempts + 1
    log = {"number": attempts, "at_ns": now_ns, "delivered": receipt.delivered, "detail": receipt.detail}
    connection.execute(_LOG, log | {"outbox_id": row.outbox_id, "status_code": receipt.status_code})
    if row.state == "sent":  # settled before, by somebody whose receipt was thought lost
        return "sent"
    state, next_ns = _next(delivery, receipt, attempts, now_ns)
    changes = {"state": state, "attempts": attempts, "unanswered": receipt.unanswered}
    times = {
        "next_attempt_ns": row.next_attempt_ns if next_ns is None else next_ns,
        "settled_ns": now_ns if next_ns is None else None,
    }
    connection.execute(_CHANGE, {"row": row.outbox_id, **changes, **times})
    if state == "dead" and row.state != "dead":
        _bury(connection, delivery, receipt, attempts, now_ns)
    return state


def _bury(connection: sa.Connection, delivery: Delivery, receipt: Receipt, attempts: int, now_ns: int) -> None:
    alert = tables.alert
    one = sa.and_(alert.c.alert_id == delivery.alert_id, alert.c.revision == delivery.revision)
    incident_id = connection.execute(sa.select(alert.c.incident_id).where(one)).scalar_one()
    body = {
        "alert_id": delivery.alert_id,
        "revision": delivery.revision,
        "courier": delivery.courier,
        "attempts": attempts,
        "status_code": receipt.status_code,
        "detail": receipt.detail,
    }
    Ledger.append(connection, DIED, ACTOR, incident_id, json.dumps(body).encode(), now_ns)


def _next(delivery: Delivery, receipt: Receipt, attempts: int, now_ns: int) -> tuple[State, int | None]:
    """What it is now, and when the next attempt is due if one is."""
    if receipt.delivered:
        return "sent", None
    asked = max(receipt.retry_after_s or 0.0, GONE_S) if receipt.gone else receipt.retry_after_s
    wait = wait_s(attempts, f"{delivery.courier}\n{delivery.message_id}", asked)
    return ("dead", None) if wait is None else ("pending", after(now_ns, wait))


def _delivery(row: Any) -> Delivery:
    return Delivery(
        alert_id=row.alert_id,
        revision=row.revision,
        courier=row.courier,
        kind=row.kind,
        published_at=row.published_at,
        document=bytes(row.document),
        queued_ns=row.queued_ns,
        attempts=row.attempts,
        hurried=bool(row.hurried),
    )


def _dead_letter(row: Any) -> DeadLetter:
    return DeadLetter(
        alert_id=row.alert_id,
        revision=row.revision,
        courier=row.courier,
        kind=row.kind,
        attempts=row.attempts,
        queued_ns=row.queued_ns,
        died_ns=row.next_attempt_ns if row.settled_ns is None else row.settled_ns,
        status_code=row.status_code,
        detail=row.detail or "",
    )


# Statements, each built once: to build one costs more than to run it.


@functools.cache
def _due(words: Words, besides: bool, *, near: bool) -> sa.Select[Any]:
    """What is due; ``near`` looks no further than the `NEAR` that have waited longest, however many there are."""
    box, alert = tables.outbox, tables.alert
    facts = [box.c[name] for name in ("alert_id", "revision", "courier", "queued_ns", "attempts")]
    return (
        sa.select(*facts, alert.c.kind, alert.c.published_at, alert.c.document, _hurried().label("hurried"))
        .join(alert, _of_its_alert())
        .where(_first_pending(), _besides(besides), _which(words), box.c.next_attempt_ns <= sa.bindparam("now_ns"))
        .where(_in_front() if near else sa.true())
        .order_by(box.c.next_attempt_ns, box.c.outbox_id)
        .limit(sa.bindparam("most"))
    )


@functools.cache
def _next_due(words: Words, besides: bool, *, near: bool) -> sa.Select[Any]:
    box = tables.outbox
    wanted = sa.select(box.c.next_attempt_ns).where(_first_pending(), _besides(besides))
    wanted = wanted.where(_in_front() if near else sa.true())
    if words != "all":
        wanted = wanted.join(tables.alert, _of_its_alert()).where(_which(words))
    return wanted.order_by(box.c.next_attempt_ns).limit(1)


def _in_front() -> sa.ColumnElement[bool]:
    front = tables.outbox.alias("front")
    waits = sa.and_(front.c.courier == sa.bindparam("courier"), front.c.state == "pending")
    longest = sa.select(front.c.outbox_id).where(waits).order_by(front.c.next_attempt_ns, front.c.outbox_id)
    return tables.outbox.c.outbox_id.in_(longest.limit(NEAR))


def _of_its_alert() -> sa.ColumnElement[bool]:
    box, alert = tables.outbox, tables.alert
    return sa.and_(alert.c.alert_id == box.c.alert_id, alert.c.revision == box.c.revision)


def _first_pending() -> sa.ColumnElement[bool]:
    """Pending, and no earlier revision of the same alert still is."""
    box, earlier = tables.outbox, tables.outbox.alias("earlier")
    before = sa.select(sa.literal(1)).where(_waits_beside(earlier), earlier.c.revision < box.c.revision)
    return sa.and_(box.c.courier == sa.bindparam("courier"), box.c.state == "pending", _first_of(before, box).is_(None))


def _hurried() -> sa.ColumnElement[bool]:
    """A revision that a later one which must not wait stands behind."""
    box, alert = tables.outbox, tables.alert
    later, its = tables.outbox.alias("later"), tables.alert.alias("its")
    behind = (
        sa.select(sa.literal(1))
        .select_from(later.join(its, sa.and_(its.c.alert_id == later.c.alert_id, its.c.revision == later.c.revision)))
        .where(_waits_beside(later), later.c.revision > box.c.revision, its.c.kind != "revised")
    )
    return sa.and_(alert.c.kind == "revised", _first_of(behind, box).is_not(None))


def _waits_beside(other: sa.FromClause) -> sa.ColumnElement[bool]:
    """Pending, of the same alert and courier.

    The empty text keeps a database from looking by courier and state, which all that waits has in common: it must look
    by the alert, of which there are few rows. One that has not counted its rows yet would choose the other way.
    """
    box = tables.outbox
    courier, state = other.c.courier.concat(""), other.c.state.concat("")
    return sa.and_(other.c.alert_id == box.c.alert_id, courier == box.c.courier, state == "pending")


def _first_of(found: sa.Select[Any], box: sa.Table) -> sa.ScalarSelect[Any]:
    """As a value, which is looked up row by row for the few that are asked for; a join would be made for all."""
    return found.limit(1).correlate(box).scalar_subquery()


def _which(words: Words) -> sa.ColumnElement[bool]:
    kind = tables.alert.c.kind
    if words == "first":
        return sa.and_(kind == "new", tables.outbox.c.attempts == 0)
    return sa.or_(kind != "revised", _hurried()) if words == "urgent" else sa.true()


def _besides(some: bool) -> sa.ColumnElement[bool]:
    return tables.outbox.c.alert_id.not_in(sa.bindparam("besides", expanding=True)) if some else sa.true()


_ROW: Final = sa.select(
    tables.outbox.c.outbox_id, tables.outbox.c.attempts, tables.outbox.c.state, tables.outbox.c.next_attempt_ns
).where(
    tables.outbox.c.alert_id == sa.bindparam("alert_id"),
    tables.outbox.c.revision == sa.bindparam("revision"),
    tables.outbox.c.courier == sa.bindparam("courier"),
)
_LOG: Final = sa.insert(tables.attempt)
_CHANGE: Final = (
    sa.update(tables.outbox)
    .where(tables.outbox.c.outbox_id == sa.bindparam("row"))
    .values({name: sa.bindparam(name) for name in ("state", "attempts", "unanswered", "next_attempt_ns", "settled_ns")})
)
_OPEN_ROAD: Final = (
    sa.update(tables.outbox)
    .where(
        tables.outbox.c.courier == sa.bindparam("of"),
        tables.outbox.c.state == "pending",
        tables.outbox.c.unanswered,
        tables.outbox.c.next_attempt_ns > sa.bindparam("now_ns"),
    )
    .values(next_attempt_ns=tables.outbox.c.queued_ns)  # since then: so that they go in the order they came
)
