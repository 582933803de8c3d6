"""Impulses found: what the listener hears of the live fire's tags, and what it triggers on where nothing was fired."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

from tests.sensors.test_live_fire import FOUND_S, LEAD_S, heard_by_listener, nearest


def measure(data: Path | None) -> str:
    source = data or Path(__file__).resolve().parents[3] / "shared" / "data" / "pittsburgh_livefire"
    if not (source / "pulses_all.csv").exists():
        return f"left out: no live fire at {source.name}; name it with --data (the README says where to get it)"
    found, tagged, after_end, false = (defaultdict(int) for _ in range(4))
    quiet_s: defaultdict[str, float] = defaultdict(float)
    for recording in heard_by_listener(source):
        position = recording.position
        last_s = max((end for _, end in recording.vouched), default=-math.inf)
        for time_s in recording.tagged.values():
            tagged[position] += 1
            hit = abs(nearest(recording, time_s) - time_s) < FOUND_S
            found[position] += hit
            after_end[position] += not hit and time_s > last_s
        first = min([*recording.reported, *recording.tagged.values()], default=math.inf) - LEAD_S
        for begin, end in recording.vouched:
            stop = min(end, first)
            if stop > begin:
                quiet_s[position] += stop - begin
                inside = (recording.onsets_s >= begin) & (recording.onsets_s < stop)
                false[position] += int(np.count_nonzero(inside))
    figures = (tagged, found, after_end, false, quiet_s)
    rows = [_row(position, *(each[position] for each in figures)) for position in sorted(tagged)]
    rows.append(_row("all", *(sum(each.values()) for each in figures)))
    return (
        "Within 15 ms of a tag; thresholds were settled on these positions. A clamped STA/LTA finds 93.9 %\n"
        "at 389 quiet triggers a sensor-hour.\n\n"
        "| position | tagged | found | missed behind the end | quiet s | triggers | an hour (95 %, Poisson) |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows)
    )


def _row(position: str, tagged: int, found: int, after_end: int, false: int, quiet_s: float) -> str:
    low = stats.chi2.ppf(0.025, 2 * false) / 2.0 if false else 0.0
    high = stats.chi2.ppf(0.975, 2 * false + 2) / 2.0
    an_hour = 3_600.0 / quiet_s
    return (
        f"| {position} | {tagged} | {found / tagged:.1%} | {after_end} | {quiet_s:.0f} | {false} | "
        f"{false * an_hour:.0f} ({low * an_hour:.0f} to {high * an_hour:.0f}) |"
    )
