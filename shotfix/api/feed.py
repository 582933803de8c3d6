"""The feed: what is new in the ledger, read once for all who listen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from alerts.record import tables
from alerts.record.entry import Entry
from alerts.record.intact import is_intact
from alerts.record.ledger import Ledger
from alerts.record.store import StoreError
from sensors.known_type import known
from shotfix.api.views import is_reviewed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alerts.record.store import Store

PAGE: Final = 200
KEPT: Final = 1_000
"""Events that stay in memory: who is further behind is read to from the record."""
LOOK_S: Final = 1.0
"""How often it looks though nothing was said: another process may write to the same record."""
REFUSED_S: Final = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the ledger, with the document that it tells of.

    Parameters
    ----------
    entry : Entry
        As the ledger has it.
    document : bytes or None
        Of an ``alert``: the revision's.
    published : bool
        Whether its incident was ever published, up to this revision.
    shows_first : bool
        Whether it shows a first verdict beside which a second is wanted.
    """

    entry: Entry
    document: bytes | None = None
    published: bool = False
    shows_first: bool = False

    @property
    def sequence(self) -> int:
        """Its number."""
        return self.entry.sequence


@dataclass(slots=True)
class StreamCounts:
    """Streams since the start: begun, refused because there were too many, ended as too slow, as no longer allowed."""

    begun: int = 0
    refused: int = 0
    too_slow: int = 0
    revoked: int = 0
    read_back: int = 0


class _Revision(msgspec.Struct):
    alert_id: str
    revision: int


class Feed:
    """One task reads what is new; any number of readers take it from memory, each at its own pace.

    Nothing is kept for a reader: who falls behind what memory holds reads the record.

    Parameters
    ----------
    store : Store
        The record.
    wake : callable
        Ends the waiting for a change of it.
    """

    def __init__(self, store: Store, wake: Callable[[], None]) -> None:
        self.counts = StreamCounts()
        self.readers: list[str] = []
        """Who listens now, by name, once for each stream."""
        self.trouble = ""
        """Why nothing new is told just now; empty when all is well."""
        self._store = store
        self._wake = wake
        self._ledger = Ledger(store)
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._last: int | None = None
        self._news = asyncio.Condition()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="feed")
        self._task: asyncio.Task[None] | None = None
        self.stopped = False

    async def start(self) -> None:
        """Begin to read, unless it was begun; only what is new from now on comes from memory."""
        if self._task is None and not self.stopped:
            self._task = asyncio.get_running_loop().create_task(self._read_on())
        while self._last is None and not self.stopped:
            if not await self.wait(1.0) and self.trouble:
                raise StoreError(self.trouble)

    @property
    def last(self) -> int:
        """Number of the last entry that was read."""
        return self._last or 0

    async def wait(self, timeout_s: float) -> bool:
        """Wait until something may be new, or the time is over; whether something may be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait()
                return True
        return False

    async def poke(self) -> None:
        """Have all that wait look again."""
        async with self._news:
            self._news.notify_all()

    async def wait_beyond(self, sequence: int, timeout_s: float, is_over: Callable[[], bool]) -> None:
        """Wait until there is an event behind a number, the feed ends, all is over, or the time is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(timeout_s, 0.0)), self._news:
                await self._news.wait_for(lambda: self.last > sequence or self.stopped or is_over())

    async def after(self, sequence: int) -> Sequence[Event]:
        """Some events behind a number, in order, without a gap; none when there are none yet.

        Raises
        ------
        StoreError
            When the record cannot be read.
        """
        if sequence >= self.last:
            return ()
        if self._kept and self._kept[0].sequence <= sequence + 1:
            begin = sequence + 1 - self._kept[0].sequence
            return [self._kept[at] for at in range(begin, min(begin + PAGE, len(self._kept)))]
        self.counts.read_back += 1
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._page, sequence, self.last)

    async def stop(self) -> None:
        """Read no more, and let every reader know."""
        self.stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        async with self._news:
            self._news.notify_all()
        self._wake()
        # Waited for: a thread must not read what is being closed.
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    async def _read_on(self) -> None:
        loop = asyncio.get_running_loop()
        seen = -1
        while True:
            try:
                if self._last is None:
                    self._last, _ = await loop.run_in_executor(self._threads, self._ledger.head)
                    seen = self._store.changes
                await self._take_new(loop)
                self.trouble = ""
            except Exception as error:  # noqa: BLE001  (whatever it is, those who listen must not wait for ever)
                if not self.trouble:
                    _log.error("events are told late: %s", error, exc_info=not isinstance(error, StoreError))
                self.trouble = "the record refuses to be read for events"
                await asyncio.sleep(REFUSED_S)
            async with self._news:
                self._news.notify_all()
            seen = await loop.run_in_executor(self._threads, self._store.await_change, seen, LOOK_S)

    async def _take_new(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            found = await loop.run_in_executor(self._threads, self._page, self.last, None)
            self._kept.extend(found)
            if found:
                self._last = found[-1].sequence
            if len(found) < PAGE:
                return

    def _page(self, sequence: int, until: int | None) -> list[Event]:
        """Entries behind a number; all that they need is read from the same committed state."""
        ledger = tables.ledger
        wanted = sa.select(ledger).where(ledger.c.sequence > sequence).order_by(ledger.c.sequence).limit(PAGE)
        if until is not None:
            wanted = wanted.where(ledger.c.sequence <= until)
        with self._store.reading() as connection:
            entries = [
                Entry(
                    row.sequence, row.at_ns, row.kind, row.actor, row.about, bytes(row.body), row.previous, row.digest
                )
                for row in connection.execute(wanted)
            ]
            return [_event(connection, entry) for entry in entries]


def _event(connection: sa.Connection, entry: Entry) -> Event:
    if entry.kind != "alert":
        return Event(entry, shows_first=entry.kind == "opinion" and _wants_second(connection, entry.about))
    try:
        alert, named = tables.alert, msgspec.json.decode(entry.body, type=known(_Revision))
    except msgspec.DecodeError:  # somebody altered the ledger: the audit names the entry, and events go on
        return Event(entry)
    mine = alert.c.alert_id == named.alert_id
    row = connection.execute(
        sa.select(alert.c.document, alert.c.sha256).where(mine, alert.c.revision == named.revision)
    ).one_or_none()
    if row is not None and not is_intact(row.document, row.sha256):
        _log.error("%s revision %d is told to nobody: it was altered; restore it from a backup",
                   named.alert_id, named.revision)  # fmt: skip
        row = None
    before = sa.select(alert.c.number).where(mine, alert.c.revision <= named.revision, alert.c.outcome == "published")
    published = connection.execute(before.limit(1)).first() is not None
    document = None if row is None else row.document
    judged = document is not None and is_reviewed(document) and _wants_second(connection, entry.about)
    return Event(entry, document, published, judged)


def _wants_second(connection: sa.Connection, incident_id: str) -> bool:
    row = tables.incident.c
    wanted = sa.select(row.wants_second).where(row.incident_id == incident_id)
    return bool(connection.execute(wanted).scalar_one_or_none())
