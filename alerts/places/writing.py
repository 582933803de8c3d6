"""Writing: from what was staged to the file of places, in an order that does not depend on that of the files."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import shapely

from alerts.places.files import PlacesError
from alerts.places.layout import APPLICATION, FORMAT, TABLES, UNSEALED, content_digest, seal
from alerts.places.own_addresses import mark_own_addresses
from alerts.places.staging import Staging

Source = tuple[str, str, str, str]
"""Name of a file, SHA-256 of it, what was read from it, its attribution."""

_ADDRESSES: Final = """
INSERT INTO address (latitude, longitude, text, parcel)
SELECT latitude, longitude, shown, max(parcel) FROM (
    SELECT a.place, a.latitude, a.longitude, a.parcel,
        CASE WHEN t.key IS NULL OR a.city = '' THEN a.text ELSE a.text || ', ' || a.city END AS shown
    FROM staging.address a LEFT JOIN (
        SELECT key FROM staging.address WHERE city <> '' GROUP BY key HAVING count(DISTINCT upper(city)) > 1
    ) t ON t.key = a.key
) GROUP BY place, latitude, longitude, shown ORDER BY place, latitude, longitude, shown
"""
"""A door once, however many flats are behind it; with its city where two cities have an address of that name."""
_CROSSINGS: Final = """
INSERT INTO crossing (latitude, longitude, text)
SELECT latitude, longitude, text FROM staging.crossing
GROUP BY place, latitude, longitude, text ORDER BY place, latitude, longitude, text
"""
_BLOCKS: Final = """
INSERT INTO block (street, left_from, left_to, right_from, right_to, directed, line)
SELECT DISTINCT street, left_from, left_to, right_from, right_to, directed, line FROM staging.block
ORDER BY place, street, left_from, left_to, right_from, right_to, directed, line
"""
_AREAS: Final = """
SELECT min(id), kind, name, area_m2, shape FROM staging.area
GROUP BY kind, name, area_m2, shape ORDER BY kind, name, area_m2, shape
"""


def write_places(
    into: Path, read: Callable[[Staging], Sequence[Source]], attribution: str
) -> tuple[str, dict[str, int]]:
    """Make the file of places from what ``read`` puts on the staging tables; whole, or not at all.

    Returns
    -------
    tuple
        The digest of what it holds, and how many of each: addresses, own addresses, intersections, blocks, beats,
        large parcels; and whole towns, which somebody drew as parcels and which are left out.

    Raises
    ------
    PlacesError
        When it cannot be written.
    """
    into = Path(os.path.realpath(into))
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{into.name}-", dir=into.parent)
        os.close(handle)
    except OSError as error:
        raise PlacesError(f"{into}: cannot be written ({error.strerror or error})") from None
    work = Path(name)
    try:
        with closing(sqlite3.connect(work, isolation_level=None)) as connection:
            digest, counts = _made(connection, read, attribution)
        seal(work)
        with work.open("rb") as stream:
            os.fsync(stream.fileno())
        work.chmod(0o644)
        work.replace(into)
    except (sqlite3.Error, OSError) as error:
        raise PlacesError(f"{into}: cannot be written ({error})") from None
    finally:
        work.unlink(missing_ok=True)
    return digest, counts


def _made(
    connection: sqlite3.Connection, read: Callable[[Staging], Sequence[Source]], attribution: str
) -> tuple[str, dict[str, int]]:
    connection.execute("PRAGMA journal_mode=OFF")  # it is thrown away whole when anything fails
    connection.execute("PRAGMA synchronous=OFF")  # and flushed once, at the end
    connection.executescript(TABLES)
    staging = Staging(connection)
    sources = read(staging)
    staging.crossings_of_streets()
    own, towns = _write_content(connection)
    connection.executemany(
        "INSERT INTO source VALUES (?, ?, ?, ?, ?)", ((number, *source) for number, source in enumerate(sources, 1))
    )
    digest = content_digest(connection)
    about = {"application": APPLICATION, "format": str(FORMAT), "sha256": digest, "attribution": attribution}
    about["seal"] = UNSEALED
    connection.executemany("INSERT INTO about VALUES (?, ?)", sorted(about.items()))
    connection.execute("COMMIT")
    connection.execute("DETACH DATABASE staging")
    connection.execute("VACUUM")
    return digest, _counts(connection) | {"own addresses": own, "whole towns": towns}


def _write_content(connection: sqlite3.Connection) -> tuple[int, int]:
    """From staging into the tables that are asked; how many addresses are a parcel's own, how many parcels towns."""
    for area, (first, kind, name, size_m2, shape) in enumerate(connection.execute(_AREAS).fetchall(), 1):
        connection.execute("INSERT INTO area VALUES (?, ?, ?, ?, ?)", (area, kind, name, size_m2, shape))
        connection.execute("UPDATE staging.area SET number = ? WHERE id = ?", (area, first))
    own, towns = mark_own_addresses(connection)
    for staged in (_ADDRESSES, _CROSSINGS, _BLOCKS):
        connection.execute(staged)
    for table, where in (("address", "WHERE parcel IS NULL"), ("crossing", "")):
        connection.execute(
            f"INSERT INTO {table}_box SELECT id, longitude, longitude, latitude, latitude FROM {table} "
            f"{where} ORDER BY id"
        )
    for table, column in (("block", "line"), ("area", "shape")):
        lines = connection.execute(f"SELECT id, {column} FROM {table} ORDER BY id").fetchall()
        for number, binary in lines:
            west, south, east, north = shapely.from_wkb(binary).bounds
            connection.execute(f"INSERT INTO {table}_box VALUES (?, ?, ?, ?, ?)", (number, west, east, south, north))
    return own, towns


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    def count(of: str) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {of}").fetchone()[0])  # ours, below

    return {
        "addresses": count("address WHERE parcel IS NULL"),
        "intersections": count("crossing"),
        "blocks": count("block"),
        "beats": count("area WHERE kind = 'beat'"),
        "large parcels": count("area WHERE kind = 'parcel'"),
    }
