"""Raw PCM from a pipe: every width exact, however the bytes are cut."""

import contextlib
import itertools
import os
import threading
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, parse_instant, sample_instant
from sensors.pcm import ENCODINGS, from_pcm, sample_bytes
from sensors.piped import Piped
from sensors.source import Raw, SourceError

START_NS = parse_instant("2026-11-21T02:00:00Z")
SUBTYPES = {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_encoding_reads_as_libsndfile_reads_it(tmp_path, encoding, channels):
    edges = [0, 1, -1, 2**23, -(2**23), 2**31 - 1, -(2**31), 2**31 - 256]
    words = np.concatenate([edges, np.random.default_rng(3).integers(-(2**31), 2**31, 992)]).astype(np.int32)
    endian = "LITTLE" if encoding.endswith("le") else "BIG"
    raw = {"samplerate": 8_000, "channels": channels, "format": "RAW", "endian": endian}
    raw["subtype"] = SUBTYPES[encoding[:3]]
    with soundfile.SoundFile(tmp_path / "a.raw", "w", **raw) as file:
        file.write(words.reshape(-1, channels))
    data = (tmp_path / "a.raw").read_bytes()
    assert len(data) == len(words) * sample_bytes(encoding)
    with soundfile.SoundFile(tmp_path / "a.raw", **raw) as file:
        expected = file.read(dtype="float32")
    np.testing.assert_array_equal(from_pcm(data, encoding, channels), expected)


@pytest.mark.parametrize(("encoding", "bits"), [("s16le", 16), ("s24le", 24), ("s16be", 16), ("s24be", 24)])
def test_integers_survive_exactly(encoding, bits):
    values = np.random.default_rng(bits).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 5_000)
    order = "little" if encoding.endswith("le") else "big"
    data = b"".join(int(value).to_bytes(bits // 8, order, signed=True) for value in values)
    np.testing.assert_array_equal(from_pcm(data, encoding, 1).astype(np.float64) * 2 ** (bits - 1), values)


def test_what_is_no_pcm_is_refused():
    with pytest.raises(ValueError, match="a multiple of 6"):
        from_pcm(bytes(7), "s24le", 2)
    with pytest.raises(ValueError, match="u8"):
        sample_bytes("u8")
    with pytest.raises(ValueError, match="mulaw"):
        Piped(encoding="mulaw", rate_hz=8_000)
    with pytest.raises(ValueError, match="channels is 0"):
        Piped(encoding="s16le", rate_hz=8_000, channels=0)


@contextlib.contextmanager
def pipe_with(pieces, pause_s=0.0):
    """The end of a pipe that somebody writes to, piece by piece, and then closes."""
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):
            for piece in pieces:
                file.write(piece)
                time.sleep(pause_s)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        os.close(reading)
        writer.join()


@given(cuts=st.lists(st.integers(0, 12_000), max_size=12), encoding=st.sampled_from(("s16le", "s24le", "f32le")))
@settings(max_examples=25)
def test_however_the_bytes_are_cut_the_samples_are_the_same(cuts, encoding):
    data = np.random.default_rng(5).integers(0, 63, 12_000, dtype=np.uint8).tobytes()
    edges = sorted({0, *cuts, len(data)})
    with pipe_with([data[a:b] for a, b in itertools.pairwise(edges)]) as reading:
        source = Piped(reading, encoding=encoding, rate_hz=8_000, channels=2)
        pieces = list(source.open())
    np.testing.assert_array_equal(np.concatenate([raw.samples for raw in pieces]), from_pcm(data, encoding, 2))
    assert [raw.count for raw in pieces[1:]] == [raw.end_count for raw in pieces[:-1]]
    assert source.torn_bytes == 0


def test_a_pipes_samples_are_stamped_when_they_come_less_their_length():
    now = iter(range(START_NS, START_NS + 10 * SECOND, SECOND))
    with pipe_with([bytes(1_600), bytes(801)], pause_s=0.3) as reading:
        source = Piped(reading, encoding="s16le", rate_hz=8_000, wall_ns=lambda: next(now))
        first, second = source.open()
    assert (len(first.samples), len(second.samples)) == (800, 400)
    assert first.wall_ns == START_NS - SECOND // 10
    assert second.wall_ns == START_NS + SECOND - SECOND // 20
    assert first.start_ns is None
    assert source.torn_bytes == 1


def test_a_stated_start_goes_through_a_file_too(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(10_000))
    with (tmp_path / "a.raw").open("rb") as file:
        stated = list(Piped(file.fileno(), encoding="s16le", rate_hz=8_000, start_ns=START_NS).open())
    assert [raw.start_ns for raw in stated] == [sample_instant(START_NS, raw.count, 8_000) for raw in stated]
    with (tmp_path / "a.raw").open("rb") as file:
        unstamped = list(Piped(file.fileno(), encoding="s16le", rate_hz=8_000).open())
    assert sum(len(raw.samples) for raw in unstamped) == 5_000
    assert all(raw.wall_ns is None and raw.start_ns is None for raw in stated + unstamped if raw in unstamped)


def test_closing_wakes_the_reader_and_it_can_go_on_later():
    reading, writing = os.pipe()
    source = Piped(reading, encoding="s16le", rate_hz=8_000)
    os.write(writing, bytes(100))
    samples = source.open()
    assert isinstance(next(samples), Raw)
    threading.Timer(0.2, source.close).start()
    assert list(samples) == []
    source.close()
    os.write(writing, bytes(60))
    os.close(writing)
    assert [len(raw.samples) for raw in source.open()] == [30]
    os.close(reading)
    with pytest.raises(SourceError, match="not open"):
        source.open()
