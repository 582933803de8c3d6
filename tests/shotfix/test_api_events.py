"""Events: in order, each once, to as many as listen; and to nobody who may listen no longer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sqlite3

import pytest

from alerts.record.store import Store, StoreError
from alerts.review.reviews import ReviewRules, Reviews
from shotfix.api import events, feed
from tests.api_city import REVIEW, played
from tests.shotfix.stations import until


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


def ids(listener):
    return [number for number, _, _ in listener.events]


async def notes(city, name, count, first=0):
    """Entries in the ledger, cheaply."""
    for number in range(first, first + count):
        await asyncio.to_thread(city.reviews.note, name, "analyst", city.now_ns, f"note {number}")


def test_what_happens_is_told_as_it_happens(record_store, tmp_path):
    async def play(city):
        name = city.tell("a")
        async with city.listen() as listener:
            await listener.until(lambda me: "retry:" in me.text)
            city.tell("b", 100.0)
            await city.act(name, "judge", body={"judgement": "fireworks"})
            await listener.until(lambda me: len(me.events) == 4)
            assert [kind for _, kind, _ in listener.events] == ["alert", "act", "opinion", "alert"]
            told = [json.loads(data) for _, _, data in listener.events]
            assert told[3]["review"]["judgement"] == "fireworks"
            assert (told[1]["about"], told[1]["actor"]) == (name, "analyst")
            head, _ = city.reviews.ledger.head()
            assert ids(listener) == list(range(head - 3, head + 1))

    played(play, record_store, tmp_path)


@pytest.mark.parametrize("kept", [4, 1_000])
def test_who_comes_back_misses_nothing_and_hears_nothing_twice(store, tmp_path, monkeypatch, kept):
    """Also where memory holds less than they missed, and pages are short."""
    monkeypatch.setattr(feed, "KEPT", kept)
    monkeypatch.setattr(feed, "PAGE", 3)
    draw = random.Random(5)  # noqa: S311  (dice, not secrets)

    async def play(city):
        name, heard, last = city.tell("a"), [], "0"
        writing = asyncio.create_task(notes(city, name, 60))
        while not writing.done() or int(last) < city.reviews.ledger.head()[0]:
            async with city.listen(last_event_id=last) as listener:
                wanted = draw.randrange(1, 6)
                expected = min(wanted, city.reviews.ledger.head()[0] - int(last))
                await listener.until(lambda me, n=expected: len(me.events) >= n)
            heard += ids(listener)
            last = str(heard[-1]) if heard else "0"
        await writing
        assert heard == list(range(1, 62))

    played(play, store, tmp_path)


def test_a_number_of_another_record_is_refused(store, tmp_path):
    async def play(city):
        city.tell("a")
        for said in ("99", "-1", "x", "1.5", "9" * 30):
            answer = await city.get("/events", last_event_id=said)
            assert answer.code == "bad-request", said
        assert (await city.get("/events?after=x")).code == "bad-request"
        async with city.listen(path="/events?after=0") as listener:
            await listener.until(lambda me: ids(me) == [1])

    played(play, store, tmp_path)


def test_silence_is_told_too_and_moves_a_reader_on(store, tmp_path, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)

    async def play(city):
        name = city.tell("a")
        await city.act(name, "claim")
        async with city.listen("courier", last_event_id="1") as listener:  # who is told of no claims
            await listener.until(lambda me: me.text.count("\n: ") >= 3)
            assert listener.events == []
            assert listener.last_id == "2"

    played(play, store, tmp_path)


def test_each_role_hears_what_it_may(record_store, tmp_path):
    async def play(city):
        told, doubted = city.tell("a"), city.tell("b", 100.0, llr=REVIEW)
        await city.act(told, "claim")
        await city.act(told, "note", body={"text": "J. Doe called"})
        await city.act(doubted, "judge", body={"judgement": "gunfire", "note": "J. Doe again"})
        expected = {
            "analyst": ["alert", "alert", "claim", "note", "act", "opinion", "alert"],
            "supervisor": ["alert", "alert", "claim", "note", "act", "opinion", "alert"],
            "auditor": ["alert", "alert", "claim", "note", "act", "opinion", "alert"],
            "researcher": ["alert", "alert", "alert"],
            "courier": ["alert", "alert"],  # not the doubt; the publication that came of it
        }
        for who, kinds in expected.items():
            many = len(kinds)
            async with city.listen(who, last_event_id="0") as listener:
                await listener.until(lambda me, n=many: len(me.events) >= n)
                await asyncio.sleep(0.05)
                assert [kind for _, kind, _ in listener.events] == kinds, who
                assert ("J. Doe" in listener.text) == (who in ("analyst", "supervisor", "auditor")), who
                assert ('"by":"analyst"' in listener.text) == (who in ("analyst", "supervisor", "auditor")), who

    played(play, record_store, tmp_path)


def test_who_must_be_blind_is_told_nothing_of_what_was_before(record_store, tmp_path):
    """From an earlier number as well, from memory and from the record, and as long as they have it in hand."""

    async def play(city):
        city.enrol("bob", "analyst")
        name = city.tell("a")
        await city.act(name, "judge", body={"judgement": "vehicle", "note": "a backfire"})
        await city.act(name, "pin", "supervisor", {"reason": "casings found"})
        await city.act(name, "link", body={"system": "cad", "number": "P26-1"})
        async with city.listen("bob", last_event_id="0") as before:  # nothing is in hand, and nothing withheld
            await before.until(lambda me: "casings" in me.text and "P26-1" in me.text and "backfire" in me.text)
        await city.act(name, "claim", "bob")
        head, _ = city.reviews.ledger.head()
        for last in ("0", str(head - 1)):
            async with city.listen("bob", last_event_id=last) as listener:
                await listener.until(lambda me: any(kind == "claim" for _, kind, _ in me.events))
                assert {kind for _, kind, data in listener.events if name in data} <= {"alert", "claim"}
                for word in ("vehicle", "backfire", "casings", "P26-1", "p_gunshot", "outcome", "verdict"):
                    assert word not in listener.text, word
        async with city.listen("analyst", last_event_id="0") as other:
            await other.until(lambda me: "casings" in me.text and "backfire" in me.text)
        await city.act(name, "release", "bob")
        async with city.listen("bob", last_event_id="0") as after:
            await after.until(lambda me: "casings" in me.text and "backfire" in me.text)

    played(play, record_store, tmp_path, rules=ReviewRules(second_share=1.0))


def test_what_is_withheld_is_read_once_for_all_who_listen(store, tmp_path, monkeypatch):
    read, held_blind = [], Reviews.held_blind

    def counted(*given):
        read.append(given)
        return held_blind(*given)

    monkeypatch.setattr(Reviews, "held_blind", counted)

    async def play(city):
        city.tell("a")
        withheld = city.api.room.withheld
        assert await asyncio.gather(*(withheld.of(f"p{number}") for number in range(200))) == [frozenset()] * 200
        assert len(read) == 1
        city.tell("b", 100.0)  # whatever is written, what is in hand may have changed
        await withheld.of("p0")
        assert len(read) == 2

    played(play, store, tmp_path)


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_who_may_listen_no_longer_is_let_go_within_seconds(store, tmp_path, monkeypatch, how):
    monkeypatch.setattr(events, "LOOK_S", 0.05)

    async def play(city):
        city.tell("a")
        city.enrol("eve", "analyst", expires_s=60.0)
        async with city.listen("eve", last_event_id="0") as listener, city.listen() as other:
            await listener.until(lambda me: me.events)
            if how == "revoked":
                city.revoke("eve")
            else:
                city.now_ns += 120 * 10**9
            await listener.until(lambda me: me.ended)
            assert listener.events[-1][1:] == ("ended", how)
            city.tell("b", 100.0)
            await other.until(lambda me: me.events)
            assert "a-0" not in other.text
            assert not any("b-0" in data for _, _, data in listener.events)
        assert city.api.room.feed.counts.revoked == 1

    played(play, store, tmp_path)


def test_a_reader_who_stops_reading_is_let_go_and_holds_up_nobody(store, tmp_path, monkeypatch):
    monkeypatch.setattr(events, "SLOW_S", 0.3)

    async def play(city):
        name = city.tell("a")
        async with city.listen(last_event_id="0") as slow, city.listen(last_event_id="0") as quick:
            await slow.until(lambda me: me.events)
            slow.reading.clear()
            await notes(city, name, 20)
            await quick.until(lambda me: len(me.events) == 21)
            while city.api.room.feed.counts.too_slow < 1:  # noqa: ASYNC110  (a count knows nothing of events)
                await asyncio.sleep(0.02)
            assert city.api.room.feed.readers == ["analyst"]
            async with city.listen(last_event_id=slow.last_id) as again:
                await again.until(lambda me: ids(slow) + ids(me) == list(range(1, 22)))

    played(play, store, tmp_path)


def test_a_hundred_readers_cost_one_reading_of_the_record(store, tmp_path):
    async def play(city):
        name = city.tell("a")
        city.enrol("many", "analyst")
        async with asyncio.TaskGroup() as group:
            ready, go_on = asyncio.Semaphore(0), asyncio.Event()

            async def one():
                async with city.listen("many") as listener:
                    await listener.until(lambda me: "retry:" in me.text)
                    ready.release()
                    await listener.until(lambda me: len(me.events) >= 30)
                    assert ids(listener) == list(range(2, 32))
                    await go_on.wait()

            for _ in range(100):
                group.create_task(one())
            for _ in range(100):
                await ready.acquire()
            assert city.api.room.feed.readers == ["many"] * 100
            await notes(city, name, 30)
            go_on.set()
        assert city.api.room.feed.readers == []
        assert city.api.room.feed.counts.read_back == 0  # all from memory
        assert (await city.get("/me", "many")).status == 200  # streams are beside the calls of a person

    played(play, store, tmp_path)


def test_no_more_streams_than_may_be(store, tmp_path):
    async def play(city):
        city.tell("a")
        async with city.listen() as one, city.listen() as two:
            for listener in (one, two):
                await listener.until(lambda me: me.status == 200)
            answer = await city.get("/events")
            assert (answer.status, answer.code) == (503, "busy")
        async with city.listen() as again:
            await again.until(lambda me: me.status == 200)

    played(play, store, tmp_path, most_streams=2)


def test_a_stop_ends_every_stream(store, tmp_path):
    async def play(city):
        city.tell("a")
        async with city.listen() as listener:
            await listener.until(lambda me: me.status == 200)
            await city.api.stop()
            await listener.until(lambda me: me.ended)
        assert (await city.get("/events")).status == 503

    played(play, store, tmp_path)


def test_the_record_of_another_process_is_followed(store, tmp_path):
    async def play(city):
        name = city.tell("a")
        async with city.listen() as listener:
            await listener.until(lambda me: me.status == 200)
            with Store(tmp_path / "record.db") as other:
                type(city.reviews)(other).note(name, "analyst", city.now_ns, "from elsewhere")
            await listener.until(lambda me: "from elsewhere" in me.text)

    played(play, store, tmp_path)


def test_a_record_that_somebody_spoilt_goes_on_being_told(store, tmp_path):
    async def play(city):
        name, other = city.tell("a"), city.tell("b", 100.0)
        city.store.close()
        with contextlib.closing(sqlite3.connect(tmp_path / "record.db")) as file:
            for trigger in [row[0] for row in file.execute("select name from sqlite_master where type = 'trigger'")]:
                file.execute(f'drop trigger "{trigger}"')
            file.execute("update alert set document = x'ff00fe0a0a' where incident_id = ?", (name,))
            file.execute("update ledger set body = x'7b' where about = ?", (other,))
            file.commit()
        async with city.listen(last_event_id="0") as listener:
            await notes(city, name, 1)
            await listener.until(lambda me: any("note 0" in data for _, _, data in me.events))
            assert ids(listener) == [3]  # of neither it is known what it told of; the log says so
        assert (await city.get("/ledger/verify", "auditor")).json["broken"] == 2

    played(play, store, tmp_path)


def test_a_record_that_cannot_be_read_for_a_while_loses_no_event(store, tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "REFUSED_S", 0.05)
    reading = store.reading

    def refused():
        raise StoreError("the server is gone")

    async def play(city):
        name = city.tell("a")
        async with city.listen(last_event_id="0") as listener:
            await listener.until(lambda me: ids(me) == [1])
            monkeypatch.setattr(store, "reading", refused)
            store._writer.wake()
            await until(lambda: city.api.troubles)
            monkeypatch.setattr(store, "reading", reading)
            await notes(city, name, 3)
            await listener.until(lambda me: ids(me) == [1, 2, 3, 4])
        await until(lambda: not city.api.troubles)

    played(play, store, tmp_path)
