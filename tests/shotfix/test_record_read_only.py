"""A record that only reads for a while: it is said, what is there stays and can be read, and it goes on by itself."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import threading
import time

import pytest
import sqlalchemy as sa

from alerts.delivery import Receipt, Route
from alerts.record.audit import audit
from alerts.record.outbox import Outbox
from alerts.record.store import Store, StoreError
from shotfix.config import SiteConfig, SiteIdentity
from shotfix.config_telling import RecordConfig
from shotfix.outbox_pump import Pump
from shotfix.telling import Telling
from shotfix.tidying import Tidying
from tests.cities import small_city
from tests.record_stores import ALONE, Server, as_nobody, burst, running_postgres
from tests.shotfix.test_engine import opened, settle
from tests.strategies import NIGHT_NS

ROOM = [Route("room")]
SAYS = "just now"


@pytest.fixture
def only_read(record_where, monkeypatch, request):
    """Has a record only read while it is entered: connections are lost, and new ones cannot write."""

    @contextlib.contextmanager
    def file(store):
        connect = sqlite3.connect
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda at, **how: connect(str(at).replace("mode=rw", "mode=ro"), **how))
            store._database.engine.dispose()
            yield

    @contextlib.contextmanager
    def server(store):
        run = request.getfixturevalue("postgres_server").run
        name = sa.make_url(record_where).database
        run(f"alter database {name} set default_transaction_read_only = on", ALONE, database=name)
        try:
            yield
        finally:
            run(f"alter database {name} reset default_transaction_read_only")

    return server if isinstance(record_where, str) else file


def persistently(work, tries=30):
    """What engine and pump do when the record refuses, though not for ever."""
    for _ in range(tries):
        with contextlib.suppress(StoreError):
            return work()
    return work()


def test_it_is_said_and_read_from_and_written_again_without_a_restart(record_store, only_read):
    record_store.keep(burst("a"), ROOM, NIGHT_NS)
    with only_read(record_store):
        for k in range(3):
            with pytest.raises(StoreError, match=SAYS):
                record_store.keep(burst(f"b{k}", 60.0), ROOM, NIGHT_NS)
            with record_store.reading(), record_store.reading():  # more connections than one
                assert list(record_store.alerts()) == burst("a")
    assert persistently(lambda: record_store.keep(burst("b0", 60.0), ROOM, NIGHT_NS)) == 3
    for k in range(1, 12):  # and no connection is left over that only reads
        with record_store.reading(), record_store.reading():
            assert record_store.keep(burst(f"b{k}", 60.0 * k), ROOM, NIGHT_NS) == 3
    assert audit(record_store.reading).intact


def test_works_that_share_a_transaction_are_all_told_why(record_store, only_read):
    record_store.keep(burst("a"), ROOM, NIGHT_NS)
    said, writer = [], record_store._writer

    def keep(name):
        try:
            record_store.keep(burst(name, 60.0), ROOM, NIGHT_NS)
        except StoreError as error:
            said.append(str(error))

    with only_read(record_store):
        with contextlib.suppress(StoreError), record_store.writing():  # they gather behind it
            threads = [threading.Thread(target=keep, args=(f"t{k}",)) for k in range(3)]
            for thread in threads:
                thread.start()
            while len(writer._waiting) < 3:
                time.sleep(0.001)
        for thread in threads:
            thread.join()
    assert len(said) == 3
    assert all(SAYS in words for words in said), said


class Courier:
    """A receiver that takes everything."""

    name = "room"

    def __init__(self):
        self.got, self.amid = [], lambda: None

    def deliver(self, delivery, now_ns):
        self.got.append(delivery.message_id)
        self.amid()
        return Receipt(delivered=True, detail="taken")


def test_what_was_carried_meanwhile_is_written_down_later_and_not_carried_again(record_store, only_read, caplog):
    record_store.keep(burst("a"), ROOM, NIGHT_NS)
    outbox, courier, stop = Outbox(record_store), Courier(), threading.Event()
    pump = Pump(outbox, courier, lambda: NIGHT_NS, lambda _: time.sleep(0.01), parallel=1)
    with contextlib.ExitStack() as stack:
        courier.amid = lambda: courier.got[1:] or stack.enter_context(only_read(record_store))  # amid the first
        thread = threading.Thread(target=pump.run, args=(stop.is_set,))
        thread.start()
        while pump.store_refused < 3:
            time.sleep(0.001)
        assert pump.trouble == "the record refuses the deliveries of room"
        assert len(courier.got) == 1
    while outbox.counts("room")["sent"] < 3:
        time.sleep(0.001)
    stop.set()
    outbox.wake()
    thread.join()
    assert courier.got == [alert.message_id for alert in burst("a")], "each once, in order"
    assert "room carries nothing until the record can be used again" in caplog.text
    assert "room carries again" in caplog.text


def test_a_quiet_night_does_not_hide_it(record_where, only_read, tmp_path, caplog):
    """No alert comes, so that nothing would be written; each minute somebody tries."""
    record = RecordConfig(database=record_where if isinstance(record_where, str) else None)
    with contextlib.ExitStack() as stack:
        data = tmp_path / "data"
        data.mkdir()
        telling = Telling(SiteConfig(SiteIdentity("Quiet", data), tmp_path / "n", record=record), stack, time.time_ns)
        minute = Tidying(None, telling, record).note_head
        minute()
        assert telling.troubles() == []
        with only_read(telling.store):
            for _ in range(3):
                minute()
                assert telling.troubles() == ["the record cannot be written"]
        for _ in range(30):
            minute()
            if not telling.troubles():
                break
        assert telling.troubles() == []
    assert caplog.text.count("the record cannot be written") == 1
    assert caplog.text.count("the record can be written again") == 1


def test_an_engine_whose_alerts_wait_does_not_fill_the_log(tmp_path, monkeypatch, caplog):
    """It tries twenty times a second; the log may lie on the disk that is full."""
    city = small_city()
    with opened(city, tmp_path) as engine:

        def refuse(alerts):
            raise StoreError("it can only be read just now")

        with monkeypatch.context() as patch:
            patch.setattr(engine._keeper, "keep", refuse)
            for batch, sealed in city.all_sealed():
                engine.submit("batch", time.time_ns(), sealed, batch)
            settle(engine)
            for _ in range(50):
                engine.step(0.0)
            assert engine.pulse.store_refused > 50
            assert "the record refuses alerts" in engine.not_ready(time.time_ns())
        assert caplog.text.count("alerts wait for the store") < 0.2 * engine.pulse.store_refused
        settle(engine)
        assert "the record refuses alerts" not in engine.not_ready(time.time_ns())


@pytest.fixture
def disk(tmp_path):
    """A folder, and what mounts something over it while that is entered; here, where we may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()

    @contextlib.contextmanager
    def mounted(*words):
        done = subprocess.run(["mount", *words, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk of our own can be mounted here: {done.stderr.strip()}")
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", folder], check=True)

    return folder, mounted


@pytest.mark.parametrize("alone", [False, True])
def test_a_disk_that_is_mounted_for_reading_only_for_a_while(disk, alone):
    """What is open stays open; new connections read. With none left open, the index of its log is read only too."""
    folder, mounted = disk
    with Store(folder / "record.db") as store:
        store.keep(burst("a"), ROOM, NIGHT_NS)
        with mounted("--bind", folder):
            subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
            if alone:
                store._database.engine.dispose()
            with store.reading() as connection:
                assert len(connection.exec_driver_sql("select 1 from alert").all()) == 3
                with pytest.raises(StoreError, match=SAYS):
                    store.keep(burst("b", 60.0), ROOM, NIGHT_NS)
            assert list(store.alerts()) == burst("a")
        assert persistently(lambda: store.keep(burst("b", 60.0), ROOM, NIGHT_NS)) == 3
        assert audit(store.reading).intact


def test_a_disk_that_is_full_for_a_while(disk):
    folder, mounted = disk
    with mounted("-t", "tmpfs", "-o", "size=2m", "none"), Store(folder / "record.db") as store:
        store.keep(burst("a"), ROOM, NIGHT_NS)
        with (folder / "theirs").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 1_000):
                pass
        kept = ["a"]

        def keep_more():
            for k in range(400):
                store.keep(burst(f"n{k}", 60.0 * k), ROOM, NIGHT_NS)
                kept.append(f"n{k}")

        with pytest.raises(StoreError, match="make room"):
            keep_more()
        assert len(list(store.alerts())) == 3 * len(kept)
        with pytest.raises(StoreError, match="make room"):
            store.keep(burst("later", 60.0), ROOM, NIGHT_NS)
        (folder / "theirs").unlink()
        assert store.keep(burst("later", 60.0), ROOM, NIGHT_NS) == 3
        assert len(list(store.alerts())) == 3 * len(kept) + 3
        assert audit(store.reading).intact


@pytest.fixture
def pair(tmp_path):
    """A server with a record of one burst, and another that follows it."""
    with running_postgres() as server, server.database() as where:
        with Store(where) as store:
            store.keep(burst("a"), ROOM, NIGHT_NS)
        standby = Server(server.programs, server.data.parent / "standby", server.data.parent / "t", server.options)
        standby.sockets.mkdir(mode=0o777)
        standby.sockets.chmod(0o777)
        as_nobody([
            server.programs / "pg_basebackup", "-D", standby.data, "-h", server.sockets, "-U", "shotfix", "-R",
            "-c", "fast", "--no-sync",
        ])  # fmt: skip
        standby.start()
        try:
            yield server, standby, sa.make_url(where).database
        finally:
            standby.stop()


@pytest.mark.slow
def test_a_standby_takes_over(pair):
    """One that we speak to and that comes to write; and one that we come to speak to, when the other is gone."""
    server, standby, name = pair
    both = f"postgresql://shotfix@/{name}?host={standby.sockets},{server.sockets}&target_session_attrs=read-write"
    with Store(standby.url(name)) as store, Store(both) as either:
        assert list(store.alerts()) == burst("a")
        with pytest.raises(StoreError, match="name the one that writes"):
            store.keep(burst("b", 60.0), ROOM, NIGHT_NS)
        assert either.keep(burst("c", 120.0), ROOM, NIGHT_NS) == 3
        while len(list(store.alerts())) < 6:  # it follows
            time.sleep(0.01)
        server.kill()
        with pytest.raises(StoreError):
            either.keep(burst("b", 60.0), ROOM, NIGHT_NS)
        as_nobody([server.programs / "pg_ctl", "-D", standby.data, "-w", "promote"])
        assert persistently(lambda: either.keep(burst("b", 60.0), ROOM, NIGHT_NS)) == 3
        assert persistently(lambda: store.keep(burst("d", 180.0), ROOM, NIGHT_NS)) == 3
        assert list(store.alerts()) == [*burst("a"), *burst("c", 120.0), *burst("b", 60.0), *burst("d", 180.0)]
        assert audit(store.reading).intact
