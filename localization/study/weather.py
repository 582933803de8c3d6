"""Weather: wind that grows with height, air that grows colder, and gusts; how long sound takes through them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.air import sound_speed
from acoustic.propagation import travel_time_s
from localization.study.chance import child

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.air import Air
    from localization.study.buildings import Triple
    from localization.study.specification import Profile

LEVEL_M: Final = 1e-3  # ends that differ less in height are level
GUST_STEPS: Final = 20  # of the drawn gusts in their own time


@dataclass(frozen=True, slots=True)
class Weather:
    """The air over one scene, layer by layer.

    Parameters
    ----------
    air : Air
        At the profile's height above the ground.
    profile : Profile
        Of the specification.
    ground_m : float
        Height of the ground in the plane.
    seed : int
        Of the scene: draws the gusts.
    duration_s : float
        How long gusts are drawn for.
    """

    air: Air
    profile: Profile
    ground_m: float = 0.0
    seed: int = 0
    duration_s: float = 0.0
    _gusts: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_gusts", _gusts(self.profile, self.seed, self.duration_s))

    def travel_time_s(self, source: Triple, sensor: Triple) -> float:
        """Seconds along the straight line, without gusts: its length over the mean of what carries sound along it.

        That is the speed of sound at the middle height, since temperature falls evenly, plus the wind along the line,
        averaged over the heights between its ends in closed form. With the profile's defaults the air is the same
        everywhere, as `acoustic.propagation.travel_time_s` has it.

        Good to the square of (wind across, or the scatter of its change along the way, over the speed of sound):
        0.1 ms a kilometre in 2.5 m/s, 0.5 ms where 14 m/s blow over the roofs and none in the street. Rays are
        straight: nobody stands in the shadow that wind and temperature bend them into, upwind or under a lapse, which
        begins some hundred metres from a source near the ground; and what the bent way gains in time, about the same
        square, is left out.
        """
        if self.profile.uniform:
            return travel_time_s(self.air, source, sensor)
        distance_m = math.dist(source, sensor)
        return distance_m / self._speed(source, sensor, (0.0, 0.0)) if distance_m > 0.0 else 0.0

    def gust_delay_s(self, source: Triple, sensor: Triple, at_s: float) -> float:
        """How much later a sound comes for the gust that blows ``at_s`` after the start; negative is earlier.

        One gust blows over the whole scene at once, and stands still while a sound crosses it: real ones have the
        size of some streets, and sensors far apart meet different ones.
        """
        distance_m = math.dist(source, sensor)
        if self.profile.gust_sigma_m_per_s == 0.0 or distance_m == 0.0:
            return 0.0
        calm, gusty = (distance_m / self._speed(source, sensor, gust) for gust in ((0.0, 0.0), self.gust(at_s)))
        return gusty - calm

    def gust(self, at_s: float) -> tuple[float, float]:
        """What the wind at the profile's height differs by from its mean ``at_s`` after the start, east and north, m/s.

        An Ornstein-Uhlenbeck process on each axis, drawn exactly on a grid of a twentieth of its own time, and
        straight in between.
        """
        if self.profile.gust_sigma_m_per_s == 0.0:
            return 0.0, 0.0
        place = min(max(at_s / self.profile.gust_time_s * GUST_STEPS, 0.0), len(self._gusts) - 1.0)
        k = min(int(place), len(self._gusts) - 2)
        east, north = self._gusts[k] + (place - k) * (self._gusts[k + 1] - self._gusts[k])
        return float(east), float(north)

    def _speed(self, source: Triple, sensor: Triple, gust: tuple[float, float]) -> float:
        heights = source[2] - self.ground_m, sensor[2] - self.ground_m
        colder_c = self.profile.lapse_c_per_m * (0.5 * (heights[0] + heights[1]) - self.profile.height_m)
        air = self.air
        still = sound_speed(air.temperature_c - colder_c, air.relative_humidity_percent, air.pressure_pa)
        east, north = sensor[0] - source[0], sensor[1] - source[1]
        wind = (air.wind_east_m_per_s + gust[0]) * east + (air.wind_north_m_per_s + gust[1]) * north
        return still + wind * mean_wind(self.profile, *heights) / math.dist(source, sensor)


def mean_wind(profile: Profile, low_m: float, high_m: float) -> float:
    """The wind between two heights above the ground, on average, over that at the profile's height.

    The logarithmic law of the neutral surface layer, ln((z - d) / z0) / ln((h - d) / z0), and no wind below d + z0
    (Stull 1988, chapter 9): true over even ground, from some z0 above the roofs to about a hundred metres; in stable
    nights the wind grows faster with height, and between houses it goes where the streets go.
    """
    if profile.roughness_m is None:
        return 1.0
    z0, d = profile.roughness_m, profile.displacement_m
    whole = math.log((profile.height_m - d) / z0)
    if abs(high_m - low_m) < LEVEL_M:
        height = 0.5 * (low_m + high_m) - d
        return math.log(height / z0) / whole if height > z0 else 0.0
    total = _sum_of_wind(high_m - d, z0) - _sum_of_wind(low_m - d, z0)
    return total / (high_m - low_m) / whole


def _sum_of_wind(height_m: float, z0: float) -> float:
    """The integral of ln(z / z0) from z0 up to a height."""
    return height_m * (math.log(height_m / z0) - 1.0) + z0 if height_m > z0 else 0.0


def _gusts(profile: Profile, seed: int, duration_s: float) -> NDArray[np.float64]:
    if profile.gust_sigma_m_per_s == 0.0:
        return np.zeros((1, 2))
    count = math.ceil(duration_s / profile.gust_time_s * GUST_STEPS) + 2
    steps = profile.gust_sigma_m_per_s * child(seed, "gusts").standard_normal((count, 2))
    keep = math.exp(-1.0 / GUST_STEPS)
    steps[1:] *= math.sqrt(1.0 - keep**2)
    for k in range(1, count):
        steps[k] += keep * steps[k - 1]
    return steps
