import numpy as np
import pytest
from scipy import signal

from acoustic.filters import detection_band, high_pass, low_pass

RATES = (8_000, 12_000, 16_000, 44_100, 48_000, 192_000)


@pytest.mark.parametrize("rate_hz", RATES)
def test_sections_are_scipys_butterworth(rate_hz):
    for design, kind, edge_hz in ((high_pass, "highpass", 300.0), (low_pass, "lowpass", 3_000.0)):
        b, a = signal.butter(2, edge_hz, kind, fs=rate_hz)
        np.testing.assert_allclose(design(edge_hz, rate_hz), [*b, *a[1:]], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("rate_hz", RATES)
def test_edges_of_the_band_are_3_db_down(rate_hz):
    high_hz = min(5_000.0, 0.45 * rate_hz)
    sos = np.insert(detection_band(rate_hz), 3, 1.0, axis=1)
    _, response = signal.sosfreqz(sos, worN=[0.0, 300.0, 1_200.0, high_hz], fs=rate_hz)
    level = 20.0 * np.log10(np.abs(response) + 1e-30)
    assert level[0] < -200.0
    np.testing.assert_allclose(level[[1, 3]], -3.01, atol=0.1)
    assert abs(level[2]) < 0.3
