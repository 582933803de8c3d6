"""The account: what came of the alerts of a span of time, for those who pay for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import sqlalchemy as sa

from acoustic.instant import check_instant
from alerts.record import tables
from alerts.record.ledger import Ledger
from alerts.review.agreement import Share, share
from alerts.review.findings import Finding
from alerts.review.rules import overruled
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from alerts.record.database import Database
    from alerts.record.store import Store

State = Literal["confirmed", "unconfirmed", "unfounded", "other", "none"]
STATES: Final[tuple[State, ...]] = ("confirmed", "unconfirmed", "unfounded", "other", "none")
"""The dispositions, and none: nobody has said yet. They are never added up: an alert that nothing was found of is
neither right nor wrong."""


@dataclass(frozen=True, slots=True)
class StateFigures:
    """The alerts in one state: how many of all, how many officer minutes, and for how many those were stated."""

    state: State
    alerts: Share
    officer_minutes: float
    minutes_stated: int


@dataclass(frozen=True, slots=True)
class Accounting:
    """What came of the published alerts of a span of time.

    Parameters
    ----------
    from_ns, to_ns : int
        Of the first round, UTC; the end does not belong to it.
    alerts : int
        Incidents that were ever published; those that turned out to be part of another are counted there.
    states : tuple of StateFigures
        In the order of `STATES`; their counts add up to ``alerts``.
    officer_minutes : float
        In all states.
    judged, overruled : Share
        Of the published, how many a reviewer judged; of those judged surely, how many were said to be no gunfire.
    merged : int
        Published incidents that turned out to be part of another.
    suppressed, sent_to_review : int
        Incidents that were never published, by what the machine said.
    known_misses : int
        Incidents, published by a person or never, that were confirmed and of which the machine's last word was to
        suppress them.
    never_told : int
        Incidents that were confirmed and never published, by machine or person.
    affirmed : int
        Of those that were never published, how many a reviewer said were gunfire.
    held_back : int
        Incidents that are in none of these figures, since who asks has them in hand to say blindly what they were;
        whenever they were, since the hour may tell.
    """

    from_ns: int
    to_ns: int
    alerts: int
    states: tuple[StateFigures, ...]
    officer_minutes: float
    judged: Share
    overruled: Share
    merged: int
    suppressed: int
    sent_to_review: int
    known_misses: int
    never_told: int
    affirmed: int
    held_back: int = 0


@dataclass(slots=True)
class _Line:
    """What the account knows of one incident."""

    published: bool
    machine_outcome: str
    verdict: str | None
    merged: bool
    state: State = "none"
    minutes: float | None = None


class _Told(msgspec.Struct):
    finding: Finding


def accounting(
    store: Store | Database,
    from_ns: int,
    to_ns: int,
    modes: Iterable[str] = ("live",),
    held_back: Collection[str] = (),
) -> Accounting:
    """The account of a span of time, from the incidents and the findings in the ledger.

    The last finding of an incident counts, and the last number of minutes that anybody stated. A shooting of which no
    incident was ever made, because no sensor heard it, is in no record and cannot be in this account: it takes the
    police's own list to find those. Incidents that are ``held_back`` are left out, and counted as such.

    Raises
    ------
    ValueError
        When the span ends before it begins.
    """
    check_instant(from_ns, "from_ns")
    check_instant(to_ns, "to_ns")
    if to_ns < from_ns:
        raise ValueError("the span ends before it begins; exchange them")
    lines = _lines(store, from_ns, to_ns, tuple(modes))
    for name in held_back:
        lines.pop(name, None)
    for entry in Ledger(store).entries(kinds=("disposition",)):
        line = lines.get(entry.about)
        if line is not None:
            finding = msgspec.json.decode(entry.body, type=known(_Told)).finding
            line.state = finding.disposition
            line.minutes = line.minutes if finding.officer_minutes is None else finding.officer_minutes
    return replace(_account(list(lines.values()), from_ns, to_ns), held_back=len(held_back))


def _lines(store: Store | Database, from_ns: int, to_ns: int, modes: tuple[str, ...]) -> dict[str, _Line]:
    row = tables.incident.c
    columns = (row.incident_id, row.published, row.machine_outcome, row.verdict, row.merged_into)
    wanted = sa.select(*columns).where(row.first_ns >= from_ns, row.first_ns < to_ns, row.mode.in_(modes))
    with store.reading() as connection:
        return {
            one.incident_id: _Line(one.published, one.machine_outcome, one.verdict, one.merged_into is not None)
            for one in connection.execute(wanted)
        }


def _account(lines: list[_Line], from_ns: int, to_ns: int) -> Accounting:
    alerts = [line for line in lines if line.published and not line.merged]
    silent = [line for line in lines if not line.published and not line.merged]
    told = Counter(line.machine_outcome for line in silent)
    sure = [line for line in alerts if line.verdict not in (None, "unsure")]
    return Accounting(
        from_ns=from_ns,
        to_ns=to_ns,
        alerts=len(alerts),
        states=tuple(_figures(state, alerts) for state in STATES),
        officer_minutes=sum(line.minutes or 0.0 for line in alerts),
        judged=share(sum(line.verdict is not None for line in alerts), len(alerts)),
        overruled=share(sum(overruled(line.verdict or "unsure", "published") for line in sure), len(sure)),
        merged=sum(line.published and line.merged for line in lines),
        suppressed=told["suppressed"],
        sent_to_review=told["review"],
        known_misses=sum(
            line.state == "confirmed" and line.machine_outcome == "suppressed" and not line.merged for line in lines
        ),
        never_told=sum(line.state == "confirmed" for line in silent),
        affirmed=sum(line.verdict == "gunfire" for line in silent),
    )


def _figures(state: State, alerts: list[_Line]) -> StateFigures:
    mine = [line for line in alerts if line.state == state]
    stated = [line.minutes for line in mine if line.minutes is not None]
    return StateFigures(state, share(len(mine), len(alerts)), sum(stated), len(stated))
