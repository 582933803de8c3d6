"""The map of a run: the same for the same run, and no far region makes it small."""

from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from shotfix import picture


@pytest.fixture
def axes():
    return Figure().add_subplot()


@pytest.mark.parametrize("heard", [("noise", "gunshot", "impulse"), ("impulse", "noise", "gunshot")])
def test_its_legend_is_in_one_order(axes, heard):
    """A set's own order hangs on the seed of its hashes: two runs would draw different bytes."""
    fixes = [SimpleNamespace(sound=sound) for sound in heard]
    picture._dress(SimpleNamespace(fixes=fixes, shots=fixes, scene=SimpleNamespace(name="$1 night")), axes, 0)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["taken for gunshot", "taken for impulse", "taken for noise"]


def test_it_shows_every_place_and_not_every_region(axes):
    axes.plot([0.0, 400.0], [0.0, 300.0], "^")
    axes.plot([-900.0], [50.0], "s")
    axes.add_patch(Ellipse((-900.0, 50.0), 5_000.0, 80.0))
    picture._frame(axes)
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    assert west < -900.0
    assert east > 400.0
    assert south < 0.0
    assert north > 300.0
    assert east - west == pytest.approx(north - south)
    assert east - west < 1_700.0


def test_a_single_point_has_room_around_it(axes):
    axes.plot([7.0], [7.0], "^")
    picture._frame(axes)
    assert axes.get_xlim()[1] - axes.get_xlim()[0] > picture.SMALLEST_M
