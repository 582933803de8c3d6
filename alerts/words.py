"""Words: the lines that a dispatcher reads of an alert, from the place to what is not sure about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from acoustic.instant import instant_text, parse_instant

if TYPE_CHECKING:
    from alerts.alert import Alert
    from alerts.place import OtherPlace, Place

HOW_SURE: Final = (
    (0.99, "virtually certain"),
    (0.95, "extremely likely"),
    (0.90, "very likely"),
    (0.66, "likely"),
    (0.33, "about as likely as not"),
    (0.10, "unlikely"),
    (0.0, "very unlikely"),
)
"""Least probability, and how to say it: the scale of the IPCC's guidance note on uncertainty (2010), table 1."""

DIRECTIONS: Final = (
    "north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west",
)  # fmt: skip

CAUTIONS: Final = {
    "ambiguous": "More than one place explains what was heard; check the others too.",
    "few-sensors": "Only {used} sensors placed it: nothing was left over to check the place against.",
    "height-decides": "How high the shooter stood is not known, and the place hangs on it.",
    "outside-hull": "It lies outside the ring of sensors: direction is surer than distance.",
    "unplaced": "It could not be placed: {why}.",
}

_TITLES: Final = {"published": "GUNFIRE", "review": "FOR REVIEW", "suppressed": "NOT PUBLISHED"}
_MODES: Final = {"test": "TEST - ", "exercise": "EXERCISE - ", "replay": "REPLAY - ", "live": ""}


def text(alert: Alert) -> str:
    """The lines of `lines` as one text, with a newline at its end."""
    return "\n".join(lines(alert)) + "\n"


def lines(alert: Alert) -> tuple[str, ...]:
    """What a dispatcher reads: what, where, when, how sure, how many, and one sentence for each caution.

    Plain ASCII without control characters, whatever the identifiers hold: nothing in them can move a terminal's
    cursor or forge a line of a log.
    """
    said = [
        _title(alert),
        f"Where:    {_where(alert.place)}",
        *([] if alert.place is None else [f"          {_within(alert.place)}"]),
        f"When:     {_when(alert)}",
        f"How sure: {_how_sure(alert)}",
        f"Rounds:   {_rounds(alert)}",
        f"Heard by: {_heard_by(alert)}",
        *(f"Caution:  {sentence}" for sentence in _cautions(alert)),
        f"Alert:    {alert.alert_id}, revision {alert.revision} ({alert.reason.replace('-', ' ')})",
    ]
    return tuple(plain(line) for line in said)


def plain(words: str) -> str:
    r"""Printable ASCII: everything else becomes its escape, as ``\x1b``."""
    return "".join(
        character if " " <= character <= "~" else character.encode("unicode_escape").decode() for character in words
    )


def _title(alert: Alert) -> str:
    if alert.status == "cancelled":
        why = f"it is part of incident {alert.merged_into}" if alert.merged_into else "it was probably not gunfire"
        return f"{_MODES[alert.mode]}CANCELLED: {why}"
    kind = ", FULL-AUTOMATIC" if "full-automatic" in alert.what.flags else ""
    return f"{_MODES[alert.mode]}{_TITLES[alert.outcome]}{kind} ({alert.status})"


def _where(place: Place | None) -> str:
    if place is None:
        return "unknown"
    where = _coordinates(place)
    if place.address is not None:
        away, bearing = place.address.distance_m, place.address.bearing_deg
        where += f"; {away:.0f} m {DIRECTIONS[round(bearing / 45.0) % 8]} of {place.address.text}"
    return where


def _coordinates(place: Place | OtherPlace, frame: str = "the local frame") -> str:
    if place.latitude is None or place.longitude is None:
        frame = getattr(place, "frame", None) or frame
        return f"{place.east:.1f} m east, {place.north:.1f} m north in {frame}"
    north, east = "N" if place.latitude >= 0 else "S", "E" if place.longitude >= 0 else "W"
    degrees = f"{abs(place.latitude):.5f} {north}, {abs(place.longitude):.5f} {east}"
    return f"{degrees} (USNG {place.usng})" if place.usng else degrees


def _within(place: Place) -> str:
    ellipse = place.ellipse
    chance = f"{100.0 * ellipse.confidence:.0f} in 100"
    if ellipse.semi_major_m < 1.2 * ellipse.semi_minor_m:
        return f"within {_metres(ellipse.semi_major_m)} ({chance})"
    one = DIRECTIONS[round(ellipse.azimuth_deg / 45.0) % 8]
    other = DIRECTIONS[(round(ellipse.azimuth_deg / 45.0) + 4) % 8]
    return (
        f"within {_metres(ellipse.semi_major_m)} to the {one} or {other}, "
        f"{_metres(ellipse.semi_minor_m)} across ({chance})"
    )


def _metres(length_m: float) -> str:
    return f"{length_m:.0f} m" if length_m >= 10.0 else f"{length_m:.1f} m"


def _when(alert: Alert) -> str:
    first_ns, last_ns = parse_instant(alert.discharge_time.first), parse_instant(alert.discharge_time.last)
    when = instant_text(first_ns, 3).replace("T", " ").replace("Z", " UTC")
    if alert.discharge_time.sigma_s is None:
        return f"first heard {when}"
    spread = 2.0 * alert.discharge_time.sigma_s
    when += f", give or take {1000.0 * spread:.0f} ms" if spread < 1.0 else f", give or take {spread:.1f} s"
    return when if last_ns == first_ns else f"{when}; last round {(last_ns - first_ns) / 1e9:.2f} s later"


def _how_sure(alert: Alert) -> str:
    p = alert.what.p_gunshot
    said = next(words for least, words in HOW_SURE if p >= least)
    percent = "over 99.9" if p > 0.999 else "under 0.1" if p < 0.001 else f"{100.0 * p:.1f}".removesuffix(".0")
    return f"gunfire is {said} ({percent} %; {100.0 * alert.what.prior:.0f} % before it was heard)"


def _rounds(alert: Alert) -> str:
    rounds = alert.what.rounds
    count = str(rounds.best) if rounds.min == rounds.max else f"{rounds.best} ({rounds.min} to {rounds.max})"
    cadence = alert.what.cadence_s
    return count if not cadence else f"{count}, one every {cadence:.2f} s"


def _heard_by(alert: Alert) -> str:
    sensors = alert.sensors
    near = f" of {sensors.expected} near enough" if sensors.expected > sensors.heard else ""
    return f"{sensors.heard} sensor{'s' if sensors.heard != 1 else ''}{near}; {sensors.used} placed it"


def _cautions(alert: Alert) -> list[str]:
    why = ", ".join(sorted({one.reason for one in alert.rounds if one.reason})) or "no reason was given"
    said = [
        CAUTIONS[flag].format(used=alert.sensors.used, why=why.replace("-", " "))
        for flag in alert.what.flags
        if flag in CAUTIONS
    ]
    if alert.place is not None:
        frame = alert.place.frame or "the local frame"
        said += [f"Or at {_coordinates(m, frame)}, {100.0 * m.weight:.0f} in 100." for m in alert.place.modes]
    if alert.outcome != "published":
        said.append(f"Not published: {alert.what.gate}.")
    return said
