"""Who waits how long for a person: the queue of review through an evening, as few analysts as many look at it."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from alerts.review.queue import place_in_queue, priority

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOK_S: Final = 60.0  # for one incident, from claim to judgement
TOLD_S: Final = 10.0  # after the sound
END_S: Final = 4 * 3600.0

Case = tuple[float, float, bool]
"""When it banged, how probable gunfire is, and whether it was."""


def ours(p: float, age_s: float) -> tuple[float, ...]:
    """The queue's own order; what comes first is the smallest."""
    return place_in_queue("judge", priority(p, 1, age_s, automatic=False), age_s, "")[:2]


def oldest_first(_p: float, age_s: float) -> tuple[float, ...]:
    """As they come."""
    return (-age_s,)


def likeliest_first(p: float, _age_s: float) -> tuple[float, ...]:
    """However long others wait."""
    return (-p,)


def waits_s(cases: Sequence[Case], analysts: int, order: Callable[[float, float], tuple[float, ...]]) -> list[float]:
    """How long each shot waits from its sound until a person takes it up; infinite where that is never this evening."""
    coming = sorted(cases, reverse=True)
    free = [0.0] * analysts
    waiting: list[Case] = []
    found: list[float] = []
    while free[0] < END_S and (coming or waiting):
        now_s = free[0] if waiting else max(free[0], coming[-1][0] + TOLD_S)
        while coming and coming[-1][0] + TOLD_S <= now_s:
            waiting.append(coming.pop())
        first = min(range(len(waiting)), key=lambda k: order(waiting[k][1], now_s - waiting[k][0]))
        banged_s, _, is_shot = waiting.pop(first)
        if is_shot:
            found.append(now_s - banged_s)
        heapq.heapreplace(free, now_s + LOOK_S)
    left = sum(is_shot for *_, is_shot in [*waiting, *coming])
    return found + [float("inf")] * left
