"""The NATS client, made to keep two promises that it does not make itself."""

from __future__ import annotations

import asyncio
import contextlib

from nats.aio.client import Client
from nats.errors import Error

CLOSE_S = 1.0
"""A server has so long to say goodbye."""


class CarefulClient(Client):
    """A client that says who it is only over the kind of line that it was told to use.

    NATS decides on TLS by what the server's first line says, and that line is not encrypted: whoever sits in between
    could take the word for TLS out of it, and be told everything.

    Parameters
    ----------
    secure : bool
        Whether the line must be encrypted before anything is said.
    """

    def __init__(self, *, secure: bool) -> None:
        super().__init__()
        self._secure = secure

    def _connect_command(self) -> bytes:
        writer = getattr(self._transport, "_io_writer", None)
        if self._secure and (writer is None or writer.get_extra_info("ssl_object") is None):
            raise Error("the server offers no TLS, or somebody in between hides it: nothing was said")
        return super()._connect_command()


async def let_go(client: Client) -> None:
    """Close a connection in bounded time: on a line that is dead, or whose TLS failed, the client waits for ever."""
    with contextlib.suppress(OSError, Error, RuntimeError):
        async with asyncio.timeout(CLOSE_S):
            await client.close()
