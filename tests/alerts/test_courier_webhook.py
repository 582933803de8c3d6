"""The conformance suite against the webhook, over receivers on the loopback that misbehave on the wire itself."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import threading
import time

import pytest
import standardwebhooks

from alerts.couriers import webhook as webhook_module
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from tests.couriers_conformance import LOST, TROUBLES, WELL, CourierConformance, burst, delivery_of
from tests.strategies import NIGHT_NS

SECRET = Secret(bytes(range(32)))
HIDDEN = "T0KEN"
ANSWERS = {
    WELL: b"HTTP/1.1 204 No Content\r\n\r\n",
    "answering-twice": b"HTTP/1.1 204 No Content\r\n\r\n" * 2,
    "accepting": b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok",
    "faulty": b"HTTP/1.1 500 Oh\r\ncontent-length: 12\r\n\r\nsaid \x1b[31m\xff\n",
    "full": b"HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 0\r\n\r\n",
    "refusing": b"HTTP/1.1 403 No\r\ncontent-length: 100000000\r\n\r\n" + b"no " * 100_000,
    "redirecting": b"HTTP/1.1 308 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "babbling": b"220 mail.example.org ESMTP\r\n" * 3,
}


class Receiver:
    """A server of raw sockets: what it says, and when it hangs up, is ours to choose."""

    def __init__(self):
        self.trouble, self.taken, self.lock = WELL, [], threading.Lock()
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        self.threads = [threading.Thread(target=self.listen)]
        self.threads[0].start()

    def close(self):
        self.over.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self.open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self.threads:
            thread.join(20.0)

    def listen(self):
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            thread = threading.Thread(target=self.serve, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def serve(self, connection):
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
            while self.one(connection, stream):
                pass

    def one(self, connection, stream):
        """Serve one request; whether the connection stays."""
        trouble = self.trouble
        if not stream.readline():
            return False
        headers = {}
        while (line := stream.readline().strip()) != b"":
            key, _, value = line.decode("latin-1").partition(":")
            headers[key.lower()] = value.strip()
        trouble = self.trouble
        length = int(headers["content-length"])
        if trouble in {"cut", "stuck"}:
            stream.read(length // 2) if trouble == "cut" else self.over.wait(20.0)
            return self.reset(connection)
        body = stream.read(length)
        if trouble in {WELL, LOST, "answering-twice", "accepting", "cut-answer"}:
            with self.lock:
                self.taken.append((headers, body))
        if trouble == "deaf":
            self.over.wait(20.0)
        elif trouble == LOST:
            self.reset(connection)
        elif trouble == "slow":
            for letter in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
                connection.sendall(bytes([letter]))
                if self.over.wait(0.02):
                    break
        elif trouble == "cut-answer":
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc")
            self.reset(connection)
        else:
            connection.sendall(ANSWERS[trouble])
            return trouble in {WELL, "answering-twice", "faulty", "full"}
        return False

    @staticmethod
    def reset(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


class Rigged:
    def __init__(self):
        self.receiver = Receiver()
        self.away = False
        url = f"http://control-room.test:{self.receiver.port}/hooks/{HIDDEN}"
        self.courier = Webhook("room", Destination(url, allow_private=True), [SECRET], resolve=self.resolve)
        self.secrets = (HIDDEN, SECRET.text(), base64.b64encode(SECRET.key).decode(), repr(SECRET.key))

    def resolve(self, _host, _port):
        if self.away:
            raise OSError("no such name")
        return ["127.0.0.1"]

    def become(self, trouble):
        self.away, self.receiver.trouble = trouble == "away", trouble
        return trouble in {WELL, LOST, "answering-twice", *TROUBLES}

    def accepted(self):
        found = []
        for headers, body in self.receiver.taken:
            standardwebhooks.Webhook(SECRET.text())  # its verifier wants a fresh stamp: signatures have their own test
            message = body.partition(b',"data":')[2][:-1]
            assert json.loads(body)["data"] == json.loads(message)
            found.append((headers["webhook-id"], message))
        return found


@pytest.fixture
def rigged(monkeypatch):
    monkeypatch.setattr(webhook_module, "FIRST_TIMEOUT_S", 0.5)
    rig = Rigged()
    yield rig
    rig.courier.close()
    rig.receiver.close()


class TestWebhook(CourierConformance):
    @pytest.fixture
    def rig(self, rigged):
        return rigged


@pytest.mark.parametrize("trouble", ["slow", "deaf"])
def test_an_attempt_ends_in_its_time_however_the_receiver_dawdles(rigged, trouble):
    """A letter each 20 ms never runs into a time-out between two letters; the whole attempt has its end all the same."""
    rigged.become(trouble)
    began_s = time.monotonic()
    receipt = rigged.courier.deliver(delivery_of(burst()[0], rigged.courier), NIGHT_NS)
    assert (receipt.delivered, receipt.unanswered) == (False, True)
    assert receipt.detail.endswith("ReadTimeout")
    assert time.monotonic() - began_s < 10.0, "of the 200 s that it would have gone on"


def test_a_receiver_that_does_not_read_is_left_too(rigged):
    import dataclasses  # noqa: PLC0415

    long = dataclasses.replace(delivery_of(burst()[0], rigged.courier), document=b'{"x":"' + b"x" * 30_000_000 + b'"}')
    rigged.become("stuck")
    receipt = rigged.courier.deliver(long, NIGHT_NS)
    assert receipt.unanswered
    assert receipt.detail.endswith("WriteTimeout")


@pytest.mark.parametrize("trouble", ["accepting", "cut-answer"])
def test_the_status_alone_is_the_receipt(rigged, trouble):
    """202 is a success, and so is a 200 whose body breaks off: they have it."""
    rigged.become("accepting")
    rigged.receiver.trouble = trouble
    receipt = rigged.courier.deliver(delivery_of(burst()[0], rigged.courier), NIGHT_NS)
    assert receipt.delivered
    assert receipt.status_code == (202 if trouble == "accepting" else 200)


def test_an_endless_refusal_is_read_to_its_first_words_only(rigged):
    rigged.become("refusing")
    receipt = rigged.courier.deliver(delivery_of(burst()[0], rigged.courier), NIGHT_NS)
    assert receipt.status_code == 403
    assert receipt.detail == "answered 403: " + ("no " * 100)[:200]


def test_each_attempt_has_a_connection_of_its_own(rigged):
    """So that no answer, given twice or late, can be taken for that of another alert."""
    for number in range(3):
        assert rigged.courier.deliver(delivery_of(burst(f"n{number}")[0], rigged.courier), NIGHT_NS).delivered
    assert len(rigged.receiver.open) == 3
    assert rigged.courier._http._pool.connections == []
