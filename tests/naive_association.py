"""The slow twins of `localization.association_kernels`, in plain loops that nobody can misread."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from localization import loudness
from tests import naive, naive_solver


def neighbours(sensors, most, farthest):
    """Rows of the nearest sensors in the plane, each sensor itself first, then by distance and number."""
    rows = []
    for s, (x, y, _) in enumerate(sensors):
        far = [(math.hypot(u - x, v - y), o != s, o) for o, (u, v, _) in enumerate(sensors)]
        row = [o for d, _, o in sorted(far, key=lambda f: (f[0], f[1], f[2])) if d <= farthest][:most]
        rows.append(row)
    return rows


def weighed(p, blur, path, asked, sensors, known, listening, picks, late, table, bin_m, hardly):
    """Log odds that the sensors ``asked`` heard a bang, and who did; ``picks`` are (time, sigma, gain, outlier).

    ``table`` (R + 1, B + 1, 2) as the kernel takes it.
    """
    ranges = len(table) - 1
    odds = [table[k][-1][0] for k in range(ranges)]
    members = []
    anchor = float(np.linalg.norm(np.asarray(sensors[asked[0]]) - p[:3]))
    for s in asked:
        distance = float(np.linalg.norm(np.asarray(sensors[s]) - p[:3]))
        column = int(distance / bin_m)
        members.append(-1)
        if column >= len(table[0]) - 1 or table[ranges][column][0] < hardly:
            continue
        arrival = p[6] + naive.travel_time(p[:3], sensors[s], p[3], p[4:6])
        unsure = blur * abs(distance - anchor) / p[3] ** 2
        common = known[s] ** 2 + path**2 + unsure**2
        gate = 4.0 * math.sqrt(common + 1e-6)
        best = -math.inf
        for n, (time, sigma, gain, outlier) in enumerate(picks[s]):
            r = time - arrival
            if not -gate <= r <= gate + 3.0 * late[0]:
                continue
            spread = math.sqrt(common + sigma**2)
            direct = (1.0 - outlier) * stats.norm.pdf(r, scale=spread)
            other = outlier * naive_solver.late_density(r, late)
            density = direct + (other if abs(r) > 2.0 * spread else 0.0)
            if density > 1e-300 and math.log(density) + gain > best:
                best, members[-1] = math.log(density) + gain, n
        silence = table[ranges][column][1] if listening[s] else 0.0
        if best + table[ranges][column][0] > silence:
            odds = [odds[k] + best + table[k][column][0] for k in range(ranges)]
        else:
            members[-1] = -1
            if listening[s]:
                odds = [odds[k] + table[k][column][1] for k in range(ranges)]
    return float(np.logaddexp.reduce(odds)), members


def log_volume(sensors, sigmas, weights, prior_sigma, p):
    """Laplace's volume of place and time, by derivatives taken numerically and a determinant of the whole matrix."""

    def arrival(q, sensor):
        return q[6] + naive.travel_time(q[:3], sensor, q[3], q[4:6])

    hessian = np.diag([0.0, 0.0, *(np.asarray(prior_sigma[2:6]) ** -2.0), 0.0])
    for sensor, sigma, weight in zip(sensors, sigmas, weights, strict=True):
        g = np.empty(7)
        for k in range(7):
            step = np.zeros(7)
            step[k] = 1e-4
            g[k] = (arrival(p + step, sensor) - arrival(p - step, sensor)) / 2e-4
        hessian += weight / sigma**2 * np.outer(g, g)
    _, log_det = np.linalg.slogdet(hessian)
    return 1.5 * math.log(2.0 * math.pi) - 0.5 * log_det - sum(math.log(s) for s in prior_sigma[2:6])


def further_rounds(heard, offsets, offset_levels, picks, sigma, same, other, log_rate, share, low_s, high_s):
    """Scores of every discharge at which picks repeat a pattern; ``picks`` are (time, gain, level) by sensor."""
    rounds = []
    for sensor, offset in zip(heard, offsets, strict=True):
        for time, _, _ in picks[sensor]:
            start = time - offset
            if not low_s <= start <= high_s:
                continue
            score, starts = log_rate, []
            for q, lag, level in zip(heard, offsets, offset_levels, strict=True):
                options = [(-2.0, None)]
                for t, gain, db in picks[q]:
                    r = t - lag - start
                    if abs(r) <= 4.0 * sigma:
                        value = gain + stats.norm.logpdf(r, scale=sigma)
                        odds = stats.norm.logpdf(db - level, *same) - stats.norm.logpdf(db - level, *other)
                        options.append((value + min(max(odds, -6.0), 2.0), t - lag))
                value, at = max(options, key=lambda option: option[0])
                score += value
                if at is not None:
                    starts.append(at)
            if len(starts) >= max(3.0, share * len(heard)):
                rounds.append((float(np.mean(starts)), score))
    return rounds


def echo_rates(times, levels, per_s, fade_s, mean_db, sigma_db):
    """How often echoes of earlier picks come at each pick of one sensor, 1/s."""
    rates = []
    for i, (t, level) in enumerate(zip(times, levels, strict=True)):
        most = 0.0
        for before, other in zip(times[:i], levels[:i], strict=True):
            if t - before <= 5.0 * fade_s:
                step = level - other
                above = 0.0 if math.isnan(step) else max(step - mean_db, 0.0) / sigma_db
                most = max(most, math.exp(-(t - before) / fade_s - 0.5 * above**2))
        rates.append(per_s * most)
    return rates


def audible_share(levels_db, censored, distances_m, silent_m, floors_db):
    """Probability, (k,), that a bang with these levels at its hearers rises above the noise of each silent sensor.

    ``levels_db``, ``censored``, ``distances_m`` (n,) as `localization.loudness.loudness_odds` takes them; ``silent_m``
    (k,) and ``floors_db`` (k,) are the distance of each silent sensor, m, and its noise, dB SPL, NaN where unknown: 1
    where nothing is known, so that silence counts in full.
    """
    known = ~np.isnan(levels_db)
    if not np.any(known):
        return np.ones(len(silent_m))
    expected = loudness.expected_level(distances_m[known])
    levels = np.where(censored[known], np.maximum(levels_db[known], expected), levels_db[known])
    source = loudness._source(levels - expected)
    margin = loudness.expected_level(silent_m) + source - floors_db - loudness.AUDIBLE_DB
    return np.where(np.isnan(floors_db), 1.0, stats.norm.cdf(margin / loudness.SCATTER_DB))
