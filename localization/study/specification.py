"""A specification: what a simulated scene shall hold."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from acoustic.air import Air

T = TypeVar("T")

KINDS: Final = {
    "muzzle": ("gunshot", 160.0),
    "salute": ("firework", 162.0),
    "crackle": ("firework", 158.0),
    "backfire": ("impulse", 138.0),
    "hammer": ("impulse", 118.0),
    "door": ("impulse", 108.0),
    "handling": ("handling", 95.0),
    "thunder": ("noise", 165.0),
}
"""Each kind of event, its class, and its usual peak level at one metre, dB SPL."""

EXCESS_DB: Final = 9.0
EXCESS_DB_PER_DECADE: Final = 4.2
BLOCKED_SHARE: Final = 0.25
ECHOES: Final = 8.0
"""What streets without buildings take off, block and throw back, unless the specification says otherwise."""

MOST_SAMPLES: Final = 100_000_000  # of one sensor: its whole track is held in memory, 8 bytes each


def number(default: float | None, low: float, high: float) -> Any:
    """A field that holds a number from ``low`` to ``high``; without a default it must be given."""
    span = {"range": (low, high)}
    return field(metadata=span) if default is None else field(default=default, metadata=span)


def optional(low: float, high: float) -> Any:
    """A field that holds a number from ``low`` to ``high``, or None."""
    return field(default=None, metadata={"range": (low, high)})


def check_ranges(record: Any) -> None:
    """Raise ValueError when a number of the record lies outside what its field says."""
    for each in dataclasses.fields(record):
        value = getattr(record, each.name)
        low, high = each.metadata.get("range", (-math.inf, math.inf))
        if isinstance(value, (int, float)) and not low <= value <= high:  # also refuses NaN
            raise ValueError(f"{each.name} is {value}: expected {low:g} to {high:g}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, as the specification's frame has it: degrees and height, or metres."""

    east: float
    north: float
    up: float

    @property
    def text(self) -> str:
        """The same for the same place."""
        return f"{self.east:.9f} {self.north:.9f} {self.up:.4f}"


@dataclass(frozen=True, slots=True)
class Converter:
    """What turns pressure into samples: ``bits`` are those that mean something, the rest of a sample is zero."""

    rate_hz: int = number(48_000, 8_000, 384_000)
    full_scale_db_spl: float = number(115.0, 60.0, 190.0)
    bits: int = number(16, 8, 24)
    high_pass_hz: float = number(20.0, 1.0, 1000.0)
    format: str = "flac"

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.format not in {"flac", "wav"}:
            raise ValueError(f"format is {self.format!r}: expected flac or wav")


@dataclass(frozen=True, slots=True)
class Noise:
    """The background at each microphone, independent of all others; levels are unweighted, dB SPL."""

    level_db_spl: float = number(50.0, 0.0, 120.0)
    slope_db_per_octave: float = number(-5.0, -12.0, 6.0)
    sensor_sigma_db: float = number(2.0, 0.0, 20.0)
    variation_db: float = number(1.5, 0.0, 20.0)
    cars_per_hour: float = number(0.0, 0.0, 3600.0)
    car_db_spl: float = number(58.0, 0.0, 120.0)
    gusts_per_hour: float = number(0.0, 0.0, 3600.0)
    gust_db_spl: float = number(60.0, 0.0, 120.0)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The streets: what is drawn for each path from a place to a sensor. Meanings and parents: docs/scenes.md.

    Of ``excess_db``, ``excess_db_per_decade``, ``blocked_share`` and ``echoes`` None is what is usual, or nothing
    where buildings stand.
    """

    ground_m: float | None = optional(-1e6, 1e6)
    ground_reflection: float = number(0.6, -1.0, 1.0)
    excess_db: float | None = optional(-40.0, 60.0)
    excess_db_per_decade: float | None = optional(0.0, 40.0)
    excess_sigma_db: float = number(6.5, 0.0, 20.0)
    blocked_share: float | None = optional(0.0, 1.0)
    blocked_db: float = number(10.0, 0.0, 60.0)
    blocked_delay_s: float = number(0.006, 0.0, 0.2)
    blocked_cutoff_hz: float = number(1500.0, 50.0, 1e6)
    wander_s_per_km: float = number(0.0005, 0.0, 0.1)
    echoes: float | None = optional(0.0, 100.0)
    echo_after_s: float = number(0.06, 0.001, 2.0)
    echo_loss_db: float = number(11.0, 0.0, 60.0)
    echo_sigma_db: float = number(4.0, 0.0, 20.0)
    early_db: float = number(-16.0, -200.0, 0.0)
    early_decay_s: float = number(0.3, 0.05, 10.0)
    tail_db: float = number(-24.0, -200.0, 0.0)
    tail_decay_s: float = number(1.6, 0.05, 10.0)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True)
class Picking:
    """Mode "pulses": how detectors, which are not simulated, turn arrivals into pulses."""

    time_sigma_s: float = number(0.0005, 1e-7, 1.0)
    floor_db_spl: float = number(60.0, 0.0, 150.0)
    threshold_snr_db: float = number(10.0, -20.0, 80.0)
    missed_share: float = number(0.02, 0.0, 1.0)
    echo_pulses: float = number(1.0, 0.0, 20.0)
    false_per_hour: float = number(60.0, 0.0, 100_000.0)
    separation: float = number(2.0, 0.0, 6.0)
    correlation: float = number(0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True)
class Profile:
    """How wind and temperature change with height and time; the defaults leave the air the same everywhere.

    ``height_m`` above the ground is where the true air is what [true_air] says.
    """

    height_m: float = number(10.0, 0.5, 1000.0)
    roughness_m: float | None = optional(1e-5, 10.0)
    displacement_m: float = number(0.0, 0.0, 100.0)
    lapse_c_per_m: float = number(0.0, -0.5, 0.5)
    gust_sigma_m_per_s: float = number(0.0, 0.0, 20.0)
    gust_time_s: float = number(30.0, 1.0, 3600.0)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.roughness_m is not None and self.height_m - self.displacement_m < 2.0 * self.roughness_m:
            raise ValueError(
                f"height_m {self.height_m:g} is among the houses: expected over displacement_m + 2 roughness_m, "
                f"{self.displacement_m + 2.0 * self.roughness_m:g}"
            )

    @property
    def uniform(self) -> bool:
        """Whether heights make no difference."""
        return self.roughness_m is None and self.lapse_c_per_m == 0.0


@dataclass(frozen=True, slots=True)
class Building:
    """A house: convex footprint, pairs of the frame's two horizontal coordinates; ``height_m`` above the ground."""

    footprint: tuple[tuple[float, float], ...]
    height_m: float = number(None, 0.1, 1000.0)
    reflection: float = number(0.8, 0.0, 1.0)

    def __post_init__(self) -> None:
        check_ranges(self)
        if len(self.footprint) < 3:
            raise ValueError(f"footprint has {len(self.footprint)} corners: expected three or more")


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor: where its survey says it stands, and how wrong survey and clock may be."""

    sensor_id: str
    place: Place
    position_sigma_m: float = number(1.0, 0.0, 1e4)
    up_sigma_m: float = number(1.0, 0.0, 1e4)
    clock_sigma_s: float = number(0.0002, 0.0, 3600.0)
    clock_offset_s: float | None = optional(-3600.0, 3600.0)
    clock_drift_ppm: float = number(0.0, -1000.0, 1000.0)
    clock_steps_s: tuple[tuple[float, float], ...] = ()
    east_error_m: float | None = optional(-1e4, 1e4)
    north_error_m: float | None = optional(-1e4, 1e4)
    noise_db: float = number(0.0, -60.0, 60.0)
    offline_s: tuple[tuple[float, float], ...] = ()
    chatter: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        check_ranges(self)
        if not 0 < len(self.sensor_id) <= 100 or not self.sensor_id.isprintable():
            raise ValueError(f"sensor_id is {self.sensor_id!r}: expected 1 to 100 printable characters")
        ends = [instant for gap in self.offline_s for instant in gap]
        if not all(earlier < later for earlier, later in itertools.pairwise(ends)):
            raise ValueError("offline_s: expected [from, to] pairs of seconds, in order and without overlap")
        steps = [at_s for at_s, _ in self.clock_steps_s]
        if steps != sorted(steps) or not all(abs(step_s) <= 3600.0 for _, step_s in self.clock_steps_s):
            raise ValueError("clock_steps_s: expected [at, step] pairs of seconds, in order, steps of an hour at most")
        if not all(0.0 <= begin < end and 0.0 <= per_s <= 100.0 for begin, end, per_s in self.chatter):
            raise ValueError("chatter: expected [from, to, per second], from before to, up to 100 a second")

    def clock_error_s(self, offset_s: float, at_s: float) -> float:
        """What the clock is off by ``at_s`` after the start, from ``offset_s`` at the start; positive is fast."""
        steps = math.fsum(step_s for when_s, step_s in self.clock_steps_s if when_s <= at_s)
        return offset_s + 1e-6 * self.clock_drift_ppm * at_s + steps


@dataclass(frozen=True, slots=True)
class Event:
    """Something that bangs, once or in rounds. Who hears it is left to physics."""

    event_id: str
    kind: str
    time_s: float = number(None, 0.0, 1e6)
    place: Place | None = None
    sensor_id: str | None = None
    level_db_spl: float | None = optional(40.0, 220.0)
    positive_phase_s: float | None = optional(0.0001, 0.02)
    duration_s: float = number(6.0, 2.0, 30.0)
    rounds: int = number(1, 1, 1000)
    rounds_per_min: float = number(300.0, 1.0, 6000.0)
    cadence_sigma: float = number(0.02, 0.0, 0.3)
    level_sigma_db: float = number(0.7, 0.0, 10.0)
    excess_db: float = number(0.0, -60.0, 80.0)
    aim_deg: float | None = optional(0.0, 360.0)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}: expected one of {', '.join(KINDS)}")
        if (self.kind == "handling") != (self.sensor_id is not None) or (self.sensor_id is None) == (
            self.place is None
        ):
            raise ValueError("give a place; or, for kind handling alone, the sensor_id that is knocked")
        if not self.event_id or any(c.isspace() or not c.isprintable() for c in self.event_id):
            raise ValueError(f"event_id is {self.event_id!r}: expected printable characters without spaces")

    @property
    def sound(self) -> str:
        """Its class."""
        return KINDS[self.kind][0]

    @property
    def peak_db_spl(self) -> float:
        """Peak at one metre, dB SPL."""
        return KINDS[self.kind][1] if self.level_db_spl is None else self.level_db_spl


@dataclass(frozen=True, slots=True)
class Spec:
    """All that a simulated scene shall hold; `air` is what the scene will report, `true_air` what the sound meets.

    ``source_up`` is the height at which the scene says shots are looked for, in the frame's third coordinate; None
    leaves it to the sensors' heights.
    """

    name: str
    seed: int
    mode: str
    frame: str
    start_ns: int
    duration_s: float
    air: Air
    true_air: Air
    sensors: tuple[Sensor, ...]
    events: tuple[Event, ...] = ()
    description: str = ""
    licence: str = ""
    origin: Place | None = None
    source_up: float | None = None
    source_sigma_m: float | None = None
    converter: Converter = Converter()
    noise: Noise = Noise()
    street: Surroundings = Surroundings()
    picking: Picking = Picking()
    profile: Profile = Profile()
    buildings: tuple[Building, ...] = ()

    def __post_init__(self) -> None:
        for name, choices in (("mode", ("audio", "pulses")), ("frame", ("wgs84", "local"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(choices)}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}: expected 0 or more")
        if not 0.1 <= self.duration_s <= 86_400.0:
            raise ValueError(f"duration_s is {self.duration_s}: expected 0.1 to 86400")
        if self.mode == "audio" and self.duration_s * self.converter.rate_hz > MOST_SAMPLES:
            raise ValueError(
                f"duration_s {self.duration_s:g} at {self.converter.rate_hz} Hz is over {MOST_SAMPLES:,} samples a "
                "sensor: make several scenes"
            )
        if self.source_up is not None and not abs(self.source_up) <= 20_000.0:
            raise ValueError(f"source height is {self.source_up}: expected metres")
        if self.source_sigma_m is not None and not 0.0 <= self.source_sigma_m <= 10_000.0:
            raise ValueError(f"source sigma_m is {self.source_sigma_m}: expected 0 to 10000")
        self._check_names()

    def _check_names(self) -> None:
        known = [sensor.sensor_id for sensor in self.sensors]
        for what, names in (("sensor_id", known), ("event_id", [event.event_id for event in self.events])):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"{what} {repeated[0]} stands twice")
        if not known:
            raise ValueError("no [[sensors]]: a scene has one at least")
        for sensor in self.sensors:
            if sensor.chatter and self.mode == "audio":
                raise ValueError(
                    f"sensor {sensor.sensor_id}: chatter is for mode pulses; in sound, knock at it: handling"
                )
        for event in self.events:
            last_s = event.time_s + (event.rounds - 1) * 60.0 / event.rounds_per_min
            if last_s >= self.duration_s:
                raise ValueError(f"event {event.event_id}: its last round, at {last_s:g} s, is after the scene's end")
            if event.sensor_id is not None and event.sensor_id not in known:
                raise ValueError(f"event {event.event_id}: sensor {event.sensor_id} is not among [[sensors]]")
