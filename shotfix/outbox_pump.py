"""The pump: takes what is due out of the outbox, has it carried, and writes down what came of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from acoustic.instant import after, seconds_between
from alerts.delivery import Receipt
from alerts.record.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.delivery import Courier, Delivery
    from alerts.record.outbox import Outbox

LONGEST_SLEEP_S: Final = 0.5
"""How long something new may lie in the outbox before the pump looks."""
REFUSED_S: Final = 1.0
"""How long it waits when the record refuses to be read or written."""

_log = logging.getLogger(__name__)


class Pump:
    """One courier's loop; each courier has its own thread, so that a slow receiver holds up only itself.

    It may be killed at any moment: what was sent but not yet written down as sent is sent again under the same name.
    While the record refuses (a full disk), nothing more is carried: what came of the last attempt is first
    written down.

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
        self.name = courier.name
        self.store_refused = 0
        """Rounds that the record refused."""
        self.trouble = ""
        """Why nothing is carried just now; empty when all is well."""
        self._now_ns = now_ns
        self._sleep = sleep
        self._unwritten: tuple[Delivery, Receipt, int] | None = None

    def step(self) -> int:
        """Carry everything that is due now; how many attempts were made.

        Raises
        ------
        StoreError
            When the record refuses. What was carried but not written down is remembered, and written down first by the
            next step: it is not carried again meanwhile.
        """
        attempts = 0
        self._write_down()
        while due := self._outbox.due(self._courier.name, self._now_ns()):
            for delivery in due:
                self._unwritten = delivery, self._carry(delivery), self._now_ns()
                self._write_down()
                attempts += 1
        return attempts

    def run(self, stopped: Callable[[], bool]) -> None:
        """Carry what comes, until ``stopped()``; a record that refuses is tried again, for ever."""
        while not stopped():
            wait_s = self._round_s()
            if not stopped():
                self._sleep(wait_s)

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

    def _round_s(self) -> float:
        """Carry what is due; how long to wait before the next round."""
        try:
            self.step()
            wait_s = self._until_due_s(after(self._now_ns(), LONGEST_SLEEP_S))
        except StoreError as error:
            self.store_refused += 1
            if not self.trouble:
                _log.error("%s carries nothing until the record can be used again: %s", self.name, error)
            self.trouble = f"the record refuses the deliveries of {self.name}"
            return REFUSED_S
        if self.trouble:
            _log.warning("%s carries again", self.name)
        self.trouble = ""
        return wait_s

    def _write_down(self) -> None:
        if self._unwritten is not None:
            self._outbox.settle(*self._unwritten)
            self._unwritten = None

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
