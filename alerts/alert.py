"""An alert: the document that people and their systems receive."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec

from acoustic.instant import instant_text, parse_instant
from alerts.act import Judgement, Person
from alerts.geojson import collection, place_and_region
from alerts.incident import Rounds
from alerts.place import East, Latitude, Longitude, North, OtherPlace, Place
from alerts.policy import Outcome
from localization.ellipse import Covariance, Ellipse
from sensors.known_type import known

SCHEMA_VERSION: Final = "1.1"

Status = Literal["preliminary", "confirmed", "cancelled"]
ModeOfUse = Literal["live", "replay", "test", "exercise"]
Kind = Literal["new", "revised", "cancelled"]
Reason = Literal[
    "new",  # nothing was said before
    "more-rounds",
    "fewer-rounds",
    "relocated",
    "place-withdrawn",  # what placed it no longer does
    "reclassified",  # another outcome, or another kind of sound
    "late-sensor",
    "refined",  # the same, better known
    "closed",  # its time is over; this is the last word unless a late sensor speaks
    "no-longer-gunfire",
    "reinstated",
    "merged",  # it turned out to be part of another incident
    "split",  # a person took rounds out of it, or made it of them
    "undone",  # what a person had said counts no more
]
Flag = Literal[
    "ambiguous",
    "expected-load",
    "few-sensors",
    "full-automatic",
    "height-decides",
    "multiple-rounds",
    "outside-hull",
    "shock-wave",
    "unplaced",
]

Instant = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$",
        description="RFC 3339, UTC",
        extra_json_schema={"format": "date-time"},
    ),
]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def alert_instant(instant_ns: int) -> str:
    """An instant as every alert writes it: RFC 3339, UTC, six decimals."""
    return instant_text(instant_ns, 6)


@dataclass(frozen=True, slots=True)
class DischargeTime:
    """When the first and the last round were fired; ``sigma_s`` is the greater of their standard deviations.

    Without a place it is when the first sensor heard them, and ``sigma_s`` is None: the sound had travelled for an
    unknown time.
    """

    first: Instant
    last: Instant
    sigma_s: float | None


@dataclass(frozen=True, slots=True)
class Prior:
    """How the prior came about: a base, and what the hour, the calendar and the rate of other bangs add to it.

    Shifts are of the natural logarithm of the odds; ``others_per_hour`` is the rate of bangs of other kinds just then.
    """

    base: Probability
    hour_shift: float
    calendar_shift: float
    rate_shift: float
    others_per_hour: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What the calendar expected there and then, as a permitted firework; never a reason to say nothing.

    ``distance_m`` is from the place to the event's edge, 0 inside; None where either has no place on the Earth.
    ``over_budget`` is whether the event's own budget of published incidents was spent, so that a person looks first.
    """

    name: str
    kind: str
    distance_m: float | None
    shift: float
    over_budget: bool = False


@dataclass(frozen=True, slots=True)
class What:
    """What it was: probabilities after the prior, the evidence and the prior apart, and how many rounds.

    ``gate`` tells which rule made it published, a matter for review, or suppressed. All of it is the machine's word,
    also where a person has decided otherwise: that stands in the alert's ``review``.
    """

    p_gunshot: Probability
    llr: float
    prior: Probability
    probabilities: dict[str, Probability]
    rounds: Rounds
    cadence_s: float | None
    flags: tuple[Flag, ...]
    gate: str
    priors: Prior | None = None
    expected: tuple[Expected, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """One shot of the incident; ``p_gunshot`` at a prior of one half. Without a place ``reason`` says why.

    ``incident_id`` is that of the incident which it is of by the machine, where people made it part of this one.
    """

    shot_id: str
    revision: int
    status: Literal["fix", "unfixed"]
    reason: str
    time: Instant
    sigma_s: float | None
    latitude: Latitude | None
    longitude: Longitude | None
    east: East | None
    north: North | None
    ellipse: Ellipse | None
    n_sensors: int
    p_gunshot: Probability
    llr: float
    sound: str
    incident_id: Name | None = None


@dataclass(frozen=True, slots=True)
class MachinePlace:
    """Where the machine had it, when a person says that it was elsewhere: all of its estimate."""

    latitude: Latitude | None
    longitude: Longitude | None
    east: East | None
    north: North | None
    ellipse: Ellipse
    weight: Probability = 1.0
    covariance_m2: Covariance | None = None
    modes: tuple[OtherPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """What people decided, beside what the machine said: its outcome and its place are kept here.

    Parameters
    ----------
    judgement : str or None
        What a person says it was; None while nobody judged it.
    by, at, note
        Who decided last, when, and why.
    machine_outcome : str
        What the machine alone made of it.
    machine_place : MachinePlace or None
        Where the machine had it, where a person corrected the place.
    acts : tuple of str
        Names of all acts that were told of it, in the order they were made: also what was undone, and the undoing.
    """

    judgement: Judgement | None
    by: Person
    at: Instant
    note: str
    machine_outcome: Outcome
    machine_place: MachinePlace | None
    acts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SensorCount:
    """How many sensors heard it, how many the place rests on, how many were near enough to have heard it."""

    heard: int
    used: int
    expected: int


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording to listen to; ``url`` is None until somebody serves it.

    ``sha256`` is of its samples as 32-bit little-endian floats, whatever file they come in (docs/api.md, Sound).
    """

    url: str | None
    sha256: Sha256
    start: Instant
    duration: float


@dataclass(frozen=True, slots=True)
class Actions:
    """What to do in the first minute: cameras to turn and plate readers to ask. Empty until a city's are known."""

    cameras: tuple[dict[str, Any], ...] = ()
    readers: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Weather:
    """The air that the place was computed with."""

    temperature_c: float
    temperature_sigma_c: float
    relative_humidity_percent: float
    pressure_pa: float
    wind_east_m_per_s: float
    wind_north_m_per_s: float
    wind_sigma_m_per_s: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """From what it was made: versions by part, hashes of the model and the configuration, the weather, a bundle."""

    versions: dict[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    model_hash: str | None = None
    configuration_hash: str | None = None
    weather: Weather | None = None
    bundle_url: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One revision of what people are told about one incident.

    ``supersedes`` is the ``message_id`` of the revision before. ``kind`` is what it means to somebody who gets the
    published ones: new, revised, cancelled. ``detected_at`` is when the first sensor heard it, ``published_at`` the
    event-time watermark at which this revision was due, never a wall clock. Members that later rooms fill are null or
    empty.

    Raises
    ------
    ValueError
        When revision, supersedes, status and kind contradict each other.
    """

    schema_version: Literal["1.0", "1.1"]
    alert_id: Name
    incident_id: Name
    revision: Annotated[int, msgspec.Meta(ge=1)]
    supersedes: str | None
    kind: Kind
    reason: Reason
    status: Status
    mode: ModeOfUse
    outcome: Outcome
    merged_into: Name | None
    discharge_time: DischargeTime
    detected_at: Instant
    published_at: Instant
    place: Place | None
    what: What
    rounds: tuple[Round, ...]
    sensors: SensorCount
    audio: tuple[Audio, ...]
    actions: Actions
    provenance: Provenance
    review: Review | None = None

    def __post_init__(self) -> None:
        before = message_id(self.alert_id, self.revision - 1) if self.revision > 1 else None
        if self.revision < 1 or self.supersedes != before:
            raise ValueError(f"revision {self.revision} supersedes {self.supersedes}: expected {before}")
        if (self.kind == "cancelled") != (self.status == "cancelled"):
            raise ValueError(f"kind {self.kind} does not go with status {self.status}")

    @property
    def message_id(self) -> str:
        """``<alert_id>-r<revision>``: one name for each revision, the receivers' idempotency key."""
        return message_id(self.alert_id, self.revision)

    @property
    def published_ns(self) -> int:
        """``published_at`` in nanoseconds UTC."""
        return parse_instant(self.published_at)

    def to_geojson(self) -> dict[str, Any]:
        """The alert as a GeoJSON feature collection (RFC 7946): each place as a point, with its region.

        The properties name the alert, the place's part in it, and how sure it is. Empty without a place on the Earth.
        """
        if self.place is None or self.place.longitude is None:
            return collection([])
        about = {
            "alert_id": self.alert_id,
            "revision": self.revision,
            "status": self.status,
            "outcome": self.outcome,
            "discharge_time": self.discharge_time.first,
            "p_gunshot": self.what.p_gunshot,
            "rounds": self.what.rounds.best,
        }
        features: list[dict[str, Any]] = []
        places: tuple[Place | OtherPlace, ...] = (self.place, *self.place.modes)
        for number, place in enumerate(places, start=1):
            mine = about | {"mode": number, "weight": place.weight, "confidence": place.ellipse.confidence}
            point = {"type": "Point", "coordinates": [place.longitude, place.latitude]}
            features += place_and_region(point, msgspec.to_builtins(place.polygon), mine)
        return collection(features)


def message_id(alert_id: str, revision: int) -> str:
    """Name of one revision of an alert."""
    return f"{alert_id}-r{revision}"


def encode(alert: Alert) -> bytes:
    """The alert as JSON: one line of UTF-8, members in the order of the records, hence the same bytes every time."""
    return msgspec.json.encode(alert)


def decode(document: bytes | str) -> Alert:
    """An alert from its JSON.

    Raises
    ------
    ValueError
        When it is not JSON, or not an alert of this version; the message names the member.
    """
    try:
        return msgspec.json.decode(document, type=known(Alert))
    except (msgspec.DecodeError, RecursionError) as error:  # a ValidationError is one too
        raise ValueError(f"not an alert of schema version {SCHEMA_VERSION}: {error}") from None


def substance(alert: Alert) -> Alert:
    """The alert without what every revision changes: two revisions tell the same when these are equal."""
    return dataclasses.replace(
        alert,
        revision=1,
        supersedes=None,
        kind="cancelled" if alert.status == "cancelled" else "new",
        reason="new",
        published_at=alert.detected_at,
    )
