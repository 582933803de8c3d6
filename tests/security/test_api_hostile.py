"""The API in hostile hands: what people write stays what they wrote, and is never an order to us or to who reads it."""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys

import pytest
import sqlalchemy as sa

from alerts.record import tables
from alerts.record.store import Store
from shotfix import logs
from shotfix.api import door
from shotfix.api.application import OPERATIONS
from tests.api_city import played

NOTES = (
    "'; drop table alert; --", "x' or '1'='1", "\\'; delete from act; --", "%s %(name)s {0} {}", "${jndi:ldap://x/y}",
    "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "{{7*7}}", "../../etc/passwd", '"}\n{"event":"forged"}',
    "line one\nline two", "\u202egnp.exe", "\u200b\ufeff", "\U0001f52b", "a" * 2_000, "whsec_" + "A" * 32, "null", "-- ", ";",
)  # fmt: skip
BROWSERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


@pytest.fixture
def said(monkeypatch):
    """What a service writes to its log."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", stream)
    logs.begin("debug", "centre")
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def told(stream):
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert stream.getvalue().isascii()
    return found


def test_a_note_is_kept_as_it_was_written_and_does_nothing_else(record_store, tmp_path, said):
    """On both databases: statements, templates, markup and mail are text here, or are refused as such."""

    async def play(city):
        name = city.tell("a")
        kept = []
        for note in NOTES:
            answer = await city.act(name, "note", body={"text": note})
            assert answer.status in {200, 400}, note
            if answer.status == 200:
                kept.append(note)
        assert len(kept) >= 12
        page = (await city.get(f"/incidents/{name}")).json
        written = json.dumps(page, ensure_ascii=False)
        for note in kept:
            assert json.dumps(note, ensure_ascii=False)[1:-1] in written, note
        with city.store.reading() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(tables.alert)).scalar_one() == 1

    played(play, record_store, tmp_path)
    for line in told(said):
        assert "drop table" not in line["event"]


PATHS = ("x' or '1'='1", "..", "%2e%2e%2fetc%2fpasswd", "..%5c..%5cx", "a;b", "a%00b", "a%0d%0aset-cookie:x", "*", "%",
         "\u202e", "a" * 5_000, "-1", "NaN", "__class__", "constructor", "a%20union%20select")  # fmt: skip


def test_a_name_in_a_path_is_a_name_or_there_is_no_such_thing(store, tmp_path, said):
    async def play(city):
        city.tell("a")
        for operation in OPERATIONS:
            if "{" not in operation.path or operation.name == "events":
                continue
            for text in PATHS:
                path = operation.path
                while "{" in path:
                    path = path[: path.index("{")] + text + path[path.index("}") + 1 :]
                body = {} if operation.method == "POST" else None
                answer = await city.ask(operation.method, path, "supervisor", body)
                if answer.status == 403:
                    answer = await city.ask(operation.method, path, "auditor", body)
                assert 400 <= answer.status < 500, (operation.right, text, answer.status)
                assert "set-cookie" not in answer.headers
                assert not any(c in value for value in answer.headers.values() for c in "\r\n")

    played(play, store, tmp_path)
    assert [line for line in told(said) if line["level"] == "error"] == []


def test_a_query_holds_what_is_expected_once_and_nothing_else(store, tmp_path):
    async def play(city):
        city.tell("a")
        for query in (
            "limit=1&limit=1000000", "limit=1;limit=2", "limit=-1", "limit=1e3", "limit=0x10", "limit=99999999999999999999",
            "limit[]=1", "limit=1%00", "role=supervisor", "who=ada", "access_token=x", "callback=x", "_method=DELETE",
            "__proto__[x]=1", "outcome=published'--", "outcome=%27%20or%201=1--", "bbox=1,2,3", "bbox=NaN,0,1,1",
        ):  # fmt: skip
            answer = await city.get(f"/alerts?{query}")
            assert answer.code == "bad-request", query
            assert answer.headers["content-type"] == "application/problem+json"

    played(play, store, tmp_path)


def test_nobody_writes_what_their_body_was_not_asked_for(store, tmp_path):
    """A name, a role, a time or a version of one's own choice: refused, not passed over."""

    async def play(city):
        name = city.tell("a")
        before = store.changes
        for more in ({"by": "supervisor"}, {"who": "bob"}, {"at_ns": 1}, {"role": "auditor"}, {"act_id": "h1"}, {"sequence": 1},
                     {"__class__": "x"}, {"status": "cancelled"}, {"machine_outcome": "published"}):  # fmt: skip
            answer = await city.act(name, "judge", body={"judgement": "gunfire"} | more)
            assert answer.code == "bad-request", more
        assert store.changes == before
        twice = b'{"judgement":"gunfire","judgement":"fireworks"}'
        answer = await city.act(name, "judge", body=twice)
        assert answer.status in {200, 400}
        if answer.status == 200:
            assert answer.json["incident"]["verdict"] == "fireworks"
        page = (await city.get(f"/incidents/{name}")).body.decode()
        assert '"by":"bob"' not in page
        for header in ("x-forwarded-user", "x-user-id", "x-remote-user", "x-original-url", "x-http-method-override"):
            answer = await city.ask("GET", "/me", "analyst", **{header.replace("-", "_"): "supervisor"})
            assert answer.json["name"] == "analyst"

    played(play, store, tmp_path)


IDENTITIES = (
    "x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-groups", "x-forwarded-access-token",
    "x-auth-request-user", "x-auth-request-email", "x-auth-request-access-token", "remote-user", "x-remote-user", "x-user",
    "x-webauth-user", "x-authenticated-userid", "x-ms-client-principal-name", "cf-access-jwt-assertion", "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-identity", "ssl-client-verify", "x-ssl-client-verify", "x-ssl-client-s-dn", "x-client-cert",
    "x-forwarded-client-cert", "proxy-authorization", "cookie",
)  # fmt: skip
"""In which proxies say whom they let in: a token is asked for all the same, and it alone says who speaks."""


def test_no_header_of_a_proxy_says_who_somebody_is(store, tmp_path):
    async def play(city):
        for said in ("supervisor", "SUCCESS", f"Bearer {city.tokens['supervisor']}", city.tokens["supervisor"]):
            sent = {name.replace("-", "_"): said for name in IDENTITIES}
            assert (await city.ask("GET", "/me", None, **sent)).status == 401
            assert (await city.ask("GET", "/me", "analyst", **sent)).json["name"] == "analyst"
            assert (await city.ask("GET", "/ledger", "analyst", **sent)).status == 403
        await city.api.room.access.flush()
        page = (await city.get("/access", "auditor")).json["accesses"]
        assert {entry["who"] for entry in page} <= {"analyst", "auditor"}

    played(play, store, tmp_path)


def test_the_address_in_the_access_log_is_the_sockets_whatever_headers_say(store, tmp_path):
    async def play(city):
        city.tell("a")
        await city.ask(
            "GET",
            "/alerts",
            client=("192.0.2.7", 1),
            x_forwarded_for="10.9.8.7",
            forwarded="for=10.9.8.7",
            x_real_ip="10.9.8.7",
        )
        await city.api.room.access.flush()
        page = (await city.get("/access", "auditor")).body.decode()
        assert "192.0.2.7" in page
        assert "10.9.8.7" not in page

    played(play, store, tmp_path)


def test_every_answer_tells_browsers_to_keep_and_guess_nothing(store, tmp_path):
    async def play(city):
        city.tell("a")
        asked = [("GET", "/alerts", "analyst"), ("GET", "/alerts", None), ("GET", "/nowhere", "analyst"), ("PUT", "/alerts", "analyst"),
                 ("GET", "/access", "analyst"), ("GET", "/openapi.json", "analyst"), ("POST", "/incidents/x/note", "analyst")]  # fmt: skip
        for method, path, who in asked:
            answer = await city.ask(method, path, who, origin="https://evil.example")
            for name, value in BROWSERS.items():
                assert answer.headers[name] == value, (path, name)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "base-uri 'none'" in policy
            assert answer.headers["content-type"] in {"application/json", "application/problem+json"}
            for name in ("set-cookie", "access-control-allow-origin", "location", "server", "x-powered-by", "alt-svc"):
                assert name not in answer.headers
            json.loads(answer.body)

    played(play, store, tmp_path)


def test_nothing_is_done_by_a_request_that_any_page_could_send(store, tmp_path):
    """What a form or an image of another site can send has neither our header nor our type of body."""

    async def play(city):
        name = city.tell("a")
        before = store.changes
        path = f"/incidents/{name}/note"
        assert (
            await city.ask("POST", path, None, b"text=x", content_type="application/x-www-form-urlencoded")
        ).status == 401
        assert (await city.ask("POST", path, None, b"x", cookie=f"token={city.tokens['analyst']}")).status == 401
        for kind in (
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded",
            "application/json5",
        ):
            assert (await city.ask("POST", path, "analyst", b'{"text":"x"}', content_type=kind)).code == "media-type"
        assert (await city.get(f"{path}?text=x")).status == 405
        assert store.changes == before

    played(play, store, tmp_path)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity"])
def test_a_body_that_was_packed_is_not_unpacked(store, tmp_path, coding):
    """A thousand bytes that would become a million: nobody unpacks them, so they are no JSON."""
    bomb = gzip.compress(b'{"text":"' + b"x" * 1_000_000 + b'"}')
    assert len(bomb) < 5_000

    async def play(city):
        name = city.tell("a")
        answer = await city.ask("POST", f"/incidents/{name}/note", "analyst", bomb, content_encoding=coding)
        assert answer.code in {"bad-request", "media-type"}

    played(play, store, tmp_path)


def test_a_fault_of_ours_shows_its_reference_and_nothing_of_its_insides(store, tmp_path, said, monkeypatch):
    async def play(city):
        name = city.tell("a")

        def broken(*_, **__):
            raise RuntimeError("password T0KEN in /srv/secret/path select * from act")

        monkeypatch.setattr(city.reviews, "head", broken)
        monkeypatch.setattr(door, "read_query", broken)
        answer = await city.ask("GET", f"/incidents/{name}")
        assert (answer.status, answer.code) == (500, "fault")
        for word in ("T0KEN", "secret", "RuntimeError", "Traceback", "select", ".py"):
            assert word not in answer.body.decode()
        return answer.json["reference"]

    reference = played(play, store, tmp_path)
    (line,) = [line for line in told(said) if reference in line["event"]]
    assert "RuntimeError" in line["exception"]


def test_who_was_refused_is_on_record(store, tmp_path, said):
    """A wrong token is told in the log; who has one and may not is in the access log, with the status."""

    async def play(city):
        city.tell("a")
        forged = "shotfix_" + "T0KEN" * 8
        assert (await city.ask("GET", "/alerts", forged)).status == 401
        assert (await city.ask("GET", "/access", "analyst")).status == 403
        assert (await city.ask("GET", "/alerts", "analyst")).status == 200
        await city.api.room.access.flush()
        seen = {
            (entry["who"], entry["what"], entry["status"])
            for entry in (await city.get("/access", "auditor")).json["accesses"]
        }
        assert ("analyst", "GET /access", 403) in seen
        assert ("analyst", "GET /alerts", 200) in seen

    played(play, store, tmp_path)
    refused = [line for line in told(said) if "token" in line["event"]]
    assert any("unknown" in line["event"] and "127.0.0.1" in line["event"] for line in refused)
    assert "T0KEN" not in said.getvalue()


def test_a_hostile_address_or_header_cannot_write_into_the_log(store, tmp_path, said):
    async def play(city):
        for evil in ('x"}\n{"event":"forged', "\x1b[31m", "\u202e", "a" * 100_000):
            await city.ask("GET", "/alerts", "shotfix_" + evil, client=(evil, 1))
            await city.ask("GET", "/alerts", "analyst", if_match=evil, user_agent=evil, idempotency_key=evil)

    played(play, store, tmp_path)
    assert not [line for line in told(said) if line.get("event") == "forged"]
    assert all(len(line) < 48 * 1024 for line in said.getvalue().splitlines())
