"""Real handguns in a real city: what the listener finds of the impulses that the network's maker tagged.

The recordings are 12 kHz, half of each is zero padding; tags are whole milliseconds and are that maker's own survivors,
so that recall is relative to it.
"""

import csv
import itertools
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest

from acoustic.classifier import NoClassifier
from acoustic.detection import Detection
from acoustic.instant import SECOND
from sensors.health import Heartbeat
from sensors.listener import Listener
from sensors.recording import read_blocks

START_NS = 1_545_180_000 * SECOND
FOUND_S = 0.015
LEAD_S = 0.05  # before the first reported impulse, where it is quiet


@dataclass
class Recording:
    position: str
    sensor: str
    start_s: float
    tagged: dict[str, float]
    reported: list[float]
    onsets_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    vouched: list[tuple[float, float]] = field(default_factory=list)


def table(folder, name):
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def recordings(shared):
    return heard_by_listener(shared / "pittsburgh_livefire")


def heard_by_listener(folder):
    tagged, reported = defaultdict(dict), defaultdict(list)
    for row in table(folder, "arrivals.csv"):
        test_id = row["event_id"].rpartition("/")[0]
        tagged[test_id, row["sensor_id"]][row["event_id"]] = float(row["time_s"])
    for row in table(folder, "pulses_all.csv"):
        reported[row["test_id"], row["sensor_id"]].append(float(row["time_s"]))
    heard = []
    for row in table(folder, "audio.csv"):
        key = row["test_id"], row["sensor_id"]
        recording = Recording(row["test_id"][:3], key[1], float(row["start_s"]), tagged[key], reported[key])
        listener = Listener(key[1], full_scale_db_spl=93.0, classifier=NoClassifier())
        said = [one for block in read_blocks(folder / row["path"], START_NS) for one in listener.hear(block)]
        said += listener.finish()

        def seconds(instant_ns, start_s=recording.start_s):
            return (instant_ns - START_NS) / SECOND + start_s

        recording.onsets_s = np.array([seconds(one.pick.onset_ns) for one in said if isinstance(one, Detection)])
        beats = [one for one in said if isinstance(one, Heartbeat)]
        recording.vouched = [
            (seconds(a.heard_until_ns), seconds(b.heard_until_ns)) for a, b in itertools.pairwise(beats) if a.listening
        ]
        heard.append(recording)
    return heard


def nearest(recording, time_s):
    return min(recording.onsets_s, key=lambda onset_s: abs(onset_s - time_s), default=float("inf"))


def test_tagged_impulses_are_found_at_every_position(recordings):
    found, all_of = defaultdict(int), defaultdict(int)
    for recording in recordings:
        for time_s in recording.tagged.values():
            all_of[recording.position] += 1
            found[recording.position] += abs(nearest(recording, time_s) - time_s) < FOUND_S
    shares = {position: found[position] / count for position, count in all_of.items()}
    assert sum(found.values()) > 0.98 * sum(all_of.values()), shares
    assert min(shares.values()) > 0.95, shares


def test_quiet_time_is_quiet(recordings):
    false, quiet_s = defaultdict(int), defaultdict(float)
    for recording in recordings:
        first = min([*recording.reported, *recording.tagged.values()], default=float("inf")) - LEAD_S
        for begin, end in recording.vouched:
            stop = min(end, first)
            if stop > begin:
                quiet_s[recording.position] += stop - begin
                false[recording.position] += np.count_nonzero(
                    (recording.onsets_s >= begin) & (recording.onsets_s < stop)
                )
    told = {position: f"{false[position]} in {quiet_s[position]:.0f} s" for position in quiet_s}
    assert sum(false.values()) < 400.0 * sum(quiet_s.values()) / 3_600.0, told


def test_picks_repeat(recordings):
    """t = shot + path for every position: what is left is the picker's own spread, with the wind of the evening."""
    rest = []
    for position in sorted({recording.position for recording in recordings}):
        picks = {
            (event, recording.sensor): nearest(recording, time_s)
            for recording in recordings
            if recording.position == position
            for event, time_s in recording.tagged.items()
            if abs(nearest(recording, time_s) - time_s) < 2.0 * FOUND_S
        }
        shots, sensors = (sorted({key[k] for key in picks}) for k in (0, 1))
        times = np.array([[picks.get((shot, sensor), np.nan) for sensor in sensors] for shot in shots])
        times = times[np.isfinite(times).sum(axis=1) >= 3]
        times = times[:, np.isfinite(times).sum(axis=0) >= 3]
        for _ in range(60):
            times -= np.nanmedian(times, axis=1, keepdims=True)
            times -= np.nanmedian(times, axis=0, keepdims=True)
        rest.append(np.abs(times[np.isfinite(times)]))
    spread = np.concatenate(rest)
    assert np.median(spread) < 0.0002
    assert np.mean(spread > 0.001) < 0.12
    assert np.mean(spread > 0.005) < 0.04
