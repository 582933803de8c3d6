"""Why: what became of a bang at a place and time, and if nothing did, what stood in the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from acoustic.instant import after, check_instant, seconds_between
from localization.study.hearing import Ear
from localization.study.testimony import DIRECT, Sound, Span, Street, Witness

if TYPE_CHECKING:
    from localization.study.scene import Scene
    from localization.study.score import Place, Shot

Verdict = Literal[
    "alerted",  # an alert about it was published
    "in-review",  # it was left to a person
    "suppressed",  # policy held it back
    "cancelled",  # what was said was taken back
    "stored",  # placed, and in no alert
    "unplaced",  # heard together, but no place explains it
    "fixed-elsewhere",  # its pulses were taken for another bang
    "unexplained",  # enough sensors have pulses that would fit, but they were not taken for one bang
    "too-few-heard",
    "not-listening",
    "outside-coverage",
]
OUTCOMES: Final[dict[str, Verdict]] = {
    "published": "alerted", "review": "in-review", "suppressed": "suppressed", "cancelled": "cancelled",
}  # fmt: skip

FIX_NEEDS: Final = 3
TELLING: Final = 4  # pulses that fit one place: three do so often by chance


@dataclass(frozen=True, slots=True)
class Question:
    """A place and time, and how surely they are known: all that is asked lies within these bounds."""

    time_ns: int
    east_m: float
    north_m: float
    within_m: float = 50.0
    within_s: float = 1.0

    def __post_init__(self) -> None:
        check_instant(self.time_ns, "time_ns")
        if not (math.isfinite(self.east_m) and math.isfinite(self.north_m)):
            raise ValueError(f"the place is {self.east_m}, {self.north_m}: expected finite metres")
        if not (0.0 < self.within_m <= 5_000.0 and 0.0 < self.within_s <= 600.0):
            raise ValueError(f"bounds are {self.within_m} m and {self.within_s} s: expected to 5000 m and to 600 s")


@dataclass(frozen=True, slots=True)
class Near:
    """A shot within the bounds of the question, in its nearest mode."""

    shot: Shot
    distance_m: float
    later_s: float


@dataclass(frozen=True, slots=True)
class Account:
    """The answer.

    ``near`` lists shots within the bounds, nearest first; ``shot`` is the one that the verdict is about, also where it
    lies elsewhere; the witnesses, nearest first, stand to a bang at ``origin`` (east, north, m) and ``time_ns``.
    """

    question: Question
    verdict: Verdict
    near: tuple[Near, ...]
    shot: Shot | None
    origin: tuple[float, float]
    time_ns: int
    witnesses: tuple[Witness, ...]

    @property
    def expected(self) -> tuple[Witness, ...]:
        """Those who should have heard it."""
        return tuple(witness for witness in self.witnesses if witness.expected)

    @property
    def fitting(self) -> tuple[Witness, ...]:
        """Those with a pulse that nothing else explains."""
        return tuple(witness for witness in self.witnesses if witness.fits)


def why(
    question: Question,
    scene: Scene,
    shots: Sequence[Shot],
    sounds: Sequence[Sound],
    spans: Mapping[str, Sequence[Span]],
    ear: Ear | None = None,
) -> Account:
    """What became of a bang at a place and time.

    Parameters
    ----------
    question : Question
        Where, when, and how surely.
    scene : Scene
        Whose run it was.
    shots : sequence of Shot
        Of the run, with what became of the incident of each.
    sounds : sequence of Sound
        Its pulses, those at least that may have come from there and then.
    spans : mapping
        By sensor, when it listened.
    ear : Ear or None
        How well sensors hear; None for the usual.

    Notes
    -----
    Where a shot was placed within the bounds, the verdict is what became of it. Otherwise a place and a time within
    the bounds are looked for at which most sensors have a pulse that is neither laid to a placed bang nor its echo;
    with three sensors such a place turns up by chance.
    """
    street = Street(scene, shots, sounds, spans, ear or Ear())
    near = _near(question, shots)
    if near:
        nearest = near[0].shot
        mode = min(nearest.places, key=lambda place: _away(place, question))
        origin, time_ns = (mode.east_m, mode.north_m), nearest.time_ns
        verdict = OUTCOMES.get(nearest.outcome, "stored")
        return Account(question, verdict, near, nearest, origin, time_ns, street.witnesses(origin, time_ns, nearest))
    origin, time_ns = _best(question, street)
    witnesses = street.witnesses(origin, time_ns, None)
    unplaced = _shared([w for w in witnesses if w.sound], [shot for shot in shots if not shot.places])
    if unplaced is not None:
        witnesses = street.witnesses(origin, time_ns, unplaced)
        return Account(question, "unplaced", (), unplaced, origin, time_ns, witnesses)
    if sum(w.fits for w in witnesses) < TELLING:
        # As asked, without the freedom to look around: who explains the pulses of then and there?
        place, at_ns = (question.east_m, question.north_m), question.time_ns
        asked = street.witnesses(place, at_ns, None, (question.within_m / street.speed, question.within_s))
        elsewhere = _shared([w for w in asked if w.became == "other-shot"], shots)
        if elsewhere is not None:
            return Account(question, "fixed-elsewhere", (), elsewhere, place, at_ns, asked)
    return Account(question, _verdict(witnesses), (), None, origin, time_ns, witnesses)


def _verdict(witnesses: Sequence[Witness]) -> Verdict:
    """Of a bang that was not placed: what stood in the way."""
    expected = [witness for witness in witnesses if witness.expected]
    if sum(witness.fits for witness in witnesses) >= TELLING:
        return "unexplained"
    if len(expected) < FIX_NEEDS:
        return "outside-coverage"
    if sum(witness.listening for witness in expected) < FIX_NEEDS:
        return "not-listening"
    return "too-few-heard"


def _near(question: Question, shots: Sequence[Shot]) -> tuple[Near, ...]:
    """The shots within the bounds, or in whose region the place lies; nearest first, in time and place alike."""
    found = []
    for shot in shots:
        later_s = seconds_between(question.time_ns, shot.time_ns)
        if not shot.places or abs(later_s) > question.within_s:
            continue
        distance_m = min(_away(place, question) for place in shot.places)
        if distance_m <= question.within_m or any(_holds(place, question) for place in shot.places):
            found.append(Near(shot, distance_m, later_s))
    return tuple(sorted(found, key=lambda n: (_far(n, question), n.shot.shot_id)))


def _away(place: Place, question: Question) -> float:
    return math.hypot(question.east_m - place.east_m, question.north_m - place.north_m)


def _holds(place: Place, question: Question) -> bool:
    return place.ellipse.holds(question.east_m - place.east_m, question.north_m - place.north_m)


def _far(near: Near, question: Question) -> float:
    return abs(near.later_s) / question.within_s + near.distance_m / question.within_m


def _best(question: Question, street: Street) -> tuple[tuple[float, float], int]:
    """The place and time within the bounds at which most sensors have a pulse that is free; else as asked."""
    asked = (question.east_m, question.north_m)
    found = (0, 0.0, asked, 0.0)
    for place in _around(question):
        agree, later_s = street.agreement(place, question.time_ns, question.within_s)
        off_s = abs(later_s) + math.dist(place, asked) / street.speed
        if (agree, -off_s) > found[:2]:
            found = (agree, -off_s, place, later_s)
    return (found[2], after(question.time_ns, found[3])) if found[0] >= FIX_NEEDS else (asked, question.time_ns)


def _shared(witnesses: Sequence[Witness], shots: Sequence[Shot]) -> Shot | None:
    """The shot among these that at least two, and half, of the witnesses' pulses were laid to."""
    names = {shot.shot_id: shot for shot in shots}
    laid: Counter[str] = Counter()
    for witness in witnesses:
        laid.update({name for name, weight in witness.sound.uses if weight >= DIRECT} if witness.sound else ())
    counted = [(count, name) for name, count in laid.items() if name in names]
    if not counted:
        return None
    count, name = max(counted, key=lambda each: (each[0], each[1]))
    return names[name] if count >= 2 and 2 * count >= len(witnesses) else None


def _around(question: Question) -> list[tuple[float, float]]:
    """The place that is asked for, and 18 around it within its bounds, none far from all others."""
    places = [(question.east_m, question.north_m)]
    for count, share in ((6, 0.5), (12, 1.0)):
        for turn in np.arange(count) * 2.0 * np.pi / count:
            away = share * question.within_m
            places.append((question.east_m + away * float(np.sin(turn)), question.north_m + away * float(np.cos(turn))))
    return places
