"""Which messages of which nodes were taken already: a message that comes twice counts once."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

MOST_BOOTS: Final = 256
"""Boots of one node whose sequences are remembered; beyond, the one that spoke longest ago is shut."""
MOST_SHUT: Final = 16_384
"""Shut boots of one node that are remembered by name; beyond, the one shut first is forgotten."""
MOST_SPANS: Final = 16_384
"""Separate runs of sequence numbers remembered for one node; beyond, a gap of its most ragged boot is closed."""


@dataclass(slots=True)
class _Boot:
    """The sequence numbers taken of one boot: whole runs, each from its start up to but without its end, ascending."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def knows(self, sequence: int) -> bool:
        run = bisect_right(self.starts, sequence) - 1
        return run >= 0 and sequence < self.ends[run]

    def add(self, sequence: int) -> int:
        """Add a number that is not known; how many runs there are more than before: -1, 0 or 1."""
        after = bisect_right(self.starts, sequence)
        joins_left = after > 0 and self.ends[after - 1] == sequence
        joins_right = after < len(self.starts) and self.starts[after] == sequence + 1
        if joins_left and joins_right:
            self.ends[after - 1] = self.ends.pop(after)
            del self.starts[after]
            return -1
        if joins_left:
            self.ends[after - 1] = sequence + 1
        elif joins_right:
            self.starts[after] = sequence
        else:
            self.starts.insert(after, sequence)
            self.ends.insert(after, sequence + 1)
            return 1
        return 0

    def close_lowest_gap(self) -> int:
        """Count the lowest missing numbers as taken; how many runs there are fewer."""
        if self.starts[0] > 0:
            self.starts[0] = 0
            return 0
        self.starts.pop(1)
        self.ends.pop(0)
        return 1

    @property
    def missing(self) -> int:
        """Numbers below the greatest that were never taken."""
        return self.ends[-1] - sum(self.ends) + sum(self.starts) if self.ends else 0


@dataclass(slots=True)
class _Node:
    """What is remembered of one node; both dictionaries with whoever spoke, or was shut, last at their end."""

    boots: dict[str, _Boot] = field(default_factory=dict)
    shut: dict[str, None] = field(default_factory=dict)
    spans: int = 0


@dataclass(slots=True)
class Seen:
    """The messages that were taken, by node, boot and sequence number.

    Exact for what nodes do: some boots at a time, numbers that come roughly in order, gaps that close. Bounded against
    a node that does its worst (some 5 MB each, however long it goes on), at a price that is counted:

    - Of more than `MOST_BOOTS` boots of a node the one that spoke longest ago is shut: whatever comes of it later is
      held to be repeated (``refused_as_shut``).
    - Of more than `MOST_SHUT` shut boots the first is forgotten: what comes of it then is new once more
      (``forgotten_boots``). Only somebody with the node's key can bring this about, and only for messages so old that
      no shot waits for them.
    - Beyond `MOST_SPANS` runs of numbers a gap is closed: what was missing there counts as taken (``closed_gaps``).

    Nodes themselves are not bounded here: whoever asks has checked that the node is one of the network's.
    Deterministic, and can be pickled.
    """

    refused_as_shut: int = 0
    forgotten_boots: int = 0
    closed_gaps: int = 0
    _nodes: dict[str, _Node] = field(default_factory=dict)

    def knows(self, node_id: str, boot_id: str, sequence: int) -> bool:
        """Whether `take` would refuse it."""
        node = self._nodes.get(node_id)
        if node is None:
            return False
        boot = node.boots.get(boot_id)
        return boot.knows(sequence) if boot is not None else boot_id in node.shut

    def take(self, node_id: str, boot_id: str, sequence: int) -> bool:
        """True when this message is new, and from now on taken; False when it is repeated.

        Parameters
        ----------
        node_id, boot_id : str
            Who sent it, in which run of its program.
        sequence : int
            0 to 2^63 - 1.
        """
        node = self._nodes.setdefault(node_id, _Node())
        boot = node.boots.pop(boot_id, None)
        if boot is None:
            if boot_id in node.shut:
                self.refused_as_shut += 1
                return False
            boot = _Boot()
        node.boots[boot_id] = boot  # at the end: it spoke last
        if boot.knows(sequence):
            return False
        node.spans += boot.add(sequence)
        self._bound(node)
        return True

    def missing(self, node_id: str) -> int:
        """How many messages of a node, of the boots remembered, are behind later ones and did not come."""
        node = self._nodes.get(node_id)
        return sum(boot.missing for boot in node.boots.values()) if node is not None else 0

    def _bound(self, node: _Node) -> None:
        while node.spans > MOST_SPANS:
            node.spans -= max(node.boots.values(), key=lambda boot: len(boot.starts)).close_lowest_gap()
            self.closed_gaps += 1
        if len(node.boots) > MOST_BOOTS:
            oldest = next(iter(node.boots))
            node.spans -= len(node.boots.pop(oldest).starts)
            node.shut[oldest] = None
        if len(node.shut) > MOST_SHUT:
            del node.shut[next(iter(node.shut))]
            self.forgotten_boots += 1
