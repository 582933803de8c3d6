"""Straight lines through moving air: travel times, and the places that three arrivals allow."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True, nogil=True)
def travel_time(dx: float, dy: float, dz: float, speed: float, wind_east: float, wind_north: float) -> float:
    """Seconds for sound to cross (dx, dy, dz) metres, source to sensor, at `speed` in air that moves with the wind."""
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    if distance == 0.0:
        return 0.0
    return distance / (speed + (wind_east * dx + wind_north * dy) / distance)


@njit(cache=True, nogil=True)
def three_arrivals(x: Floats, y: Floats, z: Floats, t: Floats, source_z: float, speed: float, out: Floats) -> int:
    """Places where a bang at height `source_z` reaches three sensors at the times given, in still air.

    Subtracting the first sphere from the others leaves two lines in the place and the range to the time's zero;
    putting them into the first sphere leaves a quadratic in that range (Bancroft 1985, in two dimensions).

    Parameters
    ----------
    x, y, z : (3,) float64, m
    t : (3,) float64, s
    source_z, speed : float, m and m/s
    out : (2, 3) float64
        Receives east (m), north (m) and discharge (s) of each solution.

    Returns
    -------
    int
        How many solutions there are: 0, 1 or 2. None where the sensors lie on a line.
    """
    ax, ay = x[1] - x[0], y[1] - y[0]
    bx, by = x[2] - x[0], y[2] - y[0]
    det = ax * by - ay * bx
    # A triangle thinner than a thousandth of its length tells nothing across it.
    longest = max(ax * ax + ay * ay, bx * bx + by * by)
    if abs(det) <= 1e-3 * longest:
        return 0
    # Times count from the first arrival, places from the first sensor: no digits are lost to large offsets.
    ra, rb = speed * (t[1] - t[0]), speed * (t[2] - t[0])
    h0, ha, hb = z[0] - source_z, z[1] - source_z, z[2] - source_z
    # With q the range to the first sensor: a.p = ka - ra q, b.p = kb - rb q.
    ka = 0.5 * (ax * ax + ay * ay + ha * ha - h0 * h0 - ra * ra)
    kb = 0.5 * (bx * bx + by * by + hb * hb - h0 * h0 - rb * rb)
    px, qx = (ka * by - kb * ay) / det, (rb * ay - ra * by) / det
    py, qy = (kb * ax - ka * bx) / det, (ra * bx - rb * ax) / det
    # |p|^2 + h0^2 = q^2
    a = qx * qx + qy * qy - 1.0
    b = px * qx + py * qy
    c = px * px + py * py + h0 * h0
    found = 0
    if abs(a) < 1e-12:
        roots = (-c / (2.0 * b), np.inf) if b != 0.0 else (np.inf, np.inf)
    else:
        disc = b * b - a * c
        if disc < 0.0:
            return 0
        # The stable form: no difference of near numbers.
        s = -(b + math.copysign(math.sqrt(disc), b))
        roots = (s / a, c / s if s != 0.0 else np.inf)
    for q in roots:
        if math.isfinite(q) and q >= 0.0 and q + ra >= 0.0 and q + rb >= 0.0:
            out[found, 0] = x[0] + px + qx * q
            out[found, 1] = y[0] + py + qy * q
            out[found, 2] = t[0] - q / speed
            found += 1
    return found
