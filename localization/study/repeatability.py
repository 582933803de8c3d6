"""Repeatability: shots from one surveyed place, how they scatter among each other and how far off they lie together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from localization.study.clusters import clustered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.study.matches import Match

FEWEST_SHOTS: Final = 2
NEAR_M: Final = 15.0


def repeatability(offsets_m: NDArray[np.float64]) -> dict[str, float | int]:
    """Accuracy and precision of shots from one place.

    Parameters
    ----------
    offsets_m : (n, 2) float64
        East and north of each estimate from the surveyed place, m.

    Returns
    -------
    dict
        ``error_*``: distances to the survey; ``centroid_off_m``: of the mean estimate from it, what all shots share
        (blocked paths, the survey's own error); ``scatter_*``: distances to the mean estimate, what differs from shot
        to shot; the share within 15 m. Precision and accuracy are told apart as in Calhoun and others (2021,
        arXiv 2108.07377), whose figure of merit the 15 m are.
    """
    errors = np.hypot(*offsets_m.T)
    centroid = offsets_m.mean(axis=0)
    scatter = np.hypot(*(offsets_m - centroid).T)
    return {
        "shots": len(offsets_m),
        "error_median_m": float(np.median(errors)),
        "error_p90_m": float(np.quantile(errors, 0.9)),
        "error_rms_m": math.sqrt(float(np.mean(errors**2))),
        "within_15_m": float(np.mean(errors <= NEAR_M)),
        "centroid_off_m": float(np.hypot(*centroid)),
        "centroid_east_m": float(centroid[0]),
        "centroid_north_m": float(centroid[1]),
        "scatter_median_m": float(np.median(scatter)),
        "scatter_p90_m": float(np.quantile(scatter, 0.9)),
        "scatter_rms_m": math.sqrt(float(np.mean(scatter**2))),
    }


def by_position(found: Sequence[Match]) -> list[dict[str, Any]]:
    """The table of a paper: a row for each place from which several shots were found, in the order of their scenes."""
    groups: dict[int, list[Match]] = {}
    for number, match in zip(clustered([match.spot for match in found]), found, strict=True):
        groups.setdefault(number, []).append(match)
    return [
        {"position": name_of([match.scene for match in group])} | repeatability(np.array([m.offset_m for m in group]))
        for group in groups.values()
        if len(group) >= FEWEST_SHOTS
    ]


def name_of(scenes: Sequence[str]) -> str:
    """What the names of a position's scenes have in common: "FP1" of "..., FP1/test_001" and "..., FP1/test_002"."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*scenes, strict=False))
    common = "".join(letters[0] for letters in alike)
    if len(set(scenes)) > 1 and "/" in common:
        common = common.rsplit("/", 1)[0]
    return common.rsplit(", ", 1)[-1].strip(" ,/_-") or scenes[0]
