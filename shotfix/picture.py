"""Pictures: a run as a map, for people who would rather look than read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse as Patch

if TYPE_CHECKING:
    from localization.fix import Fix, Mode
    from shotfix.run import Run

# Okabe and Ito's colours, told apart by most colour-blind eyes too; each class has a mark of its own as well.
COLOURS: Final = {
    "gunshot": "#D55E00",
    "firework": "#0072B2",
    "impulse": "#009E73",
    "handling": "#999999",
    "noise": "#999999",
}
MARKS: Final = {"gunshot": "o", "firework": "*", "impulse": "s", "handling": "d", "noise": "x"}
MARGIN_M: Final = 60.0
SMALLEST_M: Final = 250.0
FARTHEST_M: Final = 1_500.0  # beyond the sensors a place is named at the edge, not drawn: one far mode would shrink all


def draw_map(run: Run, path: Path) -> None:
    """Write a PNG: sensors, shots with their regions, other modes dashed, truth as crosses."""
    figure = Figure(figsize=(9.0, 8.5), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    sensors = run.scene.frame.local([site.position for site in run.scene.network.sites])
    _draw_sensors(run, axes, sensors)
    outside = sum(_draw_shot(axes, fix, sensors) for fix in run.fixes)
    _draw_truth(run, axes, sensors)
    _dress(run, axes, outside)
    _frame(axes)
    with mpl.rc_context({"svg.hashsalt": "shotfix"}):
        figure.savefig(path, metadata={"Software": None})


def _draw_sensors(run: Run, axes: Any, sensors: np.ndarray) -> None:
    axes.plot(sensors[:, 0], sensors[:, 1], "^", color="black", markersize=8, label="sensor", zorder=3)
    if len(sensors) <= 40:
        for site, place in zip(run.scene.network.sites, sensors, strict=True):
            axes.annotate(
                site.sensor_id,
                place[:2],
                (5, 5),
                textcoords="offset points",
                fontsize=7,
                color="#555555",
                parse_math=False,
            )


def _draw_shot(axes: Any, fix: Fix, sensors: np.ndarray) -> bool:
    """Draw one shot; True where it lies too far off to be drawn."""
    colour = COLOURS[fix.sound]
    if not _near(fix.best, sensors):
        return True
    for number, mode in enumerate(fix.modes):
        if not _near(mode, sensors):
            continue
        ellipse, place = mode.ellipse, mode.place
        patch = Patch(
            (place.east_m, place.north_m),
            2.0 * ellipse.semi_major_m,
            2.0 * ellipse.semi_minor_m,
            angle=90.0 - ellipse.azimuth_deg,
            facecolor=colour,
            edgecolor=colour,
            alpha=0.25,
            linestyle="-" if number == 0 else "--",
        )
        axes.add_patch(patch)
        axes.plot(
            place.east_m, place.north_m, MARKS[fix.sound] if number == 0 else ".", color=colour, markersize=6, zorder=4
        )
    return False


def _near(mode: Mode, sensors: np.ndarray) -> bool:
    return float(np.min(np.hypot(sensors[:, 0] - mode.place.east_m, sensors[:, 1] - mode.place.north_m))) < FARTHEST_M


def _draw_truth(run: Run, axes: Any, sensors: np.ndarray) -> None:
    if run.scene.truth:
        truth = run.scene.frame.local([bang.place for bang in run.scene.truth])
        distances = np.hypot(truth[:, None, 0] - sensors[:, 0], truth[:, None, 1] - sensors[:, 1])
        truth = truth[np.min(distances, axis=1) < FARTHEST_M]
        axes.plot(truth[:, 0], truth[:, 1], "+", color="black", markersize=14, label="truth", zorder=5)


def _dress(run: Run, axes: Any, outside: int) -> None:
    heard = {fix.sound for fix in run.fixes}
    for sound in (sound for sound in COLOURS if sound in heard):  # in one order: two runs draw the same bytes
        axes.plot([], [], MARKS[sound], color=COLOURS[sound], label=f"taken for {sound}")
    axes.grid(alpha=0.3)
    axes.set_xlabel("east, m")
    axes.set_ylabel("north, m")
    placed = f"{len(run.fixes)} of {len(run.shots)} bangs placed"
    missing = f", {outside} far outside the map" if outside else ""
    axes.set_title(
        f"{run.scene.name}\n{placed}{missing}; shaded: where each was, 95 in 100", fontsize=11, parse_math=False
    )
    axes.legend(loc="upper left", fontsize=8)


def _frame(axes: Any) -> None:
    """Show every place, sensor and truth; a region may reach beyond, or one that is kilometres long would rule them."""
    points = np.vstack([line.get_xydata() for line in axes.get_lines() if len(line.get_xydata())])
    low, high = points.min(axis=0), points.max(axis=0)
    half_m = max(0.54 * float(np.max(high - low)), SMALLEST_M / 2.0) + MARGIN_M
    axes.set_aspect("equal")
    for put, middle in zip((axes.set_xlim, axes.set_ylim), (low + high) / 2.0, strict=True):
        put(middle - half_m, middle + half_m)
