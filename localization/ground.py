"""The ground: how high it lies below any place of the plane, and how surely; from it follows the height of a shot."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from localization.frame import Frame
from sensors.site import Geodetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOULDER_M: Final = 1.5  # above the ground: where shots are fired
POSTURE_SIGMA_M: Final = 0.5  # kneeling, standing, an arm held high
GROUND_SIGMA_M: Final = 3.0  # of a model whose makers say nothing: what 30 m rasters reach between houses


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Heights on a regular grid of points, bilinear in between.

    Parameters
    ----------
    heights_m : (rows, columns) float64
        Southernmost row first, westernmost column first; NaN where nothing is known. At least one height is known.
    west, south : float
        Where the first point lies: metres, or degrees of longitude and latitude.
    step_x, step_y : float
        From one point to the next, eastwards and northwards.

    Raises
    ------
    ValueError
        When it is no grid, or holds no height.
    """

    heights_m: NDArray[np.float64]
    west: float
    south: float
    step_x: float
    step_y: float
    known: NDArray[np.bool_] = field(init=False)
    """Which points have a height of their own; the others carry that of the nearest which does."""

    def __post_init__(self) -> None:
        heights = np.array(self.heights_m, dtype=np.float64)
        if heights.ndim != 2 or not heights.size:
            raise ValueError(f"heights_m is {heights.shape}: expected rows and columns")
        if not (0.0 < self.step_x < math.inf and 0.0 < self.step_y < math.inf):
            raise ValueError(f"steps are {self.step_x} and {self.step_y}: expected above 0")
        if not (math.isfinite(self.west) and math.isfinite(self.south)):
            raise ValueError(f"the first point lies at {self.west}, {self.south}: expected finite numbers")
        known = np.isfinite(heights)
        if not np.any(known):
            raise ValueError("no height is known: a ground model has one at least")
        heights = heights if np.all(known) else _filled(heights, known)
        for name, array in (("heights_m", heights), ("known", known)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Height at each place, m, and whether the grid knows it there.

        A place within half a step of the outermost points still belongs to the grid, and has the height of its edge.
        Farther out, and beside a point without a height, it is the nearest one's.
        """
        rows, columns = self.heights_m.shape
        column, row = (np.asarray(x) - self.west) / self.step_x, (np.asarray(y) - self.south) / self.step_y
        inside = (column >= -0.5) & (column <= columns - 0.5) & (row >= -0.5) & (row <= rows - 0.5)
        j, right = _cell(column, columns)
        i, upper = _cell(row, rows)
        height = np.zeros(np.broadcast(column, row).shape)
        for step_i, share_i in ((0, 1.0 - upper), (1, upper)):
            for step_j, share_j in ((0, 1.0 - right), (1, right)):
                k, m = np.minimum(i + step_i, rows - 1), np.minimum(j + step_j, columns - 1)
                share = share_i * share_j
                height += share * self.heights_m[k, m]
                inside = inside & (self.known[k, m] | (share == 0.0))
        return height, inside

    @property
    def spread_m(self) -> float:
        """Standard deviation of the heights that are known, m."""
        return float(np.std(self.heights_m[self.known]))


@dataclass(frozen=True, slots=True)
class Ground:
    """Height of the ground: one for everywhere, or a raster's.

    Parameters
    ----------
    level : float or Raster
        A height of the plane, m, the same for everywhere; or a raster of heights of the plane over its own east and
        north (``frame`` None), or over longitude and latitude with heights above the ellipsoid (``frame`` given).
    sigma_m : float
        Standard deviation of these heights.
    frame : Frame or None
        The plane that is laid over a raster in degrees.

    Raises
    ------
    ValueError
        When a value is out of range, or when a frame is given that is not tied to the Earth.
    """

    level: float | Raster
    sigma_m: float = GROUND_SIGMA_M
    frame: Frame | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.sigma_m <= 1e4:
            raise ValueError(f"sigma_m is {self.sigma_m}: expected 0 to 10000")
        if not isinstance(self.level, Raster) and not abs(self.level) <= 2e4:
            raise ValueError(f"the ground's height is {self.level}: expected metres")
        if self.frame is not None and (self.frame.origin is None or not isinstance(self.level, Raster)):
            raise ValueError("a frame belongs to a raster in degrees, and needs an origin")

    def height_m(self, east_m: float, north_m: float) -> float | None:
        """Height of the ground in the plane, m; None where the model does not reach."""
        up, known = self._at(east_m, north_m)
        return up if known else None

    def source(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Height of a shot fired from the ground at this place of the plane, and its standard deviation, m.

        A shoulder above the ground. Where the model does not reach, it is the height of its nearest point, and the
        heights' own scatter adds to the sigma; `height_m` tells the two apart. Sources in windows and on roofs are
        higher than this says.
        """
        up, known = self._at(east_m, north_m)
        beyond = 0.0 if known or not isinstance(self.level, Raster) else self.level.spread_m
        return up + SHOULDER_M, math.hypot(self.sigma_m, POSTURE_SIGMA_M, beyond)

    def fingerprint(self) -> str:
        """Everything it says, in one line: equal for equal models."""
        if not isinstance(self.level, Raster):
            return f"{self.level!r} {self.sigma_m!r} {self.frame!r}"
        raster = self.level
        digest = hashlib.sha256(raster.heights_m.tobytes() + raster.known.tobytes()).hexdigest()
        grid = (raster.heights_m.shape, raster.west, raster.south, raster.step_x, raster.step_y)
        return f"{digest} {grid!r} {self.sigma_m!r} {self.frame!r}"

    def _at(self, east_m: float, north_m: float) -> tuple[float, bool]:
        if not isinstance(self.level, Raster):
            return self.level, True
        if self.frame is None:
            height, known = self.level.at(np.array(east_m), np.array(north_m))
            return float(height), bool(known)
        return self._below_the_plane(self.level, self.frame, east_m, north_m)

    @staticmethod
    def _below_the_plane(raster: Raster, frame: Frame, east_m: float, north_m: float) -> tuple[float, bool]:
        """The ellipsoid's heights as heights of the plane: it curves away below it, d^2 / 2R."""
        up, known = 0.0, False
        # The vertical leans by d / R: from the plane down to the ground the place moves by millimetres a kilometre.
        for _ in range(2):
            place = frame.geodetic(east_m, north_m, up)
            if place is None:  # a frame of this record has an origin
                raise ValueError("this frame has no origin: degrees cannot be placed in it")
            # A raster that crosses the date line counts on eastwards from its west.
            turns = round((raster.west + 0.5 * raster.step_x * raster.heights_m.shape[1] - place.longitude_deg) / 360.0)
            longitude = place.longitude_deg + 360.0 * turns
            height, inside = raster.at(np.array(longitude), np.array(place.latitude_deg))
            known = bool(inside)
            up = float(frame.local([Geodetic(place.latitude_deg, place.longitude_deg, float(height))])[0, 2])
        return up, known


def _cell(position: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of positions along an axis of ``count`` points: the point below, and the share of the next one."""
    held = np.clip(position, 0.0, count - 1.0)
    below = np.minimum(np.floor(held).astype(np.int64), max(count - 2, 0))
    return below, held - below


def _filled(heights: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Heights with the nearest known one where none is known, counted in steps of the grid."""
    from scipy import ndimage  # only models with holes wait for it

    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    result: NDArray[np.float64] = heights[tuple(nearest)]
    return result
