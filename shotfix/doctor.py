"""The doctor: what is wrong with a machine or its configuration, and what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from shotfix.config import NodeConfig, SiteConfig
from shotfix.config_reading import ConfigError, kind_of, read_node, read_site
from shotfix.finding import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensors.time_source import Reading
    from shotfix.registry import Registry

Finder: TypeAlias = Callable[[], Iterator["Finding"]]

PATIENCE_S: Final = 5.0
SLOW_SYNC_S: Final = 0.05  # every message waits for one: at 20 a second a disk is the slowest part of all
SHORT_DAYS: Final = 14.0
LEAST_ROOM_BYTES: Final = 200_000_000
GOOD_SIGMA_S: Final = 0.001  # a third of a metre
WORST_SIGMA_S: Final = 0.02  # seven metres: no better than the middle of the block

NETWORK: Final = "network.toml"
AT_A_LEAP: Final = (
    "nodes take it for a clock that jumped: for up to ten minutes after it shots are placed worse, or not at all"
)


def examine(path: Path | None) -> list[Finding]:
    """Look at everything that a configuration names; without one, at the machine."""
    findings = [*program()]
    if path is None:
        return findings + _all(devices, lambda: clock(None))
    try:
        kind = kind_of(path)
        if kind == "node":
            found = Finding("configuration", "OK", f"{path.name}: a sensor node")
            config = read_node(path)
            return [*findings, found, *node(config), *_all(lambda: place(config, path))]
        if kind == "site":
            return [*findings, Finding("configuration", "OK", f"{path.name}: a centre"), *site(read_site(path))]
        from shotfix.registry import read_registry  # few have a register alone

        registry = read_registry(path)
        return [*findings, Finding("configuration", "OK", f"{path.name}: a network"), *geometry(registry)]
    except ConfigError as error:
        remedy = "mend it; shotfix check-config tells the same"
        return findings + [Finding("configuration", "FAIL", str(each), remedy) for each in error.problems]


def node(config: NodeConfig) -> list[Finding]:
    """What is there of a sensor node."""
    looks: list[Finder] = []
    if config.source.kind == "microphone":
        looks.append(lambda: devices(config.source.device))
    looks += [
        lambda: identity(config.node.key_file),
        lambda: clock(config),
        lambda: disk(config.node.data_dir, max(LEAST_ROOM_BYTES, config.spool.most_bytes)),
        lambda: reachable("centre", config.centre.url, config.centre.ca_file),
    ]
    return _all(*looks)


def site(config: SiteConfig) -> list[Finding]:
    """What is there of a centre."""
    from shotfix.registry import read_registry  # a node has none

    looks: list[Finder] = [
        lambda: clock(None),
        lambda: disk(config.site.data_dir, config.record.journal_bytes + config.record.audio_bytes),
        lambda: door(config),
    ]
    if config.listen.tls_cert_file is not None:
        looks.append(lambda: certificate(config))
    if config.nats is not None:
        looks.append(partial(reachable, "broker", config.nats.url, config.nats.ca_file))
    looks += [partial(courier, each.name, each.url) for each in config.couriers if each.url is not None]
    looks += [partial(drop, each.name, each.folder) for each in config.couriers if each.folder is not None]
    if isinstance(config.record_at, str):
        looks.append(partial(database, config.record_at))
    found = _all(*looks)
    try:
        registry = read_registry(config.network_file)
    except ConfigError as error:
        return found + [Finding("network.toml", "FAIL", str(each), "mend it") for each in error.problems]
    return found + _all(lambda: geometry(registry))


def _all(*looks: Finder) -> list[Finding]:
    """What each look finds; one that fails is a finding, and keeps none of the others back."""
    found: list[Finding] = []
    for look in looks:
        try:
            found += look()
        except Exception as error:  # noqa: BLE001  (a doctor that faints helps nobody)
            what = f"could not be looked at ({type(error).__name__}: {error})"
            found.append(Finding("doctor", "FAIL", what, "report this as an error of the program"))
    return found


def program() -> Iterator[Finding]:
    """The machine and the interpreter."""
    bits = struct.calcsize("P") * 8
    said = f"Python {sys.version.split()[0]}, {bits} bit, {os.cpu_count()} cores"
    if bits < 64:
        remedy = "install a 64-bit system; numba and scipy are not made for 32 bits"
        yield Finding("program", "FAIL", said, remedy)
    else:
        yield Finding("program", "OK", said)


def devices(wanted: Sequence[str] = ()) -> Iterator[Finding]:
    """Microphones, and whether the one that is asked for is among them."""
    from sensors.capture import microphones  # it loads PortAudio
    from sensors.microphones import choose
    from sensors.source import SourceError

    try:
        found = microphones()
    except SourceError as error:
        yield Finding("microphone", "FAIL" if wanted else "WARN", str(error), "make system installs PortAudio")
        return
    names = ", ".join(f'"{each.name}"' for each in found) or "none"
    if not wanted:
        if found:
            yield Finding("microphone", "OK", f"there are {names}")
        else:
            yield Finding(
                "microphone", "WARN", "there are none", "plug one in, where this machine is to hear by itself"
            )
        return
    try:
        yield Finding("microphone", "OK", f'"{choose(found, wanted).name}" is there')
    except SourceError as error:
        yield Finding(
            "microphone", "FAIL", str(error), f"plug it in, or name another in source.device; there are {names}"
        )


def identity(key_file: Path) -> Iterator[Finding]:
    """Whether the node's key can be used, and by what name logs call it."""
    from sensors.identity import IdentityError, NodeKey, key_name  # keys are slow to load

    try:
        yield Finding("key", "OK", f"{key_file.name} is key {key_name(NodeKey.load(key_file).public_text)}")
    except IdentityError as error:
        yield Finding("key", "FAIL", str(error), "shotfix node enrol makes a new one, and the centre must learn of it")


def certificate(config: SiteConfig) -> Iterator[Finding]:
    """Whether the centre's certificate can be used, and for how long."""
    from cryptography.x509 import load_pem_x509_certificate  # few have one

    from shotfix.checking import tls_trouble

    if problem := tls_trouble(config):
        yield Finding("certificate", "FAIL", problem)
        return
    path = config.listen.tls_cert_file or Path()
    ends = load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    days = (ends.timestamp() - time.time()) / 86_400.0
    said = f"{path.name} is valid until {ends:%Y-%m-%d}"
    if days < 0.0:
        yield Finding("certificate", "FAIL", said, "renew it: no node speaks to this centre")
    elif days < SHORT_DAYS:
        yield Finding("certificate", "WARN", f"{said}, {days:.0f} days", "renew it in time")
    else:
        yield Finding("certificate", "OK", said)


def clock(config: NodeConfig | None) -> Iterator[Finding]:
    """How sure the time is, as whoever disciplines the clock says."""
    from sensors.time_source import Kernel, TimeSourceError, implausible
    from shotfix.devices import time_source_of

    if doubt := implausible(time.time_ns()):
        yield Finding("clock", "FAIL", doubt, "set the clock, and let chronyd keep it")
        return
    try:
        reading = (Kernel() if config is None else time_source_of(config.clock)).read()
    except TimeSourceError as error:
        yield Finding("clock", "FAIL" if config is not None else "WARN", str(error))
        return
    yield judged_clock(reading, needed=config is not None)


def judged_clock(reading: Reading, *, needed: bool) -> Finding:
    """A reading as a finding; a centre needs no good clock, a node does."""
    said = f"{reading.source}: {reading.state}, within {reading.bound_s * 1e3:.3g} ms"
    bad: Verdict = "FAIL" if needed else "WARN"
    if reading.doubt:
        return Finding("clock", bad, f"{said}; {reading.doubt}", "run chronyd, with a GPS receiver where it can be had")
    if reading.bound_s > WORST_SIGMA_S:
        metres = reading.bound_s * 340.0
        return Finding("clock", bad, said, f"that is {metres:.0f} m of sound: give it a better time source")
    if reading.bound_s > GOOD_SIGMA_S:
        return Finding(
            "clock", "WARN" if needed else "OK", said, "good for some metres; GPS makes it one" if needed else ""
        )
    if reading.leap:
        return Finding("clock", "WARN", f"{said}; a leap second comes at the end of the UTC day", AT_A_LEAP)
    return Finding("clock", "OK", said)


def disk(folder: Path, wanted_bytes: int) -> Iterator[Finding]:
    """Room where the data lie, and how long the disk takes to keep a promise."""
    there = folder if folder.is_dir() else folder.parent
    try:
        free_bytes = shutil.disk_usage(there).free
        sync_s = _sync_s(there)
    except OSError as error:
        yield Finding(
            "disk", "FAIL", f"{there}: {error.strerror}", "check the folder's owner, and whether it is mounted"
        )
        return
    said = f"{there}: {free_bytes / 1e9:.1f} GB free"
    if free_bytes < LEAST_ROOM_BYTES:
        yield Finding("disk", "FAIL", said, "make room: nothing can be acknowledged on a full disk")
    elif free_bytes < wanted_bytes:
        wants = f"up to {wanted_bytes / 1e9:.1f} GB may be kept by the configuration"
        yield Finding("disk", "WARN", said, f"{wants}: make room, or lower its bounds")
    else:
        yield Finding("disk", "OK", said)
    said = f"a write reaches the disk in {sync_s * 1e3:.1f} ms"
    remedy = "every message waits for it: use a better card or disk"
    yield Finding("disk", "WARN", said, remedy) if sync_s > SLOW_SYNC_S else Finding("disk", "OK", said)


def _sync_s(folder: Path, times: int = 7) -> float:
    """Median time of a small write with fsync, seconds."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as stream:
        for _ in range(times):
            began = time.perf_counter()
            stream.write(b"\0" * 4096)
            stream.flush()
            os.fsync(stream.fileno())
            took.append(time.perf_counter() - began)
    return median(took)


def door(config: SiteConfig) -> Iterator[Finding]:
    """Whether a centre listens where it is told to, or could."""
    listen = config.listen
    try:
        with socket.create_connection((listen.host, listen.port or 1), PATIENCE_S):
            pass
    except OSError:
        yield Finding("centre", "OK", f"nobody is at port {listen.port}: free for a centre to start")
        return
    yield from reachable("centre", listen.url, listen.tls_cert_file)


def reachable(about: str, url: str, ca_file: Path | None = None) -> Iterator[Finding]:
    """Whether a centre or a broker answers."""
    split = urlsplit(url)
    host, secure = split.hostname or "", split.scheme in {"https", "tls"}
    port = split.port or {"http": 80, "https": 443}.get(split.scheme, 4222)
    try:
        if split.scheme in {"nats", "tls"}:
            with socket.create_connection((host, port), PATIENCE_S):
                yield Finding(about, "OK", f"{host}:{port} takes connections")
            return
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None) if secure else None
        status, body = _ready(host, port, context)
    except ssl.SSLError as error:
        remedy = "name the certificate that signs it in ca_file, and reach it by the name in its certificate"
        yield Finding(about, "FAIL", f"{host}:{port}: {error.reason or error}", remedy)
        return
    except (OSError, HTTPException) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        remedy = "is it running, is its name right, does a firewall stand between?"
        yield Finding(about, "FAIL", f"{host}:{port} does not answer ({why})", remedy)
        return
    if status == 200:
        yield Finding(about, "OK", f"{host}:{port} is ready")
    elif status == 503:
        yield Finding(about, "WARN", f"{host}:{port} is there and not ready: {body}", "wait, or ask the doctor there")
    else:
        yield Finding(about, "FAIL", f"{host}:{port}/readyz answers {status}", "is it a centre of shotfix?")


def _ready(host: str, port: int, context: ssl.SSLContext | None) -> tuple[int, str]:
    if context is not None:
        connection: HTTPConnection = HTTPSConnection(host, port, timeout=PATIENCE_S, context=context)
    else:
        connection = HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(300).decode("utf-8", "replace")
        return answer.status, "".join(letter if letter.isprintable() else " " for letter in body)
    finally:
        connection.close()


def courier(name: str, url: str) -> Iterator[Finding]:
    """Whether somebody is at the other end; nothing is delivered. The URL may hold a token and is not shown."""
    split = urlsplit(url)
    port = split.port or (443 if split.scheme == "https" else 80)
    try:
        with socket.create_connection((split.hostname or "", port), PATIENCE_S):
            yield Finding(f"courier {name}", "OK", f"{split.hostname}:{port} takes connections")
    except OSError as error:
        remedy = "alerts wait in the outbox until it does; is the receiver running?"
        said = f"{split.hostname}:{port} does not answer ({error.strerror or type(error).__name__})"
        yield Finding(f"courier {name}", "WARN", said, remedy)


def drop(name: str, folder: Path) -> Iterator[Finding]:
    """Whether the folder of a courier of files is there: it makes none, which could hide one that is not mounted."""
    if folder.is_dir():
        yield from disk(folder, 0)
        return
    remedy = "make it, or mount what should be there; alerts wait in the outbox until it is"
    yield Finding(f"drop {name}", "FAIL", f"{folder}: no such folder", remedy)


def database(where: str) -> Iterator[Finding]:
    """Whether the server that the record is on answers; the address may hold a password and is not shown."""
    import sqlalchemy as sa  # few have a server

    from alerts.record.database import StoreError
    from alerts.record.opening import open_database

    try:
        with closing(open_database(where)) as server, server.reading() as connection:
            connection.execute(sa.select(1))
            yield Finding("record", "OK", f"{server.name} answers")
    except StoreError as error:
        said, _, remedy = str(error).partition("; ")
        yield Finding("record", "FAIL", said, remedy or "mend record.database")


def place(config: NodeConfig, path: Path) -> Iterator[Finding]:
    """Whether a node's file and the network's place its sensors alike, where network.toml lies beside or above it."""
    from shotfix.enrolling import same_place  # it writes folders and keys
    from shotfix.registry import read_registry

    folder = path.resolve().parent
    network = next((each / NETWORK for each in (folder, folder.parent) if (each / NETWORK).is_file()), None)
    if network is None:
        return  # a node of its own: the centre alone knows
    try:
        differing = same_place(config, read_registry(network))
    except ConfigError as error:
        yield from (Finding(NETWORK, "WARN", str(each), "mend it") for each in error.problems)
        return
    if not differing:
        yield Finding("place", "OK", f"{network.name} has the same of every sensor")
    for said in differing:
        yield Finding("place", "WARN", said, "mend the one that is not as surveyed")


def geometry(registry: Registry) -> Iterator[Finding]:
    """Whether the sensors stand so that shots can be placed."""
    from shotfix.geometry import findings  # it loads numba

    yield from findings(registry)
