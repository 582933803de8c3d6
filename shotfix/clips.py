"""The clips: snippets of sound on the centre's disk, each under the digest of its samples."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sensors.flac import FlacError, check
from sensors.snippet import SnippetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sensors.snippet import Snippet

DAY_S: Final = 86_400.0
GRACE_S: Final = 3_600.0
"""A clip younger than this stays, however full the store is: the alert that names it may not be written yet."""
SUFFIX: Final = ".flac"
_UNFINISHED: Final = ".part"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long sound that no alert names is kept: so many seconds, and so many bytes together with all the rest."""

    most_age_s: float = 7 * DAY_S
    most_bytes: int = 20_000_000_000

    def __post_init__(self) -> None:
        if not self.most_age_s >= 0.0 or self.most_bytes < 0:
            raise ValueError(f"retention of {self.most_age_s} s and {self.most_bytes} bytes: expected 0 or more")


class ClipStore:
    """Keeps snippets as files ``<first two digits>/<sha256>.flac`` that any player plays.

    Parameters
    ----------
    folder : Path
        Made where it is missing; only its owner may look into it.
    retention : Retention
        What `sweep` keeps.

    Raises
    ------
    OSError
        When the folder cannot be made or read.
    """

    def __init__(self, folder: Path, retention: Retention | None = None) -> None:
        self.folder = folder
        self.retention = retention or Retention()
        self.counts: Counter[str] = Counter()
        """Clips ``put``, ``repeated``, ``refused`` as not what they say, ``unwritten`` on a full or broken disk, and
        ``swept`` for their age or for room."""
        self._lock = threading.Lock()  # one thread puts while another sweeps
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in folder.glob("*/*" + _UNFINISHED):
            unfinished.unlink()
        self._sizes = {path.stem: path.stat().st_size for path in folder.glob("*/*" + SUFFIX)}
        self.bytes = sum(self._sizes.values())

    def __len__(self) -> int:
        return len(self._sizes)

    def put(self, snippet: Snippet, *, checked: bool = False) -> bool:
        """Write a snippet so that it survives a power cut; whether it is on disk now.

        Parameters
        ----------
        snippet : Snippet
            One that is there already costs nothing.
        checked : bool
            Somebody decoded it and found what its clip says, as `HearingPool.check` does in another process. Otherwise
            it is decoded here, once its header was found to be as it should.

        A disk that is full or broken raises nothing: alerts must go on without sound. It is counted.
        """
        name = snippet.clip.sha256
        if name in self._sizes:
            self.counts["repeated"] += 1
            return True
        try:
            if checked:
                check(snippet.flac, snippet.claim)
            else:
                snippet.samples()
        except (FlacError, SnippetError):
            self.counts["refused"] += 1
            return False
        with self._lock:
            try:
                self._write(self._path(name), snippet.flac)
            except OSError:
                self.counts["unwritten"] += 1
                return False
            self.bytes += len(snippet.flac) - self._sizes.get(name, 0)
            self._sizes[name] = len(snippet.flac)
            self.counts["put"] += 1
            return True

    def path(self, sha256: str) -> Path | None:
        """Where the clip of this digest is; None when it is not kept, or when this is no digest at all."""
        return self._path(sha256) if sha256 in self._sizes else None

    def sweep(self, now_s: float, is_pinned: Callable[[str], bool]) -> int:
        """Let go of what is older than it may be, and of the oldest beyond what may be kept; how many went.

        Parameters
        ----------
        now_s : float
            Seconds since 1970 on the clock by which files are dated.
        is_pinned : callable
            Whether an alert names a digest: such a clip stays, whatever its age, and whatever the bytes.
        """
        swept = 0
        with self._lock:
            dated = self._dated()
        for written_s, name in sorted(dated):
            age_s = now_s - written_s
            crowded = self.bytes > self.retention.most_bytes and age_s > GRACE_S
            if (age_s > self.retention.most_age_s or crowded) and not is_pinned(name):
                swept += self._remove(name)
        with self._lock:
            self.counts["swept"] += swept
        return swept

    def _dated(self) -> list[tuple[float, str]]:
        dated: list[tuple[float, str]] = []
        for name in list(self._sizes):
            try:
                dated.append((self._path(name).stat().st_mtime, name))
            except OSError:  # somebody else removed it
                self.bytes -= self._sizes.pop(name)
        return dated

    def _remove(self, name: str) -> bool:
        with self._lock:
            try:
                self._path(name).unlink(missing_ok=True)
            except OSError:
                return False
            self.bytes -= self._sizes.pop(name, 0)
            return True

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / (name + SUFFIX)

    def _write(self, path: Path, content: bytes) -> None:
        """All of it under its name, or nothing: written beside, brought to the disk, renamed, and that brought too."""
        unfinished = path.with_suffix(_UNFINISHED)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            for folder in (path.parent, self.folder):
                _sync_folder(folder)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
