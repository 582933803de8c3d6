"""The journal: everything the centre took and decided, in order, on the disk before anybody is told that it is.

A restart replays what followed the newest checkpoint; a replay of all of it gives that day's alerts again. See
docs/journal.md, and `shotfix.segment` for the bytes.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from acoustic.instant import check_instant
from shotfix.disk import Lock, explained, make_folder, sync_folder, write_all
from shotfix.segment import (
    KINDS,
    LARGEST_BODY_BYTES,
    LOCK,
    DamageError,
    Entry,
    Header,
    JournalError,
    Scan,
    encode_entry,
    first_position,
    is_torn,
    read_header,
    read_journal,
    records,
    segment_path,
    segments,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KINDS", "DamageError", "Entry", "Journal", "JournalError", "Retired", "read_journal"]

SEGMENT_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Retired:
    """What retention removed: whole segments, the entries in them, and the room they took."""

    segments: int = 0
    entries: int = 0
    size_bytes: int = 0


class Journal:
    """A folder that one process appends to. `append` and `flush` may be called from different threads.

    Parameters
    ----------
    folder : Path
        Made when it is absent, for our eyes only.
    segment_bytes : int
        A file that has grown to this is closed, and the next one begun.

    Attributes
    ----------
    torn, torn_bytes : int
        Writes that a crash had cut short, found and cut off when the journal was opened: 0 or 1, and how much. Nobody
        was told that they were kept.
    failures : int
        Flushes that the disk refused since then.
    retired : Retired
        What retention removed since then.

    Raises
    ------
    JournalError
        When another process holds it, or the disk refuses. `DamageError` when what it holds was changed.
    """

    def __init__(self, folder: Path | str, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = Path(folder)
        self.segment_bytes = segment_bytes
        self.torn = self.torn_bytes = self.failures = 0
        self.retired = Retired()
        self._pending: list[tuple[str, int, bytes]] = []
        self._taken = 0  # positions given to what is on the disk or on its way there
        self._refused = False  # entries were appended while a flush failed, and went with it
        self._closed = False
        self._dirty = False  # what a failed flush left could not be cut off yet
        self._guard, self._writing = threading.Lock(), threading.Lock()
        self._file = -1
        with explained(self.folder, JournalError):
            make_folder(self.folder)
            self._lock = Lock(self.folder / LOCK)
            try:
                self._scan = self._recover()
                self._taken = self._scan.position
            except BaseException:
                self._lock.release()
                raise

    def close(self) -> None:
        """Let go of the files; what was not flushed is not kept."""
        with self._writing:
            self._closed = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def end(self) -> int:
        """The position of the last entry that is on the disk; 0 when there is none."""
        return self._scan.position

    @property
    def oldest(self) -> int:
        """The position of the first entry that is still kept; `end` + 1 when there is none."""
        kept = segments(self.folder)
        return first_position(kept[0]) if kept else self.end + 1

    @property
    def size_bytes(self) -> int:
        """How much room it takes."""
        return sum(_size(path) for path in segments(self.folder))

    def append(self, kind: str, at_ns: int, body: bytes) -> int:
        """Take an entry into memory; the position it will have once `flush` returns.

        Raises
        ------
        ValueError, TypeError
            When it is no entry: an unknown kind, a time out of range, or a body above `LARGEST_BODY_BYTES`.
        """
        if kind not in KINDS or len(body) > LARGEST_BODY_BYTES:
            raise ValueError(
                f"{kind!r} of {len(body)} bytes: expected one of {', '.join(KINDS)}, up to {LARGEST_BODY_BYTES} bytes"
            )
        check_instant(at_ns, "at_ns")
        with self._guard:
            self._pending.append((kind, at_ns, bytes(body)))
            return self._taken + len(self._pending)

    def flush(self) -> int:
        """Put everything appended so far on the disk, with one write and one fsync; the journal's `end` then.

        Raises
        ------
        JournalError
            When the disk refuses. Nothing that was not on the disk before is there then, neither what this call was to
            write nor what was appended while it tried: whoever appended those is told by the next call. The journal
            can be used again at once, and their positions are given anew.
        """
        with self._writing:
            with self._guard:
                if self._closed:
                    raise JournalError(f"{self.folder}: was closed; open it again")
                if self._refused:
                    self._drop()
                    self._refused = False
                    raise JournalError(f"{self.folder}: the disk refused the entries before these; append them again")
                group, self._pending = self._pending, []
                self._taken += len(group)
            try:
                with explained(self.folder, JournalError):
                    if group:
                        self._write(group)
            except BaseException:
                with self._guard:
                    self.failures += 1
                    self._refused = bool(self._pending)
                    self._drop()
                raise
            return self.end

    def entries(self, after: int = 0, to: int | None = None) -> Iterator[Entry]:
        """The entries behind position ``after`` (0: from the oldest kept) up to ``to`` (None: what is on the disk now).

        Raises
        ------
        JournalError
            When ``after`` lies before what is kept; `DamageError` when what is kept is not what was written.
        """
        return read_journal(self.folder, after, self.end if to is None else min(to, self.end))

    def latest(self, kind: str) -> int | None:
        """The position of the last entry of a kind; None when none is kept.

        Of ``begin`` it is known; for others the journal is read backwards, a segment at a time.
        """
        if kind == "begin":
            return self._scan.begun if self._scan.begun >= self.oldest else None
        bound = self.end
        for path in reversed(segments(self.folder)):
            first = first_position(path)
            found = [e.position for e in read_journal(self.folder, first - 1, bound) if e.kind == kind]
            if found:
                return found[-1]
            bound = first - 1
        return None

    def retain(self, before_ns: int, most_bytes: int, keep_after: int) -> Retired:
        """Remove the oldest segments: what ended before ``before_ns``, and more while all are above ``most_bytes``.

        Never an entry behind ``keep_after``, the position of the oldest checkpoint that is kept, and never the segment
        that is written: what is still needed may be larger than ``most_bytes``.
        """
        with self._writing, explained(self.folder, JournalError):
            kept, size, gone = segments(self.folder), self.size_bytes, Retired()
            while len(kept) > 1:
                path, following = kept[0], read_header(kept[1])
                if following is None or following.first - 1 > keep_after:
                    break
                if following.at_ns > before_ns and size <= most_bytes:
                    break
                taken = path.stat().st_size
                path.unlink()
                size -= taken
                gone = _added(gone, Retired(1, following.first - first_position(path), taken))
                del kept[0]
            if gone.segments:
                sync_folder(self.folder)
            self.retired = _added(self.retired, gone)
            return gone

    # the disk

    def _recover(self) -> Scan:
        """Find the end: of the last segment every record is read, what a crash tore is cut off."""
        for path in reversed(segments(self.folder)):
            size = path.stat().st_size
            header = read_header(path)
            if header is None:
                if not is_torn(path, Scan(0, 0, 0), size):
                    raise DamageError(path, 0, "its header is damaged")
                self._cut(size)
                path.unlink()
                sync_folder(self.folder)
                continue
            scan = header.scan()
            for _ in records(path, scan, size):
                pass
            # Another file was begun behind this one: then all of this one had reached the disk.
            if scan.offset < size and (self.torn or not is_torn(path, scan, size)):
                raise DamageError(path, scan.offset, f"entry {scan.position + 1} is not what was written")
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            if scan.offset < size:
                self._cut(size - scan.offset)
                os.ftruncate(self._file, scan.offset)
            os.fsync(self._file)  # what was read may still be in memory only
            sync_folder(self.folder)
            return scan
        return Scan(0, 0, 0)

    def _cut(self, count: int) -> None:
        self.torn += 1
        self.torn_bytes += count

    def _drop(self) -> None:
        self._pending.clear()
        self._taken = self.end

    def _write(self, group: list[tuple[str, int, bytes]]) -> None:
        if self._file < 0 or self._scan.offset >= self.segment_bytes:
            self._begin_segment(group)
            return
        self._cut_off()
        content, scan = _encoded(group, self._scan)
        self._dirty = True
        try:
            write_all(self._file, content, self._scan.offset)
            os.fsync(self._file)
        except BaseException:
            with contextlib.suppress(OSError):
                self._cut_off()
            raise
        self._scan, self._dirty = scan, False

    def _cut_off(self) -> None:
        """Take away what a failed write left."""
        if self._dirty:
            os.ftruncate(self._file, self._scan.offset)
            self._dirty = False

    def _begin_segment(self, group: list[tuple[str, int, bytes]]) -> None:
        """The next file, with its first group in it: it counts once both it and its name are on the disk."""
        header = Header(self._scan.position + 1, self._scan.chain, group[0][1], self._scan.begun)
        path = segment_path(self.folder, header.first)
        content, scan = _encoded(group, header.scan())
        if self._file >= 0:
            self._cut_off()  # once another follows, nothing may stand behind the last record
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(file, header.encode() + content, 0)
            os.fsync(file)
            sync_folder(self.folder)
        except BaseException:
            os.close(file)
            path.unlink()
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._scan = file, scan


def _encoded(group: list[tuple[str, int, bytes]], scan: Scan) -> tuple[bytes, Scan]:
    """A group as one piece of bytes, and where the segment ends with it."""
    parts: list[bytes] = []
    position, chain, begun = scan.position, scan.chain, scan.begun
    for kind, at_ns, body in group:
        position += 1
        begun = position if kind == "begin" else begun
        part, chain = encode_entry(Entry(position, kind, at_ns, body), chain, first=not parts)
        parts.append(part)
    content = b"".join(parts)
    return content, Scan(scan.offset + len(content), position, chain, begun)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # retention was faster
        return 0


def _added(one: Retired, other: Retired) -> Retired:
    return Retired(one.segments + other.segments, one.entries + other.entries, one.size_bytes + other.size_bytes)
