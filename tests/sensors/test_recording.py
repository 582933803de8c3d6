"""Recordings: streamed, exact, and never believed."""

import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import parse_instant, sample_instant
from sensors.recording import RecordingError, inspect, read_blocks
from tests.sounds import noise

START_NS = parse_instant("2026-11-21T02:00:00.5Z")
MEGABYTE = 2**20


def all_of(path, **more):
    blocks = list(read_blocks(path, START_NS, **more))
    return np.concatenate([block.samples for block in blocks]), blocks


@pytest.mark.parametrize(
    ("name", "format_", "subtype"),
    [
        ("a.wav", "WAV", "PCM_16"),
        ("a.wav", "WAV", "PCM_24"),
        ("a.wav", "WAV", "FLOAT"),
        ("a.wav", "WAVEX", "PCM_16"),
        ("a.wav", "RF64", "PCM_16"),
        ("a.flac", "FLAC", "PCM_16"),
        ("a.flac", "FLAC", "PCM_24"),
        ("no-ending", "FLAC", "PCM_16"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_is_read_exactly(tmp_path, name, format_, subtype, channels):
    samples = np.round(noise(20_000 * channels, 0.1), 3).reshape(-1, channels)
    soundfile.write(tmp_path / name, samples, 44_100, format=format_, subtype=subtype)
    info = inspect(tmp_path / name)
    assert (info.frames, info.rate_hz, info.channels, info.subtype) == (20_000, 44_100, channels, subtype)
    read, blocks = all_of(tmp_path / name, block_frames=7_001)
    np.testing.assert_allclose(read.reshape(samples.shape), samples, atol=2.0**-15)
    assert [block.after_gap for block in blocks] == [True, False, False]
    assert [block.start_ns for block in blocks] == [sample_instant(START_NS, k * 7_001, 44_100) for k in range(3)]


def test_channels_are_chosen_in_the_order_wanted(tmp_path):
    samples = noise(3_000, 0.1).reshape(-1, 3)
    soundfile.write(tmp_path / "a.wav", samples, 8_000, subtype="FLOAT")
    np.testing.assert_array_equal(all_of(tmp_path / "a.wav", channels=[1])[0], samples[:, 1])
    np.testing.assert_array_equal(all_of(tmp_path / "a.wav", channels=[2, 0])[0], samples[:, [2, 0]])
    with pytest.raises(RecordingError, match=r"a\.wav: channel 3 is wanted, but it has 3"):
        all_of(tmp_path / "a.wav", channels=[3])


def wav(rate_hz=12_000, channels=1, data=b"\0\0" * 100, claimed=None, bits=16, extra=b""):
    block = channels * bits // 8
    header = struct.pack("<HHIIHH", 1, channels, rate_hz, (rate_hz * block) % 2**32, block % 2**16, bits)
    claimed = len(data) if claimed is None else claimed
    body = b"WAVEfmt " + struct.pack("<I", 16) + header + extra + b"data" + struct.pack("<I", claimed) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flac(tmp_path, n=30_000):
    soundfile.write(tmp_path / "whole.flac", noise(n, 0.1), 12_000)
    return (tmp_path / "whole.flac").read_bytes()


BAD_HEADERS = {
    "empty": (b"", "empty"),
    "text": (b"hello, this is text, not sound", "neither WAV nor FLAC"),
    "short": (b"RIFF", "neither WAV nor FLAC"),
    "ogg": (b"OggS" + bytes(200), "neither WAV nor FLAC"),
    "avi": (b"RIFF" + bytes(4) + b"AVI " + bytes(200), "neither WAV nor FLAC"),
    "truncated": (wav(data=bytes(1_000), claimed=4_000), "cut short: its header claims 4000"),
    "three gigabytes": (wav(data=bytes(1_000), claimed=3 * 2**30), "cut short: its header claims 3221225472"),
    "streamed": (wav(data=bytes(1_000), claimed=0xFFFFFFFF), "cut short"),
    "no samples": (wav(data=b""), "no samples"),
    "no data chunk": (wav()[:36], "no data chunk"),
    "low rate": (wav(rate_hz=4_000), "sampled at 4000 Hz"),
    "high rate": (wav(rate_hz=400_000), "sampled at 400000 Hz"),
    "rate of 2^32": (wav(rate_hz=2**32 - 1), "sampled at 4294967295 Hz"),
    "no channel": (wav(channels=0), "0 channels"),
    "65,535 channels": (wav(channels=65_535), "65535 channels"),
    "bad flac": (b"fLaC" + bytes(100), "cannot be read as audio|no samples|sampled at"),
    "endless chunks": (wav(extra=(b"junk" + bytes(4)) * 20_000), "more than 10000 chunks"),
    "chunk past the end": (wav(extra=b"junk" + b"\xf0\xff\xff\xff"), "no data chunk"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_bad_headers_get_one_clear_line(tmp_path, case):
    content, message = BAD_HEADERS[case]
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    for attempt in (lambda: inspect(path), lambda: all_of(path)):
        with pytest.raises(RecordingError, match=message) as caught:
            attempt()
        assert "bad.wav" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_absent_files_and_folders_are_told_apart(tmp_path):
    with pytest.raises(RecordingError, match="no such file"):
        inspect(tmp_path / "absent.wav")
    with pytest.raises(RecordingError, match="not a regular file"):
        inspect(tmp_path)


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.98])
def test_truncated_flac_is_found_out(tmp_path, kept):
    content = flac(tmp_path)
    path = tmp_path / "cut.flac"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(RecordingError, match=r"cut\.flac: (cut short|cannot be)"):
        all_of(path)


def test_flac_with_a_flipped_byte_never_passes_as_another_sound(tmp_path):
    content = bytearray(flac(tmp_path))
    whole, _ = all_of(tmp_path / "whole.flac")
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "flipped.flac").write_bytes(content)
    try:
        read, _ = all_of(tmp_path / "flipped.flac")
    except RecordingError:
        return
    # libsndfile conceals a frame whose checksum fails; what it gives is finite and of the length declared.
    assert read.shape == whole.shape


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_bad_data(tmp_path, bad):
    samples = noise(20_000)
    samples[13_000] = bad
    soundfile.write(tmp_path / "a.wav", samples, 10_000, subtype="FLOAT")
    with pytest.raises(RecordingError, match=r"a\.wav: a sample at 1\.300000 s is NaN or infinite"):
        all_of(tmp_path / "a.wav", block_frames=4_096)


def test_compressed_wav_is_refused_with_the_remedy(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(20_000), 12_000, subtype="IMA_ADPCM")
    with pytest.raises(RecordingError, match="convert it to 16 or 24 bit"):
        inspect(tmp_path / "a.wav")


def test_memory_does_not_grow_with_the_length_of_a_recording(tmp_path):
    peaks = []
    for seconds in (20, 200):
        with soundfile.SoundFile(tmp_path / "long.wav", "w", 48_000, 1, subtype="PCM_16") as file:
            for _ in range(seconds):
                file.write(np.zeros(48_000, dtype=np.float32))
        tracemalloc.start()
        assert sum(len(block.samples) for block in read_blocks(tmp_path / "long.wav", START_NS)) == seconds * 48_000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + MEGABYTE


@given(cut=st.integers(0, 300), flips=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=6))
@settings(max_examples=80)
def test_mangled_headers_raise_nothing_else(tmp_path_factory, cut, flips):
    content = bytearray(wav(data=bytes(range(200))))
    for at, value in flips:
        content[at] = value
    path = tmp_path_factory.mktemp("fuzz") / "a.wav"
    path.write_bytes(content[: len(content) - cut])
    try:
        read, _ = all_of(path)
    except RecordingError:
        return
    assert np.isfinite(read).all()
