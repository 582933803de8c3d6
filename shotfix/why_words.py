"""The words in which it is told why there was, or was no, alert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from acoustic.instant import instant_text
from localization.study.why import FIX_NEEDS, TELLING

if TYPE_CHECKING:
    from localization.study.testimony import Witness
    from localization.study.why import Account, Near

NAMED: Final = 12  # sensors told of one by one; the rest is in the JSON
BECAME: Final = {
    "used": "a pulse that the place rests on",
    "not-direct": "a pulse that came too late or too early to be its direct sound",
    "other-shot": "a pulse that was laid to another bang",
    "echo": "a pulse that was taken for the echo of an earlier bang",
    "unlike-a-shot": "a pulse that does not sound like a gunshot, and that no bang explains",
    "unexplained": "a pulse that no bang explains",
}


def sentences(account: Account, alerts: dict[str, dict[str, Any]]) -> list[str]:
    """The answer for people: the verdict first, then what it rests on."""
    shot = account.shot
    alert = alerts.get(shot.incident_id) if shot is not None else None
    lines = [_verdict(account, alert), *(_told_near(near) for near in account.near[1:4])]
    if len(account.near) > 4:
        lines.append(f"{len(account.near) - 4} more shots were placed within these bounds.")
    lines.append(_counted(account))
    shown = [witness for witness in account.witnesses if witness.expected or witness.sound is not None][:NAMED]
    return [*lines, *(_testimony(witness) for witness in shown)]


def _verdict(account: Account, alert: dict[str, Any] | None) -> str:
    placed = _placed(account)
    gate = f"{alert['what']['gate']} (alert {alert['alert_id']}, revision {alert['revision']})" if alert else ""
    expected, listening = account.expected, sum(witness.listening for witness in account.expected)
    return {
        "alerted": f"There was an alert. {placed} Its incident was published: {gate}.",
        "in-review": f"It was heard and left to a person. {placed} Its incident went to review: {gate}.",
        "suppressed": f"It was heard and held back by policy. {placed} Its incident was suppressed: {gate}.",
        "cancelled": f"There was an alert, and it was taken back. {placed} At last: {gate}.",
        "stored": f"It was heard and stored, and no alert tells of it. {placed}",
        "unplaced": f"It was heard, but no place explains it: {gate or 'it is in no alert'}.",
        "fixed-elsewhere": f"What was heard then was taken for another bang. {placed} {_outcome(alert)}",
        "unexplained": (
            f"{len(account.fitting)} sensors have pulses that would fit a bang {_spot(account)}, yet they were not "
            "taken for one: they agree too loosely, sound too little like a bang, or fit by chance."
        ),
        "too-few-heard": (
            f"Too few sensors heard it: of {listening} that listened near enough, {len(account.fitting)} have a pulse "
            f"that would fit; a place takes {FIX_NEEDS}, and {TELLING} to be more than chance."
        ),
        "not-listening": (
            f"The sensors were not listening: of {len(expected)} near enough to hear shots from there more often than "
            f"not, {listening} were; a place takes {FIX_NEEDS}."
        ),
        "outside-coverage": (
            f"The place lies outside coverage: {len(expected)} sensors are near enough to hear shots from there more "
            f"often than not; a place takes {FIX_NEEDS}."
        ),
    }[account.verdict]


def _placed(account: Account) -> str:
    shot = account.shot
    if shot is None or not shot.places:
        return ""
    ellipse = shot.places[0].ellipse
    rival = f", one of {len(shot.places)} places that remain" if len(shot.places) > 1 else ""
    return (
        f"Shot {shot.shot_id}, taken for {shot.sound}, was placed {_spot(account)}{rival}; its 95 % region is "
        f"{ellipse.semi_major_m:.1f} by {ellipse.semi_minor_m:.1f} m."
    )


def _spot(account: Account) -> str:
    """The place and time that the verdict is about, beside those that were asked for."""
    asked = account.question
    east, north = account.origin
    if account.shot is not None and account.shot.places and account.verdict == "fixed-elsewhere":
        east, north = account.shot.places[0].east_m, account.shot.places[0].north_m
    away = ((east - asked.east_m) ** 2 + (north - asked.north_m) ** 2) ** 0.5
    at_ns = account.shot.time_ns if account.shot is not None else account.time_ns
    return f"{away:.0f} m from the place asked, at {instant_text(at_ns, 3)}"


def _outcome(alert: dict[str, Any] | None) -> str:
    if alert is None:
        return "No alert tells of that one."
    return f"Its incident: {alert['outcome']}, {alert['what']['gate']} (alert {alert['alert_id']})."


def _told_near(near: Near) -> str:
    where = f"{near.distance_m:.0f} m off and {near.later_s:+.3f} s"
    outcome = near.shot.outcome or "in no alert"
    about = f"taken for {near.shot.sound}; its incident: {outcome}"
    return f"Within these bounds too: shot {near.shot.shot_id}, {where}, {about}."


def _counted(account: Account) -> str:
    expected, sensors = account.expected, len(account.witnesses)
    used = sum(witness.became == "used" for witness in account.witnesses)
    rests = f"; the place rests on {used} of them" if used else ""
    return (
        f"Of {sensors} sensors {len(expected)} are near enough to hear shots from there more often than not; "
        f"{sum(witness.listening for witness in expected)} of these listened. {len(account.fitting)} sensors have a "
        f"pulse when it must have come that nothing else explains{rests}."
    )


def _testimony(witness: Witness) -> str:
    where = f"{witness.sensor_id}, {witness.distance_m:.0f} m: due {instant_text(witness.expected_ns, 3)[11:-1]}"
    if witness.sound is not None and witness.became is not None:
        other = f" ({witness.of_shot})" if witness.became == "other-shot" else ""
        llr = f"llr {witness.sound.llr:+.1f}"
        return f"{where}, {1000.0 * witness.later_s:+.0f} ms: {BECAME[witness.became]}{other}; {llr}."
    if not witness.listening:
        return f"{where}: was not listening."
    return f"{where}: reported nothing; it hears {100.0 * witness.p_hears:.0f} of a hundred shots from there."
