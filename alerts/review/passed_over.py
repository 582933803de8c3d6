"""Passed over: an act that made no sense any more when the desk came to it, so that no revision will ever name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from alerts.act import decode_act
from alerts.hand import counting
from alerts.record import tables
from alerts.record.incidents import MACHINE
from alerts.review import acts, opinions
from alerts.review.case import Case, open_case
from alerts.review.errors import ReviewError
from alerts.review.head import read_head
from alerts.review.taken_in import carried
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alerts.act import Act
    from alerts.record.ledger import Ledger
    from alerts.review.acts import Decision
    from alerts.review.rules import ReviewRules


@dataclass(frozen=True, slots=True)
class PutAside:
    """An act that was put aside; ``carried`` is the one that says the same of the incident that took its own in."""

    act: Act
    carried: Decision | None


def pass_over(
    connection: sa.Connection, ledger: Ledger, act_id: str, at_ns: int, rules: ReviewRules
) -> PutAside | None:
    """Put an act aside, with an entry in the ledger; None when it is not waiting, as when that was done before.

    What it was to change had changed between its being written and its being heard. Where the machine had made its
    incident part of another and the act means the same there, it is written anew of that one, as its person's, to be
    told to the desk like any other:

    - *gunfire*: where a part is gunfire, the whole is. That a part was something else, or unclear, says nothing of
      rounds that its judge never heard; those must not vanish in it;
    - the undoing of what was carried so.

    All else is for a person to look at again: a place or some rounds of what is a part by now, a joining with it. The
    incident is as if nobody had said it.
    """
    row = tables.act
    waiting = sa.select(row.c.body).where(row.c.act_id == act_id, row.c.applied.is_(False))
    body = connection.execute(waiting).scalar_one_or_none()
    if body is None:
        return None
    act = decode_act(body)
    standing = _standing(connection, act)
    connection.execute(sa.update(row).where(row.c.act_id == act_id).values(applied=True))
    decision = None
    if act in standing:
        said_later = standing[standing.index(act) + 1 :]
        try:
            with connection.begin_nested():  # what is refused half-way leaves no trace
                case = carried(open_case(connection, ledger, act.incident_id, act.by, at_ns))
                decision = _carry(case, act, said_later, rules)
        except ReviewError:  # somebody has the other in hand, has judged it, or is merging or splitting it
            decision = None
    case = Case(connection, ledger, MACHINE, at_ns, read_head(connection, act.incident_id, locked=True))
    told: dict[str, Any] = {"passed_over": act_id}
    if decision is not None:
        told |= {"carried": decision.act.act_id, "into": decision.act.incident_id}
    changes = None
    if act.kind == "judge":
        changes, before = opinions.fall_back(case, {one.act_id for one in standing if one != act})
        told |= before
    case.change("act", told, changes, touch=True)
    return PutAside(act, decision)


def _standing(connection: sa.Connection, act: Act) -> tuple[Act, ...]:
    """The acts about its alert that count, as far as revisions name them or will."""
    mine = [one for _, one in acts.of_alert(connection, act.alert_id)]
    said = acts.latest(connection, act.alert_id)
    told = () if said is None or said.review is None else said.review.acts
    untold = sa.select(tables.act.c.act_id).where(
        tables.act.c.alert_id == act.alert_id, tables.act.c.applied.is_(False)
    )
    names = {*connection.execute(untold).scalars(), *told}
    return counting(one for one in mine if one.act_id in names)


def _carry(case: Case, act: Act, said_later: Iterable[Act], rules: ReviewRules) -> Decision | None:
    """What the act says, said of the incident that took its own in; None where that is not the same.

    A judgement goes there only while nobody says otherwise: neither later of its own incident, nor of the whole.

    Raises
    ------
    ReviewError
        When its person could not say that there.
    """
    if case.said_of is None:
        return None
    version = case.head.version
    if act.judgement == "gunfire" and opinions.turn_of(case.connection, act) == opinions.FIRST:
        of_part = [later.judgement for later in said_later if later.kind == "judge"]
        of_whole = [opinion.verdict for opinion in opinions.read(case.connection, case.head.incident_id)]
        if any(word != act.judgement for word in (*of_part, *of_whole)):
            return None
        # They may have heard a clip of the other; of this one they have not.
        return opinions.first(case, rules, act.judgement, version, act.note, listened=False)
    if act.undoes is not None and (name := _carried_as(case, act.undoes)) is not None:
        # Whether they may was asked when they said it.
        return opinions.undo(case, name, version, act.note, supervisor=True)
    return None


class _Aside(msgspec.Struct):
    """What the entry of an act that was put aside says."""

    passed_over: str = ""
    carried: str | None = None


def _carried_as(case: Case, act_id: str) -> str | None:
    entry = tables.ledger.c
    mine = (entry.about == case.said_of) & (entry.kind == "act") & (entry.actor == MACHINE)
    bodies = case.connection.execute(sa.select(entry.body).where(mine)).scalars()
    told = (msgspec.json.decode(body, type=known(_Aside)) for body in bodies)
    return next((one.carried for one in told if one.passed_over == act_id), None)
