"""Bounds on HTTP connections that say nothing, say it slowly, or never stop: uvicorn has none for headers itself."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What connections may cost.

    Parameters
    ----------
    connections, connections_per_address : int
        Open at one moment; those beyond are closed as they come. Nodes behind one router share its address. What comes
        from this machine itself (a proxy, for all of the nodes) is bounded by ``connections`` alone.
    header_s : float
        From its first byte, and from the opening of the connection, until a request's header is whole.
    header_bytes : int
        No header is longer.
    keep_s : float
        An idle connection is kept so long.
    stop_s : float
        At a stop, how long requests under way may take.
    """

    connections: int = 8_192
    connections_per_address: int = 512
    header_s: float = 10.0
    header_bytes: int = 16_384
    keep_s: float = 75.0
    stop_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.connections_per_address <= self.connections:
            words = f"expected 1 to {self.connections}, the number of connections"
            raise ValueError(f"connections_per_address is {self.connections_per_address}: {words}")
        if not (self.header_s > 0.0 and self.keep_s > 0.0 and self.stop_s >= 0.0 and self.header_bytes >= 1_024):
            raise ValueError("times of a server are above 0 s, and a header may have at least 1,024 bytes")


@dataclass(slots=True)
class ConnectionCounts:
    """Connections since the start, and those that were ended, by reason."""

    opened: int = 0
    over_limit: int = 0
    slow_header: int = 0
    long_header: int = 0


@dataclass(slots=True)
class Guard:
    """The bounds of one server, and how many connections each address has open."""

    limits: ServerLimits
    counts: ConnectionCounts
    addresses: Counter[str] = field(default_factory=Counter)

    def admits(self, address: str, connections: int) -> bool:
        """Count a new connection; whether there is room for it."""
        self.counts.opened += 1
        self.addresses[address] += 1
        is_few = self.addresses[address] <= self.limits.connections_per_address
        if connections <= self.limits.connections and (is_few or _is_ours(address)):
            return True
        self.counts.over_limit += 1
        return False

    def gone(self, address: str) -> None:
        """One connection of this address is closed."""
        self.addresses[address] -= 1
        if self.addresses[address] <= 0:
            del self.addresses[address]


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol; a connection that owes us a header is ended when it is too slow or too long."""

    def __init__(self, *arguments: Any, guard: Guard, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._guard = guard
        self._address = ""
        self._header_timer: asyncio.TimerHandle | None = None
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Admit it, or end it."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        if self._guard.admits(self._address, len(self.connections)):
            self._await_header()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._header_is_here()
        self._guard.gone(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a header."""
        if self._header_timer is None and (self.cycle is None or self.cycle.response_complete):
            # Uvicorn forgets an idle connection at its first byte, even at an empty line before a request.
            self._await_header()
        if self._header_timer is not None:
            self._header_bytes += len(data)
            if self._header_bytes > self._guard.limits.header_bytes and not self._ends_in(data):
                self._guard.counts.long_header += 1
                self.transport.abort()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A header begins."""
        super().on_message_begin()
        if self._header_timer is None:
            self._await_header()

    def on_headers_complete(self) -> None:
        """A header is whole."""
        self._header_is_here()
        super().on_headers_complete()

    def _ends_in(self, data: bytes) -> bool:
        """Whether the header may end within its bounds in this piece, which may hold much of the body too."""
        before = self._header_bytes - len(data)
        return b"\n\r\n" in data[: max(self._guard.limits.header_bytes - before, 0)]

    def _await_header(self) -> None:
        self._header_is_here()
        self._header_bytes = 0
        self._header_timer = self.loop.call_later(self._guard.limits.header_s, self._too_slow)

    def _header_is_here(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _too_slow(self) -> None:
        self._header_timer = None
        self._guard.counts.slow_header += 1
        self.transport.abort()


def _is_ours(address: str) -> bool:
    """Whether it is of this machine itself."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
