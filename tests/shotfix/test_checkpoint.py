"""Checkpoints: the newest one that is whole, ours and of this program; or none, and never code of somebody else's."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, parse_instant
from shotfix import checkpoint, disk
from shotfix.checkpoint import CheckpointError, newest, program_stamp, save

NOW_NS = parse_instant("2026-11-21T03:00:00Z")
DAY_NS = 86_400 * SECOND
STATE = {"bangs": [1, 2.5, "x"], "shared": (shared := [0]), "again": shared}


class Bomb:
    """Whoever unpickles it makes a file: what a hostile checkpoint would do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Stubborn:
    def __reduce__(self):
        raise RuntimeError("never")


def test_what_goes_in_comes_out(tmp_path):
    folder = tmp_path / "checkpoints"
    assert newest(folder, "s", 10) is None
    path = save(folder, 7, "s", STATE, at_ns=NOW_NS)
    position, state = newest(folder, "s", 7)
    assert (position, state) == (7, STATE)
    assert state["shared"] is state["again"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert checkpoint.kept(folder) == (7,)
    assert [p.name for p in folder.iterdir()] == [path.name]


def test_the_newest_that_fits_is_taken(tmp_path):
    for position in (5, 10, 15):
        save(tmp_path, position, "new" if position < 15 else "newer", {"at": position}, at_ns=NOW_NS + position)
    assert newest(tmp_path, "new", 100) == (10, {"at": 10})
    assert newest(tmp_path, "newer", 100) == (15, {"at": 15})
    assert newest(tmp_path, "older", 100) is None
    save(tmp_path, 15, "newer", {"at": "again"}, at_ns=NOW_NS + 99)
    assert newest(tmp_path, "newer", 100) == (15, {"at": "again"})


def test_a_journal_that_was_cut_voids_what_lay_behind(tmp_path, caplog):
    """Else it would be taken for the state at that position once the journal has grown there again."""
    for position in (5, 10, 15):
        save(tmp_path, position, "s", {"at": position}, at_ns=NOW_NS + position)
    assert newest(tmp_path, "s", 9, tidy=False) == (5, {"at": 5})
    assert checkpoint.kept(tmp_path) == (5, 10, 15)
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path, "s", 9) == (5, {"at": 5})
    assert "lies behind the journal's end at 9" in caplog.text
    assert newest(tmp_path, "s", 100) == (5, {"at": 5})
    assert (checkpoint.kept(tmp_path), checkpoint.damaged(tmp_path)) == ((5,), 2)


def test_a_damaged_one_is_set_aside_and_the_one_before_taken(tmp_path):
    content = save(tmp_path, 1, "s", STATE, at_ns=NOW_NS).read_bytes()
    content = content.replace(b'"position": 1,', b'"position": 2,')
    places = range(0, len(content), 3)
    for at in places:
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        (tmp_path / f"{2:020d}-{NOW_NS + at}.checkpoint").write_bytes(changed)
        assert newest(tmp_path, "s", 10) == (1, STATE)
    assert checkpoint.damaged(tmp_path) == len(places)
    for length in (0, 5, 30, len(content) - 1):
        (tmp_path / f"{3:020d}-{NOW_NS}.checkpoint").write_bytes(content[:length])
        assert newest(tmp_path, "s", 10) == (1, STATE)


def test_a_state_that_no_longer_unpickles_is_set_aside(tmp_path):
    save(tmp_path, 1, "s", STATE, at_ns=NOW_NS)
    gone = b"cshotfix.gone\nNothing\n."
    facts = b'{"position": 2, "stamp": "s"}\n'
    content = b"shotfix-checkpoint 1\n" + hashlib.sha256(facts + gone).hexdigest().encode() + b"\n" + facts + gone
    (tmp_path / f"{2:020d}-{NOW_NS}.checkpoint").write_bytes(content)
    assert newest(tmp_path, "s", 10) == (1, STATE)
    assert checkpoint.damaged(tmp_path) == 1


@pytest.mark.parametrize("what", ["folder", "parent", "file", "link"])
def test_what_others_could_have_written_is_never_read(tmp_path, what):
    folder = tmp_path / "data" / "checkpoints"
    path = save(folder, 1, "s", Bomb(str(tmp_path / "bang")), at_ns=NOW_NS)
    if what == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        {"folder": folder, "parent": folder.parent, "file": path}[what].chmod(0o777)
    with pytest.raises(CheckpointError, match="cannot be trusted; make it ours alone"):
        newest(folder, "s", 10)
    assert not (tmp_path / "bang").exists()
    if what in {"folder", "parent"}:
        with pytest.raises(CheckpointError, match="others may write it"):
            save(folder, 2, "s", STATE, at_ns=NOW_NS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_never_read(tmp_path):
    path = save(tmp_path, 1, "s", Bomb(str(tmp_path / "bang")), at_ns=NOW_NS)
    os.chown(path, 12_345, -1)
    with pytest.raises(CheckpointError, match="belongs to user 12345"):
        newest(tmp_path, "s", 10)
    assert not (tmp_path / "bang").exists()


@settings(max_examples=25, deadline=None)
@given(hours=st.lists(st.integers(1, 40), min_size=1, max_size=15), days=st.integers(0, 4))
def test_the_last_three_and_the_first_of_each_day_stay(hours, days, tmp_path_factory):
    folder, now_ns, made = tmp_path_factory.mktemp("checkpoints"), NOW_NS, []
    expected = []
    for position, wait in enumerate(hours, 1):
        now_ns += wait * 3_600 * SECOND
        made.append((position, now_ns))
        save(folder, position, "s", None, at_ns=now_ns, days_kept=days)
        candidates = [*expected, made[-1]]  # what was let go of earlier is gone
        first = {}
        for each in candidates:
            if now_ns - each[1] < days * DAY_NS:
                first.setdefault(datetime.fromtimestamp(each[1] / SECOND, UTC).date(), each)
        expected = [each for each in candidates if each in candidates[-3:] or each in first.values()]
        assert checkpoint.kept(folder) == tuple(position for position, _ in expected)


def test_days_are_given_up_where_room_is_needed(tmp_path):
    for day in range(6):
        save(tmp_path, day + 1, "s", None, at_ns=NOW_NS + day * DAY_NS)
    assert checkpoint.kept(tmp_path) == (1, 2, 3, 4, 5, 6)
    assert (checkpoint.thin(tmp_path), checkpoint.thin(tmp_path)) == (3, 0)
    assert checkpoint.kept(tmp_path) == (4, 5, 6)


@pytest.mark.parametrize("name", ["fsync", "open"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, name):
    save(tmp_path, 1, "s", STATE, at_ns=NOW_NS)
    before = sorted(tmp_path.iterdir())

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk.os, name, refuse)
        with pytest.raises(CheckpointError, match="make room"):
            save(tmp_path, 2, "s", STATE, at_ns=NOW_NS + 1)
    assert sorted(tmp_path.iterdir()) == before
    assert newest(tmp_path, "s", 10) == (1, STATE)


def test_a_state_that_does_not_pickle(tmp_path):
    with pytest.raises(CheckpointError, match="does not pickle"):
        save(tmp_path, 1, "s", Stubborn(), at_ns=NOW_NS)
    assert not list(tmp_path.iterdir())


def test_the_stamp_names_program_and_configuration():
    stamp = program_stamp("abc")
    assert "configuration=abc" in stamp
    assert "python=3." in stamp
    assert "numpy=" in stamp
    assert program_stamp("abd") != stamp


def test_what_is_written_is_a_pickle_behind_lines_for_people(tmp_path):
    content = save(tmp_path, 1, "s", STATE, at_ns=NOW_NS).read_bytes()
    _, digest, facts, state = content.split(b"\n", 3)
    assert digest.decode() == hashlib.sha256(facts + b"\n" + state).hexdigest()
    assert json.loads(facts) == {"position": 1, "stamp": "s", "at": "2026-11-21T03:00:00.000000000Z"}
    assert pickle.loads(state) == STATE  # noqa: S301  (made above)
