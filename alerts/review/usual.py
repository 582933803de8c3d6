"""What is usual here: how many other bangs there are, and how much is gunfire, as a record of some weeks shows it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import sqlalchemy as sa

from acoustic.detection import probability
from acoustic.instant import EARLIEST_NS, LATEST_NS, SECOND, parse_instant
from alerts.alert import Alert, decode
from alerts.bangs import MINUTE_NS, SITE_M, TILE_M
from alerts.calendar_event import EQUATOR_M
from alerts.hand import NOT_GUNFIRE
from alerts.record import tables
from alerts.record.intact import intact
from alerts.trade import Row, Share, trade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from alerts.policy import Policy
    from alerts.record.database import Database
    from alerts.record.store import Store

HOUR_NS: Final = 3_600 * SECOND
DAY_NS: Final = 24 * HOUR_NS
FEWEST_DAYS: Final = 3
HALF_OF_95: Final = 1.9207
"""Half of chi-square's 95 % point with one degree of freedom: so far the logarithm of the likelihood falls."""
_PAGE: Final = 500

Interval = tuple[float, float, float]
"""What is likeliest, and the ends of the 95 % interval."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What a record shows of a city's ordinary nights.

    Parameters
    ----------
    days : int
        From the first incident's to the last one's, UTC; days on which the centre was down are among them.
    incidents, unplaced, expected : int
        How many there are to learn from; left out: without a place on the Earth, and beside an event of the calendar.
    ordinary_per_hour : tuple of float or None
        Other bangs an hour within ``near_m`` of where the incidents were, as `alerts.bangs` counts them, each by how
        probably it was no gunfire; the interval is that of the mean of days. None of fewer days than `FEWEST_DAYS`.
    prior : tuple of float or None
        The share of gunfire that makes the evidence of all incidents likeliest, with its profile interval. As right as
        the evidence is calibrated; None where there is none.
    judged : Share
        Of those that people judged surely, how many are gunfire: of what they looked at, not of all.
    rows : tuple of Row
        What other thresholds of publication would have done with those.
    """

    days: int
    incidents: int
    unplaced: int
    expected: int
    ordinary_per_hour: Interval | None
    prior: Interval | None
    judged: Share
    rows: tuple[Row, ...]


def usual(
    store: Store | Database,
    policy: Policy,
    near_m: float,
    from_ns: int = EARLIEST_NS,
    to_ns: int = LATEST_NS,
    modes: Iterable[str] = ("live",),
) -> Usual:
    """What the incidents show whose first round was in a span of time.

    Parameters
    ----------
    policy : Policy
        Whose prior the weights of the bangs and the thresholds are of.
    near_m : float
        How far away bangs count.
    from_ns, to_ns : int
        Instants UTC; the end does not belong to it.
    modes : iterable of str
        As alerts have them.

    Raises
    ------
    AlteredError
        When a document is not what was stored.
    """
    placed: list[Alert] = []
    left_out: Counter[str] = Counter()
    labelled: list[tuple[float, bool]] = []
    for alert, verdict in _standing(store, from_ns, to_ns, tuple(modes)):
        if verdict == "gunfire" or verdict in NOT_GUNFIRE:
            labelled.append((alert.what.llr, verdict == "gunfire"))
        if alert.what.expected:
            left_out["expected"] += 1
        elif alert.place is None or alert.place.latitude is None:
            left_out["unplaced"] += 1
        else:
            placed.append(alert)
    days = [parse_instant(alert.discharge_time.first) // DAY_NS for alert in placed]
    span = max(days) - min(days) + 1 if days else 0
    return Usual(
        span,
        len(placed),
        left_out["unplaced"],
        left_out["expected"],
        others_per_hour(placed, policy, near_m),
        likeliest_prior([alert.what.llr for alert in placed]),
        Share(sum(gunfire for _, gunfire in labelled), len(labelled)),
        trade(policy, labelled) if labelled else (),
    )


def others_per_hour(alerts: Sequence[Alert], policy: Policy, near_m: float) -> Interval | None:
    """The mean rate of other bangs around the places of incidents, by day, with the interval of the mean.

    The mean is over days, at the places and hours of the day as often as something was heard there and then: neither
    one bad evening nor the empty outskirts before dawn make what is usual.
    """
    sites = _sites(alerts, policy) if alerts else {}
    on_days = [minute * MINUTE_NS // DAY_NS for *_, minute in sites]
    if not on_days or max(on_days) - min(on_days) + 1 < FEWEST_DAYS:
        return None  # what was placed by hand alone has no round with a place
    tiles = sorted({(x // 2, y // 2) for x, y, _ in sites})
    number = {tile: k for k, tile in enumerate(tiles)}
    here = np.array([number[x // 2, y // 2] for x, y, _ in sites])
    instants = np.array([minute * MINUTE_NS for *_, minute in sites])
    hours, days = instants // HOUR_NS % 24, instants // DAY_NS
    often = np.bincount(hours * len(tiles) + here, minlength=24 * len(tiles)).reshape(24, -1) / len(sites)
    at = np.array(tiles, dtype=float) * TILE_M
    near = np.array([often[:, np.hypot(*(at - one).T) <= near_m].sum(axis=1) for one in at])  # for whom a tile is near
    among = (near[here, hours] * len(sites) - 1.0) / max(len(sites) - 1, 1)  # nothing is one of those around itself
    daily = np.bincount(days - days.min(), np.array(list(sites.values())) * among)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(daily) - 1)) * float(daily.std(ddof=1)) / math.sqrt(len(daily))
    mean = float(daily.mean())
    return mean, max(0.0, mean - half), mean + half


def likeliest_prior(llrs: Sequence[float]) -> Interval | None:
    """The share of gunfire under which this evidence is likeliest, with its profile interval; None of no evidence.

    The logarithm of the likelihood of a share p is the sum of log(1 + p (exp(llr) - 1)), which is concave; its maximum
    is where the iteration of Saerens, Latinne and Decaestecker (2002) ends.
    """
    if not llrs:
        return None
    gains = np.expm1(np.clip(np.array(llrs), -50.0, 50.0))

    def log_likelihood(share: float) -> float:
        return float(np.log1p(share * gains).sum())

    def slope(share: float) -> float:
        return float((gains / (1.0 + share * gains)).sum())

    least, most = 1e-9, 1.0 - 1e-9
    best = _crossing(slope, least, most)
    limit = log_likelihood(best) - HALF_OF_95
    low = _crossing(lambda share: limit - log_likelihood(share), least, best)
    high = _crossing(lambda share: log_likelihood(share) - limit, best, most)
    return best, low, high


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a function goes below zero; an end where it does not."""
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if falling(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def _sites(alerts: Sequence[Alert], policy: Policy) -> dict[tuple[int, int, int], float]:
    """Squares and minutes in which something banged, each with how probably its first was no gunfire."""
    middle = math.radians(float(np.median([alert.place.latitude for alert in alerts if alert.place is not None])))
    firsts: dict[tuple[int, int, int], tuple[int, float]] = {}
    for alert in alerts:
        for one in alert.rounds:
            if one.latitude is None or one.longitude is None:
                continue
            east_m = math.radians(one.longitude) * EQUATOR_M * math.cos(middle)  # to some metres in a thousand
            north_m = math.radians(one.latitude) * EQUATOR_M
            time_ns = parse_instant(one.time)
            site = math.floor(east_m / SITE_M), math.floor(north_m / SITE_M), time_ns // MINUTE_NS
            found = (time_ns, 1.0 - probability(one.llr, policy.log_prior_odds))
            firsts[site] = min(found, firsts.get(site, found))
    return {site: weight for site, (_, weight) in sorted(firsts.items())}


def _standing(
    store: Store | Database, from_ns: int, to_ns: int, modes: tuple[str, ...]
) -> Iterator[tuple[Alert, str | None]]:
    """The last revision of each incident that stands, in order, with what people said that it was."""
    row, said = tables.incident.c, tables.alert.c
    newest = (said.alert_id == row.alert_id) & (said.revision == row.revision)
    last_ns, last_id = from_ns, ""
    while True:
        behind = (row.first_ns > last_ns) | ((row.first_ns == last_ns) & (row.incident_id > last_id))
        page = (
            sa.select(row.first_ns, row.incident_id, row.verdict, row.disagreed, *_DOCUMENT)
            .select_from(tables.incident.join(tables.alert, newest))
            .where(behind, row.first_ns < to_ns, row.mode.in_(modes), row.merged_into.is_(None))
            .order_by(row.first_ns, row.incident_id)
            .limit(_PAGE)
        )
        with store.reading() as connection:
            rows = connection.execute(page).all()
        for each in rows:
            yield decode(intact(each)), None if each.disagreed else each.verdict
        if len(rows) < _PAGE:
            return
        last_ns, last_id = rows[-1].first_ns, rows[-1].incident_id


_DOCUMENT: Final = tuple(tables.alert.c[name] for name in ("alert_id", "revision", "document", "sha256"))
