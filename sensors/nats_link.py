"""The link to NATS: where its servers are, whom to trust, who we are, and what subjects are called."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.client import Client

CONNECT_TIMEOUT_S: Final = 3
PING_S: Final = 5
ANSWER_HEADER: Final = "Shotfix-Answer"
"""In a node's message: the subject on which the centre answers."""
STATUS_HEADER: Final = "Shotfix-Status"
"""In the centre's answer: as the HTTP status of the other transport."""

_CITY: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_SEED_PREFIX: Final = 18 << 3  # NATS nkeys: the letter S
_USER_PREFIX: Final = 20 << 3  # the letter U


@dataclass(frozen=True, slots=True)
class NatsLink:
    """How to reach a cluster, as one of its users.

    Parameters
    ----------
    servers : tuple of str
        ``tls://host[:port]`` each; ``nats://`` for this machine alone, unless it is allowed.
    ca_file : Path or None
        Trust only these certificates, instead of the public authorities.
    certificate, key : Path or None
        A client certificate and its key, PEM, where the servers ask for one.
    credentials_file : Path or None
        A file with a user's JWT and nkey seed as NATS' own tools write it, or with the seed alone (``SU...``).
    user, password_file
        A user and the file of the password.
    allow_plain : bool
        Unencrypted to another machine too, on a network that somebody else secures.

    Raises
    ------
    ValueError
        When an address is none, is plain to another machine, or holds a password, or when two ways to log in are given.
    """

    servers: tuple[str, ...]
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    credentials_file: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    allow_plain: bool = False

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("no NATS server: expected at least one as tls://host:4222")
        for server in self.servers:
            _check_server(server, allow_plain=self.allow_plain)
        if len({urlsplit(server).scheme for server in self.servers}) > 1:
            raise ValueError("some servers by tls:// and some by nats://: use tls:// for all of them")
        if self.credentials_file is not None and self.user is not None:
            raise ValueError("credentials_file or user: NATS knows a client by one of them")
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")

    async def connect(
        self,
        name: str,
        inbox: str,
        said: Callable[[Exception], Awaitable[None]],
        closed: Callable[[], Awaitable[None]],
    ) -> Client:
        """A connection that is not renewed: whoever uses it opens another when ``closed`` is called.

        The client's own reconnection is left off: it comes back in step with every other node, and sends again what it
        had kept, when the uplink has long sent it anew.

        Parameters
        ----------
        name : str
            How the server's monitoring shows us.
        inbox : str
            The prefix of the subjects on which servers answer us.
        said : callable
            Told of errors that concern no call, such as a subject that this user may not use.
        closed : callable
            Told when the connection is gone.

        Raises
        ------
        OSError, nats.errors.Error, TimeoutError
            When none of the servers lets us in.
        """
        from sensors.nats_client import CarefulClient, let_go  # only who uses NATS pays for it

        secure = any(server.startswith("tls") for server in self.servers)
        client = CarefulClient(secure=secure)
        options = self._login(client)
        try:
            await client.connect(
                servers=list(self.servers),
                name=name,
                inbox_prefix=inbox,
                error_cb=said,
                closed_cb=closed,
                allow_reconnect=False,
                connect_timeout=CONNECT_TIMEOUT_S,
                ping_interval=PING_S,
                max_outstanding_pings=2,
                tls=self._trust() if secure else None,
                **options,
            )
        except BaseException:
            await let_go(client)
            raise
        return client

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def _login(self, client: Client) -> dict[str, Any]:
        if self.user is not None and self.password_file is not None:
            return {"user": self.user, "password": _text(self.password_file).strip()}
        if self.credentials_file is None:
            return {}
        token, seed = credentials(_text(self.credentials_file), self.credentials_file)
        login: dict[str, Any] = {"signature_cb": lambda nonce: sign_nonce(seed, nonce)}
        if token is not None:
            return login | {"user_jwt_cb": lambda: token}
        # The client takes a bare nkey only together with a package of its own; this is all that it would set.
        client._public_nkey = public_nkey(seed)  # noqa: SLF001  (the client sets it from the nkeys package alone)
        return login


def check_city(city: str) -> str:
    """The same text, when it can be part of a subject and of a stream's name.

    Raises
    ------
    ValueError
        Unless it is 1 to 40 letters, digits, hyphens and underscores of ASCII.
    """
    if not _CITY.fullmatch(city):
        raise ValueError(f"the city's name {city!r}: expected 1 to 40 letters, digits, hyphens and underscores")
    return city


def token_of(text: str) -> str:
    """A text as one token of a subject: letters, digits, ``-`` and ``_`` stay, every other byte becomes ``=`` and hex.

    No two texts have the same token.
    """
    return "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in text.encode())


def batch_subject(city: str, cell: str, node_id: str) -> str:
    """Where a node publishes its batches; the stream ``shotfix-<city>`` keeps them."""
    return f"shotfix.{check_city(city)}.{token_of(cell)}.{token_of(node_id)}"


def answer_subject(city: str, node_id: str, exchange: str) -> str:
    """Where the centre answers one batch of a node; ``*`` for the exchange subscribes to all of them."""
    return f"shotfix-answer.{check_city(city)}.{token_of(node_id)}.{exchange}"


def seed_bytes(text: str) -> bytes:
    """The 32 bytes of a user's nkey seed.

    Base32 of two bytes of prefix, the seed, and a CRC-16 (XMODEM, low byte first); github.com/nats-io/nkeys.

    Raises
    ------
    ValueError
        When it is none; the message does not repeat it.
    """
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raw = b""
    if len(raw) != 36 or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise ValueError("the nkey seed is damaged: expected the 58 characters that begin with SU")
    if raw[0] & 0xF8 != _SEED_PREFIX or (raw[0] & 7) << 5 | raw[1] >> 3 != _USER_PREFIX:
        raise ValueError("the nkey seed is not a user's: expected one that begins with SU")
    return raw[2:34]


def public_nkey(seed: bytes) -> str:
    """The public name of a seed's user, ``U...``, as a server's configuration has it."""
    raw = bytes([_USER_PREFIX]) + _private(seed).public_key().public_bytes_raw()
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def credentials(text: str, path: Path) -> tuple[bytes | None, bytes]:
    """A user's JWT, where there is one, and the seed of its nkey.

    Raises
    ------
    ValueError
        When the text holds no seed; the message names the file and repeats nothing of it.
    """
    token = re.search(r"BEGIN NATS USER JWT-+\s+(\S+)\s+-+END", text)
    seed = re.search(r"BEGIN USER NKEY SEED-+\s+(\S+)\s+-+END", text)
    try:
        return None if token is None else token[1].encode(), seed_bytes(text.strip() if seed is None else seed[1])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def sign_nonce(seed: bytes, nonce: str) -> bytes:
    """What a server wants to see before it lets a user in: its nonce signed, in base64."""
    return base64.b64encode(_private(seed).sign(nonce.encode()))


def _private(seed: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not the text file it should be") from None


def _check_server(server: str, *, allow_plain: bool) -> None:
    try:
        parts = urlsplit(server)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"a NATS server's address is no URL ({error}); expected tls://host:4222") from None
    if parts.scheme not in {"tls", "nats"} or not host or port == 0:
        raise ValueError("a NATS server's address: expected tls://host:4222")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the address of {host} holds a user or password: give them as user and password_file")
    if parts.scheme == "nats" and not (allow_plain or _is_loopback(host)):
        raise ValueError(f"plain nats to {host} can be read and answered by anybody on the way: use tls://")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
