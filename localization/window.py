"""The window: the picks of the last seconds, laid out for the kernels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import seconds_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.detection import Detection
    from acoustic.pick import Pick
    from localization.street import Street

USUAL_SNR_DB: Final = 10.0  # of picks that are nothing
SNR_DECADE_DB: Final = 20.0  # a pick this much stronger is ten times rarer
MOST_RARITY: Final = 4.6  # 50 dB above noise
RATE_WINDOW_S: Final = 30.0  # over which a sensor's rate of picks is taken
USUAL_DIRECT_LOG_ODDS: Final = -1.7  # one pick in six or so is a direct sound, where shots are fired
MOST_DIRECTNESS: Final = 3.0
MOST_SMALL: Final = 0.55  # share of weak picks that are of something small nearby
SMALL_DB: Final = 17.9
SMALL_WIDTH_DB: Final = 0.7
CLOSEST_S: Final = 0.04  # 1,500 rounds a minute
ECHOES_PER_S: Final = 5.0  # behind a bang, at first
ECHO_FADE_S: Final = 0.3  # over which they thin out
ECHO_LEVEL_DB: Final = (-8.0, 8.0)  # mean and sigma of an echo's level beside that of its sound


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Picks, sensor by sensor and in time order, as arrays of the same length.

    `first[s]` to `first[s + 1]` are those of sensor s; `times` count in seconds from `zero_ns`. `gains` is minus the
    logarithm of how often a pick like this comes by chance, per second. `levels` in dB are of any one reference a
    sensor, `pressures` in dB SPL or NaN, `censored` where the true one is higher. `free` are the picks that no bang has
    claimed. For each sensor, `listening` says whether it is known to have listened, `floors` its noise, dB SPL or NaN.
    """

    zero_ns: int
    detections: tuple[Detection, ...]
    first: NDArray[np.int64]
    owner: NDArray[np.int64]
    times: NDArray[np.float64]
    gains: NDArray[np.float64]
    outlier: NDArray[np.float64]
    levels: NDArray[np.float64]
    pressures: NDArray[np.float64]
    censored: NDArray[np.bool_]
    free: NDArray[np.bool_]
    listening: NDArray[np.bool_]
    floors: NDArray[np.float64]


def lay_out(
    by_sensor: Sequence[Sequence[Detection]],
    rates: Sequence[float],
    zero_ns: int,
    street: Street,
    listening: NDArray[np.bool_],
    floors: NDArray[np.float64],
) -> Window:
    """Lay out picks for the kernels.

    Parameters
    ----------
    by_sensor : sequence of sequences of Detection
        For each sensor of the network its picks, in time order.
    rates : sequence of float
        How many picks a second each sensor reports, 1/s.
    zero_ns : int
        The zero of the times.
    street : Street
        For the share of arrivals that are not direct.
    listening, floors : (S,) bool, float64
        As in `Window`.
    """
    detections = tuple(detection for picks in by_sensor for detection in picks)
    counts = np.array([len(picks) for picks in by_sensor], dtype=np.int64)
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    owner = np.repeat(np.arange(len(by_sensor), dtype=np.int64), counts)
    times = np.array([seconds_between(zero_ns, d.pick.onset_ns) for d in detections], dtype=np.float64)
    levels = np.array([_level(d) for d in detections], dtype=np.float64)
    chance = np.asarray(rates, dtype=np.float64)[owner] * np.exp(
        -np.array([_rarity(d) for d in detections], dtype=np.float64)
    )
    return Window(
        zero_ns=zero_ns,
        detections=detections,
        first=first,
        owner=owner,
        times=times,
        gains=-np.log(chance + _echo_rates(times, levels, first)),
        outlier=np.full(len(detections), street.p_indirect),
        levels=levels,
        pressures=np.array([_known(d.pick.level_db_spl) for d in detections], dtype=np.float64),
        censored=np.array([d.pick.censored for d in detections], dtype=np.bool_),
        free=np.ones(len(detections), dtype=np.bool_),
        listening=listening,
        floors=floors,
    )


def expect_echoes(window: Window, arrivals: NDArray[np.float64]) -> None:
    """Take the picks that stand too close to a bang, and make those behind it less telling.

    ``arrivals`` (S,) is when each sensor heard it. What follows within `CLOSEST_S` is the same round, split in two.
    """
    delay = window.times - arrivals[window.owner]
    window.free[(delay > -CLOSEST_S / 2) & (delay < CLOSEST_S)] = False
    behind = (delay > 0.0) & (delay < 5.0 * ECHO_FADE_S)
    window.gains[behind] = -np.log(np.exp(-window.gains[behind]) + ECHOES_PER_S * np.exp(-delay[behind] / ECHO_FADE_S))


def _level(detection: Detection) -> float:
    pick = detection.pick
    return _known(pick.level_db_spl if pick.level_db_spl is not None else pick.snr_db)


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _rarity(detection: Detection) -> float:
    """How much rarer than the usual pick by chance this one is, in nats: for its strength, and for not being noise."""
    snr_db = detection.pick.snr_db
    strength = 0.0 if snr_db is None else (snr_db - USUAL_SNR_DB) / SNR_DECADE_DB * math.log(10.0)
    bang = 1.0 - detection.probabilities[3] - detection.probabilities[4]
    return max(-0.5, min(MOST_RARITY, strength)) + math.log(max(bang, 0.05) / 0.75) + _directness(detection.pick)


def _directness(pick: Pick) -> float:
    """What the sensor itself says of the pick being no echo: how far its odds lie from those of any pick, in nats.

    A probability of nought is taken for a sensor that does not say. That a weak pick is no echo says little for its
    being a bang: most of those are something small nearby, which no other sensor hears.
    """
    if pick.p_outlier <= 0.0:
        return 0.0
    small = 0.0 if pick.snr_db is None else MOST_SMALL / (1.0 + math.exp((pick.snr_db - SMALL_DB) / SMALL_WIDTH_DB))
    p_outlier = 1.0 - (1.0 - pick.p_outlier) * (1.0 - small)
    odds = math.log((1.0 - p_outlier) / p_outlier) if p_outlier < 1.0 else -math.inf
    return max(-MOST_DIRECTNESS, min(MOST_DIRECTNESS, odds - USUAL_DIRECT_LOG_ODDS))


def _echo_rates(
    times: NDArray[np.float64], levels: NDArray[np.float64], first: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How often echoes of the sensor's earlier picks come by chance at each pick, 1/s.

    An echo is mostly weaker than its sound: a pick well above everything before it is none.
    """
    result = np.zeros(len(times))
    mean, sigma = ECHO_LEVEL_DB
    for low, high in itertools.pairwise(first):
        for i in range(low + 1, high):
            start = low + int(np.searchsorted(times[low:i], times[i] - 5.0 * ECHO_FADE_S))
            step = levels[i] - levels[start:i]
            above = np.where(np.isnan(step), 0.0, np.maximum(step - mean, 0.0) / sigma)
            fade = np.exp(-(times[i] - times[start:i]) / ECHO_FADE_S - 0.5 * above**2)
            result[i] = ECHOES_PER_S * float(np.max(fade, initial=0.0))
    return result
