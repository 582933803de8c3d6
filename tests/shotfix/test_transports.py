"""One promise, two transports: what is put arrives, once after identity, in order, and leaves the spool by the
centre's own word alone; over a network that breaks, centres that die, and brokers that forget."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys

import pytest

from sensors.http_transport import HttpTransport
from sensors.transport import LARGEST_SEALED_BYTES, TransportError
from sensors.wire import Batch, Envelope, encode_batch
from tests.shotfix.fake_centre import FakeCentre
from tests.shotfix.nats_server import free_port
from tests.shotfix.rough_network import RoughNetwork
from tests.shotfix.stations import (
    BOOT,
    KEY,
    KEYS,
    NOW_NS,
    OTHER_KEY,
    HttpStation,
    NatsStation,
    bang,
    beat,
    by_nats,
    empty,
    keys_of,
    sending,
    until,
)


class Line:
    """One kind of transport, a centre's end and a bad network between them."""

    def __init__(self, kind, request):
        self.kind = kind
        self.broker = request.getfixturevalue("nats_server") if kind == "nats" else None
        self.network = None

    def transport(self, timeout_s=10.0):
        if self.kind == "http":
            return HttpTransport(f"http://127.0.0.1:{self.network.port}", timeout_s=timeout_s)
        return by_nats(self.network, timeout_s)

    def station(self, take, port=0):
        return NatsStation(take, self.broker.port) if self.broker else HttpStation(take, port)

    @contextlib.asynccontextmanager
    async def open(self, take, cut=0.0):
        async with self.station(take) as station, RoughNetwork(station.port) as self.network:
            if self.broker:
                await station.connected()
            self.network.cut = cut
            yield station

    def sending(self, spool, timeout_s=10.0, **options):
        return sending(spool, self.transport(timeout_s), **options)


@pytest.fixture(params=["http", "nats"])
def line(request):
    return Line(request.param, request)


# The promise


def test_everything_arrives_once_and_in_order(line, spool):
    centre = FakeCentre(KEYS)

    async def play():
        async with line.open(centre.take), line.sending(spool) as uplink:
            for number in range(300):
                uplink.put(beat(number) if number % 3 else bang(number))
            await until(lambda: empty(spool))

    asyncio.run(play())
    assert centre.taken == keys_of(range(300))
    assert centre.repeated == 0


def test_nothing_leaves_the_spool_before_the_answer(line, spool):
    centre, allowed = FakeCentre(KEYS), asyncio.Event()
    centre.script.append(allowed.wait)
    spool.put(bang(0))

    async def play():
        async with line.open(centre.take), line.sending(spool):
            await until(lambda: centre.taken)
            await asyncio.sleep(0.3)
            assert not empty(spool)
            allowed.set()
            await until(lambda: empty(spool))

    asyncio.run(play())
    assert (centre.calls, centre.repeated) == (1, 0)


def test_a_lost_answer_is_asked_for_again(line, spool):
    centre = FakeCentre(KEYS)

    async def cut():
        line.network.cut_all()
        await asyncio.sleep(0.05)

    centre.script.extend([cut, cut, cut])
    spool.put_all(map(bang, range(20)))

    async def play():
        async with line.open(centre.take), line.sending(spool) as uplink:
            await until(lambda: empty(spool))
            assert uplink.state.unanswered >= 3

    asyncio.run(play())
    assert centre.taken == keys_of(range(20))
    assert centre.repeated == 60


def test_an_answer_that_never_comes_ends_in_time_and_the_next_attempt_succeeds(line, spool):
    centre, never = FakeCentre(KEYS), asyncio.Event()
    centre.script.append(never.wait)
    spool.put(bang(0))

    async def play():
        async with line.open(centre.take), line.sending(spool, timeout_s=0.5) as uplink:
            await until(lambda: uplink.state.unanswered >= 1)
            never.set()
            await until(lambda: empty(spool))

    asyncio.run(play())
    assert centre.taken == keys_of([0])


@pytest.mark.parametrize("status", [401, 503])
def test_a_refusal_costs_nothing(line, spool, status):
    centre = FakeCentre(KEYS)
    centre.script.extend([status] * 3)
    spool.put_all(map(bang, range(50)))

    async def play():
        async with line.open(centre.take) as station, line.sending(spool) as uplink:
            await until(lambda: empty(spool))
            at_the_door = getattr(station.door.counts, "unavailable", 0)
            assert uplink.state.refused + uplink.state.unavailable + at_the_door == 3

    asyncio.run(play())
    assert centre.taken == keys_of(range(50))
    assert centre.repeated == 0


def test_what_cannot_be_read_is_set_aside_and_does_not_hold_up_the_rest(line, spool):
    centre = FakeCentre(KEYS)
    centre.poison = frozenset({3, 4, 30})
    spool.put_all(map(bang, range(60)))
    aside = []

    async def play():
        def put_aside(message, _):
            aside.append(message.sequence)

        async with line.open(centre.take), line.sending(spool, aside=put_aside) as uplink:
            await until(lambda: empty(spool) and uplink.state.connected)
            assert uplink.state.set_aside == 3

    asyncio.run(play())
    assert sorted(aside) == [3, 4, 30]
    assert set(centre.taken) == set(keys_of(set(range(60)) - {3, 4, 30}))


def test_forged_foreign_malformed_and_oversize_are_told_so(line):
    centre = FakeCentre(KEYS)
    batch = encode_batch(Batch("node-1", NOW_NS, (Envelope("node-1", BOOT, 0, beat(0)),)))
    altered = bytearray(KEY.seal(batch))
    altered[-1] ^= 1
    told = {}

    async def play():
        async with line.open(centre.take):
            transport = line.transport()
            for name, sealed in {
                "forged": bytes(altered),
                "foreign": OTHER_KEY.seal(batch),
                "not sealed": b"GET me out of here",
                "malformed": KEY.seal(b"\x93 no batch"),
                "another's": KEY.seal(encode_batch(Batch("node-2", NOW_NS, ()))),
                "oversize": bytes(LARGEST_SEALED_BYTES + 50_000),
            }.items():
                for _ in range(20):  # an answer to what is still being sent may be lost with its connection
                    with pytest.raises(TransportError) as caught:
                        await transport.exchange(sealed)
                    told[name] = caught.value.status
                    if told[name] is not None:
                        break
            assert await transport.exchange(KEY.seal(batch))
            await transport.close()

    asyncio.run(play())
    assert told == {
        "forged": 401, "foreign": 401, "not sealed": 401, "malformed": 400, "another's": 401, "oversize": 413,
    }  # fmt: skip
    assert centre.refused == ["forged", "foreign", "foreign", "malformed", "forged"]
    assert len(centre.taken) == 1


def test_a_batch_of_the_greatest_size_gets_through(line):
    sizes = []

    async def take(sealed):
        sizes.append(len(sealed))
        return await centre.take(KEY.seal(encode_batch(Batch("node-1", NOW_NS, ()))))

    centre = FakeCentre(KEYS)

    async def play():
        async with line.open(take):
            transport = line.transport()
            await transport.exchange(os.urandom(LARGEST_SEALED_BYTES))
            await transport.close()

    asyncio.run(play())
    assert sizes == [LARGEST_SEALED_BYTES]


# The street


def test_a_third_of_everything_is_cut(line, spool):
    centre = FakeCentre(KEYS)

    async def play():
        async with line.open(centre.take, cut=0.3), line.sending(spool, timeout_s=2.0) as uplink:
            for number in range(60):
                uplink.put(bang(number))
                await asyncio.sleep(0.01)
            await until(lambda: empty(spool))
            assert line.network.cuts > 5

    asyncio.run(play())
    assert centre.taken == keys_of(range(60))


def test_a_cut_of_a_second_and_what_was_said_meanwhile(line, spool):
    centre = FakeCentre(KEYS)

    async def play():
        async with line.open(centre.take), line.sending(spool) as uplink:
            uplink.put(bang(0))
            await until(lambda: empty(spool))
            away = asyncio.create_task(line.network.away(1.0))
            for number in range(1, 30):
                uplink.put(bang(number))
                await asyncio.sleep(0.02)
            assert not uplink.state.connected
            await away
            await until(lambda: empty(spool) and uplink.state.connected)

    asyncio.run(play())
    assert centre.taken == keys_of(range(30))


def test_a_network_that_holds_everything_back_and_lets_it_go_late(line, spool):
    """No connection breaks; what was given up arrives after all, beside what was sent again."""
    centre = FakeCentre(KEYS)

    async def play():
        async with line.open(centre.take), line.sending(spool, timeout_s=0.4) as uplink:
            uplink.put(bang(0))
            await until(lambda: empty(spool))
            line.network.silent = True
            for number in range(1, 40):
                uplink.put(bang(number))
                await asyncio.sleep(0.05)
            assert uplink.state.unanswered > 1
            line.network.silent = False
            await until(lambda: empty(spool))

    asyncio.run(play())
    assert centre.taken == keys_of(range(40))


def start_centre(line, port, kept):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.shotfix.fake_centre", line.kind, str(port), str(kept), KEY.public_text],
        env=os.environ | {"PYTHONPATH": "."},
    )


@pytest.mark.parametrize("kills", [4, pytest.param(250, marks=pytest.mark.endurance)])
def test_a_centre_killed_again_and_again_loses_nothing_it_answered_for(line, spool, tmp_path, root, monkeypatch, kills):
    monkeypatch.chdir(root)
    kept, dice = tmp_path / "taken", random.Random(7)  # noqa: S311  (dice, no secrets)
    kept.touch()
    port = line.broker.port if line.broker else free_port()

    async def play():
        process = start_centre(line, port, kept)
        try:
            async with RoughNetwork(port) as line.network, line.sending(spool, timeout_s=2.0) as uplink:
                number = 0
                for _ in range(kills):
                    size = kept.stat().st_size
                    while kept.stat().st_size == size:
                        uplink.put(bang(number))
                        number += 1
                        await asyncio.sleep(0.01)
                    await asyncio.sleep(dice.uniform(0.0, 0.2))
                    process.send_signal(signal.SIGKILL)
                    await asyncio.to_thread(process.wait)
                    uplink.put(bang(number))
                    number += 1
                    process = start_centre(line, port, kept)
                await until(lambda: empty(spool))
                return number
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)

    count = asyncio.run(play())
    lines = list(dict.fromkeys(kept.read_text(encoding="ascii").splitlines()))
    assert lines == [f"{BOOT} {number}" for number in range(count)]


def test_a_centre_stops_gracefully_and_another_takes_over(line, spool):
    first, second = FakeCentre(KEYS), FakeCentre(KEYS)

    async def slow():
        await asyncio.sleep(0.3)

    first.script.append(slow)
    spool.put_all(map(bang, range(10)))

    async def play():
        async with contextlib.AsyncExitStack() as later:
            async with line.station(first.take) as station:
                port = station.port
                line.network = await later.enter_async_context(RoughNetwork(port))
                uplink = await later.enter_async_context(line.sending(spool))
                await until(lambda: first.taken)
            await until(lambda: uplink.state.batches == 1)
            uplink.put(bang(10))
            await later.enter_async_context(line.station(second.take, port))
            await until(lambda: empty(spool))

    asyncio.run(play())
    assert (first.taken, first.repeated) == (keys_of(range(10)), 0)
    assert second.taken == keys_of([10])
