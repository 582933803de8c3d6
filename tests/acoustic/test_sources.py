import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic import sources
from acoustic.air import Air
from acoustic.sources import LEAD_S, Sound, level_db, pascals
from acoustic.spectra import PASS_BAND
from tests.naive import friedlander_wave, n_wave_of_bullet

RATE_HZ = 48_000

MAKERS = {
    "muzzle_blast": lambda rate, level: sources.muzzle_blast(rate, peak_db_spl=level),
    "firework": lambda rate, level: sources.firework(rate, peak_db_spl=level),
    "crackle": lambda rate, level: sources.firework(
        rate, peak_db_spl=level, crackle_db=-18.0, generator=np.random.default_rng(2)
    ),
    "backfire": lambda rate, level: sources.backfire(rate, peak_db_spl=level, generator=np.random.default_rng(3)),
    "hammer": lambda rate, level: sources.hammer(rate, peak_db_spl=level, generator=np.random.default_rng(4)),
    "door": lambda rate, level: sources.door(rate, peak_db_spl=level, generator=np.random.default_rng(5)),
    "handling": lambda rate, level: sources.handling(rate, peak_db_spl=level, generator=np.random.default_rng(6)),
    "thunder": lambda rate, level: sources.thunder(
        rate, peak_db_spl=level, duration_s=2.0, generator=np.random.default_rng(7)
    ),
}


def energy(samples):
    return float(np.sum(np.square(samples)))


@pytest.mark.parametrize("kind", MAKERS)
def test_every_sound_is_as_loud_as_asked_silent_before_its_onset_and_over_at_its_end(kind):
    sound = MAKERS[kind](12_000, 130.0)
    before = sound.pressure_pa[: round((LEAD_S - 0.001) * 12_000)]
    assert sound.peak_db_spl == pytest.approx(130.0, abs=2.0)
    assert energy(before) < 1e-6 * energy(sound.pressure_pa)
    assert energy(sound.pressure_pa[-len(sound.pressure_pa) // 20 :]) < 1e-5 * energy(sound.pressure_pa)
    assert not sound.pressure_pa.flags.writeable


@pytest.mark.parametrize("kind", MAKERS)
def test_a_sound_is_the_same_at_any_rate_up_to_where_the_slower_one_hears(kind):
    """No aliases: whatever lies beyond the slower rate's band is absent from it, not folded into it."""
    slow, fast = MAKERS[kind](12_000, 130.0), MAKERS[kind](48_000, 130.0)
    duration_s = 4.0
    spectra = [
        np.fft.rfft(sound.pressure_pa, round(duration_s * sound.rate_hz)) / sound.rate_hz for sound in (slow, fast)
    ]
    heard = slice(0, round(PASS_BAND * 6_000 * duration_s))
    # Sounds that are scaled to their peak differ by one factor between rates, since a band limit moves the peak.
    factor = abs(np.vdot(spectra[1][heard], spectra[0][heard])) / energy(np.abs(spectra[1][heard]))
    apart = np.abs(spectra[0][heard] - factor * spectra[1][heard])
    assert np.max(apart) < 1e-3 * np.max(np.abs(spectra[0][heard]))


def test_a_muzzle_blast_is_friedlanders_wave():
    sound = sources.muzzle_blast(384_000, peak_db_spl=160.0, positive_phase_s=0.001)
    time_s = np.arange(len(sound.pressure_pa)) / sound.rate_hz - sound.onset_s
    known = np.array([friedlander_wave(t, 2000.0, 0.001) for t in time_s])
    away = np.abs(time_s) > 0.00005  # a band limit rounds the front over some samples
    assert np.max(np.abs(sound.pressure_pa - known)[away]) < 0.005 * 2000.0
    # Its overpressure and underpressure cancel: no blast leaves a wind behind.
    assert abs(np.sum(sound.pressure_pa)) < 1e-6 * np.sum(np.abs(sound.pressure_pa))


def test_levels_are_those_of_acoustics():
    assert pascals(94.0) == pytest.approx(1.0024, abs=0.0001)
    assert level_db(20e-6) == pytest.approx(0.0)
    assert level_db(0.0) == -math.inf


@given(level=st.floats(-20.0, 200.0))
def test_levels_and_pressures_are_each_others_inverse(level):
    assert level_db(pascals(level)) == pytest.approx(level, abs=1e-9)


def test_a_barrel_is_loudest_along_its_line():
    """Fansler and Schmidt's index of 0.5: 9.5 dB between front and back, nothing to the side."""
    assert sources.directivity_db(math.pi / 2) == pytest.approx(0.0, abs=1e-9)
    front, back = sources.directivity_db(0.0), sources.directivity_db(math.pi)
    assert front - back == pytest.approx(20.0 * math.log10(3.0), abs=1e-9)
    angles = np.linspace(0.0, math.pi, 50)
    levels = [sources.directivity_db(float(angle)) for angle in angles]
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize(
    ("mach", "miss_m", "diameter_m", "length_m", "peak_db", "lasting_us"),
    [  # 5.56 mm (SS109) at two distances, and a 9 mm pistol: worked from Whitham's formulas with c = 343.2 m/s
        (2.74, 10.0, 0.0057, 0.0230, 139.0, 186.0),
        (2.74, 50.0, 0.0057, 0.0230, 128.5, 279.0),
        (1.11, 10.0, 0.0090, 0.0155, 140.3, 470.0),
    ],
)
def test_a_bullets_shock_wave_is_whithams(mach, miss_m, diameter_m, length_m, peak_db, lasting_us):
    sound = sources.shock_wave(
        384_000,
        mach=mach,
        miss_distance_m=miss_m,
        bullet_diameter_m=diameter_m,
        bullet_length_m=length_m,
        air=Air(20.0, 2.0, 50.0),
    )
    peak_pa, length_s = n_wave_of_bullet(mach, miss_m, diameter_m, length_m, 343.37, 101_325.0)
    assert level_db(peak_pa) == pytest.approx(peak_db, abs=0.5)
    assert length_s * 1e6 == pytest.approx(lasting_us, rel=0.03)
    assert sound.peak_db_spl == pytest.approx(level_db(peak_pa), abs=1.0)
    # From the highest to the lowest pressure it takes as long as the wave lasts.
    assert (np.argmin(sound.pressure_pa) - np.argmax(sound.pressure_pa)) / 384_000 == pytest.approx(length_s, rel=0.05)
    assert sound.reference_m == miss_m


def test_a_slow_bullet_makes_no_shock_wave():
    with pytest.raises(ValueError, match="expected above 1"):
        sources.shock_wave(
            96_000, mach=0.9, miss_distance_m=5.0, bullet_diameter_m=0.01, bullet_length_m=0.02, air=Air()
        )


def test_stars_crackle_after_the_burst_and_differ_from_one_firework_to_the_next():
    plain = sources.firework(RATE_HZ)
    first, again, other = (
        sources.firework(RATE_HZ, crackle_db=-15.0, generator=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.pressure_pa, again.pressure_pa)
    assert not np.array_equal(first.pressure_pa, other.pressure_pa)
    later = slice(round((LEAD_S + 0.15) * RATE_HZ), round((LEAD_S + 0.95) * RATE_HZ))
    assert energy(first.pressure_pa[later]) > 1e3 * energy(plain.pressure_pa[later])
    with pytest.raises(ValueError, match="needs a generator"):
        sources.firework(RATE_HZ, crackle_db=-15.0)


def test_thunder_rises_slowly_and_is_low():
    sound = sources.thunder(12_000, duration_s=6.0, generator=np.random.default_rng(8))
    power = np.square(sound.pressure_pa)
    reached = np.searchsorted(np.cumsum(power), 0.1 * power.sum()) / 12_000
    assert reached - LEAD_S > 0.1
    spectrum = np.square(np.abs(np.fft.rfft(sound.pressure_pa)))
    frequency_hz = np.fft.rfftfreq(len(sound.pressure_pa), 1.0 / 12_000)
    centroid_hz = np.sum(frequency_hz * spectrum) / np.sum(spectrum)
    assert 20.0 < centroid_hz < 150.0


def test_a_hammer_rings_where_a_blast_is_over():
    blast, blow = sources.muzzle_blast(RATE_HZ), sources.hammer(RATE_HZ)
    after = round((LEAD_S + 0.01) * RATE_HZ)
    assert energy(blow.pressure_pa[after:]) > 0.02 * energy(blow.pressure_pa)
    assert energy(blast.pressure_pa[after:]) < 1e-4 * energy(blast.pressure_pa)


def test_a_sound_checks_itself():
    with pytest.raises(ValueError, match="expected float64"):
        Sound(np.zeros(4, np.float32), 48_000)
    with pytest.raises(ValueError, match="NaN"):
        Sound(np.array([math.nan]), 48_000)
    with pytest.raises(ValueError, match="above 0"):
        Sound(np.zeros(4), 0)
    with pytest.raises(ValueError, match="positive_phase_s"):
        sources.muzzle_blast(48_000, positive_phase_s=0.0)
