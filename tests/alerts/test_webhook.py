"""Webhooks: signatures against known answers and another's verifier, receivers of every kind, refused addresses."""

from __future__ import annotations

import base64
import dataclasses
import http.server
import json
import logging
import math
import os
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import example, given
from hypothesis import strategies as st

from acoustic.instant import SECOND, after
from alerts.alert import SCHEMA_VERSION, encode
from alerts.couriers.bounded_http import Answer
from alerts.couriers.destination import Destination, RefusedError, why_refused
from alerts.couriers.loopback import verified
from alerts.couriers.webhook import Secret, Webhook, _receipt, _retry_after_s, body_of, sign
from alerts.delivery import Delivery, wait_s
from alerts.desk import Desk
from tests.strategies import NIGHT_NS, fix_at

OLD = Secret(bytes(range(24)))
NEW = Secret(bytes(range(100, 164)))
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)

# Ours, computed with the hmac module of the standard library and checked with standardwebhooks 1.1.0.
KNOWN = (OLD, "a1-r1", 1_795_227_249, b'{"type":"alert.new"}', "v1,KWNhJw9VeBtNAVekysBS6tK20U3GzT+EpowzLa3Evlc=")


def delivery(**change):
    (alert,) = Desk().receive(fix_at("a"))
    fields = {
        "alert_id": alert.alert_id, "revision": 1, "courier": "room", "kind": "new", "published_at": alert.published_at,
        "document": encode(alert), "queued_ns": now_ns(),
    }  # fmt: skip
    return Delivery(**(fields | change))


def now_ns():
    return int(datetime.now(UTC).timestamp()) * SECOND


# Signatures


def test_a_known_answer_of_ours():
    secret, name, stamp, body, expected = KNOWN
    assert sign(secret, name, stamp, body) == expected


def test_the_known_answer_of_the_reference_data(shared):
    known = json.loads((shared / "specs/vectors/known_answers.json").read_text())["standard_webhooks"]
    signed = sign(
        Secret.parse(known["secret"]), known["webhook-id"], known["webhook-timestamp"], known["body"].encode()
    )
    assert signed == known["webhook-signature"]


@given(NAMES, st.text(max_size=200), st.binary(min_size=24, max_size=64))
def test_what_we_sign_the_other_implementation_verifies_and_the_reverse(name, body, key):
    secret, stamp = Secret(key), now_ns() // SECOND
    theirs = standardwebhooks.Webhook(secret.text())
    ours = sign(secret, name, stamp, body.encode())
    headers = {"webhook-id": name, "webhook-timestamp": str(stamp), "webhook-signature": ours}
    assert ours == theirs.sign(name, datetime.fromtimestamp(stamp, UTC), body)
    assert verified(secret.text(), headers, body.encode(), stamp)
    theirs.verify(
        json.dumps(body), headers | {"webhook-signature": sign(secret, name, stamp, json.dumps(body).encode())}
    )


@given(NAMES, st.binary(max_size=300))
def test_any_bytes_verify_at_the_loopback(name, body):
    headers = {"webhook-id": name, "webhook-timestamp": "1795227249"}
    headers["webhook-signature"] = sign(OLD, name, 1795227249, body)
    assert verified(OLD.text(), headers, body, 1795227249.0)


@given(st.sampled_from(["body", "webhook-id", "webhook-timestamp", "webhook-signature", "key"]), st.data())
def test_one_flipped_bit_anywhere_fails(part, data):
    stamp, body, key = 1_795_227_249, b'{"type":"alert.new","data":{}}', OLD.key
    headers = {"webhook-id": "a1-r1", "webhook-timestamp": str(stamp)}
    headers["webhook-signature"] = sign(OLD, "a1-r1", stamp, body)
    assert verified(OLD.text(), headers, body, stamp)

    def flipped(content):
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    if part == "body":
        body = flipped(body)
    elif part == "key":
        key = flipped(key)
    else:
        headers[part] = flipped(headers[part].encode()).decode("latin-1")
    assert not verified(Secret(key).text(), headers, body, stamp)


def test_a_timestamp_out_of_tolerance_or_shape_fails():
    headers = {"webhook-id": "a1-r1", "webhook-timestamp": "1795227249"}
    headers["webhook-signature"] = sign(OLD, "a1-r1", 1795227249, b"")
    assert verified(OLD.text(), headers, b"", 1795227249.0 + 300)
    for now_s in (1795227249.0 + 301, 1795227249.0 - 301):
        assert not verified(OLD.text(), headers, b"", now_s)
    for stamp in ("", "1795227249.0", "-1", "nan", "1" * 40, "\u0661"):
        assert not verified(OLD.text(), headers | {"webhook-timestamp": stamp}, b"", 1795227249.0)
    assert not verified(OLD.text(), {}, b"", 1795227249.0)


def test_while_keys_are_rotated_each_key_verifies():
    webhook = Webhook("room", Destination("https://example.org/"), [NEW, OLD])
    body = body_of(delivery())
    now = now_ns()
    headers = webhook.headers(delivery(), body, now)
    for secret in (NEW, OLD):
        standardwebhooks.Webhook(secret.text()).verify(body, headers)
        assert verified(secret.text(), headers, body, now / SECOND)
    assert not verified(Secret(b"x" * 24).text(), headers, body, now / SECOND)


def test_a_name_with_a_full_stop_is_not_signed():
    with pytest.raises(ValueError, match="full stop"):
        sign(OLD, "a.b", 1, b"")


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ="])
def test_a_wrong_secret_is_refused_without_repeating_it(text):
    with pytest.raises(ValueError) as caught:
        Secret.parse(text)
    assert not text.removeprefix("whsec_") or text.removeprefix("whsec_") not in str(caught.value)


def test_the_secret_shows_itself_nowhere():
    webhook = Webhook("room", Destination("https://example.org/hooks/T0KEN?key=T0KEN"), [OLD])
    shown = "".join((repr(OLD), str(OLD), f"{OLD}", repr(webhook), repr(webhook._destination), repr([webhook.signing])))
    for hidden in (OLD.text(), base64.b64encode(OLD.key).decode(), repr(OLD.key), "T0KEN"):
        assert hidden not in shown


# The body


def test_the_body_holds_the_stored_document_byte_for_byte():
    sent = delivery()
    body = body_of(sent)
    assert sent.document in body
    message = json.loads(body)
    assert list(message) == ["type", "timestamp", "data"]
    assert (message["type"], message["timestamp"]) == ("alert.new", sent.published_at)
    assert len(body) < 20_000


# Receivers


class Answers(http.server.BaseHTTPRequestHandler):
    """Gives its server's answers one after the other: status and headers; the last one again and again."""

    def do_POST(self):
        length = int(self.headers["content-length"])
        self.server.received.append((self.path, dict(self.headers), self.rfile.read(length)))
        answers = self.server.answers
        status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        said = b"said \x1b[31m" if status >= 300 else b""
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        server.received, server.answers = [], [(204, {})]
        server.where = f"http://127.0.0.1:{server.server_address[1]}/hooks/T0KEN?zone=1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def courier_to(where, **change):
    return Webhook("room", Destination(where, allow_private=True), [OLD], **change)


def test_every_attempt_has_the_same_name_and_a_fresh_signature(receiver):
    receiver.answers = [(500, {}), (204, {})]
    webhook, now = courier_to(receiver.where), now_ns()
    first = webhook.deliver(delivery(), now)
    second = webhook.deliver(delivery(attempts=1), after(now, 2.0))
    webhook.close()
    assert (first.delivered, first.status_code) == (False, 500)
    assert (second.delivered, second.status_code) == (True, 204)
    (path, one, body), (_, two, same) = receiver.received
    assert path == "/hooks/T0KEN?zone=1"
    assert body == same == body_of(delivery())
    headers = [{k.lower(): v for k, v in h.items()} for h in (one, two)]
    assert headers[0]["webhook-id"] == headers[1]["webhook-id"] == delivery().message_id
    assert int(headers[1]["webhook-timestamp"]) == int(headers[0]["webhook-timestamp"]) + 2
    assert headers[0]["webhook-signature"] != headers[1]["webhook-signature"]
    for sent in headers:
        standardwebhooks.Webhook(OLD.text()).verify(body, sent)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 404, 410, 413, 429, 500, 502, 503])
def test_only_2xx_is_success_and_redirects_are_not_followed(receiver, status):
    receiver.answers = [(status, {"location": receiver.where, "retry-after": "7"})]
    webhook = courier_to(receiver.where)
    receipt = webhook.deliver(delivery(), now_ns())
    webhook.close()
    assert len(receiver.received) == 1
    assert (receipt.delivered, receipt.status_code, receipt.retry_after_s) == (False, status, 7.0)
    assert not receipt.unanswered
    assert receipt.detail.isprintable()
    assert receipt.detail.startswith(f"answered {status}: said ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("120", 120.0), ("Sat, 21 Nov 2026 02:15:00 GMT", 60.0), ("soon", None), ("-3", None), ("\u0663", None)],
)
def test_retry_after_is_seconds_or_a_date(text, expected):
    now = 1_795_227_240 * SECOND  # 2026-11-21T02:14:00Z
    for dated in ({"date": "Sat, 21 Nov 2026 02:14:00 GMT"}, {"date": "today"}, {}):  # theirs, or else our clock
        assert _retry_after_s({"retry-after": text} | dated, now) == expected
    assert _retry_after_s({}, now) is None


def test_a_receiver_that_is_not_there_or_hangs_up_is_a_receipt():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    webhook = courier_to(f"http://127.0.0.1:{port}/")
    receipt = webhook.deliver(delivery(), now_ns())
    webhook.close()
    assert (receipt.delivered, receipt.status_code, receipt.unanswered) == (False, None, True)
    assert receipt.detail == f"no answer from http://127.0.0.1:{port}: ConnectError"


def test_a_receiver_that_hangs_is_left_after_the_time_allowed(monkeypatch):
    monkeypatch.setattr("alerts.couriers.webhook.FIRST_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        webhook = courier_to(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        receipt = webhook.deliver(delivery(), now_ns())
        webhook.close()
    assert receipt.unanswered
    assert receipt.detail.endswith("ReadTimeout")


def test_neither_secret_nor_token_is_logged(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    receiver.answers = [(500, {})]
    webhook = courier_to(receiver.where)
    receipt = webhook.deliver(delivery(), now_ns())
    webhook.close()
    for hidden in (OLD.text(), base64.b64encode(OLD.key).decode(), "T0KEN"):
        assert hidden not in caplog.text
        assert hidden not in repr(receipt)


def test_the_address_that_was_checked_is_the_one_connected_to(receiver):
    """The name does not exist: only the address of the one look-up can have been used, and no second look-up."""
    asked = []

    def once(host, port):
        asked.append((host, port))
        return ["127.0.0.1"]

    port = receiver.server_address[1]
    webhook = courier_to(f"http://control-room.invalid:{port}/x", resolve=once)
    receipt = webhook.deliver(delivery(), now_ns())
    webhook.close()
    assert receipt.delivered
    assert asked == [("control-room.invalid", port)]
    assert {k.lower(): v for k, v in receiver.received[0][1].items()}["host"] == f"control-room.invalid:{port}"


def test_no_proxy_of_the_environment_is_asked(receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    webhook = courier_to(receiver.where)
    assert webhook.deliver(delivery(), now_ns()).delivered
    webhook.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate of control-room.test, made for this run."""
    if shutil.which("openssl") is None:
        reason = "openssl is not installed: nothing can be said of certificates here"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("certificate")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=control-room.test",
    ]
    command += ["-addext", "subjectAltName=DNS:control-room.test"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=60.0)
    return folder


@pytest.mark.parametrize(
    ("host", "trusted", "delivered"),
    [("control-room.test", True, True), ("another-room.test", True, False), ("control-room.test", False, False)],
)
def test_the_certificate_is_held_against_the_name_though_the_address_is_dialled(
    receiver, certificate, host, trusted, delivered
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    webhook = Webhook(
        "room",
        Destination(f"https://{host}:{receiver.server_address[1]}/", allow_private=True),
        [OLD],
        resolve=lambda host, port: ["127.0.0.1"],
        ca_file=certificate / "certificate.pem" if trusted else None,
    )
    receipt = webhook.deliver(delivery(), now_ns())
    webhook.close()
    assert receipt.delivered is delivered
    assert len(receiver.received) == (1 if delivered else 0)


# Addresses

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # noqa: S104
    "169.254.169.254",
    "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1",
    "2001:db8::1", "100::1", "2001:2::1", "not an address", "", "2130706433", "0x7f000001", "017700000001",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "172.32.0.1", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_ones_own_network_are_not_public(address):
    assert why_refused(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address):
    assert why_refused(address) is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
    ],
)
def test_every_way_of_writing_this_machine_is_refused(host):
    webhook = Webhook("room", Destination(f"https://{host}/"), [OLD])
    receipt = webhook.deliver(delivery(), now_ns())
    assert not receipt.delivered
    assert receipt.detail.startswith("refused: ")
    assert not receipt.unanswered
    assert webhook._http._pool.connections == [], "nothing was even opened"


def test_one_private_address_among_public_ones_refuses_the_name():
    destination = Destination("https://example.org/")
    with pytest.raises(RefusedError, match=r"10\.0\.0\.1"):
        destination.checked_address(lambda host, port: ["8.8.8.8", "10.0.0.1"])
    assert destination.checked_address(lambda host, port: ["8.8.8.8", "1.1.1.1"]) == "8.8.8.8"


def test_a_name_that_changes_its_mind_is_checked_each_time():
    answers = [["8.8.8.8"], ["169.254.169.254"]]
    destination = Destination("https://example.org/")
    assert destination.checked_address(lambda host, port: answers[0]) == "8.8.8.8"
    with pytest.raises(RefusedError):
        destination.checked_address(lambda host, port: answers[1])


def test_a_name_that_does_not_resolve_is_a_receipt():
    def fails(host, port):
        raise OSError("no such name")

    receipt = Webhook("room", Destination("https://example.org/"), [OLD], resolve=fails).deliver(delivery(), now_ns())
    assert (receipt.delivered, receipt.unanswered) == (False, True)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org/", "file:///etc/passwd", "https://", "https:///x", "http://example.org/",
        "https://user:word@example.org/", "https://user@example.org/", "https://example.org/#x",
        "https://exa mple.org/",
        "https://example.org:0/", "https://example.org:99999/", "https://ex\u00e4mple.org/",
        "https://example.org/\r\nx: y",
        "gopher://127.0.0.1:25/",
    ],
)  # fmt: skip
def test_what_is_no_safe_url_is_refused_at_once(url):
    with pytest.raises(ValueError):
        Destination(url)


HTTP_DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Wed", "Sat", "?", ""]),
    st.integers(-1, 10**12),
    st.sampled_from(["Nov", "Feb", "13", ""]),
    st.integers(-1, 10**30) | st.sampled_from([0, 1, 9999, 10_000]),
    *[st.integers(-1, 100) | st.just(10**20)] * 3,
    st.sampled_from(["GMT", "+0000", "-2400", "+9999", "+99999999999999999999", ""]),
)


@given(st.text(max_size=40) | HTTP_DATES, st.text(max_size=40) | HTTP_DATES)
@example("Sat, 21 Nov 99999999999999999999 03:00:00 GMT", "")
@example("120", "Sat, 21 Nov 2026 03:00:00 +99999999999999999999")
def test_no_date_of_a_receiver_fails_a_delivery(retry_after, date):
    answer = Answer(503, {"retry-after": retry_after, "date": date}, b"")
    receipt = _receipt(answer, now_ns())
    assert not receipt.delivered
    assert wait_s(1, "a1-r1", receipt.retry_after_s) < math.inf


@pytest.mark.parametrize(
    ("alert_id", "why"), [("a\u00e4", "webhook-id"), ("a\r\nx: y", "webhook-id"), ("a.b", "full stop")]
)
def test_a_name_that_no_header_can_hold_is_a_receipt(alert_id, why):
    webhook = Webhook("room", Destination("https://example.org/"), [OLD], lambda host, port: ["8.8.8.8"], source="/x")
    receipt = webhook.deliver(dataclasses.replace(delivery(), alert_id=alert_id), now_ns())
    assert (receipt.delivered, receipt.unanswered) == (False, False)
    assert receipt.detail.startswith("cannot be sent: ")
    assert why in receipt.detail
    assert "\n" not in receipt.detail


def test_a_webhook_needs_a_secret():
    with pytest.raises(ValueError, match="secret"):
        Webhook("room", Destination("https://example.org/"), [])


# The end of a key, events, and long alerts


def test_after_its_end_the_former_key_signs_no_more():
    now = now_ns()
    webhook = Webhook("room", Destination("https://example.org/"), [NEW, OLD], former_until_ns=now + 60 * SECOND)
    body = body_of(delivery())
    before, after_it = (webhook.headers(delivery(), body, at_ns) for at_ns in (now + 59 * SECOND, now + 60 * SECOND))
    assert before["webhook-signature"].count("v1,") == 2
    assert after_it["webhook-signature"] == sign(NEW, delivery().message_id, (now + 60 * SECOND) // SECOND, body)


def test_a_message_may_be_an_event_too_and_is_the_same_message():
    plain_one = Webhook("room", Destination("https://example.org/"), [OLD])
    event = Webhook("room", Destination("https://example.org/"), [OLD], source="/shotfix")
    now, body = now_ns(), body_of(delivery())
    more = {k: v for k, v in event.headers(delivery(), body, now).items() if k.startswith("ce-")}
    assert event.headers(delivery(), body, now) == plain_one.headers(delivery(), body, now) | more
    assert not [name for name in plain_one.headers(delivery(), body, now) if name.startswith("ce-")]
    assert more == {
        "ce-specversion": "1.0",
        "ce-id": delivery().message_id,
        "ce-source": "/shotfix",
        "ce-type": "shotfix.alert.new",
        "ce-time": delivery().published_at,
        "ce-subject": delivery().alert_id,
        "ce-dataschema": f"urn:shotfix:alert:{SCHEMA_VERSION}",
    }


@pytest.mark.parametrize("source", ["", "a b", "stra\u00dfe", "a\r\nx: y"])
def test_what_is_no_source_of_events_is_refused(source):
    with pytest.raises(ValueError, match="source"):
        Webhook("room", Destination("https://example.org/"), [OLD], source=source)


def test_an_alert_of_a_hundred_rounds_is_sent_whole(receiver):
    """It is longer than the 20 kB that the standard recommends; every round arrives, and the signature fits."""
    desk = Desk()
    for k in range(100):
        desk.receive(fix_at(f"r{k}", 0.1 * k))
    last = desk.tick(after(NIGHT_NS, 900.0))[-1]
    assert len(last.rounds) == 100
    webhook = courier_to(receiver.where)
    sent = delivery(alert_id=last.alert_id, document=encode(last), kind=last.kind)
    assert webhook.deliver(sent, now_ns()).delivered
    webhook.close()
    ((_, headers, body),) = receiver.received
    assert 20_000 < len(body) < 100_000
    message = standardwebhooks.Webhook(OLD.text()).verify(body, {k.lower(): v for k, v in headers.items()})
    assert len(message["data"]["rounds"]) == 100


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_all_of_2xx_is_success(receiver, status):
    receiver.answers = [(status, {})]
    webhook = courier_to(receiver.where)
    receipt = webhook.deliver(delivery(), now_ns())
    webhook.close()
    assert (receipt.delivered, receipt.status_code, receipt.gone) == (True, status, False)


def test_a_retired_address_is_a_receipt_that_says_so(receiver):
    receiver.answers = [(410, {})]
    webhook = courier_to(receiver.where)
    receipt = webhook.deliver(delivery(), now_ns())
    webhook.close()
    assert (receipt.delivered, receipt.gone, receipt.unanswered) == (False, True, False)


def test_what_is_wrong_with_a_certificate_stands_in_the_receipt(receiver, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    where = Destination(f"https://control-room.test:{receiver.server_address[1]}/hooks/T0KEN", allow_private=True)
    webhook = Webhook("room", where, [OLD], resolve=lambda host, port: ["127.0.0.1"])
    receipt = webhook.deliver(delivery(), now_ns())
    assert receipt.unanswered
    assert "certificate is not accepted, self-signed certificate" in receipt.detail
    assert "T0KEN" not in receipt.detail
    webhook.close()


def test_a_receiver_that_speaks_plainly_where_tls_is_expected_is_a_receipt(receiver):
    where = Destination(f"https://127.0.0.1:{receiver.server_address[1]}/", allow_private=True)
    webhook = Webhook("room", where, [OLD])
    receipt = webhook.deliver(delivery(), now_ns())
    assert receipt.unanswered
    assert "no secure connection" in receipt.detail
    webhook.close()
