"""Documents: every record of the river as JSON that says its kind and version, and the schema of all of them."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import math
import types
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import numpy as np

from acoustic.block import AudioBlock
from acoustic.detection import Detection
from acoustic.pick import Pick
from alerts.alert import Alert
from alerts.delivery import Delivery, Receipt
from alerts.incident import Incident
from localization.association import Association
from localization.fix import Fix, Unfixed
from sensors.health import Heartbeat
from sensors.site import Network, Site

VERSION: Final = "1.0"
KINDS: Final[dict[str, type]] = {
    "block": AudioBlock,
    "pick": Pick,
    "detection": Detection,
    "heartbeat": Heartbeat,
    "site": Site,
    "network": Network,
    "association": Association,
    "fix": Fix,
    "unfixed": Unfixed,
    "incident": Incident,
    "alert": Alert,
    "delivery": Delivery,
    "receipt": Receipt,
}
"""The records that travel or are kept, by the name that a document gives them."""

_SCALARS: Final = {str: "string", bool: "boolean", int: "integer", float: "number", bytes: "string"}
_BYTES: Final = {"type": "string", "contentEncoding": "base64"}
_SHAPE: Final = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}
_ARRAY: Final = {
    "type": "object",
    "properties": {"shape": _SHAPE, "float32": _BYTES},
    "required": ["shape", "float32"],
    "additionalProperties": False,
}
_PLAIN: Final = {type(None): {"type": "null"}, Any: {"description": "anything"}, bytes: _BYTES}


class DocumentError(ValueError):
    """Text that is no document of this version; the message is one line and says where it goes wrong."""


def encode(record: Any) -> str:
    """A record as one line of JSON, its members in the order of the record: the same text every time.

    Raises
    ------
    TypeError
        When it is none of `KINDS`.
    """
    kind = next((name for name, known in KINDS.items() if type(record) is known), None)
    if kind is None:
        raise TypeError(f"a {type(record).__name__} is no document; documents are {', '.join(KINDS)}")
    document = {"schema_version": VERSION, "kind": kind, "record": _plain(record, type(record))}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode(text: str | bytes) -> Any:
    """The record in a document.

    Strict: a member that nobody knows, a missing one without a default, a wrong type, a value that the record refuses
    are errors.

    Raises
    ------
    DocumentError
        Whatever is wrong.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not JSON: {error}") from None
    if not isinstance(document, dict) or set(document) != {"schema_version", "kind", "record"}:
        raise DocumentError("not a document: expected schema_version, kind and record")
    if document["schema_version"] != VERSION:
        raise DocumentError(f"schema_version is {document['schema_version']!r}: this program reads {VERSION}")
    kind = document["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise DocumentError(f"kind is {kind!r}: expected one of {', '.join(KINDS)}")
    try:
        return _record(document["record"], KINDS[kind], kind)
    except RecursionError:
        raise DocumentError("nested too deeply") from None


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document; docs/schemas/records.schema.json holds it."""
    definitions: dict[str, Any] = {}
    choices = [
        {
            "type": "object",
            "properties": {
                "schema_version": {"const": VERSION},
                "kind": {"const": kind},
                "record": _described(record, definitions),
            },
            "required": ["schema_version", "kind", "record"],
            "additionalProperties": False,
        }
        for kind, record in KINDS.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"shotfix records, version {VERSION}",
        "oneOf": choices,
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """The content of docs/schemas/records.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"


# records and what they are made of


@functools.cache
def _members(record: type) -> dict[str, tuple[Any, bool]]:
    """Each member's type, and whether it must be given."""
    hints = get_type_hints(record, include_extras=False)
    return {
        field.name: (
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(record)
    }


def _options(hint: Any) -> tuple[Any, ...]:
    """The types that a member may have."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_record(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _tagged(hint: Any) -> bool:
    """Whether a member may be one of several records: then each says which it is."""
    return sum(_is_record(option) for option in _options(hint)) > 1


def _is_array(hint: Any) -> bool:
    """Whether a member is an array; numpy names its arrays by an alias of their type, older ones by the type itself."""
    origin = get_origin(hint)
    return get_origin(getattr(origin, "__value__", hint)) is np.ndarray


# writing


def _plain(value: Any, hint: Any) -> Any:
    """A value as JSON knows it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {name: _plain(getattr(value, name), member) for name, (member, _) in _members(type(value)).items()}
        return {"type": type(value).__name__} | plain if _tagged(hint) else plain
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value, dtype="<f4")
        return {"shape": list(value.shape), "float32": base64.b64encode(little.tobytes()).decode()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_plain(item, _item(hint)) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item, Any) for name, item in value.items()}
    return value


def _item(hint: Any) -> Any:
    """The type of a tuple's items; tuples of several types do not occur in records."""
    tuples = [option for option in _options(hint) if get_origin(option) is tuple]
    return get_args(tuples[0])[0] if tuples else Any


# reading


def _record(value: Any, record: type, where: str, *, tagged: bool = False) -> Any:
    if not isinstance(value, dict):
        raise DocumentError(f"{where}: expected an object, found {_what(value)}")
    members = _members(record)
    unknown = sorted(set(value) - set(members) - ({"type"} if tagged else set()))
    if unknown:
        raise DocumentError(f"{where}: unknown member {unknown[0]!r}")
    missing = [name for name, (_, needed) in members.items() if needed and name not in value]
    if missing:
        raise DocumentError(f"{where}: {missing[0]} is missing")
    given = {name: _value(value[name], members[name][0], f"{where}.{name}") for name in members if name in value}
    try:
        return record(**given)
    except (ValueError, TypeError) as error:
        raise DocumentError(f"{where}: {error}") from None


def _value(value: Any, hint: Any, where: str) -> Any:
    options = _options(hint)
    if value is None and type(None) in options:
        return None
    if _tagged(hint):
        chosen = [o for o in options if _is_record(o) and isinstance(value, dict) and o.__name__ == value.get("type")]
        if not chosen:
            raise DocumentError(f"{where}.type: expected one of {', '.join(o.__name__ for o in options)}")
        return _record(value, chosen[0], where, tagged=True)
    return _one(value, next(option for option in options if option is not type(None)), where)


def _one(value: Any, hint: Any, where: str) -> Any:
    origin = get_origin(hint)
    if _is_record(hint):
        return _record(value, hint, where)
    if _is_array(hint):
        return _array(value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise DocumentError(f"{where}: expected a list, found {_what(value)}")
        return tuple(_value(item, _item(hint), f"{where}[{k}]") for k, item in enumerate(value))
    if origin is dict or hint is Any:
        return value
    if origin is not None:  # a Literal
        if value not in get_args(hint):
            raise DocumentError(f"{where}: expected one of {', '.join(map(str, get_args(hint)))}, found {_what(value)}")
        return value
    return _scalar(value, hint, where)


def _scalar(value: Any, hint: type, where: str) -> Any:
    if hint is bytes and isinstance(value, str):
        return _decoded(value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**53 else value
    if type(value) is not hint or (isinstance(value, float) and not math.isfinite(value)):
        raise DocumentError(f"{where}: expected {_SCALARS.get(hint, hint.__name__)}, found {_what(value)}")
    return value


def _array(value: Any, where: str) -> np.ndarray:
    if not isinstance(value, dict) or set(value) != {"shape", "float32"}:
        raise DocumentError(f"{where}: expected shape and float32")
    content = _decoded(value["float32"], f"{where}.float32")
    shape = value["shape"]
    whole = isinstance(shape, list) and len(shape) in (1, 2) and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    if not whole or math.prod(shape) * 4 != len(content):
        raise DocumentError(f"{where}: shape {_what(shape)} does not fit {len(content)} bytes")
    return np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)


def _decoded(value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, TypeError):
        raise DocumentError(f"{where}: not base64") from None


def _what(value: Any) -> str:
    """A value as a message may show it: short, on one line."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


# describing


def _described(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; records are put into ``definitions`` and referred to."""
    options = _options(hint)
    if len(options) > 1:
        return {"anyOf": [_described_option(option, definitions, tagged=_tagged(hint)) for option in options]}
    return _described_option(hint, definitions, tagged=False)


def _described_option(hint: Any, definitions: dict[str, Any], *, tagged: bool) -> dict[str, Any]:
    origin = get_origin(hint)
    if _is_record(hint):
        return _reference(hint, definitions, tagged=tagged)
    if _is_array(hint):
        return _ARRAY
    if origin is tuple:
        return {"type": "array", "items": _described(_item(hint), definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _described(get_args(hint)[1], definitions)}
    return {"enum": list(get_args(hint))} if origin is not None else _PLAIN.get(hint) or {"type": _SCALARS[hint]}


def _reference(record: type, definitions: dict[str, Any], *, tagged: bool) -> dict[str, Any]:
    name = f"{record.__name__}.tagged" if tagged else record.__name__
    if name not in definitions:
        definitions[name] = {}  # stands for itself while its members are described
        members = _members(record)
        properties = {member: _described(hint, definitions) for member, (hint, _) in members.items()}
        required = [member for member, (_, needed) in members.items() if needed]
        if tagged:
            properties, required = {"type": {"const": record.__name__}} | properties, ["type", *required]
        definitions[name] = {
            "description": " ".join((record.__doc__ or "").split("\n\n")[0].split()),
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}
