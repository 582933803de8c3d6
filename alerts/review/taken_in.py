"""Taken in: an incident that the machine made part of another while somebody still spoke of it by its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from alerts.record import tables
from alerts.review.acts import latest
from alerts.review.case import Case
from alerts.review.errors import UnknownIncidentError
from alerts.review.head import read_head

if TYPE_CHECKING:
    from alerts.review.head import Head


def taken_in_by(connection: sa.Connection, head: Head) -> Head | None:
    """The incident that holds all its rounds since the machine joined the two; None where that did not happen.

    What people joined is not followed: that can be undone, and who speaks of a part may mean the part. The machine
    never joins what people spoke of, so that such a revision names no act.
    """
    at, *others = wholes(connection, head)
    into = None
    for other in others:
        said = latest(connection, at.alert_id)
        if said is None or said.review is not None:
            break
        at = into = other
    return into


def wholes(connection: sa.Connection, head: Head) -> list[Head]:
    """The incident, and each that it is part of by now, whoever joined them."""
    found = [head]
    while found[-1].merged_into is not None and found[-1].merged_into not in {one.incident_id for one in found}:
        try:
            found.append(read_head(connection, found[-1].merged_into))
        except UnknownIncidentError:  # long past: retention let go of it
            break
    return found


def with_parts(connection: sa.Connection, incident_id: str) -> list[str]:
    """The incident's name, and those of all that are part of it by now, whoever joined them."""
    row, found = tables.incident.c, [incident_id]
    for name in found:  # it grows
        parts = connection.execute(sa.select(row.incident_id).where(row.merged_into == name)).scalars()
        found += [part for part in parts if part not in found]
    return found


def carried(case: Case) -> Case:
    """The case of the incident that took this one in, where one did; each entry then says of which it was said.

    For what means the same there: that somebody has seen it, has it in hand, or has something to tell others.
    """
    into = taken_in_by(case.connection, case.head)
    if into is None:
        return case
    head = read_head(case.connection, into.incident_id, locked=True)
    return Case(case.connection, case.ledger, case.who, case.at_ns, head, said_of=case.head.incident_id)
