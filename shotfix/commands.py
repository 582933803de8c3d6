"""The command line: what is asked, in which order, and how it ends. The work is done elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import click

BAD_DATA: Final = 65
UNAVAILABLE: Final = 69
INPUT_OUTPUT: Final = 74
INTERRUPTED: Final = 130
"""Exit codes of sysexits.h, and of a shell whose command was interrupted."""

FOLDER = click.Path(path_type=Path, file_okay=False)
SOMEWHERE = click.Path(path_type=Path)


class Commands(click.Group):
    """The group whose commands end with one line and an exit code, never with a traceback over bad input."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn what went wrong outside the program into a line and a code."""
        from localization.study.table import SceneError
        from shotfix.results import OutputError, UnavailableError

        try:
            return super().invoke(ctx)
        except OutputError as error:
            raise click.UsageError(one_line(error)) from None
        except SceneError as error:
            complain(one_line(error))
            ctx.exit(BAD_DATA)
        except UnavailableError as error:
            complain(one_line(error))
            ctx.exit(UNAVAILABLE)
        except KeyboardInterrupt:
            interrupted(ctx)
        except SystemError as error:
            if not isinstance(error.__cause__, KeyboardInterrupt):  # which is how it looks from inside a kernel
                raise
            interrupted(ctx)
        except BrokenPipeError:
            raise  # click ends quietly when nobody reads any more
        except OSError as error:
            complain(one_line(error))
            ctx.exit(INPUT_OUTPUT)


def interrupted(ctx: click.Context) -> NoReturn:
    """End as a shell expects of an interrupted command."""
    complain("interrupted; what was not finished was not written")
    ctx.exit(INTERRUPTED)


def one_line(error: object) -> str:
    """The error's text, on one line and without control characters: file names may hold anything."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(error).split()))


def complain(message: str) -> None:
    """Say what went wrong, on standard error."""
    click.echo(f"shotfix: {message}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="shotfix", message="shotfix %(version)s")
def main() -> None:
    """Acoustic gunshot detection and localization: from recordings to alerts with honest ellipses.

    \b
    Example:
        shotfix replay fixtures/scenes/demo-night --out build/night --plot
    """


OUT = click.option("--out", "out", type=FOLDER, required=True, metavar="DIR", help="Folder for the results.")
FORCE = click.option("--force", is_flag=True, help="Overwrite an earlier run in DIR.")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
PLOT = click.option("--plot", is_flag=True, help="Also draw DIR/map.png: sensors, shots, regions, truth.")
SCENES = click.argument("scenes", nargs=-1, required=True, type=SOMEWHERE, metavar="SCENE...")


@main.command()
@SCENES
@OUT
@FORCE
@PLOT
@JSON
def replay(scenes: tuple[Path, ...], out: Path, force: bool, plot: bool, as_json: bool) -> None:
    """Play scene folders from their audio through the whole engine.

    Several scenes write into DIR/<folder name> each.

    \b
    Example:
        shotfix replay fixtures/scenes/demo-night --out build/night
    """
    _run_scenes(scenes, out, audio=True, force=force, plot=plot, as_json=as_json)


@main.command()
@SCENES
@OUT
@FORCE
@PLOT
@JSON
def locate(scenes: tuple[Path, ...], out: Path, force: bool, plot: bool, as_json: bool) -> None:
    """Place the shots of scene folders from their pulses.csv.

    \b
    Example:
        shotfix locate my-scene --out build/places
    """
    _run_scenes(scenes, out, audio=False, force=force, plot=plot, as_json=as_json)


def _run_scenes(scenes: tuple[Path, ...], out: Path, *, audio: bool, force: bool, plot: bool, as_json: bool) -> None:
    from localization.study.table import SceneError
    from shotfix.results import check_free

    targets = _targets(scenes, out)
    if not force:
        check_free(out, force=False)
    for folder in targets.values():
        check_free(folder, force=force)
    summaries: dict[str, Any] = {}
    failed = 0
    for scene, folder in targets.items():
        try:
            summaries[str(folder)] = _run_scene(scene, folder, audio=audio, plot=plot, quiet=as_json)
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


def _run_scene(path: Path, folder: Path, *, audio: bool, plot: bool, quiet: bool) -> dict[str, Any]:
    from localization.study.folder import complete
    from localization.study.scene_reading import read_scene
    from shotfix import playback, results
    from shotfix.progress import progress

    scene = read_scene(path, audio=audio)
    for warning in scene.warnings:
        complain(f"warning: {one_line(warning)}")
    if audio:
        with progress(f"replay {scene.name}", playback.audio_seconds(scene), "s of audio") as advance:
            run = playback.replay(scene, progress=advance)
    else:
        with progress(f"locate {scene.name}", len(scene.pulses), "pulses") as advance:
            run = playback.locate(scene, progress=advance)
    with complete(folder, results.FILES) as work:
        results.write_run(run, work)
        if plot:
            from shotfix.picture import draw_map

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


@main.command()
@click.argument("files", nargs=-1, required=True, type=SOMEWHERE, metavar="FILE...")
@click.option("--json", is_flag=True, expose_value=False, help="For uniformity: the output is JSON lines in any case.")
def classify(files: tuple[Path, ...]) -> None:
    """Judge sound files: one JSON line for each, in order.

    A file's values are those of its strongest event; one without an event is judged by its loudest moment.

    \b
    Example:
        shotfix classify shot.wav street.flac
    """
    from shotfix.classify import judge_file

    failed = False
    for file in files:
        line = judge_file(file)
        failed = failed or "error" in line
        click.echo(json.dumps(line))
    if failed:
        raise click.exceptions.Exit(BAD_DATA)


@main.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@SCENES
@click.option("--within", "within_m", type=click.FloatRange(min=0.1), default=50.0, show_default=True, metavar="METRES",
              help="A fix farther than this from every bang is false.")  # fmt: skip
@click.option(
    "--least-found", type=click.FloatRange(0.0, 1.0), help="Fail (exit 1) below this share of gunshots found."
)
@click.option("--most-median", "most_median_m", type=click.FloatRange(min=0.0), metavar="METRES",
              help="Fail (exit 1) above this median error.")  # fmt: skip
@click.option("--least-held", type=click.FloatRange(0.0, 1.0), help="Fail (exit 1) when fewer regions hold the truth.")
@JSON
def score(
    folder: Path, scenes: tuple[Path, ...], within_m: float, least_found: float | None, most_median_m: float | None,
    least_held: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare the results in DIR with the truth of the scenes they came from.

    Intervals count shots from one place as one observation. For several scenes DIR holds a folder for each.

    \b
    Example:
        shotfix score build/night fixtures/scenes/demo-night --least-found 0.9
    """
    from shotfix.scoring import judged, score_runs, told

    figures = score_runs(folder, scenes, within_m)
    broken = judged(figures["all"], least_found=least_found, most_median_m=most_median_m, least_held=least_held)
    click.echo(json.dumps(figures | {"broken": broken}) if as_json else told(figures))
    for bound in broken:
        complain(bound)
    if broken:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("spec", type=SOMEWHERE, metavar="SPEC.toml")
@click.option("--out", "out", type=FOLDER, required=True, metavar="SCENE", help="Folder for the scene.")
@FORCE
@JSON
def simulate(spec: Path, out: Path, force: bool, as_json: bool) -> None:
    """Make a scene from physics: sources, air, street, sensors.

    \b
    Example:
        shotfix simulate fixtures/builders/demo_night.toml --out build/night
    """
    from shotfix.simulating import simulate_scene

    made = simulate_scene(spec, out, force=force)
    click.echo(
        json.dumps(made) if as_json else f"{made['name']}: {made['sensors']} sensors, {made['events']} bangs in {out}"
    )


@main.command()
@click.argument("scene", type=SOMEWHERE, metavar="SCENE")
@OUT
@FORCE
def demo(scene: Path, out: Path, force: bool) -> None:
    """Play a scene and deliver its alerts to a receiver process that prints what a dispatcher reads.

    \b
    Example:
        shotfix demo fixtures/scenes/demo-night --out build/demo
    """
    from shotfix.demo import show

    show(scene, out, force=force, say=_say)


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()
