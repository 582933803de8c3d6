"""The centre as a whole: nothing of it dies unseen, a reload is taken whole or not at all, and it tidies up."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import threading
import time

import pytest

from acoustic.air import Air
from alerts.alert import encode
from alerts.desk import Desk
from alerts.record.store import Store, StoreError
from sensors.identity import Keyring, NodeKey
from shotfix import centre as centre_module
from shotfix.centre import Centre
from shotfix.checkpoint import CheckpointError
from shotfix.config import AirConfig, ExpectedConfig, ListenConfig, SiteConfig, SiteIdentity
from shotfix.crew import Crew
from shotfix.ingest import Ingest
from shotfix.journal import JournalError
from shotfix.journal_replay import CHARTER
from shotfix.keeping import Keeping
from shotfix.named_clips import NamedClips
from shotfix.registry import HISTORY, told_revision
from shotfix.results import UnavailableError
from shotfix.tidying import Tidying
from tests.cities import small_city
from tests.shotfix.test_engine import FullNow, opened
from tests.strategies import NIGHT_NS, fix_at

NETWORK = """
revision = {revision}
[[sensor]]
sensor_id = "roof-1"
node_id = "node-1"
east_m = 0
north_m = 0
up_m = {up_m}
[[sensor]]
sensor_id = "roof-2"
node_id = "node-1"
east_m = 400
north_m = 0
up_m = 9
[[sensor]]
sensor_id = "roof-3"
node_id = "node-1"
east_m = 0
north_m = 400
up_m = 9
[[node]]
node_id = "node-1"
keys = ["{key}"]
"""
KEY = NodeKey.create().public_text


@pytest.fixture
def config(tmp_path):
    write_network(tmp_path)
    listen = ListenConfig(port=0)
    return SiteConfig(SiteIdentity("Harbour", tmp_path / "data"), tmp_path / "network.toml", listen=listen)


def write_network(folder, up_m=9, revision=1):
    (folder / "network.toml").write_text(NETWORK.format(up_m=up_m, revision=revision, key=KEY))


@pytest.fixture(autouse=True)
def no_workers(monkeypatch):
    """Processes that nobody sends sound to."""
    monkeypatch.setattr(Centre, "_hearing_pool", lambda *_: None)


@pytest.fixture
def notes(monkeypatch):
    """What the service manager is told."""
    told = []
    monkeypatch.setattr(centre_module, "notify", told.append)
    return told


def until(true):
    ends = time.monotonic() + 60.0
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.005)


def run(centre, meanwhile):
    """Run a centre, and beside it something that ends it, or that it ends over."""

    async def both():
        running = asyncio.create_task(centre.run())
        try:
            async with asyncio.timeout(60.0):
                await meanwhile(centre, running)
        finally:
            centre.stop()
            await running

    asyncio.run(both())


async def listening(centre):
    while not (centre.config.site.data_dir / "address").exists():  # noqa: ASYNC110  (a file says nothing by itself)
        await asyncio.sleep(0.005)


# nothing dies unseen


@pytest.mark.parametrize("who", ["_telling.keeping.run", "engine.step", "_tidying.run"])
def test_a_centre_ends_when_one_of_its_threads_or_tasks_fails(config, monkeypatch, who):
    centre = Centre(config)
    owner = centre
    *way, name = who.split(".")
    for part in way:
        owner = getattr(owner, part)

    def fails(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(owner, name, fails if who != "_tidying.run" else _failing_task)

    async def wait(_centre, running):
        await asyncio.wait([running])

    with pytest.raises(UnavailableError, match=r"the [a-z ]+ failed \(RuntimeError: out of order\)"):
        run(centre, wait)


async def _failing_task(_submit):
    raise RuntimeError("out of order")


def test_a_thread_that_ends_by_itself_is_a_failure_and_one_that_was_told_to_is_none():
    failed, stop = [], threading.Event()
    crew = Crew(failed.append)
    crew.thread("streams", lambda: None, stop.is_set)
    crew.join(60.0)
    assert failed == crew.lost == ["the streams ended by itself, which is a fault of ours; report it"]
    crew.thread("sound", stop.wait, stop.is_set)
    stop.set()
    crew.join(60.0)
    assert len(failed) == 1


def test_a_second_centre_touches_nothing_of_the_first(config):
    first = Centre(config)
    charter = config.site.data_dir / CHARTER
    before = charter.stat().st_mtime_ns, charter.read_bytes()
    other = dataclasses.replace(config, air=AirConfig(temperature_c=3.0))
    with pytest.raises(JournalError):
        Centre(other)
    assert (charter.stat().st_mtime_ns, charter.read_bytes()) == before
    first._open.close()
    again = Centre(other)  # what failed let go of everything
    assert charter.read_bytes() == again._charter.encode()
    again._open.close()


# reloads


def test_what_the_calendar_leaves_out_is_in_the_log_at_the_start_and_at_a_reload(config, tmp_path, notes, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "events.ics").write_text(
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nSTATUS:CANCELLED\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    config = dataclasses.replace(config, expected=ExpectedConfig(calendar_file=tmp_path / "events.ics"))
    centre = Centre(config, lambda: config)
    asyncio.run(centre.reload())
    centre._open.close()
    assert caplog.text.count("0 events; left out: 1 cancelled") == 2


def test_a_reload_is_refused_whole_when_anything_is_wrong(config, tmp_path, notes, caplog):
    (tmp_path / "cert.pem").write_text("no certificate")
    broken = ListenConfig(tls_cert_file=tmp_path / "cert.pem", tls_key_file=tmp_path / "cert.pem")
    centre = Centre(config, lambda: dataclasses.replace(config, listen=broken))
    keyring, registry = centre.ingest.keyring, centre._registry
    write_network(tmp_path, up_m=30)
    asyncio.run(centre.reload())
    assert (centre.ingest.keyring, centre._registry) == (keyring, registry)
    assert notes == ["RELOADING=1", "READY=1"]
    assert "not reloaded" in caplog.text
    assert not (tmp_path / "data" / HISTORY).exists()
    (tmp_path / "network.toml").write_text(
        NETWORK.format(up_m=9, revision=1, key=KEY)
        .replace("east_m", "longitude_deg")
        .replace("north_m", "latitude_deg")
        .replace("up_m", "height_m")
        .replace("400", "0.004")
    )
    centre._reread = lambda: config
    asyncio.run(centre.reload())
    assert centre._registry == registry
    assert "another frame" in caplog.text
    centre._open.close()


def test_a_revision_has_a_number_of_its_own_across_restarts(config, tmp_path):
    """The file says 1 all along."""

    def start():
        centre = Centre(config, lambda: config)
        numbers = centre._registry.revision, centre.engine.core.registry.revision
        return centre, numbers

    def end(centre):
        centre.engine.step(0.0)
        centre.engine._checkpoint()
        number = centre.engine.core.registry.revision
        centre._open.close()
        return number

    centre, numbers = start()
    assert numbers == (1, 1)
    write_network(tmp_path, up_m=30)
    asyncio.run(centre.reload())
    centre.engine.step(0.0)
    assert end(centre) == 2
    centre, numbers = start()
    assert numbers == (2, 2)
    assert end(centre) == 2
    write_network(tmp_path, up_m=31)
    centre, _ = start()
    assert end(centre) == 3
    config = dataclasses.replace(config, air=AirConfig(temperature_c=3.0))
    centre, numbers = start()  # another configuration begins anew
    assert numbers == (3, 3)
    assert centre._journal.latest("begin") > 1
    end(centre)
    write_network(tmp_path, up_m=32)
    config = dataclasses.replace(config, air=AirConfig(temperature_c=4.0))
    centre, _ = start()
    assert end(centre) == 4
    lines = [json.loads(line) for line in (tmp_path / "data" / HISTORY).read_text().splitlines()]
    assert [(line["revision"], line["who"]) for line in lines] == [(2, "reload"), (3, "start"), (4, "start")]
    assert [len(line["changes"]) for line in lines] == [1, 1, 1]
    assert told_revision(tmp_path / "data") == 4


def test_a_reload_that_the_disk_refuses_is_taken_when_there_is_room(tmp_path):
    city = small_city(sensors=6, seconds=3.0)
    FullNow.full = False
    air = Air(temperature_c=3.0, wind_sigma_m_per_s=4.0)
    with opened(city, tmp_path, FullNow) as engine:
        moved = city.registry.revised(
            dataclasses.replace(city.registry, network=dataclasses.replace(city.registry.network, sites=lifted(city)))
        )[0]
        FullNow.full = True
        engine.revise(moved, air)
        for _ in range(3):
            engine.step(0.0)
        assert engine.core.registry != moved
        FullNow.full = False
        for _ in range(3):
            engine.step(0.0)
        assert engine.core.registry.encode() == moved.encode()
        kinds = [entry.kind for entry in engine._journal.entries()]
        assert (kinds.count("network"), kinds.count("weather")) == (1, 1)


def lifted(city):
    first, *others = city.registry.network.sites
    return (dataclasses.replace(first, up_sigma_m=first.up_sigma_m + 1.0), *others)


def test_a_full_disk_is_told_of_once_and_tried_again_at_leisure(tmp_path, caplog):
    city = small_city(sensors=6, seconds=3.0)
    FullNow.full = False
    with opened(city, tmp_path, FullNow) as engine:
        FullNow.full = True
        engine.revise(city.registry, Air(temperature_c=3.0))
        for _ in range(20):
            engine.step(0.001)
        assert engine.pulse.disk_refused >= 19
    FullNow.full = False
    assert caplog.text.count("cannot be written") == 1


# sound, tidying


class Clips:
    """A store of sound that fails as it is told."""

    def __init__(self, *script):
        self.script, self.put_there = list(script), []

    def put(self, snippet, *, checked):
        if self.script and isinstance(self.script[0], Exception):
            raise self.script.pop(0)
        self.put_there.append(snippet)
        return True


@dataclasses.dataclass
class Sound:
    flac: bytes
    sensor_id: str = "roof-1"


def test_sound_that_we_fail_on_costs_nothing_else():
    keeping = Keeping(None, [], clips := Clips(RuntimeError("a fault")), time.time_ns)
    stop = threading.Event()
    thread = threading.Thread(target=keeping.run, args=(stop,))
    thread.start()
    for number in range(3):
        keeping.keep_sound(Sound(b"%d" % number))
    until(lambda: keeping.settled)
    stop.set()
    thread.join()
    assert [sound.flac for sound in clips.put_there] == [b"1", b"2"]
    assert keeping.sound["lost"] == 1


def test_sound_that_waits_is_bounded_and_the_oldest_goes():
    keeping = Keeping(None, [], Clips(), time.time_ns, most_waiting_bytes=1_000)
    for number in range(25):
        keeping.keep_sound(Sound(b"%02d" % number * 50))
    assert keeping.sound["crowded-out"] == 15
    left = [keeping._next().flac[:2] for _ in range(10)]
    assert left == [b"%02d" % number for number in range(15, 25)]
    for sound in left:
        keeping.put_sound(Sound(sound))
    assert keeping.settled


@pytest.mark.parametrize("error", [JournalError("full"), CheckpointError("full"), OSError("full")])
def test_tidying_goes_on_over_what_fails(config, error, monkeypatch, caplog):
    centre = Centre(config)
    swept = []

    def refuses(*_):
        raise error

    monkeypatch.setattr(centre.engine, "tidy", refuses)
    monkeypatch.setattr(centre._telling.clips, "sweep", lambda *_: swept.append(1) or 1)

    async def wait(centre, _running):
        await listening(centre)
        while not centre._tidying.counts["rounds"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    run(centre, wait)
    assert swept == [1]  # at the start, not after an hour
    failed = {
        "journal-failed": 1,
        "record-failed": 0,
        "ledger-failed": 0,
        "sound-failed": 0,
        "tokens-failed": 0,
        "calendar-failed": 0,
        "acts-failed": 0,
    }
    assert centre._tidying.counts == {"rounds": 1, **failed}
    assert "was not looked after" in caplog.text


def test_the_sound_that_alerts_name_is_read_once(tmp_path, monkeypatch):
    alerts = [Desk().receive(fix_at(f"shot-{k}", float(k)))[0] for k in range(3)]
    audio = json.loads(_with_audio(alerts[0]))["audio"]
    with Store(tmp_path / "record.db") as store:
        store.keep(alerts[:2], [], NIGHT_NS)
        named = NamedClips(store)
        decoded = []
        decode = named._decoder.decode
        named._decoder = type("Counting", (), {"decode": staticmethod(lambda said: decoded.append(1) or decode(said))})
        named.digests()
        assert len(decoded) == 2
        store.keep(alerts[2:], [], NIGHT_NS)
        named.digests()
        named.digests()
        assert len(decoded) == 3
        with store.writing() as connection:
            connection.exec_driver_sql("update alert set document = ?", (_with_audio(alerts[0]),))
        assert NamedClips(store).digests() == {clip["sha256"] for clip in audio} == {"ab" * 32}


def test_of_the_sound_that_alerts_name_only_what_is_gone_is_forgotten(tmp_path, monkeypatch):
    alerts = [Desk().receive(fix_at(f"shot-{k}", float(k)))[0] for k in range(3)]
    clips = ["ab" * 32, "ab" * 32, "cd" * 32]
    with Store(tmp_path / "record.db") as store:
        store.keep(alerts, [], NIGHT_NS)
        with store.writing() as connection:
            for alert, sha256 in zip(alerts, clips, strict=True):
                said = "update alert set document = ? where alert_id = ?"
                connection.exec_driver_sql(said, (_with_audio(alert, sha256), alert.alert_id))
        named = NamedClips(store)
        assert named.digests() == set(clips)
        with store.writing() as connection:
            connection.exec_driver_sql(
                "delete from alert where alert_id in (?, ?)", (alerts[0].alert_id, alerts[2].alert_id)
            )
        named._decoder = None  # nothing is read anew
        reading = store.reading

        def nobody_waits():
            assert named._lock.acquire(blocking=False), "who asks for a clip now would wait for the record"
            named._lock.release()
            return reading()

        monkeypatch.setattr(store, "reading", nobody_waits)
        named.forget()
        monkeypatch.undo()
        assert named.digests() == {"ab" * 32}
        assert named.alert_of("ab" * 32) == alerts[1].alert_id  # it names it as well
        assert named.alert_of("cd" * 32) is None


def _with_audio(alert, sha256="ab" * 32):
    return json.dumps(json.loads(encode(alert)) | {"audio": [{"sha256": sha256, "sensor_id": "a"}]}).encode()


def test_tidying_of_sound_survives_a_record_that_refuses(config, monkeypatch):
    centre = Centre(config)

    def refuses():
        raise StoreError("locked")

    monkeypatch.setattr(centre._telling.named, "digests", refuses)
    tidying = Tidying(centre.engine, centre._telling, config.record)
    tidying.round()
    assert tidying.counts["sound-failed"] == 1
    centre._open.close()


# strangers


def test_strangers_cannot_fill_the_log(caplog):
    now = [NIGHT_NS]
    ingest = Ingest(Keyring({"node-1": KEY}), None, None, "boot", lambda: now[0])
    for _ in range(500):
        assert asyncio.run(ingest.take(b"x" * 200)).status in {400, 401}
    assert len(caplog.records) == 1
    now[0] += 11 * 10**9
    asyncio.run(ingest.take(b"x" * 200))
    assert "and 499 more" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 2
    assert sum(ingest.counts.values()) == 501
