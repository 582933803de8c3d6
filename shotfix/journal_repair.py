"""Repair: giving up what follows damage in a journal, without deleting any of it."""

from __future__ import annotations

import os
from pathlib import Path

from shotfix.disk import Lock, explained, sync_folder
from shotfix.segment import HEADER_BYTES, LOCK, DamageError, JournalError, read_journal, segments

ASIDE = ".damaged"


def repair(folder: Path | str) -> tuple[int, int]:
    """Keep a journal up to its first damage; what follows is set aside in files that end in ``.damaged``.

    Returns
    -------
    tuple of int
        The position of the last entry that is kept, and how many bytes were set aside: none when nothing is damaged.

    Raises
    ------
    JournalError
        When another process holds the journal, or the disk refuses.
    """
    folder = Path(folder)
    with explained(folder, JournalError):
        lock = Lock(folder / LOCK)
        try:
            return _repair(folder)
        finally:
            lock.release()


def _repair(folder: Path) -> tuple[int, int]:
    last, aside = 0, 0
    try:
        for entry in read_journal(folder):
            last = entry.position
    except DamageError as error:
        for path in segments(folder):
            if path > error.path or (path == error.path and error.offset <= HEADER_BYTES):
                aside += path.stat().st_size
                path.rename(path.with_name(path.name + ASIDE))
            elif path == error.path:
                aside += _split(path, error.offset)
        sync_folder(folder)
    return last, aside


def _split(path: Path, offset: int) -> int:
    with path.open("rb+") as file:
        file.seek(offset)
        rest = file.read()
        with path.with_name(path.name + ASIDE).open("wb") as other:
            other.write(rest)
            other.flush()
            os.fsync(other.fileno())
        file.truncate(offset)
        file.flush()
        os.fsync(file.fileno())
    return len(rest)
