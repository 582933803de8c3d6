"""Destinations: which addresses a courier may connect to, checked on what the name resolved to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import urlsplit

Resolver: TypeAlias = Callable[[str, int], list[str]]
"""From a host name and a port to addresses; raises OSError when there are none."""

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_INSIDE: Final = {
    "127.0.0.0/8": "this machine itself",
    "10.0.0.0/8": "a private network (RFC 1918)",
    "172.16.0.0/12": "a private network (RFC 1918)",
    "192.168.0.0/16": "a private network (RFC 1918)",
    "100.64.0.0/10": "a provider's shared network (RFC 6598)",
    "::1/128": "this machine itself",
    "fc00::/7": "a private network (RFC 4193)",
    "192.0.2.0/24": "kept for documentation",
    "198.51.100.0/24": "kept for documentation",
    "203.0.113.0/24": "kept for documentation",
    "198.18.0.0/15": "kept for benchmarks (RFC 2544)",
}
"""What belongs to one's own network, or to nobody: reached only where that is allowed."""

_NEVER: Final = {
    "0.0.0.0/8": "no address to connect to",
    "169.254.0.0/16": "link-local, where clouds keep their keys (RFC 3927)",
    "100.100.100.200/32": "a cloud's metadata service",
    "168.63.129.16/32": "a cloud's own service to its machines",
    "192.0.0.0/24": "kept for protocols (RFC 6890)",
    "192.88.99.0/24": "a relay of 6to4, which is withdrawn (RFC 7526)",
    "224.0.0.0/4": "multicast",
    "255.255.255.255/32": "broadcast",
    "240.0.0.0/4": "reserved",
    "::/128": "no address to connect to",
    "fd00:ec2::/32": "a cloud's metadata service",
    "fd20:ce::/64": "a cloud's metadata service",
    "fe80::/10": "link-local (RFC 4291)",
    "fec0::/10": "site-local, which is withdrawn (RFC 3879)",
    "ff00::/8": "multicast",
    "64:ff9b:1::/48": "a network's own translation to IPv4 (RFC 8215)",
    "2001:2::/48": "kept for benchmarks (RFC 5180)",
    "2001:db8::/32": "kept for documentation",
    "3fff::/20": "kept for documentation (RFC 9637)",
    "2001::/32": "a tunnel to IPv4 (Teredo, RFC 4380)",
    "2001::/23": "kept for protocols (RFC 2928)",
    "2002::/16": "a tunnel to IPv4 (6to4, RFC 3056)",
    "100::/64": "a black hole (RFC 6666)",
    "::/96": "IPv4 in a form that is withdrawn (RFC 4291)",
}
"""What no courier ever has to reach, in whatever network it stands: IANA's special-purpose registries (RFC 6890 and
what was added since), and the addresses by which clouds hand out keys to whoever asks from inside."""

_RANGES: Final = tuple(
    (ipaddress.ip_network(text), words, text in _INSIDE)
    for text, words in sorted((_NEVER | _INSIDE).items(), key=lambda entry: -int(entry[0].rpartition("/")[2]))
)
"""The narrower first, so that an address is called by its own name."""

_ALLOCATED: Final = ipaddress.ip_network("2000::/3")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_ISATAP: Final = 0x5EFE
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_ENDS_IN_A_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


class RefusedError(ValueError):
    """A destination that a courier must not connect to."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a courier delivers: a URL, and whether addresses inside one's own network are allowed.

    Parameters
    ----------
    url : str
        ``https://host[:port]/path``; plain http only together with ``allow_private``, and then only to addresses
        inside one's own network. It may hold a token, hence it is not shown.
    allow_private : bool
        Allow loopback and private addresses: for a receiver in the same building, and for the demo. Link-local
        addresses, a cloud's metadata service, multicast and tunnels stay refused.
    allowed_hosts : tuple of str
        When given, no other host is accepted: for a centre whose couriers somebody else configures.

    Raises
    ------
    ValueError
        When it is not such a URL, or its host is not among those allowed.
    """

    url: str = field(repr=False)
    allow_private: bool = False
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.url.isascii() or not self.url.isprintable() or " " in self.url or "\\" in self.url:
            raise ValueError("a URL is printable ASCII without spaces and backslashes")
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError:
            # What urllib says repeats parts of the URL, and a URL may hold a token.
            raise ValueError("this is not a URL; expected https://host[:port]/path") from None
        if not self.url.startswith(("https://", "http://")) or not host:
            raise ValueError("expected a URL as https://host/path")
        if parts.scheme == "http" and not self.allow_private:
            raise ValueError("plain http is readable on the way: use https, or allow_private inside one's own network")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("a URL with a user, a password or a fragment: leave those out")
        if port == 0:
            raise ValueError("port 0 is none: leave it out, or give one from 1 to 65535")
        _check_host(host, bracketed="[" in parts.netloc)
        # Nothing between host and port that another reader of URLs could take for the host.
        name = f"[{host}]" if ":" in host else host
        if not re.fullmatch(f"{re.escape(name)}(:[0-9]+)?", parts.netloc.lower()):
            raise ValueError("between // and the next / belong a host and a port, and nothing else")
        if self.allowed_hosts and host not in {name.lower() for name in self.allowed_hosts}:
            raise ValueError(f"{host} is not among the hosts that couriers may deliver to ({len(self.allowed_hosts)})")

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
            When any of its addresses must not be connected to; the message says which, and why.
        OSError
            When the name does not resolve.
        """
        addresses = (resolve or system_resolver)(self.host, self.port)
        if not addresses:
            raise OSError(f"{self.host} has no address")
        for address in addresses:
            said = f"{address} is" if address == self.host else f"{self.host} is {address},"
            why = why_refused(address, allow_private=self.allow_private)
            if why is not None:
                raise RefusedError(f"{said} not a public address: {why}")
            if self.url.startswith("http:") and why_refused(address) is None:
                raise RefusedError(f"{said} a public address: use https, http can be read on the way")
        if ":" not in self.host and _ENDS_IN_A_NUMBER.fullmatch(self.host) and self.host not in addresses:
            # 0x08.010.2056 is 8.8.8.8 to some programs, and a name or another address to others.
            raise RefusedError(f"{self.host} is a spelling that programs read differently: write {addresses[0]}")
        return addresses[0]

    def check_literal(self) -> None:
        """Refuse what the URL itself says where its host is an address; nobody is asked, and a name is no address.

        Raises
        ------
        RefusedError
            As `checked_address`.
        """
        if ":" not in self.host and not _ENDS_IN_A_NUMBER.fullmatch(self.host):
            return
        try:
            self.checked_address(_numeric_resolver)
        except OSError:
            raise RefusedError(f"{self.host} is no address, and no name either") from None


def why_refused(address: str, *, allow_private: bool = False) -> str | None:
    """Why a courier must not connect to an IP address, in words; None when it may.

    Refused: loopback, private, shared, link-local (with the clouds' metadata address), multicast, reserved and
    documentation ranges of IANA's special-purpose registries (RFC 6890), also when mapped, translated or tunnelled.
    Not known to us: a NAT64 prefix that a network chose from its own public range (RFC 6052, section 2.2).

    Parameters
    ----------
    address : str
        As a resolver gives it; with a zone (``fe80::1%eth0``) it is refused, since a zone is a link of ours.
    allow_private : bool
        Accept what is inside one's own network: loopback, private and shared ranges.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "it is no IP address"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return "it names a link of this machine (RFC 4007)"
        if ip.ipv4_mapped is not None:
            return why_refused(str(ip.ipv4_mapped), allow_private=allow_private)
        why = _why_inner_refused(ip)
        if why is not None or ip in _NAT64:
            return why
    return _range_of(ip, allow_private=allow_private)


def _range_of(ip: _Address, *, allow_private: bool) -> str | None:
    for network, words, is_inside in _RANGES:
        if ip in network:
            return None if is_inside and allow_private else words
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _ALLOCATED:
        return "outside what is given out to anybody (RFC 4291)"
    # A range that Python knows as special and we do not: what a later registry added.
    return None if ip.is_global and not ip.is_multicast else "kept for special purposes (RFC 6890)"


def _why_inner_refused(ip: ipaddress.IPv6Address) -> str | None:
    """Of the IPv4 address that a translator (RFC 6052) or an ISATAP tunnel (RFC 5214) would send it to."""
    if ip not in _NAT64 and (int(ip) >> 32) & 0xFDFFFFFF != _ISATAP:
        return None
    inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    why = why_refused(str(inner))
    return None if why is None else f"it leads to {inner}: {why}"


def _check_host(host: str, *, bracketed: bool) -> None:
    if bracketed:
        if "%" in host:
            raise ValueError("an address with a zone names a link of this machine: leave it out")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"[{host}] is no IPv6 address") from None
        return
    if host.endswith("."):
        raise ValueError("a host name with a full stop at its end: leave that out, certificates do not have it")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise ValueError("a host name is of letters, digits, hyphens and full stops; other scripts as xn--...")


def system_resolver(host: str, port: int) -> list[str]:
    """What the system says of a name; no wait of its own is bounded, see `alerts.couriers.bounded_resolver`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _numeric_resolver(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(found[0][4][0])]
