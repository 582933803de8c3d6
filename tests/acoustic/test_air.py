"""The air beside published figures: the speed of sound, what it is not sure of, and what is lost on the way."""

import math

import numpy as np
import pytest

from acoustic.air import Air, absorption, sound_speed

OCTAVES_HZ = 1_000.0 * 10.0 ** (0.3 * np.arange(-4, 4))  # exact mid-bands, nominally 63 Hz to 8 kHz


@pytest.mark.parametrize(
    ("temperature_c", "humidity_percent", "pressure_pa", "speed_m_per_s"),
    [  # the calculator of the National Physical Laboratory, which is Cramer's polynomial with 400 ppm CO2
        (20.0, 50.0, 101_325.0, 343.98689),
        (20.0, 0.0, 101_325.0, 343.35947),
        (23.0, 50.0, 101_325.0, 345.86652),
        (30.0, 80.0, 101_325.0, 351.00622),
        (20.0, 65.0, 80_000.0, 344.38267),
    ],
)
def test_speed_of_sound_as_published(temperature_c, humidity_percent, pressure_pa, speed_m_per_s):
    assert sound_speed(temperature_c, humidity_percent, pressure_pa) == pytest.approx(speed_m_per_s, abs=2e-5)


@pytest.mark.parametrize("temperature_c", [-20.0, -5.0, 0.0, 15.0, 30.0])
def test_dry_air_is_nearly_an_ideal_gas(temperature_c):
    """Heat ratio 1.4, molar mass 28.9655 g/mol (CODATA gas constant); real air is slower by up to 0.1 m/s."""
    ideal = math.sqrt(1.4 * 8.314462618 / 0.0289655 * (temperature_c + 273.15))
    assert sound_speed(temperature_c, 0.0, 101_325.0) == pytest.approx(ideal, abs=0.15)


@pytest.mark.parametrize("temperature_c", [-10.0, 0.0, 20.0])
def test_a_degree_is_sixty_centimetres_a_second(temperature_c):
    """Half of c / T for each degree: 0.61 at 0 degC, by the ideal gas."""
    one, three = (Air(temperature_c, sigma_c, 0.0).sound_speed_sigma_m_per_s for sigma_c in (1.0, 3.0))
    kelvin = temperature_c + 273.15
    assert one == pytest.approx(20.047 * math.sqrt(kelvin) / (2.0 * kelvin), rel=0.01)
    assert three == pytest.approx(3.0 * one, rel=1e-12)


@pytest.mark.parametrize(
    ("temperature_c", "humidity_percent", "db_per_km"),
    [  # ISO 9613-2:1996, table 2
        (10.0, 70.0, (0.1, 0.4, 1.0, 1.9, 3.7, 9.7, 32.8, 117.0)),
        (20.0, 70.0, (0.1, 0.3, 1.1, 2.8, 5.0, 9.0, 22.9, 76.6)),
        (30.0, 70.0, (0.1, 0.3, 1.0, 3.1, 7.4, 12.7, 23.1, 59.3)),
        (15.0, 20.0, (0.3, 0.6, 1.2, 2.7, 8.2, 28.2, 88.8, 202.0)),
        (15.0, 50.0, (0.1, 0.5, 1.2, 2.2, 4.2, 10.8, 36.2, 129.0)),
        (15.0, 80.0, (0.1, 0.3, 1.1, 2.4, 4.1, 8.3, 23.7, 82.8)),
    ],
)
def test_absorption_as_tabled(temperature_c, humidity_percent, db_per_km):
    found = 1_000.0 * absorption(temperature_c, humidity_percent, 101_325.0, OCTAVES_HZ)
    assert found == pytest.approx(db_per_km, abs=0.052, rel=0.005)  # to a tenth of a decibel


@pytest.mark.parametrize(
    ("speed", "comes_from_deg", "east", "north"),
    [(5.0, 270.0, 5.0, 0.0), (3.0, 0.0, 0.0, -3.0), (2.0, 90.0, -2.0, 0.0)],
)
def test_wind_blows_away_from_where_it_comes(speed, comes_from_deg, east, north):
    air = Air.from_weather(wind_speed_m_per_s=speed, wind_from_deg=comes_from_deg)
    assert (air.wind_east_m_per_s, air.wind_north_m_per_s) == pytest.approx((east, north), abs=1e-12)


def test_what_a_report_leaves_out_is_not_known():
    assert Air.from_weather().temperature_sigma_c == 10.0
    assert Air.from_weather().wind_sigma_m_per_s == 4.0
    assert Air.from_weather(temperature_c=3.0).temperature_sigma_c == 2.0
    nowhere = Air.from_weather(wind_speed_m_per_s=6.0, wind_sigma_m_per_s=2.0)
    assert (nowhere.wind_east_m_per_s, nowhere.wind_sigma_m_per_s) == (0.0, math.hypot(2.0, 6.0))


@pytest.mark.parametrize(
    "wrong", [{"temperature_c": 300.0}, {"pressure_pa": 1013.25}, {"relative_humidity_percent": math.nan}]
)
def test_values_in_other_units_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Air(**wrong)
