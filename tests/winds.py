"""Bangs under wind, and the most probable place and air of each: for what learns the air from them."""

from __future__ import annotations

import numpy as np

from acoustic.air import Air
from acoustic.instant import SECOND, parse_instant

START_NS = parse_instant("2026-11-21T03:00:00Z")
UP_M = 1.5


def sensors(rng, count=8, side_m=1000.0):
    """Places of sensors on roofs, (count, 3) m: one in each cell of a grid or so, so that none is far from all."""
    return np.column_stack([rng.uniform(-side_m / 2, side_m / 2, (count, 2)), rng.uniform(5.0, 15.0, count)])


def inside(rng, places):
    """A point within the hull of the sensors, at a person's height, (3,) m."""
    while True:
        point = rng.uniform(places[:, :2].min(axis=0), places[:, :2].max(axis=0))
        angles = np.sort(np.arctan2(*(places[:, :2] - point).T))
        if np.max(np.diff(np.append(angles, angles[0] + 2 * np.pi))) < 0.9 * np.pi:
            return np.array([*point, UP_M])


def travel(source, places, speed, wind):
    """Travel times (n,) s, and their slopes with source, speed and wind, (n, 6)."""
    d = places - source
    r = np.linalg.norm(d, axis=1)
    u = d / r[:, None]
    along = speed + u[:, :2] @ wind
    slopes = np.empty((len(places), 6))
    # d/d source of r / (c + w.u): through r, and through u = d / r.
    turned = (wind[None, :] - (u[:, :2] @ wind)[:, None] * u[:, :2]) / r[:, None]
    slopes[:, :2] = -u[:, :2] / along[:, None] + (r / along**2)[:, None] * turned
    slopes[:, 2] = -u[:, 2] / along + (r / along**2) * -((u[:, :2] @ wind) * u[:, 2]) / r
    slopes[:, 3] = -r / along**2
    slopes[:, 4:] = -(r / along**2)[:, None] * u[:, :2]
    return r / along, slopes


def heard(rng, source, places, speed, wind, sigma_s=0.001):
    """Arrival times (n,) s of a bang at nought, under wind, with noise."""
    return travel(source, places, speed, np.asarray(wind))[0] + rng.normal(0.0, sigma_s, len(places))


def prior_of(air: Air, up_sigma_m=1.0):
    """Mean and sigma of the seven parameters, as the solver takes them."""
    mean, sigma = np.zeros(7), np.full(7, np.inf)
    mean[2:6] = UP_M, air.sound_speed_m_per_s, air.wind_east_m_per_s, air.wind_north_m_per_s
    sigma[2:6] = (
        up_sigma_m,
        max(air.sound_speed_sigma_m_per_s, 1e-3),
        *[max(air.wind_sigma_m_per_s, 1e-3)] * 2,
    )
    return mean, sigma


def most_probable(places, times, prior, prior_sigma, start, sigma_s=0.001):
    """Parameters (7,) at the maximum, and the information of the arrivals there, (7, 7): Gauss-Newton, damped."""
    p = prior.copy()
    p[:2] = start
    p[6] = np.mean(times - travel(p[:3], places, p[3], p[4:6])[0])
    precision = np.where(np.isfinite(prior_sigma), 1.0 / prior_sigma**2, 0.0)

    def cost(p):
        return np.sum((times - p[6] - travel(p[:3], places, p[3], p[4:6])[0]) ** 2) / sigma_s**2 + np.sum(
            precision * (p - prior) ** 2
        )

    damping = 1e-3
    for _ in range(100):
        predicted, slopes = travel(p[:3], places, p[3], p[4:6])
        j = np.column_stack([slopes, np.ones(len(places))]) / sigma_s
        r = (times - p[6] - predicted) / sigma_s
        normal = j.T @ j + np.diag(precision)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), j.T @ r - precision * (p - prior))
        if cost(p + step) <= cost(p):
            p, damping = p + step, damping / 10
            if np.max(np.abs(step[:3])) < 1e-7:
                break
        else:
            damping *= 10
    predicted, slopes = travel(p[:3], places, p[3], p[4:6])
    j = np.column_stack([slopes, np.ones(len(places))]) / sigma_s
    return p, j.T @ j


def after_s(seconds):
    """The instant so many seconds after `START_NS`."""
    return START_NS + round(seconds * SECOND)
