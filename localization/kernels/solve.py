"""The most probable place of one bang: Gauss-Newton over place, height, air and discharge, robust to late arrivals.

Parameters of the bang, in this order: east, north, up (m), sound speed (m/s), wind east and north (m/s), discharge (s).
Height, speed and wind carry priors; place and time do not.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

N = 7  # parameters
DISCHARGE = 6
FIRST_PRIOR, LAST_PRIOR = 2, 5
ROOT_TWO_PI = 2.5066282746310002
UNPHYSICAL = 1e18
NOWHERE = np.array([1.0, 0.5, 0.5, 1.0])  # any late density: it pulls nowhere where only the matrix is wanted


Floats = NDArray[np.float64]


@njit(cache=True, nogil=True)
def late_density(residual: float, late: Floats) -> float:
    """Density (1/s) of a residual (s) that is no direct sound.

    Mostly late: it falls with scale `late[0]` (s) behind the direct sound, and so fast before it that a share of
    `late[1]` lies behind; continuous, since a jump at nought would hold fast every start that fits three arrivals
    exactly. A share of `late[2]` strays to both sides with scale `late[3]` (s): picks of something else.
    """
    late_scale = late[0] if residual >= 0.0 else late[0] * (1.0 - late[1]) / late[1]
    near = late[1] / late[0] * math.exp(-min(abs(residual) / late_scale, 700.0))
    stray = 0.5 / late[3] * math.exp(-min(abs(residual) / late[3], 700.0))
    return (1.0 - late[2]) * near + late[2] * stray


@njit(cache=True, nogil=True)
def late_slope(residual: float, late: Floats) -> float:
    """Minus the derivative of the logarithm of `late_density`, 1/s."""
    late_scale = late[0] if residual >= 0.0 else late[0] * (1.0 - late[1]) / late[1]
    near = (1.0 - late[2]) * late[1] / late[0] * math.exp(-min(abs(residual) / late_scale, 700.0))
    stray = late[2] * 0.5 / late[3] * math.exp(-min(abs(residual) / late[3], 700.0))
    slope = (near / late_scale + stray / late[3]) / (near + stray)
    return slope if residual >= 0.0 else -slope


@njit(cache=True, nogil=True)
def predict(sensor: Floats, p: Floats, gradient: Floats) -> float:
    """Arrival (s) at one sensor (3,), and its derivatives by the parameters into `gradient` (7,)."""
    dx, dy, dz = sensor[0] - p[0], sensor[1] - p[1], sensor[2] - p[2]
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    if distance < 1e-9:
        distance = 1e-9
    ux, uy, uz = dx / distance, dy / distance, dz / distance
    speed = p[3] + p[4] * ux + p[5] * uy
    slow = 1.0 / speed
    lag = distance * slow * slow
    along = p[4] * ux + p[5] * uy
    # Moving the source turns the path, and with it the share of the wind: d(speed)/dx = -(we - along ux) / distance.
    gradient[0] = -ux * slow + lag * (p[4] - along * ux) / distance
    gradient[1] = -uy * slow + lag * (p[5] - along * uy) / distance
    gradient[2] = -uz * slow - lag * along * uz / distance
    gradient[3] = -lag
    gradient[4] = -lag * ux
    gradient[5] = -lag * uy
    gradient[6] = 1.0
    return p[DISCHARGE] + distance * slow


@njit(cache=True, nogil=True)
def cholesky_solve(matrix: Floats, vector: Floats, size: int) -> bool:
    """Solve a positive definite system in place: `matrix` becomes its factor, `vector` the solution. False if not."""
    for j in range(size):
        total = matrix[j, j]
        for k in range(j):
            total -= matrix[j, k] * matrix[j, k]
        if not total > 0.0:
            return False
        root = math.sqrt(total)
        matrix[j, j] = root
        for i in range(j + 1, size):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = total / root
    for i in range(size):
        total = vector[i]
        for k in range(i):
            total -= matrix[i, k] * vector[k]
        vector[i] = total / matrix[i, i]
    for i in range(size - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, size):
            total -= matrix[k, i] * vector[k]
        vector[i] = total / matrix[i, i]
    return True


@njit(cache=True, nogil=True)
def log_posterior(
    sensors: Floats,
    times: Floats,
    sigmas: Floats,
    outlier: Floats,
    prior: Floats,
    prior_sigma: Floats,
    late: Floats,
    p: Floats,
    residuals: Floats,
    weights: Floats,
) -> float:
    """Log posterior density of the parameters, up to a constant; fills residuals (s) and P(direct) of each arrival.

    Each arrival is direct with probability 1 - outlier and then Gaussian, or else as `late_density` says.
    """
    gradient = np.empty(N)
    total = 0.0
    for i in range(len(times)):
        r = times[i] - predict(sensors[i], p, gradient)
        z = r / sigmas[i]
        direct = (1.0 - outlier[i]) * math.exp(-0.5 * min(z * z, 1400.0)) / (ROOT_TWO_PI * sigmas[i])
        other = outlier[i] * late_density(r, late)
        total += math.log(max(direct + other, 1e-300))
        residuals[i] = r
        weights[i] = direct / (direct + other) if direct + other > 0.0 else 0.0
    for k in range(FIRST_PRIOR, LAST_PRIOR + 1):
        z = (p[k] - prior[k]) / prior_sigma[k]
        total -= 0.5 * z * z
    return total


@njit(cache=True, nogil=True)
def normal_equations(
    sensors: Floats,
    sigmas: Floats,
    residuals: Floats,
    weights: Floats,
    prior: Floats,
    prior_sigma: Floats,
    late: Floats,
    p: Floats,
    hessian: Floats,
    step: Floats,
) -> None:
    """Gauss-Newton matrix (7, 7) of the direct arrivals and the priors, and the gradient (7,) of the log posterior."""
    gradient = np.empty(N)
    hessian[:] = 0.0
    step[:] = 0.0
    for i in range(len(residuals)):
        predict(sensors[i], p, gradient)
        w = weights[i] / (sigmas[i] * sigmas[i])
        pull = w * residuals[i] + (1.0 - weights[i]) * late_slope(residuals[i], late)
        for a in range(N):
            step[a] += gradient[a] * pull
            for b in range(a + 1):
                hessian[a, b] += w * gradient[a] * gradient[b]
    for k in range(FIRST_PRIOR, LAST_PRIOR + 1):
        w = 1.0 / (prior_sigma[k] * prior_sigma[k])
        hessian[k, k] += w
        step[k] += w * (prior[k] - p[k])
    for a in range(N):
        for b in range(a):
            hessian[b, a] = hessian[a, b]


@njit(cache=True, nogil=True)
def climb(
    sensors: Floats,
    times: Floats,
    sigmas: Floats,
    outlier: Floats,
    prior: Floats,
    prior_sigma: Floats,
    late: Floats,
    p: Floats,
    residuals: Floats,
    weights: Floats,
    most_steps: int,
) -> float:
    """Climb from `p` to the nearest maximum of the posterior, changing `p`; returns the log posterior there.

    Each step is one of Levenberg and Marquardt, along the posterior's own gradient, with the curvature of the arrivals
    as far as they are direct; a step that does not climb is refused and shortened.
    """
    hessian, factor = np.empty((N, N)), np.empty((N, N))
    step, trial = np.empty(N), np.empty(N)
    r2, w2 = np.empty(len(times)), np.empty(len(times))
    best = log_posterior(sensors, times, sigmas, outlier, prior, prior_sigma, late, p, residuals, weights)
    damping = 1e-6
    for _ in range(most_steps):
        normal_equations(sensors, sigmas, residuals, weights, prior, prior_sigma, late, p, hessian, step)
        factor[:] = hessian
        for k in range(N):
            # A floor for the undamped: an arrival without weight must not leave the matrix singular.
            factor[k, k] += damping * hessian[k, k] + 1e-12
        if not cholesky_solve(factor, step, N):
            damping = max(damping * 10.0, 1e-6)
            if damping > 1e6:
                break
            continue
        for k in range(N):
            trial[k] = p[k] + step[k]
        if trial[3] < 200.0 or abs(trial[0]) > UNPHYSICAL or abs(trial[1]) > UNPHYSICAL:
            damping = max(damping * 10.0, 1e-6)
            if damping > 1e6:
                break
            continue
        value = log_posterior(sensors, times, sigmas, outlier, prior, prior_sigma, late, trial, r2, w2)
        if value >= best - 1e-12:
            moved = math.sqrt(step[0] * step[0] + step[1] * step[1])
            gained = value - best
            p[:] = trial
            residuals[:] = r2
            weights[:] = w2
            best = max(best, value)
            damping = max(damping * 0.1, 1e-9)
            if moved < 1e-7 and gained < 1e-9:
                break
        else:
            damping = max(damping * 10.0, 1e-6)
            if damping > 1e6:
                break
    return best


@njit(cache=True, nogil=True)
def place_covariance(
    sensors: Floats, sigmas: Floats, weights: Floats, prior_sigma: Floats, p: Floats, out: Floats
) -> bool:
    """Covariance (3, 3) of east, north (m) and discharge (s), the nuisances marginalised. False where undetermined."""
    n = len(weights)
    hessian, factor, column = np.empty((N, N)), np.empty((N, N)), np.empty(N)
    normal_equations(sensors, sigmas, np.zeros(n), weights, p, prior_sigma, NOWHERE, p, hessian, column)
    # Scaled to unit diagonal, since seconds and metres differ by orders.
    scale = np.empty(N)
    for k in range(N):
        if not hessian[k, k] > 0.0:
            return False
        scale[k] = 1.0 / math.sqrt(hessian[k, k])
    chosen = (0, 1, DISCHARGE)
    for a in range(3):
        for i in range(N):
            column[i] = 0.0
            for j in range(N):
                factor[i, j] = hessian[i, j] * scale[i] * scale[j]
            factor[i, i] += 1e-13
        column[chosen[a]] = 1.0
        if not cholesky_solve(factor, column, N):
            return False
        for b in range(3):
            out[b, a] = column[chosen[b]] * scale[chosen[b]] * scale[chosen[a]]
    return True
