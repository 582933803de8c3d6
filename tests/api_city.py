"""A centre's API for tests: a record, a desk that takes acts, people with tokens; asked in the process, without sockets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import soundfile
from starlette.applications import Starlette

from acoustic.instant import SECOND, after
from alerts.alert import Audio, alert_instant
from alerts.desk import Desk
from alerts.record.outbox import Outbox
from alerts.review import acts
from alerts.review.reviews import ReviewRules, Reviews
from shotfix.api.application import PREFIX, Api
from shotfix.api.people import PEOPLE, People, Person, digest_of, encode_people, new_token
from shotfix.api.permissions import ROLES
from shotfix.api.sensor_states import SensorState
from shotfix.api.services import Services
from shotfix.named_clips import NamedClips
from tests.strategies import HARTFORD, NIGHT_NS, fix_at

YEAR_S = 31_536_000.0
PUBLISHED, REVIEW, SUPPRESSED = 6.0, 0.0, -9.0
STATES = tuple(
    SensorState(
        f"roof-{number}", f"node-{number}", "live" if number else "stale", () if number else ("stale",),
        NIGHT_NS, 0.001 * number, f"roof-{number} is behind", 41.7612345 + 0.003 * number, -72.67 - 0.002 * number,
    )
    for number in range(6)
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        """The body's JSON."""
        return json.loads(self.body)

    @property
    def code(self):
        """Of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        return self.json["code"]


class Folder:
    """Clips on the disk, without the snippets that they came in."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, sha256):
        path = self.folder / f"{sha256}.flac"
        return path if path.exists() else None

    def put(self, sha256, seconds=0.5):
        times = np.arange(int(48_000 * seconds)) / 48_000
        samples = (0.05 * np.sin(6_000.0 * times) * 32_767).astype(np.int16)
        (self.folder / f"{sha256}.flac").write_bytes(flac(samples))
        return (self.folder / f"{sha256}.flac").read_bytes()


def flac(samples):
    """16-bit samples at 48 kHz as FLAC."""
    content = io.BytesIO()
    soundfile.write(content, samples, 48_000, format="FLAC", subtype="PCM_16")
    return content.getvalue()


class City:
    """A centre as its API sees it; `ask` it from one event loop."""

    def __init__(self, store, folder, *, rules=None, engine=True, notes_tokens=False, **more):
        self.store = store
        self.folder = folder
        self.now_ns = after(NIGHT_NS, 3_600.0)
        self.reviews = Reviews(store, rules or ReviewRules(second_share=0.0))
        self.clips = Folder(folder)
        self.tokens = {}
        self.entries = []
        self.submitted = []
        self.engine = engine
        self.desk = Desk(mode="live")
        self._engine = ThreadPoolExecutor(1)
        for role in ROLES:
            self.enrol(role, role)
        self.seconds = 0.0
        self.people = People(folder / PEOPLE, lambda: self.seconds)
        self.services = Services(
            store=store, reviews=self.reviews, outbox=Outbox(store), clips=self.clips, named_clips=NamedClips(store), people=self.people,
            submit=self.submit, sensors=lambda: STATES, couriers=("room",), now_ns=lambda: self.now_ns,
            key=bytes(32), **more,
        )  # fmt: skip
        self.api = Api(self.services)
        if not notes_tokens:  # tests count entries of the ledger
            self.api.room.heed_people = lambda: None
        self.app = Starlette(routes=self.api.routes())
        self.app.router.redirect_slashes = False

    # people

    def enrol(self, name, *roles, expires_s=YEAR_S, revoked_ns=None):
        """Somebody with a token of their own; the token."""
        token = new_token()
        created = self.now_ns - SECOND
        person = Person(name, roles, digest_of(token), created, after(created, expires_s), revoked_ns)
        self.entries.append(person)
        self.tokens[name] = token
        self.write_people()
        return token

    def write_people(self):
        path = self.folder / PEOPLE
        path.write_bytes(encode_people(tuple(self.entries)))
        path.chmod(0o600)
        self.seconds = getattr(self, "seconds", 0.0) + 10.0

    def revoke(self, name):
        self.entries = [
            dataclasses.replace(each, revoked_ns=self.now_ns) if each.name == name else each for each in self.entries
        ]
        self.write_people()

    # the engine

    def submit(self, decision):
        self.submitted.append(decision.act.act_id)
        return self._engine.submit(self._apply, decision)

    def _apply(self, decision):
        if not self.engine:
            return True
        with self.store.reading() as connection:
            earlier = tuple(
                act
                for alert in decision.known
                for _, act in acts.of_alert(connection, alert.alert_id)
                if act.act_id != decision.act.act_id
            )
        self.store.keep(self.desk.act(decision.act, decision.known, earlier), [], self.now_ns)
        return True

    def tell(self, name, time_s=0.0, *, llr=PUBLISHED, rounds=1, clips=(), routes=()):
        """Keep an incident of its own, with clips of these digests; its name."""
        desk, said = Desk(mode="live"), []
        for number in range(rounds):
            said += desk.receive(fix_at(f"{name}-{number}", time_s + 0.4 * number, llr=llr, frame=HARTFORD))
        if not said or rounds > 1:
            said += desk.tick(after(NIGHT_NS, time_s + 30.0))
        audio = tuple(Audio(None, sha256, alert_instant(NIGHT_NS), 0.5) for sha256 in clips)
        said = [dataclasses.replace(alert, audio=audio) for alert in said]
        self.store.keep(said, routes, said[-1].published_ns)
        return said[-1].incident_id

    # asking

    async def ask(self, method, path, who="analyst", body=None, client=("127.0.0.1", 4000), **headers):
        """One request; ``who`` is a name, a token, or None."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if who is not None:
            sent["authorization"] = f"Bearer {self.tokens.get(who, who)}"
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if body is not None:
            sent.setdefault("content-type", "application/json")
            sent.setdefault("content-length", str(len(content)))
        return await asked(self.app, method, PREFIX + path, sent, content, client)

    async def get(self, path, who="analyst", **headers):
        return await self.ask("GET", path, who, **headers)

    async def act(self, incident_id, kind, who="analyst", body=None, version=None, **headers):
        """A POST about an incident; of the version it has, unless one is said."""
        if version is None:
            version = self.reviews.head(incident_id).version
        headers.setdefault("if_match", f'"{version}"')
        return await self.ask("POST", f"/incidents/{incident_id}/{kind}", who, body or {}, **headers)

    @contextlib.asynccontextmanager
    async def listen(self, who="analyst", path="/events", **headers):
        """A stream of events."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["authorization"] = f"Bearer {self.tokens.get(who, who)}"
        listener = Listener(self.app, PREFIX + path, sent)
        try:
            yield listener
        finally:
            await listener.leave()

    async def stop(self):
        await self.api.stop()
        self._engine.shutdown()


class Listener:
    """A reader of server-sent events, who may stop reading."""

    def __init__(self, app, path, headers):
        self.text = ""
        self.status = None
        self.ended = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._gone = asyncio.Event()
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(app(scope_of("GET", path, headers), self._receive, self._send))

    async def _receive(self):
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        await self.reading.wait()
        async with self._news:
            if message["type"] == "http.response.start":
                self.status = message["status"]
            else:
                self.text += message["body"].decode()
                self.ended = not message.get("more_body", False)
            self._news.notify_all()

    async def until(self, true, patience_s=60.0):
        """Wait until ``true(self)``."""
        async with asyncio.timeout(patience_s), self._news:
            await self._news.wait_for(lambda: true(self) or (self.ended and not true(self)))
        assert true(self), self.text[-2_000:]

    @property
    def events(self):
        """(id, kind, data) of each event so far."""
        return events_of(self.text)

    @property
    def last_id(self):
        """As a browser would keep it."""
        ids = [line[4:] for line in self.text.splitlines() if line.startswith("id: ")]
        return ids[-1] if ids else None

    async def leave(self):
        self._gone.set()
        self.reading.set()
        await asyncio.wait_for(self._task, 60.0)


def events_of(text):
    """What a reader makes of a stream (WHATWG HTML 9.2.6); those without data are none."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append((int(fields.get("id", 0)), fields.get("event", "message"), fields["data"]))
    return found


def scope_of(method, path, headers, client=("127.0.0.1", 4000)):
    parts = urlsplit(path)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode("utf-8", "replace"),
        "query_string": parts.query.encode("utf-8", "replace"),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("utf-8", "replace")) for name, value in headers.items()],
        "client": client,
        "server": ("127.0.0.1", 80),
    }


async def asked(app, method, path, headers, body=b"", client=("127.0.0.1", 4000)):
    """One request of an application, answered whole."""
    given = [{"type": "http.request", "body": body, "more_body": False}]
    start, pieces = {}, []

    async def receive():
        return given.pop() if given else {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            pieces.append(message.get("body", b""))

    async with asyncio.timeout(60.0):
        await app(scope_of(method, path, headers, client), receive, send)
    return Answer(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, b"".join(pieces))


def played(play, store, folder, patience_s=200.0, **more):
    """Run ``play(city)`` in an event loop of its own."""
    threads = threading.active_count()

    async def all_of_it():
        city = City(store, folder, **more)
        try:
            return await asyncio.wait_for(play(city), patience_s)
        finally:
            await city.stop()

    result = asyncio.run(all_of_it())
    assert threading.active_count() <= threads + 8
    return result
