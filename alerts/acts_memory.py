"""The memory of acts: what people said lately, and which rounds belong to which alert by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alerts.act import Act
from alerts.hand import Hand, Standing, concerns, made_by, made_of
from alerts.incident import State
from alerts.roster import Life

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from alerts.alert import Alert, Round


@dataclass(slots=True, eq=False, kw_only=True)
class Aside(Life):
    """An alert that no incident of the roster stands for: made by a person, or spoken of after the desk forgot it.

    Parameters
    ----------
    names : tuple
        incident_id and alert_id.
    base : Alert or None
        The last stored revision of what was forgotten, as it was when people began to speak of it again.
    until_ns : int
        When the last sound of its rounds was heard.
    """

    names: tuple[str, str]
    base: Alert | None = None
    until_ns: int = 0

    @property
    def incident_id(self) -> str:
        """The incident's name."""
        return self.names[0]

    @property
    def alert_id(self) -> str:
        """The name of the alert that tells of it."""
        return self.names[1]

    @property
    def heard_ns(self) -> int:
        """When its last sound reached the last sensor that heard it."""
        return self.until_ns


STATES: Final[Mapping[str, State]] = {
    "preliminary": State.OPEN,
    "confirmed": State.CLOSED,
    "cancelled": State.CANCELLED,
}
"""In which state an incident is of which so much was said."""


class ActsMemory:
    """What people said of the incidents that the desk remembers."""

    def __init__(self) -> None:
        self.asides: dict[str, Aside] = {}  # by alert_id
        self.standing = Standing.of(())
        self._before: dict[str, Alert] = {}  # revisions that name acts which are not at hand any more
        self._spoken_ns: dict[str, int] = {}  # by alert_id, when somebody last spoke of it
        self._tied: tuple[tuple[str, ...], ...] | None = None  # found when it is asked for

    def __bool__(self) -> bool:
        return bool(self._spoken_ns)

    def __contains__(self, alert_id: str) -> bool:
        """Whether people said something that concerns this alert."""
        return alert_id in self._spoken_ns

    @property
    def acts(self) -> int:
        """How many acts are at hand."""
        return len(self.standing.acts)

    def knows(self, act_id: str) -> bool:
        """Whether an act of this name was told, and is at hand."""
        return act_id in self.standing.acts

    def concerned(self, act: Act) -> tuple[str, ...]:
        """The alerts of which an act says something."""
        return concerns(act, self.standing.acts)

    def add(self, acts: Iterable[Act], alerts: Iterable[Alert], now_ns: int) -> None:
        """Take acts, and the last revisions of what they concern.

        What a revision has of people, whose acts are not at hand, is kept as it stands there.
        """
        acts, self._tied = tuple(acts), None
        self.standing = Standing.of([*self.standing.acts.values(), *acts])
        for act in acts:
            for alert_id in self.concerned(act):
                self._spoken_ns[alert_id] = now_ns
        for alert in alerts:
            names = () if alert.review is None else alert.review.acts
            if not all(self.knows(name) for name in names):
                self._before.setdefault(alert.alert_id, alert)
            self._spoken_ns.setdefault(alert.alert_id, now_ns)

    def revive(self, alert: Alert) -> Aside:
        """Take up what the desk forgot, as it was last said."""
        machine = alert.outcome if alert.review is None else alert.review.machine_outcome
        aside = self.asides[alert.alert_id] = Aside(
            known_ns=0,
            state=STATES[alert.status],
            last=alert,
            lifted=machine == "published",
            names=(alert.incident_id, alert.alert_id),
            base=alert,
        )
        return aside

    def make(self, act: Act) -> Aside:
        """The alert that an act of kind ``split`` makes."""
        alert_id, incident_id = made_of(act)
        aside = self.asides.get(alert_id)
        if aside is None:
            aside = self.asides[alert_id] = Aside(known_ns=0, names=(incident_id, alert_id))
        return aside

    def founder(self, alert_id: str) -> str | None:
        """What founded an alert that a person made; None for all others."""
        made = (act for act in self.standing.acts.values() if act.shot_ids and made_of(act)[0] == alert_id)
        return next((made_by(act) for act in made), None)

    def hand(self, alert_id: str) -> Hand:
        """What people said of an alert."""
        if alert_id not in self:
            return Hand()
        before = self._before.get(alert_id)
        if before is None:
            return self.standing.hand(alert_id)
        return self.standing.hand(alert_id, before.review, _place_before(before))

    def homes(self) -> dict[str, tuple[Round, str]]:
        """Rounds of forgotten alerts: by shot_id as it was told, and the alert_id of whose it is by the machine."""
        found: dict[str, tuple[Round, str]] = {}
        for aside in self.asides.values():
            for one in () if aside.base is None else aside.base.rounds:
                home = aside.alert_id if one.incident_id is None else f"a{one.incident_id[1:]}"
                found[one.shot_id] = (one, home)
        return found

    def tied(self) -> tuple[tuple[str, ...], ...]:
        """The alerts that people spoke of, in groups that hang together by some act."""
        if self._tied is None:
            groups: dict[str, list[str]] = {alert_id: [alert_id] for alert_id in self._spoken_ns}
            for act in self.standing.acts.values():
                first = groups[act.alert_id]
                for alert_id in self.concerned(act):
                    other = groups[alert_id]
                    if other is not first:
                        first += other
                        groups.update(dict.fromkeys(other, first))
            self._tied = tuple({id(group): tuple(group) for group in groups.values()}.values())
        return self._tied

    def lately(self, alert_id: str, before_ns: int) -> bool:
        """Whether somebody spoke of an alert since an instant."""
        return self._spoken_ns.get(alert_id, 0) >= before_ns

    def forget(self, alert_ids: Iterable[str]) -> None:
        """Let go of what was said of these alerts; the record has it."""
        gone, self._tied = frozenset(alert_ids), None
        for alert_id in gone:
            self.asides.pop(alert_id, None)
            self._before.pop(alert_id, None)
            self._spoken_ns.pop(alert_id, None)
        self.standing = Standing.of(act for act in self.standing.acts.values() if act.alert_id not in gone)


def _place_before(alert: Alert) -> Act | None:
    """The place by hand that a revision has, as an act that has no name among those that were told."""
    review, place = alert.review, alert.place
    if review is None or place is None or place.latitude is None or place.longitude is None:
        return None
    if review.machine_place is None and "unplaced" not in alert.what.flags:
        return None
    return Act(
        act_id=f"before {alert.message_id}",
        kind="place",
        alert_id=alert.alert_id,
        incident_id=alert.incident_id,
        by=review.by,
        at_ns=1,
        latitude=place.latitude,
        longitude=place.longitude,
        radius_m=place.ellipse.semi_major_m,
    )
