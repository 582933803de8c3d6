"""A head: an incident as it stands, with what people did about it, as it is read and changed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from alerts.record import tables
from alerts.review.errors import ConflictError, UnknownIncidentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerts.policy import Outcome


@dataclass(frozen=True, slots=True)
class Head:
    """One row of `alerts.record.tables.incident`, member by member."""

    incident_id: str
    alert_id: str
    revision: int
    status: str
    mode: str
    outcome: str
    machine_outcome: Outcome
    published: bool
    merged_into: str | None
    first_ns: int
    published_ns: int
    latitude: float | None
    longitude: float | None
    beat: str | None
    p_gunshot: float
    rounds: int
    version: int
    changed_by: str
    verdict: str | None
    claimed_by: str | None
    claimed_until_ns: int | None
    acknowledged_by: str | None
    acknowledged_ns: int | None
    disposition: str | None
    case_number: str | None
    wants_second: bool
    disagreed: bool
    pinned: bool

    def holder(self, at_ns: int) -> str | None:
        """Who holds a claim on it that has not run out; None when it is anybody's."""
        if self.claimed_by is None or self.claimed_until_ns is None or self.claimed_until_ns <= at_ns:
            return None
        return self.claimed_by


COLUMNS: Final = tuple(tables.incident.c[field.name] for field in fields(Head))


# Made once: to put such a statement together costs more than to execute it.
_READ: Final = sa.select(*COLUMNS).where(tables.incident.c.incident_id == sa.bindparam("wanted"))
_LOCKED: Final = _READ.with_for_update()


def head_of(row: sa.RowMapping) -> Head:
    """The head from a row that has `COLUMNS`."""
    return Head(**{field.name: row[field.name] for field in fields(Head)})


def read_head(connection: sa.Connection, incident_id: str, *, locked: bool = False) -> Head:
    """The head of an incident, on PostgreSQL locked until the transaction ends where that is asked.

    Raises
    ------
    UnknownIncidentError
        When there is none of this name.
    """
    row = connection.execute(_LOCKED if locked else _READ, {"wanted": incident_id}).mappings().one_or_none()
    if row is None:
        raise UnknownIncidentError(f"{incident_id}: no such incident; check its name")
    return head_of(row)


def change_head(connection: sa.Connection, head: Head, who: str, changes: Mapping[str, Any]) -> Head:
    """Change columns of the row, which must still be as it was read; the head as it stands then.

    Raises
    ------
    ConflictError
        When somebody changed it in the meantime.
    """
    given = {**changes, "version": head.version + 1, "changed_by": who}
    same = (tables.incident.c.incident_id == head.incident_id) & (tables.incident.c.version == head.version)
    if connection.execute(sa.update(tables.incident).where(same).values(given)).rowcount != 1:
        now = read_head(connection, head.incident_id)
        raise ConflictError(
            now.version, now.changed_by, f"{head.incident_id}: {now.changed_by} changed it just now; look again"
        )
    return replace(head, **given)
