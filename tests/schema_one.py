"""Builds a record as the first released program left it, by plain SQL: none of today's code is asked what that was."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing

from alerts.alert import encode

TABLES = """
CREATE TABLE meta ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE alert (
  alert_id TEXT NOT NULL, revision INTEGER NOT NULL, incident_id TEXT NOT NULL, kind TEXT NOT NULL,
  status TEXT NOT NULL, mode TEXT NOT NULL, outcome TEXT NOT NULL, published_at TEXT NOT NULL,
  published_ns BIGINT NOT NULL, stored_ns BIGINT NOT NULL, document BLOB NOT NULL, sha256 TEXT NOT NULL,
  PRIMARY KEY (alert_id, revision)
);
CREATE INDEX ix_alert_published_ns ON alert (published_ns);
CREATE INDEX ix_alert_outcome ON alert (outcome);
CREATE INDEX ix_alert_incident_id ON alert (incident_id);
CREATE TABLE outbox (
  outbox_id INTEGER NOT NULL, alert_id TEXT NOT NULL, revision INTEGER NOT NULL, courier TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state in ('pending', 'sent', 'dead')), attempts INTEGER NOT NULL,
  unanswered BOOLEAN NOT NULL, queued_ns BIGINT NOT NULL, next_attempt_ns BIGINT NOT NULL,
  PRIMARY KEY (outbox_id), UNIQUE (alert_id, revision, courier),
  FOREIGN KEY(alert_id, revision) REFERENCES alert (alert_id, revision)
);
CREATE INDEX outbox_due ON outbox (courier, state, next_attempt_ns);
CREATE TABLE attempt (
  attempt_id INTEGER NOT NULL, outbox_id INTEGER NOT NULL, number INTEGER NOT NULL, at_ns BIGINT NOT NULL,
  delivered BOOLEAN NOT NULL, status_code INTEGER, detail TEXT NOT NULL,
  PRIMARY KEY (attempt_id), FOREIGN KEY(outbox_id) REFERENCES outbox (outbox_id)
);
CREATE INDEX ix_attempt_outbox_id ON attempt (outbox_id);
INSERT INTO meta VALUES ('application', 'shotfix'), ('schema', '1');
"""


def old_document(alert):
    """An alert as it was written before there were reviews, priors and addresses."""
    said = json.loads(encode(alert))
    said["schema_version"] = "1.0"
    del said["review"], said["what"]["priors"], said["what"]["expected"]
    if said["place"] is not None:
        for name in ("parcel", "addresses", "addresses_touched"):
            del said["place"][name]
    return json.dumps(said, separators=(",", ":")).encode()


def build(path, alerts, now_ns, *, sent=()):
    """Keep alerts, each queued for one courier where it is published; those in ``sent`` were delivered at the second try."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(TABLES)
        for number, alert in enumerate(alerts, start=1):
            document = old_document(alert)
            values = [
                getattr(alert, name) for name in ("alert_id", "revision", "incident_id", "kind", "status", "mode")
            ]
            values += [alert.outcome, alert.published_at, alert.published_ns, now_ns + number // 3, document]
            values.append(hashlib.sha256(document).hexdigest())
            db.execute("INSERT INTO alert VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            if alert.outcome != "published":
                continue
            state = "sent" if alert.message_id in sent else "pending"
            row = [alert.alert_id, alert.revision, "room", state, 2 if state == "sent" else 0, 0, now_ns, now_ns]
            outbox_id = db.execute(
                "INSERT INTO outbox (alert_id, revision, courier, state, attempts, unanswered, queued_ns, "
                "next_attempt_ns) VALUES (?,?,?,?,?,?,?,?)",
                row,
            ).lastrowid
            for attempt in (1, 2) if state == "sent" else ():
                told = [outbox_id, attempt, now_ns + attempt, attempt == 2, 204 if attempt == 2 else 500, "answered"]
                db.execute(
                    "INSERT INTO attempt (outbox_id, number, at_ns, delivered, status_code, detail) VALUES (?,?,?,?,?,?)",
                    told,
                )
        db.commit()
    return path
