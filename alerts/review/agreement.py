"""What reviewers agree on: with each other, with the machine, and one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerts.act import JUDGEMENTS
from alerts.review.kappa import Agreement, agreement
from alerts.review.opinions import FIRST, SECOND, SUPERVISOR
from alerts.review.rules import overruled
from localization.study.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from alerts.review.reviewed import Reviewed

_GUNFIRE = ("gunfire", "other", "unsure")


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with Wilson's 95 % interval; no share of nothing."""

    count: int
    of: int
    share: float | None
    interval: tuple[float, float] | None


def share(count: int, of: int) -> Share:
    """So many of so many."""
    if not of:
        return Share(count, of, None, None)
    return Share(count, of, count / of, wilson(count / of, of))


@dataclass(frozen=True, slots=True)
class Overruling:
    """People against the machine.

    Parameters
    ----------
    overruled : Share
        Of all first words that were sure and of which the machine had said something: published or suppressed.
    published_denied : Share
        Of what it had published and somebody was sure about: no gunfire.
    suppressed_affirmed : Share
        Of what it had suppressed: gunfire.
    asked : int
        It had said nothing, and asked for a review.
    unsure : int
        The first reviewer could not say.
    """

    overruled: Share
    published_denied: Share
    suppressed_affirmed: Share
    asked: int
    unsure: int


@dataclass(frozen=True, slots=True)
class ReviewerFigures:
    """One reviewer: first words, how many overruled the machine, second words, and how many pairs agreed."""

    by: str
    first: int
    overruled: Share
    second: int
    decided: int
    agreed: Share


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """All of it.

    Parameters
    ----------
    drawn : Agreement
        First against second reviewer, where the incident was drawn by chance: it speaks of all that were judged.
    all_pairs : Agreement
        Where anybody was asked; those who were unsure or overruled the machine are too many in it, hence it is lower.
    gunfire : Agreement
        The drawn pairs again, by gunfire or not: what decides whether somebody is sent.
    machine : Overruling
        People against the machine.
    reviewers : tuple of ReviewerFigures
        By name.
    incidents, disputed, adjudicated, waiting_for_second : int
        How many were judged; of these two differ and nobody decided, a supervisor did, a second person is asked.
    held_back : int
        Incidents that are in none of these figures, since who asks has them in hand to say blindly what they were;
        whenever they were, since the hour may tell.
    """

    drawn: Agreement
    all_pairs: Agreement
    gunfire: Agreement
    machine: Overruling
    reviewers: tuple[ReviewerFigures, ...]
    incidents: int
    disputed: int
    adjudicated: int
    waiting_for_second: int
    held_back: int = 0


def report(incidents: Iterable[Reviewed], held_back: Collection[str] = ()) -> AgreementReport:
    """What the reviewers of these incidents agree on; those that are held back are left out, and counted as such."""
    cases = [one for one in incidents if one.head.incident_id not in held_back]
    pairs = [(one, one.pair) for one in cases if one.pair is not None]
    drawn = [pair for one, pair in pairs if "drawn" in one.second_because]
    return AgreementReport(
        drawn=agreement(drawn, JUDGEMENTS),
        all_pairs=agreement([pair for _, pair in pairs], JUDGEMENTS),
        gunfire=agreement([(_gunfire(a), _gunfire(b)) for a, b in drawn], _GUNFIRE),
        machine=_overruling(cases),
        reviewers=_reviewers(cases),
        incidents=len(cases),
        disputed=sum(one.standing == "disputed" for one in cases),
        adjudicated=sum(one.standing == "adjudicated" for one in cases),
        waiting_for_second=sum(one.head.wants_second for one in cases),
        held_back=len(held_back),
    )


def _gunfire(verdict: str) -> str:
    return verdict if verdict in ("gunfire", "unsure") else "other"


def _overruling(cases: Iterable[Reviewed]) -> Overruling:
    said: Counter[tuple[str, bool]] = Counter()
    asked = unsure = 0
    for one in cases:
        first = one.of_turn(FIRST)
        if first is None:
            continue
        unsure += first.verdict == "unsure"
        asked += one.machine_outcome == "review"
        if first.verdict != "unsure" and one.machine_outcome != "review":
            said[one.machine_outcome, overruled(first.verdict, one.machine_outcome)] += 1
    published, suppressed = (said[o, True] + said[o, False] for o in ("published", "suppressed"))
    against = said["published", True] + said["suppressed", True]
    return Overruling(
        share(against, said.total()),
        share(said["published", True], published),
        share(said["suppressed", True], suppressed),
        asked,
        unsure,
    )


def _reviewers(cases: Iterable[Reviewed]) -> tuple[ReviewerFigures, ...]:
    counts: dict[str, Counter[str]] = {}
    names: dict[str, str] = {}
    for one in cases:
        for opinion in one.opinions:
            names.setdefault(opinion.by.casefold(), opinion.by)
            count = counts.setdefault(opinion.by.casefold(), Counter())
            count[{FIRST: "first", SECOND: "second", SUPERVISOR: "decided"}[opinion.turn]] += 1
            if opinion.turn == FIRST and opinion.verdict != "unsure" and one.machine_outcome != "review":
                count["sure"] += 1
                count["overruled"] += overruled(opinion.verdict, one.machine_outcome)
            if opinion.turn in (FIRST, SECOND) and one.pair is not None:
                count["pairs"] += 1
                count["agreed"] += one.pair[0] == one.pair[1]
    return tuple(
        ReviewerFigures(
            names[by],
            count["first"],
            share(count["overruled"], count["sure"]),
            count["second"],
            count["decided"],
            share(count["agreed"], count["pairs"]),
        )
        for by, count in sorted(counts.items())
    )
