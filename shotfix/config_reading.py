"""From TOML to configuration: every mistake at once, each one line with its file, line, key, and what to write."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, get_origin

from shotfix.config import VARIABLE, NetworkTable, NodeConfig, SecretSource, SiteConfig
from shotfix.config_fields import FieldError, Rule, expected, hints_of, parts, rule_of, shown, trouble
from shotfix.config_paths import path_trouble
from shotfix.toml_file import ConfigError, Problem, Table, parsed
from shotfix.toml_lines import Key, key_lines

__all__ = ["CONFIGURATION", "ConfigError", "Problem", "kind_of", "read_node", "read_site"]

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

CONFIGURATION: Final = 78  # exit code EX_CONFIG of sysexits.h
LARGEST: Final = 300_000  # bytes: three thousand recordings
MOST_LOOKED_FOR: Final = 1000  # a hostile file may hold a million
KEYS: Final = {"sensors": "sensor", "elements": "element", "couriers": "courier", "network_file": "network"}
"""Fields whose key in the file is another word: of an array of tables each table is one."""


def read_site(path: Path | str, environ: Mapping[str, str] | None = None) -> SiteConfig:
    """Read what a centre is told.

    Paths in the file are relative to the file. Nothing is written, ever.

    Parameters
    ----------
    path : Path
        site.toml.
    environ : mapping
        Of variables that the file may name as ``env:NAME``; those of the process by default.

    Raises
    ------
    ConfigError
        When the file cannot be read, or anything in it is wrong; all of it is told.
    """
    return _read(Path(path), SiteConfig, environ)


def read_node(path: Path | str, environ: Mapping[str, str] | None = None) -> NodeConfig:
    """Read what a sensor node is told; as `read_site`."""
    return _read(Path(path), NodeConfig, environ)


def kind_of(path: Path | str) -> str:
    """What a file configures, by what is in it: "site", "node" or "network".

    Raises
    ------
    ConfigError
        When it cannot be read, is not TOML, or is none of them.
    """
    path = Path(path)
    table, _ = parsed(path)
    if "site" in table:
        return "site"
    if isinstance(table.get("node"), dict):
        return "node"
    if "revision" in table or "sensor" in table or "node" in table:
        return "network"
    wanted = "expected [site] for a centre, [node] for a sensor node, or revision and [[sensor]] for a network"
    raise ConfigError([Problem(path.name, 0, "", f"is no configuration of ours; {wanted}")])


def _read(path: Path, kind: type[T], environ: Mapping[str, str] | None) -> T:
    table, text = parsed(path, LARGEST)
    reader = _Reader(path, text, os.environ if environ is None else environ)
    made = None
    with contextlib.suppress(_EnoughError):
        made = reader.record(kind, table, ())
    if reader.problems or made is None:
        raise ConfigError(reader.problems)
    return made


class _EnoughError(Exception):
    """So much is wrong that looking for more helps nobody."""


class _Reader:
    """Makes records of tables, and goes on after a mistake to find the others."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str]) -> None:
        self.file, self.folder = path.name, path.resolve().parent
        self.text, self.environ = text, environ
        self.problems: list[Problem] = []
        self.spoiled = 0

    @functools.cached_property
    def lines(self) -> dict[Key, int]:
        """Where keys stand; looked for when something is wrong."""
        return key_lines(self.text)

    def spoil(self, way: Key, message: str) -> None:
        """Note a mistake that leaves nothing to make a record of."""
        self.spoiled += 1
        self.say(way, message)

    def say(self, way: Key, message: str) -> None:
        """Note a mistake; its line is that of the key, or of the table it should be in."""
        line = next((self.lines[way[:n]] for n in range(len(way), 0, -1) if way[:n] in self.lines), 0)
        self.problems.append(Problem(self.file, line, key_text(way), message))
        if len(self.problems) >= MOST_LOOKED_FOR:
            raise _EnoughError

    def record(self, kind: type[T], table: Table, way: Key) -> T | None:
        """The record that a table describes, or None when something is wrong with it."""
        spoiled = self.spoiled
        hints = hints_of(kind)
        fields = {KEYS.get(each.name, each.name): each for each in dataclasses.fields(kind)}
        for key in table:
            if key not in fields:
                self.say((*way, key), _unknown(key, list(fields)))
        values: Table = {}
        for key, each in fields.items():
            hint, rule = hints[each.name], rule_of(kind, each)
            if key in table:
                wanted = NetworkTable if each.name == "network_file" else hint
                values[each.name] = self.value(table[key], wanted, rule, (*way, key))
            elif each.default is dataclasses.MISSING:
                self.spoil((*way, key), _absent(key, way, hint, rule))
        if self.spoiled > spoiled:
            return None
        if isinstance(network := values.get("network_file"), NetworkTable):
            values["network_file"] = network.file
        return self._made(kind, values, way)

    def _made(self, kind: type[T], values: Table, way: Key) -> T | None:
        try:
            return kind(**values)
        except FieldError as error:
            self.spoil((*way, KEYS.get(error.key, error.key), *error.way), error.message)
        except ValueError as error:  # of a record of another room, whose message begins with the field's name
            key, _, rest = str(error).partition(" is ")
            if rest and key in values:
                self.spoil((*way, key), rest)
            else:
                self.spoil(way, str(error))
        return None

    def value(self, value: Any, hint: Any, rule: Rule, way: Key) -> Any:
        """The value of a field, or None where it was refused."""
        kind, _ = parts(hint)
        if dataclasses.is_dataclass(kind) and kind is not SecretSource:
            return self._table(value, kind, hint, rule, way)
        if get_origin(kind) is tuple:
            return self._list(value, get_args(kind)[0], hint, rule, way)
        if kind is Path or kind is SecretSource:
            return self._path(value, kind, rule, way)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) < 10**300 else value
        if kind is str and isinstance(value, datetime):
            value = value.isoformat()
        if rule.secret and isinstance(value, str) and value.startswith(VARIABLE):
            value = self._variable(value, way)
        problem = "" if value is None else trouble(value, hint, rule)
        if problem:
            self.spoil(way, problem)
        return value

    def _table(self, value: Any, kind: Any, hint: Any, rule: Rule, way: Key) -> Any:
        if isinstance(value, dict):
            return self.record(kind, value, way)
        name = str(way[-1])
        if isinstance(value, list) and value and isinstance(value[0], dict):
            self.spoil(way, f"a list of tables; expected one table, [{name}]")
        else:
            self.spoil(way, f"{shown(value, rule)}; expected {expected(hint, rule)}, as [{name}]")
        return None

    def _list(self, value: Any, inner: Any, hint: Any, rule: Rule, way: Key) -> Any:
        tables = dataclasses.is_dataclass(inner)
        if tables and isinstance(value, dict):
            self.spoil(way, f"a single table; expected a list of them, [[{way[-1]}]] before each")
            return None
        if not isinstance(value, list) or not all(_fits(each, inner, tables=tables) for each in value):
            self.spoil(way, f"{shown(value, rule)}; expected {expected(hint, rule)}")
            return None
        if len(value) > rule.longest:
            self.spoil(way, f"{len(value)} entries; expected at most {rule.longest}")
            return None
        if tables:
            made = [self.record(inner, each, (*way, place)) for place, each in enumerate(value)]
            return tuple(each for each in made if each is not None)
        return tuple(map(float, value)) if inner is float else tuple(value)

    def _variable(self, said: str, way: Key) -> str | None:
        """The value of a variable of the environment."""
        found = self.environ.get(said.removeprefix(VARIABLE), "")
        if not found:
            self.spoil(way, f"{shown(said, Rule(''))} is not set; set this variable of the environment")
            return None
        return found

    # paths

    def _path(self, value: Any, kind: Any, rule: Rule, way: Key) -> Any:
        if not isinstance(value, str) or not value or not value.isprintable():
            form = "a path in quotes" + (", or env:NAME" if kind is SecretSource else "")
            self.spoil(way, f"{shown(value, rule)}; expected {form}")
            return None
        if kind is SecretSource and value.startswith(VARIABLE):
            secret = self._variable(value, way)
            if secret is not None:
                self._check_secret(secret, way)
            return None if secret is None else SecretSource(variable=value.removeprefix(VARIABLE))
        if rule.role == "inside":
            if Path(value).is_absolute() or ".." in Path(value).parts:
                self.spoil(way, f"{shown(value, rule)}; expected a path inside data_dir")
            return Path(value)
        path = self.folder / value
        problem = path_trouble(path, "secret" if kind is SecretSource else rule.role)
        if problem:
            self.say(way, f"{shown(value, rule)} {problem}")
        if kind is not SecretSource:
            return path
        if not problem:
            self._check_secret(path.read_text("utf-8", "replace"), way)
        return SecretSource(file=path)

    def _check_secret(self, secret: str, way: Key) -> None:
        from alerts.couriers.webhook import Secret  # a node has none

        try:
            Secret.parse(secret)
        except ValueError as error:
            self.say(way, f"holds no signing secret: {error}")


def _fits(value: Any, inner: Any, *, tables: bool) -> bool:
    """Whether an entry of a list is of the kind that belongs there."""
    if inner is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**300
    return isinstance(value, dict if tables else str)


def key_text(way: Key) -> str:
    """A way as people write it, places counted from 1: ``sensor[2].latitude_deg``."""
    said = ""
    for part in way:
        if isinstance(part, int):
            said += f"[{part + 1}]"
        else:
            said += ("." if said else "") + (part if len(part) <= 60 else f"{part[:40]}...")
    return said


def _absent(key: str, way: Key, hint: Any, rule: Rule) -> str:
    kind, _ = parts(hint)
    if kind is SecretSource:
        return "absent; expected a path in quotes, or env:NAME"
    if key == "network" and not way:
        return 'absent; expected a table [network] with file = "network.toml"'
    if get_origin(kind) is tuple and dataclasses.is_dataclass(get_args(kind)[0]):
        return f"absent; expected one [[{key}]] at least"
    return f"absent; expected {expected(hint, rule)}" + (f", [{key}]" if dataclasses.is_dataclass(kind) else "")


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key[:100], known, n=1, cutoff=0.6)
    if close:
        return f'unknown key; did you mean "{close[0]}"?'
    if key in HOMES:
        return f"unknown key here; it belongs in {' or '.join(f'[{home}]' for home in HOMES[key])}"
    if key in TABLES:
        return f"unknown key here; it is a table of its own, [{key}] on a line by itself"
    return f"unknown key; expected {', '.join(known)}"


def _homes() -> dict[str, list[str]]:
    """In which tables each key has its place."""
    homes: dict[str, list[str]] = {}
    for config in (SiteConfig, NodeConfig):
        for name, hint in hints_of(config).items():
            inner = parts(hint)[0]
            inner = get_args(inner)[0] if get_origin(inner) is tuple else inner
            if dataclasses.is_dataclass(inner):
                for each in dataclasses.fields(inner):
                    homes.setdefault(each.name, []).append(KEYS.get(name, name))
    return homes


HOMES: Final = _homes()
TABLES: Final = {KEYS.get(name, name) for kind in (SiteConfig, NodeConfig) for name in hints_of(kind)}
