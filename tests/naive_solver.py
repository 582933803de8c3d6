"""The slow twins of the solver's kernels."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

from tests.naive import travel_time


def late_density(residual, late):
    """Two double exponentials, rounded in the middle; 1/s."""
    near_behind, near_before, far_behind, far_before, rounding, near_peak, far_peak = late
    size = math.hypot(residual, rounding)
    behind, before = (size + residual) / 2.0, (size - residual) / 2.0
    near = near_peak * math.exp(-behind / near_behind - before / near_before)
    return near + far_peak * math.exp(-behind / far_behind - before / far_before)


def log_posterior(sensors, times, sigmas, outlier, prior, prior_sigma, late, p):
    """Log posterior of the seven parameters, up to a constant; and P(direct) of each arrival."""
    total, weights = 0.0, []
    for sensor, t, sigma, share in zip(sensors, times, sigmas, outlier, strict=True):
        residual = t - p[6] - travel_time(p[:3], sensor, p[3], p[4:6])
        direct = (1.0 - share) * stats.norm.pdf(residual, scale=sigma)
        other = share * late_density(residual, late)
        total += math.log(direct + other)
        weights.append(direct / (direct + other))
    for k in range(2, 6):
        if prior_sigma[k] >= 0.002:
            total -= 0.5 * ((p[k] - prior[k]) / prior_sigma[k]) ** 2
    return total, weights


def jacobian(sensors, p):
    """Derivatives of the arrivals by the parameters, by central differences; (n, 7)."""
    steps = np.array([1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-6])
    columns = []
    for k, step in enumerate(steps):
        up, down = p.copy(), p.copy()
        up[k] += step
        down[k] -= step
        columns.append([
            (up[6] - down[6] + travel_time(up[:3], s, up[3], up[4:6]) - travel_time(down[:3], s, down[3], down[4:6]))
            / (2.0 * step)
            for s in sensors
        ])  # fmt: skip
    return np.array(columns).T


def covariance(sensors, sigmas, weights, prior_sigma, p):
    """Inverse of the Fisher information of all that is unknown, place and discharge first; and its log volume."""
    free = [0, 1, 6] + [k for k in range(2, 6) if prior_sigma[k] >= 0.002]
    j = jacobian(sensors, p)[:, free]
    information = j.T @ np.diag(np.asarray(weights) / np.asarray(sigmas) ** 2) @ j
    for a, k in enumerate(free[3:], 3):
        information[a, a] += 1.0 / prior_sigma[k] ** 2
    whole = np.linalg.inv(information)
    return whole[:3, :3], 0.5 * np.linalg.slogdet(whole)[1]


def misfit(sensors, times, variances, prior, blur, half_range, place, behind_cap, ahead_cap):
    """Truncated, one-sided cost of a start (east, north, discharge), with the price of being far."""
    total = 0.0
    for sensor, t, variance in zip(sensors, times, variances, strict=True):
        source = np.array([place[0], place[1], prior[2]])
        travel = travel_time(source, sensor, prior[3], prior[4:6])
        residual = t - place[2] - travel
        total += min(residual**2 / (variance + (blur * travel) ** 2), behind_cap if residual > 0 else ahead_cap)
        total += 2.0 * math.log(1.0 + (np.linalg.norm(sensor - source) / half_range) ** 3)
    return total


def least_squares(sensors, times, variances, prior, start):
    """Place and discharge at the prior's height and air, by a general optimiser; and their covariance."""

    def misfits(q):
        source = np.array([q[0], q[1], prior[2]])
        arrivals = [q[2] + travel_time(source, sensor, prior[3], prior[4:6]) for sensor in sensors]
        return (np.asarray(times) - arrivals) / np.sqrt(variances)

    found = optimize.least_squares(misfits, start, x_scale=[100.0, 100.0, 0.1], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return found.x, np.linalg.inv(found.jac.T @ found.jac)


def heard(sensors, p, hearing):
    """Log odds that all of the sensors heard it."""
    distances = np.linalg.norm(np.asarray(sensors) - p[:3], axis=1)
    return float(np.sum(np.log(hearing[0] / (1.0 + (distances / hearing[1]) ** 3))))


def region_quantile(shares, areas, confidence):
    """Where a mixture of Gaussians of one shape holds ``confidence``, by bisection."""

    def outside(q):
        return sum(s * stats.chi2.sf(q / a, 2) for s, a in zip(shares, areas, strict=True)) - (1.0 - confidence)

    return optimize.brentq(outside, 0.0, 1000.0 * max(areas), xtol=1e-12, rtol=1e-14)
