"""Messages: what a node says, alone or in batches, and what the centre answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from acoustic.detection import Detection
from acoustic.instant import check_instant
from sensors.chunk import AudioChunk
from sensors.health import Farewell, Heartbeat
from sensors.snippet import Snippet

MOST_MESSAGES: Final = 4_096
"""In one batch."""
MOST_RELEASED: Final = 256
"""Boots in one acknowledgement."""

Content: TypeAlias = Detection | Heartbeat | Farewell | Snippet | AudioChunk


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message of a node.

    Parameters
    ----------
    node_id : str
        The node that speaks, 1 to 100 printable characters.
    boot_id : str
        Chosen anew when the node starts, 8 to 64 hexadecimal digits: the sequence begins again with it.
    sequence : int
        From 0, one more with each message of this boot: the centre sees what is missing or repeated.
    content : Detection, Heartbeat, Farewell, Snippet or AudioChunk
        What one of its sensors said.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    node_id: str
    boot_id: str
    sequence: int
    content: Content

    def __post_init__(self) -> None:
        _check_name(self.node_id, "node_id")
        _check_name(self.content.sensor_id, "sensor_id")
        check_boot_id(self.boot_id)
        if not 0 <= self.sequence < 2**63:
            raise ValueError(f"sequence is {self.sequence}: expected 0 to 2^63 - 1")


@dataclass(frozen=True, slots=True)
class Batch:
    """What a node sends at a time: messages of one node, in the order in which they are to be taken.

    Parameters
    ----------
    node_id : str
        Whose messages they are; its key seals the batch.
    sent_ns : int
        The node's clock as it was sent. Of a message of version 1, which does not say, the instant that it speaks of.
    stamped : bool
        Whether ``sent_ns`` is that clock: False for a message of version 1, from which nothing follows for a clock. It
        does not travel; written anew, such a batch is one of today's.
    envelopes : tuple of Envelope
        At most `MOST_MESSAGES`, of this boot and of earlier ones. None at all only asks for an acknowledgement: a
        node whose audio the centre still holds has no other way to hear that it may forget it.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range, or a message is another node's.
    """

    node_id: str
    sent_ns: int
    envelopes: tuple[Envelope, ...]
    stamped: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        _check_name(self.node_id, "node_id")
        check_instant(self.sent_ns, "sent_ns")
        if len(self.envelopes) > MOST_MESSAGES:
            raise ValueError(f"{len(self.envelopes)} messages: a batch has at most {MOST_MESSAGES}")
        if any(envelope.node_id != self.node_id for envelope in self.envelopes):
            raise ValueError(f"a batch of {self.node_id!r} holds a message of another node")


@dataclass(frozen=True, slots=True)
class Ack:
    """The centre's answer to a batch: what the node may forget.

    Everything in the batch that is not ``held`` is safe on the centre's disk, or refused for good.

    Parameters
    ----------
    centre_boot : str
        Names this run of the centre, 1 to 100 printable characters.
    received_ns : int
        The centre's clock as the batch came.
    held : tuple of int
        Places in the batch, ascending, of audio chunks that the node must keep: the centre has them in memory alone.
    released : mapping of str to int
        Boot to sequence number: every chunk of that boot up to this number may be forgotten. At most `MOST_RELEASED`.
    resume : bool
        Send again every chunk that is not released: the centre lost what it had in memory.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range.
    """

    centre_boot: str
    received_ns: int
    held: tuple[int, ...] = ()
    released: Mapping[str, int] = field(default_factory=dict)
    resume: bool = False

    def __post_init__(self) -> None:
        if self.centre_boot:  # empty: nobody answered, the node forgets by itself
            _check_name(self.centre_boot, "centre_boot")
        check_instant(self.received_ns, "received_ns")
        if list(self.held) != sorted(set(self.held)) or any(not 0 <= place < MOST_MESSAGES for place in self.held):
            raise ValueError(f"held places are not ascending from 0 to {MOST_MESSAGES - 1}")
        if len(self.released) > MOST_RELEASED:
            raise ValueError(f"{len(self.released)} boots are released: at most {MOST_RELEASED} in one answer")
        for boot_id, sequence in self.released.items():
            check_boot_id(boot_id)
            if not 0 <= sequence < 2**63:
                raise ValueError(f"released sequence is {sequence}: expected 0 to 2^63 - 1")


def check_boot_id(boot_id: str) -> None:
    """Raise ValueError unless it is 8 to 64 lower-case hexadecimal digits."""
    if not 8 <= len(boot_id) <= 64 or not set(boot_id) <= set("0123456789abcdef"):
        raise ValueError(f"boot_id is {boot_id!r}: expected 8 to 64 lower-case hexadecimal digits")


def _check_name(text: str, name: str) -> None:
    if not 0 < len(text) <= 100 or not text.isprintable():
        raise ValueError(f"{name} is {text!r}: expected 1 to 100 printable characters")
