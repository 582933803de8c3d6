"""Incidents for tests of review: kept in a record as a centre keeps them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from acoustic.instant import after
from alerts.alert import Review, alert_instant, message_id
from alerts.desk import Desk
from alerts.review.acts import last_said
from tests.strategies import HARTFORD, NIGHT_NS, fix_at

if TYPE_CHECKING:
    from alerts.act import Act
    from alerts.alert import Alert, Audio
    from alerts.record.store import Store
    from alerts.review.acts import Decision
    from alerts.review.reviews import Reviews

PUBLISHED_LLR = 6.0
REVIEW_LLR = 0.0
SUPPRESSED_LLR = -9.0


def minutes(count: float) -> int:
    """So many minutes into the night."""
    return after(NIGHT_NS, 60.0 * count)


def tell(
    store: Store,
    name: str,
    time_s: float = 0.0,
    *,
    llr: float = PUBLISHED_LLR,
    rounds: int = 1,
    audio: tuple[Audio, ...] = (),
) -> str:
    """Keep an incident of its own, as a desk says it first, with sound where there is some; its name."""
    desk = Desk(mode="live")
    said: list[Alert] = []
    for number in range(rounds):
        shot = fix_at(f"{name}-{number}", time_s + 0.4 * number, llr=llr, frame=HARTFORD)
        said += desk.receive(shot)
    if not said or rounds > 1:
        said += desk.tick(after(NIGHT_NS, time_s + 30.0))
    store.keep([replace(alert, audio=audio) for alert in said], [], said[-1].published_ns)
    return said[-1].incident_id


def apply(store: Store, act: Act, outcome: str = "published") -> None:
    """Keep the revision that a desk would say of an act, the least of it."""
    with store.reading() as connection:
        last = last_said(connection, act.alert_id)
    earlier = () if last.review is None else last.review.acts
    machine = last.outcome if last.review is None else last.review.machine_outcome
    told = Review(act.judgement, act.by, alert_instant(act.at_ns), act.note, machine, None, (*earlier, act.act_id))
    revised = replace(
        last,
        revision=last.revision + 1,
        supersedes=message_id(last.alert_id, last.revision),
        kind="revised" if last.status != "cancelled" else last.kind,
        reason="reclassified",
        outcome=outcome,
        review=told,
    )
    store.keep([revised], [], act.at_ns)


def submit(reviews: Reviews, decision: Decision, desk: Desk | None = None) -> tuple[Alert, ...]:
    """What a centre does with a decision: the desk's revisions go into the record."""
    said = (desk or Desk(mode="live")).act(decision.act, decision.known, decision.earlier)
    reviews.store.keep(said, [], decision.act.at_ns)
    return said


def entries(reviews: Reviews, incident_id: str) -> list[tuple[str, str]]:
    """Kind and actor of everything that people did with an incident."""
    told = reviews.ledger.entries(about=incident_id)
    return [(entry.kind, entry.actor) for entry in told if entry.kind != "alert"]
