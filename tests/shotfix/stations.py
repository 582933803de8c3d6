"""What tests of transports share: what nodes say, both ends of a line, and patience."""

from __future__ import annotations

import asyncio
import contextlib

import nats
from starlette.applications import Starlette

from acoustic.detection import Detection
from acoustic.pick import Pick
from sensors.health import Heartbeat
from sensors.identity import NodeKey
from sensors.nats_link import NatsLink
from sensors.nats_transport import NatsTransport
from sensors.uplink import Pacing, Uplink
from sensors.wire import LARGEST_BATCH_BYTES
from shotfix.http_guard import ServerLimits
from shotfix.http_server import HttpServer
from shotfix.ingest_http import Door, DoorLimits
from shotfix.ingest_nats import NatsDoor
from shotfix.nats_stream import StreamSettings

KEY, OTHER_KEY = NodeKey.create(), NodeKey.create()
KEYS = {"node-1": KEY.public_text}
BOOT = "0123abcd"
NOW_NS = 1_795_000_000_000_000_000
CITY, CELL = "harbour", "p500_e0_n0"
SMALL = StreamSettings(max_age_s=600.0, max_bytes=100_000_000)
QUICK = Pacing(gather_s=0.01, first_wait_s=0.01, longest_wait_s=0.1, refused_wait_s=0.1)
PATIENCE_S = 60.0


def bang(number):
    return Detection(f"p{number}", "roof-1", Pick(NOW_NS + number, 1e-4))


def beat(number):
    return Heartbeat("roof-1", NOW_NS + number)


def keys_of(sequences, node_id="node-1"):
    return [(node_id, BOOT, sequence) for sequence in sequences]


def empty(spool):
    return spool.batch(NOW_NS, LARGEST_BATCH_BYTES) is None


async def until(true):
    """Look again and again; a test that waits for ever fails after a minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110  (what is waited for knows nothing of events)
            await asyncio.sleep(0.005)


class HttpStation:
    """The centre's end of HTTP, on a port of its own or a given one."""

    def __init__(self, take, port=0, tls=None, limits=None, door=None):
        self.door = Door(take, door or DoorLimits())
        self.server = HttpServer(Starlette(routes=self.door.routes()), "127.0.0.1", port, tls, limits or ServerLimits())

    @property
    def port(self):
        return self.server.port

    async def __aenter__(self):
        await self.server.start()
        return self

    async def __aexit__(self, *_):
        await self.server.stop()


class NatsStation:
    """The centre's end of NATS: one worker."""

    def __init__(self, take, port, worker="w1", territory=None, settings=SMALL, pull_s=2.0, **login):
        self.port = port
        link = NatsLink((f"nats://127.0.0.1:{port}",), **login)
        self.door = NatsDoor(take, link, CITY, worker, territory, settings, pull_s)
        self.ended = None
        self._stop = asyncio.Event()

    async def __aenter__(self):
        self.ended = asyncio.create_task(self.door.run(self._stop))
        return self

    async def __aexit__(self, *_):
        self._stop.set()
        await self.ended

    async def connected(self):
        await until(lambda: self.door.counts.connected)


@contextlib.asynccontextmanager
async def sending(spool, transport, **options):
    """A node's uplink at work."""
    uplink = Uplink(spool, KEY, transport, lambda: NOW_NS, QUICK, **options)
    stop = asyncio.Event()
    task = asyncio.create_task(uplink.run(stop))
    try:
        yield uplink
    finally:
        stop.set()
        await task


def by_nats(server, timeout_s=2.0, cell=CELL, scheme="nats", **login):
    """A node's end of NATS."""
    link = NatsLink((f"{scheme}://{server.address}",), **login)
    return NatsTransport(link, CITY, cell, "node-1", timeout_s=timeout_s)


@contextlib.asynccontextmanager
async def raw_client(server):
    client = await nats.connect(f"nats://{server.address}", allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()
