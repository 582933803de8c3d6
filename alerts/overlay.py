"""The overlay: what people said, laid over the machine's last word; and the machine's word got back from beneath it."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from alerts.alert import MachinePlace, Review, alert_instant
from alerts.grid import national_grid
from alerts.place import Place, Polygon, Surroundings, rounded_ellipse
from localization.ellipse import Covariance, Ellipse
from sensors.site import Geodetic

if TYPE_CHECKING:
    from alerts.act import Act
    from alerts.alert import Alert, Round
    from alerts.hand import Hand
    from alerts.place import OtherPlace, Surveyor
    from alerts.policy import Outcome

CHI_SQUARE_95: Final = 5.991464547107979
"""95 % quantile of chi-square with two degrees of freedom, -2 ln 0.05: how many variances the region spans, squared."""


def laid_over(word: Alert, hand: Hand, machine_outcome: Outcome, surveyor: Surveyor | None = None) -> Alert:
    """A draft of the machine's word with what people said of it.

    The place is theirs where they gave one, and ``review`` says what they decided and what the machine made of it;
    nothing else is touched: what the machine measured stays its own.

    Parameters
    ----------
    word : Alert
        The machine's, without a review.
    hand : Hand
        What people said.
    machine_outcome : str
        What the machine alone makes of it.
    surveyor : Surveyor or None
        Who says what stands at a place by hand.
    """
    if not hand.names:
        return word
    place = word.place if hand.place is None else place_by_hand(hand.place, word.place, surveyor)
    corrected = hand.place is not None and word.place is not None
    return dataclasses.replace(
        word, place=place, review=_review(hand, machine_outcome, word.place if corrected else None)
    )


def place_by_hand(act: Act, machine: Place | None, surveyor: Surveyor | None = None) -> Place:
    """The place that a person gave: round, its radius that of 95 %.

    Whether it lies among the sensors is said of the machine's place: what people know does not hang on the sensors.

    Raises
    ------
    ValueError
        When the act gives none.
    """
    if act.latitude is None or act.longitude is None or act.radius_m is None:
        raise ValueError(f"act {act.act_id} of kind {act.kind} gives no place")
    variance = float(f"{act.radius_m**2 / CHI_SQUARE_95:.12g}")
    return built_place(
        (act.latitude, act.longitude),
        rounded_ellipse(Ellipse(act.radius_m, act.radius_m, 0.0, 0.95)),
        covariance=Covariance(variance, 0.0, variance),
        inside_hull=machine is not None and machine.inside_hull,
        surveyor=surveyor,
    )


def built_place(
    degrees: tuple[float, float] | None,
    ellipse: Ellipse,
    *,
    metres: tuple[float, float] = (0.0, 0.0),
    frame: str | None = None,
    covariance: Covariance | None = None,
    weight: float = 1.0,
    modes: tuple[OtherPlace, ...] = (),
    inside_hull: bool = False,
    surveyor: Surveyor | None = None,
) -> Place:
    """A place with all that follows from it: outline, grid, and what stands there.

    Parameters
    ----------
    degrees : tuple or None
        Latitude and longitude; None for a place in a plane.
    metres, frame
        East and north, and the plane's name, where there are no degrees.
    covariance : Covariance or None
        None: as the ellipse has it.
    """
    latitude, longitude = (None, None) if degrees is None else (round(degrees[0], 7), round(degrees[1], 7))
    polygon = usng = None
    around = Surroundings()
    if latitude is not None and longitude is not None:
        polygon = Polygon((tuple(ellipse.outline(Geodetic(latitude, longitude, 0.0))),))
        usng = national_grid(latitude, longitude)
        if surveyor is not None:
            around = surveyor.describe(latitude, longitude, polygon.coordinates[0])
    return Place(
        latitude=latitude,
        longitude=longitude,
        frame=(frame or "local") if degrees is None else None,
        east=metres[0] if degrees is None else None,
        north=metres[1] if degrees is None else None,
        weight=weight,
        covariance_m2=covariance or covariance_of(ellipse),
        ellipse=ellipse,
        polygon=polygon,
        modes=modes,
        inside_hull=inside_hull,
        usng=usng,
        **{field.name: getattr(around, field.name) for field in dataclasses.fields(around)},
    )


def covariance_of(ellipse: Ellipse) -> Covariance:
    """The covariance whose region an ellipse is, where its scale is known: exact for normal errors, else wider."""
    scale = -2.0 * math.log(1.0 - ellipse.confidence)
    major, minor = ellipse.semi_major_m**2 / scale, ellipse.semi_minor_m**2 / scale
    azimuth = math.radians(ellipse.azimuth_deg)
    east, north = math.sin(azimuth), math.cos(azimuth)
    return Covariance(
        float(f"{major * east**2 + minor * north**2:.12g}"),
        float(f"{(major - minor) * east * north:.12g}"),
        float(f"{major * north**2 + minor * east**2:.12g}"),
    )


def place_of_round(one: Round, frame: str | None, *, inside_hull: bool, surveyor: Surveyor | None = None) -> Place:
    """The place of one round as an alert lists it.

    Raises
    ------
    ValueError
        When it has none.
    """
    if one.ellipse is None:
        raise ValueError(f"round {one.shot_id} has no place")
    degrees = None if one.latitude is None or one.longitude is None else (one.latitude, one.longitude)
    metres = (one.east or 0.0, one.north or 0.0)
    return built_place(degrees, one.ellipse, metres=metres, frame=frame, inside_hull=inside_hull, surveyor=surveyor)


def machines_word(alert: Alert, frame: str, surveyor: Surveyor | None = None) -> Alert:
    """What the machine alone said, from a revision that people had a hand in.

    Its place comes back with its estimate, its region and its other modes; the outline is drawn again, from the
    region as it was rounded, and what stands there is asked again.
    """
    review = alert.review
    if review is None:
        return alert
    place = alert.place
    if "unplaced" in alert.what.flags:
        place = None
    elif review.machine_place is not None:
        place = _as_place(review.machine_place, frame, alert.place, surveyor)
    return dataclasses.replace(alert, place=place, review=None, outcome=review.machine_outcome)


def _as_place(kept: MachinePlace, frame: str, by_hand: Place | None, surveyor: Surveyor | None) -> Place:
    degrees = None if kept.latitude is None or kept.longitude is None else (kept.latitude, kept.longitude)
    return built_place(
        degrees,
        kept.ellipse,
        metres=(kept.east or 0.0, kept.north or 0.0),
        frame=frame,
        covariance=kept.covariance_m2,
        weight=kept.weight,
        modes=kept.modes,
        inside_hull=by_hand is not None and by_hand.inside_hull,
        surveyor=surveyor,
    )


def _review(hand: Hand, machine_outcome: Outcome, corrected: Place | None) -> Review:
    last, before = (hand.told[-1] if hand.told else None), hand.before
    if last is not None:
        by, at, note = last.by, alert_instant(last.at_ns), last.note
    elif before is not None:
        by, at, note = before.by, before.at, before.note
    else:
        raise ValueError("nobody said anything")
    machine_place = None if corrected is None else _kept(corrected)
    return Review(hand.says, by, at, note, machine_outcome, machine_place, hand.names)


def _kept(place: Place) -> MachinePlace:
    return MachinePlace(
        place.latitude,
        place.longitude,
        place.east,
        place.north,
        place.ellipse,
        place.weight,
        place.covariance_m2,
        place.modes,
    )
