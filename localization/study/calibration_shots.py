"""Shots to calibrate with: which arrivals are theirs, where they were fired, and which network heard them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from localization.frame import Frame
from localization.study.table import SceneError
from sensors.site import Geodetic, Local, Network, Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acoustic.air import Air
    from localization.study.scene import Scene

LEAST_ARRIVALS: Final = 4  # of a shot: with fewer nothing is left to check it
SAME_SENSOR_M: Final = 1.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot whose arrivals are known to be its own.

    Parameters
    ----------
    name : str
        For people.
    place : Geodetic or Local
        As surveyed, or as located.
    sigma_m : float or None
        Of the survey, each horizontal axis; None where nobody surveyed it.
    up_sigma_m : float
        Of its height.
    arrivals : tuple of (sensor_id, onset_ns, sigma_s)
        One for each sensor.
    air : Air
        As reported.
    occasion : str
        Shots of one occasion met the same air.
    """

    name: str
    place: Geodetic | Local
    sigma_m: float | None
    up_sigma_m: float
    arrivals: tuple[tuple[str, int, float], ...]
    air: Air
    occasion: str


def surveyed_shots(scenes: Sequence[Scene], left_out: Counter[str]) -> list[Shot]:
    """The shots of scenes whose place was surveyed and whose arrivals somebody put together.

    ``left_out`` counts what was not used: `unplaced` groups of pulses without a surveyed shot, `too-few-arrivals`.
    """
    shots = []
    for scene in scenes:
        truth = {shot.shot_id: shot for shot in scene.truth}
        owner = {pulse_id: shot.shot_id for shot in scene.truth for pulse_id in shot.pulse_ids}
        groups: dict[str, dict[str, tuple[str, int, float]]] = {}
        for pulse in scene.pulses:
            d = pulse.detection
            shot_id = pulse.shot_id or owner.get(d.pulse_id)
            if shot_id is not None:
                row = d.sensor_id, d.pick.onset_ns, d.pick.sigma_s
                groups.setdefault(shot_id, {}).setdefault(d.sensor_id, row)
        for shot_id, heard in groups.items():
            if shot_id not in truth:
                left_out["unplaced"] += 1
            elif len(heard) < LEAST_ARRIVALS:
                left_out["too-few-arrivals"] += 1
            else:
                fired = truth[shot_id]
                name = f"{scene.name}/{shot_id}"
                shots.append(
                    Shot(
                        name,
                        fired.place,
                        fired.sigma_m,
                        scene.source_sigma_m,
                        tuple(heard.values()),
                        scene.air,
                        scene.name,
                    )
                )
    return shots


def common_network(scenes: Sequence[Scene]) -> tuple[Network, Frame]:
    """All sensors of scenes that share a frame.

    Raises
    ------
    SceneError
        When a sensor stands in two places, or the scenes' frames have nothing in common.
    """
    sites: dict[str, Site] = {}
    for scene in scenes:
        if scene.frame.origin is not None and not isinstance(scene.network.sites[0].position, Geodetic):
            if scene.frame.origin != scenes[0].frame.origin:
                raise SceneError(f"{scene.name}: its [origin] is another than that of {scenes[0].name}: one at a time")
        elif isinstance(scene.network.sites[0].position, Geodetic) != isinstance(
            scenes[0].network.sites[0].position, Geodetic
        ):
            raise SceneError(f"{scene.name}: its frame is another than that of {scenes[0].name}: one at a time")
        for site in scene.network.sites:
            known = sites.setdefault(site.sensor_id, site)
            if _apart_m(known, site) > SAME_SENSOR_M:
                raise SceneError(
                    f"{scene.name}: sensor {site.sensor_id} stands elsewhere than in an earlier scene: calibrate "
                    "scenes of one frame and one time of installation together, others by themselves"
                )
        if scene.frame.origin is None and not {s.sensor_id for s in scene.network.sites} & {
            s.sensor_id for s in scenes[0].network.sites
        }:
            raise SceneError(f"{scene.name}: a floating frame without a sensor of {scenes[0].name}: one at a time")
    network = Network(tuple(sites[name] for name in sorted(sites)))
    return network, Frame.of(network, scenes[0].frame.origin)


def _apart_m(first: Site, second: Site) -> float:
    a, b = first.position, second.position
    if isinstance(a, Local) and isinstance(b, Local):
        return math.dist((a.east_m, a.north_m), (b.east_m, b.north_m))
    if isinstance(a, Geodetic) and isinstance(b, Geodetic):
        east = (a.longitude_deg - b.longitude_deg) * math.cos(math.radians(a.latitude_deg))
        return 111_320.0 * math.hypot(east, a.latitude_deg - b.latitude_deg)
    return math.inf
