"""The commands of review: labels to learn from, how well people agree, and what came of the alerts."""

from __future__ import annotations

import getpass
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shotfix.command_line import FOLDER, FORCE, JSON, OUT
from shotfix.commands_record import named, policy_told, record_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.review.accounting import Accounting
    from alerts.review.agreement import AgreementReport, Share
    from alerts.review.kappa import Agreement

MODES: Final = ("live", "exercise", "test", "replay")


def _span(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose incidents."""
    modes = click.option(
        "--mode", "modes", multiple=True, default=("live",), show_default=True, type=click.Choice(MODES),
        help="Of the incidents; may be repeated.",
    )  # fmt: skip
    since = click.option("--from", "since", metavar="TIME", help="First rounds from then on, as 2026-06-01T00:00:00Z.")
    until = click.option("--to", "until", metavar="TIME", help="And before then.")
    return since(until(modes(command)))


@click.group()
def labels() -> None:
    """What reviewers said: as data to learn from, and how well they agree."""


@labels.command("export")
@record_options
@OUT
@click.option(
    "--audio", type=FOLDER, metavar="FOLDER", help="The centre's clips: copied, and checked against the alerts."
)
@click.option(
    "--licence", default="unknown", show_default=True, metavar="TEXT", help="Of the sounds, for who gets them."
)
@click.option(
    "--source", default="reviews", show_default=True, metavar="NAME", help="What the manifest calls this city."
)
@click.option("--exact", is_flag=True, help="Places and times as they are; otherwise to 0.01 degrees and the hour.")
@click.option("--by", "who", metavar="NAME", help="Who exports, for the ledger; by itself the user of this machine.")
@_span
@FORCE
@JSON
def export_labels(
    record: str | None, out: Path, audio: Path | None, licence: str, source: str, exact: bool, who: str | None,
    since: str | None, until: str | None, modes: tuple[str, ...], force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write what reviewers said of each sound into DIR, with a card that says what must not be read from it.

    Reviewers have opaque names there. The ledger of the record notes who exported what.

    \b
    Example:
        shotfix labels export --record city/record.db --audio city/audio --out labels
    """
    from alerts.record.store import Store
    from alerts.review.label_plan import ExportPlan
    from alerts.review.labels_folder import FILES, export
    from alerts.review.reviewed import left_out
    from shotfix.disk import explained
    from shotfix.results import check_free

    check_free(out, force=force, files=FILES, folders=("audio",))
    if audio is not None and not audio.is_dir():
        raise click.UsageError(f"--audio {audio}: no such folder; name the centre's folder of clips")
    from_ns, to_ns = _instants(since, until)
    try:
        plan = ExportPlan(who or _user(), time.time_ns(), audio, exact, licence, source, from_ns, to_ns, modes=modes)
    except ValueError as error:
        raise click.UsageError(f"--by: {error}") from None
    with Store(_there(record)) as store, explained(out, OSError):
        counts = export(store, out, plan)
        others = left_out(store, from_ns, to_ns, modes)
    if as_json:
        click.echo(_json(counts, out=str(out), left_out=others))
        return
    click.echo(f"{out}: {counts.labels} labels of {counts.incidents} incidents; read README.md in it first")
    if audio is not None:
        click.echo(f"clips: {counts.copied} copied, {counts.missing} missing, {counts.damaged} damaged and left out")
    _tell_left_out(others)


@labels.command()
@record_options
@_span
@JSON
def agreement(record: str | None, since: str | None, until: str | None, modes: tuple[str, ...], as_json: bool) -> None:
    """How well reviewers agree: with each other beyond chance, and with the machine.

    \b
    Example:
        shotfix labels agreement --record city/record.db --from 2026-06-01T00:00:00Z
    """
    from alerts.record.looking import looking_at
    from alerts.review.agreement import report
    from alerts.review.reviewed import left_out, reviewed

    from_ns, to_ns = _instants(since, until)
    with looking_at(_there(record)) as database:
        found = report(reviewed(database, from_ns, to_ns, modes))
        others = left_out(database, from_ns, to_ns, modes)
    _tell(found, agreement_lines(found), others, as_json=as_json)


@labels.command()
@record_options
@_span
@JSON
def account(record: str | None, since: str | None, until: str | None, modes: tuple[str, ...], as_json: bool) -> None:
    """What came of the alerts: confirmed, unconfirmed, unfounded, each by itself, and the officers' time.

    \b
    Example:
        shotfix labels account --record city/record.db --from 2026-06-01T00:00:00Z --to 2026-07-01T00:00:00Z
    """
    from alerts.record.looking import looking_at
    from alerts.review.accounting import accounting
    from alerts.review.reviewed import left_out

    from_ns, to_ns = _instants(since, until)
    with looking_at(_there(record)) as database:
        found = accounting(database, from_ns, to_ns, modes)
        others = left_out(database, from_ns, to_ns, modes)
    _tell(found, account_lines(found), others, as_json=as_json)


@labels.command("usual")
@record_options
@_span
@JSON
def usual_bangs(
    record: str | None, since: str | None, until: str | None, modes: tuple[str, ...], as_json: bool
) -> None:
    """What is usual here: other bangs an hour, the share of gunfire, and what other thresholds would have traded.

    Some weeks without a holiday tell most: see docs/policy.md for what to set by it.

    \b
    Example:
        shotfix labels usual --config site.toml --from 2026-09-01T00:00:00Z --to 2026-10-15T00:00:00Z
    """
    from alerts.record.looking import looking_at
    from alerts.review.reviewed import left_out
    from alerts.review.usual import usual
    from shotfix.usual_words import usual_lines

    from_ns, to_ns = _instants(since, until)
    policy, expected = policy_told()
    with looking_at(_there(record)) as database:
        found = usual(database, policy, expected.near_m, from_ns, to_ns, modes)
        others = left_out(database, from_ns, to_ns, modes)
    _tell(found, usual_lines(found, policy, expected.ordinary_per_hour, expected.near_m), others, as_json=as_json)


def agreement_lines(found: AgreementReport) -> list[str]:
    """The report as people read it."""
    machine = found.machine
    return [
        f"{found.incidents} incidents judged",
        f"  waiting for a second reviewer: {found.waiting_for_second}",
        f"  disputed: {found.disputed}; decided by a supervisor: {found.adjudicated}",
        f"two reviewers, drawn by chance: {_agreement(found.drawn)}",
        f"  gunfire or not:               {_agreement(found.gunfire)}",
        f"  all pairs, hard ones too:     {_agreement(found.all_pairs)}",
        f"reviewers against the machine: {_share(machine.overruled)} overruled",
        f"  published, said to be none:   {_share(machine.published_denied)}",
        f"  suppressed, said to be some:  {_share(machine.suppressed_affirmed)}",
        *(
            f"{one.by}: {one.first} first words, overruled {_share(one.overruled)}; {one.second} second words; "
            f"agreed in {_share(one.agreed)}"
            for one in found.reviewers
        ),
    ]


def account_lines(found: Accounting) -> list[str]:
    """The account as people read it."""
    return [
        f"{found.alerts} alerts; {found.officer_minutes / 60.0:.1f} officer hours",
        *(
            f"  {one.state:<12} {_share(one.alerts)}; {one.officer_minutes / 60.0:.1f} h of {one.minutes_stated}"
            for one in found.states
        ),
        f"judged by a reviewer: {_share(found.judged)}; of those said to be no gunfire: {_share(found.overruled)}",
        f"suppressed by the machine and confirmed later: {found.known_misses}",
        f"confirmed, and nobody was told: {found.never_told}",
        f"never published: {found.suppressed} suppressed, {found.sent_to_review} for review",
        f"  called gunfire by a reviewer: {found.affirmed}",
        "What no sensor heard is in no record: ask the police for what is missing here.",
    ]


def _agreement(found: Agreement) -> str:
    if found.share is None or found.share_interval is None:
        return "no pairs"
    raw = f"{found.agreed} of {found.count} ({found.share:.0%}, 95 % {_interval(found.share_interval)})"
    if found.kappa is None or found.kappa_interval is None:
        return f"{raw}; kappa undefined"
    low, high = found.kappa_interval
    return f"{raw}; kappa {found.kappa:.2f} (95 % {low:.2f} to {high:.2f})"


def _share(found: Share) -> str:
    if found.share is None or found.interval is None:
        return f"{found.count} of {found.of}"
    return f"{found.count} of {found.of} ({found.share:.0%}, 95 % {_interval(found.interval)})"


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.0%} to {interval[1]:.0%}"


def _instants(since: str | None, until: str | None) -> tuple[int, int]:
    from acoustic.instant import EARLIEST_NS, LATEST_NS, parse_instant

    try:
        span = parse_instant(since) if since else EARLIEST_NS, parse_instant(until) if until else LATEST_NS
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if span[1] < span[0]:
        raise click.UsageError(f"--from {since} is after --to {until}; exchange them")
    return span


def _there(record: str | None) -> Path | str:
    """The record, which must be there: to make an empty one would hide a misspelt name."""
    from alerts.record.database import is_url

    where = named(record)
    if is_url(where):
        return where
    if not Path(where).is_file():
        raise click.UsageError(f"{where}: no such record; name the file, or the address of a database")
    return Path(where)


def _tell(found: object, lines: list[str], left_out: Mapping[str, int], *, as_json: bool) -> None:
    if as_json:
        click.echo(_json(found, left_out=left_out))
        return
    click.echo("\n".join(lines))
    _tell_left_out(left_out)


def _tell_left_out(left_out: Mapping[str, int]) -> None:
    """That there is more: a city begins in mode test, and would find nothing of it."""
    for mode, count in left_out.items():
        click.echo(f"left out: {count} judged incidents of mode {mode}; take them in with --mode {mode}")


def _json(found: object, **more: Any) -> str:
    import msgspec

    return msgspec.json.encode(more | msgspec.to_builtins(found)).decode()


def _user() -> str:
    """Who runs this, as a name that the ledger takes."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"uid-{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9_.@-]", "-", name)[:64].lstrip("_.@-") or "somebody"
