"""The tables of the record, the same in SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

SCHEMA_NUMBER: Final = 2
APPLICATION: Final = "shotfix"

metadata: Final = sa.MetaData()

# SQLite counts rows by itself only in a column of its own type INTEGER.
_Counter: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")

meta: Final = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

alert: Final = sa.Table(
    "alert",
    metadata,
    sa.Column("alert_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("number", _Counter, nullable=False),  # the order in which they were kept
    sa.Column("incident_id", sa.Text, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False, index=True),
    sa.Column("published_at", sa.Text, nullable=False),
    sa.Column("published_ns", sa.BigInteger, nullable=False, index=True),
    sa.Column("stored_ns", sa.BigInteger, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.UniqueConstraint("number", name="alert_number_key"),
)
"""Every revision of every alert, as it was said."""

incident: Final = sa.Table(
    "incident",
    metadata,
    sa.Column("incident_id", sa.Text, primary_key=True),
    sa.Column("alert_id", sa.Text, nullable=False, unique=True),
    # what the last revision says, for lists and searches
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("machine_outcome", sa.Text, nullable=False),
    sa.Column("published", sa.Boolean, nullable=False),  # ever
    sa.Column("merged_into", sa.Text),
    sa.Column("first_ns", sa.BigInteger, nullable=False),  # discharge of the first round
    sa.Column("published_ns", sa.BigInteger, nullable=False),
    sa.Column("latitude", sa.Float),
    sa.Column("longitude", sa.Float),
    sa.Column("beat", sa.Text),
    sa.Column("p_gunshot", sa.Float, nullable=False),
    sa.Column("rounds", sa.Integer, nullable=False),
    # what people did
    sa.Column("version", sa.Integer, nullable=False),  # one more with every change of this row
    sa.Column("changed_by", sa.Text, nullable=False),  # who made the last change; "machine"
    sa.Column("verdict", sa.Text),  # the first reviewer's, or a supervisor's over it
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_until_ns", sa.BigInteger),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("acknowledged_ns", sa.BigInteger),
    sa.Column("disposition", sa.Text),  # confirmed, unconfirmed, unfounded, other
    sa.Column("case_number", sa.Text),
    sa.Column("wants_second", sa.Boolean, nullable=False),  # a second reviewer, who does not see the first's word
    sa.Column("disagreed", sa.Boolean, nullable=False),  # the two said otherwise: a supervisor decides
    sa.Column("pinned", sa.Boolean, nullable=False),  # evidence: retention passes it over
    sa.Index("incident_time", "first_ns"),
    sa.Index("incident_queue", "outcome", "verdict", "first_ns"),
    # None of mode, nor of place: SQLite would sort all of a city for a page that the order of numbers has at once.
    sa.Index("incident_beat", "beat"),
    # Of few rows each, so that no other question is answered by them. The words are those of `is_(False)`, and of the
    # bare column: SQLite takes such an index only where a question has its very words.
    sa.Index(
        "incident_unpublished",
        "published_ns",
        sqlite_where=sa.text("published IS 0"),
        postgresql_where=sa.text("published IS false"),
    ),
    sa.Index(
        "incident_second",
        "claimed_until_ns",
        sqlite_where=sa.text("wants_second = 1"),
        postgresql_where=sa.text("wants_second"),
    ),
    sa.Index(
        "incident_parts",
        "merged_into",
        sqlite_where=sa.text("merged_into IS NOT NULL"),
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    ),
)
"""Each incident as it stands."""

act: Final = sa.Table(
    "act",
    metadata,
    sa.Column("act_id", sa.Text, primary_key=True),
    sa.Column("alert_id", sa.Text, nullable=False, index=True),
    sa.Column("sequence", _Counter, nullable=False),  # of its entry in the ledger
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # alerts.act.Act as JSON
    sa.Column("applied", sa.Boolean, nullable=False, index=True),  # a revision of the alert names it
)
"""What people decided, each until the desk has made revisions of it."""

opinion: Final = sa.Table(
    "opinion",
    metadata,
    sa.Column("incident_id", sa.Text, sa.ForeignKey("incident.incident_id"), primary_key=True),
    sa.Column("turn", sa.Integer, primary_key=True),  # 1 first, 2 second and blind, 3 a supervisor's
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("listened", sa.Boolean, nullable=False),  # fetched a clip of it before
    sa.Column("revision", sa.Integer, nullable=False),  # of the alert that it was said of
)
"""What each reviewer said an incident was."""

ledger: Final = sa.Table(
    "ledger",
    metadata,
    sa.Column("sequence", _Counter, primary_key=True, autoincrement=False),  # 1, 2, 3, ... without a gap
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("about", sa.Text, nullable=False),  # an incident_id, or empty
    sa.Column("body", sa.LargeBinary, nullable=False),  # JSON
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Index("ledger_about", "about", "sequence"),
)
"""Machine verdicts and human acts, each with the digest of the one before."""

access: Final = sa.Table(
    "access",
    metadata,
    sa.Column("number", _Counter, primary_key=True, autoincrement=True),
    sa.Column("at_ns", sa.BigInteger, nullable=False, index=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),  # as "GET /api/v1/audio"
    sa.Column("about", sa.Text, nullable=False, index=True),  # an incident_id, a digest of sound, or empty
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
)
"""Who looked at what."""

outbox: Final = sa.Table(
    "outbox",
    metadata,
    sa.Column("outbox_id", _Counter, primary_key=True, autoincrement=True),
    sa.Column("alert_id", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("courier", sa.Text, nullable=False),
    sa.Column("state", sa.Text, sa.CheckConstraint("state in ('pending', 'sent', 'dead')"), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("unanswered", sa.Boolean, nullable=False),  # nobody was there at the last attempt
    sa.Column("queued_ns", sa.BigInteger, nullable=False),
    sa.Column("next_attempt_ns", sa.BigInteger, nullable=False),
    sa.Column("settled_ns", sa.BigInteger),  # when it was sent, or given up
    sa.UniqueConstraint("alert_id", "revision", "courier"),
    sa.ForeignKeyConstraint(["alert_id", "revision"], ["alert.alert_id", "alert.revision"]),
    sa.Index("outbox_due", "courier", "state", "next_attempt_ns", "outbox_id"),  # what is due, in its order
)
"""What each courier is still to carry, has carried, has given up."""

attempt: Final = sa.Table(
    "attempt",
    metadata,
    sa.Column("attempt_id", _Counter, primary_key=True, autoincrement=True),
    sa.Column("outbox_id", _Counter, sa.ForeignKey("outbox.outbox_id"), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("delivered", sa.Boolean, nullable=False),
    sa.Column("status_code", sa.Integer),
    sa.Column("detail", sa.Text, nullable=False),
)
"""What came of each attempt."""
