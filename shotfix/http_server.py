"""The centre's HTTP server: uvicorn, with an end to the patience for those who open connections and say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvicorn

from shotfix.http_guard import ConnectionCounts, Guard, GuardedProtocol, ServerLimits

_BACKLOG: Final = 1_024  # connections that wait to be accepted: a city that comes back after a cut comes all at once


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate of a server and its key, PEM."""

    certificate: Path
    key: Path = field(repr=False)


class HttpServer:
    """Serves an ASGI application, in the event loop it is started in.

    Parameters
    ----------
    application : ASGI application
        Of the centre.
    host, port
        Where to listen; port 0 takes a free one.
    tls : Tls or None
        Plain http without.
    limits : ServerLimits
        What connections may cost.
    """

    def __init__(
        self, application: Any, host: str, port: int, tls: Tls | None = None, limits: ServerLimits | None = None
    ) -> None:
        self.counts = ConnectionCounts()
        self._limits = limits or ServerLimits()
        self._socket = _listening(host, port)
        self._config = uvicorn.Config(
            application,
            http=functools.partial(GuardedProtocol, guard=Guard(self._limits, self.counts)),  # type: ignore[arg-type]  # it is called, as a class would be
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=int(self._limits.keep_s) or 1,
            timeout_graceful_shutdown=int(self._limits.stop_s),
            backlog=_BACKLOG,
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
        )
        self._server = _Server(self._config)
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """On which it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen; returns once connections are accepted.

        Raises
        ------
        OSError
            When the certificate cannot be read.
        """
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                raise OSError("the HTTP server ended as it started; its log says why")
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Take no new connection, end the requests under way, and return."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
            self._serving = None
        self._socket.close()

    def renew_certificate(self, tls: Tls) -> None:
        """Use a renewed certificate for connections from now on; those that are open keep theirs.

        Raises
        ------
        OSError
            When it cannot be read, or its key is another's; the old one stays.
        """
        context: ssl.SSLContext | None = self._config.ssl if self._config.loaded else None
        if context is not None:
            # Tried on another first: a pair that does not match would leave the certificate changed, and the key not.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
            context.load_cert_chain(tls.certificate, tls.key)


class _Server(uvicorn.Server):
    """Signals are the centre's own business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listening(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return listening
