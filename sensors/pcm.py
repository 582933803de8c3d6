"""Integer and float PCM as devices, pipes and packets carry it, into float32 of full scale."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray


def _s16le(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<i2").astype(np.float32) * np.float32(2.0**-15)


def _s16be(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, ">i2").astype(np.float32) * np.float32(2.0**-15)


def _s24le(data: bytes) -> NDArray[np.float32]:
    return _s24(np.frombuffer(data, np.uint8).reshape(-1, 3))


def _s24be(data: bytes) -> NDArray[np.float32]:
    return _s24(np.frombuffer(data, np.uint8).reshape(-1, 3)[:, ::-1])


def _s24(little: NDArray[np.uint8]) -> NDArray[np.float32]:
    # In the upper three bytes of a 32 bit word the sign is where it belongs.
    words = np.zeros((len(little), 4), np.uint8)
    words[:, 1:] = little
    return words.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)


def _s32le(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<i4").astype(np.float32) * np.float32(2.0**-31)


def _f32le(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f4").astype(np.float32)


_READERS: Final = MappingProxyType(
    {"s16le": _s16le, "s24le": _s24le, "s32le": _s32le, "f32le": _f32le, "s16be": _s16be, "s24be": _s24be}
)
_BYTES: Final = MappingProxyType({"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "s16be": 2, "s24be": 3})

ENCODINGS: Final = tuple(_READERS)
"""What can be read: signed integers of 16, 24 (packed) and 32 bit, float32; little and big endian."""


def sample_bytes(encoding: str) -> int:
    """Bytes of one sample of one channel.

    Raises
    ------
    ValueError
        For what is not one of `ENCODINGS`.
    """
    if encoding not in _BYTES:
        raise ValueError(f"encoding is {encoding!r}: expected one of {', '.join(ENCODINGS)}")
    return _BYTES[encoding]


def from_pcm(data: bytes, encoding: str, channels: int) -> NDArray[np.float32]:
    """Samples out of interleaved PCM.

    Parameters
    ----------
    data : bytes
        Whole instants: a multiple of ``channels`` times `sample_bytes`.
    encoding : str
        One of `ENCODINGS`.
    channels : int
        1 or more.

    Returns
    -------
    (n,) float32 for one channel, (n, channels) float32 otherwise
        Integers over 2^(bits - 1): exact for 16 and 24 bit, and for 32 bit words that use no more than 24 of their
        bits; other 32 bit words are rounded to the nearest float32. Floats are passed on as they are, NaN too.

    Raises
    ------
    ValueError
        For an unknown encoding, or bytes that end within an instant.
    """
    width = sample_bytes(encoding) * channels
    if len(data) % width:
        raise ValueError(f"{len(data)} bytes of {encoding} with {channels} channels: expected a multiple of {width}")
    reader: Callable[[bytes], NDArray[np.float32]] = _READERS[encoding]
    samples = reader(data)
    return samples if channels == 1 else samples.reshape(-1, channels)
