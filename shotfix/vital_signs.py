"""Vital signs of a centre: is it alive, is it ready, and its metrics."""

from __future__ import annotations

import hmac
import ipaddress
import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from shotfix.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request

    from shotfix.engine import Engine
    from shotfix.metrics import Metrics

_FORWARDED: Final = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
"""Headers that a proxy adds: whoever asks through one is not on this machine."""

_log = logging.getLogger(__name__)


class VitalSigns:
    """``/livez``: the engine moves; ``/readyz``: it takes messages and its disk does; ``/metrics``.

    The first two tell nothing of places or people, so that whoever can reach the port may ask. Metrics name every
    sensor and its state: they are for this machine alone, or for who has the token.

    Parameters
    ----------
    engine : Engine
        Whose signs they are.
    metrics : Metrics
        The page.
    troubles : callable
        What is wrong beside the engine, in words.
    token_file : Path or None
        Holds the token that whoever reads metrics must show, as ``Authorization: Bearer ...``; read at each request.
        None: no token, but only this machine may ask, and not through a proxy.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    """

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        troubles: Callable[[], list[str]],
        token_file: Path | None,
        now_ns: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._troubles = troubles
        self._token_file = token_file
        self._now_ns = now_ns

    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [
            Route("/livez", self._live, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._page, methods=["GET"]),
        ]

    async def _live(self, _request: Request) -> Response:
        alive = self._engine.alive(self._now_ns())
        return JSONResponse({"alive": alive}, 200 if alive else 503)

    async def _ready(self, _request: Request) -> Response:
        wrong = [*self._engine.not_ready(self._now_ns()), *self._troubles()]
        return JSONResponse({"ready": not wrong, "because": wrong}, 503 if wrong else 200)

    def _page(self, request: Request) -> Response:  # in a thread: it asks the record
        if self._token_file is None:
            if not _is_here(request):
                return PlainTextResponse("for this machine alone; or set listen.metrics_token_file\n", 403)
        elif not self._shows_token(request, self._token_file):
            return PlainTextResponse("show the token\n", 401, {"WWW-Authenticate": "Bearer"})
        return Response(self._metrics.page(), media_type=CONTENT_TYPE)

    @staticmethod
    def _shows_token(request: Request, token_file: Path) -> bool:
        try:
            token = token_file.read_bytes().strip()
        except OSError as error:
            _log.error("metrics are refused to everybody: %s: %s", token_file, error.strerror)
            return False
        kind, _, shown = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(shown.strip().encode("latin-1"), token)
        return bool(token) and kind.lower() == "bearer" and right


def _is_here(request: Request) -> bool:
    """Whether somebody on this machine asks, and for nobody else."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.client.host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
