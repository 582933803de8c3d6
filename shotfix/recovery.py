"""Recovery: the core as its last life left it, from the newest checkpoint and the journal behind it."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from alerts.alert import Alert
from shotfix.checkpoint import newest
from shotfix.entries import LISTEN_BACK_NS, Begin, take
from shotfix.registry import Registry, RegistryError
from shotfix.segment import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from shotfix.charter import Charter
    from shotfix.core import Core, Said
    from shotfix.journal import Journal
    from shotfix.segment import Entry

_log = logging.getLogger(__name__)


class Recovery:
    """One start of an engine.

    Parameters
    ----------
    charter : Charter
        From what a core is built; afterwards the one from which it was.
    registry : Registry
        As it is now; afterwards under the number that it has from here on.
    journal : Journal
        What was acknowledged.
    told_revision : int
        The greatest number that a revision of the register ever had.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    """

    def __init__(
        self, charter: Charter, registry: Registry, journal: Journal, told_revision: int, now_ns: Callable[[], int]
    ) -> None:
        self.charter = charter
        self.registry = registry
        self.changes: tuple[str, ...] = ()
        """What of the register is otherwise than before the start, in words."""
        self._journal = journal
        self._told_revision = told_revision
        self._now_ns = now_ns

    def core(
        self,
        checkpoints: Path,
        gather: Callable[[Said | None], object],
        keep_missing: Callable[[Sequence[Alert]], object],
    ) -> Core:
        """The core, ready for what comes next.

        Parameters
        ----------
        checkpoints : Path
            The folder of checkpoints.
        gather : callable
            Takes what the core says to entries behind the checkpoint: said before, perhaps, and not stored.
        keep_missing : callable
            Takes the alerts to which a core comes that listens back, of which most were told.
        """
        found = newest(checkpoints, self.charter.stamp, self._journal.end)
        begun = self._journal.latest("begin")
        if found is not None:
            position: int = found[0]
            core: Core = found[1]
            _log.info("going on from a checkpoint at entry %d of %d", position, self._journal.end)
        elif begun is not None and (begin := self._begin_of(begun)).charter.stamp == self.charter.stamp:
            position, core = begun, self._listen_back(begin, begun)[0]
        else:
            position, core, alerts = self._begin_anew()
            # What was acknowledged, but was not told before the former program ended, is told now.
            keep_missing(alerts)
        for entry in self._journal.entries(position):
            gather(take(core, entry, self.charter))
        self._renumber(core.registry)
        core.begin(self._now_ns())
        return core

    def _begin_anew(self) -> tuple[int, Core, list[Alert]]:
        """A new core, which listens back into what another program or configuration left in the journal."""
        after, former = self._listened_back_to()
        if former is None:
            self.registry = self.registry.numbered(max(self.registry.revision, self._told_revision))
        else:
            self._renumber(former)
        begin = Begin(self.charter, self.registry.encode(), after)
        self._journal.append("begin", self._now_ns(), begin.encode())
        position = self._journal.flush()
        return position, *self._listen_back(begin, position)

    def _renumber(self, former: Registry) -> None:
        """Give the register a number above all former ones where it changed; else the one it has."""
        self.registry, words = former.revised(self.registry, self._told_revision)
        self.changes = words or self.changes

    def _listen_back(self, begin: Begin, position: int) -> tuple[Core, list[Alert]]:
        core = begin.core()
        self.charter = begin.charter
        alerts: list[Alert] = []
        for entry in self._journal.entries(begin.after, position - 1):
            said = None if entry.kind == "begin" else take(core, entry, begin.charter)
            alerts += [event for event in said.events if isinstance(event, Alert)] if said is not None else []
        return core, alerts

    def _listened_back_to(self) -> tuple[int, Registry | None]:
        """The entry behind which a new core begins to listen, and the register that was in force, where it is known."""
        recent: deque[tuple[int, int]] = deque()
        after = self._journal.oldest - 1
        register: Entry | None = None
        for entry in self._journal.entries(after):
            register = entry if entry.kind in {"network", "begin"} else register
            recent.append((entry.position, entry.at_ns))
            while recent[0][1] < entry.at_ns - LISTEN_BACK_NS:
                after = recent.popleft()[0]
        return after, None if register is None else _registry_in(register)

    def _begin_of(self, position: int) -> Begin:
        (entry,) = self._journal.entries(position - 1, position)
        return Begin.decode(entry.body)


def _registry_in(entry: Entry) -> Registry | None:
    try:
        return Registry.decode(entry.body if entry.kind == "network" else Begin.decode(entry.body).registry)
    except (JournalError, RegistryError):  # another version wrote it
        return None
