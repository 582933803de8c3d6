"""A plane wave across a small array: the field it makes there, the direction that fits it best, and how surely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.bearing import Bearing

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_ELEMENTS: Final = 3
THINNEST: Final = 0.1  # breadth over length of an array that still tells its two sides apart
SMALLEST_M: Final = 0.01
LARGEST_M: Final = 10.0  # beyond, sound at the two ends no longer comes as one plane wave
SPEED_SIGMA: Final = 0.03  # of the speed of sound, relative: the temperature at the array is hardly known
RISE_SIGMA: Final = 0.5  # of the upward part of the direction: most sources are low
FLATTEST: Final = 0.2  # plan part of the direction: above 78 degrees of elevation there is no azimuth to tell
ELEMENT_SIGMA: Final = 0.005  # of the aperture: how well the places of the elements are known
ELEMENT_SIGMA_M: Final = 0.0003
FLOOR_DEG: Final = 0.5
PRIOR_FREEDOM: Final = 4.0  # degrees of freedom that the expected scatter of delays weighs beside the one seen
WORST_SCATTER: Final = 6.0  # of the delays, times the expected: beyond, the array is not as it was described
LEAST_ODDS: Final = 12.0  # log odds of the best direction to any other
RIVAL: Final = 0.85  # of the height of the best: another direction as high is as likely
VALLEY: Final = 0.05  # of that height: shallower is no valley
WIDEST_DEG: Final = 30.0
DEAF: Final = 0.5  # of the coherence of the others: a channel below hears something else
DEAF_IN_DOUBT: Final = 0.75  # the same where more sound is not shared than echoes bring to most arrays
DOUBTFUL: Final = 4.0  # of sound that is not shared, in units of the noise after weighing
POINTS: Final = 16  # of a correlation, a period of its highest frequency; straight lines between them err by 2 %
LEAST_NOISE: Final = 0.1
UNSEEN_NOISE: Final = 1.4  # times what is seen, in a few dozen bins and beside a fit; makes sigma hold at 10 to 18 dB
STEPS: Final = 12
LONGEST_STEP: Final = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """The channels that serve: samples (m, n), places about their middle (m, 3), rate and speed of sound.

    ``listened`` (3,) is where the first of all channels stands, whether it serves or not: the onset is told there.
    """

    samples: NDArray[np.float64]
    places: NDArray[np.float64]
    listened: NDArray[np.float64]
    rate_hz: int
    speed: float

    @classmethod
    def of(cls, samples: NDArray[np.float32], elements_m: NDArray[np.float64], rate_hz: int, speed: float) -> Array:
        """Of (n, m) samples and their (m, 3) elements, channels that are silent or not finite left out."""
        if samples.ndim != 2 or elements_m.shape != (samples.shape[1], 3):
            raise ValueError(
                f"samples are {samples.shape}, elements {elements_m.shape}: expected (n, m) and (m, 3), a column each"
            )
        rows = np.ascontiguousarray(samples.T, dtype=np.float64)
        alive = np.array([row.size > 0 and bool(np.isfinite(row).all()) and np.ptp(row) > 0.0 for row in rows], bool)
        for k in range(1, len(rows)):  # two channels of one microphone would say that the sound came from abeam
            alive[k] &= not any(np.array_equal(rows[k], row) for row in rows[:k])
        return cls(rows, elements_m, elements_m[0] if len(rows) else np.zeros(3), rate_hz, speed).only(alive)

    def only(self, which: NDArray[np.bool_]) -> Array:
        """The same with some of the channels (m,)."""
        places = self.places[which]
        middle = places.sum(axis=0) / max(len(places), 1)
        return Array(self.samples[which], places - middle, self.listened - middle, self.rate_hz, self.speed)

    @property
    def count(self) -> int:
        """How many channels serve."""
        return len(self.places)

    @property
    def aperture_m(self) -> float:
        """Greatest distance between two elements."""
        return float(np.max(np.linalg.norm(self.places[:, None] - self.places[None], axis=2)))

    def tells_azimuth(self) -> bool:
        """Whether there are three elements that do not stand in a row, seen from above."""
        if self.count < LEAST_ELEMENTS:
            return False
        length, breadth = np.linalg.svd(self.places[:, :2], compute_uv=False)[:2]
        return bool(breadth > THINNEST * length and length > SMALLEST_M and self.aperture_m < LARGEST_M)

    def clipped(self) -> bool:
        """Whether a channel stands still at its extreme, for three samples or more."""
        at_peak = np.abs(self.samples) >= np.abs(self.samples).max(axis=1, keepdims=True) * (1.0 - 1e-6)
        return bool(np.any(at_peak[:, 2:] & at_peak[:, 1:-1] & at_peak[:, :-2]))

    def delays(self, towards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds after the middle of the array at which a plane wave from there (..., 3) reaches each element."""
        return -(towards @ self.places.T) / self.speed


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Weighed cross-spectra of an array, (bins, m, m), summed over looks.

    ``first`` and ``size``: the first bin, and the length of the transform; ``looks`` how many were summed; ``repeated``
    how many bins of all looks, padded, overlapped and tapered, are worth one.
    """

    matrix: NDArray[np.complex128]
    first: int
    size: int
    rate_hz: int
    looks: int
    repeated: float

    @property
    def omega(self) -> NDArray[np.float64]:
        """Angular frequencies of the bins, 1/s."""
        bins = np.arange(self.first, self.first + len(self.matrix), dtype=np.float64)
        return bins * (2.0 * math.pi * self.rate_hz / self.size)

    def aligned(self, delays: NDArray[np.float64]) -> NDArray[np.complex128]:
        """The cross-spectra as they are after these delays (m,) have been taken out."""
        steering = np.exp(1j * np.outer(self.omega, delays))
        turned: NDArray[np.complex128] = self.matrix * steering[:, :, None] * steering.conj()[:, None, :]
        return turned

    def parted(self, delays: NDArray[np.float64]) -> tuple[float, float]:
        """After these delays: curvature of the power that all elements share, 1/s^2, and the power they do not share.

        Both are sums over bins by the square of frequency, in which delays are told; the second one is a mean of that
        kind over bins by their whole power, which chance does not make loud where the elements happen to agree.
        """
        aligned, m, square = self.aligned(delays), len(delays), self.omega**2
        own = np.einsum("fii->f", aligned).real / m
        shared = (aligned.sum(axis=(1, 2)).real / m - own) / (m - 1)
        unshared = float((square * own) @ (own - shared) / (square @ own)) / self.looks
        return float(square @ shared), UNSEEN_NOISE * unshared


# the search


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The direction of greatest steered power on a grid, (3,), and how far the power spreads about it in azimuth."""

    towards: NDArray[np.float64]
    spread_deg: float


def search(array: Array, field: Field) -> Found | None:
    """The direction where no other comes near it."""
    grid = _grid(array, field)
    power = _steered_power(array, field, grid)
    best = np.unravel_index(int(np.argmax(power)), power.shape)
    rival = _rival(power.max(axis=1))
    peak = float(power[best])
    scale = 2.0 / (array.count * field.repeated)
    if peak <= 0.0 or rival > RIVAL * peak or scale * (peak - rival) < LEAST_ODDS:
        return None
    scale /= max(field.parted(array.delays(grid[best]))[1], LEAST_NOISE)
    likely = np.sum(np.exp(scale * (power - peak)), axis=1)
    steps = len(likely)
    turned_deg = 360.0 / steps * ((np.arange(steps) - best[0] + steps // 2) % steps - steps // 2)
    spread_deg = math.sqrt(float(likely @ turned_deg**2) / float(np.sum(likely)))
    return Found(grid[best], spread_deg)


def _rival(along: NDArray[np.float64]) -> float:
    """The greatest power over azimuth that is no flank of the greatest: some valley lies between the two."""
    turned = np.roll(along, -int(np.argmax(along)))
    shallow = VALLEY * float(turned[0])
    one = turned > np.minimum.accumulate(turned) + shallow
    other = np.roll(turned[::-1], 1) > np.minimum.accumulate(np.roll(turned[::-1], 1)) + shallow
    return float(np.max(turned, where=one & np.roll(other[::-1], 1), initial=-math.inf))


def _grid(array: Array, field: Field) -> NDArray[np.float64]:
    """Unit vectors towards (azimuth, plan part, 3): azimuth clockwise from north, six steps a lobe."""
    waves = float(field.omega[-1]) / (2.0 * np.pi) * array.aperture_m / array.speed
    azimuth = np.arange(0.0, 2.0 * np.pi, 2.0 * np.pi / max(120, math.ceil(12.0 * np.pi * waves)))
    plan = np.linspace(FLATTEST, 1.0, max(8, math.ceil(4.0 * waves)))
    rise = np.sqrt(1.0 - plan**2)
    if float(np.ptp(array.places[:, 2])) * waves > 0.1 * array.aperture_m:
        plan, rise = np.concatenate([plan, plan]), np.concatenate([rise, -rise])
    east, north = np.outer(np.sin(azimuth), plan), np.outer(np.cos(azimuth), plan)
    return np.stack([east, north, np.broadcast_to(rise, east.shape)], axis=2)


def _steered_power(array: Array, field: Field, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over pairs of their correlation at the delay of each direction; the powers of single channels left out."""
    highest_hz = float(field.omega[-1]) / (2.0 * np.pi)
    finer = 1 << max(0, math.ceil(math.log2(POINTS * highest_hz / field.rate_hz)))
    size = field.size * finer
    delays = array.delays(grid) * (field.rate_hz * finer)
    power = np.zeros(grid.shape[:2])
    spectrum = np.zeros(size // 2 + 1, complex)
    for i in range(array.count):
        for j in range(i):
            spectrum[field.first : field.first + len(field.matrix)] = field.matrix[:, i, j]
            correlation = np.fft.irfft(spectrum, size) * (0.5 * size)
            lag = delays[:, :, i] - delays[:, :, j]
            whole = np.floor(lag)
            before = whole.astype(np.int64) % size
            part = lag - whole
            power += correlation[before] * (1.0 - part) + correlation[(before + 1) % size] * part
    return power


# the refinement


@dataclass(frozen=True, slots=True, eq=False)
class Wave:
    """A plane wave fitted: direction (3,), its covariance, scatter of delays over the expected.

    ``coherence`` (m,) is that of each channel with the sum of the others, ``unshared`` the sound that is not shared.
    """

    towards: NDArray[np.float64]
    covariance: NDArray[np.float64]
    scatter: float
    coherence: NDArray[np.float64]
    unshared: float

    def deaf(self) -> int | None:
        """The channel that hears something else than the others."""
        worst = int(np.argmin(self.coherence))
        least = DEAF_IN_DOUBT if self.unshared > DOUBTFUL else DEAF
        return worst if self.coherence[worst] < least * np.median(np.delete(self.coherence, worst)) else None

    def bearing(self, spread_deg: float, inflation: float) -> Bearing | None:
        """What the fit tells of azimuth, its sigma no less than the spread of the search, and then so much inflated."""
        east, north = float(self.towards[0]), float(self.towards[1])
        plan = math.hypot(east, north)
        if plan < FLATTEST or self.scatter > WORST_SCATTER:
            return None
        across = np.array([north, -east, 0.0]) / plan**2
        variance = float(across @ self.covariance @ across)
        sigma_deg = inflation * math.hypot(max(math.degrees(math.sqrt(variance)), spread_deg), FLOOR_DEG)
        azimuth_deg = math.degrees(math.atan2(east, north)) % 360.0
        # Modulo once more: a hair west of north came out of the first as 360 itself.
        return Bearing(azimuth_deg % 360.0, sigma_deg) if sigma_deg <= WIDEST_DEG else None


def refine(array: Array, field: Field, towards: NDArray[np.float64]) -> Wave:
    """Climb to the maximum by Gauss and Newton on the delays of the elements, and see how they scatter there.

    Each element's delay is its Newton step against the sum of the others. The direction is a free vector, held near
    length 1 by the speed of sound and near the horizon by a weak prior: it has no edge at the horizon to be caught at.
    """
    m = array.count
    design = -array.places / array.speed
    element_s = math.hypot(ELEMENT_SIGMA_M, ELEMENT_SIGMA * array.aperture_m) / array.speed
    up = np.array([0.0, 0.0, 1.0])
    for _ in range(STEPS):
        late, variance, coherence, unshared = _lateness(field, array.delays(towards))
        variance += element_s**2
        length = float(np.linalg.norm(towards))
        ahead = towards / length
        information: NDArray[np.float64] = design.T @ design / variance
        information += np.outer(ahead, ahead) / SPEED_SIGMA**2 + np.outer(up, up) / RISE_SIGMA**2
        pull = design.T @ late / variance + ahead * (1.0 - length) / SPEED_SIGMA**2
        pull -= up * towards[2] / RISE_SIGMA**2
        step = np.linalg.solve(information, pull)
        step *= min(1.0, LONGEST_STEP / max(float(np.linalg.norm(step)), 1e-12))
        left = late - design @ step
        towards = towards + step
        if float(np.linalg.norm(step)) < 1e-6:
            break
    misfit = float(left @ left) / variance
    freedom = max(m - LEAST_ELEMENTS, 0)
    scale = (PRIOR_FREEDOM + misfit) / (PRIOR_FREEDOM + freedom)
    scatter = math.sqrt(misfit / max(freedom, 1))
    return Wave(
        towards, np.asarray(np.linalg.inv(information), np.float64) * max(scale, 0.5), scatter, coherence, unshared
    )


def _lateness(
    field: Field, delays: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64], float]:
    """How late each element is beside these delays, s, about the mean; the variance of that; coherence; unshared sound.

    The variance is that of the Newton step itself: the power of its gradient in incoherent sound over the square of its
    curvature. With ideal weights it is the Cramer-Rao bound of a delay.
    """
    aligned = field.aligned(delays)
    m, omega = len(delays), field.omega
    own = np.einsum("fii->fi", aligned).real
    others = aligned.sum(axis=2) - own
    stiffness = omega**2 @ others.real
    centre = math.sqrt(max(float(np.sum(stiffness)) / max(float(np.sum(others.real)), 1e-30), float(omega[0]) ** 2))
    limit = 0.5 * np.pi / centre
    late = np.where(stiffness > 0.0, -(omega @ others.imag) / np.where(stiffness > 0.0, stiffness, 1.0), 0.0)
    late = np.clip(late, -limit, limit) * (m - 1) / m
    slope, noise = field.parted(delays)
    variance = 0.5 * field.repeated * max(noise, 0.0) / slope if slope > 0.0 else limit**2
    whole = aligned.sum(axis=(1, 2)).real
    rest = whole[:, None] - 2.0 * others.real - own
    norm = np.sqrt(np.sum(own, axis=0) * np.maximum(np.sum(rest, axis=0), 0.0))
    return late - late.mean(), variance, np.sum(others.real, axis=0) / np.maximum(norm, 1e-30), noise
