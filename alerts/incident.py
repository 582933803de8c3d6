"""An incident: the shots that people call one thing, and its life as a table of transitions."""

from __future__ import annotations

import hashlib
import itertools
import math
import statistics
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from acoustic.instant import SECOND, seconds_between
from localization.fix import Fix, Unfixed

if TYPE_CHECKING:
    from collections.abc import Mapping

Shot: TypeAlias = Fix | Unfixed

AUTOMATIC_ROUNDS: Final = 4
AUTOMATIC_INTERVAL_S: Final = 60.0 / 450.0
"""Full-automatic: four rounds or more at 450 a minute or faster, the rate of the slowest submachine guns (M3)."""

FASTEST_INTERVAL_NS: Final = SECOND // 20
"""1,200 rounds a minute: closer together than this, two fixes may be one round and its echo."""

SURE_SENSORS: Final = 3
SURE_SPREAD_S: Final = 0.02
"""A round without a place of its own counts as one when three sensors or more heard it with the same delays as a
placed round, within this spread (7 m of path); echoes at three walls do not agree so well."""


class State(StrEnum):
    """Where an incident stands: nothing said yet; said, and growing; said for good; withdrawn."""

    GATHERING = "gathering"
    OPEN = "open"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to it; the first five by the machine, the others by people. See `MEANING`."""

    NEWS = "news"
    CLOSE = "close"
    FELL = "fell"
    ROSE = "rose"
    MERGED = "merged"
    SAID = "said"
    CONFIRMED = "confirmed"
    DENIED = "denied"
    JOINED = "joined"
    RELEASED = "released"


MEANING: Final[Mapping[Event, str]] = MappingProxyType(
    {
        Event.NEWS: "something worth telling: a round, a late sensor, a better place",
        Event.CLOSE: "its time is over",
        Event.FELL: "the evidence fell away after it was published",
        Event.ROSE: "the evidence came back",
        Event.MERGED: "a shot between two incidents made it part of another",
        Event.SAID: "a person placed it, gave or took rounds, or is unsure; or what they said withdraws nothing",
        Event.CONFIRMED: "a person says that it was gunfire",
        Event.DENIED: "a person says that it was something else, after it was published",
        Event.JOINED: "a person made it part of another, or gave its last round away",
        Event.RELEASED: "what a person withdrew it by counts no more",
    }
)

_ROWS: Final[Mapping[Event, tuple[State, State, State, State]]] = MappingProxyType(
    {
        # from         GATHERING, OPEN, CLOSED, CANCELLED
        Event.NEWS: (State.OPEN, State.OPEN, State.CLOSED, State.CANCELLED),
        Event.CLOSE: (State.CLOSED, State.CLOSED, State.CLOSED, State.CANCELLED),
        # While gathering nothing was published that could fall.
        Event.FELL: (State.GATHERING, State.CANCELLED, State.CANCELLED, State.CANCELLED),
        # A real shot must not stay buried under an early doubt.
        Event.ROSE: (State.GATHERING, State.OPEN, State.CLOSED, State.OPEN),
        Event.MERGED: (State.CANCELLED, State.CANCELLED, State.CANCELLED, State.CANCELLED),
        Event.SAID: (State.OPEN, State.OPEN, State.CLOSED, State.CANCELLED),
        Event.CONFIRMED: (State.OPEN, State.OPEN, State.CLOSED, State.OPEN),
        Event.DENIED: (State.OPEN, State.CANCELLED, State.CANCELLED, State.CANCELLED),
        Event.JOINED: (State.CANCELLED, State.CANCELLED, State.CANCELLED, State.CANCELLED),
        Event.RELEASED: (State.OPEN, State.OPEN, State.CLOSED, State.OPEN),
    }
)

LIFE: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {(state, event): row[k] for event, row in _ROWS.items() for k, state in enumerate(State)}
)
"""The whole life of an incident: what each event makes of each state."""

STATUS: Final[Mapping[State, Literal["preliminary", "confirmed", "cancelled"]]] = MappingProxyType(
    {State.OPEN: "preliminary", State.CLOSED: "confirmed", State.CANCELLED: "cancelled"}
)
"""How an alert calls each state in which something has been said."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """How many rounds: surely, most probably, at most."""

    min: int
    best: int
    max: int

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.best <= self.max:
            raise ValueError(f"rounds are {self.min}, {self.best}, {self.max}: expected 0 <= min <= best <= max")


@dataclass(frozen=True, slots=True)
class Incident:
    """Shots that people call one thing: a single shot, a burst, an exchange at one corner.

    Parameters
    ----------
    founder : str
        ``shot_id`` of the shot that began it; it names the incident for ever, through merges and revisions.
    shots : tuple of Fix or Unfixed
        The latest revision of each, ordered by time, then by name.

    Raises
    ------
    ValueError
        When empty, or when one shot is in it twice.
    """

    founder: str
    shots: tuple[Shot, ...]

    def __post_init__(self) -> None:
        if not self.shots or len({shot.shot_id for shot in self.shots}) < len(self.shots):
            raise ValueError("an incident holds one shot or more, each once")
        ordered = tuple(sorted(self.shots, key=lambda shot: (shot.time_ns, shot.shot_id)))
        object.__setattr__(self, "shots", ordered)

    @property
    def incident_id(self) -> str:
        """Name of the incident: a hash of its founder's name."""
        return names_of(self.founder)[0]

    @property
    def alert_id(self) -> str:
        """Name of the alert that tells of it; there is one."""
        return names_of(self.founder)[1]

    @property
    def fixes(self) -> tuple[Fix, ...]:
        """The shots with a place, by time."""
        return tuple(shot for shot in self.shots if isinstance(shot, Fix))

    @property
    def unfixed(self) -> tuple[Unfixed, ...]:
        """The shots without a place, by time."""
        return tuple(shot for shot in self.shots if isinstance(shot, Unfixed))

    @property
    def best(self) -> Fix | None:
        """The shot whose place stands for the incident; None when no shot has one.

        One place rather than the most sensors, then the smallest region, then the earliest. Not an average: rounds
        of one shooter are heard by the same sensors through the same air, so that their errors do not cancel and an
        averaged region would promise too much.
        """
        fixes = self.fixes
        if not fixes:
            return None
        return min(fixes, key=lambda fix: (len(fix.modes) > 1, -fix.n_sensors, fix.best.ellipse.area_m2, fix.time_ns))

    @property
    def first_ns(self) -> int:
        """When it began: discharge of the first shot with a place; else the first arrival at any sensor."""
        return (self.fixes or self.shots)[0].time_ns

    @property
    def last_ns(self) -> int:
        """When it ended, told as `first_ns` is."""
        return (self.fixes or self.shots)[-1].time_ns

    @property
    def heard_ns(self) -> int:
        """When its last sound reached the last sensor that heard it."""
        return max(last_arrival_ns(shot) for shot in self.shots)

    @property
    def rounds(self) -> Rounds:
        """How many rounds were fired.

        Best: the shots with a place, and those without one that `SURE_SENSORS` heard as they heard a placed one. At
        least: the shots more likely gunfire than not, `FASTEST_INTERVAL_NS` apart. At most: what two sensors heard;
        a bang at one sensor alone may be anything near it.
        """
        fixes, unfixed = self.fixes, self.unfixed
        if not fixes:
            return Rounds(1, len(unfixed), len(unfixed))
        best = len(fixes) + sum(_surely_a_round(shot, fixes) for shot in unfixed)
        return Rounds(max(1, _apart(fixes)), best, len(fixes) + sum(shot.n_sensors > 1 for shot in unfixed))

    @property
    def cadence_s(self) -> float | None:
        """Median time between successive shots with a place, s; None for fewer than two."""
        gaps = [seconds_between(a.time_ns, b.time_ns) for a, b in itertools.pairwise(self.fixes)]
        return statistics.median(gaps) if gaps else None

    @property
    def full_automatic(self) -> bool:
        """Whether some `AUTOMATIC_ROUNDS` follow each other at `AUTOMATIC_INTERVAL_S` or faster, or sensors say so.

        The sensors' word counts when half of those that heard the best fix mark it: in a fast burst, rounds may be
        too close together to be placed one by one.
        """
        times = [fix.time_ns for fix in self.fixes]
        steps = AUTOMATIC_ROUNDS - 1
        if any(b - a <= steps * AUTOMATIC_INTERVAL_S * SECOND for a, b in zip(times, times[steps:], strict=False)):
            return True
        best = self.best
        if best is None:
            return False
        marked = sum("full-automatic" in arrival.detection.flags for arrival in best.arrivals)
        return marked > 0 and 2 * marked >= len(best.arrivals)

    def shot(self, shot_id: str) -> Shot | None:
        """The shot of this name, or None."""
        return next((shot for shot in self.shots if shot.shot_id == shot_id), None)

    def taking(self, *shots: Shot) -> Incident:
        """The incident with these shots added, each in place of its earlier revision."""
        new = {shot.shot_id: shot for shot in shots}
        kept = tuple(shot for shot in self.shots if shot.shot_id not in new)
        return replace(self, shots=(*kept, *new.values()))

    def without(self, shot_id: str) -> Incident:
        """The incident without this shot.

        Raises
        ------
        ValueError
            For its founder, which names it, or for its only shot.
        """
        if shot_id == self.founder:
            raise ValueError(f"shot {shot_id} founded the incident and stays in it")
        return replace(self, shots=tuple(shot for shot in self.shots if shot.shot_id != shot_id))


def last_arrival_ns(shot: Shot) -> int:
    """When the shot's sound reached the last sensor that heard it; its own time where no arrival is known."""
    return max((arrival.detection.pick.onset_ns for arrival in shot.arrivals), default=shot.time_ns)


def shared_delays_s(one: Shot, other: Shot) -> tuple[float, ...]:
    """By how much each sensor that heard both heard ``one`` later than ``other``, seconds, ascending.

    Two bangs from one place reach every sensor with the same delay between them, whatever the place and the air.
    """
    heard = {a.detection.sensor_id: a.detection.pick.onset_ns for a in other.arrivals if _direct(a.weight, other)}
    return tuple(
        sorted(
            seconds_between(heard[a.detection.sensor_id], a.detection.pick.onset_ns)
            for a in one.arrivals
            if a.detection.sensor_id in heard and _direct(a.weight, one)
        )
    )


def _direct(weight: float, shot: Shot) -> bool:
    return weight >= 0.5 or isinstance(shot, Unfixed)


def _surely_a_round(shot: Unfixed, fixes: tuple[Fix, ...]) -> bool:
    if shot.llr < 0.0:
        return False
    delays = (shared_delays_s(shot, fix) for fix in fixes)
    return any(len(d) >= SURE_SENSORS and d[-1] - d[0] <= SURE_SPREAD_S for d in delays)


def _apart(fixes: tuple[Fix, ...]) -> int:
    count, before = 0, -math.inf
    for fix in fixes:
        if fix.llr >= 0.0 and fix.time_ns - before >= FASTEST_INTERVAL_NS:
            count, before = count + 1, fix.time_ns
    return count


def names_of(founder: str) -> tuple[str, str]:
    """The incident_id and the alert_id that a founder gives."""
    digest = hashlib.sha256(f"incident\n{founder}".encode()).hexdigest()[:16]
    return f"i{digest}", f"a{digest}"
