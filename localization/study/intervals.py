"""Intervals: how far a share or a rate that was counted may lie from the one that is meant."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
Z: Final = 1.959964
FEWEST_CLUSTERS: Final = 10
FEWEST_OF_EITHER: Final = 5
"""Clusters in which each outcome must have been seen before the likeness within clusters is estimated at all."""


def wilson(share: float, count: float, z: float = Z) -> tuple[float, float]:
    """95 % interval of a share of ``count`` independent observations (Wilson 1927); the count need not be whole."""
    middle = (share + z * z / (2.0 * count)) / (1.0 + z * z / count)
    half = z * math.sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count)) / (1.0 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def clustered_interval(outcomes: Iterable[tuple[Hashable, bool]]) -> tuple[float, float] | None:
    """95 % interval of a share whose observations come in clusters; None of no observation.

    Parameters
    ----------
    outcomes : iterable of (cluster, bool)
        What was seen, and of which cluster: shots from one place share their paths and the error of its survey.

    Notes
    -----
    Wilson's interval with an effective number of observations n p(1-p) / v, where v is the variance of the share
    as the clusters show it, and Student's t with one degree of freedom less than there are clusters in place of z
    (Korn and Graubard 1998; Dean and Pagano 2015; Franco, Little, Louis and Slud 2019 find Wilson's the best of seven
    in clustered samples). It is never more than the observations, nor less than Kish's (1965) (sum n)^2 / sum n^2,
    which is the number of clusters where all are of one size.

    That variance is itself an estimate, worthless from a handful of clusters and nought where all outcomes agree. With
    fewer than ten clusters, or an outcome seen in fewer than five, each cluster is therefore taken as wholly dependent:
    Kish's number and z. This is cautious, hence an interval may become shorter with the first failures that are seen.
    A bootstrap over clusters shares the weakness, and gives no interval at all where everything was held.
    """
    sizes, parts = _by_cluster(outcomes)
    whole = float(sizes.sum())
    if not whole:
        return None
    share = float(parts.sum()) / whole
    least = whole**2 / float(np.sum(sizes**2))
    clusters = len(sizes)
    seldom = min(int(np.count_nonzero(parts)), int(np.count_nonzero(sizes - parts)))
    if len(sizes) == whole:
        return wilson(share, whole)
    if clusters < FEWEST_CLUSTERS or seldom < FEWEST_OF_EITHER:
        return wilson(share, least)
    variance = clusters / (clusters - 1.0) * float(np.sum((parts - share * sizes) ** 2)) / whole**2
    effective = min(whole, max(least, share * (1.0 - share) / variance)) if variance > 0.0 else whole
    return wilson(share, effective, _student(clusters - 1))


def _by_cluster(outcomes: Iterable[tuple[Hashable, bool]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Observations of each cluster, and how many of them are true."""
    counts: dict[Hashable, list[float]] = {}
    for cluster, outcome in outcomes:
        count = counts.setdefault(cluster, [0.0, 0.0])
        count[0] += 1.0
        count[1] += outcome
    rows = np.array(list(counts.values())).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _student(freedom: int) -> float:
    from scipy.special import stdtrit  # only who asks for an interval pays for it

    return float(stdtrit(freedom, 0.5 + 0.5 * CONFIDENCE))


def poisson_interval(count: int, exposure: float) -> tuple[float, float] | None:
    """95 % interval of a rate of rare, independent things: ``count`` of them in ``exposure`` (Garwood 1936, exact).

    None of no exposure. The unit is that of the exposure: with array-days, per array-day.
    """
    from scipy.special import gammaincinv

    if not exposure > 0.0:
        return None
    tail = 0.5 - 0.5 * CONFIDENCE
    low = float(gammaincinv(count, tail)) if count else 0.0
    return low / exposure, float(gammaincinv(count + 1.0, 1.0 - tail)) / exposure
