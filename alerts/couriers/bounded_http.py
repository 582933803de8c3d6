"""One bounded HTTP request: however a receiver dawdles, it takes only so long, and only so much."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import certifi
import httpcore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PIECE: Final = 65_536
"""Bytes handed to the system at once; between two, the time is looked at."""
READ_BYTES: Final = 1_024
"""Of an answer's body: enough to tell a person why."""


class NoAnswerError(Exception):
    """Nobody answered, or not in time, or not as HTTP; says how in a word or two, without an address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, header fields by their lower-case names, and the body's beginning."""

    status_code: int
    headers: Mapping[str, str]
    said: bytes


class BoundedHttp:
    """Requests to one receiver, for several threads; no redirects, no proxies, no cookies.

    Each has a connection of its own. On one that is used again, a receiver (or a proxy before it) that answers once too
    often would confirm the next alert before it was read; and one that a router has silently forgotten costs a whole
    time-out. A shot is worth a handshake.

    A read or write that is let wait has a time-out of its own in every library; what none bounds is their sum, by which
    a receiver that sends one byte every few seconds could hold a thread for ever. Here each request has a deadline, and
    every wait on the wire ends with it. The look-up of names happened before; `bounded_resolver` sees to it.

    Parameters
    ----------
    secure : bool
        With TLS.
    ca_file : Path or None
        Certificates to trust instead of the public ones.

    Raises
    ------
    OSError
        When that file cannot be read, or holds none.
    """

    def __init__(self, *, secure: bool = True, ca_file: Path | None = None) -> None:
        self._due = threading.local()
        self._pool = httpcore.ConnectionPool(
            ssl_context=_context(ca_file) if secure else None,
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=_Backend(self._due),
        )

    def close(self) -> None:
        """Close what is under way; a later request opens its own."""
        self._pool.close()

    def post(self, url: str, sni: str, headers: Mapping[str, str], body: bytes, within_s: float) -> Answer:
        """Post once.

        Parameters
        ----------
        url : str
            Its host is the address to connect to; a header gives the name.
        sni : str
            Whose certificate must be shown.
        headers, body
            As they are sent.
        within_s : float
            Seconds, for all of it.

        Raises
        ------
        NoAnswerError
            When there was no whole status and header in time; what comes after them changes nothing.
        """
        self._due.at_s = time.monotonic() + within_s
        waits = {"pool": within_s, "connect": within_s, "read": within_s, "write": within_s}
        request = httpcore.Request(
            "POST",
            url,
            headers=[*headers.items(), ("content-length", str(len(body))), ("connection", "close")],
            content=body,
            extensions={"timeout": waits, "sni_hostname": sni},
        )
        try:
            response = self._pool.handle_request(request)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise NoAnswerError(_words(error)) from error
        try:
            said = _beginning(response.iter_stream())
        finally:
            response.close()
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Answer(response.status, fields, said)


class _Backend(httpcore.NetworkBackend):
    """The library's own sockets, each wait on them cut at the deadline of the thread that uses it."""

    def __init__(self, due: threading.local) -> None:
        self._due = due
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        wait_s = _left_s(self._due, timeout, httpcore.ConnectTimeout)
        return _Stream(self._plain.connect_tcp(host, port, wait_s, local_address, socket_options), self._due)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, due: threading.local) -> None:
        self._inner = inner
        self._due = due

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left_s(self._due, timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), PIECE):
            self._inner.write(buffer[at : at + PIECE], _left_s(self._due, timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        wait_s = _left_s(self._due, timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, wait_s), self._due)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left_s(due: threading.local, timeout_s: float | None, late: type[httpcore.TimeoutException]) -> float:
    left_s: float = due.at_s - time.monotonic()
    if left_s <= 0.0:
        raise late
    return left_s if timeout_s is None else min(left_s, timeout_s)


def _context(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    return ssl.create_default_context(cafile=certifi.where())


def _beginning(pieces: Iterable[bytes]) -> bytes:
    """The first bytes of a body; less when it breaks off, for the status has said what matters."""
    said = b""
    try:
        for piece in pieces:
            said += piece
            if len(said) >= READ_BYTES:
                break
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
        pass
    return said[:READ_BYTES]


def _words(error: Exception) -> str:
    """The kind of error; of a certificate also what is wrong with it, which a person must know to mend it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted, {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"no secure connection, {cause.reason or type(cause).__name__}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
