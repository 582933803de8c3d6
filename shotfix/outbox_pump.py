"""The pump: takes what is due out of the outbox, has it carried, and writes down what came of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from acoustic.instant import after, seconds_between
from alerts.delivery import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.delivery import Courier, Delivery
    from alerts.record.outbox import Outbox

LONGEST_SLEEP_S: Final = 0.5
"""How long something new may lie in the outbox before the pump looks."""

_log = logging.getLogger(__name__)


class Pump:
    """One courier's loop; each courier has its own thread, so that a slow receiver holds up only itself.

    It may be killed at any moment: what was sent but not yet written down as sent is sent again under the same name.

    Parameters
    ----------
    outbox : Outbox
        Where the work is.
    courier : Courier
        Who carries it.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    sleep : callable
        Waits so many seconds; an event's ``wait`` lets a stop cut it short.
    """

    def __init__(
        self, outbox: Outbox, courier: Courier, now_ns: Callable[[], int], sleep: Callable[[float], object]
    ) -> None:
        self._outbox = outbox
        self._courier = courier
        self._now_ns = now_ns
        self._sleep = sleep

    def step(self) -> int:
        """Carry everything that is due now; how many attempts were made."""
        attempts = 0
        while due := self._outbox.due(self._courier.name, self._now_ns()):
            for delivery in due:
                receipt = self._carry(delivery)
                self._outbox.settle(delivery, receipt, self._now_ns())
                attempts += 1
        return attempts

    def run(self, stopped: Callable[[], bool]) -> None:
        """Carry what comes, until ``stopped()``."""
        while not stopped():
            self.step()
            if not stopped():
                self._sleep(self._until_due_s(after(self._now_ns(), LONGEST_SLEEP_S)))

    def drain(self, within_s: float) -> int:
        """Carry until nothing is pending or the time is over; how many are still pending then.

        For the end of a run, when nothing new comes: it sleeps until the next attempt is due, however long that is.

        Parameters
        ----------
        within_s : float
            Seconds of the wall clock.
        """
        deadline_ns = after(self._now_ns(), within_s)
        while True:
            self.step()
            pending = self._outbox.counts(self._courier.name)["pending"]
            if not pending or self._now_ns() >= deadline_ns:
                return pending
            self._sleep(self._until_due_s(deadline_ns))

    def _carry(self, delivery: Delivery) -> Receipt:
        try:
            receipt = self._courier.deliver(delivery, self._now_ns())
        except Exception as error:  # noqa: BLE001  (a courier that breaks its promise must not stop the alerts)
            # Only the kind of the error is told: its message may hold a secret.
            receipt = Receipt(delivered=False, detail=f"the courier failed: {type(error).__name__}")
        if not receipt.delivered:
            _log.warning("%s did not reach %s: %s", delivery.message_id, self._courier.name, receipt.detail)
        return receipt

    def _until_due_s(self, latest_ns: int) -> float:
        due_ns = self._outbox.next_attempt_ns(self._courier.name)
        soonest_ns = latest_ns if due_ns is None else min(due_ns, latest_ns)
        return max(seconds_between(self._now_ns(), soonest_ns), 0.001)
