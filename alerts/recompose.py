"""Rounds of stored alerts put together anew: what people join and part after the desk forgot what was heard."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from typing import TYPE_CHECKING, Final

from acoustic.detection import CLASSES
from acoustic.instant import SECOND, parse_instant, seconds_between
from alerts.alert import DischargeTime, SensorCount, alert_instant
from alerts.circumstances import Circumstances, ExpectedNear
from alerts.draft import FEW_SENSORS, expected_of, shared_out
from alerts.incident import AUTOMATIC_INTERVAL_S, AUTOMATIC_ROUNDS, FASTEST_INTERVAL_NS, Rounds
from alerts.overlay import place_of_round
from alerts.policy import unplaced_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.alert import Alert, Audio, Flag, Round, What
    from alerts.place import Place, Surveyor
    from alerts.policy import Outcome, Policy

MOST_AUDIO: Final = 4


def recomposed(
    main: Alert, sources: Sequence[Alert], rounds: Sequence[Round], policy: Policy, surveyor: Surveyor | None = None
) -> Alert:
    """The machine's word of rounds that stored alerts tell of, under the name of one of them.

    Evidence is fused and judged as it is for what was just heard, from each round's own, with what was to be expected
    as ``main`` tells it; the place is that of the round that stood for its alert, where it is among them. What only the
    sound itself could tell is taken over. Which sensors heard it is known by number alone, so that those of two alerts
    count as the greater, and of the place of any other round its further modes are not known: where that matters,
    ``what.gate`` says so.

    Parameters
    ----------
    main : Alert
        Whose name and prior it has; the machine's word, without a review.
    sources : sequence of Alert
        All that the rounds are from, the machine's words.
    rounds : sequence of Round
        At least one.

    Raises
    ------
    ValueError
        When there are no rounds.
    """
    if not rounds:
        raise ValueError("an alert tells of one round or more")
    rounds = tuple(sorted(rounds, key=lambda one: (one.time, one.shot_id)))
    if main in sources and _names(main.rounds) == _names(rounds):
        return main
    placed = tuple(one for one in rounds if one.ellipse is not None)
    place, used, stood = _place(main, sources, placed, surveyor)
    first, last = (placed or rounds)[0], (placed or rounds)[-1]
    sigmas = [one.sigma_s for one in (first, last) if one.sigma_s is not None]
    what, outcome = _what(main, sources, rounds, place, policy)
    heard = max([one.n_sensors for one in rounds] + [s.sensors.heard for s in sources if _whole(s, rounds)])
    what = dataclasses.replace(
        what,
        flags=_flags(main, sources, rounds, what.rounds, place, used, stood),
        gate=what.gate + _not_known(sources, rounds, heard, of_round=place is not None and stood is None),
    )
    return dataclasses.replace(
        main,
        outcome=outcome,
        merged_into=None,
        discharge_time=DischargeTime(first.time, last.time, max(sigmas) if sigmas and place else None),
        detected_at=min(_detected_at(source, rounds) for source in sources),
        place=place,
        what=what,
        rounds=rounds,
        sensors=SensorCount(heard, used, max(heard, *(s.sensors.expected for s in sources))),
        audio=_audio(main, sources),
        provenance=dataclasses.replace(
            main.provenance,
            models=tuple(sorted({model for s in sources for model in s.provenance.models})),
        ),
        review=None,
    )


def _not_known(sources: Sequence[Alert], rounds: Sequence[Round], heard: int, *, of_round: bool) -> str:
    """What a reader must not take for the whole: the number of sensors, and a place of one round alone."""
    said = ""
    if len(rounds) > 1 and not (len(sources) == 1 and _whole(sources[0], rounds)):
        said += f"; by {heard} sensors or more: which heard each round is not known any more"
    if of_round:
        said += "; placed as one of them was: whether that may have been elsewhere, too, is not known any more"
    return said


def _detected_at(source: Alert, rounds: Sequence[Round]) -> str:
    """When the first of a source's rounds that are among these was heard: as much later as it was fired later."""
    mine = [one.time for one in source.rounds if one.shot_id in _names(rounds)]
    later_ns = parse_instant(min(mine)) - parse_instant(source.rounds[0].time) if mine else 0
    return alert_instant(parse_instant(source.detected_at) + later_ns)


def _whole(source: Alert, rounds: Sequence[Round]) -> bool:
    return _names(source.rounds) <= _names(rounds)


def _names(rounds: Sequence[Round]) -> set[str]:
    return {one.shot_id for one in rounds}


def _place(
    main: Alert, sources: Sequence[Alert], placed: Sequence[Round], surveyor: Surveyor | None
) -> tuple[Place | None, int, Alert | None]:
    """Place, how many sensors gave it, and whose it was: an alert's own where its round is among these."""
    whose = [s for s in sources if s.place is not None and any(_is_at(one, s.place) for one in placed)]
    if whose:
        best = min(whose, key=_vagueness)
        return best.place, best.sensors.used, best
    if not placed:
        return None, 0, None
    chosen = min(placed, key=lambda one: (-one.n_sensors, one.ellipse.area_m2 if one.ellipse else 0.0, one.time))
    before = main.place
    inside, frame = before is not None and before.inside_hull, None if before is None else before.frame
    return place_of_round(chosen, frame, inside_hull=inside, surveyor=surveyor), chosen.n_sensors, None


def _vagueness(alert: Alert) -> tuple[bool, int, float, str]:
    place = alert.place
    area_m2 = math.inf if place is None else place.ellipse.area_m2
    return place is not None and bool(place.modes), -alert.sensors.used, area_m2, alert.discharge_time.first


def _is_at(one: Round, place: Place) -> bool:
    there = (place.latitude, place.longitude, place.east, place.north)
    return (one.latitude, one.longitude, one.east, one.north) == there


def _what(
    main: Alert, sources: Sequence[Alert], rounds: Sequence[Round], place: Place | None, policy: Policy
) -> tuple[What, Outcome]:
    counted = [one for one in rounds if one.ellipse is not None] or list(rounds)
    unplaced = unplaced_for(one.reason for one in rounds) if place is None else None
    verdict = policy.weigh([one.llr for one in counted], _circumstances(main.what), unplaced)
    times = [parse_instant(one.time) for one in counted if one.ellipse is not None]
    gaps = [seconds_between(a, b) for a, b in itertools.pairwise(times)]
    what = dataclasses.replace(
        main.what,
        p_gunshot=round(verdict.posterior, 6),
        llr=round(verdict.llr, 4),
        probabilities=_probabilities(sources, verdict.posterior),
        rounds=_count(sources, rounds),
        cadence_s=round(statistics.median(gaps), 4) if gaps else None,
        gate=f"{verdict.reason}; of its rounds as they were told before",
        expected=expected_of(verdict.circumstances),
    )
    return what, verdict.outcome


def _circumstances(what: What) -> Circumstances | None:
    """What made the prior, as a document tells it; None where its prior is rounded to none at all."""
    near = tuple(
        ExpectedNear(one.name, one.kind, one.distance_m, one.shift, over_budget=one.over_budget)
        for one in what.expected
    )
    told = what.priors
    if told is None or not 0.0 < told.base < 1.0:
        return Circumstances(what.prior, expected=near) if 0.0 < what.prior < 1.0 else None
    # Each is rounded for itself: that must not let the load raise the odds.
    rate_shift = min(told.rate_shift, -told.calendar_shift)
    return Circumstances(told.base, told.hour_shift, told.calendar_shift, rate_shift, told.others_per_hour, near)


def _probabilities(sources: Sequence[Alert], posterior: float) -> dict[str, float]:
    others = [math.fsum(s.what.probabilities.get(name, 0.0) for s in sources) for name in CLASSES[1:]]
    return shared_out(posterior, others)


def _count(sources: Sequence[Alert], rounds: Sequence[Round]) -> Rounds:
    """Where alerts were joined whole, their counts together; else as an incident counts what it has."""
    if sum(len(s.rounds) for s in sources) == len(rounds) and all(_whole(s, rounds) for s in sources):
        told = [s.what.rounds for s in sources]
        return Rounds(sum(r.min for r in told), sum(r.best for r in told), sum(r.max for r in told))
    placed = [one for one in rounds if one.ellipse is not None]
    if not placed:
        return Rounds(1, len(rounds), len(rounds))
    apart, before = 0, -math.inf
    for one in placed:
        at_ns = parse_instant(one.time)
        if one.llr >= 0.0 and at_ns - before >= FASTEST_INTERVAL_NS:
            apart, before = apart + 1, at_ns
    more = sum(one.ellipse is None and one.n_sensors > 1 for one in rounds)
    return Rounds(max(1, apart), len(placed), len(placed) + more)


def _flags(
    main: Alert,
    sources: Sequence[Alert],
    rounds: Sequence[Round],
    count: Rounds,
    place: Place | None,
    used: int,
    stood: Alert | None,
) -> tuple[Flag, ...]:
    whole = {flag for s in sources if _whole(s, rounds) for flag in s.what.flags}
    any_of = {flag for s in sources for flag in s.what.flags}
    times = [parse_instant(one.time) for one in rounds if one.ellipse is not None]
    steps = AUTOMATIC_ROUNDS - 1
    quick = any(b - a <= steps * AUTOMATIC_INTERVAL_S * SECOND for a, b in zip(times, times[steps:], strict=False))
    of_place = set() if stood is None else set(stood.what.flags)
    said: list[tuple[Flag, bool]] = [
        ("ambiguous", place is not None and bool(place.modes)),
        ("expected-load", "expected-load" in main.what.flags),
        ("few-sensors", place is not None and used <= FEW_SENSORS),
        ("full-automatic", quick or "full-automatic" in whole),
        ("height-decides", "height-decides" in of_place),
        ("multiple-rounds", count.best > 1),
        ("outside-hull", place is not None and not place.inside_hull),
        ("shock-wave", "shock-wave" in any_of),
        ("unplaced", place is None),
    ]
    return tuple(flag for flag, applies in said if applies)


def _audio(main: Alert, sources: Sequence[Alert]) -> tuple[Audio, ...]:
    found = {clip.sha256: clip for s in (main, *sources) for clip in s.audio}
    return tuple(found.values())[:MOST_AUDIO]
