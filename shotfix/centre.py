"""The centre: ingest, journal, locator, desk, record and couriers in one process, from its start to its stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import secrets
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette

from sensors.identity import Keyring
from shotfix.almanac import calendar_of, calendar_or_nothing
from shotfix.api.application import Api
from shotfix.api.sensor_states import sensor_states
from shotfix.centre_figures import Beside
from shotfix.charter import Charter
from shotfix.crew import Crew
from shotfix.disk import write_whole
from shotfix.engine import Engine
from shotfix.entries import act_body
from shotfix.hearing_pool import HearingPool
from shotfix.http_guard import ServerLimits
from shotfix.http_headers import Dressed
from shotfix.http_server import HttpServer, Tls
from shotfix.ingest import Ingest
from shotfix.ingest_http import Door
from shotfix.journal import Journal
from shotfix.journal_replay import CHARTER
from shotfix.metrics import Figures, Metrics
from shotfix.nats_stream import StreamError
from shotfix.open_files import allow_open_files
from shotfix.registry import read_registry, told_revision, write_history
from shotfix.reloading import prepare
from shotfix.results import UnavailableError
from shotfix.service import notify, watchdog_s
from shotfix.streams import Streams, setups_of
from shotfix.telling import Telling
from shotfix.tidying import Tidying
from shotfix.vital_signs import VitalSigns
from shotfix.warming import warm_locator

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from alerts.calendar_event import ExpectedEvent
    from alerts.review.acts import Decision
    from shotfix.config import SiteConfig
    from shotfix.registry import Registry
    from shotfix.reloading import Reload

BOOT_BYTES: Final = 8
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
        try:
            self._open_all(config, data)
        except BaseException:
            self._open.close()
            raise

    def _open_all(self, config: SiteConfig, data: Path) -> None:
        registry = read_registry(config.network_file)
        self._charter = Charter.of(config)
        allow_open_files(ServerLimits().connections)
        # Before anything is written: its lock keeps a second centre out of the folder.
        self._journal = self._open.enter_context(Journal(data / "journal"))
        write_whole(data / CHARTER, lambda file: file.write(self._charter.encode()))
        self._telling = Telling(config, self._open, time.time_ns)
        self.engine = Engine(
            self._charter,
            registry,
            self._journal,
            data / "checkpoints",
            self._telling.keeping,
            time.time_ns,
            told_revision(data),
            calendar_or_nothing(config, time.time_ns()),
        )
        self._registry = registry = registry.numbered(self.engine.registry_revision)
        self._tell_revision(registry, self.engine.changes, "start")
        self._tidying = Tidying(self.engine, self._telling, config.record, self._calendar)
        boot = secrets.token_hex(BOOT_BYTES)
        self._pool = self._hearing_pool(registry)
        self._streams = (
            None if self._pool is None else Streams(self._pool, self.engine, self._telling.keeping, boot, time.time_ns)
        )
        self._api = Api(self._telling.services(self._submit, lambda: sensor_states(self.engine)))
        self.ingest = Ingest(Keyring(registry.keys, registry.revoked), self.engine, self._streams, boot, time.time_ns)
        self._beside = Beside(self.engine, self._telling, self._api, self._tidying)
        figures = Figures(
            self.engine,
            self.ingest,
            self._journal,
            self._telling.keeping,
            self._telling.outbox,
            self._telling.couriers,
            self._beside.counts,
            self._beside.levels,
            time.time_ns,
        )
        self._metrics = Metrics(self.engine, figures)
        self._stop, self._engine_stop = threading.Event(), threading.Event()
        self._crew = Crew(self._fail)
        self._engine_thread: threading.Thread | None = None
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._server: HttpServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: str | None = None
        self._stopping = asyncio.Event()

    def _submit(self, decision: Decision) -> Future[bool]:
        """Hand the engine what a person decided; it is in the record already, and found there again after a kill."""
        body = act_body(decision.act, decision.known, decision.earlier)
        return self.engine.submit("act", time.time_ns(), body)

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
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        listen = self.config.listen
        async with contextlib.AsyncExitStack() as open_doors:
            open_doors.push_async_callback(asyncio.to_thread, self._end)
            tls = _tls(self.config)
            application = Dressed(self._application(), tls=tls is not None)
            self._server = server = HttpServer(application, listen.host, listen.port, tls)
            self._beside.add("connections", lambda: server.counts)
            open_doors.push_async_callback(self._server.stop)
            open_doors.push_async_callback(self._api.stop)  # the server would wait for streams that never end
            await asyncio.to_thread(warm_locator)  # a first shot must not wait for a compiler
            self._begin()
            await self._server.start()
            self._say_ready(self._server.port)
            beside = [
                self._crew.task("watchdog", self._keep_watch),
                self._crew.task("tidying", functools.partial(self._tidying.run, self._submit)),
                self._crew.task("broker's door", self._serve_broker),
            ]
            await self._stopping.wait()
            notify("STOPPING=1")
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, *self._reloads, return_exceptions=True)
        if self._failure is not None:
            raise UnavailableError(self._failure)

    def stop(self) -> None:
        """Stop in order, as at a signal."""
        self._stopping.set()

    # the start and the end

    def _begin(self) -> None:
        run_engine = functools.partial(self.engine.run, self._engine_stop)
        self._engine_thread = self._crew.thread("engine", run_engine, self._engine_stop.is_set)
        stopped = self._stop.is_set
        if self._streams is not None and self._pool is not None:
            streams, pool = self._streams, self._pool
            self._beside.add("chunks", lambda: streams.counts)
            self._beside.add("workers", lambda: pool.counts)
            self._crew.thread("streams", functools.partial(self._streams.run, self._stop), stopped)
        self._telling.begin(self._crew, self._stop)
        self._telling.resume(self._submit)

    def _troubles(self) -> list[str]:
        """What is wrong beside the engine, in words."""
        return [*self._crew.lost, *self._telling.troubles(), *self._api.troubles]

    def _fail(self, words: str) -> None:
        self._failure = self._failure or words
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve_broker(self) -> None:
        if self.config.nats is None:
            return
        from shotfix.ingest_nats import NatsDoor  # few centres have a broker

        broker = NatsDoor.of(self.config.nats, self.ingest.take)
        self._beside.add("broker", lambda: broker.counts)
        try:
            await broker.run(self._stopping)
        except StreamError as error:
            self._fail(str(error))

    def _say_ready(self, port: int) -> None:
        address = dataclasses.replace(self.config.listen, port=port).url
        try:
            (self.config.site.data_dir / ADDRESS).write_text(address + "\n")
        except OSError as error:
            _log.warning("%s: not written (%s); only programs that look there miss it", ADDRESS, error.strerror)
        _log.info("the centre listens at %s; %d entries in its journal", address, self._journal.end)
        notify(f"READY=1\nSTATUS=listening at {address}")

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # a disk that refuses must not keep us from ending
            (self.config.site.data_dir / ADDRESS).unlink(missing_ok=True)
        self._engine_stop.set()
        if self._engine_thread is not None:
            self._engine_thread.join()
        self._stop.set()
        self._telling.wake()
        self._crew.join(PATIENCE_S)
        self._open.close()
        _log.info("the centre has stopped; what was not delivered waits in the record")

    # while it runs

    def _calendar(self) -> tuple[ExpectedEvent, ...]:
        return calendar_of(self.config, time.time_ns())

    def _application(self) -> Starlette:
        token_file = self.config.listen.metrics_token_file
        signs = VitalSigns(self.engine, self._metrics, self._troubles, token_file, time.time_ns)
        door = Door(self.ingest.take)
        self._beside.add("http_requests", lambda: door.counts)
        application = Starlette(routes=[*door.routes(), *signs.routes(), *self._api.routes()])
        application.router.redirect_slashes = False  # where to would come from a header that anybody can write
        return application

    async def _keep_watch(self) -> None:
        """Tell the service manager that the engine is alive, for as long as it is."""
        while (watchdog := watchdog_s()) is not None:
            if self.engine.alive(time.time_ns()):
                notify("WATCHDOG=1")
            await asyncio.sleep(watchdog)

    def _reload_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def reload(self) -> None:
        """Take over register, weather, calendar, certificate and secrets, if all of the files are right; or nothing.

        Nothing raises, and nothing is taken over before all of it was checked.
        """
        if self._reread is None:
            return
        async with self._reloading:
            notify("RELOADING=1")
            try:
                data = self.config.site.data_dir
                new = await asyncio.to_thread(prepare, self._reread, self._registry, self._charter, data)
                await asyncio.to_thread(self._tell_revision, new.registry, new.words, "reload")
            except Exception as error:  # noqa: BLE001  (whatever is wrong with a file, the centre goes on)
                _log.error("not reloaded, everything stays as it was: %s", error)
            else:
                await self._take_over(new)
            finally:
                notify("READY=1")

    async def _take_over(self, new: Reload) -> None:
        self._registry = new.registry
        # What is read again each time it is wanted; the rest of a changed configuration waits for a restart.
        self.config = dataclasses.replace(self.config, expected=new.config.expected)
        self.engine.expect(new.events)
        self.ingest.keyring = new.keyring
        self.engine.revise(new.registry, new.air)
        self._telling.take_secrets(new.config.couriers, new.signings)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.revise, new.setups)
        tls = _tls(new.config)
        try:
            if tls is not None and self._server is not None:
                self._server.renew_certificate(tls)
        except OSError as error:  # it was whole a moment ago
            _log.error("the certificate stays as it was: %s", error)
        for word in new.words:
            _log.info("the network: %s", word)
        _log.info("reloaded; without a restart change register, weather, calendar, certificate and secrets alone")

    def _tell_revision(self, registry: Registry, words: tuple[str, ...], who: str) -> None:
        if words:
            write_history(self.config.site.data_dir, registry, words, at_ns=time.time_ns(), who=who)


def serve(config: SiteConfig, reread: Callable[[], SiteConfig] | None = None) -> None:
    """Run a centre until a signal stops it.

    Raises
    ------
    As `Centre`.
    """
    import uvloop  # only a centre needs it

    centre = Centre(config, reread)
    uvloop.run(centre.run())


def _tls(config: SiteConfig) -> Tls | None:
    listen = config.listen
    if listen.tls_cert_file is None or listen.tls_key_file is None:
        return None
    return Tls(listen.tls_cert_file, listen.tls_key_file)
