"""Streams: nodes that send all of their sound, heard at the centre; between the ingest, the workers and the engine."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from sensors.chunk import AudioChunk
from sensors.health import ClockState, Farewell
from sensors.hearing import Setup
from sensors.message import Batch, Envelope
from sensors.snippet import Snippet
from sensors.wire import WireError, encode_batch
from shotfix.hearing_ledger import MOST_BOOTS
from shotfix.hearing_pool import Heard, HearingPool, Lost, Submitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from acoustic.air import Air
    from sensors.message import Content
    from shotfix.engine import Engine
    from shotfix.keeping import Keeping
    from shotfix.registry import Registry

POLL_S: Final = 0.1
AGAIN_S: Final = 0.5
"""What the disk refused is offered to it again at most so often."""
LOT_BYTES: Final = 256_000
"""So much of what was heard is written as one entry, or what came of one chunk where that is more."""
MOST_UNWRITTEN_BYTES: Final = 64_000_000
"""What was heard and is not on the disk yet; beyond, nodes keep their sound."""
_MESSAGE_BYTES: Final = 1_000  # of a message that is no sound, at most

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """What the centre holds of one node's sound: nothing that the node may forget before it is told so."""

    released: dict[str, int] = field(default_factory=dict)
    resume: bool = True
    """At first: whatever a former run of the centre held is gone."""
    told_with: tuple[str, int] | None = None
    """The first message of the batch whose answer said so; the same again means that the answer was lost."""


@dataclass(slots=True)
class _Outgoing:
    """What was heard of one node and is not on the disk, in order: nothing overtakes what the disk refused."""

    waiting: deque[Heard] = field(default_factory=deque)
    lot: tuple[Heard, ...] = ()
    bodies: deque[bytes] = field(default_factory=deque)
    """What of the lot is not written; the first is with the engine."""


class Streams:
    """Hands chunks to the workers, and what they hear to the engine; tells what nodes may forget.

    A chunk may be forgotten when what was heard in it is on the disk, and not before.

    Parameters
    ----------
    pool : HearingPool
        The workers.
    engine : Engine
        Takes what they hear.
    keeping : Keeping
        Takes the sound that nodes cut out themselves, once a worker has decoded it.
    centre_boot : str
        Names this run of the centre, in hexadecimal digits.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    """

    def __init__(
        self, pool: HearingPool, engine: Engine, keeping: Keeping, centre_boot: str, now_ns: Callable[[], int]
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Chunks by what became of them, and entries that were ``refused-by-disk``, each of which is tried again."""
        self._pool = pool
        self._engine = engine
        self._keeping = keeping
        keeping.check = self._check
        self._boot = centre_boot
        self._now_ns = now_ns
        self._sequence = 0
        self._nodes: dict[str, _Held] = {}
        self._streaming: set[str] = set()
        self._behind: set[str] = set()  # sensors whose sound is to come again
        self._parting: dict[str, Envelope] = {}  # by sensor, the last: said to the workers
        self._parted: dict[str, Envelope] = {}  # by sensor, the last: on the disk, behind all that was heard before
        self._outgoing: dict[str, _Outgoing] = {}
        self._unwritten_bytes = 0
        self._refused: set[str] = set()  # nodes of which the disk refused something
        self._lock = threading.RLock()

    # the ingest's thread

    def has_room(self, batch: Batch) -> bool:
        """Whether the workers would take the chunks of a batch now, and the disk what was heard before."""
        names = [e.content.sensor_id for e in batch.envelopes if isinstance(e.content, AudioChunk)]
        return not names or (self._unwritten_bytes <= MOST_UNWRITTEN_BYTES and self._pool.has_room(names))

    def is_ours(self, envelope: Envelope) -> bool:
        """Whether a message goes through the workers: sound, and the farewell behind it."""
        content = envelope.content
        if not self._may_speak(envelope.node_id, content.sensor_id):
            return isinstance(content, AudioChunk)  # to be counted: the core knows no sound
        if isinstance(content, AudioChunk):
            self._streaming.add(content.sensor_id)
            return True
        if not isinstance(content, Farewell):
            return False
        # Whoever has not yet heard that it is to send again may have sound that comes before its farewell.
        return content.sensor_id in self._streaming or self._resumes(envelope.node_id)

    def take(self, node_id: str, envelope: Envelope) -> bool:
        """Take a message of ours; whether its node must keep it."""
        content = envelope.content
        if isinstance(content, Farewell):
            return self._take_farewell(node_id, envelope, content)
        if not isinstance(content, AudioChunk) or not self._may_speak(node_id, content.sensor_id):
            self.counts["not-its-sensor"] += 1
            return False
        became = self._pool.submit(node_id, envelope.boot_id, envelope.sequence, content)
        self.counts[became] += 1
        if became in {Submitted.FULL, Submitted.RESUME}:
            self._ask_again(node_id)
            self._behind.add(content.sensor_id)
        else:
            self._behind.discard(content.sensor_id)
        return became is not Submitted.UNKNOWN

    def _take_farewell(self, node_id: str, envelope: Envelope, farewell: Farewell) -> bool:
        """End a stream; until all that was heard of it is on the disk, the farewell comes again and again."""
        name = farewell.sensor_id
        with self._lock:
            if _is_old(envelope, self._parted.get(name)):
                return False
            if self._of(node_id).resume or name in self._behind or _is_old(envelope, self._parting.get(name)):
                return True  # it must not overtake the sound before it
            self._parting[name] = envelope
        self._pool.finish(node_id, farewell)
        return True

    def told(self, batch: Batch) -> tuple[dict[str, int], bool]:
        """What the node of a batch may forget, by boot; and whether it is to send again what it may not."""
        first = (batch.envelopes[0].boot_id, batch.envelopes[0].sequence) if batch.envelopes else ("", 0)
        with self._lock:
            held = self._of(batch.node_id)
            if held.resume and held.told_with not in {None, first}:
                held.resume = False  # it goes on otherwise than before: it has heard
            held.told_with = first if held.resume else None
            return dict(held.released), held.resume

    def _may_speak(self, node_id: str, sensor_id: str) -> bool:
        return self._engine.core.registry.may_speak(node_id, sensor_id)

    def _resumes(self, node_id: str) -> bool:
        with self._lock:
            return self._of(node_id).resume

    def _check(self, snippet: Snippet) -> bool:
        node_id = self._engine.core.registry.node_of(snippet.sensor_id) or snippet.sensor_id
        return self._pool.check(node_id, snippet)

    # a thread of its own

    def run(self, stop: threading.Event) -> None:
        """Pass on what the workers say until ``stop`` is set."""
        again_s = 0.0
        while not stop.is_set():
            if time.monotonic() >= again_s:
                again_s = time.monotonic() + AGAIN_S
                self._write_again()
            for result in self._pool.poll(POLL_S):
                if isinstance(result, Heard):
                    self._pass_on(result)
                elif isinstance(result, Lost):
                    _log.error("a worker died; its sensors begin anew: %s", ", ".join(result.sensor_ids))
                    for node_id in result.node_ids:
                        self._ask_again(node_id)
                else:
                    self._keeping.put_sound(result.snippet, result.fault)

    def _pass_on(self, heard: Heard) -> None:
        for fault in heard.faults:
            _log.warning("%s: %s", heard.node_id, fault)
        with self._lock:
            self._unwritten_bytes += _size(heard)
            outgoing = self._outgoing.get(heard.node_id)
            begins = outgoing is None
            if outgoing is None:
                outgoing = self._outgoing[heard.node_id] = _Outgoing()
            outgoing.waiting.append(heard)
        if begins:
            self._write_next(heard.node_id)

    # that thread, or the engine's when something is written; of one node one at a time

    def _write_next(self, node_id: str) -> None:
        """Offer the next of what was heard of a node to the disk; what is there may be forgotten by the node."""
        with self._lock:
            outgoing = self._outgoing[node_id]
            while not outgoing.bodies:
                for heard in outgoing.lot:
                    self._settle(heard)
                outgoing.lot = _next_lot(outgoing.waiting)
                if not outgoing.lot:
                    del self._outgoing[node_id]
                    return
                outgoing.bodies.extend(self._bodies(node_id, outgoing.lot))
            body = outgoing.bodies[0]
        self._engine.submit("heard", self._now_ns(), body).add_done_callback(partial(self._written, node_id))

    def _written(self, node_id: str, done: Future[bool]) -> None:
        with self._lock:
            if done.exception() is not None:
                self._refused.add(node_id)
                self.counts["refused-by-disk"] += 1
                return
            self._outgoing[node_id].bodies.popleft()
        self._write_next(node_id)

    def _write_again(self) -> None:
        """Offer again what the disk refused: until it is there, its node forgets nothing of what came after."""
        with self._lock:
            refused, self._refused = self._refused, set()
        for node_id in refused:
            self._write_next(node_id)

    def _settle(self, heard: Heard) -> None:
        """All of it is on the disk."""
        self._unwritten_bytes -= _size(heard)
        for farewell in heard.contents:
            parting = self._parting.get(farewell.sensor_id)
            if isinstance(farewell, Farewell) and parting is not None and parting.content == farewell:
                self._parted[farewell.sensor_id] = self._parting.pop(farewell.sensor_id)
        if not heard.boot_id or heard.released is None:
            return
        released = self._of(heard.node_id).released
        # The last boots are the last in it: a node has forgotten long ago what it was told of others.
        released[heard.boot_id] = max(heard.released, released.pop(heard.boot_id, -1))
        while len(released) > MOST_BOOTS:
            del released[next(iter(released))]

    def _bodies(self, node_id: str, lot: tuple[Heard, ...]) -> list[bytes]:
        contents = tuple(content for heard in lot for content in heard.contents)
        if not contents:
            return []
        now_ns = self._now_ns()
        try:
            return [encode_batch(self._batch(node_id, contents, now_ns))]
        except WireError:  # snippets that together are too long for one
            return [encode_batch(self._batch(node_id, (each,), now_ns)) for each in contents]

    def _batch(self, node_id: str, contents: tuple[Content, ...], now_ns: int) -> Batch:
        first, self._sequence = self._sequence, self._sequence + len(contents)
        envelopes = (Envelope(node_id, self._boot, first + k, content) for k, content in enumerate(contents))
        return Batch(node_id, now_ns, tuple(envelopes))

    def _ask_again(self, node_id: str) -> None:
        with self._lock:
            held = self._of(node_id)
            held.resume, held.told_with = True, None

    def _of(self, node_id: str) -> _Held:
        return self._nodes.setdefault(node_id, _Held())


def _is_old(envelope: Envelope, last: Envelope | None) -> bool:
    """Whether a farewell is one that came before, or comes before it."""
    if last is None or (envelope.node_id, envelope.boot_id) != (last.node_id, last.boot_id):
        return False
    return envelope.sequence <= last.sequence


def _size(heard: Heard) -> int:
    sound = sum(len(content.flac) for content in heard.contents if isinstance(content, Snippet))
    return sound + _MESSAGE_BYTES * (1 + len(heard.contents))


def _next_lot(waiting: deque[Heard]) -> tuple[Heard, ...]:
    """Take as much as goes into one entry, at least what came of one chunk."""
    lot: list[Heard] = []
    room = LOT_BYTES
    while waiting and (not lot or _size(waiting[0]) <= room):
        lot.append(waiting.popleft())
        room -= _size(lot[-1])
    return tuple(lot)


def setups_of(registry: Registry, air: Air) -> dict[str, Setup]:
    """How each sensor of a register is heard, were its node to send its sound."""
    setups = {}
    for site in registry.network.sites:
        elements = sorted(site.elements, key=lambda element: element.channel)
        setups[site.sensor_id] = Setup(
            site.sensor_id,
            full_scale_db_spl=site.full_scale_db_spl,
            clock=ClockState(sigma_s=site.clock_sigma_s),
            elements=tuple(replace(element, channel=place) for place, element in enumerate(elements, start=1)),
            air=air,
        )
    return setups
