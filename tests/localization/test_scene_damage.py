"""Scenes with something in them broken: a scene, or one clear line; never anything else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localization.study.scene_reading import read_scene
from localization.study.table import SceneError

FILES = {
    "scene.toml": 'name = "Yard"\nframe = "wgs84"\nstart_utc = "2026-11-21T03:00:00Z"\n[air]\ntemperature_c = 3.5\n[source]\nheight_m = 20.0\n',
    "sensors.csv": "sensor_id,latitude_deg,longitude_deg,height_m\nA,41.77,-72.68,20\nB,41.772,-72.681,25\nC,41.771,-72.677,22\n",
    "elements.csv": "sensor_id,channel,east_m,north_m,up_m\nA,0,0.0,0.0,0.0\nA,1,0.1,0.0,0.0\n",
    "pulses.csv": "sensor_id,time_s,snr_db,llr,azimuth_deg\nA,1.25,20,1.5,30\nB,1.5,18,-0.5,\nC,1.75,,,\n",
    "truth.csv": "shot_id,class,time_s,latitude_deg,longitude_deg,height_m\nx,gunshot,0.5,41.7705,-72.679,20\n",
}
SCRAPS = [
    "", ",", '"', "\n", "\r\n", "\x00", "\ufeff", "nan", "inf", "-1", "1e400", "9" * 400, "41,77", "٣", "=", "[", "]", "{", "#", "'",
    "true", "2026-11-21T03:00:00", "2026-13-01T00:00:00Z", "../../etc/passwd", "\U0001f52b", "A", "shot_id", "\x1b[31m",
]  # fmt: skip


def check(folder, seed):
    dice = random.Random(seed)  # noqa: S311  (dice, not secrets)
    files = dict(FILES)
    for _ in range(dice.randint(1, 4)):
        name = dice.choice(sorted(files))
        text = files[name]
        at, until = sorted(dice.randint(0, len(text)) for _ in range(2))
        until = min(until, at + dice.choice([0, 1, 5, 1_000]))
        files[name] = text[:at] + dice.choice(SCRAPS) + text[until:]
        if dice.random() < 0.05:
            del files[name]
    for name in FILES:
        path = folder / name
        path.unlink(missing_ok=True)
        if name in files:
            path.write_bytes(files[name].encode("utf-8", "surrogatepass"))
    complaint = "none"
    try:
        read_scene(folder)
    except SceneError as error:
        complaint = str(error)
    assert 0 < len(complaint) < 400


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=300)
def test_broken_scenes(tmp_path_factory, seed):
    check(tmp_path_factory.getbasetemp(), seed)


@pytest.mark.endurance
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20_000)
def test_broken_scenes_for_long(tmp_path_factory, seed):
    check(tmp_path_factory.getbasetemp(), seed)
