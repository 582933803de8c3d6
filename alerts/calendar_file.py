"""A calendar file: the city's own events, as iCalendar (RFC 5545), read into expected events within a horizon."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alerts.calendar_crowd import check_crowds
from alerts.calendar_entry import CalendarError, printable, what_bangs
from alerts.calendar_event import ExpectedEvent
from alerts.calendar_recurrence import RecurrenceError, Steps, recurrences
from alerts.calendar_times import Start, fits, instant_of, read_start
from alerts.event_calendar import GRACE_NS, MOST_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo

LARGEST_BYTES: Final = 10_000_000
MOST_COMPONENTS: Final = 10_000
MOST_LINES: Final = 100_000
"""Lines, dates and categories together, and parameters for themselves: each takes the library some 20 microseconds."""
_LISTS: Final = (b"RDATE", b"EXDATE", b"CATEGORIES", b"RESOURCES")
_PARAMETERS: Final = re.compile(rb'(?:[^":]|"[^"]*+"?)*+')
"""All of a line before its value: a colon in quotation marks does not end it."""
WITHOUT_END: Final = timedelta(hours=1)
"""How long an event lasts that has no end: the standard says no time at all, and means nobody knows."""


@dataclass(frozen=True, slots=True)
class CalendarReading:
    """What a calendar holds.

    Parameters
    ----------
    events : tuple of ExpectedEvent
        Within the horizon, by their beginning.
    cancelled : int
        Entries left out since they are cancelled.
    unrelated : int
        Entries left out since neither a category nor an X-SHOTFIX property says that they bang.
    outside : int
        Entries of which nothing lies within the horizon.
    """

    events: tuple[ExpectedEvent, ...]
    cancelled: int = 0
    unrelated: int = 0
    outside: int = 0

    def words(self) -> str:
        """What is expected and what was left out, for people."""
        left_out = ("cancelled", self.cancelled), ("without a category that bangs", self.unrelated)
        said = [f"{count:,} {why}" for why, count in (*left_out, ("outside these days", self.outside)) if count]
        many = f"{len(self.events):,} event{'' if len(self.events) == 1 else 's'}"
        return f"{many}; left out: {', '.join(said)}" if said else many


def read_calendar(
    source: Path | bytes, horizon_start_ns: int, horizon_end_ns: int, zone: tzinfo = UTC
) -> tuple[ExpectedEvent, ...]:
    """The expected events of a calendar; as `inspect_calendar`, which also tells what was left out."""
    return inspect_calendar(source, horizon_start_ns, horizon_end_ns, zone).events


def inspect_calendar(
    source: Path | bytes, horizon_start_ns: int, horizon_end_ns: int, zone: tzinfo = UTC
) -> CalendarReading:
    """Read an iCalendar file.

    VEVENTs count whose CATEGORIES name fireworks, a parade, a range or construction, or that have one of
    ``X-SHOTFIX-RADIUS-M``, ``X-SHOTFIX-EXPECTED-PER-HOUR``, ``X-SHOTFIX-BUDGET-PER-HOUR``. GEO is the middle; without
    it the event is all over the city. Recurring events are expanded: RRULE (daily or slower), RDATE (not PERIOD),
    EXDATE, and RECURRENCE-ID of single instances, at the local time of their zone, also where summer time begins or
    ends; instances at a time that does not exist are left out, as the standard asks. A changed instance has from its
    series what it does not say itself. Times without a zone, and whole days, are of ``zone``. Zones are the public ones
    (IANA, or Windows' names for them): VTIMEZONE is not read.

    Parameters
    ----------
    source : Path or bytes
        The file, or what is in it; 10 MB, 10,000 entries, and 100,000 lines and dates at most.
    horizon_start_ns, horizon_end_ns : int
        Events that end before the one or begin after the other are left out, give or take the grace.
    zone : tzinfo
        The site's own.

    Raises
    ------
    CalendarError
        When it cannot be read, is no calendar, or has more or other than this; it names the file and the event.
    """
    name = "the calendar" if isinstance(source, bytes) else str(source)
    try:
        return _Reader(horizon_start_ns, horizon_end_ns, zone).read(_components(_content(source)))
    except OSError as error:
        raise CalendarError(f"{name}: {error.strerror}; give a file that can be read") from None
    except RecursionError:
        raise CalendarError(f"{name}: its parts are nested too deep; export it again") from None
    except CalendarError as error:
        raise CalendarError(f"{name}: {error}") from None


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(LARGEST_BYTES + 1)
    if len(source) > LARGEST_BYTES:
        raise CalendarError(f"larger than {LARGEST_BYTES // 1_000_000} MB; export fewer events")
    if len(re.findall(rb"^BEGIN:", source, re.MULTILINE | re.IGNORECASE)) > 2 * MOST_COMPONENTS:
        raise CalendarError(f"more than {MOST_COMPONENTS:,} entries; export fewer events")
    # Zones of its own making could hold rules without end, and would be remembered for the next file.
    content = _without_zones(source)
    _check_length(content)
    return content


def _check_length(content: bytes) -> None:
    """Lines as they are meant, not as they are folded."""
    lines = re.sub(rb"\r?\n[ \t]", b"", content).splitlines()
    several = sum(line.count(b",") for line in lines if line[:10].upper().startswith(_LISTS))
    if len(lines) + several > MOST_LINES:
        raise CalendarError(f"more than {MOST_LINES:,} lines and dates; export fewer events")
    before = (match[0] for line in lines if (match := _PARAMETERS.match(line)))
    if sum(each.count(b",") + each.count(b";") for each in before) > MOST_LINES:
        raise CalendarError(f"more than {MOST_LINES:,} parameters of lines; export fewer events")


def _without_zones(content: bytes) -> bytes:
    kept, inside = [], False
    for line in content.splitlines(keepends=True):
        said = line.strip().upper()
        inside = inside or said == b"BEGIN:VTIMEZONE"
        if not inside:
            kept.append(line)
        inside = inside and said != b"END:VTIMEZONE"
    return b"".join(kept)


def _components(content: bytes) -> list[Any]:
    """The VEVENTs of all calendars in the file."""
    from icalendar import Calendar  # only who reads a calendar pays for it

    # Evolution's "/freeassociation.sourceforge.net/America/New_York" is New York: no news to who runs a centre.
    warnings.filterwarnings("ignore", message=".* is a globally unique TZID")
    try:
        calendars = Calendar.from_ical(content, multiple=True)
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever the library comes up with on whatever is in the file)
        said = " ".join(str(error).split())[:100].encode("unicode_escape").decode()
        raise CalendarError(f"not an iCalendar file ({said}); export it again as .ics") from None
    if not calendars or any(one.name != "VCALENDAR" for one in calendars):
        raise CalendarError("not an iCalendar file (no VCALENDAR in it); export it again as .ics")
    return [part for one in calendars for part in one.subcomponents if part.name == "VEVENT"]


class _Reader:
    """Reads the VEVENTs of one file."""

    def __init__(self, start_ns: int, end_ns: int, zone: tzinfo) -> None:
        self._start_ns, self._end_ns, self._zone = start_ns - GRACE_NS, end_ns + GRACE_NS, zone
        self._steps = Steps()
        self._events: list[ExpectedEvent] = []
        self._left_out = {"cancelled": 0, "unrelated": 0, "outside": 0}

    def read(self, components: list[Any]) -> CalendarReading:
        if len(components) > MOST_COMPONENTS:
            raise CalendarError(f"{len(components):,} entries: expected {MOST_COMPONENTS:,} at most; export fewer")
        series: dict[str, list[Any]] = {}
        for number, component in enumerate(components):
            series.setdefault(str(component.get("UID") or f"entry {number + 1}"), []).append(component)
        for uid, parts in series.items():
            try:
                self._series(parts)
            except (CalendarError, RecurrenceError) as error:
                raise CalendarError(f"event {printable(uid)}: {error}") from None
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                said = printable(" ".join(str(error).split()))
                raise CalendarError(f"event {printable(uid)}: {said}; mend or remove it") from None
        events = tuple(sorted(self._events, key=lambda e: (e.start_ns, repr(e))))
        check_crowds(events)
        return CalendarReading(events, **self._left_out)

    def _series(self, parts: list[Any]) -> None:
        """One UID: the entry itself, in its latest edition, and instances of it that were changed."""
        for part in parts:
            if part.errors:
                name, said = part.errors[0]
                raise CalendarError(f"{name or 'a line'} is wrong ({printable(str(said))}); mend it")
        single = [part for part in parts if "RECURRENCE-ID" in part]
        whole = [part for part in parts if "RECURRENCE-ID" not in part]
        changed: dict[datetime, list[Any]] = {}
        for part in single:
            if "RANGE" in part["RECURRENCE-ID"].params:
                raise CalendarError("RECURRENCE-ID with RANGE is not read; end the series there and begin another")
            if "RRULE" in part or "RDATE" in part:
                raise CalendarError("a changed instance recurs itself; remove its RRULE and RDATE")
            changed.setdefault(instant_of(read_start(part["RECURRENCE-ID"], self._zone)), []).append(part)
        series = _latest(whole) if whole else None
        if series is not None:
            self._entry(series, set(changed))
        for editions in changed.values():
            self._entry(_latest(editions), set(), series)

    def _entry(self, part: Any, changed: set[datetime], series: Any = None) -> None:
        if str(part.get("STATUS", "")).upper() == "CANCELLED":
            self._left_out["cancelled"] += 1
            return
        about = what_bangs(part, series)
        if about is None:
            self._left_out["unrelated"] += 1
            return
        before = len(self._events)
        for start_ns, end_ns in self._times(part, changed):
            if end_ns > self._start_ns and start_ns < self._end_ns:
                self._events.append(ExpectedEvent(start_ns=start_ns, end_ns=end_ns, **about))
                if len(self._events) > MOST_EVENTS:
                    raise CalendarError(f"more than {MOST_EVENTS:,} events with it; shorten the horizon or the file")
        self._left_out["outside"] += before == len(self._events)

    def _times(self, part: Any, changed: set[datetime]) -> Iterator[tuple[int, int]]:
        """When it begins and ends, each time, UTC."""
        if "DTSTART" not in part:
            raise CalendarError("it has no DTSTART; say when it begins")
        if "EXRULE" in part:
            raise CalendarError("EXRULE is not read; name the days with EXDATE")
        start = read_start(part["DTSTART"], self._zone)
        lasts = _lasts(part, start, self._zone)
        left_out, whole_days = self._exceptions(part, start)
        for local in sorted(self._locals(part, start, lasts)):
            begins = start.at(local)
            if instant_of(begins) in changed | left_out or local.date() in whole_days:
                continue
            if "RRULE" in part and local != start.local and not start.whole_day and not fits(begins):
                continue
            ends = start.at(local + lasts) if start.whole_day else None
            yield (
                _nanoseconds(instant_of(begins)),
                _nanoseconds(instant_of(ends) if ends else instant_of(begins) + lasts),
            )

    def _locals(self, part: Any, start: Start, lasts: timedelta) -> set[datetime]:
        """At which local times it begins."""
        if "RRULE" not in part:
            found = {start.local}
        else:
            rules = part["RRULE"]
            if isinstance(rules, list):
                raise CalendarError("it has several RRULEs; keep one")
            day = timedelta(days=1)
            first, last = _local(self._start_ns, start.zone) - lasts - day, _local(self._end_ns, start.zone) + day
            found = set(recurrences(_rule_text(rules, start.zone), start.local, first, last, self._steps))
        for given in _listed(part, "RDATE"):
            if isinstance(given.dt, tuple):
                raise CalendarError("RDATE with periods is not read; give the beginnings alone")
            found.add(read_start(given, self._zone).seen_in(start.zone))
        return found

    def _exceptions(self, part: Any, start: Start) -> tuple[set[datetime], set[Any]]:
        """EXDATE: instants, and whole days where it names days of an event that has a time."""
        instants, days = set(), set()
        for given in _listed(part, "EXDATE"):
            exception = read_start(given, self._zone)
            if exception.whole_day and not start.whole_day:
                days.add(exception.local.date())
            else:
                instants.add(instant_of(exception))
        return instants, days


def _latest(editions: list[Any]) -> Any:
    """The entry of the highest SEQUENCE; written twice in the same words it is one.

    Raises
    ------
    CalendarError
        When there are several that say different things: one of them would be lost without a word.
    """
    number = max(_edition(part) for part in editions)
    latest = [part for part in editions if _edition(part) == number]
    if len({_said(part) for part in latest}) > 1:
        raise CalendarError(
            f"{len(latest)} different entries have this UID and SEQUENCE {number}; "
            "give each a UID of its own, or the later one a higher SEQUENCE"
        )
    return latest[0]


def _edition(part: Any) -> int:
    return int(part.get("SEQUENCE", 0))


def _said(part: Any) -> bytes:
    """What an entry says, but for when it was exported or saved."""
    text = bytes(part.to_ical())
    return re.sub(rb"^(DTSTAMP|CREATED|LAST-MODIFIED)[;:].*\r\n", b"", text, flags=re.MULTILINE)


def _lasts(part: Any, start: Start, zone: tzinfo) -> timedelta:
    if "DTEND" in part:
        end = read_start(part["DTEND"], zone)
        lasts = end.local - start.local if start.whole_day else instant_of(end) - instant_of(start)
    elif "DURATION" in part:
        lasts = part["DURATION"].dt
    else:
        lasts = timedelta(days=1) if start.whole_day else WITHOUT_END
    if lasts <= timedelta(0):
        raise CalendarError("it ends before it begins, or at once; mend DTEND or DURATION")
    return lasts


def _listed(part: Any, name: str) -> Iterable[Any]:
    given = part.get(name, ())
    for one in given if isinstance(given, list | tuple) else [given]:
        for date in one.dts:
            date.params.update(one.params)
            yield date


def _rule_text(rule: Any, zone: tzinfo) -> str:
    """The rule with its UNTIL as a local time."""
    text = str(rule.to_ical().decode())
    until = rule.get("UNTIL")
    if until is None:
        return text
    value = until[0]
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(zone).replace(tzinfo=None)
    said = f"{value:%Y%m%dT%H%M%S}" if isinstance(value, datetime) else f"{value:%Y%m%d}"
    return ";".join(f"UNTIL={said}" if piece.upper().startswith("UNTIL=") else piece for piece in text.split(";"))


def _local(instant_ns: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(instant_ns // 1_000_000_000, zone).replace(tzinfo=None)


def _nanoseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
