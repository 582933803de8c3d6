"""The commands of places: to make a gazetteer from a city's own files, and to ask it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shotfix.command_line import BAD_DATA, JSON, SOMEWHERE, Within, complain, one_line

if TYPE_CHECKING:
    from alerts.place import Surroundings
    from alerts.places.importing import Report

KINDS: Final = ("addresses", "intersections", "streets", "ranges", "beats", "parks", "parcels")
PLACES: Final = "places.db"
NOT_HELD: Final = frozenset({"own addresses", "whole towns"})
"""Of what was counted, what is never told."""

STATED = click.option(
    "--as", "stated", multiple=True, type=(click.Choice(KINDS), SOMEWHERE), metavar="KIND FILE",
    help=f"A file that does not say itself what it holds: {', '.join(KINDS)}. May be repeated.",
)  # fmt: skip
COLUMN_NAMES = click.option(
    "--columns", multiple=True, metavar="MEANING=COLUMN,...",
    help="What a file calls number, street, full, city, latitude, longitude, crossing_with or name.",
)  # fmt: skip


@click.group()
def places() -> None:
    """Make and ask a gazetteer: what stands where, from a city's own files."""


@places.command(name="import")
@click.argument("files", nargs=-1, type=SOMEWHERE, metavar="FILE...")
@click.option("--into", type=SOMEWHERE, default=PLACES, show_default=True, metavar="FILE", help="What to write.")
@STATED
@COLUMN_NAMES
@click.option("--attribution", multiple=True, metavar="TEXT",
              help="Whose the data are and under which licence; kept with them. May be repeated.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an earlier file of places.")
@JSON
def import_(
    files: tuple[Path, ...], into: Path, stated: tuple[tuple[str, Path], ...], columns: tuple[str, ...],
    attribution: tuple[str, ...], force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Read addresses, streets, beats and parks from FILEs: GeoJSON or CSV, also compressed with gzip.

    Understood without a word are OpenAddresses, address points of OpenStreetMap or of a 911 centre (NENA), TIGER
    address ranges, streets and grounds of OpenStreetMap, and tables with latitude and longitude. Degrees only.

    \b
    Example:
        shotfix places import addresses.csv streets.geojson --as beats districts.geojson --into places.db
    """
    from alerts.places.files import ChoiceError, PlacesError
    from alerts.places.importing import Given, import_places
    from shotfix.progress import progress

    given = [Given(path) for path in files] + [Given(path, kind) for kind, path in stated]  # type: ignore[arg-type]  # a Choice
    size = sum(one.path.stat().st_size for one in given if one.path.is_file())
    try:
        with progress("Reading", size / 1e6, "MB") as advance:
            report = import_places(
                given, into, columns=_columns(columns), attribution=attribution, force=force,
                advance=lambda count: advance(count / 1e6),
            )  # fmt: skip
    except ChoiceError as error:
        raise click.UsageError(one_line(error)) from None
    except PlacesError as error:
        complain(one_line(error))
        raise click.exceptions.Exit(BAD_DATA) from None
    if as_json:
        click.echo(json.dumps(_as_table(report)))
        return
    for each in report.files:
        click.echo(one_line(each.words()))
    click.echo(one_line(_made(report)))
    if report.attribution:
        click.echo(one_line(f"attribution: {report.attribution}"))


def _columns(given: tuple[str, ...]) -> dict[str, str]:
    said = {}
    for part in (part for one in given for part in one.split(",")):
        meaning, equals, column = (word.strip() for word in part.partition("="))
        if not (meaning and equals and column):
            raise click.UsageError(f"--columns {part!r}: expected MEANING=COLUMN, as street=ROADNAME")
        said[meaning] = column
    return said


def _as_table(report: Report) -> dict[str, Any]:
    files = [
        {
            "file": one.name,
            "read": dict(one.found),
            "passed_over": dict(one.passed),
            "skipped": one.skipped,
            "examples": list(one.examples),
            "attribution": one.attribution,
        }
        for one in report.files
    ]
    counts = {name.replace(" ", "_"): count for name, count in report.counts.items()}
    told = {"into": str(report.into), "sha256": report.sha256, "counts": counts, "files": files}
    return told | {"attribution": report.attribution}


def _made(report: Report) -> str:
    held = {kind: count for kind, count in report.counts.items() if count and kind not in NOT_HELD}
    said = f"{report.into}: {', '.join(f'{count:,} {kind}' for kind, count in held.items())}"
    if towns := report.counts["whole towns"]:
        said += f"; left out {towns:,} large parcels that hold most of the town"
    if own := report.counts["own addresses"]:
        said += f"; {own:,} addresses stand for large parcels as a whole, and are never told"
    return f"{said}; sha256 {report.sha256}"


@places.command(context_settings={"ignore_unknown_options": True})  # a longitude below zero is none
@click.argument("latitude", type=Within(-90.0, 90.0))
@click.argument("longitude", type=Within(-180.0, 180.0))
@click.option("--in", "file", type=SOMEWHERE, default=PLACES, show_default=True, metavar="FILE")
@click.option("--radius", "radius_m", type=Within(0.1, 1_000.0), metavar="M", help="Also count what lies around it.")
@JSON
def look(latitude: float, longitude: float, file: Path, radius_m: float | None, as_json: bool) -> None:
    """Say what an alert would say of a place: degrees, latitude first.

    \b
    Example:
        shotfix places look 41.7805 -72.6904 --in places.db
    """
    import msgspec

    from alerts.gazetteer import Gazetteer, GazetteerError

    try:
        with Gazetteer.open(file) as gazetteer:
            gazetteer.verify()
            found = gazetteer.describe(latitude, longitude, _circle(latitude, longitude, radius_m))
            about = gazetteer.about()
    except GazetteerError as error:
        complain(one_line(error))
        raise click.exceptions.Exit(BAD_DATA) from None
    said = (about["attribution"], *(source["attribution"] for source in about["sources"]))
    whose = "; ".join(dict.fromkeys(one for one in said if one))
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found) | {"sha256": about["sha256"], "attribution": whose}))
        return
    for line in _lines(found, around=radius_m is not None):
        click.echo(line)
    if whose:
        click.echo(f"Attribution:   {one_line(whose)}")


def _circle(latitude: float, longitude: float, radius_m: float | None) -> Any:
    if radius_m is None:
        return None
    from localization.ellipse import Ellipse
    from sensors.site import Geodetic

    return tuple(Ellipse(radius_m, radius_m, 0.0).outline(Geodetic(latitude, longitude, 0.0)))


def _lines(found: Surroundings, *, around: bool) -> list[str]:
    from alerts.words import DIRECTIONS

    def told(thing: Any) -> str:
        if thing is None:
            return "none near enough"
        return f"{thing.distance_m:.0f} m {DIRECTIONS[round(thing.bearing_deg / 45.0) % 8]} of {one_line(thing.text)}"

    inside = {
        None: "not known",
        True: f"inside {one_line(found.parcel or 'one without a name')}",
        False: "not inside one",
    }
    said = [
        f"Address:       {told(found.address)}",
        f"Intersection:  {told(found.intersection)}",
        f"Beat:          {one_line(found.beat or 'not known')}",
        f"Large parcel:  {inside[found.large_parcel]}",
    ]
    if around:
        said.append(f"Around it:     {found.addresses_touched:,} addresses")
        said += [f"               {told(one)}" for one in found.addresses]
    return said
