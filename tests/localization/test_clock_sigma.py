"""What a device says of its clock goes before what the table says, and into the region."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from localization.fix import Fix
from localization.standing import as_heard
from sensors.site import Network
from tests import streets

CITY = streets.square()
PLACE = (120.0, -60.0)


def saying(heard, sigma_s, names=None):
    """The detections, of devices that say so of their clocks."""
    return [
        d
        if names is not None and d.sensor_id not in names
        else dataclasses.replace(d, pick=dataclasses.replace(d.pick, clock_sigma_s=sigma_s))
        for d in heard
    ]


def located(sensors, heard):
    locator = streets.locator(sensors)
    for detection in heard:
        locator.receive(detection)
    (fix,) = locator.finish()
    assert isinstance(fix, Fix)
    return fix


def told(sensors, sigma_s):
    return Network(tuple(dataclasses.replace(site, clock_sigma_s=sigma_s) for site in sensors.sites))


def test_the_region_widens_with_what_clocks_say_of_themselves():
    heard = streets.bang(CITY, PLACE, 1.0, noise_s=0.0003, seed=1)
    areas = [
        located(CITY, saying(heard, sigma_s)).best.ellipse.area_m2 for sigma_s in (None, 0.0002, 0.001, 0.005, 0.01)
    ]
    assert areas[1] == pytest.approx(areas[0])
    assert areas[1] < areas[2] < areas[3] < areas[4]


@pytest.mark.parametrize("sigma_s", [1e-6, 0.003, 0.01])
def test_a_device_that_says_it_is_like_a_table_that_says_it(sigma_s):
    heard = streets.bang(CITY, PLACE, 1.0, noise_s=0.0003, seed=2)
    said, table = located(CITY, saying(heard, sigma_s)), located(told(CITY, sigma_s), heard)
    assert said.best.place == pytest.approx(table.best.place)
    assert said.best.ellipse.area_m2 == pytest.approx(table.best.ellipse.area_m2)


def test_a_device_may_be_surer_than_the_table():
    loose = told(CITY, 0.01)
    heard = streets.bang(CITY, PLACE, 1.0, noise_s=0.0003, seed=3)
    sure, unsure = located(loose, saying(heard, 1e-5)), located(loose, heard)
    assert sure.best.ellipse.area_m2 < 0.5 * unsure.best.ellipse.area_m2


def test_a_clock_that_says_it_is_lost_does_not_pull():
    """One sensor 15 ms late that says so: the place is that of the others, and the sensor still belongs to the bang."""
    off = {True: [], False: []}
    for seed in range(12):
        heard = streets.bang(CITY, PLACE, 1.0, noise_s=0.0003, seed=seed, late_s={"C": 0.015})
        for says in (True, False):
            fix = located(CITY, saying(heard, 0.02, {"C"}) if says else heard)
            off[says].append(streets.off_m(fix, PLACE))
            if says:
                (arrival,) = (a for a in fix.arrivals if a.detection.sensor_id == "C")
                assert arrival.weight > 0.5
    assert np.median(off[True]) <= 1.1 * np.median(off[False])


def test_doubt_is_added_to_what_the_device_says():
    site = CITY.sites[0]
    (pulse,) = saying([streets.pulse("A", 1.0)], 0.004)
    assert as_heard(site, pulse.pick).clock_sigma_s == 0.004
    assert as_heard(site, streets.pulse("A", 1.0).pick) is site
    locator = streets.locator(CITY)
    locator.learning._believed(pulse.pick.onset_ns).extra_s["A"] = 0.003
    (doubted,) = locator.learning.doubted([as_heard(site, pulse.pick)], pulse.pick.onset_ns)
    assert doubted.clock_sigma_s == pytest.approx(0.005)
