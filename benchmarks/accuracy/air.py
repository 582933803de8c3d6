"""Places under a wind that no report told of: fixed air, air as a nuisance of each bang, and air learnt from bangs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from acoustic.air import Air
from acoustic.detection import Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import after
from acoustic.pick import Pick
from localization.air_state import AirState, air_seen
from localization.fix import Fix
from localization.frame import Frame
from localization.solver import Solver
from localization.street import Street
from sensors.site import Local, Site
from tests import winds

SEQUENCES = 60
BANGS = 12
GAP_S = 60.0
SENSORS = 8
NOISE_S = 0.001
WIND_SIGMA = 4.0
GUST, UNEVEN = 0.3, 0.15
REPORT = Air(temperature_c=12.0, temperature_sigma_c=2.0, wind_sigma_m_per_s=WIND_SIGMA)
STILL = Air(temperature_c=12.0, temperature_sigma_c=0.0, wind_sigma_m_per_s=0.0)
# Streets as this simulation makes them: paths add nothing. The default street expects houses in the way.
OPEN = Street(path_scales=((0.0, 1.0),), path_scales_given=((0.0, 1.0),))

NAMES = {
    "scipy": "scipy least squares, air as reported",
    "fixed": "shotfix, air taken as certain",
    "nuisance": "shotfix, air a nuisance of each bang",
    "open": "the same, told that paths are open",
    "filtered": "shotfix, air learnt from the bangs before",
    "filtered-open": "the same, told that paths are open",
    "map": "plain Gauss-Newton, air a nuisance of each bang, no robustness",
    "bound": "the Bayesian bound of a bang by itself (air with its prior)",
    "known": "the bound with the air known exactly",
}


def measure(_data: Path | None) -> str:
    errors, held, axes = defaultdict(list), defaultdict(list), defaultdict(list)
    later = defaultdict(list)
    for seed in range(SEQUENCES):
        for number, row in enumerate(_sequence(seed)):
            for name, (error, inside, semi_major) in row.items():
                errors[name].append(error)
                if number >= 3:
                    later[name].append(error)
                if inside is not None:
                    held[name].append(inside)
                    axes[name].append(semi_major)
    told = (
        f"{SEQUENCES} streets of {SENSORS} sensors on 1 km2, {BANGS} bangs each, one every {GAP_S:.0f} s, within the "
        f"sensors, noise {1e3 * NOISE_S:g} ms.\nThe wind of a street is drawn with {WIND_SIGMA:g} m/s an axis and "
        f"stays, the report says calm; each bang meets gusts of {GUST} m/s of its own.\nErrors in metres.\n"
    )
    lines = [
        told,
        "| | median | median from the fourth bang on | 90 % | region holds | semi-major, median |",
        "|---|---|---|---|---|---|",
    ]
    for name, words in NAMES.items():
        values = errors[name]
        share = f"{np.mean(held[name]):.1%} of {len(held[name])}" if held[name] else "-"
        axis = f"{np.median(axes[name]):.2f}" if axes[name] else "-"
        lines.append(
            f"| {words} | {np.median(values):.2f} | {np.median(later[name]):.2f} | {np.percentile(values, 90):.2f} | "
            f"{share} | {axis} |"
        )
    fixed, alone, filtered = (float(np.median(errors[name])) for name in ("scipy", "open", "filtered-open"))
    bound = float(np.median(errors["bound"]))
    return "\n".join(lines) + (
        f"\n\nWith open paths, fixed air over nuisance: {fixed / alone:.1f}; over filtered: {fixed / filtered:.1f}. "
        f"Nuisance over its bound: {alone / bound:.3f}; filtered over that bound: {filtered / bound:.3f}."
    )


def _sequence(seed):
    """Figures of each method for each bang of one street: error, whether the region held the place, its axis."""
    rng = np.random.default_rng(seed)
    places = winds.sensors(rng, SENSORS)
    sites = [Site(f"S{k}", Local(*map(float, p)), 0.0, 0.0, 0.0) for k, p in enumerate(places)]
    wind = rng.normal(0.0, WIND_SIGMA, 2)
    speed = REPORT.sound_speed_m_per_s + REPORT.sound_speed_sigma_m_per_s * rng.normal()
    state = AirState(REPORT)
    for number in range(BANGS):
        now_ns = winds.after_s(number * GAP_S)
        source = winds.inside(rng, places)
        felt = speed + UNEVEN * rng.normal(), wind + rng.normal(0.0, GUST, 2)
        times = winds.heard(rng, source, places, *felt, NOISE_S)
        learnt = state.air_at(now_ns, (0.0, 0.0))
        row = {"scipy": (_least_squares(places, times, source), None, 0.0)}
        for name, air, street in (
            ("fixed", STILL, Street()),
            ("nuisance", REPORT, Street()),
            ("open", REPORT, OPEN),
            ("filtered", learnt, Street()),
            ("filtered-open", learnt, OPEN),
        ):
            row[name] = _judged(_fix(sites, times, now_ns, air, street), source)
        row["bound"] = (_drawn(rng, source, places, felt, REPORT), None, 0.0)
        row["known"] = (_drawn(rng, source, places, felt, STILL), None, 0.0)
        prior, sigma = winds.prior_of(REPORT)
        p, information = winds.most_probable(places, times, prior, sigma, source[:2], NOISE_S)
        row["map"] = (float(np.hypot(*(p[:2] - source[:2]))), None, 0.0)
        yield row
        state.observe(now_ns, (float(p[0]), float(p[1])), *air_seen(p, information, prior, sigma), str(number))


def _fix(sites, times, now_ns, air, street):
    detections = []
    for site, time_s in sorted(zip(sites, times, strict=True), key=lambda pair: pair[1]):
        onset_ns = after(now_ns, float(time_s))
        pick = Pick(onset_ns, NOISE_S, 0.0)
        name = pulse_identity(site.sensor_id, onset_ns)
        detections.append(Detection(name, site.sensor_id, pick, 2.0, probabilities_from_llr(2.0)))
    by_name = {site.sensor_id: site for site in sites}
    solver = Solver(Frame(), air, street, winds.UP_M, 1.0)
    return solver.solve("s", 1, detections, [by_name[d.sensor_id] for d in detections], given=True)


def _judged(fix, source):
    if not isinstance(fix, Fix):
        return np.inf, False, np.inf
    east, north = source[0] - fix.best.place.east_m, source[1] - fix.best.place.north_m
    inside = any(
        mode.ellipse.holds(float(source[0] - mode.place.east_m), float(source[1] - mode.place.north_m))
        for mode in fix.modes
    )
    return float(np.hypot(east, north)), inside, fix.best.ellipse.semi_major_m


def _least_squares(places, times, source):
    speed = REPORT.sound_speed_m_per_s

    def misfit(p):
        return np.linalg.norm(places - [p[0], p[1], winds.UP_M], axis=1) / speed + p[2] - times

    start = np.array([*source[:2], 0.0])  # beside the truth: only the model is judged here
    solution = least_squares(misfit, start, x_scale=[100.0, 100.0, 0.1]).x
    return float(np.hypot(*(solution[:2] - source[:2])))


def _drawn(rng, source, places, felt, air):
    """An error drawn from the covariance of the bound at the truth."""
    _, slopes = winds.travel(source, places, *felt)
    j = np.column_stack([slopes, np.ones(len(places))]) / NOISE_S
    _, sigma = winds.prior_of(air)
    precision = np.where(np.isfinite(sigma), 1.0 / sigma**2, 0.0)
    covariance = np.linalg.inv(j.T @ j + np.diag(precision))
    return float(np.hypot(*rng.multivariate_normal(np.zeros(2), covariance[:2, :2])))
