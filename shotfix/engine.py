"""The engine: the one thread that writes the journal, has the core take what is on the disk, and keeps its alerts."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND, instant_text, seconds_between
from alerts.alert import Alert
from alerts.record.store import StoreError
from shotfix.checkpoint import CheckpointError, damaged, kept, newest, save, thin
from shotfix.engine_parts import Arrival, Pulse, settle
from shotfix.entries import LISTEN_BACK_NS, Begin, calendar_body, silence_body, take, tick_body, weather_body
from shotfix.registry import Registry, RegistryError
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
        self._charter = charter
        self._registry = charter.share(registry)
        self._told_revision = told_revision
        self.changes: tuple[str, ...] = ()
        """What of the register is otherwise than before the start, in words."""
        self.observe_latency: Callable[[float], None] = lambda _seconds: None
        """Takes the seconds from the arrival of the last message that an alert needed to its commitment."""
        self._journal = journal
        self._checkpoints = checkpoints
        self._keeper = keeper
        self._now_ns = now_ns
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._decided: list[Arrival] = []  # ticks that wait to be written
        self._unsaved: list[Alert] = []
        self._needed_ns: list[int] = []  # when the last message came that each of them needed
        self._saved_ns = 0
        self._silent_ns = 0
        self._looked_ns = 0
        self._complained_ns = 0
        # What is wanted, and what is on the disk: a difference is written again and again until the disk takes it.
        self._wanted_air = self._taken_air = charter.air
        self._wanted_events = events
        self.pulse = Pulse()
        self.core: Core = self._restore()
        self._wanted_registry = self._registry.encode()
        self._taken_registry = self.core.registry.encode()
        self._taken_events = self.core.events
        self._decided = self._revisions(now_ns())

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
        self._wanted_registry = self._registry.encode()
        self._wanted_air = air

    def expect(self, events: tuple[ExpectedEvent, ...]) -> None:
        """Take over another calendar, as soon as the disk takes it."""
        self._wanted_events = events

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
            self._complain(len(group), error)
            self.pulse.disk_refuses = True
            for arrival in group:
                settle(arrival, error)
            return False
        self.pulse.disk_refuses = False
        for arrival in group:
            settle(arrival)
        return True

    def _complain(self, messages: int, error: JournalError) -> None:
        """Tell the log, when it begins and now and then; a full disk may be the log's, too."""
        now_ns = self._now_ns()
        if self.pulse.disk_refuses and abs(now_ns - self._complained_ns) < COMPLAIN_NS:
            return
        self._complained_ns = now_ns
        _log.error("the journal cannot be written, %d messages were sent back: %s", messages, error)

    def _take(self, group: list[Arrival]) -> None:
        first = self._journal.end - len(group) + 1
        for position, arrival in enumerate(group, start=first):
            entry = Entry(position, arrival.kind, arrival.at_ns, arrival.body)
            said = take(self.core, entry, self._charter, arrival.batch)
            if arrival.kind == "network":
                self._taken_registry = arrival.body
            elif arrival.air is not None:
                self._taken_air = arrival.air
            elif arrival.events is not None:
                self._taken_events = arrival.events
            if self._gather(said):
                self._needed_ns.append(arrival.at_ns if arrival.since_ns is None else arrival.since_ns)

    def _gather(self, said: Said | None) -> bool:
        """Put aside what is to be kept; whether there were alerts."""
        if said is None:
            return False
        _tell(said.episodes)
        for snippet in said.snippets:
            self._keeper.keep_sound(snippet)
        for act_id in said.passed_over:
            self._keeper.pass_over(act_id)
        alerts = [event for event in said.events if isinstance(event, Alert)]
        self._unsaved += alerts
        return bool(alerts)

    def _decide(self, now_ns: int, since_ns: int) -> None:
        """Make an entry of what the clock decides, or a reload: it is written before it is thought about."""
        self._decided += self._revisions(now_ns)
        watermark_ns = self.core.due(now_ns)
        if watermark_ns is not None:
            self._decided.append(Arrival("tick", now_ns, tick_body(watermark_ns), since_ns=since_ns))
            return
        silent_ns = self.core.silent_until(now_ns)
        if silent_ns is not None and silent_ns >= self._silent_ns + SILENCE_STEP_NS:
            self._silent_ns = silent_ns
            self._decided.append(Arrival("note", now_ns, silence_body(silent_ns)))

    def _revisions(self, now_ns: int) -> list[Arrival]:
        """Register, weather and calendar, where those that are wanted are not yet on the disk."""
        registry, air, wanted = self._wanted_registry, self._wanted_air, []
        if registry != self._taken_registry:
            wanted.append(Arrival("network", now_ns, registry))
        if air != self._taken_air:
            wanted.append(Arrival("weather", now_ns, weather_body(air), air=air))
        if self._wanted_events != self._taken_events:
            wanted.append(Arrival("calendar", now_ns, calendar_body(self._wanted_events), events=self._wanted_events))
        return wanted

    def _save(self) -> None:
        """Commit alerts; what the store refuses is tried again with the next."""
        if not self._unsaved:
            return
        try:
            self._keeper.keep(self._unsaved)
        except StoreError as error:
            self.pulse.store_refused += 1
            self.pulse.store_refuses = True
            _log.error("%d alerts wait for the store: %s", len(self._unsaved), error)
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

    # the start

    def _restore(self) -> Core:
        found = newest(self._checkpoints, self._charter.stamp, self._journal.end)
        begun = self._journal.latest("begin")
        if found is not None:
            position: int = found[0]
            core: Core = found[1]
            _log.info("going on from a checkpoint at entry %d of %d", position, self._journal.end)
        elif begun is not None and self._begin_of(begun).charter.stamp == self._charter.stamp:
            position, core = begun, self._listen_back(self._begin_of(begun), begun)[0]
        else:
            position, core = self._found()
        self.core = core
        for entry in self._journal.entries(position):
            self._gather(take(core, entry, self._charter))
        self._renumber(core.registry)
        core.begin(self._now_ns())
        return core

    def _found(self) -> tuple[int, Core]:
        """A core built anew, which listens back into what another program or configuration left in the journal."""
        after, former = self._listened_back_to()
        if former is None:
            self._registry = self._registry.numbered(max(self._registry.revision, self._told_revision))
        else:
            self._renumber(former)
        begin = Begin(self._charter, self._registry.encode(), after)
        self._journal.append("begin", self._now_ns(), begin.encode())
        position = self._journal.flush()
        core, alerts = self._listen_back(begin, position)
        # What was acknowledged, but was not told before the former program ended, is told now.
        self._keeper.keep_missing(alerts)
        return position, core

    def _renumber(self, former: Registry) -> None:
        """Give the register a number above all former ones where it changed; else the one it has."""
        self._registry, words = former.revised(self._registry, self._told_revision)
        self.changes = words or self.changes

    def _listen_back(self, begin: Begin, position: int) -> tuple[Core, list[Alert]]:
        core = self.core = begin.core()
        self._charter = begin.charter
        alerts: list[Alert] = []
        for entry in self._journal.entries(begin.after, position - 1):
            said = None if entry.kind == "begin" else take(core, entry, begin.charter)
            alerts += [event for event in said.events if isinstance(event, Alert)] if said is not None else []
        return core, alerts

    def _listened_back_to(self) -> tuple[int, Registry | None]:
        """The entry behind which a new core begins to listen, and the register that was in force, where it is known."""
        recent: deque[tuple[int, int]] = deque()
        after = self._journal.oldest - 1
        register: Entry | None = None
        for entry in self._journal.entries(after):
            register = entry if entry.kind in {"network", "begin"} else register
            recent.append((entry.position, entry.at_ns))
            while recent[0][1] < entry.at_ns - LISTEN_BACK_NS:
                after = recent.popleft()[0]
        return after, None if register is None else _registry_in(register)

    def _begin_of(self, position: int) -> Begin:
        (entry,) = self._journal.entries(position - 1, position)
        return Begin.decode(entry.body)


def _registry_in(entry: Entry) -> Registry | None:
    try:
        return Registry.decode(entry.body if entry.kind == "network" else Begin.decode(entry.body).registry)
    except (JournalError, RegistryError):  # another version wrote it
        return None


def _tell(episodes: list[Episode]) -> None:
    """Troubles of sensors, each told once as it begins and once as it ends."""
    for episode in episodes:
        ended = "" if episode.until_ns is None else f", over since {instant_text(episode.until_ns, 0)}"
        _log.warning("sensor %s: %s%s (%s)", episode.sensor_id, episode.kind, ended, episode.detail)
