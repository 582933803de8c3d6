"""The pump: takes what is due out of the outbox, has it carried, and writes down what came of it."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from acoustic.instant import after, seconds_between
from alerts.breaker import Breaker
from alerts.delivery import Receipt
from alerts.record.store import StoreError
from shotfix.outbox_carriers import Carriers

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.bucket import Bucket
    from alerts.delivery import Courier, Delivery
    from alerts.record.outbox import Outbox, State
    from alerts.record.outbox_statements import Words
    from shotfix.outbox_carriers import Carried

LONGEST_SLEEP_S: Final = 0.5
"""How long something may lie in the outbox that another process put there; what this one commits is seen at once."""
REFUSED_S: Final = 1.0
"""How long it waits when the record refuses to be read or written."""
FINISH_S: Final = 10.0
"""How long what is under way is awaited at the end; what takes longer is carried again after the next start."""
WAITS_S: Final = 300.0
"""What waits longer than this is told: until then a receiver may be away."""
LOOK_S: Final = 10.0
"""How often it is looked how long something waits."""
PARALLEL: Final = 4
"""Deliveries under way at once, each of another alert."""

_log = logging.getLogger(__name__)


class Pump:
    """One courier's loop; each courier has its own, so that a slow receiver holds up only itself.

    It may be killed at any moment: what was sent but not yet written down as sent is sent again under the same name.
    While the record refuses (a full disk), nothing more is carried: what came of the last attempts is first
    written down. Several deliveries may be under way, never two of one alert; the last free carrier is kept for an
    alert's first word, so that answers which never come cannot take them all.

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
    parallel : int
        Deliveries under way at once; 1 carries in the thread of whoever calls.
    limit : Bucket or None
        Of revisions; None: no limit.
    breaker : Breaker or None
        Instead of one with the published numbers.
    """

    def __init__(
        self,
        outbox: Outbox,
        courier: Courier,
        now_ns: Callable[[], int],
        sleep: Callable[[float], object],
        *,
        parallel: int = PARALLEL,
        limit: Bucket | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._outbox = outbox
        self._courier = courier
        self.name = courier.name
        self.store_refused = 0
        """Rounds that the record refused."""
        self.counts: Counter[str] = Counter(dict.fromkeys(("sent", "failed", "gone", "dead"), 0))
        """Attempts by what came of them; ``gone`` and ``dead`` are among the failed."""
        self.breaker = Breaker() if breaker is None else breaker
        self._limit = limit
        self._now_ns = now_ns
        self._sleep = sleep
        self._carriers = Carriers(self._carry, parallel, outbox.wake)
        self._unwritten: list[Carried] = []
        self._refusal = ""
        self._alarm = ""
        self._waits = ""
        self._looked_ns: int | None = None
        self._away = False
        self._seen = 0  # commits that brought nothing that the last round did not see

    @property
    def trouble(self) -> str:
        """Why nothing is carried just now, that alerts were given up, or wait for long; empty when all is well."""
        if self._refusal or self._alarm:
            return self._refusal or self._alarm
        if self._outbox.altered[self.name]:
            return f"alerts for {self.name} were altered in the record and given up; restore it from a backup"
        return self._waits

    def step(self) -> int:
        """Carry everything that is due now, to its end; how many attempts were made.

        Raises
        ------
        StoreError
            When the record refuses. What was carried but not written down is remembered, and written down first by the
            next step: it is not carried again meanwhile.
        """
        attempts = 0
        while True:
            attempts += self._round()
            if not self._busy:
                return attempts
            if not self._unwritten:
                self._carriers.await_one()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Carry what comes, until ``stopped()``; a record that refuses is tried again, for ever.

        Every commit of this process wakes it, and so does the outbox's ``wake``, which lets it see at once that it is
        to stop. What is under way then is awaited for a while, and written down.
        """
        while not stopped():
            self._seen = self._outbox.changes
            refused = self._refused_round()
            if stopped():
                break
            if refused:
                self._sleep(REFUSED_S)
            else:
                self._await()
        self._finish()

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
                self._carriers.rest()
                return pending
            self._sleep(self._until_due_s(deadline_ns))

    # one round

    def _round(self) -> int:
        """Write down what came back, and begin what is due; how many were begun."""
        self._take()
        self._write_down()
        self._take()  # what came back meanwhile: its carriers need not wait for the next round, which writes it down
        return self._begin_due()

    @property
    def _busy(self) -> frozenset[str]:
        """Alerts that are under way, or of which it is not written down yet what came of it."""
        return self._carriers.alerts.union(delivery.alert_id for delivery, _, _ in self._unwritten)

    def _take(self) -> None:
        for carried in self._carriers.take():
            self._hear(carried)

    def _hear(self, carried: Carried) -> None:
        _, receipt, at_ns = carried
        self._unwritten.append(carried)
        self.breaker.ended(receipt, at_ns)
        if self.breaker.is_open and not self._away:
            _log.error("%s is not well, alerts wait for it, one at a time is tried: %s", self.name, receipt.detail)
        elif self._away and not self.breaker.is_open:
            _log.warning("%s is well again", self.name)
        self._away = self.breaker.is_open

    def _write_down(self) -> None:
        if not self._unwritten:
            return
        states = self._outbox.settle_many(self._unwritten)
        self._seen += 1  # our own commit: what became due by it is begun in this same round
        for (delivery, receipt, _), state in zip(self._unwritten, states, strict=True):
            self._tell(delivery, receipt, state)
        self._unwritten = []

    def _begin_due(self) -> int:
        """Give every free carrier something, the last one an alert's first word."""
        begun = 0
        while (free := self._carriers.free) and (words := self._may_go()):
            found, got = self._begin(words, free)
            begun += got
            if not got or got == found < free:
                break
        return begun

    def _may_go(self) -> Words | None:
        """Which words may be carried now; None for none."""
        now_ns = self._now_ns()
        if self.breaker.trying:
            return None
        if self.breaker.opens_ns(now_ns) > now_ns:
            return "first"
        return "all" if self._limit is None or self._limit.tokens(now_ns) else "urgent"

    def _begin(self, words: Words, free: int) -> tuple[int, int]:
        """Begin some of what is due; how many were found, and begun."""
        begun, kept = 0, int(self._carriers.number > 1)
        due = self._outbox.due(self.name, self._now_ns(), free - kept, words=words, besides=self._busy, first=kept)
        for delivery in due:
            now_ns = self._now_ns()
            if not self.breaker.admits(delivery, now_ns):
                continue
            if self._limit is not None and not delivery.urgent and not self._limit.take(now_ns):
                continue
            self.breaker.began()
            self._carriers.give(delivery)
            begun += 1
        return len(due), begun

    def _carry(self, delivery: Delivery) -> Carried:
        try:
            receipt = self._courier.deliver(delivery, self._now_ns())
        except Exception as error:  # noqa: BLE001  (a courier that breaks its promise must not stop the alerts)
            # Only the kind of the error is told: its message may hold a secret.
            receipt = Receipt(delivered=False, detail=f"the courier failed: {type(error).__name__}")
        if not receipt.delivered:
            _log.warning("%s did not reach %s: %s", delivery.message_id, self._courier.name, receipt.detail)
        return delivery, receipt, self._now_ns()

    # alarms

    def _tell(self, delivery: Delivery, receipt: Receipt, state: State) -> None:
        """Count an attempt; the first of an outage that was given up, or met a retired address, is told loudly."""
        self.counts["sent" if receipt.delivered else "failed"] += 1
        if receipt.delivered:
            if self._alarm:
                _log.warning("%s takes alerts again; what was given up stays so until it is revived", self.name)
            self._alarm = ""
            return
        alarm = ""
        if receipt.gone:
            self.counts["gone"] += 1
            alarm = f"{self.name} says that its address is retired: ask them for the new one"
        if state == "dead":
            self.counts["dead"] += 1
            alarm = f"{self.name} does not take alerts: some were given up; see to the receiver, then revive them"
        if alarm and alarm != self._alarm:
            _log.error("%s, the first is %s: %s", alarm, delivery.message_id, receipt.detail)
            self._alarm = alarm

    def _refused_round(self) -> bool:
        """A round; whether the record refused it."""
        try:
            self._round()
            self._look()
        except StoreError as error:
            self.store_refused += 1
            if not self._refusal:
                _log.error("%s carries nothing until the record can be used again: %s", self.name, error)
            self._refusal = f"the record refuses the deliveries of {self.name}"
            return True
        if self._refusal:
            _log.warning("%s carries again", self.name)
        self._refusal = ""
        return False

    def _look(self) -> None:
        """See every so often how long alerts have waited, whatever they wait for."""
        now_ns = self._now_ns()
        if self._looked_ns is not None and abs(seconds_between(self._looked_ns, now_ns)) < LOOK_S:
            return
        self._looked_ns = now_ns
        since_ns = self._outbox.waits_since_ns(self.name)
        waits = since_ns is not None and seconds_between(since_ns, now_ns) > WAITS_S
        words = f"alerts wait for {self.name} since more than {WAITS_S / 60.0:g} minutes; see to the receiver"
        if waits and not self._waits:
            _log.error(words)
        self._waits = words if waits else ""

    # waiting

    def _await(self) -> None:
        """Until something is committed, comes back or falls due."""
        wait_s = LONGEST_SLEEP_S
        if self._carriers.free > (self._carriers.number > 1):  # else nothing can be begun before a carrier comes back
            with contextlib.suppress(StoreError):  # the next round will say so
                wait_s = self._until_due_s(after(self._now_ns(), LONGEST_SLEEP_S))
        self._outbox.await_change(self._seen, wait_s)

    def _until_due_s(self, latest_ns: int) -> float:
        now_ns = self._now_ns()
        due_ns = self._next_ns(now_ns)
        if due_ns is None or due_ns <= now_ns:  # what is due and was not begun waits for a carrier, which wakes us
            due_ns = latest_ns
        return max(seconds_between(now_ns, min(due_ns, latest_ns)), 0.001)

    def _next_ns(self, now_ns: int) -> int | None:
        """When something may be begun next, if a carrier is free; None when nothing waits."""
        words = self._may_go()
        if words is None:
            return None
        busy = self._busy
        due_ns = self._outbox.next_attempt_ns(self.name, words="urgent" if words == "urgent" else "all", besides=busy)
        if words == "first":
            return None if due_ns is None else max(due_ns, self.breaker.opens_ns(now_ns))
        if words == "urgent" and self._limit is not None:
            held_ns = self._outbox.next_attempt_ns(self.name, words="all", besides=busy)
            if held_ns is not None:
                held_ns = max(held_ns, self._limit.next_ns(now_ns))
                return held_ns if due_ns is None else min(due_ns, held_ns)
        return due_ns

    def _finish(self) -> None:
        deadline_ns = after(self._now_ns(), FINISH_S)
        try:
            while self._carriers.alerts and (left_s := seconds_between(self._now_ns(), deadline_ns)) > 0.0:
                self._carriers.await_one(left_s)
                self._take()
            self._write_down()
        except StoreError as error:
            _log.warning(
                "%s: what came of the last deliveries was not written down, they go again: %s", self.name, error
            )
        self._carriers.rest()
