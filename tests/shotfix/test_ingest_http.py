"""The centre's end of HTTP: what strangers may cost, and what is never read."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.http_transport import BATCH_PATH, HttpTransport
from sensors.transport import LARGEST_SEALED_BYTES, TransportError
from sensors.wire import Batch, encode_batch
from shotfix.http_guard import ConnectionCounts, Guard, ServerLimits
from shotfix.http_server import HttpServer
from shotfix.ingest_http import DoorLimits
from tests.shotfix.fake_centre import FakeCentre
from tests.shotfix.stations import KEY, KEYS, NOW_NS, PATIENCE_S, HttpStation, until

GOOD = KEY.seal(encode_batch(Batch("node-1", NOW_NS, ())))
HASTY = ServerLimits(header_s=0.3, keep_s=1.0, header_bytes=2_048, stop_s=5.0)


class Stranger:
    """A raw connection."""

    def __init__(self, port):
        self.port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def says(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self):
        """All that the server says until it hangs up."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read()
            except OSError:
                return b""

    async def status(self):
        async with asyncio.timeout(PATIENCE_S):
            line = await self.reader.readline()
        return int(line.split()[1])


def head(length, path=BATCH_PATH, more=""):
    return f"POST {path} HTTP/1.1\r\nhost: centre\r\ncontent-length: {length}\r\n{more}\r\n".encode()


async def asked(port, data):
    async with Stranger(port) as stranger:
        await stranger.says(data)
        return await stranger.status()


async def still_serves(port):
    transport = HttpTransport(f"http://127.0.0.1:{port}")
    assert await transport.exchange(GOOD)
    await transport.close()


def played(play, limits=None, door=None, take=None):
    """Run ``play(station)`` against a station, which must serve a good batch afterwards."""
    centre = FakeCentre(KEYS)

    async def all_of_it():
        async with HttpStation(take or centre.take, limits=limits, door=door) as station:
            await play(station)
            await still_serves(station.port)
            return station

    return asyncio.run(all_of_it())


# What is never read


def test_a_body_is_announced_or_not_read():
    async def play(station):
        chunked = f"POST {BATCH_PATH} HTTP/1.1\r\nhost: c\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        for data, status in {
            chunked: 411,
            head(LARGEST_SEALED_BYTES + 1): 413,
            head("9" * 15): 413,
            head("0x10"): 400,
            head("-1"): 400,
        }.items():
            assert await asked(station.port, data) == status
        assert (station.door.counts.without_length, station.door.counts.too_large) == (1, 2)

    assert played(play).door.counts.judged == 1


def test_the_connection_ends_with_a_refusal_so_that_nothing_more_is_read():
    async def play(station):
        async with Stranger(station.port) as stranger:
            await stranger.says(head(10**12))
            said = await stranger.rest()
            assert said.startswith(b"HTTP/1.1 413 ")

    played(play)


def test_more_than_the_budget_waits_its_turn():
    async def play(station):
        async with Stranger(station.port) as first, Stranger(station.port) as second:
            await first.says(head(LARGEST_SEALED_BYTES))
            await until(lambda: station.door._held_bytes)
            await second.says(head(LARGEST_SEALED_BYTES))
            said = await second.rest()
            assert said.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1" in said.lower()
        await until(lambda: not station.door._held_bytes)
        assert station.door.counts.over_budget == 1
        await until(lambda: station.door.counts.broken_off == 1)

    played(play, door=DoorLimits(budget_bytes=LARGEST_SEALED_BYTES + 1_000))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        b"\x00" * 100,
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_other_protocols_are_shown_the_door(data):
    async def play(station):
        async with Stranger(station.port) as stranger:
            await stranger.says(data)
            assert b"200" not in (await stranger.rest())[:15]

    played(play, HASTY)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", BATCH_PATH, 405), ("POST", "/ingest/v2/batch", 404)])
def test_other_routes_are_none(method, path, status):
    async def play(station):
        request = f"{method} {path} HTTP/1.1\r\nhost: c\r\ncontent-length: 0\r\n\r\n".encode()
        assert await asked(station.port, request) == status

    played(play)


# Who takes his time


def test_a_header_that_drips_is_cut_off():
    async def play(station):
        async with (
            Stranger(station.port) as stranger,
            Stranger(station.port) as silent,
            Stranger(station.port) as empty,
        ):
            began_s = asyncio.get_running_loop().time()
            await stranger.says(f"POST {BATCH_PATH} HTTP/1.1\r\n".encode())

            async def drip():
                with contextlib.suppress(OSError):
                    while True:
                        await stranger.says(b"x: y\r\n")
                        await empty.says(b"\r\n")
                        await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            assert await stranger.rest() == b""
            assert await silent.rest() == b""
            await empty.rest()
            assert asyncio.get_running_loop().time() - began_s < 0.5 * PATIENCE_S
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
        assert station.server.counts.slow_header == 3

    played(play, HASTY)


def test_an_empty_line_does_not_keep_an_idle_connection_for_ever():
    """Uvicorn's own time for idle connections ends with the first byte, which need not begin a request."""

    async def play(station):
        async with Stranger(station.port) as stranger:
            await stranger.says(head(len(GOOD)) + GOOD)
            assert await stranger.status() == 200
            await stranger.says(b"\r\n")
            await stranger.rest()
        assert station.server.counts.slow_header == 1

    played(play, HASTY)


def test_a_body_that_drips_is_cut_off_and_others_are_served_meanwhile():
    async def play(station):
        async with contextlib.AsyncExitStack() as stack:
            strangers = [await stack.enter_async_context(Stranger(station.port)) for _ in range(50)]
            for stranger in strangers:
                await stranger.says(head(100) + b"x")
            await still_serves(station.port)
            for stranger in strangers:
                assert await stranger.status() == 408
        assert station.door.counts.too_slow == 50

    played(play, door=DoorLimits(read_s=0.3))


def test_a_header_without_end_is_cut_off():
    async def play(station):
        async with Stranger(station.port) as stranger:
            with contextlib.suppress(OSError):
                await stranger.says(f"POST {BATCH_PATH} HTTP/1.1\r\n".encode())
                for _ in range(100_000):
                    await stranger.says(b"x: " + b"y" * 1_000 + b"\r\n")
            assert await stranger.rest() == b""
        assert station.server.counts.long_header == 1

    played(play, ServerLimits(header_s=30.0, header_bytes=4_096))


def test_a_long_body_right_behind_its_header_is_no_long_header():
    async def play(station):
        body = bytes(LARGEST_SEALED_BYTES)
        assert await asked(station.port, head(len(body)) + body) == 401
        assert station.server.counts.long_header == 0

    played(play, HASTY)


def test_connections_beyond_the_limit_are_closed_and_room_comes_back():
    limits = ServerLimits(connections=10, connections_per_address=5)

    async def play(station):
        async with contextlib.AsyncExitStack() as stack:
            strangers = [await stack.enter_async_context(Stranger(station.port)) for _ in range(15)]
            await until(lambda: station.server.counts.over_limit == 5)
            for stranger in strangers[10:]:
                assert await stranger.rest() == b""
        await until(lambda: not station.server._server.server_state.connections)

    played(play, limits)


def test_one_address_has_no_more_than_its_share_unless_it_is_our_own():
    guard = Guard(ServerLimits(), ConnectionCounts())
    share = guard.limits.connections_per_address
    assert share * 16 <= guard.limits.connections
    for address in ("192.0.2.7", "2001:db8::7", ""):
        assert [guard.admits(address, 1) for _ in range(share + 2)] == [True] * share + [False] * 2
        guard.gone(address)
        guard.gone(address)
        guard.gone(address)
        assert guard.admits(address, 1)
    for address in ("127.0.0.1", "::1"):
        assert all(guard.admits(address, 1) for _ in range(share + 2))
        assert not guard.admits(address, guard.limits.connections + 1)


@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"\r\n", b"POST ", b" HTTP/1.1\r\n", b": ", b"\r\n\r\n", head(5)])
    )
)
@settings(max_examples=15)
def test_whatever_is_said_the_next_one_is_served(pieces):
    async def play(station):
        async with Stranger(station.port) as stranger:
            with contextlib.suppress(OSError):
                for piece in pieces:
                    await stranger.says(piece)

    played(play, HASTY)


def test_what_is_under_way_at_a_stop_is_answered():
    centre = FakeCentre(KEYS)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        begun.set()
        await go_on.wait()

    centre.script.append(slow)

    async def play():
        station = HttpStation(centre.take)
        await station.server.start()
        transport = HttpTransport(f"http://127.0.0.1:{station.port}")
        exchange = asyncio.create_task(transport.exchange(GOOD))
        await begun.wait()
        stopping = asyncio.create_task(station.server.stop())
        await asyncio.sleep(0.1)
        go_on.set()
        assert await exchange
        await stopping
        with pytest.raises(TransportError):
            await transport.exchange(GOOD)
        await transport.close()

    asyncio.run(play())


def test_our_own_mistake_is_counted_and_the_next_is_served():
    centre = FakeCentre(KEYS)

    async def mistake():
        raise ZeroDivisionError

    centre.script.append(mistake)

    async def play(station):
        assert await asked(station.port, head(len(GOOD)) + GOOD) == 500
        assert station.door.counts.failed == 1

    played(play, take=centre.take)


def test_a_port_that_is_taken_is_named():
    first = HttpServer(None, "127.0.0.1", 0)
    with pytest.raises(OSError, match=rf"cannot listen on 127.0.0.1 port {first.port}"):
        HttpServer(None, "127.0.0.1", first.port)
    first._socket.close()


@pytest.mark.parametrize(
    "limits",
    [
        lambda: ServerLimits(connections=5, connections_per_address=6),
        lambda: ServerLimits(header_s=0.0),
        lambda: DoorLimits(budget_bytes=10),
        lambda: DoorLimits(read_s=0.0),
    ],
)
def test_limits_check_themselves(limits):
    with pytest.raises(ValueError, match=r"expected|above"):
        limits()
