"""What the pool that hears for the centre answers: to a chunk that is handed over, and when it was heard."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensors.message import Content
    from sensors.snippet import Snippet


class Submitted(StrEnum):
    """What became of a chunk: see `HearingPool.submit`."""

    TAKEN = "taken"
    FULL = "full"
    RESUME = "resume"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a chunk, in the order of the sensor's stream.

    Parameters
    ----------
    node_id, boot_id : str
        Whose it was.
    released : int or None
        The node may forget every chunk of this boot up to this sequence number; None: nothing yet.
    contents : tuple of Detection, Heartbeat, Snippet and Farewell
        What was said and was not said before. Snippets are sound, and what their clips say: they were made here.
    faults : tuple of str
        What was wrong with the chunk, a line each.
    """

    node_id: str
    boot_id: str
    released: int | None
    contents: tuple[Content, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A node's snippet was decoded; ``fault`` says in a line why it is not what it says, and is None where it is."""

    node_id: str
    snippet: Snippet
    fault: str | None


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker died: the nodes of these sensors must send again every chunk that is not released."""

    sensor_ids: tuple[str, ...]
    node_ids: tuple[str, ...]


Result = Heard | Checked | Lost
