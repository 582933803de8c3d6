"""The access log: who looked at what; together where it may wait, first where nothing may go out unlogged."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from alerts.record import tables
from alerts.record.database import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.record.store import Store
    from shotfix.api.works import Works

GATHER_S: Final = 1.0
"""How long an entry may wait for others, and what a kill may cost."""
MOST_TOGETHER: Final = 500
MOST_WAITING: Final = 20_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """One call: who, in which role, asked for what, about what, from where, and what the answer's status was."""

    at_ns: int
    who: str
    role: str
    what: str
    about: str
    status: int
    address: str


class AccessLog:
    """Writes calls down in the table ``access``.

    Sound and exports are written down before they go out, or do not go out. All else is written within a second; while
    the disk refuses, it waits in memory, so that nobody is blind to alerts for want of a log. What then finds no room
    is counted in ``lost``.

    Parameters
    ----------
    store : Store
        The record.
    works : Works
        Where it waits for the disk.
    """

    def __init__(self, store: Store, works: Works) -> None:
        self.lost = 0
        """Calls of which nothing will be known: the disk refused for too long."""
        self.trouble = ""
        """Why nothing is written just now; empty when all is well."""
        self._store = store
        self._works = works
        self._waiting: deque[Access] = deque()
        self._noted: set[tuple[str, str]] = set()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def write(self, access: Access) -> None:
        """Write one down now.

        Raises
        ------
        StoreError
            When the record refuses.
        Problem
            When too many wait.
        """
        await self._works.do(self._insert, [access])

    def note(self, access: Access) -> None:
        """Have one written soon; in the event loop."""
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append(access)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._gather())

    def note_once(self, access: Access) -> None:
        """The same, unless it was noted since the start that this person saw what it is about; in the event loop."""
        one = (access.who.casefold(), access.about)
        if one in self._noted:
            return
        if len(self._noted) >= MOST_WAITING:
            self._noted.clear()  # what is noted twice is as true as once
        self._noted.add(one)
        self.note(access)

    async def flush(self) -> None:
        """Write all that waits; what the record refuses waits on."""
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]
            try:
                await asyncio.to_thread(self._insert, some)
            except StoreError as error:
                self._waiting.extendleft(reversed(some))
                if not self.trouble:
                    _log.error("calls of the API are not written down: %s", error)
                self.trouble = "the record refuses the access log"
                return
            self.trouble = ""

    async def stop(self) -> None:
        """Write what waits, and be done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()
        if self._waiting:
            _log.error("%d calls of the API were never written down", len(self._waiting))

    async def _gather(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            await asyncio.shield(self.flush())

    def _insert(self, some: Sequence[Access]) -> None:
        rows = [asdict(access) for access in some]
        self._store.write(lambda connection: connection.execute(sa.insert(tables.access), rows))
