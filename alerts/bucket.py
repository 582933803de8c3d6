"""A bucket of tokens: how many revisions a receiver gets in a minute."""

from __future__ import annotations

import math
from typing import Final

from acoustic.instant import SECOND

PER_MINUTE: Final = 60.0
BURST: Final = 10


class Bucket:
    """Tokens that come at an even rate, up to so many; each attempt to tell a revision takes one.

    Only revisions are limited: an alert's first word and its cancellation never wait here. When the wall clock is set
    back, the bucket is empty and fills from there; set forward, it is full.

    Parameters
    ----------
    per_minute : float
        Tokens in a minute, over 0.
    burst : int
        Tokens at most, 1 or more.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    def __init__(self, per_minute: float = PER_MINUTE, burst: int = BURST) -> None:
        if not 0.0 < per_minute < math.inf or burst < 1:
            raise ValueError(f"expected a rate over 0 and a burst of 1 or more: {per_minute} a minute, {burst}")
        self._token_ns = math.ceil(60.0 * SECOND / per_minute)
        self._burst = burst
        self._full_ns: int | None = None
        """When it would be full if nobody took any; in whole nanoseconds, which lose nothing to rounding."""

    def tokens(self, now_ns: int) -> int:
        """How many may be taken now."""
        if self._full_ns is None:
            return self._burst
        self._full_ns = min(self._full_ns, now_ns + self._burst * self._token_ns)
        missing_ns = max(self._full_ns - now_ns, 0)
        return max(self._burst - math.ceil(missing_ns / self._token_ns), 0)

    def take(self, now_ns: int) -> bool:
        """Take one; False when there is none."""
        if not self.tokens(now_ns):
            return False
        self._full_ns = max(self._full_ns or now_ns, now_ns) + self._token_ns
        return True

    def next_ns(self, now_ns: int) -> int:
        """When there is a token, wall clock UTC; ``now_ns`` when there is one now."""
        if self._full_ns is None or self.tokens(now_ns):
            return now_ns
        return self._full_ns - (self._burst - 1) * self._token_ns
