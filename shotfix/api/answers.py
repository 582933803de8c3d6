"""Answers: the records that the API speaks in; its OpenAPI document is made from them."""

from __future__ import annotations

from typing import Any

import msgspec

from acoustic.instant import instant_text
from alerts.alert import Alert, Instant
from alerts.review.blind import BlindCase
from alerts.review.head import Head
from alerts.review.queue import Waiting
from shotfix.api.permissions import Role


def instant(at_ns: int) -> str:
    """An instant as the API writes it: RFC 3339, UTC, six decimals."""
    return instant_text(at_ns, 6)


def maybe(at_ns: int | None) -> str | None:
    """The same, of what may not have been."""
    return None if at_ns is None else instant(at_ns)


class Problem(msgspec.Struct, frozen=True):
    """What went wrong (RFC 9457); ``code`` says it to programs, ``detail`` to people."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class Me(msgspec.Struct, frozen=True):
    """Who is asking, as what, until when, and what they may do."""

    name: str
    roles: tuple[Role, ...]
    expires: Instant
    may: tuple[str, ...]


class Withheld(msgspec.Struct, frozen=True):
    """Stands for an incident that this person has in hand to say blindly what it was."""

    incident_id: str
    alert_id: str
    version: int


class AlertPage(msgspec.Struct, frozen=True):
    """Last revisions of alerts, those first told last first; ``next`` is the cursor of what follows.

    ``blind`` are those that this person has in hand to say blindly what they were; so many of the page were ``altered``
    in the record, and are left out.
    """

    alerts: list[Alert]
    blind: list[BlindCase]
    next: str | None
    altered: int = 0


class Revisions(msgspec.Struct, frozen=True):
    """Every revision of an alert, in order."""

    alerts: list[Alert]


class IncidentRow(msgspec.Struct, frozen=True):
    """An incident as it stands: what its last revision says, what people did; ``version`` grows with each change."""

    incident_id: str
    alert_id: str
    revision: int
    status: str
    mode: str
    outcome: str
    machine_outcome: str
    published: bool
    merged_into: str | None
    first: Instant
    published_at: Instant
    latitude: float | None
    longitude: float | None
    beat: str | None
    p_gunshot: float
    rounds: int
    version: int
    changed_by: str
    verdict: str | None
    claimed_by: str | None
    claimed_until: Instant | None
    acknowledged_by: str | None
    acknowledged_at: Instant | None
    disposition: str | None
    case_number: str | None
    wants_second: bool
    disagreed: bool
    pinned: bool


class IncidentPage(msgspec.Struct, frozen=True):
    """Incidents as they stand, those first told last first; ``next`` is the cursor of what follows.

    ``blind`` are those that this person has in hand to say blindly what they were.
    """

    incidents: list[IncidentRow]
    blind: list[Withheld]
    next: str | None


class HistoryEntry(msgspec.Struct, frozen=True):
    """What was said or done about an incident, and by whom."""

    sequence: int
    at: Instant
    kind: str
    actor: str
    body: Any


class IncidentOpinion(msgspec.Struct, frozen=True):
    """What one reviewer said: turn 1 the first, 2 the second and blind, 3 a supervisor's."""

    turn: int
    by: str
    verdict: str
    note: str
    at: Instant
    listened: bool
    revision: int


class IncidentLink(msgspec.Struct, frozen=True):
    """The number by which another system knows it."""

    system: str
    number: str


class Incident(msgspec.Struct, frozen=True):
    """One incident, whole: its row, its last revision, and its history, of which ``earlier`` entries are left out."""

    incident: IncidentRow
    alert: Alert
    opinions: tuple[IncidentOpinion, ...]
    links: tuple[IncidentLink, ...]
    history: tuple[HistoryEntry, ...]
    earlier: int


class InQueue(msgspec.Struct, frozen=True):
    """One incident that wants a person: to ``judge``, ``acknowledge``, ``adjudicate`` or, blindly, as ``second``.

    Of a ``second``, whatever could tell what others think is None.
    """

    incident_id: str
    alert_id: str
    version: int
    want: str
    claimed_by: str | None
    claimed_until: Instant | None
    priority: float | None
    first: Instant | None
    outcome: str | None
    status: str | None
    mode: str | None
    p_gunshot: float | None
    rounds: int | None
    automatic: bool | None
    latitude: float | None
    longitude: float | None
    beat: str | None


class Queue(msgspec.Struct, frozen=True):
    """What waits for this person, the most urgent first; and how many wait for anybody, by what they want.

    What you have in hand to say blindly what it was is among the ``second``, and nowhere else.
    """

    waiting: tuple[InQueue, ...]
    counts: dict[str, int]


class Done(msgspec.Struct, frozen=True):
    """The incident after an act. ``applied``: whether a revision says it already; that is then ``alert``.

    ``blind`` stands instead of ``incident`` where this person now has it in hand to say blindly what it was.
    """

    incident: IncidentRow | None
    version: int
    blind: Withheld | None = None
    applied: bool = True
    act_id: str | None = None
    alert: Alert | None = None


class Sensor(msgspec.Struct, frozen=True):
    """A sensor, and what it is like. Without the role its name is opaque, and its place the middle of a cell.

    ``cell_m`` is the cell's side; None where place and name are its own.
    """

    sensor: str
    node: str | None
    state: str
    troubles: tuple[str, ...]
    since: Instant | None
    clock_offset_s: float | None
    clock: str | None
    latitude: float | None
    longitude: float | None
    east_m: float | None
    north_m: float | None
    cell_m: float | None


class Sensors(msgspec.Struct, frozen=True):
    """Every sensor, and how many are in each state."""

    sensors: tuple[Sensor, ...]
    counts: dict[str, int]


def in_queue(waiting: Waiting) -> InQueue:
    """What waits, as the API writes it."""
    same = (name for name in InQueue.__struct_fields__ if hasattr(waiting, name))
    return InQueue(
        claimed_until=maybe(waiting.claimed_until_ns),
        first=maybe(waiting.first_ns),
        **{name: getattr(waiting, name) for name in same},
    )


def row_of(head: Head) -> IncidentRow:
    """A head as the API writes it."""
    same = (name for name in IncidentRow.__struct_fields__ if hasattr(head, name))
    return IncidentRow(
        first=instant(head.first_ns),
        published_at=instant(head.published_ns),
        claimed_until=maybe(head.claimed_until_ns),
        acknowledged_at=maybe(head.acknowledged_ns),
        **{name: getattr(head, name) for name in same},
    )
