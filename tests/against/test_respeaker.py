"""Talkers in a room, recorded by a four-microphone array of 7 cm: others' recordings, their directions set up by hand."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile

from acoustic.direction import bearing_of_stretch


@pytest.fixture(scope="module")
def recordings(shared):
    """Rows of truth, each with its bearing; azimuths as the recordings tell them, counter-clockwise from +x."""
    folder = shared / "respeaker_doa"
    geometry = json.loads((folder / "geometry.json").read_text())
    rows = []
    for row in csv.DictReader((folder / "truth.csv").read_text().splitlines()):
        samples, rate_hz = soundfile.read(folder / "audio" / row["file"], dtype="float32")
        elements = np.array(geometry["mics_m"])
        bearing = bearing_of_stretch(samples, elements, rate_hz, geometry["c"])
        truth = [float(row[f"az{k}"]) for k in (1, 2, 3) if row[f"az{k}"]]
        rows.append((row["file"], truth, bearing))
    return rows


def test_a_single_talker_is_found_to_the_degree(recordings):
    single = [(name, truth[0], bearing) for name, truth, bearing in recordings if len(truth) == 1]
    assert len(single) == 6
    for name, azimuth, bearing in single:
        assert bearing is not None, name
        miss = (90.0 - bearing.azimuth_deg - azimuth + 180.0) % 360.0 - 180.0
        assert abs(miss) < 1.0, name
        assert abs(miss) < 3.0 * bearing.sigma_deg, name


def test_of_several_talkers_the_bearing_lies_among_them(recordings):
    told = [(truth, bearing) for _, truth, bearing in recordings if len(truth) > 1 and bearing is not None]
    assert len(told) >= 9
    for truth, bearing in told:
        assert min(truth) - 3.0 <= (90.0 - bearing.azimuth_deg) % 360.0 <= max(truth) + 3.0
