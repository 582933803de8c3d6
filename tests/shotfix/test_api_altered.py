"""A document that was altered in the record goes to nobody, is told, and stops nothing else."""

from __future__ import annotations

import dataclasses
import json

import pytest
import sqlalchemy as sa

from alerts.alert import decode
from alerts.record import tables
from alerts.record.intact import AlteredError
from alerts.record.store import Store
from alerts.review.reviewed import reviewed
from tests.api_city import REVIEW, played
from tests.strategies import NIGHT_NS

DAY_NS = 86_400 * 10**9


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


def alter(store, incident_id, document):
    mine = tables.alert.c.incident_id == incident_id
    with store.writing() as connection:
        connection.execute(sa.update(tables.alert).where(mine).values(document=document))


@pytest.mark.parametrize("harm", [b"[", b"{}", None], ids=["no-json", "no-alert", "a-space"])
def test_lists_queue_and_figures_go_on_without_it(store, tmp_path, harm, caplog):
    async def play(city):
        good, bad = city.tell("good", llr=REVIEW), city.tell("bad", 100.0, llr=REVIEW)
        head = city.reviews.head(bad)
        forged = harm or store.document(head.alert_id, head.revision).replace(b"{", b"{ ", 1)
        alter(store, bad, forged)
        listed = (await city.get("/alerts")).json
        assert ([one["incident_id"] for one in listed["alerts"]], listed["altered"]) == ([good], 1)
        queue = (await city.get("/queue")).json
        assert {one["incident_id"] for one in queue["waiting"]} == {good, bad}, "it waits for a person all the same"
        festival = (await city.get("/festival")).json
        assert (festival["incidents"], festival["read"]) == (2, 1)
        for path in (f"/alerts/{head.alert_id}", f"/alerts/{head.alert_id}/revisions", f"/incidents/{bad}"):
            answer = await city.get(path)
            assert answer.status == 503, path
        assert "was altered; restore it from a backup" in caplog.text
        answer = await city.act(bad, "judge", body={"judgement": "fireworks"})
        assert answer.status == 503, answer.body
        async with city.listen(path="/events?after=0") as listener:
            await listener.until(lambda one: one.events)
        assert bad not in json.dumps(listener.events)
        assert "is told to nobody" in caplog.text

    played(play, store, tmp_path)


def test_labels_are_not_made_of_it(store, tmp_path):
    async def play(city):
        name = city.tell("bad", llr=REVIEW)
        answer = await city.act(name, "judge", body={"judgement": "fireworks"})
        assert answer.status == 200, answer.body
        alter(store, name, b"[")
        with pytest.raises(AlteredError, match="restore it from a backup"):
            list(reviewed(store, NIGHT_NS - DAY_NS, NIGHT_NS + DAY_NS, ("live",)))

    played(play, store, tmp_path)


def test_a_later_word_is_kept_though_the_one_before_was_altered(store, tmp_path):
    async def play(city):
        name = city.tell("bad", llr=REVIEW)
        assert (await city.act(name, "judge", body={"judgement": "fireworks"})).status == 200
        head = city.reviews.head(name)
        last = decode(store.document(head.alert_id, head.revision))
        assert last.review.acts
        later = dataclasses.replace(last, revision=last.revision + 1, supersedes=last.message_id)
        alter(store, name, b"[")
        assert store.keep([later], [], city.now_ns) == 1

    played(play, store, tmp_path)
