"""Waiting: whose word the watermark waits for, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSING_NS: Final = 60 * SECOND
"""Where every sensor has fallen silent, event time goes on for so long, for the desk alone: open incidents close."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a centre waits for whom.

    Parameters
    ----------
    stale_s : float
        A sensor that says nothing for so long, wall clock, is no longer waited for; what it sends later revises.
    join_s : float
        At the start, every sensor of the network is waited for so long.
    pace : float
        Seconds of event time in one of the wall clock: 1 live, more where recorded nights are streamed faster.

    Raises
    ------
    ValueError
        When one is not above 0, or above a day.
    """

    stale_s: float = 10.0
    join_s: float = 10.0
    pace: float = 1.0

    def __post_init__(self) -> None:
        for name in ("stale_s", "join_s", "pace"):
            if not 0.0 < getattr(self, name) <= 86_400.0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected above 0 and at most 86400")


@dataclass(slots=True)
class _Voice:
    received_ns: int
    heard_until_ns: int | None = None
    gone: bool = False
    trusted: bool = True


class Waiting:
    """The watermark: the instant up to which every sensor that is waited for has told what it heard.

    A sensor is waited for while it is expected, trusted, has not taken its leave, spoke within ``stale_s`` of wall
    clock, and is neither behind the watermark (it came back with a backlog, which revises) nor farther behind the
    foremost than it could be silent. At the start everybody is waited for, ``join_s`` long. Where all have fallen
    silent the watermark stands still: when a whole network comes back with its backlog, nothing of it is late.

    Pure: instants are arguments; ``now_ns`` is the centre's wall clock as its journal has it.
    """

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.watermark_ns: int | None = None
        self._voices: dict[str, _Voice] = {}
        self._begun_ns = 0

    def begin(self, now_ns: int) -> None:
        """The centre starts, or starts again."""
        self._begun_ns = now_ns
        for voice in self._voices.values():
            voice.received_ns = now_ns

    def expect(self, sensor_ids: Iterable[str]) -> None:
        """These sensors are the network now."""
        wanted = set(sensor_ids)
        for name in set(self._voices) - wanted:
            del self._voices[name]
        for name in sorted(wanted - set(self._voices)):
            self._voices[name] = _Voice(self._begun_ns)

    def hear(self, sensor_id: str, now_ns: int, heard_until_ns: int) -> None:
        """A sensor has told everything up to ``heard_until_ns``."""
        voice = self._voices.setdefault(sensor_id, _Voice(now_ns))
        voice.received_ns = now_ns
        voice.gone = False
        voice.heard_until_ns = max(heard_until_ns, voice.heard_until_ns or heard_until_ns)

    def leave(self, sensor_id: str, now_ns: int, at_ns: int) -> None:
        """A sensor takes its leave: it is not waited for until it speaks again."""
        self.hear(sensor_id, now_ns, at_ns)
        self._voices[sensor_id].gone = True

    def trust(self, sensor_id: str, *, trusted: bool) -> None:
        """Whether a sensor's word counts; what it said while it was not trusted is forgotten."""
        voice = self._voices.setdefault(sensor_id, _Voice(self._begun_ns))
        if voice.trusted and not trusted:
            voice.heard_until_ns = self.watermark_ns
        voice.trusted = trusted

    def told_until(self, sensor_id: str) -> int | None:
        """Up to where a sensor has told everything; None before its first word."""
        voice = self._voices.get(sensor_id)
        return None if voice is None else voice.heard_until_ns

    def due(self, now_ns: int) -> int | None:
        """The watermark as it may be told now; None where it is not new."""
        if self._awaits_first_words(now_ns):
            return None
        words = [v.heard_until_ns for v in self._voices.values() if self._is_waited_for(v, now_ns)]
        held = [word for word in words if word is not None and word >= (self.watermark_ns or word)]
        if not held:
            return self._when_all_have_left(now_ns)
        slowest_ns = max(held) - self._patience_ns(self.patience.stale_s)
        return self._if_new(min(word for word in held if word >= slowest_ns))

    def tell(self, watermark_ns: int) -> None:
        """The watermark is told."""
        self.watermark_ns = max(watermark_ns, self.watermark_ns or watermark_ns)

    def silent_until(self, now_ns: int) -> int | None:
        """How far event time has gone for the desk while nobody is waited for; None while somebody is."""
        if self.watermark_ns is None or any(self._is_waited_for(v, now_ns) for v in self._voices.values()):
            return None
        return self.watermark_ns + self._silence_ns(now_ns)

    def _when_all_have_left(self, now_ns: int) -> int | None:
        """Where everybody took leave, nothing is on its way: event time goes on with the wall clock, for a while."""
        words = [v.heard_until_ns for v in self._voices.values() if v.trusted and v.heard_until_ns is not None]
        if not words or any(v.trusted and not v.gone for v in self._voices.values() if v.heard_until_ns is not None):
            return None
        return self._if_new(max(words) + self._silence_ns(now_ns))

    def _silence_ns(self, now_ns: int) -> int:
        """Event time that has passed since the last word of anybody, as far as it is followed."""
        passed_ns = now_ns - max(voice.received_ns for voice in self._voices.values())
        return min(max(round(passed_ns * self.patience.pace), 0), CLOSING_NS)

    def _if_new(self, word_ns: int) -> int | None:
        return word_ns if self.watermark_ns is None or word_ns > self.watermark_ns else None

    def _awaits_first_words(self, now_ns: int) -> bool:
        if now_ns - self._begun_ns > self.patience.join_s * SECOND:
            return False
        return any(v.heard_until_ns is None and v.trusted and not v.gone for v in self._voices.values())

    def _is_waited_for(self, voice: _Voice, now_ns: int) -> bool:
        return voice.trusted and not voice.gone and now_ns - voice.received_ns <= self.patience.stale_s * SECOND

    def _patience_ns(self, seconds: float) -> int:
        return round(seconds * self.patience.pace * SECOND)
