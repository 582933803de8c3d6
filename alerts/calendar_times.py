"""Times of a calendar: a local time and its zone, and the instant that they mean, also where summer time changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import tzinfo


@dataclass(frozen=True, slots=True)
class Start:
    """When something begins.

    Parameters
    ----------
    local : datetime
        The clock on the wall, without a zone; midnight for a whole day.
    zone : tzinfo
        Where that wall is.
    whole_day : bool
        Whether only a date was given.
    """

    local: datetime
    zone: tzinfo
    whole_day: bool = False

    def at(self, local: datetime) -> Start:
        """Another local time of the same kind."""
        return Start(local, self.zone, self.whole_day)

    def seen_in(self, zone: tzinfo) -> datetime:
        """The local time in another zone; of a whole day its own midnight."""
        return self.local if self.whole_day else instant_of(self).astimezone(zone).replace(tzinfo=None)


def read_start(given: Any, zone: tzinfo) -> Start:
    """A date or time as icalendar reads it; ``zone`` is that of times without one.

    Raises
    ------
    ValueError
        When it names a zone that nobody knows, or is neither.
    """
    value = given.dt
    if isinstance(value, datetime):
        named = given.params.get("TZID")
        if value.tzinfo is None and named is not None:
            raise ValueError(f"TZID {str(named)[:60]} is no known zone: name one as America/New_York")
        return Start(value.replace(tzinfo=None), value.tzinfo or zone)
    if isinstance(value, date):
        return Start(datetime(value.year, value.month, value.day), zone, whole_day=True)  # noqa: DTZ001  (local)
    raise ValueError("expected a date or a time")


def instant_of(start: Start) -> datetime:
    """The instant, UTC.

    Of a time that comes twice the first; one that does not come is reckoned with the offset from before the gap
    (RFC 5545, section 3.3.5).
    """
    return start.local.replace(tzinfo=start.zone).astimezone(UTC)


def fits(start: Start) -> bool:
    """Whether the local time comes at all: none does between two and three when summer time begins."""
    return instant_of(start).astimezone(start.zone).replace(tzinfo=None) == start.local
