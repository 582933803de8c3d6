"""The score: the shots of a run beside the truth of their scene: found, missed, false, how far off, how honestly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import seconds_between
from localization.ellipse import Ellipse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.study.scene import Scene

WITHIN_M: Final = 50.0  # farther from the truth than this, a fix is false
WITHIN_S: Final = 1.0  # the same in time, where the truth has one
CHI_SQUARE: Final = 5.991  # 95 %, two degrees of freedom


@dataclass(frozen=True, slots=True)
class Place:
    """One mode of a shot as a run wrote it: metres in the scene's frame."""

    east_m: float
    north_m: float
    ellipse: Ellipse
    covariance: tuple[float, float, float]

    def holds(self, east_m: float, north_m: float, sigma_m: float) -> bool:
        """Whether the region, widened by the survey's sigma, holds a place."""
        ee, en, nn = self.covariance
        greatest = 0.5 * (ee + nn) + math.hypot(0.5 * (ee - nn), en)
        quantile = self.ellipse.semi_major_m**2 / greatest
        # The survey's error is Gaussian with a known sigma, the region's quantile is wider: bring both to one scale.
        extra = sigma_m**2 * CHI_SQUARE / quantile
        x, y = east_m - self.east_m, north_m - self.north_m
        determinant = (ee + extra) * (nn + extra) - en**2
        return ((nn + extra) * x * x - 2.0 * en * x * y + (ee + extra) * y * y) / determinant <= quantile


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
    """A bang of the truth and the shot that is taken for it, or None."""

    scene: str
    truth_id: str
    sound: str
    shot: Shot | None
    error_m: float
    time_error_s: float
    held: bool
    cluster: tuple[str, float, float]
    """Bangs of one cluster were fired from one surveyed place: they share its errors."""


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one scene, or of several together.

    ``matches`` has a row for each bang of the truth, ``false`` the fixes that belong to none, ``exact`` says of each
    scene whether it has as many fixes near its truth as bangs, and no other.
    """

    matches: tuple[Match, ...]
    false: tuple[Shot, ...]
    exact: tuple[bool, ...]

    @classmethod
    def together(cls, scores: Iterable[Score]) -> Score:
        """Several scenes as one."""
        parts = list(scores)
        return cls(
            tuple(match for part in parts for match in part.matches),
            tuple(shot for part in parts for shot in part.false),
            tuple(exact for part in parts for exact in part.exact),
        )

    def figures(self) -> dict[str, object]:
        """What the matches amount to; errors in metres over gunshots that were found."""
        guns = [match for match in self.matches if match.sound == "gunshot"]
        found = [match for match in guns if match.shot is not None]
        errors = np.array([match.error_m for match in found])
        times = np.array([m.time_error_s for m in found if not math.isnan(m.time_error_s)])
        axes = [match.shot.places[0].ellipse.semi_major_m for match in found if match.shot is not None]
        return {
            "scenes": len(self.exact),
            "exact_scenes": sum(self.exact),
            "gunshots": len(guns),
            "found": len(found),
            "found_share": share(len(found), len(guns)),
            "found_interval": interval(len(found), len(guns), len({match.cluster for match in guns})),
            "false_fixes": len(self.false),
            "false_fixes_unmarked": sum(len(shot.places) == 1 for shot in self.false),
            "error_median_m": quantile(errors, 0.5),
            "error_p90_m": quantile(errors, 0.9),
            "error_max_m": quantile(errors, 1.0),
            "time_error_median_s": quantile(np.abs(times), 0.5),
            "held_share": share(sum(match.held for match in found), len(found)),
            "held_interval": interval(
                sum(match.held for match in found), len(found), len({match.cluster for match in found})
            ),
            "clusters": len({match.cluster for match in guns}),
            "semi_major_median_m": quantile(np.array(axes), 0.5),
            "outcomes": self.outcomes(),
        }

    def outcomes(self) -> dict[str, dict[str, int]]:
        """By true class what became of the bangs: published, review, suppressed, not found; false fixes apart."""
        result: dict[str, Counter[str]] = {}
        for match in self.matches:
            outcome = (match.shot.outcome or "stored") if match.shot is not None else "not found"
            result.setdefault(match.sound, Counter())[outcome] += 1
        for shot in self.false:
            result.setdefault("(false fix)", Counter())[shot.outcome or "stored"] += 1
        return {sound: dict(sorted(counts.items())) for sound, counts in sorted(result.items())}


def score(scene: Scene, shots: Sequence[Shot], within_m: float = WITHIN_M) -> Score:
    """Match the shots of a run to the truth of its scene: one to one, the nearest pairs first taken together.

    Parameters
    ----------
    scene : Scene
        With its truth.
    shots : sequence of Shot
        As the run wrote them.
    within_m : float
        How far a fix may lie from a bang to be taken for it, in any of its modes.
    """
    places = scene.frame.local([bang.place for bang in scene.truth])
    fixes = [shot for shot in shots if shot.places]
    pairs = _pairs(scene, places, fixes, within_m)
    matches = []
    for k, bang in enumerate(scene.truth):
        shot = fixes[pairs[k]] if k in pairs else None
        east, north = float(places[k, 0]), float(places[k, 1])
        matches.append(
            Match(
                scene=scene.name,
                truth_id=bang.shot_id,
                sound=bang.sound,
                shot=shot,
                error_m=_distance(shot.places[0], east, north) if shot else math.nan,
                time_error_s=seconds_between(bang.time_ns, shot.time_ns) if shot and bang.time_ns else math.nan,
                held=shot is not None and any(p.holds(east, north, bang.sigma_m) for p in shot.places),
                cluster=("", round(east, 1), round(north, 1)),
            )
        )
    false = tuple(fix for n, fix in enumerate(fixes) if n not in pairs.values())
    return Score(tuple(matches), false, (len(pairs) == len(scene.truth) and not false,))


def _pairs(scene: Scene, places: NDArray[np.float64], fixes: Sequence[Shot], within_m: float) -> dict[int, int]:
    """Which fix goes with which bang: the assignment with the least sum of distances, m and ms alike."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (a third of a second that only a score pays)

    if not len(places) or not fixes:
        return {}
    hopeless = 1e9
    cost = np.full((len(places), len(fixes)), hopeless)
    for k, bang in enumerate(scene.truth):
        for n, fix in enumerate(fixes):
            distance = min(_distance(place, places[k, 0], places[k, 1]) for place in fix.places)
            late_s = abs(seconds_between(bang.time_ns, fix.time_ns)) if bang.time_ns is not None else 0.0
            if distance <= within_m and late_s <= WITHIN_S:
                cost[k, n] = distance + 1e3 * late_s
    rows, columns = linear_sum_assignment(cost)
    return {int(k): int(n) for k, n in zip(rows, columns, strict=True) if cost[k, n] < hopeless}


def _distance(place: Place, east_m: float, north_m: float) -> float:
    return math.hypot(place.east_m - east_m, place.north_m - north_m)


def share(part: int, whole: int) -> float | None:
    """Part of the whole; None of nothing."""
    return part / whole if whole else None


def quantile(values: NDArray[np.float64], q: float) -> float | None:
    """Quantile of the values; None of none."""
    return float(np.quantile(values, q)) if len(values) else None


def interval(part: int, whole: int, clusters: int) -> tuple[float, float] | None:
    """95 % interval of a share (Wilson 1927), as if each cluster were one observation.

    Shots from one place share their paths and the error of its survey; taking them as wholly dependent is cautious,
    and is defined for one cluster too.
    """
    if not whole:
        return None
    z, n, p = 1.959964, max(1, clusters), part / whole
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)
