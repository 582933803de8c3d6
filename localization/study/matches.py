"""Matches: the shots of a run as they were written, and each bang of the truth with the shot that is taken for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from localization.ellipse import Ellipse

if TYPE_CHECKING:
    from localization.study.clusters import Spot

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Place:
    """One mode of a shot as a run wrote it: metres in the scene's frame."""

    east_m: float
    north_m: float
    ellipse: Ellipse
    covariance: tuple[float, float, float]
    weight: float = 1.0

    def holds(self, east_m: float, north_m: float, sigma_m: float, level: float = CONFIDENCE) -> bool:
        """Whether the region, rescaled to this level and widened by the survey's sigma, holds a place."""
        ee, en, nn = self.covariance
        quantile = self.quantile(level)
        # The survey's error is Gaussian with a known sigma, the region's quantile is wider: bring both to one scale.
        extra = sigma_m**2 * -2.0 * math.log1p(-level) / quantile
        x, y = east_m - self.east_m, north_m - self.north_m
        determinant = (ee + extra) * (nn + extra) - en**2
        return ((nn + extra) * x * x - 2.0 * en * x * y + (ee + extra) * y * y) / determinant <= quantile

    def quantile(self, level: float) -> float:
        """The squared Mahalanobis distance at which the region holds the truth with probability ``level``.

        The stated ellipse is one of chi-square, -2 log(1-level), or where it is wider than that, of twice Fisher's
        F(2, n), n ((1-level)^(-2/n) - 1), with the n that its size betrays.
        """
        ee, en, nn = self.covariance
        greatest = 0.5 * (ee + nn) + math.hypot(0.5 * (ee - nn), en)
        stated, confidence = self.ellipse.semi_major_m**2 / greatest, self.ellipse.confidence
        gaussian = -2.0 * math.log1p(-confidence)
        if level == confidence:
            return stated
        if stated <= 1.001 * gaussian:
            return stated * math.log1p(-level) / math.log1p(-confidence)
        low, high = 0.05, 1e4
        for _ in range(60):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if _fisher(confidence, middle) > stated else (low, middle)
        return _fisher(level, low)


def _fisher(level: float, freedom: float) -> float:
    return freedom * math.expm1(-2.0 / freedom * math.log1p(-level))


@dataclass(frozen=True, slots=True)
class Shot:
    """One row of shots.csv; ``places`` heaviest first, empty for an unfixed one; ``outcome`` that of its alert."""

    shot_id: str
    time_ns: int
    sound: str
    places: tuple[Place, ...]
    incident_id: str
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A bang of the truth and the shot that is taken for it, or None. ``error_m`` is that of the heaviest mode."""

    scene: str
    truth_id: str
    sound: str
    shot: Shot | None
    error_m: float
    time_error_s: float
    held: bool
    spot: Spot
    """Bangs of one surveyed place share its errors, and those of their paths."""
    offset_m: tuple[float, float] = (math.nan, math.nan)
    """East and north of the heaviest mode from the truth."""
    sigma_m: float = 0.0

    def holding(self, level: float) -> tuple[Place, ...]:
        """The modes whose regions at this level hold the truth, heaviest first."""
        if self.shot is None or not self.shot.places:
            return ()
        best = self.shot.places[0]
        east, north = best.east_m - self.offset_m[0], best.north_m - self.offset_m[1]
        return tuple(place for place in self.shot.places if place.holds(east, north, self.sigma_m, level))


@dataclass(frozen=True, slots=True)
class Burst:
    """Gunshots of one place that followed each other within ten seconds, and how many fixes they were given."""

    scene: str
    fired: int
    counted: int


@dataclass(frozen=True, slots=True)
class Matched:
    """Bangs and fixes of one scene, or of several together, side by side.

    ``matches`` has a row for each bang of the truth, ``false`` the fixes that belong to none, ``exact`` says of each
    scene whether it has as many fixes near its truth as bangs, and no other. ``causes`` says of each false fix what it
    came from; ``astray`` are the bangs that such a fix was meant for, with it; ``strange`` the outcomes of the
    incidents in which no gunshot of the truth was found; ``array_s`` for how long the arrays listened.
    """

    matches: tuple[Match, ...]
    false: tuple[Shot, ...]
    exact: tuple[bool, ...]
    causes: tuple[str, ...] = ()
    astray: tuple[Match, ...] = ()
    bursts: tuple[Burst, ...] = ()
    strange: tuple[str, ...] = ()
    array_s: float = 0.0
