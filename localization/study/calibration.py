"""Calibration: what surveyed shots, or many shots that agree, say of each sensor's place, clock and paths."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from localization.frame import Frame
from localization.study.calibration_doubt import DISAGREES, LEAST_PLACES, LEAST_SHOTS, Doubt, doubt
from localization.study.calibration_layout import laid_out
from localization.study.calibration_solve import Arrivals, Solved, fitted, root_mean_square, solve
from localization.study.table import SceneError
from sensors.site import Geodetic, Local, Network, Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from localization.study.calibration_shots import Shot

    Floats = NDArray[np.float64]

SIGNIFICANT: Final = 2.0  # sigmas
SIGNIFICANT_TWO_AXES: Final = 6.18  # chi-square with two degrees of freedom at the 95.45 % that two sigma are of one
UNTOLD: Final = 0.7  # of the prior's sigma: what is left above this was not observed
LATE_S: Final = 0.005  # a path that comes later than this, surely, is blocked
LARGEST_CLOCK_SIGMA_S: Final = 3600.0
NAMED: Final = 6  # sensors in one warning
PATH_SIGMAS_S: Final = (0.001, 0.002, 0.003, 0.005, 0.008, 0.012)
PATH_SIGMA_S: Final = 0.005  # where shots from too few places cannot tell it


@dataclass(frozen=True, slots=True)
class Correction:
    """What was learnt of one sensor.

    Parameters
    ----------
    sensor_id : str
        Whose correction it is.
    east_m, north_m, clock_s : float
        What to add to its surveyed place; how much later its clock shows things than the mean of the network's, each
        weighted by how good it is held to be.
    east_sigma_m, north_sigma_m, en_m2, clock_sigma_s : float
        How surely that is known.
    position_observed, clock_observed : float
        The share of the prior's variance that the shots removed, in the direction they tell least of; 0 to 1.
    shots, places : int
        How many were heard, and from how many places.
    rms_before_s, rms_after_s, rms_path_s : float
        Residuals of its arrivals: as surveyed; with the sensors' corrections; with the paths' excess too.
    flags : tuple of str
        `position` and `clock` where the correction is significant; `position-at-prior` and `clock-at-prior` where the
        shots do not tell; `late-paths`, `few-shots`, `few-places`, `unheard`; `disagrees` where even after calibration
        its arrivals lie far beyond what is assumed, or most of them come late and its neighbours' do not: nothing of
        it is corrected then.
    shown_s : float
        Root mean square of its arrivals' residuals with the sensors' corrections, but for a few that are far off.
    """

    sensor_id: str
    east_m: float = 0.0
    north_m: float = 0.0
    clock_s: float = 0.0
    east_sigma_m: float = 0.0
    north_sigma_m: float = 0.0
    en_m2: float = 0.0
    clock_sigma_s: float = 0.0
    position_observed: float = 0.0
    clock_observed: float = 0.0
    shots: int = 0
    places: int = 0
    rms_before_s: float = 0.0
    rms_after_s: float = 0.0
    rms_path_s: float = 0.0
    flags: tuple[str, ...] = ()
    shown_s: float = 0.0

    @property
    def disagrees(self) -> bool:
        """Whether it is not what was told of it, and not put right by a correction either."""
        return "disagrees" in self.flags

    @property
    def moved(self) -> bool:
        """Whether its place is significantly other than surveyed."""
        return "position" in self.flags

    @property
    def astray(self) -> bool:
        """Whether its clock is significantly off."""
        return "clock" in self.flags


@dataclass(frozen=True, slots=True)
class Excess:
    """How much later sound comes over one path than a straight line says, s, and how surely."""

    sensor_id: str
    place: tuple[float, float]
    excess_s: float
    sigma_s: float
    shots: int


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What many shots say of a network.

    ``sites`` are the sensors with their significant corrections applied and the sigmas that remain; ``residuals_s``
    holds those of all arrivals before, with the sensors corrected, and with the paths too.
    """

    network: Network
    frame: Frame
    corrections: tuple[Correction, ...]
    excesses: tuple[Excess, ...]
    surveyed: bool
    shots: int
    places: int
    path_sigma_s: float
    residuals_s: tuple[Floats, Floats, Floats]
    left_out: Counter[str]
    off_sigmas: float = 0.0
    """Sigma of all residuals after calibration, by their median, over what is assumed: 1 or less, or something is not
    as told; from 5 on the shots do not fit the network."""

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sensors as they are to be believed from now on; clocks are in `clock_offsets_s`."""
        by_name = {site.sensor_id: site for site in self.network.sites}
        return tuple(_corrected(by_name[c.sensor_id], c, self.frame) for c in self.corrections)

    @property
    def clock_offsets_s(self) -> dict[str, float]:
        """By how much the clocks that are significantly off show things later, s."""
        return {c.sensor_id: c.clock_s for c in self.corrections if c.astray}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What these shots cannot tell, in words."""
        told = []
        if not self.surveyed:
            told.append(
                "no shot was surveyed: shift and turn of the whole network are not observed and stay where the survey "
                "of the sensors puts them"
            )
        if self.places < LEAST_PLACES:
            told.append(
                f"all shots came from {self.places} place{'s' * (self.places > 1)}: a sensor that is off cannot be "
                f"told from a path that is late, so no sensor is corrected; {LEAST_PLACES} places or more, round the "
                "network, would tell"
            )
        lost = [c for c in self.corrections if c.disagrees]
        if self.off_sigmas > DISAGREES:
            told.append(
                f"the shots do not fit this network at all: in the median they are {self.off_sigmas:.0f} sigmas off, "
                "so nothing is corrected; check times, shot_id and places, and that all scenes are of these sensors"
            )
        elif lost:
            names = ", ".join(f"{c.sensor_id} ({_duration(c.shown_s)})" for c in lost[:NAMED])
            more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
            told.append(
                f"not what sensors.csv says, and not corrected: {names}{more}; clock_sigma_s is widened to what is "
                "shown: check clock and survey, or leave the sensor out"
            )
        return tuple(told)


def calibrate(
    network: Network,
    frame: Frame,
    shots: Sequence[Shot],
    *,
    least_position_sigma_m: float = 0.0,
    least_clock_sigma_s: float = 0.0,
    left_out: Counter[str] | None = None,
) -> Calibration:
    """Estimate what is wrong with each sensor, with its sigma.

    Parameters
    ----------
    network, frame
        The sensors, and the plane in which it is computed.
    shots : sequence of Shot
        All surveyed, or none of them.
    least_position_sigma_m, least_clock_sigma_s : float
        No survey, and no clock, is believed to be better than this, whatever the network says.
    left_out : Counter
        What was not used on the way here.

    Raises
    ------
    SceneError
        When there is no shot.

    Notes
    -----
    One linearised least squares with priors over every sensor's place and clock, every shot's discharge, every
    place, every occasion's air, and one excess for each path (a place and a sensor), by robust weights: late paths
    are heavy-tailed, early ones normal. The scatter of paths is the one that explains the arrivals best. A clock
    off by a step shows from all places alike, a late path from one: with shots from one place alone, the prior
    decides between them.
    """
    if not shots:
        raise SceneError(
            "no shot to calibrate with: a scene needs truth.csv and pulses.csv with shot_id, or enough sensors that "
            "its shots can be placed"
        )
    surveyed = all(shot.sigma_m is not None for shot in shots)
    arrivals, paths = laid_out(network, frame, shots, least_position_sigma_m, least_clock_sigma_s)
    places = len({place for place, _ in paths})
    solved = fitted(arrivals, PATH_SIGMAS_S if places >= LEAST_PLACES else (PATH_SIGMA_S,))
    pinned = replace(arrivals, sensor_sigma=np.zeros_like(arrivals.sensor_sigma))
    before = solve(pinned, solved.path_sigma_s, covariances=False)
    as_surveyed = before.residuals + before.excess[arrivals.path]
    residuals = (
        as_surveyed,
        solved.residuals + solved.excess[arrivals.path] if places >= LEAST_PLACES else as_surveyed,
        solved.residuals,
    )
    heard = np.bincount(arrivals.path, minlength=len(paths))
    excesses = tuple(
        Excess(
            network.sites[sensor].sensor_id,
            (float(arrivals.places[place, 0]), float(arrivals.places[place, 1])),
            float(solved.excess[k]),
            float(solved.excess_sigma[k]),
            int(heard[k]),
        )
        for k, (place, sensor) in enumerate(paths)
    )
    late = solved.excess > np.maximum(LATE_S, SIGNIFICANT * solved.excess_sigma)
    doubts = doubt(arrivals, solved, residuals[1], late, corrected=places >= LEAST_PLACES)
    made = _Made(arrivals, solved, residuals, late, doubts)
    return Calibration(
        network=network,
        frame=frame,
        corrections=tuple(_correction(site, k, made) for k, site in enumerate(network.sites)),
        excesses=excesses,
        surveyed=surveyed,
        shots=len(shots),
        places=places,
        path_sigma_s=solved.path_sigma_s,
        residuals_s=residuals,
        left_out=left_out or Counter(),
        off_sigmas=doubts.off_sigmas,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """What was made of the arrivals; the residuals as in `Calibration`, and which paths are late."""

    arrivals: Arrivals
    solved: Solved
    residuals: tuple[Floats, Floats, Floats]
    late: NDArray[np.bool_]
    doubts: Doubt


def _correction(site: Site, k: int, made: _Made) -> Correction:
    arrivals, solved, residuals = made.arrivals, made.solved, made.residuals
    lost = bool(made.doubts.lost[k])
    mine = arrivals.sensor == k
    shots = int(np.sum(mine))
    places = len(set(arrivals.path[mine].tolist()))
    value, covariance, prior = solved.corrections[k], solved.covariances[k], arrivals.sensor_sigma[k]
    flat = covariance[:2, :2]
    widest = math.sqrt(float(np.linalg.eigvalsh(flat)[-1]))
    clock_sigma = math.sqrt(max(float(covariance[2, 2]), 1e-18))
    flags = []
    if not shots:
        flags.append("unheard")
    elif shots < LEAST_SHOTS:
        flags.append("few-shots")
    elif places < LEAST_PLACES:
        flags.append("few-places")
    told = shots >= LEAST_SHOTS and places >= LEAST_PLACES and not (lost or made.doubts.hopeless)
    if told and float(value[:2] @ np.linalg.solve(flat, value[:2])) > SIGNIFICANT_TWO_AXES:
        flags.append("position")
    if told and abs(value[2]) > SIGNIFICANT * clock_sigma:
        flags.append("clock")
    if widest > UNTOLD * prior[0]:
        flags.append("position-at-prior")
    if clock_sigma > UNTOLD * prior[2]:
        flags.append("clock-at-prior")
    if np.any(made.late[arrivals.path_sensor == k]):
        flags.append("late-paths")
    if lost:
        flags.append("disagrees")
    return Correction(
        sensor_id=site.sensor_id,
        east_m=float(value[0]),
        north_m=float(value[1]),
        clock_s=float(value[2]),
        east_sigma_m=math.sqrt(float(covariance[0, 0])),
        north_sigma_m=math.sqrt(float(covariance[1, 1])),
        en_m2=float(covariance[0, 1]),
        clock_sigma_s=clock_sigma,
        position_observed=max(0.0, 1.0 - widest**2 / max(prior[0], 1e-6) ** 2),
        clock_observed=max(0.0, 1.0 - clock_sigma**2 / max(prior[2], 1e-9) ** 2),
        shots=shots,
        places=places,
        rms_before_s=root_mean_square(residuals[0][mine]),
        rms_after_s=root_mean_square(residuals[1][mine]),
        rms_path_s=root_mean_square(residuals[2][mine]),
        flags=tuple(flags),
        shown_s=float(made.doubts.shown_s[k]),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{1e3 * seconds:.3g} ms"


def _corrected(site: Site, c: Correction, frame: Frame) -> Site:
    """The site with what is significant put right; the rest stays, and its sigma says what is known by now."""
    if not c.shots:
        return site
    position, sigma_m = site.position, math.sqrt(0.5 * (c.east_sigma_m**2 + c.north_sigma_m**2))
    if c.moved:
        east, north, up = frame.local([position])[0]
        east, north = float(east) + c.east_m, float(north) + c.north_m
        placed = frame.geodetic(east, north, float(up)) if isinstance(position, Geodetic) else None
        position = placed or Local(east, north, float(up))
    else:
        sigma_m = math.hypot(sigma_m, math.hypot(c.east_m, c.north_m) / math.sqrt(2.0))
    clock_s = c.clock_sigma_s if c.astray else math.hypot(c.clock_sigma_s, c.clock_s)
    if c.disagrees:
        clock_s = min(max(clock_s, c.shown_s, site.clock_sigma_s), LARGEST_CLOCK_SIGMA_S)
        return replace(site, clock_sigma_s=clock_s, position_sigma_m=max(sigma_m, site.position_sigma_m))
    if "few-places" in c.flags or "few-shots" in c.flags:
        return site
    return replace(site, position=position, position_sigma_m=sigma_m, clock_sigma_s=clock_s)
