"""The snipper: keeps the end of one stream for as long as it may be asked for, and cuts out what was reported."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.detection import Detection
from acoustic.instant import SECOND, after
from sensors.flac import LARGEST_FLAC_BYTES, OVERHEAD, steps_of
from sensors.following import Following
from sensors.health import Heartbeat
from sensors.ring import Tail
from sensors.snippet import MOST_PULSES, Snippet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acoustic.block import AudioBlock

SIDE_S: Final = 1.0
"""A snippet begins so long before its first onset and ends so long after its last."""
LONGEST_S: Final = 10.0
LONGEST_RING_S: Final = 30.0
"""More than that of what passes a microphone is in no node's memory, whatever it is configured to."""
SHORTEST_RING_S: Final = 6.0
WAIT_S: Final = 3.5
"""From an onset until it is cut: two seconds in which another may follow, a heartbeat's second and its lag. One more
second of the stream may be there by then, since what is handed over at once is no more."""
TELLING_LLR: Final = 0.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """What of its sound a node may keep and send.

    Parameters
    ----------
    telling_llr : float
        Impulses with this evidence for a gunshot or more are worth a snippet; natural logarithm. At 0, those that
        sound rather like a gunshot than like anything else.
    ring_s : float
        The most of its stream that is ever in memory, s: `SHORTEST_RING_S` to `LONGEST_RING_S`. Most of the time it is
        a third of the usual 12.
    wanted : bool
        False: nothing is kept and nothing is sent but numbers.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    telling_llr: float = TELLING_LLR
    ring_s: float = 12.0
    wanted: bool = True

    def __post_init__(self) -> None:
        if not SHORTEST_RING_S <= self.ring_s <= LONGEST_RING_S:
            raise ValueError(
                f"ring_s is {self.ring_s}: expected {SHORTEST_RING_S:g} to {LONGEST_RING_S:g} s; a node keeps no more"
            )
        if not abs(self.telling_llr) <= 50.0:
            raise ValueError(f"telling_llr is {self.telling_llr}: expected -50 to 50")

    def longest_s(self, rate_hz: int) -> float:
        """How long a snippet may be: what the ring and a message have room for, `LONGEST_S` at most.

        A message has room for 5.8 s of 24 bits at 48 kHz. Two seconds fit at every rate, since 16 bits must do above
        140 kHz.
        """
        fits_s = (LARGEST_FLAC_BYTES - 1_000) / (3 * OVERHEAD * rate_hz)
        return min(LONGEST_S, self.ring_s - WAIT_S, max(fits_s, 2.0 * SIDE_S))


@dataclass(slots=True)
class _Run:
    """Impulses that share a snippet."""

    first_ns: int
    last_ns: int
    pulse_ids: list[str]


class Snipper:
    """Cuts snippets out of one sensor's stream. No clock, file or thread.

    A snippet spans from `SIDE_S` before the first to `SIDE_S` after the last of telling impulses that are less than
    twice that apart; where it would become longer than `Keeping.longest_s`, another begins with the next of them, and
    the two overlap. It is said before the heartbeat that vouches for two seconds behind the last onset, so that who
    trusts a sensor's word "heard until" has every snippet that ends a second before. The end of a stream cuts what
    there is.

    Nothing is kept that no impulse can still ask for: some four seconds, and more only while a run of impulses goes on.

    Parameters
    ----------
    sensor_id : str
        Whose stream it is.
    keeping : Keeping
        What may be kept.
    """

    def __init__(self, sensor_id: str, keeping: Keeping) -> None:
        self._sensor_id = sensor_id
        self._keeping = keeping
        self._stream: Following | None = None
        self._tail = Tail(1)
        self._longest_ns = 0
        self._runs: deque[_Run] = deque()

    @property
    def kept_s(self) -> float:
        """How much of the stream is in memory, s."""
        return 0.0 if self._stream is None else len(self._tail) / self._stream.rate_hz

    @property
    def needed_from_ns(self) -> int | None:
        """From when on sound is needed for snippets that are not cut yet; None when none is pending."""
        return after(self._runs[0].first_ns, -SIDE_S) if self._runs else None

    def continued_by(self, block: AudioBlock) -> bool:
        """Whether a block follows on what was heard; else call `finish` first, with what the listener said to that."""
        return self._stream is None or self._stream.continued_by(block)

    def hear(
        self, block: AudioBlock, said: Sequence[Detection | Heartbeat]
    ) -> tuple[Detection | Heartbeat | Snippet, ...]:
        """Take a block, a second at most, and what the listener said to it.

        Returns
        -------
        tuple
            What was said, with snippets in their places.
        """
        if self._stream is None:
            self._stream = Following(block)
            self._tail = Tail(round(self._keeping.ring_s * block.rate_hz))
            self._longest_ns = round(self._keeping.longest_s(block.rate_hz) * SECOND)
        self._stream.take(block)
        self._tail.append(block.first_channel)
        told: list[Detection | Heartbeat | Snippet] = []
        for message in said:
            if isinstance(message, Detection):
                self._note(message)
            else:
                told += self._due(message.heard_until_ns)
            told.append(message)
        self._forget(said)
        return tuple(told)

    def finish(self, said: Sequence[Detection | Heartbeat]) -> tuple[Detection | Heartbeat | Snippet, ...]:
        """The stream ends, and with it what the listener said last; all snippets come before its very last word."""
        for message in said:
            if isinstance(message, Detection):
                self._note(message)
        cut = [] if self._stream is None else [self._cut(self._stream, run) for run in self._runs]
        self._stream, self._tail = None, Tail(1)
        self._runs.clear()
        snippets = [snippet for snippet in cut if snippet is not None]
        return (*said[:-1], *snippets, *said[-1:])

    def _note(self, detection: Detection) -> None:
        if detection.llr < self._keeping.telling_llr or self._stream is None:
            return
        onset_ns = detection.pick.onset_ns
        run = self._runs[-1] if self._runs else None
        if (
            run is not None
            and onset_ns - run.last_ns < 2 * SIDE_S * SECOND
            and onset_ns - run.first_ns + 2 * SIDE_S * SECOND <= self._longest_ns
            and len(run.pulse_ids) < MOST_PULSES
        ):
            run.last_ns = onset_ns
            run.pulse_ids.append(detection.pulse_id)
        else:
            self._runs.append(_Run(onset_ns, onset_ns, [detection.pulse_id]))

    def _due(self, heard_until_ns: int) -> list[Snippet]:
        cut: list[Snippet] = []
        while self._stream is not None and self._runs and after(self._runs[0].last_ns, 2 * SIDE_S) <= heard_until_ns:
            snippet = self._cut(self._stream, self._runs.popleft())
            if snippet is not None:
                cut.append(snippet)
        return cut

    def _cut(self, stream: Following, run: _Run) -> Snippet | None:
        start = max(stream.first_at(after(run.first_ns, -SIDE_S)), self._tail.begin)
        stop = min(stream.first_at(after(run.last_ns, SIDE_S)), self._tail.end)
        if stop <= start:  # an onset outside its stream: a listener that contradicts its blocks
            return None
        steps = steps_of(self._tail.read(start, stop))
        return Snippet.of(self._sensor_id, tuple(run.pulse_ids), stream.clock.instant(start), stream.rate_hz, steps)

    def _forget(self, said: Sequence[Detection | Heartbeat]) -> None:
        """Let go of what is behind the last heartbeat's word, but for what a pending run needs."""
        beats = [message.heard_until_ns for message in said if isinstance(message, Heartbeat)]
        if not beats or self._stream is None:
            return
        needed_ns = after(beats[-1], -SIDE_S)
        if self._runs:
            needed_ns = min(needed_ns, after(self._runs[0].first_ns, -SIDE_S))
        self._tail.forget(min(self._stream.first_at(needed_ns), self._tail.end))
