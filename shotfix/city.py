"""A city on one machine: a centre, nodes that play recordings, keys, and a control room that is told."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acoustic.instant import instant_text
from localization.study.folder import complete
from localization.study.scene_reading import read_scene
from localization.study.table import SceneError
from sensors.identity import NodeKey
from shotfix.api.people import PEOPLE
from shotfix.api.people_file import add_token
from shotfix.city_street import street_tables
from shotfix.config_fields import NAME_PATTERN, FieldError
from shotfix.config_writing import Sections, network_text, new_webhook_secret, sensor_table, toml, write_private
from shotfix.network_file import Contents, Node
from shotfix.results import OutputError
from shotfix.simulating import simulate_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localization.study.scene import Piece, Scene
    from sensors.site import Site

STREET: Final = "street"
COURIER: Final = "control-room"
SECRET: Final = "secrets/control-room"  # noqa: S105  (where it lies)
GROUND: Final = "ground.asc"
WHO: Final = {"desk-1": "analyst", "lead-1": "supervisor", "auditor-1": "auditor"}
"""Who may speak to the centre, as what; the token of each lies with the secrets, under their name."""
DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class CityPlan:
    """What is asked for.

    Parameters
    ----------
    nodes : int or None
        How many; None is one for each sensor of the scene.
    scene : Path or None
        Whose sensors and recordings; None has a street simulated.
    port : int
        Of the centre; the control room has the next one.
    nats : str or None
        URL of a broker between nodes and centre; None is HTTP.
    placement : str
        Where nodes judge sound: "edge" or "centre".
    pace : float
        How many times faster than real time recordings are played.
    """

    nodes: int | None = None
    scene: Path | None = None
    port: int = 8732
    nats: str | None = None
    placement: str = "edge"
    pace: float = 1.0


def build_city(folder: Path, plan: CityPlan) -> dict[str, Any]:
    """Write a working city into a folder that is empty or not there; it appears whole or not at all.

    Returns
    -------
    dict
        What it holds, and the commands that come next.

    Raises
    ------
    OutputError
        When the folder holds something.
    SceneError
        When the scene is wrong, or has fewer sensors than there shall be nodes.
    """
    _check_empty(folder)
    with complete(folder, ("site.toml",)) as work:
        scene_folder = work / STREET if plan.scene is None else plan.scene.resolve()
        if plan.scene is None:
            _simulate(work, plan.nodes or 12)
        scene = read_scene(scene_folder, audio=True)
        sites = _chosen(scene, plan.nodes)
        names = node_names([site.sensor_id for site in sites])
        for name in ("nodes", "keys", "secrets", "data", "centre"):
            (work / name).mkdir(mode=0o700)
        keys = {name: _key(work, name) for name in names}
        for site, name in zip(sites, names, strict=True):
            inside = work if plan.scene is None else None
            _write(work / "nodes" / f"{name}.toml", f"Sensor node {name}.", _node(name, site, scene, plan, inside))
        nodes = tuple(Node(name, (key,)) for name, key in keys.items())
        network = Contents(1, tuple(sites), tuple(names), nodes, ())
        (work / "network.toml").write_text(network_text(network), "utf-8")
        write_private(work / SECRET, new_webhook_secret() + "\n")
        for name, role in WHO.items():
            _, token = add_token(work / "centre" / PEOPLE, name, (role,), DAYS, time.time_ns())
            write_private(work / "secrets" / name, token + "\n")
        _write(work / "site.toml", "The centre.", _site(work, scene_folder, scene, sites, plan))
    return {
        "folder": str(folder),
        "scene": scene.name,
        "nodes": list(names),
        "site": str(folder / "site.toml"),
        "next": next_commands(folder, plan),
    }


def next_commands(folder: Path, plan: CityPlan) -> list[str]:
    """What to type, each in a terminal of its own; the interpreter is this one, in whatever environment it lies."""
    home, python = shlex.quote(str(folder)), shlex.quote(sys.executable or "python3")
    room = f"{python} -m alerts.couriers.loopback --port {plan.port + 1} --secret-file {home}/{SECRET}"
    # A shell that does not find this environment's programs finds it by its interpreter.
    shotfix = "shotfix" if shutil.which("shotfix") else f"{python} -m shotfix.commands"
    return [
        f"{room} --log {home}/received.jsonl",
        f"{shotfix} serve --config {home}/site.toml",
        f"for node in {home}/nodes/*.toml; do {shotfix} listen --config $node & done; wait",
        f'curl -H "Authorization: Bearer $(cat {home}/secrets/desk-1)" http://127.0.0.1:{plan.port}/api/v1/alerts',
    ]


def node_names(sensor_ids: Sequence[str]) -> list[str]:
    """A name for the node of each sensor: the sensor's own as far as a name may hold it, and no two alike."""
    names: list[str] = []
    for sensor_id in sensor_ids:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", sensor_id).strip("-_")[:50] or "node"
        name, count = plain, 1
        while name in names:
            count += 1
            name = f"{plain}-{count}"
        if not re.fullmatch(NAME_PATTERN, name):
            raise ValueError(f"no name can be made of {sensor_id!r}")
        names.append(name)
    return names


def _check_empty(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty: a city is written into a new folder, and never over another")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: name a folder")


def _simulate(work: Path, sensors: int) -> None:
    import tomli_w

    spec = work / f"{STREET}.toml"
    spec.write_text(tomli_w.dumps(street_tables(sensors)), "utf-8")
    simulate_scene(spec, work / STREET, force=False)


def _chosen(scene: Scene, nodes: int | None) -> tuple[Site, ...]:
    """The first so many of the sensors that recorded something."""
    recorded = {piece.sensor_id for piece in scene.pieces}
    sites = tuple(site for site in scene.network.sites if site.sensor_id in recorded)
    if nodes is not None and nodes > len(sites):
        raise SceneError(f"audio.csv: {len(sites)} sensors with recordings, but {nodes} nodes are asked for")
    return sites[:nodes]


def _key(work: Path, name: str) -> str:
    key = NodeKey.create()
    key.save(work / "keys" / f"{name}.pem")
    return key.public_text


def _write(path: Path, title: str, sections: Sections) -> None:
    path.write_text(toml(title, sections), "utf-8")


# node.toml


def _node(name: str, site: Site, scene: Scene, plan: CityPlan, inside: Path | None) -> Sections:
    pieces = [piece for piece in scene.pieces if piece.sensor_id == site.sensor_id]
    origin_ns = min(piece.start_ns for piece in scene.pieces)
    channels = {piece.channel for piece in pieces}
    channel = channels.pop() if len(channels) == 1 else 0
    identity = {
        "node_id": name, "key_file": f"../keys/{name}.pem", "data_dir": f"../data/{name}", "placement": plan.placement,
    }  # fmt: skip
    return [
        ("", {"node": identity}),
        ("", {"centre": _address(site, plan)}),
        (
            "Where the sensor stands; the centre believes its own network.toml.",
            {"sensor": [sensor_table(site, channel)]},
        ),
        (
            "Recordings, played as if they were heard now.",
            {"source": _source(pieces, channel, origin_ns, plan, inside)},
        ),
        ("Nobody can be asked about the clock of a recording.", {"clock": _clock(site)}),
    ]


def _address(site: Site, plan: CityPlan) -> dict[str, Any]:
    if plan.nats is None:
        return {"url": f"http://127.0.0.1:{plan.port}"}
    from sensors.cell import cell_of  # only a broker has cells
    from shotfix.config import NatsConfig

    try:
        return {"url": plan.nats, "cell": cell_of(site.position, NatsConfig(plan.nats).cell_m)}
    except FieldError as error:
        raise OutputError(f"--nats: {error}") from None


def _source(
    pieces: Sequence[Piece], channel: int, origin_ns: int, plan: CityPlan, inside: Path | None
) -> dict[str, Any]:
    source: dict[str, Any] = {"kind": "file", "pace": plan.pace, "origin_utc": instant_text(origin_ns)}
    tables = []
    for piece in pieces:
        # A city's own street moves with the city; a scene of somebody else's stays where it is.
        path = piece.path.resolve() if inside is None else Path("..") / piece.path.relative_to(inside.resolve())
        table = {"path": str(path), "start_utc": instant_text(piece.start_ns)}
        tables.append(table if piece.channel == channel else table | {"channel": piece.channel})
    return source | (tables[0] if len(tables) == 1 else {"pieces": tables})


def _clock(site: Site) -> dict[str, Any]:
    return {"source": "stated", "sigma_s": site.clock_sigma_s}


# site.toml


def _site(work: Path, scene_folder: Path, scene: Scene, sites: Sequence[Site], plan: CityPlan) -> Sections:
    told = tomllib.loads((scene_folder / "scene.toml").read_text("utf-8"))
    courier = {
        "name": COURIER, "url": f"http://127.0.0.1:{plan.port + 1}/webhook", "secret_file": SECRET,
        "allow_private": True,
    }  # fmt: skip
    identity = {"name": scene.name, "data_dir": "centre", "mode": "test", "time_zone": "UTC"}
    sections: list[tuple[str, dict[str, Any]]] = [
        ("", {"site": identity}),
        ("Nodes and people on this machine only; others need TLS.", {"listen": {"port": plan.port}}),
        ("", {"network": {"file": "network.toml"}}),
    ]
    if told.get("air"):
        sections.append(("The weather report; a running centre reads it again on SIGHUP.", {"air": told["air"]}))
    place = _place(work, scene_folder, told)
    origin = scene.frame.origin
    if "source_up_m" in place and told["frame"] == "wgs84" and origin and len(sites) < len(scene.network.sites):
        # The plane lies at the mean of the sensors, and these are not all of them.
        place["source_height_m"] = place.pop("source_up_m") + origin.height_m
    if place:
        sections.append(("At what height shots are looked for.", {"place": place}))
    if plan.pace != 1.0:
        sections.append(("As fast as the nodes play.", {"time": {"pace": plan.pace}}))
    if plan.nats is not None:
        sections.append(("", {"nats": {"url": plan.nats}}))
    sections.append(("The control room of this machine.", {"courier": [courier]}))
    return sections


def _place(work: Path, scene_folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    """What a scene says of heights, key by key: nothing is computed, so that the centre finds the same numbers."""
    source = told.get("source", {})
    place = {f"source_{key}": source[key] for key in ("up_m", "height_m", "sigma_m") if key in source}
    if told.get("frame") == "local" and "origin" in told:
        place["origin"] = told["origin"]
    if (scene_folder / GROUND).is_file():
        shutil.copyfile(scene_folder / GROUND, work / GROUND)
        place["ground_file"] = GROUND
        if "sigma_m" in told.get("ground", {}):
            place["ground_sigma_m"] = told["ground"]["sigma_m"]
    elif told.get("ground"):
        raise SceneError("scene.toml ground: a level ground is of replays; a centre wants its heights in ground.asc")
    return place
