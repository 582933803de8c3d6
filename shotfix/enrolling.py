"""Enrolment, as an installer does it: a key, the node's file, and what the centre's network.toml must know of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from localization.study.folder import complete
from sensors.identity import NodeKey
from sensors.site import Geodetic, Local, Site
from shotfix.config import NodeConfig
from shotfix.config_reading import read_node
from shotfix.config_writing import network_text, sensor_table, toml
from shotfix.network_file import Contents, Node
from shotfix.registry import Registry, read_registry
from shotfix.results import OutputError
from shotfix.toml_lines import key_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA: Final = "data"
FILES: Final = ("node.toml", "node.pem", "network-addition.toml", DATA)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an installer knows of a node with one sensor.

    Parameters
    ----------
    node_id, sensor_id : str
        Names of the device and of its microphone.
    site : Site
        Where it stands, how surely, and its sensitivity.
    centre : dict
        The [centre] of node.toml, as ``{"url": "https://..."}``.
    device : sequence of str
        Stable names of the microphone, in order of preference.
    clock : str
        Of [clock]: who disciplines the device's clock.
    data_dir : str
        Where the spool is to lie; by itself a folder beside node.toml.
    """

    node_id: str
    site: Site
    centre: dict[str, Any]
    device: Sequence[str]
    clock: str = "chrony"
    data_dir: str = DATA


def enrol(asked: Enrolment, folder: Path, network: Path | None) -> dict[str, Any]:
    """Make a node's folder, and tell the network of it.

    The folder appears whole or not at all, and never over another. The network's file is replaced in one step, its
    comments kept, and only by one that can be read.

    Parameters
    ----------
    asked : Enrolment
        What is to be written.
    folder : Path
        Gets node.toml, node.pem, data/, and network-addition.toml: what network.toml must hold.
    network : Path or None
        The centre's network.toml, where it can be reached from here; None leaves the addition to a person.

    Returns
    -------
    dict
        What was written, the public key, and the addition's text.

    Raises
    ------
    OutputError
        When the folder is there.
    RegistryError
        When the network's file is wrong, or would be with the node in it.
    ConfigError
        When what was asked makes no node.toml.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is there already: enrol into a new folder, or move the old one away")
    with complete(folder, FILES) as work:
        if asked.data_dir == DATA:
            (work / DATA).mkdir(mode=0o700)
        key = NodeKey.create()
        key.save(work / "node.pem")
        (work / "node.toml").write_text(node_text(asked), "utf-8")
        addition = addition_text(asked, key.public_text)
        (work / "network-addition.toml").write_text(addition, "utf-8")
        read_node(work / "node.toml")
        revision = None if network is None else _add(network, asked, key.public_text, addition)
    return {
        "node_id": asked.node_id,
        "folder": str(folder),
        "key": key.public_text,
        "addition": addition,
        "network": None if network is None else str(network),
        "revision": revision,
    }


def node_text(asked: Enrolment) -> str:
    """The node's node.toml."""
    return toml(
        f"Sensor node {asked.node_id}.",
        [
            ("", {"node": {"node_id": asked.node_id, "key_file": "node.pem", "data_dir": asked.data_dir}}),
            ("", {"centre": asked.centre}),
            ("As surveyed.", {"sensor": [sensor_table(asked.site)]}),
            (
                "By parts of its name, the first that fits; `shotfix doctor` lists what is there.",
                {"source": {"kind": "microphone", "device": list(asked.device), "rate_hz": 48_000, "channels": 1}},
            ),
            ("", {"clock": _clock(asked)}),
        ],
    )


def _clock(asked: Enrolment) -> dict[str, Any]:
    stated = {"sigma_s": asked.site.clock_sigma_s} if asked.clock == "stated" else {}
    return {"source": asked.clock} | stated


def addition_text(asked: Enrolment, key: str) -> str:
    """What network.toml must hold of the node: one [[sensor]] and one [[node]]."""
    text = network_text(Contents(1, (asked.site,), (asked.node_id,), (Node(asked.node_id, (key,)),), ()))
    return text[text.index("[[sensor]]") :].replace("\n# Nodes and their public keys.", "")


def _add(network: Path, asked: Enrolment, key: str, addition: str) -> int:
    """Put the node into the network's file; the revision it then has."""
    if not network.exists():
        text = network_text(Contents(1, (asked.site,), (asked.node_id,), (Node(asked.node_id, (key,)),), ()))
        _replace(network, text)
        return 1
    registry = read_registry(network)
    text = network.read_bytes().decode("utf-8-sig")
    revision = registry.revision + 1
    line = key_lines(text)["revision",]
    lines = text.splitlines(keepends=True)
    lines[line - 1] = re.sub(r"=\s*[0-9_]+", f"= {revision}", lines[line - 1], count=1)
    end = "" if not lines or lines[-1].endswith("\n") else "\n"
    _replace(network, f"{''.join(lines)}{end}\n{addition}")
    return revision


def _replace(network: Path, text: str) -> Registry:
    """Take the place of the network's file, once the new one has been read."""
    work = network.with_name(f".{network.name}.new")
    try:
        with work.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        registry = read_registry(work)
        if network.exists():
            work.chmod(network.stat().st_mode & 0o777)
        work.replace(network)
    finally:
        work.unlink(missing_ok=True)
    return registry


def site_of(
    sensor_id: str,
    *,
    degrees: tuple[float, float, float] | None,
    metres: tuple[float, float, float] | None,
    position_sigma_m: float,
    up_sigma_m: float,
    clock_sigma_s: float,
    full_scale_db_spl: float | None,
) -> Site:
    """The site of an enrolment, at a place in degrees and height or in metres.

    Raises
    ------
    ValueError
        When not exactly one place is given, or a number is out of range.
    """
    place: Geodetic | Local
    if degrees is not None and metres is None:
        place = Geodetic(*degrees)
    elif metres is not None and degrees is None:
        place = Local(*metres)
    else:
        raise ValueError("give the place once: latitude, longitude and height, or east, north and up")
    return Site(
        sensor_id,
        place,
        position_sigma_m=position_sigma_m,
        up_sigma_m=up_sigma_m,
        clock_sigma_s=clock_sigma_s,
        full_scale_db_spl=full_scale_db_spl,
    )


def same_place(config: NodeConfig, registry: Registry) -> list[str]:
    """Sensors that a node's file places elsewhere than the network does, a line for each."""
    said = []
    for sensor in config.sensors:
        sites = [site for site in registry.network.sites if site.sensor_id == sensor.sensor_id]
        if not sites:
            said.append(f"sensor {sensor.sensor_id} is not in the network")
        elif sensor.position is not None and sensor.position != sites[-1].position:
            said.append(f"sensor {sensor.sensor_id} stands elsewhere in the network; the centre believes the network")
    return said
