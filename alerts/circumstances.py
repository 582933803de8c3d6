"""Circumstances: what was to be expected there and then, before a sound was judged."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

ALWAYS_PUBLISH: Final = 0.995
"""From this probability on nothing holds an incident back. It already holds the load of the event in its prior, so
that one such incident in two hundred at most is no gunfire, where one in five is accepted on any other night."""


@dataclass(frozen=True, slots=True)
class ExpectedNear:
    """An event of the calendar that an incident may belong to.

    Parameters
    ----------
    name, kind : str
        As the calendar has them.
    distance_m : float or None
        From the incident's place to the event's edge, 0 inside; None where either has no place on the Earth.
    shift : float
        What its load alone takes from the logarithm of the prior odds; 0 or less.
    over_budget : bool
        Whether as many incidents as its budget allows were published in the hour before.
    label : str
        Name and beginning: tells one evening from the next in the counts.
    budget_per_hour : float or None
        That budget; None where it has none.
    """

    name: str
    kind: str
    distance_m: float | None
    shift: float
    over_budget: bool = False
    label: str = ""
    budget_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How the prior of an incident comes about: a base, and what the hour and the load of other bangs add to it.

    Shifts are of the natural logarithm of the odds of gunfire. The hour says what is ordinary; the load, which is
    that of the calendar and of the bangs just heard, never raises the odds.

    Parameters
    ----------
    base : float
        Probability of gunfire before anything is known.
    hour_shift, calendar_shift, rate_shift : float
        What the hour, the calendar, and the rate of bangs add.
    others_per_hour : float
        Rate of bangs of other kinds around there just then.
    expected : tuple of ExpectedNear
        What the calendar expects there and then.
    always_publish : float
        Probability after the evidence from which a spent budget holds nothing back.

    Raises
    ------
    ValueError
        When the base is no probability, a shift is not finite, or the load raises the odds.
    """

    base: float
    hour_shift: float = 0.0
    calendar_shift: float = 0.0
    rate_shift: float = 0.0
    others_per_hour: float = 0.0
    expected: tuple[ExpectedNear, ...] = ()
    always_publish: float = ALWAYS_PUBLISH

    def __post_init__(self) -> None:
        if not 0.0 < self.base < 1.0:
            raise ValueError(f"base is {self.base}: expected a probability between 0 and 1")
        load = self.calendar_shift + self.rate_shift
        if not math.isfinite(self.hour_shift + load + self.others_per_hour):
            raise ValueError("the shifts and the rate of other bangs must be finite")
        if load > 1e-9:
            raise ValueError(f"the load raises the odds by {load}: it may only lower them")

    @property
    def load_shift(self) -> float:
        """What the calendar and the bangs just heard add together; 0 or less."""
        return min(0.0, self.calendar_shift + self.rate_shift)  # rounding must not raise the odds either

    @property
    def ordinary_log_odds(self) -> float:
        """Logarithm of the prior odds at that hour without any load."""
        return math.log(self.base / (1.0 - self.base)) + self.hour_shift

    @property
    def log_prior_odds(self) -> float:
        """Logarithm of the prior odds with everything."""
        return self.ordinary_log_odds + self.load_shift

    @property
    def prior(self) -> float:
        """Probability of gunfire before the sound is judged."""
        return 1.0 / (1.0 + math.exp(-self.log_prior_odds))

    @property
    def over_budget(self) -> bool:
        """Whether some event's budget is spent."""
        return any(near.over_budget for near in self.expected)

    def spared(self) -> Circumstances:
        """The same where the budget decided nothing: nobody reads of it."""
        if not self.over_budget:
            return self
        return replace(self, expected=tuple(replace(near, over_budget=False) for near in self.expected))
