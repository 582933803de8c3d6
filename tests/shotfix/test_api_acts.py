"""Acts through the API: of what somebody looked at, once, and by one of two."""

from __future__ import annotations

import asyncio

import pytest

from alerts.alert import decode
from alerts.record.store import Store
from alerts.review.reviews import ReviewRules
from shotfix.api import act_routes
from tests.api_city import REVIEW, played

ASKED_TWICE = ReviewRules(second_share=1.0)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


def test_a_night_at_the_desk(record_store, tmp_path):
    async def play(city):
        name, other = city.tell("a", rounds=3), city.tell("b", 120.0)
        done = await city.act(name, "claim")
        assert done.json["incident"]["claimed_by"] == "analyst"
        assert done.headers["etag"] == f'"{done.json["version"]}"'
        assert (await city.act(name, "acknowledge")).json["incident"]["acknowledged_by"] == "analyst"
        done = await city.act(name, "judge", body={"judgement": "fireworks", "note": "a whistle before"})
        assert done.status == 200
        said = decode(done.body[done.body.index(b'"alert":') + 8 : -1])
        assert (said.review.judgement, said.review.by, said.status) == ("fireworks", "analyst", "cancelled")
        undone = await city.act(name, "undo", body={"act_id": done.json["act_id"]})
        assert undone.json["incident"]["verdict"] is None
        assert undone.json["alert"]["status"] != "cancelled"
        where = {"latitude": 41.77, "longitude": -72.67, "radius_m": 25.0}
        placed = (await city.act(name, "place", body=where)).json["alert"]
        assert placed["place"]["latitude"] == pytest.approx(41.77)
        assert placed["review"]["machine_place"]["latitude"] != pytest.approx(41.77)
        shot = placed["rounds"][-1]["shot_id"]
        split = await city.act(name, "split", body={"shot_ids": [shot]})
        assert split.status == 200, split.body
        assert shot not in [one["shot_id"] for one in split.json["alert"]["rounds"]]
        merged = await city.act(other, "merge", body={"into": name})
        assert merged.status == 200, merged.body
        assert merged.json["incident"]["merged_into"] is not None
        finding = {"disposition": "confirmed", "evidence": ["casings"], "case_number": "26-1", "officer_minutes": 90}
        assert (await city.act(name, "disposition", body=finding)).json["incident"]["disposition"] == "confirmed"
        assert (await city.act(name, "note", body={"text": "two casings\nin the yard"})).status == 200
        assert (await city.act(name, "link", body={"system": "cad", "number": "P26-1"})).status == 200
        pinned = await city.act(name, "pin", "supervisor", {"reason": "evidence"})
        assert pinned.json["incident"]["pinned"]
        assert (await city.act(name, "release")).status == 200
        whole = (await city.get(f"/incidents/{name}")).json
        assert whole["links"] == [{"system": "cad", "number": "P26-1"}]
        kinds = [entry["kind"] for entry in whole["history"]]
        for kind in ("claim", "acknowledge", "act", "opinion", "disposition", "note", "link", "pin"):
            assert kind in kinds
        accounts = (await city.get("/accounting")).json
        assert accounts["officer_minutes"] == 90
        assert [each["alerts"]["count"] for each in accounts["states"] if each["state"] == "confirmed"] == [1]
        assert (await city.get("/ledger/verify", "auditor")).json["holds"]

    played(play, record_store, tmp_path)


def test_an_act_is_of_what_was_looked_at(store, tmp_path):
    async def play(city):
        name = city.tell("a", llr=REVIEW)
        city.enrol("bob", "analyst")
        body = {"judgement": "gunfire"}
        for kind in ("judge", "place", "merge", "split", "undo", "disposition"):
            needed = {
                "place": {"latitude": 1, "longitude": 1, "radius_m": 1},
                "merge": {"into": "x"},
                "split": {"shot_ids": ["a"]},
                "undo": {"act_id": "h"},
                "disposition": {"disposition": "other"},
                "judge": body,
            }.get(kind, {})
            assert (await city.ask("POST", f"/incidents/{name}/{kind}", body=needed)).code == "no-version", kind
        assert (await city.act(name, "claim", "bob", version=1)).status == 200
        assert (await city.act(name, "release", "bob")).status == 200
        late = await city.act(name, "judge", body=body, version=1)
        assert (late.status, late.code) == (409, "conflict")
        assert late.json["changed_by"] == "bob"
        assert late.json["version"] == city.reviews.head(name).version == 3
        assert late.json["changed_at"].startswith("2026-11-21T03:14:07")
        assert city.submitted == []
        in_body = await city.ask("POST", f"/incidents/{name}/judge", body=body | {"version": 3})
        assert in_body.status == 200
        both = await city.act(name, "claim", body={"version": 4}, version=3)
        assert both.code == "bad-request"

    played(play, store, tmp_path)


@pytest.mark.parametrize("header", ["*", "3", 'W/"3"', '"3", "4"', '"x"', '"-1"', "", '"99999999999"'])
def test_a_version_is_a_strong_etag_of_ours(store, tmp_path, header):
    async def play(city):
        name = city.tell("a")
        assert (await city.act(name, "claim", if_match=header)).code == "bad-request"

    played(play, store, tmp_path)


def test_of_two_desks_one_wins(record_store, tmp_path):
    async def play(city):
        for kind, body in (("acknowledge", {}), ("judge", {"judgement": "gunfire"}), ("claim", {})):
            desks = [f"{kind}-desk{number}" for number in range(8)]
            for desk in desks:
                city.enrol(desk, "analyst")
            name = city.tell(kind, 500.0 * len(kind))
            answers = await asyncio.gather(*(city.act(name, kind, desk, body, version=1) for desk in desks))
            won = [desk for desk, answer in zip(desks, answers, strict=True) if answer.status == 200]
            assert len(won) == 1, [answer.status for answer in answers]
            lost = [answer for answer in answers if answer.status != 200]
            assert {(answer.status, answer.json["changed_by"]) for answer in lost} == {(409, won[0])}
            done = [e for e in city.reviews.ledger.entries(about=name) if e.actor != "machine" and e.kind != "opinion"]
            assert [entry.actor for entry in done] == won

    played(play, record_store, tmp_path)


def test_a_repeated_click_acts_once(store, tmp_path):
    async def play(city):
        name = city.tell("a")
        body = {"judgement": "gunfire"}
        path = f"/incidents/{name}/judge"
        sent = {"if_match": '"1"', "idempotency_key": "click-0001"}
        first = await city.ask("POST", path, body=body, **sent)
        again = await city.ask("POST", path, body=body, **sent)
        assert (again.status, again.body, again.headers["etag"]) == (200, first.body, first.headers["etag"])
        assert again.headers["idempotency-replayed"] == "true"
        assert len(city.submitted) == 1
        assert (await city.ask("POST", path, body={"judgement": "other"}, **sent)).code == "key-reused"
        assert (await city.ask("POST", f"/incidents/{name}/claim", body={}, **sent)).code == "key-reused"
        city.enrol("bob", "analyst")
        assert (await city.ask("POST", path, "bob", body, **sent)).code == "conflict"  # their own key, and too late
        at_once = [city.act(name, "note", body={"text": "x"}, idempotency_key="click-0002") for _ in range(5)]
        codes = [answer.status for answer in await asyncio.gather(*at_once)]
        assert codes.count(200) >= 1
        assert set(codes) <= {200, 409}
        assert sum(entry.kind == "note" for entry in city.reviews.ledger.entries(about=name)) == 1
        assert (await city.act(name, "note", body={"text": "x"}, idempotency_key="no way")).code == "bad-request"

    played(play, store, tmp_path)


def test_what_failed_may_be_tried_again_under_its_key(store, tmp_path):
    async def play(city):
        name = city.tell("a")
        sent = {"idempotency_key": "click-0003"}
        assert (await city.act(name, "claim", version=7, **sent)).status == 409
        assert (await city.act(name, "claim", version=7, **sent)).status == 409  # nothing was kept of it
        assert len(city.api.room.repeats) == 0

    played(play, store, tmp_path)


def test_an_engine_that_is_slow_or_gone_loses_no_act(store, tmp_path, monkeypatch):
    monkeypatch.setattr(act_routes, "WAIT_S", 0.2)

    async def play(city):
        name = city.tell("a")
        done = await city.act(name, "judge", body={"judgement": "gunfire"})
        assert (done.status, done.json["applied"]) == (202, False)
        assert [decision.act.act_id for decision in city.reviews.pending()] == [done.json["act_id"]]

        def broken(_):
            raise RuntimeError("the engine is gone")

        city.submit = broken
        object.__setattr__(city.services, "submit", broken)
        where = {"latitude": 41.77, "longitude": -72.67, "radius_m": 25.0}
        assert (await city.act(name, "place", body=where)).status == 202
        assert len(city.reviews.pending()) == 2

    played(play, store, tmp_path, engine=False)


def test_what_makes_no_sense_is_refused(store, tmp_path):
    async def play(city):
        name, doubted = city.tell("a"), city.tell("b", 100.0, llr=REVIEW)
        assert (await city.act(doubted, "acknowledge")).code == "objection"
        assert (await city.act(name, "split", body={"shot_ids": ["nobody"]})).code == "objection"
        assert (await city.act(name, "undo", body={"act_id": "h0"})).code == "objection"
        assert (await city.act(name, "merge", body={"into": name})).code == "objection"
        assert (await city.act(name, "merge", body={"into": "i0"})).code == "unknown"
        assert (await city.act(name, "opinion", body={"judgement": "other"})).code == "objection"
        assert (await city.ask("POST", "/incidents/i0/note", body={"text": "x"})).code == "unknown"
        for kind, body in (
            ("judge", {"judgement": "aliens"}),
            ("judge", {"judgement": "gunfire", "extra": 1}),
            ("judge", {"judgement": "gunfire", "note": "x" * 2_001}),
            ("judge", {"judgement": "gunfire", "note": "\x00"}),
            ("judge", {"judgement": "gunfire", "note": "\x1b[2J"}),
            ("place", {"latitude": 91, "longitude": 0, "radius_m": 1}),
            ("place", {"latitude": 1, "longitude": 0, "radius_m": 0}),
            ("place", {"latitude": "1", "longitude": 0, "radius_m": 1}),
            ("split", {"shot_ids": []}),
            ("split", {"shot_ids": ["a", "a"]}),
            ("note", {"text": ""}),
            ("note", {"text": "   "}),
            ("link", {"system": "CAD", "number": "1"}),
            ("link", {"system": "cad", "number": "\n"}),
            ("disposition", {"disposition": "confirmed", "officer_minutes": -1}),
            ("disposition", {"disposition": "confirmed", "evidence": ["a feeling"]}),
        ):
            answer = await city.act(name, kind, body=body)
            assert (answer.status, answer.code) == (400, "bad-request"), (kind, body, answer.body)
        for raw in (
            b"{",
            b"[]",
            b"null",
            b'{"judgement":"gunfire","latitude":NaN}',
            b"\xff",
            b'{"version":1e400}',
            b"[" * 50_000,
        ):
            answer = await city.act(name, "judge", body=raw)
            assert answer.code == "bad-request", raw[:40]
        assert city.submitted == []

    played(play, store, tmp_path)


def test_bodies_are_bounded_and_are_json(store, tmp_path):
    async def play(city):
        name = city.tell("a")
        ask = city.ask
        path = f"/incidents/{name}/note"
        big = b'{"text":"' + b"x" * 70_000 + b'"}'
        assert (await ask("POST", path, body=big)).code == "too-large"
        assert (await ask("POST", path, body=big, content_length="20")).code == "too-large"  # it lied
        assert (await ask("POST", path, body=b"{}", content_length="-1")).code == "no-length"
        assert (await ask("POST", path, body=b"{}", content_length="9" * 40)).code == "no-length"
        chunked = await city.ask("POST", path, body=None, transfer_encoding="chunked")
        assert chunked.code == "no-length"
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            assert (await ask("POST", path, body=b'{"text":"x"}', content_type=kind)).code == "media-type"
        good = await ask("POST", path, body=b'{"text":"x"}', content_type="application/json; charset=utf-8")
        assert good.status == 200

    played(play, store, tmp_path)


# Second opinions


def test_a_second_reviewer_sees_nothing_of_what_others_think(record_store, tmp_path):
    async def play(city):
        name = city.tell("a", clips=("cd" * 32,))
        city.enrol("bob", "analyst")
        await city.act(name, "judge", body={"judgement": "vehicle", "note": "a backfire, sure"})
        waiting = (await city.get("/queue", "bob")).json["waiting"]
        mine = [each for each in waiting if each["want"] == "second"]
        assert [each["incident_id"] for each in mine] == [name]
        assert mine[0]["p_gunshot"] is None
        taken = await city.act(name, "claim", "bob")
        assert taken.json["incident"] is None
        assert taken.json["blind"]["incident_id"] == name
        alert_id = city.reviews.head(name).alert_id
        for path in (
            f"/incidents/{name}",
            f"/alerts/{alert_id}",
            f"/alerts/{alert_id}?revision=1",
            "/alerts",
            "/incidents",
        ):
            answer = await city.get(path, "bob")
            assert answer.status == 200, path
            for word in ("vehicle", "backfire", "verdict", "p_gunshot", "outcome", "cancelled", "review"):
                assert word not in answer.body.decode(), (path, word)
        assert (await city.get(f"/alerts/{alert_id}/revisions", "bob")).status == 403
        for query in ("outcome=published", "outcome=suppressed", "status=cancelled", "bbox=-80,40,-70,50"):
            for path in ("/alerts", "/incidents"):
                assert name not in (await city.get(f"{path}?{query}", "bob")).body.decode()
        async with city.listen("bob", last_event_id="0") as listener:
            await city.act(city.tell("z", 900.0), "claim", "supervisor")
            await listener.until(
                lambda me: any(kind == "claim" and "supervisor" in data for _, kind, data in me.events)
            )
            about = [(kind, data) for _, kind, data in listener.events if name in data]
            assert {kind for kind, _ in about} == {"alert", "claim"}
            assert not any("vehicle" in data or "p_gunshot" in data for _, data in about)
        said = await city.act(name, "opinion", "bob", {"judgement": "gunfire"})
        assert said.json["incident"]["disagreed"]
        assert "vehicle" in (await city.get(f"/incidents/{name}", "bob")).body.decode()
        assert (await city.act(name, "adjudicate", "analyst", {"judgement": "other"})).status == 403
        word = await city.act(name, "adjudicate", "supervisor", {"judgement": "gunfire"})
        assert word.json["incident"]["verdict"] == "gunfire"
        agreed = (await city.get("/agreement", "auditor")).json
        assert agreed["adjudicated"] == 1
        assert {each["by"] for each in agreed["reviewers"]} == {"analyst", "bob", "supervisor"}
        assert (await city.get("/agreement", "researcher")).json["reviewers"] == []

    played(play, record_store, tmp_path, rules=ASKED_TWICE)


def test_who_listened_is_on_record(store, tmp_path):
    digest = "cd" * 32

    async def play(city):
        city.enrol("deaf", "analyst")
        for who, heard in (("analyst", True), ("deaf", False)):
            name = city.tell(who, 300.0 * len(who), clips=(digest,))
            city.clips.put(digest)
            if heard:
                assert (await city.get(f"/audio/{digest}.wav", who)).status == 200
            await city.act(name, "judge", who, {"judgement": "gunfire"})
            opinions = (await city.get(f"/incidents/{name}")).json["opinions"]
            assert [one["listened"] for one in opinions] == [heard]

    played(play, store, tmp_path)
