"""Schema 2: the order in which alerts were kept, incidents, the ledger, and what people do.

Every revision that is stored gets its number, its place in its incident's row, and an entry of the ledger. They are
read as JSON, not as the records of the day: those change.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

from acoustic.instant import parse_instant

revision = "0002"
down_revision = "0001"

_Counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_ACTOR = "migration"


def upgrade() -> None:
    """Make the new tables, and fill them from what is stored."""
    _number_alerts()
    op.add_column("outbox", sa.Column("settled_ns", sa.BigInteger))
    op.drop_index("outbox_due", "outbox")
    op.create_index("outbox_due", "outbox", ["courier", "state", "next_attempt_ns", "outbox_id"])
    _make_incidents()
    _make_ledger()
    # What was settled had its last attempt then; nothing else remembers it.
    op.execute(
        "update outbox set settled_ns = "
        "(select max(at_ns) from attempt where attempt.outbox_id = outbox.outbox_id) where state <> 'pending'"
    )
    _fill(op.get_bind())


def _number_alerts() -> None:
    """Give each revision its number, in the order it was kept as far as that is known."""
    first = "rowid" if op.get_bind().dialect.name == "sqlite" else "published_ns"
    op.add_column("alert", sa.Column("number", _Counter))
    op.execute(
        "update alert set number = ranked.number from (select alert_id, revision, "
        f"row_number() over (order by stored_ns, {first}, alert_id, revision) as number from alert) as ranked "
        "where ranked.alert_id = alert.alert_id and ranked.revision = alert.revision"
    )
    with op.batch_alter_table("alert") as alert:
        alert.alter_column("number", existing_type=_Counter, nullable=False)
        alert.create_unique_constraint("alert_number_key", ["number"])


def _make_incidents() -> None:
    op.create_table(
        "incident",
        sa.Column("incident_id", sa.Text, primary_key=True),
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("machine_outcome", sa.Text, nullable=False),
        sa.Column("published", sa.Boolean, nullable=False),
        sa.Column("merged_into", sa.Text),
        sa.Column("first_ns", sa.BigInteger, nullable=False),
        sa.Column("published_ns", sa.BigInteger, nullable=False),
        sa.Column("latitude", sa.Float),
        sa.Column("longitude", sa.Float),
        sa.Column("beat", sa.Text),
        sa.Column("p_gunshot", sa.Float, nullable=False),
        sa.Column("rounds", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until_ns", sa.BigInteger),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("acknowledged_ns", sa.BigInteger),
        sa.Column("disposition", sa.Text),
        sa.Column("case_number", sa.Text),
        sa.Column("wants_second", sa.Boolean, nullable=False),
        sa.Column("disagreed", sa.Boolean, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.UniqueConstraint("alert_id"),
    )
    op.create_index("incident_time", "incident", ["first_ns"])
    op.create_index("incident_queue", "incident", ["outcome", "verdict", "first_ns"])
    op.create_index("incident_beat", "incident", ["beat"])
    op.create_index(
        "incident_unpublished",
        "incident",
        ["published_ns"],
        sqlite_where=sa.text("published IS 0"),
        postgresql_where=sa.text("published IS false"),
    )
    op.create_index(
        "incident_second",
        "incident",
        ["claimed_until_ns"],
        sqlite_where=sa.text("wants_second = 1"),
        postgresql_where=sa.text("wants_second"),
    )
    op.create_index(
        "incident_parts",
        "incident",
        ["merged_into"],
        sqlite_where=sa.text("merged_into IS NOT NULL"),
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.create_table(
        "act",
        sa.Column("act_id", sa.Text, primary_key=True),
        sa.Column("alert_id", sa.Text, nullable=False, index=True),
        sa.Column("sequence", _Counter, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("applied", sa.Boolean, nullable=False, index=True),
    )
    op.create_table(
        "opinion",
        sa.Column("incident_id", sa.Text, sa.ForeignKey("incident.incident_id"), primary_key=True),
        sa.Column("turn", sa.Integer, primary_key=True),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("listened", sa.Boolean, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )


def _make_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("sequence", _Counter, primary_key=True, autoincrement=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
    op.create_index("ledger_about", "ledger", ["about", "sequence"])
    op.create_table(
        "access",
        sa.Column("number", _Counter, primary_key=True, autoincrement=True),
        sa.Column("at_ns", sa.BigInteger, nullable=False, index=True),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False, index=True),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
    )


def _fill(connection: sa.Connection) -> None:
    metadata = sa.MetaData()
    alert, incident, ledger, outbox = (
        sa.Table(name, metadata, autoload_with=connection) for name in ("alert", "incident", "ledger", "outbox")
    )
    queued: dict[tuple[str, int], list[str]] = {}
    for row in connection.execute(sa.select(outbox).order_by(outbox.c.outbox_id)):
        queued.setdefault((row.alert_id, row.revision), []).append(row.courier)
    now_ns = time.time_ns()
    chain = _Chain(now_ns)
    count = connection.execute(sa.select(sa.func.count()).select_from(alert)).scalar_one()
    connection.execute(sa.insert(ledger), chain.entry("migrated", "", {"from": 1, "to": 2, "alerts": count}))
    last = 0
    heads: dict[str, dict[str, Any]] = {}
    page = sa.select(alert).order_by(alert.c.number).limit(200)
    while rows := connection.execute(page.where(alert.c.number > last)).all():
        entries = []
        for row in rows:
            entries.append(
                chain.entry("alert", row.incident_id, _kept(row, queued.get((row.alert_id, row.revision), [])))
            )
            _note(heads, row)
        connection.execute(sa.insert(ledger), entries)
        last = rows[-1].number
    if heads:
        connection.execute(sa.insert(incident), list(heads.values()))


class _Chain:
    def __init__(self, at_ns: int) -> None:
        self._at_ns = at_ns
        self._sequence = 0
        self._digest = "0" * 64

    def entry(self, kind: str, about: str, said: dict[str, Any]) -> dict[str, Any]:
        self._sequence += 1
        previous, body = self._digest, json.dumps(said, separators=(",", ":")).encode()
        heading = f"{previous}\n{self._sequence}\n{self._at_ns}\n{kind}\n{_ACTOR}\n{about}\n"
        self._digest = hashlib.sha256(heading.encode() + body).hexdigest()
        row = {"sequence": self._sequence, "at_ns": self._at_ns, "kind": kind, "actor": _ACTOR, "about": about}
        return row | {"body": body, "previous": previous, "digest": self._digest}


def _kept(row: sa.Row[Any], couriers: list[str]) -> dict[str, Any]:
    return {
        "alert_id": row.alert_id,
        "revision": row.revision,
        "number": row.number,
        "outcome": row.outcome,
        "sha256": row.sha256,
        "couriers": couriers,
    }


def _note(heads: dict[str, dict[str, Any]], row: sa.Row[Any]) -> None:
    """Let a revision say what its incident's row holds, unless a later one did."""
    before = heads.get(row.incident_id)
    published = row.outcome == "published" or (before is not None and before["published"])
    if before is not None and before["revision"] >= row.revision:
        before["published"] = published
        return
    said = json.loads(row.document)
    place = said["place"] or {}
    heads[row.incident_id] = {
        "incident_id": row.incident_id,
        "alert_id": row.alert_id,
        "revision": row.revision,
        "status": row.status,
        "mode": row.mode,
        "outcome": row.outcome,
        "machine_outcome": row.outcome,
        "published": published,
        "merged_into": said["merged_into"],
        "first_ns": parse_instant(said["discharge_time"]["first"]),
        "published_ns": row.published_ns,
        "latitude": place.get("latitude"),
        "longitude": place.get("longitude"),
        "beat": place.get("beat"),
        "p_gunshot": said["what"]["p_gunshot"],
        "rounds": said["what"]["rounds"]["best"],
        "version": 1 if before is None else before["version"] + 1,
        "changed_by": "machine",
        "wants_second": False,
        "disagreed": False,
        "pinned": False,
    }
