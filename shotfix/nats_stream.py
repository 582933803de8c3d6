"""The city's stream in JetStream: made when it is absent, checked when it is there, and one consumer for each cell."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sensors.nats_link import check_city, token_of
from sensors.transport import LARGEST_SEALED_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nats.js import JetStreamContext
    from nats.js.api import StreamConfig

EVERYWHERE: Final = "everywhere"
"""The name, in a consumer's, of a worker's territory that has no bounds."""
_BETWEEN: Final = "~"  # in no token: worker w1 must not be taken for the beginning of worker w1-a
_PAGE: Final = 256  # consumers that a server lists at a time
_NO_ROOM: Final = 10047  # JetStream's error code: insufficient storage resources available

_log = logging.getLogger(__name__)


class StreamError(Exception):
    """A stream that is not as it must be; the message says what to do, in one line."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How the stream keeps what nodes publish.

    It is a window and no store: what is oldest goes when it is full, since a node's spool still has whatever no centre
    answered for. Its length bounds how long a worker may be away and still hear what its neighbours' nodes said.

    Parameters
    ----------
    max_age_s : float
        The window in time.
    max_bytes : int
        And on the disk of each server.
    replicas : int
        On how many servers of a cluster: 1, 3 or 5.
    duplicate_window_s : float
        For how long a batch that the network doubled is recognised by its hash.
    ack_wait_s : float
        A worker that says nothing for this long about a message gets it again.
    max_ack_pending : int
        So many messages at most are with a worker at one moment, for each cell.
    look_back_s : float
        A worker that is new to a cell hears what was said there so long before: enough for a shot that is under way,
        not so much that it tells old shots again, which the cell's owner before it has told.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    max_age_s: float = 3_600.0
    max_bytes: int = 1 << 30
    replicas: int = 1
    duplicate_window_s: float = 120.0
    ack_wait_s: float = 30.0
    max_ack_pending: int = 256
    look_back_s: float = 120.0

    def __post_init__(self) -> None:
        if not 60.0 <= self.max_age_s <= 30 * 86_400.0:
            raise ValueError(f"max_age_s is {self.max_age_s}: expected 60 s to 30 days")
        if self.max_bytes < 64 * LARGEST_SEALED_BYTES:
            raise ValueError(f"max_bytes is {self.max_bytes}: expected at least {64 * LARGEST_SEALED_BYTES}")
        if self.replicas not in {1, 3, 5}:
            raise ValueError(f"replicas is {self.replicas}: expected 1, 3 or 5")
        if not 1.0 <= self.duplicate_window_s <= self.max_age_s:
            raise ValueError(f"duplicate_window_s is {self.duplicate_window_s}: expected 1 s to max_age_s")
        if not 1.0 <= self.ack_wait_s <= 600.0 or not 1 <= self.max_ack_pending <= 10_000:
            raise ValueError("ack_wait_s is 1 to 600 s, max_ack_pending 1 to 10,000")
        if not 0.0 <= self.look_back_s <= self.max_age_s:
            raise ValueError(f"look_back_s is {self.look_back_s}: expected 0 to max_age_s")


def stream_name(city: str) -> str:
    """What the city's stream is called."""
    return f"shotfix-{check_city(city)}"


def durable_name(worker: str, cell: str | None) -> str:
    """What a worker's consumer of one cell is called; of all cells where it is None."""
    return f"{token_of(worker)}{_BETWEEN}{token_of(cell or EVERYWHERE)}"


async def ensure_stream(stream: JetStreamContext, city: str, settings: StreamSettings) -> None:
    """Make the stream, or bring one that is there up to these settings.

    Raises
    ------
    StreamError
        When one of that name keeps its messages in another way, which cannot be changed.
    nats.errors.Error
        When the server does not do it.
    """
    from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
    from nats.js.errors import NotFoundError

    name = stream_name(city)
    wanted: dict[str, Any] = {
        "subjects": [f"shotfix.{city}.*.*"],
        "retention": RetentionPolicy.LIMITS,
        "storage": StorageType.FILE,
        "discard": DiscardPolicy.OLD,
        "max_age": settings.max_age_s,
        "max_bytes": settings.max_bytes,
        "max_msg_size": LARGEST_SEALED_BYTES + 1_000,  # with its headers
        "num_replicas": settings.replicas,
        "duplicate_window": settings.duplicate_window_s,
    }
    try:
        found = (await stream.stream_info(name)).config
    except NotFoundError:
        await _make(stream, StreamConfig(name=name, **wanted))
        return
    for fixed in ("retention", "storage"):
        if getattr(found, fixed) != wanted[fixed]:
            raise StreamError(
                f"the stream {name} has {fixed} {getattr(found, fixed)}, expected {wanted[fixed].value}: "
                f"remove it (nats stream rm {name}); what is in it, the nodes still have"
            )
    if any(getattr(found, key) != value for key, value in wanted.items()):
        await stream.update_stream(found.evolve(**wanted))
        _log.info("the stream %s was brought up to its settings", name)


async def _make(stream: JetStreamContext, config: StreamConfig) -> None:
    from nats.js.errors import APIError

    try:
        await stream.add_stream(config)
    except APIError as error:
        if error.err_code != _NO_ROOM:
            raise
        words = f"NATS has no room for a stream of {config.max_bytes} bytes"
        raise OSError(f"{words}: raise its jetstream max_file, or lower the stream's max_bytes") from None
    _log.info("the stream %s was made", config.name)


async def ensure_consumer(
    stream: JetStreamContext, city: str, worker: str, cell: str | None, settings: StreamSettings
) -> str:
    """Make a worker's durable consumer of one cell, or of all; its name.

    What a worker that was killed had in its hands would come again only when its time is over (``ack_wait_s``). So a
    consumer with such messages is made anew from the first of them: they come at once, and those already taken are
    recognised by their sequence numbers. Call it therefore only when no other process uses this worker's name.

    Raises
    ------
    nats.errors.Error
        When the server does not do it.
    """
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
    from nats.js.errors import NotFoundError

    name, durable = stream_name(city), durable_name(worker, cell)
    wanted = ConsumerConfig(
        durable_name=durable,
        deliver_policy=DeliverPolicy.BY_START_TIME,
        opt_start_time=datetime.now(UTC) - timedelta(seconds=settings.look_back_s),
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=settings.ack_wait_s,
        max_ack_pending=settings.max_ack_pending,
        max_waiting=16,
        filter_subject=f"shotfix.{city}.{'*' if cell is None else token_of(cell)}.*",
    )
    try:
        found = await stream.consumer_info(name, durable)
    except NotFoundError:
        found = None
    if found is not None and found.num_ack_pending and found.ack_floor is not None:
        wanted = wanted.evolve(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=found.ack_floor.stream_seq + 1,
            opt_start_time=None,
        )
        await stream.delete_consumer(name, durable)
        found = None
    if found is None:
        await stream.add_consumer(name, wanted)
    return durable


async def drop_other_consumers(stream: JetStreamContext, city: str, worker: str, cells: Iterable[str | None]) -> int:
    """Remove a worker's consumers of cells that it no longer listens to; how many.

    Raises
    ------
    nats.errors.Error
        When the server does not do it.
    """
    name, kept = stream_name(city), {durable_name(worker, cell) for cell in cells}
    mine, offset = f"{token_of(worker)}{_BETWEEN}", 0
    found: list[str] = []
    while page := await stream.consumers_info(name, offset):
        found += [info.name for info in page]
        offset += _PAGE
        if len(page) < _PAGE:
            break
    gone = [durable for durable in found if durable.startswith(mine) and durable not in kept]
    for durable in gone:
        await stream.delete_consumer(name, durable)
    return len(gone)
