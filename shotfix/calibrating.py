"""Calibrating: scenes in, a corrected sensors.csv out, with what was learnt of each sensor beside it."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acoustic.instant import instant_text
from localization.fix import Fix
from localization.study.calibration import Calibration, Correction, calibrate
from localization.study.calibration_shots import Shot, common_network, surveyed_shots
from localization.study.calibration_solve import root_mean_square
from localization.study.folder import complete, write_table
from localization.study.scene_reading import read_scene
from sensors.site import Geodetic
from shotfix.results import check_free
from shotfix.versions import versions

if TYPE_CHECKING:
    from localization.study.scene import Scene
    from sensors.site import Site

FILES: Final = ("summary.json", "sensors.csv", "calibration.csv", "paths.csv", "calibration.png")
"""Everything a calibration leaves; without the first one a folder holds none."""

LEAST_SENSORS: Final = 6  # of a fix that nobody surveyed
MOST_LOCATED: Final = 1000  # of those, the best heard: all places are unknowns of one system
MOST_SURVEYED: Final = 1000  # of surveyed shots, for the same reason
SENSORS: Final = ("position_sigma_m", "up_sigma_m", "clock_sigma_s", "full_scale_db_spl")
COLUMNS: Final = (
    "sensor_id", "east_m", "north_m", "east_sigma_m", "north_sigma_m", "cov_en_m2", "position_significant",
    "position_observed", "clock_s", "clock_sigma_s", "clock_significant", "clock_observed", "shots", "places",
    "rms_before_s", "rms_after_s", "rms_with_paths_s", "flags",
)  # fmt: skip
PATHS: Final = ("sensor_id", "east_m", "north_m", "excess_s", "sigma_s", "arrivals")


def calibrate_scenes(
    folders: tuple[Path, ...], out: Path, *, force: bool, position_sigma_m: float, clock_sigma_s: float
) -> dict[str, Any]:
    """Calibrate the network of some scenes and write what was learnt; the summary.

    Parameters
    ----------
    folders : tuple of Path
        Scenes of one network in one frame; with truth, or, if none has any, to be located.
    out : Path
        For the results.
    force : bool
        Whether an earlier calibration there may be replaced.
    position_sigma_m, clock_sigma_s : float
        No survey and no clock is believed to be better than this.

    Raises
    ------
    SceneError
        When the scenes cannot be calibrated together, or hold nothing to calibrate with.
    OutputError
        When ``out`` holds something else.
    """
    check_free(out, force=force, files=FILES)
    scenes = [read_scene(folder) for folder in folders]
    network, frame = common_network(scenes)
    left_out: Counter[str] = Counter()
    known = [scene for scene in scenes if scene.truth]
    if known and len(known) < len(scenes):
        left_out["scenes-without-truth"] = len(scenes) - len(known)
    shots = _thinned(surveyed_shots(known, left_out), left_out) if known else _best_heard(scenes, left_out)
    result = calibrate(
        network,
        frame,
        shots,
        least_position_sigma_m=position_sigma_m,
        least_clock_sigma_s=clock_sigma_s,
        left_out=left_out,
    )
    summary = _summary(result, scenes)
    with complete(out, FILES) as work:
        _write(result, work)
        (work / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        from shotfix.calibration_picture import draw  # only here is matplotlib wanted

        draw(result, work / "calibration.png")
    return summary


def _thinned(shots: list[Shot], left_out: Counter[str]) -> list[Shot]:
    """As many as are computed in a minute, evenly from all: every place and occasion keeps its share."""
    if len(shots) <= MOST_SURVEYED:
        return shots
    left_out["thinned-evenly"] = len(shots) - MOST_SURVEYED
    return [shots[k * len(shots) // MOST_SURVEYED] for k in range(MOST_SURVEYED)]


def _best_heard(scenes: list[Scene], left_out: Counter[str]) -> list[Shot]:
    shots = [shot for scene in scenes for shot in _located(scene, left_out)]
    if len(shots) > MOST_LOCATED:
        left_out["heard-by-fewer"] = len(shots) - MOST_LOCATED
        shots = sorted(shots, key=lambda shot: (-len(shot.arrivals), shot.name))[:MOST_LOCATED]
    return shots


def _located(scene: Scene, left_out: Counter[str]) -> list[Shot]:
    """The shots of a scene that many sensors heard, where the locator puts them."""
    from shotfix.playback import locate, replay  # surveyed scenes need no locator

    run = replay(scene) if scene.pieces else locate(scene)
    shots = []
    for fix in run.shots:
        if not isinstance(fix, Fix):
            left_out["unfixed"] += 1
        elif fix.n_sensors < LEAST_SENSORS or len(fix.modes) > 1 or not fix.inside_hull:
            left_out["weak-fix"] += 1
        else:
            heard = tuple(
                (a.detection.sensor_id, a.detection.pick.onset_ns, a.detection.pick.sigma_s)
                for a in fix.arrivals
                if a.weight >= 0.5
            )
            # Half an hour of one scene is one occasion: the air is taken to be the same.
            occasion = f"{scene.name} {(fix.time_ns - scene.start_ns) // 1_800_000_000_000}"
            shots.append(Shot(fix.shot_id, fix.best.place, None, scene.source_sigma_m, heard, scene.air, occasion))
    return shots


# what is written


def _write(result: Calibration, folder: Path) -> None:
    _write_sensors(result, folder / "sensors.csv")
    write_table(folder / "calibration.csv", COLUMNS, (_row(c) for c in result.corrections))
    rows = sorted(result.excesses, key=lambda e: (e.sensor_id, e.place))
    write_table(
        folder / "paths.csv",
        PATHS,
        (
            [
                e.sensor_id,
                f"{e.place[0]:.4f}",
                f"{e.place[1]:.4f}",
                f"{e.excess_s:.6f}",
                f"{e.sigma_s:.6f}",
                str(e.shots),
            ]
            for e in rows
        ),
    )


def _write_sensors(result: Calibration, path: Path) -> None:
    offsets = result.clock_offsets_s
    wgs84 = isinstance(result.network.sites[0].position, Geodetic)
    place = ("latitude_deg", "longitude_deg", "height_m") if wgs84 else ("east_m", "north_m", "up_m")

    def row(site: Site) -> list[str]:
        p = site.position
        where = (
            [f"{p.latitude_deg:.9f}", f"{p.longitude_deg:.9f}", f"{p.height_m:.4f}"]
            if isinstance(p, Geodetic)
            else [f"{p.east_m:.4f}", f"{p.north_m:.4f}", f"{p.up_m:.4f}"]
        )
        loudest = "" if site.full_scale_db_spl is None else f"{site.full_scale_db_spl:g}"
        cells = [
            site.sensor_id, *where,
            f"{site.position_sigma_m:.4f}", f"{site.up_sigma_m:g}", f"{site.clock_sigma_s:.9f}", loudest,
        ]  # fmt: skip
        return [*cells, f"{offsets.get(site.sensor_id, 0.0):.9f}"] if offsets else cells

    columns = ("sensor_id", *place, *SENSORS, *(("clock_offset_s",) if offsets else ()))
    write_table(path, columns, (row(site) for site in result.sites))


def _row(c: Correction) -> list[str]:
    return [
        c.sensor_id, f"{c.east_m:.4f}", f"{c.north_m:.4f}", f"{c.east_sigma_m:.4f}", f"{c.north_sigma_m:.4f}",
        f"{c.en_m2:.6g}", str(c.moved).lower(), f"{c.position_observed:.3f}", f"{c.clock_s:.6f}",
        f"{c.clock_sigma_s:.6f}", str(c.astray).lower(), f"{c.clock_observed:.3f}", str(c.shots), str(c.places),
        f"{c.rms_before_s:.6f}", f"{c.rms_after_s:.6f}", f"{c.rms_path_s:.6f}", " ".join(c.flags),
    ]  # fmt: skip


def _summary(result: Calibration, scenes: list[Scene]) -> dict[str, Any]:
    before, after, paths = (round(root_mean_square(values), 6) for values in result.residuals_s)
    times = [pulse.detection.pick.onset_ns for scene in scenes for pulse in scene.pulses]
    return {
        "scenes": [scene.name for scene in scenes],
        "from_utc": instant_text(min(times), 3) if times else None,
        "to_utc": instant_text(max(times), 3) if times else None,
        "surveyed": result.surveyed,
        "counts": {
            "shots": result.shots,
            "places": result.places,
            "sensors": len(result.corrections),
            "heard": sum(c.shots > 0 for c in result.corrections),
            "moved": sum(c.moved for c in result.corrections),
            "clocks_corrected": sum(c.astray for c in result.corrections),
            "positions_at_prior": sum("position-at-prior" in c.flags for c in result.corrections),
            "clocks_at_prior": sum("clock-at-prior" in c.flags for c in result.corrections),
            "disagree": sum(c.disagrees for c in result.corrections),
            "left_out": dict(sorted(result.left_out.items())),
        },
        "rms_before_s": before,
        "rms_with_sensors_s": after,
        "rms_with_paths_s": paths,
        "off_sigmas": round(result.off_sigmas, 3),
        "path_sigma_s": result.path_sigma_s,
        "largest_move_m": round(max(math.hypot(c.east_m, c.north_m) for c in result.corrections), 3),
        "warnings": list(result.warnings),
        "versions": versions(),
    }


def told(summary: dict[str, Any], out: Path) -> str:
    """The summary for people."""
    counts = summary["counts"]
    how = "surveyed" if summary["surveyed"] else "located, not surveyed"
    before, after, paths = (1e3 * summary[f"rms_{name}_s"] for name in ("before", "with_sensors", "with_paths"))
    unknown = counts["positions_at_prior"], counts["clocks_at_prior"]
    lines = [
        f"shots       {counts['shots']} from {counts['places']} places, {how}",
        f"sensors     {counts['heard']} of {counts['sensors']} heard them",
        f"moved       {counts['moved']} (other corrections are not significant); {unknown[0]} places not observed",
        f"clocks      {counts['clocks_corrected']} corrected; {unknown[1]} not observed",
        f"residuals   {before:.2f} ms as surveyed, {after:.2f} ms with sensors corrected, {paths:.2f} ms with paths",
    ]
    if counts["disagree"]:
        lines.append(f"disagree    {counts['disagree']} sensors, with all that is assumed: not corrected")
    lines += [f"left out    {count} {what}" for what, count in counts["left_out"].items()]
    return "\n".join([*lines, f"results in {out}"])
