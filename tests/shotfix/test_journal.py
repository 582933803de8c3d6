"""The journal: what was flushed is there, in order, and nothing else is; or it says where it is not."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND
from shotfix import segment
from shotfix.journal import KINDS, Journal, JournalError, Retired, read_journal
from tests.journals import NOW_NS, ROOT, Refusing, dice_of, facts, filled, put

# what is written


def test_the_bytes_are_those_of_the_page(tmp_path):
    """docs/journal.md, written out by hand; CRC-32 has the check value of ISO 3309."""
    assert zlib.crc32(b"123456789") == 0xCBF43926
    with Journal(tmp_path) as journal:
        journal.append("begin", NOW_NS, b"one")
        journal.append("tick", NOW_NS + 5, b"")
        journal.flush()
        journal.append("batch", NOW_NS + 9, b"\0\1")
        journal.flush()
    header = struct.pack("<16sQIqQ", b"shotfix-journal1", 1, 0, NOW_NS, 0)
    expected, covered = b"", b""

    def add(content):
        nonlocal expected, covered
        covered += content
        expected += content + struct.pack("<I", zlib.crc32(covered))

    add(header)
    for mark, kind, at_ns, content in ((b"|", 0, 0, b"one"), (b"-", 3, 5, b""), (b"|", 1, 9, b"\0\1")):
        add(struct.pack("<4sIBq", b"\xabSF" + mark, len(content), kind, NOW_NS + at_ns))
        add(content)
    assert (tmp_path / "00000000000000000001.journal").read_bytes() == expected


def test_positions_and_reading(tmp_path):
    with Journal(tmp_path, 500) as journal:
        assert (journal.end, journal.oldest, list(journal.entries())) == (0, 1, [])
        assert journal.flush() == 0
        for k in range(1, 41):
            assert journal.append("batch", NOW_NS + k, b"%d" % k * 9) == k
            assert journal.end < k
            if k % 3 == 0:
                assert journal.flush() == k
        assert [e.position for e in journal.entries()] == list(range(1, 40))
        assert [e.position for e in journal.entries(after=10, to=13)] == [11, 12, 13]
        assert [e.position for e in journal.entries(after=38)] == [39]
        assert not list(journal.entries(after=39))
        assert len(list(tmp_path.glob("*.journal"))) == 3
        assert journal.size_bytes == sum(p.stat().st_size for p in tmp_path.glob("*.journal"))
    with Journal(tmp_path, 500) as journal:
        assert (journal.end, journal.torn) == (39, 0)
        assert journal.append("note", NOW_NS, b"") == 40


@pytest.mark.parametrize(
    "wrong",
    [("nothing", NOW_NS, b""), ("batch", 10**19, b""), ("batch", 1.5, b""), ("batch", NOW_NS, bytes((32 << 20) + 1))],
)
def test_what_is_no_entry_is_refused_at_once(tmp_path, wrong):
    with Journal(tmp_path) as journal:
        with pytest.raises((ValueError, TypeError)):
            journal.append(*wrong)
        put(journal, [b"x"])
        assert journal.flush() == 1


def test_the_last_beginning_is_known_without_reading(tmp_path):
    with Journal(tmp_path, 300) as journal:
        assert journal.latest("begin") is None
        put(journal, [b"a"], "begin")
        for k in range(1, 60):
            put(journal, [b"x" * 50], "begin" if k == 20 else "weather" if k == 3 else "batch")
            journal.flush()
        assert journal.latest("begin") == 21
        assert journal.latest("weather") == 4
        assert journal.latest("network") is None
    with Journal(tmp_path, 300) as journal:
        assert journal.latest("begin") == 21
        journal.retain(NOW_NS, 0, 40)
        assert journal.oldest > 21
        assert journal.latest("begin") is None


actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(KINDS), st.binary(max_size=40)),
        st.tuples(st.just("flush")),
        st.tuples(st.just("fail"), st.sampled_from(["pwrite", "fsync"]), st.integers(0, 3)),
        st.tuples(st.just("reopen")),
        st.tuples(st.just("read"), st.integers(0, 30), st.integers(0, 30)),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(actions=actions, segment_bytes=st.sampled_from([1, 100, 400, 1 << 20]))
def test_what_was_flushed_is_there_and_nothing_else(actions, segment_bytes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("journal")
    kept, waiting = [], []
    journal = Journal(folder, segment_bytes)
    for action, *values in actions:
        if action == "append":
            waiting.append((values[0], NOW_NS, values[1]))
            assert journal.append(*waiting[-1]) == len(kept) + len(waiting)
        elif action == "flush":
            assert journal.flush() == len(kept) + len(waiting)
            kept, waiting = kept + waiting, []
        elif action == "fail":
            with pytest.MonkeyPatch.context() as patch:
                refusing, said = Refusing(patch, *values), ""
                try:
                    journal.flush()
                    kept += waiting
                except JournalError as error:
                    said = str(error)
                assert refusing.hit == ("make room" in said)
            waiting = []
        elif action == "reopen":
            journal.close()
            waiting = []
            journal = Journal(folder, segment_bytes)
            assert journal.torn == 0
        else:
            after, to = values
            expected = [(k, *e) for k, e in enumerate(kept, 1) if after < k <= to]
            assert facts(journal.entries(after, to)) == expected
        assert journal.end == len(kept)
        assert facts(journal.entries()) == [(k, *e) for k, e in enumerate(kept, 1)]
    journal.close()
    assert facts(read_journal(folder)) == [(k, *e) for k, e in enumerate(kept, 1)]


def test_several_who_append_and_flush_at_once(tmp_path):
    """Group commit: everybody's flush returns when theirs is there, in whatever group it went."""
    with Journal(tmp_path, 20_000) as journal:
        wrong = []

        def work(name):
            for k in range(100):
                position = journal.append("batch", NOW_NS, b"%d %d" % (name, k))
                if journal.flush() < position:
                    wrong.append(position)

        def watch():
            while any(worker.is_alive() for worker in workers):
                seen = [e.position for e in read_journal(tmp_path)]
                if seen != list(range(1, len(seen) + 1)):
                    wrong.append(seen)

        workers = [threading.Thread(target=work, args=(name,)) for name in range(6)]
        reader = threading.Thread(target=watch)
        for worker in [*workers, reader]:
            worker.start()
        for worker in [*workers, reader]:
            worker.join()
        assert not wrong
        said = [e.body.split() for e in journal.entries()]
        for name in range(6):
            assert [int(k) for who, k in said if int(who) == name] == list(range(100))


# one writer


def test_a_second_writer_is_refused(tmp_path):
    with Journal(tmp_path):
        with pytest.raises(JournalError, match="opened by this process already"):
            Journal(tmp_path)
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from shotfix.journal import Journal; Journal(sys.argv[1])", tmp_path],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        assert f"process {os.getpid()} holds it; stop that one first" in done.stderr
    Journal(tmp_path).close()


def test_a_killed_writer_lets_go_even_when_its_workers_live_on(tmp_path):
    code = (
        "import os, sys, time\nfrom shotfix.journal import Journal\njournal = Journal(sys.argv[1])\n"
        "child = os.fork()\nif child:\n    print(child, flush=True)\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, cwd=ROOT) as writer:
        orphan = int(writer.stdout.readline())
        try:
            writer.kill()
            writer.wait()
            Journal(tmp_path).close()
        finally:
            os.kill(orphan, signal.SIGKILL)


# retention


def test_retention_never_takes_what_a_checkpoint_needs(tmp_path):
    dice = dice_of(6)
    for number in range(30):
        folder = tmp_path / f"{number}"
        with Journal(folder, 600) as journal:
            for k in range(40):
                journal.append("batch", NOW_NS + k * SECOND, b"x" * dice.randint(0, 100))
                journal.flush()
            before_ns, most, keep = (
                NOW_NS + dice.randint(-5, 45) * SECOND,
                dice.choice([0, 2_000, 10**9]),
                dice.randint(0, 45),
            )
            size = journal.size_bytes
            gone = journal.retain(before_ns, most, keep)
            left = list(journal.entries())
            assert (left[0].position, left[-1].position) == (journal.oldest, 40)
            assert journal.oldest <= keep + 1
            assert gone.entries == journal.oldest - 1
            assert gone.size_bytes == size - journal.size_bytes
            assert journal.retired == gone
            removed_ns = NOW_NS + (journal.oldest - 2) * SECOND
            if most == 10**9:
                assert not gone.entries or removed_ns < before_ns
            assert journal.retain(before_ns, most, keep) == Retired()
            if gone.entries:
                with pytest.raises(JournalError, match="no longer kept"):
                    list(journal.entries(after=gone.entries - 1)) if gone.entries > 1 else pytest.fail("nothing before")
        with Journal(folder, 600) as journal:
            assert [e.position for e in journal.entries()] == [e.position for e in left]


def test_a_reader_that_retention_overtakes_is_told(tmp_path):
    filled(tmp_path)
    with Journal(tmp_path) as journal:
        reading = journal.entries()
        next(reading)
        journal.retain(NOW_NS + SECOND, 0, journal.end)
        with pytest.raises(JournalError, match="begin again"):
            list(reading)


def test_others_may_not_read_it(tmp_path):
    filled(tmp_path / "journal")
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "journal").iterdir()} == {0o600}


def test_after_closing_nothing_is_written(tmp_path):
    journal = Journal(tmp_path)
    put(journal, [b"late"])
    journal.close()
    with pytest.raises(JournalError, match="was closed"):
        journal.flush()
    assert not list(read_journal(tmp_path))


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalError, match="check the path"):
        Journal(tmp_path / "file")


def test_a_body_that_looks_like_a_record_is_no_record(tmp_path):
    """A node may send what it likes: bytes of our own format inside a body change nothing."""
    filled(tmp_path / "other", groups=2)
    (inner,) = (tmp_path / "other").glob("*.journal")
    with Journal(tmp_path / "journal") as journal:
        put(journal, [inner.read_bytes(), segment._FIRST * 100, b"end"])
        journal.flush()
    (path,) = (tmp_path / "journal").glob("*.journal")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with Journal(tmp_path / "journal") as journal:
        assert journal.torn == 1
        assert [e.body for e in journal.entries()] == [inner.read_bytes(), segment._FIRST * 100]
