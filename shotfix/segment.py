"""Segments: the files of a journal, record by record, and how to tell what a crash tore from what a disk changed.

A segment is a header and then records, numbered one after the other from the header's number::

    header  magic 16 s | first position u64 | chain u32 | at_ns i64 | begun u64 | crc32 u32
    record  mark 4 s | length u32 | kind u8 | at_ns i64 | crc32 u32 | body | crc32 u32      (little-endian)

Each checksum continues the one before it, over file borders too: a record that was left out, moved or taken from
elsewhere does not fit. The mark says whether the record is the first of a flush; one that is says that everything
before it had reached the disk when it was written.

CRC-32 (ISO 3309, as in zlib) finds every flipped bit and every burst up to 32 bits; of heavier damage it misses one in
4,000 million. It is no defence against who can write the folder and means harm: the ledger is.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from acoustic.instant import check_instant

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS: Final = ("begin", "batch", "heard", "tick", "network", "weather", "note", "act", "calendar")
"""What an entry can be; their places here are written to the disk, so new ones come last."""

LARGEST_BODY_BYTES: Final = 32 << 20
SUFFIX: Final = ".journal"
LOCK: Final = "lock"
"""Names in the folder."""

_MAGIC: Final = b"shotfix-journal1"
_HEADER: Final = struct.Struct("<16sQIqQ")
_HEAD: Final = struct.Struct("<4sIBq")
_CRC: Final = struct.Struct("<I")
HEADER_BYTES: Final = _HEADER.size + _CRC.size
HEAD_BYTES: Final = _HEAD.size + _CRC.size
_FIRST: Final = b"\xabSF|"
_NEXT: Final = b"\xabSF-"
_SECTOR: Final = 512


class JournalError(Exception):
    """The journal cannot be opened, written or read; the message says what to do."""


class DamageError(JournalError):
    """A journal says something else than what was written; names the file, the offset and the remedy."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        self.path, self.offset = path, offset
        super().__init__(
            f"{path}: byte {offset}: {what}; restore the journal from a backup, "
            "or give up what follows with `shotfix journal repair`"
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the journal.

    Parameters
    ----------
    position : int
        1 for the first entry ever, then one more for each.
    kind : str
        One of `KINDS`.
    at_ns : int
        When the centre took it, wall clock UTC.
    body : bytes
        What was received or decided, up to `LARGEST_BODY_BYTES`.
    """

    position: int
    kind: str
    at_ns: int
    body: bytes

    def __post_init__(self) -> None:
        if self.position < 1:
            raise ValueError(f"position is {self.position}: expected 1 or more")
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}: expected one of {', '.join(KINDS)}")
        check_instant(self.at_ns, "at_ns")
        if len(self.body) > LARGEST_BODY_BYTES:
            raise ValueError(f"the body has {len(self.body)} bytes: expected {LARGEST_BODY_BYTES} at most")


@dataclass(slots=True)
class Scan:
    """How far a segment is whole: the offset behind its last record, that record's position, and the chain there.

    ``begun`` is the position of the last entry of kind ``begin`` up to there, 0 without one.
    """

    offset: int
    position: int
    chain: int
    begun: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of a segment: its first position, what it continues, and the instant of its first entry."""

    first: int
    chain: int
    at_ns: int
    begun: int

    def encode(self) -> bytes:
        """As it stands in the file, `HEADER_BYTES` long."""
        plain = _HEADER.pack(_MAGIC, self.first, self.chain, self.at_ns, self.begun)
        return plain + _CRC.pack(zlib.crc32(plain, self.chain))

    def scan(self) -> Scan:
        """Where reading the records begins."""
        (chain,) = _CRC.unpack(self.encode()[-_CRC.size :])
        return Scan(HEADER_BYTES, self.first - 1, chain, self.begun)

    @classmethod
    def decode(cls, content: bytes) -> Header | None:
        """Read back `encode`; None when it is anything else."""
        if len(content) != HEADER_BYTES:
            return None
        magic, *values = _HEADER.unpack_from(content)
        found = cls(*values)
        return found if magic == _MAGIC and content == found.encode() else None


def encode_entry(entry: Entry, chain: int, *, first: bool) -> tuple[bytes, int]:
    """A record and the checksum that the next one continues."""
    head = _HEAD.pack(_FIRST if first else _NEXT, len(entry.body), KINDS.index(entry.kind), entry.at_ns)
    # A checksum never covers a checksum: whatever came before, the two together leave the same remainder.
    chain = zlib.crc32(head, chain)
    after = zlib.crc32(entry.body, chain)
    return b"".join((head, _CRC.pack(chain), entry.body, _CRC.pack(after))), after


def segments(folder: Path) -> list[Path]:
    """The segments of a folder, oldest first.

    Raises
    ------
    DamageError
        When a file is named as a segment and cannot be one.
    """
    found = sorted(folder.glob(f"*{SUFFIX}"))
    for path in found:
        if not (path.stem.isdecimal() and len(path.stem) == 20):
            raise DamageError(path, 0, "no name of a segment")
    return found


def segment_path(folder: Path, first: int) -> Path:
    """The file of the segment that begins with this position."""
    return folder / f"{first:020d}{SUFFIX}"


def first_position(path: Path) -> int:
    """What its name says is its first position."""
    return int(path.stem)


def read_header(path: Path) -> Header | None:
    """The header, or None when the file ends within it, or it never reached the disk.

    Raises
    ------
    DamageError
        When it is whole and wrong, or belongs to another file.
    """
    with path.open("rb") as file:
        content = file.read(HEADER_BYTES)
    if len(content) < HEADER_BYTES or not content.strip(b"\0"):
        return None
    header = Header.decode(content)
    if header is None or header.first != first_position(path):
        raise DamageError(path, 0, "its header is damaged or another file's")
    return header


def records(path: Path, scan: Scan, size: int) -> Iterator[Entry]:
    """The entries of one segment from ``scan`` on, which is moved along with them.

    Ends before the first record that is torn or wrong, and at ``size``; `scan` says where.
    """
    with path.open("rb") as file:
        file.seek(scan.offset)
        while scan.offset + HEAD_BYTES + _CRC.size <= size:
            head = file.read(HEAD_BYTES)
            length = _checked_length(head, scan.chain)
            if length is None or scan.offset + HEAD_BYTES + length + _CRC.size > size:
                return
            body, crc = file.read(length), file.read(_CRC.size)
            chain = zlib.crc32(body, zlib.crc32(head[: -_CRC.size], scan.chain))
            if crc != _CRC.pack(chain):
                return
            _, _, kind, at_ns = _HEAD.unpack_from(head)
            entry = Entry(scan.position + 1, KINDS[kind], at_ns, body)
            scan.offset += HEAD_BYTES + length + _CRC.size
            scan.position, scan.chain = entry.position, chain
            if entry.kind == "begin":
                scan.begun = entry.position
            yield entry


def read_journal(folder: Path, after: int = 0, to: int | None = None) -> Iterator[Entry]:
    """The entries of a folder behind position ``after`` up to ``to``; needs no lock and changes nothing.

    Without ``to`` it ends before a record that is being written or was torn at the very end.

    Raises
    ------
    JournalError
        When ``after`` lies before what is kept, or a segment was removed meanwhile; `DamageError` when what is kept is
        not what was written, or does not reach ``to``.
    """
    kept = segments(folder)
    if after and kept and after + 1 < first_position(kept[0]):
        raise JournalError(f"{folder}: entry {after + 1} is no longer kept, the oldest is {first_position(kept[0])}")
    begin = max((k for k, path in enumerate(kept) if first_position(path) <= after + 1), default=0)
    expected: Scan | None = None
    for number, path in enumerate(kept[begin:], begin + 1):
        if to is not None and first_position(path) > to:
            return
        scan, size = _opened(path, expected, last=number == len(kept))
        if scan is None:
            break
        for entry in records(path, scan, size):
            if to is not None and entry.position > to:
                return
            if entry.position > after:
                yield entry
        if scan.offset < size and not (number == len(kept) and is_torn(path, scan, size)):
            raise DamageError(path, scan.offset, f"entry {scan.position + 1} is not what was written")
        expected = scan
    if to and (expected is None or expected.position < to):
        where = kept[-1] if kept else folder
        raise DamageError(where, expected.offset if expected else 0, f"it ends before entry {to}")


def whole_bytes(path: Path, *, last: bool) -> int:
    """How much of a segment is whole records: all of it, unless it is the last and is being written or was torn.

    Raises
    ------
    DamageError
        When it was changed.
    """
    size, header = path.stat().st_size, read_header(path)
    scan = Scan(0, 0, 0) if header is None else header.scan()
    for _ in records(path, scan, size if header is not None else 0):
        pass
    if scan.offset < size and not (last and is_torn(path, scan, size)):
        raise DamageError(path, scan.offset, f"entry {scan.position + 1} is not what was written")
    return scan.offset


def _opened(path: Path, expected: Scan | None, *, last: bool) -> tuple[Scan | None, int]:
    """Where to begin in a segment and its size, when it continues the one before; no `Scan` when it is hardly begun."""
    try:
        size, header = path.stat().st_size, read_header(path)
    except FileNotFoundError:
        raise JournalError(f"{path}: removed while it was read; begin again from what is kept") from None
    if header is None:
        if last and is_torn(path, Scan(0, 0, 0), size):
            return None, size
        raise DamageError(path, 0, "its header is damaged")
    if expected is not None and (header.first, header.chain, header.begun) != (
        expected.position + 1,
        expected.chain,
        expected.begun,
    ):
        raise DamageError(path, 0, f"it does not continue entry {expected.position}; a segment is missing or foreign")
    return header.scan(), size


def is_torn(path: Path, scan: Scan, size: int) -> bool:
    """Whether what follows the last whole record is a write that a crash cut short, as against damage.

    A killed program leaves the beginning of what it wrote. A power cut may also leave zeros where blocks never
    arrived. In both cases nothing follows that a later flush vouches for. Anything else was changed on the disk: a
    record whose bytes are all there and which is wrong. Where a body of the last flush itself holds a sector of
    zeros, damage to that flush looks like a power cut: it is cut off, and counted.
    """
    if size < HEADER_BYTES:
        return True
    with path.open("rb") as file:
        file.seek(scan.offset)
        rest = file.read(size - scan.offset)
    if _vouched_for(rest):
        return False
    if len(rest) < HEAD_BYTES:
        return rest.startswith((_FIRST[: len(rest)], _NEXT[: len(rest)])) or not rest.strip(b"\0")
    length = _checked_length(rest[:HEAD_BYTES], scan.chain)
    if length is not None and HEAD_BYTES + length + _CRC.size > len(rest):
        return True
    return _has_hole(rest, scan.offset)


def _checked_length(head: bytes, chain: int) -> int | None:
    if len(head) < HEAD_BYTES or head[-_CRC.size :] != _CRC.pack(zlib.crc32(head[: -_CRC.size], chain)):
        return None
    mark, length, kind, _ = _HEAD.unpack_from(head)
    return int(length) if mark in {_FIRST, _NEXT} and length <= LARGEST_BODY_BYTES and kind < len(KINDS) else None


def _vouched_for(rest: bytes) -> bool:
    """Whether a later flush begins somewhere in there: then all before it had reached the disk."""
    at = rest.find(_FIRST, 1)
    while at >= 0:
        if at >= _CRC.size:
            (chain,) = _CRC.unpack_from(rest, at - _CRC.size)
            if _checked_length(rest[at : at + HEAD_BYTES], chain) is not None:
                return True
        at = rest.find(_FIRST, at + 1)
    return False


def _has_hole(rest: bytes, offset: int) -> bool:
    """Whether a sector that holds a part of it holds only zeros: then it never reached the disk.

    Of the last sector less than a checksum says nothing: those zeros may have been written.
    """
    at = 0
    while at < len(rest):
        end = min(at + _SECTOR - (offset + at) % _SECTOR, len(rest))
        if not rest[at:end].strip(b"\0") and (end < len(rest) or end - at >= _CRC.size):
            return True
        at = end
    return False
