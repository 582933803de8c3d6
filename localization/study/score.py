"""The score: the shots of a run beside the truth of their scene: found, missed, false, how far off, how honestly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import seconds_between
from localization.study.clusters import Ground, Spot
from localization.study.exposure import array_seconds
from localization.study.figures import figures_of
from localization.study.matches import Burst, Match, Matched, Place, Shot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.study.scene import Scene

__all__ = ["Burst", "Match", "Place", "Score", "Shot", "score"]

WITHIN_M: Final = 50.0  # farther from the truth than this, a fix is false
WITHIN_S: Final = 1.0  # the same in time, where the truth has one
ASTRAY_S: Final = 3.0  # a fix a kilometre off puts its discharge this far off at most
ECHOES_S: Final = 3.0  # what a street gives back comes within this time
SOUNDS_S: Final = 6.0  # thunder, the longest of bangs, has rolled over a sensor
SLOWEST_M_PER_S: Final = 320.0  # sound at -18 degC
BURST_S: Final = 10.0  # rounds from one place that follow each other faster are one burst


@dataclass(frozen=True, slots=True)
class Score(Matched):
    """The score of one scene, or of several together."""

    @classmethod
    def together(cls, scores: Iterable[Score]) -> Score:
        """Several scenes as one."""
        parts = list(scores)
        return cls(
            tuple(match for part in parts for match in part.matches),
            tuple(shot for part in parts for shot in part.false),
            tuple(exact for part in parts for exact in part.exact),
            tuple(cause for part in parts for cause in part.causes),
            tuple(match for part in parts for match in part.astray),
            tuple(burst for part in parts for burst in part.bursts),
            tuple(outcome for part in parts for outcome in part.strange),
            math.fsum(part.array_s for part in parts),
        )

    def figures(self) -> dict[str, object]:
        """What the matches amount to, by name; docs/scoring.md says what each one is."""
        return figures_of(self)


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

    Raises
    ------
    SceneError
        When a recording of the scene cannot be opened.
    """
    return _Table(scene, [shot for shot in shots if shot.places], within_m).score(shots)


class _Table:
    """Bangs and fixes of a scene side by side."""

    def __init__(self, scene: Scene, fixes: list[Shot], within_m: float) -> None:
        self.scene, self.fixes, self.within_m = scene, fixes, within_m
        self.places = scene.frame.local([bang.place for bang in scene.truth])
        self.sensors = scene.frame.local([site.position for site in scene.network.sites])
        ground = Ground.of(scene)
        self.spots = [Spot.of(scene, ground, bang.place) for bang in scene.truth]
        bangs, shots = range(len(self.places)), range(len(fixes))
        self.off_m = np.array([[self._off_m(k, n) for n in shots] for k in bangs]).reshape(len(bangs), len(shots))
        self.off_s = np.array([[self._off_s(k, n) for n in shots] for k in bangs]).reshape(len(bangs), len(shots))

    def _off_m(self, k: int, n: int) -> float:
        east, north, _ = self.places[k]
        return min(math.hypot(place.east_m - east, place.north_m - north) for place in self.fixes[n].places)

    def _off_s(self, k: int, n: int) -> float:
        """By how much the fix is late; 0 where nobody knows when the bang was."""
        time_ns = self.scene.truth[k].time_ns
        return 0.0 if time_ns is None else seconds_between(time_ns, self.fixes[n].time_ns)

    def score(self, shots: Sequence[Shot]) -> Score:
        pairs = _pairs(self.off_m, self.off_s, self.within_m, WITHIN_S)
        missed = [k for k in range(len(self.places)) if k not in pairs]
        spare = [n for n in range(len(self.fixes)) if n not in pairs.values()]
        doubles = {n: double for n in spare if (double := self._double(n, pairs)) is not None}
        stray = [n for n in spare if n not in doubles]
        lost = _pairs(self.off_m[np.ix_(missed, stray)], self.off_s[np.ix_(missed, stray)], math.inf, ASTRAY_S)
        astray = {missed[k]: stray[n] for k, n in lost.items()}
        return Score(
            matches=tuple(self._match(k, pairs.get(k)) for k in range(len(self.places))),
            false=tuple(self.fixes[n] for n in spare),
            exact=(len(pairs) == len(self.places) and not spare,),
            causes=tuple(self._cause(n, doubles, astray) for n in spare),
            astray=tuple(self._match(k, n) for k, n in astray.items()),
            bursts=tuple(self._bursts(pairs, doubles)),
            strange=self._strange(shots, pairs),
            array_s=array_seconds(self.scene),
        )

    def _match(self, k: int, n: int | None) -> Match:
        bang, spot = self.scene.truth[k], self.spots[k]
        if n is None:
            return Match(self.scene.name, bang.shot_id, bang.sound, None, math.nan, math.nan, held=False, spot=spot)
        east, north, _ = (float(x) for x in self.places[k])
        shot = self.fixes[n]
        offset = shot.places[0].east_m - east, shot.places[0].north_m - north
        return Match(
            scene=self.scene.name,
            truth_id=bang.shot_id,
            sound=bang.sound,
            shot=shot,
            error_m=math.hypot(*offset),
            time_error_s=float(self.off_s[k, n]) if bang.time_ns is not None else math.nan,
            held=any(p.holds(east, north, bang.sigma_m) for p in shot.places),
            spot=spot,
            offset_m=offset,
            sigma_m=bang.sigma_m,
        )

    # what the false ones are

    def _double(self, n: int, pairs: dict[int, int]) -> int | None:
        """The bang that was found already, and at whose spot this fix is one too many: most often its echo."""
        near = [k for k in pairs if self.off_m[k, n] <= self.within_m and abs(self.off_s[k, n]) <= ECHOES_S]
        return min(near, key=lambda k: abs(float(self.off_s[k, n])), default=None)

    def _cause(self, n: int, doubles: dict[int, int], astray: dict[int, int]) -> str:
        if n in doubles:
            return f"{self.scene.truth[doubles[n]].sound}, counted twice"
        for k, lost in astray.items():
            if lost == n:
                return f"{self.scene.truth[k].sound}, misplaced"
        timed = [k for k, bang in enumerate(self.scene.truth) if bang.time_ns is not None]
        near = [k for k in timed if -SOUNDS_S <= self.off_s[k, n] <= SOUNDS_S + self._travel_s(k)]
        if near:
            return f"during {self.scene.truth[min(near, key=lambda k: abs(float(self.off_s[k, n])))].sound}"
        return "nothing there" if len(timed) == len(self.scene.truth) else "unknown"

    def _travel_s(self, k: int) -> float:
        """How long a bang is under way to the farthest sensor."""
        away_m = np.hypot(*(self.sensors[:, :2] - self.places[k, :2]).T)
        return float(np.max(away_m, initial=0.0)) / SLOWEST_M_PER_S

    def _bursts(self, pairs: dict[int, int], doubles: dict[int, int]) -> Iterable[Burst]:
        last: dict[Spot, int] = {}
        bursts: dict[int, list[int]] = {}
        head: dict[int, int] = {}
        order = sorted(range(len(self.places)), key=lambda k: (self.scene.truth[k].time_ns or 0, k))
        for k in (k for k in order if self.scene.truth[k].sound == "gunshot"):
            before = last.get(self.spots[k])
            head[k] = head[before] if before is not None and self._follows(before, k) else k
            bursts.setdefault(head[k], []).append(k)
            last[self.spots[k]] = k
        for first, rounds in bursts.items():
            twice = sum(head.get(k) == first for k in doubles.values())
            yield Burst(self.scene.name, len(rounds), sum(k in pairs for k in rounds) + twice)

    def _follows(self, k: int, n: int) -> bool:
        earlier, later = self.scene.truth[k].time_ns, self.scene.truth[n].time_ns
        return earlier is None or later is None or seconds_between(earlier, later) <= BURST_S

    def _strange(self, shots: Sequence[Shot], pairs: dict[int, int]) -> tuple[str, ...]:
        true = {self.fixes[n].incident_id for k, n in pairs.items() if self.scene.truth[k].sound == "gunshot"}
        outcomes = {shot.incident_id: shot.outcome for shot in shots if shot.incident_id not in true}
        return tuple(outcome or "stored" for outcome in outcomes.values())


def _pairs(off_m: NDArray[np.float64], off_s: NDArray[np.float64], within_m: float, within_s: float) -> dict[int, int]:
    """Which fix goes with which bang: the most pairs there can be, with the least sum of distances, m and ms alike."""
    from scipy.optimize import linear_sum_assignment  # a third of a second that only a score pays

    hopeless = 1e9
    cost = np.where((off_m <= within_m) & (np.abs(off_s) <= within_s), off_m + 1e3 * np.abs(off_s), hopeless)
    rows, columns = linear_sum_assignment(cost)
    return {int(k): int(n) for k, n in zip(rows, columns, strict=True) if cost[k, n] < hopeless}
