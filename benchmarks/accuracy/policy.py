"""The fourth of July: who is told of what, with and without what was to be expected, and what asking costs.

Fireworks in and around a permitted show, their evidence spread widely enough that some sound like shots, and shots in a
quiet district, among crackers and in the show itself. Each bang is an incident of its own; beside the policy with its
rate and calendar stands the policy with its prior alone, which is the rival.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from pathlib import Path

from acoustic.instant import SECOND, parse_instant
from alerts.calendar_event import ExpectedEvent
from alerts.expectation import Expectation
from alerts.incident import Incident
from alerts.policy import OUTCOMES, Policy
from localization.frame import Frame
from sensors.site import Geodetic
from tests.strategies import NIGHT_NS, fix_at

EVENING_NS = parse_instant("2026-07-05T00:00:00Z")
MIDDLE = Geodetic(41.7658, -72.6734, 20.0)
FRAME = Frame(MIDDLE)
LOADS = (500, 5_000, 20_000)
SHOTS = 100  # in each of three places


def measure(data: Path | None) -> str:
    """Four hours at several loads; ``data`` is not needed."""
    del data
    start_ns = EVENING_NS + 3600 * SECOND
    show = ExpectedEvent("Show", "fireworks", start_ns, start_ns + 7200 * SECOND, 41.7658, -72.6734, 600.0, 240.0, 6.0)
    rows = [row for load in LOADS for row in evening(load, show)]
    return "\n".join(
        [
            "Four hours; two fireworks of three at the show. Evidence: fireworks N(-2.5, 2.2), shots N(6, 2).",
            "",
            "| fireworks | kind | | published | review | suppressed | of those, published by the prior alone |",
            "|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def evening(load: int, show: ExpectedEvent) -> list[str]:
    """The rows of one load."""
    policy, rng = Policy(), random.Random(load)  # noqa: S311
    expectation = Expectation(policy, (show,))
    outcomes: dict[str, Counter[str]] = {}
    plain: Counter[str] = Counter()
    spent = {"judging": 0.0, "expecting": 0.0}
    for name, (t, east, north, llr, kind) in enumerate(sorted(bangs(load, rng))):
        offset_s = (EVENING_NS - NIGHT_NS) / SECOND
        shot = fix_at(f"f{name}", offset_s + t, east, north, llr=llr, sensors=("s1", "s2"), frame=FRAME)
        incident = Incident(shot.shot_id, (shot,))
        began = time.process_time()
        alone = policy.judge(incident)
        then = time.process_time()
        expectation.note(shot)
        verdict = policy.judge(incident, expectation.circumstances(incident))
        expectation.told(incident, verdict, verdict.outcome)
        expectation.forget(shot.time_ns - 660 * SECOND)
        spent["expecting"] += time.process_time() - then
        spent["judging"] += then - began
        outcomes.setdefault(kind, Counter())[verdict.outcome] += 1
        plain[kind] += alone.outcome == "published"
    cost = f"{spent['expecting'] / spent['judging']:.0f} times"
    rows = [
        f"| {load} | {kind} | | {' | '.join(str(outcomes[kind][outcome]) for outcome in OUTCOMES)} | {plain[kind]} |"
        for kind in sorted(outcomes)
    ]
    return [*rows, f"| {load} | time beside judging by the prior alone | {cost} | | | | |"]


def bangs(load: int, rng: random.Random) -> list[tuple[float, float, float, float, str]]:
    """When, where, with what evidence, and what it was."""
    drawn = []
    for _ in range(load):
        if rng.random() < 2 / 3:
            away, turn = 500.0 * math.sqrt(rng.random()), rng.uniform(0.0, math.tau)
            where = (3600.0 + 7200.0 * rng.random(), away * math.cos(turn), away * math.sin(turn))
        else:
            where = (14_400.0 * rng.random(), rng.uniform(1_500.0, 5_000.0), rng.uniform(-2_500.0, 2_500.0))
        drawn.append((*where, rng.gauss(-2.5, 2.2), "fireworks"))
    for _ in range(SHOTS):
        t, north, llr = 14_400.0 * rng.random(), rng.uniform(-2_000.0, 2_000.0), rng.gauss(6.0, 2.0)
        drawn.append((t, rng.uniform(-9_000.0, -6_000.0), north, llr, "shots in a quiet district"))
        drawn.append((t, rng.uniform(2_000.0, 4_500.0), north, llr, "shots among crackers"))
        drawn.append(
            (3600.0 + t / 2.0, 400.0 * rng.uniform(-1, 1), 400.0 * rng.uniform(-1, 1), llr, "shots in the show")
        )
    return drawn
