"""A node's process behind a real network that is cut and loses packets: all that it heard arrives, once, in order."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette

from shotfix.http_guard import ServerLimits
from shotfix.http_server import HttpServer
from shotfix.ingest_http import Door, DoorLimits
from tests.shotfix.bad_cable import cable
from tests.shotfix.node_process import Books, Device
from tests.shotfix.stations import until

__all__ = ["cable"]  # a fixture

CUTS_S = (1.0, 3.0)
LOSSY_S = 4.0
LOSS = 0.3


@pytest.mark.slow
def test_a_cable_that_is_cut_and_loses_a_third_costs_nothing(cable, root, tmp_path):
    centre = Books()

    async def play():
        door = Door(centre.take, DoorLimits())
        server = HttpServer(Starlette(routes=door.routes()), cable.here, 0, None, ServerLimits())
        await server.start()
        device = Device(tmp_path, root, f"http://{cable.here}:{server.port}", cable.within)

        async def more_arrives():
            enough = len(centre.taken) + 2
            await until(lambda: len(centre.taken) >= enough or device.over)

        try:
            await device.start("centre")
            await more_arrives()
            for cut_s in CUTS_S:
                cable.loss = 1.0
                await asyncio.sleep(cut_s)
                cable.loss = 0.0
                await more_arrives()
            cable.loss, dropped = LOSS, cable.dropped
            await asyncio.sleep(LOSSY_S)
            await more_arrives()
            assert cable.dropped > dropped
            cable.loss = 0.0
            assert await device.end(kill=False) == 0, device.log
        finally:
            if not device.over:
                await device.end(kill=True)
            await server.stop()
        assert device.held() == set()

    asyncio.run(play())
    print(f"{cable.dropped} packets of {cable.dropped + cable.passed} were lost, {centre.repeated} messages came twice")
    (numbers,) = centre.said.values()
    assert numbers == list(range(len(numbers)))
    assert len(centre.taken) == len(numbers)
    assert centre.refused == []
    assert {"chunk", "farewell"} <= centre.kinds
