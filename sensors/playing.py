"""Recordings played as if they were heard now: at their own pace, faster, or as fast as it goes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from acoustic.instant import SECOND, check_instant, sample_instant, seconds_between
from sensors.recording import RecordingError, RecordingInfo, inspect, read_blocks
from sensors.source import Raw, SourceError

SUFFIXES: Final = (".wav", ".flac")
SHORTEST_BLOCK_S: Final = 0.001
READ_S: Final = 1  # read from the disk at a time, and cut from there

_NEEDED: Final = (
    (frozenset("Yy"), "the year"),
    (frozenset("mbBj"), "the month"),
    (frozenset("dj"), "the day"),
    (frozenset("HI"), "the hour"),
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file, and when it was made.

    Parameters
    ----------
    path : Path
        WAV or FLAC.
    start_ns : int
        When its first sample was taken.
    channels : tuple of int or None
        Which of its channels are heard, counted from 0, in the order wanted; None for all.
    """

    path: Path
    start_ns: int
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_instant(self.start_ns, "start_ns")
        if self.channels is not None and not self.channels:
            raise ValueError("channels is empty: expected one at least, or None for all")


class Playing:
    """Recordings of one sensor, one after the other, with the gaps between them.

    What is given are the samples and instants of `sensors.recording.read_blocks`, whatever the pace. A file that
    follows the one before to half a sample continues it; otherwise it comes after a loss.

    Parameters
    ----------
    recordings : sequence of Recording
        In the order of time, without overlap, of one rate.
    factor : float
        How much faster than it was recorded: 1 as it was, 20 for twenty times; 0 for as fast as it is taken. A piece
        is given when its last sample would have been heard.
    block_s : float
        Length of a piece, s; 0.02 to 0.1 is what a microphone gives.
    origin_ns : int or None
        The recorded instant that the opening corresponds to: several sensors with the same one keep their
        differences of time. None for the first recording's start. What lies before it is given at once.
    monotonic, wait : callable
        Seconds that never go back; what to do for so many seconds, until `close`: None for waiting.

    Raises
    ------
    ValueError
        Without recordings, or for a factor or length out of range.
    """

    once = True

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        factor: float = 1.0,
        block_s: float = 0.05,
        origin_ns: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        if not recordings:
            raise ValueError("nothing to play: expected one recording at least")
        if not 0.0 <= factor <= 1e6:
            raise ValueError(f"factor is {factor}: expected 0 (as fast as it goes) to a million")
        if not SHORTEST_BLOCK_S <= block_s <= 60.0:
            raise ValueError(f"block_s is {block_s}: expected {SHORTEST_BLOCK_S} to 60 s")
        self._recordings = tuple(recordings)
        self._factor = factor
        self._block_s = block_s
        self._origin_ns = recordings[0].start_ns if origin_ns is None else origin_ns
        self._monotonic = monotonic
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self.rate_hz = 0
        self.channels = 0

    @property
    def name(self) -> str:
        """The first file, and how many follow."""
        more = len(self._recordings) - 1
        return f"{self._recordings[0].path}{f' and {more} more' if more else ''}"

    def open(self) -> Iterator[Raw]:
        """Look at every header, and play.

        Raises
        ------
        SourceError
            When a file cannot be read, is of another rate or overlaps the one before; from the iterator when one
            turns out to be damaged.
        """
        self._closed.clear()
        try:
            self._check([inspect(recording.path) for recording in self._recordings])
        except RecordingError as error:
            raise SourceError(str(error)) from None
        return self._pieces(self._monotonic())

    def counted(self) -> dict[str, int]:
        """Nothing: a file that cannot be read stops it."""
        return {}

    def close(self) -> None:
        """Stop playing."""
        self._closed.set()

    def _check(self, infos: Sequence[RecordingInfo]) -> None:
        self.rate_hz = infos[0].rate_hz
        self.channels = _channels(self._recordings[0], infos[0])
        end_ns: int | None = None
        for recording, info in zip(self._recordings, infos, strict=True):
            if info.rate_hz != self.rate_hz or _channels(recording, info) != self.channels:
                raise SourceError(
                    f"{recording.path}: {info.rate_hz} Hz and {_channels(recording, info)} channels after "
                    f"{self.rate_hz} Hz and {self.channels}: play what differs as another sensor"
                )
            if end_ns is not None and end_ns - recording.start_ns > _half_sample_ns(self.rate_hz):
                raise SourceError(
                    f"{recording.path}: starts {seconds_between(recording.start_ns, end_ns):.6f} s before the "
                    "recording before it ends: mend the start times, or the order"
                )
            end_ns = sample_instant(recording.start_ns, info.frames, info.rate_hz)

    def _pieces(self, begun_s: float) -> Iterator[Raw]:
        count = 0
        end_ns: int | None = None
        for recording in self._recordings:
            missing = 0
            if end_ns is not None and recording.start_ns - end_ns > _half_sample_ns(self.rate_hz):
                missing = round((recording.start_ns - end_ns) * self.rate_hz / SECOND)
            first = count + missing
            for raw in self._cut(recording, first, lost=missing > 0):
                count = raw.end_count
                end_ns = sample_instant(recording.start_ns, count - first, self.rate_hz)
                if not self._paced(end_ns, begun_s):
                    return
                yield raw

    def _cut(self, recording: Recording, first: int, *, lost: bool) -> Iterator[Raw]:
        """One file in pieces of the length wanted; ``first`` is the count of its first sample."""
        length = max(round(self._block_s * self.rate_hz), 1)
        done = 0
        try:
            for block in read_blocks(
                recording.path,
                recording.start_ns,
                channels=recording.channels,
                block_frames=length * max(READ_S * self.rate_hz // length, 1),
            ):
                for at in range(0, len(block.samples), length):
                    samples = block.samples[at : at + length]
                    start_ns = sample_instant(recording.start_ns, done, self.rate_hz)
                    yield Raw(samples, first + done, self.rate_hz, start_ns=start_ns, lost=lost and not done)
                    done += len(samples)
        except RecordingError as error:
            raise SourceError(str(error)) from None

    def _paced(self, end_ns: int, begun_s: float) -> bool:
        """Wait for the moment at which a piece that ends then is due; False once closed."""
        while self._factor and not self._closed.is_set():
            due_s = begun_s + seconds_between(self._origin_ns, end_ns) / self._factor
            left_s = due_s - self._monotonic()
            if left_s <= 0.0:
                break
            self._wait(left_s)
        return not self._closed.is_set()


def _channels(recording: Recording, info: RecordingInfo) -> int:
    if recording.channels is None:
        return info.channels
    if not 0 <= min(recording.channels) <= max(recording.channels) < info.channels:
        raise SourceError(
            f"{recording.path}: channels {list(recording.channels)} are wanted, it has {info.channels}, counted from 0"
        )
    return len(recording.channels)


def _half_sample_ns(rate_hz: int) -> int:
    return SECOND // (2 * rate_hz) + 1


def recordings_of(folder: Path, name_format: str, *, utc_offset: timedelta | None = None) -> tuple[Recording, ...]:
    """The WAV and FLAC files of a folder in the order of time, each with the start that its name says.

    Parameters
    ----------
    folder : Path
    name_format : str
        What the names look like, ending left out, in the letters of `datetime.strptime`:
        ``%Y%m%d_%H%M%S`` for ``20261121_020000.WAV``, ``roof7-%Y-%m-%dT%H-%M-%S.%fZ`` for names with their zone.
    utc_offset : timedelta or None
        The zone of the names' clock, where the format has neither ``%z`` nor ends in a ``Z``. Nothing is assumed, and
        there is no way to name a zone with summer time: an hour of each autumn would be there twice.

    Raises
    ------
    ValueError
        For a format that leaves day, hour or zone open.
    SourceError
        Without such files, and when a name does not fit the format.
    """
    zoned = _check_format(name_format, utc_offset)
    zone = timezone(utc_offset) if utc_offset is not None else UTC
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read ({error.strerror}); expected a folder of recordings") from None
    if not paths:
        raise SourceError(f"{folder}: no recordings; expected files ending in {' or '.join(SUFFIXES)}")
    found = [Recording(path, _start_ns(path, name_format, None if zoned else zone)) for path in paths]
    return tuple(sorted(found, key=lambda recording: recording.start_ns))


def _check_format(name_format: str, utc_offset: timedelta | None) -> bool:
    """Whether the format itself reads a zone."""
    letters = set(re.findall(r"%(.)", name_format))
    if "I" in letters and "p" not in letters:
        raise ValueError(f"{name_format!r} has hours of twelve (%I) without %p: noon and midnight look alike")
    for wanted, what in _NEEDED:
        if not letters & wanted:
            raise ValueError(f"{name_format!r} does not say {what}: expected as %Y%m%d_%H%M%S")
    if "Z" in letters:
        raise ValueError(f"{name_format!r} reads a zone's name (%Z), which is not sure: expected %z, or an offset")
    zoned = "z" in letters
    if (zoned or name_format.endswith("Z")) and utc_offset is not None:
        raise ValueError(f"{name_format!r} says its zone itself: leave the offset out")
    if not zoned and utc_offset is None and not name_format.endswith("Z"):
        raise ValueError(f"{name_format!r} does not say its zone: state the offset from UTC, 0 for UTC itself")
    return zoned


def _start_ns(path: Path, name_format: str, zone: timezone | None) -> int:
    try:
        start = datetime.strptime(path.stem, name_format)  # noqa: DTZ007 - the zone follows
    except ValueError:
        raise SourceError(
            f"{path}: its name does not fit {name_format!r}; rename it, move it away, or mend the format"
        ) from None
    if zone is not None:
        start = start.replace(tzinfo=zone)
    return (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
