"""The life of a source that is kept open for ever: connecting, live, stale, backing off. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CONNECTING: Final = "connecting"
LIVE: Final = "live"
STALE: Final = "stale"
BACK_OFF: Final = "back_off"
ENDED: Final = "ended"
STATES: Final = (CONNECTING, LIVE, STALE, BACK_OFF, ENDED)
"""Being opened; giving samples; open but silent, so closed and soon opened again; failed, soon opened again; over."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a supervisor waits for what, in seconds.

    A source that returns is heard again after its own opening and ``longest_wait_s`` at most; after ``connect_s`` or
    ``stale_s`` and half of ``first_wait_s`` where it had been hanging or silent. With the values given here that is
    within 5 s for what opens in 2 s, in 0.9 s after it hung. What takes longer to open than ``connect_s`` is never
    heard: give a camera more.

    Parameters
    ----------
    stale_s : float
        A live source without a sample for so long is stale.
    connect_s : float
        An opening that has brought no sample after so long is given up.
    first_wait_s, longest_wait_s : float
        From the start of an opening that failed, or from the last sample, to the start of the next opening: the first,
        doubled for each that follows, up to the longest. The wait is shortened by up to a quarter, so that nodes that
        lost one switch together do not return together.
    healthy_s : float
        After so long live, the waits begin again with the first.
    no_audio_s : float
        Without a sample for so long, ``no_audio`` is said.
    """

    stale_s: float = 2.0
    connect_s: float = 4.0
    first_wait_s: float = 0.2
    longest_wait_s: float = 3.0
    healthy_s: float = 10.0
    no_audio_s: float = 4.0

    def __post_init__(self) -> None:
        for name in ("stale_s", "connect_s", "first_wait_s", "longest_wait_s", "healthy_s", "no_audio_s"):
            if not 0.0 < getattr(self, name) <= 3600.0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected more than 0, at most 3600 s")
        if self.longest_wait_s < self.first_wait_s:
            raise ValueError(f"longest_wait_s is {self.longest_wait_s}: expected {self.first_wait_s} (first_wait_s) up")


@dataclass(frozen=True, slots=True)
class Change:
    """A source's state has changed, or whether anything is heard at all.

    Parameters
    ----------
    state : str
        One of `STATES`.
    no_audio : bool
        No sample for `Patience.no_audio_s`; taken back with the first sample.
    reason : str
        Why, with the remedy where there is one; empty when all is well.
    openings : int
        Times the source has been opened so far, this time included.
    """

    state: str
    no_audio: bool
    reason: str
    openings: int

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state is {self.state!r}: expected one of {', '.join(STATES)}")


class Supervisor:
    """Says when a source is to be opened and when it is to be let go; never gives up.

    Its user opens the source whenever ``state`` turns to ``connecting``, lets go of it whenever it leaves
    ``connecting`` and ``live``, reports what happens, and calls `tick` at ``next_s``. Liveness is samples counted.

    Parameters
    ----------
    patience : Patience
    jitter : callable
        Gives numbers of [0, 1): how much of the quarter each wait is shortened by.
    """

    def __init__(self, patience: Patience, jitter: Callable[[], float]) -> None:
        self._patience = patience
        self._jitter = jitter
        self.state = BACK_OFF
        self.no_audio = False
        self.openings = 0
        self.losses = 0
        """Times that a live source was lost."""
        self._reason = ""
        self._failures = 0
        self._began_s = 0.0
        self._opened_s = 0.0
        self._live_since_s = 0.0
        self._sampled_s = 0.0
        self._resume_s = 0.0

    @property
    def next_s(self) -> float:
        """When `tick` is due, if nothing is reported before."""
        if self.state == ENDED:
            return float("inf")
        due_s = {
            CONNECTING: self._opened_s + self._patience.connect_s,
            LIVE: self._sampled_s + self._patience.stale_s,
        }.get(self.state, self._resume_s)
        return due_s if self.no_audio else min(due_s, self._sampled_s + self._patience.no_audio_s)

    def begin(self, now_s: float) -> tuple[Change, ...]:
        """Start: the first opening is due at once."""
        self._sampled_s = self._resume_s = now_s
        return self.tick(now_s)

    def heard(self, samples: int, now_s: float) -> tuple[Change, ...]:
        """Samples came. Late ones, of an opening that has been given up, change nothing."""
        if samples <= 0 or self.state not in (CONNECTING, LIVE):
            return ()
        self._sampled_s = now_s
        if self.state == LIVE:
            if now_s - self._live_since_s >= self._patience.healthy_s:
                self._failures = 0
            return ()
        self._live_since_s = now_s
        self._reason = ""
        self.no_audio = False
        return self._turn(LIVE)

    def failed(self, reason: str, now_s: float) -> tuple[Change, ...]:
        """The opening failed, or the source was lost."""
        if self.state not in (CONNECTING, LIVE):
            return ()
        return self._let_go(BACK_OFF, reason, now_s)

    def ended(self, reason: str = "") -> tuple[Change, ...]:
        """The source is at its end, for a reason where it should not be, and will not be opened again."""
        if self.state not in (CONNECTING, LIVE):
            return ()
        self._reason = reason
        return self._turn(ENDED)

    def tick(self, now_s: float) -> tuple[Change, ...]:
        """Time has passed."""
        said: tuple[Change, ...] = ()
        if self.state == LIVE and now_s >= self._sampled_s + self._patience.stale_s:
            said = self._let_go(STALE, f"no samples for {self._patience.stale_s:g} s; opening it again", now_s)
        elif self.state == CONNECTING and now_s >= self._opened_s + self._patience.connect_s:
            reason = f"no samples {self._patience.connect_s:g} s after it was opened; trying again"
            said = self._let_go(BACK_OFF, reason, now_s)
        if self.state in (STALE, BACK_OFF) and now_s >= self._resume_s:
            self._opened_s = now_s
            self.openings += 1
            said += self._turn(CONNECTING)
        if self.state != ENDED and not self.no_audio and now_s >= self._sampled_s + self._patience.no_audio_s:
            self.no_audio = True
            said += self._turn(self.state)
        return said

    def _let_go(self, state: str, reason: str, now_s: float) -> tuple[Change, ...]:
        patience = self._patience
        if self.state == LIVE:
            self.losses += 1
            if self._sampled_s - self._live_since_s >= patience.healthy_s:
                self._failures = 0
        wait_s = min(patience.first_wait_s * 2.0 ** min(self._failures, 30), patience.longest_wait_s)
        wait_s *= 1.0 - self._jitter() / 4.0
        self._failures += 1
        # From the start of the opening or from the last sample, so that seconds of silence do not cost a wait on top.
        begun_s = self._sampled_s if self.state == LIVE else self._opened_s
        self._resume_s = max(begun_s + wait_s, now_s + patience.first_wait_s / 2.0)
        self._reason = reason
        return self._turn(state)

    def _turn(self, state: str) -> tuple[Change, ...]:
        self.state = state
        return (Change(state, self.no_audio, self._reason, self.openings),)
