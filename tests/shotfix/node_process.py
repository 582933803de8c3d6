"""A node's real process for tests, with a microphone's samples on its standard input; and a centre that keeps books."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import sys

import numpy as np

from acoustic.sources import muzzle_blast
from sensors.wire import Batch, encode_batch, kind_of
from shotfix.ingest import Answer
from tests.shotfix.fake_centre import FakeCentre
from tests.shotfix.stations import KEY, KEYS

RATE_HZ = 48_000
PIECE_S = 0.1
SPACING_S = 0.8


class Books(FakeCentre):
    """A centre that is away or whose answers are lost, as it is told, and that knows a message again by every bit."""

    def __init__(self):
        super().__init__(KEYS)
        self.mood = "well"
        self.bodies = {}
        self.kinds = set()

    @property
    def said(self):
        """By boot the sequence numbers that arrived, sorted."""
        boots = {}
        for _, boot_id, sequence in sorted(self.taken):
            boots.setdefault(boot_id, []).append(sequence)
        return boots

    async def take(self, sealed):
        if self.mood == "away":
            self.calls += 1
            return Answer(503, error="away")
        for envelope in self.keyring.open_batch(sealed).envelopes:
            body = encode_batch(Batch(envelope.node_id, 0, (envelope,)))
            key = envelope.boot_id, envelope.sequence
            assert self.bodies.setdefault(key, body) == body, f"{key} is the name of two messages"
            self.kinds.add(kind_of(envelope.content))
        answer = await super().take(sealed)
        return Answer(503, error="the answer is lost") if self.mood == "unheard" else answer


class Device:
    """A node's files and its process, with a microphone's samples on its standard input.

    ``within``: words that put a command where it is to run, as ``ip netns exec NAME``.
    """

    def __init__(self, folder, root, url, within=()):
        self.folder, self.root, self.within = folder, root, within
        self.process = self.feeding = None
        KEY.save(folder / "node.pem")
        for placement in ("edge", "centre"):
            (folder / f"{placement}.toml").write_text(
                f'[node]\nnode_id = "node-1"\nkey_file = "node.pem"\ndata_dir = "data"\nplacement = "{placement}"\n'
                f'[centre]\nurl = "{url}"\nallow_plain = true\n[source]\nkind = "stdin"\nrate_hz = {RATE_HZ}\n'
                '[[sensor]]\nsensor_id = "roof-1"\n[clock]\nsource = "stated"\nsigma_s = 0.001\n'
            )

    async def start(self, placement):
        log = (self.folder / "node.log").open("ab")
        words = ["-m", "shotfix.commands", "listen", "--config", str(self.folder / f"{placement}.toml")]
        self.process = await asyncio.create_subprocess_exec(
            *self.within, sys.executable, *words, cwd=self.root, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        log.close()
        self.feeding = asyncio.create_task(self._feed())

    async def _feed(self):
        """Samples at the pace of a microphone; a bang now and then."""
        sound, at, size = street(), 0, round(PIECE_S * RATE_HZ) * 2
        while True:
            self.process.stdin.write(sound[at : at + size])
            await self.process.stdin.drain()
            at = (at + size) % len(sound)
            await asyncio.sleep(PIECE_S)

    @property
    def log(self):
        """The end of what it said."""
        return (self.folder / "node.log").read_text()[-3000:]

    @property
    def over(self):
        """Whether the process has ended."""
        return self.process.returncode is not None

    async def end(self, *, kill):
        """Kill it, or let its sound end; its exit status."""
        self.feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await self.feeding
        if kill:
            self.process.kill()
        else:
            self.process.stdin.close()
        status = await asyncio.wait_for(self.process.wait(), 60.0)
        self.process.stdin.close()
        return status

    def held(self):
        """Names of what the spool of a dead process holds, seen in a copy."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder / "data", copy)
        if not (copy / "spool.db").exists():
            return set()
        with contextlib.closing(sqlite3.connect(copy / "spool.db")) as spool:
            if not spool.execute("SELECT count(*) FROM sqlite_master WHERE name = 'message'").fetchone()[0]:
                return set()
            return set(spool.execute("SELECT boot_id, sequence FROM message"))


def street():
    """Four seconds of faint noise with bangs, 16 bit."""
    blast = muzzle_blast(RATE_HZ).pressure_pa
    samples = np.random.default_rng(1).normal(0.0, 12.0, 4 * RATE_HZ)
    for at in range(RATE_HZ // 2, len(samples) - len(blast), round(SPACING_S * RATE_HZ)):
        samples[at : at + len(blast)] += 20_000.0 * blast / np.max(np.abs(blast))
    return np.clip(samples, -32_768, 32_767).astype("<i2").tobytes()
