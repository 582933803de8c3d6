"""The sieve: when a centre refuses a batch for what is in it, which messages are to blame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from sensors.wire import Batch, Envelope

_Key: TypeAlias = tuple[str, int]
_WHOLE: Final = 4_096  # parts that have grown to this many messages are as good as the whole batch


class Sieve:
    """Finds the few messages that a centre will not take, so that the rest are not held up by them.

    A refused batch is halved until one message alone is refused: a suspect. It is passed over, and given up only when
    the centre refuses it again after it took another message: a centre that refuses everything (it speaks another
    version, say) is no reason to throw anything away. Pure: it neither sends nor waits.

    Where it stops being true: when the suspects fill a whole batch, nothing behind them is tried, and it begins again.
    """

    def __init__(self) -> None:
        self._suspects: dict[_Key, None] = {}
        self._proving: list[_Key] = []
        self._most: int | None = None

    @property
    def suspects(self) -> int:
        """How many messages were refused on their own and wait for their second trial."""
        return len(self._suspects)

    @property
    def clear(self) -> bool:
        """Whether nothing is suspected: batches go whole."""
        return not self._suspects and self._most is None

    def choose(self, batch: Batch) -> Batch:
        """The part of a batch to send next, its messages in their order; empty only when the batch is."""
        here = {_key(envelope) for envelope in batch.envelopes}
        self._suspects = {key: None for key in self._suspects if key in here}
        self._proving = [key for key in self._proving if key in self._suspects]
        if self._proving:
            return replace(batch, envelopes=tuple(e for e in batch.envelopes if _key(e) == self._proving[0]))
        open_ones = [e for e in batch.envelopes if _key(e) not in self._suspects]
        if not open_ones:
            self._suspects, self._most = {}, None
            open_ones = list(batch.envelopes)
        return replace(batch, envelopes=tuple(open_ones[: self._most]))

    def accepted(self, part: Batch) -> None:
        """The centre took this part: what it refused before now has its second trial, and the parts grow again."""
        for envelope in part.envelopes:
            self._suspects.pop(_key(envelope), None)
        if self._proving:
            self._proving = self._proving[1:]
        else:
            self._proving = list(self._suspects)
        if self._most is not None:
            self._most = 2 * self._most if self._most < _WHOLE else None

    def refused(self, part: Batch) -> Envelope | None:
        """The centre refused this part; the message that is given up with it, if it came to that."""
        if len(part.envelopes) > 1:
            self._most = len(part.envelopes) // 2
            return None
        if not part.envelopes:
            return None
        (only,) = part.envelopes
        if self._proving and self._proving[0] == _key(only):
            self._proving = self._proving[1:]
            del self._suspects[_key(only)]
            return only
        self._suspects[_key(only)] = None
        self._most = 1
        return None


def _key(envelope: Envelope) -> _Key:
    return envelope.boot_id, envelope.sequence
