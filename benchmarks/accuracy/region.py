"""Whether 95 % regions hold 95 %: arrays of every size, shots inside and outside, everything unknown in turn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acoustic.air import Air
from acoustic.detection import Detection, probabilities_from_llr
from acoustic.instant import after, parse_instant
from acoustic.pick import Pick
from localization.fix import Fix, Mode
from localization.frame import Frame
from localization.solver import Solver
from localization.street import Street
from sensors.site import Local, Site

ARRAYS = 1500  # of each cell
SIDE_M, BEYOND_M = 1000.0, 500.0
NOISE_S = 0.001
LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
CHI_SQUARE = 5.991
PICTURE = Path(__file__).parents[1] / "results" / "accuracy-region.png"
COUNTS = (4, 5, 6, 8, 12, 20)
START_NS = parse_instant("2026-11-22T00:00:00Z")
SOURCE_UP_M, SOURCE_SIGMA_M = 1.5, 1.0


@dataclass(frozen=True, slots=True)
class Unknown:
    """What is not known, one standard deviation each; truth is drawn from it, and the solver is told."""

    name: str
    temperature_c: float = 0.1
    wind_m_per_s: float = 0.05
    survey_m: float = 0.05
    clock_s: float = 1e-5

    def air(self) -> Air:
        """What the solver is told of the air."""
        return Air(temperature_c=12.0, temperature_sigma_c=self.temperature_c, wind_sigma_m_per_s=self.wind_m_per_s)


UNKNOWNS = (
    Unknown("none"),
    Unknown("temperature 5 C", temperature_c=5.0),
    Unknown("wind 4 m/s", wind_m_per_s=4.0),
    Unknown("survey 3 m", survey_m=3.0),
    Unknown("clock 5 ms", clock_s=0.005),
    Unknown("all", 5.0, 4.0, 3.0, 0.005),
)


@dataclass(frozen=True, slots=True)
class Bang:
    """One array and one bang: what the solver is given, and where it really was."""

    sites: tuple[Site, ...]
    detections: tuple[Detection, ...]
    place: tuple[float, float]
    bound_m2: float
    """Area of the 95 % ellipse of the Bayesian Cramer-Rao bound."""


def measure(_data: Path | None) -> str:
    rows = ["| unknown | shot | " + " | ".join(f"n = {n}" for n in COUNTS) + " |", "|---" * (len(COUNTS) + 2) + "|"]
    cells = []
    for unknown in UNKNOWNS:
        for outside in (False, True):
            row = [_cell(unknown, outside, count, ARRAYS) for count in COUNTS]
            cells += row
            rows.append(
                f"| {unknown.name} | {'outside' if outside else 'inside'} | " + " | ".join(map(str, row)) + " |"
            )
    _draw(cells)
    error = 1.96 * math.sqrt(0.95 * 0.05 / ARRAYS)
    good = sum(abs(cell.held - 0.95) <= 0.02 + error for cell in cells)
    return (
        f"{ARRAYS} arrays a cell, {SIDE_M:.0f} m square, shots inside it or up to {BEYOND_M:.0f} m outside, "
        f"{1000 * NOISE_S:.0f} ms. Per cent of truths in the region, all modes together (median area over that of the "
        "Bayesian Cramer-Rao bound; where some have no fix, how many):\n\n" + "\n".join(rows) + "\n\n"
        f"{good} of {len(cells)} cells within 95 +- 2 % and the binomial spread of {100 * error:.1f} %.\n\n"
        + _reliability(cells)
    )


def _reliability(cells: list[Cell]) -> str:
    """Of regions drawn for other levels, how many hold the truth: all cells together, the least, the greatest."""
    shares = np.array([cell.shares() for cell in cells])
    rows = ["| level | hold the truth, all cells | least, greatest cell |", "|---|---|---|"]
    rows += [
        f"| {100 * level:.0f} % | {100 * column.mean():.1f} % | {100 * column.min():.1f}, {100 * column.max():.1f} % |"
        for level, column in zip(LEVELS, shares.T, strict=True)
    ]
    return "\n".join(rows)


def _draw(cells: list[Cell]) -> None:
    """The reliability curve of every cell, and of all together."""
    import matplotlib as mpl  # only who draws waits for it

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    levels = np.linspace(0.02, 0.995, 100)
    figure, axes = plt.subplots(figsize=(5.2, 5.2), layout="constrained")
    for cell in cells:
        axes.plot(100 * levels, 100 * cell.shares(levels), color="0.8", linewidth=0.6)
    together = np.mean([cell.shares(levels) for cell in cells], axis=0)
    axes.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle=":", label="as it says")
    axes.plot(100 * levels, 100 * together, color="#b03020", linewidth=2.0, label=f"{len(cells)} cells together")
    axes.set(xlabel="level of the region, %", ylabel="regions that hold the truth, %", xlim=(0, 100), ylim=(0, 100))
    axes.set_title("Simulated arrays: do regions hold what they say?", fontsize=10)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    plt.close(figure)


@dataclass(frozen=True, slots=True)
class Cell:
    """Share of truths held, median area over the bound's, share without a fix."""

    held: float
    area: float
    none: float
    reaches: np.ndarray
    """For each truth how far out it lies: squared Mahalanobis distance, over that of the 95 % region, times 5.991."""

    def shares(self, levels: Sequence[float] | np.ndarray = LEVELS) -> np.ndarray:
        """Share of truths inside regions drawn for each level."""
        return np.array([np.mean(self.reaches <= -2.0 * math.log(1.0 - level)) for level in levels])

    def __str__(self) -> str:
        without = f"; {100 * self.none:.1f} % none" if self.none else ""
        return f"{100 * self.held:.1f} ({self.area:.2f}{without})"


def _cell(unknown: Unknown, outside: bool, count: int, arrays: int) -> Cell:
    solver = Solver(Frame(), unknown.air(), Street(), SOURCE_UP_M, SOURCE_SIGMA_M)
    held, areas, reaches, none = 0, [], [], 0
    for bang in bangs(unknown, outside, count, arrays, seed=count + 100 * outside):
        fix = solver.solve("s", 1, bang.detections, bang.sites, given=True)
        if not isinstance(fix, Fix):
            none += 1
            continue
        held += any(m.ellipse.holds(bang.place[0] - m.place.east_m, bang.place[1] - m.place.north_m) for m in fix.modes)
        reaches.append(min(_reach(mode, bang.place) for mode in fix.modes))
        areas.append(sum(m.ellipse.area_m2 for m in fix.modes) / bang.bound_m2)
    return Cell(held / max(arrays - none, 1), float(np.median(areas)), none / arrays, np.array(reaches))


def _reach(mode: Mode, place: tuple[float, float]) -> float:
    offset = np.array([place[0] - mode.place.east_m, place[1] - mode.place.north_m])
    matrix = mode.covariance.matrix()
    quantile = mode.ellipse.semi_major_m**2 / float(np.linalg.eigvalsh(matrix)[-1])
    return float(offset @ np.linalg.solve(matrix, offset)) / quantile * CHI_SQUARE


def bangs(unknown: Unknown, outside: bool, count: int, arrays: int, seed: int) -> Iterator[Bang]:
    """Arrays drawn anew for each bang."""
    rng = np.random.default_rng([seed, *unknown.name.encode()])
    air = unknown.air()
    for _ in range(arrays):
        survey = np.column_stack([rng.uniform(0.0, SIDE_M, (count, 2)), rng.uniform(5.0, 20.0, count)])
        place = rng.uniform(0.0, SIDE_M, 2)
        while outside and 0.0 <= place[0] <= SIDE_M and 0.0 <= place[1] <= SIDE_M:
            place = rng.uniform(-BEYOND_M, SIDE_M + BEYOND_M, 2)
        source = np.array([*place, SOURCE_UP_M + SOURCE_SIGMA_M * rng.standard_normal()])
        true = survey + rng.standard_normal((count, 3)) * (unknown.survey_m, unknown.survey_m, 0.05)
        speed = air.sound_speed_m_per_s + air.sound_speed_sigma_m_per_s * rng.standard_normal()
        wind = unknown.wind_m_per_s * rng.standard_normal(2)
        rays = true - source
        ranges = np.linalg.norm(rays, axis=1)
        times = ranges / (speed + (rays[:, :2] / ranges[:, None]) @ wind)
        times += NOISE_S * rng.standard_normal(count) + unknown.clock_s * rng.standard_normal(count)
        sites = [
            Site(f"S{k}", Local(*(float(v) for v in survey[k])), unknown.survey_m, 0.05, unknown.clock_s)
            for k in range(count)
        ]
        order = np.argsort(times)
        yield Bang(
            tuple(sites[k] for k in order),
            tuple(_detection(f"S{k}", float(times[k])) for k in order),
            (float(place[0]), float(place[1])),
            _bound_m2(unknown, air, survey, source),
        )


def _detection(sensor_id: str, time_s: float) -> Detection:
    pick = Pick(after(START_NS, time_s), NOISE_S)
    return Detection(f"p{sensor_id}", sensor_id, pick, 0.0, probabilities_from_llr(0.0))


def _bound_m2(unknown: Unknown, air: Air, sensors: np.ndarray, source: np.ndarray) -> float:
    """Area of the 95 % ellipse that the information of arrivals and priors allows (Van Trees 1968, section 2.4.3)."""
    rays = sensors - source
    ranges = np.linalg.norm(rays, axis=1)
    units = rays / ranges[:, None]
    speed = air.sound_speed_m_per_s
    lag = ranges / speed**2
    jacobian = np.column_stack([-units / speed, -lag, -lag * units[:, 0], -lag * units[:, 1], np.ones(len(ranges))])
    variance = NOISE_S**2 + unknown.clock_s**2 + (unknown.survey_m / speed) ** 2
    information = jacobian.T @ jacobian / variance
    sigmas = (SOURCE_SIGMA_M, air.sound_speed_sigma_m_per_s, unknown.wind_m_per_s, unknown.wind_m_per_s)
    information[2:6, 2:6] += np.diag([1.0 / s**2 for s in sigmas])
    return float(5.991 * np.pi * np.sqrt(np.linalg.det(np.linalg.inv(information)[:2, :2])))
