"""Bursts: rounds counted, cadence and the mark of automatic fire, in the open and among echoes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import sosfilt

from acoustic.air import Air
from acoustic.arrival import POST_S, PRE_S, Arrival, find_arrival
from acoustic.burst import BurstTracker, Round
from acoustic.filters import detection_band
from acoustic.gate import Gate
from acoustic.propagation import Heard, Ray, diffuse_tail, echo_ray
from acoustic.propagation import Path as Way
from acoustic.sources import muzzle_blast, shock_wave
from acoustic.uncertainty import ECHO_MEMORY_S, outlier_probability

SEEDS = range(20, 32)
LEAD_S = 1.0
NEAR_S = 0.003
SAME_IMPULSE_S = 0.001
CRACK_BEFORE_S = 0.25


@dataclass(frozen=True)
class Scene:
    """A weapon's rounds at one sensor: how fast, how many, how strong over the noise, how many echoes each has."""

    rate_hz: int = 24_000
    rounds_per_minute: float = 950.0
    rounds: int = 30
    snr_db: float = 20.0
    echoes: int = 0
    range_m: float = 200.0
    supersonic: bool = False


def measure(data: Path | None) -> str:
    del data  # all of it is simulated
    automatic = Scene()
    scenes = {
        "950 a minute, 20 dB, open": automatic,
        "the same, 4 echoes": replace(automatic, echoes=4),
        "the same, 8 echoes": replace(automatic, echoes=8),
        "30 dB, 4 echoes": replace(automatic, echoes=4, snr_db=30.0),
        "12 kHz, 4 echoes": replace(automatic, echoes=4, rate_hz=12_000),
        "1,200 a minute, open": replace(automatic, rounds_per_minute=1200.0),
        "the same, 4 echoes, 30 dB": replace(automatic, rounds_per_minute=1200.0, echoes=4, snr_db=30.0),
        "aimed: 6 at 250 a minute, 6 echoes": Scene(rounds_per_minute=250.0, rounds=6, echoes=6, snr_db=30.0),
        "one round, 8 echoes": Scene(rounds=1, echoes=8, snr_db=35.0),
    }
    rows = [
        f"{len(SEEDS)} bursts each, of 30 rounds where nothing else is said:\n",
        "| burst | counted (least, median, most) | within 2 | found | gate | all | by loudness | off % | marked |",
        "|---" * 9 + "|",
    ]
    rows += [f"| {name} | {_counted(scene)} |" for name, scene in scenes.items()]
    return "\n".join(rows) + "\n\n" + _shocks()


def _counted(scene: Scene) -> str:
    counts, found, gated, impulses, loud, off, marked = ([] for _ in range(7))
    for seed in SEEDS:
        samples, times_s = simulated(scene, np.random.default_rng(seed))
        said = heard(samples, scene.rate_hz)
        kept = [(at_s, one) for at_s, one in said if one.p_outlier < 0.5]
        counts.append(len(kept))
        found.append(_near(times_s, kept))
        gated.append(_near(times_s, said))
        impulses.append(len(said))
        loud.append(_by_loudness(samples, scene.rate_hz))
        marked.append(any("full-automatic" in one.flags for _, one in said))
        if kept and kept[-1][1].cadence is not None:
            off.append(100.0 * abs(kept[-1][1].cadence.rounds_per_minute / scene.rounds_per_minute - 1.0))
    cells = [
        f"{min(counts)}, {np.median(counts):.0f}, {max(counts)}",
        f"{np.mean(np.abs(np.array(counts) - scene.rounds) <= 2):.0%}",
        f"{np.mean(found):.1f}",
        f"{np.mean(gated):.1f}",
        f"{np.mean(impulses):.1f}",
        f"{np.mean(loud):.1f}",
        f"{np.median(off):.1f}" if off else "-",
        f"{sum(marked)} of {len(marked)}",
    ]
    return " | ".join(cells)


def _near(times_s: NDArray[np.float64], said: list[tuple[float, Round]]) -> int:
    return sum(any(abs(at_s - time_s) < NEAR_S for at_s, _ in said) for time_s in times_s)


def _by_loudness(samples: NDArray[np.float32], rate_hz: int) -> int:
    """The rival: each impulse judged by its loudness and delay to the loudest of the last second alone."""
    recent: list[tuple[float, float]] = []
    count = 0
    for at, arrival, _, _ in _arrivals(samples, rate_hz):
        recent = [one for one in recent if at - one[0] <= ECHO_MEMORY_S * rate_hz]
        drop_db, delay_s = -math.inf, math.inf
        if recent:
            loudest_at, loudest = max(recent, key=lambda one: one[1])
            drop_db, delay_s = 20.0 * math.log10(loudest / arrival.peak), (at - loudest_at) / rate_hz
        recent.append((at, arrival.peak))
        count += outlier_probability(arrival.snr_db, drop_db, delay_s) < 0.5
    return count


def _shocks() -> str:
    """Supersonic rounds, one at a time: whether the N-wave is known, and never the blast."""
    rows = [
        "Supersonic rounds at 48 kHz, a second apart:\n",
        "| SNR dB of the blast | rounds | N-waves known | blasts kept, marked | blasts called N-waves |",
        "|---|---|---|---|---|",
    ]
    for snr_db in (15.0, 20.0, 25.0, 30.0):
        scene = Scene(48_000, 60.0, rounds=5, snr_db=snr_db, supersonic=True)
        known = kept = wrong = total = 0
        for seed in SEEDS:
            samples, times_s = simulated(scene, np.random.default_rng(seed))
            said = heard(samples, scene.rate_hz)
            cracks = [(at_s, one) for at_s, one in said if one.p_outlier > 0.97 and "shock-wave" in one.flags]
            blasts = [(at_s, one) for at_s, one in said if one.p_outlier < 0.5 and "shock-wave" in one.flags]
            total += len(times_s)
            known += _near(times_s - CRACK_BEFORE_S, cracks)
            kept += _near(times_s, blasts)
            wrong += _near(times_s, cracks)
        rows.append(f"| {snr_db:.0f} | {total} | {known} | {kept} | {wrong} |")
    return "\n".join(rows)


def simulated(scene: Scene, random: Generator) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Samples, and when each round arrives, s. Rounds vary by 3 % in time and 1 dB in strength, as weapons do."""
    air = Air(random.uniform(-5.0, 30.0), 2.0, random.uniform(30.0, 90.0))
    speed, rate_hz = air.sound_speed_m_per_s, scene.rate_hz
    direct = Ray(scene.range_m, scene.range_m / speed)
    rays = [direct, echo_ray(direct, random.uniform(0.0001, 0.0015), random.uniform(0.3, 0.9), speed)]
    tail = None
    if scene.echoes:
        delays_s = np.exp(random.uniform(math.log(0.003), math.log(0.25), scene.echoes))
        gains = 10.0 ** (-random.uniform(2.0, 20.0, scene.echoes) / 20.0)
        rays += [echo_ray(direct, d, g, speed, 3000.0) for d, g in zip(delays_s, gains, strict=True)]
        tail = diffuse_tail(rate_hz, direct, [(-20.0, 0.3), (-32.0, 1.0)], cutoff_hz=2000.0, generator=random)
    interval_s = 60.0 / scene.rounds_per_minute
    times_s = LEAD_S + interval_s * np.arange(scene.rounds) + 0.03 * interval_s * random.standard_normal(scene.rounds)
    samples = np.zeros(round((times_s[-1] + 1.5) * rate_hz))
    blast = Heard(muzzle_blast(rate_hz, positive_phase_s=random.uniform(0.0007, 0.0015)), Way(tuple(rays), tail), air)
    peak = 0.0
    for time_s in times_s:
        gain = 10.0 ** (random.normal(0.0, 1.0) / 20.0)
        _lay(samples, blast, time_s - direct.delay_s, gain)
        peak = peak or float(np.abs(_band(samples, rate_hz)).max())
    if scene.supersonic:
        wave = shock_wave(
            rate_hz, mach=2.5, miss_distance_m=20.0, bullet_diameter_m=0.0057, bullet_length_m=0.019, air=air
        )
        crack = Heard(wave, Way((Ray(20.0, 0.0), echo_ray(Ray(20.0, 0.0), 0.002, 0.6, speed))), air)
        _, alone = crack.at(0.0)
        gain = 2.0 * peak / float(np.abs(_band(alone, rate_hz)).max())
        for time_s in times_s:
            _lay(samples, crack, time_s - CRACK_BEFORE_S, gain)
    noise = _street(samples.size, rate_hz, random)
    samples += noise / _band(noise, rate_hz).std() * peak * 10.0 ** (-scene.snr_db / 20.0)
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32), times_s


def heard(samples: NDArray[np.float32], rate_hz: int) -> list[tuple[float, Round]]:
    """Onset in seconds and what the burst made of it, for every impulse."""
    tracker = BurstTracker(rate_hz)
    found = [tracker.receive(arrival, start, window) for _, arrival, start, window in _arrivals(samples, rate_hz)]
    return [(one.onset / rate_hz, one) for one in found]


def _arrivals(samples: NDArray[np.float32], rate_hz: int) -> Iterator[tuple[float, Arrival, int, NDArray[np.float32]]]:
    """Onset, arrival, and where its window begins, with the window."""
    filtered, triggers = _gated(samples, rate_hz)
    pre, post, last = round(PRE_S * rate_hz), round(POST_S * rate_hz), -math.inf
    for trigger in triggers:
        start = max(trigger - pre, 0)
        window = slice(start, trigger + post)
        arrival = find_arrival(samples[window], filtered[window], trigger - start, rate_hz)
        onset = start + arrival.index
        if onset >= last + SAME_IMPULSE_S * rate_hz:
            last = onset
            yield onset, arrival, start, filtered[window]


def _gated(samples: NDArray[np.float32], rate_hz: int) -> tuple[NDArray[np.float32], list[int]]:
    gate, done = Gate(rate_hz), 0
    filtered, triggers = [], []
    while done < samples.size:
        said = gate.hear(samples[done:])
        filtered.append(said.filtered)
        triggers += [done + trigger for trigger in said.triggers]
        done += said.used
    return np.concatenate(filtered), triggers


def _lay(samples: NDArray[np.float64], sound: Heard, time_s: float, gain: float) -> None:
    first, wave = sound.at(time_s)
    begin, end = max(first, 0), min(first + wave.size, samples.size)
    samples[begin:end] += gain * wave[begin - first : end - first]


def _band(samples: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    return np.asarray(sosfilt(np.insert(detection_band(rate_hz), 3, 1.0, axis=1), samples))


def _street(count: int, rate_hz: int, random: Generator) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(random.standard_normal(count))
    return np.fft.irfft(spectrum / np.sqrt(1.0 + np.square(np.fft.rfftfreq(count, 1.0 / rate_hz) / 300.0)), count)
