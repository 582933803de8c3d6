"""From the arrivals of one bang to its place: several starts, the modes that remain, and an ellipse for each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.instant import after, seconds_between
from localization.bearings import bearing_odds
from localization.ellipse import Covariance, confidence_ellipse
from localization.evidence import fuse
from localization.fix import Arrival, Felt, Fix, Mode, Unfixed
from localization.loudness import loudness_odds
from localization.modes import LIGHTEST, weighed
from localization.solver_kernels import DISCHARGE, N, place_bang
from sensors.site import Local

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.air import Air
    from acoustic.detection import Detection
    from localization.frame import Frame
    from localization.ground import Ground
    from localization.street import Street
    from sensors.site import Site

CONFIDENCE: Final = 0.95
MOST_PLACES: Final = 24  # maxima of one bang that are looked at
MOST_HEIGHTS: Final = 4  # times that the ground is asked for its height at the place
SAME_HEIGHT_M: Final = 0.5
HEIGHT_DECIDES: Final = 1.5  # times the area that the region had with the height known
THINNEST: Final = 0.01  # breadth over length of an array that still tells its two sides apart
WIDEST_M: Final = 5_000.0  # beyond this semi-major axis the geometry says nothing


@dataclass(frozen=True, slots=True)
class Solver:
    """Places single bangs, given which detections are theirs.

    ``source_up_m`` and ``source_sigma_m`` say at what height of the frame bangs are looked for; a ``ground`` says it
    for each place, and goes before.
    """

    frame: Frame
    air: Air
    street: Street
    source_up_m: float
    source_sigma_m: float
    ground: Ground | None = None

    def prior(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and sigma of the parameters of `localization.solver_kernels`; place and time have none."""
        mean, sigma = np.zeros(N), np.full(N, np.inf)
        mean[2:6] = (
            self.source_up_m, self.air.sound_speed_m_per_s, self.air.wind_east_m_per_s, self.air.wind_north_m_per_s,
        )  # fmt: skip
        # A sigma of nought would divide by nought; a centimetre and a millimetre a second are nought enough.
        sigma[2:6] = (
            max(self.source_sigma_m, 0.01),
            max(self.air.sound_speed_sigma_m_per_s, 0.001),
            max(self.air.wind_sigma_m_per_s, 0.001),
            max(self.air.wind_sigma_m_per_s, 0.001),
        )
        return mean, sigma

    def solve(
        self,
        shot_id: str,
        revision: int,
        detections: Sequence[Detection],
        sites: Sequence[Site],
        silent: Sequence[str] = (),
        *,
        chosen: bool = False,
        given: bool = False,
    ) -> Fix | Unfixed:
        """Fix a bang, or say why it cannot be.

        Parameters
        ----------
        shot_id, revision
            As in `Fix`.
        detections, sites : sequences of equal length
            What was heard, ordered by onset, and where each was heard: with the clock as it was then, which
            `localization.standing.as_heard` tells. A sensor's second detection counts as an echo.
        silent : sequence of str
            Sensors that should have heard it.
        chosen : bool
            The detections were chosen because they agree on a place: what each sensor alone thought of its pick being
            an echo has been weighed by then, and does not count again. A sensor takes every later round of a burst for
            the echo of the first.
        given : bool
            Somebody else put the detections together: fewer of them are echoes.
        """
        indirect = self.street.p_indirect_given if given else self.street.p_indirect
        return _Problem(
            self,
            shot_id,
            revision,
            tuple(detections),
            tuple(sites),
            tuple(silent),
            indirect,
            chosen=chosen,
            given=given,
        ).answer()

    def unfixed(self, shot_id: str, revision: int, reason: str, detections: Sequence[Detection]) -> Unfixed:
        """A bang without a place, and why; a sensor's second detection counts as an echo."""
        heard: set[str] = set()
        arrivals = []
        for detection in detections:
            arrivals.append(Arrival(detection, 0.0, 0.0 if detection.sensor_id in heard else 1.0))
            heard.add(detection.sensor_id)
        llr, probabilities = fuse(detections, [arrival.weight for arrival in arrivals])
        first_ns = min(detection.pick.onset_ns for detection in detections)
        return Unfixed(shot_id, revision, reason, first_ns, tuple(arrivals), llr, probabilities)


class _Problem:
    """One bang to be placed: its arrays, on a local zero of time and place."""

    def __init__(
        self, solver: Solver, shot_id: str, revision: int, detections: tuple[Detection, ...], sites: tuple[Site, ...],
        silent: tuple[str, ...], indirect: float, *, chosen: bool, given: bool,
    ) -> None:  # fmt: skip
        self.solver, self.shot_id, self.revision, self.silent = solver, shot_id, revision, silent
        self.detections, self.given = detections, given
        first: dict[str, int] = {}
        self.kept = [first.setdefault(d.sensor_id, k) == k for k, d in enumerate(detections)]
        kept = list(itertools.compress(range(len(detections)), self.kept))
        self.zero_ns = min(d.pick.onset_ns for d in detections)
        places = solver.frame.local([sites[k].position for k in kept])
        self.middle = places.mean(axis=0)
        self.places = np.ascontiguousarray(places - self.middle)
        self.times = np.array([seconds_between(self.zero_ns, detections[k].pick.onset_ns) for k in kept])
        speed = solver.air.sound_speed_m_per_s
        self.known_s = np.array([math.hypot(detections[k].pick.sigma_s, sites[k].clock_sigma_s) for k in kept])
        self.survey_s = np.array([(sites[k].position_sigma_m, sites[k].up_sigma_m) for k in kept]) / speed
        own = np.array([0.0 if chosen else detections[k].pick.p_outlier for k in kept])
        self.outlier = 1.0 - (1.0 - own) * (1.0 - indirect)
        self.outlier = np.minimum(self.outlier, 0.99)
        self.levels = np.array([_known(detections[k].pick.level_db_spl) for k in kept])
        self.censored = np.array([detections[k].pick.censored for k in kept])
        bearings = [detections[k].bearing for k in kept]
        self.azimuths = np.array([b.azimuth_deg if b else math.nan for b in bearings])
        self.azimuth_sigmas = np.array([b.sigma_deg if b else math.nan for b in bearings])
        mean, self.prior_sigma = solver.prior()
        self.prior = mean.copy()
        self.prior[2] -= self.middle[2]

    # the answer

    def answer(self) -> Fix | Unfixed:
        if len(self.times) < 3:
            return self._unfixed("too-few-sensors")
        if self._thin():
            return self._unfixed("degenerate-geometry")
        maxima = self._maxima()
        if not maxima or maxima[0].direct < max(3, 0.5 * len(self.times)):
            return self._unfixed("inconsistent")
        modes = self._modes(maxima)
        if not modes or modes[0].ellipse.semi_major_m > WIDEST_M:
            return self._unfixed("degenerate-geometry")
        return self._fix(modes, maxima[0])

    def _thin(self) -> bool:
        """Whether the sensors stand on a line, or nearly: then they cannot tell its two sides apart."""
        length, breadth = np.linalg.svd(self.places[:, :2] - self.places[:, :2].mean(axis=0), compute_uv=False)[:2]
        return bool(breadth <= THINNEST * length)

    def _maxima(self) -> list[_Maximum]:
        """Every place that the arrivals allow, the likeliest first; where the ground is known, at its height there.

        The heights of the other places are taken to be that of the likeliest one.
        """
        maxima = self._maxima_at_height()
        ground = self.solver.ground
        for _ in range(MOST_HEIGHTS if ground else 0):
            if not maxima or not ground:
                break
            east, north = (float(v) for v in maxima[0].p[:2] + self.middle[:2])
            up_m, sigma_m = ground.source(east, north)
            moved = abs(up_m - self.middle[2] - self.prior[2])
            self.prior[2], self.prior_sigma[2] = up_m - self.middle[2], max(sigma_m, 0.01)
            maxima = self._maxima_at_height()
            if moved < SAME_HEIGHT_M:
                break
        return maxima

    def _maxima_at_height(self) -> list[_Maximum]:
        """Every place that the arrivals allow, the likeliest first, levels and bearings considered."""
        n, street = len(self.times), self.solver.street
        places, masses, covariances = np.empty((MOST_PLACES, N)), np.empty(MOST_PLACES), np.empty((MOST_PLACES, 3, 3))
        residuals, weights = np.empty((MOST_PLACES, n)), np.empty((MOST_PLACES, n))
        chosen, scale = np.empty(MOST_PLACES, np.int64), np.empty((MOST_PLACES, 3))
        scales = np.array(street.path_scales_given if self.given else street.path_scales)
        count = place_bang(
            self.places, self.times, self.known_s, self.survey_s, self.outlier, self.prior, self.prior_sigma,
            street.lateness(), np.array([street.near_share, street.half_range_m]), np.array([0.0, street.path_sigma_s]),
            scales, CONFIDENCE, places, masses, covariances, residuals, weights, chosen, scale,
        )  # fmt: skip
        maxima = []
        for row in chosen[:count]:
            mass = float(masses[row]) + self._sounding(places[row], weights[row], covariances[row])
            path, quantile, share = (float(v) for v in scale[row])
            common = (street.common_path * path * self.prior[3]) ** 2
            covariances[row, 0, 0] += common
            covariances[row, 1, 1] += common
            maximum = _Maximum(
                places[row], mass, residuals[row], weights[row], covariances[row], quantile, share, path
            )  # fmt: skip
            maxima.append(maximum)
        return sorted(maxima, key=lambda maximum: -maximum.log_mass)

    def _sounding(self, p: NDArray[np.float64], weights: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
        """Log odds of having been heard so loud, and from that side, by those sensors from there."""
        direct = weights >= 0.5
        distances = np.linalg.norm(self.places - p[:3], axis=1)
        loudness = loudness_odds(self.levels[direct], self.censored[direct], distances[direct])
        side = bearing_odds(
            self.azimuths[direct],
            self.azimuth_sigmas[direct],
            p[:2] - self.places[direct, :2],
            math.sqrt(max(0.5 * float(covariance[0, 0] + covariance[1, 1]), 0.0)),
        )
        return loudness + side

    # records

    def _modes(self, maxima: list[_Maximum]) -> tuple[Mode, ...]:
        """The maxima as modes, weighed by the mass below them; none where the heaviest has no ellipse."""
        modes = []
        for maximum in maxima:
            matrix, p = maximum.covariance, maximum.p
            mass = math.exp(maximum.log_mass - maxima[0].log_mass)
            if mass < LIGHTEST / 2.0:
                continue
            try:
                covariance = Covariance(float(matrix[0, 0]), float(matrix[0, 1]), float(matrix[1, 1]))
            except ValueError:
                return ()
            east, north, up = (float(v) for v in p[:3] + self.middle)
            modes.append(
                Mode(
                    weight=mass,
                    time_ns=after(self.zero_ns, float(p[DISCHARGE])),
                    time_sigma_s=math.sqrt(float(matrix[2, 2])),
                    place=Local(east, north, up),
                    geodetic=self.solver.frame.geodetic(east, north, up),
                    covariance=covariance,
                    ellipse=confidence_ellipse(covariance, maximum.quantile, CONFIDENCE),
                )
            )
        return weighed(modes)

    def _fix(self, modes: tuple[Mode, ...], best: _Maximum) -> Fix:
        arrivals = self._arrivals(best)
        llr, probabilities = fuse(self.detections, [arrival.weight for arrival in arrivals])
        share = float(np.sum(best.weights))
        return Fix(
            shot_id=self.shot_id,
            revision=self.revision,
            modes=modes,
            arrivals=arrivals,
            llr=llr,
            probabilities=probabilities,
            rms_residual_s=math.sqrt(float(np.sum(best.weights * best.residuals**2)) / share),
            inside_hull=inside_hull(self.places[best.weights >= 0.5, :2], best.p[:2]),
            silent=self.silent,
            air=self.solver.air,
            height_decides=best.height_share > HEIGHT_DECIDES,
            felt=Felt(float(best.p[3]), float(best.p[4]), float(best.p[5]), best.path_s),
        )

    def _arrivals(self, best: _Maximum) -> tuple[Arrival, ...]:
        """Every detection with its residual; a sensor's second one is no direct arrival, however well it fits."""
        rows = iter(zip(best.residuals, best.weights, strict=True))
        first: dict[str, tuple[float, int]] = {}
        arrivals = []
        for detection, kept in zip(self.detections, self.kept, strict=True):
            onset_ns = detection.pick.onset_ns
            if kept:
                residual, weight = (float(v) for v in next(rows))
                first[detection.sensor_id] = residual, onset_ns
            else:
                residual, weight = first[detection.sensor_id][0], 0.0
                residual += seconds_between(first[detection.sensor_id][1], onset_ns)
            arrivals.append(Arrival(detection, residual, min(1.0, weight)))
        return tuple(arrivals)

    def _unfixed(self, reason: str) -> Unfixed:
        return self.solver.unfixed(self.shot_id, self.revision, reason, self.detections)


@dataclass(frozen=True, slots=True, eq=False)
class _Maximum:
    """A place that the arrivals allow.

    Parameters, log of the mass below it, residuals and weights of the arrivals there, covariance of east, north and
    discharge, the quantile of its region, the area of that over what it were with the height known, and the sigma
    of the paths.
    """

    p: NDArray[np.float64]
    log_mass: float
    residuals: NDArray[np.float64]
    weights: NDArray[np.float64]
    covariance: NDArray[np.float64]
    quantile: float
    height_share: float
    path_s: float

    @property
    def direct(self) -> int:
        """How many arrivals are more likely direct than not."""
        return int(np.sum(self.weights >= 0.5))


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def inside_hull(points: NDArray[np.float64], place: NDArray[np.float64]) -> bool:
    """Whether a place lies within the convex hull of points (n, 2): no half plane through it holds all of them."""
    angles = np.sort(np.arctan2(points[:, 1] - place[1], points[:, 0] - place[0]))
    gaps = np.diff(np.append(angles, angles[0] + 2.0 * np.pi))
    return bool(np.max(gaps) < np.pi)
