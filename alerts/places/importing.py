"""Importing: a city's own files into one file of places, with an account of every row."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alerts.places.columns import OVERRIDES, Columns
from alerts.places.files import ChoiceError, CityFile, PlacesError
from alerts.places.ground import away
from alerts.places.layout import APPLICATION
from alerts.places.meaning import (
    KINDS,
    Bad,
    FoundAddress,
    FoundArea,
    FoundCrossing,
    FoundStreet,
    Passed,
    Unclear,
    hinted,
    meaning,
)
from alerts.places.writing import Source, write_places

if TYPE_CHECKING:
    from alerts.places.files import Feature
    from alerts.places.meaning import Found, Kind
    from alerts.places.staging import Staging

EXAMPLES: Final = 3  # of rows that were skipped
ENOUGH: Final = 1_000  # rows without one good among them: the file as a whole is wrong
ONE_CITY_KM: Final = 500.0
"""Between the files of one import: farther apart one of them is misplaced, as one with its axes exchanged is."""


@dataclass(frozen=True, slots=True)
class Given:
    """A file, and what it holds where the user says so."""

    path: Path
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of a file's rows.

    Parameters
    ----------
    name : str
        Of the file.
    found : mapping
        How many by kind: addresses, intersections, streets, blocks (stretches of street with house numbers), beats,
        parcels.
    passed : mapping
        How many were nothing that is kept, by what they are.
    skipped : int
        Rows that should have said something and did not.
    examples : tuple of str
        The first of them, with where they stand.
    attribution : str
        What the file itself says of its origin and licence.
    """

    name: str
    found: Mapping[str, int]
    passed: Mapping[str, int]
    skipped: int
    examples: tuple[str, ...]
    attribution: str

    def words(self) -> str:
        """One line: how many were read, passed over and skipped."""
        read = ", ".join(f"{count:,} {kind}" for kind, count in self.found.items()) or "nothing"
        said = f"read {read} from {self.name}"
        if self.passed:
            said += "; passed over " + ", ".join(f"{count:,} {what}" for what, count in sorted(self.passed.items()))
        if self.skipped:
            more = ", ..." if self.skipped > len(self.examples) else ""
            said += f"; skipped {self.skipped:,}: {', '.join(self.examples)}{more}"
        return said


@dataclass(frozen=True, slots=True)
class Report:
    """What was made of them all: ``counts`` of what can be found in it, and the digest of what it says."""

    into: Path
    sha256: str
    counts: Mapping[str, int]
    files: tuple[FileReport, ...]
    attribution: str


@dataclass(slots=True)
class _Tally:
    found: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    unclear: Counter[str] = field(default_factory=Counter)
    choices: tuple[Kind, ...] = ()
    mistakes: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    lacking_street: int = 0
    examples: list[str] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)
    somewhere: tuple[float, float] | None = None


def import_places(
    files: Sequence[Given | Path],
    into: Path,
    *,
    columns: Mapping[str, str] | None = None,
    attribution: Sequence[str] = (),
    force: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Report:
    """Make a file of places from a city's own files.

    Parameters
    ----------
    files : sequence
        GeoJSON (whole, or one feature a line) or CSV, plain or compressed by gzip, in degrees of WGS84 or NAD83.
    into : Path
        What to write; complete, or as it was before.
    columns : mapping
        Column by meaning (`alerts.places.columns.OVERRIDES`), where a file calls it something that is not known.
    attribution : sequence of str
        Whose the data are, and under which licence: kept in the file.
    force : bool
        Whether an earlier file of places may be replaced.
    advance : callable
        Told how many bytes were read since it was last called.

    Raises
    ------
    ChoiceError
        When it is not clear what a file holds; the message names the option.
    PlacesError
        When a file cannot be read or holds nothing of use, or ``into`` cannot be written.
    """
    given = [one if isinstance(one, Given) else Given(one) for one in files]
    known = Columns(columns or {})
    _check_given(given, into, known, force=force)
    reports: list[FileReport] = []
    places: list[tuple[Path, tuple[float, float]]] = []

    def read(staging: Staging) -> list[Source]:
        sources = []
        for one in given:
            report, somewhere = _read_file(one, known, staging, advance)
            _check_near(one.path, somewhere, places)
            reports.append(report)
            counts = ", ".join(f"{count} {kind}" for kind, count in report.found.items())
            sources.append((one.path.name, _file_digest(one.path), counts, report.attribution))
        return sources

    stated = "; ".join(attribution)
    digest, counts = write_places(into, read, stated)
    whole = "; ".join(dict.fromkeys(said for said in (stated, *(one.attribution for one in reports)) if said))
    return Report(into, digest, counts, tuple(reports), whole)


def _check_given(given: Sequence[Given], into: Path, columns: Columns, *, force: bool) -> None:
    if not given:
        raise ChoiceError("no file to read; give the city's files of addresses, streets, beats or parks")
    for meaning_of in columns.given:
        if meaning_of not in OVERRIDES:
            raise ChoiceError(f"{meaning_of}: no meaning of a column; expected one of {', '.join(OVERRIDES)}")
    for one in given:
        if one.kind is not None and one.kind not in KINDS:
            raise ChoiceError(f"{one.kind}: no kind of file; expected one of {', '.join(KINDS)}")
        if one.path.resolve() == into.resolve():
            raise ChoiceError(f"{into}: read and written at once; name another file to write")
    if into.exists() and not _is_ours(into):
        raise ChoiceError(f"{into}: there already, and no file of places; name another file to write")
    if into.exists() and not force:
        raise ChoiceError(f"{into}: there already; replace it with --force, or name another file to write")


def _is_ours(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            said = connection.execute("SELECT value FROM about WHERE key = 'application'").fetchone()
    except sqlite3.Error:
        return False
    return bool(said == (APPLICATION,))


def _read_file(
    given: Given, columns: Columns, staging: Staging, advance: Callable[[int], None]
) -> tuple[FileReport, tuple[float, float] | None]:
    tally = _Tally()
    city = CityFile(given.path, columns, advance)
    hint = hinted(given.path.name)
    titled = False
    for feature in city.features():
        if city.title and not titled:
            titled, hint = True, hinted(given.path.name, city.title)
        _keep(meaning(feature, columns, given.kind, hint), feature, staging, tally)
        if tally.mistakes and not tally.found and sum(tally.mistakes.values()) >= ENOUGH:
            break
    _check_useful(given, city, tally)
    tally.passed.update(tally.unclear)
    report = FileReport(
        given.path.name, dict(tally.found), dict(tally.passed), tally.skipped, tuple(tally.examples), city.attribution
    )
    return report, tally.somewhere


def _keep(found: Found, feature: Feature, staging: Staging, tally: _Tally) -> None:
    if isinstance(found, Bad):
        tally.skipped += 1
        tally.lacking_street += found.lacks_street
        tally.mistakes.update([found.mistake] if found.mistake else [])
        tally.first.setdefault(found.mistake, f"{feature.where}: {found.why}")
        if len(tally.examples) < EXAMPLES:
            tally.examples.append(f"{feature.where} ({found.why})")
    elif isinstance(found, Passed):
        tally.passed[found.why] += 1
    elif isinstance(found, Unclear):
        tally.unclear[found.what] += 1
        tally.choices = found.choices
    else:
        _stage(found, staging, tally)


def _stage(found: FoundAddress | FoundCrossing | FoundStreet | FoundArea, staging: Staging, tally: _Tally) -> None:
    if isinstance(found, FoundAddress):
        staging.address(found)
        tally.found["addresses"] += 1
    elif isinstance(found, FoundCrossing):
        staging.crossing(found)
        tally.found["intersections"] += 1
    elif isinstance(found, FoundStreet):
        staging.street(found)
        tally.found["blocks" if found.left or found.right else "streets"] += 1
    elif staging.area(found):
        tally.found["beats" if found.kind == "beat" else "large parcels"] += 1
    elif found.door is not None:
        staging.address(found.door)
        tally.found["addresses"] += 1
    else:
        tally.passed["parcels that are not large"] += 1
    if tally.somewhere is None:
        tally.somewhere = _somewhere(found)


def _somewhere(found: FoundAddress | FoundCrossing | FoundStreet | FoundArea) -> tuple[float, float]:
    if isinstance(found, FoundAddress | FoundCrossing):
        return found.latitude, found.longitude
    west, south, *_ = (found.line if isinstance(found, FoundStreet) else found.shape).bounds
    return float(south), float(west)


def _check_useful(given: Given, city: CityFile, tally: _Tally) -> None:
    kept = sum(tally.found.values())
    swapped, projected = tally.mistakes["swapped"], tally.mistakes["projected"]
    if swapped > kept and swapped >= projected:
        remedy = (
            "say which is which: --columns latitude=COLUMN,longitude=COLUMN"
            if city.header
            else "GeoJSON puts longitude first (RFC 7946, 3.1.1); write the file anew that way"
        )
        raise PlacesError(f"{given.path}: latitude and longitude seem exchanged ({tally.first['swapped']}); {remedy}")
    if projected > kept:
        raise PlacesError(
            f"{given.path}: not in degrees ({tally.first['projected']}); "
            "convert it to longitude and latitude first (ogr2ogr -t_srs EPSG:4326)"
        )
    if kept:
        return
    if tally.unclear:
        (what, count), *_ = tally.unclear.most_common(1)
        options = " or ".join(f"--as {choice} {given.path}" for choice in tally.choices)
        raise ChoiceError(f"{given.path}: {count:,} {what}, and nothing says what they are; say {options}")
    passed = ", ".join(f"{count:,} {what}" for what, count in sorted(tally.passed.items()))
    why = tally.examples[0] if tally.examples else passed or "no rows"
    known = f"; its columns are {', '.join(city.header)[:200]}" if city.header else ""
    if tally.lacking_street and not city.header:
        raise PlacesError(
            f"{given.path}: no street in this file, {tally.lacking_street:,} house numbers alone ({why}); leave it "
            "out, or take an extract with addr:street; a street under another name is said by --columns street=NAME"
        )
    raise PlacesError(
        f"{given.path}: nothing of use in it, as {why}{known}; leave it out, or name its columns with --columns"
    )


def _check_near(path: Path, here: tuple[float, float] | None, places: list[tuple[Path, tuple[float, float]]]) -> None:
    if here is None:
        return
    if places:
        other, there = places[0]
        apart_km = away(*there, *here)[0] / 1000.0
        if apart_km > ONE_CITY_KM:
            raise PlacesError(
                f"{path}: {apart_km:,.0f} km from {other.name}; are latitude and longitude exchanged in one of them? "
                "files of one import lie in one city"
            )
    places.append((path, here))


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise PlacesError(f"{path}: cannot be read ({error.strerror or error})") from None
