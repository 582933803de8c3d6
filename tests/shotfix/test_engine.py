"""The engine: on the disk, acknowledged, thought about, kept; killed at any moment, refused by any disk."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import struct
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from acoustic.instant import SECOND
from alerts.alert import encode
from alerts.delivery import Route
from alerts.record.store import Store, StoreError
from shotfix.clips import ClipStore
from shotfix.engine import Engine
from shotfix.entries import batch_in
from shotfix.journal import Journal
from shotfix.journal_replay import CHARTER, replay_journal
from shotfix.keeping import Keeping
from shotfix.segment import JournalError
from tests.cities import SmallCity, small_city

pytestmark = pytest.mark.xdist_group("engine")
WINDOW = 40  # batches under way at a time
PATIENCE_S = 120.0
_INDEX = struct.Struct("<I")


@pytest.fixture(scope="module")
def city() -> SmallCity:
    return small_city()


@pytest.fixture(scope="module")
def undisturbed(city, tmp_path_factory) -> dict[str, dict]:
    """The last revision of every incident where nothing goes wrong."""
    data = tmp_path_factory.mktemp("undisturbed")
    with opened(city, data) as engine:
        for batch, sealed in city.all_sealed():
            engine.submit("batch", time.time_ns(), sealed, batch)
        settle(engine)
    return last(data)


@contextlib.contextmanager
def opened(city: SmallCity, data: Path, journal_type=Journal):
    """A centre without its doors."""
    (data / CHARTER).write_bytes(city.charter.encode())
    with journal_type(data / "journal") as journal, Store(data / "record.db") as store:
        keeping = Keeping(store, [Route("control-room")], ClipStore(data / "audio"), time.time_ns)
        yield Engine(city.charter, city.registry, journal, data / "checkpoints", keeping, time.time_ns)


def settle(engine: Engine) -> None:
    """Until everything is taken and every incident is closed."""
    ends = time.monotonic() + PATIENCE_S
    quiet = 0
    while quiet < 8:
        before = engine._journal.end
        engine.step(0.02)
        quiet = quiet + 1 if engine._journal.end == before and not engine._decided else 0
        assert time.monotonic() < ends


def last(data: Path) -> dict[str, dict]:
    with Store(data / "record.db") as store:
        return {alert.incident_id: json.loads(encode(alert)) for alert in store.alerts()}


def everything(data: Path) -> list[bytes]:
    with Store(data / "record.db") as store:
        return [encode(alert) for alert in store.alerts()]


def replayed(data: Path, out: Path) -> list[bytes]:
    out.mkdir()
    replay_journal(data, out)
    return (out / "alerts.jsonl").read_bytes().splitlines()


def test_a_city_is_told_of(undisturbed):
    rounds = [r for alert in undisturbed.values() for r in alert["rounds"] if r["east"] is not None]
    assert len(rounds) > 10


def test_its_journal_replays_to_the_same_alerts_byte_for_byte(city, tmp_path):
    with opened(city, tmp_path) as engine:
        for batch, sealed in city.all_sealed():
            engine.submit("batch", time.time_ns(), sealed, batch)
        settle(engine)
    assert replayed(tmp_path, tmp_path / "again") == everything(tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_another_order_of_arrival_ends_the_same(city, tmp_path, undisturbed, seed):
    """Each node's words in their order, as a spool keeps it; but some nodes up to 8 s behind others."""
    dice = random.Random(seed)  # noqa: S311  (dice, no secrets)
    came_ns: dict[str, int] = {}
    turns = []
    for number, (at_ns, batch) in enumerate(city.batches):
        came_ns[batch.node_id] = max(came_ns.get(batch.node_id, 0), at_ns + dice.randrange(8 * SECOND))
        turns.append((came_ns[batch.node_id], number))
    with opened(city, tmp_path) as engine:
        for batch, sealed in map(city.sealed, [number for _, number in sorted(turns)]):
            engine.submit("batch", time.time_ns(), sealed, batch)
        settle(engine)
    assert told(last(tmp_path)) == told(undisturbed)


def test_what_comes_twice_counts_once(city, tmp_path, undisturbed):
    with opened(city, tmp_path) as engine:
        for batch, sealed in city.all_sealed():
            for _ in range(2):
                engine.submit("batch", time.time_ns(), sealed, batch)
        settle(engine)
        batch, sealed = city.sealed(0)
        engine.submit("batch", time.time_ns(), sealed, batch)
        before = engine._journal.end
        engine.step(0.01)
        assert engine._journal.end == before
        assert engine.pulse.repeated > 0
    assert told(last(tmp_path)) == told(undisturbed)


def told(incidents: dict[str, dict]) -> dict[str, tuple]:
    """What an incident finally says, without how often it was revised on the way there."""
    ways = {"revision", "supersedes", "reason", "published_at", "kind"}
    return {name: {key: value for key, value in alert.items() if key not in ways} for name, alert in incidents.items()}


# kills


def test_killed_at_random_points_it_loses_nothing_and_tells_nothing_twice(city, tmp_path, undisturbed):
    killed(city, tmp_path, undisturbed, kills=20, seed=1)


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(10))
def test_killed_a_thousand_times(city, tmp_path, undisturbed, seed):
    killed(city, tmp_path, undisturbed, kills=100, seed=seed)


def killed(city: SmallCity, data: Path, undisturbed: dict[str, dict], kills: int, seed: int) -> None:
    """Feed a centre that is killed again and again; what it did not acknowledge is sent again, as nodes do."""
    dice = random.Random(seed)  # noqa: S311
    waiting = deque(range(len(city.batches)))
    per_life = len(waiting) / kills
    for _ in range(kills):
        life(city, data, waiting, acks=round(dice.uniform(0.2, 1.8) * per_life), dice=dice)
    life(city, data, waiting, acks=None, dice=dice)
    assert not waiting
    assert told(last(data)) == told(undisturbed)
    stored = everything(data)
    names = [(alert["alert_id"], alert["revision"]) for alert in map(json.loads, stored)]
    assert len(set(names)) == len(names)
    assert sorted(replayed(data, data / "again")) == sorted(stored)


def life(city: SmallCity, data: Path, waiting: deque, acks: int | None, dice: random.Random) -> None:
    """One life of the centre, from its start to its kill soon after so many acknowledgements; None: to its end."""
    here, there = (os.pipe(), os.pipe())
    child = os.fork()
    if child == 0:
        try:
            os.close(here[1])
            os.close(there[0])
            serve(city, data, here[0], there[1])
        finally:
            os._exit(1)
    os.close(here[0])
    os.close(there[1])
    sent: set[int] = set()
    try:
        with os.fdopen(here[1], "wb", buffering=0) as to, os.fdopen(there[0], "rb", buffering=0) as back:
            done = 0
            while (waiting or sent) and (acks is None or done < acks):
                while waiting and len(sent) < WINDOW:
                    number = waiting.popleft()
                    sent.add(number)
                    _, sealed = city.sealed(number)
                    to.write(_INDEX.pack(number) + _INDEX.pack(len(sealed)) + sealed)
                (number,) = _INDEX.unpack(exactly(back, _INDEX.size))
                sent.discard(number)
                done += 1
            if acks is not None:
                time.sleep(dice.choice([0.0, dice.random() * 0.05]))
                os.kill(child, signal.SIGKILL)
    finally:
        # Oldest first again, as a spool would.
        waiting.extendleft(sorted(sent, reverse=True))
        if acks is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert acks is not None or status == 0


def exactly(stream, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = stream.read(size - len(got))
        assert piece, "the centre ended by itself"
        got += piece
    return got


def serve(city: SmallCity, data: Path, source: int, answers: int) -> None:
    """The child: takes batches from a pipe, answers with their numbers when they are on the disk."""
    lock = threading.Lock()

    def answer(number: int, done) -> None:
        if done.exception() is None:
            with lock, contextlib.suppress(BrokenPipeError):
                os.write(answers, _INDEX.pack(number))

    with opened(city, data) as engine:
        stop = threading.Event()
        worker = threading.Thread(target=engine.run, args=(stop,))
        worker.start()
        with os.fdopen(source, "rb") as stream:
            while head := stream.read(2 * _INDEX.size):
                number, size = struct.unpack("<II", head)
                sealed = stream.read(size)
                done = engine.submit("batch", time.time_ns(), sealed, batch_in(sealed))
                done.add_done_callback(lambda done, number=number: answer(number, done))
        stop.set()
        worker.join()
        settle(engine)
    os._exit(0)


# disks


class FullNow(Journal):
    """A journal whose disk is full whenever the test says so."""

    full = False

    def flush(self) -> int:
        if type(self).full:
            with self._guard:
                self._pending.clear()
            raise JournalError("the disk is full: make room")
        return super().flush()


def test_a_full_disk_sends_senders_back_and_everything_goes_on_when_there_is_room(city, tmp_path, undisturbed):
    refused = 0
    with opened(city, tmp_path, FullNow) as engine:
        for number, (batch, sealed) in enumerate(city.all_sealed()):
            FullNow.full = number % 7 in {3, 4}
            done = engine.submit("batch", time.time_ns(), sealed, batch)
            engine.step(0.0)
            if done.exception() is not None:
                refused += 1
                assert engine.not_ready(time.time_ns())
                FullNow.full = False
                assert engine.submit("batch", time.time_ns(), sealed, batch) is not None
                engine.step(0.0)
        FullNow.full = False
        settle(engine)
    assert refused > 50
    assert told(last(tmp_path)) == told(undisturbed)


def test_alerts_wait_for_a_store_that_refuses_them(city, tmp_path, undisturbed, monkeypatch):
    with opened(city, tmp_path) as engine:
        keep = engine._keeper.keep
        tries = []

        def sometimes(alerts):
            tries.append(len(alerts))
            if len(tries) % 3:
                raise StoreError("the disk is full: make room")
            keep(alerts)

        monkeypatch.setattr(engine._keeper, "keep", sometimes)
        for batch, sealed in city.all_sealed():
            engine.submit("batch", time.time_ns(), sealed, batch)
        settle(engine)
        engine._save()
        engine._save()
        engine._save()
        assert engine.pulse.store_refused > 0
    assert told(last(tmp_path)) == told(undisturbed)


# beginnings


def test_another_configuration_begins_anew_and_listens_back(city, tmp_path):
    half = len(city.batches) // 2
    with opened(city, tmp_path) as engine:
        for batch, sealed in map(city.sealed, range(half)):
            engine.submit("batch", time.time_ns(), sealed, batch)
        settle(engine)
    changed = SmallCity(renamed(city), city.registry, city.keys, city.batches)
    with opened(changed, tmp_path) as engine:
        for batch, sealed in city.all_sealed():
            engine.submit("batch", time.time_ns(), sealed, batch)
        settle(engine)
        assert engine.pulse.repeated > 0  # it knows what it has: it listened back
    assert sorted(replayed(tmp_path, tmp_path / "again")) == sorted(everything(tmp_path))


def renamed(city: SmallCity):
    return replace(city.charter, name="another name")


def test_an_entry_that_fails_is_passed_over_live_and_in_a_replay(city, tmp_path, monkeypatch, caplog):
    with opened(city, tmp_path) as engine:
        for number, (batch, sealed) in enumerate(city.all_sealed()):
            engine.submit("batch", time.time_ns(), sealed, batch)
            if number == 40:
                engine.submit("tick", time.time_ns(), b"three")
        settle(engine)
        assert engine.core.counts["not-taken"] == 1
    assert "was not taken" in caplog.text
    assert replayed(tmp_path, tmp_path / "again") == everything(tmp_path)
