"""Policy: from evidence and prior to an outcome, each with its reason."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from acoustic.detection import probability
from alerts.circumstances import Circumstances
from alerts.incident import Incident
from alerts.policy import OUTCOMES, Policy, fused_llr
from alerts.trade import THRESHOLDS, Share, trade
from tests.strategies import fix_at, unfixed_at

LLR = st.floats(-20, 20)


def of(*shots):
    return Incident(shots[0].shot_id, shots)


@pytest.mark.parametrize("llr", [-20.0, -1.0, 0.0, 3.0, 20.0])
def test_one_round_is_judged_by_its_own_evidence_and_the_prior(llr):
    verdict = Policy(prior=0.2).judge(of(fix_at("a", llr=llr)))
    odds = 0.25 * math.exp(llr)
    assert verdict.llr == llr
    assert verdict.posterior == pytest.approx(odds / (1.0 + odds))


@pytest.mark.parametrize(
    ("posterior", "outcome"), [(0.8, "published"), (0.79, "review"), (0.1, "review"), (0.09, "suppressed")]
)
def test_the_thresholds_are_probabilities(posterior, outcome):
    policy = Policy(prior=0.5)
    llr = math.log(posterior / (1.0 - posterior)) + 1e-9
    verdict = policy.judge(of(fix_at("a", llr=llr)))
    assert verdict.outcome == outcome
    assert f"{posterior:.3g}" in verdict.reason


@given(LLR, st.floats(0.001, 0.999))
def test_an_incident_without_a_place_is_never_published(llr, prior):
    verdict = Policy(prior=prior).judge(of(unfixed_at("a", llr=llr)))
    assert verdict.outcome == ("review" if verdict.posterior >= 0.5 else "suppressed")
    assert "too-few-sensors" in verdict.reason


def test_an_ambiguous_fix_is_published_all_the_same():
    assert Policy().judge(of(fix_at("a", other=(0.4, 200.0, 0.0)))).outcome == "published"


def test_no_evidence_leaves_the_prior_and_a_person_looks():
    verdict = Policy().judge(of(fix_at("a", llr=0.0)))
    assert verdict.posterior == pytest.approx(verdict.prior)
    assert verdict.outcome == "review"


@given(LLR, st.integers(1, 50), st.floats(0, 1))
def test_equal_rounds_lie_between_one_and_independent_ones(llr, n, correlation):
    fused = fused_llr([llr] * n, correlation)
    assert min(llr, n * llr) - 1e-9 <= fused <= max(llr, n * llr) + 1e-9


@given(st.lists(LLR, min_size=1, max_size=8), st.floats(0, 1), st.randoms())
def test_fusing_does_not_ask_for_an_order(llrs, correlation, random):
    shuffled = random.sample(llrs, len(llrs))
    assert fused_llr(shuffled, correlation) == pytest.approx(fused_llr(llrs, correlation), rel=1e-9, abs=1e-9)


@given(st.lists(LLR, min_size=1, max_size=8), st.floats(0, 5), st.floats(0, 1), st.integers(0, 7))
def test_more_evidence_for_one_round_is_never_less_for_the_incident(llrs, more, correlation, which):
    better = list(llrs)
    better[which % len(llrs)] += more
    assert fused_llr(better, correlation) >= fused_llr(llrs, correlation) - 1e-9


def test_the_fused_evidence_is_that_of_the_mixture_it_claims_to_be():
    llrs, correlation = [2.0, -1.0, 0.5], 0.5
    every = math.exp(sum(llrs) / (1 + 2 * correlation))
    one = sum(math.exp(x) for x in llrs) / 3
    assert fused_llr(llrs, correlation) == pytest.approx(math.log((every + one) / 2))


def test_ten_weak_rounds_do_not_bury_a_strong_one_and_fifty_crackers_make_no_shot():
    strong = fused_llr([8.0] + [-2.0] * 9, 0.5)
    assert probability(strong, Policy().log_prior_odds) > Policy().publish
    crackers = fused_llr([-3.0 + 2.0 * math.sin(k) for k in range(50)], 0.5)
    assert probability(crackers, Policy().log_prior_odds) < Policy().review


@pytest.mark.parametrize(
    "wrong", [{"prior": 0.0}, {"publish": 1.0}, {"review": 0.9}, {"round_correlation": 1.5}, {"prior": float("nan")}]
)
def test_a_policy_checks_itself(wrong):
    with pytest.raises(ValueError, match="|".join(wrong)):
        Policy(**wrong)


@given(LLR, st.lists(st.floats(0.01, 100.0), min_size=24, max_size=24))
@example(4.0, [0.01] + [1.0] * 23)
def test_the_hour_alone_suppresses_nothing_that_would_be_published_and_publishes_by_the_odds(llr, hours):
    policy, incident, mean = Policy(), of(fix_at("a", llr=llr)), math.fsum(hours) / 24.0
    for factor in hours:
        verdict = policy.judge(incident, Circumstances(policy.prior, hour_shift=math.log(factor / mean)))
        if policy.judge(incident).outcome == "published":
            assert verdict.outcome != "suppressed"
        odds = policy.prior / (1.0 - policy.prior) * factor / mean
        assert (verdict.outcome == "published") == (verdict.posterior >= policy.publish)
        assert verdict.posterior == pytest.approx(probability(llr, math.log(odds)), rel=1e-9)


def test_an_hour_at_which_nobody_shoots_says_why_a_person_looks():
    verdict = Policy().judge(of(fix_at("a", llr=4.0)), Circumstances(1.0 / 6.0, hour_shift=math.log(1e-4)))
    assert (verdict.outcome, verdict.posterior < 0.01) == ("review", True)
    assert verdict.reason.endswith("below 0.1, from which a person looks; 0.916 at an ordinary hour, so that one does")
    assert Policy().judge(of(fix_at("a", llr=2.0)), verdict.circumstances).outcome == "suppressed", "that the hour may"


def test_every_outcome_can_come():
    said = {Policy().judge(of(fix_at("a", llr=llr))).outcome for llr in (-9.0, 0.0, 9.0)}
    assert said == set(OUTCOMES)


@given(st.integers(0, 400), st.integers(0, 400))
def test_shares_have_wilsons_interval(count, more):
    share = Share(count, count + more)
    if share.of == 0:
        assert (share.low, share.high) == (0.0, 1.0)
        return
    interval = binomtest(count, share.of).proportion_ci(0.95, method="wilson")
    assert (share.low, share.high) == (pytest.approx(interval.low, abs=1e-6), pytest.approx(interval.high, abs=1e-6))


@given(st.lists(st.tuples(LLR, st.booleans()), max_size=40), st.floats(0.01, 0.99))
def test_the_trade_counts_what_the_policy_does(labelled, prior):
    """Against judging each of them; a higher threshold never misses less and never sends more."""
    policy = Policy(prior=prior)
    rows = trade(policy, labelled)
    assert [row.threshold for row in rows] == sorted({*THRESHOLDS, policy.publish})
    for row in rows:
        at = Policy(prior=prior, publish=row.threshold, review=1e-9)
        sent = [at.judge(of(fix_at("a", llr=llr))).outcome == "published" for llr, _ in labelled]
        truth = [is_gunfire for _, is_gunfire in labelled]
        assert row.misses == Share(sum(t and not s for s, t in zip(sent, truth, strict=True)), sum(truth))
        assert row.false_dispatches == Share(
            sum(s and not t for s, t in zip(sent, truth, strict=True)), len(truth) - sum(truth)
        )
        assert probability(row.llr, policy.log_prior_odds) == pytest.approx(row.threshold)
    assert all(a.misses.count <= b.misses.count for a, b in itertools.pairwise(rows))
    assert all(a.false_dispatches.count >= b.false_dispatches.count for a, b in itertools.pairwise(rows))


def test_a_trade_wants_probabilities_and_a_share_its_whole():
    with pytest.raises(ValueError, match="threshold is 1"):
        trade(Policy(), [], (1.0,))
    with pytest.raises(ValueError, match="3 of 2"):
        Share(3, 2)
    assert str(Share(1, 10)) == "1 of 10 (1.8 to 40.4 %)"
