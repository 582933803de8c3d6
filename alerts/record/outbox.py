"""The outbox: what is still to be delivered, in order for each alert, until it is sent or given up."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa

from acoustic.instant import SECOND, after
from alerts.delivery import GONE_S, LONGEST_WAIT_S, DeadLetter, Delivery, Receipt, wait_s
from alerts.record import tables
from alerts.record.intact import is_intact
from alerts.record.ledger import Ledger
from alerts.record.outbox_statements import CHANGE, LOG, NAME, OPEN_ROAD, ROWS, Words, due_now, next_due, of_its_alert

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from alerts.record.ledger import LedgerKind
    from alerts.record.store import Store

State = Literal["pending", "sent", "dead", "unknown"]
"""What a delivery is after it was settled; unknown when the record does not know it (any more)."""

DIED: Final[LedgerKind] = "delivery-dead"
REVIVED: Final[LedgerKind] = "delivery-revived"
ACTOR: Final = "machine"  # no person decided it
ALTERED: Final = Receipt(delivered=False, detail="not carried: it was altered in the record; restore it from a backup")
SET_BACK_NS: Final = SECOND
"""By how much the clock must go back before what waits is looked at."""

_log = logging.getLogger(__name__)


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
        self._latest_ns: dict[str, int] = {}  # what the clock said at most, of each courier
        self.altered: Counter[str] = Counter()
        """By courier: what was given up since the start because it was altered in the record."""

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
        first: int = 0,
    ) -> list[Delivery]:
        """What this courier is to carry now, the longest due first.

        What was altered in the record is carried by nobody: it is given up here, as dead. When the clock was set back,
        nothing waits for the time that it was wrong by: what was not tried yet is due, and a retry waits no longer than
        one may.

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
        first : int
            How many more at most, behind those, that are other alerts' first words.
        """
        self._heed_clock(courier, now_ns)
        while True:
            with self._store.reading() as connection:
                rows = due_now(connection, courier, now_ns, words, limit, besides)
                if first and len(rows) == limit:
                    besides_these = {*besides, *(row.alert_id for row in rows)}
                    rows += due_now(connection, courier, now_ns, "first", first, besides_these)
            altered = [row for row in rows if not is_intact(row.document, row.sha256)]
            if not altered:
                return [_delivery(row) for row in rows]
            self._give_up(altered, now_ns)

    def _give_up(self, altered: Sequence[Any], now_ns: int) -> None:
        self._store.write(lambda connection: _give_up(connection, altered, now_ns))
        for row in altered:
            self.altered[row.courier] += 1
            _log.error("%s revision %d is not carried by %s: it was altered in the record; restore it from a backup",
                       row.alert_id, row.revision, row.courier)  # fmt: skip

    def _heed_clock(self, courier: str, now_ns: int) -> None:
        """Look, at the first call and whenever the clock went back, at what waits for a time that was never."""
        latest_ns = self._latest_ns.get(courier)
        if latest_ns is None or now_ns < latest_ns - SET_BACK_NS:
            self._store.write(lambda connection: _bring_forward(connection, courier, now_ns))
            self._latest_ns[courier] = now_ns
        else:
            self._latest_ns[courier] = max(latest_ns, now_ns)

    def next_attempt_ns(self, courier: str, *, words: Words = "all", besides: Collection[str] = ()) -> int | None:
        """When this courier is wanted next, wall clock UTC; None when nothing waits for it. As `due`."""
        told = {"courier": courier, "besides": tuple(besides)}
        with self._store.reading() as connection:
            due_ns: int | None = connection.execute(next_due(words, bool(besides)), told).scalar()
            return due_ns

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
            .join(alert, of_its_alert())
            .outerjoin(last, last.c.attempt_id == latest)
            .where(box.c.courier == courier, box.c.state == "dead")
            .order_by(box.c.settled_ns, box.c.outbox_id)
        )
        with self._store.reading() as connection:
            return [_dead_letter(row) for row in connection.execute(wanted)]

    def revive(self, courier: str, now_ns: int, by: str) -> int:
        """Try everything that was given up on this courier again, from the start; how many there are.

        Who did is entered in the ledger by the same commit, unless there was nothing to revive.

        Parameters
        ----------
        courier : str
            By whom it was to be carried.
        now_ns : int
            Wall clock, UTC.
        by : str
            Who wants it.

        Raises
        ------
        StoreError
            When the record refuses; nothing is revived then.
        """
        box = tables.outbox
        again = (
            sa.update(box)
            .where(box.c.courier == courier, box.c.state == "dead")
            .values(state="pending", attempts=0, next_attempt_ns=now_ns, settled_ns=None)
        )

        def work(connection: sa.Connection) -> int:
            count = connection.execute(again).rowcount
            if count:
                body = json.dumps({"courier": courier, "deliveries": count}).encode()
                Ledger.append(connection, REVIVED, by, "", body, now_ns)
            return count

        return self._store.write(work)

    def waits_since_ns(self, courier: str) -> int | None:
        """When what waits longest for this courier was queued, wall clock UTC; None when nothing waits."""
        box = tables.outbox
        oldest = sa.select(sa.func.min(box.c.queued_ns)).where(box.c.courier == courier, box.c.state == "pending")
        with self._store.reading() as connection:
            since_ns: int | None = connection.execute(oldest).scalar()
            return since_ns

    def counts(self, courier: str) -> dict[str, int]:
        """How many deliveries are pending, sent and dead."""
        box = tables.outbox
        counted = sa.select(box.c.state, sa.func.count()).where(box.c.courier == courier).group_by(box.c.state)
        with self._store.reading() as connection:
            found: Sequence[Any] = connection.execute(counted).all()
        return dict.fromkeys(("pending", "sent", "dead"), 0) | {row[0]: row[1] for row in found}


def _settle_all(connection: sa.Connection, settled: Sequence[tuple[Delivery, Receipt, int]]) -> list[State]:
    """By a handful of statements, however many there are: to a server each is a journey."""
    names = [(delivery.alert_id, delivery.revision, delivery.courier) for delivery, _, _ in settled]
    asked = {name: list(set(those)) for name, those in zip(NAME, zip(*names, strict=True), strict=True)}
    rows = {(row.alert_id, row.revision, row.courier): row._asdict() for row in connection.execute(ROWS, asked)}
    states: list[State] = []
    log, changes = [], []
    for name, (delivery, receipt, now_ns) in zip(names, settled, strict=True):
        row = rows.get(name)
        if row is None:  # the record was replaced, or the alert retired, while it was under way
            states.append("unknown")
            continue
        told = {name: getattr(receipt, name) for name in ("delivered", "status_code", "detail")}
        log.append({"outbox_id": row["outbox_id"], "number": row["attempts"] + 1, "at_ns": now_ns, **told})
        if row["state"] != "sent":  # else settled before, by somebody whose receipt was thought lost
            change = _change(row, delivery, receipt, now_ns)
            if change["state"] == "dead" != row["state"]:
                _bury(connection, delivery, receipt, change["attempts"], now_ns)
            changes.append(change)
            row |= change
        states.append(row["state"])
    opened = {delivery.courier: now_ns for delivery, receipt, now_ns in settled if receipt.delivered}
    roads = [{"of": courier, "now_ns": now_ns} for courier, now_ns in opened.items()]
    for statement, written in ((LOG, log), (CHANGE, changes), (OPEN_ROAD, roads)):
        if written:
            connection.execute(statement, written)
    return states


def _change(row: Mapping[str, Any], delivery: Delivery, receipt: Receipt, now_ns: int) -> dict[str, Any]:
    attempts = row["attempts"] + 1
    state, next_ns = _next(delivery, receipt, attempts, now_ns)
    times = {
        "next_attempt_ns": row["next_attempt_ns"] if next_ns is None else next_ns,
        "settled_ns": now_ns if next_ns is None else None,
    }
    return {"row": row["outbox_id"], "state": state, "attempts": attempts, "unanswered": receipt.unanswered, **times}


def _give_up(connection: sa.Connection, altered: Sequence[Any], now_ns: int) -> None:
    """Bury what was altered, without an attempt."""
    box = tables.outbox
    for row in altered:
        mine = sa.and_(box.c.alert_id == row.alert_id, box.c.revision == row.revision, box.c.courier == row.courier)
        dead = sa.update(box).where(mine, box.c.state == "pending").values(state="dead", settled_ns=now_ns)
        if connection.execute(dead).rowcount:
            _bury(connection, row, ALTERED, row.attempts, now_ns)


def _bring_forward(connection: sa.Connection, courier: str, now_ns: int) -> None:
    box, latest_ns = tables.outbox, after(now_ns, LONGEST_WAIT_S)
    waits = sa.and_(box.c.courier == courier, box.c.state == "pending", box.c.next_attempt_ns > now_ns)
    connection.execute(sa.update(box).where(waits, box.c.attempts == 0).values(next_attempt_ns=now_ns))
    late = sa.and_(waits, box.c.next_attempt_ns > latest_ns)
    connection.execute(sa.update(box).where(late).values(next_attempt_ns=latest_ns))


def _bury(connection: sa.Connection, delivery: Any, receipt: Receipt, attempts: int, now_ns: int) -> None:
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
        document=row.document,
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
