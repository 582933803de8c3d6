"""Events: what happens, told as it happens, to as many as listen (server-sent events, WHATWG HTML 9.2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from starlette.responses import Response

from alerts.record.store import StoreError
from shotfix.api import answers
from shotfix.api.call import Call, Operation
from shotfix.api.problems import Problem, later
from shotfix.api.shown import note_shown
from shotfix.api.views import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive, Scope, Send

    from shotfix.api.feed import Event

_log = logging.getLogger(__name__)

TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 10.0
LOOK_S: Final = 2.0
"""How often it is looked whether the token still counts."""
SLOW_S: Final = 20.0
"""A reader who takes nothing for so long is let go; it comes back with Last-Event-ID and misses nothing."""
MOST_EACH: Final = 250
"""Streams of one person at one moment."""
RETRY_MS: Final = 1_000

DESK_KINDS: Final = frozenset(
    {
        "alert", "act", "claim", "release", "acknowledge", "opinion", "disposition", "pin", "note", "link",
        "delivery-dead", "delivery-revived",
    }
)  # fmt: skip
"""What analysts and supervisors are told of; auditors are told everything, all others of alerts."""
BLIND_KINDS: Final = frozenset({"claim", "release"})
"""What is told of an incident to who has it in hand to say blindly what it was; anything else may say what it was."""


class EventQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where on, for who cannot send Last-Event-ID: the number of the last event that was seen."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**62)] | None = None


async def events(call: Call) -> Response:
    """A stream of events."""
    feed = call.room.feed
    mine = sum(name == call.who for name in feed.readers)
    if feed.stopped or len(feed.readers) >= call.room.services.most_streams or mine >= MOST_EACH:
        feed.counts.refused += 1
        raise later("busy", "as many streams are open as may be; come again", 5.0)
    await feed.start()
    return _Stream(call, _position(call))


def _position(call: Call) -> int:
    """The last event that this reader has seen.

    Raises
    ------
    Problem
        When what they say is no number of ours: events would be passed over in silence.
    """
    said = call.request.headers.get("last-event-id")
    last = call.room.feed.last
    if said is not None and not re.fullmatch(r"\d{1,18}", said):
        raise Problem("bad-request", "Last-Event-ID is no number of ours")
    position = int(said) if said is not None else call.query.after
    if position is None:
        return last
    if position > last:
        raise Problem("bad-request", f"there is no event {position} yet; the last is {last}. Is this another record?")
    return int(position)


class _Stream(Response):
    """Writes events until the reader goes, is too slow, or may listen no longer."""

    def __init__(self, call: Call, position: int) -> None:
        super().__init__(None, 200, {"x-accel-buffering": "no"}, TYPE)
        del self.headers["content-length"]
        self._call = call
        self._feed = call.room.feed
        self._position = position
        self._send: Send | None = None
        self._waking: asyncio.Task[None] | None = None  # the loop itself holds tasks only weakly
        self._loop = asyncio.get_running_loop()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Stream; see ASGI."""
        self._send = send
        self._feed.readers.append(self._call.who)
        self._feed.counts.begun += 1
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(self._wake)
        try:
            await self._begin()
            await self._tell_on(gone)
        except TimeoutError:
            self._feed.counts.too_slow += 1
        except OSError:  # the reader went
            pass
        except Exception as error:  # noqa: BLE001  (its reader comes back, and goes on where it was)
            _log.error("a stream of events ended: %s", error, exc_info=not isinstance(error, StoreError))
        finally:
            self._feed.readers.remove(self._call.who)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    def _wake(self, _: object) -> None:
        """The reader went: nothing more is waited for."""
        if not self._feed.stopped:
            self._waking = self._loop.create_task(self._feed.poke())

    async def _begin(self) -> None:
        await self._put({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self._write(f"retry: {RETRY_MS}\n\n")

    async def _tell_on(self, gone: asyncio.Task[None]) -> None:
        beat_s = looked_s = self._loop.time()
        told = self._position
        while not gone.done() and not self._feed.stopped:
            found = await self._feed.after(self._position)
            now_s = self._loop.time()
            if now_s - looked_s >= LOOK_S:
                looked_s = now_s
                if not await self._still_may():
                    return
            if found:
                text = await self._texts(found)
                self._position = found[-1].sequence
                if text:
                    await self._write(text)
                    told, beat_s = self._position, now_s
                continue
            if now_s - beat_s >= HEARTBEAT_S:
                # An id without data moves the reader on past what it is not told of (9.2.6), and is no event.
                await self._write(f": {self._feed.last}\n" + ("\n" if told == self._position else self._mark()))
                told, beat_s = self._position, now_s
            await self._feed.wait_beyond(self._position, min(HEARTBEAT_S - (now_s - beat_s), LOOK_S), gone.done)
        await self._end()

    def _mark(self) -> str:
        return f"id: {self._position}\n\n"

    async def _still_may(self) -> bool:
        services = self._call.room.services
        await self._call.room.look_at_people()
        now_ns = services.now_ns()
        why = services.people.why_not(self._call.person, now_ns)
        if not why:
            services.people.use(self._call.person, now_ns)  # who listens is there
        else:
            self._feed.counts.revoked += 1
            await self._write(f"event: ended\ndata: {why}\n\n")
            await self._end()
        return not why

    async def _texts(self, found: Sequence[Event]) -> str:
        # Of old events too: who comes back with an earlier number would be told what is withheld everywhere else.
        hidden = await self._call.room.withheld.of(self._call.who)
        texts = [(event, text) for event in found if (text := told(self._call, event, hidden))]
        judged = (event.entry.about for event, _ in texts if event.shows_first and event.entry.about not in hidden)
        note_shown(self._call, judged)
        return "".join(text for _, text in texts)

    async def _write(self, text: str) -> None:
        await self._put({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _end(self) -> None:
        await self._put({"type": "http.response.body", "body": b"", "more_body": False})

    async def _put(self, message: dict[str, Any]) -> None:
        async with asyncio.timeout(SLOW_S):
            assert self._send is not None  # noqa: S101  (set before anything is written)
            await self._send(message)


def told(call: Call, event: Event, hidden: frozenset[str]) -> str:
    """One event as this person is told it; empty when they are not."""
    entry = event.entry
    if entry.kind == "alert":
        if event.document is None or not (event.published or call.sees_unpublished):
            return ""
        data = view(event.document, sees_people=call.sees_people, is_blind=entry.about in hidden)
        return _text(event, bytes(data))
    if not (call.has("auditor") or (call.has("analyst", "supervisor") and entry.kind in DESK_KINDS)):
        return ""
    if entry.about in hidden and entry.kind not in BLIND_KINDS and not call.has("auditor"):
        return ""
    said = answers.HistoryEntry(
        entry.sequence, answers.instant(entry.at_ns), entry.kind, entry.actor, msgspec.Raw(entry.body)
    )
    return _text(event, msgspec.json.encode({"about": entry.about, **msgspec.structs.asdict(said)}))


def _text(event: Event, data: bytes) -> str:
    # JSON on one line: strings escape their line ends, and nothing that is kept was written with others.
    line = data.replace(b"\r", b" ").replace(b"\n", b" ").decode("utf-8", "replace")
    return f"id: {event.sequence}\nevent: {event.entry.kind}\ndata: {line}\n\n"


async def _gone(receive: Receive) -> None:
    """Until the reader goes."""
    with contextlib.suppress(asyncio.CancelledError, OSError):
        while (await receive())["type"] != "http.disconnect":
            pass


OPERATIONS: Final = (
    Operation("events", "GET", "/events", "What happens, as it happens: server-sent events, resumed by Last-Event-ID.",
              events, EventQuery, answer=TYPE, streams=True),
)  # fmt: skip
