"""Works: what waits for the disk or the processor runs in a few threads, so that the doors of the centre never wait."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from shotfix.api.problems import later

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS: Final = 6
MOST_WAITING: Final = 256

T = TypeVar("T")


class Works:
    """A bounded pool of threads: beyond what may wait, whoever asks is told to come again.

    Parameters
    ----------
    threads, most_waiting : int
        How many work, and how many may wait.
    """

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self.refused = 0
        """Works that found too many waiting."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="api")
        self._most = threads + most_waiting
        self._inside = 0

    async def do(self, work: Callable[..., T], *given: object, **named: object) -> T:
        """Run it in a thread; what it raises is raised here.

        It runs to its end even when whoever asked has gone: a transaction is no matter of patience.

        Raises
        ------
        Problem
            When too many wait.
        """
        if self._inside >= self._most:
            self.refused += 1
            raise later("busy", "too many requests wait; ask again")
        future = asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(work, *given, **named))
        self._inside += 1
        future.add_done_callback(self._gone)
        return await future

    def _gone(self, _: object) -> None:
        self._inside -= 1

    def close(self) -> None:
        """End, once what runs has ended."""
        self._pool.shutdown(wait=True, cancel_futures=True)
