"""An entry of a calendar: what is to bang, where and how much, apart from when."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from alerts.calendar_event import LONGEST_NAME

if TYPE_CHECKING:
    from alerts.calendar_event import EventKind


class CalendarError(ValueError):
    """A calendar that cannot be read: which file, which event, what is wrong, and what to do."""


KINDS: Final[dict[str, EventKind]] = {
    "firework": "fireworks",
    "pyrotechnic": "fireworks",
    "parade": "parade",
    "procession": "parade",
    "range": "range",
    "shooting": "range",
    "construction": "construction",
    "demolition": "construction",
    "blasting": "construction",
}
"""Beginnings of words in CATEGORIES, and the kind they tell of."""

USUAL: Final[dict[EventKind, tuple[float, float, float]]] = {
    "fireworks": (500.0, 120.0, 12.0),
    "parade": (500.0, 12.0, 12.0),
    "range": (500.0, 60.0, 12.0),
    "construction": (200.0, 60.0, 12.0),
    "other": (300.0, 0.0, 12.0),
}
"""Radius (m), expected bangs and budget (both an hour) of an event with a place that does not tell its own.

An event of the whole city has no load and no budget unless it tells them: one line in a calendar must not make the
whole city harder of hearing.
"""

NUMBERS: Final = ("RADIUS-M", "EXPECTED-PER-HOUR", "BUDGET-PER-HOUR")
INHERITED: Final = ("SUMMARY", "CATEGORIES", "GEO", *(f"X-SHOTFIX-{name}" for name in NUMBERS))
"""What a changed instance has from its series where it does not say it itself: many write only the new time."""


def what_bangs(part: Any, series: Any = None) -> dict[str, Any] | None:
    """Everything of an `ExpectedEvent` but its times; None where nothing says that it bangs.

    Parameters
    ----------
    part : icalendar.Event
        The entry.
    series : icalendar.Event or None
        Of which it is a changed instance: tells what the entry does not.

    Raises
    ------
    CalendarError
        When a number is none, or a radius has no middle.
    """
    if series is not None:
        part = {name: each[name] for name in INHERITED for each in (series, part) if name in each}
    kind = _kind(part)
    numbers = {name: _number(part, f"X-SHOTFIX-{name}") for name in NUMBERS}
    if kind is None and all(value is None for value in numbers.values()):
        return None
    return _about(part, kind or "other", numbers)


def _about(part: Any, kind: EventKind, numbers: dict[str, float | None]) -> dict[str, Any]:
    """What an event is apart from its times."""
    geo = part.get("GEO")
    if isinstance(geo, list):
        raise CalendarError(f"it has {len(geo)} lines of GEO; keep one")
    radius_m, expected, budget = numbers["RADIUS-M"], numbers["EXPECTED-PER-HOUR"], numbers["BUDGET-PER-HOUR"]
    if geo is None:
        if radius_m is not None:
            raise CalendarError("it has X-SHOTFIX-RADIUS-M but no GEO; say where its middle is")
        latitude = longitude = None
        usual_expected, usual_budget = 0.0, None
    else:
        latitude, longitude = float(geo.latitude), float(geo.longitude)
        usual_radius_m, usual_expected, usual_budget = USUAL[kind]
        radius_m = usual_radius_m if radius_m is None else radius_m
    return {
        "name": printable(" ".join(str(part.get("SUMMARY", "")).split())) or "unnamed event",
        "kind": kind,
        "latitude": latitude,
        "longitude": longitude,
        "radius_m": radius_m,
        "expected_per_hour": usual_expected if expected is None else expected,
        "budget_per_hour": usual_budget if budget is None else budget,
    }


def _kind(part: Any) -> EventKind | None:
    given = part.get("CATEGORIES", ())
    for one in given if isinstance(given, list) else [given]:
        for category in getattr(one, "cats", ()):
            for word in re.findall(r"[a-z]+", str(category).lower()):
                for beginning, kind in KINDS.items():
                    if word.startswith(beginning):
                        return kind
    return None


def _number(part: Any, name: str) -> float | None:
    given = part.get(name)
    if given is None:
        return None
    try:
        return float(str(given))
    except ValueError:
        raise CalendarError(f"{name} is {printable(str(given))}; give one number") from None


def printable(text: str) -> str:
    """Without control characters, and no longer than a name may be."""
    return "".join(character for character in text if character.isprintable())[:LONGEST_NAME]
