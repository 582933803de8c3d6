"""The outbox's statements, each built once: to build one costs more than to run it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa

from alerts.record import tables

if TYPE_CHECKING:
    from collections.abc import Collection

Words = Literal["all", "first", "urgent"]
"""Which deliveries: all; an alert's first word that was never tried; those that no limit may hold up."""


def due_now(
    connection: sa.Connection, courier: str, now_ns: int, words: Words, most: int, besides: Collection[str]
) -> list[sa.Row[Any]]:
    """What is due, the longest first; as `Outbox.due`."""
    told = {"courier": courier, "now_ns": now_ns, "most": most, "besides": tuple(besides)}
    return list(connection.execute(_due(words, bool(besides)), told)) if most else []


@functools.cache
def _due(words: Words, besides: bool) -> sa.Select[Any]:
    """The index has the order of these: so it is walked along from the longest due to as many as are wanted."""
    box, alert = tables.outbox, tables.alert
    facts = [box.c[name] for name in ("alert_id", "revision", "courier", "queued_ns", "attempts")]
    words_of = [alert.c[name] for name in ("kind", "published_at", "document", "sha256")]
    return (
        sa.select(*facts, *words_of, _hurried().label("hurried"))
        .join(alert, of_its_alert())
        .where(_first_pending(), _besides(besides), _which(words), box.c.next_attempt_ns <= sa.bindparam("now_ns"))
        .order_by(box.c.next_attempt_ns, box.c.outbox_id)
        .limit(sa.bindparam("most"))
    )


@functools.cache
def next_due(words: Words, besides: bool) -> sa.Select[Any]:
    """When the first of what waits is due; as `_due`."""
    box = tables.outbox
    wanted = sa.select(box.c.next_attempt_ns).where(_first_pending(), _besides(besides))
    if words != "all":
        wanted = wanted.join(tables.alert, of_its_alert()).where(_which(words))
    return wanted.order_by(box.c.next_attempt_ns).limit(1)


def of_its_alert() -> sa.ColumnElement[bool]:
    """Joins a delivery to the revision that it is of."""
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


NAME: Final = ("alert_id", "revision", "courier")
ROWS: Final = sa.select(
    *(tables.outbox.c[name] for name in (*NAME, "outbox_id", "attempts", "state", "next_attempt_ns"))
).where(*(tables.outbox.c[name].in_(sa.bindparam(name, expanding=True)) for name in NAME))
"""Each part of a name by itself, since SQLite finds no index for whole names: there may be more than are asked for."""
LOG: Final = sa.insert(tables.attempt)
CHANGE: Final = (
    sa.update(tables.outbox)
    .where(tables.outbox.c.outbox_id == sa.bindparam("row"))
    .values({name: sa.bindparam(name) for name in ("state", "attempts", "unanswered", "next_attempt_ns", "settled_ns")})
)
OPEN_ROAD: Final = (
    sa.update(tables.outbox)
    .where(
        tables.outbox.c.courier == sa.bindparam("of"),
        tables.outbox.c.state == "pending",
        tables.outbox.c.unanswered,
        tables.outbox.c.next_attempt_ns > sa.bindparam("now_ns"),
    )
    .values(next_attempt_ns=tables.outbox.c.queued_ns)  # since then: so that they go in the order they came
)
