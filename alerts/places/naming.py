"""Names of streets: as they are shown, and as they are compared."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any, Final

LONGEST: Final = 120
"""Letters of a name; whoever needs more has put something else there."""

_TYPES: Final = {
    "ALLEY": "ALY", "AVENUE": "AVE", "AV": "AVE", "BOULEVARD": "BLVD", "BRIDGE": "BRG", "CIRCLE": "CIR", "COURT": "CT",
    "CRESCENT": "CRES", "DRIVE": "DR", "EXPRESSWAY": "EXPY", "EXTENSION": "EXT", "FREEWAY": "FWY", "HEIGHTS": "HTS",
    "HIGHWAY": "HWY", "LANE": "LN", "PARKWAY": "PKWY", "PLACE": "PL", "PLAZA": "PLZ", "ROAD": "RD", "ROUTE": "RTE",
    "SQUARE": "SQ", "STREET": "ST", "STR": "ST", "TERRACE": "TER", "TRAIL": "TRL", "TURNPIKE": "TPKE",
    "SAINT": "ST", "MOUNT": "MT", "FORT": "FT",
}  # fmt: skip
"""As the United States Postal Service shortens them, Publication 28, appendix C1."""
_DIRECTIONS: Final = {
    "NORTH": "N", "SOUTH": "S", "EAST": "E", "WEST": "W",
    "NORTHEAST": "NE", "NORTHWEST": "NW", "SOUTHEAST": "SE", "SOUTHWEST": "SW",
}  # fmt: skip
_SHORT: Final = frozenset(_DIRECTIONS.values())


def shown(value: Any) -> str:
    """A value as text on one line, without control characters; empty for none.

    A number that a table wrote as ``12.0`` is 12.
    """
    if value is None or isinstance(value, bool | dict | list):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else str(value)
    if len(text) <= LONGEST and text.isascii() and text.isprintable():  # as nearly all are
        return " ".join(text.split())
    letters = (" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text[: 4 * LONGEST])
    return " ".join("".join(letters).split())[:LONGEST].rstrip()


@functools.lru_cache(65_536)
def compared(name: str) -> str:
    """A name in capitals, without stops, its type and its directions shortened: equal for names that mean the same."""
    words = re.sub(r"[^\w\s/-]", "", name.upper()).split()
    return " ".join(_DIRECTIONS.get(word, _TYPES.get(word, word)) for word in words)


def stem(name: str) -> str:
    """`compared`, without the direction before or behind: the two halves of one street have the same."""
    words = compared(name).split()
    if len(words) > 2 and words[0] in _SHORT:
        words = words[1:]
    if len(words) > 2 and words[-1] in _SHORT:
        words = words[:-1]
    return " ".join(words)
