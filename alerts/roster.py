"""The roster: which shot belongs to which incident, now, as shots come, move, and are forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND
from alerts.grouping import link
from alerts.incident import Incident, State
from localization.fix import Fix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alerts.alert import Alert
    from alerts.grouping import Link
    from alerts.incident import Shot

QUIET_NS: Final = 2 * SECOND
"""News of an incident already told waits until nothing more was heard of it for so long."""

LINGER_NS: Final = 10 * SECOND
"""An incident closes when its last sound is so long past."""

GREATEST_INCIDENT: Final = 100
"""Shots an incident holds; the next one begins another, so that hours of hammering stay many small documents."""


@dataclass(slots=True, eq=False)
class Case:
    """An incident on the desk: what was last said of it, and what is still to say.

    Parameters
    ----------
    incident : Incident
        As it stands.
    known_ns : int
        Event time at which the latest news of it came.
    state : State
        Where it stands in its life.
    last : Alert or None
        The last revision said.
    pending : bool
        Whether something came since.
    """

    incident: Incident
    known_ns: int
    state: State = State.GATHERING
    last: Alert | None = None
    pending: bool = False

    @property
    def lives(self) -> bool:
        """Whether it is still to be closed."""
        return self.state in (State.GATHERING, State.OPEN)

    @property
    def close_ns(self) -> int:
        """The watermark at which it closes."""
        return max(self.incident.heard_ns + LINGER_NS, self.known_ns + QUIET_NS)

    @property
    def due_ns(self) -> int | None:
        """The watermark at which the next word about it is due; None when there is none."""
        quiet_ns = self.known_ns + QUIET_NS
        if self.state is State.CLOSED:
            return quiet_ns if self.pending else None
        if self.state is State.CANCELLED:  # more of what was withdrawn is no hurry
            return self.close_ns if self.pending else None
        return min(quiet_ns, self.close_ns) if self.pending and self.last is not None else self.close_ns

    @property
    def seniority(self) -> tuple[bool, bool, int, str]:
        """Sorts first what people know already: published, then told at all, then the older."""
        published = self.last is not None and self.last.outcome == "published"
        return not published, self.last is None, self.incident.first_ns, self.incident.incident_id


class Roster:
    """All incidents on the desk. Not told by itself to anybody: it has no words, only places for shots."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}  # by incident_id
        self.counts = dict.fromkeys(("incidents", "merged", "split", "forgotten"), 0)
        self._home: dict[str, str] = {}  # shot_id -> incident_id
        self._withdrawn: dict[str, Case] = {}  # taken in by others; their revision numbers must go on

    def incident_id(self, shot_id: str) -> str | None:
        """The incident that holds this shot; None when it is unknown."""
        return self._home.get(shot_id)

    def known(self, shot_id: str) -> Shot | None:
        """The revision of this shot that an incident holds; None when there is none."""
        home = self._home.get(shot_id)
        return None if home is None else self.cases[home].incident.shot(shot_id)

    def place(self, shot: Shot, known_ns: int) -> tuple[Case, list[Case]]:
        """Put a shot where it belongs.

        Parameters
        ----------
        shot : Fix or Unfixed
            A new one, or a later revision.
        known_ns : int
            Event time at which it came.

        Returns
        -------
        tuple
            Its case, marked as pending; and the cases that went into that one, of which somebody should say so.
        """
        case = self._stay(shot) or self._join(shot) or self._found(shot, known_ns)
        absorbed: list[Case] = []
        if isinstance(shot, Fix):
            case, absorbed = self._merge(shot, case)
            self._gather(case)
        case.pending = True
        case.known_ns = max(case.known_ns, known_ns)
        return case, absorbed

    def forget(self, before_ns: int) -> None:
        """Let go of every incident that is told to its end and of which nothing came since ``before_ns``."""
        for incident_id, case in list(self.cases.items()):
            if case.known_ns < before_ns and case.incident.heard_ns < before_ns and case.due_ns is None:
                for shot in case.incident.shots:
                    del self._home[shot.shot_id]
                del self.cases[incident_id]
                self.counts["forgotten"] += 1
        for incident_id, case in list(self._withdrawn.items()):
            if case.known_ns < before_ns:
                del self._withdrawn[incident_id]

    def _stay(self, shot: Shot) -> Case | None:
        """The case that holds an earlier revision, unless the shot moved away from the other shots with a place."""
        home = self._home.get(shot.shot_id)
        if home is None:
            return None
        case = self.cases[home]
        if case.incident.founder != shot.shot_id:
            rest = case.incident.without(shot.shot_id)
            if rest.fixes and link(shot, rest) is None:
                case.incident, case.pending = rest, True
                del self._home[shot.shot_id]
                self.counts["split"] += 1
                return None
        case.incident = case.incident.taking(shot)
        return case

    def _join(self, shot: Shot) -> Case | None:
        linked = self._linked(shot)
        if not linked:
            return None
        case = max(linked, key=lambda pair: (pair[0], pair[1].incident.incident_id))[1]
        self._move([shot], case)
        return case

    def _found(self, shot: Shot, known_ns: int) -> Case:
        case = Case(Incident(shot.shot_id, (shot,)), known_ns)
        self._resume(case)
        self._settle([shot], case)
        self.counts["incidents"] += 1
        return case

    def _resume(self, case: Case) -> None:
        """Enter a case under its name; where that was withdrawn before, its story goes on from there."""
        before = self._withdrawn.pop(case.incident.incident_id, None)
        if before is not None:
            case.state, case.last = before.state, before.last
        self.cases[case.incident.incident_id] = case

    def _linked(self, shot: Shot) -> list[tuple[Link, Case]]:
        return [
            (strength, case)
            for case in self.cases.values()
            if len(case.incident.shots) < GREATEST_INCIDENT and (strength := link(shot, case.incident)) is not None
        ]

    def _merge(self, shot: Fix, case: Case) -> tuple[Case, list[Case]]:
        """A shot between two incidents makes them one: the one that people know already, else the older."""
        absorbed: list[Case] = []
        for other in sorted((other for _, other in self._linked(shot) if other is not case), key=_seniority):
            if len(case.incident.shots) + len(other.incident.shots) > GREATEST_INCIDENT:
                continue
            case, goes = sorted((case, other), key=_seniority)
            self._move(goes.incident.shots, case)
            case.known_ns = max(case.known_ns, goes.known_ns)
            del self.cases[goes.incident.incident_id]
            self._withdrawn[goes.incident.incident_id] = goes
            self.counts["merged"] += 1
            absorbed.append(goes)
        return case, absorbed

    def _gather(self, case: Case) -> None:
        """Take in shots without a place that wait untold elsewhere and fit a shot with one.

        So that it does not matter which of them came first.
        """
        for other in [other for other in self.cases.values() if other.last is None and not other.incident.fixes]:
            room = GREATEST_INCIDENT - len(case.incident.shots)
            fitting = [shot for shot in other.incident.shots if link(shot, case.incident) is not None][:room]
            if not fitting:
                continue
            self._move(fitting, case)
            del self.cases[other.incident.incident_id]
            rest = [shot for shot in other.incident.shots if shot not in fitting]
            if not rest:
                self.counts["merged"] += 1
                continue
            other.incident = Incident(rest[0].shot_id, tuple(rest))
            self._resume(other)
            self._settle(rest, other)

    def _move(self, shots: Iterable[Shot], case: Case) -> None:
        case.incident = case.incident.taking(*shots)
        self._settle(shots, case)

    def _settle(self, shots: Iterable[Shot], case: Case) -> None:
        for shot in shots:
            self._home[shot.shot_id] = case.incident.incident_id


def _seniority(case: Case) -> tuple[bool, bool, int, str]:
    return case.seniority
