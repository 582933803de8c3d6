"""Pulling from one JetStream consumer: what comes is judged side by side, but one after the other for each node."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

GRACE_S: Final = 2.0
"""A server may be this much late with its word that a request for messages has lapsed."""
AT_ONCE: Final = 64
"""So many messages are with us at one moment at most."""

# What a server says instead of a message (NATS ADR-13): a sign of life, or that the request is over.
_ALIVE: Final = "100"
_OVER: Final = frozenset({"404", "408"})

_log = logging.getLogger(__name__)


class StalledError(Exception):
    """The server owes us messages, or a word, and does not give it: begin anew."""


class Pull:
    """One consumer's messages, until it is cancelled or stalls.

    The client library's own ``fetch`` either waits for a full batch or asks for each message alone; this asks for many,
    and begins each as it comes.

    Parameters
    ----------
    client : nats.aio.client.Client
        Connected.
    stream, durable : str
        The consumer.
    judge : callable
        Takes one message, answers it, and acknowledges it.
    ack_wait_s : float
        The consumer's: what takes longer is kept ours by a sign of life to the server.
    pull_s : float
        How long a request for messages stands.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        durable: str,
        judge: Callable[[Msg], Awaitable[None]],
        ack_wait_s: float,
        pull_s: float,
    ) -> None:
        self._client = client
        self._stream = stream
        self._durable = durable
        self._judge = judge
        self._ack_wait_s = ack_wait_s
        self._pull_s = pull_s
        self._tasks: dict[asyncio.Task[None], Msg] = {}
        self._last: dict[str, asyncio.Task[None]] = {}
        self._owed = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Pull until stopped; then what is under way is judged to its end.

        Raises
        ------
        StalledError
            When the server does not give what it has, or does not say a word.
        nats.errors.Error
            When the connection fails, or the consumer is gone.
        """
        inbox = self._client.new_inbox()
        pulling = asyncio.create_task(self._pull(await self._client.subscribe(inbox), inbox))
        keeping = asyncio.create_task(self._keep())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({pulling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if pulling.done():
                pulling.result()
            pulling.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in (pulling, keeping, stopping, *self._tasks):
                task.cancel()
            await asyncio.gather(pulling, keeping, stopping, *self._tasks, return_exceptions=True)

    async def _pull(self, inbox: Subscription, where: str) -> None:
        ask = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        while True:
            while len(self._tasks) >= AT_ONCE:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            wanted = AT_ONCE - len(self._tasks)
            request = {"batch": wanted, "expires": int(self._pull_s * 1e9)}
            await self._client.publish(ask, json.dumps(request).encode(), where)
            if await self._round(inbox, wanted) == 0:
                await self._watch()

    async def _round(self, inbox: Subscription, wanted: int) -> int:
        """Begin what one request brings; how many messages."""
        came = 0
        while came < wanted:
            try:
                message = await inbox.next_msg(self._pull_s + GRACE_S)
            except TimeoutError:
                raise StalledError(f"NATS says nothing for {self._pull_s + GRACE_S:g} s") from None
            status = "" if message.headers is None or message.data else message.headers.get("Status", "")
            if not status:
                came += 1
                self._owed = 0
                self._begin(message)
            elif status in _OVER:
                break
            elif status != _ALIVE:
                words = message.headers.get("Description", "") if message.headers else ""
                raise StalledError(f"NATS ended a request for messages: {status} {words}")
        return came

    async def _watch(self) -> None:
        """Nothing came: is that because there was nothing? Servers have forgotten consumers before."""
        info = await self._client.jetstream().consumer_info(self._stream, self._durable)
        self._owed = self._owed + 1 if info.num_pending and not info.num_ack_pending else 0
        if self._owed > 1:
            raise StalledError(f"NATS has {info.num_pending} messages for {self._durable} and gives none")

    def _begin(self, message: Msg) -> None:
        before = self._last.get(message.subject)
        task = asyncio.create_task(self._handle(message, before))
        self._tasks[task] = message
        self._last[message.subject] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        message = self._tasks.pop(task)
        if self._last.get(message.subject) is task:
            del self._last[message.subject]
        if not task.cancelled() and (error := task.exception()) is not None:
            # It was not acknowledged, so it comes again.
            _log.warning("a batch was judged, but NATS was not told: %s", type(error).__name__)

    async def _handle(self, message: Msg, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait({before})
        await self._judge(message)

    async def _keep(self) -> None:
        """What waits for a full disk, or for its turn, stays ours."""
        while True:
            await asyncio.sleep(self._ack_wait_s / 3.0)
            for message in list(self._tasks.values()):
                await message.in_progress()
