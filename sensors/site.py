"""Sites and networks: where sensors stand, how surely, and since when."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from acoustic.instant import check_instant

LOWEST_HEIGHT_M: Final = -500.0
GREATEST_HEIGHT_M: Final = 9_000.0
GREATEST_OFFSET_M: Final = 1e8  # of local coordinates: national grids and UTM stay well below


@dataclass(frozen=True, slots=True)
class Geodetic:
    """A place on the WGS84 ellipsoid: degrees north and east, metres above the ellipsoid (not above the sea)."""

    latitude_deg: float
    longitude_deg: float
    height_m: float

    def __post_init__(self) -> None:
        if not -90.0 <= self.latitude_deg <= 90.0:
            raise ValueError(f"latitude_deg is {self.latitude_deg}: expected -90 to 90")
        if not -180.0 <= self.longitude_deg <= 180.0:
            raise ValueError(f"longitude_deg is {self.longitude_deg}: expected -180 to 180")
        if not LOWEST_HEIGHT_M <= self.height_m <= GREATEST_HEIGHT_M:
            raise ValueError(f"height_m is {self.height_m}: expected {LOWEST_HEIGHT_M:g} to {GREATEST_HEIGHT_M:g}")


@dataclass(frozen=True, slots=True)
class Local:
    """A place in a local plane: metres east, north and up of an origin."""

    east_m: float
    north_m: float
    up_m: float

    def __post_init__(self) -> None:
        for name in ("east_m", "north_m", "up_m"):
            value = getattr(self, name)
            if not abs(value) <= GREATEST_OFFSET_M:
                raise ValueError(f"{name} is {value}: expected a finite number of metres")


@dataclass(frozen=True, slots=True)
class Element:
    """One microphone of a small array: its channel, and metres east, north and up of the site."""

    channel: int
    east_m: float
    north_m: float
    up_m: float

    def __post_init__(self) -> None:
        if self.channel < 0:
            raise ValueError(f"channel is {self.channel}: expected 0 or more")
        for name in ("east_m", "north_m", "up_m"):
            value = getattr(self, name)
            if not abs(value) <= 100.0:
                raise ValueError(f"{name} is {value}: an element lies within 100 m of its site")


@dataclass(frozen=True, slots=True)
class Site:
    """One sensor as it stood for some time.

    Parameters
    ----------
    sensor_id : str
        Up to 100 characters, without control characters.
    position : Geodetic or Local
        All sites of a network use the same kind.
    position_sigma_m, up_sigma_m : float
        Survey error, one standard deviation, for each horizontal axis and for the height. Constant while the site
        stands.
    clock_sigma_s : float
        Error of the device's clock, one standard deviation, taken as constant over an incident.
    full_scale_db_spl : float or None
        Peak sound pressure level, dB re 20 uPa, that drives the converter to full scale; None when unknown.
    elements : tuple of Element
        For a small array, its microphones; empty for a single one.
    valid_from_ns, valid_to_ns : int or None
        When the site stood so; None is for ever.
    clock_offset_s : float
        What the device's clock is known to be fast by; a positive one shows everything later than it was.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range.
    """

    sensor_id: str
    position: Geodetic | Local
    position_sigma_m: float = 1.0
    up_sigma_m: float = 5.0
    clock_sigma_s: float = 0.0002
    full_scale_db_spl: float | None = None
    elements: tuple[Element, ...] = ()
    valid_from_ns: int | None = None
    valid_to_ns: int | None = None
    clock_offset_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < len(self.sensor_id) <= 100 or not self.sensor_id.isprintable():
            raise ValueError(f"sensor_id is {self.sensor_id!r}: expected 1 to 100 printable characters")
        for name, greatest in (("position_sigma_m", 1e4), ("up_sigma_m", 1e4), ("clock_sigma_s", 3600.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= greatest:
                raise ValueError(f"{name} is {value}: expected 0 to {greatest:g}")
        if not abs(self.clock_offset_s) <= 3600.0:
            raise ValueError(f"clock_offset_s is {self.clock_offset_s}: expected -3600 to 3600")
        if self.full_scale_db_spl is not None and not 50.0 <= self.full_scale_db_spl <= 200.0:
            raise ValueError(f"full_scale_db_spl is {self.full_scale_db_spl}: expected 50 to 200")
        for name in ("valid_from_ns", "valid_to_ns"):
            if getattr(self, name) is not None:
                check_instant(getattr(self, name), name)
        from_ns, to_ns = self.valid_from_ns, self.valid_to_ns
        if from_ns is not None and to_ns is not None and from_ns >= to_ns:
            raise ValueError(f"site {self.sensor_id} is valid from {from_ns} to {to_ns}")

    def stood_at(self, instant_ns: int) -> bool:
        """Whether the site stood so at this instant."""
        return (self.valid_from_ns is None or self.valid_from_ns <= instant_ns) and (
            self.valid_to_ns is None or instant_ns < self.valid_to_ns
        )


@dataclass(frozen=True, slots=True)
class Network:
    """The sites of one deployment, at one revision of what is known about them.

    Raises
    ------
    ValueError
        When one sensor stands in two places at once, or when geodetic and local positions are mixed.
    """

    sites: tuple[Site, ...]
    revision: int = 1

    def __post_init__(self) -> None:
        if self.revision < 1:
            raise ValueError(f"revision is {self.revision}: expected 1 or more")
        if len({type(site.position) for site in self.sites}) > 1:
            raise ValueError("sites mix degrees and metres: give all of a network in one frame")
        repeated = [name for name, count in Counter(site.sensor_id for site in self.sites).items() if count > 1]
        for name in repeated:
            stays = sorted(
                (s.valid_from_ns or -math.inf, s.valid_to_ns or math.inf) for s in self.sites if s.sensor_id == name
            )
            if any(earlier[1] > later[0] for earlier, later in itertools.pairwise(stays)):
                raise ValueError(f"sensor {name} stands in two places at once")

    def site(self, sensor_id: str, instant_ns: int) -> Site | None:
        """The site of this sensor at this instant, or None when it is not in the network then."""
        for site in self.sites:
            if site.sensor_id == sensor_id and site.stood_at(instant_ns):
                return site
        return None

    def at(self, instant_ns: int) -> tuple[Site, ...]:
        """Every site that stood at this instant, in the order of the network."""
        return tuple(site for site in self.sites if site.stood_at(instant_ns))

    def revised(self, sites: tuple[Site, ...]) -> Network:
        """The next revision, with other sites."""
        return replace(self, sites=sites, revision=self.revision + 1)
