"""What people decide, through kills of a whole centre at every point: told once or put aside once, and replayed the same."""

from __future__ import annotations

from functools import partial

import pytest

from tests import kill_runs

MUST_BE_NONE = (
    "answered and not written", "written and not in the ledger once", "neither told nor put aside", "told and put aside",
    "put aside twice", "named twice", "named and forgotten", "named and never written", "gaps", "pending acts",
    "replayed otherwise", "said at another start", "lost", "invented", "said otherwise", "out of order", "pending", "dead",
    "said again",
)  # fmt: skip


# The journal replays to what is stored byte for byte and in its order: what is stored was thought of from the journal, and
# what a kill kept from the record was thought of again at the next start.
lives = partial(kill_runs.lives, "tests.kill_acts", MUST_BE_NONE)


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
