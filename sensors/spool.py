"""The spool: what a node has to say, on its own disk until the centre has it on its own."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Final, Self

from acoustic.detection import Detection
from sensors.message import MOST_MESSAGES, Ack, Batch, Content, Envelope, check_boot_id
from sensors.snippet import Snippet
from sensors.spool_file import GIVING_WAY, HELD, IN_SEQUENCE, Kept, Key, SpoolError
from sensors.spool_store import SpoolStore
from sensors.wire import LARGEST_BATCH_BYTES, WireError, decode, encode, kind_of

__all__ = ["Spool", "SpoolError", "SpoolState"]

MOST_SNIPPET_BYTES: Final = 131_072
"""Of snippets in one batch, but for the first: a detection that comes meanwhile waits for no more than that."""
LEAST_BOUND_BYTES: Final = 2**20
LARGEST_SLACK_BYTES: Final = 2**19
"""Given up beyond what must be, so that it is not asked at every message."""
AGE_EVERY_S: Final = 10.0
"""What is too old is looked for no more often."""
_HEAD_BYTES: Final = 600  # what a batch says of itself
_DROPPED_FIRST: Final = ("heartbeat", "chunk", "snippet", "detection")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpoolState:
    """How the spool stands.

    Parameters
    ----------
    waiting, held : int
        Messages still to be sent; audio chunks that were sent and must be kept until the centre releases them.
    disk_bytes, memory_bytes : int
        What they take on the disk, and what is in memory because the disk refused it.
    memory_only : bool
        The disk refuses: what comes now is lost with the power.
    refusal : str
        What the disk says then; empty otherwise.
    dropped : dict of str to int
        Messages given up because of a bound, of each kind, since the spool was opened.
    damaged : int
        Messages whose bytes could be read no longer, as far as a damaged file still says how many it held.
    moved_aside : int
        Files that were damaged, moved aside and begun anew.
    """

    waiting: int
    held: int
    disk_bytes: int
    memory_bytes: int
    memory_only: bool
    refusal: str
    dropped: dict[str, int]
    damaged: int
    moved_aside: int


class Spool:
    """The messages of one node, on disk from `put` until `settle` or a bound.

    The source of truth for what the centre does not have yet. What `put` has returned for survives a kill and a loss
    of power (SQLite, write-ahead log, synchronous=FULL), unless ``memory_only`` says that the disk refuses. Safe for
    several threads; one process at a time.

    When it is over its bounds it gives up, oldest first, heartbeats but the newest of each sensor, then audio chunks,
    then snippets, then detections, and counts each. Age is counted while the node runs, by a clock that no time server
    steps.

    Parameters
    ----------
    path : Path
        The file; made when it is absent, in a folder that exists. A damaged one is moved aside, and what can be read
        of it is kept.
    boot_id : str
        Chosen anew for each start, 8 to 64 hexadecimal digits: no sequence number is ever given twice.
    node_id : str
        Whose messages these are.
    most_bytes : int
        On disk. The file itself may be a twentieth longer, and its log 4 MB.
    most_age_s : float
        Nothing is kept longer.
    most_memory_bytes : int
        In memory, while the disk refuses.
    elapsed_s : callable
        A clock that only ever goes forward.

    Raises
    ------
    SpoolError
        When the file cannot be a spool of this node: somebody else's, held by another process, no such folder, or
        this boot was there before. A disk that is full or broken is no reason not to start.
    ValueError
        When a bound or the boot is out of range.
    """

    def __init__(
        self,
        path: Path | str,
        boot_id: str,
        node_id: str,
        most_bytes: int = 2**30,
        most_age_s: float = 7 * 86_400.0,
        *,
        most_memory_bytes: int = 2**25,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        check_boot_id(boot_id)
        if min(most_bytes, most_memory_bytes) < LEAST_BOUND_BYTES or not most_age_s > 0.0:
            raise ValueError(f"a spool's bounds are at least {LEAST_BOUND_BYTES} bytes, and above 0 s")
        path = Path(path)
        if not path.parent.is_dir() or path.is_dir():
            raise SpoolError(f"{path}: expected a file, in a folder that exists; name another spool")
        self._boot_id, self._node_id = boot_id, node_id
        self._most_bytes, self._most_age_s, self._most_memory_bytes = most_bytes, most_age_s, most_memory_bytes
        self._lock = RLock()
        self._next = 0
        self._damaged = 0
        self._dropped: Counter[str] = Counter()
        self._store = SpoolStore(path, node_id, boot_id, elapsed_s)
        self._elapsed_s = elapsed_s
        # Its own clock goes on from the last message, so that a message ages by the time that the node runs.
        self._ahead_s = self._store.last_kept_s - elapsed_s()
        self._aged_s = elapsed_s() - AGE_EVERY_S
        self._hopeless = False

    def close(self) -> None:
        """Let go of the file, after one more attempt to write what is in memory alone."""
        with self._lock:
            if lost := self._store.close():
                _log.error("%d messages are lost: the disk refused them to the end", lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, content: Content) -> int:
        """Keep what a sensor said until the centre has it; its sequence number.

        Raises
        ------
        sensors.wire.WireError
            When it can never be sent. A disk that is full or broken raises nothing: see ``memory_only``.
        """
        return self.put_all((content,))[0]

    def put_all(self, contents: Iterable[Content]) -> tuple[int, ...]:
        """The same of several, in one write to the disk."""
        with self._lock:
            new = [self._kept(sequence, content) for sequence, content in enumerate(contents, self._next)]
            self._next += len(new)
            self._store.add(new)
            self._bound()
            return tuple(kept.sequence for kept in new)

    def batch(self, sent_ns: int, most_bytes: int = LARGEST_BATCH_BYTES) -> Batch | None:
        """The oldest of what waits, as a batch of at most ``most_bytes`` as it will be encoded.

        Messages stand in their sequence, but for snippets: they give way to all else, a batch with a detection has
        none, and others have few. The first message, and the first snippet, are there even where they are longer than
        ``most_bytes``. When nothing waits but chunks are held, the batch is empty: it asks the centre what it may
        forget. None when there is nothing at all.
        """
        with self._lock:
            self._store.flush()
            self._age()
            chosen = self._choose(min(most_bytes, LARGEST_BATCH_BYTES) - _HEAD_BYTES)
            if not chosen and not self._store.held():
                return None
            return Batch(self._node_id, sent_ns, tuple(chosen))

    def settle(self, batch: Batch, ack: Ack) -> int:
        """Do as the centre answered to a batch, or to a part of one; how many messages are forgotten with it.

        What is ``held`` waits for its release, everything else in the batch is forgotten; then what is ``released`` is
        forgotten, too; then, to ``resume``, every chunk that is held is sent again. Only what is held can be released:
        a centre that began anew does not know of the chunks that are still to come again.
        """
        with self._lock:
            turns: dict[Key, int | None] = {}
            held = set(ack.held)
            for place, envelope in enumerate(batch.envelopes):
                if place not in held:
                    turns[envelope.boot_id, envelope.sequence] = None
                elif kind_of(envelope.content) == "chunk":  # anything else the centre cannot hold: it comes again
                    turns[envelope.boot_id, envelope.sequence] = HELD
            kept_back = {*self._store.held(), *(key for key, turn in turns.items() if turn == HELD)}
            kept_back -= {key for key, turn in turns.items() if turn is None}
            for key in kept_back:
                if key[1] <= ack.released.get(key[0], -1):
                    turns[key] = None
                elif ack.resume:
                    turns[key] = IN_SEQUENCE
            self._store.change(turns)
            return sum(turn is None for turn in turns.values())

    @property
    def memory_only(self) -> bool:
        """The disk refuses: what comes now is lost with the power. It is asked again every second."""
        return self._store.memory_only

    @property
    def dropped(self) -> int:
        """How many messages were lost here since the spool was opened: given up because of a bound, or damaged."""
        return self._dropped.total() + self._damaged + self._store.lost

    def state(self) -> SpoolState:
        """How it stands, all at once."""
        with self._lock:
            held = len(self._store.held())
            return SpoolState(
                waiting=self._store.messages - held,
                held=held,
                disk_bytes=self._store.disk_bytes,
                memory_bytes=self._store.memory_bytes,
                memory_only=self._store.memory_only,
                refusal=self._store.refusal,
                dropped=dict(self._dropped),
                damaged=self._damaged + self._store.lost,
                moved_aside=self._store.moved_aside,
            )

    def _kept(self, sequence: int, content: Content) -> Kept:
        kind = kind_of(content)
        turn = GIVING_WAY if isinstance(content, Snippet) and content.flac else IN_SEQUENCE
        message = encode(Envelope(self._node_id, self._boot_id, sequence, content))
        return Kept(self._boot_id, sequence, kind, content.sensor_id, turn, self._now_s, message)

    @property
    def _now_s(self) -> float:
        return self._elapsed_s() + self._ahead_s

    def _choose(self, most_bytes: int) -> list[Envelope]:
        choice = _Choice()
        for kept in self._store.waiting(IN_SEQUENCE):
            if not choice.add(kept, most_bytes):
                break
        if not choice.has_detection:
            self._choose_snippets(choice, most_bytes)
        self._damaged += len(choice.unreadable)
        self._store.change(choice.unreadable)
        return choice.envelopes

    def _choose_snippets(self, choice: _Choice, most_bytes: int) -> None:
        # The first may take more than was asked for, lest heartbeats, of which there are always some, keep it back.
        bound = LARGEST_BATCH_BYTES - _HEAD_BYTES
        for kept in self._store.waiting(GIVING_WAY):
            if not choice.add(kept, bound):
                break
            bound = min(most_bytes, choice.other_bytes + MOST_SNIPPET_BYTES)

    def _age(self) -> None:
        if self._elapsed_s() - self._aged_s >= AGE_EVERY_S:
            self._aged_s = self._elapsed_s()
            self._note_dropped(self._store.drop_older(self._now_s - self._most_age_s), "they are too old")

    def _bound(self) -> None:
        """Keep within the bounds."""
        store = self._store
        if (over := store.disk_bytes - self._most_bytes) > 0:
            self._give_up(
                store.drop_from_disk,
                over + min(self._most_bytes // 64, LARGEST_SLACK_BYTES),
                _DROPPED_FIRST,
                "the spool is full",
            )
        if not store.memory_only:
            self._hopeless = False
        elif (over := store.memory_bytes - self._most_memory_bytes) > 0:
            self._make_room()
            if store.memory_bytes > self._most_memory_bytes:
                over += self._most_memory_bytes // 64
                self._give_up(store.drop_from_memory, over, _DROPPED_FIRST, "the disk refuses, and memory is full")

    def _make_room(self) -> None:
        """Give up lesser things on the disk for what has no place there; once in vain, not again before it mends."""
        before = self._store.memory_bytes
        if not self._hopeless:
            self._give_up(self._store.drop_from_disk, before + before // 4, _DROPPED_FIRST[:-1], "the disk is full")
            self._store.flush(at_once=True)
            self._hopeless = self._store.memory_bytes >= before

    def _give_up(
        self,
        drop: Callable[[str, int], tuple[int, int]],
        least_bytes: int,
        kinds: Iterable[str],
        why: str,
    ) -> None:
        dropped: Counter[str] = Counter()
        for kind in kinds:
            if least_bytes > 0:
                dropped[kind], freed = drop(kind, least_bytes)
                least_bytes -= freed
        self._note_dropped(dropped, why)

    def _note_dropped(self, dropped: Counter[str], why: str) -> None:
        if dropped.total():
            self._dropped += dropped
            told = ", ".join(f"{count} of {kind}" for kind, count in dropped.items() if count)
            _log.warning("messages are given up because %s: %s", why, told)


@dataclass(slots=True)
class _Choice:
    """The messages of one batch while they are chosen."""

    envelopes: list[Envelope] = field(default_factory=list)
    unreadable: dict[Key, int | None] = field(default_factory=dict)
    taken: int = 0
    other_bytes: int = 0
    has_detection: bool = False

    def add(self, kept: Kept, most_bytes: int) -> bool:
        """Add one, unless that is too much; the first always fits."""
        taken = self.taken + len(kept.content)
        if self.envelopes and (taken > most_bytes or len(self.envelopes) == MOST_MESSAGES):
            return False
        try:
            envelope = decode(kept.content)
        except WireError:
            self.unreadable[kept.key] = None
            return True
        self.envelopes.append(envelope)
        self.taken = taken
        self.has_detection |= isinstance(envelope.content, Detection)
        if kept.turn == IN_SEQUENCE:
            self.other_bytes = taken
        return True
