"""Trust: what is believed of the system clock between two words of its time source, and after it was caught out."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from acoustic.block import LARGEST_SIGMA_S

if TYPE_CHECKING:
    from sensors.clock_reading import Reading

FREE_SIGMA_S: Final = 1.0  # of a clock that nobody disciplines
STALE_S: Final = 30.0  # a time source that said nothing for so long is lost
NOTICED_S: Final = 10.0  # how long a clock may have run away before it is caught
PROOF_S: Final = 15.0  # after a jump; chronyd's word may be as old as its last update, and it asks every 16 s at first
LONG_PROOF_S: Final = (
    600.0  # where the source did not notice at all: one that says it is locked all along knows nothing
)
NOTICED: Final = 0.5  # of a jump, when the source announces as much
ANNOUNCED_S: Final = 30.0  # for how long an announced correction explains what the clock does


class Trust:
    """State and sigma of the system clock. Time passes by seconds of samples, which no clock can falsify.

    A word is believed until the next one, and grows less sure by the drift it states. When the source is lost, or says
    that it has lost its own, the clock coasts: `holdover`. When the clock was caught jumping, its word is as wrong as
    the jump was large, until the source has noticed and says again that it is locked, after `PROOF_S`. A source that
    was locked all along has noticed nothing; and of a clock that runs away beside the samples nobody knows whether it
    is the samples that do: then the doubt lasts for `LONG_PROOF_S`.
    """

    def __init__(self, free_sigma_s: float = FREE_SIGMA_S) -> None:
        self._free_sigma_s = free_sigma_s
        self._newest: Reading | None = None
        self._believed: Reading | None = None
        self._age_s = 0.0  # of the word that is believed
        self._silence_s = 0.0  # since any word
        self._jumped_s = 0.0
        self._runaway = 0.0  # s/s
        self._caught_s = 0.0
        self._noticed = True
        self._frozen = False
        self._announced: deque[tuple[float, float]] = deque(maxlen=64)  # when, what
        self._now_s = 0.0

    def take(self, reading: Reading | None) -> None:
        """The source's word; None where it did not answer, which is told by the silence."""
        if reading is None:
            return
        self._newest, self._silence_s = reading, 0.0
        self._announced.append((self._now_s, abs(reading.offset_s)))
        self._noticed |= reading.state != "locked" or abs(reading.offset_s) >= NOTICED * self._jumped_s
        if reading.state == "free" or self._frozen:
            return
        self._believed, self._age_s = reading, 0.0
        proof_s = PROOF_S if self._noticed else LONG_PROOF_S
        if reading.state == "locked" and self._now_s >= self._caught_s + proof_s:
            self._jumped_s = self._runaway = 0.0

    def pass_time(self, seconds: float = 1.0) -> None:
        """So much sound was taken since."""
        self._now_s += seconds
        self._age_s += seconds
        self._silence_s += seconds
        self._jumped_s += self._runaway * seconds
        while self._announced and self._announced[0][0] < self._now_s - ANNOUNCED_S:
            self._announced.popleft()

    def jumped(self, seconds: float) -> None:
        """The clock was caught jumping by so much."""
        self._caught(abs(seconds))

    def runs_away(self, rate: float) -> None:
        """It was caught running away, s/s: for some seconds before, too."""
        self._caught(abs(rate) * NOTICED_S)
        self._runaway = abs(rate)

    def _caught(self, seconds: float) -> None:
        self._noticed = self._newest is None or self._newest.state != "locked" or self.announced_s >= NOTICED * seconds
        self._jumped_s += seconds
        self._caught_s = self._now_s

    def freeze(self, frozen: bool) -> None:
        """It stands still, or runs again: meanwhile nobody's word on it is believed."""
        self._frozen = frozen

    @property
    def announced_s(self) -> float:
        """The largest correction that the source announced lately, s: what a slew may amount to."""
        return max((size for _, size in self._announced), default=0.0)

    @property
    def state(self) -> str:
        """One of `acoustic.block.STATES`."""
        if self._believed is None or self._newest is None:
            return "free"
        if self._frozen or self._jumped_s or self._newest.state == "free":
            return "holdover"
        if self._believed.state != "stated" and self._silence_s > STALE_S:
            return "holdover"
        return self._believed.state

    @property
    def sigma_s(self) -> float:
        """One standard deviation of the system clock, s: the bound that was stated is taken for it."""
        if self._believed is None:
            return max(self._free_sigma_s, self._jumped_s)
        aged_s = 0.0 if self.state == "stated" else self._age_s * self._believed.drift_ppm * 1e-6
        return min(math.hypot(self._believed.bound_s + aged_s, self._jumped_s), LARGEST_SIGMA_S)

    @property
    def doubt(self) -> str:
        """Why the clock is not trusted, in words; empty where it is."""
        if self._newest is None:
            return "no time source has answered yet"
        if self._frozen:
            return "the system clock stands still"
        if self._jumped_s:
            return f"the system clock jumped by {self._jumped_s:.3g} s, and no source has confirmed it since"
        if self._newest.doubt:
            return self._newest.doubt
        silent = self._newest.state != "stated" and self._silence_s > STALE_S
        return f"no word from {self._newest.source} for {self._silence_s:.0f} s" if silent else ""
