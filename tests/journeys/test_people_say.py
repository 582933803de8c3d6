"""From pulses to a judgement and back out: a whole centre, its API, its courier, its ledger, and its journal after it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from standardwebhooks import Webhook as SomebodysWebhook

from alerts.alert import decode, encode
from alerts.record.heads import HeadsFile
from alerts.record.ledger import Ledger
from alerts.record.store import Store
from shotfix.api.people import Person, digest_of, encode_people, new_token
from shotfix.centre import Centre
from shotfix.config import (
    CourierConfig,
    ListenConfig,
    PlaceConfig,
    RecordConfig,
    SecretSource,
    SiteConfig,
    SiteIdentity,
    TimeConfig,
)
from shotfix.config_writing import network_text, new_webhook_secret, write_private
from shotfix.journal_replay import replay_journal
from shotfix.network_file import Contents
from tests.cities import small_city

ROLES = {"desk-3": ("analyst",), "desk-4": ("analyst",), "auditor-1": ("auditor",)}
FOREVER_NS = 4_000_000_000 * 10**9


class Receiver:
    """Somebody's control room: takes what is signed, by somebody else's library, and remembers it."""

    def __init__(self, secret):
        self.told = []
        judge = SomebodysWebhook(secret)
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                told.append(judge.verify(body, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def no_workers(monkeypatch):
    monkeypatch.setattr(Centre, "_hearing_pool", lambda *_: None)


@pytest.fixture(scope="module")
def city():
    return small_city(sensors=9, seconds=20.0)


@pytest.fixture
def tokens(tmp_path):
    (tmp_path / "data").mkdir()
    tokens = {name: new_token() for name in ROLES}
    people = tuple(Person(name, ROLES[name], digest_of(token), 0, FOREVER_NS) for name, token in tokens.items())
    path = tmp_path / "data" / "people.toml"
    path.write_bytes(encode_people(people))
    path.chmod(0o600)
    return tokens


@pytest.fixture
def receiver(tmp_path):
    secret = new_webhook_secret()
    write_private(tmp_path / "secret", secret)
    opened = Receiver(secret)
    yield opened
    opened.close()


@pytest.fixture
def config(tmp_path, city, receiver, record_where):
    registry = city.registry
    contents = Contents(1, registry.network.sites, registry.owners, registry.nodes, ())
    (tmp_path / "network.toml").write_text(network_text(contents))
    return SiteConfig(
        SiteIdentity("small city", tmp_path / "data", mode="test"),
        tmp_path / "network.toml",
        listen=ListenConfig(port=0),
        place=PlaceConfig(source_up_m=1.5, source_sigma_m=2.0),
        time=TimeConfig(stale_s=60.0, join_s=60.0, pace=600.0),
        record=RecordConfig(database=record_where if isinstance(record_where, str) else None),
        couriers=(
            CourierConfig(
                "room", receiver.url, SecretSource(tmp_path / "secret"), allow_private=True,
                outcomes=("published", "review"), revisions_per_minute=100_000.0,
            ),
        ),
    )  # fmt: skip


async def until(true):
    ends = time.monotonic() + 60.0
    while not (found := true()):
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)
    return found


def kinds(told, alert_id):
    return [each["type"] for each in told if each["data"]["alert_id"] == alert_id]


@pytest.mark.usefixtures("no_workers")
def test_what_a_person_says_reaches_the_receiver_the_ledger_and_the_journal(config, city, receiver, tokens, tmp_path):
    asyncio.run(_night(config, city, receiver, tokens))
    with Store(config.record_at) as store:
        stored = [encode(alert) for alert in store.alerts()]
        heads = HeadsFile(tmp_path / "data" / "ledger.heads").read()
        found = Ledger(store).verify(heads)
    assert heads
    assert found.intact, found
    (tmp_path / "again").mkdir()
    replay_journal(tmp_path / "data", tmp_path / "again")
    again = (tmp_path / "again" / "alerts.jsonl").read_bytes().splitlines()
    assert again == stored
    assert any(decode(line).review is not None for line in again)


async def _night(config, city, receiver, tokens):
    centre = Centre(config)
    running = asyncio.create_task(centre.run())
    try:
        await until((config.site.data_dir / "address").exists)
        for _, sealed in city.all_sealed():
            assert (await centre.ingest.take(sealed)).status == 200
        base = (config.site.data_dir / "address").read_text().strip() + "/api/v1"
        await until(lambda: any(each["type"] == "alert.new" for each in receiver.told))
        async with httpx.AsyncClient(base_url=base, timeout=30.0) as client:
            await _judge(client, receiver, tokens)
    finally:
        centre.stop()
        await asyncio.wait_for(running, 60.0)


async def _judge(client, receiver, tokens):
    def auth(who, version=None):
        return {"authorization": f"Bearer {tokens[who]}"} | ({} if version is None else {"if-match": f'"{version}"'})

    async def act(who, verb, body):
        """Late sensors may speak at the same moment: who is told of a newer version looks again."""
        for _ in range(20):
            seen = (await client.get(f"/incidents/{name}", headers=auth(who))).json()
            version = seen["incident"]["version"]
            answer = await client.post(f"/incidents/{name}/{verb}", json=body, headers=auth(who, version))
            if answer.status_code != 409 or answer.json().get("changed_by") != "machine":
                break
        return answer, version

    alert = next(each["data"] for each in receiver.told if each["type"] == "alert.new")
    name, alert_id = alert["incident_id"], alert["alert_id"]
    assert (await client.get("/incidents")).status_code == 401
    assert (await client.post(f"/incidents/{name}/judge", json={}, headers=auth("auditor-1"))).status_code == 403
    doors = [await client.get(path, follow_redirects=False) for path in ("/livez/", "/nowhere", "/api/v1/alerts")]
    assert {door.headers["x-content-type-options"] for door in doors} == {"nosniff"}
    assert {door.status_code for door in doors} == {404}  # and nobody is led to where a header says
    claimed = await client.post(f"/incidents/{name}/claim", json={}, headers=auth("desk-3"))
    assert claimed.status_code == 200, claimed.text
    taken = await client.post(f"/incidents/{name}/claim", json={}, headers=auth("desk-4"))
    assert taken.status_code == 409
    assert "desk-3" in taken.text
    said, version = await act("desk-3", "judge", {"judgement": "fireworks", "note": "on the water, with music"})
    assert said.status_code in {200, 202}, said.text
    await until(lambda: "alert.cancelled" in kinds(receiver.told, alert_id))
    stale = await client.post(
        f"/incidents/{name}/judge", json={"judgement": "gunfire"}, headers=auth("desk-4", version)
    )
    assert stale.status_code == 409
    cancelled = next(
        each["data"]
        for each in receiver.told
        if each["data"]["alert_id"] == alert_id and each["type"] == "alert.cancelled"
    )
    assert cancelled["review"]["judgement"] == "fireworks"
    assert cancelled["review"]["by"] == "desk-3"
    assert cancelled["review"]["machine_outcome"] == alert["outcome"]
    assert cancelled["what"]["llr"] == pytest.approx(alert["what"]["llr"], abs=5.0)
    revisions = [each["data"]["revision"] for each in receiver.told if each["data"]["alert_id"] == alert_id]
    assert revisions == sorted(set(revisions))
    ledger = await client.get("/ledger", headers=auth("auditor-1"))
    assert ledger.status_code == 200
    assert {"alert", "claim", "act"} <= {each["kind"] for each in json.loads(ledger.content)["entries"]}
