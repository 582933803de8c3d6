"""A small array: the listener's detections carry a bearing, and the same one however the blocks are cut."""

from __future__ import annotations

import math

import numpy as np
import pytest

from acoustic.block import AudioBlock
from acoustic.detection import Detection
from sensors.listener import Listener
from sensors.site import Element
from tests import sounds

RATE_HZ = 16_000
START_NS = 1_700_000_000_000_000_000
ELEMENTS = [Element(k, 0.1 * math.cos(k), 0.1 * math.sin(k), 0.0) for k in range(4)]
AZIMUTH_DEG = 140.0


def recording():
    a = math.radians(AZIMUTH_DEG)
    columns = []
    for k, element in enumerate(ELEMENTS):
        early_s = (element.east_m * math.sin(a) + element.north_m * math.cos(a)) / 340.4
        columns.append(sounds.street_with_blast(RATE_HZ, 2.0, 1.2 - early_s, seed=k))
    return np.column_stack(columns)


def detections(samples, length, **more):
    listener, said = Listener("roof-1", **more), []
    for start in range(0, len(samples), length):
        said += listener.hear(
            AudioBlock(samples[start : start + length], RATE_HZ, START_NS + start * 62_500, after_gap=start == 0)
        )
    return [d for d in (*said, *listener.finish()) if isinstance(d, Detection)]


def test_a_detection_of_an_array_carries_its_bearing():
    samples = recording()
    (heard,) = detections(samples, 32_000, elements=ELEMENTS)
    assert heard.bearing.azimuth_deg == pytest.approx(AZIMUTH_DEG, abs=3.0)
    for length in (160, 1000, 7777):
        assert detections(samples, length, elements=ELEMENTS) == [heard]


def test_one_microphone_has_none():
    samples = recording()
    assert [d.bearing for d in detections(samples, 4000)] == [None]
    assert [d.bearing for d in detections(samples[:, 0].copy(), 4000, elements=ELEMENTS)] == [None]
