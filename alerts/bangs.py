"""Bangs: how many places around here gave a bang in the last minutes that was probably no gunfire."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from acoustic.instant import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alerts.event_calendar import Spot

WINDOW_NS: Final = 600 * SECOND
"""How far back bangs count."""

SITE_M: Final = 250.0
"""Bangs of one minute in one square of this side count once: a string of crackers is one thing, as one incident is."""

TILE_M: Final = 2.0 * SITE_M
"""Squares by which nearness is asked: one counts when its middle is near enough."""

MINUTE_NS: Final = 60 * SECOND
FEW_TILES: Final = 64
"""So many are asked one by one faster than those around a place are looked up."""

UNIT: Final = 1 << 20
"""Weights are integers of this many to one bang, so that a sum does not depend on the order of its terms."""

Explained = frozenset[str]
Site = tuple[int, int, int]
Tile = dict[Explained, tuple[list[int], list[int]]]  # instants and weights, by what explains them


class Bang(NamedTuple):
    """A bang with a place.

    ``east_m``, ``north_m`` lie in the desk's own plane; ``weight`` is `UNIT` times the probability that it was no
    gunfire; ``explained`` are the expected events that it may belong to; ``spot`` is where it was on the Earth.
    """

    time_ns: int
    shot_id: str
    east_m: float
    north_m: float
    weight: int
    explained: Explained
    spot: Spot | None = None

    @property
    def site(self) -> Site:
        """Its square and its minute."""
        return (math.floor(self.east_m / SITE_M), math.floor(self.north_m / SITE_M), self.time_ns // MINUTE_NS)


class Bangs:
    """The bangs of the last minutes, by place.

    What is counted for an instant is made only of bangs before it: each site's first in each minute. So it depends
    neither on the order in which they came nor on what came later, nor on how they were grouped into incidents.
    """

    def __init__(self) -> None:
        self._known: dict[str, Bang] = {}
        self._sites: dict[Site, dict[str, Bang]] = {}
        self._firsts: dict[Site, Bang] = {}
        self._tiles: dict[tuple[int, int], Tile] = {}
        self._minutes: dict[int, set[Site]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Bang]:
        return iter(self._known.values())

    def add(self, bang: Bang) -> None:
        """Take a bang, in place of an earlier word of the same."""
        if self._known.get(bang.shot_id) == bang:
            return
        self.drop(bang.shot_id)
        self._known[bang.shot_id] = bang
        site = bang.site
        here = self._sites.setdefault(site, {})
        here[bang.shot_id] = bang
        first = self._firsts.get(site)
        if first is None or bang < first:
            self._lead(site, first, bang)
        self._minutes.setdefault(site[2], set()).add(site)

    def drop(self, shot_id: str) -> None:
        """Let go of a bang that has lost its place; nothing where it is unknown."""
        bang = self._known.pop(shot_id, None)
        if bang is None:
            return
        site = bang.site
        here = self._sites[site]
        del here[shot_id]
        if self._firsts[site] == bang:
            self._lead(site, bang, min(here.values(), default=None))
        if not here:
            del self._sites[site]

    def count(self, at_ns: int, east_m: float, north_m: float, near_m: float, explained: Explained) -> float:
        """How many sites within ``near_m`` (to a tile's half) banged in `WINDOW_NS` before an instant.

        Each counts with the probability that it was no gunfire. Bangs of an expected event count only where that is
        expected too: a show across the river says nothing about this side of it.
        """
        total = 0
        for tile in self._near(east_m, north_m, near_m):
            for events, (times, weights) in tile.items():
                if events <= explained:
                    total += sum(weights[bisect_left(times, at_ns - WINDOW_NS) : bisect_left(times, at_ns)])
        return total / UNIT

    def forget(self, before_ns: int) -> None:
        """Let go of every bang of a minute that ended before an instant."""
        limit = before_ns // MINUTE_NS
        for minute in [minute for minute in self._minutes if minute < limit]:
            for site in self._minutes.pop(minute):
                for shot_id in list(self._sites.get(site, ())):
                    self.drop(shot_id)

    def _near(self, east_m: float, north_m: float, near_m: float) -> Iterator[Tile]:
        """The tiles whose middle is near enough."""
        x, y = east_m / TILE_M - 0.5, north_m / TILE_M - 0.5
        reach = near_m / TILE_M
        if len(self._tiles) <= FEW_TILES:
            for at, tile in self._tiles.items():
                if math.hypot(at[0] - x, at[1] - y) <= reach:
                    yield tile
            return
        for row in range(math.ceil(y - reach), math.floor(y + reach) + 1):
            half = math.sqrt(max(0.0, reach**2 - (row - y) ** 2))
            for column in range(math.ceil(x - half), math.floor(x + half) + 1):
                found = self._tiles.get((column, row))
                if found is not None:
                    yield found

    def _lead(self, site: Site, old: Bang | None, new: Bang | None) -> None:
        """Count another bang as the first of its site and minute."""
        if old is not None:
            self._uncount(site, old)
        if new is None:
            del self._firsts[site]
            return
        self._firsts[site] = new
        tile = self._tiles.setdefault((site[0] // 2, site[1] // 2), {})
        times, weights = tile.setdefault(new.explained, ([], []))
        at = bisect_left(times, new.time_ns)
        times.insert(at, new.time_ns)
        weights.insert(at, new.weight)

    def _uncount(self, site: Site, bang: Bang) -> None:
        key = (site[0] // 2, site[1] // 2)
        times, weights = self._tiles[key][bang.explained]
        at = bisect_left(times, bang.time_ns)
        while weights[at] != bang.weight:  # several at one instant: whichever, so long as the sums stay right
            at += 1
        del times[at], weights[at]
        if not times:
            del self._tiles[key][bang.explained]
            if not self._tiles[key]:
                del self._tiles[key]
