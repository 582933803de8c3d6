"""Streams: nodes that send all of their sound, heard at the centre; between the ingest, the workers and the engine."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sensors.chunk import AudioChunk
from sensors.health import ClockState, Farewell
from sensors.hearing import Setup
from sensors.message import Batch, Envelope
from sensors.wire import WireError, encode_batch
from shotfix.hearing_pool import Heard, HearingPool, Lost, Submitted
from shotfix.segment import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from acoustic.air import Air
    from sensors.message import Content
    from sensors.snippet import Snippet
    from shotfix.engine import Engine
    from shotfix.keeping import Keeping
    from shotfix.registry import Registry

POLL_S: Final = 0.1

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """What the centre holds of one node's sound: nothing that the node may forget before it is told so."""

    released: dict[str, int] = field(default_factory=dict)
    resume: bool = True
    """At first: whatever a former run of the centre held is gone."""
    told_with: tuple[str, int] | None = None
    """The first message of the batch whose answer said so; the same again means that the answer was lost."""


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
        """Chunks by what became of them."""
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
        self._parting: dict[str, Farewell] = {}  # by sensor: said to the workers
        self._parted: set[Farewell] = set()  # on the disk, behind everything that was heard before
        self._lock = threading.Lock()

    # the ingest's thread

    def has_room(self, batch: Batch) -> bool:
        """Whether the workers would take the chunks of a batch now."""
        return self._pool.has_room(e.content.sensor_id for e in batch.envelopes if isinstance(e.content, AudioChunk))

    def is_ours(self, envelope: Envelope) -> bool:
        """Whether a message goes through the workers: sound, and the farewell behind it."""
        content = envelope.content
        if isinstance(content, AudioChunk):
            self._streaming.add(content.sensor_id)
            return True
        # Whoever has not yet heard that it is to send again may have sound that comes before its farewell.
        awaited = content.sensor_id in self._streaming or self._of(envelope.node_id).resume
        return isinstance(content, Farewell) and awaited

    def take(self, node_id: str, envelope: Envelope) -> bool:
        """Take a message of ours; whether its node must keep it."""
        content = envelope.content
        if isinstance(content, Farewell):
            return self._take_farewell(node_id, content)
        if not isinstance(content, AudioChunk) or not self._engine.core.registry.may_speak(node_id, content.sensor_id):
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

    def _take_farewell(self, node_id: str, farewell: Farewell) -> bool:
        """End a stream; until all that was heard of it is on the disk, the farewell comes again and again."""
        if farewell in self._parted:
            return False
        if self._of(node_id).resume or farewell.sensor_id in self._behind:
            return True  # it must not overtake the sound before it
        if self._parting.get(farewell.sensor_id) != farewell:
            self._parting[farewell.sensor_id] = farewell
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

    def _check(self, snippet: Snippet) -> bool:
        node_id = self._engine.core.registry.node_of(snippet.sensor_id) or snippet.sensor_id
        return self._pool.check(node_id, snippet)

    # a thread of its own

    def run(self, stop: threading.Event) -> None:
        """Pass on what the workers say until ``stop`` is set."""
        while not stop.is_set():
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
        written = [self._engine.submit("heard", at_ns, body) for at_ns, body in self._bodies(heard)]
        parted = [content for content in heard.contents if isinstance(content, Farewell)]
        if written and parted:
            written[-1].add_done_callback(lambda done: self._part(parted, done))
        if heard.released is None:
            return
        if written:
            written[-1].add_done_callback(lambda done: self._release(heard, done))
        else:
            self._release(heard)

    def _release(self, heard: Heard, done: Future[bool] | None = None) -> None:
        if done is not None and isinstance(done.exception(), JournalError):
            return  # what was heard is not on the disk: the node keeps its sound
        with self._lock:
            released = self._of(heard.node_id).released
            if heard.boot_id and heard.released is not None:
                released[heard.boot_id] = max(heard.released, released.get(heard.boot_id, -1))

    def _part(self, parted: list[Farewell], done: Future[bool]) -> None:
        for farewell in parted:
            if done.exception() is None:
                self._parted.add(farewell)
            self._parting.pop(farewell.sensor_id, None)

    def _bodies(self, heard: Heard) -> list[tuple[int, bytes]]:
        if not heard.contents:
            return []
        now_ns = self._now_ns()
        try:
            return [(now_ns, encode_batch(self._batch(heard.node_id, heard.contents, now_ns)))]
        except WireError:  # snippets that together are too long for one
            return [(now_ns, encode_batch(self._batch(heard.node_id, (each,), now_ns))) for each in heard.contents]

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
