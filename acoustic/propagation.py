"""Propagation: what air, ground and walls make of a sound on its way to one microphone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from acoustic.air import Air
    from acoustic.sources import Sound

PULSE_S: Final = 0.001
"""Length of the pulse for which the level of a diffuse tail is stated."""


@dataclass(frozen=True, slots=True)
class Ray:
    """One way of the sound: direct, off the ground, or off a wall.

    Parameters
    ----------
    length_m : float
        Metres of air: what the sound spreads and is absorbed over. Above 0.
    delay_s : float
        From the discharge to the arrival of the front.
    gain : float
        What the way does beside spreading and absorption; negative turns the pressure over.
    cutoff_hz : float
        Corner of a first-order low pass, as edges leave of sound that was bent round them. Causal: it makes the
        front slower, never earlier.
    """

    length_m: float
    delay_s: float
    gain: float = 1.0
    cutoff_hz: float = math.inf

    def __post_init__(self) -> None:
        if not (self.length_m > 0.0 and math.isfinite(self.length_m) and math.isfinite(self.delay_s)):
            raise ValueError(f"a ray of {self.length_m} m and {self.delay_s} s: expected a length above 0 and a delay")
        if not (math.isfinite(self.gain) and self.cutoff_hz > 0.0):
            raise ValueError(f"a ray with gain {self.gain}, cutoff_hz {self.cutoff_hz}: expected numbers")


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """What comes from everywhere afterwards: an impulse response that is only known as noise.

    ``response`` is (n,) float64, pressure over the pressure at one metre, for each sample; its first sample falls
    ``delay_s`` after the discharge.
    """

    delay_s: float
    response: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """All ways from one source to one microphone: the direct ray first, then the others in any order."""

    rays: tuple[Ray, ...]
    tail: Tail | None = None

    def __post_init__(self) -> None:
        if not self.rays:
            raise ValueError("a path without rays: sound has to come some way")

    @property
    def earliest_s(self) -> float:
        """Delay of the first front."""
        return min(ray.delay_s for ray in self.rays)

    @property
    def latest_s(self) -> float:
        """Delay of the last front."""
        return max(ray.delay_s for ray in self.rays)


def travel_time_s(air: Air, source_m: Sequence[float], sensor_m: Sequence[float]) -> float:
    """Seconds from source to sensor, (3,) metres east, north and up each: t = r / (c + w . r / |r|).

    First order in the wind: t is too short by (w across the path / c)^2 / 2 of itself, 80 us on a kilometre
    at 2.5 m/s. The air is the same everywhere: no gradient bends the ray.
    """
    east, north, up = (there - here for there, here in zip(sensor_m, source_m, strict=True))
    distance_m = math.sqrt(east**2 + north**2 + up**2)
    if distance_m == 0.0:
        return 0.0
    along = (air.wind_east_m_per_s * east + air.wind_north_m_per_s * north) / distance_m
    return distance_m / (air.sound_speed_m_per_s + along)


def ground_ray(direct: Ray, source_height_m: float, sensor_height_m: float, reflection: float, speed: float) -> Ray:
    """The ray off flat ground, as if from an image of the source below it.

    Parameters
    ----------
    direct : Ray
        The ray above the ground; its extra gain and low pass are shared.
    source_height_m, sensor_height_m : float
        Above the ground, 0 or more.
    reflection : float
        Pressure reflected over pressure that falls in, -1 to 1: 0.3 (lawn) to 0.95 (asphalt). One number for all
        frequencies and angles; real ground turns towards -1 at grazing angles, which only matters within some
        degrees of the horizon.
    speed : float
        Of sound along the path, m/s.
    """
    length_m = math.sqrt(direct.length_m**2 + 4.0 * source_height_m * sensor_height_m)
    delay_s = direct.delay_s + (length_m - direct.length_m) / speed
    return Ray(length_m, delay_s, direct.gain * reflection, direct.cutoff_hz)


def echo_ray(direct: Ray, extra_s: float, gain: float, speed: float, cutoff_hz: float = math.inf) -> Ray:
    """A ray off a wall, ``extra_s`` behind the direct one; ``gain`` is that of the wall, relative to free spreading."""
    return Ray(direct.length_m + speed * extra_s, direct.delay_s + extra_s, gain, cutoff_hz)


def diffuse_tail(
    rate_hz: int, direct: Ray, *, level_db: float, decay_60_s: float, cutoff_hz: float, generator: Generator
) -> Tail:
    """Sound that streets keep for a while: noise that falls by 60 dB in ``decay_60_s``.

    Parameters
    ----------
    rate_hz : int
        Samples a second.
    direct : Ray
        The direct ray: the tail starts with it, and builds up over 10 ms.
    level_db : float
        Root mean square of the tail at its strongest, relative to the peak of a direct pulse of 1 ms, negative.
    decay_60_s : float
        0.5 to 2 s in streets.
    cutoff_hz : float
        Corner of a first-order low pass: walls and air keep the lows.
    generator : Generator
        Draws the noise; one for each path, so that every round from one place meets the same street.
    """
    count = math.ceil(decay_60_s * rate_hz)
    time_s = np.arange(count) / rate_hz
    envelope = 10.0 ** (-3.0 * time_s / decay_60_s) * -np.expm1(-time_s / 0.01)
    frequency_hz = np.fft.rfftfreq(count, 1.0 / rate_hz)
    low_pass = 1.0 / np.sqrt(1.0 + np.square(frequency_hz / cutoff_hz))
    noise = np.fft.irfft(np.fft.rfft(generator.standard_normal(count)) * low_pass, count)
    # A pulse of PULSE_S sums up so many samples of noise: the level stays that of the pulse at any rate.
    noise *= 10.0 ** (level_db / 20.0) / math.sqrt(rate_hz * PULSE_S) / float(np.sqrt(np.mean(np.square(low_pass))))
    return Tail(direct.delay_s, noise * envelope / direct.length_m)


def absorption_gain(air: Air, distance_m: float, frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of each frequency after ``distance_m`` of air, (n,) of 0 to 1 (ISO 9613-1).

    Applied without phase. That is exact for the classical part, which smears a front symmetrically about its
    geometric arrival (it obeys a diffusion equation), and keeps the onset where it is. A minimum-phase filter of the
    same gain would delay it by 0.1 ms a kilometre at 12 kHz, and more at higher rates, since the loss grows without
    bound. Left out is the dispersion that relaxation brings: frequencies above that of nitrogen (some 200 Hz) run
    ahead by 0.2 ms a kilometre at most.
    """
    return np.power(10.0, -distance_m / 20.0 * air.absorption_db_per_m(frequency_hz))


class Heard:
    """A sound behind its path, ready to be laid into a recording at any instant, between samples too.

    Parameters
    ----------
    sound : Sound
        At its source. Its own length and the path's must fit into memory.
    path : Path
        What it comes by.
    air : Air
        For the absorption.
    """

    __slots__ = ("_count", "_frequency_hz", "_lead_s", "_rate_hz", "_spectrum", "_used")

    def __init__(self, sound: Sound, path: Path, air: Air) -> None:
        first_s = path.earliest_s
        tail = path.tail
        ends_s = [path.latest_s - first_s]
        if tail is not None:
            ends_s.append(tail.delay_s - first_s + len(tail.response) / sound.rate_hz)
        self._used = len(sound.pressure_pa) + math.ceil(max(ends_s) * sound.rate_hz) + 2
        self._count = 1 << math.ceil(math.log2(self._used))
        self._rate_hz = sound.rate_hz
        self._frequency_hz = np.fft.rfftfreq(self._count, 1.0 / sound.rate_hz)
        self._lead_s = sound.onset_s - first_s
        arriving = sound.reference_m * np.fft.rfft(sound.pressure_pa, self._count)
        self._spectrum = arriving * _transfer(path, air, self._frequency_hz, self._count)

    def at(self, time_s: float) -> tuple[int, NDArray[np.float64]]:
        """The sound of a discharge ``time_s`` after sample 0 of a recording.

        Returns
        -------
        tuple of int and (n,) float64
            The index in the recording of the first sample (negative before its start), and the samples, Pa.
        """
        exact = (time_s - self._lead_s) * self._rate_hz
        first = math.floor(exact)
        shift_s = (exact - first) / self._rate_hz
        moved = self._spectrum * np.exp(-2j * math.pi * shift_s * self._frequency_hz)
        return first, np.fft.irfft(moved, self._count)[: self._used]


def _transfer(path: Path, air: Air, frequency_hz: NDArray[np.float64], count: int) -> NDArray[np.complex128]:
    """Pressure at the microphone over that at one metre, (n,) complex, from the instant of the first front on."""
    first_s = path.earliest_s
    # Absorption grows in proportion to length: the exponent is computed once, and every ray scales it.
    loss = math.log(10.0) / 20.0 * air.absorption_db_per_m(frequency_hz)
    s = 2j * math.pi * frequency_hz
    result = np.zeros(len(frequency_hz), dtype=np.complex128)
    for ray in path.rays:
        way = np.exp(-loss * ray.length_m - s * (ray.delay_s - first_s)) * (ray.gain / ray.length_m)
        if math.isfinite(ray.cutoff_hz):
            way /= 1.0 + 1j * frequency_hz / ray.cutoff_hz
        result += way
    if path.tail is not None:
        tail = np.fft.rfft(path.tail.response, count)
        result += tail * np.exp(-loss * path.rays[0].length_m - s * (path.tail.delay_s - first_s))
    return result
