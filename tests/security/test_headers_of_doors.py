"""Headers of a whole centre, started for real: whatever is asked, of whichever door, with TLS and without."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sensors.http_transport import BATCH_PATH
from sensors.identity import NodeKey
from shotfix.config import ListenConfig, SiteConfig, SiteIdentity
from shotfix.http_headers import Dressed
from shotfix.http_server import HttpServer
from tests.security.authority import Authority
from tests.security.test_files import NETWORK

DOORS = (
    ("GET", "/livez", {200, 503}),
    ("GET", "/readyz", {200, 503}),
    ("GET", "/metrics", {200}),
    ("POST", BATCH_PATH, {401}),
    ("GET", BATCH_PATH, {405}),
    ("GET", "/nowhere", {404}),
    ("GET", "/api/v1/me", {401}),
    ("GET", "/api/v1/nowhere", {404}),
    ("DELETE", "/api/v1/me", {405}),
)
LINE_ENDS = (
    "/api/v1/incidents/i%0a",
    "/api/v1/incidents/i%0a/blind",
    "/api/v1/%0a",
    "/api/v1/x%0a%0ay",
    "/api/v1/i%0d%0ax",
)


def looked_at(headers, *, tls):
    assert headers.get_list("x-content-type-options") == ["nosniff"]
    (policy,) = headers.get_list("content-security-policy")
    said = {part.strip() for part in policy.split(";")}
    assert said >= {"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"}
    assert headers.get_list("strict-transport-security") == (
        ["max-age=63072000; includeSubDomains"] if tls else []
    )  # RFC 6797, 7.2: never over plain http
    assert "server" not in headers


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_every_answer_of_every_door_has_them(tmp_path, tls, monkeypatch):
    from shotfix.centre import Centre  # noqa: PLC0415  (its import is not free)

    monkeypatch.setattr(Centre, "_hearing_pool", lambda *_: None)
    (tmp_path / "network.toml").write_text(NETWORK.format(up_m=9, revision=1, key=NodeKey.create().public_text))
    listen = ListenConfig(port=0)
    if tls:
        pair = Authority(tmp_path).signed("centre.test")
        pair.key.chmod(0o600)
        listen = ListenConfig(port=0, tls_cert_file=pair.certificate, tls_key_file=pair.key)
    config = SiteConfig(SiteIdentity("Harbour", tmp_path / "data"), tmp_path / "network.toml", listen=listen)

    async def play():
        centre = Centre(config)
        running = asyncio.create_task(centre.run())
        try:
            async with asyncio.timeout(60.0):
                while not (tmp_path / "data" / "address").exists():
                    assert not running.done()
                    await asyncio.sleep(0.01)
            base = f"http{'s' * tls}://127.0.0.1:{centre._server.port}"
            async with httpx.AsyncClient(base_url=base, verify=False, timeout=60.0) as asking:  # noqa: S501  (who answers is not the question)
                for method, path, expected in DOORS:
                    answer = await asking.request(method, path, content=b"x" if method == "POST" else None)
                    assert answer.status_code in expected, (method, path)
                    looked_at(answer.headers, tls=tls)
                for path in LINE_ENDS:
                    answer = await asking.get(path)
                    assert answer.status_code in {401, 404}, path
                    assert answer.headers["content-type"] == "application/problem+json", path
                    assert answer.headers["cache-control"] == "no-store", path
                    looked_at(answer.headers, tls=tls)
        finally:
            centre.stop()
            await running

    asyncio.run(play())


def test_what_an_answer_says_itself_is_not_said_twice():
    async def own(_request):
        return PlainTextResponse("x", headers={"Content-Security-Policy": "default-src 'self'"})

    async def play():
        server = HttpServer(Dressed(Starlette(routes=[Route("/", own)]), tls=False), "127.0.0.1", 0)
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60.0) as asking:
                return (await asking.get("/")).headers
        finally:
            await server.stop()

    headers = asyncio.run(play())
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert headers.get_list("x-content-type-options") == ["nosniff"]
