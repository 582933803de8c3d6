"""A calibration as a picture: where each sensor turned out to stand, and what the residuals gained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse as Patch

from localization.ellipse import Covariance, confidence_ellipse

if TYPE_CHECKING:
    from localization.study.calibration import Calibration, Correction

SURE: Final = "#D55E00"
UNSURE: Final = "#999999"
STEPS: Final = ("#999999", "#0072B2", "#009E73")
ARROW_SHARE: Final = 0.12  # of the map's width, for the longest arrow


def draw(result: Calibration, path: Path) -> None:
    """Write a PNG: corrections as lines with their 95 % ellipses, magnified; clocks; residuals before and after."""
    figure = Figure(figsize=(13.0, 6.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.35, 1.0))
    _draw_places(result, figure.add_subplot(grid[:, 0]))
    _draw_clocks(result, figure.add_subplot(grid[0, 1]))
    _draw_residuals(result, figure.add_subplot(grid[1, 1]))
    with mpl.rc_context({"svg.hashsalt": "shotfix"}):
        figure.savefig(path, metadata={"Software": None})


def _draw_places(result: Calibration, axes: Any) -> None:
    sensors = result.frame.local([site.position for site in result.network.sites])
    places = np.array(sorted({e.place for e in result.excesses}))
    together = np.vstack([sensors[:, :2], places]) if len(places) else sensors[:, :2]
    width = float(max(np.max(np.ptp(together, axis=0)), 1.0))
    longest = max((_reach(c) for c in result.corrections if c.shots), default=1.0)
    scale = _round(ARROW_SHARE * width / max(longest, 1e-3))
    if len(places):
        axes.plot(places[:, 0], places[:, 1], "+", color="black", markersize=10, label="shots")
    axes.plot(sensors[:, 0], sensors[:, 1], "^", color="black", markersize=5, label="sensor, as surveyed")
    for c, place in zip(result.corrections, sensors, strict=True):
        _draw_correction(axes, c, place, scale)
        if len(sensors) <= 40:
            axes.annotate(
                c.sensor_id, place[:2], (5, 5), textcoords="offset points", fontsize=6, color="#555555",
                parse_math=False,
            )  # fmt: skip
    axes.plot([], [], "-", color=SURE, label="correction and its 95 % region: significant")
    axes.plot([], [], "-", color=UNSURE, label="not significant")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    axes.set_xlabel("east, m")
    axes.set_ylabel("north, m")
    how = "surveyed" if result.surveyed else "located"
    axes.set_title(f"{result.shots} {how} shots; corrections {scale:g} times enlarged", fontsize=11)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, fontsize=8)


def _reach(c: Correction) -> float:
    return math.hypot(c.east_m, c.north_m) + 2.0 * max(c.east_sigma_m, c.north_sigma_m)


def _round(value: float) -> float:
    """1, 2 or 5 times a power of ten, below the value: a scale people can read."""
    power = 10.0 ** math.floor(math.log10(value))
    return float(max(step for step in (1.0, 2.0, 5.0) if step * power <= value * 1.000001) * power)


def _draw_correction(axes: Any, c: Correction, place: np.ndarray, scale: float) -> None:
    if not c.shots:
        return
    colour = SURE if c.moved else UNSURE
    tip = place[0] + scale * c.east_m, place[1] + scale * c.north_m
    axes.plot([place[0], tip[0]], [place[1], tip[1]], "-", color=colour, linewidth=1.2)
    axes.plot(*tip, ".", color=colour, markersize=4)
    ellipse = confidence_ellipse(Covariance(c.east_sigma_m**2, c.en_m2, c.north_sigma_m**2), 5.991)
    patch = Patch(
        tip, 2.0 * scale * ellipse.semi_major_m, 2.0 * scale * ellipse.semi_minor_m,
        angle=90.0 - ellipse.azimuth_deg, facecolor=colour, edgecolor=colour, alpha=0.2,
    )  # fmt: skip
    axes.add_patch(patch)


def _draw_clocks(result: Calibration, axes: Any) -> None:
    heard = [c for c in result.corrections if c.shots]
    for k, c in enumerate(heard):
        colour = SURE if c.astray else UNSURE
        axes.errorbar(k, 1e3 * c.clock_s, yerr=2e3 * c.clock_sigma_s, fmt="o", color=colour, markersize=4, capsize=2)
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_xlim(-0.7, max(len(heard) - 0.3, 0.7))
    axes.set_xticks(range(len(heard)) if len(heard) <= 40 else [])
    if len(heard) <= 40:
        axes.set_xticklabels([c.sensor_id for c in heard], rotation=90, fontsize=6)
    axes.set_ylabel("clock late by, ms")
    axes.set_title("clocks beside their mean, two sigma", fontsize=10)
    axes.grid(alpha=0.3)


def _draw_residuals(result: Calibration, axes: Any) -> None:
    widest = 1e3 * max(float(np.percentile(np.abs(result.residuals_s[0]), 98)), 0.001)
    edges = np.linspace(-widest, widest, 41)
    names = ("as surveyed", "sensors corrected", "and each path known")
    for values, colour, name in zip(result.residuals_s, STEPS, names, strict=True):
        rms = 1e3 * float(np.sqrt(np.mean(values**2)))
        axes.hist(
            np.clip(1e3 * values, -widest, widest), edges, histtype="step", color=colour, linewidth=1.5,
            label=f"{name}: {rms:.2f} ms rms",
        )  # fmt: skip
    axes.set_xlabel("residual, ms (late is positive)")
    axes.set_ylabel("arrivals")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
