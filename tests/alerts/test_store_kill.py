"""A writer that is killed with no warning: what it said was kept is there, whole, on both databases."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa

from alerts.alert import encode
from alerts.record import tables
from alerts.record.ledger import Ledger
from alerts.record.store import Store
from tests.record_stores import burst, running_postgres

THREADS = 4
EACH = 10  # bursts that a thread keeps, a revision at a time

# Forked for each kill by one who has everything loaded: to start Python takes longer than what is tested.
NURSERY = """
import os, sys, threading
from pathlib import Path
from alerts.alert import decode
from alerts.delivery import Route
from alerts.record.store import Store

alerts = [decode(line) for line in Path(sys.argv[1]).read_bytes().splitlines()]
threads, each = int(sys.argv[2]), int(sys.argv[3])

def keep(store, mine):
    for alert in mine:
        store.keep([alert], [Route("room")], 1_795_227_249_000_000_000)
        os.write(1, f"{alert.message_id}\\n".encode())

def work(where):
    os.write(1, f"{os.getpid()}\\n".encode())
    with Store(where) as store:
        size = len(alerts) // threads
        running = [threading.Thread(target=keep, args=(store, alerts[k * size:(k + 1) * size])) for k in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    os.write(1, b"done\\n")

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        work(line.strip())
        os._exit(0)
    os.waitpid(child, 0)
    os.write(1, b"over\\n")
"""


def kills(where_of, tmp_path, root, count, seed=0):
    """Kill writers at random moments of their work, each going on where the one before was killed."""
    said = [burst(f"k{thread}-{k}", 30.0 * k) for thread in range(THREADS) for k in range(EACH)]
    lines = [encode(alert) for alerts in said for alert in alerts]
    (tmp_path / "alerts.jsonl").write_bytes(b"\n".join(lines))
    command = [sys.executable, "-c", NURSERY, tmp_path / "alerts.jsonl", str(THREADS), str(EACH)]
    dice = random.Random(seed)  # noqa: S311
    acknowledged, rounds = set(), 0
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        for kill in range(count):
            where = where_of(kill)
            if where is not None:
                current, acknowledged = where, set()
            nursery.stdin.write(f"{current}\n")
            nursery.stdin.flush()
            pid = int(nursery.stdout.readline())
            ended = hear(nursery, acknowledged, dice.randrange(25))
            if not ended:
                os.kill(pid, signal.SIGKILL)
                hear(nursery, acknowledged, None)
            check(current, said, acknowledged)
            rounds += 1
        nursery.stdin.close()
    assert rounds == count


def hear(nursery, acknowledged, most):
    """Read what is acknowledged, so many or all; whether the writer came to its end."""
    heard = 0
    while most is None or heard < most:
        line = nursery.stdout.readline().strip()
        if line == "over":
            return True
        if line and line != "done":
            acknowledged.add(line)
            heard += 1
    return False


def check(where, said, acknowledged):
    with Store(where) as store:
        kept = {alert.message_id: alert for alert in store.alerts()}
        assert acknowledged <= kept.keys()
        for alerts in said:  # of each alert the first ones, and as they were said
            mine = [alert for alert in alerts if alert.message_id in kept]
            assert mine == alerts[: len(mine)]
            assert [kept[alert.message_id] for alert in mine] == mine
        with store.reading() as connection:
            queued = connection.execute(sa.select(tables.outbox.c.alert_id, tables.outbox.c.revision)).all()
            numbers = (
                connection.execute(sa.select(tables.alert.c.number).order_by(tables.alert.c.number)).scalars().all()
            )
        assert sorted(f"{row.alert_id}-r{row.revision}" for row in queued) == sorted(kept)
        assert numbers == list(range(1, len(kept) + 1))
        verdict = Ledger(store).verify()
        assert verdict.intact, verdict.fault
        assert verdict.entries == len(kept)


def test_ten_kills_of_a_file_s_writer_lose_nothing(tmp_path, root):
    kills(lambda k: tmp_path / f"record{k // 5}.db" if k % 5 == 0 else None, tmp_path, root, 10)


def test_ten_kills_of_a_server_s_writer_lose_nothing(tmp_path, root, postgres_server):
    with postgres_server.database() as one, postgres_server.database() as other:
        kills(lambda k: (one, other)[k // 5] if k % 5 == 0 else None, tmp_path, root, 10)


@pytest.mark.endurance
def test_the_servers_own_death_loses_nothing_that_was_answered(tmp_path, root):
    """The writer and the server are killed together; the server's disk keeps its promises."""
    with running_postgres("-c shared_buffers=16MB -c max_connections=20") as server, server.database() as url:
        said = [burst(f"s{k}", 30.0 * k) for k in range(THREADS * EACH)]
        (tmp_path / "alerts.jsonl").write_bytes(b"\n".join(encode(alert) for alerts in said for alert in alerts))
        command = [sys.executable, "-c", NURSERY, tmp_path / "alerts.jsonl", str(THREADS), str(EACH)]
        acknowledged = set()
        with subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as nursery:
            for _ in range(2):
                nursery.stdin.write(f"{url}\n")
                nursery.stdin.flush()
                pid = int(nursery.stdout.readline())
                hear(nursery, acknowledged, 12)
                server.kill()
                with contextlib.suppress(ProcessLookupError):  # it may have ended by itself, of the server's death
                    os.kill(pid, signal.SIGKILL)
                hear(nursery, acknowledged, None)
                server.start()
                check(url, said, acknowledged)
            nursery.stdin.close()


@pytest.mark.endurance
def test_a_thousand_kills_of_a_file_s_writer(tmp_path, root):
    kills(lambda k: tmp_path / f"record{k // 5}.db" if k % 5 == 0 else None, tmp_path, root, 1_000, seed=1)


@pytest.mark.endurance
def test_a_thousand_kills_of_a_server_s_writer(tmp_path, root, postgres_server):
    def where(k):
        if k % 5:
            return None
        postgres_server.run(f"create database kills{k}")
        return postgres_server.url(f"kills{k}")

    kills(where, tmp_path, root, 1_000, seed=2)
