"""Incidents as they stand: what the machine's last word makes of each row; what people did is written elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from acoustic.instant import parse_instant
from alerts.record import tables

if TYPE_CHECKING:
    from alerts.alert import Alert

MACHINE: Final = "machine"

_UNTOUCHED: Final = {"wants_second": False, "disagreed": False, "pinned": False}


def note_alert(connection: sa.Connection, alert: Alert) -> None:
    """Write what a revision says into its incident's row; a new row, or one version more.

    A revision older than what the row has of it already changes nothing. ``changed_by`` is the person whose act the
    revision says for the first time, else the machine. Acts that it names are marked as applied.
    """
    applied = _apply(connection, alert)
    row = connection.execute(_STANDS, {"its_id": alert.incident_id}).one_or_none()
    said = said_of(alert) | {"changed_by": alert.review.by if applied and alert.review is not None else MACHINE}
    if row is None:
        fresh = {"incident_id": alert.incident_id, "alert_id": alert.alert_id, "version": 1}
        connection.execute(_BEGIN, fresh | said | _UNTOUCHED)
    elif alert.revision > row.revision:
        said["published"] = said["published"] or row.published
        connection.execute(_SAY, said | {"its_id": alert.incident_id})


def _apply(connection: sa.Connection, alert: Alert) -> bool:
    """Mark the acts that an alert names; whether one of them was not marked before."""
    if alert.review is None or not alert.review.acts:
        return False
    act = tables.act
    named = sa.and_(act.c.act_id.in_(alert.review.acts), act.c.applied.is_(False))
    return bool(connection.execute(sa.update(act).where(named).values(applied=True)).rowcount)


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
_STANDS: Final = sa.select(tables.incident.c.revision, tables.incident.c.published).where(_ITS)
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
