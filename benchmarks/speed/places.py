"""What stands at a place: one query of the gazetteer, in Baltimore and in a made city of 200,000 doors."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyproj

from alerts.gazetteer import Gazetteer
from alerts.places.ground import from_plane
from alerts.places.importing import import_places
from localization.ellipse import Ellipse
from sensors.site import Geodetic

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "geo"
QUERIES = 5_000
RIVAL_QUERIES = 50
DOORS = 200_000
BLOCK_M, LOT_M = 90.0, 9.0
CENTRE = (41.77, -72.68)
REGIONS = ((12.0, 5.0), (40.0, 15.0), (150.0, 40.0))
"""Half axes, m: many sensors, a few, and a place outside their ring."""


def measure(_data: Path | None) -> str:
    columns = (
        "city",
        "doors, crossings, areas",
        "file, MB",
        "imported in, s",
        "opened in, ms",
        "region, m",
        "median, us",
    )
    columns += ("p99, us", "longest, us", "nearest door alone, by pyproj to all of them, us", "ratio to our median")
    rows = [f"| {' | '.join(columns)} |", f"|{len(columns) * '---|'}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cities = {"made": made_city(folder)}
        if REAL.is_dir():
            cities["Baltimore"] = [REAL / f"baltimore_{of}.geojson" for of in ("streets", "buildings")]
            cities["Hartford"] = [REAL / f"hartford_{of}" for of in ("gazetteer.csv", "hpd_neighborhoods.geojson")]
            cities["Cincinnati, ranges"] = [REAL / "cincinnati_core_address_ranges.geojson"]
        for city, files in cities.items():
            rows += _city(city, files, folder / f"{city.split(',')[0]}.db")
    return (
        f"One thread, processor time, {QUERIES} places at random near the doors, file in the page cache; each query "
        "tells the nearest address and crossing, beat, large parcel, and counts the addresses that the region "
        "touches.\n\n" + "\n".join(rows)
    )


def _city(city: str, files: list[Path], into: Path) -> list[str]:
    began = time.thread_time()
    report = import_places(files, into)
    took_s = time.thread_time() - began
    doors = _doors(into)
    counts = report.counts
    size = into.stat().st_size / 1e6
    held = f"{counts['addresses'] + counts['blocks']:,}, {counts['intersections']:,}, "
    held += f"{counts['beats'] + counts['large parcels']:,}"
    rows = []
    rival_us = _rival(doors)
    began = time.thread_time()
    Gazetteer.open(into).close()
    opened_ms = 1000.0 * (time.thread_time() - began)
    with Gazetteer.open(into) as gazetteer:
        for major_m, minor_m in REGIONS:
            times = sorted(_times(gazetteer, doors, major_m, minor_m))
            median, p99 = statistics.median(times), times[int(0.99 * len(times))]
            cells = [city, held, f"{size:.1f}", f"{took_s:.1f}", f"{opened_ms:.0f}", f"{major_m:.0f} x {minor_m:.0f}"]
            cells += [f"{value:.0f}" for value in (median, p99, times[-1], rival_us, rival_us / median)]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def _times(gazetteer: Gazetteer, doors: list[tuple[float, float]], major_m: float, minor_m: float) -> list[float]:
    dice = np.random.default_rng(7)
    found = []
    for k in range(QUERIES + 50):
        latitude, longitude = _near(doors, dice)
        ring = tuple(Ellipse(major_m, minor_m, dice.uniform(0, 179.9)).outline(Geodetic(latitude, longitude, 0.0)))
        began = time.thread_time()
        gazetteer.describe(latitude, longitude, ring)
        if k >= 50:  # the first ones load what is needed
            found.append(1e6 * (time.thread_time() - began))
    return found


def _rival(doors: list[tuple[float, float]]) -> float:
    """The nearest door alone, by the distance to every one, us."""
    geod = pyproj.Geod(ellps="WGS84")
    latitudes, longitudes = (list(values) for values in zip(*doors, strict=True))
    dice = np.random.default_rng(7)
    times = []
    for _ in range(RIVAL_QUERIES):
        latitude, longitude = _near(doors, dice)
        began = time.thread_time()
        _, _, distances = geod.inv(longitudes, latitudes, [longitude] * len(doors), [latitude] * len(doors))
        min(distances)
        times.append(1e6 * (time.thread_time() - began))
    return statistics.median(times)


def _near(doors: list[tuple[float, float]], dice: np.random.Generator) -> tuple[float, float]:
    return from_plane(*doors[dice.integers(len(doors))], dice.normal(0.0, 60.0), dice.normal(0.0, 60.0))


def _doors(into: Path) -> list[tuple[float, float]]:
    connection = sqlite3.connect(into)
    doors = connection.execute("SELECT latitude, longitude FROM address").fetchall()
    doors = doors or connection.execute("SELECT latitude, longitude FROM crossing").fetchall()
    connection.close()
    return doors


def made_city(folder: Path, doors: int = DOORS) -> list[Path]:
    """Addresses, streets, beats and parks of a city on a grid, with the density of terraced houses."""
    per_block = int(4 * (BLOCK_M - 20.0) / LOT_M)
    blocks = math.ceil(math.sqrt(doors / per_block))
    half_m = blocks * BLOCK_M / 2.0

    def degrees(east_m: float, north_m: float) -> list[float]:
        latitude, longitude = from_plane(*CENTRE, east_m - half_m, north_m - half_m)
        return [round(longitude, 7), round(latitude, 7)]

    with (folder / "addresses.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("LON", "LAT", "NUMBER", "STREET"))
        for k in range(doors):
            block, lot = divmod(k, per_block)
            column, row = divmod(block, blocks)
            side, place = divmod(lot, per_block // 4 + 1)
            along = 12.0 + place * LOT_M
            east, north = [(along, 10.0), (along, 80.0), (10.0, along), (80.0, along)][side]
            street = f"{row + side % 2} St" if side < 2 else f"{column + side % 2} Ave"
            number = 100 * (column if side < 2 else row) + 2 * place + side % 2
            table.writerow((*degrees(column * BLOCK_M + east, row * BLOCK_M + north), number + 1, street))
    steps = [k * BLOCK_M for k in range(blocks + 1)]
    lines = [(f"{k} Ave", [degrees(east, north) for north in steps]) for k, east in enumerate(steps)]
    lines += [(f"{k} St", [degrees(east, north) for east in steps]) for k, north in enumerate(steps)]
    streets = [_feature({"name": name, "highway": "residential"}, "LineString", line) for name, line in lines]
    squares = range(0, blocks, 8)
    beats = [
        _feature({"BEAT": f"{x}-{y}"}, "Polygon", [_square(degrees, x * BLOCK_M, y * BLOCK_M, 8 * BLOCK_M)])
        for x in squares
        for y in squares
    ]
    parks = [
        _feature(
            {"name": f"Park {x}-{y}", "leisure": "park"}, "Polygon", [_square(degrees, x * BLOCK_M, y * BLOCK_M, 80.0)]
        )
        for x in squares
        for y in squares
    ]
    paths = [folder / "addresses.csv"]
    for name, features in (("streets", streets), ("beats", beats), ("parks", parks)):
        paths.append(folder / f"{name}.geojson")
        paths[-1].write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return paths


def _feature(properties: dict[str, str], kind: str, coordinates: object) -> dict[str, object]:
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def _square(degrees, west_m: float, south_m: float, side_m: float) -> list[list[float]]:
    corners = [(0.0, 0.0), (side_m, 0.0), (side_m, side_m), (0.0, side_m), (0.0, 0.0)]
    return [degrees(west_m + east, south_m + north) for east, north in corners]
