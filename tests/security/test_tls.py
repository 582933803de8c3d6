"""TLS: what our server refuses to speak, and whose certificate our couriers refuse to believe."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import re
import ssl
import threading
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette

from acoustic.instant import SECOND
from alerts.alert import encode
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.delivery import Delivery
from alerts.desk import Desk
from shotfix.http_server import HttpServer
from tests.security.authority import DAY, Authority
from tests.strategies import fix_at

ROOM = "control-room.test"
OLD = ("RC4", "3DES", "DES-CBC", "NULL", "EXP", "MD5", "ADH", "AECDH", "PSK", "SRP", "SEED", "IDEA", "CAMELLIA", "ARIA")


# What our server speaks


@contextlib.asynccontextmanager
async def served(folder):
    server = HttpServer(Starlette(), "127.0.0.1", 0, Authority(folder).signed(ROOM))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def agreed(port, context):
    """Version and suite that both agree on, or what went wrong."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except (ssl.SSLError, OSError) as error:
        return type(error).__name__
    cipher = writer.get_extra_info("cipher")
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    return version, cipher[0]


def careless(suites="ALL:@SECLEVEL=0"):
    """A client that would take anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(suites)
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_server_speaks_tls_1_2_and_1_3_alone_and_prefers_the_newest(tmp_path):
    async def play():
        async with served(tmp_path) as server:
            for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
                context = careless()
                context.minimum_version = context.maximum_version = version
                assert isinstance(await agreed(server.port, context), str)
            version, suite = await agreed(server.port, careless())
            assert (version, suite) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
            context = careless()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            version, suite = await agreed(server.port, context)
            assert version == "TLSv1.2"
            assert suite.startswith("ECDHE-ECDSA-")
            assert "GCM" in suite or "CHACHA20" in suite

    asyncio.run(play())


def test_no_suite_of_the_server_is_old_or_without_forward_secrecy(tmp_path):
    async def play():
        async with served(tmp_path) as server:
            return server._config.ssl

    context = asyncio.run(play())
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    for suite in context.get_ciphers():
        name = suite["name"]
        assert name.startswith(("TLS_", "ECDHE-", "DHE-")), f"{name}: recorded today, read when the key is stolen"
        assert not any(old in name for old in OLD), name
        assert not name.endswith("-SHA"), f"{name}: SHA-1"
        assert suite["strength_bits"] >= 128


@pytest.mark.parametrize(
    "suites", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "NULL", "aNULL", "ECDHE-ECDSA-AES128-CCM8"]
)
def test_a_client_that_offers_only_weak_suites_is_sent_away(suites, tmp_path):
    async def play():
        async with served(tmp_path) as server:
            context = careless(f"{suites}:@SECLEVEL=0")
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            assert isinstance(await agreed(server.port, context), str)
            assert (await agreed(server.port, careless()))[0] == "TLSv1.3"

    asyncio.run(play())


def test_plain_http_at_the_tls_port_is_told_nothing(tmp_path):
    async def play():
        async with served(tmp_path) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            with contextlib.suppress(OSError):
                assert b"HTTP/1.1 200" not in await reader.read()
            writer.close()

    asyncio.run(play())


# Whom our couriers believe


class Receives(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.received += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A handshake that the courier breaks off is what is tested."""


@contextlib.contextmanager
def room(tls, prepare=lambda context: None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    prepare(context)
    with QuietServer(("127.0.0.1", 0), Receives) as server:
        server.received = 0
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def letter():
    (alert,) = Desk().receive(fix_at("a"))
    return Delivery(
        alert_id=alert.alert_id, revision=1, courier="room", kind="new", published_at=alert.published_at,
        document=encode(alert), queued_ns=now_ns(),
    )  # fmt: skip


def now_ns():
    return int(datetime.now(UTC).timestamp()) * SECOND


def tried(server, letter, trusted):
    webhook = Webhook(
        "room", Destination(f"https://{ROOM}:{server.server_address[1]}/", allow_private=True), [Secret(bytes(32))],
        resolve=lambda host, port: ["127.0.0.1"], ca_file=trusted,
    )  # fmt: skip
    receipt = webhook.deliver(letter, now_ns())
    webhook.close()
    assert receipt.delivered == bool(server.received)
    if not receipt.delivered:
        assert receipt.detail.startswith(f"no answer from https://{ROOM}:")
    return receipt


def test_a_good_certificate_is_believed_so_that_the_refusals_mean_something(tmp_path, letter):
    ours = Authority(tmp_path)
    with room(ours.signed(ROOM)) as server:
        assert tried(server, letter, ours.certificate).delivered


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("another name", "Hostname mismatch|not valid for"),
        ("expired", "certificate has expired"),
        ("not yet valid", "certificate is not yet valid"),
        ("of itself alone", "self.signed certificate"),
        ("of an authority that is not ours", "unable to get local issuer|self.signed certificate"),
        ("of ours, where only the public ones count", "unable to get local issuer|self.signed certificate"),
    ],
)
def test_a_certificate_that_is_wrong_gets_no_alert_and_is_told(case, why, tmp_path, letter):
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "theirs")
    tls, trusted = {
        "another name": (ours.signed("another-room.test"), ours.certificate),
        "expired": (ours.signed(ROOM, -2 * DAY, -DAY / 24), ours.certificate),
        "not yet valid": (ours.signed(ROOM, DAY / 24, DAY), ours.certificate),
        "of itself alone": (ours.itself(), None),
        "of an authority that is not ours": (theirs.signed(ROOM), ours.certificate),
        "of ours, where only the public ones count": (ours.signed(ROOM), None),
    }[case]
    with room(tls) as server:
        receipt = tried(server, letter, trusted)
    assert not receipt.delivered
    assert re.search(why, receipt.detail), receipt.detail


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_receiver_that_speaks_only_old_tls_gets_no_alert(tmp_path, letter):
    ours = Authority(tmp_path)

    def old(context):
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1

    with room(ours.signed(ROOM), old) as server:
        assert not tried(server, letter, ours.certificate).delivered


def test_no_client_of_ours_can_be_told_not_to_look(root):
    """Nowhere in what we ship is verification switched off; the tests above then hold for every client."""
    for room_name in ("acoustic", "sensors", "localization", "alerts", "shotfix"):
        for path in (root / room_name).rglob("*.py"):
            text = path.read_text("utf-8")
            for word in ("verify=False", "CERT_NONE", "check_hostname = False", "_create_unverified", "insecure=True"):
                assert word not in text, f"{path}: {word}"
