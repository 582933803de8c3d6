"""The books of a centre that was killed: what was answered against its record, its ledger, its journal, its receiver."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import msgspec
import sqlalchemy as sa

from alerts.alert import encode, substance
from alerts.record import tables
from alerts.record.incidents import MACHINE
from alerts.record.ledger import Ledger
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from alerts.review.reviews import Reviews
from shotfix.journal_replay import ALERTS, replay_journal
from tests.kill_telling import ROOM


def audit(where, data, log, answered):
    """The books against the record, its ledger, the journal, and what the receiver has."""
    with Store(where) as store:
        stored = list(store.alerts())
        counts, ledger = Outbox(store).counts(ROOM), Ledger(store)
        intact, pending = ledger.verify().intact, Reviews(store).pending()
        entries = [(entry.actor, msgspec.json.decode(entry.body)) for entry in ledger.entries(kinds=["act"])]
        with store.reading() as connection:
            acts = dict(connection.execute(sa.select(tables.act.c.act_id, tables.act.c.alert_id)).all())
    written = Counter(body["act"]["act_id"] for _, body in entries if "act" in body)
    aside = Counter(body["passed_over"] for who, body in entries if "passed_over" in body and who == MACHINE)
    by_alert = {}
    for alert in stored:
        by_alert.setdefault(alert.alert_id, []).append(alert)
    named = {(alert.alert_id, act_id) for alert in stored for act_id in acts_of(alert)}
    lasting = {alert_id: set(acts_of(said[-1])) for alert_id, said in by_alert.items()}
    pairs = [pair for said in by_alert.values() for pair in itertools.pairwise(said)]
    (data / "again").mkdir()
    replay_journal(data, data / "again")
    replayed = (data / "again" / ALERTS).read_bytes().splitlines()
    return {
        "answered": len(answered),
        "acts": len(acts),
        "put aside": len(aside),
        "stored": len(stored),
        "answered and not written": len(set(answered) - set(acts)),
        "written and not in the ledger once": sum(written[act_id] != 1 for act_id in acts)
        + len(set(written) - set(acts)),
        "neither told nor put aside": sum((acts[a], a) not in named and a not in aside for a in acts),
        "told and put aside": sum((acts[a], a) in named and a in aside for a in acts),
        "put aside twice": sum(count > 1 for count in aside.values()),
        "named twice": sum(len(set(acts_of(alert))) != len(acts_of(alert)) for alert in stored),
        "named and forgotten": sum(act_id not in lasting[alert_id] for alert_id, act_id in named),
        "named and never written": sum(act_id not in acts for _, act_id in named),
        "said again": sum(substance(one) == substance(other) for one, other in pairs),
        "gaps": sum([a.revision for a in said] != list(range(1, len(said) + 1)) for said in by_alert.values()),
        "pending acts": len(pending),
        "replayed otherwise": sum(one != other for one, other in itertools.zip_longest(replayed, map(encode, stored))),
        "ledger": "ok" if intact else "broken",
        **carried(log, {alert.message_id for alert in stored}),
        "pending": counts["pending"],
        "dead": counts["dead"],
    }


def acts_of(alert):
    return () if alert.review is None else alert.review.acts


def carried(log, stored):
    """What the receiver has, each once by its name."""
    bodies, by_alert = {}, {}
    for name, digest in (json.loads(line) for line in log.read_text().splitlines()):
        if name and name not in bodies:
            alert_id, _, revision = name.rpartition("-r")
            by_alert.setdefault(alert_id, []).append(int(revision))
        bodies.setdefault(name, set()).add(digest)
    bodies.pop("", None)
    return {
        "lost": len(stored - set(bodies)),
        "invented": len(set(bodies) - stored),
        "said otherwise": sum(len(found) > 1 for found in bodies.values()),
        "out of order": sum(told != sorted(told) for told in by_alert.values()),
    }
