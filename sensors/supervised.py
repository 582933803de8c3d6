"""A source kept open for ever: the threads around a supervisor."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from sensors.source import Raw, Source, SourceError
from sensors.supervisor import CONNECTING, ENDED, LIVE, Change, Patience, Supervisor

MOST_WAITING: Final = 64
"""Pieces read ahead of whoever takes them; more stay with the source, which counts what it must then drop."""

LONGEST_NAP_S: Final = 0.5  # so that a monotonic clock that a suspended machine stopped is looked at again


class _Opening:
    """One opening of the source, read on a thread of its own until it ends, fails or is given up."""

    def __init__(self, make: Callable[[], Source], said: queue.Queue[_Said]) -> None:
        self._make = make
        self._said = said
        self._source: Source | None = None
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self.begun = False
        threading.Thread(target=self._read, name="source", daemon=True).start()

    @property
    def once(self) -> bool:
        """It is a recording that is read."""
        with self._lock:
            return self._source is not None and self._source.once

    def give_up(self) -> None:
        """Let go of the source without waiting for it: a driver that hangs keeps its thread, not us."""
        self._given_up.set()
        threading.Thread(target=self._close, name="source-close", daemon=True).start()

    def counted(self) -> dict[str, int]:
        """What the source has counted so far."""
        with self._lock:
            source = self._source
        return source.counted() if source is not None else {}

    def _close(self) -> None:
        with self._lock:
            source = self._source
        if source is not None:
            source.close()

    def _read(self) -> None:
        try:
            source = self._make()
            with self._lock:
                self._source = source
            if self._given_up.is_set():
                return
            for raw in source.open():
                self.begun = True
                if not self._say(raw):
                    break
            self._say(None)
        except SourceError as error:
            self._say(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one source must not end the node
            self._say(SourceError(f"the source failed unexpectedly ({type(error).__name__}: {error})"))
        finally:
            self._close()

    def _say(self, what: Raw | SourceError | None) -> bool:
        while not self._given_up.is_set():
            try:
                self._said.put((self, what), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


_Said = tuple[_Opening, Raw | SourceError | None]


class Supervised:
    """A source that is opened again whenever it is lost, with the pieces and the changes of state in one stream.

    A recording that has begun is not opened again, since its sounds would be heard twice: its gaps are no loss, and
    damage in it is its end, with the reason.

    Parameters
    ----------
    make : callable
        Gives a new source for each opening. It runs on the reading thread; what it raises counts as a failed opening.
    patience : Patience
    monotonic : callable
        Seconds that never go back.
    seed : int or None
        Of the jitter; None for another one each time.
    """

    def __init__(
        self,
        make: Callable[[], Source],
        *,
        patience: Patience | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self._make = make
        self._monotonic = monotonic
        self._supervisor = Supervisor(patience or Patience(), random.Random(seed).random)  # noqa: S311 - no secret
        self._said: queue.Queue[_Said] = queue.Queue(MOST_WAITING)
        self._stopped = threading.Event()
        self._opening: _Opening | None = None
        self._counted: Counter[str] = Counter()

    @property
    def openings(self) -> int:
        """Times the source has been opened."""
        return self._supervisor.openings

    @property
    def losses(self) -> int:
        """Times it was lost after it had given samples."""
        return self._supervisor.losses

    def counted(self) -> dict[str, int]:
        """What all openings together had to drop, refuse or give up, by the sources' names for it."""
        opening = self._opening
        together = Counter(self._counted)
        together.update(opening.counted() if opening is not None else {})
        return dict(together)

    def stop(self) -> None:
        """End `stream` soon, from any thread."""
        self._stopped.set()

    def stream(self) -> Iterator[Raw | Change]:
        """Pieces and changes in their order, until the source ends or `stop` is called.

        A change to ``connecting`` stands before the pieces of each opening, whose ``count`` begins with 0 again. What
        was read of an opening before it failed has all been given.
        """
        changes = self._supervisor.begin(self._monotonic())
        try:
            while not self._stopped.is_set():
                for change in changes:
                    if change.state == CONNECTING and self._opening is None:
                        self._opening = _Opening(self._make, self._said)
                    elif change.state not in (CONNECTING, LIVE):
                        self._let_go()
                    yield change
                if self._supervisor.state == ENDED:
                    return
                raw, changes = self._next()
                if raw is not None:
                    # Live is said before the first piece, so that whoever starts a stream there misses nothing.
                    yield from changes
                    changes = ()
                    yield raw
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._opening is not None:
            self._opening.give_up()
            # What is counted after this is of a source that nobody hears any more.
            self._counted.update(self._opening.counted())
            self._opening = None

    def _next(self) -> tuple[Raw | None, tuple[Change, ...]]:
        """What came first: a piece, an end, or the moment at which the supervisor wants to be asked."""
        supervisor = self._supervisor
        once = self._opening is not None and self._opening.once
        # What has been read is looked at before the clock is: a taker that was slow is no loss of the source.
        wait_s = LONGEST_NAP_S if once else min(max(supervisor.next_s - self._monotonic(), 0.0), LONGEST_NAP_S)
        try:
            of, what = self._said.get(timeout=wait_s) if wait_s else self._said.get_nowait()
        except queue.Empty:
            return None, () if once else supervisor.tick(self._monotonic())
        if of is not self._opening:
            return None, ()
        if isinstance(what, Raw):
            return what, supervisor.heard(len(what.samples), self._monotonic())
        if what is None:
            return None, supervisor.ended()
        if of.once and of.begun:
            return None, supervisor.ended(str(what))
        return None, supervisor.failed(str(what), self._monotonic())
