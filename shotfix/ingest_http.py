"""The centre's door for nodes that come by HTTP: one batch, one answer, and nothing read that need not be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from sensors.http_transport import BATCH_PATH
from sensors.transport import LARGEST_SEALED_BYTES, MALFORMED, TOO_LARGE, UNAVAILABLE

if TYPE_CHECKING:
    from shotfix.ingest import Answer

Take: TypeAlias = "Callable[[bytes], Awaitable[Answer]]"
"""Judges a sealed batch and, when it is accepted, has it on disk before it answers."""

ACK_TYPE: Final = "application/octet-stream"
ASK_LATER_S: Final = 1
"""What a node is asked to wait when the door is full."""


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """What strangers may cost before anybody looked at what they send.

    Parameters
    ----------
    largest_bytes : int
        Of one body; what is announced as larger is not read.
    budget_bytes : int
        Of all bodies that are being read or judged at one moment, by what their senders announced; beyond it, 503.
    read_s, slowest_bytes_per_s : float
        A body must be here within ``read_s`` and what its length takes at the slowest rate.
    """

    largest_bytes: int = LARGEST_SEALED_BYTES
    budget_bytes: int = 128 * 1024 * 1024
    read_s: float = 5.0
    slowest_bytes_per_s: float = 40_000.0

    def __post_init__(self) -> None:
        if not 0 < self.largest_bytes <= self.budget_bytes:
            raise ValueError(f"budget_bytes is {self.budget_bytes}: expected at least {self.largest_bytes}")
        if not (0.0 < self.read_s <= 600.0 and self.slowest_bytes_per_s > 0.0):
            raise ValueError(f"read_s is {self.read_s}: expected above 0, to 600 s")

    def patience_s(self, length: int) -> float:
        """How long a body of this length may take."""
        return self.read_s + length / self.slowest_bytes_per_s


@dataclass(slots=True)
class DoorCounts:
    """What came to the door since the start: bodies judged, and what was turned away before that, by reason."""

    judged: int = 0
    without_length: int = 0
    too_large: int = 0
    too_slow: int = 0
    broken_off: int = 0
    over_budget: int = 0
    failed: int = 0


class Door:
    """The route of the ingest, and its counts.

    Parameters
    ----------
    take : callable
        From sealed bytes to an answer: ``status``, ``ack`` (bytes or None) and ``error`` (text or None).
    limits : DoorLimits
        What strangers may cost.
    """

    def __init__(self, take: Take, limits: DoorLimits | None = None) -> None:
        self._take = take
        self._limits = limits or DoorLimits()
        self._held_bytes = 0
        self.counts = DoorCounts()

    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [Route(BATCH_PATH, self._batch, methods=["POST"])]

    async def _batch(self, request: Request) -> Response:
        length = _announced(request)
        if length is None:
            self.counts.without_length += 1
            return _turned_away(411, "a batch comes with its content-length")
        if length > self._limits.largest_bytes:
            self.counts.too_large += 1
            return _turned_away(TOO_LARGE, f"{length} bytes: a batch has at most {self._limits.largest_bytes}")
        if self._held_bytes + length > self._limits.budget_bytes:
            self.counts.over_budget += 1
            return _turned_away(UNAVAILABLE, "the centre is busy")
        self._held_bytes += length
        try:
            return await self._judge(request, length)
        finally:
            self._held_bytes -= length

    async def _judge(self, request: Request, length: int) -> Response:
        try:
            async with asyncio.timeout(self._limits.patience_s(length)):
                sealed = await _body(request, length)
        except TimeoutError:
            self.counts.too_slow += 1
            return _turned_away(408, "the batch came too slowly")
        except ClientDisconnect:
            self.counts.broken_off += 1
            return _turned_away(MALFORMED, "the batch broke off")
        self.counts.judged += 1
        try:
            answer = await self._take(sealed)
        except Exception:
            self.counts.failed += 1
            raise
        if answer.status == 200 and answer.ack is not None:
            return Response(answer.ack, media_type=ACK_TYPE)
        headers = {"retry-after": str(ASK_LATER_S)} if answer.status == UNAVAILABLE else None
        return Response(answer.error or "", answer.status, headers, media_type="text/plain")


def _announced(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


async def _body(request: Request, length: int) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > length:
            raise ClientDisconnect
    return bytes(body)


def _turned_away(status: int, words: str) -> Response:
    """An answer before the body was read: the connection ends with it, so that the rest is not read either."""
    headers = {"connection": "close"} | ({"retry-after": str(ASK_LATER_S)} if status == UNAVAILABLE else {})
    return Response(words, status, headers, media_type="text/plain")
