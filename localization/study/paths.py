"""Paths: what lies between a place and a sensor, drawn once for each pair from the specification's streets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acoustic.propagation import Path, Ray, diffuse_tail, echo_ray, ground_ray, travel_time_s
from acoustic.sources import directivity_db
from localization.study.chance import child

if TYPE_CHECKING:
    from numpy.random import Generator

    from acoustic.air import Air
    from localization.study.specification import Surroundings

Triple = tuple[float, float, float]

LOWEST_M = 0.3  # no source or sensor lies lower above the ground
SHORTEST_M = 1.0  # sources are stated at one metre, and no sensor comes nearer


@dataclass(frozen=True, slots=True)
class Streets:
    """The streets of one scene: from two points to the ways between them.

    Parameters
    ----------
    surroundings : Surroundings
        Of the specification.
    air : Air
        The true one.
    ground_m : float
        Height of the ground, flat, in the plane of the scene.
    seed : int
        Of the scene.
    """

    surroundings: Surroundings
    air: Air
    ground_m: float
    seed: int

    def rays(self, names: tuple[str, str], source: Triple, sensor: Triple, excess_db: float = 0.0) -> tuple[Ray, ...]:
        """The rays from ``source`` to ``sensor`` (east, north, up in m), the direct one first, echoes last.

        ``names`` stand for place and sensor: one place keeps its street for every event that happens there.
        ``excess_db`` is taken off everything.
        """
        s = self.surroundings
        # Fixed numbers of draws in a fixed order: a change of one setting moves nothing else.
        draw = child(self.seed, "path", *names)
        scatter, wander = draw.standard_normal(2)
        blocked, number = draw.random(2)
        delay = draw.exponential()
        distance_m = max(math.dist(source, sensor), SHORTEST_M)
        time_s = travel_time_s(self.air, source, sensor)
        speed = distance_m / time_s if time_s > 0.0 else self.air.sound_speed_m_per_s
        time_s += s.wander_s_per_km * distance_m / 1000.0 * wander
        usual_db = excess_db + s.excess_db + s.excess_db_per_decade * math.log10(distance_m)
        own_db = s.excess_sigma_db * scatter
        cutoff_hz = math.inf
        if blocked < s.blocked_share:
            time_s += s.blocked_delay_s * delay
            own_db += s.blocked_db
            cutoff_hz = s.blocked_cutoff_hz
        direct = Ray(distance_m, time_s, _gain(usual_db + own_db), cutoff_hz)
        heights = [max(point[2] - self.ground_m, LOWEST_M) for point in (source, sensor)]
        ground = ground_ray(direct, heights[0], heights[1], s.ground_reflection, speed)
        return direct, ground, *self._echoes(direct, usual_db, speed, number, draw)

    def _echoes(self, direct: Ray, usual_db: float, speed: float, number: float, draw: Generator) -> list[Ray]:
        """Walls, each as two to four rays within some milliseconds, since no front is flat."""
        s = self.surroundings
        rays = []
        for _ in range(_poisson(s.echoes, number)):
            extra_s = 0.003 + s.echo_after_s * float(draw.exponential())
            loss_db = usual_db + s.echo_loss_db + s.echo_sigma_db * float(draw.standard_normal())
            for k in range(int(draw.integers(2, 5))):
                spread_s = 0.0015 * k * float(draw.exponential())
                gain = _gain(loss_db + 4.0 * k) * float(draw.uniform(0.6, 1.0))
                rays.append(echo_ray(direct, extra_s + spread_s, gain, speed, float(draw.uniform(1500.0, 6000.0))))
        return rays

    def path(self, names: tuple[str, str], source: Triple, sensor: Triple, excess_db: float, rate_hz: int) -> Path:
        """The rays with the tail of the street behind them."""
        s = self.surroundings
        rays = self.rays(names, source, sensor, excess_db)
        usual_db = excess_db + s.excess_db + s.excess_db_per_decade * math.log10(rays[0].length_m)
        tail = diffuse_tail(
            rate_hz,
            rays[0],
            [(s.early_db - usual_db, s.early_decay_s), (s.tail_db - usual_db, s.tail_decay_s)],
            cutoff_hz=1200.0,
            generator=child(self.seed, "tail", *names),
        )
        return Path(rays, tail)


def aimed_db(source: Triple, sensor: Triple, aim_deg: float | None) -> float:
    """What the direction of the barrel takes off towards a sensor, dB; 0 for a source without direction."""
    if aim_deg is None:
        return 0.0
    towards = math.atan2(sensor[0] - source[0], sensor[1] - source[1])
    return -directivity_db(towards - math.radians(aim_deg))


def _gain(loss_db: float) -> float:
    return float(10.0 ** (-loss_db / 20.0))


def _poisson(mean: float, uniform: float) -> int:
    """The Poisson variate that a uniform one stands for, by inversion: more for a larger mean, never fewer."""
    count, term = 0, math.exp(-mean)
    below = term
    while uniform > below and count < 1000:
        count += 1
        term *= mean / count
        below += term
    return count
