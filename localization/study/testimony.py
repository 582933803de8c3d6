"""Testimony: what each sensor should have heard of a bang at a place and time, and what it did hear."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from acoustic.instant import SECOND, after, seconds_between
from localization.loudness import expected_level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.study.hearing import Ear
    from localization.study.scene import Scene
    from localization.study.score import Shot

Span = tuple[int | None, int | None]
"""From when to when a sensor listened, ns; None is open."""
Became = Literal["used", "not-direct", "other-shot", "echo", "unlike-a-shot", "unexplained"]

EXPECTED_SHARE: Final = 0.5  # from here on a sensor is expected to hear a usual shot
EARLY_S, LATE_S = 0.04, 0.1  # beside the expected arrival: clocks and air, and walls on the way
ECHOES_S: Final = 1.5  # as the locator has it
DIRECT: Final = 0.5  # weight from which a pulse is used


@dataclass(frozen=True, slots=True)
class Sound:
    """A pulse of a run. ``uses`` holds the shots that it was laid to, with the weight it has in each."""

    pulse_id: str
    sensor_id: str
    time_ns: int
    llr: float
    uses: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Witness:
    """One sensor: what it should have heard, and what it did.

    Parameters
    ----------
    sensor_id, distance_m
        Who, and how far from the bang.
    expected_ns : int
        When the sound must have come.
    level_db_spl : float
        Its expected peak, of a usual shot.
    p_hears : float
        Probability that a listening sensor there reports a shot, of any loudness.
    listening : bool
        Whether it did then.
    sound : Sound or None
        The pulse nearest to what was expected.
    became : str or None
        What that pulse was taken for.
    of_shot : str
        The shot that it was laid to; empty for none.
    later_s : float
        The pulse minus the expectation; NaN without one.
    """

    sensor_id: str
    distance_m: float
    expected_ns: int
    level_db_spl: float
    p_hears: float
    listening: bool
    sound: Sound | None = None
    became: Became | None = None
    of_shot: str = ""
    later_s: float = math.nan

    @property
    def expected(self) -> bool:
        """Whether a usual shot is heard here more often than not."""
        return self.p_hears >= EXPECTED_SHARE

    @property
    def fits(self) -> bool:
        """Whether it has a pulse that nothing else explains."""
        return self.became in {"used", "not-direct", "unlike-a-shot", "unexplained"}


class Street:
    """The sensors of a scene, and what they heard.

    Parameters
    ----------
    scene : Scene
        The sensors, the air, the ground.
    shots : sequence of Shot
        What was placed, and what was not.
    sounds : sequence of Sound
        What the sensors reported.
    spans : mapping
        By sensor, when it listened.
    ear : Ear
        How well sensors hear.
    """

    def __init__(
        self,
        scene: Scene,
        shots: Sequence[Shot],
        sounds: Sequence[Sound],
        spans: Mapping[str, Sequence[Span]],
        ear: Ear,
    ) -> None:
        self.scene, self.spans, self.ear = scene, spans, ear
        self.sites = scene.network.sites
        self.places = scene.frame.local([site.position for site in self.sites])
        self.speed = scene.air.sound_speed_m_per_s
        floors = scene.noise_floors_db_spl
        self.floors = np.array([floors.get(site.sensor_id, math.nan) for site in self.sites])
        self.sounds: dict[str, list[Sound]] = {site.sensor_id: [] for site in self.sites}
        for sound in sorted(sounds, key=lambda s: (s.time_ns, s.pulse_id)):
            self.sounds.get(sound.sensor_id, []).append(sound)
        self.placed = {shot.shot_id for shot in shots if shot.places}
        self.arrivals = [
            (shot.time_ns, self._paths(shot.places[0].east_m, shot.places[0].north_m)[1])
            for shot in shots
            if shot.places
        ]
        self.free = [
            [s for s in self.sounds[site.sensor_id] if not self._laid(s) and not self._echo(s, k)]
            for k, site in enumerate(self.sites)
        ]

    def agreement(self, place: tuple[float, float], time_ns: int, within_s: float) -> tuple[int, float]:
        """How many sensors have a free pulse of one bang at this place, and how much later (s) than asked it was."""
        _, travel = self._paths(*place)
        # Every pulse, taken as the direct sound, says when the bang was.
        starts = sorted(
            (seconds_between(time_ns, sound.time_ns) - float(travel[k]), k)
            for k, free in enumerate(self.free)
            for sound in free
        )
        best, first, last = (0, -math.inf, 0.0), 0, 0
        around: Counter[int] = Counter()
        for start, _ in starts:
            while last < len(starts) and starts[last][0] <= start + EARLY_S:
                around[starts[last][1]] += 1
                last += 1
            while starts[first][0] < start - EARLY_S:
                around[starts[first][1]] -= 1
                first += 1
            if abs(start) <= within_s:
                best = max(best, (sum(count > 0 for count in around.values()), -abs(start), start))
        return best[0], best[2]

    def witnesses(
        self, origin: tuple[float, float], time_ns: int, shot: Shot | None, slack_s: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[Witness, ...]:
        """Every sensor before a bang, nearest first; ``slack_s`` widens the window for the place and for the time."""
        distances, travel = self._paths(*origin)
        shares = self.ear.overall(self.ear.margin_db(distances, self.floors))
        levels = expected_level(distances) + self.ear.louder_db
        early_s, late_s = EARLY_S + sum(slack_s), LATE_S + sum(slack_s)
        found = []
        for k, site in enumerate(self.sites):
            expected_ns = after(time_ns, float(travel[k]))
            sound = self._heard(k, expected_ns, early_s, late_s, shot)
            became, of_shot = self._became(sound, k, shot) if sound else (None, "")
            found.append(
                Witness(
                    sensor_id=site.sensor_id,
                    distance_m=float(np.hypot(*(self.places[k, :2] - origin))),
                    expected_ns=expected_ns,
                    level_db_spl=float(levels[k]),
                    p_hears=float(shares[k]),
                    listening=self._listening(site.sensor_id, expected_ns),
                    sound=sound,
                    became=became,
                    of_shot=of_shot,
                    later_s=seconds_between(expected_ns, sound.time_ns) if sound else math.nan,
                )
            )
        return tuple(sorted(found, key=lambda witness: (witness.distance_m, witness.sensor_id)))

    def _heard(self, k: int, expected_ns: int, early_s: float, late_s: float, shot: Shot | None) -> Sound | None:
        """The pulse in the window: the shot's own before a free one, a free one before others, then the nearest."""
        low, high = expected_ns - round(early_s * SECOND), expected_ns + round(late_s * SECOND)
        name = self.sites[k].sensor_id
        own = [s for s in self.sounds[name] if shot and any(use[0] == shot.shot_id for use in s.uses)]
        held = [s for s in self.sounds[name] if low <= s.time_ns <= high]
        free = {s.pulse_id for s in self.free[k]}
        return min(
            own or held,
            key=lambda s: (s.pulse_id not in free, abs(s.time_ns - expected_ns), s.pulse_id),
            default=None,
        )

    def _became(self, sound: Sound, k: int, shot: Shot | None) -> tuple[Became, str]:
        uses = dict(sound.uses)
        if shot is not None and shot.shot_id in uses:
            return ("used" if uses[shot.shot_id] >= DIRECT else "not-direct"), shot.shot_id
        if self._laid(sound):
            name = max(uses, key=lambda each: (uses[each], each))
            return "other-shot", name
        if self._echo(sound, k):
            return "echo", ""
        return ("unlike-a-shot" if sound.llr < 0.0 else "unexplained"), ""

    def _laid(self, sound: Sound) -> bool:
        """Whether a pulse is the direct sound of a bang that was placed."""
        return any(weight >= DIRECT and name in self.placed for name, weight in sound.uses)

    def _echo(self, sound: Sound, k: int) -> bool:
        """Whether a bang that was placed reached this sensor shortly before."""
        waits = (seconds_between(time_ns, sound.time_ns) - float(travel[k]) for time_ns, travel in self.arrivals)
        return any(-0.01 < wait < ECHOES_S for wait in waits)

    def _listening(self, sensor_id: str, at_ns: int) -> bool:
        return any(
            (from_ns is None or from_ns <= at_ns) and (to_ns is None or at_ns < to_ns)
            for from_ns, to_ns in self.spans.get(sensor_id, ())
        )

    def _paths(self, east_m: float, north_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Metres and seconds from a place to every sensor, by straight lines through moving air."""
        ground, air = self.scene.ground, self.scene.air
        up = self.scene.source_up_m if ground is None else ground.source(east_m, north_m)[0]
        offset = self.places - (east_m, north_m, up)
        distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-3)
        along = (air.wind_east_m_per_s * offset[:, 0] + air.wind_north_m_per_s * offset[:, 1]) / distance
        return distance, distance / (self.speed + along)
