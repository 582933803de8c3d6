"""The file of places: its tables, and the digest of what they hold."""

from __future__ import annotations

import hashlib
import json
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

APPLICATION: Final = "shotfix places"
FORMAT: Final = 1

TABLES: Final = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE source (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, counts TEXT NOT NULL, attribution TEXT
);
CREATE TABLE address (
    id INTEGER PRIMARY KEY, latitude REAL NOT NULL, longitude REAL NOT NULL, text TEXT NOT NULL, parcel INTEGER
);
CREATE TABLE crossing (
    id INTEGER PRIMARY KEY, latitude REAL NOT NULL, longitude REAL NOT NULL, text TEXT NOT NULL
);
CREATE TABLE block (
    id INTEGER PRIMARY KEY, street TEXT NOT NULL, left_from INTEGER, left_to INTEGER, right_from INTEGER,
    right_to INTEGER, directed INTEGER NOT NULL, line BLOB NOT NULL
);
CREATE TABLE area (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT, area_m2 REAL NOT NULL, shape BLOB NOT NULL
);
CREATE VIRTUAL TABLE address_box USING rtree(id, west, east, south, north);
CREATE VIRTUAL TABLE crossing_box USING rtree(id, west, east, south, north);
CREATE VIRTUAL TABLE block_box USING rtree(id, west, east, south, north);
CREATE VIRTUAL TABLE area_box USING rtree(id, west, east, south, north);
"""
"""`address.parcel` names the large parcel whose own address it is; such a one is in no box, so that no search meets it.
Lines and shapes are well-known binary (OGC 06-103r4) in degrees, longitude first."""

CONTENT: Final = ("address", "crossing", "block", "area")


def content_digest(connection: sqlite3.Connection) -> str:
    """SHA-256 of what the file says of the city, row by row; the same for the same content, wherever it was made."""
    digest = hashlib.sha256(f"{APPLICATION} {FORMAT}\n".encode())
    for table in CONTENT:
        digest.update(f"{table}\n".encode())
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY id"):
            digest.update(json.dumps([_plain(value) for value in row], separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


# The seal: SHA-256 of the whole file with noughts in the place of the seal itself. It shows what the digest of the
# content cannot in a moment: that no byte of the file, index and all, is another than when it was made.

UNSEALED: Final = "seal:" + 64 * "0"
PIECE: Final = 1 << 20


class SealError(Exception):
    """A file that is not as it was made."""


def seal(path: Path) -> None:
    """Put the seal into a file that bears `UNSEALED`.

    Raises
    ------
    SealError
        When it does not.
    """
    with path.open("r+b") as stream:
        place = _place_of(stream, UNSEALED.encode())
        if place is None:
            raise SealError(f"{path}: no place for the seal")
        said = _sealed(stream, place)
        stream.seek(place)
        stream.write(said.encode())


def check_seal(path: Path, said: str) -> None:
    """Compare a file with the seal that it bears.

    Raises
    ------
    SealError
        When any byte of it has changed.
    """
    with path.open("rb") as stream:
        place = _place_of(stream, said.encode())
        if len(said) != len(UNSEALED) or place is None or _sealed(stream, place) != said:
            raise SealError(f"{path}: not as it was made")


# Read in pieces, not mapped: a mapped file that somebody cuts short kills the process that looks at it.


def _place_of(stream: IO[bytes], wanted: bytes) -> int | None:
    stream.seek(0)
    at, before = 0, b""
    while piece := stream.read(PIECE):
        found = (before + piece).find(wanted)
        if found >= 0:
            return at - len(before) + found
        at += len(piece)
        before = piece[-len(wanted) :]
    return None


def _sealed(stream: IO[bytes], place: int) -> str:
    """The seal of a file that has one, or is to have it, at this place."""
    digest = hashlib.sha256()
    stream.seek(0)
    at = 0
    while piece := stream.read(min(PIECE, place - at) if at < place else PIECE):
        # A piece ends where the seal begins, so that all of the seal lies in the next.
        digest.update(piece if at != place else UNSEALED.encode() + piece[len(UNSEALED) :])
        at += len(piece)
    return f"seal:{digest.hexdigest()}"
