"""Places as people read them: coordinates first, the region, and what stands there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import msgspec

from alerts.grid import national_grid
from localization.ellipse import Covariance, Ellipse

if TYPE_CHECKING:
    from localization.fix import Fix, Mode

Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90, description="degrees north, WGS84")]
Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180, description="degrees east, WGS84")]
East = Annotated[float, msgspec.Meta(description="metres east in `frame`, where it has no place on the Earth")]
North = Annotated[float, msgspec.Meta(description="metres north in `frame`, where it has no place on the Earth")]


@dataclass(frozen=True, slots=True)
class Polygon:
    """A GeoJSON polygon (RFC 7946): rings of longitude and latitude, closed, the outer one counter-clockwise."""

    coordinates: tuple[tuple[tuple[float, float], ...], ...]
    type: Literal["Polygon"] = "Polygon"


@dataclass(frozen=True, slots=True)
class Address:
    """A known address, and where the place lies from it: never the place itself.

    ``bearing_deg`` is from the address to the place, clockwise from north.
    """

    text: str
    distance_m: float
    bearing_deg: float


@dataclass(frozen=True, slots=True)
class Intersection:
    """The nearest crossing of two streets, and where the place lies from it."""

    text: str
    distance_m: float
    bearing_deg: float


Ring = tuple[tuple[float, float], ...]
"""Longitude and latitude round a region, closed, as `Polygon` has them."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands at a place and around it, as `Place` tells it; nothing of it where nothing is known."""

    address: Address | None = None
    addresses: tuple[Address, ...] = ()
    addresses_touched: int = 0
    intersection: Intersection | None = None
    beat: str | None = None
    large_parcel: bool | None = None
    parcel: str | None = None


class SurveyError(Exception):
    """What stands at a place cannot be told just now; the message says what to do. The place itself is not in doubt."""


class Surveyor(Protocol):
    """Who knows what stands where; `alerts.gazetteer.Gazetteer` is one."""

    def describe(self, latitude: float, longitude: float, polygon: Ring | None = None) -> Surroundings:
        """What stands at a place.

        Parameters
        ----------
        latitude, longitude : float
            Degrees, WGS84.
        polygon : tuple or None
            The region that the place is known to lie in.

        Raises
        ------
        SurveyError
            When it cannot be told.
        """
        ...


class NamedSurveyor(Surveyor, Protocol):
    """A surveyor whose knowledge has a digest, so that two can be told apart."""

    @property
    def sha256(self) -> str:
        """Of what it knows, hex."""
        ...


@dataclass(frozen=True, slots=True)
class OtherPlace:
    """Another place that explains what was heard, with its probability."""

    weight: Annotated[float, msgspec.Meta(ge=0, le=1)]
    latitude: Latitude | None
    longitude: Longitude | None
    east: East | None
    north: North | None
    covariance_m2: Covariance
    ellipse: Ellipse
    polygon: Polygon | None
    usng: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an incident was: degrees where the network stands on the Earth, else metres in a named frame.

    Parameters
    ----------
    latitude, longitude : float or None
        Degrees, WGS84, to 7 decimals (1 cm).
    frame : str or None
        Name of the local frame of ``east`` and ``north``; None where there are degrees.
    east, north : float or None
        Metres.
    weight : float
        Probability of this place among all that explain the arrivals; 1 unless ``modes`` lists others.
    covariance_m2 : Covariance
        Of the estimate, east and north.
    ellipse : Ellipse
        The region that holds the true place with its confidence.
    polygon : Polygon or None
        The same region as GeoJSON; None without degrees.
    modes : tuple of OtherPlace
        Further places, heaviest first.
    inside_hull : bool
        Whether it lies among the sensors used.
    usng : str or None
        United States National Grid, 10 m.
    address, intersection, beat, large_parcel, parcel
        What stands there; None until a gazetteer was imported. ``large_parcel``: a park, campus or the like, named by
        ``parcel``, whose own address would mislead and is never given.
    addresses : tuple of Address
        Those that the region touches, the nearest first, no farther than 1 km.
    addresses_touched : int
        How many that are; ``addresses`` lists the nearest of them.

    Raises
    ------
    ValueError
        Unless it has either degrees or a frame with metres.
    """

    latitude: Latitude | None
    longitude: Longitude | None
    frame: str | None
    east: East | None
    north: North | None
    weight: Annotated[float, msgspec.Meta(ge=0, le=1)]
    covariance_m2: Covariance
    ellipse: Ellipse
    polygon: Polygon | None
    modes: tuple[OtherPlace, ...]
    inside_hull: bool
    usng: str | None
    address: Address | None = None
    intersection: Intersection | None = None
    beat: str | None = None
    large_parcel: bool | None = None
    parcel: str | None = None
    addresses: tuple[Address, ...] = ()
    addresses_touched: int = 0

    def __post_init__(self) -> None:
        degrees = (self.latitude, self.longitude)
        metres = (self.frame, self.east, self.north)
        if (None in degrees) == (None in metres) or (any(v is not None for v in degrees) and metres != (None,) * 3):
            raise ValueError("a place has either latitude and longitude, or east and north with the frame's name")


def place_of(fix: Fix, frame_name: str, surveyor: Surveyor | None = None) -> Place:
    """The place of a fix: its heaviest mode, with the others beside it.

    Parameters
    ----------
    fix : Fix
        Where the shot was.
    frame_name : str
        What to call its plane where that has no place on the Earth.
    surveyor : Surveyor or None
        Who says what stands there; asked only about a place on the Earth.

    Raises
    ------
    SurveyError
        When the surveyor cannot say; without one the same place can be told.
    """
    best, *others = (_other(mode) for mode in fix.modes)
    around = _surveyed(best, surveyor)
    return Place(
        latitude=best.latitude,
        longitude=best.longitude,
        frame=None if best.latitude is not None else frame_name,
        east=best.east,
        north=best.north,
        weight=best.weight,
        covariance_m2=best.covariance_m2,
        ellipse=best.ellipse,
        polygon=best.polygon,
        modes=tuple(others),
        inside_hull=fix.inside_hull,
        usng=best.usng,
        address=around.address,
        intersection=around.intersection,
        beat=around.beat,
        large_parcel=around.large_parcel,
        parcel=around.parcel,
        addresses=around.addresses,
        addresses_touched=around.addresses_touched,
    )


def _surveyed(best: OtherPlace, surveyor: Surveyor | None) -> Surroundings:
    if surveyor is None or best.latitude is None or best.longitude is None:
        return Surroundings()
    ring = None if best.polygon is None else best.polygon.coordinates[0]
    return surveyor.describe(best.latitude, best.longitude, ring)


def _other(mode: Mode) -> OtherPlace:
    on_earth = mode.geodetic
    latitude = None if on_earth is None else round(on_earth.latitude_deg, 7)
    longitude = None if on_earth is None else round(on_earth.longitude_deg, 7)
    return OtherPlace(
        weight=round(mode.weight, 6),
        latitude=latitude,
        longitude=longitude,
        east=None if on_earth is not None else round(mode.place.east_m, 3),
        north=None if on_earth is not None else round(mode.place.north_m, 3),
        covariance_m2=_rounded_covariance(mode.covariance),
        ellipse=rounded_ellipse(mode.ellipse),
        polygon=None if on_earth is None else Polygon((tuple(mode.ellipse.outline(on_earth)),)),
        usng=None if latitude is None or longitude is None else national_grid(latitude, longitude),
    )


def rounded_ellipse(ellipse: Ellipse) -> Ellipse:
    """The ellipse to the centimetre and a hundredth of a degree, never to nothing."""
    minor = max(round(ellipse.semi_minor_m, 2), 0.01)
    return Ellipse(
        max(round(ellipse.semi_major_m, 2), minor),
        minor,
        round(ellipse.azimuth_deg, 2) % 180.0,
        ellipse.confidence,
    )


def _rounded_covariance(covariance: Covariance) -> Covariance:
    # Significant digits, not decimals: a rounded covariance must stay positive definite.
    return Covariance(*(float(f"{v:.12g}") for v in (covariance.ee_m2, covariance.en_m2, covariance.nn_m2)))
