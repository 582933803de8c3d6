"""The node's end of HTTP: what is no answer, and which addresses it does not even try."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sensors.http_transport import HttpTransport
from sensors.transport import LARGEST_ANSWER_BYTES, TransportError


async def answering(answer):
    """A server that says the same to everybody."""

    async def serve(reader, writer):
        await reader.read(65_536)
        writer.write(answer)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/x\r\ncontent-length: 0\r\n\r\n", 307, "answered 307"),
        (b"HTTP/1.1 503 No\r\nretry-after: 7\r\ncontent-length: 9\r\n\r\nbusy\x1b[2J\n", 503, "answered 503: busy [2J"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + bytes(200_000), None, "no centre of ours"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", None, "no answer from"),
        (b"SSH-2.0-OpenSSH\r\n", None, "no answer from"),
        (b"", None, "no answer from"),
    ],
)
def test_what_is_no_answer_is_an_error_in_one_printable_line(answer, status, words):
    async def play():
        server = await answering(answer)
        transport = HttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(TransportError) as caught:
            await transport.exchange(b"sealed")
        await transport.close()
        server.close()
        await server.wait_closed()
        return caught.value

    error = asyncio.run(play())
    assert error.status == status
    assert words in str(error)
    assert str(error).isprintable()
    assert error.retry_after_s == (7.0 if status == 503 else 0.0)
    assert LARGEST_ANSWER_BYTES < 200_000


def test_an_endless_answer_ends_in_time():
    async def play():
        ended = asyncio.Event()

        async def drip(reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
            with contextlib.suppress(OSError):
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.close()
            ended.set()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        transport = HttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=0.3)
        with pytest.raises(TransportError, match=r"within 0\.3 s"):
            await transport.exchange(b"sealed")
        await transport.close()
        await ended.wait()
        server.close()
        await server.wait_closed()

    asyncio.run(play())


@pytest.mark.parametrize(
    "url",
    [
        "", "centre", "ftp://centre", "https://", "https://user:hunter2@centre", "https://centre/?key=1", "https://[::1",
        "https://centre:0", "https://centre:99999", "https://centre/#x", "http://centre", "http://10.0.0.1",
        "http://localhost.example.org", "http://127.0.0.1.example.org",
    ],
)  # fmt: skip
def test_addresses_that_are_none_or_can_be_read_on_the_way_are_refused(url):
    with pytest.raises(ValueError, match=r"centre's address|use https") as caught:
        HttpTransport(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://[::1]:80", "http://localhost", "https://centre/city/"]
)
def test_addresses_that_are_fine(url):
    assert repr(HttpTransport(url)).endswith("/ingest/v1/batch')")
    HttpTransport("http://10.0.0.1", allow_plain_http=True)


def test_files_that_hold_no_certificate_are_named(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "absent.pem"):
        with pytest.raises(OSError, match=name):
            HttpTransport("https://centre", ca_file=tmp_path / name)
