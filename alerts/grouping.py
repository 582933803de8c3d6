"""Which shots belong together: near in time, and near in space as far as their places are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND
from alerts.incident import shared_delays_s
from localization.fix import Fix

if TYPE_CHECKING:
    from alerts.incident import Incident, Shot
    from localization.fix import Mode, Unfixed

PAUSE_NS: Final = 5 * SECOND
"""Longest pause between two shots of one incident."""

TRAVEL_NS: Final = 60 * SECOND
"""Longest that a sound travels to any sensor that could hear it: 20 km."""

REACH_M: Final = 60.0
"""Shots no farther apart belong together however well they are placed: a shooter walks, two stand at one corner."""

FARTHEST_M: Final = 1_000.0
"""Shots farther apart never do, however badly they are placed: one vague fix must not swallow a district."""

SAME_PLACE: Final = 9.21
"""Squared Mahalanobis distance that 99 % of pairs from one place stay under (chi-square, two degrees of freedom)."""

SAME_DELAY_S: Final = 2.0 * REACH_M / 331.0
"""How much the delays between two bangs may differ from sensor to sensor: bangs `REACH_M` apart differ by up to
twice that path, at the speed of sound at 0 degC (Cramer 1993: 331.4 m/s)."""

SMALLEST_WEIGHT: Final = 0.1
"""A mode less probable than this does not draw other shots to it."""


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """How strongly a shot belongs to an incident; greater is stronger.

    ``placed``: the incident has a place. ``sensors``: how many sensors' delays agree, for a shot without one.
    ``minus_gap_ns``: minus the pause between them.
    """

    placed: bool
    sensors: int
    minus_gap_ns: int


def link(shot: Shot, incident: Incident) -> Link | None:
    """How a shot belongs to an incident, or None.

    Two shots with places belong together when at most `PAUSE_NS` lies between their discharges and their places are
    within `REACH_M`, or not to be told apart (`SAME_PLACE`). An incident grows along such pairs, so that the order of
    arrival does not matter among them.

    A shot without a place belongs to one with a place when two sensors or more heard both, with the same delay; one
    that only a single sensor heard belongs where that sensor heard the other too. Among themselves, shots without
    places belong together in the same way, single ones with single ones. They never draw a shot with a place, nor tie
    two incidents together.
    """
    first_ns, last_ns = incident.shots[0].time_ns, incident.shots[-1].time_ns
    slack_ns = PAUSE_NS if isinstance(shot, Fix) else PAUSE_NS + TRAVEL_NS
    if not first_ns - slack_ns <= shot.time_ns <= last_ns + slack_ns:
        return None
    fixes = incident.fixes
    if isinstance(shot, Fix):
        gaps = [gap for fix in fixes if (gap := abs(shot.time_ns - fix.time_ns)) <= PAUSE_NS and near(shot, fix)]
        return Link(placed=True, sensors=0, minus_gap_ns=-min(gaps)) if gaps else None
    found = [strength for other in fixes or incident.shots if (strength := _by_delay(shot, other)) is not None]
    return max(found, default=None)


def near(one: Fix, other: Fix) -> bool:
    """Whether some place of the one and some place of the other may be one place."""
    return any(
        _near(a, b)
        for a in one.modes
        for b in other.modes
        if min(a.weight, b.weight) >= SMALLEST_WEIGHT or (a is one.best and b is other.best)
    )


def _near(a: Mode, b: Mode) -> bool:
    east, north = a.place.east_m - b.place.east_m, a.place.north_m - b.place.north_m
    square = east**2 + north**2
    if square <= REACH_M**2:
        return True
    if square > FARTHEST_M**2:
        return False
    ee = a.covariance.ee_m2 + b.covariance.ee_m2
    en = a.covariance.en_m2 + b.covariance.en_m2
    nn = a.covariance.nn_m2 + b.covariance.nn_m2
    return (east**2 * nn - 2.0 * east * north * en + north**2 * ee) / (ee * nn - en**2) <= SAME_PLACE


def _by_delay(shot: Unfixed, other: Shot) -> Link | None:
    delays = shared_delays_s(shot, other)
    single = shot.n_sensors < 2 and (isinstance(other, Fix) or other.n_sensors < 2)
    if len(delays) < (1 if single else 2) or delays[-1] - delays[0] > SAME_DELAY_S:
        return None
    gap_ns = abs(round(delays[len(delays) // 2] * SECOND))
    if gap_ns > PAUSE_NS:
        return None
    return Link(placed=isinstance(other, Fix), sensors=len(delays), minus_gap_ns=-gap_ns)
