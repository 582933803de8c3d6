"""FLAC as messages carry it: one stream of integer PCM whose header is checked before anything is decoded."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.block import HIGHEST_RATE_HZ, LOWEST_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_FLAC_BYTES: Final = 850_000
"""No message carries more: with its description it stays below what a broker takes, which is 1 MiB."""
MOST_CHANNELS: Final = 8
"""What FLAC has room for (RFC 9639, section 9.1.3)."""
BITS: Final = (16, 24)
OVERHEAD: Final = 1.01
"""Of a stream that cannot be compressed, over its samples as they are; 1.003 was the most that was seen."""

_HEADER_BYTES = 42  # the marker, and STREAMINFO as the only metadata (RFC 9639, section 8.2)
_MARKER = b"fLaC\x80\x00\x00\x22"  # the last block of metadata, of type 0, 34 bytes long
_SMALL_RATE_HZ = 65_535


class FlacError(ValueError):
    """Bytes that are not the FLAC they are said to be; the message is one line."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says that a FLAC holds: ``frames`` samples for each channel."""

    frames: int
    rate_hz: int
    channels: int


def steps_of(samples: NDArray[np.float32]) -> NDArray[np.int32]:
    """Samples as the steps of a 24-bit converter.

    Parameters
    ----------
    samples : (n,) or (n, channels) float32
        In units of full scale. What lies beyond it becomes the last step; NaN becomes 0.
    """
    scaled = np.nan_to_num(samples.astype(np.float64) * 2.0**23, nan=0.0, posinf=2.0**23, neginf=-(2.0**23))
    steps: NDArray[np.int32] = np.clip(np.rint(scaled), -(2**23), 2**23 - 1).astype(np.int32)
    return steps


def values_of(steps: NDArray[np.int32]) -> NDArray[np.float32]:
    """Steps of a 24-bit converter in units of full scale, float32: exact, since a float32 holds 24 bits."""
    return steps.astype(np.float32) * np.float32(2.0**-23)


def bits_of(steps: NDArray[np.int32]) -> int:
    """16 where that loses nothing, else 24."""
    return 24 if np.any(steps & 0xFF) else 16


def most_frames(rate_hz: int, channels: int, bits: int = 24) -> int:
    """How many samples for each channel fit into `LARGEST_FLAC_BYTES`, whatever they sound like; a second at most."""
    return min(rate_hz, int((LARGEST_FLAC_BYTES - 1_000) / (OVERHEAD * channels * bits // 8)))


def encode(steps: NDArray[np.int32], rate_hz: int, bits: int) -> bytes:
    """Steps of a 24-bit converter, (n,) or (n, channels), as FLAC of 16 or 24 bits; 16 drops the lowest eight.

    A rate that FLAC cannot write (above 65,535 Hz and no multiple of ten) is written a little low: what carries the
    FLAC knows better.

    Raises
    ------
    FlacError
        When there are more than `MOST_CHANNELS`, or libsndfile cannot.
    """
    import soundfile  # libsndfile is loaded only where sound is written or read

    if steps.ndim == 2 and steps.shape[1] > MOST_CHANNELS:
        raise FlacError(f"{steps.shape[1]} channels: FLAC holds {MOST_CHANNELS}; listen to this array at its node")
    file = io.BytesIO()
    try:
        soundfile.write(file, steps << 8, _written_rate(rate_hz), format="FLAC", subtype=f"PCM_{bits}")
    except soundfile.LibsndfileError as error:
        raise FlacError(f"cannot be written as FLAC: {error.error_string.rstrip('.')}") from None
    return _alone(file.getvalue())


def decode(flac: bytes, claim: Claim) -> NDArray[np.int32]:
    """What `encode` was given, (frames, channels) int32: steps of a 24-bit converter.

    Memory is bounded by the claim, which is compared with the stream's own header before anything is decoded.

    Raises
    ------
    FlacError
        When the header disagrees with the claim, or the stream is damaged or cut short.
    """
    check(flac, claim)
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(flac)) as sound:
            found: NDArray[np.int32] = sound.read(claim.frames, dtype="int32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError, TypeError, AssertionError) as error:
        raise FlacError(f"cannot be decoded: {error}") from None
    if found.shape != (claim.frames, claim.channels):
        raise FlacError(f"cut short: {len(found)} samples can be decoded of {claim.frames}")
    return found >> 8


def check(flac: bytes, claim: Claim) -> None:
    """Compare a stream's header with what is said of it, decoding nothing.

    Raises
    ------
    FlacError
        When it is no FLAC of ours, or its rate, channels, length or bits are not as claimed.
    """
    if len(flac) > LARGEST_FLAC_BYTES:
        raise FlacError(f"{len(flac)} bytes: at most {LARGEST_FLAC_BYTES}")
    if len(flac) <= _HEADER_BYTES or not flac.startswith(_MARKER):
        raise FlacError("no FLAC with STREAMINFO as its only metadata")
    if not LOWEST_RATE_HZ <= claim.rate_hz <= HIGHEST_RATE_HZ or not 1 <= claim.channels <= MOST_CHANNELS:
        raise FlacError(f"{claim.rate_hz} Hz and {claim.channels} channels are claimed: out of range")
    fields = int.from_bytes(flac[18:26], "big")  # rate 20 bits, channels 3, bits 5, frames 36 (RFC 9639, section 8.2)
    rate_hz, channels, bits = fields >> 44, (fields >> 41 & 7) + 1, (fields >> 36 & 31) + 1
    frames = fields & (2**36 - 1)
    found = (frames, rate_hz, channels)
    if found != (claim.frames, _written_rate(claim.rate_hz), claim.channels) or bits not in BITS:
        raise FlacError(
            f"its header says {frames} samples of {bits} bits at {rate_hz} Hz in {channels} channels; claimed are "
            f"{claim.frames} of 16 or 24 at {_written_rate(claim.rate_hz)} in {claim.channels}"
        )


def digest(values: NDArray[np.float32]) -> str:
    """SHA-256 of samples as little-endian float32, in hexadecimal: the name of a `Clip`."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f4").tobytes()).hexdigest()


def _written_rate(rate_hz: int) -> int:
    return rate_hz if rate_hz <= _SMALL_RATE_HZ else rate_hz // 10 * 10


def _alone(flac: bytes) -> bytes:
    """The stream without the metadata that only name its encoder: a header can then be checked byte by byte."""
    at, last = 4, False
    while not last:
        last = bool(flac[at] & 0x80)
        at += 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
    return _MARKER + flac[8:_HEADER_BYTES] + flac[at:]
