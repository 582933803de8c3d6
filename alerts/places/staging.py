"""Staging: what the files said, kept on the disk until all is known that decides what becomes of it."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from alerts.places.ground import area_m2
from alerts.places.naming import compared, stem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alerts.places.meaning import FoundAddress, FoundArea, FoundCrossing, FoundStreet

LEAST_PARK_M2: Final = 1_000.0
LEAST_LOT_M2: Final = 5_000.0
LEAST_PARCEL_M2: Final = 20_000.0
"""Ground that one address does not place: a park, a school or the like by its tag, any other parcel by its size."""
NODE: Final = 1_000_000  # of a degree: streets that meet share a vertex, to all six decimals that are written

_TABLES: Final = """
CREATE TABLE staging.address (
    id INTEGER PRIMARY KEY, place INTEGER, latitude REAL, longitude REAL, text TEXT, key TEXT, city TEXT, name TEXT,
    parcel INTEGER
);
CREATE TABLE staging.crossing (place INTEGER, latitude REAL, longitude REAL, text TEXT);
CREATE TABLE staging.street (id INTEGER PRIMARY KEY, stem TEXT, name TEXT, line TEXT);
CREATE TABLE staging.node (x INTEGER, y INTEGER, street INTEGER);
CREATE TABLE staging.block (
    place INTEGER, street TEXT, left_from INTEGER, left_to INTEGER, right_from INTEGER, right_to INTEGER,
    directed INTEGER, line BLOB
);
CREATE TABLE staging.area (
    id INTEGER PRIMARY KEY, kind TEXT, name TEXT, area_m2 REAL, houses INTEGER, shape BLOB, address TEXT, number INTEGER
);
"""


class Staging:
    """Tables beside those of the file that is being made; the disk gives them back when the connection is closed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        connection.execute("ATTACH DATABASE '' AS staging")
        connection.execute("PRAGMA staging.journal_mode=OFF")
        connection.executescript(_TABLES)
        connection.execute("BEGIN")

    def address(self, found: FoundAddress) -> None:
        """Keep an address."""
        self.connection.execute(
            "INSERT INTO staging.address (place, latitude, longitude, text, key, city, name, parcel) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                place_key(found.latitude, found.longitude), found.latitude, found.longitude, found.text,
                compared(found.text), found.city, compared(found.name), 0 if found.parcel else None,
            ),
        )  # fmt: skip

    def crossing(self, found: FoundCrossing) -> None:
        """Keep a crossing that a file names."""
        self.connection.execute(
            "INSERT INTO staging.crossing VALUES (?, ?, ?, ?)",
            (place_key(found.latitude, found.longitude), found.latitude, found.longitude, found.text),
        )

    def street(self, found: FoundStreet) -> None:
        """Keep a stretch of street: where it can meet others, and its block."""
        line = shapely.to_wkb(found.line)
        number = self.connection.execute(
            "INSERT INTO staging.street (stem, name, line) VALUES (?, ?, ?)",
            (stem(found.name), found.name, hashlib.sha256(line).hexdigest()),
        ).lastrowid
        vertices = np.unique(np.rint(shapely.get_coordinates(found.line) * NODE).astype(np.int64), axis=0)
        self.connection.executemany(
            "INSERT INTO staging.node VALUES (?, ?, ?)", ((int(x), int(y), number) for x, y in vertices)
        )
        if found.left or found.right:
            left, right = found.left or (None, None), found.right or (None, None)
            west, south, *_ = found.line.bounds
            self.connection.execute(
                "INSERT INTO staging.block VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (place_key(south, west), found.name, *left, *right, int(found.directed), line),
            )

    def area(self, found: FoundArea) -> bool:
        """Keep a beat, or ground that is large enough; whether it was."""
        size_m2 = round(area_m2(found.shape), 1)
        kind = "beat" if found.kind == "beat" else "parcel"
        least_m2 = LEAST_PARK_M2 if found.kind == "park" else LEAST_LOT_M2 if found.by_tag else LEAST_PARCEL_M2
        if kind == "parcel" and size_m2 < least_m2:
            return False
        self.connection.execute(
            "INSERT INTO staging.area (kind, name, area_m2, houses, shape, address) VALUES (?, ?, ?, ?, ?, ?)",
            (
                kind, found.name or None, size_m2, int(found.kind == "lot"), shapely.to_wkb(found.shape),
                compared(found.door.text) if found.door else "",
            ),
        )  # fmt: skip
        return True

    def crossings_of_streets(self) -> int:
        """Add a crossing wherever streets of different names share a vertex; how many.

        Two names of one and the same line are one street, and so are its halves, as East and West Main Street: neither
        crosses the other.
        """
        same = self._aliases()
        self.connection.execute("CREATE INDEX staging.by_node ON node (x, y)")
        count = 0
        for x, y, met in self._meetings():
            names: dict[str, str] = {}
            for stem_of, name in sorted(met):
                names.setdefault(same.get(stem_of, stem_of), name)
            if len(names) > 1:
                latitude, longitude = y / NODE, x / NODE
                text = " & ".join(sorted(names.values())[:4])
                self.connection.execute(
                    "INSERT INTO staging.crossing VALUES (?, ?, ?, ?)",
                    (place_key(latitude, longitude), latitude, longitude, text),
                )
                count += 1
        return count

    def _meetings(self) -> Iterator[tuple[int, int, set[tuple[str, str]]]]:
        """Vertices that more than one stem has, with stems and names."""
        rows = self.connection.cursor().execute(
            "SELECT n.x, n.y, s.stem, s.name FROM (SELECT x, y FROM staging.node GROUP BY x, y HAVING count(*) > 1) m "
            "JOIN staging.node n ON n.x = m.x AND n.y = m.y JOIN staging.street s ON s.id = n.street ORDER BY n.x, n.y"
        )
        here: tuple[int, int] | None = None
        met: set[tuple[str, str]] = set()
        for x, y, stem_of, name in rows:
            if here is not None and (x, y) != here:
                yield *here, met
                met = set()
            here = (x, y)
            met.add((stem_of, name))
        if here is not None:
            yield *here, met

    def _aliases(self) -> dict[str, str]:
        """The first name of each stem that shares a line with another."""
        pairs = self.connection.execute(
            "SELECT DISTINCT a.stem, b.stem FROM staging.street a JOIN staging.street b USING (line) "
            "WHERE a.stem < b.stem ORDER BY 1, 2"
        )
        first: dict[str, str] = {}
        for one, other in pairs:
            first.setdefault(other, first.get(one, one))
        return first


def place_key(latitude: float, longitude: float) -> int:
    """Bits of latitude and longitude in turn (G. M. Morton's order): neighbours have numbers near each other."""
    y, x = int((latitude + 90.0) / 180.0 * 0xFFFFFF), int((longitude + 180.0) / 360.0 * 0xFFFFFF)
    return _spread(x) | _spread(y) << 1


def _spread(bits: int) -> int:
    bits = (bits | bits << 16) & 0x0000_FFFF_0000_FFFF
    bits = (bits | bits << 8) & 0x00FF_00FF_00FF_00FF
    bits = (bits | bits << 4) & 0x0F0F_0F0F_0F0F_0F0F
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333
    return (bits | bits << 1) & 0x5555_5555_5555_5555


def rows_of(connection: sqlite3.Connection, question: str, size: int = 50_000) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of an answer, so many at a time."""
    cursor = connection.cursor().execute(question)
    while rows := cursor.fetchmany(size):
        yield rows
