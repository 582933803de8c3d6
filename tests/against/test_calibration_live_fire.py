"""Calibration beside real shots: what a live-fire test buys, judged on tests it was not made from.

Every firing position has a plane and sensors of its own, so each is calibrated by itself, from its odd tests, and judged
on its even ones. All shots of a position come from one spot: what is learnt is the spot's paths, and nothing about a
sensor that would help elsewhere; the calibration has to say so.
"""

import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

from acoustic.instant import seconds_between
from localization.sensor_state import REASONS, SensorStates, remarks_of
from localization.study.calibration import calibrate
from localization.study.calibration_shots import common_network, surveyed_shots
from localization.study.scene_reading import read_scene
from localization.study.table import SceneError
from sensors.site import Network
from tests import winds

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live-fire")]


@pytest.fixture(scope="module")
def positions(shared, root, tmp_path_factory):
    """The tagged scenes by position, in order."""
    out = tmp_path_factory.mktemp("tagged")
    script = root / "fixtures" / "builders" / "live_fire.py"
    source = shared / "pittsburgh_livefire"
    subprocess.run([sys.executable, script, source, out, "--kind", "tagged"], check=True, capture_output=True)
    scenes = {}
    for folder in sorted(out.iterdir()):
        scenes.setdefault(folder.name[:3], []).append(read_scene(folder))
    return scenes


def placed(shot, at, delays, speed):
    """Plain least squares in two dimensions; delays (s) by sensor are taken off the arrivals."""
    zero = shot.arrivals[0][1]
    sensors = np.array([at[name] for name, _, _ in shot.arrivals])
    times = np.array([seconds_between(zero, onset) - delays.get(name, 0.0) for name, onset, _ in shot.arrivals])

    def misfit(p):
        return (np.hypot(*(sensors - p[:2]).T) + p[2]) / speed - times

    solution = least_squares(misfit, [*sensors.mean(axis=0), -300.0], loss="soft_l1", f_scale=0.01, x_scale=100.0)
    return solution.x[:2], misfit(solution.x)


def learnt_paths(network, frame, shots):
    """What the calibration says each path of the position adds, s."""
    result = calibrate(network, frame, shots)
    assert "no sensor is corrected" in result.warnings[0]
    # Nothing is moved and no clock is set; one that is told to be surer than it is may be believed less.
    assert [site.position for site in result.sites] == [site.position for site in network.sites]
    assert not result.clock_offsets_s
    doubted = {c.sensor_id for c in result.corrections if "disagrees" in c.flags}
    for new, told_site in zip(result.sites, network.sites, strict=True):
        assert new == told_site or (new.sensor_id in doubted and new.clock_sigma_s > told_site.clock_sigma_s)
    assert all("few-places" in c.flags or c.shots < 3 for c in result.corrections)
    return {e.sensor_id: e.excess_s for e in result.excesses}


def test_what_one_position_buys(positions):
    """With the survey's 2.1 m an axis the calibration believes shots and survey both; then with the survey as exact."""
    gained = []
    for name, scenes in positions.items():
        network, frame = common_network(scenes)
        made, judged = surveyed_shots(scenes[::2], Counter()), surveyed_shots(scenes[1::2], Counter())
        sure = Network(tuple(replace(s, position_sigma_m=0.05, clock_sigma_s=1e-5) for s in network.sites))
        paths = learnt_paths(network, frame, made)
        exact = learnt_paths(sure, frame, [replace(shot, sigma_m=0.05) for shot in made])
        at = {s.sensor_id: (s.position.east_m, s.position.north_m) for s in network.sites}
        muzzle = np.array([made[0].place.east_m, made[0].place.north_m])
        rows = []
        for shot in judged:
            row = []
            for delays in ({}, paths, exact):
                place, off = placed(shot, at, delays, shot.air.sound_speed_m_per_s)
                row += [np.sqrt(np.mean(off**2)), math.dist(place, muzzle)]
            rows.append(row)
        gained.append(np.median(rows, axis=0))
        late = sum(excess > 0.005 for excess in paths.values())
        print(
            f"{name}: {told(gained[-1])}; {late} of {len(paths)} paths 5 ms late ({len(made)} and {len(judged)} shots)"
        )
    middle = np.median(gained, axis=0)
    print(f"median of positions: {told(middle)}")
    assert middle[2] < 0.75 * middle[0]  # the paths of a spot repeat
    assert middle[3] < 1.1 * middle[1]  # but the survey's own error stays in the place
    assert middle[5] < 0.6 * middle[1]  # unless the survey is taken for the truth


def told(row):
    ms, m = 1e3 * row[::2], row[1::2]
    return (
        f"residual {ms[0]:.2f} ms, {ms[1]:.2f} with the paths learnt, {ms[2]:.2f} with an exact survey; "
        f"error to the survey {m[0]:.2f}, {m[1]:.2f}, {m[2]:.2f} m"
    )


def test_positions_are_not_calibrated_together(positions):
    """Some serials stand at several positions, in planes that have nothing to do with each other: refused."""
    first, second = list(positions.values())[:2]
    with pytest.raises(SceneError, match=r"floating frame|stands elsewhere"):
        common_network([first[0], second[0]])


def test_real_walls_flag_no_sensor(positions):
    """All shots of a position come from one spot, over paths up to 30 ms late: walls, and not a clock among them."""
    remarks = 0
    for scenes in positions.values():
        network, _ = common_network(scenes)
        at = {s.sensor_id: (s.position.east_m, s.position.north_m, s.position.up_m) for s in network.sites}
        states = SensorStates()
        for shot in surveyed_shots(scenes, Counter()):
            zero = min(onset for _, onset, _ in shot.arrivals)
            times = np.array([seconds_between(zero, onset) for _, onset, _ in shot.arrivals])
            places = np.array([at[name] for name, _, _ in shot.arrivals])
            middle, sigmas = places.mean(axis=0), np.full(len(times), 0.006)
            prior, prior_sigma = winds.prior_of(shot.air, 10.0)
            prior[2] = shot.place.up_m - middle[2]
            start = np.array([shot.place.east_m, shot.place.north_m]) - middle[:2]
            p, _ = winds.most_probable(places - middle, times, prior, prior_sigma, start, 0.006)
            predicted, slopes = winds.travel(p[:3], places - middle, p[3], p[4:6])
            gradients = np.column_stack([slopes, np.ones(len(times))])
            told_of = remarks_of(
                shot.name, zero, (float(p[0] + middle[0]), float(p[1] + middle[1])),
                [name for name, _, _ in shot.arrivals], times - p[6] - predicted, sigmas, np.ones(len(times)),
                gradients, -gradients[:, :2], prior_sigma,
            )  # fmt: skip
            remarks += len(told_of)
            states.observe(told_of)
        assert states.flagged() == ()
        assert not any(states.counts[reason] for reason in REASONS)
    print(f"no flag in {remarks} remarks")
    assert remarks > 1500
