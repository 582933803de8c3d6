"""A breaker: when a receiver that does not answer is left alone, and when it is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND, after

if TYPE_CHECKING:
    from alerts.delivery import Delivery, Receipt

FAILURES: Final = 5
"""In a row, before the breaker opens."""
OPEN_S: Final = 30.0
"""How long it stays open before one try is made."""

_OVERLOADED: Final = frozenset({408, 425, 429})
"""Answers below 500 that speak of the receiver, not of the message (RFC 9110, RFC 8470, RFC 6585)."""


def is_a_failure(receipt: Receipt) -> bool:
    """Whether an attempt says that the receiver is not well.

    A refusal of this one message (most of 400 to 499) is none: somebody is there and reads, and other alerts must not
    wait because one is not liked. So is 410: it has its own alarm.
    """
    if receipt.delivered:
        return False
    code = receipt.status_code
    return code is None or code in _OVERLOADED or not 400 <= code < 500


class Breaker:
    """Shut while all is well; open after so many failures in a row; then one try at a time until one succeeds.

    What waits behind it waits in the outbox, in its order, and no attempt is counted against it. Even before the time
    is over an alert's first word that was never tried may be the one try: a receiver that has just come back must not
    hear of gunfire half a minute late.

    Parameters
    ----------
    failures : int
        In a row, 1 or more.
    open_s : float
        How long it stays open, s, over 0.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    def __init__(self, failures: int = FAILURES, open_s: float = OPEN_S) -> None:
        if failures < 1 or not 0.0 < open_s < float("inf"):
            raise ValueError(f"a breaker opens after 1 failure or more, for some time: not {failures} and {open_s} s")
        self.opened = 0
        """How often it opened."""
        self._failures = failures
        self._open_ns = round(open_s * SECOND)
        self._in_a_row = 0
        self._until_ns: int | None = None
        self.trying = False
        """Whether the one try is under way."""

    @property
    def is_open(self) -> bool:
        """Whether the receiver is left alone, but for one try now and then."""
        return self._until_ns is not None

    def opens_ns(self, now_ns: int) -> int:
        """From when a try may be made, wall clock UTC; ``now_ns`` when it may be made now."""
        if self._until_ns is None:
            return now_ns
        # A wall clock that was set back must not keep it open for longer.
        self._until_ns = min(self._until_ns, now_ns + self._open_ns)
        return max(now_ns, self._until_ns)

    def admits(self, delivery: Delivery, now_ns: int) -> bool:
        """Whether this may be tried now."""
        if self._until_ns is None:
            return True
        fresh = delivery.kind == "new" and delivery.attempts == 0
        return not self.trying and (fresh or self.opens_ns(now_ns) <= now_ns)

    def began(self) -> None:
        """An attempt that was admitted has begun."""
        self.trying = self._until_ns is not None

    def ended(self, receipt: Receipt, now_ns: int) -> None:
        """An attempt has ended, begun before or after the breaker opened."""
        self.trying = False
        if not is_a_failure(receipt):
            self._in_a_row, self._until_ns = 0, None
            return
        self._in_a_row += 1
        if self._until_ns is None:
            if self._in_a_row >= self._failures:
                self.opened += 1
                self._until_ns = after(now_ns, self._open_ns / SECOND)
        elif self.opens_ns(now_ns) <= now_ns:  # the try whose time had come; an early one changes nothing
            self._until_ns = now_ns + self._open_ns
