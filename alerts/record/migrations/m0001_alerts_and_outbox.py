"""Schema 1: alerts, the outbox, what came of each attempt.

Written out in full, as every step is: it says what the tables were then, whatever they are now.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables of the first record."""
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "alert",
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
    op.create_table(
        "outbox",
        sa.Column("outbox_id", _Counter, primary_key=True, autoincrement=True),
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("courier", sa.Text, nullable=False),
        sa.Column("state", sa.Text, sa.CheckConstraint("state in ('pending', 'sent', 'dead')"), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("unanswered", sa.Boolean, nullable=False),
        sa.Column("queued_ns", sa.BigInteger, nullable=False),
        sa.Column("next_attempt_ns", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("alert_id", "revision", "courier"),
        sa.ForeignKeyConstraint(["alert_id", "revision"], ["alert.alert_id", "alert.revision"]),
    )
    op.create_index("outbox_due", "outbox", ["courier", "state", "next_attempt_ns"])
    op.create_table(
        "attempt",
        sa.Column("attempt_id", _Counter, primary_key=True, autoincrement=True),
        sa.Column("outbox_id", _Counter, sa.ForeignKey("outbox.outbox_id"), nullable=False, index=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("delivered", sa.Boolean, nullable=False),
        sa.Column("status_code", sa.Integer),
        sa.Column("detail", sa.Text, nullable=False),
    )
