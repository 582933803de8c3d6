"""The pump: woken by commits, never held up by one bad answer, quiet towards a sick receiver, loud towards people."""

from __future__ import annotations

import logging
import threading
import time

import pytest
import sqlalchemy as sa

from acoustic.instant import SECOND, after
from alerts.breaker import FAILURES, OPEN_S
from alerts.bucket import Bucket
from alerts.delivery import SCHEDULE_S, Receipt, Route
from alerts.desk import Desk
from alerts.record import tables
from alerts.record.outbox import Outbox
from alerts.record.store import Store, StoreError
from shotfix.outbox_pump import LONGEST_SLEEP_S, WAITS_S, Pump
from tests.alerts.test_outbox import burst, withdrawn
from tests.strategies import NIGHT_NS, fix_at

WON = Receipt(delivered=True, detail="answered 204", status_code=204)
LOST = Receipt(delivered=False, detail="answered 500", status_code=500)
REFUSED = Receipt(delivered=False, detail="answered 400", status_code=400)
RETIRED = Receipt(delivered=False, detail="answered 410", status_code=410, gone=True)
PATIENCE_S = 30.0


class Refusing(Outbox):
    """A record that refuses a method so many times."""

    def __init__(self, store, method, times):
        super().__init__(store)
        self.method, self.times = method, times

    def _refuse(self, method):
        if method == self.method and self.times:
            self.times -= 1
            raise StoreError("the disk is full: make room")

    def due(self, *arguments, **named):
        self._refuse("due")
        return super().due(*arguments, **named)

    def settle_many(self, *arguments):
        self._refuse("settle_many")
        return super().settle_many(*arguments)


class Courier:
    """Answers as the script says, then well; remembers what it was given, when, and how many at once."""

    name = "room"

    def __init__(self, *script, answer=WON):
        self.script, self.answer = list(script), answer
        self.carried, self.at_ns = [], []

    def deliver(self, delivery, now_ns):
        self.carried.append(delivery.message_id)
        self.at_ns.append(now_ns)
        return self.script.pop(0) if self.script else self.answer


class Hanging(Courier):
    """Does not answer for alerts that are named, until it is let go."""

    def __init__(self, *names):
        super().__init__()
        self.names, self.let_go = set(names), threading.Event()
        self.inside, self.most, self.lock = set(), 0, threading.Lock()

    def deliver(self, delivery, now_ns):
        with self.lock:
            assert delivery.alert_id not in self.inside, "never two of one alert"
            self.inside.add(delivery.alert_id)
            self.most = max(self.most, len(self.inside))
        try:
            if delivery.alert_id in self.names and not self.let_go.wait(PATIENCE_S):
                return LOST
            return super().deliver(delivery, now_ns)
        finally:
            with self.lock:
                self.inside.discard(delivery.alert_id)


class Clock:
    """A wall clock that only moves when somebody sleeps."""

    def __init__(self):
        self.ns = NIGHT_NS

    def now_ns(self):
        return self.ns

    def sleep(self, seconds):
        self.ns = after(self.ns, seconds)


class Running:
    """A pump in its thread."""

    def __init__(self, outbox, courier, **options):
        self.stop, self.outbox = threading.Event(), outbox
        self.pump = Pump(outbox, courier, time.time_ns, self.stop.wait, **options)
        self.thread = threading.Thread(target=self.pump.run, args=(self.stop.is_set,))

    def __enter__(self):
        self.thread.start()
        return self.pump

    def __exit__(self, *_):
        self.stop.set()
        self.outbox.wake()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


def until(holds):
    """Wait until it holds, for a while."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.002)


def firsts(count, prefix="f"):
    return [Desk().receive(fix_at(f"{prefix}{k}"))[0] for k in range(count)]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.sqlite") as opened:
        yield opened


# A record that refuses


@pytest.mark.parametrize("method", ["due", "settle_many"])
def test_a_record_that_refuses_is_tried_again_for_ever(store, method, caplog):
    alerts = firsts(1)
    troubles = []
    store.keep(alerts, [Route("room")], NIGHT_NS)
    outbox, courier = Refusing(store, method, times=5), Courier()
    pump = Pump(outbox, courier, lambda: NIGHT_NS, lambda _: troubles.append(pump.trouble))
    pump.run(lambda: outbox.counts("room")["sent"] == 1)
    assert courier.carried == [alerts[0].message_id]  # once, though it could not be written down at once
    assert pump.store_refused == 5
    assert troubles == ["the record refuses the deliveries of room"] * 5
    assert caplog.text.count("carries nothing") == 1


def test_nothing_more_is_carried_while_what_came_back_is_not_written_down(store):
    store.keep(firsts(6), [Route("room")], NIGHT_NS)
    courier, outbox = Courier(), Refusing(store, "settle_many", times=3)
    pump = Pump(outbox, courier, lambda: NIGHT_NS, None, parallel=2)
    for _ in range(3):
        with pytest.raises(StoreError):
            pump.step()
        carried = len(courier.carried)
        assert carried <= 2
    pump.step()
    assert sorted(courier.carried) == sorted({*courier.carried}), "each once"
    assert outbox.counts("room")["sent"] == 6


# Woken, and many at once


def test_a_commit_wakes_the_pump_long_before_it_would_look(record_store):
    """Ten alerts one after the other, each kept once the one before arrived: by polling they would take five seconds."""
    outbox, courier = Outbox(record_store), Courier()
    with Running(outbox, courier):
        began_s = time.monotonic()
        for number, alert in enumerate(firsts(20), start=1):
            record_store.keep([alert], [Route("room")], time.time_ns())
            until(lambda number=number: len(courier.carried) == number)
        took_s = time.monotonic() - began_s
    assert took_s < 20 * LONGEST_SLEEP_S / 2


def test_what_another_process_commits_is_seen_by_looking(tmp_path):
    with Store(tmp_path / "r.db") as ours, Store(tmp_path / "r.db") as theirs:
        courier = Courier()
        with Running(Outbox(ours), courier):
            theirs.keep(firsts(1), [Route("room")], time.time_ns())
            until(lambda: courier.carried)


def test_an_answer_that_does_not_come_holds_up_its_own_alert_only(record_store):
    outbox = Outbox(record_store)
    stuck = burst("a")
    courier = Hanging(stuck[0].alert_id)
    with Running(outbox, courier) as pump:
        record_store.keep(stuck, [Route("room")], time.time_ns())
        until(lambda: courier.inside)
        others = [alert for name in "bcdef" for alert in burst(name)]
        record_store.keep(others, [Route("room")], time.time_ns())
        until(lambda: outbox.counts("room")["sent"] == len(others))
        assert outbox.counts("room")["pending"] == 3
        assert courier.most <= 4
        courier.let_go.set()
        until(lambda: pump.counts["sent"] == len(others) + 3)
        assert outbox.counts("room")["sent"] == len(others) + 3
    for name in {alert.alert_id for alert in [*stuck, *others]}:
        mine = [m for m in courier.carried if m.startswith(name)]
        assert mine == [f"{name}-r{k}" for k in (1, 2, 3)]


def test_however_many_do_not_answer_a_first_word_finds_a_hand(store):
    """Three retries hang, as many as may: the fourth hand is kept for an alert that was never told."""
    outbox, old = Outbox(store), firsts(8, "old")
    store.keep(old, [Route("room")], time.time_ns())
    for delivery in outbox.due("room", time.time_ns()):
        outbox.settle(delivery, LOST, time.time_ns() - 60 * SECOND)
    courier = Hanging(*(alert.alert_id for alert in old))
    with Running(outbox, courier):
        until(lambda: len(courier.inside) == 3)
        (new,) = firsts(1, "new")
        store.keep([new], [Route("room")], time.time_ns())
        until(lambda: courier.carried == [new.message_id])
        assert len(courier.inside) == 3
        courier.let_go.set()
        until(lambda: outbox.counts("room")["sent"] == 9)


def test_one_hand_is_enough_and_none_is_too_few(store):
    store.keep([a for name in "abc" for a in burst(name)], [Route("room")], NIGHT_NS)
    courier = Hanging()
    pump = Pump(Outbox(store), courier, lambda: NIGHT_NS, None, parallel=1)
    assert pump.step() == 9
    assert courier.most == 1
    with pytest.raises(ValueError, match="1 or more"):
        Pump(Outbox(store), courier, lambda: NIGHT_NS, None, parallel=0)


def test_its_own_commit_has_it_look_no_further_and_what_came_back_does(store):
    """A round for each commit of its own would have nothing to do, and ask the record all the same."""
    store.keep(firsts(2), [Route("room")], NIGHT_NS)
    outbox, news = Outbox(store), []
    outbox.await_change = lambda seen, _: news.append(outbox.changes != seen)
    pump = Pump(outbox, Courier(), lambda: NIGHT_NS, None, parallel=1)
    pump.run(lambda: len(news) == 4)
    assert pump.counts["sent"] == 2
    assert news == [True, True, False, False], "carried, written down and carried, written down, nothing"


def test_when_all_that_is_due_was_found_it_is_not_asked_for_more(store):
    alerts = firsts(2)
    store.keep(alerts, [Route("room")], NIGHT_NS)
    outbox, courier, asked = Outbox(store), Hanging(*(alert.alert_id for alert in alerts)), []
    outbox.due = lambda *arguments, **named: asked.append(named["words"]) or Outbox.due(outbox, *arguments, **named)
    outbox.await_change = lambda *_: courier.let_go.set()
    pump = Pump(outbox, courier, lambda: NIGHT_NS, None)
    pump.run(courier.let_go.is_set)
    assert asked == ["all"]
    assert pump.counts["sent"] == 2


def test_what_came_back_is_written_down_before_anybody_else_is_awaited(store):
    """Who carries slowly must not keep the receipts of the others from the record: a kill would send them again."""
    alerts = firsts(3)
    store.keep(alerts, [Route("room")], NIGHT_NS)
    courier, pending = Hanging(alerts[-1].alert_id), []

    class Slow(Outbox):
        def settle_many(self, settled):
            until(lambda: len(pump._carriers._under_way) - len(pump._carriers._finished) <= 1)
            return super().settle_many(settled)

    outbox = Slow(store)
    pump = Pump(outbox, courier, lambda: NIGHT_NS, None, parallel=3)

    def await_one():
        pending.append(outbox.counts("room")["pending"])
        if pending[-1] == 1:
            courier.let_go.set()

    awaiting = pump._carriers.await_one
    pump._carriers.await_one = lambda: (await_one(), awaiting())
    assert pump.step() == 3
    assert pending[-1] == 1, "all but the slow one's were written down"


def test_who_comes_back_while_others_are_written_down_is_sent_off_again_by_the_same_round(store):
    """And no alert twice at once, though it is not written down yet that it arrived."""
    alerts = firsts(6)
    store.keep([*alerts, *burst("f1")[1:]], [Route("room")], NIGHT_NS)
    courier, written = Hanging(*(alert.alert_id for alert in alerts[1:3])), []

    class Slow(Outbox):
        def settle_many(self, settled):
            written.append(len(settled))
            courier.let_go.set()
            until(lambda: len(pump._carriers._finished) == len(pump._carriers._under_way))
            return super().settle_many(settled)

    pump = Pump(Slow(store), courier, lambda: NIGHT_NS, None, parallel=3)
    assert pump.step() == 8
    assert written[0] == 1
    assert written[1] >= 2, "the two who came back meanwhile at least"
    assert sorted(courier.carried) == sorted({*courier.carried}), "each once"
    assert [name[-2:] for name in courier.carried if name.startswith(alerts[1].alert_id)] == ["r1", "r2", "r3"]


def test_at_the_end_what_is_under_way_is_awaited_and_written_down(store):
    (alert,) = firsts(1)
    courier, outbox = Hanging(alert.alert_id), Outbox(store)
    store.keep([alert], [Route("room")], time.time_ns())
    running = Running(outbox, courier)
    with running:
        until(lambda: courier.inside)
        running.stop.set()
        threading.Timer(0.05, courier.let_go.set).start()
    assert outbox.counts("room")["sent"] == 1


# The breaker


def test_a_sick_receiver_is_left_alone_and_what_waits_keeps_its_order(store, caplog):
    """500 to everything for ten minutes: what reaches it is one try each half minute, and then all of it, in order."""
    said = [alert for k in range(10) for alert in burst(f"n{k}")]
    store.keep(said, [Route("room")], NIGHT_NS)
    clock, outbox = Clock(), Outbox(store)
    back_ns = after(NIGHT_NS, 600.0)
    courier = Courier()
    courier.deliver = lambda delivery, now_ns: (
        courier.carried.append(delivery.message_id), courier.at_ns.append(now_ns), WON if now_ns >= back_ns else LOST,
    )[2]  # fmt: skip
    pump = Pump(outbox, courier, clock.now_ns, clock.sleep, parallel=1)
    assert pump.drain(within_s=3600.0) == 0
    assert outbox.counts("room") == {"pending": 0, "sent": 30, "dead": 0}
    during = [at_ns for at_ns in courier.at_ns if at_ns < back_ns]
    firsts_tried = 10  # each first word may be the one try once, before the time
    assert len(during) <= FAILURES + firsts_tried + 600.0 / OPEN_S
    assert pump.breaker.opened == 1
    assert caplog.text.count("room is not well") == 1
    assert caplog.text.count("room is well again") == 1
    got = [name for name, at_ns in zip(courier.carried, courier.at_ns, strict=True) if at_ns >= back_ns]
    for k in range(10):
        mine = [name for name in got if name.startswith(said[3 * k].alert_id)]
        assert mine == [alert.message_id for alert in said[3 * k : 3 * k + 3]]


def test_a_new_alert_is_tried_at_once_though_the_breaker_is_open(store):
    clock, outbox, courier = Clock(), Outbox(store), Courier(*[LOST] * FAILURES)
    store.keep(firsts(1, "old"), [Route("room")], NIGHT_NS)
    pump = Pump(outbox, courier, clock.now_ns, clock.sleep)
    while not pump.breaker.is_open:
        pump.step()
        clock.sleep(1.0)
    (new,) = firsts(1, "new")
    store.keep([new], [Route("room")], clock.ns)
    pump.step()
    assert courier.carried[FAILURES] == new.message_id
    assert not pump.breaker.is_open


def test_a_message_that_is_refused_does_not_keep_the_others_waiting(store):
    """One alert is answered 400 again and again; the breaker stays shut, and the others go."""
    poison, *others = firsts(12)
    store.keep([poison, *others], [Route("room")], NIGHT_NS)
    clock, courier = Clock(), Courier()
    courier.deliver = lambda delivery, _: REFUSED if delivery.alert_id == poison.alert_id else WON
    pump = Pump(Outbox(store), courier, clock.now_ns, clock.sleep)
    pump.drain(within_s=100.0)
    assert not pump.breaker.is_open
    assert (pump.counts["sent"], pump.counts["failed"]) == (11, 6)


# The limit


def test_revisions_wait_for_the_limit_first_words_and_cancellations_do_not(store):
    alerts = [burst(f"r{k}") for k in range(20)] + [withdrawn("x")]
    store.keep([alert for said in alerts for alert in said], [Route("room")], NIGHT_NS)
    clock, courier = Clock(), Courier()
    pump = Pump(Outbox(store), courier, clock.now_ns, clock.sleep, limit=Bucket(60.0, 10), parallel=1)
    assert pump.drain(within_s=0.0) == 30, "ten revisions, the burst, are told at once, of forty"
    first_ns = dict(zip(courier.carried, courier.at_ns, strict=True))
    for said in alerts:
        assert first_ns[said[0].message_id] == NIGHT_NS
    assert {first_ns[alert.message_id] for alert in alerts[-1]} == {NIGHT_NS}
    assert pump.drain(within_s=3600.0) == 0
    assert (clock.ns - NIGHT_NS) / SECOND == pytest.approx(30.0, abs=0.5), "and the others one each second"
    assert len(courier.carried) == 63
    for said in alerts:
        mine = [name for name in courier.carried if name.startswith(said[0].alert_id)]
        assert mine == [alert.message_id for alert in said]


def test_a_new_alert_overtakes_revisions_that_wait(store):
    said = [alert for k in range(40) for alert in burst(f"r{k}")]
    store.keep(said, [Route("room")], NIGHT_NS)
    clock, courier = Clock(), Courier()
    pump = Pump(Outbox(store), courier, clock.now_ns, clock.sleep, limit=Bucket(1.0, 1))
    pump.step()
    (new,) = firsts(1, "new")
    store.keep([new], [Route("room")], NIGHT_NS)
    assert pump.step() == 1
    assert courier.carried[-1] == new.message_id


# Alarms


def test_what_is_given_up_is_told_once_an_outage_and_readiness_says_so(store, caplog):
    caplog.set_level(logging.INFO)
    store.keep(firsts(3), [Route("room")], NIGHT_NS)
    clock, courier = Clock(), Courier(answer=LOST)
    pump = Pump(Outbox(store), courier, clock.now_ns, clock.sleep)
    assert pump.drain(within_s=20 * 86_400.0) == 0
    assert pump.counts["dead"] == 3
    assert pump.trouble.startswith("room does not take alerts")
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR and "given up" in r.getMessage()]
    assert len(errors) == 1
    assert len(Outbox(store).dead("room")) == 3
    courier.answer = WON
    store.keep(firsts(1, "later"), [Route("room")], clock.ns)
    pump.step()
    assert pump.trouble == ""
    assert "takes alerts again" in caplog.text
    assert Outbox(store).revive("room", clock.ns, "ada") == 3
    pump.step()
    assert Outbox(store).counts("room") == {"pending": 0, "sent": 4, "dead": 0}


def test_a_retired_address_is_an_alarm_at_the_first_answer_and_never_silence(store, caplog):
    store.keep(firsts(1), [Route("room")], NIGHT_NS)
    clock, courier = Clock(), Courier(answer=RETIRED)
    pump = Pump(Outbox(store), courier, clock.now_ns, clock.sleep)
    pump.step()
    assert "retired" in pump.trouble
    assert not pump.breaker.is_open
    assert pump.drain(within_s=20 * 86_400.0) == 0
    assert (pump.counts["gone"], pump.counts["dead"]) == (len(SCHEDULE_S), 1)
    assert [r.levelname for r in caplog.records].count("ERROR") == 2, "retired, and given up"
    waits = [(b - a) / SECOND for a, b in zip(courier.at_ns, courier.at_ns[1:], strict=False)]
    assert min(waits) >= 300.0
    (new,) = firsts(1, "new")
    store.keep([new], [Route("room")], clock.ns)
    courier.answer = WON
    assert pump.step() == 1, "nobody was taken off the list"
    assert pump.trouble == ""


def rounds(pump, clock, count, each_s):
    """So many rounds of its loop, so far apart."""
    left = iter(range(count))

    def stopped():
        clock.ns = after(clock.ns, each_s)
        return next(left, None) is None

    pump.run(stopped)


def test_alerts_that_wait_for_minutes_are_told_whatever_they_wait_for(store, caplog, monkeypatch):
    monkeypatch.setattr(Outbox, "await_change", lambda *_: None)
    store.keep(firsts(8), [Route("room")], NIGHT_NS)
    clock, courier = Clock(), Courier(answer=LOST)
    pump = Pump(Outbox(store), courier, clock.now_ns, clock.sleep, parallel=1)
    rounds(pump, clock, 10, WAITS_S / 11)
    assert pump.trouble == ""
    rounds(pump, clock, 4, WAITS_S / 11)
    assert pump.trouble == "alerts wait for room since more than 5 minutes; see to the receiver"
    assert caplog.text.count("since more than") == 1
    courier.answer = WON
    rounds(pump, clock, 200, 2 * OPEN_S)
    assert Outbox(store).counts("room")["sent"] == 8
    assert pump.trouble == ""


def test_what_was_altered_in_the_record_is_carried_to_nobody_and_readiness_says_so(store):
    (first, second) = firsts(2)
    store.keep([first, second], [Route("room")], NIGHT_NS)
    named = tables.alert.c.alert_id == first.alert_id
    with store.writing() as connection:
        connection.execute(sa.update(tables.alert).where(named).values(document=b"{}"))
    clock, courier = Clock(), Courier()
    pump = Pump(Outbox(store), courier, clock.now_ns, clock.sleep)
    assert pump.drain(within_s=60.0) == 0
    assert courier.carried == [second.message_id]
    assert pump.trouble == "alerts for room were altered in the record and given up; restore it from a backup"
