"""The commands of an installer: to enrol a sensor node, and to try its microphone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shotfix.command_line import CONFIG, JSON, JUDGED, NUMBER, OUT, SOMEWHERE, Within, complain, one_line

if TYPE_CHECKING:
    from sensors.site import Site
    from shotfix.config import NodeConfig

SECONDS = click.option(
    "--seconds", type=Within(1.0, 3600.0), default=10.0, show_default=True, help="How long to listen."
)


@click.group()
def node() -> None:
    """Enrol and test sensor nodes."""


@node.command()
@click.option("--node-id", required=True, metavar="NAME", help="Of the device: letters, digits, - and _.")
@click.option("--sensor-id", metavar="NAME", help="Of its microphone; by itself, as the node.")
@click.option("--latitude", type=Within(-90.0, 90.0), metavar="DEG", help="As surveyed, WGS84.")
@click.option("--longitude", type=Within(-180.0, 180.0), metavar="DEG")
@click.option("--height", type=NUMBER, metavar="M", help="Above the WGS84 ellipsoid.")
@click.option("--east-m", type=NUMBER, help="Or in a plane of one's own.")
@click.option("--north-m", type=NUMBER)
@click.option("--up-m", type=NUMBER)
@click.option("--sigma", "sigma_m", type=Within(0.0, 1e4), default=1.0, show_default=True, metavar="M",
              help="Of the survey, one standard deviation, each horizontal axis.")  # fmt: skip
@click.option("--up-sigma", "up_sigma_m", type=Within(0.0, 1e4), default=2.0, show_default=True, metavar="M")
@click.option("--clock-sigma", "clock_sigma_s", type=Within(0.0, 3600.0), default=0.0002, show_default=True,
              metavar="S", help="Of the clock, where it does not say so itself.")  # fmt: skip
@click.option("--full-scale", "full_scale_db_spl", type=Within(50.0, 200.0), metavar="DB",
              help="Peak dB SPL that drives the microphone to full scale, from its data sheet.")  # fmt: skip
@click.option("--centre", default="http://127.0.0.1:8732", show_default=True, metavar="URL")
@click.option("--device", multiple=True, default=("default",), show_default=True, metavar="NAME",
              help="Of the microphone, the first that fits; may be repeated.")  # fmt: skip
@click.option("--clock", type=click.Choice(["chrony", "adjtimex", "pps", "ptp", "stated"]), default="chrony",
              show_default=True, help="Who disciplines the device's clock.")  # fmt: skip
@OUT
@click.option("--data-dir", default="data", show_default=True, metavar="DIR", help="Where the spool is to lie.")
@click.option("--network", type=SOMEWHERE, metavar="FILE", help="network.toml to add the node to.")
@click.option("--clap", is_flag=True, help="Then listen for a clap, and look at the clock.")
@SECONDS
@JSON
def enrol(
    node_id: str, sensor_id: str | None, sigma_m: float, up_sigma_m: float, clock_sigma_s: float,
    full_scale_db_spl: float | None, centre: str, device: tuple[str, ...], clock: str, data_dir: str, out: Path,
    network: Path | None, clap: bool, seconds: float, as_json: bool, **place: float | None,
) -> None:  # fmt: skip
    """Make a node's key and configuration in DIR, and what the centre must know of it.

    \b
    Example:
        shotfix node enrol --node-id garden-st --latitude 41.7805 --longitude -72.6904 --height 12 \\
            --sigma 1.5 --full-scale 120 --centre https://centre.example.org:8732 --out garden-st
    """
    from shotfix.config_reading import read_node
    from shotfix.enrolling import Enrolment, enrol

    site = _site(sensor_id or node_id, (sigma_m, up_sigma_m, clock_sigma_s), full_scale_db_spl, place)
    made = enrol(Enrolment(node_id, site, {"url": centre}, device, clock, data_dir), out, network)
    if not as_json:
        click.echo(f"{out / 'node.toml'} and its key are written; the key never leaves the device")
        told = f"{network}, now revision {made['revision']}" if network else "the centre's network.toml should hold"
        click.echo(f"{'added to ' if network else ''}{told}:\n\n{made['addition']}")
    ok = True
    if clap:
        made["test"], ok = _clap(read_node(out / "node.toml"), seconds, quiet=as_json)
    if as_json:
        click.echo(json.dumps(made))
    if not ok:
        raise click.exceptions.Exit(JUDGED)


def _site(
    sensor_id: str, sigmas: tuple[float, float, float], full_scale_db_spl: float | None, place: dict[str, float | None]
) -> Site:
    from shotfix.enrolling import site_of

    degrees = [place[key] for key in ("latitude", "longitude", "height")]
    metres = [place[key] for key in ("east_m", "north_m", "up_m")]
    for given, words in ((degrees, "--latitude, --longitude and --height"), (metres, "--east-m, --north-m and --up-m")):
        if any(value is not None for value in given) and None in given:
            raise click.UsageError(f"a place needs all of {words}")
    try:
        return site_of(
            sensor_id,
            degrees=None if None in degrees else tuple(degrees),  # type: ignore[arg-type]  # three, none of them None
            metres=None if None in metres else tuple(metres),  # type: ignore[arg-type]  # three, none of them None
            position_sigma_m=sigmas[0],
            up_sigma_m=sigmas[1],
            clock_sigma_s=sigmas[2],
            full_scale_db_spl=full_scale_db_spl,
        )
    except ValueError as error:
        raise click.UsageError(one_line(error)) from None


@node.command()
@CONFIG
@SECONDS
@JSON
def clap(config: Path, seconds: float, as_json: bool) -> None:
    """Listen for a clap: is the microphone heard, how loud, how noisy, how sure is the time? Exit 1 when not well.

    \b
    Example:
        shotfix node clap --config garden-st/node.toml
    """
    from shotfix.config_reading import read_node

    told, ok = _clap(read_node(config), seconds, quiet=as_json)
    if as_json:
        click.echo(json.dumps(told))
    if not ok:
        raise click.exceptions.Exit(JUDGED)


def _clap(config: NodeConfig, seconds: float, *, quiet: bool) -> tuple[dict[str, Any], bool]:
    from shotfix.doctor import clock
    from shotfix.selftest import clap_test

    heard = clap_test(config, seconds, complain)
    times = list(clock(config))
    if not quiet:
        for each in heard:
            click.echo(one_line(each.told()))
        for finding in times:
            click.echo(f"{finding.verdict:<4}  {one_line(finding.words())}")
    ok = not any(each.remedy for each in heard) and not any(finding.verdict == "FAIL" for finding in times)
    table = {"sensors": [each.as_table() for each in heard], "clock": [finding.as_table() for finding in times]}
    return {"ok": ok} | table, ok
