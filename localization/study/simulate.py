"""Simulate: sources, streets, air, sensors and their clocks become a scene with its truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from acoustic.instant import after
from localization.frame import Frame
from localization.study.picking import pulses_of
from localization.study.scene import (
    HILLINESS,
    LEAST_SOURCE_SIGMA_M,
    SOURCE_BELOW_SENSORS_M,
    Listening,
    Scene,
    Truth,
)
from localization.study.scene_writing import Recording, write_scene
from localization.study.sounding import Voices, pieces_of, pressure_at
from localization.study.specification import Spec
from localization.study.specification_reading import read_spec
from localization.study.table import SceneError
from localization.study.world import World, geodetic, online, position_of, world_of
from sensors.site import Network, Site

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from localization.study.specification import Sensor

__all__ = ["Simulation", "Spec", "read_spec", "simulate", "write_simulation"]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a specification comes to.

    Parameters
    ----------
    scene : Scene
        Without audio; with pulses, in mode "pulses".
    spec : Spec
        What was asked for.
    world : World
        Where everything really stands.
    """

    scene: Scene
    spec: Spec
    world: World

    def recordings(
        self, sensor_ids: frozenset[str] | None = None, progress: Callable[[float], None] | None = None
    ) -> Iterator[Recording]:
        """The sound at each sensor, or at these, one unbroken piece after the other; made when it is asked for.

        Every sensor has random numbers of its own: it sounds the same whatever other sensors there are.
        ``progress`` takes the share of all sensors that was done since it was last called.
        """
        if self.spec.mode != "audio":
            return
        voices = Voices(self.spec)
        for sensor in self.spec.sensors:
            if sensor_ids is None or sensor.sensor_id in sensor_ids:
                pressure_pa = pressure_at(self.spec, self.world, sensor, voices)
                yield from pieces_of(self.spec, sensor, pressure_pa)
            if progress is not None:
                progress(1.0 / len(self.spec.sensors))


def simulate(spec: Spec) -> Simulation:
    """Make the scene that a specification asks for.

    Everything random comes from ``spec.seed`` and the name of the thing: sensors and events can be added without
    changing what others sound like. Same specification, same samples, to one unit of the last place.

    Raises
    ------
    SceneError
        When the specification's places or gaps make no scene.
    """
    network = Network(tuple(_site(spec, sensor) for sensor in spec.sensors))
    try:
        frame = Frame.of(network, geodetic(spec.origin) if spec.origin else None)
    except ValueError as error:
        raise SceneError(f"origin: {error}") from None
    world = world_of(spec, frame)
    up_m, sigma_m = _source(spec, frame, network)
    scene = Scene(
        name=spec.name,
        description=spec.description,
        licence=spec.licence,
        start_ns=spec.start_ns,
        air=spec.air,
        frame=frame,
        network=network,
        source_up_m=up_m,
        source_sigma_m=sigma_m,
        truth=_truth(spec, world),
        pulses=pulses_of(spec, world) if spec.mode == "pulses" else (),
        listening=_listening(spec) if spec.mode == "pulses" else {},
    )
    return Simulation(scene, spec, world)


def write_simulation(spec: Spec, folder: pathlib.Path | str, progress: Callable[[float], None] | None = None) -> None:
    """Simulate, and write the scene folder; ``progress`` takes the share done since it was last called, 1 in all.

    Memory holds one sensor's track at a time.

    Raises
    ------
    SceneError
        When the specification makes no scene.
    """
    simulation = simulate(spec)
    write_scene(simulation.scene, folder, simulation.recordings(progress=progress))
    if spec.mode == "pulses" and progress is not None:
        progress(1.0)


# what the scene says


def _site(spec: Spec, sensor: Sensor) -> Site:
    try:
        return Site(
            sensor.sensor_id,
            position_of(spec, sensor.place),
            sensor.position_sigma_m,
            sensor.up_sigma_m,
            sensor.clock_sigma_s,
            spec.converter.full_scale_db_spl if spec.mode == "audio" else None,
        )
    except ValueError as error:
        raise SceneError(f"sensor {sensor.sensor_id}: {error}") from None


def _source(spec: Spec, frame: Frame, network: Network) -> tuple[float, float]:
    if spec.source_up is not None:
        below = frame.origin.height_m if spec.frame == "wgs84" and frame.origin else 0.0
        return spec.source_up - below, 5.0 if spec.source_sigma_m is None else spec.source_sigma_m
    up_m = frame.local([site.position for site in network.sites])[:, 2]
    sigma_m = math.hypot(LEAST_SOURCE_SIGMA_M, HILLINESS * float(np.std(up_m)))
    return float(np.median(up_m)) - SOURCE_BELOW_SENSORS_M, spec.source_sigma_m or sigma_m


def _truth(spec: Spec, world: World) -> tuple[Truth, ...]:
    """A row a round, distractors too, ordered by time."""
    rows = []
    for event in spec.events:
        if event.place is None:
            sensor = next(each for each in spec.sensors if each.sensor_id == event.sensor_id)
            place = position_of(spec, sensor.place)
        else:
            place = position_of(spec, event.place)
        for k, (time_s, _) in enumerate(world.rounds[event.event_id], 1):
            name = event.event_id if event.rounds == 1 else f"{event.event_id}-{k:02d}"
            rows.append(Truth(name, event.sound, after(spec.start_ns, time_s), place))
    return tuple(sorted(rows, key=lambda row: (row.time_ns, row.shot_id)))


def _listening(spec: Spec) -> dict[str, Listening]:
    """The one window of each sensor that a scene of pulses can tell."""
    result = {}
    for sensor in spec.sensors:
        windows = online(spec, sensor)
        if len(windows) != 1:
            raise SceneError(
                f"sensor {sensor.sensor_id}: offline_s leaves {len(windows)} stretches; a scene of pulses can tell one"
            )
        first_s, last_s = windows[0]
        result[sensor.sensor_id] = Listening(
            after(spec.start_ns, first_s) if first_s > 0.0 else None,
            after(spec.start_ns, last_s) if last_s < spec.duration_s else None,
        )
    return result
