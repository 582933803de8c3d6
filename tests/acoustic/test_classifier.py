"""The built-in model: sound, consistent, and of some use on recordings it is tested against."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from acoustic.classifier import LLR_BOUND, MODEL_PATH, NoClassifier, built_in, load, overloaded
from acoustic.detection import CLASSES, FLAGS, probability
from acoustic.features import NAMES
from acoustic.whole import judge_whole
from tests.sounds import blast, noise


@given(arrays.arrays(np.float64, len(NAMES), elements=st.floats(-60.0, 60.0)))
@settings(max_examples=200)
def test_any_features_give_consistent_evidence(vector):
    judgement = built_in().judge_features(vector)
    assert abs(judgement.llr) <= LLR_BOUND
    assert sum(judgement.probabilities) == pytest.approx(1.0, abs=1e-12)
    assert judgement.probabilities[CLASSES.index("gunshot")] == pytest.approx(probability(judgement.llr), abs=1e-12)
    assert set(judgement.flags) <= set(FLAGS)


def test_what_is_far_from_all_training_is_flagged():
    model = built_in()
    assert "unfamiliar" not in model.judge_features(model.mean).flags
    assert model.judge_features(model.mean + 20.0 * model.scale).flags == ("abstained", "unfamiliar")


@given(arrays.arrays(np.float64, len(NAMES), elements=st.floats(-5.0, 5.0)))
@settings(max_examples=50)
def test_weak_evidence_is_abstained_from(z):
    model = built_in()
    judgement = model.judge_features(model.mean + z * model.scale)
    weak = abs(judgement.llr) < model.doubt or "unfamiliar" in judgement.flags
    assert ("abstained" in judgement.flags) == weak


STRANGE = {
    "a square wave": lambda t: np.sign(np.sin(50.0 * t)),
    "a tone": lambda t: np.sin(2.0 * np.pi * 1_000.0 * t),
    "a ramp": lambda t: t,
    "a wrong sample": lambda t: (np.arange(t.size) == 4_000) * 1.0,
    "a gated tone": lambda t: np.sin(2.0 * np.pi * 1_000.0 * t) * (np.sin(2.0 * np.pi * 50.0 * t) > 0.0),
    "hiss at full scale": lambda t: np.clip(50.0 * noise(t.size, 1.0, 7), -1.0, 1.0),
}


@pytest.mark.parametrize("gain", [1e-4, 1.0])
@pytest.mark.parametrize("what", STRANGE)
def test_what_is_no_sound_is_no_gunshot_or_abstained_from(what, gain):
    samples = gain * STRANGE[what](np.arange(8_000) / 8_000)
    judgement = built_in().judge(samples.astype(np.float32), 4_000.0, 8_000)
    assert judgement.llr < 0.0 or "abstained" in judgement.flags


def test_a_shot_that_clips_is_judged_all_the_same():
    """Flat for 3 ms at the microphone's end, then its tail: that much is usual on live fire."""
    time_s = np.arange(8_000) / 8_000 - 0.5
    shot = np.where(time_s >= 0.0, 4.0 * (1.0 - time_s / 0.002) * np.exp(-time_s / 0.004), 0.0)
    samples = np.clip(shot + noise(8_000, 0.01, 5), -1.0, 1.0).astype(np.float32)
    assert not overloaded(samples, 4_000.0, 8_000)


def test_no_classifier_says_nothing():
    judgement = NoClassifier().judge(np.zeros(10, dtype=np.float32), 5.0, 8_000)
    assert judgement.llr == 0.0
    assert judgement.probabilities[0] == 0.5


def test_model_is_small_and_names_itself():
    assert MODEL_PATH.stat().st_size < 100_000
    assert built_in().name not in ("", "none")
    assert built_in() is built_in()


def test_a_model_that_was_changed_is_refused(tmp_path):
    with np.load(MODEL_PATH) as stored:
        content = dict(stored)
    for name, value in (
        ("weights", content["weights"] + np.eye(1, 5) * 0.01),
        ("features", content["features"][::-1]),
        ("scale", content["scale"] * 0.0),
        ("mean", content["mean"][:3]),
        ("test_sound", content["test_sound"] * np.float16(-1.0)),
    ):
        np.savez(tmp_path / "model.npz", **{**content, name: value})
        with pytest.raises(ValueError, match=r"model\.npz|model "):
            load(tmp_path / "model.npz")
    (tmp_path / "model.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ValueError, match="install it again"):
        load(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="install it again"):
        load(tmp_path / "absent.npz")


def area(positive, negative):
    """Probability that one of the first scores above one of the second."""
    return np.mean(np.array(positive)[:, np.newaxis] > np.array(negative))


def test_sounds_never_trained_on_rank_below_shots(shared):
    """Sounds of a city and of fireworks that no training saw; the shots' own network it knows, so they are no exam."""
    with (shared / "audio" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scores = {}
    for source, is_gunshot in (("ShotSpotter-Pittsburgh", "1"), ("UrbanSound8K", "0"), ("ESC-50-fireworks", "0")):
        chosen = [row["file"] for row in rows if (row["source"], row["is_gunshot"]) == (source, is_gunshot)][::5]
        files = [soundfile.read(shared / "audio" / name, dtype="float32", always_2d=True) for name in chosen]
        wholes = [judge_whole(np.ascontiguousarray(samples[:, 0]), rate_hz) for samples, rate_hz in files]
        scores[source] = [whole.strongest.judgement.llr for whole in wholes]
    assert area(scores["ShotSpotter-Pittsburgh"], scores["UrbanSound8K"]) > 0.95
    assert area(scores["ShotSpotter-Pittsburgh"], scores["ESC-50-fireworks"]) > 0.75


def clip(folder, name, samples):
    soundfile.write(folder / name, samples, 12_000, subtype="PCM_16")


def test_training_twice_gives_the_same_bytes(root, tmp_path):
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    rows = ["file,label,is_gunshot,source,licence,onset_s,onset_method,fold,duration_s,tags"]
    random = np.random.default_rng(4)
    for k in range(24):
        hiss = noise(12_000, 0.002, k)
        gun = k % 2 == 0
        t = np.arange(12_000) / 12_000
        other = np.sin(2.0 * np.pi * random.uniform(400, 900) * t) * np.exp(-np.abs(t - 0.5) / 0.05)
        sound = blast(12_000, 1.0, 0.5, random.uniform(0.0005, 0.002)) if gun else other
        clip(sounds, f"{k}.flac", 0.4 * sound + hiss)
        label, source = ("gunshot", f"range-{k % 4}") if gun else ("background" if k % 3 else "impact", f"home-{k % 6}")
        licence = "CC BY-NC 3.0" if k > 21 else "CC0"
        rows.append(f"{k}.flac,{label},{int(gun)},{source},{licence},{0.5 if gun else ''},auto,,1.0,")
    (sounds / "manifest.csv").write_text("\n".join(rows) + "\n")
    script = root / "fixtures/builders/classifier.py"
    few = ("--copies", "0.3", "--synthetic", "40")
    for out in ("first", "second"):
        subprocess.run(
            [sys.executable, script, sounds, "--out", tmp_path / out, "--card", tmp_path / out / "card.md", *few],
            check=True,
            capture_output=True,
        )
    for name in ("model.npz", "card.md"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    card = (tmp_path / "first" / "card.md").read_text()
    assert "NC" not in card.split("## Licences")[1]
    assert load(tmp_path / "first" / "model.npz").name == built_in().name


def test_model_card_is_there_and_says_what_it_is_not_for(root):
    card = (root / "docs" / "model.md").read_text(encoding="utf-8")
    assert built_in().name in card
    assert "must not be used for" in card
    for word in ("UrbanSound8K", "ESC-50", "NC", "BY-SA"):
        assert word not in card.split("## Licences")[1]
