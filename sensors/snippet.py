"""A snippet: the sound of one or several impulses, a second to each side, for people to hear."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from acoustic.block import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from acoustic.detection import Clip
from acoustic.instant import after
from sensors.flac import LARGEST_FLAC_BYTES, Claim, FlacError, bits_of, decode, digest, encode, values_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PULSES: Final = 256
"""In one snippet: a listener reports 190 in ten seconds at most."""
LONGEST_S: Final = 12.0
"""No snippet is longer; a node's own cap is ten seconds."""


class SnippetError(ValueError):
    """A snippet whose sound is not what it says; the message is one line."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A stretch of one sensor's sound around impulses that it reported.

    Parameters
    ----------
    sensor_id : str
        Who heard it.
    pulse_ids : tuple of str
        The impulses that it was kept for, in the order of their onsets, 1 to `MOST_PULSES`.
    clip : Clip
        When it was heard, how long it is, and the SHA-256 of its samples as the FLAC gives them.
    rate_hz : int
        Samples a second, as the device is sold.
    flac : bytes
        The channel that is listened to: FLAC of 24 bits, or of 16 where that loses nothing or must suffice; with
        STREAMINFO as its only metadata, at most `LARGEST_FLAC_BYTES`. Empty: this only announces the snippet, whose
        sound follows when the road is free.

    Raises
    ------
    ValueError
        When a value is out of range. What the FLAC holds is not looked at: see `samples`.
    """

    sensor_id: str
    pulse_ids: tuple[str, ...]
    clip: Clip
    rate_hz: int
    flac: bytes

    def __post_init__(self) -> None:
        if not self.sensor_id:
            raise ValueError("sensor_id must not be empty")
        if not 1 <= len(self.pulse_ids) <= MOST_PULSES or not all(self.pulse_ids):
            raise ValueError(f"{len(self.pulse_ids)} pulse_ids: expected 1 to {MOST_PULSES}, none empty")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(f"rate_hz is {self.rate_hz}: expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")
        if not self.clip.duration_s <= LONGEST_S:
            raise ValueError(f"the clip lasts {self.clip.duration_s} s: expected at most {LONGEST_S:g}")
        if len(self.flac) > LARGEST_FLAC_BYTES:
            raise ValueError(f"{len(self.flac)} bytes of FLAC: expected at most {LARGEST_FLAC_BYTES}")

    @classmethod
    def of(
        cls, sensor_id: str, pulse_ids: tuple[str, ...], start_ns: int, rate_hz: int, steps: NDArray[np.int32]
    ) -> Snippet:
        """The snippet of samples, (n,) int32 as steps of a 24-bit converter.

        Where 24 bits might not fit into a message, which is so for two seconds at 141 kHz and faster, the lowest
        eight are dropped.
        """
        bits = bits_of(steps)
        if bits == 24 and len(steps) * 3.03 > LARGEST_FLAC_BYTES - 1_000:
            steps, bits = steps & ~0xFF, 16
        clip = Clip(start_ns, round(len(steps) / rate_hz, 9), digest(values_of(steps)))
        return cls(sensor_id, pulse_ids, clip, rate_hz, encode(steps, rate_hz, bits))

    def announcement(self) -> Snippet:
        """The same without its sound: short enough to travel in its turn, so that alerts name it in time."""
        return replace(self, flac=b"")

    @property
    def end_ns(self) -> int:
        """When its last sample was over."""
        return after(self.clip.start_ns, self.clip.duration_s)

    @property
    def claim(self) -> Claim:
        """What its FLAC should hold."""
        return Claim(round(self.clip.duration_s * self.rate_hz), self.rate_hz, 1)

    def samples(self) -> NDArray[np.float32]:
        """The sound, (n,) float32 in units of full scale; memory is bounded by `LONGEST_S`, whatever the bytes say.

        Raises
        ------
        SnippetError
            When the FLAC is damaged, or not what the clip says.
        """
        try:
            values = values_of(decode(self.flac, self.claim)[:, 0])
        except FlacError as error:
            raise SnippetError(f"snippet of sensor {self.sensor_id}: {error}") from None
        if digest(values) != self.clip.sha256:
            raise SnippetError(f"snippet of sensor {self.sensor_id}: its samples are not those that its clip names")
        return values
