"""Frames: the local east-north-up plane in which places are computed, and its tie to the WGS84 ellipsoid."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensors.site import Geodetic, Local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sensors.site import Network


@dataclass(frozen=True, slots=True)
class Frame:
    """A local plane; with an origin it is tied to the Earth, without one it floats.

    With an origin it is the topocentric frame there: east, north and up of the tangent plane (EPSG method 9837),
    exact at any distance, so that straight lines keep their length. "Up" leaves the ellipsoid's height by d^2 / 2R:
    8 cm at a kilometre, 2 m at five.
    """

    origin: Geodetic | None = None

    @classmethod
    def of(cls, network: Network, origin: Geodetic | None = None) -> Frame:
        """The frame of a network: the mean of its sites when they are geodetic, else the ``origin`` given."""
        places = [site.position for site in network.sites]
        geodetic = [place for place in places if isinstance(place, Geodetic)]
        if not geodetic:
            return cls(origin)
        # Longitudes are averaged as an offset from the first, so that a network astride the date line stays whole.
        east = [(place.longitude_deg - geodetic[0].longitude_deg + 180.0) % 360.0 - 180.0 for place in geodetic]
        longitude = geodetic[0].longitude_deg + float(np.mean(east))
        return cls(
            Geodetic(
                float(np.mean([place.latitude_deg for place in geodetic])),
                (longitude + 180.0) % 360.0 - 180.0,
                float(np.mean([place.height_m for place in geodetic])),
            )
        )

    def local(self, places: Sequence[Geodetic | Local]) -> NDArray[np.float64]:
        """East, north and up of each place, (n, 3) in metres.

        Raises
        ------
        ValueError
            For a geodetic place in a frame without origin: degrees never become metres by accident.
        """
        result = np.empty((len(places), 3))
        for row, place in zip(result, places, strict=True):
            if isinstance(place, Local):
                row[:] = place.east_m, place.north_m, place.up_m
            else:
                row[:] = self._transformer().transform(place.longitude_deg, place.latitude_deg, place.height_m)
        return result

    def geodetic(self, east_m: float, north_m: float, up_m: float) -> Geodetic | None:
        """The place on the Earth, or None in a frame without origin."""
        if self.origin is None:
            return None
        longitude, latitude, height = self._transformer().transform(east_m, north_m, up_m, direction="INVERSE")
        return Geodetic(float(latitude), float(longitude), float(height))

    def _transformer(self) -> Any:
        if self.origin is None:
            raise ValueError("this frame has no origin: degrees cannot be placed in it; give [origin], or use metres")
        return _topocentric(self.origin.longitude_deg, self.origin.latitude_deg, self.origin.height_m)


@functools.cache
def _topocentric(longitude_deg: float, latitude_deg: float, height_m: float) -> Any:
    import pyproj  # a fifth of a second that a scene in metres need not pay

    return pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=cart +ellps=WGS84 "
        f"+step +proj=topocentric +ellps=WGS84 +lon_0={longitude_deg!r} +lat_0={latitude_deg!r} +h_0={height_m!r}"
    )
