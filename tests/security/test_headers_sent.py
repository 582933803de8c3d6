"""What couriers send: nothing in an alert can become a header of its own, a second request, or another document."""

from __future__ import annotations

import json
import re
import socket
import threading

import pytest

from acoustic.instant import parse_instant
from alerts.alert import encode
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook, body_of, sign
from alerts.delivery import Delivery
from alerts.desk import Desk
from tests.strategies import fix_at

NOW_NS = parse_instant("2026-11-21T02:15:00Z")
SECRET = Secret(bytes(range(32)))
BREAKS = ("x\r\nevil: 1", "x\nevil: 1", "x\revil: 1", "x\r\n\r\nPOST /evil HTTP/1.1", "x\x00y", "x\x0by", "x\u2028evil: 1",
          "\u010a\u010devil", "x\x85evil: 1")  # fmt: skip


def heard_whole(peer):
    """All that is sent until a third of a second passes in silence after a whole request, and whether the line is open."""
    said = b""
    peer.settimeout(10.0)
    while piece := peer.recv(65_536):
        said += piece
        head, blank, body = said.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if blank and length and len(body) >= int(length[1]):
            peer.settimeout(0.3)
            try:
                while piece := peer.recv(65_536):
                    said += piece
            except TimeoutError:
                return said, True
    return said, False


@pytest.fixture
def wire():
    """A receiver that keeps every byte it is sent, and answers 204."""
    heard, stopped = [], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def listen():
            while not stopped.is_set():
                try:
                    peer, _ = listening.accept()
                except TimeoutError:
                    continue
                with peer:
                    said, open_ended = heard_whole(peer)
                    heard.append(said)  # before the answer, which the asker is free to act on at once
                    if open_ended:
                        peer.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")

        thread = threading.Thread(target=listen)
        thread.start()
        yield listening.getsockname()[1], heard
        stopped.set()
        thread.join()


def letter(**change):
    (alert,) = Desk().receive(fix_at("a"))
    fields = {
        "alert_id": alert.alert_id, "revision": 1, "courier": "room", "kind": "new", "published_at": alert.published_at,
        "document": encode(alert), "queued_ns": NOW_NS,
    }  # fmt: skip
    return Delivery(**(fields | change))


def sent(port, delivery, **change):
    webhook = Webhook(
        "room", Destination(f"http://control-room.test:{port}/hooks", allow_private=True), [SECRET],
        resolve=lambda host, port: ["127.0.0.1"], **change,
    )  # fmt: skip
    try:
        return webhook.deliver(delivery, NOW_NS)
    finally:
        webhook.close()


@pytest.mark.parametrize("text", BREAKS, ids=ascii)
def test_a_name_cannot_add_a_header_or_a_request(text, wire):
    port, heard = wire
    try:
        receipt = sent(port, letter(alert_id=text))
    except (ValueError, TypeError):
        receipt = None
    assert receipt is None or not receipt.delivered
    assert not any(b"evil" in said for said in heard)


@pytest.mark.parametrize("text", BREAKS, ids=ascii)
def test_nor_can_a_time_in_the_headers_of_a_cloud_event(text, wire):
    port, heard = wire
    try:
        receipt = sent(port, letter(published_at=text), source="/shotfix")
    except (ValueError, TypeError):
        receipt = None
    assert receipt is None or not receipt.delivered
    assert not any(b"evil" in said for said in heard)


@pytest.mark.parametrize("text", [*BREAKS, "/shot fix", "", "\u00e9"], ids=ascii)
def test_a_source_of_events_is_checked_when_it_is_written_down(text):
    with pytest.raises(ValueError, match="URI reference"):
        Webhook("room", Destination("https://example.org/"), [SECRET], source=text)


def test_an_honest_alert_is_one_request_with_each_header_once(wire):
    port, heard = wire
    assert sent(port, letter(), source="/shotfix").delivered
    (said,) = heard
    head, _, body = said.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert len(names) == len(set(names))
    assert names.count(b"content-length") == 1
    assert b"transfer-encoding" not in names
    assert said.count(b" HTTP/1.1\r\n") == 1
    assert {b"cookie", b"authorization", b"referer", b"x-forwarded-for"}.isdisjoint(names)
    assert body == body_of(letter())
    assert json.loads(body)["type"] == "alert.new"


def test_a_signature_covers_name_time_and_body_and_nothing_can_move_between_them():
    with pytest.raises(ValueError, match="full stop"):
        sign(SECRET, "a1-r1.1795227249", 1, b"")
    one = sign(SECRET, "a1-r1", 17, b"95227249.body")
    other = sign(SECRET, "a1-r1", 1795227249, b"body")
    assert one != other
