"""Programs of the tests that are killed again and again in a process of their own, and say what the books say after."""

from __future__ import annotations

import json
import subprocess
import sys


def lives(program, must_be_none, where, folder, kills, seed, root, patience_s=300.0):
    """What the books of ``program`` say after so many kills; of what must be none, they have none."""
    folder.mkdir()
    command = [sys.executable, "-m", program, str(where), str(folder), str(kills), str(seed)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=patience_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert {name: found[name] for name in must_be_none} == dict.fromkeys(must_be_none, 0), found
    assert found["ledger"] == "ok"
    assert found["kills"] == kills
    return found
