"""People said: what the ledger has of their words, against the rows in which the program keeps and shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from alerts.act import Act, decode_act
from alerts.record import tables
from alerts.record.chain import Fault
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alerts.record.entry import Entry

KINDS: Final = frozenset({"claim", "release", "acknowledge", "opinion", "disposition", "pin", "act"})
"""Entries that change rows of people; notes and links stand in the ledger alone."""

_NOBODY: Final[dict[str, Any]] = {
    "verdict": None, "claimed_by": None, "claimed_until_ns": None, "acknowledged_by": None, "acknowledged_ns": None,
    "disposition": None, "case_number": None, "wants_second": False, "disagreed": False, "pinned": False,
}  # fmt: skip
"""The columns of an incident that people write, and what stands there before anybody did."""


class _Said(msgspec.Struct):
    """Of an entry, what came into rows; ``opinions_before`` where an undoing brought earlier words back."""

    now: dict[str, Any] = {}
    opinion: dict[str, Any] | None = None
    opinions_before: list[Any] | None = None
    act: Act | None = None


@dataclass(frozen=True, slots=True)
class _Word:
    """Something that was said, and the entry that has it."""

    said: Any
    sequence: int


class PeopleSaid:
    """Takes entries in their order, then compares rows. It remembers the words of people, of which there are few."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, _Word]] = {}  # by incident and column
        self._opinions: dict[tuple[str, int], list[_Word]] = {}  # by incident and turn
        self._undone: dict[str, int] = {}  # by incident: the last entry that brought earlier opinions back
        self._acts: dict[str, _Word] = {}

    def note(self, entry: Entry) -> None:
        """Take down what an entry says; what says nothing of rows is passed over."""
        if entry.kind == "retired":  # should a late word bring the incident back, nobody has said anything of it
            self._columns.pop(entry.about, None)
        if entry.kind not in KINDS:
            return
        try:
            said = msgspec.json.decode(entry.body, type=known(_Said))
        except (msgspec.DecodeError, RecursionError):
            return
        for column, value in said.now.items():
            self._columns.setdefault(entry.about, {})[column] = _Word(value, entry.sequence)
        if said.act is not None:
            self._acts[said.act.act_id] = _Word(said.act, entry.sequence)
        if said.opinions_before is not None:
            self._undone[entry.about] = entry.sequence
        if entry.kind == "opinion" and said.opinion is not None and isinstance(turn := said.opinion.get("turn"), int):
            self._opinions.setdefault((entry.about, turn), []).append(_Word(said.opinion, entry.sequence))

    def of_incident(self, row: sa.Row[Any]) -> Fault | None:
        """What of an incident's row is not what people said of it."""
        said = self._columns.get(row.incident_id, {})
        for column, before in _NOBODY.items():
            word = said.get(column, _Word(before, 0))
            if getattr(row, column) != word.said:
                text = f"the row of incident {row.incident_id} has another {column} than was said"
                return _fault(word.sequence, text)
        return None

    def of_others(self, connection: sa.Connection) -> Fault | None:
        """The first act or opinion that is not as it was said, or gone, or that nobody said."""
        faults = [*self._wrong_acts(connection), *self._wrong_opinions(connection)]
        return min(faults, key=lambda fault: fault.sequence or _LAST, default=None)

    def _wrong_acts(self, connection: sa.Connection) -> Iterator[Fault]:
        missing = dict(self._acts)
        for row in connection.execute(sa.select(tables.act)).yield_per(500):
            word = missing.pop(row.act_id, None)
            if word is None:
                yield _fault(0, f"act {row.act_id} is in no entry")
            elif not _is_same(row, word):
                yield _fault(word.sequence, f"act {row.act_id} is not what was said")
        for name, word in missing.items():
            yield _fault(word.sequence, f"act {name} is gone")

    def _wrong_opinions(self, connection: sa.Connection) -> Iterator[Fault]:
        missing = {place: words[-1] for place, words in self._opinions.items() if self._stands(place[0], words[-1])}
        for row in connection.execute(sa.select(tables.opinion)).mappings().yield_per(500):
            place = row["incident_id"], row["turn"]
            words = self._opinions.get(place, [])
            last = missing.pop(place, None)
            kept = {name: value for name, value in row.items() if name != "incident_id"}
            if kept not in [word.said for word in ([last] if last is not None else words)]:
                sequence = words[-1].sequence if words else 0
                yield _fault(sequence, f"opinion {place[1]} of incident {place[0]} is not what was said")
        for (incident_id, turn), word in missing.items():
            yield _fault(word.sequence, f"opinion {turn} of incident {incident_id} is gone")

    def _stands(self, incident_id: str, word: _Word) -> bool:
        """Whether nothing was undone since: else an earlier word may stand there again, or none."""
        return word.sequence > self._undone.get(incident_id, 0)


def _is_same(row: sa.Row[Any], word: _Word) -> bool:
    act: Act = word.said
    beside = (row.alert_id, row.at_ns, row.by, row.sequence) == (act.alert_id, act.at_ns, act.by, word.sequence)
    try:
        return beside and decode_act(row.body) == act
    except (TypeError, ValueError):  # SQLite lets other programs put anything there
        return False


def _fault(sequence: int, text: str) -> Fault:
    return Fault(sequence, "row-altered", f"entry {sequence}: {text}" if sequence else text)


_LAST: Final = 1 << 62
