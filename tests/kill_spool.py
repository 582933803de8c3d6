"""Kills a process that uses a spool, again and again, at moments of chance.

    python -m tests.kill_spool FOLDER KILLS SEED

The process says on a pipe what `put` has returned for, what it gave to the centre, and what `settle` has returned for;
whoever kills it plays the centre and keeps the books. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from sensors.seen import Seen
from sensors.spool import Spool
from sensors.wire import Ack, Batch, kind_of
from tests import messages
from tests.messages import NIGHT_NS, NODE


def live(path, boot_id, seed, pipe):
    """What the process does until it is killed."""
    rng, said = random.Random(seed), 0  # noqa: S311

    def tell(letter, rows):
        os.write(pipe, f"{letter} {json.dumps(rows)}\n".encode())  # below PIPE_BUF: whole, or not at all

    spool = Spool(path, boot_id, NODE)
    tell("open", boot_id)
    while True:
        if rng.random() < 0.6:
            contents = []
            for _ in range(rng.randint(1, 4)):
                contents.append(rng.choice([messages.heard, messages.beat, messages.chunk])(said))
                said += 1
            numbers = spool.put_all(contents)
            tell(
                "put", [[boot_id, number, name_of(content)] for number, content in zip(numbers, contents, strict=True)]
            )
        elif (batch := spool.batch(NIGHT_NS, rng.randint(1_000, 9_000))) is not None:
            rows = [[each.boot_id, each.sequence, name_of(each.content)] for each in batch.envelopes]
            held = [
                k for k, each in enumerate(batch.envelopes) if kind_of(each.content) == "chunk" and rng.random() < 0.5
            ]
            tell("sent", rows)
            if rng.random() < 0.9:  # otherwise the answer was lost
                released = {row[0]: row[1] for row in rows if rng.random() < 0.3}
                spool.settle(batch, Ack("c", NIGHT_NS, tuple(held), released, resume=rng.random() < 0.1))
                tell("settled", [row for k, row in enumerate(rows) if k not in held])


def name_of(content):
    """What tells this content from every other of its boot."""
    instant = getattr(content, "heard_until_ns", None) or getattr(content, "start_ns", None) or content.pick.onset_ns
    return f"{kind_of(content)} {instant}"


def one_life(path, boot_id, seed, rng):
    """Start it, kill it some moment after it has said so many lines; what it said."""
    lines, delay_s = rng.choice([0, 1, 5, 20, 50]), rng.uniform(0.0, 0.004)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            live(path, boot_id, seed, writer)
        except BaseException as error:  # noqa: BLE001
            os.write(writer, f"error {json.dumps(repr(error))}\n".encode())
        os._exit(1)
    os.close(writer)
    said = b""
    while said.count(b"\n") < lines and (piece := os.read(reader, 65_536)):
        said += piece
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    while piece := os.read(reader, 65_536):
        said += piece
    os.waitpid(child, 0)
    os.close(reader)
    return [(line.split(" ", 1)[0], json.loads(line.split(" ", 1)[1])) for line in said.decode().splitlines()]


class Books:
    """What the centre knows, and what must be true of it."""

    def __init__(self):
        self.put, self.names, self.settled = set(), {}, set()
        self.seen, self.new, self.repeated = Seen(), 0, 0

    def enter(self, lines):
        """Note what one life said."""
        for letter, rows in lines:
            assert letter != "error", rows
            for boot, number, name in rows if letter != "open" else ():
                key = boot, number
                assert self.names.setdefault(key, name) == name, f"{key} was {self.names[key]}, and is {name}"
                if letter == "put":
                    assert key not in self.put, f"{key} was given twice"
                    self.put.add(key)
                elif letter == "sent":
                    assert key not in self.settled, f"{key} was settled, and comes again"
                    taken = self.seen.take(NODE, boot, number)
                    self.new, self.repeated = self.new + taken, self.repeated + (not taken)
                else:
                    self.settled.add(key)


def main(folder, kills, seed):
    """Kill it so many times, then see what is left."""
    rng, path, books = random.Random(seed), Path(folder) / "spool.db", Books()  # noqa: S311
    for k in range(kills):
        books.enter(one_life(path, f"{k:08x}", rng.randrange(2**32), rng))
    with Spool(path, "ffffffff", NODE) as spool:
        spool.settle(Batch(NODE, NIGHT_NS, ()), Ack("c", NIGHT_NS, resume=True))
        state = spool.state()
        assert (state.moved_aside, state.damaged, state.dropped) == (0, 0, {}), state
        while (batch := spool.batch(NIGHT_NS)) is not None:
            books.enter([("sent", [[each.boot_id, each.sequence, name_of(each.content)] for each in batch.envelopes])])
            spool.settle(batch, Ack("c", NIGHT_NS))
    lost = [key for key in books.put if not books.seen.knows(NODE, *key)]
    print(
        json.dumps(
            {"kills": kills, "put": len(books.put), "lost": len(lost), "new": books.new, "repeated": books.repeated}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
