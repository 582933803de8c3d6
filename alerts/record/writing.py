"""Writing together: works of several threads share one transaction, so that they share one wait for the disk."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from alerts.record.database import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa

    from alerts.record.database import Database

MOST_TOGETHER: Final = 200
"""Works in one transaction: beyond, the first of them would wait for the last."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Work:
    do: Callable[[sa.Connection], Any]
    done: bool = False
    result: Any = None
    error: BaseException | None = None


class Writer:
    """The one who writes for all threads of a process: whoever comes first, for all that came meanwhile.

    Parameters
    ----------
    database : Database
        Where to.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._came = threading.Condition()  # guards the three below
        self._waiting: deque[_Work] = deque()
        self._writer: int | None = None  # the thread that writes now
        self._changed = threading.Condition()
        self.changes = 0
        """Commits so far."""
        self.most = MOST_TOGETHER

    def write(self, do: Callable[[sa.Connection], T]) -> T:
        """Do a work in a transaction that may hold others' works too; returns once it is on the disk.

        It may run in another thread than the caller's, and must only use the connection it is given. What it raises is
        raised here; its own changes are rolled back, and nobody else's.

        Raises
        ------
        StoreError
            When the transaction fails: then none of its works is done.
        """
        work = _Work(do)
        with self._came:
            self._refuse_nesting()
            self._waiting.append(work)
        while batch := self._turn(work):
            self._write(batch)
        if work.error is not None:
            raise work.error
        result: T = work.result
        return result

    @contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """A transaction of one's own."""
        with self._came:
            self._refuse_nesting()
            self._came.wait_for(lambda: self._writer is None)
            self._writer = threading.get_ident()
        try:
            with self._database.writing() as connection:
                yield connection
            self.wake()
        finally:
            self._leave()

    def await_change(self, seen: int, timeout_s: float) -> int:
        """Wait until there are more commits than were seen, or the time is over; how many there are then."""
        with self._changed:
            self._changed.wait_for(lambda: self.changes != seen, timeout_s)
            return self.changes

    def wake(self) -> None:
        """Let whoever awaits a change look at once, as when all is to stop."""
        with self._changed:
            self.changes += 1
            self._changed.notify_all()

    def _refuse_nesting(self) -> None:
        if self._writer == threading.get_ident():
            raise RuntimeError("whoever writes already must use the connection it has")

    def _turn(self, work: _Work) -> list[_Work]:
        """What this thread is to write now; nothing once its own work is done, by whomever."""
        with self._came:
            try:
                self._came.wait_for(lambda: self._writer is None or work.done)
            except BaseException:
                if work in self._waiting:  # whoever is interrupted must not find it done later
                    self._waiting.remove(work)
                raise
            if work.done:
                return []
            self._writer = threading.get_ident()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self.most))]

    def _write(self, batch: list[_Work]) -> None:
        failure: BaseException | None = None
        try:
            with self._database.writing() as connection:
                for work in batch:
                    self._do(connection, work, alone=len(batch) == 1)
        except BaseException as error:  # noqa: BLE001  (raised again below, to each whose work it was)
            failure = error
        else:
            self.wake()
        finally:
            self._leave(batch, failure)
        if failure is not None and not isinstance(failure, Exception):
            raise failure

    def _do(self, connection: sa.Connection, work: _Work, *, alone: bool) -> None:
        if alone:  # what it raises ends the whole transaction, which holds nothing else
            work.result = work.do(connection)
            return
        place = connection.begin_nested()
        try:
            with self._database.explained():
                work.result = work.do(connection)
                place.commit()
        except Exception as error:  # raised to whose work it was
            place.rollback()
            if isinstance(error, StoreError) and not self._database.is_whole(connection):
                raise  # it is why none of the others is written either
            self._database.check_whole(connection)
            work.error = error

    def _leave(self, batch: list[_Work] | None = None, failure: BaseException | None = None) -> None:
        with self._came:
            for work in batch or ():
                if failure is not None:
                    work.error = failure if len(batch or ()) == 1 else _again(failure)
                work.done = True
            self._writer = None
            self._came.notify_all()


def _again(failure: BaseException) -> StoreError:
    """The same for each thread: one exception raised in several would mix up their tracebacks."""
    if isinstance(failure, StoreError):
        error = type(failure)(str(failure))
    else:
        error = StoreError(f"the transaction was given up ({type(failure).__name__}); nothing was written, try again")
    error.__cause__ = failure
    return error
