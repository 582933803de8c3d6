"""Clusters: which bangs of which scenes were fired from one surveyed place, and so share its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensors.site import Local

if TYPE_CHECKING:
    from localization.study.scene import Scene
    from sensors.site import Geodetic


@dataclass(frozen=True, slots=True)
class Ground:
    """The plane in which a place was surveyed.

    Parameters
    ----------
    landmarks : frozenset of str
        In a plane that floats: its sensors, by name and place. Empty in one that is tied to the Earth.

    Notes
    -----
    Coordinates in a floating plane say nothing to another one: in each test of a live fire the muzzle may stand at
    the same metres of an arbitrary origin. Two such planes are one where a sensor of the same name stands at the same
    coordinates, to a decimetre: a network that was surveyed once, of which each test recorded some. Made-up scenes that
    share a corner by chance are taken for one plane too, which costs nothing unless they share shots' places as well.
    Planes tied to the Earth are all one.
    """

    landmarks: frozenset[str] = frozenset()

    @classmethod
    def of(cls, scene: Scene) -> Ground:
        """The ground of a scene."""
        if scene.frame.origin is not None:
            return cls()
        sites = scene.network.sites
        places = scene.frame.local([site.position for site in sites])
        return cls(
            frozenset(
                f"{site.sensor_id} {round(float(east), 1) + 0.0} {round(float(north), 1) + 0.0}"
                for site, (east, north, _) in zip(sites, places, strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Spot:
    """A surveyed place: on its ground, by degrees to a tenth of a metre where it is tied, by decimetres elsewhere."""

    ground: Ground
    first: float
    second: float

    @classmethod
    def of(cls, scene: Scene, ground: Ground, place: Geodetic | Local) -> Spot:
        """The spot of a place of a scene."""
        if isinstance(place, Local):
            on_earth = scene.frame.geodetic(place.east_m, place.north_m, place.up_m)
            if on_earth is None:
                return cls(ground, round(place.east_m, 1) + 0.0, round(place.north_m, 1) + 0.0)
            place = on_earth
        return cls(ground, round(place.latitude_deg, 6) + 0.0, round(place.longitude_deg, 6) + 0.0)


def clustered(spots: Sequence[Spot]) -> list[int]:
    """The number of each spot's cluster, counted from 0 in the order in which they appear.

    Grounds that share sensors with a third are one with it, hence with each other.
    """
    planes = _joined(list(dict.fromkeys(spot.ground for spot in spots)))
    numbers: dict[tuple[int, float, float], int] = {}
    return [numbers.setdefault((planes[spot.ground], spot.first, spot.second), len(numbers)) for spot in spots]


def _joined(grounds: list[Ground]) -> dict[Ground, int]:
    """The plane of each ground, by the index of its first one."""
    plane = list(range(len(grounds)))
    standing: dict[str, int] = {}  # by landmark, the first ground that has it
    for k, ground in enumerate(grounds):
        for landmark in ground.landmarks:
            first, own = plane[standing.setdefault(landmark, k)], plane[k]
            if first != own:
                low, high = min(first, own), max(first, own)
                plane = [low if each == high else each for each in plane]
    return dict(zip(grounds, plane, strict=True))
