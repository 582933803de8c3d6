"""Backup and restore: drilled. What ran is copied, destroyed, put back, and is what it was; damage is named."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from acoustic.instant import parse_instant
from alerts.alert import encode
from alerts.delivery import Route
from alerts.record import server_copy
from alerts.record.heads import HEADS, HeadsFile
from alerts.record.ledger import Ledger
from alerts.record.outbox import Outbox
from alerts.record.store import Store, StoreError
from shotfix import backup as backup_module
from shotfix import checkpoint, commands_record, disk
from shotfix.backup import BackupError, backup, restore, verify
from shotfix.commands_live import restore as restore_command
from shotfix.commands_record import record as record_command
from shotfix.journal import Journal, read_journal
from tests.record_stores import burst
from tests.strategies import NIGHT_NS

NOW_NS = parse_instant("2026-11-21T03:00:00Z")
ROOT = Path(__file__).resolve().parents[2]

CENTRE = """
import itertools, sys
from pathlib import Path
from acoustic.instant import after
from alerts.delivery import Route
from alerts.desk import Desk
from alerts.record.store import Store
from shotfix.checkpoint import save
from shotfix.journal import Journal
from tests.strategies import NIGHT_NS, fix_at

data = Path(sys.argv[1])
with Journal(data / "journal", 4_000) as journal, Store(data / "record.db") as store:
    for k in itertools.count(journal.end + 1):
        journal.append("begin" if k == 1 else "batch", NIGHT_NS + k, b"%d " % k * 20)
        journal.flush()
        (alert,) = Desk().receive(fix_at(f"shot-{k}", float(k)))
        store.keep([alert], [Route("room")], NIGHT_NS + k)
        (data / "sound").mkdir(exist_ok=True)
        (data / "sound" / f"{k % 7}.flac").write_bytes(b"%d" % k * 100)
        if k % 5 == 0:
            save(data / "checkpoints", k, "s", {"said": k}, at_ns=NIGHT_NS + k)
            journal.retain(NIGHT_NS, 12_000, 0 if k < 60 else k - 40)
        print(k, flush=True)
"""


def centre(data, entries):
    """A little centre that runs until it has taken so many entries; it goes on."""
    child = subprocess.Popen([sys.executable, "-c", CENTRE, data], stdout=subprocess.PIPE, cwd=ROOT)
    while int(child.stdout.readline() or 10**9) < entries:
        pass
    return child


def everything(data):
    """What a folder of data holds, for comparing."""
    with Store(data / "record.db") as store, store.reading() as connection:
        alerts = [encode(alert) for alert in store.alerts()]
        waiting = len(Outbox(store).due("room", NOW_NS * 2, 10**6))
        assert connection.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    entries = [(e.position, e.kind, e.at_ns, e.body) for e in read_journal(data / "journal")]
    others = {
        path.relative_to(data).as_posix(): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and path.suffix in {".flac", ".checkpoint", ".json"}
    }
    return alerts, waiting, entries, others


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The data of a centre that was killed, with its configuration."""
    folder = tmp_path_factory.mktemp("city")
    (folder / "data").mkdir()
    (folder / "site.toml").write_text("[site]\n")
    (folder / "network.toml").write_text("revision = 1\n")
    child = centre(folder / "data", 30)
    child.kill()
    child.stdout.close()
    child.wait()
    return folder


@pytest.fixture
def copy(stopped, tmp_path):
    """A backup of it, to be spoilt."""
    files = (stopped / "site.toml", stopped / "network.toml")
    backup(stopped / "data", tmp_path / "backup", files, at_ns=NOW_NS)
    return tmp_path / "backup"


def test_run_back_up_destroy_restore(stopped, tmp_path):
    city = tmp_path / "city"
    shutil.copytree(stopped, city)
    (city / "data" / "journal" / "lock").write_text("left over")
    before = everything(city / "data")
    made = backup(city / "data", tmp_path / "backup", (city / "site.toml", city / "network.toml"), at_ns=NOW_NS)
    assert made.entries == before[2][-1][0]
    assert verify(tmp_path / "backup") == made
    shutil.rmtree(city)
    city.mkdir()
    assert restore(tmp_path / "backup", city / "data", city) == made
    assert everything(city / "data") == before
    assert (city / "site.toml").read_text() == "[site]\n"
    assert (city / "network.toml").read_text() == "revision = 1\n"
    assert checkpoint.newest(city / "data" / "checkpoints", "s", made.entries)[1] == {"said": made.entries // 5 * 5}
    with Journal(city / "data" / "journal") as journal:
        assert journal.append("note", NOW_NS, b"goes on") == made.entries + 1
        journal.flush()
    assert (city / "data").stat().st_mode & 0o777 == 0o700


def test_a_running_centre_is_copied_as_a_kill_would_leave_it(tmp_path):
    """Whatever it does meanwhile: the record holds all that the checkpoint had said, the journal all that the record did."""
    (tmp_path / "data").mkdir()
    child = centre(tmp_path / "data", 20)
    try:
        for number in range(5):
            made = backup(tmp_path / "data", tmp_path / f"{number}", at_ns=NOW_NS)
            restore(tmp_path / f"{number}", tmp_path / f"restored-{number}")
            alerts, waiting, entries, _ = everything(tmp_path / f"restored-{number}")
            position, state = checkpoint.newest(tmp_path / f"restored-{number}" / "checkpoints", "s", made.entries)
            assert position == state["said"] <= len(alerts) <= made.entries == entries[-1][0]
            assert waiting == len(alerts)
            assert [e[0] for e in entries] == list(range(entries[0][0], made.entries + 1))
            assert entries[0][0] <= position + 1
            time.sleep(0.3)
        assert child.poll() is None, "the centre did not mind"
    finally:
        child.kill()
        child.stdout.close()
        child.wait()
    before = everything(tmp_path / "data")
    child = centre(tmp_path / "restored-4", made.entries + 10)  # and one goes on from the copy
    child.kill()
    child.stdout.close()
    child.wait()
    assert len(everything(tmp_path / "data")[0]) == len(before[0])


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def test_every_damaged_file_is_refused_by_name(copy, tmp_path):
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    assert len(files) > 8
    for path in files:
        whole = path.read_bytes()
        name = path.relative_to(copy).as_posix()
        spoil(path)
        with pytest.raises(BackupError) as caught:
            restore(copy, tmp_path / "data")
        assert name in str(caught.value) or name == "manifest.json"
        path.unlink()
        with pytest.raises(BackupError, match=path.name):
            restore(copy, tmp_path / "data")
        path.write_bytes(whole)
        assert not (tmp_path / "data").exists()
    assert restore(copy, tmp_path / "data").files == len(files) - 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(format=2), "format 2, this program knows 1"),
        (lambda m: m.update(files={"data/../../etc/passwd": {"bytes": 1, "sha256": ""}}), "damaged"),
        (lambda m: m.update(files={"/etc/passwd": {"bytes": 1, "sha256": ""}}), "damaged"),
        (lambda m: m.update(files={"data/x": 5}), "damaged"),
        (lambda m: m.update(files=[]), "damaged"),
        (lambda m: m.pop("journals"), "damaged"),
        (lambda m: m["journals"].update({"data/journal": 10**6}), "not where it was copied to"),
    ],
)
def test_a_manifest_that_lies(copy, tmp_path, change, says):
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BackupError, match=says):
        restore(copy, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_nothing_is_written_over(copy, stopped, tmp_path):
    with pytest.raises(BackupError, match="exists; a backup goes into a folder of its own"):
        backup(stopped / "data", copy, at_ns=NOW_NS)
    with pytest.raises(BackupError, match="is not empty; move what is there away first"):
        restore(copy, stopped / "data")
    (tmp_path / "site.toml").write_text("mine")
    with pytest.raises(BackupError, match="exists; move it away"):
        restore(copy, tmp_path / "data", tmp_path)
    assert (tmp_path / "site.toml").read_text() == "mine"
    assert not (tmp_path / "data").exists()
    with pytest.raises(BackupError, match="this is no backup"):
        restore(tmp_path, tmp_path / "data")
    with pytest.raises(BackupError, match="no such folder"):
        backup(tmp_path / "nothing", tmp_path / "b", at_ns=NOW_NS)


def test_a_damaged_centre_is_not_copied(stopped, tmp_path):
    for name in ("journal", "record.db"):
        city = tmp_path / name
        shutil.copytree(stopped, city)
        if name == "journal":
            spoil(min((city / "data" / "journal").glob("*.journal")))
        else:
            with closing(sqlite3.connect(city / "data" / "record.db")) as connection:
                connection.execute("PRAGMA journal_mode=DELETE")
            content = bytearray((city / "data" / "record.db").read_bytes())
            content[4_096 : 4_096 * 3] = os.urandom(4_096 * 2)
            (city / "data" / "record.db").write_bytes(content)
        with pytest.raises(BackupError, match="restore"):
            backup(city / "data", tmp_path / "backup", at_ns=NOW_NS)
        assert not (tmp_path / "backup").exists()
        assert not (tmp_path / "backup.partial").exists()


def test_a_write_that_a_kill_tore_is_left_out(stopped, tmp_path):
    city = tmp_path / "city"
    shutil.copytree(stopped, city)
    with Journal(city / "data" / "journal") as journal:
        end = journal.end
        journal.append("note", NOW_NS, b"torn" * 30)
        journal.flush()
    last = max((city / "data" / "journal").glob("*.journal"))
    os.truncate(last, last.stat().st_size - 9)
    assert backup(city / "data", tmp_path / "backup", at_ns=NOW_NS).entries == end
    assert verify(tmp_path / "backup").entries == end


@pytest.mark.parametrize("what", ["backup", "restore"])
def test_a_full_disk_leaves_nothing_behind(copy, stopped, tmp_path, monkeypatch, what):
    left = [10]
    real = os.fsync

    def refuse(file):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(disk.os, "fsync", refuse)
    with pytest.raises(BackupError, match="No space left on device; make room"):
        backup(stopped / "data", tmp_path / "new", at_ns=NOW_NS) if what == "backup" else restore(
            copy, tmp_path / "new"
        )
    assert not list(tmp_path.glob("new*"))


def test_what_a_centre_keeps_of_people_is_in_it_and_no_lock(stopped, tmp_path):
    city = tmp_path / "city"
    shutil.copytree(stopped / "data", city)
    for name in ("api.key", "people.toml", ".people.toml.lock"):
        (city / name).write_text("x")
    backup(city, tmp_path / "backup", at_ns=NOW_NS)
    copied = {path.name for path in (tmp_path / "backup" / "data").iterdir()}
    assert {"api.key", "people.toml"} <= copied
    assert ".people.toml.lock" not in copied


@pytest.fixture
def served(postgres_url, tmp_path):
    """The data of a centre whose record a server keeps, with one burst and its heads; and the backup of it."""
    data = tmp_path / "data"
    data.mkdir()
    with Store(postgres_url) as store:
        store.keep(burst("a"), [Route("room")], NIGHT_NS)
        HeadsFile(data / HEADS).note(Ledger(store).head(), NIGHT_NS)
    with Journal(data / "journal") as journal:
        journal.append("begin", NOW_NS, b"x")
        journal.flush()
    made = backup(data, tmp_path / "backup", at_ns=NOW_NS, server=postgres_url)
    return made, tmp_path / "backup"


def ask(command, *words):
    return CliRunner().invoke(command, [str(word) for word in words])


def test_a_record_on_a_server_is_copied_too(served, tmp_path):
    made, source = served
    assert made.dump == "server/record.pgdump"
    dump = source / made.dump
    assert dump.read_bytes()[:5] == b"PGDMP"
    assert dump.stat().st_mode & 0o777 == 0o600
    assert restore(source, tmp_path / "restored") == made
    assert {path.name for path in (tmp_path / "restored").iterdir()} == {"journal", HEADS}
    done = ask(restore_command, source, tmp_path / "again")
    assert f"shotfix record restore {dump} --record ADDRESS --heads {tmp_path / 'again' / HEADS}" in done.output
    manifest = json.loads((source / "manifest.json").read_text())
    del manifest["files"][f"data/{HEADS}"]
    (source / "manifest.json").write_text(json.dumps(manifest))
    assert f"restore {dump} --record ADDRESS --no-heads\n" in ask(restore_command, source, tmp_path / "bare").output
    with dump.open("ab") as file:
        file.write(b"x")
    with pytest.raises(BackupError, match=r"server/record\.pgdump: is not what was copied"):
        verify(source)


def test_a_record_on_a_server_is_put_back_and_compared_with_the_heads(served, postgres_server, tmp_path):
    made, source = served
    with postgres_server.database() as fresh:
        done = ask(restore_command, source, tmp_path / "new", "--record", fresh)
        assert done.exit_code == 0, done.output
        assert "1 noted heads compared" in done.output
        assert done.output.endswith("intact\n")
        with Store(fresh) as store:
            assert list(store.alerts()) == burst("a")
        refused = ask(restore_command, source, tmp_path / "other", "--record", fresh)
        assert "there is a record already" in str(refused.exception)
        assert not list(tmp_path.glob("other*")), "all of it, or nothing"
        told = json.loads(
            ask(restore_command, source, tmp_path / "other", "--record", fresh, "--replace", "--json").stdout
        )
        assert (told["intact"], told["heads"], told["restored"]["dump"]) == (True, 1, made.dump)
        assert told["restored"]["former"].startswith("public_before_")


def test_a_ledger_that_is_shorter_than_its_heads_is_told_after_it_was_put_back(served, postgres_server, tmp_path):
    """As when somebody gave us an older copy than the heads are."""
    made, source = served
    with (source / "data" / HEADS).open("ab") as file:
        file.write(json.dumps({"sequence": 9, "digest": "0" * 64, "at_ns": NIGHT_NS}).encode() + b"\n")
    manifest = json.loads((source / "manifest.json").read_text())
    content = (source / "data" / HEADS).read_bytes()
    manifest["files"][f"data/{HEADS}"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (source / "manifest.json").write_text(json.dumps(manifest))
    with postgres_server.database() as fresh:
        done = ask(restore_command, source, tmp_path / "new", "--record", fresh)
        assert done.exit_code == 1
        assert "BROKEN, truncated" in done.output
        again = ask(record_command, "restore", source / made.dump, "--record", fresh, "--no-heads", "--replace")
        assert again.exit_code == 0, again.output
        assert "the record that was there is now in the schema public_before_" in again.output


@pytest.mark.parametrize("whole", [True, False])
def test_the_name_of_the_former_record_is_told_though_the_new_one_cannot_be_verified(
    served, postgres_url, tmp_path, monkeypatch, whole
):
    def fail(*_):
        raise StoreError("the server is gone")

    monkeypatch.setattr(commands_record, "verified", fail)
    made, source = served
    command, *words = (restore_command, source, tmp_path / "new")
    if not whole:
        command, *words = (record_command, "restore", source / made.dump, "--no-heads")
    told = ask(command, *words, "--record", postgres_url, "--replace", "--json")
    assert str(told.exception) == "the server is gone"
    assert "is now in the schema public_before_" in told.stderr
    assert not told.stdout


def test_to_replace_is_for_a_server_s_record(copy, tmp_path):
    done = ask(restore_command, copy, tmp_path / "data", "--replace")
    assert (done.exit_code, done.output.count("name its database with --record")) == (2, 1)
    assert not list(tmp_path.glob("data*"))


def test_the_server_s_record_is_put_last_and_the_folder_taken_back_when_that_fails(served, tmp_path, monkeypatch):
    _, source = served
    monkeypatch.setattr(server_copy, "check_restorable", lambda *_, **__: "public")
    put = []

    def refuse(*_, **__):
        put.append(sorted(path.name for path in (tmp_path / "new").iterdir()))
        raise StoreError("not now")

    monkeypatch.setattr(server_copy, "restore_server", refuse)
    (tmp_path / "new").mkdir()
    with pytest.raises(StoreError, match="not now"):
        restore(source, tmp_path / "new", server="postgresql:///record")
    assert put == [["journal", HEADS]]
    assert list(tmp_path.glob("new*")) == [tmp_path / "new"]
    assert not list((tmp_path / "new").iterdir())
    busy = disk.sync_folder

    def fail(folder):
        if folder == tmp_path:
            raise OSError(errno.EIO, "the disk fails")
        busy(folder)

    monkeypatch.setattr(backup_module, "sync_folder", fail)
    with pytest.raises(BackupError, match="the disk fails"):
        restore(source, tmp_path / "new", server="postgresql:///record")
    assert len(put) == 1, "the folder first"
    assert not list((tmp_path / "new").iterdir())


def test_a_place_where_a_disk_is_mounted_is_refused_before_anything_is_read(copy, monkeypatch):
    mounted = copy.parent / "mounted"
    mounted.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == mounted)
    (copy / "manifest.json").unlink()
    with pytest.raises(BackupError, match=r"a disk is mounted there.*name one in it"):
        restore(copy, mounted)


def test_a_server_s_address_is_for_a_server_s_record(copy, tmp_path):
    with pytest.raises(BackupError, match="no server kept the record that is in it"):
        restore(copy, tmp_path / "data", server="postgresql:///nowhere")
    assert not list(tmp_path.glob("data*"))


def test_a_server_that_refuses_leaves_the_configuration_out_too(served, tmp_path, monkeypatch):
    _, source = served
    monkeypatch.setattr(server_copy, "check_restorable", lambda *_, **__: "public")
    manifest = json.loads((source / "manifest.json").read_text())
    (source / "configuration").mkdir()
    (source / "configuration" / "site.toml").write_text("x")
    manifest["files"]["configuration/site.toml"] = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    (source / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="check that the server runs"):
        restore(source, tmp_path / "new", tmp_path / "etc", server="postgresql://kim@127.0.0.1:1/record")
    assert not list(tmp_path.glob("new*"))
    assert not (tmp_path / "etc" / "site.toml").exists()


def test_the_command_copies_the_record_wherever_the_configuration_has_it(tmp_path, monkeypatch):
    from shotfix import backup as module  # noqa: PLC0415
    from shotfix import config_reading  # noqa: PLC0415
    from shotfix.commands_live import backup as command  # noqa: PLC0415

    site = SimpleNamespace(data_dir=tmp_path, network_file=tmp_path / "n")
    address = "postgresql:///record"
    config = SimpleNamespace(site=site, network_file=tmp_path / "n", record_at=address)
    told = []
    monkeypatch.setattr(config_reading, "read_site", lambda _: config)
    monkeypatch.setattr(module, "backup", lambda *_, **how: told.append(how["server"]) or module.Copied(1, 1, 1))
    for config.record_at in (address, tmp_path / "record.db"):
        done = CliRunner().invoke(command, [str(tmp_path / "out"), "--config", str(tmp_path / "site.toml")])
        assert done.exit_code == 0, done.output
    assert told == [address, None]


def test_a_server_that_cannot_be_copied_leaves_nothing_behind(stopped, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="pg_dump is not installed"):
        backup(stopped / "data", tmp_path / "new", at_ns=NOW_NS, server="postgresql:///nowhere")
    assert not list(tmp_path.glob("new*"))


def test_others_may_not_read_a_backup(copy):
    assert copy.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in copy.rglob("*") if path.is_file()} == {0o600}
    with closing(sqlite3.connect(copy / "data" / "record.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert not list(copy.rglob("*-wal"))
