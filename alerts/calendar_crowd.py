"""Crowds of a calendar: more events at one instant and place than there can be, as a clerk's slip makes them."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from acoustic.instant import instant_text
from alerts.calendar_entry import CalendarError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alerts.calendar_event import ExpectedEvent

MOST_AT_A_PLACE: Final = 50
MOST_AT_AN_INSTANT: Final = 1_000
"""Each event in force is asked about for each bang."""
PLACES_PER_DEGREE: Final = 100
"""Middles that are the same to a hundredth of a degree, some 1 km, are one place; the whole city is one too."""


def check_crowds(events: Iterable[ExpectedEvent]) -> None:
    """See that no instant has more events than a city can have.

    Parameters
    ----------
    events : iterable of ExpectedEvent
        By their beginning.

    Raises
    ------
    CalendarError
        When one has; mostly that is one event that recurs daily and lasts until the end of the year.
    """
    everywhere: list[int] = []
    at_place: dict[tuple[int, int] | None, list[int]] = {}
    for event in events:
        for ends, most in ((at_place.setdefault(_place(event), []), MOST_AT_A_PLACE), (everywhere, MOST_AT_AN_INSTANT)):
            while ends and ends[0] <= event.start_ns:
                heapq.heappop(ends)
            heapq.heappush(ends, event.end_ns)
            if len(ends) > most:
                where = "in one place" if most == MOST_AT_A_PLACE else "in all"
                raise CalendarError(
                    f"more than {most:,} events at once {where} at {instant_text(event.start_ns, 0)}, {event.name} "
                    "among them; does one last longer than its interval? mend DTEND, or export fewer"
                )


def _place(event: ExpectedEvent) -> tuple[int, int] | None:
    if event.latitude is None or event.longitude is None:
        return None
    return round(event.latitude * PLACES_PER_DEGREE), round(event.longitude * PLACES_PER_DEGREE)
