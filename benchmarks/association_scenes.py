"""Seeded nights of pure pulses: which sensor heard what when, and which bang it was; nothing else is told.

The densities, ranges and rates are those of `accuracy.association`'s table; PyOcto and shotfix get the same pulses.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from acoustic.air import Air
from acoustic.detection import Detection, pulse_identity
from acoustic.instant import after, parse_instant
from acoustic.pick import Pick
from localization.frame import Frame
from localization.study.scene import Listening, Pulse, Scene, Truth
from sensors.site import Local, Network, Site

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

START_NS = parse_instant("2026-11-21T03:00:00Z")
DENSITY_PER_KM2 = 10.0
TEMPERATURE_C = 20.0
SPEED_M_PER_S = Air(temperature_c=TEMPERATURE_C).sound_speed_m_per_s
TOLD_SIGMA_S = 0.001
RECALLABLE = 5  # pulses of a bang that can be asked for


@dataclass(frozen=True)
class Setting:
    """What kind of night: see the fields."""

    name: str
    sensors: int = 100
    seconds: float = 60.0
    shots_per_s: float = 1.13  # on each 10 km2
    heard_m: float = 600.0
    detected: tuple[float, float] = (0.90, 0.95)
    sigma_s: float = 0.001
    clutter_per_min: float = 5.0  # each sensor
    echoes: float = 0.0  # extra ones, each arrival
    echo_only: float = 0.0  # arrivals of which only an echo is heard
    speed_error: float = 0.0  # m/s, one standard deviation
    wind: float = 0.0  # m/s, each axis
    rounds: tuple[int, int] = (1, 1)
    rounds_per_min: tuple[float, float] = (500.0, 900.0)
    same_echoes: bool = False  # an echo follows every round of a burst alike


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("sparse", echoes=0.1),
        Setting("loud", heard_m=1000.0, echoes=0.1),
        Setting("hard", sigma_s=0.003, echoes=0.3, echo_only=0.15),
        Setting("dense", shots_per_s=4.0, echoes=0.1),
        Setting("air", heard_m=800.0, sigma_s=0.003, echoes=0.3, echo_only=0.15, speed_error=4.0, wind=5.0),
        Setting("burst", shots_per_s=0.25, rounds=(3, 10), echoes=0.3),
        Setting("burst, same echoes", shots_per_s=0.25, rounds=(3, 10), echoes=0.3, same_echoes=True),
        Setting("clutter", clutter_per_min=60.0),
    )
}


@dataclass(frozen=True)
class Pulses:
    """A night as arrays: sensors (S, 3) m, times (P,) s in order, owner (P,) and shot (P,), -1 where there was none."""

    name: str
    sensors: NDArray[np.float64]
    times: NDArray[np.float64]
    owner: NDArray[np.int64]
    shot: NDArray[np.int64]
    places: NDArray[np.float64]  # (K, 3): east, north, discharge
    wind: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def truth(self) -> list[frozenset[int]]:
        """The pulses of each bang."""
        return [frozenset(np.flatnonzero(self.shot == k).tolist()) for k in range(len(self.places))]


def night(setting: Setting, seed: int) -> Pulses:
    """One night; the same for the same seed."""
    rng = np.random.default_rng([seed, len(setting.name), setting.sensors])
    side = 1000.0 * np.sqrt(setting.sensors / DENSITY_PER_KM2)
    sensors = np.column_stack([rng.uniform(0.0, side, (setting.sensors, 2)), np.full(setting.sensors, 8.0)])
    speed = SPEED_M_PER_S + rng.normal(0.0, setting.speed_error) if setting.speed_error else SPEED_M_PER_S
    wind = rng.normal(0.0, 1.0, 2)
    wind *= setting.wind / np.hypot(*wind)
    places = _places(setting, side, rng)
    times, owner, shot = _heard(setting, sensors, places, speed, wind, rng)
    clutter = rng.poisson(setting.sensors * setting.clutter_per_min / 60.0 * setting.seconds)
    times = np.concatenate([times, rng.uniform(0.0, setting.seconds, clutter)])
    owner = np.concatenate([owner, rng.integers(0, setting.sensors, clutter)])
    shot = np.concatenate([shot, np.full(clutter, -1)])
    # Pulses cross a wire as whole microseconds; two of one sensor in the same millisecond are one.
    times = np.round(times, 6)
    order = np.lexsort((owner, times))
    times, owner, shot = times[order], owner[order], shot[order]
    last = np.full(setting.sensors, -1.0)
    kept = np.zeros(len(times), dtype=bool)
    for k in range(len(times)):
        kept[k] = times[k] - last[owner[k]] > 0.001
        if kept[k]:
            last[owner[k]] = times[k]
    return Pulses(setting.name, sensors, times[kept], owner[kept], shot[kept], places, wind)


def _places(setting: Setting, side: float, rng: Generator) -> NDArray[np.float64]:
    """Where and when each bang was; rounds of a burst from within half a metre."""
    count = rng.poisson(setting.shots_per_s * setting.seconds * setting.sensors / 100.0)
    places = []
    for _ in range(count):
        east, north = rng.uniform(0.0, side, 2)
        discharge = rng.uniform(0.5, setting.seconds - 4.0)
        gap = 60.0 / rng.uniform(*setting.rounds_per_min)
        for _ in range(rng.integers(setting.rounds[0], setting.rounds[1] + 1)):
            places.append((east + rng.normal(0.0, 0.2), north + rng.normal(0.0, 0.2), discharge))
            discharge += gap * rng.normal(1.0, 0.01)
    return np.array(places).reshape(-1, 3)


def _heard(setting, sensors, places, speed, wind, rng):
    """Arrivals and their echoes: times, owner, shot."""
    times, owner, shot = [], [], []
    walls: dict[tuple[int, int], float] = {}
    for k, (east, north, discharge) in enumerate(places):
        path = sensors[:, :2] - (east, north)
        distance = np.hypot(np.hypot(*path.T), sensors[:, 2] - 1.5)
        along = (path @ wind) / np.maximum(distance, 1e-9)
        arrivals = discharge + distance / (speed + along)
        heard = (distance < setting.heard_m) & (rng.random(len(sensors)) < rng.uniform(*setting.detected))
        for s in np.flatnonzero(heard):
            arrival = arrivals[s] + rng.normal(0.0, setting.sigma_s)
            only = rng.random() < setting.echo_only
            if not only:
                times.append(arrival)
                owner.append(s)
                shot.append(k)
            if only or rng.random() < setting.echoes:
                delay = rng.uniform(0.02, 0.3)
                if setting.same_echoes:
                    delay = walls.setdefault((round(east / 5.0) * 100_003 + round(north / 5.0), int(s)), delay)
                times.append(arrival + delay)
                owner.append(s)
                shot.append(-1)
    return np.array(times), np.array(owner, dtype=np.int64), np.array(shot, dtype=np.int64)


def of_size(setting: Setting, sensors: int, seconds: float) -> Setting:
    """The same night in a larger town, and shorter."""
    return replace(setting, sensors=sensors, seconds=seconds)


def as_scene(pulses: Pulses, air: Air | None = None) -> tuple[Scene, dict[str, int]]:
    """The records that a scene folder of this night would be read as, and the row of each pulse."""
    sites = tuple(
        Site(f"S{k:05d}", Local(float(x), float(y), float(z)), position_sigma_m=0.1, up_sigma_m=0.1, clock_sigma_s=1e-5)
        for k, (x, y, z) in enumerate(pulses.sensors)
    )
    rows: dict[str, int] = {}
    told = []
    for k, (time_s, s) in enumerate(zip(pulses.times, pulses.owner, strict=True)):
        onset_ns = after(START_NS, float(time_s))
        name = pulse_identity(sites[s].sensor_id, onset_ns)
        rows[name] = k
        told.append(Pulse(Detection(name, sites[s].sensor_id, Pick(onset_ns, TOLD_SIGMA_S))))
    truth = tuple(
        Truth(f"t{k}", "gunshot", after(START_NS, float(t)), Local(float(x), float(y), 1.5))
        for k, (x, y, t) in enumerate(pulses.places)
    )
    weather = air or Air(temperature_c=TEMPERATURE_C, temperature_sigma_c=2.0, wind_sigma_m_per_s=4.0)
    scene = Scene(
        pulses.name, START_NS, weather, Frame(), Network(sites), 1.5, 2.0, pulses=tuple(told),
        listening={site.sensor_id: Listening() for site in sites}, truth=truth,
    )  # fmt: skip
    return scene, rows


@dataclass(frozen=True)
class Marks:
    """How many bangs that can be asked for were found, and how many associations were any bang's."""

    asked: int
    found: int
    said: int
    right: int

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        recall = self.found / max(self.asked, 1)
        precision = self.right / max(self.said, 1)
        return 2.0 * recall * precision / max(recall + precision, 1e-9)


def judge(truth: list[frozenset[int]], said: list[frozenset[int]]) -> Marks:
    """Match by PyOcto's own rule: at least 0.6 of the larger of the two sets in common; each at most once.

    Bangs of fewer than `RECALLABLE` pulses are not asked for, but whoever finds them is right.
    """
    bang_of = {pulse: k for k, pulses in enumerate(truth) for pulse in pulses}
    pairs = []
    for n, pulses in enumerate(said):
        for k in {bang_of[p] for p in pulses if p in bang_of}:
            share = len(pulses & truth[k]) / max(len(pulses), len(truth[k]))
            if share >= 0.6:
                pairs.append((-share, k, n))
    bangs: set[int] = set()
    used: set[int] = set()
    for _, k, n in sorted(pairs):
        if k not in bangs and n not in used:
            bangs.add(k)
            used.add(n)
    asked = [k for k, pulses in enumerate(truth) if len(pulses) >= RECALLABLE]
    return Marks(len(asked), len(bangs & set(asked)), len(said), len(used))
