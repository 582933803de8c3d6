"""Simulated streets beside real ones: how sound dies away after a shot."""

import csv
import dataclasses

import numpy as np
import soundfile as sf

from acoustic.air import Air
from acoustic.propagation import Heard
from acoustic.sources import muzzle_blast
from localization.study.paths import Streets
from localization.study.specification import Surroundings

RATE_HZ = 12_000
WINDOWS_S = [(0.005, 0.01), (0.01, 0.02), (0.02, 0.04), (0.04, 0.07), (0.07, 0.1), (0.1, 0.15), (0.15, 0.2)]


def decay_db(samples, onset, noise_power=0.0):
    """Root mean square in each window after an onset, beside the peak, dB."""
    peak = np.max(np.abs(samples[max(onset - 60, 0) : onset + 120]))
    powers = [
        np.mean(np.square(samples[onset + round(a * RATE_HZ) : onset + round(b * RATE_HZ)])) for a, b in WINDOWS_S
    ]
    return 10.0 * np.log10(np.maximum(np.array(powers) - noise_power, 1e-12) / peak**2)


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def real_decays(folder):
    """Of the last tagged shot in each recording of the live fire, where it stands out and is not clipped."""
    tagged = {}
    for row in table(folder / "arrivals.csv"):
        key = (row["event_id"].rsplit("/", 1)[0], row["sensor_id"])
        tagged.setdefault(key, []).append((float(row["time_s"]), float(row["snr_db"]), float(row["spl_db"])))
    for row in table(folder / "audio.csv"):
        time_s, snr_db, level_db = max(tagged.get((row["test_id"], row["sensor_id"]), [(0.0, 0.0, 0.0)]))
        if snr_db > 10.0 and level_db < 92.0:
            samples = sf.read(folder / row["path"])[0]
            onset = round((time_s - float(row["start_s"])) * RATE_HZ)
            before = samples[max(onset - 6_000, 0) : onset - 1_200]
            if len(before) and onset + 3_000 < len(samples) and np.mean(before == 0.0) < 0.3:
                yield decay_db(samples, onset, float(np.mean(np.square(before))))


def simulated_decays():
    """Of shots 150 to 700 m away."""
    streets = Streets(dataclasses.replace(Surroundings(), ground_m=0.0), Air(0.0, 2.0, 60.0), 0.0, seed=1)
    sound = muzzle_blast(RATE_HZ, positive_phase_s=0.0009)
    for k, distance_m in enumerate(np.geomspace(150.0, 700.0, 100)):
        path = streets.path((str(k), "s"), (0.0, 0.0, 1.5), (float(distance_m), 0.0, 9.0), 0.0, RATE_HZ)
        first, samples = Heard(sound, path, Air(0.0, 2.0, 60.0)).at(0.0)
        yield decay_db(samples, round(path.rays[0].delay_s * RATE_HZ) - first)


def test_sound_dies_away_as_in_live_fire(shared):
    """Median over paths, within 5 dB in every window from 5 to 200 ms."""
    real = np.array(list(real_decays(shared / "pittsburgh_livefire")))
    made = np.array(list(simulated_decays()))
    assert len(real) > 100
    assert np.max(np.abs(np.median(real, axis=0) - np.median(made, axis=0))) < 5.0
