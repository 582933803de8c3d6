"""The slow twins: every kernel once more, in plain loops that nobody can misread. Tests compare the two."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

# Localization: straight lines through moving air, and the most probable place.


def travel_time(source, sensor, speed, wind):
    """Seconds from source to sensor, (3,) m each, in air that moves with ``wind`` (2,) m/s."""
    path = np.asarray(sensor, float) - np.asarray(source, float)
    distance = float(np.linalg.norm(path))
    return distance / (speed + float(np.dot(wind, path[:2])) / distance)


def direct_or_late(residual, sigma, outlier, late_scale, late_share):
    """Density of a residual: Gaussian when direct, else exponential, mostly late."""
    direct = math.exp(-0.5 * (residual / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi))
    if residual >= 0.0:
        late = late_share * math.exp(-residual / late_scale) / late_scale
    else:
        late = (1.0 - late_share) * math.exp(residual / late_scale) / late_scale
    return (1.0 - outlier) * direct, outlier * late


def log_posterior(sensors, times, sigmas, outlier, prior, prior_sigma, late, p):
    """Log posterior of east, north, up, speed, wind east, wind north, discharge; and P(direct) of each arrival."""
    total, weights = 0.0, []
    for sensor, t, sigma, share in zip(sensors, times, sigmas, outlier, strict=True):
        residual = t - p[6] - travel_time(p[:3], sensor, p[3], p[4:6])
        direct, other = direct_or_late(residual, sigma, share, *late)
        total += math.log(direct + other)
        weights.append(direct / (direct + other))
    for k in range(2, 6):
        total -= 0.5 * ((p[k] - prior[k]) / prior_sigma[k]) ** 2
    return total, weights


def best_place(sensors, times, sigmas, prior, prior_sigma, start):
    """The most probable parameters of arrivals that are all direct, by a general optimiser."""

    def misfits(p):
        arrivals = [p[6] + travel_time(p[:3], sensor, p[3], p[4:6]) for sensor in sensors]
        return np.concatenate([(np.asarray(times) - arrivals) / sigmas, (p[2:6] - prior[2:6]) / prior_sigma[2:6]])

    scale = np.array([100.0, 100.0, 10.0, 1.0, 1.0, 1.0, 0.1])
    return optimize.least_squares(misfits, start, x_scale=scale, xtol=1e-14, ftol=1e-14, gtol=1e-14)


def silence_and_sound(p, air_sigma, around, sensors, listening, picks, sigmas, late, hearing):
    """Log odds that the network heard a bang with parameters ``p``; ``picks`` are (time, gain, outlier) by sensor."""
    total, members = 0.0, []
    for s in around:
        path = np.asarray(sensors[s], float) - p[:3]
        distance = float(np.linalg.norm(path))
        share = hearing[0] / (1.0 + (distance / hearing[1]) ** 3)
        members.append(-1)
        if share < 0.02:
            continue
        arrival = p[6] + travel_time(p[:3], sensors[s], p[3], p[4:6])
        spread = math.hypot(sigmas[s], distance / p[3] ** 2 * math.hypot(*air_sigma))
        best = -math.inf
        for n, (time, gain, outlier) in enumerate(picks[s]):
            residual = time - arrival
            if -4.0 * spread <= residual <= 4.0 * spread + 3.0 * late[0]:
                value = math.log(sum(direct_or_late(residual, spread, outlier, *late))) + gain + math.log(share)
                if value > best:
                    best, members[-1] = value, n
        silent = math.log(1.0 - share) if listening[s] else 0.0
        if best > silent:
            total += best
        else:
            total, members[-1] = total + silent, -1
    return total, members


def further_rounds(heard, offsets, offset_levels, picks, sigma, same_level, other_level, log_rate, low_s, high_s):
    """Scores of every discharge at which picks repeat a pattern; ``picks`` are (time, gain, level) by sensor."""
    rounds = []
    for sensor, offset in zip(heard, offsets, strict=True):
        for time, _, _ in picks[sensor]:
            start = time - offset
            if not low_s <= start <= high_s:
                continue
            score, starts = log_rate, []
            for other, lag, level in zip(heard, offsets, offset_levels, strict=True):
                options = [(-2.0, None)]
                for t, gain, db in picks[other]:
                    r = t - lag - start
                    if abs(r) <= 4.0 * sigma:
                        value = gain + stats.norm.logpdf(r, scale=sigma)
                        step = db - level
                        odds = stats.norm.logpdf(step, *same_level) - stats.norm.logpdf(step, *other_level)
                        options.append((value + min(max(odds, -6.0), 2.0), t - lag))
                value, at = max(options, key=lambda option: option[0])
                score += value
                if at is not None:
                    starts.append(at)
            if len(starts) >= 3 and 2 * len(starts) >= len(heard):
                rounds.append((float(np.mean(starts)), score))
    return rounds
