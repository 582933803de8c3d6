"""Families: impulses at one microphone that look alike, because they came from one place by one way."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.correlation import delay

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEFORE_S: Final = 0.001
AFTER_S: Final = 0.006
REACH_S: Final = 0.0015
"""A snippet of an impulse is what lies so far before and after its onset; its like is looked for so far either way."""
NOISE_S: Final = 0.02
LEAST_SIGNAL: Final = 0.3  # of a snippet's power that the noise before it may leave
ALIKE: Final = 0.7  # correlation of two rounds at one microphone, less what noise takes; .9 in the open
HIDDEN: Final = 0.85
DEAD_S: Final = 0.011
AFTER_DEAD_S: Final = 0.0005
"""The gate takes no notice for 12 ms after an echo: a round that falls in between is looked for by its likeness."""
ALIKE_DB: Final = 5.0
DB_OF_LIKENESS: Final = 0.03
LEVEL_ROUNDS: Final = 8
PUNCTUAL: Final = 0.15
TRUST: Final = 0.1  # what may belong to two families belongs to the one that is a weapon
AUTOMATIC_ROUNDS: Final = 4
AUTOMATIC_S: Final = (0.045, 0.14)
REGULAR: Final = 0.15  # how far an interval of automatic fire may be from the median, of it
CADENCE_ROUNDS: Final = 12
MOST_TIMES: Final = 64
TRUSTED: Final = 3.0  # standard deviations that an onset may be moved
SHARED: Final = 0.7  # of an onset's sigma that rounds of one burst have in common: same waveform, same mistake


@dataclass(frozen=True, slots=True)
class Cadence:
    """How fast a weapon fires, rounds a minute, and one standard deviation of it."""

    rounds_per_minute: float
    sigma: float


class Snippet:
    """An impulse and its surroundings, and the power of what came before it."""

    def __init__(self, filtered: NDArray[np.float32], index: float, rate_hz: int) -> None:
        self.before, self.reach = round(BEFORE_S * rate_hz), round(REACH_S * rate_hz)
        self.length = self.before + round(AFTER_S * rate_hz)
        self.dead, self.after_dead = round(DEAD_S * rate_hz), round(AFTER_DEAD_S * rate_hz)
        whole = math.floor(index)
        self.part = index - whole
        begin = whole - self.before - self.reach
        wanted = np.zeros(self.length + 2 * self.reach)
        inside = filtered[max(begin, 0) : max(begin + wanted.size, 0)].astype(np.float64)
        wanted[max(-begin, 0) : max(-begin, 0) + inside.size] = inside
        self.heard = wanted
        quiet = filtered[max(begin - round(NOISE_S * rate_hz), 0) : max(begin, 0)].astype(np.float64)
        self.power = float(np.mean(np.square(self.body)))
        self.noise = float(np.mean(np.square(quiet))) if quiet.size else 0.0
        self.peak = float(np.max(np.abs(self.body)))

    def signal(self, noise: float) -> float:
        """Which share of its power is not this noise."""
        return max(1.0 - noise / self.power, LEAST_SIGNAL) if self.power > 0.0 else 1.0

    @property
    def body(self) -> NDArray[np.float64]:
        """The impulse, its onset ``before + part`` samples after the first."""
        return self.heard[self.reach : self.reach + self.length]


@dataclass(frozen=True, slots=True)
class Match:
    """How an impulse lies to the first of its family: ``late`` is how far its onset is behind that one's, samples."""

    late: float
    sigma: float
    score: float
    level_db: float
    weaker: bool = False  # alike, but too weak for another round


class Family:
    """Impulses that look alike."""

    def __init__(self, snippet: Snippet, onset: float, sigma: float, *, trusted: bool) -> None:
        self.first = snippet
        self.begun = onset
        self.times = [onset]
        self.count = 1
        self.echo = False
        self.trusted = trusted  # its first was no echo by loudness alone
        self.score = 1.0
        self.level_db = 0.0
        self.echoes: deque[float] = deque(maxlen=MOST_TIMES)  # delays of what followed and looked otherwise
        self.behind: dict[int, deque[float]] = {}  # delays behind the rounds of other families
        self.agreed = 0  # rounds whose own onsets confirmed the anchor
        self.anchor = 0.0  # by how much the onsets of this family are thought to be late of the first one's
        self.variance = sigma**2

    def match(self, snippet: Snippet, onset: float, noise: float) -> Match | None:
        """How it lies to this family; None where it does not look like it."""
        found = delay(snippet.heard, self.first.body, -snippet.reach)
        own, other = self.first.signal(noise), snippet.signal(noise)
        likeness = min(found.likeness / math.sqrt(own * other), 1.0)
        level_db = 20.0 * math.log10(max(found.gain / own, 1e-9))
        off_db = abs(level_db - self.level_db)
        punctual = self._punctual(onset)
        if likeness + punctual < ALIKE or level_db - self.level_db > ALIKE_DB:
            return None
        # The snippets are cut at whole samples: their onsets differ by their parts.
        late = snippet.part - self.first.part - found.samples
        score = likeness - DB_OF_LIKENESS * off_db + punctual + (TRUST if self.trusted else 0.0)
        weaker = level_db < self.level_db - ALIKE_DB * (1.0 + max(punctual, 0.0))
        return Match(late, found.sigma, -1.0 if weaker else score, level_db, weaker)

    def found_in(
        self, filtered: NDArray[np.float32], start: int, index: float, noise: float
    ) -> tuple[float, Match] | None:
        """The onset of a round that is due, within 11 ms behind another impulse; None where there is none."""
        begin = math.floor(index) + self.first.after_dead
        heard = filtered[begin : begin + self.first.dead + self.first.length].astype(np.float64)
        if heard.size < self.first.dead + self.first.length or begin < 0:
            return None
        found = delay(heard, self.first.body, 0)
        own = self.first.signal(noise)
        level_db = 20.0 * math.log10(max(found.gain / own, 1e-9))
        # The first's onset lies before + part behind its snippet's start, and family onsets are late by the anchor.
        onset = start + begin + found.samples + self.first.before + self.first.part + self.anchor
        if found.likeness / own + self._punctual(onset) < HIDDEN or abs(level_db - self.level_db) > ALIKE_DB:
            return None
        return onset, Match(self.anchor, found.sigma, found.likeness, level_db)

    def _punctual(self, onset: float) -> float:
        """What automatic fire adds to the likeness of what comes in time, and takes from what does not."""
        gaps = np.diff(self.times[-CADENCE_ROUNDS:])
        if gaps.size < AUTOMATIC_ROUNDS - 1:
            return 0.0
        middle = float(np.median(gaps))
        if np.median(np.abs(gaps - middle)) > REGULAR * middle:
            return 0.0
        rounds = (onset - self.times[-1]) / middle
        off = abs(rounds - max(round(rounds), 1.0))
        return PUNCTUAL * (1.0 - 2.0 * min(off / REGULAR, 1.0))

    def refined(self, onset: float, sigma: float, match: Match) -> tuple[float, float]:
        """The onset in the light of the rounds before, and its standard deviation, samples.

        A Kalman filter of one state, the place of the onset in the waveform that all rounds share. Nothing is moved
        where the round and its family disagree by more than their errors: then one of the two is on another arrival.
        """
        spread = self.variance + sigma**2 + match.sigma**2
        off = match.late - self.anchor
        if off * off > TRUSTED**2 * spread:
            return onset, sigma
        self.agreed += 1
        weight = self.variance / spread
        self.anchor += weight * off
        self.variance *= 1.0 - weight
        better = math.sqrt(self.variance + match.sigma**2)
        return onset - (1.0 - weight) * off, min(max(better, SHARED * sigma), sigma)

    def join(self, onset: float, match: Match) -> None:
        """Count it among the rounds."""
        self.times.append(onset)
        del self.times[:-MOST_TIMES]
        self.count += 1
        self.score = match.score
        self.level_db += (match.level_db - self.level_db) / min(self.count, LEVEL_ROUNDS)

    def cadence(self, rate_hz: int) -> Cadence | None:
        """Rounds a minute over the last ones; the median interval, so that a round that was missed does no harm."""
        gaps = np.diff(self.times[-CADENCE_ROUNDS:]) / rate_hz
        if gaps.size < 2:
            return None
        middle = float(np.median(gaps))
        spread = 1.4826 * float(np.median(np.abs(gaps - middle)))
        return Cadence(60.0 / middle, 60.0 / middle**2 * 1.2533 * spread / math.sqrt(gaps.size))

    def automatic(self, rate_hz: int) -> bool:
        """Whether the last rounds came as regularly as only a machine fires; one round may have been missed."""
        gaps = np.diff(self.times[-AUTOMATIC_ROUNDS:]) / rate_hz
        if gaps.size < AUTOMATIC_ROUNDS - 1:
            return False
        middle = float(np.median(gaps))
        steps = np.maximum(np.round(gaps / middle), 1.0)
        regular = np.abs(gaps - steps * middle) <= REGULAR * middle
        return AUTOMATIC_S[0] <= middle <= AUTOMATIC_S[1] and bool(np.all(regular & (steps <= 2.0)))
