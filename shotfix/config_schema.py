"""The schemas of configuration files, and the tables of docs/configuration.md, made from the records themselves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from shotfix.config import NetworkTable, NodeConfig, SecretSource, SiteConfig
from shotfix.config_fields import Rule, expected, hints_of, parts, rule_of
from shotfix.config_reading import KEYS

CONFIGS: Final[dict[str, type]] = {"site": SiteConfig, "node": NodeConfig}
_TYPES: Final = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "string",
    SecretSource: "string",
}


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a file: "site" or "node".

    Editors complete and check TOML by it. What depends on several keys at once, or on the disk, only
    `shotfix check-config` knows.
    """
    top = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{kind}.toml",
        "description": (CONFIGS[kind].__doc__ or "").strip(),
    }
    return top | _object(CONFIGS[kind])


def schema_text(kind: str) -> str:
    """The content of docs/schemas/site.schema.json or node.schema.json."""
    return json.dumps(schema(kind), indent=1, ensure_ascii=False) + "\n"


def _object(kind: type) -> dict[str, Any]:
    hints = hints_of(kind)
    properties, required = {}, []
    for each in dataclasses.fields(kind):
        key = KEYS.get(each.name, each.name)
        hint = NetworkTable if each.name == "network_file" else hints[each.name]
        properties[key] = _property(hint, rule_of(kind, each), each.default)
        if each.default is dataclasses.MISSING:
            required.append(key)
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


def _property(hint: Any, rule: Rule, default: Any) -> dict[str, Any]:
    kind, _ = parts(hint)
    said: dict[str, Any] = {"description": rule.says} if rule.says else {}
    if dataclasses.is_dataclass(kind) and kind is not SecretSource:
        return said | _object(kind)  # type: ignore[arg-type]  # it is a class, not a record
    if get_origin(kind) is tuple:
        said |= {"type": "array", "items": _property(get_args(kind)[0], Rule(""), None), "maxItems": rule.longest}
    elif get_origin(kind) is Literal:
        said["enum"] = list(get_args(kind))
    else:
        said |= {"type": _TYPES[kind]} | _bounds(kind, rule)
    if default is not dataclasses.MISSING and default is not None and default != ():
        said["default"] = _shown(default)
    return said


def _bounds(kind: Any, rule: Rule) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    if kind in (int, float):
        bounds = {"minimum": rule.low, "maximum": rule.high}
    elif rule.pattern:
        bounds = {"pattern": f"^{rule.pattern}$"}
    elif kind is str:
        bounds = {"minLength": 1, "maxLength": rule.longest}
    return {key: value for key, value in bounds.items() if value is not None}


def _shown(default: Any) -> Any:
    if isinstance(default, Path):
        return str(default)
    return list(default) if isinstance(default, tuple) else default


def reference(kind: str) -> str:
    """The tables of a file's keys, in Markdown: what docs/configuration.md holds between its marks."""
    return "\n".join(_sections("", CONFIGS[kind])).strip() + "\n"


def _sections(home: str, kind: type) -> Iterator[str]:
    hints = hints_of(kind)
    inner: list[str] = []
    rows: list[str] = []
    for each in dataclasses.fields(kind):
        hint = NetworkTable if each.name == "network_file" else hints[each.name]
        rule, plain = rule_of(kind, each), parts(hint)[0]
        table = get_args(plain)[0] if get_origin(plain) is tuple else plain
        if dataclasses.is_dataclass(table) and table is not SecretSource and each.name != "pieces":
            key = f"{home}.{KEYS.get(each.name, each.name)}".strip(".")
            brackets = f"[[{key}]]" if get_origin(plain) is tuple else f"[{key}]"
            needed = ", required" if each.default is dataclasses.MISSING else ""
            inner += [f"\n### `{brackets}`{needed}\n", rule.says, "", *_sections(key, table)]  # type: ignore[arg-type]  # it is a class
        else:
            form = "a path in quotes, or env:NAME" if plain is SecretSource else expected(hint, rule)
            rows.append(f"| `{each.name}` | {form} | {_said(each.default)} | {rule.says} |")
    if rows:
        yield from ("| key | expected | by itself | what it is |", "|---|---|---|---|", *rows)
    yield from inner


def _said(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    if default is None or default == ():
        return ""
    return f"`{json.dumps(_shown(default))}`"
