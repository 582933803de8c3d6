"""Words: the lines that a dispatcher reads of an alert, from the place to what is not sure about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND, instant_text, parse_instant

if TYPE_CHECKING:
    from datetime import tzinfo

    from alerts.alert import Alert, Expected, MachinePlace
    from alerts.place import Address, Intersection, OtherPlace, Place

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

EVENTS: Final = {
    "fireworks": "permitted fireworks",
    "parade": "a parade",
    "range": "a shooting range",
    "construction": "building work",
}
"""How to say what the calendar expects; everything else is an expected event."""

JUDGED: Final = {
    "gunfire": "Confirmed by a person as gunfire",
    "fireworks": "A person says that it was fireworks",
    "vehicle": "A person says that it was a vehicle",
    "construction": "A person says that it was building work",
    "handling": "A person says that a sensor was touched or disturbed",
    "noise": "A person says that it was wind, rain or other noise",
    "other": "A person says that it was no gunfire",
    "unsure": "A person listened, and is unsure",
}
"""What a person says that it was."""

LONGEST_NOTE: Final = 160
"""Of a person's note so much is read out; the rest stands in the alert."""

VAGUE_M: Final = 200.0
"""A region longer than this holds many houses: what stands in its middle is where to look around, not how far off."""

_OUTCOMES: Final = {"published": "to be published", "review": "for review", "suppressed": "not to be published"}
_TITLES: Final = {"published": "GUNFIRE", "review": "FOR REVIEW", "suppressed": "NOT PUBLISHED"}
_STAGES: Final = {"preliminary": "still listening", "confirmed": "complete"}
"""How final an alert is. The word ``confirmed`` is kept for people: who reads it takes it for somebody's judgement."""
_MODES: Final = {"test": "TEST - ", "exercise": "EXERCISE - ", "replay": "REPLAY - ", "live": ""}


def text(alert: Alert, zone: tzinfo = UTC) -> str:
    """The lines of `lines` as one text, with a newline at its end."""
    return "\n".join(lines(alert, zone)) + "\n"


def lines(alert: Alert, zone: tzinfo = UTC) -> tuple[str, ...]:
    """What a dispatcher reads: what, where, when, how sure, how many, and one sentence for each caution.

    The time is that of the clock on the wall in ``zone``, with UTC beside it.

    Plain ASCII without control characters, whatever the identifiers hold: nothing in them can move a terminal's
    cursor or forge a line of a log.
    """
    said = [
        _title(alert),
        f"Where:    {_where(alert.place)}",
        *(f"          {line}" for line in _around(alert)),
        f"When:     {_when(alert, zone)}",
        f"How sure: {_how_sure(alert)}",
        *(f"Person:   {sentence}" for sentence in _by_people(alert)),
        *(f"Expected: {_expected(event)}" for event in alert.what.expected),
        f"Rounds:   {_rounds(alert)}",
        f"Heard by: {_heard_by(alert)}",
        *(f"Caution:  {sentence}" for sentence in _cautions(alert)),
        f"Alert:    {alert.alert_id}, revision {alert.revision} ({_reason(alert)})",
    ]
    return tuple(plain(line) for line in said)


def radio_line(alert: Alert, zone: tzinfo = UTC) -> str:
    """The alert as one line to read over the radio or to paste: where, how many, how sure, how near, when.

    The time is as in `lines`. Plain ASCII without control characters, as `lines`.
    """
    if alert.status == "cancelled":
        said = [_title(alert), _spoken_place(alert.place), f"alert {alert.alert_id}"]
        return plain(", ".join(said))
    best = alert.what.rounds.best
    said = [
        _headline(alert),
        _spoken_place(alert.place),
        f"{best} round{'s' if best != 1 else ''}",
        *([] if _is_confirmed(alert) else [f"{_percent(alert.what.p_gunshot)} %"]),
        *([] if alert.place is None else [f"within {alert.place.ellipse.semi_major_m:.0f} m"]),
        _clock(parse_instant(alert.discharge_time.first), zone, 0)[11:],
    ]
    if _is_confirmed(alert):
        said.append("confirmed by a person")
    return plain(", ".join(said))


def plain(words: str) -> str:
    r"""Printable ASCII: everything else becomes its escape, as ``\x1b``."""
    return "".join(
        character if " " <= character <= "~" else character.encode("unicode_escape").decode() for character in words
    )


def _title(alert: Alert) -> str:
    if alert.status == "cancelled":
        return f"{_MODES[alert.mode]}CANCELLED: {_why_cancelled(alert)}"
    said = "confirmed by a person" if _is_confirmed(alert) else _STAGES[alert.status]
    return f"{_headline(alert)} ({said})"


def _headline(alert: Alert) -> str:
    kind = ", FULL-AUTOMATIC" if "full-automatic" in alert.what.flags else ""
    return f"{_MODES[alert.mode]}{_TITLES[alert.outcome]}{kind}"


def _is_confirmed(alert: Alert) -> bool:
    return alert.review is not None and alert.review.judgement == "gunfire"


def _reason(alert: Alert) -> str:
    return "complete" if alert.reason == "closed" else alert.reason.replace("-", " ")


def _why_cancelled(alert: Alert) -> str:
    if alert.merged_into:
        return f"it is part of incident {alert.merged_into}"
    judgement = None if alert.review is None else alert.review.judgement
    if judgement not in (None, "gunfire", "unsure"):
        said = JUDGED[judgement]
        return said[0].lower() + said[1:]
    if alert.review is not None and alert.review.machine_outcome != "suppressed":
        return "what a person had said of it was taken back"
    return "it was probably not gunfire"


def _where(place: Place | None) -> str:
    if place is None:
        return "unknown"
    where = _coordinates(place)
    if place.large_parcel:
        return f"{where}; in {_parcel(place)} (large; no single address)"
    return where if place.address is None else f"{where}; {_off(place.address, place)}"


def _parcel(place: Place) -> str:
    return place.parcel or "a park or other large ground"


def _off(near: Address | Intersection, place: Place) -> str:
    """How far, and in which direction, the place lies from something; only what is around where that is not known."""
    if place.ellipse.semi_major_m > VAGUE_M:
        return f"around {near.text}"
    return f"{near.distance_m:.0f} m {DIRECTIONS[round(near.bearing_deg / 45.0) % 8]} of {near.text}"


def _around(alert: Alert) -> list[str]:
    """The lines below the place: what stands there, how far it may be off, and who placed it."""
    place = alert.place
    if place is None:
        return []
    said = []
    if place.large_parcel and place.address is not None:
        said.append(f"{_off(place.address, place)}, the nearest street address")
    near = [] if place.intersection is None else [f"{_off(place.intersection, place)} (intersection)"]
    near += [] if place.beat is None else [f"beat {place.beat}"]
    if near:
        said.append("; ".join(near))
    said.append(_within(place))
    if alert.review is not None and (machine := alert.review.machine_place) is not None:
        said.append(f"placed by hand; the sensors had it at {_coordinates(machine)}")
    elif alert.review is not None and "unplaced" in alert.what.flags:
        said.append("placed by hand; the sensors had no place")
    return said


def _spoken_place(place: Place | None) -> str:
    if place is None:
        return "place unknown"
    if place.large_parcel:
        return f"in {_parcel(place)}" + (
            f", {_off(place.intersection, place)}" if place.intersection is not None else ""
        )
    near = place.address or place.intersection
    if near is not None:
        return _off(near, place)
    return f"USNG {place.usng}" if place.usng else _coordinates(place)


def _by_people(alert: Alert) -> list[str]:
    review = alert.review
    if review is None or review.judgement is None:
        return []
    when = review.at[:19].replace("T", " ")
    note = review.note if len(review.note) <= LONGEST_NOTE else f"{review.note[:LONGEST_NOTE]}..."
    said = f"{JUDGED[review.judgement]} ({review.by}, {when} UTC); the machine alone: "
    return [said + _OUTCOMES[review.machine_outcome], *([f"note: {note}"] if note else [])]


def _expected(event: Expected) -> str:
    kind = EVENTS.get(event.kind, "an expected event")
    if event.distance_m is None:
        where = f"{kind} in the city"
    elif event.distance_m < 0.5:
        where = f"inside {kind}"
    else:
        where = f"{event.distance_m:.0f} m from {kind}"
    return f"{where}: {event.name}"


def _coordinates(place: Place | OtherPlace | MachinePlace, frame: str = "the local frame") -> str:
    if place.latitude is None or place.longitude is None:
        frame = getattr(place, "frame", None) or frame
        return f"{place.east:.1f} m east, {place.north:.1f} m north in {frame}"
    north, east = "N" if place.latitude >= 0 else "S", "E" if place.longitude >= 0 else "W"
    degrees = f"{abs(place.latitude):.5f} {north}, {abs(place.longitude):.5f} {east}"
    usng = getattr(place, "usng", None)
    return f"{degrees} (USNG {usng})" if usng else degrees


def _within(place: Place) -> str:
    ellipse = place.ellipse
    chance = f"{100.0 * ellipse.confidence:.0f} in 100"
    if ellipse.semi_major_m < 1.2 * ellipse.semi_minor_m:
        return f"within {_metres(ellipse.semi_major_m)} ({chance})"
    one = round(ellipse.azimuth_deg / 45.0) % 4
    return (
        f"within {_metres(ellipse.semi_major_m)} to the {DIRECTIONS[one]} or {DIRECTIONS[one + 4]}, "
        f"{_metres(ellipse.semi_minor_m)} across ({chance})"
    )


def _metres(length_m: float) -> str:
    return f"{length_m:.0f} m" if length_m >= 10.0 else f"{length_m:.1f} m"


def _clock(at_ns: int, zone: tzinfo, digits: int) -> str:
    """An instant by the clock on the wall, and by UTC where that is another."""
    unit_ns = SECOND // 10**digits
    at_ns = (at_ns + unit_ns // 2) // unit_ns * unit_ns  # once, so that both clocks show the same second
    utc = instant_text(at_ns, digits).replace("T", " ").replace("Z", " UTC")
    local = datetime.fromtimestamp(at_ns // SECOND, zone)
    if not local.utcoffset():
        return utc
    whole, fraction = utc[11:19], utc[19:-4]
    return f"{local:%Y-%m-%d %H:%M:%S}{fraction} {local:%Z} ({whole} UTC)"


def _when(alert: Alert, zone: tzinfo) -> str:
    first_ns, last_ns = parse_instant(alert.discharge_time.first), parse_instant(alert.discharge_time.last)
    when = _clock(first_ns, zone, 3)
    if alert.discharge_time.sigma_s is None:
        return f"first heard {when}"
    spread = 2.0 * alert.discharge_time.sigma_s
    when += f", give or take {1000.0 * spread:.0f} ms" if spread < 1.0 else f", give or take {spread:.1f} s"
    return when if last_ns == first_ns else f"{when}; last round {(last_ns - first_ns) / 1e9:.2f} s later"


def _how_sure(alert: Alert) -> str:
    p = round(alert.what.p_gunshot, 3)  # as it is shown, so that the words fit the figure
    said = next(words for least, words in HOW_SURE if p >= least)
    return f"gunfire is {said} ({_percent(p)} %; {_before(alert.what.prior)} % before it was heard)"


def _percent(p: float) -> str:
    return "over 99.9" if p > 0.999 else "under 0.1" if p < 0.001 else f"{100.0 * p:.1f}".removesuffix(".0")


def _before(prior: float) -> str:
    return f"{100.0 * prior:.0f}" if prior >= 0.01 else _percent(prior)


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
    judged = alert.review is not None and alert.review.judgement not in (None, "gunfire", "unsure")
    gate = alert.what.gate.replace(": ", ", ", 1)
    if alert.outcome != "published" and not judged:
        said.append(f"Not published: {gate}.")
    elif alert.outcome == "published" and alert.review is None and ": below " in alert.what.gate:
        said.append(f"It was surer when it was published; by now: {gate}.")
    return said
