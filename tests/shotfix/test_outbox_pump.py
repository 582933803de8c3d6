"""The pump over a record that refuses: it goes on, says so meanwhile, and carries nothing twice."""

import pytest

from acoustic.instant import after
from alerts.delivery import Receipt, Route
from alerts.desk import Desk
from alerts.record.outbox import Outbox
from alerts.record.store import Store, StoreError
from shotfix.outbox_pump import Pump
from tests.strategies import NIGHT_NS, fix_at


class Refusing(Outbox):
    """A record that refuses a method so many times."""

    def __init__(self, store, method, times):
        super().__init__(store)
        self.method, self.times = method, times

    def _refuse(self, method):
        if method == self.method and self.times:
            self.times -= 1
            raise StoreError("the disk is full: make room")

    def due(self, *arguments):
        self._refuse("due")
        return super().due(*arguments)

    def settle(self, *arguments):
        self._refuse("settle")
        return super().settle(*arguments)

    def next_attempt_ns(self, *arguments):
        self._refuse("next_attempt_ns")
        return super().next_attempt_ns(*arguments)


class Courier:
    name = "room"

    def __init__(self):
        self.carried = []

    def deliver(self, delivery, _now_ns):
        self.carried.append(delivery.message_id)
        return Receipt(delivered=True, detail="answered 204", status_code=204)


@pytest.mark.parametrize("method", ["due", "settle", "next_attempt_ns"])
def test_a_record_that_refuses_is_tried_again_for_ever(tmp_path, method, caplog):
    alerts = Desk().receive(fix_at("a"))
    clock, troubles = [NIGHT_NS], []
    with Store(tmp_path / "record.db") as store:
        store.keep(alerts, [Route("room")], NIGHT_NS)
        outbox, courier = Refusing(store, method, times=5), Courier()

        def sleep(seconds):
            clock[0] = after(clock[0], seconds)
            troubles.append(pump.trouble)

        pump = Pump(outbox, courier, lambda: clock[0], sleep)
        pump.run(lambda: len(troubles) >= 8)
        assert outbox.counts("room") == {"pending": 0, "sent": 1, "dead": 0}
    assert courier.carried == [alerts[0].message_id]  # once, though it could not be written down at once
    assert pump.store_refused == 5
    assert troubles == ["the record refuses the deliveries of room"] * 5 + [""] * 3
    assert caplog.text.count("carries nothing") == 1
