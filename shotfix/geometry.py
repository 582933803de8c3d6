"""Geometry: whether a network's sensors stand so that shots can be placed; for the doctor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.air import Air
from localization.frame import Frame
from localization.study.coverage import FIX_NEEDS, coverage
from localization.study.scene import HILLINESS, LEAST_SOURCE_SIGMA_M, SOURCE_BELOW_SENSORS_M, Scene
from shotfix.finding import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensors.site import Site
    from shotfix.registry import Registry

FEWEST: Final = 4  # sensors for a place with a region that can be tested
THINNEST: Final = 0.1  # width over length of a network that is no line
FARTHEST_NEIGHBOUR_M: Final = 800.0  # beyond, a handgun is heard by too few
WORST_SURVEY_M: Final = 10.0
CELLS_ACROSS: Final = 16
MOST_SENSORS: Final = 300  # for a map while somebody waits
LEAST_SHARE: Final = 0.5


def findings(registry: Registry) -> Iterator[Finding]:
    """What a network's geometry is good for."""
    sites = tuple(site for site in registry.network.sites if site.valid_to_ns is None)
    if len(sites) < FEWEST:
        remedy = f"a shot is placed by {FEWEST} sensors at least"
        yield Finding("geometry", "WARN", f"{len(sites)} sensors now", remedy)
        return
    frame = Frame.of(registry.network)
    places = frame.local([site.position for site in sites])
    yield _shape(places)
    yield from _neighbours(sites, places)
    yield from _knowledge(sites)
    if len(sites) <= MOST_SENSORS:
        yield from _heard(registry, frame, places)


def _shape(places: NDArray[np.float64]) -> Finding:
    """Whether they stand in a line, from which nobody can tell one side from the other."""
    spreads = np.linalg.svd(places[:, :2] - places[:, :2].mean(axis=0), compute_uv=False)
    length_m, width_m = (float(spread) / math.sqrt(len(places)) for spread in spreads)
    said = f"{len(places)} sensors, scattered by {length_m:.0f} m along and {width_m:.0f} m across"
    if width_m < THINNEST * length_m:
        return Finding("geometry", "WARN", said, "they stand in a line: a shot beside it has two places; move one away")
    return Finding("geometry", "OK", said)


def _neighbours(sites: tuple[Site, ...], places: NDArray[np.float64]) -> Iterator[Finding]:
    distances = np.linalg.norm(places[:, None, :2] - places[None, :, :2], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    for k in np.flatnonzero(nearest > FARTHEST_NEIGHBOUR_M)[:5]:
        said = f"{sites[k].sensor_id} stands {nearest[k]:.0f} m from the next sensor"
        yield Finding("geometry", "WARN", said, "few shots are heard by both; is its position right?")
    for k in np.flatnonzero(nearest < 1.0)[:5]:
        said = f"{sites[k].sensor_id} stands {nearest[k]:.1f} m from another"
        yield Finding("geometry", "WARN", said, "two sensors at one place are one; for an array use [[sensor.element]]")


def _knowledge(sites: tuple[Site, ...]) -> Iterator[Finding]:
    """What is not known of them."""
    badly = [site.sensor_id for site in sites if site.position_sigma_m > WORST_SURVEY_M]
    if badly:
        said = f"position_sigma_m over {WORST_SURVEY_M:g} m of {_names(badly)}"
        yield Finding("survey", "WARN", said, "survey them: every fix they take part in is as unsure")
    deaf = [site.sensor_id for site in sites if site.full_scale_db_spl is None]
    if deaf:
        said = f"no full_scale_db_spl of {_names(deaf)}"
        yield Finding("survey", "WARN", said, "levels cannot be told; it is in the microphone's data sheet")


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _heard(registry: Registry, frame: Frame, places: NDArray[np.float64]) -> Iterator[Finding]:
    """How much of the area between the sensors is heard by enough of them, on a coarse map."""
    extent_m = float(np.max(np.ptp(places[:, :2], axis=0)))
    ups = places[:, 2]
    scene = Scene(
        name="network",
        start_ns=0,
        air=Air(),
        frame=frame,
        network=registry.network,
        source_up_m=float(np.median(ups)) - SOURCE_BELOW_SENSORS_M,
        source_sigma_m=math.hypot(LEAST_SOURCE_SIGMA_M, HILLINESS * float(np.std(ups))),
    )
    found = coverage(scene, cell_m=max(extent_m / CELLS_ACROSS, 1.0), margin_m=0.0)
    if not np.any(found.inside):
        yield Finding("coverage", "WARN", "the sensors enclose no area", "move one off the line")
        return
    share = float(np.mean(found.p_at_least(FIX_NEEDS)[found.inside]))
    said = (
        f"{share:.0%} of shots between the sensors are heard by {FIX_NEEDS} or more of them, by the usual assumptions"
    )
    if share < LEAST_SHARE:
        yield Finding("coverage", "WARN", said, "set sensors closer; shotfix coverage draws the map")
    else:
        yield Finding("coverage", "OK", said)
