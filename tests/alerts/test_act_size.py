"""How much an act may travel with: what hangs together by merging is bounded, before anything is written."""

from __future__ import annotations

import pytest

from alerts.alert import encode
from alerts.review import acts
from alerts.review.errors import ObjectionError
from alerts.review.reviews import ReviewRules, Reviews
from shotfix.segment import LARGEST_BODY_BYTES
from tests.review_nights import minutes, tell


@pytest.fixture
def reviews(record_store):
    return Reviews(record_store, ReviewRules(second_share=0.0))


def stands(reviews):
    return reviews.ledger.head(), reviews.unapplied()


def test_no_more_is_merged_than_an_entry_can_hold(reviews, monkeypatch):
    one, other = tell(reviews.store, "one", 0.0, rounds=3), tell(reviews.store, "other", 900.0, rounds=3)
    sizes = {alert.incident_id: len(encode(alert)) for alert in reviews.store.alerts()}
    version, before = reviews.head(one).version, stands(reviews)
    monkeypatch.setattr(acts, "MOST_TIED_BYTES", sizes[one] + sizes[other] - 1)
    with pytest.raises(ObjectionError, match=f"{one}: .* KiB, .* at most; leave it on its own"):
        reviews.merge(one, "ann", minutes(1), other, expected_version=version)
    assert stands(reviews) == before, "nothing was written"
    monkeypatch.setattr(acts, "MOST_TIED_BYTES", sizes[one] + sizes[other])
    assert len(reviews.merge(one, "ann", minutes(1), other, expected_version=version).known) == 2


def test_what_grew_since_can_still_be_judged_and_undone(reviews, monkeypatch):
    name = tell(reviews.store, "one", rounds=3)
    monkeypatch.setattr(acts, "MOST_TIED_BYTES", 1)
    decision = reviews.judge(name, "ann", minutes(1), "gunfire", expected_version=reviews.head(name).version)
    before = stands(reviews)
    monkeypatch.setattr(acts, "MOST_TOLD_BYTES", 1)
    with pytest.raises(ObjectionError, match="undo the last merging first"):
        reviews.judge(name, "ann", minutes(2), "vehicle", expected_version=decision.head.version)
    assert stands(reviews) == before, "nothing was written"


def test_what_may_be_written_may_be_put_into_the_journal():
    assert acts.MOST_TIED_BYTES < acts.MOST_TOLD_BYTES < LARGEST_BODY_BYTES
