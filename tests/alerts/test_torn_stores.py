"""Copies of a live record, torn and flipped: each gives exactly what was stored, or says what is wrong with it."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from alerts.alert import encode
from alerts.delivery import Route
from alerts.record import tables
from alerts.record.heads import HeadsFile
from alerts.record.ledger import Ledger
from alerts.record.store import Store, StoreError
from tests.record_stores import burst
from tests.strategies import NIGHT_NS

ROUTES = [Route("room"), Route("file", ("published", "review"))]
NAMES = ("record.db", "record.db-wal", "record.db-shm")
PAGE = 4096


@dataclass
class Truth:
    """What was stored: documents in order, the ledger's digests, who carries what."""

    documents: list[bytes]
    digests: list[str]
    outbox: list[tuple]
    incidents: list[tuple]


def rows_of(store):
    box, incident = tables.outbox, tables.incident
    with store.reading() as connection:
        outbox = sa.select(box.c.alert_id, box.c.revision, box.c.courier, box.c.queued_ns, box.c.state)
        boxes = connection.execute(outbox.order_by(box.c.outbox_id)).all()
        incidents = connection.execute(sa.select(incident).order_by(incident.c.incident_id)).all()
    return [tuple(row) for row in boxes], [tuple(row) for row in incidents]


def truth_of(store):
    return Truth([encode(a) for a in store.alerts()], [e.digest for e in Ledger(store).entries()], *rows_of(store))


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """Copies of a record in use, taken at three moments: with everything in the log, with half, with nothing."""
    folder = tmp_path_factory.mktemp("live")
    copies = []
    with Store(folder / "record.db") as store:
        heads = HeadsFile(folder / "ledger.heads")
        for moment, checkpoint in enumerate(("", "wal_checkpoint(TRUNCATE)", "")):
            for k in range(4):
                llr = (6.0, 6.0, 0.0, -9.0)[k]
                store.keep(burst(f"m{moment}k{k}", 30.0 * k + 200.0 * moment, llr=llr), ROUTES, NIGHT_NS + moment)
            if checkpoint:
                with store._database.engine.connect() as connection:
                    connection.connection.driver_connection.execute(f"PRAGMA {checkpoint}").fetchall()
            heads.note(Ledger(store).head(), NIGHT_NS)
            copy = tmp_path_factory.mktemp(f"copy{moment}")
            for name in (*NAMES, "ledger.heads"):
                shutil.copyfile(folder / name, copy / name)
            copies.append((copy, truth_of(store)))
    return copies


def tear(folder, dice, others):
    """One harm, of those that disks, copies and people do; what it was."""
    there = [name for name in NAMES[:2] if (folder / name).stat().st_size]
    path = folder / dice.choice(there)
    size = path.stat().st_size
    harm = dice.choice(
        ("truncate", "flip", "flip", "flip many", "drop log", "drop index", "drop both", "zero", "stale", "swap")
    )
    content = bytearray(path.read_bytes())
    if harm == "truncate":
        del content[dice.randrange(size) :]
    elif harm in {"flip", "flip many"}:
        for _ in range(1 if harm == "flip" else dice.randrange(2, 30)):
            content[dice.randrange(size)] ^= 1 << dice.randrange(8)
    elif harm == "zero":
        page = dice.randrange(size // PAGE + 1) * PAGE
        content[page : page + PAGE] = bytes(len(content[page : page + PAGE]))
    elif harm == "stale":  # a page of another moment, as after a lost write
        other = (dice.choice(others) / path.name).read_bytes()
        page = dice.randrange(max(1, min(size, len(other)) // PAGE)) * PAGE
        content[page : page + PAGE] = other[page : page + PAGE]
    elif harm == "swap":  # the log of another moment
        shutil.copyfile(dice.choice(others) / "record.db-wal", folder / "record.db-wal")
    if harm in {"drop log", "drop both"}:
        (folder / "record.db-wal").unlink()
    if harm in {"drop index", "drop both"}:
        (folder / "record.db-shm").unlink(missing_ok=True)
    if not harm.startswith(("drop", "swap")):
        path.write_bytes(content)
    return harm, path.name


def judge(folder, truth, later=()):
    """``whole``, ``refused`` or ``named``; anything else is a silent wrong answer, and fails.

    What was stored at a later moment, the whole of it, is no wrong answer either: its log may have come along.
    """
    by_name = {}
    said = {document for each in (truth, *later) for document in each.documents}
    heads = HeadsFile(folder / "ledger.heads").read()
    try:
        with Store(folder / "record.db") as store:
            if Ledger(store).check_tail(heads) is None:  # what a centre does at its start
                for alert in store.alerts():
                    by_name[alert.alert_id, alert.revision] = store.document(alert.alert_id, alert.revision)
                assert set(by_name.values()) <= said, "a document that nobody said"
            verdict = Ledger(store).verify(heads)
            if verdict.fault is not None:
                assert verdict.fault.text
                return "named"
            now = truth_of(store)
    except StoreError as error:
        return "refused" if "; " in str(error) else f"without a remedy: {error}"
    assert now in (truth, *later), "a silent wrong answer"
    assert list(by_name.values()) == now.documents
    return "whole"


def torture(live, tmp_path, seeds):
    ends = Counter()
    for seed in seeds:
        dice = random.Random(seed)  # noqa: S311
        moment = dice.randrange(len(live))
        copy, truth = live[moment]
        folder = tmp_path / str(seed)
        shutil.copytree(copy, folder)
        harm = tear(folder, dice, [other for other, _ in live if other != copy])
        try:
            later = [each for _, each in live[moment + 1 :]] if harm[0] == "swap" else []
            ends[judge(folder, truth, later)] += 1
        except BaseException as error:
            error.add_note(f"seed {seed}: {harm}")
            raise
        shutil.rmtree(folder)
    print(dict(ends))
    return ends


def test_untouched_copies_are_whole(live, tmp_path):
    for number, (copy, truth) in enumerate(live):
        shutil.copytree(copy, tmp_path / str(number))
        assert judge(tmp_path / str(number), truth) == "whole"


@pytest.mark.parametrize("part", range(4))
def test_two_hundred_torn_copies_give_no_wrong_answer(live, tmp_path, part):
    ends = torture(live, tmp_path, range(50 * part, 50 * part + 50))
    assert ends.keys() <= {"whole", "refused", "named"}
    assert ends["refused"] + ends["named"] > 10
    assert ends["whole"] > 3  # harm to what is free, or to an index that is made anew


@pytest.mark.endurance
@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_torn_copies_give_no_wrong_answer(live, tmp_path, part):
    ends = torture(live, tmp_path, range(1_000 + 500 * part, 1_500 + 500 * part))
    assert ends.keys() <= {"whole", "refused", "named"}
    assert ends.total() == 500


def test_an_empty_file_beside_its_log_is_refused_and_the_log_stays(live, tmp_path):
    copy, _ = live[0]
    shutil.copytree(copy, tmp_path / "x")
    before = (tmp_path / "x" / "record.db-wal").read_bytes()
    for harm in (lambda path: path.write_bytes(b""), lambda path: path.unlink()):
        harm(tmp_path / "x" / "record.db")
        with pytest.raises(StoreError, match="restore it from a backup"):
            Store(tmp_path / "x" / "record.db")
        assert (tmp_path / "x" / "record.db-wal").read_bytes() == before


def test_a_lost_log_is_told_by_the_noted_heads_alone(live, tmp_path):
    """What it held is gone, and what is left is whole by itself."""
    copy, _ = live[2]
    shutil.copytree(copy, tmp_path / "x")
    for name in NAMES[1:]:
        (tmp_path / "x" / name).unlink()
    heads = HeadsFile(tmp_path / "x" / "ledger.heads").read()
    with Store(tmp_path / "x" / "record.db") as store:
        assert Ledger(store).verify().intact
        assert Ledger(store).check_tail(heads).what == "truncated"
        assert Ledger(store).verify(heads).fault.what == "truncated"
        assert truth_of(store) == live[1][1]
