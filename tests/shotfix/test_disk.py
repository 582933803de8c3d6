"""The disk: files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shotfix import disk
from shotfix.disk import Lock, LockedError, explained, make_folder, why_not_ours, write_whole


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    write_whole(path, lambda file: file.write(b"one"))
    assert path.stat().st_mode & 0o777 == 0o600

    def half(file):
        file.write(b"two")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_whole(path, half)
    assert path.read_bytes() == b"one"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    write_whole(path, lambda file: file.write(b"three"), 0o644)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"three", 0o644)


def test_a_link_in_the_way_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "file.partial").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(tmp_path / "file", lambda file: file.write(b"x"))
    assert (tmp_path / "victim").read_text() == "precious"


def test_what_is_new_is_synced_before_it_is_said_to_be_there(tmp_path, monkeypatch):
    """The file before its new name, and the folder after it; of new folders each one's parent."""
    done = []
    sync, rename = os.fsync, os.rename

    def noted(file):
        done.append(str(Path(f"/proc/self/fd/{file}").readlink()))
        sync(file)

    monkeypatch.setattr(disk.os, "fsync", noted)
    monkeypatch.setattr(disk.os, "rename", lambda a, b: (done.append("rename"), rename(a, b)))
    write_whole(tmp_path / "file", lambda file: file.write(b"x"))
    assert done == [f"{tmp_path}/file.partial", "rename", str(tmp_path)]
    done.clear()
    make_folder(tmp_path / "a" / "b")
    assert done == [str(tmp_path), f"{tmp_path}/a"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_lock_is_held_once(tmp_path):
    lock = Lock(tmp_path / "lock")
    with pytest.raises(LockedError, match="opened by this process already"):
        Lock(tmp_path / "lock")
    lock.release()
    lock.release()
    Lock(tmp_path / "lock").release()


def test_who_else_may_write(tmp_path):
    for mode, ours in ((0o700, True), (0o755, True), (0o775, False), (0o707, False), (0o1777, True)):
        tmp_path.chmod(mode)
        assert (why_not_ours(tmp_path.stat()) is None) == ours


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), "here: No space left on device; make room"),
        (OSError(5, "Input/output error"), "the disk is failing"),
        (PermissionError(13, "Permission denied"), "check who owns it"),
        (OSError(2, "No such file or directory"), "check the path"),
        (LockedError("process 7 holds it"), "process 7 holds it"),
    ],
)
def test_complaints_come_with_a_remedy(error, says):
    with pytest.raises(ValueError, match=says), explained("here", ValueError):
        raise error
