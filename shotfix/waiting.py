"""Waiting: whose word the watermark waits for, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSING_NS: Final = 60 * SECOND
"""Where every sensor has fallen silent, event time goes on for so long, for the desk alone: open incidents close."""
NEARER_NS: Final = SECOND // 2


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
    lag_ns: int | None = None
    """How far it is behind the others, where that is much."""
    nearer_ns: int = 0
    """When it last came nearer."""
    missed_until_ns: int | None = None
    """Something that it said was not used; it was about nothing later."""


class Waiting:
    """The watermark: the instant up to which every sensor that is waited for has told what it heard.

    A sensor is waited for while it is expected, trusted, has not taken its leave, spoke within ``stale_s`` of wall
    clock, and is neither behind the watermark (it came back with a backlog, which revises) nor farther behind the
    foremost than it could be silent. At the start everybody is waited for, ``join_s`` long. Where all have fallen
    silent the watermark stands still: when a whole network comes back with its backlog, nothing of it is late.

    Pure: instants are arguments; ``now_ns`` is the centre's wall clock as its journal has it. Where that clock goes
    back, who spoke so long ago before still did: ages are kept.
    """

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.watermark_ns: int | None = None
        self._voices: dict[str, _Voice] = {}
        self._begun_ns = 0
        self._now_ns: int | None = None  # of the last question
        self._since: set[str] = set()  # who spoke since

    def begin(self, now_ns: int) -> None:
        """The centre starts, or starts again."""
        self._begun_ns = now_ns
        self._now_ns = None
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
        if self.watermark_ns is not None and not any(self._is_waited_for(v, now_ns) for v in self._voices.values()):
            self._join_again(now_ns)
        voice = self._voices.setdefault(sensor_id, _Voice(now_ns))
        voice.received_ns = now_ns
        self._since.add(sensor_id)
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

    def miss(self, sensor_id: str, until_ns: int) -> None:
        """A word of a sensor was not used; what it was about was before ``until_ns``."""
        voice = self._voices.setdefault(sensor_id, _Voice(self._begun_ns))
        voice.missed_until_ns = max(until_ns, voice.missed_until_ns or until_ns)

    def may_have_missed(self, sensor_id: str, at_ns: int) -> bool:
        """Whether a sensor may have heard something before ``at_ns`` that has not been told here."""
        voice = self._voices.get(sensor_id)
        if voice is None:
            return False
        if voice.missed_until_ns is not None and at_ns <= voice.missed_until_ns:
            return True
        return not voice.gone and (voice.heard_until_ns is None or voice.heard_until_ns < at_ns)

    def told_until(self, sensor_id: str) -> int | None:
        """Up to where a sensor has told everything; None before its first word."""
        voice = self._voices.get(sensor_id)
        return None if voice is None else voice.heard_until_ns

    def due(self, now_ns: int) -> int | None:
        """The watermark as it may be told now; None where it is not new."""
        self._follow_back(now_ns)
        if self._awaits_first_words(now_ns):
            return None
        held = [v for v in self._voices.values() if self._holds(v, now_ns)]
        words = [v.heard_until_ns for v in held if v.heard_until_ns is not None]
        if not words:
            return self._when_all_have_left(now_ns)
        # Beside the median: a single one that is far ahead, whatever its clock, must not make laggards of all others.
        amid_ns = median_low(words)
        told = [v.heard_until_ns for v in held if v.heard_until_ns is not None and not self._lags(v, amid_ns, now_ns)]
        return self._if_new(min(told, default=amid_ns))

    def _holds(self, voice: _Voice, now_ns: int) -> bool:
        """Whether the watermark waits for a voice: it came to it, and did not fall behind by being away."""
        word_ns = voice.heard_until_ns
        return self._is_waited_for(voice, now_ns) and word_ns is not None and word_ns >= (self.watermark_ns or word_ns)

    def _lags(self, voice: _Voice, amid_ns: int, now_ns: int) -> bool:
        """Whether a voice is far behind the others and does not come nearer, as one does that tells a backlog."""
        lag_ns = amid_ns - (voice.heard_until_ns or amid_ns)
        if lag_ns <= self._patience_ns(self.patience.stale_s):
            voice.lag_ns = None
            return False
        if voice.lag_ns is None or lag_ns < voice.lag_ns - NEARER_NS:
            voice.lag_ns, voice.nearer_ns = lag_ns, now_ns
        return now_ns - voice.nearer_ns > self.patience.stale_s * SECOND

    def tell(self, watermark_ns: int) -> None:
        """The watermark is told."""
        self.watermark_ns = max(watermark_ns, self.watermark_ns or watermark_ns)

    def silent_until(self, now_ns: int) -> int | None:
        """How far event time has gone for the desk while nobody is waited for; None while somebody is."""
        self._follow_back(now_ns)
        if self.watermark_ns is None or any(self._is_waited_for(v, now_ns) for v in self._voices.values()):
            return None
        return self.watermark_ns + self._silence_ns(now_ns)

    def _join_again(self, now_ns: int) -> None:
        """The first word after all were silent: the others, too, may be about to come back with what they heard."""
        for voice in self._voices.values():
            if not voice.gone:
                voice.received_ns = now_ns

    def _follow_back(self, now_ns: int) -> None:
        """Where the wall clock was set back, take what was heard before it as that much earlier."""
        back_ns = 0 if self._now_ns is None else self._now_ns - now_ns
        self._now_ns = now_ns
        if back_ns > 0:
            self._begun_ns -= back_ns
            for name, voice in self._voices.items():
                earlier_ns = 0 if name in self._since else back_ns  # what came since is of the new time
                voice.received_ns = min(voice.received_ns - earlier_ns, now_ns)
                voice.nearer_ns -= back_ns
        self._since.clear()

    def _when_all_have_left(self, now_ns: int) -> int | None:
        """Where everybody took leave, nothing is on its way: event time goes on with the wall clock, for a while."""
        words = [v.heard_until_ns for v in self._voices.values() if v.trusted and v.heard_until_ns is not None]
        if not words or any(v.trusted and not v.gone for v in self._voices.values() if v.heard_until_ns is not None):
            return None
        farthest_ns = median_low(words) + CLOSING_NS + self._patience_ns(self.patience.stale_s)
        return self._if_new(max(word for word in words if word <= farthest_ns) + self._silence_ns(now_ns))

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
