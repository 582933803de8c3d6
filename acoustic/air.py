"""The air that sound crosses: how fast, how much is lost on the way, and how surely that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO_CELSIUS_K: Final = 273.15
CO2_MOLE_FRACTION: Final = 0.0004  # Cramer's "c"; today's 0.00043 changes the speed by 2 mm/s

# Cramer (1993), J. Acoust. Soc. Am. 93, 2510: a0 to a15 of the zero-frequency speed of sound.
CRAMER: Final = (
    331.5024, 0.603055, -0.000528, 51.471935, 0.1495874, -0.000782, -1.82e-7, 3.73e-8,
    -2.93e-10, -85.20931, -0.228525, 5.91e-5, -2.835149, -2.15e-13, 29.179762, 0.000486,
)  # fmt: skip

# ISO 9613-1:1993, section 6 and annex B.
REFERENCE_TEMPERATURE_K: Final = 293.15
TRIPLE_POINT_K: Final = 273.16
REFERENCE_PRESSURE_PA: Final = 101_325.0


@dataclass(frozen=True, slots=True)
class Air:
    """The state of the air over one scene, with what is not known of it.

    Parameters
    ----------
    temperature_c : float
        Degrees Celsius, -50 to 60.
    temperature_sigma_c : float
        One standard deviation, degrees.
    relative_humidity_percent : float
        0 to 100.
    pressure_pa : float
        Station pressure, 50 to 110 kPa.
    wind_east_m_per_s, wind_north_m_per_s : float
        Where the wind blows *to*, at the height of the paths; up to 60 m/s.
    wind_sigma_m_per_s : float
        One standard deviation for each of the two axes.

    Raises
    ------
    ValueError
        When a value is not finite or out of these ranges.
    """

    temperature_c: float = 15.0
    temperature_sigma_c: float = 10.0
    relative_humidity_percent: float = 50.0
    pressure_pa: float = REFERENCE_PRESSURE_PA
    wind_east_m_per_s: float = 0.0
    wind_north_m_per_s: float = 0.0
    wind_sigma_m_per_s: float = 4.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("temperature_c", -50.0, 60.0),
            ("temperature_sigma_c", 0.0, 50.0),
            ("relative_humidity_percent", 0.0, 100.0),
            ("pressure_pa", 50_000.0, 110_000.0),
            ("wind_east_m_per_s", -60.0, 60.0),
            ("wind_north_m_per_s", -60.0, 60.0),
            ("wind_sigma_m_per_s", 0.0, 60.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise ValueError(f"{name} is {value}: expected {low:g} to {high:g}")

    @classmethod
    def from_weather(
        cls,
        *,
        temperature_c: float | None = None,
        temperature_sigma_c: float = 2.0,
        relative_humidity_percent: float = 50.0,
        pressure_pa: float = REFERENCE_PRESSURE_PA,
        wind_speed_m_per_s: float | None = None,
        wind_from_deg: float | None = None,
        wind_sigma_m_per_s: float = 2.0,
    ) -> Air:
        """The air as a weather report tells it; what the report leaves out becomes a wider sigma.

        Without a temperature: 15 +- 10 degrees. Without a wind speed: calm +- 4 m/s an axis; a speed without its
        direction: calm, with the speed added to the sigma. ``wind_from_deg`` is clockwise from north, where the
        wind comes *from*, as in a METAR.
        """
        if temperature_c is None:
            temperature_c, temperature_sigma_c = 15.0, 10.0
        if wind_speed_m_per_s is None:
            speed, wind_sigma_m_per_s = 0.0, 4.0
        elif wind_from_deg is None:
            speed, wind_sigma_m_per_s = 0.0, math.hypot(wind_sigma_m_per_s, wind_speed_m_per_s)
        else:
            speed = wind_speed_m_per_s
        towards = math.radians((wind_from_deg or 0.0) + 180.0)
        return cls(
            temperature_c=temperature_c,
            temperature_sigma_c=temperature_sigma_c,
            relative_humidity_percent=relative_humidity_percent,
            pressure_pa=pressure_pa,
            wind_east_m_per_s=speed * math.sin(towards),
            wind_north_m_per_s=speed * math.cos(towards),
            wind_sigma_m_per_s=wind_sigma_m_per_s,
        )

    @property
    def sound_speed_m_per_s(self) -> float:
        """Speed of sound in this air at rest, m/s (Cramer 1993, equation 15)."""
        return sound_speed(self.temperature_c, self.relative_humidity_percent, self.pressure_pa)

    @property
    def sound_speed_sigma_m_per_s(self) -> float:
        """What the temperature's sigma makes of the speed, m/s: about 0.6 for each degree."""
        step = 0.5
        slope = (
            sound_speed(self.temperature_c + step, self.relative_humidity_percent, self.pressure_pa)
            - sound_speed(self.temperature_c - step, self.relative_humidity_percent, self.pressure_pa)
        ) / (2 * step)
        return slope * self.temperature_sigma_c

    def absorption_db_per_m(self, frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pure-tone absorption, dB/m, for frequencies of any shape in Hz (ISO 9613-1, equations 3 to 5)."""
        return absorption(self.temperature_c, self.relative_humidity_percent, self.pressure_pa, frequency_hz)


def sound_speed(temperature_c: float, relative_humidity_percent: float, pressure_pa: float) -> float:
    """Zero-frequency speed of sound in moist air, m/s.

    Cramer (1993), equation 15 and table III, with the saturation pressure of Davis (1992). Stated for 0 to 30 degC,
    75 to 102 kPa and water below a mole fraction of 0.06; outside it goes on smoothly and agrees with an ideal gas
    within 0.15 m/s down to -20 degC.
    """
    t, p, a = temperature_c, pressure_pa, CRAMER
    kelvin = t + ZERO_CELSIUS_K
    enhancement = 1.00062 + 3.14e-8 * p + 5.6e-7 * t**2
    saturation_pa = math.exp(1.2378847e-5 * kelvin**2 - 1.9121316e-2 * kelvin + 33.93711047 - 6.3431645e3 / kelvin)
    water = relative_humidity_percent / 100.0 * enhancement * saturation_pa / p
    carbon = CO2_MOLE_FRACTION
    return (
        a[0] + a[1] * t + a[2] * t**2
        + (a[3] + a[4] * t + a[5] * t**2) * water
        + (a[6] + a[7] * t + a[8] * t**2) * p
        + (a[9] + a[10] * t + a[11] * t**2) * carbon
        + a[12] * water**2 + a[13] * p**2 + a[14] * carbon**2 + a[15] * water * p * carbon
    )  # fmt: skip


def absorption(
    temperature_c: float, relative_humidity_percent: float, pressure_pa: float, frequency_hz: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Atmospheric absorption of pure tones, dB/m, same shape as ``frequency_hz`` (Hz).

    ISO 9613-1:1993, equations 3 to 5 and B.3; stated for -20 to 50 degC, 50 Hz to 10 kHz, pressure below 200 kPa.
    """
    kelvin = temperature_c + ZERO_CELSIUS_K
    pressure = pressure_pa / REFERENCE_PRESSURE_PA
    warmth = kelvin / REFERENCE_TEMPERATURE_K
    saturation = 10.0 ** (-6.8346 * (TRIPLE_POINT_K / kelvin) ** 1.261 + 4.6151)
    h = relative_humidity_percent * saturation / pressure  # molar concentration of water, percent
    oxygen_hz = pressure * (24.0 + 4.04e4 * h * (0.02 + h) / (0.391 + h))
    nitrogen_hz = pressure * warmth**-0.5 * (9.0 + 280.0 * h * math.exp(-4.170 * (warmth ** (-1.0 / 3.0) - 1.0)))
    f2 = np.square(np.asarray(frequency_hz, dtype=np.float64))
    classical = 1.84e-11 / pressure * warmth**0.5
    oxygen = 0.01275 * math.exp(-2239.1 / kelvin) / (oxygen_hz + f2 / oxygen_hz)
    nitrogen = 0.1068 * math.exp(-3352.0 / kelvin) / (nitrogen_hz + f2 / nitrogen_hz)
    result: NDArray[np.float64] = 8.686 * f2 * (classical + warmth**-2.5 * (oxygen + nitrogen))
    return result
