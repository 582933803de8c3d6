"""Recordings played as if they were heard now: the same samples and instants at any pace."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, parse_instant
from sensors.playing import Playing, Recording, _start_ns, recordings_of
from sensors.recording import read_blocks
from sensors.source import SourceError
from tests.sounds import noise

START_NS = parse_instant("2026-11-21T02:00:00.25Z")
RATE_HZ = 44_100


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Three channels in two files with a gap, and one that follows the second to the sample."""
    folder = tmp_path_factory.mktemp("night")
    recordings = []
    start_ns = START_NS
    for k, (frames, gap_s) in enumerate([(70_001, 0.0), (30_000, 12.5), (5_000, 0.0)]):
        samples = noise(frames * 3, 0.1).reshape(-1, 3)
        soundfile.write(folder / f"{k}.flac", samples, RATE_HZ, subtype="PCM_24")
        start_ns += round(gap_s * SECOND)
        recordings.append(Recording(folder / f"{k}.flac", start_ns, (2, 0)))
        start_ns += round(frames * SECOND / RATE_HZ)
    return recordings


class Clock:
    """Time that passes only when somebody waits, and how long they did."""

    def __init__(self):
        self.now_s = 1_000.0
        self.waited = []

    def monotonic(self):
        return self.now_s

    def wait(self, seconds):
        assert seconds > 0.0
        self.waited.append(seconds)
        self.now_s += seconds


@given(block_s=st.floats(0.005, 3.0), factor=st.sampled_from((0.0, 1.0, 20.0)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_samples_and_instants_are_those_of_the_reader_at_any_pace(night, block_s, factor):
    clock = Clock()
    playing = Playing(night, factor=factor, block_s=block_s, monotonic=clock.monotonic, wait=clock.wait)
    pieces = []
    for raw in playing.open():
        # Not before its last sample would have been heard; no later than the next wait.
        if factor:
            due_s = (raw.start_ns - START_NS) / SECOND + len(raw.samples) / RATE_HZ
            assert clock.now_s - 1_000.0 == pytest.approx(due_s / factor, abs=1e-6)
        pieces.append(raw)
    assert (playing.rate_hz, playing.channels) == (RATE_HZ, 2)
    assert bool(clock.waited) == bool(factor)
    length = max(round(block_s * RATE_HZ), 1)
    blocks = [
        block
        for one in night
        for block in read_blocks(one.path, one.start_ns, channels=one.channels, block_frames=length)
    ]
    assert [raw.start_ns for raw in pieces] == [block.start_ns for block in blocks]
    for raw, block in zip(pieces, blocks, strict=True):
        np.testing.assert_array_equal(raw.samples, block.samples)


def test_a_gap_is_a_loss_and_what_follows_on_is_none(night):
    pieces = list(Playing(night, factor=0.0, block_s=0.1).open())
    (torn,) = [k for k, raw in enumerate(pieces) if raw.lost]
    assert pieces[torn].start_ns == night[1].start_ns
    assert pieces[torn].count - pieces[torn - 1].end_count == round(12.5 * RATE_HZ)
    whole = [raw for raw in pieces if raw is not pieces[torn]]
    assert whole[0].count == 0
    (third,) = [k for k, raw in enumerate(pieces) if raw.start_ns == night[2].start_ns]
    assert pieces[third].count == pieces[third - 1].end_count


def test_sensors_with_one_origin_keep_their_differences(night):
    clocks = [Clock(), Clock()]
    origin_ns = START_NS - 3 * SECOND
    plays = [
        Playing([one], factor=2.0, origin_ns=origin_ns, monotonic=clock.monotonic, wait=clock.wait)
        for one, clock in zip(night[:2], clocks, strict=True)
    ]
    firsts = [next(play.open()) for play in plays]
    for first, clock in zip(firsts, clocks, strict=True):
        ends_s = (first.start_ns - origin_ns) / SECOND + len(first.samples) / RATE_HZ
        assert clock.now_s - 1_000.0 == pytest.approx(ends_s / 2.0, abs=1e-6)


def test_closing_wakes_it(night):
    playing = Playing([Recording(night[0].path, START_NS)], factor=1e-3)
    threading.Timer(0.1, playing.close).start()
    assert list(playing.open()) == []


def test_what_cannot_be_played_is_said(night, tmp_path):
    for bad, message in [
        ([Recording(tmp_path / "absent.wav", START_NS)], "no such file"),
        ([night[1], night[0]], r"starts 14\.7.* s before the recording before it ends"),
        ([Recording(night[0].path, START_NS, (3,))], r"channels \[3\] are wanted, it has 3"),
        ([night[0], Recording(night[1].path, night[1].start_ns)], "play what differs as another sensor"),
    ]:
        with pytest.raises(SourceError, match=message):
            Playing(bad).open()
    content = night[0].path.read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match=r"cut\.flac: (cut short|cannot be)"):
        list(Playing([Recording(tmp_path / "cut.flac", START_NS)], factor=0.0).open())
    for bad in ({"factor": -1.0}, {"factor": float("nan")}, {"block_s": 0.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Playing(night, **bad)
    with pytest.raises(ValueError, match="nothing to play"):
        Playing([])


@pytest.mark.parametrize(
    ("names", "name_format", "offset_h", "starts"),
    [
        # As AudioMoth's firmware names them: one zone for the device, UTC unless it was told otherwise.
        (["20261121_020000.WAV", "20261121_010000.WAV"], "%Y%m%d_%H%M%S", 0, ["01:00:00Z", "02:00:00Z"]),
        (["20261121_020000.wav"], "%Y%m%d_%H%M%S", -5, ["07:00:00Z"]),
        (["roof 2026-11-21T02-00-00.250Z.flac"], "roof %Y-%m-%dT%H-%M-%S.%fZ", None, ["02:00:00.25Z"]),
        (["20261121T120000-0500.wav"], "%Y%m%dT%H%M%S%z", None, ["17:00:00Z"]),
        (["20261121 0100 PM.wav"], "%Y%m%d %I%M %p", 0, ["13:00:00Z"]),
    ],
)
def test_a_folders_names_say_when_by_a_stated_format(tmp_path, names, name_format, offset_h, starts):
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "readme.txt").touch()
    found = recordings_of(tmp_path, name_format, utc_offset=None if offset_h is None else timedelta(hours=offset_h))
    assert [one.start_ns for one in found] == [parse_instant(f"2026-11-21T{start}") for start in starts]


@pytest.mark.parametrize(
    ("name_format", "offset", "message"),
    [
        ("%Y%m%d_%H%M%S", None, "does not say its zone"),
        ("%Y%m%d_%I%M%S", timedelta(0), "noon and midnight look alike"),
        ("%H%M%S", timedelta(0), "does not say the year"),
        ("%Y%d_%H", timedelta(0), "does not say the month"),
        ("%Y%m%d", timedelta(0), "does not say the hour"),
        ("%Y%m%d_%H%M%S_%Z", timedelta(0), "zone's name"),
        ("%Y%m%d_%H%M%S%z", timedelta(0), "leave the offset out"),
        ("%Y%m%d_%H%M%SZ", timedelta(0), "leave the offset out"),
    ],
)
def test_a_format_that_leaves_something_open_is_refused(tmp_path, name_format, offset, message):
    with pytest.raises(ValueError, match=message):
        recordings_of(tmp_path, name_format, utc_offset=offset)


def test_a_name_that_does_not_fit_is_never_skipped(tmp_path):
    with pytest.raises(SourceError, match="no recordings"):
        recordings_of(tmp_path, "%Y%m%d_%H%M%SZ")
    with pytest.raises(SourceError, match="cannot be read"):
        recordings_of(tmp_path / "absent", "%Y%m%d_%H%M%SZ")
    (tmp_path / "20261121_020000.wav").touch()
    (tmp_path / "20261321_020000.wav").touch()
    with pytest.raises(SourceError, match=r"20261321_020000\.wav: its name does not fit"):
        recordings_of(tmp_path, "%Y%m%d_%H%M%S", utc_offset=timedelta(0))


@given(
    micros=st.integers(0, 200 * 365 * 86_400 * 10**6),
    offset_min=st.integers(-14 * 60, 14 * 60),
)
def test_any_instant_survives_its_name(micros, offset_min):
    zone = timezone(timedelta(minutes=offset_min))
    instant = datetime(1960, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    name = instant.astimezone(zone).strftime("%Y%m%d_%H%M%S.%f%z") + ".wav"
    start_ns = _start_ns(Path(name), "%Y%m%d_%H%M%S.%f%z", None)
    assert start_ns == (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
