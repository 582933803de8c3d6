"""Files: who may read what we write, whatever the umask is, and names from outside that want to be paths."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import parse_instant
from alerts.alert import decode, encode
from alerts.couriers.drop import Drop
from alerts.couriers.webhook import Secret
from alerts.delivery import Delivery
from alerts.desk import Desk
from sensors.flac import steps_of
from sensors.identity import NodeKey
from sensors.snippet import Snippet
from shotfix import checkpoint
from shotfix.clips import ClipStore
from shotfix.config import ListenConfig, SiteConfig, SiteIdentity
from tests.shotfix.test_centre import NETWORK
from tests.sounds import street
from tests.strategies import fix_at

NOW_NS = parse_instant("2026-11-21T02:00:00Z")
TRAVERSALS = ("../../etc/passwd", "..", ".", "", "/etc/passwd", "//etc/passwd", "..\\..\\x", "%2e%2e%2fx", "a/../../b", "a\x00b",
              "\uff0e\uff0e/x", "..%c0%af", "~root", "$HOME", "0" * 63, "0" * 65, "0" * 64 + "/..", "0" * 64 + "\n", "G" * 64,
              "A" * 64, "CON", "x.flac", "*", "0" * 5_000)  # fmt: skip


@pytest.fixture
def open_umask():
    """The most careless of umasks: what stays closed is closed by us."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def reachable(folder):
    """What somebody who is neither the owner nor of the group can get at: below folders that let them in."""
    found = []
    for path in [folder, *sorted(folder.rglob("*"))]:
        inner = [path, *path.parents]
        above = inner[1 : inner.index(folder) + 1]
        if all(mode(each) & stat.S_IXOTH for each in above) and mode(path) & (stat.S_IROTH | stat.S_IWOTH):
            found.append(path.relative_to(folder).as_posix())
    return found


# Who may read what


PATHS_OF_FOLDERS = ("/", "/audio", "/audio/", "/journal/", "/data/", "/.git/config", "/.env", "/record.db", "/people.toml", "/metrics/",
                    "/static/", "/../data/record.db", "/..%2fdata%2frecord.db", "//etc/passwd", "/api/v1/", "/api/v1/audio/",
                    "/api/v1/audio/..%2f..%2frecord.db", "/docs", "/debug", "/admin", "/livez/..", "/server-status")  # fmt: skip


async def asked(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


def test_of_all_that_a_centre_writes_nothing_can_be_reached_by_others(tmp_path, open_umask, monkeypatch):
    """A centre is started and stopped, for real; its folder is looked through as a stranger on the machine would, and
    its port as one in the network."""
    from shotfix.centre import Centre  # noqa: PLC0415  (its import is not free)

    monkeypatch.setattr(Centre, "_hearing_pool", lambda *_: None)
    tmp_path.chmod(0o755)
    (tmp_path / "network.toml").write_text(NETWORK.format(up_m=9, revision=1, key=NodeKey.create().public_text))
    (tmp_path / "network.toml").chmod(0o600)
    config = SiteConfig(
        SiteIdentity("Harbour", tmp_path / "data"), tmp_path / "network.toml", listen=ListenConfig(port=0)
    )

    async def play():
        centre = Centre(config)
        running = asyncio.create_task(centre.run())
        try:
            async with asyncio.timeout(60.0):
                while not (tmp_path / "data" / "address").exists():  # noqa: ASYNC110  (a file says nothing by itself)
                    await asyncio.sleep(0.01)
                return [(path, *await asked(centre._server.port, path)) for path in PATHS_OF_FOLDERS]
        finally:
            centre.stop()
            await running

    for path, status, body in asyncio.run(play()):
        assert 400 <= status < 500, path
        assert not any(word in body for word in (b"record.db", b"journal", b"people.toml", b"<a", b"Index of")), path
    made = {path.name for path in (tmp_path / "data").iterdir()}
    assert {"journal", "audio", "checkpoints"} & made
    assert any(name.startswith("record") for name in made)
    assert mode(tmp_path / "data") == 0o700
    assert [name for name in reachable(tmp_path) if name not in {".", "network.toml"}] == []


def test_keys_checkpoints_and_sound_are_for_their_owner_alone(tmp_path, open_umask):
    tmp_path.chmod(0o755)
    NodeKey.create().save(tmp_path / "node.key")
    saved = checkpoint.save(tmp_path / "checkpoints", 1, "stamp", {"a": 1}, at_ns=NOW_NS)
    store = ClipStore(tmp_path / "audio")
    one = Snippet.of("roof-1", ("p1",), NOW_NS, 8_000, steps_of(street(8_000, 2.0, seed=0)))
    assert store.put(one)
    assert mode(tmp_path / "node.key") == 0o600
    assert mode(saved) == 0o600
    assert mode(saved.parent) == mode(tmp_path / "audio") == 0o700
    assert reachable(tmp_path) == ["."]


def test_a_checkpoint_that_others_could_have_written_is_not_unpickled(tmp_path):
    """A pickle runs what it names: only a file and folder that are ours alone are read."""
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (ran,)

    saved = checkpoint.save(tmp_path / "checkpoints", 1, "stamp", Evil(), at_ns=NOW_NS)
    saved.chmod(0o666)
    with pytest.raises(checkpoint.CheckpointError, match="others may write it"):
        checkpoint.newest(saved.parent, "stamp", 10)
    saved.chmod(0o600)
    saved.parent.chmod(0o777)
    with pytest.raises(checkpoint.CheckpointError, match="others may write it"):
        checkpoint.newest(saved.parent, "stamp", 10)
    saved.parent.chmod(0o700)
    there = saved.rename(tmp_path / "elsewhere")
    saved.symlink_to(there)
    with pytest.raises(checkpoint.CheckpointError, match="it is a link"):
        checkpoint.newest(saved.parent, "stamp", 10)
    assert not ran.exists()


# Names that want to be paths


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_digest_that_is_none_leads_to_no_file(name, tmp_path):
    store = ClipStore(tmp_path / "audio")
    (tmp_path / "secret.flac").write_bytes(b"x")
    assert store.path(name) is None


@given(st.text(max_size=80))
def test_no_text_leads_out_of_the_folder_of_sound(name):
    store = ClipStore.__new__(ClipStore)
    store._sizes, store.folder = {}, Path("/nowhere")
    assert store.path(name) is None


def letter(alert_id):
    """A delivery whose document calls itself ``alert_id``."""
    (alert,) = Desk().receive(fix_at("a"))
    document = encode(alert).replace(alert.alert_id.encode(), alert_id.encode("utf-8", "replace"))
    return Delivery(
        alert_id=alert_id, revision=1, courier="files", kind="new", published_at=alert.published_at, document=document,
        queued_ns=NOW_NS,
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TRAVERSALS if name and not (name.isascii() and name.isalnum())])
def test_a_drop_writes_nowhere_but_in_its_folder(name, tmp_path):
    folder = tmp_path / "a" / "drop"
    folder.mkdir(parents=True)
    receipt = Drop("files", folder).deliver(letter(name), NOW_NS)
    assert not receipt.delivered
    assert receipt.detail.isprintable()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_drop_writes_an_honest_name_so_that_the_refusals_mean_something(tmp_path):
    assert Drop("files", tmp_path).deliver(letter("a123"), NOW_NS).delivered
    assert (tmp_path / "a123-r1.json").exists()


def test_a_drop_follows_no_link_out_of_its_folder(tmp_path, open_umask):
    """Who may write in the folder could lay one; the file it names stays as it is, or the link is replaced."""
    folder, victim = tmp_path / "drop", tmp_path / "victim"
    folder.mkdir()
    victim.write_text("mine")
    for name in ("a123-r1.json", "a123-r1.json.partial", "current.geojson", "current.geojson.partial"):
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(victim)
    Drop("files", folder).deliver(letter("a123"), NOW_NS)
    assert victim.read_text() == "mine"
    for path in folder.iterdir():
        if not path.is_symlink():
            assert not mode(path) & stat.S_IRWXO, f"{path.name}: others may look"


def test_an_alerts_name_is_a_name_before_it_is_anything_else():
    (alert,) = Desk().receive(fix_at("a"))
    for name in TRAVERSALS:
        if name.isascii() and name.isalnum() and len(name) <= 64:
            continue
        with pytest.raises(ValueError):
            decode(encode(alert).replace(alert.alert_id.encode(), name.encode("utf-8", "replace")))


def test_a_secret_shows_itself_in_no_error_of_its_file(tmp_path):
    for content in ("whsec_c2hvcnQ=", "T0KENT0KENT0KEN", "whsec_" + "!" * 40):
        with pytest.raises(ValueError) as caught:
            Secret.parse(content)
        assert content.removeprefix("whsec_") not in str(caught.value)
