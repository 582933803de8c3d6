"""The almanac: what the city's calendar expects in the days around now."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from acoustic.instant import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.calendar_event import ExpectedEvent
    from shotfix.config import SiteConfig

DAY_NS: Final = 86_400 * SECOND
BEHIND_DAYS: Final = 2
AHEAD_DAYS: Final = 30
"""The calendar is read again every hour, so that a month is plenty, and a daily festival is no long list."""


def calendar_of(config: SiteConfig, now_ns: int, say: Callable[[str], None] | None = None) -> tuple[ExpectedEvent, ...]:
    """What is expected, from the day before yesterday on; nothing without a calendar.

    The days are whole ones of UTC, so that reading it again on the same day gives the same.

    Parameters
    ----------
    config : SiteConfig
        Which calendar, and the zone of its local times.
    now_ns : int
        Now.
    say : callable or None
        Told in one line how many events there are, and what of the file was left out and why.

    Raises
    ------
    CalendarError
        When the file is none, or has an event that cannot be understood; it says which.
    OSError
        When it cannot be read.
    """
    path = config.expected.calendar_file
    if path is None:
        return ()
    from alerts.calendar_file import inspect_calendar  # noqa: PLC0415  (most sites have none)

    today_ns = now_ns // DAY_NS * DAY_NS
    zone = UTC if config.site.time_zone == "UTC" else ZoneInfo(config.site.time_zone)
    reading = inspect_calendar(path, today_ns - BEHIND_DAYS * DAY_NS, today_ns + AHEAD_DAYS * DAY_NS, zone)
    if say is not None:
        say(f"the calendar {path} from {BEHIND_DAYS} days ago to {AHEAD_DAYS} days ahead: {reading.words()}")
    return reading.events
