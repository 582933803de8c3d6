"""The uplink over NATS JetStream: a batch is published into the city's stream, and the centre itself answers."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

from sensors.nats_link import ANSWER_HEADER, STATUS_HEADER, answer_subject, batch_subject, token_of
from sensors.transport import TOO_LARGE, TransportError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from sensors.nats_link import NatsLink

TIMEOUT_S: Final = 10.0
LONGEST_PATIENCE_S: Final = 120.0
LONGEST_WORDS: Final = 200
_TOO_LARGE_FOR_STREAM: Final = 10054  # JetStream's error code: message size exceeds maximum allowed
_LOST: Final = 0  # no status: the connection went before the answer came

_Answer = tuple[int, bytes]


class NatsTransport:
    """Carries sealed batches to the worker that owns the node's cell.

    JetStream's own acknowledgement releases nothing: it may come before the disk (its default is to sync every two
    minutes), and it is not the centre's. A batch is done when the centre answers on this node's own subject. What is
    stored but not answered waits in the stream for the centre, so an exchange grows more patient each time that happens
    (to `LONGEST_PATIENCE_S`), lest the stream fill with copies; a lost connection ends it at once.

    Parameters
    ----------
    link : NatsLink
        The cluster, and who we are there. This user needs: to publish ``shotfix.<city>.<cell>.<node>``, to subscribe
        ``shotfix-answer.<city>.<node>.*`` and ``_INBOX.<node>.>``.
    city, cell, node_id : str
        Of this node.
    timeout_s : float
        For the stream to answer; and the first patience with the centre.

    Raises
    ------
    ValueError
        When the city cannot be part of a subject.
    """

    def __init__(self, link: NatsLink, city: str, cell: str, node_id: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._link = link
        self._subject = batch_subject(city, cell, node_id)
        self._city = city
        self._node_id = node_id
        self._timeout_s = timeout_s
        self._patience_s = timeout_s
        self._client: Client | None = None
        self._waiting: dict[str, asyncio.Future[_Answer]] = {}
        self._said = ""
        self._doubted = False  # a server that says nothing may be at the end of a dead line

    def __repr__(self) -> str:
        return f"NatsTransport({self._subject!r})"

    async def exchange(self, sealed: bytes) -> bytes:
        """The centre's acknowledgement; see `sensors.transport.Transport`."""
        from nats.errors import Error

        try:
            async with asyncio.timeout(self._timeout_s):
                client = await self._connected()
        except (Error, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise TransportError(f"no NATS server lets us in: {_plain(error)}") from None
        if len(sealed) > client.max_payload - 1_000:
            words = f"{len(sealed)} bytes: the NATS server takes at most {client.max_payload}; raise its max_payload"
            raise TransportError(words, TOO_LARGE)
        token = secrets.token_hex(16)
        answered = self._waiting[token] = asyncio.get_running_loop().create_future()
        try:
            return await self._ask(client, sealed, token, answered)
        finally:
            del self._waiting[token]

    async def close(self) -> None:
        """Close the connection; a later exchange opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            from sensors.nats_client import let_go

            await let_go(client)

    async def _ask(self, client: Client, sealed: bytes, token: str, answered: asyncio.Future[_Answer]) -> bytes:
        publishing = asyncio.create_task(self._publish(client, sealed, token))
        try:
            first: set[asyncio.Future[Any]] = {publishing, answered}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                publishing.result()
            async with asyncio.timeout(self._patience_s):
                status, body = await answered
        except TimeoutError:
            self._patience_s = min(2.0 * self._patience_s, max(LONGEST_PATIENCE_S, self._timeout_s))
            raise TransportError("the stream has it, but the centre does not answer") from None
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
        if status == _LOST:
            raise TransportError("the connection to NATS was lost")
        self._patience_s = self._timeout_s
        if status == 200:
            return body
        raise TransportError(f"the centre answered {status}: {_plain(body.decode('utf-8', 'replace'))}", status)

    async def _publish(self, client: Client, sealed: bytes, token: str) -> None:
        from nats.errors import Error
        from nats.js.errors import APIError, NoStreamResponseError

        headers = {
            # Each attempt has its own: under one name the stream would drop what is asked again because the answer was
            # lost, and the centre would never hear of it. What a network doubles in between, it still drops.
            "Nats-Msg-Id": token,
            ANSWER_HEADER: answer_subject(self._city, self._node_id, token),
        }
        self._said = ""
        try:
            await client.jetstream().publish(self._subject, sealed, timeout=self._timeout_s, headers=headers)
        except NoStreamResponseError:
            words = f"no stream takes {self._subject}: the centre makes it when it starts"
            raise TransportError(words) from None
        except APIError as error:
            status = TOO_LARGE if error.err_code == _TOO_LARGE_FOR_STREAM else None
            raise TransportError(f"the stream refused it: {_plain(error)}", status) from None
        except (Error, OSError) as error:
            self._doubted = True
            raise TransportError(f"NATS did not take it: {self._said or _plain(error)}") from None

    async def _connected(self) -> Client:
        if self._client is not None and self._client.is_connected and not self._doubted:
            return self._client
        await self.close()
        self._doubted = False
        name = token_of(self._node_id)
        self._client = client = await self._link.connect(name, f"_INBOX.{name}", self._heard_error, self._lost)
        await client.subscribe(answer_subject(self._city, self._node_id, "*"), cb=self._heard)
        return client

    async def _heard(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        status = (message.headers or {}).get(STATUS_HEADER, "")
        if waiting is not None and not waiting.done() and status.isascii() and status.isdigit() and len(status) == 3:
            waiting.set_result((int(status), message.data))

    async def _heard_error(self, error: Exception) -> None:
        self._said = _plain(error)

    async def _lost(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result((_LOST, b""))


def _plain(said: Any) -> str:
    """One printable line of what a stranger said."""
    text = str(said) or type(said).__name__
    return " ".join("".join(c if c.isprintable() else " " for c in text[:LONGEST_WORDS]).split())
