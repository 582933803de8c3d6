"""What a second reviewer sees: the sound, and nothing that says what others think it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from acoustic.instant import parse_instant, seconds_between

if TYPE_CHECKING:
    from alerts.alert import Alert


@dataclass(frozen=True, slots=True)
class BlindRound:
    """When a round was, s after the first."""

    shot_id: str
    after_s: float


@dataclass(frozen=True, slots=True)
class BlindClip:
    """A recording: its digest, when it begins, s after the first round (less than 0: before), how long it is."""

    sha256: str
    after_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class BlindPlace:
    """Where it was, without how sure anybody is."""

    latitude: float | None
    longitude: float | None
    east: float | None
    north: float | None


@dataclass(frozen=True, slots=True)
class BlindCase:
    """An incident for a second reviewer.

    Left out on purpose: outcome, probabilities, evidence, priors and what was expected, the kind of sound of each
    round, flags, status and reason, what the first reviewer said, words; and the hour and the place as well, since who
    reads "4 July, 21:40, at the fairground" hears fireworks. Numbers of sensors are left out too: they say how loud it
    was for the machine. `with_place` gives the place, where a city's reviewers need it to know their streets' echoes.
    """

    incident_id: str
    alert_id: str
    revision: int
    rounds: tuple[BlindRound, ...]
    audio: tuple[BlindClip, ...]
    place: BlindPlace | None


def blind(alert: Alert, *, with_place: bool = False) -> BlindCase:
    """What of an alert a second reviewer may see."""
    first_ns = min((parse_instant(one.time) for one in alert.rounds), default=parse_instant(alert.discharge_time.first))
    place = alert.place if with_place else None
    return BlindCase(
        incident_id=alert.incident_id,
        alert_id=alert.alert_id,
        revision=alert.revision,
        rounds=tuple(BlindRound(one.shot_id, _after_s(first_ns, one.time)) for one in alert.rounds),
        audio=tuple(BlindClip(clip.sha256, _after_s(first_ns, clip.start), clip.duration) for clip in alert.audio),
        place=None if place is None else BlindPlace(place.latitude, place.longitude, place.east, place.north),
    )


def _after_s(first_ns: int, instant: str) -> float:
    return round(seconds_between(first_ns, parse_instant(instant)), 6)
