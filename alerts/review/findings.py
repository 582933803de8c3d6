"""A finding: what came of an incident, as those say who went there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Disposition = Literal["confirmed", "unconfirmed", "unfounded", "other"]
"""Evidence of gunfire was found; neither that nor anything against it; it was something else; none of these."""
DISPOSITIONS: Final[tuple[Disposition, ...]] = ("confirmed", "unconfirmed", "unfounded", "other")

Evidence = Literal["casings", "victim", "video", "witness", "gun", "damage"]
EVIDENCE: Final[tuple[Evidence, ...]] = ("casings", "victim", "video", "witness", "gun", "damage")

LONGEST_CASE_NUMBER: Final = 64
MOST_OFFICER_MINUTES: Final = 100_000.0
LONGEST_FINDING_NOTE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of an incident.

    Parameters
    ----------
    disposition : str
        One of `DISPOSITIONS`.
    evidence : tuple of str
        What was found, of `EVIDENCE`, each once.
    case_number : str or None
        The police's own; None keeps the one that was given before.
    officer_minutes : float or None
        Minutes of all officers together, in all: a later finding replaces it.
    note : str
        In their words.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    disposition: Disposition
    evidence: tuple[Evidence, ...] = ()
    case_number: str | None = None
    officer_minutes: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.disposition not in DISPOSITIONS:
            raise ValueError(f"disposition is {self.disposition!r}: expected one of {', '.join(DISPOSITIONS)}")
        if not set(self.evidence) <= set(EVIDENCE) or len(set(self.evidence)) != len(self.evidence):
            raise ValueError(f"evidence names what was found, each once, of {', '.join(EVIDENCE)}")
        check_words(self.case_number, "case_number", LONGEST_CASE_NUMBER)
        if self.officer_minutes is not None and not 0.0 <= self.officer_minutes <= MOST_OFFICER_MINUTES:
            raise ValueError(f"officer_minutes is {self.officer_minutes}: expected 0 to {MOST_OFFICER_MINUTES:.0f}")
        if len(self.note) > LONGEST_FINDING_NOTE:
            raise ValueError(f"the note has {len(self.note)} characters: expected {LONGEST_FINDING_NOTE} at most")


def check_words(text: str | None, name: str, longest: int) -> None:
    """Refuse what no person would write there: nothing, too much, or characters that cannot be seen.

    Raises
    ------
    ValueError
        When it is so; None is fine.
    """
    if text is not None and not (text.strip() and len(text) <= longest and text.isprintable()):
        raise ValueError(f"{name} is {text[:80]!r}: expected 1 to {longest} printable characters")
