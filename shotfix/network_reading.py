"""Reading network.toml: every mistake at once, each with its table, its number and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

from sensors.site import Element, Geodetic, Local, Network, Site
from shotfix.config_reading import Problem, key_text
from shotfix.network_file import DEGREES, METRES, Contents, Maintenance, Node, RegistryError, instant_of
from shotfix.toml_lines import Key

T = TypeVar("T")
Table: TypeAlias = Mapping[str, Any]

MOST_TABLES: Final = 100_000
MOST_GUESSES: Final = 20  # at what was meant: each looks through all names
_TABLES: Final = {"sensor": "tables", "node": "tables", "maintenance": "tables"}
_TOP: Final = {"revision": "whole", **_TABLES}
_SENSOR: Final = {
    "sensor_id": "text",
    "node_id": "text",
    **dict.fromkeys((*DEGREES, *METRES), "number"),
    "position_sigma_m": "number",
    "up_sigma_m": "number",
    "clock_sigma_s": "number",
    "clock_offset_s": "number",
    "full_scale_db_spl": "number",
    "valid_from": "instant",
    "valid_to": "instant",
    "element": "tables",
}
_ELEMENT: Final = {"channel": "whole", **dict.fromkeys(METRES, "number")}
_NODE: Final = {"node_id": "text", "keys": "texts", "revoked": "text"}
_MAINTENANCE: Final = {"sensor_id": "text", "from": "instant", "until": "instant", "reason": "text"}
_EXPECTED: Final = {
    "text": "expected text in quotes",
    "number": "expected a finite number",
    "whole": "expected a whole number",
    "instant": "expected a time with its zone, as 2026-11-21T03:04:05Z",
    "texts": 'expected a list of texts, as ["ed25519:..."]',
    "tables": "expected a list of tables, [[]] before each",
}


def contents_of(table: Table, file: str, lines: Mapping[Key, int]) -> Contents:
    """Read the tables of a network file.

    Parameters
    ----------
    table : dict
        As `tomllib` or JSON give it.
    file : str
        What messages call it.
    lines : mapping
        From a key to its line, as `shotfix.toml_lines.key_lines` finds them; empty when there are none.

    Raises
    ------
    RegistryError
        With everything that is wrong.
    """
    reader = _Reader(file, lines)
    contents = reader.contents(table)
    if reader.problems:
        raise RegistryError(reader.problems)
    return contents


class _Reader:
    """Goes on after a mistake, to find the others."""

    def __init__(self, file: str, lines: Mapping[Key, int]) -> None:
        self.file, self.lines = file, lines
        self.problems: list[Problem] = []
        self.guesses = MOST_GUESSES

    def say(self, way: Key, message: str) -> None:
        line = next((self.lines[way[:n]] for n in range(len(way), 0, -1) if way[:n] in self.lines), 0)
        self.problems.append(Problem(self.file, line, key_text(way), message))

    def contents(self, table: Table) -> Contents:
        top = self.values((), table, _TOP, ("revision",))
        nodes = self.all("node", top, self.node)
        placed = self.all("sensor", top, self.sensor)
        work = self.all("maintenance", top, self.maintenance)
        if "sensor" not in table:
            self.say(("sensor",), "absent; expected one [[sensor]] at least")
        self.check_nodes(nodes)
        self.check_owners([(way, made[1]) for way, made in placed], _named(top, "node", "node_id"))
        self.check_sites([(way, made[0]) for way, made in placed])
        known = _named(top, "sensor", "sensor_id")
        for way, each in work:
            if each.sensor_id not in known:
                self.say((*way, "sensor_id"), f"{each.sensor_id!r} is no [[sensor]]{self.near(each.sensor_id, known)}")
        revision = top.get("revision", 1)
        if not 1 <= revision < 2**53:
            self.say(("revision",), f"{revision}; expected 1 or more")
        return Contents(
            revision,
            tuple(made[0] for _, made in placed),
            tuple(made[1] for _, made in placed),
            tuple(node for _, node in nodes),
            tuple(each for _, each in work),
        )

    def all(self, name: str, top: Table, make: Callable[[Key, Table], T | None]) -> list[tuple[Key, T]]:
        tables = top.get(name, ())
        if len(tables) > MOST_TABLES:
            self.say((name,), f"{len(tables)} of them; expected at most {MOST_TABLES}")
            return []
        made = [((name, k), make((name, k), each)) for k, each in enumerate(tables)]
        return [(way, record) for way, record in made if record is not None]

    def near(self, name: str, known: Collection[str]) -> str:
        """What may have been meant, or nothing."""
        self.guesses -= 1
        close = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.6) if self.guesses >= 0 else []
        return f'; did you mean "{close[0]}"?' if close else ""

    # one table each

    def sensor(self, way: Key, table: Table) -> tuple[Site, str] | None:
        names = METRES if any(name in table for name in METRES) else DEGREES
        values = self.values(way, table, _SENSOR, ("sensor_id", "node_id", *names))
        both = [name for name in DEGREES if names is METRES and name in table]
        if both:
            self.say((*way, both[0]), "given beside metres; give degrees or metres, not both")
        if both or not {"sensor_id", "node_id", *names} <= set(values):
            return None
        owner = values.pop("node_id")
        place = [values.pop(name) for name in names]
        position = self.made(way, names, lambda: Geodetic(*place) if names is DEGREES else Local(*place))
        rows = [self.element((*way, "element", k), each) for k, each in enumerate(values.pop("element", ()))]
        elements = tuple(element for element in rows if element is not None)
        for name in ("valid_from", "valid_to"):
            if name in values:
                values[f"{name}_ns"] = values.pop(name)
        if position is None:
            return None
        site = self.made(way, _SENSOR, lambda: Site(position=position, elements=elements, **values))
        return None if site is None else (site, owner)

    def element(self, way: Key, table: Table) -> Element | None:
        values = self.values(way, table, _ELEMENT, tuple(_ELEMENT))
        return self.made(way, _ELEMENT, lambda: Element(**values)) if len(values) == len(_ELEMENT) else None

    def node(self, way: Key, table: Table) -> Node | None:
        values = self.values(way, table, _NODE, ("node_id", "keys"))
        if not {"node_id", "keys"} <= set(values):
            return None
        return self.made(way, _NODE, lambda: Node(**{**values, "keys": tuple(values["keys"])}))

    def maintenance(self, way: Key, table: Table) -> Maintenance | None:
        values = self.values(way, table, _MAINTENANCE, tuple(_MAINTENANCE))
        if len(values) < len(_MAINTENANCE):
            return None
        given = (values["sensor_id"], values["from"], values["until"], values["reason"])
        return self.made(way, _MAINTENANCE, lambda: Maintenance(*given))

    # what tables say of one another

    def check_nodes(self, nodes: list[tuple[Key, Node]]) -> None:
        names: set[str] = set()
        owners: dict[str, str] = {}
        for way, node in nodes:
            if node.node_id in names:
                self.say((*way, "node_id"), f"{node.node_id!r} is listed twice; give all its keys in one [[node]]")
            names.add(node.node_id)
            for key in node.keys:
                if owners.setdefault(key, node.node_id) != node.node_id:
                    self.say((*way, "keys"), f"the same key as {owners[key]!r}; every node has its own")

    def check_owners(self, owners: list[tuple[Key, str]], known: set[str]) -> None:
        for way, owner in owners:
            if owner not in known:
                self.say((*way, "node_id"), f"{owner!r} is no [[node]]{self.near(owner, known)}")

    def check_sites(self, placed: list[tuple[Key, Site]]) -> None:
        stays: dict[str, list[tuple[Key, Site]]] = {}
        for way, site in placed:
            if type(site.position) is not type(placed[0][1].position):
                here, there = ("degrees", "metres") if isinstance(site.position, Geodetic) else ("metres", "degrees")
                self.say(way, f"in {here}, and the first sensor in {there}; give all of a network in one frame")
            stays.setdefault(site.sensor_id, []).append((way, site))
        for name, found in stays.items():
            for k, (way, site) in enumerate(found[1:], 1):
                if any(_overlap(site, other) for _, other in found[:k]):
                    self.say(way, f"{name!r} stands elsewhere at that time; end one stay with valid_to")

    # values

    def values(self, way: Key, table: Table, known: Mapping[str, str], required: tuple[str, ...]) -> dict[str, Any]:
        """The values of a table that are what they should be."""
        for name in required:
            if name not in table:
                self.say((*way, name), f"absent; {_expected(known[name], name)}")
        found = {}
        for name, value in table.items():
            if name not in known:
                self.say((*way, name), "unknown key" + (self.near(name, known) or f"; expected {', '.join(known)}"))
                continue
            read = _read(value, known[name])
            if read is None:
                self.say((*way, name), f"{_shown(value)}; {_expected(known[name], name)}")
            else:
                found[name] = read
        return found

    def made(self, way: Key, keys: Any, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except (ValueError, TypeError) as error:
            key, _, rest = str(error).partition(" is ")
            key = key if key in keys else key.removesuffix("_ns")
            self.say((*way, key) if rest and key in keys else way, rest if rest and key in keys else str(error))
            return None


def _read(value: Any, kind: str) -> Any:
    """The value as we keep it, or None when it is not of this kind."""
    if kind == "number":
        fine = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
        return float(value) if fine else None
    if kind == "whole":
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None
    if kind == "instant":
        return instant_of(value)
    if kind == "text":
        return value if isinstance(value, str) else None
    wanted = str if kind == "texts" else dict
    return value if isinstance(value, list) and all(isinstance(each, wanted) for each in value) else None


def _named(top: Table, tables: str, key: str) -> set[str]:
    """What tables call themselves, also those that are wrong otherwise: whoever names them is not to blame."""
    return {each[key] for each in top.get(tables, ()) if isinstance(each.get(key), str)}


def _overlap(one: Site, other: Site) -> bool:
    try:
        Network((one, other))
    except ValueError:
        return type(one.position) is type(other.position)
    return False


def _expected(kind: str, name: str) -> str:
    return _EXPECTED[kind].replace("[[]]", f"[[{name}]]")


def _shown(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else repr(value)
    return text if len(text) <= 60 else f"{text[:40]}..."
