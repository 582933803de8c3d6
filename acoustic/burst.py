"""Bursts: which impulses of one microphone are rounds of one weapon and which are echoes, and how fast it fires."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.family import ALIKE, MOST_TIMES, Cadence, Family, Match, Snippet
from acoustic.shock import BEFORE_BLAST_S
from acoustic.uncertainty import ECHO_MEMORY_S, echo_by_loudness, echo_probability, outlier_probability

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from acoustic.arrival import Arrival

__all__ = ["BurstTracker", "Cadence", "Round"]

SHORTEST_S: Final = 0.042  # 1,400 rounds a minute: what comes sooner is an echo
SAME_DELAY_S: Final = 0.0007
SAME_DELAYS: Final = 2
BETTER: Final = 0.05
KNOWN_ROUND: Final = 0.02
SLOW_ECHO_S: Final = 0.25
SLOW_ECHO_DB: Final = 3.0  # an echo that comes later and looks like the direct sound is that much weaker at least
TRUSTED_ECHO: Final = 0.5
KNOWN_ECHO: Final = 0.95
CONFIRMED: Final = 2  # rounds that agreed: a third whose pick lies elsewhere was picked on something else
DISAGREEMENT_S: Final = 0.0005
DISAGREEING: Final = 0.5  # the round or its first is not on the first arrival
SHOCK_WAVE: Final = 0.98
BEHIND_SHOCK_S: Final = 0.002
MOST_FAMILIES: Final = 12


@dataclass(frozen=True, slots=True)
class Round:
    """What a burst makes of one impulse.

    Parameters
    ----------
    onset : float
        In samples since the stream began, refined by the rounds before.
    sigma_s : float
        One standard deviation, given that it is no outlier.
    p_outlier : float
        Probability that it is no direct sound of a shot: an echo, noise, a shock wave.
    rounds : int
        Rounds of this weapon so far, with this one; 0 for what is none.
    cadence : Cadence or None
        From the third round on.
    flags : tuple of str
        Of "full-automatic" and "shock-wave", sorted. The latter is on the N-wave and on what follows it.
    """

    onset: float
    sigma_s: float
    p_outlier: float
    rounds: int
    cadence: Cadence | None = None
    flags: tuple[str, ...] = ()


class BurstTracker:
    """Follows the impulses of one stream, in order.

    Rounds of one weapon reach one microphone by the same ways: each looks like those before it, and so does each
    echo. A *family* is what looks alike. A family that follows another one at a delay that repeats is its echo; two
    weapons, which differ, are not that punctual. Within a family nothing is a round that comes sooner than a weapon
    can fire. Memory is bounded: some dozen families of the last second.

    Parameters
    ----------
    rate_hz : int
        Of the stream.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._families: list[Family] = []
        self._peaks: deque[tuple[float, float]] = deque(maxlen=MOST_TIMES)  # onset and peak of what was no shock wave
        self._shocks: deque[float] = deque(maxlen=MOST_TIMES)
        self._noise = 0.0  # before the first impulse of a second: what precedes the others is echoes, which belong

    def receive(self, arrival: Arrival, start: int, filtered: NDArray[np.float32]) -> Round:
        """Take the next impulse.

        Parameters
        ----------
        arrival : Arrival
            Its onset in the window; not before that of the impulse received last.
        start : int
            Where in the stream the window begins.
        filtered : (n,) float32
            The window in the detection band.
        """
        onset = start + arrival.index
        self._forget(onset)
        if arrival.shock_wave:
            self._shocks.append(onset)
            return Round(onset, arrival.sigma_s, SHOCK_WAVE, 0, None, ("shock-wave",))
        snippet = Snippet(filtered, arrival.index, self._rate_hz)
        if not self._peaks:
            self._noise = snippet.noise
        echo = self._echo(snippet.peak, onset)
        self._peaks.append((onset, snippet.peak))
        family, match = self._best(snippet, onset)
        sigma = arrival.sigma_s * self._rate_hz
        hidden = self._hidden(filtered, start, arrival.index) if match is None or match.score < ALIKE else None
        if hidden is not None:
            return self._judged(arrival, *hidden, KNOWN_ROUND)
        if family is not None and match is not None and match.weaker and family.trusted:
            echo = max(echo, echo_by_loudness(family.level_db - match.level_db))
        if family is None or match is None or match.weaker:
            family = Family(snippet, onset, sigma, trusted=echo < TRUSTED_ECHO)
            if self._repeats(onset, family):
                echo, family.trusted = KNOWN_ECHO, False
            self._welcome(family)
            return self._judged(arrival, family, onset, sigma, echo)
        if self._is_echo(family, onset, match):
            return self._judged(arrival, family, onset, sigma, KNOWN_ECHO)
        onset, sigma, disagrees = self._settled(family, onset, sigma, match)
        late = onset - family.times[-1] > SLOW_ECHO_S * self._rate_hz
        family.join(onset, match)
        family.trusted = family.trusted or self._outdoes(family)
        if family.trusted:
            echo = (
                KNOWN_ROUND if family.count > 2 else echo_by_loudness(-match.level_db - (SLOW_ECHO_DB if late else 0.0))
            )
            if disagrees:
                echo = max(echo, DISAGREEING)
        return self._judged(arrival, family, onset, sigma, max(echo, KNOWN_ROUND))

    def _settled(self, family: Family, onset: float, sigma: float, match: Match) -> tuple[float, float, bool]:
        """Onset and sigma with what the family knows; whether the two differ and nobody can tell which is right."""
        off = match.late - family.anchor
        if abs(off) <= DISAGREEMENT_S * self._rate_hz:
            return (*family.refined(onset, sigma, match), False)
        if family.agreed < CONFIRMED:
            return onset, sigma, True
        return onset - off, math.hypot(match.sigma, math.sqrt(family.variance)), False

    def _judged(self, arrival: Arrival, family: Family, onset: float, sigma: float, echo: float) -> Round:
        p_outlier = outlier_probability(arrival.snr_db, echo)
        sigma_s = sigma / self._rate_hz
        if echo >= KNOWN_ECHO or family.echo:
            return Round(onset, sigma_s, p_outlier, 0)
        flags = ["full-automatic"] if family.automatic(self._rate_hz) else []
        if any(onset - shock > BEHIND_SHOCK_S * self._rate_hz for shock in self._shocks):
            flags.append("shock-wave")
        return Round(onset, sigma_s, p_outlier, family.count, family.cadence(self._rate_hz), tuple(flags))

    def _forget(self, onset: float) -> None:
        horizon = onset - ECHO_MEMORY_S * self._rate_hz
        self._families = [family for family in self._families if family.times[-1] >= horizon]
        while self._peaks and self._peaks[0][0] < horizon:
            self._peaks.popleft()
        while self._shocks and self._shocks[0] < onset - BEFORE_BLAST_S * self._rate_hz:
            self._shocks.popleft()

    def _best(self, snippet: Snippet, onset: float) -> tuple[Family | None, Match | None]:
        """The family that it looks most like, if it looks like any."""
        found: tuple[Family | None, Match | None] = (None, None)
        for family in self._families:
            match = family.match(snippet, onset, self._noise)
            if match is not None and (found[1] is None or match.score > found[1].score):
                found = (family, match)
        return found

    def _hidden(self, filtered: NDArray[np.float32], start: int, index: float) -> tuple[Family, float, float] | None:
        """A round of automatic fire in the gate's dead time after an echo: its family, onset and sigma."""
        for family in self._families:
            found = family.found_in(filtered, start, index, self._noise) if family.trusted and not family.echo else None
            if found is not None and found[0] - family.times[-1] >= SHORTEST_S * self._rate_hz:
                family.join(found[0], found[1])
                return family, found[0], math.hypot(found[1].sigma, math.sqrt(family.variance))
        return None

    def _is_echo(self, family: Family, onset: float, match: Match) -> bool:
        """Whether one that looks like a family is an echo of it, or the family an echo itself."""
        if onset - family.times[-1] < SHORTEST_S * self._rate_hz:
            if len(family.times) > 1 and match.score > family.score + BETTER:
                family.times.pop()  # that one was the echo: the round is what looks more like the rounds
                family.count -= 1
                return family.echo
            return True
        if not family.echo:
            family.echo = self._follows(onset, family)
        return family.echo

    def _follows(self, onset: float, family: Family) -> bool:
        """Whether a family keeps a delay behind an earlier one, to less than any two weapons would."""
        near = SAME_DELAY_S * self._rate_hz
        for place, other in self._elders(family):
            behind = onset - other.times[-1]
            known = family.behind.setdefault(place, deque(maxlen=MOST_TIMES))
            if sum(abs(behind - one) < near for one in known) >= SAME_DELAYS:
                return True
            known.append(behind)
        return False

    def _outdoes(self, family: Family) -> bool:
        """Whether a family has more members than any it could be the echo of had rounds in its time."""
        since = family.begun - ECHO_MEMORY_S * self._rate_hz
        elders = [sum(at > since for at in other.times) for _, other in self._elders(family)]
        return family.count > max(elders, default=0) + 1

    def _repeats(self, onset: float, family: Family) -> bool:
        """Whether something new comes at a delay behind rounds at which something else did so before."""
        near = SAME_DELAY_S * self._rate_hz
        for _, other in self._elders(family):
            behind = onset - other.times[-1]
            if any(abs(behind - known) < near for known in other.echoes):
                return True
            other.echoes.append(behind)
        return False

    def _elders(self, family: Family) -> list[tuple[int, Family]]:
        """The weapons that began before a family did."""
        return [
            (id(other), other)
            for other in self._families
            if other is not family and not other.echo and other.begun < family.begun
        ]

    def _welcome(self, family: Family) -> None:
        self._families.append(family)
        if len(self._families) > MOST_FAMILIES:
            self._families.remove(min(self._families, key=lambda old: (old.count, old.times[-1])))

    def _echo(self, peak: float, onset: float) -> float:
        """The probability of an echo by loudness and delay alone."""
        if not self._peaks or peak <= 0.0:
            return 0.0
        loudest_at, loudest = max(self._peaks, key=lambda impulse: impulse[1])
        drop_db = 20.0 * math.log10(loudest / peak) if loudest > 0.0 else -math.inf
        return echo_probability(drop_db, (onset - loudest_at) / self._rate_hz)
