"""Carriers: threads that carry deliveries for a pump, each one at a time."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.delivery import Delivery, Receipt

Carried: TypeAlias = "tuple[Delivery, Receipt, int]"
"""A delivery, what came of it, and when, wall clock UTC."""


class Carriers:
    """So many deliveries under way at once; whoever gives and takes is one thread.

    Parameters
    ----------
    carry : callable
        Carries one to its end; never raises.
    number : int
        How many, 1 or more; one carrier is whoever gives.
    came_back : callable
        Called, from any thread, when there is something to take.

    Raises
    ------
    ValueError
        Without a carrier.
    """

    def __init__(self, carry: Callable[[Delivery], Carried], number: int, came_back: Callable[[], None]) -> None:
        if number < 1:
            raise ValueError(f"{number} deliveries at once: 1 or more")
        self.number = number
        self._carry = carry
        self._came_back = came_back
        self._threads: ThreadPoolExecutor | None = None
        self._changed = threading.Condition()  # guards the two below
        self._under_way: set[str] = set()
        self._finished: deque[Carried] = deque()

    @property
    def alerts(self) -> frozenset[str]:
        """Of what is under way, or came back and was not taken yet."""
        with self._changed:
            return frozenset(self._under_way)

    @property
    def free(self) -> int:
        """How many more may be given."""
        return self.number - len(self._under_way)

    def give(self, delivery: Delivery) -> None:
        """Have it carried; there must be a free carrier, and no other delivery of this alert under way."""
        with self._changed:
            self._under_way.add(delivery.alert_id)
        if self.number == 1:
            self._finished.append(self._carry(delivery))
            self._came_back()
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.number, thread_name_prefix="carrier")
        self._threads.submit(self._one, delivery)

    def take(self) -> list[Carried]:
        """What came back since the last time."""
        with self._changed:
            finished = list(self._finished)
            self._finished.clear()
            self._under_way.difference_update(delivery.alert_id for delivery, _, _ in finished)
        return finished

    def await_one(self, timeout_s: float | None = None) -> bool:
        """Wait until there is something to take, or nothing is under way, or the time is over; whether there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or not self._under_way, timeout_s)
            return bool(self._finished)

    def rest(self) -> None:
        """Let the threads go once they have ended what they are at."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    def _one(self, delivery: Delivery) -> None:
        carried = self._carry(delivery)
        with self._changed:
            self._finished.append(carried)
            self._changed.notify_all()
        self._came_back()
