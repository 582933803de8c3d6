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
from localization.ellipse import Covariance, Ellipse, confidence_ellipse
from localization.evidence import fuse
from localization.fix import Arrival, Fix, Mode, Unfixed
from localization.kernels import DISCHARGE, N, climb, place_covariance, three_arrivals
from localization.loudness import loudness_odds
from localization.modes import LIGHTEST, weighed
from sensors.site import Local

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.air import Air
    from acoustic.detection import Detection
    from localization.frame import Frame
    from localization.street import Street
    from sensors.site import Site

CONFIDENCE: Final = 0.95
MOST_TRIPLES_OF: Final = 10  # sensors whose triples all serve as starts: 120 of them
THINNEST: Final = 0.01  # breadth over length of an array that still tells its two sides apart
BLURS_S: Final = (1.0, 0.1, 0.02)
WIDEST_M: Final = 5_000.0  # beyond this semi-major axis the geometry says nothing


@dataclass(frozen=True, slots=True)
class Solver:
    """Places single bangs, given which detections are theirs.

    ``source_up_m`` and ``source_sigma_m`` say at what height of the frame bangs are looked for.
    """

    frame: Frame
    air: Air
    street: Street
    source_up_m: float
    source_sigma_m: float

    def prior(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and sigma of the parameters of `localization.kernels`; place and time have none."""
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
            What was heard, ordered by onset, and where each was heard. A sensor's second detection counts as an echo.
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
            self, shot_id, revision, tuple(detections), tuple(sites), tuple(silent), indirect, chosen=chosen
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
        silent: tuple[str, ...], indirect: float, *, chosen: bool,
    ) -> None:  # fmt: skip
        self.solver, self.shot_id, self.revision, self.silent = solver, shot_id, revision, silent
        self.detections = detections
        heard: set[str] = set()
        self.kept = [not (d.sensor_id in heard or heard.add(d.sensor_id)) for d in detections]  # type: ignore[func-returns-value]
        kept = list(itertools.compress(range(len(detections)), self.kept))
        self.zero_ns = min(d.pick.onset_ns for d in detections)
        places = solver.frame.local([sites[k].position for k in kept])
        self.middle = places.mean(axis=0)
        self.places = np.ascontiguousarray(places - self.middle)
        self.times = np.array([seconds_between(self.zero_ns, detections[k].pick.onset_ns) for k in kept])
        speed = solver.air.sound_speed_m_per_s
        self.known_s = np.array(
            [
                math.sqrt(
                    detections[k].pick.sigma_s ** 2
                    + sites[k].clock_sigma_s ** 2
                    + (sites[k].position_sigma_m / speed) ** 2
                    + (0.1 * sites[k].up_sigma_m / speed) ** 2  # heights matter by the sine of a flat angle
                )
                for k in kept
            ]
        )
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
        self.late = solver.street.late()

    # the answer

    def answer(self) -> Fix | Unfixed:
        if len(self.times) < 3:
            return self._unfixed("too-few-sensors")
        if self._thin():
            return self._unfixed("degenerate-geometry")
        sigmas = np.hypot(self.known_s, self.solver.street.path_sigma_s)
        maxima = self._maxima(sigmas)
        if not maxima or maxima[0].direct < 3:
            return self._unfixed("inconsistent")
        spread, freedom = self._path_sigma(maxima[0])
        sigmas = np.hypot(self.known_s, spread)
        maxima = self._distinct([self._climb(maximum.p, sigmas) for maximum in maxima])
        if maxima[0].direct < max(3, 0.5 * len(self.times)):
            return self._unfixed("inconsistent")
        modes = self._modes(maxima, freedom)
        if not modes or modes[0].ellipse.semi_major_m > WIDEST_M:
            return self._unfixed("degenerate-geometry")
        return self._fix(modes, maxima[0])

    def _thin(self) -> bool:
        """Whether the sensors stand on a line, or nearly: then they cannot tell its two sides apart."""
        length, breadth = np.linalg.svd(self.places[:, :2] - self.places[:, :2].mean(axis=0), compute_uv=False)[:2]
        return bool(breadth <= THINNEST * length)

    def _maxima(self, sigmas: NDArray[np.float64]) -> list[_Maximum]:
        return self._distinct([self._climb(start, sigmas) for start in self._starts()])

    def _starts(self) -> list[NDArray[np.float64]]:
        """Parameters to climb from: every place that three arrivals allow, and one beside the first sensor."""
        early = np.argsort(self.times, kind="stable")[:MOST_TRIPLES_OF]
        out, starts = np.empty((2, 3)), []
        x, y, z = np.ascontiguousarray(self.places.T)
        up, speed, east, north = self.prior[2:6]
        for triple in itertools.combinations(early, 3):
            rows = np.array(triple)
            found = three_arrivals(x[rows], y[rows], z[rows], self.times[rows], up, speed, east, north, out)
            starts += [self._start(*out[k]) for k in range(found)]
        if not starts:
            # Noise can leave no place that fits three arrivals exactly: come down from a blurred view of them all.
            first = self.places[early[0]]
            start = self._start(0.9 * first[0], 0.9 * first[1], self.times[early[0]])
            for blur_s in BLURS_S:
                start = self._climb(start, np.hypot(self.known_s, blur_s)).p
            starts.append(start)
        return starts

    def _start(self, east: float, north: float, discharge: float) -> NDArray[np.float64]:
        p = self.prior.copy()
        p[0], p[1], p[DISCHARGE] = east, north, discharge
        return p

    def _climb(self, start: NDArray[np.float64], sigmas: NDArray[np.float64]) -> _Maximum:
        p = start.copy()
        residuals, weights = np.empty(len(self.times)), np.empty(len(self.times))
        value = climb(
            self.places,
            self.times,
            sigmas,
            self.outlier,
            self.prior,
            self.prior_sigma,
            self.late,
            p,
            residuals,
            weights,
            60,
        )
        covariance = np.empty((3, 3))
        sharp = place_covariance(self.places, sigmas, weights, self.prior_sigma, p, covariance)
        mass = value + _log_volume(covariance) + self._hearing(p, weights, covariance) if sharp else -math.inf
        return _Maximum(p, mass, residuals, weights, covariance)

    def _hearing(self, p: NDArray[np.float64], weights: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
        """Log odds of having been heard, so loud, and from that side, by those sensors from there."""
        distances = np.linalg.norm(self.places - p[:3], axis=1)
        street, direct = self.solver.street, weights >= 0.5
        shares = street.near_share / (1.0 + (distances / street.half_range_m) ** 3)
        loudness = loudness_odds(self.levels[direct], self.censored[direct], distances[direct])
        side = bearing_odds(
            self.azimuths[direct],
            self.azimuth_sigmas[direct],
            p[:2] - self.places[direct, :2],
            math.sqrt(max(0.5 * float(covariance[0, 0] + covariance[1, 1]), 0.0)),
        )
        return float(np.sum(np.log(shares))) + loudness + side

    @staticmethod
    def _distinct(maxima: list[_Maximum]) -> list[_Maximum]:
        """Best first, each far enough from every better one, none hopeless beside the best."""
        result: list[_Maximum] = []
        maxima = [maximum for maximum in maxima if math.isfinite(maximum.log_mass)]
        for maximum in sorted(maxima, key=lambda m: -m.log_mass):
            if result and maximum.log_mass < result[0].log_mass - 8.0:
                break
            if all(maximum.apart(other) for other in result):
                result.append(maximum)
        return result

    def _path_sigma(self, best: _Maximum) -> tuple[float, float]:
        """What the paths added here, s, from the residuals and its prior; and the degrees of freedom of the scale.

        Only the paths' share of the variance was estimated, the rest is known: Welch and Satterthwaite's rule for a sum
        of variances, with the known ones at infinite degrees.
        """
        street = self.solver.street
        seen = float(np.sum(best.weights * np.maximum(best.residuals**2 - self.known_s**2, 0.0)))
        freedom = street.path_scale_weight + max(float(np.sum(best.weights)) - 3.0, 0.0)
        variance = (street.path_scale_weight * street.path_scale_s**2 + seen) / freedom
        share = variance / (variance + float(np.mean(self.known_s**2)))
        return math.sqrt(variance), freedom / share**2

    # records

    def _modes(self, maxima: list[_Maximum], freedom: float) -> tuple[Mode, ...]:
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
                    ellipse=region(covariance, freedom),
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
    """A maximum of the posterior: parameters, log of the mass below it, residuals and weights of the arrivals there."""

    p: NDArray[np.float64]
    log_mass: float
    residuals: NDArray[np.float64]
    weights: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @property
    def direct(self) -> int:
        """How many arrivals are more likely direct than not."""
        return int(np.sum(self.weights >= 0.5))

    def apart(self, other: _Maximum) -> bool:
        """Whether the two are different places rather than one reached twice: 10 m and two sigma of the other."""
        offset = self.p[:2] - other.p[:2]
        if float(np.hypot(*offset)) < 10.0:
            return False
        try:
            distance = float(offset @ np.linalg.solve(other.covariance[:2, :2], offset))
        except np.linalg.LinAlgError:
            return True
        return distance > 4.0


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _log_volume(covariance: NDArray[np.float64]) -> float:
    """Log of the area below a maximum (Laplace), m^2: bounded where the geometry leaves it open, -inf for none."""
    if not np.all(np.abs(covariance[:2, :2]) < 1e14):
        return -math.inf
    area = covariance[0, 0] * covariance[1, 1] - covariance[0, 1] ** 2
    return 0.5 * math.log(min(area, 1e14)) if area > 0.0 else -math.inf


def region(covariance: Covariance, freedom: float) -> Ellipse:
    """The ellipse that holds the truth at `CONFIDENCE`, its scale estimated with ``freedom`` degrees of freedom.

    2 F(2, v): the quantile of F with two degrees above is v / 2 (alpha^(-2/v) - 1), in closed form.
    """
    f = 0.5 * freedom * ((1.0 - CONFIDENCE) ** (-2.0 / freedom) - 1.0)
    return confidence_ellipse(covariance, 2.0 * f, CONFIDENCE)


def inside_hull(points: NDArray[np.float64], place: NDArray[np.float64]) -> bool:
    """Whether a place lies within the convex hull of points (n, 2): no half plane through it holds all of them."""
    angles = np.sort(np.arctan2(points[:, 1] - place[1], points[:, 0] - place[0]))
    gaps = np.diff(np.append(angles, angles[0] + 2.0 * np.pi))
    return bool(np.max(gaps) < np.pi)
