"""Propagation: what air, ground and walls make of a sound on its way to one microphone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from acoustic.air import Air
    from acoustic.sources import Sound

FRONT_HZ: Final = 2000.0
"""Frequency that travels at the speed of sound of `Air`: the middle of what makes a blast's front."""
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
    rate_hz: int, direct: Ray, parts: Sequence[tuple[float, float]], *, cutoff_hz: float, generator: Generator
) -> Tail:
    """Sound that streets keep for a while: noise that dies away.

    Parameters
    ----------
    rate_hz : int
        Samples a second.
    direct : Ray
        The direct ray: the tail starts with it, and builds up over 3 ms.
    parts : sequence of (level_db, decay_60_s)
        Decays that add up. The level is that of the root mean square at the start, relative to the peak of a pulse of
        1 ms; it falls by 60 dB in the time, s. Streets have an early part (0.2 to 0.4 s: facades and parked cars) and
        a late one (0.5 to 2 s).
    cutoff_hz : float
        Corner of a first-order low pass: walls and air keep the lows.
    generator : Generator
        Draws the noise; one for each path, so that every round from one place meets the same street.
    """
    count = math.ceil(max(decay_60_s for _, decay_60_s in parts) * rate_hz)
    time_s = np.arange(count) / rate_hz
    power = np.zeros(count)
    for level_db, decay_60_s in parts:
        power += np.power(10.0, level_db / 10.0 - 6.0 * time_s / decay_60_s)
    frequency_hz = np.fft.rfftfreq(count, 1.0 / rate_hz)
    low_pass = 1.0 / np.sqrt(1.0 + np.square(frequency_hz / cutoff_hz))
    noise = np.fft.irfft(np.fft.rfft(generator.standard_normal(count)) * low_pass, count)
    # A pulse of PULSE_S sums up so many samples of noise: the level stays that of the pulse at any rate.
    noise /= math.sqrt(rate_hz * PULSE_S * float(np.mean(np.square(low_pass))))
    return Tail(direct.delay_s, noise * np.sqrt(power) * -np.expm1(-time_s / 0.003) / direct.length_m)


def absorption_exponent(air: Air, rate_hz: int, count: int) -> NDArray[Any]:
    """What a metre of air does to sound: g in exp(-g r), (count // 2 + 1,) complex, for `numpy.fft.rfft` of ``count``.

    Its real part is the absorption of ISO 9613-1, in nepers a metre. It has two parts with different phases. What grows
    with the square of the frequency, the classical part and relaxation far above the band, obeys a diffusion
    equation: it smears a front evenly about its geometric arrival, and has no phase. What levels off within the band,
    the relaxation of nitrogen from some 200 Hz on, gets the phase that causality demands (minimum phase, through the
    cepstrum): without it every front would have a foot before it. The straight part of that phase is taken out so that
    the speed of sound is met at `FRONT_HZ`: the fronts of blasts keep to the speed of `Air` within 15 us over 300 m at
    20 degC, within 50 us over 1 km in any weather. In truth that is the speed of the lows, and fronts run ahead of
    them by up to 0.2 ms a kilometre, which is what 0.1 degC makes.
    """
    frequency_hz = np.asarray(np.fft.rfftfreq(count, 1.0 / rate_hz))
    loss = math.log(10.0) / 20.0 * air.absorption_db_per_m(frequency_hz)
    half, full = loss[len(loss) // 2], loss[-1]
    squares = np.square(frequency_hz / frequency_hz[-1])
    smear = (full - half) / (1.0 - squares[len(loss) // 2]) * squares
    cepstrum = np.fft.irfft(loss - smear, count)
    cepstrum[1 : count // 2] *= 2.0
    cepstrum[count // 2 + 1 :] = 0.0
    exponent: NDArray[Any] = smear + np.fft.rfft(cepstrum)
    exponent -= 1j * frequency_hz * (np.interp(FRONT_HZ, frequency_hz, exponent.imag) / FRONT_HZ)
    return exponent


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
        arriving: NDArray[Any] = sound.reference_m * np.fft.rfft(sound.pressure_pa, self._count)
        self._spectrum = arriving * _transfer(
            path, self._frequency_hz, absorption_exponent(air, self._rate_hz, self._count)
        )

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


def _transfer(path: Path, frequency_hz: NDArray[Any], exponent: NDArray[Any]) -> NDArray[Any]:
    """Pressure at the microphone over that at one metre, (n,) complex, from the instant of the first front on."""
    first_s, s = path.earliest_s, 2j * math.pi * frequency_hz
    result: NDArray[Any] = np.zeros(len(frequency_hz), dtype=np.complex128)
    for ray in path.rays:
        way: NDArray[Any] = np.exp(-exponent * ray.length_m - s * (ray.delay_s - first_s)) * (ray.gain / ray.length_m)
        if math.isfinite(ray.cutoff_hz):
            way /= 1.0 + 1j * frequency_hz / ray.cutoff_hz
        result += way
    if path.tail is not None:
        tail = np.fft.rfft(path.tail.response, 2 * (len(frequency_hz) - 1))
        result += tail * np.exp(-exponent * path.rays[0].length_m - s * (path.tail.delay_s - first_s))
    return result
