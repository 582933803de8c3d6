"""From a fix to the first byte at a receiver, and a storm of alerts, beside the plainest loop that could do it."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import http.client
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from acoustic.instant import after
from alerts.alert import encode
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.delivery import Route
from alerts.desk import Desk
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from shotfix.outbox_pump import Pump
from tests.record_stores import running_postgres
from tests.strategies import NIGHT_NS, fix_at

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXES = 400
EVERY_S = 0.05
STORM = 10_000
STORM_S = 60.0
GROUP_S = 0.1  # what a centre under load keeps in one commit
SECRET = Secret(bytes(32))
ROUTES = [Route("room")]
DURABLE = "-c max_connections=40 -c log_min_messages=fatal"  # each commit on the disk, as it comes

RECEIVER = """
import json, socket, sys, threading, time
rows, lock = [], threading.Lock()
def serve(connection):
    with connection:
        data = b""
        while b"\\r\\n\\r\\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return
            data += piece
        head, _, body = data.partition(b"\\r\\n\\r\\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\\r\\n")[1:])
        while len(body) < int(fields[b"content-length"]):
            body += connection.recv(65536)
        at_ns = time.monotonic_ns()
        connection.sendall(b"HTTP/1.1 204 No Content\\r\\nconnection: close\\r\\n\\r\\n")
        with lock:
            rows.append((fields[b"webhook-id"].decode(), at_ns))
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
print(listener.getsockname()[1], flush=True)
def accept():
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
for line in sys.stdin:
    with lock:
        told, rows[:] = list(rows), []
    print(json.dumps(told), flush=True)
"""


def measure(_data: Path | None) -> str:
    durable = tempfile.mkdtemp()
    try:
        with running_postgres(DURABLE) as server, receiver() as room:
            waits, storms = {}, {}
            waits["plain loop: SQLite insert, commit, POST"] = plain_waits(Path(durable) / "plain.db", room)
            for name, where in (("SQLite", Path(durable) / "r.db"), ("PostgreSQL", server.url("postgres"))):
                with city(where, room) as (store, outbox):
                    waits[f"shotfix on {name}"] = alert_waits(store, room)
                    storms[name] = storm(store, outbox, room)
            waits["plain loop, once more"] = plain_waits(Path(durable) / "again.db", room)
    finally:
        shutil.rmtree(durable)
    rival = statistics.median(waits["plain loop: SQLite insert, commit, POST"])
    rows = "\n".join(_row(name, found, rival) for name, found in waits.items())
    return (
        f"{FIXES} fixes, one each {EVERY_S * 1000:.0f} ms, each a new incident: from its fix at the desk until the "
        "receiver, another process on the same machine, has read the whole signed request. The record is warm, every "
        "commit is on the disk (synchronous=FULL; fsync=on). Each attempt has a connection of its own, in all rows.\n\n"
        "| | p50, ms | p99, ms | most, ms | p50 to the plain loop's |\n|---|---|---|---|---|\n" + rows + "\n\n"
        f"{STORM:,d} alerts in a minute (each incident new, revised and closed, no limit of revisions), at an even "
        f"rate, kept in groups of {GROUP_S * 1000:.0f} ms, with the same receiver:\n\n"
        "| | sent | over after, s | p50, ms | p99, ms | most pending | out of order | twice | memory grew by, MB |\n"
        "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(storms_row(name, found) for name, found in storms.items())
    )


def _row(name: str, waits_ms: list[float], rival_ms: float) -> str:
    half, most = statistics.median(waits_ms), max(waits_ms)
    return f"| {name} | {half:.1f} | {_p99(waits_ms):.1f} | {most:.1f} | {half / rival_ms:.1f} |"


def _p99(waits_ms: list[float]) -> float:
    return statistics.quantiles(waits_ms, n=100)[98]


class Room:
    """The receiver's process, and what it has got since it was last asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(process.stdout.readline())
        self.got: list[tuple[str, int]] = []

    def ask(self) -> list[tuple[str, int]]:
        """What it has got, and when."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.got += [tuple(row) for row in json.loads(self.process.stdout.readline())]
        return self.got

    def until(self, count: int, patience_s: float = 60.0) -> dict[str, int]:
        """When each came, once so many have."""
        end_s = time.monotonic() + patience_s
        while len({name for name, _ in self.ask()}) < count and time.monotonic() < end_s:
            time.sleep(0.05)
        got, self.got = self.got, []
        assert len({name for name, _ in got}) == count, f"{len(got)} of {count}"
        return dict(reversed(got))


@contextlib.contextmanager
def receiver() -> Iterator[Room]:
    command = [sys.executable, "-c", RECEIVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Room(process)
        finally:
            process.kill()


@contextlib.contextmanager
def city(where: Path | str, room: Room) -> Iterator[tuple[Store, Outbox]]:
    """A record with a pump at work, both warm."""
    stop = threading.Event()
    with Store(where) as store:
        outbox = Outbox(store)
        courier = Webhook("room", Destination(f"http://127.0.0.1:{room.port}/", allow_private=True), [SECRET])
        pump = Pump(outbox, courier, time.time_ns, stop.wait)
        thread = threading.Thread(target=pump.run, args=(stop.is_set,))
        thread.start()
        try:
            warm = [Desk().receive(fix_at(f"warm{k}"))[0] for k in range(20)]
            for alert in warm:
                store.keep([alert], ROUTES, time.time_ns())
            room.until(len(warm))
            yield store, outbox
        finally:
            stop.set()
            outbox.wake()
            thread.join()
            courier.close()


def alert_waits(store: Store, room: Room) -> list[float]:
    """Milliseconds from each fix to its request."""
    fixes = [fix_at(f"f{k}", 30.0 * k) for k in range(FIXES)]
    desk, begun = Desk(), {}
    for fix in fixes:
        began_ns = time.monotonic_ns()
        for alert in desk.receive(fix):
            store.keep([alert], ROUTES, time.time_ns())
            begun[alert.message_id] = began_ns
        time.sleep(EVERY_S)
    came = room.until(len(begun))
    return [(came[name] - began_ns) / 1e6 for name, began_ns in begun.items()]


def plain_waits(path: Path, room: Room) -> list[float]:
    """The same by one loop without order, retries, signatures, ledger or kills in mind."""
    fixes = [fix_at(f"p{k}", 30.0 * k) for k in range(FIXES)]
    desk, begun = Desk(), {}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")
        connection.execute("create table alert (name text primary key, document blob)")
        for fix in fixes:
            began_ns = time.monotonic_ns()
            for alert in desk.receive(fix):
                document = encode(alert)
                connection.execute("insert into alert values (?, ?)", (alert.message_id, document))
                connection.commit()
                sent = http.client.HTTPConnection("127.0.0.1", room.port)
                sent.request("POST", "/", document, {"webhook-id": alert.message_id})
                sent.getresponse().read()
                sent.close()
                begun[alert.message_id] = began_ns
            time.sleep(EVERY_S)
    came = room.until(len(begun))
    return [(came[name] - began_ns) / 1e6 for name, began_ns in begun.items()]


@dataclasses.dataclass
class Storm:
    """What came of a storm."""

    sent: int
    over_s: float
    waits_ms: list[float]
    most_pending: int
    out_of_order: int
    twice: int
    grew_mb: float


def storm(store: Store, outbox: Outbox, room: Room) -> Storm:
    said = _storm_of_alerts()
    room.ask()
    gc.collect()
    before, most, begun = _memory_mb(), 0, {}
    began_s = time.monotonic()
    group = round(len(said) / STORM_S * GROUP_S)
    for start in range(0, len(said), group):
        time.sleep(max(began_s + start * STORM_S / len(said) - time.monotonic(), 0.0))
        some = said[start : start + group]
        begun |= dict.fromkeys((alert.message_id for alert in some), time.monotonic_ns())
        store.keep(some, ROUTES, time.time_ns())
        most = max(most, outbox.counts("room")["pending"])
    end_s = time.monotonic() + 120.0
    while (pending := outbox.counts("room")["pending"]) and time.monotonic() < end_s:
        most = max(most, pending)
        time.sleep(0.05)
    over_s = time.monotonic() - began_s
    grew_mb = _memory_mb() - before
    room.ask()
    names = [name for name, _ in sorted(room.got, key=lambda row: row[1])]
    came = room.until(len(said))
    by_alert: dict[str, list[int]] = {}
    for name in dict.fromkeys(names):
        alert_id, _, revision = name.rpartition("-r")
        by_alert.setdefault(alert_id, []).append(int(revision))
    wrong = sum(found != sorted(found) for found in by_alert.values())
    waits = [(came[name] - began_ns) / 1e6 for name, began_ns in begun.items()]
    return Storm(len(came), over_s, waits, most, wrong, len(names) - len(set(names)), grew_mb)


def storms_row(name: str, found: Storm) -> str:
    return (
        f"| shotfix on {name} | {found.sent:,d} | {found.over_s:.1f} | {statistics.median(found.waits_ms):.1f} | "
        f"{_p99(found.waits_ms):.1f} | {found.most_pending} | {found.out_of_order} | {found.twice} | "
        f"{found.grew_mb:.0f} |"
    )


def _storm_of_alerts():
    """Incidents of three tellings, some dozens under way at once."""
    lives = []
    for k in range(STORM // 3 + 1):
        desk = Desk()
        first = desk.receive(fix_at(f"s{k}"))
        desk.receive(fix_at(f"s{k}b", 0.5))
        lives.append([*first, *desk.tick(after(NIGHT_NS, 600.0))])
    said = []
    for start in range(0, len(lives), 30):
        for revision in range(3):
            said += [life[revision] for life in lives[start : start + 30]]
    return said[:STORM]


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
