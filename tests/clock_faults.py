"""One liar among twelve clocks: the town in which tests of the core and of whole cities have it lie, and what it shows."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from acoustic.air import Air
from acoustic.instant import parse_instant
from localization.study.simulate import simulate
from localization.study.specification import Event, Place, Sensor, Spec

START_NS = parse_instant("2026-11-22T02:00:00Z")
LIAR = "n05"  # in the middle of the town


def clock_faults(fault_s: float) -> dict[str, Callable[[float], float]]:
    """What the liar's clock shows at true time t, s, by the name of what befell it at ``fault_s``."""
    return {
        "step 1 s": lambda t: t + (1.0 if t >= fault_s else 0.0),
        "step 1 h": lambda t: t + (3600.0 if t >= fault_s else 0.0),
        "drift 100 ppm": lambda t: t + 100e-6 * max(t - fault_s, 0.0),
        "backward 1 s": lambda t: t - (1.0 if t >= fault_s else 0.0),
        "backward 1 h": lambda t: t - (3600.0 if t >= fault_s else 0.0),
        "frozen": lambda t: min(t, fault_s),
    }


@functools.cache
def town(seed: int, bangs: int, every_s: float):
    """Twelve roofs, shots among them; streets that block and echo, air that the report does not quite know."""
    rng = np.random.default_rng(seed)
    sensors = tuple(
        Sensor(f"n{k:02d}", Place((k % 4) * 300.0 - 450.0 + rng.uniform(-60.0, 60.0),
                                  (k // 4) * 300.0 - 300.0 + rng.uniform(-60.0, 60.0), rng.uniform(6.0, 14.0)),
               clock_sigma_s=0.0)
        for k in range(12)
    )  # fmt: skip
    events = tuple(
        Event(f"b{k:02d}", "muzzle", 5.0 + every_s * k, Place(rng.uniform(-350.0, 350.0), rng.uniform(-220.0, 220.0), 1.5))
        for k in range(bangs)
    )  # fmt: skip
    told, true = Air(12.0, temperature_sigma_c=1.0, wind_sigma_m_per_s=1.5), Air(12.5, wind_east_m_per_s=1.0)
    end_s = every_s * bangs + 10.0
    return simulate(
        Spec("clock faults", seed, "pulses", "local", START_NS, end_s, told, true, sensors, events)
    ).scene  # fmt: skip
