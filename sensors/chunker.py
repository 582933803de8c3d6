"""The chunker: one sensor's blocks in, chunks for a centre that listens itself out. No clock, file or thread."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sensors.chunk import AudioChunk
from sensors.flac import most_frames
from sensors.following import Following

if TYPE_CHECKING:
    from acoustic.block import AudioBlock


class Chunker:
    """Cuts one sensor's blocks into chunks of a second at most.

    A chunk ends at every full second since the stream began, where another timing begins, and where the stream is
    interrupted; where a second would not fit into a message (192 kHz, several channels), in between too. So the chunks
    of a stream are the same however it came in blocks.

    Parameters
    ----------
    sensor_id : str
        Who hears.
    session : str
        Names this run of the device: part of every epoch's name, and never used again; 1 to 80 characters.
    """

    def __init__(self, sensor_id: str, session: str) -> None:
        self._sensor_id = sensor_id
        self._session = session
        self._epochs = 0
        self._next = 0  # index of the sample that comes next
        self._stream: Following | None = None
        self._held: list[AudioBlock] = []

    def take(self, block: AudioBlock) -> tuple[AudioChunk, ...]:
        """Take the next block; the chunks that it completes.

        A block that counts back begins another epoch. Where nobody counts, the samples are counted here.

        Raises
        ------
        ChunkError
            When its samples cannot travel: see `AudioChunk.of`. They are lost, and the next block comes after a gap.
        """
        done: list[AudioChunk] = []
        if self._stream is None or not self._stream.continued_by(block):
            done += self.finish()
            self._begin(block)
            block = replace(block, after_gap=True)
        elif self._held and not _alike(block, self._held[-1]):
            done += self._full()
        while len(block.samples):
            head, block = block.split(self._room(block))
            self._hold(head)
            if not self._room(head):
                done += self._full()
        return tuple(done)

    def finish(self) -> tuple[AudioChunk, ...]:
        """The stream ends: the chunk that is not full, if any."""
        done = self._full()
        self._stream = None
        return done

    def _begin(self, block: AudioBlock) -> None:
        self._stream = Following(block)
        if block.index is not None:
            self._epochs += block.index < self._next
            self._next = block.index

    def _hold(self, block: AudioBlock) -> None:
        if self._stream is not None:
            self._stream.take(block)
        self._held.append(replace(block, samples=block.samples.copy()))  # a device may use its memory again
        self._next += len(block.samples)

    def _full(self) -> tuple[AudioChunk, ...]:
        held, self._held = self._held, []
        if not held:
            return ()
        index = self._next - sum(len(block.samples) for block in held)
        try:
            return (AudioChunk.of(self._sensor_id, f"{self._session}-{self._epochs}", index, *held),)
        except ValueError:
            self._stream = None
            raise

    def _room(self, block: AudioBlock) -> int:
        """How many more samples the chunk that is being filled has room for."""
        channels = 1 if block.samples.ndim == 1 else block.samples.shape[1]
        held = sum(len(one.samples) for one in self._held)
        count = 0 if self._stream is None else self._stream.count
        to_second = block.rate_hz - (count - held) % block.rate_hz
        return min(to_second, most_frames(block.rate_hz, channels)) - held


def _alike(block: AudioBlock, other: AudioBlock) -> bool:
    """Whether both may go into one chunk."""
    return block.timing == other.timing and block.samples.shape[1:] == other.samples.shape[1:]
