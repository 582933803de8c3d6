"""What association costs as towns grow, and how long after its last pulse a fix comes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.accuracy.association import air_of, habits_of, search_of, timed
from benchmarks.association_scenes import SETTINGS, START_NS, TOLD_SIGMA_S, as_scene, night, of_size
from localization.locator import Locator

SIZES = ((100, 60.0), (1_024, 20.0), (10_000, 8.0))
SEEDS = 3
REPEATS = 3
LATENCY_SENSORS, LATENCY_SECONDS = 1_000, 40.0


def measure(_data: Path | None) -> str:
    rows, first = [], 0.0
    for sensors, seconds in SIZES:
        cost, f1, count = _cost(sensors, seconds)
        first = first or cost
        rows.append(f"| {sensors:,} | {count:,.0f} | {1e6 * cost:.1f} | {cost / first:.2f} | {f1:.3f} |")
    calm, busy = _latency(0.1), _latency(1.13)
    return "\n".join(
        [
            "Sparse nights at one density of sensors, all pulses of some seconds at once, one thread, habits known.",
            "",
            "| sensors | pulses | microseconds a pulse | beside the smallest | F1 |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"The streaming locator, {LATENCY_SENSORS:,} sensors: from the watermark that ripens a bang to its fixes.",
            "",
            "| bangs a second and 10 km2 | ticks with fixes | median ms | p90 ms | p99 ms | locator, pulses/s |",
            "|---|---|---|---|---|---|",
            f"| 0.1 | {calm} |",
            f"| 1.13 | {busy} |",
        ]
    )


def _cost(sensors: int, seconds: float) -> tuple[float, float, float]:
    """Seconds a pulse, F1, pulses."""
    setting = of_size(SETTINGS["sparse"], sensors, seconds)
    costs, marks, counts = [], [], []
    for seed in range(SEEDS):
        pulses = night(setting, seed)
        search, sigma = search_of(setting, pulses), np.full(len(pulses.times), TOLD_SIGMA_S)
        habits = habits_of(SETTINGS["sparse"])
        habits.bangs *= sensors / 100
        habits.area_m2 = search.area_m2
        said, took_s = timed(search, pulses, sigma, habits, REPEATS)
        costs.append(took_s / len(pulses.times))
        marks.append(said.f1)
        counts.append(len(pulses.times))
    return float(np.median(costs)), float(np.mean(marks)), float(np.mean(counts))


def _latency(shots_per_s: float) -> str:
    setting = of_size(SETTINGS["sparse"], LATENCY_SENSORS, LATENCY_SECONDS)
    setting = type(setting)(**{**setting.__dict__, "shots_per_s": shots_per_s})
    scene, _ = as_scene(night(setting, 0), air_of(setting))
    locator = Locator(scene.network, scene.frame, scene.air, scene.source_up_m, scene.source_sigma_m)
    for site in scene.network.sites:
        locator.listened(site.sensor_id, START_NS - 10**9, START_NS + 10**12)
    locator.tick(scene.pulses[0].detection.pick.onset_ns)  # the network is laid out before the clock runs
    took, began = [], time.process_time()
    for pulse in scene.pulses:
        at = time.process_time()
        shots = locator.tick(pulse.detection.pick.onset_ns)
        if shots:
            took.append(1e3 * (time.process_time() - at))
        locator.receive(pulse.detection)
    rate = len(scene.pulses) / (time.process_time() - began)
    median, most, worst = np.percentile(took[1:], [50, 90, 99])
    return f"{len(took)} | {median:.1f} | {most:.1f} | {worst:.1f} | {rate:,.0f}"
