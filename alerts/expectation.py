"""Expectation: the prior of an incident from the hour, the calendar, and the bangs heard around it before."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from acoustic.detection import probability
from acoustic.instant import SECOND
from alerts.bangs import UNIT, WINDOW_NS, Bang, Bangs
from alerts.circumstances import ALWAYS_PUBLISH, Circumstances, ExpectedNear
from alerts.event_calendar import EventCalendar, spot_of
from alerts.policy import Policy
from alerts.tally import Tally
from localization.fix import Fix

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from alerts.calendar_event import ExpectedEvent
    from alerts.event_calendar import Entry
    from alerts.incident import Incident, Shot
    from alerts.policy import Outcome, Verdict

FLAT_HOURS: Final = (1.0,) * 24
HOUR_NS: Final = 3600 * SECOND

LONGEST_INCIDENT_NS: Final = 600 * SECOND
"""What an incident that is still told may have begun before its last sound."""

MOST_LISTED: Final = 20
"""Events that a word about an incident names, the nearest; it counts with those, and spends of their budgets."""

SWEEP_NS: Final = 60 * SECOND
"""How often what is forgotten is looked for."""


class Expectation:
    """What was to be expected, before a sound was judged.

    The odds that a bang is gunfire are the rate of gunfire over the rate of other bangs, there and then. The policy's
    prior is what they are on an ordinary night, on which ``ordinary_per_hour`` other bangs are heard within ``near_m``
    of a place; the hour changes the odds by a table. The rate of other bangs is not known but learned: it is a factor
    times what is expected, ``ordinary_per_hour`` and the load of the events that the calendar has there; the factor
    has a Gamma prior of mean 1 that weighs as much as ``ordinary_hours`` of an ordinary night, and the bangs of the
    last ten minutes update it (conjugate to the Poisson law). The odds of the next bang are then the rate of gunfire
    over the *mean* of the factor's posterior times the load: that is the intensity of the mixed Poisson process given
    what was heard, hence exact under the model.

    Each bang heard counts by how probably it was no gunfire at the ordinary prior, never at the one that is made of
    it: so that a gun battle hardly lowers its own odds, and nothing feeds on itself. The load never raises the odds.

    It stops being true where bangs attract one another beyond a minute and 250 m (a neighbourhood answering a
    neighbourhood: then it lowers too little), where gunfire itself comes in series (then too much), and where the
    evidence of the bangs is wrong. Bangs without a place neither count nor are lowered by the rate: nobody knows what
    was near them.

    Everything is reckoned from what was discharged before an incident's first round. Hence the last word about an
    incident depends neither on the order of arrival, as far as bangs arrive before it closes, nor on how often the
    desk is ticked. One exception: at the edge of a budget, what was published before an earlier incident was heard of
    that spends of the same budget stays published. Finding and noting take a time that does not grow with the length
    of the night.

    Parameters
    ----------
    policy : Policy or None
        Whose prior is the base.
    events : iterable of ExpectedEvent
        The calendar.
    hours : tuple of float
        24 factors on the odds of gunfire, by local hour; any positive numbers, brought to a mean of 1, so that the
        table says when and the prior how much.
    zone : tzinfo or None
        Where those hours are; None for UTC.
    ordinary_per_hour : float
        Other bangs an hour within ``near_m`` of a place on an ordinary night.
    ordinary_hours : float
        How many hours of listening that is worth.
    near_m : float
        How far away bangs count, in the plane of the sensors.
    always_publish : float
        Probability from which a spent budget holds nothing back.

    Raises
    ------
    ValueError
        When a parameter is out of its range.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        events: Iterable[ExpectedEvent] = (),
        *,
        hours: tuple[float, ...] = FLAT_HOURS,
        zone: tzinfo | None = None,
        ordinary_per_hour: float = 12.0,
        ordinary_hours: float = 0.5,
        near_m: float = 2_000.0,
        always_publish: float = ALWAYS_PUBLISH,
    ) -> None:
        _check(hours, ordinary_per_hour, ordinary_hours, near_m, always_publish)
        mean = math.fsum(hours) / 24.0
        self._policy = policy or Policy()
        self._hour_shifts = tuple(math.log(factor / mean) for factor in hours)
        self._zone = zone or UTC
        self._ordinary_per_hour = ordinary_per_hour
        self._ordinary_hours = ordinary_hours
        self._near_m = near_m
        self._always_publish = always_publish
        self._calendar = EventCalendar(events)
        self._bangs = Bangs()
        self._tally = Tally()
        self._swept_ns = 0

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What became of the incidents of each event, by its label, and of those ``elsewhere``.

        For each: how many incidents stand as ``published``, ``review`` and ``suppressed``, and how many of those in
        review are there because the budget was spent (``over_budget``). An incident of two events counts in both.
        """
        # Other threads ask while the desk counts: copies are made in one step, and only those are gone through.
        return {label: mine.copy() for label, mine in self._tally.counts.copy().items()}

    @property
    def events(self) -> tuple[ExpectedEvent, ...]:
        """The calendar in force."""
        return self._calendar.events

    def fingerprint(self) -> str:
        """Text of everything given that decides the prior, for the configuration's hash; the calendar too."""
        return repr(
            (
                self._policy,
                self._hour_shifts,
                str(self._zone),
                self._ordinary_per_hour,
                self._ordinary_hours,
                self._near_m,
                self._always_publish,
                self._calendar.events,
            )
        )

    def adopt(self, events: Iterable[ExpectedEvent]) -> None:
        """Take over a new calendar; bangs already heard are looked up in it again.

        Raises
        ------
        ValueError
            When it has too many events; the old one stays in force.
        """
        self._calendar = EventCalendar(events)
        for bang in list(self._bangs):
            near = self._calendar.near(bang.time_ns, bang.spot)
            self._bangs.add(bang._replace(explained=_labels(near)))

    def note(self, shot: Shot) -> None:
        """Take one shot, or a later revision of one, before its incident is judged."""
        if not isinstance(shot, Fix):
            self._bangs.drop(shot.shot_id)
            return
        spot, place = spot_of(shot), shot.best.place
        other = 1.0 - probability(shot.llr, self._policy.log_prior_odds)
        near = self._calendar.near(shot.time_ns, spot)
        weight = round(other * UNIT)
        self._bangs.add(Bang(shot.time_ns, shot.shot_id, place.east_m, place.north_m, weight, _labels(near), spot))

    def circumstances(self, incident: Incident) -> Circumstances:
        """What makes the prior of an incident; asking changes nothing."""
        at_ns, best = incident.first_ns, incident.best
        entries = self._calendar.near(at_ns, spot_of(best))
        ordinary = self._ordinary_per_hour
        load = ordinary + math.fsum(entry.event.expected_per_hour for entry in entries)
        factor = 1.0 if best is None else self._factor(at_ns, best, entries)
        calendar_shift = math.log(ordinary / load)
        return Circumstances(
            base=self._policy.prior,
            hour_shift=self._hour_shift(at_ns),
            calendar_shift=calendar_shift,
            rate_shift=min(0.0, math.log(ordinary / (factor * load))) - calendar_shift,
            others_per_hour=factor * load,
            expected=_listed([self._expected(entry, incident) for entry in entries]),
            always_publish=self._always_publish,
        )

    def told(self, incident: Incident, verdict: Verdict, outcome: Outcome) -> None:
        """A revision of an incident was said: count it, and spend of its events' budgets when it is first published.

        Parameters
        ----------
        incident : Incident
            As it was told.
        verdict : Verdict
            By which it was.
        outcome : str
            What was said, which is not the verdict's where it was published before or a person decided.
        """
        known = verdict.circumstances
        labels = () if known is None else tuple(near.label for near in known.expected)
        held = known is not None and known.over_budget
        last_ns = incident.shots[-1].time_ns
        self._tally.told(incident.incident_id, labels, outcome, last_ns, held=held)
        if verdict.outcome == "published":
            self._tally.spend(incident.incident_id, labels, last_ns)

    def merged(self, incident_id: str) -> None:
        """An incident became part of another: it is counted there."""
        self._tally.merged(incident_id)

    def forget(self, before_ns: int) -> None:
        """Nothing that ended before this instant will be told of any more."""
        if before_ns < self._swept_ns + SWEEP_NS:
            return
        self._swept_ns = before_ns
        self._bangs.forget(before_ns - LONGEST_INCIDENT_NS - WINDOW_NS)
        self._tally.forget(before_ns - LONGEST_INCIDENT_NS)

    def _factor(self, at_ns: int, best: Fix, entries: tuple[Entry, ...]) -> float:
        """Posterior mean of how many times more other bangs there are than expected."""
        place = best.best.place
        heard = self._bangs.count(at_ns, place.east_m, place.north_m, self._near_m, _labels(entries))
        awaited = self._ordinary_per_hour * WINDOW_NS / HOUR_NS
        # Only by its own hours: silence before a show begins says nothing of how loud it will be.
        awaited += math.fsum(entry.event.expected_per_hour * _hours_past(entry.event, at_ns) for entry in entries)
        weight = self._ordinary_per_hour * self._ordinary_hours
        return (weight + heard) / (weight + awaited)

    def _hour_shift(self, at_ns: int) -> float:
        return self._hour_shifts[datetime.fromtimestamp(at_ns // SECOND, self._zone).hour]

    def _expected(self, entry: Entry, incident: Incident) -> ExpectedNear:
        event, ordinary = entry.event, self._ordinary_per_hour
        budget = event.budget_per_hour
        return ExpectedNear(
            name=event.name,
            kind=event.kind,
            distance_m=entry.distance_m,
            shift=math.log(ordinary / (ordinary + event.expected_per_hour)),
            over_budget=budget is not None
            and self._tally.spent(entry.label, incident.first_ns, incident.incident_id) >= budget,
            label=entry.label,
            budget_per_hour=budget,
        )


def _check(
    hours: tuple[float, ...], ordinary_per_hour: float, ordinary_hours: float, near_m: float, sure: float
) -> None:
    if len(hours) != 24 or not all(0.0 < factor < math.inf for factor in hours):
        raise ValueError("hours must be 24 positive factors, the first for midnight to one o'clock")
    if not 0.01 <= ordinary_per_hour <= 10_000.0:
        raise ValueError(f"ordinary_per_hour is {ordinary_per_hour}: expected 0.01 to 10,000")
    if not 0.01 <= ordinary_hours <= 1_000.0:
        raise ValueError(f"ordinary_hours is {ordinary_hours}: expected 0.01 to 1,000")
    if not 100.0 <= near_m <= 10_000.0:
        raise ValueError(f"near_m is {near_m}: expected 100 to 10,000")
    if not 0.0 < sure < 1.0:
        raise ValueError(f"always_publish is {sure}: expected a probability between 0 and 1")


def _listed(near: list[ExpectedNear]) -> tuple[ExpectedNear, ...]:
    """The nearest; should a budget be spent only farther away, that event in place of the last."""
    listed, further = near[:MOST_LISTED], near[MOST_LISTED:]
    spent = [one for one in further if one.over_budget]
    if spent and not any(one.over_budget for one in listed):
        listed[-1] = spent[0]
    return tuple(listed)


def _labels(entries: tuple[Entry, ...]) -> frozenset[str]:
    return frozenset(entry.label for entry in entries)


def _hours_past(event: ExpectedEvent, at_ns: int) -> float:
    """How much of an event's own time lies in the window before an instant, hours."""
    return max(0, min(at_ns, event.end_ns) - max(at_ns - WINDOW_NS, event.start_ns)) / HOUR_NS
