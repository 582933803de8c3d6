"""The promise of a transport: it carries sealed batches to a centre and brings back what the centre says."""

from __future__ import annotations

from typing import Final, Protocol

from sensors.wire import LARGEST_ACK_BYTES, LARGEST_BATCH_BYTES

LARGEST_SEALED_BYTES: Final = LARGEST_BATCH_BYTES + 1_000
"""A batch with its seal; no transport carries more."""
LARGEST_ANSWER_BYTES: Final = LARGEST_ACK_BYTES
"""No answer of a centre is longer; one that is, is not read to its end."""

MALFORMED: Final = 400
REFUSED: Final = 401
TOO_LARGE: Final = 413
UNAVAILABLE: Final = 503


class TransportError(Exception):
    """A batch that was not accepted: nobody answered, or the centre said no.

    Parameters
    ----------
    words : str
        What happened, in one line, without secrets.
    status : int or None
        What the centre answered: 400 malformed, 401 forged, foreign or revoked, 413 too large, 503 try later; None
        when nobody answered.
    retry_after_s : float
        How long the centre asked to be left alone.
    """

    def __init__(self, words: str, status: int | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after_s = retry_after_s


class Transport(Protocol):
    """Carries sealed batches to a centre, one at a time.

    The promise: `exchange` returns what the centre answered, and only the centre: an intermediary's word that it has
    the batch is none. It ends in bounded time, with an answer or a `TransportError`. It may be cancelled, and called
    again, whatever happened before; it opens its own connections, and opens them again.
    """

    async def exchange(self, sealed: bytes) -> bytes:
        """The centre's acknowledgement of these bytes, encoded."""
        ...

    async def close(self) -> None:
        """Let go of every connection; a later exchange opens new ones."""
        ...
