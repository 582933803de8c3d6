"""Context: what the other bangs within ten seconds say of one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.classifier import LLR_BOUND, Judgement
from acoustic.context import CONTEXT_S, Bang, crowd, in_context
from acoustic.detection import CLASSES, probabilities_from_llr, probability

FIREWORK = CLASSES.index("firework")


def bang(onset_s, peak=1.0, llr=1.0):
    return Bang(onset_s, peak, Judgement(llr, probabilities_from_llr(llr)))


bangs = st.lists(
    st.builds(bang, st.floats(0.0, 30.0), st.floats(0.0, 10.0), st.floats(-8.0, 8.0)), min_size=1, max_size=20
)


@given(bangs)
@settings(max_examples=100)
def test_evidence_stays_consistent_and_bounded(some):
    judgement = in_context(some[0], some)
    assert abs(judgement.llr) <= LLR_BOUND
    assert sum(judgement.probabilities) == pytest.approx(1.0, abs=1e-12)
    if any(other.judgement.llr for other in some):
        assert judgement.probabilities[0] == pytest.approx(probability(judgement.llr), abs=1e-12)


@given(bangs, st.floats(0.1, 100.0), st.floats(-100.0, 100.0))
@settings(max_examples=50)
def test_neither_gain_nor_the_zero_of_time_matters(some, gain, shift_s):
    moved = [Bang(b.onset_s + shift_s, b.peak * gain, b.judgement) for b in some]
    far = [abs(abs(b.onset_s - some[0].onset_s) - CONTEXT_S) > 1e-6 for b in some]
    if all(far) and crowd(moved) == pytest.approx(crowd(some), abs=1e-6):  # ties at a threshold may fall either way
        assert in_context(moved[0], moved).llr == pytest.approx(in_context(some[0], some).llr, abs=1e-6)


def test_a_bang_by_itself_stays_what_it_was():
    assert in_context(bang(3.0, 2.0, 1.5), [bang(3.0, 2.0, 1.5)]).llr == pytest.approx(1.5)


def test_a_display_is_no_gun_and_automatic_fire_is_no_display():
    random = np.random.default_rng(1)
    display = [bang(t, 10.0 ** random.uniform(-0.5, 0.0)) for t in np.sort(random.uniform(0.0, 10.0, 15))]
    burst = [bang(0.063 * k) for k in range(30)]
    two_double_taps = [bang(t) for t in (0.0, 0.3, 5.0)]
    assert in_context(display[-1], display).llr < 0.0
    assert in_context(display[-1], display).probabilities[FIREWORK] > 0.3
    assert in_context(burst[-1], burst).llr == pytest.approx(1.0)
    assert in_context(two_double_taps[-1], two_double_taps).llr == pytest.approx(1.0)


def test_weak_echoes_make_no_crowd():
    echoes = [bang(0.0, 1.0), *(bang(0.1 + 0.03 * k**1.5, 0.1) for k in range(10))]
    assert crowd(echoes) == 0.0


def test_where_nobody_judges_nothing_is_said():
    silent = [Bang(0.5 * k**1.3, 1.0, Judgement(0.0, probabilities_from_llr(0.0))) for k in range(12)]
    assert in_context(silent[3], silent) == silent[3].judgement
    assert math.isfinite(in_context(bang(0.0, 0.0), [bang(0.0, 0.0)]).llr)
