"""Learning: bangs under an unknown wind place each other, and a clock that steps loses its weight."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from acoustic.air import Air
from localization.fix import Fix
from localization.learning import Learning
from tests import streets

WINDY = Air(temperature_c=12.0, temperature_sigma_c=0.5, wind_east_m_per_s=5.0, wind_north_m_per_s=-4.0)
CALM = dataclasses.replace(WINDY, wind_east_m_per_s=0.0, wind_north_m_per_s=0.0, wind_sigma_m_per_s=4.0)
CITY = streets.ring(9, 450.0, 3)


def places(count, seed):
    return [tuple(float(v) for v in row) for row in np.random.default_rng(seed).uniform(-250.0, 250.0, (count, 2))]


def taught(learning, place, time_s, seed, *, late_s=None):
    """A bang heard in the wind, placed with what was learnt before, and learnt from."""
    heard = streets.bang(CITY, place, time_s, air=WINDY, noise_s=0.0005, seed=seed, late_s=late_s)
    sites = [CITY.site(d.sensor_id, streets.START_NS) for d in heard]
    at_ns = heard[0].pick.onset_ns
    solver = learning.solver_at(at_ns, (0.0, 0.0))
    fix = solver.solve(f"s{seed}", 1, heard, learning.doubted(sites, at_ns), given=True)
    assert isinstance(fix, Fix)
    learning.learn(fix, heard, sites)
    return fix


def test_bangs_under_an_unknown_wind_place_each_other():
    """The report says calm, sigma 4; it blows with 6.4. Regions shrink as bangs tell of it, and go on holding."""
    learning = Learning(streets.solver(CALM))
    fixes = [(place, taught(learning, place, 20.0 * k, k)) for k, place in enumerate(places(14, 5))]
    early, late = ([streets.off_m(fix, place) for place, fix in part] for part in (fixes[:2], fixes[4:]))
    assert np.median(late) < 1.0
    assert np.median(late) < np.median(early) + 0.2
    areas = [fix.best.ellipse.area_m2 for _, fix in fixes]
    assert np.median(areas[4:]) < 0.7 * areas[0]
    held = [fix.best.ellipse.holds(p[0] - fix.best.place.east_m, p[1] - fix.best.place.north_m) for p, fix in fixes]
    assert sum(held) >= 12
    learning.catch_up()
    believed = learning.air.air_at(fixes[-1][1].time_ns + 1, (0.0, 0.0))
    assert believed.wind_east_m_per_s == pytest.approx(5.0, abs=1.5)
    assert believed.wind_north_m_per_s == pytest.approx(-4.0, abs=1.5)


def test_without_bangs_the_report_stands():
    learning = Learning(streets.solver(CALM))
    assert learning.solver_at(streets.START_NS, (0.0, 0.0)).air == CALM


def test_a_clock_that_steps_loses_weight_and_says_so():
    learning = Learning(streets.solver(WINDY))
    for k, place in enumerate(places(12, 8)):
        taught(learning, place, 30.0 * k, k, late_s={"D": 0.02} if k >= 4 else None)
    learning.catch_up()
    (state,) = learning.sensors.flagged()
    assert state.sensor_id == "D"
    assert state.reason in {"clock-step", "clock-drift"}  # the first of a step's bangs may look like the other
    sites = learning.doubted(CITY.sites, streets.START_NS + 10**12)
    widened = {new.sensor_id for new, old in zip(sites, CITY.sites, strict=True) if new != old}
    assert "D" in widened
    site = next(site for site in sites if site.sensor_id == "D")
    assert site.clock_sigma_s > 0.01


def test_an_ambiguous_fix_teaches_nothing():
    learning = Learning(streets.solver(CALM))
    sensors = streets.network([(0.0, 0.0, 10.0), (400.0, 0.0, 10.0), (120.0, 300.0, 10.0)])
    heard = streets.bang(sensors, (-150.0, -110.0), 1.0)
    sites = [sensors.site(d.sensor_id, streets.START_NS) for d in heard]
    learning.learn(streets.solve(sensors, heard), heard, sites)
    learning.catch_up()
    assert not learning.air.counts
    assert not learning.sensors.counts
