"""One endpoint of the API: who is let in, what of a request is read, and how every answer goes out, problems too."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from alerts.record.store import StoreError
from alerts.review.errors import ConflictError, ObjectionError, UnknownIncidentError
from alerts.words import plain
from shotfix.api.access_log import Access
from shotfix.api.call import JSON, Call, Operation, read_body, read_query
from shotfix.api.permissions import may
from shotfix.api.problems import Problem, later
from shotfix.api.repeats import fingerprint_of, key_of

if TYPE_CHECKING:
    from shotfix.api.people import Person
    from shotfix.api.room import Room

LARGEST_BODY: Final = 64 * 1024
BODY_S: Final = 10.0
MOST_AT_ONCE: Final = 16
"""Calls of one person at one moment, streams beside."""
HEADERS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "vary": "Authorization",
}
"""On every answer: nobody keeps it, guesses what it is, frames it, or runs anything in it."""
UNREAD: Final = (401, 403, 411, 413, 415, 429)
"""Answers before a body was read: the connection ends with them, so that it is not read either."""
_CHALLENGE: Final = {"www-authenticate": 'Bearer realm="shotfix"'}
_SHOW: Final = "show a token: Authorization: Bearer ...; and nowhere else"
_REMEDIES: Final = {
    "expired": "this token has expired; ask whoever runs the centre for another: shotfix token add",
    "idle": "this token lay unused for too long; ask whoever runs the centre to renew it: shotfix token renew",
}
"""For who shows what was right once; of one that was revoked nothing is told."""

_log = logging.getLogger(__name__)


class Endpoint:
    """One operation's end of HTTP.

    Parameters
    ----------
    room : Room
        Where calls are answered.
    operation : Operation
        What is done.
    """

    def __init__(self, room: Room, operation: Operation) -> None:
        self._room = room
        self._operation = operation

    async def __call__(self, request: Request) -> Response:
        """Answer a request; see Starlette."""
        try:
            answer = await self._let_in(request)
        except Problem as problem:
            answer = problem.response()
        except Exception as error:  # noqa: BLE001  (a fault of ours must not show its insides)
            answer = _fault(error, self._operation).response()
        if request.method == "POST" and answer.status_code in UNREAD:
            answer.headers["connection"] = "close"
        return dressed(answer, self._room)

    async def _let_in(self, request: Request) -> Response:
        if self._room.stopped:
            raise later("busy", "the centre stops; ask again when it is back", 5.0)
        person = await self._who(request)
        call = Call(
            self._room, person, self._operation, request, None, None, self._room.services.now_ns(),
            what=f"{request.method} {self._operation.path}",  # a HEAD is no GET: nothing was seen or heard
        )  # fmt: skip
        if self._operation.streams:  # bounded by themselves: a hundred that come back at once are let in at once
            return await self._answer(call)
        room = self._room
        if room.busy[person.name] >= MOST_AT_ONCE:
            raise later("too-many", f"{MOST_AT_ONCE} calls of yours are under way; wait for one of them")
        room.busy[person.name] += 1
        try:
            return await self._answer(call)
        finally:
            room.busy[person.name] -= 1
            if not room.busy[person.name]:
                del room.busy[person.name]

    async def _who(self, request: Request) -> Person:
        """Who asks.

        Raises
        ------
        Problem
            When nobody does whom we know.
        """
        services, address = self._room.services, address_of(request)
        await self._room.look_at_people()
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        person = services.people.of(token.strip()) if kind.lower() == "bearer" else None
        self._room.heed_people()
        now_ns = services.now_ns()
        why = "unknown" if person is None else services.people.why_not(person, now_ns)
        if person is not None and not why:
            services.people.use(person, now_ns)
            return person
        locked_s = self._room.attempts.fail(address) if token else 0.0
        if locked_s:
            raise later("too-many", "too many wrong tokens came from this address; wait", locked_s)
        if token:
            _log.warning("a token that is %s was shown from %s", why, plain(address))
        raise Problem("no-token", _REMEDIES.get(why, _SHOW), dict(_CHALLENGE))

    async def _answer(self, call: Call) -> Response:
        """Do it, and write down who did; what may not go out unlogged is written down first."""
        try:
            answer = await self._permitted(call)
        except Problem as problem:
            answer = problem.response()
        except Exception as error:  # noqa: BLE001  (as above; and it is written down who met it)
            answer = _explained(error, call).response()
        access = Access(
            call.now_ns, call.who, "+".join(call.person.roles), call.what, call.about[:128], answer.status_code,
            plain(address_of(call.request))[:64],
        )  # fmt: skip
        if not (self._operation.logged_first and answer.status_code < 300):
            self._room.access.note(access)
            return answer
        try:
            await self._room.access.write(access)
        except StoreError as error:
            self._room.access.note(replace(access, status=503))
            _log.error("not given out, because it cannot be written down: %s", error)
            raise later("record", "it cannot be written down who fetches it just now, so it stays here", 5.0) from None
        return answer

    async def _permitted(self, call: Call) -> Response:
        told = self._room.services.audio_for_researchers
        if not may(call.person.roles, self._operation.right, audio_for_researchers=told):
            raise Problem("not-permitted", f"your role ({', '.join(call.person.roles)}) may not do that")
        call.query = read_query(call.request, self._operation.query)
        if self._operation.method != "POST":
            return await self._operation.handler(call)
        content = await _body(call.request)
        call.body = read_body(content, self._operation.body or object)
        return await self._once(call, content)

    async def _once(self, call: Call, content: bytes) -> Response:
        """Do it, unless it was done under the same key."""
        asked = call.request.headers
        named = key_of(asked.get("idempotency-key"))
        if named is None:
            return await self._operation.handler(call)
        key, repeats = (call.who, named), self._room.repeats
        print_ = fingerprint_of(call.request.method, call.request.url.path, asked.get("if-match", ""), content)
        before = repeats.begin(key, print_, time.monotonic())
        if before is not None:
            return Response(before.body, before.status_code, dict(before.headers) | {"idempotency-replayed": "true"})
        answer: Response | None = None
        try:
            answer = await self._operation.handler(call)
        finally:
            repeats.end(key, answer)
        return answer


def dressed(answer: Response, room: Room) -> Response:
    """The answer with what every answer has, counted."""
    room.answered[answer.status_code] += 1
    for name, value in HEADERS.items():
        answer.headers[name] = value
    return answer


def address_of(request: Request) -> str:
    """Where a request comes from, as the socket has it: what a header says of that anybody can write."""
    return request.client.host if request.client else ""


async def on_http(_request: Request, error: Exception) -> Response:
    """No such path, or not with that method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == 405:
        return Problem("method", "not with this method; Allow names those that go", headers).response()
    return Problem("unknown", "no such path; see /api/v1/openapi.json").response()


async def _body(request: Request) -> bytes:
    """The body of a request, bounded in size and in time.

    Raises
    ------
    Problem
        When it is too large, too slow, broken off, unannounced or of another type.
    """
    said = request.headers.get("content-length", "")
    if not (said.isascii() and said.isdigit() and len(said) < 12):
        if "transfer-encoding" in request.headers or said:
            raise Problem("no-length", "a body comes with its Content-Length")
        said = "0"
    if int(said) > LARGEST_BODY:
        raise Problem("too-large", f"{int(said)} bytes: at most {LARGEST_BODY} are taken")
    if int(said) and request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem("media-type", "a body is application/json")
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                content += piece
                if len(content) > LARGEST_BODY:
                    raise Problem("too-large", f"at most {LARGEST_BODY} bytes are taken")
    except TimeoutError:
        raise Problem("bad-request", "the body came too slowly") from None
    except ClientDisconnect:
        raise Problem("bad-request", "the body broke off") from None
    return bytes(content)


def _explained(error: Exception, call: Call) -> Problem:
    """What went wrong, as a problem."""
    if isinstance(error, ConflictError):
        return Problem("conflict", str(error), version=error.version, changed_by=error.changed_by)
    if isinstance(error, UnknownIncidentError):
        return Problem("unknown", str(error))
    if isinstance(error, ObjectionError):
        return Problem("objection", str(error))
    if isinstance(error, StoreError):
        _log.error("the record refused %s: %s", call.operation.right, error)
        return later("record", "the record cannot be read or written just now; nothing was done", 5.0)
    if isinstance(error, ValueError) and type(error) is ValueError and call.operation.method == "POST":
        return Problem("bad-request", str(error))
    return _fault(error, call.operation)


def _fault(error: Exception, operation: Operation) -> Problem:
    reference = secrets.token_hex(6)
    _log.error(
        "a fault of ours in %s, reference %s: %s", operation.right, reference, type(error).__name__, exc_info=error
    )
    return Problem("fault", "a fault of ours; tell whoever runs the centre the reference", reference=reference)
