"""What every courier must hold to, whatever it speaks: subclass `CourierConformance` and give it a rig.

A rig is a courier with a receiver that can be made to misbehave. The suite asks it for troubles by name; a rig skips
those that its kind of receiver cannot have.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import Protocol

import pytest

from acoustic.instant import SECOND, after
from alerts.alert import encode
from alerts.delivery import Delivery, Route
from alerts.desk import Desk
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from shotfix.outbox_pump import Pump
from tests.strategies import NIGHT_NS, fix_at

TROUBLES = (
    "faulty",  # says that it cannot just now
    "cut",  # breaks off while it is told
    "deaf",  # never answers
    "slow",  # answers a letter now and then, for ever
    "stuck",  # takes a letter now and then
    "full",  # has no room
    "away",  # is not there
    "refusing",  # will not have it
    "redirecting",  # sends us elsewhere
    "babbling",  # answers something that is no answer
)
"""In none of these is an alert delivered."""
LOST = "losing-receipts"
"""It takes the alert, and we never hear of it."""
WELL = ""


class Rig(Protocol):
    """A courier, and its receiver."""

    courier: object
    secrets: tuple[str, ...]  # what must be seen nowhere

    def become(self, trouble: str) -> bool:
        """Have the receiver in this trouble from now on, or well; False when its kind cannot be."""

    def accepted(self) -> list[tuple[str, bytes]]:
        """What the receiver took: name and document, duplicates too if it can tell them."""


def burst(name="a"):
    """New, revised, revised."""
    desk = Desk()
    first = desk.receive(fix_at(name))
    desk.receive(fix_at(f"{name}2", 0.5))
    return [*first, *desk.tick(after(NIGHT_NS, 600.0))]


def life(name="a"):
    """New, revised, cancelled."""
    first, second, _ = burst(name)
    changes = {"kind": "cancelled", "status": "cancelled", "reason": "no-longer-gunfire"}
    return [first, second, dataclasses.replace(second, revision=3, supersedes=second.message_id, **changes)]


def delivery_of(alert, courier, queued_ns=NIGHT_NS, attempts=0):
    return Delivery(
        alert.alert_id, alert.revision, courier.name, alert.kind, alert.published_at, encode(alert), queued_ns, attempts
    )


class Noting:
    """A courier that writes down what came of each attempt of another."""

    def __init__(self, courier, rig=None, plan=()):
        self.name, self._courier = courier.name, courier
        self._rig, self._plan = rig, list(plan)
        self.heard = []

    def deliver(self, delivery, now_ns):
        if self._plan and self._rig.become(self._plan[0]):
            self._plan.pop(0)
        elif self._rig:
            self._rig.become(WELL)
            self._plan = self._plan[1:]
        receipt = self._courier.deliver(delivery, now_ns)
        self.heard.append((delivery.message_id, receipt.delivered, now_ns))
        return receipt


class Clock:
    """A wall clock that only moves when somebody sleeps."""

    def __init__(self):
        self.ns = NIGHT_NS

    def now_ns(self):
        return self.ns

    def sleep(self, seconds):
        self.ns = after(self.ns, seconds)


class CourierConformance:
    """The suite."""

    @pytest.fixture
    def rig(self):
        raise NotImplementedError("give the courier under test, with its receiver")

    @pytest.fixture
    def store(self, tmp_path):
        (tmp_path / "record").mkdir()
        with Store(tmp_path / "record" / "record.db") as opened:
            yield opened

    def trouble(self, rig, trouble):
        if not rig.become(trouble):
            pytest.skip(f"its receiver is never {trouble}")

    def test_what_is_delivered_is_what_was_stored(self, rig):
        for alert in life():
            receipt = rig.courier.deliver(delivery_of(alert, rig.courier), NIGHT_NS)
            assert receipt.delivered, receipt.detail
        assert rig.accepted() == [(alert.message_id, encode(alert)) for alert in life()]

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_a_trouble_is_a_receipt_and_afterwards_it_arrives(self, rig, trouble):
        alert = burst()[0]
        self.trouble(rig, trouble)
        receipt = rig.courier.deliver(delivery_of(alert, rig.courier), NIGHT_NS)
        assert not receipt.delivered
        assert receipt.detail
        assert receipt.detail.isascii()
        assert receipt.detail.isprintable()
        assert len(receipt.detail) < 2_000
        assert rig.accepted() == []
        rig.become(WELL)
        receipt = rig.courier.deliver(delivery_of(alert, rig.courier, attempts=1), NIGHT_NS + SECOND)
        assert receipt.delivered, receipt.detail
        assert rig.accepted() == [(alert.message_id, encode(alert))]

    def test_after_a_lost_receipt_the_same_is_said_under_the_same_name(self, rig):
        alert = burst()[0]
        self.trouble(rig, LOST)
        assert not rig.courier.deliver(delivery_of(alert, rig.courier), NIGHT_NS).delivered
        assert set(rig.accepted()) == {(alert.message_id, encode(alert))}
        rig.become(WELL)
        assert rig.courier.deliver(delivery_of(alert, rig.courier, attempts=1), after(NIGHT_NS, 9_000.0)).delivered
        assert set(rig.accepted()) == {(alert.message_id, encode(alert))}

    def test_what_comes_twice_is_one_thing(self, rig):
        first, second, _ = burst()
        for alert in (first, first, second, first):  # the last as of an outbox that was revived
            assert rig.courier.deliver(delivery_of(alert, rig.courier), NIGHT_NS).delivered
        assert set(rig.accepted()) == {(first.message_id, encode(first)), (second.message_id, encode(second))}

    def test_an_answer_that_is_given_twice_is_not_taken_for_the_next_ones(self, rig):
        first, second = burst("a")[0], burst("b")[0]
        self.trouble(rig, "answering-twice")
        assert rig.courier.deliver(delivery_of(first, rig.courier), NIGHT_NS).delivered
        self.trouble(rig, "faulty")
        assert not rig.courier.deliver(delivery_of(second, rig.courier), NIGHT_NS).delivered

    @pytest.mark.parametrize("trouble", ["faulty", "cut", "full", "away"])
    def test_order_holds_whatever_fails_in_between(self, rig, store, trouble):
        """New before revised before cancelled, with the first, a middle and the last attempt in trouble."""
        if not rig.become(trouble):
            pytest.skip(f"its receiver is never {trouble}")
        rig.become(WELL)
        lives = [life("a"), life("b")]
        store.keep([alert for said in lives for alert in said], [Route(rig.courier.name)], NIGHT_NS)
        clock = Clock()
        noting = Noting(rig.courier, rig, [trouble, WELL, trouble, trouble, WELL, WELL, trouble, WELL, trouble])
        assert Pump(Outbox(store), noting, clock.now_ns, clock.sleep, parallel=1).drain(within_s=1e4) == 0
        for said in lives:
            names = [alert.message_id for alert in said]
            assert [name for name, won, _ in noting.heard if won and name in names] == names
        assert {name for name, _ in rig.accepted()} == {alert.message_id for said in lives for alert in said}

    def test_a_receiver_that_was_away_for_a_day_gets_everything(self, rig, store):
        said = [alert for name in "abc" for alert in life(name)]
        store.keep(said, [Route(rig.courier.name)], NIGHT_NS)
        self.trouble(rig, "away")
        clock, back_ns = Clock(), after(NIGHT_NS, 86_400.0)

        class Returning(Noting):
            def deliver(self, delivery, now_ns):
                rig.become("away" if now_ns < back_ns else WELL)
                receipt = rig.courier.deliver(delivery, now_ns)
                self.heard.append((delivery.message_id, receipt.delivered, now_ns))
                return receipt

        noting = Returning(rig.courier)
        assert Pump(Outbox(store), noting, clock.now_ns, clock.sleep, parallel=1).drain(within_s=3 * 86_400.0) == 0
        assert Outbox(store).counts(rig.courier.name) == {"pending": 0, "sent": 9, "dead": 0}
        assert {name for name, _ in rig.accepted()} == {alert.message_id for alert in said}
        assert sum(not won for _, won, _ in noting.heard) < 60

    def test_several_threads_may_deliver_at_once(self, rig):
        said = [burst(f"t{k}")[0] for k in range(8)]
        receipts = {}

        def carry(alert):
            receipts[alert.alert_id] = rig.courier.deliver(delivery_of(alert, rig.courier), NIGHT_NS)

        threads = [threading.Thread(target=carry, args=(alert,)) for alert in said]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
        assert all(receipt.delivered for receipt in receipts.values())
        assert sorted(rig.accepted()) == sorted((alert.message_id, encode(alert)) for alert in said)

    @pytest.mark.parametrize("document", [b"{", b"\xff\xfe", b'{"schema_version": 7}', b"[]", b"null", b"x" * 100_000])
    def test_no_document_makes_it_raise(self, rig, document):
        delivery = dataclasses.replace(delivery_of(burst()[0], rig.courier), document=document)
        receipt = rig.courier.deliver(delivery, NIGHT_NS)
        assert receipt.detail.isprintable()

    @pytest.mark.parametrize("trouble", [*TROUBLES, LOST, WELL])
    def test_a_secret_is_seen_nowhere(self, rig, trouble, caplog):
        self.trouble(rig, trouble)
        with caplog.at_level(logging.DEBUG):
            receipt = rig.courier.deliver(delivery_of(burst()[0], rig.courier), NIGHT_NS)
        seen = f"{receipt!r} {rig.courier!r} {rig.courier} {caplog.text}"
        for secret in rig.secrets:
            assert secret not in seen

    def test_it_may_be_closed_and_closed_again_and_delivers_afterwards(self, rig):
        rig.courier.close()
        rig.courier.close()
        assert rig.courier.deliver(delivery_of(burst()[0], rig.courier), NIGHT_NS).delivered

    def test_its_name_is_the_same_each_time(self, rig):
        assert rig.courier.name == rig.courier.name != ""
