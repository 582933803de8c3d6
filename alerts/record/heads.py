"""Heads: number and digest of the ledger's last entry, noted in a file beside the record every so often.

The chain of digests shows what was altered or taken out of it, and not what was cut off at its end: nothing follows
there that could miss it. Whoever cuts must change this file too. A copy of it on another machine is worth more.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from alerts.record.database import StoreError
from sensors.known_type import known

HEADS: Final = "ledger.heads"
"""The file's name, in the centre's data folder."""
_LONGEST_LINE: Final = 200
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Head:
    """One note: the ledger's entry ``sequence`` had this ``digest`` when it was the last, at ``at_ns`` UTC."""

    sequence: Annotated[int, msgspec.Meta(ge=1)]
    digest: str
    at_ns: int

    def __post_init__(self) -> None:
        if self.sequence < 1 or _DIGEST.fullmatch(self.digest) is None:
            raise ValueError("a head is a number of an entry, from 1, and its digest")


class HeadsFile:
    """The file: a line of JSON for each note, only ever added to.

    Parameters
    ----------
    path : Path
        Made at the first note.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._last = max((head.sequence for head in self.read()), default=0)

    def note(self, head: tuple[int, str], at_ns: int) -> bool:
        """Add a head, unless nothing came since the last; whether it was added. On the disk when this returns.

        Raises
        ------
        StoreError
            When the disk refuses.
        """
        sequence, digest = head
        if sequence <= self._last:
            return False
        line = msgspec.json.encode(Head(sequence, digest, at_ns)) + b"\n"
        try:
            # A line that was cut short by a power failure must not swallow this one.
            start = b"\n" if self._is_cut_short() else b""
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, start + line)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}; the ledger's heads cannot be noted: make room") from error
        self._last = sequence
        return True

    def read(self) -> tuple[Head, ...]:
        """All notes, in the order they were made.

        A line that a power failure cut short is passed over, and so is one whose number a flipped bit made greater than
        the next one's: none was noted so.

        Raises
        ------
        StoreError
            When the file cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}; check the path and its permissions") from error
        heads = [head for line in content.splitlines() if (head := _head(line)) is not None]
        following = [*(head.sequence for head in heads[1:]), math.inf]
        return tuple(head for head, after in zip(heads, following, strict=False) if head.sequence <= after)

    def _is_cut_short(self) -> bool:
        try:
            with self.path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        except OSError:  # absent, or empty
            return False


def _head(line: bytes) -> Head | None:
    if len(line) > _LONGEST_LINE:
        return None
    try:
        return msgspec.json.decode(line, type=known(Head))
    except (msgspec.DecodeError, ValueError):
        return None
