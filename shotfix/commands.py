"""The command line: what is asked, in which order, and how it ends. The work is done elsewhere."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Final

import click

from shotfix.command_line import (
    BAD_DATA,
    FOLDER,
    FORCE,
    JSON,
    NUMBER,
    OUT,
    SOMEWHERE,
    Commands,
    Within,
    complain,
    one_line,
)
from shotfix.commands_live import LIVE
from shotfix.commands_places import places
from shotfix.commands_record import ledger, record
from shotfix.commands_review import labels
from shotfix.commands_tokens import token

FARTHEST_M: Final = 1e8  # of coordinates: as far as sensors may stand from the origin of their plane
LARGEST_CELL_M: Final = 100_000.0
METRES_OF_PLANE: Final = Within(-FARTHEST_M, FARTHEST_M)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="shotfix", message="shotfix %(version)s")
def main() -> None:
    """Acoustic gunshot detection and localization: from recordings to alerts with honest ellipses.

    \b
    Example:
        shotfix replay fixtures/scenes/demo-night --out build/night --plot
    """


PLOT = click.option("--plot", is_flag=True, help="Also draw DIR/map.png: sensors, shots, regions, truth.")
PLACES = click.option(
    "--places", type=SOMEWHERE, metavar="FILE", help="What stands where, as `shotfix places import` makes it."
)
SCENES = click.argument("scenes", nargs=-1, required=True, type=SOMEWHERE, metavar="SCENE...")


@main.command()
@SCENES
@OUT
@FORCE
@PLOT
@PLACES
@JSON
def replay(scenes: tuple[Path, ...], out: Path, force: bool, plot: bool, places: Path | None, as_json: bool) -> None:
    """Play scene folders from their audio through the whole engine.

    Several scenes write into DIR/<folder name> each.

    \b
    Example:
        shotfix replay fixtures/scenes/demo-night --out build/night
    """
    from shotfix.scene_runs import run_scenes

    run_scenes(scenes, out, audio=True, force=force, plot=plot, places=places, as_json=as_json)


@main.command()
@SCENES
@OUT
@FORCE
@PLOT
@PLACES
@JSON
def locate(scenes: tuple[Path, ...], out: Path, force: bool, plot: bool, places: Path | None, as_json: bool) -> None:
    """Place the shots of scene folders from their pulses.csv.

    \b
    Example:
        shotfix locate my-scene --out build/places
    """
    from shotfix.scene_runs import run_scenes

    run_scenes(scenes, out, audio=False, force=force, plot=plot, places=places, as_json=as_json)


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
@click.option("--within", "within_m", type=Within(0.1, 1e5), default=50.0, show_default=True, metavar="METRES",
              help="A fix farther than this from every bang is false.")  # fmt: skip
@click.option("--least-found", type=Within(0.0, 1.0), help="Fail (exit 1) below this share of gunshots found.")
@click.option("--most-median", "most_median_m", type=Within(min=0.0), metavar="METRES",
              help="Fail (exit 1) above this median error.")  # fmt: skip
@click.option("--least-held", type=Within(0.0, 1.0), help="Fail (exit 1) when fewer regions hold the truth.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Draw errors by position and the reliability curve (.png, .svg or .pdf).")  # fmt: skip
@JSON
def score(
    folder: Path, scenes: tuple[Path, ...], within_m: float, least_found: float | None, most_median_m: float | None,
    least_held: float | None, plot: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare the results in DIR with the truth of the scenes they came from.

    Intervals know that shots from one place are alike. For several scenes DIR holds a folder for each.

    \b
    Example:
        shotfix score build/night fixtures/scenes/demo-night --least-found 0.9
    """
    from shotfix.scoring import PICTURES, judged, score_runs, told

    if plot is not None and plot.suffix.lower() not in PICTURES:
        raise click.UsageError(f"--plot {plot}: expected a name that ends in {', '.join(PICTURES)}")
    if plot is not None and not plot.parent.is_dir():
        raise FileNotFoundError(f"--plot {plot}: there is no folder {plot.parent}; make it first, or name another file")
    figures = score_runs(folder, scenes, within_m, plot)
    broken = judged(figures["all"], least_found=least_found, most_median_m=most_median_m, least_held=least_held)
    click.echo(json.dumps(figures | {"broken": broken}) if as_json else told(figures))
    for bound in broken:
        complain(bound)
    if broken:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("sensors", type=SOMEWHERE, metavar="SENSORS")
@OUT
@click.option("--cell", "cell_m", type=Within(0.1, LARGEST_CELL_M), metavar="METRES",
              help="Side of a cell; without it a round number, some 50 of them across.")  # fmt: skip
@click.option("--down", multiple=True, metavar="SENSOR_ID", help="A sensor that does not listen; may be repeated.")
@click.option("--temperature-c", type=NUMBER, help="Instead of the scene's.")
@click.option("--wind-speed", "wind_speed_m_per_s", type=Within(min=0.0), metavar="M/S",
              help="Instead of the scene's.")  # fmt: skip
@click.option("--wind-from", "wind_from_deg", type=Within(0.0, 360.0), metavar="DEGREES",
              help="Clockwise from north, where the wind comes from.")  # fmt: skip
@click.option("--noise-floor", "floor_db_spl", type=NUMBER, metavar="DB_SPL",
              help="Of sensors without a noise_floor_db_spl in sensors.csv; by itself 58, walls included.")  # fmt: skip
@click.option("--louder", "louder_db", type=NUMBER, metavar="DB",
              help="How much louder than a handgun in the open the shots are.")  # fmt: skip
@click.option("--source-sigma", "source_sigma_db", type=NUMBER, metavar="DB",
              help="Scatter of the loudness of shots: 12; for handguns outdoors 6.")  # fmt: skip
@click.option("--path-sigma", "path_sigma_s", type=NUMBER, metavar="SECONDS",
              help="What walls and corners add to arrival times: 0.005.")  # fmt: skip
@click.option("--plot", is_flag=True, help="Also draw DIR/coverage.png.")
@FORCE
@JSON
def coverage(
    sensors: Path, out: Path, cell_m: float | None, down: tuple[str, ...], plot: bool, force: bool, as_json: bool,
    **assumed: float | None,
) -> None:  # fmt: skip
    """Map where a network hears shots, and how well it could place them.

    SENSORS is a scene folder, or a sensors.csv by itself. DIR receives coverage.csv, coverage.geojson and the summary
    coverage.json.

    \b
    Example:
        shotfix coverage fixtures/scenes/demo-night --out build/coverage --down ashley --plot
    """
    from localization.study.coverage import CoverageError
    from shotfix.covering import EAR, TIMING, cover, told

    weather = {name: value for name, value in assumed.items() if value is not None}
    ear = {str(name): weather.pop(name) for name in EAR if name in weather}
    timing = {str(name): weather.pop(name) for name in TIMING if name in weather}
    try:
        figures = cover(
            sensors, out, force=force, plot=plot, cell_m=cell_m, down=down, weather=weather, ear=ear, timing=timing
        )
    except CoverageError as error:
        raise click.UsageError(one_line(error)) from None
    for warning in figures["warnings"]:
        complain(f"warning: {one_line(warning)}")
    click.echo(json.dumps(figures) if as_json else f"{told(figures)}\nresults in {out}")


@main.command()
@click.argument("run", type=FOLDER, metavar="RUN_DIR")
@click.argument("scene", type=SOMEWHERE, metavar="SCENE")
@click.option("--at-time", required=True, metavar="RFC3339", help="When, with a zone: 2026-11-21T03:12:08Z.")
@click.option("--east-m", type=METRES_OF_PLANE, help="Where, in the scene's plane.")
@click.option("--north-m", type=METRES_OF_PLANE)
@click.option("--latitude", type=Within(-90.0, 90.0), help="Or on the Earth, in degrees.")
@click.option("--longitude", type=Within(-180.0, 180.0))
@click.option("--within-m", type=Within(0.1, 5000.0), default=50.0, show_default=True, metavar="METRES",
              help="How surely the place is known.")  # fmt: skip
@click.option("--within-s", type=Within(0.001, 600.0), default=1.0, show_default=True, metavar="SECONDS",
              help="How surely the time is known.")  # fmt: skip
@JSON
def why(
    run: Path, scene: Path, at_time: str, east_m: float | None, north_m: float | None, latitude: float | None,
    longitude: float | None, within_m: float, within_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Say why there was, or was no, alert at a place and time.

    RUN_DIR is what replay or locate left, SCENE the scene that it ran on.

    \b
    Example:
        shotfix why build/night fixtures/scenes/demo-night --at-time 2026-11-21T03:14:27Z \\
            --latitude 41.7805 --longitude -72.6904
    """
    from acoustic.instant import parse_instant
    from shotfix.asking import PlaceError, ask

    metres, degrees = _pair(east_m, north_m), _pair(latitude, longitude)
    if (metres is None) == (degrees is None):
        raise click.UsageError("give the place once: --east-m and --north-m, or --latitude and --longitude")
    try:
        time_ns = parse_instant(at_time)
    except ValueError as error:
        raise click.BadParameter(one_line(error), param_hint="--at-time") from None
    try:
        answer = ask(run, scene, time_ns, metres=metres, degrees=degrees, within_m=within_m, within_s=within_s)
    except PlaceError as error:
        raise click.UsageError(one_line(error)) from None
    click.echo(json.dumps(answer) if as_json else "\n".join(answer["sentences"]))


def _pair(one: float | None, other: float | None) -> tuple[float, float] | None:
    """Both coordinates or none."""
    if (one is None) != (other is None):
        raise click.UsageError("a place needs both of its coordinates")
    return None if one is None or other is None else (one, other)


@main.command()
@SCENES
@OUT
@FORCE
@click.option("--position-sigma-m", type=Within(0.0, 1e4), default=0.0, metavar="METRES",
              help="Believe no sensor's survey to be better than this.")  # fmt: skip
@click.option("--clock-sigma-s", type=Within(0.0, 3600.0), default=0.0, metavar="SECONDS",
              help="Believe no sensor's clock to be better than this.")  # fmt: skip
@JSON
def calibrate(
    scenes: tuple[Path, ...], out: Path, force: bool, position_sigma_m: float, clock_sigma_s: float, as_json: bool
) -> None:
    """Correct where sensors stand and what their clocks show, from shots in SCENE...

    The scenes share one network and one frame. With truth.csv, and pulses.csv that says which pulse belongs to which
    shot, the survey of the shots counts; without any truth, well-heard shots are located and must agree. DIR receives
    a new sensors.csv, what was learnt of each sensor and path, a picture and a summary.

    \b
    Example:
        shotfix calibrate live-fire/FP1-* --out build/calibration --position-sigma-m 3
    """
    from shotfix.calibrating import calibrate_scenes, told

    summary = calibrate_scenes(scenes, out, force=force, position_sigma_m=position_sigma_m, clock_sigma_s=clock_sigma_s)
    for warning in summary["warnings"]:
        complain(f"warning: {one_line(warning)}")
    click.echo(json.dumps(summary) if as_json else told(summary, out))


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
@JSON
def demo(scene: Path, out: Path, force: bool, as_json: bool) -> None:
    """Play a scene and deliver its alerts to a receiver process that prints what a dispatcher reads.

    \b
    Example:
        shotfix demo fixtures/scenes/demo-night --out build/demo
    """
    from shotfix.demo import show

    summary = show(scene, out, force=force, say=functools.partial(click.echo, err=as_json))
    if as_json:
        click.echo(json.dumps(summary | {"out": str(out)}))


for command in (*LIVE, places, token, record, ledger, labels):
    main.add_command(command)

if __name__ == "__main__":
    main()
