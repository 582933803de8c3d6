"""Figures: what became of incidents, how far reviewers agree, what a festival brought."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from acoustic.instant import EARLIEST_NS, LATEST_NS
from alerts.alert import ModeOfUse
from alerts.policy import OUTCOMES
from alerts.record import tables
from alerts.record.intact import is_intact
from alerts.review.accounting import accounting
from alerts.review.agreement import AgreementReport, report
from alerts.review.reviewed import reviewed
from sensors.known_type import known
from shotfix.api import answers
from shotfix.api.call import Call, Operation
from shotfix.api.lists import Span, span_conditions
from shotfix.api.problems import Problem
from shotfix.api.record_answers import Accounts, Festival, FestivalCount
from shotfix.api.views import blind_of

if TYPE_CHECKING:
    from starlette.responses import Response

MOST_READ: Final = 20_000
"""Documents that one request looks into."""


class FigureQuery(Span, frozen=True, forbid_unknown_fields=True):
    """Of which incidents: a span of their first rounds, and the mode in which they were heard, or the centre's own."""

    mode: ModeOfUse | None = None

    def whole(self) -> tuple[int, int]:
        """Both bounds; all of time where one is not given.

        Raises
        ------
        Problem
            When the span ends before it begins.
        """
        since_ns, until_ns = self.bounds()
        since_ns = EARLIEST_NS if since_ns is None else since_ns
        until_ns = LATEST_NS if until_ns is None else until_ns
        if until_ns < since_ns:
            raise Problem("bad-request", "the span ends before it begins; exchange from and to")
        return since_ns, until_ns


async def accounts(call: Call) -> Response:
    """What came of incidents."""
    return call.answer(await call.do(_accounts, call))


def _accounts(call: Call) -> Accounts:
    query: FigureQuery = call.query
    since_ns, until_ns = query.whole()
    mode = _mode(call)
    found = accounting(call.room.services.store, since_ns, until_ns, (mode,), _hidden(call))
    same = {name: getattr(found, name) for name in Accounts.__struct_fields__ if hasattr(found, name)}
    return Accounts(since=answers.instant(since_ns), until=answers.instant(until_ns), mode=mode, **same)


def _mode(call: Call) -> ModeOfUse:
    query: FigureQuery = call.query
    return query.mode or call.room.services.mode


def _hidden(call: Call) -> frozenset[str]:
    """What this person has in hand to say blindly what it was: the figures without it and with it would tell."""
    return blind_of(call.room.services.reviews, call.who, call.now_ns)


async def agreement(call: Call) -> Response:
    """How far reviewers agree."""
    return call.answer(await call.do(_agreement, call))


def _agreement(call: Call) -> AgreementReport:
    query: FigureQuery = call.query
    found = report(reviewed(call.room.services.store, *query.whole(), (_mode(call),)), _hidden(call))
    return found if call.sees_people else replace(found, reviewers=())


class _Expected(msgspec.Struct):
    name: str
    kind: str
    over_budget: bool = False


class _What(msgspec.Struct):
    expected: tuple[_Expected, ...] = ()


class _Said(msgspec.Struct):
    what: _What


async def festival(call: Call) -> Response:
    """Incidents by the event that was expected there and then."""
    return call.answer(await call.do(_festival, call))


def _festival(call: Call) -> Festival:
    query: FigureQuery = call.query
    row, alert = tables.incident, tables.alert
    hidden = _hidden(call)
    standing = [*span_conditions(query.whole()), row.c.merged_into.is_(None), row.c.mode == _mode(call)]
    standing += [row.c.incident_id.not_in(hidden)] if hidden else []
    last = sa.and_(alert.c.alert_id == row.c.alert_id, alert.c.revision == row.c.revision)
    wanted = (
        sa.select(row.c.outcome, alert.c.document, alert.c.sha256)
        .join(alert, last)
        .where(*standing)
        .order_by(row.c.first_ns.desc())
        .limit(MOST_READ)
    )
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    unexpected: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    decoder, read = msgspec.json.Decoder(known(_Said)), 0
    with call.room.services.store.reading() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(row).where(*standing)).scalar_one()
        for outcome, document, sha256 in connection.execute(wanted).yield_per(200):
            if not is_intact(document, sha256):  # what was altered is not read, and not counted as read
                continue
            read += 1
            expected = decoder.decode(document).what.expected
            if not expected:
                unexpected[outcome] += 1
            for event in expected:
                mine = found[event.name, event.kind]
                mine[outcome] += 1
                mine["over_budget"] += event.over_budget
    events = tuple(_count(*name, found[name]) for name in sorted(found))
    return Festival(events, dict(unexpected), count, read, len(hidden))


def _count(name: str, kind: str, counts: Counter[str]) -> FestivalCount:
    said = (counts[each] for each in ("published", "review", "suppressed", "over_budget"))
    return FestivalCount(name, kind, *said)


OPERATIONS: Final = (
    Operation("accounting", "GET", "/accounting", "What came of incidents: dispositions, minutes, known misses.",
              accounts, FigureQuery, answer=Accounts),
    Operation("agreement", "GET", "/agreement", "How far reviewers agree, with each other and with the machine.",
              agreement, FigureQuery, answer=AgreementReport),
    Operation("festival", "GET", "/festival", "Incidents by the event that was expected there and then.", festival,
              FigureQuery, answer=Festival),
)  # fmt: skip
