"""The wire: what a node and a centre say to each other, as bytes; both ends use this file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from acoustic.detection import Detection
from sensors.health import Heartbeat

VERSION: Final = 1
LARGEST_BYTES: Final = 16_384
"""No message is longer; a detection takes about 500 bytes, a heartbeat 300."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Instant = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class WireError(ValueError):
    """Bytes that are no message of this version; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message of a node.

    Parameters
    ----------
    node_id : str
        The node that speaks, 1 to 100 printable characters.
    boot_id : str
        Chosen anew when the node starts, 8 to 64 hexadecimal digits: the sequence begins again with it.
    sequence : int
        From 0, one more with each message of this boot: the centre sees what is missing or repeated.
    content : Detection or Heartbeat
        What one of its listeners said.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    node_id: str
    boot_id: str
    sequence: int
    content: Detection | Heartbeat

    def __post_init__(self) -> None:
        for name, text in (("node_id", self.node_id), ("sensor_id", self.content.sensor_id)):
            if not 0 < len(text) <= 100 or not text.isprintable():
                raise ValueError(f"{name} is {text!r}: expected 1 to 100 printable characters")
        if not 8 <= len(self.boot_id) <= 64 or not set(self.boot_id) <= set("0123456789abcdef"):
            raise ValueError(f"boot_id is {self.boot_id!r}: expected 8 to 64 lower-case hexadecimal digits")
        if not 0 <= self.sequence < 2**63:
            raise ValueError(f"sequence is {self.sequence}: expected 0 to 2^63 - 1")


# How the records look on the wire. They are written out once more, so that a change to a record cannot change the wire
# unseen, and so that a field nobody knows is refused.


class _Pick(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    onset_ns: _Instant
    sigma_s: float
    p_outlier: _Probability = 0.0
    snr_db: float | None = None
    level_db_spl: float | None = None
    censored: bool = False


class _Bearing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    azimuth_deg: float
    sigma_deg: float


class _Clip(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    start_ns: _Instant
    duration_s: float
    sha256: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class _Detection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pulse_id: _Name
    sensor_id: _Name
    pick: _Pick
    llr: float
    probabilities: tuple[_Probability, _Probability, _Probability, _Probability, _Probability]
    model: _Name
    flags: Annotated[tuple[_Word, ...], msgspec.Meta(max_length=16)] = ()
    bearing: _Bearing | None = None
    clip: _Clip | None = None


class _ClockState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    state: _Word
    sigma_s: float


class _Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    sensor_id: _Name
    heard_until_ns: _Instant
    listening: bool
    noise_floor_db_spl: float | None = None
    gaps: _Count
    faulty_samples: _Count
    clipped_samples: _Count
    suppressed: _Count
    clock: _ClockState


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1]
    node_id: _Name
    boot_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8,64}$")]
    sequence: _Count
    detection: _Detection | None = None
    heartbeat: _Heartbeat | None = None


class _Version(msgspec.Struct):
    version: int


def encode(envelope: Envelope) -> bytes:
    """One message as MessagePack, at most `LARGEST_BYTES`.

    Raises
    ------
    WireError
        When it cannot be sent: a text too long for the wire, or an integer too large.
    """
    return _bounded(msgspec.msgpack.encode(_to_wire(envelope)))


def decode(message: bytes) -> Envelope:
    """The message in these bytes.

    Strict: an unknown or missing field, a wrong type, a value that a record refuses, another version, more than
    `LARGEST_BYTES` or anything after the message is an error. Both of detection and heartbeat, or neither, too.

    Raises
    ------
    WireError
        Whatever is wrong; nothing else is ever raised, whatever the bytes.
    """
    return _from_wire(message, msgspec.msgpack.decode)


def encode_json(envelope: Envelope) -> bytes:
    """The same message as one line of JSON, for people; docs/schemas/wire.schema.json describes it."""
    return _bounded(msgspec.json.encode(_to_wire(envelope)))


def decode_json(message: bytes) -> Envelope:
    """The message in one line of JSON; as strict as `decode`."""
    return _from_wire(message, msgspec.json.decode)


def schema() -> dict[str, Any]:
    """The JSON Schema of a message, as published in docs/schemas/wire.schema.json."""
    found = msgspec.json.schema(_Envelope)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = f"shotfix wire, version {VERSION}"
    named = {name.lstrip("_"): body | {"title": name.lstrip("_")} for name, body in found.pop("$defs").items()}
    text = json.dumps(found | {"$defs": named}).replace('"#/$defs/_', '"#/$defs/')
    readable: dict[str, Any] = json.loads(text)
    readable["$defs"]["Envelope"]["oneOf"] = [
        {"required": ["detection"], "properties": {"heartbeat": {"type": "null"}, "detection": {"type": "object"}}},
        {"required": ["heartbeat"], "properties": {"detection": {"type": "null"}, "heartbeat": {"type": "object"}}},
    ]
    return readable


def schema_text() -> str:
    """The content of docs/schemas/wire.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"


def _to_wire(envelope: Envelope) -> _Envelope:
    content = envelope.content
    try:
        return _Envelope(
            version=VERSION,
            node_id=envelope.node_id,
            boot_id=envelope.boot_id,
            sequence=envelope.sequence,
            detection=msgspec.convert(content, _Detection, from_attributes=True)
            if isinstance(content, Detection)
            else None,
            heartbeat=msgspec.convert(content, _Heartbeat, from_attributes=True)
            if isinstance(content, Heartbeat)
            else None,
        )
    except msgspec.ValidationError as error:
        raise WireError(f"cannot be sent: {error}") from None


def _from_wire(message: bytes, decoder: Any) -> Envelope:
    _bounded(message)
    try:
        _check_version(decoder(message, type=_Version).version)
        wire = decoder(message, type=_Envelope)
        return Envelope(wire.node_id, wire.boot_id, wire.sequence, _content(wire))
    except WireError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise WireError(f"not a message: {error}") from None


def _check_version(version: int) -> None:
    if version != VERSION:
        raise WireError(f"version {version}: this program speaks {VERSION}; bring both ends to one release")


def _content(wire: _Envelope) -> Detection | Heartbeat:
    if wire.detection is not None and wire.heartbeat is None:
        return msgspec.convert(wire.detection, Detection, from_attributes=True)
    if wire.heartbeat is not None and wire.detection is None:
        return msgspec.convert(wire.heartbeat, Heartbeat, from_attributes=True)
    raise WireError("not a message: expected either a detection or a heartbeat")


def _bounded(message: bytes) -> bytes:
    if len(message) > LARGEST_BYTES:
        raise WireError(f"{len(message)} bytes: a message has at most {LARGEST_BYTES}")
    return message
