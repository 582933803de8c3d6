"""Acts through the API: of what somebody looked at, once, and by one of two."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import decode
from alerts.delivery import Receipt, Route
from alerts.record.store import Store
from alerts.review.reviews import ReviewRules
from shotfix.api import act_routes, repeats
from shotfix.api.audio import is_whole
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


@pytest.mark.parametrize("path", ["/accounting", "/agreement", "/festival"])
def test_figures_are_of_the_centres_own_mode_where_nobody_asks_for_another(store, tmp_path, path):
    async def play(city):
        own = (await city.get(path, "supervisor")).json
        assert own == (await city.get(f"{path}?mode=exercise", "supervisor")).json
        assert own != (await city.get(f"{path}?mode=live", "supervisor")).json, "where the only incident is"

    async def told(city):
        name = city.tell("a")
        await city.act(name, "judge", body={"judgement": "fireworks"})
        await play(city)

    played(told, store, tmp_path, mode="exercise")


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


def test_a_judgement_is_undone_by_who_gave_it_or_by_a_supervisor(store, tmp_path):
    async def play(city):
        name = city.tell("a")
        city.enrol("bob", "analyst")
        done = await city.act(name, "judge", "bob", body={"judgement": "fireworks"})
        about = {"act_id": done.json["act_id"]}
        refused = await city.act(name, "undo", body=about)
        assert (refused.status, refused.json["changed_by"]) == (409, "bob")
        undone = await city.act(name, "undo", "supervisor", about)
        assert (undone.status, undone.json["incident"]["verdict"]) == (200, None)

    played(play, store, tmp_path)


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
        far = await city.act(name, "place", body={"latitude": 41.0, "longitude": -72.67, "radius_m": 20})
        assert far.code == "objection"
        assert "85 km from where it was heard; check latitude and longitude" in far.json["detail"]
        aliens = await city.act(name, "judge", body={"judgement": "aliens"})
        assert "expected one of gunfire, fireworks, vehicle" in aliens.json["detail"]
        assert "expected one of" in (await city.get("/incidents?outcome=x")).json["detail"]
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


def test_who_asked_for_the_head_or_a_byte_has_not_listened(store, tmp_path):
    digest, names = "cd" * 32, ("head", "byte", "gap", "mixed", "parts", "all-in-one-part")

    async def play(city):
        whole = len(city.clips.put(digest))
        asked = {
            "head": [("HEAD", "", None)],
            "byte": [("GET", "", "bytes=0-1"), ("GET", ".wav", "bytes=-1")],
            "gap": [("GET", "", "bytes=0-99"), ("GET", "", f"bytes=101-{whole}")],
            "mixed": [("GET", "", "bytes=0-99"), ("GET", ".wav", "bytes=100-")],
            "parts": [("GET", "", "bytes=50-"), ("GET", "", "bytes=0-99")],
            "all-in-one-part": [("GET", ".wav", "bytes=0-")],
        }
        for number, who in enumerate(names):
            city.enrol(who, "analyst")
            name = city.tell(who, 300.0 * number, clips=(digest,))
            for method, form, part in asked[who]:
                more = {} if part is None else {"range": part}
                assert (await city.ask(method, f"/audio/{digest}{form}", who, **more)).status < 300
            await city.act(name, "judge", who, {"judgement": "gunfire"})
            (opinion,) = (await city.get(f"/incidents/{name}")).json["opinions"]
            assert opinion["listened"] == (who in ("parts", "all-in-one-part")), who
        rows = (await city.get("/access?who=head", "auditor")).json["accesses"]
        assert "HEAD /audio/{sha256}" in [row["what"] for row in rows]

    played(play, store, tmp_path)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), max_size=6), st.integers(1, 40))
def test_parts_are_the_whole_when_every_byte_is_in_one(spans, size):
    inside = [(first, min(first + length, size) - 1) for first, length in spans if first < size]
    fetched = [f"GET /audio/{{sha256}} {first}-{last}/{size}" for first, last in inside]
    every = {byte for first, last in inside for byte in range(first, last + 1)} == set(range(size))
    assert is_whole(fetched) == every
    assert is_whole([*fetched, "GET /audio/{sha256}.wav"])
    assert is_whole([*fetched, "HEAD /audio/{sha256}", "GET /audio/{sha256} 0-1", "GET /audio"]) == every


def test_a_second_reviewer_learns_nothing_by_acting_or_by_where_it_is_missing(record_store, tmp_path):
    async def play(city):
        city.enrol("bob", "analyst", "supervisor")
        name, other = city.tell("a", llr=REVIEW), city.tell("b", 300.0)
        later = city.tell("c", 600.0)
        await city.act(name, "judge", body={"judgement": "vehicle", "note": "a backfire"})
        await city.act(name, "claim", "bob")
        shot = city.store.document(city.reviews.head(name).alert_id, 1)
        said = set()
        where = {"latitude": 1, "longitude": 1, "radius_m": 1}
        for about, kind, body in (
            (name, "acknowledge", {}),
            (name, "judge", {"judgement": "vehicle"}),
            (name, "judge", {"judgement": "gunfire"}),
            (name, "adjudicate", {"judgement": "gunfire"}),
            (name, "place", where),
            (name, "merge", {"into": other}),
            (other, "merge", {"into": name}),
            (name, "split", {"shot_ids": [decode(shot).rounds[0].shot_id]}),
            (name, "undo", {"act_id": "hdeadbeefdeadbeef"}),
            (name, "disposition", {"disposition": "other"}),
            (name, "pin", {"reason": "x"}),
            (name, "link", {"system": "cad", "number": "1"}),
        ):
            for version in (None, 1):
                answer = await city.act(about, kind, "bob", body, version)
                assert (answer.status, answer.code) == (403, "not-permitted"), kind
                said.add(answer.body)
        assert len(said) == 1
        assert len(city.submitted) == 1  # the first reviewer's
        for path in ("/alerts", "/incidents"):
            found, cursor = [], ""
            while cursor is not None:  # no page has a gap where it would stand
                page = (await city.get(f"{path}?limit=1{cursor and '&cursor='}{cursor}", "bob")).json
                found += [each["incident_id"] for each in page[path[1:]]]
                assert [each["incident_id"] for each in page["blind"]] == ([name] if not cursor else [])
                assert len(page[path[1:]]) == 1
                cursor = page["next"]
            assert found == [later, other]
            for query in ("from=2020-01-01T00:00:00Z", "to=2030-01-01T00:00:00Z", "mode=test"):
                assert (await city.get(f"{path}?{query}", "bob")).json["blind"] == []
            assert len((await city.get(f"{path}?mode=live", "bob")).json["blind"]) == 1
        assert (await city.act(name, "note", "bob", {"text": "traffic noise"})).status == 200
        assert (await city.act(name, "claim", "bob")).status == 200
        assert (await city.act(name, "opinion", "bob", {"judgement": "vehicle"})).status == 200

    played(play, record_store, tmp_path, rules=ASKED_TWICE)


# Repeats


class Page:
    """An answer of so many bytes."""

    def __init__(self, size):
        self.body = bytes(size)


def test_what_is_kept_for_repeats_is_bounded_in_bytes_and_who_has_most_loses_first(monkeypatch):
    monkeypatch.setattr(repeats, "MOST_OF_ONE", 100_000)
    monkeypatch.setattr(repeats, "MOST_BYTES", 250_000)
    kept = repeats.Repeats()

    def click(who, number, size):
        assert kept.begin((who, f"{number}"), b"f", 0.0) is None
        kept.end((who, f"{number}"), Page(size))

    for number in range(50):
        click("ann", number, 18_000)
    assert len(kept) == 5  # of 20,000 bytes each, with their own
    assert len(kept.begin(("ann", "49"), b"f", 0.0).body) == 18_000
    click("bob", 0, 8_000)
    for number in range(100):  # keys without an answer, or with a short one, take room too
        click("cid", number, 0)
        click("dan", number, 0)
    assert kept._bytes.total() == sum(
        2_000 + len(one.answer.body) for mine in kept._kept.values() for one in mine.values()
    )
    assert kept._bytes.total() <= 250_000
    assert kept.begin(("bob", "0"), b"f", 0.0) is not None  # who has little loses nothing to who has much
    click("eve", 0, 500_000)  # larger than what one may have: answered, and not kept
    assert kept.begin(("eve", "0"), b"f", 0.0) is None
    kept.end(("eve", "0"), None)
    kept.begin(("bob", "1"), b"f", repeats.KEPT_S + 1.0)
    assert len(kept._kept["bob"]) == 1  # a day later only the new one is there


# Deliveries


def test_who_had_what_was_given_up_tried_again_is_on_record(record_store, tmp_path):
    async def play(city):
        name = city.tell("a", routes=[Route("room")])
        assert (await city.ask("POST", "/deliveries/room/revive", "supervisor", {})).json["revived"] == 0
        outbox, letter = city.services.outbox, city.services.outbox.due("room", city.now_ns)[0]
        while outbox.settle(letter, Receipt(delivered=False, detail="answered 500"), city.now_ns) != "dead":
            pass
        (dead,) = (await city.get("/deliveries", "auditor")).json["dead"]
        assert (dead["courier"], dead["alert_id"]) == ("room", city.reviews.head(name).alert_id)
        assert (await city.ask("POST", "/deliveries/other/revive", "supervisor", {})).code == "unknown"
        assert (await city.ask("POST", "/deliveries/room/revive", "supervisor", {})).json["revived"] == 1
        entries = (await city.get("/ledger?kind=delivery-revived", "auditor")).json["entries"]
        assert [(entry["actor"], json.loads(entry["body"])) for entry in entries] == [
            ("supervisor", {"courier": "room", "deliveries": 1})
        ]
        async with city.listen(last_event_id="0") as listener:
            await listener.until(lambda me: any(kind == "delivery-revived" for _, kind, _ in me.events))

    played(play, record_store, tmp_path)
