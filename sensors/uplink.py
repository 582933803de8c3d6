"""The uplink: from a node's spool to the centre, batch by batch, until the centre has said that it is safe there."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from acoustic.instant import seconds_between
from sensors.health import Farewell, Heartbeat
from sensors.sieve import Sieve
from sensors.transport import MALFORMED, REFUSED, TOO_LARGE, UNAVAILABLE, Transport, TransportError
from sensors.wire import LARGEST_BATCH_BYTES, Ack, Batch, WireError, decode_ack, encode_batch

__all__ = ["Pacing", "Spool", "Transport", "TransportError", "Uplink", "UplinkState"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sensors.identity import NodeKey
    from sensors.wire import Content, Envelope

SMALLEST_BATCH_BYTES: Final = 16_384
"""Batches are not made smaller than this, however often a centre calls them too large."""
GUARD_S: Final = 300.0
"""A transport that says nothing for this long has broken its promise: its exchange is given up and tried again."""

_log = logging.getLogger(__name__)


class Spool(Protocol):
    """What the uplink asks of the spool; `sensors.spool.Spool` keeps it on disk."""

    def put_all(self, contents: Iterable[Content]) -> tuple[int, ...]:
        """Keep them until the centre has them; their sequence numbers."""
        ...

    def batch(self, sent_ns: int, most_bytes: int) -> Batch | None:
        """The oldest of what is to be sent, or None."""
        ...

    def settle(self, batch: Batch, ack: Ack) -> int:
        """Forget what the centre has; how many messages."""
        ...


@dataclass(frozen=True, slots=True)
class Pacing:
    """When the uplink sends, and how long it waits after a failure.

    Parameters
    ----------
    gather_s : float
        Heartbeats wait for each other so long; anything else goes at once.
    first_wait_s, longest_wait_s : float
        Each failure in a row doubles the wait from the first to the longest; an answer sets it back. However long
        nobody answered, a centre that is back hears of it within the longest.
    refused_wait_s : float
        While the centre refuses this node, or everything that it says: only people can help then.
    jitter : float
        Each wait is shorter by up to this part of itself, so that nodes cut off together do not come back together.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    gather_s: float = 1.0
    first_wait_s: float = 0.2
    longest_wait_s: float = 3.0
    refused_wait_s: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.gather_s <= 60.0:
            raise ValueError(f"gather_s is {self.gather_s}: expected 0 to 60 s")
        if not 0.0 < self.first_wait_s <= self.longest_wait_s <= self.refused_wait_s <= 3600.0:
            waits = f"{self.first_wait_s}, {self.longest_wait_s} and {self.refused_wait_s} s"
            raise ValueError(f"waits are {waits}: expected 0 < first <= longest <= refused <= 3600")
        if not 0.0 <= self.jitter < 1.0:
            raise ValueError(f"jitter is {self.jitter}: expected 0 to below 1")

    def wait_s(self, failures: int, draw: float, *, refused: bool = False) -> float:
        """How long to wait after so many failures in a row (1 or more), with a draw from 0 to 1."""
        doubled_s = self.first_wait_s * 2.0 ** min(failures - 1, 60)
        longest_s = self.refused_wait_s if refused else self.longest_wait_s
        return min(doubled_s, longest_s) * (1.0 - self.jitter * draw)


@dataclass(frozen=True, slots=True)
class UplinkState:
    """How the uplink stands: for the heartbeat, the log and the metrics.

    Parameters
    ----------
    connected : bool
        The centre accepted the last batch.
    words : str
        Why not, in one line; empty when connected.
    caught_up_ns : int or None
        When nothing was waiting last; None before that was ever so.
    round_trip_s : float
        Of the last batch that was accepted.
    batches, messages, sent_bytes : int
        Accepted by the centre since the start.
    unanswered, unavailable, refused, malformed, too_large, bad_answers : int
        Exchanges that failed: nobody answered; 503; 401; 400; 413; an answer that was none.
    set_aside : int
        Messages given up because the centre refuses them while it takes others.
    """

    connected: bool = False
    words: str = "not yet tried"
    caught_up_ns: int | None = None
    round_trip_s: float = 0.0
    batches: int = 0
    messages: int = 0
    sent_bytes: int = 0
    unanswered: int = 0
    unavailable: int = 0
    refused: int = 0
    malformed: int = 0
    too_large: int = 0
    bad_answers: int = 0
    set_aside: int = 0

    @property
    def failed(self) -> int:
        """Exchanges that came to nothing."""
        return (
            self.unanswered + self.unavailable + self.refused + self.malformed + self.too_large + self.bad_answers
        )  # fmt: skip


class Uplink:
    """Sends what is in the spool, oldest first, one batch at a time.

    A batch leaves the spool when the centre's acknowledgement says so, and for no other reason but one: a message that
    the centre refuses while it takes others is set aside, counted, and handed to ``aside``. A node that is refused as a
    whole (401: not enrolled, revoked) keeps everything, within the bounds of its spool, and goes on asking.

    Parameters
    ----------
    spool : Spool
        Where the messages are. Its methods may be called from another thread than `put`.
    key : NodeKey
        Seals the batches.
    transport : Transport
        Carries them.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    pacing : Pacing
        When to send, how long to wait.
    draw : callable
        From 0 to 1, for the jitter.
    aside : callable
        Told of each message that is set aside, and why.
    """

    def __init__(
        self,
        spool: Spool,
        key: NodeKey,
        transport: Transport,
        now_ns: Callable[[], int],
        pacing: Pacing | None = None,
        draw: Callable[[], float] = random.random,
        aside: Callable[[Envelope, str], None] | None = None,
    ) -> None:
        self._spool = spool
        self._key = key
        self._transport = transport
        self._now_ns = now_ns
        self._pacing = pacing or Pacing()
        self._draw = draw
        self._aside = aside
        self._sieve = Sieve()
        self._state = UplinkState()
        self._most_bytes = LARGEST_BATCH_BYTES
        self._told: tuple[str, int] | None = None  # with which first message it heard that it is to send again
        self._failures = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._urgent = asyncio.Event()

    @property
    def state(self) -> UplinkState:
        """How it stands now; safe to read from any thread."""
        return self._state

    def put(self, *contents: Content) -> tuple[int, ...]:
        """Keep messages and have them sent: at once, unless all are heartbeats. From any thread; their numbers.

        Several take one write to the disk.
        """
        sequences = self._spool.put_all(contents)
        if not all(isinstance(content, Heartbeat) for content in contents):
            self.hurry()
        return sequences

    def hurry(self) -> None:
        """Send what is in the spool without gathering. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._urgent.set)

    async def run(self, stop: asyncio.Event, drain_s: float = 0.0) -> None:
        """Send until ``stop`` is set, then for at most ``drain_s`` more, or until the spool is empty.

        A batch in flight when the time is over stays in the spool: the next start sends it again, and the centre knows
        it by its boot and sequence.
        """
        self._loop = asyncio.get_running_loop()
        self._urgent.set()
        sending = asyncio.create_task(self._send(stop))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._urgent.set()
            await asyncio.wait({sending}, timeout=max(drain_s, 0.0))
        finally:
            for task in (sending, stopping):
                task.cancel()
            ended = await asyncio.gather(sending, stopping, return_exceptions=True)
            await self._transport.close()
        if isinstance(ended[0], Exception):
            raise ended[0]

    async def _send(self, stop: asyncio.Event) -> None:
        while True:
            self._urgent.clear()
            batch = await asyncio.to_thread(self._spool.batch, self._now_ns(), self._most_bytes)
            if batch is None:
                self._change(caught_up_ns=self._now_ns())
                if stop.is_set():
                    return
                await self._gather()
            elif (wait_s := await self._carry(self._answering(self._sieve.choose(batch)))) is None:
                if not batch.envelopes or not (stop.is_set() or _more_behind(batch) or self._sieve.suspects):
                    await self._gather()
            elif wait_s > 0.0:
                await _rest(wait_s, stop)

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(self._pacing.gather_s):
                await self._urgent.wait()
        except TimeoutError:
            pass

    async def _carry(self, part: Batch) -> float | None:
        """Bring one batch to the centre; how long to wait before the next attempt, None when it was accepted."""
        sealed = self._key.seal(encode_batch(part))
        begun_ns = self._now_ns()
        try:
            async with asyncio.timeout(GUARD_S):
                ack = decode_ack(await self._transport.exchange(sealed))
        except TransportError as error:
            return await self._failed(part, error)
        except WireError as error:
            return self._wait(f"the centre's answer is no acknowledgement: {error}", "bad_answers")
        except TimeoutError:
            return self._wait(f"the transport said nothing for {GUARD_S:g} s", "unanswered")
        await asyncio.to_thread(self._spool.settle, part, ack)
        self._sieve.accepted(part)
        if not part.envelopes and self._told is None:
            self._change(caught_up_ns=begun_ns)
        self._told = _first(part) if ack.resume else None
        self._failures = 0
        self._succeeded(part, len(sealed), seconds_between(begun_ns, self._now_ns()))
        # A farewell that the centre holds comes again until what it heard before is on the disk: but not at once.
        return self._pacing.first_wait_s if _is_farewell_held(part, ack) else None

    def _answering(self, part: Batch) -> Batch:
        """The part, or an empty one: where nothing comes again, a centre that asked for it must hear that it was heard.

        It believes so when a batch begins otherwise than the one that it answered. A node that has its farewell left
        and nothing else could begin none otherwise, and would ask for ever.
        """
        return replace(part, envelopes=()) if part.envelopes and _first(part) == self._told else part

    async def _failed(self, part: Batch, error: TransportError) -> float:
        words = str(error)
        if error.status == TOO_LARGE and len(part.envelopes) > 1:
            self._most_bytes = max(self._most_bytes // 2, SMALLEST_BATCH_BYTES)
        if error.status in {MALFORMED, TOO_LARGE}:
            return await self._sifted(part, words, "malformed" if error.status == MALFORMED else "too_large")
        if error.status == REFUSED:
            return self._wait(words, "refused", refused=True)
        kind = "unavailable" if error.status == UNAVAILABLE else "unanswered"
        return max(self._wait(words, kind), min(error.retry_after_s, self._pacing.refused_wait_s))

    async def _sifted(self, part: Batch, words: str, kind: str) -> float:
        given_up = self._sieve.refused(part)
        if given_up is None:
            # To halve a batch costs no wait: the centre is there. To find suspects only, one after the other, does.
            wait_s = self._wait(words, kind, refused=True)
            return 0.0 if len(part.envelopes) > 1 else wait_s
        self._count(kind, "set_aside")
        _log.warning("message %d of boot %s is set aside: %s", given_up.sequence, given_up.boot_id, words)
        if self._aside is not None:
            self._aside(given_up, words)
        await asyncio.to_thread(self._spool.settle, part, Ack("set-aside", self._now_ns()))
        return 0.0

    def _wait(self, words: str, kind: str, *, refused: bool = False) -> float:
        self._failures += 1
        self._count(kind)
        if self._state.connected or self._state.words != words:
            _log.warning("not sent: %s", words)
        self._change(connected=False, words=words)
        return self._pacing.wait_s(self._failures, self._draw(), refused=refused)

    def _succeeded(self, part: Batch, sent_bytes: int, round_trip_s: float) -> None:
        if not self._state.connected:
            _log.info("the centre accepts what this node sends")
        state = self._state
        self._change(
            connected=True,
            words="",
            round_trip_s=round_trip_s,
            batches=state.batches + 1,
            messages=state.messages + len(part.envelopes),
            sent_bytes=state.sent_bytes + sent_bytes,
        )

    def _count(self, *kinds: str) -> None:
        self._change(**{kind: getattr(self._state, kind) + 1 for kind in kinds})

    def _change(self, **changed: Any) -> None:
        self._state = replace(self._state, **changed)


def _first(batch: Batch) -> tuple[str, int] | None:
    return (batch.envelopes[0].boot_id, batch.envelopes[0].sequence) if batch.envelopes else None


def _is_farewell_held(part: Batch, ack: Ack) -> bool:
    return any(isinstance(each.content, Farewell) for k, each in enumerate(part.envelopes) if k in ack.held)


def _more_behind(batch: Batch) -> bool:
    """Whether it is worth looking for more at once: only a small batch of nothing but heartbeats says there is none."""
    return len(batch.envelopes) > 100 or any(not isinstance(e.content, Heartbeat) for e in batch.envelopes)


async def _rest(wait_s: float, stop: asyncio.Event) -> None:
    """Wait, but no longer than a second once the node is stopping."""
    if stop.is_set():
        await asyncio.sleep(min(wait_s, 1.0))
        return
    try:
        async with asyncio.timeout(wait_s):
            await stop.wait()
    except TimeoutError:
        pass
