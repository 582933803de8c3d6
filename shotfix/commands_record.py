"""The commands of whoever keeps, or doubts, a record: ledger verify and export, record backup and check."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from shotfix.command_line import JSON, JUDGED, SOMEWHERE, one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from alerts.policy import Policy
    from alerts.record.chain import Verdict
    from alerts.record.heads import Head
    from shotfix.config import ExpectedConfig, SiteConfig

HEADS: Final = "ledger.heads"
"""Where a centre notes its ledger's heads, in its data_dir."""

VARIABLE: Final = "env:"

KEPT: Final = "the record that was there is now in the schema {} of the same database"

_CENTRE: Final = "shotfix.config"
"""Where a command remembers which configuration it was told of."""

HEADS_OPTION = click.option(
    "--heads", type=SOMEWHERE, metavar="FILE", help="Heads noted earlier; by itself ledger.heads beside the record."
)
NO_HEADS = click.option(
    "--no-heads", is_flag=True, help="Compare with none; beside a database of a server there are none."
)


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The two ways to say which record: its place, or the configuration of its centre."""
    place = click.option(
        "--record", "record", metavar="FILE|URL", envvar="SHOTFIX_RECORD",
        help="record.db, or postgresql://...; with a password better env:NAME, or by the variable SHOTFIX_RECORD.",
    )  # fmt: skip
    centre = click.option(
        "--config", type=SOMEWHERE, metavar="FILE", expose_value=False, callback=_remember,
        help="A centre's site.toml: its record, and what is beside it.",
    )  # fmt: skip
    return place(centre(command))


def _remember(context: click.Context, _: click.Parameter, config: Path | None) -> None:
    context.meta[_CENTRE] = config


@click.group()
def ledger() -> None:
    """Verify and export the ledger of what was said and done."""


@ledger.command("verify")
@record_options
@click.option("--file", "exported", type=SOMEWHERE, metavar="FILE", help="An export, instead of a record.")
@HEADS_OPTION
@NO_HEADS
@JSON
def verify_ledger(record: str | None, exported: Path | None, heads: Path | None, no_heads: bool, as_json: bool) -> None:
    """Is the ledger intact, and is every document what it says? Exit 1 when not, naming the first broken entry.

    Changes nothing, on a copy too. Without heads, entries that were cut off at the end cannot be told.

    \b
    Example:
        shotfix ledger verify --config site.toml
    """
    from alerts.record.audit import audit, audit_entries
    from alerts.record.database import StoreError
    from alerts.record.looking import looking_at, read_entries

    if exported is not None:
        noted = noted_heads(heads, exported.with_name(HEADS), no_heads=no_heads)
        verdict = audit_entries(read_entries(exported), noted)
        if not verdict.entries and verdict.intact:
            raise StoreError(f"{exported}: there are no entries in it; name an export of a ledger")
    else:
        where = named(record)
        noted = noted_heads(heads, _beside(where), no_heads=no_heads)
        with looking_at(where) as database:
            verdict = audit(database.reading, noted)
    tell_verdict(verdict, documents=exported is None, as_json=as_json)


@ledger.command("export")
@record_options
@click.option("--out", "out", type=SOMEWHERE, metavar="FILE", help="Where to; by itself standard output.")
@click.option("--json", "as_json", is_flag=True, help="With --out: one JSON object; else they are JSON lines anyway.")
def export_ledger(record: str | None, out: Path | None, as_json: bool) -> None:
    """Write the ledger as lines of JSON, which anybody can verify without shotfix: docs/ledger.md says how.

    \b
    Example:
        shotfix ledger export --record data/record.db --out ledger.jsonl
    """
    from alerts.record.database import StoreError
    from alerts.record.looking import entries_of, looking_at, write_entries

    with looking_at(named(record)) as database:
        if out is None:
            write_entries(entries_of(database), sys.stdout.buffer)
            return
        try:
            handle = os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise StoreError(f"{out}: exists; move it away, or name another file") from None
        except OSError as error:
            raise StoreError(f"{out}: {error.strerror}; check the path and its permissions") from error
        with os.fdopen(handle, "wb") as file:
            count = write_entries(entries_of(database), file)
    click.echo(json.dumps({"file": str(out), "entries": count}) if as_json else f"{count} entries are in {out}")


@click.group()
def record() -> None:
    """Copy and check the record of alerts."""


@record.command("backup")
@record_options
@click.option("--out", "out", type=SOMEWHERE, required=True, metavar="FILE", help="Must not exist.")
@JSON
def backup_record(record: str | None, out: Path, as_json: bool) -> None:
    """Copy a record, which may be in use, into one file: of SQLite, or of pg_dump.

    \b
    Example:
        shotfix record backup --record data/record.db --out record-monday.db
    """
    from alerts.record.backup import copy_file
    from alerts.record.database import StoreError, is_url
    from alerts.record.server_copy import dump_server

    where = named(record)
    if is_url(where):
        dump_server(str(where), out)
    else:
        if not Path(where).is_file():
            raise StoreError(f"{where}: no such file; name the record to copy")
        copy_file(Path(where), out)
    size = out.stat().st_size
    click.echo(json.dumps({"file": str(out), "bytes": size}) if as_json else f"{out} is written, {size} bytes")


@record.command("restore")
@click.argument("copy", type=SOMEWHERE, metavar="COPY")
@record_options
@click.option("--replace", is_flag=True, help="On a server: a record that is there is kept under another name.")
@HEADS_OPTION
@NO_HEADS
@JSON
def restore_record(
    copy: Path, record: str | None, replace: bool, heads: Path | None, no_heads: bool, as_json: bool
) -> None:
    """Put a copy of `record backup` back where no record is, and verify its ledger. Exit 1 when that is broken.

    On a server into a database that is empty, but there. Put back only what you trust: such a copy is statements.

    \b
    Example:
        shotfix record restore record-monday.pgdump --config site.toml
    """
    from alerts.record.backup import restore_file
    from alerts.record.database import is_url
    from alerts.record.server_copy import restore_server

    where = named(record)
    noted = noted_heads(heads, _beside(where), no_heads=no_heads)
    former = None
    if is_url(where):
        former = restore_server(str(where), copy, replace=replace)
    elif replace:
        raise click.UsageError("--replace is for a server's record; move the file away, and those beside it")
    else:
        restore_file(copy, Path(where))
    if former is not None:  # at once: what follows may fail, and nothing else says its name
        click.echo(KEPT.format(former), err=as_json)
    tell_verdict(verified(where, noted), documents=True, as_json=as_json, former=former)


@record.command("check")
@record_options
@JSON
def check_record(record: str | None, as_json: bool) -> None:
    """Read all of a record: is it whole, are its guards there, what does it hold? Exit 1 when something is wrong.

    \b
    Example:
        shotfix record check --record data/record.db
    """
    from alerts.record.looking import findings, looking_at

    with looking_at(named(record)) as database:
        counts, wrong = findings(database)
    if as_json:
        click.echo(json.dumps({"ok": not wrong, "rows": counts, "wrong": wrong}))
    else:
        click.echo(", ".join(f"{name} {count}" for name, count in counts.items()))
        for words in wrong or ["nothing is wrong"]:
            click.echo(one_line(words))
    if wrong:
        raise click.exceptions.Exit(JUDGED)


def named(record: str | None) -> Path | str:
    """Where a record is, as `record_options` was told.

    Raises
    ------
    click.UsageError
        When nobody said where, said it twice, or the variable that should say it is not set.
    """
    centre = _centre()
    if centre is not None:
        if click.get_current_context().get_parameter_source("record") is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--record and --config: say one of them")
        return centre.record_at
    if record is None:
        raise click.UsageError("say which record: --record FILE or URL, or --config site.toml")
    return address(record)


def address(record: str) -> str:
    """The place of a record, which a variable may hold.

    Raises
    ------
    click.UsageError
        When the variable is not set.
    """
    if not record.startswith(VARIABLE):
        return record
    where = os.environ.get(record.removeprefix(VARIABLE), "")
    if not where:
        raise click.UsageError(f"{record}: not set; put the record's address there")
    return where


def _centre() -> SiteConfig | None:
    """The configuration that ``--config`` named."""
    from shotfix.config_reading import read_site

    config = click.get_current_context().meta.get(_CENTRE)
    return None if config is None else read_site(config)


def policy_told() -> tuple[Policy, ExpectedConfig]:
    """The policy, and what is to be expected, of the centre that ``--config`` named; else as they are by themselves."""
    from alerts.policy import Policy
    from shotfix.config import ExpectedConfig

    centre = _centre()
    return (Policy(), ExpectedConfig()) if centre is None else (centre.policy, centre.expected)


def _beside(where: Path | str) -> Path | None:
    """Where the heads of a record are by themselves."""
    from alerts.record.database import is_url

    centre = _centre()
    if centre is not None:
        return centre.site.data_dir / HEADS
    return None if is_url(where) else Path(where).with_name(HEADS)


def noted_heads(heads: Path | None, beside: Path | None, *, no_heads: bool) -> tuple[Head, ...]:
    """The heads to compare a ledger's end with: of a file that was named, or of the one beside it.

    Raises
    ------
    StoreError
        When the file that was named is not there, or holds none.
    click.UsageError
        When there is no file, and nobody said that there is none.
    """
    from alerts.record.database import StoreError
    from alerts.record.heads import HeadsFile

    if no_heads:
        if heads is not None:
            raise click.UsageError("--heads and --no-heads: say one of them")
        return ()
    if heads is not None and not heads.is_file():
        raise StoreError(f"{heads}: no such file; name the file of heads, or leave it out")
    path = heads or beside
    if path is None:  # to pass over it would be to call whole what was cut off
        raise click.UsageError(
            "a server's record has no heads beside it; name them with --heads ledger.heads, or the centre's site.toml "
            "with --config, or say --no-heads: then nobody can tell whether entries were cut off at the end"
        )
    noted = HeadsFile(path).read()
    if heads is not None and not noted:
        raise StoreError(f"{heads}: there are no heads in it; name the file of heads, or leave it out")
    return noted


def verified(where: Path | str, noted: tuple[Head, ...]) -> Verdict:
    """What is found of a record that was put back.

    Raises
    ------
    StoreError
        When it cannot be told.
    """
    from alerts.record.audit import audit
    from alerts.record.database import StoreError
    from alerts.record.looking import looking_at

    try:
        with looking_at(where) as database:
            return audit(database.reading, noted)
    except StoreError as error:
        raise StoreError(f"the record is put back, and could not be verified: {error}") from error


def tell_verdict(verdict: Verdict, *, documents: bool, as_json: bool, **more: object) -> None:
    """Tell what a walk along a ledger found; a broken one ends the command."""
    if as_json:
        click.echo(json.dumps({"intact": verdict.intact} | dataclasses.asdict(verdict) | more))
    else:
        for line in _told(verdict, documents=documents):
            click.echo(one_line(line))
    if not verdict.intact:
        raise click.exceptions.Exit(JUDGED)


def _told(verdict: Verdict, *, documents: bool) -> list[str]:
    number, digest = verdict.head
    lines = [f"{verdict.entries} entries, the last with the digest {digest}"] if number else ["no entries"]
    if documents:
        lines.append(f"{verdict.documents} documents compared, {verdict.retired} retired")
    noted = f"{verdict.heads} noted heads compared" if verdict.heads else "no noted heads to compare the end with"
    lines.append(noted)
    if verdict.fault is None:
        return [*lines, "intact"]
    return [*lines, f"BROKEN, {verdict.fault.what}: {verdict.fault.text}"]
