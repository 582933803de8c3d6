"""A soak: a centre under ten times a night's messages, for minutes or an hour; its memory and descriptors are flat."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from acoustic.instant import SECOND
from benchmarks.__main__ import RESULTS, circumstances
from benchmarks.association_scenes import SETTINGS, Pulses, night, of_size
from benchmarks.speed import city
from sensors.identity import NodeKey

SENSORS = 60
PACE = 10.0
BANGS_PER_S = 0.02  # on each 10 km2: one in eight seconds of this city, a bad hour of a bad night
SAMPLE_S = 5.0
LEAST_SAMPLES = 12


@dataclass(frozen=True)
class Sample:
    """What a process takes at a moment."""

    after_s: float
    rss_mb: float
    descriptors: int
    threads: int


def soak(seconds: float, pace: float = PACE) -> tuple[list[Sample], float]:
    """Samples of the centre over so many seconds of wall clock, and how far its watermark was behind at the end, s."""
    setting = replace(
        of_size(SETTINGS["sparse"], SENSORS, seconds * pace), shots_per_s=BANGS_PER_S, clutter_per_min=2.0
    )
    pulses = night(setting, 1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        keys = [NodeKey.create() for _ in range(len(pulses.sensors))]
        city.write_site(root, pulses, keys, pace)
        with (root / "log").open("wb") as log:
            centre = subprocess.Popen(
                [sys.executable, "-m", "shotfix.commands", "serve", "--config", str(root / "site.toml")], stderr=log
            )
        try:
            url = city.address_of(root, centre)
            samples, lag_s = _watched(centre.pid, url, pulses, keys, seconds, pace)
        finally:
            centre.send_signal(signal.SIGTERM)
            centre.wait(60)
    return samples, lag_s


def _watched(
    pid: int, url: str, pulses: Pulses, keys: list[NodeKey], seconds: float, pace: float
) -> tuple[list[Sample], float]:
    zero_ns = time.time_ns() + round(city.LEAD_S * SECOND)
    context = multiprocessing.get_context("fork")
    nodes = context.Process(target=city.speak_for_all, args=(url, pulses, keys, zero_ns, seconds * pace, pace))
    nodes.start()
    samples: list[Sample] = []
    done = threading.Event()
    began_s = time.monotonic()
    while nodes.is_alive():
        samples.append(_sample(pid, time.monotonic() - began_s))
        city.page_of(url)  # as somebody's Prometheus would
        done.wait(SAMPLE_S)
    lag_s = city.page_of(url).get("shotfix_watermark_lag_seconds", float("nan"))
    told_s = time.time_ns() / SECOND - lag_s - city.event_zero_ns(zero_ns, pace) / SECOND
    return samples, seconds * pace - told_s


def _sample(pid: int, after_s: float) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    rss_kb = float(status.split("VmRSS:")[1].split()[0])
    threads = int(status.split("Threads:")[1].split()[0])
    return Sample(after_s, rss_kb / 1e3, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()), threads)


def _row(sample: Sample) -> str:
    return f"| {sample.after_s:.0f} | {sample.rss_mb:.0f} | {sample.descriptors} | {sample.threads} |"


def growth(samples: list[Sample]) -> tuple[float, float]:
    """RSS of the last third over that of the second, as a share, and the same of the descriptors."""
    third = max(len(samples) // 3, 1)
    middle, last = samples[third : 2 * third], samples[-third:]
    rss = np.median([s.rss_mb for s in last]) / np.median([s.rss_mb for s in middle]) - 1.0
    descriptors = np.median([s.descriptors for s in last]) / np.median([s.descriptors for s in middle]) - 1.0
    return float(rss), float(descriptors)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    samples, lag_s = soak(60.0 * given.minutes)
    rss, descriptors = growth(samples)
    lines = [
        f"# endurance.soak\n\n{circumstances()}\n",
        f"{SENSORS} nodes at {PACE:g} times a night's pace, {given.minutes:g} minutes.",
        f"At the end the watermark was {-lag_s:.0f} s beyond the last bang.\n",
        "| after s | RSS MB | descriptors | threads |",
        "|---|---|---|---|",
        *(
            f"| {s.after_s:.0f} | {s.rss_mb:.0f} | {s.descriptors} | {s.threads} |"
            for s in samples[:: len(samples) // 12 or 1]
        ),
        f"\nRSS of the last third over the second: {100.0 * rss:+.2f} %; descriptors {100.0 * descriptors:+.2f} %.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        (RESULTS / "endurance-soak.md").write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
