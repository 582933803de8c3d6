"""The worker: a process of its own that decodes what strangers sent, so that nobody else has to."""

from __future__ import annotations

import atexit
import contextlib
import queue
import signal
import threading
from collections import deque
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

from sensors.wire import WireError
from shotfix.hearing_bench import Answer, Bench, decode_answer, encode_answer

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from sensors.chunk import AudioChunk
    from sensors.hearing import Setup
    from sensors.snippet import Snippet
    from shotfix.hearing_bench import Key

LARGEST_ANSWER_BYTES: Final = 64_000_000
"""What a worker says at once: less than this, or it is no longer ours."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker process may take of its machine, by setrlimit(2); what the system does not know is left out."""

    memory_bytes: int = 4 << 30  # of address space: half a gigabyte to begin with, and 1.5 MB for each stream at 48 kHz
    open_files: int = 256
    file_bytes: int = 64 << 20  # the compiler's cache


# What a worker is told. Its own kind of each, so that a match says what is handled.


@dataclass(frozen=True, slots=True)
class HearChunk:
    """Hear a chunk."""

    key: Key
    chunk: AudioChunk


@dataclass(frozen=True, slots=True)
class CheckSnippet:
    """Decode a snippet, and see whether it is what its clip says."""

    node_id: str
    snippet: Snippet


@dataclass(frozen=True, slots=True)
class EndStream:
    """A sensor stopped on purpose."""

    node_id: str
    sensor_id: str


@dataclass(frozen=True, slots=True)
class Revise:
    """Another network."""

    setups: tuple[Setup, ...]


Order = HearChunk | CheckSnippet | EndStream | Revise


class Worker:
    """One worker process, as its owner sees it: orders go in, and each is answered in its turn.

    A thread hands the orders over, so that whoever gives them never waits for a full pipe.
    """

    def __init__(self, setups: tuple[Setup, ...], limits: Limits) -> None:
        context = get_context("spawn")  # a fork would copy whatever locks other threads hold
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, setups, limits), daemon=True)
        self.process.start()
        theirs.close()
        atexit.register(self.process.kill)  # an owner that ends without `stop`: the library's SIGTERM is not heard
        self.ready = False
        """Whether the process has begun to work; before that, whatever ends it is not what it was told."""
        self.unanswered: deque[Order] = deque()
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._hand_over, daemon=True)
        self._thread.start()

    def order(self, order: Order) -> None:
        """Put an order behind the others."""
        self.unanswered.append(order)
        self._orders.put(order)

    def answer(self) -> tuple[Answer, ...] | None:
        """The next answers; None, once, for the word that it is ready. Waits for it; for one thread alone.

        Raises
        ------
        OSError, WireError
            When the process is gone, or says what no worker says.
        """
        try:
            if not self.ready:
                self.connection.recv_bytes(1)
                self.ready = True
                return None
            count = int.from_bytes(self.connection.recv_bytes(4), "big")
            return tuple(decode_answer(self.connection.recv_bytes(LARGEST_ANSWER_BYTES)) for _ in range(count))
        except EOFError as error:
            raise ConnectionResetError(str(error)) from None

    def answered(self) -> Order:
        """The order that the last answers are to, which has none no longer.

        Raises
        ------
        WireError
            When there is none.
        """
        if not self.unanswered:
            raise WireError("a worker answers what it was not asked")
        return self.unanswered.popleft()

    @property
    def was_killed(self) -> bool:
        """Of a process that is gone: whether somebody ended it, rather than that it crashed."""
        return self.process.exitcode in {-signal.SIGKILL, -signal.SIGTERM}

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._orders.put(None)
        self.process.kill()
        self.process.join()
        atexit.unregister(self.process.kill)
        self._thread.join()
        self.connection.close()

    def _hand_over(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (order := self._orders.get()) is not None:
                self.connection.send(order)


def work(connection: Connection, setups: tuple[Setup, ...], limits: Limits) -> None:
    """The life of a worker process: until its owner is gone."""
    # From the keyboard, or from a service manager, they come to everybody: the owner decides, and ends last.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _limit(limits)
    bench = Bench(setups)
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(b".")
        while True:
            answers = _answers(bench, connection.recv())
            connection.send_bytes(len(answers).to_bytes(4, "big"))
            for answer in answers:
                connection.send_bytes(encode_answer(answer))


def _answers(bench: Bench, order: Any) -> tuple[Answer, ...]:
    match order:
        case HearChunk():
            return (bench.hear(order.key, order.chunk),)
        case CheckSnippet():
            return (_checked(order),)
        case EndStream():
            return (bench.finish(order.node_id, order.sensor_id),)
        case Revise():
            return bench.revise(order.setups)
        case _:
            raise TypeError(f"a worker was told {order!r}: expected one of its orders")


def _checked(order: CheckSnippet) -> Answer:
    try:
        order.snippet.samples()
    except ValueError as error:
        return Answer(order.node_id, "", faults=(str(error),))
    return Answer(order.node_id, "")


def _limit(limits: Limits) -> None:
    try:
        import resource  # not everywhere
    except ImportError:
        return
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (allowed, allowed))
