"""Turning: what the next revision of an incident means, by how it stands and by what people said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerts.draft import change
from alerts.incident import Event, State

if TYPE_CHECKING:
    from alerts.act import Act
    from alerts.alert import Alert, Kind, Reason
    from alerts.hand import Hand
    from alerts.incident import Incident
    from alerts.policy import Outcome, Verdict
    from alerts.roster import Life


@dataclass(frozen=True, slots=True)
class Ruling:
    """How an incident stands: the machine's word, and people's over it.

    Parameters
    ----------
    machine : str
        What the machine alone makes of it.
    hand : Hand
        What people said.
    incident, verdict
        What the machine's word is drafted from; None where only documents are left.
    document : Alert or None
        The machine's word as a document, where it is not drafted.
    into : str or None
        The incident_id that it is part of by people's word.
    """

    machine: Outcome
    hand: Hand
    incident: Incident | None = None
    verdict: Verdict | None = None
    document: Alert | None = None
    into: str | None = None

    def outcome(self, life: Life) -> Outcome:
        """What it is for those who read it.

        What was published stays so, since whoever received it must hear the rest, and must not hear of it as new
        again; what is withdrawn as merged stays what it was.
        """
        before = life.last
        if before is not None and (told(before) or (self.into is not None and before.merged_into is not None)):
            return before.outcome
        if self.hand.is_gunfire:
            return "published"
        return "suppressed" if self.hand.is_something_else else self.machine

    def stands(self, life: Life) -> bool:
        """Whether what was once published stands now.

        A person's word decides. Without one, what the machine published stands until it would suppress it: at the
        threshold at which it falls, not at that at which it rose. What only a person's word had published stands only
        where the machine would publish it by now.
        """
        if self.hand.is_gunfire or self.hand.is_something_else:
            return self.hand.is_gunfire
        return self.machine == "published" or (life.lifted and self.machine == "review")

    def urgent(self, life: Life) -> bool:
        """The first word of an incident, and what lifts it to publication, cannot wait for the burst to end."""
        before, outcome = life.last, self.outcome(life)
        if self.into is not None:
            return False
        if before is None:
            placed = self.incident is None or self.incident.best is not None
            return outcome == "published" or (outcome == "review" and placed)
        if before.status == "cancelled":
            return self.hand.is_gunfire or (self.machine == "published" and not self.hand.is_something_else)
        return outcome == "published" and before.outcome != "published"


def told(before: Alert | None) -> bool:
    """Whether receivers of what is published know of this alert."""
    return before is not None and before.outcome == "published"


def event_of(life: Life, ruling: Ruling, *, closing: bool, cause: Act | None = None) -> Event:
    """What happens to an incident by its next revision; ``cause`` is a person's act, where that is why."""
    if ruling.into is not None:
        return Event.JOINED
    if life.last is not None and life.state is State.CANCELLED:
        return _after_withdrawal(life, ruling, cause)
    if told(life.last) and not ruling.stands(life):
        return Event.DENIED if ruling.hand.is_something_else else Event.FELL
    if cause is not None:
        return Event.CONFIRMED if cause.judgement == "gunfire" else Event.SAID
    return Event.CLOSE if closing else Event.NEWS


def _after_withdrawal(life: Life, ruling: Ruling, cause: Act | None) -> Event:
    """A real shot must not stay buried, neither under an early doubt nor under an incident that it is no part of."""
    merged = life.last is not None and life.last.merged_into is not None
    # What was never published goes on when it is its own again; what was, and does not stand, was withdrawn for good.
    if not ruling.stands(life) and (not merged or told(life.last)):
        return Event.NEWS if cause is None else Event.SAID
    if cause is None:
        return Event.ROSE
    return Event.CONFIRMED if ruling.hand.is_gunfire and not merged else Event.RELEASED


def kind_of(before: Alert | None, state: State, outcome: Outcome) -> Kind:
    """What a revision means to who receives the published ones."""
    if state is State.CANCELLED:
        return "cancelled"
    first = before is None or (outcome == "published" and before.outcome != "published")
    return "new" if first else "revised"


def reason_of(before: Alert | None, after: Alert, cause: Act | None = None) -> Reason:
    """Why ``after`` follows ``before``: what a person did, or the weightiest difference between them."""
    if cause is not None and cause.kind in ("undo", "split"):
        return "undone" if cause.kind == "undo" else "split"
    if before is None:
        return "new"
    if after.merged_into is not None and after.merged_into != before.merged_into:
        return "merged"
    found = change(before, after)
    if cause is not None and cause.kind == "place" and before.place != after.place:
        return "relocated"
    return found if cause is None or cause.kind != "judge" else _reason_of_judging(before, found, cause)


def _reason_of_judging(before: Alert, found: Reason, cause: Act) -> Reason:
    """Another word on what it was is another classification, unless it is the machine's own, or the first."""
    judged = None if before.review is None else before.review.judgement
    if found == "no-longer-gunfire":
        return "reclassified"
    if found in ("closed", "refined"):
        return "refined" if judged in (None, cause.judgement) else "reclassified"
    return found
