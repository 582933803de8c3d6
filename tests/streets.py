"""Small cities for tests: sensors, and what they hear of bangs by straight lines through moving air."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acoustic.air import Air
from acoustic.detection import Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import after, parse_instant
from acoustic.pick import Pick
from localization.frame import Frame
from localization.locator import Locator
from localization.solver import Solver
from localization.street import Street
from sensors.health import Heartbeat
from sensors.site import Local, Network, Site
from tests import naive

START_NS = parse_instant("2026-11-21T03:00:00Z")
STILL = Air(temperature_c=12.0, temperature_sigma_c=0.5, wind_sigma_m_per_s=0.3)
SOURCE_UP_M = 1.5


def network(places: Sequence[tuple[float, float, float]], **site: float) -> Network:
    """Sensors A, B, C, ... at these places; survey and clocks as good as stated, 1 m and 0.2 ms by default."""
    return Network(tuple(Site(_name(k), Local(*place), **site) for k, place in enumerate(places)))


def _name(k: int) -> str:
    return chr(ord("A") + k) if k < 26 else f"S{k:04d}"


def square(side_m: float = 600.0) -> Network:
    """Eight sensors: the corners of a square and the middles of its sides, pulled out of line; on roofs."""
    half = side_m / 2.0
    corners = [(-half, -half), (half, -0.9 * half), (0.95 * half, half), (-half, 1.1 * half)]
    sides = [
        (0.1 * half, -1.2 * half),
        (1.15 * half, 0.05 * half),
        (-0.05 * half, 1.25 * half),
        (-1.2 * half, -0.1 * half),
    ]
    return network([(x, y, 8.0 + k) for k, (x, y) in enumerate(corners + sides)])


def ring(count: int, radius_m: float, seed: int) -> Network:
    """Sensors round a centre, unevenly."""
    rng = np.random.default_rng(seed)
    angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2.0 * np.pi / count
    radii = radius_m * rng.uniform(0.7, 1.2, count)
    places = zip(radii * np.cos(angles), radii * np.sin(angles), rng.uniform(6.0, 20.0, count), strict=True)
    return network([(float(x), float(y), float(z)) for x, y, z in places])


def bang(
    sensors: Network,
    place: tuple[float, float],
    time_s: float,
    *,
    air: Air = STILL,
    noise_s: float = 0.0,
    late_s: dict[str, float] | None = None,
    deaf: Sequence[str] = (),
    llr: float = 2.0,
    source_db: float = 147.5,
    seed: int = 0,
    astray: bool = False,
) -> list[Detection]:
    """What the sensors hear of a bang ``time_s`` after `START_NS`, some of them late, some not at all.

    ``astray``: sensors, clocks, air and the source's height really are off by what their sigmas say.
    """
    rng = np.random.default_rng(seed)
    wrong = rng.standard_normal if astray else np.zeros
    source = np.array([*place, SOURCE_UP_M + wrong(1)[0]])
    speed = air.sound_speed_m_per_s + air.sound_speed_sigma_m_per_s * wrong(1)[0]
    wind = np.array([air.wind_east_m_per_s, air.wind_north_m_per_s]) + air.wind_sigma_m_per_s * wrong(2)
    heard = []
    for site in sensors.sites:
        position = np.array([site.position.east_m, site.position.north_m, site.position.up_m])
        position += wrong(3) * (site.position_sigma_m, site.position_sigma_m, site.up_sigma_m)
        travel_s = naive.travel_time(source, position, speed, wind) + site.clock_sigma_s * wrong(1)[0]
        arrival_s = time_s + travel_s + (late_s or {}).get(site.sensor_id, 0.0) + rng.normal(0.0, 1.0) * noise_s
        range_m = float(np.linalg.norm(position - source))
        level_db = source_db - 24.2 * np.log10(max(range_m, 10.0))
        if site.sensor_id not in deaf:
            heard.append(pulse(site.sensor_id, arrival_s, llr=llr, level_db=level_db, sigma_s=max(noise_s, 1e-4)))
    return sorted(heard, key=lambda d: (d.pick.onset_ns, d.sensor_id))


def pulse(
    sensor_id: str,
    time_s: float,
    *,
    llr: float = 2.0,
    level_db: float = 85.0,
    sigma_s: float = 1e-4,
    p_outlier: float = 0.05,
) -> Detection:
    """One detection ``time_s`` after `START_NS`."""
    onset_ns = after(START_NS, time_s)
    pick = Pick(onset_ns, sigma_s, p_outlier, snr_db=max(6.0, level_db - 55.0), level_db_spl=level_db)
    name = pulse_identity(sensor_id, onset_ns)
    return Detection(name, sensor_id, pick, llr, probabilities_from_llr(llr), model="test")


def noise(sensors: Network, rate_per_s: float, duration_s: float, seed: int) -> list[Detection]:
    """Picks that are nothing: at any time, weak, and judged to be nothing much."""
    rng = np.random.default_rng(seed)
    picks = []
    for site in sensors.sites:
        for time_s in rng.uniform(0.0, duration_s, rng.poisson(rate_per_s * duration_s)):
            level_db, p_outlier = float(rng.normal(65.0, 5.0)), float(rng.uniform(0.85, 0.99))
            llr = float(rng.normal(-1.5, 1.0))
            picks.append(pulse(site.sensor_id, float(time_s), llr=llr, level_db=level_db, p_outlier=p_outlier))
    return sorted(picks, key=lambda d: (d.pick.onset_ns, d.sensor_id))


def solver(air: Air = STILL, street: Street | None = None) -> Solver:
    """Places bangs in a plane that floats."""
    return Solver(Frame(), air, street or Street(), SOURCE_UP_M, 1.0)


def solve(sensors: Network, detections: Sequence[Detection], air: Air = STILL, street: Street | None = None):
    """The fix of detections that are one bang, or why there is none."""
    sites = [sensors.site(d.sensor_id, START_NS) for d in detections]
    return solver(air, street).solve("s1", 1, detections, sites)


def locator(sensors: Network, air: Air = STILL) -> Locator:
    """A locator whose sensors all listen."""
    result = Locator(sensors, Frame(), air, SOURCE_UP_M, 1.0)
    for site in sensors.sites:
        result.receive(Heartbeat(site.sensor_id, after(START_NS, -10.0)))
        result.receive(Heartbeat(site.sensor_id, after(START_NS, 3600.0)))
    return result


def off_m(fix, place: tuple[float, float]) -> float:
    """How far the heaviest mode lies from a place."""
    return float(np.hypot(fix.best.place.east_m - place[0], fix.best.place.north_m - place[1]))
