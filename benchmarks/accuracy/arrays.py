"""Random arrays and what they hear of bangs, in two dimensions: the scenes on which solvers are compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SPEED = 343.0
SIDE_M, BEYOND_M = 1000.0, 500.0
NOISE_S = 0.001


@dataclass(frozen=True, slots=True)
class Bang:
    """Sensors (n, 3) m, the place of a bang (2,) m, arrivals (n,) s, and which of them are echoes."""

    sensors: np.ndarray
    place: np.ndarray
    times: np.ndarray
    echo: np.ndarray

    def bound(self) -> np.ndarray:
        """Cramer-Rao bound of the place, (2, 2) m^2, from arrivals whose echoes are known."""
        rays = self.sensors[~self.echo, :2] - self.place
        units = rays / np.linalg.norm(rays, axis=1)[:, None]
        jacobian = np.column_stack([-units / SPEED, np.ones(len(units))])
        return np.linalg.inv(jacobian.T @ jacobian)[:2, :2] * NOISE_S**2


def bangs(
    count: int, number: int, seed: int, *, outside: bool = False, echoes: float = 0.0, arrays: int = 100
) -> Iterator[Bang]:
    """Bangs at ``count`` sensors in a square, or up to half its side outside; a share of arrivals are echoes."""
    rng = np.random.default_rng([seed, count, int(outside)])
    each = max(1, number // arrays)
    for k in range(number):
        if k % each == 0:
            sensors = np.column_stack([rng.uniform(0.0, SIDE_M, (count, 2)), np.zeros(count)])
        place = rng.uniform(0.0, SIDE_M, 2)
        while outside and np.all((place >= 0.0) & (place <= SIDE_M)):
            place = rng.uniform(-BEYOND_M, SIDE_M + BEYOND_M, 2)
        times = np.hypot(*(sensors[:, :2] - place).T) / SPEED + rng.normal(0.0, NOISE_S, count)
        echo = rng.random(count) < echoes
        yield Bang(sensors, place, times + np.where(echo, rng.uniform(0.02, 0.3, count), 0.0), echo)
