"""The uplink over HTTP: a POST for each batch, on one connection that is kept."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sensors.transport import LARGEST_ANSWER_BYTES, TransportError

if TYPE_CHECKING:
    import httpx

BATCH_PATH: Final = "/ingest/v1/batch"
SEALED_TYPE: Final = "application/octet-stream"
TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 3.0  # a second and third try of TCP are in it; the next attempt is never far
KEEP_S: Final = 60.0
"""An idle connection is closed after this, before the centre closes it (75 s)."""
LONGEST_WORDS: Final = 200


class HttpTransport:
    """Carries sealed batches to one centre by HTTPS.

    No redirect is followed and no proxy of the environment used: a batch goes where the configuration says, or nowhere.
    Plain http is for this machine alone, unless it is allowed: the seal would keep a stranger from forging a batch, but
    not from reading it, nor from answering in the centre's place, and what it answers is forgotten here.

    Parameters
    ----------
    url : str
        ``https://host[:port]`` of the centre; with a path when it stands behind one.
    ca_file : Path or None
        Trust only these certificates, instead of the public authorities: a city's own, or the centre's itself.
    allow_plain_http : bool
        To another machine too, on a network that somebody else secures.
    timeout_s : float
        For a whole exchange.

    Raises
    ------
    ValueError
        When the URL is none, or plain http to another machine.
    OSError
        When the certificates cannot be read.
    """

    def __init__(
        self, url: str, *, ca_file: Path | None = None, allow_plain_http: bool = False, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._url = _batch_url(url, allow_plain_http=allow_plain_http)
        self._verify = _trusting(ca_file) if self._url.startswith("https") else True
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"HttpTransport({self._url!r})"

    async def exchange(self, sealed: bytes) -> bytes:
        """The centre's acknowledgement; see `sensors.transport.Transport`."""
        import httpx  # a tenth of a second that only a node with an uplink pays

        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(sealed)
        except TimeoutError:
            raise TransportError(f"no answer from {self._url} within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise TransportError(f"no answer from {self._url}: {_plain(str(error)) or type(error).__name__}") from None

    async def close(self) -> None:
        """Close the connection; a later exchange opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _post(self, sealed: bytes) -> bytes:
        request = self._opened().build_request(
            "POST", self._url, content=sealed, headers={"content-type": SEALED_TYPE, "user-agent": "shotfix"}
        )
        response = await self._opened().send(request, stream=True)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        if response.status_code == 200:
            return body
        words = _plain(body.decode("utf-8", "replace"))
        raise TransportError(
            f"{self._url} answered {response.status_code}" + (f": {words}" if words else ""),
            response.status_code,
            _retry_after_s(response.headers.get("retry-after", "")),
        )

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            for noisy in ("httpx", "httpcore"):  # a line for each batch tells nobody anything
                logging.getLogger(noisy).setLevel(logging.WARNING)
            self._client = httpx.AsyncClient(
                verify=self._verify,
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_TIMEOUT_S, self._timeout_s)),
                limits=httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=KEEP_S),
            )
        return self._client


async def _read(response: Any) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > LARGEST_ANSWER_BYTES:
            raise TransportError(f"an answer of more than {LARGEST_ANSWER_BYTES} bytes: this is no centre of ours")
    return bytes(body)


def _batch_url(url: str, *, allow_plain_http: bool) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"the centre's address is no URL ({error}); expected https://host:port") from None
    if parts.scheme not in {"https", "http"} or not host or port == 0 or parts.query or parts.fragment:
        raise ValueError("the centre's address: expected a URL as https://host:port")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the centre's address holds a user or password: leave it out, the node's key speaks for it")
    if parts.scheme == "http" and not (allow_plain_http or _is_loopback(host)):
        raise ValueError(f"plain http to {host} can be read and answered by anybody on the way: use https")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{BATCH_PATH}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise OSError(f"{ca_file} holds no certificate: expected PEM") from None
    except OSError as error:
        raise OSError(f"{ca_file}: {error.strerror}; it should hold the centre's certificate") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _retry_after_s(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _plain(text: str) -> str:
    """One printable line of what a stranger said."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:LONGEST_WORDS]).split())
