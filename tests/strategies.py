"""What tests are made of: builders of records, and Hypothesis strategies over them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from acoustic.air import Air
from acoustic.detection import Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import after, parse_instant
from acoustic.pick import Pick
from localization.ellipse import Covariance, confidence_ellipse
from localization.fix import Arrival, Fix, Mode, Unfixed
from localization.frame import Frame
from sensors.site import Geodetic, Local

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Shots that the alerts room is tested with: six sensors round a square of Hartford.

NIGHT_NS: Final = parse_instant("2026-11-21T02:14:07.412Z")
HARTFORD: Final = Frame(Geodetic(41.7658, -72.6734, 20.0))
SQUARE: Final[Mapping[str, tuple[float, float]]] = {
    "s1": (-300.0, -300.0),
    "s2": (300.0, -300.0),
    "s3": (300.0, 300.0),
    "s4": (-300.0, 300.0),
    "s5": (0.0, 500.0),
    "s6": (500.0, 0.0),
}
SOUND_M_PER_S: Final = 340.0


def arrivals_at(
    sensors: Sequence[str],
    time_s: float,
    east_m: float,
    north_m: float,
    *,
    llr: float = 5.0,
    flags: tuple[str, ...] = (),
    weight: float = 1.0,
) -> tuple[Arrival, ...]:
    """What those sensors of `SQUARE` hear of a bang ``time_s`` after `NIGHT_NS`, by straight lines."""
    heard = []
    for sensor_id in sensors:
        range_m = math.dist(SQUARE[sensor_id], (east_m, north_m))
        onset_ns = after(NIGHT_NS, time_s + range_m / SOUND_M_PER_S)
        pick = Pick(onset_ns, 0.0005, snr_db=30.0, level_db_spl=147.5 - 24.2 * math.log10(max(range_m, 1.0)))
        detection = Detection(
            pulse_identity(sensor_id, onset_ns),
            sensor_id,
            pick,
            llr,
            probabilities_from_llr(llr),
            model="test-1",
            flags=flags,
        )
        heard.append(Arrival(detection, 0.0, weight))
    return tuple(sorted(heard, key=lambda arrival: arrival.detection.pick.onset_ns))


def mode_at(
    time_s: float,
    east_m: float,
    north_m: float,
    *,
    sigma_m: float = 4.0,
    weight: float = 1.0,
    frame: Frame | None = None,
) -> Mode:
    """A place, round but for a tenth, in a plane that floats unless a frame is given."""
    covariance = Covariance(sigma_m**2, 0.0, (1.1 * sigma_m) ** 2)
    return Mode(
        weight,
        after(NIGHT_NS, time_s),
        0.002,
        Local(east_m, north_m, 1.5),
        None if frame is None else frame.geodetic(east_m, north_m, 1.5),
        covariance,
        confidence_ellipse(covariance, 5.991),
    )


def fix_at(
    shot_id: str,
    time_s: float = 0.0,
    east_m: float = 0.0,
    north_m: float = 0.0,
    *,
    revision: int = 1,
    llr: float = 6.0,
    sigma_m: float = 4.0,
    sensors: Sequence[str] = ("s1", "s2", "s3", "s4"),
    frame: Frame | None = None,
    other: tuple[float, float, float] | None = None,
    flags: tuple[str, ...] = (),
    inside_hull: bool = True,
    silent: tuple[str, ...] = (),
) -> Fix:
    """A shot with a place; ``other`` adds a second mode: its weight, east and north."""
    modes = [mode_at(time_s, east_m, north_m, sigma_m=sigma_m, frame=frame)]
    if other is not None:
        weight, east, north = other
        modes = [
            mode_at(time_s, east_m, north_m, sigma_m=sigma_m, weight=1.0 - weight, frame=frame),
            mode_at(time_s, east, north, sigma_m=sigma_m, weight=weight, frame=frame),
        ]
    return Fix(
        shot_id,
        revision,
        tuple(modes),
        arrivals_at(sensors, time_s, east_m, north_m, llr=llr / 2.0, flags=flags),
        llr,
        probabilities_from_llr(llr),
        0.0007,
        inside_hull,
        silent,
        Air(temperature_c=8.0, temperature_sigma_c=2.0),
    )


def unfixed_at(
    shot_id: str,
    time_s: float = 0.0,
    east_m: float = 0.0,
    north_m: float = 0.0,
    *,
    revision: int = 1,
    llr: float = 3.0,
    sensors: Sequence[str] = ("s1", "s2"),
    reason: str = "too-few-sensors",
) -> Unfixed:
    """A bang that was really there and then, but heard by too few to place it."""
    arrivals = arrivals_at(sensors, time_s, east_m, north_m, llr=llr)
    first_ns = arrivals[0].detection.pick.onset_ns
    return Unfixed(shot_id, revision, reason, first_ns, arrivals, llr, probabilities_from_llr(llr))
