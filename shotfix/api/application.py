"""The API as one part of the centre's HTTP server: every operation under /api/v1."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route

from shotfix.api import act_routes, alert_routes, audio, events, figure_routes, openapi, record_routes, sensor_routes
from shotfix.api.door import Endpoint, dressed, on_http
from shotfix.api.permissions import PERMISSIONS
from shotfix.api.room import Room

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from shotfix.api.call import Operation
    from shotfix.api.services import Services

PREFIX: Final = "/api/v1"

OPERATIONS: Final[tuple[Operation, ...]] = (
    *openapi.OPERATIONS,
    *record_routes.OPERATIONS,
    *alert_routes.OPERATIONS,
    *act_routes.OPERATIONS,
    *audio.OPERATIONS,
    *sensor_routes.OPERATIONS,
    *events.OPERATIONS,
    *figure_routes.OPERATIONS,
)
"""All that the API does."""


class Api:
    """The API of one centre.

    Parameters
    ----------
    services : Services
        What it stands on.
    """

    def __init__(self, services: Services) -> None:
        self.room = Room(services, openapi_text)

    def routes(self) -> list[BaseRoute]:
        """For the centre's Starlette application."""
        inside: list[BaseRoute] = [self._route(operation) for operation in OPERATIONS]
        part = Starlette(routes=inside, exception_handlers={HTTPException: self._on_http})
        part.router.redirect_slashes = False  # where to would come from a header that anybody can write
        mount = Mount(PREFIX, app=part)
        # A line end in a path is the API's to refuse as well: its own pattern ends there, and others would answer.
        mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
        return [mount]

    @property
    def troubles(self) -> list[str]:
        """What is wrong, in words."""
        return self.room.troubles

    def counts(self) -> dict[str, dict[str, int]]:
        """For the metrics page: by name, by kind."""
        return self.room.counts()

    async def stop(self) -> None:
        """End every stream and write down what waits; before the server stops, which waits for streams."""
        await self.room.stop()

    def _route(self, operation: Operation) -> Route:
        if operation.right not in PERMISSIONS:
            raise LookupError(f"{operation.right}: nothing is served that no line permits")
        endpoint = Endpoint(self.room, operation)

        async def answer(request: Request) -> Response:
            return await endpoint(request)

        route = Route(operation.path, answer, methods=[operation.method], name=operation.name)
        if operation.streams and route.methods is not None:
            route.methods.discard("HEAD")  # a head of what never ends
        return route

    async def _on_http(self, request: Request, error: Exception) -> Response:
        return dressed(await on_http(request, error), self.room)


@functools.cache
def openapi_text() -> bytes:
    """The content of docs/schemas/openapi.json, which every centre serves."""
    return openapi.text(OPERATIONS)


def api_routes(services: Services) -> list[BaseRoute]:
    """The routes of an API that nobody needs to stop, as in tests; a centre makes an `Api`."""
    return Api(services).routes()
