"""The spool's store: the disk while it does as it is asked, memory while it does not."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from sensors.spool_file import (
    HELD,
    Kept,
    Key,
    SpoolError,
    SpoolFile,
    move_aside,
    promised,
    salvage,
)

RETRY_S: Final = 1.0
"""A disk that refused is asked again no sooner."""
_SLICE_BYTES: Final = 250_000  # of memory, or of a damaged file, that goes to the disk at a time
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class SpoolStore:
    """The messages of one node, wherever they could be kept; nothing that the disk does raises an error.

    Three things together: the file; a queue in memory of what the file refused, which goes there as soon as it can;
    and what was decided about messages in the file while it could not be written. A damaged file is moved aside, and
    what can be read of it goes into a new one.

    Parameters
    ----------
    path : Path
        The file, in a folder that exists.
    node_id, boot_id : str
        Whose messages, and which start of the node.
    elapsed_s : callable
        A clock that only ever goes forward.

    Raises
    ------
    SpoolError
        When the file is somebody else's, a newer program's, held by another process, or knows this boot already.
    """

    def __init__(self, path: Path, node_id: str, boot_id: str, elapsed_s: Callable[[], float]) -> None:
        self._path, self._node_id, self._boot_id, self._elapsed_s = path, node_id, boot_id, elapsed_s
        self._memory = SpoolFile(None, node_id)
        self._nothing = SpoolFile(None, node_id)
        self._undone: dict[Key, int | None] = {}
        self._disk: SpoolFile | None = None
        self._asked_s = elapsed_s()
        self._refusal = ""
        self._to_reopen = False
        self.moved_aside = 0
        self.lost = 0
        self.last_kept_s = 0.0
        if self._begin():
            self._close_disk()
            raise SpoolError(f"boot {boot_id} was there before: choose another at each start")

    def _begin(self) -> bool:
        """Open the file and note the boot in it, as far as the disk lets us; whether it was there before."""
        try:
            disk = self._open(checked=True)
            if disk.knows_boot(self._boot_id):
                return True
            disk.note_boot(self._boot_id)  # a disk that is full can still be read: what is sent from it makes room
        except sqlite3.Error as error:
            self._refused(error)
            self.flush()
        return False

    def close(self) -> int:
        """Let go of the file, after a last attempt to write everything; how many messages are lost with the memory."""
        self.flush(at_once=True)
        lost = sum(count for count, _ in self._memory.totals().values())
        self._memory.close()
        self._nothing.close()
        self._close_disk()
        return lost

    @property
    def memory_only(self) -> bool:
        """The disk refused last: what comes now is lost with the power."""
        return bool(self._refusal)

    @property
    def refusal(self) -> str:
        """What the disk said; empty while it does as asked."""
        return self._refusal

    @property
    def disk_bytes(self) -> int:
        """What the messages on the disk take."""
        return sum(taken for _, taken in self._ask(SpoolFile.totals).values())

    @property
    def memory_bytes(self) -> int:
        """What the messages in memory take."""
        return sum(taken for _, taken in self._memory.totals().values())

    @property
    def messages(self) -> int:
        """How many there are, but for those that were forgotten and are still on the disk."""
        both = (self._ask(SpoolFile.totals), self._memory.totals())
        forgotten = sum(turn is None for turn in self._undone.values())
        return sum(count for totals in both for count, _ in totals.values()) - forgotten

    def add(self, messages: list[Kept]) -> None:
        """Keep these, on the disk where it lets us."""
        if self._refusal:
            self._memory.add(messages)
            self.flush()
        elif not self._tell(lambda disk: disk.add(messages)):
            self._memory.add(messages)
            self.flush()  # a damaged file has been replaced meanwhile

    def waiting(self, turn: int) -> Iterator[Kept]:
        """Those of one turn, the oldest first. Read no further after a change."""
        try:
            if self._disk is not None:
                if turn in self._undone.values():
                    yield from (kept for kept in self._disk.waiting(HELD) if self._undone.get(kept.key, HELD) == turn)
                yield from (kept for kept in self._disk.waiting(turn) if self._undone.get(kept.key, turn) == turn)
        except sqlite3.Error as error:
            self._refused(error)
        yield from self._memory.waiting(turn)

    def held(self) -> list[Key]:
        """Everything that is held."""
        on_disk = [key for key in self._ask(SpoolFile.held) if key not in self._undone]
        return on_disk + [key for key, turn in self._undone.items() if turn == HELD] + self._memory.held()

    def change(self, turns: Mapping[Key, int | None]) -> None:
        """Give messages another turn, or forget them where it is None."""
        if turns:
            everything = self._undone | {key: turns[key] for key in self._memory.change(turns)}
            done = self._tell(lambda disk: disk.change(everything))
            self._undone = {} if done else everything

    def drop_from_disk(self, kind: str, least_bytes: int) -> tuple[int, int]:
        """As `SpoolFile.drop`; (0, 0) when the disk refuses."""
        return self._ask(lambda disk: disk.drop(kind, least_bytes))

    def drop_from_memory(self, kind: str, least_bytes: int) -> tuple[int, int]:
        """As `SpoolFile.drop`."""
        return self._memory.drop(kind, least_bytes)

    def drop_older(self, kept_s: float) -> Counter[str]:
        """As `SpoolFile.drop_older`."""
        return self._ask(lambda disk: disk.drop_older(kept_s)) + self._memory.drop_older(kept_s)

    def flush(self, *, at_once: bool = False) -> None:
        """Bring to the disk what it refused, no more often than every `RETRY_S` unless ``at_once``."""
        waited_s = self._elapsed_s() - self._asked_s
        if not self._refusal or not (at_once or waited_s >= RETRY_S):
            return
        self._asked_s = self._elapsed_s()
        try:
            if self._to_reopen:  # it may have been mounted again
                self._close_disk()
            self._catch_up(self._disk or self._open(checked=False))
        except (sqlite3.Error, SpoolError) as error:
            self._refused(error)

    def _catch_up(self, disk: SpoolFile) -> None:
        disk.note_boot(self._boot_id)
        disk.change(self._undone)
        self._undone = {}
        while part := next(_sliced(self._memory.everything()), None):
            disk.add(part)
            self._memory.change(dict.fromkeys(kept.key for kept in part))
        _log.info("%s: the disk takes messages again", self._path)
        self._refusal = ""

    def _ask(self, question: Callable[[SpoolFile], _T]) -> _T:
        """What the disk answers; when it does not, what a spool with nothing in it would."""
        if self._disk is not None:
            try:
                return question(self._disk)
            except sqlite3.Error as error:
                self._refused(error)
        return question(self._nothing)

    def _tell(self, order: Callable[[SpoolFile], object]) -> bool:
        """Whether the disk did it."""
        if self._disk is None:
            return False
        try:
            order(self._disk)
        except sqlite3.Error as error:
            self._refused(error)
            return False
        return True

    def _refused(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what SQLite adds to the kind of error
        if code in _DAMAGED or type(error) is sqlite3.DatabaseError:
            self._replace()
            return
        if not self._refusal:
            _log.error("%s: %s; messages are kept in memory: make room, or mend the disk", self._path, error)
        self._refusal = str(error) or type(error).__name__
        self._to_reopen = code != sqlite3.SQLITE_FULL  # until then it may at least be read

    def _replace(self) -> None:
        """Move a damaged file aside, and bring what can be read of it into a new one."""
        self._close_disk()
        self._refusal = "the file was damaged"
        self._asked_s -= RETRY_S  # a new one takes messages at once
        self.moved_aside += 1
        try:
            aside = move_aside(self._path)
            saved = self._save_from(aside)
        except (OSError, sqlite3.Error, SpoolError) as error:
            _log.error("%s: is damaged, and cannot be begun anew: %s; mend the disk", self._path, error)
            self._refusal = str(error)
            self._to_reopen = True
            return
        held = promised(aside)
        self.lost += max((held or 0) - saved, 0)
        told = "an unknown number" if held is None else held
        _log.error("%s: was damaged; moved to %s, %d messages of %s saved", self._path, aside, saved, told)

    def _save_from(self, aside: Path) -> int:
        """Begin a new file with what can be read of a damaged one; how many messages that is."""
        disk = self._open(checked=False)
        saved = 0
        for part in _sliced(salvage(aside)):
            try:
                disk.add(part)
            except sqlite3.Error as error:
                _log.error("%s: %s; what is left in %s is not saved", self._path, error, aside)
                break
            saved += len(part)
        return saved

    def _open(self, *, checked: bool) -> SpoolFile:
        disk = SpoolFile(self._path, self._node_id, checked=checked)
        try:
            self.last_kept_s = max(self.last_kept_s, disk.last_kept_s())
        except BaseException:
            disk.close()
            raise
        self._disk = disk
        return disk

    def _close_disk(self) -> None:
        if self._disk is not None:
            self._disk.close()
            self._disk = None


def _sliced(messages: Iterable[Kept]) -> Iterator[list[Kept]]:
    """The same in lists of at most some bytes, one message at least."""
    part: list[Kept] = []
    taken = 0
    for kept in messages:
        if part and taken + kept.bytes > _SLICE_BYTES:
            yield part
            part, taken = [], 0
        part.append(kept)
        taken += kept.bytes
    if part:
        yield part
