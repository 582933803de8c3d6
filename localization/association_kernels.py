"""The kernels of association: which picks of a network are one bang, and which bangs are rounds of one burst.

Picks are laid out sensor by sensor, in time order: those of sensor s are `first[s]` up to `first[s + 1]`. A bang's
parameters are those of `localization.solver_kernels`. Its score is the logarithm of the odds that its picks are one
bang rather than chance; how far it carried is not known, and summed over a few ranges.

The search goes from the cheap to the dear: each pick as the earliest of its bang, with two later ones at neighbours,
gives a place (`seek`); the neighbours that must have heard it from there say at once whether it is worth more; all
sensors within earshot weigh it, those that stayed silent too (`weigh`); what is left is fitted, with the air as a
nuisance (`fit`); and the best explanation takes its picks first (`explain`).
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from localization.solver_kernels import (
    DISCHARGE,
    ROOT_TWO_PI,
    ROUGH_M,
    SURE,
    ascend,
    late_parts,
    predict,
    spread,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# numba renews what it compiled of this file when this file changes, not when the kernels that it calls in the other one
# do: so a change there must change this line (decision 0002; a test holds the two together).
SOLVER_KERNELS = "9227a252aab7"

NONE = -1
BIN_M = 20.0  # step of the table of hearing
# Rows of the numbers that steer the search, `rules`.
LOG_RATE, LOG_REPEAT, LEAST_ODDS, FARTHEST_M, WIDE_S, SHARP_S, REPEAT_S, BURST_S, CLOSEST_S, ECHOES_PER_S, FADE_S = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
)  # fmt: skip
SAME_DB, SAME_SIGMA_DB, OTHER_DB, OTHER_SIGMA_DB, THREE_PRICE = 11, 12, 13, 14, 15
RULES = 16
SURVIVORS = 4  # candidates kept of each seed
APART_M, APART_S = 10.0, 0.03  # nearer ones count as one candidate
HARDLY = -3.9  # log of the chance to hear a bang below which nobody is asked: a fiftieth
OPEN_ODDS, FAR_M = 4.0, 1000.0  # see `seek`
LEAST_SHARE, MOST_SHARE = 0.5, 0.75  # of a pattern's sensors that hear a round: at least; so many leave no doubt
SURE_ROUND = 10.0  # log odds of a round that few sensors heard, from which on it need not wait for all others
HOPELESS = -12.0  # log odds that sharp paths do not make good
ELSEWHERE_M = 3000.0  # two bangs farther apart than this share no sensor
SAME_PLACE_M, ECHOED_S = 30.0, 1.5  # so near and so soon behind a bang, another one may be its echo
MOST_VOLUME = 14.0  # of a place, log m^2 s: beyond, bangs are not heard anyhow


# Neighbours, by a spatial hash.


@njit(cache=True, nogil=True)
def neighbours(sensors: Floats, most: int, farthest_m: float) -> Ints:
    """For each sensor the nearest ones by their distance in the plane, itself first; (S, most), -1 ends a row.

    Sensors are hashed into square cells of about one each; rings of cells are searched until no nearer one can come.
    """
    count = len(sensors)
    result = np.full((count, min(most, max(count, 1))), NONE, np.int64)
    if count == 0:
        return result
    west, south = sensors[:, 0].min(), sensors[:, 1].min()
    wide, high = sensors[:, 0].max() - west, sensors[:, 1].max() - south
    cell = max(math.sqrt(max(wide, 1.0) * max(high, 1.0) / count), max(wide, high) / 2000.0, 1.0)
    columns, rows = int(wide / cell) + 1, int(high / cell) + 1
    start = np.zeros(columns * rows + 1, np.int64)
    home = np.empty(count, np.int64)
    for s in range(count):
        home[s] = int((sensors[s, 1] - south) / cell) * columns + int((sensors[s, 0] - west) / cell)
        start[home[s] + 1] += 1
    for c in range(columns * rows):
        start[c + 1] += start[c]
    order, filled = np.empty(count, np.int64), start[:-1].copy()
    for s in range(count):
        order[filled[home[s]]] = s
        filled[home[s]] += 1
    near = np.empty(result.shape[1])
    for s in range(count):
        found, ring = 0, 0
        x, y = home[s] % columns, home[s] // columns
        while ring <= max(columns, rows):
            # Whatever lies in the next ring is at least so far away.
            if found == len(near) and near[found - 1] <= (ring - 1) * cell:
                break
            if (ring - 1) * cell > farthest_m:
                break
            for cy in range(max(y - ring, 0), min(y + ring, rows - 1) + 1):
                edge = cy == y - ring or cy == y + ring
                step = 1 if edge or ring == 0 else 2 * ring
                for cx in range(x - ring, x + ring + 1, step):
                    if cx < 0 or cx >= columns:
                        continue
                    for q in range(start[cy * columns + cx], start[cy * columns + cx + 1]):
                        o = order[q]
                        far = math.hypot(sensors[o, 0] - sensors[s, 0], sensors[o, 1] - sensors[s, 1])
                        if far > farthest_m or (found == len(near) and far >= near[found - 1] and o != s):
                            continue
                        at = found if found < len(near) else found - 1
                        # Equal distances stay in the order of the sensors, the sensor itself before all others.
                        while at > 0 and (
                            near[at - 1] > far
                            or (near[at - 1] == far and result[s, at - 1] != s and (o == s or result[s, at - 1] > o))
                        ):
                            near[at], result[s, at] = near[at - 1], result[s, at - 1]
                            at -= 1
                        near[at], result[s, at] = far, o
                        if found < len(near):
                            found += 1
            ring += 1
    return result


# One candidate: who should have heard it, and did.


@njit(cache=True, nogil=True)
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a + math.log1p(math.exp(b - a))


@njit(cache=True, nogil=True)
def first_not_before(times: Floats, low: int, high: int, instant: float) -> int:
    """The first of the picks [low, high) that is not before `instant`."""
    while low < high:
        middle = (low + high) // 2
        if times[middle] < instant:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def weigh(
    p: Floats,
    blur: float,
    path_s: float,
    asked: Ints,
    sensors: Floats,
    known: Floats,
    listening: Bools,
    first: Ints,
    times: Floats,
    sigma: Floats,
    gains: Floats,
    outlier: Floats,
    free: Bools,
    late: Floats,
    hearing: Floats,
    reach: Floats,
    members: Ints,
) -> float:
    """Log odds, before the price of the place, that the sensors `asked` heard a bang with parameters `p` (7,).

    `blur` (m/s) is what is unknown of the speed of sound, beyond what the time of the bang makes good; `path_s` what
    paths add to each arrival. `hearing` (R, B, 2): for each range and bin of distance, the logarithms of the
    probability that a listening sensor reports a bang, and that it does not; the last row is what they are on average.
    The last bin holds the logarithm of each range's own probability. `reach` (R,) receives the odds by range. Fills
    `members` with the pick of each sensor asked, or -1.
    """
    ranges = len(hearing) - 1
    for k in range(ranges):
        reach[k] = hearing[k, hearing.shape[1] - 1, 0]
    anchor, anchored = 0.0, False
    for m in range(len(asked)):
        s = asked[m]
        if s == NONE:
            for q in range(m, len(asked)):
                members[q] = NONE
            break
        members[m] = NONE
        dx, dy, dz = sensors[s, 0] - p[0], sensors[s, 1] - p[1], sensors[s, 2] - p[2]
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        if not anchored:
            anchor, anchored = distance, True
        column = int(distance / BIN_M)
        if column >= hearing.shape[1] - 1 or hearing[ranges, column, 0] < HARDLY:
            continue
        along = (p[4] * dx + p[5] * dy) / max(distance, 1e-9)
        arrival = p[DISCHARGE] + distance / (p[3] + along)
        unsure = blur * abs(distance - anchor) / (p[3] * p[3])
        common = known[s] * known[s] + path_s * path_s + unsure * unsure
        gate = 4.0 * math.sqrt(common + 1e-6)
        best, chosen = -1e300, NONE
        i = first_not_before(times, first[s], first[s + 1], arrival - gate)
        while i < first[s + 1] and times[i] <= arrival + gate + 3.0 * late[0]:
            if free[i]:
                r = times[i] - arrival
                variance = common + sigma[i] * sigma[i]
                z2 = r * r / variance
                density = (1.0 - outlier[i]) * math.exp(-0.5 * min(z2, 1400.0)) / (ROOT_TWO_PI * math.sqrt(variance))
                if z2 > 4.0:
                    density += outlier[i] * late_parts(r, late)[0]
                if density > 1e-300:
                    value = math.log(density) + gains[i]
                    if value > best:
                        best, chosen = value, i
            i += 1
        silence = hearing[ranges, column, 1] if listening[s] else 0.0
        if chosen != NONE and best + hearing[ranges, column, 0] > silence:
            members[m] = chosen
            for k in range(ranges):
                reach[k] += best + hearing[k, column, 0]
        elif listening[s]:
            for k in range(ranges):
                reach[k] += hearing[k, column, 1]
    total = reach[0]
    for k in range(1, ranges):
        total = log_add(total, reach[k])
    return total


@njit(cache=True, nogil=True)
def glance(
    x: float,
    y: float,
    discharge: float,
    begin: float,
    prior: Floats,
    blur: float,
    ears: Floats,
    low: Ints,
    high: Ints,
    times: Floats,
    gains: Floats,
    free: Bools,
    hearing: Floats,
    hopes: Floats,
    enough: float,
) -> float:
    """Rough log odds of a place, by the sensors nearest to the seed's alone.

    -1e300 where one of them heard it before `begin`: then the seed is not the earliest, and another one finds this; or
    where not even the best that can still come would be `enough`.

    Parameters
    ----------
    ears : (M, 5) float64, of each of them east, north, up (m), its variance (s^2), and whether it listened
    low, high : (M,) int64, the picks of each that may belong to the seed's bang
    hopes : (M,) float64, the most that those behind each can add
    """
    total, last, anchor = 0.0, len(hearing) - 1, 0.0
    slow2 = blur * blur / (prior[3] ** 4)
    for m in range(len(ears)):
        dx, dy, dz = ears[m, 0] - x, ears[m, 1] - y, ears[m, 2] - prior[2]
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        if m == 0:
            anchor = distance
        column = int(distance / BIN_M)
        if column >= hearing.shape[1] - 1:
            continue
        arrival = discharge + distance / (prior[3] + (prior[4] * dx + prior[5] * dy) / (distance + 1e-9))
        variance = ears[m, 3] + slow2 * (distance - anchor) * (distance - anchor)
        best = -1e300
        for i in range(low[m], high[m]):
            off = times[i] - arrival
            z2 = off * off / variance
            if z2 < 12.0 and free[i]:
                if times[i] < begin:
                    return -1e300
                best = max(best, gains[i] - 0.5 * z2)
        if best > -1e299:
            total += best - 0.5 * math.log(variance) - 0.919 + hearing[last, column, 0]
        elif ears[m, 4] > 0.0:
            total += hearing[last, column, 1]
        if total + hopes[m] < enough:
            return -1e300
    return total


@njit(cache=True, nogil=True)
def keep(found: Floats, size: int, x: float, y: float, t: float, score: float) -> int:
    """Put a candidate into the `size` best of `found` (Q, 4); near-equal ones count as one. Returns the new size."""
    for k in range(size):
        if abs(found[k, 0] - x) < APART_M and abs(found[k, 1] - y) < APART_M and abs(found[k, 2] - t) < APART_S:
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


@njit(cache=True, nogil=True)
def seek(
    seed: int,
    near: Ints,
    sensors: Floats,
    known: Floats,
    listening: Bools,
    first: Ints,
    owner: Ints,
    times: Floats,
    gains: Floats,
    free: Bools,
    prior: Floats,
    blur: float,
    hearing: Floats,
    rules: Floats,
    found: Floats,
    budget: int,
) -> tuple[int, int]:
    """Places from triples of free picks of which `seed` is the earliest; the best into `found` (Q, 4).

    Returns
    -------
    int, int
        How many there are, and how many triples were tried; those beyond `budget` were not.
    """
    a, size, spent, count = owner[seed], 0, 0, 1
    begin, speed = times[seed], prior[3]
    slow = 1.0 / max(speed - 2.0 * blur, 0.6 * speed)
    ears = np.empty((near.shape[1] + 1, 5))
    low, start, high = (
        np.empty(len(ears), np.int64), np.empty(len(ears), np.int64), np.empty(len(ears), np.int64),
    )  # fmt: skip
    later = 0
    for m in range(len(ears)):
        s = a if m == 0 else near[a, m - 1]
        if s == NONE:
            break
        count = m + 1
        ears[m, 0], ears[m, 1], ears[m, 2] = sensors[s, 0], sensors[s, 1], sensors[s, 2]
        ears[m, 3] = known[s] * known[s] + rules[WIDE_S] * rules[WIDE_S] + 1e-6
        ears[m, 4] = 1.0 if listening[s] else 0.0
        reach = math.sqrt((ears[m, 0] - ears[0, 0]) ** 2 + (ears[m, 1] - ears[0, 1]) ** 2) * slow + 0.02
        low[m] = first_not_before(times, first[s], first[s + 1], begin - reach)
        start[m] = first_not_before(times, low[m], first[s + 1], begin)
        high[m] = first_not_before(times, start[m], first[s + 1], begin + reach)
        if m > 0:
            later += high[m] > start[m]
    if later < 2:
        return 0, 0
    ears, hopes = ears[:count], np.zeros(count)
    for m in range(count - 1, 0, -1):
        most = -1e300
        for i in range(low[m], high[m]):
            if free[i]:
                most = max(most, gains[i])
        hopes[m - 1] = hopes[m] + max(0.0, most - 0.5 * math.log(ears[m, 3]) - 0.919)
    # What no fit could make good any more, by the sensors farther off, by a wide open place, or by another air.
    bar = -rules[LOG_RATE] - OPEN_ODDS - 1.5 * blur
    far_bar = bar - 6.0
    tx, ty, tz, tt, out = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty((2, 3))
    tx[0], ty[0], tz[0], tt[0] = ears[0, 0], ears[0, 1], ears[0, 2], begin
    for b in range(1, count):
        tx[1], ty[1], tz[1] = ears[b, 0], ears[b, 1], ears[b, 2]
        for j in range(start[b], high[b]):
            if not free[j]:
                continue
            tt[1] = times[j]
            for c in range(b + 1, count):
                apart = math.sqrt((ears[c, 0] - tx[1]) ** 2 + (ears[c, 1] - ty[1]) ** 2) * slow + 0.02
                tx[2], ty[2], tz[2] = ears[c, 0], ears[c, 1], ears[c, 2]
                for k in range(start[c], high[c]):
                    if not free[k] or abs(times[k] - tt[1]) > apart:
                        continue
                    spent += 1
                    if spent > budget:
                        continue
                    tt[2] = times[k]
                    for n in range(three_arrivals(tx, ty, tz, tt, prior[2], speed, prior[4], prior[5], out)):
                        away = math.sqrt((out[n, 0] - tx[0]) ** 2 + (out[n, 1] - ty[0]) ** 2)
                        if away > rules[FARTHEST_M]:
                            continue
                        enough = bar if away < FAR_M else far_bar
                        total = glance(
                            out[n, 0], out[n, 1], out[n, 2], begin, prior, blur, ears, low, high, times, gains, free,
                            hearing, hopes, enough,
                        )  # fmt: skip
                        if total > enough:
                            size = keep(found, size, out[n, 0], out[n, 1], out[n, 2], total)
    return size, spent


# The fit: place, time and air of a candidate, and its score.


@njit(cache=True, nogil=True)
def loudness(
    members: Ints, asked: Ints, p: Floats, sensors: Floats, listening: Bools, pressures: Floats, censored: Bools,
    floors: Floats, hearing: Floats, levels: Floats,
) -> float:  # fmt: skip
    """What the levels add to a score: they fall with distance, and a quiet bang need not be heard by all.

    The same as `localization.loudness` says, `levels` being its constants: level at 1 m, decay, scatter of a path, of
    sources, mean and sigma of chance, shortest distance, audible margin.
    """
    count, excess_sum = 0, 0.0
    for m in range(len(asked)):
        if members[m] != NONE and not math.isnan(pressures[members[m]]):
            count += 1
            excess_sum += _excess(members[m], asked[m], p, sensors, pressures, censored, levels)
    if count == 0:
        return 0.0
    path2, source2 = levels[2] * levels[2], levels[3] * levels[3]
    source = excess_sum * source2 / (path2 + count * source2)
    total = 0.0
    if count >= 2:
        misfit, chance = (source / levels[3]) ** 2, 0.0
        for m in range(len(asked)):
            i = members[m]
            if i == NONE or math.isnan(pressures[i]):
                continue
            excess = _excess(i, asked[m], p, sensors, pressures, censored, levels)
            misfit += (excess - source) ** 2 / path2
            level = excess + _expected(asked[m], p, sensors, levels)
            chance += ((level - levels[4]) / levels[5]) ** 2
        odds = 0.5 * (chance - misfit) + count * math.log(levels[5] / levels[2])
        odds -= 0.5 * math.log1p(count * source2 / path2)
        total += max(-3.0 * count, min(1.0, odds))
    last = len(hearing) - 1
    for m in range(len(asked)):
        s = asked[m]
        if s == NONE:
            break
        if members[m] != NONE or not listening[s] or math.isnan(floors[s]):
            continue
        column = int(_distance(s, p, sensors) / BIN_M)
        if column >= hearing.shape[1] - 1:
            continue
        margin = _expected(s, p, sensors, levels) + source - floors[s] - levels[7]
        audible = 0.5 * math.erfc(-margin / (levels[2] * math.sqrt(2.0)))
        share = math.exp(hearing[last, column, 0])
        total += math.log1p(-share * audible) - hearing[last, column, 1]
    return total


@njit(cache=True, nogil=True)
def _distance(s: int, p: Floats, sensors: Floats) -> float:
    return math.sqrt((sensors[s, 0] - p[0]) ** 2 + (sensors[s, 1] - p[1]) ** 2 + (sensors[s, 2] - p[2]) ** 2)


@njit(cache=True, nogil=True)
def _expected(s: int, p: Floats, sensors: Floats, levels: Floats) -> float:
    return levels[0] - levels[1] * math.log10(max(_distance(s, p, sensors), levels[6]))


@njit(cache=True, nogil=True)
def _excess(i: int, s: int, p: Floats, sensors: Floats, pressures: Floats, censored: Bools, levels: Floats) -> float:
    excess = pressures[i] - _expected(s, p, sensors, levels)
    return max(excess, 0.0) if censored[i] else excess


@njit(cache=True, nogil=True)
def log_volume(sensors: Floats, sigmas: Floats, weights: Floats, prior_sigma: Floats, p: Floats) -> float:
    """Logarithm of the volume (m^2 s) that the posterior fills about `p`: Laplace's, the nuisances integrated out.

    Air and height count by how far the arrivals narrow them down from what was known before. -1e300 where the
    arrivals leave the place open.
    """
    n = len(weights)
    jacobian, covariance = np.empty((n, 7)), np.empty((3, 3))
    for i in range(n):
        predict(sensors, i, p, jacobian)
    volume = spread(sigmas, weights, prior_sigma, jacobian, covariance)
    if not volume > -math.inf:
        return -1e300
    volume += 3.0 * math.log(ROOT_TWO_PI)
    for k in range(2, 6):
        if prior_sigma[k] >= SURE:
            volume -= math.log(prior_sigma[k])
    return volume


@njit(cache=True, nogil=True)
def collect(
    asked: Ints, members: Ints, path_s: float, sensors: Floats, known: Floats, times: Floats, sigma: Floats,
    outlier: Floats, used: Floats, rows: Floats,
) -> int:  # fmt: skip
    """Lay a crew out for the fit: places into `used` (A, 3), times, sigmas, outliers into `rows` (3, A); how many."""
    n = 0
    for m in range(len(asked)):
        i = members[m]
        if i != NONE:
            for axis in range(3):
                used[n, axis] = sensors[asked[m], axis]
            rows[0, n], rows[2, n] = times[i], outlier[i]
            rows[1, n] = math.sqrt(known[asked[m]] ** 2 + sigma[i] ** 2 + path_s**2)
            n += 1
    return n


@njit(cache=True, nogil=True)
def priced(
    odds: float, used: Floats, sigmas: Floats, prior: Floats, prior_sigma: Floats, p: Floats, rules: Floats
) -> float:
    """Log odds of a crew, with the price of its place and of the air that it takes; for one of two kinds of streets."""
    for k in range(2, 6):
        z = (p[k] - prior[k]) / prior_sigma[k]
        odds -= 0.5 * z * z
    volume = log_volume(used, sigmas, np.ones(len(sigmas)), prior_sigma, p)
    return odds + rules[LOG_RATE] - math.log(2.0) + min(volume, MOST_VOLUME)


@njit(cache=True, nogil=True)
def fit(
    p: Floats,
    asked: Ints,
    members: Ints,
    sensors: Floats,
    known: Floats,
    listening: Bools,
    first: Ints,
    times: Floats,
    sigma: Floats,
    gains: Floats,
    outlier: Floats,
    pressures: Floats,
    censored: Bools,
    free: Bools,
    floors: Floats,
    prior: Floats,
    prior_sigma: Floats,
    blur: float,
    late: Floats,
    hearing: Floats,
    levels: Floats,
    rules: Floats,
) -> float:
    """Climb to the best place near `p` (7,), gathering picks anew on the way; the score, `p` and `members` there.

    The score pays for the place: `rules[LOG_RATE]` is the logarithm of how many bangs a second and square metre are
    expected, and the volume of the posterior is what one candidate covers of that. How exact the arrivals of a street
    are is not known beforehand: once more with paths as sharp as they ever are, and the two are summed. Below three
    picks it is -1e300.
    """
    count = len(asked)
    used, rows = np.empty((count, 3)), np.empty((3, count))  # of what is used: places; times, sigmas, outliers
    residuals, weights, reach = np.empty(count), np.empty(count), np.empty(len(hearing) - 1)
    jacobian = np.empty((count, 7))
    before, wide_p, path_s = np.empty(count, np.int64), np.empty(7), rules[WIDE_S]
    steps = 8 if blur > 3.0 else 5
    # Later turns know the air better: it was fitted with the rest.
    for turn in range(3):
        unsure = blur if turn == 0 else (0.3 * blur if turn == 1 and blur > 1.0 else 0.0)
        odds = weigh(
            p, unsure, path_s, asked, sensors, known, listening, first, times, sigma, gains, outlier, free, late,
            hearing, reach, members,
        )  # fmt: skip
        n = collect(asked, members, path_s, sensors, known, times, sigma, outlier, used, rows)
        if n < 3 or odds + rules[LOG_RATE] + MOST_VOLUME + 4.0 * unsure < 0.0:
            return -1e300
        if turn == 2 or (turn == 1 and unsure == 0.0 and np.array_equal(before, members)):
            break
        before[:] = members
        ascend(
            used[:n], rows[0, :n], rows[1, :n], rows[2, :n], prior, prior_sigma, late, p, residuals[:n], weights[:n],
            jacobian[:n], ROUGH_M, steps,
        )  # fmt: skip
    score = priced(odds, used[:n], rows[1, :n], prior, prior_sigma, p, rules)
    if score > HOPELESS:
        before[:], wide_p[:], path_s = members, p, rules[SHARP_S]
        collect(asked, members, path_s, sensors, known, times, sigma, outlier, used, rows)
        ascend(
            used[:n], rows[0, :n], rows[1, :n], rows[2, :n], prior, prior_sigma, late, p, residuals[:n], weights[:n],
            jacobian[:n], ROUGH_M, 3,
        )  # fmt: skip
        odds = weigh(
            p, 0.0, path_s, asked, sensors, known, listening, first, times, sigma, gains, outlier, free, late, hearing,
            reach, members,
        )  # fmt: skip
        sharp, sharp_n = -1e300, collect(asked, members, path_s, sensors, known, times, sigma, outlier, used, rows)
        if sharp_n >= 3:
            sharp = priced(odds, used[:sharp_n], rows[1, :sharp_n], prior, prior_sigma, p, rules)
        if sharp > score:
            n = sharp_n
        else:
            members[:], p[:] = before, wide_p
        score = log_add(score, sharp)
    score += loudness(members, asked, p, sensors, listening, pressures, censored, floors, hearing, levels)
    # Any three picks fit some place, and none is left to check it.
    return score - rules[THREE_PRICE] if n == 3 else score


# Rounds: a pattern of arrivals that comes again.


@njit(cache=True, nogil=True)
def repeats(
    heard: Ints,
    offsets: Floats,
    offset_levels: Floats,
    first: Ints,
    times: Floats,
    gains: Floats,
    levels: Floats,
    free: Bools,
    rules: Floats,
    least_share: float,
    low_s: float,
    high_s: float,
    out: Floats,
) -> int:
    """Further rounds from one place: picks that repeat a pattern of arrivals.

    Parameters
    ----------
    heard : (H,) int64, the sensors of the pattern; offsets, offset_levels : (H,) float64, s after the discharge, and dB
    rules : the search's numbers, of which `REPEAT_S` is how exactly the pattern repeats, `LOG_REPEAT` the log odds of a
        round at any one instant, `SAME_DB` and `OTHER_DB` with their sigmas the level of a further round beside the
        pattern's, and of an echo's or of chance's
    least_share : float, of the sensors of the pattern must have heard a round, and three at least
    low_s, high_s : float, s, between which discharges are looked for
    out : (Q, 2) float64, receives discharge (s) and score, best first, none closer than 30 ms to a better one

    Returns
    -------
    int
        How many there are.
    """
    found = 0
    spread = rules[REPEAT_S]
    widest = math.log(rules[OTHER_SIGMA_DB] / rules[SAME_SIGMA_DB])
    for h in range(len(heard)):
        begin, end = first[heard[h]], first[heard[h] + 1]
        for i in range(first_not_before(times, begin, end, low_s + offsets[h]), end):
            start = times[i] - offsets[h]
            if start > high_s:
                break
            if not free[i]:
                continue
            score, hits, starts = rules[LOG_REPEAT], 0, 0.0
            for q in range(len(heard)):
                if hits + len(heard) - q < max(least_share * len(heard), 3.0):
                    break
                best, at = -2.0, NONE  # a sensor that missed this round costs two nats
                last, aim = first[heard[q] + 1], start + offsets[q]
                k = first_not_before(times, first[heard[q]], last, aim - 4.0 * spread)
                while k < last and times[k] <= aim + 4.0 * spread:
                    if free[k]:
                        z = (times[k] - aim) / spread
                        value = gains[k] - 0.5 * z * z - math.log(ROOT_TWO_PI * spread)
                        step = levels[k] - offset_levels[q]
                        if not math.isnan(step):
                            same = (step - rules[SAME_DB]) / rules[SAME_SIGMA_DB]
                            other = (step - rules[OTHER_DB]) / rules[OTHER_SIGMA_DB]
                            value += min(max(0.5 * (other * other - same * same) + widest, -6.0), 2.0)
                        if value > best:
                            best, at = value, k
                    k += 1
                score += best
                if at != NONE:
                    hits += 1
                    starts += times[at] - offsets[q]
            if hits >= max(least_share * len(heard), 3.0):
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


@njit(cache=True, nogil=True)
def nearest_repeat(
    start: float, heard: Ints, offsets: Floats, first: Ints, times: Floats, free: Bools, within_s: float, members: Ints
) -> int:
    """The free pick of each sensor of a pattern that is nearest to its round at `start`; how many there are."""
    hits = 0
    for q in range(len(heard)):
        aim, last = start + offsets[q], first[heard[q] + 1]
        members[q] = NONE
        off = within_s
        k = first_not_before(times, first[heard[q]], last, aim - within_s)
        while k < last and times[k] <= aim + within_s:
            if free[k] and abs(times[k] - aim) < off:
                off, members[q] = abs(times[k] - aim), k
            k += 1
        hits += members[q] != NONE
    return hits


@njit(cache=True, nogil=True)
def expect_echoes(
    s: int, arrival: float, level: float, claim: int, first: Ints, times: Floats, gains: Floats, fronts: Floats,
    free: Bools, touched: Ints, rules: Floats,
) -> None:  # fmt: skip
    """Take the picks that stand too close to a bang's arrival at a sensor, and make those behind it less telling.

    `fronts` (P,) remembers the `level` (dB, or NaN) of the loudest bang before each pick.
    """
    end = first[s + 1]
    i = first_not_before(times, first[s], end, arrival - 0.5 * rules[CLOSEST_S])
    while i < end and times[i] <= arrival + 5.0 * rules[FADE_S]:
        delay = times[i] - arrival
        if delay < rules[CLOSEST_S]:
            if free[i]:
                free[i] = False
                touched[i] = claim
        elif free[i]:
            gains[i] = -math.log(math.exp(-gains[i]) + rules[ECHOES_PER_S] * math.exp(-delay / rules[FADE_S]))
            touched[i] = claim
            if math.isnan(fronts[i]) or level > fronts[i]:
                fronts[i] = level
        i += 1


# What sure bangs teach: how far they carry, and the air they crossed.


@njit(cache=True, nogil=True)
def learn_air(
    p: Floats, asked: Ints, members: Ints, sensors: Floats, known: Floats, times: Floats, sigma: Floats, path_s: float,
    prior: Floats, matrix: Floats, vector: Floats,
) -> None:  # fmt: skip
    """Add what a bang's arrivals say of speed and wind to `matrix` (3, 3) and `vector` (3,): information about `prior`.

    Place and time are projected out: a bang tells of the air only by what no place explains.
    """
    outer, cross, inner = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))  # place-place, air-place, air-air
    place, air = np.zeros(3), np.zeros(3)
    g, h = np.empty(3), np.empty(3)
    for m in range(len(asked)):
        i = members[m]
        if i == NONE:
            continue
        s = asked[m]
        dx, dy, dz = sensors[s, 0] - p[0], sensors[s, 1] - p[1], sensors[s, 2] - p[2]
        distance = max(math.sqrt(dx * dx + dy * dy + dz * dz), 1.0)
        ux, uy = dx / distance, dy / distance
        speed = p[3] + p[4] * ux + p[5] * uy
        lag = distance / (speed * speed)
        r = times[i] - p[DISCHARGE] - distance / speed
        variance = known[s] * known[s] + sigma[i] * sigma[i] + path_s * path_s
        w = 1.0 / variance
        if r * r * w > 9.0:
            continue
        g[0], g[1], g[2] = -ux / speed, -uy / speed, 1.0
        h[0], h[1], h[2] = -lag, -lag * ux, -lag * uy
        # As if from the prior's air: the fit has moved it already.
        r += h[0] * (p[3] - prior[3]) + h[1] * (p[4] - prior[4]) + h[2] * (p[5] - prior[5])
        for a in range(3):
            place[a] += w * g[a] * r
            air[a] += w * h[a] * r
            for b in range(3):
                outer[a, b] += w * g[a] * g[b]
                cross[a, b] += w * h[a] * g[b]
                inner[a, b] += w * h[a] * h[b]
    for a in range(3):
        outer[a, a] *= 1.0 + 1e-9
    solved, ok = _inverse(outer)
    if not ok:
        return
    for a in range(3):
        for b in range(3):
            share = 0.0
            for k in range(3):
                share += cross[a, k] * solved[k, b]
            vector[a] -= share * place[b]
            for k in range(3):
                matrix[a, k] -= share * cross[k, b]
        vector[a] += air[a]
        for b in range(3):
            matrix[a, b] += inner[a, b]


@njit(cache=True, nogil=True)
def _inverse(m: Floats) -> tuple[Floats, bool]:
    """Inverse of a symmetric (3, 3) matrix by cofactors, and whether there is one."""
    out = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            a, b, c, d = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
            out[j, i] = m[a, c] * m[b, d] - m[a, d] * m[b, c]
    det = m[0, 0] * out[0, 0] + m[0, 1] * out[1, 0] + m[0, 2] * out[2, 0]
    if not det > 0.0:
        return out, False
    for i in range(3):
        for j in range(3):
            out[i, j] /= det
    return out, True


@njit(cache=True, nogil=True)
def learn(
    count: int, events: Floats, event_scores: Floats, event_homes: Ints, event_patterns: Ints, assigned: Ints,
    owner: Ints, around: Ints, sensors: Floats, known: Floats, listening: Bools, times: Floats, sigma: Floats,
    path_s: float, prior: Floats, hearing: Floats, least: float, from_s: float, to_s: float, ranges: Floats,
    matrix: Floats, vector: Floats,
) -> int:  # fmt: skip
    """What events surer than `least`, discharged in [from_s, to_s), say of ranges, and of the air.

    Adds the probability of each range to `ranges` (R,), the information to `matrix` and `vector` (see `learn_air`);
    rounds of one burst count once. Returns how many events there were to learn from.
    """
    filled, taught = np.zeros(count + 1, np.int64), 0
    for i in range(len(assigned)):
        if assigned[i] != NONE:
            filled[assigned[i] + 1] += 1
    for e in range(count):
        filled[e + 1] += filled[e]
    start, picks = filled.copy(), np.empty(filled[count], np.int64)
    for i in range(len(assigned)):
        if assigned[i] != NONE:
            picks[filled[assigned[i]]] = i
            filled[assigned[i]] += 1
    members = np.empty(around.shape[1], np.int64)
    odds = np.empty(len(ranges))
    for e in range(count):
        when = events[e, DISCHARGE]
        if event_patterns[e] != e or event_scores[e] < least or when < from_s or when >= to_s:
            continue
        taught += 1
        asked = around[event_homes[e]]
        for k in range(len(ranges)):
            odds[k] = hearing[k, hearing.shape[1] - 1, 0]
        for m in range(len(asked)):
            s = asked[m]
            members[m] = NONE
            if s == NONE:
                continue
            for q in range(start[e], start[e + 1]):
                if owner[picks[q]] == s:
                    members[m] = picks[q]
            column = int(_distance(s, events[e], sensors) / BIN_M)
            if column >= hearing.shape[1] - 1 or (members[m] == NONE and not listening[s]):
                continue
            for k in range(len(ranges)):
                odds[k] += hearing[k, column, 0 if members[m] != NONE else 1]
        most, total = odds.max(), 0.0
        for k in range(len(ranges)):
            total += math.exp(odds[k] - most)
        for k in range(len(ranges)):
            ranges[k] += math.exp(odds[k] - most) / total
        if start[e + 1] - start[e] >= 6:
            learn_air(events[e], asked, members, sensors, known, times, sigma, path_s, prior, matrix, vector)
    return taught


# The whole window: every candidate, and the best explanation first.


@njit(cache=True, nogil=True)
def gather(
    seeds: Ints,
    near: Ints,
    around: Ints,
    sensors: Floats,
    known: Floats,
    listening: Bools,
    floors: Floats,
    first: Ints,
    owner: Ints,
    times: Floats,
    sigma: Floats,
    gains: Floats,
    outlier: Floats,
    pressures: Floats,
    censored: Bools,
    free: Bools,
    prior: Floats,
    prior_sigma: Floats,
    blur: float,
    late: Floats,
    hearing: Floats,
    levels: Floats,
    rules: Floats,
    budget: int,
    hopeful: Bools,
    size: int,
    places: Floats,
    scores: Floats,
    homes: Ints,
    crews: Ints,
) -> tuple[int, int]:
    """Candidates of all `seeds`, in the order given, appended to `size` ones: parameters, scores, homes and picks.

    A seed that a surer candidate has explained is passed over: it is the earliest of nothing. `hopeful` (P,) marks
    those and the ones with a candidate: the others need no second look. Returns how many candidates there are, and how
    many triples were left untried since a seed may not spend more than its `budget`.
    """
    found = np.empty((SURVIVORS, 4))
    covered = np.zeros(len(times), np.bool_)
    members = np.empty(around.shape[1], np.int64)
    p = np.empty(7)
    untried = 0
    for seed in seeds:
        if covered[seed] or not free[seed]:
            hopeful[seed] = True
            continue
        count, spent = seek(
            seed, near, sensors, known, listening, first, owner, times, gains, free, prior, blur, hearing, rules, found,
            budget,
        )  # fmt: skip
        untried += max(0, spent - budget)
        hopeful[seed] = count > 0
        home, begin = owner[seed], size
        for k in range(count):
            at = k  # best first: what it explains need not be fitted again
            for q in range(k + 1, count):
                if found[q, 3] > found[at, 3]:
                    at = q
            for q in range(4):
                found[k, q], found[at, q] = found[at, q], found[k, q]
            p[:] = prior
            p[0], p[1], p[DISCHARGE] = found[k, 0], found[k, 1], found[k, 2]
            if (
                k > 0
                and size > begin
                and math.hypot(p[0] - places[size - 1, 0], p[1] - places[size - 1, 1]) < 6.0 * APART_M
                and _explained(p, around[home], crews[size - 1], sensors, times, blur)
            ):
                continue
            score = fit(
                p, around[home], members, sensors, known, listening, first, times, sigma, gains, outlier, pressures,
                censored, free, floors, prior, prior_sigma, blur, late, hearing, levels, rules,
            )  # fmt: skip
            if score <= rules[LEAST_ODDS] or size >= len(scores):
                continue
            same = NONE
            for c in range(size - 1, max(-1, size - 1 - 4 * SURVIVORS), -1):
                if (
                    abs(places[c, 0] - p[0]) < 0.5 * APART_M
                    and abs(places[c, 1] - p[1]) < 0.5 * APART_M
                    and abs(places[c, DISCHARGE] - p[DISCHARGE]) < 0.7 * APART_S
                ):
                    same = c
                    break
            if same != NONE and scores[same] >= score:
                continue
            at = size if same == NONE else same
            places[at] = p
            scores[at], homes[at] = score, home
            crews[at] = members
            size += same == NONE
            if score > 25.0:
                for i in members:
                    if i != NONE:
                        covered[i] = True
    return size, untried


@njit(cache=True, nogil=True)
def _explained(p: Floats, asked: Ints, crew: Ints, sensors: Floats, times: Floats, blur: float) -> bool:
    """Whether a place explains just the picks that a crew has already, at the sensors nearest to it."""
    for m in range(9):
        if m >= len(asked) or asked[m] == NONE:
            break
        i = crew[m]
        if i == NONE:
            continue
        s = asked[m]
        dx, dy = sensors[s, 0] - p[0], sensors[s, 1] - p[1]
        distance = _distance(s, p, sensors)
        arrival = p[DISCHARGE] + distance / (p[3] + (p[4] * dx + p[5] * dy) / (distance + 1e-9))
        if abs(times[i] - arrival) > 0.015 + 2.0 * blur * distance / (p[3] * p[3]):
            return False
    return True


@njit(cache=True, nogil=True)
def shared(one: Ints, other: Ints) -> int:
    """How many picks two crews have in common."""
    count = 0
    for i in one:
        if i == NONE:
            continue
        for j in other:
            if i == j:
                count += 1
                break
    return count


@njit(cache=True, nogil=True)
def pattern_of(
    p: Floats, asked: Ints, members: Ints, times: Floats, levels: Floats, heard: Ints, offsets: Floats,
    offset_levels: Floats,
) -> int:  # fmt: skip
    """How a bang sounded: which sensors heard it, when after the discharge (s) and how loud (dB); how many did."""
    count = 0
    for m in range(len(asked)):
        i = members[m]
        if i != NONE:
            heard[count], offsets[count], offset_levels[count] = asked[m], times[i] - p[DISCHARGE], levels[i]
            count += 1
    return count


@njit(cache=True, nogil=True)
def shadow(
    p: Floats, asked: Ints, heard: Ints, offsets: Floats, offset_levels: Floats, claim: int, sensors: Floats,
    first: Ints, times: Floats, gains: Floats, fronts: Floats, free: Bools, touched: Ints, hearing: Floats,
    rules: Floats,
) -> None:  # fmt: skip
    """Expect echoes of a bang wherever it was heard, or should have been."""
    last = len(hearing) - 1
    for m in range(len(asked)):
        s = asked[m]
        if s == NONE:
            break
        arrival, level = math.nan, math.nan
        for h in range(len(heard)):
            if heard[h] == s:
                arrival, level = p[DISCHARGE] + offsets[h], offset_levels[h]
                break
        if math.isnan(arrival):
            column = int(_distance(s, p, sensors) / BIN_M)
            if column >= hearing.shape[1] or hearing[last, column, 0] < -0.7:
                continue
            dx, dy = sensors[s, 0] - p[0], sensors[s, 1] - p[1]
            distance = _distance(s, p, sensors)
            arrival = p[DISCHARGE] + distance / (p[3] + (p[4] * dx + p[5] * dy) / max(distance, 1e-9))
        expect_echoes(s, arrival, level, claim, first, times, gains, fronts, free, touched, rules)


@njit(cache=True, nogil=True)
def fellows(
    p: Floats,
    home: int,
    heard: Ints,
    offsets: Floats,
    offset_levels: Floats,
    pattern: int,
    around: Ints,
    sensors: Floats,
    first: Ints,
    times: Floats,
    gains: Floats,
    levels: Floats,
    fronts: Floats,
    free: Bools,
    touched: Ints,
    assigned: Ints,
    hearing: Floats,
    rules: Floats,
    count: int,
    events: Floats,
    event_scores: Floats,
    event_homes: Ints,
    event_patterns: Ints,
    claims: Floats,
    low_s: float,
    high_s: float,
) -> int:
    """Claim the further rounds of a place; returns how many events there are now.

    A round that only some of the pattern's sensors heard might as well be another bang on the same side of them:
    `claims` (P,) has the log odds of the best other explanation of each pick, and it must not be better for most.
    """
    out = np.empty((64, 2))
    members = np.empty(len(heard), np.int64)
    chosen = np.empty(64)
    taken = 0
    found = repeats(
        heard, offsets, offset_levels, first, times, gains, levels, free, rules, LEAST_SHARE, low_s, high_s, out
    )
    for k in range(found):
        start, score = out[k, 0], out[k, 1]
        if score <= rules[LEAST_ODDS] or count >= len(event_scores):
            break
        close = abs(start - p[DISCHARGE]) < rules[CLOSEST_S] * 1.1
        for q in range(taken):
            close = close or abs(start - chosen[q]) < rules[CLOSEST_S] * 1.1
        if close:
            continue
        hits, lost = nearest_repeat(start, heard, offsets, first, times, free, 4.0 * rules[REPEAT_S], members), 0
        for i in members:
            lost += i != NONE and claims[i] > score
        if hits < MOST_SHARE * len(heard) and 2 * lost > hits:
            continue
        chosen[taken] = start
        taken += 1
        if hits < max(LEAST_SHARE * len(heard), 3.0):
            continue
        for q in range(len(heard)):
            if members[q] != NONE:
                assigned[members[q]] = count
                free[members[q]] = False
                touched[members[q]] = count
        events[count] = p
        events[count, DISCHARGE] = start
        event_scores[count], event_homes[count], event_patterns[count] = score, home, pattern
        shadow(
            events[count], around[home], heard, offsets, offset_levels, count, sensors, first, times, gains, fronts,
            free, touched, hearing, rules,
        )  # fmt: skip
        count += 1
    return count


@njit(cache=True, nogil=True)
def burst_score(
    p: Floats, asked: Ints, members: Ints, first: Ints, times: Floats, gains: Floats, levels: Floats, free: Bools,
    rules: Floats,
) -> float:  # fmt: skip
    """What a candidate's further rounds would add to its score."""
    heard, offsets, offset_levels = np.empty(len(asked), np.int64), np.empty(len(asked)), np.empty(len(asked))
    n = pattern_of(p, asked, members, times, levels, heard, offsets, offset_levels)
    for i in members:
        if i != NONE:
            free[i] = False
    out = np.empty((64, 2))
    found = repeats(
        heard[:n], offsets[:n], offset_levels[:n], first, times, gains, levels, free, rules, LEAST_SHARE,
        p[DISCHARGE] - rules[BURST_S], p[DISCHARGE] + rules[BURST_S], out,
    )  # fmt: skip
    for i in members:
        if i != NONE:
            free[i] = True
    total = 0.0
    for k in range(found):
        alone = out[k, 1] > rules[LEAST_ODDS]
        for q in range(k):
            alone = alone and abs(out[k, 0] - out[q, 0]) > rules[CLOSEST_S] * 1.1
        if alone:
            total += out[k, 1]
    return total


@njit(cache=True, nogil=True)
def choose(
    size: int,
    places: Floats,
    scores: Floats,
    homes: Ints,
    crews: Ints,
    around: Ints,
    sensors: Floats,
    known: Floats,
    listening: Bools,
    floors: Floats,
    first: Ints,
    times: Floats,
    sigma: Floats,
    gains: Floats,
    outlier: Floats,
    levels: Floats,
    pressures: Floats,
    censored: Bools,
    fronts: Floats,
    free: Bools,
    touched: Ints,
    assigned: Ints,
    fired: Floats,
    prior: Floats,
    prior_sigma: Floats,
    late: Floats,
    hearing: Floats,
    level_numbers: Floats,
    rules: Floats,
    count: int,
    events: Floats,
    event_scores: Floats,
    event_homes: Ints,
    event_patterns: Ints,
    rivals: Ints,
    rival_crews: Ints,
    rival_scores: Floats,
    rivals_count: int,
) -> tuple[int, int]:
    """Claim candidates, best first, each with its further rounds; those that lose picks are explained anew.

    Among candidates for mostly the same picks the one that explains most together with its further rounds comes first:
    a burst's true place explains all of its rounds, a mixture of two rounds seldom finds its like. `rivals` (R,)
    receives the event that each rival lost against, with its picks and its score.
    """
    seen = np.full(size, count - 1, np.int64)
    alive = np.ones(size, np.bool_)
    founders, told, told_first = 0, np.empty(size + 1, np.int64), np.zeros(size + 2, np.int64)
    told_heard, told_offsets, told_levels = (
        np.empty(len(times), np.int64), np.empty(len(times)), np.empty(len(times)),
    )  # fmt: skip
    heard, offsets, offset_levels = (
        np.empty(around.shape[1], np.int64), np.empty(around.shape[1]), np.empty(around.shape[1]),
    )  # fmt: skip
    # By pick, the candidates that would take it: those are what a claim concerns, however large the city.
    mark, takers_first = np.full(size, NONE, np.int64), np.zeros(len(times) + 2, np.int64)
    for c in range(size):
        for i in crews[c]:
            if i != NONE:
                takers_first[i + 2] += 1
    for i in range(len(times)):
        takers_first[i + 2] += takers_first[i + 1]
    takers = np.empty(takers_first[len(times) + 1], np.int64)
    for c in range(size):
        for i in crews[c]:
            if i != NONE:
                takers[takers_first[i + 1]] = c
                takers_first[i + 1] += 1
    nobody, claims = np.full(len(times), -math.inf), np.full(len(times), SURE_ROUND)
    heap = [(-scores[c], c) for c in range(size)]
    heapq.heapify(heap)
    while len(heap) > 0 and count < len(event_scores):
        key, best = heapq.heappop(heap)
        if not alive[best] or -key != scores[best]:
            continue
        if _stale(crews[best], touched, seen[best]):
            seen[best] = count - 1
            scores[best] = fit(
                places[best], around[homes[best]], crews[best], sensors, known, listening, first, times, sigma, gains,
                outlier, pressures, censored, free, floors, prior, prior_sigma, 0.0, late, hearing, level_numbers,
                rules,
            )  # fmt: skip
            alive[best] = scores[best] > rules[LEAST_ODDS]
            if alive[best]:
                heapq.heappush(heap, (-scores[best], best))
            continue
        winner, most, asked_burst = best, -1e300, 0
        mark[best] = best
        for i in crews[best]:
            if i == NONE:
                continue
            for c in takers[takers_first[i] : takers_first[i + 1]]:
                if not alive[c] or mark[c] == best or asked_burst >= 12 or scores[c] < scores[best] - 30.0:
                    continue
                mark[c] = best
                if _stale(crews[c], touched, seen[c]):
                    continue
                if asked_burst == 0:
                    most = scores[best] + burst_score(
                        places[best], around[homes[best]], crews[best], first, times, gains, levels, free, rules
                    )
                asked_burst += 1
                burst = scores[c] + burst_score(
                    places[c], around[homes[c]], crews[c], first, times, gains, levels, free, rules
                )
                if burst > most:
                    winner, most = c, burst
        if winner != best:
            heapq.heappush(heap, (-scores[best], best))
        alive[winner] = False
        if (
            _fired_before(places[winner], fired, len(fired)) or _fired_before(places[winner], events, count)
        ) and scores[winner] + level_odds(crews[winner], levels, fronts, rules) <= rules[LEAST_ODDS]:
            continue  # a wall beside the shooter: the same bang once more, and weaker
        own = 0
        for i in crews[winner]:
            own += i != NONE
        for i in crews[winner]:
            if i == NONE:
                continue
            for c in takers[takers_first[i] : takers_first[i + 1]]:
                if not alive[c] or mark[c] == size + winner or rivals_count >= len(rivals):
                    continue
                mark[c] = size + winner
                if 2 * shared(crews[winner], crews[c]) >= own:
                    rivals[rivals_count], rival_scores[rivals_count] = count, scores[c]
                    rival_crews[rivals_count] = crews[c]
                    rivals_count += 1
        asked = around[homes[winner]]
        n = pattern_of(places[winner], asked, crews[winner], times, levels, heard, offsets, offset_levels)
        for i in crews[winner]:
            if i != NONE:
                assigned[i], free[i], touched[i] = count, False, count
        events[count] = places[winner]
        event_scores[count], event_homes[count], event_patterns[count] = scores[winner], homes[winner], count
        pattern = count
        shadow(
            events[count], asked, heard[:n], offsets[:n], offset_levels[:n], count, sensors, first, times, gains,
            fronts, free, touched, hearing, rules,
        )  # fmt: skip
        count += 1
        start = events[pattern, DISCHARGE]
        claim_elsewhere(places[winner], size, places, scores, alive, crews, rules, claims)
        count = fellows(
            events[pattern].copy(), homes[winner], heard[:n], offsets[:n], offset_levels[:n], pattern, around, sensors,
            first, times, gains, levels, fronts, free, touched, assigned, hearing, rules, count, events, event_scores,
            event_homes, event_patterns, claims, start - rules[BURST_S], start + rules[BURST_S],
        )  # fmt: skip
        told[founders], told_first[founders + 1] = pattern, told_first[founders] + n
        part = slice(told_first[founders], told_first[founders + 1])
        told_heard[part], told_offsets[part], told_levels[part] = heard[:n], offsets[:n], offset_levels[:n]
        founders += 1
    # Rounds that only some sensors heard come last: they might as well have been other bangs, by then explained.
    for f in range(founders):
        e, part = told[f], slice(told_first[f], told_first[f + 1])
        start = events[e, DISCHARGE]
        count = fellows(
            events[e].copy(), event_homes[e], told_heard[part], told_offsets[part], told_levels[part], e, around,
            sensors, first, times, gains, levels, fronts, free, touched, assigned, hearing, rules, count, events,
            event_scores, event_homes, event_patterns, nobody, start - rules[BURST_S], start + rules[BURST_S],
        )  # fmt: skip
    return count, rivals_count


@njit(cache=True, nogil=True)
def claim_elsewhere(
    p: Floats, size: int, places: Floats, scores: Floats, alive: Bools, crews: Ints, rules: Floats, claims: Floats
) -> None:
    """Into `claims` (P,): the log odds of the best candidate from any other place about `p`, `SURE_ROUND` at least."""
    claims[:] = SURE_ROUND
    for c in range(size):
        east, north = abs(places[c, 0] - p[0]), abs(places[c, 1] - p[1])
        if not alive[c] or scores[c] <= SURE_ROUND or east > ELSEWHERE_M or north > ELSEWHERE_M:
            continue
        if abs(places[c, DISCHARGE] - p[DISCHARGE]) > rules[BURST_S] or math.hypot(east, north) < SAME_PLACE_M:
            continue
        for i in crews[c]:
            if i != NONE:
                claims[i] = max(claims[i], scores[c])


@njit(cache=True, nogil=True)
def _fired_before(p: Floats, events: Floats, count: int) -> bool:
    """Whether one of the first `count` events (E, 7) was fired about where `p` was, not long before it."""
    for e in range(count):
        delay = p[DISCHARGE] - events[e, DISCHARGE]
        if 0.0 < delay < ECHOED_S and math.hypot(p[0] - events[e, 0], p[1] - events[e, 1]) < SAME_PLACE_M:
            return True
    return False


@njit(cache=True, nogil=True)
def level_odds(crew: Ints, levels: Floats, fronts: Floats, rules: Floats) -> float:
    """Log odds that picks are a further round rather than echoes, by their levels beside the bang before them."""
    total = 0.0
    widest = math.log(rules[OTHER_SIGMA_DB] / rules[SAME_SIGMA_DB])
    for i in crew:
        if i != NONE and not math.isnan(levels[i] - fronts[i]):
            same = (levels[i] - fronts[i] - rules[SAME_DB]) / rules[SAME_SIGMA_DB]
            other = (levels[i] - fronts[i] - rules[OTHER_DB]) / rules[OTHER_SIGMA_DB]
            total += min(max(0.5 * (other * other - same * same) + widest, -6.0), 2.0)
    return min(total, 0.0)


@njit(cache=True, nogil=True)
def _stale(crew: Ints, touched: Ints, seen: int) -> bool:
    for i in crew:  # noqa: SIM110  (generators are no kernels' fare)
        if i != NONE and touched[i] > seen:
            return True
    return False


@njit(cache=True, nogil=True)
def old_rounds(
    claims: Floats, pattern_first: Ints, pattern_heard: Ints, pattern_offsets: Floats, pattern_levels: Floats,
    pattern_places: Floats, pattern_homes: Ints, pattern_starts: Floats, pattern_last: Bools, around: Ints,
    sensors: Floats, first: Ints, times: Floats, gains: Floats, levels: Floats, fronts: Floats, free: Bools,
    touched: Ints, assigned: Ints, hearing: Floats, rules: Floats, count: int, events: Floats, event_scores: Floats,
    event_homes: Ints, event_patterns: Ints,
) -> int:  # fmt: skip
    """Claim further rounds of the places that have just fired (see `explain`); returns how many events there are."""
    p = np.empty(7)
    for k in range(len(pattern_starts)):
        if not pattern_last[k]:
            continue
        part = slice(pattern_first[k], pattern_first[k + 1])
        p[:] = pattern_places[k]
        p[DISCHARGE] = pattern_starts[k]
        count = fellows(
            p, pattern_homes[k], pattern_heard[part], pattern_offsets[part], pattern_levels[part], -1 - k, around,
            sensors, first, times, gains, levels, fronts, free, touched, assigned, hearing, rules, count, events,
            event_scores, event_homes, event_patterns, claims, p[DISCHARGE] - rules[BURST_S],
            p[DISCHARGE] + rules[BURST_S],
        )  # fmt: skip
    return count


@njit(cache=True, nogil=True)
def explain(
    near: Ints,
    around: Ints,
    sensors: Floats,
    known: Floats,
    listening: Bools,
    floors: Floats,
    first: Ints,
    owner: Ints,
    times: Floats,
    sigma: Floats,
    gains: Floats,
    outlier: Floats,
    levels: Floats,
    pressures: Floats,
    censored: Bools,
    free: Bools,
    prior: Floats,
    prior_sigma: Floats,
    late: Floats,
    hearing: Floats,
    level_numbers: Floats,
    rules: Floats,
    budget: int,
    seeds_until_s: float,
    pattern_first: Ints,
    pattern_heard: Ints,
    pattern_offsets: Floats,
    pattern_levels: Floats,
    pattern_places: Floats,
    pattern_homes: Ints,
    pattern_starts: Floats,
    pattern_last: Bools,
    assigned: Ints,
    events: Floats,
    event_scores: Floats,
    event_homes: Ints,
    event_patterns: Ints,
    places: Floats,
    scores: Floats,
    homes: Ints,
    crews: Ints,
    rivals: Ints,
    rival_crews: Ints,
    rival_scores: Floats,
) -> tuple[int, int, int]:
    """Explain a window of picks: further rounds of places that have just fired, then new places, best first.

    Parameters
    ----------
    near, around : (S, M), (S, A) int64, for each sensor those it is paired with, and those asked about a bang that it
        heard first, itself first; -1 ends a row
    sensors : (S, 3) float64, m; known : (S,) float64, s, timing error of each that is not the pick's
    listening, floors : (S,) bool, float64, as in `localization.window`
    first, owner, times, sigma, gains, outlier, levels, pressures, censored, free : as in `localization.window`;
        `gains` and `free` are changed
    prior, prior_sigma : (7,) float64, see `localization.solver_kernels`
    late, hearing, level_numbers, rules : see `late_parts`, `weigh`, `loudness`, and the names on top of this file
    budget : triples that one seed may try
    seeds_until_s : bangs that were heard first later than this are none of this window's business
    pattern_... : places that have just fired: their sensors, offsets (s) and levels (dB), flat; parameters, the sensor
        that heard each first, the discharge (s), and whether it is the last round of its pattern: fellows are looked
        for about that one
    assigned : (P,) int64, receives the event of each pick, or -1
    events, event_scores, event_homes, event_patterns : (E, 7), (E,), (E,), (E,), receive what was found; the pattern
        is the event that set it, or -1 - k for one given
    places, scores, homes, crews : (C, 7), (C,), (C,), (C, A), receive the candidates
    rivals, rival_crews, rival_scores : (R,), (R, A), (R,), receive the event that each rival lost against, the
        rival's picks, -1 where none, and its score

    Returns
    -------
    int, int, int
        How many events and rivals there are; how many triples were left untried.
    """
    assigned[:] = NONE
    touched, fronts = np.full(len(times), -1, np.int64), np.full(len(times), math.nan)
    fired = pattern_places.copy()
    blur = math.sqrt(prior_sigma[3] ** 2 + 0.5 * (prior_sigma[4] ** 2 + prior_sigma[5] ** 2))
    p, count = np.empty(7), 0
    for k in range(len(pattern_starts)):
        part = slice(pattern_first[k], pattern_first[k + 1])
        p[:] = pattern_places[k]
        p[DISCHARGE] = pattern_starts[k]
        fired[k, DISCHARGE] = pattern_starts[k]
        shadow(
            p, around[pattern_homes[k]], pattern_heard[part], pattern_offsets[part], pattern_levels[part], -1, sensors,
            first, times, gains, fronts, free, touched, hearing, rules,
        )  # fmt: skip
    count = old_rounds(
        np.full(len(times), 2.0 * SURE_ROUND), pattern_first, pattern_heard, pattern_offsets, pattern_levels,
        pattern_places, pattern_homes, pattern_starts, pattern_last, around, sensors, first, times, gains, levels,
        fronts, free, touched, assigned, hearing, rules, count, events, event_scores, event_homes, event_patterns,
    )  # fmt: skip
    size, rivals_count, untried, before = 0, 0, 0, -1
    hopeful = times < seeds_until_s
    order = np.argsort(times, kind="mergesort")
    while before < count or before == -1:
        before = count
        start = size
        seeds = order[free[order] & hopeful[order]]
        size, skipped = gather(
            seeds, near, around, sensors, known, listening, floors, first, owner, times, sigma, gains, outlier,
            pressures, censored, free, prior, prior_sigma, blur, late, hearing, level_numbers, rules, budget,
            hopeful, size, places, scores, homes, crews,
        )  # fmt: skip
        untried += skipped
        if size == start:
            break
        # Candidates of this turn only: what the turn before left alive was explained away by then.
        now, rivals_count = choose(
            size - start, places[start:], scores[start:], homes[start:], crews[start:], around, sensors, known,
            listening, floors, first, times, sigma, gains, outlier, levels, pressures, censored, fronts, free, touched,
            assigned, fired, prior, prior_sigma, late, hearing, level_numbers, rules, count, events, event_scores,
            event_homes, event_patterns, rivals, rival_crews, rival_scores, rivals_count,
        )  # fmt: skip
        count = now
        if start == 0:
            count = old_rounds(
                np.full(len(times), -math.inf), pattern_first, pattern_heard, pattern_offsets, pattern_levels,
                pattern_places, pattern_homes, pattern_starts, pattern_last, around, sensors, first, times, gains,
                levels, fronts, free, touched, assigned, hearing, rules, count, events, event_scores, event_homes,
                event_patterns,
            )  # fmt: skip
        if start > 0:  # twice is enough: what the claims of the second turn uncover is chance
            break
    return count, rivals_count, untried


# What comes behind a pick of the same sensor.


@njit(cache=True, nogil=True)
def echo_rates(
    times: Floats, levels: Floats, first: Ints, per_s: float, fade_s: float, mean_db: float, sigma_db: float,
    out: Floats,
) -> None:  # fmt: skip
    """How often echoes of a sensor's earlier picks come by chance at each pick, 1/s, into `out` (P,).

    They begin with `per_s` and thin out over `fade_s`. An echo is mostly weaker than its sound, by `mean_db` with
    `sigma_db` about it: a pick well above everything before it is none.
    """
    for s in range(len(first) - 1):
        for i in range(first[s], first[s + 1]):
            most = 0.0
            for k in range(i - 1, first[s] - 1, -1):
                delay = times[i] - times[k]
                if delay > 5.0 * fade_s:
                    break
                step = levels[i] - levels[k]
                above = 0.0 if math.isnan(step) else max(step - mean_db, 0.0) / sigma_db
                most = max(most, math.exp(-delay / fade_s - 0.5 * above * above))
            out[i] = per_s * most
