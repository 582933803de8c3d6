"""Acts: what people do with incidents, each of what they looked at and of nothing newer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from alerts.record import tables
from alerts.review.case import same_person
from alerts.review.errors import ConflictError
from alerts.review.findings import Finding
from alerts.review.marks import Link
from shotfix.api import answers
from shotfix.api.act_bodies import (
    Bare,
    DispositionBody,
    JudgeBody,
    LinkBody,
    MergeBody,
    NoteBody,
    PinBody,
    PlaceBody,
    SplitBody,
    UndoBody,
)
from shotfix.api.answers import Done, Withheld
from shotfix.api.audio import is_whole
from shotfix.api.call import Call, Operation, version_of
from shotfix.api.problems import Problem
from shotfix.api.views import is_in_hand, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from alerts.review.acts import Decision
    from alerts.review.head import Head

WAIT_S: Final = 2.0
"""How long an answer waits for the revision that an act leads to."""

BLIND_MAY: Final = frozenset({"claim", "release", "opinion", "note"})
"""What somebody does who has it in hand to say blindly what it was: what is refused to them, and why, would tell."""
CARRIED: Final = frozenset({"claim", "release", "acknowledge", "note"})
"""What goes to the incident that took another in (`alerts.review.taken_in`), and is of that one's version."""

_log = logging.getLogger(__name__)


async def claim(call: Call) -> Response:
    """Take it in hand, or hold it longer."""
    return await _mark(call, lambda name: call.room.services.reviews.claim(name, call.who, call.now_ns))


async def release(call: Call) -> Response:
    """Let go of it."""
    return await _mark(call, lambda name: call.room.services.reviews.release(name, call.who, call.now_ns))


async def acknowledge(call: Call) -> Response:
    """Somebody has seen it and acts on it."""
    return await _mark(call, lambda name: call.room.services.reviews.acknowledge(name, call.who, call.now_ns))


async def note(call: Call) -> Response:
    """Words for others to read."""
    return await _mark(call, lambda name: call.room.services.reviews.note(name, call.who, call.now_ns, call.body.text))


async def pin(call: Call) -> Response:
    """Keep it, or no longer."""
    body: PinBody = call.body
    reviews = call.room.services.reviews
    act = reviews.pin if body.pinned else reviews.unpin
    return await _mark(call, lambda name: act(name, call.who, call.now_ns, body.reason))


async def link(call: Call) -> Response:
    """A number of another system, or none of its numbers."""
    body: LinkBody = call.body
    reviews = call.room.services.reviews
    act = reviews.link if body.linked else reviews.unlink
    return await _mark(call, lambda name: act(name, call.who, call.now_ns, Link(body.system, body.number)))


async def disposition(call: Call) -> Response:
    """What came of it."""
    body: DispositionBody = call.body
    finding = Finding(body.disposition, body.evidence, body.case_number, body.officer_minutes, body.note)
    reviews, version = call.room.services.reviews, _version(call)
    return await _mark(call, lambda name: reviews.disposition(name, call.who, call.now_ns, finding, version))


async def opinion(call: Call) -> Response:
    """What a second reviewer says who does not know what the first said."""
    body: JudgeBody = call.body
    reviews, version = call.room.services.reviews, _version(call)
    await call.room.access.flush()  # what they saw this second belongs to their word

    def say(name: str) -> Head:
        heard = _listened(call, name)
        return reviews.second(
            name, call.who, call.now_ns, body.judgement, expected_version=version, note=body.note, listened=heard
        )

    return await _mark(call, say)


async def judge(call: Call) -> Response:
    """What it was."""
    body: JudgeBody = call.body
    reviews = call.room.services.reviews
    say = reviews.adjudicate if call.operation.name == "adjudicate" else reviews.judge

    def decide(name: str) -> Decision:
        version, heard = _version(call), _listened(call, name)
        return say(
            name, call.who, call.now_ns, body.judgement, expected_version=version, note=body.note, listened=heard
        )

    return await _decide(call, decide)


async def place(call: Call) -> Response:
    """Where it was."""
    body: PlaceBody = call.body
    where = (body.latitude, body.longitude, body.radius_m)
    act = call.room.services.reviews.place
    return await _decide(
        call, lambda name: act(name, call.who, call.now_ns, *where, expected_version=_version(call), note=body.note)
    )


async def merge(call: Call) -> Response:
    """It is part of another."""
    body: MergeBody = call.body
    act = call.room.services.reviews.merge
    return await _decide(
        call, lambda name: act(name, call.who, call.now_ns, body.into, expected_version=_version(call), note=body.note)
    )


async def split(call: Call) -> Response:
    """Some of its rounds leave it."""
    body: SplitBody = call.body
    act = call.room.services.reviews.split
    return await _decide(
        call,
        lambda name: act(name, call.who, call.now_ns, body.shot_ids, expected_version=_version(call), note=body.note),
    )


async def undo(call: Call) -> Response:
    """An act counts no more."""
    body: UndoBody = call.body
    act = call.room.services.reviews.undo
    return await _decide(
        call,
        lambda name: act(
            name,
            call.who,
            call.now_ns,
            body.act_id,
            expected_version=_version(call),
            note=body.note,
            supervisor=call.has("supervisor"),
        ),
    )


async def _mark(call: Call, act: Callable[[str], Head]) -> Response:
    """Do what changes nothing that others are told."""
    call.about = call.name("incident_id")
    head = await call.do(_do, call, call.about, act)
    call.about = head.incident_id  # another, where the machine had made it part of that
    return await _done(call, head.version)


async def _decide(call: Call, act: Callable[[str], Decision]) -> Response:
    """Write a decision, hand it to the engine, and wait a little for the revision that it leads to."""
    call.about = call.name("incident_id")
    decision: Decision = await call.do(_do, call, call.about, act)
    try:
        applied = await _apply(call, decision)
        return await _done(call, decision.head.version, decision, applied=applied)
    except Exception as error:  # noqa: BLE001  (it is written, and will be told: a failure would have it said twice)
        _log.warning("act %s is written; what came of it is not known yet: %s", decision.act.act_id, error)
        row = answers.row_of(decision.head)
        return call.answer(Done(row, decision.head.version, applied=False, act_id=decision.act.act_id), 202)


def _do(call: Call, name: str, act: Callable[[str], Any]) -> Any:
    """Check the version, where the act itself does not, and do it; a conflict says when the other change was."""
    reviews = call.room.services.reviews
    version = _version(call)
    if call.operation.name not in BLIND_MAY:
        for each in {name, getattr(call.body, "into", name)}:
            if reviews.must_be_blind(each, call.who, call.now_ns):
                raise is_in_hand()
    try:
        if version is not None and not call.operation.decides:
            _expect(_meant(call, name), version)
        return act(name)
    except ConflictError as conflict:
        raise Problem(
            "conflict",
            str(conflict),
            version=conflict.version,
            changed_by=conflict.changed_by,
            changed_at=_changed_at(call, _meant(call, name).incident_id),
            until=answers.maybe(conflict.until_ns),
        ) from None


def _meant(call: Call, name: str) -> Head:
    """The incident that an act goes to."""
    reviews = call.room.services.reviews
    head = reviews.head(name)
    own = call.operation.name == "release" and same_person(head.holder(call.now_ns), call.who)
    return head if own or call.operation.name not in CARRIED else reviews.taken_in(name)


def _expect(head: Head, version: int) -> None:
    if head.version != version:
        words = f"{head.changed_by} changed it since you looked (version {head.version}, yours {version}); look again"
        raise ConflictError(head.version, head.changed_by, f"{head.incident_id}: {words}")


def _version(call: Call) -> int:
    version = version_of(call.request, call.body.version)
    if version is None and call.operation.versioned:
        raise Problem("no-version", 'say which version you decide about: If-Match: "12", or version in the body')
    return version  # type: ignore[return-value]  # None only where no version is wanted


def _changed_at(call: Call, name: str) -> str | None:
    """When the last entry about an incident was made."""
    rows = tables.ledger.c
    last = sa.select(rows.at_ns).where(rows.about == name).order_by(rows.sequence.desc()).limit(1)
    with call.room.services.store.reading() as connection:
        return answers.maybe(connection.execute(last).scalar_one_or_none())


def _listened(call: Call, name: str) -> bool:
    """Whether this person fetched a clip of it, and all of the clip, as the access log has it."""
    services = call.room.services
    case = services.reviews.blind(name)
    digests = [clip.sha256 for clip in case.audio]
    rows = tables.access.c
    mine = sa.select(rows.about, rows.what).distinct()
    mine = mine.where(rows.about.in_(digests), rows.who == call.who, rows.status < 300, rows.what.like("GET /audio%"))
    fetched: dict[tuple[str, bool], list[str]] = {}  # by clip and form: bytes of FLAC fill no gap of a WAV
    with services.store.reading() as connection:
        for digest, what in connection.execute(mine) if digests else ():
            fetched.setdefault((digest, ".wav" in what), []).append(what)
    return any(map(is_whole, fetched.values()))


async def _apply(call: Call, decision: Decision) -> bool:
    """Hand an act to the engine; whether a revision names it within `WAIT_S`."""
    room = call.room
    taken = asyncio.wrap_future(room.services.submit(decision))
    taken.add_done_callback(_look)
    await room.feed.start()
    end_s = asyncio.get_running_loop().time() + WAIT_S
    while not await call.do(_is_applied, call, decision.act.act_id):
        left_s = end_s - asyncio.get_running_loop().time()
        if left_s <= 0.0:
            return False
        await room.feed.wait(min(left_s, 0.25))
    return True


def _look(taken: asyncio.Future[bool]) -> None:
    """An act that the journal does not take is in the record, and submitted again at the next start."""
    if not taken.cancelled() and (error := taken.exception()) is not None:
        _log.error("an act waits for the journal: %s", error)


def _is_applied(call: Call, act_id: str) -> bool:
    wanted = sa.select(tables.act.c.applied).where(tables.act.c.act_id == act_id)
    with call.room.services.store.reading() as connection:
        return bool(connection.execute(wanted).scalar_one_or_none())


async def _done(call: Call, version: int, decision: Decision | None = None, *, applied: bool = True) -> Response:
    told = await call.do(_told, call, decision, applied)
    version = max(version, told.version)
    call.headers["etag"] = f'"{version}"'
    return call.answer(told, 200 if applied else 202)


def _told(call: Call, decision: Decision | None, applied: bool) -> Done:
    services = call.room.services
    head = services.reviews.head(call.about)
    if services.reviews.must_be_blind(call.about, call.who, call.now_ns):
        return Done(None, head.version, Withheld(head.incident_id, head.alert_id, head.version))
    act_id = None if decision is None else decision.act.act_id
    document = services.store.document(head.alert_id, head.revision) if decision is not None and applied else None
    alert: Any = None if document is None else view(document, sees_people=call.sees_people)
    return Done(answers.row_of(head), head.version, applied=applied, act_id=act_id, alert=alert)


def _act(name: str, says: str, handler: Any, body: type, *, versioned: bool = True, decides: bool = False) -> Operation:
    path = f"/incidents/{{incident_id}}/{name}"
    return Operation(name, "POST", path, says, handler, body=body, answer=Done, versioned=versioned, decides=decides)


OPERATIONS: Final = (
    _act("claim", "Take an incident in hand, or hold it longer.", claim, Bare, versioned=False),
    _act("release", "Let go of it.", release, Bare, versioned=False),
    _act("acknowledge", "Say that you have seen the alert and act on it.", acknowledge, Bare, versioned=False),
    _act("judge", "Say what it was.", judge, JudgeBody, decides=True),
    _act("opinion", "Say blindly, as the second, what it was.", opinion, JudgeBody, decides=True),
    _act("adjudicate", "Say what it was, over what others said.", judge, JudgeBody, decides=True),
    _act("place", "Say where it was.", place, PlaceBody, decides=True),
    _act("merge", "Say that it is part of another incident.", merge, MergeBody, decides=True),
    _act("split", "Say that some of its rounds are an incident of their own.", split, SplitBody, decides=True),
    _act("undo", "Say that an act counts no more.", undo, UndoBody, decides=True),
    _act("disposition", "Say what came of it.", disposition, DispositionBody, decides=True),
    _act("note", "Leave words for others.", note, NoteBody, versioned=False),
    _act("pin", "Keep it beyond its time, or no longer.", pin, PinBody, versioned=False),
    _act("link", "Say by which number another system knows it.", link, LinkBody, versioned=False),
)
