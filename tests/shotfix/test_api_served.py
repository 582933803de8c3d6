"""The API behind the centre's own HTTP server: real sockets, real clients, real patience."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest

from alerts.record.ledger import Ledger
from alerts.record.store import Store
from shotfix.api import events
from shotfix.api.works import Works
from shotfix.http_server import HttpServer
from tests.api_city import played
from tests.shotfix.stations import until

DIGEST = "ab" * 32


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


def served(play, store, folder, **more):
    """Run ``play(city, port)`` against a city behind a server."""

    async def all_of_it(city):
        server = HttpServer(city.app, "127.0.0.1", 0)
        await server.start()
        try:
            return await play(city, server.port)
        finally:
            await city.api.stop()
            await server.stop()

    return played(all_of_it, store, folder, **more)


def client(city, port, who="analyst"):
    headers = {"authorization": f"Bearer {city.tokens[who]}"}
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers, timeout=60.0)


def test_an_ordinary_client(store, tmp_path):
    async def play(city, port):
        name = city.tell("a", clips=(DIGEST,))
        whole = city.clips.put(DIGEST)
        async with client(city, port) as asking:
            assert (await asking.get("/alerts")).json()["alerts"][0]["incident_id"] == name
            assert (await asking.head("/alerts")).content == b""
            part = await asking.get(f"/audio/{DIGEST}", headers={"range": "bytes=10-19"})
            assert (part.status_code, part.content) == (206, whole[10:20])
            done = await asking.post(f"/incidents/{name}/claim", headers={"if-match": '"1"'}, json={})
            assert (done.status_code, done.headers["etag"]) == (200, '"2"')
            bare = await asking.post(f"/incidents/{name}/release")  # no body at all
            assert bare.status_code == 200
            large = await asking.post(f"/incidents/{name}/note", json={"text": "x" * 100_000})
            assert (large.status_code, large.json()["code"]) == (413, "too-large")

            async def pieces():
                yield b"{}"

            chunked = await asking.post(f"/incidents/{name}/note", content=pieces())
            assert (chunked.status_code, chunked.json()["code"]) == (411, "no-length")
            assert (await asking.get("/me")).status_code == 200
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1") as stranger:
            refused = await stranger.post("/incidents/x/note", content=b"x" * 200_000)
            assert (refused.status_code, refused.headers["connection"]) == (401, "close")
            assert "server" not in refused.headers

    served(play, store, tmp_path)


def test_a_stream_through_a_socket(store, tmp_path):
    async def play(city, port):
        name = city.tell("a")
        async with client(city, port) as asking:
            async with asking.stream("GET", "/events", headers={"last-event-id": "0"}) as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                lines = stream.aiter_lines()
                seen = []
                async for line in lines:
                    seen.append(line)
                    if line == "event: claim":
                        break
                    if line == "event: alert":
                        await asyncio.to_thread(city.reviews.claim, name, "analyst", city.now_ns)
                assert [line for line in seen if line.startswith("id: ")] == ["id: 1", "id: 2"]
            await until(lambda: not city.api.room.feed.readers)  # it hung up, and that is noticed

    served(play, store, tmp_path)


def test_a_socket_that_nobody_reads_is_let_go(store, tmp_path, monkeypatch):
    monkeypatch.setattr(events, "SLOW_S", 0.5)

    async def play(city, port):
        name, body = city.tell("a"), b'"' + b"x" * 20_000 + b'"'

        def many(connection):  # more than any system's buffers hold
            for _ in range(1_500):
                Ledger.append(connection, "note", "analyst", name, body, city.now_ns)

        store.write(many)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
        token = city.tokens["analyst"]
        writer.write(
            f"GET /api/v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nlast-event-id: 0\r\n\r\n".encode()
        )
        await writer.drain()
        await reader.readline()
        writer.transport.pause_reading()
        await until(lambda: city.api.room.feed.counts.too_slow == 1)
        async with client(city, port) as asking:
            assert (await asking.get("/me")).status_code == 200
        writer.transport.abort()

    served(play, store, tmp_path)


def test_streams_do_not_hold_up_a_stop(store, tmp_path):
    async def play(city, port):
        async with client(city, port) as asking, asking.stream("GET", "/events") as stream:
            assert stream.status_code == 200
            await city.api.stop()
            assert "".join([text async for text in stream.aiter_text()]).startswith("retry:")

    served(play, store, tmp_path)


def test_a_slow_disk_holds_up_nobody_at_the_door(store, tmp_path):
    """Whatever waits, the event loop goes round; and what finds too many waiting is told so."""

    async def play(city, port):
        held = threading.Event()
        city.api.room.works = city.api.room.access._works = Works(threads=2, most_waiting=3)
        object.__setattr__(city.services, "sensors", lambda: (held.wait(60.0), ())[1])
        for who in ("analyst", "supervisor"):
            assert (await city.get("/me", who)).status == 200
        waiting = [asyncio.create_task(city.get("/sensors")) for _ in range(5)]
        await until(lambda: city.api.room.works._inside == 5)
        assert (await city.get("/sensors")).code == "busy"
        assert (await city.get("/me")).status == 200
        longest, last = 0.0, time.monotonic()
        for _ in range(50):
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert not any(task.done() for task in waiting)
        held.set()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
        assert longest < 30.0  # it waits for 60 s, in threads

    served(play, store, tmp_path)


def test_one_person_takes_not_all_places(store, tmp_path):
    async def play(city, port):
        held = threading.Event()
        object.__setattr__(city.services, "sensors", lambda: (held.wait(60.0), ())[1])
        waiting = [asyncio.create_task(city.get("/sensors")) for _ in range(16)]
        await until(lambda: city.api.room.busy["analyst"] == 16)
        answer = await city.get("/me")
        assert (answer.status, answer.code) == (429, "too-many")
        assert (await city.get("/me", "auditor")).status == 200
        held.set()
        await asyncio.gather(*waiting)
        assert not city.api.room.busy

    served(play, store, tmp_path)
