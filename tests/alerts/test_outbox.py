"""The outbox on both databases: order, deaths that somebody sees, and what comes of many receipts at once."""

from __future__ import annotations

import dataclasses
import json
import threading

import pytest
import sqlalchemy as sa

from acoustic.instant import SECOND, after
from alerts.alert import encode
from alerts.delivery import GONE_S, LATE_HEADER, LONGEST_WAIT_S, SCHEDULE_S, Receipt, Route
from alerts.desk import Desk
from alerts.record import tables
from alerts.record.ledger import Ledger
from alerts.record.outbox import Outbox
from alerts.record.store import StoreError
from tests.strategies import NIGHT_NS, fix_at

ROOM = [Route("room")]
WON = Receipt(delivered=True, detail="answered 204", status_code=204)
LOST = Receipt(delivered=False, detail="answered 500", status_code=500)
AWAY = Receipt(delivered=False, detail="no answer", unanswered=True)
RETIRED = Receipt(delivered=False, detail="answered 410", status_code=410, gone=True)


def burst(name="a"):
    """The alert of a burst: new, more-rounds, closed."""
    desk = Desk()
    first = desk.receive(fix_at(name))
    desk.receive(fix_at(f"{name}2", 0.5))
    return [*first, *desk.tick(after(NIGHT_NS, 600.0))]


def withdrawn(name="a"):
    """An alert that is made worse until it is cancelled: new, revised, cancelled."""
    first, second, _ = burst(name)
    last = dataclasses.replace(
        second,
        revision=3,
        supersedes=second.message_id,
        kind="cancelled",
        status="cancelled",
        reason="no-longer-gunfire",
    )
    return [first, second, last]


@pytest.fixture
def outbox(record_store):
    return Outbox(record_store)


def die(outbox, delivery, at_ns=NIGHT_NS, receipt=LOST):
    """Fail until it is given up; what each attempt came to."""
    return [outbox.settle(delivery, receipt, at_ns) for _ in SCHEDULE_S]


def test_revisions_go_in_order_each_courier_by_itself(record_store, outbox):
    said = burst()
    record_store.keep(said, [Route("room"), Route("other")], NIGHT_NS)
    for expected in said:
        (due,) = outbox.due("room", NIGHT_NS)
        assert (due.revision, due.document, due.kind) == (expected.revision, encode(expected), expected.kind)
        assert outbox.settle(due, LOST, NIGHT_NS) == "pending"
        assert outbox.due("room", NIGHT_NS) == []
        assert outbox.next_attempt_ns("room") > NIGHT_NS
        assert outbox.settle(due, WON, NIGHT_NS) == "sent"
    assert outbox.next_attempt_ns("room") is None
    assert outbox.counts("room") == {"pending": 0, "sent": 3, "dead": 0}
    assert outbox.counts("other") == {"pending": 3, "sent": 0, "dead": 0}


def test_many_receipts_are_one_transaction_all_or_nothing(record_store, outbox):
    for name in "abc":
        record_store.keep(burst(name), ROOM, NIGHT_NS)
    due = outbox.due("room", NIGHT_NS)
    before = record_store.changes
    assert outbox.settle_many([(due[0], WON, NIGHT_NS), (due[1], LOST, NIGHT_NS), (due[2], AWAY, NIGHT_NS)]) == [
        "sent", "pending", "pending",
    ]  # fmt: skip
    assert record_store.changes == before + 1
    assert outbox.settle_many([]) == []
    again = outbox.due("room", NIGHT_NS)
    broken = dataclasses.replace(AWAY, detail=object())  # the database refuses it
    with pytest.raises((StoreError, sa.exc.StatementError)):
        outbox.settle_many([(again[0], WON, NIGHT_NS), (due[1], broken, NIGHT_NS)])
    assert outbox.due("room", NIGHT_NS) == again


def test_what_is_no_longer_in_the_record_is_passed_over(record_store, outbox):
    record_store.keep(burst(), ROOM, NIGHT_NS)
    (due,) = outbox.due("room", NIGHT_NS)
    assert outbox.settle(dataclasses.replace(due, alert_id="another"), WON, NIGHT_NS) == "unknown"
    assert outbox.settle(due, WON, NIGHT_NS) == "sent"


def test_a_death_is_listed_stands_in_the_ledger_and_holds_up_nobody(record_store, outbox):
    said = burst()
    record_store.keep(said, [Route("room"), Route("other")], NIGHT_NS)
    (first,) = outbox.due("room", NIGHT_NS)
    at_ns = after(NIGHT_NS, 300_000.0)
    assert die(outbox, first, at_ns) == ["pending"] * (len(SCHEDULE_S) - 1) + ["dead"]
    (letter,) = outbox.dead("room")
    assert (letter.message_id, letter.kind, letter.courier) == (said[0].message_id, "new", "room")
    assert (letter.attempts, letter.queued_ns, letter.died_ns) == (len(SCHEDULE_S), NIGHT_NS, at_ns)
    assert (letter.status_code, letter.detail) == (500, "answered 500")
    assert outbox.dead("other") == []
    (entry,) = Ledger(record_store).entries(kinds=["delivery-dead"])
    assert (entry.about, entry.at_ns) == (said[0].incident_id, at_ns)
    assert json.loads(entry.body) == {
        "alert_id": first.alert_id, "revision": 1, "courier": "room", "attempts": len(SCHEDULE_S), "status_code": 500,
        "detail": "answered 500",
    }  # fmt: skip
    assert [d.revision for d in outbox.due("room", at_ns)] == [2], "the next revision says all that it said, and more"
    assert [d.revision for d in outbox.due("other", at_ns)] == [1]
    assert outbox.settle(first, LOST, at_ns) == "dead"
    assert len(list(Ledger(record_store).entries(kinds=["delivery-dead"]))) == 1, "it dies once"


def test_a_death_and_its_entry_are_written_together(record_store, outbox, monkeypatch):
    record_store.keep(burst(), ROOM, NIGHT_NS)
    (first,) = outbox.due("room", NIGHT_NS)
    for _ in SCHEDULE_S[1:]:
        outbox.settle(first, LOST, NIGHT_NS)

    def refuse(*_):
        raise StoreError("no")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", refuse)
        with pytest.raises(StoreError):
            outbox.settle(first, LOST, NIGHT_NS)
    assert outbox.counts("room")["dead"] == 0
    assert outbox.settle(first, LOST, NIGHT_NS) == "dead"


def test_the_dead_are_revived_and_may_die_again(record_store, outbox):
    record_store.keep(burst(), ROOM, NIGHT_NS)
    (first,) = outbox.due("room", NIGHT_NS)
    die(outbox, first)
    assert outbox.revive("other", NIGHT_NS, "ada") == 0
    assert outbox.revive("room", NIGHT_NS, "ada") == 1
    (entry,) = Ledger(record_store).entries(kinds=["delivery-revived"])  # of the other there was nothing to revive
    assert (entry.actor, entry.at_ns) == ("ada", NIGHT_NS)
    assert json.loads(entry.body) == {"courier": "room", "deliveries": 1}
    assert outbox.dead("room") == []
    (again,) = outbox.due("room", NIGHT_NS)
    assert (again.message_id, again.attempts) == (first.message_id, 0)
    assert die(outbox, again)[-1] == "dead"
    assert len(list(Ledger(record_store).entries(kinds=["delivery-dead"]))) == 2


def test_a_retired_address_is_tried_slowly_and_never_given_up_in_silence(record_store, outbox):
    record_store.keep(burst(), ROOM, NIGHT_NS)
    (first,) = outbox.due("room", NIGHT_NS)
    now = NIGHT_NS
    for number in range(1, len(SCHEDULE_S)):
        assert outbox.settle(first, RETIRED, now) == "pending"
        wait_s = (outbox.next_attempt_ns("room") - now) / SECOND
        assert wait_s >= max(GONE_S, SCHEDULE_S[number])
        now = outbox.next_attempt_ns("room")
    assert outbox.settle(first, RETIRED, now) == "dead"
    assert outbox.dead("room")[0].status_code == 410


def test_first_words_and_what_must_not_wait_can_be_asked_for(record_store, outbox):
    told, ends = burst("a"), withdrawn("b")
    record_store.keep(told + ends, ROOM, NIGHT_NS)
    first, other = outbox.due("room", NIGHT_NS)
    outbox.settle_many([(first, WON, NIGHT_NS), (other, WON, NIGHT_NS)])
    record_store.keep(burst("c"), ROOM, NIGHT_NS)

    def names(words, besides=()):
        return [d.message_id for d in outbox.due("room", NIGHT_NS, words=words, besides=besides)]

    (_, third) = (told[0], burst("c")[0])
    assert names("all") == [told[1].message_id, ends[1].message_id, third.message_id]
    assert names("urgent") == [ends[1].message_id, third.message_id], "a cancellation waits behind the first of them"
    assert names("first") == [third.message_id]
    assert names("all", {told[0].alert_id, third.alert_id}) == [ends[1].message_id]
    assert [d.hurried for d in outbox.due("room", NIGHT_NS)] == [False, True, False]
    assert [d.urgent for d in outbox.due("room", NIGHT_NS)] == [False, True, True]
    assert outbox.next_attempt_ns("room", words="urgent", besides={ends[0].alert_id, third.alert_id}) is None
    assert outbox.next_attempt_ns("room", besides={ends[0].alert_id, third.alert_id}) == NIGHT_NS
    outbox.settle(outbox.due("room", NIGHT_NS, words="first")[0], LOST, NIGHT_NS)
    assert names("first") == [], "it was tried"


def test_a_commit_wakes_whoever_waits_for_one(record_store, outbox):
    seen, woken = outbox.changes, []
    thread = threading.Thread(target=lambda: woken.append(outbox.await_change(seen, 60.0)))
    thread.start()
    record_store.keep(burst(), ROOM, NIGHT_NS)
    thread.join(30.0)
    assert woken[0] > seen
    seen = outbox.changes
    thread = threading.Thread(target=lambda: woken.append(outbox.await_change(seen, 60.0)))
    thread.start()
    outbox.wake()
    thread.join(30.0)
    assert len(woken) == 2


def test_an_outage_of_a_day_ends_with_everything_in_order_and_marked_late(record_store, outbox):
    """By a clock that jumps from attempt to attempt; the mark is a header, the body is that of the first attempt."""
    from alerts.couriers.destination import Destination  # noqa: PLC0415
    from alerts.couriers.webhook import Secret, Webhook, body_of  # noqa: PLC0415

    said = [alert for name in "abcd" for alert in burst(name)]
    record_store.keep(said, ROOM, NIGHT_NS)
    now, back_ns, got, bodies = NIGHT_NS, after(NIGHT_NS, 86_400.0), [], {}
    webhook = Webhook("room", Destination("https://example.org/"), [Secret(bytes(32))])
    tried = 0
    while (due_ns := outbox.next_attempt_ns("room")) is not None:
        now = max(now, due_ns)
        for delivery in outbox.due("room", now):
            tried += 1
            body = body_of(delivery)
            assert bodies.setdefault(delivery.message_id, body) == body
            headers = webhook.headers(delivery, body, now)
            assert (headers.get(LATE_HEADER) == "true") == (now - delivery.queued_ns > 300 * SECOND)
            back = now >= back_ns
            if back:
                got.append(delivery)
            outbox.settle(delivery, WON if back else AWAY, now)
    assert [d.message_id for d in got if d.alert_id == said[0].alert_id] == [a.message_id for a in said[:3]]
    assert len(got) == len(said)
    assert outbox.counts("room") == {"pending": 0, "sent": 12, "dead": 0}
    assert tried < 100, "a day away costs a handful of attempts each"
    # Once one came through, nothing waits for its own long turn.
    assert (now - back_ns) / SECOND < SCHEDULE_S[11] * 1.2
    with record_store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.attempt)).scalar_one() == tried


def test_what_was_altered_in_the_record_is_given_up_and_told_and_holds_up_nobody(record_store, outbox, caplog):
    (first, second, _), other = burst(), burst("b")[0]
    record_store.keep([first, second, other], ROOM, NIGHT_NS)
    altered = encode(first).replace(b"gunshot", b"gunshop")
    named = (tables.alert.c.alert_id == first.alert_id) & (tables.alert.c.revision == 1)
    with record_store.writing() as connection:
        connection.execute(sa.update(tables.alert).where(named).values(document=altered))
    due = {d.message_id: d.document for d in outbox.due("room", NIGHT_NS)}
    assert due == {second.message_id: encode(second), other.message_id: encode(other)}
    (letter,) = outbox.dead("room")
    assert (letter.message_id, letter.attempts) == (first.message_id, 0)
    (entry,) = Ledger(record_store).entries(kinds=["delivery-dead"])
    assert "was altered in the record" in json.loads(entry.body)["detail"]
    assert outbox.altered["room"] == 1
    assert f"{first.alert_id} revision 1 is not carried by room" in caplog.text


def test_a_clock_that_was_ahead_holds_nothing_back(record_store, outbox):
    """Two hours ahead at first, then set right; a retry waits no longer than the longest wait there is."""
    ahead_ns = after(NIGHT_NS, 7_200.0)
    far_ns = after(NIGHT_NS, 10 * 86_400.0)
    record_store.keep(burst("a")[:1], ROOM, ahead_ns)
    (due,) = outbox.due("room", ahead_ns)
    record_store.keep(burst("b")[:1], ROOM, ahead_ns)
    outbox.settle(due, LOST, far_ns)
    assert [d.alert_id for d in outbox.due("room", NIGHT_NS)] == [burst("b")[0].alert_id]
    assert [d.alert_id for d in outbox.due("room", after(NIGHT_NS, LONGEST_WAIT_S))] == [
        burst("b")[0].alert_id, burst("a")[0].alert_id,
    ]  # fmt: skip
    record_store.keep(burst("c")[:1], ROOM, ahead_ns)
    assert burst("c")[0].alert_id in {d.alert_id for d in Outbox(record_store).due("room", NIGHT_NS)}, "after a start"
