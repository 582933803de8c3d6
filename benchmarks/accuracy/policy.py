"""What the policy's thresholds trade, misses for dispatches, on evenings whose truth is known, beside its rivals.

The rivals hold the same evidence against another prior: one that knows no evening from another (a threshold on the
evidence, wherever it is put), one that counts the bangs around but has no calendar; and the bound is a prior that knows
the true rates there and then.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from alerts.policy import OUTCOMES
from alerts.trade import THRESHOLDS
from benchmarks.accuracy import policy_evenings as town
from benchmarks.accuracy.policy_queue import likeliest_first, oldest_first, ours, waits_s
from localization.study.intervals import clustered_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.accuracy.policy_evenings import Bang, Evidence, Said

EVENINGS: Final = {"ordinary": 12, "crackers": 10, "festival": 10}
FEWER: Final = {"ordinary": 6, "crackers": 4, "festival": 4}
TOLD: Final = (
    {},
    {"ordinary_per_hour": 1.2}, {"ordinary_per_hour": 4.0}, {"ordinary_per_hour": 36.0}, {"ordinary_per_hour": 120.0},
    {"show": 12.0}, {"show": 1_200.0},
    {"ordinary_hours": 0.1}, {"ordinary_hours": 2.0},
)  # fmt: skip
"""What the policy is told of the rates, where it is not what its defaults say."""
SEASON: Final = {"ordinary": 20, "crackers": 4, "festival": 1}
"""Of how many evenings a season's mean is made."""
KINDS: Final = sorted(SEASON)  # as the evenings are sorted
WHERE: Final = ("quiet", "crackers", "show")
RESAMPLED: Final = 400
PICTURE: Final = Path(__file__).parents[1] / "results" / "accuracy-policy.png"


@dataclass(frozen=True, slots=True)
class Night:
    """All evenings with one kind of evidence, and what each prior makes of each bang."""

    evidence: Evidence
    bangs: tuple[Bang, ...]
    said: tuple[Said, ...]
    posteriors: dict[str, NDArray[np.float64]]

    def false_dispatches(self, published: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """For each kind of evening, how many of each evening's other bangs are published."""
        counts = Counter(b.evening for b, p in zip(self.bangs, published, strict=True) if p and not b.is_shot)
        evenings = sorted({bang.evening for bang in self.bangs})
        return {kind: np.array([float(counts[e]) for e in evenings if e[0] == kind]) for kind in town.KINDS}

    def season(self, published: NDArray[np.bool_]) -> float:
        """False dispatches of an evening, over the season's mix."""
        false = self.false_dispatches(published)
        return sum(SEASON[kind] * float(false[kind].mean()) for kind in SEASON) / sum(SEASON.values())

    def misses(self, published: NDArray[np.bool_], where: str = "") -> list[tuple[tuple[str, int], bool]]:
        """Of each shot its evening and whether it was missed."""
        return [
            (bang.evening, not p)
            for bang, p in zip(self.bangs, published, strict=True)
            if bang.is_shot and where in ("", bang.where)
        ]


def measure(data: Path | None) -> str:
    """Tables and the picture; ``data`` is not needed."""
    del data
    nights = [night(evidence, EVENINGS) for evidence in town.EVIDENCE]
    _draw(nights)
    parts = [
        _about(),
        "### What the threshold trades",
        _TRADE,
        *(_trade(each) for each in nights),
        "### Beside its rivals",
        _RIVALS,
        *(_rivals(each) for each in nights),
        "### Whether the rates matter",
        _RATES,
        _rates(),
        "### In the show",
        _show(nights),
        "### How long a shot in the show waits for a person",
        _WAITING,
        _waiting(nights),
    ]
    return "\n\n".join(parts)


_FALSE: Final = "| false: ordinary | crackers | show |"
_TRADE: Final = (
    "The policy with rate and calendar, without budgets. Missed: shots that are not published, over a season of 20 "
    "ordinary evenings, 4 with crackers and 1 with a show. 95 % intervals, the bangs of an evening taken together."
)
_RIVALS: Final = (
    "Each rival's threshold is where it sends people for nothing as often over the season as the policy does at 0.8. "
    "Shots missed by place; how many points more of the season's than the policy misses (drawn anew by evenings, "
    "with thresholds set anew); and false dispatches an evening."
)
_RATES: Final = (
    f"Evidence {town.EVIDENCE[0].name}, threshold 0.8; the truth is {town.OTHERS_PER_HOUR:g} other bangs an hour "
    "within 2 km on an ordinary evening. The same evenings in every row, fewer than above."
)
_WAITING: Final = (
    "Whatever is published or in review is looked at for a minute, the whole city in one queue. Shots in the show that "
    "a person takes up within a minute of the sound, within five, and at all before the evening ends."
)


def night(evidence: Evidence, evenings: dict[str, int], *, show: float = 120.0, **told: float) -> Night:
    """Evenings drawn and judged."""
    drawn = [(kind, number) for kind, count in evenings.items() for number in range(count)]
    bangs = tuple(bang for kind, number in drawn for bang in town.evening(kind, number, evidence))
    said = tuple(town.judged(bangs, (town.show(show),), **told))
    posteriors = {
        "policy": np.array([each.posterior for each in said]),
        "fixed": np.array([town.fixed(bang) for bang in bangs]),
        "true rates": np.array([town.omniscient(bang) for bang in bangs]),
    }
    if evenings is EVENINGS:
        posteriors["no calendar"] = np.array([each.posterior for each in town.judged(bangs)])
    return Night(evidence, bangs, said, posteriors)


def _about() -> str:
    rows = ["| evidence | shots | fireworks | other bangs |", "|---|---|---|---|"]
    for one in town.EVIDENCE:
        cells = (f"{mean:.1f}, {sigma:.1f}" for mean, sigma in (one.shots, one.fireworks, one.others))
        rows.append(f"| {one.name} | {' | '.join(cells)} |")
    return (
        "A made city of 100 km2, four hours an evening: ordinary (12 other bangs and 2.4 shots an hour within 2 km of "
        "a place), with crackers (ten times as many other bangs in its eastern half), or with a permitted show besides "
        f"({town.SHOW_BANGS:,} bangs in two hours and 500 m, {town.SHOW_SHOTS} shots among them). "
        f"{', '.join(f'{count} {kind}' for kind, count in EVENINGS.items())} evenings. The evidence is drawn, its "
        "logarithm normal, mean and standard deviation:\n\n" + "\n".join(rows)
    )


def _trade(night: Night) -> str:
    rows = [
        f"Evidence {night.evidence.name}:\n",
        f"| threshold | missed {_FALSE}",
        "|---|---|---|---|---|",
    ]
    for threshold in THRESHOLDS:
        published = night.posteriors["policy"] >= threshold
        false = night.false_dispatches(published)
        cells = (_mean(false[kind]) for kind in town.KINDS)
        rows.append(f"| {threshold} | {_share(_season_misses(night, published))} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _season_misses(night: Night, published: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Share missed over the season's mix, with the ends of its interval, which are mixed in the same way."""
    parts = []
    for kind in town.KINDS:
        seen = [one for one in night.misses(published) if one[0][0] == kind]
        low, high = clustered_interval(seen) or (0.0, 1.0)
        weight = SEASON[kind] * len(seen) / EVENINGS[kind]
        share = sum(missed for _, missed in seen) / len(seen)
        parts.append((weight, share, share - low, high - share))
    total = sum(weight for weight, *_ in parts)
    share = sum(weight * share for weight, share, *_ in parts) / total
    below, above = (math.hypot(*(part[0] * part[side] for part in parts)) / total for side in (2, 3))
    return share, share - below, share + above


def _rivals(night: Night) -> str:
    at = night.season(night.posteriors["policy"] >= town.POLICY.publish)
    rows = [
        f"Evidence {night.evidence.name}; {at:.1f} false dispatches an evening over the season:\n",
        f"| prior | threshold | quiet: missed | crackers | show | all | more than policy {_FALSE}",
        "|---" * 10 + "|",
    ]
    for name in ("policy", "no calendar", "fixed", "true rates"):
        posterior = night.posteriors[name]
        threshold = town.POLICY.publish if name == "policy" else _threshold(night, posterior, at)
        published = posterior >= threshold
        false = night.false_dispatches(published)
        missed = (_share(_of(night.misses(published, where))) for where in WHERE)
        share, *_ = _season_misses(night, published)
        rows.append(
            f"| {name} | {threshold:.3f} | {' | '.join(missed)} | {100 * share:.1f} % | {_difference(night, name)} "
            f"| {' | '.join(_mean(false[kind]) for kind in town.KINDS)} |"
        )
    return "\n".join(rows)


def _threshold(night: Night, posterior: NDArray[np.float64], false: float) -> float:
    """The lowest at which no more is sent for nothing over the season."""
    candidates = np.sort(posterior[[not bang.is_shot for bang in night.bangs]])
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if night.season(posterior > candidates[middle]) <= false:
            high = middle
        else:
            low = middle + 1
    return float(np.nextafter(candidates[low], 1.0))


def _difference(night: Night, name: str) -> str:
    """Points more that a prior misses than the policy, with its interval."""
    if name == "policy":
        return "-"
    evenings = sorted({bang.evening for bang in night.bangs})
    index = np.array([evenings.index(bang.evening) for bang in night.bangs])
    is_shot = np.array([bang.is_shot for bang in night.bangs])
    sent = night.posteriors["policy"] >= town.POLICY.publish
    order = np.argsort(-night.posteriors[name])
    dice = np.random.default_rng(7)
    found = []
    for _ in range(RESAMPLED):
        drawn = [
            dice.multinomial(EVENINGS[k], [1.0 / EVENINGS[k]] * EVENINGS[k]) / EVENINGS[k] * SEASON[k] for k in KINDS
        ]
        weight = np.concatenate(drawn)[index]
        shots, others = weight * is_shot, weight * ~is_shot
        allowed = np.cumsum(others[order]) <= others[sent].sum()
        found.append(100.0 * (shots[sent].sum() - shots[order][allowed].sum()) / shots.sum())
    low, middle, high = np.quantile(found, (0.025, 0.5, 0.975))
    return f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"


def _rates() -> str:
    rows = [
        f"| told | quiet: missed | crackers | show {_FALSE}",
        "|---" * 7 + "|",
    ]
    for told in TOLD:
        one = night(town.EVIDENCE[0], FEWER, **told)
        published = one.posteriors["policy"] >= town.POLICY.publish
        false = one.false_dispatches(published)
        missed = (f"{100 * _of(one.misses(published, where))[0]:.1f} %" for where in WHERE)
        cells = (*missed, *(f"{false[kind].mean():.1f}" for kind in town.KINDS))
        name = ", ".join(f"{_NAMES[key]} {value:g}" for key, value in told.items()) or "the defaults: 12, 120, 0.5"
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


_NAMES: Final = {
    "ordinary_per_hour": "other bangs an hour:",
    "show": "bangs of the show an hour:",
    "ordinary_hours": "hours that the ordinary night weighs:",
}


def _show(nights: Sequence[Night]) -> str:
    rows = [
        "| evidence | | published | review | suppressed | of those the prior alone would publish |",
        "|---" * 6 + "|",
    ]
    for one in nights:
        for shot, name in ((True, "shots"), (False, "fireworks")):
            mine = [k for k, bang in enumerate(one.bangs) if bang.where == "show" and bang.is_shot == shot]
            counts = Counter(one.said[k].outcome for k in mine)
            alone = sum(one.posteriors["fixed"][k] >= town.POLICY.publish for k in mine)
            cells = (f"{counts[outcome]} ({100 * counts[outcome] / len(mine):.1f} %)" for outcome in OUTCOMES)
            rows.append(f"| {one.evidence.name} | {len(mine):,} {name} | {' | '.join(cells)} | {alone} |")
    return "\n".join(rows)


def _waiting(nights: Sequence[Night]) -> str:
    rows = ["| evidence | order | 1 analyst | 2 | 4 | 8 |", "|---" * 6 + "|"]
    orders = {"of the queue": ours, "likeliest first": likeliest_first, "oldest first": oldest_first}
    for one in nights:
        for name, order in orders.items():
            cells = []
            for analysts in (1, 2, 4, 8):
                waits = [wait for k in range(EVENINGS["festival"]) for wait in _waits(one, k, analysts, order)]
                within = [sum(wait <= limit_s for wait in waits) for limit_s in (60.0, 300.0, math.inf)]
                seen = sum(math.isfinite(wait) for wait in waits)
                cells.append(f"{within[0]}, {within[1]}, {seen} of {len(waits)}")
            rows.append(f"| {one.evidence.name} | {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _waits(night: Night, number: int, analysts: int, order) -> list[float]:
    """Those of the shots in the show; the others wait in the same queue."""
    cases = [
        (bang.time_s, said.posterior, bang.is_shot and bang.where == "show")
        for bang, said in zip(night.bangs, night.said, strict=True)
        if bang.evening == ("festival", number) and said.outcome != "suppressed"
    ]
    return waits_s(cases, analysts, order)


def _of(seen: list[tuple[tuple[str, int], bool]]) -> tuple[float, float, float]:
    low, high = clustered_interval(seen) or (0.0, 1.0)
    return sum(missed for _, missed in seen) / max(len(seen), 1), low, high


def _share(share: tuple[float, float, float]) -> str:
    return f"{100 * share[0]:.1f} % ({100 * share[1]:.1f} to {100 * share[2]:.1f})"


def _mean(counts: NDArray[np.float64]) -> str:
    from scipy.stats import t

    half = float(t.ppf(0.975, len(counts) - 1)) * float(counts.std(ddof=1)) / math.sqrt(len(counts))
    return f"{counts.mean():.1f} (+- {half:.1f})"


def _draw(nights: Sequence[Night]) -> None:
    """Misses over false dispatches of the season, for every threshold and prior."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, columns = plt.subplots(1, len(nights), figsize=(12, 4.2), layout="constrained", sharey=True)
    styles = {
        "policy": ("#b03020", 2.0),
        "no calendar": ("#3060b0", 1.2),
        "fixed": ("0.5", 1.2),
        "true rates": ("black", 0.8),
    }
    for axes, one in zip(columns, nights, strict=True):
        season = np.array([SEASON[bang.evening[0]] / EVENINGS[bang.evening[0]] for bang in one.bangs])
        is_shot = np.array([bang.is_shot for bang in one.bangs])
        for name, (colour, width) in styles.items():
            order = np.argsort(-one.posteriors[name])
            false = np.cumsum((season * ~is_shot)[order]) / sum(SEASON.values())
            missed = 100.0 - 100.0 * np.cumsum((season * is_shot)[order]) / np.sum(season * is_shot)
            axes.plot(
                false, missed, color=colour, linewidth=width, label=name, linestyle=":" if name == "true rates" else "-"
            )
        sent = one.posteriors["policy"] >= town.POLICY.publish
        at = one.season(sent), 100.0 * _season_misses(one, sent)[0]
        axes.plot(*at, "o", color="#b03020", label=f"threshold {town.POLICY.publish:g}")
        axes.set(xscale="log", xlim=(0.05, 500.0), ylim=(0, 100), xlabel="false dispatches an evening of the season")
        axes.set_title(f"evidence {one.evidence.name}", fontsize=10)
    columns[0].set_ylabel("shots not published, %")
    columns[0].legend(frameon=False, fontsize=8, loc="lower left")
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    plt.close(figure)
