"""Covering: from a table of sensors to maps of what they hear, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from acoustic.air import Air
from localization.study.coverage import AT_LEAST, FIX_NEEDS, WELL_HEARD, Coverage, CoverageError, coverage
from localization.study.folder import complete, write_table
from localization.study.hearing import Ear
from localization.study.setting_reading import read_setting
from localization.study.sharpness import Timing
from localization.study.table import SceneError
from sensors.site import Geodetic
from shotfix.results import check_free

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.study.scene import Scene

FILES: Final = ("coverage.json", "coverage.csv", "coverage.geojson", "coverage.png")
EAR: Final = ("floor_db_spl", "louder_db", "source_sigma_db")
TIMING: Final = ("pick_sigma_s", "path_sigma_s")
"""What of `Ear` and `Timing` a user may say otherwise."""
FARTHEST_M: Final = 200_000.0  # from the mean of the sensors
HIGHEST_M: Final = 4_000.0  # of shots above the plane, which at 200 km is 3,100 m above the Earth
CONTOURS_M: Final = (10.0, 25.0, 50.0, 100.0)
COLUMNS: Final = (
    "east_m", "north_m", "latitude_deg", "longitude_deg", "inside_hull", "heard_by",
    "p_detect_3", "p_detect_4", "p_detect_6", "semi_major_m", "radius_m", "error_95_m",
)  # fmt: skip


def cover(
    sensors: Path,
    folder: Path,
    *,
    force: bool,
    plot: bool,
    cell_m: float | None = None,
    down: Collection[str] = (),
    weather: dict[str, float] | None = None,
    ear: dict[str, float] | None = None,
    timing: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Map a network into a folder; the summary that it holds.

    ``weather`` replaces parts of the scene's air, by the names of [air] in scene.toml; ``ear`` and ``timing`` parts of
    what is assumed, by the names of `localization.study.hearing.Ear` and of `localization.study.sharpness.Timing`.

    Raises
    ------
    SceneError
        When the sensors cannot be read, or are spread over more than one plane holds.
    CoverageError
        When the map cannot be computed as asked.
    OutputError
        When the folder holds something else.
    """
    check_free(folder, force=force, files=FILES)
    scene = read_setting(sensors)
    _check_extent(scene, "sensors.csv" if sensors.is_dir() else sensors.name)
    try:
        air = _air(scene.air, **(weather or {}))
        ears, times = Ear(**(ear or {})), Timing(**(timing or {}))
    except ValueError as error:
        raise CoverageError(str(error)) from None
    found = coverage(scene, cell_m=cell_m, down=down, air=air, ear=ears, timing=times)
    with complete(folder, FILES) as work:
        corners = _corners(found)
        write_table(work / "coverage.csv", COLUMNS, _rows(found))
        (work / "coverage.geojson").write_text(_geojson(found, corners), encoding="utf-8")
        (work / "coverage.json").write_text(json.dumps(summary(found), indent=2) + "\n", encoding="utf-8")
        if plot:
            from shotfix.coverage_picture import draw_coverage  # matplotlib is slow to load

            draw_coverage(found, work / "coverage.png")
    return summary(found)


def _check_extent(scene: Scene, file: str) -> None:
    """Refuse sensors on the Earth that no plane holds.

    Raises
    ------
    SceneError
        When one lies farther from their mean than a plane is good for.
    """
    if scene.frame.origin is None:
        return
    sites = scene.network.sites
    places = scene.frame.local([site.position for site in sites])
    away = np.linalg.norm(places, axis=1)
    if isinstance(sites[0].position, Geodetic) and float(np.max(away)) > FARTHEST_M:
        odd = sites[int(np.argmax(np.linalg.norm(places - np.median(places, axis=0), axis=1)))].sensor_id
        raise SceneError(
            f"{file}: the sensors lie up to {np.max(away) / 1e3:,.0f} km from their mean; a map is of one city, "
            f"{FARTHEST_M / 1e3:g} km at most: is a sign or a decimal point of {odd} wrong?"
        )
    if not abs(scene.source_up_m) <= HIGHEST_M:
        raise SceneError(f"scene.toml source: shots {scene.source_up_m:g} m above the plane; no map is that high")


def _air(
    air: Air,
    *,
    temperature_c: float | None = None,
    wind_speed_m_per_s: float | None = None,
    wind_from_deg: float | None = None,
    wind_sigma_m_per_s: float = 2.0,
) -> Air:
    """The scene's air with what is told anew, as `Air.from_weather` takes a report."""
    if wind_from_deg is not None and wind_speed_m_per_s is None:
        raise ValueError("where the wind comes from says nothing without its speed: give both")
    told = Air.from_weather(
        temperature_c=temperature_c,
        wind_speed_m_per_s=wind_speed_m_per_s,
        wind_from_deg=wind_from_deg,
        wind_sigma_m_per_s=wind_sigma_m_per_s,
    )
    if temperature_c is not None:
        air = replace(air, temperature_c=told.temperature_c, temperature_sigma_c=told.temperature_sigma_c)
    if wind_speed_m_per_s is None:
        return air
    return replace(
        air,
        wind_east_m_per_s=told.wind_east_m_per_s,
        wind_north_m_per_s=told.wind_north_m_per_s,
        wind_sigma_m_per_s=told.wind_sigma_m_per_s,
    )


def summary(found: Coverage) -> dict[str, Any]:
    """What the map says in numbers; shares are of the area within the hull of all sensors, null without one."""
    grid, ear, timing, air = found.grid, found.ear, found.timing, found.air
    major = found.semi_major_m
    return {
        "scene": found.scene.name,
        "sensors": len(found.scene.network.sites),
        "down": list(found.down),
        "cells": {"count": len(grid), "side_m": grid.cell_m, "columns": grid.columns, "rows": grid.rows},
        "hull_km2": round(float(np.sum(found.inside)) * grid.cell_m**2 / 1e6, 6),
        "share_well_heard": _number(found.share_of_hull(found.p_at_least(FIX_NEEDS) >= WELL_HEARD)),
        "mean_p_detect": {str(count): _median(found, found.p_at_least(count), mean=True) for count in AT_LEAST},
        "semi_major_median_m": _median(found, major),
        "radius_median_m": _median(found, found.radius_m),
        "error_95_median_m": _median(found, found.error_95_m),
        "share_semi_major_within": {f"{bound:g}": _number(found.share_of_hull(major <= bound)) for bound in CONTOURS_M},
        "weakest_links": [
            {
                "sensor_id": link.sensor_id,
                "loss_p_detect_4": _number(link.loss_p_detect_4),
                "loss_share_well_heard": _number(link.loss_share_90),
            }
            for link in found.links
        ]
        if np.any(found.inside)
        else [],
        "assumed": {
            "louder_db": ear.louder_db,
            "source_sigma_db": ear.source_sigma_db,
            "scatter_db": ear.scatter_db,
            "audible_db": ear.audible_db,
            "near_share": ear.near_share,
            "noise_floor_db_spl": round(ear.floor_db_spl, 3),
            "noise_floors_told": len(found.scene.noise_floors_db_spl),
            "pick_sigma_s": timing.pick_sigma_s,
            "path_sigma_s": timing.path_sigma_s,
            "temperature_c": air.temperature_c,
            "temperature_sigma_c": air.temperature_sigma_c,
            "wind_east_m_per_s": round(air.wind_east_m_per_s, 6),
            "wind_north_m_per_s": round(air.wind_north_m_per_s, 6),
            "wind_sigma_m_per_s": air.wind_sigma_m_per_s,
        },
        "warnings": list(found.scene.warnings),
    }


def told(figures: dict[str, Any]) -> str:
    """The summary as lines for people."""
    down = f", {len(figures['down'])} of them down" if figures["down"] else ""
    lines = [f"{figures['scene']}: {figures['sensors']} sensors{down}, hull {figures['hull_km2']:.2f} km2"]
    if figures["share_well_heard"] is None:
        return "\n".join([*lines, "the sensors enclose no area: see the map for what they hear around them"])
    heard = (f"by {count} sensors {_percent(share)}" for count, share in figures["mean_p_detect"].items())
    major, radius = _metres(figures["semi_major_median_m"]), _metres(figures["radius_median_m"])
    assumed = figures["assumed"]
    floors = f"noise told for {assumed['noise_floors_told']} of {figures['sensors']} sensors"
    lines.append(f"heard       {', '.join(heard)} of shots within the hull")
    lines.append(
        f"well heard  {_percent(figures['share_well_heard'])} of the hull: four sensors hear nine shots of ten"
    )
    lines.append(f"region      95 %: median semi-major axis {major}, median radius of equal area {radius}")
    lines.append(
        f"assumed     {floors}, {assumed['noise_floor_db_spl']:.0f} dB SPL for the rest; the loudness of shots"
    )
    lines.append(f"            scatters by {assumed['source_sigma_db']:g} dB; wind changes times, not who hears")
    lines += [
        (
            f"without     {link['sensor_id']}: {_percent(link['loss_p_detect_4'], 1)} fewer shots heard by four, "
            f"{_percent(link['loss_share_well_heard'], 1)} of the hull no longer well heard"
        )
        for link in figures["weakest_links"][:3]
    ]
    return "\n".join(lines)


def _median(found: Coverage, values: NDArray[np.float64], *, mean: bool = False) -> float | None:
    """Over the hull; a cell where next to nothing is heard counts as beyond every number."""
    held = values[found.inside]
    if not len(held):
        return None
    middle = float(np.mean(held)) if mean else float(np.median(np.where(np.isnan(held), np.inf, held)))
    return _number(middle)


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 6)


def _corners(found: Coverage) -> NDArray[np.float64] | None:
    """Longitude and latitude of each corner of the grid, (rows + 1, columns + 1, 2); None off the Earth."""
    grid, frame = found.grid, found.scene.frame
    if frame.origin is None:
        return None
    up = float(found.scene.source_up_m)
    east = grid.west_m + grid.cell_m * np.arange(grid.columns + 1)
    north = grid.south_m + grid.cell_m * np.arange(grid.rows + 1)
    places = [[frame.geodetic(float(x), float(y), up) for x in east] for y in north]
    return np.array([[(p.longitude_deg, p.latitude_deg) for p in row if p is not None] for row in places])


def _rows(found: Coverage) -> Iterator[list[str]]:
    up = float(found.scene.source_up_m)
    for k, (east, north) in enumerate(found.grid.centres()):
        place = found.scene.frame.geodetic(float(east), float(north), up)
        yield [
            f"{east:.3f}", f"{north:.3f}",
            f"{place.latitude_deg:.7f}" if place else "", f"{place.longitude_deg:.7f}" if place else "",
            "1" if found.inside[k] else "0", f"{found.heard_by[k]:.3f}",
            *(f"{p:.6f}" for p in found.p_detect[k]),
            *("" if np.isnan(v) else f"{v:.3f}" for v in _sizes(found, k)),
        ]  # fmt: skip


def _sizes(found: Coverage, k: int) -> tuple[float, float, float]:
    return float(found.semi_major_m[k]), float(found.radius_m[k]), float(found.error_95_m[k])


def _geojson(found: Coverage, corners: NDArray[np.float64] | None) -> str:
    """Each cell as a polygon with what is known of it (RFC 7946); an empty collection off the Earth."""
    features = [] if corners is None else [_feature(found, corners, k) for k in range(len(found.grid))]
    return json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":")) + "\n"


def _feature(found: Coverage, corners: NDArray[np.float64], k: int) -> dict[str, Any]:
    row, column = divmod(k, found.grid.columns)
    steps = ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0))  # counter-clockwise
    ring = [[round(float(v), 7) for v in corners[row + i, column + j]] for i, j in steps]
    semi_major, radius, error = (None if np.isnan(v) else round(v, 2) for v in _sizes(found, k))
    properties = {
        "inside_hull": bool(found.inside[k]),
        "heard_by": round(float(found.heard_by[k]), 2),
        **{f"p_detect_{count}": round(float(p), 4) for count, p in zip(AT_LEAST, found.p_detect[k], strict=True)},
        "semi_major_m": semi_major,
        "radius_m": radius,
        "error_95_m": error,
    }
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def _percent(share: float | None, decimals: int = 0) -> str:
    return "-" if share is None else f"{100.0 * share:.{decimals}f} %"


def _metres(value: float | None) -> str:
    return "more than can be told" if value is None else f"{value:.1f} m"
