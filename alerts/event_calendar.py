"""The calendar in force: which expected events there are at an instant, and how far a place lies from each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from acoustic.instant import SECOND
from alerts.calendar_event import distance_m

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alerts.calendar_event import ExpectedEvent
    from alerts.incident import Shot

GRACE_NS: Final = 900 * SECOND
"""Shows begin early and run late: so long before and after its time an event is expected all the same."""

MOST_EVENTS: Final = 20_000
_HOUR_NS: Final = 3600 * SECOND
_HOURS_KEPT: Final = 64
_LEAST_METRES_PER_DEGREE: Final = 110_000.0  # of latitude: 110.57 km at the equator, more elsewhere


class Spot(NamedTuple):
    """A place on the Earth, degrees WGS84, and how far from there it may be (semi-major axis of its region)."""

    latitude: float
    longitude: float
    slack_m: float


class Entry(NamedTuple):
    """An event, the name under which it is counted, and how far a place lies outside its edge (None: unknown)."""

    label: str
    event: ExpectedEvent
    distance_m: float | None


class EventCalendar:
    """Expected events, found by instant and place.

    Finding asks only the events of one hour, hence takes no longer for a calendar of years.

    Raises
    ------
    ValueError
        When there are more than `MOST_EVENTS`.
    """

    def __init__(self, events: Iterable[ExpectedEvent] = ()) -> None:
        given = sorted(set(events), key=repr)
        if len(given) > MOST_EVENTS:
            raise ValueError(f"the calendar has {len(given):,} events: expected {MOST_EVENTS:,} at most; shorten it")
        self._events: list[tuple[str, ExpectedEvent]] = []
        seen: dict[str, int] = {}
        for event in sorted(given, key=lambda event: (event.start_ns, repr(event))):
            number = seen[event.label] = seen.get(event.label, 0) + 1
            self._events.append((event.label if number == 1 else f"{event.label} ({number})", event))
        self._hours: dict[int, tuple[tuple[str, ExpectedEvent], ...]] = {}

    def __len__(self) -> int:
        return len(self._events)

    @property
    def events(self) -> tuple[ExpectedEvent, ...]:
        """All of them, by their beginning."""
        return tuple(event for _, event in self._events)

    def near(self, at_ns: int, spot: Spot | None) -> tuple[Entry, ...]:
        """The events that a bang may belong to: the nearest first, those of the whole city last.

        Parameters
        ----------
        at_ns : int
            When.
        spot : Spot or None
            Where; None where it has no place on the Earth: then only events of the whole city.
        """
        if not self._events:
            return ()
        found = []
        for label, event in self._hour(at_ns // _HOUR_NS):
            if event.start_ns - GRACE_NS <= at_ns < event.end_ns + GRACE_NS:
                reached, away_m = _reach(event, spot)
                if reached:
                    found.append(Entry(label, event, away_m))
        return tuple(sorted(found, key=lambda entry: (entry.distance_m is None, entry.distance_m or 0.0, entry.label)))

    def _hour(self, hour: int) -> tuple[tuple[str, ExpectedEvent], ...]:
        found = self._hours.get(hour)
        if found is None:
            start_ns, end_ns = hour * _HOUR_NS - GRACE_NS, (hour + 1) * _HOUR_NS + GRACE_NS
            found = tuple(pair for pair in self._events if pair[1].start_ns < end_ns and start_ns < pair[1].end_ns)
            if len(self._hours) >= _HOURS_KEPT:
                self._hours.clear()
            self._hours[hour] = found
        return found


def _reach(event: ExpectedEvent, spot: Spot | None) -> tuple[bool, float | None]:
    """Whether an event reaches a place as far as that is known, and how far outside its edge the place lies."""
    if event.latitude is None or event.longitude is None or event.radius_m is None:
        return True, None
    if spot is None:
        return False, None
    reach_m = event.radius_m + spot.slack_m
    if abs(event.latitude - spot.latitude) * _LEAST_METRES_PER_DEGREE > reach_m:
        return False, None
    away_m = distance_m(spot.latitude, spot.longitude, event.latitude, event.longitude)
    return away_m <= reach_m, max(0.0, away_m - event.radius_m)


def spot_of(shot: Shot | None) -> Spot | None:
    """Where a shot was on the Earth; None where it has no place there."""
    mode = getattr(shot, "best", None)
    if mode is None or mode.geodetic is None:
        return None
    return Spot(mode.geodetic.latitude_deg, mode.geodetic.longitude_deg, mode.ellipse.semi_major_m)
