import math

import numpy as np
import pytest

from acoustic.background import BLOCK, background, passing, wavering
from acoustic.sources import level_db

RATE_HZ = 12_000


def night(count=1 << 20, slope=-6.0, seed=1):
    return background(
        RATE_HZ, count, level_db_spl=50.0, slope_db_per_octave=slope, generator=np.random.default_rng(seed)
    )


def octave_db(samples, centre_hz):
    """Power in a band of 10 % around a frequency, dB."""
    spectrum = np.square(np.abs(np.fft.rfft(samples)))
    frequency_hz = np.fft.rfftfreq(len(samples), 1.0 / RATE_HZ)
    band = (frequency_hz > 0.95 * centre_hz) & (frequency_hz < 1.05 * centre_hz)
    return 10.0 * math.log10(float(np.mean(spectrum[band])))


@pytest.mark.parametrize("slope", [0.0, -3.0, -6.0])
def test_the_background_has_its_level_and_its_slope(slope):
    samples = night(slope=slope)
    assert level_db(float(np.std(samples))) == pytest.approx(50.0, abs=0.3)
    for low_hz in (100.0, 400.0, 1_600.0):
        assert octave_db(samples, 2.0 * low_hz) - octave_db(samples, low_hz) == pytest.approx(slope, abs=1.0)


def test_no_seam_shows_where_blocks_meet():
    """The variance at every place of a block, over many blocks, is the same within what chance allows."""
    blocks = 400
    folded = night(count=blocks * BLOCK // 2, slope=0.0).reshape(blocks, BLOCK // 2)
    variance = np.mean(np.square(folded), axis=0).reshape(64, -1).mean(axis=1)
    assert np.max(np.abs(variance / variance.mean() - 1.0)) < 5.0 * math.sqrt(2.0 / (blocks * BLOCK / 128))


def test_the_background_is_gaussian_and_nobody_elses():
    samples = night(slope=0.0)
    assert np.mean(samples**4) / np.mean(samples**2) ** 2 == pytest.approx(3.0, abs=0.05)
    assert abs(np.corrcoef(samples, night(slope=0.0, seed=2))[0, 1]) < 0.01


def test_wavering_is_slow_and_has_its_sigma():
    gain = wavering(100, 1_000_000, sigma_db=2.0, every_s=5.0, generator=np.random.default_rng(3))
    at_knots = 20.0 * np.log10(gain[::500])
    assert np.std(at_knots) == pytest.approx(2.0, rel=0.1)
    assert np.max(np.abs(np.diff(20.0 * np.log10(gain)))) < 10.0 * 2.0 / 500


def test_cars_pass_as_often_as_told_and_leave_quiet_between():
    def passed(per_hour):
        return passing(
            RATE_HZ,
            120 * RATE_HZ,
            per_hour=per_hour,
            level_db_spl=60.0,
            length_s=2.0,
            highest_hz=1_500.0,
            generator=np.random.default_rng(4),
        )

    assert not passed(0.0).any()
    seconds = np.sqrt(np.mean(np.square(passed(60.0)).reshape(120, -1), axis=1))
    assert level_db(float(seconds.max())) == pytest.approx(60.0, abs=9.0)
    assert (seconds == 0.0).any()
