"""Answers about the record: ledger, access log, deliveries, figures."""

from __future__ import annotations

import msgspec

from alerts.alert import Instant, ModeOfUse
from alerts.review.accounting import StateFigures
from alerts.review.agreement import Share


class LedgerEntry(msgspec.Struct, frozen=True):
    """One entry of the ledger; ``body`` is JSON text, over whose exact bytes ``digest`` goes."""

    sequence: int
    at: Instant
    kind: str
    actor: str
    about: str
    body: str
    previous: str
    digest: str


class LedgerPage(msgspec.Struct, frozen=True):
    """Entries in order; ``next`` is what to ask ``after`` for more, None at the end."""

    entries: tuple[LedgerEntry, ...]
    next: int | None


class LedgerChecked(msgspec.Struct, frozen=True):
    """Whether a stretch of the chain holds, and its head; ``broken`` is the first entry that does not."""

    holds: bool
    first: int
    last: int
    head: int
    digest: str
    broken: int | None
    because: str | None


class AccessRow(msgspec.Struct, frozen=True):
    """One call that was written down."""

    number: int
    at: Instant
    who: str
    role: str
    what: str
    about: str
    status: int
    address: str


class AccessPage(msgspec.Struct, frozen=True):
    """Calls, the latest first; ``next`` is what to ask ``before`` for more."""

    accesses: tuple[AccessRow, ...]
    next: int | None


class Accounts(msgspec.Struct, frozen=True):
    """What came of the published alerts of a span of time, and what is known to have been missed.

    The states are never added up: an alert that nothing was found of is neither right nor wrong. What you have in hand
    to say blindly what it was is ``held_back`` from all of it, whenever it was.
    """

    since: Instant
    until: Instant
    mode: ModeOfUse
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
    held_back: int


class CourierState(msgspec.Struct, frozen=True):
    """What a courier is still to carry, has carried, has given up."""

    courier: str
    pending: int
    sent: int
    dead: int
    next_attempt: Instant | None


class DeadDelivery(msgspec.Struct, frozen=True):
    """One that was given up."""

    courier: str
    alert_id: str
    revision: int
    attempts: int
    queued: Instant
    settled: Instant | None
    detail: str | None


class Deliveries(msgspec.Struct, frozen=True):
    """Every courier, and the latest of what was given up."""

    couriers: tuple[CourierState, ...]
    dead: tuple[DeadDelivery, ...]


class Revived(msgspec.Struct, frozen=True):
    """How many deliveries are tried again."""

    courier: str
    revived: int


class FestivalCount(msgspec.Struct, frozen=True):
    """Incidents at and around one expected event, by outcome."""

    name: str
    kind: str
    published: int
    review: int
    suppressed: int
    over_budget: int


class Festival(msgspec.Struct, frozen=True):
    """Incidents by the event that was expected there and then; ``read`` of ``incidents`` were looked into.

    Not read are those beyond a bound, and those whose last revision was altered in the record. What you have in hand to
    say blindly what it was is ``held_back`` from all of it, whenever it was.
    """

    events: tuple[FestivalCount, ...]
    unexpected: dict[str, int]
    incidents: int
    read: int
    held_back: int
