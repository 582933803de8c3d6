"""Claims against a model, in any order of people, acts and minutes."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from acoustic.instant import SECOND
from alerts.record.store import Store
from alerts.review.reviews import ConflictError, ObjectionError, ReviewRules, Reviews
from tests.review_nights import minutes, tell

people = st.sampled_from(["ann", "bob", "Ann"])
CLAIM_S = 120
NAMES = itertools.count()


class Claims(RuleBasedStateMachine):
    """One incident, a clock that only moves when it is told to, and what must come of every step."""

    folder = None
    reviews = None

    @classmethod
    def shared(cls):
        # A record of its own for every example would cost more than the example.
        if cls.reviews is None:
            cls.folder = tempfile.TemporaryDirectory()
            cls.reviews = Reviews(Store(Path(cls.folder.name) / "r.db"), ReviewRules(CLAIM_S, second_share=0.0))
        return cls.reviews

    @classmethod
    def close(cls):
        if cls.reviews is not None:
            cls.reviews.store.close()
            cls.folder.cleanup()
            cls.folder = cls.reviews = None

    def __init__(self):
        super().__init__()
        self.desk = self.shared()
        self.incident_id = tell(self.desk.store, f"example-{next(NAMES)}")
        self.now_ns = minutes(1)
        self.holder, self.until_ns = None, 0
        self.judge = None
        self.version = 1
        self.entries = 0

    def held_by_other(self, who):
        return self.holder is not None and self.now_ns < self.until_ns and self.holder.lower() != who.lower()

    def attempt(self, work, *, may):
        """Do it; it must be refused with who and until when exactly where the model says so."""
        try:
            work()
        except (ConflictError, ObjectionError) as refused:
            assert not may
            return refused
        assert may
        return None

    @rule(seconds=st.sampled_from([1, 59, 60, 119, 120, 121]))
    def time_passes(self, seconds):
        self.now_ns += seconds * SECOND

    @rule(who=people)
    def claim(self, who):
        may = not self.held_by_other(who)
        refused = self.attempt(lambda: self.desk.claim(self.incident_id, who, self.now_ns), may=may)
        if may:
            until_ns = self.now_ns + CLAIM_S * SECOND
            self.version += (self.holder, self.until_ns) != (who, until_ns)
            self.holder, self.until_ns = who, until_ns
            self.entries += 1
        else:
            assert (refused.changed_by, refused.until_ns) == (self.holder, self.until_ns)

    @rule(who=people)
    def release(self, who):
        may = not self.held_by_other(who)
        self.attempt(lambda: self.desk.release(self.incident_id, who, self.now_ns), may=may)
        if may and self.holder is not None and self.now_ns < self.until_ns:
            self.holder, self.until_ns = None, 0
            self.version += 1
            self.entries += 1

    @rule(who=people, seen=st.sampled_from([0, 0, 0, 1]))
    def say(self, who, seen):
        theirs = self.judge is None or self.judge.lower() == who.lower()
        may = not self.held_by_other(who) and seen == 0 and theirs
        self.now_ns += 1  # the same words at the same instant are one act

        def judge():
            version = self.version - seen
            self.desk.judge(self.incident_id, who, self.now_ns, "gunfire", expected_version=version)

        self.attempt(judge, may=may)
        if may:
            self.judge, self.holder, self.until_ns = who, None, 0
            self.version += 1
            self.entries += 2

    @invariant()
    def the_row_is_as_the_model_has_it(self):
        head = self.desk.head(self.incident_id)
        assert head.version == self.version
        assert (head.claimed_by, head.claimed_until_ns or 0) == (self.holder, self.until_ns)
        assert head.holder(self.now_ns) == (self.holder if self.now_ns < self.until_ns else None)
        assert (head.verdict is not None) == (self.judge is not None)

    @invariant()
    def every_step_left_an_entry(self):
        told = [entry for entry in self.desk.ledger.entries(about=self.incident_id) if entry.kind != "alert"]
        assert len(told) == self.entries
        if told and told[-1].kind != "opinion":
            assert msgspec.json.decode(told[-1].body)["version"] == self.version


def test_claims_are_as_the_model_has_them():
    try:
        run = settings(max_examples=25, stateful_step_count=20, deadline=None)
        from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415

        run_state_machine_as_test(Claims, settings=run)
    finally:
        Claims.close()
