"""The sensors as they stand at one time, and what follows from where they are."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import SECOND
from localization.search import Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from acoustic.detection import Detection
    from acoustic.pick import Pick
    from localization.solver import Solver
    from sensors.site import Network, Site

AUDIBLE_M: Final = 1_500.0  # sensors farther apart than this do not wait for each other
PATIENCE_S: Final = 0.15  # beyond the travel time: late paths
NEVER_NS: Final = 1 << 63  # beyond every instant


class Standing:
    """A network of sensors as it stands at one time, laid out for the search.

    Parameters
    ----------
    network : Network
        All of its sites, of every time.
    solver : Solver
        For the plane, the air and the street.
    at_ns : int or None
        The time; None before any is known: then each sensor stands where it stood last.
    """

    def __init__(self, network: Network, solver: Solver, at_ns: int | None) -> None:
        self.network = network
        stays: defaultdict[str, list[Site]] = defaultdict(list)
        for site in network.sites:
            stays[site.sensor_id].append(site)
        self._stays = stays
        self.sites = tuple(stay[-1] for stay in stays.values()) if at_ns is None else network.at(at_ns)
        self.index = {site.sensor_id: k for k, site in enumerate(self.sites)}
        places = solver.frame.local([site.position for site in self.sites])
        self.names = tuple(site.sensor_id for site in self.sites)
        speed = solver.air.sound_speed_m_per_s
        known = np.array([math.hypot(site.clock_sigma_s, site.position_sigma_m / speed) for site in self.sites])
        self.search = Search(solver, places, known)
        reach = min(_diameter(self.search.sensors), AUDIBLE_M)
        self.horizon_ns = round((reach / speed * 1.05 + PATIENCE_S) * SECOND)
        """How long after the first sensor any other may still hear the same bang."""
        edges = (edge for site in network.sites for edge in (site.valid_from_ns, site.valid_to_ns))
        self.until_ns = min((e for e in edges if e is not None and at_ns is not None and e > at_ns), default=NEVER_NS)
        """When a site next comes or goes."""

    def heard_by_one_of_ours(self, detection: Detection) -> bool:
        """Whether the detection's sensor was in the network when it heard it."""
        return any(site.stood_at(detection.pick.onset_ns) for site in self._stays.get(detection.sensor_id, ()))

    def sites_of(self, detections: Sequence[Detection]) -> tuple[Site, ...]:
        """Where each detection was heard, with the clock as it was then, where the device said so."""
        return tuple(as_heard(self.sites[self.index[d.sensor_id]], d.pick) for d in detections)

    def rows_in(self, former: Standing) -> NDArray[np.int64]:
        """For each sensor its row in ``former``, or -1, (S,)."""
        return np.array([former.index.get(site.sensor_id, -1) for site in self.sites], dtype=np.int64)


def as_heard(site: Site, pick: Pick) -> Site:
    """The site with the sigma that its clock had when it took this pick; as the table has it where none was told."""
    return site if pick.clock_sigma_s is None else replace(site, clock_sigma_s=pick.clock_sigma_s)


def _diameter(sensors: NDArray[np.float64]) -> float:
    """Greatest distance between two sensors, at most: the diagonal of the box around them, m."""
    return float(np.hypot(*np.ptp(sensors[:, :2], axis=0))) if len(sensors) else 0.0
