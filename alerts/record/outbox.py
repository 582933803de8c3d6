"""The outbox: what is still to be delivered, in order for each alert, until it is sent or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from acoustic.instant import after
from alerts.delivery import Delivery, Receipt, wait_s
from alerts.record import tables

if TYPE_CHECKING:
    from alerts.record.store import Store


class Outbox:
    """Deliveries, each ``pending``, ``sent`` or ``dead``; at least once, and in order.

    Revision n + 1 of an alert waits until n was sent or given up, for each courier by itself. What is dead stays, and
    is counted; `revive` tries it again.

    Parameters
    ----------
    store : Store
        The record that holds it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def due(self, courier: str, now_ns: int, limit: int = 100) -> list[Delivery]:
        """What this courier is to carry now, the longest due first."""
        box, alert = tables.outbox, tables.alert
        wanted = (
            sa.select(box, alert.c.kind, alert.c.published_at, alert.c.document)
            .join(alert, sa.and_(alert.c.alert_id == box.c.alert_id, alert.c.revision == box.c.revision))
            .where(_first_pending(courier), box.c.next_attempt_ns <= now_ns)
            .order_by(box.c.next_attempt_ns, box.c.outbox_id)
            .limit(limit)
        )
        with self._store.reading() as connection:
            return [
                Delivery(
                    alert_id=row.alert_id,
                    revision=row.revision,
                    courier=row.courier,
                    kind=row.kind,
                    published_at=row.published_at,
                    document=bytes(row.document),
                    queued_ns=row.queued_ns,
                    attempts=row.attempts,
                )
                for row in connection.execute(wanted)
            ]

    def next_attempt_ns(self, courier: str) -> int | None:
        """When this courier is wanted next, wall clock UTC; None when nothing waits for it."""
        wanted = sa.select(sa.func.min(tables.outbox.c.next_attempt_ns)).where(_first_pending(courier))
        with self._store.reading() as connection:
            due_ns: int | None = connection.execute(wanted).scalar_one()
        return due_ns

    def settle(self, delivery: Delivery, receipt: Receipt, now_ns: int) -> None:
        """Write down what came of an attempt, and when the next is due if one is.

        A success is also a sign that the road is open: what failed on this courier because nobody answered is due at
        once. What the receiver *refused* keeps its own time.
        """
        box = tables.outbox
        with self._store.writing() as connection:
            row = connection.execute(sa.select(box).where(_is(delivery))).one()
            attempts = row.attempts + 1
            log = {"number": attempts, "at_ns": now_ns, "delivered": receipt.delivered, "detail": receipt.detail}
            connection.execute(
                sa.insert(tables.attempt), log | {"outbox_id": row.outbox_id, "status_code": receipt.status_code}
            )
            if row.state == "sent":  # settled before, by somebody whose receipt was thought lost
                return
            changes = {"attempts": attempts, "unanswered": receipt.unanswered}
            connection.execute(
                sa.update(box).where(_is(delivery)), changes | _next(delivery, receipt, attempts, now_ns)
            )
            if receipt.delivered:
                stuck = sa.and_(box.c.courier == delivery.courier, box.c.state == "pending", box.c.unanswered)
                later = box.c.next_attempt_ns > now_ns
                connection.execute(sa.update(box).where(stuck, later).values(next_attempt_ns=now_ns))

    def revive(self, courier: str, now_ns: int) -> int:
        """Try everything that was given up on this courier again, from the start; how many there are."""
        box = tables.outbox
        again = (
            sa.update(box)
            .where(box.c.courier == courier, box.c.state == "dead")
            .values(state="pending", attempts=0, next_attempt_ns=now_ns)
        )
        with self._store.writing() as connection:
            return connection.execute(again).rowcount

    def counts(self, courier: str) -> dict[str, int]:
        """How many deliveries are pending, sent and dead."""
        box = tables.outbox
        counted = sa.select(box.c.state, sa.func.count()).where(box.c.courier == courier).group_by(box.c.state)
        with self._store.reading() as connection:
            return dict.fromkeys(("pending", "sent", "dead"), 0) | dict(connection.execute(counted).all())


def _next(delivery: Delivery, receipt: Receipt, attempts: int, now_ns: int) -> dict[str, object]:
    if receipt.delivered:
        return {"state": "sent"}
    wait = wait_s(attempts, f"{delivery.courier}\n{delivery.message_id}", receipt.retry_after_s)
    if wait is None:
        return {"state": "dead"}
    return {"state": "pending", "next_attempt_ns": after(now_ns, wait)}


def _is(delivery: Delivery) -> sa.ColumnElement[bool]:
    box = tables.outbox
    return sa.and_(
        box.c.alert_id == delivery.alert_id, box.c.revision == delivery.revision, box.c.courier == delivery.courier
    )


def _first_pending(courier: str) -> sa.ColumnElement[bool]:
    """Pending, and no earlier revision of the same alert still is."""
    box, earlier = tables.outbox, tables.outbox.alias("earlier")
    before = sa.exists().where(
        earlier.c.alert_id == box.c.alert_id,
        earlier.c.courier == box.c.courier,
        earlier.c.state == "pending",
        earlier.c.revision < box.c.revision,
    )
    return sa.and_(box.c.courier == courier, box.c.state == "pending", ~before)
