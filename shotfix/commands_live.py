"""The commands of a running city: init, serve, listen, check-config, doctor, journal, backup, restore."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import click

from shotfix.command_line import (
    CONFIG,
    FOLDER,
    FORCE,
    JSON,
    JUDGED,
    OUT,
    SOMEWHERE,
    Within,
    complain,
    one_line,
)
from shotfix.commands_node import node

PORT = click.IntRange(1, 65_534)


@click.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--nodes", type=click.IntRange(1, 200), metavar="N", help="How many sensor nodes; a scene has its own.")
@click.option("--scene", type=FOLDER, metavar="SCENE", help="Its sensors and recordings, not a simulated street.")
@click.option(
    "--port", type=PORT, default=8732, show_default=True, help="Of the centre; the control room has the next."
)
@click.option("--nats", metavar="URL", help="A broker between nodes and centre, as nats://127.0.0.1:4222.")
@click.option("--placement", type=click.Choice(["edge", "centre"]), default="edge", show_default=True,
              help="Where nodes judge sound.")  # fmt: skip
@click.option("--pace", type=Within(0.1, 1000.0), default=1.0, show_default=True, help="Times real time.")
@JSON
def init(
    folder: Path, nodes: int | None, scene: Path | None, port: int, nats: str | None, placement: str, pace: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Write a working city for this machine: a centre, nodes that play recordings, keys, a control room.

    DIR is new or empty. Without a scene, a street of N sensors is simulated: 40 seconds with one shot, a carpenter's
    hammer and a burst of three.

    \b
    Example:
        shotfix init city --nodes 12
    """
    from shotfix.city import CityPlan, build_city

    if nodes is None and scene is None:
        raise click.UsageError("say how many: --nodes N; or take a scene's sensors: --scene SCENE")
    made = build_city(folder, CityPlan(nodes, scene, port, nats, placement, pace))
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(
        f"{made['scene']}: a centre and {len(made['nodes'])} nodes in {folder}; next, each in its own terminal:\n"
    )
    click.echo("\n".join(f"    {line}" for line in made["next"]))


@click.command()
@CONFIG
@JSON
def serve(config: Path, as_json: bool) -> None:
    """Run the centre until it is told to stop (SIGTERM); SIGHUP reads register and weather again.

    \b
    Example:
        shotfix serve --config city/site.toml
    """
    from shotfix import logs
    from shotfix.checking import checked_site

    site = checked_site(config)
    logs.begin(site.log.level, "centre")
    from shotfix.centre import serve as run

    run(site, lambda: checked_site(config))
    if as_json:
        click.echo(json.dumps({"centre": site.site.name, "ended": "stopped"}))


@click.command()
@CONFIG
@JSON
def listen(config: Path, as_json: bool) -> None:
    """Run a sensor node until its source ends or it is told to stop (SIGTERM).

    \b
    Example:
        shotfix listen --config city/nodes/roof-01.toml
    """
    from shotfix import logs
    from shotfix.config_reading import read_node

    node = read_node(config)
    logs.begin(node.log.level, node.node.node_id)
    from shotfix.node import listen as run

    run(node)
    if as_json:
        click.echo(json.dumps({"node": node.node.node_id, "ended": "stopped"}))


@click.command("check-config")
@click.argument("files", nargs=-1, required=True, type=SOMEWHERE, metavar="FILE...")
@JSON
def check_config(files: tuple[Path, ...], as_json: bool) -> None:
    """Say what is wrong with configurations: of a centre, a node or a network. Exit 1 when anything is.

    It is the code that reads them at the start. A centre's network is checked with it.

    \b
    Example:
        shotfix check-config site.toml nodes/*.toml
    """
    from shotfix.checking import check_file

    found = [check_file(file) for file in files]
    if as_json:
        click.echo(json.dumps({"ok": not any(each["problems"] for each in found), "files": found}))
    for each in found:
        for problem in each["problems"]:
            complain(one_line(problem["text"]))
        if not each["problems"] and not as_json:
            click.echo(f"{each['file']}: {each['kind']}; nothing wrong")
            for note in each["notes"]:
                click.echo(one_line(note))
    if any(each["problems"] for each in found):
        raise click.exceptions.Exit(JUDGED)


@click.command()
@click.option("--config", "config", type=SOMEWHERE, metavar="FILE", help="site.toml, node.toml or network.toml.")
@JSON
def doctor(config: Path | None, as_json: bool) -> None:
    """Look at devices, clock, disk, network and geometry, and say what to do. Exit 1 when anything fails.

    \b
    Example:
        shotfix doctor --config node.toml
    """
    from shotfix.doctor import examine

    findings = examine(config)
    failed = any(finding.verdict == "FAIL" for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "findings": [finding.as_table() for finding in findings]}))
    else:
        for finding in findings:
            click.echo(f"{finding.verdict:<4}  {one_line(finding.words())}")
    if failed:
        raise click.exceptions.Exit(JUDGED)


# what a centre keeps


@click.group()
def journal() -> None:
    """What the centre was told, and when."""


@journal.command("replay")
@click.argument("data", type=FOLDER, metavar="DATA_DIR")
@OUT
@FORCE
@JSON
def replay_journal(data: Path, out: Path, force: bool, as_json: bool) -> None:
    """Play a centre's journal again: the same alerts, byte for byte. The centre may run meanwhile.

    \b
    Example:
        shotfix journal replay city/centre --out build/again
    """
    from localization.study.folder import complete
    from shotfix.journal_replay import ALERTS, SUMMARY
    from shotfix.journal_replay import replay_journal as play
    from shotfix.results import check_free

    files = (SUMMARY, ALERTS)
    check_free(out, force=force, files=files)
    with complete(out, files) as work:
        found = play(data, work)
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(f"{found['entries']} entries, {found['alerts']} alerts; they are in {out / ALERTS}")


@journal.command("repair")
@click.argument("data", type=FOLDER, metavar="DATA_DIR")
@JSON
def repair_journal(data: Path, as_json: bool) -> None:
    """Set aside what follows damage in a journal, so that the centre starts again. Nothing is deleted.

    What was acknowledged behind the damage is lost to the centre until somebody restores a backup.

    \b
    Example:
        shotfix journal repair city/centre
    """
    from shotfix.journal_repair import repair

    last, aside = repair(data / "journal")
    if as_json:
        click.echo(json.dumps({"last_entry": last, "bytes_set_aside": aside}))
    elif aside:
        click.echo(f"kept up to entry {last}; {aside} bytes behind it are set aside in files that end in .damaged")
    else:
        click.echo(f"nothing is damaged; the last entry is {last}")


@click.command()
@click.argument("target", type=FOLDER, metavar="TARGET")
@CONFIG
@JSON
def backup(target: Path, config: Path, as_json: bool) -> None:
    """Copy what a centre keeps, which may be running, into the new folder TARGET: journal, record, sound, register.

    The register of people is in it, with digests of tokens and no token, and api.key, by which opaque names stay the
    same. Other keys and secrets stay where they are: keep those apart. A record on a server is copied by pg_dump.

    \b
    Example:
        shotfix backup /mnt/backup/2026-11-21 --config site.toml
    """
    from shotfix.backup import backup as copy
    from shotfix.config_reading import read_site

    site = read_site(config)
    server = site.record_at if isinstance(site.record_at, str) else None
    copied = copy(site.site.data_dir, target, [config, site.network_file], at_ns=time.time_ns(), server=server)
    _tell_copied(copied, f"in {target}", as_json=as_json)


@click.command()
@click.argument("source", type=FOLDER, metavar="SOURCE")
@click.argument("data", type=FOLDER, metavar="DATA_DIR")
@click.option("--configuration", type=FOLDER, metavar="DIR", help="Also put site.toml and network.toml here.")
@click.option("--record", metavar="URL", help="Of a server's record: the empty database it goes into; or env:NAME.")
@click.option("--replace", is_flag=True, help="A record that is there already is kept, under another name.")
@JSON
def restore(
    source: Path, data: Path, configuration: Path | None, record: str | None, replace: bool, as_json: bool
) -> None:
    """Put a backup where a centre can start from it: into DATA_DIR, new or empty. All of it is verified first.

    \b
    Example:
        shotfix restore /mnt/backup/2026-11-21 /var/lib/shotfix/centre --configuration /etc/shotfix
    """
    from dataclasses import asdict

    from shotfix.backup import restore as put
    from shotfix.commands_record import HEADS, KEPT, address, noted_heads, tell_verdict, verified

    if replace and record is None:
        raise click.UsageError("--replace is for a server's record; name its database with --record")
    server = None if record is None else address(record)
    copied = put(source, data, configuration, server=server, replace=replace)
    if server is None or not as_json:
        _tell_copied(copied, f"restored into {data}", as_json=as_json)
    if server is not None:
        if copied.former is not None:  # at once: what follows may fail, and nothing else says its name
            click.echo(KEPT.format(copied.former), err=as_json)
        verdict = verified(server, noted_heads(None, data / HEADS, no_heads=False))
        tell_verdict(verdict, documents=True, as_json=as_json, restored=asdict(copied))
    elif copied.dump is not None and not as_json:
        heads = f"--heads {data / HEADS}" if (data / HEADS).is_file() else "--no-heads"
        words = f"shotfix record restore {source / copied.dump} --record ADDRESS {heads}"
        click.echo(f"the record is still to be put back, into an empty database: {words}")


def _tell_copied(copied: Any, where: str, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        click.echo(json.dumps(asdict(copied)))
    else:
        click.echo(
            f"{copied.files} files, {copied.size_bytes / 1e6:.1f} MB, journal to entry {copied.entries}: {where}"
        )


LIVE: Final[tuple[click.Command, ...]] = (
    init, serve, listen, check_config, doctor, node, journal, backup, restore,
)  # fmt: skip
"""All of them, for the group that has the others."""
