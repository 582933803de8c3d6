"""Views: what of a document each role is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from alerts.alert import Alert
from alerts.record import tables
from alerts.review.blind import blind

if TYPE_CHECKING:
    from alerts.review.reviews import Reviews

WITHHELD: Final = "withheld"
"""Who reviewed, to those who are not told."""


def view(document: bytes, *, sees_people: bool, is_blind: bool = False) -> msgspec.Raw:
    """A stored revision as this person may see it; byte for byte the stored one where they may see all of it."""
    if is_blind:
        return msgspec.Raw(msgspec.json.encode(blind(msgspec.json.decode(document, type=Alert))))
    if sees_people or b'"review":null' in document[-64:]:
        return msgspec.Raw(document)
    said: dict[str, Any] = msgspec.json.decode(document)
    review = said.get("review")
    if review is not None:
        said["review"] = review | {"by": WITHHELD, "note": ""}
    return msgspec.Raw(msgspec.json.encode(said))


def blind_of(reviews: Reviews, who: str, at_ns: int) -> frozenset[str]:
    """The incidents that a person has in hand to say blindly what they were; few, and mostly none.

    Raises
    ------
    StoreError
        When the record cannot be read.
    """
    row = tables.incident.c
    held = sa.and_(row.wants_second, sa.func.lower(row.claimed_by) == who.lower(), row.claimed_until_ns > at_ns)
    with reviews.store.reading() as connection:
        some = list(connection.execute(sa.select(row.incident_id).where(held)).scalars())
    return frozenset(name for name in some if reviews.must_be_blind(name, who, at_ns))
