"""Three sensors can leave two places: a bearing says which, and a bearing off a wall does not decide alone."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from acoustic.bearing import Bearing
from tests import streets


def told(sensors, heard, azimuth_deg):
    """The same pulses, the first one with a bearing."""
    first = dataclasses.replace(heard[0], bearing=Bearing(azimuth_deg % 360.0, 2.0))
    return streets.solve(sensors, [first, *heard[1:]])


def azimuth_deg(sensors, detection, place):
    site = next(s.position for s in sensors.sites if s.sensor_id == detection.sensor_id)
    return math.degrees(math.atan2(place[0] - site.east_m, place[1] - site.north_m))


def test_a_bearing_picks_the_right_of_two_places():
    generator, doubtful, right = np.random.default_rng(3), 0, 0
    for trial in range(120):
        sensors, place = streets.ring(3, 400.0, trial), tuple(generator.uniform(-450.0, 450.0, 2))
        heard = streets.bang(sensors, place, 1.0, noise_s=0.0005, seed=trial)
        alone = streets.solve(sensors, heard)
        modes = getattr(alone, "modes", ())
        off = [math.hypot(m.place.east_m - place[0], m.place.north_m - place[1]) for m in modes]
        if len(modes) < 2 or min(off) > 60.0:
            continue
        doubtful += 1
        miss = generator.normal(0.0, 2.0)
        with_bearing = told(sensors, heard, azimuth_deg(sensors, heard[0], place) + miss)
        right += streets.off_m(with_bearing, place) <= 60.0
    assert doubtful >= 8
    assert right == doubtful


def test_eight_sensors_outvote_a_bearing_off_a_wall():
    sensors = streets.square()
    heard = streets.bang(sensors, (40.0, -90.0), 1.0, noise_s=0.0005, seed=1)
    fix = told(sensors, heard, azimuth_deg(sensors, heard[0], (40.0, -90.0)) + 120.0)
    assert streets.off_m(fix, (40.0, -90.0)) < 2.0
    assert len(fix.modes) == 1
