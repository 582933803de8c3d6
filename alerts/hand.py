"""What people said of alerts, as it counts: pure, from their acts alone, in whatever order those came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from alerts.incident import names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from alerts.act import Act, Judgement
    from alerts.alert import Alert, Review

NOT_GUNFIRE: Final = frozenset(("fireworks", "vehicle", "construction", "handling", "noise", "other"))
"""Judgements by which nobody is to be sent."""


@dataclass(frozen=True, slots=True)
class Hand:
    """People's decisions about one alert that count now: what it was, where it was, what it is part of.

    Parameters
    ----------
    told : tuple of Act
        All that concern it, in the order they were made, also what was undone.
    judgement, place, into : Act or None
        What counts: the last word on what it was, on where it was, and on what it is part of.
    before : Review or None
        What an earlier revision had of people, where the acts behind it are not at hand any more.
    """

    told: tuple[Act, ...] = ()
    judgement: Act | None = None
    place: Act | None = None
    into: Act | None = None
    before: Review | None = None

    @property
    def says(self) -> Judgement | None:
        """What a person says that it was; None where nobody does."""
        if self.judgement is not None:
            return self.judgement.judgement
        if self.before is None or any(act.kind == "judge" for act in self.told):
            return None
        return self.before.judgement

    @property
    def is_gunfire(self) -> bool:
        """Whether a person says that it was."""
        return self.says == "gunfire"

    @property
    def is_something_else(self) -> bool:
        """Whether a person says that nobody is to be sent."""
        return self.says in NOT_GUNFIRE

    @property
    def names(self) -> tuple[str, ...]:
        """Of all acts, in their order."""
        earlier = () if self.before is None else self.before.acts
        return tuple(dict.fromkeys((*earlier, *(act.act_id for act in self.told))))


@dataclass(frozen=True, slots=True)
class Standing:
    """How all decisions of people (acts) stand once later ones have undone, moved or joined what earlier ones said.

    The same in whatever order they are given.

    Parameters
    ----------
    acts : mapping
        All of them, by name.
    into : mapping
        Of each alert that a person made part of another: that other's alert_id. It never leads in a circle.
    taken : mapping
        Of each round that a person took out of its incident: the alert_id of what was made of it.
    told : mapping
        Of each alert the acts that concern it, in the order they were made.
    counting : frozenset of str
        Names of those that are not undone.
    """

    acts: Mapping[str, Act]
    into: Mapping[str, str] = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, tuple[Act, ...]] = field(default_factory=dict)
    counting: frozenset[str] = frozenset()

    @classmethod
    def of(cls, acts: Iterable[Act]) -> Standing:
        """Put acts in the order in which they were made, leave out what was undone, and follow the rest."""
        by_name = {act.act_id: act for act in acts}
        kept = counting(by_name.values())
        into: dict[str, str] = {}
        taken: dict[str, str] = {}
        for act in kept:
            if act.into is not None and _end(into, act.into) != act.alert_id:
                into[act.alert_id] = act.into
            for shot_id in act.shot_ids:
                taken[shot_id] = made_of(act)[0]
        told: dict[str, list[Act]] = {}
        for act in in_order(by_name.values()):
            for alert_id in concerns(act, by_name):
                told.setdefault(alert_id, []).append(act)
        names = frozenset(act.act_id for act in kept)
        return cls(by_name, into, taken, {alert_id: tuple(mine) for alert_id, mine in told.items()}, names)

    def owner(self, shot_id: str, home: str, stop: str | None = None) -> str:
        """The alert_id to which a round belongs, whose incident by the machine has the alert ``home``.

        ``stop`` is an alert that is looked at as if nobody had made it part of another.
        """
        return _end(self.into, self.taken.get(shot_id, home), stop)

    def hand(self, alert_id: str, before: Review | None = None, place_before: Act | None = None) -> Hand:
        """What people said of one alert; the last two where an earlier revision has more of people than these acts."""
        told = self.told.get(alert_id, ())
        mine = [act for act in told if act.alert_id == alert_id and act.act_id in self.counting]
        return Hand(
            told,
            next((act for act in reversed(mine) if act.kind == "judge"), None),
            next((act for act in reversed(mine) if act.kind == "place"), place_before),
            next((act for act in reversed(mine) if act.kind == "merge" and alert_id in self.into), None),
            before,
        )


def in_order(acts: Iterable[Act]) -> list[Act]:
    """Acts in the order in which they were made; of two at one instant the one with the lesser name first."""
    return sorted(acts, key=lambda act: (act.at_ns, act.act_id))


def counting(acts: Iterable[Act]) -> tuple[Act, ...]:
    """Acts that no later one undoes, in their order; what undoes can itself be undone."""
    undone: set[str] = set()
    kept: list[Act] = []
    for act in reversed(in_order(acts)):
        if act.act_id in undone:
            continue
        if act.undoes is not None:
            undone.add(act.undoes)
        kept.append(act)
    return tuple(reversed(kept))


def root_of(act: Act, acts: Mapping[str, Act]) -> Act:
    """What an act is about in the end: of an undoing, however often undone, the act that it counts for or against."""
    seen: set[str] = set()
    while act.undoes is not None and act.undoes in acts and act.act_id not in seen:
        seen.add(act.act_id)
        act = acts[act.undoes]
    return act


def made_of(act: Act) -> tuple[str, str]:
    """The alert_id and the incident_id of what an act of kind ``split`` makes: a hash of the act's name."""
    incident_id, alert_id = names_of(made_by(act))
    return alert_id, incident_id


def made_by(act: Act) -> str:
    """The founder of what an act makes, in place of a shot's name."""
    return f"split\n{act.act_id}"


def concerns(act: Act, acts: Mapping[str, Act]) -> tuple[str, ...]:
    """The alerts of which an act says something: first those that gain by it, last the one that it is about.

    Parameters
    ----------
    acts : mapping
        By name; where the act undoes one of them, what that one concerned.
    """
    found: list[str] = []
    seen: set[str] = set()
    at: Act | None = act
    while at is not None and at.act_id not in seen:
        seen.add(at.act_id)
        if at.into is not None:
            found.append(at.into)
        if at.shot_ids:
            found.append(made_of(at)[0])
        found.append(at.alert_id)
        at = acts.get(at.undoes) if at.undoes is not None else None
    return tuple(dict.fromkeys(found))


def alerts_concerned(act: Act, earlier: Iterable[Act] = ()) -> tuple[str, ...]:
    """The alert_ids whose last stored revisions an act needs, where the desk has forgotten them.

    Parameters
    ----------
    earlier : iterable of Act
        What was said before: all acts of the alerts that it touches, directly or by an act in between.
    """
    acts = {each.act_id: each for each in earlier} | {act.act_id: act}
    wanted = dict.fromkeys(concerns(act, acts))
    grown = True
    while grown:  # an alert that is tied to another by any act
        before = len(wanted)
        for each in in_order(acts.values()):
            tied = concerns(each, acts)
            if any(name in wanted for name in tied):
                wanted.update(dict.fromkeys(tied))
        grown = len(wanted) > before
    return tuple(wanted)


def objection(act: Act, known: Iterable[Alert]) -> str | None:
    """Why an act makes no sense for alerts as they stand, in words that say what to do; None when it does.

    Parameters
    ----------
    known : iterable of Alert
        The last revision of each alert that it names. An act that they name already is no reason to object: it is
        told once more, and changes nothing.
    """
    alerts = {alert.alert_id: alert for alert in known}
    alert = alerts.get(act.alert_id)
    if alert is None:
        return f"alert {act.alert_id} is not known; look up its name again"
    if alert.incident_id != act.incident_id:
        return f"alert {act.alert_id} tells of incident {alert.incident_id}, not of {act.incident_id}"
    if alert.review is not None and act.act_id in alert.review.acts:
        return None
    if alert.merged_into is not None and act.kind != "undo":
        return f"it is part of incident {alert.merged_into} now; say it of that one, or undo the merging first"
    check = {"undo": _objection_to_undoing, "split": _objection_to_splitting, "merge": _objection_to_merging}.get(
        act.kind
    )
    return None if check is None else check(act, alert, alerts)


def _objection_to_undoing(act: Act, alert: Alert, _: Mapping[str, Alert]) -> str | None:
    if alert.review is None or act.undoes not in alert.review.acts:
        return f"act {act.undoes} was not said of this alert; read its review for those that were"
    return None


def _objection_to_merging(act: Act, _: Alert, alerts: Mapping[str, Alert]) -> str | None:
    other = alerts.get(act.into or "")
    if other is None:
        return f"alert {act.into} is not known; look up its name again"
    if other.merged_into is not None:
        return f"alert {act.into} is itself part of incident {other.merged_into}; merge into that one"
    return None


def _objection_to_splitting(act: Act, alert: Alert, _: Mapping[str, Alert]) -> str | None:
    has = {one.shot_id for one in alert.rounds}
    strange = [shot_id for shot_id in act.shot_ids if shot_id not in has]
    if strange:
        return f"round {strange[0]} is not in it as it stands (revision {alert.revision}); look at it again"
    if len(act.shot_ids) == len(has):
        return "these are all its rounds: nothing would remain; leave one, or judge the whole"
    return None


def _end(into: Mapping[str, str], alert_id: str, stop: str | None = None) -> str:
    while alert_id != stop and alert_id in into:
        alert_id = into[alert_id]
    return alert_id
