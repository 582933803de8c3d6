"""Views: what of a document each role is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from alerts.alert import Alert
from alerts.review.blind import blind
from alerts.review.case import same_person
from sensors.known_type import known
from shotfix.api.problems import Problem

if TYPE_CHECKING:
    from alerts.review.reviews import Reviews

WITHHELD: Final = "withheld"
"""Who reviewed, to those who are not told."""


def is_in_hand() -> Problem:
    """What is answered where anything else would tell a second reviewer what others think."""
    return Problem("not-permitted", "you have it in hand to say blindly what it was; see its blind side")


def is_reviewed(document: bytes) -> bool:
    """Whether a revision says what people did about it."""
    return b'"review":null' not in document[-64:]


def view(document: bytes, *, sees_people: bool, is_blind: bool = False) -> msgspec.Raw:
    """A stored revision as this person may see it; byte for byte the stored one where they may see all of it."""
    if is_blind:
        return msgspec.Raw(msgspec.json.encode(blind(msgspec.json.decode(document, type=known(Alert)))))
    if sees_people or not is_reviewed(document):
        return msgspec.Raw(document)
    said: dict[str, Any] = msgspec.json.decode(document)
    review = said.get("review")
    if review is not None:
        said["review"] = review | {"by": WITHHELD, "note": ""}
    return msgspec.Raw(msgspec.json.encode(said))


def blind_of(reviews: Reviews, who: str, at_ns: int) -> frozenset[str]:
    """The incidents that a person has in hand to say blindly what they were, and their parts; few, and mostly none.

    Raises
    ------
    StoreError
        When the record cannot be read.
    """
    return frozenset(name for name, holder in reviews.held_blind(at_ns) if same_person(holder, who))
