"""The registry: the network as the centre knows it now, revision by revision: who stands where and speaks for whom."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from acoustic.instant import instant_text
from sensors.site import Geodetic, Local, Network, Site
from shotfix.config_reading import ConfigError, Problem, kind_of
from shotfix.disk import write_all
from shotfix.network_file import Contents, Maintenance, Node, RegistryError, tables_of
from shotfix.network_reading import contents_of
from shotfix.toml_lines import key_lines

__all__ = [
    "HISTORY", "Maintenance", "Node", "Registry", "RegistryError", "read_registry", "told_revision", "write_history",
]  # fmt: skip

HISTORY: Final = "network-history.jsonl"
_EQUATOR_M: Final = 6_378_137.0  # WGS84 (NGA.STND.0036), with its first eccentricity squared
_ECCENTRICITY2: Final = 6.694379990141317e-3
_LEAST_MOVE_M: Final = 0.001  # less is how a number is written


@dataclass(frozen=True, slots=True)
class Registry:
    """One revision of a network.

    Parameters
    ----------
    network : Network
        Where sensors stand, with the revision's number.
    owners : tuple of str
        For each site of the network, the node that speaks for the sensor while it stands so.
    nodes : tuple of Node
        Who reports, and with which keys.
    maintenance : tuple of Maintenance
        On what somebody works, and until when.
    """

    network: Network
    owners: tuple[str, ...]
    nodes: tuple[Node, ...]
    maintenance: tuple[Maintenance, ...] = ()
    _stays: dict[str, list[tuple[Site, str]]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _sensors: dict[str, tuple[str, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _work: dict[str, list[Maintenance]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.owners) != len(self.network.sites):
            raise ValueError(f"{len(self.owners)} owners for {len(self.network.sites)} sites: expected one for each")
        stays = sorted(
            zip(self.network.sites, self.owners, strict=True),
            key=lambda stay: -math.inf if stay[0].valid_from_ns is None else stay[0].valid_from_ns,
        )
        theirs: dict[str, dict[str, None]] = {}
        for site, owner in stays:
            self._stays.setdefault(site.sensor_id, []).append((site, owner))
            theirs.setdefault(owner, {})[site.sensor_id] = None
        self._sensors.update({owner: tuple(names) for owner, names in theirs.items()})
        for each in self.maintenance:
            self._work.setdefault(each.sensor_id, []).append(each)

    @property
    def revision(self) -> int:
        """Its number, from 1."""
        return self.network.revision

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """The public keys of every node that is believed."""
        return {node.node_id: node.keys for node in self.nodes if node.revoked is None}

    @property
    def revoked(self) -> frozenset[str]:
        """The keys of nodes that are believed no longer."""
        return frozenset(key for node in self.nodes if node.revoked is not None for key in node.keys)

    def site(self, sensor_id: str, at_ns: int) -> Site | None:
        """As `Network.site`, without looking through all of them."""
        return next((site for site, _ in self._stays.get(sensor_id, ()) if site.stood_at(at_ns)), None)

    def node_of(self, sensor_id: str, at_ns: int | None = None) -> str | None:
        """The node that speaks for a sensor, now (the last to come) or at an instant; None when nobody does."""
        stays = self._stays.get(sensor_id, ())
        if at_ns is None:
            return stays[-1][1] if stays else None
        return next((owner for site, owner in stays if site.stood_at(at_ns)), None)

    def sensors_of(self, node_id: str) -> tuple[str, ...]:
        """The sensors that a node speaks for, or once spoke for."""
        return self._sensors.get(node_id, ())

    def may_speak(self, node_id: str, sensor_id: str) -> bool:
        """Whether a node's word about a sensor counts: of those it speaks or once spoke for, and no other."""
        return sensor_id in self._sensors.get(node_id, ())

    def under_maintenance(self, sensor_id: str, at_ns: int) -> Maintenance | None:
        """The work on a sensor at an instant, or None."""
        for each in self._work.get(sensor_id, ()):
            if each.from_ns <= at_ns < each.until_ns:
                return each
        return None

    def encode(self) -> bytes:
        """As it goes into the journal: JSON in the shape of the file, the same bytes for equal registries."""
        contents = Contents(self.revision, self.network.sites, self.owners, self.nodes, self.maintenance)
        return json.dumps(tables_of(contents), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes) -> Registry:
        """Read back `encode`.

        Raises
        ------
        RegistryError
            When it is anything else.
        """
        try:
            table = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RegistryError([Problem("registry", 0, "", f"not JSON: {error}")]) from None
        if not isinstance(table, dict):
            raise RegistryError([Problem("registry", 0, "", "not a table")])
        return _registry(contents_of(table, "registry", {}))

    def revised(self, new: Registry, told: int = 0) -> tuple[Registry, tuple[str, ...]]:
        """The next revision, which is ``new`` with a number above ours and all that were ``told``, and what changed.

        Nothing changed: this one, and no words.
        """
        words = changes(self, new)
        if not words:
            return self, ()
        return new.numbered(max(self.revision + 1, told + 1, new.revision)), words

    def numbered(self, number: int) -> Registry:
        """The same as another revision."""
        return replace(self, network=replace(self.network, revision=number))


def read_registry(path: Path | str) -> Registry:
    """Read network.toml; docs/network.md explains every key.

    Raises
    ------
    RegistryError
        When it cannot be read, or anything in it is wrong; all of it is told.
    """
    path = Path(path)
    try:
        kind = kind_of(path)
    except ConfigError as error:
        raise RegistryError(list(error.problems)) from None
    if kind != "network":
        raise RegistryError([Problem(path.name, 0, "", f"configures a {kind}; expected [[sensor]] and [[node]]")])
    text = path.read_bytes().decode("utf-8-sig")
    return _registry(contents_of(tomllib.loads(text), path.name, key_lines(text)))


def write_history(folder: Path | str, registry: Registry, words: tuple[str, ...], *, at_ns: int, who: str) -> None:
    """Add a revision to the history, a line of JSON in the centre's data folder: when, who, and what changed.

    Parameters
    ----------
    folder : Path
        The centre's own, where it may write; network.toml may lie where it may not.
    at_ns : int
        Wall clock, UTC.
    who : str
        Who asked for it, as far as it is known.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    line = {"revision": registry.revision, "at": instant_text(at_ns), "who": who, "changes": list(words)}
    content = (json.dumps(line, ensure_ascii=False) + "\n").encode()
    file = os.open(Path(folder) / HISTORY, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        end = os.fstat(file).st_size
        if end and os.pread(file, 1, end - 1) != b"\n":  # a line that a full disk cut short stays a line of its own
            content = b"\n" + content
        write_all(file, content, end)
        os.fsync(file)
    finally:
        os.close(file)


def told_revision(folder: Path | str) -> int:
    """The greatest number in the history; 0 without one. Lines that a full disk cut short are passed over."""
    try:
        lines = (Path(folder) / HISTORY).read_bytes().splitlines()
    except FileNotFoundError:
        return 0
    numbers = [0]
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            numbers.append(int(json.loads(line)["revision"]))
    return max(numbers)


def changes(old: Registry, new: Registry) -> tuple[str, ...]:
    """What is different, a line for each thing, in words for those who look after the network."""
    return (*_sensor_changes(old, new), *_node_changes(old, new), *_work_changes(old, new))


def _registry(contents: Contents) -> Registry:
    network = Network(contents.sites, contents.revision)
    return Registry(network, contents.owners, contents.nodes, contents.maintenance)


def _sensor_changes(old: Registry, new: Registry) -> list[str]:
    before, after = _stays(old), _stays(new)
    said = [f"sensor {name} is new{_since(stay)}" for (name, stay) in after if (name, stay) not in before]
    said += [f"sensor {name} is gone{_since(stay)}" for (name, stay) in before if (name, stay) not in after]
    for key in before.keys() & after.keys():
        (was, whose), (now, whose_now) = before[key], after[key]
        said += [f"sensor {key[0]} {words}" for words in _site_changes(was, now)]
        if whose != whose_now:
            said.append(f"sensor {key[0]} is spoken for by node {whose_now}, no longer {whose}")
    return sorted(said)


def _stays(registry: Registry) -> dict[tuple[str, int | None], tuple[Site, str]]:
    """Sites by sensor and since when; and whose they are."""
    stays = zip(registry.network.sites, registry.owners, strict=True)
    return {(site.sensor_id, site.valid_from_ns): (site, owner) for site, owner in stays}


def _site_changes(was: Site, now: Site) -> list[str]:
    said = []
    moved_m = _distance_m(was.position, now.position)
    if moved_m is None:
        said.append("is given in another frame")
    elif moved_m >= _LEAST_MOVE_M:
        said.append(f"moved {moved_m:.3g} m")
    said += [
        f"has {name} {_number(getattr(now, name))}, no longer {_number(getattr(was, name))}"
        for name in ("position_sigma_m", "up_sigma_m", "clock_sigma_s", "clock_offset_s", "full_scale_db_spl")
        if getattr(was, name) != getattr(now, name)
    ]
    if was.valid_to_ns != now.valid_to_ns:
        said.append("stands on" if now.valid_to_ns is None else f"stands until {instant_text(now.valid_to_ns, 0)}")
    if was.elements != now.elements:
        said.append(f"has {len(now.elements)} elements, otherwise than before")
    if not said and was != now:
        said.append("is written in other digits")
    return said


def _node_changes(old: Registry, new: Registry) -> list[str]:
    before, after = ({node.node_id: node for node in each.nodes} for each in (old, new))
    said = [f"node {name} is new" for name in after.keys() - before.keys()]
    said += [f"node {name} is gone" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        was, now = before[name], after[name]
        said += [f"node {name} has key {key[:20]}... too" for key in now.keys if key not in was.keys]
        said += [f"node {name} no longer has key {key[:20]}..." for key in was.keys if key not in now.keys]
        if was.revoked != now.revoked:
            said.append(f"node {name} is " + (f"revoked: {now.revoked}" if now.revoked else "believed again"))
    return sorted(said)


def _work_changes(old: Registry, new: Registry) -> list[str]:
    said = [f"maintenance of {_work(each)}" for each in new.maintenance if each not in old.maintenance]
    said += [f"no more maintenance of {_work(each)}" for each in old.maintenance if each not in new.maintenance]
    return sorted(said)


def _work(each: Maintenance) -> str:
    span = f"{instant_text(each.from_ns, 0)} to {instant_text(each.until_ns, 0)}"
    return f"{each.sensor_id} from {span}: {each.reason}"


def _since(from_ns: int | None) -> str:
    return "" if from_ns is None else f" from {instant_text(from_ns, 0)} on"


def _number(value: Any) -> str:
    return "unknown" if value is None else f"{value:g}"


def _distance_m(one: Geodetic | Local, other: Geodetic | Local) -> float | None:
    if type(one) is not type(other):
        return None
    return math.dist(_cartesian(one), _cartesian(other))


def _cartesian(place: Geodetic | Local) -> tuple[float, float, float]:
    """Metres from a common origin; of degrees, the centre of the Earth (EPSG method 9602)."""
    if isinstance(place, Local):
        return place.east_m, place.north_m, place.up_m
    latitude, longitude = math.radians(place.latitude_deg), math.radians(place.longitude_deg)
    normal_m = _EQUATOR_M / math.sqrt(1.0 - _ECCENTRICITY2 * math.sin(latitude) ** 2)
    level_m = (normal_m + place.height_m) * math.cos(latitude)
    polar_m = (normal_m * (1.0 - _ECCENTRICITY2) + place.height_m) * math.sin(latitude)
    return level_m * math.cos(longitude), level_m * math.sin(longitude), polar_m
