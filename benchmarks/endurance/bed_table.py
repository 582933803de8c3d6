"""The figures of a bed, for people."""

from __future__ import annotations

from collections import Counter
from typing import Any

from localization.fix import Fix
from localization.study.score import Score


def table(bed: Any, tally: Any, scored: Score, *, recorded: bool | None = None) -> str:
    """The figures of a bed, for people."""
    figures = scored.figures()
    hours = bed.duration_s / 3600.0
    fixes = sum(isinstance(shot, Fix) for shot in tally.shots.values())
    mixed = "with recorded sounds" if (bool(bed.sounds) if recorded is None else recorded) else "synthetic sounds only"
    first = bed.from_minute / 60.0 % 24.0
    about = (
        f"{hours:.3g} h from {first:.3g} h on, {bed.sensors} sensors at 12 kHz, seed {bed.seed}, {mixed}, "
        f"{len(bed.events)} bangs of other things, no gunshot; a fault on seven devices in turn."
    )
    lines = [
        about,
        "",
        f"{fixes} fixes, {len(tally.shots) - fixes} bangs without a place, {figures['array_days']:.3g} array-days.",
        "",
        *rates(figures),
        "",
        "| fix of | published | review | suppressed | other |",
        "|---|---|---|---|---|",
        *_by_source(scored),
        "",
        "| background, or fault | sensor-hours | pulses an hour | of no bang, an hour | of them like a gunshot |",
        "|---|---|---|---|---|",
    ]
    for where, seconds in sorted(tally.sensor_s.items()):
        per = 3600.0 / seconds
        lines.append(
            f"| {where} | {seconds / 3600.0:.2f} | {tally.pulses[where] * per:.1f} | "
            f"{tally.unexplained[where] * per:.1f} | {tally.telling[where] * per:.2f} |"
        )
    passed = ", ".join(f"{count} {why}" for why, count in sorted(tally.passed_over.items()) if count) or "nothing"
    cost = (
        f"Seconds of one core an hour of bed: {tally.made_s / hours:.1f} to make the sound, "
        f"{tally.heard_s / hours:.1f} to hear it, {tally.decided_s / hours:.2f} to decide"
        + (f"; {tally.most_mib} MiB at most." if tally.most_mib else ".")
    )
    return "\n".join([*lines, "", f"Passed over by the locator: {passed}.", "", cost])


def rates(figures: dict[str, Any]) -> list[str]:
    """Rows of what was false, with its intervals."""
    return [
        "| | count | an array-day | 95 % interval |",
        "|---|---|---|---|",
        _rate("false fixes: at no bang's place", figures["false_fixes"], figures, "false_fixes"),
        _rate("alerts published, all of them false", figures["false_alerts"], figures, "false_alerts"),
    ]


def _rate(what: str, count: object, figures: dict[str, Any], name: str) -> str:
    low, high = figures[f"{name}_per_array_day_interval"]
    return f"| {what} | {count} | {figures[f'{name}_per_array_day']:.3g} | {low:.3g} to {high:.3g} |"


def _by_source(scored: Score) -> list[str]:
    rows: dict[str, Counter[str]] = {}
    for match in scored.matches:
        if match.shot is not None:
            rows.setdefault(f"{match.sound}, at its place", Counter())[match.shot.outcome] += 1
    for shot, cause in zip(scored.false, scored.causes, strict=True):
        rows.setdefault(f"{cause} (false)", Counter())[shot.outcome] += 1
    named = ("published", "review", "suppressed")
    return [
        f"| {what} | "
        + " | ".join(str(counts[name]) for name in named)
        + f" | {sum(count for name, count in counts.items() if name not in named)} |"
        for what, counts in sorted(rows.items())
    ] or ["| none | 0 | 0 | 0 | 0 |"]
