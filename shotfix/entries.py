"""Entries: what the journal's bodies mean to a core, the same live as in a replay."""

from __future__ import annotations

import logging
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from acoustic.air import Air
from acoustic.instant import SECOND
from alerts.act import Act
from alerts.alert import Alert
from sensors.identity import MAGIC, SEAL_BYTES
from sensors.known_type import known
from sensors.wire import decode_batch
from shotfix.charter import Charter
from shotfix.core import Said
from shotfix.registry import Registry
from shotfix.segment import JournalError

if TYPE_CHECKING:
    from alerts.calendar_event import ExpectedEvent
    from sensors.wire import Batch
    from shotfix.core import Core
    from shotfix.segment import Entry

LISTEN_BACK_NS: Final = 900 * SECOND
"""How far a core that is built anew listens back: longer than any incident is open, or can still be revised."""
_TICK: Final = struct.Struct("<q")
_SILENCE: Final = b"silence"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Begin:
    """A core is built anew, and has silently taken the entries behind ``after`` and before this one."""

    charter: Charter
    registry: bytes
    after: int

    def encode(self) -> bytes:
        """As one line of JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, body: bytes) -> Begin:
        """From one line of JSON.

        Raises
        ------
        JournalError
            When another version of the program wrote it.
        """
        try:
            return msgspec.json.decode(body, type=known(cls))
        except (msgspec.MsgspecError, ValueError) as error:
            raise JournalError(f"begun by another version of this program ({error}); replay it with that one") from None

    def core(self) -> Core:
        """The core, having heard nothing yet."""
        return self.charter.core(Registry.decode(self.registry))


def tick_body(watermark_ns: int) -> bytes:
    """The body of a tick."""
    return _TICK.pack(watermark_ns)


def silence_body(until_ns: int) -> bytes:
    """The body of a note that everybody has fallen silent: the desk may close what was open at ``until_ns``."""
    return _SILENCE + _TICK.pack(until_ns)


def weather_body(air: Air) -> bytes:
    """The body of a report of the weather, in force from the entry's own instant on."""
    return msgspec.json.encode(air)


def act_body(act: Act, known: tuple[Alert, ...] = (), earlier: tuple[Act, ...] = ()) -> bytes:
    """The body of what a person decided, with what a desk that has forgotten it needs: see `alerts.desk.Desk.act`."""
    return msgspec.json.encode(_ActBody(act, known, earlier))


def calendar_body(events: tuple[ExpectedEvent, ...]) -> bytes:
    """The body of a calendar of what is expected, in force from then on."""
    return msgspec.json.encode(events)


@dataclass(frozen=True, slots=True)
class _ActBody:
    act: Act
    known: tuple[Alert, ...]
    earlier: tuple[Act, ...] = ()


def take(core: Core, entry: Entry, charter: Charter, batch: Batch | None = None) -> Said | None:
    """Have a core take one entry that is no beginning; what came of it.

    None where the core failed on it. That is a fault of ours: it stands in the log and among the core's counts, the
    entry stays in the journal, the others still count; and a replay passes over the same entry. What a person decided
    is then among what was passed over: it would be handed over again and again, and a person has to look.

    Parameters
    ----------
    batch : Batch or None
        What the entry's body says, where somebody has decoded it already.
    """
    try:
        return _take(core, entry, charter, batch)
    except Exception:  # noqa: BLE001  (one message that we fail on must not stop the alerts of all the others)
        core.counts["not-taken"] += 1
        _log.exception("entry %d (%s) was not taken; it stays in the journal", entry.position, entry.kind)
        return Said(passed_over=_act_in(entry)) if entry.kind == "act" else None


def _act_in(entry: Entry) -> list[str]:
    """The name of the act in an entry, where that much of it can be read."""
    try:
        return [msgspec.json.decode(entry.body, type=known(_ActBody)).act.act_id]
    except (msgspec.MsgspecError, ValueError):
        return []


def _take(core: Core, entry: Entry, charter: Charter, batch: Batch | None) -> Said:
    if entry.kind == "tick":
        return core.tick(_TICK.unpack(entry.body)[0])
    if entry.kind == "batch":
        return core.receive(batch or batch_in(entry.body), entry.at_ns)
    if entry.kind == "heard":
        heard = decode_batch(entry.body)
        return core.hear(heard.node_id, [envelope.content for envelope in heard.envelopes], entry.at_ns)
    if entry.kind == "network":
        registry = Registry.decode(entry.body)
        core.adopt(registry, charter.owned(registry), entry.at_ns)
    elif entry.kind == "weather":
        core.report_weather(msgspec.json.decode(entry.body, type=known(Air)), entry.at_ns)
    elif entry.kind == "act":
        body = msgspec.json.decode(entry.body, type=known(_ActBody))
        return core.act(body.act, body.known, body.earlier)
    elif entry.kind == "calendar":
        from alerts.calendar_event import ExpectedEvent  # most journals have none

        core.expect(msgspec.json.decode(entry.body, type=known(tuple[ExpectedEvent, ...])))
    elif entry.kind == "note" and entry.body.startswith(_SILENCE):
        return core.close(_TICK.unpack(entry.body[len(_SILENCE) :])[0])
    return Said()


def batch_in(body: bytes) -> Batch:
    """The batch in an entry: as its node sealed it, or without the audio that came with it.

    The seal was checked before it was written; whoever doubts it has the node's key in the register.
    """
    return decode_batch(body[SEAL_BYTES:] if body.startswith(MAGIC) else body)


@dataclass(slots=True)
class Replayed:
    """Which entries a replay has taken."""

    entries: int = 0
    first: int = 0
    last: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def counting(self, entries: Iterable[Entry], progress: Callable[[float], None]) -> Iterator[Entry]:
        """The same entries, counted as they pass."""
        for entry in entries:
            if not self.entries:
                self.first, self.first_ns = entry.position, entry.at_ns
            self.entries += 1
            self.last, self.last_ns = entry.position, entry.at_ns
            yield entry
            progress(1.0)


def alerts_again(entries: Iterable[Entry], core: Core | None = None, charter: Charter | None = None) -> Iterator[Alert]:
    """Every revision of every alert that these entries gave, in order.

    Parameters
    ----------
    entries : iterable of Entry
        From a beginning on; or from behind a checkpoint.
    core : Core or None
        The checkpoint's.
    charter : Charter or None
        What it was built from.
    """
    recent: deque[Entry] = deque()  # what a core that is built anew listens back into
    said: set[tuple[str, int]] = set()
    for entry in entries:
        if entry.kind == "begin":
            begin = Begin.decode(entry.body)
            charter, core = begin.charter, begin.core()
            for earlier in recent:
                if earlier.position > begin.after and earlier.kind != "begin":
                    yield from _new(take(core, earlier, charter), said)
        elif core is None or charter is None:
            raise JournalError(f"entry {entry.position}: nothing begins before it; start at a beginning")
        else:
            yield from _new(take(core, entry, charter), said)
        recent.append(entry)
        while recent[0].at_ns < entry.at_ns - 2 * LISTEN_BACK_NS:
            recent.popleft()


def _new(said: Said | None, known: set[tuple[str, int]]) -> Iterator[Alert]:
    for event in said.events if said is not None else ():
        if isinstance(event, Alert) and (event.alert_id, event.revision) not in known:
            known.add((event.alert_id, event.revision))
            yield event
