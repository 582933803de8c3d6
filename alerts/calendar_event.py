"""An expected event: a permitted firework, a parade, a range; when, where, and how many bangs it brings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from acoustic.instant import check_instant, instant_text

EventKind = Literal["fireworks", "parade", "range", "construction", "other"]
EVENT_KINDS: Final[tuple[EventKind, ...]] = ("fireworks", "parade", "range", "construction", "other")

LONGEST_NAME: Final = 100
MOST_PER_HOUR: Final = 100_000.0
FARTHEST_REACH_M: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class ExpectedEvent:
    """What the calendar says will bang.

    Parameters
    ----------
    name : str
        For people, printable, 100 characters at most.
    kind : str
        One of `EVENT_KINDS`.
    start_ns, end_ns : int
        From when until before when, UTC.
    latitude, longitude : float or None
        Its middle, degrees WGS84; both None for an event all over the city.
    radius_m : float or None
        How far it reaches around its middle; None exactly where that is.
    expected_per_hour : float
        How many bangs an hour it brings around a place within its reach, counted as `alerts.bangs` counts: one for
        each square of 250 m and each minute in which something banged. So a show at one spot brings some 60 to 240.
    budget_per_hour : float or None
        How many of its incidents are published in any hour before a person looks first; None for no limit.

    Raises
    ------
    ValueError
        When a value is out of its range, or a place is half given.
    """

    name: str
    kind: EventKind
    start_ns: int
    end_ns: int
    latitude: float | None = None
    longitude: float | None = None
    radius_m: float | None = None
    expected_per_hour: float = 0.0
    budget_per_hour: float | None = None

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > LONGEST_NAME or not self.name.isprintable():
            raise ValueError(f"name is {self.name[:LONGEST_NAME]!r}: expected 1 to {LONGEST_NAME} printable characters")
        if self.kind not in EVENT_KINDS:
            raise ValueError(f"kind is {self.kind!r}: expected one of {', '.join(EVENT_KINDS)}")
        check_instant(self.start_ns, "start_ns")
        check_instant(self.end_ns, "end_ns")
        if self.end_ns <= self.start_ns:
            raise ValueError(f"{self.name} ends before it begins")
        self._check_place()
        for name in ("expected_per_hour", "budget_per_hour"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= MOST_PER_HOUR:
                raise ValueError(f"{name} is {value}: expected 0 to {MOST_PER_HOUR:,.0f}")

    def _check_place(self) -> None:
        given = [value is not None for value in (self.latitude, self.longitude, self.radius_m)]
        if any(given) and not all(given):
            raise ValueError(f"{self.name} needs latitude, longitude and radius_m, or none of them for the whole city")
        if self.latitude is None or self.longitude is None or self.radius_m is None:
            return
        if not -90.0 <= self.latitude <= 90.0 or not -180.0 <= self.longitude <= 180.0:
            raise ValueError(f"{self.name} is at {self.latitude}, {self.longitude}: expected degrees")
        if not 0.0 <= self.radius_m <= FARTHEST_REACH_M or math.isnan(self.radius_m):
            raise ValueError(f"radius_m is {self.radius_m}: expected 0 to {FARTHEST_REACH_M:,.0f}")

    @property
    def citywide(self) -> bool:
        """Whether it is everywhere."""
        return self.radius_m is None

    @property
    def label(self) -> str:
        """Its name and its beginning: tells one evening from the next."""
        return f"{self.name}, {instant_text(self.start_ns, 0)}"


EQUATOR_M: Final = 6_378_137.0
ECCENTRICITY_SQUARED: Final = 6.694_379_990_141e-3
"""Semi-major axis and first eccentricity squared of WGS84 (NGA.STND.0036, 2014, tables 3.1 and 3.6)."""


def distance_m(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """How far apart two places on the Earth are, metres.

    The great circle on the sphere that follows the ellipsoid at the middle latitude and in the direction from one to
    the other (Euler's radius of curvature). Within 0.1 % of the geodesic up to 500 km; farther it gets worse.
    """
    phi, other_phi = math.radians(latitude), math.radians(other_latitude)
    north = other_phi - phi
    east = math.radians((other_longitude - longitude + 180.0) % 360.0 - 180.0)
    haversine = math.sin(north / 2.0) ** 2 + math.cos(phi) * math.cos(other_phi) * math.sin(east / 2.0) ** 2
    angle = 2.0 * math.asin(min(1.0, math.sqrt(haversine)))
    middle = (phi + other_phi) / 2.0
    across = 1.0 - ECCENTRICITY_SQUARED * math.sin(middle) ** 2
    prime_m = EQUATOR_M / math.sqrt(across)
    meridian_m = prime_m * (1.0 - ECCENTRICITY_SQUARED) / across
    squares = north**2 + (east * math.cos(middle)) ** 2
    along = north**2 / squares if squares > 0.0 else 0.0
    return angle / (along / meridian_m + (1.0 - along) / prime_m)
