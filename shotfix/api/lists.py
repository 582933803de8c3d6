"""Lists of alerts and incidents: what they are filtered by, page by page, however much is added meanwhile."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import sqlalchemy as sa

from acoustic.instant import parse_instant
from alerts.alert import ModeOfUse, Status
from alerts.policy import Outcome
from alerts.record import tables
from alerts.review.head import COLUMNS
from shotfix.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MOST: Final = 200
USUAL: Final = 50
_BOX: Final = re.compile(r"-?\d{1,3}(?:\.\d{1,15})?(?:,-?\d{1,3}(?:\.\d{1,15})?){3}")

Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Cursor = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
InstantText = Annotated[
    str,
    msgspec.Meta(
        max_length=40,
        description="RFC 3339 with a zone",
        examples=["2026-07-04T21:40:00Z"],
        extra_json_schema={"format": "date-time"},
    ),
]


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A span of time, by the discharge of the first round: ``from`` it on, and before ``to``."""

    since: InstantText | None = msgspec.field(default=None, name="from")
    until: InstantText | None = msgspec.field(default=None, name="to")

    def bounds(self) -> tuple[int | None, int | None]:
        """Both as nanoseconds UTC.

        Raises
        ------
        Problem
            When one is no instant.
        """
        return _instant("from", self.since), _instant("to", self.until)


class ListQuery(Span, frozen=True, forbid_unknown_fields=True):
    """What a list is filtered by."""

    outcome: Outcome | None = None
    status: Status | None = None
    mode: ModeOfUse | None = None
    beat: Text | None = None
    bbox: Annotated[str, msgspec.Meta(max_length=120, description="west,south,east,north; degrees")] | None = None
    limit: Limit = USUAL
    cursor: Cursor | None = None

    @property
    def tells_what(self) -> bool:
        """Whether being in the list says something of what it was, or of when and where."""
        said = (self.outcome, self.status, self.beat, self.bbox, self.since, self.until, self.cursor)
        return any(value is not None for value in said)


class RevisionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which revision; the last one by itself."""

    revision: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


def page_of(query: ListQuery, *, published_only: bool, documents: bool, hidden: Collection[str] = ()) -> sa.Select[Any]:
    """What reads one page: each incident's row, the ``number`` of its first revision, the last one's document.

    In the order in which incidents were first told, the last first: that never changes, so that no incident is passed
    over or shown twice while others are added or revised. Those that are hidden leave no gap, which would tell where
    they stand.

    Raises
    ------
    Problem
        When the query makes no sense.
    """
    row, first = tables.incident, tables.alert.alias("first")
    joined = row.join(first, sa.and_(first.c.alert_id == row.c.alert_id, first.c.revision == 1))
    columns: list[sa.ColumnElement[Any]] = [*COLUMNS, first.c.number.label("number")]
    if documents:
        last = tables.alert.alias("last")
        joined = joined.join(last, sa.and_(last.c.alert_id == row.c.alert_id, last.c.revision == row.c.revision))
        columns += [last.c.document, last.c.sha256]
    wanted = sa.select(*columns).select_from(joined).where(*_conditions(query, published_only=published_only))
    if hidden:
        wanted = wanted.where(row.c.incident_id.not_in(hidden))
    if query.cursor is not None:
        wanted = wanted.where(first.c.number < number_of(query.cursor))
    return wanted.order_by(first.c.number.desc()).limit(query.limit + 1)


def cut(rows: Sequence[Any], limit: int) -> tuple[Sequence[Any], str | None]:
    """The page itself, and the cursor of the next one; None where there is none."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursor_of(rows[limit - 1]["number"])


def cursor_of(number: int) -> str:
    """A cursor: what came before this number."""
    return base64.urlsafe_b64encode(f"n{number}".encode()).rstrip(b"=").decode()


def number_of(cursor: str) -> int:
    """The number in a cursor.

    Raises
    ------
    Problem
        When it is none of ours.
    """
    try:
        said = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (ValueError, binascii.Error):
        said = b""
    if not re.fullmatch(rb"n[0-9]{1,18}", said):
        raise Problem("bad-request", "the cursor is none of ours; take it from `next` as it is")
    return int(said[1:])


def span_conditions(bounds: tuple[int | None, int | None]) -> list[sa.ColumnElement[bool]]:
    """Of the discharge of the first round."""
    first_ns, (since_ns, until_ns) = tables.incident.c.first_ns, bounds
    found: list[sa.ColumnElement[bool]] = [] if since_ns is None else [first_ns >= since_ns]
    return found if until_ns is None else [*found, first_ns < until_ns]


def _conditions(query: ListQuery, *, published_only: bool) -> list[sa.ColumnElement[bool]]:
    row = tables.incident.c
    found = span_conditions(query.bounds())
    for name in ("outcome", "status", "mode", "beat"):
        value = getattr(query, name)
        if value is not None:
            found.append(row[name] == value)
    if query.bbox is not None:
        found.append(_inside(query.bbox))
    if published_only:
        found.append(row.published.is_(True))
    return found


def _inside(box: str) -> sa.ColumnElement[bool]:
    """A box as GeoJSON has it (RFC 7946, 5); where west is beyond east it reaches over the 180th meridian."""
    row = tables.incident.c
    if not _BOX.fullmatch(box):
        raise Problem("bad-request", "bbox: expected west,south,east,north in degrees, as -72.7,41.7,-72.6,41.8")
    west, south, east, north = (float(part) for part in box.split(","))
    if not (-180.0 <= west <= 180.0 and -180.0 <= east <= 180.0 and -90.0 <= south <= north <= 90.0):
        raise Problem("bad-request", "bbox: expected -180 to 180, and -90 to 90 with south below north")
    across: sa.ColumnElement[bool] = row.longitude.between(west, east)
    if west > east:
        across = sa.or_(row.longitude >= west, row.longitude <= east)
    return sa.and_(row.latitude.between(south, north), across)


def _instant(name: str, said: str | None) -> int | None:
    if said is None:
        return None
    try:
        return parse_instant(said)
    except ValueError:
        raise Problem("bad-request", f"{name}: expected RFC 3339 with a zone, as 2026-07-04T21:40:00Z") from None
