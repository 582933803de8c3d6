"""Few sensors: the live fire's tagged arrivals in random subsets, as in the Pittsburgh paper, beside least squares.

Calhoun and others (arXiv 2108.07377) ask how often a shot is put within 15 m of the survey when only 4, 5, 6 or 8 of
the sensors that heard it take part, and tell precision (about each position's own centroid) from accuracy (to the
survey). The same command does both for a user's clone of the whole set: name it with --data.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from acoustic.detection import Detection
from localization.fix import Fix
from localization.solver import Solver
from localization.street import Street
from localization.study.repeatability import NEAR_M, repeatability
from localization.study.scene import Scene
from localization.study.scene_reading import read_scene
from localization.study.score import Place
from sensors.site import Site

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data" / "pittsburgh_livefire"
SIZES = (4, 5, 6, 8)
SEEDS = 10


@dataclass(frozen=True)
class Answer:
    """Where a method puts a shot, metres from the survey; with what region, if it has one."""

    east_m: float = math.inf
    north_m: float = math.inf
    held: bool | None = None
    semi_major_m: float | None = None

    @property
    def off_m(self) -> float:
        """How far from the survey; infinitely, where there is no place."""
        return math.hypot(self.east_m, self.north_m)


@dataclass(frozen=True, eq=False)
class Shot:
    """A shot of the set: its scene, its tagged arrivals, and where each was heard."""

    scene: Scene
    name: str
    detections: tuple[Detection, ...]
    sites: tuple[Site, ...]

    @property
    def position(self) -> str:
        """The firing position."""
        return self.scene.name.split(", ")[1].split("/")[0]

    def some(self, chosen: np.ndarray) -> tuple[list[Detection], list[Site]]:
        """Some of the arrivals."""
        return [self.detections[k] for k in chosen], [self.sites[k] for k in chosen]


Method = Callable[[Shot, list[Detection], list[Site]], Answer]
Answers = dict[str, dict[str, list[Answer]]]


def measure(data: Path | None) -> str:
    source = data or SHARED
    if not source.is_dir():
        return f"left out: no live fire at {source.name}; name it with --data (the README says where to get it)"
    with tempfile.TemporaryDirectory() as folder:
        shots = [shot for scene in _scenes(source, Path(folder)) for shot in _shots(scene)]
    parts = [_subsets(shots, size) for size in SIZES]
    return "\n\n".join([*parts, _whole(shots)])


def _scenes(source: Path, out: Path) -> Iterator[Scene]:
    script = ROOT / "fixtures" / "builders" / "live_fire.py"
    subprocess.run([sys.executable, script, source, out, "--kind", "tagged"], check=True, capture_output=True)
    for folder in sorted(out.iterdir()):
        yield read_scene(folder, audio=False)


def _shots(scene: Scene) -> Iterator[Shot]:
    heard: dict[str, list[Detection]] = defaultdict(list)
    for pulse in scene.pulses:
        heard[str(pulse.shot_id)].append(pulse.detection)
    for name, detections in heard.items():
        sites = tuple(scene.network.site(d.sensor_id, scene.start_ns) for d in detections)
        yield Shot(scene, name, tuple(detections), sites)


def _subsets(shots: list[Shot], size: int) -> str:
    """Random subsets of so many sensors: one of each shot and seed, the same for every method."""
    answers: Answers = {name: defaultdict(list) for name in METHODS}
    for seed in range(SEEDS):
        draw = np.random.default_rng([seed, size])
        for shot in shots:
            if len(shot.detections) < size:
                continue
            chosen = np.sort(draw.choice(len(shot.detections), size, replace=False))
            for name, method in METHODS.items():
                answers[name][shot.position].append(method(shot, *shot.some(chosen)))
    return f"{size} sensors at random, {SEEDS} seeds, as far as so many heard the shot:\n\n" + _table(answers)


def _whole(shots: list[Shot]) -> str:
    """All tagged sensors: accuracy and precision of each position."""
    rows = [
        "| position | method | shots | error, m | rms | centroid off, m | scatter about it, m | rms | within 15 m |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    scatter: dict[str, list[float]] = defaultdict(list)
    for position in sorted({shot.position for shot in shots}):
        for name, method in METHODS.items():
            here = [
                method(shot, list(shot.detections), list(shot.sites)) for shot in shots if shot.position == position
            ]
            offsets = np.array([(a.east_m, a.north_m) for a in here if math.isfinite(a.east_m)])
            if not len(offsets):
                rows.append(f"| {position} | {name} | 0 of {len(here)} | - | - | - | - | - | - |")
                continue
            row, shown = repeatability(offsets), f"{len(offsets)} of {len(here)}"
            scatter[name] += list(np.hypot(*(offsets - offsets.mean(axis=0)).T))
            rows.append(
                f"| {position} | {name} | {shown} | {row['error_median_m']:.2f} / {row['error_p90_m']:.2f} | "
                f"{row['error_rms_m']:.2f} | {row['centroid_off_m']:.2f} | {row['scatter_median_m']:.2f} / "
                f"{row['scatter_p90_m']:.2f} | {row['scatter_rms_m']:.2f} | {100.0 * row['within_15_m']:.1f} % |"
            )
    pooled = ", ".join(f"{name} {np.median(off):.2f} / {np.quantile(off, 0.9):.2f}" for name, off in scatter.items())
    return (
        "All tagged sensors (median / 90 %; the survey itself is good to 2.1 m an axis):\n\n"
        + "\n".join(rows)
        + f"\n\nScatter about each position's own centroid, all positions, m: {pooled}."
    )


def _table(answers: Answers) -> str:
    positions = sorted({position for by_position in answers.values() for position in by_position})
    rows = [
        "| position | method | shots | within 15 m | median, m | 90 %, m | region holds the survey | semi-major, m |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for position in [*positions, "all"]:
        for name, by_position in answers.items():
            here = [a for p in positions if position in {p, "all"} for a in by_position[p]]
            rows.append(f"| {position} | {name} | {len(here)} | {_told(here)} |")
    return "\n".join(rows)


def _told(here: list[Answer]) -> str:
    off = np.array([answer.off_m for answer in here])
    held = [answer.held for answer in here if answer.held is not None]
    axes = [answer.semi_major_m for answer in here if answer.semi_major_m is not None]
    return " | ".join(
        [
            f"{100.0 * np.mean(off <= NEAR_M):.1f} %",
            f"{np.median(off):.2f}",
            f"{np.quantile(off, 0.9, method='inverted_cdf'):.2f}",
            f"{100.0 * np.mean(held):.1f} %" if held else "-",
            f"{np.median(axes):.1f}" if axes else "-",
        ]
    )


# the methods


def _ours(shot: Shot, detections: list[Detection], sites: list[Site]) -> Answer:
    scene = shot.scene
    solver = Solver(scene.frame, scene.air, Street(), scene.source_up_m, scene.source_sigma_m)
    fix = solver.solve(shot.name, 1, detections, sites, given=True)
    if not isinstance(fix, Fix):
        return Answer(held=False)
    truth = scene.truth[0]
    muzzle: Any = truth.place
    places = [
        Place(m.place.east_m, m.place.north_m, m.ellipse, (m.covariance.ee_m2, m.covariance.en_m2, m.covariance.nn_m2))
        for m in fix.modes
    ]
    return Answer(
        fix.best.place.east_m - muzzle.east_m,
        fix.best.place.north_m - muzzle.north_m,
        any(place.holds(muzzle.east_m, muzzle.north_m, truth.sigma_m) for place in places),
        fix.best.ellipse.semi_major_m,
    )


def _scipy(loss: str) -> Method:
    """Place and discharge in two dimensions, from five starts, the least cost of all."""

    def solve(shot: Shot, detections: list[Detection], sites: list[Site]) -> Answer:
        places: list[Any] = [site.position for site in sites]
        sensors = np.array([(place.east_m, place.north_m) for place in places])
        zero_ns = min(d.pick.onset_ns for d in detections)
        reach = shot.scene.air.sound_speed_m_per_s * np.array([(d.pick.onset_ns - zero_ns) / 1e9 for d in detections])

        def misfit(p):
            return np.hypot(sensors[:, 0] - p[0], sensors[:, 1] - p[1]) + p[2] - reach

        def slope(p):
            away = p[:2] - sensors
            return np.column_stack([away / np.maximum(np.hypot(*away.T), 1e-9)[:, None], np.ones(len(reach))])

        best = min(
            (
                least_squares(misfit, (*start, -150.0), slope, loss=loss, f_scale=3.0, x_scale=100.0)
                for start in _starts(sensors, reach)
            ),
            key=lambda result: result.cost,
        )
        muzzle: Any = shot.scene.truth[0].place
        return Answer(float(best.x[0]) - muzzle.east_m, float(best.x[1]) - muzzle.north_m)

    return solve


def _starts(sensors: np.ndarray, reach: np.ndarray) -> list[tuple[float, float]]:
    """The middle of the sensors, the one that heard first, and points round it."""
    first = sensors[np.argmin(reach)] + 1.0
    around = [
        first + 150.0 * np.array([math.cos(t), math.sin(t)]) for t in np.arange(0.0, 2.0 * math.pi, math.pi / 3.0)
    ]
    return [tuple(start) for start in (sensors.mean(axis=0), first, *around[:7])]


METHODS: dict[str, Method] = {
    "shotfix": _ours,
    "scipy least squares": _scipy("linear"),
    "scipy soft_l1": _scipy("soft_l1"),
}
