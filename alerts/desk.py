"""The desk: shots in, alerts out. The pure machine of this room; time comes to it as watermarks."""

from __future__ import annotations

import dataclasses
import heapq
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND, check_instant
from alerts.alert import Alert, Provenance, substance
from alerts.clips import Clips
from alerts.draft import Setting, Turn, change, draft
from alerts.grouping import TRAVEL_NS
from alerts.incident import LIFE, STATUS, Event, State, last_arrival_ns
from alerts.policy import OUTCOMES, Policy
from alerts.roster import Roster

if TYPE_CHECKING:
    from acoustic.detection import Clip
    from alerts.alert import Kind, ModeOfUse
    from alerts.incident import Shot
    from alerts.policy import Outcome, Verdict
    from alerts.roster import Case

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
    """

    def __init__(
        self,
        policy: Policy | None = None,
        mode: ModeOfUse = "live",
        frame_name: str = "local",
        provenance: Provenance | None = None,
    ) -> None:
        self._policy = policy or Policy()
        self._setting = Setting(mode, frame_name, provenance or Provenance())
        self._watermark_ns = 0
        self._roster = Roster()
        self._clips = Clips()
        self._counts = dict.fromkeys(("shots", "stale", "too_late", "clips", "revisions", *OUTCOMES), 0)

    @property
    def counts(self) -> dict[str, int]:
        """What has happened so far.

        ``shots`` received, of which ``stale`` (a revision already known) and ``too_late`` changed nothing;
        ``clips`` received; ``revisions`` said, of which so many ``published``, for ``review`` and ``suppressed``;
        ``incidents`` begun, ``merged`` into others, ``forgotten`` after their time; shots that ``split`` off.
        """
        return self._counts | self._roster.counts

    def incident_id(self, shot_id: str) -> str | None:
        """To which incident a shot belongs now; None when it is unknown or forgotten."""
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
        case, absorbed = self._roster.place(shot, max(self._watermark_ns, last_arrival_ns(shot)))
        said = [alert for goes in absorbed for alert in self._withdraw(goes, case)]
        verdict = self._policy.judge(case.incident)
        if _urgent(case, verdict):
            said += self._tell(case, verdict, case.known_ns, closing=False)
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
        due = [(at_ns, name) for name, case in self._roster.cases.items() if (at_ns := self._due(case)) is not None]
        heapq.heapify(due)
        while due:
            at_ns, name = heapq.heappop(due)
            case = self._roster.cases[name]
            verdict = self._policy.judge(case.incident)
            said += self._tell(case, verdict, at_ns, closing=case.lives and at_ns >= case.close_ns)
            again_ns = self._due(case)
            if again_ns is not None:
                heapq.heappush(due, (again_ns, name))
        # A shot's time moves when it gains or loses its place, by its sound's travel at most.
        self._roster.forget(self._watermark_ns - MEMORY_NS - TRAVEL_NS)
        self._clips.forget(self._watermark_ns - MEMORY_NS - TRAVEL_NS)
        return tuple(said)

    def _due(self, case: Case) -> int | None:
        due_ns = case.due_ns
        return due_ns if due_ns is not None and due_ns <= self._watermark_ns else None

    def _withdraw(self, goes: Case, keeps: Case) -> tuple[Alert, ...]:
        """Say that an incident is part of another, where anything was ever said of it."""
        if goes.last is None or goes.state is State.CANCELLED:
            return ()
        at_ns = max(self._watermark_ns, goes.known_ns)
        return (self._say(goes, self._policy.judge(goes.incident), Event.MERGED, at_ns, keeps.incident.incident_id),)

    def _tell(self, case: Case, verdict: Verdict, at_ns: int, *, closing: bool) -> tuple[Alert, ...]:
        """Say what is new of a case; nothing where that would repeat the last revision."""
        case.pending = False
        event = _event(case, verdict, closing=closing)
        if event is Event.NEWS and case.last is not None:
            drafted = self._draft(case, verdict, event, at_ns)
            if _news(drafted) == _news(case.last):
                return ()
        return (self._say(case, verdict, event, at_ns),)

    def _say(self, case: Case, verdict: Verdict, event: Event, at_ns: int, merged_into: str | None = None) -> Alert:
        alert = self._draft(case, verdict, event, at_ns, merged_into)
        case.state = LIFE[case.state, event]
        case.last = alert
        self._counts["revisions"] += 1
        self._counts[alert.outcome] += 1
        return alert

    def _draft(self, case: Case, verdict: Verdict, event: Event, at_ns: int, merged_into: str | None = None) -> Alert:
        before, state = case.last, LIFE[case.state, event]
        outcome = _outcome(before, verdict)
        turn = Turn(
            revision=1 if before is None else before.revision + 1,
            kind=_kind(before, state, outcome),
            reason="new",
            status=STATUS[state],
            outcome=outcome,
            published_ns=at_ns if before is None else max(at_ns, before.published_ns),
            merged_into=merged_into,
        )
        come_ns = min(at_ns, self._watermark_ns)
        alert = draft(case.incident, verdict, self._setting, turn, lambda pulse: self._clips.of(pulse, come_ns))
        return alert if before is None else dataclasses.replace(alert, reason=change(before, alert))


def _news(alert: Alert) -> Alert:
    """What makes a revision worth saying; more sound of the same does not."""
    return dataclasses.replace(substance(alert), audio=())


def _urgent(case: Case, verdict: Verdict) -> bool:
    """The first word of an incident, and what lifts it to publication, cannot wait for the burst to end."""
    before = case.last
    if before is None:
        return verdict.outcome == "published" or (verdict.outcome == "review" and case.incident.best is not None)
    return verdict.outcome == "published" and (before.outcome != "published" or before.status == "cancelled")


def _event(case: Case, verdict: Verdict, *, closing: bool) -> Event:
    before = case.last
    if before is not None and case.state is State.CANCELLED:
        # At the threshold at which it fell: what was once published stands or not by the evidence as it is now,
        # whatever it was in between.
        back = before.merged_into is not None or verdict.outcome != "suppressed"
        return Event.ROSE if back else Event.NEWS
    if before is not None and before.outcome == "published" and verdict.outcome == "suppressed":
        return Event.FELL
    return Event.CLOSE if closing else Event.NEWS


def _outcome(before: Alert | None, verdict: Verdict) -> Outcome:
    """What was published stays so, since whoever received it must hear the rest; until it is withdrawn as merged."""
    if before is not None and before.outcome == "published" and before.merged_into is None:
        return "published"
    return verdict.outcome


def _kind(before: Alert | None, state: State, outcome: Outcome) -> Kind:
    if state is State.CANCELLED:
        return "cancelled"
    first = before is None or (outcome == "published" and before.outcome != "published")
    return "new" if first else "revised"
