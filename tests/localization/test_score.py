"""The scorer beside cases that can be counted on fingers."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from acoustic.air import Air
from acoustic.instant import after
from localization.ellipse import Covariance, confidence_ellipse
from localization.frame import Frame
from localization.study.scene import Scene, Truth
from localization.study.score import Place, Score, Shot, interval, score
from sensors.site import Local
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


@pytest.mark.parametrize(("part", "whole"), [(9, 10), (45, 50), (0, 7), (30, 30)])
def test_interval_is_wilsons(part, whole):
    """As scipy computes it, where every observation is a cluster of its own."""
    expected = stats.binomtest(part, whole).proportion_ci(method="wilson")
    assert interval(part, whole, whole) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_clusters_widen_the_interval():
    low, high = interval(160, 165, 5)
    assert low < 0.6
    assert high > 0.97
