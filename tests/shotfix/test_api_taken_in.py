"""Over the API: what is said of an incident that the machine has made part of another is answered with that one."""

from __future__ import annotations

import json

import pytest

from alerts.record.store import Store
from alerts.review.reviews import ReviewRules
from tests.api_city import PUBLISHED, played
from tests.review_nights import minutes
from tests.strategies import HARTFORD, fix_at


def told(city, *shots):
    said = [alert for shot in shots for alert in city.desk.receive(shot)] + list(city.desk.tick(minutes(1)))
    city.store.keep(said, [], minutes(1))
    return said


def joined(city):
    """An incident, and another that the machine made part of it; their names."""
    bangs = [fix_at(name, at_s, east_m, llr=PUBLISHED, frame=HARTFORD)
             for name, at_s, east_m in (("a", 0.0, 0.0), ("b", 0.5, 100.0), ("c", 1.0, 50.0))]  # fmt: skip
    first, other = (alert.incident_id for alert in told(city, *bangs[:2])[:2])
    told(city, bangs[2])
    assert city.reviews.head(other).merged_into == first
    return first, other


def test_the_answer_the_entry_and_the_access_log_are_of_the_one_that_took_it_in(tmp_path):
    async def play(city):
        first, other = joined(city)
        for kind, column in (("claim", "claimed_by"), ("acknowledge", "acknowledged_by")):
            done = await city.ask("POST", f"/incidents/{other}/{kind}", body={})
            assert (done.status, done.json["incident"]["incident_id"]) == (200, first)
            assert done.json["incident"][column] == "analyst"
            assert done.headers["etag"] == f'"{city.reviews.head(first).version}"'
        assert city.reviews.head(other).acknowledged_by is None
        seen = (await city.get("/access", "auditor")).json["accesses"]
        assert [one["about"] for one in seen if one["what"].startswith("POST")] == [first, first]

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path)


def test_the_version_is_of_the_one_that_took_it_in(tmp_path):
    async def play(city):
        first, other = joined(city)
        for kind in ("claim", "release", "claim", "release"):
            await city.act(first, kind)
        assert city.reviews.head(first).version > city.reviews.head(other).version
        stale = await city.act(other, "acknowledge", version=city.reviews.head(other).version)
        assert (stale.code, stale.json["version"]) == ("conflict", city.reviews.head(first).version)
        done = await city.act(other, "acknowledge", version=stale.json["version"])
        assert (done.status, done.json["incident"]["incident_id"]) == (200, first)

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path)


@pytest.mark.parametrize("joins", ["machine", "person"])
def test_who_holds_the_whole_blindly_learns_nothing_of_it_from_a_part(record_store, tmp_path, joins):
    async def play(city):
        city.enrol("bob", "analyst", "supervisor")
        if joins == "machine":
            whole, part = joined(city)
        else:
            whole, part = city.tell("a"), city.tell("b", 120.0)
            assert (await city.act(part, "merge", body={"into": whole})).status == 200
        await city.act(part, "link", body={"system": "cad", "number": "P26-1"})
        await city.act(whole, "judge", body={"judgement": "vehicle", "note": "a backfire"})
        alert = city.reviews.head(part).alert_id
        paths = (f"/incidents/{part}", f"/alerts/{alert}", f"/alerts/{alert}/revisions", "/incidents", "/alerts")
        open_to = [(await city.get(path, "bob")).body.decode() for path in paths]
        assert all("outcome" in text for text in open_to), "else nothing is withheld below"
        assert (await city.act(whole, "claim", "bob")).json["blind"] is not None
        for path in paths:
            text = (await city.get(path, "bob")).body.decode()
            for word in ("vehicle", "backfire", "P26-1", "outcome", "llr", "p_gunshot", "latitude"):
                assert word not in text, (path, word)
        for kind, body in (("acknowledge", {}), ("judge", {"judgement": "noise"}), ("pin", {"reason": "no"})):
            assert (await city.act(part, kind, "bob", body)).code == "not-permitted"
        noted = await city.act(part, "note", "bob", {"text": "a dog barks"}, city.reviews.taken_in(part).version)
        assert (noted.status, noted.json["incident"]) == (200, None)
        async with city.listen("bob", last_event_id="0") as listener:
            await listener.until(lambda me: any(kind == "claim" for _, kind, _ in me.events))
            for word in ("vehicle", "backfire", "P26-1", "outcome", "p_gunshot"):
                assert word not in listener.text, word
        assert (await city.get("/accounting", "bob")).json["held_back"] == 2
        assert "outcome" in (await city.get(f"/incidents/{part}", "supervisor")).body.decode()
        await city.act(whole, "opinion", "bob", {"judgement": "vehicle"})
        said = json.loads(list(city.reviews.ledger.entries(about=whole, kinds=("opinion",)))[-1].body)
        assert said["looked_before"] == 3  # the part and its alert, by name, before they claimed the whole
        assert "outcome" in (await city.get(f"/incidents/{part}", "bob")).body.decode()

    played(play, record_store, tmp_path, rules=ReviewRules(second_share=1.0))
