"""The disk: files that are there, whole, once we say so; and what to do when it refuses."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

_held: Final[set[Path]] = set()  # a lock of POSIX does not keep out the process that holds it


class LockedError(Exception):
    """Another process holds the lock; says which one."""


class Lock:
    """A lock file, held by one process, and let go by the system when that dies, whatever children it leaves.

    Raises
    ------
    LockedError
        When it is held already, by another process or by this one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        if self._path in _held:
            raise LockedError(f"{path.parent}: opened by this process already")
        # A lock of lockf is no child's: one of flock would outlive a killed centre in its workers.
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 20).decode(errors="replace").strip()
            os.close(self._file)
            if error.errno not in {errno.EACCES, errno.EAGAIN}:
                raise
            raise LockedError(f"{path.parent}: process {holder or '(unknown)'} holds it; stop that one first") from None
        with contextlib.suppress(OSError):  # a help for whoever is refused; a full disk must not keep us out
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        _held.add(self._path)

    def release(self) -> None:
        """Let go; once is enough."""
        if self._path in _held:
            _held.discard(self._path)
            os.close(self._file)


def write_all(file: int, content: bytes, offset: int) -> None:
    """Write all of it at an offset: a nearly full disk takes a part, and complains only of the next."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def sync_folder(folder: Path) -> None:
    """Put names that are new or gone on the disk: syncing a file does not keep its name."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder for our eyes only, and those above it, with their names on the disk; one that is there stays."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def write_whole(path: Path, fill: Callable[[BinaryIO], object], mode: int = 0o600) -> None:
    """Make a file that is there whole or not at all: beside it, synced, then renamed.

    Parameters
    ----------
    path : Path
        Replaced when it exists.
    fill : callable
        Writes the content.
    mode : int
        Who may do what with it.

    Raises
    ------
    OSError
        When the disk refuses; nothing is left then.
    """
    beside = path.with_name(f"{path.name}.partial")
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(file, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
        beside.rename(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def why_not_ours(facts: os.stat_result) -> str | None:
    """Why a file or folder is not ours alone to write; None when it is.

    A folder of the system's in which only owners may delete, as /tmp, passes for a parent.
    """
    if facts.st_uid not in {os.geteuid(), 0}:
        return f"it belongs to user {facts.st_uid}"
    sticky = stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
        return "others may write it"
    return None


def remedy(error: OSError) -> str:
    """What to do about what the system complains of."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return "make room; what was acknowledged is safe"
    if error.errno == errno.EIO:
        return "the disk is failing: look at the kernel's log, and move the data to another"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "check who owns it and whether it may be written"
    return "check the path and the disk"


@contextlib.contextmanager
def explained(where: Path, kind: type[Exception]) -> Iterator[None]:
    """Turn what the system or a lock complains of into an error of ours that names the remedy."""
    try:
        yield
    except LockedError as error:
        raise kind(str(error)) from None
    except OSError as error:
        raise kind(f"{where}: {error.strerror or error}; {remedy(error)}") from error
