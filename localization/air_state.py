"""The air as recent bangs felt it: temperature and wind round each place, filtered over the last minutes.

A bang that many sensors heard tells how fast sound went in each direction, whatever the weather report says. What it
tells is kept for a while and shared with the bangs that follow nearby; without new bangs the report comes back.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.air import Air, sound_speed
from acoustic.instant import SECOND, check_instant
from localization.air_filter import SAME_PLACE_M, Belief, Filter, Seen, Weathering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

AIR: Final = slice(3, 6)  # sound speed, wind east, wind north among the seven parameters of a bang
MOST_OF_A_TILE: Final = 128
MOST_HEARD: Final = 32  # of the bangs round a place the latest; what earlier ones said has drifted away, or is in them
MOST_OF_A_SPOT: Final = 4


def air_seen(p: Floats, information: Floats, prior: Floats, prior_sigma: Floats) -> tuple[Floats, Floats]:
    """What the arrivals of one bang say of the air, apart from what was assumed of it.

    Parameters
    ----------
    p : (7,) float64
        Most probable east, north, up (m), sound speed, wind east and north (m/s), discharge (s), under the prior.
    information : (7, 7) float64
        Of the arrivals alone at ``p``: the sum of gradient gradient' / sigma^2, without any prior.
    prior, prior_sigma : (7,) float64
        What was assumed, as `localization.solver.Solver.prior` gives it; infinite where nothing was.

    Returns
    -------
    mean : (3,) float64
        Sound speed, wind east, wind north, m/s. Arbitrary in directions without information.
    information : (3, 3) float64
        Of that mean, with place, discharge and height marginalised; singular where the arrivals are silent.

    Notes
    -----
    At the maximum the slope of the data's log-likelihood balances the prior's, so the prior can be taken back out:
    with S the Schur complement, mean = a + S^-1 L (a - m), where L is the prior's precision, m its mean and a the air
    in ``p``. The height's prior stays in: it is knowledge that belongs to this bang alone.

    Raises
    ------
    ValueError
        When something is not finite.
    """
    if not (np.all(np.isfinite(p)) and np.all(np.isfinite(information))):
        raise ValueError("a bang's parameters or their information are not finite: it tells nothing of the air")
    full = 0.5 * (information + information.T)
    if math.isfinite(prior_sigma[2]):
        full[2, 2] += 1.0 / prior_sigma[2] ** 2
    rest = [0, 1, 2, 6]
    cross = full[AIR][:, rest]
    seen = full[AIR, AIR] - cross @ np.linalg.pinv(full[np.ix_(rest, rest)], hermitian=True) @ cross.T
    values, vectors = np.linalg.eigh(0.5 * (seen + seen.T))
    # Rounding leaves a little information, of either sign, where there is none.
    values = np.where(values > 1e-10 * max(float(values[-1]), 0.0), values, 0.0)
    pull = (p[AIR] - prior[AIR]) / prior_sigma[AIR] ** 2
    inverse = np.divide(1.0, values, out=np.zeros(3), where=values > 0.0)
    return p[AIR] + vectors @ (inverse * (vectors.T @ pull)), (vectors * values) @ vectors.T


class AirState:
    """The air of a city as weather report and bangs tell it together, for any place from the bangs around it.

    A pure machine: time is an argument, and what is believed depends on what was told, not on the order in which it
    was.

    Parameters
    ----------
    report : Air
        The weather report, METAR or local station, in force until `report` brings another.
    weathering : Weathering
        How air changes.
    """

    def __init__(self, report: Air, weathering: Weathering | None = None) -> None:
        self.weathering = weathering or Weathering()
        self.counts: Counter[str] = Counter()
        """`observed`; and what was not used: `late` (too old when told), `forgotten` (fell out of memory), `silent`
        (no information in it). `Belief.unused` tells how many contradict what is believed."""
        self._reports: list[tuple[int | None, Air]] = [(None, report)]
        self._tiles: dict[tuple[int, int], list[Seen]] = {}
        self._where: dict[str, tuple[int, int]] = {}
        self._newest_ns: int | None = None

    # messages

    def report(self, time_ns: int, air: Air) -> None:
        """A weather report that is in force from ``time_ns`` on."""
        check_instant(time_ns, "time_ns")
        kept = [(since, told) for since, told in self._reports if since != time_ns]
        first, *rest = kept
        rest = sorted([*rest, (time_ns, air)], key=lambda row: row[0] or 0)
        # Reports are wanted for as long as bangs are: the last one before them, and those after.
        horizon_ns = self._horizon_ns()
        while rest and len(rest) > 1 and horizon_ns is not None and (rest[1][0] or 0) <= horizon_ns:
            rest.pop(0)
        self._reports = [first, *rest]

    def observe(
        self,
        time_ns: int,
        place: tuple[float, float],
        mean: Floats,
        information: Floats,
        name: str,
        shared: float = 0.0,
    ) -> None:
        """Take what a bang says of the air.

        Parameters
        ----------
        time_ns : int
            Its discharge.
        place : (east, north), m
            In the plane of the network.
        mean, information : (3,) and (3, 3) float64
            As `air_seen` gives them.
        name : str
            The bang's; told again, the later telling replaces the earlier one.
        shared : float
            The share, 0 to 1, of its arrivals' variance that is survey and clocks: other bangs have the same errors,
            so that many of them do not average out.

        Raises
        ------
        ValueError
            When something is not finite.
        """
        check_instant(time_ns, "time_ns")
        if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(information)) and np.all(np.isfinite(place))):
            raise ValueError(f"bang {name}: what it says of the air is not finite")
        if not 0.0 <= shared <= 1.0:
            raise ValueError(f"bang {name}: shared is {shared}: expected 0 to 1")
        held = self._where.pop(name, None)
        if held is not None:
            self._tiles[held] = [seen for seen in self._tiles[held] if seen.name != name]
        self.counts["observed"] += 1
        if not np.any(information):
            self.counts["silent"] += 1
            return
        horizon_ns = self._horizon_ns()
        if horizon_ns is not None and time_ns < horizon_ns:
            self.counts["late"] += 1
            return
        where = float(place[0]), float(place[1])
        seen = Seen(time_ns, name, where, information.copy(), information @ mean, shared)
        tile = self._where[name] = self._tile(place)
        bisect.insort(self._tiles.setdefault(tile, []), seen, key=lambda s: s.key)
        self._newest_ns = time_ns if self._newest_ns is None else max(self._newest_ns, time_ns)
        self._forget()

    def _horizon_ns(self) -> int | None:
        if self._newest_ns is None:
            return None
        return self._newest_ns - round((self.weathering.memory_s + self.weathering.lateness_s) * SECOND)

    def _forget(self) -> None:
        horizon_ns = self._horizon_ns()
        for key in list(self._tiles):
            held = self._tiles[key]
            kept = [seen for seen in held if horizon_ns is None or seen.time_ns >= horizon_ns][-MOST_OF_A_TILE:]
            self.counts["forgotten"] += len(held) - len(kept)
            for seen in held[: len(held) - len(kept)]:  # the earliest, since a tile is ordered by time
                del self._where[seen.name]
            self._tiles[key] = kept
            if not kept:
                del self._tiles[key]

    def _tile(self, place: tuple[float, float]) -> tuple[int, int]:
        side = self.weathering.tile_m
        return math.floor(place[0] / side), math.floor(place[1] / side)

    def _round(self, place: tuple[float, float]) -> list[Seen]:
        """The bangs in the square round a place, by time."""
        side = self.weathering.tile_m
        east, north = self._tile(place)
        near = [
            seen
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
            for seen in self._tiles.get((east + i, north + j), ())
            if abs(seen.place[0] - place[0]) <= side and abs(seen.place[1] - place[1]) <= side
        ]
        return sorted(near, key=lambda seen: seen.key)

    # what is believed

    def reported(self, time_ns: int) -> Air:
        """The report in force at this instant."""
        air = self._reports[0][1]
        for since_ns, told in self._reports[1:]:
            if since_ns is not None and since_ns <= time_ns:
                air = told
        return air

    def belief(self, time_ns: int, place: tuple[float, float]) -> Belief:
        """What bangs before this instant, and the report, say of the air at a place."""
        report = self.reported(time_ns)
        earliest_ns = time_ns - round(self.weathering.memory_s * SECOND)
        seen = [s for s in self._round(place) if earliest_ns <= s.time_ns < time_ns]
        return Filter(report, self.weathering, _latest(seen)).at(time_ns)

    def air_at(self, time_ns: int, place: tuple[float, float]) -> Air:
        """The air at a place and instant, as a record; the report itself where no bang has told better.

        The record knows one sigma for temperature and one for both axes of the wind: they are chosen so that no
        direction is believed to be known better than it is.
        """
        report = self.reported(time_ns)
        belief = self.belief(time_ns, place)
        if not belief.used:
            return report
        speed_sigma, wind_sigma = enclosing_sigmas(belief.covariance)
        slope = report_slope(report)
        temperature_c = temperature_for(float(belief.mean[0]), report)
        return replace(
            report,
            temperature_c=temperature_c,
            temperature_sigma_c=min(speed_sigma / slope, 50.0),
            wind_east_m_per_s=float(np.clip(belief.mean[1], -60.0, 60.0)),
            wind_north_m_per_s=float(np.clip(belief.mean[2], -60.0, 60.0)),
            wind_sigma_m_per_s=min(wind_sigma, 60.0),
        )


def _latest(seen: list[Seen]) -> list[Seen]:
    """The latest bangs, by time; of those from one spot only the last few, so that a long burst drowns out nobody."""
    kept: list[Seen] = []
    for one in reversed(seen):
        if sum(math.dist(one.place, other.place) < SAME_PLACE_M for other in kept) < MOST_OF_A_SPOT:
            kept.append(one)
        if len(kept) == MOST_HEARD:
            break
    return kept[::-1]


def enclosing_sigmas(covariance: Floats) -> tuple[float, float]:
    """Sigmas of speed and of each axis of wind whose independent ellipsoid holds that of a (3, 3) covariance, m/s."""
    speed, wind = float(covariance[0, 0]), float(np.linalg.eigvalsh(covariance[1:, 1:])[-1])
    scale = 1.0 / np.sqrt([speed, wind, wind])
    more = math.sqrt(max(1.0, float(np.linalg.eigvalsh(covariance * np.outer(scale, scale))[-1])))
    return more * math.sqrt(speed), more * math.sqrt(wind)


def report_slope(air: Air) -> float:
    """How much faster sound is for each degree, m/s, at this temperature."""
    step = 0.5
    above = sound_speed(air.temperature_c + step, air.relative_humidity_percent, air.pressure_pa)
    return (above - sound_speed(air.temperature_c - step, air.relative_humidity_percent, air.pressure_pa)) / (2 * step)


def temperature_for(speed_m_per_s: float, report: Air) -> float:
    """The temperature, degrees Celsius, at which sound has this speed in air as humid and heavy as the report's.

    Three Newton steps on Cramer's formula, whose slope hardly changes; kept within -50 and 60.
    """
    air = report
    for _ in range(3):
        temperature_c = air.temperature_c + (speed_m_per_s - air.sound_speed_m_per_s) / report_slope(air)
        air = replace(air, temperature_c=min(max(temperature_c, -49.0), 59.0))
    return air.temperature_c
