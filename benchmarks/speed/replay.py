"""The recorded night through the whole engine, beside reading its files alone: the limit of any engine."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from localization.study.scene_reading import read_scene
from sensors.recording import read_blocks
from shotfix.playback import replay

NIGHT = Path(__file__).resolve().parents[2] / "fixtures" / "scenes" / "demo-night"
REPEATS = 3


def measure(_data: Path | None) -> str:
    scene = read_scene(NIGHT)
    run = replay(scene)  # compiled before the clock runs
    whole, reading = [], []
    for _ in range(REPEATS):
        whole.append(_seconds(lambda: replay(scene)))
        reading.append(_seconds(lambda: _read(scene)))
    took, limit = statistics.median(whole), statistics.median(reading)
    return (
        f"{len(scene.network.sites)} sensors, {run.audio_s:.0f} s of sound in all, one core.\n\n"
        "| | seconds, median | sensors in real time on one core |\n|---|---|---|\n"
        f"| replay: hearing, judging, locating, alerting | {took:.2f} | {run.audio_s / took:.0f} |\n"
        f"| reading the files alone | {limit:.2f} | {run.audio_s / limit:.0f} |"
    )


def _read(scene) -> int:
    return sum(len(block.samples) for piece in scene.pieces for block in read_blocks(piece.path, piece.start_ns))


def _seconds(work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
