"""The journal under harm: killed, full, torn, changed. What was acknowledged is there, or it says where it is not."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from acoustic.instant import SECOND
from shotfix import disk
from shotfix.journal import DamageError, Journal, JournalError, read_journal
from shotfix.journal_repair import repair
from tests.journals import NOW_NS, ROOT, Refusing, dice_of, facts, filled, put

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


def body(position):
    return hashlib.sha512(b"%d" % position).digest() * (position % 40)


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
