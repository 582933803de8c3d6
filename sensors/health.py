"""Health: what a sensor says of itself, and until when it has heard everything."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from acoustic.instant import check_instant

CLOCK_STATES: Final = ("locked", "holdover", "free", "stated")
"""Disciplined now; coasting on its last discipline; never disciplined; as whoever recorded it says."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """How far the device's clock can be trusted: one of `CLOCK_STATES`, and its sigma in seconds."""

    state: str = "stated"
    sigma_s: float = 0.0002

    def __post_init__(self) -> None:
        if self.state not in CLOCK_STATES:
            raise ValueError(f"state is {self.state!r}: expected one of {', '.join(CLOCK_STATES)}")
        if not 0.0 <= self.sigma_s <= 3600.0:
            raise ValueError(f"sigma_s is {self.sigma_s}: expected 0 to 3600 s")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sensor's word that it is alive, and that nothing before ``heard_until_ns`` is still to come from it.

    Parameters
    ----------
    sensor_id : str
        Who speaks.
    heard_until_ns : int
        Every detection with an earlier onset has been sent.
    listening : bool
        False while the device hears nothing: a gap, digital silence, a lost microphone, the end of a recording.
        Its silence then says nothing about shots.
    noise_floor_db_spl : float or None
        Median level of the band that is listened to; None when full scale is unknown or nothing was heard yet.
    gaps, faulty_samples, clipped_samples, suppressed : int
        Since the stream began: interruptions; samples that were NaN, infinite or digital silence; samples at full
        scale; impulses not reported because they came faster than the detector's limit.
    clock : ClockState
        The clock's state.
    spool_dropped : int
        Messages of this node, of whatever sensor, that its spool gave up since the node started: what the bounds of
        its disk cost.
    """

    sensor_id: str
    heard_until_ns: int
    listening: bool = True
    noise_floor_db_spl: float | None = None
    gaps: int = 0
    faulty_samples: int = 0
    clipped_samples: int = 0
    suppressed: int = 0
    clock: ClockState = field(default_factory=ClockState)
    spool_dropped: int = 0

    def __post_init__(self) -> None:
        if not self.sensor_id:
            raise ValueError("sensor_id must not be empty")
        check_instant(self.heard_until_ns, "heard_until_ns")
        if self.noise_floor_db_spl is not None and not math.isfinite(self.noise_floor_db_spl):
            raise ValueError(f"noise_floor_db_spl is {self.noise_floor_db_spl}: expected a finite number, or nothing")
        for name in ("gaps", "faulty_samples", "clipped_samples", "suppressed", "spool_dropped"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: a count is 0 or more")


@dataclass(frozen=True, slots=True)
class Farewell:
    """A sensor stops on purpose: nothing before ``at_ns`` is still to come from it, and nobody need wait for it.

    Said at the end of a file and at a graceful stop, after everything else the sensor had to say. A sensor that is
    heard again later is simply back.

    Parameters
    ----------
    sensor_id : str
        Who speaks.
    at_ns : int
        The end of what it heard.
    """

    sensor_id: str
    at_ns: int

    def __post_init__(self) -> None:
        if not self.sensor_id:
            raise ValueError("sensor_id must not be empty")
        check_instant(self.at_ns, "at_ns")
