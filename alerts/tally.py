"""Tally: what became of the incidents of each expected event, and how much of its budget is spent."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final, NamedTuple

from acoustic.instant import SECOND
from alerts.policy import OUTCOMES

if TYPE_CHECKING:
    from alerts.policy import Outcome

ELSEWHERE: Final = "elsewhere"
"""Under this name incidents outside every expected event are counted."""

EARLIER: Final = "earlier events"
"""Under this name the counts of events go that are no longer told apart."""

HOUR_NS: Final = 3600 * SECOND
MOST_LABELS: Final = 1_000


class _Told(NamedTuple):
    """The last word about an incident, under which names it counts, and until when it was heard."""

    labels: tuple[str, ...]
    outcome: Outcome
    held: bool
    last_ns: int


class Tally:
    """Counts by event and outcome, and budgets of an hour that rolls.

    A budget is spent at the instant of the sound on which an incident was first published, and counts against
    incidents that began later than that, in event time: it does not matter how late the word of it came. What people
    publish spends nothing.
    """

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {ELSEWHERE: _nothing()}
        self._told: dict[str, _Told] = {}
        self._spent: dict[str, list[int]] = {}
        self._spenders: dict[str, tuple[int, tuple[str, ...]]] = {}

    def spent(self, label: str, at_ns: int, incident_id: str) -> int:
        """How many other incidents of an event were published in the hour before an instant."""
        instants = self._spent.get(label)
        if instants is None:
            return 0
        count = bisect_left(instants, at_ns) - bisect_left(instants, at_ns - HOUR_NS)
        own = self._spenders.get(incident_id)
        return count - (own is not None and label in own[1] and at_ns - HOUR_NS <= own[0] < at_ns)

    def told(self, incident_id: str, labels: tuple[str, ...], outcome: Outcome, last_ns: int, *, held: bool) -> None:
        """An incident was told of: the newest word counts, and the first publication spends."""
        self._count(self._told.pop(incident_id, None), -1)
        word = _Told(labels or (ELSEWHERE,), outcome, held and outcome == "review", last_ns)
        self._told[incident_id] = word
        self._count(word, 1)

    def spend(self, incident_id: str, labels: tuple[str, ...], at_ns: int) -> None:
        """An incident was published: the first time it spends of its events' budgets."""
        if labels and incident_id not in self._spenders:
            self._spenders[incident_id] = (at_ns, labels)
            for label in labels:
                insort(self._spent.setdefault(label, []), at_ns)

    def merged(self, incident_id: str) -> None:
        """An incident became part of another and is counted there; what it spent stays spent."""
        self._count(self._told.pop(incident_id, None), -1)

    def forget(self, before_ns: int) -> None:
        """Let go of incidents that ended before an instant, and of what was spent an hour before it; counts stay."""
        for incident_id in [name for name, word in self._told.items() if word.last_ns < before_ns]:
            del self._told[incident_id]
        oldest_ns = before_ns - HOUR_NS
        for incident_id in [name for name, (at_ns, _) in self._spenders.items() if at_ns < oldest_ns]:
            del self._spenders[incident_id]
        for label, instants in list(self._spent.items()):
            del instants[: bisect_left(instants, oldest_ns)]
            if not instants:
                del self._spent[label]
        self._fold()

    def _count(self, word: _Told | None, by: int) -> None:
        if word is None:
            return
        for label in word.labels:
            mine = self.counts.setdefault(label, _nothing())
            mine[word.outcome] += by
            mine["over_budget"] += by * word.held

    def _fold(self) -> None:
        """Keep the counts of the newest events apart, and add those of the others together."""
        surplus = len(self.counts) - MOST_LABELS
        if surplus <= 0:
            return
        standing = {label for word in self._told.values() for label in word.labels} | {ELSEWHERE, EARLIER}
        earlier = self.counts.setdefault(EARLIER, _nothing())
        for label in [label for label in self.counts if label not in standing][: surplus + 1]:
            for name, count in self.counts.pop(label).items():
                earlier[name] += count


def _nothing() -> dict[str, int]:
    return dict.fromkeys((*OUTCOMES, "over_budget"), 0)
