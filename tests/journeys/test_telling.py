"""From the record to receivers that others wrote, and through kills at every point: nothing lost, nothing out of order."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict

import jsonschema
import pytest

from acoustic.instant import parse_instant
from alerts.alert import encode
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.delivery import Route
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from localization.study.scene_reading import read_scene
from shotfix.outbox_pump import Pump
from shotfix.playback import replay
from tests import kill_runs
from tests.record_stores import running_postgres

SECRET = Secret(bytes(range(40)))
SOURCE = "/shotfix/hartford"

# Kills

MUST_BE_NONE = (
    "not stored though acknowledged", "lost", "invented", "said otherwise", "out of order", "pending", "dead",
    "ledger entries missing",
)  # fmt: skip


def lives(*arguments, **named):
    """So many lives of a city that is killed, and what the books say afterwards."""
    found = kill_runs.lives("tests.kill_telling", MUST_BE_NONE, *arguments, **named)
    assert found["stored"] >= found["acknowledged"] > 0
    return found


def test_twenty_five_kills_lose_nothing_and_repeat_nothing(record_where, tmp_path, root):
    found = lives(record_where, tmp_path / "books", 25, 7, root)
    assert found["told"]
    assert len(found["points"]) > 3, "at chance, and at named points"


@pytest.mark.endurance
@pytest.mark.parametrize("hundred", range(25))
def test_five_thousand_kills(record_where, tmp_path, root, hundred):
    """Twenty-five hundreds on each database."""
    lives(record_where, tmp_path / "books", 100, 1000 + hundred, root, patience_s=1200.0)


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(5))
def test_a_database_server_that_is_killed_loses_nothing_either(tmp_path, root, seed):
    """PostgreSQL with every commit on its disk, ended every second or two, as is the city.

    All of its processes at once, as where the power fails; or one, as where memory runs out: then it ends the others
    itself, and begins anew.
    """
    durable = "-c shared_buffers=16MB -c max_connections=60 -c jit=off -c log_min_messages=fatal"
    rng, over, ends = random.Random(11 + seed), threading.Event(), Counter()  # noqa: S311
    with running_postgres(durable) as server, server.database() as where:

        def haunt():
            while not over.wait(rng.uniform(0.5, 2.0)):
                if rng.random() < 0.5:
                    with contextlib.suppress(OSError, IndexError):  # it went by itself meanwhile
                        os.kill(rng.choice(server.processes()[1:]), signal.SIGKILL)
                        ends["process"] += 1
                    continue
                with contextlib.suppress(AssertionError):  # it went by itself, when its recovery was killed
                    server.kill()
                with contextlib.suppress(AssertionError):  # the next turn will
                    server.start()
                    ends["server"] += 1

        haunting = threading.Thread(target=haunt)
        haunting.start()
        try:
            found = lives(where, tmp_path / "books", 40, 5 + seed, root, patience_s=900.0)
        finally:
            over.set()
            haunting.join()
    assert found["told"]
    assert min(ends["server"], ends["process"]) >= 3, ends
    print(ends, found)


# Receivers that others wrote

PYTHON = """
import http.server, json, sys
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = dict(self.headers)
        message = Webhook(sys.argv[1]).verify(body, headers)
        event = from_http_event(HTTPMessage(headers, body))
        said = event.get_attributes() | {"time": event.get_time().isoformat()}
        print(json.dumps({"id": headers["webhook-id"], "body": message, "event": said, "data": event.get_data()}), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
"""

NODE = """
const { createHmac, timingSafeEqual } = require('node:crypto');
const key = Buffer.from(process.argv[1].replace('whsec_', ''), 'base64');
const server = require('node:http').createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part)).on('end', () => {
    const body = Buffer.concat(parts), h = request.headers;
    const mine = createHmac('sha256', key).update(`${h['webhook-id']}.${h['webhook-timestamp']}.`).update(body).digest();
    const fits = h['webhook-signature'].split(' ').some((s) => timingSafeEqual(mine, Buffer.from(s.split(',')[1], 'base64')));
    if (fits) console.log(JSON.stringify({ id: h['webhook-id'], body: JSON.parse(body) }));
    response.writeHead(fits ? 204 : 401).end();
  });
}).listen(0, '127.0.0.1', () => console.log(server.address().port));
"""


@contextlib.contextmanager
def receiver(command):
    """A receiver in its own process: where it listens, and what it has said, once that has ended."""
    got = {"lines": []}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        got["port"] = int(process.stdout.readline())
        reader = threading.Thread(target=lambda: got["lines"].extend(json.loads(line) for line in process.stdout))
        reader.start()  # a pipe that nobody reads would be full after a few alerts
        try:
            yield got
        finally:
            process.terminate()
            reader.join(20.0)
            got["complained"] = process.stderr.read()


@pytest.fixture(scope="module")
def night(root):
    """All that is published of the recorded night."""
    scene, said = read_scene(root / "fixtures" / "scenes" / "demo-night", audio=True), []
    replay(scene, tell=said.append)
    return said


def tell(alerts, where, port):
    """Keep alerts one after the other while a pump carries them, as in a night."""
    with Store(where) as store:
        outbox, stop = Outbox(store), threading.Event()
        destination = Destination(f"http://127.0.0.1:{port}/hooks", allow_private=True)
        courier = Webhook("room", destination, [Secret(bytes(64)), SECRET], source=SOURCE)
        pump = Pump(outbox, courier, time.time_ns, stop.wait)
        thread = threading.Thread(target=pump.run, args=(stop.is_set,))
        thread.start()
        for alert in alerts:
            store.keep([alert], [Route("room")], time.time_ns())
        stop.set()
        outbox.wake()
        thread.join(30.0)
        left = Pump(outbox, courier, time.time_ns, time.sleep).drain(within_s=30.0)
        courier.close()
    assert left == 0


def check_order(lines, published):
    """Each once, and each alert's in its order."""
    assert sorted(line["id"] for line in lines) == sorted(alert.message_id for alert in published)
    by_alert = defaultdict(list)
    for line in lines:
        by_alert[line["body"]["data"]["alert_id"]].append(line["body"]["data"]["revision"])
    assert all(revisions == sorted(revisions) for revisions in by_alert.values())


@pytest.mark.slow
@pytest.mark.xdist_group("night")
def test_the_night_is_understood_by_others_libraries(night, tmp_path, shared):
    """standardwebhooks verifies, and the cloudevents package parses the same messages; its schema holds them."""
    published = [alert for alert in night if alert.outcome == "published"]
    assert len(published) > 10
    with receiver([sys.executable, "-c", PYTHON, SECRET.text()]) as got:
        tell(night, tmp_path / "record.db", got["port"])
    assert got["complained"] == ""
    check_order(got["lines"], published)
    alerts = {alert.message_id: alert for alert in published}
    schema = json.loads((shared / "specs/cloudevents/cloudevents.json").read_text())
    names = set()
    for line in got["lines"]:
        alert, event = alerts[line["id"]], line["event"]
        assert line["body"]["data"] == json.loads(encode(alert))
        assert line["data"] == line["body"], "the event's data is the body"
        assert event["type"] == f"shotfix.{line['body']['type']}" == f"shotfix.alert.{alert.kind}"
        assert (event["specversion"], event["source"]) == ("1.0", SOURCE)
        assert (event["id"], event["subject"]) == (alert.message_id, alert.alert_id)
        assert parse_instant(event["time"]) == alert.published_ns
        assert event["dataschema"] == f"urn:shotfix:alert:{alert.schema_version}"
        jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(
            event | {"data": line["data"]}
        )
        names.add((event["source"], event["id"]))
    assert len(names) == len(published)


@pytest.mark.slow
@pytest.mark.xdist_group("night")
def test_the_night_is_verified_by_another_language(night, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed: its own crypto is not asked here")
    published = [alert for alert in night if alert.outcome == "published"]
    with receiver(["node", "-e", NODE, SECRET.text()]) as got:
        tell(night, tmp_path / "record.db", got["port"])
    assert got["complained"] == ""
    check_order(got["lines"], published)
    assert {line["id"]: line["body"]["data"] for line in got["lines"]} == {
        alert.message_id: json.loads(encode(alert)) for alert in published
    }
