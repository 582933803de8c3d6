"""The wire: what goes in comes out, what is not ours is refused, and nothing but a WireError is ever raised."""

import json
import math
import random

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.detection import Detection
from acoustic.pick import Pick
from sensors.chunk import AudioChunk
from sensors.flac import LARGEST_FLAC_BYTES
from sensors.health import Farewell, Heartbeat
from sensors.wire import (
    LARGEST_ACK_BYTES,
    LARGEST_BATCH_BYTES,
    LARGEST_BYTES,
    LARGEST_BYTES_1,
    Ack,
    Batch,
    Envelope,
    WireError,
    decode,
    decode_ack,
    decode_batch,
    decode_batch_json,
    decode_json,
    encode,
    encode_ack,
    encode_batch,
    encode_batch_json,
    encode_json,
    schema,
    schema_text,
)
from tests import messages
from tests.messages import BOOT, NIGHT_NS, NODE, acks, batches, beat, envelopes, heard

BEAT = Envelope("node-1", "0123abcd", 7, Heartbeat("roof-1", 10**18))
HEARD = Envelope("node-1", "0123abcd", 8, Detection("p1", "roof-1", Pick(10**18, 1e-4, snr_db=20.0)))


@given(envelopes)
@settings(max_examples=60)
def test_what_goes_in_comes_out(envelope):
    assert decode(encode(envelope)) == envelope
    assert decode_json(encode_json(envelope)) == envelope


@given(batches())
@settings(max_examples=40)
def test_what_goes_in_as_a_batch_comes_out(batch):
    assert decode_batch(encode_batch(batch)) == batch
    assert decode_batch_json(encode_batch_json(batch)) == batch


@given(acks)
@settings(max_examples=50)
def test_an_acknowledgement_comes_out_as_it_went_in(ack):
    assert decode_ack(encode_ack(ack)) == ack


@given(batches(), acks)
@settings(max_examples=30)
def test_json_follows_the_published_schema(batch, ack):
    judge = jsonschema.Draft202012Validator(schema())
    judge.validate(json.loads(encode_batch_json(batch)))
    judge.validate(msgspec.to_builtins(msgspec.msgpack.decode(encode_ack(ack))))
    for envelope in batch.envelopes:
        judge.validate(json.loads(encode_json(envelope)))


def test_the_schema_refuses_what_the_wire_refuses():
    judge = jsonschema.Draft202012Validator(schema())
    said = json.loads(encode_batch_json(messages.one_of_each()))
    judge.validate(said)
    said["messages"][0]["farewell"] = said["messages"][2]["farewell"]
    assert not judge.is_valid(said)


def test_published_schema_is_current(root):
    published = (root / "docs" / "schemas" / "wire.schema.json").read_text(encoding="utf-8")
    assert published == schema_text(), "write sensors.wire.schema_text() into docs/schemas/wire.schema.json"
    jsonschema.Draft202012Validator.check_schema(json.loads(published))


def test_messages_of_version_1_are_still_understood(root):
    """As the program of version 1 wrote them, kept in fixtures/wire."""
    golden = json.loads((root / "fixtures" / "wire" / "version-1.json").read_text(encoding="utf-8"))
    assert len(golden) == 4
    for each in golden:
        message, said = bytes.fromhex(each["msgpack_hex"]), each["json"]
        envelope = decode(message)
        assert envelope == decode_json(json.dumps(said).encode())
        assert (envelope.node_id, envelope.boot_id, envelope.sequence) == (
            said["node_id"],
            said["boot_id"],
            said["sequence"],
        )
        content = said["detection"] or said["heartbeat"]
        if said["detection"]:
            assert envelope.content.pick.onset_ns == content["pick"]["onset_ns"]
            assert envelope.content.pick.clock_sigma_s is None
            instant_ns = content["pick"]["onset_ns"]
        else:
            assert envelope.content.suppressed == content["suppressed"]
            assert envelope.content.spool_dropped == 0
            instant_ns = content["heard_until_ns"]
        assert decode_batch(message) == Batch(envelope.node_id, instant_ns, (envelope,))
        written = msgspec.msgpack.decode(message)
        (kind,) = (kind for kind in ("detection", "heartbeat") if written[kind])
        written[kind]["spool_dropped" if kind == "heartbeat" else "clip"] = 3  # nothing of version 2, nothing wrong
        with pytest.raises(WireError):
            decode(msgspec.msgpack.encode(written))


def test_a_batch_of_today_is_as_it_was(root):
    """The bytes of version 2 are a promise as well: they may only change with its number."""
    kept = root / "fixtures" / "wire" / "version-2.json"
    golden = json.loads(kept.read_text(encoding="utf-8"))
    assert decode_batch(bytes.fromhex(golden["batch_hex"])) == messages.one_of_each()
    assert encode_batch(messages.one_of_each()).hex() == golden["batch_hex"]
    ack = Ack("c1", NIGHT_NS, (0, 4), {BOOT: 17}, resume=True)
    assert encode_ack(ack).hex() == golden["ack_hex"]


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_random_bytes_raise_only_wire_errors(message):
    for decoder in (decode, decode_json, decode_batch, decode_batch_json, decode_ack):
        with pytest.raises(WireError):
            decoder(message)


def altered(path, value, envelope=HEARD):
    """The message with one field, named by a dotted path, changed; a value of ... takes it away."""
    message = msgspec.msgpack.decode(encode(envelope))
    *parents, name = path.split(".")
    place = message
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return msgspec.msgpack.encode(message)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", ...),
        ("extra", 1),
        ("detection.extra", 1),
        ("detection.pick.extra", 1),
        ("detection.pick.onset_ns", 1.5e18),
        ("detection.pick.onset_ns", 8 * 10**18),
        ("detection.pick.sigma_s", 0.0),
        ("detection.pick.sigma_s", math.nan),
        ("detection.pick.snr_db", math.inf),
        ("detection.pick.p_outlier", 1.1),
        ("detection.pick.censored", 1),
        ("detection.pick.clock_sigma_s", -1.0),
        ("detection.llr", math.nan),
        ("detection.llr", 51.0),
        ("detection.llr", "1.0"),
        ("detection.probabilities", [0.2] * 4),
        ("detection.probabilities", [0.9] * 5),
        ("detection.flags", ["loud"]),
        ("detection.flags", ["clipped"] * 17),
        ("detection.sensor_id", ""),
        ("detection.sensor_id", "a" * 101),
        ("detection.sensor_id", "two\nlines"),
        ("detection.pulse_id", ...),
        ("detection", None),
        ("detection", ...),
        ("heartbeat", msgspec.msgpack.decode(encode(BEAT))["heartbeat"]),
        ("farewell", {"sensor_id": "roof-1", "at_ns": 10**18}),
        ("node_id", "\x1b[2J"),
        ("boot_id", "0123ABCD"),
        ("boot_id", "0123abcd\n"),
        ("sequence", -1),
        ("sequence", 2**63),
    ],
)
def test_every_liberty_is_refused(path, value):
    with pytest.raises(WireError):
        decode(altered(path, value))


@pytest.mark.parametrize(
    ("place", "path", "value"),
    [
        (0, "", {"boot_id": "0123abcd", "sequence": 1}),
        (2, "farewell.at_ns", 2**63),
        (3, "snippet.flac", "text"),
        (3, "snippet.pulse_ids", []),
        (3, "snippet.clip.duration_s", 60.0),
        (4, "chunk.crc32", 2**32),
        (4, "chunk.count", 48_001),
        (4, "chunk.channels", 0),
        (4, "chunk.index", 2**63),
        (4, "chunk.index", 8),
        (4, "chunk.timing.rate_hz", math.nan),
        (4, "chunk.timing.rate_hz", 1e-300),
        (4, "chunk.timing.index", 10),
        (4, "chunk.timing.state", "perfect"),
        (4, "chunk.start_ns", NIGHT_NS + 1),
        (4, "chunk.after_gap", None),
    ],
)
def test_every_liberty_in_a_batch_is_refused(place, path, value):
    batch = msgspec.msgpack.decode(encode_batch(messages.one_of_each()))
    at, key = batch["messages"], place
    for name in filter(None, path.split(".")):
        at, key = at[key], name
    at[key] = value
    with pytest.raises(WireError):
        decode_batch(msgspec.msgpack.encode(batch))


@pytest.mark.parametrize(
    "changed",
    [
        {"held": [1, 1]},
        {"held": [2, 1]},
        {"held": [-1]},
        {"held": [4_096]},
        {"released": {"not a boot": 1}},
        {"released": {"0123abcd": -1}},
        {"released": {f"{k:08x}": k for k in range(257)}},
        {"resume": 1},
        {"centre_boot": ""},
        {"received_ns": 2**63},
        {"version": 1},
        {"extra": 0},
    ],
)
def test_every_liberty_in_an_acknowledgement_is_refused(changed):
    ack = msgspec.msgpack.decode(encode_ack(Ack("c1", NIGHT_NS)))
    assert decode_ack(msgspec.msgpack.encode(ack)) == Ack("c1", NIGHT_NS)
    with pytest.raises(WireError):
        decode_ack(msgspec.msgpack.encode(ack | changed))


def test_another_version_is_named_with_its_remedy():
    with pytest.raises(WireError, match=r"^version 3: this program speaks 1 to 2; bring both ends to one release$"):
        decode(altered("version", 3))
    later = {"version": 3, "node_id": "n", "messages": [], "whatever": {"it": "says"}}
    for decoder in (decode_batch, decode_ack):
        with pytest.raises(WireError, match="version 3: this program speaks 1 to 2"):
            decoder(msgspec.msgpack.encode(later))
    with pytest.raises(WireError, match="version 0"):
        decode_batch(msgspec.msgpack.encode(later | {"version": 0}))


def test_lengths_are_bounded_and_nothing_may_follow():
    for decoder, most in (
        (decode, LARGEST_BYTES),
        (decode_batch, LARGEST_BATCH_BYTES),
        (decode_ack, LARGEST_ACK_BYTES),
    ):
        with pytest.raises(WireError, match=f"at most {most}"):
            decoder(bytes(most + 1))
    for decoder, message in (
        (decode, encode(BEAT)),
        (decode_batch, encode_batch(messages.one_of_each())),
        (decode_ack, encode_ack(Ack("c", NIGHT_NS))),
    ):
        with pytest.raises(WireError):
            decoder(message + b"\x00")
        with pytest.raises(WireError):
            decoder(message[:-1])
    with pytest.raises(WireError, match="cannot be sent: Expected `str` of length <= 100"):
        encode(Envelope("n", "0123abcd", 0, Detection("p" * 101, "s", Pick(10**18, 1e-4))))
    assert len(encode(HEARD)) < 500
    assert len(encode(BEAT)) < 300


def test_version_1_carries_no_long_message(root):
    golden = json.loads((root / "fixtures" / "wire" / "version-1.json").read_text(encoding="utf-8"))
    long = golden[0]["json"] | {"padding": "a" * LARGEST_BYTES_1}
    with pytest.raises(WireError, match=f"version 1 has at most {LARGEST_BYTES_1}"):
        decode(msgspec.msgpack.encode(long))


def test_a_batch_is_bounded_in_messages_and_in_bytes():
    many = tuple(messages.envelope(k, beat(k)) for k in range(4_097))
    with pytest.raises(ValueError, match="at most 4096"):
        Batch(NODE, NIGHT_NS, many)
    with pytest.raises(WireError, match=f"a batch has at most {LARGEST_BATCH_BYTES}"):
        encode_batch(Batch(NODE, NIGHT_NS, many[:4_096]))
    largest = messages.snippet(LARGEST_FLAC_BYTES)
    assert decode_batch(encode_batch(messages.batch(largest))).envelopes[0].content == largest
    assert len(encode(messages.envelope(0, largest))) <= LARGEST_BYTES


@given(st.lists(messages.contents, max_size=8), st.data())
@settings(max_examples=30)
def test_messages_take_less_in_a_batch_than_alone(said, data):
    """The spool counts on it when it fills a batch."""
    batch = messages.batch(*said, node_id=data.draw(messages.names), boot_id=data.draw(messages.boots))
    assert len(encode_batch(batch)) <= 600 + sum(len(encode(envelope)) for envelope in batch.envelopes)


def test_an_empty_batch_asks_for_an_answer_only():
    empty = Batch(NODE, NIGHT_NS, ())
    assert decode_batch(encode_batch(empty)) == empty


def test_a_batch_is_of_one_node():
    with pytest.raises(ValueError, match="another node"):
        Batch("roof-8", NIGHT_NS, (messages.envelope(0, beat()),))


def test_audio_arrives_to_the_bit():
    sent = messages.noise_chunk()
    (envelope,) = decode_batch(encode_batch(messages.batch(sent))).envelopes
    assert isinstance(envelope.content, AudioChunk)
    assert envelope.content.block().samples.tobytes() == sent.block().samples.tobytes()


def test_what_a_stranger_wrote_is_told_in_one_short_line():
    rng = random.Random(5)  # noqa: S311
    evil = "".join(chr(rng.randrange(32, 0x3000)) for _ in range(90)) + "\n\x1b[31mALERT"
    for path, value in (("node_id", evil), ("detection.sensor_id", evil), ("detection.flags", [evil[:30]] * 16)):
        with pytest.raises(WireError) as refused:
            decode(altered(path, value))
        text = str(refused.value)
        assert len(text) < 400
        assert text.isprintable()


@pytest.mark.parametrize(
    ("field", "value"),
    [("node_id", ""), ("node_id", "a\tb"), ("boot_id", "abc"), ("boot_id", "G" * 8), ("sequence", -1)],
)
def test_envelopes_check_themselves(field, value):
    content = {"node_id": "n", "boot_id": "0123abcd", "sequence": 0, "content": BEAT.content, field: value}
    with pytest.raises(ValueError, match=field):
        Envelope(**content)


def test_farewells_and_heartbeats_check_themselves():
    with pytest.raises(ValueError, match="sensor_id"):
        Farewell("", NIGHT_NS)
    with pytest.raises(ValueError, match="at_ns"):
        Farewell("s", 0 - 10**19)
    with pytest.raises(ValueError, match="spool_dropped"):
        Heartbeat("s", NIGHT_NS, spool_dropped=-1)
    assert heard().sensor_id == beat().sensor_id
