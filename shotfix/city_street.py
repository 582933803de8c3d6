"""A street to practise on: sensors on a loose grid and three bangs, as a specification for the simulator."""

from __future__ import annotations

import math
import random
from typing import Any, Final

SPACING_M: Final = 220.0
LOOSENESS_M: Final = 25.0
LATITUDE_DEG: Final = 41.77
LONGITUDE_DEG: Final = -72.685
GROUND_M: Final = -11.0  # above the ellipsoid
METRES_PER_DEGREE: Final = 111_200.0  # of latitude, near enough for a street that never was
DURATION_S: Final = 40.0
START: Final = "2026-11-21T03:00:00Z"
SEED: Final = 1123


def street_tables(sensors: int) -> dict[str, Any]:
    """What the simulator is asked for: one shot, a carpenter's hammer, three rounds; 40 s in all.

    Parameters
    ----------
    sensors : int
        How many, on a grid of `SPACING_M`. All that bangs does so near the middle.
    """
    rng = random.Random(SEED)  # noqa: S311  (where make-believe sensors stand is no secret)
    across = math.ceil(math.sqrt(sensors))
    down = math.ceil(sensors / across)
    places = []
    for k in range(sensors):
        east_m = (k % across - (across - 1) / 2) * SPACING_M + rng.uniform(-LOOSENESS_M, LOOSENESS_M)
        north_m = (k // across - (down - 1) / 2) * SPACING_M + rng.uniform(-LOOSENESS_M, LOOSENESS_M)
        places.append(_place(east_m, north_m, GROUND_M + rng.uniform(6.0, 15.0)))
    return {
        "name": "Practice street",
        "description": "A street that never was, to see the engine at work on. Made from physics alone.",
        "seed": SEED,
        "frame": "wgs84",
        "start_utc": START,
        "duration_s": DURATION_S,
        "air": {"temperature_c": 11.0, "wind_speed_m_per_s": 2.0, "wind_from_deg": 240.0, "wind_sigma_m_per_s": 1.0},
        "source": {"height_m": GROUND_M + 1.5, "sigma_m": 5.0},
        "converter": {"rate_hz": 12_000, "full_scale_db_spl": 112.0},
        "street": {"ground_m": GROUND_M},
        "every_sensor": {"position_sigma_m": 1.0, "up_sigma_m": 1.5, "clock_sigma_s": 0.0002},
        "sensors": [{"sensor_id": f"roof-{k:02d}", **place} for k, place in enumerate(places, 1)],
        "events": [
            {"event_id": "shot", "kind": "muzzle", "time_s": 8.4, **_place(35.0, -20.0, GROUND_M + 1.5)},
            {
                "event_id": "hammer", "kind": "hammer", "time_s": 16.0, "rounds": 4, "rounds_per_min": 95.0,
                "cadence_sigma": 0.08, "level_db_spl": 124.0, **_place(-60.0, 45.0, GROUND_M + 6.0),
            },
            {
                "event_id": "burst", "kind": "muzzle", "time_s": 28.3, "rounds": 3, "rounds_per_min": 300.0,
                **_place(-25.0, -50.0, GROUND_M + 1.5),
            },
        ],
    }  # fmt: skip


def _place(east_m: float, north_m: float, height_m: float) -> dict[str, float]:
    a_degree_east_m = METRES_PER_DEGREE * math.cos(math.radians(LATITUDE_DEG))
    return {
        "latitude_deg": round(LATITUDE_DEG + north_m / METRES_PER_DEGREE, 6),
        "longitude_deg": round(LONGITUDE_DEG + east_m / a_degree_east_m, 6),
        "height_m": round(height_m, 2),
    }
