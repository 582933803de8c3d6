"""Bearings of one small array: recorded talkers beside pyroomacoustics' search, and simulated gunshots by loudness."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from acoustic.air import Air
from acoustic.bearing import Bearing
from acoustic.direction import bearing_of_impulse, bearing_of_stretch
from acoustic.propagation import Heard, Ray, ground_ray, travel_time_s
from acoustic.propagation import Path as Way
from acoustic.sources import muzzle_blast

AIR = Air(15.0)
ONSET_S, SECONDS = 0.1, 0.13
Told = tuple[float, float, float]  # miss, sigma, seconds
ARRAYS = ((4, 0.07, 16_000), (4, 0.15, 48_000), (6, 0.3, 48_000), (4, 1.0, 24_000))
TRIALS = 80


def measure(data: Path | None) -> str:
    source = (data.parent if data else Path(__file__).resolve().parents[3] / "shared" / "data") / "respeaker_doa"
    talkers = _talkers(source) if source.is_dir() else f"left out: no recordings of talkers at {source.name}"
    return f"{talkers}\n\n{_gunshots()}"


# recordings


def _talkers(source: Path) -> str:
    geometry = json.loads((source / "geometry.json").read_text())
    elements, speed = np.array(geometry["mics_m"]), geometry["c"]
    methods: dict[str, Callable] = {"shotfix": lambda x, rate: bearing_of_stretch(x, elements, rate, speed)}
    if importlib.util.find_spec("pyroomacoustics"):
        methods |= {f"pyroomacoustics {name}": _rival(name, elements, speed) for name in ("SRP", "MUSIC", "NormMUSIC")}
    rows = [
        "| recording, talkers at | " + " | ".join(methods) + " |",
        "|---" * (len(methods) + 1) + "|",
    ]
    worst = dict.fromkeys(methods, 0.0)
    for row in csv.DictReader((source / "truth.csv").read_text().splitlines()):
        samples, rate = soundfile.read(source / "audio" / row["file"], dtype="float32")
        truth = [float(row[f"az{k}"]) for k in (1, 2, 3) if row[f"az{k}"]]
        cells = []
        for name, method in methods.items():
            told = method(samples, rate)
            cells.append(_cell(told))
            if len(truth) == 1:
                worst[name] = max(worst[name], abs(_turn(_mathematical(told) - truth[0])) if told else math.inf)
        angles = ", ".join(f"{azimuth:.0f}" for azimuth in truth)
        rows.append(f"| {row['dist_cm']} cm, {angles} | " + " | ".join(cells) + " |")
    rows.append("| single talker, worst miss | " + " | ".join(f"**{miss:.2f}**" for miss in worst.values()) + " |")
    head = "Talkers in a room, 7 cm, 16 kHz; degrees counter-clockwise from +x as recorded, set up by hand:\n\n"
    return head + "\n".join(rows)


def _rival(name: str, elements: np.ndarray, speed: float) -> Callable:
    import pyroomacoustics as room  # a rival that need not be installed

    def tell(samples: np.ndarray, rate: int) -> float:
        spectra = room.transform.stft.analysis(samples, 512, 256, win=room.hann(512)).transpose(2, 1, 0)
        azimuths = np.radians(np.arange(0.0, 360.0, 0.25))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = room.doa.algorithms[name](
                elements[:, :2].T, rate, 512, c=speed, num_src=1, azimuth=azimuths, mode="far", dim=2
            )
            search.locate_sources(spectra, freq_range=[500.0, 0.47 * rate])
        return float(np.degrees(search.azimuth_recon[0]))

    return tell


def _mathematical(told: Bearing | float) -> float:
    return 90.0 - told.azimuth_deg if isinstance(told, Bearing) else told


def _cell(told: Bearing | float | None) -> str:
    if told is None:
        return "not told"
    sigma = f" +- {told.sigma_deg:.1f}" if isinstance(told, Bearing) else ""
    return f"{_mathematical(told) % 360.0:.2f}{sigma}"


def _turn(angle: float) -> float:
    return (angle + 180.0) % 360.0 - 180.0


# simulation


def _gunshots() -> str:
    rows = [
        "| array | peak over noise, dB | told | median miss | 95 % | over 10 | within 1 sigma | within 2 | ms |",
        "|---" * 9 + "|",
    ]
    for count, aperture, rate in ARRAYS:
        for snr_db in (8.0, 12.0, 18.0, 25.0, 35.0):
            told = [_trial(count, aperture, rate, snr_db, seed) for seed in range(TRIALS)]
            rows.append(f"| {count} in {aperture} m, {rate // 1000} kHz | {snr_db:.0f} | " + _summary(told) + " |")
    head = "Simulated gunshots 30 to 400 m away, ground, three walls, elements displaced by 0.5 mm; degrees:\n\n"
    return head + "\n".join(rows)


def _summary(trials: list[Told | None]) -> str:
    told = [trial for trial in trials if trial]
    if not told:
        return "0 % | - | - | - | - | - | -"
    miss = np.array([abs(trial[0]) for trial in told])
    score = miss / np.array([trial[1] for trial in told])
    return (
        f"{len(told) / len(trials):.0%} | {np.median(miss):.2f} | {np.percentile(miss, 95):.2f} | "
        f"{np.mean(miss > 10.0):.1%} | {np.mean(score < 1.0):.0%} | {np.mean(score < 2.0):.0%} | "
        f"{1e3 * statistics.median(trial[2] for trial in told):.1f}"
    )


def _trial(count: int, aperture: float, rate: int, snr_db: float, seed: int) -> Told | None:
    generator = np.random.default_rng(seed)
    angle = 2.0 * np.pi * np.arange(count) / count
    elements = np.column_stack([np.sin(angle), np.cos(angle), np.zeros(count)]) * aperture / 2.0
    azimuth_deg, distance = generator.uniform(0.0, 360.0), generator.uniform(30.0, 400.0)
    azimuth = math.radians(azimuth_deg)
    source = (distance * math.sin(azimuth), distance * math.cos(azimuth), 1.5)
    here = elements + generator.normal(0.0, 0.0005, elements.shape) + np.array([0.0, 0.0, 6.0])
    onset_s = ONSET_S + generator.normal(0.0, 0.0001)
    samples = _heard(source, here, rate, snr_db, generator)
    started = time.perf_counter()
    told = bearing_of_impulse(samples, onset_s * rate, elements, rate, AIR.sound_speed_m_per_s * 1.02)
    spent_s = time.perf_counter() - started
    return (_turn(told.azimuth_deg - azimuth_deg), told.sigma_deg, spent_s) if told else None


def _heard(source, here, rate, snr_db, generator) -> np.ndarray:
    """A muzzle blast and three walls' images of it at every element, in street noise of its own, (n, m) float32."""
    speed, count = AIR.sound_speed_m_per_s, round(SECONDS * rate)
    first_s = travel_time_s(AIR, source, here[0])
    images = [(*generator.uniform(-400.0, 400.0, 2), generator.uniform(0.0, 10.0)) for _ in range(3)]
    gains = generator.uniform(0.2, 0.8, 3)
    sound = muzzle_blast(rate, positive_phase_s=generator.uniform(0.0005, 0.0015))
    columns = np.zeros((count, len(here)))
    for k, element in enumerate(here):
        direct = Ray(math.dist(source, element), travel_time_s(AIR, source, element))
        walls = [
            Ray(math.dist(image, element), travel_time_s(AIR, image, element), gain)
            for image, gain in zip(images, gains, strict=True)
            if math.dist(image, here[0]) > math.dist(source, here[0])
        ]
        path = Way((direct, ground_ray(direct, 1.5, float(element[2]), 0.6, speed), *walls))
        first, pressure = Heard(sound, path, AIR).at(ONSET_S - first_s)
        used = pressure[max(-first, 0) : max(count - first, 0)]
        columns[max(first, 0) : max(first, 0) + len(used), k] = used
    columns /= np.abs(columns).max()
    noise = np.fft.rfft(generator.standard_normal(columns.shape), axis=0)
    noise /= np.sqrt(1.0 + (np.fft.rfftfreq(count, 1.0 / rate)[:, None] / 300.0) ** 2)
    street = np.fft.irfft(noise, count, axis=0)
    columns += 10.0 ** (-snr_db / 20.0) * street / np.std(street)
    return (0.3 * columns).astype(np.float32)
