"""Documents that are small and cost much, and numbers at the ends of what a machine can hold."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.act import Act, decode_act, encode_act
from alerts.alert import decode, encode
from alerts.desk import Desk
from sensors import flac
from sensors.wire import WireError, decode_batch
from tests.strategies import fix_at

(ALERT,) = Desk().receive(fix_at("a"))
ALERT_DOCUMENT = json.loads(encode(ALERT))
ACT_DOCUMENT = json.loads(
    encode_act(
        Act("h1", "place", "a1", "i1", "ada", 1_795_000_000_000_000_000, latitude=41.7, longitude=-72.6, radius_m=20.0)
    )
)
EXTREMES = ("1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1e308", "-1e308", "5e-324", str(2**63), str(-(2**63) - 1), str(2**64),
            "9" * 5_000, "-" + "9" * 5_000, "0.1" + "0" * 5_000 + "1", "true", "null", '"1"', "[]", "{}", "1.5", "-0.0",
            "01", "+1", "0x10", "1_000", ".5", "1.")  # fmt: skip
NESTED = (b"[" * 100_000, b'{"a":' * 100_000, b'{"a":[' * 50_000, b'"' + b"\\" * 100_001, b'{"' + b"a" * 1_000_000)


def leaves(document, way=()):
    """Where in a document numbers stand."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from leaves(value, (*way, key))
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from leaves(value, (*way, place))
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield way


def with_word(document, way, word):
    """The document as text, with a word instead of the number at ``way``: json would not write these."""
    copy = json.loads(json.dumps(document))
    part = copy
    for step in way[:-1]:
        part = part[step]
    part[way[-1]] = "@here@"
    return json.dumps(copy).replace('"@here@"', word)


def finite(value):
    if isinstance(value, dict):
        return all(finite(each) for each in value.values())
    if isinstance(value, list):
        return all(finite(each) for each in value)
    return not isinstance(value, float) or (value == value and abs(value) <= sys.float_info.max)  # noqa: PLR0124


@pytest.mark.parametrize("word", EXTREMES)
@pytest.mark.parametrize(
    ("document", "read", "write"),
    [(ALERT_DOCUMENT, decode, encode), (ACT_DOCUMENT, decode_act, encode_act)],
    ids=["alert", "act"],
)
def test_a_number_at_the_end_of_the_range_is_refused_or_stays_a_number(document, read, write, word):
    for way in leaves(document):
        try:
            record = read(with_word(document, way, word).encode())
        except ValueError:
            continue
        written = write(record)
        assert finite(json.loads(written, parse_constant=pytest.fail)), way
        assert read(written) == record


@pytest.mark.parametrize("content", NESTED, ids=lambda content: repr(content[:8]))
@pytest.mark.parametrize("read", [decode, decode_act, decode_batch], ids=lambda read: read.__name__)
def test_nesting_without_end_is_refused_and_costs_no_more_than_itself(read, content):
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, WireError)):
            read(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(content) + 2_000_000


@given(st.text(max_size=50).map(json.dumps) | st.sampled_from(['"\\ud800"', '"\\udfff\\ud800"']))
def test_a_note_is_text_that_can_be_stored_or_refused(word):
    document = json.dumps(ACT_DOCUMENT | {"note": "@"}).replace('"@"', word)
    try:
        act = decode_act(document)
    except ValueError:
        return
    act.note.encode()  # half a character would fail in the database, after it was accepted
    assert decode_act(encode_act(act)) == act


@given(
    st.sampled_from(sorted(ACT_DOCUMENT)), st.sampled_from(["judgement", "into", "undoes", "extra", "by", "__class__"])
)
def test_what_is_not_expected_in_an_act_does_not_change_it(removed, added):
    """A member more, or twice, or one less: refused, or the same act; nobody slips a value in by the side."""
    document = {key: value for key, value in ACT_DOCUMENT.items() if key != removed} | {added: "evil"}
    try:
        act = decode_act(json.dumps(document))
    except ValueError:
        return
    assert act.kind == "place"
    assert added in {"by", "extra", "__class__"}


# Sound that claims to be small


def stream_of(claim_frames, frames=4_800, rate_hz=48_000):
    """A FLAC of so many frames of silence whose header claims another number (RFC 9639, section 8.2)."""
    content = bytearray(flac.encode(np.zeros(frames, np.int32), rate_hz, 16))
    word = int.from_bytes(content[18:26], "big")
    content[18:26] = (word >> 36 << 36 | claim_frames).to_bytes(8, "big")
    return bytes(content)


@pytest.mark.parametrize("claimed", [0, 4_799, 4_801, 2**24, 2**36 - 1])
def test_sound_that_says_another_length_than_its_message_is_not_decoded(claimed):
    content = stream_of(claimed)
    tracemalloc.start()
    try:
        with pytest.raises(flac.FlacError):
            flac.decode(content, flac.Claim(4_800, 48_000, 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert len(flac.decode(stream_of(4_800), flac.Claim(4_800, 48_000, 1))) == 4_800


def test_silence_that_would_unpack_into_gigabytes_is_refused_by_its_claim():
    """A second of silence is a few hundred bytes: what bounds it is what a message may claim, before it is opened."""
    content = flac.encode(np.zeros(48_000, np.int32), 48_000, 16)
    assert len(content) < 1_000
    for frames in (48_001, 2**31, 2**36 - 1):
        with pytest.raises(flac.FlacError):
            flac.decode(content, flac.Claim(frames, 48_000, 1))


# What a city's files may hold


def test_a_gzip_that_unpacks_into_much_more_is_bounded(tmp_path, monkeypatch):
    from alerts.places import files  # noqa: PLC0415
    from alerts.places.columns import Columns  # noqa: PLC0415

    monkeypatch.setattr(files, "LARGEST_WHOLE_BYTES", 1_000_000)
    monkeypatch.setattr(files, "LONGEST_LINE_BYTES", 1_000_000)
    bomb = tmp_path / "city.geojson.gz"
    with gzip.open(bomb, "wb", compresslevel=9) as packed:
        packed.write(b'{"type": "FeatureCollection", "features": [')
        for _ in range(60):
            packed.write(b" " * 1_000_000)
    assert bomb.stat().st_size < 400_000
    tracemalloc.start()
    try:
        with pytest.raises(files.PlacesError):
            list(files.CityFile(bomb, Columns()).features())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
