"""Bearings: bangs from known directions, heard by small arrays; what they cannot tell, and how far sigma can be trusted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.air import Air
from acoustic.bearing import Bearing
from acoustic.direction import bearing_of_impulse, bearing_of_stretch
from acoustic.propagation import Heard, Path, Ray, ground_ray, travel_time_s
from acoustic.sources import muzzle_blast
from acoustic.wavefront import Array, Field, _lateness, _steered_power
from tests import naive, sounds

AIR = Air(20.0)
SPEED = AIR.sound_speed_m_per_s
ONSET_S = 0.1
SECONDS = 0.13


def ring(count, aperture_m, up_m=0.0):
    """Elements evenly on a circle, the first one north; every other one ``up_m`` higher."""
    angle = 2.0 * np.pi * np.arange(count) / count
    up = up_m * (np.arange(count) % 2)
    return np.column_stack([np.sin(angle), np.cos(angle), up]) * [aperture_m / 2.0, aperture_m / 2.0, 1.0]


def towards(azimuth_deg, elevation_deg=5.0):
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    return np.array([math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), math.sin(e)])


def plane_wave(elements, direction, rate_hz, level=0.3, speed=SPEED, echoes=()):
    """A blast and its echoes as (delay_s, gain, direction), (n, m); the onset is at the middle of the array."""
    waves = [(0.0, 1.0, direction), *echoes]
    columns = [
        sum(g * sounds.blast(rate_hz, SECONDS, ONSET_S + late - float(e @ d) / speed, 0.0007) for late, g, d in waves)
        for e in elements
    ]
    return level * np.column_stack(columns)


def noise(shape, level, seed):
    return level * np.random.default_rng(seed).standard_normal(shape)


def tell(samples, elements, rate_hz, onset_s=ONSET_S):
    return bearing_of_impulse(samples.astype(np.float32), onset_s * rate_hz, elements, rate_hz, SPEED)


def miss_deg(bearing, azimuth_deg):
    return (bearing.azimuth_deg - azimuth_deg + 180.0) % 360.0 - 180.0


def gunshot(elements, rate_hz, azimuth_deg, snr_db, seed):
    """A muzzle blast 150 m away as each element hears it: ground, three walls, streets' noise; (n, m) and the onset."""
    generator = np.random.default_rng(seed)
    azimuth = math.radians(azimuth_deg)
    source = (150.0 * math.sin(azimuth), 150.0 * math.cos(azimuth), 1.5)
    images = [(*generator.uniform(-300.0, 300.0, 2), generator.uniform(0.0, 10.0)) for _ in range(3)]
    gains = generator.uniform(0.2, 0.8, 3)
    sound = muzzle_blast(rate_hz)
    here = elements + np.array([0.0, 0.0, 6.0])
    first_s = travel_time_s(AIR, source, here[0])
    count = round(SECONDS * rate_hz)
    columns = []
    for k, element in enumerate(here):
        direct = Ray(math.dist(source, element), travel_time_s(AIR, source, element))
        late = [(math.dist(image, element), travel_time_s(AIR, image, element)) for image in images]
        walls = [Ray(length, delay, gain) for (length, delay), gain in zip(late, gains, strict=True) if delay > first_s]
        path = Path((direct, ground_ray(direct, 1.5, float(element[2]), 0.6, SPEED), *walls))
        first, pressure = Heard(sound, path, AIR).at(ONSET_S - first_s)
        column = np.zeros(count)
        used = pressure[max(-first, 0) : count - first]
        column[max(first, 0) : max(first, 0) + len(used)] = used
        columns.append((column, sounds.street(rate_hz, SECONDS, int(generator.integers(1 << 30)), 1.0)[:count], k))
    peak = max(float(np.abs(column).max()) for column, _, _ in columns)
    level = 10.0 ** (-snr_db / 20.0)
    return 0.3 * np.column_stack([column / peak + level * street for column, street, _ in columns])


@pytest.mark.parametrize(("azimuth", "sigma"), [(-0.1, 1.0), (360.0, 1.0), (math.nan, 1.0), (10.0, 0.0), (10.0, 181.0)])
def test_a_bearing_is_an_angle_with_a_sigma(azimuth, sigma):
    with pytest.raises(ValueError, match="expected"):
        Bearing(azimuth, sigma)


@pytest.mark.parametrize("azimuth", [0.0, 90.0, 180.0, 270.0, 33.0])
@pytest.mark.parametrize(("count", "aperture", "rate"), [(4, 0.07, 16_000), (3, 0.3, 48_000)])
def test_gunshots_come_clockwise_from_north(azimuth, count, aperture, rate):
    elements = ring(count, aperture)
    bearing = tell(gunshot(elements, rate, azimuth, 30.0, seed=int(azimuth)), elements, rate)
    assert abs(miss_deg(bearing, azimuth)) < 3.0
    assert bearing.sigma_deg < 3.0


@pytest.mark.parametrize(
    ("rate", "count", "aperture"),
    [(8_000, 4, 0.1), (8_000, 4, 2.0), (12_000, 5, 0.3), (96_000, 6, 0.05), (192_000, 4, 0.1), (44_100, 8, 2.0)],
)
def test_every_rate_and_size_of_array(rate, count, aperture):
    """Two metres are up to thirty wavelengths across: the right lobe is found among all of them."""
    elements = ring(count, aperture)
    bearing = tell(gunshot(elements, rate, 217.0, 30.0, seed=rate), elements, rate)
    assert abs(miss_deg(bearing, 217.0)) < min(3.0 * bearing.sigma_deg, 5.0)


def scores(levels_db, trials, seed):
    """Misses of simulated gunshots in sigmas, small arrays whose elements stand a third of a millimetre off."""
    generator = np.random.default_rng(seed)
    result = []
    for trial in range(trials):
        elements = ring(int(generator.integers(3, 7)), generator.choice([0.06, 0.1, 0.15]))
        azimuth, snr_db = generator.uniform(0.0, 360.0), generator.choice(levels_db)
        displaced = elements + generator.normal(0.0, 0.0003, elements.shape)
        bearing = tell(gunshot(displaced, 24_000, azimuth, snr_db, trial), elements, 24_000)
        if bearing is not None:
            result.append(abs(miss_deg(bearing, azimuth)) / bearing.sigma_deg)
    return np.array(result)


def test_sigma_holds_68_and_95_percent_where_noise_decides():
    weak = scores([11.0, 14.0, 17.0], 130, seed=11)
    assert len(weak) >= 80
    assert 0.6 <= np.mean(weak < 1.0) <= 0.85
    assert np.mean(weak < 1.96) >= 0.91
    assert np.mean(weak > 5.0) <= 0.02


def test_sigma_holds_more_where_its_floor_decides():
    """Loud sounds: the floor is for what no simulation holds, phases of microphones and turbulence."""
    loud = scores([22.0, 30.0], 60, seed=12)
    assert len(loud) >= 57
    assert np.mean(loud < 1.0) >= 0.68
    assert np.mean(loud < 1.96) >= 0.95


def test_spreads_as_the_bound_of_cramer_and_rao_allows():
    """White noise on a known wave: var = c^2 s^2 / (sum (ds/dt)^2 sum (r across)^2); 2.5 ms of a blast hold most of it."""
    rate, elements, sigma = 16_000, ring(6, 0.2), 0.02
    clean = plane_wave(elements, towards(70.0, 0.0), rate)
    omega = 2.0 * np.pi * np.fft.rfftfreq(len(clean), 1.0 / rate)
    slope = 2.0 * np.sum((omega * np.abs(np.fft.rfft(clean[:, 0]))) ** 2) / len(clean)
    across = elements @ [math.cos(math.radians(70.0)), -math.sin(math.radians(70.0)), 0.0]
    bound_deg = math.degrees(SPEED * sigma / math.sqrt(slope * float(across @ across)))
    misses = [miss_deg(tell(clean + noise(clean.shape, sigma, s), elements, rate), 70.0) for s in range(60)]
    assert 0.8 * bound_deg < np.sqrt(np.mean(np.square(misses))) < 1.5 * bound_deg


@settings(max_examples=12)
@given(st.floats(0.0, 360.0, exclude_max=True), st.integers(0, 1000))
def test_turns_with_the_array(turn_deg, seed):
    turn = math.radians(turn_deg)
    matrix = np.array([[math.cos(turn), math.sin(turn), 0.0], [-math.sin(turn), math.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    elements = ring(4, 0.15)
    samples = plane_wave(elements, towards(20.0), 16_000)
    samples += noise(samples.shape, 0.003, seed)
    still, turned = tell(samples, elements, 16_000), tell(samples, elements @ matrix.T, 16_000)
    assert abs(miss_deg(turned, still.azimuth_deg + turn_deg)) < 0.1


@settings(max_examples=12)
@given(st.lists(st.floats(0.05, 3.0), min_size=5, max_size=5), st.permutations(range(1, 5)))
def test_neither_gains_nor_the_order_of_channels_matter(gains, order):
    elements = ring(5, 0.15)
    samples = plane_wave(elements, towards(290.0), 16_000)
    samples += noise(samples.shape, 0.003, 5)
    order = [0, *order]
    one, other = tell(samples, elements, 16_000), tell((samples * gains)[:, order], elements[order], 16_000)
    assert abs(miss_deg(other, one.azimuth_deg)) < 1e-3


@pytest.mark.parametrize("off", [0.95, 1.05])
def test_the_speed_of_sound_moves_elevation_not_azimuth(off):
    elements = ring(6, 0.2)
    samples = plane_wave(elements, towards(125.0, 20.0), 48_000, speed=SPEED * off)
    assert abs(miss_deg(tell(samples + noise(samples.shape, 0.003, 1), elements, 48_000), 125.0)) < 0.5


@pytest.mark.parametrize("elevation", [-20.0, 40.0, 65.0])
def test_from_above_and_below(elevation):
    elements = ring(6, 0.3, up_m=0.15)
    samples = plane_wave(elements, towards(301.0, elevation), 48_000)
    assert abs(miss_deg(tell(samples + noise(samples.shape, 0.003, 2), elements, 48_000), 301.0)) < 1.0


def broken(samples, how):
    samples = samples.copy()
    samples[:, 2] = {
        "silent": 0.0,
        "stuck": 0.7,
        "not finite": np.where(np.arange(len(samples)) == 40, np.nan, samples[:, 2]),
        "its own noise": noise(len(samples), 0.01, 8),
        "upside down": -samples[:, 2],
    }[how]
    return samples


@pytest.mark.parametrize("how", ["silent", "stuck", "not finite", "its own noise", "upside down"])
def test_a_broken_channel_is_left_out(how):
    elements = ring(5, 0.2)
    samples = plane_wave(elements, towards(48.0), 48_000)
    samples += noise(samples.shape, 0.003, 3)
    assert abs(miss_deg(tell(broken(samples, how), elements, 48_000), 48.0)) < 2.0
    assert tell(broken(samples, how)[:, :3], elements[:3], 48_000) is None


def test_of_a_clipped_blast_the_front_serves():
    """Behind it the echo stands as high as the sound itself: a whole wave would point at the wall."""
    elements = ring(4, 0.2)
    wall = [(0.0011, 0.6, towards(200.0))]
    samples = plane_wave(elements, towards(80.0), 48_000, level=10.0, echoes=wall)
    samples = np.clip(samples + noise(samples.shape, 0.01, 4), -0.5, 0.5)
    bearing = tell(samples, elements, 48_000)
    assert abs(miss_deg(bearing, 80.0)) < 3.0
    assert bearing.sigma_deg >= 0.75


def test_says_nothing_where_nothing_can_be_told():
    rate, elements = 16_000, ring(4, 0.15)
    samples = plane_wave(elements, towards(10.0), rate)
    samples += noise(samples.shape, 0.003, 6)
    row = np.column_stack([np.linspace(0.0, 0.3, 4), np.linspace(0.0, 0.3, 4), np.zeros(4)])
    mast = np.column_stack([np.zeros(4), np.zeros(4), np.linspace(0.0, 1.0, 4)])
    assert tell(samples, elements, rate) is not None
    assert tell(samples[:, :2], elements[:2], rate) is None
    assert tell(plane_wave(row, towards(10.0), rate) + noise(samples.shape, 0.003, 6), row, rate) is None
    assert tell(plane_wave(mast, towards(10.0), rate) + noise(samples.shape, 0.003, 6), mast, rate) is None
    assert tell(samples, elements, rate, onset_s=0.005) is None
    assert tell(samples, elements, rate, onset_s=SECONDS) is None
    assert tell(np.zeros((0, 4)), elements, rate) is None
    assert all(tell(noise(samples.shape, 0.1, seed), elements, rate) is None for seed in range(20))
    with pytest.raises(ValueError, match="expected"):
        tell(samples, elements[:3], rate)


def test_channels_in_the_wrong_order_are_no_plane_wave():
    elements = ring(6, 1.0)
    samples = plane_wave(elements, towards(10.0), 16_000)
    samples += noise(samples.shape, 0.003, 6)
    bearing = tell(samples[:, [0, 4, 3, 1, 5, 2]], elements, 16_000)
    assert bearing is None or bearing.sigma_deg > 3.0


def test_a_tone_finer_than_the_array_points_everywhere():
    rate, elements = 16_000, ring(4, 1.0)
    time = np.arange(rate)[:, None] / rate + (elements @ towards(100.0))[None, :] / SPEED
    tone = np.sin(2.0 * np.pi * 3000.0 * time) + noise(time.shape, 0.01, 7)
    assert bearing_of_stretch(tone.astype(np.float32), elements, rate, SPEED) is None


def test_a_stretch_of_sound_has_a_bearing():
    rate, elements = 16_000, ring(4, 0.1)
    spectrum = np.fft.rfft(noise(2 * rate, 1.0, 8))
    omega = 2.0 * np.pi * np.fft.rfftfreq(2 * rate, 1.0 / rate)
    delays = -(elements @ towards(222.0)) / SPEED
    samples = np.column_stack([np.fft.irfft(spectrum * np.exp(-1j * omega * delay)) for delay in delays])
    samples = (samples + noise(samples.shape, 0.3, 9)).astype(np.float32)
    assert abs(miss_deg(bearing_of_stretch(samples, elements, rate, SPEED), 222.0)) < 1.0
    assert bearing_of_stretch(samples[:500], elements, rate, SPEED) is None


def field(count, seed):
    generator = np.random.default_rng(seed)
    spectra = generator.standard_normal((40, count)) + 1j * generator.standard_normal((40, count))
    matrix = np.einsum("fi,fj->fij", spectra, spectra.conj())
    return Field(matrix, 2, 128, 16_000, 1, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_is_its_twin(seed):
    """Straight lines between the points of a correlation err by two per cent of its greatest value."""
    elements = ring(4, 0.3, up_m=0.1)
    array = Array(np.zeros((4, 1)), elements, elements[0], 16_000, SPEED)
    grid = np.array([[towards(a, e) for e in (0.0, 30.0)] for a in (0.0, 77.0, 200.0)])
    power = _steered_power(array, field(4, seed), grid)
    scale = 0.03 * float(np.sum(np.abs(field(4, seed).matrix)))
    for row, directions in zip(power, grid, strict=True):
        for value, direction in zip(row, directions, strict=True):
            delays = array.delays(direction)
            assert value == pytest.approx(naive.steered_power(field(4, seed), delays), abs=scale)


@settings(max_examples=20)
@given(st.integers(0, 3), st.floats(-5e-6, 5e-6))
def test_an_element_is_as_late_as_it_was_made(which, late_s):
    """One channel of a common wave delayed by t: it stands out by t, less its own share in the mean."""
    known = Field(np.ones((40, 4, 4), complex), 2, 128, 16_000, 1, 1.0)
    moved = Field(known.aligned(-late_s * (np.arange(4) == which)), 2, 128, 16_000, 1, 1.0)
    late, _, coherence, unshared = _lateness(moved, np.zeros(4))
    expected = late_s * ((np.arange(4) == which) - 0.25)
    assert np.allclose(late, expected, atol=0.03 * abs(late_s) + 1e-12)
    assert np.all(coherence > 0.9)
    assert unshared < 0.01


@settings(max_examples=30)
@given(st.integers(0, 1 << 30), st.floats(-40.0, 30.0), st.sampled_from(["steps", "spikes", "square", "gappy"]))
def test_no_sound_breaks_it(seed, exponent, kind):
    generator = np.random.default_rng(seed)
    samples = {
        "steps": lambda: np.repeat(generator.standard_normal((26, 4)), 80, axis=0),
        "spikes": lambda: np.where(generator.random((2080, 4)) < 0.002, generator.standard_normal((2080, 4)), 0.0),
        "square": lambda: np.sign(np.sin(np.arange(2080)[:, None] * 0.3)) * np.ones((1, 4)),
        "gappy": lambda: generator.standard_normal((2080, 4)) * (np.arange(2080) > 1590)[:, None] * [1, 0, 1, 1],
    }[kind]()
    samples = (samples * 10.0**exponent).astype(np.float32)
    for told in (tell(samples, ring(4, 0.2), 16_000), bearing_of_stretch(samples, ring(4, 0.2), 16_000, SPEED)):
        assert told is None or 0.0 <= told.azimuth_deg < 360.0
