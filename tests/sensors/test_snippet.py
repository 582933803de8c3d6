"""Snippets: what they hold is what their clip says, and fits into a message at every rate."""

import dataclasses
import hashlib
import io

import numpy as np
import pytest
import soundfile

from acoustic.detection import Clip
from acoustic.instant import SECOND, parse_instant
from sensors.flac import LARGEST_FLAC_BYTES, digest, steps_of, values_of
from sensors.snippet import MOST_PULSES, Snippet, SnippetError
from tests.sounds import street

START_NS = parse_instant("2026-11-21T02:00:00Z")


def snippet(rate_hz=12_000, seconds=2.0, pulses=("p1",)):
    return Snippet.of("roof-1", pulses, START_NS, rate_hz, steps_of(street(rate_hz, seconds)))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000, 96_000, 192_000, 191_999])
def test_it_holds_what_its_clip_says(rate_hz):
    kept = snippet(rate_hz)
    samples = kept.samples()
    assert len(samples) == 2 * rate_hz
    assert digest(samples) == kept.clip.sha256
    assert kept.end_ns == START_NS + 2 * SECOND
    assert np.abs(samples - street(rate_hz, 2.0)).max() <= (2.0**-15 if rate_hz > 150_000 else 2.0**-24)


@pytest.mark.parametrize("rate_hz", [12_000, 191_999])
def test_anybody_can_check_a_clip_as_the_page_of_the_api_says(rate_hz):
    kept = snippet(rate_hz)
    samples, _ = soundfile.read(io.BytesIO(kept.flac), dtype="float32")
    assert hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest() == kept.clip.sha256


@pytest.mark.parametrize("rate_hz", [48_000, 192_000])
def test_the_loudest_noise_fits_into_a_message(rate_hz):
    steps = np.random.default_rng(0).integers(-(2**23), 2**23, 2 * rate_hz).astype(np.int32)
    assert len(Snippet.of("roof-1", ("p",), START_NS, rate_hz, steps).flac) <= LARGEST_FLAC_BYTES


def test_another_sound_under_its_name_is_refused():
    kept, other = snippet(), Snippet.of("roof-1", ("p",), START_NS, 12_000, steps_of(street(12_000, 2.0, seed=9)))
    with pytest.raises(SnippetError, match="sensor roof-1: its samples are not those that its clip names"):
        dataclasses.replace(kept, flac=other.flac).samples()
    with pytest.raises(SnippetError, match="its header says 24000 samples"):
        dataclasses.replace(kept, clip=Clip(START_NS, 3.0, kept.clip.sha256)).samples()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sensor_id": ""}, "sensor_id"),
        ({"pulse_ids": ()}, "0 pulse_ids"),
        ({"pulse_ids": ("p",) * (MOST_PULSES + 1)}, "257 pulse_ids"),
        ({"pulse_ids": ("",)}, "none empty"),
        ({"rate_hz": 200_000}, "rate_hz"),
        ({"clip": Clip(START_NS, 12.5, "0" * 64)}, "lasts 12.5 s: expected at most 12"),
        ({"flac": bytes(LARGEST_FLAC_BYTES + 1)}, "bytes of FLAC"),
    ],
)
def test_it_checks_itself(change, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(snippet(), **change)


def test_steps_and_values_are_each_others_inverse():
    steps = np.array([-(2**23), -1, 0, 1, 2**23 - 1], dtype=np.int32)
    assert np.array_equal(steps_of(values_of(steps)), steps)


def test_an_announcement_says_everything_but_the_sound():
    whole = snippet()
    told = whole.announcement()
    assert dataclasses.replace(told, flac=whole.flac) == whole
    with pytest.raises(SnippetError):
        told.samples()
