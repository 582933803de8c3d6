"""Alerts and incidents: reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import sqlalchemy as sa

from alerts.alert import Alert
from alerts.record import tables
from alerts.record.intact import intact, is_intact
from alerts.review.blind import BlindCase
from alerts.review.errors import UnknownIncidentError
from alerts.review.head import Head, head_of, read_head
from shotfix.api import answers
from shotfix.api.answers import AlertPage, HistoryEntry, Incident, IncidentPage, Queue, Revisions, Withheld
from shotfix.api.call import Call, Operation
from shotfix.api.lists import Limit, ListQuery, RevisionQuery, cut, page_of
from shotfix.api.problems import Problem
from shotfix.api.shown import note_shown
from shotfix.api.views import blind_of, is_in_hand, view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from alerts.record.ledger import Entry

HISTORY: Final = 500
"""Entries of an incident's history that are shown at once."""


class QueueQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the queue."""

    limit: Limit = 100


class IncidentQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where on its history is told."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0


async def alerts(call: Call) -> Response:
    """A page of alerts."""
    page, judged = await call.do(_alerts, call)
    note_shown(call, judged)
    return call.answer(page)


def _alerts(call: Call) -> tuple[AlertPage, list[str]]:
    query: ListQuery = call.query
    hidden = _hidden(call)
    wanted = page_of(query, published_only=not call.sees_unpublished, documents=True, hidden=hidden)
    with call.room.services.store.reading() as connection:
        page, following = cut(connection.execute(wanted).mappings().all(), query.limit)
    whole = [row for row in page if is_intact(row["document"], row["sha256"])]
    told: list[Any] = [view(row["document"], sees_people=call.sees_people) for row in whole]
    blind = [call.room.services.reviews.blind(head.incident_id) for head in _named(call, hidden)]
    return AlertPage(told, blind, following, len(page) - len(whole)), _judged(whole)


async def alert(call: Call) -> Response:
    """One revision of an alert."""
    document = await call.do(_alert, call, call.name("alert_id"))
    return call.answer(document)


def _alert(call: Call, alert_id: str) -> msgspec.Raw:
    query: RevisionQuery = call.query
    head = _head_of_alert(call, alert_id)
    is_blind = _hides(call, head.incident_id)
    revision = head.revision if query.revision is None or is_blind else query.revision
    if revision < _first_told(call, alert_id):
        raise Problem("unknown", f"{alert_id}: no such revision")
    document = call.room.services.store.document(alert_id, revision)
    if document is None:
        raise Problem("unknown", f"{alert_id}: no revision {revision}; it has {head.revision}")
    return view(document, sees_people=call.sees_people, is_blind=is_blind)


async def revisions(call: Call) -> Response:
    """Every revision of an alert."""
    return call.answer(await call.do(_revisions, call, call.name("alert_id")))


def _revisions(call: Call, alert_id: str) -> Revisions:
    head = _head_of_alert(call, alert_id)
    if _hides(call, head.incident_id):
        raise is_in_hand()
    first = _first_told(call, alert_id)
    said = tables.alert.c
    wanted = sa.select(said.alert_id, said.revision, said.document, said.sha256).order_by(said.revision)
    wanted = wanted.where(said.alert_id == alert_id, said.revision >= first)
    with call.room.services.store.reading() as connection:
        rows = connection.execute(wanted.limit(1_000)).all()
    told: list[Any] = [view(intact(row), sees_people=call.sees_people) for row in rows]
    return Revisions(told)


async def incidents(call: Call) -> Response:
    """A page of incidents."""
    page, judged = await call.do(_incidents, call)
    note_shown(call, judged)
    return call.answer(page)


def _incidents(call: Call) -> tuple[IncidentPage, list[str]]:
    query: ListQuery = call.query
    hidden = _hidden(call)
    wanted = page_of(query, published_only=not call.sees_unpublished, documents=False, hidden=hidden)
    with call.room.services.store.reading() as connection:
        page, following = cut(connection.execute(wanted).mappings().all(), query.limit)
    blind = [Withheld(head.incident_id, head.alert_id, head.version) for head in _named(call, hidden)]
    return IncidentPage([answers.row_of(head_of(row)) for row in page], blind, following), _judged(page)


def _judged(rows: Sequence[Any]) -> list[str]:
    """Those of a page that show a first verdict beside which a second is wanted."""
    return [row["incident_id"] for row in rows if row["wants_second"]]


def _hidden(call: Call) -> list[str]:
    """What this person has in hand to say blindly what it was."""
    return sorted(blind_of(call.room.services.reviews, call.who, call.now_ns))


def _named(call: Call, hidden: list[str]) -> list[Head]:
    """Those of them that a list names: on its first page, unless being in it would tell of them."""
    query: ListQuery = call.query
    heads = [] if query.tells_what else [call.room.services.reviews.head(name) for name in hidden]
    shown = [head for head in heads if query.mode in (None, head.mode)]
    return [head for head in shown if head.published or call.sees_unpublished]


async def incident(call: Call) -> Response:
    """One incident, whole; or its blind side."""
    call.about = call.name("incident_id")
    told = await call.do(_incident, call, call.about)
    return call.answer(told)


def _incident(call: Call, incident_id: str) -> Incident | BlindCase:
    services = call.room.services
    head = services.reviews.head(incident_id)
    call.headers["etag"] = f'"{head.version}"'
    if services.reviews.must_be_blind(incident_id, call.who, call.now_ns):
        call.what = f"{call.operation.right}/blind"
        return services.reviews.blind(incident_id)
    document = services.store.document(head.alert_id, head.revision)
    if document is None:
        raise Problem("unknown", f"{incident_id}: what was said of it was let go of; the ledger has its digest")
    query: IncidentQuery = call.query
    history, earlier = _history(call, incident_id, query.after)
    told: Any = view(document, sees_people=call.sees_people)
    return Incident(
        incident=answers.row_of(head),
        alert=told,
        opinions=tuple(
            answers.IncidentOpinion(
                one.turn, one.by, one.verdict, one.note, answers.instant(one.at_ns), one.listened, one.revision
            )
            for one in services.reviews.opinions(incident_id)
        ),
        links=tuple(answers.IncidentLink(one.system, one.number) for one in services.reviews.links(incident_id)),
        history=tuple(_told(entry) for entry in history),
        earlier=earlier,
    )


def _history(call: Call, incident_id: str, after: int) -> tuple[list[Entry], int]:
    """The latest entries of an incident behind a number, and how many stand before them."""
    entries, rows = [], tables.ledger.c
    mine = sa.and_(rows.about == incident_id, rows.sequence > after)
    with call.room.services.store.reading() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(tables.ledger).where(mine)).scalar_one()
        if count > HISTORY:
            edge = sa.select(rows.sequence).where(mine).order_by(rows.sequence.desc()).offset(HISTORY).limit(1)
            after = connection.execute(edge).scalar_one()
    ledger = call.room.services.reviews.ledger
    entries = list(ledger.entries(after=after, limit=HISTORY, about=incident_id))
    return entries, max(count - HISTORY, 0)


def _told(entry: Entry) -> HistoryEntry:
    return HistoryEntry(entry.sequence, answers.instant(entry.at_ns), entry.kind, entry.actor, msgspec.Raw(entry.body))


async def blind_side(call: Call) -> Response:
    """What a second reviewer may see of an incident."""
    call.about = call.name("incident_id")
    return call.answer(await call.do(call.room.services.reviews.blind, call.about))


async def queue(call: Call) -> Response:
    """What waits for this person."""
    query: QueueQuery = call.query
    reviews = call.room.services.reviews

    def read() -> Queue:
        waiting = reviews.queue(call.now_ns, call.who, query.limit, supervisor=call.has("supervisor"))
        counts = reviews.waiting(_hidden(call))
        return Queue(tuple(answers.in_queue(each) for each in waiting), dict(counts.items()))

    return call.answer(await call.do(read))


def _head_of_alert(call: Call, alert_id: str) -> Head:
    """The incident of an alert that this person is told of; the access log names it."""
    wanted = sa.select(tables.incident.c.incident_id).where(tables.incident.c.alert_id == alert_id)
    with call.room.services.store.reading() as connection:
        name = connection.execute(wanted).scalar_one_or_none()
        head = None if name is None else read_head(connection, name)
    if head is None or not (head.published or call.sees_unpublished):
        raise UnknownIncidentError(f"{alert_id}: no such alert; check its name")
    call.about = head.incident_id
    return head


def _hides(call: Call, incident_id: str) -> bool:
    if not call.room.services.reviews.must_be_blind(incident_id, call.who, call.now_ns):
        return False
    call.what = f"{call.operation.right}/blind"
    return True


def _first_told(call: Call, alert_id: str) -> int:
    """The first revision that this person is told of."""
    if call.sees_unpublished:
        return 1
    said = tables.alert.c
    wanted = sa.select(sa.func.min(said.revision)).where(said.alert_id == alert_id, said.outcome == "published")
    with call.room.services.store.reading() as connection:
        first: int | None = connection.execute(wanted).scalar_one()
    return first or 1_000_001


OPERATIONS: Final = (
    Operation("alerts", "GET", "/alerts", "The last revision of each alert.", alerts, ListQuery, answer=AlertPage),
    Operation("alert", "GET", "/alerts/{alert_id}", "One alert; its last revision, or a given one.", alert,
              RevisionQuery, answer=(Alert, BlindCase)),
    Operation("revisions", "GET", "/alerts/{alert_id}/revisions", "Every revision of an alert.", revisions,
              answer=Revisions),
    Operation("incidents", "GET", "/incidents", "Incidents as they stand.", incidents, ListQuery, answer=IncidentPage),
    Operation("incident", "GET", "/incidents/{incident_id}", "One incident with its history; ETag is its version.",
              incident, IncidentQuery, answer=(Incident, BlindCase)),
    Operation("blind", "GET", "/incidents/{incident_id}/blind", "What a second reviewer may see of an incident.",
              blind_side, answer=BlindCase),
    Operation("queue", "GET", "/queue", "What waits for you, the most urgent first.", queue, QueueQuery, answer=Queue),
)  # fmt: skip
