"""The kernels of one bang: from the arrivals at its sensors to the places they allow, each with its covariance.

All that call each other stand in this file: numba's cache notices a change in the file of a function, not in those of
the functions it calls (decision 0002).

The parameters of a bang, in this order: east, north, up (m), sound speed (m/s), wind east and north (m/s), discharge
(s). Height, speed and wind carry priors; place and time do not. A parameter whose prior sigma is below `SURE` is known.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Dividing by nought gives infinity, as in numpy: what comes of it is looked at where it matters.
plain = njit(cache=True, nogil=True, error_model="numpy")

N = 7  # parameters
DISCHARGE = 6
FIRST_PRIOR, LAST_PRIOR = 2, 5
# Where no source is named, the numbers below were chosen on the simulated arrays of benchmarks/accuracy/bound.py and
# region.py: caps and cuts so that nothing true is passed over there, the crescent's so that regions outside hold 95 %.
SURE = 0.002  # m, or m/s: of no consequence anywhere
ROOT_TWO_PI = 2.5066282746310002
UNPHYSICAL_M = 1e7
SLOWEST = 200.0  # m/s
MOST_STEPS = 40
TRIPLES_OF = 10  # earliest sensors whose triples serve as starts: 120 of them
MOST_STARTS = 12
NEAR_START_M = 3.0
HOPELESS = 8.0  # log mass behind the best
LEAST_APART_M = 10.0
BENT = 0.03  # sigma over range beyond which a place outside is a crescent rather than an ellipse
OPEN = 0.6  # sigma of the range over the range from which on it is open
RANGE_POWER = 1.5
LEAST_INVERSE = 0.2  # no farther than five times the range of the maximum
ROUGH_M, FINE_M, EXACT_M = 0.03, 1e-4, 1e-6  # steps that end a climb
STRAY_S = 0.15  # half width of the time in which echoes and strays come
BEYOND_CHANCE = -11.0  # log probability of an agreement, among a hundred triples
AHEAD_CAP, BEHIND_CAP = 16.0, 7.0  # what one arrival can cost a start: early ones have few excuses

# Travel: straight lines through moving air.


@plain
def travel_time(dx: float, dy: float, dz: float, speed: float, wind_east: float, wind_north: float) -> float:
    """Seconds for sound to cross (dx, dy, dz) metres, source to sensor, at `speed` in air that moves with the wind."""
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    if distance == 0.0:
        return 0.0
    return distance / (speed + (wind_east * dx + wind_north * dy) / distance)


@plain
def predict(sensors: Floats, i: int, p: Floats, jacobian: Floats) -> float:
    """Arrival (s) at sensor i of (n, 3), and its derivatives by the parameters into row i of `jacobian` (n, 7)."""
    dx, dy, dz = sensors[i, 0] - p[0], sensors[i, 1] - p[1], sensors[i, 2] - p[2]
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    if distance < 1e-9:
        distance = 1e-9
    inverse = 1.0 / distance
    ux, uy, uz = dx * inverse, dy * inverse, dz * inverse
    along = p[4] * ux + p[5] * uy
    slow = 1.0 / (p[3] + along)
    lag = distance * slow * slow
    # Moving the source turns the path, and with it the share of the wind: d(speed)/dx = -(we - along ux) / distance.
    square = slow * slow
    jacobian[i, 0] = -ux * slow + square * (p[4] - along * ux)
    jacobian[i, 1] = -uy * slow + square * (p[5] - along * uy)
    jacobian[i, 2] = -uz * slow - square * along * uz
    jacobian[i, 3] = -lag
    jacobian[i, 4] = -lag * ux
    jacobian[i, 5] = -lag * uy
    jacobian[i, 6] = 1.0
    return p[DISCHARGE] + distance * slow


# Closed forms: spheres subtracted from one another leave lines in the place and in the range to the first sensor.


@plain
def spheres(
    sensors: Floats, times: Floats, rows: Ints, count: int, source_z: float, speed: float, wind_east: float,
    wind_north: float, out: Floats,
) -> int:  # fmt: skip
    """Places of a bang at height `source_z` from arrivals at `count` sensors, three or more: exact for exact times.

    With q the range to the first of them, each other one gives a.p = k - r q; least squares turns these into p as a
    function of q, and the first sphere into a quadratic in q (Bancroft 1985, in two dimensions; Schau and Robinson 1987
    for more sensors). In the air's own frame sound spreads as spheres and sensors move against the wind, so wind is
    exact here. Where noise leaves the quadratic without a root, its turning point is taken.

    Parameters
    ----------
    sensors : (n, 3) float64, m; times : (n,) float64, s; rows : (count,) int64, which of them, the first as origin
    source_z, speed, wind_east, wind_north : float, m and m/s
    out : (2, 3) float64
        Receives east (m), north (m) and discharge (s) of each solution.

    Returns
    -------
    int
        How many solutions there are: 0, 1 or 2. None where the sensors lie on a line.
    """
    first = rows[0]
    x0, y0, t0 = sensors[first, 0], sensors[first, 1], times[first]
    h0 = sensors[first, 2] - source_z
    xx, xy, yy, kx, ky, rx, ry = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for m in range(1, count):
        i = rows[m]
        later = times[i] - t0
        ax, ay = sensors[i, 0] - x0 - wind_east * later, sensors[i, 1] - y0 - wind_north * later
        h, r = sensors[i, 2] - source_z, speed * later
        k = 0.5 * (ax * ax + ay * ay + h * h - h0 * h0 - r * r)
        xx += ax * ax
        xy += ax * ay
        yy += ay * ay
        kx += ax * k
        ky += ay * k
        rx += ax * r
        ry += ay * r
    det = xx * yy - xy * xy
    # Sensors on a line thinner than a thousandth of its length tell nothing across it.
    if not det > 1e-6 * (xx + yy) * (xx + yy):
        return 0
    px, py = (kx * yy - ky * xy) / det, (ky * xx - kx * xy) / det
    qx, qy = -(rx * yy - ry * xy) / det, -(ry * xx - rx * xy) / det
    a = qx * qx + qy * qy - 1.0
    b = px * qx + py * qy
    c = px * px + py * py + h0 * h0
    disc = b * b - a * c
    found = 0
    if abs(a) < 1e-12:
        one, two = (-0.5 * c / b, math.inf) if b != 0.0 else (math.inf, math.inf)
    elif disc <= 0.0:
        one, two = -b / a, math.inf
    else:
        # The stable form: no difference of near numbers.
        s = -(b + math.copysign(math.sqrt(disc), b))
        one, two = s / a, (c / s if s != 0.0 else math.inf)
    for q in (one, two):
        if not (math.isfinite(q) and q >= 0.0):
            continue
        physical = True
        for m in range(1, count):
            # Exact arrivals cannot have a negative range; noisy ones may, by their noise.
            if count == 3 and q + speed * (times[rows[m]] - t0) < 0.0:
                physical = False
        if physical:
            out[found, 0] = x0 + px + qx * q - wind_east * q / speed
            out[found, 1] = y0 + py + qy * q - wind_north * q / speed
            out[found, 2] = t0 - q / speed
            found += 1
    return found


# Least squares at a known height, in known air.


@plain
def polish(
    sensors: Floats, times: Floats, squares: Floats, prior: Floats, blur: float, cut: float, steps: int, place: Floats,
    covariance: Floats,
) -> bool:  # fmt: skip
    """Least squares for a place at the prior's height, from a start near by: at most so many steps of Gauss and Newton.

    Arrivals whose squared residual over variance is beyond `cut` are left out. A step that makes the sum of squares
    larger is taken back and damped (Levenberg 1944, Marquardt 1963). Changes `place` (east, north, discharge); fills
    `covariance` (3, 3) of these with that at the last step but one. False where the arrivals do not determine it.
    """
    damping, e, n, t, least = 0.0, 0.0, 0.0, 0.0, math.inf
    for turn in range(steps + 1):
        a00, a01, a02, a11, a12, a22, b0, b1, b2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        total = 0.0
        for i in range(len(times)):
            dx, dy, dz = sensors[i, 0] - place[0], sensors[i, 1] - place[1], sensors[i, 2] - prior[2]
            distance = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
            ux, uy = dx / distance, dy / distance
            along = prior[4] * ux + prior[5] * uy
            slow = 1.0 / (prior[3] + along)
            travel = distance * slow
            r = times[i] - place[2] - travel
            w = 1.0 / (squares[i] + (blur * travel) ** 2)
            square = r * r * w
            total += min(square, cut)
            if square > cut:
                continue
            # As in `predict`: moving the source turns the path, and with it the share of the wind.
            je = slow * (slow * (prior[4] - along * ux) - ux)
            jn = slow * (slow * (prior[5] - along * uy) - uy)
            a00 += w * je * je
            a01 += w * je * jn
            a11 += w * jn * jn
            a02 += w * je
            a12 += w * jn
            a22 += w
            b0 += w * je * r
            b1 += w * jn * r
            b2 += w * r
        if not a22 > 0.0:
            return False
        if total > least * (1.0 + 1e-12) and damping < 1e6:
            place[0] -= e
            place[1] -= n
            place[2] -= t
            damping = max(10.0 * damping, 1e-3)
            least = math.inf
            continue
        if turn == steps:
            break
        least = total
        # The discharge eliminated: two unknowns are left.
        inverse = 1.0 / a22
        a00, a01, a11 = a00 - a02 * a02 * inverse, a01 - a02 * a12 * inverse, a11 - a12 * a12 * inverse
        c0, c1 = b0 - a02 * b2 * inverse, b1 - a12 * b2 * inverse
        det = a00 * a11 - a01 * a01
        if not det > 1e-12 * a00 * a11:
            return False
        covariance[0, 0], covariance[1, 1], covariance[0, 1] = a11 / det, a00 / det, -a01 / det
        f0, f1 = a02 * inverse, a12 * inverse
        covariance[0, 2] = -(f0 * covariance[0, 0] + f1 * covariance[0, 1])
        covariance[1, 2] = -(f0 * covariance[0, 1] + f1 * covariance[1, 1])
        covariance[2, 2] = inverse - f0 * covariance[0, 2] - f1 * covariance[1, 2]
        covariance[1, 0], covariance[2, 0], covariance[2, 1] = covariance[0, 1], covariance[0, 2], covariance[1, 2]
        if damping > 0.0:
            a00 *= 1.0 + damping
            a11 *= 1.0 + damping
            det = a00 * a11 - a01 * a01
        e, n = (a11 * c0 - a01 * c1) / det, (a00 * c1 - a01 * c0) / det
        t = b2 * inverse - f0 * e - f1 * n
        if not e * e + n * n < UNPHYSICAL_M * UNPHYSICAL_M:
            return False
        place[0] += e
        place[1] += n
        place[2] += t
        damping *= 0.1
        if e * e + n * n < EXACT_M * EXACT_M:
            break
    return True


@plain
def locate_clean(
    sensors: Floats, times: Floats, squares: Floats, prior: Floats, places: Floats, covariances: Floats, good: Bools
) -> None:
    """Least squares for many bangs that the same sensors heard, every arrival direct: closed form, then a few steps.

    Parameters
    ----------
    sensors : (n, 3) float64, m; times : (B, n) float64, s; squares : (n,) float64, s^2, variances of the arrivals
    prior : (7,) float64, of which height, sound speed and wind are taken as known
    places (B, 3), covariances (B, 3, 3) : float64
        Receive east, north (m) and discharge (s), and their covariance.
    good : (B,) bool
        Receives whether the arrivals determine the place.
    """
    n = len(sensors)
    order, out, costs = np.arange(n), np.empty((2, 3)), np.empty(2)
    for m in range(len(times)):
        found = spheres(sensors, times[m], order, n, prior[2], prior[3], prior[4], prior[5], out)
        good[m] = found > 0
        if found == 0:
            continue
        if found == 2:
            for k in range(2):
                costs[k] = squared_misfit(sensors, times[m], squares, prior, out[k])
        k = 1 if found == 2 and costs[1] < costs[0] else 0
        place = places[m]
        place[0], place[1], place[2] = out[k, 0], out[k, 1], out[k, 2]
        good[m] = polish(sensors, times[m], squares, prior, 0.0, math.inf, MOST_STEPS, place, covariances[m])


@plain
def squared_misfit(sensors: Floats, times: Floats, squares: Floats, prior: Floats, place: Floats) -> float:
    """Sum of squared residuals over variances of a place (east, north, discharge) at the prior's height."""
    total = 0.0
    for i in range(len(times)):
        dx, dy, dz = sensors[i, 0] - place[0], sensors[i, 1] - place[1], sensors[i, 2] - prior[2]
        distance = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
        r = times[i] - place[2] - distance / (prior[3] + (prior[4] * dx + prior[5] * dy) / distance)
        total += r * r / squares[i]
    return total


# The posterior of the parameters, robust to late arrivals.


@plain
def late_parts(residual: float, late: Floats) -> tuple[float, float]:
    """Density (1/s) of a residual (s) that is no direct sound, and minus the slope of its logarithm.

    Two double exponentials: one for sound that came round a corner, with scale `late[0]` (s) behind the direct sound
    and `late[1]` before it; one for echoes and strays, with `late[2]` and `late[3]`. `late[5]` and `late[6]` are their
    densities in the middle, shares included. Within `late[4]` (s) of nought everything is rounded: a kink there would
    hold fast every start that fits arrivals exactly.
    """
    rounded = math.sqrt(residual * residual + late[4] * late[4])
    behind, before = 0.5 * (rounded + residual), 0.5 * (rounded - residual)
    near = late[5] * math.exp(-min(behind / late[0] + before / late[1], 700.0))
    far = late[6] * math.exp(-min(behind / late[2] + before / late[3], 700.0))
    turn = 0.5 * residual / rounded
    total = near + far
    if not total > 0.0:
        return 0.0, (0.5 + turn) / late[2] - (0.5 - turn) / late[3]
    one = near * ((0.5 + turn) / late[0] - (0.5 - turn) / late[1])
    other = far * ((0.5 + turn) / late[2] - (0.5 - turn) / late[3])
    return total, (one + other) / total


@plain
def evaluate(
    sensors: Floats, times: Floats, sigmas: Floats, outlier: Floats, prior: Floats, prior_sigma: Floats, late: Floats,
    p: Floats, residuals: Floats, weights: Floats, pulls: Floats, jacobian: Floats,
) -> float:  # fmt: skip
    """Log posterior density of the parameters, up to a constant.

    Each arrival is direct with probability 1 - outlier and then Gaussian, or else as `late_parts` says. Fills residuals
    (s), P(direct), the slope of each arrival's log density by its prediction (1/s), and the derivatives (n, 7).
    """
    total, product = 0.0, 1.0
    for i in range(len(times)):
        r = times[i] - predict(sensors, i, p, jacobian)
        z = r / sigmas[i]
        direct = (1.0 - outlier[i]) / (ROOT_TWO_PI * sigmas[i])
        direct = direct * math.exp(-0.5 * z * z) if abs(z) < 37.0 else 0.0
        if outlier[i] > 0.0:
            density, slope = late_parts(r, late)
            other = outlier[i] * density
            both = direct + other
            w = direct / both if both > 0.0 else 0.0
            pulls[i] = w * z / sigmas[i] + (1.0 - w) * slope
        elif direct > 0.0:
            both, w = direct, 1.0
            pulls[i] = z / sigmas[i]
        else:  # certain to be direct, and hopeless: the logarithm goes on where the density ends
            both, w = 1e-300, 1.0
            total -= 0.5 * z * z - 690.0
            pulls[i] = z / sigmas[i]
        residuals[i] = r
        weights[i] = w
        product *= max(both, 1e-300)
        if product < 1e-150 or product > 1e150:
            total += math.log(max(product, 1e-300))
            product = 1.0
    total += math.log(product)
    for k in range(FIRST_PRIOR, LAST_PRIOR + 1):
        if prior_sigma[k] >= SURE:
            z = (p[k] - prior[k]) / prior_sigma[k]
            total -= 0.5 * z * z
    return total


@plain
def free_parameters(prior_sigma: Floats, free: Ints) -> int:
    """Which parameters are unknown, into `free` (7,): east, north and discharge first; returns how many."""
    free[0], free[1], free[2] = 0, 1, DISCHARGE
    count = 3
    for k in range(FIRST_PRIOR, LAST_PRIOR + 1):
        if prior_sigma[k] >= SURE:
            free[count] = k
            count += 1
    return count


@plain
def information(
    sigmas: Floats, weights: Floats, prior_sigma: Floats, jacobian: Floats, free: Ints, size: int, out: Floats
) -> None:
    """Fisher information of the direct arrivals and the priors, lower triangle, in the order of `free`."""
    for a in range(size):
        for b in range(a + 1):
            out[a, b] = 0.0
    for i in range(len(sigmas)):
        w = weights[i] / (sigmas[i] * sigmas[i])
        for a in range(size):
            wa = w * jacobian[i, free[a]]
            for b in range(a + 1):
                out[a, b] += wa * jacobian[i, free[b]]
    for a in range(3, size):
        out[a, a] += 1.0 / (prior_sigma[free[a]] * prior_sigma[free[a]])


@plain
def factorise(matrix: Floats, size: int) -> bool:
    """Cholesky factor of a matrix given by its lower triangle, in place. False where it is singular or worse."""
    for j in range(size):
        whole = matrix[j, j]
        total = whole
        for k in range(j):
            total -= matrix[j, k] * matrix[j, k]
        if not total > 1e-14 * whole:
            return False
        root = math.sqrt(total)
        matrix[j, j] = root
        for i in range(j + 1, size):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = total / root
    return True


@plain
def substitute(factor: Floats, vector: Floats, size: int) -> None:
    """Solve with a Cholesky factor, in place."""
    for i in range(size):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total / factor[i, i]
    for i in range(size - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, size):
            total -= factor[k, i] * vector[k]
        vector[i] = total / factor[i, i]


@plain
def ascend(
    sensors: Floats, times: Floats, sigmas: Floats, outlier: Floats, prior: Floats, prior_sigma: Floats, late: Floats,
    p: Floats, residuals: Floats, weights: Floats, jacobian: Floats, enough_m: float, most_steps: int,
) -> float:  # fmt: skip
    """Climb from `p` to the nearest maximum of the posterior, changing `p`; returns the log posterior there.

    Each step is Gauss and Newton's along the posterior's own gradient, with the curvature of the arrivals as far as
    they are direct; one that does not climb is refused and damped (Levenberg 1944, Marquardt 1963).
    """
    n = len(times)
    free = np.empty(N, np.int64)
    size = free_parameters(prior_sigma, free)
    square, line, row, j2 = np.empty((2, N, N)), np.empty((3, N)), np.empty((4, n)), np.empty((n, N))
    matrix, factor, gradient, step, trial = square[0], square[1], line[0], line[1], line[2]
    pulls, r2, w2, pulls2 = row[0], row[1], row[2], row[3]
    best = evaluate(sensors, times, sigmas, outlier, prior, prior_sigma, late, p, residuals, weights, pulls, jacobian)
    damping, fresh = 0.0, True
    for _ in range(most_steps):
        if fresh:
            information(sigmas, weights, prior_sigma, jacobian, free, size, matrix)
            for a in range(size):
                total = 0.0
                for i in range(n):
                    total += jacobian[i, free[a]] * pulls[i]
                if a >= 3:
                    total += (prior[free[a]] - p[free[a]]) / (prior_sigma[free[a]] * prior_sigma[free[a]])
                gradient[a] = total
        # Element by element here and below: assigning slices would compile the text of an error about shapes.
        for a in range(size):
            step[a] = gradient[a]
            for b in range(a):
                factor[a, b] = matrix[a, b]
            # A floor for the undamped: an arrival without weight must not leave the matrix singular.
            factor[a, a] = matrix[a, a] * (1.0 + damping) + 1e-12
        climbs, moved, value = factorise(factor, size), 0.0, 0.0
        if climbs:
            substitute(factor, step, size)
            for k in range(N):
                trial[k] = p[k]
            for a in range(size):
                trial[free[a]] += step[a]
            moved = math.sqrt(step[0] * step[0] + step[1] * step[1])
            climbs = trial[3] > SLOWEST and abs(trial[0]) < UNPHYSICAL_M and abs(trial[1]) < UNPHYSICAL_M
        if climbs:
            value = evaluate(sensors, times, sigmas, outlier, prior, prior_sigma, late, trial, r2, w2, pulls2, j2)
            climbs = value >= best - 1e-12
        fresh = climbs
        if climbs:
            gained, best = value - best, max(best, value)
            for k in range(N):
                p[k] = trial[k]
            for i in range(n):
                residuals[i], weights[i], pulls[i] = r2[i], w2[i], pulls2[i]
                for k in range(N):
                    jacobian[i, k] = j2[i, k]
            damping = 0.1 * damping if damping > 1e-8 else 0.0
            if moved < enough_m and gained < 1e-3:
                break
        else:
            damping = max(damping * 10.0, 1e-4)
            if damping > 1e6:
                break
    return best


@plain
def spread(sigmas: Floats, weights: Floats, prior_sigma: Floats, jacobian: Floats, covariance: Floats) -> float:
    """Covariance (3, 3) of east, north (m) and discharge (s), the nuisances marginalised; returns its log volume.

    That is half the logarithm of the determinant of the covariance of all free parameters: what Laplace's rule adds to
    the log posterior at a maximum to give the mass below it. Minus infinity where the place is undetermined.
    """
    free = np.empty(N, np.int64)
    size = free_parameters(prior_sigma, free)
    factor, column = np.empty((N, N)), np.empty(N)
    information(sigmas, weights, prior_sigma, jacobian, free, size, factor)
    if not factorise(factor, size):
        return -math.inf
    volume = 0.0
    for a in range(size):
        volume -= math.log(factor[a, a])
    for a in range(3):
        for b in range(size):
            column[b] = 1.0 if a == b else 0.0
        substitute(factor, column, size)
        for b in range(3):
            covariance[b, a] = column[b]
    return volume


# Starts: where a climb may begin, cheapest first by a truncated, one-sided cost.


@plain
def misfit(
    sensors: Floats, times: Floats, squares: Floats, prior: Floats, blur: float, half_range: float, place: Floats,
    costs: Floats,
) -> tuple[int, float, float]:  # fmt: skip
    """Costs of a start (east, north, discharge) for several assumptions about paths, into `costs` (G,).

    Squared residuals over variances, `squares` (G, n) s^2, cut off sooner for late arrivals than for early ones, which
    have few excuses; `blur` is what the air's sigma adds to each second of travel. Places from where nobody hears pay
    for it, as in `heard`: from far enough the air explains anything. Returns how many arrivals agree by the first
    assumption, the logarithm of how probable such agreement is by chance, and the sum of their squares over variances.
    """
    windy = prior[4] != 0.0 or prior[5] != 0.0
    gates, agree, chance, unheard, fit = len(squares), 0, 1.0, 1.0, 0.0
    # Divisions are what this costs: one for each arrival and assumption is left.
    slowness, per_range, share = 1.0 / prior[3], 1.0 / half_range, BEHIND_CAP / (STRAY_S * STRAY_S)
    for g in range(gates):
        costs[g] = 0.0
    for i in range(len(times)):
        dx, dy, dz = sensors[i, 0] - place[0], sensors[i, 1] - place[1], sensors[i, 2] - prior[2]
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        travel = distance * slowness
        if windy and distance > 0.0:
            travel = distance / (prior[3] + (prior[4] * dx + prior[5] * dy) / distance)
        ratio = distance * per_range
        unheard = min(unheard * (1.0 + ratio * ratio * ratio), 1e300)
        r = times[i] - place[2] - travel
        cap, square, air = BEHIND_CAP if r > 0.0 else AHEAD_CAP, r * r, (blur * travel) ** 2
        for g in range(gates):
            variance = squares[g, i] + air
            z = square / variance if square < cap * variance else cap
            costs[g] += z
            if g == 0 and square < BEHIND_CAP * variance:
                agree += 1
                fit += z
                chance *= min(1.0, share * variance)
    far = 2.0 * math.log(unheard)
    for g in range(gates):
        costs[g] += far
    if agree <= 3 or chance <= 0.0:
        return agree, 0.0 if agree <= 3 else -math.inf, fit
    # Three arrivals always agree, on average as well as any: the others' share of the product is chance.
    return agree, 0.5 * math.log(chance) * (agree - 3) / agree, fit


@plain
def agrees(sensors: Floats, times: Floats, squares: Floats, prior: Floats, blur: float, place: Floats, i: int) -> bool:
    """Whether arrival i agrees with a start, `squares` (n,) being the variances of arrivals, s^2."""
    dx, dy, dz = sensors[i, 0] - place[0], sensors[i, 1] - place[1], sensors[i, 2] - prior[2]
    distance = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    travel = distance / (prior[3] + (prior[4] * dx + prior[5] * dy) / distance)
    return (times[i] - place[2] - travel) ** 2 < BEHIND_CAP * (squares[i] + (blur * travel) ** 2)


@plain
def keep_start(starts: Floats, size: int, place: Floats, cost: float) -> int:
    """Put a start into the best of `starts` (K, 4); near ones count as one. Returns how many there are now."""
    worst = 0
    for k in range(size):
        if abs(starts[k, 0] - place[0]) < NEAR_START_M and abs(starts[k, 1] - place[1]) < NEAR_START_M:
            worst = k
            break
        if starts[k, 3] > starts[worst, 3]:
            worst = k
    else:
        if size < len(starts):
            worst = size
            size += 1
            starts[worst, 3] = math.inf
    if cost < starts[worst, 3]:
        starts[worst, 0], starts[worst, 1], starts[worst, 2], starts[worst, 3] = place[0], place[1], place[2], cost
    return size


@plain
def sort_starts(starts: Floats, size: int) -> None:
    """Cheapest first: few rows, insertion sort."""
    for i in range(1, size):
        a, b, c, d = starts[i, 0], starts[i, 1], starts[i, 2], starts[i, 3]
        j = i
        while j > 0 and starts[j - 1, 3] > d:
            for k in range(4):
                starts[j, k] = starts[j - 1, k]
            j -= 1
        starts[j, 0], starts[j, 1], starts[j, 2], starts[j, 3] = a, b, c, d


@plain
def find_starts(
    sensors: Floats, times: Floats, squares: Floats, prior: Floats, blur: float, half_range: float, starts: Floats,
    sizes: Ints,
) -> None:  # fmt: skip
    """Places to climb from for each assumption about paths, cheapest first.

    The closed form over all arrivals first, then those over triples of the earliest sensors: until more arrivals agree
    than could by chance, when only the mirror image in the array's long axis is a rival, or to the last triple. Fills
    `starts` (G, K, 4: east, north, discharge, cost) and `sizes` (G,).
    """
    n, gates = len(times), len(squares)
    order = np.argsort(times, kind="mergesort")
    out, triple, costs, best = np.empty((2, 3)), np.empty(3, np.int64), np.empty(gates), np.empty(gates)
    for g in range(gates):
        sizes[g], best[g] = 0, math.inf
    early, covariance = min(n, TRIPLES_OF), np.empty((3, 3))
    i, j, h, whole, certain = 0, 1, 1, True, False
    while not certain:
        if whole:
            found = spheres(sensors, times, order, n, prior[2], prior[3], prior[4], prior[5], out)
        else:
            triple[0], triple[1], triple[2] = order[i], order[j], order[h]
            found = spheres(sensors, times, triple, 3, prior[2], prior[3], prior[4], prior[5], out)
        for k in range(found):
            if whole:  # from far outside the closed form is rough, and its other root would look as good
                polish(sensors, times, squares[0], prior, blur, math.inf, 2, out[k], covariance)
            agree, chance, fit = misfit(sensors, times, squares, prior, blur, half_range, out[k], costs)
            for g in range(gates):
                if costs[g] <= best[g] + 2.0 * HOPELESS:
                    sizes[g] = keep_start(starts[g], sizes[g], out[k], costs[g])
                    best[g] = min(best[g], costs[g])
            free = agree - 3.0
            if agree >= 6 and 2 * agree > n and chance < BEYOND_CHANCE and fit < free + 3.0 * math.sqrt(2.0 * free):
                certain = True
        whole = False
        h += 1
        if h == early:
            j += 1
            h = j + 1
        if h == early:
            i += 1
            j, h = i + 1, i + 2
        if h >= early:
            break
    if certain:
        sort_starts(starts[0], sizes[0])
        sizes[0] = 1
        place = starts[0, 0].copy()
        # Those that do not agree may know of a place that explains everything: each is heard with two early ones.
        for m in range(n):
            if agrees(sensors, times, squares[0], prior, blur, place, order[m]):
                continue
            for k in range(3):
                i, j = (0, 1) if k == 0 else (0, 2) if k == 1 else (1, 2)
                if m in (i, j):
                    continue
                triple[0], triple[1], triple[2] = order[min(i, m)], order[min(max(i, m), j)], order[max(j, m)]
                for h in range(spheres(sensors, times, triple, 3, prior[2], prior[3], prior[4], prior[5], out)):
                    misfit(sensors, times, squares, prior, blur, half_range, out[h], costs)
                    if costs[0] <= best[0] + 2.0 * HOPELESS:
                        sizes[0] = keep_start(starts[0], sizes[0], out[h], costs[0])
        out[0, 0], out[0, 1] = mirrored(sensors, place[0], place[1])
        out[0, 2] = place[2]
        misfit(sensors, times, squares, prior, blur, half_range, out[0], costs)
        if costs[0] <= best[0] + 4.0 * HOPELESS:
            sizes[0] = keep_start(starts[0], sizes[0], out[0], costs[0])
        for g in range(1, gates):
            sizes[g] = 0
    for g in range(gates):
        sort_starts(starts[g], sizes[g])


@plain
def mirrored(sensors: Floats, e: float, n: float) -> tuple[float, float]:
    """The place mirrored in the long axis of the sensors (n, 3): where sensors nearly on a line would hear the same."""
    count = len(sensors)
    me, mn = 0.0, 0.0
    for i in range(count):
        me += sensors[i, 0] / count
        mn += sensors[i, 1] / count
    xx, xy, yy = 0.0, 0.0, 0.0
    for i in range(count):
        dx, dy = sensors[i, 0] - me, sensors[i, 1] - mn
        xx += dx * dx
        xy += dx * dy
        yy += dy * dy
    twice = math.atan2(2.0 * xy, xx - yy)
    c, s = math.cos(twice), math.sin(twice)
    return me + c * (e - me) + s * (n - mn), mn + s * (e - me) - c * (n - mn)


# Paths: what walls and corners added to the arrivals of this bang.


@plain
def known_squares(sensors: Floats, known: Floats, survey: Floats, p: Floats, out: Floats) -> None:
    """Variance (s^2) of each arrival from a place but for its path: the pick's and the survey's along the ray.

    `known` (n,) s is the sigma of pick and clock, `survey` (n, 2) s those of the sensor's place across and up, over the
    speed of sound.
    """
    for i in range(len(known)):
        dx, dy, dz = sensors[i, 0] - p[0], sensors[i, 1] - p[1], sensors[i, 2] - p[2]
        steep = dz * dz / (dx * dx + dy * dy + dz * dz + 1e-9)
        flat = (1.0 - steep) * survey[i, 0] * survey[i, 0] + steep * survey[i, 1] * survey[i, 1]
        out[i] = known[i] * known[i] + flat


@plain
def weigh_scales(
    sensors: Floats, times: Floats, squares: Floats, outlier: Floats, prior: Floats, prior_sigma: Floats, late: Floats,
    p: Floats, scales: Floats, shares: Floats, areas: Floats,
) -> float:  # fmt: skip
    """Log mass below a maximum `p`, whatever the sigma that paths add; how much of it each of the `scales` has.

    For each scale of `scales` (Q, 2: sigma in s, prior probability) Laplace's rule at `p` gives a mass. Fills `shares`
    (Q,), which sum to 1, and `areas` (Q,) of the covariance of the place, m^2.
    """
    n = len(times)
    sigmas, residuals, weights, pulls, jacobian = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty((n, N))
    covariance = np.empty((3, 3))
    most = -math.inf
    for q in range(len(scales)):
        for i in range(n):
            sigmas[i] = math.sqrt(squares[i] + scales[q, 0] * scales[q, 0])
        value = evaluate(
            sensors, times, sigmas, outlier, prior, prior_sigma, late, p, residuals, weights, pulls, jacobian
        )
        volume = spread(sigmas, weights, prior_sigma, jacobian, covariance)
        area = covariance[0, 0] * covariance[1, 1] - covariance[0, 1] * covariance[0, 1]
        shares[q], areas[q] = -math.inf, 1.0
        if volume > -math.inf and area > 0.0:
            shares[q], areas[q] = math.log(scales[q, 1]) + value + volume, math.sqrt(area)
        most = max(most, shares[q])
    if not most > -math.inf:  # the arrivals say nothing: what was believed before remains
        for q in range(len(scales)):
            shares[q] = scales[q, 1]
        return -math.inf
    total = 0.0
    for q in range(len(scales)):
        shares[q] = math.exp(shares[q] - most)
        total += shares[q]
    for q in range(len(scales)):
        shares[q] /= total
    return most + math.log(total)


@plain
def mean_scale(scales: Floats, shares: Floats) -> float:
    """Root of the mean variance of paths, s."""
    variance = 0.0
    for q in range(len(scales)):
        variance += shares[q] * scales[q, 0] * scales[q, 0]
    return math.sqrt(variance)


@plain
def region_quantile(shares: Floats, areas: Floats, confidence: float) -> float:
    """Squared Mahalanobis radius that holds `confidence` of a mixture of Gaussians of one shape, by Newton's rule.

    `areas` are the areas of the parts' covariances over that of the reference: beyond q lies the share
    sum of p exp(-q / 2a). One part of area 1 gives chi-square's 5.991; a Student's t is such a mixture over all areas.
    """
    q = 0.0
    for _ in range(100):
        outside, slope = confidence - 1.0, 0.0
        for k in range(len(shares)):
            if shares[k] > 0.0:
                part = shares[k] * math.exp(-0.5 * q / areas[k])
                outside += part
                slope += 0.5 * part / areas[k]
        step = outside / slope  # the share falls and flattens: from nought the steps never pass the root
        q += step
        if step < 1e-9 * q:
            break
    return q


# One bang, all of it.


@plain
def heard(sensors: Floats, p: Floats, hearing: Floats) -> float:
    """Log odds that those sensors heard a bang from there; `hearing`: share nearby, and distance of half of it (m)."""
    total, product = 0.0, 1.0
    for i in range(len(sensors)):
        dx, dy, dz = sensors[i, 0] - p[0], sensors[i, 1] - p[1], sensors[i, 2] - p[2]
        ratio = math.sqrt(dx * dx + dy * dy + dz * dz) / hearing[1]
        product *= hearing[0] / (1.0 + ratio * ratio * ratio)
        if product < 1e-150:
            total += math.log(max(product, 1e-300))
            product = 1.0
    return total + math.log(product)


@plain
def apart(p: Floats, q: Floats, covariance: Floats) -> bool:
    """Whether place `q` is another than `p` with its `covariance`, rather than the same reached twice."""
    e, n = q[0] - p[0], q[1] - p[1]
    if e * e + n * n < LEAST_APART_M * LEAST_APART_M:
        return False
    ee, en, nn = covariance[0, 0], covariance[0, 1], covariance[1, 1]
    det = ee * nn - en * en
    if not det > 0.0:
        return True
    return (nn * e * e - 2.0 * en * e * n + ee * n * n) / det > 4.0


@plain
def near(p: Floats, start: Floats, covariance: Floats) -> bool:
    """Whether a start lies so near a maximum that climbing from it would end there: within five sigmas of it."""
    e, n = start[0] - p[0], start[1] - p[1]
    ee, en, nn = covariance[0, 0], covariance[0, 1], covariance[1, 1]
    det = ee * nn - en * en
    return det > 0.0 and nn * e * e - 2.0 * en * e * n + ee * n * n < 25.0 * det


@plain
def best_distinct(places: Floats, masses: Floats, covariances: Floats, count: int, chosen: Ints) -> int:
    """Rows of the maxima into `chosen`, heaviest first, each apart from every heavier one, none hopeless."""
    kept = 0
    taken = np.zeros(count, np.bool_)
    for _ in range(count):
        best = -1
        for k in range(count):
            if not taken[k] and masses[k] > -math.inf and (best < 0 or masses[k] > masses[best]):
                best = k
        if best < 0 or (kept > 0 and masses[best] < masses[chosen[0]] - HOPELESS):
            break
        taken[best] = True
        new = True
        for j in range(kept):
            if not apart(places[chosen[j]], places[best], covariances[chosen[j]]):
                new = False
        if new:
            chosen[kept] = best
            kept += 1
    return kept


@plain
def place_bang(
    sensors: Floats, times: Floats, known: Floats, survey: Floats, outlier: Floats, prior: Floats, prior_sigma: Floats,
    late: Floats, hearing: Floats, gates: Floats, scales: Floats, confidence: float, places: Floats,
    masses: Floats, covariances: Floats, residuals: Floats, weights: Floats, chosen: Ints, scale: Floats,
) -> int:  # fmt: skip
    """Every place that the arrivals of one bang allow, heaviest first.

    Each start is climbed from with the paths' sigma that it was found with, then with the one that its own residuals
    speak for. The mass of each place is that below its maximum, over all sigmas of the paths.

    Parameters
    ----------
    sensors : (n, 3) float64, m; times, known, outlier : (n,) float64, s, s, probability
        Arrivals; the sigma of pick and clock; the probability that it is no direct sound.
    survey : (n, 2) float64, s
        Sigma of each sensor's place, across and up, over the speed of sound.
    prior, prior_sigma : (7,) float64
        Of the parameters; those of place and discharge are not looked at.
    late : (7,) float64, see `late_parts`; hearing : (2,) float64, see `heard`
    gates : (G,) float64, s
        What paths may add while direct arrivals are told from others: first the least, then wider ones.
    scales : (Q, 2) float64, s and probability
        Prior of what paths add.
    confidence : float
    places (K, 7), masses (K,), covariances (K, 3, 3), residuals (K, n), weights (K, n) : float64
        Receive the maxima: parameters, log mass, covariance of east, north and discharge, residuals (s), P(direct).
    chosen : (K,) int64
        Receives the rows of the distinct ones, heaviest first.
    scale : (K, 3) float64
        Receives the sigma of paths (s); the quantile, squared Mahalanobis radius of the region at `confidence`; and
        the area of the region over that with the height known.

    Returns
    -------
    int
        How many distinct places there are; 0 where the arrivals determine none.
    """
    n, most = len(times), len(places)
    starts, sizes = np.empty((len(gates), MOST_STARTS, 4)), np.empty(len(gates), np.int64)
    sigmas, own, squares, jacobian = np.empty(n), np.empty(n), np.empty((len(gates), n)), np.empty((n, N))
    shares, areas = np.empty(len(scales)), np.empty(len(scales))
    for g in range(len(gates)):
        for i in range(n):
            squares[g, i] = known[i] * known[i] + survey[i, 0] * survey[i, 0] + gates[g] * gates[g]
    # A second of travel is uncertain by sigma(c) / c from the speed, and by the wind's along the path as much.
    blur = math.hypot(prior_sigma[3], prior_sigma[4]) / prior[3]
    find_starts(sensors, times, squares, prior, blur, hearing[1], starts, sizes)
    level, flat = prior_sigma.copy(), np.empty((3, 3))
    level[2] = 0.0
    climbed = 0
    for g in range(len(gates)):
        for k in range(sizes[g]):
            start = starts[g, k]
            if climbed == most or start[3] > starts[g, 0, 3] + 2.0 * HOPELESS:
                break
            known_place = False
            for m in range(climbed):
                if masses[m] > -math.inf and near(places[m], start, covariances[m]):
                    same = True  # unless an arrival agrees with the start that the maximum has set aside
                    for i in range(n):
                        if weights[m, i] < 0.5 and agrees(sensors, times, squares[g], prior, blur, start, i):
                            same = False
                    known_place = known_place or same
            if known_place:
                continue
            # First with those that nearly agree: beside a sensor a metre decides on that sensor alone.
            polish(sensors, times, squares[g], prior, blur, 16.0 * BEHIND_CAP, 1, start, covariances[climbed])
            polish(sensors, times, squares[g], prior, blur, 2.0 * BEHIND_CAP, 2, start, covariances[climbed])
            p = places[climbed]
            for j in range(N):
                p[j] = prior[j]
            p[0], p[1], p[DISCHARGE] = start[0], start[1], start[2]
            path, mass = gates[g], 0.0
            settled = len(scales) == 1 and scales[0, 0] == path
            for turn in range(0 if blur > 1e-4 else 2 if settled else 1, 3):
                known_squares(sensors, known, survey, p, own)
                for i in range(n):
                    # At first the air may be anything its prior allows, and no arrival is set aside for that.
                    air = blur * (times[i] - p[DISCHARGE]) if turn == 0 else 0.0
                    sigmas[i] = math.sqrt(own[i] + path * path + air * air)
                ascend(
                    sensors, times, sigmas, outlier, prior, prior_sigma, late, p, residuals[climbed], weights[climbed],
                    jacobian, FINE_M if turn == 2 else ROUGH_M, MOST_STEPS,
                )  # fmt: skip
                if turn == 0 or (turn == 1 and settled):
                    continue
                mass = weigh_scales(sensors, times, own, outlier, prior, prior_sigma, late, p, scales, shares, areas)
                if turn == 1:
                    path = mean_scale(scales, shares)
            c = covariances[climbed]
            undetermined = spread(sigmas, weights[climbed], prior_sigma, jacobian, c) == -math.inf
            area = math.sqrt(max(c[0, 0] * c[1, 1] - c[0, 1] * c[0, 1], 1e-300))
            masses[climbed] = -math.inf if undetermined or not mass > -math.inf else mass + heard(sensors, p, hearing)
            if masses[climbed] > -math.inf:
                for q in range(len(scales)):
                    areas[q] /= area
                scale[climbed, 0] = path
                scale[climbed, 1] = region_quantile(shares, areas, confidence)
                scale[climbed, 2] = 1.0
                if prior_sigma[2] >= SURE:
                    spread(sigmas, weights[climbed], level, jacobian, flat)
                    det = flat[0, 0] * flat[1, 1] - flat[0, 1] * flat[0, 1]
                    scale[climbed, 2] = area / math.sqrt(max(det, 1e-300))
            climbed += 1
    kept = best_distinct(places, masses, covariances, climbed, chosen)
    for k in range(kept):
        row = chosen[k]
        unbend(sensors, weights[row], places[row], covariances[row])
    return kept


@plain
def unbend(sensors: Floats, weights: Floats, p: Floats, covariance: Floats) -> None:
    """Turn a maximum outside the array, and its covariance, into mean and covariance of the crescent round it.

    Far from an array the bearing is known and the range is not: what is near to Gaussian there is bearing and inverse
    range (Sun, Ho and Wan 2019), not the place. The maximum's covariance is carried over to these, the moments are
    taken in the plane. A cell of inverse range counts with its range to the power `RANGE_POWER`: it would be 3 were all
    of the plane as likely, and is less since far bangs are heard less. Places that are well known, or nearer to the
    middle than the sensors are, stay as they were.
    """
    total, me, mn = 0.0, 0.0, 0.0
    for i in range(len(weights)):
        total += weights[i]
        me += weights[i] * sensors[i, 0]
        mn += weights[i] * sensors[i, 1]
    me, mn = me / total, mn / total
    square = 0.0
    for i in range(len(weights)):
        square += weights[i] * ((sensors[i, 0] - me) ** 2 + (sensors[i, 1] - mn) ** 2) / total
    e0, n0 = p[0] - me, p[1] - mn
    r0 = math.sqrt(e0 * e0 + n0 * n0)
    longest = covariance[0, 0] + covariance[1, 1]
    if not (r0 * r0 > square and longest > BENT * BENT * r0 * r0):
        return
    # The axes of range and bearing there, and the covariance in them.
    ce, cn = e0 / r0, n0 / r0
    rr = ce * ce * covariance[0, 0] + 2.0 * ce * cn * covariance[0, 1] + cn * cn * covariance[1, 1]
    tt = cn * cn * covariance[0, 0] - 2.0 * ce * cn * covariance[0, 1] + ce * ce * covariance[1, 1]
    rt = ce * cn * (covariance[1, 1] - covariance[0, 0]) + (ce * ce - cn * cn) * covariance[0, 1]
    if rr > OPEN * OPEN * r0 * r0:
        return  # the range is not known at all: the maximum's own ellipse says so
    sigma_q, q0 = math.sqrt(rr) / (r0 * r0), 1.0 / r0
    slope = -rt / rr * r0  # of the bearing on the inverse range: dq = -dr / r0^2, and tt is r0^2 times the bearing's
    sigma_b = math.sqrt(max(tt - rt * rt / rr, 0.0)) / r0
    half = 8
    sums = np.zeros(6)
    for a in range(-2 * half, 2 * half + 1):
        x = 4.0 * a / (2.0 * half)
        q = q0 + x * sigma_q
        if q < q0 * LEAST_INVERSE:
            continue
        r = 1.0 / q
        log = -0.5 * x * x + RANGE_POWER * math.log(r / r0)
        for b in range(-half, half + 1):
            y = 4.0 * b / half
            turn = slope * (q - q0) + y * sigma_b
            weight = math.exp(log - 0.5 * y * y)
            c, s = math.cos(turn), math.sin(turn)
            de, dn = r * (ce * c - cn * s) - e0, r * (cn * c + ce * s) - n0
            sums[0] += weight
            sums[1] += weight * de
            sums[2] += weight * dn
            sums[3] += weight * de * de
            sums[4] += weight * de * dn
            sums[5] += weight * dn * dn
    e, n = sums[1] / sums[0], sums[2] / sums[0]
    ee, en, nn = sums[3] / sums[0] - e * e, sums[4] / sums[0] - e * n, sums[5] / sums[0] - n * n
    det = covariance[0, 0] * covariance[1, 1] - covariance[0, 1] * covariance[0, 1]
    if not (det > 0.0 and ee * nn - en * en > 0.0):
        return
    # The discharge follows the place as it did.
    be = (covariance[0, 2] * covariance[1, 1] - covariance[1, 2] * covariance[0, 1]) / det
    bn = (covariance[1, 2] * covariance[0, 0] - covariance[0, 2] * covariance[0, 1]) / det
    rest = covariance[2, 2] - be * covariance[0, 2] - bn * covariance[1, 2]
    p[0] += e
    p[1] += n
    p[DISCHARGE] += be * e + bn * n
    covariance[0, 0], covariance[1, 1], covariance[0, 1] = ee, nn, en
    covariance[0, 2], covariance[1, 2] = be * ee + bn * en, be * en + bn * nn
    covariance[2, 2] = max(rest, 0.0) + be * covariance[0, 2] + bn * covariance[1, 2]
    covariance[1, 0], covariance[2, 0], covariance[2, 1] = en, covariance[0, 2], covariance[1, 2]
