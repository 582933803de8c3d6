"""Paths: what lies between a place and a sensor, drawn once for each pair from the specification's streets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from acoustic.propagation import Path, Ray, diffuse_tail, echo_ray, ground_ray, travel_time_s
from acoustic.sources import directivity_db
from localization.study.chance import child
from localization.study.diffraction import bends, low_pass
from localization.study.reflection import reflections
from localization.study.specification import BLOCKED_SHARE, ECHOES, EXCESS_DB, EXCESS_DB_PER_DECADE

if TYPE_CHECKING:
    from numpy.random import Generator

    from acoustic.air import Air
    from localization.study.buildings import Buildings, Triple
    from localization.study.specification import Surroundings
    from localization.study.weather import Weather

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
    buildings : Buildings or None
        Where they stand, they decide who hears what directly and off which walls; what is drawn instead elsewhere is
        drawn beside it only where ``surroundings`` says so.
    weather : Weather or None
        The air's layers; None for the same air everywhere.
    """

    surroundings: Surroundings
    air: Air
    ground_m: float
    seed: int
    buildings: Buildings | None = None
    weather: Weather | None = None

    def rays(self, names: tuple[str, str], source: Triple, sensor: Triple, excess_db: float = 0.0) -> tuple[Ray, ...]:
        """The rays from ``source`` to ``sensor`` (east, north, up in m): the direct one, the ground's, then echoes.

        Where houses stand in the way, the direct one is the shortest that is bent over their roofs or round corners;
        the other of the two stands among the echoes.

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
        time_s = self.travel_s(source, sensor)
        speed = distance_m / time_s if time_s > 0.0 else self.air.sound_speed_m_per_s
        wander_s = s.wander_s_per_km * distance_m / 1000.0 * wander
        usual_db = (
            excess_db
            + self._usually(s.excess_db, EXCESS_DB)
            + self._usually(s.excess_db_per_decade, EXCESS_DB_PER_DECADE) * math.log10(distance_m)
        )
        own_db = s.excess_sigma_db * scatter
        bent = self._bent(source, sensor, usual_db + own_db, wander_s)
        if bent:
            direct = bent[0]
        elif blocked < self._usually(s.blocked_share, BLOCKED_SHARE):
            late_s = time_s + wander_s + s.blocked_delay_s * delay
            direct = Ray(distance_m, late_s, _gain(usual_db + (own_db + s.blocked_db)), s.blocked_cutoff_hz)
        else:
            direct = Ray(distance_m, time_s + wander_s, _gain(usual_db + own_db))
        heights = [max(point[2] - self.ground_m, LOWEST_M) for point in (source, sensor)]
        ground = ground_ray(direct, heights[0], heights[1], s.ground_reflection, speed)
        walls = self._reflected(source, sensor, usual_db, wander_s)
        return direct, ground, *bent[1:], *walls, *self._echoes(direct, usual_db, speed, number, draw)

    def travel_s(self, source: Triple, sensor: Triple) -> float:
        """Seconds along the straight line, whatever stands in it."""
        if self.weather is None:
            return travel_time_s(self.air, source, sensor)
        return self.weather.travel_time_s(source, sensor)

    def _usually(self, given: float | None, usual: float) -> float:
        if given is not None:
            return given
        return 0.0 if self.buildings else usual

    def _bent(self, source: Triple, sensor: Triple, loss_db: float, later_s: float) -> list[Ray]:
        """The ways over and round the houses that stand between, first the shorter; none where none does."""
        if not self.buildings:
            return []
        first, last = sorted((source, sensor))  # who sees is seen, also along a wall
        if self.buildings.see(np.array([first]), np.array([last]))[0]:
            return []
        found = [
            (math.fsum(self.travel_s(a, b) for a, b in bend.legs), bend)
            for bend in bends(self.buildings, source, sensor)
        ]
        rays = []
        for number, (time_s, bend) in enumerate(sorted(found, key=lambda each: each[0])):
            gain, cutoff_hz = low_pass(bend, self.air.sound_speed_m_per_s, limited=number == 0)
            rays.append(Ray(max(bend.length_m, SHORTEST_M), time_s + later_s, gain * _gain(loss_db), cutoff_hz))
        return rays

    def _reflected(self, source: Triple, sensor: Triple, loss_db: float, later_s: float) -> list[Ray]:
        """What walls throw back: the ways by their image sources."""
        if not self.buildings:
            return []
        return [
            Ray(
                max(each.length_m, SHORTEST_M),
                self.travel_s(source, each.point) + self.travel_s(each.point, sensor) + later_s,
                each.gain * _gain(loss_db),
            )
            for each in reflections(self.buildings, source, sensor)
            if each.gain > 0.0
        ]

    def _echoes(self, direct: Ray, usual_db: float, speed: float, number: float, draw: Generator) -> list[Ray]:
        """Walls, each as two to four rays within some milliseconds, since no front is flat."""
        s = self.surroundings
        rays = []
        for _ in range(_poisson(self._usually(s.echoes, ECHOES), number)):
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
        # What the whole town throws about is as loud behind a house as before it.
        level_db = EXCESS_DB if s.excess_db is None else s.excess_db
        decade_db = EXCESS_DB_PER_DECADE if s.excess_db_per_decade is None else s.excess_db_per_decade
        usual_db = excess_db + level_db + decade_db * math.log10(rays[0].length_m)
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
