"""The spool: what it was given it gives back until it is told otherwise, whatever the disk does."""

import itertools
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sensors import spool_file
from sensors.health import Farewell
from sensors.spool import MOST_SNIPPET_BYTES, Spool, SpoolError
from sensors.spool_file import SpoolFile
from sensors.spool_store import RETRY_S
from sensors.wire import LARGEST_BATCH_BYTES, Ack, Batch, WireError, encode_batch, kind_of
from tests import messages
from tests.messages import BOOT, NIGHT_NS, NODE, beat, chunk, heard, snippet

SECOND_BOOT = "b0b0b0b0b0b0b0b0"
MIB = 2**20
EVERYTHING = Ack("c1", NIGHT_NS)


class Clock:
    """A clock that a test turns."""

    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


def keys(batch):
    return [(each.boot_id, each.sequence) for each in batch.envelopes] if batch is not None else []


def kinds(batch):
    return [kind_of(each.content) for each in batch.envelopes] if batch is not None else []


def drained(spool):
    """Everything that the spool still has to send, as the centre takes it."""
    said = []
    while (batch := spool.batch(NIGHT_NS)) is not None and batch.envelopes:
        said += batch.envelopes
        spool.settle(batch, EVERYTHING)
    return said


def test_it_gives_in_order_what_it_was_given_until_that_is_settled(path):
    with Spool(path, BOOT, NODE) as spool:
        assert spool.batch(NIGHT_NS) is None
        said = [beat(1), heard(1), beat(2), Farewell("roof-7/a", NIGHT_NS)]
        assert spool.put(said[0]) == 0
        assert spool.put_all(said[1:]) == (1, 2, 3)
        batch = spool.batch(NIGHT_NS + 5)
        assert batch == Batch(NODE, NIGHT_NS + 5, messages.batch(*said).envelopes)
        assert spool.batch(NIGHT_NS + 5) == batch
        assert spool.settle(batch, EVERYTHING) == 4
        assert spool.batch(NIGHT_NS) is None
        assert spool.put(beat(3)) == 4
        assert spool.dropped == 0


def test_it_goes_on_where_it_was_after_a_start(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([beat(1), heard(1), chunk(1)])
        spool.settle(messages.batch(beat(1)), EVERYTHING)
        spool.settle(messages.batch(chunk(1), first=2), Ack("c1", NIGHT_NS, held=(0,)))
    with Spool(path, SECOND_BOOT, NODE) as spool:
        assert spool.put(beat(9)) == 0
        assert keys(spool.batch(NIGHT_NS)) == [(BOOT, 1), (SECOND_BOOT, 0)]
        assert spool.state().held == 1


def test_chunks_that_are_held_wait_until_they_are_released(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([chunk(1), beat(1), chunk(2), chunk(3), beat(2)])
        batch = spool.batch(NIGHT_NS)
        assert spool.settle(batch, Ack("c1", NIGHT_NS, held=(0, 2, 3))) == 2
        waiting = spool.batch(NIGHT_NS)
        assert waiting == Batch(NODE, NIGHT_NS, ()), "an empty batch asks what may be forgotten"
        assert spool.state().held == 3
        assert spool.settle(waiting, Ack("c1", NIGHT_NS, released={BOOT: 2, SECOND_BOOT: 99})) == 2
        assert spool.state().held == 1
        assert spool.settle(waiting, Ack("c2", NIGHT_NS, resume=True)) == 0
        assert keys(spool.batch(NIGHT_NS)) == [(BOOT, 3)]
        assert spool.settle(spool.batch(NIGHT_NS), Ack("c2", NIGHT_NS, held=(0,), released={BOOT: 3})) == 1
        assert spool.batch(NIGHT_NS) is None


def test_to_resume_sends_again_what_the_same_answer_holds(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([chunk(1), chunk(2)])
        spool.settle(messages.batch(chunk(1)), Ack("c1", NIGHT_NS, held=(0,)))
        spool.settle(spool.batch(NIGHT_NS), Ack("c2", NIGHT_NS, held=(0,), resume=True))
        assert keys(spool.batch(NIGHT_NS)) == [(BOOT, 0), (BOOT, 1)]


def test_only_audio_can_be_held(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([heard(1), chunk(1)])
        spool.settle(spool.batch(NIGHT_NS), Ack("c1", NIGHT_NS, held=(0, 1, 7)))
        assert kinds(spool.batch(NIGHT_NS)) == ["detection"]


def test_a_release_forgets_no_detection_and_no_chunk_that_is_still_to_come(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([chunk(1), heard(1), beat(1)])
        batch = spool.batch(NIGHT_NS)
        first = Batch(NODE, NIGHT_NS, batch.envelopes[:1])
        spool.settle(first, Ack("c1", NIGHT_NS, held=(0,)))
        spool.put(chunk(2))
        assert spool.settle(Batch(NODE, NIGHT_NS, ()), Ack("c1", NIGHT_NS, released={BOOT: 10})) == 1
        assert kinds(spool.batch(NIGHT_NS)) == ["detection", "heartbeat", "chunk"]


def test_a_centre_that_began_anew_releases_nothing_that_it_has_not_seen_again(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([chunk(1), chunk(2)])
        spool.settle(spool.batch(NIGHT_NS), Ack("c1", NIGHT_NS, held=(0, 1)))
        spool.put(chunk(3))
        third = spool.batch(NIGHT_NS)
        spool.settle(third, Ack("c2", NIGHT_NS, held=(0,), resume=True))
        assert spool.settle(Batch(NODE, NIGHT_NS, ()), Ack("c2", NIGHT_NS, released={BOOT: 2})) == 0
        assert kinds(spool.batch(NIGHT_NS)) == ["chunk"] * 3


def test_a_batch_is_no_longer_than_asked(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([chunk(k, 40_000) for k in range(60)])
        for most_bytes in (2_000_000, LARGEST_BATCH_BYTES, 300_000, 50_000, 10):
            batch = spool.batch(NIGHT_NS, most_bytes)
            assert len(batch.envelopes) == 1 or len(encode_batch(batch)) <= min(most_bytes, LARGEST_BATCH_BYTES)
        assert len(spool.batch(NIGHT_NS).envelopes) == 22
        spool.put_all([beat(k) for k in range(5_000)])
        assert len(drained(spool)) == 5_060


def test_snippets_give_way(path):
    with Spool(path, BOOT, NODE) as spool:
        sounds = [snippet(60_000, number=k) for k in range(6)]
        spool.put_all([heard(0), *sounds, heard(1), beat(1)])
        batch = spool.batch(NIGHT_NS)
        assert kinds(batch) == ["detection", "detection", "heartbeat"], (
            "a detection waits for no sound, not even its own"
        )
        spool.settle(batch, EVERYTHING)
        spool.put(beat(2))
        batch = spool.batch(NIGHT_NS)
        assert kinds(batch) == ["heartbeat", "snippet", "snippet"]
        assert sum(60_000 for kind in kinds(batch) if kind == "snippet") <= MOST_SNIPPET_BYTES
        assert kinds(spool.batch(NIGHT_NS, 20_000)) == ["heartbeat", "snippet"], "heartbeats do not keep it back"
        assert [each.content for each in drained(spool)][1:] == sounds


def test_what_can_never_be_sent_is_refused_at_once_and_takes_no_number(path):
    with Spool(path, BOOT, NODE) as spool:
        with pytest.raises(WireError, match="cannot be sent"):
            spool.put(messages.heard(1, sensor_id="s").__class__("p" * 101, "s", heard().pick))
        assert spool.put(beat()) == 0


def test_one_thread_puts_while_another_sends(path):
    """As in a node: nothing is lost, nothing comes twice, and everything in its order."""
    taken = []
    with Spool(path, BOOT, NODE) as spool:
        done = threading.Event()

        def send():
            while not done.is_set() or spool.state().waiting:
                if (batch := spool.batch(NIGHT_NS, 5_000)) is not None:
                    taken.extend(keys(batch))
                    spool.settle(batch, EVERYTHING)

        sender = threading.Thread(target=send)
        sender.start()
        for k in range(400):
            spool.put_all([heard(k), beat(k)])
        done.set()
        sender.join(60.0)
        assert not sender.is_alive()
    assert taken == [(BOOT, k) for k in range(800)]


# Bounds.


def test_over_its_bound_it_gives_up_the_least_first(path):
    with Spool(path, BOOT, NODE, MIB) as spool:
        spool.put_all([heard(k) for k in range(20)])
        spool.put_all([beat(k) for k in range(1_000)])
        spool.put_all([snippet(50_000, number=k) for k in range(4)])
        spool.put_all([chunk(k, 50_000) for k in range(4)])
        assert spool.dropped == 0
        spool.put_all([beat(k, "roof-7/b") for k in range(1_000)])
        assert set(spool.state().dropped) == {"heartbeat"}
        spool.put_all([chunk(k, 50_000) for k in range(4, 24)])
        state = spool.state()
        assert set(state.dropped) == {"heartbeat", "chunk"}
        assert state.dropped["heartbeat"] == 1_998
        spool.put_all([snippet(50_000, number=k) for k in range(4, 30)])
        assert set(spool.state().dropped) == {"heartbeat", "chunk", "snippet"}
        said = [each.content for each in drained(spool)]
        assert [each for each in said if kind_of(each) == "detection"] == [heard(k) for k in range(20)]
        assert [each for each in said if kind_of(each) == "heartbeat"] == [beat(999), beat(999, "roof-7/b")]
        sounds = [each.pulse_ids for each in said if kind_of(each) == "snippet"]
        assert sounds == [(f"p{k}",) for k in range(30 - len(sounds), 30)], "the oldest went"


def test_detections_go_last_and_oldest_first(path):
    with Spool(path, BOOT, NODE, MIB) as spool:
        spool.put(beat(1))
        for k in range(0, 4_000, 500):
            spool.put_all([heard(j) for j in range(k, k + 500)])
        assert set(spool.state().dropped) == {"detection"}
        assert spool.dropped == spool.state().dropped["detection"]
        left = [each.content for each in drained(spool)]
        assert left[0] == beat(1)
        assert left[1:] == [heard(k) for k in range(spool.dropped, 4_000)]


@pytest.mark.parametrize("said", [lambda k: beat(k, f"roof-7/{k % 3}"), lambda k: chunk(k, 30_000), heard])
def test_the_file_keeps_to_its_bound(path, said):
    """Two fills over its bound; the file itself is hardly longer, and bytes are counted as they are."""
    with Spool(path, BOOT, NODE, 2 * MIB) as spool:
        size = len(encode_batch(messages.batch(said(1_000))))
        for first in range(0, 2 * 2 * MIB // size, 200):
            spool.put_all([said(first + k) for k in range(200)])
            assert spool.state().disk_bytes <= 2 * MIB
        assert spool.dropped > 0
    assert path.stat().st_size <= 1.25 * 2 * MIB + 200 * size


def test_nothing_is_kept_longer_than_its_age(path, clock):
    with Spool(path, BOOT, NODE, most_age_s=60.0, elapsed_s=clock) as spool:
        spool.put_all([heard(1), beat(1), snippet()])
        clock.now_s += 40.0
        spool.put(heard(2))
        clock.now_s += 15.0
        assert len(spool.batch(NIGHT_NS).envelopes) == 3
    later = Clock()
    later.now_s = 3.0  # another start: the machine's clock begins anew, the spool's does not
    with Spool(path, SECOND_BOOT, NODE, most_age_s=60.0, elapsed_s=later) as spool:
        later.now_s += 21.0
        assert [each.content for each in drained(spool)] == [heard(2)]
        assert spool.state().dropped == {"detection": 1, "heartbeat": 1, "snippet": 1}


# A disk that does not do as it is asked.


def refusing(monkeypatch, decide):
    """Make writing to files fail as ``decide`` says: called before each write and before each commit."""
    true_writing = SpoolFile._writing
    on_disk = {}
    true_init = SpoolFile.__init__

    def init(self, path, node_id, **how):
        on_disk[id(self)] = path is not None
        true_init(self, path, node_id, **how)

    def fail(code):
        error = sqlite3.OperationalError(
            "database or disk is full" if code == sqlite3.SQLITE_FULL else "disk I/O error"
        )
        error.sqlite_errorcode = code
        raise error

    @contextmanager
    def writing(self):
        if not on_disk[id(self)]:
            with true_writing(self):
                yield
            return
        if code := decide():
            fail(code)
        with true_writing(self):
            yield
            if code := decide():
                fail(code)

    monkeypatch.setattr(SpoolFile, "__init__", init)
    monkeypatch.setattr(SpoolFile, "_writing", writing)


def scenario(path, clock):
    """Some life of a spool; everything that was said, and everything that the centre was given, in order."""
    given, said = [], []
    for boot in (BOOT, SECOND_BOOT):
        spool = Spool(path, boot, NODE, elapsed_s=clock)
        for k in range(4):
            contents = [heard(k), beat(k), chunk(k)]
            said += [
                ((boot, number), content) for number, content in zip(spool.put_all(contents), contents, strict=True)
            ]
            clock.now_s += 0.7
            if k % 2 and (batch := spool.batch(NIGHT_NS)) is not None:
                given += [((each.boot_id, each.sequence), each.content) for each in batch.envelopes]
                places = tuple(i for i, kind in enumerate(kinds(batch)) if kind == "chunk" and i % 2)
                spool.settle(batch, Ack("c", NIGHT_NS, held=places))
                if k == 3:
                    spool.settle(Batch(NODE, NIGHT_NS, ()), Ack("c", NIGHT_NS, resume=True))
        clock.now_s += RETRY_S
        while (batch := spool.batch(NIGHT_NS)) is not None and batch.envelopes:
            given += [((each.boot_id, each.sequence), each.content) for each in batch.envelopes]
            spool.settle(batch, EVERYTHING)
        spool.settle(Batch(NODE, NIGHT_NS, ()), Ack("c", NIGHT_NS, released={boot: 100}))
        assert spool.batch(NIGHT_NS) is None
        clock.now_s += RETRY_S
        spool.put(beat(99))
        given.append(((boot, spool.put(heard(99))), heard(99)))
        said.append(given[-1])
        assert spool.dropped == 0
        drained(spool)
        spool.close()
    return said, given


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
@pytest.mark.parametrize("lasting", [1, 3, 10_000])
def test_a_disk_that_is_full_at_any_write_loses_nothing(tmp_path, monkeypatch, clock, code, lasting):
    """At every single write, for one write, for three, and from then on until the spool is closed."""
    counter = itertools.count()
    bad = range(0)
    refusing(monkeypatch, lambda: code if next(counter) in bad else 0)
    plain, _ = scenario(tmp_path / "plain.db", clock)
    writes = next(counter)
    step = 1 if lasting == 1 and code == sqlite3.SQLITE_FULL else 4
    for first in range(0, writes, step):
        counter = itertools.count()
        bad = range(first, first + lasting)
        said, given = scenario(tmp_path / f"spool-{first}.db", clock)
        assert said == plain
        assert {key for key, _ in said} <= {key for key, _ in given}
        assert all(dict(said)[key] == content for key, content in given if key in dict(said))


def test_memory_only_is_said_bounded_and_ended(path, monkeypatch, clock):
    full = True
    refusing(monkeypatch, lambda: sqlite3.SQLITE_FULL if full else 0)
    spool = Spool(path, BOOT, NODE, most_memory_bytes=MIB, elapsed_s=clock)
    spool.put(heard(0))
    assert spool.memory_only
    assert spool.state().refusal == "database or disk is full"
    spool.put_all([snippet(50_000, number=k) for k in range(30)])
    spool.put_all([beat(k) for k in range(1_500)])
    state = spool.state()
    assert state.memory_bytes <= MIB
    assert state.dropped["snippet"] > 0
    assert state.dropped["heartbeat"] > 0
    assert "detection" not in state.dropped
    full = False
    spool.put(heard(1))
    assert spool.memory_only, "it is not asked at every message"
    clock.now_s += RETRY_S
    spool.put(heard(2))
    assert not spool.memory_only
    assert spool.state().memory_bytes == 0
    said = [each.content for each in drained(spool)]
    assert [each for each in said if kind_of(each) == "detection"] == [heard(0), heard(1), heard(2)]
    spool.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY])
def test_a_node_that_starts_on_a_disk_that_refuses_sends_what_is_there(path, monkeypatch, clock, code):
    with Spool(path, BOOT, NODE, elapsed_s=clock) as spool:
        spool.put_all([heard(k) for k in range(3)])
    refusal = code
    refusing(monkeypatch, lambda: refusal)
    with Spool(path, SECOND_BOOT, NODE, elapsed_s=clock) as spool:
        assert spool.memory_only
        spool.put(heard(3))
        for _ in range(5):
            batch = spool.batch(NIGHT_NS)
            assert [each.content for each in batch.envelopes] == [heard(k) for k in range(4)]
            clock.now_s += RETRY_S
        spool.settle(batch, EVERYTHING)
        spool.put(heard(4))
        assert [each.content for each in spool.batch(NIGHT_NS).envelopes] == [heard(4)]
        assert spool.state().waiting == 1
        refusal = 0
        clock.now_s += RETRY_S
        assert [each.content for each in spool.batch(NIGHT_NS).envelopes] == [heard(4)]
        assert not spool.memory_only
    with Spool(path, "b1b1b1b1", NODE, elapsed_s=clock) as spool:
        assert [each.content for each in drained(spool)] == [heard(4)]


def test_a_full_disk_holds_detections_in_place_of_sound(path, monkeypatch, clock):
    """What is on the full disk is worth less than what is to come: it makes room for it."""
    with Spool(path, BOOT, NODE, most_memory_bytes=MIB, elapsed_s=clock) as spool:
        spool.put_all([snippet(50_000, number=k) for k in range(60)])
        pages = spool._store._disk._connection.execute("PRAGMA page_count").fetchone()[0]
        spool._store._disk._connection.execute(
            f"PRAGMA max_page_count = {pages}"
        )  # a disk that is full, as SQLite sees it
        spool.put_all([heard(k) for k in range(1_000)])
        assert spool.memory_only
        assert spool.dropped == 0
        for first in range(1_000, 4_000, 500):
            spool.put_all([heard(k) for k in range(first, first + 500)])
        assert set(spool.state().dropped) == {"snippet"}
        assert spool.dropped < 60


def test_on_a_disk_that_is_truly_full(tmp_path, root):
    """A file system of 2 MB, in a mount namespace of its own."""
    script = f"""mount -t tmpfs -o size=2m none {tmp_path} && cd {root} && exec {sys.executable} -c '
from tests.sensors.test_spool import fill_the_disk
fill_the_disk("{tmp_path}")'"""
    tried = (
        subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
        if shutil.which("unshare")
        else None
    )
    if tried is None or tried.returncode:
        pytest.skip("no mount namespaces here: the disk is full only as the other tests make it so")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["full", "mended"]


def fill_the_disk(folder):
    """In that name space: fill the disk, go on, make room, and see that everything is there."""
    clock, ballast = Clock(), Path(folder) / "ballast"
    spool = Spool(Path(folder) / "spool.db", BOOT, NODE, elapsed_s=clock)
    spool.put_all([heard(k) for k in range(100)])
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4_096))
            file.flush()
    for k in range(100, 4_000):
        spool.put(heard(k))
    assert spool.memory_only
    batch = spool.batch(NIGHT_NS)
    spool.settle(batch, EVERYTHING)
    print(spool.state().refusal.rpartition(" ")[2])
    ballast.unlink()
    clock.now_s += RETRY_S
    spool.put(heard(4_000))
    assert not spool.memory_only, spool.state()
    spool.close()
    with Spool(Path(folder) / "spool.db", SECOND_BOOT, NODE) as again:
        left = [each.content for each in drained(again)]
        assert left == [heard(k) for k in range(len(batch.envelopes), 4_001)]
        assert again.dropped == 0
    print("mended")


# Files that are damaged, or not ours.


def test_a_damaged_page_costs_what_stood_on_it_and_that_is_counted(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([heard(k) for k in range(500)])
    raw = bytearray(path.read_bytes())
    raw[40_960:61_440] = b"x" * 20_480
    path.write_bytes(raw)
    with Spool(path, SECOND_BOOT, NODE) as spool:
        state = spool.state()
        assert state.moved_aside == 1
        assert not state.memory_only
        assert 100 < state.waiting < 500
        assert state.waiting + state.damaged == 500
        assert spool.dropped == state.damaged
        spool.put(beat(1))
        assert len(drained(spool)) == state.waiting + 1
    assert path.with_name("spool.db.damaged-1").read_bytes()[40_960:61_440] == b"x" * 20_480


@pytest.mark.parametrize("rubbish", [b"x" * 5_000, b"SQLite format 3\x00" + b"\xff" * 5_000])
def test_rubbish_is_moved_aside_and_not_for_ever(path, rubbish):
    for k in range(5):
        path.write_bytes(rubbish)
        with Spool(path, f"{k:08x}", NODE) as spool:
            assert spool.state().moved_aside == 1
            assert spool.put(heard(k)) == 0
            assert len(drained(spool)) == 1
    aside = sorted(each.name for each in path.parent.glob("*.damaged-*"))
    assert aside == ["spool.db.damaged-4", "spool.db.damaged-5"]
    assert spool_file.MOST_ASIDE == 2


def test_damage_while_it_is_open_is_survived(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([heard(k) for k in range(300)])
        spool._store._disk._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool._store._disk._connection.execute("PRAGMA shrink_memory")
        raw = bytearray(path.read_bytes())
        raw[4_096:] = b"x" * (len(raw) - 4_096)
        path.write_bytes(raw)
        spool.put(heard(300))
        spool.put_all([heard(k) for k in range(301, 310)])
        state = spool.state()
        assert state.moved_aside == 1
        assert not state.memory_only
        left = [each.content for each in drained(spool)]
        assert left[-10:] == [heard(k) for k in range(300, 310)]


def test_one_message_that_cannot_be_read_is_dropped_and_counted(path):
    with Spool(path, BOOT, NODE) as spool:
        spool.put_all([heard(0), heard(1), heard(2)])
        spool._store._disk._connection.execute("UPDATE message SET content = x'c1' WHERE sequence = 1")
        assert [each.content for each in drained(spool)] == [heard(0), heard(2)]
        assert spool.dropped == spool.state().damaged == 1


def test_a_file_of_something_else_is_refused_and_left_alone(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(SpoolError, match="a database of something else; name another file"):
        Spool(path, BOOT, NODE)
    assert path.read_bytes() == before


def test_a_file_of_a_newer_program_is_refused(path):
    Spool(path, BOOT, NODE).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(SpoolError, match="format 2, of a newer program; update this one"):
        Spool(path, SECOND_BOOT, NODE)


def test_a_spool_is_one_nodes_one_processes_and_each_boot_is_new(path, tmp_path):
    with Spool(path, BOOT, NODE), pytest.raises(SpoolError, match="another process holds this spool"):
        Spool(path, SECOND_BOOT, NODE)
    with pytest.raises(SpoolError, match="boot 00c0ffee00c0ffee was there before"):
        Spool(path, BOOT, NODE)
    with pytest.raises(SpoolError, match="holds what roof-7 has not sent yet; name another file for roof-8"):
        Spool(path, SECOND_BOOT, "roof-8")
    for wrong in (tmp_path, tmp_path / "absent" / "spool.db"):
        with pytest.raises(SpoolError, match="expected a file, in a folder that exists"):
            Spool(wrong, BOOT, NODE)
    for wrong in ({"most_bytes": 1}, {"most_age_s": 0.0}, {"most_memory_bytes": 1}, {"boot_id": "x"}):
        with pytest.raises(ValueError):
            Spool(**({"path": path, "boot_id": SECOND_BOOT, "node_id": NODE} | wrong))


# Beside a model.


class SpoolMachine(RuleBasedStateMachine):
    """Any life of a spool, beside a plain list of what it should hold."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.boots = itertools.count(1)
        self.waiting, self.held = [], []
        self.open()

    def open(self):
        self.boot = f"{next(self.boots):08x}"
        self.next = 0
        self.spool = Spool(Path(self.folder.name) / "spool.db", self.boot, NODE)

    @rule(said=st.lists(st.sampled_from("hbcf"), min_size=1, max_size=5))
    def put(self, said):
        makers = {"h": heard, "b": beat, "c": chunk, "f": lambda k: Farewell("roof-7/a", NIGHT_NS + k)}
        contents = [makers[letter](self.next + k) for k, letter in enumerate(said)]
        assert self.spool.put_all(contents) == tuple(range(self.next, self.next + len(said)))
        self.waiting += [messages.envelope(self.next + k, each, self.boot) for k, each in enumerate(contents)]
        self.next += len(said)

    @rule(most_bytes=st.integers(600, 5_000), held=st.sets(st.integers(0, 20)), part=st.integers(1, 20))
    def send(self, most_bytes, held, part):
        batch = self.spool.batch(NIGHT_NS, most_bytes)
        if batch is None:
            assert not self.waiting
            assert not self.held
            return
        assert list(batch.envelopes) == self.waiting[: len(batch.envelopes)]
        assert batch.envelopes or not self.waiting
        batch = Batch(NODE, NIGHT_NS, batch.envelopes[:part])
        self.spool.settle(batch, Ack("c", NIGHT_NS, held=tuple(sorted(held))))
        for place, envelope in enumerate(batch.envelopes):
            if place in held and kind_of(envelope.content) != "chunk":
                continue
            self.waiting.remove(envelope)
            if place in held:
                self.held.append(envelope)

    @rule(ago=st.integers(0, 2), up_to=st.integers(0, 30))
    def release(self, ago, up_to):
        boot = f"{max(int(self.boot, 16) - ago, 1):08x}"
        self.spool.settle(Batch(NODE, NIGHT_NS, ()), Ack("c", NIGHT_NS, released={boot: up_to}))
        self.held = [each for each in self.held if not (each.boot_id == boot and each.sequence <= up_to)]

    @precondition(lambda self: self.held)
    @rule()
    def resume(self):
        self.spool.settle(Batch(NODE, NIGHT_NS, ()), Ack("c", NIGHT_NS, resume=True))
        self.waiting = sorted(self.waiting + self.held, key=lambda each: (each.boot_id, each.sequence))
        self.held = []

    @rule()
    def restart(self):
        self.spool.close()
        self.open()

    @invariant()
    def counts_agree(self):
        if hasattr(self, "spool"):
            state = self.spool.state()
            assert (state.waiting, state.held, self.spool.dropped) == (len(self.waiting), len(self.held), 0)

    def teardown(self):
        if hasattr(self, "spool"):
            self.spool.close()
            self.folder.cleanup()


SpoolMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestSpoolBesideAModel = SpoolMachine.TestCase
