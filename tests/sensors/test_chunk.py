"""Chunks: the same samples on the other side, however they were cut, and nothing believed of what strangers send."""

import dataclasses
import io
import itertools
import random
import resource
import struct
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.block import AudioBlock, Timing
from acoustic.instant import SECOND, parse_instant
from sensors.chunk import AudioChunk, ChunkError, quantised
from sensors.chunker import Chunker
from sensors.flac import LARGEST_FLAC_BYTES, Claim, FlacError, decode, encode, most_frames, values_of
from tests.sounds import noise, street

START_NS = parse_instant("2026-11-21T02:00:00Z")
RATE_HZ = 8_000


def integers(n, bits, channels=None, seed=0):
    """Loud noise as a converter of so many bits gives it, (n,) or (n, channels) float32."""
    shape = n if channels is None else (n, channels)
    steps = np.random.default_rng(seed).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)
    return (steps / 2.0 ** (bits - 1)).astype(np.float32)


def blocks_of(samples, rate_hz, lengths, timed=False, first=0):
    """The samples cut into these lengths, over and over; with a timing of its own for each full second."""
    blocks, at, timing = [], 0, None
    for wanted in itertools.cycle(lengths):
        if at >= len(samples):
            return blocks
        index = first + at
        if timed and (timing is None or index % rate_hz == 0):
            true_hz = rate_hz * (1.0 + 2e-5 * np.sin(index))
            timing = Timing(index, START_NS + round(index * SECOND / (rate_hz * (1.0 + 1e-5))), true_hz, 1e-5, "locked")
        length = min(wanted, rate_hz - index % rate_hz) if timed else wanted
        piece = samples[at : at + length]
        if timed:
            blocks.append(AudioBlock.timed(piece, rate_hz, index, timing, after_gap=at == 0))
        else:
            blocks.append(AudioBlock(piece, rate_hz, START_NS + at * SECOND // rate_hz, after_gap=at == 0))
        at += length
    return blocks


def chunked(blocks, session="night"):
    chunker = Chunker("roof-1", session)
    return [*(chunk for block in blocks for chunk in chunker.take(block)), *chunker.finish()]


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("channels", [None, 2, 8])
@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 192_000])
def test_integers_come_back_bit_for_bit(bits, channels, rate_hz):
    samples = integers(min(rate_hz, most_frames(rate_hz, channels or 1)) // 2, bits, channels)
    first, *rest = blocks_of(samples, rate_hz, [len(samples)])
    chunk = AudioChunk.of("roof-1", "e", 0, first)
    block = chunk.block()
    assert not rest
    assert np.array_equal(block.samples, samples)
    assert (block.rate_hz, block.start_ns, block.after_gap, block.index) == (rate_hz, START_NS, True, 0)
    assert len(chunk.flac) < 1.02 * samples.size * bits / 8 + 200


def test_sixteen_bits_where_they_do():
    quiet, fine = street(RATE_HZ, 1.0), integers(RATE_HZ, 24)
    coarse = np.round(quiet * 2.0**15).astype(np.float32) / np.float32(2.0**15)
    sizes = [len(AudioChunk.of("a", "e", 0, *blocks_of(s, RATE_HZ, [RATE_HZ])).flac) for s in (coarse, fine)]
    assert sizes[0] < 0.6 * sizes[1]


def test_what_others_make_of_our_flac():
    """FFmpeg's decoder, which shares no line with libFLAC."""
    av = pytest.importorskip("av")
    samples = integers(RATE_HZ, 24)
    flac = AudioChunk.of("a", "e", 0, *blocks_of(samples, RATE_HZ, [RATE_HZ])).flac
    with av.open(io.BytesIO(flac)) as file:
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert np.array_equal(values_of(decoded >> 8), samples)


@given(st.lists(st.integers(97, 3 * RATE_HZ), min_size=1, max_size=6), st.booleans(), st.integers(0, 5 * RATE_HZ))
@settings(max_examples=30)
def test_chunks_do_not_depend_on_how_the_stream_is_cut(lengths, timed, first):
    samples = integers(4 * RATE_HZ + 123, 16)
    first = first if timed else 0
    chunks = chunked(blocks_of(samples, RATE_HZ, lengths, timed, first))
    assert chunks == chunked(blocks_of(samples, RATE_HZ, [160], timed, first))
    assert np.array_equal(np.concatenate([chunk.block().samples for chunk in chunks]), samples)
    assert [chunk.after_gap for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert {chunk.epoch for chunk in chunks} == {"night-0"}
    indexes = np.cumsum([first, *(chunk.count for chunk in chunks)])
    assert [chunk.index for chunk in chunks] == list(indexes[:-1])


def test_a_gap_ends_a_chunk_and_counting_back_an_epoch():
    samples = integers(RATE_HZ, 16)
    timing = Timing(0, START_NS, float(RATE_HZ), 1e-5)
    later = Timing(20_000, START_NS + 5 * SECOND, float(RATE_HZ), 1e-5)
    again = Timing(0, START_NS + 9 * SECOND, float(RATE_HZ), 1e-5)
    blocks = [
        AudioBlock.timed(samples[:3_000], RATE_HZ, 0, timing),
        AudioBlock.timed(samples, RATE_HZ, 20_000, later),
        AudioBlock.timed(samples[:500], RATE_HZ, 0, again),
    ]
    found = [(c.epoch, c.index, c.count, c.after_gap) for c in chunked(blocks, "s")]
    assert found == [("s-0", 0, 3_000, True), ("s-0", 20_000, 8_000, True), ("s-1", 0, 500, True)]


def test_several_channels_at_the_highest_rate_go_in_smaller_pieces():
    samples = integers(192_000, 24, 8)
    chunks = chunked(blocks_of(samples, 192_000, [192_000]))
    assert len(chunks) > 1
    assert max(len(chunk.flac) for chunk in chunks) <= LARGEST_FLAC_BYTES
    assert np.array_equal(np.concatenate([chunk.block().samples for chunk in chunks]), samples)
    assert most_frames(48_000, 1) == 48_000


def test_floating_point_is_refused_until_it_is_quantised():
    block = AudioBlock(np.array([0.1, 2.0, np.nan, -np.inf, 0.25], dtype=np.float32), RATE_HZ, START_NS)
    with pytest.raises(ChunkError, match="sensor a: its samples are no integers of 24 bits or fewer: quantise them"):
        AudioChunk.of("a", "e", 0, block)
    heard = quantised(block)
    assert np.array_equal(AudioChunk.of("a", "e", 0, heard).block().samples, heard.samples)
    assert np.abs(heard.samples - [0.1, 1.0, 0.0, -1.0, 0.25]).max() <= 2.0**-23
    assert quantised(heard) is heard


def test_more_channels_than_flac_has_are_refused_with_the_remedy():
    block = AudioBlock(np.zeros((100, 9), dtype=np.float32), RATE_HZ, START_NS)
    with pytest.raises(ChunkError, match="9 channels: FLAC holds 8; listen to this array at its node"):
        AudioChunk.of("a", "e", 0, block)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("sensor_id", "", "sensor_id must not be empty"),
        ("epoch", "", "epoch is ''"),
        ("epoch", "a\nb", "epoch is"),
        ("index", -1, "index is -1"),
        ("count", 0, "count is 0"),
        ("count", RATE_HZ + 1, "count is 8001: expected 1 to 8000"),
        ("rate_hz", 7_999, "rate_hz is 7999"),
        ("channels", 9, "channels is 9: expected 1 to 8"),
        ("crc32", 2**32, "crc32 is"),
        ("flac", b"", "length of flac is 0"),
        ("flac", bytes(LARGEST_FLAC_BYTES + 1), "length of flac is"),
        ("start_ns", 1.5e18, "start_ns is 1.5e"),
        ("timing", Timing(0, START_NS + 1, 8_000.0, 0.1), "its timing says"),
    ],
)
def test_a_chunk_checks_itself(field, value, said):
    chunk = chunked(blocks_of(integers(800, 16), RATE_HZ, [800]))[0]
    with pytest.raises((ValueError, TypeError), match=said):
        dataclasses.replace(chunk, **{field: value})


@given(st.data())
@settings(max_examples=200)
def test_one_wrong_byte_is_noticed(data):
    chunk = chunked(blocks_of(noise_steps(), RATE_HZ, [RATE_HZ]))[0]
    flac = bytearray(chunk.flac)
    flac[data.draw(st.integers(0, len(flac) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ChunkError, match="its bytes are damaged"):
        dataclasses.replace(chunk, flac=bytes(flac)).block()


def noise_steps(n=RATE_HZ):
    return np.round(noise(n) * 2.0**15).astype(np.float32) / np.float32(2.0**15)


def test_a_header_that_claims_something_else_is_not_decoded(monkeypatch):
    chunk = chunked(blocks_of(noise_steps(), RATE_HZ, [RATE_HZ]))[0]
    monkeypatch.setattr(soundfile, "SoundFile", None)  # whoever decodes now falls over it
    fields = int.from_bytes(chunk.flac[18:26], "big")
    others = [
        (fields & ~(2**36 - 1)) | 2**36 - 1,  # 68,719,476,735 samples
        fields ^ 1 << 41,  # two channels
        fields ^ 1 << 44,  # another rate
        fields ^ 1 << 36,  # 15 bits
        fields ^ 1 << 40,  # 32 bits
    ]
    for other in others:
        forged = chunk.flac[:18] + struct.pack(">Q", other) + chunk.flac[26:]
        with pytest.raises(ChunkError, match="its header says"):
            dataclasses.replace(chunk, flac=forged, crc32=zlib.crc32(forged)).block()
    for forged in (b"RIFF" + chunk.flac[4:], b"fLaC\x04\x00\x00\x28" + chunk.flac[8:], chunk.flac[:42], b"f"):
        with pytest.raises(ChunkError, match="STREAMINFO as its only metadata"):
            dataclasses.replace(chunk, flac=forged, crc32=zlib.crc32(forged)).block()


def test_cut_short_is_said():
    chunk = chunked(blocks_of(noise_steps(), RATE_HZ, [RATE_HZ]))[0]
    for length in (43, 60, len(chunk.flac) // 2, len(chunk.flac) - 1):
        cut = chunk.flac[:length]
        with pytest.raises(ChunkError, match=r"cut short|cannot be decoded"):
            dataclasses.replace(chunk, flac=cut, crc32=zlib.crc32(cut)).block()


def spoil(flac, generator):
    """One of many ways to be hostile: bytes changed, removed, doubled, put in, or the header written anew."""
    flac = bytearray(flac)
    way = generator.randrange(6)
    at = generator.randrange(len(flac))
    if way == 0:
        for _ in range(generator.randrange(1, 9)):
            flac[generator.randrange(len(flac))] = generator.randrange(256)
    elif way == 1:
        del flac[at : at + generator.randrange(1, 200)]
    elif way == 2:
        flac[at:at] = flac[generator.randrange(len(flac)) :][: generator.randrange(1, 400)]
    elif way == 3:
        flac[at:at] = generator.randbytes(generator.randrange(1, 100))
    elif way == 4:
        flac[8:42] = generator.randbytes(34)
    else:  # the first frame's own header, which says block size, rate, channels and bits once more
        flac[42 + generator.randrange(8)] = generator.randrange(256)
    return bytes(flac)


def hostile(times):
    """How many of so many hostile streams were refused, how many still gave what was claimed."""
    generator = random.Random(5)  # noqa: S311 - the same every time
    honest = []
    for rate_hz, n, channels, bits in ((8_000, 800, 1, 16), (48_000, 4_800, 2, 24), (192_000, 500, 8, 24)):
        steps = np.random.default_rng(n).integers(-(2**20), 2**20, (n, channels)).astype(np.int32)
        steps = steps & ~0xFF if bits == 16 else steps
        honest.append((encode(steps, rate_hz, bits), Claim(n, rate_hz, channels)))
    refused = 0
    for _ in range(times):
        flac, claim = generator.choice(honest)
        try:
            found = decode(spoil(flac, generator), claim)
        except FlacError as error:
            refused += len(str(error).splitlines()) == 1
        else:
            assert found.shape == (claim.frames, claim.channels)
    return refused


def test_hostile_streams():
    assert hostile(5_000) > 4_000


@pytest.mark.endurance
def test_a_million_hostile_streams():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert hostile(1_000_000) > 800_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024
