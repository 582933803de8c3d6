"""The window: the picks of the last seconds, laid out for the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import seconds_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.detection import Detection
    from localization.street import Street

USUAL_SNR_DB: Final = 10.0  # of picks that are nothing
SNR_DECADE_DB: Final = 20.0  # a pick this much stronger is ten times rarer
RATE_WINDOW_S: Final = 30.0  # over which a sensor's rate of picks is taken
SHADOW_S: Final = 0.15  # a pick this soon after a comparable one is often its echo
SHADOW_NAT: Final = 0.7
CLOSEST_S: Final = 0.04  # 1,500 rounds a minute
ECHOES_PER_S: Final = 5.0
ECHO_FADE_S: Final = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Picks, sensor by sensor and in time order, as arrays of the same length.

    `first[s]` to `first[s + 1]` are those of sensor s; `times` count in seconds from `zero_ns`. `gains` is minus the
    logarithm of how often a pick like this comes by chance, per second. `levels` in dB are of any one reference a
    sensor. `free` are the picks that no bang has claimed.
    """

    zero_ns: int
    detections: tuple[Detection, ...]
    first: NDArray[np.int64]
    owner: NDArray[np.int64]
    times: NDArray[np.float64]
    gains: NDArray[np.float64]
    outlier: NDArray[np.float64]
    levels: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    free: NDArray[np.bool_]


def lay_out(
    by_sensor: Sequence[Sequence[Detection]], rates: Sequence[float], zero_ns: int, street: Street
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
    """
    detections = tuple(detection for picks in by_sensor for detection in picks)
    counts = np.array([len(picks) for picks in by_sensor], dtype=np.int64)
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    owner = np.repeat(np.arange(len(by_sensor), dtype=np.int64), counts)
    times = np.array([seconds_between(zero_ns, d.pick.onset_ns) for d in detections], dtype=np.float64)
    levels = np.array([_level(d) for d in detections], dtype=np.float64)
    gains = np.array([_gain(d) for d in detections], dtype=np.float64)
    if len(detections):
        gains -= np.log(np.asarray(rates, dtype=np.float64))[owner]
    return Window(
        zero_ns=zero_ns,
        detections=detections,
        first=first,
        owner=owner,
        times=times,
        gains=gains - SHADOW_NAT * _shadowed(times, levels, first),
        outlier=np.array(
            [min(0.99, 1.0 - (1.0 - d.pick.p_outlier) * (1.0 - street.p_indirect)) for d in detections], dtype=np.float64
        ),
        levels=levels,
        sigmas=np.array([d.pick.sigma_s for d in detections], dtype=np.float64),
        free=np.ones(len(detections), dtype=np.bool_),
    )


def expect_echoes(window: Window, arrivals: NDArray[np.float64]) -> None:
    """Make picks behind a bang less telling, and take those too close to it; ``arrivals`` (S,) is when each sensor heard it.

    Echoes come at some five a second and thin out within a second; a chance pick among them says so much less. What
    follows within `CLOSEST_S` is the same round, split in two.
    """
    delay = window.times - arrivals[window.owner]
    window.free[(delay > -CLOSEST_S / 2) & (delay < CLOSEST_S)] = False
    behind = (delay > 0.0) & (delay < 5.0 * ECHO_FADE_S)
    window.gains[behind] = -np.log(np.exp(-window.gains[behind]) + ECHOES_PER_S * np.exp(-delay[behind] / ECHO_FADE_S))


def _level(detection: Detection) -> float:
    pick = detection.pick
    level = pick.level_db_spl if pick.level_db_spl is not None else pick.snr_db
    return math.nan if level is None else level


def _gain(detection: Detection) -> float:
    """How much rarer than the usual pick by chance this one is, in nats: for its strength, and for not being noise."""
    snr_db = detection.pick.snr_db
    strength = 0.0 if snr_db is None else (snr_db - USUAL_SNR_DB) / SNR_DECADE_DB * math.log(10.0)
    bang = 1.0 - detection.probabilities[3] - detection.probabilities[4]
    return max(-0.5, min(2.3, strength)) + math.log(max(bang, 0.05) / 0.75)


def _shadowed(times: NDArray[np.float64], levels: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 for each pick that follows a comparable one of its sensor within `SHADOW_S`, else 0."""
    result = np.zeros(len(times))
    for low, high in zip(first[:-1], first[1:], strict=True):
        for i in range(low + 1, high):
            earlier = i - 1
            while earlier >= low and times[i] - times[earlier] < SHADOW_S:
                if not levels[earlier] < levels[i] - 6.0:  # unknown levels compare as comparable
                    result[i] = 1.0
                    break
                earlier -= 1
    return result
