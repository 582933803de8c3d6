"""The scorer beside cases that can be counted on fingers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from acoustic.air import Air
from acoustic.instant import after
from localization.ellipse import Covariance, confidence_ellipse
from localization.frame import Frame
from localization.study.clusters import Ground, Spot, clustered
from localization.study.exposure import array_seconds
from localization.study.repeatability import name_of
from localization.study.scene import Listening, Scene, Truth
from localization.study.score import Place, Score, Shot, score
from sensors.site import Geodetic, Local
from tests import streets


def scene(*bangs):
    truth = tuple(
        Truth(f"t{k}", sound, None if time_s is None else after(streets.START_NS, time_s), Local(x, y, 0.0), 2.0)
        for k, (sound, time_s, x, y) in enumerate(bangs)
    )
    return Scene("test", streets.START_NS, Air(), Frame(), streets.square(), 0.0, 1.0, truth=truth)


def shot(name, time_s, *places, sound="gunshot", sigma_m=3.0):
    cov = Covariance(sigma_m**2, 0.0, sigma_m**2)
    modes = tuple(Place(x, y, confidence_ellipse(cov, 5.991), (cov.ee_m2, 0.0, cov.nn_m2)) for x, y in places)
    return Shot(name, after(streets.START_NS, time_s), sound, modes, "i", "published")


def test_found_missed_and_false():
    truth = scene(("gunshot", 1.0, 0.0, 0.0), ("gunshot", 2.0, 0.0, 0.0), ("firework", 3.0, 100.0, 0.0))
    result = score(
        truth, [shot("a", 1.01, (3.0, 4.0)), shot("b", 3.0, (100.0, 1.0)), shot("c", 9.0, (0.0, 0.0)), shot("d", 4.0)]
    )
    assert [match.shot and match.shot.shot_id for match in result.matches] == ["a", None, "b"]
    assert [fix.shot_id for fix in result.false] == ["c"]  # right place, seven seconds late
    figures = result.figures()
    assert (figures["gunshots"], figures["found"], figures["false_fixes"], figures["exact_scenes"]) == (2, 1, 1, 0)
    assert figures["error_median_m"] == pytest.approx(5.0)
    assert figures["time_error_median_s"] == pytest.approx(0.01)
    assert figures["outcomes"] == {
        "(false fix)": {"published": 1},
        "firework": {"published": 1},
        "gunshot": {"not found": 1, "published": 1},
    }


def test_each_shot_is_taken_once():
    """Two rounds from one place, one fix: one is missed."""
    result = score(scene(("gunshot", None, 0.0, 0.0), ("gunshot", None, 0.0, 0.0)), [shot("a", 1.0, (1.0, 0.0))])
    assert result.figures()["found"] == 1


def test_assignment_is_the_best_together():
    truth = scene(("gunshot", None, 0.0, 0.0), ("gunshot", None, 40.0, 0.0))
    result = score(truth, [shot("a", 1.0, (30.0, 0.0)), shot("b", 2.0, (48.0, 0.0))])
    assert [match.shot.shot_id for match in result.matches] == ["a", "b"]
    assert result.figures()["exact_scenes"] == 1


def test_any_mode_may_be_the_place():
    """A truth in the second mode counts as found and held, at the error of the first one."""
    result = score(scene(("gunshot", 1.0, 0.0, 0.0)), [shot("a", 1.0, (300.0, 0.0), (1.0, 0.0))])
    assert result.matches[0].held
    assert result.matches[0].error_m == pytest.approx(300.0)


def test_the_survey_has_an_error_too():
    """Region of 3 m sigma, survey of 2 m: together sqrt(13) m, hence 2.4477 times that in all."""
    reach = 2.4477 * math.sqrt(13.0)
    inside = score(scene(("gunshot", 1.0, 0.0, 0.0)), [shot("a", 1.0, (reach - 0.01, 0.0))])
    outside = score(scene(("gunshot", 1.0, 0.0, 0.0)), [shot("a", 1.0, (reach + 0.01, 0.0))])
    assert (inside.matches[0].held, outside.matches[0].held) == (True, False)


def test_several_scenes_together():
    one = score(scene(("gunshot", 1.0, 0.0, 0.0)), [shot("a", 1.0, (1.0, 0.0))])
    figures = Score.together([one, one]).figures()
    assert (figures["scenes"], figures["exact_scenes"], figures["gunshots"], figures["clusters"]) == (2, 2, 2, 1)


def test_nothing_to_score():
    figures = score(scene(), []).figures()
    assert figures["found_share"] is None
    assert figures["error_median_m"] is None


def test_unrelated_planes_are_different_places():
    """Equal metres in two planes that float say nothing; sensors in common make them one."""

    def at(places):
        sensors = streets.network(places)
        truth = (Truth("t", "gunshot", None, Local(0.0, 0.0, 0.0), 2.0),)
        return Scene("x", streets.START_NS, Air(), Frame(), sensors, 0.0, 1.0, truth=truth)

    places = [(float(x), float(y), 5.0) for x, y in ((0, 0), (300, 0), (0, 300), (300, 310), (150, 400))]
    here, some, elsewhere = at(places), at(places[:3]), at([(x + 7.0, y, z) for x, y, z in places])
    heard = [shot("a", 1.0, (1.0, 0.0))]

    def clusters(*scenes):
        return Score.together(score(each, heard) for each in scenes).figures()["clusters"]

    assert clusters(here, here) == 1
    assert clusters(here, some) == 1
    assert clusters(here, elsewhere) == 2
    assert clusters(elsewhere, some, here, elsewhere) == 2


def test_planes_joined_by_a_third():
    """Two tests that recorded no sensor in common are of one network where a third recorded both halves."""
    grounds = [Ground(frozenset(names)) for names in ("abc", "def", "bcde")]
    spots = [Spot(ground, 0.0, 0.0) for ground in grounds]
    assert clustered(spots[:2]) == [0, 1]
    assert clustered(spots) == [0, 0, 0]
    assert clustered([Spot(grounds[0], 0.0, 0.0), Spot(grounds[2], 0.1, 0.0)]) == [0, 1]


def test_places_on_earth_need_no_common_sensor():
    muzzle = Truth("t", "gunshot", None, Geodetic(40.4406, -79.9959, 220.0), 2.0)
    scenes = [
        Scene("x", streets.START_NS, Air(), Frame(Geodetic(40.44, -79.99 + k, 200.0)), streets.square(400.0 + k),
              0.0, 1.0, truth=(muzzle,))
        for k in range(2)
    ]  # fmt: skip
    assert Score.together(score(each, []) for each in scenes).figures()["clusters"] == 1


def test_what_false_fixes_come_from():
    truth = scene(
        ("gunshot", 10.0, 0.0, 0.0),
        ("firework", 50.0, 100.0, 0.0),
        ("impulse", 90.0, 0.0, 50.0),
        ("noise", 300.0, 0.0, 7000.0),
        ("noise", 500.0, 0.0, 7000.0),
    )
    result = score(
        truth,
        [
            shot("found", 10.0, (1.0, 0.0)),
            shot("echo", 10.4, (3.0, 0.0)),
            shot("far", 50.3, (300.0, 0.0)),
            shot("hammer", 90.0, (0.0, 50.0)),
            shot("chance", 92.0, (-300.0, 0.0)),
            shot("out of the blue", 200.0, (0.0, 0.0)),
            shot("thunder", 324.0, (0.0, 0.0)),
        ],
    )
    assert dict(zip([fix.shot_id for fix in result.false], result.causes, strict=True)) == {
        "echo": "gunshot, counted twice",
        "far": "firework, misplaced",
        "chance": "during impulse",
        "out of the blue": "nothing there",
        "thunder": "during noise",  # from seven kilometres away
    }
    assert [(match.truth_id, match.error_m) for match in result.astray] == [("t1", 200.0)]
    assert [(burst.fired, burst.counted) for burst in result.bursts] == [(1, 2)]


def test_bursts_are_counted():
    """Three rounds and, a minute later, two; one of the first three is missed, one of the last two heard twice."""
    truth = scene(*(("gunshot", time_s, 0.0, 0.0) for time_s in (1.0, 1.2, 1.4, 61.0, 61.5)))
    heard = [shot(str(k), time_s, (1.0, 0.0)) for k, time_s in enumerate((1.0, 1.4, 61.0, 61.2, 61.5))]
    rounds = score(truth, heard).figures()["rounds"]
    assert rounds == {"bursts": 2, "exact": 0, "over": 1, "under": 1, "within_one": 2, "fired": 5, "counted": 5}


def test_incidents_without_a_gunshot_in_them():
    truth = scene(("gunshot", 1.0, 0.0, 0.0), ("firework", 30.0, 0.0, 0.0))
    shots = [
        dataclasses.replace(shot("a", 1.0, (0.0, 0.0)), incident_id="i1"),
        dataclasses.replace(shot("b", 3.5, (400.0, 0.0)), incident_id="i1"),
        dataclasses.replace(shot("c", 30.0, (0.0, 0.0)), incident_id="i2"),
    ]
    figures = score(truth, shots).figures()
    assert figures["false_fixes"] == 1  # of an alert that is true for all that
    assert figures["false_alerts"] == 1


def test_false_fixes_a_day():
    """An array that listened for six hours and was wrong twice: eight a day, by Garwood's interval."""
    sites = streets.square().sites
    listening = {site.sensor_id: Listening(streets.START_NS, after(streets.START_NS, 21_600.0)) for site in sites}
    truth = (Truth("t", "impulse", streets.START_NS, Local(0.0, 0.0, 0.0)),)
    night = dataclasses.replace(scene(), listening=listening, truth=truth)
    figures = score(night, [shot("a", 100.0, (0.0, 0.0)), shot("b", 200.0, (0.0, 0.0))]).figures()
    assert figures["array_days"] == pytest.approx(0.25)
    assert figures["false_fixes_per_array_day"] == pytest.approx(8.0)
    low, high = stats.chi2.ppf(0.025, 4) / 2.0, stats.chi2.ppf(0.975, 6) / 2.0
    assert figures["false_fixes_per_array_day_interval"] == pytest.approx((4.0 * low, 4.0 * high), rel=1e-6)


def test_listening_needs_three_at_once():
    """Two all the time, a third for one hour, a fourth from the middle of that hour on for one more."""
    hours = {"A": (0, 9), "B": (0, 9), "C": (2, 3), "D": (2.5, 3.5)}
    listening = {
        name: Listening(*(after(streets.START_NS, 3600.0 * hour) for hour in span)) for name, span in hours.items()
    }
    sensors = streets.network([(100.0 * k, 50.0 * k * k, 5.0) for k in range(4)])
    night = dataclasses.replace(scene(), network=sensors, listening=listening)
    assert array_seconds(night) == pytest.approx(1.5 * 3600.0)


@pytest.mark.parametrize("freedom", [1.3, 4.0, 30.0, math.inf])
@pytest.mark.parametrize("level", [0.5, 0.68, 0.9, 0.95, 0.99])
def test_rescaled_regions_are_fishers(level, freedom):
    """From the stated 95 % ellipse alone: twice F(2, n), as scipy has it, whatever n was."""

    def quantile(p):
        return stats.chi2.ppf(p, 2) if math.isinf(freedom) else 2.0 * stats.f.ppf(p, 2, freedom)

    place = Place(0.0, 0.0, confidence_ellipse(Covariance(9.0, 1.0, 4.0), quantile(0.95)), (9.0, 1.0, 4.0))
    assert place.quantile(level) == pytest.approx(quantile(level), rel=2e-3)


def test_reliability_of_honest_regions():
    """Gaussian errors of the stated covariance: the curve is the diagonal, within its interval."""
    rng = np.random.default_rng(5)
    errors = rng.multivariate_normal([0.0, 0.0], [[9.0, 0.0], [0.0, 9.0]], 800)
    truth = dataclasses.replace(
        scene(*(("gunshot", 20.0 * k, 0.0, 0.0) for k in range(800))),
    )
    truth = dataclasses.replace(truth, truth=tuple(dataclasses.replace(t, sigma_m=0.0) for t in truth.truth))
    shots = [shot(str(k), 20.0 * k, (float(x), float(y))) for k, (x, y) in enumerate(errors)]
    for row in score(truth, shots).figures()["reliability"]:
        stated = row["stated"]
        assert row["held"] == pytest.approx(stated, abs=4.0 * math.sqrt(stated * (1.0 - stated) / 800.0))


def test_several_modes_apart():
    """The weights are right when the heaviest mode is the true one as often as it weighs."""
    truth = scene(("gunshot", 1.0, 0.0, 0.0), ("gunshot", 50.0, 0.0, 0.0), ("gunshot", 99.0, 0.0, 0.0))

    def two(name, time_s, near, weight):
        first, second = ((1.0, 0.0), (400.0, 0.0)) if near else ((400.0, 0.0), (1.0, 0.0))
        made = shot(name, time_s, first, second)
        weighed = (
            dataclasses.replace(made.places[0], weight=weight), dataclasses.replace(made.places[1], weight=1.0 - weight)
        )  # fmt: skip
        return dataclasses.replace(made, places=weighed)

    figures = score(
        truth, [two("a", 1.0, True, 0.7), two("b", 50.0, False, 0.6), shot("c", 99.0, (2.0, 0.0))]
    ).figures()
    several = figures["several_modes"]
    assert (several["shots"], several["union_held_share"], several["heaviest_holds_share"]) == (2, 1.0, 0.5)
    assert several["heaviest_weight_mean"] == pytest.approx(0.65)
    assert several["weight_holding_median"] == pytest.approx((0.7 + 0.4) / 2.0)
    assert several["nearest_mode_median_m"] == pytest.approx(1.0)
    assert figures["one_mode"]["shots"] == 1


def test_positions_as_a_paper_has_them():
    """Estimates 3 m east of the survey that scatter a metre about their own centroid."""
    truth = scene(*(("gunshot", 20.0 * k, 0.0, 0.0) for k in range(4)))
    offsets = [(4.0, 0.0), (2.0, 0.0), (3.0, 1.0), (3.0, -1.0)]
    (row,) = score(truth, [shot(str(k), 20.0 * k, offset) for k, offset in enumerate(offsets)]).figures()["positions"]
    assert row["centroid_off_m"] == pytest.approx(3.0)
    assert (row["scatter_median_m"], row["scatter_rms_m"]) == (pytest.approx(1.0), pytest.approx(1.0))
    assert row["error_rms_m"] == pytest.approx(math.sqrt(10.0))
    assert (row["shots"], row["within_15_m"]) == (4, 1.0)


@pytest.mark.parametrize(
    ("scenes", "name"),
    [
        (["Pittsburgh live fire, FP1/test_001 (tagged)", "Pittsburgh live fire, FP1/test_017 (tagged)"], "FP1"),
        (["a night"], "a night"),
        (["east", "west"], "east"),
    ],
)
def test_name_of_a_position(scenes, name):
    assert name_of(scenes) == name
