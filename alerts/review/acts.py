"""Acts as they are written: once, with their entry in the ledger, and kept until a revision of the alert names them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from alerts.act import Act, ActKind, act_name, decode_act, encode_act
from alerts.alert import Alert, decode, encode
from alerts.calendar_event import distance_m
from alerts.hand import alerts_concerned, concerns, in_order, objection, root_of
from alerts.record import tables
from alerts.record.intact import intact
from alerts.review.errors import ObjectionError
from alerts.review.head import Head, read_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from alerts.review.case import Case


# What is stored never changes, and is read within a transaction for which others wait: each is decoded once.
_act = functools.lru_cache(4_096)(decode_act)
_alert = functools.lru_cache(32)(decode)

MOST_TIED_BYTES: Final = 8 << 20
"""Of alerts and acts that may hang together by merging: some two hundred alerts of a hundred rounds each."""
MOST_TOLD_BYTES: Final = 24 << 20
"""Of those that any other act may travel with, so that what grew since can still be judged and undone; the journal
takes entries of 32 MiB (`shotfix.segment.LARGEST_BODY_BYTES`)."""
FARTHEST_M: Final = 20_000.0
"""By how much a place by hand may differ from that of the sensors: nobody hears a shot so far off."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An act that was written and is still to be told to the desk.

    Parameters
    ----------
    act : Act
        Safe in the record: it survives a kill before the desk hears of it.
    known : tuple of Alert
        The last stored revision of each alert that it concerns.
    head : Head
        The incident after it was written; its outcome is still the one before.
    earlier : tuple of Act
        What people said of those alerts before, for a desk that has forgotten it.
    """

    act: Act
    known: tuple[Alert, ...]
    head: Head
    earlier: tuple[Act, ...] = ()


def build(case: Case, kind: ActKind, said: Mapping[str, Any], note: str) -> Act:
    """The act of this person about this incident, at what the clock says; `after_all` puts it behind the others.

    Raises
    ------
    ValueError
        When what it says is out of range.
    """
    head = case.head
    text = kind + msgspec.json.encode([dict(said), note], order="sorted").decode()
    return Act(
        act_id=act_name(head.alert_id, case.who, case.at_ns, text),
        kind=kind,
        alert_id=head.alert_id,
        incident_id=head.incident_id,
        by=case.who,
        at_ns=case.at_ns,
        note=note,
        **said,
    )


def after_all(act: Act, earlier: Iterable[Act]) -> Act:
    """The act later than all that it is tied to, if by a nanosecond; its entry in the ledger has what the clock said.

    Whose word is the last, and what an undoing undoes, must not depend on a clock that was set back.
    """
    return replace(act, at_ns=max((act.at_ns, *(one.at_ns + 1 for one in earlier))))


def write(
    case: Case,
    kind: ActKind,
    said: Mapping[str, Any],
    expected_version: int,
    note: str,
    *,
    body: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Decision:
    """Write an act with its entry, and change the row.

    The same words of the same person at the same instant are one act: told twice, it is written once.

    Parameters
    ----------
    body : mapping or None
        What the entry says beside the act.
    changes : mapping or None
        What of the row it changes at once; what the desk makes of it comes later.

    Raises
    ------
    ConflictError
        When the incident is not as it was looked at; somebody else has it, or another that it changes, in hand; or it
        is being merged or split.
    ObjectionError
        When it makes no sense for this incident, or hangs together with more than an entry of the journal may hold.
    """
    act = build(case, kind, said, note)
    if (again := repeated(case, act)) is not None:
        return again
    expect_free(case, expected_version)
    earlier, known = _tied(case.connection, act)
    act = after_all(act, earlier)
    _expect_settled(case, earlier)
    _expect_unheld(case, act, earlier, known)
    _expect_bearable(act, earlier, known)
    # An act that the desk has not heard of yet can be undone: it hears of them in their order.
    words = None if act.kind == "undo" else objection(act, known) or _slip(act, known)
    if words is not None:
        raise ObjectionError(f"{act.incident_id}: {words}")
    told = {**(body or {}), "act": act}
    # The row changes with every act, so that whoever looked before it has looked at something else.
    sequence = case.change("act", told, changes, touch=True)
    row = {
        "act_id": act.act_id,
        "alert_id": act.alert_id,
        "sequence": sequence,
        "at_ns": act.at_ns,
        "by": act.by,
        "body": encode_act(act),
        "applied": False,
    }
    case.connection.execute(sa.insert(tables.act), row)
    return Decision(act, known, case.head, earlier)


def _slip(act: Act, known: tuple[Alert, ...]) -> str | None:
    """A slip of the pen in a degree would send people to another town."""
    alert = next(one for one in known if one.alert_id == act.alert_id)
    if "unplaced" in alert.what.flags:  # where it has a place all the same, that is somebody's by hand
        return None
    machine = alert.place if alert.review is None else alert.review.machine_place or alert.place
    if machine is None or machine.latitude is None or machine.longitude is None:
        return None
    if act.latitude is None or act.longitude is None:
        return None
    off_m = distance_m(machine.latitude, machine.longitude, act.latitude, act.longitude)
    if off_m <= FARTHEST_M:
        return None
    return f"that is {off_m / 1000.0:.0f} km from where it was heard; check latitude and longitude"


def expect_free(case: Case, expected_version: int) -> None:
    """Refuse what was decided of an older version, or while somebody else has it in hand."""
    case.expect_unheld()  # first: it says more
    case.expect(expected_version)


def _expect_settled(case: Case, earlier: tuple[Act, ...]) -> None:
    """Refuse while rounds are on their way: what is said now is said of an incident that will be another."""
    every = {act.act_id: act for act in earlier}
    moving = [act for act in earlier if root_of(act, every).kind in ("merge", "split")]
    row = tables.act.c
    untold = sa.select(row.act_id).where(row.applied.is_(False), row.act_id.in_([act.act_id for act in moving]))
    names = set(case.connection.execute(untold).scalars()) if moving else set()
    for act in moving:
        if act.act_id in names:
            does = "undoing what merged or split" if act.kind == "undo" else "merging" if act.into else "splitting"
            case.refuse(f"{act.by} is {does} it just now; look again in a moment", act.by)


def _expect_bearable(act: Act, earlier: tuple[Act, ...], known: tuple[Alert, ...]) -> None:
    """Refuse what would be too large to be told: an act travels with all that it hangs together with."""
    most = MOST_TIED_BYTES if act.into is not None else MOST_TOLD_BYTES
    size = sum(len(encode(alert)) for alert in known) + sum(len(encode_act(one)) for one in earlier)
    if size > most:
        remedy = "leave it on its own" if act.into is not None else "undo the last merging first, or ask for help"
        raise ObjectionError(
            f"{act.incident_id}: what was merged and split with it has {size >> 10} KiB, {most >> 10} at most; {remedy}"
        )


def _expect_unheld(case: Case, act: Act, earlier: tuple[Act, ...], known: tuple[Alert, ...]) -> None:
    """Refuse while somebody else has in hand what else it changes: also what that is part of by now."""
    incidents = {alert.alert_id: alert.incident_id for alert in known}
    names = [incidents[name] for name in concerns(act, {one.act_id: one for one in earlier}) if name in incidents]
    for name in names:  # it grows; merging never leads in a circle
        head = case.head if name == case.head.incident_id else read_head(case.connection, name)
        case.expect_unheld(head)
        into = head.merged_into
        if into is not None and into in incidents.values() and into not in names:
            names.append(into)


def repeated(case: Case, act: Act) -> Decision | None:
    """What came of it when it was told before; None when it is new."""
    told = stored(case.connection, act.act_id)
    return None if told is None else _decision(case.connection, told, case.head)


def merge(case: Case, into: str, expected_version: int, note: str) -> Decision:
    """Write that it is part of another incident, ``into``, which nobody else may have in hand either.

    Raises
    ------
    UnknownIncidentError, ConflictError, ObjectionError
        When there is no such incident; somebody has it in hand; or it makes no sense.
    """
    target = read_head(case.connection, into)
    if target.incident_id == case.head.incident_id:
        raise ObjectionError(f"{into}: an incident cannot become part of itself")
    return write(case, "merge", {"into": target.alert_id}, expected_version, note)


def stored(connection: sa.Connection, act_id: str) -> Act | None:
    """The act of this name; None when there is none."""
    wanted = sa.select(tables.act.c.body).where(tables.act.c.act_id == act_id)
    body = connection.execute(wanted).scalar_one_or_none()
    return None if body is None else _act(body)


def of_alert(connection: sa.Connection, alert_id: str) -> tuple[tuple[int, Act], ...]:
    """Every act about an alert with the number of its entry, in the order they were made."""
    wanted = (
        sa.select(tables.act.c.sequence, tables.act.c.body)
        .where(tables.act.c.alert_id == alert_id)
        .order_by(tables.act.c.sequence)
    )
    return tuple((row.sequence, _act(row.body)) for row in connection.execute(wanted))


def pending(connection: sa.Connection) -> tuple[Decision, ...]:
    """Acts that no revision names yet, in the order they were made."""
    return tuple(_decision(connection, act, read_head(connection, act.incident_id)) for act in _unapplied(connection))


def unapplied(connection: sa.Connection) -> tuple[int, int | None]:
    """How many acts no revision names yet, and when the first of them was made."""
    row = tables.act.c
    counted = sa.select(sa.func.count(), sa.func.min(row.at_ns)).where(row.applied.is_(False))
    count, oldest_ns = connection.execute(counted).one()
    return count, oldest_ns


def _decision(connection: sa.Connection, act: Act, head: Head) -> Decision:
    earlier, known = _tied(connection, act)
    return Decision(act, known, head, earlier)


def documents_for(connection: sa.Connection, act: Act) -> tuple[Alert, ...]:
    """The last stored revision of each alert that an act concerns, as far as there are any, its own first."""
    return _tied(connection, act)[1]


def before(connection: sa.Connection, act: Act) -> tuple[Act, ...]:
    """All other acts of the alerts that an act touches, directly or by an act in between, in their order."""
    return _tied(connection, act)[0]


def _tied(connection: sa.Connection, act: Act) -> tuple[tuple[Act, ...], tuple[Alert, ...]]:
    """Acts that an act is tied to, itself left out, and the alerts that they all concern, its own first.

    What was applied is named by the alerts that it concerns; what was not yet, there is never much of.
    """
    every = {one.act_id: one for one in _unapplied(connection)} | {act.act_id: act}
    alerts: dict[str, Alert] = {}
    new = [act.alert_id]
    while new:
        for alert_id in new:
            found = latest(connection, alert_id)
            if found is not None:
                alerts[alert_id] = found
        every |= {one.act_id: one for alert_id in new for _, one in of_alert(connection, alert_id)}
        named = {name for one in alerts.values() if one.review is not None for name in one.review.acts}
        every |= {one.act_id: one for one in _named(connection, named - set(every))}
        new = [name for name in alerts_concerned(act, every.values()) if name not in alerts and name not in new]
        new = _stored_of(connection, new)
    concerned = set(alerts)
    tied = [one for one in in_order(every.values()) if concerned & set(concerns(one, every))]
    return tuple(one for one in tied if one.act_id != act.act_id), tuple(alerts.values())


def _stored_of(connection: sa.Connection, alert_ids: list[str]) -> list[str]:
    """Those of them of which anything was said, in their order."""
    if not alert_ids:
        return []
    row = tables.alert.c
    there = set(connection.execute(sa.select(row.alert_id).where(row.alert_id.in_(alert_ids)).distinct()).scalars())
    return [alert_id for alert_id in alert_ids if alert_id in there]


def _unapplied(connection: sa.Connection) -> list[Act]:
    wanted = sa.select(tables.act.c.body).where(tables.act.c.applied.is_(False)).order_by(tables.act.c.sequence)
    return [_act(body) for body in connection.execute(wanted).scalars()]


def _named(connection: sa.Connection, names: set[str]) -> list[Act]:
    if not names:
        return []
    wanted = sa.select(tables.act.c.body).where(tables.act.c.act_id.in_(sorted(names)))
    return [_act(body) for body in connection.execute(wanted).scalars()]


def last_said(connection: sa.Connection, alert_id: str) -> Alert:
    """The last stored revision of an alert.

    Raises
    ------
    ObjectionError
        When there is none.
    """
    found = latest(connection, alert_id)
    if found is None:
        raise ObjectionError(f"{alert_id}: nothing was said of it yet; look for it under another name")
    return found


def latest(connection: sa.Connection, alert_id: str) -> Alert | None:
    """The last stored revision of an alert; None when there is none."""
    wanted = (
        sa.select(*(tables.alert.c[name] for name in ("alert_id", "revision", "document", "sha256")))
        .where(tables.alert.c.alert_id == alert_id)
        .order_by(tables.alert.c.revision.desc())
        .limit(1)
    )
    row = connection.execute(wanted).one_or_none()
    return None if row is None else _alert(intact(row))
