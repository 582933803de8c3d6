"""The node: one device's sound becomes messages on its own disk, and from there the centre's; from start to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.block import AudioBlock
from acoustic.instant import SECOND, instant_text
from sensors.chunk import ChunkError, quantised
from sensors.chunker import Chunker
from sensors.health import ClockState, Farewell, Heartbeat
from sensors.hearing import Setup
from sensors.identity import NodeKey
from sensors.snipper import Keeping
from sensors.snippet import Snippet
from sensors.source import SourceError
from sensors.spool import Spool
from sensors.supervised import Supervised
from sensors.supervisor import LIVE, Change
from sensors.time_source import TimeSourceError
from sensors.timekeeper import Timekeeper
from sensors.uplink import Pacing, Uplink
from sensors.warming import warm_listener
from shotfix.devices import latency_of, patience_of, source_of, time_source_of, transport_of
from shotfix.service import notify, watchdog_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sensors.message import Content
    from sensors.source import Raw, Source
    from sensors.time_source import Reading
    from shotfix.config_node import NodeConfig, SensorConfig

BOOT_BYTES: Final = 16
READ_CLOCK_S: Final = 5.0
IDLE_S: Final = 1.0
"""How often a node that hears nothing says so."""
BEHIND_NS: Final = 2 * SECOND
"""What it then vouches for: samples stamped since a device came back are never older."""
GATHER_S: Final = 0.1
STUCK_S: Final = 20.0
LOOK_S: Final = 0.2
DRAIN_S: Final = 10.0
"""At a signal: how long the last words may take to reach the centre; what does not stays in the spool."""
ENDED_DRAIN_S: Final = 3600.0
"""Where the source has come to its end by itself, there is time."""

_log = logging.getLogger(__name__)


class _Ear:
    """One sensor of the device: from its channels' blocks to what is to be sent."""

    def __init__(self, setup: Setup, columns: list[int], session: str, *, at_centre: bool) -> None:
        self.sensor_id = setup.sensor_id
        self.heard_to_ns: int | None = None
        self._columns = columns
        self._hearing = None if at_centre else setup.hearing()
        self._chunker = Chunker(setup.sensor_id, session) if at_centre else None

    def hear(self, block: AudioBlock) -> Iterable[Content]:
        """Take the device's next block."""
        mine = quantised(replace(block, samples=_columns(block.samples, self._columns)))
        self.heard_to_ns = mine.end_ns
        if self._chunker is not None:
            return self._chunker.take(mine)
        return () if self._hearing is None else self._hearing.hear(mine)

    def finish(self) -> Iterable[Content]:
        """The stream ends."""
        if self._chunker is not None:
            return self._chunker.finish()
        return () if self._hearing is None else self._hearing.finish()


class Node:
    """One node, opened; `run` it once.

    Parameters
    ----------
    config : NodeConfig
        What it is told.

    Raises
    ------
    IdentityError, SpoolError, SourceError
        When its key, its spool or its kind of source cannot be used; each says what to do.
    """

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.boot_id = secrets.token_hex(BOOT_BYTES)
        identity = config.node
        identity.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = NodeKey.load(identity.key_file)
        self._spool = Spool(
            identity.data_dir / "spool.db",
            self.boot_id,
            identity.node_id,
            config.spool.most_bytes,
            config.spool.most_age_s,
        )
        self._transport = transport_of(config)
        self.uplink = Uplink(self._spool, self._key, self._transport, time.time_ns, Pacing(gather_s=GATHER_S))
        self._make = source_of(config)
        self._source = Supervised(self._opening, patience=patience_of(config))
        self._opened: Source | None = None
        self._latency = latency_of(config.source, None)
        self._clock = time_source_of(config.clock)
        self._reading: Reading | None = None
        self._fresh_reading = threading.Event()
        self._ears = [_ear(sensor, config, self.boot_id) for sensor in config.sensors]
        self._keeper: Timekeeper | None = None
        self._recorded = config.source.kind in {"file", "folder"}
        self._live = False
        self._told: tuple[bool, bool, str] | None = None
        self._stop = threading.Event()
        self._told_to_stop_s: float | None = None
        self._moved_s = time.monotonic()
        self._failed: Exception | None = None

    def run(self) -> None:
        """Hear until the source ends or a signal says to stop, then send the last words.

        Raises
        ------
        Exception
            What ended the uplink, if anything did: a node that cannot send is started again, and does not end well.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        gone = threading.Event()
        sender = threading.Thread(target=self._send, args=(gone,), name="uplink")
        sender.start()
        sides = [threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True) for work in self._sides()]
        for side in sides:
            side.start()
        notify("READY=1")
        try:
            self._listen()
            self._take_leave()
        finally:
            notify("STOPPING=1")
            self._stop.set()
            gone.set()
            sender.join()
            self._spool.close()
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """End soon; from any thread, or a signal."""
        if self._told_to_stop_s is None:
            self._told_to_stop_s = time.monotonic()
        self._stop.set()
        self._source.stop()

    # hearing

    def _opening(self) -> Source:
        self._opened = self._make()
        return self._opened

    def _listen(self) -> None:
        for what in self._source.stream():
            self._moved_s = time.monotonic()
            if isinstance(what, Change):
                self._turn(what)
            else:
                self._take(what)

    def _turn(self, change: Change) -> None:
        told = (change.state == LIVE, change.no_audio, change.reason)
        if told != self._told:  # a microphone that is away is looked for every few seconds: once is enough
            self._told = told
            level = logging.WARNING if change.reason or change.no_audio else logging.INFO
            _log.log(level, "%s: %s", change.state.replace("_", "-"), change.reason or self.config.source.kind)
        was, self._live = self._live, change.state == LIVE
        if was and not self._live:
            self._interrupt()
        latency = latency_of(self.config.source, self._opened)
        if self._live and latency != self._latency:  # what was opened now is stamped by other means
            self._latency, self._keeper = latency, None

    def _take(self, raw: Raw) -> None:
        for block in self._blocks(raw):
            self._hear(block)

    def _blocks(self, raw: Raw) -> Iterator[AudioBlock]:
        """The piece with its instants: its own where it is a recording, else those of the kept time."""
        if raw.start_ns is not None and (self._recorded or raw.wall_ns is None):
            yield AudioBlock(raw.samples, raw.rate_hz, raw.start_ns, after_gap=raw.lost)
            return
        if self._keeper is None or self._keeper.rate_hz != raw.rate_hz:
            self._keeper = Timekeeper(raw.rate_hz, latency_s=self._latency[0], latency_sigma_s=self._latency[1])
            self._fresh_reading.set()
        if self._fresh_reading.is_set():
            self._fresh_reading.clear()
            self._keeper.read(self._reading)
        yield from self._keeper.keep(raw)
        while self._keeper.faults:
            fault = self._keeper.faults.popleft()
            _log.warning("%s: %.6f, found at %s", fault.reason, fault.size, instant_text(fault.at_ns))

    def _hear(self, block: AudioBlock) -> None:
        for ear in self._ears:
            try:
                self._say(ear.hear(block))
            except ChunkError as error:
                _log.warning("a second of sound cannot travel: %s", error)

    def _interrupt(self) -> None:
        """The stream has ended, for now or for good: what is pending is judged on what there is of it."""
        for block in self._keeper.finish() if self._keeper is not None else ():
            self._hear(block)
        for ear in self._ears:
            self._say(ear.finish())

    def _take_leave(self) -> None:
        self._interrupt()
        now_ns = time.time_ns()
        for ear in self._ears:
            at_ns = ear.heard_to_ns if self._recorded else now_ns - BEHIND_NS
            if at_ns is not None:
                self._say([Farewell(ear.sensor_id, at_ns)])

    def _say(self, contents: Iterable[Content]) -> None:
        told: list[Content] = []
        for content in contents:
            if isinstance(content, Snippet):
                told.append(content.announcement())
            told.append(self._complete(content))
        if told:
            self.uplink.put(*told)

    def _complete(self, content: Content) -> Content:
        """A heartbeat tells, too, what the spool had to give up."""
        return replace(content, spool_dropped=self._spool.dropped) if isinstance(content, Heartbeat) else content

    # beside it

    def _sides(self) -> list[Callable[[], None]]:
        return [self._tell_of_silence, self._read_clock, self._keep_watch]

    def _tell_of_silence(self) -> None:
        """While there is no sound: say so, and until when that is all there is to say."""
        while not self._stop.wait(IDLE_S):
            if self._live or self._recorded:
                continue
            now_ns = time.time_ns()
            clock = ClockState("free" if self._keeper is None else self._keeper.state, self._sigma_s())
            beats = [Heartbeat(e.sensor_id, now_ns - BEHIND_NS, listening=False, clock=clock) for e in self._ears]
            self._say(beats)

    def _sigma_s(self) -> float:
        return 1.0 if self._keeper is None else self._keeper.sigma_s

    def _read_clock(self) -> None:
        while True:
            try:
                self._reading = self._clock.read()
            except TimeSourceError as error:
                self._reading = None
                _log.warning("the clock cannot be asked: %s", error)
            self._fresh_reading.set()
            if self._stop.wait(READ_CLOCK_S):
                return

    def _keep_watch(self) -> None:
        """Tell the service manager that the node moves: samples come, or somebody is at work to get them back."""
        while (watchdog := watchdog_s()) is not None and not self._stop.wait(watchdog):
            if not self._live or time.monotonic() - self._moved_s < STUCK_S:
                notify("WATCHDOG=1")

    def _send(self, gone: threading.Event) -> None:
        asyncio.run(self._carry(gone))

    async def _carry(self, gone: threading.Event) -> None:
        stop = asyncio.Event()
        sending = asyncio.create_task(self.uplink.run(stop, drain_s=ENDED_DRAIN_S))
        try:
            while not sending.done():
                await asyncio.wait({sending}, timeout=LOOK_S)
                if gone.is_set():
                    stop.set()
                told_s = self._told_to_stop_s
                if gone.is_set() and told_s is not None and time.monotonic() - told_s > DRAIN_S:
                    sending.cancel()
        finally:
            (ended,) = await asyncio.gather(sending, return_exceptions=True)
            if isinstance(ended, Exception):
                _log.error("the uplink failed, the node ends; what is in the spool stays there: %r", ended)
                self._failed = ended
                self.stop()


def listen(config: NodeConfig) -> None:
    """Run a node until its source ends or a signal stops it.

    Raises
    ------
    As `Node` and `Node.run`.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if config.node.placement == "edge":
        warm_listener()  # else the first impulse waits for a compiler, and its sound behind it
    Node(config).run()


def _ear(sensor: SensorConfig, config: NodeConfig, boot_id: str) -> _Ear:
    # The sensor's channel is listened to; a small array's others come behind it, in the elements' order.
    elements = sorted((each.element for each in sensor.elements), key=lambda element: element.channel)
    setup = Setup(
        sensor.sensor_id,
        full_scale_db_spl=sensor.full_scale_db_spl,
        clock=ClockState("stated", config.clock.sigma_s) if config.clock.sigma_s is not None else ClockState(),
        elements=tuple(replace(element, channel=place) for place, element in enumerate(elements, start=1)),
        keeping=Keeping(config.privacy.snippet_llr, config.privacy.ring_s, wanted=config.privacy.snippets),
    )
    columns = [sensor.channel, *(element.channel for element in elements)]
    return _Ear(setup, columns, boot_id, at_centre=config.node.placement == "centre")


def _columns(samples: np.ndarray, columns: list[int]) -> np.ndarray:
    """The channels of one sensor.

    Raises
    ------
    SourceError
        When the source does not have the one that is listened to.
    """
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if columns[0] >= channels:
        raise SourceError(
            f"channel {columns[0]} is asked for, the source has {channels}, counted from 0; mend sensor.channel"
        )
    if samples.ndim == 1:
        return samples
    if max(columns) >= channels:  # an array that was recorded as one microphone
        columns = columns[:1]
    if len(columns) == 1:
        return np.ascontiguousarray(samples[:, columns[0]])
    return np.ascontiguousarray(samples[:, columns])
