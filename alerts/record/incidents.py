"""Incidents as they stand: what the machine's last word makes of each row; what people did is written elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from acoustic.instant import parse_instant
from alerts.alert import decode
from alerts.record import tables
from alerts.record.intact import is_intact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.alert import Alert

MACHINE: Final = "machine"

_UNTOUCHED: Final = {"wants_second": False, "disagreed": False, "pinned": False}


def note_alerts(connection: sa.Connection, alerts: Sequence[Alert]) -> None:
    """Write what revisions say, one after the other, into their incidents' rows; a new row, or one version more.

    A revision older than what the row has of it already changes nothing. ``changed_by`` is the person whose act the
    revision names and the one before it did not, else the machine. Acts that it names are marked as applied.
    """
    their_ids = list({alert.incident_id for alert in alerts})
    stands = {row.incident_id: (row.revision, row.published) for row in connection.execute(_STAND, {"ids": their_ids})}
    begun, more = [], []
    for alert in alerts:
        said = said_of(alert) | {"changed_by": _who(connection, alert)}
        _apply(connection, alert)
        its_id = alert.incident_id
        revision, published = stands.get(its_id, (0, False))
        if alert.revision <= revision:
            continue
        said["published"] = said["published"] or published
        if its_id in stands:
            more.append(said | {"its_id": its_id})
        else:
            begun.append(said | _UNTOUCHED | {"incident_id": its_id, "alert_id": alert.alert_id, "version": 1})
        stands[its_id] = (alert.revision, said["published"])
    for statement, rows in ((_BEGIN, begun), (_SAY, more)):  # a row is begun before more is said in it
        if rows:
            connection.execute(statement, rows)


def _who(connection: sa.Connection, alert: Alert) -> str:
    """Who made the last act that a revision names and the one before it did not.

    Whether an act was marked as applied does not say it: of two alerts that it concerns, the first marks it.
    """
    if alert.review is None or not alert.review.acts:
        return MACHINE
    row = connection.execute(_BEFORE, {"its_alert_id": alert.alert_id, "its_revision": alert.revision}).one_or_none()
    # One that was altered holds up no later word: it names nothing.
    earlier = decode(row.document).review if row is not None and is_intact(row.document, row.sha256) else None
    named = [name for name in alert.review.acts if earlier is None or name not in earlier.acts]
    if not named:
        return MACHINE
    by = sa.select(tables.act.c.by).where(tables.act.c.act_id == named[-1])
    return connection.execute(by).scalar_one_or_none() or alert.review.by


def _apply(connection: sa.Connection, alert: Alert) -> None:
    """Mark the acts that an alert names."""
    if alert.review is None or not alert.review.acts:
        return
    act = tables.act
    named = sa.and_(act.c.act_id.in_(alert.review.acts), act.c.applied.is_(False))
    connection.execute(sa.update(act).where(named).values(applied=True))


def said_of(alert: Alert) -> dict[str, Any]:
    """What a revision says of its incident, by column."""
    place = alert.place
    return {
        "revision": alert.revision,
        "status": alert.status,
        "mode": alert.mode,
        "outcome": alert.outcome,
        "machine_outcome": alert.outcome if alert.review is None else alert.review.machine_outcome,
        "published": alert.outcome == "published",
        "merged_into": alert.merged_into,
        "first_ns": parse_instant(alert.discharge_time.first),
        "published_ns": alert.published_ns,
        "latitude": None if place is None else place.latitude,
        "longitude": None if place is None else place.longitude,
        "beat": None if place is None else place.beat,
        "p_gunshot": alert.what.p_gunshot,
        "rounds": alert.what.rounds.best,
    }


# Built once: to build a statement costs more than to run it.
_ITS: Final = tables.incident.c.incident_id == sa.bindparam("its_id")
_STAND: Final = sa.select(tables.incident.c.incident_id, tables.incident.c.revision, tables.incident.c.published).where(
    tables.incident.c.incident_id.in_(sa.bindparam("ids", expanding=True))
)
_BEFORE: Final = (
    sa.select(tables.alert.c.document, tables.alert.c.sha256)
    .where(
        tables.alert.c.alert_id == sa.bindparam("its_alert_id"),
        tables.alert.c.revision < sa.bindparam("its_revision"),
    )
    .order_by(tables.alert.c.revision.desc())
    .limit(1)
)
_BEGIN: Final = sa.insert(tables.incident)
_SAID: Final = (
    "revision", "status", "mode", "outcome", "machine_outcome", "published", "merged_into", "first_ns", "published_ns",
    "latitude", "longitude", "beat", "p_gunshot", "rounds", "changed_by",
)  # fmt: skip
_SAY: Final = (
    sa.update(tables.incident)
    .where(_ITS)
    .values(version=tables.incident.c.version + 1, **{name: sa.bindparam(name) for name in _SAID})
)
