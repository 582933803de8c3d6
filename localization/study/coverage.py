"""Coverage: where a network hears shots, how well it could place them, and on which sensors that hangs."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.air import Air
from localization.study.chance import child
from localization.study.hearing import Ear, counts, just
from localization.study.sharpness import CHI_SQUARE, Timing, axes, geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from localization.study.scene import Scene

AT_LEAST: Final = (3, 4, 6)  # sensors: a place, a place that is checked, a place that is sure
FIX_NEEDS: Final = 4  # three fit some place always, and two of them half of the time
WELL_HEARD: Final = 0.9
MARGIN_M: Final = 300.0
CELLS_ACROSS: Final = 50  # of the longer side, where nobody says how large cells are
MOST_CELLS: Final = 100_000
MOST_COUNTED_SENSORS: Final = 150  # best placed ones of a cell; of the rest hardly one hears what they do not
MOST_PLACED_BY: Final = 64  # the same for how well it is placed
DRAWS: Final = 96  # shots a cell, of which those that enough sensors hear are placed
LEAST_PLACED: Final = 8  # of them, below which nothing is said of how well
ERRORS: Final = 8  # errors drawn for each of these shots
CHUNK: Final = 100  # cells at once: bounded memory
SEED: Final = 4


class CoverageError(ValueError):
    """What was asked for cannot be computed; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Square cells, ``columns`` by ``rows``, counted from the south-western corner eastwards and then northwards."""

    west_m: float
    south_m: float
    cell_m: float
    columns: int
    rows: int

    def __len__(self) -> int:
        return self.columns * self.rows

    def centres(self) -> NDArray[np.float64]:
        """East and north of the middle of each cell, (C, 2) m."""
        east = self.west_m + self.cell_m * (np.arange(self.columns) + 0.5)
        north = self.south_m + self.cell_m * (np.arange(self.rows) + 0.5)
        return np.column_stack([np.tile(east, self.rows), np.repeat(north, self.columns)])

    def picture(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the cells as (rows, columns), southernmost row first."""
        return values.reshape(self.rows, self.columns)


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """What hangs on one sensor: by how much things fall, over the hull, where it is lost.

    ``loss_p_detect_4`` is the mean fall of the probability that four sensors hear a shot, ``loss_share_90`` that of
    the area in which it is 0.9 or more.
    """

    sensor_id: str
    loss_p_detect_4: float
    loss_share_90: float


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """What a network hears and how well it could place it, cell by cell.

    Parameters
    ----------
    scene : Scene
        The network, its frame and its ground.
    air : Air
        The air it was computed for.
    ear, timing : Ear, Timing
        What was assumed.
    down : tuple of str
        Sensors that do not listen.
    grid : Grid
        The cells.
    inside : (C,) bool
        Whether the middle of the cell lies within the hull of all sensors, those down included.
    heard_by : (C,) float64
        Mean number of sensors that report a shot.
    p_detect : (C, 3) float64
        Probability that at least 3, 4 and 6 do.
    semi_major_m, radius_m : (C,) float64
        Of the 95 % region of a shot that four sensors or more heard: its longer half axis, and the radius of the
        circle of equal area. Half of such shots do better. NaN where hardly a shot is heard by four.
    error_95_m : (C,) float64
        Of such shots 95 % are placed within this distance of the truth.
    links : tuple of Link
        Every sensor that listens, the one whose loss hurts most first.
    """

    scene: Scene
    air: Air
    ear: Ear
    timing: Timing
    down: tuple[str, ...]
    grid: Grid
    inside: NDArray[np.bool_]
    heard_by: NDArray[np.float64]
    p_detect: NDArray[np.float64]
    semi_major_m: NDArray[np.float64]
    radius_m: NDArray[np.float64]
    error_95_m: NDArray[np.float64]
    links: tuple[Link, ...]

    def p_at_least(self, count: int) -> NDArray[np.float64]:
        """Probability that 3, 4 or 6 sensors report a shot, (C,)."""
        return self.p_detect[:, AT_LEAST.index(count)]

    def share_of_hull(self, which: NDArray[np.bool_]) -> float | None:
        """Share of the hull's area for which something holds; None of a hull without a cell."""
        return float(np.mean(which[self.inside])) if np.any(self.inside) else None


@dataclass(slots=True)
class _Sums:
    """What the chunks of a map add up to."""

    heard_by: list[NDArray[np.float64]] = field(default_factory=list)
    p_detect: list[NDArray[np.float64]] = field(default_factory=list)
    sizes: list[NDArray[np.float64]] = field(default_factory=list)


def coverage(
    scene: Scene,
    *,
    cell_m: float | None = None,
    margin_m: float = MARGIN_M,
    down: Collection[str] = (),
    air: Air | None = None,
    ear: Ear | None = None,
    timing: Timing | None = None,
) -> Coverage:
    """Where a network hears shots, and how well it could place them.

    Parameters
    ----------
    scene : Scene
        Sensors with what is known of them, frame, air, and the ground or the height at which shots are looked for.
    cell_m : float or None
        Side of a cell; None for a round number that makes some 50 of the longer side.
    margin_m : float
        How far beyond the sensors the map reaches.
    down : collection of str
        Sensors that do not listen.
    air, ear, timing
        What is assumed; None for the scene's air and the usual.

    Raises
    ------
    CoverageError
        When a sensor is unknown, when none is left, or when there would be more than 100,000 cells.

    Notes
    -----
    Hearing: each sensor hears independently of the others once the shot's own loudness is given; that is integrated
    over with 21 nodes of Gauss and Hermite, the number of hearers is Poisson-binomial. Placing: `DRAWS` shots of
    stratified loudness, the same for every cell; whoever hears one brings its information (as
    `localization.solver_kernels.predict` has it), with height, temperature and wind as nuisances, and the plain
    chi-square of two degrees, 2.448 sigma. An alert's own region is wider with few sensors, since it estimates its
    scale. Left out: echoes taken for direct sound, second modes, and what wind does to audibility.
    """
    air, ear, timing = air or scene.air, ear or Ear(), timing or Timing()
    sites = scene.network.sites
    unknown = sorted(set(down) - {site.sensor_id for site in sites})
    if unknown:
        raise CoverageError(f"sensor {unknown[0]!r} is not in the network; its ids are in sensors.csv")
    up = np.array([site.sensor_id not in down for site in sites])
    if not np.any(up):
        raise CoverageError("every sensor is down: nothing is heard anywhere")
    everywhere = scene.frame.local([site.position for site in sites])
    grid = _grid(everywhere, cell_m, margin_m)
    inside = _inside(everywhere[:, :2], grid.centres())
    work = _Network(scene, np.flatnonzero(up), everywhere[up], air, ear, timing)
    sums, falls = _Sums(), np.zeros((2, int(np.sum(up))))
    for start in range(0, len(grid), CHUNK):
        chunk = slice(start, min(start + CHUNK, len(grid)))
        work.add(grid.centres()[chunk], inside[chunk], sums, falls)
    sizes = np.concatenate(sums.sizes)
    return Coverage(
        scene=scene,
        air=air,
        ear=ear,
        timing=timing,
        down=tuple(sorted(set(down))),
        grid=grid,
        inside=inside,
        heard_by=np.concatenate(sums.heard_by),
        p_detect=np.concatenate(sums.p_detect),
        semi_major_m=sizes[:, 0],
        radius_m=sizes[:, 1],
        error_95_m=sizes[:, 2],
        links=_links([sites[k].sensor_id for k in np.flatnonzero(up)], falls / max(int(np.sum(inside)), 1)),
    )


class _Network:
    """The sensors that listen, as arrays, and the shots that are drawn."""

    def __init__(
        self, scene: Scene, rows: NDArray[np.int64], sensors: NDArray[np.float64], air: Air, ear: Ear, timing: Timing
    ) -> None:
        sites = [scene.network.sites[k] for k in rows]
        self.scene, self.sensors, self.air, self.ear, self.timing = scene, sensors, air, ear, timing
        self.sigmas = np.array([(s.position_sigma_m, s.up_sigma_m, s.clock_sigma_s) for s in sites])
        self.floors = np.array([scene.noise_floors_db_spl.get(s.sensor_id, math.nan) for s in sites])
        self.excess_db, self.chances, self.errors = _shots(ear, min(len(sites), MOST_PLACED_BY))

    def add(
        self, places: NDArray[np.float64], inside: NDArray[np.bool_], sums: _Sums, falls: NDArray[np.float64]
    ) -> None:
        """Map some cells, and add up what hangs on each sensor."""
        sources, source_sigmas = _sources(self.scene, places)
        distances = np.linalg.norm(sources[:, None, :] - self.sensors, axis=-1)
        margins = self.ear.margin_db(distances, self.floors)
        # Best placed first: so that few are left out, and that a mirrored place meets the same chances.
        order = np.argsort(-margins, axis=1, kind="stable")[:, :MOST_COUNTED_SENSORS]
        margins = np.take_along_axis(margins, order, axis=1)
        loudness, weights = self.ear.loudness()
        shares = self.ear.share(margins[:, None, :] + loudness[:, None])
        heard = counts(shares)
        sums.heard_by.append(weights @ np.sum(shares, axis=-1).T)
        sums.p_detect.append(np.stack([np.sum(heard[..., n:], axis=-1) @ weights for n in AT_LEAST], axis=-1))
        without = np.einsum("cqs,q->cs", shares * just(FIX_NEEDS - 1, shares, heard), weights)
        well = sums.p_detect[-1][:, AT_LEAST.index(FIX_NEEDS), None]
        lost = (well >= WELL_HEARD) & (well - without < WELL_HEARD)
        for row, fall in enumerate((without, lost)):
            falls[row] += np.bincount(order[inside].ravel(), fall[inside].ravel(), minlength=len(self.sensors))
        sums.sizes.append(self._sizes(sources, source_sigmas, order[:, :MOST_PLACED_BY], margins))

    def _sizes(
        self,
        sources: NDArray[np.float64],
        source_sigmas: NDArray[np.float64],
        order: NDArray[np.int64],
        margins: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Semi-major axis, radius of equal area and the distance that holds 95 % of errors, (C, 3) m."""
        shares = self.ear.share(margins[:, None, : order.shape[1]] + self.excess_db[:, None])
        used = (self.chances < shares).astype(np.float64)
        seen = geometry(sources, source_sigmas, self.sensors[order], self.sigmas[order], self.air, self.timing)
        sigmas = axes(seen.information(used))
        placed = np.sum(used, axis=-1) >= FIX_NEEDS
        sigmas[~placed] = np.nan
        errors = np.sqrt(np.einsum("cka,kea->cke", sigmas[..., ::1] ** 2, self.errors**2)).reshape(len(sources), -1)
        radius = math.sqrt(CHI_SQUARE)
        result = np.full((len(sources), 3), np.nan)
        enough = np.sum(placed, axis=1) >= LEAST_PLACED
        if np.any(enough):
            result[enough] = np.column_stack(
                [
                    radius * _quantile(sigmas[enough, :, 0], 0.5),
                    radius * _quantile(np.sqrt(sigmas[enough, :, 0] * sigmas[enough, :, 1]), 0.5),
                    _quantile(errors[enough], 0.95),
                ]
            )
        return np.where(np.isfinite(result), result, np.nan)


def _shots(ear: Ear, sensors: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Loudness of the shots that are drawn (K,), the chance each sensor has with them (K, S), unit errors (K, E, 2).

    Stratified: each loudness and each chance stands for an equal share of shots (McKay, Beckman, Conover 1979).
    """
    from scipy.special import ndtri  # only who asks for coverage waits for it

    draw = child(SEED, "coverage")
    steps = (np.arange(DRAWS) + 0.5) / DRAWS
    chances = (np.stack([draw.permutation(DRAWS) for _ in range(sensors)], axis=-1) + 0.5) / DRAWS
    return ear.source_sigma_db * ndtri(steps), chances, draw.standard_normal((DRAWS, ERRORS, 2))


def _quantile(values: NDArray[np.float64], q: float) -> NDArray[np.float64]:
    """Quantile of each row's values that are numbers; infinite where it falls among the infinite."""
    ordered = np.sort(values, axis=1)  # what is no number comes last
    known = np.sum(~np.isnan(values), axis=1)
    at = q * (known - 1)
    below = np.floor(at).astype(np.int64)
    low = np.take_along_axis(ordered, below[:, None], axis=1)[:, 0]
    high = np.take_along_axis(ordered, np.minimum(below + 1, known - 1)[:, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore"):
        return np.where(low == high, low, low + (at - below) * (high - low))


def _sources(scene: Scene, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where shots of these cells are fired, (C, 3) m, and the sigma of their height."""
    if scene.ground is None:
        up, sigma = scene.source_up_m, scene.source_sigma_m
        return np.column_stack([places, np.full(len(places), up)]), np.full(len(places), sigma)
    heights = np.array([scene.ground.source(float(east), float(north)) for east, north in places])
    return np.column_stack([places, heights[:, 0]]), heights[:, 1]


def _grid(sensors: NDArray[np.float64], cell_m: float | None, margin_m: float) -> Grid:
    low, high = sensors[:, :2].min(axis=0) - margin_m, sensors[:, :2].max(axis=0) + margin_m
    cell = cell_m or _round(float(np.max(high - low)) / CELLS_ACROSS)
    counted = np.maximum(np.ceil((high - low) / cell - 1e-9), 1.0)
    if float(np.prod(counted)) > MOST_CELLS:
        least = _round(math.sqrt(float(np.prod(high - low)) / MOST_CELLS))
        raise CoverageError(f"cells of {cell:g} m make {np.prod(counted):,.0f} of them; take {least:g} m or more")
    # Centred, so that a symmetric network has a symmetric map.
    west, south = 0.5 * (low + high) - 0.5 * cell * counted
    return Grid(float(west), float(south), float(cell), int(counted[0]), int(counted[1]))


def _round(length_m: float) -> float:
    """The next of 1, 2, 2.5, 5, 10, 20, 25, 50, ... m."""
    power = 10.0 ** math.floor(math.log10(max(length_m, 1.0)))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= length_m * (1.0 - 1e-9))


def _inside(points: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which places (C, 2) lie within the convex hull of points (S, 2): no half plane through them holds all."""
    result = np.zeros(len(places), dtype=np.bool_)
    if len(points) < 3:
        return result
    for k, place in enumerate(places):
        offset = points - place
        angles = np.sort(np.arctan2(offset[:, 1], offset[:, 0]))
        result[k] = np.max(np.diff(angles, append=angles[0] + 2.0 * np.pi)) < np.pi - 1e-9
    return result


def _links(names: list[str], falls: NDArray[np.float64]) -> tuple[Link, ...]:
    links = [Link(name, float(fall), float(lost)) for name, fall, lost in zip(names, *falls, strict=True)]
    return tuple(sorted(links, key=lambda link: (-link.loss_p_detect_4, link.sensor_id)))
