"""The kernels of this room: travel times, the most probable place of a bang, and which picks are one bang.

All in one file: numba's cache notices a change in the file of a function, not in those of the functions it calls, and
would go on running yesterday's arithmetic.

The parameters of a bang, in this order: east, north, up (m), sound speed (m/s), wind east and north (m/s), discharge
(s). Height, speed and wind carry priors; place and time do not. Picks are laid out sensor by sensor, in time order:
those of sensor s are `first[s]` up to `first[s + 1]`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

N = 7  # parameters
DISCHARGE = 6
FIRST_PRIOR, LAST_PRIOR = 2, 5
ROOT_TWO_PI = 2.5066282746310002
UNPHYSICAL = 1e18
NOWHERE = np.ones(6)  # any late density: it pulls nowhere where only the matrix is wanted
NONE = -1

# Travel: straight lines through moving air.


@njit(cache=True, nogil=True)
def travel_time(dx: float, dy: float, dz: float, speed: float, wind_east: float, wind_north: float) -> float:
    """Seconds for sound to cross (dx, dy, dz) metres, source to sensor, at `speed` in air that moves with the wind."""
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    if distance == 0.0:
        return 0.0
    return distance / (speed + (wind_east * dx + wind_north * dy) / distance)


@njit(cache=True, nogil=True)
def three_arrivals(
    x: Floats, y: Floats, z: Floats, t: Floats, source_z: float, speed: float, wind_east: float, wind_north: float,
    out: Floats,
) -> int:  # fmt: skip
    """Places where a bang at height `source_z` reaches three sensors at the times given.

    Subtracting the first sphere from the others leaves two lines in the place and the range to the time's zero;
    putting them into the first sphere leaves a quadratic in that range (Bancroft 1985, in two dimensions). In the air's
    own frame sound spreads as spheres and the sensors move against the wind: so wind is exact here.

    Parameters
    ----------
    x, y, z : (3,) float64, m
    t : (3,) float64, s
    source_z, speed, wind_east, wind_north : float, m and m/s
    out : (2, 3) float64
        Receives east (m), north (m) and discharge (s) of each solution.

    Returns
    -------
    int
        How many solutions there are: 0, 1 or 2. None where the sensors lie on a line.
    """
    later_a, later_b = t[1] - t[0], t[2] - t[0]
    ax, ay = x[1] - x[0] - wind_east * later_a, y[1] - y[0] - wind_north * later_a
    bx, by = x[2] - x[0] - wind_east * later_b, y[2] - y[0] - wind_north * later_b
    det = ax * by - ay * bx
    # A triangle thinner than a thousandth of its length tells nothing across it.
    longest = max(ax * ax + ay * ay, bx * bx + by * by)
    if abs(det) <= 1e-3 * longest:
        return 0
    # Times count from the first arrival, places from the first sensor: no digits are lost to large offsets.
    ra, rb = speed * later_a, speed * later_b
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
            out[found, 0] = x[0] + px + qx * q - wind_east * q / speed
            out[found, 1] = y[0] + py + qy * q - wind_north * q / speed
            out[found, 2] = t[0] - q / speed
            found += 1
    return found


# The most probable place: Gauss-Newton over place, height, air and discharge, robust to late arrivals.


@njit(cache=True, nogil=True)
def late_parts(residual: float, late: Floats) -> tuple[float, float, float]:
    """Densities (1/s) of a residual (s) as a late arrival and as a stray one; and minus the slope of their sum's log.

    A late arrival falls off with scale `late[0]` (s) behind the direct sound and with `late[1]` before it, a stray one
    with `late[2]` to both sides; `late[4]` and `late[5]` are their densities in the middle, shares included. Within
    `late[3]` (s) of nought everything is rounded: a kink there would hold fast every start that fits arrivals exactly.
    """
    rounded = math.sqrt(residual * residual + late[3] * late[3])
    behind, before = 0.5 * (rounded + residual), 0.5 * (rounded - residual)
    near = late[4] * math.exp(-min(behind / late[0] + before / late[1], 700.0))
    stray = late[5] * math.exp(-min((rounded - late[3]) / late[2], 700.0))
    turn = residual / rounded
    fall = 0.5 * ((1.0 + turn) / late[0] - (1.0 - turn) / late[1])
    slope = (near * fall + stray * turn / late[2]) / (near + stray) if near + stray > 0.0 else turn / late[2]
    return near, stray, slope


@njit(cache=True, nogil=True)
def late_density(residual: float, late: Floats) -> float:
    """Density (1/s) of a residual (s) that is no direct sound."""
    near, stray, _ = late_parts(residual, late)
    return near + stray


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
    # Element by element here and below: assigning slices would compile the text of an error about shapes, for seconds.
    for a in range(N):
        step[a] = 0.0
        for b in range(N):
            hessian[a, b] = 0.0
    for i in range(len(residuals)):
        predict(sensors[i], p, gradient)
        w = weights[i] / (sigmas[i] * sigmas[i])
        pull = w * residuals[i] + (1.0 - weights[i]) * late_parts(residuals[i], late)[2]
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
        for k in range(N):
            for j in range(N):
                factor[k, j] = hessian[k, j]
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
            for k in range(N):
                p[k] = trial[k]
            for i in range(len(times)):
                residuals[i] = r2[i]
                weights[i] = w2[i]
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


# Association: candidate places from triples of picks, and how well the other sensors agree with each. A candidate's
# score is the logarithm of the odds that its picks are one bang rather than chance.


@njit(cache=True, nogil=True)
def heard_share(distance: float, hearing: Floats) -> float:
    """Probability that a listening sensor this far off (m) reports a bang; `hearing`: share nearby, half range."""
    ratio = distance / hearing[1]
    return hearing[0] / (1.0 + ratio * ratio * ratio)


@njit(cache=True, nogil=True)
def best_pick(
    times: Floats,
    free: Bools,
    gains: Floats,
    outlier: Floats,
    low: int,
    high: int,
    arrival: float,
    sigma: float,
    late: Floats,
    early_s: float,
    late_s: float,
) -> tuple[int, float]:
    """The pick among [low, high) that speaks most for a direct arrival at `arrival`, and its log-likelihood ratio."""
    chosen, best = NONE, -1e300
    a, b = low, high
    while a < b:  # first pick not earlier than the window
        middle = (a + b) // 2
        if times[middle] < arrival - early_s:
            a = middle + 1
        else:
            b = middle
    i = a
    while i < high and times[i] <= arrival + late_s:
        if free[i]:
            r = times[i] - arrival
            z = r / sigma
            density = (1.0 - outlier[i]) * math.exp(-0.5 * min(z * z, 1400.0)) / (ROOT_TWO_PI * sigma)
            density += outlier[i] * late_density(r, late)
            if density > 1e-300:
                value = math.log(density) + gains[i]
                if value > best:
                    chosen, best = i, value
        i += 1
    return chosen, best


@njit(cache=True, nogil=True)
def support(
    p: Floats,
    air_sigma: Floats,
    around: Ints,
    sensors: Floats,
    listening: Bools,
    first: Ints,
    times: Floats,
    free: Bools,
    gains: Floats,
    outlier: Floats,
    sigmas: Floats,
    late: Floats,
    hearing: Floats,
    members: Ints,
) -> float:
    """Log odds, before the price of the place, that the network heard a bang with parameters `p` (7,).

    `air_sigma` is what is unknown of speed and wind (m/s each): (0, 0) once they are fitted. `around` (A,) are the
    sensors that are asked. `sigmas` (S,) are those of each sensor's arrivals. Fills `members` (A,) with the pick of
    each sensor asked, or -1.
    """
    total = 0.0
    for m in range(len(around)):
        s = around[m]
        members[m] = NONE
        dx, dy, dz = sensors[s, 0] - p[0], sensors[s, 1] - p[1], sensors[s, 2] - p[2]
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        share = heard_share(distance, hearing)
        if share < 0.02:
            continue
        arrival = p[6] + travel_time(dx, dy, dz, p[3], p[4], p[5])
        blur = distance / (p[3] * p[3])
        spread = math.sqrt(
            sigmas[s] * sigmas[s] + blur * blur * (air_sigma[0] * air_sigma[0] + air_sigma[1] * air_sigma[1])
        )
        silence = math.log(1.0 - share) if listening[s] else 0.0
        chosen, value = best_pick(
            times,
            free,
            gains,
            outlier,
            first[s],
            first[s + 1],
            arrival,
            spread,
            late,
            4.0 * spread,
            4.0 * spread + 3.0 * late[0],
        )
        if chosen != NONE and value + math.log(share) > silence:
            members[m] = chosen
            total += value + math.log(share)
        else:
            total += silence
    return total


@njit(cache=True, nogil=True)
def keep(found: Floats, size: int, x: float, y: float, t: float, score: float, apart_m: float, apart_s: float) -> int:
    """Put a candidate into the `size` best of `found` (Q, 4); near-equal ones count as one. Returns the new size."""
    for k in range(size):
        if abs(found[k, 0] - x) < apart_m and abs(found[k, 1] - y) < apart_m and abs(found[k, 2] - t) < apart_s:
            if score > found[k, 3]:
                found[k, 0], found[k, 1], found[k, 2], found[k, 3] = x, y, t, score
            return size
    if size < len(found):
        k = size
        size += 1
    else:
        k = 0
        for j in range(1, size):
            if found[j, 3] < found[k, 3]:
                k = j
        if score <= found[k, 3]:
            return size
    found[k, 0], found[k, 1], found[k, 2], found[k, 3] = x, y, t, score
    return size


@njit(cache=True, nogil=True)
def candidates(
    seeds: Ints,
    near: Ints,
    around: Ints,
    sensors: Floats,
    listening: Bools,
    first: Ints,
    owner: Ints,
    times: Floats,
    free: Bools,
    gains: Floats,
    outlier: Floats,
    sigmas: Floats,
    prior: Floats,
    air_sigma: Floats,
    late: Floats,
    hearing: Floats,
    farthest_m: float,
    found: Floats,
    budget: int,
) -> tuple[Ints, int]:
    """Candidate places from every triple of free picks whose first one is a seed.

    Parameters
    ----------
    seeds : (K,) int64, indices of picks
    near : (S, M) int64, for each sensor the others to pair it with; -1 ends a row
    around : (S, A) int64, for each sensor those that are asked about a bang it heard first
    sensors : (S, 3) float64, m; listening : (S,) bool; first : (S + 1,) int64; owner : (P,) int64, sensor of each pick
    times, gains, outlier : (P,) float64, s, nat, probability; free : (P,) bool; sigmas : (S,) float64, s
    prior : (7,) float64, as in `solve`; air_sigma : (2,) float64, m/s
    late, hearing : (2,) float64, see `late_density`, `heard_share`
    farthest_m : float, no bang is looked for farther than this from the seed's sensor
    found : (K, Q, 4) float64, receives east, north, discharge and score of the best of each seed
    budget : int, how many triples may be tried in all

    Returns
    -------
    (K,) int64, int
        How many candidates each seed has; how many triples were left untried because the budget was spent.
    """
    counts = np.zeros(len(seeds), np.int64)
    members = np.empty(around.shape[1], np.int64)
    tx, ty, tz, tt, out = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty((2, 3))
    p = prior.copy()
    speed = prior[3]
    spent, untried = 0, 0
    for m in range(len(seeds)):
        i = seeds[m]
        a = owner[i]
        tx[0], ty[0], tz[0], tt[0] = sensors[a, 0], sensors[a, 1], sensors[a, 2], times[i]
        for jj in range(near.shape[1]):
            b = near[a, jj]
            if b == NONE:
                break
            reach_b = math.hypot(sensors[b, 0] - sensors[a, 0], sensors[b, 1] - sensors[a, 1]) / speed * 1.05 + 0.02
            for j in range(first[b], first[b + 1]):
                if not free[j] or times[j] < times[i] or times[j] > times[i] + reach_b:
                    continue
                tx[1], ty[1], tz[1], tt[1] = sensors[b, 0], sensors[b, 1], sensors[b, 2], times[j]
                for kk in range(jj + 1, near.shape[1]):
                    c = near[a, kk]
                    if c == NONE:
                        break
                    reach_c = (
                        math.hypot(sensors[c, 0] - sensors[a, 0], sensors[c, 1] - sensors[a, 1]) / speed * 1.05 + 0.02
                    )
                    for k in range(first[c], first[c + 1]):
                        if not free[k] or times[k] < times[i] or times[k] > times[i] + reach_c:
                            continue
                        if spent >= budget:
                            untried += 1
                            continue
                        spent += 1
                        tx[2], ty[2], tz[2], tt[2] = sensors[c, 0], sensors[c, 1], sensors[c, 2], times[k]
                        for n in range(three_arrivals(tx, ty, tz, tt, prior[2], speed, prior[4], prior[5], out)):
                            if math.hypot(out[n, 0] - tx[0], out[n, 1] - ty[0]) > farthest_m:
                                continue
                            p[0], p[1], p[6] = out[n, 0], out[n, 1], out[n, 2]
                            score = support(
                                p, air_sigma, around[a], sensors, listening, first, times, free, gains, outlier, sigmas,
                                late, hearing, members,
                            )  # fmt: skip
                            counts[m] = keep(found[m], counts[m], p[0], p[1], p[6], score, 10.0, 0.03)
    return counts, untried


@njit(cache=True, nogil=True)
def refine(
    p: Floats,
    around: Ints,
    members: Ints,
    sensors: Floats,
    listening: Bools,
    first: Ints,
    times: Floats,
    free: Bools,
    gains: Floats,
    outlier: Floats,
    sigmas: Floats,
    prior: Floats,
    prior_sigma: Floats,
    late: Floats,
    hearing: Floats,
    log_rate: float,
) -> float:
    """Climb to the best place near `p` (7,), gathering picks anew on the way; returns the score and changes `members`.

    The score pays for the place: `log_rate` is the logarithm of how many bangs a second and square metre are
    expected, and the volume of the posterior is what one candidate covers of that. Below three picks it is -1e300.
    """
    count = len(around)
    none = np.zeros(2)
    used, chosen_times, chosen_sigmas, chosen_outlier = (
        np.empty((count, 3)), np.empty(count), np.empty(count), np.empty(count),
    )  # fmt: skip
    residuals, weights, covariance = np.empty(count), np.empty(count), np.empty((3, 3))
    for _ in range(3):
        n = 0
        for m in range(count):
            if members[m] != NONE:
                for axis in range(3):
                    used[n, axis] = sensors[around[m], axis]
                chosen_times[n] = times[members[m]]
                chosen_sigmas[n] = sigmas[around[m]]
                chosen_outlier[n] = outlier[members[m]]
                n += 1
        if n < 3:
            return -1e300
        climb(
            used[:n], chosen_times[:n], chosen_sigmas[:n], chosen_outlier[:n], prior, prior_sigma, late, p,
            residuals[:n], weights[:n], 12,
        )  # fmt: skip
        total = support(
            p, none, around, sensors, listening, first, times, free, gains, outlier, sigmas, late, hearing, members
        )
    for k in range(2, 6):
        z = (p[k] - prior[k]) / prior_sigma[k]
        total -= 0.5 * z * z
    if not place_covariance(used[:n], chosen_sigmas[:n], weights[:n], prior_sigma, p, covariance):
        return -1e300
    plane = covariance[0, 0] * covariance[1, 1] - covariance[0, 1] * covariance[0, 1]
    volume = math.sqrt(max(plane, 1e-6) * max(covariance[2, 2], 1e-12)) * ROOT_TWO_PI**3
    return total + log_rate + min(math.log(volume), 14.0)


@njit(cache=True, nogil=True)
def repeats(
    heard: Ints,
    offsets: Floats,
    offset_levels: Floats,
    first: Ints,
    times: Floats,
    free: Bools,
    gains: Floats,
    levels: Floats,
    sigma: float,
    same_level: Floats,
    other_level: Floats,
    log_rate: float,
    low_s: float,
    high_s: float,
    out: Floats,
) -> int:
    """Further rounds from one place: picks that repeat a pattern of arrivals.

    Parameters
    ----------
    heard : (H,) int64, the sensors of the pattern; offsets, offset_levels : (H,) float64, s after the discharge, and dB
    sigma : float, s, how exactly the pattern repeats
    same_level, other_level : (2,) float64, mean and sigma (dB) of the level of a further round beside the pattern's,
        and of an echo's or of chance's
    log_rate : float, log odds of a round at any one instant
    low_s, high_s : float, s, between which discharges are looked for
    out : (Q, 2) float64, receives discharge (s) and score, best first, none closer than 30 ms to a better one

    Returns
    -------
    int
        How many there are.
    """
    found = 0
    for h in range(len(heard)):
        for i in range(first[heard[h]], first[heard[h] + 1]):
            start = times[i] - offsets[h]
            if not free[i] or start < low_s or start > high_s:
                continue
            score, hits, starts = log_rate, 0, 0.0
            for q in range(len(heard)):
                best, at = -2.0, NONE  # a sensor that missed this round costs two nats
                for k in range(first[heard[q]], first[heard[q] + 1]):
                    r = times[k] - offsets[q] - start
                    if not free[k] or abs(r) > 4.0 * sigma:
                        continue
                    value = gains[k] - 0.5 * (r / sigma) ** 2 - math.log(ROOT_TWO_PI * sigma)
                    step = levels[k] - offset_levels[q]
                    if not math.isnan(step):
                        same = (step - same_level[0]) / same_level[1]
                        other = (step - other_level[0]) / other_level[1]
                        odds = 0.5 * (other * other - same * same) + math.log(other_level[1] / same_level[1])
                        value += min(max(odds, -6.0), 2.0)
                    if value > best:
                        best, at = value, k
                score += best
                if at != NONE:
                    hits += 1
                    starts += times[at] - offsets[q]
            if hits >= 3 and 2 * hits >= len(heard):
                found = keep_round(out, found, starts / hits, score)
    for i in range(1, found):  # few rows: insertion sort, best first
        start, score = out[i, 0], out[i, 1]
        j = i
        while j > 0 and out[j - 1, 1] < score:
            out[j, 0], out[j, 1] = out[j - 1, 0], out[j - 1, 1]
            j -= 1
        out[j, 0], out[j, 1] = start, score
    return found


@njit(cache=True, nogil=True)
def keep_round(out: Floats, found: int, start: float, score: float) -> int:
    """Put a round into `out` (Q, 2) unless a better one is there within 30 ms; returns how many there are now."""
    for k in range(found):
        if abs(out[k, 0] - start) < 0.03:
            if score > out[k, 1]:
                out[k, 0], out[k, 1] = start, score
            return found
    if found < len(out):
        out[found, 0], out[found, 1] = start, score
        return found + 1
    return found
