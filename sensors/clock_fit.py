"""A line through sample counts against the system clock: a crystal's offset and rate, from stamps that come late."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

FIRST_RATE: Final = 60e-6  # crystals are sold as good to 20 to 100 parts per million
KNOWN_RATE: Final = 3e-6  # of a crystal whose rate was found before
FIRST_NOISE_S: Final = 1e-4
LEAST_NOISE_S: Final = 5e-6
OFFSET_WALK_S: Final = 2e-6  # in a second: what the system clock's own discipline does
RATE_WALK: Final = 2e-8  # in a second: warmth
NOISE_MEMORY: Final = 32.0  # seconds
LATE_SHARE: Final = 2.0  # what the least late stamp is late by, over its scatter: 1 (exponential) to 1.7 (uniform)
SURPRISES: Final = 20.0  # sum of three squared surprises, in sigmas: by chance once in 5,000 seconds
TURN: Final = 100e-6  # what the rate may have changed by when it surprises so
SLOPES: Final = (6, 8, 10, 12, 20, 40, 80)  # seconds over which a slope is told


@dataclass(frozen=True, slots=True)
class Slope:
    """How fast the system clock runs beside the samples' nominal rate, less one; over ``span_s`` seconds."""

    rate: float
    sigma: float
    span_s: float


class ClockFit:
    """Offset and rate, filtered from one point a second.

    A callback is late, never early, by what the scheduler does; the least late one of a second says when its samples
    were taken, and the mean would move with the load. Through these points goes a Kalman filter of two states: a window
    of fixed length would either follow a slew too late or find the rate too badly, and a filter knows its own sigma
    from the first second on. Its noise is learnt from second differences, which neither offset nor rate can move.

    Seconds throughout; ``x`` is the nominal time of a sample, its number over the nominal rate, and a deviation is the
    system clock less that. ``rate`` is what is known of the crystal, ``noise_s`` what is expected of the points.
    """

    def __init__(self, x: float, deviation_s: float, rate: float | None = None, noise_s: float = FIRST_NOISE_S) -> None:
        self.x, self.offset_s, self.rate = x, deviation_s, rate or 0.0
        self._oo, self._or, self._rr = (
            (LATE_SHARE * noise_s) ** 2,
            0.0,
            (FIRST_RATE if rate is None else KNOWN_RATE) ** 2,
        )
        self.noise_s = noise_s
        self._differences = 0
        self._points: deque[tuple[float, float]] = deque(maxlen=max(SLOPES))
        self._surprises: deque[float] = deque(maxlen=3)

    @property
    def sigma_s(self) -> float:
        """Of the offset: the filter's, and what even the least late stamps must be late by, from their scatter."""
        return math.sqrt(self._oo + (LATE_SHARE * self.noise_s) ** 2)

    def at(self, x: float) -> float:
        """The deviation of a sample, s."""
        return self.offset_s + self.rate * (x - self.x)

    def update(self, x: float, deviation_s: float) -> None:
        """Take the least late point of a second."""
        self._predict(x)
        self._points.append((x, deviation_s))
        self._learn_noise()
        surprise, variance = deviation_s - self.offset_s, self._oo + self.noise_s**2
        self._surprises.append(surprise**2 / variance)
        if sum(self._surprises) > SURPRISES:
            self._rr = max(self._rr, TURN**2)  # a slew begins or ends: the rate of before says little
            self._surprises.clear()
        gain_o, gain_r = self._oo / variance, self._or / variance
        self.offset_s += gain_o * surprise
        self.rate += gain_r * surprise
        self._rr -= gain_r * self._or
        self._or *= 1.0 - gain_o
        self._oo *= 1.0 - gain_o

    def _predict(self, x: float) -> None:
        passed = x - self.x
        self.offset_s, self.x = self.at(x), x
        self._oo += 2.0 * passed * self._or + passed**2 * self._rr + OFFSET_WALK_S**2 * abs(passed)
        self._or += passed * self._rr
        self._rr += RATE_WALK**2 * abs(passed)

    def _learn_noise(self) -> None:
        if len(self._points) < 3:
            return
        (x0, y0), (x1, y1), (x2, y2) = list(self._points)[-3:]
        left, right = x1 - x0, x2 - x1
        if left <= 0.0 or right <= 0.0:
            return
        share = left / (left + right)
        bend = y1 - (1.0 - share) * y0 - share * y2
        seen = bend**2 / (1.0 + share**2 + (1.0 - share) ** 2)
        self._differences += 1
        weight = 1.0 / min(self._differences + 1.0, NOISE_MEMORY)
        clipped = min(seen, 36.0 * self.noise_s**2)
        self.noise_s = max(math.sqrt((1.0 - weight) * self.noise_s**2 + weight * clipped), LEAST_NOISE_S)

    def forget_slope(self) -> None:
        """What was before says nothing of the slope from now on."""
        self._points.clear()

    def slopes(self) -> tuple[Slope, ...]:
        """The slope over the last seconds, several lengths of them, by least squares; those there are points for."""
        found = []
        points = np.array(self._points)
        for count in SLOPES:
            if len(points) < count:
                break
            x, y = points[-count:].T
            away = x - x.mean()
            power = float(away @ away)
            found.append(Slope(float(away @ y) / power, self.noise_s / math.sqrt(power), float(x[-1] - x[0])))
        return tuple(found)
