"""Kills a whole centre in which people decide, again and again, at moments of chance and at the worst ones.

    python -m tests.kill_acts WHERE FOLDER KILLS SEED

``WHERE`` is the record: a path, or the address of a database. The process that is killed is a centre without its doors:
the engine with its journal and its checkpoints, two people who judge, place, merge, split and undo, and a pump with a
webhook; the receiver is another process and is not killed. Some of what people decide is written and not handed to the
engine, as when a kill or a full disk comes in between: the next start has to find it. Whoever kills keeps the books of
what was answered. Prints one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import sqlalchemy as sa

from acoustic.instant import SECOND
from alerts.act import JUDGEMENTS
from alerts.couriers.bounded_http import BoundedHttp
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Webhook
from alerts.delivery import Route
from alerts.policy import OUTCOMES
from alerts.record import tables
from alerts.record.ledger import Ledger
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from alerts.review import acts as acts_room
from alerts.review.acts import last_said
from alerts.review.errors import ReviewError
from alerts.review.reviews import ReviewRules, Reviews
from shotfix import engine as engine_room
from shotfix import keeping as keeping_room
from shotfix.clips import ClipStore
from shotfix.engine import Engine
from shotfix.entries import act_body
from shotfix.journal import Journal
from shotfix.journal_replay import CHARTER
from shotfix.keeping import Keeping
from shotfix.outbox_pump import Pump
from shotfix.warming import warm_locator
from tests.cities import small_city
from tests.kill_books import audit
from tests.kill_telling import ROOM, SECRET, aim, persistently, receiver

POINTS = (
    (Reviews, "_with", "after"),
    (Ledger, "append", "before"),
    (Ledger, "append", "after"),
    (Engine, "_write", "before"),
    (Engine, "_write", "after"),
    (Engine, "_take", "after"),
    (Engine, "_checkpoint", "before"),
    (Engine, "_checkpoint", "after"),
    (Keeping, "keep", "before"),
    (Keeping, "keep", "after"),
    (keeping_room, "pass_over", "before"),
    (keeping_room, "pass_over", "after"),
    (Keeping, "pass_over", "after"),
    (BoundedHttp, "post", "after"),
    (Outbox, "settle_many", "before"),
    (Outbox, "settle_many", "after"),
)
"""Where a kill hurts most: an act that is written and not submitted, or in the journal and not thought about, a revision
that is thought of and not kept, what is put aside and not yet committed, what was received and not settled."""

TOGETHER = 6  # batches that are handed over at once
PRELUDE = 20  # groups of batches before the first kill: until there is something to decide about
WITHHELD = 0.25  # of the acts, written and not handed to the engine in this life
DECISIONS = 8  # that each of the two comes to in a life, at most and about
QUIET_S = 0.4
PATIENCE_S = 120.0
ALL = tuple(OUTCOMES)


class Person:
    """Somebody who decides what comes to mind, sometimes several things before the first was answered."""

    def __init__(self, who, reviews, submit, rng, said):
        self.who, self.reviews, self.submit, self.rng, self.said = who, reviews, submit, rng, said
        self.decided = 0
        self.kinds = [
            self.judge,
            self.judge,
            self.adjudicate,
            self.place,
            self.merge,
            self.split,
            self.split,
            self.undo,
        ]

    def decide(self):
        with self.reviews.store.reading() as connection:
            names = connection.execute(sa.select(tables.incident.c.incident_id)).scalars().all()
        if not names:
            return
        name, version = self.rng.choice(names), None
        for kind in self.rng.choices(self.kinds, k=self.rng.randint(1, 3)):
            try:
                head = self.reviews.head(name)
                with self.reviews.store.reading() as connection:
                    alert = last_said(connection, head.alert_id)
                told = {"expected_version": version or head.version, "note": f"{self.rng.random()}"}
                decision = kind(names, name, alert, told)
            except ReviewError:
                return
            if decision is None:
                continue
            version = decision.head.version
            self.decided += 1
            self.said(decision.act.act_id)
            if self.rng.random() > WITHHELD:
                self.submit(decision)

    def judge(self, _names, name, _alert, told):
        return self.reviews.judge(name, self.who, time.time_ns(), self.rng.choice(JUDGEMENTS), **told)

    def adjudicate(self, _names, name, _alert, told):
        return self.reviews.adjudicate(name, self.who, time.time_ns(), self.rng.choice(JUDGEMENTS), **told)

    def place(self, _names, name, _alert, told):
        degrees = 41.76 + self.rng.uniform(-0.01, 0.01), -72.69, 20.0
        return self.reviews.place(name, self.who, time.time_ns(), *degrees, **told)

    def merge(self, names, name, _alert, told):
        return self.reviews.merge(name, self.who, time.time_ns(), self.rng.choice(names), **told)

    def split(self, _names, name, alert, told):
        if len(alert.rounds) < 2:
            return None
        some = self.rng.sample([one.shot_id for one in alert.rounds], self.rng.randint(1, len(alert.rounds) - 1))
        return self.reviews.split(name, self.who, time.time_ns(), tuple(some), **told)

    def undo(self, _names, name, alert, told):
        if alert.review is None:
            return None
        return self.reviews.undo(name, self.who, time.time_ns(), self.rng.choice(alert.review.acts), **told)


class Centre:
    """A centre without its doors: what of it a kill can hurt."""

    def __init__(self, where, data, port, city):
        self.store = persistently(lambda: Store(where))
        self.outbox = Outbox(self.store)
        self.reviews = Reviews(self.store, ReviewRules(second_share=0.0, second_when_overruled=False))
        self.journal = Journal(data / "journal")
        keeping = Keeping(self.store, [Route(ROOM, ALL)], ClipStore(data / "audio"), time.time_ns)
        keeping.hand_over = self.submit
        self.engine = Engine(city.charter, city.registry, self.journal, data / "checkpoints", keeping, time.time_ns)
        webhook = Webhook(ROOM, Destination(f"http://127.0.0.1:{port}/", allow_private=True), [SECRET])
        self.stop = threading.Event()
        self.pump = Pump(self.outbox, webhook, time.time_ns, self.stop.wait)
        self.threads = [
            threading.Thread(target=self.engine.run, args=(self.stop,)),
            threading.Thread(target=self.pump.run, args=(self.stop.is_set,)),
        ]

    def begin(self):
        for thread in self.threads:
            thread.start()
        for decision in self.reviews.pending():
            self.submit(decision)

    def submit(self, decision) -> Future[bool]:
        body = act_body(decision.act, decision.known, decision.earlier)
        return self.engine.submit("act", time.time_ns(), body)

    def settle(self):
        """Wait until nothing moves: the journal does not grow, all is kept, told, and carried."""
        ends, seen, since = time.monotonic() + PATIENCE_S, None, 0.0
        while time.monotonic() < ends:
            waits = self.engine._unsaved or self.outbox.counts(ROOM)["pending"]
            now = None if waits else (self.journal.end, self.store.changes)
            if now is None or now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > QUIET_S:
                return
            time.sleep(0.02)
        raise TimeoutError("it does not come to rest")

    def end(self):
        self.stop.set()
        self.outbox.wake()
        for thread in self.threads:
            thread.join()
        self.journal.close()
        self.store.close()


def serve(where, data, port, city, start, pipe, rng, *, to_the_end, prelude):
    """One life: take up what was left, feed what the nodes say while people decide; to the end where nobody kills it."""
    engine_room.CHECKPOINT_NS = rng.choice([SECOND // 20, 60 * SECOND])
    if rng.random() < 0.5:  # acts that will make no sense, as when two are written at once: they must be put aside
        acts_room._expect_settled = lambda *_: None
    centre = Centre(where, data, port, city)
    centre.begin()

    def say(word):
        os.write(pipe, f"{word}\n".encode())

    people = [
        Person(who, centre.reviews, centre.submit, random.Random(rng.random()), lambda act_id: say(f"act {act_id}"))  # noqa: S311
        for who in ("ann", "bob")
    ]
    over = threading.Event()

    def deciding(person):
        try:
            while person.decided < DECISIONS and not over.is_set():
                person.decide()
                time.sleep(person.rng.uniform(0.0, 0.02))
        except BaseException as error:  # noqa: BLE001
            say(f"error {error!r}")

    threads = [threading.Thread(target=deciding, args=(person,)) for person in ([] if to_the_end else people)]
    for thread in threads:
        thread.start()
    groups = PRELUDE if prelude else rng.randint(2, 8)
    far = len(city.batches) if to_the_end else start + TOGETHER * groups
    for first in range(start, min(far, len(city.batches)), TOGETHER):
        group = range(first, min(first + TOGETHER, len(city.batches)))
        given = [
            centre.engine.submit("batch", time.time_ns(), sealed, batch) for batch, sealed in map(city.sealed, group)
        ]
        for future in given:
            future.result()
        say(f"fed {group[-1] + 1}")
        if not to_the_end:
            time.sleep(rng.uniform(0.0, 0.02))
    if to_the_end:
        centre.settle()
        centre.end()
        say("told")
        return
    ends = time.monotonic() + PATIENCE_S / 4
    while prelude and not all(person.decided for person in people) and time.monotonic() < ends:
        time.sleep(0.02)
    time.sleep(0.3)
    over.set()
    for thread in threads:
        thread.join()
    os.kill(os.getpid(), signal.SIGKILL)  # whoever was to kill it has not come yet


def one_life(where, data, port, city, start, rng, *, to_the_end=False, prelude=False):
    """Let it live for a while, then kill it; what was fed, what was answered, the point."""
    aimed = not to_the_end and not prelude and rng.random() < 0.6
    point, number = (rng.choice(POINTS), rng.randint(1, 5)) if aimed else (None, 0)
    lines, delay_s = rng.choice([1, 3, 10, 30]), rng.uniform(0.0, 0.05)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            if point is not None:
                aim(point, number)
            serve(where, data, port, city, start, writer, rng, to_the_end=to_the_end, prelude=prelude)
        except BaseException as error:  # noqa: BLE001
            os.write(writer, f"error {error!r}\n".encode())
        os._exit(0)
    os.close(writer)
    heard = b""
    most = 120 if aimed or prelude else lines
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while to_the_end or heard.count(b"\n") < most:
            piece = pipe.read(65_536)
            heard += piece
            if not piece:
                break
        if not to_the_end:
            time.sleep(delay_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        while piece := pipe.read(65_536):
            heard += piece
    os.waitpid(child, 0)
    words = [word.partition(" ")[::2] for word in heard.decode().split("\n")[:-1]]
    wrong = [said for word, said in words if word == "error"]
    assert not wrong, wrong
    fed = max((int(said) for word, said in words if word == "fed"), default=start)
    return fed, [said for word, said in words if word == "act"], point, ("told", "") in words


def main(where, folder, kills, seed):
    logging.disable(logging.CRITICAL)
    where = where if where.startswith("postgresql:") else Path(where)
    rng, folder = random.Random(seed), Path(folder)  # noqa: S311
    data = folder / "data"
    data.mkdir()
    city = small_city(sensors=9, seconds=16.0 + 2.5 * kills)
    (data / CHARTER).write_bytes(city.charter.encode())
    warm_locator()
    persistently(lambda: Store(where).close())
    receiving, port = receiver(folder / "received.jsonl")
    points, answered, fed, lives = Counter(), [], 0, 0
    more = []
    try:
        while lives < kills:
            fed, acts, point, _ = one_life(where, data, port, city, fed, rng, prelude=not lives)
            answered += acts
            lives += 1
            points["chance" if point is None else f"{point[2]} {point[0].__name__}.{point[1]}"] += 1
        for _ in range(2):  # and once more: nothing is left for another start
            fed, _, _, told = one_life(where, data, port, city, fed, rng, to_the_end=True)
            assert told
            with Store(where) as store:
                more.append(sum(store.counts().values()))
    finally:
        os.kill(receiving, signal.SIGTERM)
        os.waitpid(receiving, 0)
    found = persistently(lambda: audit(where, data, folder / "received.jsonl", answered))
    print(json.dumps({"kills": lives, "said at another start": more[1] - more[0], **found, "points": dict(points)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
