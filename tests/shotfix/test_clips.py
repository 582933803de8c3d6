"""The clip store: what is on disk is what its name says, survives, and goes when it may."""

import dataclasses
import hashlib
import os
import shutil
import stat
import threading

import numpy as np
import pytest
import soundfile

from acoustic.detection import Clip
from acoustic.instant import parse_instant
from sensors.flac import steps_of
from sensors.snippet import Snippet
from shotfix.clips import DAY_S, GRACE_S, ClipStore, Retention
from tests.sounds import street

START_NS = parse_instant("2026-11-21T02:00:00Z")
NOW_S = 1_800_000_000.0


def snippet(seed=0, seconds=2.0):
    return Snippet.of("roof-1", ("p1",), START_NS, 8_000, steps_of(street(8_000, seconds, seed=seed)))


def kept(store, age_s, seed):
    """A clip that was written so long ago; its name."""
    one = snippet(seed)
    assert store.put(one)
    os.utime(store.path(one.clip.sha256), (NOW_S - age_s,) * 2)
    return one.clip.sha256


def test_any_player_plays_what_its_name_says(tmp_path):
    store, one = ClipStore(tmp_path / "audio"), snippet()
    assert store.put(one)
    path = store.path(one.clip.sha256)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 8_000
    assert hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest() == path.stem == one.clip.sha256
    assert stat.S_IMODE((tmp_path / "audio").stat().st_mode) == 0o700


def test_twice_is_once(tmp_path):
    store = ClipStore(tmp_path)
    assert store.put(snippet())
    assert store.put(snippet(), checked=True)
    assert len(store) == 1
    assert store.counts == {"put": 1, "repeated": 1}


def test_it_is_there_after_a_restart_and_half_a_file_is_not(tmp_path):
    store, one = ClipStore(tmp_path), snippet()
    store.put(one)
    half = store.path(one.clip.sha256).with_name("0" * 64 + ".part")
    half.write_bytes(one.flac[:100])
    again = ClipStore(tmp_path)
    assert again.path(one.clip.sha256).read_bytes() == one.flac
    assert again.bytes == len(one.flac)
    assert not half.exists()


@pytest.mark.parametrize("checked", [False, True])
def test_what_is_not_what_it_says_is_not_kept(tmp_path, checked):
    store, one = ClipStore(tmp_path), snippet()
    assert not store.put(dataclasses.replace(one, clip=Clip(START_NS, 1.0, one.clip.sha256)), checked=checked)
    assert store.counts == {"refused": 1}
    assert not list(tmp_path.iterdir())


def test_nobody_takes_anothers_name(tmp_path):
    store, one, other = ClipStore(tmp_path), snippet(1), snippet(2)
    assert not store.put(dataclasses.replace(one, flac=other.flac))
    assert store.put(one)


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "0" * 64, "A" * 64])
def test_a_name_that_is_not_kept_is_no_path(tmp_path, name):
    assert ClipStore(tmp_path).path(name) is None


def test_a_full_disk_costs_the_sound_and_nothing_else(tmp_path, monkeypatch):
    store, one = ClipStore(tmp_path), snippet()

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not store.put(one)
    assert store.counts == {"unwritten": 1}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert store.put(one)


def test_old_ones_go_and_pinned_ones_stay(tmp_path):
    store = ClipStore(tmp_path, Retention(most_age_s=7 * DAY_S))
    old, pinned, young = kept(store, 8 * DAY_S, 1), kept(store, 80 * DAY_S, 2), kept(store, 6 * DAY_S, 3)
    assert store.sweep(NOW_S, {pinned}.__contains__) == 1
    assert [store.path(name) is not None for name in (old, pinned, young)] == [False, True, True]
    assert store.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*.flac"))


def test_the_oldest_make_room(tmp_path):
    store = ClipStore(tmp_path, Retention(most_bytes=len(snippet(1).flac) * 5 // 2))
    names = [kept(store, age_s, seed) for seed, age_s in enumerate((5 * DAY_S, 4 * DAY_S, 3 * DAY_S, 2 * DAY_S))]
    assert store.sweep(NOW_S, {names[0]}.__contains__) == 2
    assert [store.path(name) is not None for name in names] == [True, False, False, True]


def test_what_an_alert_may_yet_name_stays(tmp_path):
    store = ClipStore(tmp_path, Retention(most_bytes=0))
    young, older = kept(store, GRACE_S / 2, 1), kept(store, GRACE_S * 2, 2)
    assert store.sweep(NOW_S, lambda _name: False) == 1
    assert store.path(young) is not None
    assert store.path(older) is None


def test_somebody_else_may_remove_files(tmp_path):
    store = ClipStore(tmp_path)
    kept(store, DAY_S, 1)
    shutil.rmtree(next(tmp_path.iterdir()))
    assert store.sweep(NOW_S, lambda _name: False) == 0
    assert (len(store), store.bytes) == (0, 0)


def test_sound_beyond_the_converters_range_is_kept_as_it_was_heard():
    loud = np.array([2.0, -2.0, 0.5], dtype=np.float32)
    assert Snippet.of("a", ("p",), START_NS, 8_000, steps_of(loud)).samples().tolist() == [1.0 - 2.0**-23, -1.0, 0.5]


def test_retention_checks_itself():
    with pytest.raises(ValueError, match="expected 0 or more"):
        Retention(most_age_s=-1.0)


def test_putting_and_sweeping_at_once_count_right(tmp_path, monkeypatch):
    """A sweep waits for a clip that is being written, and the bytes are those of the files in the end."""
    store = ClipStore(tmp_path, Retention(most_age_s=DAY_S))
    old = kept(store, 2 * DAY_S, seed=0)
    write, writes, may = store._write, threading.Event(), threading.Event()

    def slowly(path, content):
        writes.set()
        may.wait(60.0)
        write(path, content)

    monkeypatch.setattr(store, "_write", slowly)
    putting = threading.Thread(target=store.put, args=(new := snippet(1),))
    putting.start()
    writes.wait(60.0)
    sweeping = threading.Thread(target=store.sweep, args=(NOW_S, {new.clip.sha256}.__contains__))
    sweeping.start()
    sweeping.join(0.1)
    assert sweeping.is_alive()
    may.set()
    putting.join()
    sweeping.join()
    assert store.path(old) is None
    assert store.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*.flac")) > 0
