"""The almanac: what the city's calendar expects in the days around now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.calendar_event import ExpectedEvent
    from shotfix.config import SiteConfig

DAY_NS: Final = 86_400 * SECOND
BEHIND_DAYS: Final = 2
AHEAD_DAYS: Final = 30
"""The calendar is read again every hour, so that a month is plenty, and a daily festival is no long list."""

_log = logging.getLogger(__name__)


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
    from alerts.calendar_file import inspect_calendar  # most sites have none

    today_ns = now_ns // DAY_NS * DAY_NS
    reading = inspect_calendar(path, today_ns - BEHIND_DAYS * DAY_NS, today_ns + AHEAD_DAYS * DAY_NS, config.site.zone)
    if say is not None:
        say(f"the calendar {path} from {BEHIND_DAYS} days ago to {AHEAD_DAYS} days ahead: {reading.words()}")
    return reading.events


def calendar_or_nothing(config: SiteConfig, now_ns: int) -> tuple[ExpectedEvent, ...]:
    """The calendar as a centre starts with it: nothing where it is broken, which the log is told.

    A clerk's slip must not cost a city its hearing.
    """
    try:
        return calendar_of(config, now_ns, lambda said: _log.info("%s", said))
    except (ValueError, OSError) as error:  # a CalendarError is one
        _log.error("nothing is expected until the calendar can be read, which is tried each hour: %s", error)
        return ()
