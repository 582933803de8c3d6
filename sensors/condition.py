"""The condition of a sensor, as the centre sees it: live, or what is wrong with it, said once and not at every flap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from acoustic.instant import SECOND, check_instant, seconds_between
from sensors.health import Heartbeat

TROUBLES: Final = ("stale", "no-audio", "clock-bad", "clipped")
"""What can be wrong, the worst first: nothing comes from it; it hears nothing; its times are wrong; it is too loud."""

STATES: Final = (*TROUBLES, "stopped", "live")
"""What a sensor is shown as: its worst trouble; gone on purpose; well."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something must be wrong before it is said, and right before that is taken back.

    Parameters
    ----------
    stale_s : float
        Nothing heard for so long is "stale", and at once.
    no_audio_s, clipped_s : float
        A sensor is that once it was so for as long in all, well times of less than ``calm_s`` not counted.
    calm_s : float
        A trouble ends when the sensor was heard for so long and nothing was seen of it; whatever comes in between is
        the same trouble.
    """

    stale_s: float = 10.0
    no_audio_s: float = 3.0
    clipped_s: float = 10.0
    calm_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("stale_s", "no_audio_s", "clipped_s", "calm_s"):
            if not 0.0 <= getattr(self, name) <= 86_400.0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 to 86400 s")


@dataclass(frozen=True, slots=True)
class Episode:
    """A trouble of a sensor, from when it was first seen to when it was last; ``until_ns`` is None while it lasts.

    Parameters
    ----------
    sensor_id : str
        Whose.
    kind : str
        One of `TROUBLES`.
    since_ns, until_ns : int or None
        Wall clock of the centre, UTC.
    detail : str
        What was seen, in words.
    """

    sensor_id: str
    kind: str
    since_ns: int
    until_ns: int | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if self.kind not in TROUBLES:
            raise ValueError(f"kind is {self.kind!r}: expected one of {', '.join(TROUBLES)}")
        check_instant(self.since_ns, "since_ns")
        if self.until_ns is not None:
            check_instant(self.until_ns, "until_ns")
            if self.until_ns < self.since_ns:
                raise ValueError(f"an episode from {self.since_ns} cannot end at {self.until_ns}")


class _Trouble:
    """One kind of trouble of one sensor: seen or not seen, with memory."""

    __slots__ = ("_detail", "_first_ns", "_last_ns", "_seen", "_suffered_ns", "kind", "open")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.open = False
        self._seen = False
        self._first_ns: int | None = None  # since when, of the trouble that lasts or threatens
        self._last_ns = 0  # when it was seen last
        self._suffered_ns = 0  # for how long in all
        self._detail = ""

    @property
    def first_ns(self) -> int | None:
        """Since when, of the trouble that lasts or threatens."""
        return self._first_ns

    def pass_to(self, now_ns: int) -> None:
        """Time passes, and things are as they were."""
        if self._seen:
            self._suffered_ns += max(now_ns - self._last_ns, 0)
            self._last_ns = max(self._last_ns, now_ns)

    def see(self, now_ns: int, detail: str, since_ns: int | None = None) -> None:
        """From now on it is there."""
        self.pass_to(now_ns)
        if self._first_ns is None:
            self._first_ns = now_ns if since_ns is None else min(since_ns, now_ns)
        self._seen, self._last_ns, self._detail = True, max(self._last_ns, now_ns), detail

    def unsee(self, now_ns: int) -> None:
        """From now on it is not."""
        self.pass_to(now_ns)
        self._seen = False

    def judge(self, sensor_id: str, now_ns: int, known_ns: int, open_s: float, calm_s: float) -> Episode | None:
        """What is to be said of it now, if anything; the sensor's word reaches to ``known_ns``."""
        self.pass_to(now_ns)
        if self._first_ns is None:
            return None
        if not self.open and self._suffered_ns >= open_s * SECOND:
            self.open = True
            return Episode(sensor_id, self.kind, self._first_ns, None, self._detail)
        if self._seen or known_ns - self._last_ns < calm_s * SECOND:
            return None
        ended = Episode(sensor_id, self.kind, self._first_ns, self._last_ns, self._detail) if self.open else None
        self.open, self._first_ns, self._suffered_ns = False, None, 0
        return ended


class Condition:
    """What one sensor is like; fed with what comes from it, and with the time. Pure, and pickles.

    Every instant is the centre's wall clock when something was received, and never goes back: what is earlier than what
    was seen already counts as now. Sound that is years old is judged all the same.

    Parameters
    ----------
    sensor_id : str
        Whose.
    now_ns : int
        When it is first expected to be heard.
    patience : Patience
        How long before anything is said.
    """

    __slots__ = ("_clipped", "_expected_ns", "_heard_ns", "_now_ns", "_patience", "_stopped", "_troubles", "sensor_id")

    def __init__(self, sensor_id: str, now_ns: int, patience: Patience | None = None) -> None:
        check_instant(now_ns, "now_ns")
        self.sensor_id = sensor_id
        self._patience = patience or Patience()
        self._now_ns = self._heard_ns = self._expected_ns = now_ns
        self._stopped = False
        self._clipped: int | None = None
        self._troubles = {kind: _Trouble(kind) for kind in TROUBLES}

    def begin(self, now_ns: int) -> None:
        """Whoever watches was away until now: what was not heard meanwhile is not the sensor's silence."""
        self._expected_ns = self._pass_to(now_ns)

    def heard(self, received_ns: int) -> tuple[Episode, ...]:
        """Something came from it, whatever it was."""
        now_ns = self._pass_to(received_ns)
        self._heard_ns, self._stopped = now_ns, False
        self._troubles["stale"].unsee(now_ns)
        return self._judge()

    def heartbeat(self, heartbeat: Heartbeat, received_ns: int) -> tuple[Episode, ...]:
        """What it says of itself."""
        before = self.heard(received_ns)
        self._saw(
            "no-audio", "" if heartbeat.listening else "it hears nothing: lost microphone, gap or digital silence"
        )
        clipped = heartbeat.clipped_samples - (self._clipped or 0)
        # Counted since the device began: fewer than before is a new beginning.
        rising = self._clipped is not None and clipped > 0
        self._saw("clipped", f"{clipped} samples at full scale since the heartbeat before" if rising else "")
        self._clipped = heartbeat.clipped_samples
        return before + self._judge()

    def farewell(self, received_ns: int) -> tuple[Episode, ...]:
        """It stops on purpose: its silence is no trouble, until it is heard again."""
        now_ns = self._pass_to(received_ns)
        self._heard_ns, self._stopped = now_ns, True
        for kind in ("stale", "no-audio", "clipped"):
            self._troubles[kind].unsee(now_ns)
        return self._judge()

    def clock(self, words: str, received_ns: int) -> tuple[Episode, ...]:
        """What a watch over its clock found: words for what is wrong, or none."""
        self._pass_to(received_ns)
        self._saw("clock-bad", words)
        return self._judge()

    def tick(self, now_ns: int) -> tuple[Episode, ...]:
        """Time passes."""
        now_ns = self._pass_to(now_ns)
        due_ns = max(self._heard_ns, self._expected_ns) + round(self._patience.stale_s * SECOND)
        if now_ns >= due_ns and not self._stopped:
            silent_s = seconds_between(self._heard_ns, now_ns)
            self._troubles["stale"].see(now_ns, f"nothing heard for {silent_s:.0f} s", since_ns=self._heard_ns)
        return self._judge()

    @property
    def since_ns(self) -> int | None:
        """Since when it is in the state that it is shown in; None while it is live."""
        if self.troubles:
            return self._troubles[self.troubles[0]].first_ns
        return self._heard_ns if self._stopped else None

    @property
    def troubles(self) -> tuple[str, ...]:
        """Everything that is wrong with it now, the worst first."""
        return tuple(kind for kind in TROUBLES if self._troubles[kind].open)

    @property
    def state(self) -> str:
        """What it is shown as: one of `STATES`."""
        return (*self.troubles, "stopped" if self._stopped else "live")[0]

    def _pass_to(self, now_ns: int) -> int:
        check_instant(now_ns, "now_ns")
        self._now_ns = max(self._now_ns, now_ns)
        return self._now_ns

    def _saw(self, kind: str, detail: str) -> None:
        if detail:
            self._troubles[kind].see(self._now_ns, detail)
        else:
            self._troubles[kind].unsee(self._now_ns)

    def _judge(self) -> tuple[Episode, ...]:
        wait = {"no-audio": self._patience.no_audio_s, "clipped": self._patience.clipped_s}
        # Silence is no sign of health, unless it was announced.
        known_ns = self._now_ns if self._stopped else self._heard_ns
        said = (
            trouble.judge(self.sensor_id, self._now_ns, known_ns, wait.get(kind, 0.0), self._patience.calm_s)
            for kind, trouble in self._troubles.items()
        )
        return tuple(episode for episode in said if episode is not None)


def counts(conditions: Iterable[Condition]) -> dict[str, int]:
    """How many sensors are in each of `STATES`."""
    found = Counter(condition.state for condition in conditions)
    return {state: found[state] for state in STATES}
