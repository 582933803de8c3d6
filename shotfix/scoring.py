"""Scoring: runs beside the scenes they came from, as figures for a machine and a table for a person."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from localization.study.scene_reading import read_scene
from localization.study.score import Score, score
from localization.study.table import SceneError
from shotfix.reading import read_shots, read_times


def score_runs(folder: Path, scenes: tuple[Path, ...], within_m: float) -> dict[str, Any]:
    """Figures of each scene by its folder's name, and under "all" of all together.

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
    together = Score.together(replace(one, exact=one.exact) for one in scores.values())
    return {
        "scenes": {name: one.figures() for name, one in scores.items()},
        "all": together.figures() | {"wall_s": round(wall_s, 3), "audio_s": round(audio_s, 3)},
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
        f"false       {a['false_fixes']} fixes, {a['false_fixes_unmarked']} of them not marked ambiguous",
        f"error       {_errors(a)}",
        f"region      95 %, holds the truth in {_percent(a['held_share'])}{_interval(a['held_interval'])}",
        f"            its semi-major axis has a median of {_metres(a['semi_major_median_m'])}",
        f"intervals   95 %, shots from one place counted once ({a['clusters']} places)",
        f"time        {a['wall_s']:.1f} s for {a['audio_s']:.0f} s of audio",
    ]
    for sound, outcomes in a["outcomes"].items():
        lines.append(f"{sound:<12}{', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
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


def _metres(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} m"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.1f} %"


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f" ({100.0 * bounds[0]:.0f} to {100.0 * bounds[1]:.0f} %)"
