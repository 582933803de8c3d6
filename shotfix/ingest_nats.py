"""The centre's door for nodes that come by NATS: one worker's part of the city's stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from sensors.cell import Territory
from sensors.nats_client import let_go
from sensors.nats_link import ANSWER_HEADER, STATUS_HEADER, NatsLink, check_city, token_of
from sensors.transport import LARGEST_SEALED_BYTES, TOO_LARGE, UNAVAILABLE
from shotfix.ingest import Answer
from shotfix.nats_pull import Pull, StalledError
from shotfix.nats_stream import (
    StreamError,
    StreamSettings,
    drop_other_consumers,
    ensure_consumer,
    ensure_stream,
    stream_name,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from shotfix.config import NatsConfig

PULL_S: Final = 3.0
"""A request for messages lapses after this; the server says so, or it is not there."""
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 3.0
RETRY_S: Final = 0.5
MOST_FAILURES: Final = 3
"""A message that our own code stumbles over so often is given up; its node, unanswered, still has it."""

_TOKEN: Final = re.compile(r"[0-9a-zA-Z]{8,64}")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class NatsCounts:
    """What came through the stream since the start."""

    connected: bool = False
    connections: int = 0
    judged: int = 0
    answered: int = 0
    too_large: int = 0
    unavailable: int = 0
    failed: int = 0
    given_up: int = 0
    stalled: int = 0


class NatsDoor:
    """Takes what nodes published into a territory's cells, and answers those whose cell is the territory's own.

    Workers that share a border both take what is said beside it; only the owner of a node's cell answers the node, so
    a node's spool waits for that worker, and for no other.

    Parameters
    ----------
    take : callable
        From sealed bytes to an answer; see `shotfix.ingest.Ingest.take`.
    link : NatsLink
        The cluster, and who we are there. This user needs: the JetStream API (``$JS.API.>``, ``$JS.ACK.>``), to
        publish ``shotfix-answer.<city>.>``, to subscribe ``_INBOX.<worker>.>``.
    city : str
        Whose stream.
    worker : str
        This worker's lasting name; no two processes have the same.
    territory : Territory or None
        None: the whole city.
    settings : StreamSettings
        How the stream is kept.
    pull_s : float
        How long a request for messages stands; how soon a silent server is noticed.
    """

    def __init__(
        self,
        take: Callable[[bytes], Awaitable[Answer]],
        link: NatsLink,
        city: str,
        worker: str,
        territory: Territory | None = None,
        settings: StreamSettings | None = None,
        pull_s: float = PULL_S,
    ) -> None:
        self.counts = NatsCounts()
        self._take = take
        self._link = link
        self._city = check_city(city)
        self._worker = worker
        self._own = None if territory is None else frozenset(token_of(cell) for cell in territory.own)
        self._cells: tuple[str | None, ...] = (None,) if territory is None else tuple(sorted(territory.listens))
        self._settings = settings or StreamSettings()
        self._pull_s = pull_s
        self._closed = asyncio.Event()
        self._said = ""
        self._warned = ""

    @classmethod
    def of(cls, config: NatsConfig, take: Callable[[bytes], Awaitable[Answer]]) -> NatsDoor:
        """The door that a configuration describes."""
        link = NatsLink(
            (config.url,),
            ca_file=config.ca_file,
            credentials_file=config.credentials_file,
            allow_plain=config.allow_plain,
        )
        territory = Territory(frozenset(config.cells), config.margin_m) if config.cells else None
        return cls(take, link, config.city, config.worker, territory)

    async def run(self, stop: asyncio.Event) -> None:
        """Take what comes until ``stop`` is set; connects again, for ever, whenever the connection is lost.

        Raises
        ------
        StreamError
            When a stream of this city's name keeps its messages in a way that loses some.
        """
        failures = 0
        while not stop.is_set():
            taken = self.counts.judged
            try:
                await self._serve(stop)
            except StreamError:
                raise
            except Exception as error:  # noqa: BLE001  (whatever a broker, a network or a client library comes up with)
                self.counts.stalled += isinstance(error, StalledError)
                failures = 1 if self.counts.judged > taken else failures + 1
                self._warn(self._said or _words(error))
            self.counts.connected = False
            if not stop.is_set():
                longest_s = min(FIRST_WAIT_S * 2.0 ** (failures - 1), LONGEST_WAIT_S)
                wait_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311  (a wait is no secret)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await stop.wait()

    async def _serve(self, stop: asyncio.Event) -> None:
        self._closed.clear()
        self._said = ""
        client = await self._link.connect(
            f"centre-{self._worker}", f"_INBOX.{token_of(self._worker)}", self._heard_error, self._lost
        )
        try:
            stream = client.jetstream()
            await ensure_stream(stream, self._city, self._settings)
            await drop_other_consumers(stream, self._city, self._worker, self._cells)
            wait_s = self._settings.ack_wait_s
            name = stream_name(self._city)
            pulls = []
            for cell in self._cells:
                durable = await ensure_consumer(stream, self._city, self._worker, cell, self._settings)
                pulls.append(Pull(client, name, durable, partial(self._judge, client), wait_s, self._pull_s))
            self.counts.connections += 1
            self.counts.connected = True
            self._warn("")
            await self._pull_all(pulls, stop)
        finally:
            await let_go(client)

    async def _pull_all(self, pulls: list[Pull], stop: asyncio.Event) -> None:
        tasks = [asyncio.create_task(pull.run(stop)) for pull in pulls]
        closed = asyncio.create_task(self._closed.wait())
        try:
            pending = {*tasks, closed}
            while pending - {closed} and not closed.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {closed}:
                    task.result()
            if closed.done() and not stop.is_set():
                raise OSError("the connection to NATS was lost")
        finally:
            for task in (*tasks, closed):
                task.cancel()
            await asyncio.gather(*tasks, closed, return_exceptions=True)

    async def _judge(self, client: Client, message: Msg) -> None:
        """Have one message taken, answer its node when it is ours, and let the stream forget it."""
        if len(message.data) > LARGEST_SEALED_BYTES:
            self.counts.too_large += 1
            answer: Answer | None = Answer(TOO_LARGE, error=f"a batch has at most {LARGEST_SEALED_BYTES} bytes")
        else:
            answer = await self._taken(message.data)
        if answer is None:
            await message.term()
            return
        self.counts.judged += 1
        where = self._where_to_answer(message)
        if where is not None:
            body = answer.ack if answer.ack is not None else (answer.error or "").encode()
            await client.publish(where, body, headers={STATUS_HEADER: str(answer.status)})
            self.counts.answered += 1
        await message.ack()

    async def _taken(self, sealed: bytes) -> Answer | None:
        """The answer, however long the centre cannot take anything; None when our own code fails over and over."""
        failures = 0
        while True:
            try:
                answer = await self._take(sealed)
            except Exception:  # noqa: BLE001  (a batch that we stumble over must not stop the rest)
                self.counts.failed += 1
                failures += 1
                _log.exception("a batch could not be judged")
                if failures >= MOST_FAILURES:
                    self.counts.given_up += 1
                    return None
            else:
                if answer.status != UNAVAILABLE:
                    return answer
                self.counts.unavailable += 1
            await asyncio.sleep(RETRY_S)

    def _where_to_answer(self, message: Msg) -> str | None:
        """The node's own subject that it asked for; None when another worker answers, or it asked for another's."""
        _, _, cell, node = message.subject.split(".")
        if self._own is not None and cell not in self._own:
            return None
        wanted = (message.headers or {}).get(ANSWER_HEADER, "")
        mine, _, exchange = wanted.rpartition(".")
        if mine != f"shotfix-answer.{self._city}.{node}" or not _TOKEN.fullmatch(exchange):
            return None
        return wanted

    def _warn(self, words: str) -> None:
        """Say it, but not the same again and again while a broker is away."""
        if words and words != self._warned:
            _log.warning("NATS: %s", words)
        self._warned = words

    async def _heard_error(self, error: Exception) -> None:
        self._said = _words(error)

    async def _lost(self) -> None:
        self._closed.set()


def _words(error: Exception) -> str:
    """One printable line of what went wrong."""
    text = str(error)[:200] or type(error).__name__
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
