"""Scoring: runs beside the scenes they came from, as figures for a machine and a table for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from localization.study.scene_reading import read_scene
from localization.study.score import Score, score
from localization.study.table import SceneError
from shotfix.reading import read_shots, read_times

MOST_POSITIONS: Final = 12
PICTURES: Final = (".png", ".svg", ".pdf")


def score_runs(folder: Path, scenes: tuple[Path, ...], within_m: float, plot: Path | None = None) -> dict[str, Any]:
    """Figures of each scene by its folder's name, and under "all" of all together; with ``plot`` a picture of them.

    Raises
    ------
    SceneError
        When a scene has no truth, or the folder no run of it.
    """
    scores: dict[str, Score] = {}
    wall_s = audio_s = 0.0
    for path in scenes:
        scene = read_scene(path)
        if not scene.truth:
            raise SceneError(f"{path}: no truth.csv; there is nothing to compare with")
        run = folder if len(scenes) == 1 else folder / path.resolve().name
        scores[path.resolve().name] = score(scene, read_shots(run), within_m)
        took = read_times(run)
        wall_s, audio_s = wall_s + took[0], audio_s + took[1]
    together = Score.together(scores.values())
    figures = together.figures()
    if plot is not None:
        from shotfix.score_picture import draw_score  # matplotlib, only who draws pays for it

        draw_score(together, figures, plot)
    return {
        "scenes": {name: one.figures() for name, one in scores.items()},
        "all": figures | {"wall_s": round(wall_s, 3), "audio_s": round(audio_s, 3)},
    }


def judged(
    figures: dict[str, Any], *, least_found: float | None, most_median_m: float | None, least_held: float | None
) -> list[str]:
    """Which of the stated bounds are broken, each as a line."""
    bounds = (
        ("share of gunshots found", figures["found_share"], least_found, "at least"),
        ("median error, m", figures["error_median_m"], most_median_m, "at most"),
        ("share of regions that hold the truth", figures["held_share"], least_held, "at least"),
    )
    return [
        f"{what}: {'none' if value is None else format(value, '.3f')}, {which} {bound:g} asked"
        for what, value, bound, which in bounds
        if bound is not None and (value is None or (value < bound if which == "at least" else value > bound))
    ]


def told(figures: dict[str, Any]) -> str:
    """The figures of all scenes as a table for people."""
    a = figures["all"]
    lines = [
        f"scenes      {a['scenes']}, {a['exact_scenes']} with just the right shots",
        f"found       {a['found']} of {a['gunshots']} gunshots{_interval(a['found_interval'])}",
        *_rounds(a["rounds"]),
        *_false(a),
        f"error       {_errors(a)}",
        *_times(a),
        f"region      95 %, holds the truth in {_percent(a['held_share'])}{_interval(a['held_interval'])}",
        f"            medians: semi-major axis {_metres(a['semi_major_median_m'])}, area {_area(a['area_median_m2'])}",
        *_reliability(a["reliability"]),
        *_modes(a["several_modes"]),
        f"intervals   95 %, shots from one place are alike ({a['clusters']} places)",
        f"time        {a['wall_s']:.1f} s for {a['audio_s']:.0f} s of audio",
    ]
    for sound, outcomes in a["outcomes"].items():
        lines.append(f"{sound:<12}{', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    lines += _positions(a["positions"])
    if len(figures["scenes"]) > 1:
        lines += [_row(name, one) for name, one in figures["scenes"].items() if one["exact_scenes"] < one["scenes"]]
    return "\n".join(lines)


def _row(name: str, figures: dict[str, Any]) -> str:
    return (
        f"  {name}: {figures['found']} of {figures['gunshots']} found, {figures['false_fixes']} false, "
        f"median {_metres(figures['error_median_m'])}"
    )


def _errors(figures: dict[str, Any]) -> str:
    median, most, greatest = (_metres(figures[f"error_{name}_m"]) for name in ("median", "p90", "max"))
    return f"median {median}, 90 % below {most}, greatest {greatest}"


def _rounds(rounds: dict[str, Any]) -> list[str]:
    if not rounds["bursts"]:
        return []
    wrong = f", {rounds['over']} with too many, {rounds['under']} with too few"
    wrong = wrong if rounds["exact"] < rounds["bursts"] else ""
    return [f"rounds      {rounds['exact']} of {rounds['bursts']} bursts counted exactly{wrong}"]


def _false(figures: dict[str, Any]) -> list[str]:
    lines = [
        f"false       {figures['false_fixes']} fixes, {figures['false_fixes_unmarked']} of them not marked ambiguous"
    ]
    lines += [f"            {count} {cause}" for cause, count in figures["false_by_cause"].items()]
    bounds = figures["false_fixes_per_array_day_interval"]
    if bounds is not None:
        lines.append(
            f"            in {figures['array_days']:.3g} array-days: {figures['false_fixes_per_array_day']:.3g} a day "
            f"({bounds[0]:.3g} to {bounds[1]:.3g}); {figures['false_alerts']} published without a gunshot in them"
        )
    return lines


def _times(figures: dict[str, Any]) -> list[str]:
    if figures["time_error_median_s"] is None:
        return []
    median, most = (1e3 * figures[f"time_error_{name}_s"] for name in ("median", "p90"))
    return [f"discharge   off by {median:.1f} ms in the median, 90 % below {most:.1f} ms"]


def _reliability(rows: list[dict[str, Any]]) -> list[str]:
    if not rows or rows[0]["held"] is None:
        return []
    stated = "".join(f"{100.0 * row['stated']:>7.0f}" for row in rows)
    held = "".join(f"{100.0 * row['held']:>7.1f}" for row in rows)
    return [f"reliability stated, % {stated}", f"            held, %   {held}"]


def _modes(several: dict[str, Any]) -> list[str]:
    if not several["shots"]:
        return []
    union, heaviest, weight = (
        _percent(several[name]) for name in ("union_held_share", "heaviest_holds_share", "heaviest_weight_mean")
    )
    return [
        f"ambiguous   {several['shots']} shots with several places: together they hold the truth in {union},",
        f"            the heaviest alone in {heaviest} where its mean weight is {weight}",
    ]


def _positions(rows: list[dict[str, Any]]) -> list[str]:
    """Shots from one place beside each other: how far they lie from the survey, and how far from one another."""
    if not 0 < len(rows) <= MOST_POSITIONS:
        return []
    lines = [f"{'position':<22}{'shots':>6}{'error, m':>16}{'centroid off, m':>17}{'scatter, m':>16}{'in 15 m':>9}"]
    for row in rows:
        pairs = (f"{row[f'{what}_median_m']:.2f} / {row[f'{what}_p90_m']:.2f}" for what in ("error", "scatter"))
        error, scatter = pairs
        lines.append(
            f"  {row['position'][:19]:<20}{row['shots']:>6}{error:>16}{row['centroid_off_m']:>17.2f}{scatter:>16}"
            f"{_percent(row['within_15_m']):>9}"
        )
    return [*lines, "  (median / 90 %; scatter is that about the position's own centroid)"]


def _metres(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} m"


def _area(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} m2"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.1f} %"


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f" ({100.0 * bounds[0]:.0f} to {100.0 * bounds[1]:.0f} %)"
