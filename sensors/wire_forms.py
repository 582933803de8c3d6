"""How records look on the wire: written out once more, so that a change to a record cannot change the wire unseen.

Every form refuses a field that nobody knows. Version 1 stands below version 2, which adds to it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from sensors.flac import LARGEST_FLAC_BYTES
from sensors.message import MOST_MESSAGES, MOST_RELEASED
from sensors.snippet import MOST_PULSES

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Instant = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
BootId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8,64}$")]
Flac = Annotated[bytes, msgspec.Meta(min_length=1, max_length=LARGEST_FLAC_BYTES)]


class Version(msgspec.Struct):
    """What every message has, of whatever version."""

    version: int


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every form is."""


class Pick1(Form, frozen=True, kw_only=True):
    """As version 1 has it; so all that end in 1."""

    onset_ns: Instant
    sigma_s: float
    p_outlier: Probability = 0.0
    snr_db: float | None = None
    level_db_spl: float | None = None
    censored: bool = False


class Pick(Pick1, frozen=True, kw_only=True):
    """With what the device's clock was worth."""

    clock_sigma_s: float | None = None


class Bearing(Form, frozen=True, kw_only=True):
    """A direction, in degrees."""

    azimuth_deg: float
    sigma_deg: float


class Clip(Form, frozen=True, kw_only=True):
    """A stretch of audio, and the digest of its samples."""

    start_ns: Instant
    duration_s: float
    sha256: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class Judged(Form, frozen=True, kw_only=True):
    """What both versions say of an impulse."""

    pulse_id: Name
    sensor_id: Name
    pick: Pick1
    llr: float
    probabilities: tuple[Probability, Probability, Probability, Probability, Probability]
    model: Name
    flags: Annotated[tuple[Word, ...], msgspec.Meta(max_length=16)] = ()
    bearing: Bearing | None = None


class Detection1(Judged, frozen=True, kw_only=True):
    """As version 1 has it; its clip was never sent, and is passed over."""

    clip: Clip | None = None


class Detection(Judged, frozen=True, kw_only=True):
    """One impulse at one sensor."""

    pick: Pick


class ClockState(Form, frozen=True, kw_only=True):
    """How far the device's clock is to be trusted."""

    state: Word
    sigma_s: float


class Heartbeat1(Form, frozen=True, kw_only=True):
    """As version 1 has it."""

    sensor_id: Name
    heard_until_ns: Instant
    listening: bool
    noise_floor_db_spl: float | None = None
    gaps: Count
    faulty_samples: Count
    clipped_samples: Count
    suppressed: Count
    clock: ClockState


class Heartbeat(Heartbeat1, frozen=True, kw_only=True):
    """A sensor is alive, and nothing earlier is still to come."""

    spool_dropped: Count = 0


class Farewell(Form, frozen=True, kw_only=True):
    """A sensor stops on purpose."""

    sensor_id: Name
    at_ns: Instant


class Snippet(Form, frozen=True, kw_only=True):
    """The sound of one or several impulses, as one FLAC file."""

    sensor_id: Name
    pulse_ids: Annotated[tuple[Name, ...], msgspec.Meta(max_length=MOST_PULSES)]
    clip: Clip
    rate_hz: Count
    flac: Annotated[bytes, msgspec.Meta(max_length=LARGEST_FLAC_BYTES)]


class Timing(Form, frozen=True, kw_only=True):
    """When the samples of a stream were taken."""

    index: Count
    instant_ns: Instant
    rate_hz: float
    sigma_s: float
    state: Word


class AudioChunk(Form, frozen=True, kw_only=True):
    """Consecutive samples of one sensor, as one FLAC file."""

    sensor_id: Name
    epoch: Name
    index: Count
    count: Count
    rate_hz: Count
    channels: Count
    start_ns: Instant
    after_gap: bool
    timing: Timing | None = None
    crc32: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    flac: Flac


class Envelope1(Form, frozen=True, kw_only=True):
    """A message of version 1: it travels alone."""

    version: Literal[1]
    node_id: Name
    boot_id: BootId
    sequence: Count
    detection: Detection1 | None = None
    heartbeat: Heartbeat1 | None = None


class Message(Form, frozen=True, kw_only=True, omit_defaults=True):
    """One message of a batch: exactly one of the five contents is there."""

    boot_id: BootId
    sequence: Count
    detection: Detection | None = None
    heartbeat: Heartbeat | None = None
    farewell: Farewell | None = None
    snippet: Snippet | None = None
    chunk: AudioChunk | None = None


class Envelope(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The same alone, as a spool keeps it."""

    version: Literal[2]
    node_id: Name


class Batch(Form, frozen=True, kw_only=True):
    """What a node sends at a time."""

    version: Literal[2]
    node_id: Name
    sent_ns: Instant
    messages: Annotated[tuple[Message, ...], msgspec.Meta(max_length=MOST_MESSAGES)]


class Ack(Form, frozen=True, kw_only=True):
    """What the centre answers."""

    version: Literal[2]
    centre_boot: Name
    received_ns: Instant
    held: Annotated[tuple[Count, ...], msgspec.Meta(max_length=MOST_MESSAGES)] = ()
    released: Annotated[dict[BootId, Count], msgspec.Meta(max_length=MOST_RELEASED)] = {}
    resume: bool = False
