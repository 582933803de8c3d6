"""Figures: what the matches of a score amount to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from localization.study.clusters import clustered
from localization.study.intervals import clustered_interval, poisson_interval
from localization.study.repeatability import by_position

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from localization.study.matches import Match, Matched

DAY_S: Final = 86_400.0
LEVELS: Final = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)


def figures_of(score: Matched) -> dict[str, object]:
    """The figures of a score; errors in metres over gunshots that were found."""
    guns = [match for match in score.matches if match.sound == "gunshot"]
    numbers = dict(zip(map(id, guns), clustered([match.spot for match in guns]), strict=True))
    found = [match for match in guns if match.shot is not None]
    return {
        "scenes": len(score.exact),
        "exact_scenes": sum(score.exact),
        "gunshots": len(guns),
        "found": len(found),
        "found_share": share(len(found), len(guns)),
        "found_interval": clustered_interval((numbers[id(match)], match.shot is not None) for match in guns),
        **_false(score),
        **_errors(found),
        "held_share": share(sum(match.held for match in found), len(found)),
        "held_interval": clustered_interval((numbers[id(match)], match.held) for match in found),
        "clusters": len(set(numbers.values())),
        **_sizes(found),
        "reliability": reliability(found, [numbers[id(match)] for match in found]),
        "one_mode": _one_mode(found),
        "several_modes": _several_modes(found),
        "with_astray": _with_astray(found, score),
        "rounds": _rounds(score),
        "positions": by_position(found),
        "outcomes": _outcomes(score),
    }


def share(part: int, whole: int) -> float | None:
    """Part of the whole; None of nothing."""
    return part / whole if whole else None


def quantile(values: ArrayLike, q: float) -> float | None:
    """Quantile of the values; None of none."""
    values = np.asarray(values, dtype=float)
    return float(np.quantile(values, q)) if len(values) else None


def _errors(found: Sequence[Match]) -> dict[str, object]:
    errors = [match.error_m for match in found]
    times = np.array([match.time_error_s for match in found if not math.isnan(match.time_error_s)])
    return {
        "error_median_m": quantile(errors, 0.5),
        "error_p90_m": quantile(errors, 0.9),
        "error_max_m": quantile(errors, 1.0),
        "time_error_median_s": quantile(np.abs(times), 0.5),
        "time_error_p90_s": quantile(np.abs(times), 0.9),
        "time_late_median_s": quantile(times, 0.5),
    }


def _sizes(found: Sequence[Match]) -> dict[str, object]:
    """How large the regions are: beside coverage, so that inflating shows."""
    places = [match.shot.places for match in found if match.shot is not None]
    return {
        "semi_major_median_m": quantile([modes[0].ellipse.semi_major_m for modes in places], 0.5),
        "area_median_m2": quantile([math.fsum(mode.ellipse.area_m2 for mode in modes) for modes in places], 0.5),
    }


def _false(score: Matched) -> dict[str, object]:
    days = score.array_s / DAY_S
    alerts = sum(outcome == "published" for outcome in score.strange)
    return {
        "false_fixes": len(score.false),
        "false_fixes_unmarked": sum(len(shot.places) == 1 for shot in score.false),
        "false_by_cause": dict(sorted(Counter(score.causes).items())),
        "false_alerts": alerts,
        "array_days": days,
        "false_fixes_per_array_day": len(score.false) / days if days else None,
        "false_fixes_per_array_day_interval": poisson_interval(len(score.false), days),
        "false_alerts_per_array_day": alerts / days if days else None,
        "false_alerts_per_array_day_interval": poisson_interval(alerts, days),
    }


def reliability(found: Sequence[Match], clusters: Sequence[int]) -> list[dict[str, Any]]:
    """How often the regions, rescaled to each level, hold the truth: the union of a shot's modes counts as one."""
    rows = []
    for level in LEVELS:
        held = [bool(match.holding(level)) for match in found]
        rows.append(
            {
                "stated": level,
                "held": share(sum(held), len(held)),
                "interval": clustered_interval(zip(clusters, held, strict=True)),
            }
        )
    return rows


def _one_mode(found: Sequence[Match]) -> dict[str, object]:
    single = [match for match in found if match.shot is not None and len(match.shot.places) == 1]
    return {
        "shots": len(single),
        "error_median_m": quantile([match.error_m for match in single], 0.5),
        "error_p90_m": quantile([match.error_m for match in single], 0.9),
        "held_share": share(sum(match.held for match in single), len(single)),
    }


def _several_modes(found: Sequence[Match]) -> dict[str, object]:
    """Ambiguous shots apart: whether the union holds the truth, and whether the weights mean what they say."""
    several = [(match, match.shot.places) for match in found if match.shot is not None and len(match.shot.places) > 1]
    holding = [match.holding(0.95) for match, _ in several]
    first = [modes[0] in held for (_, modes), held in zip(several, holding, strict=True)]
    return {
        "shots": len(several),
        "error_median_m": quantile([match.error_m for match, _ in several], 0.5),
        "error_p90_m": quantile([match.error_m for match, _ in several], 0.9),
        "nearest_mode_median_m": quantile([_nearest_m(match) for match, _ in several], 0.5),
        "union_held_share": share(sum(map(bool, holding)), len(several)),
        "weight_holding_median": quantile([math.fsum(mode.weight for mode in held) for held in holding], 0.5),
        "heaviest_weight_mean": float(np.mean([modes[0].weight for _, modes in several])) if several else None,
        "heaviest_holds_share": share(sum(first), len(several)),
    }


def _nearest_m(match: Match) -> float:
    if match.shot is None:
        return math.nan
    best = match.shot.places[0]
    east, north = best.east_m - match.offset_m[0], best.north_m - match.offset_m[1]
    return min(math.hypot(mode.east_m - east, mode.north_m - north) for mode in match.shot.places)


def _with_astray(found: Sequence[Match], score: Matched) -> dict[str, object]:
    """The same with the fixes that were meant for a bang and lie too far off to count: coverage owes for them too."""
    every = [*found, *(match for match in score.astray if match.sound == "gunshot")]
    return {
        "shots": len(every),
        "error_median_m": quantile([match.error_m for match in every], 0.5),
        "error_p90_m": quantile([match.error_m for match in every], 0.9),
        "held_share": share(sum(match.held for match in every), len(every)),
        "held_interval": clustered_interval(
            zip(clustered([match.spot for match in every]), [match.held for match in every], strict=True)
        ),
    }


def _rounds(score: Matched) -> dict[str, object]:
    bursts = score.bursts
    return {
        "bursts": len(bursts),
        "exact": sum(burst.counted == burst.fired for burst in bursts),
        "over": sum(burst.counted > burst.fired for burst in bursts),
        "under": sum(burst.counted < burst.fired for burst in bursts),
        "within_one": sum(abs(burst.counted - burst.fired) <= 1 for burst in bursts),
        "fired": sum(burst.fired for burst in bursts),
        "counted": sum(burst.counted for burst in bursts),
    }


def _outcomes(score: Matched) -> dict[str, dict[str, int]]:
    """By true class what became of the bangs: published, review, suppressed, not found; false fixes apart."""
    result: dict[str, Counter[str]] = {}
    for match in score.matches:
        outcome = (match.shot.outcome or "stored") if match.shot is not None else "not found"
        result.setdefault(match.sound, Counter())[outcome] += 1
    for shot in score.false:
        result.setdefault("(false fix)", Counter())[shot.outcome or "stored"] += 1
    return {sound: dict(sorted(counts.items())) for sound, counts in sorted(result.items())}
