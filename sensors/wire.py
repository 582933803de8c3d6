"""The wire: what a node and a centre say to each other, as bytes; both ends use it. docs/wire.md tells it whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from acoustic.detection import Detection
from sensors import wire_forms as forms
from sensors.chunk import AudioChunk
from sensors.health import Farewell, Heartbeat
from sensors.known_type import known
from sensors.message import Ack, Batch, Content, Envelope
from sensors.snippet import Snippet

__all__ = [
    "KINDS",
    "LARGEST_ACK_BYTES",
    "LARGEST_BATCH_BYTES",
    "LARGEST_BYTES",
    "LARGEST_BYTES_1",
    "LARGEST_JSON_BYTES",
    "VERSION",
    "Ack",
    "Batch",
    "Content",
    "Envelope",
    "WireError",
    "decode",
    "decode_ack",
    "decode_batch",
    "decode_batch_json",
    "decode_json",
    "encode",
    "encode_ack",
    "encode_batch",
    "encode_batch_json",
    "encode_json",
    "kind_of",
    "schema",
    "schema_text",
]

VERSION: Final = 2
LARGEST_BATCH_BYTES: Final = 900_000
"""No batch is longer: with its seal it stays below the 1 MiB that NATS carries."""
LARGEST_BYTES: Final = 880_000
"""No single message is longer; a detection takes about 500 bytes, a heartbeat 300, a second of audio 50,000."""
LARGEST_BYTES_1: Final = 16_384
"""No message of version 1 is longer: it knows no audio."""
LARGEST_ACK_BYTES: Final = 65_536
LARGEST_JSON_BYTES: Final = 4_000_000
"""Of whatever is written as JSON, for people: audio grows by a third in it."""
_LONGEST_TEXT: Final = 300  # of what is said about bytes that a stranger may have chosen

_FORMS: Final[Mapping[type[Content], tuple[str, type[forms.Form]]]] = {
    Detection: ("detection", forms.Detection),
    Heartbeat: ("heartbeat", forms.Heartbeat),
    Farewell: ("farewell", forms.Farewell),
    Snippet: ("snippet", forms.Snippet),
    AudioChunk: ("chunk", forms.AudioChunk),
}
_RECORDS: Final[Mapping[str, type[Content]]] = {name: record for record, (name, _) in _FORMS.items()}
KINDS: Final = tuple(_RECORDS)
"""What a message can hold, by its name on the wire."""


class WireError(ValueError):
    """Bytes that are no message of a version we speak; the message says why, in one line."""


def kind_of(content: Content) -> str:
    """Which of `KINDS` it is."""
    return _FORMS[type(content)][0]


def encode_batch(batch: Batch) -> bytes:
    """A batch as MessagePack, at most `LARGEST_BATCH_BYTES`.

    Raises
    ------
    WireError
        When it cannot be sent: too long, a text too long for the wire, or an integer too large.
    """
    return _bounded(msgspec.msgpack.encode(_batch_form(batch)), LARGEST_BATCH_BYTES, "batch")


def decode_batch(message: bytes) -> Batch:
    """The batch in these bytes; a message of version 1, which travels alone, becomes a batch of one.

    Strict: an unknown or missing field, a wrong type, a value that a record refuses, another version, more than
    `LARGEST_BATCH_BYTES`, a message with no content or with two, or anything after the batch is an error. Audio is
    not decoded: it is as the node sent it.

    Raises
    ------
    WireError
        Whatever is wrong; nothing else is ever raised, whatever the bytes.
    """
    return _read_batch(_bounded(message, LARGEST_BATCH_BYTES, "batch"), msgspec.msgpack.decode)


def encode_batch_json(batch: Batch) -> bytes:
    """The same batch as one line of JSON, for people, audio in base64; docs/schemas/wire.schema.json describes it."""
    return _bounded(msgspec.json.encode(_batch_form(batch)), LARGEST_JSON_BYTES, "batch")


def decode_batch_json(message: bytes) -> Batch:
    """The batch in one line of JSON; as strict as `decode_batch`."""
    return _read_batch(_bounded(message, LARGEST_JSON_BYTES, "batch"), msgspec.json.decode)


def encode(envelope: Envelope) -> bytes:
    """One message by itself as MessagePack, at most `LARGEST_BYTES`: as a spool or a journal keeps it.

    In a batch it takes fewer bytes than here, so that messages whose lengths sum to less than a batch's bound fit.

    Raises
    ------
    WireError
        When it cannot be sent: too long, a text too long for the wire, or an integer too large.
    """
    return _bounded(msgspec.msgpack.encode(_envelope_form(envelope)), LARGEST_BYTES, "message")


def decode(message: bytes) -> Envelope:
    """The message in these bytes, of version 1 or 2; as strict as `decode_batch`."""
    return _read_envelope(_bounded(message, LARGEST_BYTES, "message"), msgspec.msgpack.decode)


def encode_json(envelope: Envelope) -> bytes:
    """The same message as one line of JSON, for people."""
    return _bounded(msgspec.json.encode(_envelope_form(envelope)), LARGEST_JSON_BYTES, "message")


def decode_json(message: bytes) -> Envelope:
    """The message in one line of JSON; as strict as `decode`."""
    return _read_envelope(_bounded(message, LARGEST_JSON_BYTES, "message"), msgspec.json.decode)


def encode_ack(ack: Ack) -> bytes:
    """An answer as MessagePack, at most `LARGEST_ACK_BYTES`; WireError when it cannot be sent."""
    return _bounded(msgspec.msgpack.encode(_ack_form(ack)), LARGEST_ACK_BYTES, "acknowledgement")


def decode_ack(message: bytes) -> Ack:
    """The answer in these bytes; as strict as `decode_batch`, and only ever of today's version.

    Raises
    ------
    WireError
        Whatever is wrong; nothing else is ever raised.
    """
    with _refusing():
        _bounded(message, LARGEST_ACK_BYTES, "acknowledgement")
        if _version(message, msgspec.msgpack.decode) != VERSION:
            raise WireError("version 1 knows no acknowledgement; bring both ends to one release")
        form = msgspec.msgpack.decode(message, type=known(forms.Ack))
        return Ack(form.centre_boot, form.received_ns, form.held, form.released, form.resume)


def schema() -> dict[str, Any]:
    """The JSON Schema of a batch, of a message by itself and of an acknowledgement, as published."""
    said = (forms.Batch, forms.Envelope, forms.Ack)
    roots, found = msgspec.json.schema_components(said, ref_template="#/$defs/{name}")
    named = {name: body | {"title": name} for name, body in found.items()}
    for name in ("Message", "Envelope"):
        # Exactly one content is there; one that is absent may also be written as null.
        named[name]["oneOf"] = [_only(kind) for kind in KINDS]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"shotfix wire, version {VERSION}"}
    readable: dict[str, Any] = json.loads(json.dumps(head | {"oneOf": list(roots), "$defs": named}))
    return readable


def schema_text() -> str:
    """The content of docs/schemas/wire.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"


def _only(kind: str) -> dict[str, Any]:
    others: dict[str, Any] = {other: {"type": "null"} for other in KINDS if other != kind}
    return {"required": [kind], "properties": others | {kind: {"type": "object"}}}


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn whatever is wrong with a stranger's bytes into one WireError of one line."""
    try:
        yield
    except WireError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise WireError(f"not a message: {' '.join(str(error).split())[:_LONGEST_TEXT]}") from None


@contextmanager
def _sending() -> Iterator[None]:
    try:
        yield
    except (msgspec.ValidationError, OverflowError) as error:
        raise WireError(f"cannot be sent: {error}") from None


def _content_form(content: Content) -> dict[str, Any]:
    name, form = _FORMS[type(content)]
    return {name: msgspec.convert(content, known(form), from_attributes=True)}


def _envelope_form(envelope: Envelope) -> forms.Envelope:
    with _sending():
        return forms.Envelope(
            version=VERSION,
            node_id=envelope.node_id,
            boot_id=envelope.boot_id,
            sequence=envelope.sequence,
            **_content_form(envelope.content),
        )


def _batch_form(batch: Batch) -> forms.Batch:
    with _sending():
        messages = tuple(
            forms.Message(boot_id=each.boot_id, sequence=each.sequence, **_content_form(each.content))
            for each in batch.envelopes
        )
        return forms.Batch(version=VERSION, node_id=batch.node_id, sent_ns=batch.sent_ns, messages=messages)


def _ack_form(ack: Ack) -> forms.Ack:
    if not ack.centre_boot:
        raise WireError("cannot be sent: an acknowledgement names the centre's boot")
    return forms.Ack(
        version=VERSION,
        centre_boot=ack.centre_boot,
        received_ns=ack.received_ns,
        held=ack.held,
        released=dict(ack.released),
        resume=ack.resume,
    )


def _read_batch(message: bytes, decoder: Any) -> Batch:
    with _refusing():
        if _version(message, decoder) == 1:
            envelope = _read_envelope_1(message, decoder)
            return Batch(envelope.node_id, _instant_of(envelope.content), (envelope,), stamped=False)
        form = decoder(message, type=known(forms.Batch))
        messages = (Envelope(form.node_id, each.boot_id, each.sequence, _content(each)) for each in form.messages)
        return Batch(form.node_id, form.sent_ns, tuple(messages))


def _read_envelope(message: bytes, decoder: Any) -> Envelope:
    with _refusing():
        if _version(message, decoder) == 1:
            return _read_envelope_1(message, decoder)
        form = decoder(message, type=known(forms.Envelope))
        return Envelope(form.node_id, form.boot_id, form.sequence, _content(form))


def _read_envelope_1(message: bytes, decoder: Any) -> Envelope:
    form = decoder(_bounded(message, LARGEST_BYTES_1, "message of version 1"), type=known(forms.Envelope1))
    return Envelope(form.node_id, form.boot_id, form.sequence, _content(form))


def _version(message: bytes, decoder: Any) -> int:
    version: int = decoder(message, type=known(forms.Version)).version
    if version not in (1, VERSION):
        raise WireError(f"version {version}: this program speaks 1 to {VERSION}; bring both ends to one release")
    return version


def _content(form: forms.Message | forms.Envelope1) -> Content:
    said = {name: content for name in KINDS if (content := getattr(form, name, None)) is not None}
    if len(said) != 1:
        raise WireError(f"not a message: {' and '.join(said) or 'nothing'} in one; expected one of {', '.join(KINDS)}")
    name, content = said.popitem()
    return msgspec.convert(content, known(_RECORDS[name]), from_attributes=True)


def _instant_of(content: Content) -> int:
    """The instant that a message of version 1 speaks of: it knows two contents."""
    match content:
        case Heartbeat():
            return content.heard_until_ns
        case Detection():
            return content.pick.onset_ns
    raise WireError("not a message: version 1 knows detections and heartbeats")


def _bounded(message: bytes, most: int, what: str) -> bytes:
    if len(message) > most:
        raise WireError(f"{len(message)} bytes: a {what} has at most {most}")
    return message
