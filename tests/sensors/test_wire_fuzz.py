"""Whatever comes from the network: taken or refused, at once, in little memory."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.endurance)])
def test_bad_input_is_refused_and_nothing_else_happens(root, count):
    """In a process of its own: 512 MB of memory above what it starts with, a second of the processor for each."""
    command = [sys.executable, "-m", "tests.fuzz_wire", str(count), "20261122"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=3_600, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    outcome = json.loads(done.stdout)
    print(outcome)
    assert outcome["taken"] + outcome["refused"] >= count
    assert outcome["refused"] > 0.5 * count
    assert outcome["badly told"] == 0
    assert outcome["longest_s"] < 1.0
