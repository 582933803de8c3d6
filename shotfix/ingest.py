"""Ingest: a sealed batch of a node becomes entries of the journal, and an answer that is true when it is given."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND
from sensors.chunk import AudioChunk
from sensors.identity import ForgedError, IdentityError
from sensors.message import Ack
from sensors.transport import MALFORMED, REFUSED, UNAVAILABLE
from sensors.wire import WireError, encode_ack, encode_batch
from shotfix.segment import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensors.identity import Keyring
    from sensors.message import Batch, Envelope
    from shotfix.engine import Engine
    from shotfix.streams import Streams

ACCEPTED: Final = 200
REASONS: Final = ("forged", "foreign", "malformed", "too-busy", "disk")
"""Why a batch is refused."""
SAID_ANEW_NS: Final = 10 * SECOND
"""How often the log tells of refused batches, for each reason: strangers must not be able to fill it."""
MOST_WAITING: Final = 20_000
"""Batches between their arrival and the disk: beyond, senders are told to come again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a transport tells a node.

    Parameters
    ----------
    status : int
        200 accepted (repeated, too); 400 malformed; 401 forged, foreign or revoked; 503 try later.
    ack : bytes or None
        The acknowledgement, where it was accepted.
    error : str or None
        Why not, in one line without secrets.
    """

    status: int
    ack: bytes | None = None
    error: str | None = None


class Ingest:
    """Takes sealed batches from every transport.

    Parameters
    ----------
    keyring : Keyring
        Whom to believe; replaced when the register is.
    engine : Engine
        Who writes and thinks.
    streams : Streams or None
        Who listens to nodes that send all of their sound; None: nobody does, and it is counted and let go.
    centre_boot : str
        Names this run.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    """

    def __init__(
        self, keyring: Keyring, engine: Engine, streams: Streams | None, centre_boot: str, now_ns: Callable[[], int]
    ) -> None:
        self.keyring = keyring
        self.counts: Counter[str] = Counter(dict.fromkeys(("accepted", "unheard-sound", *REASONS), 0))
        """Batches by what became of them."""
        self._engine = engine
        self._streams = streams
        self._boot = centre_boot
        self._now_ns = now_ns
        self._waiting = 0
        self._said: dict[str, tuple[int | None, int]] = {}  # by reason: when the log was told, and of how many in all

    async def take(self, sealed: bytes) -> Answer:
        """Take one batch; the answer comes when all of it that must not be lost is on the disk."""
        now_ns = self._now_ns()
        try:
            batch = self.keyring.open_batch(sealed)
        except IdentityError as error:
            return self._refused(REFUSED, "forged" if isinstance(error, ForgedError) else "foreign", error)
        except WireError as error:
            return self._refused(MALFORMED, "malformed", error)
        if self._waiting >= MOST_WAITING:
            return self._refused(UNAVAILABLE, "too-busy", "the centre is too busy; come again")
        if self._streams is not None and not self._streams.has_room(batch):
            return self._refused(UNAVAILABLE, "too-busy", "those who listen are behind; come again")
        self._waiting += 1
        try:
            held = await self._write(sealed, batch, now_ns)
        except JournalError:
            return self._refused(UNAVAILABLE, "disk", "the centre's disk refuses; come again")
        finally:
            self._waiting -= 1
        self.counts["accepted"] += 1
        released, resume = ({}, False) if self._streams is None else self._streams.told(batch)
        return Answer(ACCEPTED, encode_ack(Ack(self._boot, now_ns, held, released, resume)))

    async def _write(self, sealed: bytes, batch: Batch, now_ns: int) -> tuple[int, ...]:
        """Put on the disk what must not be lost, hand sound to who listens; the places of what the node must keep."""
        streamed = [place for place, e in enumerate(batch.envelopes) if self._is_streamed(e)]
        kept = tuple(e for place, e in enumerate(batch.envelopes) if place not in set(streamed))
        if kept:
            written = replace(batch, envelopes=kept) if streamed else batch
            body = encode_batch(written) if streamed else sealed
            await asyncio.wrap_future(self._engine.submit("batch", now_ns, body, written))
        if self._streams is None:
            self.counts["unheard-sound"] += len(streamed)
            return ()
        return tuple(place for place in streamed if self._streams.take(batch.node_id, batch.envelopes[place]))

    def _is_streamed(self, envelope: Envelope) -> bool:
        if self._streams is None:
            return isinstance(envelope.content, AudioChunk)
        return self._streams.is_ours(envelope)

    def _refused(self, status: int, reason: str, words: object) -> Answer:
        self.counts[reason] += 1
        if status != UNAVAILABLE:
            self._tell(reason, words)
        return Answer(status, error=" ".join(str(words).split()))

    def _tell(self, reason: str, words: object) -> None:
        """Tell the log of the first, and of the others together, now and then."""
        now_ns = self._now_ns()
        said_ns, told = self._said.get(reason, (None, 0))
        if said_ns is not None and abs(now_ns - said_ns) < SAID_ANEW_NS:
            return
        others = self.counts[reason] - told - 1
        self._said[reason] = now_ns, self.counts[reason]
        more = f", and {others} more since the last line" if others > 0 else ""
        _log.warning("a batch was refused (%s): %s%s", reason, words, more)
