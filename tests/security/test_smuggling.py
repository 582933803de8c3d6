"""Requests within requests: what two readers of HTTP could understand differently, our server refuses to understand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest

from shotfix.http_guard import ServerLimits
from shotfix.http_server import HttpServer

PATIENCE_S = 30.0
POST = "POST /a HTTP/1.1\r\nhost: c\r\n"
INNER = "GET /smuggled HTTP/1.1\r\nhost: c\r\n\r\n"
LENGTH = len(INNER)

REFUSED = {
    "both, length first": f"{POST}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{INNER}",
    "both, length last": f"{POST}transfer-encoding: chunked\r\ncontent-length: {LENGTH}\r\n\r\n0\r\n\r\n{INNER}",
    "two lengths": f"{POST}content-length: 0\r\ncontent-length: {LENGTH}\r\n\r\n{INNER}",
    "the same length twice": f"{POST}content-length: 0\r\ncontent-length: 0\r\n\r\n{INNER}",
    "a list of lengths": f"{POST}content-length: 0, {LENGTH}\r\n\r\n{INNER}",
    "a length with a sign": f"{POST}content-length: +{LENGTH}\r\n\r\n{INNER}",
    "a length below zero": f"{POST}content-length: -1\r\n\r\n{INNER}",
    "a length in hexadecimal": f"{POST}content-length: {LENGTH:#x}\r\n\r\n{INNER}",
    "a length beyond 64 bits": f"{POST}content-length: 18446744073709551616\r\n\r\n{INNER}",
    "a length with a space in it": f"{POST}content-length: 3 7\r\n\r\n{INNER}",
    "a space before the colon": f"{POST}content-length : {LENGTH}\r\n\r\n{INNER}",
    "the same of chunks": f"{POST}transfer-encoding : chunked\r\n\r\n0\r\n\r\n{INNER}",
    "something like chunked": f"{POST}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{INNER}",
    "chunked, but not last": f"{POST}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{INNER}",
    "chunked, then not": f"{POST}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{INNER}",
    "a vertical tab": f"{POST}transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n{INNER}",
    "a folded header": f"{POST}transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n{INNER}",
    "another folded header": f"{POST}x: y\r\n z\r\ncontent-length: 0\r\n\r\n{INNER}",
    "line feeds alone": f"POST /a HTTP/1.1\nhost: c\ncontent-length: 0\n\n{INNER}",
    "a carriage return alone": f"{POST}x: y\rcontent-length: {LENGTH}\r\n\r\n{INNER}",
    "a line feed in a header": f"{POST}x: y\ncontent-length: {LENGTH}\r\n\r\n{INNER}",
    "a zero byte": f"{POST}x: y\x00z\r\ncontent-length: 0\r\n\r\n{INNER}",
    "a space in a name": f"{POST}x y: z\r\ncontent-length: 0\r\n\r\n{INNER}",
    "no name": f"{POST}: z\r\ncontent-length: 0\r\n\r\n{INNER}",
    "a chunk beyond 64 bits": f"{POST}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{INNER}",
    "a chunk below zero": f"{POST}transfer-encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n{INNER}",
    "a chunk with line feeds": f"{POST}transfer-encoding: chunked\r\n\r\n1\nx\n0\n\n{INNER}",
    "a line feed after a semicolon": f"{POST}transfer-encoding: chunked\r\n\r\n1;x\ny\r\nx\r\n0\r\n\r\n{INNER}",
    "a chunk that ends wrongly": f"{POST}transfer-encoding: chunked\r\n\r\n1\r\nxXX0\r\n\r\n{INNER}",
    "the beginning of HTTP/2": f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00{INNER}",
    "a tunnel": f"CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: c\r\n\r\n{INNER}",
    "control characters in a path": f"GET /\x01\x1b[31m HTTP/1.1\r\nhost: c\r\n\r\n{INNER}",
    "a space in a path": f"GET /a b HTTP/1.1\r\nhost: c\r\n\r\n{INNER}",
    "a method in small letters": f"get /a HTTP/1.1\r\nhost: c\r\n\r\n{INNER}",
    "a header in the trailer": f"{POST}transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: {LENGTH}\r\n\r\n{INNER}",
}


class Listener:
    """An application that remembers what reached it."""

    def __init__(self):
        self.paths, self.scopes = [], []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.paths.append((scope["method"], scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def serving():
    """One server for all of these, in a loop of its own: its port, and what reached its application."""
    listener, ready, loop = Listener(), threading.Event(), asyncio.new_event_loop()
    found = {}

    async def serve():
        server = found["server"] = HttpServer(listener, "127.0.0.1", 0, limits=ServerLimits(header_s=10.0))
        await server.start()
        ready.set()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop)
    assert ready.wait(PATIENCE_S)
    yield found["server"].port, listener
    asyncio.run_coroutine_threadsafe(found["server"].stop(), loop).result(PATIENCE_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def port(serving):
    port, listener = serving
    listener.__init__()
    return port


@pytest.fixture
def listener(serving):
    return serving[1]


def said(port, data):
    """What the server says until it hangs up."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as stranger, contextlib.suppress(ConnectionError):
        stranger.sendall(data.encode("latin-1"))
        while piece := stranger.recv(65_536):
            answer += piece
    return answer


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_ended(case, port, listener):
    answer = said(port, REFUSED[case])
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert listener.paths == []


def test_two_plain_requests_one_behind_the_other_are_two(port, listener):
    closing = INNER.replace("host: c\r\n", "host: c\r\nconnection: close\r\n")
    answer = said(port, f"{POST}content-length: 3\r\n\r\nabc{closing}")
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert listener.paths == [("POST", "/a", b"abc"), ("GET", "/smuggled", b"")]


def test_a_body_is_as_long_as_it_says_and_what_looks_like_a_request_in_it_is_none(port, listener):
    more = "connection: close\r\n"
    said(port, f"{POST}{more}content-length: {LENGTH}\r\n\r\n{INNER}")
    said(port, f"{POST}{more}transfer-encoding: chunked\r\n\r\n{LENGTH:x}\r\n{INNER}\r\n0\r\n\r\n")
    assert listener.paths == [("POST", "/a", INNER.encode())] * 2


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0", "HTTP/2.0"])
@pytest.mark.filterwarnings("ignore")
def test_no_upgrade_is_granted(protocol, port, listener):
    more = f"connection: upgrade, http2-settings, close\r\nupgrade: {protocol}\r\nhttp2-settings: AAMAAABkAAQ\r\n"
    answer = said(port, f"GET /a HTTP/1.1\r\nhost: c\r\n{more}\r\n")
    assert b" 101 " not in answer
    assert b"upgrade" not in answer.lower().split(b"\r\n\r\n")[0]
    assert [path for _, path, _ in listener.paths] in ([], ["/a"])


def test_what_stands_behind_an_upgrade_that_was_not_granted_is_no_request(port, listener):
    said(port, f"GET /a HTTP/1.1\r\nhost: c\r\nconnection: upgrade, close\r\nupgrade: h2c\r\n\r\n{INNER}")
    assert ("GET", "/smuggled", b"") not in listener.paths


@pytest.mark.parametrize("case", ["one long value", "one long name", "many headers", "a long path", "headers for ever"])
def test_headers_beyond_their_bounds_reach_nobody(case, port, listener):
    data = {
        "one long value": f"{POST}x: {'y' * 100_000}\r\n\r\n",
        "one long name": f"{POST}{'x' * 100_000}: y\r\n\r\n",
        "many headers": POST + "".join(f"x{n}: y\r\n" for n in range(20_000)) + "\r\n",
        "a long path": f"GET /{'a' * 100_000} HTTP/1.1\r\nhost: c\r\n\r\n",
        "headers for ever": POST + "x: y\r\n" * 50_000,
    }[case]

    answer = said(port, data)
    assert b" 200 " not in answer
    assert listener.scopes == []


def test_what_a_proxy_would_say_is_believed_of_nobody(port, listener):
    """Neither the address nor the scheme of a request changes by what it claims of itself."""
    more = "x-forwarded-for: 10.1.2.3\r\nx-forwarded-proto: https\r\nforwarded: for=10.1.2.3;proto=https\r\n"
    said(port, f"GET / HTTP/1.1\r\nhost: c\r\nconnection: close\r\nx-real-ip: 10.1.2.3\r\n{more}\r\n")
    (scope,) = listener.scopes
    assert scope["client"][0] == "127.0.0.1"
    assert scope["scheme"] == "http"


def test_the_server_does_not_say_what_it_is(port, listener):
    answer = said(port, "GET /a HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\r\n").lower()
    for word in (b"server:", b"uvicorn", b"python", b"x-powered-by"):
        assert word not in answer
