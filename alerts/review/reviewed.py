"""Reviewed incidents, one after the other: what each reviewer said, and what the machine had said then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from acoustic.instant import EARLIEST_NS, LATEST_NS
from alerts.alert import Alert, decode
from alerts.record import tables
from alerts.record.intact import intact
from alerts.review.head import COLUMNS, Head, head_of
from alerts.review.opinions import FIRST, SECOND, SUPERVISOR, Opinion, read
from alerts.review.rules import SecondBecause
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alerts.policy import Outcome
    from alerts.record.database import Database
    from alerts.record.store import Store

_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An incident that somebody judged.

    Parameters
    ----------
    head : Head
        As it stands.
    opinions : tuple of Opinion
        Those that count, in their turns; one at least.
    alert : Alert
        The last revision.
    judged : Alert or None
        The revision that the first opinion was of; None when it was let go of.
    second_because : tuple of str
        Why a second person was asked.
    """

    head: Head
    opinions: tuple[Opinion, ...]
    alert: Alert
    judged: Alert | None
    second_because: tuple[SecondBecause, ...]

    def of_turn(self, turn: int) -> Opinion | None:
        """What was said in a turn; None where nobody spoke."""
        return next((opinion for opinion in self.opinions if opinion.turn == turn), None)

    @property
    def machine_outcome(self) -> Outcome:
        """What the machine alone had made of it when the first person judged it."""
        alert = self.judged or self.alert
        return alert.outcome if alert.review is None else alert.review.machine_outcome

    @property
    def pair(self) -> tuple[str, str] | None:
        """What the first and the second said; None until both did."""
        first, second = self.of_turn(FIRST), self.of_turn(SECOND)
        return None if first is None or second is None else (first.verdict, second.verdict)

    @property
    def standing(self) -> str:
        """How the last word came about: single, agreed, adjudicated, or disputed, when there is none."""
        if self.of_turn(SUPERVISOR) is not None:
            return "adjudicated"
        if self.head.disagreed or self.head.verdict is None:
            return "disputed"
        return "single" if self.of_turn(SECOND) is None else "agreed"

    @property
    def word(self) -> str | None:
        """The last word; None while it is disputed."""
        return None if self.standing == "disputed" else self.head.verdict


def reviewed(
    store: Store | Database, from_ns: int = EARLIEST_NS, to_ns: int = LATEST_NS, modes: Iterable[str] = ("live",)
) -> Iterator[Reviewed]:
    """Each incident that was judged, of those whose first round was in a span of time, in that order.

    Parameters
    ----------
    from_ns, to_ns : int
        Instants UTC; the end does not belong to it.
    modes : iterable of str
        As alerts have them: an exercise teaches nothing about the street.
    """
    wanted_modes = tuple(modes)
    last = (from_ns, "")
    while True:
        with store.reading() as connection:
            rows = connection.execute(_page(last, to_ns, wanted_modes)).mappings().all()
            page = [_reviewed(connection, head_of(row), intact(row)) for row in rows]
        yield from (one for one in page if one is not None)
        if len(rows) < _PAGE:
            return
        last = (rows[-1]["first_ns"], rows[-1]["incident_id"])


def left_out(store: Store | Database, from_ns: int, to_ns: int, modes: Iterable[str]) -> dict[str, int]:
    """How many incidents of other modes were judged in a span of time, by mode: what `reviewed` says nothing of."""
    row = tables.incident.c
    judged = sa.exists().where(tables.opinion.c.incident_id == row.incident_id)
    wanted = (
        sa.select(row.mode, sa.func.count())
        .where(row.first_ns >= from_ns, row.first_ns < to_ns, row.mode.not_in(tuple(modes)), judged)
        .group_by(row.mode)
        .order_by(row.mode)
    )
    with store.reading() as connection:
        return dict(connection.execute(wanted).all())


def _page(last: tuple[int, str], to_ns: int, modes: tuple[str, ...]) -> sa.Select[tuple[object, ...]]:
    row, said = tables.incident.c, tables.alert.c
    newest = (said.alert_id == row.alert_id) & (said.revision == row.revision)
    behind = (row.first_ns > last[0]) | ((row.first_ns == last[0]) & (row.incident_id > last[1]))
    judged = sa.exists().where(tables.opinion.c.incident_id == row.incident_id)
    return (
        sa.select(*COLUMNS, said.document, said.sha256)
        .select_from(tables.incident.join(tables.alert, newest))
        .where(behind, row.first_ns < to_ns, row.mode.in_(modes), judged)
        .order_by(row.first_ns, row.incident_id)
        .limit(_PAGE)
    )


class _Told(msgspec.Struct):
    """What the entry of an opinion says."""

    opinion: Opinion
    second_because: tuple[SecondBecause, ...] = ()


def _reviewed(connection: sa.Connection, head: Head, document: bytes) -> Reviewed | None:
    opinions = read(connection, head.incident_id)
    if not opinions:
        return None
    of = tables.alert.c
    wanted = sa.select(of.alert_id, of.revision, of.document, of.sha256)
    then = wanted.where(of.alert_id == head.alert_id, of.revision == opinions[0].revision)
    judged = connection.execute(then).one_or_none()
    return Reviewed(
        head,
        opinions,
        decode(document),
        None if judged is None else decode(intact(judged)),
        _because(connection, head.incident_id, opinions[0]),
    )


def _because(connection: sa.Connection, incident_id: str, opinion: Opinion) -> tuple[SecondBecause, ...]:
    """As it was decided then: the rules may have changed since."""
    entry = tables.ledger.c
    mine = (entry.about == incident_id) & (entry.kind == "opinion") & (entry.at_ns == opinion.at_ns)
    bodies = connection.execute(sa.select(entry.body).where(mine).order_by(entry.sequence.desc())).scalars()
    told = (msgspec.json.decode(body, type=known(_Told)) for body in bodies)
    return next((one.second_because for one in told if one.opinion == opinion), ())
