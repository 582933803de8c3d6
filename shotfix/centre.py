"""The centre: ingest, journal, locator, desk, record and couriers in one process, from its start to its stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette

from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.delivery import Route
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from sensors.identity import Keyring
from shotfix.charter import Charter
from shotfix.clips import ClipStore, Retention
from shotfix.engine import Engine
from shotfix.hearing_pool import HearingPool
from shotfix.http_guard import ServerLimits
from shotfix.http_server import HttpServer, Tls
from shotfix.ingest import Ingest
from shotfix.ingest_http import Door
from shotfix.journal import Journal
from shotfix.journal_replay import CHARTER
from shotfix.keeping import Keeping
from shotfix.metrics import Metrics
from shotfix.nats_stream import StreamError
from shotfix.open_files import allow_open_files
from shotfix.outbox_pump import Pump
from shotfix.registry import read_registry, write_history
from shotfix.results import UnavailableError
from shotfix.service import notify, watchdog_s
from shotfix.streams import Streams, setups_of
from shotfix.vital_signs import VitalSigns

if TYPE_CHECKING:
    from collections.abc import Callable

    from shotfix.config import CourierConfig, SiteConfig
    from shotfix.ingest_nats import NatsDoor
    from shotfix.registry import Registry

BOOT_BYTES: Final = 8
TIDY_S: Final = 3600.0
PATIENCE_S: Final = 15.0
"""For threads to end what they are at."""
ADDRESS: Final = "address"
"""In the data folder: where the centre listens, while it does."""

_log = logging.getLogger(__name__)


class Centre:
    """One centre, opened; `run` it once.

    Parameters
    ----------
    config : SiteConfig
        What it is told.
    reread : callable
        Reads the configuration again, whole and checked, for a reload.

    Raises
    ------
    JournalError, StoreError, RegistryError, CharterError, OSError
        When its memory or its register cannot be opened; each says what to do.
    """

    def __init__(self, config: SiteConfig, reread: Callable[[], SiteConfig] | None = None) -> None:
        self.config = config
        self._reread = reread
        data = config.site.data_dir
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open = contextlib.ExitStack()
        registry = self._registry = read_registry(config.network_file)
        self._charter = Charter.of(config)
        allow_open_files(ServerLimits().connections)
        (data / CHARTER).write_bytes(self._charter.encode())
        self._journal = self._open.enter_context(Journal(data / "journal"))
        self._store = self._open.enter_context(Store(config.record_file))
        self._outbox = Outbox(self._store)
        kept = Retention(config.record.audio_days * 86_400.0, config.record.audio_bytes)
        self._clips = ClipStore(data / "audio", kept)
        routes = [Route(c.name, c.outcomes) for c in config.couriers]  # type: ignore[arg-type]  # checked by the configuration
        self._keeping = Keeping(self._store, routes, self._clips, time.time_ns)
        self.engine = Engine(self._charter, registry, self._journal, data / "checkpoints", self._keeping, time.time_ns)
        boot = secrets.token_hex(BOOT_BYTES)
        self._pool = self._hearing_pool(registry)
        self._streams = (
            None if self._pool is None else Streams(self._pool, self.engine, self._keeping, boot, time.time_ns)
        )
        self.ingest = Ingest(_keyring(registry), self.engine, self._streams, boot, time.time_ns)
        self._metrics = Metrics(
            self.engine,
            self.ingest,
            self._journal,
            self._keeping,
            self._outbox,
            [r.courier for r in routes],
            self._counts_beside,
            time.time_ns,
        )
        self._stop, self._engine_stop = threading.Event(), threading.Event()
        self._engine_thread: threading.Thread | None = None
        self._server: HttpServer | None = None
        self._door: Door | None = None
        self._broker: NatsDoor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: str | None = None
        self._stopping = asyncio.Event()
        self._threads: list[threading.Thread] = []

    def _hearing_pool(self, registry: Registry) -> HearingPool | None:
        """Workers for nodes that send all of their sound; each sensor goes on where the journal ends."""
        workers = self.config.hearing.workers
        if not workers:
            return None
        told = self.engine.core.waiting.told_until
        setups = setups_of(registry, self._charter.air)
        until = {name: at_ns for name in setups if (at_ns := told(name)) is not None}
        pool = HearingPool(setups, workers, told_until=until)
        return self._open.enter_context(pool)

    async def run(self) -> None:
        """Serve until a signal says to stop; then end in order: the doors, the engine, the couriers.

        Raises
        ------
        OSError
            When nobody can listen at the address.
        UnavailableError
            When the broker's stream loses messages, or the engine failed.
        """
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        listen = self.config.listen
        async with contextlib.AsyncExitStack() as open_doors:
            open_doors.push_async_callback(asyncio.to_thread, self._end)
            self._server = HttpServer(self._application(), listen.host, listen.port, _tls(self.config))
            open_doors.push_async_callback(self._server.stop)
            self._begin()
            await self._server.start()
            self._say_ready(self._server.port)
            beside = [asyncio.create_task(work) for work in (self._keep_watch(), self._tidy(), self._serve_broker())]
            await self._stopping.wait()
            notify("STOPPING=1")
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        if self._failure is not None:
            raise UnavailableError(self._failure)

    def stop(self) -> None:
        """Stop in order, as at a signal."""
        self._stopping.set()

    # the start and the end

    def _begin(self) -> None:
        self._engine_thread = threading.Thread(target=self._run_engine, name="engine")
        self._engine_thread.start()
        beside = {"sound": self._keeping.run} | ({"streams": self._streams.run} if self._streams is not None else {})
        for name, work in beside.items():
            self._threads.append(threading.Thread(target=work, args=(self._stop,), name=name))
            self._threads[-1].start()
        for courier in self.config.couriers:
            webhook = self._open.enter_context(contextlib.closing(_webhook(courier)))
            pump = Pump(self._outbox, webhook, time.time_ns, self._stop.wait)
            thread = threading.Thread(target=pump.run, args=(self._stop.is_set,), name=courier.name)
            thread.start()
            self._threads.append(thread)

    def _counts_beside(self) -> dict[str, dict[str, int]]:
        """Counts of the doors, the workers and the store of sound, for the metrics."""
        counts = {"sound_kept": dict(self._clips.counts)}
        if self._pool is not None and self._streams is not None:
            counts |= {"chunks": dict(self._streams.counts), "workers": dict(self._pool.counts)}
        if self._door is not None:
            counts["http_requests"] = dataclasses.asdict(self._door.counts)
        if self._server is not None:
            counts["connections"] = dataclasses.asdict(self._server.counts)
        if self._broker is not None:
            counts["broker"] = {kind: int(count) for kind, count in dataclasses.asdict(self._broker.counts).items()}
        return counts

    def _run_engine(self) -> None:
        try:
            self.engine.run(self._engine_stop)
        except Exception as error:  # noqa: BLE001  (without its engine a centre must not seem to be one)
            _log.critical("the engine failed, the centre ends; what was acknowledged is in the journal", exc_info=True)
            self._fail(f"the engine failed ({type(error).__name__}: {error}); its log says where")

    def _fail(self, words: str) -> None:
        self._failure = words
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve_broker(self) -> None:
        self._broker = _nats_door(self.config, self.ingest)
        if self._broker is None:
            return
        try:
            await self._broker.run(self._stopping)
        except StreamError as error:
            self._fail(str(error))

    def _say_ready(self, port: int) -> None:
        address = dataclasses.replace(self.config.listen, port=port).url
        (self.config.site.data_dir / ADDRESS).write_text(address + "\n")
        _log.info("the centre listens at %s; %d entries in its journal", address, self._journal.end)
        notify(f"READY=1\nSTATUS=listening at {address}")

    def _end(self) -> None:
        (self.config.site.data_dir / ADDRESS).unlink(missing_ok=True)
        self._engine_stop.set()
        if self._engine_thread is not None:
            self._engine_thread.join()
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self._open.close()
        _log.info("the centre has stopped; what was not delivered waits in the record")

    # while it runs

    def _application(self) -> Starlette:
        signs = VitalSigns(self.engine, self._metrics, time.time_ns)
        self._door = Door(self.ingest.take)
        return Starlette(routes=[*self._door.routes(), *signs.routes()])

    async def _keep_watch(self) -> None:
        """Tell the service manager that the engine is alive, for as long as it is."""
        while (watchdog := watchdog_s()) is not None:
            if self.engine.alive(time.time_ns()):
                notify("WATCHDOG=1")
            await asyncio.sleep(watchdog)

    async def _tidy(self) -> None:
        """Let go of what is older, or more, than the configuration keeps."""
        while True:
            await asyncio.sleep(TIDY_S)
            await asyncio.to_thread(self.engine.tidy, self.config.record.journal_days, self.config.record.journal_bytes)
            pinned = await asyncio.to_thread(self._named_sound)
            swept = await asyncio.to_thread(self._clips.sweep, time.time(), pinned.__contains__)
            if swept:
                _log.info("let go of %d clips that no alert names", swept)

    def _named_sound(self) -> set[str]:
        """The sound that alerts name: it stays for as long as they do."""
        return {audio.sha256 for alert in self._store.alerts() for audio in alert.audio}

    def _reload(self) -> None:
        """Take over the register and the weather anew, if all of the configuration is right; else go on as before."""
        if self._reread is None:
            return
        notify("RELOADING=1")
        try:
            config = self._reread()
            registry, words = self._registry.revised(read_registry(config.network_file))
            keyring = _keyring(registry)
            if words:
                write_history(config.network_file, registry, words, at_ns=time.time_ns(), who="reload")
        except Exception as error:  # noqa: BLE001  (whatever is wrong with a file, the centre goes on)
            _log.error("not reloaded, everything stays as it was: %s", error)
        else:
            self._registry = registry
            self.ingest.keyring = keyring
            tls = _tls(config)
            if tls is not None and self._server is not None:
                self._server.renew_certificate(tls)
            self.engine.revise(registry, config.air.air())
            if self._pool is not None:
                self._pool.revise(setups_of(registry, config.air.air()))
            for word in words:
                _log.info("the network: %s", word)
            _log.info("reloaded; only the register, the weather and the certificate change without a restart")
        notify("READY=1")


def serve(config: SiteConfig, reread: Callable[[], SiteConfig] | None = None) -> None:
    """Run a centre until a signal stops it.

    Raises
    ------
    As `Centre`.
    """
    import uvloop  # noqa: PLC0415  (only a centre needs it)

    centre = Centre(config, reread)
    uvloop.run(centre.run())


def _keyring(registry: Registry) -> Keyring:
    return Keyring(registry.keys, registry.revoked)


def _tls(config: SiteConfig) -> Tls | None:
    listen = config.listen
    if listen.tls_cert_file is None or listen.tls_key_file is None:
        return None
    return Tls(listen.tls_cert_file, listen.tls_key_file)


def _nats_door(config: SiteConfig, ingest: Ingest) -> NatsDoor | None:
    """The door for nodes that come through a broker, where there is one."""
    nats = config.nats
    if nats is None:
        return None
    from sensors.cell import Territory  # noqa: PLC0415  (few centres have a broker)
    from sensors.nats_link import NatsLink  # noqa: PLC0415
    from shotfix.ingest_nats import NatsDoor  # noqa: PLC0415

    link = NatsLink(
        (nats.url,), ca_file=nats.ca_file, credentials_file=nats.credentials_file, allow_plain=nats.allow_plain
    )
    territory = Territory(frozenset(nats.cells), nats.margin_m) if nats.cells else None
    return NatsDoor(ingest.take, link, nats.city, nats.worker, territory)


def _webhook(courier: CourierConfig) -> Webhook:
    destination = Destination(courier.url, courier.allow_private)
    return Webhook(courier.name, destination, [Secret.parse(courier.secret_file.read())])
