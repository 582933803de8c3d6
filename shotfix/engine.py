"""The engine: the one thread that writes the journal, has the core take what is on the disk, and keeps its alerts."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from acoustic.instant import SECOND, instant_text, seconds_between
from alerts.alert import Alert
from alerts.record.store import StoreError
from shotfix.checkpoint import CheckpointError, kept, newest, save, thin
from shotfix.entries import LISTEN_BACK_NS, Begin, silence_body, take, tick_body, weather_body
from shotfix.segment import Entry, JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from acoustic.air import Air
    from sensors.condition import Episode
    from sensors.message import Batch
    from sensors.snippet import Snippet
    from shotfix.charter import Charter
    from shotfix.core import Core, Said
    from shotfix.journal import Journal
    from shotfix.registry import Registry

GROUP: Final = 512
"""Entries written with one fsync at most."""
IDLE_S: Final = 0.05
"""How long it waits for something new before it looks at the clock."""
CHECKPOINT_NS: Final = 60 * SECOND
SILENCE_STEP_NS: Final = SECOND
STUCK_NS: Final = 10 * SECOND

_log = logging.getLogger(__name__)


class Keeper(Protocol):
    """Where alerts and sound are kept."""

    def keep(self, alerts: Sequence[Alert]) -> None:
        """Store alerts and queue what is to be delivered, in one transaction; StoreError when that cannot be."""
        ...

    def keep_missing(self, alerts: Sequence[Alert]) -> int:
        """Store those that are not stored yet in any wording; how many there were."""
        ...

    def keep_sound(self, snippet: Snippet) -> None:
        """Have a snippet stored, soon; never raises: a full disk costs sound, not alerts, and is counted."""
        ...

    @property
    def settled(self) -> bool:
        """Whether everything that was handed over is stored."""
        ...


@dataclass(slots=True)
class _Arrival:
    kind: str
    at_ns: int
    body: bytes
    done: Future[bool] | None = None
    since_ns: int | None = None
    """When the last message came that it follows from; None: itself."""
    batch: Batch | None = None
    """What its body says, where that is known."""


@dataclass(slots=True)
class Pulse:
    """What the engine did last, for health and metrics; read by other threads."""

    ready: bool = False
    looped_ns: int = 0
    disk_refuses: bool = False
    """The last group could not be written."""
    store_refuses: bool = False
    """The last alerts could not be committed; they wait."""
    disk_refused: int = 0
    """Groups that could not be written; their senders were told to come again."""
    store_refused: int = 0
    repeated: int = 0
    """Messages that had come before."""
    latencies_s: list[float] = field(default_factory=list)
    """From the arrival of the last message that an alert needed to its commitment; emptied by whoever reads it."""


class Engine:
    """Takes entries in order: on the disk first, then acknowledged, then thought about.

    A kill at any moment loses nothing that was acknowledged: the next start loads the newest checkpoint and takes what
    the journal holds behind it, which gives the same alerts again; those already stored are passed over.

    Parameters
    ----------
    charter : Charter
        From what a core is built.
    registry : Registry
        As it is now; where it differs from the core's, the difference becomes an entry.
    journal : Journal
        Where entries go.
    checkpoints : Path
        The folder of checkpoints.
    keeper : Keeper
        Where alerts go.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    """

    def __init__(
        self,
        charter: Charter,
        registry: Registry,
        journal: Journal,
        checkpoints: Path,
        keeper: Keeper,
        now_ns: Callable[[], int],
    ) -> None:
        self._charter = charter
        self._registry = charter.share(registry)
        self._journal = journal
        self._checkpoints = checkpoints
        self._keeper = keeper
        self._now_ns = now_ns
        self._arrivals: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()
        self._decided: list[_Arrival] = []  # ticks that wait to be written
        self._unsaved: list[Alert] = []
        self._needed_ns: list[int] = []  # when the last message came that each of them needed
        self._saved_ns = 0
        self._silent_ns = 0
        self._looked_ns = 0
        self._air = charter.air
        self.pulse = Pulse()
        self.core: Core = self._restore()

    # other threads

    def submit(self, kind: str, at_ns: int, body: bytes, batch: Batch | None = None) -> Future[bool]:
        """Hand over an entry; the future is done when it is on the disk, or raises JournalError when it is not."""
        done: Future[bool] = Future()
        self._arrivals.put(_Arrival(kind, at_ns, body, done, batch=batch))
        return done

    def revise(self, registry: Registry, air: Air) -> None:
        """Take over another register, and another report of the weather, where they differ from today's."""
        now_ns = self._now_ns()
        registry = self._charter.share(registry)
        if registry.encode() != self.core.registry.encode():
            self._arrivals.put(_Arrival("network", now_ns, registry.encode()))
        if air != self._air:
            self._air = air
            self._arrivals.put(_Arrival("weather", now_ns, weather_body(air)))

    def alive(self, now_ns: int) -> bool:
        """Whether the loop went round lately."""
        return now_ns - self.pulse.looped_ns < STUCK_NS

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
        group = self._decided + self._news(self._arrived(0.0 if self._decided else wait_s))
        self._decided = []
        if group and self._write(group):
            self._take(group)
        self._save()
        now_ns = self._now_ns()
        self._decide(now_ns, since_ns=max((arrival.at_ns for arrival in group), default=now_ns))
        if now_ns - self._saved_ns > CHECKPOINT_NS:
            self._checkpoint()
        if now_ns - self._looked_ns >= SECOND:
            self._looked_ns = now_ns
            _tell(self.core.look_round(now_ns))
        self.pulse.looped_ns = now_ns

    def _arrived(self, wait_s: float) -> list[_Arrival]:
        arrived: list[_Arrival] = []
        try:
            arrived.append(self._arrivals.get(timeout=wait_s) if wait_s else self._arrivals.get_nowait())
            while len(arrived) < GROUP:
                arrived.append(self._arrivals.get_nowait())
        except queue.Empty:
            pass
        return arrived

    def _news(self, arrived: list[_Arrival]) -> list[_Arrival]:
        """What has come without what had come before: that is on the disk already, and acknowledged again."""
        news = []
        for arrival in arrived:
            if arrival.batch is None or self.core.is_news(arrival.batch):
                news.append(arrival)
            else:
                self.pulse.repeated += len(arrival.batch.envelopes)
                _settle(arrival)
        return news

    def _write(self, group: list[_Arrival]) -> bool:
        """Put a group on the disk and tell those who wait for it; False when the disk refused."""
        try:
            for arrival in group:
                self._journal.append(arrival.kind, arrival.at_ns, arrival.body)
            self._journal.flush()
        except JournalError as error:
            self.pulse.disk_refused += 1
            self.pulse.disk_refuses = True
            _log.error("the journal cannot be written, %d messages were sent back: %s", len(group), error)
            for arrival in group:
                _settle(arrival, error)
            return False
        self.pulse.disk_refuses = False
        for arrival in group:
            _settle(arrival)
        return True

    def _take(self, group: list[_Arrival]) -> None:
        first = self._journal.end - len(group) + 1
        for position, arrival in enumerate(group, start=first):
            entry = Entry(position, arrival.kind, arrival.at_ns, arrival.body)
            said = take(self.core, entry, self._charter, arrival.batch)
            if self._gather(said):
                self._needed_ns.append(arrival.at_ns if arrival.since_ns is None else arrival.since_ns)

    def _gather(self, said: Said | None) -> bool:
        """Put aside what is to be kept; whether there were alerts."""
        if said is None:
            return False
        _tell(said.episodes)
        for snippet in said.snippets:
            self._keeper.keep_sound(snippet)
        alerts = [event for event in said.events if isinstance(event, Alert)]
        self._unsaved += alerts
        return bool(alerts)

    def _decide(self, now_ns: int, since_ns: int) -> None:
        """Make an entry of what the clock decides: it is written before it is thought about."""
        watermark_ns = self.core.due(now_ns)
        if watermark_ns is not None:
            self._decided.append(_Arrival("tick", now_ns, tick_body(watermark_ns), since_ns=since_ns))
            return
        silent_ns = self.core.silent_until(now_ns)
        if silent_ns is not None and silent_ns >= self._silent_ns + SILENCE_STEP_NS:
            self._silent_ns = silent_ns
            self._decided.append(_Arrival("note", now_ns, silence_body(silent_ns)))

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
        self.pulse.latencies_s += [seconds_between(since_ns, now_ns) for since_ns in self._needed_ns]
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
        if core.registry.encode() != self._registry.encode():
            self._decided.append(_Arrival("network", self._now_ns(), self._registry.encode()))
        core.begin(self._now_ns())
        return core

    def _found(self) -> tuple[int, Core]:
        """A core built anew, which listens back into what another program or configuration left in the journal."""
        after = self._listened_back_to()
        begin = Begin(self._charter, self._registry.encode(), after)
        self._journal.append("begin", self._now_ns(), begin.encode())
        position = self._journal.flush()
        core, alerts = self._listen_back(begin, position)
        # What was acknowledged, but was not told before the former program ended, is told now.
        self._keeper.keep_missing(alerts)
        return position, core

    def _listen_back(self, begin: Begin, position: int) -> tuple[Core, list[Alert]]:
        core = self.core = begin.core()
        self._charter = begin.charter
        alerts: list[Alert] = []
        for entry in self._journal.entries(begin.after, position - 1):
            said = None if entry.kind == "begin" else take(core, entry, begin.charter)
            alerts += [event for event in said.events if isinstance(event, Alert)] if said is not None else []
        return core, alerts

    def _listened_back_to(self) -> int:
        """The entry behind which a new core begins to listen."""
        recent: deque[tuple[int, int]] = deque()
        after = self._journal.oldest - 1
        for entry in self._journal.entries(after):
            recent.append((entry.position, entry.at_ns))
            while recent[0][1] < entry.at_ns - LISTEN_BACK_NS:
                after = recent.popleft()[0]
        return after

    def _begin_of(self, position: int) -> Begin:
        (entry,) = self._journal.entries(position - 1, position)
        return Begin.decode(entry.body)


def _tell(episodes: list[Episode]) -> None:
    """Troubles of sensors, each told once as it begins and once as it ends."""
    for episode in episodes:
        ended = "" if episode.until_ns is None else f", over since {instant_text(episode.until_ns, 0)}"
        _log.warning("sensor %s: %s%s (%s)", episode.sensor_id, episode.kind, ended, episode.detail)


def _settle(arrival: _Arrival, error: Exception | None = None) -> None:
    """Tell whoever waits for an entry, unless they have gone."""
    if arrival.done is None or not arrival.done.set_running_or_notify_cancel():
        return
    if error is None:
        arrival.done.set_result(True)
    else:
        arrival.done.set_exception(error)
