"""Others' published inputs and answers, read from the reference data: places where their tests say the sound was."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from acoustic.air import Air, sound_speed
from acoustic.detection import Detection
from acoustic.instant import after
from acoustic.pick import Pick
from localization.fix import Fix
from localization.frame import Frame
from localization.solver import Solver
from localization.street import Street
from sensors.site import Local, Site
from tests import streets

CLEAN = Street(path_sigma_s=0.0005, path_scales=((0.0001, 1.0),), p_indirect=0.001)


def air_of(speed):
    """Still air in which sound travels at just this speed, by bisection over its temperature."""
    low, high = -50.0, 60.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if sound_speed(middle, 50.0, 101_325.0) < speed else (low, middle)
    return Air(temperature_c=low, temperature_sigma_c=0.0, wind_sigma_m_per_s=0.0)


def solve(vector):
    sensors = np.array(vector["sensors"], dtype=float)
    up = sensors[:, 2] if sensors.shape[1] > 2 else np.zeros(len(sensors))
    target = vector["expect"]
    source_up = float(target[2]) if len(target) > 2 else 0.0
    sites = [
        Site(f"S{k}", Local(s[0], s[1], float(z)), 0.001, 0.001, 0.0)
        for k, (s, z) in enumerate(zip(sensors, up, strict=True))
    ]
    heard = [
        Detection(f"p{k}", site.sensor_id, Pick(after(streets.START_NS, float(t)), 1e-5))
        for k, (site, t) in enumerate(zip(sites, vector["arrivals"], strict=True))
    ]
    return Solver(Frame(), air_of(vector["c"]), CLEAN, source_up, 0.01).solve("s", 1, heard, sites)


def test_places_that_others_found(shared):
    """Every vector whose sensors are as exact as its answer; the tolerance is the vector's own."""
    vectors = json.loads((shared / "peer_vectors" / "vectors.json").read_text())
    usable = [v for v in vectors if {"sensors", "arrivals", "expect", "c"} <= set(v) and len(v["arrivals"]) >= 3]
    assert len(usable) >= 3
    for vector in usable:
        shot = solve(vector)
        assert isinstance(shot, Fix), vector["id"]
        offs = [
            math.hypot(m.place.east_m - vector["expect"][0], m.place.north_m - vector["expect"][1]) for m in shot.modes
        ]
        assert min(offs) <= max(vector.get("tol_m", 0.1), 0.01), vector["id"]


@pytest.mark.parametrize("speed", [331.0, 343.0, 350.0])
def test_the_air_that_is_asked_for(speed):
    assert air_of(speed).sound_speed_m_per_s == pytest.approx(speed, abs=1e-9)
