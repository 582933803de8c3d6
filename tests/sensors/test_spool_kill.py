"""The spool of a node that is killed at any moment: nothing kept is lost, nothing settled comes again."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("kills", [20, pytest.param(1_000, marks=pytest.mark.endurance)])
def test_a_node_may_be_killed_at_any_moment(root, tmp_path, kills):
    command = [sys.executable, "-m", "tests.kill_spool", str(tmp_path), str(kills), "20261122"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=3_600, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    outcome = json.loads(done.stdout)
    print(outcome)
    assert outcome["lost"] == 0
    assert outcome["put"] > 5 * kills
    assert outcome["new"] >= outcome["put"]  # a kill may fall between the disk and the word that it is there
