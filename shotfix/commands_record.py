"""The commands of whoever keeps, or doubts, a record: ledger verify and export, record backup and check."""
# ruff: noqa: D301, PLC0415  (\\b is the mark of click; each command pays only for its own imports)

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
    from alerts.record.chain import Verdict
    from alerts.record.heads import Head

HEADS: Final = "ledger.heads"
"""Where a centre notes its ledger's heads, in its data_dir."""

VARIABLE: Final = "env:"

RECORD = click.option(
    "--record", "record", metavar="FILE|URL", envvar="SHOTFIX_RECORD",
    help="record.db, or postgresql://...; with a password better env:NAME, or by the variable SHOTFIX_RECORD.",
)  # fmt: skip


@click.group()
def ledger() -> None:
    """Verify and export the ledger of what was said and done."""


@ledger.command("verify")
@RECORD
@click.option("--file", "exported", type=SOMEWHERE, metavar="FILE", help="An export, instead of a record.")
@click.option("--config", type=SOMEWHERE, metavar="FILE", help="A centre's site.toml: its record, and its heads.")
@click.option("--heads", type=SOMEWHERE, metavar="FILE", help="Heads noted earlier; by itself ledger.heads beside it.")
@click.option("--no-heads", is_flag=True, help="Compare with none; beside a database of a server there are none.")
@JSON
def verify_ledger(
    record: str | None, exported: Path | None, config: Path | None, heads: Path | None, no_heads: bool, as_json: bool
) -> None:
    """Is the ledger intact, and is every document what it says? Exit 1 when not, naming the first broken entry.

    Changes nothing, on a copy too. Without heads, entries that were cut off at the end cannot be told.

    \b
    Example:
        shotfix ledger verify --record data/record.db
    """
    from alerts.record.audit import audit, audit_entries
    from alerts.record.database import StoreError
    from alerts.record.looking import looking_at, read_entries

    if heads is not None and no_heads:
        raise click.UsageError("--heads and --no-heads: say one of them")
    if exported is not None:
        verdict = audit_entries(read_entries(exported), () if no_heads else _heads(heads, exported.with_name(HEADS)))
        if not verdict.entries and verdict.intact:
            raise StoreError(f"{exported}: there are no entries in it; name an export of a ledger")
    else:
        where, beside = _of_record(record) if config is None else _of_centre(config)
        noted = () if no_heads else _heads(heads, beside)
        with looking_at(where) as database:
            verdict = audit(database.reading, noted)
    if as_json:
        click.echo(json.dumps({"intact": verdict.intact} | dataclasses.asdict(verdict)))
    else:
        for line in _told(verdict, documents=exported is None):
            click.echo(one_line(line))
    if not verdict.intact:
        raise click.exceptions.Exit(JUDGED)


@ledger.command("export")
@RECORD
@click.option("--out", "out", type=SOMEWHERE, metavar="FILE", help="Where to; by itself standard output.")
def export_ledger(record: str | None, out: Path | None) -> None:
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
    click.echo(f"{count} entries are in {out}")


@click.group()
def record() -> None:
    """Copy and check the record of alerts."""


@record.command("backup")
@RECORD
@click.option("--out", "out", type=SOMEWHERE, required=True, metavar="FILE", help="Must not exist.")
def backup_record(record: str | None, out: Path) -> None:
    """Copy a record, which may be in use, into one file: of SQLite, or of pg_dump.

    \b
    Example:
        shotfix record backup --record data/record.db --out record-monday.db
    """
    from alerts.record.backup import copy_file, dump_server
    from alerts.record.database import StoreError, is_url

    where = named(record)
    if is_url(where):
        dump_server(where, out)
    else:
        if not Path(where).is_file():
            raise StoreError(f"{where}: no such file; name the record to copy")
        copy_file(Path(where), out)
    click.echo(f"{out} is written, {out.stat().st_size} bytes")


@record.command("check")
@RECORD
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


def named(record: str | None) -> str:
    """Where a record is, as `RECORD` was told.

    Raises
    ------
    click.UsageError
        When nobody said where, or the variable that should say it is not set.
    """
    if record is None:
        raise click.UsageError("say which record: --record FILE or URL")
    if not record.startswith(VARIABLE):
        return record
    where = os.environ.get(record.removeprefix(VARIABLE), "")
    if not where:
        raise click.UsageError(f"{record}: not set; put the record's address there")
    return where


def _of_record(record: str | None) -> tuple[str, Path | None]:
    """A record, and where its heads are by themselves."""
    from alerts.record.database import is_url

    where = named(record)
    return where, None if is_url(where) else Path(where).with_name(HEADS)


def _of_centre(config: Path) -> tuple[Path | str, Path]:
    """As `_of_record`, of a centre."""
    from shotfix.config_reading import read_site

    if click.get_current_context().get_parameter_source("record") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--record and --config: say one of them")
    site = read_site(config)
    return site.record_at, site.site.data_dir / HEADS


def _heads(heads: Path | None, beside: Path | None) -> tuple[Head, ...]:
    from alerts.record.database import StoreError
    from alerts.record.heads import HeadsFile

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
