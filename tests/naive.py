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


def direct_or_late(residual, sigma, outlier, late):
    """Densities of a residual as direct and as not: Gaussian; late, early or stray, each exponential and rounded."""
    late_scale, early_scale, stray_scale, rounding, near_peak, stray_peak = late
    direct = math.exp(-0.5 * (residual / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi))
    size = math.hypot(residual, rounding)
    near = near_peak * math.exp(-(size + residual) / 2.0 / late_scale - (size - residual) / 2.0 / early_scale)
    stray = stray_peak * math.exp(-(size - rounding) / stray_scale)
    return (1.0 - outlier) * direct, outlier * (near + stray)


def log_posterior(sensors, times, sigmas, outlier, prior, prior_sigma, late, p):
    """Log posterior of east, north, up, speed, wind east, wind north, discharge; and P(direct) of each arrival."""
    total, weights = 0.0, []
    for sensor, t, sigma, share in zip(sensors, times, sigmas, outlier, strict=True):
        residual = t - p[6] - travel_time(p[:3], sensor, p[3], p[4:6])
        direct, other = direct_or_late(residual, sigma, share, late)
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
                value = math.log(sum(direct_or_late(residual, spread, outlier, late))) + gain + math.log(share)
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


# Acoustic: the gate, as its table tells it, and the first arrival.


class Gate:
    """One frame of a millisecond at a time; everything kept as it came, everything sorted anew."""

    def __init__(self, rate, sections, table, numbers):
        self.rate, self.sections, self.table, self.n = rate, sections, table, numbers
        self.frame = rate // 1000
        self.faulty = self.clipped = self.suppressed = 0
        self.tokens = numbers["tokens"]
        self.run, self.last = 0, None
        self.begin()

    def begin(self):
        self.state, self.good, self.since, self.calm = "warmup", 0, 0, 0
        self.pending, self.peaks, self.tens, self.floor = [], [], [], 0.0
        self.memory = None

    def happens(self, what):
        self.state = self.table[self.state, what]

    def filtered(self, x):
        """Direct form I from the difference equation would round otherwise; the transposed form is the contract."""
        if self.memory is None:
            self.memory, steady = [], x
            for b0, b1, b2, a1, a2 in self.sections:
                y = steady * (b0 + b1 + b2) / (1.0 + a1 + a2)
                second = b2 * steady - a2 * y
                self.memory.append([b1 * steady - a1 * y + second, second])
                steady = y
        for (b0, b1, b2, a1, a2), z in zip(self.sections, self.memory, strict=True):
            y = b0 * x + z[0]
            z[0] = b1 * x - a1 * y + z[1]
            z[1] = b2 * x - a2 * y
            x = y
        return x

    def hear(self, samples):
        """(filtered, triggers as (first sample of the frame, peak), changes as (samples so far, what))."""
        out, triggers, changes = [], [], []
        for i, sample in enumerate(samples):
            x = float(sample)
            was = self.state
            if not abs(x) <= self.n["largest"]:
                self.faulty += 1
                self.run = 0
                out.append(0.0)
                self.happens("fault")
                self.begin()
                if was != "warmup":
                    changes.append((i + 1, -1))
                continue
            self.run = self.run + 1 if self.run and x == self.last else 1
            self.last = x
            self.clipped += abs(x) >= self.n["full_scale"]
            silence = round(self.n["silence_s"] * self.rate)
            if self.run >= silence:
                self.faulty += silence if self.run == silence else 1
                out.append(0.0)
                self.happens("fault")
                self.begin()
                if was != "warmup":
                    changes.append((i + 1, -silence))
                continue
            y = self.filtered(x)
            self.good += 1
            out.append(y)
            self.pending.append(abs(y))
            if len(self.pending) == self.frame:
                peak = self.end_frame()
                if peak:
                    triggers.append((i + 1 - self.frame, peak))
                if was == "warmup" and self.state == "armed":
                    changes.append((i + 1, 1))
        return np.array(out, dtype=np.float32), triggers, changes

    def end_frame(self):
        n = self.n
        peak, self.pending = max(self.pending), []
        before = max([0.0, *self.peaks[-13:-2]])
        self.peaks.append(peak)
        self.since += 1
        self.tokens = min(self.tokens + n["refill_per_s"] / 1000, n["tokens"])
        if len(self.peaks) % 10 == 0 and self.state in ("warmup", "armed"):
            self.tens = [*self.tens, max(self.peaks[-10:])][-50:]
            self.floor = max(sorted(self.tens)[len(self.tens) // 2], n["lowest_floor"])
        threshold = n["on"] * self.floor
        if self.state == "warmup":
            if self.good >= round(n["warmup_s"] * self.rate):
                self.happens("warm")
        elif self.state == "triggered":
            if self.since >= n["dead_frames"]:
                self.happens("dead time over")
                self.calm = 0
        elif peak >= threshold and peak >= n["rise"] * before:
            self.happens("impulse")
            self.since = 0
            strong = peak >= n["strong"] * self.floor
            if self.tokens < (1.0 if strong else 1.0 + n["reserve"]):
                self.suppressed += 1
            else:
                self.tokens -= 1.0
                return peak
        elif self.state == "coda":
            self.calm = self.calm + 1 if peak < threshold else 0
            if self.calm >= n["calm_frames"] or self.since >= n["longest_coda_frames"]:
                self.happens("calm")
        return 0.0


def first_arrival(filtered, trigger, back, forward, fraction, block):
    """(crossing, peak, noise, slope) of the impulse that fired at ``trigger``."""
    x = [float(sample) for sample in filtered]
    start, stop = max(trigger - back, 1), min(trigger + forward, len(x))
    powers, end = [], start
    while end - block >= 1:
        powers.append(sum(value**2 for value in x[end - block : end]) / block)
        end -= block
    noise = math.sqrt(float(np.median(powers))) if powers else 0.0
    peak = max(abs(value) for value in x[start:stop])
    level = fraction * peak
    i = next(i for i in range(start, stop) if abs(x[i]) >= level or i == stop - 1)
    sign = 1.0 if x[i] >= 0.0 else -1.0
    slope = sign * x[i] - sign * x[i - 1]
    inside = sign * x[i - 1] < level < sign * x[i]
    return i - ((sign * x[i] - level) / slope if inside else 0.0), peak, noise, slope


# Sources: textbook waves, one instant at a time.


def friedlander_wave(time_s, peak_pa, positive_phase_s):
    """Friedlander's blast, Pa: nothing before its front."""
    if time_s < 0.0:
        return 0.0
    return peak_pa * (1.0 - time_s / positive_phase_s) * math.exp(-time_s / positive_phase_s)


def n_wave_of_bullet(mach, miss_m, diameter_m, length_m, speed, pressure_pa):
    """Whitham's amplitude (Pa) and length (s) of a bullet's shock wave."""
    excess = mach * mach - 1.0
    peak_pa = 0.53 * pressure_pa * excess**0.125 * diameter_m / (miss_m**0.75 * length_m**0.25)
    lasts_s = 1.82 * diameter_m * mach * miss_m**0.25 / (speed * excess**0.375 * length_m**0.25)
    return peak_pa, lasts_s
