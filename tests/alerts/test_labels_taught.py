"""Labels teach: the trainer itself, run on a folder as reviewers' words and a centre's clips make it."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from acoustic.classifier import load
from acoustic.detection import CLASSES
from acoustic.whole import judge_whole
from alerts.alert import Audio, alert_instant
from alerts.record.store import Store
from alerts.review.label_plan import ExportPlan
from alerts.review.labels_folder import export
from alerts.review.reviews import ReviewRules, Reviews
from sensors.flac import steps_of
from sensors.snippet import Snippet
from shotfix.clips import ClipStore
from tests.review_nights import minutes, tell
from tests.sounds import street

RATE_HZ = 8_000
SECONDS = 2.0
KINDS = {
    "gunfire": ("gunshot",),
    "fireworks": ("firework",),
    "vehicle": ("backfire",),
    "construction": ("hammer",),
    "handling": ("handling", "click", "glitch"),
    "noise": ("bark", "tone", "machine"),
}
"""What reviewers say, and what was to be heard, as `fixtures/builders/synthesis.py` makes it."""


@dataclass(frozen=True)
class Builders:
    """The trainer's modules: scripts, not of a package."""

    figures: Any
    synthesis: Any
    onset: int


@pytest.fixture(scope="module")
def builders(root):
    sys.path.insert(0, str(root / "fixtures" / "builders"))
    try:
        import augmentation  # noqa: PLC0415
        import figures  # noqa: PLC0415
        import synthesis  # noqa: PLC0415
    finally:
        sys.path.remove(str(root / "fixtures" / "builders"))
    assert augmentation.RATE_HZ == RATE_HZ
    return Builders(figures, synthesis, augmentation.ONSET)


def heard(builders, said, draw):
    """A sound of this kind in the middle of two seconds of a street, (n,) float32."""
    made = 0.4 * builders.synthesis.synthetic(draw.choice(KINDS[said]), draw)
    samples = street(RATE_HZ, SECONDS, seed=int(draw.integers(1 << 30))).astype(np.float64)
    at = RATE_HZ - builders.onset
    samples[at:][: made.size] += made[: samples.size - at]
    return np.clip(samples, -0.999, 0.999).astype(np.float32)


def exported(builders, folder, each, *, sensors=1, says=dict):
    """A folder of labels of so many incidents of each kind, each heard by some sensors; ``says`` alters the words."""
    words = {said: said for said in KINDS} | says()
    draw, clips = np.random.default_rng(5), ClipStore(folder / "clips")
    with Store(folder / "record.db") as store:
        reviews = Reviews(store, ReviewRules(second_share=0.0, second_when_overruled=False))
        for number, said in enumerate(said for said in KINDS for _ in range(each)):
            audio = []
            for sensor in range(sensors):
                sound = steps_of(heard(builders, said, draw))
                one = Snippet.of(f"roof-{sensor}", (f"p{number}",), minutes(number), RATE_HZ, sound)
                assert clips.put(one)
                audio.append(Audio(None, one.clip.sha256, alert_instant(one.clip.start_ns), one.clip.duration_s))
            name = tell(store, f"n{number}", 60.0 * number, audio=tuple(audio))
            reviews.judge(name, "ann", minutes(9_000 + number), words[said], expected_version=1, listened=True)
        counts = export(store, folder / "labels", ExportPlan("sue", minutes(20_000), clips.folder, licence="ours"))
    assert counts.taught == counts.copied == len(KINDS) * each * sensors
    return folder / "labels"


def taught(root, labels, *more):
    """What the trainer's own script makes of a folder; a warning is an error."""
    script, out = root / "fixtures" / "builders" / "classifier.py", labels.parent / "model"
    named = (script, labels, "--licence", "^ours$", "--out", out, "--card", out / "card.md", *more)
    done = subprocess.run([sys.executable, "-W", "error", *named], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return load(out / "model.npz"), (out / "card.md").read_text("utf-8")


def area(positive, negative):
    """Probability that one of the first scores above one of the second."""
    return float(np.mean(np.array(positive)[:, np.newaxis] > np.array(negative)))


def llrs(builders, model, said, count=12):
    """What a model says of sounds of a kind that nobody judged."""
    draw = np.random.default_rng(77)
    wholes = (judge_whole(heard(builders, said, draw), RATE_HZ, model) for _ in range(count))
    return [whole.strongest.judgement.llr for whole in wholes]


def test_the_trainer_learns_from_an_export_alone(root, tmp_path, builders):
    labels = exported(builders, tmp_path, 2, sensors=2)
    model, card = taught(root, labels, "--copies", "0", "--synthetic", "0")
    assert "- reviews: ours, 24" in card
    assert "nothing calibrated" in card
    learnt = dict(re.findall(r"(\w+) (\d+)", card.split("by class:")[1].split("Two thirds")[0]))
    assert set(learnt) == set(CLASSES)
    assert learnt["gunshot"] == "4"  # one of each clip; of other sounds up to four
    # The words alone taught it: nothing else was there to learn from.
    assert area(llrs(builders, model, "gunfire"), llrs(builders, model, "noise")) > 0.8


@pytest.mark.parametrize(
    ("each", "more"), [(0, ("--synthetic", "9")), (2, ("--licence", "^theirs$", "--synthetic", "0"))]
)
def test_where_nothing_can_be_learnt_it_says_so(root, tmp_path, builders, each, more):
    labels = exported(builders, tmp_path, each)
    script = root / "fixtures" / "builders" / "classifier.py"
    named = (script, labels, "--copies", "0", "--out", tmp_path, "--card", tmp_path / "card.md", *more)
    done = subprocess.run([sys.executable, *named], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert ("has no sounds" if each == 0 else "--licence allows") in done.stderr
    assert not (tmp_path / "model.npz").exists()


def test_clips_of_one_incident_are_on_one_side_of_a_division(tmp_path, builders):
    labels = exported(builders, tmp_path, 1, sensors=3)
    with (labels / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    firsts = builders.figures._firsts([row["tags"] for row in rows])
    incidents = [row["fold"] for row in rows]
    assert [incidents[first] for first in firsts] == incidents
    assert len(set(firsts)) == len(set(incidents)) == len(KINDS)
    # Of all other folders nobody said what belongs together.
    assert builders.figures._firsts(["", "dist_m=40", ""]) == [0, 1, 2]


@pytest.mark.endurance
def test_what_reviewers_say_is_what_it_learns(root, tmp_path, builders):
    """With right words it tells all classes of the trainer; with gunfire and noise exchanged it tells the opposite."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for folder in (right, wrong):
        folder.mkdir()
    model, card = taught(root, exported(builders, right, 25), "--copies", "0.2", "--synthetic", "200")
    assert set(CLASSES) <= set(card.split("## Sources left out")[0].replace(",", " ").split())
    shots = llrs(builders, model, "gunfire", 40)
    areas = {other: area(shots, llrs(builders, model, other, 40)) for other in KINDS if other != "gunfire"}
    print(f"area of gunfire over {areas}")
    assert areas.pop("fireworks") > 0.55  # by one bang hardly anybody can tell them
    assert min(areas.values()) > 0.85, areas
    draw = np.random.default_rng(78)
    for said in ("handling", "noise"):
        wholes = [judge_whole(heard(builders, said, draw), RATE_HZ, model) for _ in range(40)]
        told = [CLASSES[int(np.argmax(whole.strongest.judgement.probabilities))] for whole in wholes]
        assert told.count(said) > 20, (said, told)
    swapped = exported(builders, wrong, 25, says=lambda: {"gunfire": "noise", "noise": "gunfire"})
    model, _ = taught(root, swapped, "--copies", "0", "--synthetic", "0")
    assert area(llrs(builders, model, "gunfire", 40), llrs(builders, model, "noise", 40)) < 0.2
