"""Servers inside that a courier is talked into calling: a hundred ways to say so, and not one packet to any of them."""

from __future__ import annotations

import re
import socket

import pytest

from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Webhook
from tests.security.traps import SECRET, Trap, any_letter, nothing_sent, now_ns


@pytest.fixture
def trap():
    one = Trap()
    yield one
    one.close()


@pytest.fixture(scope="module")
def letter():
    return any_letter()


def said_of(url, letter, **change):
    """What is said of a destination that is refused, when it is written down or when something is to be delivered."""
    try:
        destination = Destination(url)
    except ValueError as error:
        return str(error)
    webhook = Webhook("room", destination, [SECRET], **change)
    receipt = webhook.deliver(letter, now_ns())
    webhook.close()
    assert not receipt.delivered
    assert not receipt.unanswered, "a refusal is not somebody who is away"
    assert receipt.detail.startswith("refused: ")
    assert receipt.detail.isprintable()
    return receipt.detail


MACHINE, RFC1918, LINK, CLOUD = "this machine itself", "RFC 1918", "where clouds keep", "a cloud's"
NOWHERE, DOCUMENTS, BENCH = "no address to connect to", "kept for documentation", "kept for benchmarks"

ADDRESSES = {
    # This machine, in every spelling that the system takes
    "127.0.0.1": MACHINE, "127.255.255.254": MACHINE, "127.1": MACHINE, "127.0.1": MACHINE, "2130706433": MACHINE,
    "0x7f000001": MACHINE, "0x7F.1": MACHINE, "0x7f.0x0.0x0.0x1": MACHINE, "017700000001": MACHINE,
    "0177.0.0.1": MACHINE, "00177.0000.00.01": MACHINE, "127.0x1": MACHINE, "127.0.00000000001": MACHINE,
    "localhost": MACHINE, "LocalHost": MACHINE, "[::1]": MACHINE, "[0:0:0:0:0:0:0:1]": MACHINE,
    "[0000:0000:0000:0000:0000:0000:0000:0001]": MACHINE, "[::0.0.0.1]": MACHINE,
    "[::ffff:127.0.0.1]": MACHINE, "[::FFFF:7F00:1]": MACHINE, "[0:0:0:0:0:ffff:127.0.0.1]": MACHINE,
    # The same inside something else
    "[::127.0.0.1]": "withdrawn", "[::7f00:1]": "withdrawn", "[::ffff:0:127.0.0.1]": "outside what is given out",
    "[64:ff9b::127.0.0.1]": f"leads to 127.0.0.1: {MACHINE}", "[64:ff9b::7f00:1]": f"leads to 127.0.0.1: {MACHINE}",
    "[64:ff9b:1::127.0.0.1]": "RFC 8215", "[64:ff9b:1:fffe::8.8.8.8]": "RFC 8215", "[2002:7f00:1::]": "6to4",
    "[2002:808:808::1]": "6to4", "[2001:0:4136:e378:8000:63bf:80ff:fffe]": "Teredo",
    "[2001:0:7f00:1::1]": "Teredo", "[2606:4700::5efe:127.0.0.1]": f"leads to 127.0.0.1: {MACHINE}",
    "[2606:4700::200:5efe:a00:1]": f"leads to 10.0.0.1: a private network \\({RFC1918}\\)",
    # Nobody's
    "0": NOWHERE, "00": NOWHERE, "0x0": NOWHERE, "0.0.0.0": NOWHERE, "0.1": NOWHERE, "[::]": NOWHERE,  # noqa: S104
    # Private networks
    "10.0.0.1": RFC1918, "10.1": RFC1918, "0xa.1": RFC1918, "012.0.0.1": RFC1918, "167772161": RFC1918,
    "172.16.0.1": RFC1918, "172.31.255.255": RFC1918, "0xac100001": RFC1918, "192.168.1.1": RFC1918,
    "3232235777": RFC1918, "0300.0250.1.1": RFC1918, "[::ffff:10.0.0.1]": RFC1918, "[::ffff:c0a8:101]": RFC1918,
    "[fc00::1]": "RFC 4193", "[fd12:3456:789a::1]": "RFC 4193",
    # Link-local, and where clouds keep their keys
    "169.254.169.254": LINK, "169.254.170.2": LINK, "2852039166": LINK, "0xa9fea9fe": LINK, "169.16689662": LINK,
    "0251.0376.0251.0376": LINK, "[::ffff:169.254.169.254]": LINK, "[64:ff9b::a9fe:a9fe]": LINK,
    "[2002:a9fe:a9fe::]": "6to4", "[fe80::1]": "link-local", "[fe80::5efe:8.8.8.8]": "link-local",
    "[fd00:ec2::254]": CLOUD, "[fd20:ce::254]": CLOUD, "100.100.100.200": CLOUD, "168.63.129.16": CLOUD,
    "192.0.0.192": "kept for protocols",
    # What a provider, a laboratory or a book uses
    "100.64.0.1": "RFC 6598", "100.127.255.254": "RFC 6598", "198.18.0.1": BENCH, "198.19.255.255": BENCH,
    "[2001:2::1]": BENCH, "192.0.2.1": DOCUMENTS, "198.51.100.7": DOCUMENTS, "203.0.113.9": DOCUMENTS,
    "[2001:db8::1]": DOCUMENTS, "[3fff::1]": DOCUMENTS,
    # Many at once, and nobody yet
    "224.0.0.1": "multicast", "239.255.255.250": "multicast", "[ff02::1]": "multicast", "[ff0e::1]": "multicast",
    "255.255.255.255": "broadcast", "0xffffffff": "broadcast", "240.0.0.1": "reserved", "192.0.0.8": "protocols",
    "192.88.99.1": "relay of 6to4", "[fec0::1]": "site-local", "[100::1]": "black hole", "[2001:10::1]": "protocols",
    "[4000::1]": "outside what is given out", "[5f00::1]": "outside what is given out",
    # Public, in a spelling that not every program reads as the same address
    "134744072": "write 8.8.8.8", "0x8.8.8.8": "write 8.8.8.8", "010.8.8.8": "write 8.8.8.8", "8.8.2056": "write 8.8.8.8",
}  # fmt: skip

USER, ASCII, SCHEME = "a user, a password or a fragment", "printable ASCII", "expected a URL"
HOST, NO_URL, DOT, HTTP = "a host name is of letters", "not a URL", "full stop at its end", "plain http"

URLS = {
    # Which of two hosts is it?
    "https://example.org@127.0.0.1:{port}/": USER, "https://user:word@127.0.0.1:{port}/": USER,
    "https://@127.0.0.1:{port}/": USER, "https://:@127.0.0.1:{port}/": USER,
    "https://example.org:443@127.0.0.1:{port}/": USER, "https://a@b@127.0.0.1:{port}/": USER,
    "https://127.0.0.1:{port}#@example.org/": USER, "https://127.0.0.1:{port}/#x": USER,
    "https://127.0.0.1:{port}?@example.org/": MACHINE, "https://127.0.0.1:{port}/x@example.org": MACHINE,
    "https://example.org\\@127.0.0.1:{port}/": ASCII, "https://127.0.0.1:{port}\\.example.org/": ASCII,
    "https:\\\\127.0.0.1:{port}/": ASCII, "https://127.0.0.1:{port}\\@example.org/": ASCII,
    "https://127.0.0.1%2eexample.org:{port}/": HOST, "https://127.0.0.1%00.example.org:{port}/": HOST,
    "https://%31%32%37.0.0.1:{port}/": HOST, "https://127.0.0.1,example.org:{port}/": HOST,
    "https://127.0.0.1;example.org:{port}/": HOST, "https://-127.0.0.1:{port}/": HOST,
    "https://127..1:{port}/": HOST, "https://127.0.0.1.:{port}/": DOT, "https://localhost.:{port}/": DOT,
    "https://[::1]example.org:{port}/": "nothing else|not a URL", "https://example.org[::1]:{port}/": "nothing else|not a URL",
    "https://[::1]:x{port}/": NO_URL, "https://[127.0.0.1]:{port}/": "not a URL|no IPv6", "https://[::1:{port}/": NO_URL,
    "https://[v1.127.0.0.1]:{port}/": "no IPv6", "https://[::ffff:127.1]:{port}/": "not a URL|no IPv6",
    # A link of this machine
    "https://[fe80::1%25lo]:{port}/": "zone", "https://[::1%lo]:{port}/": "zone", "https://[fe80::1%1]:{port}/": "zone",
    # Letters that become an address once somebody normalises them
    "https://\uff11\uff12\uff17.0.0.1:{port}/": ASCII, "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/": ASCII,
    "https://127\u30020\u30020\u30021:{port}/": ASCII, "https://127\uff0e0\uff0e0\uff0e1:{port}/": ASCII,
    "https://loca\uff4chost:{port}/": ASCII, "https://\u24dbocalhost:{port}/": ASCII,
    "https://\u0661\u0662\u0667.0.0.1:{port}/": ASCII, "https://127.0.0.1:{port}\u2044@example.org/": ASCII,
    "https://127.0.0.1\u200b:{port}/": ASCII, "https://\u202e1.0.0.721:{port}/": ASCII,
    "https://example.org\uff0f@127.0.0.1:{port}/": ASCII, "https://example.org\u2100127.0.0.1:{port}/": ASCII,
    # What readers of URLs take away without a word
    "https://127.0.\n0.1:{port}/": ASCII, "https://127.0.0.1:{port}/\r\nhost: inside": ASCII,
    "https://\t127.0.0.1:{port}/": ASCII, " https://127.0.0.1:{port}/": ASCII, "https://127.0.0.1:{port}/ x": ASCII,
    "ht\ntps://127.0.0.1:{port}/": ASCII, "\x00https://127.0.0.1:{port}/": ASCII, "https://127.0.0.1\x7f:{port}/": ASCII,
    # Ports that are none
    "https://127.0.0.1:0/": "port 0", "https://example.org:0/": "port 0", "https://127.0.0.1:65536/": NO_URL,
    "https://127.0.0.1:-1/": NO_URL, "https://127.0.0.1:+{port}/": NO_URL, "https://127.0.0.1:/": "nothing else",
    "https://127.0.0.1:4_43/": NO_URL, "https://127.0.0.1:0x50/": NO_URL, "https://127.0.0.1:{port}:1/": NO_URL,
    # Other errands
    "file:///etc/passwd": SCHEME, "file://127.0.0.1/etc/passwd": SCHEME, "gopher://127.0.0.1:{port}/_x": SCHEME,
    "ftp://127.0.0.1:{port}/": SCHEME, "dict://127.0.0.1:{port}/d": SCHEME, "ldap://127.0.0.1:{port}/": SCHEME,
    "data:text/plain,x": SCHEME, "javascript:alert(1)": SCHEME, "jar:https://127.0.0.1!/": SCHEME,
    "ws://127.0.0.1:{port}/": SCHEME, "http+unix://%2fvar%2frun%2fdocker.sock/x": SCHEME, "//127.0.0.1:{port}/": SCHEME,
    "https:127.0.0.1:{port}": SCHEME, "https:/127.0.0.1:{port}/": SCHEME, "https:///127.0.0.1:{port}/": SCHEME,
    "127.0.0.1:{port}": SCHEME, "": SCHEME, "https://": SCHEME, "http://127.0.0.1:{port}/": HTTP,
    "HTTP://127.0.0.1:{port}/": SCHEME,
    "http://example.org/": HTTP,
}  # fmt: skip


@pytest.mark.parametrize(("host", "why"), ADDRESSES.items())
def test_an_address_is_refused_for_what_it_is_and_nothing_is_sent(host, why, trap, letter):
    with nothing_sent():
        said = said_of(f"https://{host}:{trap.port}/hooks", letter)
    assert re.search(why, said), said
    assert not trap.called()


@pytest.mark.parametrize(("url", "why"), URLS.items())
def test_a_url_that_misleads_is_refused_and_nothing_is_sent(url, why, trap, letter):
    with nothing_sent():
        said = said_of(url.replace("{port}", str(trap.port)), letter)
    assert re.search(why, said), said
    assert not trap.called()


def test_there_are_more_than_eighty():
    assert len(ADDRESSES) + len(URLS) + len(RESOLVED) >= 160


# What a name resolves to

RESOLVED = {
    "private": (["10.0.0.1"], RFC1918),
    "public, then private": (["8.8.8.8", "10.0.0.1"], RFC1918),
    "private, then public": (["127.0.0.1", "8.8.8.8"], MACHINE),
    "A public, AAAA private": (["8.8.8.8", "fd00::1"], "RFC 4193"),
    "AAAA public, A private": (["2606:4700::1111", "192.168.0.1"], RFC1918),
    "AAAA mapped": (["::ffff:127.0.0.1"], MACHINE),
    "AAAA with a zone": (["fe80::1%lo"], "a link of this machine"),
    "metadata among many": (["8.8.8.8", "1.1.1.1", "9.9.9.9", "169.254.169.254"], LINK),
    "another name": (["localhost"], "no IP address"),
    "a name that looks public": (["metadata.google.internal"], "no IP address"),
    "an odd spelling": (["0x7f.1"], "no IP address"),
    "a number": (["2130706433"], "no IP address"),
    "something with a space": (["127.0.0.1 "], "no IP address"),
    "a list in one": (["8.8.8.8,127.0.0.1"], "no IP address"),
    "nothing in it": ([""], "no IP address"),
    "a terminal's colour": (["\x1b[31m8.8.8.8"], "no IP address"),
}


@pytest.mark.parametrize("case", RESOLVED)
def test_a_name_is_refused_for_any_of_its_addresses(case, trap, letter):
    addresses, why = RESOLVED[case]
    with nothing_sent():
        said = said_of(f"https://control-room.test:{trap.port}/", letter, resolve=lambda host, port: addresses)
    assert why in said
    assert not trap.called()


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long"), socket.gaierror(-2, "?")])
def test_a_resolver_that_fails_is_somebody_who_is_away(error, letter):
    def fails(host, port):
        raise error

    webhook = Webhook("room", Destination("https://control-room.test/"), [SECRET], resolve=fails)
    with nothing_sent():
        receipt = webhook.deliver(letter, now_ns())
    assert (receipt.delivered, receipt.unanswered) == (False, True)
