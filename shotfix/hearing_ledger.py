"""The ledger of the pool that hears for the centre: who has which chunk, and what was told of it. No clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from acoustic.detection import Detection
from acoustic.instant import SECOND, after
from sensors.health import Heartbeat
from sensors.snippet import Snippet
from shotfix.hearing_bench import CONTEXT_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sensors.chunk import AudioChunk
    from sensors.message import Content
    from shotfix.hearing_bench import Key

MOST_BOOTS: Final = 8  # of one node that are remembered


@dataclass(slots=True)
class _Boot:
    """The chunks of one boot: sensor, and whether a worker has it, of those that the node must keep."""

    open: dict[int, tuple[str, bool]] = field(default_factory=dict)
    freed: set[int] = field(default_factory=set)  # above what was released
    released: int = -1
    most: int = -1


class Ledger:
    """Every chunk that a node must keep, by node, boot and sequence number."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, _Boot]] = {}

    def owe(self, key: Key, sensor_id: str) -> None:
        """The node offered a chunk; it must keep it."""
        boots = self._nodes.setdefault(key[0], {})
        boot = boots.get(key[1])
        if boot is None:
            boot = boots[key[1]] = _Boot()
            while len(boots) > MOST_BOOTS:
                del boots[next(iter(boots))]
        boot.open.setdefault(key[2], (sensor_id, False))
        boot.most = max(boot.most, key[2])

    def take(self, key: Key, sensor_id: str) -> None:
        """A worker has it."""
        self._nodes[key[0]][key[1]].open[key[2]] = (sensor_id, True)

    def is_taken(self, key: Key) -> bool:
        """Whether a worker has it."""
        boot = self._nodes.get(key[0], {}).get(key[1])
        return boot is not None and boot.open.get(key[2], ("", False))[1]

    def is_settled(self, key: Key) -> bool:
        """Whether its node may forget it."""
        boot = self._nodes.get(key[0], {}).get(key[1])
        return boot is not None and (key[2] <= boot.released or key[2] in boot.freed)

    def free(self, keys: Iterable[Key]) -> None:
        """The nodes may forget these, as soon as they may forget those before."""
        for key in keys:
            boot = self._nodes.get(key[0], {}).get(key[1])
            if boot is not None and boot.open.pop(key[2], None) is not None:
                boot.freed.add(key[2])

    def release(self, node_id: str, boot_id: str) -> int | None:
        """Up to which sequence number the node may forget every chunk of this boot; None where it may forget none."""
        boot = self._nodes.get(node_id, {}).get(boot_id)
        if boot is None:
            return None
        boot.released = max(boot.released, min(boot.open) - 1 if boot.open else boot.most)
        boot.freed = {sequence for sequence in boot.freed if sequence > boot.released}
        return boot.released if boot.released >= 0 else None

    def owes(self, node_id: str, sensor_id: str) -> bool:
        """Whether a node offered chunks of a sensor that no worker has."""
        return any(not self.is_taken(key) for key, _ in self._of(frozenset((sensor_id,)), (node_id,)))

    def lose(self, sensors: frozenset[str]) -> dict[str, Key]:
        """A worker died with the chunks of these sensors; the first that each must be sent again."""
        first: dict[str, Key] = {}
        for key, sensor_id in self._of(sensors, tuple(self._nodes)):
            self._nodes[key[0]][key[1]].open[key[2]] = (sensor_id, False)
            first.setdefault(sensor_id, key)
        return first

    def abandon_before(self, key: Key, sensor_id: str) -> None:
        """A sensor's stream goes on with this chunk: what it owed before will not come."""
        mine = self._of(frozenset((sensor_id,)), key[:1])
        older = [k for k, _ in mine if k[:2] != key[:2] or k[2] < key[2]]
        self.free(k for k in older if not self.is_taken(k))

    def _of(self, sensors: frozenset[str], nodes: tuple[str, ...]) -> Iterator[tuple[Key, str]]:
        """The open chunks of some sensors from some nodes, by boots as they were first seen, then by number."""
        found = [
            ((node_id, boot_id, sequence), chunk[0])
            for node_id in nodes
            for boot_id, boot in self._nodes.get(node_id, {}).items()
            for sequence, chunk in sorted(boot.open.items())
            if chunk[0] in sensors
        ]
        yield from found


@dataclass(slots=True)
class Hold:
    """A sensor whose chunks are refused until the right one comes.

    ``first`` is that one, where it is known: what a worker had that died, or what found its queue full. Else, when the
    centre begins, it is the first of those that the node keeps, which is what it sends when it was asked to send again:
    so the chunk that is offered first is always refused. It must be old enough, too, that a listener which begins with
    it says the same as the one before.
    """

    told_ns: int | None
    first: Key | None = None
    since_s: float | None = None
    offered: Key | None = None

    def ends_with(self, key: Key, chunk: AudioChunk) -> bool:
        """Whether this is the chunk that is waited for."""
        if self.first is not None:
            return key[:2] == self.first[:2] and key[2] <= self.first[2]
        if self.offered is None:
            self.offered = key
            return False
        if key[:2] == self.offered[:2] and key[2] > self.offered[2]:
            return False
        if self.told_ns is None or chunk.start_ns <= after(self.told_ns, -CONTEXT_S):
            return True
        return chunk.after_gap and chunk.start_ns <= self.told_ns


class Told:
    """What was told of one sensor: a listener that had to begin again repeats itself, and is not repeated."""

    def __init__(self, until_ns: int | None = None) -> None:
        self.until_ns = until_ns
        self._again_to_ns: int | None = None  # up to where it repeats itself
        self._recent: dict[str, int] = {}  # onsets of the detections that may be repeated

    def begin_again(self) -> None:
        """Its listener begins anew, with chunks that were heard before."""
        self._again_to_ns = self.until_ns

    def pass_on(self, contents: Iterable[Content]) -> tuple[Content, ...]:
        """What of it was not told yet."""
        return tuple(content for content in contents if self._is_news(content))

    def _is_news(self, content: Content) -> bool:
        if isinstance(content, Detection):
            return self._is_new_detection(content)
        if isinstance(content, Heartbeat):
            return self._is_new_word(content.heard_until_ns)
        return not (isinstance(content, Snippet) and self._again_to_ns is not None)

    def _is_new_detection(self, detection: Detection) -> bool:
        onset_ns = detection.pick.onset_ns
        known = detection.pulse_id in self._recent
        if known or (self._again_to_ns is not None and onset_ns < self._again_to_ns):
            return False
        self._recent[detection.pulse_id] = onset_ns
        return True

    def _is_new_word(self, until_ns: int) -> bool:
        if self._again_to_ns is not None:
            if until_ns >= self._again_to_ns:
                self._again_to_ns = None  # from here on it speaks of what it never spoke of
            if self.until_ns is not None and until_ns <= self.until_ns:
                return False
        self.until_ns = until_ns
        horizon_ns = until_ns - SECOND
        self._recent = {name: onset_ns for name, onset_ns in self._recent.items() if onset_ns > horizon_ns}
        return True
