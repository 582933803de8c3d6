"""How much sound one person may fetch in an hour: whoever steals a token must not carry away all that a city heard."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_S: Final = 3_600.0
CLIPS_PER_HOUR: Final = 2_000
"""A clip every two seconds: more than anybody listens to, less than a program takes."""


@dataclass(slots=True)
class _Hour:
    begun_s: float
    clips: set[str] = field(default_factory=set)


class SoundQuota:
    """Different clips that each person fetched in their current hour; for one thread.

    Parameters
    ----------
    most : int
        Clips an hour, of one person, whatever tokens they have, and whatever the case of their name. One that was
        fetched in this hour is free: players fetch in parts, and people listen twice.
    seconds : callable
        A clock that never goes back, in seconds.
    """

    def __init__(self, most: int, seconds: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._seconds = seconds
        self._hours: dict[str, _Hour] = {}

    def take(self, who: str, clip: str) -> float:
        """Count a clip that is there; after how many seconds there may be another, 0 when this one may be fetched."""
        now_s, who = self._seconds(), who.casefold()
        if who not in self._hours or now_s - self._hours[who].begun_s >= HOUR_S:
            self._hours = {name: hour for name, hour in self._hours.items() if now_s - hour.begun_s < HOUR_S}
            self._hours[who] = _Hour(now_s)
        hour = self._hours[who]
        if clip not in hour.clips and len(hour.clips) >= self.most:
            return hour.begun_s + HOUR_S - now_s
        hour.clips.add(clip)
        return 0.0
