"""A fix: where and when one bang was, and how surely; or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from acoustic.air import Air
from acoustic.detection import Detection, check_probabilities, likeliest, probability
from acoustic.instant import check_instant
from localization.ellipse import Covariance, Ellipse
from sensors.site import Geodetic, Local

# "ambiguous" is for locators that give no place where several remain: this one gives them all, as modes.
REASONS: Final = ("too-few-sensors", "degenerate-geometry", "ambiguous", "inconsistent")
"""Why a bang has no fix: fewer than three sensors; sensors so placed that they cannot tell; several places explain
the arrivals equally well and far apart; no place explains them."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One detection in the light of a fix.

    Parameters
    ----------
    detection : Detection
        What was heard.
    residual_s : float
        Arrival minus what the fix predicts, s; late is positive. 0 where there is no fix.
    weight : float
        Probability that it is the direct arrival of this bang.
    """

    detection: Detection
    residual_s: float
    weight: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.residual_s) or not 0.0 <= self.weight <= 1.0:
            raise ValueError(f"residual_s is {self.residual_s} and weight {self.weight}: expected finite, and 0 to 1")


@dataclass(frozen=True, slots=True)
class Mode:
    """One place that explains the arrivals.

    Parameters
    ----------
    weight : float
        Probability of this place among the modes of its fix; they sum to 1.
    time_ns : int
        Discharge, UTC.
    time_sigma_s : float
        One standard deviation of it.
    place : Local
        In the plane of the network.
    geodetic : Geodetic or None
        The same on the Earth; None in a plane that floats.
    covariance : Covariance
        Of the estimate, east and north.
    ellipse : Ellipse
        The region at its confidence; wider than the covariance alone where the scale was estimated.
    """

    weight: float
    time_ns: int
    time_sigma_s: float
    place: Local
    geodetic: Geodetic | None
    covariance: Covariance
    ellipse: Ellipse

    def __post_init__(self) -> None:
        check_instant(self.time_ns, "time_ns")
        if not 0.0 < self.weight <= 1.0 or not 0.0 < self.time_sigma_s < math.inf:
            raise ValueError(f"weight is {self.weight} and time_sigma_s {self.time_sigma_s}: expected 0 to 1, and > 0")


@dataclass(frozen=True, slots=True)
class Felt:
    """The air as one bang felt it at its most probable, and what its paths added; m/s, and s."""

    sound_speed_m_per_s: float
    wind_east_m_per_s: float
    wind_north_m_per_s: float
    path_sigma_s: float

    def __post_init__(self) -> None:
        values = (self.sound_speed_m_per_s, self.wind_east_m_per_s, self.wind_north_m_per_s, self.path_sigma_s)
        if not all(math.isfinite(value) for value in values) or self.path_sigma_s < 0.0:
            raise ValueError(f"{values}: expected finite numbers, and a sigma of 0 or more")


@dataclass(frozen=True, slots=True)
class Fix:
    """A bang with a place.

    Parameters
    ----------
    shot_id : str
        One name through all revisions.
    revision : int
        1, 2, ...; a later one replaces the earlier.
    modes : tuple of Mode
        Heaviest first; more than one where the geometry leaves a choice.
    arrivals : tuple of Arrival
        What it rests on, ordered by onset.
    llr : float
        Fused evidence for a gunshot, natural logarithm.
    probabilities : tuple of float
        One for each class, at a prior of one half for a gunshot.
    rms_residual_s : float
        Root mean square of the weighted residuals, s.
    inside_hull : bool
        Whether the place lies within the convex hull of the sensors used.
    silent : tuple of str
        Sensors that should have heard it, and did not.
    air : Air
        The air that was assumed.
    height_decides : bool
        Whether not knowing the height of the shot widens its region by half or more: it stands above or below the
        sensors steeply enough that the ground matters.
    felt : Felt or None
        The air and the paths that fit its arrivals best.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range.
    """

    shot_id: str
    revision: int
    modes: tuple[Mode, ...]
    arrivals: tuple[Arrival, ...]
    llr: float
    probabilities: tuple[float, ...]
    rms_residual_s: float
    inside_hull: bool
    silent: tuple[str, ...] = ()
    air: Air = Air()  # noqa: RUF009  (frozen, hence shared safely)
    height_decides: bool = False
    felt: Felt | None = None

    def __post_init__(self) -> None:
        _check(self.shot_id, self.revision, self.llr, self.probabilities)
        if not self.modes or abs(math.fsum(mode.weight for mode in self.modes) - 1.0) > 1e-6:
            raise ValueError("a fix has one mode or more, and their weights sum to 1")
        if any(earlier.weight < later.weight for earlier, later in zip(self.modes, self.modes[1:], strict=False)):
            raise ValueError("the heaviest mode comes first")

    @property
    def best(self) -> Mode:
        """The heaviest mode."""
        return self.modes[0]

    @property
    def time_ns(self) -> int:
        """Discharge, UTC, of the heaviest mode."""
        return self.modes[0].time_ns

    @property
    def n_sensors(self) -> int:
        """How many sensors it rests on: those more likely direct than not."""
        return sum(arrival.weight >= 0.5 for arrival in self.arrivals)

    @property
    def p_gunshot(self) -> float:
        """Probability of a gunshot at a prior of one half."""
        return probability(self.llr)

    @property
    def sound(self) -> str:
        """The most probable class."""
        return likeliest(self.probabilities)


@dataclass(frozen=True, slots=True)
class Unfixed:
    """A bang without a place, and why: one of `REASONS`. ``time_ns`` is that of its first arrival.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range.
    """

    shot_id: str
    revision: int
    reason: str
    time_ns: int
    arrivals: tuple[Arrival, ...]
    llr: float
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        _check(self.shot_id, self.revision, self.llr, self.probabilities)
        check_instant(self.time_ns, "time_ns")
        if self.reason not in REASONS:
            raise ValueError(f"reason is {self.reason!r}: expected one of {', '.join(REASONS)}")

    @property
    def n_sensors(self) -> int:
        """How many sensors heard it."""
        return len(self.arrivals)

    @property
    def p_gunshot(self) -> float:
        """Probability of a gunshot at a prior of one half."""
        return probability(self.llr)

    @property
    def sound(self) -> str:
        """The most probable class."""
        return likeliest(self.probabilities)


def _check(shot_id: str, revision: int, llr: float, probabilities: tuple[float, ...]) -> None:
    if not shot_id or revision < 1 or not math.isfinite(llr):
        raise ValueError(f"shot {shot_id!r}, revision {revision}, llr {llr}: expected a name, 1 or more, and finite")
    check_probabilities(probabilities)
