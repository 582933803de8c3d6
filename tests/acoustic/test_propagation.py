import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.air import Air
from acoustic.propagation import Heard, Path, Ray, Tail, absorption_exponent, diffuse_tail, ground_ray, travel_time_s
from acoustic.sources import muzzle_blast
from tests.naive import travel_time

MICROSECOND = 1e-6
ROOM = Air(20.0, 2.0, 50.0)
WINDY = Air(12.0, 2.0, 60.0, wind_east_m_per_s=3.0, wind_north_m_per_s=-4.0)

metres = st.floats(-2000.0, 2000.0)


def direct(distance_m, delay_s=0.0):
    return Path((Ray(distance_m, delay_s),))


def front_s(samples, rate_hz):
    """When the pressure first passes half its maximum, between samples by a dense spectrum."""
    dense = 32
    count = 1 << math.ceil(math.log2(len(samples)))
    spectrum = np.fft.rfft(samples, count)
    padded = np.zeros(count * dense // 2 + 1, dtype=complex)
    padded[: len(spectrum)] = spectrum
    fine = np.fft.irfft(padded, count * dense)
    peak = int(np.argmax(fine))
    below = int(np.flatnonzero(fine[:peak] < fine[peak] / 2.0)[-1])
    part = (fine[peak] / 2.0 - fine[below]) / (fine[below + 1] - fine[below])
    return (below + part) / (rate_hz * dense)


@given(source=st.tuples(metres, metres, metres), sensor=st.tuples(metres, metres, metres))
def test_travel_time_is_that_of_the_slow_twin(source, sensor):
    if math.dist(source, sensor) < 1e-6:
        return
    wind = (WINDY.wind_east_m_per_s, WINDY.wind_north_m_per_s)
    known = travel_time(source, sensor, WINDY.sound_speed_m_per_s, wind)
    assert travel_time_s(WINDY, source, sensor) == pytest.approx(known, rel=1e-12)


@given(sensor=st.tuples(metres, metres, st.floats(0.0, 50.0)))
def test_travel_time_obeys_the_moving_air(sensor):
    """The exact time solves |r - w t| = c t; the first order may differ by (w across / c)^2 / 2."""
    distance_m = math.hypot(*sensor)
    if distance_m < 1.0:
        return
    wind = np.array([WINDY.wind_east_m_per_s, WINDY.wind_north_m_per_s, 0.0])
    time_s = travel_time_s(WINDY, (0.0, 0.0, 0.0), sensor)
    left_over = np.linalg.norm(np.array(sensor) - wind * time_s) / (WINDY.sound_speed_m_per_s * time_s)
    assert left_over == pytest.approx(1.0, abs=1.01 * (5.0 / WINDY.sound_speed_m_per_s) ** 2 / 2.0)


@pytest.mark.parametrize(
    ("distance_m", "sensor_m", "late_us"),
    [(50.0, 5.0, 869.0), (300.0, 5.0, 146.0), (800.0, 5.0, 55.0), (300.0, 12.0, 349.0), (800.0, 12.0, 131.0)],
)
def test_the_ground_answers_after_the_images_path(distance_m, sensor_m, late_us):
    """Delays behind the direct front for a muzzle at 1.5 m, worked by hand for c = 343.2 m/s."""
    slant_m = math.hypot(distance_m, sensor_m - 1.5)
    ray = ground_ray(Ray(slant_m, slant_m / 343.2), 1.5, sensor_m, 0.7, 343.2)
    assert (ray.delay_s - slant_m / 343.2) / MICROSECOND == pytest.approx(late_us, rel=0.02)
    assert ray.length_m == pytest.approx(math.hypot(distance_m, sensor_m + 1.5))
    assert ray.gain == 0.7


@given(time_s=st.floats(0.01, 0.5), rate_hz=st.sampled_from([8_000, 12_000, 44_100, 48_000]))
def test_a_discharge_falls_between_samples_where_it_belongs(time_s, rate_hz):
    sound = muzzle_blast(rate_hz)
    heard = Heard(sound, direct(1.0), Air())
    (first_a, early), (first_b, late) = heard.at(time_s), heard.at(time_s + 0.4 / rate_hz)
    begins = [first / rate_hz + front_s(samples, rate_hz) for first, samples in ((first_a, early), (first_b, late))]
    assert begins[1] - begins[0] == pytest.approx(0.4 / rate_hz, abs=0.5 * MICROSECOND)
    own = front_s(sound.pressure_pa, rate_hz) - sound.onset_s
    assert begins[0] == pytest.approx(time_s + own, abs=1.0 * MICROSECOND)


def test_spreading_halves_the_pressure_with_every_doubling():
    sound = muzzle_blast(48_000)
    dry = Heard(sound, Path((Ray(1.0, 0.0),)), ROOM).at(0.1)[1]
    near, far = (Heard(sound, Path((Ray(1.0, 0.0, 1.0 / r),)), ROOM).at(0.1)[1] for r in (10.0, 20.0))
    assert np.max(near) == pytest.approx(np.max(dry) / 10.0)
    assert np.max(far) == pytest.approx(np.max(near) / 2.0)


@pytest.mark.parametrize(
    ("frequency_hz", "loss_db"),
    [(1_000.0, 0.47), (4_000.0, 2.97), (8_000.0, 10.5), (16_000.0, 36.0)],  # a hundred metres at 20 degC, 50 %
)
def test_air_takes_what_iso_9613_says(frequency_hz, loss_db):
    count, rate_hz = 1 << 14, 48_000
    exponent = absorption_exponent(ROOM, rate_hz, count)
    at = round(frequency_hz * count / rate_hz)
    assert 100.0 * exponent.real[at] * 20.0 / math.log(10.0) == pytest.approx(loss_db, rel=0.02)


@pytest.mark.parametrize("rate_hz", [12_000, 48_000, 96_000])
@pytest.mark.parametrize(("distance_m", "late_us"), [(100.0, 15.0), (300.0, 15.0), (1000.0, 50.0)])
def test_air_leaves_the_onset_where_it_is(rate_hz, distance_m, late_us):
    sound = muzzle_blast(rate_hz, positive_phase_s=0.001)
    first, samples = Heard(sound, direct(distance_m), ROOM).at(0.1)
    moved_s = first / rate_hz + front_s(samples, rate_hz) - 0.1 - front_s(sound.pressure_pa, rate_hz) + sound.onset_s
    assert abs(moved_s) < late_us * MICROSECOND


@pytest.mark.parametrize("air", [ROOM, Air(-5.0, 2.0, 80.0), Air(30.0, 2.0, 15.0)])
@pytest.mark.parametrize("distance_m", [100.0, 300.0, 1000.0])
def test_air_puts_no_foot_before_a_front(air, distance_m):
    """A millisecond ahead, 70 dB below the peak: what an absorption without phase leaves there is -47 dB at 300 m."""
    first, samples = Heard(muzzle_blast(12_000), direct(distance_m), air).at(0.1)
    ahead = samples[: round(0.099 * 12_000) - first]
    assert np.max(np.abs(ahead)) < 10.0 ** (-70.0 / 20.0) * np.max(np.abs(samples))


def test_rays_arrive_one_after_the_other_with_their_signs():
    path = Path((Ray(1.0, 0.5, 1.0), Ray(1.0, 0.6, -0.5), Ray(1.0, 0.45, 0.2)))
    first, samples = Heard(muzzle_blast(48_000), path, ROOM).at(1.0)
    track = np.zeros(48_000 * 2)
    track[first : first + len(samples)] = samples
    peak = np.max(np.abs(track))
    for time_s, gain in ((1.45, 0.2), (1.5, 1.0), (1.6, -0.5)):
        around = track[round((time_s - 0.001) * 48_000) : round((time_s + 0.001) * 48_000)]
        extreme = around[np.argmax(np.abs(around))]
        assert extreme / peak == pytest.approx(gain, rel=0.02)


def test_a_dulled_front_is_slower_and_never_early():
    sound = muzzle_blast(48_000)
    first, dull = Heard(sound, Path((Ray(1.0, 0.0, 1.0, 1_000.0),)), ROOM).at(0.1)
    sharp = Heard(sound, direct(1.0), ROOM).at(0.1)[1]
    assert front_s(dull, 48_000) > front_s(sharp, 48_000)
    ahead = dull[: round((0.1 - 0.0005) * 48_000) - first]
    assert np.max(np.abs(ahead)) < 1e-3 * np.max(np.abs(dull))


@pytest.mark.parametrize("rate_hz", [12_000, 48_000])
def test_a_tail_dies_away_as_told_and_is_as_loud_at_any_rate(rate_hz):
    ray = Ray(50.0, 0.2)
    tails = [
        diffuse_tail(rate_hz, ray, [(-20.0, 1.0)], cutoff_hz=1_200.0, generator=np.random.default_rng(seed))
        for seed in range(20)
    ]
    power = np.mean([np.square(tail.response) for tail in tails], axis=0)
    time_s = np.arange(len(power)) / rate_hz
    slope = np.polyfit(time_s[time_s > 0.02], 10.0 * np.log10(power[time_s > 0.02]), 1)[0]
    assert slope == pytest.approx(-60.0, abs=2.0)
    sound = muzzle_blast(rate_hz, positive_phase_s=0.001)
    behind = [
        np.convolve(sound.pressure_pa, tail.response[: rate_hz // 4])[rate_hz // 20 : rate_hz // 10] for tail in tails
    ]
    level_db = 10.0 * math.log10(np.mean(np.square(behind))) - sound.peak_db_spl + 20.0 * math.log10(ray.length_m)
    # 50 to 100 ms behind the onset it has fallen by 4.5 dB; a blast of 1 ms is not quite a pulse of 1 ms.
    assert level_db + 20.0 * math.log10(1.0 / 20e-6) == pytest.approx(-20.0 - 4.5, abs=6.0)


def test_a_tail_begins_with_its_ray():
    tail = Tail(0.3, np.array([0.1, -0.1]))
    heard = Heard(muzzle_blast(12_000), Path((Ray(1.0, 0.3),), tail), ROOM)
    with_tail, without = heard.at(0.0), Heard(muzzle_blast(12_000), direct(1.0, 0.3), ROOM).at(0.0)
    assert with_tail[0] == without[0]
    apart = with_tail[1][: len(without[1])] - without[1][: len(with_tail[1])]
    begins = int(np.flatnonzero(np.abs(apart) > 0.01 * np.max(np.abs(apart)))[0])
    assert (with_tail[0] + begins) / 12_000 == pytest.approx(0.3, abs=0.0005)


def test_rays_and_paths_check_themselves():
    with pytest.raises(ValueError, match="length above 0"):
        Ray(0.0, 0.1)
    with pytest.raises(ValueError, match="length above 0"):
        Ray(1.0, math.nan)
    with pytest.raises(ValueError, match="expected numbers"):
        Ray(1.0, 0.0, math.inf)
    with pytest.raises(ValueError, match="some way"):
        Path(())
