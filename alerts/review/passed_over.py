"""Passed over: an act that made no sense any more when the desk came to it, so that no revision will ever name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from alerts.act import decode_act
from alerts.record import tables
from alerts.record.incidents import MACHINE
from alerts.review.case import Case
from alerts.review.head import read_head

if TYPE_CHECKING:
    from alerts.record.ledger import Ledger


def pass_over(connection: sa.Connection, ledger: Ledger, act_id: str, at_ns: int) -> bool:
    """Put an act aside, with an entry in the ledger; False when it is not waiting, as when that was done before.

    What it was to change had changed between its being written and its being heard: the round that it was to part had
    gone, the other incident had been joined to a third. The incident is as if nobody had judged it where the act was
    the judgement, so that a person looks again, and its version is another one.
    """
    row = tables.act
    waiting = sa.select(row.c.body).where(row.c.act_id == act_id, row.c.applied.is_(False))
    body = connection.execute(waiting).scalar_one_or_none()
    if body is None:
        return False
    act = decode_act(body)
    connection.execute(sa.update(row).where(row.c.act_id == act_id).values(applied=True))
    case = Case(connection, ledger, MACHINE, at_ns, read_head(connection, act.incident_id, locked=True))
    judged = act.kind == "judge" and case.head.verdict == act.judgement
    case.change("act", {"passed_over": act_id}, {"verdict": None} if judged else None, touch=True)
    return True
