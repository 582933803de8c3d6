"""Run every benchmark, print its table, and write it to benchmarks/results/."""

from __future__ import annotations

import argparse
import importlib
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ALL = (
    "accuracy.live_fire",
    "accuracy.picks",
    "accuracy.recall",
    "accuracy.bursts",
    "accuracy.bearing",
    "accuracy.classifier",
    "accuracy.bound",
    "accuracy.region",
    "accuracy.air",
    "accuracy.subsets",
    "accuracy.association",
    "accuracy.suite",
    "accuracy.policy",
    "speed.front_end",
    "speed.solve",
    "speed.association",
    "speed.replay",
    "speed.streams",
    "speed.city",
    "speed.telling",
    "speed.places",
)
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=ALL, help=f"some of {', '.join(ALL)}")
    parser.add_argument("--data", type=Path, help="the Pittsburgh live fire, as its builder takes it")
    given = parser.parse_args()
    for name in given.names or ALL:
        table = importlib.import_module(f"benchmarks.{name}").measure(given.data)
        text = f"# {name}\n\n{circumstances()}\n\n{table}\n"
        print(text)
        (RESULTS / f"{name.replace('.', '-')}.md").write_text(text)
    return 0


def circumstances() -> str:
    """Machine, commit and day of a measurement."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty= and changes"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {processor()}; Python {platform.python_version()}; commit {commit or 'unknown'}"
    )


def processor() -> str:
    """The processor's own name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
