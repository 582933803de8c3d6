"""Views: what of a document each role is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from alerts.alert import Alert
from alerts.record import tables
from alerts.review.blind import blind
from alerts.review.case import same_person
from shotfix.api.problems import Problem

if TYPE_CHECKING:
    from alerts.record.store import Store
    from alerts.review.reviews import Reviews

WITHHELD: Final = "withheld"
"""Who reviewed, to those who are not told."""


def is_in_hand() -> Problem:
    """What is answered where anything else would tell a second reviewer what others think."""
    return Problem("not-permitted", "you have it in hand to say blindly what it was; see its blind side")


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
    held = held_for_second(reviews.store, at_ns)
    mine = [name for name, holder in held if same_person(holder, who)]
    return frozenset(name for name in mine if reviews.must_be_blind(name, who, at_ns))


def held_for_second(store: Store, at_ns: int) -> list[tuple[str, str]]:
    """The incidents that somebody has in hand of which a second opinion is wanted, each with who it is.

    Found by when claims run out: of all incidents, those few that did not yet are in anybody's hands.

    Raises
    ------
    StoreError
        When the record cannot be read.
    """
    row = tables.incident.c
    wanted = sa.select(row.incident_id, row.claimed_by).where(row.claimed_until_ns > at_ns, row.wants_second)
    with store.reading() as connection:
        return [(name, holder) for name, holder in connection.execute(wanted) if holder is not None]
