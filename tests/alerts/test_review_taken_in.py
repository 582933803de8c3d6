"""What people say of an incident while the machine makes it part of another: carried there, or put aside and looked at."""

from __future__ import annotations

import msgspec
import pytest

from alerts.alert import encode
from alerts.desk import Desk
from alerts.review.acts import last_said
from alerts.review.reviews import ConflictError, ReviewRules, Reviews
from shotfix.clips import ClipStore
from shotfix.keeping import Keeping
from tests.review_nights import PUBLISHED_LLR, REVIEW_LLR, minutes, submit, tell
from tests.strategies import HARTFORD, fix_at


class Corner:
    """Two bangs too far apart to be one incident, until a third between them is heard; a desk, and its record."""

    def __init__(self, store, audio, llr=REVIEW_LLR):
        self.reviews = Reviews(store, ReviewRules(second_share=0.0))
        self.keeping = Keeping(store, [], ClipStore(audio), lambda: minutes(9), rules=self.reviews.rules)
        self.carried = []
        self.keeping.hand_over = self.carried.append
        self.desk, self.llr, self.entries, self.said = Desk(mode="live"), llr, [], []
        for name, at_s, east_m in (("a", 0.0, 0.0), ("b", 0.5, 100.0)):
            self.hear("receive", fix_at(name, at_s, east_m, llr=llr, frame=HARTFORD))
        self.hear("tick", minutes(1))
        self.first, self.other = sorted({alert.incident_id for alert in self.said}, key=self.is_later)

    def is_later(self, incident_id):
        return self.reviews.head(incident_id).first_ns

    def hear(self, method, *what):
        self.entries.append((method, what))
        said = getattr(self.desk, method)(*what)
        self.said += said
        self.reviews.store.keep(said, [], minutes(2))
        return said

    def between(self):
        """The third is heard, and the machine makes the later one part of the first."""
        self.hear("receive", fix_at("c", 1.0, 50.0, llr=self.llr, frame=HARTFORD))
        self.hear("tick", minutes(2))
        assert self.reviews.head(self.other).merged_into == self.first
        return self.reviews.head(self.first)

    def tell(self, decision):
        """What the centre does with a decision; what it hands itself over again comes next."""
        passed_over = self.desk.counts["acts_passed_over"]
        said = self.hear("act", decision.act, decision.known, decision.earlier)
        if self.desk.counts["acts_passed_over"] > passed_over:
            self.keeping.pass_over(decision.act.act_id)
        while self.carried:
            said += self.hear_carried(self.carried.pop(0))
        assert self.reviews.pending() == ()
        return said

    def hear_carried(self, decision):
        return self.hear("act", decision.act, decision.known, decision.earlier)

    def last(self, incident_id):
        with self.reviews.store.reading() as connection:
            return last_said(connection, self.reviews.head(incident_id).alert_id)

    def judge(self, judgement, who="ann", incident_id=None):
        name = incident_id or self.other
        return self.reviews.judge(name, who, minutes(3), judgement, expected_version=self.reviews.head(name).version)

    def entry(self, incident_id, kind):
        """The last entry of a kind: who made it, and what it says."""
        last = list(self.reviews.ledger.entries(about=incident_id, kinds=(kind,)))[-1]
        return last.actor, msgspec.json.decode(last.body)


@pytest.fixture
def corner(record_store, tmp_path):
    return Corner(record_store, tmp_path)


def test_gunfire_in_a_part_is_gunfire_in_the_whole(corner):
    judged = corner.judge("gunfire")
    corner.between()
    (said,) = corner.tell(judged)
    assert (said.incident_id, said.outcome, said.kind) == (corner.first, "published", "new")
    assert (said.review.judgement, said.review.by, said.review.acts) == ("gunfire", "ann", said.review.acts[:1])
    assert corner.reviews.head(corner.first).verdict == "gunfire"
    assert [(one.by, one.listened) for one in corner.reviews.opinions(corner.first)] == [("ann", False)]
    assert (corner.reviews.head(corner.other).verdict, corner.reviews.opinions(corner.other)) == (None, ())
    who, told = corner.entry(corner.other, "act")
    assert (who, told["passed_over"], told["into"]) == ("machine", judged.act.act_id, corner.first)
    assert told["carried"] == said.review.acts[0]
    who, told = corner.entry(corner.first, "act")
    assert (who, told["said_of"], told["act"]["act_id"]) == ("ann", corner.other, said.review.acts[0])
    assert corner.reviews.ledger.verify().intact
    corner.keeping.pass_over(judged.act.act_id)
    assert (corner.keeping.passed_over, corner.carried) == (1, []), "once"
    again, replayed = Desk(mode="live"), []
    for method, what in corner.entries:
        replayed += getattr(again, method)(*what)
    assert [encode(alert) for alert in replayed] == [encode(alert) for alert in corner.said]


def test_what_the_next_start_finds_is_told_too(corner):
    judged = corner.judge("gunfire")
    corner.between()
    corner.keeping.hand_over = None
    submit(corner.reviews, judged, corner.desk)
    corner.keeping.pass_over(judged.act.act_id)
    (waiting,) = corner.reviews.pending()
    (said,) = submit(corner.reviews, waiting, Desk(mode="live"))
    assert (said.incident_id, said.outcome, corner.reviews.pending()) == (corner.first, "published", ())


@pytest.mark.parametrize("judgement", ["fireworks", "vehicle", "unsure"])
def test_what_a_part_was_else_says_nothing_of_rounds_that_its_judge_never_heard(record_store, tmp_path, judgement):
    corner = Corner(record_store, tmp_path, PUBLISHED_LLR)
    judged = corner.judge(judgement)
    before = corner.between()
    assert corner.tell(judged) == ()
    assert corner.reviews.head(corner.first) == before
    head = corner.reviews.head(corner.other)
    assert (head.verdict, head.wants_second, corner.reviews.opinions(corner.other)) == (None, False, ())
    assert "carried" not in corner.entry(corner.other, "act")[1]


@pytest.mark.parametrize(("kind", "of"), [("place", "other"), ("split", "other"), ("merge", "other"), ("merge", "far")])
def test_what_may_mean_the_part_only_is_looked_at_again(corner, kind, of):
    reviews, far = corner.reviews, tell(corner.reviews.store, "far", 300.0)
    corner.hear("receive", fix_at("d", 0.7, 100.0, llr=REVIEW_LLR, frame=HARTFORD))
    corner.hear("tick", minutes(1.5))
    name, into = (corner.other, far) if of == "other" else (far, corner.other)
    said = {"place": (41.77, -72.67, 20.0), "split": (("d",),), "merge": (into,)}[kind]
    version = reviews.head(name).version
    decision = getattr(reviews, kind)(name, "ann", minutes(3), *said, expected_version=version)
    before = corner.between()
    assert corner.tell(decision) == ()
    assert (reviews.head(corner.first), reviews.head(far).merged_into) == (before, None)
    who, told = corner.entry(name, "act")
    assert (who, told["passed_over"], "carried" in told) == ("machine", decision.act.act_id, False)


@pytest.mark.parametrize("who", ["bob", "ann"])
def test_who_decided_of_the_whole_in_the_meantime_is_not_talked_over(corner, who):
    judged = corner.judge("gunfire")
    corner.between()
    submit(corner.reviews, corner.judge("fireworks", who, corner.first), corner.desk)
    assert corner.tell(judged) == ()
    assert (corner.reviews.head(corner.first).verdict, corner.last(corner.first).review.by) == ("fireworks", who)
    assert corner.last(corner.first).outcome == "suppressed"


@pytest.mark.parametrize(
    ("way", "who", "word", "carried"),
    [("judge", "ann", "fireworks", 0), ("adjudicate", "sue", "fireworks", 0), ("adjudicate", "sue", "gunfire", 1)],
)
def test_a_word_that_was_corrected_before_it_was_heard_is_not_carried(corner, way, who, word, carried):
    judged = corner.judge("gunfire")
    version = corner.reviews.head(corner.other).version
    later = getattr(corner.reviews, way)(corner.other, who, minutes(4), word, expected_version=version)
    corner.between()
    for decision in (judged, later):
        submit(corner.reviews, decision, corner.desk)
        corner.keeping.pass_over(decision.act.act_id)
    assert [decision.act.by for decision in corner.carried] == ["ann"] * carried
    assert corner.reviews.head(corner.first).verdict == ("gunfire" if carried else None)


def test_who_has_the_whole_in_hand_decides(corner):
    judged = corner.judge("gunfire")
    corner.between()
    corner.reviews.claim(corner.first, "bob", minutes(9))
    corner.tell(judged)
    assert corner.reviews.head(corner.first).verdict is None
    assert "carried" not in corner.entry(corner.other, "act")[1]


@pytest.mark.parametrize("told_before", [False, True])
def test_what_was_taken_back_is_not_carried_or_taken_back_there(corner, told_before):
    judged = corner.judge("gunfire")

    def taken_back():
        version = corner.reviews.head(corner.other).version
        return corner.reviews.undo(corner.other, "ann", minutes(4), judged.act.act_id, expected_version=version)

    if told_before:
        corner.between()
        assert corner.tell(judged)
        (said,) = corner.tell(taken_back())
        assert (said.incident_id, said.status, said.review.judgement) == (corner.first, "cancelled", None)
    else:
        undone = taken_back()
        corner.between()
        submit(corner.reviews, judged, corner.desk)
        corner.keeping.pass_over(judged.act.act_id)
        assert corner.carried == []
        assert corner.tell(undone) == ()
    assert (corner.reviews.head(corner.first).verdict, corner.reviews.opinions(corner.first)) == (None, ())


def test_an_undoing_that_the_whole_refuses_half_way_leaves_no_trace_there(corner):
    reviews, first, other = corner.reviews, corner.first, corner.other
    judged = corner.judge("gunfire")
    corner.between()
    assert corner.tell(judged)
    far, before = tell(reviews.store, "far", 300.0), reviews.opinions(first)
    reviews.merge(first, "cas", minutes(4), far, expected_version=reviews.head(first).version)  # not yet told
    version = reviews.head(other).version
    undone = reviews.undo(other, "ann", minutes(5), judged.act.act_id, expected_version=version)
    submit(reviews, undone, corner.desk)
    corner.keeping.pass_over(undone.act.act_id)
    assert (corner.keeping.passed_over, corner.carried) == (2, [])
    assert (reviews.opinions(first), reviews.head(first).verdict) == (before, "gunfire")
    assert reviews.ledger.verify().intact


def test_a_claim_a_sighting_and_a_note_go_to_the_whole(record_store, tmp_path):
    corner = Corner(record_store, tmp_path, PUBLISHED_LLR)
    reviews, first, other = corner.reviews, corner.first, corner.other
    early = reviews.claim(other, "cas", minutes(1))
    corner.between()
    assert (early.incident_id, reviews.release(other, "cas", minutes(2)).incident_id) == (other, other)
    claimed = reviews.claim(other, "ann", minutes(5))
    assert (claimed.incident_id, claimed.claimed_by, reviews.head(other).claimed_by) == (first, "ann", None)
    with pytest.raises(ConflictError, match=f"{first}: ann has it in hand"):
        reviews.claim(first, "bob", minutes(6))
    assert reviews.release(other, "ann", minutes(6)).claimed_by is None
    assert reviews.acknowledge(other, "ann", minutes(7)).incident_id == first
    with pytest.raises(ConflictError, match="ann acknowledged it already"):
        reviews.acknowledge(first, "bob", minutes(8))
    reviews.note(other, "ann", minutes(9), "a caller heard three")
    for kind in ("claim", "release", "acknowledge", "note"):
        who, told = corner.entry(first, kind)
        assert (who, told["said_of"]) == ("ann", other)
    assert "said_of" not in corner.entry(other, "claim")[1]


def test_what_people_joined_is_not_followed(corner):
    reviews, other = corner.reviews, corner.other
    version = reviews.head(other).version
    merged = reviews.merge(other, "bob", minutes(3), corner.first, expected_version=version)
    corner.tell(merged)
    assert reviews.head(other).merged_into == corner.first
    assert reviews.claim(other, "ann", minutes(4)).incident_id == other, "to undo it, say"
