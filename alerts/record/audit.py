"""The audit of a record: its ledger's chain, every document against its entry, every row against its document."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from alerts.alert import Alert, decode
from alerts.record import tables
from alerts.record.chain import Chain, Fault, Verdict, What
from alerts.record.entry import Entry, entry_of
from alerts.record.incidents import said_of
from alerts.record.people_said import PeopleSaid
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from alerts.record.heads import Head

_PAGE: Final = 200
_COLUMNS: Final = (
    "alert_id", "revision", "incident_id", "kind", "status", "mode", "outcome", "published_at", "published_ns",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Document:
    """What an entry of kind ``retired`` holds of each revision that went."""

    alert_id: str
    revision: int
    number: int
    outcome: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Kept(Document):
    """What an entry of kind ``alert`` holds of a revision: also by whom it is to be carried."""

    couriers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gone:
    """What an entry of kind ``retired`` holds: which documents went, and by which rule."""

    documents: tuple[Document, ...]
    why: str


def audit(reading: Callable[[], AbstractContextManager[sa.Connection]], heads: Iterable[Head] = ()) -> Verdict:
    """Walk along the whole ledger of a record, which may be written to meanwhile.

    Checked are the chain; that each document which an entry names is there with that digest, or named as retired later;
    that there is no document without an entry; that the columns beside each document, and what the machine's last word
    made of each incident, are what the document says; that what people did is in their acts, their opinions and the
    incident's row as their entries have it; that the outbox has a delivery for each courier that the entry names, and
    no other; of a file, also that its pages and indexes are whole. Not checked, since they change for good reasons and
    nothing else tells what they should be: how far a delivery has come, attempts, and who looked at what.

    Parameters
    ----------
    reading : callable
        Opens a connection that sees one state, as `Store.reading`.
    heads : iterable of Head
        What was noted elsewhere.

    Raises
    ------
    StoreError
        When the record cannot be read at all.
    """
    return _Audit(Chain(heads)).walk(reading)


def audit_entries(entries: Iterable[Entry], heads: Iterable[Head] = ()) -> Verdict:
    """Walk along entries by themselves, as they were exported: the chain, and the heads."""
    chain = Chain(heads)
    for entry in entries:
        if (fault := chain.follow(entry)) is not None:
            return Verdict(chain.sequence, (chain.sequence, chain.digest), 0, 0, chain.compared, fault)
    return Verdict(chain.sequence, (chain.sequence, chain.digest), 0, 0, chain.compared, chain.end())


class _Audit:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._documents = 0
        self._retired = 0
        self._missing: dict[tuple[str, int, str], Fault] = {}
        self._named = bytearray()  # by number: 1 when an entry names it; numbers are dense
        self._people = PeopleSaid()
        self._first: Fault | None = None  # of documents; the chain's may come earlier

    def walk(self, reading: Callable[[], AbstractContextManager[sa.Connection]]) -> Verdict:
        ledger = tables.ledger
        while True:
            page = sa.select(ledger).where(ledger.c.sequence > self._chain.sequence).order_by(ledger.c.sequence)
            with reading() as connection:
                entries = [entry_of(row) for row in connection.execute(page.limit(_PAGE))]
                fault = self._page(connection, entries)
                if fault is not None:
                    return self._verdict(fault)
                if len(entries) < _PAGE:  # the rest is looked at in the same state, in which no entry is new
                    return self._verdict(self._rest(connection))

    def _rest(self, connection: sa.Connection) -> Fault | None:
        """What is wrong beside the entries that were walked along."""
        looks = (_damage, self._strangers, self._incidents, _without_incident, self._people.of_others)
        return self._chain.end() or next((fault for look in looks if (fault := look(connection)) is not None), None)

    def _page(self, connection: sa.Connection, entries: list[Entry]) -> Fault | None:
        alerts: list[tuple[Entry, Kept]] = []
        gone: list[Document] = []
        broken = None
        for entry in entries:
            broken = self._chain.follow(entry) or _note(entry, alerts, gone)
            if broken is not None:
                break
            self._people.note(entry)
        self._compare(connection, alerts)
        for kept in gone:  # always named later than as kept
            self._missing.pop((kept.alert_id, kept.revision, kept.sha256), None)
        self._retired += len(gone)
        return broken

    def _compare(self, connection: sa.Connection, alerts: list[tuple[Entry, Kept]]) -> None:
        if not alerts:
            return
        alert = tables.alert
        numbers = [kept.number for _, kept in alerts]
        rows = {
            row.number: row for row in connection.execute(sa.select(alert).where(alert.c.number.in_(numbers))).all()
        }
        queued = _queued(connection, numbers)
        for entry, kept in alerts:
            self._name(kept.number)
            row = rows.get(kept.number)
            if row is None:
                text = f"entry {entry.sequence}: {kept.alert_id} revision {kept.revision} is gone, and not as retired"
                name = kept.alert_id, kept.revision, kept.sha256
                self._missing[name] = Fault(entry.sequence, "document-missing", text)
                continue
            self._documents += 1
            fault = _difference(entry, kept, row) or _misdirected(entry, kept, row, queued.get(kept.number, []))
            if fault is not None and self._first is None:
                self._first = fault

    def _name(self, number: int) -> None:
        if number >= len(self._named):
            self._named.extend(bytes(number + 10_000 - len(self._named)))
        self._named[number] = 1

    def _strangers(self, connection: sa.Connection) -> Fault | None:
        alert = tables.alert
        rows = connection.execute(
            sa.select(alert.c.number, alert.c.alert_id, alert.c.revision).order_by(alert.c.number)
        )
        for row in rows.yield_per(1_000):
            if not isinstance(row.number, int) or not 0 < row.number < len(self._named) or not self._named[row.number]:
                return Fault(0, "document-unknown", f"{row.alert_id} revision {row.revision} is in no entry")
        return None

    def _incidents(self, connection: sa.Connection) -> Fault | None:
        """The first incident whose row is not what its last revision says, or people."""
        for incident, alert in _last_words(connection):
            fault = alert if isinstance(alert, Fault) else _misrepresented(incident, alert)
            if fault is not None or (fault := self._people.of_incident(incident)) is not None:
                return fault
        return None

    def _verdict(self, fault: Fault | None) -> Verdict:
        # What is missing may be named as retired behind a break: then the break is what is known.
        missing = self._missing.values() if fault is None or fault.sequence == 0 or fault.what == "truncated" else ()
        found = [each for each in (fault, self._first, *missing) if each is not None]
        first = min(found, key=lambda each: each.sequence or _LAST, default=None)
        chain = self._chain
        return Verdict(
            chain.sequence, (chain.sequence, chain.digest), self._documents, self._retired, chain.compared, first
        )


_LAST: Final = 1 << 62


def _note(entry: Entry, alerts: list[tuple[Entry, Kept]], gone: list[Document]) -> Fault | None:
    """Take down which documents an entry names as kept, or as gone."""
    try:
        if entry.kind == "alert":
            alerts.append((entry, msgspec.json.decode(entry.body, type=known(Kept))))
        elif entry.kind == "retired":
            gone += msgspec.json.decode(entry.body, type=known(Gone)).documents
    except msgspec.DecodeError as error:
        return Fault(entry.sequence, "altered", f"entry {entry.sequence} cannot be read: {error}")
    return None


def _difference(entry: Entry, kept: Kept, row: sa.Row[Any]) -> Fault | None:
    """What is wrong with the row of a document."""

    def fault(what: What, text: str) -> Fault:
        return Fault(entry.sequence, what, f"entry {entry.sequence}: {kept.alert_id} revision {kept.revision} {text}")

    document: Any = row.document
    if not isinstance(document, bytes) or hashlib.sha256(document).hexdigest() != kept.sha256:
        return fault("document-altered", "was altered")
    try:
        alert = decode(document)
    except ValueError as error:
        return fault("document-altered", f"cannot be read: {error}")
    beside = {name: getattr(alert, name) for name in _COLUMNS}
    beside |= {"sha256": kept.sha256, "stored_ns": row.stored_ns if _is_old(entry, row) else entry.at_ns}
    wrong = [name for name, value in beside.items() if getattr(row, name) != value]
    if wrong:
        return fault("row-altered", f"stands beside another {wrong[0]} than it says")
    return None


def _queued(connection: sa.Connection, numbers: list[int]) -> dict[int, list[tuple[str, int]]]:
    """By whom each revision is to be carried, and since when."""
    alert, box = tables.alert, tables.outbox
    same = sa.and_(box.c.alert_id == alert.c.alert_id, box.c.revision == alert.c.revision)
    wanted = (
        sa.select(alert.c.number, box.c.courier, box.c.queued_ns).join(box, same).where(alert.c.number.in_(numbers))
    )
    queued: dict[int, list[tuple[str, int]]] = {}
    for number, courier, queued_ns in connection.execute(wanted.where(alert.c.number.in_(numbers))):
        queued.setdefault(number, []).append((courier, queued_ns))
    return queued


def _misdirected(entry: Entry, kept: Kept, row: sa.Row[Any], queued: list[tuple[str, int]]) -> Fault | None:
    """Whether deliveries were taken away, added, or moved in time."""
    if sorted(courier for courier, _ in queued) == sorted(kept.couriers):
        if _is_old(entry, row) or all(queued_ns == entry.at_ns for _, queued_ns in queued):
            return None
        what = "was queued at another time"
    else:
        what = "is in the outbox for others than the entry names"
    text = f"entry {entry.sequence}: {kept.alert_id} revision {kept.revision} {what}"
    return Fault(entry.sequence, "row-altered", text)


def _is_old(entry: Entry, row: sa.Row[Any]) -> bool:
    """Whether it was kept before there was a ledger: its entry was made later, by the migration."""
    return entry.actor == "migration" and isinstance(row.stored_ns, int) and row.stored_ns <= entry.at_ns


def _misrepresented(incident: sa.Row[Any], alert: Alert) -> Fault | None:
    """What of an incident's row is not what its last revision says."""
    said = said_of(alert) | {"alert_id": alert.alert_id, "published": incident.published}
    wrong = [name for name, value in said.items() if getattr(incident, name) != value]
    if alert.outcome == "published" and not incident.published:
        wrong.append("published")
    if not wrong:
        return None
    text = f"the row of incident {incident.incident_id} has another {wrong[0]} than its last revision"
    return Fault(0, "row-altered", text)


def _damage(connection: sa.Connection) -> Fault | None:
    """What is broken in the pages or indexes of a file."""
    if connection.dialect.name != "sqlite":
        return None
    said = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
    if said == "ok" and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is None:
        return None
    words = said if said != "ok" else "rows refer to others that are gone"
    return Fault(0, "damaged", f"the file is damaged ({words}): keep it aside, and restore it from a backup")


def _last_words(connection: sa.Connection) -> Iterator[tuple[sa.Row[Any], Alert | Fault]]:
    """Each incident's row with its last revision, or with why that cannot be read."""
    incident, alert = tables.incident, tables.alert
    # By the incident's own name: by its alert_id, one that was altered would find nothing, and be passed over.
    last = sa.and_(alert.c.incident_id == incident.c.incident_id, alert.c.revision == incident.c.revision)
    rows = connection.execute(sa.select(incident, alert.c.document).join(alert, last))
    for row in rows.yield_per(200):
        try:
            yield row, decode(bytes(row.document))
        except (TypeError, ValueError) as error:  # SQLite lets other programs put anything there
            text = f"{row.alert_id} revision {row.revision} cannot be read: {error}"
            yield row, Fault(0, "document-altered", text)


def _without_incident(connection: sa.Connection) -> Fault | None:
    """The first alert that is no incident's, or an incident whose last revision is not there."""
    incident, alert = tables.incident, tables.alert
    newest = sa.select(alert.c.incident_id, sa.func.max(alert.c.revision).label("revision")).group_by(
        alert.c.incident_id
    )
    newest_row = newest.subquery()
    joined = sa.select(newest_row.c.incident_id, newest_row.c.revision, incident.c.revision.label("told")).join(
        incident, incident.c.incident_id == newest_row.c.incident_id, isouter=True
    )
    for row in connection.execute(
        joined.where(sa.or_(incident.c.revision.is_(None), incident.c.revision != newest_row.c.revision))
    ):
        text = f"incident {row.incident_id} has revisions up to {row.revision}, and its row tells {row.told}"
        return Fault(0, "row-altered", text)
    return None
