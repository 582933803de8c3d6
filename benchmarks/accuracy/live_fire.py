"""Live fire: ours beside least squares on the same arrivals, by position; and from all pulses, and from sound."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from benchmarks.accuracy.suite import shots_of
from localization.study.intervals import clustered_interval
from localization.study.scene import Scene
from localization.study.scene_reading import read_scene
from localization.study.score import score
from shotfix.playback import locate, replay
from shotfix.run import Run

NEAR_M = 50.0
Places = list[tuple[float, float]]


def measure(data: Path | None) -> str:
    source = data or Path(__file__).resolve().parents[3] / "shared" / "data" / "pittsburgh_livefire"
    if not source.is_dir():
        return f"left out: no live fire at {source.name}; name it with --data (the README says where to get it)"
    with tempfile.TemporaryDirectory() as folder:
        parts = [_tagged(source, Path(folder)), _pulses(source, Path(folder)), _sound(source, Path(folder))]
    return "\n\n".join(parts)


def _scenes(source: Path, out: Path, kind: str) -> Iterator[Scene]:
    script = Path(__file__).resolve().parents[2] / "fixtures" / "builders" / "live_fire.py"
    if not (out / kind).exists():
        subprocess.run([sys.executable, script, source, out / kind, "--kind", kind], check=True, capture_output=True)
    for folder in sorted((out / kind).iterdir()):
        yield read_scene(folder, audio=kind == "audio")


def _tagged(source: Path, out: Path) -> str:
    """The vendor's association: the place of each shot by three methods."""
    rivals: dict[str, Callable[[Scene], Places]] = {
        "shotfix": lambda scene: _places(locate(scene)),
        "scipy least squares": lambda scene: _least_squares(scene, "linear"),
        "scipy soft_l1": lambda scene: _least_squares(scene, "soft_l1"),
    }
    errors: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in rivals}
    for scene in _scenes(source, out, "tagged"):
        for name, method in rivals.items():
            errors[name][_position(scene)] += [_error(scene, place) for place in method(scene)]
    runs = [locate(scene) for scene in _scenes(source, out, "tagged")]
    return "Known association, error to the survey, m (median / 90 %):\n\n" + _table(errors) + "\n\n" + _regions(runs)


def _regions(runs: Sequence[Run]) -> str:
    """Whether regions hold the survey, its own sigma added: rounds of one place together are one observation."""
    holds, axes, sums = [], [], defaultdict(list)
    for run in runs:
        for match in score(run.scene, shots_of(run)).matches:
            if match.shot is not None:
                held = match.held
                holds.append((_position(run.scene), held))
                axes.append(match.shot.places[0].ellipse.semi_major_m)
                sums[_position(run.scene)].append(held)
    if not holds:
        return "No round was found."
    low, high = clustered_interval(holds) or (0.0, 1.0)
    by_position = ", ".join(f"{name} {100 * np.mean(held):.0f} %" for name, held in sorted(sums.items()))
    return (
        f"Regions hold the survey in {100 * np.mean([held for _, held in holds]):.1f} % of {len(holds)} rounds "
        f"({100 * low:.0f} to {100 * high:.0f} %, by {len(sums)} places: {by_position}); median semi-major axis "
        f"{np.median(axes):.1f} m. No constant belongs to one position, but all were chosen with these five in view."
    )


def _pulses(source: Path, out: Path) -> str:
    runs = [locate(scene) for scene in _scenes(source, out, "pulses")]
    tagged = {pulse.detection.pulse_id for scene in _scenes(source, out, "tagged") for pulse in scene.pulses}
    right, used = 0, 0
    for run in runs:
        for fix in run.fixes:
            names = [a.detection.pulse_id for a in fix.arrivals if a.weight >= 0.5]
            right, used = right + sum(name in tagged for name in names), used + len(names)
    precision = f"Of {used} pulses that the rounds rest on the vendor had tagged {100 * right / max(used, 1):.1f} %."
    return "From all pulses:\n\n" + _counted(runs) + f"\n\n{precision} {_regions(runs)}"


def _sound(source: Path, out: Path) -> str:
    runs = [replay(scene) for scene in _scenes(source, out, "audio")]
    return "From sound alone:\n\n" + _counted(runs) + "\n\n" + _regions(runs)


def _counted(runs: Sequence[Run]) -> str:
    rounds, found, tests, exact, wrong = (defaultdict(int) for _ in range(5))
    errors: dict[str, dict[str, list[float]]] = {"shotfix": defaultdict(list)}
    for run in runs:
        position, fired = _position(run.scene), len(run.scene.truth)
        off = [_error(run.scene, place) for place in _places(run)]
        near = [error for error in off if error <= NEAR_M]
        rounds[position] += fired
        found[position] += min(fired, len(near))
        tests[position] += 1
        exact[position] += len(off) == len(near) == fired
        wrong[position] += sum(e > NEAR_M and len(f.modes) == 1 for e, f in zip(off, run.fixes, strict=True))
        errors["shotfix"][position] += near
    rows = ["| position | rounds fired | found | tests | right count | wrong, unmarked |", "|---|---|---|---|---|---|"]
    rows += [f"| {p} | {rounds[p]} | {found[p]} | {tests[p]} | {exact[p]} | {wrong[p]} |" for p in rounds]
    totals = (sum(column.values()) for column in (rounds, found, tests, exact, wrong))
    rows.append("| all | " + " | ".join(str(total) for total in totals) + " |")
    return "\n".join(rows) + "\n\n" + _table(errors)


def _table(errors: dict[str, dict[str, list[float]]]) -> str:
    positions = sorted({position for by_position in errors.values() for position in by_position})
    rows = ["| | " + " | ".join(positions) + " | all |", "|---" * (len(positions) + 2) + "|"]
    for name, by_position in errors.items():
        everything = [error for values in by_position.values() for error in values]
        cells = [_quantiles(by_position[position]) for position in positions] + [_quantiles(everything)]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _quantiles(values: list[float]) -> str:
    return f"{np.median(values):.2f} / {np.percentile(values, 90):.2f}" if values else "-"


def _places(run: Run) -> Places:
    return [(fix.best.place.east_m, fix.best.place.north_m) for fix in run.fixes]


def _position(scene: Scene) -> str:
    return scene.name.split(", ")[1].split("/")[0]


def _error(scene: Scene, place: tuple[float, float]) -> float:
    muzzle = scene.truth[0].place
    return math.hypot(place[0] - muzzle.east_m, place[1] - muzzle.north_m)


def _least_squares(scene: Scene, loss: str) -> Places:
    """Place and discharge in two dimensions, by differences of arrivals, from the middle of the sensors."""
    by_shot = defaultdict(list)
    for pulse in scene.pulses:
        by_shot[pulse.shot_id].append(pulse.detection)
    places = []
    for detections in by_shot.values():
        sites = [scene.network.site(d.sensor_id, scene.start_ns).position for d in detections]
        sensors = np.array([(site.east_m, site.north_m) for site in sites])
        times = np.array([(d.pick.onset_ns - detections[0].pick.onset_ns) / 1e9 for d in detections])
        speed = scene.air.sound_speed_m_per_s

        def misfit(p, sensors=sensors, times=times, speed=speed):
            return np.hypot(*(sensors - p[:2]).T) + p[2] - speed * times

        start = np.array([*sensors.mean(axis=0), -300.0])
        solution = least_squares(misfit, start, loss=loss, f_scale=3.0, x_scale=100.0).x
        places.append((float(solution[0]), float(solution[1])))
    return places
