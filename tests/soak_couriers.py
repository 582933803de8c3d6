"""Three couriers under a steady load, for as long as is asked: what they take of the machine, and what their books say.

    python -m tests.soak_couriers WHERE FOLDER SECONDS

``WHERE`` is the record: a path, or the address of a database. One courier is a webhook to a receiver that misbehaves in
turns, in a process of its own; one a drop; one a webhook to an address where nobody is. The clock of the centre runs a
thousand times as fast as the machine's: ten minutes are a week, with all that waits for hours and what is given up after
days. Prints one JSON object.
"""

from __future__ import annotations

import contextlib
import gc
import http.server
import json
import logging
import os
import socket
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from acoustic.instant import SECOND
from alerts.couriers.webhook import Secret
from alerts.record import tables
from alerts.record.looking import looking_at
from shotfix.config import SiteConfig, SiteIdentity
from shotfix.config_telling import CourierConfig, RecordConfig, SecretSource
from shotfix.crew import Crew
from shotfix.telling import Telling
from tests.kill_telling import hash_of, said
from tests.strategies import NIGHT_NS

SPEED = 1_000
PER_S = 6.0
"""Revisions a second: 3,600 in ten minutes, of 1,200 incidents in that week."""
HOUR_NS = 3_600 * SECOND
VARIABLE = "SHOTFIX_SOAK_SECRET"
PATIENCE_S = 120.0

# the receiver

TURNS = (
    ("well", 12), ("500", 6), ("well", 8), ("429", 6), ("reset", 6), ("well", 8), ("slow", 6), ("302", 2), ("garbage", 2),
    ("half", 2), ("long", 2), ("well", 10), ("410", 2), ("400", 3), ("well", 8), ("hang", 1),
)  # fmt: skip
"""How it behaves, and to how many requests."""
PLAIN = {"500": (500, {}), "429": (429, {"retry-after": "60"}), "302": (302, {"location": "/"}), "410": (410, {}),
         "400": (400, {})}  # fmt: skip


class Receiving(http.server.BaseHTTPRequestHandler):
    """Writes down what it got, and only then behaves as it does."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        turn = self.server.note(self.headers["webhook-id"], body)
        if turn == "hang":
            self.server.over.wait(6.0)
        elif turn == "slow":
            self.server.over.wait(0.2)
        if turn in PLAIN:
            code, headers = PLAIN[turn]
            self.answer(code, headers)
        elif turn in {"reset", "hang"}:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif turn == "garbage":
            self.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            self.close_connection = True
        elif turn == "half":
            self.wfile.write(b"HTTP/1.1 204 No Con")
            self.close_connection = True
        elif turn == "long":
            self.answer(500, {}, b"x" * 1_000_000)
        else:
            self.answer(204, {})

    def answer(self, code, headers, content=b""):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Receiver(http.server.ThreadingHTTPServer):
    """In a process of its own; ends with the pipe that it was begun with."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, listener, log):
        super().__init__(("127.0.0.1", 0), Receiving, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.over, self._log = threading.Event(), log
        self._lock, self._taken = threading.Lock(), 0
        self._turns = [turn for turn, count in TURNS for _ in range(count)]

    def note(self, name, body):
        with self._lock:
            turn = "well" if self.over.is_set() else self._turns[self._taken % len(self._turns)]
            self._taken += 1
            os.write(self._log, (json.dumps([name, hash_of(body), turn]) + "\n").encode())
        return turn

    def handle_error(self, *_):  # who waited too long hangs up
        pass


def receiver(log):
    """Fork one; its port, and the pipe: a byte makes it behave, the end ends it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    reader, writer = os.pipe()
    if not os.fork():
        os.close(writer)
        server = Receiver(listener, os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        os.read(reader, 1)
        server.over.set()
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    port = listener.getsockname()[1]
    listener.close()
    return port, writer


# the centre


class Clock:
    """A wall clock that runs fast, and can be put forward."""

    def __init__(self):
        self._began_ns, self._ahead_ns = time.monotonic_ns(), 0

    def __call__(self):
        return NIGHT_NS + (time.monotonic_ns() - self._began_ns) * SPEED + self._ahead_ns

    def forward(self, by_ns):
        self._ahead_ns += by_ns


def site(where, folder, port, dead_port):
    def webhook(name, at):
        url = f"http://127.0.0.1:{at}/"
        return CourierConfig(name, url, SecretSource(variable=VARIABLE), allow_private=True)

    os.environ[VARIABLE] = Secret(bytes(range(32))).text()
    record = RecordConfig(database=where) if where.startswith("postgresql:") else RecordConfig(Path(where))
    couriers = (
        webhook("moody", port), webhook("dead", dead_port), CourierConfig("map", kind="drop", folder=folder / "drop"),
    )  # fmt: skip
    return SiteConfig(SiteIdentity("Soak", folder), folder / "network.toml", couriers=couriers, record=record)


def taken(telling, folder):
    """What it all takes now."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    with telling.store.reading() as connection:
        if telling.store.path is None:
            size = connection.exec_driver_sql("select pg_database_size(current_database())").scalar_one()
        else:
            size = sum(path.stat().st_size for path in folder.glob("record.db*"))
    return {
        "rss_mb": float(status.split("VmRSS:")[1].split()[0]) / 1e3,
        "threads": int(status.split("Threads:")[1].split()[0]),
        "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "blocks": sys.getallocatedblocks(),
        "record_mb": size / 1e6,
        **{pump.name: sum(pump.counts[kind] for kind in ("sent", "failed")) for pump in telling.pumps},
    }


def soak(where, folder, seconds):
    (folder / "drop").mkdir()
    (nobody := socket.socket()).bind(("127.0.0.1", 0))  # whoever connects there is refused
    port, pipe = receiver(folder / "received.jsonl")
    clock, stop, lost, samples = Clock(), threading.Event(), [], []
    with contextlib.ExitStack() as opened:
        telling = Telling(site(where, folder, port, nobody.getsockname()[1]), opened, clock)
        crew = Crew(lost.append)
        telling.begin(crew, stop)
        began_s, kept, sampled_s = time.monotonic(), 0, 0.0
        words = [alert for number in range(round(seconds * PER_S / 3) + 1) for alert in said(number)]
        while (now_s := time.monotonic() - began_s) < seconds:
            due = round(now_s * PER_S)
            if kept < due:
                telling.keeping.keep(words[kept:due])
                kept = due
            if now_s >= sampled_s + max(seconds / 120, 0.5):
                sampled_s = now_s
                telling.note_head()
                telling.retire()
                samples.append({"after_s": now_s, "kept": kept, **taken(telling, folder)})
            time.sleep(0.02)
        os.write(pipe, b"x")
        books = end(telling, clock)
        stop.set()
        telling.wake()
        crew.join(PATIENCE_S)
        books |= audit(telling, folder)
    os.close(pipe)
    nobody.close()
    return {"lost": lost, "samples": samples, **books, **compacted(where, folder)}


def end(telling, clock):
    """Everybody is well again, but who is dead; a day later all has arrived."""
    left, deadline_s = None, time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        clock.forward(25 * HOUR_NS)
        time.sleep(0.5)
        left = {name: telling.outbox.counts(name)["pending"] for name in ("moody", "map")}
        if not any(left.values()):
            break
    return {"left": left}


def audit(telling, folder):
    """What each book says of the same."""
    rows = [json.loads(line) for line in (folder / "received.jsonl").read_text().splitlines()]
    bodies = {}
    for name, digest, _ in rows:
        bodies.setdefault(name, set()).add(digest)
    box, attempt = tables.outbox, tables.attempt
    tried = sa.select(box.c.courier, attempt.c.delivered, sa.func.count()).join(
        attempt, attempt.c.outbox_id == box.c.outbox_id
    )
    with telling.store.reading() as connection:
        attempts = {
            f"{courier} {'sent' if delivered else 'failed'}": count
            for courier, delivered, count in connection.execute(tried.group_by(box.c.courier, attempt.c.delivered))
        }
    verdict = telling.ledger.verify(telling.heads.read())
    return {
        "stored": sum(1 for _ in telling.store.alerts()),
        "outbox": {pump.name: telling.outbox.counts(pump.name) for pump in telling.pumps},
        "attempts": attempts,
        "counted": {pump.name: dict(pump.counts) for pump in telling.pumps},
        "arrived": len(bodies),
        "said_otherwise": sum(len(found) > 1 for found in bodies.values()),
        "turns": Counter(turn for _, _, turn in rows),
        "files": len(list((folder / "drop").glob("*-r*.json"))),
        "deaths": sum(1 for _ in telling.ledger.entries(kinds=["delivery-dead"])),
        "ledger": "ok" if verdict.intact else str(verdict),
        "heads": verdict.heads,
        "refused": sum(pump.store_refused for pump in telling.pumps),
    }


def compacted(where, folder):
    """How large the record is, and how large one is that holds the same and nothing else."""
    if not where.startswith("postgresql:"):
        size = Path(folder / where).stat().st_size
        with looking_at(folder / where) as database, database.engine.connect() as connection:
            driver = connection.connection.driver_connection
            driver.rollback()
            driver.execute("vacuum into ?", (str(folder / "compact.db"),))
        return {"record_mb": size / 1e6, "stored_mb": (folder / "compact.db").stat().st_size / 1e6}
    import psycopg  # noqa: PLC0415

    sizes = []
    with psycopg.connect(where, autocommit=True) as connection:
        for statement in ("select 1", "vacuum full"):
            connection.execute(statement)
            sizes.append(connection.execute(
                "select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r'"
                " and relnamespace = current_schema()::regnamespace"
            ).fetchone()[0])  # fmt: skip
    return {"record_mb": float(sizes[0]) / 1e6, "stored_mb": float(sizes[1]) / 1e6}


def main(where, folder, seconds):
    logging.disable(logging.CRITICAL)
    print(json.dumps(soak(where, Path(folder), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:4])
