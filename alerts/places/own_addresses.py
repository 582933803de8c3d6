"""Own addresses: those of a park, a campus or another large parcel as a whole, and so of no place in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import shapely

from alerts.places.ground import LEAST_DEGREE_M
from alerts.places.naming import compared
from alerts.places.staging import rows_of

if TYPE_CHECKING:
    import sqlite3

SETTLED: Final = 5
"""Addresses within a campus or the like from which on they are its houses' own."""
HOUSED: Final = 25
"""The same of a park: a nature reserve or a national park may have villages in it."""
DISTRICT: Final = 1_000
"""With so many addresses, and more than half of all, it is the town itself that somebody drew, and no parcel of it."""
SAME_TOWN_M: Final = 5_000.0
"""As far from a parcel an address with its name, or with the address that it states, is taken for its own."""


def mark_own_addresses(connection: sqlite3.Connection) -> tuple[int, int]:
    """Say of each address in ``staging`` whose own it is; how many are somebody's, and how many parcels are towns.

    An address is a parcel's own when it lies in a park or in other large ground as one of few; when it is what the
    parcel itself states, or bears its name, near by; or when its own tags say so. A parcel that is the town itself is
    taken out of ``area``.
    """
    parcels = connection.execute(
        "SELECT number, name, houses, address, shape FROM staging.area "
        "WHERE kind = 'parcel' AND number IS NOT NULL ORDER BY number"
    ).fetchall()
    towns: set[int] = set()
    if parcels:
        shapes = shapely.from_wkb([row[4] for row in parcels])
        towns = _mark_inside(connection, parcels, shapes)
        connection.executemany("DELETE FROM area WHERE id = ?", ((number,) for number in sorted(towns)))
        for column, values in (
            ("key", [row[3] for row in parcels]),
            ("name", [compared(row[1] or "") for row in parcels]),
        ):
            connection.execute(f"CREATE INDEX staging.by_{column} ON address ({column})")
            for parcel, shape, value in zip(parcels, shapes, values, strict=True):
                if parcel[0] not in towns:
                    _mark_same(connection, column, value, parcel[0], shape)
    (count,) = connection.execute("SELECT count(*) FROM staging.address WHERE parcel IS NOT NULL").fetchone()
    return int(count), len(towns)


def _mark_inside(connection: sqlite3.Connection, parcels: list[tuple[Any, ...]], shapes: Any) -> set[int]:
    """Mark what lies within each; the numbers of those that are towns."""
    tree = shapely.STRtree(shapes)
    within: dict[int, list[tuple[int, str]]] = {}
    count = 0
    for rows in rows_of(connection, "SELECT id, longitude, latitude, key FROM staging.address ORDER BY id"):
        points = shapely.points([row[1] for row in rows], [row[2] for row in rows])
        for point, parcel in tree.query(points, predicate="intersects").T:
            within.setdefault(int(parcel), []).append((rows[point][0], rows[point][3]))
        count += len(rows)
    towns = set()
    for k, addresses in sorted(within.items()):
        number, _, houses, *_ = parcels[k]
        if len(addresses) >= DISTRICT and 2 * len(addresses) > count:
            towns.add(number)
        elif len({key for _, key in addresses}) < (SETTLED if houses else HOUSED):
            connection.executemany(
                "UPDATE staging.address SET parcel = ? WHERE id = ?", ((number, address) for address, _ in addresses)
            )
    return towns


def _mark_same(connection: sqlite3.Connection, column: str, value: str, number: int, shape: Any) -> None:

    if not value:
        return
    named = f"SELECT id, longitude, latitude FROM staging.address WHERE {column} = ?"  # key or name
    for address, longitude, latitude in connection.execute(named, (value,)).fetchall():
        # In degrees of latitude; of longitude they are shorter, so that it reaches less far there, never farther.
        if shapely.distance(shape, shapely.Point(longitude, latitude)) * LEAST_DEGREE_M <= SAME_TOWN_M:
            connection.execute("UPDATE staging.address SET parcel = ? WHERE id = ?", (number, address))
