"""Scene folders: what is right is read as it stands, what is wrong is one line that names the file and the row or key."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import soundfile as sf

from acoustic.instant import parse_instant
from localization.study.scene_reading import read_scene
from localization.study.table import SceneError
from sensors.site import Geodetic, Local

SCENE = 'name = "Yard"\nframe = "local"\nstart_utc = "2026-11-21T03:00:00Z"\n'
SENSORS = "sensor_id,east_m,north_m,up_m\nA,0,0,5\nB,300,10,6\nC,20,280,7\n"
PULSES = "sensor_id,time_s\nA,1.25\nB,1.5\nC,1.75\n"


@pytest.fixture
def folder(tmp_path):
    """A small scene of pulses in a local frame."""
    return write(tmp_path / "yard")


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"scene.toml": SCENE, "sensors.csv": SENSORS, "pulses.csv": PULSES}.items():
        (folder / name).write_text(text)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)
    return folder


def audible(folder, rows="A,audio/a.wav,0\n", seconds=1.0):
    """The same with a recording of A."""
    (folder / "audio").mkdir()
    sf.write(folder / "audio" / "a.wav", np.zeros(round(8000 * seconds), dtype=np.int16), 8000)
    (folder / "audio.csv").write_text("sensor_id,path,start_s\n" + rows)
    return folder


def complaint(folder, **how):
    with pytest.raises(SceneError) as caught:
        read_scene(folder, **how)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_there_is_read(folder):
    scene = read_scene(folder)
    assert scene.name == "Yard"
    assert [site.sensor_id for site in scene.network.sites] == ["A", "B", "C"]
    assert scene.network.sites[1].position == Local(300.0, 10.0, 6.0)
    assert [p.detection.pick.onset_ns - scene.start_ns for p in scene.pulses] == [
        1_250_000_000,
        1_500_000_000,
        1_750_000_000,
    ]
    assert scene.warnings == ()


def test_defaults_are_those_of_the_contract(folder):
    scene = read_scene(folder)
    site, pick = scene.network.sites[0], scene.pulses[0].detection.pick
    assert (scene.air.temperature_c, scene.air.temperature_sigma_c, scene.air.wind_sigma_m_per_s) == (15.0, 10.0, 4.0)
    assert (scene.air.relative_humidity_percent, scene.air.pressure_pa) == (50.0, 101_325.0)
    assert (site.position_sigma_m, site.up_sigma_m, site.clock_sigma_s) == (1.0, 5.0, 0.0002)
    assert (pick.sigma_s, pick.p_outlier, pick.snr_db) == (0.001, 0.0, None)
    assert scene.pulses[0].detection.llr == 0.0


def test_weather(folder):
    write(folder, scene_toml=SCENE + "[air]\ntemperature_c = 4.5\nwind_speed_m_per_s = 3.0\nwind_from_deg = 270.0\n")
    air = read_scene(folder).air
    assert (air.temperature_c, air.temperature_sigma_c, air.wind_sigma_m_per_s) == (4.5, 2.0, 2.0)
    assert air.wind_east_m_per_s == pytest.approx(3.0)  # from the west is towards the east
    assert air.wind_north_m_per_s == pytest.approx(0.0, abs=1e-9)


def test_times_have_nine_decimals_and_any_zone(folder):
    write(folder, pulses_csv="sensor_id,time_utc\nA,2026-11-21T03:00:01.123456789Z\nB,2026-11-20T22:00:01.5-05:00\n")
    onsets = [pulse.detection.pick.onset_ns for pulse in read_scene(folder).pulses]
    assert onsets == [parse_instant("2026-11-21T03:00:01.123456789Z"), parse_instant("2026-11-21T03:00:01.5Z")]


def test_seconds_are_exact(folder):
    """Decimals are read as decimals: no binary fraction in between."""
    write(folder, pulses_csv="sensor_id,time_s\nA,86399.123456789\n")
    scene = read_scene(folder)
    assert scene.pulses[0].detection.pick.onset_ns - scene.start_ns == 86_399_123_456_789


def test_degrees(folder):
    write(
        folder,
        scene_toml=SCENE.replace("local", "wgs84"),
        sensors_csv="sensor_id,latitude_deg,longitude_deg,height_m\nA,41.77,-72.68,5\nB,41.772,-72.68,5\nC,41.77,-72.677,5\n",
    )
    scene = read_scene(folder)
    assert scene.network.sites[0].position == Geodetic(41.77, -72.68, 5.0)
    assert scene.frame.origin is not None
    assert scene.frame.origin.latitude_deg == pytest.approx((41.77 + 41.772 + 41.77) / 3)


def test_given_shots_and_truth(folder):
    write(
        folder,
        pulses_csv="sensor_id,time_s,shot_id,llr,class\nA,1.25,x,2.5,gunshot\nB,1.5,x,,firework\nB,1.6,x,,\n",
        truth_csv="shot_id,class,time_s,east_m,north_m,up_m,sigma_m,pulse_ids\nx,gunshot,,10,20,1,2.1,p1 p2\n",
    )
    scene = read_scene(folder)
    assert [pulse.shot_id for pulse in scene.pulses] == ["x", "x", "x"]
    assert scene.pulses[1].detection.sound == "gunshot"  # no evidence either way: the llr decides, and it is nought
    assert scene.truth[0].time_ns is None
    assert scene.truth[0].pulse_ids == ("p1", "p2")


def test_unknown_columns_and_keys_are_told_once(folder):
    write(
        folder,
        scene_toml=SCENE + "mood = 3\n",
        pulses_csv=PULSES.replace("time_s", "time_s,colour,shape").replace("5\n", "5,red,round\n"),
    )
    warnings = read_scene(folder).warnings
    assert [w for w in warnings if "colour, shape" in w] == ["pulses.csv: ignored unknown columns colour, shape"]
    assert any("mood" in w for w in warnings)


def test_a_run_is_a_scene_again(folder):
    """A detections.csv of a run is a valid pulses.csv."""
    header = "pulse_id,sensor_id,time_utc,time_sigma_s,p_outlier,snr_db,level_db_spl,llr,p_gunshot,class"
    row = "p1,A,2026-11-21T03:00:01.250000000Z,0.000020000,0.0500,31.20,,2.0000,0.880797,gunshot"
    write(folder, pulses_csv=f"{header}\n{row}\n")
    detection = read_scene(folder).pulses[0].detection
    assert (detection.pulse_id, detection.llr, detection.pick.snr_db, detection.pick.level_db_spl) == (
        "p1",
        2.0,
        31.2,
        None,
    )
    assert read_scene(folder).warnings == ()


WRONG_TABLES = [
    ("sensors.csv", SENSORS + "A,5,5,5\n", ["sensors.csv row 5", "A stands twice"]),
    ("sensors.csv", SENSORS.replace("300", "nan"), ["sensors.csv row 3", "east_m is 'nan'", "number"]),
    ("sensors.csv", SENSORS.replace("300", "1e999"), ["sensors.csv row 3", "east_m is inf"]),
    ("sensors.csv", SENSORS.replace("300", "3O0"), ["sensors.csv row 3", "east_m is '3O0'", "number"]),
    ("sensors.csv", SENSORS.replace("300", ""), ["sensors.csv row 3", "east_m is empty"]),
    ("sensors.csv", SENSORS.replace("up_m", "height"), ["sensors.csv", "no column up_m"]),
    ("sensors.csv", SENSORS.replace("north_m", "east_m"), ["sensors.csv", "north_m"]),
    ("sensors.csv", SENSORS.replace("up_m\n", "up_m,up_m\n"), ["sensors.csv", "up_m stands twice"]),
    ("sensors.csv", SENSORS + "D,1,2,3,4,5\n", ["sensors.csv row 5", "6 cells under 4"]),
    ("sensors.csv", "sensor_id,east_m,north_m,up_m\n", ["sensors.csv", "no sensor"]),
    ("sensors.csv", "", ["sensors.csv", "no column"]),
    ("sensors.csv", "sensor_id,east_m,north_m,up_m\nA,41.77,-72.68,5\nB,41.78,-72.69,5\nC,41.79,-72.67,5\n", ["degrees", "wgs84"]),
    ("sensors.csv", SENSORS.replace("up_m\n", "up_m,clock_sigma_s\n").replace(",6\n", ",6,-1\n"), ["row 3", "clock_sigma_s is -1"]),
    ("sensors.csv", SENSORS.replace("A,", "A\x07,"), ["row 2", "sensor_id"]),
    ("pulses.csv", PULSES + "Z,2.0\n", ["pulses.csv row 5", "'Z' is not in sensors.csv"]),
    ("pulses.csv", PULSES + "A,\n", ["pulses.csv row 5", "empty"]),
    ("pulses.csv", PULSES + "A,1795230000\n", ["pulses.csv row 5", "is it a clock time?"]),
    ("pulses.csv", PULSES + "A,inf\n", ["pulses.csv row 5", "time_s is inf"]),
    ("pulses.csv", PULSES + "A,soon\n", ["pulses.csv row 5", "time_s is soon"]),
    ("pulses.csv", PULSES + "A,1_0\n", ["pulses.csv row 5", "time_s is 1_0"]),
    ("pulses.csv", PULSES + "A,\uff11\n", ["pulses.csv row 5", "number"]),
    ("pulses.csv", PULSES + "A,1e999999999\n", ["pulses.csv row 5", "time_s is 1e999999999"]),
    ("pulses.csv", "sensor_id,time_s\nA,1\nB,2\nC,2\n", ["pulses.csv", "whole second", "fractions"]),
    ("pulses.csv", "sensor_id,time_s,level_db_spl\nA,1.5,1e200\n", ["pulses.csv row 2", "level_db_spl is 1e+200"]),
    ("sensors.csv", "sensor_id,east_m,north_m,up_m\nA,41.77,-72.68,5\nB,41.78,-72.69,5\n", ["degrees", "wgs84"]),
    ("pulses.csv", "sensor_id,time_utc\nA,2026-11-21T03:00:01\n", ["pulses.csv row 2", "has no zone"]),
    ("pulses.csv", "sensor_id,time_utc\nA,2026-02-30T03:00:01Z\n", ["pulses.csv row 2", "not a time"]),
    ("pulses.csv", "sensor_id,time_utc,time_s\nA,2026-11-21T03:00:01Z,4\n", ["pulses.csv row 2", "keep one"]),
    ("pulses.csv", "sensor_id,time_s,pulse_id\nA,1,p\nB,2,p\n", ["pulses.csv row 3", "p stands in row 2 too"]),
    ("pulses.csv", "sensor_id,time_s,class\nA,1,cannon\n", ["pulses.csv row 2", "class is 'cannon'"]),
    ("pulses.csv", "sensor_id,time_s,p_outlier\nA,1,1.5\n", ["pulses.csv row 2", "p_outlier is 1.5"]),
    ("pulses.csv", "sensor_id,time_s,time_sigma_s\nA,1,0\n", ["pulses.csv row 2", "sigma_s is 0"]),
    ("pulses.csv", "sensor_id,time_s,llr\nA,1,900\n", ["pulses.csv row 2", "llr is 900"]),
    ("truth.csv", "shot_id,east_m,north_m\nx,1,2\nx,1,2\n", ["truth.csv row 3", "x stands twice"]),
    ("truth.csv", "shot_id,latitude_deg,longitude_deg\nx,1,2\n", ["truth.csv", "no column east_m"]),
    ("elements.csv", "sensor_id,channel,east_m,north_m,up_m\nZ,0,0,0,0\n", ["elements.csv", "Z is not in sensors.csv"]),
    ("elements.csv", "sensor_id,channel,east_m,north_m,up_m\nA,0,0,0,0\nA,0,1,0,0\n", ["elements.csv row 3", "stands twice"]),
    ("elements.csv", "sensor_id,channel,east_m,north_m,up_m\nA,first,0,0,0\n", ["elements.csv row 2", "channel is 'first'"]),
]  # fmt: skip


@pytest.mark.parametrize(("file", "text", "words"), WRONG_TABLES)
def test_wrong_tables(folder, file, text, words):
    (folder / file).write_text(text)
    message = complaint(folder)
    assert [word for word in words if word not in message] == []


WRONG_TOML = [
    ("frame = \n", ["scene.toml", "not TOML"]),
    (SCENE.replace('"local"', '"mars"'), ["scene.toml frame", "'mars'", "wgs84, local"]),
    (SCENE.replace('frame = "local"\n', ""), ["scene.toml frame", "absent"]),
    (SCENE.replace('start_utc = "2026-11-21T03:00:00Z"\n', ""), ["scene.toml start_utc", "absent"]),
    (SCENE.replace("00Z", "00"), ["scene.toml start_utc", "no zone"]),
    (SCENE.replace('"2026-11-21T03:00:00Z"', "2026-11-21T03:00:00"), ["scene.toml start_utc", "no zone"]),
    (SCENE.replace('"2026-11-21T03:00:00Z"', "1795230000"), ["scene.toml start_utc"]),
    (SCENE + "[air]\ntemperature_c = 99.0\n", ["scene.toml air", "temperature_c is 99"]),
    (SCENE + "[air]\ntemperature_c = nan\n", ["scene.toml air", "temperature_c is nan"]),
    (SCENE + "[source]\nsigma_m = nan\n", ["scene.toml source.sigma_m", "nan"]),
    (SCENE + "[source]\nsigma_m = -5\n", ["scene.toml source.sigma_m", "-5"]),
    (SCENE + "x = " + "[" * 20_000 + "]" * 20_000, ["scene.toml", "nested too deeply"]),
    (SCENE + '[air]\ntemperature_c = "warm"\n', ["scene.toml air.temperature_c", "'warm' is not a number"]),
    (SCENE + "[air]\nwind_speed_m_per_s = -2.0\n", ["scene.toml air.wind_speed_m_per_s"]),
    (SCENE + "[air]\nwind_speed_m_per_s = 2.0\nwind_from_deg = 400.0\n", ["scene.toml air.wind_from_deg", "0 to 360"]),
    (SCENE + "air = 3\n", ["scene.toml", "[air]"]),
    (SCENE + "[origin]\nlatitude_deg = 91.0\nlongitude_deg = 0.0\n", ["scene.toml origin", "latitude_deg is 91"]),
    (SCENE + "[origin]\nlatitude_deg = 41.0\n", ["scene.toml origin.longitude_deg", "absent"]),
    (SCENE + "[source]\nup_m = 1.0\nheight_m = 2.0\n", ["scene.toml source", "keep one"]),
    (SCENE + "[source]\nheight_m = 2.0\n", ["scene.toml source.height_m", "no origin"]),
    (SCENE + "[source]\nup_m = 1.0\nsigma_m = -3.0\n", ["scene.toml source", "sigma_m"]),
]


@pytest.mark.parametrize(("text", "words"), WRONG_TOML)
def test_wrong_scene_toml(folder, text, words):
    (folder / "scene.toml").write_text(text)
    message = complaint(folder)
    assert [word for word in words if word not in message] == []


def test_a_latitude_of_91_degrees(folder):
    text = "sensor_id,latitude_deg,longitude_deg,height_m\nA,41.77,-72.68,5\nB,91,-72.68,5\n"
    write(folder, scene_toml=SCENE.replace("local", "wgs84"), sensors_csv=text)
    message = complaint(folder)
    assert "sensors.csv row 3" in message
    assert "latitude_deg is 91" in message


def test_nothing_there(tmp_path):
    assert "no such folder" in complaint(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "scene.toml: absent" in complaint(tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    assert "no such folder" in complaint(tmp_path / "file")


def test_a_table_that_is_no_text(folder):
    (folder / "pulses.csv").write_bytes(b"\xff\xfe\x00s\x00e")
    assert "not UTF-8" in complaint(folder)


def test_byte_order_mark_and_blank_lines_are_forgiven(folder):
    (folder / "pulses.csv").write_text("\ufeff" + PULSES.replace("\nB", "\n\n ,\nB"))
    assert len(read_scene(folder).pulses) == 3


def test_audio(folder):
    scene = read_scene(audible(folder))
    assert [(piece.sensor_id, piece.path.name, piece.channel) for piece in scene.pieces] == [("A", "a.wav", 0)]
    assert scene.pulses == ()


WRONG_AUDIO = [
    ("A,../outside.wav,0\n", "leaves the scene"),
    ("A,/etc/passwd,0\n", "relative"),
    ("A,audio/../../yard2/a.wav,0\n", "leaves the scene"),
    ("A,audio/link.wav,0\n", "leaves the scene"),
    ("A,audio/b.wav,0\n", "no such file"),
    ("A,audio,0\n", "no such file"),
    ("Z,audio/a.wav,0\n", "'Z' is not in sensors.csv"),
    ("A,audio/a.wav,\n", "both empty"),
    ("A,,0\n", "path is empty"),
    ("A,C:\\a.wav,0\n", "relative"),
]


@pytest.mark.parametrize(("row", "word"), WRONG_AUDIO)
def test_wrong_audio(folder, row, word):
    audible(folder, row)
    (folder.parent / "outside.wav").write_bytes(b"RIFF")
    (folder / "audio" / "link.wav").symlink_to(folder.parent / "outside.wav")
    message = complaint(folder)
    assert "audio.csv row 2" in message
    assert word in message


def test_what_is_asked_for_must_be_there(folder):
    assert "audio.csv: absent" in complaint(folder, audio=True)
    (folder / "pulses.csv").unlink()
    assert "pulses.csv: absent" in complaint(folder, audio=False)


def test_huge_numbers_do_no_harm(folder):
    """A column of digits without end is refused by its size, in no time."""
    write(folder, pulses_csv="sensor_id,time_s\nA," + "9" * 5_000 + "\n")
    assert "is it a clock time?" in complaint(folder)
    assert struct.calcsize("q") == 8
    assert math.isfinite(1.0)


@pytest.mark.parametrize("file", ["sensors.csv", "truth.csv", "elements.csv", "audio.csv"])
def test_links_in_a_circle(folder, file):
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to(file)
    assert complaint(folder).startswith(file)


def test_a_recording_that_is_a_link_in_a_circle(folder):
    (folder / "round.wav").symlink_to("round.wav")
    write(folder, audio_csv="sensor_id,path,start_s\nA,round.wav,0\n")
    assert "audio.csv row 2: round.wav: no such file" in complaint(folder)


def test_a_recording_of_before_1950(folder):
    (folder / "old.wav").write_bytes(b"")
    write(
        folder,
        scene_toml=SCENE.replace("2026-11-21", "1950-01-01"),
        audio_csv="sensor_id,path,start_s\nA,old.wav,-20000000\n",
    )
    assert complaint(folder).startswith("audio.csv row 2: ")
