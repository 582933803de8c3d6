"""The desk: shots in, alerts out. The pure machine of this room; time comes to it as watermarks."""

from __future__ import annotations

import dataclasses
import heapq
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND, check_instant
from alerts.acts_memory import STATES, ActsMemory, Aside
from alerts.alert import Alert, Provenance, substance
from alerts.careful_surveyor import CarefulSurveyor
from alerts.clips import Clips
from alerts.draft import Setting, Turn, draft, turned
from alerts.grouping import TRAVEL_NS
from alerts.hand import Hand, alerts_concerned, objection, root_of
from alerts.incident import LIFE, STATUS, Event, State, last_arrival_ns
from alerts.overlay import laid_over
from alerts.policy import OUTCOMES, Policy
from alerts.roster import Roster
from alerts.rulings import Rulings
from alerts.turning import Ruling, event_of, kind_of, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from acoustic.detection import Clip
    from alerts.act import Act
    from alerts.alert import ModeOfUse
    from alerts.expectation import Expectation
    from alerts.incident import Shot
    from alerts.place import Surveyor
    from alerts.roster import Life, TrackedIncident

MEMORY_NS: Final = 600 * SECOND
"""Until then a late sensor may still change a closed incident; afterwards it is forgotten."""


class Desk:
    """Receives shots, groups them into incidents, and says what people are to be told.

    The first alert of an incident goes out with its first shot that is worth publishing or reviewing. Further rounds
    wait until the burst is quiet and make one revision; the last one, ``confirmed``, comes when the incident closes.
    What is suppressed, and what has no place, is told once, when it closes: it is stored and counted, and nobody waits
    for it. Evidence that falls after it was published cancels; what was cancelled can come back.

    A deadline is an instant on the watermark's own scale, and an alert is published *at* its deadline however far
    apart the ticks are: so how often the desk is ticked does not change what it finally says. Shots older than
    `MEMORY_NS` are counted as ``too_late`` and change nothing.

    What a person decides comes as an act and is laid over the machine's word: it makes a revision at once, stands
    whatever the machine says later, and can be undone; see `act`.

    Clips of sound enter an alert with its next revision and never make one of their own. A revision that is due at an
    instant names those that every sensor must have sent by then, and no others, however early they came: a sensor
    sends a clip before its word reaches a second behind the clip's end, and the watermark is no further than any
    sensor's word. A clip ends at most eight seconds behind an impulse in it, and an incident closes ten seconds or more
    behind its last, so that the closing revision has them all. Only the clips of a sensor that is no longer waited for
    can miss it.

    Parameters
    ----------
    policy : Policy
        Prior and thresholds.
    mode : str
        live, replay, test or exercise.
    frame_name : str
        What to call the plane of places that have no degrees.
    provenance : Provenance
        Versions and hashes that every alert carries; the desk adds the models and the weather.
    expectation : Expectation or None
        What was to be expected, for the prior; None for the policy's own prior, always.
    gazetteer : Surveyor or None
        Who says what stands at a place. Where it fails, the alert goes out without an address.
    audio_url : str or None
        What precedes the digest of a clip where it can be fetched; None where nobody hands it out.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        mode: ModeOfUse = "live",
        frame_name: str = "local",
        provenance: Provenance | None = None,
        expectation: Expectation | None = None,
        gazetteer: Surveyor | None = None,
        audio_url: str | None = None,
    ) -> None:
        self._expectation = expectation
        self._surveyor = None if gazetteer is None else CarefulSurveyor(gazetteer)
        self._setting = Setting(mode, frame_name, provenance or Provenance(), self._surveyor, audio_url)
        self._watermark_ns = 0
        self._roster = Roster()
        self._people = ActsMemory()
        self._rulings = Rulings(self._roster, self._people, policy or Policy(), self._setting, expectation)
        self._clips = Clips()
        named = ("shots", "stale", "too_late", "clips", "acts", "acts_repeated", "acts_passed_over", "revisions")
        self._counts = dict.fromkeys((*named, *OUTCOMES), 0)

    @property
    def counts(self) -> dict[str, int]:
        """What has happened so far.

        ``shots`` received, of which ``stale`` (a revision already known) and ``too_late`` changed nothing;
        ``clips`` received; ``acts`` of people, of which ``acts_repeated`` were told before and ``acts_passed_over``
        made no sense any more; ``revisions`` said, of which so many ``published``, for ``review`` and ``suppressed``;
        ``incidents`` begun, ``merged`` into others, ``forgotten`` after their time; shots that ``split`` off;
        ``unsurveyed``: how often nobody could tell what stands at a place.
        """
        failed = 0 if self._surveyor is None else self._surveyor.failed
        return self._counts | self._roster.counts | {"unsurveyed": failed}

    def incident_id(self, shot_id: str) -> str | None:
        """To which incident a shot belongs now, by the machine; None when it is unknown or forgotten."""
        return self._roster.incident_id(shot_id)

    def receive(self, shot: Shot) -> tuple[Alert, ...]:
        """Take one shot, or a later revision of one; what is to be said at once.

        Parameters
        ----------
        shot : Fix or Unfixed
            As the locator gives it.
        """
        self._counts["shots"] += 1
        if shot.time_ns < self._watermark_ns - MEMORY_NS:
            self._counts["too_late"] += 1
            return ()
        known = self._roster.known(shot.shot_id)
        if known is not None and shot.revision <= known.revision:
            self._counts["stale"] += 1
            return ()
        if self._expectation is not None:
            self._expectation.note(shot)
        former = self._rulings.holder(shot.shot_id)
        case, absorbed = self._roster.place(shot, max(self._watermark_ns, last_arrival_ns(shot)))
        said = [alert for goes in absorbed for alert in self._withdraw(goes, case)]
        life = self._rulings.owner(shot, case)
        for other in (life, former):
            if other is not None and other is not case:
                other.pending, other.known_ns = True, max(other.known_ns, case.known_ns)
        life.silent = False
        if isinstance(life, Aside):
            life.until_ns = max(life.until_ns, last_arrival_ns(shot))
        ruling = self._rulings.of(life)
        if ruling is not None and ruling.urgent(life):
            said += self._tell(life, ruling, life.known_ns, closing=False)
        return tuple(said)

    def receive_clip(self, pulse_ids: tuple[str, ...], clip: Clip) -> None:
        """Take the sound of some impulses; an alert names it from its next revision on.

        Parameters
        ----------
        pulse_ids : tuple of str
            The impulses that are heard in it.
        clip : Clip
            When it was heard, and its digest.
        """
        self._counts["clips"] += 1
        if clip.start_ns >= self._watermark_ns - MEMORY_NS:
            self._clips.add(pulse_ids, clip)

    def act(self, act: Act, known: tuple[Alert, ...] = (), earlier: tuple[Act, ...] = ()) -> tuple[Alert, ...]:
        """Take what a person decided; the revisions that come of it, one for each alert that it concerns.

        An act that was told before changes nothing, and neither does one that makes no sense for the alerts as they
        stand (`alerts.hand.objection`); both are counted.

        Parameters
        ----------
        act : Act
            What was decided.
        known : tuple of Alert
            The last stored revision of each alert that `alerts.hand.alerts_concerned` names. What the desk remembers
            itself wins; the rest is taken up from here.
        earlier : tuple of Act
            What people said of those alerts before. Without it an act can be laid over what they said, but what they
            said cannot be undone once the desk has forgotten it.
        """
        self._counts["acts"] += 1
        last = self._last_revisions(act, known, earlier)
        named = {name for alert in last.values() if alert.review is not None for name in alert.review.acts}
        if self._people.knows(act.act_id) or act.act_id in named:
            self._counts["acts_repeated"] += 1
            return ()
        history = {each.act_id: each for each in earlier if each.act_id in named}
        strange = act.undoes is not None and act.undoes not in history and not self._people.knows(act.undoes)
        if strange or objection(act, last.values()) is not None:
            self._counts["acts_passed_over"] += 1
            return ()
        self._take_up(last.values())
        self._people.add(history.values(), last.values(), self._watermark_ns)
        before = self._people.standing
        self._people.add([act], (), self._watermark_ns)
        if act.shot_ids:
            self._people.make(act)
        answers = dict.fromkeys(self._people.concerned(act))
        # And those that what they concern is part of, or was; and whose the rounds are, or were: of two partings that
        # took the same one, the earlier has it again when the later is undone.
        shot_ids = root_of(act, self._people.standing.acts).shot_ids
        for standing in (before, self._people.standing):
            ends = [standing.owner("", name) for name in (*answers, *self._rulings.takers(shot_ids, standing))]
            answers |= dict.fromkeys(ends)
        return tuple(alert for alert_id in answers for alert in self._answer(alert_id, act))

    def tick(self, watermark_ns: int) -> tuple[Alert, ...]:
        """Everything before ``watermark_ns`` has been heard; what was due until then, in the order of its deadline.

        A watermark behind the last one changes nothing.

        Raises
        ------
        TypeError, ValueError
            When it is no instant.
        """
        check_instant(watermark_ns, "watermark_ns")
        self._watermark_ns = max(watermark_ns, self._watermark_ns)
        said: list[Alert] = []
        lives = {life.incident_id: life for life in (*self._roster.cases.values(), *self._people.asides.values())}
        due = [(at_ns, name) for name, life in lives.items() if (at_ns := self._due(life)) is not None]
        heapq.heapify(due)
        while due:
            at_ns, name = heapq.heappop(due)
            life = lives[name]
            said += self._tell(life, self._rulings.of(life), at_ns, closing=life.lives and at_ns >= life.close_ns)
            again_ns = self._due(life)
            if again_ns is not None:
                heapq.heappush(due, (again_ns, name))
        # A shot's time moves when it gains or loses its place, by its sound's travel at most.
        before_ns = self._watermark_ns - MEMORY_NS - TRAVEL_NS
        self._roster.forget(before_ns, self._spoken_of(before_ns))
        self._clips.forget(before_ns)
        if self._expectation is not None:
            self._expectation.forget(before_ns)
        return tuple(said)

    def _due(self, life: Life) -> int | None:
        due_ns = life.due_ns
        return due_ns if due_ns is not None and due_ns <= self._watermark_ns else None

    # what people said

    def _last_revisions(self, act: Act, known: Iterable[Alert], earlier: Iterable[Act]) -> dict[str, Alert]:
        """The last revision of each alert that an act may touch: as remembered, unless a later one is stored."""
        last = {alert.alert_id: alert for alert in known}
        acts = {each.act_id: each for each in (*earlier, *self._people.standing.acts.values())}
        for alert_id in (*alerts_concerned(act, acts.values()), *last):
            mine = self._remembered(alert_id)
            if mine is not None and (alert_id not in last or last[alert_id].revision <= mine.revision):
                last[alert_id] = mine
        return last

    def _remembered(self, alert_id: str) -> Alert | None:
        life = self._rulings.life(alert_id) or self._roster.withdrawn(f"i{alert_id[1:]}")
        return None if life is None else life.last

    def _take_up(self, alerts: Iterable[Alert]) -> None:
        """Remember again what was forgotten; where more was said than is remembered, go on from there."""
        for alert in alerts:
            life = self._rulings.life(alert.alert_id)
            if life is None and self._roster.withdrawn(alert.incident_id) is None:
                self._people.revive(alert)
            elif life is not None and (life.last is None or alert.revision > life.last.revision):
                life.last, life.state = alert, STATES[alert.status]

    def _answer(self, alert_id: str, act: Act) -> tuple[Alert, ...]:
        """The revision of one alert that an act makes."""
        life = self._rulings.life(alert_id)
        if life is None:
            return ()
        case = self._rulings.case(alert_id)
        if case is not None:
            case.held = True
        ruling = self._rulings.of(life)
        if isinstance(life, Aside) and ruling is not None and ruling.incident is not None:
            life.until_ns = ruling.incident.heard_ns
        at_ns = max(self._watermark_ns, 0 if case is None else case.known_ns)
        return self._tell(life, ruling, at_ns, closing=False, cause=act)

    def _spoken_of(self, before_ns: int) -> set[str]:
        """The incidents to remember since people spoke of them lately, or of one that hangs together with them."""
        keep: set[str] = set()
        for tied in self._people.tied():
            cases = [case for alert_id in tied if (case := self._rulings.case(alert_id)) is not None]
            lives = [*cases, *(a for alert_id in tied if (a := self._people.asides.get(alert_id)) is not None)]
            lately = any(self._people.lately(alert_id, before_ns) for alert_id in tied)
            if lately or not all(self._roster.may_go(life, before_ns) for life in lives):
                keep.update(case.incident_id for case in cases)
            else:
                self._people.forget(tied)
        homes = (self._roster.incident_id(shot_id) for shot_id in self._people.standing.taken)
        return keep.union(home for home in homes if home is not None)

    # what is said

    def _withdraw(self, goes: TrackedIncident, keeps: TrackedIncident) -> tuple[Alert, ...]:
        """Say that an incident is part of another, where anything was ever said of it."""
        if goes.last is None or goes.state is State.CANCELLED:
            if self._expectation is not None:
                self._expectation.merged(goes.incident_id)
            return ()
        verdict = self._rulings.judge(goes.incident)
        ruling = Ruling(verdict.outcome, Hand(), goes.incident, verdict, into=keeps.incident_id)
        at_ns = max(self._watermark_ns, goes.known_ns)
        return (self._say(goes, ruling, self._draft(goes, ruling, LIFE[goes.state, Event.MERGED], at_ns)),)

    def _tell(
        self, life: Life, ruling: Ruling | None, at_ns: int, *, closing: bool, cause: Act | None = None
    ) -> tuple[Alert, ...]:
        """Say what is new of an incident; nothing where that would repeat the last revision."""
        life.pending = False
        if ruling is None:
            life.silent = True
            return ()
        event = event_of(life, ruling, closing=closing, cause=cause)
        if event is Event.JOINED and cause is None and life.state is State.CANCELLED:
            return ()  # it is told of elsewhere
        state = LIFE[life.state, event]
        if cause is not None and state is State.OPEN and self._is_over(life):
            state = LIFE[state, Event.CLOSE]
        alert = self._draft(life, ruling, state, at_ns, cause)
        if life.last is not None and _news(alert) == _news(life.last):
            return ()
        return (self._say(life, ruling, alert),)

    def _is_over(self, life: Life) -> bool:
        return life.close_ns <= self._watermark_ns or (isinstance(life, Aside) and life.base is not None)

    def _say(self, life: Life, ruling: Ruling, alert: Alert) -> Alert:
        life.state = STATES[alert.status]
        life.last = alert
        life.lifted = life.lifted or ruling.machine == "published"
        self._counts["revisions"] += 1
        self._counts[alert.outcome] += 1
        if self._expectation is not None and ruling.into is not None:
            self._expectation.merged(life.incident_id)
        elif self._expectation is not None and ruling.incident is not None and ruling.verdict is not None:
            self._expectation.told(ruling.incident, ruling.verdict, alert.outcome)
        return alert

    def _draft(self, life: Life, ruling: Ruling, state: State, at_ns: int, cause: Act | None = None) -> Alert:
        before, outcome = life.last, ruling.outcome(life)
        turn = Turn(
            revision=1 if before is None else before.revision + 1,
            kind=kind_of(before, state, outcome),
            reason="new",
            status=STATUS[state],
            outcome=outcome,
            published_ns=at_ns if before is None else max(at_ns, before.published_ns),
            merged_into=ruling.into,
        )
        come_ns = min(at_ns, self._watermark_ns)
        if ruling.incident is not None and ruling.verdict is not None:
            incident, clips = ruling.incident, self._clips
            alert = draft(incident, ruling.verdict, self._setting, turn, lambda pulse: clips.of(pulse, come_ns))
        elif ruling.document is not None:
            alert = turned(ruling.document, turn)
        else:
            raise ValueError(f"nothing is known of {life.alert_id}")
        alert = laid_over(self._rulings.marked(alert), ruling.hand, ruling.machine, self._surveyor)
        return dataclasses.replace(alert, reason=reason_of(before, alert, cause))


def _news(alert: Alert) -> Alert:
    """What makes a revision worth saying; more sound of the same does not."""
    return dataclasses.replace(substance(alert), audio=())
