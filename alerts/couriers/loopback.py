"""A control room to try deliveries on: a real receiver, in its own process, that trusts nobody.

``python -m alerts.couriers.loopback --port 8099 --secret-file secret --log received.jsonl``

It checks signatures with its own few lines, not with those that signed; so it would notice if signing went wrong.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from alerts.alert import decode
from alerts.delivery import LATE_HEADER
from alerts.words import lines, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST: Final = "127.0.0.1"
PATH: Final = "/webhook"
TOLERANCE_S: Final = 300
GREATEST_BODY: Final = 1_000_000
REMEMBERED: Final = 100_000  # names of messages; the oldest are let go
CONFIGURATION: Final = 78  # sysexits EX_CONFIG


def verified(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
    """Whether a message is signed with this secret, within `TOLERANCE_S` of now (Standard Webhooks 1.0.0).

    Parameters
    ----------
    secret : str
        ``whsec_`` and base64.
    headers : mapping
        With lower-case names.
    body : bytes
        Exactly as received.
    now_s : float
        Seconds UTC since 1970.
    """
    name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not name or not stamp.isascii() or not stamp.isdigit() or len(stamp) > 15:
        return False
    if abs(now_s - int(stamp)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256))
    given = (part.partition(",") for part in headers.get("webhook-signature", "").split(" "))
    matches = [
        hmac.compare_digest(signature.encode("utf-8", "replace"), expected)
        for version, _, signature in given
        if version == "v1"
    ]
    return any(matches)


class ControlRoom:
    """Remembers what it accepted, writes it down, and shows it.

    Parameters
    ----------
    secret : str
        ``whsec_`` and base64.
    log : Path
        Gets one line of JSON for each accepted message, on the disk before the sender hears of it. What stands there
        from before is remembered; a torn last line is cut off.
    """

    def __init__(self, secret: str, log: Path) -> None:
        self._secret = secret
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._log = log.open("a+b")
        try:
            self._recall()
        except BaseException:
            self._log.close()
            raise

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def accept(self, headers: Mapping[str, str], body: bytes, now_s: float) -> tuple[int, str]:
        """The status to answer, and a word."""
        if not verified(self._secret, headers, body, now_s):
            return 401, "the signature does not fit"
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return 400, "not UTF-8"
        name = headers["webhook-id"]
        if name in self._seen:
            return 200, "known"
        self._write({"headers": dict(headers), "body": text})
        self._remember(name)
        _show(text, late=LATE_HEADER in headers)
        return 200, "accepted"

    def _recall(self) -> None:
        self._log.seek(0)
        whole = 0
        for number, line in enumerate(self._log, start=1):
            if not line.endswith(b"\n"):  # killed while writing it: its sender never heard that it was accepted
                break
            try:
                self._remember(str(json.loads(line)["headers"]["webhook-id"]))
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"line {number} of the log was not written by this program") from None
            whole += len(line)
        self._log.truncate(whole)

    def _remember(self, name: str) -> None:
        self._seen[name] = None
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _write(self, entry: dict[str, Any]) -> None:
        self._log.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        self._log.flush()
        os.fsync(self._log.fileno())


def _show(text: str, *, late: bool) -> None:
    """Print what a dispatcher reads; with colour on a terminal only."""
    try:
        message = json.loads(text)
        said = lines(decode(json.dumps(message["data"])))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        said = (f"a signed message that is no alert of ours: {plain(str(error))}",)
    title = f"LATE - {said[0]}" if late else said[0]
    if sys.stdout.isatty():
        from rich.console import Console  # only a terminal wants colours
        from rich.text import Text

        Console().print(Text(title, style="bold red" if "GUNFIRE" in title else "bold"))
    else:
        print(title)
    print("\n".join(f"  {line}" for line in said[1:]), end="\n\n", flush=True)


def application(room: ControlRoom) -> Starlette:
    """The receiver as an ASGI application: ``POST /webhook``."""
    from starlette.applications import Starlette  # its import is not free
    from starlette.requests import ClientDisconnect
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def receive(request: Request) -> Response:
        body = b""
        try:
            async for piece in request.stream():
                body += piece
                if len(body) > GREATEST_BODY:
                    return PlainTextResponse("too large", 413)
        except ClientDisconnect:
            return PlainTextResponse("cut short", 400)  # nobody is there to read it
        status, word = room.accept(request.headers, body, time.time())
        return PlainTextResponse(word, status)

    return Starlette(routes=[Route(PATH, receive, methods=["POST"])])


def _end_with(parent: TextIO) -> None:
    """End this process once whoever started it has gone, however it went: then its end of the pipe closes."""
    parent.read()
    os.kill(os.getpid(), signal.SIGTERM)


def serve(room: ControlRoom, port: int) -> None:
    """Listen on the loopback address until SIGTERM or SIGINT; prints where as soon as it does."""
    import uvicorn  # its import is not free

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """End by returning: the library's own way ends the process with the signal once more."""
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.handle_exit)
            yield

    with socket.create_server((HOST, port)) as listener:
        where = f"http://{HOST}:{listener.getsockname()[1]}{PATH}"
        server = Server(uvicorn.Config(application(room), log_level="error", access_log=False, lifespan="off"))
        print(f"ready {where}", flush=True)
        server.run(sockets=[listener])


def _read_secret(path: Path) -> str:
    secret = path.read_text("ascii").strip()
    if not secret.startswith("whsec_") or not base64.b64decode(secret.removeprefix("whsec_"), validate=True):
        raise ValueError("expected whsec_ and a key in base64")
    return secret


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its first line on standard output is ``ready <url>``."""
    parser = argparse.ArgumentParser(
        prog="python -m alerts.couriers.loopback", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--secret-file", type=Path, required=True, help="holds whsec_...")
    parser.add_argument("--log", type=Path, required=True, help="one line of JSON for each accepted message")
    parser.add_argument("--until-stdin-ends", action="store_true", help="for a parent process that may be killed")
    given = parser.parse_args(arguments)
    try:
        room = ControlRoom(_read_secret(given.secret_file), given.log)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        print(f"loopback: {plain(str(reason))}; check --secret-file and --log", file=sys.stderr)
        return CONFIGURATION
    if given.until_stdin_ends:
        threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    try:
        serve(room, given.port)
    finally:
        room.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
