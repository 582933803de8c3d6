"""The roster: which shot belongs to which incident, now, as shots come, move, and are forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND
from alerts.grouping import link
from alerts.incident import Incident, State
from localization.fix import Fix

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from alerts.alert import Alert
    from alerts.grouping import Link
    from alerts.incident import Shot

QUIET_NS: Final = 2 * SECOND
"""News of an incident already told waits until nothing more was heard of it for so long."""

LINGER_NS: Final = 10 * SECOND
"""An incident closes when its last sound is so long past."""

GREATEST_INCIDENT: Final = 100
"""Shots an incident holds; the next one begins another, so that hours of hammering stay many small documents."""


@dataclass(slots=True, eq=False, kw_only=True)
class Life:
    """What was last said of an incident, and what is still to say.

    Parameters
    ----------
    known_ns : int
        Event time at which the latest news of it came.
    state : State
        Where it stands in its life.
    last : Alert or None
        The last revision said.
    pending : bool
        Whether something came since.
    lifted : bool
        Whether the machine by itself would have published it, ever.
    silent : bool
        Whether there is nothing to say of it, since people put all its rounds elsewhere before it was told.
    """

    known_ns: int
    state: State = State.GATHERING
    last: Alert | None = None
    pending: bool = False
    lifted: bool = False
    silent: bool = False

    @property
    def incident_id(self) -> str:
        """The incident's name."""
        raise NotImplementedError

    @property
    def alert_id(self) -> str:
        """The name of the alert that tells of it."""
        raise NotImplementedError

    @property
    def heard_ns(self) -> int:
        """When its last sound reached the last sensor that heard it."""
        raise NotImplementedError

    @property
    def lives(self) -> bool:
        """Whether it is still to be closed."""
        return self.state in (State.GATHERING, State.OPEN)

    @property
    def close_ns(self) -> int:
        """The watermark at which it closes."""
        return max(self.heard_ns + LINGER_NS, self.known_ns + QUIET_NS)

    @property
    def due_ns(self) -> int | None:
        """The watermark at which the next word about it is due; None when there is none."""
        if self.silent:
            return None
        quiet_ns = self.known_ns + QUIET_NS
        if self.state is State.CLOSED:
            return quiet_ns if self.pending else None
        if self.state is State.CANCELLED:  # more of what was withdrawn is no hurry
            return self.close_ns if self.pending else None
        return min(quiet_ns, self.close_ns) if self.pending and self.last is not None else self.close_ns


@dataclass(slots=True, eq=False, kw_only=True)
class TrackedIncident(Life):
    """An incident on the desk, as the machine has it; a case, for short.

    Parameters
    ----------
    incident : Incident
        As it stands.
    held : bool
        Whether people have spoken of it: the machine then makes it part of no other.
    """

    incident: Incident
    held: bool = False

    @property
    def incident_id(self) -> str:
        """The incident's name."""
        return self.incident.incident_id

    @property
    def alert_id(self) -> str:
        """The name of the alert that tells of it."""
        return self.incident.alert_id

    @property
    def heard_ns(self) -> int:
        """When its last sound reached the last sensor that heard it."""
        return self.incident.heard_ns

    @property
    def seniority(self) -> tuple[bool, bool, bool, int, str]:
        """Sorts first what people spoke of, then what they know already: published, told at all; then the older."""
        published = self.last is not None and self.last.outcome == "published"
        return not self.held, not published, self.last is None, self.incident.first_ns, self.incident.incident_id


class Roster:
    """All incidents on the desk. Not told by itself to anybody: it has no words, only places for shots."""

    def __init__(self) -> None:
        self.cases: dict[str, TrackedIncident] = {}  # by incident_id
        self.counts = dict.fromkeys(("incidents", "merged", "split", "forgotten"), 0)
        self._home: dict[str, str] = {}  # shot_id -> incident_id
        self._withdrawn: dict[str, TrackedIncident] = {}  # taken in by others; their revision numbers must go on

    def incident_id(self, shot_id: str) -> str | None:
        """The incident that holds this shot; None when it is unknown."""
        return self._home.get(shot_id)

    def known(self, shot_id: str) -> Shot | None:
        """The revision of this shot that an incident holds; None when there is none."""
        home = self._home.get(shot_id)
        return None if home is None else self.cases[home].incident.shot(shot_id)

    def place(self, shot: Shot, known_ns: int) -> tuple[TrackedIncident, list[TrackedIncident]]:
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
        absorbed: list[TrackedIncident] = []
        if isinstance(shot, Fix):
            case, absorbed = self._merge(shot, case)
            self._gather(case)
        case.pending = True
        case.known_ns = max(case.known_ns, known_ns)
        return case, absorbed

    @staticmethod
    def may_go(case: Life, before_ns: int) -> bool:
        """Whether an incident is told to its end, and nothing came of it since ``before_ns``."""
        return case.known_ns < before_ns and case.heard_ns < before_ns and case.due_ns is None

    def withdrawn(self, incident_id: str) -> TrackedIncident | None:
        """The incident of this name that another took in; None where there is none, or it is long past."""
        return self._withdrawn.get(incident_id)

    def forget(self, before_ns: int, keep: Container[str] = ()) -> None:
        """Let go of every incident that may go, but for those whose names are to be kept."""
        for incident_id, case in list(self.cases.items()):
            if self.may_go(case, before_ns) and incident_id not in keep:
                for shot in case.incident.shots:
                    del self._home[shot.shot_id]
                del self.cases[incident_id]
                self.counts["forgotten"] += 1
        for incident_id, case in list(self._withdrawn.items()):
            if case.known_ns < before_ns:
                del self._withdrawn[incident_id]

    def _stay(self, shot: Shot) -> TrackedIncident | None:
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

    def _join(self, shot: Shot) -> TrackedIncident | None:
        linked = self._linked(shot)
        if not linked:
            return None
        case = max(linked, key=lambda pair: (pair[0], pair[1].incident.incident_id))[1]
        self._move([shot], case)
        return case

    def _found(self, shot: Shot, known_ns: int) -> TrackedIncident:
        case = TrackedIncident(incident=Incident(shot.shot_id, (shot,)), known_ns=known_ns)
        self._resume(case)
        self._settle([shot], case)
        self.counts["incidents"] += 1
        return case

    def _resume(self, case: TrackedIncident) -> None:
        """Enter a case under its name; where that was withdrawn before, its story goes on from there."""
        before = self._withdrawn.pop(case.incident.incident_id, None)
        if before is not None:
            case.state, case.last, case.lifted = before.state, before.last, before.lifted
        self.cases[case.incident.incident_id] = case

    def _linked(self, shot: Shot) -> list[tuple[Link, TrackedIncident]]:
        return [
            (strength, case)
            for case in self.cases.values()
            if len(case.incident.shots) < GREATEST_INCIDENT and (strength := link(shot, case.incident)) is not None
        ]

    def _merge(self, shot: Fix, case: TrackedIncident) -> tuple[TrackedIncident, list[TrackedIncident]]:
        """A shot between two incidents makes them one: the one that people know already, else the older."""
        absorbed: list[TrackedIncident] = []
        for other in sorted((other for _, other in self._linked(shot) if other is not case), key=_seniority):
            if len(case.incident.shots) + len(other.incident.shots) > GREATEST_INCIDENT:
                continue
            keeps, goes = sorted((case, other), key=_seniority)
            # What people spoke of takes in nothing that others know of: a shot must not vanish in what one of them
            # called fireworks. To join the two is theirs.
            if keeps.held and (goes.held or goes.last is not None):
                continue
            case = keeps
            self._move(goes.incident.shots, case)
            case.known_ns = max(case.known_ns, goes.known_ns)
            del self.cases[goes.incident.incident_id]
            self._withdrawn[goes.incident.incident_id] = goes
            self.counts["merged"] += 1
            absorbed.append(goes)
        return case, absorbed

    def _gather(self, case: TrackedIncident) -> None:
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

    def _move(self, shots: Iterable[Shot], case: TrackedIncident) -> None:
        case.incident = case.incident.taking(*shots)
        self._settle(shots, case)

    def _settle(self, shots: Iterable[Shot], case: TrackedIncident) -> None:
        for shot in shots:
            self._home[shot.shot_id] = case.incident.incident_id


def _seniority(case: TrackedIncident) -> tuple[bool, bool, bool, int, str]:
    return case.seniority
