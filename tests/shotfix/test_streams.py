"""Streams: what a node may forget is on the disk, whatever that refuses; and nothing that strangers say grows."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.detection import Clip
from acoustic.instant import SECOND
from sensors.chunk import AudioChunk
from sensors.health import Farewell, Heartbeat
from sensors.identity import Keyring, NodeKey
from sensors.message import MOST_RELEASED, Ack, Batch, Envelope
from sensors.snippet import LARGEST_FLAC_BYTES, Snippet
from sensors.spool import Spool
from sensors.transport import TransportError
from sensors.uplink import Pacing, Uplink
from sensors.wire import decode_batch, encode_ack
from shotfix import streams as streams_module
from shotfix.hearing_pool import Heard, Lost, Submitted
from shotfix.segment import JournalError
from shotfix.streams import Streams

NODE, SENSOR = "node-1", "roof-1"
BOOT, CENTRE_BOOT = "00c0ffee", "cafecafe"
NOW_NS = 1_795_000_000_000_000_000
REFUSED = JournalError("no space left on device")


class Pool:
    """What workers would say, said by hand."""

    def __init__(self):
        self.results, self.finished, self.became = [], [], Submitted.TAKEN

    def poll(self, _timeout_s):
        told, self.results = self.results, []
        return told

    def has_room(self, names):
        return list(names) == [SENSOR]

    def submit(self, *_):
        return self.became

    def finish(self, node_id, farewell):
        self.finished.append((node_id, farewell))


class Engine:
    """An engine whose disk takes and refuses as it is told."""

    def __init__(self):
        self.core = SimpleNamespace(registry=self)
        self.waiting, self.written = [], []

    def may_speak(self, node_id, sensor_id):
        return node_id == NODE and sensor_id.startswith("roof")

    def submit(self, kind, at_ns, body):
        assert (kind, at_ns) == ("heard", NOW_NS)
        done = Future()
        self.waiting.append((done, decode_batch(body)))
        return done

    def write(self, *, refuses=False):
        """One group."""
        group, self.waiting = self.waiting, []
        for done, batch in group:
            if refuses:
                done.set_exception(REFUSED)
            else:
                self.written += batch.envelopes
                done.set_result(True)

    @property
    def told(self):
        return [envelope.content for envelope in self.written]


class Centre:
    """Streams between a pool and an engine, moved by hand."""

    def __init__(self):
        self.pool, self.engine = Pool(), Engine()
        self.streams = Streams(self.pool, self.engine, SimpleNamespace(), CENTRE_BOOT, lambda: NOW_NS)

    def hear(self, *results):
        self.pool.results += results
        self.go_round()

    def go_round(self):
        """Once round the loop, and what was refused is due."""
        self.streams.run(SimpleNamespace(is_set=iter((False, True)).__next__))

    def write_all(self):
        while self.engine.waiting:
            self.engine.write()

    def told(self, node_id=NODE):
        return self.streams.told(Batch(node_id, NOW_NS, ()))[0]

    def took(self, content, sequence, boot_id=BOOT):
        """Whether the node must keep it; None where it is not ours."""
        envelope = Envelope(NODE, boot_id, sequence, content)
        return self.streams.take(NODE, envelope) if self.streams.is_ours(envelope) else None


@pytest.fixture
def centre():
    return Centre()


def beat(number):
    return Heartbeat(SENSOR, NOW_NS + number)


def chunk(sensor_id=SENSOR):
    return AudioChunk(sensor_id, "e", 0, 1, 16_000, 1, NOW_NS, False, None, 0, b"fLaC")


def sound(length):
    return Snippet(SENSOR, ("p",), Clip(NOW_NS, 1.0, "0" * 64), 16_000, bytes(length))


def test_what_the_disk_refuses_is_written_before_anything_of_its_node_is_released(centre):
    centre.hear(Heard(NODE, BOOT, None, (beat(1),)))
    centre.hear(Heard(NODE, BOOT, 1, (beat(2),)))
    centre.engine.write(refuses=True)
    centre.hear(Heard(NODE, BOOT, 2, (beat(3),)), Heard("other", BOOT, 5))
    assert centre.told() == {}
    assert centre.told("other") == {BOOT: 5}
    assert [b.envelopes[0].content for _, b in centre.engine.waiting] == [beat(1)]
    centre.write_all()
    assert centre.engine.told == [beat(1), beat(2), beat(3)]
    assert centre.told() == {BOOT: 2}
    assert centre.streams.counts["refused-by-disk"] == 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, LARGEST_FLAC_BYTES), st.booleans()), min_size=1, max_size=20)
)
def test_whenever_the_disk_refuses_all_is_written_once_and_in_order(steps):
    centre, said, released = Centre(), [], {}
    for number, (beats, length, refuses) in enumerate(steps):
        contents = (*(beat(10 * number + k) for k in range(beats)), *[sound(length)] * (length % 4))
        said.append(contents)
        centre.hear(Heard(NODE, BOOT, number, contents))
        centre.engine.write(refuses=refuses)
        released = centre.told()
        whole = [content for heard in said[: released.get(BOOT, -1) + 1] for content in heard]
        assert centre.engine.told[: len(whole)] == whole
    centre.go_round()
    centre.write_all()
    assert centre.engine.told == [content for heard in said for content in heard]
    assert centre.told() == {BOOT: len(steps) - 1}
    sequences = [envelope.sequence for envelope in centre.engine.written]
    assert sequences == sorted(set(sequences))
    assert centre.streams._unwritten_bytes == 0
    assert not centre.streams._outgoing


def test_what_waits_for_one_write_is_one_entry(centre):
    for number in range(100):
        centre.hear(Heard(NODE, BOOT, number, (beat(number),)))
    centre.engine.write()
    assert [len(b.envelopes) for _, b in centre.engine.waiting] == [99]


def test_a_disk_that_refuses_for_long_costs_no_more_memory_than_so_much(centre, monkeypatch):
    monkeypatch.setattr(streams_module, "MOST_UNWRITTEN_BYTES", 10_000)
    batch = Batch(NODE, NOW_NS, (Envelope(NODE, BOOT, 0, chunk()),))
    assert centre.streams.has_room(batch)
    centre.hear(Heard(NODE, BOOT, 0, (sound(10_000),)))
    assert not centre.streams.has_room(batch)
    assert centre.streams.has_room(Batch(NODE, NOW_NS, (Envelope(NODE, BOOT, 1, beat(1)),)))
    centre.engine.write(refuses=True)
    centre.go_round()
    assert not centre.streams.has_room(batch)
    centre.write_all()
    assert centre.streams.has_room(batch)


def test_of_however_many_boots_the_last_are_told(centre):
    boots = [f"{number:08x}" for number in range(2 * MOST_RELEASED)]
    for boot_id in boots:
        centre.hear(Heard(NODE, boot_id, 0))
    assert list(centre.told()) == boots[-8:]
    centre.hear(Heard(NODE, boots[-8], 1), Heard(NODE, "aaaaaaaa", 3))
    assert centre.told() == dict.fromkeys(boots[-6:], 0) | {boots[-8]: 1, "aaaaaaaa": 3}
    assert encode_ack(Ack(CENTRE_BOOT, NOW_NS, (), centre.told(), False))


def test_a_farewell_comes_again_until_it_is_on_the_disk(centre):
    goodbye = Farewell(SENSOR, NOW_NS + SECOND)
    assert centre.took(chunk(), 0)
    assert centre.took(goodbye, 1)  # the node has not heard yet that it is to send again
    assert not centre.pool.finished
    resumes = [centre.streams.told(Batch(NODE, NOW_NS, (Envelope(NODE, BOOT, k, chunk()),)))[1] for k in (0, 0, 1)]
    assert resumes == [True, True, False]
    assert centre.took(goodbye, 1)
    assert centre.took(goodbye, 1)
    assert centre.pool.finished == [(NODE, goodbye)]
    centre.hear(Heard(NODE, BOOT, 1, (beat(1), goodbye)))
    centre.engine.write(refuses=True)
    assert centre.took(goodbye, 1)
    centre.go_round()
    centre.write_all()
    assert centre.took(goodbye, 1) is False
    assert len(centre.pool.finished) == 1


@pytest.mark.parametrize("lost", [(), (0,), (1,), (0, 1, 2, 3)], ids=str)
def test_a_node_that_has_its_farewell_left_and_nothing_else_is_let_go(centre, tmp_path, lost):
    """After a restart the centre asks every node to send again; who has nothing to send must not be asked for ever."""
    key, tried = NodeKey.create(), []

    class Wire:
        async def exchange(self, sealed):
            batch = Keyring({NODE: key.public_text}).open_batch(sealed)
            tried.append(batch)
            held = tuple(k for k, e in enumerate(batch.envelopes) if centre.took(e.content, e.sequence))
            answer = encode_ack(Ack(CENTRE_BOOT, NOW_NS, held, *centre.streams.told(batch)))
            if len(tried) - 1 in lost:
                raise TransportError("the answer was lost")
            return answer

        async def close(self):
            pass

    async def end(uplink):
        stop = asyncio.Event()
        stop.set()
        await uplink.run(stop, 30.0)

    with Spool(tmp_path / "spool.db", BOOT, NODE) as spool:
        spool.put_all([Farewell(SENSOR, NOW_NS)])
        asyncio.run(end(Uplink(spool, key, Wire(), lambda: NOW_NS, Pacing(first_wait_s=0.001))))
        assert spool.batch(NOW_NS) is None
    assert len(tried) <= 3 + len(lost)
    assert tried[-1].envelopes
    assert not centre.pool.finished, "it is no stream's end: the engine takes it"


def test_the_same_night_played_again_ends_again(centre):
    goodbye = Farewell(SENSOR, NOW_NS + SECOND)
    centre.streams._of(NODE).resume = False
    for times, boot_id in enumerate((BOOT, "11c0ffee"), start=1):
        assert centre.took(chunk(), 0, boot_id)
        assert centre.took(goodbye, 1, boot_id)
        assert len(centre.pool.finished) == times
        centre.hear(Heard(NODE, boot_id, 0, (goodbye,)))
        centre.write_all()
        assert centre.took(goodbye, 1, boot_id) is False
    for sequence in range(2, 200):
        assert centre.took(Farewell(SENSOR, NOW_NS + sequence * SECOND), sequence, boot_id)
        centre.hear(Heard(NODE, boot_id, 0, (centre.pool.finished[-1][1],)))
        centre.write_all()
    assert len(centre.streams._parted) == 1
    assert not centre.streams._parting


def test_names_that_are_not_ones_own_leave_nothing_behind(centre):
    for number in range(50):
        assert centre.took(chunk(f"invented-{number}"), number) is False
        assert centre.took(Farewell(f"invented-{number}", NOW_NS), number) is None
        assert centre.took(beat(number), number) is None
    assert centre.streams.counts["not-its-sensor"] == 50
    assert not centre.streams._streaming
    assert not centre.streams._parting


def test_sound_that_workers_refuse_is_kept_by_its_node_and_a_farewell_waits_for_it(centre):
    centre.streams._of(NODE).resume = False
    centre.pool.became = Submitted.FULL
    assert centre.took(chunk(), 0)
    centre.streams._of(NODE).resume = False
    assert centre.took(Farewell(SENSOR, NOW_NS), 1)
    assert not centre.pool.finished
    centre.pool.became = Submitted.UNKNOWN
    assert centre.took(chunk(), 0) is False
    assert centre.took(Farewell(SENSOR, NOW_NS), 1)
    assert centre.pool.finished


def test_a_worker_that_died_has_its_nodes_send_again(centre):
    centre.streams._of(NODE).resume = False
    centre.hear(Lost((SENSOR,), (NODE,)))
    assert centre.streams.told(Batch(NODE, NOW_NS, ()))[1]


def test_the_doors_thread_waits_for_the_lock(centre):
    entered = threading.Event()
    with centre.streams._lock:
        asking = threading.Thread(
            target=lambda: (centre.streams.is_ours(Envelope(NODE, BOOT, 0, Farewell(SENSOR, NOW_NS))), entered.set())
        )
        asking.start()
        assert not entered.wait(0.05)
    assert entered.wait(60.0)
    asking.join()
