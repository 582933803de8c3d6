"""Which pulses are one bang: shotfix beside PyOcto on seeded nights of pure pulses, in the same run."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acoustic.air import Air
from benchmarks.association_scenes import (
    SETTINGS,
    SPEED_M_PER_S,
    TOLD_SIGMA_S,
    Marks,
    Pulses,
    Setting,
    as_scene,
    judge,
    night,
)
from localization.frame import Frame
from localization.habits import Habits
from localization.search import Search, associate, taught
from localization.solver import Solver
from localization.street import Street
from shotfix.playback import locate

SEEDS = 10
FIRST_SEED = 1000  # those below were looked at while the associator was made
LOCATOR_SEEDS = 3
RIVAL_SEEDS = 3  # PyOcto takes minutes on some nights
RIVAL_SECONDS = 300.0
EVENING = 100  # seed of the night before, from which the network knows its habits
RIVAL = "SHOTFIX_RIVALS_PYTHON"
HOW = (
    f"PyOcto not installed. It needs a numpy older than ours, hence an environment of its own:\n\n"
    f"    python -m venv rivals && rivals/bin/pip install 'numpy<2' pyocto==0.2.2\n"
    f"    {RIVAL}=$PWD/rivals/bin/python make bench"
)
ABOUT = (
    "100 sensors at random on 10 km2, 60 s, pulses with nothing but their times. A bang is found where the pulses that "
    "were put together share at least 0.6 of the larger set with the true ones (PyOcto's own rule); bangs of five "
    f"pulses or more are asked for. {SEEDS} seeds, {RIVAL_SEEDS} for PyOcto and for the whole locator; PyOcto's best "
    "of three configurations each night, one thread, min_interevent_time=0. 'F1': rates, ranges and echoes are known "
    "as the night before taught them, as in a network that runs; 'fresh': learnt on the way. Seconds are of processor "
    "time."
)
GATES = {
    "sparse": (0.99, 0.999), "loud": (0.99, 0.999), "hard": (0.95, 0.98), "dense": (0.95, 0.98), "air": (0.95, 0.98),
    "burst": (0.75, 0.92), "burst, same echoes": (0.75, 0.92), "clutter": (0.80, 0.90),
}  # fmt: skip


def measure(_data: Path | None) -> str:
    rows = []
    for setting in SETTINGS.values():
        nights = [night(setting, FIRST_SEED + seed) for seed in range(SEEDS)]
        ours = [ours_on(setting, one) for one in nights]
        fresh = [ours_on(setting, one, fresh=True)[0].f1 for one in nights]
        whole = [locator_on(setting, one).f1 for one in nights[:LOCATOR_SEEDS]]
        theirs = [best for one in nights[:RIVAL_SEEDS] if (best := theirs_on(setting, one))]
        f1, rate = [marks.f1 for marks, _ in ours], float(np.median([rate for _, rate in ours]))
        told = f"{np.mean([m.f1 for m, _ in theirs]):.3f} |" if theirs else "- |"
        theirs_rate = float(np.median([r for _, r in theirs])) if theirs else 0.0
        told += f" {theirs_rate:,.0f} | {rate / theirs_rate:,.0f} |" if theirs_rate else " - | - |"
        gate, aim = GATES[setting.name]
        rows.append(
            f"| {setting.name} | {np.mean([len(one.times) for one in nights]):,.0f} | {gate} / {aim} | "
            f"{np.mean(f1):.3f} | {min(f1):.3f} | {np.mean(fresh):.3f} | {np.mean(whole):.3f} | {rate:,.0f} | {told}"
        )
    return "\n".join(
        [
            ABOUT,
            "",
            "| night | pulses | gate / aim | F1 | worst | fresh | locator | pulses/s | PyOcto F1 | pulses/s | times |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *rows,
            *([] if os.environ.get(RIVAL) else ["", HOW]),
        ]
    )


def air_of(setting: Setting) -> Air:
    """What is told of the weather: all of it, or in the night of unknown air next to nothing."""
    if setting.wind or setting.speed_error:
        return Air(temperature_c=20.0, temperature_sigma_c=7.0, wind_sigma_m_per_s=4.0)
    return Air(temperature_c=20.0, temperature_sigma_c=2.0, wind_sigma_m_per_s=2.0)


def search_of(setting: Setting, pulses: Pulses) -> Search:
    """The search for a night's network."""
    solver = Solver(Frame(), air_of(setting), Street(), 1.5, 2.0)
    return Search(solver, pulses.sensors, np.full(len(pulses.sensors), 3e-4))


def habits_of(setting: Setting) -> Habits:
    """What a night before teaches: how often bangs come and how far they carry, but nothing of tonight's air."""
    pulses = night(setting, EVENING)
    search, sigma = search_of(setting, pulses), np.full(len(pulses.times), TOLD_SIGMA_S)
    habits = Habits(search.street, search.area_m2)
    for _ in range(2):
        habits = taught(search, pulses.times, pulses.owner, sigma, habits)
    habits.forget_air()
    return habits


def ours_on(setting: Setting, pulses: Pulses, *, fresh: bool = False, repeats: int = 3) -> tuple[Marks, float]:
    """Marks, and pulses a second."""
    search, sigma = search_of(setting, pulses), np.full(len(pulses.times), TOLD_SIGMA_S)
    habits = None if fresh else habits_of(setting)
    marks, seconds = timed(search, pulses, sigma, habits, repeats)
    return marks, len(pulses.times) / seconds


def timed(
    search: Search, pulses: Pulses, sigma: NDArray[np.float64], habits: Habits | None, repeats: int
) -> tuple[Marks, float]:
    """Marks, and seconds of the processor at best; the first turn, which compiles, does not count."""
    assigned = associate(search, pulses.times, pulses.owner, sigma, habits)
    took = []
    for _ in range(repeats):
        began = time.process_time()
        associate(search, pulses.times, pulses.owner, sigma, habits)
        took.append(time.process_time() - began)
    said = [frozenset(np.flatnonzero(assigned == k).tolist()) for k in np.unique(assigned[assigned >= 0])]
    return judge(pulses.truth(), said), min(took)


def locator_on(setting: Setting, pulses: Pulses) -> Marks:
    """The same through everything that stands behind `shotfix locate`."""
    scene, rows = as_scene(pulses, air_of(setting))
    run = locate(scene)
    said = [frozenset(rows[a.detection.pulse_id] for a in fix.arrivals if a.weight >= 0.5) for fix in run.fixes]
    return judge(pulses.truth(), said)


def theirs_on(setting: Setting, pulses: Pulses) -> tuple[Marks, float] | None:
    """PyOcto's best configuration on a night, and its pulses a second; None where it is not installed or not done."""
    python = os.environ.get(RIVAL)
    if not python:
        return None
    results = []
    with tempfile.TemporaryDirectory() as folder:
        given, told = Path(folder) / "in.npz", Path(folder) / "out.json"
        for configuration in range(3):
            np.savez(
                given, sensors=pulses.sensors, times=pulses.times, owner=pulses.owner, speed=SPEED_M_PER_S,
                heard_m=setting.heard_m, configurations=np.array([configuration]),
            )  # fmt: skip
            script = Path(__file__).parents[1] / "pyocto_rival.py"
            try:
                subprocess.run([python, str(script), str(given), str(told)], check=True, timeout=RIVAL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            (result,) = json.loads(told.read_text())
            marks = judge(pulses.truth(), [frozenset(event) for event in result["events"]])
            results.append((marks, len(pulses.times) / result["seconds"]))
    return max(results, key=lambda pair: pair[0].f1, default=None)
