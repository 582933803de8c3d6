"""Configuration files as a program writes them for people: tables with a word before each."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sensors.site import Geodetic, Site

if TYPE_CHECKING:
    from shotfix.network_file import Contents

Sections = Sequence[tuple[str, dict[str, Any]]]
"""What a file holds: a comment and the tables after it, in order."""

SECRET_BYTES: Final = 32


def toml(title: str, sections: Sections) -> str:
    """The text of a TOML file."""
    import tomli_w  # only who writes waits for it

    parts = [f"# {title}\n"]
    for comment, table in sections:
        lines = "".join(f"# {line}\n" for line in comment.splitlines())
        parts.append(f"\n{lines}{tomli_w.dumps(table)}")
    return "".join(parts)


def network_text(contents: Contents) -> str:
    """The text of network.toml."""
    from shotfix.network_file import tables_of  # its checks are not free

    tables = tables_of(contents)
    sections = [
        ("Raised whenever something changes; the centre notes what did.", {"revision": tables["revision"]}),
        ("Where sensors stand, how surely, and which node speaks for them.", {"sensor": tables["sensor"]}),
        ("Nodes and their public keys.", {"node": tables["node"]}),
    ]
    if tables["maintenance"]:
        sections.append(("What is being worked on, and until when.", {"maintenance": tables["maintenance"]}))
    return toml("The network: sensors, nodes, maintenance. A running centre reads it again on SIGHUP.", sections)


def sensor_table(site: Site, channel: int = 0) -> dict[str, Any]:
    """A site as a [[sensor]] of node.toml."""
    place = site.position
    names = (
        ("latitude_deg", "longitude_deg", "height_m") if isinstance(place, Geodetic) else ("east_m", "north_m", "up_m")
    )
    table: dict[str, Any] = {"sensor_id": site.sensor_id, "channel": channel}
    if site.full_scale_db_spl is not None:
        table["full_scale_db_spl"] = site.full_scale_db_spl
    table |= {name: float(getattr(place, name)) for name in names}
    table |= {"position_sigma_m": site.position_sigma_m, "up_sigma_m": site.up_sigma_m}
    if site.elements:
        table["element"] = [
            {"channel": each.channel, "east_m": each.east_m, "north_m": each.north_m, "up_m": each.up_m}
            for each in site.elements
        ]
    return table


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read.

    Raises
    ------
    OSError
        When it is there already, or the disk refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(descriptor, 0o600)
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)


def new_webhook_secret() -> str:
    """A signing secret as receivers take it."""
    from alerts.couriers.webhook import Secret  # it brings the client along

    return Secret(secrets.token_bytes(SECRET_BYTES)).text()
