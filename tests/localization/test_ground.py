"""The ground: bilinear as scipy has it, exact on planes, and a file that is wrong says in one line where."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from localization.frame import Frame
from localization.ground import POSTURE_SIGMA_M, SHOULDER_M, Ground, Raster
from localization.study.scene_reading import read_scene
from localization.study.table import SceneError
from sensors.site import Geodetic

SCENE = 'name = "Yard"\nframe = "local"\nstart_utc = "2026-11-21T03:00:00Z"\n'
EARTHLY = SCENE.replace("local", "wgs84")
SENSORS = "sensor_id,east_m,north_m,up_m\nA,0,0,5\nB,300,10,6\nC,20,280,7\n"
ON_EARTH = (
    "sensor_id,latitude_deg,longitude_deg,height_m\nA,41.770,-72.680,20\nB,41.772,-72.681,25\nC,41.771,-72.677,22\n"
)
HARTFORD = Geodetic(41.771, -72.679, 20.0)
GRID = "ncols 3\nnrows 2\nxllcorner -50\nyllcorner 0\ncellsize 100\nNODATA_value -9999\n"
HEIGHTS = "11 12 13\n21 22 23\n"


def hills(rows=7, columns=9, seed=0):
    rng = np.random.default_rng(seed)
    return Raster(rng.normal(20.0, 6.0, (rows, columns)), west=-120.0, south=40.0, step_x=30.0, step_y=25.0)


def scene(folder, *, grid=None, toml=SCENE, sensors=SENSORS, pulses="sensor_id,time_s\nA,1.25\n"):
    folder.mkdir(exist_ok=True)
    files = {"scene.toml": toml, "sensors.csv": sensors, "pulses.csv": pulses, "ground.asc": grid}
    for name, text in files.items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


def complaint(folder, **how):
    with pytest.raises(SceneError) as caught:
        read_scene(scene(folder, **how))
    message = str(caught.value)
    assert "\n" not in message
    return message


# rasters


@given(st.integers(0, 1000), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_bilinear_as_scipy_has_it(seed, along, up):
    raster = hills(seed=seed)
    rows, columns = raster.heights_m.shape
    x, y = -120.0 + 30.0 * (columns - 1) * along, 40.0 + 25.0 * (rows - 1) * up
    grid = (40.0 + 25.0 * np.arange(rows), -120.0 + 30.0 * np.arange(columns))
    expected = RegularGridInterpolator(grid, raster.heights_m)((y, x))
    height, known = raster.at(np.array(x), np.array(y))
    assert height == pytest.approx(float(expected), abs=1e-9)
    assert known


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_tilted_plane_is_exact(east_slope, north_slope, along, up):
    x, y = -200.0 + 50.0 * np.arange(10), 10.0 + 40.0 * np.arange(6)
    raster = Raster(7.0 + east_slope * x + north_slope * y[:, None], -200.0, 10.0, 50.0, 40.0)
    east, north = -200.0 + 450.0 * along, 10.0 + 200.0 * up
    assert Ground(raster).height_m(east, north) == pytest.approx(
        7.0 + east_slope * east + north_slope * north, abs=1e-9
    )


def test_many_places_at_once_are_each_alone():
    raster, rng = hills(), np.random.default_rng(1)
    x, y = rng.uniform(-200.0, 200.0, 50), rng.uniform(0.0, 250.0, 50)
    heights, known = raster.at(x, y)
    for k in range(50):
        height, alone = raster.at(np.array(x[k]), np.array(y[k]))
        assert (height, alone) == (heights[k], known[k])
    assert 0 < np.sum(known) < 50


def test_beyond_the_grid_the_edge_holds_and_is_told():
    raster = hills()
    ground = Ground(raster, sigma_m=2.0)
    # Half a step belongs to the outermost cells; farther out nothing is known.
    assert ground.height_m(-134.0, 40.0) == pytest.approx(raster.heights_m[0, 0])
    assert ground.height_m(-136.0, 40.0) is None
    up, sigma = ground.source(-5000.0, -5000.0)
    assert up == pytest.approx(raster.heights_m[0, 0] + SHOULDER_M)
    assert sigma == pytest.approx(math.hypot(2.0, POSTURE_SIGMA_M, float(np.std(raster.heights_m))))
    assert ground.source(0.0, 100.0)[1] == pytest.approx(math.hypot(2.0, POSTURE_SIGMA_M))


def test_beside_a_hole_nothing_is_known():
    heights = np.full((5, 5), 10.0)
    heights[2, 2], heights[2, 1] = np.nan, 30.0
    raster = Raster(heights, 0.0, 0.0, 1.0, 1.0)
    ground = Ground(raster)
    assert ground.height_m(2.0, 2.0) is None
    assert ground.height_m(1.5, 2.0) is None  # half of it would be the hole's
    assert ground.height_m(1.0, 2.0) == pytest.approx(30.0)  # a point of its own, next to the hole
    assert ground.height_m(3.5, 3.5) == pytest.approx(10.0)
    assert math.isfinite(ground.source(2.0, 2.0)[0])
    assert np.array_equal(raster.known, np.isfinite(heights))


def test_one_row_and_one_point_are_grids_too():
    assert Ground(Raster(np.array([[4.0, 8.0]]), 0.0, 0.0, 10.0, 10.0)).height_m(5.0, 3.0) == pytest.approx(6.0)
    assert Ground(Raster(np.array([[4.0]]), 0.0, 0.0, 10.0, 10.0)).height_m(3.0, -3.0) == pytest.approx(4.0)


def test_one_height_for_everywhere():
    ground = Ground(-9.5, sigma_m=0.0)
    assert ground.height_m(1e5, -1e5) == -9.5
    assert ground.source(3.0, 4.0) == (-8.0, POSTURE_SIGMA_M)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Raster(np.array([1.0, 2.0]), 0.0, 0.0, 1.0, 1.0),
        lambda: Raster(np.full((2, 2), np.nan), 0.0, 0.0, 1.0, 1.0),
        lambda: Raster(np.ones((2, 2)), 0.0, 0.0, 0.0, 1.0),
        lambda: Raster(np.ones((2, 2)), np.nan, 0.0, 1.0, 1.0),
        lambda: Ground(np.nan),
        lambda: Ground(1.0, sigma_m=-1.0),
        lambda: Ground(1.0, frame=Frame(HARTFORD)),
        lambda: Ground(hills(), frame=Frame()),
    ],
)
def test_what_is_no_ground(make):
    with pytest.raises(ValueError):
        make()


# degrees


@given(st.floats(-4000.0, 4000.0), st.floats(-4000.0, 4000.0), st.floats(-80.0, 300.0))
def test_degrees_come_down_to_the_plane(east, north, height):
    """Level ground on the ellipsoid falls away from the plane by d^2 / 2R, and a slope keeps its height there."""
    frame = Frame(HARTFORD)
    raster = Raster(np.full((5, 5), height), -72.9, 41.5, 0.1, 0.1)
    ground = Ground(raster, 1.0, frame)
    fall = (east**2 + north**2) / (2.0 * 6.37e6)
    assert ground.height_m(east, north) == pytest.approx(height - 20.0 - fall, abs=0.01 + 0.01 * fall)
    up, _ = ground.source(east, north)
    place = frame.geodetic(east, north, up)
    assert place.height_m == pytest.approx(height + SHOULDER_M, abs=0.01)


@given(st.floats(-72.70, -72.66), st.floats(41.76, 41.79))
def test_a_slope_in_degrees(longitude, latitude):
    frame = Frame(HARTFORD)
    x, y = -72.72 + 0.005 * np.arange(20), 41.74 + 0.005 * np.arange(20)
    raster = Raster(30.0 + 800.0 * (x + 72.7) - 500.0 * (y[:, None] - 41.77), -72.72, 41.74, 0.005, 0.005)
    height = 30.0 + 800.0 * (longitude + 72.7) - 500.0 * (latitude - 41.77)
    east, north, up = frame.local([Geodetic(latitude, longitude, height)])[0]
    assert Ground(raster, 1.0, frame).height_m(east, north) == pytest.approx(up, abs=0.005)


def test_astride_the_date_line():
    frame = Frame(Geodetic(-17.0, 179.999, 0.0))
    raster = Raster(np.arange(5.0)[None, :] * np.ones((3, 1)), 179.98, -17.01, 0.01, 0.01)
    east, north, up = frame.local([Geodetic(-17.0, -179.99, 3.0)])[0]
    assert Ground(raster, 1.0, frame).height_m(east, north) == pytest.approx(up, abs=0.001)


# files


def test_a_grid_is_read(tmp_path):
    ground = read_scene(scene(tmp_path / "yard", grid=GRID + HEIGHTS)).ground
    assert ground.height_m(0.0, 50.0) == 21.0  # the middle of the south-western cell
    assert ground.height_m(200.0, 150.0) == 13.0
    assert ground.height_m(50.0, 100.0) == pytest.approx(16.5)
    assert ground.sigma_m == 3.0


def test_other_ways_to_say_it(tmp_path):
    grid = "NCOLS 3\nNROWS 2\nXLLCENTER 0\nYLLCENTER 50\nDX 100\nDY 100\n\n11 -9999 13\n21 22 23\n"
    toml = SCENE + "[ground]\nsigma_m = 0.5\n"
    ground = read_scene(scene(tmp_path / "yard", grid=grid, toml=toml)).ground
    assert ground.height_m(0.0, 50.0) == 21.0
    assert ground.height_m(100.0, 150.0) is None
    assert ground.sigma_m == 0.5


def test_heights_in_degrees_are_above_the_ellipsoid(tmp_path):
    grid = "ncols 2\nnrows 2\nxllcorner -72.70\nyllcorner 41.75\ncellsize 0.02\n30 30\n30 30\n"
    read = read_scene(scene(tmp_path / "yard", grid=grid, toml=EARTHLY, sensors=ON_EARTH))
    up = read.ground.height_m(0.0, 0.0)
    assert up == pytest.approx(30.0 - read.frame.origin.height_m, abs=0.01)
    assert "ground.asc" in read.hashes


def test_one_height_in_the_scene(tmp_path):
    assert read_scene(scene(tmp_path / "a", toml=SCENE + "[ground]\nup_m = 2.5\n")).ground == Ground(2.5)
    toml = EARTHLY + "[ground]\nheight_m = 10.0\nsigma_m = 1.0\n"
    read = read_scene(scene(tmp_path / "b", toml=toml, sensors=ON_EARTH))
    assert read.ground.level == pytest.approx(10.0 - read.frame.origin.height_m)
    assert read_scene(scene(tmp_path / "c")).ground is None


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (GRID + "11 12 13\n21 22\n", "ground.asc row 8: 2 heights; expected the 3 that ncols says"),
        (GRID + "11 12 13 14\n21 22 23\n", "ground.asc row 7: 4 heights; expected the 3"),
        (GRID + "11 high 13\n21 22 23\n", "ground.asc row 7: height 2 is 'high': expected a number"),
        (GRID + "11 nan 13\n21 22 23\n", "ground.asc row 7: height 2 is 'nan'"),
        (GRID + HEIGHTS + "31 32 33\n", "ground.asc row 9: one row more than the 2 that nrows says"),
        (GRID + "11 12 13\n", "ground.asc: 1 rows of heights; expected the 2"),
        (GRID, "ground.asc: no heights below the keys"),
        (GRID.replace("ncols 3\n", "") + HEIGHTS, "ground.asc: no ncols"),
        (GRID.replace("xllcorner -50\n", "") + HEIGHTS, "ground.asc: no xllcorner or xllcenter"),
        (GRID.replace("cellsize", "dx") + HEIGHTS, "ground.asc: no dy"),
        (GRID.replace("nrows", "rows") + HEIGHTS, "ground.asc row 2: unknown key 'rows'"),
        (GRID.replace("ncols 3", "ncols three") + HEIGHTS, "ground.asc row 1: ncols is 'three'"),
        (GRID.replace("ncols 3", "ncols 2.5") + HEIGHTS, "ground.asc: ncols is 2.5"),
        (GRID.replace("ncols 3", "ncols 1e9") + HEIGHTS, "more than 25000000 points are not read"),
        (GRID.replace("cellsize 100", "cellsize 0") + HEIGHTS, "ground.asc: cellsize is 0"),
        (GRID.replace("cellsize 100", "cellsize") + HEIGHTS, "ground.asc row 5: cellsize needs one number"),
        (GRID + "ncols 3\n" + HEIGHTS, "ground.asc row 7: ncols stands twice"),
        (GRID + "xllcenter 3\n" + HEIGHTS, "xllcorner and xllcenter are both given"),
        (GRID + "-9999 -9999 -9999\n-9999 -9999 -9999\n", "ground.asc: no height is known"),
        (GRID + "11 12 99999\n21 22 23\n", "a height of 99999 m"),
        (GRID.replace("cellsize 100", "cellsize 1e300") + HEIGHTS, "ground.asc: cellsize is 1e+300; expected 0.01 to"),
        (GRID.replace("cellsize 100", "cellsize 1e-300") + HEIGHTS, "ground.asc: cellsize is 1e-300; expected 0.01 to"),
        (GRID.replace("cellsize 100", "dx 1e9\ndy 1") + HEIGHTS, "ground.asc: dx is 1e+09; expected"),
        (GRID.replace("xllcorner -50", "xllcorner 1e30") + HEIGHTS, "ground.asc: xllcorner is 1e+30; expected"),
        ("", "ground.asc: no ncols"),
    ],
)
def test_a_grid_with_a_mistake(tmp_path, grid, says):
    assert says in complaint(tmp_path / "yard", grid=grid)


@pytest.mark.parametrize(
    ("section", "grid", "says"),
    [
        ("up_m = 1.0\nheight_m = 2.0\n", None, "ground: up_m and height_m are both given"),
        ("height_m = 2.0\n", None, "ground.height_m: this frame has no origin"),
        ("sigma_m = 2.0\n", None, "ground: no height"),
        ("up_m = 1.0\nsigma_m = -2.0\n", None, "ground.sigma_m"),
        ("up_m = 1e9\n", None, "ground: height"),
        ("up_m = 'low'\n", None, "ground.up_m: 'low' is not a number"),
        ("up_m = 1.0\n", GRID + HEIGHTS, "ground.up_m: ground.asc gives the heights too"),
    ],
)
def test_a_section_with_a_mistake(tmp_path, section, grid, says):
    assert says in complaint(tmp_path / "yard", grid=grid, toml=SCENE + "[ground]\n" + section)


def test_a_grid_in_metres_where_degrees_are_meant(tmp_path):
    assert "in degrees" in complaint(tmp_path / "yard", grid=GRID + HEIGHTS, toml=EARTHLY, sensors=ON_EARTH)


def test_not_text_and_not_a_file(tmp_path):
    folder = scene(tmp_path / "yard")
    (folder / "ground.asc").write_bytes(b"\xff\xfe\x00ncols")
    assert "not text" in complaint(folder)
    (folder / "ground.asc").unlink()
    (folder / "ground.asc").mkdir()
    assert "a folder" in complaint(folder)


def test_a_pipe_is_no_ground(tmp_path):
    """Whoever opens one waits for a writer that may never come."""
    folder = scene(tmp_path / "yard")
    os.mkfifo(folder / "ground.asc")
    assert "ground.asc: not a regular file" in complaint(folder)
    (folder / "ground.asc").unlink()
    (folder / "sensors.csv").unlink()
    os.mkfifo(folder / "sensors.csv")
    with pytest.raises(SceneError, match=r"sensors.csv: not a regular file"):
        read_scene(folder)


def test_a_ground_beside_all_sensors_is_told(tmp_path):
    def warnings(**how):
        return read_scene(scene(tmp_path / "yard", **how)).warnings

    assert warnings(grid=GRID + HEIGHTS) == ()  # one sensor on it is enough
    (said,) = warnings(grid=GRID.replace("-50", "5000") + HEIGHTS)
    assert "ground.asc: lies beside every sensor" in said
    assert "metres" in said
    far = "ncols 2\nnrows 2\nxllcorner -82.70\nyllcorner 41.75\ncellsize 0.02\n30 30\n30 30\n"
    (said,) = warnings(grid=far, toml=EARTHLY, sensors=ON_EARTH)
    assert "degrees" in said


@given(st.integers(0, len(GRID + HEIGHTS) - 1), st.sampled_from(["", "x", "-", "\n", " ", "9e99", "nan", "#", "٣"]))
def test_any_scrap_makes_a_grid_or_one_line(tmp_path_factory, at, scrap):
    text = GRID + HEIGHTS
    assume(scrap != text[at])
    folder = scene(tmp_path_factory.getbasetemp() / "scraps")
    (folder / "ground.asc").write_text(text[:at] + scrap + text[at + 1 :])
    said = "ground.asc"
    try:
        read_scene(folder)
    except SceneError as error:
        said = str(error)
    assert said.startswith("ground.asc")
