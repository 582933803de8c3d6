"""Confidence ellipses: from a covariance to axes, azimuth, area and an outline on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensors.site import Geodetic


@dataclass(frozen=True, slots=True)
class Covariance:
    """Covariance of an estimated place in the east-north plane, m^2.

    Raises
    ------
    ValueError
        When it is not finite or not positive definite.
    """

    ee_m2: float
    en_m2: float
    nn_m2: float

    def __post_init__(self) -> None:
        determinant = self.ee_m2 * self.nn_m2 - self.en_m2 * self.en_m2
        if not (self.ee_m2 > 0.0 and self.nn_m2 > 0.0 and 0.0 < determinant < math.inf):
            raise ValueError(f"({self.ee_m2}, {self.en_m2}, {self.nn_m2}) m^2 is not a covariance")

    def matrix(self) -> NDArray[np.float64]:
        """The same as a (2, 2) array, m^2."""
        return np.array([[self.ee_m2, self.en_m2], [self.en_m2, self.nn_m2]])


@dataclass(frozen=True, slots=True)
class Ellipse:
    """A region that holds the true place with probability ``confidence``.

    ``azimuth_deg`` is that of the major axis, clockwise from north, 0 up to 180; the axes are half lengths in metres.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    semi_major_m: float
    semi_minor_m: float
    azimuth_deg: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0.0 < self.semi_minor_m <= self.semi_major_m < math.inf:
            raise ValueError(f"axes are {self.semi_major_m} and {self.semi_minor_m} m: expected major >= minor > 0")
        if not 0.0 <= self.azimuth_deg < 180.0:
            raise ValueError(f"azimuth_deg is {self.azimuth_deg}: expected 0 up to 180")
        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"confidence is {self.confidence}: expected between 0 and 1")

    @property
    def area_m2(self) -> float:
        """Area, square metres."""
        return math.pi * self.semi_major_m * self.semi_minor_m

    def holds(self, east_m: float, north_m: float) -> bool:
        """Whether the point this far east and north of the centre lies inside or on the edge."""
        azimuth = math.radians(self.azimuth_deg)
        along = east_m * math.sin(azimuth) + north_m * math.cos(azimuth)
        across = east_m * math.cos(azimuth) - north_m * math.sin(azimuth)
        return (along / self.semi_major_m) ** 2 + (across / self.semi_minor_m) ** 2 <= 1.0

    def outline(self, centre: Geodetic, vertices: int = 64) -> list[tuple[float, float]]:
        """Longitude and latitude (degrees) round the ellipse on the WGS84 ellipsoid.

        Counter-clockwise and closed, as RFC 7946 wants a polygon's ring; 64 vertices lose 0.16 % of the area.
        """
        import pyproj  # only who draws pays for it

        turn = np.linspace(0.0, 2.0 * np.pi, vertices, endpoint=False)
        along, across = self.semi_major_m * np.cos(turn), self.semi_minor_m * np.sin(turn)
        # Measured counter-clockwise from the major axis, hence minus: azimuths run clockwise.
        azimuth = self.azimuth_deg - np.degrees(np.arctan2(across, along))
        longitude, latitude, _ = pyproj.Geod(ellps="WGS84").fwd(
            np.full(vertices, centre.longitude_deg),
            np.full(vertices, centre.latitude_deg),
            azimuth,
            np.hypot(along, across),
        )
        ring = [(round(float(x), 7), round(float(y), 7)) for x, y in zip(longitude, latitude, strict=True)]
        return [*ring, ring[0]]


def confidence_ellipse(covariance: Covariance, quantile: float, confidence: float = 0.95) -> Ellipse:
    """The ellipse where the squared Mahalanobis distance is ``quantile``.

    Parameters
    ----------
    covariance : Covariance
        m^2.
    quantile : float
        5.991 is chi-square's at 95 % with two degrees of freedom; 2 F(2, n) where the scale was estimated with n.
    confidence : float
        What the quantile stands for.
    """
    values, vectors = np.linalg.eigh(covariance.matrix())
    east, north = vectors[:, 1]
    azimuth = math.degrees(math.atan2(east, north)) % 180.0
    return Ellipse(
        math.sqrt(quantile * float(values[1])),
        math.sqrt(quantile * float(max(values[0], values[1] * 1e-12))),
        azimuth if azimuth < 180.0 else 0.0,
        confidence,
    )
