"""The window: the picks that nothing has explained yet, laid out for the kernels."""

from __future__ import annotations

import bisect
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import SECOND
from localization.association_kernels import echo_rates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from acoustic.detection import Detection
    from acoustic.pick import Pick

USUAL_SNR_DB: Final = 10.0  # of picks that are nothing
SNR_DECADE_DB: Final = 20.0  # a pick this much stronger is ten times rarer
MOST_RARITY: Final = 4.6  # 50 dB above noise
RATE_WINDOW_S: Final = 30.0  # over which a sensor's rate of picks is taken
FIRST_RATE_PER_S: Final = 0.2  # picks of a sensor, until it has shown its own rate
FIRST_RATE_S: Final = 10.0  # how long a time this is worth
USUAL_DIRECT_LOG_ODDS: Final = -1.7  # one pick in six or so is a direct sound, where shots are fired
BOAST_FADE_S: Final = 120.0  # over which picks that came to nothing are forgotten
BOAST_FIRST: Final = 12.0  # picks as rare as they say, to begin with
MOST_DIRECTNESS: Final = 3.0
MOST_SMALL: Final = 0.55  # share of weak picks that are of something small nearby
SMALL_DB: Final = 17.9
SMALL_WIDTH_DB: Final = 0.7
ECHO_LEVEL_DB: Final = (-8.0, 8.0)  # mean and sigma of an echo's level beside that of its sound
LONG_AGO_S: Final = 1e3

# What the kernels need of each pick: onset (ns), sensor, sigma (s), rarity (nat), level, pressure (dB), censored.
ROW: Final = np.dtype(
    [
        ("onset_ns", "i8"), ("sensor", "i8"), ("sigma", "f8"), ("rarity", "f8"), ("level", "f8"), ("pressure", "f8"),
        ("censored", "?"),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Picks, sensor by sensor and in time order, as arrays of the same length.

    `first[s]` to `first[s + 1]` are those of sensor s; `times` count in seconds from `zero_ns`. `gains` is minus the
    logarithm of how often a pick like this comes by chance, per second; `rates` how often its sensor reports any.
    `sigma` is the pick's own and what its clock said of itself, s; `levels` in dB are of any one reference a sensor,
    `pressures` in dB SPL or NaN, `censored` where the true one is higher. `free` are the picks that no bang has
    claimed; `delays` how long each came behind the one before it at its sensor, s. For each sensor, `listening` says
    whether it is known to have listened, `floors` its noise, dB SPL or NaN.
    """

    zero_ns: int
    first: NDArray[np.int64]
    owner: NDArray[np.int64]
    times: NDArray[np.float64]
    sigma: NDArray[np.float64]
    gains: NDArray[np.float64]
    rates: NDArray[np.float64]
    outlier: NDArray[np.float64]
    levels: NDArray[np.float64]
    pressures: NDArray[np.float64]
    censored: NDArray[np.bool_]
    free: NDArray[np.bool_]
    delays: NDArray[np.float64]
    listening: NDArray[np.bool_]
    floors: NDArray[np.float64]


class Inbox:
    """Picks that wait for their time, those whose time has come, and how many of each sensor came lately.

    Nothing is older than what was taken out last time, or than `RATE_WINDOW_S`.
    """

    def __init__(self) -> None:
        self.detections: list[Detection] = []
        """Those whose time has come, in the order of `rows`: by sensor, then by onset."""
        self.rows = np.empty(0, ROW)
        self._waiting: list[Detection] = []
        self._lately: deque[tuple[int, str]] = deque()
        self._counts = np.zeros(0)
        self._began_ns: int | None = None
        self._idle: dict[str, tuple[int, float, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self.detections) + len(self._lately)

    def receive(self, detection: Detection) -> None:
        """Put a pick where it belongs, whenever it came."""
        bisect.insort(self._waiting, detection, key=_order)

    def first_ns(self) -> int | None:
        """Onset of the earliest pick."""
        onsets = [int(self.rows["onset_ns"].min())] if len(self.rows) else []
        onsets += [self._waiting[0].pick.onset_ns] if self._waiting else []
        return min(onsets, default=None)

    def last_ns(self) -> int | None:
        """Onset of the latest pick."""
        onsets = [int(self.rows["onset_ns"].max())] if len(self.rows) else []
        onsets += [self._waiting[-1].pick.onset_ns] if self._waiting else []
        return max(onsets, default=None)

    def take(self, before_ns: int, index: Mapping[str, int]) -> None:
        """Let the time of all picks before an instant come; ``index`` has the row of each sensor."""
        count = bisect.bisect_left(self._waiting, before_ns, key=lambda d: d.pick.onset_ns)
        if not count:
            return
        fresh = self._waiting[:count]
        del self._waiting[:count]
        self._began_ns = fresh[0].pick.onset_ns if self._began_ns is None else self._began_ns
        for detection in fresh:
            self._lately.append((detection.pick.onset_ns, detection.sensor_id))
            self._counts[index[detection.sensor_id]] += 1.0
        rows = np.concatenate([self.rows, np.array([_row(d, index[d.sensor_id]) for d in fresh], dtype=ROW)])
        order = np.lexsort((rows["onset_ns"], rows["sensor"]))
        detections = self.detections + fresh
        self.rows, self.detections = rows[order], [detections[k] for k in order]

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Forget the picks whose time had come, but for the ``kept`` (P,)."""
        self.rows = self.rows[kept]
        self.detections = [self.detections[k] for k in np.flatnonzero(kept)]

    def renumber(self, index: Mapping[str, int]) -> int:
        """Take over other rows of the sensors; returns how many picks were of sensors that are gone."""
        known = np.array([d.sensor_id in index for d in self.detections], dtype=np.bool_)
        waiting = [d for d in self._waiting if d.sensor_id in index]
        gone = int(np.sum(~known)) + len(self._waiting) - len(waiting)
        self._waiting = waiting
        self._lately = deque((onset_ns, name) for onset_ns, name in self._lately if name in index)
        self._counts = np.zeros(len(index))
        for _, name in self._lately:
            self._counts[index[name]] += 1.0
        self.keep(known)
        self.rows["sensor"] = [index[d.sensor_id] for d in self.detections]
        order = np.lexsort((self.rows["onset_ns"], self.rows["sensor"]))
        self.rows, self.detections = self.rows[order], [self.detections[k] for k in order]
        return gone

    def came_to_nothing(self, k: int) -> None:
        """Note that the pick in row k was of no bang: as rare as it said it was, or one of many that say so."""
        detection, rarity = self.detections[k], float(self.rows["rarity"][k])
        onset_ns = detection.pick.onset_ns
        count, total = self._faded(detection.sensor_id, onset_ns)
        self._idle[detection.sensor_id] = onset_ns, count + 1.0, total + math.exp(rarity)

    def _faded(self, sensor_id: str, now_ns: int) -> tuple[float, float]:
        since_ns, count, total = self._idle.get(sensor_id, (now_ns, 0.0, 0.0))
        fade = math.exp(-max(now_ns - since_ns, 0) / SECOND / BOAST_FADE_S)
        return fade * count, fade * total

    def boasts(self, now_ns: int, index: Mapping[str, int]) -> NDArray[np.float64]:
        """How many times more often than their rarity says picks of a sensor came to nothing lately, (S,), 1 or more.

        Rarity is what a pick says of itself. One that says so at every slamming door says nothing.
        """
        result = np.ones(len(index))
        for sensor_id in self._idle:
            if sensor_id in index:
                count, total = self._faded(sensor_id, now_ns)
                result[index[sensor_id]] = max(1.0, (BOAST_FIRST + total) / (BOAST_FIRST + count))
        return result

    def rates(self, now_ns: int, index: Mapping[str, int]) -> NDArray[np.float64]:
        """How many picks a second each sensor reported lately, 1/s, (S,)."""
        since_ns = now_ns - round(RATE_WINDOW_S * SECOND)
        while self._lately and self._lately[0][0] < since_ns:
            self._counts[index[self._lately.popleft()[1]]] -= 1.0
        began_ns = now_ns if self._began_ns is None else self._began_ns
        heard_s = min(RATE_WINDOW_S, (now_ns - began_ns) / SECOND)
        return np.asarray((self._counts + FIRST_RATE_S * FIRST_RATE_PER_S) / (heard_s + FIRST_RATE_S))


def lay_out(
    rows: NDArray[np.void],
    rates: NDArray[np.float64],
    zero_ns: int,
    p_indirect: float,
    echoes: tuple[float, float],
    listening: NDArray[np.bool_],
    floors: NDArray[np.float64],
    times: NDArray[np.float64] | None = None,
    boasts: NDArray[np.float64] | None = None,
) -> Window:
    """Lay out picks for the kernels.

    Parameters
    ----------
    rows : (P,) of `ROW`
        Ordered by sensor, then by onset.
    rates : (S,) float64
        How many picks a second each sensor reports, 1/s.
    zero_ns : int
        The zero of the times.
    p_indirect : float
        Share of arrivals that are not direct.
    echoes : tuple of float
        How many echoes a second a pick has right behind it, and over how many seconds they thin out.
    listening, floors : (S,) bool, float64
        As in `Window`.
    times : (P,) float64 or None
        The times where somebody has them in seconds already.
    boasts : (S,) float64 or None
        As `Inbox.boasts` tells them; None for none.
    """
    owner = np.ascontiguousarray(rows["sensor"])
    first = np.searchsorted(owner, np.arange(len(rates) + 1)).astype(np.int64)
    times = (rows["onset_ns"] - zero_ns) / SECOND if times is None else np.ascontiguousarray(times)
    levels = np.ascontiguousarray(rows["level"])
    delays = np.diff(times, prepend=-LONG_AGO_S)
    delays[np.diff(owner, prepend=-1) != 0] = LONG_AGO_S
    behind = np.empty(len(rows))
    echo_rates(times, levels, first, *echoes, *ECHO_LEVEL_DB, behind)
    usual = rates[owner]
    chance = usual if boasts is None else usual * boasts[owner]
    return Window(
        zero_ns=zero_ns,
        first=first,
        owner=owner,
        times=times,
        sigma=np.ascontiguousarray(rows["sigma"]),
        gains=-np.log(chance * np.exp(-rows["rarity"]) + behind),
        rates=usual,
        outlier=np.full(len(rows), p_indirect),
        levels=levels,
        pressures=np.ascontiguousarray(rows["pressure"]),
        censored=np.ascontiguousarray(rows["censored"]),
        free=np.ones(len(rows), dtype=np.bool_),
        delays=delays,
        listening=listening,
        floors=floors,
    )


def _order(detection: Detection) -> tuple[int, str, str]:
    return detection.pick.onset_ns, detection.sensor_id, detection.pulse_id


def _row(detection: Detection, sensor: int) -> tuple[int, int, float, float, float, float, bool]:
    pick = detection.pick
    pressure = _known(pick.level_db_spl)
    level = _known(pick.snr_db) if pick.level_db_spl is None else pressure
    # The kernels add what the table says of the sensor's clock; one that says worse of itself is given more room.
    sigma_s = math.hypot(pick.sigma_s, pick.clock_sigma_s or 0.0)
    return pick.onset_ns, sensor, sigma_s, _rarity(detection), level, pressure, pick.censored


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
