"""A delivery: one revision of an alert on its way to one receiver; what came of each attempt; when to try again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from acoustic.instant import SECOND, check_instant
from alerts.alert import Kind, message_id
from alerts.policy import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alerts.alert import Alert

MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0

SCHEDULE_S: Final = (
    0.0, 1.0, 2.0, 5.0, 10.0, 30.0,
    1 * MINUTE_S, 5 * MINUTE_S, 30 * MINUTE_S,
    2 * HOUR_S, 5 * HOUR_S, 10 * HOUR_S, 14 * HOUR_S, 20 * HOUR_S, 24 * HOUR_S,
)  # fmt: skip
"""Before attempt 1, 2, ...: seconds since the one before. The long tail is that of Standard Webhooks 1.0.0; its start
is quicker, since a dispatcher cannot wait five minutes for a third try."""

JITTER: Final = 0.2
"""Each wait is longer by up to this part of itself, so that a receiver which comes back is not met by all at once."""

LONGEST_WAIT_S: Final = 24 * HOUR_S
"""A receiver's Retry-After is honoured up to here."""

GONE_S: Final = 5 * MINUTE_S
"""The least wait after a receiver said that its address is retired (410): it is never given up in silence, for it may
be a wrong word of somebody in between, but it is not hurried either."""

LATE_AFTER_NS: Final = 300 * SECOND
"""What reaches its receiver later than this after it was queued is marked as late: no longer a call to hurry."""
LATE_HEADER: Final = "shotfix-late"
"""The header that marks it: the body stays the same at every attempt."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One revision of an alert for one courier.

    Parameters
    ----------
    alert_id, revision
        Which revision.
    courier : str
        By whom.
    kind : str
        What it means to its receiver: new, revised or cancelled.
    published_at : str
        RFC 3339, as the alert has it.
    document : bytes
        The alert, exactly as it was stored.
    queued_ns : int
        Wall clock, UTC, when it was queued.
    attempts : int
        How often it was tried so far.
    hurried : bool
        It is a revision, and a cancellation (or a first word, after a review) waits for it to go first.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range.
    """

    alert_id: str
    revision: int
    courier: str
    kind: Kind
    published_at: str
    document: bytes
    queued_ns: int
    attempts: int = 0
    hurried: bool = False

    def __post_init__(self) -> None:
        check_instant(self.queued_ns, "queued_ns")
        if not self.alert_id or not self.courier or self.revision < 1 or self.attempts < 0 or not self.document:
            raise ValueError(
                f"a delivery needs an alert, a courier and a document: {self.alert_id!r}, {self.courier!r}"
            )

    @property
    def message_id(self) -> str:
        """The same on every attempt: by it a receiver knows what it has already."""
        return message_id(self.alert_id, self.revision)

    @property
    def urgent(self) -> bool:
        """Whether no limit may hold it up: an alert's first word, its cancellation, and what stands before one."""
        return self.kind != "revised" or self.hurried

    def late(self, now_ns: int) -> bool:
        """Whether it is no longer fresh."""
        return now_ns - self.queued_ns > LATE_AFTER_NS


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one attempt.

    Parameters
    ----------
    delivered : bool
        The receiver confirmed that it has it.
    detail : str
        In words, for the log; never holds a secret.
    status_code : int or None
        What an HTTP receiver answered; None when nobody answered.
    retry_after_s : float or None
        How long the receiver asked to be left alone.
    unanswered : bool
        Nobody was there: not a word against this message, and worth another try as soon as somebody is.
    gone : bool
        The receiver says that nobody will ever be there again: a matter for a person, not for patience.
    """

    delivered: bool
    detail: str
    status_code: int | None = None
    retry_after_s: float | None = None
    unanswered: bool = False
    gone: bool = False


class Courier(Protocol):
    """Carries deliveries to one outside system.

    The promise: `deliver` may be called again with the same delivery, after a failure, a crash, or a success whose
    receipt was lost. It must then say the same thing under the same ``message_id``, so that a receiver that remembers
    names has everything at least once and acts on it once. A failure is a receipt, not an exception. Several threads
    may deliver at once, never two of one alert. `tests/couriers_conformance.py` holds every courier to it.
    """

    @property
    def name(self) -> str:
        """As the outbox knows it: stable over restarts."""
        ...

    def deliver(self, delivery: Delivery, now_ns: int) -> Receipt:
        """Try once. ``now_ns`` is the wall clock, UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Which alerts a courier gets: by outcome."""

    courier: str
    outcomes: tuple[Outcome, ...] = ("published",)


def couriers_for(alert: Alert, routes: Iterable[Route]) -> tuple[str, ...]:
    """The couriers that carry this alert, in the order of ``routes``, each once."""
    return tuple(dict.fromkeys(route.courier for route in routes if alert.outcome in route.outcomes))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up; it stays until somebody revives it.

    Parameters
    ----------
    alert_id, revision, courier, kind
        What, and by whom.
    attempts : int
        How often it was tried.
    queued_ns, died_ns : int
        Wall clock, UTC: when it was queued, and when given up.
    status_code : int or None
        What the receiver last answered.
    detail : str
        What came of the last attempt, in words.
    """

    alert_id: str
    revision: int
    courier: str
    kind: Kind
    attempts: int
    queued_ns: int
    died_ns: int
    status_code: int | None
    detail: str

    @property
    def message_id(self) -> str:
        """As of its `Delivery`."""
        return message_id(self.alert_id, self.revision)


def wait_s(attempts: int, name: str, retry_after_s: float | None = None) -> float | None:
    """How long to wait after so many failed attempts, s; None when they are enough.

    Pure: the jitter is drawn from the name and the attempt, so that a replay waits as long as the first time.

    Parameters
    ----------
    attempts : int
        Made so far, 0 or more.
    name : str
        What is delivered, and by whom.
    retry_after_s : float or None
        What the receiver asked for; a longer wait than ours is granted, up to `LONGEST_WAIT_S`.
    """
    if attempts >= len(SCHEDULE_S):
        return None
    draw = int.from_bytes(hashlib.sha256(f"{name}\n{attempts}".encode()).digest()[:8]) / 2.0**64
    return max(SCHEDULE_S[attempts] * (1.0 + JITTER * draw), min(max(retry_after_s or 0.0, 0.0), LONGEST_WAIT_S))
