"""The queue: which incidents want a person, and which of them first.

What wants whom:

- ``judge``: its outcome is review, and nobody judged it;
- ``acknowledge``: it was published, and nobody acknowledged it, nor withdrew it by a judgement;
- ``adjudicate``: two reviewers differ; for supervisors, and not for those two;
- ``second``: a second reviewer is wanted; not for the first, nor for who acknowledged it.

Order. First what happened within `FRESH_S` and wants a first look, by priority: the probability of gunfire, times how
grave it would be (one and a half of it for two rounds, two for four, and so on; twice that when they were
full-automatic), times how long it has waited (twice after `DOUBLED_S`, three times after twice that). In a flood of
fireworks far more waits than anybody can look at: what is twice as likely must then not stand behind what only waited
(benchmarks/accuracy/policy.py). Then what
reviewers differ about, the oldest first; then what wants a first look and is older, by the same priority; then second
opinions, the oldest first. A fresh shooting is thus never below what is no emergency any more; and among that, age
alone brings up the least likely in the end. Of a ``second`` nothing is told that could say what others thought, and
its place in the queue does not either; who has one in hand is not asked for a first look at it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import sqlalchemy as sa

from acoustic.instant import seconds_between
from alerts.record import tables
from alerts.record.intact import is_intact
from alerts.review.case import same_person
from alerts.review.head import COLUMNS, Head, head_of
from alerts.review.opinions import held_blind
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Want = Literal["judge", "acknowledge", "adjudicate", "second"]

FRESH_S: Final = 1_800.0
DOUBLED_S: Final = 1_800.0
LEAST_PROBABILITY: Final = 0.01
"""Whatever wants a person is worth a look: below this the machine's own doubt must not bury it."""
MOST_ROUNDS: Final = 64
MOST_READ: Final = 2_000
"""Of each kind the newest are read and put in order; `waiting_counts` counts all."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One incident that wants a person. Of a ``second``, whatever could tell what others think is None.

    Parameters
    ----------
    incident_id, alert_id, version
        Which, and as which version it was read.
    want : str
        For what: judge, acknowledge, adjudicate or second.
    claimed_by, claimed_until_ns
        Who has it in hand and until when; None when it is anybody's.
    priority : float or None
        As the module describes.
    first_ns, outcome, status, mode, p_gunshot, rounds, automatic, latitude, longitude, beat
        What the last revision says.
    """

    incident_id: str
    alert_id: str
    version: int
    want: Want
    claimed_by: str | None
    claimed_until_ns: int | None
    priority: float | None = None
    first_ns: int | None = None
    outcome: str | None = None
    status: str | None = None
    mode: str | None = None
    p_gunshot: float | None = None
    rounds: int | None = None
    automatic: bool | None = None
    latitude: float | None = None
    longitude: float | None = None
    beat: str | None = None


def severity(rounds: int, *, automatic: bool) -> float:
    """How grave it would be: 1 for one round, 1.5 for two, 2 for four, up to 4; twice that when full-automatic."""
    counted = min(max(rounds, 1), MOST_ROUNDS)
    return (1.0 + 0.5 * math.log2(counted)) * (2.0 if automatic else 1.0)


def priority(p_gunshot: float, rounds: int, age_s: float, *, automatic: bool) -> float:
    """How urgent a first look is; it rises with each of them."""
    waited = 1.0 + max(age_s, 0.0) / DOUBLED_S
    return max(p_gunshot, LEAST_PROBABILITY) * severity(rounds, automatic=automatic) * waited


def place_in_queue(want: Want, urgency: float, age_s: float, incident_id: str) -> tuple[int, float, str]:
    """What to sort by: smaller comes first; the name decides where all else is equal."""
    if want == "adjudicate":
        return 1, -age_s, incident_id
    if want == "second":
        return 3, -age_s, incident_id
    return (0 if age_s <= FRESH_S else 2), -urgency, incident_id


def read_queue(connection: sa.Connection, now_ns: int, who: str, limit: int, supervisor: bool) -> tuple[Waiting, ...]:
    """What waits for a person, in order, ``limit`` of it at most."""
    placed = []
    blind = {name for name, holder in held_blind(connection, now_ns) if same_person(holder, who)}
    for want, head, automatic in _candidates(connection, who, supervisor=supervisor):
        if want != "second" and head.incident_id in blind:  # that it wants a first look would say what others think
            continue
        age_s = seconds_between(head.first_ns, now_ns)
        urgency = priority(head.p_gunshot, head.rounds, age_s, automatic=automatic)
        key = place_in_queue(want, urgency, age_s, head.incident_id)
        placed.append((key, _waiting(want, head, automatic, urgency, now_ns)))
    return tuple(waiting for _, waiting in sorted(placed, key=lambda one: one[0])[: max(limit, 0)])


def waiting_counts(connection: sa.Connection, held_back: Collection[str] = ()) -> dict[Want, int]:
    """How many incidents want a person, by what they want, whoever that may be.

    Those that are held back count only where a second person is wanted: all else would say what others think of them.
    """
    counted = {}
    for want, condition in _WANTED:
        query = sa.select(sa.func.count()).select_from(tables.incident).where(condition)
        if held_back and want != "second":
            query = query.where(_row.incident_id.not_in(held_back))
        counted[want] = connection.execute(query).scalar_one()
    return counted


_row = tables.incident.c
_STANDS: Final = _row.merged_into.is_(None)
_REVIEW: Final = _STANDS & (_row.outcome == "review") & _row.verdict.is_(None) & _row.disagreed.is_(False)
_WITHDRAWN: Final = (_row.status == "cancelled") & _row.verdict.is_not(None)
_WANTED: Final[tuple[tuple[Want, sa.ColumnElement[bool]], ...]] = (
    ("judge", _REVIEW),
    ("acknowledge", _STANDS & _row.published.is_(True) & _row.acknowledged_by.is_(None) & ~_WITHDRAWN & ~_REVIEW),
    ("adjudicate", _STANDS & _row.disagreed.is_(True)),
    ("second", _STANDS & _row.wants_second.is_(True)),
)


class _What(msgspec.Struct):
    flags: tuple[str, ...]


class _Told(msgspec.Struct):
    """All that the queue needs of a document."""

    what: _What


def _candidates(connection: sa.Connection, who: str, *, supervisor: bool) -> Iterator[tuple[Want, Head, bool]]:
    said = tables.alert.c
    same = (said.alert_id == _row.alert_id) & (said.revision == _row.revision)
    joined = tables.incident.outerjoin(tables.alert, same)
    for want, condition in _WANTED:
        if want == "adjudicate" and not supervisor:
            continue
        newest = sa.select(*COLUMNS, said.document, said.sha256).select_from(joined).where(condition)
        newest = newest.order_by(_row.first_ns.desc(), _row.incident_id).limit(MOST_READ)
        first_look = want in ("judge", "acknowledge")
        spoke = {} if first_look else _reviewers(connection, condition)
        for row in connection.execute(newest).mappings().all():
            head = head_of(row)
            knows = [*spoke.get(head.incident_id, ()), head.acknowledged_by if want == "second" else None]
            if not any(same_person(one, who) for one in knows):
                yield want, head, _automatic(row["document"], row["sha256"])


def _reviewers(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> dict[str, list[str]]:
    """Who judged each incident that fulfils a condition."""
    opinion = tables.opinion.c
    joined = tables.opinion.join(tables.incident, opinion.incident_id == _row.incident_id)
    found: dict[str, list[str]] = {}
    for row in connection.execute(sa.select(opinion.incident_id, opinion.by).select_from(joined).where(condition)):
        found.setdefault(row.incident_id, []).append(row.by)
    return found


def _automatic(document: bytes | None, sha256: str) -> bool:
    """Also no where the document was altered: it waits all the same, and whoever opens it is told."""
    if document is None or not is_intact(document, sha256):
        return False
    return "full-automatic" in msgspec.json.decode(document, type=known(_Told)).what.flags


def _waiting(want: Want, head: Head, automatic: bool, urgency: float, now_ns: int) -> Waiting:
    holder = head.holder(now_ns)
    until_ns = None if holder is None else head.claimed_until_ns
    bare = Waiting(head.incident_id, head.alert_id, head.version, want, holder, until_ns)
    if want == "second":
        return bare
    same = ("first_ns", "outcome", "status", "mode", "p_gunshot", "rounds", "latitude", "longitude", "beat")
    told = {name: getattr(head, name) for name in same}
    return replace(bare, priority=round(urgency, 6), automatic=automatic, **told)
