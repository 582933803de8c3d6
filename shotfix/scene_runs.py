"""Scene runs: what `shotfix replay` and `shotfix locate` do with each scene they are given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from localization.study.folder import complete
from localization.study.scene_reading import read_scene
from localization.study.table import SceneError
from shotfix import playback, results
from shotfix.command_line import BAD_DATA, complain, one_line
from shotfix.progress import progress
from shotfix.results import check_free

if TYPE_CHECKING:
    from pathlib import Path

    from alerts.gazetteer import Gazetteer


def run_scenes(
    scenes: tuple[Path, ...], out: Path, *, audio: bool, force: bool, plot: bool, places: Path | None, as_json: bool
) -> None:
    """Run scenes, each into a folder of its own, and say what came of each; the others go on after a bad one."""
    targets = _targets(scenes, out)
    if not force:
        check_free(out, force=False)
    for folder in targets.values():
        check_free(folder, force=force)
    gazetteer = None if places is None else _gazetteer(places)
    summaries: dict[str, Any] = {}
    failed = 0
    for scene, folder in targets.items():
        try:
            summaries[str(folder)] = _run_scene(scene, folder, gazetteer, audio=audio, plot=plot, quiet=as_json)
        except SceneError as error:
            failed += 1
            complain(one_line(error if len(targets) == 1 else f"{scene}: {error}"))
    if as_json:
        click.echo(json.dumps({"runs": summaries, "failed": failed}))
    if failed:
        raise click.exceptions.Exit(BAD_DATA)


def _targets(scenes: tuple[Path, ...], out: Path) -> dict[Path, Path]:
    """Where each scene's results go."""
    if len(scenes) == 1:
        return {scenes[0]: out}
    names = [scene.resolve().name for scene in scenes]
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(f"two scenes are named {name}: play them one by one, each with its own --out")
    return {scene: out / name for scene, name in zip(scenes, names, strict=True)}


def _gazetteer(path: Path) -> Gazetteer:
    from alerts.gazetteer import Gazetteer, GazetteerError  # shapely takes a while

    try:
        return Gazetteer.open(path)
    except GazetteerError as error:
        complain(one_line(error))
        raise click.exceptions.Exit(BAD_DATA) from None


def _run_scene(
    path: Path, folder: Path, gazetteer: Gazetteer | None, *, audio: bool, plot: bool, quiet: bool
) -> dict[str, Any]:
    scene = read_scene(path, audio=audio)
    for warning in scene.warnings:
        complain(f"warning: {one_line(warning)}")
    if audio:
        with progress(f"replay {scene.name}", playback.audio_seconds(scene), "s of audio") as advance:
            run = playback.replay(scene, progress=advance, gazetteer=gazetteer)
    else:
        with progress(f"locate {scene.name}", len(scene.pulses), "pulses") as advance:
            run = playback.locate(scene, progress=advance, gazetteer=gazetteer)
    with complete(folder, results.FILES) as work:
        results.write_run(run, work)
        if plot:
            from shotfix.picture import draw_map  # matplotlib takes a second

            draw_map(run, work / "map.png")
    summary = results.summary(run)
    if not quiet:
        click.echo(_told(summary, folder))
    return summary


def _told(summary: dict[str, Any], folder: Path) -> str:
    counts = summary["counts"]
    alerts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts["alerts"].items())) or "none"
    return (
        f"{summary['scene']}: {counts['detections']} detections, {counts['fixes']} of {counts['shots']} shots placed "
        f"({counts['ambiguous']} ambiguous), incidents: {alerts}; {summary['wall_s']:.1f} s; results in {folder}"
    )
