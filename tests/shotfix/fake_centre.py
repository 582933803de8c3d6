"""A centre for tests of transports: it opens batches, remembers what it took, and misbehaves as it is told.

As a program it is one that can be killed: ``python -m tests.shotfix.fake_centre http|nats PORT FILE PUBLIC_KEY``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import deque
from pathlib import Path

from sensors.identity import ForgedError, IdentityError, Keyring
from sensors.wire import Ack, WireError, encode_ack
from shotfix.ingest import Answer
from tests.shotfix.stations import HttpStation, NatsStation


class FakeCentre:
    """``script``: what becomes of the next batches: a status to refuse with, or a callable that is awaited after the
    batch was taken and before it is answered. ``poison``: sequence numbers that make a batch malformed."""

    def __init__(self, keys, kept=None):
        self.keyring = Keyring(keys)
        self.script = deque()
        self.poison = frozenset()
        self.taken = []  # (node, boot, sequence), once each
        self.repeated = 0
        self.refused = []
        self.calls = 0
        self._kept = kept
        self._seen = set()

    async def take(self, sealed):
        self.calls += 1
        step = self.script.popleft() if self.script else None
        if isinstance(step, int):
            return Answer(step, error="as told")
        try:
            batch = self.keyring.open_batch(sealed)
        except ForgedError as error:
            return self._refuse(401, "forged", error)
        except IdentityError as error:
            return self._refuse(401, "foreign", error)
        except WireError as error:
            return self._refuse(400, "malformed", error)
        if self.poison & {envelope.sequence for envelope in batch.envelopes}:
            return self._refuse(400, "poison", "no such field")
        for envelope in batch.envelopes:
            key = (envelope.node_id, envelope.boot_id, envelope.sequence)
            self.repeated += key in self._seen
            if key not in self._seen:
                self._seen.add(key)
                self.taken.append(key)
                if self._kept is not None:
                    self._kept.write(f"{envelope.boot_id} {envelope.sequence}\n")
        if self._kept is not None:
            self._kept.flush()
            os.fsync(self._kept.fileno())
        if step is not None:
            await step()
        return Answer(200, encode_ack(Ack("centre-1", time.time_ns())))

    def _refuse(self, status, reason, words):
        self.refused.append(reason)
        return Answer(status, error=str(words))


async def serve(kind, port, kept, public):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    centre = FakeCentre({"node-1": public}, kept)
    async with (HttpStation if kind == "http" else NatsStation)(centre.take, port):
        await stop.wait()


if __name__ == "__main__":
    with Path(sys.argv[3]).open("a", encoding="ascii") as file:
        asyncio.run(serve(sys.argv[1], int(sys.argv[2]), file, sys.argv[4]))
