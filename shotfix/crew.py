"""The crew: threads and tasks of a centre, none of which may end unseen."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

_log = logging.getLogger(__name__)


class Crew:
    """Starts threads and tasks; one that fails, or ends before it was told to, is the failure of all.

    Parameters
    ----------
    fail : callable
        Takes in words who failed and why; called from any thread.
    """

    def __init__(self, fail: Callable[[str], None]) -> None:
        self.lost: list[str] = []
        """Who ended though nobody said so, in words."""
        self._fail = fail
        self._threads: list[threading.Thread] = []

    def thread(self, name: str, work: Callable[[], object], stopped: Callable[[], bool]) -> threading.Thread:
        """Have a thread do ``work`` until ``stopped()``."""
        thread = threading.Thread(target=self._watched, args=(name, work, stopped), name=name)
        self._threads.append(thread)
        thread.start()
        return thread

    def task(self, name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> asyncio.Task[None]:
        """Have a task of this event loop do ``work``, which may end by itself but must not fail."""
        return asyncio.create_task(self._awaited(name, work), name=name)

    def join(self, patience_s: float) -> None:
        """Wait for every thread, each so long at most, s."""
        for thread in self._threads:
            thread.join(patience_s)

    def _watched(self, name: str, work: Callable[[], object], stopped: Callable[[], bool]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (a centre without one of its threads must not seem to be one)
            self._failed(name, error)
        else:
            if not stopped():
                self._lose(f"the {name} ended by itself, which is a fault of ours; report it")

    async def _awaited(self, name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  (as above)
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        _log.critical("the %s failed, the centre ends; what was acknowledged is in the journal", name, exc_info=True)
        self._lose(f"the {name} failed ({type(error).__name__}: {error}); its log says where")

    def _lose(self, words: str) -> None:
        self.lost.append(words)
        self._fail(words)
