"""A node's process that is killed at any moment: what its spool held arrives, each message once after its identity."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.shotfix.node_process import Books, Device
from tests.shotfix.stations import HttpStation, until


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.endurance)])
def test_what_the_spool_of_a_killed_node_held_arrives_once(kills, root, tmp_path):
    centre, dice = Books(), random.Random(20261122)  # noqa: S311  (dice, no secrets)
    moods = ["away", "unheard", "well"]

    async def play():
        held = set()
        async with HttpStation(centre.take) as station:
            device = Device(tmp_path, root, f"http://127.0.0.1:{station.port}")
            for kill in range(kills):
                centre.mood = moods[kill % 3]
                asked = centre.calls + dice.randint(1, 4)
                await device.start(("edge", "centre")[kill % 2])
                await until(lambda asked=asked: centre.calls >= asked or device.over)
                await asyncio.sleep(dice.uniform(0.0, 1.5))
                assert await device.end(kill=True) == -9, device.log
                held |= device.held()
            centre.mood = "well"
            await device.start("edge")
            await until(lambda: {"detection", "chunk"} <= centre.kinds or device.over)
            assert await device.end(kill=False) == 0, device.log
            assert device.held() == set()
        return held

    held = asyncio.run(play())
    taken = {(boot_id, sequence) for boot_id, numbers in centre.said.items() for sequence in numbers}
    print(f"{kills} kills: {len(held)} messages were in the spool, {len(taken)} arrived, {centre.repeated} again")
    assert held
    assert held <= taken
    assert len(centre.taken) == len(taken)
    assert centre.repeated > 0  # the answers that were lost
    assert centre.refused == []
    for numbers in centre.said.values():  # what was promised to nobody may be lost, from the end only
        assert numbers == list(range(len(numbers)))
    assert {"heartbeat", "chunk", "detection", "farewell"} <= centre.kinds
