"""How well people agree: against textbooks, against a simulation, and on what was recorded."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.act import JUDGEMENTS
from alerts.record.store import Store
from alerts.review.agreement import report
from alerts.review.kappa import agreement, cohen
from alerts.review.reviewed import reviewed
from alerts.review.reviews import ReviewRules, Reviews
from tests.review_nights import REVIEW_LLR, SUPPRESSED_LLR, apply, minutes, tell

GRANTS = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
"""Fifty grant proposals, two readers: the example of the encyclopaedias. Agreement .7, by chance .5, kappa .4."""

DIAGNOSES = {
    ("psychotic", "psychotic"): 75, ("psychotic", "neurotic"): 1, ("psychotic", "organic"): 4,
    ("neurotic", "psychotic"): 5, ("neurotic", "neurotic"): 4, ("neurotic", "organic"): 1,
    ("organic", "psychotic"): 0, ("organic", "neurotic"): 0, ("organic", "organic"): 10,
}  # fmt: skip
"""A hundred patients, two raters: Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 3rd edition
(2003), table 18.1. Their kappa is .68, its standard error .087, its 95 % interval .51 to .85."""


def spread(table):
    return list(itertools.chain.from_iterable([pair] * n for pair, n in table.items()))


def test_the_example_of_the_encyclopaedias():
    found = agreement(spread(GRANTS), ["yes", "no"])
    assert (found.count, found.agreed, found.share) == (50, 35, 0.7)
    assert found.kappa == pytest.approx(0.4, abs=1e-12)
    assert found.table == (("yes", "yes", 20), ("yes", "no", 5), ("no", "yes", 10), ("no", "no", 15))


def test_fleiss_levin_and_paik():
    names = ["psychotic", "neurotic", "organic"]
    found = agreement(spread(DIAGNOSES), names)
    assert found.share == pytest.approx(0.89)
    assert found.kappa == pytest.approx(0.676, abs=5e-4)
    assert found.kappa_sigma == pytest.approx(0.087, abs=1e-3)
    by_formula = (found.kappa - 1.96 * found.kappa_sigma, found.kappa + 1.96 * found.kappa_sigma)
    assert by_formula == (pytest.approx(0.51, abs=6e-3), pytest.approx(0.85, abs=6e-3))
    assert found.kappa_interval[0] <= by_formula[0] + 1e-4
    assert found.kappa_interval[1] >= by_formula[1] - 1e-4


def test_the_error_is_that_of_a_bootstrap():
    generator = np.random.default_rng(11)
    pairs = list(DIAGNOSES)
    shares = np.array([DIAGNOSES[pair] for pair in pairs]) / 100.0
    drawn = generator.multinomial(2_000, shares, size=400)
    kappas = [cohen(dict(zip(pairs, row.tolist(), strict=True)))[0] for row in drawn]
    large = {pair: 20 * n for pair, n in DIAGNOSES.items()}
    assert np.std(kappas) == pytest.approx(cohen(large)[1], rel=0.12)  # 400 draws know it to 3.5 %


@pytest.mark.parametrize("count", [10, 30])
@pytest.mark.parametrize("kappa", [0.3, 0.6, 0.9])
def test_the_interval_covers_what_it_says_in_small_samples(count, kappa):
    generator = np.random.default_rng(count)
    base = np.array([0.5, 0.3, 0.2])
    names = ["gunfire", "fireworks", "other"]
    joint = kappa * np.diag(base) + (1.0 - kappa) * np.outer(base, base)  # its kappa is exactly that
    pairs = list(itertools.product(names, names))
    held, told = 0, 0
    for row in generator.multinomial(count, joint.ravel(), size=600):
        found = agreement(spread(dict(zip(pairs, row.tolist(), strict=True))), names)
        if found.kappa_interval is not None:
            told += 1
            held += found.kappa_interval[0] <= kappa <= found.kappa_interval[1]
    assert told > 500
    assert held / told > 0.95 - 3.0 * math.sqrt(0.95 * 0.05 / told)


def test_small_numbers_are_honest():
    nothing = agreement([], JUDGEMENTS)
    assert (nothing.share, nothing.share_interval, nothing.kappa, nothing.kappa_interval) == (None,) * 4
    alike = agreement([("gunfire", "gunfire")] * 5, JUDGEMENTS)
    assert (alike.share, alike.kappa, alike.kappa_sigma, alike.kappa_interval) == (1.0, None, None, None)
    assert alike.share_interval[0] < 0.6
    three = agreement([("gunfire", "gunfire"), ("other", "other"), ("gunfire", "gunfire")], JUDGEMENTS)
    assert (three.kappa, three.kappa_sigma) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-6))
    low, high = three.kappa_interval
    assert low < 0.2  # the formula for large samples would say 1 to 1
    assert high == 1.0
    with pytest.raises(ValueError, match="thunder: expected one of"):
        agreement([("thunder", "gunfire")], JUDGEMENTS)


tables = st.lists(st.tuples(st.sampled_from(JUDGEMENTS), st.sampled_from(JUDGEMENTS)), max_size=40)


@given(tables)
def test_it_does_not_matter_who_is_the_first(pairs):
    one, other = agreement(pairs, JUDGEMENTS), agreement([(b, a) for a, b in pairs], JUDGEMENTS)
    assert (one.kappa is None) == (other.kappa is None)
    if one.kappa is not None:
        assert one.kappa == pytest.approx(other.kappa)
        assert one.kappa_sigma == pytest.approx(other.kappa_sigma, abs=1e-9)
        assert one.kappa_interval == pytest.approx(other.kappa_interval)
    assert one.share == other.share


@given(tables)
def test_kappa_is_one_only_where_all_agree_and_lies_in_its_interval(pairs):
    found = agreement(pairs, JUDGEMENTS)
    if found.kappa is not None:
        assert -1.0 <= found.kappa <= 1.0 + 1e-12
        assert (found.agreed == found.count) == (found.kappa > 1.0 - 1e-9)
        assert found.kappa_interval[0] - 1e-9 <= found.kappa <= found.kappa_interval[1] + 1e-9
    for one in found.classes:
        assert one.both <= min(one.first, one.second)
        assert one.specific is None or 0.0 <= one.specific <= 1.0
    assert sum(n for *_, n in found.table) == found.count == len(pairs)


@given(tables)
def test_kappa_is_the_mean_of_the_classes_own(pairs):
    # Fleiss, Levin and Paik, section 18.1: weighted by how much each could disagree beyond chance.
    found = agreement(pairs, JUDGEMENTS)
    if found.kappa is not None:
        shares = [(one, one.first / found.count, one.second / found.count) for one in found.classes]
        weighed = [(one.kappa, a * (1.0 - b) + b * (1.0 - a)) for one, a, b in shares if one.kappa is not None]
        assert found.kappa == pytest.approx(sum(k * w for k, w in weighed) / sum(w for _, w in weighed), abs=1e-9)


def test_independent_words_have_kappa_nought():
    pairs = list(itertools.product(JUDGEMENTS, JUDGEMENTS))
    assert agreement(pairs, JUDGEMENTS).kappa == pytest.approx(0.0, abs=1e-12)


NIGHT = [
    # name, machine, first, second, drawn (all are, in this record)
    ("a", 6.0, "gunfire", "gunfire"),
    ("b", 6.0, "fireworks", "fireworks"),
    ("c", 6.0, "gunfire", "fireworks"),
    ("d", REVIEW_LLR, "gunfire", "gunfire"),
    ("e", REVIEW_LLR, "unsure", "vehicle"),
    ("f", SUPPRESSED_LLR, "gunfire", "gunfire"),
    ("g", SUPPRESSED_LLR, "vehicle", None),
    ("h", SUPPRESSED_LLR, "construction", "construction"),
]


@pytest.fixture
def judged(tmp_path):
    with Store(tmp_path / "record.db") as store:
        reviews = Reviews(store, ReviewRules(second_share=1.0))
        for number, (name, llr, first, second) in enumerate(NIGHT):
            incident_id = tell(store, name, 100.0 * number, llr=llr)
            decision = reviews.judge(incident_id, "ann", minutes(30), first, expected_version=1)
            apply(store, decision.act, "published" if first == "gunfire" else "suppressed")
            if second is not None:
                reviews.second(incident_id, "bob" if number % 2 else "Cid", minutes(31), second)
        yield reviews


def test_a_night_of_reviews(judged):
    disputed = next(one.head for one in reviewed(judged.store) if one.pair == ("gunfire", "fireworks"))
    judged.adjudicate(disputed.incident_id, "sue", minutes(40), "gunfire", expected_version=disputed.version)
    found = report(reviewed(judged.store))
    assert (found.incidents, found.disputed, found.adjudicated, found.waiting_for_second) == (8, 1, 1, 1)
    assert (found.drawn.count, found.drawn.agreed) == (7, 5)
    assert found.all_pairs == found.drawn
    assert {(a, b): n for a, b, n in found.gunfire.table} == {
        ("gunfire", "gunfire"): 3, ("gunfire", "other"): 1, ("other", "other"): 2, ("unsure", "other"): 1,
    }  # fmt: skip
    # Machine against people: of six that it had an opinion of, b and f went the other way; and not what people made
    # of it afterwards.
    machine = found.machine
    assert (machine.overruled.count, machine.overruled.of) == (2, 6)
    assert (machine.published_denied.count, machine.published_denied.of) == (1, 3)
    assert (machine.suppressed_affirmed.count, machine.suppressed_affirmed.of) == (1, 3)
    assert (machine.asked, machine.unsure) == (2, 1)
    by_name = {one.by: one for one in found.reviewers}
    assert (by_name["ann"].first, by_name["ann"].agreed.count, by_name["ann"].agreed.of) == (8, 5, 7)
    assert by_name["bob"].second + by_name["Cid"].second == 7
    assert by_name["sue"].decided == 1


def test_only_what_was_drawn_speaks_of_all(tmp_path):
    with Store(tmp_path / "record.db") as store:
        reviews = Reviews(store, ReviewRules(second_share=0.0))
        hard = tell(store, "hard", llr=REVIEW_LLR)
        reviews.judge(hard, "ann", minutes(1), "unsure", expected_version=1)
        reviews.second(hard, "bob", minutes(2), "gunfire")
        found = report(reviewed(store))
        assert (found.drawn.count, found.all_pairs.count) == (0, 1)


def test_overruling_ten_percent_has_the_interval_of_wilson():
    # Ten of a hundred: .055 to .174, as the score interval has it.
    from alerts.review.agreement import share  # noqa: PLC0415

    assert share(10, 100).interval == (pytest.approx(0.0552, abs=1e-4), pytest.approx(0.1744, abs=1e-4))
    assert share(0, 0).interval is None
    assert share(0, 10).interval[1] > 0.25
