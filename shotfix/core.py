"""The centre's thinking: entries of the journal in, shots and alerts out. No clock: every instant is in an entry."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from acoustic.detection import Detection
from acoustic.instant import SECOND, after
from sensors.clock_watch import ClockWatch, our_own_fault
from sensors.condition import Condition, Episode
from sensors.health import ClockState, Farewell, Heartbeat
from sensors.seen import Seen
from sensors.snippet import Snippet
from shotfix.machines import Machines
from shotfix.waiting import Patience, Waiting

if TYPE_CHECKING:
    from acoustic.air import Air
    from alerts.act import Act
    from alerts.alert import Alert, ModeOfUse
    from alerts.calendar_event import ExpectedEvent
    from alerts.expectation import Expectation
    from alerts.place import NamedSurveyor
    from alerts.policy import Policy
    from sensors.site import Site
    from sensors.wire import Batch, Content, Envelope
    from shotfix.machines import Deployment, Event
    from shotfix.registry import Registry

AHEAD_NS: Final = 2 * SECOND
"""A live message that speaks of a later instant than this is not used, whatever is thought of its node's clock."""
MOST_PULSES: Final = 512
REMEMBERED_NS: Final = 600 * SECOND
STEP_NS: Final = SECOND // 4
"""Watermarks are told in steps of event time, as the locator decides in them."""
TURNED_BACK_NS: Final = 5 * SECOND
"""What time daemons do to a clock is less."""


@dataclass(slots=True)
class Said:
    """What came of an entry: shots and alerts in their order, and the audio that was kept."""

    events: list[Event] = field(default_factory=list)
    snippets: list[Snippet] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    """Troubles of sensors that begin or end."""
    passed_over: list[str] = field(default_factory=list)
    """Acts of people that make no sense any more."""


class Core:
    """The locator and the desk of one centre, and its judgement of those who report to it.

    Everything that it does follows from the entries it is given, in their order: a journal replays to the same alerts,
    byte for byte. It can be pickled between two entries.

    Parameters
    ----------
    deployment : Deployment
        Where.
    registry : Registry
        Who reports from there, and who is under maintenance.
    policy : Policy
        Prior and thresholds.
    mode : str
        live, exercise or test.
    patience : Patience
        How long who is waited for.
    owned : frozenset of str or None
        The sensors whose cells this centre owns: a bang belongs to it when one of them heard it first. None: all.
    expectation, gazetteer, audio_url
        As `alerts.desk.Desk` takes them.
    """

    def __init__(
        self,
        deployment: Deployment,
        registry: Registry,
        policy: Policy,
        mode: ModeOfUse,
        patience: Patience,
        owned: frozenset[str] | None = None,
        expectation: Expectation | None = None,
        gazetteer: NamedSurveyor | None = None,
        audio_url: str | None = None,
    ) -> None:
        self.registry = registry
        self.waiting = Waiting(patience)
        self.machines = Machines(
            deployment,
            policy,
            mode,
            owned=owned,
            may_have_missed=self.waiting.may_have_missed,
            expectation=expectation,
            gazetteer=gazetteer,
            audio_url=audio_url,
        )
        self.seen = Seen()
        self.watches: dict[str, ClockWatch] = {}
        self.conditions: dict[str, Condition] = {}
        self.counts: Counter[str] = Counter()
        """Messages taken, by kind; and those not used, by reason."""
        self.spool_dropped: dict[str, int] = {}
        """By sensor what its node's spool had to give up, as it says itself."""
        self.own_fault = ""
        """Words for when most nodes say at once that it is our own clock that jumped."""
        self.events: tuple[ExpectedEvent, ...] = ()
        """What the calendar says, as it was told last."""
        self._astray: set[str] = set()  # nodes whose clocks are wrong
        self._doubted: set[str] = set()  # those of them that are not believed
        self._looked_ns = 0
        self._live = mode == "live"
        self._pulses: dict[str, dict[str, int]] = {}  # by sensor: what it told lately, and when that was
        self._adopt(registry)

    # entries

    def begin(self, now_ns: int) -> None:
        """The centre starts, or starts again: everybody is waited for anew."""
        self.waiting.begin(now_ns)
        self._watch_over(now_ns)
        for condition in self.conditions.values():
            condition.begin(now_ns)

    def is_news(self, batch: Batch) -> bool:
        """Whether anything in a batch was not taken before."""
        return any(not self.seen.knows(batch.node_id, e.boot_id, e.sequence) for e in batch.envelopes)

    def receive(self, batch: Batch, received_ns: int) -> Said:
        """Take what a node said; ``received_ns`` is the centre's clock when it came."""
        fresh = [e.content for e in batch.envelopes if self._is_fresh(batch.node_id, e)]
        beats = [content for content in fresh if isinstance(content, Heartbeat)]
        self._watch_clock(batch, beats, received_ns)
        return self.hear(batch.node_id, fresh, received_ns)

    def hear(self, node_id: str, contents: list[Content], received_ns: int) -> Said:
        """Take what a node's listeners said, whether they run at the node or here."""
        said = Said()
        for content in contents:
            self.counts[type(content).__name__.lower()] += 1
            self._take(node_id, content, received_ns, said)
        return said

    def adopt(self, registry: Registry, owned: frozenset[str] | None, now_ns: int) -> None:
        """Take over a revision of the register, and which of its sensors this centre owns."""
        self._adopt(registry)
        self._watch_over(now_ns)
        self.machines.adopt(registry.network, owned)

    def report_weather(self, air: Air, at_ns: int) -> None:
        """Take over a report of the weather, in force from this event time on."""
        self.machines.locator.learning.air.report(at_ns, air)

    def act(self, act: Act, known: tuple[Alert, ...] = (), earlier: tuple[Act, ...] = ()) -> Said:
        """Take what a person decided; the revisions that come of it. See `alerts.desk.Desk.act`."""
        self.counts["act"] += 1
        desk = self.machines.desk
        before = desk.counts["acts_passed_over"]
        said = Said(list(desk.act(act, known, earlier)))
        if desk.counts["acts_passed_over"] > before:
            said.passed_over.append(act.act_id)
        return said

    def expect(self, events: tuple[ExpectedEvent, ...]) -> None:
        """Take over the calendar of what is expected."""
        self.events = events
        self.machines.expectation.adopt(events)

    def due(self, now_ns: int) -> int | None:
        """The watermark that may be told now; None while there is no new one."""
        watermark_ns = self.waiting.due(now_ns)
        if watermark_ns is None:
            return None
        step_ns = watermark_ns // STEP_NS * STEP_NS
        return step_ns if step_ns > (self.waiting.watermark_ns or 0) else None

    def tick(self, watermark_ns: int) -> Said:
        """Everything before the watermark has been heard, or is not waited for."""
        self.waiting.tell(watermark_ns)
        said = Said()
        said.events.extend(self.machines.tick(watermark_ns))
        return said

    def silent_until(self, now_ns: int) -> int | None:
        """Where everybody has fallen silent: how far event time has gone; None while one speaks."""
        return self.waiting.silent_until(now_ns)

    def look_round(self, now_ns: int) -> list[Episode]:
        """Time has passed: who has fallen silent."""
        if now_ns < self._looked_ns - TURNED_BACK_NS:  # our clock was set back: what is wrong shows itself again
            self.conditions = {name: Condition(name, now_ns) for name in self.conditions}
        self._looked_ns = now_ns
        return [episode for condition in self.conditions.values() for episode in condition.tick(now_ns)]

    def close(self, until_ns: int) -> Said:
        """Nobody speaks: what was due at the desk by then is said, nothing new is decided."""
        return Said(list(self.machines.desk.tick(until_ns)))

    # messages

    def _is_fresh(self, node_id: str, envelope: Envelope) -> bool:
        if self.seen.take(node_id, envelope.boot_id, envelope.sequence):
            return True
        self.counts["repeated"] += 1
        return False

    def _watch_clock(self, batch: Batch, beats: list[Heartbeat], received_ns: int) -> None:
        """Judge a node's clock; one that is surely wrong is not believed, unless it is ours that jumped."""
        if not batch.stamped:  # version 1 does not say when it was sent
            return
        watch = self.watches.setdefault(batch.node_id, ClockWatch())
        heard = {beat.sensor_id: beat.heard_until_ns for beat in beats if beat.listening}
        clock = beats[-1].clock if beats else ClockState()
        verdict = watch.take(received_ns, batch.sent_ns, clock.state, clock.sigma_s, heard)
        wrong = not verdict.good and verdict.sure
        (self._astray.add if wrong else self._astray.discard)(batch.node_id)
        if self._astray or self.own_fault:
            self._look_to_ourselves(received_ns, wrong=wrong)
        if self.own_fault:
            for node_id in tuple(self._doubted):
                self._trust(node_id, trusted=True)
        self._trust(batch.node_id, trusted=not wrong or bool(self.own_fault))

    def _look_to_ourselves(self, received_ns: int, *, wrong: bool) -> None:
        """Whether it is our own clock that jumped: asked of the nodes that speak; the dead remember another day."""
        stale_ns = round(self.waiting.patience.stale_s * SECOND)
        live = {
            name: watch.verdict
            for name, watch in self.watches.items()
            if watch.taken_ns is not None and abs(received_ns - watch.taken_ns) <= stale_ns
        }
        astray = sum(name in self._astray for name in live)
        if wrong and 2 * astray > len(live):
            self.own_fault = our_own_fault(list(live.values()))
        elif not astray:
            self.own_fault = ""

    def _trust(self, node_id: str, *, trusted: bool) -> None:
        if trusted == (node_id not in self._doubted):
            return
        (self._doubted.discard if trusted else self._doubted.add)(node_id)
        for sensor_id in self.registry.sensors_of(node_id):
            if self.registry.node_of(sensor_id) == node_id:  # not what it once spoke for
                self.waiting.trust(sensor_id, trusted=trusted)

    def _take(self, node_id: str, content: Content, received_ns: int, said: Said) -> None:
        sensor_id, at_ns = content.sensor_id, _instant_of(content)
        speaks = self.registry.node_of(sensor_id, at_ns) == node_id
        if speaks or self.registry.node_of(sensor_id, received_ns) == node_id:
            said.episodes += self._judge(node_id, content, received_ns)
        if not speaks and node_id not in self._doubted:
            self.counts["not-its-sensor"] += 1
            return
        if self._is_passed_over(node_id, content, received_ns):
            return
        if isinstance(content, Detection) and self._is_told(content):
            return
        content = _shifted(content, self.registry.site(sensor_id, at_ns))
        if isinstance(content, Snippet):
            self.machines.desk.receive_clip(content.pulse_ids, content.clip)
            if content.flac:
                said.snippets.append(content)
        elif isinstance(content, Farewell):
            self.waiting.leave(sensor_id, received_ns, content.at_ns)
        elif isinstance(content, Detection | Heartbeat):
            if isinstance(content, Heartbeat):
                self.waiting.hear(sensor_id, received_ns, content.heard_until_ns)
            said.events.extend(self.machines.receive(content))

    def _judge(self, node_id: str, content: Content, received_ns: int) -> list[Episode]:
        """What a message says of the condition of its sensor."""
        condition = self.conditions.get(content.sensor_id)
        if condition is None:
            return []
        if isinstance(content, Farewell):
            return list(condition.farewell(received_ns))
        if not isinstance(content, Heartbeat):
            return list(condition.heard(received_ns))
        self.spool_dropped[content.sensor_id] = content.spool_dropped
        watch = self.watches.get(node_id)
        words = "" if watch is None else watch.verdict.words
        return [*condition.heartbeat(content, received_ns), *condition.clock(words, received_ns)]

    def _is_passed_over(self, node_id: str, content: Content, received_ns: int) -> bool:
        """Whether a message is not to be used, and is counted: a wrong clock, or maintenance."""
        if node_id in self._doubted:
            self.counts["clock-bad"] += 1
            if self.registry.node_of(content.sensor_id) == node_id:
                self.waiting.miss(content.sensor_id, received_ns)  # whenever it really was
            return True
        if self._live and _instant_of(content) > received_ns + AHEAD_NS:
            self.counts["ahead"] += 1  # nobody has heard tomorrow; exercises play recordings of any day
            return True
        at_ns = content.pick.onset_ns if isinstance(content, Detection) else None
        if at_ns is not None and self.registry.under_maintenance(content.sensor_id, at_ns) is not None:
            self.counts["maintenance"] += 1
            return True
        return False

    def _is_told(self, detection: Detection) -> bool:
        """Whether this impulse was told before: by a listener that began again, or a recording that is played again."""
        told = self._pulses.setdefault(detection.sensor_id, {})
        onset_ns = detection.pick.onset_ns
        if detection.pulse_id in told:
            self.counts["told-before"] += 1
            return True
        told[detection.pulse_id] = onset_ns
        if len(told) > MOST_PULSES:
            oldest_ns = max(told.values()) - REMEMBERED_NS
            self._pulses[detection.sensor_id] = {
                name: at_ns for name, at_ns in list(told.items())[-MOST_PULSES // 2 :] if at_ns >= oldest_ns
            }
        return False

    def _adopt(self, registry: Registry) -> None:
        self.registry = registry
        gone = self.watches.keys() - registry.keys.keys()
        for node_id in gone:
            del self.watches[node_id]
        self._astray -= gone
        self._doubted -= gone
        if not self._astray:
            self.own_fault = ""
        self.waiting.expect(site.sensor_id for site in registry.network.sites if site.valid_to_ns is None)
        for site in registry.network.sites:
            if site.valid_to_ns is None:
                trusted = registry.node_of(site.sensor_id) not in self._doubted
                self.waiting.trust(site.sensor_id, trusted=trusted)

    def _watch_over(self, now_ns: int) -> None:
        names = sorted({site.sensor_id for site in self.registry.network.sites})
        self.conditions = {name: self.conditions.get(name) or Condition(name, now_ns) for name in names}


def _instant_of(content: Content) -> int:
    """The instant that a message speaks of, as its node has it."""
    if isinstance(content, Detection):
        return content.pick.onset_ns
    if isinstance(content, Heartbeat):
        return content.heard_until_ns
    if isinstance(content, Farewell):
        return content.at_ns
    return content.clip.start_ns if isinstance(content, Snippet) else content.start_ns


def _shifted(content: Content, site: Site | None) -> Content:
    """A message at its true time: what its clock is known to be fast by is taken off at the door."""
    if site is None or not site.clock_offset_s:
        return content
    off_s = -site.clock_offset_s
    if isinstance(content, Detection):
        return replace(content, pick=replace(content.pick, onset_ns=after(content.pick.onset_ns, off_s)))
    if isinstance(content, Heartbeat):
        return replace(content, heard_until_ns=after(content.heard_until_ns, off_s))
    if isinstance(content, Farewell):
        return replace(content, at_ns=after(content.at_ns, off_s))
    if isinstance(content, Snippet):
        return replace(content, clip=replace(content.clip, start_ns=after(content.clip.start_ns, off_s)))
    return content
