"""The pool: worker processes that hear the streams which nodes send to the centre as sound."""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final, Self

from sensors.wire import WireError
from shotfix.heard import Checked, Heard, Lost, Result, Submitted
from shotfix.hearing_ledger import Hold, Ledger, Told
from shotfix.hearing_worker import CheckSnippet, EndStream, HearChunk, Limits, Revise, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sensors.chunk import AudioChunk
    from sensors.health import Farewell
    from sensors.hearing import Setup
    from sensors.message import Content
    from sensors.snippet import Snippet
    from shotfix.hearing_bench import Answer, Key
    from shotfix.hearing_worker import Order

__all__ = ["Checked", "Heard", "HearingPool", "Lost", "Result", "Submitted"]

MOST_UNANSWERED: Final = 256
"""Chunks that one worker may be behind, some 25 MB of them; more where two seconds of all its sensors are more. Then
nodes are asked to wait."""
PATIENCE_S: Final = 5.0
"""How long a sensor's right chunk is waited for, from the first that is not it: what its node dropped never comes."""
LONGEST_ANSWER_S: Final = 60.0
"""A worker that takes longer over one order hangs."""
MOST_BLAME: Final = 12
CRASH_BLAME: Final = 4
"""A chunk over which three workers crashed or hung is given up; or twelve were killed, which is rather somebody else's
doing, or that of a system without memory."""


class HearingPool:
    """Worker processes, each with its sensors. Any thread may submit, and does not wait; one polls, and it does.

    A node keeps a chunk until it is released: until all that is in it was told, and no listener that had to begin again
    would need it to say what is not told yet. So a worker, or all of the centre, may die at any moment: the nodes send
    again what they keep, the listeners say the same again, and what was told before is not passed on twice.

    Parameters
    ----------
    setups : mapping of str to Setup
        The sensors that are heard here, by name.
    workers : int
        Processes.
    told_until : mapping of str to int
        For each sensor the last "heard until" that the centre has on disk: nothing before it is told again.
    most_unanswered : int or None
        Chunks that a worker may be behind; None: as `MOST_UNANSWERED` says.
    limits : Limits
        Of each process.
    """

    def __init__(
        self,
        setups: Mapping[str, Setup],
        workers: int = 1,
        *,
        told_until: Mapping[str, int] | None = None,
        most_unanswered: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers: expected 1 or more")
        self.counts: Counter[str] = Counter()
        """Chunks by what became of them, ``faults``, workers that ``died``, and streams that went on ``out_of_step``:
        with another chunk than the right one, since that did not come."""
        self._setups = dict(setups)
        self._limits = limits or Limits()
        self._most_unanswered = most_unanswered or max(MOST_UNANSWERED, 2 * len(setups) // workers)
        self._ledger = Ledger()
        self._told = {name: Told(until_ns) for name, until_ns in (told_until or {}).items()}
        for told in self._told.values():
            told.begin_again()
        self._holds = {name: Hold(until_ns) for name, until_ns in (told_until or {}).items()}
        self._nodes: dict[str, str] = {}  # who sent last for each sensor
        self._blames: Counter[Key] = Counter()
        self._ready: list[Result] = []
        self._farewells: dict[str, Farewell] = {}
        self._ending: dict[str, EndStream] = {}  # streams that end when their last chunks were sent again
        self._lock = threading.RLock()
        self._count = workers
        self._workers = [Worker(self._setups_of(self._setups, place), self._limits) for place in range(workers)]
        self._busy_since_s = [time.monotonic()] * workers

    def submit(self, node_id: str, boot_id: str, sequence: int, chunk: AudioChunk) -> Submitted:
        """Hand over a chunk, in the order of its node's sequence numbers; never waits.

        Returns
        -------
        Submitted
            TAKEN: a worker has it, or had it; the node must keep it until it is released. FULL: the workers are behind.
            RESUME: it is not the one with which its sensor's stream goes on. After both, the node must send again every
            chunk that is not released. UNKNOWN: nobody listens to this sensor here, and the node may forget it.
        """
        key = (node_id, boot_id, sequence)
        with self._lock:
            became = self._submit(key, chunk)
            self.counts[became] += 1
            return became

    def has_room(self, sensor_ids: Iterable[str]) -> bool:
        """Whether a chunk for each of these, a name for each chunk, would be taken now: ask before taking a batch."""
        with self._lock:
            asked = Counter(self._place(name) for name in sensor_ids)
            return all(len(self._workers[k].unanswered) + n <= self._most_unanswered for k, n in asked.items())

    def finish(self, node_id: str, farewell: Farewell) -> None:
        """A sensor that is heard here stopped on purpose: what is pending is told, and its farewell behind that.

        Its chunks that were refused before are waited for.
        """
        with self._lock:
            if farewell.sensor_id not in self._setups:
                self._ready.append(Heard(node_id, "", None, (farewell,)))
                return
            self._farewells[farewell.sensor_id] = farewell
            self._end(EndStream(node_id, farewell.sensor_id))

    def check(self, node_id: str, snippet: Snippet) -> bool:
        """Have a node's snippet decoded where it can do no harm; False when the workers are behind: ask again."""
        with self._lock:
            place = self._place(snippet.sensor_id)
            if len(self._workers[place].unanswered) >= self._most_unanswered:
                return False
            self._order(place, CheckSnippet(node_id, snippet))
            return True

    def revise(self, setups: Mapping[str, Setup]) -> None:
        """Hear these sensors from now on; streams of those that are heard otherwise than before end and begin anew."""
        with self._lock:
            self._setups = dict(setups)
            for place in range(len(self._workers)):
                self._order(place, Revise(self._setups_of(self._setups, place)))

    def poll(self, timeout_s: float = 0.0) -> tuple[Result, ...]:
        """What came since, in order; wait for the first of it so long, s."""
        with self._lock:
            workers = list(enumerate(self._workers))
            waiting_s = 0.0 if self._ready else timeout_s
        ready = wait([worker.connection for _, worker in workers], waiting_s)
        # Whoever submits must not wait for a worker that speaks slowly, ends or begins: no lock meanwhile.
        for place, worker in workers:
            if worker.connection in ready and not self._collect(place, worker):
                self._replace(place, worker)
            elif self._hangs(place, worker):
                self._replace(place, worker, hung=True)
        with self._lock:
            told, self._ready = self._ready, []
            return tuple(told)

    @property
    def unanswered(self) -> int:
        """Chunks, and other orders, that the workers are behind."""
        return sum(len(worker.unanswered) for worker in self._workers)

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Of the workers."""
        return tuple(worker.process.pid or 0 for worker in self._workers)

    def close(self) -> None:
        """End all processes; what they have not answered, the nodes keep."""
        for worker in self._workers:
            worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # submitting

    def _submit(self, key: Key, chunk: AudioChunk) -> Submitted:
        name = chunk.sensor_id
        if name not in self._setups:
            return Submitted.UNKNOWN
        if self._ledger.is_settled(key):
            self._ready.append(Heard(key[0], key[1], self._ledger.release(key[0], key[1])))
            return Submitted.TAKEN
        if self._ledger.is_taken(key):
            return Submitted.TAKEN
        self._ledger.owe(key, name)
        self._nodes[name] = key[0]
        hold = self._holds.get(name)
        if hold is not None and not self._ends(hold, key, chunk):
            return Submitted.RESUME
        place = self._place(name)
        if len(self._workers[place].unanswered) >= self._most_unanswered:
            self._holds.setdefault(name, Hold(None, key))
            return Submitted.FULL
        if hold is not None:
            del self._holds[name]
            self._ledger.abandon_before(key, name)
        self._ledger.take(key, name)
        self._order(place, HearChunk(key, chunk))
        if name in self._ending:
            self._end(self._ending.pop(name))
        return Submitted.TAKEN

    def _ends(self, hold: Hold, key: Key, chunk: AudioChunk) -> bool:
        if hold.ends_with(key, chunk):
            return True
        now_s = time.monotonic()
        hold.since_s = now_s if hold.since_s is None else hold.since_s
        if now_s - hold.since_s < PATIENCE_S:
            return False
        self.counts["out_of_step"] += 1
        return True

    def _end(self, order: EndStream) -> None:
        """End a stream behind all that its node owes."""
        if self._ledger.owes(order.node_id, order.sensor_id):
            self._ending[order.sensor_id] = order
        else:
            self._order(self._place(order.sensor_id), order)

    def _order(self, place: int, order: Order) -> None:
        worker = self._workers[place]
        if not worker.unanswered:
            self._busy_since_s[place] = time.monotonic()
        worker.order(order)

    def _place(self, sensor_id: str) -> int:
        return zlib.crc32(sensor_id.encode()) % self._count

    def _setups_of(self, setups: Mapping[str, Setup], place: int) -> tuple[Setup, ...]:
        return tuple(setup for name, setup in setups.items() if self._place(name) == place)

    # collecting

    def _collect(self, place: int, worker: Worker) -> bool:
        """Take what a worker says; False when it is gone."""
        try:
            while worker.connection.poll():
                answers = worker.answer()
                with self._lock:
                    self._busy_since_s[place] = time.monotonic()
                    if answers is not None:
                        self._tell(worker.answered(), answers)
        except (OSError, WireError):
            return False
        return True

    def _tell(self, order: Order, answers: tuple[Answer, ...]) -> None:
        self._blames.pop(_blamed(order), None)
        for answer in answers:
            self.counts["faults"] += len(answer.faults)
            if isinstance(order, CheckSnippet):
                fault = answer.faults[0] if answer.faults else None
                self._ready.append(Checked(order.node_id, order.snippet, fault))
                continue
            self._ledger.free(answer.freed)
            for node_id, boot_id in dict.fromkeys(key[:2] for key in answer.freed if key[1] != answer.boot_id):
                self._ready.append(Heard(node_id, boot_id, self._ledger.release(node_id, boot_id)))
            contents = self._news(answer.contents)
            if isinstance(order, EndStream) and order.sensor_id in self._farewells:
                contents = (*contents, self._farewells.pop(order.sensor_id))
            released = self._ledger.release(answer.node_id, answer.boot_id)
            self._ready.append(Heard(answer.node_id, answer.boot_id, released, contents, answer.faults))

    def _news(self, contents: tuple[Content, ...]) -> tuple[Content, ...]:
        if not contents:
            return ()
        told = self._told.setdefault(contents[0].sensor_id, Told())
        return told.pass_on(contents)

    # workers that die

    def _hangs(self, place: int, worker: Worker) -> bool:
        with self._lock:
            return bool(worker.unanswered) and time.monotonic() - self._busy_since_s[place] > LONGEST_ANSWER_S

    def _replace(self, place: int, worker: Worker, *, hung: bool = False) -> None:
        """Begin again what a worker was doing when it died."""
        worker.stop()
        setups = self._setups
        successor = Worker(self._setups_of(setups, place), self._limits)
        with self._lock:
            self._workers[place] = successor
            self._busy_since_s[place] = time.monotonic()
            if self._setups is not setups:  # revised just now
                self._order(place, Revise(self._setups_of(self._setups, place)))
            self._begin_again(place, worker, hung=hung)

    def _begin_again(self, place: int, worker: Worker, *, hung: bool) -> None:
        self.counts["died"] += 1
        names = frozenset(name for name in self._setups if self._place(name) == place)
        self._blame(worker, hung=hung)
        first = self._ledger.lose(names)
        spoke = sorted(name for name in names if name in self._nodes)
        for name in spoke:
            told = self._told.setdefault(name, Told())
            told.begin_again()
            hold = self._holds.get(name)
            if name in first and (hold is None or hold.first is not None):
                self._holds[name] = Hold(told.until_ns, first[name])
        self._ready.append(Lost(tuple(spoke), tuple(sorted({self._nodes[name] for name in spoke}))))
        for order in worker.unanswered:
            if isinstance(order, CheckSnippet):
                self._order(place, order)
            elif isinstance(order, EndStream):
                self._end(order)

    def _blame(self, worker: Worker, *, hung: bool) -> None:
        """The order that a worker died over is the first without an answer; nobody dies of one thing for ever."""
        if not worker.ready or not worker.unanswered:
            return
        order = worker.unanswered[0]
        key = _blamed(order)
        self._blames[key] += CRASH_BLAME if hung or not worker.was_killed else 1
        if self._blames[key] < MOST_BLAME:
            return
        del self._blames[key]
        if isinstance(order, CheckSnippet):
            worker.unanswered.popleft()
            self._ready.append(Checked(order.node_id, order.snippet, "given up, since workers died over it"))
        elif isinstance(order, HearChunk):
            self._ledger.free((order.key,))
            name, index = order.chunk.sensor_id, order.chunk.index
            fault = f"chunk {index} of sensor {name}: given up, since workers died over it"
            self.counts["faults"] += 1
            self._ready.append(Heard(*order.key[:2], None, (), (fault,)))


def _blamed(order: Order) -> Key:
    """By what name an order is remembered that a worker died over."""
    match order:
        case HearChunk():
            return order.key
        case CheckSnippet():
            return order.node_id, order.snippet.clip.sha256, -1
        case EndStream():
            return order.node_id, order.sensor_id, -2
        case Revise():
            return "", "", -3
