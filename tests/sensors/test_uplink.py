"""The uplink: what it sends and when, what it keeps when the centre says no, and whom it blames."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.detection import Detection
from acoustic.pick import Pick
from sensors.health import Heartbeat
from sensors.identity import Keyring, NodeKey
from sensors.sieve import Sieve
from sensors.spool import Spool
from sensors.transport import LARGEST_SEALED_BYTES, TransportError
from sensors.uplink import Pacing, Uplink
from sensors.wire import LARGEST_BATCH_BYTES, Ack, Batch, Envelope, encode_ack

KEY = NodeKey.create()
RING = Keyring({"node-1": KEY.public_text})
BOOT = "0123abcd"
NOW_NS = 1_795_000_000_000_000_000
QUICK = Pacing(gather_s=0.01, first_wait_s=0.001, longest_wait_s=0.004, refused_wait_s=0.004)
PATIENCE_S = 30.0


def beat(number=0):
    return Heartbeat("roof-1", NOW_NS + number)


def bang(number=0):
    return Detection(f"p{number}", "roof-1", Pick(NOW_NS + number, 1e-4))


def envelope(number):
    return Envelope("node-1", BOOT, number, beat(number))


class Centre:
    """A transport whose centre answers as it is told: each entry of ``script`` is an error or None, then always yes."""

    def __init__(self, script=(), judge=None):
        self.script = list(script)
        self.judge = judge or (lambda batch: None)
        self.tried, self.taken = [], []
        self.closed = 0
        self.came = asyncio.Event()

    async def exchange(self, sealed):
        await asyncio.sleep(0)
        batch = RING.open_batch(sealed)
        assert len(sealed) <= LARGEST_SEALED_BYTES
        self.tried.append(batch)
        self.came.set()
        said = self.script.pop(0) if self.script else None
        said = self.judge(batch) if said is None else said
        if isinstance(said, bytes):
            return said
        if said is not None:
            raise said
        self.taken.extend(batch.envelopes)
        return encode_ack(Ack("centre-1", NOW_NS))

    async def close(self):
        self.closed += 1


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool.db", BOOT, "node-1") as opened:
        yield opened


def drained(spool, centre, pacing=QUICK, **options):
    """Everything is sent that can be; the uplink, as it stands then."""
    uplink = Uplink(spool, KEY, centre, lambda: NOW_NS, pacing, **options)

    async def all_of_it():
        stop = asyncio.Event()
        stop.set()
        await uplink.run(stop, PATIENCE_S)

    asyncio.run(all_of_it())
    return uplink


async def until(true):
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110  (what is waited for knows nothing of events)
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def running(uplink):
    stop = asyncio.Event()
    task = asyncio.create_task(uplink.run(stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=PATIENCE_S)


# What is sent


def test_everything_arrives_once_and_in_order(spool):
    for number in range(300):
        spool.put(beat(number) if number % 7 else bang(number))
    centre = Centre()
    uplink = drained(spool, centre)
    assert [e.sequence for e in centre.taken] == list(range(300))
    assert (uplink.state.connected, uplink.state.words, uplink.state.messages) == (True, "", 300)
    assert uplink.state.failed == 0
    assert spool.batch(NOW_NS, LARGEST_BATCH_BYTES) is None
    assert centre.closed == 1


def test_heartbeats_gather_and_a_detection_takes_them_along_at_once(spool):
    centre = Centre()
    uplink = Uplink(spool, KEY, centre, lambda: NOW_NS, Pacing(gather_s=60.0))

    async def play():
        async with running(uplink):
            await until(lambda: uplink.state.caught_up_ns is not None)
            assert uplink.put(beat(1), beat(2)) == (0, 1)
            await asyncio.sleep(0.05)
            assert not centre.tried
            threading.Thread(target=uplink.put, args=(bang(3),)).start()
            await until(lambda: len(centre.taken) == 3)

    asyncio.run(play())
    assert [len(batch.envelopes) for batch in centre.tried] == [3]


def test_heartbeats_alone_go_when_they_have_gathered(spool):
    centre = Centre()
    uplink = Uplink(spool, KEY, centre, lambda: NOW_NS, Pacing(gather_s=0.05))

    async def play():
        async with running(uplink):
            await until(lambda: uplink.state.caught_up_ns is not None)
            for number in range(5):
                uplink.put(beat(number))
            await until(lambda: len(centre.taken) == 5)

    asyncio.run(play())
    assert len(centre.tried) < 5


def test_a_stop_leaves_what_is_not_sent_in_the_spool(spool):
    spool.put(bang())

    class Silent(Centre):
        async def exchange(self, sealed):
            self.came.set()
            await asyncio.sleep(3600)

    centre = Silent()
    uplink = Uplink(spool, KEY, centre, lambda: NOW_NS, QUICK)

    async def play():
        async with running(uplink):
            await centre.came.wait()

    asyncio.run(play())
    assert centre.closed == 1
    assert len(spool.batch(NOW_NS, LARGEST_BATCH_BYTES).envelopes) == 1


def test_what_breaks_in_the_node_is_not_swallowed():
    class Broken:
        def batch(self, sent_ns, most_bytes):
            raise RuntimeError("no spool")

    centre = Centre()
    with pytest.raises(RuntimeError, match="no spool"):
        drained(Broken(), centre)
    assert centre.closed == 1


# What is kept


@pytest.mark.parametrize("status", [None, 401, 500, 502, 503])
def test_what_is_no_fault_of_a_message_costs_no_message(spool, status):
    spool.put_all(map(bang, range(40)))
    centre = Centre([TransportError("no", status)] * 6)
    uplink = drained(spool, centre)
    assert [e.sequence for e in centre.taken] == list(range(40))
    assert uplink.state.set_aside == 0
    assert uplink.state.failed == 6
    kind = {401: "refused", 503: "unavailable"}.get(status, "unanswered")
    assert getattr(uplink.state, kind) == 6


@pytest.mark.parametrize("answer", [b"", b"<html>log in here</html>", bytes(100)])
def test_an_answer_that_is_none_releases_nothing(spool, answer):
    spool.put(bang())
    centre = Centre([answer] * 3)
    uplink = drained(spool, centre)
    assert len(centre.tried) == 4
    assert uplink.state.bad_answers == 3


def test_each_attempt_carries_its_own_time(spool):
    spool.put(bang())
    clock = iter(range(NOW_NS, NOW_NS + 10**6))
    centre = Centre([TransportError("no")] * 3)
    uplink = Uplink(spool, KEY, centre, lambda: next(clock), QUICK)

    async def play():
        async with running(uplink):
            await until(lambda: centre.taken)

    asyncio.run(play())
    sent = [batch.sent_ns for batch in centre.tried]
    assert sent == sorted(set(sent))


# Whom it blames


def test_messages_that_the_centre_refuses_are_set_aside_and_the_rest_goes_on(spool):
    spool.put_all(map(bang, range(200)))
    poison = {0, 1, 2, 3, 57, 58, 198}
    no = TransportError("no such field", 400)
    centre = Centre(judge=lambda batch: no if {e.sequence for e in batch.envelopes} & poison else None)
    aside = []
    uplink = drained(spool, centre, aside=lambda message, words: aside.append((message.sequence, words)))
    assert {e.sequence for e in centre.taken} == set(range(200)) - poison
    assert sorted(aside) == [(number, "no such field") for number in sorted(poison)]
    assert uplink.state.set_aside == len(poison)
    assert spool.batch(NOW_NS, LARGEST_BATCH_BYTES) is None


def test_the_disk_is_never_waited_for_in_the_loop(spool):
    threads = []
    settle = spool.settle
    spool.settle = lambda *given: (threads.append(threading.current_thread()), settle(*given))[1]
    spool.put_all(map(bang, range(20)))
    no = TransportError("no such field", 400)
    uplink = drained(spool, Centre(judge=lambda batch: no if 3 in {e.sequence for e in batch.envelopes} else None))
    assert uplink.state.set_aside == 1
    assert len(threads) >= 2
    assert threading.main_thread() not in threads


def test_a_centre_that_refuses_everything_takes_nothing_from_the_node(spool):
    spool.put_all(map(bang, range(50)))
    centre = Centre([TransportError("version 2: this program speaks 1", 400)] * 100)
    uplink = drained(spool, centre)
    assert {e.sequence for e in centre.taken} == set(range(50))
    assert uplink.state.set_aside == 0
    assert uplink.state.malformed == 100


def test_too_large_is_halved(spool):
    spool.put_all(map(bang, range(400)))
    too_large = TransportError("too large", 413)
    centre = Centre(judge=lambda batch: too_large if len(batch.envelopes) > 30 else None)
    uplink = drained(spool, centre)
    assert [e.sequence for e in centre.taken] == list(range(400))
    assert uplink.state.set_aside == 0
    assert 0 < uplink.state.too_large < 40


@given(st.integers(1, 60), st.data())
def test_law_of_the_sieve(count, data):
    """Good messages all arrive; the bad are given up when, and only when, the centre took a good one after them."""
    poison = data.draw(st.sets(st.integers(0, count - 1)))
    waiting = {number: envelope(number) for number in range(count)}
    sieve, taken, given_up = Sieve(), set(), set()
    steps = 0
    while waiting and steps < 40 * (len(poison) + 1):
        steps += 1
        part = sieve.choose(Batch("node-1", NOW_NS, tuple(waiting.values())))
        numbers = [e.sequence for e in part.envelopes]
        assert numbers
        assert numbers == sorted(numbers)
        if not poison & set(numbers):
            sieve.accepted(part)
            taken.update(numbers)
        elif (lost := sieve.refused(part)) is not None:
            given_up.add(lost.sequence)
            numbers = [lost.sequence]
        else:
            continue
        for number in numbers:
            del waiting[number]
    good = set(range(count)) - poison
    assert taken == good
    assert given_up == {number for number in poison if good and number < max(good)}


def test_the_sieve_lets_an_empty_batch_pass():
    sieve = Sieve()
    asking = Batch("node-1", NOW_NS, ())
    assert sieve.choose(asking) == asking
    assert sieve.refused(asking) is None


# How long it waits


@given(
    st.integers(1, 10_000),
    st.floats(0.0, 1.0, exclude_max=True),
    st.floats(0.001, 10.0),
    st.floats(0.0, 0.9),
)
def test_waits_grow_to_their_bound(failures, draw, first_s, jitter):
    pacing = Pacing(first_wait_s=first_s, longest_wait_s=30.0, refused_wait_s=30.0, jitter=jitter)
    wait_s = pacing.wait_s(failures, draw)
    assert first_s * (1.0 - jitter) <= wait_s <= 30.0
    assert pacing.wait_s(failures + 1, draw) >= wait_s
    assert pacing.wait_s(10_000, 0.0) == 30.0


def test_an_answer_sets_the_wait_back_and_a_refused_node_asks_rarely(spool):
    uplink = Uplink(spool, KEY, Centre(), lambda: NOW_NS, Pacing(jitter=0.0))
    part = Batch("node-1", NOW_NS, (envelope(0),))

    def wait_s(*words, **more):
        return asyncio.run(uplink._failed(part, TransportError(*words, **more)))

    assert [wait_s("no") for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]
    assert asyncio.run(uplink._carry(part)) is None
    assert wait_s("no") == 0.2
    assert wait_s("busy", 503, retry_after_s=7.0) == 7.0
    assert wait_s("busy", 503, retry_after_s=7_000.0) == 30.0
    assert [wait_s("who are you?", 401) for _ in range(6)] == [1.6, 3.2, 6.4, 12.8, 25.6, 30.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gather_s", -1.0), ("first_wait_s", 0.0), ("longest_wait_s", 0.1), ("refused_wait_s", 1.0), ("jitter", 1.0),
        ("gather_s", float("nan")),
    ],
)  # fmt: skip
def test_pacing_checks_itself(name, value):
    with pytest.raises(ValueError, match="expected"):
        replace(Pacing(), **{name: value})


def test_a_back_off_is_not_cut_short_by_what_comes_meanwhile(spool):
    centre = Centre([TransportError("no")] * 1_000)
    uplink = Uplink(spool, KEY, centre, lambda: NOW_NS, Pacing(first_wait_s=0.2, longest_wait_s=0.2, jitter=0.0))

    async def play():
        began_s = time.monotonic()
        async with running(uplink):
            for number in range(100):
                uplink.put(bang(number))
                await asyncio.sleep(0.005)
        assert len(centre.tried) <= 2 + (time.monotonic() - began_s) / 0.2

    asyncio.run(play())


class HastyLoop(asyncio.SelectorEventLoop):
    """A loop in which nobody waits: where it would sleep, its clock jumps."""

    def __init__(self):
        self._ahead_s = 0.0
        selector = selectors.DefaultSelector()
        select = selector.select

        def jump(timeout=None):
            ready = select(None if timeout is None else 0.0)
            if timeout is not None and not ready:
                self._ahead_s += timeout
            return ready

        selector.select = jump
        super().__init__(selector)

    def time(self):
        return super().time() + self._ahead_s


@pytest.mark.parametrize("away_s", [1.0, 60.0, 3_600.0])
def test_a_centre_that_was_away_is_found_again_within_five_seconds(spool, away_s, monkeypatch):
    """However long it was away; and an hour of trying is not a storm."""

    async def here(function, *arguments):  # a thread would see the clock jump while it works
        return function(*arguments)

    monkeypatch.setattr("asyncio.to_thread", here)

    class Away(Centre):
        back_s = found_s = 0.0

        async def exchange(self, sealed):
            await asyncio.sleep(0.05)
            now_s = asyncio.get_running_loop().time()
            if now_s < self.back_s:
                self.script = [TransportError("no answer")]
            elif not self.found_s:
                self.found_s = now_s
            return await super().exchange(sealed)

    async def play():
        centre = Away()
        uplink = Uplink(spool, KEY, centre, lambda: NOW_NS)
        async with running(uplink):
            uplink.put(bang(0))
            centre.back_s = asyncio.get_running_loop().time() + away_s
            while not centre.taken:  # noqa: ASYNC110  (it must look at the loop's own clock)
                await asyncio.sleep(0.1)
        return centre.found_s - centre.back_s, len(centre.tried)

    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        late_s, attempts = runner.run(play())
    assert late_s < 5.0
    assert attempts < 20 + away_s / 1.5
