"""Destinations: which addresses a courier may connect to, checked on what the name resolved to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import urlsplit

Resolver: TypeAlias = Callable[[str, int], list[str]]
"""From a host name and a port to addresses; raises OSError when there are none."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class RefusedError(ValueError):
    """A destination that a courier must not connect to."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a courier delivers: a URL, and whether addresses inside one's own network are allowed.

    Parameters
    ----------
    url : str
        ``https://host[:port]/path``; plain http only together with ``allow_private``. It may hold a token, hence it
        is not shown.
    allow_private : bool
        Allow loopback, private and link-local addresses: for a receiver in the same building, and for the demo.

    Raises
    ------
    ValueError
        When it is not such a URL.
    """

    url: str = field(repr=False)
    allow_private: bool = False

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"this is not a URL ({error}); expected https://host/path") from None
        if parts.scheme not in ("https", "http") or not host:
            raise ValueError("expected a URL as https://host/path")
        if parts.scheme == "http" and not self.allow_private:
            raise ValueError("plain http is readable on the way: use https, or allow_private inside one's own network")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("a URL with a user, a password or a fragment: leave those out")
        if port == 0 or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise ValueError("a URL is printable ASCII without spaces, and port 0 is none")

    @property
    def host(self) -> str:
        """Host name, or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Port; the scheme's own where none is given."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def shown(self) -> str:
        """The part of the URL that may appear in a log."""
        return f"{urlsplit(self.url).scheme}://{self.host}:{self.port}"

    def checked_address(self, resolve: Resolver | None = None) -> str:
        """Resolve the host once, and give the address to connect to.

        Connecting to anything but what was checked would let a name change its mind in between (DNS rebinding).

        Raises
        ------
        RefusedError
            When any of its addresses is not public and that is not allowed.
        OSError
            When the name does not resolve.
        """
        addresses = (resolve or _system_resolver)(self.host, self.port)
        if not addresses:
            raise OSError(f"{self.host} has no address")
        for address in addresses:
            if not self.allow_private and not is_public(address):
                raise RefusedError(f"{self.host} is {address}, which is not a public address")
        return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public Internet, seen through the ways of writing IPv4 inside IPv6.

    Refused: loopback, private, shared, link-local (with the clouds' metadata address), multicast, reserved and
    documentation ranges of IANA's special-purpose registries (RFC 6890), also when mapped, translated or tunnelled.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if int(ip) < 2**32 or ip.is_site_local:  # ::a.b.c.d, and the old site-local range
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _system_resolver(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
