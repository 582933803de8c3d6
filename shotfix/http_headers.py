"""Headers of every answer of the centre, whichever door it comes from: what a browser must not guess, frame or run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
)
OVER_TLS: Final = ((b"strict-transport-security", b"max-age=63072000; includeSubDomains"),)
"""Two years (RFC 6797): who spoke to it by https once is not led to plain http by anybody."""


class Dressed:
    """An application whose answers have these headers, where they do not say otherwise themselves.

    Parameters
    ----------
    application : ASGI application
        Whose answers they are.
    tls : bool
        Whether it is reached by https alone.
    """

    def __init__(self, application: ASGIApp, *, tls: bool) -> None:
        self._application = application
        self._headers = ALWAYS + (OVER_TLS if tls else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in self._headers if pair[0] not in there)]
            await send(message)

        await self._application(scope, receive, dressed)
