"""What is usual, in words: beside what the configuration says, and what other thresholds would have traded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alerts.policy import Policy
    from alerts.review.usual import Interval, Usual


def usual_lines(found: Usual, policy: Policy, ordinary_per_hour: float, near_m: float) -> list[str]:
    """What a record shows, for who sets the policy; beside it the values that are set."""
    rate, prior = found.ordinary_per_hour, found.prior
    left_out = f"{found.unplaced} without a place, {found.expected} beside an event of the calendar"
    others = f"other bangs an hour within {near_m:g} m: {_told(rate, '{:.2g}', 'too few days')}"
    return [
        f"{found.incidents} incidents on {found.days} days; left out: {left_out}",
        f"{others}; ordinary_per_hour is {ordinary_per_hour:g}",
        f"gunfire among them, by the evidence: {_told(prior, '{:.1%}', 'none')}; prior is {policy.prior:.1%}",
        f"gunfire among those that people judged: {found.judged}",
        *(
            f"  published from {row.threshold:g}{' (as it is)' if row.threshold == policy.publish else ''}: "
            f"{row.misses} shots missed, {row.false_dispatches} others published"
            for row in found.rows
        ),
        "What nobody looked at is in neither column; what no sensor heard is in no record.",
    ]


def _told(interval: Interval | None, how: str, nothing: str) -> str:
    if interval is None:
        return nothing
    middle, low, high = (how.format(value) for value in interval)
    return f"{middle} (95 % {low} to {high})"
