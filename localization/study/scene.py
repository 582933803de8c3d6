"""A scene: what was recorded at one place on one night, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from acoustic.air import Air
from localization.frame import Frame
from localization.ground import Ground
from sensors.site import Geodetic, Local, Network

if TYPE_CHECKING:
    from pathlib import Path

    from acoustic.detection import Detection

SOURCE_BELOW_SENSORS_M: Final = 5.0
LEAST_SOURCE_SIGMA_M: Final = 10.0
HILLINESS: Final = 1.25
"""Where a scene does not say at what height shots are looked for: a little below the median sensor, as people stand
below roofs, and the less surely the more the sensors' own heights scatter (this many times), since hilly places have
valleys below all of their roofs."""


@dataclass(frozen=True, slots=True)
class Piece:
    """An unbroken stretch of one sensor's audio: a file, the channel in it, and when its first sample was taken."""

    sensor_id: str
    path: Path
    channel: int
    start_ns: int
    row: int = 0
    """Row of audio.csv, for messages; 0 where there was none."""
    name: str = ""
    """The file as audio.csv names it."""


@dataclass(frozen=True, slots=True)
class Listening:
    """When a sensor was listening, in a scene of pulses; None is the whole scene."""

    from_ns: int | None = None
    to_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Pulse:
    """A detection that a scene brings along, and the shot that somebody gave it to, if any."""

    detection: Detection
    shot_id: str | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """One bang as it really was. ``sigma_m`` is that of its survey, for each horizontal axis."""

    shot_id: str
    sound: str
    time_ns: int | None
    place: Geodetic | Local
    sigma_m: float = 0.0
    pulse_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a scene folder says.

    Parameters
    ----------
    name, description, licence : str
        For people.
    start_ns : int
        The zero of relative times.
    air : Air
        The weather, with what is not known of it.
    frame : Frame
        The plane in which places are computed.
    network : Network
        The sensors.
    source_up_m, source_sigma_m : float
        At what height shots are looked for, in the plane.
    ground : Ground or None
        How high the ground lies, where somebody said so: shots are then looked for a shoulder above it.
    noise_floors_db_spl : dict
        Of the sensors for which the table tells it, as their heartbeats would.
    pieces : tuple of Piece
        Audio, ordered by sensor and time; empty in a scene of pulses.
    pulses : tuple of Pulse
        Ordered by time; empty in a scene of audio.
    listening : dict
        By sensor, for scenes of pulses.
    truth : tuple of Truth
        What really happened; empty where nobody knows.
    warnings : tuple of str
        What the reader of the folder ignored.
    """

    name: str
    start_ns: int
    air: Air
    frame: Frame
    network: Network
    source_up_m: float
    source_sigma_m: float
    description: str = ""
    licence: str = ""
    ground: Ground | None = None
    noise_floors_db_spl: dict[str, float] = field(default_factory=dict)
    pieces: tuple[Piece, ...] = ()
    pulses: tuple[Pulse, ...] = ()
    listening: dict[str, Listening] = field(default_factory=dict)
    truth: tuple[Truth, ...] = ()
    warnings: tuple[str, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file that was read, by its path in the folder."""
