"""A receiver that would lead a courier elsewhere: by redirects, headers, a name that changes its mind, or the environment."""

from __future__ import annotations

import contextlib
import http.server
import math
import ssl
import threading

import pytest

from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Webhook
from tests.security.traps import SECRET, Trap, any_letter, nothing_sent, now_ns
from tests.shotfix.certificates import certificate


@pytest.fixture
def trap():
    one = Trap()
    yield one
    one.close()


@pytest.fixture(scope="module")
def letter():
    return any_letter()


class Misleading(http.server.BaseHTTPRequestHandler):
    """Answers as its server is told."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.hosts.append(self.headers["host"])
        status, headers = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.server.said)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who has read enough hangs up
            self.wfile.write(self.server.said)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def receiver(answer=(204, {}), tls=None, seen=None, said=b""):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Misleading) as server:
        server.daemon_threads = True
        server.hosts, server.answer, server.said = [], answer, said
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            context.sni_callback = lambda _socket, name, _context: seen.append(name)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def delivered_to(server, letter, times=1, **change):
    where = f"http://control-room.test:{server.server_address[1]}/hooks"
    resolve = change.pop("resolve", lambda host, port: ["127.0.0.1"])
    webhook = Webhook("room", Destination(where, allow_private=True), [SECRET], resolve=resolve, **change)
    receipts = [webhook.deliver(letter, now_ns()) for _ in range(times)]
    webhook.close()
    return receipts


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "http://[::1]:{port}/latest/meta-data"]
)
def test_a_redirect_leads_nowhere(status, where, trap, letter):
    with receiver((status, {"location": where.replace("{port}", str(trap.port))})) as server:
        (receipt,) = delivered_to(server, letter)
    assert (receipt.delivered, receipt.status_code) == (False, status)
    assert len(server.hosts) == 1
    assert not trap.called()


@pytest.mark.parametrize(
    "headers",
    [
        {"alt-svc": 'h2="127.0.0.1:{port}"; ma=86400, http/1.1="127.0.0.1:{port}"; persist=1'},
        {"refresh": "0; url=http://127.0.0.1:{port}/"},
        {"location": "http://127.0.0.1:{port}/"},
        {"content-location": "http://127.0.0.1:{port}/"},
        {"link": "<http://127.0.0.1:{port}/>; rel=preload"},
        {"set-cookie": "a=b; domain=127.0.0.1"},
        {"strict-transport-security": "max-age=31536000"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_no_header_of_an_answer_moves_the_next_call(headers, trap, letter):
    answer = {name: value.replace("{port}", str(trap.port)) for name, value in headers.items()}
    with receiver((200, answer)) as server:
        receipts = delivered_to(server, letter, times=3)
    assert [receipt.delivered for receipt in receipts] == [True] * 3
    assert len(server.hosts) == 3
    assert not trap.called()


def test_a_name_that_changes_its_mind_is_refused_the_second_time_and_asked_once_for_each(letter, trap):
    answers = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "0.0.0.0"]]  # noqa: S104
    asked = []

    def rebinding(host, port):
        asked.append(host)
        return answers[len(asked) - 1]

    with receiver() as server:
        first, second, third = delivered_to(server, letter, times=3, resolve=rebinding)
    assert first.delivered
    assert "where clouds keep" in second.detail
    assert "no address to connect to" in third.detail
    assert asked == ["control-room.test"] * 3, "one look-up for each attempt: there is none between check and call"
    assert len(server.hosts) == 1


def test_the_environments_proxies_are_not_asked(letter, trap, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with receiver() as server:
        (receipt,) = delivered_to(server, letter)
    assert receipt.delivered
    with nothing_sent():
        assert not Webhook("room", Destination("https://10.0.0.1/"), [SECRET]).deliver(letter, now_ns()).delivered
    assert not trap.called()


def test_the_environments_credentials_stay_at_home(letter, tmp_path, monkeypatch):
    """A .netrc would send a password to whoever has the name."""
    (tmp_path / ".netrc").write_text("machine control-room.test login us password T0KEN\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    asked = []
    monkeypatch.setattr(Misleading, "parse_request", _remembering(Misleading.parse_request, asked))
    with receiver() as server:
        (receipt,) = delivered_to(server, letter)
    assert receipt.delivered
    assert not any("authorization" in {name.lower() for name in headers} for headers in asked)


def _remembering(parse, asked):
    def parse_request(self):
        is_whole = parse(self)
        asked.append(dict(self.headers))
        return is_whole

    return parse_request


def test_host_and_server_name_stay_those_of_the_url(letter, tmp_path):
    """The address is dialled, and the name is asked for: in the header, and in TLS (RFC 6066), which checks it."""
    seen = []
    tls = certificate(tmp_path, "room")
    with receiver(tls=tls, seen=seen) as server:
        port = server.server_address[1]
        webhook = Webhook(
            "room", Destination(f"https://control-room.test:{port}/", allow_private=True), [SECRET],
            resolve=lambda host, port: ["127.0.0.1"], ca_file=tls.certificate,
        )  # fmt: skip
        receipt = webhook.deliver(letter, now_ns())
        webhook.close()
        assert not receipt.delivered, "its certificate is for the address, and we asked for the name"
        assert seen == ["control-room.test"]
        assert server.hosts == []
    with receiver() as server:
        (plain,) = delivered_to(server, letter)
        assert plain.delivered
        assert server.hosts == [f"control-room.test:{server.server_address[1]}"]


@pytest.mark.parametrize(
    "text",
    [
        "9" * 5_000, "1e309", "-1", "nan", "\u0663", "Mon, 1 Jan 2026 00:00:00 +9999", "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 1 Jan 0001 00:00:00 +2359",
        "Mon, 32 Foo 0000 99:99:99 XYZ", "x" * 10_000,
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_whatever_a_receiver_says_of_when_to_come_again_is_a_receipt(text, letter):
    for headers in ({"retry-after": text}, {"retry-after": "Sat, 21 Nov 2026 02:15:00 GMT", "date": text}):
        with receiver(
            (503, {name: value.encode("utf-8").decode("latin-1") for name, value in headers.items()})
        ) as server:
            (receipt,) = delivered_to(server, letter)
        assert (receipt.delivered, receipt.status_code) == (False, 503)
        assert receipt.retry_after_s is None or math.isfinite(receipt.retry_after_s)


@pytest.mark.parametrize(
    "said",
    [b"\x1b[2J\x1b]0;t\x07", b'"}\n{"event":"forged"}', "\u202e\u2066".encode(), b"\xff\xfe\x00", b"a" * 10_000_000],
)
def test_what_a_receiver_answers_is_told_in_plain_words_and_few(said, letter):
    with receiver((500, {}), said=said) as server:
        (receipt,) = delivered_to(server, letter)
    assert receipt.status_code == 500
    assert receipt.detail.isascii()
    assert receipt.detail.isprintable()
    assert len(receipt.detail) < 3_000
