"""How surely an onset is known: the error of one that is no outlier, and the probability that it is one.

The constants were fitted on 18,000 simulated blasts at nine rates from 8 to 48 kHz, in the open and among the echoes
of streets in equal parts (`benchmarks/accuracy/simulated_blasts.py`); an outlier there is over half a millisecond off.
"""

from __future__ import annotations

import math
from typing import Final

FITTED_SCALE: Final = 0.9
FITTED_TAIL_S: Final = 14.5e-6
FITTED_TAIL_FROM_S: Final = 1e-6
FITTED_MISFIT: Final = 3.0
MOST_MISFIT: Final = 5.0
LEAST_S: Final = 1e-6
RISEN_SCALE: Final = 1.5
RISEN_FLOOR_S: Final = 20e-6

MOST_LOST: Final = 0.5
LOST_DB: Final = 10.4
LOST_WIDTH_DB: Final = 1.55

STREET_OUTLIERS: Final = 0.05  # first arrivals on live fire that are over 3 to 5 ms late
MOST_ECHO: Final = 0.95
QUICK_S: Final = 0.1
QUICK_ECHO: Final = 0.6
ECHO_MEMORY_S: Final = 1.0


def fitted_sigma_s(posterior_s: float, misfit: float) -> float:
    """One standard deviation of the onset of a fitted template, s.

    Parameters
    ----------
    posterior_s : float
        Of the fit: noise, and what is unknown of the blast and of the ground.
    misfit : float
        Mean square that the fit leaves, in units of the noise's.

    Notes
    -----
    Half of the errors are as small as the posterior says, but one in five is that of another explanation (an echo off
    the ground within 0.15 ms, taken for air, or the reverse) and as large as those differ: 15 to 45 us, more where
    much is left unexplained. What is called sigma is 90 % of the errors over 1.645.
    """
    other_s = FITTED_TAIL_S * -math.expm1(-posterior_s / FITTED_TAIL_FROM_S)
    other_s *= 1.0 + FITTED_MISFIT * math.log10(min(max(misfit, 1.0), MOST_MISFIT))
    return max(math.hypot(FITTED_SCALE * posterior_s, other_s), LEAST_S)


def risen_sigma_s(noise_over_slope: float, rate_hz: int) -> float:
    """One standard deviation of an onset that is a first rise, s.

    Parameters
    ----------
    noise_over_slope : float
        Root mean square of the noise over the rise for each sample at the crossing: how far, in samples, the noise
        moves it. SNR and band width are both in it.
    rate_hz : int
    """
    return math.hypot(RISEN_SCALE * noise_over_slope / rate_hz, RISEN_FLOOR_S)


def lost_probability(snr_db: float) -> float:
    """Probability that noise was taken for the onset, by SNR alone."""
    return MOST_LOST / (1.0 + math.exp(min((snr_db - LOST_DB) / LOST_WIDTH_DB, 100.0)))


def echo_by_loudness(drop_db: float) -> float:
    """Probability that an impulse so far below another one of the last second is an echo of it."""
    return MOST_ECHO / (1.0 + math.exp(-max(min(drop_db - 2.5, 40.0), -40.0)))


def echo_probability(drop_db: float, delay_s: float) -> float:
    """The same for one of which nothing but its loudness and its delay is known.

    Live fire: of 3,700 impulses 3 dB or more below another one of the last second 0.3 % were tagged as direct; of
    the equally loud ones a third, but of those within 0.1 s none. Automatic fire follows itself that fast and two
    shooters may differ by that much, so neither is ever quite ruled out.
    """
    echo = echo_by_loudness(drop_db)
    return max(echo, QUICK_ECHO) if delay_s < QUICK_S and drop_db > -6.0 else echo


def outlier_probability(snr_db: float, echo: float = 0.0) -> float:
    """Probability that a time is not the onset of a direct sound.

    Parameters
    ----------
    snr_db : float
        Of the impulse's peak over the noise in the band.
    echo : float
        Probability that it is an echo.

    Notes
    -----
    Noise, echoes and the street's own share of late first arrivals, `STREET_OUTLIERS`, taken as independent.
    """
    return 1.0 - (1.0 - lost_probability(snr_db)) * (1.0 - echo) * (1.0 - STREET_OUTLIERS)
