"""Sharpness: how well a place could be fixed, from the geometry of who hears it and from what is not known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from localization.street import Street

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acoustic.air import Air

CHI_SQUARE: Final = -2.0 * math.log(0.05)  # 5.991: 95 % of two degrees of freedom
PLACE, NUISANCE = 2, 5  # parameters: east, north; and height, sound speed, wind east and north, discharge
_PAIRS: Final = np.triu_indices(PLACE + NUISANCE)


@dataclass(frozen=True, slots=True)
class Timing:
    """What stands between a sensor's pick and the truth, one standard deviation each, s.

    Parameters
    ----------
    pick_sigma_s : float
        Of the pick itself.
    path_sigma_s : float
        What walls, corners and turbulence add.

    Raises
    ------
    ValueError
        When both are nought, or one is out of range.
    """

    pick_sigma_s: float = 0.001
    path_sigma_s: float = Street().path_sigma_s

    def __post_init__(self) -> None:
        if not (0.0 <= self.pick_sigma_s <= 1.0 and 0.0 <= self.path_sigma_s <= 1.0):
            raise ValueError(f"sigmas are {self.pick_sigma_s} and {self.path_sigma_s} s: expected 0 to 1")
        if self.pick_sigma_s == self.path_sigma_s == 0.0:
            raise ValueError("pick and path are both exact: no time is")


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Sensors as a place sees them: what each adds to the information on a shot there.

    Parameters
    ----------
    products : (C, S, 28) float64
        Of each sensor's gradient with itself, over its variance: the upper triangle of a (7, 7) matrix.
    priors : (C, 5) float64
        What is known of the nuisances beforehand, 1 / variance; nothing of the discharge.
    """

    products: NDArray[np.float64]
    priors: NDArray[np.float64]

    def information(self, used: NDArray[np.float64]) -> NDArray[np.float64]:
        """Information on east and north, 1 / m^2, with the nuisances projected out.

        Parameters
        ----------
        used : (C, K, S) float64
            Weight of each sensor, for K cases at each of C places.

        Returns
        -------
        (C, K, 2, 2) float64
            Zero where nobody is used.
        """
        sums = used @ self.products
        size = PLACE + NUISANCE
        full = np.zeros((*sums.shape[:-1], size, size))
        full[..., _PAIRS[0], _PAIRS[1]] = sums
        full[..., _PAIRS[1], _PAIRS[0]] = sums
        steps = np.arange(NUISANCE)
        full[..., PLACE + steps, PLACE + steps] += self.priors[:, None, :]
        full[..., -1, -1] += 1e-9  # where nobody hears, the discharge is open, not singular
        across = full[..., :PLACE, PLACE:]
        solved = np.linalg.solve(full[..., PLACE:, PLACE:], np.swapaxes(across, -1, -2))
        result: NDArray[np.float64] = full[..., :PLACE, :PLACE] - across @ solved
        return result


def geometry(
    sources: NDArray[np.float64],
    source_sigmas_m: NDArray[np.float64],
    sensors: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    air: Air,
    timing: Timing,
) -> Geometry:
    """What each sensor tells of a shot at each place.

    Parameters
    ----------
    sources : (C, 3) float64, m
        East, north and up.
    source_sigmas_m : (C,) float64
        Of the height.
    sensors : (C, S, 3) float64, m
        For each place the sensors that count there.
    sigmas : (C, S, 3) float64
        Survey along the ground and upwards, m; clock, s.
    air : Air
        With the sigmas of its temperature and wind, which are nuisances common to all sensors.
    timing : Timing
        Pick and path.
    """
    offset = sensors - sources[:, None, :]
    distance = np.maximum(np.linalg.norm(offset, axis=-1), 1e-3)
    east, north, up = np.moveaxis(offset / distance[..., None], -1, 0)
    speed = air.sound_speed_m_per_s
    # As in `localization.solver_kernels.predict`: the wind helps along the path, and moving the source turns the path.
    along = air.wind_east_m_per_s * east + air.wind_north_m_per_s * north
    slow = 1.0 / (speed + along)
    lag = distance * slow**2
    gradient = np.stack(
        [
            -east * slow + slow**2 * (air.wind_east_m_per_s - along * east),
            -north * slow + slow**2 * (air.wind_north_m_per_s - along * north),
            -up * slow - slow**2 * along * up,
            -lag,
            -lag * east,
            -lag * north,
            np.ones_like(lag),
        ],
        axis=-1,
    )
    survey = (sigmas[..., 0] ** 2 * (1.0 - up**2) + (sigmas[..., 1] * up) ** 2) / speed**2
    variance = timing.pick_sigma_s**2 + timing.path_sigma_s**2 + survey + sigmas[..., 2] ** 2
    products = gradient[..., _PAIRS[0]] * gradient[..., _PAIRS[1]] / variance[..., None]
    # A sigma of nought would divide by nought; a centimetre and a millimetre a second are nought enough.
    wind = max(air.wind_sigma_m_per_s, 0.001)
    common = [max(air.sound_speed_sigma_m_per_s, 0.001), wind, wind, math.inf]
    known = np.column_stack([np.maximum(source_sigmas_m, 0.01), np.tile(common, (len(sources), 1))])
    return Geometry(products, 1.0 / known**2)


def axes(information: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviations along the major and the minor axis, m, (..., 2); infinite where nothing is known.

    Parameters
    ----------
    information : (..., 2, 2) float64
        1 / m^2.
    """
    ee, en, nn = information[..., 0, 0], information[..., 0, 1], information[..., 1, 1]
    middle, half = 0.5 * (ee + nn), np.hypot(0.5 * (ee - nn), en)
    # The smaller eigenvalue by the determinant: the difference would lose its digits on a thin ellipse.
    large = middle + half
    small = np.divide(ee * nn - en**2, large, out=np.zeros_like(large), where=large > 0.0)
    with np.errstate(divide="ignore"):
        # Rounding leaves a billionth of what is known about the other axis.
        sharp = np.stack([np.where(small > 1e-9 * large, small, 0.0), large], axis=-1)
        result: NDArray[np.float64] = 1.0 / np.sqrt(np.maximum(sharp, 0.0))
    return result
