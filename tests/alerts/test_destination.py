"""Destinations: which addresses are refused, against the standard library's registry and every spelling of IPv4."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from alerts.couriers.destination import Destination, RefusedError, why_refused

V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
INSIDE_V4 = st.one_of(
    *(
        st.integers(int(network.network_address), int(network.broadcast_address)).map(ipaddress.IPv4Address)
        for network in map(
            ipaddress.ip_network,
            (
                "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                "192.0.0.0/29", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
                "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32", "100.100.100.200/32", "168.63.129.16/32",
            ),
        )
    )
)  # fmt: skip

WRITTEN = (str, lambda n: f"{n:#x}", lambda n: f"{n:#X}".replace("0X", "0x"), lambda n: f"0{n:o}", lambda n: f"0x{n:08x}",
           lambda n: f"000{n:o}")  # fmt: skip


@st.composite
def spelt(draw, addresses):
    """An IPv4 address, and one of the ways in which inet_aton takes it (POSIX: one to four parts, each in any base)."""
    address = draw(addresses)
    parts, rest = draw(st.integers(1, 4)), int(address)
    numbers = [(rest >> 24) & 255, (rest >> 16) & 255, (rest >> 8) & 255][: parts - 1]
    numbers.append(rest & (2 ** (8 * (5 - parts)) - 1))
    text = ".".join(draw(st.sampled_from(WRITTEN))(number) for number in numbers)
    assert socket.inet_aton(text) == address.packed, "the spelling is one that the system takes"
    return address, text


@given(spelt(INSIDE_V4))
def test_no_spelling_of_an_inner_address_that_the_system_accepts_is_let_through(both):
    address, text = both
    with pytest.raises(RefusedError, match=str(address).replace(".", r"\.")):
        Destination(f"https://{text}/").checked_address()


@pytest.mark.endurance
@settings(max_examples=10_000)
@given(spelt(INSIDE_V4))
def test_no_spelling_is_let_through_at_length(both):
    address, text = both
    with pytest.raises(RefusedError, match=str(address).replace(".", r"\.")):
        Destination(f"https://{text}/").checked_address()


@given(spelt(st.integers(0x08000000, 0x08FFFFFF).map(ipaddress.IPv4Address)))
def test_an_odd_spelling_of_a_public_address_is_refused_too_and_says_what_to_write(both):
    address, text = both
    assume(text != str(address))
    with pytest.raises(RefusedError, match=f"write {address}".replace(".", r"\.")):
        Destination(f"https://{text}/").checked_address()


@given(V4)
def test_what_the_standard_library_knows_as_not_global_is_refused(address):
    if not address.is_global or address.is_multicast:
        assert why_refused(str(address))


@given(
    st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address) | st.integers(2**125, 2**126 - 1).map(ipaddress.IPv6Address)
)
def test_what_the_standard_library_knows_as_not_global_is_refused_in_ipv6(address):
    if not address.is_global or address.is_multicast or address.is_site_local:
        assert why_refused(str(address))


@given(st.integers(2**24, 0xDFFFFFFF).map(ipaddress.IPv4Address))
def test_the_internet_stays_reachable(address):
    """Against the standard library: we refuse no more of it than two ranges that we name."""
    withdrawn = ipaddress.ip_network("192.88.99.0/24"), ipaddress.ip_network("192.0.0.0/24")
    clouds = {"168.63.129.16", "100.100.100.200"}
    if address.is_global and not any(address in network for network in withdrawn) and str(address) not in clouds:
        assert why_refused(str(address)) is None


@given(INSIDE_V4, st.integers(0, 2**64 - 1))
def test_an_inner_address_is_seen_through_every_ipv6_that_carries_one(address, prefix):
    low = int(address)
    carriers = {
        "mapped": 0xFFFF << 32 | low,
        "compatible": low,
        "translated, SIIT": 0xFFFF << 48 | low,
        "NAT64": int(ipaddress.IPv6Address("64:ff9b::")) | low,
        "local NAT64": int(ipaddress.IPv6Address("64:ff9b:1::")) | (prefix % 2**48) << 32 | low,
        "6to4": 0x2002 << 112 | low << 80 | prefix,
        "Teredo, its server": 0x2001 << 112 | low << 64 | prefix,
        "Teredo, its client": 0x2001 << 112 | prefix >> 32 << 64 | low ^ 0xFFFFFFFF,
        "ISATAP": int(ipaddress.IPv6Address("2606:4700::5efe:0:0")) | low,
        "ISATAP, universal": int(ipaddress.IPv6Address("2606:4700::200:5efe:0:0")) | low,
    }
    for carrier, number in carriers.items():
        assert why_refused(str(ipaddress.IPv6Address(number))), carrier
    for carrier in ("6to4", "Teredo, its server", "NAT64", "local NAT64"):
        text = str(ipaddress.IPv6Address(carriers[carrier]))
        assert why_refused(text, allow_private=True), f"{carrier}: not even inside one's own network"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
        "fd20:ce::254", "fe80::1", "fe80::1%eth0", "224.0.0.1", "255.255.255.255", "0.0.0.0", "::", "ff02::1",  # noqa: S104
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "localhost", "",
    ],
)  # fmt: skip
def test_where_clouds_keep_their_keys_is_refused_even_inside_ones_own_network(address):
    assert why_refused(address, allow_private=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.0.9", "fd12::1", "100.64.0.1", "8.8.8.8"])
def test_inside_ones_own_network_its_addresses_are_allowed(address):
    assert why_refused(address, allow_private=True) is None


INNER = ("127.0.0.1", "::1", "10.0.0.1", "192.168.0.9", "fd12::1", "100.64.0.1", "::ffff:10.0.0.1")
OUTER = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@given(st.lists(st.sampled_from(INNER), min_size=1), st.lists(st.sampled_from(OUTER)), st.randoms())
def test_plain_http_goes_nowhere_but_inside_ones_own_network(inner, outer, random):
    both = random.sample(inner + outer, len(inner + outer))
    plain, secure = (Destination(f"{scheme}://room.test/", allow_private=True) for scheme in ("http", "https"))
    assert secure.checked_address(lambda host, port: both) == both[0]
    if not outer:
        assert plain.checked_address(lambda host, port: both) == both[0]
        return
    with pytest.raises(RefusedError, match="a public address: use https"):
        plain.checked_address(lambda host, port: both)


def test_only_allowed_hosts_are_accepted_when_there_is_a_list():
    allowed = ("Hooks.example.org", "192.0.2.1")
    assert Destination("https://hooks.EXAMPLE.org/x", allowed_hosts=allowed).host == "hooks.example.org"
    for url in ("https://example.org/", "https://hooks.example.org.evil.test/", "https://xhooks.example.org/"):
        with pytest.raises(ValueError, match="not among the hosts"):
            Destination(url, allowed_hosts=allowed)
    with pytest.raises(RefusedError):  # to be on the list does not make an address public
        Destination("https://192.0.2.1/", allowed_hosts=allowed).checked_address()


def test_a_url_that_is_refused_is_not_repeated():
    """Its path may be a token, and the message goes into a log."""
    for url in ("https://example.org/T0KEN#x", "https://u:T0KEN@example.org/", "ftp://x/T0KEN", "https://[T0KEN/",
                "https://example.org:T0KEN/", "https://\u2100/T0KEN", "http://example.org/T0KEN"):  # fmt: skip
        with pytest.raises(ValueError) as caught:
            Destination(url)
        assert "T0KEN" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert "\n" not in str(caught.value)
    assert "T0KEN" not in repr(Destination("https://example.org/T0KEN?T0KEN"))


@given(
    st.text(max_size=60) | st.text("htps:/@[]?#.%1270x\\ \t\n\u3002\uff11", max_size=40).map(lambda t: "https://" + t)
)
def test_any_text_is_a_destination_or_a_value_error(text):
    try:
        destination = Destination(text)
    except ValueError:
        return
    assert destination.host in text.lower()
    assert 1 <= destination.port <= 65_535
