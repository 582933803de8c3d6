"""The picture of coverage: where shots are heard, and how large the region around them would be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import matplotlib.patheffects
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from localization.study.coverage import FIX_NEEDS, WELL_HEARD

if TYPE_CHECKING:
    from localization.study.coverage import Coverage

CONTOURS_M: Final = (10.0, 25.0, 50.0, 100.0)
SHARES: Final = (0.5, WELL_HEARD)
SHARPEST_M, BLUNTEST_M = 2.0, 500.0
BESIDE: Final = (1.02, 0.0, 0.035, 1.0)  # a colour bar as tall as its map
NAMED: Final = 40  # up to so many sensors are named
SENSOR, DOWN = "#111111", "#D55E00"  # Okabe and Ito's, on maps of one hue each


def draw_coverage(found: Coverage, path: Path) -> None:
    """Write a PNG of two panels: the probability that four sensors hear a shot, and the region's semi-major axis."""
    grid = found.grid
    tall = min(max(grid.rows / grid.columns, 0.45), 1.8)
    figure = Figure(figsize=(14.0, 1.7 + 5.5 * tall), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    heard, sharp = figure.subplots(1, 2, sharex=True, sharey=True)
    _draw_heard(found, figure, heard)
    _draw_sharp(found, figure, sharp)
    for axes in (heard, sharp):
        _dress(found, axes)
    heard.set_ylabel("north, m")
    figure.suptitle(_title(found), fontsize=12, parse_math=False)
    handles, labels = heard.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9, frameon=False)
    with mpl.rc_context({"svg.hashsalt": "shotfix"}):
        figure.savefig(path, metadata={"Software": None})


def _draw_heard(found: Coverage, figure: Figure, axes: Any) -> None:
    grid, edges = found.grid, _edges(found)
    shares = grid.picture(found.p_at_least(FIX_NEEDS))
    mesh = axes.pcolormesh(*edges, shares, cmap="viridis", vmin=0.0, vmax=1.0, rasterized=True)
    _contour(found, axes, shares, SHARES, lambda v: f"{100.0 * v:.0f} %")
    bar = figure.colorbar(mesh, cax=axes.inset_axes(BESIDE))
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100.0 * value:.0f} %")
    axes.set_title(f"probability that {FIX_NEEDS} sensors or more hear a shot", fontsize=11)


def _draw_sharp(found: Coverage, figure: Figure, axes: Any) -> None:
    grid, edges = found.grid, _edges(found)
    sizes = grid.picture(found.semi_major_m)
    axes.set_facecolor("#dddddd")  # where nothing is placed
    norm = LogNorm(SHARPEST_M, BLUNTEST_M, clip=True)
    mesh = axes.pcolormesh(*edges, np.ma.masked_invalid(sizes), cmap="magma_r", norm=norm, rasterized=True)
    _contour(found, axes, sizes, CONTOURS_M, lambda v: f"{v:g} m")
    bar = figure.colorbar(mesh, cax=axes.inset_axes(BESIDE), extend="both", extendfrac=0.03)
    bar.set_ticks([2, 5, 10, 25, 50, 100, 250, 500], labels=[f"{v} m" for v in (2, 5, 10, 25, 50, 100, 250, 500)])
    bar.ax.minorticks_off()
    axes.set_title("semi-major axis of the 95 % region, when four hear it (grey: hardly ever)", fontsize=11)


def _contour(found: Coverage, axes: Any, values: np.ndarray, levels: tuple[float, ...], name: Any) -> None:
    """Lines with their values, of those levels that the map crosses; a map of one row or column has none."""
    known = values[np.isfinite(values)]
    crossed = [level for level in levels if len(known) and known.min() < level < known.max()]
    if min(values.shape) < 2 or not crossed:
        return
    grid = found.grid
    east = grid.west_m + grid.cell_m * (np.arange(grid.columns) + 0.5)
    north = grid.south_m + grid.cell_m * (np.arange(grid.rows) + 0.5)
    lines = axes.contour(east, north, np.ma.masked_invalid(values), levels=crossed, colors="white", linewidths=1.4)
    stroke = [mpl.patheffects.withStroke(linewidth=3, foreground="#333333")]
    lines.set_path_effects(stroke)
    for label in axes.clabel(lines, fmt=name, fontsize=9):
        label.set_path_effects(stroke)


def _edges(found: Coverage) -> tuple[np.ndarray, np.ndarray]:
    grid = found.grid
    return (
        grid.west_m + grid.cell_m * np.arange(grid.columns + 1),
        grid.south_m + grid.cell_m * np.arange(grid.rows + 1),
    )


def _dress(found: Coverage, axes: Any) -> None:
    sites = found.scene.network.sites
    places = found.scene.frame.local([site.position for site in sites])
    down = np.array([site.sensor_id in found.down for site in sites])
    axes.plot(*places[~down, :2].T, "^", color=SENSOR, markersize=8, markeredgecolor="white", label="sensor")
    if np.any(down):
        axes.plot(*places[down, :2].T, "^", color=SENSOR, markersize=8, markeredgecolor="white", alpha=0.5)
        edge = [mpl.patheffects.withStroke(linewidth=5, foreground="white")]
        axes.plot(*places[down, :2].T, "x", color=DOWN, markersize=13, markeredgewidth=3, path_effects=edge)
        axes.plot([], [], "x", color=DOWN, markersize=11, markeredgewidth=3, label="sensor that is down")
    if len(sites) <= NAMED:
        for site, place in zip(sites, places, strict=True):
            note = axes.annotate(
                site.sensor_id, place[:2], (6, 5), textcoords="offset points", fontsize=8, parse_math=False
            )
            note.set_path_effects([mpl.patheffects.withStroke(linewidth=2.5, foreground="white")])
    _draw_hull(axes, places[:, :2])
    _draw_scale(found, axes)
    axes.set_aspect("equal")
    axes.set_xlabel("east, m")


def _draw_hull(axes: Any, places: np.ndarray) -> None:
    if len(places) < 3:
        return
    ring = _hull(places)
    axes.plot(*np.vstack([ring, ring[:1]]).T, "--", color=SENSOR, linewidth=1.2, label="hull of the sensors")


def _hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull, counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def chain(row: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for x, y in row:
            while len(kept) >= 2:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0.0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]) or ordered)


def _draw_scale(found: Coverage, axes: Any) -> None:
    """A bar of a round length in the lower left corner."""
    grid = found.grid
    width, height = grid.cell_m * grid.columns, grid.cell_m * grid.rows
    power = 10.0 ** math.floor(math.log10(0.3 * width))
    length = max(step * power for step in (1.0, 2.0, 5.0) if step * power <= 0.3 * width)
    west, south = grid.west_m + 0.04 * width, grid.south_m + 0.045 * height
    stroke = [mpl.patheffects.withStroke(linewidth=6, foreground="white")]
    axes.plot([west, west + length], [south, south], color=SENSOR, linewidth=3, path_effects=stroke)
    text = f"{length:g} m" if length < 1000.0 else f"{length / 1000.0:g} km"
    note = axes.annotate(
        text, (west + 0.5 * length, south), (0, 6), textcoords="offset points", ha="center", fontsize=9
    )
    note.set_path_effects([mpl.patheffects.withStroke(linewidth=2.5, foreground="white")])


def _title(found: Coverage) -> str:
    air = found.air
    speed = math.hypot(air.wind_east_m_per_s, air.wind_north_m_per_s)
    comes_from = math.degrees(math.atan2(-air.wind_east_m_per_s, -air.wind_north_m_per_s)) % 360.0
    wind = f"wind {speed:.1f} m/s from {comes_from:.0f} deg" if speed > 0.0 else "calm"
    down = f", {len(found.down)} down" if found.down else ""
    return (
        f"{found.scene.name}: {len(found.scene.network.sites)} sensors{down}; {air.temperature_c:g} +- "
        f"{air.temperature_sigma_c:g} C, {wind} +- {air.wind_sigma_m_per_s:g} m/s; cells of {found.grid.cell_m:g} m"
    )
