"""The clock watch: whether a node's clock can be what it says it is, from when its messages come. Pure, one a node."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from acoustic.instant import instant_text, seconds_between
from sensors.clock_reading import implausible

FROZEN: Final = "frozen"
BACKWARD: Final = "backward"
IMPLAUSIBLE: Final = "implausible"
STEP: Final = "step"
AHEAD: Final = "ahead"
BEHIND: Final = "behind"
DRIFT: Final = "drift"
REASONS: Final = (FROZEN, BACKWARD, IMPLAUSIBLE, STEP, AHEAD, BEHIND, DRIFT)
"""Why a node's clock is not believed; the first that holds is told."""

WINDOW_S: Final = 10.0
AHEAD_S: Final = 0.1  # our own clock may be behind by so much, with what time daemons do on either side
BEHIND_S: Final = 0.75  # no network of ours is slower at its best; a satellite's is 0.6 s
CONGESTED_S: Final = 30.0  # a message is stamped anew whenever it is tried again: no network holds one for longer
ALIKE_S: Final = 0.4
BACK_S: Final = 5.0  # by which messages may overtake each other
TWICE: Final = 2  # messages in a row before anything is said
STILL_S: Final = 4.0  # for which a clock may stand while messages come
STILL_SHARE: Final = 0.1
DRIFTING: Final = 50e-6
SURELY: Final = 6.0  # sigmas of a slope
LEAST_BINS: Final = 12  # of WINDOW_S each, before a slope is told
MOST_BINS: Final = 60
LEAST_BEND_S: Final = 0.01  # that a drift must have come to: less is what routes do
CLEAR_S: Final = 60.0  # without a fault, before a node is believed again
RECORDED_S: Final = 60.0  # sound so far from the node's own clock is a recording
MOST_SENSORS: Final = 256
SLOT_S: Final = 0.5  # lags of so long are remembered by the best of them
TOGETHER_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is thought of a node's clock.

    Parameters
    ----------
    reason : str
        One of `REASONS`; empty for a clock in order.
    words : str
        The same for people; empty for a clock in order.
    since_ns : int or None
        When the fault was found, by our clock.
    size_s : float
        How far the clock is ahead, s; negative behind. What is known of it.
    sure : bool
        No network could do this: the node's times are wrong. Otherwise it may be the network that is slow.
    """

    reason: str = ""
    words: str = ""
    since_ns: int | None = None
    size_s: float = 0.0
    sure: bool = True

    def __post_init__(self) -> None:
        if self.reason and self.reason not in REASONS:
            raise ValueError(f"reason is {self.reason!r}: expected one of {', '.join(REASONS)}, or none")

    @property
    def good(self) -> bool:
        """Whether nothing speaks against the clock."""
        return not self.reason


GOOD: Final = Verdict()


class ClockWatch:
    """Watches one node.

    A message takes some time on the way, never less than nothing, and its best time over a while hardly changes. What
    is nearer to right than networks tell, this cannot see: a clock 20 ms off is for the sound to tell
    (`localization.sensor_state`), or for the node itself (`sensors.timekeeper`). Sound that was recorded has its own
    time: such a node is judged for stamps that run back or stand still, and for nothing else.
    """

    def __init__(self) -> None:
        self.verdict = GOOD
        self.taken_ns: int | None = None
        """When the last message came, by our clock."""
        self._lags: deque[tuple[int, float, int]] = deque()  # when, the best lag of a slot, of how many
        self._bins: deque[tuple[float, float]] = deque(maxlen=MOST_BINS)
        self._began_ns: int | None = None
        self._highest_ns: int | None = None  # of sent stamps
        self._moved: tuple[int, int] | None = None  # the last sent stamp that moved, and when it came
        self._still_s = 0.0  # for which messages have come since
        self._heard: dict[str, tuple[int, int, int]] = {}  # heard until, when that came, messages since
        self._recorded = False
        self._drifting: Verdict | None = None
        self._in_a_row = dict.fromkeys(REASONS, 0)
        self._bad_ns: int | None = None  # when a fault was last seen

    def take(
        self,
        received_ns: int,
        sent_ns: int,
        state: str = "stated",
        sigma_s: float = 0.0,
        heard: Mapping[str, int] | None = None,
    ) -> Verdict:
        """Take the stamps of a message that came just now.

        Parameters
        ----------
        received_ns, sent_ns : int
            By our clock, and by the node's.
        state, sigma_s
            What the node's clock says of itself, as in its last heartbeat.
        heard : mapping of str to int, or None
            "Heard until" of those of its sensors that say they listen, as far as the message tells.

        Returns
        -------
        Verdict
            The one that holds now; a fault stays for a minute after it was last seen.
        """
        gap_s = 0.0 if self.taken_ns is None else seconds_between(self.taken_ns, received_ns)
        self.taken_ns = received_ns
        heard = {} if heard is None else heard
        if heard:
            off_s = [abs(seconds_between(sent_ns, until_ns)) for until_ns in heard.values()]
            self._recorded = state == "stated" and max(off_s) > RECORDED_S
        found = [self._frozen(received_ns, sent_ns, gap_s), self._back(sent_ns), self._heard_oddly(received_ns, heard)]
        if not self._recorded:
            found += self._judged_by_ours(received_ns, sent_ns, sigma_s, heard)
        self._settle(received_ns, {fault.reason: fault for fault in found if fault is not None})
        return self.verdict

    def _settle(self, received_ns: int, found: Mapping[str, Verdict]) -> None:
        """What is seen twice in a row is said; what is said stays until nothing was seen for a while."""
        for reason in REASONS:
            self._in_a_row[reason] = self._in_a_row[reason] + 1 if reason in found else 0
        if self._bad_ns is not None:
            self._bad_ns = min(self._bad_ns, received_ns)  # our own clock may have gone back
        seen = [found[reason] for reason in REASONS if self._in_a_row[reason] >= TWICE]
        if seen:
            self._bad_ns = received_ns
            if not self.verdict.reason or REASONS.index(seen[0].reason) < REASONS.index(self.verdict.reason):
                worst = seen[0]
                self.verdict = replace(worst, since_ns=received_ns)
        elif self._bad_ns is not None and seconds_between(self._bad_ns, received_ns) > CLEAR_S:
            self._bad_ns, self.verdict = None, GOOD

    # by the node's own stamps alone

    def _frozen(self, received_ns: int, sent_ns: int, gap_s: float) -> Verdict | None:
        if self._moved is None:
            self._moved = sent_ns, received_ns
            return None
        # A gap between messages counts for no more than a little: it may be the network's, or a jump of our own clock.
        self._still_s += min(max(gap_s, 0.0), STILL_S / 2.0)
        before_ns, came_ns = self._moved
        if abs(seconds_between(before_ns, sent_ns)) > STILL_SHARE * self._still_s:
            self._moved, self._still_s = (sent_ns, received_ns), 0.0
            return None
        if self._still_s < STILL_S:
            return None
        return Verdict(FROZEN, f"its clock has stood still for {self._still_s:.0f} s while messages came", came_ns)

    def _back(self, sent_ns: int) -> Verdict | None:
        if self._highest_ns is None or sent_ns >= self._highest_ns:
            self._highest_ns = sent_ns
            return None
        back_s = seconds_between(sent_ns, self._highest_ns)
        if back_s <= BACK_S:
            return None
        if self._in_a_row[BACKWARD] >= TWICE:
            self._highest_ns = sent_ns  # said; from here on it may run on
        return Verdict(BACKWARD, f"its clock went back by {back_s:.3g} s", size_s=-back_s)

    def _heard_oddly(self, received_ns: int, heard: Mapping[str, int]) -> Verdict | None:
        """The sensors' own word, which their sample clocks give."""
        worst: Verdict | None = None
        for sensor_id, until_ns in heard.items():
            before_ns, came_ns, since = self._heard.get(sensor_id, (until_ns, received_ns, 0))
            back_s, passed_s = seconds_between(until_ns, before_ns), seconds_between(came_ns, received_ns)
            if until_ns > before_ns or sensor_id not in self._heard:
                self._heard[sensor_id] = until_ns, received_ns, 0
                continue
            self._heard[sensor_id] = before_ns, came_ns, since + 1
            if back_s > BACK_S:
                worst = Verdict(BACKWARD, f"{sensor_id} heard until {back_s:.3g} s earlier than before", size_s=-back_s)
                if since >= TWICE:
                    self._heard[sensor_id] = until_ns, received_ns, 0
            elif passed_s > STILL_S and since >= TWICE and worst is None:
                worst = Verdict(FROZEN, f"{sensor_id} has heard until the same instant for {passed_s:.0f} s")
        while len(self._heard) > MOST_SENSORS:
            del self._heard[next(iter(self._heard))]
        return worst

    # beside our own clock

    def _judged_by_ours(
        self, received_ns: int, sent_ns: int, sigma_s: float, heard: Mapping[str, int]
    ) -> list[Verdict | None]:
        lag_s = seconds_between(sent_ns, received_ns)
        self._note(received_ns, lag_s)
        doubt = implausible(sent_ns)
        return [
            Verdict(IMPLAUSIBLE, doubt, size_s=-lag_s) if doubt else None,
            *self._jumped(
                received_ns, self._ahead(received_ns, lag_s, sigma_s, heard) or self._behind(received_ns, lag_s)
            ),
            self._drifting,
        ]

    def _note(self, received_ns: int, lag_s: float) -> None:
        """Remember a lag, and the best of every ten seconds."""
        if self._lags and received_ns < self._lags[-1][0]:
            self._lags.clear()  # our own clock went back
            self._bins.clear()
            self._began_ns = None
        if self._lags and seconds_between(self._lags[-1][0], received_ns) < SLOT_S:
            at_ns, best_s, count = self._lags[-1]
            self._lags[-1] = at_ns, min(best_s, lag_s), count + 1
        else:
            self._lags.append((received_ns, lag_s, 1))
        while seconds_between(self._lags[0][0], received_ns) > 3.0 * WINDOW_S:
            self._lags.popleft()
        self._began_ns = received_ns if self._began_ns is None else self._began_ns
        at_s = seconds_between(self._began_ns, received_ns)
        number = at_s // WINDOW_S
        if self._bins and self._bins[-1][0] // WINDOW_S == number:
            if lag_s < self._bins[-1][1]:
                self._bins[-1] = at_s, lag_s
        else:
            self._drifting = self._drift()
            self._bins.append((at_s, lag_s))

    def _ahead(self, received_ns: int, lag_s: float, sigma_s: float, heard: Mapping[str, int]) -> Verdict | None:
        """A message from the future, or sound from there; a clock that says it is unsure may be off by that much."""
        ahead_s = max([-lag_s, *(seconds_between(received_ns, until_ns) for until_ns in heard.values())])
        if ahead_s <= AHEAD_S + min(3.0 * sigma_s, 1.0):
            return None
        return Verdict(AHEAD, f"its clock is {ahead_s:.3g} s ahead of ours: its messages come before they are sent",
                       size_s=ahead_s)  # fmt: skip

    def _behind(self, received_ns: int, lag_s: float) -> Verdict | None:
        if lag_s <= BEHIND_S:
            return None
        best_s = self._best(received_ns, 0.0, WINDOW_S / 2.0)
        if best_s is None or best_s <= BEHIND_S:
            return None
        words = f"its messages take {best_s:.3g} s at best: its clock is behind"
        sure = best_s > CONGESTED_S
        return Verdict(BEHIND, words if sure else f"{words}, or the network slow", size_s=-best_s, sure=sure)

    def _jumped(self, received_ns: int, off: Verdict | None) -> list[Verdict | None]:
        """What is off now; and if it was in order shortly before, that it jumped."""
        usual_s = None if off is None else self._best(received_ns, WINDOW_S, 3.0 * WINDOW_S)
        if off is None or usual_s is None or not -AHEAD_S <= usual_s <= BEHIND_S:
            return [off]
        jump_s = off.size_s + usual_s
        return [off, replace(off, reason=STEP, words=f"its clock jumped by {jump_s:+.3g} s; {off.words}")]

    def _best(self, received_ns: int, least_s: float, most_s: float) -> float | None:
        """The best lag of the messages of such an age; None of fewer than three."""
        slots = [slot for slot in self._lags if least_s <= seconds_between(slot[0], received_ns) <= most_s]
        if sum(count for _, _, count in slots) <= TWICE:
            return None
        return min(best_s for _, best_s, _ in slots)

    def _drift(self) -> Verdict | None:
        """A slope of the best lags over minutes, in both halves of them."""
        if len(self._bins) < LEAST_BINS:
            return None
        x, y = np.array(self._bins).T
        middle = len(x) // 2
        slope, sigma = _slope(x, y)
        halves = [_slope(x[part], y[part])[0] for part in (slice(None, middle), slice(middle, None))]
        steady = all(math.copysign(half, slope) == half and abs(half) > DRIFTING / 2.0 for half in halves)
        bend_s = abs(slope) * float(x[-1] - x[0])
        if not steady or abs(slope) <= DRIFTING + SURELY * sigma or bend_s < LEAST_BEND_S:
            return None
        return Verdict(DRIFT, f"its clock drifts by {-1e6 * slope:+.0f} parts per million beside ours",
                       size_s=-math.copysign(bend_s, slope), sure=False)  # fmt: skip


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least squares, and one standard deviation from what it leaves."""
    away = x - x.mean()
    power = float(away @ away)
    slope = float(away @ y) / power
    left = y - y.mean() - slope * away
    return slope, math.sqrt(float(left @ left) / max(len(x) - 2, 1) / power)


def our_own_fault(verdicts: Sequence[Verdict]) -> str:
    """Words for when it is rather our clock that jumped than those of most nodes, all at once; empty otherwise.

    Parameters
    ----------
    verdicts : sequence of Verdict
        Of all nodes that are live.
    """
    astray = [v for v in verdicts if v.reason in (AHEAD, BEHIND, STEP, IMPLAUSIBLE) and v.since_ns is not None]
    if len(verdicts) < 3 or 2 * len(astray) <= len(verdicts):
        return ""
    times = sorted(v.since_ns for v in astray if v.since_ns is not None)
    if seconds_between(times[len(times) // 4], times[3 * len(times) // 4]) > TOGETHER_S:
        return ""
    off_s = float(np.median([v.size_s for v in astray]))
    alike = sum(abs(v.size_s - off_s) < ALIKE_S for v in astray)
    if 2 * alike <= len(verdicts):
        return ""
    when = instant_text(times[0], 0)
    return f"{alike} of {len(verdicts)} nodes are {off_s:+.3g} s off since {when}: our own clock jumped; see to it"
