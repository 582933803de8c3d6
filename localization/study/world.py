"""The world of a simulation: where everything really stands, what its clocks really show, when the rounds fall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localization.study.buildings import Block, Buildings, Triple
from localization.study.chance import child
from localization.study.paths import Streets
from localization.study.specification import Place
from localization.study.table import SceneError
from localization.study.weather import Weather
from sensors.site import Geodetic, Local

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.frame import Frame
    from localization.study.specification import Building, Event, Sensor, Spec


@dataclass(frozen=True, slots=True)
class World:
    """Where everything really is: metres in the scene's plane, seconds after its start."""

    streets: Streets
    events: dict[str, Triple]
    sensors: dict[str, Triple]
    clock_offsets_s: dict[str, float]
    rounds: dict[str, tuple[tuple[float, float], ...]]
    """By event: each round's time and gain."""
    weather: Weather

    def shift_s(self, event_id: str, sensor: Sensor, time_s: float) -> float:
        """How much later than by its path a round of ``time_s`` shows at a sensor: for the gust, and for its clock.

        The clock's error is that of when the sound arrives by the straight line.
        """
        ends = self.events[event_id], self.sensors[sensor.sensor_id]
        gust_s = self.weather.gust_delay_s(*ends, time_s)
        arrives_s = time_s + gust_s + self.streets.travel_s(*ends)
        return gust_s + sensor.clock_error_s(self.clock_offsets_s[sensor.sensor_id], arrives_s)


def world_of(spec: Spec, frame: Frame) -> World:
    """Draw what the specification leaves to chance.

    The specification's places of sensors are those of their survey: the microphones really stand off by its error.

    Raises
    ------
    SceneError
        When a place is none.
    """
    surveyed = frame.local([position_of(spec, sensor.place) for sensor in spec.sensors])
    sensors, offsets = {}, {}
    for sensor, (east, north, up) in zip(spec.sensors, surveyed, strict=True):
        errors = child(spec.seed, "sensor", sensor.sensor_id).standard_normal(4)
        east_m = sensor.position_sigma_m * errors[0] if sensor.east_error_m is None else sensor.east_error_m
        north_m = sensor.position_sigma_m * errors[1] if sensor.north_error_m is None else sensor.north_error_m
        sensors[sensor.sensor_id] = (
            float(east + east_m),
            float(north + north_m),
            float(up + sensor.up_sigma_m * errors[2]),
        )
        drawn_s = sensor.clock_sigma_s * float(errors[3])
        offsets[sensor.sensor_id] = drawn_s if sensor.clock_offset_s is None else sensor.clock_offset_s
    events = {}
    for event in spec.events:
        if event.place is None:
            events[event.event_id] = sensors[str(event.sensor_id)]
            continue
        try:
            position = position_of(spec, event.place)
        except ValueError as error:
            raise SceneError(f"event {event.event_id}: {error}") from None
        east, north, up = frame.local([position])[0]
        events[event.event_id] = (float(east), float(north), float(up))
    ground_m = _ground_m(spec, frame, sensors, events)
    buildings = _built(spec, frame, ground_m)
    for sensor, place in zip(spec.sensors, surveyed, strict=True):
        _outdoors(buildings, f"sensor {sensor.sensor_id}", place)
        sensors[sensor.sensor_id] = buildings.outside(sensors[sensor.sensor_id])
    for event in spec.events:
        if event.place is not None:
            _outdoors(buildings, f"event {event.event_id}", np.array(events[event.event_id]))
        else:
            events[event.event_id] = sensors[str(event.sensor_id)]
    weather = Weather(spec.true_air, spec.profile, ground_m, spec.seed, spec.duration_s)
    streets = Streets(spec.street, spec.true_air, ground_m, spec.seed, buildings, weather)
    rounds = {event.event_id: _rounds(spec, event) for event in spec.events}
    return World(streets, events, sensors, offsets, rounds, weather)


def _built(spec: Spec, frame: Frame, ground_m: float) -> Buildings:
    return Buildings([_block(spec, frame, ground_m, k, each) for k, each in enumerate(spec.buildings, 1)])


def _block(spec: Spec, frame: Frame, ground_m: float, number: int, building: Building) -> Block:
    up = frame.origin.height_m if spec.frame == "wgs84" and frame.origin else 0.0
    try:
        corners = frame.local([position_of(spec, Place(a, b, up)) for a, b in building.footprint])[:, :2]
        pairs = tuple((float(east), float(north)) for east, north in corners)
        return Block(pairs, ground_m + building.height_m, ground_m, building.reflection)
    except ValueError as error:
        raise SceneError(f"buildings[{number}]: {error}") from None


def _outdoors(buildings: Buildings, what: str, place: NDArray[np.float64]) -> None:
    holding = np.flatnonzero(buildings.holding(place[None])[0])
    if len(holding):
        raise SceneError(f"{what} stands inside buildings[{holding[0] + 1}]: move it out of doors, or onto the roof")


def _ground_m(spec: Spec, frame: Frame, sensors: dict[str, Triple], events: dict[str, Triple]) -> float:
    """Height of the ground in the plane; without one given, a man's height below the lowest thing there is."""
    if spec.street.ground_m is None:
        return min(point[2] for point in (*sensors.values(), *events.values())) - 1.5
    below = frame.origin.height_m if spec.frame == "wgs84" and frame.origin else 0.0
    return spec.street.ground_m - below


def _rounds(spec: Spec, event: Event) -> tuple[tuple[float, float], ...]:
    """Each round's time, seconds after the start, and its gain beside the event's level."""
    draw = child(spec.seed, "event", event.event_id)
    steps = np.maximum(1.0 + event.cadence_sigma * draw.standard_normal(event.rounds), 0.1)
    times_s = event.time_s + np.concatenate([[0.0], np.cumsum(steps[1:])]) * 60.0 / event.rounds_per_min
    gains = np.power(10.0, event.level_sigma_db * draw.standard_normal(event.rounds) / 20.0)
    return tuple((float(time), float(gain)) for time, gain in zip(times_s, gains, strict=True))


def online(spec: Spec, sensor: Sensor) -> list[tuple[float, float]]:
    """When the sensor records, seconds after the start of the scene."""
    ends = [0.0, *(instant for gap in sensor.offline_s for instant in gap), spec.duration_s]
    clipped = [min(max(end, 0.0), spec.duration_s) for end in ends]
    return [(a, b) for a, b in zip(clipped[::2], clipped[1::2], strict=True) if b > a]


def geodetic(place: Place) -> Geodetic:
    """The place on the ellipsoid."""
    return Geodetic(place.east, place.north, place.up)


def position_of(spec: Spec, place: Place) -> Geodetic | Local:
    """The place as the specification's frame has it."""
    return geodetic(place) if spec.frame == "wgs84" else Local(place.east, place.north, place.up)
