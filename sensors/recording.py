"""A recording is a sensor too: WAV and FLAC files as audio blocks, read as they stream and never believed."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from acoustic.block import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, AudioBlock
from acoustic.instant import sample_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import soundfile
    from numpy.typing import NDArray

MOST_CHANNELS: Final = 64
SUBTYPES: Final = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
MOST_CHUNKS: Final = 10_000  # of a RIFF file; more than that is not a recording
UNKNOWN_LENGTH: Final = 0xFFFF_FFFF


class RecordingError(ValueError):
    """A file that cannot be heard; the message is one line that names it and says what to do."""


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What a recording says of itself.

    Parameters
    ----------
    frames : int
        Samples for each channel.
    rate_hz, channels : int
    subtype : str
        One of `SUBTYPES`, in libsndfile's words.
    """

    frames: int
    rate_hz: int
    channels: int
    subtype: str


def inspect(path: Path | str) -> RecordingInfo:
    """Look at a recording's headers.

    Parameters
    ----------
    path : Path
        WAV (also WAVE_FORMAT_EXTENSIBLE and RF64) or FLAC, whatever its name ends in.

    Raises
    ------
    RecordingError
        When it is no such file, is shorter than its header claims, is empty, or has a rate outside 8 to 192 kHz or
        more than 64 channels. A FLAC file that was cut short shows itself only when it is read.
    """
    with _opened(Path(path)) as sound:
        return RecordingInfo(sound.frames, sound.samplerate, sound.channels, sound.subtype)


def read_blocks(
    path: Path | str, start_ns: int, *, channels: Sequence[int] | None = None, block_frames: int = 65_536
) -> Iterator[AudioBlock]:
    """Read a recording block by block; memory does not grow with its length.

    Parameters
    ----------
    path : Path
        As for `inspect`.
    start_ns : int
        When its first sample was taken.
    channels : sequence of int or None
        Which channels, counted from 0, in the order wanted; None for all. Blocks of one channel have shape (n,).
    block_frames : int
        Frames in each block but the last.

    Yields
    ------
    AudioBlock
        The first one marked as coming after a gap.

    Raises
    ------
    RecordingError
        As `inspect`, and when samples are NaN or infinite, or fewer can be decoded than the header claims. The
        blocks before the fault have been given by then.
    """
    path = Path(path)
    with _opened(path) as sound:
        columns = _columns(path, sound.channels, channels)
        done = 0
        while done < sound.frames:
            samples = _read(path, sound, min(block_frames, sound.frames - done), done)[:, columns]
            if samples.shape[1] == 1:
                samples = samples[:, 0]
            start = sample_instant(start_ns, done, sound.samplerate)
            yield AudioBlock(np.ascontiguousarray(samples), sound.samplerate, start, after_gap=done == 0)
            done += len(samples)


def _columns(path: Path, available: int, wanted: Sequence[int] | None) -> list[int]:
    if wanted is None:
        return list(range(available))
    for channel in wanted:
        if not 0 <= channel < available:
            raise RecordingError(
                f"{path}: channel {channel} is wanted, but it has {available}; channels count from 0: mend audio.csv"
            )
    return list(wanted)


def _read(path: Path, sound: soundfile.SoundFile, frames: int, done: int) -> NDArray[np.float32]:
    import soundfile  # libsndfile is loaded only where a file is opened

    try:
        samples: NDArray[np.float32] = sound.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise RecordingError(
            f"{path}: cannot be decoded after {done / sound.samplerate:.3f} s ({error.error_string.rstrip('.')}); "
            "it is damaged or cut short: copy or record it again"
        ) from None
    if len(samples) < frames:
        raise RecordingError(
            f"{path}: cut short: {done + len(samples)} frames can be decoded of the {sound.frames} that its header "
            "claims; copy it again"
        )
    finite = np.isfinite(samples).all(axis=1)
    if not finite.all():
        at_s = (done + int(np.argmin(finite))) / sound.samplerate
        raise RecordingError(
            f"{path}: a sample at {at_s:.6f} s is NaN or infinite; export it again as 16 or 24 bit PCM"
        )
    return samples


def _opened(path: Path) -> soundfile.SoundFile:
    """The file, open, once its own headers have been compared with its size."""
    import soundfile

    if path.exists() and not path.is_file():  # a pipe would keep its reader waiting for ever
        raise RecordingError(f"{path}: not a regular file; expected a WAV or FLAC file")
    try:
        with path.open("rb") as file:
            _check_container(path, file)
        sound = soundfile.SoundFile(path)
    except FileNotFoundError:
        raise RecordingError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be opened ({error.strerror or error}); {_remedy(error)}") from None
    except soundfile.LibsndfileError as error:
        raise RecordingError(
            f"{path}: cannot be read as audio ({error.error_string.rstrip('.')}); expected WAV or FLAC"
        ) from None
    try:
        _check_format(path, sound)
    except RecordingError:
        sound.close()
        raise
    return sound


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files: ulimit -n"
    return "check its permissions"


def _check_container(path: Path, file: BinaryIO) -> None:
    magic = file.read(12)
    if not magic:
        raise RecordingError(f"{path}: empty; expected a WAV or FLAC file")
    if magic[:4] == b"fLaC":
        return
    if magic[:4] not in (b"RIFF", b"RF64") or magic[8:] != b"WAVE":
        raise RecordingError(f"{path}: neither WAV nor FLAC; convert it to one of them first")
    size = file.seek(0, 2)
    file.seek(12)
    claimed, available = _data_chunk(path, file, size)
    if claimed > available:
        raise RecordingError(
            f"{path}: cut short: its header claims {claimed} bytes of samples, {available} are there; copy it again"
        )


def _data_chunk(path: Path, file: BinaryIO, size: int) -> tuple[int, int]:
    """Bytes of samples that a RIFF file claims, and that it holds; its format chunk is checked on the way.

    libsndfile quietly takes what there is, so the chunks are walked here.
    """
    long_length: int | None = None
    for _ in range(MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            raise RecordingError(f"{path}: a WAV file without samples (no data chunk); record it again")
        name, length = struct.unpack("<4sI", header)
        at = file.tell()
        if name == b"data":
            if length == UNKNOWN_LENGTH and long_length is not None:
                length = long_length
            return length, size - at
        if name == b"ds64" and length >= 16:
            long_length = int.from_bytes(file.read(16)[8:16], "little")
        elif name == b"fmt ":
            _check_wav_format(path, file.read(16))
        file.seek(at + length + length % 2)
    raise RecordingError(f"{path}: more than {MOST_CHUNKS} chunks before its samples; expected a plain WAV file")


def _check_wav_format(path: Path, chunk: bytes) -> None:
    if len(chunk) < 16:
        raise RecordingError(f"{path}: its format chunk is cut short; copy it again")
    channels, rate_hz = struct.unpack_from("<HI", chunk, 2)
    _check_numbers(path, channels, rate_hz)


def _check_format(path: Path, sound: soundfile.SoundFile) -> None:
    if sound.format not in ("WAV", "WAVEX", "RF64", "FLAC") or sound.subtype not in SUBTYPES:
        raise RecordingError(f"{path}: {sound.format} {sound.subtype}; convert it to 16 or 24 bit WAV or FLAC")
    _check_numbers(path, sound.channels, sound.samplerate)
    if sound.frames <= 0:
        raise RecordingError(f"{path}: holds no samples; expected at least one")
    if sound.frames > 2**48:
        raise RecordingError(f"{path}: does not say how long it is; encode it again")


def _check_numbers(path: Path, channels: int, rate_hz: int) -> None:
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise RecordingError(
            f"{path}: sampled at {rate_hz} Hz; expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}: record or resample it so"
        )
    if not 1 <= channels <= MOST_CHANNELS:
        raise RecordingError(f"{path}: {channels} channels; expected 1 to {MOST_CHANNELS}")
