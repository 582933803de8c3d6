"""The record as auditors and supervisors see it: ledger, access log, deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import sqlalchemy as sa

from alerts.record import tables
from alerts.record.entry import START, Entry
from alerts.record.ledger import Ledger, LedgerKind
from shotfix.api import answers
from shotfix.api.answers import Me
from shotfix.api.call import Call, Operation
from shotfix.api.permissions import PERMISSIONS, may
from shotfix.api.problems import Problem
from shotfix.api.record_answers import (
    AccessPage,
    AccessRow,
    CourierState,
    DeadDelivery,
    Deliveries,
    LedgerChecked,
    LedgerEntry,
    LedgerPage,
    Revived,
)
from shotfix.api.views import blind_of

if TYPE_CHECKING:
    from starlette.responses import Response

MOST_CHECKED: Final = 20_000
MOST_DEAD: Final = 200

Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Person = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
About = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class LedgerQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries."""

    after: Number = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 200
    about: About | None = None
    kind: LedgerKind | None = None


class CheckQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which stretch of the chain; `shotfix ledger verify` walks all of it, and looks at the documents too."""

    after: Number = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHECKED)] = MOST_CHECKED


class AccessQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls."""

    before: Number | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 200
    who: Person | None = None
    about: About | None = None


async def me(call: Call) -> Response:
    """Who is asking."""
    told = call.room.services.audio_for_researchers
    allowed = tuple(name for name in PERMISSIONS if may(call.person.roles, name, audio_for_researchers=told))
    return call.answer(Me(call.who, call.person.roles, answers.instant(call.person.expires_ns), allowed))


async def ledger(call: Call) -> Response:
    """Entries of the ledger."""
    query: LedgerQuery = call.query
    call.about = query.about or ""
    kinds = None if query.kind is None else (query.kind,)

    def read() -> LedgerPage:
        chain = Ledger(call.room.services.store)
        found = list(chain.entries(after=query.after, limit=query.limit, about=query.about, kinds=kinds))
        following = found[-1].sequence if len(found) == query.limit else None
        return LedgerPage(tuple(_entry(entry) for entry in found), following)

    return call.answer(await call.do(read))


def _entry(entry: Entry) -> LedgerEntry:
    return LedgerEntry(
        entry.sequence, answers.instant(entry.at_ns), entry.kind, entry.actor, entry.about,
        entry.body.decode("utf-8", "replace"), entry.previous, entry.digest,
    )  # fmt: skip


async def check(call: Call) -> Response:
    """Whether a stretch of the chain holds."""
    return call.answer(await call.do(_check, call))


def _check(call: Call) -> LedgerChecked:
    query: CheckQuery = call.query
    chain = Ledger(call.room.services.store)
    head, digest = chain.head()

    def checked(first: int, last: int, because: str | None = None) -> LedgerChecked:
        broken = last if because else None
        return LedgerChecked(broken is None, first, last, head, digest, broken, because)

    previous, last = START, 0
    if query.after:
        before = next(iter(chain.entries(after=query.after - 1, limit=1)), None)
        if before is None or before.sequence != query.after:
            raise Problem("unknown", f"no entry {query.after}; the last one is {head}")
        previous, last = before.digest, before.sequence
    for entry in chain.entries(after=query.after, limit=query.limit):
        why = _why_broken(entry, last, previous)
        if why:
            return checked(query.after + 1, entry.sequence, why)
        previous, last = entry.digest, entry.sequence
    return checked(query.after + 1, last)


def _why_broken(entry: Entry, last: int, previous: str) -> str:
    if entry.sequence != last + 1:
        return "entries before it are missing"
    if entry.previous != previous:
        return "it does not follow the entry before it"
    return "" if entry.digest == entry.expected else "it was altered"


async def access(call: Call) -> Response:
    """Who looked at what."""
    query: AccessQuery = call.query
    await call.room.access.flush()
    rows = tables.access.c
    wanted = sa.select(tables.access).order_by(rows.number.desc()).limit(query.limit)
    for column, value in ((rows.who, query.who), (rows.about, query.about)):
        if value is not None:
            wanted = wanted.where(column == value)
    if query.before is not None:
        wanted = wanted.where(rows.number < query.before)

    def read() -> AccessPage:
        with call.room.services.store.reading() as connection:
            found = connection.execute(wanted).all()
        told = tuple(
            AccessRow(
                row.number, answers.instant(row.at_ns), row.who, row.role, row.what, row.about, row.status, row.address
            )
            for row in found
        )
        return AccessPage(told, told[-1].number if len(told) == query.limit else None)

    return call.answer(await call.do(read))


async def deliveries(call: Call) -> Response:
    """What each courier carries, has carried, has given up."""
    return call.answer(await call.do(_deliveries, call))


def _deliveries(call: Call) -> Deliveries:
    outbox = call.room.services.outbox
    states = []
    for courier in call.room.services.couriers:
        counts = outbox.counts(courier)
        due = answers.maybe(outbox.next_attempt_ns(courier))
        states.append(CourierState(courier, counts["pending"], counts["sent"], counts["dead"], due))
    return Deliveries(tuple(states), _dead(call))


def _dead(call: Call) -> tuple[DeadDelivery, ...]:
    box, tries = tables.outbox.c, tables.attempt.c
    last = (
        sa.select(tries.detail)
        .where(tries.outbox_id == box.outbox_id)
        .order_by(tries.number.desc())
        .limit(1)
        .correlate(tables.outbox)
        .scalar_subquery()
    )
    wanted: sa.Select[Any] = (
        sa.select(
            box.courier, box.alert_id, box.revision, box.attempts, box.queued_ns, box.settled_ns, last.label("said")
        )
        .where(box.state == "dead")
        .order_by(box.outbox_id.desc())
        .limit(MOST_DEAD)
    )
    hidden = blind_of(call.room.services.reviews, call.who, call.now_ns)
    if hidden:  # that it was sent says that it was published, and when
        mine = sa.select(tables.incident.c.alert_id).where(tables.incident.c.incident_id.in_(hidden))
        wanted = wanted.where(box.alert_id.not_in(mine))
    with call.room.services.store.reading() as connection:
        rows = connection.execute(wanted).all()
    return tuple(
        DeadDelivery(
            row.courier, row.alert_id, row.revision, row.attempts, answers.instant(row.queued_ns),
            answers.maybe(row.settled_ns), row.said,
        )
        for row in rows
    )  # fmt: skip


async def revive(call: Call) -> Response:
    """Try again what a courier gave up."""
    courier = call.name("courier")
    if courier not in call.room.services.couriers:
        raise Problem("unknown", "no such courier; GET /deliveries names them")
    call.about = courier
    count = await call.do(call.room.services.outbox.revive, courier, call.now_ns, call.who)
    return call.answer(Revived(courier, count))


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No members."""


OPERATIONS: Final = (
    Operation("me", "GET", "/me", "Who you are, and what you may do.", me, answer=Me),
    Operation("ledger", "GET", "/ledger", "Entries of the ledger, in order.", ledger, LedgerQuery, answer=LedgerPage,
              logged_first=True),
    Operation("check", "GET", "/ledger/verify", "Whether a stretch of the ledger's chain holds.", check, CheckQuery,
              answer=LedgerChecked),
    Operation("access", "GET", "/access", "Who looked at what, the latest first.", access, AccessQuery,
              answer=AccessPage, logged_first=True),
    Operation("deliveries", "GET", "/deliveries", "What each courier is still to carry, has carried, has given up.",
              deliveries, answer=Deliveries),
    Operation("revive", "POST", "/deliveries/{courier}/revive", "Try again what a courier gave up.", revive,
              body=Nothing, answer=Revived),
)  # fmt: skip
