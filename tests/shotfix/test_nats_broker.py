"""A broker that dies, forgets, falls silent, or is tampered with: the node's spool and the centre's word are enough."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

import nats.js.api
import pytest

from sensors.nats_link import NatsLink
from sensors.nats_transport import NatsTransport
from shotfix.nats_stream import StreamError, StreamSettings, durable_name, stream_name
from tests.shotfix.fake_centre import FakeCentre
from tests.shotfix.nats_server import NatsServer, free_port, need_nats_server
from tests.shotfix.stations import (
    CELL,
    CITY,
    KEYS,
    SMALL,
    NatsStation,
    bang,
    by_nats,
    empty,
    keys_of,
    raw_client,
    sending,
    until,
)


async def restart(server, *, wiped=False):
    await asyncio.to_thread(server.kill)
    if wiped:
        server.wipe()
    await asyncio.to_thread(server.start)


@pytest.mark.parametrize("wiped", [False, True])
def test_a_broker_killed_in_the_middle_loses_nothing_even_when_it_forgets_everything(nats_server, spool, wiped):
    centre = FakeCentre(KEYS)

    async def play():
        async with NatsStation(centre.take, nats_server.port), sending(spool, by_nats(nats_server)) as uplink:
            number = 0
            for _ in range(3):
                taken = len(centre.taken)
                while len(centre.taken) < taken + 20:
                    uplink.put(bang(number))
                    number += 1
                    await asyncio.sleep(0.005)
                await restart(nats_server, wiped=wiped)
            uplink.put(bang(number))
            await until(lambda: empty(spool))
            return number + 1

    assert centre.taken == keys_of(range(asyncio.run(play())))


def test_what_the_stream_has_is_not_yet_the_centres(nats_server, spool):
    """JetStream confirmed it: the spool keeps it all the same, until the centre is there."""
    early, centre = FakeCentre(KEYS), FakeCentre(KEYS)
    spool.put_all(map(bang, range(10)))

    async def play():
        async with NatsStation(early.take, nats_server.port) as station:
            await station.connected()
        async with sending(spool, by_nats(nats_server, 0.3)) as uplink:
            await until(lambda: "the stream has it" in uplink.state.words)
            async with raw_client(nats_server) as client:
                assert (await client.jetstream().stream_info(stream_name(CITY))).state.messages >= 1
            assert not empty(spool)
            assert not uplink.state.connected
            async with NatsStation(centre.take, nats_server.port):
                await until(lambda: empty(spool))

    asyncio.run(play())
    assert centre.taken == keys_of(range(10))


def test_copies_in_the_stream_stay_few_while_no_centre_is_there(nats_server, spool):
    early = FakeCentre(KEYS)
    spool.put(bang(0))

    async def play():
        async with NatsStation(early.take, nats_server.port) as station:
            await station.connected()
        async with sending(spool, by_nats(nats_server, 0.05)):
            await asyncio.sleep(2.0)
        async with raw_client(nats_server) as client:
            return (await client.jetstream().stream_info(stream_name(CITY))).state.messages

    assert 2 <= asyncio.run(play()) <= 7  # the patience doubles: 0.05, 0.1, ... 1.6 s


def test_a_silent_broker_is_left_and_found_again(nats_server, spool):
    centre = FakeCentre(KEYS)

    async def play():
        async with (
            NatsStation(centre.take, nats_server.port, pull_s=0.3) as station,
            sending(spool, by_nats(nats_server, 0.5)) as uplink,
        ):
            uplink.put(bang(0))
            await until(lambda: empty(spool))
            nats_server._process.send_signal(signal.SIGSTOP)
            uplink.put(bang(1))
            await until(lambda: station.door.counts.stalled)
            nats_server._process.send_signal(signal.SIGCONT)
            await until(lambda: empty(spool))

    asyncio.run(play())
    assert centre.taken == keys_of(range(2))


@pytest.mark.parametrize("what", ["consumer", "stream"])
def test_what_an_operator_deletes_is_made_again(nats_server, spool, what):
    centre = FakeCentre(KEYS)

    async def play():
        async with (
            NatsStation(centre.take, nats_server.port, pull_s=0.3),
            sending(spool, by_nats(nats_server)) as uplink,
        ):
            uplink.put(bang(0))
            await until(lambda: empty(spool))
            async with raw_client(nats_server) as client:
                if what == "stream":
                    await client.jetstream().delete_stream(stream_name(CITY))
                else:
                    await client.jetstream().delete_consumer(stream_name(CITY), durable_name("w1", None))
            uplink.put(bang(1))
            await until(lambda: empty(spool))

    asyncio.run(play())
    assert centre.taken == keys_of(range(2))


def test_a_stream_that_loses_what_was_read_is_refused_with_the_remedy(nats_server):
    async def play():
        async with raw_client(nats_server) as client:
            await client.jetstream().add_stream(
                name=stream_name(CITY), subjects=["other.*"], retention=nats.js.api.RetentionPolicy.WORK_QUEUE
            )
        async with NatsStation(FakeCentre(KEYS).take, nats_server.port) as station:
            await station.ended

    with pytest.raises(StreamError, match=f"remove it .nats stream rm shotfix-{CITY}."):
        asyncio.run(play())


def test_a_stream_of_other_settings_is_brought_up_to_ours(nats_server):
    async def play():
        for settings in (SMALL, StreamSettings(max_age_s=1_200.0, max_bytes=80_000_000)):
            async with NatsStation(FakeCentre(KEYS).take, nats_server.port, settings=settings) as station:
                await station.connected()
        async with raw_client(nats_server) as client:
            return (await client.jetstream().stream_info(stream_name(CITY))).config

    config = asyncio.run(play())
    assert (config.max_age, config.max_bytes) == (1_200.0, 80_000_000)
    assert config.storage == nats.js.api.StorageType.FILE


def test_a_broker_without_room_says_what_to_change(nats_server, caplog):
    caplog.set_level(logging.WARNING)

    async def play():
        settings = StreamSettings(max_bytes=1 << 40)
        async with NatsStation(FakeCentre(KEYS).take, nats_server.port, settings=settings):
            await until(lambda: "raise its jetstream max_file" in caplog.text)

    asyncio.run(play())
    assert caplog.text.count("raise its jetstream max_file") == 1


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_behind(nats_server, spool):
    centre = FakeCentre(KEYS)

    async def play():
        async with NatsStation(centre.take, nats_server.port), sending(spool, by_nats(nats_server)) as uplink:
            before = 0
            for number in range(12):
                uplink.put(bang(number))
                await until(lambda: empty(spool))
                await restart(nats_server)
                if number == 3:
                    before = descriptors()
            uplink.put(bang(12))
            await until(lambda: empty(spool))
            return before, descriptors()

    before, after = asyncio.run(play())
    assert after <= before + 2


CLUSTER = """
server_name: "n{number}"
cluster {{ name: "harbour", listen: "127.0.0.1:{route}", routes: [{others}] }}
"""


def cluster(folder):
    need_nats_server()
    routes = [free_port() for _ in range(3)]
    others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
    servers = [
        NatsServer(folder / f"n{number}", CLUSTER.format(number=number, route=routes[number], others=others))
        for number in range(3)
    ]
    for server in servers:
        server.start()
    return servers


@pytest.mark.endurance
def test_a_cluster_of_three_goes_on_when_one_is_killed_and_when_it_comes_back(tmp_path, spool):
    servers = cluster(tmp_path)
    addresses = tuple(f"nats://{server.address}" for server in servers)
    settings = StreamSettings(max_age_s=600.0, max_bytes=100_000_000, replicas=3)
    centre = FakeCentre(KEYS)

    async def play():
        station = NatsStation(centre.take, servers[0].port, settings=settings, pull_s=0.5)
        station.door._link = NatsLink(addresses)
        transport = NatsTransport(NatsLink(addresses), CITY, CELL, "node-1", timeout_s=2.0)
        async with station, sending(spool, transport) as uplink:
            number = 0
            for server in servers:
                taken = len(centre.taken)
                while len(centre.taken) < taken + 10:
                    uplink.put(bang(number))
                    number += 1
                    await asyncio.sleep(0.02)
                await asyncio.to_thread(server.kill)
                uplink.put(bang(number))
                number += 1
                await until(lambda: empty(spool))
                await asyncio.to_thread(server.start)
            async with raw_client(servers[0]) as client:
                info = await client.jetstream().stream_info(stream_name(CITY))
            return number, info.config.num_replicas

    try:
        number, replicas = asyncio.run(play())
    finally:
        for server in servers:
            server.kill()
    assert centre.taken == keys_of(range(number))
    assert replicas == 3
