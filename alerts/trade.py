"""The trade: for each threshold of publication, how many shots are missed and how many dispatches are false."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.detection import probability
from localization.study.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from alerts.policy import Policy

THRESHOLDS: Final = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with Wilson's interval for the probability behind it at 95 %.

    It holds for cases that do not depend on one another; bangs of one night do, so that it is then too narrow.
    """

    count: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.of:
            raise ValueError(f"{self.count} of {self.of} is no share")

    @property
    def low(self) -> float:
        """Lower end of the interval; 0 of nothing known."""
        return self._interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the interval; 1 of nothing known."""
        return self._interval()[1]

    def _interval(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.of == 0 else wilson(self.count / self.of, float(self.of))

    def __str__(self) -> str:
        return f"{self.count} of {self.of} ({100 * self.low:.1f} to {100 * self.high:.1f} %)"


@dataclass(frozen=True, slots=True)
class Row:
    """What one threshold of publication would do.

    Parameters
    ----------
    threshold : float
        Probability of gunfire from which an incident is published.
    llr : float
        The evidence that takes at the policy's prior, natural logarithm.
    misses : Share
        Shots that would not be published, of all shots.
    false_dispatches : Share
        Other bangs that would be, of all other bangs.
    """

    threshold: float
    llr: float
    misses: Share
    false_dispatches: Share


def trade(
    policy: Policy, labelled: Iterable[tuple[float, bool]], thresholds: Sequence[float] = THRESHOLDS
) -> tuple[Row, ...]:
    """What each threshold of publication costs on bangs whose truth is known.

    Parameters
    ----------
    policy : Policy
        Whose prior holds.
    labelled : iterable of (float, bool)
        Evidence of an incident, natural logarithm, and whether it was gunfire: as reviewers labelled them. Incidents
        nobody looked at are missing there, hence misses among them too.
    thresholds : sequence of float
        Probabilities; the policy's own is added.

    Returns
    -------
    tuple of Row
        By ascending threshold: misses never fall along it, false dispatches never rise.

    Raises
    ------
    ValueError
        When a threshold is no probability between 0 and 1.
    """
    cases = [(probability(llr, policy.log_prior_odds), is_gunfire) for llr, is_gunfire in labelled]
    shots = [posterior for posterior, is_gunfire in cases if is_gunfire]
    others = [posterior for posterior, is_gunfire in cases if not is_gunfire]
    return tuple(_row(policy, at, shots, others) for at in sorted({*thresholds, policy.publish}))


def _row(policy: Policy, threshold: float, shots: list[float], others: list[float]) -> Row:
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold is {threshold}: expected a probability between 0 and 1")
    return Row(
        threshold,
        math.log(threshold / (1.0 - threshold)) - policy.log_prior_odds,
        Share(sum(posterior < threshold for posterior in shots), len(shots)),
        Share(sum(posterior >= threshold for posterior in others), len(others)),
    )
