"""From a commit to a control room in its own process: signed, once, whatever is killed on the way."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
import standardwebhooks

from acoustic.instant import SECOND, after
from alerts.alert import encode
from alerts.couriers.destination import Destination
from alerts.couriers.loopback import ControlRoom
from alerts.couriers.webhook import Secret, Webhook, sign
from alerts.delivery import Route
from alerts.desk import Desk
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from shotfix.outbox_pump import Pump
from tests.strategies import NIGHT_NS, fix_at

SECRET = Secret(bytes(range(32)))


def burst():
    desk = Desk(mode="test")
    first = desk.receive(fix_at("a"))
    desk.receive(fix_at("b", 0.5))
    return [*first, *desk.tick(after(NIGHT_NS, 600.0))]


@contextlib.contextmanager
def control_room(folder, root):
    """A running receiver, its URL, and, once it has ended, its exit code and what it printed."""
    (folder / "secret").write_text(SECRET.text() + "\n")
    command = [sys.executable, "-m", "alerts.couriers.loopback", "--port", "0"]
    command += ["--secret-file", str(folder / "secret"), "--log", str(folder / "received.jsonl")]
    room = {}
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready, url = process.stdout.readline().split()
            assert ready == "ready"
            room["url"] = url
            yield room
        finally:
            process.terminate()
            room["printed"], room["complained"] = process.communicate(timeout=20.0)
            room["code"] = process.returncode


def received(folder):
    return [json.loads(line) for line in (folder / "received.jsonl").read_text("utf-8").splitlines()]


def post(url, body, *, name="a1-r1", stamp=None, secret=SECRET, method="POST"):
    stamp = int(time.time()) if stamp is None else stamp
    headers = {"webhook-id": name, "webhook-timestamp": str(stamp), "content-type": "application/json"}
    headers["webhook-signature"] = sign(secret, name, stamp, body)
    request = urllib.request.Request(url, data=body if method == "POST" else None, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20.0) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def message(alert):
    return b'{"type":"alert.new","timestamp":"2026-11-21T02:14:09Z","data":' + encode(alert) + b"}"


def test_the_control_room_takes_what_is_signed_once_and_nothing_else(tmp_path, root):
    first = burst()[0]
    body = message(first)
    with control_room(tmp_path, root) as room:
        url = room["url"]
        assert url.startswith("http://127.0.0.1:")
        assert post(url, body, name=first.message_id) == 200
        assert post(url, body, name=first.message_id) == 200
        assert post(url, body, name="other", secret=Secret(b"x" * 24)) == 401
        assert post(url, body, name="other", stamp=int(time.time()) - 400) == 401
        assert post(url, body, name="other", stamp=int(time.time()) + 400) == 401
        assert post(url, b"x" * 1_000_001, name="big") == 413
        assert post(url, b"\xff\xfe", name="bytes") == 400
        assert post(url, b'{"type": "ping", "data": "\\u001b[2J"}', name="ping") == 200
        assert post(url, b"", method="GET") == 405
    assert room["code"] == 0, room["complained"]
    log = received(tmp_path)
    assert [entry["headers"]["webhook-id"] for entry in log] == [first.message_id, "ping"]
    assert log[0]["body"] == body.decode()
    standardwebhooks.Webhook(SECRET.text()).verify(log[0]["body"], log[0]["headers"])
    assert room["printed"].startswith("TEST - GUNFIRE (still listening)\n")
    assert first.alert_id in room["printed"]
    assert "\x1b" not in room["printed"]


@pytest.mark.parametrize("content", ["", "nonsense", "whsec_", "whsec_!!!!"])
def test_a_control_room_without_a_secret_does_not_open(tmp_path, root, content):
    (tmp_path / "secret").write_text(content)
    command = [sys.executable, "-m", "alerts.couriers.loopback"]
    command += ["--secret-file", str(tmp_path / "secret"), "--log", str(tmp_path / "log")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60.0, check=False)
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert "--secret-file" in done.stderr


def test_a_control_room_remembers_over_a_restart_and_cuts_a_torn_line(tmp_path, capsys):
    log, now = tmp_path / "received.jsonl", int(time.time())
    body = message(burst()[0])
    headers = {
        "webhook-id": "a1-r1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(SECRET, "a1-r1", now, body),
    }
    room = ControlRoom(SECRET.text(), log)
    assert room.accept(headers, body, now) == (200, "accepted")
    room.close()
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"headers": {"webhook-id": "torn"}, "bo')
    room = ControlRoom(SECRET.text(), log)
    assert log.read_bytes() == whole
    assert room.accept(headers, body, now) == (200, "known")
    room.close()
    assert log.read_bytes() == whole
    log.write_bytes(b"something else\n" + whole)
    with pytest.raises(ValueError, match="line 1"):
        ControlRoom(SECRET.text(), log)
    assert "GUNFIRE" in capsys.readouterr().out


def test_a_burst_arrives_signed_in_order_and_readable(tmp_path, root):
    said = burst()
    with control_room(tmp_path, root) as room, Store(tmp_path / "record.sqlite") as store:
        store.keep(said, [Route("room")], time.time_ns())
        courier = Webhook("room", Destination(room["url"], allow_private=True), [SECRET])
        assert Pump(Outbox(store), courier, time.time_ns, time.sleep).drain(within_s=20.0) == 0
        courier.close()
    log = received(tmp_path)
    assert [entry["headers"]["webhook-id"] for entry in log] == [alert.message_id for alert in said]
    for entry, alert in zip(log, said, strict=True):
        standardwebhooks.Webhook(SECRET.text()).verify(entry["body"], entry["headers"])
        body = json.loads(entry["body"])
        assert body["type"] == f"alert.{alert.kind}"
        assert encode(alert).decode() in entry["body"]
    assert [json.loads(entry["body"])["type"] for entry in log] == ["alert.new", "alert.revised", "alert.revised"]
    assert "Rounds:   2" in room["printed"]


class Grudging(http.server.BaseHTTPRequestHandler):
    """Answers 500 three times, then 200, to whoever asks."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((self.headers["webhook-id"], self.headers["webhook-timestamp"]))
        self.send_response(500 if len(self.server.asked) <= 3 else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_receiver_that_answers_500_three_times_gets_the_alert_once(tmp_path):
    (first, *_) = burst()
    wall = [time.time_ns()]

    def sleep(seconds):
        wall[0] += int(seconds * SECOND)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Grudging) as server, Store(tmp_path / "r.sqlite") as store:
        server.asked, server.daemon_threads = [], True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        where = f"http://127.0.0.1:{server.server_address[1]}/"
        courier = Webhook("room", Destination(where, allow_private=True), [SECRET])
        store.keep([first], [Route("room")], wall[0])
        outbox = Outbox(store)
        pump = Pump(outbox, courier, lambda: wall[0], sleep)
        assert pump.drain(within_s=60.0) == 0
        assert pump.drain(within_s=60.0) == 0
        assert outbox.counts("room") == {"pending": 0, "sent": 1, "dead": 0}
        courier.close()
        server.shutdown()
        thread.join()
    assert [name for name, _ in server.asked] == [first.message_id] * 4
    stamps = [int(stamp) for _, stamp in server.asked]
    assert [b - a >= least for (a, b), least in zip(itertools.pairwise(stamps), (1, 2, 4), strict=True)] == [True] * 3


CITY = """
import os, signal, sys, time
from pathlib import Path
from alerts.alert import decode
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.delivery import Route
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from shotfix.outbox_pump import Pump

folder, url, killed = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = Store(folder / "record.sqlite")
said = [decode(line) for line in (folder / "said.jsonl").read_bytes().splitlines()]
store.keep(said, [Route("room")], time.time_ns())
if killed == "between commit and send":
    os.kill(os.getpid(), signal.SIGKILL)
courier = Webhook("room", Destination(url, allow_private=True), [Secret.parse((folder / "secret").read_text())])
if killed == "between send and receipt":
    Outbox.settle_many = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
pump = Pump(Outbox(store), courier, time.time_ns, time.sleep)
sys.exit(pump.drain(within_s=20.0))
"""


@pytest.mark.parametrize("killed", ["between commit and send", "between send and receipt"])
def test_killed_on_the_way_every_alert_arrives_after_a_restart_and_is_taken_once(tmp_path, root, killed):
    said = burst()
    (tmp_path / "said.jsonl").write_bytes(b"\n".join(encode(alert) for alert in said))
    with control_room(tmp_path, root) as room:

        def city(when):
            command = [sys.executable, "-c", CITY, str(tmp_path), room["url"], when]
            return subprocess.run(command, cwd=root, timeout=60.0, check=False).returncode

        assert city(killed) == -signal.SIGKILL
        assert len(received(tmp_path)) == (0 if killed == "between commit and send" else 1)
        assert city("never") == 0
        assert city("never") == 0
    assert [entry["headers"]["webhook-id"] for entry in received(tmp_path)] == [alert.message_id for alert in said]
    with Store(tmp_path / "record.sqlite") as store:
        assert Outbox(store).counts("room") == {"pending": 0, "sent": 3, "dead": 0}
