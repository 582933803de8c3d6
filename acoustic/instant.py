"""Instants: UTC as integer nanoseconds since 1970-01-01, and the ways in and out of text and seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

NANOSECONDS_PER_SECOND: Final = 1_000_000_000
SECOND: Final = NANOSECONDS_PER_SECOND
MILLISECOND: Final = 1_000_000
MICROSECOND: Final = 1_000

# int64 holds 1677 to 2262; anything outside these years is a mistake of units, not an instant of ours.
EARLIEST_NS: Final = -631_152_000 * SECOND  # 1950-01-01
LATEST_NS: Final = 7_258_118_400 * SECOND  # 2200-01-01

_RFC3339 = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})[Tt ](?P<clock>\d{2}:\d{2}:\d{2})(?:\.(?P<fraction>\d{1,9}))?"
    r"(?P<zone>[Zz]|[+-]\d{2}:\d{2})?"
)


def check_instant(instant_ns: int, name: str) -> None:
    """Refuse what cannot be an instant: a float, a count of seconds or milliseconds, a year out of range.

    Parameters
    ----------
    instant_ns : int
        Nanoseconds UTC since 1970-01-01.
    name : str
        What the caller calls it, for the message.

    Raises
    ------
    TypeError
        When it is not an integer: float seconds lose 0.24 us at today's epoch.
    ValueError
        When it lies outside 1950 to 2200.
    """
    if not isinstance(instant_ns, int) or isinstance(instant_ns, bool):
        raise TypeError(f"{name} is {instant_ns!r}: an instant is an int of nanoseconds UTC")
    if not EARLIEST_NS <= instant_ns <= LATEST_NS:
        raise ValueError(f"{name} is {instant_ns}: outside 1950 to 2200; is it in nanoseconds?")


def parse_instant(text: str) -> int:
    """Read an RFC 3339 date and time into nanoseconds UTC.

    Parameters
    ----------
    text : str
        As ``2026-11-21T03:04:05.123456789Z``: a zone is required, up to nine decimals.

    Raises
    ------
    ValueError
        Without a zone, with a date that does not exist, or in any other form. A leap second (``:60``) is refused
        too, since nanoseconds UTC have no place for it.
    """
    found = _RFC3339.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a time: expected RFC 3339, as 2026-11-21T03:04:05.123Z")
    if found["zone"] is None:
        raise ValueError(f"{text!r} has no zone: append Z for UTC, or an offset as -05:00")
    try:
        whole = datetime.fromisoformat(f"{found['date']}T{found['clock']}").replace(tzinfo=_zone(found["zone"]))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time: {error}") from None
    seconds = (whole - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    instant_ns = seconds * SECOND + int((found["fraction"] or "0").ljust(9, "0"))
    check_instant(instant_ns, text)
    return instant_ns


def _zone(text: str) -> timezone:
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if minutes > 59:
        raise ValueError("the zone's minutes are out of range")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def instant_text(instant_ns: int, decimals: int = 9) -> str:
    """Write an instant as RFC 3339 in UTC with ``Z``, rounded half up to ``decimals`` (0 to 9)."""
    unit = 10 ** (9 - decimals)
    seconds, rest_ns = divmod((instant_ns + unit // 2) // unit * unit, SECOND)
    clock = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{clock}.{rest_ns:09d}"[: 20 + decimals] + "Z" if decimals else f"{clock}Z"


def seconds_between(earlier_ns: int, later_ns: int) -> float:
    """Seconds from one instant to another, exact below 104 days apart, to 1 part in 2^53 beyond."""
    return (later_ns - earlier_ns) / SECOND


def after(instant_ns: int, seconds: float) -> int:
    """The instant ``seconds`` (s, of either sign) later, rounded to the nanosecond."""
    return instant_ns + round(seconds * SECOND)


def sample_instant(start_ns: int, index: int, rate_hz: int) -> int:
    """When sample ``index`` was taken, counting from the sample taken at ``start_ns``.

    Integer arithmetic, so that no length of recording drifts; rounded to the nearest nanosecond.
    """
    return start_ns + (2 * index * SECOND + rate_hz) // (2 * rate_hz)
