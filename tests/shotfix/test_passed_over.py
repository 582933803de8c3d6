"""An act that makes no sense any more is put aside and told, and waits for nobody at the next start."""

from __future__ import annotations

import time

import msgspec
import pytest

from alerts.act import Act, act_name
from alerts.desk import Desk
from alerts.record.store import StoreError
from alerts.review.reviews import ReviewRules, Reviews
from shotfix.clips import ClipStore
from shotfix.core import Said
from shotfix.entries import act_body
from shotfix.keeping import Keeping
from shotfix.segment import LARGEST_BODY_BYTES, JournalError
from tests.cities import small_city
from tests.review_nights import REVIEW_LLR, minutes, submit, tell
from tests.shotfix.test_engine import opened, settle
from tests.strategies import NIGHT_NS, fix_at


@pytest.fixture
def keeping(record_store, tmp_path):
    return Keeping(record_store, [], ClipStore(tmp_path / "audio"), lambda: minutes(9))


def test_it_is_put_aside_once_and_a_person_looks_again(record_store, keeping):
    reviews = Reviews(record_store, ReviewRules(second_share=0.0, second_when_overruled=False))
    name = tell(record_store, "odd", llr=REVIEW_LLR)
    decision = reviews.judge(name, "ann", minutes(1), "fireworks", expected_version=1)
    assert reviews.head(name).verdict == "fireworks"
    assert name not in {waiting.incident_id for waiting in reviews.queue(minutes(2), "bob")}
    keeping.pass_over(decision.act.act_id)
    keeping.pass_over(decision.act.act_id)
    assert keeping.passed_over == 1
    assert reviews.pending() == ()
    head = reviews.head(name)
    assert (head.verdict, head.changed_by, head.version) == (None, "machine", decision.head.version + 1)
    assert name in {waiting.incident_id for waiting in reviews.queue(minutes(2), "bob")}
    assert reviews.opinions(name) == (), "else bob would be told that ann judged it"
    last = list(reviews.ledger.entries(about=name))[-1]
    assert (last.kind, last.actor) == ("act", "machine")
    assert msgspec.json.decode(last.body)["passed_over"] == decision.act.act_id
    assert reviews.ledger.verify().intact
    again = reviews.judge(name, "bob", minutes(3), "gunfire", expected_version=head.version)
    assert (again.act.by, again.head.verdict) == ("bob", "gunfire")


def test_what_counted_before_it_counts_again(record_store, keeping):
    reviews = Reviews(record_store, ReviewRules(second_share=0.0, second_when_overruled=False))
    name = tell(record_store, "odd", llr=REVIEW_LLR)
    submit(reviews, reviews.judge(name, "ann", minutes(1), "vehicle", expected_version=1))
    second = reviews.judge(name, "ann", minutes(2), "fireworks", expected_version=reviews.head(name).version)
    keeping.pass_over(second.act.act_id)
    assert (reviews.head(name).verdict, [one.verdict for one in reviews.opinions(name)]) == ("vehicle", ["vehicle"])


def test_an_unknown_act_is_no_trouble(keeping):
    keeping.pass_over("h0")
    assert keeping.passed_over == 0


def test_the_engine_tells_which_it_passed_over(tmp_path):
    strange = Act(
        act_name("anowhere", "ann", NIGHT_NS, "x"), "split", "anowhere", "inowhere", "ann", NIGHT_NS, shot_ids=("s",)
    )
    with opened(small_city(sensors=6, seconds=2.0), tmp_path) as engine:
        told = []
        engine._keeper.pass_over = told.append
        engine.submit("act", time.time_ns(), act_body(strange))
        settle(engine)
        assert told == [strange.act_id]


def test_it_is_put_aside_when_what_was_said_before_it_is_kept(tmp_path, monkeypatch):
    """Only then does the record know what took its incident in."""
    with opened(small_city(sensors=6, seconds=2.0), tmp_path) as engine:
        done, refuses = [], [StoreError("full"), None]

        def keep(alerts):
            if (error := refuses.pop(0)) is not None:
                raise error
            done.append(len(alerts))

        monkeypatch.setattr(engine._keeper, "keep", keep)
        monkeypatch.setattr(engine._keeper, "pass_over", done.append)
        (alert,) = Desk().receive(fix_at("a"))
        engine._gather(Said(events=[alert], passed_over=["h1"]))
        engine._save()
        assert done == [], "the record refused"
        engine._save()
        assert done == [1, "h1"]


def test_an_act_on_which_we_fail_is_put_aside_too(tmp_path, monkeypatch):
    """Else each start would hand it over again, for ever."""
    act = Act("h1", "judge", "a1", "i1", "ann", NIGHT_NS, judgement="gunfire")
    with opened(small_city(sensors=6, seconds=2.0), tmp_path) as engine:
        told = []
        engine._keeper.pass_over = told.append

        def fails(*_):
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(engine.core, "act", fails)
        engine.submit("act", time.time_ns(), act_body(act))
        engine.submit("act", time.time_ns(), b"of another version")
        settle(engine)
        assert told == ["h1"]
        assert engine.core.counts["not-taken"] == 2


def test_an_entry_that_is_too_large_is_refused_and_others_are_taken(tmp_path):
    with opened(small_city(sensors=6, seconds=2.0), tmp_path) as engine:
        refused = engine.submit("act", time.time_ns(), bytes(LARGEST_BODY_BYTES + 1))
        taken = engine.submit("note", time.time_ns(), b"")
        settle(engine)
        assert isinstance(refused.exception(), JournalError)
        assert taken.result()
