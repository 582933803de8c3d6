"""Opinions: what each reviewer said an incident was, the first, the second who is blind, and a supervisor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from alerts.act import JUDGEMENTS, LONGEST_NOTE, Judgement, Person
from alerts.hand import concerns, counting, root_of
from alerts.record import tables
from alerts.review import acts
from alerts.review.case import same_person
from alerts.review.errors import ObjectionError
from alerts.review.head import COLUMNS, head_of
from alerts.review.rules import SecondBecause, overruled
from alerts.review.taken_in import with_parts
from sensors.known_type import known

if TYPE_CHECKING:
    from alerts.act import Act
    from alerts.review.acts import Decision
    from alerts.review.case import Case
    from alerts.review.head import Head
    from alerts.review.rules import ReviewRules

FIRST: Final = 1
SECOND: Final = 2
SUPERVISOR: Final = 3
SHOWING: Final = ("GET /alerts", "GET /incidents", "GET /events")
"""What the access log calls that a list or a stream showed a first verdict, beside which a second was wanted."""
_UNHELD: Final = {"claimed_by": None, "claimed_until_ns": None}


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one reviewer said.

    Parameters
    ----------
    turn : int
        1 the first, 2 the second and blind, 3 a supervisor's.
    by : str
        Who.
    verdict : str
        One of `alerts.act.JUDGEMENTS`.
    note : str
        Why.
    at_ns : int
        When, UTC.
    listened : bool
        Whether they fetched a clip of it before.
    revision : int
        Of the alert that it was said of.
    """

    turn: int
    by: Person
    verdict: Judgement
    note: str
    at_ns: int
    listened: bool
    revision: int


def read(connection: sa.Connection, incident_id: str) -> tuple[Opinion, ...]:
    """The opinions that count, in their turns."""
    table = tables.opinion
    wanted = sa.select(table).where(table.c.incident_id == incident_id).order_by(table.c.turn)
    return tuple(
        Opinion(row.turn, row.by, row.verdict, row.note, row.at_ns, row.listened, row.revision)
        for row in connection.execute(wanted)
    )


def first(
    case: Case, rules: ReviewRules, judgement: Judgement, expected_version: int, note: str, *, listened: bool
) -> Decision:
    """The first reviewer's word; they may correct it until somebody else has spoken.

    Raises
    ------
    ConflictError
        When somebody else judged it, or the incident is not as it was looked at, or is in somebody else's hands.
    """
    said = {"judgement": judgement}
    if (again := acts.repeated(case, acts.build(case, "judge", said, note))) is not None:
        return again
    acts.expect_free(case, expected_version)
    by_turn = {opinion.turn: opinion for opinion in read(case.connection, case.head.incident_id)}
    if SUPERVISOR in by_turn:
        case.refuse(f"{by_turn[SUPERVISOR].by} decided it; only a supervisor can say otherwise", by_turn[SUPERVISOR].by)
    if SECOND in by_turn:
        case.refuse("two reviewers have spoken; the next word is a supervisor's", by_turn[SECOND].by)
    if FIRST in by_turn and not same_person(by_turn[FIRST].by, case.who):
        case.refuse(f"{by_turn[FIRST].by} judged it; only they or a supervisor can say otherwise", by_turn[FIRST].by)
    opinion = _opinion(case, FIRST, judgement, note, listened=listened)
    because = rules.second_because(case.head.incident_id, judgement, case.head.machine_outcome)
    changes = {"verdict": judgement, "wants_second": bool(because)}
    return _judge(case, opinion, expected_version, changes, because)


def second(case: Case, judgement: Judgement, expected_version: int | None, note: str, *, listened: bool) -> Head:
    """The second reviewer's word. Where it is another than the first's, a supervisor is asked.

    Raises
    ------
    ObjectionError
        When no second opinion is wanted.
    ConflictError
        When this person gave the first, or acknowledged the alert; or somebody else has it in hand.
    """
    _check_judgement(judgement, note)
    case.expect_unheld()
    case.expect(expected_version)
    if not case.head.wants_second:
        raise ObjectionError(f"{case.head.incident_id}: no second opinion is wanted; judge what the queue offers")
    by_turn = {opinion.turn: opinion for opinion in read(case.connection, case.head.incident_id)}
    if (knows := knows_already(case.head, by_turn, case.who)) is not None:
        case.refuse(f"{knows}; the second opinion must be another person's", case.who)
    opinion = _opinion(case, SECOND, judgement, note, listened=listened)
    body = _told(opinion) | _seen(case)
    disagreed = SUPERVISOR not in by_turn and by_turn[FIRST].verdict != judgement
    case.change("opinion", body, {**_UNHELD, "wants_second": False, "disagreed": disagreed}, touch=True)
    _put(case, opinion)
    return case.head


def adjudicate(case: Case, judgement: Judgement, expected_version: int, note: str, *, listened: bool) -> Decision:
    """A supervisor's word over what was said before.

    Raises
    ------
    ObjectionError
        When nobody said anything yet.
    ConflictError
        When two differed and this person is one of them; or the incident is not as it was looked at.
    """
    said = {"judgement": judgement}
    if (again := acts.repeated(case, acts.build(case, "judge", said, note))) is not None:
        return again
    acts.expect_free(case, expected_version)
    spoke = read(case.connection, case.head.incident_id)
    if not spoke:
        raise ObjectionError(f"{case.head.incident_id}: nobody judged it yet; judge it")
    if case.head.disagreed and any(same_person(opinion.by, case.who) for opinion in spoke):
        case.refuse("you are one of the two who differ; a third person decides", case.who)
    opinion = _opinion(case, SUPERVISOR, judgement, note, listened=listened)
    return _judge(case, opinion, expected_version, {"verdict": judgement, "disagreed": False})


def undo(case: Case, act_id: str, expected_version: int, note: str, *, supervisor: bool) -> Decision:
    """Say that an act counts no more. Of a judgement, the one before it counts again, where there is one.

    What undoes can itself be undone. A first word that a second one was compared with stays on record as what it was;
    a supervisor then decides. It takes the one who could say otherwise: what somebody else said that it was, or undid
    of that, only a supervisor undoes, and a supervisor's word in any case.

    Raises
    ------
    ObjectionError
        When there is no such act of this incident, or it counts no more already.
    ConflictError
        When it takes a supervisor; or the incident is not as it was looked at, or is in somebody else's hands.
    """
    undoing = acts.build(case, "undo", {"undoes": act_id}, note)
    if (again := acts.repeated(case, undoing)) is not None:
        return again
    acts.expect_free(case, expected_version)
    earlier = acts.before(case.connection, undoing)
    every = {act.act_id: act for act in earlier}
    undoing = acts.after_all(undoing, earlier)
    if act_id not in every or case.head.alert_id not in concerns(every[act_id], every):
        raise ObjectionError(f"{case.head.incident_id}: no act {act_id[:40]!r} of it; see its acts")
    if every[act_id] not in counting(every.values()):
        raise ObjectionError(f"{act_id}: it is undone already; make the act again instead")
    judged = root_of(every[act_id], every)
    if judged.kind == "judge" and not supervisor:
        _expect_own(case, every[act_id], judged)
    changes, body = fall_back(case, {act.act_id for act in counting([*every.values(), undoing])})
    return acts.write(case, "undo", {"undoes": act_id}, expected_version, note, body=body, changes=changes)


def turn_of(connection: sa.Connection, judged: Act) -> int:
    """In which turn a judgement was made."""
    wanted = sa.select(tables.ledger.c.body).join(tables.act, tables.act.c.sequence == tables.ledger.c.sequence)
    body = connection.execute(wanted.where(tables.act.c.act_id == judged.act_id)).scalar_one()
    return msgspec.json.decode(body, type=known(_Judged)).opinion.turn


def is_second(connection: sa.Connection, head: Head, who: str, at_ns: int) -> bool:
    """Whether this person has it in hand to say blindly what it was."""
    if not head.wants_second or not same_person(head.holder(at_ns), who):
        return False
    return knows_already(head, {opinion.turn: opinion for opinion in read(connection, head.incident_id)}, who) is None


def held_blind(connection: sa.Connection, at_ns: int) -> list[tuple[str, str]]:
    """The incidents that somebody has in hand to say blindly what they were, and their parts, each with who it is.

    Found by when claims run out: of all incidents, those few that did not yet are in anybody's hands.
    """
    row = tables.incident.c
    held = sa.select(*COLUMNS).where(row.claimed_until_ns > at_ns, row.wants_second)
    heads = [head_of(one) for one in connection.execute(held).mappings().all()]
    held_by = [(head, head.claimed_by or "") for head in heads]
    blind = [(head.incident_id, who) for head, who in held_by if is_second(connection, head, who, at_ns)]
    return [(name, who) for incident_id, who in blind for name in with_parts(connection, incident_id)]


def knows_already(head: Head, by_turn: dict[int, Opinion], who: str) -> str | None:
    """Why this person cannot say blindly what it was; None when they can."""
    if any(same_person(opinion.by, who) for opinion in by_turn.values()):
        return "you judged it before"
    if same_person(head.acknowledged_by, who):
        return "you acknowledged its alert and know what the machine says"
    return None


def _judge(
    case: Case,
    opinion: Opinion,
    expected_version: int,
    changes: dict[str, Any],
    because: tuple[SecondBecause, ...] = (),
) -> Decision:
    said = {"judgement": opinion.verdict}
    body = {
        "opinion": asdict(opinion),
        "machine_outcome": case.head.machine_outcome,
        "overruled": overruled(opinion.verdict, case.head.machine_outcome),
        "second_because": because,
    }
    decision = acts.write(
        case, "judge", said, expected_version, opinion.note, body=body, changes={**changes, **_UNHELD}
    )
    replaced = [asdict(one) for one in read(case.connection, case.head.incident_id) if one.turn == opinion.turn]
    case.change("opinion", _told(opinion) | {"replaced": replaced, "second_because": because})
    _put(case, opinion)
    return decision


def _expect_own(case: Case, undone: Act, judged: Act) -> None:
    """Refuse to undo what another person said that it was, or did to that, and what a supervisor said."""
    if turn_of(case.connection, judged) == SUPERVISOR:
        case.refuse(f"{judged.by} decided it; only a supervisor can undo that", judged.by)
    if not same_person(undone.by, case.who):
        does = "judged it" if undone.kind == "judge" else "undid that"
        case.refuse(f"{undone.by} {does}; only they or a supervisor can undo it", undone.by)


class _Judged(msgspec.Struct):
    """What the entry of a judgement says of the opinion in it."""

    opinion: Opinion
    second_because: tuple[SecondBecause, ...]


def fall_back(case: Case, still: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of the row changes, and what the entry says, when of all acts only these still count."""
    every = acts.of_alert(case.connection, case.head.alert_id)
    numbers = [number for number, act in every if act.kind == "judge" and act.act_id in still]
    entry = tables.ledger.c
    judged = sa.select(entry.body).where(entry.sequence.in_(numbers)).order_by(entry.sequence)
    bodies = case.connection.execute(judged).scalars()
    latest = {said.opinion.turn: said for said in (msgspec.json.decode(body, type=known(_Judged)) for body in bodies)}
    standing = {opinion.turn: opinion for opinion in read(case.connection, case.head.incident_id)}
    for turn in (FIRST, SUPERVISOR):
        said = latest.get(turn)
        compared = turn == FIRST and SECOND in standing
        if not compared and standing.get(turn) != (said and said.opinion):
            _remove(case, turn)
            if said is not None:
                _put(case, said.opinion)
    first, word = latest.get(FIRST), latest.get(SUPERVISOR) or latest.get(FIRST)
    changes = {
        "verdict": word and word.opinion.verdict,
        "wants_second": first is not None and bool(first.second_because) and SECOND not in standing,
        "disagreed": SECOND in standing
        and SUPERVISOR not in latest
        and (first is None or first.opinion.verdict != standing[SECOND].verdict),
    }
    return changes, {"opinions_before": [asdict(opinion) for opinion in standing.values()]}


def _opinion(case: Case, turn: int, judgement: Judgement, note: str, *, listened: bool) -> Opinion:
    return Opinion(turn, case.who, judgement, note, case.at_ns, listened, case.head.revision)


def _told(opinion: Opinion) -> dict[str, Any]:
    return {"opinion": asdict(opinion)}


def _put(case: Case, opinion: Opinion) -> None:
    """Let an opinion be the one of its turn."""
    _remove(case, opinion.turn)
    row = asdict(opinion) | {"incident_id": case.head.incident_id}
    case.connection.execute(sa.insert(tables.opinion), row)


def _remove(case: Case, turn: int) -> None:
    table = tables.opinion
    case.connection.execute(sa.delete(table).where(table.c.incident_id == case.head.incident_id, table.c.turn == turn))


def _seen(case: Case) -> dict[str, int]:
    """How often this person is on record as having looked at the incident itself, and at lists that showed the verdict.

    By the access log; what is part of it counts as it does. Its blind side is not counted, nor is what came while they
    had it in hand: that is nothing else.
    """
    table = tables.access
    whole = with_parts(case.connection, case.head.incident_id)
    mine = table.c.about.in_(whole) & (sa.func.lower(table.c.who) == case.who.lower())
    seeing = (table.c.status < 300) & table.c.what.like("GET %") & ~table.c.what.like("%/blind%")
    shown = sa.func.count().filter(table.c.what.in_(SHOWING))
    looked = sa.func.count().filter(table.c.what.not_in(SHOWING))
    row = case.connection.execute(sa.select(looked, shown).where(mine & seeing)).one()
    return {"looked_before": row[0], "shown_before": row[1]}


def _check_judgement(judgement: str, note: str) -> None:
    if judgement not in JUDGEMENTS:
        raise ValueError(f"judgement is {judgement!r}: expected one of {', '.join(JUDGEMENTS)}")
    if len(note) > LONGEST_NOTE:
        raise ValueError(f"the note has {len(note)} characters: expected {LONGEST_NOTE} at most")
