"""Parts of the engine: what it is handed, what it hands on, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from acoustic.air import Air
    from alerts.alert import Alert
    from alerts.calendar_event import ExpectedEvent
    from sensors.message import Batch
    from sensors.snippet import Snippet


class Keeper(Protocol):
    """Where alerts and sound are kept."""

    def keep(self, alerts: Sequence[Alert]) -> None:
        """Store alerts and queue what is to be delivered, in one transaction; StoreError when that cannot be."""
        ...

    def keep_missing(self, alerts: Sequence[Alert]) -> int:
        """Store those that are not stored yet in any wording; how many there were."""
        ...

    def keep_sound(self, snippet: Snippet) -> None:
        """Have a snippet stored, soon; never raises: a full disk costs sound, not alerts, and is counted."""
        ...

    def pass_over(self, act_id: str) -> None:
        """Put aside what a person decided and what makes no sense any more; never raises."""
        ...

    @property
    def settled(self) -> bool:
        """Whether everything that was handed over is stored."""
        ...


@dataclass(slots=True)
class Arrival:
    """An entry to be: what came from outside, or what the engine decided."""

    kind: str
    at_ns: int
    body: bytes
    done: Future[bool] | None = None
    since_ns: int | None = None
    """When the last message came that it follows from; None: itself."""
    batch: Batch | None = None
    """What its body says, where that is known."""
    air: Air | None = None
    """The same of a report of the weather."""
    events: tuple[ExpectedEvent, ...] | None = None
    """The same of a calendar."""


@dataclass(slots=True)
class Pulse:
    """What the engine did last, for health and metrics; read by other threads."""

    ready: bool = False
    looped_ns: int = 0
    disk_refuses: bool = False
    """The last group could not be written."""
    store_refuses: bool = False
    """The last alerts could not be committed; they wait."""
    disk_refused: int = 0
    """Groups that could not be written; their senders were told to come again."""
    store_refused: int = 0
    repeated: int = 0
    """Messages that had come before."""


def settle(arrival: Arrival, error: Exception | None = None) -> None:
    """Tell whoever waits for an entry, unless they have gone."""
    if arrival.done is None or not arrival.done.set_running_or_notify_cancel():
        return
    if error is None:
        arrival.done.set_result(True)
    else:
        arrival.done.set_exception(error)
