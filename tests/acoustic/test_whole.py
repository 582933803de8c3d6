"""Recordings judged whole: short ones, silent ones, and impulses at their very edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.classifier import Judgement, NoClassifier
from acoustic.context import WEIGHT
from acoustic.detection import probabilities_from_llr
from acoustic.whole import judge_whole
from tests.sounds import bang, noise, with_bangs


@pytest.mark.parametrize("rate_hz", [8_000, 12_000, 44_100, 48_000])
def test_an_impulse_at_the_very_start_of_a_fifth_of_a_second_is_found(rate_hz):
    n = rate_hz // 5
    samples = noise(n, 0.0005)
    sound = bang(rate_hz, 0.5)
    samples[: sound.size] += sound
    whole = judge_whole(samples, rate_hz)
    assert whole.events[0].onset_s < 0.001
    assert whole.events[0].snr_db > 30.0


@pytest.mark.parametrize("at_s", [0.05, 0.5, 1.95])
def test_impulses_out_of_digital_silence_are_found(at_s):
    rate_hz = 12_000
    samples = with_bangs(np.zeros(2 * rate_hz, dtype=np.float32), rate_hz, [round(at_s * rate_hz)])
    whole = judge_whole(samples, rate_hz)
    assert min(abs(event.onset_s - at_s) for event in whole.events) < 0.001


@pytest.mark.parametrize("samples", [np.zeros(4_000), np.ones(4_000) * 0.2, noise(4_000), np.zeros(1), np.ones(7)])
def test_a_recording_without_an_impulse_has_no_event_but_a_score(samples):
    whole = judge_whole(np.asarray(samples, dtype=np.float32), 8_000)
    assert whole.events == ()
    assert math.isfinite(whole.strongest.judgement.llr)
    assert 0.0 <= whole.strongest.onset_s <= len(samples) / 8_000


def test_echoes_are_not_listed_and_further_rounds_are():
    rate_hz = 12_000
    samples = with_bangs(noise(3 * rate_hz, 0.0005), rate_hz, [6_000, 12_000])
    samples = with_bangs(samples, rate_hz, [8_000, 14_000], 0.05)
    events = judge_whole(samples, rate_hz).events
    assert [round(event.onset_s * rate_hz, -1) for event in events] == [6_000, 12_000]


@given(
    n=st.integers(1, 12_000),
    seed=st.integers(0, 10**6),
    bangs=st.lists(st.integers(0, 12_000), max_size=5),
    rate_hz=st.sampled_from([8_000, 11_025, 48_000]),
)
@settings(max_examples=40)
def test_every_recording_gets_a_finite_score_and_ordered_events(n, seed, bangs, rate_hz):
    samples = with_bangs(noise(n, seed=seed), rate_hz, [at for at in bangs if at < n])
    whole = judge_whole(samples, rate_hz)
    times = [event.onset_s for event in whole.events]
    assert times == sorted(times)
    assert all(0.0 <= time <= n / rate_hz for time in times)
    assert math.isfinite(whole.strongest.judgement.llr)
    assert math.isfinite(whole.strongest.snr_db)
    if whole.events:
        assert whole.strongest.judgement.llr == max(event.judgement.llr for event in whole.events)
    assert judge_whole(samples, rate_hz) == whole


@pytest.mark.parametrize("samples", [np.zeros(0), np.array([0.0, np.nan]), np.zeros((4, 2))])
def test_what_is_no_recording_is_refused(samples):
    with pytest.raises(ValueError, match="samples must be"):
        judge_whole(samples.astype(np.float32), 8_000, NoClassifier())


class Sure:
    """Takes everything for a gunshot."""

    name = "sure"

    def judge(self, samples, onset, rate_hz):
        return Judgement(2.0, probabilities_from_llr(2.0))


def test_bangs_of_one_recording_are_judged_together():
    rate_hz = 12_000
    display = [6_000, 9_000, 19_000, 23_500, 31_000, 44_000, 47_500, 53_000]
    burst = [6_000 + 1_200 * k for k in range(8)]
    for places, expected in ((display, 2.0 - WEIGHT * math.log(8 / 3)), (burst, 2.0)):
        samples = with_bangs(noise(5 * rate_hz, 0.0005), rate_hz, places)
        whole = judge_whole(samples, rate_hz, Sure())
        assert len(whole.events) == 8
        assert whole.strongest.judgement.llr == pytest.approx(expected, abs=1e-6)
