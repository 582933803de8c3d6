"""Claims: who has an incident in hand, and until when; a claim that ran out is anybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acoustic.instant import after
from alerts.review.case import same_person

if TYPE_CHECKING:
    from alerts.review.case import Case
    from alerts.review.head import Head
    from alerts.review.rules import ReviewRules


def claim(case: Case, rules: ReviewRules) -> Head:
    """Take it in hand, or hold it longer.

    Raises
    ------
    ConflictError
        When somebody else has it; it names who, and until when.
    """
    case.expect_unheld()
    until_ns = after(case.at_ns, rules.claim_s)
    if same_person(case.head.holder(case.at_ns), case.who):
        # A clock that was set back must not shorten what somebody was promised.
        until_ns = max(until_ns, case.head.claimed_until_ns or 0)
    case.change("claim", {"until_ns": until_ns}, {"claimed_by": case.who, "claimed_until_ns": until_ns})
    return case.head


def release(case: Case) -> Head:
    """Let go of it; one that nobody holds stays as it is, and nothing is written.

    Raises
    ------
    ConflictError
        When somebody else has it.
    """
    case.expect_unheld()
    if case.head.claimed_by is not None and case.head.holder(case.at_ns) is not None:
        case.change("release", {}, {"claimed_by": None, "claimed_until_ns": None})
    return case.head
