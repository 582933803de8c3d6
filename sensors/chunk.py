"""A chunk: up to a second of one sensor's samples, all channels, on their way to a centre that listens itself."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from acoustic.block import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, AudioBlock, Timing
from acoustic.instant import check_instant
from sensors.flac import (
    LARGEST_FLAC_BYTES,
    MOST_CHANNELS,
    Claim,
    FlacError,
    bits_of,
    decode,
    encode,
    steps_of,
    values_of,
)

LONGEST_EPOCH: Final = 100  # characters


class ChunkError(ValueError):
    """Samples that cannot travel, or bytes that are not the samples they are said to be; the message is one line."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Consecutive samples of one sensor, without loss.

    Parameters
    ----------
    sensor_id : str
        Who heard them.
    epoch : str
        Names the unbroken count of samples that ``index`` belongs to, 1 to 100 printable characters.
    index : int
        Of the first sample, since the epoch began.
    count : int
        Samples for each channel, 1 to a second of them.
    rate_hz, channels : int
        Nominal rate; 1 to `MOST_CHANNELS` channels.
    start_ns : int
        When the first sample was taken.
    after_gap : bool
        They do not follow those of the chunk before.
    timing : Timing or None
        As the blocks had it: it holds for every sample of the chunk.
    crc32 : int
        Of ``flac``, against disks and memories; against people there are signatures.
    flac : bytes
        FLAC of 16 or 24 bits with STREAMINFO as its only metadata, at most `LARGEST_FLAC_BYTES`.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range. What the FLAC holds is not looked at: see `block`.
    """

    sensor_id: str
    epoch: str
    index: int
    count: int
    rate_hz: int
    channels: int
    start_ns: int
    after_gap: bool
    timing: Timing | None
    crc32: int
    flac: bytes

    def __post_init__(self) -> None:
        if not self.sensor_id:
            raise ValueError("sensor_id must not be empty")
        if not 0 < len(self.epoch) <= LONGEST_EPOCH or not self.epoch.isprintable():
            raise ValueError(f"epoch is {self.epoch!r}: expected 1 to {LONGEST_EPOCH} printable characters")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(f"rate_hz is {self.rate_hz}: expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")
        for name, value, least, most in (
            ("index", self.index, 0, 2**62),
            ("count", self.count, 1, self.rate_hz),
            ("channels", self.channels, 1, MOST_CHANNELS),
            ("crc32", self.crc32, 0, 2**32 - 1),
            ("length of flac", len(self.flac), 1, LARGEST_FLAC_BYTES),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}: expected {least} to {most}")
        check_instant(self.start_ns, "start_ns")
        if self.timing is not None and self.start_ns != self.timing.instant(self.index):
            raise ValueError(f"start_ns is {self.start_ns}: its timing says {self.timing.instant(self.index)}")

    @classmethod
    def of(cls, sensor_id: str, epoch: str, index: int, *blocks: AudioBlock) -> AudioChunk:
        """The chunk of blocks that follow each other, under one timing.

        Raises
        ------
        ChunkError
            When a sample is no step of a 24-bit converter: `quantised` makes it one, for both placements alike.
        """
        first = blocks[0]
        samples = np.concatenate([block.samples for block in blocks])
        steps = steps_of(samples)
        if not np.array_equal(values_of(steps), samples):
            raise ChunkError(
                f"sensor {sensor_id}: its samples are no integers of 24 bits or fewer: quantise them at their source"
            )
        try:
            flac = encode(steps, first.rate_hz, bits_of(steps))
        except FlacError as error:
            raise ChunkError(f"sensor {sensor_id}: {error}") from None
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        return cls(
            sensor_id,
            epoch,
            index,
            len(samples),
            first.rate_hz,
            channels,
            first.start_ns,
            first.after_gap,
            first.timing,
            zlib.crc32(flac),
            flac,
        )

    def block(self) -> AudioBlock:
        """The samples as they were, (n,) or (n, channels); memory is bounded by what the chunk says of itself.

        Raises
        ------
        ChunkError
            When the bytes are damaged, or not what the chunk says.
        """
        if zlib.crc32(self.flac) != self.crc32:
            raise ChunkError(f"chunk {self.index} of sensor {self.sensor_id}: its bytes are damaged")
        try:
            samples = values_of(decode(self.flac, Claim(self.count, self.rate_hz, self.channels)))
        except FlacError as error:
            raise ChunkError(f"chunk {self.index} of sensor {self.sensor_id}: {error}") from None
        if self.channels == 1:
            samples = samples[:, 0]
        return AudioBlock(samples, self.rate_hz, self.start_ns, self.after_gap, self.index, self.timing)


def quantised(block: AudioBlock) -> AudioBlock:
    """The block as a 24-bit converter would give it: the same block where it is from one of 24 bits or fewer.

    A source of floating point passes through this once, before anybody listens, so that a listener at the node and one
    at the centre hear the same. NaN becomes 0, and what lies beyond full scale is clipped.
    """
    values = values_of(steps_of(block.samples))
    return block if np.array_equal(values, block.samples) else replace(block, samples=values)
