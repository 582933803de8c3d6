"""The record and the outbox: nothing half-kept, nothing lost, nothing out of order."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, after
from alerts.alert import encode
from alerts.delivery import SCHEDULE_S, Receipt, Route
from alerts.desk import Desk
from alerts.record.outbox import Outbox
from alerts.record.store import Store, StoreError
from shotfix.outbox_pump import Pump
from tests.strategies import NIGHT_NS, fix_at

ROOM = [Route("room")]
WON = Receipt(delivered=True, detail="answered 204", status_code=204)
LOST = Receipt(delivered=False, detail="answered 500", status_code=500)
GONE = Receipt(delivered=False, detail="no answer", unanswered=True)


def three_revisions(name="a"):
    """The alert of a burst: new, more-rounds, closed."""
    desk = Desk()
    first = desk.receive(fix_at(name))
    desk.receive(fix_at(f"{name}2", 0.5))
    return [*first, *desk.tick(after(NIGHT_NS, 600.0))]


class Clock:
    """A wall clock that only moves when somebody sleeps."""

    def __init__(self):
        self.ns = NIGHT_NS

    def now_ns(self):
        return self.ns

    def sleep(self, seconds):
        self.ns = after(self.ns, seconds)


class Scripted:
    """A courier whose receiver answers as the script says, then well; it remembers what it accepted."""

    name = "room"

    def __init__(self, *script):
        self.script = list(script)
        self.tried = []
        self.accepted = []

    def deliver(self, delivery, now_ns):
        self.tried.append((delivery.message_id, now_ns))
        receipt = self.script.pop(0) if self.script else WON
        if isinstance(receipt, Exception):
            raise receipt
        if receipt.delivered:
            self.accepted.append(delivery.message_id)
        return receipt


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.sqlite") as opened:
        yield opened


@pytest.fixture
def outbox(store):
    return Outbox(store)


def pump_of(outbox, courier, clock):
    return Pump(outbox, courier, clock.now_ns, clock.sleep)


# The store


def test_what_is_kept_comes_back_byte_for_byte(store):
    said = three_revisions()
    assert store.keep(said, ROOM, NIGHT_NS) == 3
    assert [store.document(a.alert_id, a.revision) for a in said] == [encode(a) for a in said]
    assert list(store.alerts()) == said
    assert store.counts() == {"published": 3}
    assert store.document("nobody", 1) is None


def test_keeping_again_changes_nothing_and_queues_nothing(store, outbox):
    said = three_revisions()
    store.keep(said, ROOM, NIGHT_NS)
    assert store.keep(said, [Route("room"), Route("other")], NIGHT_NS + SECOND) == 0
    assert outbox.counts("room") == {"pending": 3, "sent": 0, "dead": 0}
    assert outbox.counts("other")["pending"] == 0


def test_another_alert_of_the_same_name_is_refused_and_nothing_of_its_batch_is_kept(store, outbox):
    first, *rest = three_revisions()
    store.keep([first], ROOM, NIGHT_NS)
    forged = dataclasses.replace(first, detected_at="2026-11-21T00:00:00.000000Z")
    with pytest.raises(StoreError, match="says something else"):
        store.keep([*rest, forged], ROOM, NIGHT_NS)
    assert list(store.alerts()) == [first]
    assert outbox.counts("room")["pending"] == 1


def test_an_alert_and_its_outbox_row_are_kept_together_or_not_at_all(store, outbox):
    """The outbox insert is made to fail: the alert's row must go with it."""
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("create trigger no before insert on outbox begin select raise(abort, 'no'); end")
    with pytest.raises(StoreError, match="no"):
        store.keep(three_revisions(), ROOM, NIGHT_NS)
    assert list(store.alerts()) == []
    assert outbox.counts("room")["pending"] == 0


def test_review_and_suppressed_are_stored_and_not_sent(store, outbox):
    desk = Desk()
    said = [
        *desk.receive(fix_at("a", llr=0.0)),
        *desk.receive(fix_at("b", 60.0, llr=-9.0)),
        *desk.tick(after(NIGHT_NS, 600.0)),
    ]
    store.keep(said, ROOM, NIGHT_NS)
    assert store.counts() == {"review": 2, "suppressed": 1}
    assert outbox.counts("room")["pending"] == 0


def test_the_file_is_in_write_ahead_mode_with_full_synchronisation(store):
    assert list(store.alerts()) == []
    with store.writing() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert values == ["wal", 2, 1]


def test_an_altered_document_is_noticed(store):
    (first, *_) = three_revisions()
    store.keep([first], ROOM, NIGHT_NS)
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("update alert set document = replace(document, 'gunshot', 'gunshop')")
        connection.commit()
    with pytest.raises(StoreError, match="altered"):
        store.document(first.alert_id, 1)


def test_a_record_opens_again(tmp_path):
    path = tmp_path / "record.sqlite"
    said = three_revisions()
    with Store(path) as store:
        store.keep(said, ROOM, NIGHT_NS)
    with Store(path) as store:
        assert list(store.alerts()) == said


@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_record_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"name another record|restore it"):
        Store(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "x.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table theirs (x)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.sqlite"]


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("update meta set value = '2' where key = 'schema'", "update shotfix"),
        ("update meta set value = '0' where key = 'schema'", "incomplete"),
        ("drop table attempt", "incomplete"),
        ("delete from meta", "another program"),
    ],
)
def test_a_newer_or_incomplete_record_is_refused_with_the_remedy(tmp_path, change, remedy):
    path = tmp_path / "x.sqlite"
    Store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(StoreError, match=remedy):
        Store(path)


def test_no_folder_no_permission_and_a_damaged_page_have_their_words(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        Store(tmp_path / "nowhere" / "x.sqlite")
    with pytest.raises(StoreError, match="check the path"):
        Store(tmp_path)
    path = tmp_path / "x.sqlite"
    with Store(path) as store:
        for k in range(20):
            store.keep(three_revisions(f"n{k}"), ROOM, NIGHT_NS)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\x55" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="restore it from a backup"), Store(path) as store:
        list(store.alerts())


# The outbox


def test_revisions_go_out_in_order_and_wait_for_each_other(store, outbox):
    said = three_revisions()
    store.keep(said, ROOM, NIGHT_NS)
    (first,) = outbox.due("room", NIGHT_NS)
    assert (first.revision, first.document, first.kind) == (1, encode(said[0]), "new")
    outbox.settle(first, LOST, NIGHT_NS)
    assert outbox.due("room", NIGHT_NS) == []
    (again,) = outbox.due("room", NIGHT_NS + 2 * SECOND)
    assert (again.revision, again.attempts) == (1, 1)
    outbox.settle(again, WON, NIGHT_NS + 2 * SECOND)
    (second,) = outbox.due("room", NIGHT_NS + 2 * SECOND)
    assert second.revision == 2


def test_alerts_and_couriers_do_not_wait_for_each_other(store, outbox):
    store.keep(three_revisions("a") + three_revisions("b"), [Route("room"), Route("other")], NIGHT_NS)
    due = outbox.due("room", NIGHT_NS)
    assert [delivery.revision for delivery in due] == [1, 1]
    outbox.settle(due[0], LOST, NIGHT_NS)
    assert len(outbox.due("room", NIGHT_NS)) == 1
    assert len(outbox.due("other", NIGHT_NS)) == 2


def test_what_is_given_up_lets_the_next_pass_and_can_be_revived(store, outbox):
    said = three_revisions()
    store.keep(said, ROOM, NIGHT_NS)
    clock, courier = Clock(), Scripted(*[LOST] * len(SCHEDULE_S))
    assert pump_of(outbox, courier, clock).drain(within_s=1e6) == 0
    assert outbox.counts("room") == {"pending": 0, "sent": 2, "dead": 1}
    assert courier.accepted == [said[1].message_id, said[2].message_id]
    waited = [
        (b - a) / SECOND for (_, a), (_, b) in zip(courier.tried, courier.tried[1 : len(SCHEDULE_S)], strict=False)
    ]
    for seconds, step in zip(waited, SCHEDULE_S[1:], strict=True):
        assert step <= seconds <= 1.2 * step + 0.01
    assert outbox.revive("room", clock.now_ns()) == 1
    assert pump_of(outbox, courier, clock).drain(within_s=10) == 0
    assert outbox.counts("room") == {"pending": 0, "sent": 3, "dead": 0}


def test_once_somebody_answers_all_that_found_nobody_is_due(store, outbox):
    for name in ("a", "b"):
        store.keep(three_revisions(name)[:1], ROOM, NIGHT_NS)
    one, other = outbox.due("room", NIGHT_NS)
    for k in range(8):
        outbox.settle(dataclasses.replace(other, attempts=k), GONE, NIGHT_NS)
    assert [d.alert_id for d in outbox.due("room", NIGHT_NS + 60 * SECOND)] == [one.alert_id]
    outbox.settle(one, WON, NIGHT_NS + 60 * SECOND)
    assert [d.alert_id for d in outbox.due("room", NIGHT_NS + 60 * SECOND)] == [other.alert_id]


def test_what_the_receiver_refuses_keeps_its_own_time(store, outbox):
    for name in ("a", "b"):
        store.keep(three_revisions(name)[:1], ROOM, NIGHT_NS)
    one, other = outbox.due("room", NIGHT_NS)
    for _ in range(8):
        outbox.settle(other, LOST, NIGHT_NS)
    outbox.settle(one, WON, NIGHT_NS)
    assert outbox.due("room", NIGHT_NS + SECOND) == []


def test_a_receipt_that_comes_twice_is_logged_and_changes_nothing(store, outbox):
    store.keep(three_revisions()[:1], ROOM, NIGHT_NS)
    (delivery,) = outbox.due("room", NIGHT_NS)
    outbox.settle(delivery, WON, NIGHT_NS)
    outbox.settle(delivery, LOST, NIGHT_NS)
    assert outbox.counts("room") == {"pending": 0, "sent": 1, "dead": 0}
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("select number, delivered from attempt").fetchall() == [(1, 1), (2, 0)]


@given(st.lists(st.sampled_from([WON, LOST, GONE, ValueError("boom")]), max_size=20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_receiver_does_everything_arrives_in_order(tmp_path_factory, script):
    with Store(tmp_path_factory.mktemp("r") / "record.sqlite") as store:
        said = three_revisions("a") + three_revisions("b")
        store.keep(said, ROOM, NIGHT_NS)
        outbox, courier, clock = Outbox(store), Scripted(*script), Clock()
        for _ in range(3):
            pump_of(outbox, courier, clock).drain(within_s=1e6)
        counts = outbox.counts("room")
        assert counts["pending"] == 0
        if not counts["dead"]:
            assert sorted(courier.accepted) == sorted(alert.message_id for alert in said)
            for name in {alert.alert_id for alert in said}:
                mine = [m for m in courier.accepted if m.startswith(name)]
                assert mine == sorted(mine)


def test_the_pump_runs_until_it_is_stopped_and_takes_what_comes(store, outbox):
    courier, stop = Scripted(), threading.Event()
    pump = Pump(outbox, courier, Clock().now_ns, stop.wait)
    thread = threading.Thread(target=pump.run, args=(stop.is_set,))
    thread.start()
    store.keep(three_revisions(), ROOM, NIGHT_NS)
    for _ in range(500):
        if len(courier.accepted) == 3:
            break
        stop.wait(0.02)
    stop.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert len(courier.accepted) == 3


def test_a_courier_that_breaks_its_promise_stops_nothing_and_tells_no_secret(store, outbox, caplog):
    store.keep(three_revisions(), ROOM, NIGHT_NS)
    courier, clock = Scripted(RuntimeError("whsec_hidden")), Clock()
    assert pump_of(outbox, courier, clock).drain(within_s=60) == 0
    assert outbox.counts("room")["sent"] == 3
    assert "RuntimeError" in caplog.text
    assert "hidden" not in caplog.text


KILLED = """
import os, sys
from pathlib import Path
from alerts.alert import decode
from alerts.delivery import Route
from alerts.record.store import Store
path, count = sys.argv[1], 0
store = Store(path)
alerts = [decode(line) for line in Path(sys.argv[2]).read_bytes().splitlines()]
for alert in alerts:
    store.keep([alert], [Route("room")], 1_795_227_249_000_000_000)
    print(alert.message_id, flush=True)
"""


@pytest.mark.endurance
def test_a_thousand_kills(tmp_path, root):
    for kill in range(1_000):
        folder = tmp_path / str(kill % 10) / str(kill)
        folder.mkdir(parents=True)
        check_kill(folder, root, lines=kill % 60)


@pytest.mark.parametrize("lines", [1, 7, 20])
def test_what_was_committed_before_a_kill_is_there_with_its_outbox_row(tmp_path, root, lines):
    check_kill(tmp_path, root, lines)


def check_kill(tmp_path, root, lines):
    """Kill a writer after it has said so many times that an alert is kept; everything it said is kept."""
    said = [alert for k in range(40) for alert in three_revisions(f"k{k}")]
    (tmp_path / "alerts.jsonl").write_bytes(b"\n".join(encode(alert) for alert in said))
    path = tmp_path / "record.sqlite"
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "alerts.jsonl")]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as child:
        acknowledged = [child.stdout.readline().strip() for _ in range(lines)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += child.stdout.read().split()
    with Store(path) as store:
        kept = list(store.alerts())
        assert kept == said[: len(kept)]
        assert len(kept) >= len([name for name in acknowledged if name])
        assert Outbox(store).counts("room")["pending"] == len(kept)
