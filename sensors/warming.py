"""Warming: a listener's kernels are compiled, or fetched from their cache, before a microphone is opened."""

from __future__ import annotations

import numpy as np

from acoustic.block import AudioBlock
from acoustic.detection import Detection
from acoustic.instant import SECOND
from sensors.hearing import Hearing

START_NS = 1_800_000_000 * SECOND
RATE_HZ = 48_000


def warm_listener() -> int:
    """Hear one invented impulse; how many were detected."""
    samples = np.random.default_rng(1).normal(0.0, 1e-3, 4 * RATE_HZ).astype(np.float32)
    decay = np.exp(-np.arange(480) / 40.0).astype(np.float32)
    samples[3 * RATE_HZ : 3 * RATE_HZ + 480] += 0.5 * decay * (1.0 - np.arange(480, dtype=np.float32) / 40.0)
    hearing = Hearing("warming")
    said = [*hearing.hear(AudioBlock(samples, RATE_HZ, START_NS)), *hearing.finish()]
    return sum(isinstance(content, Detection) for content in said)
