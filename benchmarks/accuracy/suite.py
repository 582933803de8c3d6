"""The suite of simulated nights: who was told of the shots, and what was said of everything else, by kind of night."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from localization.fix import Fix, Unfixed
from localization.study.intervals import clustered_interval
from localization.study.score import Match, Place, Score, Shot, score
from localization.study.simulate import simulate
from shotfix.playback import locate
from shotfix.run import Run

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = ("published", "review", "stored", "not found")  # best first


@dataclass(frozen=True)
class Played:
    """A night after locator and desk.

    ``told`` has the best that was ever said of each bang of the truth, by its name; ``strange`` what was said of
    incidents at whose place and time no shot was fired.
    """

    name: str
    kind: str
    must_alert: bool
    score: Score
    told: dict[str, str]
    strange: tuple[str, ...]

    @property
    def alerted(self) -> str:
        """The best that was said of any of its shots."""
        guns = [self.told[match.truth_id] for match in self.score.matches if match.sound == "gunshot"]
        return min(guns, key=OUTCOMES.index, default="not found")

    @property
    def as_wanted(self) -> bool:
        """Somebody was told of its shots, or a person looks; without any, nothing was published."""
        return self.alerted in OUTCOMES[:2] if self.must_alert else "published" not in self.strange


def measure(data: Path | None) -> str:
    """Play the whole suite; ``data`` is not needed."""
    del data
    began = time.process_time()
    played = [play(night) for night in builder().nights()]
    seconds = time.process_time() - began
    with_guns, without = ([one for one in played if one.must_alert == must] for must in (True, False))
    circumstances = (
        "Towns, weather and events are simulated: houses that bend and reflect sound, wind that grows with height, "
        f"detectors of statistics (fixtures/builders/suite.py). {len(played)} nights, {len(without)} of them without a "
        f"shot, {seconds:.0f} s of one core."
    )
    guns = (
        "Nights with gunfire: what was said of the best of their shots within 50 m; errors and regions of every round "
        "that was found."
    )
    holds = [((one.name, match.spot), match.held) for one in with_guns for match in _found(one)]
    low, high = clustered_interval(holds) or (0.0, 1.0)
    held = (
        f"Regions hold the truth in {_percent(sum(held for _, held in holds), len(holds))} of rounds; 95 % interval, "
        f"the rounds of one place taken together, {100.0 * low:.0f} to {100.0 * high:.0f} %."
    )
    silent = "Nights without: what was said at worst; fixes that belong to no bang."
    missed = ", ".join(one.name for one in played if not one.as_wanted) or "none"
    tables = (guns, _guns(with_guns), held, silent, _silent(without))
    return "\n\n".join((circumstances, *tables, f"Nights that did not end as they should: {missed}."))


def builder() -> ModuleType:
    """The script that makes the nights, as a module."""
    if "suite_of_nights" not in sys.modules:
        location = importlib.util.spec_from_file_location(
            "suite_of_nights", ROOT / "fixtures" / "builders" / "suite.py"
        )
        assert location is not None
        assert location.loader is not None
        module = importlib.util.module_from_spec(location)
        sys.modules["suite_of_nights"] = module  # its records look themselves up there
        location.loader.exec_module(module)
    return sys.modules["suite_of_nights"]


def play(night: Any) -> Played:
    """Simulate a night, locate what there is in it, and score that."""
    scene = simulate(night.spec).scene
    run = locate(scene)
    ever = defaultdict(set)
    for alert in run.alerts:
        ever[alert.incident_id].add(alert.outcome)
    result = score(scene, shots_of(run))
    told, true = {}, set()
    for match in result.matches:
        incident = match.shot.incident_id if match.shot is not None else None
        told[match.truth_id] = "not found" if incident is None else _best(ever[incident])
        if match.sound == "gunshot" and incident is not None:
            true.add(incident)
    strange = tuple(_best(outcomes) for incident, outcomes in ever.items() if incident not in true)
    return Played(night.name, night.kind, night.must_alert, result, told, strange)


def _found(played: Played) -> list[Match]:
    """The rounds that were found."""
    return [match for match in played.score.matches if match.sound == "gunshot" and match.shot is not None]


def _best(outcomes: Iterable[str]) -> str:
    return min((o if o in OUTCOMES else "stored" for o in outcomes), key=OUTCOMES.index, default="stored")


def shot_of(shot: Fix | Unfixed, incident: str, outcome: str) -> Shot:
    """A shot as the scorer takes it."""
    places = tuple(
        Place(
            mode.place.east_m,
            mode.place.north_m,
            mode.ellipse,
            (mode.covariance.ee_m2, mode.covariance.en_m2, mode.covariance.nn_m2),
            mode.weight,
        )
        for mode in getattr(shot, "modes", ())
    )
    return Shot(shot.shot_id, shot.time_ns, shot.sound, places, incident, outcome)


def shots_of(run: Run) -> list[Shot]:
    """The shots of a run as the scorer takes them."""
    last = {alert.incident_id: alert for alert in run.alerts}
    shots = []
    for shot in run.shots:
        incident = run.incidents.get(shot.shot_id, "")
        shots.append(shot_of(shot, incident, last[incident].outcome if incident in last else ""))
    return shots


def _guns(played: Sequence[Played]) -> str:
    head = ("night", "nights", "published", "review", "stored", "not found", "rounds", "found", "median / 90 %, m",
            "region holds", "semi-major, m", "fixes too many")  # fmt: skip
    rows = [_gun_row(kind, some) for kind, some in _by_kind(played).items()]
    return _table([head, *rows, _gun_row("all", played)])


def _gun_row(kind: str, played: Sequence[Played]) -> tuple[object, ...]:
    rounds = [match for one in played for match in one.score.matches if match.sound == "gunshot"]
    found = [match for one in played for match in _found(one)]
    errors = [match.error_m for match in found]
    axes = [match.shot.places[0].ellipse.semi_major_m for match in found if match.shot is not None]
    return (
        kind,
        len(played),
        *(sum(one.alerted == outcome for one in played) for outcome in OUTCOMES),
        len(rounds),
        _percent(len(found), len(rounds)),
        f"{np.median(errors):.1f} / {np.percentile(errors, 90):.1f}" if errors else "-",
        _percent(sum(match.held for match in found), len(found)),
        f"{np.median(axes):.0f}" if axes else "-",
        sum(len(one.score.false) for one in played),
    )


def _silent(played: Sequence[Played]) -> str:
    head = ("night", "nights", "published", "review at most", "nothing said", "incidents published", "in review",
            "bangs", "placed", "fixes elsewhere")  # fmt: skip
    rows = [_silent_row(kind, some) for kind, some in _by_kind(played).items()]
    return _table([head, *rows, _silent_row("all", played)])


def _silent_row(kind: str, played: Sequence[Played]) -> tuple[object, ...]:
    worst = [min(one.strange, key=OUTCOMES.index, default="stored") for one in played]
    bangs: list[Match] = [match for one in played for match in one.score.matches]
    return (
        kind,
        len(played),
        f"{worst.count('published')} ({_percent(worst.count('published'), len(played))})",
        worst.count("review"),
        len(played) - worst.count("published") - worst.count("review"),
        *(sum(one.strange.count(outcome) for one in played) for outcome in ("published", "review")),
        len(bangs),
        _percent(sum(match.shot is not None for match in bangs), len(bangs)),
        sum(len(one.score.false) for one in played),
    )


def _by_kind(played: Sequence[Played]) -> dict[str, list[Played]]:
    result: dict[str, list[Played]] = defaultdict(list)
    for one in played:
        result[one.kind].append(one)
    return result


def _percent(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.0f} %" if whole else "-"


def _table(rows: Sequence[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
