"""Vital signs of a centre: is it alive, is it ready, and its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shotfix.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from shotfix.engine import Engine
    from shotfix.metrics import Metrics


class VitalSigns:
    """``/livez``: the engine moves; ``/readyz``: it takes messages and its disk does; ``/metrics``.

    They tell nothing of places or people, so that whoever can reach the port may ask.
    """

    def __init__(self, engine: Engine, metrics: Metrics, now_ns: Callable[[], int]) -> None:
        self._engine = engine
        self._metrics = metrics
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
        wrong = self._engine.not_ready(self._now_ns())
        return JSONResponse({"ready": not wrong, "because": wrong}, 503 if wrong else 200)

    def _page(self, _request: Request) -> Response:  # in a thread: it asks the record
        return Response(self._metrics.page(), media_type=CONTENT_TYPE)
