"""Devices: what a node's configuration says, as the sources, clocks and transports that do it."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sensors import time_source
from sensors.cell import cell_of
from sensors.supervisor import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensors.source import Source
    from sensors.time_source import TimeSource
    from sensors.transport import Transport
    from shotfix.config_node import ClockConfig, NodeConfig, SourceConfig

CELL_M: Final = 2000
"""Of a city whose centre does not say otherwise."""
LATENCY_SIGMAS_S: Final = {"microphone": 0.0005, "stdin": 0.05, "rtp": 0.005, "stream": 0.3}
"""How surely stamps are known to be late by ``latency_s``, where nobody has measured: of a card's driver, of a pipe
between two programs, of a network and whole packets, of a camera's codec and its buffers."""
SERVED_SIGMA_S: Final = 0.02
"""The same of a microphone behind a sound server: it is stamped when it comes, late by some blocks."""


def source_of(config: NodeConfig) -> Callable[[], Source]:
    """What makes a source anew, for each time that it is opened.

    Raises
    ------
    SourceError
        When its kind needs something that is not installed.
    """
    source = config.source
    if source.kind == "microphone":
        from sensors.capture import Capture  # a node has one source

        return lambda: Capture(source.device, rate_hz=source.rate_hz, channels=source.channels)
    if source.kind in {"file", "folder"}:
        return lambda: _playing(source)
    if source.kind == "stdin":
        from sensors.piped import Piped

        return lambda: Piped(encoding=source.format, rate_hz=source.rate_hz, channels=source.channels)
    if source.kind == "rtp":
        from sensors.rtp_source import Rtp

        return lambda: Rtp(
            source.port or 0,
            encoding=source.encoding,
            rate_hz=source.rate_hz,
            channels=source.channels,
            payload_type=source.payload_type,
            address=source.host,
        )
    from sensors.stream import Stream

    return lambda: Stream(source.url or "")


def latency_of(source: SourceConfig, opened: Source | None) -> tuple[float, float]:
    """How late a source's stamps are at best and one standard deviation of that, s; as stated, else by its kind.

    A microphone is a sound server's until the one that was opened shows itself to be a card.
    """
    sigma_s = source.latency_sigma_s
    if sigma_s is None:
        sigma_s = LATENCY_SIGMAS_S.get(source.kind, 0.0)
        if source.kind == "microphone" and not getattr(opened, "bare", False):
            sigma_s = SERVED_SIGMA_S
    return source.latency_s, sigma_s


def patience_of(config: NodeConfig) -> Patience:
    """How soon a source is given up: a camera needs longer to answer than a microphone."""
    if config.source.kind != "stream":
        return Patience()
    from sensors.stream import PATIENCE

    return PATIENCE


def time_source_of(config: ClockConfig) -> TimeSource:
    """Whom to ask about the clock."""
    if config.sigma_s is not None:
        return time_source.Stated(config.sigma_s)
    if config.source == "chrony":
        return time_source.Chrony()
    if config.source == "pps":
        return time_source.Pulse()
    if config.source == "ptp":
        return time_source.Ptp()
    return time_source.Kernel()


def transport_of(config: NodeConfig) -> Transport:
    """The way to the centre.

    Raises
    ------
    ValueError
        When it goes through a broker and nobody says in which cell the node stands.
    """
    address = config.centre
    if not address.broker:
        from sensors.http_transport import HttpTransport  # a node has one transport

        return HttpTransport(address.url, ca_file=address.ca_file, allow_plain_http=address.allow_plain)
    from sensors.nats_link import NatsLink
    from sensors.nats_transport import NatsTransport

    link = NatsLink(
        (address.url,),
        ca_file=address.ca_file,
        credentials_file=address.credentials_file,
        allow_plain=address.allow_plain,
    )
    return NatsTransport(link, address.city, address.cell or _cell(config), config.node.node_id)


def _playing(config: SourceConfig) -> Source:
    """Recordings, read anew at each opening: files may have come."""
    from sensors.playing import Playing, Recording, recordings_of

    if config.kind == "folder" and config.path is not None and config.name_format is not None:
        name_format = re.sub(r"\.(wav|flac)$", "", config.name_format, flags=re.IGNORECASE)
        zoned = "%z" in name_format or name_format.endswith("Z")
        found = recordings_of(config.path, name_format, utc_offset=None if zoned else timedelta(0))
        return Playing(found, factor=config.pace)
    if config.path is not None:
        start_ns = time.time_ns() if config.start_ns is None else config.start_ns
        return Playing([Recording(config.path, start_ns)], factor=config.pace)
    pieces = sorted(config.pieces, key=lambda piece: piece.start_ns)
    found = tuple(Recording(p.path, p.start_ns, None if p.channel is None else (p.channel,)) for p in pieces)
    return Playing(found, factor=config.pace, origin_ns=config.origin_ns)


def _cell(config: NodeConfig) -> str:
    position = config.sensors[0].position
    if position is None:
        raise ValueError("centre.cell: absent, and the sensor has no position; a broker's subjects need one of them")
    return cell_of(position, CELL_M)
