"""Drafts: the document that a verdict on an incident becomes, with what each revision changed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.detection import CLASSES, likeliest, probability
from alerts.alert import (
    SCHEMA_VERSION,
    Actions,
    Alert,
    Audio,
    DischargeTime,
    Expected,
    Flag,
    Kind,
    ModeOfUse,
    Prior,
    Provenance,
    Reason,
    Round,
    SensorCount,
    Status,
    Weather,
    What,
    alert_instant,
    message_id,
)
from alerts.place import place_of, rounded_ellipse
from localization.fix import Fix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from acoustic.detection import Clip
    from alerts.circumstances import Circumstances
    from alerts.incident import Incident, Shot
    from alerts.place import Place, Surveyor
    from alerts.policy import Outcome, Verdict
    from localization.fix import Arrival, Mode

FEW_SENSORS: Final = 3  # with three, nothing is left over that could contradict the place
CLIPS: Final = 2  # the loudest, hence the nearest: what a person listens to first
METRES_PER_DEGREE: Final = 111_194.9  # of latitude, on the sphere of 6371.0 km; good to 0.6 % on the ellipsoid


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for every alert of one desk: how it is used, what to call its plane, from what it is made.

    ``surveyor`` says what stands at a place; ``audio_url`` precedes a clip's digest where the clip can be fetched.
    """

    mode: ModeOfUse
    frame_name: str
    provenance: Provenance
    surveyor: Surveyor | None = None
    audio_url: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What is new with each revision."""

    revision: int
    kind: Kind
    reason: Reason
    status: Status
    outcome: Outcome
    published_ns: int
    merged_into: str | None = None


def draft(
    incident: Incident, verdict: Verdict, setting: Setting, turn: Turn, clip_of: Callable[[str], Clip | None]
) -> Alert:
    """The alert that tells of an incident as it stands.

    Numbers are rounded to what they can mean: metres to centimetres, probabilities to a millionth. ``clip_of`` gives
    the clip in which an impulse is heard, by its name, where there is one.
    """
    best = incident.best
    return Alert(
        schema_version=SCHEMA_VERSION,
        alert_id=incident.alert_id,
        incident_id=incident.incident_id,
        revision=turn.revision,
        supersedes=message_id(incident.alert_id, turn.revision - 1) if turn.revision > 1 else None,
        kind=turn.kind,
        reason=turn.reason,
        status=turn.status,
        mode=setting.mode,
        outcome=turn.outcome,
        merged_into=turn.merged_into,
        discharge_time=_discharge_time(incident),
        detected_at=alert_instant(min(_first_arrival_ns(shot) for shot in incident.shots)),
        published_at=alert_instant(turn.published_ns),
        place=None if best is None else place_of(best, setting.frame_name, setting.surveyor),
        what=_what(incident, verdict),
        rounds=tuple(_round(shot) for shot in incident.shots),
        sensors=_sensors(incident),
        audio=tuple(_audio(clip, setting.audio_url) for clip in _clips(incident, clip_of)),
        actions=Actions(),
        provenance=_provenance(incident, setting.provenance),
    )


def turned(alert: Alert, turn: Turn) -> Alert:
    """A document as the next revision that says it."""
    return dataclasses.replace(
        alert,
        schema_version=SCHEMA_VERSION,
        revision=turn.revision,
        supersedes=message_id(alert.alert_id, turn.revision - 1) if turn.revision > 1 else None,
        kind=turn.kind,
        reason=turn.reason,
        status=turn.status,
        outcome=turn.outcome,
        merged_into=turn.merged_into,
        published_at=alert_instant(turn.published_ns),
    )


def change(before: Alert, after: Alert) -> Reason:
    """Why ``after`` follows ``before``: the weightiest difference between them."""
    if after.status == "cancelled" and before.status != "cancelled":
        return "merged" if after.merged_into else "no-longer-gunfire"
    if before.status == "cancelled" and after.status != "cancelled":
        return "reinstated"
    if after.status != before.status:
        return "closed"
    if before.outcome != after.outcome:
        return "reclassified"
    if before.what.rounds.best != after.what.rounds.best:
        return "more-rounds" if after.what.rounds.best > before.what.rounds.best else "fewer-rounds"
    return _change_of_detail(before, after)


def _change_of_detail(before: Alert, after: Alert) -> Reason:
    if before.place is not None and after.place is None:
        return "place-withdrawn"
    if after.place is not None and (before.place is None or _moved(before.place, after.place)):
        return "relocated"
    if after.sensors.heard > before.sensors.heard:
        return "late-sensor"
    return "refined"


def _moved(before: Place, after: Place) -> bool:
    """Whether the place left the region that was told before."""
    if before.latitude is not None and before.longitude is not None:
        if after.latitude is None or after.longitude is None:
            return True
        north = (after.latitude - before.latitude) * METRES_PER_DEGREE
        turn = (after.longitude - before.longitude + 180.0) % 360.0 - 180.0
        east = turn * METRES_PER_DEGREE * math.cos(math.radians(before.latitude))
    else:
        east = (after.east or 0.0) - (before.east or 0.0)
        north = (after.north or 0.0) - (before.north or 0.0)
    return not before.ellipse.holds(east, north)


def _discharge_time(incident: Incident) -> DischargeTime:
    fixes = incident.fixes
    sigma_s = round(max(fixes[0].best.time_sigma_s, fixes[-1].best.time_sigma_s), 6) if fixes else None
    return DischargeTime(alert_instant(incident.first_ns), alert_instant(incident.last_ns), sigma_s)


def _first_arrival_ns(shot: Shot) -> int:
    return min((arrival.detection.pick.onset_ns for arrival in shot.arrivals), default=shot.time_ns)


def _what(incident: Incident, verdict: Verdict) -> What:
    cadence_s = incident.cadence_s
    return What(
        p_gunshot=round(verdict.posterior, 6),
        llr=round(verdict.llr, 4),
        prior=round(verdict.prior, 6),
        probabilities=_probabilities(incident, verdict.posterior),
        rounds=incident.rounds,
        cadence_s=None if cadence_s is None else round(cadence_s, 4),
        flags=_flags(incident, verdict),
        gate=verdict.reason,
        priors=_priors(verdict.circumstances),
        expected=expected_of(verdict.circumstances),
    )


def _priors(circumstances: Circumstances | None) -> Prior | None:
    if circumstances is None:
        return None
    return Prior(
        base=round(circumstances.base, 6),
        hour_shift=round(circumstances.hour_shift, 4),
        calendar_shift=round(circumstances.calendar_shift, 4),
        rate_shift=round(circumstances.rate_shift, 4),
        others_per_hour=round(circumstances.others_per_hour, 1),
    )


def expected_of(circumstances: Circumstances | None) -> tuple[Expected, ...]:
    """What was expected there and then, as an alert tells it."""
    return tuple(
        Expected(
            name=near.name,
            kind=near.kind,
            distance_m=None if near.distance_m is None else round(near.distance_m, 1),
            shift=round(near.shift, 4),
            over_budget=near.over_budget,
        )
        for near in (() if circumstances is None else circumstances.expected)
    )


def _probabilities(incident: Incident, posterior: float) -> dict[str, float]:
    """What is not gunfire is shared out as the rounds' mean says."""
    shots = incident.fixes or incident.shots
    return shared_out(posterior, [math.fsum(shot.probabilities[k] for shot in shots) for k in range(1, len(CLASSES))])


def shared_out(posterior: float, others: Sequence[float]) -> dict[str, float]:
    """Probabilities by class, of which gunfire has the posterior; the rest in the proportions of ``others``.

    Equally where those are all zero.
    """
    total = math.fsum(others)
    shares = [other / total for other in others] if total > 0.0 else [1.0 / len(others)] * len(others)
    values = (posterior, *((1.0 - posterior) * share for share in shares))
    return {name: round(value, 6) for name, value in zip(CLASSES, values, strict=True)}


def _flags(incident: Incident, verdict: Verdict) -> tuple[Flag, ...]:
    best = incident.best
    heard = {flag for shot in incident.shots for arrival in shot.arrivals for flag in arrival.detection.flags}
    said: list[tuple[Flag, bool]] = [
        ("ambiguous", best is not None and len(best.modes) > 1),
        ("expected-load", verdict.circumstances is not None and bool(verdict.circumstances.expected)),
        ("few-sensors", best is not None and best.n_sensors <= FEW_SENSORS),
        ("full-automatic", incident.full_automatic),
        ("height-decides", best is not None and best.height_decides),
        ("multiple-rounds", incident.rounds.best > 1),
        ("outside-hull", best is not None and not best.inside_hull),
        ("shock-wave", "shock-wave" in heard),
        ("unplaced", best is None),
    ]
    return tuple(flag for flag, applies in said if applies)


def _round(shot: Shot) -> Round:
    mode: Mode | None = shot.best if isinstance(shot, Fix) else None
    on_earth = None if mode is None else mode.geodetic
    local = None if mode is None or on_earth is not None else mode.place
    return Round(
        shot_id=shot.shot_id,
        revision=shot.revision,
        status="unfixed" if mode is None else "fix",
        reason="" if isinstance(shot, Fix) else shot.reason,
        time=alert_instant(shot.time_ns),
        sigma_s=None if mode is None else round(mode.time_sigma_s, 6),
        latitude=None if on_earth is None else round(on_earth.latitude_deg, 7),
        longitude=None if on_earth is None else round(on_earth.longitude_deg, 7),
        east=None if local is None else round(local.east_m, 3),
        north=None if local is None else round(local.north_m, 3),
        ellipse=None if mode is None else rounded_ellipse(mode.ellipse),
        n_sensors=shot.n_sensors,
        p_gunshot=round(probability(shot.llr), 6),
        llr=round(shot.llr, 4),
        sound=likeliest(shot.probabilities),
    )


def _sensors(incident: Incident) -> SensorCount:
    heard = {arrival.detection.sensor_id for shot in incident.shots for arrival in shot.arrivals}
    silent = {sensor_id for fix in incident.fixes for sensor_id in fix.silent}
    best = incident.best
    return SensorCount(len(heard), 0 if best is None else best.n_sensors, len(heard | silent))


def _clips(incident: Incident, clip_of: Callable[[str], Clip | None]) -> list[Clip]:
    shot = incident.best or incident.shots[0]
    direct = sorted((arrival for arrival in shot.arrivals if arrival.weight >= 0.5), key=_faintness)
    found = [clip for arrival in direct if (clip := clip_of(arrival.detection.pulse_id)) is not None]
    return found[:CLIPS]


def _faintness(arrival: Arrival) -> tuple[float, float, str]:
    pick = arrival.detection.pick
    level = -math.inf if pick.level_db_spl is None else pick.level_db_spl
    snr = -math.inf if pick.snr_db is None else pick.snr_db
    return -level, -snr, arrival.detection.pulse_id


def _audio(clip: Clip, url: str | None) -> Audio:
    return Audio(
        url=None if url is None else f"{url}{clip.sha256}",
        sha256=clip.sha256,
        start=alert_instant(clip.start_ns),
        duration=round(clip.duration_s, 6),
    )


def _provenance(incident: Incident, given: Provenance) -> Provenance:
    models = {arrival.detection.model for shot in incident.shots for arrival in shot.arrivals}
    best = incident.best
    weather = None if best is None else Weather(**dataclasses.asdict(best.air))
    return dataclasses.replace(given, models=tuple(sorted(models)), weather=weather)
