"""The front end: microphones that one core hears in real time, beside obspy's compiled trigger and scipy's filter."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from scipy import signal

from acoustic.background import background
from acoustic.block import AudioBlock
from acoustic.watch import Watch
from sensors.ears import Ears
from sensors.listener import Listener

RATE_HZ = 48_000
SECONDS = 60
REPEATS = 9
LOADS = (0, 1, 3, 7)  # impulses in the minute, each of which wakes the gate and is picked and judged
USUAL = 1  # sixty an hour; the live fire has 83 in a quiet sensor-hour
START_NS = 1_795_000_000_000_000_000
BAND = signal.butter(2, [300.0, 5_000.0], "bandpass", fs=RATE_HZ, output="sos")


def measure(_data: Path | None) -> str:
    try:
        from obspy.signal.trigger import recursive_sta_lta, trigger_onset  # a rival
    except ImportError:
        return "The rival is not installed: `pip install obspy`, then run this again."
    sound = street_minute(USUAL).astype(np.float32)
    doubles = sound.astype(np.float64)

    def rival():
        return trigger_onset(recursive_sta_lta(signal.sosfilt(BAND, doubles), 48, 4_800), 6.0, 3.0)

    chunks = [sound[i : i + 480] for i in range(0, sound.size, 480)]
    for chunk in chunks:
        chunk.flags.writeable = False

    def filter_in_chunks():
        state = np.zeros((BAND.shape[0], 2))
        for chunk in chunks:
            _, state = signal.sosfilt(BAND, chunk, zi=state)

    def watch_in(pieces):
        watch = Watch(RATE_HZ)
        for piece in pieces:
            watch.look(piece)

    loads = {shots: street_minute(shots).astype(np.float32) for shots in LOADS}

    def listen_in(length, sound=sound):
        listener = Listener("roof", full_scale_db_spl=110.0)
        for i in range(0, sound.size, length):
            at_ns = START_NS + i * 1_000_000_000 // RATE_HZ
            listener.hear(AudioBlock(sound[i : i + length], RATE_HZ, at_ns, after_gap=i == 0))

    def trigger_in_seconds():
        """The same work as the rival's, and no more: where something fires."""
        ears = Ears(RATE_HZ, START_NS, None, 1)
        for i in range(0, sound.size, RATE_HZ):
            for _ in ears.take(sound[np.newaxis, i : i + RATE_HZ]):
                pass

    seconds = [sound[i : i + RATE_HZ] for i in range(0, sound.size, RATE_HZ)]
    ways = {
        "obspy recursive STA/LTA (C) + scipy sosfilt + trigger_onset, whole minute": rival,
        "triggers alone: watch and gate, 1 s blocks": trigger_in_seconds,
        "full chain: listener, with picks, judgements and heartbeats, 1 s blocks": lambda: listen_in(RATE_HZ),
        "tier 0: the watch alone, 1 s blocks": lambda: watch_in(seconds),
        "scipy sosfilt alone, 10 ms blocks, state carried": filter_in_chunks,
        "tier 0, 10 ms blocks": lambda: watch_in(chunks),
        "full chain, 10 ms blocks": lambda: listen_in(480),
    }
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):  # in turn, so that all see the same machine
        for name, way in ways.items():
            taken[name].append(_seconds(way))
    names = list(ways)
    for shots, minute in loads.items():
        name = f"full chain with {shots} impulses a minute, 1 s blocks"
        taken[name] = [_seconds(lambda minute=minute: listen_in(RATE_HZ, minute)) for _ in range(REPEATS)]
        names.append(name)
    rows = [
        _row(names[0], taken, None),
        _row(names[1], taken, names[0]),
        _row(names[2], taken, names[0]),
        _row(names[3], taken, names[0]),
        _row(names[4], taken, None),
        _row(names[5], taken, names[4]),
        _row(names[6], taken, names[4]),
        *(_row(name, taken, names[0]) for name in names[7:]),
    ]
    return (
        f"{SECONDS} s of a street at 48 kHz with {USUAL} shot where nothing else is said; channels in real time on one "
        f"core, medians of {REPEATS}. Reading memory once would carry {_memory_bound():,.0f} channels.\n\n"
        "| | channels | times the rival above it: least, median, greatest |\n|---|---|---|\n" + "\n".join(rows)
    )


def _seconds(way) -> float:
    began = time.process_time()
    way()
    return time.process_time() - began


def _row(name: str, taken: dict[str, list[float]], rival: str | None) -> str:
    channels = SECONDS / statistics.median(taken[name])
    if rival is None:
        return f"| {name} | {channels:,.0f} | |"
    ratios = sorted(b / a for a, b in zip(taken[name], taken[rival], strict=True))
    return f"| {name} | {channels:,.0f} | {ratios[0]:.1f}, {statistics.median(ratios):.1f}, {ratios[-1]:.1f} |"


def street_minute(shots: int):
    """A minute of the street with so many impulses in it."""
    generator = np.random.default_rng(1)
    sound = background(RATE_HZ, RATE_HZ * SECONDS, level_db_spl=55.0, slope_db_per_octave=-4.5, generator=generator)
    sound /= 50.0 * np.std(sound)
    for k in range(shots):
        time_s = np.arange(RATE_HZ // 4) / RATE_HZ
        at = (5 + 7 * k) * RATE_HZ + 7
        sound[at : at + time_s.size] += 0.5 * (1.0 - time_s / 0.001) * np.exp(-time_s / 0.001)
    return sound


def _memory_bound() -> float:
    """Channels of 32 bit at 48 kHz that one core can add up."""
    much = np.ones(64 << 18, dtype=np.float32)
    times = []
    for _ in range(7):
        began = time.process_time()
        much.max()
        times.append(time.process_time() - began)
    return much.size / RATE_HZ / statistics.median(times)
