"""One bang at eight sensors: plain and robust places with their covariances, ours beside scipy's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit
from scipy.optimize import least_squares

from benchmarks.accuracy.arrays import SPEED, Bang, bangs
from localization import solver_kernels as kernels
from localization.street import Street

BANGS = 500
THEIRS = 150  # of the same, since they take longer
REPEATS = 7
NOISE_S = 0.001


def measure(_data: Path | None) -> str:
    clean, echoing = (list(bangs(8, BANGS, seed=1, echoes=share)) for share in (0.0, 0.2))
    many = list(bangs(31, BANGS, seed=2, echoes=0.2))
    rows = [
        "| task | ours, us | rival, its best configuration | us | ratio: least, median, greatest |",
        "|---|---|---|---|---|",
        _row("plain, 8 sensors, with covariance, batch", _plain(clean), {
            "scipy MINPACK, given derivatives, from the middle": _scipy(clean, "lm", closed_form=False),
            "scipy MINPACK, given derivatives, from our closed form": _scipy(clean, "lm", closed_form=True),
        }),
        _row("plain, beside least squares of differences, derivatives by differences (OpenSoundscape's way)",
             _plain(clean), {"scipy trf": _differences(clean)}),
        _row("robust, 8 sensors, a fifth of them echoes: flags, region, second mode", _robust(echoing), {
            "scipy soft_l1, given derivatives, from our closed form": _scipy(echoing, "soft_l1", closed_form=True),
            "scipy soft_l1, given derivatives, from the middle": _scipy(echoing, "soft_l1", closed_form=False),
        }),
        _row("the same with speed and wind as nuisances", _robust(echoing, air=True), {}),
        _row("the same with the paths' sigma unknown too", _robust(echoing, air=True, paths=True), {}),
        _row("robust, 31 sensors", _robust(many), {}),
    ]  # fmt: skip
    return (
        f"One thread, processor time, {BANGS} bangs in 100 arrays of 1 km, {1000 * NOISE_S:.0f} ms; "
        f"{REPEATS} rounds in turn.\n\n" + "\n".join(rows)
    )


Timed = Callable[[], float]


def _row(task: str, ours: Timed, rivals: dict[str, Timed]) -> str:
    if not rivals:
        return f"| {task} | {1e6 * statistics.median(ours() for _ in range(REPEATS)):.2f} | | | |"
    best = min(rivals, key=lambda name: rivals[name]())
    mine, theirs = [], []
    for _ in range(REPEATS):  # in turn, so that both see the same machine
        mine.append(ours())
        theirs.append(rivals[best]())
    ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
    return (
        f"| {task} | {1e6 * statistics.median(mine):.2f} | {best} | {1e6 * statistics.median(theirs):.0f} | "
        f"{min(ratios):.0f}, {statistics.median(ratios):.0f}, {max(ratios):.0f} |"
    )


def _plain(heard: list[Bang]) -> Timed:
    arrays = [(np.ascontiguousarray(b.sensors - b.sensors.mean(axis=0)), b.times[None]) for b in heard]
    sensors, times = np.array([a for a, _ in arrays]), np.array([t for _, t in arrays])
    n = len(heard[0].times)
    rest = np.full(n, NOISE_S**2), PRIOR, np.empty((1, 3)), np.empty((1, 3, 3)), np.empty(1, np.bool_)
    _plain_loop(1, sensors, times, *rest)  # compiled before the clock runs

    def run() -> float:
        began = time.process_time()
        _plain_loop(20, sensors, times, *rest)
        return (time.process_time() - began) / len(heard) / 20

    return run


@njit
def _plain_loop(rounds, sensors, times, squares, prior, places, covariances, good):
    for _ in range(rounds):
        for k in range(len(times)):
            kernels.locate_clean(sensors[k], times[k], squares, prior, places, covariances, good)


PRIOR = np.array([0.0, 0.0, 0.0, SPEED, 0.0, 0.0, 0.0])
SCALES = np.array([[0.0, 1.0]])


def _robust(heard: list[Bang], *, air: bool = False, paths: bool = False) -> Timed:
    street, n, most = Street(), len(heard[0].times), 24
    sensors = np.array([np.ascontiguousarray(b.sensors - b.sensors.mean(axis=0)) for b in heard])
    times = np.array([b.times - b.times.min() for b in heard])
    unknown = (0.0, 1.5, 2.0, 2.0) if air else (0.0, 0.0, 0.0, 0.0)
    rest = (
        np.full(n, NOISE_S), np.zeros((n, 2)), np.full(n, 0.1), PRIOR, np.array([np.inf, np.inf, *unknown, np.inf]),
        street.lateness(), np.array([0.95, 900.0]), np.array([0.0, street.path_sigma_s] if paths else [0.0]),
        np.array(street.path_scales) if paths else SCALES, 0.95, np.empty((most, 7)), np.empty(most),
        np.empty((most, 3, 3)), np.empty((most, n)), np.empty((most, n)), np.empty(most, np.int64), np.empty((most, 3)),
    )  # fmt: skip
    _robust_loop(1, sensors, times, *rest)

    def run() -> float:
        began = time.process_time()
        _robust_loop(3, sensors, times, *rest)
        return (time.process_time() - began) / len(heard) / 3

    return run


@njit
def _robust_loop(rounds, sensors, times, known, survey, outlier, prior, prior_sigma, late, hearing, gates, scales,
                 confidence, places, masses, covariances, residuals, weights, chosen, scale):  # fmt: skip
    for _ in range(rounds):
        for k in range(len(times)):
            kernels.place_bang(
                sensors[k], times[k], known, survey, outlier, prior, prior_sigma, late, hearing, gates, scales,
                confidence, places, masses, covariances, residuals, weights, chosen, scale,
            )  # fmt: skip


def _scipy(heard: list[Bang], loss: str, *, closed_form: bool) -> Timed:
    heard = heard[:THEIRS]
    starts = []
    for b in heard:
        out, order = np.empty((2, 3)), np.argsort(b.times)
        found = kernels.spheres(b.sensors, b.times, order, len(b.times), 0.0, SPEED, 0.0, 0.0, out)
        middle = np.array([*b.sensors.mean(axis=0)[:2], float(b.times.min())])
        starts.append(out[0].copy() if closed_form and found else middle)

    def run() -> float:
        began = time.process_time()
        for b, start in zip(heard, starts, strict=True):
            solved(b, start, loss)
        return (time.process_time() - began) / len(heard)

    return run


def solved(bang: Bang, start: np.ndarray, loss: str) -> np.ndarray:
    """East, north and discharge by scipy: loss "lm" for MINPACK."""
    plane, times = bang.sensors[:, :2], bang.times

    def misfits(p):
        return (np.hypot(plane[:, 0] - p[0], plane[:, 1] - p[1]) / SPEED + p[2] - times) / NOISE_S

    def derivatives(p):
        rays = p[:2] - plane
        ranges = np.hypot(rays[:, 0], rays[:, 1])
        return np.column_stack([rays / ranges[:, None] / SPEED, np.ones(len(times))]) / NOISE_S

    if loss == "lm":
        return least_squares(misfits, start, jac=derivatives, method="lm").x
    return least_squares(misfits, start, jac=derivatives, loss=loss, x_scale=[100.0, 100.0, 0.1]).x


def _differences(heard: list[Bang]) -> Timed:
    heard = heard[:THEIRS]

    def run() -> float:
        began = time.process_time()
        for b in heard:
            plane, delays = b.sensors[:, :2], b.times[1:] - b.times[0]

            def misfits(p, plane=plane, delays=delays):
                ranges = np.hypot(plane[:, 0] - p[0], plane[:, 1] - p[1])
                return (ranges[1:] - ranges[0]) / SPEED - delays

            least_squares(misfits, plane.mean(axis=0))
        return (time.process_time() - began) / len(heard)

    return run
