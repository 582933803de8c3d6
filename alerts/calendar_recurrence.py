"""Recurrence: on which local dates and times an event of a calendar takes place, within a horizon and within bounds."""

from __future__ import annotations

import calendar
import itertools
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_RULE: Final = 500
MOST_TIMES_A_DAY: Final = 24
MOST_STEPS: Final = 500_000
"""Days that all rules of a file may ask about together, between their beginning and the horizon's end."""

WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
PERIODS: Final = {"DAILY": 1, "WEEKLY": 7, "MONTHLY": 31, "YEARLY": 366}
"""How many days a period has, at most; faster rules are refused."""

BOUNDS: Final = {
    "BYMONTH": (1, 12, False),
    "BYMONTHDAY": (1, 31, True),
    "BYYEARDAY": (1, 366, True),
    "BYHOUR": (0, 23, False),
    "BYMINUTE": (0, 59, False),
    "BYSECOND": (0, 59, False),
    "BYSETPOS": (1, 366, True),
}
"""Least and greatest, and whether they may be counted from the end."""

_DAY = re.compile(r"(?P<ordinal>[+-]?\d{1,2})?(?P<day>MO|TU|WE|TH|FR|SA|SU)")


class RecurrenceError(ValueError):
    """A rule that is none, that is not read, or that is more work than any city's events are."""


class Steps:
    """How many days may still be asked about: a rule that never matches costs as much as one that does."""

    def __init__(self, left: int = MOST_STEPS) -> None:
        self._left = left

    def take(self, steps: int) -> None:
        """Spend some.

        Raises
        ------
        RecurrenceError
            When there are not so many left.
        """
        self._left -= steps
        if self._left < 0:
            raise RecurrenceError("the rules of this file take too long: begin them later, or shorten it")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of recurrence (RFC 5545, section 3.3.10), daily or slower; BYWEEKNO is not read.

    ``by_day`` holds pairs of the ordinal, 0 for every one, and the weekday, Monday being 0.
    """

    freq: str
    interval: int
    count: int | None
    until: datetime | None
    week_start: int
    by_day: frozenset[tuple[int, int]]
    by: dict[str, tuple[int, ...]]


def parse_rule(text: str) -> Rule:
    """The rule of an RRULE; its UNTIL must be a local time here, without a zone.

    Raises
    ------
    RecurrenceError
        When it is none, or is not read.
    """
    if len(text) > LONGEST_RULE:
        raise RecurrenceError(f"the rule has {len(text)} characters: expected {LONGEST_RULE} at most")
    pairs = [part.upper().split("=", 1) for part in text.split(";") if part]
    parts = {pair[0]: pair[-1] for pair in pairs}
    if len(parts) < len(pairs) or any(len(pair) < 2 for pair in pairs):
        raise RecurrenceError("the rule is none: expected NAME=VALUE;..., each once")
    unread = parts.keys() - {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *BOUNDS}
    if unread:
        raise RecurrenceError(f"the rule's {min(unread)[:20]} is not read; name the dates with RDATE")
    freq = parts.get("FREQ", "")
    if freq not in PERIODS:
        raise RecurrenceError(f"the rule's FREQ is {freq[:20]!r}: expected {', '.join(PERIODS)}")
    if parts.get("WKST", "MO") not in WEEKDAYS:
        raise RecurrenceError("the rule's WKST is no day of the week")
    by = {name: _numbers(name, parts[name]) for name in BOUNDS if name in parts}
    rule = Rule(
        freq,
        _number(parts, "INTERVAL") or 1,
        _number(parts, "COUNT"),
        _until(parts.get("UNTIL")),
        WEEKDAYS.index(parts.get("WKST", "MO")),
        _days(parts.get("BYDAY"), freq),
        by,
    )
    _check(rule)
    return rule


def recurrences(text: str, start: datetime, first: datetime, last: datetime, steps: Steps) -> Iterator[datetime]:
    """The local times at which a rule lets an event begin, ascending, from ``first`` to ``last``.

    Parameters
    ----------
    text : str
        As `parse_rule` takes it.
    start : datetime
        Of the event, local, without a zone. It recurs itself only where the rule fits it.
    first, last : datetime
        The horizon, local.
    steps : Steps
        What may be spent on it: every day asked about.

    Raises
    ------
    RecurrenceError
        When the rule is none, or takes too many steps.
    """
    rule = parse_rule(text)
    if rule.until is not None:
        last = min(last, rule.until)
    times = _times(rule, start)
    left = rule.count
    for days in _periods(rule, start, first, last, steps):
        found = [datetime.combine(day, at) for day in days for at in times]
        for at in _picked(rule, found):
            if at > last or left == 0:
                return
            if at >= start:
                left = None if left is None else left - 1
                if at >= first:
                    yield at


def _periods(rule: Rule, start: datetime, first: datetime, last: datetime, steps: Steps) -> Iterator[list[date]]:
    """The days that fit in each period, from the one of the beginning on."""
    number, end = _period(rule, start.date()), _period(rule, last.date())
    if rule.count is None:  # what lies before the horizon need not be counted
        number += max(0, _period(rule, first.date()) - number) // rule.interval * rule.interval
    while number <= end:
        candidates = _candidates(rule, number)
        steps.take(len(candidates))
        yield [day for day in candidates if _fits(rule, day, start)]
        number += rule.interval


def _period(rule: Rule, day: date) -> int:
    """The number of the period that a day lies in."""
    if rule.freq == "DAILY":
        return day.toordinal()
    if rule.freq == "WEEKLY":
        return (day.toordinal() - 1 - rule.week_start) // 7  # the first of January of the year 1 was a Monday
    return day.year * 12 + day.month - 1 if rule.freq == "MONTHLY" else day.year


def _candidates(rule: Rule, number: int) -> list[date]:
    """The days of a period."""
    if rule.freq == "DAILY":
        return [date.fromordinal(number)]
    if rule.freq == "WEEKLY":
        monday = 7 * number + 1 + rule.week_start
        return [date.fromordinal(ordinal) for ordinal in range(max(1, monday), monday + 7)]
    year, month = divmod(number, 12) if rule.freq == "MONTHLY" else (number, 0)
    months = [month + 1] if rule.freq == "MONTHLY" else rule.by.get("BYMONTH", range(1, 13))
    return [date(year, m, d) for m in months for d in range(1, calendar.monthrange(year, m)[1] + 1)]


def _fits(rule: Rule, day: date, start: datetime) -> bool:
    if rule.by and not _fits_numbers(rule.by, day):
        return False
    return _fits_day(rule, day) if rule.by_day else _as_begun(rule, day, start)


def _fits_numbers(by: dict[str, tuple[int, ...]], day: date) -> bool:
    if "BYMONTH" in by and day.month not in by["BYMONTH"]:
        return False
    if "BYMONTHDAY" in by and not _counted(by["BYMONTHDAY"], day.day, _of_month(day)):
        return False
    return "BYYEARDAY" not in by or _counted(by["BYYEARDAY"], day.timetuple().tm_yday, _of_year(day))


def _of_month(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _of_year(day: date) -> int:
    return 366 if calendar.isleap(day.year) else 365


def _counted(wanted: tuple[int, ...], number: int, of: int) -> bool:
    """Whether a number is among those wanted, counted from the beginning or the end."""
    return number in wanted or number - of - 1 in wanted


def _fits_day(rule: Rule, day: date) -> bool:
    weekday = day.weekday()
    if (0, weekday) in rule.by_day:
        return True
    in_month = rule.freq == "MONTHLY" or "BYMONTH" in rule.by
    number, of = (day.day, _of_month(day)) if in_month else (day.timetuple().tm_yday, _of_year(day))
    return ((number - 1) // 7 + 1, weekday) in rule.by_day or (-((of - number) // 7 + 1), weekday) in rule.by_day


def _as_begun(rule: Rule, day: date, start: datetime) -> bool:
    """What the rule leaves open is as it was the first time."""
    if rule.freq == "WEEKLY":
        return day.weekday() == start.weekday()
    if rule.freq == "DAILY" or "BYMONTHDAY" in rule.by or "BYYEARDAY" in rule.by:
        return True
    in_month = rule.freq == "MONTHLY" or "BYMONTH" in rule.by or day.month == start.month
    return in_month and day.day == start.day


def _times(rule: Rule, start: datetime) -> list[time]:
    hours = rule.by.get("BYHOUR", (start.hour,))
    minutes, seconds = rule.by.get("BYMINUTE", (start.minute,)), rule.by.get("BYSECOND", (start.second,))
    return [time(*parts) for parts in itertools.product(hours, minutes, seconds)]


def _picked(rule: Rule, found: list[datetime]) -> list[datetime]:
    wanted = rule.by.get("BYSETPOS")
    if wanted is None:
        return found
    return [at for number, at in enumerate(found, start=1) if _counted(wanted, number, len(found))]


def _number(parts: dict[str, str], name: str) -> int | None:
    text = parts.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) >= 1):
        raise RecurrenceError(f"the rule's {name} is {text[:20]!r}: expected a number from 1 to 999,999")
    return int(text)


def _numbers(name: str, text: str) -> tuple[int, ...]:
    least, greatest, from_end = BOUNDS[name]
    numbers = set()
    for piece in text.split(","):
        if not re.fullmatch(r"[+-]?[0-9]{1,3}", piece):
            raise RecurrenceError(f"the rule's {name} has {piece[:20]!r}: expected numbers")
        number = int(piece)
        if not least <= (abs(number) if from_end else number) <= greatest:
            raise RecurrenceError(f"the rule's {name} has {number}: expected {least} to {greatest}")
        numbers.add(number)
    return tuple(sorted(numbers))


def _days(text: str | None, freq: str) -> frozenset[tuple[int, int]]:
    found = set()
    for piece in text.split(",") if text is not None else ():
        match = _DAY.fullmatch(piece)
        if match is None or (match["ordinal"] and (freq not in ("MONTHLY", "YEARLY") or int(match["ordinal"]) == 0)):
            raise RecurrenceError(f"the rule's BYDAY has {piece[:20]!r}: expected days as MO, or 2MO, -1MO of a month")
        found.add((int(match["ordinal"] or 0), WEEKDAYS.index(match["day"])))
    return frozenset(found)


def _until(text: str | None) -> datetime | None:
    """UNTIL, which includes its instant, or its whole day where it is a date."""
    if text is None:
        return None
    try:
        if "T" in text:
            return datetime.strptime(text, "%Y%m%dT%H%M%S")  # noqa: DTZ007  (local by its meaning)
        return datetime.strptime(text, "%Y%m%d").replace(hour=23, minute=59, second=59)  # noqa: DTZ007  (local by its meaning)
    except ValueError:
        raise RecurrenceError(f"the rule's UNTIL is {text[:20]!r}: expected a date or a time") from None


def _check(rule: Rule) -> None:
    times = 1
    for name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        times *= len(rule.by.get(name, (0,)))
    if times > MOST_TIMES_A_DAY:
        raise RecurrenceError(f"the rule has {times} times a day: expected {MOST_TIMES_A_DAY} at most")
    if "BYYEARDAY" in rule.by and rule.freq != "YEARLY":
        raise RecurrenceError("the rule's BYYEARDAY goes with FREQ=YEARLY only")
