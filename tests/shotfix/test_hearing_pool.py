"""The pool: a worker or the centre may die at any moment, and what is heard is the same."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acoustic.block import AudioBlock
from acoustic.detection import Detection
from acoustic.instant import SECOND, after, parse_instant
from sensors.chunker import Chunker
from sensors.health import Farewell, Heartbeat
from sensors.hearing import Hearing, Setup
from sensors.recording import read_blocks
from sensors.snippet import Snippet
from sensors.wire import WireError
from shotfix import hearing_pool
from shotfix.hearing_bench import Answer, Bench, decode_answer, encode_answer, step
from shotfix.hearing_ledger import Hold, Ledger, Told
from shotfix.hearing_pool import Checked, Heard, HearingPool, Lost, Submitted
from shotfix.hearing_worker import Revise

START_NS = parse_instant("2026-11-21T02:00:00Z")
BOOT = "00c0ffee"
NAMES = ("lenox", "vine", "huntington")
PATIENCE_S = 600.0


class Streets(dict):
    """Without its megabytes when a test fails."""

    def __repr__(self):
        return "Streets"


@pytest.fixture(scope="module")
def streets(root):
    """Of some sensors of the demonstration night: the chunks, and what a listener at the node says."""
    found = Streets()
    for name in NAMES:
        path = root / "fixtures" / "scenes" / "demo-night" / "audio" / f"{name}.flac"
        samples = np.concatenate([block.samples for block in read_blocks(path, START_NS)])[12_000 * 60 : 12_000 * 105]
        chunker, hearing = Chunker(name, "s"), Hearing(name)
        block = AudioBlock(samples, 12_000, START_NS, after_gap=True)
        found[name] = ((*chunker.take(block), *chunker.finish()), hearing.hear(block))
    return found


class Node:
    """What a node's spool does: it keeps chunks until they are released, and sends again when it is told to."""

    def __init__(self, name, chunks):
        self.name, self.kept, self.next = name, dict(enumerate(chunks)), 0

    @property
    def done(self):
        return self.next not in self.kept

    def resume(self):
        self.next = min(self.kept, default=self.next)

    def release(self, sequence):
        for old in [number for number in self.kept if sequence is not None and number <= sequence]:
            del self.kept[old]


class Centre:
    """A pool without processes: one bench, the ledger, and what was told; and it can die."""

    def __init__(self, told_until):
        self.bench = Bench([Setup(name) for name in NAMES])
        self.ledger = Ledger()
        self.told = {name: Told(until_ns) for name, until_ns in told_until.items()}
        self.holds = {name: Hold(until_ns) for name, until_ns in told_until.items()}
        for told in self.told.values():
            told.begin_again()

    def take(self, node):
        """One chunk of a node; what is new of it."""
        key, chunk = (node.name, BOOT, node.next), node.kept[node.next]
        hold = self.holds.get(node.name)
        if hold is not None and not hold.ends_with(key, chunk):
            node.resume()
            return ()
        self.holds.pop(node.name, None)
        self.ledger.owe(key, node.name)
        self.ledger.take(key, node.name)
        answer = decode_answer(encode_answer(self.bench.hear(key, chunk)))
        self.ledger.free(answer.freed)
        node.release(self.ledger.release(node.name, BOOT))
        node.next += 1
        return self.told.setdefault(node.name, Told()).pass_on(answer.contents)


deaths = st.lists(st.integers(0, 134), max_size=4, unique=True)


@given(deaths)
@example([32, 134])
@settings(max_examples=5)
def test_wherever_the_centre_dies_the_same_is_heard_once(streets, deaths):
    dies(streets, deaths)


@pytest.mark.endurance
@given(deaths)
@settings(max_examples=300)
def test_wherever_it_dies_three_hundred_times(streets, deaths):
    dies(streets, deaths)


def dies(streets, deaths):
    """Hear the streets through a centre that dies before each of these steps."""
    nodes = [Node(name, streets[name][0]) for name in NAMES]
    centre, heard, most_kept = Centre({}), {name: [] for name in NAMES}, 0
    again = {name: set() for name in NAMES}
    for step_number in range(2_000):
        if step_number in deaths:
            words = {n: [m.heard_until_ns for m in said if isinstance(m, Heartbeat)] for n, said in heard.items()}
            until_ns = {name: word[-1] for name, word in words.items() if word}
            centre = Centre(until_ns)
            again = {name: ahead_of(heard[name], until_ns.get(name, 0)) for name in NAMES}
        busy = [node for node in nodes if not node.done]
        if not busy:
            break
        node = busy[step_number % len(busy)]
        # What was told of beyond the last word before a death is told again; the core knows it by its name.
        heard[node.name] += [m for m in centre.take(node) if getattr(m, "pulse_id", None) not in again[node.name]]
        most_kept = max(most_kept, node.next - min(node.kept, default=node.next))
    for name in NAMES:
        assert not words_differ(heard[name], streets[name][1])
    assert most_kept <= 22


def ahead_of(said, until_ns):
    return {one.pulse_id for one in said if isinstance(one, Detection) and one.pick.onset_ns >= until_ns}


def words_differ(heard, said):
    """Detections and snippets all alike and in order; heartbeats' instants too, though not what they count."""

    def told(messages):
        return [m if not isinstance(m, Heartbeat) else (m.sensor_id, m.heard_until_ns, m.listening) for m in messages]

    return told(heard) != told(said)


def test_a_seat_frees_what_no_listener_needs_any_more(streets):
    bench, held = Bench([Setup("vine")]), 0
    chunks = streets["vine"][0]
    freed = []
    for number, chunk in enumerate(chunks):
        answer = bench.hear(("vine", BOOT, number), chunk)
        freed += [key[2] for key in answer.freed]
        held = max(held, number + 1 - len(freed))
    assert freed == list(range(len(freed)))
    assert 11 <= len(chunks) - len(freed) <= held <= 22
    ended = bench.finish("vine", "vine")
    assert [key[2] for key in ended.freed] == list(range(len(freed), len(chunks)))


def test_in_step_every_eight_seconds_at_the_usual_rates():
    assert [step(rate_hz) / rate_hz for rate_hz in (8_000, 16_000, 48_000, 96_000, 192_000)] == [4, 2, 8, 8, 8]
    assert step(44_100) == 44_100


def test_repeated_damaged_and_foreign_chunks_cost_nothing_but_a_line(streets):
    bench = Bench([Setup("vine")])
    first, second, third = streets["vine"][0][:3]
    bench.hear(("n", BOOT, 0), first)
    assert bench.hear(("n", BOOT, 9), first) == Answer("n", BOOT, freed=(("n", BOOT, 9),))
    damaged = bench.hear(("n", BOOT, 1), dataclasses.replace(second, flac=second.flac[:-1]))
    assert damaged.freed == (("n", BOOT, 1),)
    assert damaged.faults == ("chunk 12000 of sensor vine: its bytes are damaged",)
    beats = [m for m in bench.hear(("n", BOOT, 2), third).contents if isinstance(m, Heartbeat)]
    assert beats[0].heard_until_ns == after(START_NS, 1.0)  # up to the gap, and no further
    assert not beats[0].listening
    unknown = bench.hear(("n", BOOT, 3), dataclasses.replace(third, sensor_id="who"))
    assert unknown.faults == ("sensor who: nobody listens to it here",)


def test_whatever_a_listener_stumbles_over_costs_one_stream(streets, monkeypatch):
    bench = Bench([Setup("vine"), Setup("lenox")])
    monkeypatch.setattr(Hearing, "hear", lambda *_: 1 / 0)
    answer = bench.hear(("n", BOOT, 0), streets["vine"][0][0])
    assert answer.faults == ("chunk 0 of sensor vine: ZeroDivisionError: division by zero",)
    monkeypatch.undo()
    assert bench.hear(("n", BOOT, 1), streets["vine"][0][1]).contents


def test_another_network_ends_the_streams_that_it_changes(streets):
    bench = Bench([Setup("vine"), Setup("lenox")])
    for name in ("vine", "lenox"):
        bench.hear(("n", BOOT, 0), streets[name][0][0])
    (ended,) = bench.revise([Setup("vine"), Setup("lenox", full_scale_db_spl=110.0), Setup("new")])
    assert {m.sensor_id for m in ended.contents} == {"lenox"}
    assert bench.hear(("n", BOOT, 1), streets["vine"][0][1]).faults == ()


@given(st.binary(max_size=60))
def test_what_a_worker_says_is_not_believed(message):
    with pytest.raises(WireError):
        decode_answer(message)


# the ledger


def test_chunks_are_released_in_the_order_of_their_numbers():
    ledger = Ledger()
    for number, sensor in ((3, "a"), (4, "b"), (7, "a"), (8, "b")):
        ledger.owe(("n", BOOT, number), sensor)
        ledger.take(("n", BOOT, number), sensor)
    assert ledger.release("n", BOOT) == 2
    ledger.free([("n", BOOT, 4), ("n", BOOT, 7)])
    assert ledger.release("n", BOOT) == 2
    ledger.free([("n", BOOT, 3)])
    assert ledger.release("n", BOOT) == 7
    assert ledger.is_settled(("n", BOOT, 5))
    assert not ledger.is_settled(("n", BOOT, 8))
    ledger.free([("n", BOOT, 8)])
    assert ledger.release("n", BOOT) == 8
    assert ledger.release("n", "unknown") is None


def test_what_was_refused_is_not_released():
    ledger = Ledger()
    ledger.owe(("n", BOOT, 0), "a")
    ledger.owe(("n", BOOT, 1), "b")
    ledger.take(("n", BOOT, 1), "b")
    ledger.free([("n", BOOT, 1)])
    assert ledger.release("n", BOOT) is None
    assert ledger.lose(frozenset("a")) == {"a": ("n", BOOT, 0)}
    ledger.owe(("n", BOOT, 2), "a")
    ledger.abandon_before(("n", BOOT, 2), "a")
    assert ledger.release("n", BOOT) == 1


def test_boots_are_bounded():
    ledger = Ledger()
    for number in range(20):
        ledger.owe(("n", f"{number:08x}", 0), "a")
    assert ledger.release("n", f"{0:08x}") is None
    assert len(ledger.lose(frozenset("a"))) == 1


# real processes


def drive(pool, nodes, heard, at=lambda _node: None):
    """Let nodes send until everything is heard."""
    until_s = time.monotonic() + PATIENCE_S
    faults = []
    while any(not node.done for node in nodes.values()) or pool.unanswered:
        assert time.monotonic() < until_s
        for node in nodes.values():
            if not node.done:
                became = pool.submit(node.name, BOOT, node.next, node.kept[node.next])
                at(node)
                if became == Submitted.TAKEN:
                    node.next += 1
                elif became == Submitted.RESUME:
                    node.resume()
        for result in pool.poll(0.05):
            if isinstance(result, Lost):
                for name in result.sensor_ids:
                    nodes[name].resume()
            elif isinstance(result, Heard):
                heard[result.node_id] += result.contents
                faults += result.faults
                nodes[result.node_id].release(result.released)
    return faults


def test_workers_are_killed_and_the_same_is_heard_once(streets):
    nodes = {name: Node(name, streets[name][0]) for name in NAMES}
    heard = {name: [] for name in NAMES}
    kills = [25]

    def kill(node):
        if kills and node.name == "vine" and node.next == kills[0]:
            kills.pop(0)
            for process_id in pool.process_ids:
                os.kill(process_id, signal.SIGKILL)

    with HearingPool({name: Setup(name) for name in NAMES}, 2, most_unanswered=16) as pool:
        assert drive(pool, nodes, heard, kill) == []
        assert pool.counts["died"] == 2
        assert not kills
    for name in NAMES:
        assert not words_differ(heard[name], streets[name][1])
        assert len(nodes[name].kept) <= 22


def test_a_centre_that_begins_again_goes_on_where_its_disk_ends(streets):
    chunks, said = streets["lenox"]
    node, heard = Node("lenox", chunks[:30]), {"lenox": []}
    with HearingPool({"lenox": Setup("lenox")}) as pool:
        drive(pool, {"lenox": node}, heard)
    until_ns = [m.heard_until_ns for m in heard["lenox"] if isinstance(m, Heartbeat)][-1]
    node.kept |= dict(enumerate(chunks[30:], start=30))
    with HearingPool({"lenox": Setup("lenox")}, told_until={"lenox": until_ns}) as pool:
        assert pool.submit("lenox", BOOT, 30, chunks[30]) == Submitted.RESUME
        node.resume()
        drive(pool, {"lenox": node}, heard)
        pool.finish("lenox", Farewell("lenox", START_NS + 45 * SECOND))
        while pool.unanswered:
            for result in pool.poll(0.05):
                heard["lenox"] += result.contents
                node.release(result.released)
    assert not words_differ([m for m in heard["lenox"] if not isinstance(m, Farewell)][: len(said)], list(said))
    assert isinstance(heard["lenox"][-1], Farewell)
    assert not node.kept


def test_what_is_no_snippet_is_found_out_elsewhere_and_a_deadly_one_given_up(streets, monkeypatch):
    snippet = next(m for m in streets["lenox"][1] if isinstance(m, Snippet))
    wrong = dataclasses.replace(snippet, rate_hz=8_000)
    with HearingPool({"lenox": Setup("lenox")}, most_unanswered=3) as pool:
        assert pool.check("node", snippet)
        assert pool.check("node", wrong)
        found = []
        until_s = time.monotonic() + PATIENCE_S
        while len(found) < 2 and time.monotonic() < until_s:
            found += pool.poll(0.1)
        assert [type(result) for result in found] == [Checked, Checked]
        assert found[0].fault is None
        assert "its header says" in found[1].fault
        os.kill(pool.process_ids[0], signal.SIGSTOP)
        chunks = streets["lenox"][0]
        became = [pool.submit("n", BOOT, number, chunks[number]) for number in range(5)]
        assert became == [Submitted.TAKEN] * 3 + [Submitted.FULL, Submitted.RESUME]
        assert not pool.has_room(["lenox"])
        assert not pool.check("node", snippet)
        assert pool.submit("n", BOOT, 9, dataclasses.replace(chunks[9], sensor_id="who")) == Submitted.UNKNOWN
        for _ in range(3):  # the same chunk is the first each time
            while not pool._workers[0].ready:
                assert pool.poll(0.1) == ()
            for number in (signal.SIGSEGV, signal.SIGCONT):
                os.kill(pool.process_ids[0], number)
            lost, faults = False, []
            while not lost:
                for result in pool.poll(0.1):
                    lost = lost or isinstance(result, Lost)
                    faults += getattr(result, "faults", ())
            if not faults:
                monkeypatch.setattr(pool._workers[0], "order", pool._workers[0].unanswered.append)
                assert pool.submit("n", BOOT, 0, chunks[0]) == Submitted.TAKEN
        assert faults == ["chunk 0 of sensor lenox: given up, since workers died over it"]


LEFT_BEHIND = """
from shotfix.hearing_pool import HearingPool

if __name__ == "__main__":
    pool = HearingPool({})
    while not pool._workers[0].ready:
        pool.poll(0.1)
    print(*pool.process_ids, flush=True)
"""


def test_a_worker_goes_when_its_owner_goes_and_not_at_a_signal_to_all(root, tmp_path):
    with HearingPool({}) as pool:
        while not pool._workers[0].ready:
            assert pool.poll(0.1) == ()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pool.process_ids[0], number)
        farewell = Farewell("vine", START_NS)
        pool.revise({"vine": Setup("vine")})
        pool.finish("n", farewell)
        said = []
        while not said:
            said += pool.poll(0.1)
        assert said[0].contents == (farewell,)
        assert not pool.counts["died"]
    script = tmp_path / "left_behind.py"
    script.write_text(LEFT_BEHIND)
    owner = subprocess.run(
        [sys.executable, script],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        timeout=PATIENCE_S,
        check=True,
        capture_output=True,
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int(owner.stdout), 0)


def test_nobody_waits_while_a_worker_speaks_ends_or_begins(streets, monkeypatch):
    chunks = streets["vine"][0]
    with HearingPool({"vine": Setup("vine")}) as pool:
        assert pool.submit("n", BOOT, 0, chunks[0]) == Submitted.TAKEN
        first, busy, go_on = pool._workers[0], threading.Event(), threading.Event()

        def slowly(what):
            def do(*arguments):
                busy.set()
                assert go_on.wait(PATIENCE_S)
                return what(*arguments)

            return do

        def goes_on_during(what, work, place=hearing_pool):
            """The pool takes chunks while its polling thread is in ``what``."""
            busy.clear()
            go_on.clear()
            with monkeypatch.context() as patch:
                patch.setattr(place, what, slowly(getattr(place, what)))
                polling = threading.Thread(target=lambda: [pool.poll(0.1) for _ in iter(busy.is_set, True)])
                polling.start()
                assert busy.wait(PATIENCE_S)
                said = []
                working = threading.Thread(target=lambda: said.append(work()))
                working.start()
                working.join(PATIENCE_S)
                go_on.set()
                polling.join()
            return said

        assert goes_on_during("answer", lambda: pool.has_room(["vine"]), first) == [True]
        assert goes_on_during("answer", lambda: pool.submit("n", BOOT, 1, chunks[1]), first) == [Submitted.TAKEN]
        os.kill(pool.process_ids[0], signal.SIGKILL)
        assert goes_on_during("stop", lambda: pool.submit("n", BOOT, 2, chunks[2]), first) == [Submitted.TAKEN]
        assert pool.counts["died"] == 1
        second = pool._workers[0]
        os.kill(pool.process_ids[0], signal.SIGKILL)
        setups = {"lenox": Setup("lenox"), "vine": Setup("vine")}
        assert goes_on_during("Worker", lambda: pool.revise(setups)) == [None]
        assert pool._workers[0] not in {first, second}
        revised = [order.setups for order in pool._workers[0].unanswered if isinstance(order, Revise)]
        assert revised == [tuple(setups.values())]


def test_a_setup_travels_to_another_process():
    setup = Setup("roof-1", full_scale_db_spl=110.0)
    assert pickle.loads(pickle.dumps(setup)) == setup  # noqa: S301 - our own


def test_no_pool_without_workers():
    with pytest.raises(ValueError, match="0 workers: expected 1 or more"):
        HearingPool({}, 0)


def test_a_detection_said_twice_is_told_once(streets):
    told, said = Told(), streets["lenox"][1]
    first = next(m for m in said if isinstance(m, Detection))
    assert told.pass_on([first, first]) == (first,)


def test_a_farewell_waits_for_chunks_that_were_refused(streets):
    chunks, said = streets["vine"][0][:14], []
    with HearingPool({"vine": Setup("vine")}, told_until={"vine": START_NS}) as pool:
        assert pool.submit("n", BOOT, 0, chunks[0]) == Submitted.RESUME
        pool.finish("n", Farewell("vine", START_NS + 14 * SECOND))
        assert pool.poll() == ()
        for number, chunk in enumerate(chunks[:1]):
            assert pool.submit("n", BOOT, number, chunk) == Submitted.TAKEN
        until_s = time.monotonic() + PATIENCE_S
        while not any(isinstance(m, Farewell) for m in said) and time.monotonic() < until_s:
            for result in pool.poll(0.1):
                said += result.contents
                released = result.released
    assert isinstance(said[-1], Farewell)
    assert isinstance(said[-2], Heartbeat)
    assert released == 0


@pytest.mark.endurance
def test_a_night_with_a_worker_killed_every_few_seconds(root):
    chunks, said = {}, {}
    for path in sorted((root / "fixtures" / "scenes" / "demo-night" / "audio").iterdir()):
        samples = np.concatenate([block.samples for block in read_blocks(path, START_NS)])
        block = AudioBlock(samples, 12_000, START_NS, after_gap=True)
        chunker = Chunker(path.stem, "s")
        chunks[path.stem], said[path.stem] = (*chunker.take(block), *chunker.finish()), Hearing(path.stem).hear(block)
    nodes = {name: Node(name, mine) for name, mine in chunks.items()}
    heard = {name: [] for name in nodes}
    generator, kills = np.random.default_rng(11), 40

    def kill(_node):
        nonlocal kills
        if kills and generator.random() < 0.005:
            kills -= 1
            os.kill(pool.process_ids[kills % 2], signal.SIGKILL)

    with HearingPool({name: Setup(name) for name in nodes}, 2) as pool:
        assert drive(pool, nodes, heard, kill) == []
        assert pool.counts["died"] >= 10
        assert not pool.counts["out_of_step"]
    for name in nodes:
        assert not words_differ(heard[name], said[name]), name
