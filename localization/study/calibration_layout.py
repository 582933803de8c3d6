"""Shots and sensors as the arrays that a calibration is solved from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import seconds_between
from localization.study.calibration_solve import Arrivals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from localization.frame import Frame
    from localization.study.calibration_shots import Shot
    from sensors.site import Network

    Floats = NDArray[np.float64]

SAME_PLACE_M: Final = 1.0  # of surveys
SAME_PATH_M: Final = 25.0  # of shots nobody surveyed


def laid_out(
    network: Network, frame: Frame, shots: Sequence[Shot], least_position_sigma_m: float, least_clock_sigma_s: float
) -> tuple[Arrivals, list[tuple[int, int]]]:
    """The shots as arrays for `localization.study.calibration_solve`, and the place and sensor of each path."""
    index = {site.sensor_id: k for k, site in enumerate(network.sites)}
    local = frame.local([shot.place for shot in shots])
    surveyed = [shot.sigma_m is not None for shot in shots]
    # Surveyed shots from one spot share the survey's error; of others, each has a place of its own.
    spot = _clusters(local[:, :2], SAME_PLACE_M)
    own = [spot[k] if surveyed[k] else len(shots) + k for k in range(len(shots))]
    order = {name: k for k, name in enumerate(dict.fromkeys(own))}
    lair = _clusters(local[:, :2], SAME_PATH_M)
    occasions = {name: k for k, name in enumerate(dict.fromkeys(shot.occasion for shot in shots))}
    paths: dict[tuple[int, int], int] = {}
    rows = []
    for k, shot in enumerate(shots):
        zero_ns = min(onset_ns for _, onset_ns, _ in shot.arrivals)
        for sensor_id, onset_ns, sigma_s in shot.arrivals:
            sensor = index[sensor_id]
            path = paths.setdefault((order[own[k]] if surveyed[k] else lair[k], sensor), len(paths))
            rows.append((sensor, k, path, seconds_between(zero_ns, onset_ns), sigma_s))
    table = np.array(rows)
    places, place_sigma = np.zeros((len(order), 3)), np.zeros((len(order), 3))
    air, air_sigma = np.zeros((len(occasions), 3)), np.zeros((len(occasions), 3))
    for k, shot in enumerate(shots):
        places[order[own[k]]] = local[k]
        flat = math.inf if shot.sigma_m is None else shot.sigma_m
        place_sigma[order[own[k]]] = flat, flat, shot.up_sigma_m
        a = shot.air
        air[occasions[shot.occasion]] = a.sound_speed_m_per_s, a.wind_east_m_per_s, a.wind_north_m_per_s
        air_sigma[occasions[shot.occasion]] = a.sound_speed_sigma_m_per_s, a.wind_sigma_m_per_s, a.wind_sigma_m_per_s
    sites = network.sites
    flat_m = np.maximum([site.position_sigma_m for site in sites], least_position_sigma_m)
    clock_s = np.maximum([site.clock_sigma_s for site in sites], least_clock_sigma_s)
    arrivals = Arrivals(
        sensor=table[:, 0].astype(np.int64),
        shot=table[:, 1].astype(np.int64),
        path=table[:, 2].astype(np.int64),
        times=table[:, 3],
        sigmas=table[:, 4],
        shot_place=np.array([order[name] for name in own]),
        shot_air=np.array([occasions[shot.occasion] for shot in shots]),
        sensors=frame.local([site.position for site in sites]),
        places=places,
        air=air,
        sensor_sigma=np.column_stack([flat_m, flat_m, clock_s]),
        place_sigma=place_sigma,
        air_sigma=air_sigma,
        path_sensor=np.array([sensor for _, sensor in paths]),
        height_sigma=np.array([site.up_sigma_m for site in sites]),
    )
    return arrivals, list(paths)


def _clusters(points: Floats, within_m: float) -> list[int]:
    """For each point the first one within reach that leads a cluster."""
    leaders: list[int] = []
    result = []
    for k, point in enumerate(points):
        near = [j for j in leaders if math.dist(points[j], point) < within_m]
        if not near:
            leaders.append(k)
        result.append(near[0] if near else k)
    return result
