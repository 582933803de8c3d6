"""The tables of the record: alerts, what is still to be delivered, what came of each attempt."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

SCHEMA_NUMBER: Final = 1
APPLICATION: Final = "shotfix"

metadata: Final = sa.MetaData()

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
)

outbox: Final = sa.Table(
    "outbox",
    metadata,
    sa.Column("outbox_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("alert_id", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("courier", sa.Text, nullable=False),
    sa.Column("state", sa.Text, sa.CheckConstraint("state in ('pending', 'sent', 'dead')"), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("unanswered", sa.Boolean, nullable=False),  # nobody was there at the last attempt
    sa.Column("queued_ns", sa.BigInteger, nullable=False),
    sa.Column("next_attempt_ns", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("alert_id", "revision", "courier"),
    sa.ForeignKeyConstraint(["alert_id", "revision"], ["alert.alert_id", "alert.revision"]),
    sa.Index("outbox_due", "courier", "state", "next_attempt_ns"),
)

attempt: Final = sa.Table(
    "attempt",
    metadata,
    sa.Column("attempt_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("outbox_id", sa.Integer, sa.ForeignKey("outbox.outbox_id"), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("delivered", sa.Boolean, nullable=False),
    sa.Column("status_code", sa.Integer),
    sa.Column("detail", sa.Text, nullable=False),
)
