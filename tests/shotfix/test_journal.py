"""The journal: what was flushed is there, in order, and nothing else is; or it says where it is not."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, parse_instant
from shotfix import disk, segment
from shotfix.journal import KINDS, DamageError, Journal, JournalError, Retired, read_journal
from shotfix.journal_repair import repair

NOW_NS = parse_instant("2026-11-21T03:00:00Z")
ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import hashlib, random, sys
from shotfix.journal import Journal
folder, seed = sys.argv[1], int(sys.argv[2])
dice = random.Random(seed)
def body(position):
    return hashlib.sha512(b"%d" % position).digest() * (position % 40)
with Journal(folder, segment_bytes=60_000) as journal:
    print("open", flush=True)
    while True:
        for _ in range(dice.randint(1, 30)):
            position = journal.append("batch", 1_700_000_000_000_000_000, b"")
            journal._pending[-1] = ("batch", 1_700_000_000_000_000_000, body(position))
        print(journal.flush(), flush=True)
"""


def dice_of(seed):
    return random.Random(seed)  # noqa: S311  (it shall be the same again)


def body(position):
    return hashlib.sha512(b"%d" % position).digest() * (position % 40)


def put(journal, bodies, kind="batch"):
    for each in bodies:
        journal.append(kind, NOW_NS, each)


def facts(entries):
    return [(e.position, e.kind, e.at_ns, e.body) for e in entries]


def filled(folder, groups=12, seed=1, segment_bytes=1_500):
    """The entries of a journal of some segments, whose bodies hold no zeros."""
    dice = dice_of(seed)
    with Journal(folder, segment_bytes) as journal:
        for _ in range(groups):
            for _ in range(dice.randint(1, 8)):
                size = dice.randint(0, 300)
                journal.append(dice.choice(KINDS), NOW_NS + journal.end, bytes(dice.choices(range(1, 256), k=size)))
            journal.flush()
        return facts(journal.entries())


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


class Refusing:
    """The system, refusing one kind of call after ``passed`` of them; of a write it still takes a part."""

    def __init__(self, monkeypatch, name, passed, number=errno.ENOSPC):
        self.real, self.passed, self.hit = getattr(os, name), passed, False
        self.number, self.name = number, name
        monkeypatch.setattr(disk.os, name, self)

    def __call__(self, *values):
        if self.passed > 0:
            self.passed -= 1
            return self.real(*values)
        self.hit = True
        if self.name == "pwrite" and len(values[1]) > 1:
            self.real(values[0], bytes(values[1])[: len(values[1]) // 2], values[2])
        raise OSError(self.number, os.strerror(self.number))


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


# kills


def killed_runs(folder, count, seed):
    """A child that appends and flushes, killed at random moments; what it said was flushed must be there."""
    dice = dice_of(seed)
    promised = torn = 0
    for run in range(count):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, folder, str(run)], stdout=subprocess.PIPE, cwd=ROOT
        ) as child:
            assert child.stdout.readline() == b"open\n"
            time.sleep(dice.uniform(0.0, 0.06))
            child.kill()
            said = child.stdout.read().split(b"\n")[:-1]
        promised = max([promised, *(int(line) for line in said)])
        with Journal(folder, 60_000) as journal:
            torn += journal.torn
            assert journal.end >= promised, "acknowledged and lost"
            promised = journal.end  # the next child goes on from there
    found = list(read_journal(folder))
    assert [e.position for e in found] == list(range(1, promised + 1))
    assert all(e.body == body(e.position) for e in found), "invented"
    return promised, torn


def test_kills_lose_nothing_and_invent_nothing(tmp_path):
    promised, _ = killed_runs(tmp_path, 20, 7)
    assert promised > 20


@pytest.mark.endurance
def test_a_thousand_kills(tmp_path):
    promised, torn = killed_runs(tmp_path, 1_000, 8)
    print(f"{promised} entries, {torn} torn writes")
    assert promised > 1_000


# disks that are full or fail


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB, where we may mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", where], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system of our own can be mounted here: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", where], check=True)


@pytest.mark.parametrize("segment_bytes", [30_000, 1 << 20])
def test_a_disk_that_is_really_full(small_disk, segment_bytes):
    """Filled to the last byte again and again: what was acknowledged is there, and it goes on once there is room."""
    dice = dice_of(segment_bytes)
    kept, said = [], []
    ballast = small_disk / "ballast"
    journal = Journal(small_disk / "journal", segment_bytes)
    for _ in range(60):
        group = [dice.randbytes(dice.randint(0, 3_000)) for _ in range(dice.randint(1, 8))]
        put(journal, group)
        try:
            journal.flush()
        except JournalError as error:
            said.append(str(error))
            if dice.random() < 0.5:
                journal.close()
                journal = Journal(small_disk / "journal", segment_bytes)
                assert journal.torn == 0
            if ballast.exists():
                ballast.unlink()
            else:
                journal.retain(NOW_NS + SECOND, 0, len(kept))
        else:
            kept += group
            if dice.random() < 0.2:
                room = shutil.disk_usage(small_disk).free
                with suppress(OSError), ballast.open("ab") as file:
                    file.write(bytes(max(room - dice.randint(0, 12_000), 0)))
        if segment_bytes > 100_000 and sum(map(len, kept)) > 150_000:
            break
        first = journal.oldest
        assert journal.end == len(kept)
        assert [e.body for e in journal.entries(first - 1)] == kept[first - 1 :]
    assert len(said) >= 3
    assert all("No space left" in each and "make room" in each for each in said)
    journal.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("name", ["pwrite", "fsync", "ftruncate", "open"])
def test_a_disk_that_refuses_at_every_call(tmp_path, monkeypatch, name, number):
    """Each call of each kind is refused once, in a run that crosses files: nothing acknowledged is lost, and it goes on."""
    hits = 0
    for passed in range(40):
        folder = tmp_path / f"{passed}"
        journal, kept, hit = Journal(folder, 700), [], False
        for k in range(12):
            group = [b"%d-%d" % (k, n) * 30 for n in range(2)]
            put(journal, group)
            try:
                with monkeypatch.context() as patch:
                    if k == 1 + passed % 8 or (name == "ftruncate" and k == 2 + passed % 8):
                        if name == "ftruncate":  # asked for only where something else was refused before
                            Refusing(patch, "pwrite", 0, number)
                        refusing = Refusing(patch, name, passed // 8, number)
                    else:
                        refusing = None
                    journal.flush()
                kept += group
            except JournalError:
                hit = hit or (refusing is not None and refusing.hit)
            assert journal.end == len(kept)
        assert [e.body for e in journal.entries()] == kept
        journal.close()
        with Journal(folder, 700) as again:
            assert [e.body for e in again.entries()] == kept
        hits += hit
    assert hits >= 4


def test_who_appended_while_a_flush_failed_is_told(tmp_path, monkeypatch):
    with Journal(tmp_path) as journal:
        put(journal, [b"kept"])
        journal.flush()
        put(journal, [b"one"])

        def write(*_):
            put(journal, [b"meanwhile"])
            raise OSError(errno.ENOSPC, "full")

        with monkeypatch.context() as patch:
            patch.setattr(disk.os, "pwrite", write)
            with pytest.raises(JournalError):
                journal.flush()
        with pytest.raises(JournalError, match="append them again"):
            journal.flush()
        assert journal.append("batch", NOW_NS, b"two") == 2
        assert journal.flush() == 2
        assert [e.body for e in journal.entries()] == [b"kept", b"two"]
        assert journal.failures == 1


# files that were torn or changed


def damaged_copies(tmp_path, count, seed):
    """Copies cut short or with bits turned, anywhere: each opens with what is left whole, or stops and says where."""
    dice = dice_of(seed)
    entries = filled(tmp_path / "whole")
    names = sorted(p.name for p in (tmp_path / "whole").glob("*.journal"))
    outcomes, said = {"clean": 0, "torn": 0, "stopped": 0}, []
    for _ in range(count):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", copy)
        path = copy / (names[-1] if dice.random() < 0.5 else dice.choice(names))
        content = bytearray(path.read_bytes())
        way = dice.choice(["cut", "flip", "flip", "cut and flip"])
        if "cut" in way:
            del content[dice.randrange(len(content)) :]
        if "flip" in way and content:
            for _ in range(dice.choice([1, 1, 1, 3])):
                at = dice.randrange(len(content))
                content[at] ^= 1 << dice.randrange(8)
        changed = bytes(content) != path.read_bytes()
        path.write_bytes(content)
        try:
            with Journal(copy, 1_500) as journal:
                found, torn = facts(journal.entries()), journal.torn
                put(journal, [b"more"])
                journal.flush()
                assert facts(journal.entries())[:-1] == found
        except DamageError as error:
            outcomes["stopped"] += 1
            said.append((path.name, str(error)))
            assert way != "cut" or path.name != names[-1], "a write cut short is no damage"
            continue
        assert found == entries[: len(found)], "silently wrong"
        if "flip" in way and "cut" not in way:
            assert not changed, "a bit was turned and nobody said so"
        outcomes["torn" if torn else "clean"] += 1
    assert all((name in each or "missing" in each) and "byte" in each and "backup" in each for name, each in said)
    return outcomes


def test_torn_and_changed_copies(tmp_path):
    outcomes = damaged_copies(tmp_path, 200, 3)
    assert outcomes["stopped"] > 100
    assert outcomes["torn"] > 10


@pytest.mark.endurance
def test_ten_thousand_torn_and_changed_copies(tmp_path):
    print(damaged_copies(tmp_path, 10_000, 4))


def test_a_power_cut_that_lost_some_sectors_of_the_last_flush(tmp_path):
    """Sectors reach a disk in any order: what the last flush did not finish is cut off, what was flushed before stays."""
    dice = dice_of(5)
    for number in range(60):
        folder = tmp_path / f"{number}"
        filled(folder, groups=5, seed=number, segment_bytes=1 << 20)
        (path,) = folder.glob("*.journal")
        flushed = path.stat().st_size
        with Journal(folder, 1 << 20) as journal:
            end = journal.end
            put(
                journal, [bytes(dice.choices(range(1, 256), k=dice.randint(0, 900))) for _ in range(dice.randint(1, 5))]
            )
            journal.flush()
            whole = facts(journal.entries())
        content = bytearray(path.read_bytes())
        sectors = range(flushed // 512, (len(content) + 511) // 512)
        for lost in dice.sample(sectors, dice.randint(1, len(sectors))):
            begin, stop = max(lost * 512, flushed), min((lost + 1) * 512, len(content))
            content[begin:stop] = bytes(stop - begin)
        if len(content) % 512 in range(1, 4) and len(content) // 512 * 512 > flushed:
            continue  # less than a checksum in the last sector: stopping is right too
        path.write_bytes(content)
        with Journal(folder, 1 << 20) as journal:
            assert journal.end >= end
            assert facts(journal.entries()) == whole[: journal.end]
            assert journal.torn == 1
            put(journal, [b"goes on"])
            assert journal.flush() == journal.end


def strange_segments(tmp_path, count, seed):
    """Files that no journal wrote, or that were written over: refused with the place, never a crash or a flood."""
    dice = dice_of(seed)
    filled(tmp_path / "whole", segment_bytes=1 << 20)
    (path,) = (tmp_path / "whole").glob("*.journal")
    whole, read = path.read_bytes(), 0
    for _ in range(count):
        content = bytearray(whole if dice.random() < 0.7 else dice.randbytes(dice.randint(0, 3_000)))
        for _ in range(dice.randint(0, 4)):
            at, length = dice.randrange(len(content) + 1), dice.choice([0, 1, 4, 25, 600])
            piece = dice.choice(
                [b"", bytes(length), b"\xff" * length, dice.randbytes(length), whole[at : at + 2 * length]]
            )
            content[at : at + length] = piece
        path.write_bytes(content)
        try:
            found = facts(read_journal(tmp_path / "whole"))
            with Journal(tmp_path / "whole") as journal:
                assert facts(journal.entries()) == found
            read += 1
        except JournalError:
            pass
        for each in (tmp_path / "whole").glob("*.journal"):
            each.unlink()
    return read


def test_strange_segments(tmp_path):
    assert 0 < strange_segments(tmp_path, 400, 9) < 400


@pytest.mark.endurance
def test_twenty_thousand_strange_segments(tmp_path):
    assert strange_segments(tmp_path, 20_000, 10)


def test_a_beginning_that_never_reached_the_disk(tmp_path):
    entries = filled(tmp_path)
    for content in (b"", b"shotfix-jour", bytes(48), bytes(2_000)):
        path = tmp_path / f"{len(entries) + 1:020d}.journal"
        path.write_bytes(content)
        assert facts(read_journal(tmp_path)) == entries
        with Journal(tmp_path) as journal:
            assert facts(journal.entries()) == entries
            assert (journal.torn, journal.torn_bytes) == (1, len(content))
        assert not path.exists()


def test_a_segment_that_is_missing_or_foreign(tmp_path):
    entries = filled(tmp_path / "one")
    filled(tmp_path / "two", seed=2)
    paths = sorted((tmp_path / "one").glob("*.journal"))
    assert len(paths) >= 4
    kept = paths[2].read_bytes()
    paths[2].unlink()
    with Journal(tmp_path / "one") as journal, pytest.raises(DamageError, match="a segment is missing or foreign"):
        list(journal.entries())
    other = Journal(tmp_path / "three", 1)
    for k in range(int(paths[2].stem)):
        put(other, [b"%d" % k])
        other.flush()
    other.close()
    shutil.copy(tmp_path / "three" / paths[2].name, paths[2])
    with pytest.raises(DamageError, match=r"byte 0: .*foreign"):
        list(read_journal(tmp_path / "one"))
    paths[2].write_bytes(kept)
    assert facts(read_journal(tmp_path / "one")) == entries
    paths[0].rename(paths[0].with_name("7.journal"))
    with pytest.raises(DamageError, match="no name of a segment"):
        Journal(tmp_path / "one")


def test_repair_keeps_what_is_whole_and_sets_the_rest_aside(tmp_path):
    entries = filled(tmp_path)
    assert repair(tmp_path) == (len(entries), 0)
    paths = sorted(tmp_path.glob("*.journal"))
    content = bytearray(paths[1].read_bytes())
    content[len(content) // 2] ^= 4
    paths[1].write_bytes(content)
    size = sum(p.stat().st_size for p in paths)
    with Journal(tmp_path) as journal, pytest.raises(JournalError, match="opened by this process"):
        repair(tmp_path)
    assert journal.end == len(entries)
    last, aside = repair(tmp_path)
    assert int(paths[1].stem) <= last + 1 <= int(paths[2].stem)
    assert aside + sum(p.stat().st_size for p in tmp_path.glob("*.journal")) == size
    assert len(list(tmp_path.glob("*.damaged"))) == len(paths) - 1
    with Journal(tmp_path) as journal:
        assert facts(journal.entries()) == entries[:last]
        put(journal, [b"goes on"])
        assert journal.flush() == last + 1


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
