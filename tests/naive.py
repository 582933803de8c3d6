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


def best_place(sensors, times, sigmas, prior, prior_sigma, start):
    """The most probable parameters of arrivals that are all direct, by a general optimiser."""

    def misfits(p):
        arrivals = [p[6] + travel_time(p[:3], sensor, p[3], p[4:6]) for sensor in sensors]
        return np.concatenate([(np.asarray(times) - arrivals) / sigmas, (p[2:6] - prior[2:6]) / prior_sigma[2:6]])

    scale = np.array([100.0, 100.0, 10.0, 1.0, 1.0, 1.0, 0.1])
    return optimize.least_squares(misfits, start, x_scale=scale, xtol=1e-14, ftol=1e-14, gtol=1e-14)


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
            z[0] = (b1 * x + z[1]) - a1 * y
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


def first_rise(filtered, trigger, back, forward, fraction, over, block):
    """(crossing, peak, noise, slope) of the impulse that fired at ``trigger``."""
    x = [float(sample) for sample in filtered]
    start, stop = max(trigger - back, 1), min(trigger + forward, len(x))
    powers, end = [], start
    while end - block >= 1:
        powers.append(sum(value**2 for value in x[end - block : end]) / block)
        end -= block
    noise = math.sqrt(float(np.median(powers))) if powers else 0.0
    peak = max(abs(value) for value in x[start:stop])
    level = max(fraction * peak, min(over * noise, 0.7 * peak))
    i = next(i for i in range(start, stop) if abs(x[i]) >= level or i == stop - 1)
    sign = 1.0 if x[i] >= 0.0 else -1.0
    slope = sign * x[i] - sign * x[i - 1]
    inside = sign * x[i - 1] < level < sign * x[i]
    return i - ((sign * x[i] - level) / slope if inside else 0.0), peak, noise, slope


def prediction(noise, order, floor):
    """Coefficients of the error of linear prediction, from the normal equations themselves."""
    x = [float(sample) for sample in noise]
    lags = [sum(x[i] * x[i - k] for i in range(k, len(x))) / len(x) for k in range(order + 1)]
    lags[0] = lags[0] * (1.0 + floor) + 1e-20
    matrix = [[lags[abs(i - j)] for j in range(order)] for i in range(order)]
    return np.concatenate(([1.0], -np.linalg.solve(matrix, lags[1:])))


def match(z, fronts, lags, delays, late):
    """(k, 3, 5) of the best places: every template, place and echo, each pair of amplitudes by its own small problem."""
    count, steps, n = fronts.shape
    found = np.zeros((count, 3, 5))
    for k in range(count):

        def seen(j, k=k):
            return float(np.dot(z[j // steps : j // steps + n], fronts[k, j % steps]))

        energy = float(np.dot(fronts[k, 0], fronts[k, 0]))
        for j in range(lags * steps):
            for delay in [0, *delays]:
                row = found[k, 0 if delay == 0 else 1 if delay < late else 2]
                if delay == 0:
                    pairs = [(seen(j) / energy, 0.0)]
                    gains = [seen(j) ** 2 / energy]
                else:
                    m, p = divmod(int(delay), steps)
                    rho = float(np.dot(fronts[k, 0, m:], fronts[k, p, : n - m]))
                    if rho**2 >= 0.99 * energy**2:
                        continue
                    sign = 1.0 if seen(j) >= 0.0 else -1.0
                    c = sign * np.array([seen(j), seen(j + delay)])
                    gram = np.array([[energy, rho], [rho, energy]])
                    a, b = np.linalg.solve(gram, c)
                    if b > a:
                        a = b = c.sum() / gram.sum()
                    pairs = [(sign * a, b / a if a else 0.0)] if b > 0.0 else []
                    gains = [2.0 * np.dot((a, b), c) - np.array((a, b)) @ gram @ (a, b)] if b > 0.0 else []
                for gain, (amplitude, echo) in zip(gains, pairs, strict=True):
                    if gain > row[0]:
                        row[:] = gain, j, delay, amplitude, echo
    return found


def polished(z, fronts, ranges, template, found, span, noise, prior):
    """(moved, sigma, left, power): least squares with the prior as six more measurements."""
    steps, n = fronts.shape[1:]
    place, delay = max(int(found[1]), 1), int(found[2])
    amplitude, echo = found[3], found[4]

    def wave(k, at):
        out = np.zeros(len(z) + n)
        out[at // steps : at // steps + n] = fronts[k, at % steps]
        return out[: len(z)]

    def blast(k, at, echo_at):
        return amplitude * (wave(k, at) + (echo * wave(k, echo_at) if echo > 0.0 else 0.0))

    k, there = template, place + delay
    length, distance = divmod(k, ranges)
    lengths = max(length - 1, 0), min(length + 1, len(fronts) // ranges - 1)
    distances = max(distance - 1, 0), min(distance + 1, ranges - 1)
    here = blast(k, place, there)
    columns = [
        here,
        (blast(k, place + 1, there + 1) - blast(k, place - 1, there - 1)) / 2.0,
        amplitude * wave(k, there) if delay else np.zeros(len(z)),
        amplitude * echo * (wave(k, there + 1) - wave(k, there - 1)) / 2.0 if delay else np.zeros(len(z)),
        sum(s * blast(at * ranges + distance, place, there) for s, at in zip((-1, 1), lengths, strict=True))
        / (lengths[1] - lengths[0]),
        sum(s * blast(length * ranges + at, place, there) for s, at in zip((-1, 1), distances, strict=True))
        / (distances[1] - distances[0]),
    ]
    part = slice(*span)
    left = np.array(columns).T[part]
    rows = np.vstack([left / math.sqrt(noise), np.diag(1.0 / np.asarray(prior))])
    wanted = np.concatenate([(z - here)[part] / math.sqrt(noise), np.zeros(6)])
    step = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    rest = (z - here)[part] - left @ step
    sigma = math.sqrt(np.linalg.inv(rows.T @ rows)[1, 1])
    return step[1] + place - int(found[1]), sigma, np.mean(rest**2), np.mean(z[part] ** 2)


def correlation_coefficient(a, b):
    """Of two sounds whose mean is nought; nought where one is silent."""
    power = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / power if power > 0.0 else 0.0


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


# Direction: delay and sum, one pair and one bin at a time; and the odds of a place, one bearing at a time.


def steered_power(field, delays):
    """What the pairs of an array share after these delays, s: Re sum R_ij exp(j omega (t_i - t_j)) over bins."""
    total = 0.0
    for k, matrix in enumerate(field.matrix):
        omega = 2.0 * math.pi * (field.first + k) * field.rate_hz / field.size
        for i in range(len(delays)):
            for j in range(i):
                phase = omega * (delays[i] - delays[j])
                total += matrix[i, j].real * math.cos(phase) - matrix[i, j].imag * math.sin(phase)
    return total


def bearing_odds(azimuths, sigmas, offsets, place_sigma, heading_sigma, reflected):
    """Log odds of bearings, degrees, beside a uniform one: scipy's normal density at every turn of the circle."""
    total = 0.0
    for azimuth, sigma, (east, north) in zip(azimuths, sigmas, offsets, strict=True):
        if math.isnan(azimuth):
            continue
        across = math.degrees(min(place_sigma / max(math.hypot(east, north), 0.1), math.pi))
        spread = min(math.sqrt(sigma**2 + heading_sigma**2 + across**2), 180.0)
        miss = azimuth - math.degrees(math.atan2(east, north))
        density = sum(stats.norm.pdf(miss + 360.0 * turn, scale=spread) for turn in range(-5, 6))
        total += math.log((1.0 - reflected) * density * 360.0 + reflected)
    return total


def watch(samples, block, lag, group, groups, warmup, silence, ratio, longest, lowest, full_scale, largest):
    """What the watch notices, one sample at a time: kinds, ends, lengths, faulty and clipped samples by then."""
    noticed, good, energies, ring = [], [], [], []
    faulty = clipped = same = loud_groups = 0
    last, armed, usable, before = None, False, 0, None
    for i, x in enumerate(np.asarray(samples, dtype=np.float32)):
        broken = not abs(float(x)) <= largest
        if broken:
            same = 0
        else:
            same = same + 1 if last is not None and same and x == last else 1
            last = x
            clipped += int(abs(x) >= np.float32(full_scale))
        if broken or same >= silence:
            faulty += 1 if broken or same > silence else silence
            if armed:
                noticed.append(("deaf", i + 1, 1 if broken else silence, faulty, clipped))
            good, energies, ring, loud_groups, armed, usable, before = [], [], [], 0, False, 0, None
            continue
        if before is None:
            before = [x] * (lag + 1)
        good.append(x)
        if len(good) < block:
            continue
        row = np.array([*before, *good], dtype=np.float64)
        pairs = row[1:] + row[:-1]
        energy = float(np.sum((pairs[lag:] - pairs[:-lag]) ** 2))
        before, good = [*before, *good][-lag - 1 :], []
        usable += block
        floor = max(sorted(ring)[len(ring) // 2], lowest) if ring else 0.0
        loud = armed and energy >= ratio * floor
        if loud:
            noticed.append(("loud", i + 1, block, faulty, clipped))
        energies.append((energy, loud))
        if len(energies) == group:
            any_loud = any(was for _, was in energies)
            loud_groups = loud_groups + 1 if any_loud else 0
            if not any_loud or loud_groups > longest:
                ring = [*ring, max(e for e, _ in energies)][-groups:]
            energies = []
        if not armed and usable >= warmup:
            armed = True
            noticed.append(("armed", i + 1, usable, faulty, clipped))
    return noticed, faulty, clipped
