"""The engine: the one thread that writes the journal, has the core take what is on the disk, and keeps its alerts."""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND, instant_text, seconds_between
from alerts.alert import Alert
from alerts.record.store import StoreError
from shotfix.checkpoint import CheckpointError, damaged, kept, save, thin
from shotfix.engine_parts import Arrival, Pulse, settle
from shotfix.entries import silence_body, take, tick_body
from shotfix.givens import Givens
from shotfix.recovery import Recovery
from shotfix.segment import LARGEST_BODY_BYTES, Entry, JournalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from acoustic.air import Air
    from alerts.calendar_event import ExpectedEvent
    from sensors.condition import Episode
    from sensors.message import Batch
    from shotfix.charter import Charter
    from shotfix.core import Core, Said
    from shotfix.engine_parts import Keeper
    from shotfix.journal import Journal
    from shotfix.registry import Registry

GROUP: Final = 512
"""Entries written with one fsync at most."""
IDLE_S: Final = 0.05
"""How long it waits for something new before it looks at the clock."""
CHECKPOINT_NS: Final = 60 * SECOND
SILENCE_STEP_NS: Final = SECOND
STUCK_NS: Final = 10 * SECOND
COMPLAIN_NS: Final = 10 * SECOND

_log = logging.getLogger(__name__)


class Engine:
    """Takes entries in order: on the disk first, then acknowledged, then thought about.

    A kill at any moment loses nothing that was acknowledged: the next start loads the newest checkpoint and takes what
    the journal holds behind it, which gives the same alerts again; those already stored are passed over.

    Parameters
    ----------
    charter : Charter
        From what a core is built.
    registry : Registry
        As it is now; where it differs from the core's, the difference becomes an entry, under a number of its own.
    journal : Journal
        Where entries go.
    checkpoints : Path
        The folder of checkpoints.
    keeper : Keeper
        Where alerts go.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    told_revision : int
        The greatest number that a revision of the register ever had.
    events : tuple of ExpectedEvent
        The calendar as it is now; where it differs from the core's, the difference becomes an entry.
    """

    def __init__(
        self,
        charter: Charter,
        registry: Registry,
        journal: Journal,
        checkpoints: Path,
        keeper: Keeper,
        now_ns: Callable[[], int],
        told_revision: int = 0,
        events: tuple[ExpectedEvent, ...] = (),
    ) -> None:
        self.observe_latency: Callable[[float], None] = lambda _seconds: None
        """Takes the seconds from the arrival of the last message that an alert needed to its commitment."""
        self._journal = journal
        self._checkpoints = checkpoints
        self._keeper = keeper
        self._now_ns = now_ns
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._decided: list[Arrival] = []  # ticks that wait to be written
        self._unsaved: list[Alert] = []
        self._passed_over: list[str] = []  # acts of people, to be put aside
        self._needed_ns: list[int] = []  # when the last message came that each of them needed
        self._saved_ns = 0
        self._silent_ns = 0
        self._looked_ns = 0
        self._complained_ns = 0
        self.pulse = Pulse()
        start = Recovery(charter, charter.share(registry), journal, told_revision, now_ns)
        self.core: Core = start.core(checkpoints, self._gather, keeper.keep_missing)
        self._charter, self._registry = start.charter, start.registry
        self.changes = start.changes
        """What of the register is otherwise than before the start, in words."""
        self._givens = Givens(
            registry=self._registry.encode(),
            air=charter.air,
            events=events,
            taken_registry=self.core.registry.encode(),
            taken_air=charter.air,
            taken_events=self.core.events,
        )
        self._decided = self._givens.missing(now_ns())

    # other threads

    def submit(self, kind: str, at_ns: int, body: bytes, batch: Batch | None = None) -> Future[bool]:
        """Hand over an entry; the future is done when it is on the disk, or raises JournalError when it is not."""
        done: Future[bool] = Future()
        if len(body) > LARGEST_BODY_BYTES:  # else nothing that came with it could be written either
            done.set_exception(JournalError(f"{kind} of {len(body)} bytes: an entry has {LARGEST_BODY_BYTES} at most"))
            return done
        self._arrivals.put(Arrival(kind, at_ns, body, done, batch=batch))
        return done

    def revise(self, registry: Registry, air: Air) -> None:
        """Take over another register, and another report of the weather, as soon as the disk takes the difference."""
        self._registry = self._charter.share(registry)
        self._givens.registry = self._registry.encode()
        self._givens.air = air

    def expect(self, events: tuple[ExpectedEvent, ...]) -> None:
        """Take over another calendar, as soon as the disk takes it."""
        self._givens.events = events

    @property
    def damaged_checkpoints(self) -> int:
        """Checkpoints that were found damaged and set aside, ever."""
        return damaged(self._checkpoints)

    @property
    def registry_revision(self) -> int:
        """The number of the register that is in force, or about to be."""
        return self._registry.revision

    def alive(self, now_ns: int) -> bool:
        """Whether the loop went round lately."""
        return abs(now_ns - self.pulse.looped_ns) < STUCK_NS

    def not_ready(self, now_ns: int) -> list[str]:
        """Why no messages can be taken just now, in words; nothing when they can."""
        wrong = []
        if not self.pulse.ready:
            wrong.append("still starting")
        elif not self.alive(now_ns):
            wrong.append("the engine does not move")
        if self.core.own_fault:
            wrong.append(self.core.own_fault)
        if self.pulse.disk_refuses:
            wrong.append("the disk refuses the journal")
        if self.pulse.store_refuses:
            wrong.append("the record refuses alerts")
        return wrong

    def tidy(self, journal_days: float, journal_bytes: int) -> None:
        """Let go of old parts of the journal that no checkpoint needs."""
        before_ns = self._now_ns() - round(journal_days * 86_400 * SECOND)
        gone = self._journal.retain(before_ns, journal_bytes, min(kept(self._checkpoints), default=0))
        if self._journal.size_bytes > journal_bytes and thin(self._checkpoints):
            gone = self._journal.retain(before_ns, journal_bytes, min(kept(self._checkpoints), default=0))
        if gone.segments:
            _log.info("let go of %d entries of the journal", gone.entries)

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set and everything handed over is taken; then leave a checkpoint."""
        self.pulse.ready = True
        while not stop.is_set() or not self._arrivals.empty():
            self.step(IDLE_S)
        self._checkpoint()

    # the loop

    def step(self, wait_s: float) -> None:
        """Write what has come, take it, decide what can be decided, keep what was said."""
        # What a full disk refused is tried again at leisure.
        hurries = bool(self._decided) and not self.pulse.disk_refuses
        group = self._decided + self._news(self._arrived(0.0 if hurries else wait_s))
        self._decided = []
        if group and self._write(group):
            self._take(group)
        self._save()
        now_ns = self._now_ns()
        self._decide(now_ns, since_ns=max((arrival.at_ns for arrival in group), default=now_ns))
        if abs(now_ns - self._saved_ns) > CHECKPOINT_NS:
            self._checkpoint()
        if abs(now_ns - self._looked_ns) >= SECOND:
            self._looked_ns = now_ns
            _tell(self.core.look_round(now_ns))
        self.pulse.looped_ns = now_ns

    def _arrived(self, wait_s: float) -> list[Arrival]:
        arrived: list[Arrival] = []
        try:
            arrived.append(self._arrivals.get(timeout=wait_s) if wait_s else self._arrivals.get_nowait())
            while len(arrived) < GROUP:
                arrived.append(self._arrivals.get_nowait())
        except queue.Empty:
            pass
        return arrived

    def _news(self, arrived: list[Arrival]) -> list[Arrival]:
        """What has come without what had come before: that is on the disk already, and acknowledged again."""
        news = []
        for arrival in arrived:
            if arrival.batch is None or self.core.is_news(arrival.batch):
                news.append(arrival)
            else:
                self.pulse.repeated += len(arrival.batch.envelopes)
                settle(arrival)
        return news

    def _write(self, group: list[Arrival]) -> bool:
        """Put a group on the disk and tell those who wait for it; False when the disk refused."""
        try:
            for arrival in group:
                self._journal.append(arrival.kind, arrival.at_ns, arrival.body)
            self._journal.flush()
        except JournalError as error:
            self.pulse.disk_refused += 1
            words = "the journal cannot be written, %d messages were sent back: %s"
            self._complain(self.pulse.disk_refuses, words, len(group), error)
            self.pulse.disk_refuses = True
            for arrival in group:
                settle(arrival, error)
            return False
        self.pulse.disk_refuses = False
        for arrival in group:
            settle(arrival)
        return True

    def _complain(self, already: bool, words: str, count: int, error: Exception) -> None:
        """Tell the log, when it begins and now and then; a full disk may be the log's, too."""
        now_ns = self._now_ns()
        if already and abs(now_ns - self._complained_ns) < COMPLAIN_NS:
            return
        self._complained_ns = now_ns
        _log.error(words, count, error)

    def _take(self, group: list[Arrival]) -> None:
        first = self._journal.end - len(group) + 1
        for position, arrival in enumerate(group, start=first):
            entry = Entry(position, arrival.kind, arrival.at_ns, arrival.body)
            said = take(self.core, entry, self._charter, arrival.batch)
            self._givens.take(arrival)
            if self._gather(said):
                self._needed_ns.append(arrival.at_ns if arrival.since_ns is None else arrival.since_ns)

    def _gather(self, said: Said | None) -> bool:
        """Put aside what is to be kept; whether there were alerts."""
        if said is None:
            return False
        _tell(said.episodes)
        for snippet in said.snippets:
            self._keeper.keep_sound(snippet)
        self._passed_over += said.passed_over
        alerts = [event for event in said.events if isinstance(event, Alert)]
        self._unsaved += alerts
        return bool(alerts)

    def _decide(self, now_ns: int, since_ns: int) -> None:
        """Make an entry of what the clock decides, or a reload: it is written before it is thought about."""
        self._decided += self._givens.missing(now_ns)
        watermark_ns = self.core.due(now_ns)
        if watermark_ns is not None:
            self._decided.append(Arrival("tick", now_ns, tick_body(watermark_ns), since_ns=since_ns))
            return
        silent_ns = self.core.silent_until(now_ns)
        if silent_ns is not None and silent_ns >= self._silent_ns + SILENCE_STEP_NS:
            self._silent_ns = silent_ns
            self._decided.append(Arrival("note", now_ns, silence_body(silent_ns)))

    def _save(self) -> None:
        """Commit alerts, then put aside acts that those left without sense; what the store refuses is tried again."""
        if self._unsaved:
            self._commit()
        while self._passed_over and not self._unsaved:
            self._keeper.pass_over(self._passed_over.pop(0))

    def _commit(self) -> None:
        try:
            self._keeper.keep(self._unsaved)
        except StoreError as error:
            self._complain(self.pulse.store_refuses, "%d alerts wait for the store: %s", len(self._unsaved), error)
            self.pulse.store_refused += 1
            self.pulse.store_refuses = True
            return
        now_ns = self._now_ns()
        for since_ns in self._needed_ns:
            self.observe_latency(seconds_between(since_ns, now_ns))
        self._unsaved, self._needed_ns = [], []
        self.pulse.store_refuses = False

    def _checkpoint(self) -> None:
        """Leave the core on the disk, unless alerts of it still wait for the store: a restart must say those again."""
        if self._unsaved or not self._keeper.settled:
            return
        self._saved_ns = self._now_ns()
        try:
            save(self._checkpoints, self._journal.end, self._charter.stamp, self.core, at_ns=self._saved_ns)
        except CheckpointError as error:
            _log.warning("no checkpoint was left; a restart will take longer: %s", error)


def _tell(episodes: list[Episode]) -> None:
    """Troubles of sensors, each told once as it begins and once as it ends."""
    for episode in episodes:
        ended = "" if episode.until_ns is None else f", over since {instant_text(episode.until_ns, 0)}"
        _log.warning("sensor %s: %s%s (%s)", episode.sensor_id, episode.kind, ended, episode.detail)
