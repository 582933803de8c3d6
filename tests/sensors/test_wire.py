"""The wire: what goes in comes out, what is not ours is refused, and nothing but a WireError is ever raised."""

import json
import math

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.bearing import Bearing
from acoustic.detection import FLAGS, Clip, Detection, probabilities_from_llr
from acoustic.instant import EARLIEST_NS, LATEST_NS
from acoustic.pick import Pick
from sensors.health import CLOCK_STATES, ClockState, Heartbeat
from sensors.wire import (
    LARGEST_BYTES,
    Envelope,
    WireError,
    decode,
    decode_json,
    encode,
    encode_json,
    schema,
    schema_text,
)

instants = st.integers(EARLIEST_NS, LATEST_NS)
names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=100)
levels = st.none() | st.floats(-300.0, 300.0)
counts = st.integers(0, 2**63 - 1)
picks = st.builds(
    Pick,
    onset_ns=instants,
    sigma_s=st.floats(1e-9, 3_599.0),
    p_outlier=st.floats(0.0, 1.0),
    snr_db=levels,
    level_db_spl=levels,
    censored=st.booleans(),
)
llrs = st.floats(-50.0, 50.0)
detections = st.builds(
    Detection,
    pulse_id=names,
    sensor_id=names,
    pick=picks,
    llr=llrs,
    probabilities=llrs.map(probabilities_from_llr),
    model=names,
    flags=st.lists(st.sampled_from(FLAGS), unique=True).map(lambda flags: tuple(sorted(flags))),
    bearing=st.none() | st.builds(Bearing, st.floats(0.0, 359.99), st.floats(0.01, 180.0)),
    clip=st.none()
    | st.builds(Clip, instants, st.floats(0.01, 60.0), st.text("0123456789abcdef", min_size=64, max_size=64)),
)
heartbeats = st.builds(
    Heartbeat,
    sensor_id=names,
    heard_until_ns=instants,
    listening=st.booleans(),
    noise_floor_db_spl=levels,
    gaps=counts,
    faulty_samples=counts,
    clipped_samples=counts,
    suppressed=counts,
    clock=st.builds(ClockState, st.sampled_from(CLOCK_STATES), st.floats(0.0, 3_600.0)),
)
envelopes = st.builds(
    Envelope,
    node_id=names,
    boot_id=st.text("0123456789abcdef", min_size=8, max_size=64),
    sequence=counts,
    content=detections | heartbeats,
)
BEAT = Envelope("node-1", "0123abcd", 7, Heartbeat("roof-1", 10**18))
HEARD = Envelope("node-1", "0123abcd", 8, Detection("p1", "roof-1", Pick(10**18, 1e-4, snr_db=20.0)))


@given(envelopes)
def test_what_goes_in_comes_out(envelope):
    assert decode(encode(envelope)) == envelope
    assert decode_json(encode_json(envelope)) == envelope


@given(envelopes)
@settings(max_examples=50)
def test_json_follows_the_published_schema(envelope):
    jsonschema.Draft202012Validator(schema()).validate(json.loads(encode_json(envelope)))


def test_published_schema_is_current(root):
    published = (root / "docs" / "schemas" / "wire.schema.json").read_text(encoding="utf-8")
    assert published == schema_text(), "write sensors.wire.schema_text() into docs/schemas/wire.schema.json"
    jsonschema.Draft202012Validator.check_schema(json.loads(published))


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_random_bytes_raise_only_wire_errors(message):
    for decoder in (decode, decode_json):
        with pytest.raises(WireError):
            decoder(message)


@given(
    envelope=envelopes,
    flips=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=5),
    cut=st.integers(0, 40),
    text=st.booleans(),
)
@settings(max_examples=400)
def test_mutated_messages_are_refused_or_are_messages(envelope, flips, cut, text):
    encoder, decoder = (encode_json, decode_json) if text else (encode, decode)
    message = bytearray(encoder(envelope))
    for at, value in flips:
        message[at % len(message)] = value
    try:
        decoded = decoder(bytes(message[: len(message) - cut]))
    except WireError:
        return
    assert decoder(encoder(decoded)) == decoded


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
        ("heartbeat", msgspec.msgpack.decode(encode(BEAT))["heartbeat"]),
        ("node_id", "\x1b[2J"),
        ("boot_id", "0123ABCD"),
        ("sequence", -1),
        ("sequence", 2**63),
    ],
)
def test_every_liberty_is_refused(path, value):
    with pytest.raises(WireError):
        decode(altered(path, value))


def test_another_version_is_named_with_its_remedy():
    with pytest.raises(WireError, match="version 2: this program speaks 1; bring both ends to one release"):
        decode(altered("version", 2))


def test_messages_are_bounded_and_nothing_may_follow_them():
    with pytest.raises(WireError, match="at most 16384"):
        decode(bytes(LARGEST_BYTES + 1))
    with pytest.raises(WireError):
        decode(encode(BEAT) + b"\x00")
    with pytest.raises(WireError, match="cannot be sent: Expected `str` of length <= 100"):
        encode(Envelope("n", "0123abcd", 0, Detection("p" * 101, "s", Pick(10**18, 1e-4))))
    assert len(encode(HEARD)) < 500


@pytest.mark.parametrize(
    ("field", "value"),
    [("node_id", ""), ("node_id", "a\tb"), ("boot_id", "abc"), ("boot_id", "G" * 8), ("sequence", -1)],
)
def test_envelopes_check_themselves(field, value):
    content = {"node_id": "n", "boot_id": "0123abcd", "sequence": 0, "content": BEAT.content, field: value}
    with pytest.raises(ValueError, match=field):
        Envelope(**content)
