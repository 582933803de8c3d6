"""Pictures of a score: how far off, place by place, and whether the regions keep their word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from localization.study.clusters import clustered
from localization.study.repeatability import name_of

if TYPE_CHECKING:
    from localization.study.score import Match, Score

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")  # Okabe and Ito
MOST_CURVES = 9
UNDATED: Final[dict[str, dict[str, Any]]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
"""What each kind of picture must not say of itself, for two scores of one run to be the same bytes."""


def draw_score(score: Score, figures: dict[str, Any], path: Path) -> None:
    """Write a picture, PNG, SVG or PDF by its name: cumulative errors by position, and the reliability curve."""
    figure = Figure(figsize=(11.0, 5.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    errors, reliability = figure.subplots(1, 2)
    _draw_errors(errors, [m for m in score.matches if m.sound == "gunshot" and m.shot is not None])
    _draw_reliability(reliability, figures["reliability"])
    whole = path.with_name(f".{path.name}.partial")
    kind = path.suffix.lower().removeprefix(".")
    try:
        with mpl.rc_context({"svg.hashsalt": "shotfix"}):
            figure.savefig(whole, format=kind, metadata=UNDATED[kind])
        whole.replace(path)
    finally:
        whole.unlink(missing_ok=True)


def _draw_errors(axes: Any, found: list[Match]) -> None:
    groups: dict[int, list[Match]] = {}
    for number, match in zip(clustered([match.spot for match in found]), found, strict=True):
        groups.setdefault(number, []).append(match)
    if 1 < len(groups) <= MOST_CURVES:
        for k, group in enumerate(groups.values()):
            label = f"{name_of([match.scene for match in group])} ({len(group)})"
            line = "-" if k < len(COLOURS) else "--"
            _cumulative(axes, group, color=COLOURS[k % len(COLOURS)], linestyle=line, linewidth=1.2, label=label)
    if found:
        _cumulative(axes, found, color="black", linestyle="-", linewidth=2.2, label=f"all ({len(found)})")
        axes.legend(loc="lower right", fontsize=8)
    axes.set(xlabel="error, m", ylabel="share of the gunshots found that lie nearer", ylim=(0.0, 1.0))
    axes.set_xlim(left=0.0)
    axes.set_title("Error", fontsize=10)
    axes.grid(visible=True, alpha=0.3)


def _cumulative(axes: Any, matches: list[Match], **style: Any) -> None:
    errors = np.sort([match.error_m for match in matches])
    axes.step(np.concatenate([[0.0], errors]), np.linspace(0.0, 1.0, len(errors) + 1), where="post", **style)


def _draw_reliability(axes: Any, rows: list[dict[str, Any]]) -> None:
    stated = [row["stated"] for row in rows if row["held"] is not None]
    axes.plot([0.0, 1.0], [0.0, 1.0], color="black", linestyle=":", linewidth=1.0, label="as it should be")
    if stated:
        low, high = zip(*(row["interval"] for row in rows), strict=True)
        axes.fill_between(stated, low, high, color=COLOURS[0], alpha=0.2, linewidth=0.0, label="95 % interval")
        axes.plot(stated, [row["held"] for row in rows], "o-", color=COLOURS[0], label="regions that hold the truth")
    axes.legend(loc="upper left", fontsize=8)
    axes.set(xlabel="stated confidence", ylabel="share that holds the truth", xlim=(0.4, 1.0), ylim=(0.0, 1.02))
    axes.set_title("Reliability", fontsize=10)
    axes.grid(visible=True, alpha=0.3)
