"""What people decide, through kills of a whole centre at every point: told once or put aside once, and replayed the same."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MUST_BE_NONE = (
    "answered and not written", "written and not in the ledger once", "neither told nor put aside", "told and put aside",
    "put aside twice", "named twice", "named and forgotten", "named and never written", "gaps", "pending acts",
    "replayed otherwise", "said at another start", "lost", "invented", "said otherwise", "out of order", "pending", "dead",
)  # fmt: skip


def lives(where, folder, kills, seed, root, patience_s=300.0):
    """So many lives of a centre that is killed, and what the books say afterwards.

    The journal replays to what is stored byte for byte and in its order: what is stored was thought of from the journal,
    and what a kill kept from the record was thought of again at the next start.
    """
    folder.mkdir()
    command = [sys.executable, "-m", "tests.kill_acts", str(where), str(folder), str(kills), str(seed)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=patience_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert {name: found[name] for name in MUST_BE_NONE} == dict.fromkeys(MUST_BE_NONE, 0), found
    assert found["ledger"] == "ok"
    assert found["kills"] == kills
    return found


def test_what_people_decide_survives_six_kills_of_the_centre(record_where, tmp_path, root):
    found = lives(record_where, tmp_path / "books", 6, 7, root)
    assert found["acts"] >= found["answered"] > 0
    assert found["acts"] > found["put aside"]
    assert len(found["points"]) > 1, "at chance, and at named points"


@pytest.mark.endurance
@pytest.mark.parametrize("ten", range(26))
def test_five_hundred_and_twenty_kills(record_where, tmp_path, root, ten):
    """Two hundred and sixty on each database, in lives of ten."""
    lives(record_where, tmp_path / "books", 10, 2000 + ten, root, patience_s=900.0)
