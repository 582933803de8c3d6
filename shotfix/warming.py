"""Warming: a locator's kernels are compiled, or fetched from their cache, before a centre says that it is ready."""

from __future__ import annotations

import math

from acoustic.air import Air
from acoustic.detection import Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import SECOND, after
from acoustic.pick import Pick
from localization.fix import Fix
from localization.frame import Frame
from sensors.site import Local, Network, Site
from shotfix.machines import Deployment, Event, Machines

START_NS = 1_800_000_000 * SECOND
SENSORS = 7
RADIUS_M = 300.0


def warm_locator() -> int:
    """Place an invented burst; how many of its rounds were placed. Minutes on a fresh machine, else a second."""
    places = [Local(RADIUS_M * math.cos(k), RADIUS_M * math.sin(k), 5.0 + k % 3) for k in range(SENSORS)]
    sites = tuple(Site(f"S{k}", place) for k, place in enumerate(places))
    air = Air()
    machines = Machines(Deployment("warming", Network(sites), Frame(), air, 1.5, 2.0), mode="test")
    for site in sites:
        machines.locator.listened(site.sensor_id, START_NS - SECOND, START_NS + 60 * SECOND)
    events: list[Event] = []
    for round_s in (0.0, 0.3):
        for site, place in zip(sites, places, strict=True):
            far_m = math.hypot(place.east_m - 40.0, place.north_m - 20.0)
            onset_ns = after(START_NS, 1.0 + round_s + far_m / air.sound_speed_m_per_s)
            pick = Pick(onset_ns, 0.0005, snr_db=30.0)
            name = pulse_identity(site.sensor_id, onset_ns)
            events += machines.receive(Detection(name, site.sensor_id, pick, 4.0, probabilities_from_llr(4.0), "none"))
    events += machines.finish()
    return len({shot.shot_id for shot in events if isinstance(shot, Fix)})
