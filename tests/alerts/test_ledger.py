"""The ledger: whatever is done to it behind its back, the first broken entry is named."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import SECOND
from alerts.alert import encode
from alerts.delivery import Route
from alerts.record import tables
from alerts.record.chain import Chain
from alerts.record.database import UnreachableError
from alerts.record.entry import START, digest_of
from alerts.record.heads import Head, HeadsFile
from alerts.record.ledger import KINDS, TAIL, Ledger
from alerts.record.looking import looking_at, read_entries
from alerts.record.retention import DAY_S, Keep, retire
from alerts.record.store import Store, StoreError
from shotfix import config_reading
from shotfix.commands_record import ledger as ledger_command
from shotfix.commands_record import record as record_command
from shotfix.commands_review import labels
from tests.record_stores import burst
from tests.strategies import NIGHT_NS

ROOM = [Route("room")]
COUNT = 18


def fill(store):
    """Alerts, what people said, what was let go: eighteen entries."""
    for k in range(3):
        store.keep(burst(f"n{k}", 30.0 * k), ROOM, NIGHT_NS + k)
    gone = burst("gone", 120.0, llr=-9.0)
    store.keep(gone, ROOM, NIGHT_NS + 4)
    ledger = Ledger(store)
    store.keep(burst("last", 180.0), ROOM, NIGHT_NS + 200 * 86_400 * SECOND)
    retire(store, NIGHT_NS + 200 * 86_400 * SECOND, Keep(most_age_s=90 * DAY_S))
    while ledger.head()[0] < COUNT:
        store.write(lambda c: ledger.append(c, "note", "kim", "i-1", '{"note":"blåfyr"}'.encode(), NIGHT_NS + 5))
    assert ledger.head()[0] == COUNT
    return ledger


def unguarded(store, *statements):
    """What somebody does who owns the database."""
    with store.writing() as connection:
        if store.path is not None:
            for name in ("ledger_stays_update", "ledger_stays_delete"):
                connection.exec_driver_sql(f"drop trigger if exists {name}")
        else:
            connection.exec_driver_sql("drop trigger if exists ledger_stays on ledger")
        for statement in statements:
            connection.execute(statement)


def test_an_entry_has_the_documented_bytes(record_store):
    """Recomputed from the page's words, with nothing of ours."""
    previous = "0" * 64
    fill(record_store)
    for number, entry in enumerate(Ledger(record_store).entries(), start=1):
        content = b"%s\n%d\n%d\n%s\n%s\n%s\n%s" % (
            previous.encode(), number, entry.at_ns, entry.kind.encode(), entry.actor.encode(), entry.about.encode(),
            entry.body,
        )  # fmt: skip
        assert (entry.sequence, entry.previous) == (number, previous)
        assert entry.digest == hashlib.sha256(content).hexdigest()
        previous = entry.digest
    assert Ledger(record_store).head() == (COUNT, previous)


def test_both_databases_have_the_same_digests(tmp_path, postgres_url):
    heads = set()
    for where in (tmp_path / "record.db", postgres_url):
        with Store(where) as store:
            store.keep(burst(), ROOM, NIGHT_NS)
            heads.add(Ledger(store).head())
    assert len(heads) == 1


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.text("abc\\\x1f|", max_size=3), st.binary(max_size=3)), max_size=4)
)
def test_no_two_entries_have_the_same_bytes(parts):
    seen = {digest_of(START, 1, NIGHT_NS, kind, actor, actor[::-1], body) for kind, actor, body in parts}
    assert len(seen) == len(set(parts))


def test_entries_are_found_by_incident_kind_and_place(record_store):
    ledger = fill(record_store)
    assert [e.sequence for e in ledger.entries(after=15)] == [16, 17, 18]
    assert [e.sequence for e in ledger.entries(limit=2)] == [1, 2]
    assert list(ledger.entries(limit=0)) == []
    about = next(ledger.entries()).about
    assert [e.sequence for e in ledger.entries(about=about)] == [1, 2, 3]
    assert {e.kind for e in ledger.entries(kinds=["note", "retired"])} == {"note", "retired"}
    assert list(ledger.entries(kinds=[])) == []


@pytest.mark.parametrize(
    ("kind", "actor", "about", "body", "words"),
    [
        ("gossip", "kim", "", b"{}", "expected one of"),
        ("note", "", "", b"{}", "has an actor"),
        ("note", "kim\nroot", "", b"{}", "on one line"),
        ("note", "kim", "i\n1", b"{}", "on one line"),
        ("note", "kim", "", b"{", "no JSON"),
        ("note", "kim", "", b'"' + b"x" * (1 << 20) + b'"', "at most"),
    ],
)
def test_what_can_be_no_entry_is_refused(tmp_path, kind, actor, about, body, words):
    with Store(tmp_path / "record.db") as store:
        with pytest.raises(ValueError, match=words):
            store.write(lambda c: Ledger.append(c, kind, actor, about, body, NIGHT_NS))
        assert Ledger(store).head() == (0, START)


# What is wrong


def wrong(store, heads=()):
    fault = Ledger(store).verify(heads).fault
    return fault and (fault.sequence, fault.what)


def test_an_untouched_ledger_is_intact(record_store):
    verdict = fill(record_store).verify()
    assert verdict.intact
    assert (verdict.entries, verdict.head) == (COUNT, Ledger(record_store).head())
    assert verdict.documents == 12
    assert verdict.retired >= 1


LEDGER = tables.ledger
AT_7 = LEDGER.c.sequence == 7


@pytest.mark.parametrize(
    "change", [{"actor": "nobody"}, {"at_ns": NIGHT_NS + 9}, {"kind": "note"}, {"about": "x"}, {"body": b"{}"},
               {"previous": "0" * 64}, {"digest": "1" * 64}], ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_an_altered_entry_is_named(record_store, change):
    fill(record_store)
    unguarded(record_store, sa.update(LEDGER).where(AT_7).values(**change))
    assert wrong(record_store) == (7, "altered")


def test_an_entry_altered_with_its_digest_computed_anew_cuts_the_chain(record_store):
    ledger = fill(record_store)
    (entry,) = ledger.entries(after=6, limit=1)
    forged = digest_of(entry.previous, 7, entry.at_ns, entry.kind, "nobody", entry.about, entry.body)
    unguarded(record_store, sa.update(LEDGER).where(AT_7).values(actor="nobody", digest=forged))
    assert wrong(record_store) == (8, "cut")


@pytest.mark.parametrize(("gone", "first"), [([1], 1), ([7], 7), ([7, 8, 9], 7)])
def test_a_missing_entry_is_named(record_store, gone, first):
    fill(record_store)
    unguarded(record_store, sa.delete(LEDGER).where(LEDGER.c.sequence.in_(gone)))
    assert wrong(record_store) == (first, "missing")


def test_two_entries_that_changed_places_are_noticed(record_store):
    fill(record_store)
    moves = [(6, 99), (7, 6), (99, 7)]
    unguarded(record_store, *(sa.update(LEDGER).where(LEDGER.c.sequence == a).values(sequence=b) for a, b in moves))
    assert wrong(record_store) == (6, "altered")


def test_an_end_that_is_cut_off_is_noticed_by_the_noted_heads_alone(record_store):
    ledger = fill(record_store)
    heads = [Head(*ledger.head(), NIGHT_NS)]
    assert ledger.verify(heads).heads == 1
    unguarded(record_store, sa.delete(LEDGER).where(LEDGER.c.sequence > 16))  # notes: no document is missed
    assert wrong(record_store) is None
    assert wrong(record_store, heads) == (17, "truncated")


def test_a_ledger_written_anew_from_some_entry_on_is_noticed_by_the_noted_heads(record_store):
    ledger = fill(record_store)
    heads = [Head(*ledger.head(), NIGHT_NS)]
    last = list(ledger.entries())[-1]
    forged = digest_of(last.previous, COUNT, last.at_ns, last.kind, "nobody", last.about, last.body)
    unguarded(record_store, sa.update(LEDGER).where(LEDGER.c.sequence == COUNT).values(actor="nobody", digest=forged))
    assert wrong(record_store) is None
    assert wrong(record_store, heads) == (COUNT, "rewritten")


ALERT, BOX = tables.alert, tables.outbox


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda name: sa.update(ALERT).where(ALERT.c.number == 4).values(document=b"{}"), (4, "document-altered")),
        (lambda name: sa.update(ALERT).where(ALERT.c.number == 3).values(document=b"["), (3, "document-altered")),
        (lambda name: sa.update(ALERT).where(ALERT.c.number == 4).values(sha256="0" * 64), (4, "row-altered")),
        (lambda name: sa.update(ALERT).where(ALERT.c.number == 4).values(outcome="review"), (4, "row-altered")),
        (lambda name: sa.update(ALERT).where(ALERT.c.number == 4).values(stored_ns=1), (4, "row-altered")),
        (lambda name: sa.update(ALERT).where(ALERT.c.number == 4).values(number=99), (4, "document-missing")),
        (lambda name: sa.update(tables.incident).values(outcome="other"), (0, "row-altered")),
        (lambda name: sa.update(tables.incident).values(published=False), (0, "row-altered")),
        (lambda name: sa.update(tables.incident).values(revision=1), (0, "row-altered")),
        (lambda name: sa.delete(tables.incident), (0, "row-altered")),
        (lambda name: sa.update(BOX).where(BOX.c.outbox_id == 4).values(courier="soom"), (4, "row-altered")),
        (lambda name: sa.update(BOX).where(BOX.c.outbox_id == 4).values(queued_ns=1), (4, "row-altered")),
        (lambda name: sa.delete(BOX).where(BOX.c.outbox_id == 4), (4, "row-altered")),
    ],
)
def test_a_document_or_row_that_is_not_what_was_said_is_named(record_store, change, fault):
    fill(record_store)
    unguarded(record_store, change(None))
    assert wrong(record_store) == fault


def drop_document(store, alert_id):
    box = tables.outbox
    unguarded(
        store, sa.delete(box).where(box.c.alert_id == alert_id), sa.delete(ALERT).where(ALERT.c.alert_id == alert_id)
    )


def test_a_document_that_is_gone_without_a_word_is_named(record_store):
    ledger = fill(record_store)
    alert_id = json.loads(next(ledger.entries(after=3)).body)["alert_id"]
    drop_document(record_store, alert_id)
    assert wrong(record_store) == (4, "document-missing")


def test_a_document_that_nobody_said_is_named(record_store):
    fill(record_store)
    with record_store.reading() as connection:
        row = connection.execute(sa.select(ALERT).where(ALERT.c.number == 4)).one()._asdict()
    for number in (99, 100_000):
        forged = row | {"alert_id": f"forged{number}", "number": number}
        unguarded(record_store, sa.insert(ALERT).values(**forged))
    assert wrong(record_store) == (0, "document-unknown")


def test_the_earliest_of_several_faults_is_named(record_store):
    fill(record_store)
    unguarded(
        record_store,
        sa.update(ALERT).where(ALERT.c.number == 4).values(document=b"{}"),
        sa.update(LEDGER).where(LEDGER.c.sequence == 9).values(actor="x"),
        sa.update(ALERT).where(ALERT.c.number == 6).values(document=b"{}"),
    )
    assert wrong(record_store) == (4, "document-altered")


def test_it_may_be_written_to_while_it_is_verified(record_store):
    """Every page of the walk finds more entries behind it."""
    ledger, opened = fill(record_store), []

    def reading():
        opened.append(1)
        if len(opened) < 4:
            record_store.keep([a for k in range(30) for a in burst(f"w{len(opened)}-{k}", 9.0)], ROOM, NIGHT_NS)
        return record_store.reading()

    from alerts.record.audit import audit  # noqa: PLC0415

    verdict = audit(reading)
    assert verdict.intact
    assert verdict.head == ledger.head()


def test_entries_out_of_order_are_noticed_in_an_export(record_store):
    entries = list(fill(record_store).entries())
    chain = Chain()
    assert [chain.follow(entry) for entry in entries[:3]] == [None] * 3
    assert chain.follow(entries[1]).what == "out-of-order"


# The quick look at every start


def test_the_tail_is_looked_at_at_every_start(record_store):
    ledger = fill(record_store)
    for _ in range(TAIL):
        record_store.write(lambda c: ledger.append(c, "note", "kim", "", b"{}", NIGHT_NS))
    heads = [Head(*ledger.head(), NIGHT_NS)]
    early = list(ledger.entries())[4]
    assert ledger.check_tail() is None
    assert ledger.check_tail(heads) is None
    assert ledger.check_tail([Head(5, early.digest, NIGHT_NS)]) is None
    assert ledger.check_tail([Head(5, "0" * 64, NIGHT_NS)]).what == "rewritten"
    last = COUNT + TAIL
    unguarded(record_store, sa.delete(LEDGER).where(LEDGER.c.sequence == last))
    assert ledger.check_tail() is None
    assert (ledger.check_tail(heads).sequence, ledger.check_tail(heads).what) == (last, "truncated")
    unguarded(record_store, sa.update(LEDGER).where(LEDGER.c.sequence == last - 9).values(actor="x"))
    assert ledger.check_tail().sequence == last - 9


def test_an_empty_ledger_has_a_sound_tail(record_store):
    assert Ledger(record_store).check_tail() is None
    assert Ledger(record_store).check_tail([Head(3, "0" * 64, NIGHT_NS)]).what == "truncated"


# Heads


def test_heads_are_noted_once_each_and_survive_a_line_cut_short(tmp_path):
    path = tmp_path / "ledger.heads"
    heads = HeadsFile(path)
    assert heads.note((0, START), NIGHT_NS) is False
    assert heads.note((3, "a" * 64), NIGHT_NS) is True
    assert heads.note((3, "a" * 64), NIGHT_NS) is False
    with path.open("ab") as file:
        file.write(b'{"sequence":4,"dig')
    again = HeadsFile(path)
    assert again.note((5, "b" * 64), NIGHT_NS + 1) is True
    assert [(head.sequence, head.digest[0]) for head in HeadsFile(path).read()] == [(3, "a"), (5, "b")]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_head_whose_number_was_made_huge_is_passed_over_and_the_last_is_not(tmp_path):
    file = HeadsFile(tmp_path / "ledger.heads")
    for k in (1, 12, 13):
        file.note((k, f"{k:064x}"), NIGHT_NS)
    file.path.write_bytes(file.path.read_bytes().replace(b'"sequence":12', b'"sequence":82'))
    harmed = HeadsFile(file.path)
    assert [head.sequence for head in harmed.read()] == [1, 13]
    assert harmed.note((14, "e" * 64), NIGHT_NS)
    file.path.write_bytes(file.path.read_bytes().replace(b'"sequence":14', b'"sequence":94'))
    last = HeadsFile(file.path)
    assert [head.sequence for head in last.read()] == [1, 13, 94], "it may be true, and the record an older backup"
    assert not last.note((15, "f" * 64), NIGHT_NS)


def test_heads_that_cannot_be_written_say_so(tmp_path):
    with pytest.raises(StoreError, match="check the path"):
        HeadsFile(tmp_path)
    with pytest.raises(StoreError, match="make room"):
        HeadsFile(tmp_path / "no" / "ledger.heads").note((1, "a" * 64), NIGHT_NS)


# The commands, and the page


def ask(command, *words):
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture
def resting(tmp_path):
    """A record that nobody has open."""
    folder = tmp_path / "data"
    folder.mkdir()
    with Store(folder / "record.db") as store:
        ledger = fill(store)
        HeadsFile(folder / "ledger.heads").note(ledger.head(), NIGHT_NS)
    return folder / "record.db"


def files_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_verify_tells_and_changes_not_a_byte(resting):
    before = files_of(resting.parent)
    done = ask(ledger_command, "verify", "--record", resting)
    assert (done.exit_code, done.stdout.splitlines()[-2:]) == (0, ["1 noted heads compared", "intact"])
    assert files_of(resting.parent) == before
    told = json.loads(ask(ledger_command, "verify", "--record", resting, "--json").stdout)
    assert (told["intact"], told["entries"], told["fault"]) == (True, COUNT, None)


def test_verify_reads_a_folder_that_cannot_be_written(resting):
    resting.parent.chmod(0o500)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from shotfix.commands_record import ledger; ledger()", "verify", "--record",
             resting], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["intact"]), done.stderr
    finally:
        resting.parent.chmod(0o700)


def test_verify_of_a_copy_with_its_log_sees_what_is_in_the_log_and_changes_nothing(tmp_path):
    live, copy = tmp_path / "live", tmp_path / "copy"
    live.mkdir(), copy.mkdir()
    with Store(live / "record.db") as store:
        fill(store)
        for name in ("record.db", "record.db-wal"):
            shutil.copy(live / name, copy / name)
        before = files_of(copy)
        told = json.loads(ask(ledger_command, "verify", "--record", copy / "record.db", "--json").stdout)
        assert (told["intact"], told["entries"]) == (True, COUNT)
        assert files_of(copy) == before
        shutil.copy(live / "record.db-shm", copy / "record.db-shm")
        told = json.loads(ask(ledger_command, "verify", "--record", copy / "record.db", "--json").stdout)
        assert (told["intact"], told["entries"]) == (True, COUNT)
        after = files_of(copy)
        assert {name: after[name] for name in before} == before


def test_verify_names_the_first_broken_entry_and_ends_with_one(resting):
    with Store(resting) as store:
        unguarded(store, sa.update(LEDGER).where(AT_7).values(actor="nobody"))
    done = ask(ledger_command, "verify", "--record", resting)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        1,
        "BROKEN, altered: entry 7 was altered: its digest is of something else",
    )


def test_verify_compares_with_heads_kept_elsewhere(resting, tmp_path):
    elsewhere = tmp_path / "heads-of-monday"
    shutil.move(resting.with_name("ledger.heads"), elsewhere)
    with Store(resting) as store:
        unguarded(store, sa.delete(LEDGER).where(LEDGER.c.sequence > 16))
    assert ask(ledger_command, "verify", "--record", resting).exit_code == 0
    done = ask(ledger_command, "verify", "--record", resting, "--heads", elsewhere)
    assert done.exit_code == 1
    assert "entries 17 to 18 are gone from the end" in done.stdout


def test_an_export_verifies_and_a_change_in_it_is_named(resting, tmp_path):
    out = tmp_path / "ledger.jsonl"
    assert ask(ledger_command, "export", "--record", resting, "--out", out).exit_code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    again = ask(ledger_command, "export", "--record", resting, "--out", out)
    assert isinstance(again.exception, StoreError)
    assert "exists; move it away" in str(again.exception)
    assert ask(ledger_command, "verify", "--file", out).exit_code == 0
    with Store(resting) as store:
        assert list(read_entries(out)) == list(Ledger(store).entries())
    assert ask(ledger_command, "export", "--record", resting).stdout_bytes == out.read_bytes()
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    out.write_text("".join([*lines[:4], lines[4].replace("published", "suppressed"), *lines[5:]]), encoding="utf-8")
    assert "entry 5 was altered" in ask(ledger_command, "verify", "--file", out).stdout
    out.write_text("".join(lines[:4] + lines[5:]), encoding="utf-8")
    assert "entry 5 is missing" in ask(ledger_command, "verify", "--file", out).stdout
    out.write_text("nonsense\n", encoding="utf-8")
    assert isinstance(ask(ledger_command, "verify", "--file", out).exception, StoreError)


def test_what_is_no_record_is_told(resting, tmp_path):
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as db:
        db.execute("create table theirs (x)")
    for where in (tmp_path / "nothing.db", tmp_path / "theirs.db", resting.with_name("ledger.heads")):
        assert isinstance(ask(ledger_command, "verify", "--record", where).exception, StoreError)
    assert not (tmp_path / "nothing.db").exists()
    assert ask(ledger_command, "verify").exit_code == 2
    nobody = "postgresql://kim:secret@127.0.0.1:1/record"
    done = ask(ledger_command, "verify", "--record", nobody, "--no-heads")
    assert isinstance(done.exception, UnreachableError)
    assert "secret" not in str(done.exception)


def test_a_server_s_record_verifies_from_outside(postgres_url, tmp_path):
    with Store(postgres_url) as store:
        fill(store)
        head = Ledger(store).head()
    # Beside a server there are no heads: what was cut off at the end must not be called whole in passing.
    done = ask(ledger_command, "verify", "--record", postgres_url)
    assert done.exit_code == 2
    assert "--no-heads" in done.output
    told = json.loads(ask(ledger_command, "verify", "--record", postgres_url, "--no-heads", "--json").stdout)
    assert (told["intact"], told["entries"], told["heads"]) == (True, COUNT, 0)
    HeadsFile(tmp_path / "heads").note((head[0] + 1, head[1]), NIGHT_NS)
    done = ask(ledger_command, "verify", "--record", postgres_url, "--heads", tmp_path / "heads")
    assert done.exit_code == 1
    assert "from the end" in done.stdout


def test_a_centre_s_own_configuration_says_where_record_and_heads_are(postgres_url, resting, tmp_path, monkeypatch):
    with Store(postgres_url) as store:
        fill(store)
    data = resting.parent
    config = SimpleNamespace(record_at=postgres_url, site=SimpleNamespace(data_dir=data))
    monkeypatch.setattr(config_reading, "read_site", lambda _: config)
    told = json.loads(ask(ledger_command, "verify", "--config", tmp_path / "site.toml", "--json").stdout)
    assert (told["entries"], told["heads"]) == (COUNT, 1)
    config.record_at = resting
    assert ask(ledger_command, "verify", "--config", tmp_path / "site.toml").exit_code == 0
    assert ask(ledger_command, "verify", "--config", tmp_path / "site.toml", "--record", resting).exit_code == 2
    both = ("--heads", resting.with_name("ledger.heads"), "--no-heads")
    assert ask(ledger_command, "verify", "--record", resting, *both).exit_code == 2


def test_every_command_finds_a_server_s_record_by_the_centre_s_configuration(
    postgres_url, resting, tmp_path, monkeypatch
):
    with Store(postgres_url) as store:
        fill(store)
    config = SimpleNamespace(record_at=postgres_url, site=SimpleNamespace(data_dir=resting.parent))
    monkeypatch.setattr(config_reading, "read_site", lambda _: config)
    centre = ("--config", tmp_path / "site.toml")
    dump = tmp_path / "copy.pgdump"
    for group, *words in (
        (ledger_command, "verify"),
        (ledger_command, "export"),
        (record_command, "check"),
        (record_command, "backup", "--out", dump),
        (labels, "account"),
        (labels, "agreement"),
        (labels, "export", "--out", tmp_path / "labels", "--by", "kim"),
        (record_command, "restore", dump, "--replace"),
    ):
        assert ask(group, *words, *centre, "--record", postgres_url).exit_code == 2
        done = ask(group, *words, *centre)
        assert done.exit_code == 0, (words, done.output, done.exception)


def test_a_file_is_put_back_where_none_is(resting, tmp_path):
    copy, target = tmp_path / "copy.db", tmp_path / "record.db"
    assert ask(record_command, "backup", "--record", resting, "--out", copy).exit_code == 0
    heads = ("--heads", resting.with_name("ledger.heads"))
    log = tmp_path / "record.db-wal"
    log.write_bytes(b"of another file")
    done = ask(record_command, "restore", copy, "--record", target, *heads)
    assert "is another file's log; move it away first" in str(done.exception)
    log.unlink()
    done = ask(record_command, "restore", copy, "--record", target, *heads)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "intact"), done.exception
    assert "exists; move it away" in str(ask(record_command, "restore", copy, "--record", target, *heads).exception)
    assert ask(record_command, "restore", copy, "--record", target, *heads, "--replace").exit_code == 2
    done = ask(record_command, "restore", tmp_path / "none", "--record", tmp_path / "x.db", *heads)
    assert "no such file; name the copy to put back" in str(done.exception)


def test_every_command_takes_the_record_s_name_the_same_way(resting, monkeypatch):
    for group, name in ((ledger_command, "verify"), (record_command, "check"), (labels, "account")):
        assert ask(group, name).exit_code == 2
        done = ask(group, name, "--record", "env:NO_SUCH_VARIABLE_HERE")
        assert (done.exit_code, "NO_SUCH_VARIABLE_HERE: not set" in done.output) == (2, True)
        monkeypatch.setenv("OURS", str(resting))
        assert ask(group, name, "--record", "env:OURS").exit_code == 0
        monkeypatch.setenv("SHOTFIX_RECORD", str(resting))
        assert ask(group, name).exit_code == 0
        monkeypatch.delenv("SHOTFIX_RECORD")


def test_heads_and_exports_that_hold_nothing_are_errors(resting, tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    done = ask(ledger_command, "verify", "--record", resting, "--heads", empty)
    assert "there are no heads in it" in str(done.exception)
    done = ask(ledger_command, "verify", "--file", empty)
    assert "there are no entries in it" in str(done.exception)


def test_a_record_is_copied_and_checked(record_where, tmp_path):
    with Store(record_where) as store:
        fill(store)
        out = tmp_path / "copy"
        done = ask(record_command, "backup", "--record", record_where, "--out", out)
        if isinstance(record_where, str) and shutil.which("pg_dump") is None:
            assert "pg_dump is not installed" in str(done.exception)
        else:
            assert done.exit_code == 0, done.exception
            assert out.stat().st_mode & 0o777 == 0o600
            assert "exists" in str(ask(record_command, "backup", "--record", record_where, "--out", out).exception)
        assert json.loads(ask(record_command, "check", "--record", record_where, "--json").stdout)["ok"]
        unguarded(store)
    done = ask(record_command, "check", "--record", record_where)
    assert done.exit_code == 1
    assert "was taken away" in done.stdout


def test_a_copy_is_a_record(tmp_path):
    with Store(tmp_path / "record.db") as store:
        ledger = fill(store)
        ask(record_command, "backup", "--record", tmp_path / "record.db", "--out", tmp_path / "copy.db")
        with looking_at(tmp_path / "copy.db") as copy, copy.reading() as connection:
            kept = connection.execute(sa.select(ALERT.c.document).order_by(ALERT.c.number)).scalars().all()
        assert kept == [encode(alert) for alert in store.alerts()]
        assert ledger.verify().intact


def test_the_page_s_own_program_agrees(resting, root):
    """The expert's lines, run as they stand on the page, in the record's folder."""
    page = (root / "docs" / "ledger.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    assert set(re.findall(r"^import (.*)$", snippet, re.MULTILINE)) == {"hashlib, json, sqlite3"}

    def run():
        return subprocess.run(
            [sys.executable, "-c", snippet], cwd=resting.parent, capture_output=True, text=True, check=False
        )

    with Store(resting) as store:
        number, digest = Ledger(store).head()
    assert run().stdout.strip() == f"{number} entries, intact, ending in {digest}"
    with Store(resting) as store:
        unguarded(store, sa.update(LEDGER).where(AT_7).values(actor="nobody"))
    assert run().stderr.strip() == "broken at entry 7"
