"""Kills a city that keeps and tells alerts, again and again, at moments of chance and at the worst ones.

    python -m tests.kill_telling WHERE FOLDER KILLS SEED

``WHERE`` is the record: a path, or the address of a database. The process that is killed keeps alerts, with a pump and
a webhook beside; the receiver is another process, which checks each signature with another's library and is not killed.
The process says on a pipe what `keep` has returned for; whoever kills it keeps the books. Prints one JSON object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import itertools
import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import standardwebhooks

from acoustic.instant import after
from alerts.alert import encode
from alerts.couriers.bounded_http import BoundedHttp
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.delivery import Route
from alerts.desk import Desk
from alerts.record.ledger import Ledger
from alerts.record.outbox import Outbox
from alerts.record.store import Store, StoreError
from shotfix.outbox_pump import Pump
from tests.strategies import NIGHT_NS, fix_at

SECRET = Secret(bytes(range(32)))
ROOM = "room"
POINTS = (
    (Store, "keep", "before"),
    (Store, "keep", "after"),
    (Ledger, "append", "before"),
    (Ledger, "append", "after"),
    (Outbox, "due", "after"),
    (BoundedHttp, "post", "before"),
    (BoundedHttp, "post", "after"),
    (Outbox, "settle_many", "before"),
    (Outbox, "settle_many", "after"),
)
"""Where a kill hurts most: each is aimed at in turn, beside kills at moments of chance."""


def said(number):
    """The tellings of one incident, as they are kept one after the other: new, revised, and closed or cancelled."""
    desk = Desk()
    first = desk.receive(fix_at(f"k{number}"))
    desk.receive(fix_at(f"k{number}b", 0.5))
    second, third = desk.tick(after(NIGHT_NS, 600.0))
    if number % 3 == 0:
        changes = {"kind": "cancelled", "status": "cancelled", "reason": "no-longer-gunfire"}
        third = dataclasses.replace(third, **changes)
    return [*first, second, third]


def tellings(count, rng):
    """Batches as a desk hands them over: one to three alerts at once, those of neighbouring incidents mixed."""
    waiting = [said(number) for number in range(count)]
    batches, live = [], []
    while waiting or live:
        while waiting and len(live) < 4:
            live.append(waiting.pop(0))
        batch = []
        for _ in range(rng.randint(1, 3)):
            one = rng.choice(live)
            batch.append(one.pop(0))
            live = [each for each in live if each]
            if not live:
                break
        batches.append(batch)
    return batches


# the receiver


class Receiving(http.server.BaseHTTPRequestHandler):
    """Writes down the name of what it got and verified, before it answers."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        try:
            body = self.rfile.read(int(self.headers["content-length"]))
            standardwebhooks.Webhook(SECRET.text()).verify(body, dict(self.headers))
            row = [self.headers["webhook-id"], hash_of(body)]
        except Exception as error:  # noqa: BLE001  (cut short by a kill, or signed wrong: the books will tell which)
            row = ["", repr(error)]
        with self.server.lock:
            os.write(self.server.log, (json.dumps(row) + "\n").encode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def hash_of(body):
    return hashlib.sha256(body).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):  # whoever is killed hangs up
        pass


def receiver(log):
    """Fork a receiver; its process and its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        server = Server(("127.0.0.1", 0), Receiving, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        server.lock, server.log = threading.Lock(), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        server.serve_forever(0.05)
        os._exit(0)
    port = listener.getsockname()[1]
    listener.close()
    return child, port


# the city


def persistently(work):
    """What the engine does when the record refuses: again, for as long as it takes."""
    while True:
        try:
            return work()
        except StoreError:
            time.sleep(0.02)


def aim(point, number):
    """Have this process killed at the so-manieth pass of a point."""
    owner, name, moment = point
    original, passes = getattr(owner, name), itertools.count(1)

    def deadly(*arguments, **named):
        due = next(passes) == number
        if due and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, staticmethod(deadly) if owner is Ledger else deadly)


def city(where, port, batches, start, pipe, point, number):
    """Keep and tell until it is killed, or until all is told."""
    if point is not None:
        aim(point, number)
    store = persistently(lambda: Store(where))
    outbox, stop = Outbox(store), threading.Event()
    webhook = Webhook(ROOM, Destination(f"http://127.0.0.1:{port}/", allow_private=True), [SECRET])
    pump = Pump(outbox, webhook, time.time_ns, stop.wait)
    thread = threading.Thread(target=pump.run, args=(stop.is_set,))
    thread.start()
    for index in range(start, len(batches)):
        persistently(lambda index=index: store.keep(batches[index], [Route(ROOM)], time.time_ns()))
        os.write(pipe, f"{index}\n".encode())
    while persistently(lambda: outbox.counts(ROOM))["pending"]:
        time.sleep(0.01)
    stop.set()
    outbox.wake()
    thread.join()
    store.close()
    os.write(pipe, b"told\n")


def one_life(where, port, batches, start, rng, *, to_the_end=False):
    """Let it live for a while, then kill it; the next batch to keep, the point, and whether it had told all."""
    aimed = not to_the_end and rng.random() < 0.5
    point = rng.choice(POINTS) if aimed else None
    lines, delay_s = rng.choice([0, 1, 2, 5, 10]), rng.uniform(0.0, 0.02)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            city(where, port, batches, start, writer, point, rng.randint(1, 6))
        except BaseException as error:  # noqa: BLE001
            os.write(writer, f"error {error!r}\n".encode())
        os._exit(0)
    os.close(writer)
    heard = b""
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while to_the_end or aimed or heard.count(b"\n") < lines:
            piece = pipe.read(65_536)
            heard += piece
            if not piece or (aimed and heard.count(b"\n") > 60):
                break
        if not (aimed or to_the_end):
            time.sleep(delay_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        while piece := pipe.read(65_536):
            heard += piece
    os.waitpid(child, 0)
    words = heard.decode().split("\n")[:-1]
    wrong = [word for word in words if word.startswith("error")]
    assert not wrong, wrong
    kept = [int(word) for word in words if word.isdigit()]
    return (kept[-1] + 1 if kept else start), point, "told" in words


def audit(where, log, batches, acknowledged):
    """The books against the record and what the receiver has."""
    with Store(where) as store:
        stored = {alert.message_id: alert for alert in store.alerts()}
        counts, verdict = Outbox(store).counts(ROOM), Ledger(store).verify()
        entered = sum(1 for _ in Ledger(store).entries(kinds=["alert"]))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    got = [name for name, _ in rows if name]
    bodies = {}
    for name, digest in rows:
        bodies.setdefault(name, set()).add(digest)
    once = list(dict.fromkeys(got))
    by_alert = {}
    for name in once:
        alert_id, _, revision = name.rpartition("-r")
        by_alert.setdefault(alert_id, []).append(int(revision))
    promised = [alert for batch in batches[:acknowledged] for alert in batch]
    return {
        "stored": len(stored),
        "acknowledged": len(promised),
        "not stored though acknowledged": sum(
            alert.message_id not in stored or encode(stored[alert.message_id]) != encode(alert) for alert in promised
        ),
        "lost": len(set(stored) - set(once)),
        "invented": len(set(once) - set(stored)),
        "repeated": len(got) - len(once),
        "said otherwise": sum(len(found) > 1 for name, found in bodies.items() if name),
        "out of order": sum(revisions != sorted(revisions) for revisions in by_alert.values()),
        "pending": counts["pending"],
        "dead": counts["dead"],
        "ledger entries missing": len(stored) - entered,
        "ledger": "ok" if verdict.intact else str(verdict),
    }


def main(where, folder, kills, seed):
    logging.disable(logging.CRITICAL)
    where = where if where.startswith("postgresql:") else Path(where)
    rng, folder = random.Random(seed), Path(folder)  # noqa: S311
    batches = tellings(kills * 2 + 8, rng)
    persistently(lambda: Store(where).close())  # and all that a first opening imports
    receiving, port = receiver(folder / "received.jsonl")
    points, acknowledged, lives, told = Counter(), 0, 0, False
    try:
        while lives < kills:
            acknowledged, point, told = one_life(where, port, batches, acknowledged, rng)
            lives += 1
            points["chance" if point is None else f"{point[2]} {point[0].__name__}.{point[1]}"] += 1
        acknowledged, _, told = one_life(where, port, batches, acknowledged, rng, to_the_end=True)
    finally:
        os.kill(receiving, signal.SIGTERM)
        os.waitpid(receiving, 0)
    found = persistently(lambda: audit(where, folder / "received.jsonl", batches, acknowledged))
    print(json.dumps({"kills": lives, "told": told, **found, "points": dict(points)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
